"""AzureManagement: the page, and the app's reaction to each response of the API."""

import json
from base64 import b64encode
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from Helpers.errors import API_PAGES, PAGES
from Helpers.session import TOKEN_CACHE, TRIED, pending_sign_in

CLAIMS = '{"access_token": {"acrs": {"essential": true, "value": "c1"}}}'


def round_trip(visitor, response):
    """Follow ``response``, which redirects to Entra, and return signed in."""
    assert response["Location"].startswith("/account/login?")
    query = visitor.begin(response["Location"])
    return query, visitor.finish(query)


class TestPage:
    def test_sends_a_visitor_to_sign_in_and_back(self, visitor, api):
        response = visitor.get("/?page=2")
        assert response["Location"] == "/account/login?next=%2F%3Fpage%3D2"
        assert not api.requests

    def test_shows_a_table_and_the_json_array(self, signed_in):
        page = signed_in.get("/").text
        assert "Contoso Production" in page
        assert "55555555-5555-4555-8555-555555555555" in page
        assert "[\n  {\n    &quot;subscriptionId&quot;" in page
        assert "<title>Your subscriptions · Azure subscriptions</title>" in page
        assert '<pre tabindex="0"' in page  # else the keyboard can't scroll it
        user = '<span class="user-name" title="alice@contoso.example">'
        assert f'{user}<span class="unseen">Signed in as </span>Alice Adams</span>' in page
        for link in (
            '<html lang="en">',
            '<link rel="icon" href="/static/icon.svg"',
            '<link rel="stylesheet" href="/static/ui.css">',
            '<img src="/static/icon.svg"',
            '<a class="app-name" href="/">',
            '<a class="skip" href="#content">',
            '<main id="content"',
        ):
            assert link in page

    def test_shows_a_user_without_a_user_name(self, visitor, tenant):
        query = visitor.begin()
        tenant.answer_tokens(id_token=tenant.id_token(preferred_username=None))
        visitor.finish(query)
        assert '<span class="user-name"><span' in visitor.get("/").text
        assert "You are signed in as Alice Adams." in visitor.get("/account/logout").text

    def test_says_why_a_list_can_be_empty(self, signed_in, api):
        api.answer(value=[])
        page = signed_in.get("/").text
        assert "Your account has no role on any subscription" in page
        assert '<a class="button" href="/">Refresh</a>' in page

    def test_shows_azures_values_as_text(self, signed_in, api):
        api.answer(
            value=[{"displayName": "<script>x</script>", "state": None, "subscriptionId": 7}]
        )
        page = signed_in.get("/").text
        assert "<script" not in page
        assert "&lt;script&gt;" in page

    @pytest.mark.parametrize(
        ("row", "shown"),
        [
            pytest.param({"displayName": ""}, ">No name<", id="empty-name"),
            pytest.param({}, ">No name<", id="no-name"),
            pytest.param({}, '"state">Unknown<', id="no-state"),
            pytest.param({"state": "Enabled"}, '"state good">Enabled<', id="enabled"),
            pytest.param({"state": "Warned"}, '"state warn">Warned<', id="warned"),
            pytest.param({"state": "PastDue"}, '"state warn">PastDue<', id="past-due"),
            pytest.param({"state": "Disabled"}, '"state">Disabled<', id="disabled"),
        ],
    )
    def test_shows_the_name_and_the_state_of_a_row_with(self, signed_in, api, row, shown):
        api.answer(value=[{"subscriptionId": "1", **row}])
        assert shown in signed_in.get("/").text

    def test_sends_the_token_and_a_correlation_id_to_the_api(self, signed_in, api):
        response = signed_in.get("/")
        assert api.requests[0].req_kwargs["timeout"] == (3.05, 25.0)  # seconds
        headers = api.requests[0].headers
        assert headers["Authorization"] == "Bearer access-token-1"
        assert headers["x-ms-client-request-id"] == response["x-ms-client-request-id"]

    def test_makes_no_call_to_entra_while_the_token_is_valid(self, signed_in, tenant):
        before = len(tenant.network.calls)
        signed_in.get("/")
        signed_in.get("/")
        assert len(tenant.network.calls) == before + 2  # both to the API

    def test_does_not_change_the_session_while_the_token_is_valid(self, signed_in):
        signed_in.get("/")
        assert "subscriptions_session" not in signed_in.get("/").cookies


