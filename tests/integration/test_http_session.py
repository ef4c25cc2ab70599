"""The HTTP session, tested with servers that misbehave on real sockets.

Both apps have a module of their own for it; one table keeps them alike.
"""

import gzip
import importlib
import socket
import ssl
import threading
import time

import pytest
import requests

from tests.mock_azure.tls import server_context

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(params=["helpers.http_session", "Helpers.http_session"])
def recipe(request, one_root):
    """The module of one app."""
    return importlib.import_module(request.param)


@pytest.fixture
def ca(tmp_path):
    """A TLS context for a server called localhost, and the file with its CA."""
    context, pem = server_context(["localhost"])
    file = tmp_path / "ca.pem"
    file.write_bytes(pem)
    return context, file


@pytest.fixture
def serve():
    """Start servers that handle each connection with a function; return the port."""
    listeners = []

    def start(behave, context: ssl.SSLContext | None = None) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                    if context:
                        connection = context.wrap_socket(connection, server_side=True)
                except ssl.SSLError:
                    continue
                except OSError:
                    return
                threading.Thread(target=treat, args=(connection,), daemon=True).start()

        def treat(connection):
            try:
                with connection:
                    behave(connection)
            except OSError:
                pass  # the client went away, as some of these tests want

        threading.Thread(target=accept, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for listener in listeners:
        listener.close()


def read_request(connection):
    data = b""
    while b"\r\n\r\n" not in data and (chunk := connection.recv(65536)):
        data += chunk
    return data


def answering(raw):
    """Return a handler that sends ``raw`` as the response to one request, then closes."""

    def behave(connection):
        read_request(connection)
        connection.sendall(raw)

    return behave


def dripping(connection):
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b"x")
        time.sleep(0.1)


def test_a_slow_body_ends_at_the_deadline(recipe, serve):
    url = f"http://127.0.0.1:{serve(dripping)}/"
    begun = time.monotonic()
    with pytest.raises(requests.Timeout):
        recipe.http_session().get(url, timeout=(0.5, 0.5))
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut", id="cut-off"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", id="cut-chunk"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
            id="not-gzip",
        ),
        pytest.param(b"", id="closed-at-once"),
        pytest.param(b"garbage\r\n\r\n", id="not-http"),
    ],
)
def test_a_broken_answer_is_a_connection_error(recipe, serve, raw):
    with pytest.raises(requests.ConnectionError):
        recipe.http_session().get(f"http://127.0.0.1:{serve(answering(raw))}/", timeout=(1, 1))


