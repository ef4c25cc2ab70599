"""trace: what a learner sees of one request of the apps."""

import re
from uuid import uuid4

import pytest


@pytest.fixture
def trace(visitor):
    def trace(correlation_id):
        return visitor.client.get(f"/trace/{correlation_id}")

    return trace


@pytest.fixture
def request_of_the_api(azure, exchange, back):
    """An exchange and a list with one correlation id, as the API does it; returns that id."""
    azure.consent_all("alice")
    correlation_id = str(uuid4())
    token = exchange(
        azure.access_token("alice"), headers={"client-request-id": correlation_id}
    ).json["access_token"]
    headers = {
        "Authorization": f"Bearer {token}",
        "x-ms-correlation-request-id": correlation_id,
    }
    back.get("/subscriptions?api-version=2020-01-01", headers=headers)
    return correlation_id


def test_shows_each_request_in_order(trace, request_of_the_api):
    page = trace(request_of_the_api).text
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "1. The API exchanged token A for token B",
        "2. The API listed the subscriptions with token B",
    ]


def test_sets_both_tokens_side_by_side_and_once(azure, trace, request_of_the_api):
    page = trace(request_of_the_api).text
    assert page.count("<table>") == 1
    assert "<th scope=\"col\">Token A</th><th scope=\"col\">Token B</th>" in page  # fmt: skip
    for value in ("access_as_user", "user_impersonation", azure.api.client_id):
        assert f"<code>{value}</code>" in page


def test_shows_no_signature_and_no_whole_token(trace, request_of_the_api):
    assert "eyJ" not in trace(request_of_the_api).text


def test_shows_nothing_of_another_request(trace, request_of_the_api):
    page = trace(uuid4()).text
    assert "Nothing: no request with this id" in page
    assert "access_as_user" not in page


def test_a_refusal_is_named(azure, trace, exchange):
    correlation_id = str(uuid4())
    exchange(azure.access_token("alice"), headers={"client-request-id": correlation_id})
    assert "answered with 400 (AADSTS65001)" in trace(correlation_id).text


@pytest.mark.parametrize("other", ["", "1", "<b>", "../settings"])
def test_takes_only_a_guid(trace, other):
    assert trace(other).status_code == 404


def test_servers_do_not_find_it(back, request_of_the_api):
    assert back.get(f"/trace/{request_of_the_api}").status_code == 404
