"""Helpers.entra: the HTTP client that MSAL uses, and discovery."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import monotonic, sleep

import pytest
import requests
import responses
from django.conf import settings

from Helpers import entra as module
from Helpers.correlation import correlation_id
from Helpers.entra import EntraClient, entra_client
from Helpers.errors import PageError
from Helpers.token_acquisition import begin_sign_in, complete_sign_in
from tests.unit.conftest import Tenant


def client() -> EntraClient:
    """Return the client that ``begin_sign_in`` will use."""
    return entra_client(settings.AUTHORITY, settings.CA_BUNDLE)


def let_hours_pass(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    now = monotonic()
    monkeypatch.setattr(module, "monotonic", lambda: now + hours * 3600)


def answer_when_told(tenant: Tenant, network: responses.RequestsMock) -> tuple[Event, Event]:
    """Make discovery slow: return an event for the request, and one that lets it continue."""
    asked, answer = Event(), Event()

    def slowly(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        asked.set()
        assert answer.wait(10)
        return 200, {}, json.dumps(tenant.metadata)

    network.remove("GET", tenant.discovery_url)
    network.add_callback("GET", tenant.discovery_url, slowly)
    return asked, answer


def test_discovery_is_fetched_once(tenant):
    client()
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda _: begin_sign_in(), range(64)))
    assert len(tenant.calls("GET", tenant.discovery_url)) == 1


def test_failed_discovery_is_retried_for_the_next_visitor(tenant, network):
    network.replace("GET", tenant.discovery_url, body=requests.ConnectTimeout())
    for _ in range(2):
        with pytest.raises(PageError, match="entra_unavailable"):
            begin_sign_in()
    network.replace("GET", tenant.discovery_url, json=tenant.metadata)
    assert begin_sign_in()["auth_uri"]


def test_expired_discovery_is_used_while_entra_is_down(tenant, network, monkeypatch):
    begin_sign_in()
    network.replace("GET", tenant.discovery_url, status=500)
    for hours, requests_so_far in ((23, 1), (25, 2)):
        let_hours_pass(monkeypatch, hours)
        assert begin_sign_in()["auth_uri"]
        assert len(tenant.calls("GET", tenant.discovery_url)) == requests_so_far


@pytest.mark.parametrize(
    "change",
    [
        {"status": 400, "json": {"error": "invalid_tenant"}},
        {"json": {}},
        {"body": "<html>Sign in to the hotel's network"},
    ],
)
def test_expired_discovery_is_used_if_entra_returns_something_else(
    tenant, network, monkeypatch, change
):
    begin_sign_in()
    network.replace("GET", tenant.discovery_url, **change)
    let_hours_pass(monkeypatch, 25)
    assert begin_sign_in()["auth_uri"]


@pytest.mark.parametrize("issuer", [None, 7, ["x"], "https://login.example/another-tenant/v2.0"])
def test_discovery_of_another_issuer_is_not_cached(tenant, network, issuer):
    network.replace("GET", tenant.discovery_url, json=tenant.metadata | {"issuer": issuer})
    with pytest.raises(PageError, match="entra_unavailable"):
        begin_sign_in()
    network.replace("GET", tenant.discovery_url, json=tenant.metadata)
    assert begin_sign_in()["auth_uri"].startswith("https://signin.example/authorize")


@pytest.mark.parametrize("origin", ["https://evil.example", "https://login.example.evil.example"])
def test_secret_is_sent_to_the_authority_only(tenant, network, origin):
    """MSAL itself posts to any token endpoint that discovery names."""
    elsewhere = {"token_endpoint": tenant.authority.replace("https://login.example", origin)}
    network.replace("GET", tenant.discovery_url, json=tenant.metadata | elsewhere)
    network.post(elsewhere["token_endpoint"], json=tenant.tokens())
    flow = begin_sign_in()
    for _ in range(2):
        with pytest.raises(PageError, match="foreign token endpoint"):
            complete_sign_in(flow, {"code": "the-code", "state": flow["state"]})
    assert not [call for call in network.calls if origin in call.request.url]


def test_all_threads_wait_for_the_first_discovery(tenant, network):
    def slowly(request):
        sleep(0.2)
        return 200, {}, json.dumps(tenant.metadata)

    client()
    network.remove("GET", tenant.discovery_url)
    network.add_callback("GET", tenant.discovery_url, slowly)
    with ThreadPoolExecutor(8) as threads:
        flows = list(threads.map(lambda _: begin_sign_in(), range(8)))
    assert all(flow["auth_uri"] for flow in flows)
    assert len(tenant.calls("GET", tenant.discovery_url)) == 1


def test_slow_first_discovery_blocks_one_thread_only(tenant, network, monkeypatch):
    """Otherwise all threads would wait for it, and none could answer a health probe."""
    client()
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.05)
    asked, answer = answer_when_told(tenant, network)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(begin_sign_in)
        assert asked.wait(10)
        for _ in range(3):
            with pytest.raises(PageError, match="discovery takes too long"):
                begin_sign_in()
        answer.set()
        assert waiting.result()["auth_uri"]
    assert len(tenant.calls("GET", tenant.discovery_url)) == 1


def test_slow_discovery_blocks_one_thread_only(tenant, network, monkeypatch):
    begin_sign_in()
    monkeypatch.setattr(module, "WAIT_SECONDS", 30)
    asked, answer = answer_when_told(tenant, network)
    let_hours_pass(monkeypatch, 25)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(begin_sign_in)
        assert asked.wait(10)
        assert begin_sign_in()["auth_uri"]  # here and now, with the document of yesterday
        assert not waiting.done()
        answer.set()
        assert waiting.result()["auth_uri"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"status": 500, "json": {}}, "entra_unavailable"),
        ({"status": 200, "body": "<html>"}, "entra_unavailable"),
        ({"status": 200, "json": []}, "entra_unavailable"),
        ({"status": 200, "body": "[" * 100_000}, "entra_unavailable"),
        ({"status": 200, "body": '{"a": ' + "9" * 5000 + "}"}, "entra_unavailable"),
        ({"status": 302, "headers": {"Location": "https://evil.example"}}, "entra_unavailable"),
        ({"status": 429, "json": {}}, "entra_busy"),
        ({"status": 429, "body": "<html>"}, "entra_busy"),
        ({"body": requests.ReadTimeout("http://user:password@proxy")}, "entra_unavailable"),
    ],
)
def test_answer_that_msal_never_sees(tenant, network, answer, code):
    url = f"{tenant.authority}/token"
    network.post(url, **answer)
    with pytest.raises(PageError) as refused:
        client().post(url, data={})
    assert refused.value.code == code
    assert "password" not in str(refused.value)


def test_answer_that_is_for_msal(tenant, network):
    url = f"{tenant.authority}/token"
    network.post(url, status=400, json={"error": "invalid_grant"})
    assert client().post(url, data={}).status_code == 400


def test_correlation_id_is_sent(tenant):
    token = correlation_id.set("the-correlation-id")
    begin_sign_in()
    correlation_id.reset(token)
    assert tenant.network.calls[0].request.headers["client-request-id"] == "the-correlation-id"
