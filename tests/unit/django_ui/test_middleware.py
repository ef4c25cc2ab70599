"""UI.middleware and the headers of every page."""

import pytest
from django.test import Client


@pytest.fixture
def client() -> Client:
    return Client(headers={"host": "localhost:8000"})


class TestHealth:
    """Without ``db`` or ``network``: a query or a connection would fail the test."""

    def test_is_answered(self, client):
        response = client.get("/health")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
        assert response["Cache-Control"] == "no-store"
        assert client.get("/healthy").status_code == 404

    def test_is_answered_for_any_host_and_session(self, client, settings):
        settings.SECURE_SSL_REDIRECT = True
        client.cookies["subscriptions_session"] = "a" * 32
        assert Client(headers={"host": "10.0.0.7:8000"}).get("/health").status_code == 200
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("host", "location"),
    [
        ("127.0.0.1:8000", "http://localhost:8000/account/signed-out?x=1"),
        ("[::1]:8123", "http://localhost:8123/account/signed-out?x=1"),
        ("127.0.0.1", "http://localhost:80/account/signed-out?x=1"),
    ],
)
def test_loopback_addresses_redirect_to_localhost(client, host, location):
    response = client.get("/account/signed-out?x=1", headers={"host": host})
    assert (response.status_code, response["Location"]) == (302, location)


class TestHeaders:
    @pytest.mark.parametrize("path", ["/", "/account/signed-out", "/account/login", "/nowhere"])
    def test_keep_pages_out_of_caches_and_frames(self, visitor, path):
        response = visitor.get(path)
        assert response["Cache-Control"] == "no-store"
        assert response["X-Frame-Options"] == "DENY"
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Referrer-Policy"] == "same-origin"

    def test_allow_nothing_but_our_style_and_images(self, signed_in):
        policy = signed_in.get("/")["Content-Security-Policy"]
        directives = dict(part.split(" ", 1) for part in policy.split("; "))
        assert directives == {
            "default-src": "'none'",
            "style-src": "'self'",
            "img-src": "'self'",
            "form-action": "'self' https://login.example",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
        }

    def test_name_another_correlation_id_for_each_request(self, visitor):
        ids = {visitor.get("/nowhere")["x-ms-client-request-id"] for _ in range(3)}
        assert len(ids) == 3

    def test_ignore_the_clients_correlation_id(self, visitor, caplog):
        """It goes to Entra, the API and the log, so clients must not choose it."""
        caplog.set_level("INFO")
        names = ("x-ms-client-request-id", "client-request-id", "x-request-id", "x-correlation-id")
        response = visitor.get("/nowhere", headers=dict.fromkeys(names, "made-up"))
        assert response["x-ms-client-request-id"] != "made-up"
        ids = {getattr(record, "correlation_id", "") for record in caplog.records}
        assert "made-up" not in caplog.text + response.text + " ".join(ids)

    def test_hide_cookies_from_scripts_and_other_sites(self, signed_in):
        signed_in.get("/")
        for name in ("subscriptions_session", "subscriptions_csrf"):
            cookie = signed_in.cookies[name]
            assert cookie["httponly"]
            assert cookie["samesite"] == "Lax"

    def test_let_the_session_end_with_the_browser(self, signed_in):
        """On a shared computer the next person would otherwise be signed in for eight hours."""
        cookie = signed_in.cookies["subscriptions_session"]
        assert cookie.value
        assert (cookie["max-age"], cookie["expires"]) == ("", "")


class TestLogLine:
    def test_names_the_route_the_status_and_the_time(self, visitor, caplog, monkeypatch):
        caplog.set_level("INFO")
        monkeypatch.setattr("UI.middleware.perf_counter", iter([1.0, 1.25]).__next__)
        visitor.get("/account/signed-out")
        assert "method=GET path=/account/signed-out status=200 ms=250.0" in caplog.text

    @pytest.mark.parametrize(
        "path",
        ["/account/callback?code=made-up", "/x%0aMADE-UP%1b[31m", "/account/problem/made-up"],
    )
    def test_contains_nothing_that_the_visitor_chose(self, visitor, caplog, path):
        """A decoded line feed in the path used to start a new line."""
        caplog.set_level("INFO")
        visitor.get(path)
        lines = [record.getMessage() for record in caplog.records if record.name == "UI.middleware"]
        assert len(lines) == 1
        assert "made-up" not in lines[0].lower()
        assert "\n" not in caplog.text.replace("\n", "", len(caplog.records))


def test_pages_hold_no_script_and_no_inline_style(signed_in):
    for path in ("/", "/account/logout", "/nowhere", "/account/problem/access_denied"):
        page = signed_in.get(path).text
        assert "<script" not in page
        assert "style=" not in page
        assert "<style" not in page
        assert " on" + "click" not in page


def test_static_files_are_served_without_collectstatic(client):
    response = client.get("/static/ui.css")
    assert response.status_code == 200
    assert b"prefers-color-scheme" in response.getvalue()
