"""Find both registrations in Graph, and create or update them as ``sample.json`` describes."""

import uuid
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from graph import SAMPLE, Graph, GraphError, Json, ScriptError

GRAPH_APP_ID = "00000003-0000-0000-c000-000000000000"
# MSAL requests these scopes with every sign-in; "openid" is in the registration.
MSAL_SCOPES = {"profile", "offline_access"}
# The member that identifies an item of a list, in the order of lookup.
KEYS = ("value", "resourceAppId", "id", "name")
# Graph merges a PATCH into these objects, but replaces all others.
MERGED_BY_GRAPH = ("api", "web")


@dataclass
class Registration:
    """A registration: its description in ``sample.json``, and its objects in Graph, if any."""

    key: str
    description: Json
    application: Json = field(default_factory=dict)
    principal: Json = field(default_factory=dict)
    is_adopted: bool = False

    @property
    def name(self) -> str:
        return str(self.description["application"]["displayName"])

    @property
    def folder(self) -> str:
        return str(self.description["folder"])

    @property
    def app_id(self) -> str:
        return str(self.application.get("appId", ""))

    @property
    def path(self) -> str:
        return f"/applications/{self.application['id']}"


def load() -> list[Registration]:
    """Return the API and the web app, in the order in which they are created."""
    return [Registration(key, deepcopy(item)) for key, item in SAMPLE["registrations"].items()]


# --- finding --------------------------------------------------------------------------------------


def find(
    graph: Graph, both: list[Registration], note: dict[str, Json], adopt: list[str], make_new: bool
) -> None:
    """Look each registration up by the ID in ``note``, or among the IDs to ``adopt``.

    A tag or a name proves nothing, because any member of the tenant who can register applications
    can set them.

    :raises ScriptError: if an application has the sample's tag, and neither ``adopt`` nor
        ``make_new`` says what to do with it.
    """
    undecided: list[str] = []
    for registration in both:
        if find_noted(graph, registration, note):
            continue
        tag = registration.description["application"]["tags"][0]
        tagged = list(graph.list(f"/applications?$filter=tags/any(t:t eq '{tag}')"))
        if adopted := [application for application in tagged if application["appId"] in adopt]:
            registration.application, registration.is_adopted = adopted[0], True
        elif not make_new:
            for application in tagged:
                undecided += [label(application), *foreign_access(graph, application, set())]
    if undecided:
        raise ScriptError(
            "\n".join(["This machine did not create these registrations:", *undecided])
            + "\nAnyone who can register applications can set the sample's tag. To use a "
            "registration, add --adopt <application ID>. To create separate ones, add --new."
        )
    if unused := set(adopt) - {registration.app_id for registration in both}:
        raise ScriptError(f"--adopt: not found, or not needed: {' '.join(sorted(unused))}")


def find_noted(graph: Graph, registration: Registration, note: dict[str, Json]) -> bool:
    """Look the registration up by the ID that this machine noted; return whether it exists."""
    entry = note.get(registration.key, {})
    if app_id := entry.get("appId"):
        registration.application = graph.get(f"/applications(appId='{app_id}')") or {}
        registration.is_adopted = bool(registration.application and entry.get("isAdopted"))
    return bool(registration.application)


def foreign_access(graph: Graph, application: Json, expected: set[str]) -> list[str]:
    """Return a line for each owner, redirect URI and credential that the script did not add.

    ``expected`` holds the IDs of owners and credentials, and the redirect URIs, that it added.
    """
    path = f"/applications/{application['id']}"
    principal = graph.get(f"/servicePrincipals(appId='{application['appId']}')") or {}
    entries: list[tuple[str, str, str]] = []  # kind, value to compare, value to print
    for owner in graph.list(f"{path}/owners"):
        entries.append(("owner", owner["id"], owner.get("userPrincipalName") or owner["id"]))
    for platform in ("web", "spa", "publicClient"):
        for uri in redirect_uris(application, platform):
            entries.append((f"redirect URI ({platform})", uri, uri))
    for kind in ("passwordCredentials", "keyCredentials"):
        for item in application.get(kind, []) + principal.get(kind, []):
            entries.append((kind, item["keyId"], f"{item['keyId']} {item['displayName']}"))
    for item in graph.list(f"{path}/federatedIdentityCredentials"):
        entries.append(("federated credential", item["id"], item["subject"]))
    for client in (application.get("api") or {}).get("preAuthorizedApplications", []):
        entries.append(("preauthorized client", client["appId"], client["appId"]))
    # Other people chose these texts: repr keeps control characters from the terminal.
    return [f"  {what}: {text!r}" for what, value, text in entries if value not in expected]


def redirect_uris(application: Json, platform: str = "web") -> list[str]:
    return list((application.get(platform) or {}).get("redirectUris", []))


def refuse_foreign_access(
    graph: Graph, both: list[Registration], note: dict[str, Json], user_id: str
) -> None:
    """Refuse to consent for all users if someone else may control one of the registrations.

    :raises ScriptError: naming what the script did not add.
    """
    lines: list[str] = []
    for registration in both:
        if application := registration.application:
            made = note.get(registration.key, {}).get("made", [])
            expected = {user_id, *made, *redirect_uris(registration.description["application"])}
            if access := foreign_access(graph, application, expected):
                lines += [label(application), *access]
    if lines:
        raise ScriptError(
            "\n".join(["--grant-admin-consent is refused. The script did not add these:", *lines])
            + "\nRemove them, or consent in the portal: API permissions > Grant admin consent."
        )


def label(application: Json) -> str:
    return f"{application['displayName']!r} ({application['appId']})"


# --- creating and updating ------------------------------------------------------------------------


