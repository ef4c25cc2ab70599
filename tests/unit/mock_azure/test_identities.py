"""The managed identity's endpoint, like App Service's, and the use of its tokens."""

import re
from pathlib import Path

import pytest

from tests import mock_azure
from tests.mock_azure.directory import EXCHANGE_ID
from tests.mock_azure.tokens import unverified

EXCHANGE = "api://AzureADTokenExchange"


@pytest.fixture
def identity(azure):
    return azure.add_identity()


@pytest.fixture
def ask(azure, front, identity):
    """GET /msi/token like clients of App Service's endpoint; None removes a parameter."""

    def ask(header=azure.identity_header, **query):
        usual = {
            "api-version": "2019-08-01",
            "resource": EXCHANGE,
            "client_id": identity.client_id,
        }
        query = {name: value for name, value in (usual | query).items() if value is not None}
        headers = {} if header is None else {"X-IDENTITY-HEADER": header}
        return front.get("/msi/token", query_string=query, headers=headers)

    return ask


def test_identity_gets_a_token_in_the_documented_shape(azure, identity, ask):
    response = ask()
    body = response.json
    assert response.status_code == 200
    assert set(body) == {"access_token", "expires_on", "resource", "token_type", "client_id"}
    assert (body["resource"], body["token_type"]) == (EXCHANGE, "Bearer")
    assert body["client_id"] == identity.client_id
    claims = unverified(body["access_token"])
    assert body["expires_on"] == str(claims["exp"])  # seconds since 1970, as text
    assert claims["iss"] == f"{azure.login_url}/{azure.tenant_id}/v2.0"
    assert claims["sub"] == claims["oid"] == identity.object_id
    assert claims["aud"] == EXCHANGE_ID
    assert (claims["azp"], claims["tid"]) == (identity.client_id, azure.tenant_id)


WRONG = {
    "no header": ({"header": None}, 401),
    "another header": ({"header": "guess"}, 401),
    "no api-version": ({"api-version": None}, 400),
    "another api-version": ({"api-version": "2018-02-01"}, 400),
    "no resource": ({"resource": None}, 400),
    "an unknown resource": ({"resource": "https://elsewhere.example"}, 500),
    "no client ID": ({"client_id": None}, 400),
    "the client ID of a registration": ({"client_id": "the API"}, 400),
}


@pytest.mark.parametrize(("wrong", "status"), WRONG.values(), ids=WRONG.keys())
def test_rejects_a_request_with(azure, ask, wrong, status):
    wrong = {k: azure.api.client_id if v == "the API" else v for k, v in wrong.items()}
    response = ask(**wrong)
    assert (response.status_code, response.json["statusCode"]) == (status, status)
    assert set(response.json) == {"statusCode", "message", "correlationId"}
    assert "access_token" not in response.text


def test_header_is_not_recorded(azure, ask):
    ask()
    (recorded,) = azure.requests("identity")
    assert azure.identity_header not in repr(recorded)
    assert recorded.issued["oid"]


def test_identity_exchanges_a_token_as_the_registration_that_trusts_it(azure, exchange, ask):
    azure.consent_all()
    asking = {
        "client_secret": None,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": ask().json["access_token"],
    }
    refused = exchange(azure.access_token(), **asking)
    assert refused.json["error_codes"] == [70025]
    (identity,) = azure.identities.values()
    azure.trust(azure.api, azure.issuer, identity.object_id)
    assert exchange(azure.access_token(), **asking).status_code == 200

    azure.clock.advance(25 * 3600)
    assert exchange(azure.access_token(), **asking).json["error_codes"] == [700024]


@pytest.mark.parametrize(
    ("resource", "code"),
    [(EXCHANGE, 700213), ("https://management.azure.com", 700211)],
    ids=["an identity nobody trusts", "a token for another resource"],
)
def test_exchange_rejects(azure, exchange, ask, resource, code):
    other = azure.add_identity()
    azure.trust(azure.api, azure.issuer, other.object_id)
    response = exchange(
        azure.access_token(),
        client_secret=None,
        client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        client_assertion=ask(resource=resource).json["access_token"],
    )
    assert response.json["error_codes"] == [code]


def test_applications_own_token_is_no_credential_of_another(azure, exchange, post_token):
    """Of its own tokens, Entra accepts only a managed identity's, even if an app trusts another."""
    own = post_token(azure.ui, grant_type="client_credentials", scope=f"{EXCHANGE}/.default")
    token = own.json["access_token"]
    azure.trust(azure.api, azure.issuer, unverified(token)["sub"])
    response = exchange(
        azure.access_token(),
        client_secret=None,
        client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        client_assertion=token,
    )
    assert (response.status_code, response.json["error_codes"]) == (401, [700222])


def test_faults_affect_the_endpoint(azure, ask):
    azure.faults.add("identity", status=500, body='{"statusCode":500,"message":"Oops"}')
    assert (ask().status_code, ask().status_code) == (500, 200)


def test_settings_replace_the_secret_by_an_identity_that_the_registration_trusts(azure):
    settings = azure.flask_api_settings() | azure.identity_settings(azure.api)
    assert settings["CLIENT_SECRET"] == ""
    assert settings["IDENTITY_ENDPOINT"] == f"{azure.front_url}/msi/token"
    identity = azure.identities[settings["MANAGED_IDENTITY_CLIENT_ID"]]
    (trusted,) = azure.applications[azure.api.client_id].federated
    assert trusted == (azure.issuer, identity.object_id, EXCHANGE)


def test_examples_of_the_mocks_readme_work():
    text = Path(mock_azure.__file__).with_name("README.md").read_text("utf-8")
    section = text.partition("\n## Pages to learn from")[0]  # what follows is run elsewhere
    examples = re.findall(r"^```python\n(.*?)^```", section, re.M | re.S)
    assert len(examples) == 2
    names = {"MockAzure": mock_azure.MockAzure}
    exec("".join(examples), names)  # noqa: S102  # our own text
    assert names["settings"]["MANAGED_IDENTITY_CLIENT_ID"] in names["azure"].identities
    assert unverified(names["text"])["iss"] == "https://cluster.example/"
