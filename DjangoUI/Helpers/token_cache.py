"""The signed-in user's MSAL token cache: it lives in the session, on the server, encrypted."""

from collections.abc import Iterator
from contextlib import contextmanager

import msal
from django.contrib.sessions.backends.base import SessionBase

from Helpers.encryption import decrypt, encrypt
from Helpers.session import TOKEN_CACHE


@contextmanager
def token_cache(session: SessionBase) -> Iterator[msal.SerializableTokenCache]:
    """Open the token cache of ``session``, and put it back if MSAL changed it.

    Two requests may renew a token at once; the one that saves last wins, and nothing is lost,
    since Entra leaves the older refresh token valid. A cache that can't be read (after a change
    of keys) is an empty one.
    """
    tokens = msal.SerializableTokenCache()
    tokens.deserialize(decrypt(TOKEN_CACHE, session.get(TOKEN_CACHE, "")))
    yield tokens
    if tokens.has_state_changed:
        session[TOKEN_CACHE] = sealed(tokens)


def sealed(tokens: msal.SerializableTokenCache) -> str:
    """Return ``tokens`` as the session keeps them."""
    return encrypt(TOKEN_CACHE, tokens.serialize())
