"""For learners, in development only: what happened for this page, and what the tokens say.

A client has no business in an access token, which is for the API to read. Here one is opened all
the same, to show what it is made of; never its signature, and never a whole token.
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
    "aud": "Audience: the app that may take it. It is for that app alone.",
    "azp": "Authorized party: the app that it was issued to.",
    "iss": "Issuer: the tenant that signed it.",
    "scp": "Scope: what the client may do there for the user. An id token allows nothing.",
    "oid": "The user, the same in every token of the tenant.",
    "tid": "The tenant. With oid, this names a person for good.",
    "idp": "Identity provider: the tenant that a guest comes from.",
    "sub": "The user too, but other in each app, so that apps can’t compare their users.",
    "exp": "When it ends. Then MSAL gets another one with the refresh token.",
}
# One entry of Server-Timing: its name, a description if there is one, and its milliseconds.
TIMING = re.compile(r'(\w+)(?:;desc="([\w ]+)")?;dur=(\d+(?:\.\d+)?)')


def how_it_works(session: SessionBase, listed: SubscriptionList) -> dict[str, Any]:
    """Return what ``how_it_works.html`` shows of the request that brought ``listed``."""
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
    entries: list[dict[str, str]] = list(tokens.search(kind))
    entries.sort(key=lambda entry: int(entry.get("expires_on", 0)))
    return _claims(entries[-1]["secret"]) if entries else {}


def _claims(token: str) -> dict[str, Any]:
    """Return the payload of a JWT, unverified: fit for showing, not for deciding anything."""
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
