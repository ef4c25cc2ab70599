"""The token endpoint: who may call it, the three grants, and what the tokens hold."""

import json
from base64 import b64encode, urlsafe_b64decode
from urllib.parse import quote

import jwt
import pytest

from tests.mock_azure.directory import ARM_ID, GRAPH_ID, PARTNER_ID
from tests.mock_azure.keys import SigningKey
from tests.mock_azure.tokens import unverified

ARM_SCOPE = "https://management.azure.com/user_impersonation"
REFUSED_GRANT = "invalid_grant"


def refusal(response):
    body = response.json
    assert body["error_description"].startswith(f"AADSTS{body['error_codes'][0]}: ")
    assert "access_token" not in body
    return response.status_code, body["error"], body["error_codes"][0]


# --- authorization code ---------------------------------------------------------------------------


def test_code_becomes_tokens_in_the_shapes_of_entra(azure, visitor, redeem):
    body = redeem(visitor.sign_in()["code"]).json
    api = f"api://{azure.api.client_id}"
    assert body["token_type"] == "Bearer"
    assert body["scope"] == f"{api}/access_as_user {api}/.default"
    assert 3600 <= body["expires_in"] == body["ext_expires_in"] <= 5400
    client_info = json.loads(urlsafe_b64decode(body["client_info"] + "=="))
    alice = azure.users["alice"]
    assert client_info == {"uid": alice.oid, "utid": azure.tenant_id}

    header, claims = unverified(body["access_token"], 0), unverified(body["access_token"])
    assert header == {"typ": "JWT", "alg": "RS256", "kid": azure.keys.current.kid}
    assert set(claims) == {
        "aud", "iss", "iat", "nbf", "exp", "aio", "azp", "azpacr", "name", "oid",
        "preferred_username", "rh", "scp", "sid", "sub", "tid", "uti", "ver", "xms_ftd",
    }  # fmt: skip
    assert claims["aud"] == azure.api.client_id
    assert claims["iss"] == azure.issuer
    assert (claims["ver"], claims["azp"], claims["azpacr"]) == ("2.0", azure.ui.client_id, "1")
    assert (claims["scp"], claims["oid"]) == ("access_as_user", alice.oid)
    assert claims["exp"] - claims["iat"] == body["expires_in"] + 300
    assert len(claims["uti"]) == 22

    id_claims = unverified(body["id_token"])
    assert (id_claims["aud"], id_claims["nonce"]) == (azure.ui.client_id, "the nonce")
    assert id_claims["sub"] != claims["sub"]
    assert not {"scp", "azp", "amr"} & set(id_claims)


@pytest.mark.parametrize(
    ("scope", "absent"),
    [("openid", "refresh_token"), ("offline_access", "id_token")],
)
def test_each_token_must_be_asked_for(azure, visitor, redeem, scope, absent):
    code = visitor.sign_in()["code"]
    body = redeem(code, scope=f"api://{azure.api.client_id}/.default {scope}").json
    assert absent not in body
    assert len({"refresh_token", "id_token"} & set(body)) == 1


def test_client_info_must_be_asked_for(visitor, redeem):
    assert "client_info" not in redeem(visitor.sign_in()["code"], client_info=None).json


@pytest.mark.parametrize(
    ("form", "error", "code"),
    [
        ({"code": "made-up"}, REFUSED_GRANT, 9002313),
        ({"code": None}, "invalid_request", 900144),
        ({"code_verifier": None}, "invalid_request", 900144),
        ({"code_verifier": "w" * 43}, REFUSED_GRANT, 501481),
        ({"redirect_uri": "http://localhost:8000/other"}, REFUSED_GRANT, 50011),
        ({"redirect_uri": "http://localhost:8001/account/callback"}, REFUSED_GRANT, 50011),
        ({"scope": f"api://other/x {ARM_SCOPE}"}, "invalid_resource", 500011),
        ({"scope": f"{ARM_SCOPE} User.Read"}, "invalid_request", 28000),
        ({"scope": ARM_SCOPE}, REFUSED_GRANT, 65001),
    ],
)
def test_code_is_refused_with(visitor, redeem, form, error, code):
    genuine = visitor.sign_in()["code"]
    assert refusal(redeem(**{"code": genuine, **form})) == (400, error, code)


def test_code_is_good_once(visitor, redeem):
    code = visitor.sign_in()["code"]
    assert redeem(code).status_code == 200
    assert refusal(redeem(code)) == (400, REFUSED_GRANT, 54005)


def test_wrong_verifier_does_not_use_the_code_up(visitor, redeem):
    code = visitor.sign_in()["code"]
    assert redeem(code, code_verifier="w" * 43).status_code == 400
    assert redeem(code).status_code == 200


