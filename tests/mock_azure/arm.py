"""Azure Resource Manager: subscriptions and tenants (back channel).

https://learn.microsoft.com/rest/api/resources/subscriptions and
https://learn.microsoft.com/rest/api/resources/tenants/list
"""

import re
from urllib.parse import quote

from flask import Blueprint, g, jsonify, request
from flask.typing import ResponseReturnValue

from . import tokens
from .context import azure
from .directory import ARM_ID, Json, Subscription
from .errors import ArmError
from .policies import step_up_request

blueprint = Blueprint("arm", __name__)


@blueprint.get("/subscriptions", endpoint="subscriptions")
def subscriptions() -> ResponseReturnValue:
    """Return one page of the caller's subscriptions; check the token before the query string."""
    oid, everything = _caller()
    version = _api_version()
    start = 0
    if skip_token := request.args.get("$skiptoken"):
        sealed = azure.seals.unseal("skiptoken", skip_token)
        if sealed is None or sealed["oid"] != oid:
            raise ArmError("InvalidSkipToken")
        start = sealed["start"]
    end = start + azure.arm_page_size
    body: Json = {
        "value": [item.as_arm(azure.tenant_id) for item in everything[start:end]],
        "count": {"type": "Total", "value": len(everything)},
    }
    if end < len(everything):
        following = azure.seals.seal("skiptoken", oid=oid, start=end)
        body["nextLink"] = (
            f"{azure.arm_url}/subscriptions?api-version={version}"
            f"&%24skiptoken={quote(following, safe='')}"
        )
    response = jsonify(body)
    response.headers["x-ms-ratelimit-remaining-tenant-reads"] = "11999"
    return response


@blueprint.get("/subscriptions/<subscription_id>", endpoint="subscription")
def subscription(subscription_id: str) -> ResponseReturnValue:
    """Return one subscription, if the caller has a role in it."""
    _, everything = _caller()
    _api_version()
    for item in everything:
        body = item.as_arm(azure.tenant_id)
        if body["subscriptionId"] == subscription_id.lower():
            return body
    raise ArmError("SubscriptionNotFound", id=subscription_id)


@blueprint.get("/tenants", endpoint="tenants")
def tenants() -> ResponseReturnValue:
    """Return the caller's tenants: here only the one that issued the token."""
    _caller()
    _api_version()
    tenant = {
        "id": f"/tenants/{azure.tenant_id}",
        "tenantId": azure.tenant_id,
        "countryCode": "US",
        "displayName": "Contoso",
        "domains": ["contoso.example"],
        "tenantCategory": "Home",
        "defaultDomain": "contoso.example",
        "tenantType": "AAD",
    }
    return {"value": [tenant]}


def _api_version() -> str:
    version = request.args.get("api-version")
    if not version:
        raise ArmError("MissingApiVersionParameter")
    if not re.fullmatch(r"20\d\d-\d\d-\d\d(-preview)?", version, re.ASCII):
        raise ArmError("InvalidApiVersionParameter", version=version[:40])
    return version


def _caller() -> tuple[str, tuple[Subscription, ...]]:
    """Return the caller's object ID and subscriptions, from a version 1 token for ARM.

    An application that calls as itself has no role in any subscription here.

    :raises ArmError: see https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting;
        with a claims challenge if the session was revoked and the client understands challenges.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise ArmError("AuthenticationFailed")
    try:
        claims = tokens.verified(azure, token)
    except tokens.BadSignature:
        raise ArmError("InvalidAuthenticationToken") from None
    now = azure.clock.now()
    if not isinstance(claims.get("exp"), int) or claims["exp"] < now:
        raise ArmError("ExpiredAuthenticationToken")
    # ARM's older identifier ends in a slash.
    if str(claims.get("aud")).removesuffix("/") not in azure.applications[ARM_ID].uris:
        raise ArmError("InvalidAuthenticationTokenAudience", audience=claims.get("aud"))
    if claims.get("iss") != azure.issuer_v1:
        raise ArmError("InvalidAuthenticationTokenTenant", issuer=claims.get("iss"))
    g.presented = claims
    if claims.get("idtyp") == "app":
        return str(claims.get("oid")), ()
    sign_in = tokens.sign_in_of(azure, claims)
    if sign_in is None:
        raise ArmError("InvalidAuthenticationToken")
    g.user = sign_in.user
    if "user_impersonation" not in str(claims.get("scp", "")).split(" "):
        raise ArmError("AuthorizationFailed")
    valid_from = azure.policies.valid_from(sign_in.user)
    # Continuous access evaluation applies only to clients that announced cp1.
    if sign_in.at < valid_from and "CP1" in claims.get("xms_cc", []):
        challenge = f'{{"access_token":{{"nbf":{{"essential":true,"value":"{int(valid_from)}"}}}}}}'
        raise ArmError("InvalidAuthenticationToken", claims=challenge)
    context = azure.policies.step_up
    if context and context not in claims.get("acrs", []):
        challenge = step_up_request({"essential": True, "value": context})
        raise ArmError("InvalidAuthenticationToken", claims=challenge)
    user = azure.users[sign_in.user]
    return user.oid, user.subscriptions
