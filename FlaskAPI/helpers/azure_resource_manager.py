"""The downstream API: Azure Resource Manager's list of subscriptions.

Reference: https://learn.microsoft.com/rest/api/resources/subscriptions/list
"""

import json
import re
import time
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import current_app, g

from helpers.claims_challenges import claims_of_challenge, encode_claims
from helpers.errors import ApiError, DownstreamError
from helpers.http_session import retry_after_seconds
from helpers.request_context import describe_hop, hop, seconds_left, time_budget

TRIES = 3
RETRY_STATUSES = (502, 503, 504)
PAUSE_SECONDS = 0.2  # before the second try, twice as long before the third
MAX_PAUSE_SECONDS = 2
MAX_RETRY_AFTER_SECONDS = 300
MAX_PAGES = 100


class AccessTokenRejected(ApiError):
    """Resource Manager answers 401. ``claims`` (JSON) is what it wants a new token to satisfy."""

    def __init__(self, claims: str | None) -> None:
        self.claims = claims
        if claims:
            super().__init__("claims_challenge", challenge={"claims": encode_claims(claims)})
        else:
            super().__init__("downstream_unauthorized")


def list_subscriptions(access_token: str) -> dict[str, Any]:
    """Return all pages as one: ``{"value": [{"subscriptionId": ...}], "count": {...}}``.

    :raises AccessTokenRejected: another token may help.
    :raises DownstreamError: for any other failure; a list is never cut short silently.
    """
    subscriptions: list[dict[str, Any]] = []
    address = current_app.config["AZURE_MANAGEMENT_SUBSCRIPTIONS_URI"]
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(address))
    with hop("arm"):
        for pages in range(1, MAX_PAGES + 1):
            page = _get_page(address, access_token)
            subscriptions += page["value"]
            address = page.get("nextLink")
            if not address:
                describe_hop("arm", f"{pages} pages" if pages > 1 else "1 page")
                count = {"type": "Total", "value": len(subscriptions)}
                return {"value": subscriptions, "count": count}
            # The token goes to Resource Manager's own origin and nowhere else.
            if not str(address).startswith((f"{origin}/", f"{origin}:443/")):
                raise DownstreamError("downstream_error", "nextLink leads elsewhere")
    raise DownstreamError("downstream_error", f"more than {MAX_PAGES} pages")


def _get_page(address: str, access_token: str) -> dict[str, Any]:
    response = _get(address, access_token)
    status = response.status_code
    if status == 401:
        raise AccessTokenRejected(claims_of_challenge(response.headers.get("WWW-Authenticate", "")))
    if status == 429:
        wait = retry_after_seconds(response, MAX_RETRY_AFTER_SECONDS)
        raise DownstreamError("downstream_throttled", retry_after=wait)
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    if status == 403:
        raise DownstreamError("downstream_forbidden", details={"azure_code": _code(body)})
    page = body.get("value") if isinstance(body, dict) else None
    if status != 200 or not isinstance(page, list) or not all(isinstance(s, dict) for s in page):
        raise DownstreamError("downstream_error", f"status {status} or not a page")
    return dict(body)


def _get(address: str, access_token: str) -> requests.Response:
    """Return the answer of one page; a passing fault is tried again while there is time."""
    session: requests.Session = current_app.extensions["arm_session"]
    try:
        request = _prepared(session, address).copy()
    except ValueError as error:  # nextLink is no address
        raise DownstreamError("downstream_error", type(error).__name__) from error
    request.headers["Authorization"] = f"Bearer {access_token}"
    request.headers["x-ms-client-request-id"] = g.correlation_id
    request.headers["x-ms-correlation-request-id"] = g.correlation_id
    for attempt in range(1, TRIES + 1):
        pause = PAUSE_SECONDS * attempt
        is_last = attempt == TRIES or seconds_left() < pause
        try:
            response = session.get_adapter(address).send(request, timeout=time_budget())
            if is_last or response.status_code not in RETRY_STATUSES:
                return response
            pause = min(retry_after_seconds(response, MAX_PAUSE_SECONDS) or pause, seconds_left())
        except requests.Timeout as error:
            raise DownstreamError("downstream_timeout") from error
        except requests.RequestException as error:
            if is_last:
                raise DownstreamError("downstream_error", type(error).__name__) from error
        time.sleep(pause)
    raise AssertionError("unreachable")


@lru_cache(maxsize=16)
def _prepared(session: requests.Session, address: str) -> requests.PreparedRequest:
    """Return the request without a user's headers. Making it costs as much as reading a token."""
    return session.prepare_request(requests.Request("GET", address))


def _code(body: Any) -> str:
    """Return Resource Manager's error code, such as ``AuthorizationFailed``, if it is one."""
    try:
        code = body["error"]["code"]
    except (KeyError, TypeError, IndexError):
        return ""
    return code if isinstance(code, str) and re.fullmatch(r"\w{1,64}", code, re.ASCII) else ""
