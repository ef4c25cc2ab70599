"""A cache of access tokens in this process's memory, bounded by bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from weakref import WeakValueDictionary

from cachetools import TLRUCache

MAX_BYTES = 64 * 1024 * 1024
OVERHEAD_BYTES = 1024  # of one entry, in addition to its strings; rounded up


@dataclass(slots=True)
class CachedToken:
    """An access token. Times are seconds of ``time.monotonic``, which clock changes don't move."""

    text: str  # empty while Entra throttles requests for this token
    expires_at: float
    refresh_at: float
    claims: str | None = None  # the JSON of the claims challenge that it satisfies


class TokenCache:
    """Tokens by key. If they exceed ``max_bytes``, the least recently used are removed first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._lock = Lock()
        self._tokens: TLRUCache[bytes, CachedToken] = TLRUCache(
            max_bytes,
            ttu=lambda _key, token, _now: token.expires_at,
            timer=monotonic,
            getsizeof=lambda token: OVERHEAD_BYTES + len(token.text) + len(token.claims or ""),
        )
        # A lock exists as long as a thread holds or awaits it.
        self._key_locks: WeakValueDictionary[bytes, Lock] = WeakValueDictionary()

    def get(self, key: bytes) -> CachedToken | None:
        """Return the token of ``key``, or ``None`` if there is none or it has expired."""
        with self._lock:
            token: CachedToken | None = self._tokens.get(key)
            return token

    def put(self, key: bytes, token: CachedToken) -> None:
        """Replace the token of ``key``."""
        with self._lock:
            self._tokens[key] = token

    def remove(self, key: bytes, text: str) -> None:
        """Remove the token of ``key``, unless another one has replaced it."""
        with self._lock:
            token = self._tokens.get(key)
            if token and token.text == text:
                del self._tokens[key]

    @contextmanager
    def lock(self, key: bytes, seconds: float) -> Iterator[bool]:
        """Hold the lock of ``key``; yield whether it was free within ``seconds``."""
        with self._lock:
            key_lock = self._key_locks.setdefault(key, Lock())
        acquired = key_lock.acquire(timeout=seconds)
        try:
            yield acquired
        finally:
            if acquired:
                key_lock.release()
