"""The load: a few connections that are never idle, and what became of each request."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Request(NamedTuple):
    """What to send, and a text that only the right answer holds."""

    sent: bytes
    mark: bytes


def get(path: str, mark: str, headers: dict[str, str]) -> Request:
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return Request("\r\n".join([*lines, "", ""]).encode(), mark.encode())


@dataclass
class Result:
    seconds: list[float] = field(default_factory=list)  # one for each answered request
    elapsed: float = 0.0
    failures: list[bytes] = field(default_factory=list)  # answers that were not the right ones


def run(port: int, requests: Iterator[Request], connections: int, seconds: float) -> Result:
    """Send ``requests`` to ``port`` of this machine until they or ``seconds`` run out."""
    result = Result()
    lock = threading.Lock()
    begun = time.perf_counter()
    ends = begun + seconds

    def work() -> None:
        times: list[float] = []
        failures: list[bytes] = []
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                while (sent := time.perf_counter()) < ends:
                    with lock:
                        request = next(requests, None)
                    if request is None:
                        break
                    connection.sendall(request.sent)
                    answer = _receive(connection)
                    times.append(time.perf_counter() - sent)
                    if not answer.startswith(b"HTTP/1.1 200 ") or request.mark not in answer:
                        failures.append(answer)
        except (OSError, ValueError) as error:  # hung up, too slow, or not HTTP as we know it
            failures.append(repr(error).encode())
        with lock:
            result.seconds += times
            result.failures += failures

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.elapsed = time.perf_counter() - begun
    return result


def _receive(connection: socket.socket) -> bytes:
    """Return one answer, head and body, which has to say its length."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (chunk := connection.recv(65536)):
            raise ConnectionError("the server hung up")
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        if not (chunk := connection.recv(65536)):
            raise ConnectionError("the server hung up")
        body += chunk
    return head + body
