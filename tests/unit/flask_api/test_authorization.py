"""Each rule of the validation has a token that breaks it, and the nearest token that passes."""

import json
import re
import string
import time
from datetime import datetime, timedelta
from unittest import mock

import jwt
import pytest

from helpers import authorization
from helpers.errors import AuthError
from main import create_app
from tests.mock_azure.keys import base64url
from tests.mock_azure.tokens import sign
from tests.unit.conftest import ARM
from tests.unit.flask_api.conftest import API_ID, ISSUER, OTHER_TENANT_ID, REALM, TENANT_ID, UI_ID

NOW = int(time.time())
SCOPE = f'scope="api://{API_ID}/access_as_user"'


def get(api, token=None, **headers):
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return api.get("/subscriptions", headers=headers)


@pytest.fixture
def azure_answers(tenant):
    """Azure would respond, so only this API's validation can refuse a request."""
    tenant.lists("first")
    return tenant


def refused_by_validation(tenant):
    """Check that no request was sent to the token endpoint or to ARM."""
    return not tenant.requests and not tenant.calls("GET", ARM)


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({}, id="nothing-special"),
        pytest.param({"scp": "other access_as_user more"}, id="several-scopes"),
        pytest.param({"exp": timedelta(seconds=-55)}, id="expired-within-the-leeway"),
        pytest.param(
            {"nbf": timedelta(seconds=55), "iat": timedelta(seconds=55)},
            id="not-valid-yet-within-the-leeway",
        ),
        pytest.param({"roles": ["Reader"]}, id="roles-beside-a-scope"),
        pytest.param({"idtyp": "user"}, id="idtyp-user"),
        pytest.param({"azp": OTHER_TENANT_ID}, id="any-client-when-there-is-no-list"),
        pytest.param({"unknown": {"nested": [1]}}, id="unknown-claims"),
        pytest.param({"idp": "https://sts.windows.net/x/", "acct": 1}, id="a-guest"),
        pytest.param({"iat": timedelta(0), "exp": timedelta(hours=29)}, id="a-life-of-29-hours"),
    ],
)
def test_accepts_claims_with(api, azure_answers, claims):
    assert get(api, azure_answers.access_token(**claims)).status_code == 200


