"""What the session of a signed-in user holds. Visitors have none."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.utils import timezone

from Helpers.errors import SignInRequired

# Session keys.
IDENTITY = "identity"  # {"oid", "tid", "name", "username", "logout_hint"}
TOKEN_CACHE = "token_cache"  # see token_cache.py
PENDING = "pending"  # {"reason", "claims"} of the sign-in that has to come next
TRIED = "tried"  # reasons of the sign-ins since the API last answered well


@dataclass(frozen=True)
class PendingSignIn:
    """A sign-in that the API or Entra asked for."""

    reason: str  # the code of SignInRequired
    claims: str | None  # JSON for Entra
    username: str  # whom to suggest


def start_session(
    session: SessionBase, identity: dict[str, str], token_cache: str, tried: list[str]
) -> None:
    """Make ``session`` that of ``identity``, with a new key and nothing of what it held before."""
    session.flush()
    # A fixed end. SESSION_COOKIE_AGE alone would start anew with each change of the session.
    session.set_expiry(timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE))
    session[IDENTITY] = identity
    session[TOKEN_CACHE] = token_cache
    session[TRIED] = tried
    session.clear_expired()  # nothing else deletes old rows


def ask_for_sign_in(session: SessionBase, required: SignInRequired) -> bool:
    """Make a sign-in pending, unless one for the same reason did not help."""
    if required.code in session.get(TRIED, []):
        return False
    session[PENDING] = {"reason": required.code, "claims": required.claims}
    return True


def pending_sign_in(session: SessionBase) -> PendingSignIn | None:
    """Return the sign-in that has to come next, if the API or Entra asked for one."""
    if PENDING not in session:
        return None
    return PendingSignIn(**session[PENDING], username=session[IDENTITY]["username"])


def note_success(session: SessionBase) -> None:
    """Forget earlier sign-ins: the API answered well."""
    for key in (PENDING, TRIED):
        if session.get(key):
            del session[key]
