"""Discovery and JWKS."""

import hashlib
import json
from base64 import b64decode

import pytest

from tests.mock_azure import MockAzure
from tests.mock_azure.keys import base64url
from tests.mock_azure.tokens import unverified


def test_browser_endpoints_are_on_the_front_and_server_endpoints_on_the_back(azure, back):
    document = back.get(f"/{azure.tenant_id}/v2.0/.well-known/openid-configuration").json
    front = {"authorization_endpoint", "end_session_endpoint"}
    for name in ("authorization_endpoint", "end_session_endpoint", "token_endpoint", "jwks_uri"):
        expected = azure.front_url if name in front else azure.back_url
        assert document[name].startswith(f"{expected}/{azure.tenant_id}/")
    device, userinfo = document["device_authorization_endpoint"], document["userinfo_endpoint"]
    assert device == f"{azure.authority}/oauth2/v2.0/devicecode"
    assert userinfo == f"{azure.graph_url}/oidc/userinfo"


def test_issuer_does_not_depend_on_the_requests_host(azure, back):
    path = f"/{azure.tenant_id}/v2.0/.well-known/openid-configuration"
    document = back.get(path, headers={"Host": "127.0.0.1:9"}).json
    assert document["issuer"] == azure.issuer == f"{azure.back_url}/{azure.tenant_id}/v2.0"


@pytest.mark.parametrize(
    "page",
    ["v2.0/.well-known/openid-configuration", "discovery/v2.0/keys"],
    ids=["discovery", "keys"],
)
def test_rejects_an_unknown_tenant(back, page):
    response = back.get(f"/common/{page}")
    assert response.status_code == 400
    assert (response.json["error"], response.json["error_codes"]) == ("invalid_tenant", [90002])


def test_keys_name_their_certificate_and_no_algorithm(azure, back):
    keys = back.get(f"/{azure.tenant_id}/discovery/v2.0/keys").json["keys"]
    assert len(keys) >= 2
    for key in keys:
        certificate = b64decode(key["x5c"][0])
        thumbprint = base64url(hashlib.sha1(certificate, usedforsecurity=False).digest())
        assert key["kid"] == key["x5t"] == thumbprint
        assert (key["kty"], key["use"], key["issuer"]) == ("RSA", "sig", azure.issuer)
        assert not {"alg", "d", "p", "q"} & set(key)


def test_rejects_a_foreign_host_name(azure, back):
    path = f"/{azure.tenant_id}/discovery/v2.0/keys"
    assert back.get(path, headers={"Host": "evil.example"}).status_code == 400


def test_can_stand_in_for_microsofts_own_addresses():
    login, arm = "https://login.microsoftonline.com", "https://management.azure.com"
    azure = MockAzure(front_url=login, login_url=login, arm_url=arm)
    client = azure.app.test_client()
    path = f"/{azure.tenant_id}/v2.0/.well-known/openid-configuration"
    document = json.loads(client.get(path, base_url=login).text)
    assert document["issuer"] == f"{login}/{azure.tenant_id}/v2.0"
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint"):
        assert document[name].startswith(f"{login}/")
    assert client.get("/subscriptions", base_url=arm).status_code == 401
    settings = azure.flask_api_settings()
    assert settings["AZURE_MANAGEMENT_SUBSCRIPTIONS_URI"].startswith(f"{arm}/subscriptions?")
    assert "CA_BUNDLE" not in settings


def userinfo(back, token):
    return back.get("/oidc/userinfo", headers={"Authorization": f"Bearer {token}"})


def test_userinfo_tells_what_the_scopes_allow_about_the_same_subject(azure, back, front, redeem):
    for scope, names in (
        ("openid", {"sub"}),
        (
            "openid profile email",
            {"sub", "name", "family_name", "given_name", "picture", "email"},
        ),
    ):
        azure.consents.revoke("bob")
        tokens = redeem(front.sign_in("bob", scope=scope, prompt="login")["code"]).json
        claims = userinfo(back, tokens["access_token"]).json
        assert set(claims) == names
        assert claims["sub"] == unverified(tokens["id_token"])["sub"]
    assert (claims["name"], claims["email"]) == ("Bob Brown", "bob@contoso.example")
    assert (claims["given_name"], claims["family_name"]) == ("Bob", "Brown")
    assert azure.requests("userinfo")[-1].user == "bob"


def test_userinfo_needs_the_scope_openid(back, front, redeem):
    tokens = redeem(front.sign_in(scope="User.Read")["code"]).json
    assert userinfo(back, tokens["access_token"]).status_code == 403


def test_userinfo_is_not_for_an_application_or_another_resource(azure, back, post_token):
    scope = "https://graph.microsoft.com/.default"
    own = post_token(azure.ui, grant_type="client_credentials", scope=scope).json["access_token"]
    assert userinfo(back, own).status_code == 403
    assert userinfo(back, azure.access_token()).status_code == 401
