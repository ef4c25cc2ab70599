"""Who may call this API: validation of the access token that a request brings.

Everything here happens before the token is exchanged on behalf of the user. The rules follow
https://learn.microsoft.com/entra/identity-platform/access-tokens and RFC 8725 (JWT best practices).
"""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from functools import wraps
from typing import Any, NewType, ParamSpec, TypeVar

import jwt
from flask import current_app, g, request

from helpers.errors import AuthError
from helpers.request_context import hop

MAX_TOKEN_BYTES = 16 * 1024
CLOCK_SKEW_SECONDS = 60
TOKEN_TYPES = ("JWT", "at+jwt", None)  # "typ" (RFC 8725 section 3.11); Entra sends JWT
REFUSED_HEADERS = {"crit", "b64", "zip", "cty"}  # extensions that this API does not understand
REQUIRED_CLAIMS = ["aud", "iss", "exp", "nbf", "iat", "ver", "tid", "oid", "sub"]

BEARER = re.compile(r"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)  # RFC 6750 section 2.1
SEGMENT = re.compile(r"[A-Za-z0-9_-]+")

AccessTokenClaims = NewType("AccessTokenClaims", dict[str, Any])

P = ParamSpec("P")
R = TypeVar("R")


def requires_jwt_authorization(view: Callable[P, R]) -> Callable[P, R]:
    """Run ``view`` only for a valid access token, kept as ``g.user_assertion`` and ``g.claims``."""

    @wraps(view)
    def authorized(*args: P.args, **kwargs: P.kwargs) -> R:
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
    if header.partition(" ")[0].lower() != "bearer":
        raise AuthError("authorization_header_missing")
    # Size before anything else: nobody unknown makes this API parse a megabyte.
    if len(header) > len("Bearer ") + MAX_TOKEN_BYTES:
        raise AuthError("invalid_header", "too long")
    if not (bearer := BEARER.fullmatch(header)):
        raise AuthError("invalid_header", "not one token")
    return bearer[1]


def validate_access_token(access_token: str) -> AccessTokenClaims:
    """Return the claims of ``access_token``: signed by the tenant, for this API, for a user.

    :raises AuthError: which rule is broken.
    :raises DownstreamError: ``keys_unavailable``.
    """
    config = current_app.config
    unverified_header = _read_header(access_token)
    signing_key = current_app.extensions["signing_keys"].find(unverified_header["kid"])
    try:
        claims = _StrictJWT().decode(
            access_token,
            signing_key,
            algorithms=["RS256"],  # never the token's own choice; Entra signs with RS256 only
            audience=config["CLIENT_ID"],  # version 2 tokens name the client ID, not api://...
            issuer=config["ISSUER"],
            leeway=CLOCK_SKEW_SECONDS,
            options={"require": REQUIRED_CLAIMS, "strict_aud": True},
        )
    except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
        raise AuthError("token_expired", str(error)) from error
    except (jwt.InvalidAudienceError, jwt.InvalidIssuerError) as error:
        raise AuthError("invalid_claims", type(error).__name__) from error
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise AuthError("invalid_token", type(error).__name__) from error

    if claims["ver"] != "2.0" or claims["tid"] != config["TENANT_ID"]:
        raise AuthError("invalid_claims", "version or tenant")
    _require_permission(claims)
    return AccessTokenClaims(claims)


def _read_header(access_token: str) -> dict[str, Any]:
    """Return the header, unverified but well formed, with a text ``kid``."""
    segments = access_token.split(".")
    # Stricter than base64 decoders: neither padding nor the other alphabet, so that one token
    # has one spelling.
    if len(segments) != 3 or not all(map(SEGMENT.fullmatch, segments)):
        raise AuthError("invalid_token", "not three base64url segments")
    try:
        header = _strict_json(urlsafe_b64decode(segments[0] + "=" * (-len(segments[0]) % 4)))
    except (ValueError, RecursionError) as error:
        raise AuthError("invalid_token", "header is not JSON") from error
    if header.get("alg") != "RS256":
        raise AuthError("invalid_token", "alg")
    if header.get("typ") not in TOKEN_TYPES:
        raise AuthError("invalid_token", "typ")
    if REFUSED_HEADERS & header.keys():
        raise AuthError("invalid_token", "unknown extension")
    if not isinstance(header.get("kid"), str):
        raise AuthError("invalid_token", "kid")
    return header


class _StrictJWT(jwt.PyJWT):
    """PyJWT, but a payload must be JSON that can be read in one way only."""

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        claims = _strict_json(decoded["payload"])
        # PyJWT would also take the text "1700000000", a fraction or true.
        if any(type(claims.get(time)) is not int for time in ("exp", "nbf", "iat")):
            raise jwt.DecodeError("times must be whole numbers")
        if any(not isinstance(claims.get(name), str) for name in ("oid", "sub")):
            raise jwt.DecodeError("oid and sub must be texts")
        return claims


def _require_permission(claims: dict[str, Any]) -> None:
    """Let only users through, by clients that were granted this API's scope."""
    config = current_app.config
    scopes = claims.get("scp")
    challenge = {"scope": f"api://{config['CLIENT_ID']}/{config['REQUIRED_SCOPE']}"}
    if claims.get("idtyp") == "app" or (scopes is None and "roles" in claims):
        raise AuthError("app_only_token", challenge=challenge)
    # Only a space separates scopes (RFC 6749 section 3.3); split() would take tabs and more.
    if not isinstance(scopes, str) or config["REQUIRED_SCOPE"] not in scopes.split(" "):
        raise AuthError("insufficient_scope", challenge=challenge)
    allowed_clients = config["ALLOWED_CLIENT_IDS"].split()
    if allowed_clients and claims.get("azp") not in allowed_clients:
        raise AuthError("client_not_allowed", challenge=challenge)


def _strict_json(text: bytes) -> dict[str, Any]:
    """Return a JSON object without doubled names, NaN or Infinity.

    :raises ValueError: otherwise. :raises RecursionError: when it is nested too deeply.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(members := dict(pairs)) != len(pairs):
            raise ValueError("a name appears twice")
        return members

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    # Decoded first: given bytes, json would guess the encoding and accept a byte order mark.
    value = json.loads(text.decode(), object_pairs_hook=unique, parse_constant=refuse)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
