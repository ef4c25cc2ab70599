"""Account.unfinished_sign_ins: a cookie for each."""

import runpy
import secrets
import time
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.http import HttpResponse
from django.test import RequestFactory

from Account import unfinished_sign_ins as unfinished
from Account.unfinished_sign_ins import UnfinishedSignIn
from Helpers.errors import PageError


class Jar:
    """The cookies of a browser under /account, and requests that send them."""

    def __init__(self):
        self.cookies = {}

    def request(self):
        request = RequestFactory().get("/account/login")
        request.COOKIES = dict(self.cookies)
        return request

    def keep(self, state, next="/", reasons=(), started=0.0, **flow):
        response = HttpResponse()
        sign_in = UnfinishedSignIn({"state": state, **flow}, next, list(reasons), started)
        unfinished.keep(self.request(), response, sign_in)
        self.take(response)
        return response

    def take(self, response):
        for name, cookie in response.cookies.items():
            self.cookies.pop(name, None)
            if cookie.value:
                self.cookies[name] = cookie.value


@pytest.fixture
def jar() -> Jar:
    return Jar()


def test_returns_the_sign_in_that_it_kept(jar):
    jar.keep("one", next="/1", reasons=["x"])
    sign_in = unfinished.find(jar.request(), "one")
    assert (sign_in.flow, sign_in.next, sign_in.reasons) == ({"state": "one"}, "/1", ["x"])


def test_keeps_several_sign_ins_apart(jar):
    jar.keep("one", next="/1")
    jar.keep("two", next="/2")
    assert unfinished.find(jar.request(), "one").next == "/1"
    assert unfinished.find(jar.request(), "two").next == "/2"


def test_finds_nothing_for_another_state(jar):
    jar.keep("one")
    assert unfinished.find(jar.request(), "two") is None
    assert unfinished.find(jar.request(), "") is None


def test_deletes_the_oldest_of_six(jar):
    for number in range(6):
        jar.keep(f"state-{number}", started=990.0 if number == 3 else 1000.0)
    assert len(jar.cookies) == 5
    assert unfinished.find(jar.request(), "state-3") is None
    assert unfinished.find(jar.request(), "state-0") is not None


def test_deletes_unreadable_cookies_first(jar):
    for number in range(4):
        jar.keep(f"state-{number}", started=1000.0)
    jar.cookies["sign_in_0123456789abcdef"] = "nonsense"
    jar.keep("state-4")
    assert all(unfinished.find(jar.request(), f"state-{number}") for number in range(5))
    assert len(jar.cookies) == 5


def test_forgets_after_ten_minutes(jar, monkeypatch):
    now = time.time()
    jar.keep("one")
    monkeypatch.setattr("cryptography.fernet.time.time", lambda: now + 599)
    assert unfinished.find(jar.request(), "one") is not None
    monkeypatch.setattr("cryptography.fernet.time.time", lambda: now + 602)
    assert unfinished.find(jar.request(), "one") is None


def test_rejects_a_cookie_made_with_another_key(jar):
    jar.keep("one")
    name = next(iter(jar.cookies))
    jar.cookies[name] = Fernet(Fernet.generate_key()).encrypt(b"{}").decode()
    assert unfinished.find(jar.request(), "one") is None


def test_rejects_a_cookie_with_another_name(jar):
    """A cookie renamed for another state must not start that state's sign-in."""
    jar.keep("one")
    jar.keep("two")
    names = list(jar.cookies)
    jar.cookies[names[1]] = jar.cookies[names[0]]
    assert unfinished.find(jar.request(), "two").flow["state"] == "one"  # which MSAL then compares


def test_accepts_a_cookie_made_with_a_fallback_key(jar, settings):
    jar.keep("one")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-secret-key-of-at-least-32-characters"
    assert unfinished.find(jar.request(), "one") is not None


def test_all_cookies_together_fit_into_gunicorns_limit():
    gunicorn = runpy.run_path(str(Path(unfinished.__file__).parents[1] / "gunicorn.conf.py"))
    most = unfinished.KEEP_MOST * (unfinished.MAX_COOKIE_BYTES + 100)
    assert most + 4096 < gunicorn["limit_request_field_size"]
    assert unfinished.MAX_COOKIE_BYTES + len("__Host-sign_in_0123456789abcdef=") <= 4096  # RFC 6265


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("sign_in_(1)", id="brackets"),
        pytest.param("sign_in_\xe9", id="not-ascii"),
        pytest.param("sign_in_a b", id="space"),
        pytest.param("sign_in_", id="too-short"),
        pytest.param("sign_in_0123456789abcdef", id="too-long"),
        pytest.param("my_sign_in_0123456789abcde", id="another-prefix"),
    ],
)
def test_leaves_other_cookies_alone(jar, name):
    """Five such cookies made every sign-in a 500, because no response can delete them."""
    jar.cookies = {f"{name}{number}": "x" for number in range(9)}
    jar.keep("one")
    assert len(jar.cookies) == 10


def test_deletes_at_most_five_cookies_at_once(jar):
    """A client can send any number of them, and each deletion adds a header to the response."""
    jar.cookies = {f"sign_in_{number:016x}": "nonsense" for number in range(100)}
    response = jar.keep("one")
    assert sum(not cookie.value for cookie in response.cookies.values()) == 5
    assert len(response.cookies) == 6


def test_leaves_cookies_of_the_other_mode_alone(jar, settings):
    """In production only those with __Host- are the app's own."""
    settings.SESSION_COOKIE_SECURE = True
    jar.cookies = {f"sign_in_{number:016x}": "x" for number in range(9)}
    assert len(jar.keep("one").cookies) == 1


def test_cannot_be_planted_by_another_host_of_the_domain(jar, settings):
    """A user who completed a planted sign-in would be signed in to the attacker's account."""
    settings.SESSION_COOKIE_SECURE = True
    response = jar.keep("one")
    unfinished.note_success(response)
    for name, cookie in response.cookies.items():
        assert name.startswith("__Host-")
        assert (cookie["path"], cookie["domain"], cookie["secure"]) == ("/", "", True)
    jar.take(response)
    assert unfinished.find(jar.request(), "one")
    assert unfinished.just_signed_in(jar.request())
    kept = dict(jar.cookies)
    unfinished.forget(response := HttpResponse(), "one")
    unfinished.forget_success(response)
    assert all(cookie["secure"] for cookie in response.cookies.values())
    jar.take(response)
    assert not jar.cookies
    jar.cookies = {name.removeprefix("__Host-"): text for name, text in kept.items()}
    assert unfinished.find(jar.request(), "one") is None
    assert not unfinished.just_signed_in(jar.request())


def test_rejects_a_cookie_that_browsers_would_drop(jar):
    jar.keep("one", claims=secrets.token_hex(1200))
    assert unfinished.find(jar.request(), "one") is not None
    with pytest.raises(PageError, match="too long for a cookie"):
        jar.keep("two", claims=secrets.token_hex(4000))
    assert unfinished.find(jar.request(), "two") is None


def test_is_secure_if_the_session_cookie_is(jar, settings):
    settings.SESSION_COOKIE_SECURE = True
    response = jar.keep("one")
    assert next(iter(response.cookies.values()))["secure"]
