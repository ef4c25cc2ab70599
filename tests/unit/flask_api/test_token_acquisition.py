"""The exchange on behalf of the user: requests, caching, threads, and relayed errors."""

import base64
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import parse_qs

import pytest
import responses

from helpers import entra, request_scope, token_acquisition
from main import create_app
from tests.mock_azure.keys import base64url
from tests.unit.conftest import ARM, EXCHANGED, SUBSCRIPTIONS
from tests.unit.flask_api.conftest import API_ID, REALM, SETTINGS, challenge

MULTILINE = 'AADSTS50076: use "MFA"\r\nSet-Cookie: x=y alice@contoso.example'

HUGE = '{"x":"%s"}' % ("y" * 5000)

NESTED = f"e30.{base64url(b'[' * 100_000)}.e30"  # a JWT whose payload is too deep to read

TOKEN = {"access_token": "b", "token_type": "Bearer"}

CLAIMS = '{"access_token":{"capolids":{"essential":true,"values":["p1"]}}}'


def test_the_assertion_is_exchanged_as_the_protocol_says(tenant, api, bearer):
    tenant.lists("first")
    assert api.get("/subscriptions", headers=bearer).status_code == 200
    (form,) = tenant.token_requests
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert form["requested_token_use"] == "on_behalf_of"
    assert form["assertion"] == bearer["Authorization"].split()[1]
    assert form["client_id"] == API_ID
    assert form["client_secret"] == SETTINGS["CLIENT_SECRET"]
    scopes = form["scope"].split()
    assert f"{ARM}/user_impersonation" in scopes
    assert "offline_access" not in scopes  # no refresh token is kept here
    assert "cp1" in form["claims"]


def test_one_assertion_is_exchanged_once(tenant, api, bearer):
    tenant.lists("first")
    answers = [api.get("/subscriptions", headers=bearer) for _ in range(3)]
    assert len(tenant.token_requests) == 1
    assert ["hit" in answer.headers["Server-Timing"] for answer in answers] == [False, True, True]


def test_two_alternating_users_never_get_each_others_token(tenant, api):
    def by_assertion(request):
        name = parse_qs(request.body)["assertion"][0][-20:]
        return 200, {}, json.dumps(EXCHANGED | {"access_token": f"for-{name}"})

    tenant.answers += [by_assertion] * 2
    tenant.network.add_callback(
        responses.GET,
        SUBSCRIPTIONS,
        lambda request: (
            200,
            {},
            json.dumps({"value": [{"displayName": request.headers["Authorization"]}]}),
        ),
    )
    tokens = [tenant.access_token(uti=name) for name in ("alice", "bob")]
    for number in range(200):
        token = tokens[number % 2]
        response = api.get("/subscriptions", headers={"Authorization": f"Bearer {token}"})
        assert response.json["value"] == [{"displayName": f"Bearer for-{token[-20:]}"}]
    assert len(tenant.token_requests) == 2


def slowly(tenant, access_token="b", seconds=0.1):
    """Make Entra respond to an exchange after a while."""

    def answer(request):
        time.sleep(seconds)
        return 200, {}, json.dumps(EXCHANGED | {"access_token": access_token})

    tenant.answers.append(answer)


def in_threads(api, number, headers):
    """Send several requests at once; return the responses."""
    app = api.application
    with ThreadPoolExecutor(number) as pool:
        requests = [
            pool.submit(lambda: app.test_client().get("/subscriptions", headers=headers))
            for _ in range(number)
        ]
        return [request.result() for request in requests]


def test_threads_with_the_same_assertion_share_one_exchange(tenant, api, bearer):
    slowly(tenant)
    tenant.lists("first")
    assert [answer.status_code for answer in in_threads(api, 50, bearer)] == [200] * 50
    assert len(tenant.token_requests) == 1


def test_threads_whose_token_was_rejected_share_one_exchange_with_the_claims(tenant, api, bearer):
    """All of them have the first token when Resource Manager asks for another."""
    all_are_there = threading.Barrier(20, timeout=10)

    def resource_manager(request):
        if request.headers["Authorization"] == "Bearer first":
            all_are_there.wait()
            return 401, challenge(CLAIMS), "{}"
        return 200, {}, '{"value": []}'

    tenant.grants("first")
    slowly(tenant, "second")
    tenant.network.add_callback(responses.GET, SUBSCRIPTIONS, resource_manager)
    assert [answer.status_code for answer in in_threads(api, 20, bearer)] == [200] * 20
    plain, with_claims = tenant.token_requests
    assert "capolids" not in plain["claims"]
    assert "capolids" in with_claims["claims"]


