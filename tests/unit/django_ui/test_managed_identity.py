"""The managed identity's token for each cloud, from the endpoint of a virtual machine.

https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
"""

import msal
import pytest
from responses.matchers import header_matcher, query_param_matcher

from Helpers import managed_identity
from Helpers.errors import PageError
from Helpers.managed_identity import managed_identity_token
from Helpers.token_acquisition import begin_sign_in

ENDPOINT = "http://169.254.169.254/metadata/identity/oauth2/token"
ISSUED = {"access_token": "a token", "expires_in": "200", "token_type": "Bearer"}
IDENTITY = "11111111-aaaa-4aaa-8aaa-111111111111"


@pytest.fixture
def token(settings):
    """Get a token with the authority at a host."""

    def token(host):
        settings.AUTHORITY = f"https://{host}/22222222-2222-4222-8222-222222222222"
        settings.MANAGED_IDENTITY_CLIENT_ID = IDENTITY
        return managed_identity_token()

    return token


@pytest.mark.parametrize(
    ("host", "audience"),
    [
        ("login.microsoftonline.com", "api://AzureADTokenExchange"),
        ("login.microsoftonline.us", "api://AzureADTokenExchangeUSGov"),
        ("login.partner.microsoftonline.cn", "api://AzureADTokenExchangeChina"),
    ],
    ids=["global", "us-government", "china"],
)
def test_the_token_is_for_the_audience_of_the_cloud(network, token, host, audience):
    asked = {"api-version": "2018-02-01", "resource": audience, "client_id": IDENTITY}
    metadata = header_matcher({"Metadata": "true"})
    network.get(ENDPOINT, json=ISSUED, match=[query_param_matcher(asked), metadata])
    assert token(host) == "a token"


def test_the_token_is_requested_once_and_only_to_redeem_a_code(
    network, tenant, token, settings, monkeypatch
):
    settings.CLIENT_SECRET = ""
    settings.MANAGED_IDENTITY_CLIENT_ID = IDENTITY
    assert begin_sign_in()["auth_uri"]
    assert not [call for call in network.calls if call.request.url.startswith(ENDPOINT)]
    monkeypatch.setattr(managed_identity, "_token_cache", msal.TokenCache())
    requested = network.get(ENDPOINT, json=ISSUED | {"expires_in": "3600"})
    for _ in range(2):
        assert token("login.microsoftonline.com") == "a token"
    assert requested.call_count == 1


def test_an_identity_that_is_not_assigned_is_reported_as_wrong_settings(network, token):
    refusal = {"error": "invalid_request", "error_description": "Identity not found"}
    network.get(ENDPOINT, status=400, json=refusal)
    with pytest.raises(
        PageError, match="ui_misconfigured: no token for MANAGED_IDENTITY_CLIENT_ID"
    ):
        token("login.microsoftonline.com")
