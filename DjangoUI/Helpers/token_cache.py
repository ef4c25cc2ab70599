"""The signed-in user's MSAL token cache, encrypted in the session on the server."""

from collections.abc import Iterator
from contextlib import contextmanager

import msal
from django.contrib.sessions.backends.base import SessionBase

from Helpers.encryption import decrypt, encrypt
from Helpers.session import TOKEN_CACHE


@contextmanager
def token_cache(session: SessionBase) -> Iterator[msal.SerializableTokenCache]:
    """Yield the token cache of ``session``, and save it if MSAL changed it.

    Two requests may renew a token at the same time. The one that saves last wins, and nothing is
    lost, because Entra keeps the older refresh token valid. A cache that can't be decrypted, for
    example after a change of keys, counts as empty.
    """
    tokens = msal.SerializableTokenCache()
    tokens.deserialize(decrypt(TOKEN_CACHE, session.get(TOKEN_CACHE, "")))
    yield tokens
    if tokens.has_state_changed:
        session[TOKEN_CACHE] = sealed(tokens)


def sealed(tokens: msal.SerializableTokenCache) -> str:
    """Return ``tokens`` encrypted, as stored in the session."""
    return encrypt(TOKEN_CACHE, tokens.serialize())
