"""Who allowed which application what, like Microsoft Graph's ``oauth2PermissionGrants``."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .directory import GRAPH_ID, Application, User
from .scopes import DEFAULT, Scopes

EVERYBODY = ""  # in place of a user: an administrator has agreed for all of them


class Consent(NamedTuple):
    """One permission: ``client`` may call ``resource`` with ``scope`` as the user who agrees."""

    client: Application
    resource: Application
    scope: str
    by_default: bool = False
    hidden: bool = False  # agreed to, but not listed on the page


class Consents:
    def __init__(self, users: Mapping[str, User]) -> None:
        self._granted: set[tuple[str, str, str, str]] = set()
        self._may_not = {user.key for user in users.values() if not user.may_consent}

    def granted(self, user: str, client: str, resource: str) -> set[str]:
        """The scopes of ``resource`` that ``client`` may use for ``user``; both are client ids."""
        agreed = {(user, client, resource), (EVERYBODY, client, resource)}
        return {g[3] for g in self._granted if g[:3] in agreed}

    def grant(self, user: str, consents: Iterable[Consent]) -> None:
        for consent in consents:
            client, resource = consent.client.client_id, consent.resource.client_id
            self._granted.add((user, client, resource, consent.scope))

    def revoke(self, user: str, client: str = "", resource: str = "") -> None:
        """Take back what ``user`` granted, all of it or only one client's or one resource's."""
        self._granted = {
            g
            for g in self._granted
            if g[0] != user or g[1] != (client or g[1]) or g[2] != (resource or g[2])
        }

    def forget(self, application: str) -> None:
        """Drop every consent that the application, by its client id, gave or got."""
        self._granted = {g for g in self._granted if application not in g[1:3]}

    def may_decide(self, user: str) -> bool:
        """Whether ``user`` may consent, rather than an administrator only."""
        return user not in self._may_not

    def missing(self, user: str, wanted: Iterable[Consent]) -> bool:
        """Whether the consent page has to be shown.

        ``.default`` asks for nothing while the client holds any grant for the resource
        (https://learn.microsoft.com/entra/identity-platform/scopes-oidc#the-default-scope).
        """
        for consent in wanted:
            held = self.granted(user, consent.client.client_id, consent.resource.client_id)
            if consent.scope not in held and not (consent.by_default and held):
                return True
        return False


def wanted(
    client: Application, scopes: Scopes, applications: Mapping[str, Application]
) -> list[Consent]:
    """Everything a user agrees to when ``client`` asks for ``scopes``.

    When the resource lists the client in ``knownClientApplications`` and ``.default`` is asked,
    what the resource itself requires further down comes along: one page for both applications
    (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow). That page
    then does not list the step between the two
    (https://github.com/AzureAD/microsoft-identity-web/issues/1597).
    """
    found: list[Consent] = []
    for ask in scopes.asks:
        if ask.name != DEFAULT:
            found.append(Consent(client, ask.resource, ask.name))
            continue
        is_known = client.client_id in ask.resource.known_clients
        for resource_id, scope in client.required:
            if resource_id == ask.resource.client_id:
                found.append(Consent(client, ask.resource, scope, True, hidden=is_known))
        if is_known:
            for resource_id, scope in ask.resource.required:
                below = applications[resource_id]
                found.append(Consent(ask.resource, below, scope, by_default=True))
    graph = applications[GRAPH_ID]
    listed = {consent.scope for consent in found if consent.resource is graph}
    found += [Consent(client, graph, name) for name in sorted(scopes.oidc - listed)]
    return found
