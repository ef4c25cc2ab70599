"""The list of subscriptions: all pages or an error, and the token goes only to ARM."""

import base64
import json
import socket
import time

import pytest
import requests
import responses

from helpers import azure_resource_manager, http_session, request_scope
from helpers.claims_challenges import claims_of_challenge
from main import create_app
from tests.unit.conftest import ARM, SUBSCRIPTIONS
from tests.unit.flask_api.conftest import challenge

NEXT = f"{SUBSCRIPTIONS}&%24skiptoken=2"
CLAIMS = '{"access_token":{"nbf":{"essential":true,"value":"1726258122"}}}'


@pytest.fixture(autouse=True)
def pauses(monkeypatch) -> list[float]:
    """The seconds that the API would sleep."""
    seconds: list[float] = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


@pytest.fixture
def listing(api, tenant, bearer):
    """Ask the API for the list, as a user whose token can be exchanged."""
    tenant.grants()
    return lambda: api.get("/subscriptions", headers=bearer)


def page(tenant, url=SUBSCRIPTIONS, next_link=None, *names, **answer):
    body = {"value": [{"displayName": name} for name in names]}
    if next_link is not None:
        body["nextLink"] = next_link
    tenant.network.get(url, json=body, **answer)


@pytest.mark.parametrize(
    "next_link",
    [NEXT, NEXT.replace(ARM, f"{ARM}:443")],
    ids=["without-a-port", "with-the-usual-port"],
)
def test_all_pages_are_merged_into_one_list(tenant, listing, next_link):
    tenant.network.get(
        SUBSCRIPTIONS,
        match=[responses.matchers.query_param_matcher({"api-version": "2020-01-01"})],
        json={"value": [{"displayName": "a"}, {"displayName": "b"}], "nextLink": next_link},
    )
    page(tenant, next_link, None, "c")
    response = listing()
    assert [row["displayName"] for row in response.json["value"]] == ["a", "b", "c"]
    assert response.json["count"] == {"type": "Total", "value": 3}
    assert 'arm;desc="2 pages"' in response.headers["Server-Timing"]
    assert "nextLink" not in response.json


def test_the_members_of_a_subscription_keep_their_order(tenant, listing):
    tenant.network.get(SUBSCRIPTIONS, json={"value": [{"state": "Enabled", "displayName": "a"}]})
    assert list(listing().json["value"][0]) == ["state", "displayName"]


def test_an_empty_list_is_returned_as_an_empty_list(tenant, listing):
    page(tenant)
    response = listing()
    assert (response.status_code, response.json["value"]) == (200, [])


def test_display_names_are_returned_unchanged_as_json(tenant, listing):
    page(tenant, SUBSCRIPTIONS, None, "<script>alert(1)</script>")
    response = listing()
    assert response.json["value"] == [{"displayName": "<script>alert(1)</script>"}]
    assert response.mimetype == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_users_token_for_arm_is_sent_and_not_the_assertion(tenant, listing, bearer):
    page(tenant)
    listing()
    (request,) = tenant.calls("GET", ARM)
    assert request.headers["Authorization"] == "Bearer token-b"


@pytest.mark.parametrize(
    "next_link",
    [
        "https://evil.example/subscriptions",
        "http://management.azure.com/subscriptions",
        "https://management.azure.com:4430/subscriptions",
        "https://management.azure.com.evil.example/subscriptions",
        "https://management.azure.com@evil.example/subscriptions",
        "//evil.example/subscriptions",
        "/subscriptions?$skiptoken=2",
        "https://[broken",
        "https://management.azure.com:x/subscriptions",
        7,
        ["https://management.azure.com/"],
    ],
)
def test_the_token_never_leaves_arm_through_a_next_link_of(tenant, listing, next_link):
    page(tenant, SUBSCRIPTIONS, next_link, "a")
    response = listing()
    assert (response.status_code, response.json["code"]) == (502, "downstream_error")
    assert len(tenant.calls("GET", ARM)) == 1
    assert not any("evil" in call.request.url for call in tenant.network.calls)