@pytest.mark.parametrize("code", ["authorization_header_missing", "invalid_token", "token_expired"])
class TestRefusalThatANewTokenFixes:
    def test_is_fixed_silently(self, signed_in, api, tenant, code):
        api.refuse(code)
        assert signed_in.get("/").status_code == 200
        assert api.access_tokens() == ["access-token-1", "access-token-2"]
        assert tenant.token_requests[-1]["grant_type"] == "refresh_token"

    def test_keeps_the_new_token(self, signed_in, api, code):
        api.refuse(code)
        signed_in.get("/")
        signed_in.get("/")
        assert api.access_tokens()[-1] == "access-token-2"


@pytest.mark.parametrize("code", ["invalid_token", "token_expired"])
class TestRefusalThatASignInFixes:
    def test_signs_in_when_the_new_token_is_refused_too(self, signed_in, api, code):
        api.refuse(code)
        api.refuse(code)
        _, response = round_trip(signed_in, signed_in.get("/?page=2"))
        assert response["Location"] == "/?page=2"
        assert signed_in.get("/").status_code == 200

    def test_explains_when_that_did_not_help(self, signed_in, api, code):
        for _ in range(4):
            api.refuse(code)
        round_trip(signed_in, signed_in.get("/"))
        page = signed_in.get("/")
        assert page.status_code == 502
        assert 'href="/account/login"' in page.text

    def test_tries_again_after_it_worked_for_a_while(self, signed_in, api, code):
        api.refuse(code)
        api.refuse(code)
        round_trip(signed_in, signed_in.get("/"))
        assert signed_in.session[TRIED] == [code]
        signed_in.get("/")
        assert TRIED not in signed_in.session
        api.refuse(code)
        api.refuse(code)
        assert signed_in.get("/").status_code == 302

    def test_signs_in_when_the_refresh_token_is_refused(self, signed_in, api, tenant, code):
        api.refuse(code)
        tenant.answer(400, error="invalid_grant", error_description="AADSTS50173")
        assert signed_in.get("/").status_code == 302
        assert pending_sign_in(signed_in.session).reason == "session_ended"


