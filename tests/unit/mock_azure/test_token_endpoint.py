"""The token endpoint: client authentication, the grants, and the claims of the tokens."""

import hashlib
import json
from base64 import b64encode, urlsafe_b64decode
from dataclasses import replace
from urllib.parse import quote

import jwt
import pytest

from tests.mock_azure.directory import (
    ARM_ID,
    COMMAND_LINE_ID,
    EXCHANGE_ID,
    GRAPH_ID,
    PARTNER_ID,
    Permission,
    Secret,
)
from tests.mock_azure.keys import SigningKey, base64url
from tests.mock_azure.tokens import login_hint, unverified

ARM_SCOPE = "https://management.azure.com/user_impersonation"
REFUSED_GRANT = "invalid_grant"


def refusal(response):
    body = response.json
    assert body["error_description"].startswith(f"AADSTS{body['error_codes'][0]}: ")
    assert "access_token" not in body
    return response.status_code, body["error"], body["error_codes"][0]


# --- authorization code ---------------------------------------------------------------------------


def test_code_becomes_tokens_in_the_shapes_of_entra(azure, front, redeem):
    body = redeem(front.sign_in()["code"]).json
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
    assert set(id_claims) == {
        "aud", "iss", "iat", "nbf", "exp", "aio", "login_hint", "name", "nonce", "oid",
        "preferred_username", "rh", "sid", "sub", "tid", "uti", "ver",
    }  # fmt: skip
    assert id_claims["exp"] - id_claims["iat"] == 3600 + 300
    assert claims["preferred_username"] == id_claims["preferred_username"] == alice.email
    assert claims["name"] == id_claims["name"] == "Alice Adams"


@pytest.mark.parametrize(
    ("scope", "absent"),
    [("openid", "refresh_token"), ("offline_access", "id_token")],
)
def test_each_token_must_be_asked_for(azure, front, redeem, scope, absent):
    code = front.sign_in()["code"]
    body = redeem(code, scope=f"api://{azure.api.client_id}/.default {scope}").json
    assert absent not in body
    assert len({"refresh_token", "id_token"} & set(body)) == 1


def test_client_info_must_be_asked_for(front, redeem):
    assert "client_info" not in redeem(front.sign_in()["code"], client_info=None).json


REJECTED_CODES = {
    "a code that Entra did not issue": ({"code": "made-up"}, REFUSED_GRANT, 9002313),
    "no code": ({"code": None}, "invalid_request", 900144),
    "no verifier": ({"code_verifier": None}, "invalid_request", 900144),
    "no redirect URI": ({"redirect_uri": None}, "invalid_request", 900144),
    "another verifier": ({"code_verifier": "w" * 43}, REFUSED_GRANT, 501481),
    "a redirect URI that is not registered": (
        {"redirect_uri": "http://localhost:8000/other"},
        REFUSED_GRANT,
        50011,
    ),
    "another of the client's redirect URIs": (
        {"redirect_uri": "http://localhost:8000/account/signed-out"},
        REFUSED_GRANT,
        50011,
    ),
    "the redirect URI with another port": (
        {"redirect_uri": "http://localhost:8001/account/callback"},
        REFUSED_GRANT,
        50011,
    ),
    "an unknown resource": (
        {"scope": f"api://other/x {ARM_SCOPE}"},
        "invalid_resource",
        500011,
    ),
    "two resources": ({"scope": f"{ARM_SCOPE} User.Read"}, "invalid_request", 28000),
    "a scope without consent": ({"scope": ARM_SCOPE}, REFUSED_GRANT, 65001),
}


@pytest.mark.parametrize(
    ("form", "error", "code"), REJECTED_CODES.values(), ids=REJECTED_CODES.keys()
)
def test_rejects_a_code_sent_with(front, redeem, form, error, code):
    genuine = front.sign_in()["code"]
    assert refusal(redeem(**{"code": genuine, **form})) == (400, error, code)


