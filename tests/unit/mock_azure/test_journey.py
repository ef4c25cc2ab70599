"""journey: the steps of one browser, explained to a learner."""

import re
from html import unescape
from uuid import uuid4

import pytest

from tests.unit.mock_azure.conftest import Client

CP1 = '{"access_token":{"xms_cc":{"values":["cp1"]}}}'
SIGNED_IN = [
    "DjangoUI fetched Entra’s endpoints",
    "DjangoUI sent the browser to Entra: Entra asked who you are",
    "Alice chose an account: Entra asked for consent",
    "Alice consented: Entra issued a code",
    "The browser returned to DjangoUI with the code",
    "Alice is signed in: DjangoUI redeemed the code for token A",
]


class Walk:
    """A browser, and the requests of both apps to Azure."""

    def __init__(self, azure, front, back, post_token, redeem):
        self.azure, self.front, self.back = azure, front, back
        self.post_token, self.redeem = post_token, redeem

    def get(self, path, headers=None, port="1"):
        """GET as a server; ``port`` identifies its connection."""
        return self.back.get(path, headers=headers, environ_base={"REMOTE_PORT": port})

    def discover(self, headers=None, port="1"):
        path = f"/{self.azure.tenant_id}/v2.0/.well-known/openid-configuration"
        self.get(path, headers, port)

    def sign_in(self, user="alice", **parameters):
        """Sign in; return the response with the tokens."""
        self.discover({"client-request-id": str(uuid4())})
        code = self.front.sign_in(user, **parameters)["code"]
        return self.redeem(code, headers={"client-request-id": str(uuid4())}).json

    def exchange(self, token_a, correlation_id, **form):
        return self.post_token(
            self.azure.api,
            {"client-request-id": correlation_id},
            grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer",
            requested_token_use="on_behalf_of",
            assertion=token_a,
            scope="https://management.azure.com/user_impersonation",
            **form,
        )

    def list(self, token_b, correlation_id):
        headers = {
            "Authorization": f"Bearer {token_b}",
            "x-ms-correlation-request-id": correlation_id,
        }
        address = "/subscriptions?api-version=2020-01-01"
        while address:
            answer = self.get(address, headers)
            address = (answer.json or {}).get("nextLink", "").removeprefix(self.azure.arm_url)
        return answer

    def open_page(self, token_a, correlation_id=""):
        """Send the API's requests for a page; return token B and the correlation ID."""
        correlation_id = correlation_id or str(uuid4())
        token_b = self.exchange(token_a, correlation_id).json["access_token"]
        self.list(token_b, correlation_id)
        return token_b, correlation_id


@pytest.fixture
def walk(azure, front, back, post_token, redeem):
    return Walk(azure, front, back, post_token, redeem)


@pytest.fixture
def journey(front):
    def journey(path="/journey", client=front):
        response = client.get(path)
        assert response.status_code == 200
        return unescape(response.text)

    return journey


def steps(page):
    return re.findall(r"<summary><strong>(.*?)</strong>", page)


def chapters(page):
    return re.findall(r"<h2 id=[^>]*>(.*?)</h2>", page)


def step(page, title):
    """One step of the list, with its details."""
    (item,) = [part for part in page.split("<li id=") if f"<strong>{title}</strong>" in part]
    return item


# --- the story ------------------------------------------------------------------------------------


def test_tells_a_sign_in_from_the_first_redirect_to_the_tokens(walk, journey):
    walk.sign_in()
    page = journey()
    assert chapters(page) == [SIGNED_IN[-1]]
    assert steps(page) == SIGNED_IN


def test_tells_a_page_with_what_the_requests_to_azure_prove(walk, journey):
    walk.open_page(walk.sign_in()["access_token"])
    page = journey()
    assert chapters(page)[1] == "FlaskAPI listed 4 subscriptions with token B"
    assert steps(page)[6:] == [
        "The browser opened DjangoUI’s page",
        "Not needed: DjangoUI’s token A was still valid",
        "DjangoUI called FlaskAPI with token A",
        "FlaskAPI exchanged token A for token B",
        "FlaskAPI listed 4 subscriptions with token B",
    ]
    assert "Inferred:" in step(page, "DjangoUI called FlaskAPI with token A")
    assert "Inferred:" not in step(page, "FlaskAPI exchanged token A for token B")


