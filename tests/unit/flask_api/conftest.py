"""The API in-process. ``responses`` answers for Microsoft's host names, so no socket is opened."""

import base64
from types import SimpleNamespace

import pytest
import responses
from flask.testing import FlaskClient

from helpers import signing_keys, token_acquisition, token_cache
from main import create_app
from tests.unit.conftest import ARM, SUBSCRIPTIONS, Tenant

TENANT_ID = "11111111-2222-4333-8444-555555555555"
OTHER_TENANT_ID = "99999999-2222-4333-8444-555555555555"
API_ID = "aaaaaaaa-0000-4000-8000-000000000001"
UI_ID = "aaaaaaaa-0000-4000-8000-000000000002"
AUTHORITY = f"https://login.microsoftonline.com/{TENANT_ID}"
ISSUER = f"{AUTHORITY}/v2.0"

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


@pytest.fixture(autouse=True)
def log_of_this_app(log_as_written: None) -> None:
    """Remove DjangoUI's handler, so that tests see the log records of this API unchanged."""


@pytest.fixture
def tenant(network: responses.RequestsMock) -> Tenant:
    return Tenant(network, AUTHORITY, UI_ID, API_ID)


@pytest.fixture
def settings_of_api() -> dict[str, str]:
    return dict(SETTINGS)


@pytest.fixture
def api(tenant: Tenant, settings_of_api: dict[str, str]) -> FlaskClient:
    """The Flask API with settings as in production. It trusts only the tenant."""
    return create_app(settings_of_api).test_client()


@pytest.fixture
def bearer(tenant: Tenant) -> dict[str, str]:
    return {"Authorization": f"Bearer {tenant.access_token()}"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A monotonic clock for the caches; a test sets ``now`` forward."""
    clock = SimpleNamespace(now=1000.0)
    for module in (signing_keys, token_acquisition, token_cache):
        monkeypatch.setattr(module, "monotonic", lambda: clock.now)
    return clock


def challenge(claims: str) -> dict[str, str]:
    """Return the header in which Resource Manager asks for a token with these claims."""
    encoded = base64.b64encode(claims.encode()).decode()
    return {"WWW-Authenticate": f'Bearer realm="", error="insufficient_claims", claims="{encoded}"'}
