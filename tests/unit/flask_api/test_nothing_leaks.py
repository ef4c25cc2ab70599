"""The log contains no secrets while the tests provoke each error of the table.

Entra's and ARM's answers name people and tokens here, as the real ones may.
"""

import logging
from datetime import timedelta

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

from helpers.errors import ERROR_RESPONSES
from main import create_app
from tests.unit.conftest import SUBSCRIPTIONS
from tests.unit.flask_api.conftest import API_ID, SETTINGS, UI_ID

TOKEN_B = "token-b-for-resource-manager"
ALICE = "alice@contoso.example"
CLAIMS = '{"access_token":{"capolids":{"essential":true,"values":["policy-of-alice"]}}}'
SAYS = f"AADSTS50000: Alice Adams ({ALICE}) sent {TOKEN_B}\r\nTrace ID: 1"

# What requests raises when nobody listens.
NOBODY_LISTENS = NewConnectionError(None, SAYS)  # type: ignore[arg-type]
REFUSED = requests.ConnectionError(MaxRetryError(None, "/", NOBODY_LISTENS))  # type: ignore[arg-type]


def refuse(tenant, status=400, **body):
    tenant.answer(status, error_description=SAYS, user=ALICE, **body)


def arm(tenant, status=200, **answer):
    tenant.grants(TOKEN_B)
    message = {"error": {"code": "AuthorizationFailed", "message": SAYS}}
    tenant.network.get(SUBSCRIPTIONS, status=status, **(answer or {"json": message}))


def nothing(tenant):
    """No request goes to Azure."""


def token(tenant, **claims):
    return f"Bearer {tenant.access_token(**claims)}"


# What Azure does, and the Authorization header that is not a good token's.
PROVOKE = {
    "authorization_header_missing": (nothing, lambda tenant: "Basic YWxpY2U6c2VjcmV0"),
    "invalid_header": (nothing, lambda tenant: f"{token(tenant)} {ALICE}"),
    "invalid_token": (nothing, lambda tenant: token(tenant)[:-9] + "forgedend"),
    "token_expired": (nothing, lambda tenant: token(tenant, exp=timedelta(hours=-1))),
    "invalid_claims": (nothing, lambda tenant: token(tenant, aud=UI_ID)),
    "insufficient_scope": (nothing, lambda tenant: token(tenant, scp=ALICE)),
    "app_only_token": (nothing, lambda tenant: token(tenant, idtyp="app")),
    "client_not_allowed": (nothing, lambda tenant: token(tenant, azp=API_ID)),
    "consent_required": (
        lambda tenant: refuse(tenant, error="invalid_grant", suberror="consent_required"), token),
    "claims_challenge": (
        lambda tenant: refuse(tenant, error="interaction_required", claims=CLAIMS), token),
    "assertion_rejected": (lambda tenant: refuse(tenant, error="invalid_grant"), token),
    "api_misconfigured": (lambda tenant: refuse(tenant, 401, error="invalid_client"), token),
    "idp_throttled": (lambda tenant: refuse(tenant, 429, error=ALICE), token),
    "idp_unavailable": (lambda tenant: refuse(tenant, 400, error=ALICE), token),
    "idp_timeout": (
        lambda tenant: tenant.answers.append(requests.ReadTimeout(SAYS)),
        token),
    "keys_unavailable": (
        lambda tenant: tenant.network.replace("GET", tenant.discovery_url, body=SAYS), token),
    "downstream_unauthorized": (lambda tenant: arm(tenant, 401), token),
    "downstream_forbidden": (lambda tenant: arm(tenant, 403), token),
    "downstream_throttled": (lambda tenant: arm(tenant, 429), token),
    "downstream_unreachable": (lambda tenant: arm(tenant, body=REFUSED), token),
    "downstream_error": (lambda tenant: arm(tenant, 500), token),
    "downstream_timeout": (lambda tenant: arm(tenant, body=requests.ReadTimeout(SAYS)), token),
    "internal_error": (lambda tenant: arm(tenant, body=ZeroDivisionError()), token),
    "success": (
        lambda tenant: arm(tenant, json={"value": [{"displayName": "Contoso Production"}]}),
        token),
}  # fmt: skip


def test_each_error_of_the_table_is_provoked():
    assert PROVOKE.keys() == ERROR_RESPONSES.keys() | {"success"}


@pytest.mark.parametrize("code", PROVOKE)
def test_no_token_secret_or_name_is_logged_with(tenant, code, caplog, capfd):
    for logger in (None, "msal", "urllib3"):
        caplog.set_level(logging.DEBUG, logger)
    upstream, authorization = PROVOKE[code]
    upstream(tenant)
    sent = authorization(tenant)
    api = create_app(SETTINGS | {"ALLOWED_CLIENT_IDS": UI_ID}).test_client()
    response = api.get(
        "/subscriptions?code=code-in-a-query&user=alice",
        headers={
            "Authorization": sent,
            "Cookie": "session=cookie-of-alice",
            "User-Agent": "agent-of-alice",
            "x-ms-client-request-id": "id-of-alice",
        },
    )
    assert response.json.get("code", "success") == code
    written = caplog.text + "".join(capfd.readouterr())
    assert f"status={response.status_code}" in written  # the request was logged, and at its end
    assert response.headers["x-ms-client-request-id"] in written
    private = {
        *sent.removeprefix("Bearer ").split("."),
        *(TOKEN_B, SETTINGS["CLIENT_SECRET"], "AADSTS", "alice", "Alice", "Contoso Production"),
        *(str(value) for name, value in tenant.claims().items() if name in ("oid", "sub")),
        *("code-in-a-query", "policy-of"),
    }
    assert [text for text in private if text in written] == []
    told = response.get_data(as_text=True) + str(response.headers)
    kept_back = private - {"Contoso Production"}
    assert [text for text in kept_back if text in told] == []