def test_tells_that_the_second_page_needed_no_request_to_entra(walk, journey):
    token_b, _ = walk.open_page(walk.sign_in()["access_token"])
    walk.list(token_b, str(uuid4()))
    page = journey()
    assert chapters(page)[2] == "FlaskAPI listed 4 subscriptions with the same token B"
    assert steps(page)[-5:-1] == [
        "The browser opened DjangoUI’s page",
        "Not needed: DjangoUI’s token A was still valid",
        "DjangoUI called FlaskAPI with token A",
        "Not needed: FlaskAPI’s token B was still valid",
    ]
    assert len(re.findall('<a [^>]*class="cached"', page)) == 3  # A, then A and B


def test_tells_a_renewal_of_token_a(azure, walk, post_token, journey):
    tokens = walk.sign_in()
    correlation_id = str(uuid4())
    renewed = post_token(
        azure.ui,
        {"client-request-id": correlation_id},
        grant_type="refresh_token",
        refresh_token=tokens["refresh_token"],
        scope=f"api://{azure.api.client_id}/access_as_user",
    ).json["access_token"]
    token_b = walk.exchange(renewed, correlation_id).json["access_token"]
    walk.list(token_b, correlation_id)
    assert steps(journey())[6:9] == [
        "The browser opened DjangoUI’s page",
        "DjangoUI renewed token A",
        "DjangoUI called FlaskAPI with token A",
    ]


def test_tells_who_is_a_guest(walk, journey):
    walk.sign_in("frank")
    assert steps(journey())[3] == "Frank (a guest) consented: Entra issued a code"


def test_tells_many_pages_of_a_list_as_one_step(walk, journey):
    walk.open_page(walk.sign_in("gina")["access_token"])
    assert steps(journey())[-1] == "FlaskAPI listed 300 subscriptions in 12 pages with token B"


def test_tells_a_claims_challenge_and_how_it_came_back_to_entra(walk, front, journey):
    token_a = walk.sign_in("carol")["access_token"]
    refused = walk.exchange(token_a, str(uuid4()), claims=CP1)
    assert "passed the claims challenge" not in journey()  # nothing proves it yet
    front.authorize(claims=refused.json["claims"])
    page = journey()
    assert chapters(page)[1] == "Entra refused the exchange: second factor needed"
    assert steps(page)[-4:] == [
        "Entra refused the exchange: second factor needed",
        "A claims challenge came back",
        "FlaskAPI passed the claims challenge to DjangoUI",
        "DjangoUI sent the browser to Entra: Entra asked for a second factor",
    ]
    challenge = step(page, "A claims challenge came back")
    assert "capolids: in a challenge, the Conditional Access policies" in challenge


def test_tells_that_a_renewal_did_not_satisfy_the_challenge(azure, walk, post_token, journey):
    tokens, correlation_id = walk.sign_in("carol"), str(uuid4())
    refused = walk.exchange(tokens["access_token"], correlation_id, claims=CP1)
    post_token(
        azure.ui,
        {"client-request-id": correlation_id},
        grant_type="refresh_token",
        refresh_token=tokens["refresh_token"],
        scope=f"api://{azure.api.client_id}/access_as_user",
        claims=refused.json["claims"],
    )
    page = journey()
    assert chapters(page)[1] == "Entra refused the exchange: second factor needed"
    assert steps(page)[-4:] == [
        "Entra refused the exchange: second factor needed",
        "A claims challenge came back",
        "FlaskAPI passed the claims challenge to DjangoUI",
        "Entra refused to renew token A: second factor needed",
    ]


def test_tells_a_challenge_of_resource_manager(azure, walk, journey):
    token_a = walk.sign_in()["access_token"]
    token_b = walk.exchange(token_a, str(uuid4()), claims=CP1).json["access_token"]
    azure.policies.step_up = "c1"
    walk.list(token_b, str(uuid4()))
    page = journey()
    assert chapters(page)[-1] == "Resource Manager refused the list: token B is not enough"
    assert "acrs" in step(page, "A claims challenge came back")


def test_tells_that_the_api_asks_entra_before_it_passes_a_challenge_on(
    azure, walk, front, post_token, journey
):
    token_a, correlation_id = walk.sign_in()["access_token"], str(uuid4())
    token_b = walk.exchange(token_a, correlation_id, claims=CP1).json["access_token"]
    azure.policies.step_up = "c1"
    walk.list(token_b, correlation_id)
    claims = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'
    walk.exchange(token_a, correlation_id, claims=claims)
    front.authorize(claims=claims)
    page = journey()
    assert chapters(page)[1] == "Resource Manager refused the list: token B is not enough"
    assert steps(page)[-6:] == [
        "Resource Manager refused the list: token B is not enough",
        "A claims challenge came back",
        "Entra refused the exchange: second factor needed",
        "A claims challenge came back",
        "FlaskAPI passed the claims challenge to DjangoUI",
        "DjangoUI sent the browser to Entra: Entra asked for a second factor",
    ]