def create(graph: Graph, registration: Registration) -> None:
    """Create the bare registration; ``update`` adds the rest, now or in a later run."""
    described = registration.description["application"]
    body = {name: described[name] for name in ("displayName", "signInAudience", "tags")}
    registration.application = graph.write("create the registration", "POST", "/applications", body)


def scope_id(api: Registration) -> str:
    """Return the ID of the scope ``access_as_user``, or a new ID if there is no such scope."""
    for scope in api.application.get("api", {}).get("oauth2PermissionScopes", []):
        if scope["value"] == "access_as_user":
            return str(scope["id"])
    return str(uuid.uuid4())


def update(graph: Graph, registration: Registration, names: dict[str, str]) -> list[str]:
    """Update the registration where it differs from the description; return added redirect URIs.

    Anything that was added by hand stays.
    """
    described = filled_in(registration.description["application"], names)
    if changes := differences(registration.application, described):
        graph.write(f"set {', '.join(changes)}", "PATCH", registration.path, changes)
    present = redirect_uris(registration.application)
    return [uri for uri in redirect_uris(described) if uri not in present]


def filled_in(value: Any, names: dict[str, str]) -> Any:
    """Return ``value`` with each ``{name}`` in its texts replaced."""
    if isinstance(value, dict):
        return {key: filled_in(member, names) for key, member in value.items()}
    if isinstance(value, list):
        return [filled_in(item, names) for item in value]
    return value.format_map(names) if isinstance(value, str) else value


def differences(current: Json, described: Json) -> Json:
    """Return the body of the PATCH that adds ``described`` to ``current``, or ``{}``."""
    changes: Json = {}
    for name, value in described.items():
        if (merged := _merged(current.get(name), value)) == current.get(name):
            continue
        changes[name] = merged
        if name in MERGED_BY_GRAPH:
            changes[name] = differences(current.get(name) or {}, value)
    return changes


def _merged(current: Any, described: Any) -> Any:
    """Return ``current`` updated with ``described``; list items are matched by ``KEYS``."""
    if isinstance(described, dict):
        merged = dict(current or {})
        return merged | {name: _merged(merged.get(name), described[name]) for name in described}
    if not isinstance(described, list):
        return described
    items = list(current or [])
    for item in described:
        same = [index for index, other in enumerate(items) if _key(other) == _key(item)]
        if same:
            items[same[0]] = _merged(items[same[0]], item)
        else:
            items.append(item)
    return items


def _key(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return next(item[key] for key in KEYS if key in item)


# --- what belongs to a registration ---------------------------------------------------------------


def service_principal(graph: Graph, app_id: str, name: str) -> Json:
    """Return the application's service principal; create it if necessary. Sign-ins require it.

    https://learn.microsoft.com/entra/identity-platform/app-objects-and-service-principals
    """
    path = f"/servicePrincipals(appId='{app_id}')"
    if app_id not in graph.fresh and (principal := graph.get(path)):
        return principal
    action = f"create the service principal of {name}"
    try:
        return graph.write(action, "POST", "/servicePrincipals", {"appId": app_id})
    except GraphError as error:
        # Graph may have created it although it answered 503.
        if error.status == 409 and (principal := graph.get(path)):
            return principal
        raise


def add_owner(graph: Graph, registration: Registration, user_id: str) -> None:
    """Make the user an owner. Graph does so at creation, but the list of owners can lag behind.

    Adding one also needs ``Directory.Read.All``, which the script does not request only for this:
    https://learn.microsoft.com/graph/api/application-post-owners
    """
    path = f"{registration.path}/owners"
    if user_id in [owner["id"] for owner in graph.list(path)]:
        return
    body = {"@odata.id": f"{graph.url}/v1.0/directoryObjects/{user_id}"}
    try:
        graph.write("make you an owner", "POST", f"{path}/$ref", body)
    except GraphError as error:
        if error.status != 403 and "already exist" not in str(error):
            raise
        print(f"    skipped: {error}")


def consent_for_all(
    graph: Graph, registration: Registration, both: list[Registration], names: dict[str, str]
) -> None:
    """Grant the delegated permissions of the registration for every user of the tenant."""
    principals = {other.app_id: other.principal for other in both}
    client = registration.principal
    described = filled_in(registration.description["application"]["requiredResourceAccess"], names)
    for required in described:
        app_id = required["resourceAppId"]
        resource = principals.get(app_id) or service_principal(graph, app_id, app_id)
        # A service principal may not list a new scope yet, and that of a dry run lists none.
        values = {names["access_as_user"]: "access_as_user"}
        offered = resource.get("oauth2PermissionScopes", [])
        values |= {scope["id"]: scope["value"] for scope in offered}
        scopes = {values[access["id"]] for access in required["resourceAccess"]}
        if app_id == GRAPH_APP_ID:
            scopes |= MSAL_SCOPES
        name = resource.get("displayName") or app_id
        _grant(graph, client["id"], resource["id"], scopes, f"consent to {name} for all users")


def _grant(graph: Graph, client: str, resource: str, scopes: set[str], action: str) -> None:
    for grant in graph.list(f"/oauth2PermissionGrants?$filter=clientId eq '{client}'"):
        if grant["resourceId"] == resource and grant["consentType"] == "AllPrincipals":
            held = set(grant["scope"].split())
            if not scopes <= held:
                body = {"scope": " ".join(sorted(scopes | held))}
                graph.write(action, "PATCH", f"/oauth2PermissionGrants/{grant['id']}", body)
            return
    body = {"clientId": client, "consentType": "AllPrincipals", "resourceId": resource}
    body["scope"] = " ".join(sorted(scopes))
    graph.write(action, "POST", "/oauth2PermissionGrants", body)
