"""The controls for tests: policies, revocation, key rollover, clock, faults and records."""

import json
import re
from base64 import b64decode

import pytest

from tests.mock_azure.directory import ARM_ID
from tests.mock_azure.tokens import unverified

TOKEN_HOP = "token:on_behalf_of"


def error_code(response):
    return response.json["error_codes"][0]


# --- Conditional Access ---------------------------------------------------------------------------


def test_policy_asks_for_a_second_factor_and_is_satisfied_by_it(azure, front, redeem, exchange):
    """Exchange refused with claims, claims taken to /authorize, second factor, exchange works."""
    first = redeem(front.sign_in("carol")["code"]).json["access_token"]
    refused = exchange(first)
    assert (refused.json["error"], error_code(refused)) == ("interaction_required", 50076)
    assert refused.json["suberror"] == "basic_action"
    claims = refused.json["claims"]
    assert json.loads(claims)["access_token"]["capolids"]["essential"] is True

    page = front.authorize(claims=claims)
    assert "Approve this sign-in, Carol" in page.text
    done = front.press(page, "decision", "accept")
    code = re.findall(r"code=([^&]+)", done.headers["Location"])[0]
    arm_token = exchange(redeem(code).json["access_token"])
    assert arm_token.status_code == 200
    assert unverified(arm_token.json["access_token"])["amr"] == ["pwd", "mfa"]
    assert error_code(exchange(first)) == 50076


def test_client_learns_that_the_second_factor_was_declined(azure, front, redirected):
    azure.policies.add("mfa", "alice", resource=azure.api.client_id)
    page = front.press(front.authorize(), "user", "alice")
    assert redirected(front.press(page, "decision", "cancel"))["error"] == "access_denied"


@pytest.mark.parametrize("code", [50076, 50079], ids=["a second factor", "its registration"])
def test_challenge_of_a_fault_leads_to_the_second_factor_too(azure, front, exchange, code):
    azure.consent_all()
    azure.faults.add(TOKEN_HOP, code)
    claims = exchange(azure.access_token()).json["claims"]
    page = front.press(front.authorize(claims=claims), "user", "alice")
    assert "Approve this sign-in" in page.text


def test_blocking_policy_refuses_exchange_and_sign_in(azure, front, exchange):
    azure.consent_all()
    policy = azure.policies.add("block", "alice")
    refused = exchange(azure.access_token())
    assert (refused.json["suberror"], error_code(refused)) == ("message_only", 53003)
    page = front.press(front.authorize(claims=refused.json["claims"]), "user", "alice")
    assert "AADSTS53003" in page.text
    azure.policies.remove(policy)
    assert exchange(azure.access_token()).status_code == 200


def test_policy_applies_to_its_users_and_resource_only(azure, front, exchange):
    azure.policies.add("mfa", "alice", "bob")
    assert "code" in front.sign_in("alice")
    for user, code in (("alice", 50076), ("bob", 50076), ("gina", None)):
        azure.consent_all(user)
        answer = exchange(azure.access_token(user)).json
        assert answer.get("error_codes", [None]) == [code]
        assert ("access_token" in answer) == (code is None)


def test_policy_without_users_applies_to_everybody(azure, exchange):
    azure.consent_all("bob")
    azure.policies.add("mfa")
    assert error_code(exchange(azure.access_token("bob"))) == 50076


# --- revocation -----------------------------------------------------------------------------------


def test_revoked_session_ends_refresh_and_exchange_until_the_next_sign_in(
    azure, front, redeem, exchange, post_token
):
    tokens = redeem(front.sign_in()["code"]).json
    azure.revoke_sessions("alice")
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert error_code(post_token(azure.ui, **refresh)) == 50173
    assert error_code(exchange(tokens["access_token"])) == 50173
    assert "Choose who you are" in front.authorize().text
    fresh = redeem(front.sign_in()["code"]).json
    assert exchange(fresh["access_token"]).status_code == 200


