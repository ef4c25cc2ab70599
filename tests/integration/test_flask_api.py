"""FlaskAPI as it is deployed, with a real server, real TLS and a real proxy."""

import contextlib
import re
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from helpers import request_scope
from helpers.environment import load_settings
from main import create_app
from tests.mock_azure import MockAzure
from tests.mock_azure.tls import server_context

pytestmark = pytest.mark.usefixtures("one_root")
GUID = "12345678-1234-4234-8234-123456789abc"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def get(api, token, **headers):
    return requests.get(f"{api.url}/subscriptions", headers=bearer(token) | headers, timeout=30)


# --- correlation ids ------------------------------------------------------------------------------


def test_one_id_goes_through_all_hops_of_a_call(azure, apps):
    azure.consent_all()
    answer = get(apps.api, azure.access_token(), **{"x-ms-client-request-id": GUID})
    assert answer.headers["x-ms-client-request-id"] == GUID
    calls = azure.requests("token:on_behalf_of") + azure.requests("arm")
    assert [call.correlation_id for call in calls] == [GUID, GUID]
    assert f"correlation_id={GUID} outcome='ok'" in apps.api.written()


def test_one_id_goes_through_all_hops_of_a_page(azure, apps, visitor):
    page = visitor().sign_in("alice").page
    correlation_id = page.headers["x-ms-client-request-id"]
    for hop in ("token:on_behalf_of", "arm"):
        assert correlation_id in [call.correlation_id for call in azure.requests(hop, "alice")]
    assert f"correlation_id={correlation_id} outcome='ok'" in apps.api.written()


# --- what a server lets through -------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Authorization: Bearer a\0b.c.d", id="nul"),
        pytest.param(b"Authorization: Bearer \xff\xfe.b.c", id="not-text"),
        pytest.param(b"Authorization: Bearer t\xc3\xb6ken.b.c", id="utf-8"),
        pytest.param(b"Authorization: Bearer a.b.c\rX: y", id="carriage-return"),
        pytest.param(b"Authorization: Bearer a.b.c\r\n X: y", id="folded-line"),
        pytest.param(b"Authorization: Bearer TOKEN\r\nAuthorization: Bearer TOKEN", id="twice"),
        pytest.param(b"Authorization: Bearer " + b"a" * 17 * 1024, id="17-KiB"),
        pytest.param(b"Authorization: Bearer " + b"a" * 1_000_000, id="a-megabyte"),
        pytest.param(b"Authorization:", id="empty"),
        pytest.param(b"Authorization : Bearer TOKEN", id="space-before-the-colon"),
        pytest.param(b"authorization_: Bearer TOKEN", id="underscore"),
    ],
)
def test_any_raw_header_is_refused(azure, apps, head):
    """Sent as raw bytes, because no HTTP client would send them."""
    azure.consent_all()
    head = head.replace(b"TOKEN", azure.access_token().encode())
    with socket.create_connection(("127.0.0.1", apps.api.port), timeout=10) as connection:
        with contextlib.suppress(ConnectionError):  # it may be refused before its end
            connection.sendall(b"GET /subscriptions HTTP/1.1\r\nHost: localhost\r\n" + head)
            connection.sendall(b"\r\nConnection: close\r\n\r\n")
        status = re.match(rb"HTTP/1.1 (\d+)", connection.makefile("rb").readline())
    assert status
    assert int(status[1]) in (400, 401, 431)
    assert azure.requests("arm") == []
    assert get(apps.api, azure.access_token()).status_code == 200
    assert not re.search(r"eyJ[\w-]{10}", apps.api.written())  # how every JWT begins


# --- proxies and trust ----------------------------------------------------------------------------


class Proxy(socketserver.ThreadingTCPServer):
    """An HTTP proxy for CONNECT that connects every host name to this machine."""

    daemon_threads = True
    tunnels: list[str]


class Tunnel(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        _, target, _ = self.rfile.readline().decode().split()
        while self.rfile.readline().strip():
            pass  # its headers
        self.server.tunnels.append(target)
        with socket.create_connection(("localhost", int(target.rpartition(":")[2]))) as upstream:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(upstream, self.connection), daemon=True)
            back.start()
            pump(self.connection, upstream)
            back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one side has hung up


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", 0), Tunnel) as server:
        server.tunnels = []
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def one_far_azure() -> Iterator[MockAzure]:
    with MockAzure(back_host="azure.test") as azure:
        yield azure


@pytest.fixture
def far_azure(one_far_azure: MockAzure) -> MockAzure:
    """A tenant whose host name only the proxy can resolve, so that no call can bypass it."""
    one_far_azure.reset()
    one_far_azure.consent_all()
    return one_far_azure