@pytest.mark.parametrize(
    ("claims", "status", "code"),
    [
        pytest.param(
            {"exp": timedelta(seconds=-65)}, 401, "token_expired", id="exp-past-the-leeway"
        ),
        pytest.param({"exp": 0}, 401, "token_expired", id="exp-in-1970"),
        pytest.param({"exp": -1}, 401, "token_expired", id="exp-negative"),
        pytest.param(
            {"nbf": timedelta(seconds=65)}, 401, "token_expired", id="nbf-past-the-leeway"
        ),
        pytest.param(
            {"iat": timedelta(seconds=65)}, 401, "token_expired", id="iat-past-the-leeway"
        ),
        pytest.param({"exp": None}, 401, "invalid_token", id="exp-missing"),
        pytest.param({"nbf": None}, 401, "invalid_token", id="nbf-missing"),
        pytest.param({"iat": None}, 401, "invalid_token", id="iat-missing"),
        pytest.param({"exp": str(NOW + 3600)}, 401, "invalid_token", id="exp-as-text"),
        pytest.param({"exp": NOW + 3600.5}, 401, "invalid_token", id="exp-a-fraction"),
        pytest.param({"exp": 1e308}, 401, "invalid_token", id="exp-huge-fraction"),
        pytest.param({"exp": True}, 401, "token_expired", id="exp-true"),
        pytest.param({"exp": [NOW + 3600]}, 401, "invalid_token", id="exp-a-list"),
        pytest.param({"exp": float("nan")}, 401, "invalid_token", id="exp-nan"),
        pytest.param({"exp": float("inf")}, 401, "invalid_token", id="exp-infinity"),
        pytest.param({"exp": 10**4000}, 401, "invalid_token", id="exp-of-4000-digits"),
        pytest.param(
            {"iat": timedelta(0), "exp": timedelta(hours=29, seconds=1)},
            401,
            "invalid_token",
            id="a-life-longer-than-entras",
        ),
        pytest.param({"nbf": str(NOW)}, 401, "invalid_token", id="nbf-as-text"),
        pytest.param({"nbf": True}, 401, "invalid_token", id="nbf-true"),
        pytest.param({"iat": str(NOW)}, 401, "invalid_token", id="iat-as-text"),
        pytest.param({"aud": UI_ID}, 401, "invalid_claims", id="aud-of-the-ui"),
        pytest.param({"aud": f"api://{API_ID}"}, 401, "invalid_claims", id="aud-in-v1-form"),
        pytest.param({"aud": API_ID.upper()}, 401, "invalid_claims", id="aud-upper-case"),
        pytest.param({"aud": API_ID[:-1]}, 401, "invalid_claims", id="aud-a-prefix"),
        pytest.param({"aud": [API_ID]}, 401, "invalid_claims", id="aud-a-list"),
        pytest.param({"aud": [API_ID, UI_ID]}, 401, "invalid_claims", id="aud-a-longer-list"),
        pytest.param({"aud": ""}, 401, "invalid_token", id="aud-empty"),
        pytest.param({"aud": 1}, 401, "invalid_claims", id="aud-a-number"),
        pytest.param({"aud": {"x": API_ID}}, 401, "invalid_claims", id="aud-an-object"),
        pytest.param({"aud": None}, 401, "invalid_token", id="aud-missing"),
        pytest.param(
            {"aud": "00000003-0000-0000-c000-000000000000"}, 401, "invalid_claims", id="aud-graph"
        ),
        pytest.param({"aud": "https://management.azure.com"}, 401, "invalid_claims", id="aud-arm"),
        pytest.param(
            {"aud": UI_ID, "nonce": "n", "scp": None},
            401,
            "invalid_claims",
            id="id-token-of-the-ui",
        ),
        pytest.param(
            {"nonce": "n", "scp": None}, 403, "insufficient_scope", id="id-token-for-the-api"
        ),
        pytest.param(
            {"iss": ISSUER.replace(TENANT_ID, OTHER_TENANT_ID)},
            401,
            "invalid_claims",
            id="iss-of-another-tenant",
        ),
        pytest.param(
            {"iss": f"https://contoso.ciamlogin.com/{TENANT_ID}/v2.0"},
            401,
            "invalid_claims",
            id="iss-of-another-cloud",
        ),
        pytest.param(
            {"iss": f"https://sts.windows.net/{TENANT_ID}/"}, 401, "invalid_claims", id="iss-v1"
        ),
        pytest.param({"iss": f"{ISSUER}/"}, 401, "invalid_claims", id="iss-with-a-slash"),
        pytest.param(
            {"iss": ISSUER.replace("https", "http")}, 401, "invalid_claims", id="iss-http"
        ),
        pytest.param({"iss": [ISSUER]}, 401, "invalid_claims", id="iss-a-list"),
        pytest.param({"iss": None}, 401, "invalid_token", id="iss-missing"),
        pytest.param({"tid": OTHER_TENANT_ID}, 401, "invalid_claims", id="tid-of-another-tenant"),
        pytest.param(
            {"tid": "9188040d-6c67-4c5b-b112-36a304b66dad"},
            401,
            "invalid_claims",
            id="tid-personal",
        ),
        pytest.param({"tid": None}, 401, "invalid_token", id="tid-missing"),
        pytest.param({"tid": "contoso.com"}, 401, "invalid_claims", id="tid-a-domain"),
        pytest.param({"ver": "1.0"}, 401, "invalid_claims", id="ver-1"),
        pytest.param({"ver": 2}, 401, "invalid_token", id="ver-a-number"),
        pytest.param({"ver": None}, 401, "invalid_token", id="ver-missing"),
        pytest.param({"oid": None}, 401, "invalid_token", id="oid-missing"),
        pytest.param({"oid": 5}, 401, "invalid_token", id="oid-a-number"),
        pytest.param({"sub": None}, 401, "invalid_token", id="sub-missing"),
        pytest.param({"sub": ["x"]}, 401, "invalid_token", id="sub-a-list"),
        pytest.param({"scp": None}, 403, "insufficient_scope", id="scp-missing"),
        pytest.param({"scp": ""}, 403, "insufficient_scope", id="scp-empty"),
        pytest.param({"scp": ["access_as_user"]}, 403, "insufficient_scope", id="scp-a-list"),
        pytest.param({"scp": "access_as_user2"}, 403, "insufficient_scope", id="scp-longer"),
        pytest.param({"scp": "ACCESS_AS_USER"}, 403, "insufficient_scope", id="scp-upper-case"),
        pytest.param({"scp": "x\taccess_as_user"}, 403, "insufficient_scope", id="scp-after-a-tab"),
        pytest.param(
            {"scp": "x\naccess_as_user"}, 403, "insufficient_scope", id="scp-after-a-line"
        ),
        pytest.param(
            {"scp": "x\u00a0access_as_user"}, 403, "insufficient_scope", id="scp-after-a-nbsp"
        ),
        pytest.param(
            {"scp": "x  access_as_user"}, 403, "insufficient_scope", id="scp-after-two-spaces"
        ),
        pytest.param(
            {"scp": None, "azp": None}, 403, "insufficient_scope", id="neither-scp-nor-azp"
        ),
        pytest.param({"scp": None, "roles": ["all"]}, 403, "app_only_token", id="roles-only"),
        pytest.param(
            {"scp": "", "roles": ["all"]},
            403,
            "insufficient_scope",
            id="roles-and-an-empty-scp",
        ),
        pytest.param({"idtyp": "app"}, 403, "app_only_token", id="idtyp-app-with-a-scope"),
    ],
)
def test_refuses_claims_with(api, azure_answers, claims, status, code):
    response = get(api, azure_answers.access_token(**claims))
    assert (response.status_code, response.json["code"]) == (status, code)
    error = {401: "invalid_token", 403: "insufficient_scope"}[status]
    challenge = response.headers["WWW-Authenticate"]
    assert challenge.startswith(f'{REALM}, error="{error}"')
    assert (SCOPE in challenge) == (status == 403)
    assert refused_by_validation(azure_answers)


