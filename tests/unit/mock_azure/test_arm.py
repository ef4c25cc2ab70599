"""The list of subscriptions, and the order in which ARM checks a request."""

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
    assert [subscription["state"] for subscription in body["value"]] == [
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


def test_one_subscription_is_shown_to_its_owner_only(arm_token, list_subscriptions):
    *_, last = list_subscriptions(arm_token("alice")).json["value"]
    upper = f"/subscriptions/{last['subscriptionId'].upper()}?api-version=2020-01-01"
    assert list_subscriptions(arm_token("alice"), upper).json == last
    assert list_subscriptions(arm_token("alice"), last["id"]).status_code == 400
    address = f"{last['id']}?api-version=2020-01-01"
    assert list_subscriptions(arm_token("alice"), address).json == last
    refused = list_subscriptions(arm_token("bob"), address)
    assert (refused.status_code, refused.json["error"]["code"]) == (404, "SubscriptionNotFound")
    assert list_subscriptions("junk", address).status_code == 401


def test_tenants_lists_the_tenant_of_the_token(azure, arm_token, list_subscriptions):
    body = list_subscriptions(arm_token(), "/tenants?api-version=2020-01-01").json
    assert [subscription["tenantId"] for subscription in body["value"]] == [azure.tenant_id]
    refused = list_subscriptions(arm_token(), "/tenants")
    assert refused.json["error"]["code"] == "MissingApiVersionParameter"
    assert list_subscriptions("junk", "/tenants?api-version=2020-01-01").status_code == 401


def test_unknown_address_is_answered_in_arms_envelope(back):
    response = back.get("/providers/Microsoft.Compute?api-version=2020-01-01")
    assert (response.status_code, response.json["error"]["code"]) == (404, "NotFound")


def test_application_that_calls_as_itself_sees_no_subscription(
    azure, post_token, list_subscriptions
):
    scope = "https://management.azure.com/.default"
    own = post_token(azure.ui, grant_type="client_credentials", scope=scope).json["access_token"]
    response = list_subscriptions(own)
    assert (response.status_code, response.json["value"]) == (200, [])


def test_token_is_valid_until_its_last_second_and_no_longer(azure, arm_token, list_subscriptions):
    azure.token_lifetime_seconds = (600, 600)
    token = arm_token()
    azure.clock.advance(595)
    assert list_subscriptions(token).status_code == 200
    for late in (10, 3600):
        azure.clock.advance(late)
        refused = list_subscriptions(token)
        assert refused.json["error"]["code"] == "ExpiredAuthenticationToken"


def test_user_without_subscriptions_gets_an_empty_list(arm_token, list_subscriptions):
    response = list_subscriptions(arm_token("bob"))
    assert (response.status_code, response.json) == (
        200,
        {"value": [], "count": {"type": "Total", "value": 0}},
    )


def test_next_link_is_absolute_and_leads_through_every_page(azure, arm_token, list_subscriptions):
    token = arm_token("gina")
    first = "/subscriptions?api-version=2022-12-01"
    names, pages, address = [], 0, first
    while address:
        body = list_subscriptions(token, address).json
        names += [subscription["displayName"] for subscription in body["value"]]
        pages += 1
        assert body["count"] == {"type": "Total", "value": 300}
        link = body.get("nextLink")
        assert link is None or link.startswith(f"{azure.arm_url}{first}&")
        address = link and urlsplit(link)._replace(scheme="", netloc="").geturl()
    assert (pages, names) == (12, [f"Fleet {number:03}" for number in range(1, 301)])


def test_rejects_the_next_link_of_another_user(arm_token, list_subscriptions):
    link = list_subscriptions(arm_token("gina")).json["nextLink"]
    address = urlsplit(link)._replace(scheme="", netloc="").geturl()
    assert list_subscriptions(arm_token("alice"), address).status_code == 400


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic abc"],
    ids=["no header", "an empty header", "a scheme alone", "no token", "another scheme"],
)
def test_asks_for_a_bearer_token_when_there_is(back, header):
    """The scheme's case does not matter (RFC 9110 section 11.1)."""
    junk = back.get("/subscriptions", headers={"Authorization": "bearer junk"})
    assert junk.json["error"]["code"] == "InvalidAuthenticationToken"
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
    "a key that was never published": ({"key": "rogue"}, "InvalidAuthenticationToken"),
    "no signature": ({"algorithm": "none"}, "InvalidAuthenticationToken"),
    "an unknown key ID": ({"header": {"kid": "unknown"}}, "InvalidAuthenticationToken"),
    "an expiry long ago": ({"exp": 1}, "ExpiredAuthenticationToken"),
    "no expiry": ({"exp": None}, "ExpiredAuthenticationToken"),
    "an expiry in words": ({"exp": "tomorrow"}, "ExpiredAuthenticationToken"),
    "an unknown audience": ({"aud": "api"}, "InvalidAuthenticationTokenAudience"),
    "Graph's audience": (
        {"aud": "https://graph.microsoft.com"},
        "InvalidAuthenticationTokenAudience",
    ),
    "a list of audiences": ({"aud": [V1["aud"]]}, "InvalidAuthenticationTokenAudience"),
    "an audience that breaks a header": (
        {"aud": 'a"b\r\nX: é'},
        "InvalidAuthenticationTokenAudience",
    ),
    "the issuer of version 2": (
        {"iss": "https://localhost/v2.0"},
        "InvalidAuthenticationTokenTenant",
    ),
    "an unknown user": ({"oid": "nobody", "aio": None}, "InvalidAuthenticationToken"),
}