def test_pages_without_end_are_an_error(tenant, listing):
    page(tenant, SUBSCRIPTIONS, SUBSCRIPTIONS, "a")
    assert listing().json["code"] == "downstream_error"
    assert len(tenant.calls("GET", ARM)) == 100


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        pytest.param({"status": 500, "json": {}}, 502, "downstream_error", id="500"),
        pytest.param({"status": 404, "json": {}}, 502, "downstream_error", id="404"),
        pytest.param({"status": 400, "json": {}}, 502, "downstream_error", id="400"),
        pytest.param({"status": 204, "json": {}}, 502, "downstream_error", id="204"),
        pytest.param({"status": 203, "json": {"value": []}}, 502, "downstream_error", id="203"),
        pytest.param({"body": "<html>"}, 502, "downstream_error", id="html"),
        pytest.param({"body": '{"value": [{'}, 502, "downstream_error", id="cut-off"),
        pytest.param({"body": b'{"value":["\xff"]}'}, 502, "downstream_error", id="not-utf-8"),
        pytest.param({"body": "[" * 100_000}, 502, "downstream_error", id="deeply-nested"),
        pytest.param({"json": {"value": {}}}, 502, "downstream_error", id="value-an-object"),
        pytest.param(
            {"json": {"value": [{}, "x"]}}, 502, "downstream_error", id="a-text-among-the-values"
        ),
        pytest.param({"json": {}}, 502, "downstream_error", id="no-value"),
        pytest.param({"json": []}, 502, "downstream_error", id="a-list"),
        pytest.param({"body": requests.ConnectionError()}, 502, "downstream_error", id="reset"),
        pytest.param({"body": requests.ReadTimeout()}, 504, "downstream_timeout", id="timeout"),
        pytest.param({"status": 429, "body": ""}, 429, "downstream_throttled", id="429"),
        pytest.param({"status": 403, "json": {}}, 403, "downstream_forbidden", id="403"),
        pytest.param({"status": 401, "json": {}}, 502, "downstream_unauthorized", id="401"),
        pytest.param({"status": 503, "body": "x"}, 502, "downstream_error", id="503"),
        pytest.param(
            {"status": 302, "headers": {"Location": "https://evil.example/"}},
            502,
            "downstream_error",
            id="redirect",
        ),
    ],
)
def test_maps_an_answer_of_arm(tenant, listing, answer, status, code):
    tenant.network.get(SUBSCRIPTIONS, **answer)
    response = listing()
    assert (response.status_code, response.json["code"]) == (status, code)
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    assert not any("evil" in call.request.url for call in tenant.network.calls)


def test_says_that_arm_cannot_be_reached_if_nothing_listens(tenant, settings_of_api, bearer):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"https://127.0.0.1:{closed.getsockname()[1]}/subscriptions"
    tenant.network.add_passthru(url)
    api = create_app(settings_of_api | {"AZURE_MANAGEMENT_SUBSCRIPTIONS_URI": url}).test_client()
    response = api.get("/subscriptions", headers=bearer)
    assert (response.status_code, response.json["code"]) == (502, "downstream_unreachable")


def test_says_that_arm_cannot_be_reached_if_its_name_is_unknown(tenant, listing, monkeypatch):
    def unknown(*_args: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    tenant.network.add_passthru(SUBSCRIPTIONS)
    response = listing()
    assert (response.status_code, response.json["code"]) == (502, "downstream_unreachable")


def test_the_total_size_of_all_pages_is_limited(tenant, listing, monkeypatch):
    monkeypatch.setattr(azure_resource_manager, "MAX_BODY_BYTES", 1000)
    page(tenant, SUBSCRIPTIONS, SUBSCRIPTIONS, "a" * 200)
    assert listing().json["code"] == "downstream_error"
    assert len(tenant.calls("GET", ARM)) == 4


@pytest.mark.parametrize("server", ["arm", "entra"])
def test_logs_why_tls_failed_but_no_address(tenant, listing, caplog, server):
    caplog.set_level("INFO")
    reason = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unknown CA (_ssl.c:1)"
    error = requests.exceptions.SSLError(f"http://u:secret@p {reason}")
    code = {"arm": "downstream_error", "entra": "idp_unavailable"}[server]
    if server == "arm":
        tenant.network.get(SUBSCRIPTIONS, body=error)
    else:
        tenant.answers[:] = [error]
    assert listing().json["code"] == code
    outcome = f"{code}: SSLError: certificate verify failed: unknown CA"
    assert f"outcome={outcome!r}" in caplog.text
    assert "secret" not in caplog.text


def test_a_failure_on_the_second_page_returns_no_partial_list(tenant, listing):
    match = [responses.matchers.query_param_matcher({"api-version": "2020-01-01"})]
    tenant.network.get(SUBSCRIPTIONS, match=match, json={"value": [{}], "nextLink": NEXT})
    tenant.network.get(NEXT, status=500, json={})
    assert listing().status_code == 502


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 502}, {"status": 504}])
def test_a_transient_failure_is_retried(tenant, listing, pauses, fault):
    tenant.network.get(SUBSCRIPTIONS, **fault)
    tenant.network.get(SUBSCRIPTIONS, body=requests.ConnectionError())
    page(tenant, SUBSCRIPTIONS, None, "a")
    assert listing().status_code == 200
    assert len(tenant.calls("GET", ARM)) == 3
    assert pauses == [0.2, 0.4]


