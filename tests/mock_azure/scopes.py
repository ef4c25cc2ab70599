"""The ``scope`` parameter: scopes of resources, and those of OpenID Connect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .directory import GRAPH_ID, OIDC_SCOPES, Application
from .errors import EntraError

DEFAULT = ".default"


class Ask(NamedTuple):
    """One scope, e.g. ``api://<id>/access_as_user``: ``audience`` is the part before the name."""

    resource: Application
    audience: str
    name: str


@dataclass(frozen=True)
class Scopes:
    oidc: frozenset[str]
    asks: tuple[Ask, ...]

    def of_one_resource(self) -> tuple[Application, str, list[str]]:
        """Return the resource, its name as the client wrote it, and the names of its scopes.

        :raises EntraError: 28000 if there are several resources, as a token is for one only.
        """
        first = self.asks[0]
        if any(ask.resource != first.resource for ask in self.asks):
            raise EntraError(28000, scope=" ".join(f"{a.audience}/{a.name}" for a in self.asks))
        return first.resource, first.audience, [ask.name for ask in self.asks]


def parse(text: str, client: Application, applications: Mapping[str, Application]) -> Scopes:
    """Parse a space-separated ``scope`` parameter; a scope without a resource is Microsoft Graph's.

    :raises EntraError: 900144 if it is empty, 500011 for an unknown resource, 650053 for an unknown
        scope, 650057 for ``.default`` of a resource that the client's registration does not list,
        90009 if the client requests a token for itself.
    """
    words = text.split()
    if not words:
        raise EntraError(900144, name="scope")
    oidc = frozenset(words) & OIDC_SCOPES
    asks = [_ask(word, client, applications) for word in words if word not in OIDC_SCOPES]
    if not asks:
        asks = [Ask(applications[GRAPH_ID], GRAPH_ID, name) for name in sorted(oidc)]
    return Scopes(oidc, tuple(asks))


def find_resource(name: str, applications: Mapping[str, Application]) -> Application | None:
    """Return the application whose client ID or URI is ``name``."""
    # ARM's older identifier ends in a slash, hence "https://management.azure.com//.default".
    identifier = name.removesuffix("/")
    for resource in applications.values():
        if identifier == resource.client_id or identifier in resource.uris:
            return resource
    return None


def _ask(word: str, client: Application, applications: Mapping[str, Application]) -> Ask:
    audience, slash, name = word.rpartition("/")
    if not slash:
        audience = applications[GRAPH_ID].uris[0]
    resource = find_resource(audience, applications)
    if resource is None:
        raise EntraError(500011, resource=audience, tenant="this tenant")
    if resource.client_id == client.client_id:
        raise EntraError(90009, client=client.name)
    if name == DEFAULT:
        if not any(required == resource.client_id for required, _ in client.required):
            raise EntraError(650057, client=client.name, resource=resource.name)
    elif name not in resource.permissions:
        raise EntraError(650053, client=client.name, scope=name, resource=resource.name)
    return Ask(resource, audience, name)
