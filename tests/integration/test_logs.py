"""The logs of both apps at level DEBUG contain no secrets."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from tests.apps import ONE_WORKER, Apps
from tests.visitor import Visitor

EXCHANGE, ARM = "token:on_behalf_of", "arm:subscriptions"
PERSONAL = ("Alice Adams", "alice@contoso.example", "Contoso Production")


@pytest.fixture(scope="module")
def one_talkative_pair(one_azure) -> Iterator[Apps]:
    settings = ONE_WORKER | {"LOG_LEVEL": "DEBUG"}
    with Apps(one_azure, settings, settings) as apps:
        yield apps


@pytest.fixture
def talkative(azure, one_talkative_pair) -> Apps:
    """Both apps with ``LOG_LEVEL=DEBUG``."""
    return one_talkative_pair


@pytest.fixture
def sent() -> list[str]:
    """Every value in a query or a cookie that the browser sends, once ``remember`` is its hook."""
    return []


def remember(visitor: Visitor, sent: list[str]) -> Visitor:
    def note(answer: requests.Response, **_: object) -> None:
        address = answer.request.url or ""
        query = dict(parse_qsl(urlsplit(address).query))
        query.pop("reference", "")  # which is in the log so that people find it
        sent.extend(value for value in query.values() if len(value) > 20)
        cookies = str(answer.request.headers.get("Cookie", ""))
        sent.extend(re.findall(r"=([^;\s]{20,})", cookies))

    visitor.session.hooks["response"].append(note)
    return visitor


def test_debug_logs_hold_no_token_code_cookie_secret_or_name(talkative, azure, sent):
    alice = remember(Visitor(talkative.ui.url), sent)
    azure.faults.add("token:authorization_code", 54005)  # a code that was used already
    azure.faults.add("token:on_behalf_of", 50076)  # a claims challenge
    alice.sign_in("alice")
    assert alice.names[0] == "Contoso Production"
    azure.faults.add("authorize", 65004)
    bob = remember(Visitor(talkative.ui.url), sent).sign_in("bob")
    assert bob.page.status_code == 403
    azure.faults.add("arm:subscriptions", body="<html>")
    assert alice.open().page.status_code == 502
    alice.open("/account/logout").press()
    written = talkative.ui.written() + talkative.api.written()
    assert "problem: access_denied" in written  # so this test sees something
    settings = talkative.ui.settings | talkative.api.settings
    secrets = [value for key, value in settings.items() if "SECRET" in key]
    public = {value for value in settings.values() if value not in secrets}
    assert len(sent) > 20
    for text in {*sent, *secrets, *PERSONAL} - public:
        assert text not in written
    assert not re.search(r"\beyJ[\w-]{10}", written)  # how every JWT begins
    assert "UserWarning" not in written  # MSAL recommends form_post for each sign-in
    assert "gAAAA" not in written  # and what the app or the mock encrypted: refresh tokens, codes
    for key in ("refresh_token", "client_secret", "code_verifier", "id_token"):
        assert not re.search(rf"{key}\W{{1,5}}\w", written), key


def test_a_client_cannot_write_text_into_the_log(talkative):
    """No address, host name, correlation ID or user agent can start a line either."""
    headers = {
        "x-ms-client-request-id": "made-up-id",
        "client-request-id": "made-up-id",
        "X-Forwarded-For": "made-up-address",
        "Referer": "http://made-up.example/",
        "User-Agent": "made-up-agent",
        "Cookie": "subscriptions_session=made-up-key; sign_in_0123456789abcdef=made-up",
    }
    for app in (talkative.ui, talkative.api):
        for path in (
            "/made-up",
            "/x%0a2026-01-01 INFO made-up",
            "/?made-up=made-up",
            "/account/callback?code=made-up&state=made-up",
            "/account/login?next=/made-up",
            "/account/problem/made-up?reference=made-up",
        ):
            requests.get(app.url + path, headers=headers, allow_redirects=False, timeout=30)
        requests.request("MADE", app.url, timeout=30)
        written = app.written()
        assert "made-up" not in written.lower()
        assert "status=404" in written


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_the_apis_log_holds_nothing_of_what_goes_wrong(talkative, azure):
    azure.consent_all()
    api = talkative.api
    secret = azure.flask_api_settings()["CLIENT_SECRET"]
    for hop, fault in [
        (ARM, {}),
        (ARM, {"status": 200, "body": "<html>Contoso Production"}),
        (ARM, {"drop": True, "times": 3}),
        (ARM, {"preset": "AuthorizationFailed"}),
        (ARM, {"preset": "InvalidAuthenticationToken", "times": 2}),
        (EXCHANGE, {"preset": 50076}),
        (EXCHANGE, {"preset": 65001}),
        (EXCHANGE, {"preset": 7000215}),
        (EXCHANGE, {"preset": 90055}),
        (EXCHANGE, {"status": 400, "body": "alice@contoso.example"}),
        (EXCHANGE, {"truncate": True}),
    ]:
        azure.faults.add(hop, **fault)
        headers = bearer(azure.access_token()) | {"Cookie": "a=cookie-of-alice"}
        requests.get(f"{api.url}/subscriptions", headers=headers, timeout=30)
    for header in ({}, bearer("a b"), bearer(azure.access_token(aud="x"))):
        url = f"{api.url}/subscriptions?code=code-in-a-query"
        assert requests.get(url, headers=header, timeout=30).status_code in (400, 401)
    written = api.written()
    assert len(re.findall(r"status=\d+ ms=", written)) >= 14
    assert "DEBUG urllib3" in written
    assert "AADSTS65001" in written  # the number, which a person can look up, and no text
    assert not re.search(r"eyJ[\w-]{10}", written)  # how every JWT begins
    private = [secret, "contoso", "Contoso", "alice", "Alice", "code-in-a-query", "Trace ID"]
    private += [azure.users["alice"].oid]
    assert [text for text in private if text in written] == []
