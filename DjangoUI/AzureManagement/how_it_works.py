"""Explain the request just made and the claims of its tokens, in development only.

Clients should not read access tokens, which are meant for the API. This page does so only to show
the claims to learners. It never shows a signature or a whole token.
"""

import json
import re
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from typing import Any

import msal
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase

from Helpers.correlation import correlation_id, trace_url
from Helpers.flask_api import SubscriptionList
from Helpers.token_cache import token_cache

Kind = msal.TokenCache.CredentialType

# https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
MEANINGS = {
    "aud": "Audience: the only app that should accept the token.",
    "azp": "Authorized party: the app that the token was issued to.",
    "iss": "Issuer: the tenant that issued the token.",
    "scp": "Scope: what the client may do in the API for the user. An ID token has none.",
    "oid": "The user, with the same value in every token of the tenant.",
    "tid": "The tenant. Together with oid it identifies the account. Neither changes.",
    "idp": "Identity provider. You are a guest here; your account is from this other tenant.",
    "sub": "The user, with a different value for each app, so that apps can’t match their users.",
    "exp": "Expiry. MSAL renews token A with the refresh token five minutes before.",
}
# One entry of Server-Timing: its name, a description if there is one, and its milliseconds.
TIMING = re.compile(r'(\w+)(?:;desc="([\w ]+)")?;dur=(\d+(?:\.\d+)?)')


def how_it_works(session: SessionBase, listed: SubscriptionList) -> dict[str, Any]:
    """Return the context of ``how_it_works.html`` for the request that returned ``listed``."""
    hops = {
        name: {"word": word, "milliseconds": float(duration)}
        for name, word, duration in TIMING.findall(listed.server_timing)
    }
    with token_cache(session) as tokens:
        id_token = _latest(tokens, Kind.ID_TOKEN)
        access_token = _latest(tokens, Kind.ACCESS_TOKEN)
    return {
        "scope": settings.SCOPE,
        "api_scope": settings.API_SCOPE,
        "api": settings.FLASK_BACKEND_URL,
        "milliseconds": listed.milliseconds,
        "hops": hops,
        "claims": [
            (name, _shown(name, id_token), _shown(name, access_token), meaning)
            for name, meaning in MEANINGS.items()
            if name in id_token or name in access_token
        ],
        "trace": trace_url(correlation_id.get()),
    }


def _latest(tokens: msal.TokenCache, kind: str) -> dict[str, Any]:
    """Return the claims of the token of this kind that expires last, if there is one."""
    entries = sorted(tokens.search(kind), key=lambda entry: int(entry.get("expires_on", 0)))
    return _claims(entries[-1]["secret"]) if entries else {}


def _claims(token: str) -> dict[str, Any]:
    """Return the claims of a JWT, unverified: use them for display only."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _shown(name: str, claims: dict[str, Any]) -> str:
    value = claims.get(name, "")
    if name == "exp" and isinstance(value, int) and 0 < value < 2**32:
        return f"{datetime.fromtimestamp(value, UTC):%H:%M:%S} UTC"
    return str(value).encode(errors="replace").decode()