def test_asks_for_the_scope_in_the_settings(settings_of_api, azure_answers):
    api = create_app(settings_of_api | {"REQUIRED_SCOPE": "Subscriptions.Read"}).test_client()
    refused = get(api, azure_answers.access_token())
    assert refused.json["code"] == "insufficient_scope"
    scope = f'scope="api://{API_ID}/Subscriptions.Read"'
    assert scope in refused.headers["WWW-Authenticate"]
    assert get(api, azure_answers.access_token(scp="Subscriptions.Read")).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"typ": "at+jwt"}, id="typ-at-jwt"),
        pytest.param({"typ": None}, id="typ-absent"),
        pytest.param({"jwk": {"kty": "RSA"}}, id="jwk-ignored"),
        pytest.param({"jku": "https://evil.example/keys"}, id="jku-ignored"),
        pytest.param({"x5u": "https://evil.example/cert"}, id="x5u-ignored"),
        pytest.param({"x5c": ["AAAA"]}, id="x5c-ignored"),
        pytest.param({"x5t": "thumbprint"}, id="x5t-ignored"),
        pytest.param({"x": "?????>>>>>"}, id="both-special-letters-of-base64url"),
    ],
)
def test_accepts_header_with(api, azure_answers, header):
    token = sign(azure_answers.header(**header), azure_answers.claims(), azure_answers.key.private)
    assert get(api, token).status_code == 200
    assert not any("evil" in call.request.url for call in azure_answers.network.calls)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"alg": "none"}, id="alg-none"),
        pytest.param({"alg": "nOnE"}, id="alg-none-in-mixed-case"),
        pytest.param({"alg": None}, id="alg-missing"),
        pytest.param({"alg": ["RS256"]}, id="alg-a-list"),
        pytest.param({"alg": "RS384"}, id="alg-RS384"),
        pytest.param({"alg": "PS256"}, id="alg-PS256"),
        pytest.param({"alg": "ES256"}, id="alg-ES256"),
        pytest.param({"alg": "HS256"}, id="alg-HS256"),
        pytest.param({"kid": None}, id="kid-missing"),
        pytest.param({"kid": 7}, id="kid-a-number"),
        pytest.param({"kid": ["k"]}, id="kid-a-list"),
        pytest.param({"kid": {"k": 1}}, id="kid-an-object"),
        pytest.param({"kid": ""}, id="kid-empty"),
        pytest.param({"kid": "k" * 10_000}, id="kid-of-10-kB"),
        pytest.param({"kid": "../../dev/null"}, id="kid-a-path"),
        pytest.param({"kid": "' OR 1=1 --"}, id="kid-sql"),
        pytest.param({"crit": ["exp"]}, id="crit"),
        pytest.param({"crit": "exp"}, id="crit-a-text"),
        pytest.param({"crit": None, "b64": True}, id="b64-true"),
        pytest.param({"crit": []}, id="crit-empty"),
        pytest.param({"crit": ["b64"], "b64": True}, id="crit-b64"),
        pytest.param({"b64": False}, id="b64"),
        pytest.param({"zip": "DEF"}, id="zip"),
        pytest.param({"cty": "JWT"}, id="nested"),
        pytest.param({"typ": "secevent+jwt"}, id="typ-security-event"),
        pytest.param({"typ": "logout+jwt"}, id="typ-logout"),
        pytest.param({"typ": "dpop+jwt"}, id="typ-dpop"),
        pytest.param({"typ": 1}, id="typ-a-number"),
        pytest.param({"typ": ["JWT"]}, id="typ-a-list"),
    ],
)
def test_refuses_header_with(api, azure_answers, header):
    token = sign(azure_answers.header(**header), azure_answers.claims(), azure_answers.key.private)
    response = get(api, token)
    assert (response.status_code, response.json["code"]) == (401, "invalid_token")
    assert refused_by_validation(azure_answers)


