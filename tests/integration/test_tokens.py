"""Tokens during a session: renewed, refused, decrypted with a fallback key, deleted."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.visitor import Visitor
from tests.waiting import wait_for

ALWAYS_STALE = (200, 200)  # MSAL takes a token for expired 300 seconds before its end


def test_a_token_is_renewed_without_the_user(visitor, azure):
    azure.token_lifetime_seconds = ALWAYS_STALE
    alice = visitor().sign_in("alice")
    renewed = len(azure.requests("token:refresh_token"))
    assert alice.open().names[0] == "Contoso Production"
    assert len(azure.requests("token:refresh_token")) == renewed + 1
    assert len(azure.requests("authorize")) == 1


def test_requests_that_renew_at_once_do_not_disturb_each_other(visitor, azure):
    azure.token_lifetime_seconds = ALWAYS_STALE
    alice = visitor().sign_in("alice")
    renewed = len(azure.requests("token:refresh_token"))
    tabs = [alice.another_tab() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        pages = list(threads.map(lambda tab: tab.open().names, tabs))
    assert pages == [alice.names] * 8
    assert len(azure.requests("token:refresh_token")) == renewed + 8
    assert alice.open().names[0] == "Contoso Production"
    assert len(azure.requests("authorize")) == 1


def test_a_refused_refresh_token_takes_the_user_to_the_sign_in_page_and_back(visitor, azure):
    azure.token_lifetime_seconds = ALWAYS_STALE
    alice = visitor().sign_in("alice")
    azure.clock.advance(60)
    azure.revoke_sessions("alice")
    assert alice.open("/?page=2").asks("Choose who you are")
    alice.answer("alice")
    assert alice.names[0] == "Contoso Production"
    assert alice.page.url.endswith("/?page=2")
    assert len(azure.requests("authorize")) == 2


def test_signing_out_in_another_tab_ends_a_page_under_way(visitor, azure, apps):
    azure.token_lifetime_seconds = ALWAYS_STALE  # so that the page under way has a token to save
    alice = visitor().sign_in("alice")
    fault = azure.faults.add("token:refresh_token", latency_seconds=2)
    with ThreadPoolExecutor() as threads:
        under_way = threads.submit(alice.another_tab().open)
        wait_for(lambda: fault.used)
        alice.press()
    for person in (under_way.result(), alice):
        assert person.reads == (200, "You are signed out")
        assert person.page.url == f"{apps.ui.url}/account/signed-out"
    assert alice.open().asks("Choose who you are")


def test_a_new_secret_key_signs_nobody_out_while_the_old_one_is_a_fallback(own_ui, azure):
    old = own_ui.settings["DJANGO_SECRET_KEY"]
    alice = Visitor(own_ui.url).sign_in("alice")
    own_ui.stop()
    new = {"DJANGO_SECRET_KEY": "n" * 50, "DJANGO_SECRET_KEY_FALLBACKS": old}
    own_ui.settings |= new
    own_ui.start()
    assert alice.open().names[0] == "Contoso Production"
    assert len(azure.requests("authorize")) == 1
    frank = Visitor(own_ui.url).sign_in("frank")  # with the new key

    own_ui.stop()
    own_ui.settings["DJANGO_SECRET_KEY_FALLBACKS"] = ""
    own_ui.start()
    authorized = len(azure.requests("authorize"))
    assert frank.open().names == ["Contoso Development"]
    assert len(azure.requests("authorize")) == authorized
    alice.wait_a_little().open()
    assert alice.names[0] == "Contoso Production"  # Entra still knows her
    assert len(azure.requests("authorize")) == authorized + 1


@pytest.mark.parametrize("path", ["/", "/account/logout", "/account/signed-out", "/nowhere"])
def test_no_page_may_be_kept_by_a_cache(visitor, path):
    alice = visitor().sign_in("alice")
    assert alice.open(path).page.headers["Cache-Control"] == "no-store"
