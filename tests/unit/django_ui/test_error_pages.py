"""Helpers.error_pages and Helpers.errors: the error pages."""

import re

import pytest
from django.contrib.sessions.models import Session
from django.db import InterfaceError, OperationalError, connection
from redis.exceptions import ConnectionError as RedisConnectionError

from Helpers.errors import PAGES

UNEXPECTED = ValueError("unexpected: eyJ0eXAiOi.token")


def test_each_page_says_what_to_do():
    for code, page in PAGES.items():
        assert 400 <= page.status < 600, code
        assert page.title, code
        assert page.action in ("retry", "sign_in", "sign_out", "home", ""), code
        assert page.text.endswith((".", "?")) or (not page.text and page.action == "retry"), code


def test_unexpected_error_shows_our_page_and_logs_a_traceback(signed_in, api, caplog):
    signed_in.raise_request_exception = False
    secret_of_the_view = "eyJ-local-variable"  # noqa: F841, S105  # must not be shown
    api.answers.append(UNEXPECTED)
    page = signed_in.get("/")
    assert page.status_code == 500
    assert "Something went wrong" in page.text
    assert "Traceback" not in page.text
    assert "token" not in page.text
    assert "Traceback" in caplog.text
    assert "eyJ-local-variable" not in caplog.text
    assert page["Cache-Control"] == "no-store"
    assert page["Content-Security-Policy"]


def test_unknown_address_shows_our_page(visitor):
    page = visitor.get("/nowhere")
    assert page.status_code == 404
    assert "There is no such page" in page.text


def test_page_for_an_unknown_address_does_not_link_to_steps(visitor, signed_in, api, settings):
    api.refuse("downstream_error", 502)
    assert "See every step" not in signed_in.get("/").text
    settings.TRACE_URL = "http://localhost:8400/trace/"
    assert "See every step" not in visitor.get("/nowhere").text
    api.refuse("downstream_error", 502)
    assert "See every step" in signed_in.get("/").text


@pytest.mark.parametrize(
    ("code", "headers", "sentence"),
    [
        ("idp_throttled", {"Retry-After": "30"}, "Try again in 30 seconds."),
        ("idp_throttled", {"Retry-After": "999"}, "Try again in 300 seconds."),
        ("idp_throttled", {"Retry-After": "1"}, "Try again in 1 second."),
        ("downstream_timeout", {}, "Wait a moment, then try again."),
        ("downstream_forbidden", {}, None),
    ],
)
def test_says_once_how_long_to_wait(signed_in, api, code, headers, sentence):
    api.refuse(code, 500, headers=headers)
    page = signed_in.get("/").text
    assert re.findall(r"<p>([^<]*[Tt]ry again[^<]*)</p>", page) == ([sentence] if sentence else [])
    assert page.count(">Try again</a>") == 1


def test_unknown_host_shows_our_page(visitor, caplog):
    page = visitor.get("/", headers={"host": "evil.example"})
    assert page.status_code == 400
    assert "evil" not in page.text + caplog.text
    (line,) = [record for record in caplog.records if record.levelname != "INFO"]
    assert line.getMessage() == "The host is localhost, but the Host header names another host"
    assert not line.exc_info


class TestSession:
    def test_deleted_meanwhile_leads_to_the_signed_out_page(self, signed_in, api):
        """Signing out in another tab, while this one renews its token, used to be a 400."""
        api.refuse("token_expired")
        api.meanwhile = Session.objects.all().delete
        response = signed_in.get("/")
        assert (response.status_code, response["Location"]) == (302, "/account/signed-out")
        assert not Session.objects.exists()

    def test_deleted_meanwhile_does_not_matter_if_nothing_is_saved(self, signed_in, api):
        signed_in.get("/")
        api.meanwhile = Session.objects.all().delete
        page = signed_in.get("/")
        assert not Session.objects.exists()
        assert page.status_code == 200
        assert "Contoso Production" in page.text

    @pytest.mark.parametrize(
        "error",
        [
            OperationalError("disk I/O error"),
            InterfaceError("connection already closed"),
            RedisConnectionError("refused"),
        ],
    )
    def test_that_cannot_be_read_is_a_503(self, signed_in, monkeypatch, error):
        def fail(*args):
            raise error

        signed_in.raise_request_exception = False
        monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", fail)
        for path in ("/", "/account/logout", "/account/signed-out", "/account/callback?state=x"):
            page = signed_in.get(path)
            assert page.status_code == 503
            assert "cannot remember who is signed in" in page.text
            assert "subscriptions_session" not in page.cookies

    def test_that_cannot_be_written_is_a_503(self, visitor, monkeypatch):
        visitor.raise_request_exception = False
        query = visitor.begin()
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE django_session")
        page = visitor.finish(query)
        assert page.status_code == 503

    def test_that_can_no_longer_be_updated_is_a_503(self, signed_in, api, monkeypatch):
        """Django treats every database error during a save as a deleted session."""

        def fail(*args, **kwargs):
            raise OperationalError("database is locked")

        api.refuse("token_expired")
        monkeypatch.setattr(Session, "save", fail)
        page = signed_in.get("/")
        assert page.status_code == 503
        assert "cannot remember who is signed in" in page.text
