"""The mock without a socket: Flask's test client, once for each channel."""

import hashlib
import itertools
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask.testing import FlaskClient

from tests.mock_azure import MockAzure, identities
from tests.mock_azure.keys import SigningKey, base64url
from tests.visitor import form_of

REDIRECT_URI = "http://localhost:8000/account/callback"
VERIFIER = "v" * 43
CHALLENGE = base64url(hashlib.sha256(VERIFIER.encode()).digest())
ON_BEHALF_OF = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture(scope="session")
def one_azure() -> MockAzure:
    return MockAzure()


@pytest.fixture(scope="session")
def issuer_keys():
    return itertools.cycle([SigningKey(), SigningKey()])


@pytest.fixture
def quick_issuers(issuer_keys, monkeypatch):
    """Give further issuers keys that were made before, because making one takes long."""
    monkeypatch.setattr(identities, "SigningKey", lambda: next(issuer_keys))


class Client(FlaskClient):
    """Flask's test client for one channel, which fills in the forms of Entra's pages."""

    def __init__(self, azure, channel):
        super().__init__(azure.app, azure.app.response_class)
        self.azure = azure
        self.environ_base["mock_azure.channel"] = channel

    def authorize(self, **parameters):
        """GET /authorize with a valid request, changed by ``parameters``; None removes one."""
        request = {
            "client_id": self.azure.ui.client_id,
            "response_type": "code",
            "redirect_uri": REDIRECT_URI,
            "scope": f"api://{self.azure.api.client_id}/.default openid profile offline_access",
            "state": "the state",
            "nonce": "the nonce",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "client_info": "1",
        } | parameters
        request = {name: value for name, value in request.items() if value is not None}
        path = f"/{self.azure.tenant_id}/oauth2/v2.0/authorize"
        return self.get(path, query_string=request)

    def press(self, page, name, value):
        """Submit the page's form by the button ``name=value``."""
        action, fields = form_of(page.text)
        return self.post(action, data=fields | {name: value})

    def sign_in(self, user="alice", **parameters):
        """Walk through sign-in and consent; return the parameters that reach the client."""
        page = self.press(self.authorize(**parameters), "user", user)
        if "Permissions requested" in page.text:
            page = self.press(page, "decision", "accept")
        return parameters_of(page)


@pytest.fixture
def front(azure):
    """A browser: it keeps cookies."""
    return Client(azure, "front")


@pytest.fixture
def back(azure):
    """A server."""
    return Client(azure, "back")


def parameters_of(response):
    """Return the parameters of a redirect to the client."""
    assert response.status_code == 303, response.text
    assert response.headers["Location"].startswith(f"{REDIRECT_URI}?"), response.headers
    return dict(parse_qsl(urlsplit(response.headers["Location"]).query))


@pytest.fixture
def redirected():
    return parameters_of


@pytest.fixture
def post_token(azure, back):
    """POST to the token endpoint as ``app``; None removes a parameter."""

    def post(app, headers=None, **form):
        form = {"client_id": app.client_id, "client_secret": app.secret, **form}
        form = {name: value for name, value in form.items() if value is not None}
        path = f"/{azure.tenant_id}/oauth2/v2.0/token"
        return back.post(path, data=form, headers=headers or {})

    return post


@pytest.fixture
def redeem(azure, post_token):
    """Redeem an authorization code as the UI."""

    def redeem(code, app=None, **form):
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": VERIFIER,
            "client_info": "1",
            **form,
        }
        return post_token(app or azure.ui, **form)

    return redeem


@pytest.fixture
def exchange(azure, post_token):
    """Exchange a token on behalf of its user, as the API."""

    def exchange(assertion, app=None, **form):
        form = {
            "grant_type": ON_BEHALF_OF,
            "requested_token_use": "on_behalf_of",
            "assertion": assertion,
            "scope": "https://management.azure.com/user_impersonation",
            **form,
        }
        return post_token(app or azure.api, **form)

    return exchange


@pytest.fixture
def arm_token(azure, exchange):
    """A token for ARM, acquired in the same way as by the API."""

    def arm_token(user="alice", **form):
        azure.consent_all(user)
        response = exchange(azure.access_token(user), **form)
        assert response.status_code == 200, response.text
        return response.json["access_token"]

    return arm_token


@pytest.fixture
def list_subscriptions(back):
    def list_subscriptions(token, address="/subscriptions?api-version=2020-01-01"):
        return back.get(address, headers={"Authorization": f"Bearer {token}"})

    return list_subscriptions