def test_tells_who_read_the_documents_that_name_nobody(azure, walk, journey):
    """They belong to the request that follows; a connection tells the apps apart."""
    token_a, correlation_id = walk.sign_in()["access_token"], str(uuid4())
    walk.discover({"client-request-id": correlation_id}, port="3")
    walk.discover(port="2")
    walk.get(f"/{azure.tenant_id}/discovery/v2.0/keys", port="2")
    walk.discover({"client-request-id": correlation_id}, port="2")
    walk.open_page(token_a, correlation_id)
    assert steps(journey())[6:13] == [
        "The browser opened DjangoUI’s page",
        "DjangoUI fetched Entra’s endpoints",
        "Not needed: DjangoUI’s token A was still valid",
        "DjangoUI called FlaskAPI with token A",
        "FlaskAPI fetched Entra’s endpoints",
        "FlaskAPI downloaded the signing keys",
        "FlaskAPI fetched Entra’s endpoints",
    ]


def test_tells_of_a_service_that_did_not_answer(azure, walk, journey):
    token_b, _ = walk.open_page(walk.sign_in()["access_token"])
    azure.scenarios.switch_on("arm-away")
    correlation_id = str(uuid4())
    for _ in range(3):
        walk.list(token_b, correlation_id)
    page = journey()
    title = "Azure Resource Manager did not answer FlaskAPI, in 3 attempts"
    assert steps(page)[-1] == title
    assert "closed the connection without an answer" in step(page, title)
    assert "status 200" not in step(page, title)


def test_tells_which_button_was_pressed(front, journey):
    presses = [("reset", "on"), ("second-factor", "on"), ("second-factor", "off")]
    once = [(name, "on") for name in ("consent-withdrawn", "key-rollover", "session-revoked")]
    for name, switch in [*presses, *once]:
        front.post(f"/scenarios/{name}", data={"switch": switch})
    assert steps(journey()) == [
        "You reset the mock",
        "You switched on: Second factor needed",
        "You switched off: Second factor needed",
        "You withdrew consent",
        "You rolled over the signing key",
        "You revoked the session",
    ]


def test_tells_that_the_user_cancelled(walk, front, journey):
    front.press(front.authorize(), "user", "")
    assert "This step failed" in step(journey(), "The user did not sign in: access_denied")


def test_tells_of_a_failed_step_what_it_is_for(azure, walk, journey):
    walk.exchange(walk.sign_in("carol")["access_token"], str(uuid4()), claims=CP1)
    page = journey()
    refused = step(page, "Entra refused the exchange: second factor needed")
    assert "This step failed.</strong> What it is for: This is the on-behalf-of flow" in refused
    assert "This step failed" not in step(page, SIGNED_IN[-1].replace("Alice", "Carol"))


def test_defines_on_behalf_of_in_each_part_that_has_it_and_says_what_happened(azure, walk, journey):
    token_a = walk.sign_in()["access_token"]
    azure.scenarios.switch_on("second-factor")
    walk.exchange(token_a, str(uuid4()), claims=CP1)
    azure.scenarios.switch_off("second-factor")
    token_b, _ = walk.open_page(token_a)
    walk.list(token_b, str(uuid4()))
    sign_in, refused, exchanged, cached = journey().split("<h2 ")[1:]
    assert "on-behalf-of flow</strong>" not in sign_in
    for page, happened in [
        (refused, "Here FlaskAPI asked Entra to exchange token A for token B. Entra refused."),
        (exchanged, "Here FlaskAPI exchanged token A, which only FlaskAPI accepts, for token B"),
        (cached, "Here FlaskAPI still had token B, so it did not ask Entra."),
    ]:
        (definition,) = re.findall(r"<p>In the <strong>on-behalf-of flow.*?</p>", page, re.S)
        assert happened in definition
        assert definition.count("FlaskAPI ") - definition.count("only FlaskAPI ") == 1


def test_explains_itself_before_anything_happened(journey):
    page = journey()
    assert "on-behalf-of flow" in page
    assert "Nothing yet" in page


# --- what a step opens ----------------------------------------------------------------------------


