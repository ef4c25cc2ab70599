"""scenarios and controls: failures by name, from Python, from the front page, and over HTTP."""

import re
from ipaddress import ip_network

import pytest

from tests.mock_azure.policies import step_up_request
from tests.mock_azure.scenarios import HAPPEN_ONCE, SCENARIOS
from tests.mock_azure.tokens import unverified

CP1 = '{"access_token":{"xms_cc":{"values":["cp1"]}}}'


@pytest.fixture
def press(front):
    """Press a button of the front page; return the page that it leads to."""

    def press(name, switch="on"):
        response = front.post(f"/scenarios/{name}", data={"switch": switch})
        assert (response.status_code, response.location) == (303, f"/#{name}")
        return front.get("/").text

    return press


def code(response):
    """The first AADSTS number of a refusal, or 200."""
    return response.json.get("error_codes", [response.status_code])[0]


# --- each one and its end -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("second-factor", 50076),
        ("secret-expired", 7000222),
        ("entra-throttles-user", 90055),
        ("entra-throttles-everybody", 90055),
    ],
)
def test_the_exchange_is_refused_while_the_scenario_is_on(azure, exchange, name, refusal):
    azure.consent_all()
    token = azure.access_token()
    azure.scenarios.switch_on(name)
    assert code(exchange(token)) == refusal
    azure.scenarios.switch_off(name)
    assert code(exchange(token)) == 200


def test_throttling_one_user_leaves_the_others_alone(azure, exchange):
    azure.consent_all("bob")
    azure.scenarios.switch_on("entra-throttles-user", "alice")
    throttled = exchange(azure.access_token("alice"))
    assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "30")
    assert exchange(azure.access_token("bob")).status_code == 200


def test_a_blocked_sign_in_ends_at_entra(azure, front):
    azure.scenarios.switch_on("sign-in-blocked")
    page = front.press(front.authorize(), "user", "alice")
    assert "AADSTS53003" in page.text
    assert "(That ID belongs to FlaskAPI.)" in page.text
    azure.scenarios.switch_off("sign-in-blocked")
    assert "Permissions requested" in front.authorize().text


def test_withdrawn_consent_is_asked_for_again(azure, front):
    front.sign_in()
    azure.scenarios.switch_on("consent-withdrawn")
    assert "Permissions requested" in front.authorize().text


def test_a_revoked_session_reaches_arm_as_a_claims_challenge(azure, arm_token, list_subscriptions):
    token = arm_token(claims=CP1)
    azure.clock.advance(5)
    azure.scenarios.switch_on("session-revoked", "alice")
    assert 'error="insufficient_claims"' in list_subscriptions(token).headers["WWW-Authenticate"]


def test_step_up_is_satisfied_by_a_sign_in_with_a_second_factor(
    azure, front, redeem, exchange, list_subscriptions
):
    first = redeem(front.sign_in()["code"]).json["access_token"]
    token_b = exchange(first).json["access_token"]
    azure.scenarios.switch_on("arm-step-up")
    refused = list_subscriptions(token_b)
    assert 'error="insufficient_claims"' in refused.headers["WWW-Authenticate"]

    claims = step_up_request({"essential": True, "value": "c1"})
    again = exchange(first, claims=claims)
    assert (code(again), again.json["claims"]) == (50076, claims)
    done = front.press(front.authorize(claims=claims), "decision", "accept")
    fresh = redeem(re.findall(r"code=([^&]+)", done.headers["Location"])[0]).json["access_token"]
    stepped_up = exchange(fresh, claims=claims).json["access_token"]
    assert unverified(stepped_up)["acrs"] == ["c1"]
    assert list_subscriptions(stepped_up).status_code == 200

    azure.scenarios.switch_off("arm-step-up")
    assert list_subscriptions(token_b).status_code == 200


