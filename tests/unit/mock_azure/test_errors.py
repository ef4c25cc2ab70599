"""A test provokes each number of the AADSTS table and finds it in the response."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

import pytest

from tests.mock_azure import MockAzure
from tests.mock_azure.client_authentication import ASSERTION_TYPE
from tests.mock_azure.directory import COMMAND_LINE_ID, EXCHANGE_URI
from tests.mock_azure.errors import AADSTS
from tests.mock_azure.identities import Issuer
from tests.mock_azure.keys import SigningKey
from tests.mock_azure.tokens import unverified

# These need what the mock does not simulate: disabled accounts, devices, load, idle months.
# A test that needs one asks for it as a fault.
ON_DEMAND = [50057, 50079, 50105, 50196, 53000, 70043, 90033, 90055, 90072]
CLUSTER, POD = "https://cluster.example/", "system:serviceaccount:default:flask-api"


class Clients(NamedTuple):
    """The mock, and the requests of its clients; each method returns the response."""

    azure: MockAzure
    front: Any
    back: Any
    exchange: Callable[..., Any]
    redeem: Callable[..., Any]
    post_token: Callable[..., Any]

    def on_behalf(self, user="alice", consent=True, **claims):
        """The exchange of a token A with these claims."""
        if consent:
            self.azure.consent_all(user)
        return self.exchange(self.azure.access_token(user, **claims))

    def for_scope(self, scope):
        self.azure.consent_all()
        return self.exchange(self.azure.access_token(), scope=scope)

    def code(self):
        return self.front.sign_in()["code"]

    def redeemed(self, later=0, **form):
        code = self.code()
        self.azure.clock.advance(later)
        return self.redeem(code, **form)

    def refreshed(self, later):
        token = self.redeemed().json["refresh_token"]
        self.azure.clock.advance(later)
        return self.post_token(self.azure.ui, grant_type="refresh_token", refresh_token=token)

    def chosen(self, user, decision=""):
        page = self.front.press(self.front.authorize(), "user", user)
        return self.front.press(page, "decision", decision) if decision else page

    def device(self, later=0):
        form = {"client_id": COMMAND_LINE_ID, "scope": "openid"}
        path = f"/{self.azure.tenant_id}/oauth2/v2.0"
        form["device_code"] = self.back.post(f"{path}/devicecode", data=form).json["device_code"]
        form["grant_type"] = "urn:ietf:params:oauth:grant-type:device_code"
        self.azure.clock.advance(later)
        return self.back.post(f"{path}/token", data=form)

    def federated(self, *trusted, published=True, assertion="", key=None, **claims):
        """The API's exchange with its pod's token; ``trusted`` is the credential to register."""
        cluster = self.azure.add_issuer(CLUSTER) if published else Issuer(CLUSTER)
        if trusted:
            self.azure.trust(self.azure.api, *trusted)
        assertion = assertion or cluster.token(POD, self.azure.clock.now(), key=key, **claims)
        proof = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        return self.exchange(self.azure.access_token(), client_secret=None, **proof)

    def by_an_app(self):
        """As ``federated``, with a token that Entra issued to another registration."""
        form = {"grant_type": "client_credentials", "scope": f"{EXCHANGE_URI}/.default"}
        token = self.post_token(self.azure.ui, **form).json["access_token"]
        return self.federated(self.azure.issuer, unverified(token)["sub"], assertion=token)

    def during(self, control, *arguments):
        """The exchange after a control was used."""
        token = self.azure.access_token()
        self.azure.consent_all()
        self.azure.clock.advance(5)
        control(*arguments)
        return self.exchange(token)


PROVOKED: dict[int, Callable[[Clients], Any]] = {
    28000: lambda it: it.for_scope("https://management.azure.com/user_impersonation User.Read"),
    50011: lambda it: it.front.authorize(redirect_uri="https://evil.example/"),
    50013: lambda it: it.exchange("junk"),
    50034: lambda it: it.on_behalf(oid="nobody", aio=None),
    50058: lambda it: it.front.authorize(prompt="none"),
    50076: lambda it: it.on_behalf("carol"),
    50173: lambda it: it.during(it.azure.revoke_sessions),
    50194: lambda it: it.back.post(
        "/organizations/oauth2/v2.0/token",
        data={
            "client_id": it.azure.ui.client_id,
            "client_secret": it.azure.ui.secret,
            "grant_type": "refresh_token",
        },
    ),
    53003: lambda it: it.during(it.azure.policies.add, "block"),
    54005: lambda it: [it.redeem(code) for code in [it.code()] * 2][-1],
    65001: lambda it: it.on_behalf(consent=False),
    65004: lambda it: it.chosen("alice", "cancel"),
    70000: lambda it: it.redeemed(app=it.azure.api),
    70003: lambda it: it.post_token(it.azure.ui, grant_type="magic"),
    70007: lambda it: it.front.authorize(response_mode="web_message"),
    70008: lambda it: it.redeemed(later=601),
    70016: lambda it: it.device(),
    70020: lambda it: it.device(later=901),
    70025: lambda it: it.federated(),
    90002: lambda it: it.back.post("/other.example/oauth2/v2.0/token"),
    90009: lambda it: it.for_scope(f"{it.azure.api.uris[0]}/access_as_user"),
    90023: lambda it: it.front.authorize(prompt="sometimes"),
    90094: lambda it: it.chosen("dave"),
    240002: lambda it: it.exchange(it.redeemed().json["id_token"]),
    500011: lambda it: it.for_scope("api://other/.default"),
    500131: lambda it: it.on_behalf(aud="another API"),
    500133: lambda it: it.on_behalf(exp=1),
    501481: lambda it: it.redeemed(code_verifier="w" * 43),
    501491: lambda it: it.front.authorize(code_challenge="short"),
    501661: lambda it: it.federated(CLUSTER, POD, published=False),
    650053: lambda it: it.front.authorize(scope="User.Write"),
    650057: lambda it: it.front.authorize(scope="https://management.azure.com/.default"),
    700016: lambda it: it.front.authorize(client_id="00000000-0000-0000-0000-000000000000"),
    700024: lambda it: it.federated(CLUSTER, POD, exp=1),
    700027: lambda it: it.federated(iss=it.azure.api.client_id),
    700054: lambda it: it.front.authorize(response_type="token"),
    700082: lambda it: it.refreshed(later=91 * 24 * 3600),
    700211: lambda it: it.federated("https://other.example/", POD),
    700212: lambda it: it.federated(CLUSTER, POD, "api://other"),
    700213: lambda it: it.federated(CLUSTER, POD.upper()),
    700222: lambda it: it.by_an_app(),
    900144: lambda it: it.front.authorize(client_id=None),
    1002012: lambda it: it.post_token(
        it.azure.api, grant_type="client_credentials", scope="https://management.azure.com/x"
    ),
    7000114: lambda it: it.on_behalf(scp=None, idtyp="app"),
    7000215: lambda it: it.exchange(it.azure.access_token(), client_secret="wrong"),
    7000218: lambda it: it.exchange(it.azure.access_token(), client_secret=None),
    7000222: lambda it: it.during(it.azure.scenarios.switch_on, "secret-expired"),
    7000272: lambda it: it.federated(CLUSTER, POD, key=SigningKey()),
    9002313: lambda it: it.redeem("junk"),
}


@pytest.fixture
def clients(azure, front, back, exchange, redeem, post_token, quick_issuers):
    return Clients(azure, front, back, exchange, redeem, post_token)


def numbers_in(response):
    """The AADSTS numbers in a body, a page or a redirect."""
    told = response.text + unquote_plus(response.headers.get("Location", ""))
    return {int(number) for number in re.findall(r"AADSTS(\d+)", told)}


@pytest.mark.parametrize("code", sorted(AADSTS.keys() - {*ON_DEMAND}))
def test_is_answered_to_what_provokes_it(clients, code):
    response = PROVOKED[code](clients)
    assert numbers_in(response) == {code}
    told = unescape(response.text) + unquote_plus(response.headers.get("Location", ""))
    assert not [name for name in re.findall(r"{(\w+)}", AADSTS[code].text) if f"({name})" in told]
    assert clients.azure.requests()[-1].answer == f"AADSTS{code}"
    if response.is_json:
        assert response.json["error_codes"] == [code]
        assert response.status_code == AADSTS[code].status


@pytest.mark.parametrize("code", ON_DEMAND)
def test_fault_answers_as_the_table_says_for(clients, code):
    row = AADSTS[code]
    clients.azure.faults.add("token:on_behalf_of", code)
    response = clients.on_behalf()
    assert numbers_in(response) == {code}
    assert response.status_code == row.status
    assert response.json["error"] == row.error
    assert response.json["error_codes"] == [code]
    assert response.json.get("suberror", "") == row.suberror
    assert ("claims" in response.json) == bool(row.claim)


@pytest.mark.parametrize(
    ("later", "error"), [(0, "authorization_pending"), (901, "expired_token")], ids=str
)
def test_device_code_is_pending_until_it_expires(clients, later, error):
    assert clients.device(later).json["error"] == error
