"""Helpers.token_acquisition: cases that the tests of the views don't cover."""

import time

import pytest
import requests
from django.contrib.sessions.backends.db import SessionStore

from Helpers.encryption import encrypt
from Helpers.errors import NotSignedIn, PageError, SignInRequired
from Helpers.session import IDENTITY, TOKEN_CACHE, PendingSignIn, start_session
from Helpers.token_acquisition import (
    _identity,
    acquire_token_silent,
    begin_sign_in,
    checked_claims,
    complete_sign_in,
)
from tests.mock_azure.tokens import unverified
from tests.unit.conftest import CERTIFICATE, pem_of


def begin(tenant):
    """Begin a sign-in, whose nonce the tenant's next ID token will have."""
    flow = begin_sign_in()
    tenant.nonce = flow["auth_uri"].partition("nonce=")[2].partition("&")[0]
    return flow


def complete(flow):
    """Return from Entra with a code."""
    return complete_sign_in(flow, {"state": flow["state"], "code": "the-code"})


@pytest.fixture
def flow(tenant):
    return begin(tenant)


@pytest.fixture
def session(db, tenant) -> SessionStore:
    """A session in which Alice is signed in."""
    signed_in = complete(begin(tenant))
    session = SessionStore()
    start_session(session, signed_in.identity, signed_in.token_cache, [])
    session.save()
    return session


class TestIdToken:
    @pytest.mark.parametrize(
        ("claim", "value"),
        [
            pytest.param("iss", "https://evil.example/v2.0", id="another-issuer"),
            pytest.param("iss", None, id="no-issuer"),
            pytest.param("iss", ["x"], id="a-list-of-issuers"),
            pytest.param("aud", "99999999-9999-4999-8999-999999999999", id="another-app"),
            pytest.param("aud", None, id="no-audience"),
            pytest.param("tid", "99999999-9999-4999-8999-999999999999", id="another-tenant"),
            pytest.param("tid", None, id="no-tenant"),
            pytest.param("exp", int(time.time()) - 200, id="expired"),
            pytest.param("exp", None, id="no-end"),
            pytest.param("exp", "9999999999", id="an-end-that-is-text"),
            pytest.param("exp", True, id="an-end-that-is-true"),
            pytest.param("nonce", "another", id="another-nonce"),
            pytest.param("nonce", None, id="no-nonce"),
            pytest.param("oid", None, id="no-oid"),
            pytest.param("oid", "", id="empty-oid"),
            pytest.param("oid", 7, id="oid-that-is-a-number"),
        ],
    )
    def test_is_refused_with(self, tenant, flow, claim, value):
        tenant.answer_tokens(id_token=tenant.id_token(**{claim: value}))
        # MSAL itself checks the nonce; all else is left to the app, which names what is wrong.
        reason = "sign_in_refused" if claim == "nonce" else f"id_token_rejected: .*wrong {claim}$"
        with pytest.raises(PageError, match=reason):
            complete(flow)

    def test_is_refused_when_missing(self, tenant, flow):
        tenant.answer_tokens(id_token=None)
        with pytest.raises(PageError, match="id_token_rejected"):
            complete(flow)

    @pytest.mark.parametrize(
        "id_token",
        [
            pytest.param("", id="empty"),
            pytest.param("nonsense", id="one-part"),
            pytest.param("a.b.c", id="not-base64"),
            pytest.param("e30.W10.x", id="claims-in-a-list"),
            pytest.param("e30.bnVsbA.x", id="null"),
            pytest.param("e30.e30.x", id="no-claims"),
            pytest.param("e30.IiI.x", id="text"),
            pytest.param("e30._w.x", id="not-utf-8"),
            pytest.param(7, id="a-number"),
            pytest.param(["a.b.c"], id="a-list"),
            pytest.param({"iss": "x"}, id="an-object"),
        ],
    )
    def test_is_refused_when_it_is(self, tenant, flow, id_token):
        tenant.answer_tokens(id_token=id_token)
        with pytest.raises(PageError) as refused:
            complete(flow)
        assert refused.value.code in ("id_token_rejected", "sign_in_refused")

    def test_is_accepted_if_the_clocks_differ_a_little(self, tenant, flow):
        tenant.answer_tokens(id_token=tenant.id_token(exp=int(time.time()) - 60))
        assert complete(flow).identity["oid"]

    def test_has_its_nonce_checked_by_this_app_too(self, tenant, flow):
        claims = unverified(tenant.id_token())
        assert _identity(claims, flow)["oid"]
        with pytest.raises(PageError, match="wrong nonce"):
            _identity(claims | {"nonce": flow["nonce"]}, flow)