@pytest.fixture
def machine(proxy, tmp_path, monkeypatch) -> pytest.MonkeyPatch:
    """An environment with the proxy, and a CA bundle for requests without the mock's CA."""
    _, foreign = server_context(["localhost"])
    (tmp_path / "foreign.pem").write_bytes(foreign)
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(
        "HTTPS_PROXY", f"http://user:proxy-secret@127.0.0.1:{proxy.server_address[1]}"
    )
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "foreign.pem"))
    return monkeypatch


def answer_of_new_api(azure, user="alice", **settings):
    """The response of a newly started API to its first request."""
    api = create_app(load_settings(azure.flask_api_settings() | settings)).test_client()
    return api.get("/subscriptions", headers=bearer(azure.access_token(user)))


def test_keys_exchange_and_list_go_through_the_proxy(far_azure, proxy, machine):
    assert answer_of_new_api(far_azure).status_code == 200
    hops = ["discovery", "jwks", "discovery", "token:on_behalf_of", "arm:subscriptions"]
    assert [call.hop for call in far_azure.requests()] == hops
    assert set(proxy.tunnels) == {far_azure.back_url.removeprefix("https://")}
    assert len(proxy.tunnels) == 2  # a connection for Entra and one for ARM, each used again


def test_hosts_of_no_proxy_are_called_directly(far_azure, proxy, machine):
    machine.setenv("NO_PROXY", "other.test,azure.test")
    assert answer_of_new_api(far_azure).json["code"] == "keys_unavailable"  # has no address here
    assert proxy.tunnels == []
    machine.setenv("NO_PROXY", "other.test,localhost")
    assert answer_of_new_api(far_azure).status_code == 200


def test_trust_comes_from_the_setting_and_not_from_the_environment(far_azure, proxy, machine):
    machine.setenv("REQUESTS_CA_BUNDLE", str(far_azure.ca_file))
    assert answer_of_new_api(far_azure, CA_BUNDLE="").json["code"] == "keys_unavailable"
    assert far_azure.requests() == []


def test_a_proxy_that_is_down_is_not_logged_with_its_password(far_azure, machine, caplog):
    machine.setenv("HTTPS_PROXY", "http://user:proxy-secret@127.0.0.1:9")
    assert answer_of_new_api(far_azure).json["code"] == "keys_unavailable"
    assert "signing keys not refreshed" in caplog.text
    assert "proxy-secret" not in caplog.text


# --- an upstream that misbehaves on the wire ------------------------------------------------------

EXCHANGE, ARM = "token:on_behalf_of", "arm:subscriptions"


@pytest.mark.parametrize(
    ("hop", "fault", "status", "code"),
    [
        pytest.param(ARM, {"drip_seconds": 0.01}, 504, "downstream_timeout", id="arm-drips"),
        pytest.param(ARM, {"latency_seconds": 2}, 504, "downstream_timeout", id="arm-is-late"),
        pytest.param(ARM, {"truncate": True}, 502, "downstream_error", id="arm-stops-halfway"),
        pytest.param(ARM, {"drop": True}, 502, "downstream_error", id="arm-hangs-up"),
        pytest.param(EXCHANGE, {"drip_seconds": 0.01}, 504, "idp_timeout", id="entra-drips"),
        pytest.param(EXCHANGE, {"latency_seconds": 2}, 504, "idp_timeout", id="entra-is-late"),
        pytest.param(EXCHANGE, {"truncate": True}, 502, "idp_unavailable", id="entra-stops"),
        pytest.param(EXCHANGE, {"drop": True}, 502, "idp_unavailable", id="entra-hangs-up"),
        pytest.param(
            "discovery", {"truncate": True}, 503, "keys_unavailable", id="discovery-stops"
        ),
        pytest.param("jwks", {"drop": True}, 503, "keys_unavailable", id="keys-hang-up"),
        pytest.param(
            "jwks", {"body": b"0" * 9_000_000}, 503, "keys_unavailable", id="keys-of-9-MB"
        ),
    ],
)
def test_each_failure_has_its_own_status(azure, monkeypatch, hop, fault, status, code):
    """A request that uses its whole time gets one second instead of twenty."""
    if status == 504:
        monkeypatch.setattr(request_scope, "REQUEST_SECONDS", 1.0)
    azure.consent_all()
    azure.faults.add(hop, times=None, **fault)
    begun = time.monotonic()
    answer = answer_of_new_api(azure)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert time.monotonic() - begun < 5


def test_the_time_of_one_request_covers_all_pages(azure, monkeypatch):
    monkeypatch.setattr(request_scope, "REQUEST_SECONDS", 1.0)
    azure.consent_all("gina")
    azure.arm_page_size = 4
    azure.faults.add(ARM, latency_seconds=0.1, times=None)
    begun = time.monotonic()
    answer = answer_of_new_api(azure, "gina")
    assert (answer.status_code, answer.json["code"]) == (504, "downstream_timeout")
    assert time.monotonic() - begun < 5
