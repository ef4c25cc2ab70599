"""The whole flow as in production, from the first visit to signing out."""

import json
import re
from html import unescape

import pytest

from tests.integration.in_process.conftest import Person


def listed(page):
    """The names in the JSON array that the page shows."""
    shown = re.search(r"<pre[^>]*><code>(.*?)</code></pre>", page.content.decode(), re.S)
    return [subscription["displayName"] for subscription in json.loads(unescape(shown[1]))]


def test_a_user_sees_their_subscriptions(person, azure):
    page = person.sign_in("alice")
    assert page.status_code == 200
    assert listed(page) == [
        subscription.name for subscription in azure.users["alice"].subscriptions
    ]


def test_a_user_without_subscriptions_sees_why_there_may_be_none(person):
    page = person.sign_in("bob")
    assert page.status_code == 200
    assert "<table" not in page.content.decode()


def test_all_pages_of_a_long_list_are_shown(person):
    assert len(listed(person.sign_in("gina"))) == 300


def test_the_next_visit_asks_entra_for_nothing(person, azure):
    person.sign_in("alice")
    before = len(azure.requests("token"))
    assert person.open("/").status_code == 200
    assert len(azure.requests("token")) == before


def test_two_people_see_their_own_lists(person, azure):
    other = Person(azure)
    person.sign_in("alice")
    other.sign_in("gina")
    for _ in range(3):
        assert listed(person.open("/"))[0] == "Contoso Production"
        assert len(listed(other.open("/"))) == 300


def test_after_signing_out_the_list_is_gone(person):
    page = person.press_sign_out(person.sign_in("alice"))
    assert page.status_code == 200
    assert "signed" in page.content.decode().lower()
    assert "Permissions requested" not in page.content.decode()
    assert "Choose who you are" in person.open("/").text


def test_consent_that_is_declined_ends_on_a_page(person):
    page = person.sign_in("alice", consent="cancel")
    assert page.status_code == 403
    assert "if you let it act for you" in page.content.decode()


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


def test_no_cookie_of_the_web_app_shows_what_it_holds(person):
    person.sign_in("alice")
    kept = [cookie for cookie in person.ui.cookies.values() if cookie.value]
    assert kept
    for cookie in kept:
        assert cookie["httponly"]
        assert cookie["secure"]
        assert cookie["samesite"] == "Lax"
        assert not re.search(r"eyJ[\w-]+\.[\w-]+\.", cookie.value)
