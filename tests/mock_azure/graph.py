"""The part of Microsoft Graph v1.0 that AppCreationScripts use (back channel).

Registrations made here are what the sign-in then goes by. The two that the demo begins with are
not listed here: they were not made through Graph.

https://learn.microsoft.com/graph/api/resources/application,
https://learn.microsoft.com/graph/api/resources/serviceprincipal,
https://learn.microsoft.com/graph/api/resources/oauth2permissiongrant
"""

import base64
import re
import secrets
import uuid
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, g, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from . import tokens
from .consents import EVERYBODY, Consent
from .context import azure
from .directory import (
    GRAPH_ID,
    Application,
    FederatedCredential,
    Json,
    Permission,
    Secret,
    stable_guid,
)
from .errors import GraphError
from .graph_shapes import (
    APPLICATION,
    EMPTY_APPLICATION,
    FEDERATED,
    GUID,
    PASSWORD,
    TEXT,
    bad,
    changed,
    check_federated,
    check_policy,
    iso,
    request_body,
)

READ = ("Application.Read.All", "Application.ReadWrite.All")
WRITE = ("Application.ReadWrite.All",)
# Beside WRITE: https://learn.microsoft.com/graph/api/application-post-owners
DIRECTORY = ("Directory.Read.All", "Directory.ReadWrite.All")
OFFERED = "oauth2PermissionScopes"
GRANT = ("DelegatedPermissionGrant.ReadWrite.All",)

blueprint = Blueprint("graph", __name__, url_prefix="/v1.0")


@blueprint.before_request
def check_permission() -> None:
    if request.path.startswith("/v1.0/oauth2PermissionGrants"):
        allow(GRANT)
    elif request.method != "GET":
        allow(WRITE)
    elif request.endpoint == "graph.list_owners":
        allow((*READ, *DIRECTORY))
    else:
        allow(READ)


@blueprint.after_request
def publish_changes(response: Response) -> Response:
    if request.method != "GET" and response.status_code < 300:
        publish()
    return response


class Registry:
    """What was made through Graph, each object by its object ID; and two controls for tests.

    ``credential_days`` is the tenant's app management policy: the longest life of
    ``passwordCredentials`` and ``keyCredentials``, 0 if there may be none. With ``owners_lag`` the
    list of owners does not show any yet.
    """

    def __init__(self) -> None:
        self.applications: dict[str, Json] = {}
        self.principals: dict[str, Json] = {}
        self.grants: dict[str, Json] = {}
        self.owners: dict[str, set[str]] = {}
        self.secrets: dict[str, Secret] = {}  # by key ID: Graph shows a secret once
        self.federated: dict[str, list[Json]] = {}  # by object ID of the application
        self.credential_days: dict[str, int] = {}
        self.owners_lag = False


# --- applications ---------------------------------------------------------------------------------


@blueprint.get("/applications")
def list_applications() -> ResponseReturnValue:
    return collection([shown(app) for app in azure.registry.applications.values()])


@blueprint.post("/applications")
def create_application() -> ResponseReturnValue:
    body = request_body(APPLICATION)
    if not body.get("displayName"):
        raise bad("displayName is required.")
    new = {
        "id": str(uuid.uuid4()),
        "appId": str(uuid.uuid4()),
        "createdDateTime": iso(datetime.now(UTC)),
        "publisherDomain": "contoso.example",
        "passwordCredentials": [],
        **deepcopy(EMPTY_APPLICATION),
    }
    azure.registry.applications[new["id"]] = new = changed(new, body)
    azure.registry.federated[new["id"]] = []
    # The user who calls becomes the owner; an application that calls does not, but for OwnedBy.
    azure.registry.owners[new["id"]] = set() if "roles" in g.presented else {g.presented["oid"]}
    return shown(new), 201


@blueprint.get("/applications/<object_id>", endpoint="get_application")
@blueprint.get("/applications(appId='<app_id>')", endpoint="get_application")
def get_application(object_id: str = "", app_id: str = "") -> ResponseReturnValue:
    names = request.args.get("$select", "").split(",")
    return shown(application(object_id, app_id), names if names != [""] else None)


@blueprint.patch("/applications/<object_id>")
def update_application(object_id: str) -> ResponseReturnValue:
    new = changed(application(object_id), request_body(APPLICATION))
    azure.registry.applications[object_id] = new
    return "", 204


@blueprint.delete("/applications/<object_id>")
def delete_application(object_id: str) -> ResponseReturnValue:
    """With it go its service principal and every consent that it gave or got."""
    app_id = application(object_id)["appId"]
    registry = azure.registry
    for objects in (registry.applications, registry.owners, registry.federated):
        objects.pop(object_id, None)
    gone = {key for key, found in registry.principals.items() if found["appId"] == app_id}
    for grant_id, grant in list(registry.grants.items()):
        if gone & {grant["clientId"], grant["resourceId"]}:
            del registry.grants[grant_id]
    for key in gone:
        del registry.principals[key]
    azure.applications.pop(app_id, None)
    azure.consents.forget(app_id)
    return "", 204


