"""Graph's registrations: formats, rules and permissions, and their use by the sign-in."""

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

API_PERMISSION = {
    "resourceAppId": "797f4846-ba00-4fd7-ba43-dac1f8f63013",
    "resourceAccess": [{"id": "41094075-9dad-400e-a0bd-54e686782033", "type": "Scope"}],
}
SCOPE = {
    "id": "11111111-2222-4333-8444-555555555555",
    "value": "read",
    "type": "User",
    "isEnabled": True,
    "adminConsentDisplayName": "Read",
    "adminConsentDescription": "Reads.",
    "userConsentDisplayName": "Read",
    "userConsentDescription": "Reads.",
}
ROLES = (
    "Application.ReadWrite.All",
    "DelegatedPermissionGrant.ReadWrite.All",
    "Directory.Read.All",
)
TRUST = {
    "name": "an-identity",
    "issuer": "https://login.example/tenant/v2.0",
    "subject": "an object ID",
    "audiences": ["api://AzureADTokenExchange"],
}


@pytest.fixture
def token_for(azure, post_token):
    """A token for Graph with these application permissions."""

    def token_for(*roles):
        scope = "https://graph.microsoft.com/.default"
        service = azure.add_service(*roles)
        answer = post_token(service, grant_type="client_credentials", scope=scope)
        assert answer.status_code == 200, answer.text
        return answer.json["access_token"]

    return token_for


@pytest.fixture
def call(back, token_for):
    """Call Graph as a service with all permissions."""
    authorization = f"Bearer {token_for(*ROLES)}"

    def call(method, path, body=None, token=None):
        headers = {"Authorization": f"Bearer {token}" if token else authorization}
        return back.open(f"/v1.0{path}", method=method, json=body, headers=headers)

    return call


@pytest.fixture
def application(call):
    return call("POST", "/applications", {"displayName": "New"}).json


def error(response):
    return response.status_code, response.json["error"]["code"]


def test_a_new_application_has_what_graph_gives_it(call, application):
    assert re.fullmatch("[0-9a-f-]{36}", application["appId"])
    assert application["id"] != application["appId"]
    assert application["api"]["requestedAccessTokenVersion"] is None
    for path in (f"/{application['id']}", f"(appId='{application['appId']}')"):
        assert call("GET", f"/applications{path}").json == application


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(None, id="nothing"),
        pytest.param({}, id="no-name"),
        pytest.param({"displayName": "x", "unknown": 1}, id="unknown-property"),
        pytest.param({"displayName": "x", "api": {"unknown": 1}}, id="unknown-inner-property"),
        pytest.param({"displayName": 1}, id="another-type"),
        pytest.param({"displayName": "x", "tags": "one"}, id="not-a-collection"),
        pytest.param({"displayName": "x", "signInAudience": "Everybody"}, id="unknown-audience"),
        pytest.param(
            {"displayName": "x", "api": {"requestedAccessTokenVersion": 3}}, id="token-version-3"
        ),
        pytest.param(
            {"displayName": "x", "api": {"knownClientApplications": ["me"]}}, id="not-a-guid"
        ),
        pytest.param({"displayName": "x", "identifierUris": ["api://mine"]}, id="foreign-uri"),
        pytest.param(
            {
                "displayName": "x",
                "api": {"oauth2PermissionScopes": [SCOPE, {**SCOPE, "value": "write"}]},
            },
            id="two-scopes-of-one-id",
        ),
        pytest.param(
            {
                "displayName": "x",
                "api": {
                    "oauth2PermissionScopes": [
                        SCOPE,
                        {**SCOPE, "id": API_PERMISSION["resourceAppId"]},
                    ]
                },
            },
            id="two-scopes-of-one-value",
        ),
        pytest.param(
            {"displayName": "x", "api": {"oauth2PermissionScopes": [{**SCOPE, "value": "a b"}]}},
            id="scope-with-a-space",
        ),
        pytest.param(
            {"displayName": "x", "requiredResourceAccess": [{"resourceAppId": "me"}]},
            id="resource-without-a-guid",
        ),
    ],
)
def test_an_application_is_refused_with(call, body):
    assert error(call("POST", "/applications", body)) == (400, "Request_BadRequest")


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("https://www.contoso.example/callback", 204),
        ("http://localhost:8000/callback", 204),
        ("http://127.0.0.1:8000/callback", 204),
        ("http://www.contoso.example/callback", 400),
        ("https://*.contoso.example/callback", 400),
        ("https://www.contoso.example/callback#here", 400),
        ("/callback", 400),
        ("https://www.contoso.example/" + "x" * 256, 400),
    ],
)
def test_a_redirect_uri(call, application, uri, status):
    body = {"web": {"redirectUris": [uri]}}
    assert call("PATCH", f"/applications/{application['id']}", body).status_code == status


