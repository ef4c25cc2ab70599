"""Who may call this API: validation of the access token that a request brings.

Everything here happens before the token is exchanged on behalf of the user. The rules follow
https://learn.microsoft.com/entra/identity-platform/access-tokens and RFC 8725 (JWT best practices).
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from functools import wraps
from time import time
from typing import Any, NewType

import jwt
from flask import current_app, g, request

from helpers.errors import AuthError
from helpers.request_context import hop

MAX_TOKEN_BYTES = 16 * 1024
MAX_LIFETIME_SECONDS = 29 * 3600  # Entra's are of 28 hours at most
CLOCK_SKEW_SECONDS = 60
TOKEN_TYPES = ("JWT", "at+jwt", None)  # "typ" (RFC 8725 section 3.11); Entra sends JWT
REFUSED_HEADERS = {"crit", "b64", "zip", "cty"}  # extensions that this API does not understand
# Of exactly these types: neither true nor 17.5 is a time, and a list is not one audience.
REQUIRED_CLAIMS: dict[str, type] = {"exp": int, "nbf": int, "iat": int}
REQUIRED_CLAIMS |= dict.fromkeys(["iss", "aud", "ver", "tid", "oid", "sub"], str)

BEARER = re.compile(r"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)  # RFC 6750 section 2.1

AccessTokenClaims = NewType("AccessTokenClaims", dict[str, Any])


def requires_jwt_authorization(view: Callable[..., Any]) -> Callable[..., Any]:
    """Run ``view`` only for a valid access token, kept as ``g.user_assertion`` and ``g.claims``."""

    @wraps(view)
    def authorized(*args: Any, **kwargs: Any) -> Any:
        with hop("validate"):
            access_token = get_token_auth_header()
            g.claims = validate_access_token(access_token)
            g.user_assertion = access_token
        return view(*args, **kwargs)

    return authorized


def get_token_auth_header() -> str:
    """Return the access token of the Authorization header, not validated yet.

    :raises AuthError: ``authorization_header_missing`` or ``invalid_header``.
    """
    header = request.headers.get("Authorization", "")
    if header[: len("Bearer ")].partition(" ")[0].lower() != "bearer":
        raise AuthError("authorization_header_missing")
    # Size before anything else: nobody unknown makes this API copy or parse a megabyte.
    if len(header) > len("Bearer ") + MAX_TOKEN_BYTES:
        raise AuthError("invalid_header", "too long")
    if not (bearer := BEARER.fullmatch(header)):
        raise AuthError("invalid_header", "not one token")
    return bearer[1]


def validate_access_token(access_token: str) -> AccessTokenClaims:
    """Return the claims of ``access_token``: signed by the tenant, for this API, for a user.

    The rules about claims are spelled out here, since libraries are more lenient: they take
    times as text, a list of audiences, a name twice.

    :raises AuthError: which rule is broken.
    :raises DownstreamError: ``keys_unavailable``.
    """
    try:
        unverified_header, payload, signature = map(_decode_segment, access_token.split("."))
        kid = _kid_of(_strict_json(unverified_header))
    except (ValueError, RecursionError) as error:
        raise AuthError("invalid_token", "not a JSON header and two more segments") from error
    signing_key: jwt.PyJWK = current_app.extensions["signing_keys"].find(kid)
    signed = access_token.rpartition(".")[0].encode()
    try:
        # The key knows its algorithm, RS256. What the token says about that never decides.
        if not signing_key.Algorithm.verify(signed, signing_key.key, signature):
            raise ValueError("signature")
        claims = _strict_json(payload)
    except Exception as error:  # whatever a stranger's text makes a library raise, it is no token
        raise AuthError("invalid_token", "signature or payload") from error
    _check_claims(claims)
    _require_permission(claims)
    return AccessTokenClaims(claims)


def _decode_segment(segment: str) -> bytes:
    """Return what base64url stands for, in its one spelling.

    Decoders are lenient. A token with several spellings would be cached once for each.

    :raises ValueError: for padding, another alphabet, line breaks or stray bits at the end.
    """
    decoded = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if urlsafe_b64encode(decoded).rstrip(b"=") != segment.encode():
        raise ValueError("not base64url as RFC 7515 has it")
    return decoded


def _kid_of(unverified_header: dict[str, Any]) -> str:
    """Return which key the token says to be signed with."""
    if unverified_header.get("alg") != "RS256":  # Entra signs with RS256 only
        raise AuthError("invalid_token", "alg")
    if unverified_header.get("typ") not in TOKEN_TYPES:
        raise AuthError("invalid_token", "typ")
    if REFUSED_HEADERS & unverified_header.keys():
        raise AuthError("invalid_token", "unknown extension")
    if not isinstance(kid := unverified_header.get("kid"), str):
        raise AuthError("invalid_token", "kid")
    return kid


def _check_claims(claims: dict[str, Any]) -> None:
    """Let only tokens through that are of this tenant, for this API, and for now."""
    config = current_app.config
    if any(type(claims.get(name)) is not kind for name, kind in REQUIRED_CLAIMS.items()):
        raise AuthError("invalid_token", "a claim is missing or of another type")
    if claims["exp"] - claims["iat"] > MAX_LIFETIME_SECONDS:
        raise AuthError("invalid_token", "not one of Entra's lifetimes")
    if claims["ver"] != "2.0":
        raise AuthError("invalid_claims", "version 1: see requestedAccessTokenVersion in README.md")
    # Version 2 tokens name the client ID as their audience, not api://...
    if claims["aud"] != config["CLIENT_ID"] or claims["iss"] != config["ISSUER"]:
        raise AuthError("invalid_claims", "audience or issuer")
    now = time()
    if claims["exp"] <= now - CLOCK_SKEW_SECONDS:
        raise AuthError("token_expired", "exp")
    if max(claims["nbf"], claims["iat"]) > now + CLOCK_SKEW_SECONDS:
        raise AuthError("token_expired", "nbf or iat")
    if claims["tid"] != config["TENANT_ID"]:
        raise AuthError("invalid_claims", "tenant")


def _require_permission(claims: dict[str, Any]) -> None:
    """Let only users through, by clients that were granted this API's scope."""
    config = current_app.config
    scopes = claims.get("scp")
    # Only a space separates scopes (RFC 6749 section 3.3); split() would take tabs and more.
    granted = scopes.split(" ") if isinstance(scopes, str) else [""]
    challenge = {"scope": f"api://{config['CLIENT_ID']}/{config['REQUIRED_SCOPE']}"}
    if claims.get("idtyp") == "app" or (scopes is None and "roles" in claims):
        raise AuthError("app_only_token", challenge=challenge)
    if config["REQUIRED_SCOPE"] not in granted or "" in granted:
        raise AuthError("insufficient_scope", challenge=challenge)
    allowed_clients = config["ALLOWED_CLIENT_IDS"].split()
    if allowed_clients and claims.get("azp") not in allowed_clients:
        raise AuthError("client_not_allowed", challenge=challenge)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(unique := dict(members)) != len(members):
        raise ValueError("a name appears twice")
    return unique


# int, because it raises ValueError for the constants that json would take: NaN and Infinity.
STRICT_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=int)


def _strict_json(text: bytes) -> dict[str, Any]:
    """Return a JSON object without doubled names, NaN or Infinity.

    :raises ValueError: otherwise. :raises RecursionError: when it is nested too deeply.
    """
    value = STRICT_JSON.decode(text.decode())
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
