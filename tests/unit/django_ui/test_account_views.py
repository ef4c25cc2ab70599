"""Account.views: sign-in, callback and sign-out."""

import re
import time
from datetime import timedelta
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from Helpers.encryption import encrypt
from Helpers.errors import PAGES
from Helpers.session import IDENTITY, TRIED

# What Entra may say in place of a code, and the page that it leads to.
ERRORS = [
    ("access_denied", "access_denied", 403),
    ("consent_required", "consent_required", 403),
    ("login_required", "login_required", 403),
    ("interaction_required", "login_required", 403),
    ("temporarily_unavailable", "entra_busy", 503),
    ("server_error", "entra_unavailable", 503),
    ("service_unavailable", "entra_unavailable", 503),
    ("invalid_request", "ui_misconfigured", 500),
    ("invalid_client", "ui_misconfigured", 500),
    ("invalid_scope", "scope_rejected", 500),
    ("invalid_resource", "scope_rejected", 500),
    ("unauthorized_client", "ui_misconfigured", 500),
    ("unsupported_response_type", "sign_in_refused", 502),
    ("account_selection_required", "sign_in_refused", 502),
]
SAID_BESIDES = {
    "error_description": "AADSTS1: <b>secret</b>",
    "error_uri": "https://evil.example/secret",
    "error_subcode": "secret-subcode",
    "suberror": "secret-suberror",
    "claims": '{"secret": "claims"}',
}


def cookie_name(state: str) -> str:
    return "sign_in_" + sha256(state.encode()).hexdigest()[:16]


class TestLogin:
    def test_requests_all_permissions_with_pkce_and_response_mode_query(self, visitor, settings):
        query = visitor.begin()
        assert query["scope"].split()[0] == settings.SCOPE
        assert query["response_mode"] == "query"
        assert query["code_challenge_method"] == "S256"
        assert query["redirect_uri"] == "http://localhost:8000/account/callback"
        assert "cp1" in query["claims"]  # claims challenges are understood here

    def test_keeps_the_flow_in_a_cookie_that_scripts_cannot_read(self, visitor):
        query = visitor.begin()
        cookie = visitor.cookies[cookie_name(query["state"])]
        assert (cookie["path"], cookie["samesite"]) == ("/", "Lax")
        assert cookie["httponly"]
        assert not cookie["secure"]  # some browsers would drop it, because this is http
        assert cookie["max-age"] == 600
        assert query["state"] not in cookie.OutputString()

    def test_creates_no_row_for_a_visitor(self, visitor):
        visitor.begin("/")
        assert not Session.objects.exists()

    def test_shows_a_page_to_try_again_when_entra_is_down(self, visitor, tenant, network):
        network.replace("GET", tenant.discovery_url, body=requests.ConnectionError())
        response = visitor.get("/account/login?next=/")
        assert response.status_code == 503
        assert b"/account/login?next=/" in response.content

    def test_says_that_the_app_is_not_set_up_when_the_tenant_is_unknown(
        self, visitor, tenant, network
    ):
        network.replace("GET", tenant.discovery_url, status=400, json={"error": "invalid_tenant"})
        for _ in range(2):
            assert visitor.get("/account/login").status_code == 500


def test_lets_the_user_choose_an_account_after_a_failed_sign_in(visitor):
    response = visitor.finish(visitor.begin(), error="access_denied")
    page = visitor.get(response["Location"]).text
    assert 'href="/account/login?prompt=select_account"' in page
    assert visitor.begin("/account/login?prompt=select_account")["prompt"] == "select_account"
    assert "prompt" not in visitor.begin("/account/login?prompt=none")