def test_an_enabled_scope_can_be_neither_deleted_nor_renamed(call, application):
    path = f"/applications/{application['id']}"

    def put(*scopes):
        return call("PATCH", path, {"api": {"oauth2PermissionScopes": list(scopes)}})

    assert put(SCOPE).status_code == 204
    assert put({**SCOPE, "userConsentDisplayName": "Another text"}).status_code == 204
    for scopes in ([], [{**SCOPE, "value": "write"}]):
        assert error(put(*scopes)) == (400, "CannotDeleteOrUpdateEnabledEntitlement")
    assert put({**SCOPE, "isEnabled": False}).status_code == 204
    assert put().status_code == 204


def test_a_patch_keeps_what_it_leaves_out(call, application):
    path = f"/applications/{application['id']}"
    call("PATCH", path, {"api": {"oauth2PermissionScopes": [SCOPE]}, "tags": ["x"]})
    call("PATCH", path, {"api": {"requestedAccessTokenVersion": 2}})
    application = call("GET", path).json
    assert application["tags"] == ["x"]
    assert application["api"]["oauth2PermissionScopes"] == [SCOPE]


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("displayName eq 'New'", 1),
        ("displayName eq 'Old'", 0),
        ("tags/any(t:t eq 'x')", 1),
        ("tags/any(t:t eq 'y')", 0),
        ("", 1),
    ],
)
def test_a_filter_returns(call, application, query, number):
    call("PATCH", f"/applications/{application['id']}", {"tags": ["x"]})
    assert len(call("GET", f"/applications?$filter={query}").json["value"]) == number


def test_an_unsupported_filter_is_refused(call):
    refused = call("GET", "/applications?$filter=startswith(displayName,'N')")
    assert error(refused) == (400, "Request_UnsupportedQuery")


def test_a_secret_is_shown_once(call, application):
    path = f"/applications/{application['id']}"
    made = call("POST", f"{path}/addPassword", {"passwordCredential": {"displayName": "x"}}).json
    (listed,) = call("GET", path).json["passwordCredentials"]
    assert made["secretText"].startswith(listed["hint"])
    assert (listed["secretText"], listed["keyId"]) == (None, made["keyId"])
    key = {"keyId": made["keyId"]}
    assert call("POST", f"{path}/removePassword", key).status_code == 204
    assert call("POST", f"{path}/removePassword", key).status_code == 400


def test_a_secret_cannot_have_expired_when_it_is_created(azure, call, application):
    end = azure.clock.stamp(azure.clock.now() - 60).replace(" ", "T")
    body = {"passwordCredential": {"endDateTime": end}}
    refused = call("POST", f"/applications/{application['id']}/addPassword", body)
    assert error(refused) == (400, "Request_BadRequest")


def test_two_applications_cannot_have_the_same_identifier(call, application):
    body = {"identifierUris": ["https://contoso.example/api"]}
    assert call("PATCH", f"/applications/{application['id']}", body).status_code == 204
    second = call("POST", "/applications", {"displayName": "Second", **body})
    assert error(second) == (400, "Request_BadRequest")


def test_a_secret_works_until_it_expires_or_is_removed(azure, call, application, post_token):
    path = f"/applications/{application['id']}"
    end = azure.clock.stamp(azure.clock.now() + 60).replace(" ", "T")
    credential = {"passwordCredential": {"endDateTime": end}}
    older = call("POST", f"{path}/addPassword", {}).json  # an app may have several
    made = call("POST", f"{path}/addPassword", credential).json
    call("POST", "/servicePrincipals", {"appId": application["appId"]})

    def answer(secret=made):
        app = azure.applications[application["appId"]]
        ask = {"grant_type": "client_credentials", "client_secret": secret["secretText"]}
        scope = "https://graph.microsoft.com/.default"
        return post_token(app, scope=scope, **ask).json.get("error_codes")

    assert answer() is answer(older) is None
    azure.clock.advance(61)
    assert answer() == [7000222]
    azure.clock.advance(-61)
    call("POST", f"{path}/removePassword", {"keyId": made["keyId"]})
    assert answer() == [7000215]


