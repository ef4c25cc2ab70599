"""The client of Entra: its discovery, its credential, and the MSAL caches that stay empty."""

import pytest
import requests
import responses
from cryptography.hazmat.primitives.asymmetric import ec

from helpers import entra
from main import create_app
from tests.unit.conftest import ARM, CERTIFICATE, SUBSCRIPTIONS, Tenant, pem_of
from tests.unit.flask_api.conftest import AUTHORITY, OTHER_TENANT_ID, TENANT_ID

TOKEN = {"access_token": "b", "token_type": "Bearer"}


def get(api, tenant, **claims):
    token = tenant.access_token(**claims)
    return api.get("/subscriptions", headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"status": 429, "headers": {"Retry-After": "60"}}, id="429"),
        pytest.param({"status": 503, "headers": {"Retry-After": "60"}}, id="503"),
        pytest.param({"status": 500}, id="500"),
        pytest.param({"status": 400}, id="400"),
    ],
)
def test_the_refusal_of_one_user_does_not_reach_the_next(tenant, api, answer):
    """MSAL's own cache of failures ignores the user in this flow."""
    tenant.answer(**answer, error="invalid_grant")
    assert get(api, tenant, uti="alice").status_code != 200
    tenant.lists("first")
    assert get(api, tenant, uti="bob").status_code == 200


def test_the_token_of_one_user_does_not_reach_the_next_through_retry_after(tenant, api):
    """MSAL's cache would also replay a success with Retry-After."""
    for name in ("alice", "bob"):
        tenant.grants(f"token-of-{name}", headers={"Retry-After": "60"})
    tenant.lists("first")
    get(api, tenant, uti="alice")
    get(api, tenant, uti="bob")
    sent = [call.headers["Authorization"] for call in tenant.calls("GET", ARM)]
    assert sent == ["Bearer token-of-alice", "Bearer token-of-bob"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"status": 429, "headers": {"Retry-After": "60"}}, id="429"),
        pytest.param({"status": 200, "headers": {"Retry-After": "60"}}, id="200"),
    ],
)
def test_with_msals_own_memory_one_users_answer_would_reach_the_next(
    tenant, settings_of_api, answer, monkeypatch
):
    """If this fails one day, MSAL has fixed it, and NoReplay is no longer needed."""
    monkeypatch.setattr(entra, "NoReplay", dict)
    monkeypatch.setattr(entra, "HttpClient", lambda session: Unguarded(session))
    api = create_app(settings_of_api).test_client()
    of_alice = {"error": "invalid_grant"} if answer["status"] == 429 else TOKEN | {"expires_in": 9}
    tenant.answer(**answer, **of_alice)
    tenant.grants("bobs")
    tenant.lists("first")
    get(api, tenant, uti="alice")
    response = get(api, tenant, uti="bob")
    assert len(tenant.token_requests) == 1
    assert (response.status_code == 200) == (answer["status"] == 200)
    assert "Bearer bobs" not in [call.headers["Authorization"] for call in tenant.calls("GET", ARM)]


class Unguarded:
    """MSAL's HTTP client as in its documentation."""

    def __init__(self, session):
        self.get, self.post, self.close = session.get, session.post, session.close


def discovery_for_msal(tenant, **answer):
    """Make discovery succeed once, for the signing keys, and then return this response to MSAL."""
    tenant.network.get(tenant.discovery_url, **answer)


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        pytest.param({"json": {}}, 502, "idp_unavailable", id="nothing-in-it"),
        pytest.param({"json": {"token_endpoint": 7}}, 502, "idp_unavailable", id="odd-types"),
        pytest.param({"body": "[]"}, 502, "idp_unavailable", id="a-list"),
        pytest.param({"body": "<html>"}, 502, "idp_unavailable", id="html"),
        pytest.param({"status": 503, "json": {}}, 502, "idp_unavailable", id="503"),
        pytest.param({"status": 304, "json": {}}, 502, "idp_unavailable", id="304"),
        pytest.param({"status": 429, "json": {}}, 503, "idp_throttled", id="429"),
        pytest.param({"body": requests.ReadTimeout()}, 504, "idp_timeout", id="timeout"),
        pytest.param({"body": requests.ConnectionError()}, 502, "idp_unavailable", id="reset"),
        pytest.param({"status": 400, "json": {}}, 500, "api_misconfigured", id="400"),
    ],
)
def test_maps_a_failure_of_discovery_and_recovers(tenant, api, bearer, answer, status, code):
    discovery_for_msal(tenant, **answer)
    response = api.get("/subscriptions", headers=bearer)
    assert (response.status_code, response.json["code"]) == (status, code)
    tenant.network.replace(responses.GET, tenant.discovery_url, json=tenant.metadata)
    tenant.lists("first")
    assert get(api, tenant, uti="later").status_code == 200