def test_a_permanent_failure_is_not_retried_forever(tenant, listing, pauses):
    tenant.network.get(SUBSCRIPTIONS, status=503)
    assert listing().status_code == 502
    assert len(tenant.calls("GET", ARM)) == 3
    assert pauses == [0.2, 0.4]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"status": 500}, id="500"),
        pytest.param({"status": 404}, id="404"),
        pytest.param({"status": 429}, id="429"),
        pytest.param({"body": requests.ReadTimeout()}, id="a-timeout"),
        pytest.param({"body": requests.ConnectTimeout()}, id="a-timeout-while-connecting"),
        pytest.param({"body": requests.TooManyRedirects()}, id="a-redirect"),
    ],
)
def test_another_failure_is_not_retried(tenant, listing, pauses, answer):
    tenant.network.get(SUBSCRIPTIONS, **answer)
    assert listing().status_code >= 400
    assert len(tenant.calls("GET", ARM)) == 1
    assert pauses == []


@pytest.mark.parametrize(
    ("seconds", "slept"),
    [
        pytest.param(0.19, [], id="no-time-for-a-pause"),
        pytest.param(0.2, [0.2], id="time-for-one-pause"),
        pytest.param(1.5, [1.5, 1.5], id="less-than-arm-asks-for"),
    ],
)
def test_pauses_only_as_long_as_time_is_left(tenant, listing, pauses, monkeypatch, seconds, slept):
    monkeypatch.setattr(request_scope, "perf_counter", lambda: 0)
    monkeypatch.setattr(http_session, "monotonic", lambda: 0)
    monkeypatch.setattr(request_scope, "REQUEST_SECONDS", seconds)
    tenant.network.get(SUBSCRIPTIONS, status=503, headers={"Retry-After": "300"})
    assert listing().json["code"] == "downstream_error"
    assert pauses == slept


@pytest.mark.parametrize(("asked", "slept"), [("1", 1), ("300", 2), ("0", 1), ("soon", 0.2)])
def test_waits_as_long_as_arm_asks_up_to_a_limit(tenant, listing, pauses, asked, slept):
    tenant.network.get(SUBSCRIPTIONS, status=503, headers={"Retry-After": asked})
    page(tenant, SUBSCRIPTIONS, None, "a")
    assert listing().status_code == 200
    assert pauses == [slept]


@pytest.mark.parametrize(
    ("header", "relayed"),
    [("12", "12"), ("999999", "300"), ("-1", "5"), ("", "5"), ("0", "1"), ("nonsense", "5")],
)
def test_throttling_is_relayed_with_a_cap(tenant, listing, header, relayed):
    tenant.network.get(SUBSCRIPTIONS, status=429, headers={"Retry-After": header})
    assert listing().headers["Retry-After"] == relayed


def test_throttling_until_a_date_is_relayed_in_seconds(tenant, listing):
    date = "Wed, 21 Oct 2099 07:28:00 GMT"
    tenant.network.get(SUBSCRIPTIONS, status=429, headers={"Retry-After": date})
    assert listing().headers["Retry-After"] == "300"