@blueprint.post("/applications/<object_id>/addPassword")
def add_password(object_id: str) -> ResponseReturnValue:
    known = application(object_id)
    wanted = request_body({"passwordCredential": PASSWORD}).get("passwordCredential", {})
    now = datetime.now(UTC)
    end = datetime.fromisoformat(wanted.get("endDateTime") or iso(now + timedelta(days=730)))
    if end <= now:
        raise bad("The end of a credential must be in the future.")
    check_policy("passwordCredentials", end - now)
    text = f"{secrets.token_urlsafe(2)[:3]}8Q~{secrets.token_urlsafe(25)}"
    credential = {
        "customKeyIdentifier": None,
        "displayName": wanted.get("displayName"),
        "endDateTime": iso(end),
        "hint": text[:3],
        "keyId": str(uuid.uuid4()),
        "secretText": None,
        "startDateTime": iso(now),
    }
    known["passwordCredentials"].append(credential)
    azure.registry.secrets[credential["keyId"]] = Secret(text, end.timestamp())
    return {**credential, "secretText": text}


@blueprint.post("/applications/<object_id>/removePassword")
def remove_password(object_id: str) -> ResponseReturnValue:
    known, key_id = application(object_id), request_body({"keyId": GUID}).get("keyId")
    left = [found for found in known["passwordCredentials"] if found["keyId"] != key_id]
    if len(left) == len(known["passwordCredentials"]):
        raise bad("No password credential has this keyId.")
    known["passwordCredentials"] = left
    return "", 204


@blueprint.get("/applications/<object_id>/federatedIdentityCredentials")
def list_federated(object_id: str) -> ResponseReturnValue:
    application(object_id)
    return collection(azure.registry.federated[object_id])


@blueprint.post("/applications/<object_id>/federatedIdentityCredentials")
def create_federated(object_id: str) -> ResponseReturnValue:
    """https://learn.microsoft.com/graph/api/application-post-federatedidentitycredentials"""
    application(object_id)
    known, body = azure.registry.federated[object_id], request_body(FEDERATED)
    check_federated(known, body)
    known.append({"description": None, **body, "id": str(uuid.uuid4())})
    return known[-1], 201


@blueprint.delete("/applications/<object_id>/federatedIdentityCredentials/<credential_id>")
def delete_federated(object_id: str, credential_id: str) -> ResponseReturnValue:
    application(object_id)
    known = azure.registry.federated[object_id]
    left = [credential for credential in known if credential["id"] != credential_id]
    if len(left) == len(known):
        raise GraphError("Request_ResourceNotFound", id=credential_id)
    azure.registry.federated[object_id] = left
    return "", 204


@blueprint.get("/applications/<object_id>/owners")
def list_owners(object_id: str) -> ResponseReturnValue:
    """Without a permission to read the directory, only the owners' IDs are shown."""
    application(object_id)
    owners = set() if azure.registry.owners_lag else azure.registry.owners[object_id]
    names = {user.oid: user.upn for user in azure.users.values()}
    can_read = permissions(g.presented) & set(DIRECTORY)
    return collection(
        [
            {"id": owner, "userPrincipalName": names.get(owner) if can_read else None}
            for owner in sorted(owners)
        ]
    )


@blueprint.post("/applications/<object_id>/owners/$ref")
def add_owner(object_id: str) -> ResponseReturnValue:
    """https://learn.microsoft.com/graph/api/application-post-owners"""
    allow(DIRECTORY)
    application(object_id)
    reference = request_body({"@odata.id": TEXT}).get("@odata.id", "")
    base, _, user_id = reference.rpartition("/")
    if base != f"{azure.graph_url}/v1.0/directoryObjects":
        raise bad("@odata.id must be the address of a directory object.")
    if user_id not in {user.oid for user in azure.users.values()}:
        raise GraphError("Request_ResourceNotFound", id=user_id)
    if user_id in azure.registry.owners[object_id]:
        raise bad(
            "One or more added object references already exist for the following modified "
            "properties: 'owners'."
        )
    azure.registry.owners[object_id].add(user_id)
    return "", 204


# --- service principals and consents --------------------------------------------------------------


@blueprint.get("/servicePrincipals(appId='<app_id>')")
def get_principal(app_id: str) -> Json:
    for found in principals():
        if found["appId"] == app_id:
            return found
    raise GraphError("Request_ResourceNotFound", id=app_id)


