"""Independent clients check the mock: MSAL, the Azure SDK and Authlib."""

from urllib.parse import parse_qsl, urljoin, urlsplit

import msal
import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import OnBehalfOfCredential
from azure.mgmt.resource.subscriptions import SubscriptionClient
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.mock_azure import MockAzure
from tests.visitor import form_of

REDIRECT_URI = "http://localhost:8000/account/callback"


@pytest.fixture(scope="module")
def listening():
    with MockAzure() as azure:
        yield azure


@pytest.fixture
def azure(listening: MockAzure) -> MockAzure:
    listening.reset()
    return listening


@pytest.fixture
def http(azure):
    """A session that trusts the mock, independent of this machine's environment."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(azure.ca_file)
        yield session


def walk(address, *choices):
    """Open ``address`` and press one button on each page; return the parameters of the redirect."""
    with requests.Session() as browser:
        browser.trust_env = False
        response = browser.get(address, allow_redirects=False, timeout=5)
        for name, value in choices:
            action, fields = form_of(response.text)
            response = browser.post(
                urljoin(response.url, action),
                data=fields | {name: value},
                allow_redirects=False,
                timeout=5,
            )
    assert response.status_code == 303, response.text
    location = response.headers["Location"]
    assert location.startswith(REDIRECT_URI)
    return dict(parse_qsl(urlsplit(location).query))


ALICE_ACCEPTS = (("user", "alice"), ("decision", "accept"))


def confidential_client(azure, http, app, credential=None):
    return msal.ConfidentialClientApplication(
        app.client_id,
        client_credential=credential or app.secret,
        authority=azure.authority,
        instance_discovery=False,
        http_client=http,
    )


def sign_in(azure, ui, *choices):
    with pytest.warns(UserWarning, match="response_mode"):
        flow = ui.initiate_auth_code_flow(
            [f"{azure.api.uris[0]}/.default"], redirect_uri=REDIRECT_URI, response_mode="query"
        )
    return ui.acquire_token_by_auth_code_flow(flow, walk(flow["auth_uri"], *choices))


def test_msal_signs_in_and_exchanges_and_arm_answers(azure, http):
    ui = confidential_client(azure, http, azure.ui)
    signed_in = sign_in(azure, ui, *ALICE_ACCEPTS)
    assert signed_in["id_token_claims"]["name"] == "Alice Adams"
    scope = f"{azure.api.uris[0]}/access_as_user"
    silent = ui.acquire_token_silent([scope], account=ui.get_accounts()[0])
    assert silent["access_token"] == signed_in["access_token"]

    api = confidential_client(azure, http, azure.api)
    exchanged = api.acquire_token_on_behalf_of(
        signed_in["access_token"], ["https://management.azure.com/user_impersonation"]
    )
    response = http.get(
        f"{azure.back_url}/subscriptions?api-version=2020-01-01",
        headers={"Authorization": f"Bearer {exchanged['access_token']}"},
        timeout=5,
    )
    assert [found["displayName"] for found in response.json()["value"]] == [
        "Contoso Production",
        "Contoso Development",
        "Contoso Sandbox",
        "Contoso Archive",
    ]


def test_msal_refreshes(azure, http):
    ui = confidential_client(azure, http, azure.ui)
    signed_in = sign_in(azure, ui, *ALICE_ACCEPTS)
    scope = f"{azure.api.uris[0]}/access_as_user"
    account = ui.get_accounts()[0]
    refreshed = ui.acquire_token_silent([scope], account=account, force_refresh=True)
    assert refreshed["access_token"] != signed_in["access_token"]


def test_msal_authenticates_with_a_certificate(azure, http):
    azure.consent_all()
    key = azure.keys.rogue
    azure.register_certificate(azure.api, key.der)
    private = key.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = x509.load_der_x509_certificate(key.der).public_bytes(serialization.Encoding.PEM)
    credential = {"private_key": private.decode(), "public_certificate": public.decode()}
    api = confidential_client(azure, http, azure.api, credential)
    scopes = ["https://management.azure.com/user_impersonation"]
    assert "access_token" in api.acquire_token_on_behalf_of(azure.access_token(), scopes)


def test_msal_authenticates_with_a_managed_identity(azure, http, monkeypatch):
    azure.consent_all()
    settings = azure.identity_settings(azure.api)
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, settings[name])
    identity = msal.ManagedIdentityClient(
        msal.UserAssignedManagedIdentity(client_id=settings["MANAGED_IDENTITY_CLIENT_ID"]),
        http_client=http,
    )

    def assertion():
        return identity.acquire_token_for_client(resource="api://AzureADTokenExchange")[
            "access_token"
        ]

    scopes = ["https://management.azure.com/user_impersonation"]
    for _ in range(2):
        api = confidential_client(azure, http, azure.api, {"client_assertion": assertion})
        assert "access_token" in api.acquire_token_on_behalf_of(azure.access_token(), scopes)
    assert len(azure.requests("identity")) == 1  # MSAL keeps the identity's token


def test_msal_authenticates_with_a_projected_token(azure, http):
    azure.consent_all()
    cluster, subject = azure.add_issuer(), "system:serviceaccount:default:flask-api"
    azure.trust(azure.api, cluster.url, subject)
    credential = {"client_assertion": lambda: cluster.token(subject, azure.clock.now())}
    api = confidential_client(azure, http, azure.api, credential)
    scopes = ["https://management.azure.com/user_impersonation"]
    assert "access_token" in api.acquire_token_on_behalf_of(azure.access_token(), scopes)


def test_msal_learns_that_consent_is_missing(azure, http):
    api = confidential_client(azure, http, azure.api)
    refused = api.acquire_token_on_behalf_of(
        azure.access_token(), ["https://management.azure.com/user_impersonation"]
    )
    assert (refused["error"], refused["suberror"]) == ("invalid_grant", "consent_required")
    assert refused["error_codes"] == [65001]


def on_behalf_of_credential(azure, user="gina", **credential):
    return OnBehalfOfCredential(
        azure.tenant_id,
        azure.api.client_id,
        user_assertion=azure.access_token(user),
        authority=azure.back_url,
        disable_instance_discovery=True,
        connection_verify=str(azure.ca_file),
        **credential,
    )


def test_azure_sdk_reads_every_page_of_subscriptions(azure):
    azure.consent_all("gina")
    with SubscriptionClient(
        on_behalf_of_credential(azure, client_secret=azure.api.secret),
        base_url=azure.back_url,
        credential_scopes=["https://management.azure.com/.default"],
        connection_verify=str(azure.ca_file),
    ) as client:
        names = [found.display_name for found in client.subscriptions.list()]
    assert names == [f"Fleet {number:03}" for number in range(1, 301)]


def test_azure_sdk_answers_a_claims_challenge_by_itself(azure):
    """ARM rejects the revoked token, and the SDK requests a new one with the claims."""
    azure.consent_all("alice")
    credential = on_behalf_of_credential(azure, "alice", client_secret=azure.api.secret)
    with SubscriptionClient(
        credential,
        base_url=azure.back_url,
        credential_scopes=["https://management.azure.com/.default"],
        connection_verify=str(azure.ca_file),
    ) as client:
        claims = '{"access_token":{"nbf":{"essential":true,"value":"1"}}}'
        details = {"claims": claims}
        azure.faults.add("arm:subscriptions", "InvalidAuthenticationToken", details=details)
        assert len(list(client.subscriptions.list())) == 4
    statuses = [(asked.hop, asked.status) for asked in azure.requests()[-4:]]
    assert statuses[-3] == ("arm:subscriptions", 401)
    assert statuses[-2] == ("token:refresh_token", 200)
    assert statuses[-1] == ("arm:subscriptions", 200)


def test_azure_identity_is_refused_with_a_wrong_secret(azure):
    azure.consent_all("gina")
    credential = on_behalf_of_credential(azure, client_secret="wrong")
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        credential.get_token("https://management.azure.com/.default")


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_authlib_signs_in_and_exchanges(azure, method):
    discovery = f"{azure.authority}/v2.0/.well-known/openid-configuration"
    with OAuth2Session(
        azure.ui.client_id,
        azure.ui.secret,
        scope=f"openid profile {azure.api.uris[0]}/.default",
        redirect_uri=REDIRECT_URI,
        code_challenge_method="S256",
        token_endpoint_auth_method=method,
    ) as client:
        client.trust_env = False
        client.verify = str(azure.ca_file)
        document = client.request("GET", discovery, withhold_token=True).json()
        verifier = "v" * 43
        address, _ = client.create_authorization_url(
            document["authorization_endpoint"], code_verifier=verifier
        )
        answer = walk(address, *ALICE_ACCEPTS)
        token = client.fetch_token(
            document["token_endpoint"], code=answer["code"], code_verifier=verifier
        )
    assert token["scope"].split() == [
        f"{azure.api.uris[0]}/access_as_user",
        f"{azure.api.uris[0]}/.default",
    ]
