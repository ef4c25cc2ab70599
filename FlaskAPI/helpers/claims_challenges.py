"""Claims challenges: a resource asks for a token that says more, and the client signs in for it.

Format: https://learn.microsoft.com/entra/identity-platform/claims-challenge
"""

import json
import re
from base64 import b64decode, b64encode

MAX_CLAIMS_BYTES = 4096

# One step of RFC 9110 section 11.6.1: white space and commas, then a name, and either "=value"
# or a space, which makes the name an authentication scheme. Each step matches at one place in
# one way, so the time is linear in the length of the header.
STEP = re.compile(
    r"""[\s,]*+ (?P<name>[\w!#$%&'*+.^`|~-]++)
        (?: \s*+ = \s*+ (?: "(?P<quoted>(?:[^"\\]|\\.)*+)" | (?P<plain>[^\s,"]++) ) )?+""",
    re.VERBOSE | re.ASCII,
)


def claims_of_challenge(www_authenticate: str) -> str | None:
    """Return the JSON of the ``claims`` that a Bearer challenge asks for, or ``None``.

    Only a header with exactly one Bearer challenge and no doubled parameter counts.
    """
    challenges: list[tuple[str, dict[str, str]]] = []
    position = 0
    while step := STEP.match(www_authenticate, position):
        position = step.end()
        name, value = step["name"].lower(), step["quoted"]
        value = step["plain"] if value is None else value
        if value is None:
            challenges.append((name, {}))
        elif not challenges or name in challenges[-1][1]:
            return None
        else:
            challenges[-1][1][name] = value
    bearer = [parameters for scheme, parameters in challenges if scheme == "bearer"]
    if len(bearer) != 1 or www_authenticate[position:].strip(" ,\t"):
        return None
    # Seen in both base64 alphabets, with and without padding.
    claims = bearer[0].get("claims", "").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return checked_claims(b64decode(claims + "=" * (-len(claims) % 4), validate=True).decode())
    except ValueError:
        return None


def checked_claims(text: object) -> str | None:
    """Return ``text`` if it is a claims request of a sane size: all that goes to Entra or a client.

    Format: a JSON object, OpenID Connect Core section 5.5. MSAL adds to its member
    ``access_token``, so that has to be an object too.
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
    """Return ``claims`` (JSON) as the ``claims`` parameter of a challenge has it."""
    return b64encode(claims.encode()).decode()
