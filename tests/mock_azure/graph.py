"""The part of Microsoft Graph v1.0 that AppCreationScripts use (back channel).

Registrations made here are what the sign-in then goes by. The two that the demo begins with are
not listed here: they were not made through Graph.

https://learn.microsoft.com/graph/api/resources/application,
https://learn.microsoft.com/graph/api/resources/serviceprincipal,
https://learn.microsoft.com/graph/api/resources/oauth2permissiongrant
"""

import re
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, g, jsonify, request
from flask.typing import ResponseReturnValue

from . import tokens
from .consents import EVERYBODY, Consent
from .context import azure
from .directory import GRAPH_ID, Application, Json, Permission, Secret, stable_guid
from .errors import GraphError

READ = ("Application.Read.All", "Application.ReadWrite.All")
WRITE = ("Application.ReadWrite.All",)
GRANT = ("DelegatedPermissionGrant.ReadWrite.All",)
ORGANIZATION = ("User.Read", "Organization.Read.All")

GUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

blueprint = Blueprint("graph", __name__, url_prefix="/v1.0")


class Registry:
    """What was made through Graph, each object by its object ID."""

    def __init__(self) -> None:
        self.applications: dict[str, Json] = {}
        self.principals: dict[str, Json] = {}
        self.grants: dict[str, Json] = {}
        self.owners: dict[str, set[str]] = {}
        self.secrets: dict[str, Secret] = {}  # by key ID: Graph shows a secret once


# --- applications ---------------------------------------------------------------------------------


@blueprint.get("/applications")
def list_applications() -> ResponseReturnValue:
    allow(READ)
    return collection(azure.registry.applications.values())


@blueprint.post("/applications")
def create_application() -> ResponseReturnValue:
    caller = allow(WRITE)
    body = body_like(APPLICATION)
    if not body.get("displayName"):
        raise bad("displayName is required.")
    new = {
        "id": str(uuid.uuid4()),
        "appId": str(uuid.uuid4()),
        "createdDateTime": iso(datetime.now(UTC)),
        "publisherDomain": "contoso.example",
        "passwordCredentials": [],
        **EMPTY_APPLICATION,
    }
    check_application(merged(new, body))
    azure.registry.applications[new["id"]] = merged(new, body)
    # The user who calls becomes the owner; an application that calls does not, but for OwnedBy.
    azure.registry.owners[new["id"]] = {caller["oid"]} - {caller["oid"] * ("roles" in caller)}
    publish()
    return azure.registry.applications[new["id"]], 201


@blueprint.get("/applications/<object_id>", endpoint="get_application")
@blueprint.get("/applications(appId='<app_id>')", endpoint="get_application")
def get_application(object_id: str = "", app_id: str = "") -> ResponseReturnValue:
    allow(READ)
    return application(object_id, app_id)


@blueprint.patch("/applications/<object_id>")
def update_application(object_id: str) -> ResponseReturnValue:
    allow(WRITE)
    known, body = application(object_id), body_like(APPLICATION)
    new = merged(known, body)
    check_application(new)
    left = {(scope["id"], scope["value"]) for scope in new["api"]["oauth2PermissionScopes"]}
    for scope in known["api"]["oauth2PermissionScopes"]:
        if scope["isEnabled"] and (scope["id"], scope["value"]) not in left:
            raise GraphError("CannotDeleteOrUpdateEnabledEntitlement")
    azure.registry.applications[object_id] = new
    publish()
    return "", 204


@blueprint.delete("/applications/<object_id>")
def delete_application(object_id: str) -> ResponseReturnValue:
    """With it go its service principal and every consent that it gave or got."""
    allow(WRITE)
    app_id = application(object_id)["appId"]
    registry = azure.registry
    del registry.applications[object_id], registry.owners[object_id]
    gone = {key for key, found in registry.principals.items() if found["appId"] == app_id}
    for grant_id, grant in list(registry.grants.items()):
        if gone & {grant["clientId"], grant["resourceId"]}:
            del registry.grants[grant_id]
    for key in gone:
        del registry.principals[key]
    azure.applications.pop(app_id, None)
    azure.consents.forget(app_id)
    publish()
    return "", 204


@blueprint.post("/applications/<object_id>/addPassword")
def add_password(object_id: str) -> ResponseReturnValue:
    allow(WRITE)
    known = application(object_id)
    wanted = body_like({"passwordCredential": PASSWORD}).get("passwordCredential", {})
    now = datetime.now(UTC)
    end = wanted.get("endDateTime") or iso(now + timedelta(days=730))
    if moment(end) <= now.timestamp():
        raise bad("The end of a credential must be in the future.")
    text = f"{secrets.token_urlsafe(2)[:3]}8Q~{secrets.token_urlsafe(25)}"
    credential = {
        "customKeyIdentifier": None,
        "displayName": wanted.get("displayName"),
        "endDateTime": end,
        "hint": text[:3],
        "keyId": str(uuid.uuid4()),
        "secretText": None,
        "startDateTime": iso(now),
    }
    known["passwordCredentials"].append(credential)
    azure.registry.secrets[credential["keyId"]] = Secret(text, moment(end))
    publish()
    return {**credential, "secretText": text}


