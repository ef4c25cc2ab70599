"""The downstream API: Azure Resource Manager's list of subscriptions.

Reference: https://learn.microsoft.com/rest/api/resources/subscriptions/list
"""

import re
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import current_app, g

from helpers.claims_challenges import claims_of_challenge, encode_claims
from helpers.errors import ApiError, DownstreamError
from helpers.http_session import retry_after_seconds
from helpers.request_context import hop, seconds_left, time_budget

TRIES = 3
RETRY_STATUSES = (502, 503, 504)
PAUSE_SECONDS = 0.2  # before the second try, doubled before the third
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
        for _ in range(MAX_PAGES):
            page = _get_page(address, access_token)
            subscriptions += page["value"]
            address = page.get("nextLink")
            if not address:
                count = {"type": "Total", "value": len(subscriptions)}
                return {"value": subscriptions, "count": count}
            # The token goes to Resource Manager's own origin and nowhere else.
            if not str(address).startswith((f"{origin}/", f"{origin}:443/")):
                raise DownstreamError("downstream_error", "nextLink leads elsewhere")
    raise DownstreamError("downstream_error", f"more than {MAX_PAGES} pages")


def _get_page(address: str, access_token: str) -> dict[str, Any]:
    response = _get(address, access_token)
    if response.status_code == 401:
        raise AccessTokenRejected(claims_of_challenge(response.headers.get("WWW-Authenticate", "")))
    if response.status_code == 429:
        wait = retry_after_seconds(response, MAX_RETRY_AFTER_SECONDS)
        raise DownstreamError("downstream_throttled", retry_after=wait)
    try:
        body = response.json()
    except (ValueError, RecursionError) as error:
        raise DownstreamError("downstream_error", "not JSON") from error
    if response.status_code == 403:
        raise DownstreamError("downstream_forbidden", details={"azure_code": _code(body)})
    page = body.get("value") if isinstance(body, dict) else None
    if (
        response.status_code != 200
        or not isinstance(page, list)
        or not all(isinstance(subscription, dict) for subscription in page)
    ):
        raise DownstreamError("downstream_error", f"status {response.status_code}")
    return dict(body)


def _get(address: str, access_token: str) -> requests.Response:
    """Return the answer of one page; a passing fault is tried again while there is time."""
    session: requests.Session = current_app.extensions["arm_session"]
    headers = {
        "Authorization": f"Bearer {access_token}",
        "x-ms-client-request-id": g.correlation_id,
        "x-ms-correlation-request-id": g.correlation_id,
    }
    for attempt in range(1, TRIES + 1):
        pause: float = PAUSE_SECONDS * attempt
        try:
            response = session.get(
                address, headers=headers, timeout=time_budget(), allow_redirects=False
            )
        except requests.Timeout as error:
            raise DownstreamError("downstream_timeout") from error
        except requests.RequestException as error:
            if attempt == TRIES or seconds_left() < pause:
                raise DownstreamError("downstream_error", type(error).__name__) from error
        else:
            if response.status_code not in RETRY_STATUSES:
                return response
            pause = min(retry_after_seconds(response, MAX_PAUSE_SECONDS) or pause, seconds_left())
            if attempt == TRIES:
                return response
        time.sleep(max(pause, 0))
    raise AssertionError("unreachable")


def _code(body: Any) -> str:
    """Return Resource Manager's error code, such as ``AuthorizationFailed``, if it is one."""
    try:
        code = body["error"]["code"]
    except (KeyError, TypeError, IndexError):
        return ""
    return code if isinstance(code, str) and re.fullmatch(r"\w{1,64}", code, re.ASCII) else ""
