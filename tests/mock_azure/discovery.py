"""Discovery, signing keys and userinfo of OpenID Connect (back channel)."""

import json
from pathlib import Path
from string import Template

from flask import Blueprint, g, jsonify
from flask.typing import ResponseReturnValue

from . import graph, tokens
from .context import azure
from .directory import ANY_TENANT, Json

DOCUMENT = Template(Path(__file__).with_suffix(".json").read_text("utf-8"))

blueprint = Blueprint("discovery", __name__)


@blueprint.get("/<tenant>/v2.0/.well-known/openid-configuration", endpoint="discovery")
def openid_configuration(tenant: str) -> ResponseReturnValue:
    """Return the discovery document, with a browser's endpoints on the front channel."""
    azure.check_tenant(tenant, "invalid_tenant")
    front, login = f"{azure.front_url}/{tenant}", f"{azure.login_url}/{tenant}"
    issuer = azure.issuer
    if tenant == ANY_TENANT:
        issuer = issuer.replace(azure.tenant_id, "{tenantid}")
    document = DOCUMENT.substitute(front=front, login=login, graph=azure.graph_url, issuer=issuer)
    response = jsonify(json.loads(document))
    response.headers["Cache-Control"] = "max-age=86400, private"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


@blueprint.get("/<tenant>/discovery/v2.0/keys", endpoint="jwks")
def keys(tenant: str) -> ResponseReturnValue:
    """Return the signing keys (RFC 7517)."""
    azure.check_tenant(tenant, "invalid_tenant")
    response = jsonify({"keys": [key.as_jwk(azure.issuer) for key in azure.keys.published]})
    response.headers["Cache-Control"] = "max-age=86400, private"
    return response


@blueprint.route("/oidc/userinfo", methods=["GET", "POST"], endpoint="userinfo")
def userinfo() -> Json:
    """Return the user of a token for Graph; ``sub`` is the ID token's.

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