def test_an_exchange_with_other_claims_is_not_shared(tenant, api, bearer):
    """Two requests have the first token, and Resource Manager requires another policy of each."""
    both_are_there = threading.Barrier(2, timeout=10)
    policies = iter(["p7", "p8"])

    def resource_manager(request):
        if request.headers["Authorization"] == "Bearer first":
            policy = next(policies)
            both_are_there.wait()
            return 401, challenge(CLAIMS.replace("p1", policy)), "{}"
        return 200, {}, '{"value": []}'

    tenant.grants("first")
    slowly(tenant, "second")
    tenant.network.add_callback(responses.GET, SUBSCRIPTIONS, resource_manager)
    assert [answer.status_code for answer in in_threads(api, 2, bearer)] == [200] * 2
    plain, *with_claims = [form["claims"] for form in tenant.token_requests]
    assert "capolids" not in plain
    assert sorted(re.findall("p[78]", " ".join(with_claims))) == ["p7", "p8"]


def test_a_thread_waits_for_another_no_longer_than_its_own_time(tenant, api, bearer, monkeypatch):
    monkeypatch.setattr(request_scope, "REQUEST_SECONDS", 0.2)
    slowly(tenant, seconds=1)
    begun = time.monotonic()
    codes = {answer.json["code"] for answer in in_threads(api, 4, bearer) if answer.json}
    assert "idp_timeout" in codes
    assert time.monotonic() - begun < 2


def test_threads_do_not_hang_if_the_exchange_of_another_thread_fails(
    tenant, api, bearer, monkeypatch
):
    def breaks(*args):
        time.sleep(0.02)
        raise ZeroDivisionError

    monkeypatch.setattr(entra.Entra, "exchange", breaks)
    answers = in_threads(api, 10, bearer)
    assert [answer.json["code"] for answer in answers] == ["internal_error"] * 10
    monkeypatch.undo()
    tenant.lists("first")
    assert api.get("/subscriptions", headers=bearer).status_code == 200


@pytest.fixture
def ask(tenant, clock, settings_of_api):
    """Send an assertion with this ``uti``; return the token that ARM got, or the error code.

    Time is that of ``clock``. Resource Manager accepts every token but those in ``ask.rejected``,
    for which it returns 401 and the claims beside them, if any.
    """
    api = create_app(settings_of_api).test_client()
    rejected = {}
    assertions = {}

    def resource_manager(request):
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if token in rejected:
            return 401, challenge(rejected[token] or ""), "{}"
        return 200, {}, json.dumps({"value": [{"displayName": token}]})

    tenant.network.add_callback(responses.GET, SUBSCRIPTIONS, resource_manager)

    def ask(uti="a", **claims):
        if uti not in assertions:
            assertions[uti] = tenant.access_token(uti=uti, **claims)
        headers = {"Authorization": f"Bearer {assertions[uti]}"}
        ask.response = api.application.test_client().get("/subscriptions", headers=headers)
        body = ask.response.json
        return body["code"] if "code" in body else body["value"][0]["displayName"]

    ask.rejected = rejected
    return ask


@contextmanager
def slow_entra(tenant, clock):
    """Make an exchange take 20 seconds, which are part of the token's lifetime."""

    def pass_time():
        clock.now += 20

    usual, tenant.meanwhile = tenant.meanwhile, pass_time
    yield
    tenant.meanwhile = usual


def test_refreshes_a_token_before_it_expires(tenant, ask, clock):
    tenant.grants("first")
    tenant.grants("second")
    begun = clock.now
    with slow_entra(tenant, clock):
        assert ask() == "first"
    clock.now = begun + 3600 - 300 - 0.5
    assert ask() == "first"
    clock.now += 1
    assert ask() == "second"


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param({"status": 500, "error": "server_error"}, id="entra-is-down"),
        pytest.param({"status": 400, "error": "invalid_grant"}, id="the-user-has-to-sign-in"),
        pytest.param({"status": 429, "error": "x"}, id="entra-is-busy"),
    ],
)
def test_uses_a_token_until_it_expires_when_it_cannot_be_refreshed(tenant, ask, clock, refusal):
    tenant.grants("first", expires_in=1000)
    for _ in range(4):
        tenant.answer(**refusal)
    begun = clock.now
    with slow_entra(tenant, clock):
        assert ask() == "first"
    clock.now = begun + 1000 - 200
    assert [ask() for _ in range(5)] == ["first"] * 5
    assert len(tenant.token_requests) == 2  # the failed attempt is not repeated at once
    clock.now += 59
    assert ask() == "first"
    assert len(tenant.token_requests) == 2
    clock.now += 2
    assert ask() == "first"
    assert len(tenant.token_requests) == 3
    clock.now += 138.5
    assert ask() == "first"
    clock.now += 1
    assert ask() in ("idp_unavailable", "assertion_rejected", "idp_throttled")