@pytest.mark.parametrize(
    "pem",
    [
        pytest.param(None, id="gone"),
        pytest.param("no PEM", id="other-text"),
        pytest.param("k\u00e9y", id="not-ascii"),
        pytest.param(CERTIFICATE, id="no-key"),
        pytest.param(pem_of(Tenant.key.private), id="no-certificate"),
        pytest.param(
            pem_of(Tenant.key.private, b"x") + CERTIFICATE,
            id="a-key-with-a-passphrase",
        ),
        pytest.param(
            pem_of(ec.generate_private_key(ec.SECP256R1())) + CERTIFICATE, id="an-elliptic-key"
        ),
    ],
)
def test_reports_wrong_settings_if_the_certificates_file_is_or_holds(
    tenant, settings_of_api, bearer, tmp_path, pem
):
    file = tmp_path / "client.pem"
    file.write_text(pem or "", encoding="utf-8")
    file.rename(tmp_path / ("client.pem" if pem else "elsewhere.pem"))
    settings = settings_of_api | {"CLIENT_SECRET": "", "CLIENT_CERTIFICATE": str(file)}
    response = create_app(settings).test_client().get("/subscriptions", headers=bearer)
    assert (response.status_code, response.json["code"]) == (500, "api_misconfigured")


@pytest.mark.parametrize(
    "authority",
    [
        pytest.param(f"https://evil.example/{TENANT_ID}", id="another-host"),
        pytest.param(f"https://login.microsoftonline.com.evil.example/{TENANT_ID}", id="suffix"),
        pytest.param(f"https://login.microsoftonline.com:444/{TENANT_ID}", id="another-port"),
        pytest.param(f"https://login.microsoftonline.com/{OTHER_TENANT_ID}", id="another-tenant"),
        pytest.param(f"{AUTHORITY}5", id="a-tenant-whose-id-begins-alike"),
    ],
)
def test_sends_neither_secret_nor_assertion_to_another_address_that_discovery_names(
    tenant, api, bearer, authority
):
    elsewhere = f"{authority}/oauth2/v2.0/token"
    changed = tenant.metadata | {"token_endpoint": elsewhere}
    tenant.network.replace(responses.GET, tenant.discovery_url, json=changed)
    tenant.network.post(elsewhere, json=TOKEN | {"expires_in": 3600})
    for attempt in ("first", "second"):  # what the first one learned is not trusted later
        response = get(api, tenant, uti=attempt)
        assert (response.status_code, response.json["code"]) == (502, "idp_unavailable")
    assert not tenant.calls("POST", elsewhere)
    tenant.network.replace(responses.GET, tenant.discovery_url, json=tenant.metadata)
    tenant.lists("first")
    assert api.get("/subscriptions", headers=bearer).status_code == 200


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(None, id="null"),
        pytest.param(5, id="a-number"),
        pytest.param(["invalid_grant"], id="a-list"),
        pytest.param({"code": "invalid_grant"}, id="an-object"),
        pytest.param("invalid\r\ngrant", id="two-lines"),
        pytest.param("invalid_gr\u00e4nt", id="not-ascii"),
        pytest.param("invalid_grant" * 5, id="no-code-but-a-text"),
    ],
)
def test_the_next_user_is_not_affected_by_an_odd_response_whose_error_is(tenant, api, error):
    """MSAL kept the value, and every later request failed because of it."""
    tenant.answer(400, error=error)
    tenant.lists("first")
    assert get(api, tenant, uti="alice").json["code"] == "idp_unavailable"
    assert get(api, tenant, uti="bob").status_code == 200


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        pytest.param({"body": requests.ConnectTimeout()}, 504, "idp_timeout", id="connect-timeout"),
        pytest.param({"body": requests.ReadTimeout()}, 504, "idp_timeout", id="read-timeout"),
        pytest.param({"body": requests.ConnectionError()}, 502, "idp_unavailable", id="reset"),
        pytest.param({"body": "<html>", "status": 200}, 502, "idp_unavailable", id="html-200"),
        pytest.param({"body": "<html>", "status": 400}, 502, "idp_unavailable", id="html-400"),
        pytest.param({"body": "busy", "status": 429}, 503, "idp_throttled", id="text-429"),
        pytest.param({"body": "[]", "status": 200}, 502, "idp_unavailable", id="a-list"),
        pytest.param({"body": "", "status": 200}, 502, "idp_unavailable", id="nothing"),
        pytest.param({"body": "[" * 100_000}, 502, "idp_unavailable", id="deeply-nested"),
        pytest.param(
            {"status": 302, "headers": {"Location": "https://evil.example/"}},
            502,
            "idp_unavailable",
            id="a-redirect",
        ),
        pytest.param(
            {"json": TOKEN | {"expires_in": 9}, "status": 300}, 502, "idp_unavailable", id="300"
        ),
    ],
)
def test_maps_a_failure_of_the_exchange(tenant, api, bearer, answer, status, code):
    tenant.network.replace("POST", tenant.token_endpoint, **answer)
    response = api.get("/subscriptions", headers=bearer)
    assert (response.status_code, response.json["code"]) == (status, code)
    assert not tenant.calls("GET", "https://evil.example")