def test_a_compressed_answer_is_read_whole(recipe, serve):
    body = gzip.compress(b"0123456789" * 50_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    url = f"http://127.0.0.1:{serve(answering(head + body))}/"
    assert recipe.http_session().get(url).text == "0123456789" * 50_000


def test_a_response_beyond_the_limit_is_refused_even_if_it_is_compressed(recipe, serve):
    body = gzip.compress(b"0" * (recipe.MAX_BODY_BYTES + 1))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    with pytest.raises(requests.ConnectionError, match="too large"):
        recipe.http_session().get(f"http://127.0.0.1:{serve(answering(head + body))}/")


def test_a_redirect_is_not_followed(recipe, serve):
    visited = []

    def trap(connection):
        visited.append(read_request(connection))

    location = f"http://127.0.0.1:{serve(trap)}/"
    raw = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    session = recipe.http_session()
    for method in ("GET", "POST"):
        with pytest.raises(requests.TooManyRedirects):
            session.request(method, f"http://127.0.0.1:{serve(answering(raw))}/")
    assert not visited


def test_a_failing_answer_is_not_repeated(recipe, serve):
    requests_seen = []

    def busy(connection):
        requests_seen.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")

    assert recipe.http_session().get(f"http://127.0.0.1:{serve(busy)}/").status_code == 503
    assert len(requests_seen) == 1


def test_cookies_are_not_kept(recipe, serve):
    seen = []

    def baker(connection):
        seen.append(read_request(connection))
        head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nConnection: close\r\n"
        connection.sendall(head + b"Content-Length: 0\r\n\r\n")

    session, url = recipe.http_session(), f"http://127.0.0.1:{serve(baker)}/"
    session.get(url)
    session.get(url)
    assert b"ookie" not in seen[1]


def test_connections_are_reused(recipe, serve):
    connections = []

    def patient(connection):
        connections.append(connection)
        while read_request(connection):
            connection.sendall(OK)

    session, url = recipe.http_session(), f"http://127.0.0.1:{serve(patient)}/"
    for _ in range(5):
        session.get(url)
    assert len(connections) == 1


def test_the_bundle_is_trusted_in_addition_to_the_public_roots(recipe, serve, ca, monkeypatch):
    monkeypatch.undo()  # of `one_root`
    context, file = ca
    session = recipe.http_session(str(file))
    assert session.get(f"https://localhost:{serve(answering(OK), context)}/").ok
    trust = session.get_adapter("https://x")._trust
    assert len(trust.get_ca_certs()) > 20


def test_an_untrusted_server_is_refused(recipe, serve, ca):
    context, file = ca
    port = serve(answering(OK), context)
    with pytest.raises(requests.exceptions.SSLError):
        recipe.http_session().get(f"https://localhost:{port}/")
    with pytest.raises(requests.exceptions.SSLError):  # also not when a caller asks for it
        recipe.http_session().get(f"https://localhost:{port}/", verify=False)  # noqa: S501  # the point of this test
    with pytest.raises(requests.exceptions.SSLError):  # right CA, wrong name
        recipe.http_session(str(file)).get(f"https://127.0.0.1:{port}/")


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environment_does_not_replace_the_trust(recipe, serve, ca, variable, monkeypatch):
    monkeypatch.setenv(variable, "/etc/hostname")
    context, file = ca
    assert (
        recipe.http_session(str(file)).get(f"https://localhost:{serve(answering(OK), context)}/").ok
    )


def test_the_proxy_of_the_environment_is_used_and_tls_ends_at_the_server(
    recipe, serve, tmp_path, monkeypatch
):
    context, pem = server_context(["server.test"])
    file = tmp_path / "server.pem"
    file.write_bytes(pem)
    port = serve(answering(OK), context)
    tunnels = []

    def proxy(connection):
        tunnels.append(read_request(connection).split(b"\r\n")[0])
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(upstream, connection), daemon=True)
            back.start()
            pump(connection, upstream)
            back.join()

    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{serve(proxy)}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert recipe.http_session(str(file)).get(f"https://server.test:{port}/").ok
    assert tunnels == [f"CONNECT server.test:{port} HTTP/1.0".encode()] or tunnels == [
        f"CONNECT server.test:{port} HTTP/1.1".encode()
    ]
    monkeypatch.setenv("NO_PROXY", "server.test")
    with pytest.raises(requests.ConnectionError):  # directly, and nobody knows its address
        recipe.http_session(str(file)).get(f"https://server.test:{port}/")
    assert len(tunnels) == 1


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "LOCALHOST", "169.254.169.254"]
)
@pytest.mark.parametrize("no_proxy", [None, "other.test"])
def test_nothing_for_this_machine_goes_through_a_proxy(recipe, serve, monkeypatch, host, no_proxy):
    """Also with a lower-case no_proxy, which hides the one in upper case."""
    seen = []
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{serve(lambda c: seen.append(c))}")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1,::1")
    monkeypatch.delenv("no_proxy", raising=False)
    if no_proxy:
        monkeypatch.setenv("no_proxy", no_proxy)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(requests.RequestException):  # refused, or 169.254.169.254 is not there
        recipe.http_session().get(f"http://{host}:{port}/", timeout=(1, 1))
    assert seen == []


@pytest.mark.parametrize("host", ["127.0.0.1.test", "169.254.0.1.test", "localhost.test"])
def test_a_name_that_only_begins_like_localhost_goes_through_the_proxy(
    recipe, serve, monkeypatch, host
):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{serve(answering(OK))}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert recipe.http_session().get(f"http://{host}/").ok


def pump(source, target):
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