def test_code_expires_after_ten_minutes(azure, visitor, redeem):
    fresh, stale = visitor.sign_in()["code"], visitor.sign_in(prompt="login")["code"]
    azure.clock.advance(599)
    assert redeem(fresh).status_code == 200
    azure.clock.advance(2)
    assert refusal(redeem(stale)) == (400, REFUSED_GRANT, 70008)


def test_code_of_another_client_is_refused(azure, visitor, redeem):
    code = visitor.sign_in()["code"]
    assert refusal(redeem(code, app=azure.api)) == (400, REFUSED_GRANT, 70000)


def test_refresh_token_is_no_code(visitor, redeem):
    tokens = redeem(visitor.sign_in()["code"]).json
    assert refusal(redeem(tokens["refresh_token"]))[2] == 9002313


# --- refresh --------------------------------------------------------------------------------------


@pytest.fixture
def refresh(azure, post_token):
    def refresh(token, app=None, **form):
        return post_token(app or azure.ui, grant_type="refresh_token", refresh_token=token, **form)

    return refresh


def test_refresh_token_stays_valid_and_brings_a_new_one(visitor, redeem, refresh):
    old = redeem(visitor.sign_in()["code"]).json["refresh_token"]
    first = refresh(old).json
    assert first["refresh_token"] != old
    assert refresh(old).status_code == 200
    assert refresh(first["refresh_token"]).status_code == 200


def test_refresh_token_is_good_for_every_resource_the_user_allowed(azure, visitor, redeem, refresh):
    token = redeem(visitor.sign_in()["code"]).json["refresh_token"]
    assert unverified(refresh(token, scope="openid").json["access_token"])["aud"] == GRAPH_ID
    api = f"api://{azure.api.client_id}"
    body = refresh(token, scope=f"{api}/access_as_user").json
    assert body["scope"] == f"{api}/access_as_user"
    assert unverified(body["access_token"])["aud"] == azure.api.client_id


def test_refresh_token_is_refused_to_another_client_and_after_90_days(
    azure, visitor, redeem, refresh
):
    token = redeem(visitor.sign_in()["code"]).json["refresh_token"]
    assert refusal(refresh(token, app=azure.api)) == (400, REFUSED_GRANT, 70000)
    azure.clock.advance(90 * 24 * 3600 + 1)
    assert refusal(refresh(token)) == (400, REFUSED_GRANT, 700082)


def test_refresh_needs_consent_still(azure, visitor, redeem, refresh):
    token = redeem(visitor.sign_in()["code"]).json["refresh_token"]
    azure.consents.revoke("alice")
    assert refusal(refresh(token)) == (400, REFUSED_GRANT, 65001)


# --- on behalf of ---------------------------------------------------------------------------------


def test_exchange_gives_a_version_1_token_for_arm(azure, exchange):
    azure.consent_all()
    assertion = azure.access_token()
    body = exchange(assertion, scope=f"{ARM_SCOPE} openid profile offline_access").json
    assert body["scope"] == ARM_SCOPE
    assert {"refresh_token", "id_token"} <= set(body)
    header, claims = unverified(body["access_token"], 0), unverified(body["access_token"])
    assert header["x5t"] == header["kid"]
    assert claims["aud"] == "https://management.azure.com"
    assert claims["iss"] == f"https://sts.windows.net/{azure.tenant_id}/"
    assert (claims["ver"], claims["appid"], claims["idtyp"]) == (
        "1.0",
        azure.api.client_id,
        "user",
    )
    assert claims["scp"] == "user_impersonation"
    before = unverified(assertion)
    assert claims["oid"] == before["oid"]
    assert claims["sub"] != before["sub"]
    assert "xms_cc" not in claims
    assert "azp" not in claims


@pytest.mark.parametrize(
    "resource",
    [
        "https://management.azure.com",
        "https://management.azure.com/",
        "https://management.core.windows.net/",
    ],
)
def test_audience_and_scope_repeat_the_resource_as_it_was_asked_for(azure, exchange, resource):
    azure.consent_all()
    body = exchange(azure.access_token(), scope=f"{resource}/.default").json
    assert unverified(body["access_token"])["aud"] == resource
    assert body["scope"] == f"{resource}/user_impersonation {resource}/.default"


def test_announced_capability_reaches_the_token(azure, exchange):
    azure.consent_all()
    claims = '{"access_token":{"xms_cc":{"values":["cp1"]}}}'
    body = exchange(azure.access_token(), claims=claims).json
    assert unverified(body["access_token"])["xms_cc"] == ["CP1"]


def test_exchange_needs_consent(azure, exchange):
    response = exchange(azure.access_token())
    assert refusal(response) == (400, REFUSED_GRANT, 65001)
    assert response.json["suberror"] == "consent_required"


