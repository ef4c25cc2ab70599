"""From ``sample.json`` to Graph: what a registration should be, and the calls that make it so."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from graph import SAMPLE, Graph, GraphError, Json, Problem

SECRET_NAME = "app secret"
GRAPH_APP_ID = "00000003-0000-0000-c000-000000000000"
# MSAL asks for these with every sign-in; "openid" is in the registration.
ASKED_BY_MSAL = {"profile", "offline_access"}
# What tells two items of a list apart, in the order in which it is looked for.
KEYS = ("value", "resourceAppId", "id")


@dataclass
class Registration:
    """One of the two: its description in ``sample.json`` and what Graph has of it, if anything."""

    key: str
    description: Json
    found: Json = field(default_factory=dict)
    principal: Json = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.description["application"]["displayName"])

    @property
    def folder(self) -> str:
        return str(self.description["folder"])

    @property
    def tag(self) -> str:
        return str(self.description["application"]["tags"][0])

    @property
    def app_id(self) -> str:
        return str(self.found.get("appId", ""))

    @property
    def path(self) -> str:
        return f"/applications/{self.found['id']}"


def registrations() -> list[Registration]:
    """The API and the web app, in the order in which they are made."""
    return [Registration(key, found) for key, found in SAMPLE["registrations"].items()]


def find(graph: Graph, registration: Registration, noted_app_id: str) -> None:
    """Look the registration up: by the ID that an earlier run noted, else by its tag.

    :raises Problem: several have the tag, and which is meant cannot be known.
    """
    if noted_app_id and (noted := graph.get(f"/applications(appId='{noted_app_id}')")):
        registration.found = noted
        return
    tagged = with_tag(graph, registration)
    if len(tagged) > 1:
        ids = ", ".join(found["appId"] for found in tagged)
        raise Problem(
            f"Several registrations have the tag {registration.tag}: {ids}. Delete those that you "
            "do not need, or take the tag away from them in their manifest."
        )
    registration.found = tagged[0] if tagged else {}


def with_tag(graph: Graph, registration: Registration) -> list[Json]:
    return list(graph.list(f"/applications?$filter=tags/any(t:t eq '{registration.tag}')"))


def create(graph: Graph, registration: Registration) -> None:
    """Make the bare registration; ``mend`` adds the rest, now or in a later run."""
    wanted = registration.description["application"]
    body = {name: wanted[name] for name in ("displayName", "signInAudience", "tags")}
    registration.found = graph.write("create the registration", "POST", "/applications", body)


def scope_id(api: Registration) -> str:
    """The ID of ``access_as_user``: the one it has, else a new one."""
    for scope in api.found.get("api", {}).get("oauth2PermissionScopes", []):
        if scope["value"] == "access_as_user":
            return str(scope["id"])
    return str(uuid.uuid4())


def mend(graph: Graph, registration: Registration, names: dict[str, str]) -> None:
    """Change what differs from ``sample.json``; what was added by hand stays."""
    wanted = filled_in(registration.description["application"], names)
    if changes := differences(registration.found, wanted):
        doing = f"set {', '.join(sorted(_paths(changes)))}"
        graph.write(doing, "PATCH", registration.path, changes)


def filled_in(value: Any, names: dict[str, str]) -> Any:
    """``value`` with each ``{name}`` in its texts replaced."""
    if isinstance(value, dict):
        return {key: filled_in(member, names) for key, member in value.items()}
    if isinstance(value, list):
        return [filled_in(item, names) for item in value]
    return value.format_map(names) if isinstance(value, str) else value


def differences(current: Json, wanted: Json) -> Json:
    """The body of the PATCH that turns ``current`` into ``wanted``, with the rest kept.

    Of ``api`` and ``web`` only the members that change: Graph merges these two.
    """
    changes: Json = {}
    for name, value in wanted.items():
        if isinstance(value, dict):
            if inner := differences(current.get(name) or {}, value):
                changes[name] = inner
        elif (merged := _merged(current.get(name), value)) != current.get(name):
            changes[name] = merged
    return changes


def _merged(current: Any, wanted: Any) -> Any:
    """``wanted`` over ``current``: of lists the union, items being told apart by ``KEYS``."""
    if isinstance(wanted, dict):
        current = current or {}
        return {**current, **{name: _merged(current.get(name), wanted[name]) for name in wanted}}
    if not isinstance(wanted, list):
        return wanted
    merged = list(current or [])
    for item in wanted:
        same = [index for index, known in enumerate(merged) if _key(known) == _key(item)]
        if same:
            merged[same[0]] = _merged(merged[same[0]], item)
        else:
            merged.append(item)
    return merged


def _key(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return next(item[key] for key in KEYS if key in item)


def _paths(changes: Json) -> list[str]:
    paths = []
    for name, value in changes.items():
        inner = value if isinstance(value, dict) else {}
        paths += [f"{name}.{member}" for member in inner] or [name]
    return paths


# --- what belongs to a registration ---------------------------------------------------------------


def service_principal(graph: Graph, app_id: str, name: str) -> Json:
    """The application's identity in this tenant, made if need be. Nobody can sign in without.

    https://learn.microsoft.com/entra/identity-platform/app-objects-and-service-principals
    """
    path = f"/servicePrincipals(appId='{app_id}')"
    if app_id not in graph.fresh and (found := graph.get(path)):
        return found
    doing = f"create the service principal of {name}"
    try:
        return graph.write(doing, "POST", "/servicePrincipals", {"appId": app_id})
    except GraphError as error:
        # A call that Graph answered with 503 may have been done all the same.
        if error.status == 409 and (found := graph.get(path)):
            return found
        raise


def own(graph: Graph, registration: Registration, user_id: str) -> None:
    """Make the administrator an owner, which Graph has mostly done already."""
    path = f"{registration.path}/owners"
    if user_id not in [owner["id"] for owner in graph.list(path)]:
        body = {"@odata.id": f"{graph.url}/v1.0/directoryObjects/{user_id}"}
        graph.write("make you an owner", "POST", f"{path}/$ref", body)


def consent_for_all(
    graph: Graph, registration: Registration, both: list[Registration], names: dict[str, str]
) -> None:
    """Grant the delegated permissions of the registration for every user of the tenant."""
    known = {one.app_id: one.principal for one in both}
    client = registration.principal
    wanted = filled_in(registration.description["application"]["requiredResourceAccess"], names)
    for required in wanted:
        app_id = required["resourceAppId"]
        resource = known.get(app_id) or service_principal(graph, app_id, f"application {app_id}")
        # A service principal that was just made may not list the scope yet.
        offered = {names["access_as_user"]: "access_as_user"}
        offered |= {one["id"]: one["value"] for one in resource.get("oauth2PermissionScopes", [])}
        scopes = {offered[access["id"]] for access in required["resourceAccess"]}
        if app_id == GRAPH_APP_ID:
            scopes |= ASKED_BY_MSAL
        name = resource.get("displayName") or app_id
        _grant(graph, client["id"], resource["id"], scopes, f"consent to {name} for all users")


def _grant(graph: Graph, client: str, resource: str, scopes: set[str], doing: str) -> None:
    known = graph.list(f"/oauth2PermissionGrants?$filter=clientId eq '{client}'")
    for grant in known:
        if grant["resourceId"] == resource and grant["consentType"] == "AllPrincipals":
            held = set(grant["scope"].split())
            if not scopes <= held:
                body = {"scope": " ".join(sorted(scopes | held))}
                graph.write(doing, "PATCH", f"/oauth2PermissionGrants/{grant['id']}", body)
            return
    body = {"clientId": client, "consentType": "AllPrincipals", "resourceId": resource}
    body["scope"] = " ".join(sorted(scopes))
    graph.write(doing, "POST", "/oauth2PermissionGrants", body)


# --- secrets --------------------------------------------------------------------------------------


def is_valid(registration: Registration, secret: str) -> bool:
    """Whether ``secret`` may be one of the registration's, by its hint, and lives another day.

    Graph never shows a secret again, only its first three characters.
    """
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return any(
        credential.get("hint") == secret[:3] and moment(credential["endDateTime"]) > tomorrow
        for credential in registration.found.get("passwordCredentials", [])
    )


def add_secret(graph: Graph, registration: Registration, days: int) -> Json:
    """Make a client secret: ``{"secretText": ..., "keyId": ..., "endDateTime": ...}``."""
    end = datetime.now(UTC) + timedelta(days=days)
    body = {"displayName": SECRET_NAME, "endDateTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
    doing = f"make a client secret that expires on {end:%Y-%m-%d}"
    path = f"{registration.path}/addPassword"
    return graph.write(doing, "POST", path, {"passwordCredential": body})


def remove_secret(graph: Graph, registration: Registration, key_id: str) -> None:
    """Take back a secret that this machine has just replaced, if it is still there."""
    known = registration.found.get("passwordCredentials", [])
    if key_id in [credential["keyId"] for credential in known]:
        path = f"{registration.path}/removePassword"
        graph.write("remove the client secret before it", "POST", path, {"keyId": key_id})


def moment(text: str) -> datetime:
    """Graph's ``2026-11-24T07:36:51.1234567Z``, of which Python reads six digits."""
    whole = text.partition(".")[0].removesuffix("Z")
    return datetime.fromisoformat(whole).replace(tzinfo=UTC)