def test_issues_no_token_when_only_one_of_two_scopes_was_consented_to(azure, front, redeem):
    api = azure.api
    more = {**api.permissions, "more": Permission("More", "More of it.")}
    azure.applications[api.client_id] = replace(api, permissions=more)
    code = front.sign_in(scope=f"{api.uris[0]}/access_as_user")["code"]
    both = f"{api.uris[0]}/access_as_user {api.uris[0]}/more"
    assert refusal(redeem(code, scope=both)) == (400, REFUSED_GRANT, 65001)


def test_code_needs_no_verifier_if_the_client_sent_no_challenge(front, redeem):
    without = {"code_challenge": None, "code_challenge_method": None}
    code = front.sign_in(**without)["code"]
    assert refusal(redeem(code, code_verifier="v" * 43)) == (400, REFUSED_GRANT, 501481)
    assert redeem(code, code_verifier=None).status_code == 200


@pytest.mark.parametrize("method", ["plain", None], ids=["plain", "no method"])
def test_plain_challenge_is_the_verifier_itself(front, redeem, method):
    plain = {"code_challenge": "v" * 43, "code_challenge_method": method}
    code = front.sign_in(**plain)["code"]
    assert refusal(redeem(code, code_verifier="w" * 43))[2] == 501481
    assert redeem(code, code_verifier="v" * 43).status_code == 200


def test_id_token_says_when_the_user_signed_in_if_max_age_was_asked(azure, front, redeem):
    at = int(azure.clock.now())
    azure.clock.advance(100)
    claims = unverified(redeem(front.sign_in(max_age="600")["code"]).json["id_token"])
    assert 100 <= claims["auth_time"] - at <= 110
    claims = unverified(redeem(front.sign_in(prompt="login")["code"]).json["id_token"])
    assert "auth_time" not in claims


def test_id_token_holds_a_login_hint_only_if_the_registration_asks_for_it(azure, front, redeem):
    claims = unverified(redeem(front.sign_in("bob")["code"]).json["id_token"])
    assert claims["login_hint"] == login_hint(azure.users["bob"])
    azure.applications[azure.ui.client_id] = replace(azure.ui, id_token_claims=())
    claims = unverified(redeem(front.sign_in(prompt="login")["code"]).json["id_token"])
    assert "login_hint" not in claims


def test_code_can_be_redeemed_once(front, redeem):
    code = front.sign_in()["code"]
    assert redeem(code).status_code == 200
    assert refusal(redeem(code)) == (400, REFUSED_GRANT, 54005)


def test_wrong_verifier_does_not_consume_the_code(front, redeem):
    code = front.sign_in()["code"]
    assert redeem(code, code_verifier="w" * 43).status_code == 400
    assert redeem(code).status_code == 200


def test_code_expires_after_ten_minutes(azure, front, redeem):
    fresh, stale = front.sign_in()["code"], front.sign_in(prompt="login")["code"]
    azure.clock.advance(599)
    assert redeem(fresh).status_code == 200
    azure.clock.advance(2)
    assert refusal(redeem(stale)) == (400, REFUSED_GRANT, 70008)


def test_rejects_the_code_of_another_client(azure, front, redeem):
    code = front.sign_in()["code"]
    assert refusal(redeem(code, app=azure.api)) == (400, REFUSED_GRANT, 70000)


def test_rejects_a_refresh_token_as_a_code(front, redeem):
    tokens = redeem(front.sign_in()["code"]).json
    assert refusal(redeem(tokens["refresh_token"]))[2] == 9002313


# --- refresh --------------------------------------------------------------------------------------


@pytest.fixture
def refresh(azure, post_token):
    def refresh(token, app=None, **form):
        return post_token(app or azure.ui, grant_type="refresh_token", refresh_token=token, **form)

    return refresh


def test_refresh_token_stays_valid_after_it_is_used(front, redeem, refresh):
    old = redeem(front.sign_in()["code"]).json["refresh_token"]
    first = refresh(old).json
    assert first["refresh_token"] != old
    assert refresh(old).status_code == 200
    assert refresh(first["refresh_token"]).status_code == 200


def test_refresh_token_works_for_every_resource_with_consent(azure, front, redeem, refresh):
    token = redeem(front.sign_in()["code"]).json["refresh_token"]
    graph = refresh(token, scope="openid offline_access").json
    assert unverified(graph["access_token"])["aud"] == GRAPH_ID
    assert graph["scope"] == "openid profile"  # Graph's scopes never name offline_access
    api = f"api://{azure.api.client_id}"
    body = refresh(token, scope=f"{api}/access_as_user").json
    assert body["scope"] == f"{api}/access_as_user"
    assert unverified(body["access_token"])["aud"] == azure.api.client_id