class TestCallback:
    def test_signs_in_and_returns_to_the_page_the_user_came_from(self, visitor):
        response = visitor.sign_in("/?page=2")
        assert (response.status_code, response["Location"]) == (302, "/?page=2")
        identity = visitor.session[IDENTITY]
        assert (identity["oid"], identity["name"]) == (
            "44444444-4444-4444-8444-444444444444",
            "Alice Adams",
        )

    @pytest.mark.parametrize(
        "address",
        [
            "https://evil.example/",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "javascript:alert(1)",
            "elsewhere",
            "http://localhost:8000/",
            "\x00/evil",
            "/" + "a" * 501,
            "",
            "/\t/evil.example",
            "\t//evil.example",
            " //evil.example",
            "/\n/evil.example",
            "\\\\evil.example",
            "http:/evil.example",
            "http:evil.example",
            "https:///evil.example",
            "//user@evil.example",
            "JaVaScRiPt:alert(1)",
            "data:text/html,x",
            "evil.example/",
            "\u2028//evil.example",
            "//\uff0fevil.example",
            "\uff0f\uff0fevil.example",
            "//[::1",
            "?next=//evil.example",
        ],
    )
    def test_redirects_home_instead_of_to(self, visitor, address):
        query = visitor.begin("/account/login?" + requests.compat.urlencode({"next": address}))
        assert visitor.finish(query)["Location"] == "/"

    @pytest.mark.parametrize(
        ("address", "location"),
        [
            ("/%2f..", "/%2f.."),
            ("/%2fevil.example", "/%2fevil.example"),
            ("/\r\nSet-Cookie: x=1", "/%0D%0ASet-Cookie:%20x=1"),
            ("/ünicode?ä=ö", "/%C3%BCnicode?%C3%A4=%C3%B6"),
            ("/\uff0fevil.example", "/%EF%BC%8Fevil.example"),
            ("/?next=//evil.example", "/?next=//evil.example"),
            ("/" + "a" * 499, "/" + "a" * 499),
        ],
    )
    def test_stays_on_this_site_with(self, visitor, address, location):
        query = visitor.begin("/account/login?" + requests.compat.urlencode({"next": address}))
        response = visitor.finish(query)
        assert response["Location"] == location
        assert "x" not in response.cookies

    def test_takes_the_next_page_from_the_cookie_only(self, visitor):
        query = visitor.begin("/account/login?next=/%3Fpage=2")
        response = visitor.finish(query, code="the-code", next="//evil.example")
        assert response["Location"] == "/?page=2"

    def test_starts_a_session_with_a_new_key_and_no_old_contents(self, signed_in):
        before = signed_in.session
        before["left"] = "over"
        before.save()
        signed_in.sign_in()
        assert signed_in.session.session_key != before.session_key
        assert "left" not in signed_in.session
        assert not Session.objects.filter(session_key=before.session_key).exists()

    def test_ends_the_session_after_eight_hours_even_if_it_is_used(self, signed_in):
        (session,) = Session.objects.all()
        assert timedelta(0) < session.expire_date - timezone.now() <= timedelta(hours=8)

    def test_renews_the_csrf_token(self, visitor):
        visitor.sign_in()
        visitor.get("/")
        before = visitor.cookies["subscriptions_csrf"].value
        visitor.sign_in()
        visitor.get("/")
        assert visitor.cookies["subscriptions_csrf"].value != before

    def test_drops_the_cookie_of_the_flow(self, visitor):
        query = visitor.begin()
        visitor.finish(query)
        assert visitor.cookies[cookie_name(query["state"])].value == ""

    @pytest.mark.parametrize("how", ["refused-by-entra", "code-refused", "answer-not-trusted"])
    def test_drops_the_cookie_of_a_flow_that_failed(self, visitor, tenant, how):
        """Otherwise five failures would delete the sign-ins of other tabs."""
        query = visitor.begin()
        if how == "code-refused":
            tenant.answer(400, error="invalid_client")
        if how == "answer-not-trusted":
            tenant.answer_tokens(id_token=tenant.id_token(aud="another-app"))
        answer = {"error": "access_denied"} if how == "refused-by-entra" else {}
        assert "/account/problem/" in visitor.finish(query, **answer)["Location"]
        cookie = visitor.cookies[cookie_name(query["state"])]
        assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", 0, "/")

    def test_rejects_a_response_to_another_browser(self, visitor, tenant):
        query = visitor.begin()
        victim = Client(headers={"host": "localhost:8000"})
        response = victim.get("/account/callback", {"code": "x", "state": query["state"]})
        assert response["Location"].startswith("/account/problem/sign_in_expired")
        assert not tenant.token_requests

    def test_redirects_home_after_a_second_click(self, visitor):
        query = visitor.begin()
        visitor.finish(query)
        assert visitor.finish(query)["Location"] == "/"

    def test_restarts_the_sign_in_if_the_code_has_been_used(self, visitor, tenant):
        tenant.answer(400, error="invalid_grant")
        response = visitor.sign_in("/?page=2")
        assert response["Location"].startswith("https://signin.example/authorize")
        query = parse_qs(urlsplit(response["Location"]).query)
        tenant.nonce = query["nonce"][0]
        assert visitor.finish({"state": query["state"][0]})["Location"] == "/?page=2"

    def test_restarts_the_sign_in_only_once(self, visitor, tenant):
        tenant.answer(400, error="invalid_grant")
        tenant.answer(400, error="invalid_grant")
        response = visitor.sign_in()
        state = parse_qs(urlsplit(response["Location"]).query)["state"][0]
        response = visitor.finish({"state": state})
        assert response["Location"].startswith("/account/problem/sign_in_expired")

    @pytest.mark.parametrize(
        ("error", "code", "status"),
        [
            *ERRORS,
            ("temporarily_unavailable\r\nSet-Cookie: x=1", "sign_in_refused", 502),
            ("<script>", "sign_in_refused", 502),
            ("x" * 3000, "sign_in_refused", 502),
            ("ünbekannt", "sign_in_refused", 502),
        ],
    )
    def test_explains(self, visitor, tenant, caplog, error, code, status):
        query = visitor.begin()
        response = visitor.finish(query, error=error, **SAID_BESIDES)
        assert response["Location"].startswith(f"/account/problem/{code}?reference=")
        page = visitor.get(response["Location"])
        assert page.status_code == status
        assert PAGES[code].title in page.text
        for text in SAID_BESIDES.values():
            assert text not in response["Location"] + page.text + caplog.text
        assert not tenant.token_requests
        assert IDENTITY not in visitor.session

    @pytest.mark.parametrize("error", [error for error, _, _ in ERRORS])
    @pytest.mark.parametrize("state", [{}, {"state": ""}, {"state": "of-nobody"}])
    def test_ignores_an_error_without_a_known_state(self, visitor, tenant, error, state):
        visitor.begin()
        response = visitor.get("/account/callback", {"error": error, **SAID_BESIDES, **state})
        page = visitor.get(response["Location"])
        assert page.status_code == 400
        assert "This sign-in cannot be finished" in page.text
        assert "secret" not in page.text
        assert not tenant.token_requests

    def test_a_forged_error_does_not_affect_a_signed_in_user(self, signed_in):
        response = signed_in.get("/account/callback?error=access_denied&state=forged")
        assert response["Location"] == "/"
        assert IDENTITY in signed_in.session

    @pytest.mark.parametrize(
        "query",
        [
            pytest.param("", id="nothing"),
            pytest.param("state=%ff%fe", id="state-that-is-not-text"),
            pytest.param("state=%ed%a0%80&code=x", id="state-with-half-a-character"),
            pytest.param("state=%00&code=%00", id="state-with-a-null"),
            pytest.param("state=" + "x" * 7000, id="long-state"),
            pytest.param("code=x", id="code-without-state"),
            pytest.param("state[]=x&code[]=x", id="brackets"),
        ],
    )
    def test_answers_nonsense_with_a_page(self, visitor, query):
        response = visitor.get(f"/account/callback?{query}")
        assert response["Location"].startswith("/account/problem/sign_in_expired?")

    @pytest.mark.parametrize("answer", [{"code": ""}, {"error": ""}, {"x": "y"}], ids=str)
    def test_refuses_an_answer_with_neither_code_nor_error(self, visitor, tenant, answer):
        location = visitor.finish(visitor.begin(), **answer)["Location"]
        assert location.startswith("/account/problem/bad_request?")
        assert visitor.get(location).status_code == 400
        assert not tenant.token_requests

    def test_uses_the_last_of_two_states_for_the_cookie_and_the_check(self, visitor, tenant):
        query = visitor.begin()
        address = f"/account/callback?code=x&state={query['state']}&state=another"
        assert "sign_in_expired" in visitor.get(address)["Location"]
        assert not tenant.token_requests

    def test_ignores_tokens_in_the_query(self, visitor, tenant):
        query = visitor.begin()
        visitor.finish(
            query, error="access_denied", access_token="stolen", id_token=tenant.id_token()
        )
        assert IDENTITY not in visitor.session

    def test_completes_several_sign_ins_in_any_order(self, visitor):
        tabs = [visitor.begin(f"/account/login?next=/%3Ftab={number}") for number in range(5)]
        nonces = [tab["nonce"] for tab in tabs]
        for number in (3, 0, 4, 1, 2):
            visitor.tenant.nonce = nonces[number]
            assert visitor.finish(tabs[number])["Location"] == f"/?tab={number}"

    def test_completes_five_of_six_sign_ins(self, visitor):
        tabs = [visitor.begin() for _ in range(6)]
        kept = [name for name, cookie in visitor.cookies.items() if cookie.value]
        assert sorted(kept) == sorted(cookie_name(tab["state"]) for tab in tabs[1:])
        assert "sign_in_expired" in visitor.finish(tabs[0])["Location"]
        visitor.tenant.nonce = tabs[1]["nonce"]
        assert visitor.finish(tabs[1])["Location"] == "/"

    def test_another_browser_needs_the_cookie_to_complete_a_sign_in(self, visitor, tenant):
        """The attacker's sign-in does not become the victim's, even if both are unfinished."""
        attacker = type(visitor)(headers={"host": "localhost:8000"})
        attacker.tenant = tenant
        theirs, ours = attacker.begin(), visitor.begin()
        response = visitor.finish(theirs)
        assert "sign_in_expired" in response["Location"]
        assert IDENTITY not in visitor.session
        tenant.nonce = ours["nonce"]
        assert visitor.finish(ours)["Location"] == "/"

    @pytest.mark.parametrize(
        "forge",
        [
            pytest.param(lambda value: encrypt("token_cache", "{}"), id="of-another-purpose"),
            pytest.param(lambda value: value[:-6] + "AAAAAA", id="changed"),
            pytest.param(lambda value: value[: len(value) // 2], id="cut-off"),
            pytest.param(lambda value: "", id="empty"),
            pytest.param(lambda value: '{"flow": {}}', id="not-encrypted"),
        ],
    )
    def test_rejects_a_cookie_that_is(self, visitor, tenant, forge):
        query = visitor.begin()
        name = cookie_name(query["state"])
        visitor.cookies[name] = forge(visitor.cookies[name].value)
        assert "sign_in_expired" in visitor.finish(query)["Location"]
        assert not tenant.token_requests

    def test_rejects_a_cookie_older_than_ten_minutes(self, visitor, tenant, monkeypatch):
        query = visitor.begin()
        later = time.time() + 601
        monkeypatch.setattr("cryptography.fernet.time.time", lambda: later)
        assert "sign_in_expired" in visitor.finish(query)["Location"]
        assert not tenant.token_requests

    def test_a_head_request_leaves_no_trace(self, visitor):
        assert visitor.head("/account/callback?code=x&state=y").status_code == 302
        assert visitor.options("/account/callback").status_code == 200
        assert not Session.objects.exists()

    def test_explains_an_outage_while_the_code_is_redeemed(self, visitor, tenant):
        tenant.answers.append(requests.ReadTimeout())
        assert "/problem/entra_unavailable" in visitor.sign_in()["Location"]

    def test_shows_the_reference_that_the_log_has(self, visitor, caplog):
        query = visitor.begin()
        location = visitor.finish(query, error="access_denied")["Location"]
        reference = parse_qs(urlsplit(location).query)["reference"][0]
        assert reference in visitor.get(location).text

    def test_keeps_codes_out_of_the_log(self, visitor, tenant, caplog):
        caplog.set_level("DEBUG")
        visitor.sign_in()
        tenant.answer(400, error="invalid_client", error_description="AADSTS7000215: a text")
        visitor.sign_in()
        assert "the-code" not in caplog.text
        assert "a text" not in caplog.text
        assert "AADSTS7000215" in caplog.text  # which a person can look up

    def test_logs_the_number_and_trace_id_of_an_error_that_returns_by_redirect(
        self, visitor, caplog
    ):
        trace_id = "0d4b3dd2-6a22-4c5f-9ac3-9a4b0c8f1f00"
        text = (
            "AADSTS650053: The app asked for scope 'made-up' of somebody@contoso.example. "
            f"Trace ID: {trace_id} Correlation ID: {trace_id[::-1]} Timestamp: 2026-01-01 10:00:00Z"
            f" Trace ID: alice@contoso.example AADSTS{'7' * 9}" + " AADSTS1" * 9
        )
        visitor.finish(visitor.begin(), error="invalid_scope", error_description=text)
        assert f"AADSTS650053 Trace ID: {trace_id}" in caplog.text
        assert "made-up" not in caplog.text
        assert "contoso" not in caplog.text
        assert "7777" not in caplog.text
        assert caplog.text.count("AADSTS") == 4  # and a trace ID: at most five of them
        caplog.clear()
        visitor.get("/account/callback", {"error": "x", "error_description": text, "state": "no"})
        assert "AADSTS" not in caplog.text

    def test_logs_no_error_that_it_does_not_know(self, visitor, caplog):
        """Anyone can choose the text in the callback's query."""
        visitor.finish(visitor.begin(), error="made-up")
        assert "error=another" in caplog.text
        assert "made-up" not in caplog.text

    def test_names_the_scope_if_entra_rejects_it(self, visitor):
        location = visitor.finish(visitor.begin(), error="invalid_scope")["Location"]
        page = visitor.get(location).text
        assert "API_SCOPE" in page
        assert "secret" not in page

    def test_keeps_the_contents_of_a_page_out_of_the_log(self, signed_in, settings, caplog):
        settings.ENVIRONMENT = "production"  # where the page lacks a variable
        caplog.set_level("DEBUG")
        caplog.set_level("DEBUG", logger="django")
        signed_in.get("/")
        assert "Alice" not in caplog.text

    def test_rejects_a_post(self, visitor):
        assert visitor.post("/account/callback", {"code": "x"}).status_code == 405
        page = Client(enforce_csrf_checks=True).post("/account/callback", {"code": "x"})
        assert page.status_code == 400
        assert "This request cannot be answered" in page.text


class TestLoops:
    """Entra signs users in again silently, so nothing else would stop a loop."""

    def test_end_when_the_session_does_not_last(self, visitor, tenant):
        """As with two instances that do not share a session store."""
        visitor.sign_in("/")
        Session.objects.all().delete()
        response = visitor.get("/")
        assert response["Location"].startswith("/account/login?")
        page = visitor.get(response["Location"])
        assert page.status_code == 503
        assert "cannot remember who is signed in" in page.text
        assert len(tenant.token_requests) == 1

    def test_end_when_the_cookie_of_a_second_round_is_lost(self, signed_in, api):
        for _ in range(4):
            api.refuse("consent_required")
        query = signed_in.begin("/")
        del signed_in.cookies[cookie_name(query["state"])]
        response = signed_in.finish(query)
        assert response["Location"].startswith("/account/problem/sign_in_expired?")

    def test_are_not_suspected_if_a_user_signs_out_and_in(self, visitor):
        visitor.sign_in()
        visitor.post("/account/logout")
        assert visitor.sign_in()["Location"] == "/"

    def test_are_not_suspected_if_a_user_signs_in_twice(self, visitor):
        visitor.sign_in()
        assert visitor.sign_in()["Location"] == "/"

    def test_are_forgotten_soon(self, visitor):
        visitor.sign_in()
        cookie = visitor.cookies["signed_in_just_now"]
        assert (cookie["max-age"], cookie["path"]) == (10, "/")


class TestProblem:
    def test_does_not_repeat_an_invalid_reference(self, visitor):
        page = visitor.get("/account/problem/entra_busy?reference=<script>alert(1)</script>")
        assert "<script>" not in page.text
        assert "alert" not in page.text

    def test_does_not_repeat_text_after_a_reference(self, visitor, settings):
        settings.TRACE_URL = "http://localhost:8400/trace/"
        reference = "0d4b3dd2-6a22-4c5f-9ac3-9a4b0c8f1f00"
        page = visitor.get(f"/account/problem/entra_busy?reference={reference}-call-0900")
        assert "call-0900" not in page.text
        page = visitor.get(f"/account/problem/entra_busy?reference={reference}").text
        assert f"<code>{reference}</code>" in page
        assert f'href="http://localhost:8400/trace/{reference}"' in page

    def test_is_not_found_for_an_unknown_code(self, visitor):
        assert visitor.get("/account/problem/nonsense").status_code == 404


class TestLogOut:
    def test_asks_first(self, signed_in):
        page = signed_in.get("/account/logout")
        assert page.status_code == 200
        assert IDENTITY in signed_in.session
        assert "<title>Sign out ·" in page.text
        assert "You are signed in as Alice Adams (alice@contoso.example)." in page.text
        assert '<a class="button quiet" href="/">Stay signed in</a>' in page.text
        form = r'method="post" action="/account/logout">\s*<input [^>]*name="csrfmiddlewaretoken"'
        assert len(re.findall(form, page.text)) == 2  # in the header and below the question

    def test_does_not_ask_a_visitor(self, visitor):
        assert visitor.get("/account/logout")["Location"] == "/account/signed-out"

    def test_deletes_the_session_and_redirects_to_entra(self, signed_in):
        response = signed_in.post("/account/logout")
        address = urlsplit(response["Location"])
        tenant = "22222222-2222-4222-8222-222222222222"
        assert (address.netloc, address.path) == (
            "login.example",
            f"/{tenant}/oauth2/v2.0/logout",
        )
        assert parse_qs(address.query) == {
            "post_logout_redirect_uri": ["http://localhost:8000/account/signed-out"],
            "client_id": ["11111111-1111-4111-8111-111111111111"],
        }
        assert not Session.objects.exists()
        cookie = signed_in.cookies["subscriptions_session"]
        assert (cookie.value, cookie["max-age"]) == ("", 0)
        assert signed_in.get("/").status_code == 302

    def test_sends_entra_the_logout_hint_of_the_id_token(self, visitor, tenant):
        query = visitor.begin()
        tenant.answer_tokens(id_token=tenant.id_token(login_hint="opaque"))
        visitor.finish(query)
        assert "logout_hint=opaque" in visitor.post("/account/logout")["Location"]

    def test_redirects_to_the_address_in_the_settings(self, signed_in, settings):
        settings.LOGOUT_URL = "https://adfs.example/signout?wa=1"
        location = signed_in.post("/account/logout")["Location"]
        assert location.startswith("https://adfs.example/signout?wa=1&post_logout_redirect_uri=")

    def test_works_here_when_entra_is_down(self, signed_in, network):
        before = len(network.calls)
        assert signed_in.post("/account/logout").status_code == 302
        assert len(network.calls) == before  # Entra is not asked
        assert not Session.objects.exists()

    def test_refuses_a_form_from_elsewhere(self, signed_in):
        strict = Client(headers={"host": "localhost:8000"}, enforce_csrf_checks=True)
        strict.cookies = signed_in.cookies
        response = strict.post("/account/logout", {"csrfmiddlewaretoken": "a" * 64})
        assert response.status_code == 403
        assert b"You are not signed out yet" in response.content
        assert Session.objects.exists()


class TestSignedOut:
    def test_offers_to_sign_in(self, visitor):
        page = visitor.get("/account/signed-out").text
        assert 'href="/account/login"' in page
        assert "<title>Signed out ·" in page

    def test_clears_the_pages_that_the_browser_cached(self, visitor):
        assert '<img src="/account/clear-site-data"' in visitor.get("/account/signed-out").text
        assert visitor.get("/account/clear-site-data")["Clear-Site-Data"] == '"cache"'

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    def test_does_not_let_another_site_clear_the_cache(self, visitor, site):
        response = visitor.get("/account/clear-site-data", headers={"Sec-Fetch-Site": site})
        assert response.status_code == 204
        assert "Clear-Site-Data" not in response
        response = visitor.get(
            "/account/clear-site-data", headers={"Sec-Fetch-Site": "same-origin"}
        )
        assert response["Clear-Site-Data"] == '"cache"'

    def test_redirects_home_if_the_user_has_signed_in_again(self, signed_in):
        assert signed_in.get("/account/signed-out")["Location"] == "/"


def test_tried_is_empty_after_a_sign_in_without_a_reason(signed_in):
    assert signed_in.session[TRIED] == []
