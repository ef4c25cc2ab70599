"""Azure at its fastest: repeats answers that the mock once gave, with the caller's mark in each.

A process of its own, so that it takes no time from what is measured. It checks nothing.
"""

import contextlib
import json
import re
import socket
import ssl
import sys
import threading
from collections import Counter
from pathlib import Path

from tests.mock_azure import tls

# Stands in recorded answers where the mark of whom they belong to goes, and is as long.
MARK = b"<-- whose answer it is goes here -->"

CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
BEARER = re.compile(rb"(?i)\r\nauthorization: bearer (\S+)")
ASSERTION = re.compile(rb"\bassertion=([^&]+)")


class StandIn:
    """Answers by path, and counts them: discovery, keys and exchanges are Entra's, others ARM's."""

    def __init__(self, recorded: dict[str, str]) -> None:
        self._recorded = {path.encode(): answer.encode() for path, answer in recorded.items()}
        self._calls = Counter(entra=0, arm=0)
        self._lock = threading.Lock()

    def answer(self, head: bytes, body: bytes) -> bytes:
        path = head.split(b" ", 2)[1].partition(b"?")[0]
        if path == b"/calls":
            calls = json.dumps(self._calls).encode()
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(calls), calls)
        with self._lock:
            self._calls["arm" if path == b"/subscriptions" else "entra"] += 1
        mark = MARK
        if assertion := ASSERTION.search(body):
            mark = assertion[1][-len(MARK) :]
        elif arm_token := BEARER.search(head):  # it begins as what was exchanged for it ended
            mark = arm_token[1][: len(MARK)]
        return self._recorded[path].replace(MARK, mark)


def serve(stand_in: StandIn, port: int, context: ssl.SSLContext | None) -> None:
    """Answer on ``port`` of loopback, with a thread for each connection."""
    listening = socket.create_server(("127.0.0.1", port), backlog=128)
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=_talk, args=(stand_in, connection, context), daemon=True).start()


def _talk(stand_in: StandIn, connection: socket.socket, context: ssl.SSLContext | None) -> None:
    # An answer goes out at once and in one write: two would meet a delayed ACK of 40 ms.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    with contextlib.suppress(OSError):  # the other side ends a connection as it likes
        if context:
            connection = context.wrap_socket(connection, server_side=True)
        while chunk := connection.recv(65536):
            received += chunk
            head, end, body = received.partition(b"\r\n\r\n")
            length = CONTENT_LENGTH.search(head)
            if end and len(body) == (int(length[1]) if length else 0):
                connection.sendall(stand_in.answer(head, body))
                received = b""


def main() -> None:
    plan = json.loads(sys.stdin.readline())
    context, ca_pem = tls.server_context(["localhost"])
    Path(plan["ca_file"]).write_bytes(ca_pem)
    stand_in = StandIn(plan["recorded"])
    for port, tls_context in ((plan["plain_port"], None), (plan["tls_port"], context)):
        serving = threading.Thread(target=serve, args=(stand_in, port, tls_context), daemon=True)
        serving.start()
    sys.stdin.read()  # ends with the process that started this one


if __name__ == "__main__":
    main()