def test_a_rollover_signs_with_a_new_key_and_keeps_the_old_one_published(azure, exchange):
    azure.consent_all()
    before = azure.access_token()
    azure.scenarios.switch_on("key-rollover")
    assert unverified(azure.access_token(), 0)["kid"] != unverified(before, 0)["kid"]
    assert exchange(before).status_code == 200
    azure.reset()
    assert unverified(azure.access_token(), 0)["kid"] == unverified(before, 0)["kid"]


def test_short_tokens_live_two_minutes(azure):
    def lifetime():
        return unverified(azure.access_token())["exp"] - azure.clock.now()

    azure.scenarios.switch_on("short-tokens")
    assert lifetime() <= 120
    azure.scenarios.switch_off("short-tokens")
    assert lifetime() > 3000


@pytest.mark.parametrize(
    ("name", "hops"),
    [
        ("entra-away", ["jwks", "token:on_behalf_of", "token:refresh_token"]),
        ("arm-away", ["arm:subscriptions"]),
        ("arm-slow", ["arm:subscriptions"]),
    ],
)
def test_an_outage_affects_each_hop_and_ends(azure, name, hops):
    azure.scenarios.switch_on(name)
    assert all(azure.faults.take(hop, "alice") for hop in hops)
    assert azure.faults.take("authorize", "alice") is None
    azure.scenarios.switch_off(name)
    assert not any(azure.faults.take(hop, "alice") for hop in hops)


def test_switching_on_twice_needs_one_switch_off(azure, exchange):
    azure.consent_all()
    for _ in range(2):
        azure.scenarios.switch_on("second-factor")
    azure.scenarios.switch_off("second-factor")
    assert code(exchange(azure.access_token())) == 200


def test_reset_switches_everything_off(azure, exchange):
    for name in SCENARIOS:
        azure.scenarios.switch_on(name)
    azure.reset()
    assert not any(scenario["since"] for scenario in azure.scenarios.all())
    azure.consent_all()
    assert code(exchange(azure.access_token())) == 200


# --- the front page -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_front_page_explains_each_and_shows_that_it_is_on(azure, front, press, name):
    words = next(scenario for scenario in azure.scenarios.all() if scenario["name"] == name)
    before = front.get("/").text
    for part in ("title", "do", "expect", "why"):
        assert words[part] in before
    assert 'class="state"' not in before
    after = press(name)
    assert after.count('class="state"') == 1
    assert f'<section class="scenario on" id="{name}"' in after
    if name not in HAPPEN_ONCE:
        assert 'class="state"' not in press(name, "off")


def test_the_front_page_resets_and_says_so(front, press):
    assert press("second-factor").count('class="state"') == 1
    assert re.findall('class="state">([^<]*)', press("reset"))[0].endswith("the journey is empty.")
    assert press("second-factor").count('class="state"') == 2


def test_a_button_affects_the_signed_in_user(azure, front, press, exchange):
    azure.consent_all("bob")
    assert "Nobody is signed in yet" in front.get("/").text
    front.sign_in("bob")
    assert "affect Bob Brown, who is signed in" in front.get("/").text
    press("entra-throttles-user")
    assert code(exchange(azure.access_token("bob"))) == 90055


# --- who may --------------------------------------------------------------------------------------

EVERY_DOOR = [
    ("get", "/controls"),
    ("post", "/controls/second-factor"),
    ("delete", "/controls/second-factor"),
    ("post", "/controls/token"),
    ("post", "/controls/reset"),
    ("post", "/scenarios/second-factor"),
    ("get", "/recorded"),
]


@pytest.fixture(params=EVERY_DOOR, ids=lambda door: f"{door[0]}-{door[1][1:]}")
def door(request, front):
    """Each way in: call it with headers or another client address."""
    method, path = request.param

    def door(headers=None, **environ):
        return front.open(path, method=method, headers=headers, environ_base=environ)

    return door


def test_a_client_without_a_browser_may_use_the_controls(door):
    assert door().status_code in (200, 303)


