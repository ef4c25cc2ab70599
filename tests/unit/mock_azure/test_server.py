"""The sockets: two channels, connections kept alive, TLS, faults of the wire, and the command."""

import contextlib
import http.client
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.apps import free_ports
from tests.mock_azure import MockAzure
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def listening():
    with MockAzure() as azure:
        yield azure


@pytest.fixture
def azure(listening):
    listening.reset()
    return listening


@pytest.fixture
def session(azure):
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(azure.ca_file)
        yield session


def jwks(azure):
    return f"{azure.authority}/discovery/v2.0/keys"


def test_each_channel_serves_its_own_routes_only(azure, session):
    front, back = azure.front_url, azure.back_url
    expected = {
        f"{front}/": 200,
        f"{front}/{azure.tenant_id}/oauth2/v2.0/authorize": 400,
        f"{front}/static/mock.css": 200,
        f"{back}/subscriptions": 401,
        jwks(azure): 200,
    }
    swapped = {
        address.replace(front, "X").replace(back, front).replace("X", back): 404
        for address in expected
    }
    swapped[f"{back}/{azure.tenant_id}/oauth2/v2.0/authorize"] = 307
    for address, status in (expected | swapped).items():
        response = session.get(address, timeout=30, allow_redirects=False)
        assert response.status_code == status, address


def test_server_channel_redirects_browsers_to_their_own(azure, session):
    """Clients that build URLs send a browser to the authority's host."""
    path = f"/{azure.tenant_id}/oauth2/v2.0/authorize?client_id=x&state=%26"
    response = session.get(f"{azure.back_url}{path}", timeout=30, allow_redirects=False)
    assert response.headers["Location"] == f"{azure.front_url}{path}"
    form = f"{azure.back_url}/{azure.tenant_id}/login"
    assert session.post(form, timeout=30, allow_redirects=False).status_code == 404


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_listens_on_both_loopback_addresses(azure):
    port = int(azure.front_url.rpartition(":")[2])
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, port), timeout=30).close()


def test_server_certificate_passes_strict_checks(azure):
    context = ssl.create_default_context(cafile=str(azure.ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    port = int(azure.back_url.rpartition(":")[2])
    for name in ("localhost", "127.0.0.1", "::1"):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            assert tls.version() == "TLSv1.3"


def test_client_that_does_not_trust_the_ca_cannot_connect(azure, session):
    session.verify = True
    with pytest.raises(requests.exceptions.SSLError):
        session.get(jwks(azure), timeout=30)


def test_leaves_no_private_key_on_the_disk(azure):
    files = list(azure.ca_file.parent.iterdir())
    assert files == [azure.ca_file]
    assert "PRIVATE" not in azure.ca_file.read_text()


def test_keeps_connections_alive_without_a_delay(azure, session):
    """Two small writes and a delayed ACK would cost 40 ms a request."""
    with session.get(jwks(azure), stream=True, timeout=30) as response:
        first = response.raw.connection.sock.getsockname()
        response.content  # noqa: B018 (reading the body hands the connection back)
    took = []
    for _ in range(20):
        started = time.perf_counter()
        with session.get(jwks(azure), stream=True, timeout=30) as response:
            assert response.raw.connection.sock.getsockname() == first
            response.content  # noqa: B018
        took.append(time.perf_counter() - started)
    assert min(took) < 0.04  # a busy machine slows some, a delayed ACK all of them


def test_does_not_take_an_unread_body_for_the_next_request(azure):
    connection = http.client.HTTPConnection(azure.front_url.partition("//")[2], timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/nowhere", "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with connection.getresponse() as first:
            assert (first.status, bool(first.read())) == (404, True)
        connection.request("GET", "/")
        with connection.getresponse() as second:
            assert second.status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Transfer-Encoding": "chunked"}, b"411", id="chunks"),
        pytest.param({"Content-Length": "x"}, b"411", id="a length in letters"),
        pytest.param({"Content-Length": "1000001"}, b"413", id="more than a megabyte"),
    ],
)
def test_rejects_a_body_with(azure, headers, status):
    port = int(azure.front_url.rpartition(":")[2])
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 " + status)


def test_silent_client_does_not_block_the_others(azure, session):
    """A TLS handshake that never comes must wait in its own thread."""
    port = int(azure.back_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30):
        assert session.get(jwks(azure), timeout=30).status_code == 200


def test_fault_drops_the_connection(azure, session):
    azure.faults.add("jwks", drop=True)
    with pytest.raises(requests.ConnectionError):
        session.get(jwks(azure), timeout=30)
    assert [seen.answer for seen in azure.requests("jwks")] == ["no answer"]
    assert session.get(jwks(azure), timeout=30).status_code == 200


def test_fault_truncates_the_body(azure, session):
    azure.faults.add("jwks", truncate=True)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(jwks(azure), timeout=30)


def test_fault_delays_the_body_and_the_answer(azure, session):
    azure.faults.add("jwks", body='{"keys":[]}', drip_seconds=0.01)
    azure.faults.add("jwks", latency_seconds=0.1)
    for _ in range(2):
        started = time.perf_counter()
        assert session.get(jwks(azure), timeout=30).status_code == 200
        assert time.perf_counter() - started >= 0.1


def test_record_tells_that_the_client_gave_up(azure, session):
    azure.faults.add("jwks", latency_seconds=60)
    with pytest.raises(requests.ReadTimeout):
        session.get(jwks(azure), timeout=0.5)
    wait_for(azure.requests)
    assert [(seen.answer, seen.took < 60) for seen in azure.requests()] == [("gave up", True)]


def test_log_holds_no_query_string(azure, session, caplog, log_as_written):
    with caplog.at_level(logging.DEBUG):
        session.get(f"{azure.front_url}/?code=hidden", timeout=30)
    # The client under test logs for itself; only the mock's own lines count.
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("tests.mock_azure")]
    assert lines == ["front GET / 200"]


