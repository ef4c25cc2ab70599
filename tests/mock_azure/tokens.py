"""Tokens: issued in Entra's format, verified, and forged for tests.

Formats: https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference and
https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference.
"""

import hashlib
import json
import random
import secrets
import uuid
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any

import jwt
from jwt.types import Options

from .directory import Application, Json, User
from .keys import SigningKey, base64url
from .policies import SignIn

if TYPE_CHECKING:
    from .azure import MockAzure

BACKDATED_SECONDS = 300  # iat and nbf are in the past, as in Entra's tokens
SIGNATURE_ONLY: Options = {
    "verify_aud": False,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_sub": False,
}
ALGORITHMS = jwt.algorithms.get_default_algorithms()


def sign(header: Json | str, payload: Json | str, key: Any, algorithm: str = "RS256") -> str:
    """Return a compact JWS (RFC 7515); a string is the exact JSON text to sign.

    ``algorithm`` is any that PyJWT supports, or ``none`` for an empty signature. With an HMAC,
    ``key`` can be any bytes, including a public key.
    """
    parts = [part if isinstance(part, str) else _minified(part) for part in (header, payload)]
    signing_input = ".".join(base64url(part.encode("utf-8", "surrogatepass")) for part in parts)
    if algorithm == "none":
        return f"{signing_input}."
    signature = ALGORITHMS[algorithm].sign(signing_input.encode(), key)
    return f"{signing_input}.{base64url(signature)}"


def unverified(token: object, part: int = 1) -> Json:
    """Return the payload (or header, ``part=0``) of a JWT without any check, {} if it has none."""
    try:
        segment = str(token).split(".")[part]
        members = json.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, IndexError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}


class BadSignature(Exception):
    """No published key signed the token; the message says why."""


def verified(azure: "MockAzure", token: str) -> Json:
    """Return the claims of a token that a published key signed; their values are not checked.

    :raises BadSignature: for any other text.
    """
    key = azure.keys.find(unverified(token, 0).get("kid"))
    if key is None:
        raise BadSignature("the key was not found")
    try:
        claims: Json = jwt.decode(
            token,
            key.private.public_key(),
            algorithms=["RS256"],  # the only algorithm Entra signs with
            options=SIGNATURE_ONLY,
        )
    except (jwt.PyJWTError, RecursionError):
        raise BadSignature("the key was found, but the signature is wrong") from None
    return claims


def issued(azure: "MockAzure", claims: Json) -> str:
    """Return ``claims`` as a token, signed with the current key."""
    return sign(header_for(azure.keys.current, claims["ver"]), claims, azure.keys.current.private)


def header_for(key: SigningKey, version: str) -> Json:
    header = {"typ": "JWT", "alg": "RS256", "kid": key.kid}
    return header if version == "2.0" else {**header, "x5t": key.kid}


def access_token_claims(
    azure: "MockAzure",
    client: Application,
    resource: Application,
    sign_in: SignIn,
    scopes: set[str],
    *,
    audience: str = "",
    cp1: bool = False,
    by_assertion: bool = False,
) -> Json:
    """Return the claims of a user's access token, in the resource's token version.

    ``audience`` is the resource as the client wrote it, which is ``aud`` in version 1.
    """
    user = azure.users[sign_in.user]
    claims = {
        **_of_resource(azure, resource, audience, client.client_id, "2" if by_assertion else "1"),
        **_of_user(
            azure, sign_in, resource.client_id, random.randint(*azure.token_lifetime_seconds)
        ),
        "scp": " ".join(sorted(scopes)),
        **({"xms_cc": ["CP1"]} if cp1 and resource.xms_cc else {}),
        **({"acrs": ["c1"]} if sign_in.mfa else {}),  # the only authentication context here
    }
    if resource.token_version == 2:
        return {
            **claims,
            "preferred_username": user.email,
            "xms_ftd": secrets.token_urlsafe(40),
        }
    return {
        **claims,
        "acr": "1",
        "amr": ["pwd", "mfa"] if sign_in.mfa else ["pwd"],
        "family_name": user.family_name,
        "given_name": user.given_name,
        "idtyp": "user",
        "ipaddr": "203.0.113.7",
        "puid": "1003" + hashlib.sha256(user.oid.encode()).hexdigest()[:12].upper(),
        "unique_name": user.upn,
        "upn": user.upn,
        "wids": ["b79fbf4d-3ef9-4689-8143-76b194e85509"],
        "xms_tcdt": 1600000000,
    }


