"""The part of Microsoft Graph v1.0 that AppCreationScripts use (back channel).

Entra's sign-in uses the registrations created here. The demo's two registrations are not listed
here, because they were not created through Graph.

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
from typing import Any, TypeVar

from flask import Blueprint, g, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from . import graph_shapes as shapes
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

READ = ("Application.Read.All", "Application.ReadWrite.All")
WRITE = ("Application.ReadWrite.All",)
# In addition to WRITE: https://learn.microsoft.com/graph/api/application-post-owners
DIRECTORY = ("Directory.Read.All", "Directory.ReadWrite.All")
GRANT = ("DelegatedPermissionGrant.ReadWrite.All",)
OFFERED = "oauth2PermissionScopes"

T = TypeVar("T")

blueprint = Blueprint("graph", __name__, url_prefix="/v1.0")


@blueprint.before_request
def check_permission() -> None:
    """Check the permission for every address; ``add_owner`` requires one more."""
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
    """Make changes known to Entra's sign-in at once."""
    if request.method != "GET" and response.status_code < 300:
        publish()
    return response


class Registry:
    """The objects created through Graph, by object ID, and two controls for tests.

    ``credential_days`` is the tenant's app management policy: the longest lifetime of
    ``passwordCredentials`` and ``keyCredentials``, 0 if they are forbidden. With ``owners_lag`` the
    list of owners is still empty.
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
    body = shapes.request_body("application")
    if not body.get("displayName"):
        raise shapes.bad("displayName is required.")
    new = {
        "id": str(uuid.uuid4()),
        "appId": str(uuid.uuid4()),
        "createdDateTime": shapes.iso(datetime.now(UTC)),
        "publisherDomain": "contoso.example",
        "passwordCredentials": [],
        **deepcopy(shapes.EMPTY_APPLICATION),
    }
    azure.registry.applications[new["id"]] = new = shapes.changed(new, body)
    azure.registry.federated[new["id"]] = []
    # A user who calls becomes the owner. An application does not (except with OwnedBy).
    azure.registry.owners[new["id"]] = set() if "roles" in g.presented else {g.presented["oid"]}
    return shown(new), 201


@blueprint.get("/applications/<object_id>", endpoint="get_application")
@blueprint.get("/applications(appId='<app_id>')", endpoint="get_application")
def get_application(object_id: str = "", app_id: str = "") -> ResponseReturnValue:
    names = request.args.get("$select", "").split(",")
    by_app_id = {app["appId"]: app for app in azure.registry.applications.values()}
    app = find(by_app_id, app_id) if app_id else application(object_id)
    return shown(app, names if names != [""] else None)


@blueprint.patch("/applications/<object_id>")
def update_application(object_id: str) -> ResponseReturnValue:
    new = shapes.changed(application(object_id), shapes.request_body("application"))
    azure.registry.applications[object_id] = new
    return "", 204


@blueprint.delete("/applications/<object_id>")
def delete_application(object_id: str) -> ResponseReturnValue:
    """Delete the application with its service principal and its consents."""
    app_id = application(object_id)["appId"]
    registry = azure.registry
    for objects in (registry.applications, registry.owners, registry.federated):
        objects.pop(object_id, None)
    gone = {key for key, principal in registry.principals.items() if principal["appId"] == app_id}
    for grant_id, grant in list(registry.grants.items()):
        if gone & {grant["clientId"], grant["resourceId"]}:
            del registry.grants[grant_id]
    for key in gone:
        del registry.principals[key]
    azure.applications.pop(app_id, None)
    return "", 204


@blueprint.post("/applications/<object_id>/addPassword")
def add_password(object_id: str) -> ResponseReturnValue:
    app = application(object_id)
    options = shapes.request_body("password request").get("passwordCredential", {})
    now = datetime.now(UTC)
    end = datetime.fromisoformat(
        options.get("endDateTime") or shapes.iso(now + timedelta(days=730))
    )
    if end <= now:
        raise shapes.bad("The end of a credential must be in the future.")
    shapes.check_policy("passwordCredentials", end - now)
    text = f"{secrets.token_urlsafe(2)[:3]}8Q~{secrets.token_urlsafe(25)}"
    credential = {
        "customKeyIdentifier": None,
        "displayName": options.get("displayName"),
        "endDateTime": shapes.iso(end),
        "hint": text[:3],
        "keyId": str(uuid.uuid4()),
        "secretText": None,
        "startDateTime": shapes.iso(now),
    }
    app["passwordCredentials"].append(credential)
    azure.registry.secrets[credential["keyId"]] = Secret(text, end.timestamp())
    return {**credential, "secretText": text}


@blueprint.post("/applications/<object_id>/removePassword")
def remove_password(object_id: str) -> ResponseReturnValue:
    key_id = shapes.request_body("password removal").get("keyId")
    credentials = application(object_id)["passwordCredentials"]
    for credential in credentials:
        if credential["keyId"] == key_id:
            credentials.remove(credential)
            return "", 204
    raise shapes.bad("No password credential has this keyId.")


@blueprint.get("/applications/<object_id>/federatedIdentityCredentials")
def list_federated(object_id: str) -> ResponseReturnValue:
    return collection(find(azure.registry.federated, object_id))


@blueprint.post("/applications/<object_id>/federatedIdentityCredentials")
def create_federated(object_id: str) -> ResponseReturnValue:
    """https://learn.microsoft.com/graph/api/application-post-federatedidentitycredentials"""
    credentials = find(azure.registry.federated, object_id)
    body = shapes.request_body("federated credential")
    shapes.check_federated(credentials, body)
    credentials.append({"description": None, **body, "id": str(uuid.uuid4())})
    return credentials[-1], 201