def test_revocation_affects_one_user_only(azure, exchange):
    azure.consent_all("bob")
    token = azure.access_token("bob")
    azure.revoke_sessions("alice")
    assert exchange(token).status_code == 200


def test_arm_challenges_a_revoked_token_of_a_client_that_understands(
    azure, arm_token, list_subscriptions, front
):
    claims = '{"access_token":{"xms_cc":{"values":["cp1"]}}}'
    deaf, hearing = arm_token(), arm_token(claims=claims)
    front.sign_in()
    azure.revoke_sessions("alice")
    assert list_subscriptions(deaf).status_code == 200
    refused = list_subscriptions(hearing)
    assert refused.status_code == 401
    challenge = refused.headers["WWW-Authenticate"]
    assert 'error="insufficient_claims"' in challenge
    claims = b64decode(re.findall(r'claims="([^"]+)"', challenge)[0]).decode()
    assert json.loads(claims)["access_token"]["nbf"]["value"].isdigit()
    assert "Choose who you are" in front.authorize(claims=claims).text
    assert list_subscriptions(arm_token(claims=claims)).status_code == 200


def test_challenge_sends_an_older_session_to_sign_in_again(azure, front, redirected):
    front.sign_in()
    later = json.dumps({"access_token": {"nbf": {"value": str(int(azure.clock.now()) + 10)}}})
    assert "Choose who you are" in front.authorize(claims=later).text
    azure.clock.advance(20)
    page = front.press(front.authorize(claims=later), "user", "alice")
    assert "code" in redirected(page)


def test_challenge_is_not_met_by_the_tokens_of_an_older_session(
    azure, front, redeem, exchange, post_token
):
    tokens = redeem(front.sign_in()["code"]).json
    later = json.dumps({"access_token": {"nbf": {"value": str(int(azure.clock.now()) + 10)}}})
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert error_code(post_token(azure.ui, **refresh, claims=later)) == 50173
    assert error_code(exchange(tokens["access_token"], claims=later)) == 50173


# --- keys -----------------------------------------------------------------------------------------


def kids(azure, back):
    keys = back.get(f"/{azure.tenant_id}/discovery/v2.0/keys").json["keys"]
    return [key["kid"] for key in keys]


def test_planned_rollover_publishes_before_it_signs(azure, back):
    before = kids(azure, back)
    following = azure.keys.publish_next()
    assert kids(azure, back) == [*before, following.kid]
    assert unverified(azure.access_token(), 0)["kid"] == before[0]
    azure.keys.use_next()
    assert unverified(azure.access_token(), 0)["kid"] == following.kid


def test_a_fault_does_not_affect_a_hop_whose_name_only_begins_with_its_own(
    azure, arm_token, list_subscriptions
):
    token = arm_token()
    azure.faults.add("arm:subscription", status=500, times=None)
    assert list_subscriptions(token).status_code == 200


def test_emergency_rollover_leaves_no_older_token_valid(azure, back, exchange):
    azure.consent_all()
    before, token = kids(azure, back), azure.access_token()
    azure.keys.emergency_rollover()
    assert not set(before) & set(kids(azure, back))
    assert error_code(exchange(token)) == 50013
    assert exchange(azure.access_token()).status_code == 200


def test_reset_restores_the_first_keys(azure, back):
    before = kids(azure, back)
    azure.keys.emergency_rollover()
    azure.reset()
    assert kids(azure, back) == before


def test_jwks_never_lists_the_rogue_key(azure, back):
    assert azure.keys.rogue.kid not in kids(azure, back)


# --- forged tokens --------------------------------------------------------------------------------