@blueprint.post("/applications/<object_id>/removePassword")
def remove_password(object_id: str) -> ResponseReturnValue:
    allow(WRITE)
    known, key_id = application(object_id), body_like({"keyId": is_guid}).get("keyId")
    left = [found for found in known["passwordCredentials"] if found["keyId"] != key_id]
    if len(left) == len(known["passwordCredentials"]):
        raise bad("No password credential has this keyId.")
    known["passwordCredentials"] = left
    publish()
    return "", 204


@blueprint.get("/applications/<object_id>/owners")
def list_owners(object_id: str) -> ResponseReturnValue:
    allow(READ)
    application(object_id)
    return collection([{"id": owner} for owner in sorted(azure.registry.owners[object_id])])


@blueprint.post("/applications/<object_id>/owners/$ref")
def add_owner(object_id: str) -> ResponseReturnValue:
    allow(WRITE)
    application(object_id)
    reference = body_like({"@odata.id": is_text}).get("@odata.id", "")
    base, _, user_id = reference.rpartition("/")
    if base != f"{azure.graph_url}/v1.0/directoryObjects":
        raise bad("@odata.id must be the address of a directory object.")
    if user_id not in {user.oid for user in azure.users.values()}:
        raise GraphError("Request_ResourceNotFound", id=user_id)
    if user_id in azure.registry.owners[object_id]:
        raise bad("One or more added object references already exist.")
    azure.registry.owners[object_id].add(user_id)
    return "", 204


# --- service principals, consents, the organization -----------------------------------------------


@blueprint.get("/servicePrincipals(appId='<app_id>')")
def get_principal(app_id: str) -> ResponseReturnValue:
    allow(READ)
    for found in principals():
        if found["appId"] == app_id:
            return found
    raise GraphError("Request_ResourceNotFound", id=app_id)


@blueprint.post("/servicePrincipals")
def create_principal() -> ResponseReturnValue:
    allow(WRITE)
    app_id = body_like({"appId": is_guid}).get("appId", "")
    if app_id in {found["appId"] for found in principals()}:
        raise GraphError("ObjectConflict", property="servicePrincipalNames")
    if app_id not in {found["appId"] for found in azure.registry.applications.values()}:
        raise GraphError("NoBackingApplicationObject", id=app_id)
    new = str(uuid.uuid4())
    azure.registry.principals[new] = {"id": new, "appId": app_id}
    publish()
    return next(found for found in principals() if found["id"] == new), 201


@blueprint.get("/oauth2PermissionGrants")
def list_grants() -> ResponseReturnValue:
    allow(GRANT)
    return collection(azure.registry.grants.values())


@blueprint.post("/oauth2PermissionGrants")
def create_grant() -> ResponseReturnValue:
    allow(GRANT)
    shape = {"clientId": is_guid, "resourceId": is_guid, "principalId": is_guid, "scope": is_text}
    new = body_like({**shape, "consentType": lambda value: value == "AllPrincipals"})
    ids = {found["id"] for found in principals()}
    for name in ("clientId", "resourceId"):
        if new.get(name) not in ids:
            raise GraphError("Request_ResourceNotFound", id=new.get(name))
    for grant in azure.registry.grants.values():
        if all(grant[name] == new[name] for name in ("clientId", "resourceId")):
            raise GraphError("ObjectConflict", property="clientId, resourceId")
    grant = {"id": secrets.token_urlsafe(32), "principalId": None, **new}
    azure.registry.grants[grant["id"]] = grant
    publish()
    return grant, 201


@blueprint.patch("/oauth2PermissionGrants/<grant_id>")
def update_grant(grant_id: str) -> ResponseReturnValue:
    allow(GRANT)
    if grant_id not in azure.registry.grants:
        raise GraphError("Request_ResourceNotFound", id=grant_id)
    azure.registry.grants[grant_id] |= body_like({"scope": is_text})
    publish()
    return "", 204


@blueprint.get("/organization")
def organization() -> ResponseReturnValue:
    allow(ORGANIZATION)
    return collection([{"id": azure.tenant_id, "displayName": "Contoso"}])


# --- who may --------------------------------------------------------------------------------------