@blueprint.post("/servicePrincipals")
def create_principal() -> ResponseReturnValue:
    app_id = request_body({"appId": GUID}).get("appId", "")
    if app_id in {found["appId"] for found in principals()}:
        raise GraphError("ObjectConflict", property="servicePrincipalNames")
    if app_id not in {found["appId"] for found in azure.registry.applications.values()}:
        raise GraphError("NoBackingApplicationObject", id=app_id)
    new = str(uuid.uuid4())
    credentials: Json = {"keyCredentials": [], "passwordCredentials": []}
    azure.registry.principals[new] = {"id": new, "appId": app_id, **credentials}
    return get_principal(app_id), 201


@blueprint.get("/oauth2PermissionGrants")
def list_grants() -> ResponseReturnValue:
    return collection(azure.registry.grants.values())


@blueprint.post("/oauth2PermissionGrants")
def create_grant() -> ResponseReturnValue:
    shape = {"clientId": GUID, "resourceId": GUID, "principalId": GUID, "scope": TEXT}
    new = request_body({**shape, "consentType": ("AllPrincipals",)})
    ids = {found["id"] for found in principals()}
    for name in ("clientId", "resourceId"):
        if new.get(name) not in ids:
            raise GraphError("Request_ResourceNotFound", id=new.get(name))
    same = ("clientId", "resourceId", "consentType")  # one user's consent is another grant
    for grant in azure.registry.grants.values():
        if all(grant.get(name) == new.get(name) for name in same):
            raise GraphError("ObjectConflict", property="clientId, resourceId")
    grant = {"id": secrets.token_urlsafe(32), "principalId": None, **new}
    azure.registry.grants[grant["id"]] = grant
    return grant, 201


@blueprint.patch("/oauth2PermissionGrants/<grant_id>")
def update_grant(grant_id: str) -> ResponseReturnValue:
    if grant_id not in azure.registry.grants:
        raise GraphError("Request_ResourceNotFound", id=grant_id)
    azure.registry.grants[grant_id] |= request_body({"scope": TEXT})
    return "", 204


# --- who may --------------------------------------------------------------------------------------


def allow(allowed: tuple[str, ...]) -> Json:
    """Return the caller's claims, which hold one of the permissions ``allowed``: a user's are in
    ``scp``, an application's in ``roles``.

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
    if not permissions(claims) & set(allowed):
        raise GraphError("Authorization_RequestDenied", permissions=" or ".join(allowed))
    return claims


def permissions(claims: Json) -> set[str]:
    return {*str(claims.get("scp", "")).split(), *claims.get("roles", [])}


# --- answers --------------------------------------------------------------------------------------


def application(object_id: str, app_id: str = "") -> Json:
    for found in azure.registry.applications.values():
        if (object_id or app_id) == found["id" if object_id else "appId"]:
            return found
    raise GraphError("Request_ResourceNotFound", id=object_id or app_id)


def shown(app: Json, names: list[str] | None = None) -> Json:
    """``app`` as Graph answers, with the members ``names``: certificates only if they are named."""
    if names:
        return {name: app[name] for name in names if name in app}
    return {**app, "keyCredentials": [{**key, "key": None} for key in app["keyCredentials"]]}


def principals() -> list[Json]:
    """Those made here, and those that Microsoft's own applications have in every tenant."""
    made = {app["appId"]: app for app in azure.registry.applications.values()}
    found = []
    for principal in azure.registry.principals.values():
        app = made[principal["appId"]]
        offered = app["api"]["oauth2PermissionScopes"]
        found.append(principal | {"displayName": app["displayName"], OFFERED: offered})
    for app_id, known in azure.applications.items():
        if app_id not in made:
            id = stable_guid(f"service principal/{app_id}")
            offered = [{"id": one.id, "value": value} for value, one in known.permissions.items()]
            found.append({"id": id, "appId": app_id, "displayName": known.name, OFFERED: offered})
    return found


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
    return {"value": found}


# --- what the sign-in goes by ---------------------------------------------------------------------


def publish() -> None:
    """Let Entra know every application that has a service principal, and every consent."""
    present = principals()
    by_id = {found["id"]: found["appId"] for found in present}
    names = {
        (found["appId"], scope["id"]): scope["value"]
        for found in present
        for scope in found[OFFERED]
    }
    made = {app["appId"]: app for app in azure.registry.applications.values()}
    foreign = {key: app for key, app in azure.applications.items() if key not in made}
    known = {key: as_application(made[key], names) for key in by_id.values() if key in made}
    azure.applications = foreign | known
    azure.consents.revoke(EVERYBODY)
    for grant in azure.registry.grants.values():
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
        certificates=tuple(base64.b64decode(item["key"]) for item in app["keyCredentials"]),
        federated=tuple(
            FederatedCredential(item["issuer"], item["subject"], item["audiences"][0])
            for item in azure.registry.federated[app["id"]]
        ),
        id_token_claims=tuple(
            claim["name"] for claim in (app["optionalClaims"] or {}).get("idToken", [])
        ),
    )
