"""The list of subscriptions, and the order in which ARM finds fault with a request."""

from urllib.parse import urlsplit

import pytest

from tests.mock_azure.directory import TENANT_ID
from tests.mock_azure.tokens import unverified


def test_lists_the_users_subscriptions(azure, arm_token, list_subscriptions):
    response = list_subscriptions(arm_token("alice"))
    assert response.status_code == 200
    body = response.json
    assert list(body) == ["value", "count"]
    assert body["count"] == {"type": "Total", "value": 4}
    assert [found["state"] for found in body["value"]] == [
        "Enabled",
        "Enabled",
        "Warned",
        "Disabled",
    ]
    first = body["value"][0]
    assert list(first) == [
        "id", "authorizationSource", "managedByTenants", "tags", "subscriptionId", "tenantId",
        "displayName", "state", "subscriptionPolicies",
    ]  # fmt: skip
    assert first["id"] == f"/subscriptions/{first['subscriptionId']}"
    assert first["tenantId"] == azure.tenant_id


def test_user_without_subscriptions_gets_an_empty_list(arm_token, list_subscriptions):
    response = list_subscriptions(arm_token("bob"))
    assert (response.status_code, response.json) == (
        200,
        {"value": [], "count": {"type": "Total", "value": 0}},
    )


def test_next_link_is_absolute_and_leads_through_every_page(azure, arm_token, list_subscriptions):
    token = arm_token("gina")
    names, pages, address = [], 0, "/subscriptions?api-version=2020-01-01"
    while address:
        body = list_subscriptions(token, address).json
        names += [found["displayName"] for found in body["value"]]
        pages += 1
        link = body.get("nextLink")
        assert link is None or link.startswith(f"{azure.arm_url}/subscriptions?api-version=")
        address = link and urlsplit(link)._replace(scheme="", netloc="").geturl()
    assert (pages, names) == (12, [f"Fleet {number:03}" for number in range(1, 301)])


def test_next_link_is_of_no_use_to_somebody_else(arm_token, list_subscriptions):
    link = list_subscriptions(arm_token("gina")).json["nextLink"]
    address = urlsplit(link)._replace(scheme="", netloc="").geturl()
    assert list_subscriptions(arm_token("alice"), address).status_code == 400


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc"])
def test_without_a_bearer_token(back, header):
    headers = {} if header is None else {"Authorization": header}
    response = back.get("/subscriptions", headers=headers)
    assert (response.status_code, response.json["error"]["code"]) == (401, "AuthenticationFailed")
    assert response.headers["WWW-Authenticate"].startswith(
        f'Bearer authorization_uri="https://login.windows.net/{TENANT_ID}", error="invalid_token"'
    )


V1 = {
    "iss": f"https://sts.windows.net/{TENANT_ID}/",
    "aud": "https://management.azure.com",
    "scp": "user_impersonation",
}
WRONG = {
    "key-never-published": ({"key": "rogue"}, "InvalidAuthenticationToken"),
    "unsigned": ({"algorithm": "none"}, "InvalidAuthenticationToken"),
    "key-unknown": ({"header": {"kid": "unknown"}}, "InvalidAuthenticationToken"),
    "expired": ({"exp": 1}, "ExpiredAuthenticationToken"),
    "without-expiry": ({"exp": None}, "ExpiredAuthenticationToken"),
    "audience": ({"aud": "api"}, "InvalidAuthenticationTokenAudience"),
    "audience-a-list": ({"aud": [V1["aud"]]}, "InvalidAuthenticationTokenAudience"),
    "audience-not-quotable": ({"aud": 'a"b\r\nX: é'}, "InvalidAuthenticationTokenAudience"),
    "issuer-version-2": ({"iss": "https://localhost/v2.0"}, "InvalidAuthenticationTokenTenant"),
    "user-unknown": ({"oid": "nobody", "aio": None}, "InvalidAuthenticationToken"),
}


@pytest.mark.parametrize(("wrong", "code"), WRONG.values(), ids=WRONG.keys())
def test_refuses_token_with(azure, list_subscriptions, wrong, code):
    key = {"rogue": azure.keys.rogue, "own": None}[wrong.get("key", "own")]
    response = list_subscriptions(azure.forge(**{**V1, **wrong, "key": key}))
    assert (response.status_code, response.json["error"]["code"]) == (401, code)
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


def test_accepts_the_token_next_to_the_wrong_ones(azure, list_subscriptions):
    assert list_subscriptions(azure.forge(**V1)).status_code == 200


def test_refuses_the_token_for_our_api(azure, list_subscriptions):
    assert list_subscriptions(azure.access_token()).json["error"]["code"] == (
        "InvalidAuthenticationTokenAudience"
    )


def test_token_without_the_scope_is_forbidden(azure, list_subscriptions):
    response = list_subscriptions(azure.forge(**V1 | {"scp": "other"}))
    assert (response.status_code, response.json["error"]["code"]) == (403, "AuthorizationFailed")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "MissingApiVersionParameter"),
        ("?api-version=latest", "InvalidApiVersionParameter"),
        ("?api-version=2020-01-01&%24skiptoken=25", "InvalidSkipToken"),
    ],
)
def test_query_is_looked_at_after_the_token(back, arm_token, list_subscriptions, query, code):
    response = list_subscriptions(arm_token(), f"/subscriptions{query}")
    assert (response.status_code, response.json["error"]["code"]) == (400, code)
    assert back.get(f"/subscriptions{query}").status_code == 401


def test_headers_of_arm(back, arm_token):
    guid = "61fdc1c8-0000-4000-8000-000000000001"
    sent = {
        "Authorization": f"Bearer {arm_token()}",
        "x-ms-correlation-request-id": guid,
        "x-ms-client-request-id": guid,
        "x-ms-return-client-request-id": "true",
    }
    headers = back.get("/subscriptions?api-version=2020-01-01", headers=sent).headers
    assert headers["x-ms-correlation-request-id"] == headers["x-ms-client-request-id"] == guid
    assert headers["x-ms-ratelimit-remaining-tenant-reads"].isdigit()
    assert headers["x-ms-request-id"] in headers["x-ms-routing-request-id"]
    assert headers["Cache-Control"] == "no-cache"


def test_token_says_who_called_which_way(arm_token, azure):
    assert unverified(arm_token("bob"))["oid"] == azure.users["bob"].oid
