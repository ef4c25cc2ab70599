"""The API in-process. ``responses`` answers for Microsoft's host names, so no socket is opened."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import responses
from flask.testing import FlaskClient

from main import create_app
from tests.mock_azure.keys import SigningKey
from tests.mock_azure.tokens import sign

TENANT_ID = "11111111-2222-4333-8444-555555555555"
OTHER_TENANT_ID = "99999999-2222-4333-8444-555555555555"
API_ID = "aaaaaaaa-0000-4000-8000-000000000001"
UI_ID = "aaaaaaaa-0000-4000-8000-000000000002"
AUTHORITY = f"https://login.microsoftonline.com/{TENANT_ID}"
ISSUER = f"{AUTHORITY}/v2.0"
ARM = "https://management.azure.com"
SUBSCRIPTIONS = f"{ARM}/subscriptions?api-version=2020-01-01"

# The beginning of each challenge.
REALM = f'Bearer realm="{TENANT_ID}", authorization_uri="{AUTHORITY}/oauth2/v2.0/authorize"'

SETTINGS = {
    "FLASK_ENV": "production",
    "CLIENT_ID": API_ID,
    "CLIENT_SECRET": "secret-of-the-api",
    "CLIENT_CERTIFICATE": "",
    "CLIENT_ASSERTION_FILE": "",
    "MANAGED_IDENTITY_CLIENT_ID": "",
    "AUTHORITY": AUTHORITY,
    "ISSUER": ISSUER,
    "SCOPE": f"{ARM}/user_impersonation",
    "AZURE_MANAGEMENT_SUBSCRIPTIONS_URI": SUBSCRIPTIONS,
    "REQUIRED_SCOPE": "access_as_user",
    "ALLOWED_CLIENT_IDS": "",
    "CA_BUNDLE": "",
    "LOG_LEVEL": "INFO",
}


class Tenant:
    """Signs tokens and publishes keys like the tenant's Entra, and answers for ARM."""

    key = SigningKey()
    stranger = SigningKey()

    def __init__(self, net: responses.RequestsMock) -> None:
        self.net = net
        self.metadata = {
            "issuer": ISSUER,
            "jwks_uri": f"{AUTHORITY}/discovery/v2.0/keys",
            "authorization_endpoint": f"{AUTHORITY}/oauth2/v2.0/authorize",
            "token_endpoint": f"{AUTHORITY}/oauth2/v2.0/token",
        }
        self.token_endpoint = self.metadata["token_endpoint"]
        self.discovery = f"{ISSUER}/.well-known/openid-configuration"
        net.get(self.discovery, json=self.metadata)
        net.get(self.metadata["jwks_uri"], json={"keys": [self.key.as_jwk(ISSUER)]})

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a valid access token.

        A change to ``None`` leaves the claim out; a ``timedelta`` counts from now.
        """
        now = int(time.time())
        for name, value in changes.items():
            if isinstance(value, timedelta):
                changes[name] = now + int(value.total_seconds())
        good = {
            "aud": API_ID,
            "iss": ISSUER,
            "iat": now - 300,
            "nbf": now - 300,
            "exp": now + 3600,
            "azp": UI_ID,
            "azpacr": "1",
            "oid": "0b1d0000-0000-4000-8000-00000000a11c",
            "preferred_username": "alice@contoso.example",
            "scp": "access_as_user",
            "sub": "pairwise",
            "tid": TENANT_ID,
            "ver": "2.0",
        }
        return {name: value for name, value in (good | changes).items() if value is not None}

    def header(self, **changes: Any) -> dict[str, Any]:
        good = {"typ": "JWT", "alg": "RS256", "kid": self.key.kid}
        return {name: value for name, value in (good | changes).items() if value is not None}

    def issue_access_token(self, **changes: Any) -> str:
        return sign(self.header(), self.claims(**changes), self.key.private)

    def grants(self, access_token: str = "token-b", **changes: Any) -> None:
        """Make the next exchanges succeed."""
        answer = {"token_type": "Bearer", "expires_in": 3600, "access_token": access_token}
        self.net.post(self.token_endpoint, json=answer | changes)

    def lists(self, *names: str) -> None:
        """Make ARM return subscriptions with these names."""
        value = [{"subscriptionId": name, "displayName": name} for name in names]
        self.net.get(SUBSCRIPTIONS, json={"value": value})

    def calls(self, method: str, url: str) -> list[Any]:
        """The requests that were sent to ``url``."""
        return [
            call.request
            for call in self.net.calls
            if call.request.method == method and (call.request.url or "").startswith(url)
        ]


@pytest.fixture(autouse=True)
def log_of_this_app(log_as_written: None) -> None:
    """Remove DjangoUI's handler, so that tests see the log records of this API unchanged."""


@pytest.fixture
def tenant() -> Iterator[Tenant]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as net:
        yield Tenant(net)


@pytest.fixture
def settings_of_api() -> dict[str, str]:
    return dict(SETTINGS)


@pytest.fixture
def api(tenant: Tenant, settings_of_api: dict[str, str]) -> FlaskClient:
    """The Flask API with settings as in production. It trusts only the tenant."""
    return create_app(settings_of_api).test_client()


@pytest.fixture
def bearer(tenant: Tenant) -> dict[str, str]:
    return {"Authorization": f"Bearer {tenant.issue_access_token()}"}
