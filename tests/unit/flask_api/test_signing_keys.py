"""The tenant's signing keys: what is kept, when it is asked for again, and what is refused."""

import json
import threading
import time

import pytest
import requests
import responses

from helpers import signing_keys
from helpers.errors import AuthError, DownstreamError
from helpers.signing_keys import SigningKeys
from tests.unit.flask_api.conftest import ISSUER, OTHER_TENANT_ID, TENANT_ID


class Clock:
    """A monotonic clock that a test can set forward."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(signing_keys, "monotonic", clock)
    return clock


@pytest.fixture
def keys(tenant, clock) -> SigningKeys:
    return SigningKeys(requests.Session(), ISSUER)


def publish(tenant, *jwks):
    tenant.net.replace(responses.GET, tenant.metadata["jwks_uri"], json={"keys": list(jwks)})


def fail(tenant, **answer):
    tenant.net.replace(responses.GET, tenant.discovery, **answer)


def fetches(tenant):
    return len(tenant.calls("GET", tenant.discovery))


def test_nothing_is_loaded_before_the_first_use(tenant, keys):
    assert fetches(tenant) == 0


def test_keys_are_loaded_once(tenant, keys):
    for _ in range(3):
        assert keys.find(tenant.key.kid).key_id == tenant.key.kid
    assert fetches(tenant) == 1


def test_an_unknown_key_causes_one_refresh_in_five_minutes(tenant, keys, clock):
    keys.find(tenant.key.kid)
    for attempt in range(500):
        with pytest.raises(AuthError):
            keys.find(f"random-{attempt}")
    assert fetches(tenant) == 2
    clock.now += signing_keys.UNKNOWN_KEY_SECONDS + 1
    with pytest.raises(AuthError):
        keys.find("random")
    assert fetches(tenant) == 3


def test_unknown_keys_on_a_cold_start_cause_one_load(tenant, keys):
    for attempt in range(500):
        with pytest.raises(AuthError):
            keys.find(f"random-{attempt}")
    assert fetches(tenant) == 1


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


def background_ends():
    for thread in threading.enumerate():
        if thread.name == "signing-keys":
            thread.join()


def test_old_keys_are_refreshed_without_making_anybody_wait(tenant, keys, clock):
    keys.find(tenant.key.kid)
    answered = threading.Event()

    def hangs(request):
        answered.wait(10)
        return 200, {}, json.dumps({"keys": [tenant.stranger.as_jwk(ISSUER)]})

    tenant.net.remove(responses.GET, tenant.metadata["jwks_uri"])
    tenant.net.add_callback(responses.GET, tenant.metadata["jwks_uri"], hangs)
    clock.now += signing_keys.REFRESH_SECONDS + 1
    for _ in range(5):
        assert keys.find(tenant.key.kid)  # from the keys at hand
    answered.set()
    background_ends()
    assert keys.find(tenant.stranger.kid)
    assert fetches(tenant) == 2


def test_last_good_keys_serve_for_a_day_while_entra_is_down(tenant, keys, clock):
    keys.find(tenant.key.kid)
    fail(tenant, body=requests.ConnectionError("down"))
    clock.now += signing_keys.USABLE_SECONDS - 1
    assert keys.find(tenant.key.kid)
    background_ends()
    clock.now += 2 + signing_keys.RETRY_SECONDS
    with pytest.raises(DownstreamError, match="keys_unavailable"):
        keys.find(tenant.key.kid)


def test_a_cold_start_without_entra_says_so_and_does_not_hammer_it(tenant, keys, clock):
    fail(tenant, body=requests.ConnectionError("down"))
    for _ in range(20):
        with pytest.raises(DownstreamError, match="keys_unavailable"):
            keys.find(tenant.key.kid)
    assert fetches(tenant) == 1
    fail(tenant, json=tenant.metadata)
    clock.now += signing_keys.RETRY_SECONDS + 1
    assert keys.find(tenant.key.kid)


def test_fifty_threads_on_a_cold_start_load_once(tenant, keys):
    def slow(request):
        time.sleep(0.05)
        return 200, {}, json.dumps(tenant.metadata)

    tenant.net.remove(responses.GET, tenant.discovery)
    tenant.net.add_callback(responses.GET, tenant.discovery, slow)
    threads = [threading.Thread(target=keys.find, args=(tenant.key.kid,)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetches(tenant) == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"use": "enc"}, id="for-encryption"),
        pytest.param({"key_ops": ["encrypt"]}, id="operation-encrypt"),
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
def test_a_key_is_skipped_that_is(tenant, keys, change):
    bad = tenant.stranger.as_jwk(ISSUER) | change
    publish(tenant, bad, None, [], tenant.key.as_jwk(ISSUER))
    assert keys.find(tenant.key.kid)
    with pytest.raises(AuthError):
        keys.find(tenant.stranger.kid)


def test_a_key_of_all_tenants_is_taken(tenant, keys):
    """The common keys name the issuer with ``{tenantid}`` in the tenant's place."""
    publish(tenant, tenant.key.as_jwk(ISSUER.replace(TENANT_ID, "{tenantid}")))
    assert keys.find(tenant.key.kid)


def test_a_key_of_1024_bits_is_skipped(tenant, keys):
    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt.algorithms import RSAAlgorithm

    weak = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    publish(tenant, weak | {"kid": "weak"}, tenant.key.as_jwk(ISSUER))
    with pytest.raises(AuthError):
        keys.find("weak")


OTHER_HOST = {"jwks_uri": f"https://evil.example/{TENANT_ID}/discovery/v2.0/keys"}


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"issuer": ISSUER.replace(TENANT_ID, OTHER_TENANT_ID)}, id="another-issuer"),
        pytest.param({"issuer": None}, id="no-issuer"),
        pytest.param(OTHER_HOST, id="keys-on-another-host"),
        pytest.param(
            {"jwks_uri": f"http://login.microsoftonline.com/{TENANT_ID}/discovery/v2.0/keys"},
            id="keys-over-http",
        ),
        pytest.param({"jwks_uri": None}, id="no-address-of-keys"),
        pytest.param({"jwks_uri": ["x"]}, id="a-list-for-an-address"),
    ],
)
def test_discovery_is_refused_with(tenant, keys, metadata):
    fail(tenant, json=tenant.metadata | metadata)
    with pytest.raises(DownstreamError, match="keys_unavailable"):
        keys.find(tenant.key.kid)
    assert not tenant.calls("GET", "https://evil.example")


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
    ],
)
def test_keys_at_hand_survive_an_answer_of(tenant, keys, clock, answer):
    keys.find(tenant.key.kid)
    tenant.net.replace(responses.GET, tenant.metadata["jwks_uri"], **answer)
    with pytest.raises(AuthError):
        keys.find("unknown")  # tries a refresh
    assert fetches(tenant) == 2
    assert keys.find(tenant.key.kid)


def test_the_api_answers_503_without_keys(tenant, api, bearer):
    fail(tenant, status=503)
    response = api.get("/subscriptions", headers=bearer)
    assert (response.status_code, response.json["code"]) == (503, "keys_unavailable")
    assert response.headers["Retry-After"] == "5"
    assert "WWW-Authenticate" not in response.headers