def test_rejects_a_refresh_token_of_another_client_or_after_90_days(azure, front, redeem, refresh):
    token = redeem(front.sign_in()["code"]).json["refresh_token"]
    assert refusal(refresh(token, app=azure.api)) == (400, REFUSED_GRANT, 70000)
    azure.clock.advance(90 * 24 * 3600 + 1)
    assert refusal(refresh(token)) == (400, REFUSED_GRANT, 700082)


def test_refresh_fails_after_consent_is_withdrawn(azure, front, redeem, refresh):
    token = redeem(front.sign_in()["code"]).json["refresh_token"]
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
    assert set(claims) == {
        "acr", "aio", "amr", "appid", "appidacr", "aud", "exp", "family_name", "given_name", "iat",
        "idtyp", "ipaddr", "iss", "name", "nbf", "oid", "puid", "rh", "scp", "sid", "sub", "tid",
        "unique_name", "upn", "uti", "ver", "wids", "xms_tcdt",
    }  # fmt: skip
    assert (claims["given_name"], claims["family_name"]) == ("Alice", "Adams")
    assert (claims["amr"], claims["appidacr"]) == (["pwd"], "1")


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


@pytest.mark.parametrize("value", ["cp1", "CP1"])
def test_announced_capability_reaches_the_token_of_a_resource_that_uses_it(
    azure, front, redeem, exchange, value
):
    claims = f'{{"access_token":{{"xms_cc":{{"values":["other","{value}"]}}}}}}'
    token_a = redeem(front.sign_in()["code"], claims=claims).json["access_token"]
    assert "xms_cc" not in unverified(token_a)
    body = exchange(token_a, claims=claims).json
    assert unverified(body["access_token"])["xms_cc"] == ["CP1"]


def test_exchange_takes_a_version_1_token_for_the_apis_uri(azure, exchange):
    """An API whose registration asks for them gets tokens of another issuer and audience."""
    azure.consent_all("bob")
    own = {"ver": "1.0", "iss": azure.issuer_v1, "aud": azure.api.uris[0]}
    own |= {"azp": None, "appid": azure.ui.client_id}
    body = exchange(azure.access_token("bob", **own)).json
    assert unverified(body["access_token"])["oid"] == azure.users["bob"].oid


def test_exchange_finds_the_user_and_the_time_of_a_token_it_did_not_issue(azure, exchange):
    azure.consent_all("bob")
    foreign = azure.access_token("bob", aio=None)
    claims = unverified(exchange(foreign).json["access_token"])
    assert claims["oid"] == azure.users["bob"].oid
    azure.clock.advance(5)
    azure.revoke_sessions("bob")
    assert refusal(exchange(foreign))[2] == 50173
    azure.clock.advance(1)
    assert exchange(azure.access_token("bob", aio=None)).status_code == 200


def test_exchange_needs_consent(azure, exchange):
    response = exchange(azure.access_token())
    assert refusal(response) == (400, REFUSED_GRANT, 65001)
    assert response.json["suberror"] == "consent_required"


HOSTILE = {
    "no signature": ({"algorithm": "none"}, 50013),
    "an HMAC made with the public key": ({"algorithm": "HS256", "key": "public"}, 50013),
    "another RSA algorithm": ({"algorithm": "RS384"}, 50013),
    "another algorithm than its header says": (
        {"algorithm": "RS384", "header": {"alg": "RS256"}},
        50013,
    ),
    "a key that was never published": ({"key": "rogue"}, 50013),
    "an unknown key ID": ({"header": {"kid": "unknown"}}, 50013),
    "no key ID": ({"header": {"kid": None}}, 50013),
    "a payload that is not JSON": ({"payload": "garbage"}, 50013),
    "a payload that is not an object": ({"payload": "[]"}, 50013),
    "an expiry in the past": ({"exp": 1}, 500133),
    "no expiry": ({"exp": None}, 500133),
    "an expiry in words": ({"exp": "tomorrow"}, 500133),
    "no start": ({"nbf": None}, 500133),
    "a start in the future": ({"nbf": 1 << 40}, 500133),
    "the issuer of another tenant": ({"iss": "https://localhost/other/v2.0"}, 50013),
    "the audience of an unknown API": ({"aud": "another-api"}, 500131),
    "a list of audiences": ({"aud": ["another-api"]}, 500131),
    "the claims of an ID token": ({"azp": None, "scp": None}, 240002),
    "roles and no scope": ({"scp": None, "roles": ["All"]}, 7000114),
    "an application and a scope": ({"idtyp": "app"}, 7000114),
    "an unknown user": ({"oid": "nobody", "aio": None}, 50034),
}


