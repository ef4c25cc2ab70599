"""Arbitrary input, from clients or from Azure, gets a response of the table of errors.

Hypothesis makes the inputs up, the same ones in each run.
"""

import base64
import json
import os
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import requests
import responses
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from helpers import azure_resource_manager
from helpers.errors import ERROR_RESPONSES, ApiError
from helpers.http_session import http_session
from helpers.signing_keys import SigningKeys
from main import create_app
from tests.mock_azure.keys import base64url
from tests.mock_azure.tokens import sign
from tests.unit.conftest import SUBSCRIPTIONS, Tenant
from tests.unit.flask_api.conftest import API_ID, AUTHORITY, ISSUER, SETTINGS, TENANT_ID, UI_ID

# Nothing is kept in a file, and nothing depends on how busy the machine is. CI tries more.
some = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=100 if os.environ.get("CI") == "true" else 40,
    suppress_health_check=[HealthCheck.too_slow],
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
LATIN = st.text(st.characters(max_codepoint=255), max_size=60)  # what a header can hold
TOKEN = {"token_type": "Bearer", "expires_in": 3600, "access_token": "token-b"}
GOOD: dict[str, Any] = {"entra": (200, {}, json.dumps(TOKEN)), "arm": (200, {}, '{"value": []}')}
number = count()


@pytest.fixture(scope="module")
def tenant() -> Iterator[Tenant]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as network:
        yield Tenant(network, AUTHORITY, UI_ID, API_ID)


@pytest.fixture(scope="module")
def session() -> requests.Session:
    return http_session()


@pytest.fixture(scope="module")
def api(tenant: Tenant) -> FlaskClient:
    return create_app(SETTINGS).test_client()