@pytest.mark.parametrize(
    ("body", "relayed"),
    [
        ({"error": {"code": "AuthorizationFailed", "message": "alice"}}, "AuthorizationFailed"),
        ({"error": {"code": "x" * 64}}, "x" * 64),
        ({"error": {"code": "<script>"}}, ""),
        ({"error": {"code": "Authorization<script>"}}, ""),
        ({"error": {"code": "x" * 65}}, ""),
        ({"error": {"code": 5}}, ""),
        ({"error": "x"}, ""),
        ([], ""),
    ],
)
def test_a_refusal_relays_the_code_but_not_the_message(tenant, listing, body, relayed):
    tenant.network.get(SUBSCRIPTIONS, status=403, json=body)
    response = listing()
    assert response.json["azure_code"] == relayed
    assert "alice" not in response.get_data(as_text=True)


def test_a_claims_challenge_is_retried_once_with_a_token_that_satisfies_it(tenant, listing):
    tenant.network.get(SUBSCRIPTIONS, status=401, headers=challenge(CLAIMS))
    tenant.grants("token-c")
    page(tenant, SUBSCRIPTIONS, None, "a")
    assert listing().status_code == 200
    first, second = tenant.requests
    assert "1726258122" not in first.body
    assert "1726258122" in second.body
    sent = [call.headers["Authorization"] for call in tenant.calls("GET", ARM)]
    assert sent == ["Bearer token-b", "Bearer token-c"]


def test_a_repeated_claims_challenge_is_relayed(tenant, listing):
    tenant.network.get(SUBSCRIPTIONS, status=401, headers=challenge(CLAIMS))
    tenant.grants("token-c")
    response = listing()
    assert (response.status_code, response.json["code"]) == (401, "claims_challenge")
    encoded = response.headers["WWW-Authenticate"].partition('claims="')[2].rstrip('"')
    assert json.loads(base64.b64decode(encoded)) == json.loads(CLAIMS)
    assert len(tenant.calls("GET", ARM)) == 2


OTHER_CLAIMS = '{"access_token":{"polids":{"essential":true,"values":["p2"]}}}'


@pytest.mark.parametrize(
    ("refusal", "code", "relayed"),
    [
        pytest.param({"error": "invalid_grant"}, "claims_challenge", CLAIMS, id="those-of-arm"),
        pytest.param(
            {"error": "interaction_required", "claims": OTHER_CLAIMS},
            "claims_challenge",
            OTHER_CLAIMS,
            id="those-of-entra",
        ),
        pytest.param({"error": "invalid_client"}, "api_misconfigured", None, id="none"),
    ],
)
def test_when_the_exchange_with_claims_is_refused_the_client_gets(
    tenant, listing, refusal, code, relayed
):
    tenant.network.get(SUBSCRIPTIONS, status=401, headers=challenge(CLAIMS))
    tenant.answer(400, **refusal)
    response = listing()
    assert response.json["code"] == code
    assert claims_of_challenge(response.headers.get("WWW-Authenticate", "")) == relayed


@pytest.mark.parametrize(
    ("first", "second", "relayed"),
    [
        pytest.param(CLAIMS, OTHER_CLAIMS, OTHER_CLAIMS, id="the-later-of-two"),
        pytest.param(CLAIMS, None, CLAIMS, id="the-first-if-it-is-the-only-one"),
        pytest.param(None, CLAIMS, CLAIMS, id="the-second-if-it-is-the-only-one"),
    ],
)
def test_of_two_rejections_by_arm_the_client_gets_the_claims_of(
    tenant, listing, first, second, relayed
):
    for claims in (first, second):
        tenant.network.get(SUBSCRIPTIONS, status=401, headers=challenge(claims) if claims else {})
    tenant.grants("token-c")
    response = listing()
    assert (response.status_code, response.json["code"]) == (401, "claims_challenge")
    assert claims_of_challenge(response.headers["WWW-Authenticate"]) == relayed


def test_a_refusal_without_claims_is_retried_once_with_a_new_token(tenant, listing):
    tenant.network.get(SUBSCRIPTIONS, status=401)
    page(tenant, SUBSCRIPTIONS, None, "a")
    tenant.grants("token-c")
    assert listing().status_code == 200
    assert len(tenant.requests) == 2
