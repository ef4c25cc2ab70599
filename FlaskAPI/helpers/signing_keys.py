"""The tenant's signing keys (JWKS), found through discovery, kept, and refreshed.

The rules follow https://learn.microsoft.com/entra/identity-platform/signing-key-rollover.
"""

import logging
import threading
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from helpers.errors import AuthError, DownstreamError

REFRESH_SECONDS = 60 * 60  # after this the next request starts a refresh and does not wait for it
USABLE_SECONDS = 24 * 60 * 60  # so long the last good keys do while Entra can't be reached
UNKNOWN_KEY_SECONDS = 5 * 60  # between two refreshes that an unknown key ID may cause
RETRY_SECONDS = 5  # after a failed refresh
MIN_KEY_BITS = 2048

logger = logging.getLogger(__name__)


class SigningKeys:
    """Keys by key ID (``kid``). One object serves all threads; nothing is loaded before a use."""

    def __init__(self, session: requests.Session, issuer: str) -> None:
        self._session = session
        self._issuer = issuer
        self._keys: dict[str, jwt.PyJWK] = {}  # replaced as a whole, never changed
        self._loaded_at = -float("inf")
        self._tried_at = -float("inf")
        self._unknown_at = -float("inf")
        self._refreshing = threading.Lock()

    def find(self, kid: str) -> jwt.PyJWK:
        """Return the key that ``kid`` names.

        :raises AuthError: ``invalid_token`` when the tenant has no such key.
        :raises DownstreamError: ``keys_unavailable`` when no keys could be loaded.
        """
        age = monotonic() - self._loaded_at
        if age > USABLE_SECONDS:
            self._load_first(kid)
        elif age > REFRESH_SECONDS:
            self._refresh_in_background()
        key = self._keys.get(kid) or self._find_new(kid)
        if key is None:
            raise AuthError("invalid_token", "unknown signing key")
        return key

    def _load_first(self, kid: str) -> None:
        with self._refreshing:
            if monotonic() - self._loaded_at > USABLE_SECONDS:
                if monotonic() - self._tried_at > RETRY_SECONDS:
                    self._refresh()
                if monotonic() - self._loaded_at > USABLE_SECONDS:
                    raise DownstreamError("keys_unavailable")
                if kid not in self._keys:  # looked up in keys that could not be newer
                    self._unknown_at = monotonic()

    def _find_new(self, kid: str) -> jwt.PyJWK | None:
        """Look again after a refresh: the tenant may have begun to sign with a new key."""
        if monotonic() - self._unknown_at > UNKNOWN_KEY_SECONDS:
            with self._refreshing:
                # Others may have waited for the same refresh; failed tries count as well.
                if kid not in self._keys and monotonic() - self._unknown_at > UNKNOWN_KEY_SECONDS:
                    self._unknown_at = monotonic()
                    self._refresh()
        return self._keys.get(kid)

    def _refresh_in_background(self) -> None:
        if monotonic() - self._tried_at < RETRY_SECONDS:
            return
        if self._refreshing.acquire(blocking=False):

            def refresh() -> None:
                try:
                    self._refresh()
                finally:
                    self._refreshing.release()

            threading.Thread(target=refresh, name="signing-keys", daemon=True).start()

    def _refresh(self) -> None:
        """Replace the keys; after any failure the old ones stay. Call with the lock held."""
        self._tried_at = monotonic()
        try:
            keys = self._download()
        except (requests.RequestException, ValueError, RecursionError) as error:
            logger.warning("signing keys not refreshed: %s", error)
            return
        self._keys, self._loaded_at = keys, monotonic()
        logger.info("signing keys loaded: %s", ", ".join(keys))

    def _download(self) -> dict[str, jwt.PyJWK]:
        """Return the usable keys.

        :raises requests.RequestException: when Entra can't be reached or answers an error.
        :raises ValueError: when an answer is not what it should be.
        """
        metadata = self._get_json(f"{self._issuer}/.well-known/openid-configuration")
        if metadata.get("issuer") != self._issuer:
            raise ValueError("discovery names another issuer than ISSUER")
        jwks_uri = str(metadata.get("jwks_uri"))
        if urlsplit(jwks_uri)[:2] != urlsplit(self._issuer)[:2]:
            raise ValueError("discovery names signing keys on another host")
        jwks = self._get_json(jwks_uri).get("keys")
        keys = {}
        for jwk in jwks if isinstance(jwks, list) else []:
            if key := self._usable(jwk):
                keys[str(key.key_id)] = key
        if not keys:
            raise ValueError("no usable key in the answer")
        return keys

    def _get_json(self, url: str) -> dict[str, Any]:
        response = self._session.get(url, timeout=(3.05, 5))
        response.raise_for_status()
        document = response.json()
        if not isinstance(document, dict):
            raise ValueError("not a JSON object")
        return document

    def _usable(self, jwk: Any) -> jwt.PyJWK | None:
        """Return ``jwk`` as a key if it is one that signs this tenant's tokens."""
        tenant = urlsplit(self._issuer).path.split("/")[1]
        try:
            if (
                not isinstance(jwk["kid"], str)
                or jwk["kty"] != "RSA"
                or jwk.get("use", "sig") != "sig"
                or "verify" not in jwk.get("key_ops", ["verify"])
                or jwk.get("issuer", self._issuer).replace("{tenantid}", tenant) != self._issuer
            ):
                return None
            key = jwt.PyJWK(jwk, algorithm="RS256")  # Entra publishes keys without "alg"
        except (jwt.PyJWTError, LookupError, TypeError, ValueError, AttributeError):
            return None  # one entry of another shape does not spoil the others
        strong = isinstance(key.key, RSAPublicKey) and key.key.key_size >= MIN_KEY_BITS
        return key if strong else None
