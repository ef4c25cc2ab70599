"""The managed identity's token for each cloud, from the endpoint of a virtual machine.

https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
"""

import msal
import pytest
import requests
from responses.matchers import header_matcher, query_param_matcher

from helpers import managed_identity
from helpers.errors import DownstreamError
from helpers.managed_identity import managed_identity_token


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    """Begin with an empty cache, which is the module's."""
    monkeypatch.setattr(managed_identity, "_token_cache", msal.TokenCache())


ENDPOINT = "http://169.254.169.254/metadata/identity/oauth2/token"
ISSUED = {"access_token": "a token", "expires_in": "200", "token_type": "Bearer"}
IDENTITY = "11111111-aaaa-4aaa-8aaa-111111111111"


def token(host):
    authority = f"https://{host}/22222222-2222-4222-8222-222222222222"
    settings = {"MANAGED_IDENTITY_CLIENT_ID": IDENTITY, "AUTHORITY": authority}
    return managed_identity_token(settings, requests.Session())


@pytest.mark.parametrize(
    ("host", "audience"),
    [
        ("login.microsoftonline.com", "api://AzureADTokenExchange"),
        ("login.microsoftonline.us", "api://AzureADTokenExchangeUSGov"),
        ("login.partner.microsoftonline.cn", "api://AzureADTokenExchangeChina"),
    ],
    ids=["global", "us-government", "china"],
)
def test_the_token_is_for_the_audience_of_the_cloud(network, host, audience):
    asked = {"api-version": "2018-02-01", "resource": audience, "client_id": IDENTITY}
    metadata = header_matcher({"Metadata": "true"})
    network.get(ENDPOINT, json=ISSUED, match=[query_param_matcher(asked), metadata])
    assert token(host) == "a token"


@pytest.mark.parametrize(("lifetime", "requests_sent"), [(290, 2), (400, 1)])
def test_a_token_is_cached_until_five_minutes_before_it_expires(network, lifetime, requests_sent):
    network.get(ENDPOINT, json=ISSUED | {"expires_in": str(lifetime)})
    assert [token("login.microsoftonline.com") for _ in range(2)] == ["a token"] * 2
    assert len(network.calls) == requests_sent


def test_an_identity_that_is_not_assigned_is_reported_as_wrong_settings(network):
    refusal = {"error": "invalid_request", "error_description": "Identity not found"}
    network.get(ENDPOINT, status=400, json=refusal)
    with pytest.raises(
        DownstreamError, match="api_misconfigured: no token for MANAGED_IDENTITY_CLIENT_ID"
    ):
        token("login.microsoftonline.com")
