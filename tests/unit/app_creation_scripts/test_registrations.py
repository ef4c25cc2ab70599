"""The content of a PATCH, and which secrets count as valid."""

from datetime import UTC, datetime, timedelta

import pytest

import registrations
from credentials import is_valid_secret
from registrations import differences

SCOPE = {"id": "1", "value": "access_as_user", "isEnabled": True}


@pytest.mark.parametrize(
    ("current", "wanted", "changes"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, {}, id="equal"),
        pytest.param({"a": 1}, {"a": 2}, {"a": 2}, id="another-value"),
        pytest.param({}, {"tags": ["x"]}, {"tags": ["x"]}, id="nothing-there"),
        pytest.param(
            {"web": {"redirectUris": ["x"], "logoutUrl": "y"}},
            {"web": {"redirectUris": ["z"]}},
            {"web": {"redirectUris": ["x", "z"]}},
            id="what-was-added-stays",
        ),
        pytest.param(
            {"api": {"version": None, "known": ["x"]}},
            {"api": {"version": 2, "known": ["x"]}},
            {"api": {"version": 2}},
            id="only-the-members-that-differ",
        ),
        pytest.param(
            {"claims": {"idToken": [{"name": "x"}], "accessToken": [{"name": "z"}]}},
            {"claims": {"idToken": [{"name": "y"}]}},
            {"claims": {"idToken": [{"name": "x"}, {"name": "y"}], "accessToken": [{"name": "z"}]}},
            id="the-whole-of-what-graph-replaces",
        ),
        pytest.param({"api": None}, {"api": {"version": 2}}, {"api": {"version": 2}}, id="null"),
        pytest.param(
            {"scopes": [SCOPE, {**SCOPE, "id": "2", "value": "more"}]},
            {"scopes": [{**SCOPE, "isEnabled": False}]},
            {"scopes": [{**SCOPE, "isEnabled": False}, {**SCOPE, "id": "2", "value": "more"}]},
            id="a-scope-is-known-by-its-value",
        ),
        pytest.param(
            {"required": [{"resourceAppId": "r", "access": [{"id": "1"}]}]},
            {"required": [{"resourceAppId": "r", "access": [{"id": "2"}]}]},
            {"required": [{"resourceAppId": "r", "access": [{"id": "1"}, {"id": "2"}]}]},
            id="permissions-of-one-resource-are-joined",
        ),
    ],
)
def test_a_change_contains_only_differences(current, wanted, changes):
    assert differences(current, wanted) == changes


def registration(*secrets):
    """A registration with secrets, of which each has a hint and some days left."""
    credentials = []
    for hint, days in secrets:
        end = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.1234567Z")
        credentials.append({"hint": hint, "endDateTime": end})
    return registrations.Registration("api", {}, {"passwordCredentials": credentials})


@pytest.mark.parametrize(
    ("hint", "days", "valid"),
    [
        pytest.param("abc", 30, True, id="known-and-long"),
        pytest.param("abd", 30, False, id="of-another-secret"),
        pytest.param("abc", 0.5, False, id="about-to-expire"),
        pytest.param("abc", -1, False, id="expired"),
        pytest.param(None, 30, False, id="without-a-hint"),
    ],
)
def test_a_secret_is_valid(hint, days, valid):
    others = [("xyz", 30), ("abc", -30)]
    assert is_valid_secret(registration(others[0], (hint, days), others[1]), "abcdef") is valid


def test_a_scope_keeps_its_id():
    scopes = [{**SCOPE, "id": "0", "value": "more"}, SCOPE]
    api = registrations.Registration("api", {}, {"api": {"oauth2PermissionScopes": scopes}})
    assert registrations.scope_id(api) == "1"


def test_names_are_filled_in_at_every_depth():
    filled = registrations.filled_in({"a": ["{x}", {"b": "api://{x}", "c": 2}]}, {"x": "y"})
    assert filled == {"a": ["y", {"b": "api://y", "c": 2}]}
