"""The tenant's signing keys: which are cached, when they are refreshed, which are rejected."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
import requests
import responses
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from helpers import signing_keys
from helpers.errors import AuthError, DownstreamError
from helpers.http_session import http_session
from helpers.signing_keys import SigningKeys
from tests.unit.conftest import Tenant
from tests.unit.flask_api.conftest import ISSUER, OTHER_TENANT_ID, TENANT_ID


@pytest.fixture
def keys(tenant, clock) -> SigningKeys:
    return SigningKeys(http_session(), ISSUER)


def publish(tenant, *jwks):
    tenant.network.replace(responses.GET, tenant.metadata["jwks_uri"], json={"keys": list(jwks)})


def fail(tenant, **answer):
    tenant.network.replace(responses.GET, tenant.discovery_url, **answer)


def fetches(tenant):
    return len(tenant.calls("GET", tenant.discovery_url))


def test_nothing_is_loaded_before_the_first_use(tenant, keys):
    assert fetches(tenant) == 0


def test_keys_are_loaded_once(tenant, keys):
    for _ in range(3):
        assert keys.find(tenant.key.kid).key_id == tenant.key.kid
    assert fetches(tenant) == 1


def test_unknown_keys_cause_one_refresh_in_a_minute(tenant, keys, clock):
    keys.find(tenant.key.kid)
    for attempt in range(500):
        with pytest.raises(AuthError):
            keys.find(f"random-{attempt}")
    assert fetches(tenant) == 2
    clock.now += 60 - 1
    with pytest.raises(AuthError):
        keys.find("random")
    assert fetches(tenant) == 2
    clock.now += 2
    with pytest.raises(AuthError):
        keys.find("random")
    assert fetches(tenant) == 3


def test_unknown_keys_on_a_cold_start_cause_one_load(tenant, keys):
    for attempt in range(500):
        with pytest.raises(AuthError):
            keys.find(f"random-{attempt}")
    assert fetches(tenant) == 1


def test_accepts_a_rolled_over_key_within_a_minute_despite_unknown_keys(tenant, keys, clock):
    keys.find(tenant.key.kid)
    with pytest.raises(AuthError):
        keys.find("random")  # uses up this minute's refresh
    publish(tenant, tenant.key.as_jwk(ISSUER), tenant.stranger.as_jwk(ISSUER))
    with pytest.raises(AuthError):
        keys.find(tenant.stranger.kid)
    for _ in range(61):
        clock.now += 1
        with pytest.raises(AuthError):
            keys.find("random")
    assert keys.find(tenant.stranger.kid)
    assert fetches(tenant) == 3


def test_nobody_waits_long_for_the_first_keys_while_entra_hangs(tenant, keys, monkeypatch):
    monkeypatch.setattr(signing_keys, "WAIT_SECONDS", 0.05)
    answered = threading.Event()
    asked = delay(tenant, tenant.discovery_url, tenant.metadata, answered)
    first = threading.Thread(target=in_threads, args=(1, lambda: keys.find(tenant.key.kid)))
    first.start()
    assert asked.wait(5)
    waiting = in_threads(8, lambda: keys.find("random"))
    assert {str(error) for error in waiting} == {"keys_unavailable"}
    assert first.is_alive()
    answered.set()
    first.join()
    assert keys.find(tenant.key.kid)
    assert fetches(tenant) == 1


@pytest.mark.parametrize(
    ("of_discovery", "of_key", "usable"),
    [
        pytest.param("localhost", "localhost", True, id="the-same"),
        pytest.param("localhost", "microsoftonline.us", False, id="another"),
        pytest.param("localhost", None, True, id="none-in-the-key"),
        pytest.param(None, "localhost", True, id="none-in-discovery"),
    ],
)
def test_uses_the_keys_of_its_own_cloud_only(tenant, keys, of_discovery, of_key, usable):
    fail(tenant, json=tenant.metadata | {"cloud_instance_name": of_discovery})
    jwk = tenant.stranger.as_jwk(ISSUER)
    jwk.pop("cloud_instance_name", None)
    publish(
        tenant,
        tenant.key.as_jwk(ISSUER),
        jwk | ({"cloud_instance_name": of_key} if of_key else {}),
    )
    if usable:
        assert keys.find(tenant.stranger.kid)
    else:
        with pytest.raises(AuthError):
            keys.find(tenant.stranger.kid)


def test_a_failed_refresh_counts_for_unknown_keys_too(tenant, keys):
    keys.find(tenant.key.kid)
    fail(tenant, status=500)
    for _ in range(10):
        with pytest.raises(AuthError):
            keys.find("random")
    assert fetches(tenant) == 2
    assert keys.find(tenant.key.kid)


def test_a_new_key_is_found_at_once_and_an_old_one_is_dropped(tenant, keys):
    keys.find(tenant.key.kid)
    publish(tenant, tenant.stranger.as_jwk(ISSUER))
    assert keys.find(tenant.stranger.kid)
    with pytest.raises(AuthError):
        keys.find(tenant.key.kid)


def delay(tenant, url, body, until=None):
    """Make ``url`` respond slowly: when ``until`` is set, or after a moment. Return an event."""
    asked = threading.Event()

    def answer(request):
        asked.set()
        time.sleep(0.05) if until is None else until.wait(10)
        return (500, {}, "") if body is None else (200, {}, json.dumps(body))

    tenant.network.remove(responses.GET, url)
    tenant.network.add_callback(responses.GET, url, answer)
    return asked


def in_threads(number, work):
    """Run ``work`` in several threads at once; return their results or exceptions."""

    def caught():
        try:
            return work()
        except Exception as error:
            return error

    with ThreadPoolExecutor(number) as pool:
        return [future.result() for future in [pool.submit(caught) for _ in range(number)]]


def test_nobody_is_refused_while_a_new_key_is_being_fetched(tenant, keys):
    keys.find(tenant.key.kid)
    new = {"keys": [tenant.stranger.as_jwk(ISSUER)]}
    delay(tenant, tenant.metadata["jwks_uri"], new)
    results = in_threads(20, lambda: keys.find(tenant.stranger.kid))
    assert {key.key_id for key in results} == {tenant.stranger.kid}
    assert fetches(tenant) == 2


def test_unknown_keys_do_not_block_threads_while_entra_hangs(tenant, keys, monkeypatch):
    monkeypatch.setattr(signing_keys, "WAIT_SECONDS", 0.05)
    keys.find(tenant.key.kid)
    answered = threading.Event()
    asked = delay(tenant, tenant.discovery_url, tenant.metadata, answered)
    first = threading.Thread(target=in_threads, args=(1, lambda: keys.find("random")))
    first.start()
    assert asked.wait(5)
    refused = in_threads(5, lambda: keys.find("random"))
    assert all(isinstance(error, AuthError) for error in refused)
    assert first.is_alive()
    assert keys.find(tenant.key.kid)
    answered.set()
    first.join()
    assert fetches(tenant) == 2


def test_unknown_keys_do_not_wait_for_a_refresh_that_they_may_not_cause(
    tenant, keys, clock, monkeypatch
):
    monkeypatch.setattr(signing_keys, "WAIT_SECONDS", 30)
    keys.find(tenant.key.kid)
    clock.now += 3590
    fail(tenant, status=500)
    with pytest.raises(AuthError):
        keys.find("random")  # has used up what unknown keys may cause
    clock.now += 20
    answered = threading.Event()
    asked = delay(tenant, tenant.discovery_url, tenant.metadata, answered)
    keys.find(tenant.key.kid)
    assert asked.wait(5)
    begun = time.monotonic()
    with pytest.raises(AuthError):
        keys.find("random")
    assert time.monotonic() - begun < 10
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "signing-keys")
    answered.set()
    background_ends()


def background_ends():
    for thread in threading.enumerate():
        if thread.name == "signing-keys":
            thread.join()


def test_old_keys_are_refreshed_in_the_background(tenant, keys, clock, monkeypatch):
    threads = mock.Mock(side_effect=threading.Thread)
    monkeypatch.setattr(signing_keys, "Thread", threads)
    keys.find(tenant.key.kid)
    answered = threading.Event()
    new = {"keys": [tenant.stranger.as_jwk(ISSUER)]}
    asked = delay(tenant, tenant.metadata["jwks_uri"], new, answered)
    clock.now += 3600 - 1
    assert keys.find(tenant.key.kid)
    assert fetches(tenant) == 1
    clock.now += 2
    for _ in range(5):
        assert keys.find(tenant.key.kid)  # from the keys at hand
        assert asked.wait(5)
    assert threads.call_count == 1
    answered.set()
    background_ends()
    assert keys.find(tenant.stranger.kid)
    assert fetches(tenant) == 2


def test_the_last_good_keys_are_used_for_a_day_while_entra_is_down(tenant, keys, clock):
    keys.find(tenant.key.kid)
    fail(tenant, body=requests.ConnectionError("down"))
    clock.now += 24 * 3600 - 1
    assert keys.find(tenant.key.kid)
    background_ends()
    clock.now += 2 + 5
    with pytest.raises(DownstreamError, match="keys_unavailable"):
        keys.find(tenant.key.kid)


def test_a_cold_start_without_entra_is_a_503_and_limits_its_retries(tenant, keys, clock):
    fail(tenant, body=requests.ConnectionError("down"))
    for _ in range(20):
        with pytest.raises(DownstreamError, match="keys_unavailable"):
            keys.find(tenant.key.kid)
    assert fetches(tenant) == 1
    fail(tenant, json=tenant.metadata)
    clock.now += 5 + 1
    assert keys.find(tenant.key.kid)


def test_fifty_threads_on_a_cold_start_load_once(tenant, keys):
    delay(tenant, tenant.discovery_url, tenant.metadata)
    results = in_threads(50, lambda: keys.find(tenant.key.kid))
    assert {key.key_id for key in results} == {tenant.key.kid}
    assert fetches(tenant) == 1


def test_fifty_threads_on_a_cold_start_without_entra_ask_once(tenant, keys):
    delay(tenant, tenant.discovery_url, None)
    errors = in_threads(50, lambda: keys.find(tenant.key.kid))
    assert {str(error) for error in errors} == {"keys_unavailable"}
    assert fetches(tenant) == 1


def test_a_slow_failure_is_remembered_from_its_end(tenant, keys, clock):
    """Otherwise each waiting thread would try again, one after the other."""

    def times_out(request):
        clock.now += 8
        raise requests.ReadTimeout

    tenant.network.remove(responses.GET, tenant.discovery_url)
    tenant.network.add_callback(responses.GET, tenant.discovery_url, times_out)
    for _ in range(3):
        with pytest.raises(DownstreamError):
            keys.find(tenant.key.kid)
    assert fetches(tenant) == 1


def test_a_failing_refresh_in_the_background_is_tried_every_five_seconds(tenant, keys, clock):
    keys.find(tenant.key.kid)
    fail(tenant, status=500)
    clock.now += 3600 + 1
    for expected in (2, 2, 2, 3):
        assert keys.find(tenant.key.kid)
        background_ends()
        assert fetches(tenant) == expected
        clock.now += 2.4


def test_a_process_that_cannot_start_a_thread_keeps_its_keys_and_refreshes_later(
    tenant, keys, clock, monkeypatch
):
    def no_more_threads(thread):
        raise RuntimeError("can't start new thread")

    keys.find(tenant.key.kid)
    clock.now += 3600 + 1
    with monkeypatch.context() as machine:
        machine.setattr(threading.Thread, "start", no_more_threads)
        assert keys.find(tenant.key.kid)
    assert keys.find(tenant.key.kid)
    background_ends()
    assert fetches(tenant) == 2


def test_a_key_that_was_published_just_after_the_start_is_found(tenant, keys, caplog):
    caplog.set_level("INFO")
    keys.find(tenant.key.kid)
    publish(tenant, tenant.key.as_jwk(ISSUER), tenant.stranger.as_jwk(ISSUER))
    assert keys.find(tenant.stranger.kid)
    assert caplog.messages == [
        f"signing keys loaded: {tenant.key.kid}",
        f"signing keys loaded: {tenant.key.kid}, {tenant.stranger.kid}",
    ]


def test_each_fetch_has_a_timeout(tenant, keys):
    keys.find(tenant.key.kid)
    assert [call.request.req_kwargs["timeout"] for call in tenant.network.calls] == [(3.05, 5)] * 2


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"use": "enc"}, id="for-encryption"),
        pytest.param({"key_ops": ["encrypt"]}, id="operation-encrypt"),
        pytest.param({"alg": "RS512"}, id="of-another-algorithm"),
        pytest.param({"d": "AQAB"}, id="private"),
        pytest.param({"kty": "EC"}, id="another-type"),
        pytest.param({"kty": "oct", "k": "c2VjcmV0"}, id="symmetric"),
        pytest.param({"kid": None}, id="without-a-name"),
        pytest.param({"kid": 5}, id="with-a-number-for-a-name"),
        pytest.param({"n": "AQAB"}, id="tiny"),
        pytest.param({"n": None}, id="without-a-modulus"),
        pytest.param({"n": 17}, id="with-a-number-for-a-modulus"),
        pytest.param({"e": "!!"}, id="with-a-broken-exponent"),
        pytest.param(
            {"issuer": ISSUER.replace(TENANT_ID, OTHER_TENANT_ID)}, id="of-another-tenant"
        ),
        pytest.param({"issuer": 5}, id="of-a-number"),
        pytest.param({"key_ops": 5}, id="with-a-number-for-operations"),
    ],
)
def test_skips_a_key_that_is(tenant, keys, change):
    bad = tenant.stranger.as_jwk(ISSUER) | change
    publish(tenant, bad, None, [], tenant.key.as_jwk(ISSUER))
    assert keys.find(tenant.key.kid)
    with pytest.raises(AuthError):
        keys.find(tenant.stranger.kid)


@pytest.mark.parametrize(
    "change",
    [
        # The common keys name the issuer with {tenantid} in the tenant's place.
        pytest.param({"issuer": ISSUER.replace(TENANT_ID, "{tenantid}")}, id="of-all-tenants"),
        pytest.param({"issuer": None}, id="without-an-issuer"),
        pytest.param({"use": None}, id="without-a-use"),
        pytest.param({"alg": "RS256"}, id="with-its-algorithm"),
        pytest.param({"key_ops": ["verify"]}, id="with-its-operation"),
    ],
)
def test_accepts_a_key_that_is(tenant, keys, change):
    jwk = tenant.key.as_jwk(ISSUER) | change
    publish(tenant, {name: value for name, value in jwk.items() if value is not None})
    assert keys.find(tenant.key.kid)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 1024).public_key(), id="1024-bits"),
        pytest.param(rsa.generate_private_key(65537, 2047).public_key(), id="2047-bits"),
        pytest.param(Tenant.stranger.private, id="the-private-half"),
    ],
)
def test_skips_a_key_of(tenant, keys, key):
    bad = RSAAlgorithm.to_jwk(key, as_dict=True) | {"kid": "bad", "key_ops": ["verify"]}
    publish(tenant, bad, tenant.key.as_jwk(ISSUER))
    with pytest.raises(AuthError):
        keys.find("bad")


@pytest.mark.parametrize("kid", [None, 5, True])
def test_a_key_id_that_is_not_text_is_not_converted_to_text(tenant, keys, kid):
    publish(tenant, tenant.stranger.as_jwk(ISSUER) | {"kid": kid}, tenant.key.as_jwk(ISSUER))
    with pytest.raises(AuthError):
        keys.find(str(kid))


KEYS_PATH = f"{TENANT_ID}/discovery/v2.0/keys"


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"issuer": ISSUER.replace(TENANT_ID, OTHER_TENANT_ID)}, id="another-issuer"),
        pytest.param({"issuer": None}, id="no-issuer"),
        pytest.param({"jwks_uri": None}, id="no-address-of-keys"),
        pytest.param({"jwks_uri": ["x"]}, id="a-list-for-an-address"),
        pytest.param({"jwks_uri": "https://[x"}, id="no-address-at-all"),
    ],
)
def test_rejects_discovery_with(tenant, keys, metadata):
    fail(tenant, json=tenant.metadata | metadata)
    with pytest.raises(DownstreamError, match="keys_unavailable"):
        keys.find(tenant.key.kid)


@pytest.mark.parametrize(
    "jwks_uri",
    [
        pytest.param(f"https://evil.example/{KEYS_PATH}", id="another-host"),
        pytest.param(f"https://login.microsoftonline.com.evil.example/{KEYS_PATH}", id="suffix"),
        pytest.param(f"http://login.microsoftonline.com/{KEYS_PATH}", id="http"),
        pytest.param(f"https://login.microsoftonline.com:444/{KEYS_PATH}", id="another-port"),
        pytest.param(f"https://x@login.microsoftonline.com/{KEYS_PATH}", id="user-name"),
    ],
)
def test_loads_no_keys_from(tenant, keys, jwks_uri):
    """Even if there are good keys."""
    tenant.network.get(jwks_uri, json={"keys": [tenant.key.as_jwk(ISSUER)]})
    fail(tenant, json=tenant.metadata | {"jwks_uri": jwks_uri})
    with pytest.raises(DownstreamError, match="keys_unavailable"):
        keys.find(tenant.key.kid)
    assert [call.request.url for call in tenant.network.calls] == [tenant.discovery_url]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"status": 500}, id="500"),
        pytest.param({"body": "<html>"}, id="html"),
        pytest.param({"body": "[]"}, id="a-list"),
        pytest.param({"json": {}}, id="an-empty-object"),
        pytest.param({"json": {"keys": []}}, id="no-keys"),
        pytest.param({"json": {"keys": {"a": 1}}}, id="keys-in-an-object"),
        pytest.param({"json": {"keys": "x"}}, id="text-for-keys"),
        pytest.param({"body": "[" * 100_000}, id="deeply-nested"),
        pytest.param({"body": requests.ReadTimeout()}, id="a-timeout"),
        pytest.param({"body": "x" * 100, "content_type": "text/x; charset=idna"}, id="odd-charset"),
        pytest.param({"body": b"\xff\xfe\xfd"}, id="not-text"),
        pytest.param({"json": [{"kid": "x"}], "status": 404}, id="404"),
        pytest.param(
            {"status": 302, "headers": {"Location": "https://evil.example/"}}, id="a-redirect"
        ),
    ],
)
@pytest.mark.parametrize("which", ["discovery", "keys"])
def test_cached_keys_survive_a_response_with(tenant, keys, answer, which):
    keys.find(tenant.key.kid)
    url = {"discovery": tenant.discovery_url, "keys": tenant.metadata["jwks_uri"]}[which]
    tenant.network.replace(responses.GET, url, **answer)
    with pytest.raises(AuthError):
        keys.find("unknown")  # tries a refresh
    assert fetches(tenant) == 2
    assert keys.find(tenant.key.kid)
    assert not tenant.calls("GET", "https://evil.example")


@pytest.mark.parametrize(
    "answer", [{"json": {"keys": []}}, {"json": {}}, {"status": 500}, {"body": "<html>"}]
)
def test_there_are_no_keys_after_a_first_response_with(tenant, keys, answer):
    tenant.network.replace(responses.GET, tenant.metadata["jwks_uri"], **answer)
    with pytest.raises(DownstreamError, match="keys_unavailable"):
        keys.find(tenant.key.kid)


def test_a_valid_body_with_a_wrong_status_is_refused(tenant, keys):
    jwks = {"keys": [tenant.key.as_jwk(ISSUER)]}
    tenant.network.replace(responses.GET, tenant.metadata["jwks_uri"], json=jwks, status=203)
    with pytest.raises(DownstreamError, match="keys_unavailable"):
        keys.find(tenant.key.kid)


def test_the_response_of_entra_does_not_reach_the_log(tenant, keys, caplog):
    tenant.network.replace(responses.GET, tenant.discovery_url, body="secret-text")
    with pytest.raises(DownstreamError):
        keys.find(tenant.key.kid)
    assert "signing keys not refreshed" in caplog.text
    assert "secret-text" not in caplog.text


def test_the_api_answers_503_without_keys(tenant, api, bearer):
    fail(tenant, status=503)
    response = api.get("/subscriptions", headers=bearer)
    assert (response.status_code, response.json["code"]) == (503, "keys_unavailable")
    assert response.headers["Retry-After"] == "5"
    assert "WWW-Authenticate" not in response.headers
