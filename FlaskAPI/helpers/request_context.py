"""What one request carries with it: a correlation id, a deadline, and the time of each hop."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, perf_counter
from uuid import uuid4

from flask import Flask, Response, g, request

from helpers.http_session import ANSWER_SECONDS, CONNECT_SECONDS

REQUEST_SECONDS = 20.0  # all that this API may spend on one request
CORRELATION_HEADER = "x-ms-client-request-id"
GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

logger = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Begin and end every request of ``app`` here."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    offered = request.headers.get(CORRELATION_HEADER, "")
    g.correlation_id = offered if GUID.fullmatch(offered) else str(uuid4())
    g.deadline = monotonic() + REQUEST_SECONDS
    g.hops = {}
    g.descriptions = {}
    g.started = perf_counter()
    g.outcome = "ok"


def _end(response: Response) -> Response:
    response.headers[CORRELATION_HEADER] = g.correlation_id
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if g.hops:
        response.headers["Server-Timing"] = _server_timing()
    # The path alone: a query string may hold what should not be kept.
    logger.info(
        "method=%s path=%s status=%d ms=%.1f correlation_id=%s outcome=%r",
        request.method,
        request.url_rule or "-",
        response.status_code,
        (perf_counter() - g.started) * 1000,
        g.correlation_id,
        g.outcome,
    )
    return response


def _server_timing() -> str:
    """Return the hops as https://www.w3.org/TR/server-timing/ has it, in milliseconds."""
    return ", ".join(
        f'{name};desc="{g.descriptions[name]}";dur={ms:.1f}'
        if name in g.descriptions
        else f"{name};dur={ms:.1f}"
        for name, ms in g.hops.items()
    )


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
    """Return how long this request may still take; 0 or less means that its time is up."""
    deadline: float = g.deadline
    return deadline - monotonic()


def time_budget() -> tuple[float, float]:
    """Return the ``timeout`` of the next call upstream: its usual one, or what is left."""
    left = max(seconds_left(), 0.05)
    return min(CONNECT_SECONDS, left), min(ANSWER_SECONDS, left)