class TestClaimsChallenge:
    def test_is_satisfied_silently_if_entra_issues_a_token(self, signed_in, api, tenant):
        api.challenge(CLAIMS)
        assert signed_in.get("/").status_code == 200
        sent = json.loads(tenant.token_requests[-1]["claims"])["access_token"]
        assert sent["acrs"] == {"essential": True, "value": "c1"}
        assert api.access_tokens() == ["access-token-1", "access-token-2"]

    def test_leads_to_the_sign_in_page_otherwise(self, signed_in, api, tenant):
        api.challenge(CLAIMS)
        tenant.answer(400, error="interaction_required", suberror="basic_action")
        query, _ = round_trip(signed_in, signed_in.get("/"))
        assert json.loads(query["claims"])["access_token"]["acrs"]["value"] == "c1"
        assert query["login_hint"] == "alice@contoso.example"
        # The code is redeemed for the same claims.
        assert "acrs" in tenant.token_requests[-1]["claims"]

    def test_goes_to_entra_again_if_the_code_has_been_used(self, signed_in, api, tenant):
        api.challenge(CLAIMS)
        tenant.answer(400, error="interaction_required")
        query = signed_in.begin("/")
        tenant.answer(400, error="invalid_grant")
        location = signed_in.finish(query)["Location"]
        assert "acrs" in location
        again = parse_qs(urlsplit(location).query)
        tenant.nonce = again["nonce"][0]
        signed_in.finish({"state": again["state"][0]})
        assert signed_in.session[TRIED] == ["claims_challenge", "sign_in_expired"]

    def test_of_entra_itself_goes_first(self, signed_in, api, tenant):
        api.challenge(CLAIMS)
        tenant.answer(400, error="invalid_grant", claims='{"access_token":{"capolids":{}}}')
        query = signed_in.begin("/")
        assert "capolids" in query["claims"]
        assert "acrs" not in query["claims"]

    def test_sends_the_user_there_once(self, signed_in, api):
        for _ in range(4):
            api.challenge(CLAIMS)
        query, _ = round_trip(signed_in, signed_in.get("/"))
        assert json.loads(query["claims"])["access_token"]["acrs"]["value"] == "c1"
        page = signed_in.get("/")
        assert page.status_code == 403
        assert "Another sign-in step is required" in page.text

    def test_can_be_retried_by_the_user(self, signed_in, api):
        for _ in range(6):
            api.challenge(CLAIMS)
        round_trip(signed_in, signed_in.get("/"))
        signed_in.get("/")
        query = signed_in.begin("/account/login")  # the page's button
        signed_in.finish(query)
        assert signed_in.get("/").status_code == 302

    @pytest.mark.parametrize(
        "claims",
        [
            pytest.param("[]", id="a-list"),
            pytest.param('"text"', id="a-text"),
            pytest.param("{", id="not-json"),
            pytest.param('{"a": "' + "x" * 4096 + '"}', id="too-long"),
            pytest.param("[" * 3000, id="deep"),
            pytest.param("", id="nothing"),
        ],
    )
    def test_that_is_malformed_is_an_error_of_the_api(self, signed_in, api, tenant, claims):
        api.challenge(claims)
        assert signed_in.get("/").status_code == 502
        assert len(tenant.token_requests) == 1  # the sign-in

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "Basic",
            'Bearer error="insufficient_claims"',
            'Bearer error="insufficient_claims", claims="%e30="',
            'Bearer error="invalid_token", claims="e30="',
            'Basic error="insufficient_claims", claims="e30="',
        ],
    )
    def test_without_claims_is_an_error_of_the_api(self, signed_in, api, header):
        api.refuse("claims_challenge", headers={"WWW-Authenticate": header})
        assert signed_in.get("/").status_code == 502

    def test_that_is_too_long_for_a_cookie_is_explained(self, signed_in, api, tenant):
        noise = "".join(sha256(bytes([i])).hexdigest() for i in range(63))
        api.challenge(json.dumps({"a": noise}))
        tenant.answer(400, error="interaction_required")
        assert signed_in.get("/")["Location"] == "/account/login?next=%2F"
        # Hexadecimal digits shrink to a half, so these claims fit; these letters do not.
        assert signed_in.get("/account/login").status_code == 302
        noise = "".join(b64encode(sha256(bytes([i])).digest()).decode() for i in range(90))
        api.challenge(json.dumps({"a": noise}))
        tenant.answer(400, error="interaction_required")
        signed_in.get("/")
        page = signed_in.get("/account/login")
        assert page.status_code == 502
        assert not [name for name in page.cookies if name.startswith("sign_in_")]


class TestConsent:
    def test_is_asked_for_with_all_permissions(self, signed_in, api, settings):
        api.refuse("consent_required")
        query, _ = round_trip(signed_in, signed_in.get("/"))
        assert query["prompt"] == "consent"
        assert settings.SCOPE in query["scope"].split()

    def test_is_asked_for_once(self, signed_in, api):
        api.refuse("consent_required")
        api.refuse("consent_required")
        round_trip(signed_in, signed_in.get("/"))
        page = signed_in.get("/")
        assert page.status_code == 403
        assert "An approval is missing" in page.text

    def test_is_asked_for_when_the_refresh_token_lacks_it(self, signed_in, api, tenant):
        api.refuse("token_expired")
        tenant.answer(400, error="invalid_grant", suberror="consent_required")
        assert signed_in.begin("/")["prompt"] == "consent"