def test_starts_with_little_work_and_leaves_nothing_behind():
    started = time.process_time()  # which other programs on this machine do not prolong
    (port,) = free_ports(1)  # which no other test gets afterwards
    with MockAzure(front_port=port) as azure:
        assert time.process_time() - started < 1  # 0.1 is usual; key generation has a long tail
        folder = azure.ca_file.parent
        idle = http.client.HTTPConnection("localhost", port, timeout=30)
        idle.request("GET", "/")
        assert idle.getresponse().read()
    assert not folder.exists()
    with contextlib.closing(idle):
        assert idle.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=30)


def test_port_in_use_is_an_error(azure):
    port = int(azure.front_url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"), MockAzure(front_port=port):
        pass


def test_host_names_and_addresses_can_be_chosen():
    with MockAzure("127.0.0.1", back_host="mock-azure", listen=("127.0.0.1",)) as azure:
        assert azure.front_url.startswith("http://127.0.0.1:")
        assert azure.issuer.startswith("https://mock-azure:")


@contextlib.contextmanager
def run_command(folder, *options):
    command = [sys.executable, "-m", "tests.mock_azure", "--settings", folder / "settings.json"]
    with subprocess.Popen(
        [*command, *options],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder)},  # one that is killed leaves its files there
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # does nothing to one that has ended


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to be caught")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_command_writes_settings_and_deletes_them_at_the_end(tmp_path, number):
    with run_command(tmp_path, "--front-port", "0", "--back-port", "0") as process:
        lines = [process.stdout.readline() for _ in range(4)]
        settings = json.loads((tmp_path / "settings.json").read_text())
        assert (tmp_path / "settings.json").stat().st_mode & 0o777 == 0o600
        authority = settings["FlaskAPI"]["AUTHORITY"]
        with requests.Session() as session:
            session.trust_env = False
            address = f"{authority}/discovery/v2.0/keys"
            ca_file = settings["DjangoUI"]["CA_BUNDLE"]
            assert session.get(address, verify=ca_file, timeout=30).status_code == 200
        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    output = "".join(lines) + rest
    assert process.returncode == 0, output
    assert "not Microsoft" in output
    assert "Mock Azure has stopped." in output
    assert "Traceback" not in output
    assert settings["FlaskAPI"]["CLIENT_SECRET"] not in output
    assert list(tmp_path.iterdir()) == []


def test_command_does_not_overwrite_other_settings(tmp_path):
    mine = tmp_path / "DjangoUI" / "development.env"
    mine.parent.mkdir()
    mine.write_text("CLIENT_ID=mine")
    options = ("--front-port", "0", "--back-port", "0", "--write-env", str(tmp_path))
    with run_command(tmp_path, *options) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{mine} already exists" in output
    assert "Traceback" not in output
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "CLIENT_ID=mine"


def test_command_registers_the_web_app_where_it_is(tmp_path):
    options = ("--front-port", "0", "--back-port", "0", "--ui-url", "https://ui.example")
    with run_command(tmp_path, *options) as process:
        lines = [process.stdout.readline() for _ in range(4)]
        settings = json.loads((tmp_path / "settings.json").read_text())["DjangoUI"]
        tenant = settings["AUTHORITY"].rpartition("/")[2]
        address = f"{lines[1].split()[-1]}/{tenant}/oauth2/v2.0/authorize"
        asked = {"client_id": settings["CLIENT_ID"], "response_type": "code", "scope": "openid"}
        pages = {}
        for ui in ("https://ui.example", "http://localhost:8000"):
            asked["redirect_uri"] = f"{ui}/account/callback"
            pages[ui] = requests.get(address, params=asked, timeout=30).text
    assert settings["REDIRECT_URI"] == "https://ui.example/account/callback"
    assert "AADSTS50011" not in pages["https://ui.example"]
    assert "AADSTS50011" in pages["http://localhost:8000"]


@pytest.mark.parametrize(
    ("network", "status"),
    [
        pytest.param("0.0.0.0/0", 200, id="everybody, as in docker-compose.yml"),
        pytest.param("192.0.2.0/24", 403, id="another network"),
    ],
)
def test_command_opens_the_controls_to(tmp_path, network, status):
    options = ("--front-port", "0", "--back-port", "0", "--controls-from", network)
    with run_command(tmp_path, *options) as process, requests.Session() as session:
        session.trust_env = False
        lines = [process.stdout.readline() for _ in range(4)]
        front = lines[1].split()[-1].replace("localhost", "127.0.0.1")
        assert session.get(f"{front}/controls", timeout=30).status_code == status
        other_site = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        refused = session.post(f"{front}/scenarios/arm-away", headers=other_site, timeout=30)
        assert refused.status_code == 403


def test_command_names_the_port_that_is_taken(azure, tmp_path):
    port = azure.front_url.rpartition(":")[2]
    with run_command(tmp_path, "--front-port", port, "--back-port", "0") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert port in output
    assert "Traceback" not in output
