"""The contents of a signed-in user's session. Visitors have no session."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.utils import timezone

from Helpers.errors import SignInRequired

# Session keys.
IDENTITY = "identity"  # {"oid", "tid", "name", "username", "logout_hint"}
TOKEN_CACHE = "token_cache"  # see token_cache.py
PENDING = "pending"  # {"reason", "claims"} of the sign-in that the API or Entra asked for
TRIED = "tried"  # reasons of the sign-ins since the API last returned a list


@dataclass(frozen=True)
class PendingSignIn:
    """A sign-in that the API or Entra asked for."""

    reason: str  # the code of SignInRequired
    claims: str | None  # JSON for Entra
    username: str  # the account to suggest


def start_session(
    session: SessionBase, identity: dict[str, str], token_cache: str, tried: list[str]
) -> None:
    """Start a new session for ``identity``, with a new key and without the previous contents."""
    session.flush()
    # A fixed time: SESSION_COOKIE_AGE alone would count from the last change of the session.
    session.set_expiry(timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE))
    session[IDENTITY] = identity
    session[TOKEN_CACHE] = token_cache
    session[TRIED] = tried
    session.clear_expired()  # nothing else deletes old rows


def ask_for_sign_in(session: SessionBase, required: SignInRequired) -> bool:
    """Make a sign-in pending and return True, unless one for the same reason has not helped."""
    if required.code in session.get(TRIED, []):
        return False
    session[PENDING] = {"reason": required.code, "claims": required.claims}
    return True


def pending_sign_in(session: SessionBase) -> PendingSignIn | None:
    """Return the pending sign-in, if the API or Entra asked for one."""
    if PENDING not in session:
        return None
    return PendingSignIn(**session[PENDING], username=session[IDENTITY]["username"])


def note_success(session: SessionBase) -> None:
    """Forget earlier sign-ins, because the API returned a list."""
    for key in (PENDING, TRIED):
        if session.get(key):
            del session[key]