def test_no_token_outlives_the_assertion_it_came_from(tenant, ask, clock):
    tenant.grants("first")
    tenant.grants("second")
    expires = int(time.time()) + 120
    assert ask(exp=expires) == "first"
    clock.now += 121
    assert ask(exp=expires) == "second"


def test_uses_a_short_lived_token_for_half_of_its_lifetime(tenant, ask, clock):
    tenant.grants("first", expires_in=100)
    tenant.grants("second")
    assert ask() == "first"
    clock.now += 49
    assert ask() == "first"
    clock.now += 2
    assert ask() == "second"


@pytest.mark.parametrize("claims", [None, CLAIMS], ids=["without-claims", "with-claims"])
def test_never_serves_a_rejected_token_again(tenant, ask, claims):
    for name in ("first", "second", "third"):
        tenant.grants(name)
    assert ask() == "first"
    ask.rejected["first"] = claims
    assert ask() == "second"
    del ask.rejected["first"]
    assert ask() == "second"
    assert len(tenant.token_requests) == 2


def test_never_serves_the_second_of_two_rejected_tokens_either(tenant, ask):
    for name in ("first", "second", "third"):
        tenant.grants(name)
    ask.rejected |= {"first": None, "second": None}
    assert ask() == "downstream_unauthorized"
    ask.rejected.clear()
    assert ask() == "third"


def test_a_rejected_token_is_removed_even_if_there_is_no_new_one(tenant, ask):
    tenant.grants("first")
    tenant.answer(500, error="server_error")
    tenant.grants("second")
    assert ask() == "first"
    ask.rejected["first"] = CLAIMS
    assert ask() == "idp_unavailable"
    ask.rejected.clear()
    assert ask() == "second"


def meanwhile(tenant, work, answer=(200, EXCHANGED | {"access_token": "second"})):
    """Run ``work`` while Entra handles the next exchange, which then succeeds."""
    results = []

    def handle(request):
        results.append(work())
        return answer[0], {}, json.dumps(answer[1])

    tenant.answers.append(handle)
    return results


def test_other_threads_use_the_old_token_while_it_is_refreshed(tenant, ask, clock):
    tenant.grants("first")
    results = meanwhile(tenant, ask)
    ask()
    clock.now += 3600 - 100
    assert ask() == "second"
    assert results == ["first"]


def test_nobody_gets_a_rejected_token_while_a_new_one_is_requested(tenant, ask, monkeypatch):
    tenant.grants("first")

    def ask_for_a_moment():
        with monkeypatch.context() as patch:
            patch.setattr(request_scope, "REQUEST_SECONDS", 0.1)
            return ask()

    results = meanwhile(tenant, ask_for_a_moment)
    ask()
    ask.rejected["first"] = CLAIMS
    assert ask() == "second"
    assert results == ["idp_timeout"]


def test_a_failed_refresh_does_not_bring_a_rejected_token_back(tenant, ask, clock, monkeypatch):
    """While the token is being refreshed, another request finds that it is rejected."""
    tenant.grants("first")

    def ask_and_be_rejected():
        ask.rejected["first"] = None
        with monkeypatch.context() as patch:
            patch.setattr(request_scope, "REQUEST_SECONDS", 0.1)
            return ask()

    results = meanwhile(tenant, ask_and_be_rejected, (500, {"error": "server_error"}))
    tenant.answer(500, error="server_error")
    ask()
    clock.now += 3600 - 100
    assert ask() == "idp_unavailable"
    assert results == ["idp_timeout"]
    ask.rejected.clear()
    assert ask() == "idp_unavailable"


