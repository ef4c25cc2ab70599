"""The request bodies that Microsoft Graph accepts, and the rules between their properties.

The members are those of Graph's published types (npm: ``@microsoft/microsoft-graph-types``) that
registrations of this kind use. Any other member is rejected.
"""

import base64
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from flask import request

from .context import azure
from .directory import Json
from .errors import GraphError

MAX_FEDERATED = 20  # of one application

# A type is a pattern for text or a list of values. A member of an object is a type, an object (also
# by its name), or a collection of these. Sources, in addition to Graph's published types:
# https://learn.microsoft.com/entra/identity-platform/reply-url,
# https://learn.microsoft.com/graph/api/resources/federatedidentitycredential,
# https://learn.microsoft.com/graph/api/resources/serviceprincipallockconfiguration
SHAPES = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
TYPES, OBJECTS = SHAPES["types"], SHAPES["objects"]


def _empty(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {name: _empty(member) for name, member in shape.items()}
    return [] if isinstance(shape, list) else None


EMPTY_APPLICATION: Json = {
    **_empty(OBJECTS["application"]),
    "signInAudience": "AzureADMultipleOrgs",
    "optionalClaims": None,
    "servicePrincipalLockConfiguration": None,
}
# A PATCH changes only the members that it names in these objects; it replaces any other value.
MERGED = ("api", "web", "spa", "publicClient")


def bad(reason: str) -> GraphError:
    return GraphError("Request_BadRequest", reason=reason)


def request_body(shape: str) -> Json:
    """Return the request's JSON object, checked against ``shape`` in ``graph_shapes.json``.

    :raises GraphError: if a member is unknown or has the wrong type.
    """
    body = request.get_json(silent=True)
    _compare(body, shape, "body")
    assert isinstance(body, dict)
    return body


def _compare(value: Any, shape: Any, path: str) -> None:
    if isinstance(shape, str) and shape in OBJECTS:
        shape = OBJECTS[shape]
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
    elif not _fits(value, TYPES[shape]):
        raise bad(f"Invalid value specified for property '{path}'.")


def _fits(value: Any, expected: str | list[Any]) -> bool:
    if isinstance(expected, str):
        return isinstance(value, str) and bool(re.fullmatch(expected, value))
    return any(type(value) is type(item) and value == item for item in expected)


def changed(app: Json, body: Json) -> Json:
    """Return the application ``app``, updated with the members of ``body``.

    :raises GraphError: if the result breaks a rule between properties, or between applications.
    """
    inner = {name: {**app[name], **body[name]} for name in MERGED if name in body}
    new = {**app, **body, **inner}
    if "keyCredentials" in body:
        stored = {item["keyId"]: item for item in app["keyCredentials"]}
        new["keyCredentials"] = [_stored_key(stored, item) for item in body["keyCredentials"]]
    _check_scopes(app["api"]["oauth2PermissionScopes"], new["api"]["oauth2PermissionScopes"])
    own = f"api://{new['appId']}"
    others = [app for app in azure.registry.applications.values() if app["id"] != new["id"]]
    for uri in new["identifierUris"]:
        if uri != own and not uri.startswith((f"{own}/", "https://contoso.example/")):
            raise bad(f"'{uri}' must hold the appId or a verified domain of the tenant.")
        if any(uri in app["identifierUris"] for app in others):
            raise bad("Another object with the same value for property identifierUris exists.")
    return new


def _check_scopes(old: list[Json], new: list[Json]) -> None:
    for name in ("id", "value"):
        values = [scope.get(name) for scope in new]
        if None in values or len(set(values)) < len(values):
            raise bad(f"Each scope needs a unique '{name}'.")
    left = {(scope["id"], scope["value"]) for scope in new}
    for scope in old:
        if scope["isEnabled"] and (scope["id"], scope["value"]) not in left:
            raise GraphError("CannotDeleteOrUpdateEnabledEntitlement")


def _stored_key(stored: dict[str, Json], item: Json) -> Json:
    """Return one of ``keyCredentials`` as Graph stores it.

    Each is sent with its certificate, which must not be expired unless Graph already has it. The
    list replaces the stored one, so that credentials missing from it are deleted.

    https://learn.microsoft.com/graph/applications-how-to-add-certificate
    """
    if not {"type", "usage", "key"} <= item.keys():
        raise bad("A key credential needs type, usage and key.")
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(item["key"], validate=True))
    except ValueError:
        raise bad("The value of 'key' is not a certificate in base64.") from None
    if old := stored.get(item.get("keyId", "")):
        if old["key"] != item["key"]:
            raise bad("Existing key credentials can't be changed.")
        return old
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    start = datetime.fromisoformat(item.get("startDateTime", iso(first)))
    end = datetime.fromisoformat(item.get("endDateTime", iso(last)))
    if not first <= start < end <= last or end <= datetime.now(UTC):
        raise bad("The time of the key credential is not within that of its certificate.")
    check_policy("keyCredentials", end - start)
    return {
        "customKeyIdentifier": certificate.fingerprint(hashes.SHA1()).hex().upper(),
        "displayName": certificate.subject.rfc4514_string(),
        "keyId": str(uuid.uuid4()),
        **item,
        "startDateTime": iso(start),
        "endDateTime": iso(end),
    }


def check_policy(kind: str, lifetime: timedelta) -> None:
    """Reject a credential that an app management policy of the tenant forbids.

    https://learn.microsoft.com/graph/api/resources/applicationauthenticationmethodpolicy
    """
    days = azure.registry.credential_days.get(kind)
    if days == 0:
        raise GraphError("CredentialTypeNotAllowedAsPerAppPolicy", kind=kind)
    if days is not None and lifetime > timedelta(days=days):
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
