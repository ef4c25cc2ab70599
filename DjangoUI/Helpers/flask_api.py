"""Call the Flask API and interpret its responses."""

import json
from base64 import b64decode
from functools import cache
from time import perf_counter
from typing import Any, NamedTuple

import requests
from django.conf import settings
from requests.utils import parse_dict_header

from Helpers.correlation import CORRELATION_HEADER
from Helpers.errors import API_PAGES, ApiRefusal, failure_reason
from Helpers.http_session import CONNECT_SECONDS, http_session, json_object, retry_after_seconds
from Helpers.token_acquisition import checked_claims

ANSWER_SECONDS = 25.0  # the API itself gives up after 20, and responds with the reason
MAX_RETRY_AFTER_SECONDS = 300

# One session for all threads. It holds connections, never credentials.
_session = cache(http_session)


class SubscriptionList(NamedTuple):
    """The API's answer: subscriptions as Azure Resource Manager describes them, in its order.

    https://learn.microsoft.com/rest/api/resources/subscriptions/list
    """

    subscriptions: list[dict[str, Any]]
    text: str  # the same list as indented JSON
    server_timing: str  # the Server-Timing header, which says where the API spent its time
    milliseconds: float  # from the request to the end of the response


def list_subscriptions(access_token: str, correlation_id: str) -> SubscriptionList:
    """Return the subscriptions of the user of ``access_token``.

    :raises ApiRefusal: for any other response, or if there is none.
    """
    headers = {"Authorization": f"Bearer {access_token}", CORRELATION_HEADER: correlation_id}
    started = perf_counter()
    try:
        response = _session(settings.CA_BUNDLE).get(
            settings.FLASK_BACKEND_URL, headers=headers, timeout=(CONNECT_SECONDS, ANSWER_SECONDS)
        )
    except requests.ReadTimeout as error:
        raise ApiRefusal("api_timeout") from error
    except requests.TooManyRedirects as error:
        raise ApiRefusal("api_error") from error
    except requests.RequestException as error:
        raise ApiRefusal("api_unreachable", reason=failure_reason(error)) from error
    body = json_object(response) or {}
    if response.status_code != 200:
        raise _refusal(response, body)
    subscriptions = body.get("value")
    if not isinstance(subscriptions, list) or not all(isinstance(s, dict) for s in subscriptions):
        raise ApiRefusal("api_error")
    try:
        text = json.dumps(subscriptions, indent=2, ensure_ascii=False)
        text.encode()  # JSON may contain a lone surrogate, which UTF-8 can't encode
    except (UnicodeEncodeError, RecursionError) as error:
        raise ApiRefusal("api_error") from error
    milliseconds = (perf_counter() - started) * 1000
    timing = response.headers.get("Server-Timing", "")
    return SubscriptionList(subscriptions, text, timing, milliseconds)


def _refusal(response: requests.Response, body: dict[str, Any]) -> ApiRefusal:
    code = str(body.get("code"))
    claims = _claims(response.headers.get("WWW-Authenticate", ""))
    if code not in API_PAGES or (code == "claims_challenge" and claims is None):
        code = "api_error"
    wait = retry_after_seconds(response, MAX_RETRY_AFTER_SECONDS)
    return ApiRefusal(code, "from the API", wait, claims if code == "claims_challenge" else None)


def _claims(www_authenticate: str) -> str | None:
    """Return the JSON of a claims challenge, or ``None`` if there is no valid one.

    https://learn.microsoft.com/entra/identity-platform/claims-challenge
    """
    scheme, _, parameters = www_authenticate.partition(" ")
    challenge = parse_dict_header(parameters)
    if scheme.lower() != "bearer" or challenge.get("error") != "insufficient_claims":
        return None
    try:
        return checked_claims(b64decode(challenge.get("claims") or "", validate=True).decode())
    except ValueError:
        return None
