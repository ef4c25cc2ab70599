"""The whole application: routes, the form of every response, headers, and the log."""

import json
import re
from http.client import HTTPConnection
from threading import Thread
from types import SimpleNamespace

import pytest
import responses
from werkzeug.serving import make_server

from helpers import http_session, request_scope
from helpers.errors import ERROR_RESPONSES, ApiError, bearer_challenge
from tests.unit.conftest import SUBSCRIPTIONS
from tests.unit.flask_api.conftest import TENANT_ID

GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def test_health_needs_no_token_and_calls_nobody(tenant, api):
    response = api.get("/health")
    assert (response.status_code, response.json) == (200, {"status": "ok"})
    assert len(tenant.network.calls) == 0


def test_there_are_no_other_routes(api):
    rules = {rule.rule for rule in api.application.url_map.iter_rules()}
    assert rules == {"/health", "/subscriptions"}


def test_starting_makes_no_calls(tenant, api):
    assert len(tenant.network.calls) == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/subscriptions/", 404, "not_found"),
        ("GET", "/subscriptions//", 404, "not_found"),
        ("GET", "/admin?code=secret-code", 404, "not_found"),
        ("POST", "/subscriptions", 405, "method_not_allowed"),
        ("DELETE", "/subscriptions", 405, "method_not_allowed"),
        ("GET", "/subscriptions", 401, "authorization_header_missing"),
        ("SECRET-CODE", "/subscriptions", 405, "method_not_allowed"),
    ],
)
def test_answers_in_one_form(api, method, path, status, code, caplog):
    caplog.set_level("INFO")
    response = api.open(path, method=method)
    assert response.status_code == status
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "secret-code" not in caplog.text.lower()
    known = "-" if method == "SECRET-CODE" else method
    route = "/subscriptions" if status == 401 else "-"
    assert f"method={known} path={route} status={status} ms=" in caplog.text
    assert f"outcome={code!r}" in caplog.text
    assert set(response.json) == {"error", "code", "description", "correlation_id"}
    assert response.json["code"] == code
    assert response.json["correlation_id"] == response.headers["x-ms-client-request-id"]


def test_answers_head_as_get_but_without_a_body(api):
    response = api.head("/subscriptions")
    assert response.status_code == 401
    assert response.headers["Cache-Control"] == "no-store"
    assert response.data == b""


def test_a_405_lists_the_allowed_methods(api):
    assert api.post("/subscriptions").allow == {"GET", "HEAD", "OPTIONS"}


def test_options_lists_the_methods_and_nothing_else(api):
    response = api.options("/subscriptions")
    assert response.status_code == 200
    assert response.data == b""


# What clients can rely on: status, "error" of the body, error= of WWW-Authenticate (None: no such
# header), and Retry-After.
CONTRACT = {
    "authorization_header_missing": (401, "unauthorized", "", None),
    "invalid_header": (400, "invalid_request", "invalid_request", None),
    "invalid_token": (401, "invalid_token", "invalid_token", None),
    "token_expired": (401, "invalid_token", "invalid_token", None),
    "invalid_claims": (401, "invalid_token", "invalid_token", None),
    "insufficient_scope": (403, "insufficient_scope", "insufficient_scope", None),
    "app_only_token": (403, "insufficient_scope", "insufficient_scope", None),
    "client_not_allowed": (403, "insufficient_scope", "insufficient_scope", None),
    "consent_required": (401, "interaction_required", "interaction_required", None),
    "claims_challenge": (401, "interaction_required", "insufficient_claims", None),
    "assertion_rejected": (401, "invalid_token", "invalid_token", None),
    "api_misconfigured": (500, "server_error", None, None),
    "idp_throttled": (503, "temporarily_unavailable", None, "5"),
    "idp_unavailable": (502, "temporarily_unavailable", None, "5"),
    "idp_timeout": (504, "temporarily_unavailable", None, "5"),
    "keys_unavailable": (503, "temporarily_unavailable", None, "5"),
    "downstream_unauthorized": (502, "bad_gateway", None, None),
    "downstream_forbidden": (403, "forbidden", None, None),
    "downstream_throttled": (429, "too_many_requests", None, "5"),
    "downstream_unreachable": (502, "bad_gateway", None, None),
    "downstream_error": (502, "bad_gateway", None, None),
    "downstream_timeout": (504, "gateway_timeout", None, None),
    "internal_error": (500, "server_error", None, None),
}


def test_the_contract_names_every_error():
    assert CONTRACT.keys() == ERROR_RESPONSES.keys()


@pytest.mark.parametrize("code", CONTRACT)
def test_answers_each_error_as_the_contract_says(api, code):
    status, error, challenge, retry_after = CONTRACT[code]

    def fail():
        raise ApiError(code, "for the log")

    api.application.add_url_rule("/fail", view_func=fail)
    response = api.get("/fail")
    assert response.status_code == status
    assert (response.json["error"], response.json["code"]) == (error, code)
    assert response.json["description"].endswith(".")
    assert "for the log" not in response.get_data(as_text=True)
    assert response.headers.get("Retry-After") == retry_after
    header = response.headers.get("WWW-Authenticate")
    assert (header is None) == (challenge is None)
    if challenge is not None:
        begins = f'Bearer realm="{TENANT_ID}", authorization_uri="https://'
        assert header.startswith(begins)
        assert re.findall(r' error="(.*?)"', header) == ([challenge] if challenge else [])


