"""Parsing a claims challenge takes linear time and returns only JSON objects."""

import base64
import signal

import pytest

from helpers.claims_challenges import checked_claims, claims_of_challenge, encode_claims

CLAIMS = '{"access_token":{"nbf":{"essential":true,"value":"1"}}}'
ENCODED = base64.b64encode(CLAIMS.encode()).decode()
DEEP = '{"a":' + "[" * 3000
LISTED = '{"access_token":[]}'
URLSAFE = base64.urlsafe_b64encode('{"a":"\u00ff\u00fe>>>???"}'.encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        f'Bearer claims="{ENCODED}"',
        f'Bearer realm="", error="insufficient_claims", claims="{ENCODED}"',
        f'bearer claims="{ENCODED}"',
        f"Bearer claims={ENCODED.rstrip('=')}",
        f'Bearer claims = "{ENCODED}" , error="x"',
        f'PoP nonce="n", Bearer error="x", claims="{ENCODED}"',
        f'Bearer claims="{ENCODED}", PoP nonce="n"',
        f'PoP claims="x", Bearer claims="{ENCODED}"',
        f'Bearer realm="a, \\"Bearer claims=x", claims="{ENCODED}"',
    ],
)
def test_finds_the_claims_of(header):
    assert claims_of_challenge(header) == CLAIMS


def test_accepts_the_url_safe_alphabet():
    assert "-" in URLSAFE or "_" in URLSAFE
    assert claims_of_challenge(f'Bearer claims="{URLSAFE.rstrip("=")}"') is not None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        'Bearer error="invalid_token"',
        f'PoP claims="{ENCODED}"',
        f'claims="{ENCODED}"',
        f'Bearer claims="{ENCODED}',
        f'Bearer claims="{ENCODED}" "more"',
        f'Bearer claims="%%%%{ENCODED}"',
        f'Bearer claims="{encode_claims(DEEP)}"',
        f'Bearer claims="{encode_claims(LISTED)}"',
        'Bearer claims="%%%"',
        'Bearer claims=""',
        f'Bearer claims="{base64.b64encode(b"[]").decode()}"',
        f'Bearer claims="{base64.b64encode(b"no JSON").decode()}"',
        f'Bearer claims="{base64.b64encode(bytes([255, 254])).decode()}"',
        f'Bearer claims="{encode_claims(chr(123) + "[" * 3000)}"',
        f'Bearer claims="{encode_claims("{" + chr(34) + "x" * 5000 + chr(34) + ":1}")}"',
    ],
)
def test_finds_nothing_in(header):
    assert claims_of_challenge(header) is None


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param("a" * 16_000, id="one-long-name"),
        pytest.param("a=" * 8_000, id="equals-signs"),
        pytest.param('a="' * 5_000, id="open-quotes"),
        pytest.param("Bearer " + "a, " * 5_000, id="many-schemes"),
        pytest.param('\\"' * 8_000, id="backslashes"),
        pytest.param(" " * 16_000, id="spaces"),
    ],
)
def test_reads_a_megabyte_of_a_hostile_header_in_linear_time(hostile):
    """A parser that needs 10 ms for 16 KB would need over half a minute here if it were quadratic.

    The limit is on the time of this process, whatever else the machine does.
    """

    def give_up(*_):
        raise AssertionError("not linear")

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, 10)
    try:
        assert claims_of_challenge(hostile * 64) is None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_accepts_only_a_json_object_of_limited_size_as_claims():
    assert checked_claims(CLAIMS) == CLAIMS
    longest = '{"x":"%s"}' % ("y" * (4096 - 8))
    assert checked_claims(longest) == longest
    assert checked_claims(f"{longest} ") is None
    for bad in (None, 5, "", "[]", "null", "{", '{"x":"' + "y" * 4096 + '"}', {"a": 1}):
        assert checked_claims(bad) is None
