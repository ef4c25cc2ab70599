"""What one request carries with it: a correlation id, a deadline, and the time of each hop."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPMethod
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

from flask import Flask, Response, g, request
from urllib3 import Timeout

from helpers.http_session import ANSWER_SECONDS, CONNECT_SECONDS

REQUEST_SECONDS = 20.0  # all that this API may spend on one request
CORRELATION_HEADER = "x-ms-client-request-id"
GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

logger = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Begin and end every request of ``app`` here."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.started = perf_counter()
    g.correlation_id = _correlation_id()
    g.hops = {}
    g.descriptions = {}
    g.outcome = "ok"


def _correlation_id() -> str:
    """Return the caller's GUID, else its trace id (W3C Trace Context), else a new GUID."""
    offered = request.headers.get(CORRELATION_HEADER, "")
    if GUID.fullmatch(offered):
        return offered
    trace = TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    return str(UUID(trace[1]) if trace else uuid4())


def _end(response: Response) -> Response:
    response.headers[CORRELATION_HEADER] = g.correlation_id
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if g.hops:
        response.headers["Server-Timing"] = _server_timing()
    # The route and not the path, and methods that exist: what a caller makes up is not kept.
    logger.info(
        "method=%s path=%s status=%d ms=%.1f correlation_id=%s outcome=%r",
        request.method if request.method in HTTPMethod.__members__ else "-",
        request.url_rule or "-",
        response.status_code,
        (perf_counter() - g.started) * 1000,
        g.correlation_id,
        g.outcome,
    )
    return response


def _server_timing() -> str:
    """Return the hops as https://www.w3.org/TR/server-timing/ has it, in milliseconds."""
    described = {name: f';desc="{word}"' for name, word in g.descriptions.items()}
    return ", ".join(f"{name}{described.get(name, '')};dur={ms:.1f}" for name, ms in g.hops.items())


@contextmanager
def hop(name: str) -> Iterator[None]:
    """Measure a part of this request for ``Server-Timing``; a hop that comes twice adds up."""
    begun = perf_counter()
    try:
        yield
    finally:
        g.hops[name] = g.hops.get(name, 0.0) + (perf_counter() - begun) * 1000


def describe_hop(name: str, description: str) -> None:
    """Add one word to a hop of ``Server-Timing``, for instance ``hit`` or ``miss``."""
    g.descriptions[name] = description


def seconds_left() -> float:
    """Return how long this request may still take, not less than a moment."""
    started: float = g.started
    return max(started + REQUEST_SECONDS - perf_counter(), 0.001)


def time_budget() -> Any:  # Timeout, which requests accepts and its type stubs don't know of
    """Return the ``timeout`` of the next call upstream: its usual one, or what is left."""
    return Timeout(total=seconds_left(), connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