def app_token_claims(
    azure: "MockAzure",
    client_id: str,
    object_id: str,
    resource: Application,
    audience: str,
    strength: str,
    *,
    roles: tuple[str, ...] = (),
    lifetime: int = 3600,
) -> Json:
    """Return the claims of a token that an application or a managed identity gets for itself.

    ``object_id`` is that of its service principal; ``strength`` says how it authenticated.
    """
    return {
        **_of_resource(azure, resource, audience, client_id, strength),
        **_issued_now(azure, lifetime),
        "idtyp": "app",
        "oid": object_id,
        **({"roles": list(roles)} if roles else {}),
        "sub": object_id,
    }


def _of_resource(
    azure: "MockAzure", resource: Application, audience: str, client_id: str, strength: str
) -> Json:
    """Return the claims that depend on the resource's token version."""
    if resource.token_version == 2:
        client = {"azp": client_id, "azpacr": strength}
        return {"aud": resource.client_id, "iss": azure.issuer, **client, "ver": "2.0"}
    client = {"appid": client_id, "appidacr": strength}
    return {"aud": audience, "iss": azure.issuer_v1, **client, "ver": "1.0"}


def id_token_claims(
    azure: "MockAzure", client: Application, sign_in: SignIn, nonce: str = "", max_age: str = ""
) -> Json:
    """Return the claims of an ID token, always version 2 and valid for an hour.

    It contains ``auth_time`` if the client sent ``max_age`` (OpenID Connect Core section 2), and
    ``login_hint`` if its registration lists that optional claim.
    """
    user = azure.users[sign_in.user]
    optional = {"auth_time": int(sign_in.at), "login_hint": login_hint(user)}
    asked = {*client.id_token_claims, *(["auth_time"] if max_age else [])}
    return {
        "aud": client.client_id,
        "iss": azure.issuer,
        **_of_user(azure, sign_in, client.client_id, 3600),
        **({"nonce": nonce} if nonce else {}),
        **{name: value for name, value in optional.items() if name in asked},
        "preferred_username": user.email,
        "ver": "2.0",
    }


def login_hint(user: User) -> str:
    """Return the opaque value that tells Entra which account to sign out."""
    return f"O.{base64url(user.oid.encode())}"


def client_info(user: User) -> str:
    """Return the account's IDs in its home tenant: the account's key in MSAL's token cache."""
    return base64url(_minified({"uid": user.home_oid, "utid": user.home_tenant_id}).encode())


def sign_in_of(azure: "MockAzure", claims: Json) -> SignIn | None:
    """Return the sign-in that led to a token, or None if its user is not in the directory.

    A token without a readable ``aio`` (forged, or from before a reset) counts as one from a
    sign-in with a password when it was issued.
    """
    if members := azure.seals.unseal("aio", claims.get("aio")):
        return SignIn(**members)
    for user in azure.users.values():
        if user.oid == claims.get("oid"):
            issued = claims.get("iat")
            at = issued + BACKDATED_SECONDS if isinstance(issued, int) else azure.clock.now()
            return SignIn(user.key, str(uuid.uuid4()), at)
    return None


def _issued_now(azure: "MockAzure", lifetime: int) -> Json:
    now = int(azure.clock.now())
    return {
        "iat": now - BACKDATED_SECONDS,
        "nbf": now - BACKDATED_SECONDS,
        "exp": now + lifetime,
        "tid": azure.tenant_id,
        "uti": base64url(secrets.token_bytes(16)),
    }


def _of_user(azure: "MockAzure", sign_in: SignIn, audience_id: str, lifetime: int) -> Json:
    user = azure.users[sign_in.user]
    home = f"https://sts.windows.net/{user.home_tenant_id}/"
    return {
        **_issued_now(azure, lifetime),
        # Opaque in Entra's tokens too; here it contains the sign-in.
        "aio": azure.seals.seal("aio", **sign_in.as_json()),
        **({"idp": home} if user.is_guest else {}),
        "name": user.name,
        "oid": user.oid,
        "rh": f"1.{secrets.token_urlsafe(24)}",
        "sid": sign_in.sid,
        "sub": pairwise(user, audience_id),
    }


def pairwise(user: User, audience_id: str) -> str:
    """Return ``sub``, different for each application, so that two can't match their users."""
    return base64url(hashlib.sha256(f"{user.oid} {audience_id}".encode()).digest())


def _minified(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))