def test_the_exchange_shows_its_form_and_both_tokens_with_what_differs(azure, walk, journey):
    walk.open_page(walk.sign_in()["access_token"])
    exchange = step(journey(), "FlaskAPI exchanged token A for token B")
    for name in ("grant_type", "assertion", "requested_token_use", "client_secret", "scope"):
        assert f"<code>{name}</code>" in exchange
    assert '<th scope="col">Token A</th><th scope="col">Token B</th>' in exchange

    def row(claim):
        (row,) = re.findall(
            rf"<tr[^>]*>\s*<th scope=\"row\"><code>{claim}</code>.*?</tr>", exchange, re.S
        )
        return row

    assert ("≠" in row("aud"), "≠" in row("scp"), "≠" in row("sub")) == (True, True, True)
    assert ("≠" in row("oid"), "≠" in row("tid")) == (False, False)
    assert f'<code>{azure.api.client_id}</code> <span class="known">FlaskAPI' in row("aud")
    assert '["pwd"]' in row("amr")


def test_the_redemption_shows_the_id_token_beside_token_a(walk, journey):
    walk.sign_in()
    redemption = step(journey(), SIGNED_IN[-1])
    assert '<th scope="col">ID token</th><th scope="col">Token A</th>' in redemption
    assert "<code>code_verifier</code>" in redemption


def test_shows_no_secret_no_code_and_no_token(azure, walk, journey):
    tokens = walk.sign_in()
    token_b, _ = walk.open_page(tokens["access_token"])
    page = journey()
    secrets = [azure.ui.secret, azure.api.secret, token_b, tokens["refresh_token"]]
    assert not [secret for secret in secrets if secret in page]
    for token in (tokens["access_token"], tokens["id_token"], token_b):
        assert not [part for part in token.split(".") if part in page]
    codes = [seen.answered.get("code") for seen in azure.requests("consent")]
    assert codes[0].startswith("sha256:")


def test_an_arrow_leads_to_its_step_and_opens_it(walk, journey):
    walk.open_page(walk.sign_in()["access_token"])
    page = journey()
    assert re.findall(r'<a href="\?open=(\d+)#step-\1"', page) == [
        str(number) for number in range(1, len(steps(page)) + 1)
    ]
    assert re.findall('<ol class="steps" start="([^"]+)"', page) == ["1", "7"]
    opened = journey("/journey?open=10")
    assert re.findall(r'<li id="step-(\d+)" class="[^"]*">\s*<details open>', opened) == ["10"]


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_survives_claims_that_are_not_json(walk, front, journey, user):
    refused = walk.exchange(walk.sign_in("carol")["access_token"], str(uuid4()), claims=CP1)
    assert refused.status_code == 400
    front.authorize(claims="{", login_hint=user)
    assert "A claims challenge came back" in journey()


# --- whose it is ----------------------------------------------------------------------------------


def test_two_browsers_of_one_user_have_a_journey_each(azure, walk, front, journey):
    walk.open_page(walk.sign_in()["access_token"])
    other = Client(azure, "front")
    assert "Nothing yet" in journey(client=other)
    walk.front = other
    walk.open_page(walk.sign_in()["access_token"])
    assert chapters(journey()) == chapters(journey(client=other)) != []
    assert len(steps(journey())) == 11


def test_a_token_that_no_browser_got_is_in_no_journey(azure, walk, journey):
    walk.sign_in()
    walk.exchange(azure.access_token("alice"), str(uuid4()))
    assert steps(journey()) == SIGNED_IN


def test_servers_do_not_find_it(back):
    assert back.get("/journey").status_code == 404
    assert back.get(f"/trace/{uuid4()}").status_code == 404


# --- one request ----------------------------------------------------------------------------------


def test_a_correlation_id_leads_to_its_part_of_the_journey(walk, front):
    _, correlation_id = walk.open_page(walk.sign_in()["access_token"])
    assert front.get(f"/trace/{correlation_id}").location == "/journey#chapter-2"


def test_a_correlation_id_of_another_browser_shows_its_requests(azure, walk, journey):
    correlation_id = str(uuid4())
    walk.exchange(azure.access_token("alice"), correlation_id)
    page = journey(f"/trace/{correlation_id}")
    assert chapters(page) == ["Entra refused the exchange: consent is missing"]


def test_a_correlation_id_that_never_came_says_why_and_leads_to_the_latest_steps(walk, journey):
    page = journey(f"/trace/{uuid4()}")
    assert "No request reached Azure" in page
    assert "Nothing yet" in page
    walk.sign_in()
    page = journey(f"/trace/{uuid4()}")
    assert "does not ask Entra" in page
    assert f'<a href="/journey#chapter-1">{SIGNED_IN[-1]}</a>' in page
    assert "Nothing yet" not in page


@pytest.mark.parametrize("other", ["", "1", "<b>", "../settings"])
def test_takes_only_a_guid(front, other):
    assert front.get(f"/trace/{other}").status_code == 404
