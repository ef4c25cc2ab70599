"""The whole flow as in production, from the first visit to signing out."""

import re

import pytest


@pytest.fixture
def alice(visitor):
    """A visitor who has signed in as Alice."""
    return visitor().sign_in("alice")


def test_a_user_sees_their_subscriptions(alice, azure):
    assert alice.page.status_code == 200
    assert alice.names == [subscription.name for subscription in azure.users["alice"].subscriptions]


def test_the_json_array_lists_the_same_subscriptions(alice):
    assert [subscription["displayName"] for subscription in alice.json] == alice.names


def test_a_user_without_subscriptions_sees_why_there_may_be_none(visitor):
    bob = visitor().sign_in("bob")
    assert bob.page.status_code == 200
    assert bob.asks("There is nothing to show")
    assert bob.names == []


def test_all_pages_of_a_long_list_are_shown(visitor):
    assert len(visitor().sign_in("gina").names) == 300


def test_the_next_visit_asks_entra_for_nothing(alice, azure):
    before = len(azure.requests("token"))
    assert alice.open().page.status_code == 200
    assert len(azure.requests("token")) == before


def test_two_people_see_their_own_lists(alice, visitor):
    gina = visitor().sign_in("gina")
    for _ in range(3):
        assert alice.open().names[0] == "Contoso Production"
        assert len(gina.open().names) == 300


def test_the_list_is_gone_after_signing_out(alice):
    assert alice.press().reads == (200, "You are signed out")
    assert "Contoso Production" not in alice.page.text
    assert alice.open().asks("Choose who you are")


def test_declined_consent_ends_on_a_page(visitor):
    alice = visitor().open().press(user="alice").press(decision="cancel")
    assert alice.reads == (403, "The sign-in was not completed")


@pytest.mark.usefixtures("production")
def test_the_settings_name_microsofts_hosts_and_no_mock(api, settings):
    for value in (api.config["AUTHORITY"], api.config["ISSUER"], settings.AUTHORITY):
        assert value.startswith("https://login.microsoftonline.com/")
    assert api.config["SCOPE"] == "https://management.azure.com/user_impersonation"
    assert api.config["AZURE_MANAGEMENT_SUBSCRIPTIONS_URI"].startswith(
        "https://management.azure.com/"
    )
    assert not api.config["CA_BUNDLE"]
    assert not settings.CA_BUNDLE


def test_no_cookie_of_the_web_app_shows_what_it_holds(alice):
    cookies = [cookie for cookie in alice.session.cookies if cookie.domain == "ui.contoso.example"]
    assert cookies
    for cookie in cookies:
        assert cookie.name.startswith("__Host-")
        assert cookie.secure
        assert cookie.has_nonstandard_attr("HttpOnly")
        assert cookie.get_nonstandard_attr("SameSite") == "Lax"
        assert not re.search(r"eyJ[\w-]+\.[\w-]+\.", cookie.value)
