"""Azure, for the unit tests of both apps: prepared responses instead of sockets."""

import json
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
import responses
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.mock_azure.keys import SigningKey, base64url
from tests.mock_azure.tokens import sign

ARM = "https://management.azure.com"
SUBSCRIPTIONS = f"{ARM}/subscriptions?api-version=2020-01-01"


@pytest.fixture(autouse=True)
def quick_trust(one_root: None) -> None:
    """Don't load the public roots: no unit test connects to a public server."""


@pytest.fixture
def network() -> Iterator[responses.RequestsMock]:
    """Open no socket; an unexpected request fails like a failed connection."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


class Server:
    """A server that returns the prepared ``answers`` in order, and after those its usual one.

    An answer is ``(status, headers, body)``, an exception, or a function of the request.
    """

    def __init__(self, network: responses.RequestsMock, method: str, url: str) -> None:
        self.network, self.method, self.url = network, method, url
        self.answers: list[Any] = []
        self.meanwhile: Callable[[], object] = lambda: None  # called while a request is running
        network.add_callback(method, url, self._respond)

    def usual(self, request: Any) -> dict[str, Any]:
        """Return the body of the usual answer to ``request``."""
        raise NotImplementedError

    def answer(
        self, status: int = 200, headers: dict[str, str] | None = None, text: str = "", **body: Any
    ) -> None:
        """Prepare the next answer."""
        self.answers.append((status, headers or {}, text or json.dumps(body)))

    def calls(self, method: str, url: str) -> list[Any]:
        """The requests that were sent to ``url``, of this server or another."""
        return [
            call.request
            for call in self.network.calls
            if call.request.method == method and (call.request.url or "").startswith(url)
        ]

    @property
    def requests(self) -> list[Any]:
        return self.calls(self.method, self.url)

    def _respond(self, request: Any) -> Any:
        self.meanwhile()
        if not self.answers:
            return 200, {}, json.dumps(self.usual(request))
        answer = self.answers.pop(0)
        return answer(request) if callable(answer) else answer


EXCHANGED: dict[str, Any] = {"token_type": "Bearer", "expires_in": 3600, "access_token": "token-b"}


class Tenant(Server):
    """A tenant: Entra's discovery, signing keys and token endpoint, and Resource Manager's list.

    Each request for tokens succeeds, unless another answer is prepared.
    """

    key = SigningKey()
    stranger = SigningKey()  # is not published
    oid = "44444444-4444-4444-8444-444444444444"
    nonce = ""  # of the last sign-in
    issued = 0

    def __init__(
        self, network: responses.RequestsMock, authority: str, ui_id: str, api_id: str
    ) -> None:
        self.authority, self.ui_id, self.api_id = authority, ui_id, api_id
        self.tenant_id = authority.rpartition("/")[2]
        self.issuer = f"{authority}/v2.0"
        self.token_endpoint = f"{authority}/oauth2/v2.0/token"
        self.discovery_url = f"{self.issuer}/.well-known/openid-configuration"
        self.metadata = {
            "issuer": self.issuer,
            "jwks_uri": f"{authority}/discovery/v2.0/keys",
            "authorization_endpoint": "https://signin.example/authorize",
            "token_endpoint": self.token_endpoint,
            "end_session_endpoint": "https://signin.example/logout",
        }
        network.get(self.discovery_url, json=self.metadata)
        network.get(self.metadata["jwks_uri"], json={"keys": [self.key.as_jwk(self.issuer)]})
        super().__init__(network, "POST", self.token_endpoint)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a valid access token for the API.

        A change to ``None`` leaves the claim out; a ``timedelta`` counts from now.
        """
        now = int(time.time())
        for name, value in changes.items():
            if isinstance(value, timedelta):
                changes[name] = now + int(value.total_seconds())
        return _present(
            {
                "aud": self.api_id,
                "iss": self.issuer,
                "iat": now - 300,
                "nbf": now - 300,
                "exp": now + 3600,
                "azp": self.ui_id,
                "azpacr": "1",
                "oid": self.oid,
                "preferred_username": "alice@contoso.example",
                "scp": "access_as_user",
                "sub": "pairwise",
                "tid": self.tenant_id,
                "ver": "2.0",
            }
            | changes
        )

    def header(self, **changes: Any) -> dict[str, Any]:
        return _present({"typ": "JWT", "alg": "RS256", "kid": self.key.kid} | changes)

    def access_token(self, **changes: Any) -> str:
        return sign(self.header(), self.claims(**changes), self.key.private)

    def id_token(self, **changes: Any) -> str:
        """Return Alice's ID token for the web app."""
        of_access_tokens = dict.fromkeys(("azp", "azpacr", "scp"))
        usual = {"aud": self.ui_id, "name": "Alice Adams", "nonce": self.nonce}
        return self.access_token(**of_access_tokens | usual | changes)

    def tokens(self) -> dict[str, Any]:
        """Return the response to a sign-in or a renewal, with numbered tokens."""
        self.issued += 1
        client_info = json.dumps({"uid": self.oid, "utid": self.tenant_id})
        return {
            "token_type": "Bearer",
            "scope": f"api://{self.api_id}/access_as_user api://{self.api_id}/.default",
            "expires_in": 3600,
            "access_token": f"access-token-{self.issued}",
            "refresh_token": f"refresh-token-{self.issued}",
            "id_token": self.id_token(),
            "client_info": base64url(client_info.encode()),
        }

    def usual(self, request: Any) -> dict[str, Any]:
        return EXCHANGED if "on_behalf_of" in request.body else self.tokens()

    def answer_tokens(self, **changes: Any) -> None:
        """Prepare a response with tokens; a change to ``None`` leaves a member out."""
        self.answer(**_present(self.tokens() | changes))

    def grants(self, access_token: str = "token-b", **changes: Any) -> None:
        """Prepare the response to an exchange."""
        self.answer(**EXCHANGED | {"access_token": access_token} | changes)

    def lists(self, *names: str) -> None:
        """Make Resource Manager return subscriptions with these names."""
        value = [{"subscriptionId": name, "displayName": name} for name in names]
        self.network.get(SUBSCRIPTIONS, json={"value": value})

    @property
    def token_requests(self) -> list[dict[str, str]]:
        """The forms that were sent to the token endpoint."""
        return [dict(parse_qsl(call.body)) for call in self.requests]


CERTIFICATE = ssl.DER_cert_to_PEM_cert(Tenant.key.der)


def pem_of(key: PrivateKeyTypes, password: bytes = b"") -> str:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def _present(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
