"""What the session of a signed-in user holds. Visitors have none."""

from datetime import timedelta
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.utils import timezone

from Helpers.errors import SignInRequired

SIGNED_IN_HOURS = 8

# Session keys.
IDENTITY = "identity"  # {"oid", "tid", "name", "username", "logout_hint"}
TOKEN_CACHE = "token_cache"  # see token_cache.py
ASKED = "asked"  # {"code", "claims"} of the SignInRequired that the next sign-in has to answer
TRIED = "tried"  # the codes that a sign-in was already begun for, since the API last answered well


def start_session(
    session: SessionBase, identity: dict[str, str], token_cache: str, tried: list[str]
) -> None:
    """Make ``session`` that of ``identity``, with a new key and nothing of what it held before."""
    session.flush()
    # An end that use does not put off, unlike SESSION_COOKIE_AGE.
    session.set_expiry(timezone.now() + timedelta(hours=SIGNED_IN_HOURS))
    session[IDENTITY] = identity
    session[TOKEN_CACHE] = token_cache
    session[TRIED] = tried
    session.clear_expired()  # nobody else clears the table up


def ask_for_sign_in(session: SessionBase, required: SignInRequired) -> bool:
    """Note what the next sign-in has to achieve, unless that was tried without success."""
    if required.code in session.get(TRIED, []):
        return False
    session[ASKED] = {"code": required.code, "claims": required.claims}
    return True


def asked_of_sign_in(session: SessionBase) -> dict[str, Any]:
    """Return the ``code`` and ``claims`` that the sign-in now beginning has to answer, if any."""
    asked: dict[str, Any] = session.get(ASKED) or {"code": "", "claims": None}
    return asked


def note_success(session: SessionBase) -> None:
    """Forget what was asked and tried: the API answered well."""
    for key in (ASKED, TRIED):
        if session.get(key):
            del session[key]
