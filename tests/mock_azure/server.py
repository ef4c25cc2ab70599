"""Listening sockets: one channel (front or back) on each of its addresses."""

import contextlib
import errno
import io
import logging
import socket
import ssl
import threading
from typing import Any, ClassVar

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Response

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "::1")
MAX_BODY_BYTES = 1_000_000


class RequestHandler(WSGIRequestHandler):
    """Werkzeug's handler, but with keep-alive: Werkzeug closes every connection."""

    server: "Listener"
    protocol_version = "HTTP/1.1"
    # Headers and body are two small writes; the second would wait 40 ms for a delayed ACK.
    disable_nagle_algorithm: ClassVar[bool] = True

    def run_wsgi(self) -> None:
        self.environ = environ = self.make_environ()
        environ["mock_azure.channel"] = self.server.channel
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit():
            return self.send_error(411)
        if int(length) > MAX_BODY_BYTES:
            return self.send_error(413)
        # Read the body now: any unread rest would be parsed as the next request.
        environ["wsgi.input"] = io.BytesIO(self.rfile.read(int(length)))
        response = Response.from_app(self.server.app, environ)
        try:
            self.send_response(response.status_code)
            if "Content-Length" not in response.headers:
                response.headers["Connection"] = "close"
            for name, value in response.headers:
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                for chunk in response.iter_encoded():
                    self.wfile.write(chunk)
        finally:
            response.close()

    def version_string(self) -> str:
        return "MockAzure"

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        # Leave the query string out of the log: it can contain codes and tokens.
        path = self.path.partition("?")[0]
        path = path.encode("ascii", "backslashreplace").decode()
        logger.info("%s %s %s %s", self.server.channel, self.command, path, int(code))

    def log(self, type: str, message: str, *args: Any) -> None:
        logger.debug(message, *args)


class Listener(ThreadedWSGIServer):
    """One listening socket. TLS handshakes run in the connection's thread, not in accept()."""

    app: Flask

    def __init__(
        self, app: Flask, channel: str, listening: socket.socket, tls: ssl.SSLContext | None
    ) -> None:
        host, port = listening.getsockname()[:2]
        super().__init__(host, port, app, RequestHandler, fd=listening.fileno())
        listening.close()
        self.channel = channel
        self.ssl_context = tls
        self._connections: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.ssl_context:
            try:
                request = self.ssl_context.wrap_socket(request, server_side=True)
            except OSError as error:  # the client does not trust the CA, or does not use TLS
                logger.info("%s TLS handshake failed: %s", self.channel, error)
                return
        self._connections.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            self._connections.discard(request)
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.exception("%s request failed", self.channel)

    def stop(self) -> None:
        """Stop listening and close open connections."""
        self.shutdown()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def cut_connection(environ: dict[str, Any]) -> None:
    """Close the connection of this request, even in the middle of a response."""
    if connection := environ.get("werkzeug.socket"):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def listen(
    app: Flask, channel: str, hosts: tuple[str, ...], port: int, tls: ssl.SSLContext | None = None
) -> list[Listener]:
    """Serve ``app`` on ``port`` of each of ``hosts``; 0 means any port that is free on all.

    ``::1`` is skipped on a machine without IPv6.

    :raises OSError: if the port is taken, or an address is not this machine's.
    """
    sockets: list[socket.socket] = []
    for _ in range(20):
        try:
            for host in hosts:
                chosen = sockets[0].getsockname()[1] if sockets else port
                if bound := _bind(host, chosen):
                    sockets.append(bound)
            return [Listener(app, channel, bound, tls) for bound in sockets]
        except OSError as error:
            for bound in sockets:
                bound.close()
            sockets = []
            if port or error.errno != errno.EADDRINUSE:
                raise  # otherwise the port is free on one address only, so try another port
    raise OSError(errno.EADDRINUSE, "no port is free on every address")


def _bind(host: str, port: int) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if host == "::1" and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return None
        raise