@pytest.mark.parametrize(("wrong", "code"), WRONG.values(), ids=WRONG.keys())
def test_rejects_a_token_with(azure, list_subscriptions, wrong, code):
    key = {"rogue": azure.keys.rogue, "own": None}[wrong.get("key", "own")]
    response = list_subscriptions(azure.access_token(**{**V1, **wrong, "key": key}))
    assert (response.status_code, response.json["error"]["code"]) == (401, code)
    challenge = response.headers["WWW-Authenticate"]
    assert 'error="invalid_token"' in challenge
    assert challenge.count('"') == 6  # three values, and nobody breaks out of theirs


@pytest.mark.parametrize("version", ["2020-01-01", "2022-12-01-preview"])
def test_accepts_the_token_that_differs_from_the_rejected_ones(azure, list_subscriptions, version):
    address = f"/subscriptions?api-version={version}"
    assert list_subscriptions(azure.access_token(**V1), address).status_code == 200
    scopes = {"scp": "other user_impersonation", "aio": None}
    body = list_subscriptions(azure.access_token("bob", **V1 | scopes), address).json
    assert body["value"] == []  # Bob's list


def test_rejects_the_token_for_our_api(azure, list_subscriptions):
    assert list_subscriptions(azure.access_token()).json["error"]["code"] == (
        "InvalidAuthenticationTokenAudience"
    )


@pytest.mark.parametrize("scope", ["other", "user_impersonation2"], ids=["another", "longer"])
def test_forbids_a_token_without_the_scope(azure, list_subscriptions, scope):
    response = list_subscriptions(azure.access_token(**V1 | {"scp": scope}))
    assert (response.status_code, response.json["error"]["code"]) == (403, "AuthorizationFailed")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "MissingApiVersionParameter"),
        ("?api-version=latest", "InvalidApiVersionParameter"),
        ("?api-version=2020-01-01x", "InvalidApiVersionParameter"),
        ("?api-version=2020-01-01&%24skiptoken=25", "InvalidSkipToken"),
    ],
    ids=["no version", "a version in words", "more than a date", "an invented skip token"],
)
def test_checks_the_query_after_the_token_and_rejects(
    back, arm_token, list_subscriptions, query, code
):
    response = list_subscriptions(arm_token(), f"/subscriptions{query}")
    assert (response.status_code, response.json["error"]["code"]) == (400, code)
    assert back.get(f"/subscriptions{query}").status_code == 401


def test_answers_with_arms_headers(back, arm_token):
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


def test_token_carries_the_users_object_id(arm_token, azure):
    assert unverified(arm_token("bob"))["oid"] == azure.users["bob"].oid