def allow(permissions: tuple[str, ...]) -> Json:
    """Return the caller's claims; a user's permissions are in ``scp``, an application's in
    ``roles``.

    :raises GraphError: 401 the token is not for Graph, 403 it allows something else.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        claims = tokens.verified(azure, token if scheme == "Bearer" else "")
    except tokens.BadSignature as error:
        raise GraphError("InvalidAuthenticationToken", reason=error) from None
    if claims.get("aud") not in (GRAPH_ID, *azure.applications[GRAPH_ID].uris):
        raise GraphError("InvalidAuthenticationToken", reason="it has another audience")
    if claims.get("iss") != azure.issuer_v1 or claims.get("exp", 0) < azure.clock.now():
        raise GraphError("InvalidAuthenticationToken", reason="it has expired")
    g.presented = claims
    held = {*str(claims.get("scp", "")).split(), *claims.get("roles", [])}
    if not held & set(permissions):
        raise GraphError("Authorization_RequestDenied", permissions=" or ".join(permissions))
    return claims


# --- shapes ---------------------------------------------------------------------------------------


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
    },
    "web": {"redirectUris": [is_redirect_uri], "homePageUrl": is_text, "logoutUrl": is_text},
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
    },
    "web": {"redirectUris": []},
    "requiredResourceAccess": [],
}


def bad(reason: str) -> GraphError:
    return GraphError("Request_BadRequest", reason=reason)


def body_like(shape: Any) -> Json:
    """The JSON object of the request, in which nothing may be unknown or of another kind."""
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
    """``body`` over ``known``; the members of ``api`` and ``web`` that it leaves out stay."""
    inner = {k: {**known[k], **v} for k, v in body.items() if isinstance(v, dict)}
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


# --- answers --------------------------------------------------------------------------------------


def application(object_id: str, app_id: str = "") -> Json:
    for found in azure.registry.applications.values():
        if (object_id or app_id) == found["id" if object_id else "appId"]:
            return found
    raise GraphError("Request_ResourceNotFound", id=object_id or app_id)


def principals() -> list[Json]:
    """Those made here, and those that Microsoft's own applications have in every tenant."""
    made = list(azure.registry.principals.values())
    known = {found["appId"] for found in made}
    made += [
        {"id": stable_guid(f"service principal/{app_id}"), "appId": app_id}
        for app_id in azure.applications
        if app_id not in known
    ]
    by_id = {app["appId"]: app for app in azure.registry.applications.values()}
    for found in made:
        app_id = found["appId"]
        if app := by_id.get(app_id):
            name, offered = app["displayName"], app["api"]["oauth2PermissionScopes"]
        else:
            known_app = azure.applications[app_id]
            name = known_app.name
            offered = [
                {"id": permission.id, "value": value}
                for value, permission in known_app.permissions.items()
            ]
        found |= {"displayName": name, "oauth2PermissionScopes": offered}
    return made


def collection(objects: Any) -> ResponseReturnValue:
    """The objects that ``$filter`` lets pass: ``name eq 'x'``, ``tags/any(t:t eq 'x')``."""
    wanted = request.args.get("$filter", "")
    found = list(objects)
    if match := re.fullmatch(r"(\w+) eq '([^']*)'", wanted):
        found = [one for one in found if one.get(match[1]) == match[2]]
    elif match := re.fullmatch(r"(tags|identifierUris)/any\((\w+):\2 eq '([^']*)'\)", wanted):
        found = [one for one in found if match[3] in one[match[1]]]
    elif wanted:
        raise GraphError("Request_UnsupportedQuery", filter=wanted)
    return jsonify({"value": found})


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# --- what the sign-in goes by ---------------------------------------------------------------------


def publish() -> None:
    """Let Entra know every application that has a service principal, and every consent."""
    registry = azure.registry
    present = {found["appId"] for found in registry.principals.values()}
    made = {app["appId"]: app for app in registry.applications.values()}
    foreign = {key: app for key, app in azure.applications.items() if key not in made}
    names = {
        (key, permission.id): value
        for key, app in foreign.items()
        for value, permission in app.permissions.items()
    }
    for key, app in made.items():
        for scope in app["api"]["oauth2PermissionScopes"]:
            names[key, scope["id"]] = scope["value"]
    known = {key: as_application(app, names) for key, app in made.items() if key in present}
    azure.applications = foreign | known
    by_id = {found["id"]: found["appId"] for found in principals()}
    azure.consents.revoke(EVERYBODY)
    for grant in registry.grants.values():
        client = azure.applications[by_id[grant["clientId"]]]
        resource = azure.applications[by_id[grant["resourceId"]]]
        scopes = grant["scope"].split()
        azure.consents.grant(EVERYBODY, [Consent(client, resource, name) for name in scopes])


def as_application(app: Json, names: dict[tuple[str, str], str]) -> Application:
    """Graph's application as the sign-in sees it; ``names`` are those of scopes by their IDs."""
    required = tuple(
        (access["resourceAppId"], names[access["resourceAppId"], scope["id"]])
        for access in app["requiredResourceAccess"]
        for scope in access["resourceAccess"]
        if (access["resourceAppId"], scope["id"]) in names
    )
    permissions = {
        scope["value"]: Permission(
            scope["userConsentDisplayName"], scope["userConsentDescription"], scope["id"]
        )
        for scope in app["api"]["oauth2PermissionScopes"]
        if scope["isEnabled"]
    }
    keys = [credential["keyId"] for credential in app["passwordCredentials"]]
    return Application(
        app["appId"],
        app["displayName"],
        tuple(app["identifierUris"]),
        tuple(app["web"]["redirectUris"]),
        permissions,
        required,
        tuple(app["api"]["knownClientApplications"]),
        app["api"]["requestedAccessTokenVersion"] or 1,
        secrets=tuple(azure.registry.secrets[key] for key in keys),
    )
