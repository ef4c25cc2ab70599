"""An authorization request and its validation (RFC 6749 section 4.1.1, RFC 7636)."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from . import consents, policies
from .context import azure
from .directory import Application, Json
from .errors import EntraError
from .scopes import Scopes
from .scopes import parse as parse_scopes

PROMPTS = {"", "login", "none", "consent", "select_account"}


@dataclass(frozen=True)
class AuthorizeRequest:
    """One authorization request; an absent parameter is an empty string."""

    query: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.query.get(name, "")

    @property
    def client(self) -> Application:
        return azure.applications[self["client_id"]]

    @property
    def scopes(self) -> Scopes:
        return parse_scopes(self["scope"], self.client, azure.applications)

    @property
    def claims(self) -> Json:
        return policies.parse_claims(self["claims"])

    @property
    def asked(self) -> list[consents.Consent]:
        return consents.requested(self.client, self.scopes, azure.applications)

    def check_client(self) -> None:
        """:raises EntraError: for an error page, because the client can't be trusted."""
        if not (client_id := self["client_id"]):
            raise EntraError(900144, name="client_id")
        if client_id not in azure.applications:
            raise EntraError(700016, client=client_id, tenant=azure.tenant_id)
        if not is_registered(self["redirect_uri"], self.client):
            raise EntraError(50011, redirect_uri=self["redirect_uri"], client=self.client.name)

    def check(self) -> None:
        """:raises EntraError: an error that belongs to the client's redirect URI."""
        if self["response_mode"] not in ("", "query", "fragment", "form_post"):
            raise EntraError(70007, response_mode=self["response_mode"])
        demanded = ["code_challenge"] if azure.require_pkce else []
        for name in ("response_type", "scope", *demanded):
            if not self[name]:
                raise EntraError(900144, name=name)
        if self["response_type"] != "code":
            raise EntraError(700054, response_type=self["response_type"])
        self._check_challenge()
        if self["prompt"] not in PROMPTS:
            raise EntraError(90023, name="prompt", value=self["prompt"])
        if self["max_age"] and not re.fullmatch("[0-9]{1,9}", self["max_age"]):
            raise EntraError(90023, name="max_age", value=self["max_age"])
        assert self.scopes.asks  # parsing raises EntraError
        assert self.claims is not None  # likewise

    def _check_challenge(self) -> None:
        """Entra accepts ``plain`` too, and requires a challenge only from single-page apps.

        https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
        """
        challenge, method = self["code_challenge"], self["code_challenge_method"]
        if method not in ("", "plain", "S256") or (azure.require_pkce and method != "S256"):
            raise EntraError(90023, name="code_challenge_method", value=method)
        sizes = range(43, 44) if method == "S256" else range(43, 129)
        if (challenge or method) and len(challenge) not in sizes:
            raise EntraError(501491)


class ErrorForClient(Exception):
    """An error to send to the client's redirect URI."""

    def __init__(self, authorization: AuthorizeRequest, error: EntraError) -> None:
        self.authorization = authorization
        self.error = error
        super().__init__(error.text)


def is_registered(uri: str, client: Application) -> bool:
    """Return whether ``uri`` exactly matches one of the client's redirect URIs.

    The port is ignored for http://localhost
    (https://learn.microsoft.com/entra/identity-platform/reply-url#localhost-exceptions).
    """
    return any(
        _without_port(uri) == _without_port(registered) for registered in client.redirect_uris
    )


def _without_port(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        if parts.port and parts.scheme == "http" and parts.hostname == "localhost":
            return uri.replace(f"//localhost:{parts.port}", "//localhost", 1)
    except ValueError:
        pass
    return uri