def test_nobody_signs_in_without_a_service_principal(azure, call, application):
    assert application["appId"] not in azure.applications
    body = {"appId": application["appId"]}
    assert call("POST", "/servicePrincipals", body).status_code == 201
    assert azure.applications[application["appId"]].name == "New"
    assert error(call("POST", "/servicePrincipals", body)) == (409, "ObjectConflict")
    unknown = call("POST", "/servicePrincipals", {"appId": SCOPE["id"]})
    assert error(unknown) == (400, "NoBackingApplicationObject")


@pytest.mark.parametrize(("is_enabled", "status"), [(True, 200), (False, 303)])
def test_only_an_enabled_scope_can_be_requested(
    azure, front, call, application, is_enabled, status
):
    uri = f"api://{application['appId']}"
    scopes = {"oauth2PermissionScopes": [{**SCOPE, "isEnabled": is_enabled}]}
    body = {"identifierUris": [uri], "api": scopes}
    assert call("PATCH", f"/applications/{application['id']}", body).status_code == 204
    call("POST", "/servicePrincipals", {"appId": application["appId"]})
    page = front.authorize(scope=f"{uri}/read")
    assert page.status_code == status
    assert ("error=invalid_" in page.headers.get("Location", "")) != is_enabled


def test_deleting_an_application_deletes_everything_that_belongs_to_it(azure, call, application):
    body = {"requiredResourceAccess": [API_PERMISSION]}
    call("PATCH", f"/applications/{application['id']}", body)
    client = call("POST", "/servicePrincipals", {"appId": application["appId"]}).json["id"]
    arm = call("GET", f"/servicePrincipals(appId='{API_PERMISSION['resourceAppId']}')").json["id"]
    grant = {
        "clientId": client,
        "resourceId": arm,
        "consentType": "AllPrincipals",
        "scope": "user_impersonation",
    }
    assert call("POST", "/oauth2PermissionGrants", grant).status_code == 201
    app_id, arm_id = application["appId"], API_PERMISSION["resourceAppId"]
    assert azure.applications[app_id].required == ((arm_id, "user_impersonation"),)
    assert azure.consents.granted("bob", app_id, arm_id) == {"user_impersonation"}
    assert error(call("POST", "/oauth2PermissionGrants", grant)) == (409, "ObjectConflict")

    assert call("DELETE", f"/applications/{application['id']}").status_code == 204
    assert app_id not in azure.applications
    assert azure.consents.granted("bob", app_id, arm_id) == set()
    registry = azure.registry
    assert [registry.applications, registry.principals, registry.grants] == [{}, {}, {}]
    gone = call("GET", f"/applications/{application['id']}")
    assert error(gone) == (404, "Request_ResourceNotFound")


def test_deleting_an_api_deletes_the_consents_to_it(call, application):
    scopes = {"oauth2PermissionScopes": [SCOPE]}
    call("PATCH", f"/applications/{application['id']}", {"api": scopes})
    client = call("POST", "/applications", {"displayName": "Client"}).json
    client_id, resource_id = (
        call("POST", "/servicePrincipals", {"appId": app["appId"]}).json["id"]
        for app in (client, application)
    )
    grant = {"clientId": client_id, "resourceId": resource_id, "consentType": "AllPrincipals"}
    assert call("POST", "/oauth2PermissionGrants", grant | {"scope": "read"}).status_code == 201
    assert call("DELETE", f"/applications/{application['id']}").status_code == 204
    assert call("GET", "/oauth2PermissionGrants").json["value"] == []


def test_owners_are_people_of_the_tenant(azure, call, application):
    path = f"/applications/{application['id']}/owners"
    assert call("GET", path).json["value"] == []
    user = azure.users["alice"]
    alice = {"@odata.id": f"{azure.graph_url}/v1.0/directoryObjects/{user.oid}"}
    assert call("POST", f"{path}/$ref", alice).status_code == 204
    assert call("GET", path).json["value"] == [{"id": user.oid, "userPrincipalName": user.upn}]
    again = call("POST", f"{path}/$ref", alice)
    assert error(again) == (400, "Request_BadRequest")
    assert "already exist" in again.json["error"]["message"]
    nobody = {"@odata.id": f"{azure.graph_url}/v1.0/directoryObjects/{SCOPE['id']}"}
    assert call("POST", f"{path}/$ref", nobody).status_code == 404
    bob = f"https://graph.example/v1.0/directoryObjects/{azure.users['bob'].oid}"
    elsewhere = {"@odata.id": bob}
    assert error(call("POST", f"{path}/$ref", elsewhere)) == (400, "Request_BadRequest")


