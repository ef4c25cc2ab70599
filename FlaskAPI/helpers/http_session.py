"""How this app talks to other servers: one recipe for trust, proxies, time and size.

MSAL, the signing keys and the downstream call all use sessions made here.
"""

import ssl
from functools import lru_cache
from io import BytesIO
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, should_bypass_proxies

CONNECT_SECONDS = 3.05
ANSWER_SECONDS = 10.0
POOL_SIZE = 32  # idle connections kept per host; more threads than this still work
MAX_BODY_BYTES = 8 * 1024 * 1024


def http_session(ca_bundle: str = "") -> requests.Session:
    """Return a session that trusts the public roots and, in addition, ``ca_bundle`` (PEM file).

    It follows no redirects, keeps no cookies, and belongs to no user: pass credentials with each
    request, never through ``session.headers``. A request without ``timeout`` gets
    ``(CONNECT_SECONDS, ANSWER_SECONDS)``; a failed connection is tried once more.

    :raises requests.RequestException: from each call, for every way in which it can fail.
    """
    session = requests.Session()
    # The environment is read here, once. Left on, requests would look at it for every call and
    # let REQUESTS_CA_BUNDLE silently replace the trust that is set up below.
    session.trust_env = False
    session.max_redirects = 0
    trust = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
    if ca_bundle:
        trust.load_verify_locations(cafile=ca_bundle)
    adapter = BoundedAdapter(trust, getproxies())
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class BoundedAdapter(HTTPAdapter):
    """Reads the whole answer within a deadline and a size limit, over trusted TLS only."""

    def __init__(self, trust: ssl.SSLContext, proxies: dict[str, str]) -> None:
        self._trust = trust
        self._proxies = proxies
        self._bypasses_proxies = lru_cache(maxsize=64)(should_bypass_proxies)
        # A request whose connection failed never reached the server, so even a POST may go again.
        retry = urllib3.Retry(
            connect=1, read=0, status=0, redirect=0, other=0, respect_retry_after_header=False
        )
        super().__init__(pool_maxsize=POOL_SIZE, max_retries=retry)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._trust)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, **kwargs, ssl_context=self._trust)

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the SSL context already holds all that is trusted."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send ``request``; the second value of ``timeout`` bounds the answer as a whole."""
        connect, answer = timeout or (CONNECT_SECONDS, ANSWER_SECONDS)
        deadline = monotonic() + connect + answer
        response = super().send(
            request,
            stream=True,
            timeout=(connect, answer),
            verify=True,  # whatever the caller says
            proxies=self._proxies_for(request.url or ""),
        )
        response.raw = BytesIO(_read(response.raw, deadline))
        return response

    def _proxies_for(self, url: str) -> dict[str, str]:
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        if not self._proxies or self._bypasses_proxies(origin, self._proxies.get("no")):
            return {}
        return self._proxies


def _read(raw: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """Return the decoded body. Unlike ``iter_content``, this notices a body that only drips."""
    body = bytearray()
    try:
        while chunk := raw.read1(65536, decode_content=True):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise requests.ConnectionError("The answer is too large.")
            if monotonic() > deadline:
                raise requests.ReadTimeout("The answer took too long.")
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.ReadTimeout(error) from error
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error
    finally:
        # A body that was read to its end has given its connection back to the pool already.
        if not raw.closed:
            raw.close()
    return bytes(body)


def retry_after_seconds(response: requests.Response, most: int) -> int | None:
    """Return the whole seconds, 1 to ``most``, that ``Retry-After`` asks to wait, if it does.

    RFC 9110 section 10.2.3: a number of seconds or a date.
    """
    value = response.headers.get("Retry-After", "")
    try:
        seconds = urllib3.Retry().parse_retry_after(value)
    except urllib3.exceptions.InvalidHeader:
        return None
    return max(1, min(int(seconds), most))
