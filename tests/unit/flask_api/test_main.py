"""The application as a whole: routes, the form of every answer, headers, and the log."""

import re

import pytest

from helpers.errors import ANSWERS, ApiError, bearer_challenge
from tests.unit.flask_api.conftest import TENANT_ID

GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def test_health_needs_no_token_and_calls_nobody(tenant, api):
    response = api.get("/health")
    assert (response.status_code, response.json) == (200, {"status": "ok"})
    assert len(tenant.net.calls) == 0


def test_starting_calls_nobody(tenant, api):
    assert len(tenant.net.calls) == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/subscriptions/", 404, "not_found"),
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
    assert set(response.json) == {"error", "code", "description", "correlation_id"}
    assert response.json["code"] == code
    assert response.json["correlation_id"] == response.headers["x-ms-client-request-id"]


def test_answers_head_as_get_but_without_a_body(api):
    response = api.head("/subscriptions")
    assert response.status_code == 401
    assert response.headers["Cache-Control"] == "no-store"
    assert response.data == b""


def test_a_method_that_is_not_allowed_learns_which_are(api):
    assert api.post("/subscriptions").allow == {"GET", "HEAD", "OPTIONS"}


def test_options_reveals_methods_and_no_more(api):
    response = api.options("/subscriptions")
    assert response.status_code == 200
    assert response.data == b""


@pytest.mark.parametrize("code", ANSWERS)
def test_every_error_of_the_table_is_answered_as_it_says(api, code):
    answer = ANSWERS[code]

    def fail():
        raise ApiError(code, "for the log")

    api.application._got_first_request = False
    api.application.add_url_rule("/fail", view_func=fail)
    response = api.get("/fail")
    assert response.status_code == answer.status
    assert response.json["error"] == answer.error
    assert response.json["code"] == code
    assert response.json["description"] == f"{answer.description}."
    assert "for the log" not in response.get_data(as_text=True)
    challenge = response.headers.get("WWW-Authenticate", "")
    begins = f'Bearer realm="{TENANT_ID}", authorization_uri="https://'
    assert challenge.startswith(begins) == (answer.challenge is not None)
    assert bool(challenge) == (answer.challenge is not None)
    assert ("error=" in challenge) == bool(answer.challenge)
    assert (response.headers.get("Retry-After") is None) == (answer.retry_after is None)


def test_every_401_of_the_table_brings_a_challenge():
    """RFC 9110 section 11.6.1."""
    assert all(answer.challenge is not None for answer in ANSWERS.values() if answer.status == 401)


def test_an_unexpected_error_is_logged_and_not_shown(api, caplog):
    def fail():
        raise RuntimeError("inner detail")

    api.application.add_url_rule("/fail", view_func=fail)
    response = api.get("/fail")
    assert (response.status_code, response.json["code"]) == (500, "internal_error")
    assert "inner detail" not in response.get_data(as_text=True)
    assert "inner detail" in caplog.text


def test_a_challenge_can_not_be_broken_out_of():
    hostile = 'x"\r\nSet-Cookie: a=b, error="none" \\ \u00e9'
    assert bearer_challenge({"scope": hostile}) == (
        'Bearer scope="x   Set-Cookie: a=b, error= none     "'
    )


@pytest.mark.parametrize(
    "offered", ["", "x", "1234", "12345678-1234-4234-8234-123456789abc\n", "<b>"]
)
def test_a_correlation_id_that_is_no_guid_is_replaced(api, offered):
    response = api.get("/health", headers={"x-ms-client-request-id": offered.strip()})
    assert re.fullmatch(GUID, response.headers["x-ms-client-request-id"])


TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_trace_id_serves_as_correlation_id(api):
    """W3C Trace Context; with a GUID beside it, that one counts."""
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    answer = api.get("/health", headers=headers)
    assert answer.headers["x-ms-client-request-id"].replace("-", "") == TRACE
    guid = "12345678-1234-4234-8234-123456789abc"
    answer = api.get("/health", headers=headers | {"x-ms-client-request-id": guid})
    assert answer.headers["x-ms-client-request-id"] == guid


@pytest.mark.parametrize(
    "offered",
    [
        pytest.param(f"ff-{TRACE}-b7ad6b7169203331-01", id="version-ff"),
        pytest.param(f"00-{'0' * 32}-b7ad6b7169203331-01", id="no-trace"),
        pytest.param(f"00-{TRACE.upper()}-b7ad6b7169203331-01", id="upper-case"),
        pytest.param(f"00-{TRACE}-b7ad6b7169203331-01-more", id="more-behind-it"),
    ],
)
def test_a_trace_parent_is_replaced_that_is(api, offered):
    answer = api.get("/health", headers={"traceparent": offered})
    assert re.fullmatch(GUID, answer.headers["x-ms-client-request-id"])
    assert answer.headers["x-ms-client-request-id"].replace("-", "") not in offered.lower()


def test_server_timing_names_the_hops(tenant, api, bearer):
    tenant.grants()
    tenant.lists("first")
    timing = api.get("/subscriptions", headers=bearer).headers["Server-Timing"]
    assert [hop.partition(";")[0] for hop in timing.split(", ")] == ["validate", "obo", "arm"]
    assert 'obo;desc="miss";dur=' in timing


def test_the_log_has_one_line_for_each_request_without_the_user(tenant, api, bearer, caplog):
    caplog.set_level("INFO")
    tenant.grants()
    tenant.lists("first")
    response = api.get("/subscriptions?x=secret-code", headers=bearer)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "helpers.request_context"]
    assert response.headers["x-ms-client-request-id"] in line
    assert "path=/subscriptions status=200" in line
    for private in ("alice", "0b1d0000", "secret-code", "token-b", bearer["Authorization"][7:40]):
        assert private not in caplog.text
