"""What Microsoft Graph accepts in a request's body, and what holds between the properties.

The members are those of Graph's published types (npm: ``@microsoft/microsoft-graph-types``), as far
as registrations of this kind use them. Every other member is refused.
"""

import base64
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from flask import request

from .context import azure
from .directory import Json
from .errors import GraphError

GUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
MAX_FEDERATED = 20  # of one application


def is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 2048


def is_guid(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(GUID, value))


def is_time(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"\d{4}(-\d\d){2}T\d\d(:\d\d){2}Z", value))


def is_scope_name(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[\w.:/-]{1,120}", value, re.ASCII))


def is_redirect_uri(value: Any) -> bool:
    """https, or http on this machine; no fragment and no wildcard.

    https://learn.microsoft.com/entra/identity-platform/reply-url
    """
    if not is_text(value) or len(value) > 256 or re.search(r"[#*\s]", value):
        return False
    parts = urlsplit(value)
    is_local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")
    return bool(parts.hostname) and (parts.scheme == "https" or is_local)


def is_https(value: Any) -> bool:
    return is_short(value) and value.startswith("https://")


def is_short(value: Any) -> bool:
    return is_text(value) and len(value) <= 600


def is_federated_name(value: Any) -> bool:
    return isinstance(value, str) and bool(
        re.fullmatch(r"[A-Za-z0-9][\w-]{2,119}", value, re.ASCII)
    )


def one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: any(value is known or value == known for known in values)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


SCOPE = {
    "id": is_guid,
    "value": is_scope_name,
    "type": one_of("User", "Admin"),
    "isEnabled": is_flag,
    "adminConsentDisplayName": is_text,
    "adminConsentDescription": is_text,
    "userConsentDisplayName": is_text,
    "userConsentDescription": is_text,
}
PASSWORD = {"displayName": is_text, "startDateTime": is_time, "endDateTime": is_time}
KEY = {
    "customKeyIdentifier": is_text,
    "displayName": lambda value: is_text(value) and len(value) <= 90,
    "startDateTime": is_time,
    "endDateTime": is_time,
    "key": lambda value: isinstance(value, str),
    "keyId": is_guid,
    "type": one_of("AsymmetricX509Cert"),
    "usage": one_of("Verify"),
}
CLAIM = {
    "name": is_text,
    "source": one_of(None, "user"),
    "essential": is_flag,
    "additionalProperties": [is_text],
}
# https://learn.microsoft.com/graph/api/resources/federatedidentitycredential
FEDERATED = {
    "name": is_federated_name,
    "issuer": is_https,
    "subject": is_short,
    "audiences": [is_short],
    "description": is_short,
}
APPLICATION = {
    "displayName": is_text,
    "signInAudience": one_of(
        "AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount"
    ),
    "tags": [is_text],
    "identifierUris": [is_text],
    "api": {
        "requestedAccessTokenVersion": one_of(None, 1, 2),
        "knownClientApplications": [is_guid],
        "oauth2PermissionScopes": [SCOPE],
        "preAuthorizedApplications": [{"appId": is_guid, "delegatedPermissionIds": [is_guid]}],
    },
    "web": {"redirectUris": [is_redirect_uri], "homePageUrl": is_text, "logoutUrl": is_text},
    "spa": {"redirectUris": [is_redirect_uri]},
    "publicClient": {"redirectUris": [is_text]},
    "keyCredentials": [KEY],
    "optionalClaims": {"idToken": [CLAIM], "accessToken": [CLAIM], "saml2Token": [CLAIM]},
    # https://learn.microsoft.com/graph/api/resources/serviceprincipallockconfiguration
    "servicePrincipalLockConfiguration": {
        "isEnabled": is_flag,
        "allProperties": is_flag,
        "credentialsWithUsageSign": is_flag,
        "credentialsWithUsageVerify": is_flag,
        "tokenEncryptionKeyId": is_flag,
    },
    "requiredResourceAccess": [
        {
            "resourceAppId": is_guid,
            "resourceAccess": [{"id": is_guid, "type": one_of("Scope", "Role")}],
        }
    ],
}
EMPTY_APPLICATION: Json = {
    "signInAudience": "AzureADMultipleOrgs",
    "tags": [],
    "identifierUris": [],
    "api": {
        "requestedAccessTokenVersion": None,
        "knownClientApplications": [],
        "oauth2PermissionScopes": [],
        "preAuthorizedApplications": [],
    },
    "web": {"redirectUris": []},
    "spa": {"redirectUris": []},
    "publicClient": {"redirectUris": []},
    "requiredResourceAccess": [],
    "keyCredentials": [],
    "optionalClaims": None,
    "servicePrincipalLockConfiguration": None,
}
# Of these a PATCH changes the members that it names; every other value is replaced.
MERGED = ("api", "web", "spa", "publicClient")


def bad(reason: str) -> GraphError:
    return GraphError("Request_BadRequest", reason=reason)


def request_body(shape: Any) -> Json:
    """Return the request's JSON object.

    :raises GraphError: a member is unknown or has another type.
    """
    body = request.get_json(silent=True)
    _compare(body, shape, "body")
    assert isinstance(body, dict)
    return body


def _compare(value: Any, shape: Any, path: str) -> None:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise bad(f"'{path}' must be an object.")
        for name, member in value.items():
            if name not in shape:
                raise bad(f"Invalid property '{name}'.")
            _compare(member, shape[name], f"{path}.{name}")
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise bad(f"'{path}' must be a collection.")
        for item in value:
            _compare(item, shape[0], path)
    elif not shape(value):
        raise bad(f"Invalid value specified for property '{path}'.")


def merged(known: Json, body: Json) -> Json:
    """``body`` over ``known``; the members of ``MERGED`` that it leaves out stay."""
    inner = {name: {**known[name], **body[name]} for name in MERGED if name in body}
    return {**known, **body, **inner}


def check_application(new: Json) -> None:
    """What holds between the properties of an application, and between applications."""
    scopes = new["api"]["oauth2PermissionScopes"]
    for name in ("id", "value"):
        values = [scope.get(name) for scope in scopes]
        if None in values or len(set(values)) < len(values):
            raise bad(f"Each scope needs a '{name}' of its own.")
    own = f"api://{new['appId']}"
    others = [app for app in azure.registry.applications.values() if app["id"] != new["id"]]
    for uri in new["identifierUris"]:
        if uri != own and not uri.startswith((f"{own}/", "https://contoso.example/")):
            raise bad(f"'{uri}' must hold the appId or a verified domain of the tenant.")
        if any(uri in app["identifierUris"] for app in others):
            raise bad("Another object with the same value for property identifierUris exists.")


def stored_keys(known: list[Json], sent: list[Json]) -> list[Json]:
    """What Graph keeps of a list of ``keyCredentials``; those left out of it are gone.

    Each item is sent with its certificate, which must not be expired unless it is known already.

    https://learn.microsoft.com/graph/applications-how-to-add-certificate
    """
    limit = azure.registry.credential_days.get("keyCredentials")
    return [_stored_key({item["keyId"]: item for item in known}, item, limit) for item in sent]


def _stored_key(known: dict[str, Json], item: Json, limit: int | None) -> Json:
    if not {"type", "usage", "key"} <= item.keys():
        raise bad("A key credential needs type, usage and key.")
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(item["key"], validate=True))
    except ValueError:
        raise bad("The value of 'key' is not a certificate in base64.") from None
    if old := known.get(item.get("keyId", "")):
        if old["key"] != item["key"]:
            raise bad("Existing key credentials can't be changed.")
        return old
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    start = datetime.fromisoformat(item.get("startDateTime", iso(first)))
    end = datetime.fromisoformat(item.get("endDateTime", iso(last)))
    if not first <= start < end <= last or end <= datetime.now(UTC):
        raise bad("The time of the key credential is not within that of its certificate.")
    check_policy("keyCredentials", (end - start).days, limit)
    return {
        "customKeyIdentifier": certificate.fingerprint(hashes.SHA1()).hex().upper(),
        "displayName": certificate.subject.rfc4514_string(),
        "keyId": str(uuid.uuid4()),
        **item,
        "startDateTime": iso(start),
        "endDateTime": iso(end),
    }


def check_policy(kind: str, days: float, limit: int | None) -> None:
    """Refuse a credential that an app management policy of the tenant forbids.

    https://learn.microsoft.com/graph/api/resources/applicationauthenticationmethodpolicy
    """
    if limit == 0:
        raise GraphError("CredentialTypeNotAllowedAsPerAppPolicy", kind=kind)
    if limit is not None and days > limit:
        raise GraphError("CredentialInvalidLifetimeAsPerAppPolicy", kind=kind)


def check_federated(others: list[Json], new: Json) -> None:
    if missing := {"name", "issuer", "subject", "audiences"} - new.keys():
        raise bad(f"Required: {', '.join(sorted(missing))}.")
    if len(new["audiences"]) != 1:
        raise bad("audiences must hold exactly one value.")
    if len(others) >= MAX_FEDERATED:
        raise bad(f"An application can have {MAX_FEDERATED} federated identity credentials.")
    for other in others:
        if other["name"] == new["name"]:
            raise GraphError("ObjectConflict", property="name")
        if (other["issuer"], other["subject"]) == (new["issuer"], new["subject"]):
            raise bad("The combination of issuer and subject must be unique on the application.")


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
