"""Signing in and out over HTTP, on two workers that share nothing but the session store."""

import threading
from concurrent.futures import ThreadPoolExecutor
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


def test_eight_users_at_once_see_their_own_lists(visitor, azure):
    for number in range(8):
        user = User(f"User{number}", "Test", "is one of many", (Subscription(f"Of {number}"),))
        azure.users[user.key] = user
    foreign, done = [], []

    def use(number):
        person = visitor().sign_in(f"user{number}")
        for _ in range(4):
            names = person.open().names
            (done if names == [f"Of {number}"] else foreign).append((number, names))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert foreign == []
    assert len(done) == 32
    assert len(azure.requests("authorize")) == 8  # nobody was sent to sign in again


def callback_of(visitor, user):
    """Sign in up to Entra's redirect to the callback, without following it."""
    if not visitor.asks("Choose who you are"):
        visitor.open()
    visitor.session.max_redirects = 0
    for button in ({"user": user}, {"decision": "accept"}):
        try:
            visitor.press(**button)
        except requests.TooManyRedirects as stopped:
            location = stopped.response.headers["Location"]
            break
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
    """Login CSRF: the victim opens the attacker's callback."""
    callback = callback_of(visitor(), "bob")
    victim = visitor().open(callback)
    assert victim.page.status_code == 400
    assert "Choose who you are" in victim.open("/").page.text


def test_a_callback_is_refused_with_another_state(visitor):
    alice = visitor()
    callback = callback_of(alice, "alice")
    state = parse_qs(urlsplit(callback).query)["state"][0]
    assert alice.open(callback.replace(state, "x" * len(state))).page.status_code == 400


def test_tabs_can_sign_in_at_once_in_any_order(visitor, azure):
    person = visitor()
    tabs = [person.open("/?tab=1").page, person.open("/?tab=2").page, person.open("/?tab=3").page]
    callbacks = []
    for page in tabs:
        person.page = page
        callbacks.append(callback_of(person, "alice"))
    for number in (2, 0, 1):
        person.open(callbacks[number])
        assert person.page.url.endswith(f"/?tab={number + 1}")
        assert person.names[0] == "Contoso Production"
    assert len(azure.requests("token:authorization_code")) == 3


def test_a_double_click_on_the_callback_still_signs_in(visitor, azure):
    """Both requests have the cookie and the code, which Entra accepts only once."""
    alice = visitor()
    callback = callback_of(alice, "alice")
    tabs = [alice.another_tab() for _ in range(2)]
    with ThreadPoolExecutor() as threads:
        pages = list(threads.map(lambda tab: tab.open(callback), tabs))
    assert [page.names[0] for page in pages] == ["Contoso Production"] * 2
    assert len(azure.requests("token:authorization_code")) == 3


def test_a_stolen_callback_with_its_cookie_is_useless_afterwards(visitor, azure):
    """The stolen code has been used, so Entra requires the user to sign in."""
    alice = visitor()
    callback = callback_of(alice, "alice")
    thief = alice.another_tab()
    thief.session.cookies.set("mockazure_sid", None)
    assert alice.open(callback).names
    assert thief.open(callback).asks("Choose who you are")
    assert thief.names == []


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
def test_signing_in_redirects_to_this_site_only(visitor, apps, target):
    person = visitor()
    person.open(f"/account/login?next={target}")
    person.press(user="alice").press(decision="accept")
    assert person.page.url.startswith(f"{apps.ui.url}/")


def test_signing_out_takes_a_click_and_ends_every_session(visitor, apps, azure):
    alice = visitor().sign_in("alice")
    assert "Sign out?" in alice.open("/account/logout").page.text
    assert alice.open().names  # nothing happened yet
    thief = alice.another_tab().wait_a_little()
    thief.session.cookies.set("mockazure_sid", None)
    assert thief.open().names  # that is what a copy of this app's cookies can do
    alice.press()
    assert alice.page.url == f"{apps.ui.url}/account/signed-out"
    assert "Choose who you are" in alice.open().page.text
    assert thief.open().asks("Choose who you are")


def test_signing_out_needs_the_forms_token(visitor, apps):
    alice = visitor().sign_in("alice")
    answer = alice.session.post(f"{apps.ui.url}/account/logout", timeout=10)
    assert answer.status_code == 403
    assert alice.open().names


def test_127_0_0_1_redirects_to_localhost(visitor, apps):
    port = apps.ui.port
    answer = requests.get(f"http://127.0.0.1:{port}/?x=1", allow_redirects=False, timeout=5)
    assert answer.headers["Location"] == f"http://localhost:{port}/?x=1"