def test_forged_tokens_contain_what_the_test_chose(azure):
    token = azure.access_token(header={"kid": None, "crit": ["x"]}, aud="other", scp=None)
    assert unverified(token, 0) == {"typ": "JWT", "alg": "RS256", "crit": ["x"]}
    assert unverified(token)["aud"] == "other"
    assert "scp" not in unverified(token)
    assert azure.access_token(algorithm="none").endswith(".")
    exact = azure.access_token(header='{"alg":"RS256","alg":"none"}', payload='{"aud":1,"aud":2}')
    assert [b64decode(part + "==") for part in exact.split(".")[:2]] == [
        b'{"alg":"RS256","alg":"none"}',
        b'{"aud":1,"aud":2}',
    ]


# --- clock ----------------------------------------------------------------------------------------


def test_tokens_are_issued_by_the_mocks_clock(azure):
    before = unverified(azure.access_token())
    azure.clock.advance(7200)
    assert unverified(azure.access_token())["iat"] - before["iat"] >= 7200


def test_exchange_rejects_an_expired_assertion(azure, exchange):
    azure.consent_all()
    token = azure.access_token()
    azure.clock.advance(5401)
    assert error_code(exchange(token)) == 500133


def test_token_lifetime_can_be_set(azure):
    azure.token_lifetime_seconds = (60, 60)
    claims = unverified(azure.access_token())
    assert claims["exp"] - claims["iat"] == 360


# --- faults ---------------------------------------------------------------------------------------


def test_fault_affects_its_user_at_its_hop_as_often_as_asked(azure, exchange):
    for user in ("alice", "bob"):
        azure.consent_all(user)
    fault = azure.faults.add(TOKEN_HOP, 50057, user="alice", times=2)
    azure.faults.add("token:refresh_token", 90033, times=None)
    assert exchange(azure.access_token("bob")).status_code == 200
    statuses = [exchange(azure.access_token("alice")).status_code for _ in range(3)]
    assert (statuses, fault.used) == ([400, 400, 200], 2)


@pytest.mark.parametrize(
    ("preset", "details", "status", "error"),
    [
        (50076, {"error": "invalid_grant"}, 400, "invalid_grant"),
        (90055, None, 429, "temporarily_unavailable"),
        (90033, {"status": 500}, 500, "temporarily_unavailable"),
        (7000222, None, 401, "invalid_client"),
    ],
    ids=["another error", "too many requests", "another status", "an expired secret"],
)
def test_fault_answers_with_an_aadsts_number(azure, exchange, preset, details, status, error):
    azure.faults.add(TOKEN_HOP, preset, details=details, headers={"Retry-After": "7"})
    response = exchange(azure.access_token())
    assert (response.status_code, response.json["error"], error_code(response)) == (
        status,
        error,
        preset,
    )
    assert response.headers["Retry-After"] == "7"


def test_the_oldest_fault_at_a_hop_is_applied_first(azure, exchange):
    for preset in (50057, 90033):
        azure.faults.add(TOKEN_HOP, preset)
    assert [error_code(exchange(azure.access_token())) for _ in range(2)] == [50057, 90033]


def test_fault_answers_with_a_code_of_arm(azure, arm_token, list_subscriptions):
    token = arm_token()
    azure.faults.add("arm:subscriptions", "TooManyRequests", headers={"Retry-After": "3"})
    response = list_subscriptions(token)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "3")
    assert response.json["error"]["code"] == "TooManyRequests"


def test_client_learns_of_a_fault_at_authorize(azure, front, redirected):
    azure.faults.add("authorize", 90033)
    assert redirected(front.authorize())["error"] == "temporarily_unavailable"


def test_fault_answers_with_its_own_body(azure, back):
    azure.faults.add("jwks", status=502, body="<html>Bad gateway", times=None)
    path = f"/{azure.tenant_id}/discovery/v2.0/keys"
    for _ in range(2):
        response = back.get(path)
        assert (response.status_code, response.text) == (502, "<html>Bad gateway")
    azure.reset()
    assert back.get(path).status_code == 200


def test_fault_can_add_a_header_to_the_real_answer(azure, exchange):
    azure.consent_all()
    azure.faults.add(TOKEN_HOP, headers={"Retry-After": "60"})
    response = exchange(azure.access_token())
    assert (response.status_code, response.headers["Retry-After"]) == (200, "60")