def test_an_earlier_exchange_does_not_overwrite_a_later_one(tenant, ask, clock):
    """While the token is being refreshed, another request needs one with claims."""
    tenant.grants("first")
    ask()
    ask.rejected["first"] = CLAIMS
    others = ThreadPoolExecutor(1)
    asked_before = len(tenant.calls("GET", ARM))
    waiting = []

    def need_claims():
        waiting.append(others.submit(ask))
        while len(tenant.calls("GET", ARM)) == asked_before:
            time.sleep(0.01)  # until Resource Manager has rejected the token

    meanwhile(tenant, need_claims)
    tenant.grants("third")
    clock.now += 3600 - 100
    assert ask() == "second"
    assert waiting[0].result(10) == "third"
    assert ask() == "third"
    plain, refresh, with_claims = [form["claims"] for form in tenant.token_requests]
    assert "capolids" not in plain + refresh
    assert "capolids" in with_claims


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, "invalid_grant", "assertion_rejected"),
        (400, "consent_required", "consent_required"),
        (500, "server_error", "idp_unavailable"),
        (401, "invalid_client", "api_misconfigured"),
        (400, "temporarily_unavailable", "idp_throttled"),
    ],
)
def test_asks_entra_again_after_the_error(tenant, ask, status, error, code):
    tenant.answer(status, error=error)
    assert ask() == code
    assert ask() == "token-b"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("60", 60), ("3600", 60)])
def test_sends_a_throttled_assertion_again_only_after(tenant, ask, clock, header, seconds):
    tenant.answer(429, {"Retry-After": header}, error="x")
    assert ask("alice") == "idp_throttled"
    clock.now += seconds - 0.5
    assert ask("alice") == "idp_throttled"
    assert ask.response.headers["Retry-After"] == "1"
    assert len(tenant.token_requests) == 1
    assert ask("bob") == "token-b"
    clock.now += 1
    assert ask("alice") == "token-b"


@pytest.mark.parametrize("setting", ["CLIENT_ID", "AUTHORITY", "SCOPE"])
def test_the_cache_key_depends_on_the_assertion_and_the_setting(api, monkeypatch, setting):
    with api.application.app_context():
        key = token_acquisition.cache_key("header.payload.signature")
        assert len(key) == 32  # a whole SHA-256: users share no entry by chance
        assert token_acquisition.cache_key("header.payload2.signature") != key
        assert token_acquisition.cache_key("header.payload.otherwise-spelled") == key
        monkeypatch.setitem(api.application.config, setting, "other")
        assert token_acquisition.cache_key("header.payload.signature") != key


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (400, {"error": "invalid_grant", "suberror": "consent_required"}, 401, "consent_required"),
        (400, {"error": "consent_required"}, 401, "consent_required"),
        (400, {"error": "interaction_required", "claims": CLAIMS}, 401, "claims_challenge"),
        (400, {"error": "invalid_grant", "claims": CLAIMS}, 401, "claims_challenge"),
        (400, {"error": "invalid_grant", "claims": "no JSON"}, 401, "assertion_rejected"),
        (400, {"error": "invalid_grant", "claims": "[]"}, 401, "assertion_rejected"),
        (400, {"error": "invalid_grant", "claims": HUGE}, 401, "assertion_rejected"),
        (400, {"error": "invalid_grant", "claims": {"x": 1}}, 401, "assertion_rejected"),
        (400, {"error": "invalid_grant", "claims": '{"x":"\ud800"}'}, 401, "assertion_rejected"),
        (400, {"error": "invalid_grant", "claims": "{'x': 1}"}, 401, "assertion_rejected"),
        (400, {"error": "invalid_grant", "claims": '{"access_token":[]}'}, 401,
         "assertion_rejected"),
        (400, {"error": "x", "suberror": "consent_required", "claims": CLAIMS}, 401,
         "claims_challenge"),
        (400, {"error": "login_required"}, 401, "assertion_rejected"),
        (400, {"error": "invalid_grant"}, 401, "assertion_rejected"),
        (400, {"error": "interaction_required"}, 401, "assertion_rejected"),
        (401, {"error": "invalid_client"}, 500, "api_misconfigured"),
        (400, {"error": "unauthorized_client"}, 500, "api_misconfigured"),
        (400, {"error": "invalid_scope"}, 500, "api_misconfigured"),
        (400, {"error": "invalid_resource"}, 500, "api_misconfigured"),
        (400, {"error": "something_new"}, 500, "api_misconfigured"),
        (400, {"error": "x" * 64}, 500, "api_misconfigured"),
        (429, {"error": "temporarily_unavailable"}, 503, "idp_throttled"),
        (400, {"error": "temporarily_unavailable"}, 503, "idp_throttled"),
        (503, {"error": "temporarily_unavailable"}, 503, "idp_throttled"),
        (500, {"error": "server_error"}, 502, "idp_unavailable"),
        (400, {"error": "server_error"}, 502, "idp_unavailable"),
        (400, {"error": "service_unavailable"}, 502, "idp_unavailable"),
        (503, {"error": "x"}, 502, "idp_unavailable"),
        (200, {}, 502, "idp_unavailable"),
        (200, {"access_token": "b"}, 502, "idp_unavailable"),
        (200, TOKEN, 502, "idp_unavailable"),
        (200, {"access_token": "b", "expires_in": 9}, 502, "idp_unavailable"),
        (200, {"access_token": "b", "token_type": "pop", "expires_in": 9}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": 0}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": -1}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": "x"}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": None}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": float("inf")}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": 10**400}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": 9, "token_type": None}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": 9, "access_token": ""}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": 9, "access_token": ["b"]}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": 9, "access_token": "b\r\nX: y"}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": 9, "access_token": "b\n"}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": 9, "access_token": "t\u00f6ken"}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": 9, "token_type": "bearer"}, 200, None),
        (200, {**TOKEN, "expires_in": 9, "id_token": "junk"}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": 9, "id_token": NESTED}, 502, "idp_unavailable"),
        (200, {**TOKEN, "expires_in": 9, "client_info": "junk"}, 200, None),
        (200, {**TOKEN, "expires_in": "3599"}, 200, None),
        (400, {"error": ["a", "list"]}, 502, "idp_unavailable"),
        (400, {"error": "invalid_grant", "suberror": ["a", "list"]}, 401, "assertion_rejected"),
    ],
)  # fmt: skip
def test_relays_an_answer_of_entra(tenant, api, bearer, caplog, status, body, expected, code):
    tenant.answer(status, **body | {"error_description": MULTILINE})
    tenant.lists("first")
    response = api.get("/subscriptions", headers=bearer)
    assert (response.status_code, response.json.get("code")) == (expected, code)
    written = response.get_data(as_text=True) + str(response.headers) + caplog.text
    assert "AADSTS" not in written
    assert "contoso.example" not in written