HOSTILE = {
    "unsigned": ({"algorithm": "none"}, 50013),
    "hmac-with-the-public-key": ({"algorithm": "HS256", "key": "public"}, 50013),
    "another-rsa-algorithm": ({"algorithm": "RS384"}, 50013),
    "algorithm-not-as-said": ({"algorithm": "RS384", "header": {"alg": "RS256"}}, 50013),
    "key-never-published": ({"key": "rogue"}, 50013),
    "key-unknown": ({"header": {"kid": "unknown"}}, 50013),
    "key-unnamed": ({"header": {"kid": None}}, 50013),
    "payload-not-json": ({"payload": "garbage"}, 50013),
    "payload-not-an-object": ({"payload": "[]"}, 50013),
    "expired": ({"exp": 1}, 500133),
    "without-expiry": ({"exp": None}, 500133),
    "not-yet-valid": ({"nbf": 1 << 40}, 500133),
    "issuer-of-another-tenant": ({"iss": "https://localhost/other/v2.0"}, 50013),
    "audience-of-another-api": ({"aud": "another-api"}, 500131),
    "audience-a-list": ({"aud": ["another-api"]}, 500131),
    "id-token": ({"azp": None, "scp": None}, 240002),
    "app-only": ({"scp": None, "roles": ["All"]}, 7000114),
    "app-with-scope": ({"idtyp": "app"}, 7000114),
    "user-unknown": ({"oid": "nobody", "aio": None}, 50034),
}


@pytest.mark.parametrize(("wrong", "code"), HOSTILE.values(), ids=HOSTILE.keys())
def test_exchange_refuses_assertion(azure, exchange, wrong, code):
    azure.consent_all()
    keys = {"public": azure.keys.current.public_pem, "rogue": azure.keys.rogue}
    wrong = {
        name: keys.get(value) or value if name == "key" else value for name, value in wrong.items()
    }
    assert refusal(exchange(azure.forge(**wrong))) == (400, REFUSED_GRANT, code)


def test_exchange_takes_a_token_signed_by_an_older_published_key(azure, exchange):
    azure.consent_all()
    older = azure.keys.published[1]
    assert exchange(azure.forge(key=older, header={"kid": older.kid})).status_code == 200


@pytest.mark.parametrize("text", ["", "a", "a.b.c", "é.é.é", "." * 9, "a" * 20_000])
def test_exchange_refuses_what_is_no_token(exchange, text):
    assert exchange(text).status_code == 400


def test_exchange_refuses_the_id_token_of_the_ui_and_the_arm_token(
    azure, visitor, redeem, exchange, arm_token
):
    id_token = redeem(visitor.sign_in()["code"]).json["id_token"]
    assert refusal(exchange(id_token))[2] == 240002
    assert refusal(exchange(arm_token()))[2] == 500131


@pytest.mark.parametrize(
    ("form", "error", "code"),
    [
        ({"requested_token_use": None}, "invalid_request", 900144),
        ({"requested_token_use": "other"}, "invalid_request", 9002313),
        ({"scope": None}, "invalid_request", 900144),
        ({"scope": "api://other/.default"}, "invalid_resource", 500011),
        ({"scope": "https://management.azure.com/other"}, "invalid_client", 650053),
        ({"scope": "User.Read"}, REFUSED_GRANT, 65001),
        ({"claims": "[]"}, "invalid_request", 9002313),
        ({"grant_type": "password"}, "unsupported_grant_type", 70003),
        ({"grant_type": None}, "invalid_request", 900144),
        ({"assertion": ["a", "b"]}, "invalid_request", 9002313),
    ],
)
def test_exchange_is_refused_with(azure, exchange, form, error, code):
    azure.consent_all()
    assert refusal(exchange(**{"assertion": azure.access_token(), **form})) == (400, error, code)


def test_api_cannot_ask_for_a_token_for_itself(azure, exchange):
    scope = f"api://{azure.api.client_id}/.default"
    assert refusal(exchange(azure.access_token(), scope=scope))[2] == 90009


# --- who calls ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "status", "error", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": "é"}, 401, "invalid_client", 7000215),
        ({"client_secret": None}, 401, "invalid_client", 7000218),
        ({"client_id": None}, 400, "invalid_request", 900144),
        ({"client_id": "unknown"}, 400, "unauthorized_client", 700016),
        ({"client_id": ARM_ID}, 401, "invalid_client", 7000215),
    ],
)
def test_client_is_refused_with(azure, exchange, form, status, error, code):
    azure.consent_all()
    assert refusal(exchange(azure.access_token(), **form)) == (status, error, code)