@blueprint.delete("/applications/<object_id>/federatedIdentityCredentials/<credential_id>")
def delete_federated(object_id: str, credential_id: str) -> ResponseReturnValue:
    credentials = find(azure.registry.federated, object_id)
    credentials.remove(find({item["id"]: item for item in credentials}, credential_id))
    return "", 204


@blueprint.get("/applications/<object_id>/owners")
def list_owners(object_id: str) -> ResponseReturnValue:
    """Return the owners; without a permission to read the directory, only their IDs."""
    owners = find(azure.registry.owners, object_id)
    if azure.registry.owners_lag:
        owners = set()
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
    owners = find(azure.registry.owners, object_id)
    base, _, user_id = shapes.request_body("owner").get("@odata.id", "").rpartition("/")
    if base != f"{azure.graph_url}/v1.0/directoryObjects":
        raise shapes.bad("@odata.id must be the address of a directory object.")
    find({user.oid: user for user in azure.users.values()}, user_id)
    if user_id in owners:
        raise shapes.bad(
            "One or more added object references already exist for the following modified "
            "properties: 'owners'."
        )
    owners.add(user_id)
    return "", 204


# --- service principals and consents --------------------------------------------------------------


@blueprint.get("/servicePrincipals(appId='<app_id>')")
def get_principal(app_id: str) -> Json:
    return find({principal["appId"]: principal for principal in principals()}, app_id)


@blueprint.post("/servicePrincipals")
def create_principal() -> ResponseReturnValue:
    app_id = shapes.request_body("service principal").get("appId", "")
    if app_id in {principal["appId"] for principal in principals()}:
        raise GraphError("ObjectConflict", property="servicePrincipalNames")
    if app_id not in {app["appId"] for app in azure.registry.applications.values()}:
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
    new = shapes.request_body("grant")
    by_id = {principal["id"]: principal for principal in principals()}
    for name in ("clientId", "resourceId"):
        find(by_id, new.get(name, ""))
    same = ("clientId", "resourceId", "consentType")  # one user's consent is another grant
    for grant in azure.registry.grants.values():
        if all(grant.get(name) == new.get(name) for name in same):
            raise GraphError("ObjectConflict", property="clientId, resourceId")
    grant = {"id": secrets.token_urlsafe(32), "principalId": None, **new}
    azure.registry.grants[grant["id"]] = grant
    return grant, 201