@pytest.mark.parametrize("spelling", ["none", "None", "NONE", "nOnE", ""])
def test_refuses_an_unsigned_token(api, azure_answers, spelling):
    """RFC 8725 section 3.2."""
    token = sign(azure_answers.header(alg=spelling), azure_answers.claims(), None, "none")
    assert get(api, token).json["code"] == "invalid_token"


def test_a_kid_cannot_add_a_line_to_the_log(api, azure_answers, caplog):
    caplog.set_level("DEBUG")
    header = azure_answers.header(kid="k\r\n2026-01-01 INFO forged line")
    get(api, sign(header, azure_answers.claims(), azure_answers.key.private))
    assert "unknown signing key" in caplog.text
    assert "forged" not in caplog.text


def test_refuses_a_signature_by_another_key_with_a_known_kid(api, azure_answers):
    token = sign(azure_answers.header(), azure_answers.claims(), azure_answers.stranger.private)
    assert get(api, token).json["code"] == "invalid_token"


def test_refuses_a_signature_by_the_key_in_the_token(api, azure_answers):
    stranger = azure_answers.stranger
    header = azure_answers.header(jwk=stranger.as_jwk(ISSUER), kid=stranger.kid)
    token = sign(header, azure_answers.claims(), stranger.private)
    assert get(api, token).json["code"] == "invalid_token"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(lambda key: {"jwk": key.as_jwk(ISSUER)}, id="jwk"),
        pytest.param(lambda key: {"jku": "https://evil.example/keys"}, id="jku"),
        pytest.param(lambda key: {"x5u": "https://evil.example/cert"}, id="x5u"),
        pytest.param(lambda key: {"x5c": key.as_jwk(ISSUER)["x5c"]}, id="x5c"),
        pytest.param(lambda key: {"jwk": key.as_jwk(ISSUER), "kid": key.kid}, id="own-kid-and-jwk"),
    ],
)
def test_refuses_a_key_that_the_token_contains_as(api, azure_answers, header):
    """RFC 8725 section 3.10: nothing is loaded from an address in a token."""
    stranger = azure_answers.stranger
    header = azure_answers.header(**header(stranger))
    token = sign(header, azure_answers.claims(), stranger.private)
    assert get(api, token).json["code"] == "invalid_token"
    assert not any("evil" in call.request.url for call in azure_answers.network.calls)


