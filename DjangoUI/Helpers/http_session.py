"""How this app talks to other servers: one recipe for trust, proxies, time and size.

MSAL and the call to the API use sessions made here.
"""

import io
import socket
import ssl
from functools import lru_cache
from http.client import HTTPResponse
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, should_bypass_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection

CONNECT_SECONDS = 3.05
ANSWER_SECONDS = 10.0
POOL_SIZE = 32  # idle connections kept per host; more threads than this still work
MAX_BODY_BYTES = 8 * 1024 * 1024


def http_session(ca_bundle: str = "") -> requests.Session:
    """Return a session that trusts the public roots and, in addition, ``ca_bundle`` (PEM file).

    It follows no redirects, keeps no cookies, tries nothing twice, and belongs to no user: pass
    credentials with each request, never through ``session.headers``. ``timeout`` is that of
    requests, but the time for reading bounds the whole answer, head and body; without it,
    ``(CONNECT_SECONDS, ANSWER_SECONDS)`` hold.

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
        super().__init__(pool_maxsize=POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._trust)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs, ssl_context=self._trust)
        manager.pool_classes_by_scheme = POOLS
        return manager

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
        """Send ``request`` and read the answer; of the options, only ``timeout`` counts."""
        timeout = timeout or (CONNECT_SECONDS, ANSWER_SECONDS)
        proxies = self._proxies_for(request.url or "")
        try:
            response = super().send(request, True, timeout, verify=True, proxies=proxies)
            response.raw = io.BytesIO(_read(response.raw))
        except urllib3.exceptions.ReadTimeoutError as error:
            raise requests.ReadTimeout(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(error) from error
        return response

    def _proxies_for(self, url: str) -> dict[str, str]:
        if not self._proxies:
            return {}
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        return {} if self._bypasses_proxies(origin, self._proxies.get("no")) else self._proxies


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until its timeout is over, all reads together instead of each."""

    def __init__(self, sock: socket.socket, raw: Any) -> None:
        self._sock = sock
        self._raw = raw
        self._deadline = monotonic() + (sock.gettimeout() or ANSWER_SECONDS)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    """An answer that has to arrive in time: one that drips would otherwise never end."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(sock, self.fp.detach()))


class _HTTPConnection(HTTPConnection):
    response_class = _Answer


class _HTTPSConnection(HTTPSConnection):
    response_class = _Answer


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


def _read(raw: urllib3.BaseHTTPResponse) -> bytes:
    """Return the decoded body, if it is not too large."""
    body = bytearray()
    try:
        while chunk := raw.read1(65536, decode_content=True):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise requests.ConnectionError("The answer is too large.")
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
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None
    return max(1, min(int(seconds), most))
