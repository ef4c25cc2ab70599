"""The cache of access tokens: bounded, and one lock per key."""

import threading
import tracemalloc

import pytest

from helpers import token_cache
from helpers.token_cache import OVERHEAD_BYTES, CachedToken, TokenCache

FOREVER = float("inf")


def token(text="b", expires_at=FOREVER):
    return CachedToken(text, expires_at, FOREVER)


def fits(size, number):
    """A cache for this many tokens of this size."""
    return TokenCache(number * (OVERHEAD_BYTES + size))


def test_evicts_the_least_recently_used_tokens():
    cache = fits(1, 3)
    for key in (b"a", b"b", b"c"):
        cache.put(key, token())
    cache.get(b"a")
    cache.put(b"d", token())
    assert [key for key in (b"a", b"b", b"c", b"d") if cache.get(key)] == [b"a", b"c", b"d"]


@pytest.mark.parametrize(
    "long",
    [
        pytest.param(CachedToken("b" * OVERHEAD_BYTES, FOREVER, FOREVER), id="text"),
        pytest.param(CachedToken("b", FOREVER, FOREVER, "c" * OVERHEAD_BYTES), id="claims"),
    ],
)
def test_a_token_evicts_several_others_if_it_has_long(long):
    cache = fits(1, 3)
    for key in (b"a", b"b", b"c"):
        cache.put(key, token())
    cache.put(b"d", long)
    assert [key for key in (b"a", b"b", b"c", b"d") if cache.get(key)] == [b"c", b"d"]


def test_keeps_no_more_than_64_mib_of_memory_by_default():
    """Add 30,000 tokens of the usual size, of which about 27,000 fit."""
    tracemalloc.start()
    cache = TokenCache()
    for number in range(30_000):
        cache.put(number.to_bytes(32), token(f"{number:01500}"))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 20_000 * 1500 < used < 64 * 1024 * 1024


def test_keeps_no_lock_after_its_use():
    cache = TokenCache()
    tracemalloc.start()
    for number in range(1000):
        with cache.lock(number.to_bytes(32), 1):
            pass
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 20_000  # 20 bytes for each key


def test_forgets_a_token_when_it_expires(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(token_cache, "monotonic", lambda: now[0])
    cache = TokenCache()
    cache.put(b"a", token(expires_at=10.0))
    now[0] = 9.9
    assert cache.get(b"a")
    now[0] = 10.0
    assert cache.get(b"a") is None


def test_removes_only_the_given_token():
    cache = TokenCache()
    cache.put(b"a", token("new"))
    cache.remove(b"a", "old")
    assert cache.get(b"a")
    cache.remove(b"a", "new")
    assert cache.get(b"a") is None
    cache.remove(b"a", "new")


def test_locks_a_key_and_no_other():
    cache = TokenCache()
    with cache.lock(b"a", 1) as first:
        assert first
        with cache.lock(b"a", 0.01) as second, cache.lock(b"b", 0.01) as other:
            assert (second, other) == (False, True)
    with cache.lock(b"a", 0) as again:
        assert again


def test_the_lock_survives_when_its_token_is_dropped():
    cache = fits(1, 1)
    with cache.lock(b"a", 1):
        cache.put(b"b", token())
        with cache.lock(b"a", 0) as second:
            assert not second


def test_the_lock_is_free_after_an_error():
    cache = TokenCache()
    with pytest.raises(ZeroDivisionError), cache.lock(b"a", 1):
        raise ZeroDivisionError
    with cache.lock(b"a", 0) as acquired:
        assert acquired


def test_one_thread_at_a_time_holds_the_lock_of_a_key():
    cache, inside, most = TokenCache(), [0], [0]

    def work():
        for _ in range(200):
            with cache.lock(b"a", 60):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
