"""The state of one request: its correlation ID, its deadline, its timings and its log line."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPMethod
from time import perf_counter
from uuid import uuid4

from flask import Response, g, request

from helpers.http_session import ANSWER_SECONDS, CONNECT_SECONDS

REQUEST_SECONDS = 20.0  # for one request, with all the calls that it makes
CORRELATION_HEADER = "x-ms-client-request-id"
GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

logger = logging.getLogger(__name__)


def begin() -> None:
    """Prepare ``g`` for a request."""
    g.started = perf_counter()
    offered = request.headers.get(CORRELATION_HEADER, "")
    g.correlation_id = offered if GUID.fullmatch(offered) else str(uuid4())
    g.milliseconds = {}
    g.descriptions = {}
    g.outcome = "ok"


def end(response: Response) -> Response:
    """Add the headers that every response has, and log the request."""
    response.headers[CORRELATION_HEADER] = g.correlation_id
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    times = g.milliseconds.items()  # https://www.w3.org/TR/server-timing/
    if hops := [f"{name}{g.descriptions.get(name, '')};dur={ms:.1f}" for name, ms in times]:
        response.headers["Server-Timing"] = ", ".join(hops)
    # Log the route instead of the path, and only known methods: clients can send anything there.
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


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Measure a part of this request for ``Server-Timing``; repeated parts add up."""
    started = perf_counter()
    try:
        yield
    finally:
        elapsed = (perf_counter() - started) * 1000
        g.milliseconds[name] = g.milliseconds.get(name, 0.0) + elapsed


def describe_timing(name: str, description: str) -> None:
    """Add a description to a part of ``Server-Timing``, for example ``hit`` or ``3 pages``."""
    g.descriptions[name] = f';desc="{description}"'


def seconds_left() -> float:
    """Return how long this request may still take, at least a millisecond."""
    return max(float(g.started) + REQUEST_SECONDS - perf_counter(), 0.001)


def time_budget() -> tuple[float, float]:
    """Return the ``timeout`` of the next outgoing call: the usual one, or less if time is short."""
    left = seconds_left()
    return min(CONNECT_SECONDS, left), min(ANSWER_SECONDS, left)