def test_adding_an_owner_needs_a_permission_to_read_the_directory_too(
    azure, call, application, token_for
):
    path = f"/applications/{application['id']}/owners"
    body = {"@odata.id": f"{azure.graph_url}/v1.0/directoryObjects/{azure.users['alice'].oid}"}
    writer, reader = token_for("Application.ReadWrite.All"), token_for("Directory.Read.All")
    for token in (writer, reader):
        refused = call("POST", f"{path}/$ref", body, token)
        assert error(refused) == (403, "Authorization_RequestDenied")
    call("POST", f"{path}/$ref", body)
    (owner,) = call("GET", path, token=writer).json["value"]
    assert owner == {"id": azure.users["alice"].oid, "userPrincipalName": None}


def test_the_list_of_owners_can_lag_behind(azure, call, application):
    azure.registry.owners[application["id"]] = {azure.users["alice"].oid}
    azure.registry.owners_lag = True
    assert call("GET", f"/applications/{application['id']}/owners").json["value"] == []


# --- certificates and federated credentials -------------------------------------------------------


def certificate(days=365, begun_days_ago=0):
    """A self-signed certificate in Graph's format."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test")])
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=begun_days_ago)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    content = base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()
    return {"type": "AsymmetricX509Cert", "usage": "Verify", "key": content}


def test_a_certificate_is_stored_and_its_content_shown_on_request_only(azure, call, application):
    path = f"/applications/{application['id']}"
    sent = certificate()
    assert call("PATCH", path, {"keyCredentials": [sent]}).status_code == 204
    (key,) = call("GET", path).json["keyCredentials"]
    assert key["key"] is None
    assert re.fullmatch("[0-9A-F]{40}", key["customKeyIdentifier"])
    assert key["displayName"] == "CN=Test"
    shown = call("GET", f"{path}?$select=keyCredentials").json
    assert shown == {"keyCredentials": [{**key, "key": sent["key"]}]}
    call("POST", "/servicePrincipals", {"appId": application["appId"]})
    registered = azure.applications[application["appId"]].certificates
    assert registered == (base64.b64decode(sent["key"]),)


def test_certificates_that_a_patch_leaves_out_are_gone(call, application):
    path = f"/applications/{application['id']}"
    call("PATCH", path, {"keyCredentials": [certificate()]})
    (first,) = call("GET", f"{path}?$select=keyCredentials").json["keyCredentials"]
    assert call("PATCH", path, {"keyCredentials": [first, certificate()]}).status_code == 204
    assert len(call("GET", path).json["keyCredentials"]) == 2
    call("PATCH", path, {"keyCredentials": [certificate()]})
    (last,) = call("GET", path).json["keyCredentials"]
    assert last["keyId"] != first["keyId"]


@pytest.mark.parametrize(
    "key",
    [
        pytest.param({**certificate(), "key": "no base64"}, id="key-that-is-not-base64"),
        pytest.param({**certificate(), "key": "QUJD"}, id="key-that-is-not-a-certificate"),
        pytest.param({"type": "AsymmetricX509Cert", "usage": "Verify"}, id="no-key"),
        pytest.param({**certificate(), "type": "Symmetric"}, id="unknown-type"),
        pytest.param({**certificate(), "usage": "Sign"}, id="unknown-usage"),
        pytest.param({**certificate(), "thumbprint": "x"}, id="unknown-property"),
        pytest.param(certificate(days=10, begun_days_ago=20), id="expired"),
        pytest.param(
            {**certificate(days=10), "endDateTime": "2099-01-01T00:00:00Z"},
            id="longer-than-its-certificate",
        ),
    ],
)
def test_a_certificate_is_refused_with(call, application, key):
    refused = call("PATCH", f"/applications/{application['id']}", {"keyCredentials": [key]})
    assert error(refused) == (400, "Request_BadRequest")


def test_a_registered_certificate_cannot_be_exchanged_under_its_id(call, application):
    path = f"/applications/{application['id']}"
    call("PATCH", path, {"keyCredentials": [certificate()]})
    (key,) = call("GET", f"{path}?$select=keyCredentials").json["keyCredentials"]
    for other in ({**key, "key": certificate()["key"]}, {**key, "key": None}):
        assert call("PATCH", path, {"keyCredentials": [other]}).status_code == 400


def test_a_policy_can_forbid_credentials_or_their_lifetime(azure, call, application):
    path = f"/applications/{application['id']}"
    long = {"passwordCredential": {"displayName": "x"}}  # two years if nothing else is said
    azure.registry.credential_days = {"passwordCredentials": 0, "keyCredentials": 90}
    refused = call("POST", f"{path}/addPassword", long)
    assert error(refused) == (400, "CredentialTypeNotAllowedAsPerAppPolicy")
    refused = call("PATCH", path, {"keyCredentials": [certificate(days=91)]})
    assert error(refused) == (400, "CredentialInvalidLifetimeAsPerAppPolicy")
    assert call("PATCH", path, {"keyCredentials": [certificate(days=90)]}).status_code == 204
    azure.registry.credential_days = {"passwordCredentials": 30}
    refused = call("POST", f"{path}/addPassword", long)
    assert error(refused) == (400, "CredentialInvalidLifetimeAsPerAppPolicy")


def test_a_federated_credential_is_listed_used_and_deleted(azure, call, application):
    path = f"/applications/{application['id']}/federatedIdentityCredentials"
    call("POST", "/servicePrincipals", {"appId": application["appId"]})
    made = call("POST", path, TRUST)
    assert made.status_code == 201
    assert made.json == {**TRUST, "description": None, "id": made.json["id"]}
    assert call("GET", path).json["value"] == [made.json]
    (trust,) = azure.applications[application["appId"]].federated
    assert trust == (TRUST["issuer"], TRUST["subject"], TRUST["audiences"][0])
    assert call("DELETE", f"{path}/{made.json['id']}").status_code == 204
    assert azure.applications[application["appId"]].federated == ()
    assert call("DELETE", f"{path}/{made.json['id']}").status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"name": "no name"}, id="name-with-a-space"),
        pytest.param({"name": "x" * 121}, id="long-name"),
        pytest.param({"issuer": "http://login.example/v2.0"}, id="issuer-without-tls"),
        pytest.param({"audiences": []}, id="no-audience"),
        pytest.param({"audiences": ["one", "two"]}, id="two-audiences"),
        pytest.param({"subject": "x" * 601}, id="long-subject"),
        pytest.param({"subject": None}, id="no-subject"),
        pytest.param({"unknown": "x"}, id="unknown-property"),
    ],
)
def test_a_federated_credential_is_refused_with(call, application, change):
    path = f"/applications/{application['id']}/federatedIdentityCredentials"
    assert error(call("POST", path, {**TRUST, **change})) == (400, "Request_BadRequest")


def test_federated_credentials_are_unique_and_at_most_20(call, application):
    path = f"/applications/{application['id']}/federatedIdentityCredentials"
    assert error(call("POST", path, {"name": "a-name"})) == (400, "Request_BadRequest")
    call("POST", path, TRUST)
    assert error(call("POST", path, {**TRUST, "subject": "x"})) == (409, "ObjectConflict")
    assert error(call("POST", path, {**TRUST, "name": "x-2"})) == (400, "Request_BadRequest")
    for number in range(1, 20):
        other = {**TRUST, "name": f"name-{number}", "subject": str(number)}
        assert call("POST", path, other).status_code == 201
    too_many = call("POST", path, {**TRUST, "name": "name-20", "subject": "20"})
    assert error(too_many) == (400, "Request_BadRequest")


def test_optional_claims_are_replaced_and_reach_the_sign_in(azure, call, application):
    path = f"/applications/{application['id']}"
    assert application["optionalClaims"] is None
    call("PATCH", path, {"optionalClaims": {"accessToken": [{"name": "ipaddr"}]}})
    claims = {"idToken": [{"name": "login_hint", "essential": False}]}
    assert call("PATCH", path, {"optionalClaims": claims}).status_code == 204
    assert call("GET", path).json["optionalClaims"] == claims
    call("POST", "/servicePrincipals", {"appId": application["appId"]})
    assert azure.applications[application["appId"]].id_token_claims == ("login_hint",)
    lock = {"isEnabled": True, "allProperties": True}
    assert call("PATCH", path, {"servicePrincipalLockConfiguration": lock}).status_code == 204
    assert call("GET", path).json["servicePrincipalLockConfiguration"] == lock
    for wrong in (
        {"optionalClaims": {"idtoken": []}},
        {"servicePrincipalLockConfiguration": {"a": 1}},
    ):
        assert error(call("PATCH", path, wrong)) == (400, "Request_BadRequest")


@pytest.mark.parametrize(
    ("method", "path", "role", "lesser"),
    [
        ("GET", "/applications", "Application.Read.All", "Directory.AccessAsUser.All"),
        ("POST", "/applications", "Application.ReadWrite.All", "Application.Read.All"),
        (
            "GET",
            "/oauth2PermissionGrants",
            "DelegatedPermissionGrant.ReadWrite.All",
            "Application.ReadWrite.All",
        ),
    ],
)
def test_a_permission_is_needed(call, token_for, method, path, role, lesser):
    body = {"displayName": "x"}
    assert call(method, path, body, token_for(role)).status_code in (200, 201)
    refused = call(method, path, body, token_for(lesser))
    assert error(refused) == (403, "Authorization_RequestDenied")


def test_a_token_for_another_audience_is_refused(azure, call, arm_token):
    for token in (arm_token(), azure.access_token(), "no-token"):
        assert error(call("GET", "/applications", token=token)) == (
            401,
            "InvalidAuthenticationToken",
        )
    azure.clock.advance(7200)
    assert call("GET", "/applications").status_code == 401


def test_an_error_has_graphs_envelope(call):
    told = call("GET", "/applications/none").json["error"]
    assert told.keys() == {"code", "message", "innerError"}
    assert told["innerError"].keys() == {"date", "request-id", "client-request-id"}


# --- the sign-ins that the scripts need -----------------------------------------------------------

COMMAND_LINE = "14d82eec-204b-4c2f-b7e8-296a70dab67e"
WRITE = "https://graph.microsoft.com/Application.ReadWrite.All openid profile offline_access"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def device(azure, back, front):
    """Ask for a device code, and ask for the token that follows."""

    class Device:
        def __init__(self):
            body = {"client_id": COMMAND_LINE, "scope": WRITE}
            self.flow = back.post("/organizations/oauth2/v2.0/devicecode", data=body).json

        def enter_code(self):
            form = {"user_code": self.flow["user_code"].lower()}
            return front.post("/devicelogin", data=form)

        def poll(self, code=None):
            code = code or self.flow["device_code"]
            form = {"client_id": COMMAND_LINE, "grant_type": DEVICE_CODE, "device_code": code}
            return back.post("/organizations/oauth2/v2.0/token", data=form).json

    return Device()


def test_a_device_waits_for_its_user(device, front, call):
    assert device.poll()["error"] == "authorization_pending"
    page = front.press(device.enter_code(), "user", "alice")
    assert device.poll()["error"] == "authorization_pending"
    assert "close this window" in front.press(page, "decision", "accept").text
    token = device.poll()["access_token"]
    assert call("GET", "/applications", token=token).status_code == 200
    assert "is unknown" in device.enter_code().text  # a code works once


def test_a_device_learns_that_its_user_declined(device, front):
    front.press(device.enter_code(), "user", "")
    assert device.poll()["error"] == "authorization_declined"


def test_rejects_an_unknown_or_expired_device_code(azure, device, front):
    assert device.poll("forged")["error"] == "invalid_grant"
    assert "is unknown" in front.post("/devicelogin", data={"user_code": "WRONG"}).text
    azure.clock.advance(901)
    assert device.poll()["error"] == "expired_token"


def test_a_device_code_is_for_the_client_that_asked(azure, device, post_token):
    form = {"grant_type": DEVICE_CODE, "device_code": device.flow["device_code"]}
    assert post_token(azure.ui, **form).json["error_codes"] == [70000]


def test_only_an_administrator_may_consent_to_registering(device, front):
    page = front.press(device.enter_code(), "user", "bob")
    assert "An administrator must approve this" in page.text
    assert device.poll()["error"] == "authorization_pending"


def test_the_tenant_may_be_left_open_by_a_public_client_only(azure, back, front, post_token):
    document = back.get("/organizations/v2.0/.well-known/openid-configuration").json
    assert document["issuer"].endswith("/{tenantid}/v2.0")
    form = {"client_id": azure.ui.client_id, "client_secret": azure.ui.secret}
    form |= {"grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default"}
    answer = back.post("/organizations/oauth2/v2.0/token", data=form)
    assert answer.json["error_codes"] == [50194]
