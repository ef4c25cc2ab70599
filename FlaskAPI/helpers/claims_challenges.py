"""Claims challenges: an API asks for a token with more claims, and the user signs in to get it.

Format: https://learn.microsoft.com/entra/identity-platform/claims-challenge
"""

import json
import re
from base64 import b64decode, b64encode

from werkzeug.datastructures import WWWAuthenticate

MAX_CLAIMS_BYTES = 4096


def claims_of_challenge(www_authenticate: str) -> str | None:
    """Return the JSON of the ``claims`` that a Bearer challenge asks for, or ``None``."""
    # Werkzeug parses only one challenge; one of another scheme, such as PoP, may come first.
    bearer = re.search(r"(?:^|,)\s*(bearer .*)", www_authenticate, re.IGNORECASE | re.DOTALL)
    challenge = WWWAuthenticate.from_header(bearer[1]) if bearer else None
    claims = challenge and challenge.get("claims")
    # Azure sends both base64 alphabets, with and without padding.
    encoded = (claims or "").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        decoded = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        return checked_claims(decoded.decode())
    except ValueError:
        return None


def checked_claims(text: object) -> str | None:
    """Return ``text`` if it is a claims request of at most ``MAX_CLAIMS_BYTES``, else ``None``.

    Only checked claims go to Entra or to a client. Format: a JSON object, OpenID Connect Core
    section 5.5. MSAL adds to its member ``access_token``, so that must be an object too.
    """
    try:
        if not isinstance(text, str) or len(text.encode()) > MAX_CLAIMS_BYTES:
            return None
        claims = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_request = isinstance(claims, dict) and isinstance(claims.get("access_token", {}), dict)
    return text if is_request else None


def encode_claims(claims: str) -> str:
    """Return ``claims`` (JSON) encoded for the ``claims`` parameter of a challenge."""
    return b64encode(claims.encode()).decode()
