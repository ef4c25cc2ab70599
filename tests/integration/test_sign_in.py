"""Signing in and out over HTTP, on two workers that share nothing but the session store."""

import threading
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.mock_azure.directory import Subscription, User


def test_the_list_is_shown_after_signing_in(visitor):
    alice = visitor().sign_in("alice")
    assert alice.page.status_code == 200
    assert alice.names[0] == "Contoso Production"


def test_every_worker_knows_who_is_signed_in(visitor, apps, azure):
    alice = visitor().sign_in("alice")
    before = len(azure.requests("authorize"))
    for _ in range(20):
        alice.session.close()  # a new connection may reach the other worker
        assert alice.open().names[0] == "Contoso Production"
    assert len(azure.requests("authorize")) == before
    assert len(apps.ui.workers()) == 2


def test_a_sign_in_survives_a_worker_that_is_killed(visitor, apps):
    import os
    import signal
    import time

    alice = visitor().sign_in("alice")
    os.kill(apps.ui.workers()[0], signal.SIGKILL)
    for _ in range(20):
        alice.session.close()
        try:
            page = alice.open().page
        except requests.ConnectionError:
            continue  # the very connection that the worker held
        assert page.status_code == 200
        assert alice.names[0] == "Contoso Production"
        time.sleep(0.05)


def test_twenty_users_at_once_see_their_own_lists(visitor, azure):
    for number in range(20):
        user = User(f"User{number}", "Test", "is one of many", (Subscription(f"Of {number}"),))
        azure.users[user.key] = user
    azure.consents.users = azure.users
    foreign, done = [], []

    def use(number):
        person = visitor().sign_in(f"user{number}")
        for _ in range(10):
            names = person.open().names
            (done if names == [f"Of {number}"] else foreign).append((number, names))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert foreign == []
    assert len(done) == 200
    assert len(azure.requests("authorize")) == 20  # nobody was sent to sign in again


def callback_of(visitor, user):
    """Sign in up to the address that Entra sends the browser to, without going there."""
    visitor.open().press(user=user)
    visitor.session.max_redirects = 0
    try:
        visitor.press(decision="accept")
    except requests.TooManyRedirects as stopped:
        location = stopped.response.headers["Location"]
    visitor.session.max_redirects = 30
    return location


def test_a_callback_works_once(visitor):
    alice = visitor()
    callback = callback_of(alice, "alice")
    assert alice.open(callback).names[0] == "Contoso Production"
    assert alice.open(callback).names[0] == "Contoso Production"  # a second click leads to the list
    thief = visitor().open(callback)
    assert thief.page.status_code == 400
    assert thief.names == []


def test_a_callback_of_somebody_else_signs_nobody_in(visitor):
    """Login cross-site forgery: the victim is sent the attacker's own callback."""
    callback = callback_of(visitor(), "bob")
    victim = visitor().open(callback)
    assert victim.page.status_code == 400
    assert "Choose who you are" in victim.open("/").page.text


def test_a_callback_is_refused_with_another_state(visitor):
    alice = visitor()
    callback = callback_of(alice, "alice")
    state = parse_qs(urlsplit(callback).query)["state"][0]
    assert alice.open(callback.replace(state, "x" * len(state))).page.status_code == 400


def test_two_tabs_can_sign_in_at_once(visitor):
    person = visitor()
    first = callback_of(person, "alice")
    second = callback_of(person, "alice") if "Choose" in person.open().page.text else None
    assert person.open(first).names[0] == "Contoso Production"
    if second:
        assert person.open(second).names[0] == "Contoso Production"


def test_the_session_key_changes_with_the_sign_in(visitor, apps):
    person = visitor()
    person.session.cookies.set(
        "subscriptions_session", "fixed-by-an-attacker", domain="localhost.local"
    )
    person.sign_in("alice")
    keys = [c.value for c in person.session.cookies if c.name == "subscriptions_session"]
    assert "fixed-by-an-attacker" not in keys[-1]


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/%2f..//x",
    ],
)
def test_signing_in_leads_to_this_site_only(visitor, apps, target):
    person = visitor()
    person.open(f"/account/login?next={target}")
    person.press(user="alice").press(decision="accept")
    assert person.page.url.startswith(f"{apps.ui.url}/")


def test_signing_out_takes_a_click_and_ends_it_everywhere(visitor, apps, azure):
    alice = visitor().sign_in("alice")
    assert "Sign out?" in alice.open("/account/logout").page.text
    assert alice.open().names  # nothing happened yet
    cookies = alice.session.cookies.copy()
    alice.press()
    assert alice.page.url == f"{apps.ui.url}/account/signed-out"
    assert "Choose who you are" in alice.open().page.text
    # A copy of this app's cookies, made while signed in, is worthless.
    for cookie in cookies:
        if not cookie.name.startswith("mockazure"):
            alice.session.cookies.set_cookie(cookie)
    assert "Choose who you are" in alice.open().page.text


def test_signing_out_needs_the_forms_token(visitor, apps):
    alice = visitor().sign_in("alice")
    answer = alice.session.post(f"{apps.ui.url}/account/logout", timeout=10)
    assert answer.status_code == 403
    assert alice.open().names


def test_127_0_0_1_leads_to_localhost(visitor, apps):
    port = apps.ui.port
    answer = requests.get(f"http://127.0.0.1:{port}/?x=1", allow_redirects=False, timeout=5)
    assert answer.headers["Location"] == f"http://localhost:{port}/?x=1"