@pytest.mark.parametrize("form", ["pem", "jwk"])
@pytest.mark.parametrize("says", ["HS256", "RS256"])
def test_refuses_hmac_keyed_with_the_public_key(api, azure_answers, form, says):
    """RFC 8725 section 2.1: the public key must never serve as a shared secret."""
    key = azure_answers.key
    public = {"pem": key.public_pem, "jwk": json.dumps(key.as_jwk(ISSUER)).encode()}[form]
    token = sign(azure_answers.header(alg=says), azure_answers.claims(), public, "HS256")
    assert get(api, token).json["code"] == "invalid_token"


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
@pytest.mark.parametrize("says", ["the algorithm", "RS256"])
def test_refuses_another_algorithm_with_the_right_key(api, azure_answers, algorithm, says):
    header = azure_answers.header(alg=algorithm if says == "the algorithm" else says)
    token = sign(header, azure_answers.claims(), azure_answers.key.private, algorithm)
    assert get(api, token).json["code"] == "invalid_token"


def test_refuses_a_token_of_another_identity_provider(api, azure_answers):
    stranger = azure_answers.stranger
    claims = azure_answers.claims(iss="https://adfs.contoso.example/adfs", ver=None, tid=None)
    token = sign(azure_answers.header(kid=stranger.kid), claims, stranger.private)
    assert get(api, token).json["code"] == "invalid_token"


def test_refuses_a_token_of_graph_whose_signature_is_over_another_nonce(api, azure_answers):
    """Graph signs over the hash of the nonce; only Graph is meant to read its tokens."""
    key, claims = azure_answers.key, azure_answers.claims()
    signed = sign(azure_answers.header(nonce="hash"), claims, key.private)
    sent = sign(azure_answers.header(nonce="plain"), claims, key.private)
    token = ".".join([*sent.split(".")[:2], signed.split(".")[2]])
    assert get(api, token).json["code"] == "invalid_token"


@pytest.mark.parametrize("raised", [TypeError, KeyError, RuntimeError, NotImplementedError])
def test_any_exception_of_a_library_means_an_invalid_token(
    api, azure_answers, raised, monkeypatch, caplog
):
    caplog.set_level("INFO")
    get(api, azure_answers.access_token())
    key = api.application.extensions["signing_keys"].find(azure_answers.key.kid)
    monkeypatch.setattr(key.Algorithm, "verify", mock.Mock(side_effect=raised("text")))
    response = get(api, azure_answers.access_token())
    assert (response.status_code, response.json["code"]) == (401, "invalid_token")
    # Only the name, because the text may quote the token.
    assert f"outcome='invalid_token: {raised.__name__}'" in caplog.text