def test_throttling_says_how_long_to_wait(tenant, api):
    for header, relayed in (("7", "7"), ("99999", "120"), ("-3", "5"), ("soon", "5")):
        tenant.answer(429, {"Retry-After": header}, error="x")
        response = get(api, tenant, uti=header)
        assert response.headers["Retry-After"] == relayed


def test_the_correlation_id_goes_to_entra_and_arm_and_back(tenant, api, bearer):
    tenant.lists("first")
    guid = "12345678-1234-4234-8234-123456789abc"
    headers = bearer | {"x-ms-client-request-id": guid}
    assert api.get("/subscriptions", headers=headers).headers["x-ms-client-request-id"] == guid
    (exchange,) = tenant.requests
    (listing,) = tenant.calls("GET", SUBSCRIPTIONS)
    assert exchange.headers["client-request-id"] == guid
    assert exchange.headers["Accept"] == "application/json"  # as MSAL asks
    assert listing.headers["x-ms-client-request-id"] == guid
    assert listing.headers["x-ms-correlation-request-id"] == guid


def test_a_replaced_assertion_file_takes_effect(tenant, settings_of_api, tmp_path):
    file = tmp_path / "assertion"
    settings = settings_of_api | {"CLIENT_SECRET": "", "CLIENT_ASSERTION_FILE": str(file)}
    api = create_app(settings).test_client()
    tenant.lists("first")
    for assertion in ("first.of.file", "second.of.file"):
        file.write_text(f" {assertion}\n")
        assert get(api, tenant, uti=assertion).status_code == 200
    forms = tenant.token_requests
    assert [form["client_assertion"] for form in forms] == ["first.of.file", "second.of.file"]
    assert not any("client_secret" in form for form in forms)


def test_a_certificate_replaces_the_secret(tenant, settings_of_api, bearer, tmp_path):
    pem = tmp_path / "client.pem"
    pem.write_text(pem_of(tenant.key.private) + CERTIFICATE)
    settings = settings_of_api | {"CLIENT_SECRET": "", "CLIENT_CERTIFICATE": str(pem)}
    tenant.lists("first")
    api = create_app(settings).test_client()
    assert api.get("/subscriptions", headers=bearer).status_code == 200
    (form,) = tenant.token_requests
    assert "client_secret" not in form
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