class TestCompleteSignIn:
    def test_rejects_the_response_to_another_flow(self, tenant, flow):
        with pytest.raises(PageError, match="^sign_in_refused: ValueError$"):
            complete_sign_in(flow, {"state": "another", "code": "x"})
        assert not tenant.token_requests

    @pytest.mark.parametrize("answer", [{}, {"code": ""}, {"error": ""}, {"codes": "x"}], ids=str)
    def test_does_not_take(self, flow, answer):
        with pytest.raises(PageError, match="bad_request"):
            complete_sign_in(flow, {"state": flow["state"], **answer})

    def test_rejects_malformed_client_info(self, tenant, flow):
        tenant.answer_tokens(client_info="%%%")
        with pytest.raises(PageError, match="sign_in_refused"):
            complete(flow)

    def test_sends_the_pkce_verifier(self, tenant, flow):
        complete(flow)
        assert tenant.token_requests[0]["code_verifier"] == flow["code_verifier"]

    def test_of_two_users_keeps_two_caches(self, tenant):
        first, second = (complete(begin(tenant)).token_cache for _ in range(2))
        assert first != second


class TestSilent:
    def test_needs_a_user(self, db):
        with pytest.raises(NotSignedIn):
            acquire_token_silent(SessionStore())

    def test_asks_to_sign_in_when_the_cache_is_gone(self, session):
        del session[TOKEN_CACHE]
        with pytest.raises(SignInRequired, match="no_token"):
            acquire_token_silent(session)

    @pytest.mark.parametrize(
        "kept", ["", "nonsense", "{}", encrypt("unfinished sign-in", '{"AccessToken": {}}')]
    )
    def test_treats_an_unreadable_cache_as_empty(self, session, tenant, kept):
        session[TOKEN_CACHE] = kept
        requests_before = len(tenant.token_requests)
        with pytest.raises(SignInRequired, match="no_token"):
            acquire_token_silent(session)
        assert len(tenant.token_requests) == requests_before

    def test_asks_to_sign_in_when_the_key_has_changed(self, session, settings):
        settings.SECRET_KEY = "another-secret-key-of-at-least-32-characters"
        with pytest.raises(SignInRequired, match="no_token"):
            acquire_token_silent(session)

    def test_serves_the_old_token_when_an_early_renewal_fails(self, tenant, flow, db):
        """A token that Entra wants renewed early still works while Entra is down."""
        tenant.answer_tokens(refresh_in=-1)
        signed_in = complete(flow)
        session = SessionStore()
        start_session(session, signed_in.identity, signed_in.token_cache, [])
        for failure in ((503, {}, ""), requests.ConnectTimeout(), (429, {}, "{}")):
            tenant.answers.append(failure)
            assert acquire_token_silent(session) == "access-token-1"

    @pytest.mark.parametrize("token", [None, 7, ["x"], {}, "", "two\nlines", "a €"])
    def test_rejects_a_response_without_an_access_token(self, session, tenant, token):
        tenant.answer_tokens(access_token=token)
        with pytest.raises(PageError) as refused:
            acquire_token_silent(session, force_refresh=True)
        assert refused.value.code in ("entra_unavailable", "no_token")

    @pytest.mark.parametrize("claims", ['{"access_token": []}', '{"access_token": null}', "\ud800"])
    def test_passes_on_no_claims_that_msal_cannot_extend(self, session, tenant, claims):
        tenant.answer(400, error="interaction_required", claims=claims)
        with pytest.raises(SignInRequired) as required:
            acquire_token_silent(session, force_refresh=True)
        pending = PendingSignIn(required.value.code, required.value.claims, "alice")
        assert begin_sign_in(pending)["auth_uri"]

    def test_does_not_write_to_the_session_without_need(self, session):
        before = session[TOKEN_CACHE]
        session.modified = False
        acquire_token_silent(session)
        assert not session.modified
        assert session[TOKEN_CACHE] == before

    def test_of_two_that_renew_at_once_either_may_save_last(self, session, tenant):
        first, second = SessionStore(session.session_key), SessionStore(session.session_key)
        acquire_token_silent(first, force_refresh=True)
        acquire_token_silent(second, force_refresh=True)
        second.save()
        first.save()
        requests_before = len(tenant.token_requests)
        assert acquire_token_silent(SessionStore(session.session_key)) == "access-token-2"
        assert len(tenant.token_requests) == requests_before

    @pytest.mark.parametrize("status", [400, 429, 500])
    def test_never_gets_the_response_that_entra_gave_another_user(self, session, tenant, status):
        """MSAL would replay such responses if clients shared its HTTP cache."""
        tenant.answer(status, error="invalid_grant", headers={"Retry-After": "60"})
        with pytest.raises(PageError):
            acquire_token_silent(session, force_refresh=True)
        assert acquire_token_silent(session, force_refresh=True) == "access-token-2"

    def test_never_returns_the_token_of_another_session(self, session, tenant, db):
        bob = complete(begin(tenant))
        other = SessionStore()
        start_session(other, bob.identity, bob.token_cache, [])
        assert acquire_token_silent(session) == "access-token-1"
        assert acquire_token_silent(other) == "access-token-2"