def test_the_front_page_may_use_the_controls(door):
    assert door({"Sec-Fetch-Site": "same-origin", "Origin": "null"}).status_code in (200, 303)
    assert door({"Origin": "http://localhost"}).status_code in (200, 303)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of localhost
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_another_site_may_not_use_the_controls(azure, door, headers):
    refused = door(headers)
    assert refused.status_code == 403
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert not any(scenario["since"] for scenario in azure.scenarios.all())


def test_another_machine_may_not_use_the_controls(door):
    assert door(REMOTE_ADDR="192.0.2.1").status_code == 403
    assert door(REMOTE_ADDR="::1").status_code in (200, 303)


def test_another_machine_may_use_the_controls_if_its_network_was_named(azure, door, monkeypatch):
    monkeypatch.setattr(azure, "controls_from", ip_network("192.0.2.0/24"))
    assert door(REMOTE_ADDR="192.0.2.1").status_code in (200, 303)
    for elsewhere in ("192.0.3.1", "2001:db8::1", "127.0.0.1"):
        assert door(REMOTE_ADDR=elsewhere).status_code == 403
    assert door({"Sec-Fetch-Site": "cross-site"}, REMOTE_ADDR="192.0.2.1").status_code == 403
    assert door({"Origin": "http://evil.example"}, REMOTE_ADDR="192.0.2.1").status_code == 403
    assert door({"Host": "rebound.example"}, REMOTE_ADDR="192.0.2.1").status_code == 400


def test_another_host_name_may_not_use_the_controls(door):
    assert door({"Host": "rebound.example"}).status_code == 400


def test_the_controls_are_not_on_the_back_channel(back):
    assert back.post("/controls/second-factor").status_code == 404


# --- over HTTP ------------------------------------------------------------------------------------


def test_switches_on_and_off_and_lists(azure, front):
    on = front.post("/controls/entra-throttles-user", data={"user": "bob"})
    listed = {control["name"]: control["since"] for control in on.json["controls"]}
    assert [name for name, since in listed.items() if since] == ["entra-throttles-user"]
    assert azure.faults.take("token:on_behalf_of", "bob")
    off = front.delete("/controls/entra-throttles-user")
    assert not any(control["since"] for control in off.json["controls"])


@pytest.mark.parametrize(
    ("path", "form", "status"),
    [
        ("/controls/nonsense", {}, 404),
        ("/controls/second-factor", {"user": "mallory"}, 400),
        ("/controls/token", {"user": "mallory"}, 400),
        ("/controls/token", {"claims": "[]"}, 400),
        ("/controls/token", {"claims": "{"}, 400),
        ("/controls/token", {"claims": '{"key": "mine"}'}, 400),
        ("/scenarios/nonsense", {"switch": "on"}, 404),
    ],
)
def test_an_unknown_name_gets_a_list_of_the_known_ones(front, path, form, status):
    refused = front.post(path, data=form)
    assert (refused.status_code, list(refused.json)) == (status, ["error"])


def test_issues_a_token_for_a_user_with_chosen_claims(azure, front):
    form = {"user": "bob", "claims": '{"scp": "another", "azp": null}'}
    issued = front.post("/controls/token", data=form).json
    claims = unverified(issued["access_token"])
    assert (issued["token_type"], claims["oid"]) == ("Bearer", azure.users["bob"].oid)
    assert claims["scp"] == "another"
    assert "azp" not in claims


def test_tells_what_was_recorded_without_secrets(azure, front, redeem, exchange):
    code = front.sign_in("bob")["code"]
    token = redeem(code).json["access_token"]
    exchange(token)
    everything = front.get("/recorded").text
    for secret in (code, token, azure.ui.secret, azure.api.secret):
        assert secret not in everything
    hops = front.get("/recorded?hop=token&user=bob").json["recorded"]
    assert [seen["hop"] for seen in hops] == ["token:authorization_code", "token:on_behalf_of"]
    assert hops[0]["answered"]["token_type"] == "Bearer"
    assert hops[0]["id_token"]["oid"] == azure.users["bob"].oid
    assert front.get("/recorded?user=alice").json["recorded"] == []