@pytest.mark.parametrize(
    ("claim", "seconds", "status"),
    [("exp", -59, 200), ("exp", -60, 401), ("nbf", 60, 200), ("nbf", 61, 401), ("iat", 61, 401)],
)
def test_the_clocks_may_differ_by_a_minute(api, azure_answers, claim, seconds, status, monkeypatch):
    now = int(time.time())

    class Now(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(now, tz)

    monkeypatch.setattr(jwt.api_jwt, "datetime", Now)
    token = azure_answers.access_token(**{claim: now + seconds})
    assert get(api, token).status_code == status


# The last letter of an RSA-2048 signature stands for two bits; the four after them are stray.
LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
NEXT_LETTER = dict(zip(LETTERS, LETTERS[1:], strict=False))
ENCRYPTED = ".".join(
    [base64url(b'{"alg":"RSA-OAEP","enc":"A256GCM","kid":"k"}'), *["A" * 200] * 3, "AAAA"]
)


def replaced(token, segment, by):
    segments = token.split(".")
    segments[segment] = by(segments[segment])
    return ".".join(segments)


@pytest.mark.parametrize(
    "mangle",
    [
        pytest.param(
            lambda t: replaced(t, 2, lambda s: ("B" if s[0] != "B" else "C") + s[1:]),
            id="changed-signature",
        ),
        pytest.param(lambda t: replaced(t, 2, lambda s: s[:-8]), id="truncated-signature"),
        pytest.param(lambda t: replaced(t, 2, lambda s: "A" * len(s)), id="zero-signature"),
        pytest.param(lambda t: replaced(t, 2, lambda s: ""), id="no-signature"),
        pytest.param(lambda t: replaced(t, 2, lambda s: s + "=="), id="padded-signature"),
        pytest.param(
            lambda t: replaced(t, 2, lambda s: s[:-1] + NEXT_LETTER[s[-1]]),
            id="stray-bits-at-the-end",
        ),
        pytest.param(lambda t: replaced(t, 2, lambda s: s + "A"), id="one-letter-too-many"),
        pytest.param(lambda t: replaced(t, 1, lambda s: ""), id="no-payload"),
        pytest.param(lambda t: replaced(t, 0, lambda s: ""), id="no-header"),
        pytest.param(lambda t: replaced(t, 0, lambda s: "+/" + s), id="other-base64-alphabet"),
        pytest.param(lambda t: t.rpartition(".")[0], id="two-segments"),
        pytest.param(lambda t: t + ".AAAA", id="four-segments"),
        pytest.param(lambda t: t + ".AAAA.AAAA", id="five-segments"),
        pytest.param(lambda t: ENCRYPTED, id="encrypted"),
        pytest.param(lambda t: t.partition(".")[0], id="a-header-only"),
        pytest.param(lambda t: "None", id="none-but-its-name"),
        pytest.param(lambda t: "garbage", id="garbage"),
        pytest.param(lambda t: "...", id="dots"),
    ],
)
def test_refuses_token_with(api, azure_answers, mangle):
    response = get(api, mangle(azure_answers.access_token()))
    assert (response.status_code, response.json["code"]) == (401, "invalid_token")


@pytest.mark.parametrize(
    "header",
    [
        pytest.param('{"alg":"RS256","kid":"K","alg":"RS256"}', id="doubled-alg"),
        pytest.param('{"x":' + "[" * 5000, id="deeply-nested"),
        pytest.param('{"alg":"RS256","kid":"K","x":' + "9" * 5000 + "}", id="5000-digits"),
        pytest.param("[]", id="a-list"),
        pytest.param("null", id="null"),
        pytest.param('{"alg":"RS256"', id="cut-off"),
        pytest.param("\ud800", id="not-utf-8"),
        pytest.param('\ufeff{"alg":"RS256","kid":"K"}', id="byte-order-mark"),
    ],
)
def test_refuses_header_text(api, azure_answers, header):
    header = header.replace("K", azure_answers.key.kid)
    token = sign(header, azure_answers.claims(), azure_answers.key.private)
    response = get(api, token)
    assert (response.status_code, response.json["code"]) == (401, "invalid_token")


@pytest.mark.parametrize("depth", [2000, 5000])
def test_survives_signed_claims_that_are_nested_deeply(api, azure_answers, depth):
    payload = json.dumps(azure_answers.claims())[:-1] + ',"x":' + "[" * depth + "]" * depth + "}"
    token = sign(azure_answers.header(), payload, azure_answers.key.private)
    # How deep Python's parser goes depends on its version; past that the token is none.
    assert get(api, token).status_code in (200, 401)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text[:-1] + ',"x":' + "9" * 5000 + "}", id="5000-digits"),
        pytest.param(lambda text: re.sub('"exp": [0-9]+', '"exp": null', text), id="exp-null"),
        pytest.param(lambda text: f"[{text}]", id="a-list"),
        pytest.param(lambda text: "", id="empty"),
        pytest.param(lambda text: "\ufeff" + text, id="byte-order-mark"),
    ],
)
def test_refuses_signed_payload_text(api, azure_answers, change):
    payload = change(json.dumps(azure_answers.claims()))
    token = sign(azure_answers.header(), payload, azure_answers.key.private)
    response = get(api, token)
    assert (response.status_code, response.json["code"]) == (401, "invalid_token")


