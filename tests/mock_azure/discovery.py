"""Discovery, signing keys and userinfo: OpenID Connect besides the flows (back channel)."""

from flask import Blueprint, g, jsonify
from flask.typing import ResponseReturnValue

from . import graph, tokens
from .context import azure
from .directory import ANY_TENANT, Json

blueprint = Blueprint("discovery", __name__)


@blueprint.get("/<tenant>/v2.0/.well-known/openid-configuration", endpoint="discovery")
def openid_configuration(tenant: str) -> ResponseReturnValue:
    """The discovery document: a browser's endpoints on the front URL, the others on the back."""
    azure.check_tenant(tenant, "invalid_tenant")
    front, back = f"{azure.front_url}/{tenant}", f"{azure.login_url}/{tenant}"
    response = jsonify(
        {
            "token_endpoint": f"{back}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": [
                "client_secret_post",
                "private_key_jwt",
                "client_secret_basic",
            ],
            "jwks_uri": f"{back}/discovery/v2.0/keys",
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": azure.issuer.replace(azure.tenant_id, "{tenantid}")
            if tenant == ANY_TENANT
            else azure.issuer,
            "request_uri_parameter_supported": False,
            "userinfo_endpoint": f"{azure.graph_url}/oidc/userinfo",
            "authorization_endpoint": f"{front}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{back}/oauth2/v2.0/devicecode",
            "http_logout_supported": True,
            "frontchannel_logout_supported": False,
            "end_session_endpoint": f"{front}/oauth2/v2.0/logout",
            "claims_supported": [
                "sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "preferred_username",
                "name", "tid", "ver", "email",
            ],
            "tenant_region_scope": "EU",
            "cloud_instance_name": "localhost",
        }
    )  # fmt: skip
    response.headers["Cache-Control"] = "max-age=86400, private"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


@blueprint.get("/<tenant>/discovery/v2.0/keys", endpoint="jwks")
def keys(tenant: str) -> ResponseReturnValue:
    """The signing keys (RFC 7517)."""
    azure.check_tenant(tenant, "invalid_tenant")
    response = jsonify({"keys": [key.as_jwk(azure.issuer) for key in azure.keys.published]})
    response.headers["Cache-Control"] = "max-age=86400, private"
    return response


@blueprint.route("/oidc/userinfo", methods=["GET", "POST"], endpoint="userinfo")
def userinfo() -> Json:
    """Who signed in, by a token for Graph; ``sub`` is the ID token's.

    https://learn.microsoft.com/entra/identity-platform/userinfo
    """
    claims = graph.allow(("openid",))
    user = next(user for user in azure.users.values() if user.oid == claims["oid"])
    g.user = user.key
    held = str(claims["scp"]).split()
    profile = {
        "name": user.name,
        "family_name": user.family_name,
        "given_name": user.given_name,
        "picture": f"{azure.graph_url}/v1.0/me/photo/$value",
    }
    return {
        "sub": tokens.pairwise(user, claims["appid"]),
        **(profile if "profile" in held else {}),
        **({"email": user.email} if "email" in held else {}),
    }
