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
        value = step["quoted"] if step["quoted"] is not None else step["plain"]
        if value is None:
            challenges.append((step["name"].lower(), {}))
        elif not challenges or step["name"].lower() in challenges[-1][1]:
            return None
        else:
            challenges[-1][1][step["name"].lower()] = value
    bearer = [parameters for scheme, parameters in challenges if scheme == "bearer"]
    if len(bearer) != 1 or www_authenticate[position:].strip(" ,\t"):
        return None
    return _decode(bearer[0].get("claims", ""))


def _decode(claims: str) -> str | None:
    try:
        # Seen in both base64 alphabets, with and without padding.
        standard = claims.replace("-", "+").replace("_", "/").rstrip("=")
        text = b64decode(standard + "=" * (-len(standard) % 4), validate=True).decode()
    except ValueError:
        return None
    return checked_claims(text)


def checked_claims(text: object) -> str | None:
    """Return ``text`` if it is a JSON object of a sane size: all that goes to Entra or a client."""
    if not isinstance(text, str) or not 0 < len(text.encode()) <= MAX_CLAIMS_BYTES:
        return None
    try:
        return text if isinstance(json.loads(text), dict) else None
    except (ValueError, RecursionError):
        return None


def encode_claims(claims: str) -> str:
    """Return ``claims`` (JSON) as the ``claims`` parameter of a challenge has it."""
    return b64encode(claims.encode()).decode()
