"""Validate the access token of a request, which decides who may call this API.

All of this happens before the token is exchanged on behalf of the user. The rules follow
https://learn.microsoft.com/entra/identity-platform/access-tokens and RFC 8725 (JWT best practices).
"""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from functools import wraps
from typing import Any

import jwt
from flask import current_app, g, request

from helpers.errors import AuthError
from helpers.request_scope import timed

MAX_TOKEN_BYTES = 16 * 1024
MAX_LIFETIME_SECONDS = 29 * 3600  # Entra's tokens last at most 28 hours
CLOCK_SKEW_SECONDS = 60
TOKEN_TYPES = ("JWT", "at+jwt", None)  # "typ" (RFC 8725 section 3.11); Entra sends JWT
REFUSED_HEADERS = {"crit", "b64", "zip", "cty"}  # extensions that this API does not understand
# Exact types: true and 17.5 are not times, and a list of audiences is not accepted.
CLAIM_TYPES: dict[str, type] = {"exp": int, "nbf": int, "iat": int}
CLAIM_TYPES |= dict.fromkeys(["iss", "aud", "ver", "tid", "oid", "sub"], str)

TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 section 2.1
# Three parts of base64url without padding (RFC 7515). The first two are JSON objects, and "{"
# always encodes to "e...". PyJWT alone would accept padding and a byte order mark.
COMPACT_JWT = re.compile(r"e[\w-]+\.e[\w-]+\.[\w-]+", re.ASCII)


def requires_jwt_authorization(view: Callable[..., Any]) -> Callable[..., Any]:
    """Run ``view`` only for a valid access token; set ``g.user_assertion`` and ``g.claims``."""

    @wraps(view)
    def authorized(*args: Any, **kwargs: Any) -> Any:
        with timed("validate"):
            g.user_assertion = get_token_auth_header()
            g.claims = validate_access_token(g.user_assertion)
        return view(*args, **kwargs)

    return authorized


def get_token_auth_header() -> str:
    """Return the access token in the Authorization header, not yet validated.

    :raises AuthError: ``authorization_header_missing`` or ``invalid_header``.
    """
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise AuthError("authorization_header_missing")
    access_token = credentials.lstrip(" ")
    # Check the size first, so that nobody can make this API parse a megabyte.
    if len(credentials) > MAX_TOKEN_BYTES or not TOKEN68.fullmatch(access_token):
        raise AuthError("invalid_header", "too long, or not a single token")
    return access_token


def validate_access_token(access_token: str) -> dict[str, Any]:
    """Return the claims of ``access_token`` if the tenant issued it for this API and a user.

    ``jwt.decode`` alone is not enough: it accepts any ``typ``, times given as text or fractions,
    and several encodings of the same token, and it does not check Entra's own claims.

    :raises AuthError: with the code of the rule that the token breaks.
    :raises DownstreamError: ``keys_unavailable``.
    """
    if not COMPACT_JWT.fullmatch(access_token):
        raise AuthError("invalid_token", "not a JWT")
    key_id = _key_id(access_token.partition(".")[0])
    signing_key: jwt.PyJWK = current_app.extensions["signing_keys"].find(key_id)
    config = current_app.config
    try:
        claims: dict[str, Any] = jwt.decode(
            access_token,
            signing_key,
            algorithms=["RS256"],  # never the algorithm that the token names
            audience=config["CLIENT_ID"],  # version 1 tokens have api://... instead
            issuer=config["ISSUER"],
            leeway=CLOCK_SKEW_SECONDS,
            options={"require": list(CLAIM_TYPES), "strict_aud": True},
        )
    except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
        raise AuthError("token_expired", type(error).__name__) from error
    except (jwt.InvalidAudienceError, jwt.InvalidIssuerError) as error:
        hint = "; a version 1 token? See requestedAccessTokenVersion in README.md"
        raise AuthError("invalid_claims", type(error).__name__ + hint) from error
    except Exception as error:  # treat any parsing error as an invalid token
        raise AuthError("invalid_token", type(error).__name__) from error
    _check_claims(claims)
    _require_permission(claims)
    return claims


def _key_id(encoded_header: str) -> str:
    """Return the key ID that the token's header names."""
    try:
        header = STRICT_JSON.decode(urlsafe_b64decode(encoded_header + "==").decode())
    except (ValueError, RecursionError) as error:
        raise AuthError("invalid_token", "header") from error
    key_id = header.get("kid")
    is_known = header.get("typ") in TOKEN_TYPES and not REFUSED_HEADERS & header.keys()
    if not is_known or not isinstance(key_id, str):
        raise AuthError("invalid_token", "typ, kid or an unknown extension")
    return key_id


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(unique := dict(members)) != len(members):
        raise ValueError("duplicate name")
    return unique


STRICT_JSON = json.JSONDecoder(object_pairs_hook=_unique)


def _check_claims(claims: dict[str, Any]) -> None:
    """Accept only version 2 tokens of this tenant, with a lifetime that Entra could give them."""
    if any(type(claims[name]) is not kind for name, kind in CLAIM_TYPES.items()):
        raise AuthError("invalid_token", "a claim has the wrong type")
    if claims["exp"] - claims["iat"] > MAX_LIFETIME_SECONDS:
        raise AuthError("invalid_token", "longer lifetime than Entra's")
    if claims["ver"] != "2.0":
        raise AuthError("invalid_claims", "version")
    if claims["tid"] != current_app.config["TENANT_ID"]:
        raise AuthError("invalid_claims", "tenant")


def _require_permission(claims: dict[str, Any]) -> None:
    """Require a user's token with this API's scope, from a client that may call this API."""
    config = current_app.config
    scopes = claims.get("scp")
    # Only a space separates scopes (RFC 6749 section 3.3); split() would also split at tabs.
    granted = scopes.split(" ") if isinstance(scopes, str) else [""]
    challenge = {"scope": f"api://{config['CLIENT_ID']}/{config['REQUIRED_SCOPE']}"}
    if claims.get("idtyp") == "app" or (scopes is None and "roles" in claims):
        raise AuthError("app_only_token", challenge=challenge)
    if config["REQUIRED_SCOPE"] not in granted or "" in granted:
        raise AuthError("insufficient_scope", challenge=challenge)
    allowed_clients = config["ALLOWED_CLIENT_IDS"].split()
    if allowed_clients and claims.get("azp") not in allowed_clients:
        raise AuthError("client_not_allowed", challenge=challenge)