@pytest.mark.parametrize(("wrong", "code"), HOSTILE.values(), ids=HOSTILE.keys())
def test_exchange_rejects_an_assertion_with(azure, exchange, wrong, code):
    azure.consent_all()
    keys = {"public": azure.keys.current.public_pem, "rogue": azure.keys.rogue}
    wrong = {
        name: keys.get(value) or value if name == "key" else value for name, value in wrong.items()
    }
    assert refusal(exchange(azure.access_token(**wrong))) == (400, REFUSED_GRANT, code)


def test_exchange_rejects_a_token_for_another_known_application(azure, exchange):
    azure.consent_all()
    for audience in (azure.ui.client_id, GRAPH_ID, "https://management.azure.com"):
        refused = exchange(azure.access_token(aud=audience))
        assert refusal(refused) == (400, REFUSED_GRANT, 500131), audience


def test_exchange_takes_a_token_signed_by_an_older_published_key(azure, exchange):
    azure.consent_all()
    older = azure.keys.published[1]
    assert exchange(azure.access_token(key=older, header={"kid": older.kid})).status_code == 200


NO_TOKENS = {
    "nothing": "",
    "one letter": "a",
    "three letters": "a.b.c",
    "not ASCII": "é.é.é",
    "dots": "." * 9,
    "20,000 letters": "a" * 20_000,
}


@pytest.mark.parametrize("text", NO_TOKENS.values(), ids=NO_TOKENS.keys())
def test_exchange_rejects_what_is_not_a_token(exchange, text):
    assert exchange(text).status_code == 400


def test_exchange_rejects_the_web_apps_id_token_and_the_arm_token(
    azure, front, redeem, exchange, arm_token
):
    id_token = redeem(front.sign_in()["code"]).json["id_token"]
    assert refusal(exchange(id_token))[2] == 240002
    assert refusal(exchange(arm_token()))[2] == 500131


REJECTED_EXCHANGES = {
    "no token use": ({"requested_token_use": None}, "invalid_request", 900144),
    "another token use": ({"requested_token_use": "other"}, "invalid_request", 9002313),
    "no scope": ({"scope": None}, "invalid_request", 900144),
    "an unknown resource": ({"scope": "api://other/.default"}, "invalid_resource", 500011),
    "a scope ARM lacks": (
        {"scope": "https://management.azure.com/other"},
        "invalid_client",
        650053,
    ),
    "a scope without consent": ({"scope": "User.Read"}, REFUSED_GRANT, 65001),
    "claims that are not an object": ({"claims": "[]"}, "invalid_request", 9002313),
    "a grant Entra lacks": ({"grant_type": "magic"}, "unsupported_grant_type", 70003),
    "no grant": ({"grant_type": None}, "invalid_request", 900144),
    "two assertions": ({"assertion": ["a", "b"]}, "invalid_request", 9002313),
}


@pytest.mark.parametrize(
    ("form", "error", "code"), REJECTED_EXCHANGES.values(), ids=REJECTED_EXCHANGES.keys()
)
def test_rejects_an_exchange_with(azure, exchange, form, error, code):
    azure.consent_all()
    assert refusal(exchange(**{"assertion": azure.access_token(), **form})) == (400, error, code)


def test_api_cannot_request_a_token_for_itself(azure, exchange):
    scope = f"api://{azure.api.client_id}/.default"
    assert refusal(exchange(azure.access_token(), scope=scope))[2] == 90009