def test_secret_of_the_other_client_is_refused(azure, exchange):
    response = exchange(azure.access_token(), client_secret=azure.ui.secret)
    assert refusal(response)[2] == 7000215


def test_secret_in_the_query_string_is_not_read(azure, back):
    response = back.post(
        f"/{azure.tenant_id}/oauth2/v2.0/token",
        query_string={"client_id": azure.api.client_id, "client_secret": azure.api.secret},
        data={"grant_type": "refresh_token", "client_id": azure.api.client_id},
    )
    assert refusal(response)[2] == 7000218


def test_secret_may_come_in_basic(azure, exchange):
    azure.consent_all()
    pair = f"{azure.api.client_id}:{quote(azure.api.secret, safe='')}"
    headers = {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    form = {"headers": headers, "client_id": None, "client_secret": None}
    assert exchange(azure.access_token(), **form).status_code == 200


def client_assertion(azure, key=None, **claims):
    """What MSAL sends for a certificate."""
    thumbprint = (key or azure.keys.rogue).kid
    now = int(azure.clock.now())
    payload = {
        "aud": f"{azure.authority}/oauth2/v2.0/token",
        "iss": azure.api.client_id,
        "sub": azure.api.client_id,
        "exp": now + 600,
        "jti": "1",
    } | claims
    payload = {name: value for name, value in payload.items() if value is not None}
    private = azure.keys.rogue.private
    return jwt.encode(payload, private, "PS256", headers={"x5t": thumbprint})


ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        pytest.param({}, 200, id="in-order"),
        pytest.param({"aud": "https://elsewhere.example"}, 401, id="audience"),
        pytest.param({"iss": "other"}, 401, id="issuer"),
        pytest.param({"sub": "other"}, 401, id="subject"),
        pytest.param({"exp": 1}, 401, id="expired"),
        pytest.param({"exp": None}, 401, id="without-expiry"),
        pytest.param({"sub": None}, 401, id="without-subject"),
    ],
)
def test_client_assertion(azure, exchange, claims, status):
    azure.consent_all()
    azure.register_certificate(azure.api, azure.keys.rogue.der)
    response = exchange(
        azure.access_token(),
        client_secret=None,
        client_assertion_type=ASSERTION_TYPE,
        client_assertion=client_assertion(azure, **claims),
    )
    assert response.status_code == status


def test_client_assertion_with_another_certificate_is_refused(azure, exchange):
    azure.consent_all()
    other = SigningKey()
    azure.register_certificate(azure.api, other.der)
    for key in (None, other):  # naming its own certificate, and naming the registered one
        response = exchange(
            azure.access_token(),
            client_secret=None,
            client_assertion_type=ASSERTION_TYPE,
            client_assertion=client_assertion(azure, key),
        )
        assert refusal(response) == (401, "invalid_client", 700027)


def test_certificate_shows_in_the_token(azure, exchange):
    azure.consent_all()
    azure.register_certificate(azure.api, azure.keys.rogue.der)
    response = exchange(
        azure.access_token(),
        client_secret=None,
        client_assertion_type=ASSERTION_TYPE,
        client_assertion=client_assertion(azure),
    )
    assert unverified(response.json["access_token"])["appidacr"] == "2"


def test_unknown_tenant_is_refused(azure, back):
    form = {"grant_type": "refresh_token", "client_id": azure.ui.client_id}
    response = back.post("/common/oauth2/v2.0/token", data=form)
    assert refusal(response) == (400, "invalid_request", 90002)


# --- answers --------------------------------------------------------------------------------------


def test_error_body_names_the_correlation_id_of_the_request(azure, exchange):
    guid = "61fdc1c8-0000-4000-8000-000000000001"
    headers = {"client-request-id": guid, "return-client-request-id": "true"}
    response = exchange("junk", headers=headers)
    assert response.json["correlation_id"] == response.headers["client-request-id"] == guid
    assert f"Correlation ID: {guid}" in response.json["error_description"]
    assert {"trace_id", "timestamp", "error_codes"} <= set(response.json)


def test_tokens_are_not_to_be_stored(azure, exchange):
    azure.consent_all()
    headers = exchange(azure.access_token()).headers
    assert "no-store" in headers["Cache-Control"]
    assert headers["Pragma"] == "no-cache"


def test_guest_is_another_account_at_home(azure, visitor, redeem):
    body = redeem(visitor.sign_in("frank")["code"]).json
    claims = unverified(body["access_token"])
    assert claims["tid"] == azure.tenant_id
    assert claims["idp"] == f"https://sts.windows.net/{PARTNER_ID}/"
    client_info = json.loads(urlsafe_b64decode(body["client_info"] + "=="))
    assert client_info["utid"] == PARTNER_ID
    assert client_info["uid"] != claims["oid"]