@blueprint.patch("/oauth2PermissionGrants/<grant_id>")
def update_grant(grant_id: str) -> ResponseReturnValue:
    grant = find(azure.registry.grants, grant_id)
    grant |= shapes.request_body("grant's change")
    return "", 204


# --- permissions ----------------------------------------------------------------------------------


def allow(allowed: tuple[str, ...]) -> Json:
    """Return the caller's claims, which must contain one of the permissions ``allowed``.

    A user's permissions are in ``scp``, an application's in ``roles``.

    :raises GraphError: 401 if the token is not for Graph, 403 if it lacks the permission.
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


# --- responses ------------------------------------------------------------------------------------


def find(objects: dict[str, T], key: str) -> T:
    """:raises GraphError: 404 if no object has this ``key``."""
    if key not in objects:
        raise GraphError("Request_ResourceNotFound", id=key)
    return objects[key]


def application(object_id: str) -> Json:
    return find(azure.registry.applications, object_id)


def shown(app: Json, names: list[str] | None = None) -> Json:
    """Return ``app`` as Graph returns it; the content of certificates only if it is selected."""
    if names:
        return {name: app[name] for name in names if name in app}
    return {**app, "keyCredentials": [{**key, "key": None} for key in app["keyCredentials"]]}


def principals() -> list[Json]:
    """Return the service principals created here, and those of Microsoft's own applications."""
    made = {app["appId"]: app for app in azure.registry.applications.values()}
    present = []
    for principal in azure.registry.principals.values():
        own = made[principal["appId"]]
        offered = own["api"]["oauth2PermissionScopes"]
        present.append(principal | {"displayName": own["displayName"], OFFERED: offered})
    for app_id, app in azure.applications.items():
        if app_id not in made:
            id = stable_guid(f"service principal/{app_id}")
            offered = [{"id": item.id, "value": value} for value, item in app.permissions.items()]
            present.append({"id": id, "appId": app_id, "displayName": app.name, OFFERED: offered})
    return present


def collection(objects: Any) -> ResponseReturnValue:
    """Return the objects that match ``$filter``: ``name eq 'x'`` or ``tags/any(t:t eq 'x')``."""
    condition = request.args.get("$filter", "")
    items = list(objects)
    if match := re.fullmatch(r"(\w+) eq '([^']*)'", condition):
        items = [item for item in items if item.get(match[1]) == match[2]]
    elif match := re.fullmatch(r"(tags|identifierUris)/any\((\w+):\2 eq '([^']*)'\)", condition):
        items = [item for item in items if match[3] in item[match[1]]]
    elif condition:
        raise GraphError("Request_UnsupportedQuery", filter=condition)
    return {"value": items}


# --- applications and consents for the sign-in ----------------------------------------------------


def publish() -> None:
    """Give Entra every application that has a service principal, and every consent."""
    present = principals()
    by_id = {principal["id"]: principal["appId"] for principal in present}
    names = {
        (principal["appId"], scope["id"]): scope["value"]
        for principal in present
        for scope in principal[OFFERED]
    }
    made = {app["appId"]: app for app in azure.registry.applications.values()}
    foreign = {key: app for key, app in azure.applications.items() if key not in made}
    published = {key: as_application(made[key], names) for key in by_id.values() if key in made}
    azure.applications = foreign | published
    azure.consents.revoke(EVERYBODY)
    for grant in azure.registry.grants.values():
        client = azure.applications[by_id[grant["clientId"]]]
        resource = azure.applications[by_id[grant["resourceId"]]]
        scopes = grant["scope"].split()
        azure.consents.grant(EVERYBODY, [Consent(client, resource, name) for name in scopes])


def as_application(app: Json, names: dict[tuple[str, str], str]) -> Application:
    """Return Graph's application as the sign-in uses it; ``names`` maps scope IDs to names."""
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