def test_an_unexpected_error_is_logged_and_not_shown(api, caplog):
    caplog.set_level("INFO")

    def fail():
        raise RuntimeError("inner detail")

    api.application.add_url_rule("/fail", view_func=fail)
    response = api.get("/fail")
    assert (response.status_code, response.json["code"]) == (500, "internal_error")
    assert "inner detail" not in response.get_data(as_text=True)
    assert "RuntimeError: inner detail" in caplog.text
    assert "status=500" in caplog.text
    assert "outcome='internal_error: RuntimeError'" in caplog.text


def test_no_parameter_can_break_out_of_a_challenge():
    hostile = 'x"\r\nSet-Cookie: a=b, error="none" \\ \u00e9'
    assert bearer_challenge({"scope": hostile}) == (
        'Bearer scope="x   Set-Cookie: a=b, error= none     "'
    )


OFFERED = "12345678-1234-4234-8234-123456789abc"


@pytest.mark.parametrize(
    "offered",
    [
        pytest.param("", id="empty"),
        pytest.param("1234", id="too-short"),
        pytest.param(f"{OFFERED}\n", id="line-break-after-it"),
        pytest.param(f"{OFFERED} more", id="more-after-it"),
        pytest.param(f"x{OFFERED}", id="more-before-it"),
        pytest.param("<b>", id="html"),
    ],
)
def test_replaces_a_correlation_id_that_is_not_a_guid(api, caplog, offered):
    caplog.set_level("INFO")
    # Set where a server puts it, since a test client refuses line breaks itself.
    environ = {"HTTP_X_MS_CLIENT_REQUEST_ID": offered}
    used = api.get("/health", environ_overrides=environ).headers["x-ms-client-request-id"]
    assert re.fullmatch(GUID, used)
    assert used != OFFERED
    assert OFFERED not in caplog.text


@pytest.mark.parametrize("offered", [OFFERED, OFFERED.upper()], ids=["lower", "upper"])
def test_uses_the_callers_correlation_id(api, caplog, offered):
    caplog.set_level("INFO")
    answer = api.get("/health", headers={"x-ms-client-request-id": offered})
    assert answer.headers["x-ms-client-request-id"] == offered
    assert f"correlation_id={offered} outcome='ok'" in caplog.text


def test_server_timing_names_the_hops(tenant, api, bearer):
    tenant.lists("first")
    timing = api.get("/subscriptions", headers=bearer).headers["Server-Timing"]
    assert [hop.partition(";")[0] for hop in timing.split(", ")] == ["validate", "obo", "arm"]
    assert 'obo;desc="miss";dur=' in timing
    assert 'arm;desc="1 page";dur=' in timing


def test_server_timing_adds_up_both_attempts_when_a_token_is_rejected(
    tenant, api, bearer, monkeypatch, caplog
):
    caplog.set_level("INFO")
    clock = SimpleNamespace(now=0)
    monkeypatch.setattr(request_scope, "perf_counter", lambda: clock.now)

    def resource_manager(request):
        clock.now += 2
        is_first = clock.now == 2
        return (401, {}, "{}") if is_first else (200, {}, '{"value": []}')

    tenant.network.add_callback(responses.GET, SUBSCRIPTIONS, resource_manager)
    timing = api.get("/subscriptions", headers=bearer).headers["Server-Timing"]
    assert 'arm;desc="1 page";dur=4000.0' in timing
    assert "ms=4000.0" in caplog.text


def test_all_calls_share_the_twenty_seconds_of_a_request(tenant, api, bearer, monkeypatch):
    clock = SimpleNamespace(now=0)
    monkeypatch.setattr(request_scope, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(http_session, "monotonic", lambda: 0)  # the last call has a millisecond

    def resource_manager(request):
        clock.now += 7
        body = {"value": []} if clock.now > 25 else {"value": [], "nextLink": SUBSCRIPTIONS}
        return 200, {}, json.dumps(body)

    def entra():
        clock.now += 3

    tenant.meanwhile = entra
    tenant.network.add_callback(responses.GET, SUBSCRIPTIONS, resource_manager)
    assert api.get("/subscriptions", headers=bearer).status_code == 200
    calls = tenant.requests + tenant.calls("GET", SUBSCRIPTIONS)
    # For connecting and for the answer. Neither may be zero, which urllib3 refuses.
    assert [call.req_kwargs["timeout"] for call in calls] == [
        (3.05, 10),
        (3.05, 10),
        (3.05, 10),
        (3, 3),
        (0.001, 0.001),
    ]


def test_the_log_has_one_line_for_each_request_without_the_user(tenant, api, bearer, caplog):
    caplog.set_level("INFO")
    tenant.lists("first")
    response = api.get("/subscriptions?x=secret-code", headers=bearer)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "helpers.request_scope"]
    assert response.headers["x-ms-client-request-id"] in line
    assert "path=/subscriptions status=200" in line
    for private in ("alice", tenant.oid, "secret-code", "token-b", bearer["Authorization"][7:40]):
        assert private not in caplog.text


def test_the_development_server_does_not_log_queries(api, caplog):
    caplog.set_level("INFO")
    with make_server("127.0.0.1", 0, api.application) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        connection = HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        connection.request("GET", "/health?code=secret-code")
        assert connection.getresponse().status == 200
        thread.join()
        connection.close()
    assert "path=/health status=200" in caplog.text
    assert "secret-code" not in caplog.text