@pytest.mark.parametrize(
    ("azp", "status"),
    [
        pytest.param(UI_ID, 200, id="on-the-list"),
        pytest.param(OTHER_TENANT_ID, 200, id="the-second-on-the-list"),
        pytest.param(API_ID, 403, id="not-on-the-list"),
        pytest.param(None, 403, id="missing"),
        pytest.param("", 403, id="empty"),
        pytest.param([UI_ID], 403, id="a-list"),
        pytest.param(UI_ID[:-1], 403, id="the-beginning-of-one-that-is"),
        pytest.param(UI_ID[1:], 403, id="the-end-of-one-that-is"),
        pytest.param(UI_ID.upper(), 403, id="upper-case"),
        pytest.param(f"{UI_ID} {OTHER_TENANT_ID}", 403, id="the-whole-list"),
    ],
)
def test_a_list_of_clients_decides_about_a_client_that_is(tenant, settings_of_api, azp, status):
    tenant.lists("first")
    allowed = {"ALLOWED_CLIENT_IDS": f"{UI_ID} {OTHER_TENANT_ID}"}
    api = create_app(settings_of_api | allowed).test_client()
    response = get(api, tenant.access_token(azp=azp))
    assert response.status_code == status
    if status == 403:
        assert response.json["code"] == "client_not_allowed"
        assert SCOPE in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_scheme_can_be_in_any_case_and_before_several_spaces(api, azure_answers, scheme):
    token = azure_answers.access_token()
    assert get(api, Authorization=f"{scheme} {token}").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no-header"),
        pytest.param({"Authorization": ""}, id="empty-header"),
        pytest.param({"Authorization": "Basic dXNlcjpwYXNz"}, id="basic"),
        pytest.param({"X-Original-Authorization": "Bearer x"}, id="another-header"),
        pytest.param({"Proxy-Authorization": "Bearer x"}, id="a-proxys-header"),
        pytest.param({"Cookie": "access_token=x", "X-Forwarded-User": "alice"}, id="a-cookie"),
    ],
)
def test_a_request_without_a_token_gets_a_bare_challenge(api, headers):
    response = get(api, **headers)
    assert (response.status_code, response.json["code"]) == (401, "authorization_header_missing")
    assert response.headers["WWW-Authenticate"] == REALM  # RFC 6750 section 3.1: no error code


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("Bearer", id="no-token"),
        pytest.param("Bearer ", id="blank-token"),
        pytest.param("Bearer a b", id="two-words"),
        pytest.param("Bearer a,Bearer b", id="two-headers-joined"),
        pytest.param("Bearer a,b", id="comma"),
        pytest.param("Bearer tök.en.s", id="not-ascii"),
        pytest.param('Bearer "a.b.c"', id="quoted"),
        pytest.param("Bearer a.b.c\tx", id="tab"),
        pytest.param("Bearer a.b.c ", id="space-at-the-end"),
        pytest.param("Bearer a.b.c\n", id="line-break-at-the-end"),
        pytest.param("Bearer a.b.c\r\nX-Forged: y", id="line-break-inside"),
        pytest.param("Bearer a.b\0.c", id="nul"),
        pytest.param("Bearer =a.b.c", id="padding-first"),
        pytest.param(f"Bearer {'a' * (16 * 1024 + 1)}", id="more-than-16-KiB"),
        pytest.param(f"Bearer {'a' * 1_000_000}", id="a-megabyte"),
        pytest.param(f"Bearer {' ' * 16 * 1024}a.b.c", id="a-token-behind-16-KiB-of-spaces"),
    ],
)
def test_refuses_authorization_header(api, value):
    # Set where a server puts it, since a test client refuses line breaks itself.
    response = api.get("/subscriptions", environ_overrides={"HTTP_AUTHORIZATION": value})
    assert (response.status_code, response.json["code"]) == (400, "invalid_header")
    assert 'error="invalid_request"' in response.headers["WWW-Authenticate"]


