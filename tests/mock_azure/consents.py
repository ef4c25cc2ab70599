"""The consents that users and administrators gave, like Graph's ``oauth2PermissionGrants``."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .directory import GRAPH_ID, Application, User
from .scopes import DEFAULT, Scopes

EVERYBODY = ""  # instead of a user's key: an administrator has consented for all users


class Consent(NamedTuple):
    """One permission: ``client`` may call ``resource`` with ``scope`` as the user who consents."""

    client: Application
    resource: Application
    scope: str
    by_default: bool = False
    hidden: bool = False  # granted, but not listed on the consent page


class Consents:
    def __init__(self, users: Mapping[str, User]) -> None:
        self._granted: set[tuple[str, str, str, str]] = set()
        self._may_not = {user.key for user in users.values() if not user.may_consent}

    def granted(self, user: str, client: str, resource: str) -> set[str]:
        """Return the scopes of ``resource`` that ``client`` may use for ``user``, by client IDs."""
        agreed = {(user, client, resource), (EVERYBODY, client, resource)}
        # A copy, because another user may consent meanwhile.
        return {g[3] for g in self._granted.copy() if g[:3] in agreed}

    def grant(self, user: str, consents: Iterable[Consent]) -> None:
        for consent in consents:
            client, resource = consent.client.client_id, consent.resource.client_id
            self._granted.add((user, client, resource, consent.scope))

    def revoke(self, user: str, client: str = "", resource: str = "") -> None:
        """Revoke the consents of ``user``: all, or only those of one client or resource."""
        self._granted = {
            g
            for g in self._granted.copy()
            if g[0] != user or g[1] != (client or g[1]) or g[2] != (resource or g[2])
        }

    def may_decide(self, user: str) -> bool:
        """Return whether ``user`` may consent without an administrator."""
        return user not in self._may_not

    def missing(self, user: str, requested: Iterable[Consent]) -> bool:
        """Return whether the consent page must be shown.

        ``.default`` asks for nothing while the client holds any grant for the resource
        (https://learn.microsoft.com/entra/identity-platform/scopes-oidc#the-default-scope).
        """
        for consent in requested:
            held = self.granted(user, consent.client.client_id, consent.resource.client_id)
            if consent.scope not in held and not (consent.by_default and held):
                return True
        return False


def requested(
    client: Application, scopes: Scopes, applications: Mapping[str, Application]
) -> list[Consent]:
    """Return everything that a user consents to when ``client`` requests ``scopes``.

    If the resource lists the client in ``knownClientApplications`` and ``.default`` is requested,
    one page asks for the permissions of both applications
    (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow). That page
    does not list the client's permission to call the resource
    (https://github.com/AzureAD/microsoft-identity-web/issues/1597).
    """
    consents: list[Consent] = []
    for ask in scopes.asks:
        if ask.name != DEFAULT:
            consents.append(Consent(client, ask.resource, ask.name))
            continue
        is_known = client.client_id in ask.resource.known_clients
        for resource_id, scope in client.required:
            if resource_id == ask.resource.client_id:
                consents.append(Consent(client, ask.resource, scope, True, hidden=is_known))
        if is_known:
            for resource_id, scope in ask.resource.required:
                below = applications[resource_id]
                consents.append(Consent(ask.resource, below, scope, by_default=True))
    graph = applications[GRAPH_ID]
    listed = {consent.scope for consent in consents if consent.resource is graph}
    consents += [Consent(client, graph, name) for name in sorted(scopes.oidc - listed)]
    return consents
