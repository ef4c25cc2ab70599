"""The HTTP client that MSAL uses to talk to Microsoft Entra ID.

Format of discovery: https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc
"""

import threading
from functools import cache
from time import monotonic
from typing import Any

import requests

from Helpers.correlation import correlation_id
from Helpers.errors import PageError, failure_reason
from Helpers.http_session import http_session, json_object, retry_after_seconds

DISCOVERY_SECONDS = 24 * 60 * 60  # how long a discovery document is used
WAIT_SECONDS = 1.0  # how long a thread waits while another one fetches the first document
MAX_RETRY_AFTER_SECONDS = 120


class EntraClient:
    """MSAL's ``http_client``. It returns only OAuth responses, and caches the discovery document.

    MSAL fetches that document whenever a client is created, which here is once per page. Nothing
    else is cached: Entra's response to one user must never reach another.

    :raises PageError: ``entra_unavailable`` or ``entra_busy``, from each call.
    """

    def __init__(self, authority: str, ca_bundle: str) -> None:
        self._authority = authority
        self._session = http_session(ca_bundle)
        self._fetching = threading.Lock()
        self._discovery: requests.Response | None = None
        self._expires = 0.0

    def get(self, url: str, **kwargs: Any) -> requests.Response:
        """Return the discovery document, or the response of a managed identity's endpoint."""
        if not url.startswith(f"{self._authority}/"):
            return self._send("GET", url, **kwargs)
        if self._discovery and monotonic() < self._expires:
            return self._discovery
        # One thread fetches it. The others use the old document, or wait a second for the first.
        if self._fetching.acquire(timeout=0 if self._discovery else WAIT_SECONDS):
            try:
                return self._fetch_discovery(url, **kwargs)
            finally:
                self._fetching.release()
        if not self._discovery:
            raise PageError("entra_unavailable", "discovery takes too long")
        return self._discovery

    def post(self, url: str, **kwargs: Any) -> requests.Response:
        if not url.startswith(f"{self._authority}/"):  # MSAL would send the secret to any address
            raise PageError("entra_unavailable", "discovery names a foreign token endpoint")
        return self._send("POST", url, **kwargs)

    def close(self) -> None:
        """Do nothing: all threads share the session."""

    def _fetch_discovery(self, url: str, **kwargs: Any) -> requests.Response:
        if self._discovery and monotonic() < self._expires:  # another thread has fetched it
            return self._discovery
        try:
            response = self._send("GET", url, **kwargs)
            if (json_object(response) or {}).get("issuer") == f"{self._authority}/v2.0":
                self._discovery, self._expires = response, monotonic() + DISCOVERY_SECONDS
            elif response.ok:
                raise PageError("entra_unavailable", "not this tenant's discovery document")
        except PageError:
            if not self._discovery:
                raise
        return self._discovery or response  # a 4xx: MSAL raises ValueError for an unknown tenant

    def _send(
        self, method: str, url: str, headers: dict[str, str] | None = None, **kwargs: Any
    ) -> requests.Response:
        headers = {**(headers or {}), "client-request-id": correlation_id.get()}
        try:
            response = self._session.request(method, url, headers=headers, **kwargs)
        except requests.RequestException as error:
            raise PageError("entra_unavailable", failure_reason(error)) from error
        if response.status_code == 429:
            wait = retry_after_seconds(response, MAX_RETRY_AFTER_SECONDS)
            raise PageError("entra_busy", "status 429", retry_after=wait)
        if response.status_code >= 500 or json_object(response) is None:
            raise PageError("entra_unavailable", f"status {response.status_code}")
        return response


@cache
def entra_client(authority: str, ca_bundle: str) -> EntraClient:
    """Return the client that all threads share. It holds connections, never credentials."""
    return EntraClient(authority, ca_bundle)