def test_missing_scope_is_asked_for_once(signed_in, api, settings):
    api.refuse("insufficient_scope", 403)
    api.refuse("insufficient_scope", 403)
    query, _ = round_trip(signed_in, signed_in.get("/"))
    assert settings.API_SCOPE in query["scope"].split()
    assert "prompt" not in query
    assert signed_in.get("/").status_code == 403


def test_rejected_assertion_costs_the_token_cache(signed_in, api):
    api.refuse("assertion_rejected")
    response = signed_in.get("/")
    assert response.status_code == 302
    assert TOKEN_CACHE not in signed_in.session


@pytest.mark.parametrize("again", ["consent_required", "assertion_rejected"])
def test_alternating_causes_end_on_a_page(signed_in, api, again):
    for code in ("consent_required", "assertion_rejected", again):
        api.refuse(code)
    round_trip(signed_in, signed_in.get("/"))
    round_trip(signed_in, signed_in.get("/"))
    assert signed_in.get("/").status_code == API_PAGES[again].status


# How often a refusal that lasts makes the app renew the token, and send the user to Entra.
ROUNDS = {
    "authorization_header_missing": (1, 0),
    "invalid_token": (2, 1),
    "token_expired": (2, 1),
    "claims_challenge": (2, 1),
    "insufficient_scope": (0, 1),
    "consent_required": (0, 1),
    "assertion_rejected": (0, 1),
}


@pytest.mark.parametrize("code", sorted(API_PAGES))
def test_refusal_that_lasts_ends_on_its_page(signed_in, api, tenant, code):
    claims = b64encode(CLAIMS.encode()).decode()  # which count with claims_challenge only
    header = f'Bearer error="insufficient_claims", claims="{claims}"'
    for _ in range(20):
        api.refuse(code, headers={"WWW-Authenticate": header})
    rounds = 0
    while (page := signed_in.get("/")).status_code == 302:
        query, _ = round_trip(signed_in, page)
        assert ("acrs" in query["claims"]) == (code == "claims_challenge")
        rounds += 1
    grants = [request["grant_type"] for request in tenant.token_requests]
    assert (grants.count("refresh_token"), rounds) == ROUNDS.get(code, (0, 0))
    assert API_PAGES[code].title in page.text
    assert page.status_code == API_PAGES[code].status
    if rounds:
        assert ">Sign in again</a>" in page.text


FIXABLE = {"authorization_header_missing", "invalid_token", "token_expired", "claims_challenge"} | {
    "consent_required",
    "insufficient_scope",
    "assertion_rejected",
}


@pytest.mark.parametrize("code", sorted(API_PAGES.keys() - FIXABLE))
def test_explains_at_once(signed_in, api, tenant, code):
    page_of_code = API_PAGES[code]
    api.refuse(code, 500, headers={"Retry-After": "7"})
    page = signed_in.get("/")
    assert page.status_code == page_of_code.status
    assert page_of_code.title in page.text
    assert page["x-ms-client-request-id"] in page.text
    assert page["Retry-After"] == "7"
    assert "Try again in 7 seconds." in page.text
    assert len(api.requests) == 1
    assert len(tenant.token_requests) == 1


