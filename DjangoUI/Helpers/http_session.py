"""HTTP sessions for calls to other servers: trust, proxies, timeouts and size limits.

MSAL and the call to the API use sessions made here.
"""

import io
import json
import re
import ssl
from functools import lru_cache
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies

CONNECT_SECONDS = 3.05
ANSWER_SECONDS = 10.0
POOL_SIZE = 32  # idle connections kept per host; more threads than this still work
MAX_BODY_BYTES = 8 * 1024 * 1024


def http_session(ca_bundle: str = "") -> requests.Session:
    """Return a session that trusts the public roots and, in addition, ``ca_bundle`` (PEM file).

    It follows no redirects, keeps no cookies, retries nothing, and belongs to no user: pass
    credentials with each request, never through ``session.headers``. ``timeout`` is the pair that
    requests takes, by default ``(CONNECT_SECONDS, ANSWER_SECONDS)``; the second number also bounds
    the time from sending the request until the whole body has been read.

    :raises requests.RequestException: from each call, for any failure.
    """
    session = requests.Session()
    # Otherwise requests would read the environment at every call, and REQUESTS_CA_BUNDLE would
    # silently replace the trusted roots below.
    session.trust_env = False
    session.max_redirects = 0
    trust = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
    if ca_bundle:
        trust.load_verify_locations(cafile=ca_bundle)
    adapter = BoundedAdapter(trust)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class BoundedAdapter(HTTPAdapter):
    """Verifies TLS, and reads the whole body within a deadline and a size limit."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        self._proxies_for = lru_cache(maxsize=64)(_proxies_for)
        super().__init__(pool_maxsize=POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._trust)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, **kwargs, ssl_context=self._trust)

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the SSL context already holds everything that is trusted."""

    def send(
        self, request: requests.PreparedRequest, *args: Any, timeout: Any = None, **kwargs: Any
    ) -> requests.Response:
        """Send ``request`` and read the response; all options except ``timeout`` are ignored."""
        timeout = timeout or (CONNECT_SECONDS, ANSWER_SECONDS)
        deadline = monotonic() + timeout[1]
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(request.url or ""))
        proxies = self._proxies_for(origin)
        try:
            response = super().send(request, True, timeout, verify=True, proxies=proxies)
            response.raw = io.BytesIO(_read(response.raw, deadline))
        except urllib3.exceptions.ReadTimeoutError as error:
            raise requests.ReadTimeout(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(error) from error
        return response


def _proxies_for(origin: str) -> dict[str, str]:
    """Return the environment's proxies, or none for this machine and for hosts in ``no_proxy``.

    169.254.0.0/16 counts as this machine, because Azure's managed identity endpoint is there.
    """
    host = urlsplit(origin).hostname or ""
    is_local = host in ("localhost", "::1") or re.fullmatch(r"(127\.\d+|169\.254)(\.\d+){2}", host)
    return {} if is_local else get_environ_proxies(origin)


def _read(raw: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """Return the decoded body unless it is too large or arrives too slowly."""
    body = bytearray()
    try:
        # read1 returns the bytes that have arrived; read would wait for a whole chunk.
        while chunk := raw.read1(65536, decode_content=True):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise requests.ConnectionError("The answer is too large.")
            if monotonic() > deadline:
                raise requests.ReadTimeout("The answer takes too long.")
    finally:
        raw.close()  # after a complete body, the connection is already back in the pool
    return bytes(body)


def json_object(response: requests.Response) -> dict[str, Any] | None:
    """Return the JSON object in the body, or ``None`` if there is anything else."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def retry_after_seconds(response: requests.Response, most: int) -> int | None:
    """Return the seconds to wait (1 to ``most``) that ``Retry-After`` asks for, or ``None``.

    RFC 9110 section 10.2.3: a number of seconds or a date.
    """
    value = response.headers.get("Retry-After", "")
    try:
        seconds = urllib3.Retry().parse_retry_after(value)
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None
    return max(1, min(int(seconds), most))