@pytest.fixture(scope="module")
def azure(tenant: Tenant) -> Iterator[dict[str, Any]]:
    """Responses of Entra's token endpoint and of ARM: status, headers, body."""
    answers = dict(GOOD)
    endpoint = responses.CallbackResponse("POST", tenant.token_endpoint, lambda _: answers["entra"])
    tenant.network.replace(endpoint)
    tenant.network.add_callback("GET", SUBSCRIPTIONS, lambda _: answers["arm"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(azure_resource_manager, "PAUSES_SECONDS", (1e-6, 1e-6, 0))
        yield answers


def answer_to(api, authorization):
    """Return the status and code of a response, and check its form."""
    # As a server hands it over, any byte a character: a test client's headers are checked.
    environ = {"HTTP_AUTHORIZATION": authorization}
    response = api.get("/subscriptions", environ_overrides=environ)
    assert response.headers["Cache-Control"] == "no-store"
    challenge = response.headers.get("WWW-Authenticate", "")
    assert challenge.isascii()
    assert challenge.isprintable()
    code = response.json.get("code")
    assert response.status_code == (ERROR_RESPONSES[code].status if code else 200)
    return response.status_code, code


def answer_to_user(api, tenant, azure, **answers):
    """Return the API's response to a new user when Azure responds like this."""
    token = tenant.access_token(uti=str(next(number)))
    azure.update(answers)
    try:
        return answer_to(api, f"Bearer {token}")
    finally:
        azure.update(GOOD)


SCHEME = st.sampled_from(["Bearer", "bearer", "Basic"]) | LATIN


@some
@given(scheme=SCHEME, space=st.sampled_from(["", " ", "  ", "\t"]), rest=LATIN)
def test_any_authorization_header_is_a_400_or_a_401(api, azure, scheme, space, rest):
    status, _ = answer_to(api, scheme + space + rest)
    assert status in (400, 401)


SEGMENT = st.binary(max_size=60).map(base64url) | st.text("AZaz09-_+/", max_size=40)


@some
@given(segments=st.tuples(SEGMENT, SEGMENT, SEGMENT))
def test_any_three_segments_are_an_invalid_token(api, azure, segments):
    assert answer_to(api, f"Bearer {'.'.join(segments)}") == (401, "invalid_token")


HEADER_NAMES = ["alg", "kid", "typ", "crit", "b64", "zip", "cty", "jku", "jwk", "x5c", "nonce"]


@some
@given(changes=st.dictionaries(st.sampled_from(HEADER_NAMES), JSON, min_size=1))
def test_any_signed_header_is_accepted_or_an_invalid_token(api, azure, tenant, changes):
    token = sign(tenant.header() | changes, tenant.claims(), tenant.key.private)
    assert answer_to(api, f"Bearer {token}") in [(200, None), (401, "invalid_token")]


CLAIM_NAMES = ["aud", "iss", "iat", "nbf", "exp", "azp", "oid", "scp", "sub", "tid", "ver",
               "roles", "idtyp"]  # fmt: skip


@some
@given(
    name=st.sampled_from(CLAIM_NAMES),
    value=JSON | st.text() | st.sampled_from(["", ISSUER, API_ID, "1.0", "access_as_user"]),
    left_out=st.just(None) | st.sampled_from(CLAIM_NAMES),
)
def test_any_signed_claims_are_accepted_only_if_valid(api, azure, tenant, name, value, left_out):
    claims = tenant.claims() | {name: value}
    claims.pop(left_out, None)
    status, _ = answer_to(api, f"Bearer {sign(tenant.header(), claims, tenant.key.private)}")
    assert status in (200, 401, 403)
    right = {"aud": API_ID, "iss": ISSUER, "tid": TENANT_ID, "ver": "2.0", "scp": "access_as_user"}
    assert status != 200 or right.items() <= claims.items()


@some
@given(payload=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_signed_payload_causes_no_5xx(api, azure, tenant, payload):
    token = sign(tenant.header(), payload.decode("latin-1"), tenant.key.private)
    assert answer_to(api, f"Bearer {token}") == (401, "invalid_token")


PARAMETER = st.tuples(
    st.sampled_from(["claims", "error", "realm", "Bearer", "x"]),
    st.sampled_from(["=", " = ", '="', " "]),
    LATIN
    | (JSON | st.fixed_dictionaries({"access_token": JSON})).map(
        lambda value: base64.b64encode(json.dumps(value).encode()).decode()
    ),
    st.sampled_from(["", '"', ", ", '", Bearer ']),
).map("".join)


@some
@given(header=LATIN | st.lists(PARAMETER).map(lambda found: "Bearer " + ", ".join(found)))
def test_any_challenge_of_arm_is_relayed_or_a_bad_gateway(api, azure, tenant, header):
    answer = answer_to_user(api, tenant, azure, arm=(401, {"WWW-Authenticate": header}, "{}"))
    assert answer in [(401, "claims_challenge"), (502, "downstream_unauthorized")]


GOOD_JWK = Tenant.key.as_jwk(ISSUER)
# Too short; that nobody has the private half does not matter, because nothing is verified.
WEAK_JWKS = [
    GOOD_JWK | {"n": base64url((2 ** (bits - 1) + 1).to_bytes(256, "big"))} for bits in (1024, 2047)
]
JWK = st.dictionaries(st.sampled_from([*GOOD_JWK, "alg", "key_ops", "d"]), JSON, max_size=2).map(
    lambda changes: GOOD_JWK | changes
)
KEYS_URI = f"{ISSUER.removesuffix('/v2.0')}/discovery/v2.0/keys"
GOOD_METADATA = {"issuer": ISSUER, "jwks_uri": KEYS_URI}


@some
@given(
    metadata=JSON
    | st.fixed_dictionaries({"issuer": st.just(ISSUER) | JSON, "jwks_uri": st.text()})
    | st.just(GOOD_METADATA),
    jwks=JSON
    | st.fixed_dictionaries(
        {"keys": JSON | st.lists(JWK | st.sampled_from([GOOD_JWK, *WEAK_JWKS]) | JSON, max_size=3)}
    ),
)
@example(metadata=GOOD_METADATA, jwks={"keys": WEAK_JWKS[:1]})
@example(metadata=GOOD_METADATA, jwks={"keys": WEAK_JWKS[1:]})
def test_any_key_document_gives_a_strong_key_or_an_error_of_the_table(session, metadata, jwks):
    published = jwks.get("keys") if isinstance(jwks, dict) else None
    with responses.RequestsMock(assert_all_requests_are_fired=False) as net:
        net.get(f"{ISSUER}/.well-known/openid-configuration", json=metadata)
        net.get(KEYS_URI, json=jwks)
        try:
            key, code = SigningKeys(session, ISSUER).find(Tenant.key.kid).key, None
        except ApiError as error:
            key, code = None, error.code
    if key:
        assert metadata == GOOD_METADATA
        assert key.public_numbers() == Tenant.key.private.public_key().public_numbers()
    else:
        assert code in ("keys_unavailable", "invalid_token")
        assert metadata != GOOD_METADATA or published != [GOOD_JWK]


ENTRAS_WORDS = ["access_token", "token_type", "expires_in", "error", "suberror", "claims",
                "id_token", "client_info", "refresh_in", "error_codes", "scope"]  # fmt: skip
ENTRAS_VALUES = st.sampled_from(
    [
        "token-b",
        "Bearer",
        "pop",
        3600,
        "3600",
        -1,
        "invalid_grant",
        "consent_required",
        "interaction_required",
        "server_error",
        '{"access_token":{}}',
        "a.b.c",
    ]  # fmt: skip
)
OF_ENTRA = {"consent_required", "claims_challenge", "assertion_rejected", "api_misconfigured",
            "idp_throttled", "idp_unavailable"}  # fmt: skip


@some
@given(
    status=st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 503]),
    body=JSON | st.dictionaries(st.sampled_from(ENTRAS_WORDS), JSON | ENTRAS_VALUES),
)
@example(status=200, body=TOKEN | {"expires_in": None})
def test_any_answer_of_the_token_endpoint_is_in_the_table(api, azure, tenant, status, body):
    _, code = answer_to_user(api, tenant, azure, entra=(status, {}, json.dumps(body)))
    assert code in OF_ENTRA or (code is None and isinstance(body["access_token"], str))


ARMS_WORDS = ["value", "nextLink", "error", "code", "count"]
OF_ARM = {"downstream_unauthorized", "downstream_forbidden", "downstream_throttled",
          "downstream_error"}  # fmt: skip


@some
@given(
    status=st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 503]),
    body=JSON | st.dictionaries(st.sampled_from(ARMS_WORDS), JSON | st.lists(st.just({}))),
)
def test_any_answer_of_arm_is_a_list_or_in_the_table(api, azure, tenant, status, body):
    _, code = answer_to_user(api, tenant, azure, arm=(status, {}, json.dumps(body)))
    assert code in OF_ARM or (status == 200 and code is None)