# --- who calls ------------------------------------------------------------------------------------


REJECTED_CLIENTS = {
    "another secret": ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
    "a secret that is not ASCII": ({"client_secret": "é"}, 401, "invalid_client", 7000215),
    "no secret": ({"client_secret": None}, 401, "invalid_client", 7000218),
    "no client ID": ({"client_id": None}, 400, "invalid_request", 900144),
    "an unknown client ID": ({"client_id": "unknown"}, 400, "unauthorized_client", 700016),
    "an assertion of another type": (
        {"client_secret": None, "client_assertion_type": "saml", "client_assertion": "x"},
        401,
        "invalid_client",
        7000218,
    ),
    "ARM's client ID": ({"client_id": ARM_ID}, 401, "invalid_client", 7000215),
}


@pytest.mark.parametrize(
    ("form", "status", "error", "code"), REJECTED_CLIENTS.values(), ids=REJECTED_CLIENTS.keys()
)
def test_rejects_a_client_with(azure, exchange, form, status, error, code):
    azure.consent_all()
    assert refusal(exchange(azure.access_token(), **form)) == (status, error, code)


def test_rejects_a_secret_that_only_begins_or_ends_like_the_registered_one(azure, exchange):
    secret = azure.api.secret
    for wrong in (secret[:-1], secret[:8], secret + "x", secret.swapcase(), secret[1:]):
        refused = exchange(azure.access_token(), client_secret=wrong)
        assert refusal(refused) == (401, "invalid_client", 7000215)


def test_rejects_the_secret_of_the_other_client(azure, exchange):
    response = exchange(azure.access_token(), client_secret=azure.ui.secret)
    assert refusal(response)[2] == 7000215


def test_ignores_a_secret_in_the_query_string(azure, back):
    response = back.post(
        f"/{azure.tenant_id}/oauth2/v2.0/token",
        query_string={"client_id": azure.api.client_id, "client_secret": azure.api.secret},
        data={"grant_type": "refresh_token", "client_id": azure.api.client_id},
    )
    assert refusal(response)[2] == 7000218


