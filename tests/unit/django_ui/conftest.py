"""Entra and the API from DjangoUI's side, as prepared responses without sockets."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit
from uuid import uuid4

import pytest
import responses
from django.test import Client
from pytest_django import Settings

HOME_TENANT_OID = "44444444-4444-4444-8444-444444444444"
SUBSCRIPTION = {
    "subscriptionId": "55555555-5555-4555-8555-555555555555",
    "displayName": "Contoso Production",
    "state": "Enabled",
}


@pytest.fixture
def network() -> Iterator[responses.RequestsMock]:
    """Open no socket; an unexpected request fails like a failed connection."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@dataclass
class Entra:
    """A tenant: its discovery document, and the next responses of the token endpoint."""

    authority: str
    client_id: str
    network: responses.RequestsMock
    answers: list[Any] = field(default_factory=list)  # (status, body, headers) or an exception
    token_requests: list[dict[str, str]] = field(default_factory=list)
    nonce: str = ""
    issued: int = 0

    @property
    def tenant_id(self) -> str:
        return self.authority.rpartition("/")[2]

    @property
    def discovery_url(self) -> str:
        return f"{self.authority}/v2.0/.well-known/openid-configuration"

    def discovery(self) -> dict[str, str]:
        return {
            "issuer": f"{self.authority}/v2.0",
            "authorization_endpoint": "https://signin.example/authorize",
            "token_endpoint": f"{self.authority}/oauth2/v2.0/token",
            "end_session_endpoint": "https://signin.example/logout",
        }

    def discovery_requests(self) -> int:
        return sum(call.request.url == self.discovery_url for call in self.network.calls)

    def answer(self, status: int = 200, headers: dict[str, str] | None = None, **body: Any) -> None:
        """Queue one response of the token endpoint."""
        self.answers.append((status, json.dumps(body), headers or {}))

    def answer_tokens(self, **changes: Any) -> None:
        """Queue one token response; ``changes`` replace its members."""
        body = self.tokens() | changes
        self.answer(**{key: value for key, value in body.items() if value is not None})

    def id_token(self, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": f"{self.authority}/v2.0",
            "aud": self.client_id,
            "tid": self.tenant_id,
            "oid": HOME_TENANT_OID,
            "sub": "pairwise",
            "iat": now,
            "exp": now + 3600,
            "nonce": self.nonce,
            "name": "Alice Adams",
            "preferred_username": "alice@contoso.example",
        } | changes
        claims = {key: value for key, value in claims.items() if value is not None}
        return ".".join([_base64({"alg": "RS256"}), _base64(claims), "signature"])

    def tokens(self, **claims: Any) -> dict[str, Any]:
        self.issued += 1
        api = "api://33333333-3333-4333-8333-333333333333"
        return {
            "token_type": "Bearer",
            "scope": f"{api}/access_as_user {api}/.default",
            "expires_in": 3600,
            "access_token": f"access-token-{self.issued}",
            "refresh_token": f"refresh-token-{self.issued}",
            "id_token": self.id_token(**claims),
            "client_info": _base64({"uid": HOME_TENANT_OID, "utid": self.tenant_id}),
        }

    def _token_endpoint(self, request: Any) -> tuple[int, dict[str, str], str]:
        self.token_requests.append(dict(parse_qsl(request.body)))
        if not self.answers:
            return 200, {}, json.dumps(self.tokens())
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, body, headers = answer
        return status, headers, body


@pytest.fixture
def entra(settings: Settings, network: responses.RequestsMock) -> Entra:
    """A separate tenant for each test, so that no test depends on another's cached data."""
    settings.AUTHORITY = f"https://login.example/{uuid4()}"
    tenant = Entra(settings.AUTHORITY, settings.CLIENT_ID, network)
    network.get(tenant.discovery_url, json=tenant.discovery())
    network.add_callback("POST", f"{tenant.authority}/oauth2/v2.0/token", tenant._token_endpoint)
    return tenant


@dataclass
class Api:
    """The Flask API: its next responses. Without any, it lists one subscription."""

    url: str
    answers: list[Any] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None  # called while a request is running

    def answer(
        self, status: int = 200, headers: dict[str, str] | None = None, text: str = "", **body: Any
    ) -> None:
        self.answers.append((status, headers or {}, text or json.dumps(body)))

    def refuse(self, code: str, status: int = 401, headers: dict[str, str] | None = None) -> None:
        self.answer(status, headers, error="an error", code=code, description="A text.")

    def challenge(self, claims: str) -> None:
        encoded = base64.b64encode(claims.encode()).decode()
        challenge = f'Bearer realm="t", error="insufficient_claims", claims="{encoded}"'
        self.refuse("claims_challenge", headers={"WWW-Authenticate": challenge})

    def access_tokens(self) -> list[str]:
        return [request.headers["Authorization"].split()[1] for request in self.requests]

    def _view(self, request: Any) -> tuple[int, dict[str, str], str]:
        self.requests.append(request)
        self.meanwhile()
        if not self.answers:
            return 200, {}, json.dumps({"value": [SUBSCRIPTION]})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, tuple)
        return answer


@pytest.fixture
def api(settings: Settings, network: responses.RequestsMock) -> Api:
    """The Flask API at the address in the settings."""
    flask_api = Api(settings.FLASK_BACKEND_URL)
    network.add_callback("GET", flask_api.url, flask_api._view)
    return flask_api


class Browser(Client):
    """Django's test client on localhost, which walks through Entra's part of a sign-in."""

    entra: Entra

    def begin(self, address: str = "/account/login") -> dict[str, str]:
        """Open ``address``, follow the redirect to Entra, and return the query of its URL."""
        response = self.get(address)
        while response.status_code == 302 and response["Location"].startswith("/"):
            response = self.get(response["Location"])
        assert response.status_code == 302, response.content
        query = parse_qs(urlsplit(response["Location"]).query)
        self.entra.nonce = query["nonce"][0]
        return {key: values[0] for key, values in query.items()}

    def finish(self, query: dict[str, str], **answer: str) -> Any:
        """Come back from Entra with ``answer`` (a code, unless an error is given)."""
        answer = answer or {"code": "the-code"}
        return self.get("/account/callback", {**answer, "state": query["state"]})

    def sign_in(self, address: str = "/account/login") -> Any:
        return self.finish(self.begin(address))


@pytest.fixture
def visitor(db: None, entra: Entra, api: Api) -> Browser:
    """A browser without a signed-in user."""
    browser = Browser(headers={"host": "localhost:8000"})
    browser.entra = entra
    return browser


@pytest.fixture
def signed_in(visitor: Browser) -> Browser:
    """A browser in which Alice is signed in."""
    assert visitor.sign_in().status_code == 302
    return visitor


def _base64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
