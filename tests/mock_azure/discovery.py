"""Discovery and signing keys: what a server asks before anything else (back channel)."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from .context import azure
from .directory import ANY_TENANT

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
            "response_modes_supported": ["query", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": azure.issuer.replace(azure.tenant_id, "{tenantid}")
            if tenant == ANY_TENANT
            else azure.issuer,
            "request_uri_parameter_supported": False,
            "authorization_endpoint": f"{front}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{back}/oauth2/v2.0/devicecode",
            "http_logout_supported": True,
            "frontchannel_logout_supported": False,
            "end_session_endpoint": f"{front}/oauth2/v2.0/logout",
            "claims_supported": [
                "sub", "iss", "aud", "exp", "iat", "nonce", "preferred_username", "name", "tid",
                "ver",
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
