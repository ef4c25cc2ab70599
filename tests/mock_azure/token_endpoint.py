"""The token endpoint with each grant, and the device code endpoint (back channel).

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable

from flask import Blueprint, g, jsonify, request
from flask.typing import ResponseReturnValue

from . import scopes, tokens
from .client_authentication import authenticate_client, required
from .context import azure
from .directory import ANY_TENANT, GRAPH_ID, Application, Json, stable_guid
from .errors import EntraError
from .keys import base64url
from .policies import SignIn, has_cp1, parse_claims

CODE_LIFETIME_SECONDS = 600
REFRESH_LIFETIME_SECONDS = 90 * 24 * 3600
DEVICE_CODE_LIFETIME_SECONDS = 900
ON_BEHALF_OF = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"

blueprint = Blueprint("token", __name__)


@blueprint.post("/<tenant>/oauth2/v2.0/token", endpoint="token")
def token(tenant: str) -> ResponseReturnValue:
    """Return tokens. Only parameters in the body count; those in the query string are ignored."""
    azure.check_tenant(tenant)
    grant_type = required("grant_type")
    if grant_type not in GRANTS:
        raise EntraError(70003, grant_type=grant_type)
    client = authenticate_client()
    if tenant == ANY_TENANT and not client.public:
        raise EntraError(50194, client=client.name)
    response = jsonify(GRANTS[grant_type](client))
    response.headers.update({"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"})
    response.headers["Expires"] = "-1"
    return response


# --- the grants -----------------------------------------------------------------------------------


def _unsealed(kind: str, text: str, client: Application, lifetime: int, too_late: int) -> Json:
    """Return the data in a code or refresh token.

    :raises EntraError: 9002313 if this mock did not issue it, 70000 if it is another client's,
        ``too_late`` if it has expired.
    """
    data = azure.seals.unseal(kind, text)
    if data is None:
        raise EntraError(9002313, error="invalid_grant")
    if data["client_id"] != client.client_id:
        raise EntraError(70000)
    if azure.clock.now() > data["at"] + lifetime:
        raise EntraError(too_late)
    return data


def _authorization_code(client: Application) -> Json:
    code = _unsealed("code", required("code"), client, CODE_LIFETIME_SECONDS, 70008)
    query = code["query"]
    if required("redirect_uri") != query["redirect_uri"]:
        raise EntraError(50011, client=client.client_id, redirect_uri=request.form["redirect_uri"])
    _check_verifier(query)
    if not azure.use_once(code["jti"]):
        raise EntraError(54005)
    scope = request.form.get("scope") or query["scope"]
    return _issue(client, SignIn(**code["sign_in"]), scope, query)


def _check_verifier(query: dict[str, str]) -> None:
    """Check PKCE (RFC 7636 section 4.6); without a challenge there must be no verifier."""
    challenge = query.get("code_challenge", "")
    verifier = required("code_verifier") if challenge else request.form.get("code_verifier", "")
    if query.get("code_challenge_method") == "S256":
        verifier = base64url(hashlib.sha256(verifier.encode()).digest())
    if not hmac.compare_digest(verifier.encode(), challenge.encode()):
        raise EntraError(501481)


def _refresh_token(client: Application) -> Json:
    """A refresh token stays valid after use, and works for every resource with consent.

    https://learn.microsoft.com/entra/identity-platform/refresh-tokens
    """
    token = required("refresh_token")
    data = _unsealed("refresh", token, client, REFRESH_LIFETIME_SECONDS, 700082)
    scope = request.form.get("scope") or data["scope"]
    return _issue(client, SignIn(**data["sign_in"]), scope)


def _on_behalf_of(client: Application) -> Json:
    assertion = required("assertion")
    if required("requested_token_use") != "on_behalf_of":
        raise EntraError(9002313)
    scope = required("scope")
    claims = _check_assertion(client, assertion)
    sign_in = tokens.sign_in_of(azure, claims)
    if sign_in is None:
        raise EntraError(50034, user=str(claims.get("oid")), tenant=azure.tenant_id)
    g.presented = claims
    return _issue(client, sign_in, scope)


def _check_assertion(app: Application, assertion: str) -> Json:
    """Check the signature, lifetime, issuer, kind and audience of the user assertion."""
    try:
        claims = tokens.verified(azure, assertion)
    except tokens.BadSignature as error:
        raise EntraError(50013, reason=str(error)) from None
    now = azure.clock.now()
    for name, late in (("exp", True), ("nbf", False)):
        moment = claims.get(name)
        if not isinstance(moment, int | float) or (moment < now) is late:
            raise EntraError(500133, now=azure.clock.stamp(), reason=f"{name} is {moment}")
    if claims.get("iss") not in (azure.issuer, azure.issuer_v1):
        raise EntraError(50013, reason="it is from another issuer")
    if not (claims.get("azp") or claims.get("appid")):
        raise EntraError(240002)
    if claims.get("aud") not in (app.client_id, *app.uris):
        raise EntraError(500131, audience=claims.get("aud"), client=app.client_id)
    if not claims.get("scp") or claims.get("idtyp") == "app":
        raise EntraError(7000114, client=app.client_id)
    return claims


def _device_code(client: Application) -> Json:
    """Redeem a code that the user approved in a browser, perhaps on another device."""
    sealed = required("device_code")
    code = _unsealed("device", sealed, client, DEVICE_CODE_LIFETIME_SECONDS, 70020)
    decision = azure.device_codes.get(code["user_code"])
    if decision is None:
        raise EntraError(70016)
    if not decision:
        raise EntraError(65004, error="authorization_declined")
    return _issue(client, SignIn(**decision), code["scope"])


def _client_credentials(client: Application) -> Json:
    """Return a token for the application itself: no user, and ``roles`` if it is for Graph."""
    if client.public:
        raise EntraError(7000218)
    scope = required("scope")
    audience, _, name = scope.rpartition("/")
    if name != scopes.DEFAULT or " " in scope:
        raise EntraError(1002012, scope=scope)
    resource = scopes.find_resource(audience, azure.applications)
    if resource is None:
        raise EntraError(500011, resource=audience, tenant=azure.tenant_id)
    g.issued = tokens.app_token_claims(
        azure,
        client.client_id,
        stable_guid(f"service principal/{client.client_id}"),
        resource,
        audience,
        "2" if g.get("by_assertion") else "1",
        roles=client.roles if resource.client_id == GRAPH_ID else (),
    )
    return _bearer(g.issued)


@blueprint.post("/<tenant>/oauth2/v2.0/devicecode", endpoint="devicecode")
def devicecode(tenant: str) -> ResponseReturnValue:
    """Start a sign-in that the user completes in a browser on another device."""
    azure.check_tenant(tenant)
    client_id, scope = required("client_id"), required("scope")
    if not (client := azure.applications.get(client_id)):
        raise EntraError(700016, client=client_id, tenant=azure.tenant_id)
    if not client.public:
        raise EntraError(7000218)
    scopes.parse(scope, client, azure.applications)
    user_code = "".join(secrets.choice("BCDFGHJKLMNPQRSTVWXZ") for _ in range(9))
    sealed = {"user_code": user_code, "client_id": client_id, "scope": scope}
    azure.device_requests[user_code] = sealed
    uri = f"{azure.front_url}/devicelogin"
    return {
        "user_code": user_code,
        "device_code": azure.seals.seal("device", **sealed, at=azure.clock.now()),
        "verification_uri": uri,
        "expires_in": DEVICE_CODE_LIFETIME_SECONDS,
        "interval": 1,  # Entra's is 5, which would only slow tests down
        "message": f"Open {uri} and enter the code {user_code}.",
    }


GRANTS: dict[str, Callable[[Application], Json]] = {
    "authorization_code": _authorization_code,
    "refresh_token": _refresh_token,
    ON_BEHALF_OF: _on_behalf_of,
    DEVICE_CODE: _device_code,
    "client_credentials": _client_credentials,
}


# --- the answer -----------------------------------------------------------------------------------


def _bearer(claims: Json) -> Json:
    lifetime = claims["exp"] - int(azure.clock.now())
    return {
        "token_type": "Bearer",
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": tokens.issued(azure, claims),
    }


def _issue(
    client: Application, sign_in: SignIn, scope: str, query: dict[str, str] | None = None
) -> Json:
    """Check policies and consent, then issue the tokens that ``scope`` asks for.

    ``query`` is the authorization request, if there was one.
    """
    query = query or {}
    g.user = sign_in.user
    requested = scopes.parse(scope, client, azure.applications)
    resource, audience, names = requested.of_one_resource()
    claims = parse_claims(request.form.get("claims", ""))
    azure.policies.check(sign_in, resource.client_id, claims)
    granted = azure.consents.granted(sign_in.user, client.client_id, resource.client_id)
    if not granted or not set(names) - {scopes.DEFAULT} <= granted:
        raise EntraError(65001, client=client.name, resource=resource.name)
    g.issued = tokens.access_token_claims(
        azure,
        client,
        resource,
        sign_in,
        granted,
        audience=audience,
        cp1=has_cp1(claims),
        by_assertion=g.get("by_assertion", False),
    )
    # A .default request echoes the granted scopes and .default, so MSAL's cache finds both.
    echo = sorted(granted) + [name for name in names if name == scopes.DEFAULT]
    prefix = f"{audience}/"
    if resource.client_id == GRAPH_ID:
        prefix, echo = "", [name for name in echo if name != "offline_access"]
    answer = _bearer(g.issued) | {"scope": " ".join(prefix + name for name in echo)}
    if "offline_access" in requested.oidc:
        answer["refresh_token"] = azure.seals.seal(
            "refresh",
            client_id=client.client_id,
            sign_in=sign_in.as_json(),
            scope=scope,
            at=azure.clock.now(),
        )
    if "openid" in requested.oidc:
        asked = (query.get(name, "") for name in ("nonce", "max_age"))
        claims = tokens.id_token_claims(azure, client, sign_in, *asked)
        answer["id_token"] = tokens.issued(azure, claims)
    if request.form.get("client_info") == "1":
        answer["client_info"] = tokens.client_info(azure.users[sign_in.user])
    return answer
