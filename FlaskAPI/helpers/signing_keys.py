"""The tenant's signing keys (JWKS): discover, cache and refresh them.

The rules follow https://learn.microsoft.com/entra/identity-platform/signing-key-rollover.
"""

import logging
from contextlib import suppress
from threading import Lock, Thread
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from helpers.errors import AuthError, DownstreamError
from helpers.http_session import CONNECT_SECONDS, json_object

REFRESH_SECONDS = 60 * 60  # after this, the next request starts a refresh in the background
USABLE_SECONDS = 24 * 60 * 60  # use the last good keys this long while Entra can't be reached
UNKNOWN_KEY_SECONDS = 60  # at least this long between refreshes for unknown key IDs
RETRY_SECONDS = 5  # after a failed refresh
WAIT_SECONDS = 1  # for another request's refresh, which anyone can cause with a made-up key ID
ANSWER_SECONDS = 5  # for each of the two documents, discovery and keys
MIN_KEY_BITS = 2048

logger = logging.getLogger(__name__)


class SigningKeys:
    """Signing keys by key ID (``kid``), shared by all threads and loaded on first use."""

    def __init__(self, session: requests.Session, issuer: str) -> None:
        self._session = session
        self._issuer = issuer
        self._keys: dict[str, jwt.PyJWK] = {}  # replaced as a whole, never changed
        self._loaded_at = self._tried_at = self._unknown_at = -float("inf")
        self._refreshing = Lock()

    def find(self, kid: str) -> jwt.PyJWK:
        """Return the key with the ID ``kid``.

        :raises AuthError: ``invalid_token`` if the tenant has no such key.
        :raises DownstreamError: ``keys_unavailable`` if no keys could be loaded.
        """
        if self._is_usable() and self._is_due(None) and not self._refreshing.locked():
            thread = Thread(target=self._refresh, args=(None, 0), name="signing-keys", daemon=True)
            with suppress(RuntimeError):  # no thread available: a later request tries again
                thread.start()
        self._refresh(kid, WAIT_SECONDS)
        if not self._is_usable():
            raise DownstreamError("keys_unavailable")
        if kid not in (keys := self._keys):
            raise AuthError("invalid_token", "unknown signing key")
        return keys[kid]

    def _is_usable(self) -> bool:
        return monotonic() - self._loaded_at <= USABLE_SECONDS

    def _is_due(self, kid: str | None) -> bool:
        """Return whether to load keys: for ``kid``, or (None) because the current ones are old."""
        now = monotonic()
        if kid is not None and self._is_usable():
            return kid not in self._keys and now - self._unknown_at > UNKNOWN_KEY_SECONDS
        return now - self._loaded_at > REFRESH_SECONDS and now - self._tried_at > RETRY_SECONDS

    def _refresh(self, kid: str | None, wait: float) -> None:
        """Replace the keys if that is due, unless another request has just done so.

        After a failure the old keys stay.
        """
        if not self._is_due(kid) or not self._refreshing.acquire(timeout=wait):
            return
        try:
            if self._is_due(kid):
                keys = self._download()
                self._keys, self._loaded_at = keys, monotonic()
                logger.info("signing keys loaded: %s", ", ".join(keys))
        except (requests.RequestException, ValueError) as error:
            logger.warning("signing keys not refreshed: %s", error)
        finally:
            self._tried_at = monotonic()
            if kid and kid not in self._keys:
                self._unknown_at = self._tried_at  # failures count as well
            self._refreshing.release()

    def _download(self) -> dict[str, jwt.PyJWK]:
        """Return the usable keys.

        :raises requests.RequestException: if Entra can't be reached.
        :raises ValueError: if a response is malformed.
        """
        metadata = self._get_json(f"{self._issuer}/.well-known/openid-configuration")
        if metadata.get("issuer") != self._issuer:
            raise ValueError("discovery names an issuer other than ISSUER")
        jwks_uri = str(metadata.get("jwks_uri"))
        if urlsplit(jwks_uri)[:2] != urlsplit(self._issuer)[:2]:
            raise ValueError("discovery names signing keys on another host")
        jwks = self._get_json(jwks_uri).get("keys")
        cloud = metadata.get("cloud_instance_name")
        usable = [self._usable(jwk, cloud) for jwk in (jwks if isinstance(jwks, list) else [])]
        keys = {str(key.key_id): key for key in usable if key}
        if not keys:
            raise ValueError("no usable key in the answer")
        return keys

    def _get_json(self, url: str) -> dict[str, Any]:
        response = self._session.get(url, timeout=(CONNECT_SECONDS, ANSWER_SECONDS))
        document = json_object(response)
        if response.status_code != 200 or document is None:
            raise ValueError(f"status {response.status_code}, or not a JSON object")
        return document

    def _usable(self, jwk: Any, cloud: object) -> jwt.PyJWK | None:
        """Return ``jwk`` as a key if it signs tokens of this tenant, in this national cloud."""
        tenant = urlsplit(self._issuer).path.split("/")[1]
        expected = {"alg": "RS256", "use": "sig", "cloud_instance_name": cloud}
        try:
            key = jwt.PyJWK(jwk, algorithm="RS256")  # Entra publishes keys without "alg"
            is_usable = (
                all(jwk.get(name, value) == value for name, value in expected.items() if value)
                and "verify" in jwk.get("key_ops", ["verify"])
                and jwk.get("issuer", self._issuer).replace("{tenantid}", tenant) == self._issuer
                and isinstance(key.key_id, str)
                and isinstance(key.key, RSAPublicKey)
                and key.key.key_size >= MIN_KEY_BITS
            )
        except Exception:  # one malformed key must not hide the others
            return None
        return key if is_usable else None
