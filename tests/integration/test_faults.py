"""The pages that users see during an outage, and recovery afterwards."""

import gzip
import json
import os
import re
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from Helpers import flask_api
from Helpers.errors import PAGES, ApiRefusal
from tests.apps import ONE_WORKER, Apps, free_ports
from tests.visitor import Visitor
from tests.waiting import wait_for

ALWAYS_STALE = (200, 200)  # MSAL takes a token for expired 300 seconds before its end
TOKENS = ("token:authorization_code", "token:refresh_token", "token:on_behalf_of")
ENTRA = ("discovery", "jwks", *TOKENS)
UNAVAILABLE = ("entra_unavailable", 1)  # its page, and the rounds to Entra


def page_of(code):
    return PAGES[code].status, PAGES[code].title


# --- the API answers something else than its table says ---------------------------------------


class OtherApi:
    """A server in place of the API that sends ``answer``, byte for byte."""

    GOOD = b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 13\r\n\r\n{"value": []}'

    def __init__(self) -> None:
        self.answer = self.GOOD
        self.seconds_per_byte = 0.0
        (self._port,) = free_ports(1)
        self.url = f"http://localhost:{self._port}/subscriptions"
        self.listen()

    def listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._treat, args=(connection,), daemon=True).start()

    def _treat(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.recv(65536)
                head, blank_line, body = self.answer.partition(b"\r\n\r\n")
                connection.sendall(head + blank_line)
                size = 1 if self.seconds_per_byte else max(len(body), 1)
                for start in range(0, len(body), size):
                    connection.sendall(body[start : start + size])
                    time.sleep(self.seconds_per_byte)
        except OSError:
            pass  # the app hung up

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # ends ``accept``, which would keep it open
        self._listener.close()


@pytest.fixture(scope="module")
def one_other_api() -> Iterator[OtherApi]:
    api = OtherApi()
    yield api
    api.close()


@pytest.fixture
def other_api(one_other_api: OtherApi) -> OtherApi:
    one_other_api.answer, one_other_api.seconds_per_byte = OtherApi.GOOD, 0.0
    return one_other_api


@pytest.fixture(scope="module")
def alice_at_the_other_api(one_azure, one_pair_of_apps, one_other_api) -> Iterator[Visitor]:
    one_azure.reset()
    elsewhere = ONE_WORKER | {"FLASK_BACKEND_URL": one_other_api.url}
    with Apps(one_azure, ui_settings=elsewhere, api=one_pair_of_apps.api) as apps:
        yield Visitor(apps.ui.url).sign_in("alice")


def http(status="200 OK", body=b"", **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


CHALLENGE = json.dumps({"error": "x", "code": "claims_challenge"}).encode()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(b"", "api_unreachable", id="silence"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "api_unreachable", id="another-protocol"),
        pytest.param(b"\x00" * 5000, "api_unreachable", id="zeros"),
        pytest.param(b"HTTP/1.1 2", "api_unreachable", id="half-a-status-line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", "api_error", id="half-a-head"),
        pytest.param(
            b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"value": [',
            "api_unreachable",
            id="half",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
            "api_unreachable",
            id="cut",
        ),
        pytest.param(http(body=b"x" * 9_000_000), "api_unreachable", id="huge"),
        pytest.param(
            http(body=gzip.compress(b"0" * 50_000_000), Content_Encoding="gzip"),
            "api_unreachable",
            id="gzip-bomb",
        ),
        pytest.param(
            http(body=b"no gzip", Content_Encoding="gzip"), "api_unreachable", id="not-gzip"
        ),
        pytest.param(http(X_Long="x" * 70_000), "api_unreachable", id="long-header"),
        pytest.param(
            http(**{f"X-{n}": "x" for n in range(200)}), "api_unreachable", id="many-headers"
        ),
        pytest.param(
            http("302 Found", Location="http://evil.example/"), "api_error", id="redirect"
        ),
        pytest.param(http("301 Moved", Location="/subscriptions"), "api_error", id="to-itself"),
        pytest.param(http(body=b"<html><script>evil</script>"), "api_error", id="html"),
        pytest.param(http("502 Bad Gateway", b"<html>evil"), "api_error", id="gateway"),
        pytest.param(http(body=b"\xff\xfe{}"), "api_error", id="not-utf-8"),
        pytest.param(http(body=b'{"value": [' + b"[" * 100_000), "api_error", id="deep"),
        pytest.param(http(body=b'{"value": ' + b"9" * 5000 + b"}"), "api_error", id="huge-number"),
        pytest.param(http("999 Evil", b"{}"), "api_error", id="status-999"),
        pytest.param(
            http("401 Unauthorized", CHALLENGE, WWW_Authenticate="Bearer " + 'claims="a",' * 5000),
            "api_error",
            id="challenge-without-end",
        ),
    ],
)
def test_a_bad_response_of_the_api_ends_on_a_page(alice_at_the_other_api, other_api, answer, code):
    alice = alice_at_the_other_api
    other_api.answer = answer
    assert alice.open().reads == page_of(code)
    assert "evil" not in alice.page.text
    assert alice.page.headers["Cache-Control"] == "no-store"
    other_api.answer = OtherApi.GOOD
    assert alice.click("Try again").page.status_code == 200
    assert alice.asks("There is nothing to show")


def test_an_api_that_sends_its_body_too_slowly_is_a_timeout(other_api, settings, monkeypatch):
    settings.FLASK_BACKEND_URL = other_api.url
    monkeypatch.setattr(flask_api, "ANSWER_SECONDS", 0.3)
    other_api.seconds_per_byte = 0.1  # each byte comes in time, all together do not
    begun = time.monotonic()
    with pytest.raises(ApiRefusal) as refused:
        flask_api.list_subscriptions("a-token", "an-id")
    assert refused.value.code == "api_timeout"
    assert time.monotonic() - begun < 3


def test_the_ui_waits_longer_than_the_api_works():
    from helpers.request_scope import REQUEST_SECONDS

    assert REQUEST_SECONDS < flask_api.ANSWER_SECONDS < 60  # gunicorn's own limit


def test_an_api_that_is_down_ends_on_a_page(alice_at_the_other_api, other_api):
    alice = alice_at_the_other_api
    other_api.close()
    assert alice.open().reads == page_of("api_unreachable")
    assert alice.asks("Sign out")
    other_api.listen()
    assert alice.click("Try again").page.status_code == 200
    assert alice.asks("There is nothing to show")


# --- Entra or Azure answers the API something else than a token or a list -------------------------


@pytest.mark.parametrize(
    ("hop", "preset", "how", "code", "rounds"),
    [
        ("token:on_behalf_of", 65001, {}, "consent_required", 2),
        ("token:on_behalf_of", 50076, {}, "claims_challenge", 2),
        ("token:on_behalf_of", 53003, {}, "claims_challenge", 2),
        ("token:on_behalf_of", 50173, {}, "assertion_rejected", 2),
        ("token:on_behalf_of", 7000215, {}, "api_misconfigured", 1),
        ("token:on_behalf_of", None, {"status": 429, "body": "{}"}, "idp_throttled", 1),
        ("token:on_behalf_of", None, {"body": "<html>"}, "idp_unavailable", 1),
        ("arm:subscriptions", "AuthorizationFailed", {}, "downstream_forbidden", 1),
        ("arm:subscriptions", "InvalidAuthenticationToken", {}, "downstream_unauthorized", 1),
        ("arm:subscriptions", "TooManyRequests", {}, "downstream_throttled", 1),
        ("arm:subscriptions", "InternalServerError", {}, "downstream_error", 1),
        ("arm:subscriptions", None, {"truncate": True}, "downstream_error", 1),
    ],
)
def test_a_refusal_that_lasts_ends_on_its_page(visitor, azure, hop, preset, how, code, rounds):
    alice = visitor()
    azure.faults.add(hop, preset, times=None, **how)
    alice.sign_in("alice")
    assert alice.reads == page_of(code)
    assert len(azure.requests("authorize")) == rounds
    assert len(azure.requests("token:authorization_code")) == rounds
    assert len(azure.requests("token:on_behalf_of")) <= 3 * rounds
    assert "AADSTS" not in alice.page.text


def test_seconds_to_wait_are_shown(visitor, azure):
    azure.faults.add("arm:subscriptions", "TooManyRequests", headers={"Retry-After": "7"})
    alice = visitor().sign_in("alice")
    assert alice.asks("Try again in 7 seconds.")
    assert alice.page.headers["Retry-After"] == "7"
    assert alice.click("Try again").names[0] == "Contoso Production"


# --- Entra is down -----------------------------------------------------------------------------


def take_down(azure, *hops):
    return [azure.faults.add(hop, drop=True, times=None) for hop in hops or ENTRA]


def bring_back(azure, faults):
    for fault in faults:
        azure.faults.remove(fault)


def test_signed_in_users_can_work_without_entra(own_apps, azure):
    alice = Visitor(own_apps.ui.url).sign_in("alice")  # the one worker now knows Entra's addresses
    take_down(azure)
    for _ in range(3):
        assert alice.open().names[0] == "Contoso Production"
    own_apps.api.stop()
    own_apps.api.start()
    assert alice.open().reads == page_of("keys_unavailable")


def test_without_entra_an_expired_token_leads_to_a_page_and_not_to_the_sign_in(visitor, azure):
    azure.token_lifetime_seconds = ALWAYS_STALE
    alice = visitor().sign_in("alice")
    faults = take_down(azure, "token:refresh_token")
    assert alice.open().reads == page_of("entra_unavailable")
    bring_back(azure, faults)
    assert alice.click("Try again").names[0] == "Contoso Production"
    assert len(azure.requests("authorize")) == 1


def test_without_entra_a_started_sign_in_ends_on_a_page_with_a_next_step(visitor, azure):
    alice = visitor().open()
    faults = take_down(azure, "token:authorization_code")
    assert alice.answer("alice").reads == page_of("entra_unavailable")
    bring_back(azure, faults)
    assert alice.click("Try again").names[0] == "Contoso Production"


@pytest.mark.parametrize(
    ("hop", "preset", "how", "code", "rounds"),
    [
        ("authorize", 65004, {}, "access_denied", 1),
        ("authorize", 50058, {}, "login_required", 1),
        ("authorize", 53003, {}, "login_required", 1),
        ("authorize", 500011, {}, "scope_rejected", 1),
        ("authorize", 1002012, {}, "scope_rejected", 1),
        ("authorize", 28000, {}, "ui_misconfigured", 1),
        ("authorize", 700016, {}, "ui_misconfigured", 1),
        ("token:authorization_code", 7000215, {}, "ui_misconfigured", 1),
        ("token:authorization_code", 65001, {}, "consent_required", 1),
        ("token:authorization_code", 54005, {}, "sign_in_expired", 2),
        ("token:authorization_code", None, {"status": 503, "body": "{}"}, *UNAVAILABLE),
        ("token:authorization_code", None, {"body": "<html>evil"}, *UNAVAILABLE),
        ("token:authorization_code", None, {"body": "x" * 9_000_000}, *UNAVAILABLE),
        ("token:authorization_code", None, {"truncate": True}, *UNAVAILABLE),
        ("token:authorization_code", None, {"status": 429, "body": "{}"}, "entra_busy", 1),
        ("token:authorization_code", None, {"body": "{}"}, "id_token_rejected", 1),
    ],
)
def test_a_sign_in_that_entra_does_not_complete_ends_on_a_page(
    visitor, azure, hop, preset, how, code, rounds
):
    alice = visitor()
    fault = azure.faults.add(hop, preset, times=None, **how)
    assert alice.sign_in("alice").reads == page_of(code)
    assert len(azure.requests("authorize")) == rounds
    assert "AADSTS" not in alice.page.text + alice.page.url
    azure.faults.remove(fault)
    assert alice.sign_in("alice").names[0] == "Contoso Production"


def test_without_entra_a_new_process_cannot_start_a_sign_in(own_ui, azure):
    take_down(azure)
    nobody = Visitor(own_ui.url).open("/?page=2")
    assert nobody.reads == page_of("entra_unavailable")
    assert "/account/login?next=%2F%3Fpage%3D2" in nobody.page.text


def test_the_reason_of_a_tls_failure_is_logged(azure, apps):
    """Without the reason, a proxy that intercepts TLS and a missing CA_BUNDLE look the same."""
    forgotten = ONE_WORKER | {"CA_BUNDLE": ""}
    with Apps(azure, ui_settings=forgotten, api=apps.api) as own:
        assert Visitor(own.ui.url).open().reads == page_of("entra_unavailable")
        assert re.search("SSLError: .*certificate verify failed: ", own.ui.written())


def test_without_entra_signing_out_of_the_app_works(own_ui, azure):
    alice = Visitor(own_ui.url).sign_in("alice")
    own_ui.stop()
    own_ui.start()  # knows no address of Entra's yet
    tab = alice.another_tab()
    take_down(azure)
    alice.open("/account/logout")
    assert alice.press().reads == (200, "You are signed out")
    assert tab.wait_a_little().open().names == []


# --- this app's own session store and workers ---------------------------------------------------


def test_a_database_that_is_locked_is_a_503_and_works_again(own_ui):
    alice = Visitor(own_ui.url).open()
    path = own_ui.settings["DATABASE_PATH"]
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    alice.answer("alice")  # waits for some seconds, then
    assert alice.reads == page_of("store_unavailable")
    lock.close()
    assert alice.open().names[0] == "Contoso Production"


def test_a_database_that_is_gone_is_a_503(own_ui):
    alice = Visitor(own_ui.url).sign_in("alice")
    own_ui.stop()
    for end in ("", "-wal", "-shm"):
        Path(own_ui.settings["DATABASE_PATH"] + end).unlink(missing_ok=True)
    own_ui.start()
    assert alice.open().reads == page_of("store_unavailable")
    assert "subscriptions_session" in alice.session.cookies  # for when it is back


def test_a_worker_killed_in_the_middle_costs_one_page(own_ui, azure):
    azure.token_lifetime_seconds = ALWAYS_STALE
    alice = Visitor(own_ui.url).sign_in("alice")
    fault = azure.faults.add("token:refresh_token", latency_seconds=2)
    with ThreadPoolExecutor() as threads:
        under_way = threads.submit(alice.another_tab().open)
        wait_for(lambda: fault.used)
        killed = own_ui.workers()
        for worker in killed:
            os.kill(worker, signal.SIGKILL)
        with pytest.raises(requests.ConnectionError):
            under_way.result()
    wait_for(lambda: set(own_ui.workers()) - set(killed))
    alice.session.close()
    assert alice.open().names[0] == "Contoso Production"
    assert len(azure.requests("authorize")) == 1
