"""Both apps with gunicorn: requests that gunicorn itself answers or logs."""

import socket
import uuid

import pytest
import requests

from tests.apps import App, free_ports


def answer(port: int, *lines: str) -> bytes:
    """The first line of the response from ``port`` to a request of exactly these lines."""
    head = "".join(f"{line}\r\n" for line in (*lines, "Host: localhost", "Connection: close", ""))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode())
        return connection.makefile("rb").readline()


@pytest.mark.parametrize("app", ["ui", "api"])
class TestBothApps:
    def test_write_nothing_of_a_malformed_request(self, apps, app):
        served = getattr(apps, app)
        for lines in (
            ("GET /account/callback?code=a-code-of-entra",),
            ("GET / HTTP/1.1", "Authorization Bearer a-token-of-entra"),
        ):
            assert answer(served.port, *lines).startswith(b"HTTP/1.1 400 ")
        written = served.written()
        assert "Invalid HTTP Header" in written  # why it was refused is there
        assert "of-entra" not in written

    @pytest.mark.parametrize("header", ["SCRIPT_NAME: /elsewhere", "PATH_INFO: /health"])
    def test_stay_where_they_are_mounted(self, apps, app, header):
        line = answer(getattr(apps, app).port, "GET /nowhere HTTP/1.1", header)
        assert line.startswith(b"HTTP/1.1 404 ")


def test_wrong_settings_stop_the_api_with_one_message(azure):
    settings = azure.flask_api_settings() | {"CLIENT_ID": "x"}
    api = App("FlaskAPI", "main:create_app()", settings, *free_ports(1))
    api.launch()
    assert api.process.wait(60) == 1
    written = api.written()
    api.log.unlink()
    assert written.count("Error: Fix these settings in") == written.count("CLIENT_ID must be") == 1
    assert "Traceback" not in written


def test_the_api_takes_the_token_of_a_user_in_200_groups(azure, apps):
    """12 KB is more than gunicorn allows in a header by default."""
    azure.consent_all()
    token = azure.access_token(groups=[str(uuid.UUID(int=number)) for number in range(230)])
    assert 12_000 < len(token) < 16_000
    answer = requests.get(
        f"{apps.api.url}/subscriptions", headers={"Authorization": f"Bearer {token}"}, timeout=30
    )
    assert answer.status_code == 200


def test_the_log_shows_no_query_that_django_cannot_decode(apps):
    """Django raises before its own error handlers if the charset is a codec for something else."""
    address = "/account/callback?code=a-code-of-entra&state=unknown"
    line = answer(
        apps.ui.port, f"GET {address} HTTP/1.1", "Content-Type: text/plain; charset=rot13"
    )
    assert line.startswith(b"HTTP/1.1 500 ")
    written = apps.ui.written()
    assert "Error handling request GET /account/callback\n" in written
    assert "of-entra" not in written
