"""Faults on demand, by hop, user and number of times."""

import selectors
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flask import g, request
from werkzeug.wrappers import Response

from .errors import ArmError, EntraError
from .server import cut_connection

# Recorded when the mock closes a connection, and when the client does.
NO_ANSWER, GAVE_UP = "no answer", "gave up"


@dataclass
class Fault:
    """One fault. ``times`` None means until removed; ``used`` counts how often it was applied."""

    hop: str
    answer: EntraError | ArmError | None = None
    user: str | None = None
    times: int | None = 1
    status: int | None = None
    body: str | bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    latency_seconds: float = 0.0
    drop: bool = False
    truncate: bool = False
    drip_seconds: float = 0.0
    used: int = 0

    def before(self) -> Response | None:
        """Wait, or respond instead of the view; None lets the view respond.

        :raises EntraError, ArmError: the preset error.
        """
        is_gone = _client_leaves_within(self.latency_seconds)
        if is_gone or self.drop:
            g.answer = GAVE_UP if is_gone else NO_ANSWER
            return Response()
        # At /authorize the view raises it, because it knows the client's redirect URI.
        if self.answer and request.blueprint != "front":
            raise self.answer
        if self.status is None and self.body is None:
            return None
        return Response(self.body or "", self.status or 200, content_type="text/html")

    def after(self, response: Response) -> None:
        """Change the response's headers and how fast its body is sent, or close the connection."""
        if self.drop:  # not earlier: the client may look for this request in the record at once
            cut_connection(request.environ)
        response.headers.update(self.headers)
        if self.truncate or self.drip_seconds:
            body = response.get_data()
            response.headers["Content-Length"] = str(len(body))  # of the whole body
            response.response = self._pace(body, dict(request.environ))

    def _pace(self, body: bytes, environ: dict[str, Any]) -> Iterator[bytes]:
        end = len(body) // 2 if self.truncate else len(body)
        step = 1 if self.drip_seconds else max(end, 1)
        for start in range(0, end, step):
            yield body[start : start + step]
            time.sleep(self.drip_seconds)
        if self.truncate:
            cut_connection(environ)


def _client_leaves_within(seconds: float) -> bool:
    """Wait for ``seconds``; return True as soon as the client closes the connection."""
    connection = request.environ.get("werkzeug.socket")
    if not (seconds and connection):
        time.sleep(seconds)
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(seconds))


class Faults:
    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(
        self, hop: str, preset: int | str | None = None, *, details: Any = None, **how: Any
    ) -> Fault:
        """Add a fault at ``hop``, for the next request or ``times`` requests (None: all).

        Hops: ``discovery``, ``jwks``, ``authorize``, ``token:authorization_code``,
        ``token:refresh_token``, ``token:on_behalf_of``, ``token:device_code``,
        ``token:client_credentials``, ``userinfo``, ``identity``, ``arm:subscriptions``,
        ``arm:subscription``, ``arm:tenants``, and ``graph:`` with the name of a view of
        ``graph.py``. The part before the colon alone (``token``) means all of them.
        ``preset`` is an AADSTS number or a code of ARM; ``details`` override its fields
        (``{"error": "invalid_grant", "claims": "{...}", "status": 503}``). ``how`` holds the fields
        of ``Fault``. Without preset, status and body, the usual response is sent, but with extra
        ``headers``, late (``latency_seconds``), one byte at a time (``drip_seconds``), only half of
        it (``truncate``) or not at all (``drop``)::

            azure.faults.add("token:on_behalf_of", 50076, user="alice")
            azure.faults.add("arm:subscriptions", "TooManyRequests", headers={"Retry-After": "7"})
            azure.faults.add("jwks", status=500, body="<html>Oops", times=None)
        """
        answer: EntraError | ArmError | None = None
        if isinstance(preset, int):
            answer = EntraError(preset, **(details or {}))
        elif preset is not None:
            answer = ArmError(preset, **(details or {}))
        fault = Fault(hop, answer, **how)
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        with self._lock:
            self._faults.remove(fault)

    def take(self, hop: str, user: str | None) -> Fault | None:
        """Return the oldest fault for this request and count it as used."""
        with self._lock:
            for fault in self._faults:
                spent = fault.times is not None and fault.used >= fault.times
                applies = f"{hop}:".startswith(f"{fault.hop}:")
                if not spent and applies and fault.user in (None, user):
                    fault.used += 1
                    return fault
        return None


def current() -> Fault | None:
    """Return the fault of the current request."""
    fault: Fault | None = g.get("fault")
    return fault