def test_accepts_a_secret_in_basic_authentication(azure, exchange):
    azure.consent_all()
    secret = "a+b %2F:~"
    secrets = (*azure.api.secrets, Secret(secret))
    azure.applications[azure.api.client_id] = replace(azure.api, secrets=secrets)
    for sent, status in ((quote(secret, safe=""), 200), (secret, 401), ("wrong", 401)):
        pair = f"{azure.api.client_id}:{sent}"
        headers = {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        form = {"headers": headers, "client_id": None, "client_secret": None}
        assert exchange(azure.access_token(), **form).status_code == status, sent


# --- certificates ---------------------------------------------------------------------------------


def client_assertion(azure, key=None, header=None, **claims):
    """What MSAL sends for a certificate."""
    header = header or {"x5t": (key or azure.keys.rogue).kid}
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
    return jwt.encode(payload, private, header.pop("alg", "PS256"), headers=header)


ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture
def exchange_with_assertion(azure, exchange):
    """Exchange Alice's token as the API, which authenticates with ``assertion``."""
    azure.consent_all()

    def exchange_with_assertion(assertion):
        return exchange(
            azure.access_token(),
            client_secret=None,
            client_assertion_type=ASSERTION_TYPE,
            client_assertion=assertion,
        )

    return exchange_with_assertion


WRONG_ASSERTIONS = {
    "another audience": ({"aud": "https://elsewhere.example"}, 700027),
    "another issuer": ({"iss": "other"}, 70025),
    "another subject": ({"sub": "other"}, 700027),
    "an expiry long ago": ({"exp": 1}, 700024),
    "no expiry": ({"exp": None}, 700024),
    "an expiry in words": ({"exp": "tomorrow"}, 700024),
    "a start in the future": ({"nbf": 1 << 40}, 700024),
    "no subject": ({"sub": None}, 700027),
}


def test_certificate_authenticates_and_shows_in_the_token(azure, exchange_with_assertion):
    azure.register_certificate(azure.api, azure.keys.rogue.der)
    response = exchange_with_assertion(client_assertion(azure))
    assert unverified(response.json["access_token"])["appidacr"] == "2"


def test_each_certificate_of_a_registration_authenticates(azure, exchange_with_assertion):
    certificates = [azure.keys.current.der, azure.keys.rogue.der, SigningKey().der]
    for der in certificates:
        azure.register_certificate(azure.api, der)
    digest = base64url(hashlib.sha256(azure.keys.rogue.der).digest())
    for assertion in (
        client_assertion(azure),
        client_assertion(azure, header={"x5t#S256": f"{digest}=", "alg": "RS256"}),
        client_assertion(azure, aud=azure.issuer),
    ):
        assert exchange_with_assertion(assertion).status_code == 200
    other = base64url(hashlib.sha256(certificates[0]).digest())
    refused = exchange_with_assertion(client_assertion(azure, header={"x5t#S256": other}))
    assert refusal(refused)[2] == 700027


@pytest.mark.parametrize(("claims", "code"), WRONG_ASSERTIONS.values(), ids=WRONG_ASSERTIONS.keys())
def test_rejects_a_client_assertion_with(azure, exchange_with_assertion, claims, code):
    azure.register_certificate(azure.api, azure.keys.rogue.der)
    refused = exchange_with_assertion(client_assertion(azure, **claims))
    assert refusal(refused) == (401, "invalid_client", code)


def test_client_assertion_is_good_for_five_minutes_after_its_expiry(azure, exchange_with_assertion):
    azure.register_certificate(azure.api, azure.keys.rogue.der)
    for begins, status in ((290, 200), (320, 401)):
        early = client_assertion(azure, nbf=int(azure.clock.now()) + begins)
        assert exchange_with_assertion(early).status_code == status
    assertion = client_assertion(azure)
    for seconds, status in ((890, 200), (20, 401), (24 * 3600, 401)):
        azure.clock.advance(seconds)
        assert exchange_with_assertion(assertion).status_code == status


def test_rejects_an_expired_certificate(azure, exchange_with_assertion):
    azure.register_certificate(azure.api, azure.keys.rogue.der)
    azure.clock.advance(5 * 366 * 24 * 3600)
    assert refusal(exchange_with_assertion(client_assertion(azure)))[2] == 700027


def test_rejects_a_client_assertion_of_another_certificate(azure, exchange_with_assertion):
    other = SigningKey()
    azure.register_certificate(azure.api, other.der)
    for key in (None, other):  # naming its own certificate, and naming the registered one
        refused = exchange_with_assertion(client_assertion(azure, key))
        assert refusal(refused) == (401, "invalid_client", 700027)


# --- federated credentials ------------------------------------------------------------------------

POD = "system:serviceaccount:default:flask-api"


@pytest.fixture
def cluster(azure, quick_issuers):
    """Another company's issuer, whose tokens for ``POD`` the API's registration trusts."""
    azure.add_issuer("https://another.example/")
    cluster = azure.add_issuer()
    azure.trust(azure.api, "https://another.example/", f"{POD}-2", "another audience")
    azure.trust(azure.api, cluster.url, POD)
    azure.trust(azure.api, cluster.url, "a third", "a third audience")
    return cluster


def test_token_of_a_trusted_issuer_replaces_a_secret(azure, cluster, exchange_with_assertion):
    response = exchange_with_assertion(cluster.token(POD, azure.clock.now()))
    assert response.status_code == 200, response.text
    assert unverified(response.json["access_token"])["appidacr"] == "2"


WRONG_FEDERATED = {
    "another issuer": ({"iss": "https://elsewhere.example/"}, 700211),
    "an issuer without its last slash": ({"iss": "https://cluster.example"}, 700211),
    "another subject": ({"sub": f"{POD}-2"}, 700213),
    "the subject in another case": ({"sub": POD.upper()}, 700213),
    "no subject": ({"sub": None}, 700213),
    "another audience": ({"aud": ["https://cluster.example"]}, 700212),
    "the audience of another subject": ({"aud": ["a third audience"]}, 700212),
    "another subject's audience of its own": ({"sub": "a third"}, 700212),
    "two audiences": ({"aud": ["api://AzureADTokenExchange", "other"]}, 700212),
    "the exchange's ID for an audience": ({"aud": EXCHANGE_ID}, 700212),
    "an expiry in the past": ({"exp": 1}, 700024),
    "no expiry": ({"exp": None}, 700024),
    "a start in the future": ({"nbf": 1 << 40}, 700024),
}


@pytest.mark.parametrize(("claims", "code"), WRONG_FEDERATED.values(), ids=WRONG_FEDERATED.keys())
def test_rejects_a_federated_token_with(azure, cluster, exchange_with_assertion, claims, code):
    subject = claims.get("sub", POD)
    assertion = cluster.token(POD, azure.clock.now(), **claims)
    assert unverified(assertion).get("sub") == subject
    assert refusal(exchange_with_assertion(assertion)) == (401, "invalid_client", code)


def test_rejects_a_federated_token_with_the_audience_of_another_credential(
    azure, cluster, exchange_with_assertion
):
    azure.trust(azure.api, "https://elsewhere.example/", POD, "another audience")
    assertion = cluster.token(POD, azure.clock.now(), aud=["another audience"])
    assert refusal(exchange_with_assertion(assertion)) == (401, "invalid_client", 700212)


def test_rejects_a_federated_token_with_a_key_the_issuer_does_not_publish(
    azure, cluster, exchange_with_assertion
):
    assertion = cluster.token(POD, azure.clock.now(), key=azure.keys.current)
    assert refusal(exchange_with_assertion(assertion)) == (401, "invalid_client", 7000272)


def test_rejects_a_federated_token_whose_signature_is_wrong(
    azure, cluster, exchange_with_assertion
):
    genuine, other = cluster.token(POD, azure.clock.now()), cluster.token("other", 0)
    head, _, signature = genuine.rpartition(".")
    swapped = f"{head}.{other.rpartition('.')[2]}"
    assert swapped.rpartition(".")[2] != signature
    assert refusal(exchange_with_assertion(swapped)) == (401, "invalid_client", 700027)


def test_rejects_a_federated_token_while_the_issuers_keys_are_away(
    azure, cluster, exchange_with_assertion
):
    assertion = cluster.token(POD, azure.clock.now())
    del azure.issuers[cluster.url]
    assert refusal(exchange_with_assertion(assertion)) == (400, "invalid_request", 501661)


def test_rejects_a_federated_token_at_an_application_that_trusts_nobody(azure, cluster, post_token):
    response = post_token(
        azure.ui,
        grant_type="client_credentials",
        scope="https://graph.microsoft.com/.default",
        client_secret=None,
        client_assertion_type=ASSERTION_TYPE,
        client_assertion=cluster.token(POD, azure.clock.now()),
    )
    assert refusal(response) == (401, "invalid_client", 70025)


def test_older_and_newer_key_of_an_issuer_are_both_good(azure, cluster, exchange_with_assertion):
    before = cluster.token(POD, azure.clock.now())
    cluster.keys.append(SigningKey())
    after = cluster.token(POD, azure.clock.now())
    assert [exchange_with_assertion(token).status_code for token in (before, after)] == [200, 200]


# --- applications that call as themselves ---------------------------------------------------------


@pytest.fixture
def own_token(azure, post_token):
    def own_token(scope, app=None):
        return post_token(app or azure.ui, grant_type="client_credentials", scope=scope)

    return own_token


def test_application_gets_a_token_for_itself_in_the_version_of_the_resource(azure, own_token):
    body = own_token(f"{azure.api.uris[0]}/.default").json
    assert set(body) == {"token_type", "expires_in", "ext_expires_in", "access_token"}
    claims = unverified(body["access_token"])
    assert (claims["ver"], claims["aud"], claims["azp"]) == (
        "2.0",
        azure.api.client_id,
        azure.ui.client_id,
    )
    assert "scp" not in claims
    assert claims["sub"] == claims["oid"]
    assert (claims["idtyp"], claims["azpacr"]) == ("app", "1")
    others = own_token(f"{azure.api.uris[0]}/.default", azure.add_service()).json["access_token"]
    assert unverified(others)["oid"] != claims["oid"]
    claims = unverified(own_token("https://management.azure.com/.default").json["access_token"])
    assert (claims["ver"], claims["aud"], claims["appid"]) == (
        "1.0",
        "https://management.azure.com",
        azure.ui.client_id,
    )


def test_roles_granted_by_graph_are_in_tokens_for_graph_only(azure, own_token):
    service = azure.add_service("Application.Read.All")
    for resource, roles in (
        ("graph.microsoft.com", ["Application.Read.All"]),
        ("management.azure.com", None),
    ):
        token = own_token(f"https://{resource}/.default", service).json["access_token"]
        assert unverified(token).get("roles") == roles


WRONG_OWN_SCOPES = {
    "a named scope": ("https://management.azure.com/user_impersonation", "invalid_scope", 1002012),
    "two resources": (
        "https://management.azure.com/.default https://graph.microsoft.com/.default",
        "invalid_scope",
        1002012,
    ),
    "an unknown resource": ("api://other/.default", "invalid_resource", 500011),
}


@pytest.mark.parametrize(
    ("scope", "error", "code"), WRONG_OWN_SCOPES.values(), ids=WRONG_OWN_SCOPES.keys()
)
def test_application_gets_no_token_for(own_token, scope, error, code):
    assert refusal(own_token(scope)) == (400, error, code)


def test_exchange_rejects_an_applications_own_token(azure, own_token, exchange):
    assertion = own_token(f"{azure.api.uris[0]}/.default").json["access_token"]
    assert refusal(exchange(assertion)) == (400, REFUSED_GRANT, 7000114)


def test_certificate_shows_in_an_applications_own_token(azure, post_token):
    azure.register_certificate(azure.api, azure.keys.rogue.der)
    form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": client_assertion(azure)}
    form |= {"client_secret": None, "scope": "https://management.azure.com/.default"}
    answer = post_token(azure.api, grant_type="client_credentials", **form).json
    assert unverified(answer["access_token"])["appidacr"] == "2"


def test_public_client_gets_no_token_for_itself(azure, own_token):
    client = azure.applications[COMMAND_LINE_ID]
    refused = own_token("https://graph.microsoft.com/.default", client)
    assert refusal(refused) == (401, "invalid_client", 7000218)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"client_id": "the UI"}, 7000218),
        ({"client_id": "unknown"}, 700016),
        ({"client_id": None}, 900144),
        ({"scope": None}, 900144),
        ({"scope": "https://graph.microsoft.com/Unknown"}, 650053),
    ],
    ids=["a confidential client", "an unknown client", "no client", "no scope", "an unknown scope"],
)
def test_no_device_code_for(azure, back, form, code):
    form = {"client_id": COMMAND_LINE_ID, "scope": "openid"} | form
    form = {k: azure.ui.client_id if v == "the UI" else v for k, v in form.items() if v}
    refused = back.post(f"/{azure.tenant_id}/oauth2/v2.0/devicecode", data=form)
    assert refusal(refused)[2] == code


def test_rejects_an_unknown_tenant(azure, back):
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


def test_tokens_must_not_be_stored(azure, exchange):
    azure.consent_all()
    headers = exchange(azure.access_token()).headers
    assert "no-store" in headers["Cache-Control"]
    assert (headers["Pragma"], headers["Expires"]) == ("no-cache", "-1")


def test_guest_has_another_object_id_in_the_home_tenant(azure, front, redeem, exchange):
    body = redeem(front.sign_in("frank")["code"]).json
    claims = unverified(body["access_token"])
    assert claims["tid"] == azure.tenant_id
    assert claims["idp"] == f"https://sts.windows.net/{PARTNER_ID}/"
    client_info = json.loads(urlsafe_b64decode(body["client_info"] + "=="))
    assert client_info["utid"] == PARTNER_ID
    assert client_info["uid"] != claims["oid"]
    assert unverified(body["id_token"])["idp"] == claims["idp"]
    for_arm = unverified(exchange(body["access_token"]).json["access_token"])
    assert for_arm["upn"] == for_arm["unique_name"] == "frank_fabrikam.example#EXT#@contoso.example"
    alice = unverified(azure.access_token("alice"))
    assert alice["sub"] != unverified(azure.access_token("bob"))["sub"]
