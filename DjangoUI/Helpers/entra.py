"""Talk HTTP to Microsoft Entra ID: the client that MSAL uses, and the tenant's discovery document.

Format of the document: https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc
"""

import re
import threading
from functools import cache
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import requests
from django.conf import settings

from Helpers.errors import Problem
from Helpers.http_session import http_session, retry_after_seconds
from Helpers.request_context import correlation_id

KEEP_SECONDS = 24 * 60 * 60
RETRY_SECONDS = 10  # so long a failed discovery is not tried again
MAX_RETRY_AFTER_SECONDS = 120
ADDRESS = re.compile(r"https?://[\w.-]+(?::\d+)?/[!-~]*", re.ASCII)
NEEDED = {"issuer", "authorization_endpoint", "token_endpoint"}  # of the discovery document

_building = threading.Lock()


def entra() -> "EntraClient":
    """Return the client that all threads share. It holds connections, never credentials."""
    with _building:
        return _entra(settings.AUTHORITY, settings.CA_BUNDLE)


@cache
def _entra(authority: str, ca_bundle: str) -> "EntraClient":
    return EntraClient(authority, http_session(ca_bundle))


class EntraClient:
    """The ``http_client`` that MSAL asks for: lets only OAuth answers through to it.

    MSAL reads the discovery document whenever a client is built, which here is once per request
    and user, so that document is kept. Nothing else is: what Entra answered to one user must
    never reach another.

    :raises Problem: ``entra_unavailable`` or ``entra_busy``, from each call.
    """

    def __init__(self, authority: str, session: requests.Session) -> None:
        self._authority = authority
        self._discovery_url = f"{authority}/v2.0/.well-known/openid-configuration"
        self._session = session
        self._lock = threading.Lock()
        self._document: requests.Response | None = None
        self._keep_until = 0.0
        self.known_discovery: dict[str, str] = {}  # what _document says

    def discovery(self) -> dict[str, str]:
        """Return the tenant's discovery document, from memory or from Entra."""
        self.get(self._discovery_url)
        return self.known_discovery

    def get(self, url: str, **kwargs: Any) -> requests.Response:
        if url != self._discovery_url:
            return self._send("GET", url, **kwargs)
        # One thread asks; the others wait for it only if there is no older document to go on with.
        is_old = monotonic() > self._keep_until
        if is_old and self._lock.acquire(blocking=self._document is None):
            try:
                document = self._discover(url, **kwargs)
            finally:
                self._lock.release()
        else:
            document = self._document
        if document is None:
            raise Problem("entra_unavailable", "discovery failed a moment ago")
        return document

    def _discover(self, url: str, **kwargs: Any) -> requests.Response | None:
        if monotonic() <= self._keep_until:  # another thread has asked meanwhile
            return self._document
        keep_seconds = RETRY_SECONDS
        try:
            response = self._send("GET", url, **kwargs)
            # Browsers are sent to these, and one is part of a header: addresses and nothing else.
            found = {
                key: text
                for key, text in response.json().items()
                if isinstance(text, str) and ADDRESS.fullmatch(text)
            }
            if not response.ok and self._document is None:
                keep_seconds = 0
                return response  # for instance an unknown tenant: MSAL says so
            if not response.ok or not found.keys() >= NEEDED:
                raise Problem("entra_unavailable", "no complete discovery document")
            # MSAL takes whatever address it names. The secret goes to the authority alone.
            if not found["token_endpoint"].startswith(f"{self._authority}/"):
                raise Problem("entra_unavailable", "discovery leads elsewhere")
            self._document, self.known_discovery = response, found
            keep_seconds = KEEP_SECONDS
        except Problem:
            if self._document is None:
                raise
        finally:
            self._keep_until = monotonic() + keep_seconds
        return self._document

    def post(self, url: str, **kwargs: Any) -> requests.Response:
        return self._send("POST", url, **kwargs)

    def close(self) -> None:
        """Do nothing: all threads share the session."""

    def _send(
        self, method: str, url: str, headers: dict[str, str] | None = None, **kwargs: Any
    ) -> requests.Response:
        headers = {**(headers or {}), "client-request-id": correlation_id.get()}
        try:
            response = self._session.request(method, url, headers=headers, **kwargs)
            is_object = isinstance(response.json(), dict)
        except (requests.RequestException, ValueError, RecursionError) as error:
            raise Problem("entra_unavailable", type(error).__name__) from error
        if response.status_code == 429:
            wait = retry_after_seconds(response, MAX_RETRY_AFTER_SECONDS)
            raise Problem("entra_busy", "status 429", retry_after=wait)
        if response.status_code >= 500 or not is_object:
            raise Problem("entra_unavailable", f"status {response.status_code}")
        return response


def end_session_address() -> str:
    """Return where Entra signs users out: ``LOGOUT_URL``, else what discovery says.

    :raises Problem: if Entra has to be asked, and can't be.
    """
    return settings.LOGOUT_URL or entra().discovery().get("end_session_endpoint", "")


def end_session_origin() -> str:
    """Return the origin of that address for the Content-Security-Policy, without asking Entra."""
    url = urlsplit(
        settings.LOGOUT_URL
        or entra().known_discovery.get("end_session_endpoint")
        or settings.AUTHORITY
    )
    return f"{url.scheme}://{url.netloc}"
