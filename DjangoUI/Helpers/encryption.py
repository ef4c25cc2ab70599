"""Encrypt token caches for the session store, and unfinished sign-ins for cookies."""

import base64
import zlib
from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def encrypt(purpose: str, text: str) -> str:
    """Return ``text``, compressed and encrypted with a key for ``purpose``."""
    return _keys(purpose).encrypt(zlib.compress(text.encode())).decode()


def decrypt(purpose: str, token: str, max_age: int | None = None) -> str | None:
    """Return the text, or ``None`` if ``encrypt`` did not make ``token`` with a key of this app.

    :param max_age: reject tokens that are older, in seconds.
    """
    try:
        return zlib.decompress(_keys(purpose).decrypt(token.encode(), ttl=max_age)).decode()
    except InvalidToken:
        return None


def _keys(purpose: str) -> MultiFernet:
    return _derive(purpose, settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


@cache
def _derive(purpose: str, *secrets: str) -> MultiFernet:
    """Derive a key for ``purpose`` from each secret. The first encrypts, all decrypt."""
    return MultiFernet(
        Fernet(
            base64.urlsafe_b64encode(
                HKDF(SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret.encode())
            )
        )
        for secret in secrets
    )
