"""Both apps under gunicorn: requests that it answers, or logs, by itself."""

import socket
import uuid

import pytest
import requests


def answer(port: int, *lines: str) -> bytes:
    """The first line of what ``port`` answers to a request of exactly these lines."""
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


def test_the_api_takes_the_token_of_a_user_in_200_groups(azure, apps):
    """12 KB: more than gunicorn allows in a header unless it is told to."""
    azure.consent_all()
    token = azure.access_token(groups=[str(uuid.UUID(int=number)) for number in range(230)])
    assert 12_000 < len(token) < 16_000
    answer = requests.get(
        f"{apps.api.url}/subscriptions", headers={"Authorization": f"Bearer {token}"}, timeout=30
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("charset", ["rot13", "idna", "utf-16"])
def test_no_charset_keeps_the_web_app_from_reading_an_address(apps, charset):
    """Some of Python's codecs are for other things than text; Django fell over them."""
    address = "/account/callback?code=a-code-of-entra&state=unknown"
    line = answer(
        apps.ui.port, f"GET {address} HTTP/1.1", f"Content-Type: text/plain; charset={charset}"
    )
    assert line.startswith(b"HTTP/1.1 302 ")
    assert "of-entra" not in apps.ui.written()