def test_identity_consists_of_oid_and_tenant(session, tenant):
    assert session[IDENTITY]["oid"] == tenant.oid
    assert session[IDENTITY]["tid"] == tenant.tenant_id


@pytest.mark.parametrize(
    ("username", "shown"), [("alice@contoso.example", "alice@contoso.example"), (None, "Signed in")]
)
def test_user_without_a_name_is_shown_as(tenant, flow, username, shown):
    claims = {"name": None, "preferred_username": username}
    tenant.answer_tokens(id_token=tenant.id_token(**claims))
    assert complete(flow).identity["name"] == shown


def test_identity_contains_only_text_that_utf_8_can_encode(tenant, flow):
    """JSON can contain a lone surrogate, which made every page of this user a 500."""
    claims = dict.fromkeys(("name", "preferred_username", "login_hint"), "x\ud800")
    tenant.answer_tokens(id_token=tenant.id_token(**claims))
    identity = complete(flow).identity
    assert {identity[key] for key in ("name", "username", "logout_hint")} == {"x?"}


def test_certificate_replaces_the_secret(tenant, settings, tmp_path):
    settings.CLIENT_CERTIFICATE = str(tmp_path / "client.pem")
    settings.CLIENT_SECRET = ""
    (tmp_path / "client.pem").write_text(pem_of(tenant.key.private) + CERTIFICATE)
    complete(begin(tenant))
    sent = tenant.token_requests[0]
    assert sent["client_assertion"].count(".") == 2
    assert "client_secret" not in sent


def test_assertion_in_a_file_replaces_the_secret(tenant, settings, tmp_path):
    settings.CLIENT_ASSERTION_FILE = str(tmp_path / "assertion")
    settings.CLIENT_SECRET = ""
    (tmp_path / "assertion").write_text("an.assertion.signed\n")
    complete(begin(tenant))
    assert tenant.token_requests[0]["client_assertion"] == "an.assertion.signed"


@pytest.mark.parametrize("name", ["client.pem", "gone.pem"])
def test_file_without_a_certificate_is_reported_as_wrong_settings(tenant, settings, tmp_path, name):
    settings.CLIENT_CERTIFICATE = str(tmp_path / name)
    (tmp_path / "client.pem").write_text("nonsense")
    with pytest.raises(PageError, match="ui_misconfigured"):
        begin_sign_in()


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        ('{"access_token": {}}', True),
        ('{"id_token": []}', True),
        ('{"access_token": []}', False),
        ('{"access_token": null}', False),
        ('{"a": "\ud800"}', False),
        ('{"a": "' + "x" * 4087 + '"}', True),
        ('{"a": "' + "x" * 4088 + '"}', False),
        ('{"a": "' + "é" * 2043 + '"}', True),
        ('{"a": "' + "é" * 2045 + '"}', False),
        ("[]", False),
        ("null", False),
        ("", False),
        ("{", False),
        ("[" * 4000, False),
        (None, False),
        ({}, False),
    ],
)
def test_claims_are_a_json_object_of_limited_size(text, is_good):
    assert (checked_claims(text) is not None) is is_good