def test_logs_only_the_code_of_a_refusal(signed_in, api, caplog):
    api.answer(502, code="downstream_error", description="made-up", correlation_id="made-up")
    assert signed_in.get("/").status_code == 502
    assert "problem: downstream_error" in caplog.text
    assert "made-up" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(requests.ConnectionError("secret"), "api_unreachable", id="nobody-there"),
        pytest.param(requests.ConnectTimeout(), "api_unreachable", id="no-connection"),
        pytest.param(requests.ReadTimeout(), "api_timeout", id="too-slow"),
        pytest.param((200, {}, "<html>"), "api_error", id="html"),
        pytest.param((200, {}, "[]"), "api_error", id="a-list"),
        pytest.param((200, {}, '{"value": {}}'), "api_error", id="not-a-list"),
        pytest.param((200, {}, '{"value": [1]}'), "api_error", id="a-list-of-numbers"),
        pytest.param((200, {}, "{}"), "api_error", id="no-value"),
        pytest.param((404, {}, '{"code": "not_found"}'), "api_error", id="wrong-address"),
        pytest.param((500, {}, '{"code": "internal_error"}'), "api_error", id="its-own-error"),
        pytest.param((502, {}, "<html>Bad gateway"), "api_error", id="a-gateway"),
        pytest.param((401, {}, '{"code": ["x"]}'), "api_error", id="no-code"),
        pytest.param((200, {}, ""), "api_error", id="nothing"),
        pytest.param((200, {}, '{"value": ['), "api_error", id="half-an-answer"),
        pytest.param((200, {}, '{"value": ' + "9" * 5000 + "}"), "api_error", id="a-huge-number"),
        pytest.param((200, {}, "[" * 100_000), "api_error", id="deep"),
        pytest.param((200, {}, b"\xff\xfe\x00"), "api_error", id="not-text"),
        pytest.param(
            (200, {}, r'{"value": [{"a": "\ud800"}]}'), "api_error", id="half-a-character"
        ),
        pytest.param(
            (200, {}, f'{{"value": [{{"a": {"[" * 99_999}{"]" * 99_999}}}]}}'),
            "api_error",
            id="nested",
        ),
        pytest.param((203, {}, '{"value": []}'), "api_error", id="changed-on-the-way"),
        pytest.param((204, {}, ""), "api_error", id="no-content"),
        pytest.param((304, {}, ""), "api_error", id="not-modified"),
        pytest.param(
            (401, {}, '{"code": "sign_in_expired"}'), "api_error", id="code-of-another-table"
        ),
        pytest.param((302, {"Location": "https://evil.example"}, ""), "api_error", id="redirect"),
    ],
)
def test_explains_an_api_that_fails(signed_in, api, caplog, answer, code):
    api.answers.append(answer)
    page = signed_in.get("/")
    assert page.status_code == PAGES[code].status
    assert PAGES[code].title in page.text
    assert "secret" not in caplog.text
    assert signed_in.get("/").status_code == 200


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param((503, {}, "<html>"), 503, id="down"),
        pytest.param((429, {"Retry-After": "999"}, "{}"), 503, id="busy"),
        pytest.param((401, {}, '{"error": "invalid_client"}'), 500, id="wrong-secret"),
        pytest.param((200, {}, "[]"), 503, id="not-an-object"),
        pytest.param(
            (200, {}, '{"access_token": "a", "expires_in": 1e999}'), 503, id="infinite-lifetime"
        ),
        pytest.param(requests.ConnectTimeout(), 503, id="no-connection"),
    ],
)
def test_explains_that_entra_issues_no_new_token(signed_in, api, tenant, answer, status):
    api.refuse("token_expired")
    tenant.answers.append(answer)
    page = signed_in.get("/")
    assert page.status_code == status
    assert page.get("Retry-After") == ("120" if "Retry-After" in str(answer) else None)


def test_asks_to_sign_in_once_when_no_token_fits(visitor, tenant, api):
    query = visitor.begin("/")
    tenant.answer_tokens(scope="api://another/scope", refresh_token=None)
    visitor.finish(query)
    query = visitor.begin("/")
    tenant.answer_tokens(scope="api://another/scope", refresh_token=None)
    visitor.finish(query)
    page = visitor.get("/")
    assert page.status_code == 500
    assert "API_SCOPE" in page.text
    assert not api.requests


def test_of_the_address_in_the_location_only_the_path_is_kept(visitor):
    location = urlsplit(visitor.get("/?x=1&y=2")["Location"])
    assert parse_qs(location.query) == {"next": ["/?x=1&y=2"]}