def test_a_consent_challenge_names_the_scope_to_ask_for(tenant, api, bearer):
    tenant.answer(400, error="invalid_grant", suberror="consent_required")
    response = api.get("/subscriptions", headers=bearer)
    assert response.json["scopes"] == [f"api://{API_ID}/.default"]
    assert response.headers["WWW-Authenticate"] == (
        f'{REALM}, error="interaction_required", '
        'error_description="User or admin consent is required", '
        f'scope="api://{API_ID}/.default"'
    )


def test_a_claims_challenge_carries_the_claims_in_base64(tenant, api, bearer):
    tenant.answer(400, error="interaction_required", claims=CLAIMS)
    response = api.get("/subscriptions", headers=bearer)
    encoded = base64.b64encode(CLAIMS.encode()).decode()
    assert response.headers["WWW-Authenticate"] == (
        f'{REALM}, error="insufficient_claims", claims="{encoded}"'
    )
    assert (response.json["error"], response.json["code"]) == (
        "interaction_required",
        "claims_challenge",
    )


@pytest.mark.parametrize(
    "text", ['{"a":"\r\nSet-Cookie: x=y"}', '{"a":"\\r\\n\\""}', '{"a":"\u00e9"}']
)
def test_claims_cannot_break_out_of_their_header(tenant, api, bearer, text):
    tenant.answer(400, error="interaction_required", claims=text)
    response = api.get("/subscriptions", headers=bearer)
    assert response.status_code == 401
    assert "Set-Cookie" not in response.headers
    assert response.headers["WWW-Authenticate"].isprintable()


@pytest.mark.parametrize(
    ("numbers", "written"),
    [
        ([65001, 50076], "AADSTS65001 AADSTS50076"),
        ([True, "50076 Alice"], " AADSTS50076 "),
        ([1, 2, 3, 4, 5, 6], "AADSTS4 AADSTS5 trace_id"),
        (None, ""),
    ],
    ids=["numbers", "text-among-them", "the-first-five", "none"],
)
def test_the_log_names_the_numbers_of_entras_error(tenant, api, bearer, caplog, numbers, written):
    caplog.set_level("INFO")
    ids = {"trace_id": "0" * 36 + "1", "correlation_id": "2"}
    tenant.answer(400, error="invalid_grant", error_codes=numbers, **ids)
    assert api.get("/subscriptions", headers=bearer).json["code"] == "assertion_rejected"
    assert "assertion_rejected: error=invalid_grant " in caplog.text
    assert written in caplog.text
    assert f"trace_id='{'0' * 36}'" in caplog.text
    assert "Alice" not in caplog.text