def test_removed_fault_has_no_effect(azure, exchange):
    azure.consent_all()
    azure.faults.remove(azure.faults.add(TOKEN_HOP, 50057, times=None))
    assert exchange(azure.access_token()).status_code == 200


# --- records --------------------------------------------------------------------------------------


def test_requests_are_counted_by_hop_and_user(azure, arm_token, list_subscriptions):
    list_subscriptions(arm_token("alice"))
    list_subscriptions(arm_token("gina"))
    assert [request.user for request in azure.requests("arm:subscriptions")] == ["alice", "gina"]
    assert [request.hop for request in azure.requests(user="gina")] == [
        "token:on_behalf_of",
        "arm:subscriptions",
    ]
    assert len(azure.requests("token")) == 2
    azure.reset()
    assert azure.requests() == []


def test_record_connects_the_tokens_of_two_requests(azure, arm_token, list_subscriptions):
    list_subscriptions(arm_token())
    exchanged, listed = azure.requests()
    assert exchanged.presented["aud"] == azure.api.client_id
    assert exchanged.issued["uti"] == listed.presented["uti"]


def test_record_tells_why_a_request_was_refused(azure, exchange, list_subscriptions):
    exchange(azure.access_token())
    azure.faults.add(TOKEN_HOP, 50057)
    exchange(azure.access_token())
    list_subscriptions("junk")
    records = [(record.answer, record.by_fault, record.status) for record in azure.requests()]
    assert records == [
        ("AADSTS65001", False, 400),
        ("AADSTS50057", True, 400),
        ("InvalidAuthenticationToken", False, 401),
    ]


def test_record_keeps_the_correlation_id(azure, exchange):
    exchange(azure.access_token(), headers={"client-request-id": "61fd"})
    assert azure.requests()[0].correlation_id == "61fd"


def test_no_secret_is_recorded(azure, front, redeem, exchange, list_subscriptions, arm_token):
    answer = front.sign_in()
    tokens = redeem(answer["code"]).json
    bearer = arm_token()
    list_subscriptions(bearer)
    exchange(tokens["access_token"])
    cookie = front.get_cookie("mockazure_sid").value
    front.authorize()
    recorded = repr([(r.form, r.headers, r.query) for r in azure.requests()])
    secrets = {
        azure.ui.secret,
        azure.api.secret,
        answer["code"],
        cookie,
        bearer,
        tokens["access_token"],
        tokens["refresh_token"],
        "v" * 43,
    }
    assert "sha256:" in recorded
    assert not [secret for secret in secrets if secret in recorded]


def test_reset_voids_what_was_issued_and_keeps_the_secrets(azure, front, redeem):
    code, secret = front.sign_in()["code"], azure.ui.secret
    azure.revoke_sessions("alice")
    azure.policies.add("mfa")
    azure.arm_page_size = 1
    azure.reset()
    assert azure.arm_page_size == 25
    assert error_code(redeem(code)) == 9002313
    assert azure.ui.secret == secret
    assert not azure.consents.granted("alice", azure.api.client_id, ARM_ID)
    assert redeem(front.sign_in()["code"]).status_code == 200


def test_settings_match_the_registrations(azure):
    api, ui = azure.flask_api_settings(), azure.django_ui_settings()
    assert api["ISSUER"] == f"{api['AUTHORITY']}/v2.0" == azure.issuer
    assert ui["AUTHORITY"] == api["AUTHORITY"]
    assert ui["REDIRECT_URI"] in azure.ui.redirect_uris
    assert ui["POST_LOGOUT_REDIRECT_URI"] in azure.ui.redirect_uris
    assert ui["API_SCOPE"] == f"api://{api['CLIENT_ID']}/access_as_user"
    assert api["CLIENT_SECRET"] != ui["CLIENT_SECRET"]
    assert len(ui["DJANGO_SECRET_KEY"]) >= 50
