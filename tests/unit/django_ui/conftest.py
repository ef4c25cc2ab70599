"""DjangoUI in-process: Entra and the API are prepared responses, so no socket is opened."""

import base64
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
import responses
from django.test import Client
from pytest_django import Settings

from tests.unit.conftest import Server, Tenant

API_ID = "33333333-3333-4333-8333-333333333333"
SUBSCRIPTION = {
    "subscriptionId": "55555555-5555-4555-8555-555555555555",
    "displayName": "Contoso Production",
    "state": "Enabled",
}


@pytest.fixture
def tenant(settings: Settings, network: responses.RequestsMock) -> Tenant:
    """A separate tenant for each test, so that no test depends on another's cached data."""
    settings.AUTHORITY = f"https://login.example/{uuid4()}"
    return Tenant(network, settings.AUTHORITY, settings.CLIENT_ID, API_ID)


class Api(Server):
    """The Flask API, which lists one subscription as usual."""

    def usual(self, request: Any) -> dict[str, Any]:
        return {"value": [SUBSCRIPTION]}

    def refuse(self, code: str, status: int = 401, headers: dict[str, str] | None = None) -> None:
        self.answer(status, headers, error="an error", code=code, description="A text.")

    def challenge(self, claims: str) -> None:
        encoded = base64.b64encode(claims.encode()).decode()
        challenge = f'bearer realm="t", error="insufficient_claims", claims="{encoded}"'
        self.refuse("claims_challenge", headers={"WWW-Authenticate": challenge})

    def access_tokens(self) -> list[str]:
        return [request.headers["Authorization"].split()[1] for request in self.requests]


@pytest.fixture
def api(settings: Settings, network: responses.RequestsMock) -> Api:
    """The Flask API at the address in the settings."""
    return Api(network, "GET", settings.FLASK_BACKEND_URL)


class SignInClient(Client):
    """Django's test client on localhost, which walks through Entra's part of a sign-in."""

    tenant: Tenant

    def begin(self, address: str = "/account/login") -> dict[str, str]:
        """Open ``address``, follow the redirect to Entra, and return the query of its URL."""
        response = self.get(address)
        while response.status_code == 302 and response["Location"].startswith("/"):
            response = self.get(response["Location"])
        assert response.status_code == 302, response.content
        query = parse_qs(urlsplit(response["Location"]).query)
        self.tenant.nonce = query["nonce"][0]
        return {key: values[0] for key, values in query.items()}

    def finish(self, query: dict[str, str], **answer: str) -> Any:
        """Come back from Entra with ``answer`` (a code, unless an error is given)."""
        answer = answer or {"code": "the-code"}
        return self.get("/account/callback", {**answer, "state": query["state"]})

    def sign_in(self, address: str = "/account/login") -> Any:
        return self.finish(self.begin(address))


@pytest.fixture
def visitor(db: None, tenant: Tenant, api: Api) -> SignInClient:
    """A browser without a signed-in user."""
    browser = SignInClient(headers={"host": "localhost:8000"})
    browser.tenant = tenant
    return browser


@pytest.fixture
def signed_in(visitor: SignInClient) -> SignInClient:
    """A browser in which Alice is signed in."""
    assert visitor.sign_in().status_code == 302
    return visitor