def test_refuses_a_megabyte_quickly(api):
    header = {"Authorization": f"Bearer {'a.' * 500_000}"}
    taken = []
    with api.application.test_request_context(headers=header):
        for _ in range(20):
            begun = time.process_time()
            with pytest.raises(AuthError):
                authorization.get_token_auth_header()
            taken.append(time.process_time() - begun)
    assert min(taken) < 0.001  # seconds; reading the text once takes 30 times as long


def test_a_token_of_16_kib_is_validated(api, azure_answers):
    token = azure_answers.access_token(groups="g" * 11_000)
    assert 15 * 1024 < len(token) <= 16 * 1024
    assert get(api, token).status_code == 200
    assert get(api, "a" * 16 * 1024).json["code"] == "invalid_token"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"},
        {"X-Original-URL": "/health", "X-Rewrite-URL": "/health"},
        {"X-HTTP-Method-Override": "DELETE"},
    ],
)
def test_headers_that_a_proxy_might_add_change_nothing(api, azure_answers, headers):
    assert get(api, **headers).json["code"] == "authorization_header_missing"
    assert get(api, azure_answers.access_token(), **headers).status_code == 200
    assert not any("evil" in call.request.url for call in azure_answers.network.calls)


def test_a_token_outside_the_header_is_ignored(api, azure_answers):
    token = azure_answers.access_token()
    response = api.get(f"/subscriptions?access_token={token}", data={"access_token": token})
    assert response.json["code"] == "authorization_header_missing"


def test_no_response_and_no_log_repeats_the_token(api, azure_answers, caplog):
    caplog.set_level("DEBUG")
    for token in (azure_answers.access_token(aud="x"), "c2VjcmV0.bG9va2luZw.dG9rZW4"):
        response = get(api, token)
        written = response.get_data(as_text=True) + str(response.headers) + caplog.text
        for segment in token.split("."):
            assert segment not in written


def test_the_log_says_that_a_token_is_of_version_1(api, tenant, caplog):
    caplog.set_level("INFO")
    v1 = {"ver": "1.0", "iss": "https://sts.windows.net/11111111-2222-4333-8444-555555555555/"}
    token = tenant.access_token(**v1)
    response = api.get("/subscriptions", headers={"Authorization": f"Bearer {token}"})
    assert response.json["code"] == "invalid_claims"
    hint = "a version 1 token? See requestedAccessTokenVersion in README.md"
    assert f"outcome='invalid_claims: InvalidIssuerError; {hint}'" in caplog.text
