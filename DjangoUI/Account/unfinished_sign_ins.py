"""Keep each unfinished sign-in in its own cookie until Entra sends the browser back.

This way several tabs, double clicks and the Back button work, and visitors leave nothing in the
session store. Another cookie records for ten seconds that a sign-in has succeeded.
"""

import json
import re
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from Helpers.encryption import decrypt, encrypt
from Helpers.errors import PageError

PURPOSE = "unfinished sign-in"
KEEP_SECONDS = 600
KEEP_MOST = 5
MAX_COOKIE_BYTES = 3900  # browsers silently drop longer ones

JUST_SIGNED_IN = "signed_in_just_now"
JUST_SECONDS = 10


@dataclass(frozen=True)
class UnfinishedSignIn:
    flow: dict[str, Any]  # from MSAL
    next: str  # the path to redirect to after the sign-in
    reasons: list[str]  # of this sign-in and of those just before it
    started: float  # Unix time in seconds


def keep(request: HttpRequest, response: HttpResponse, sign_in: UnfinishedSignIn) -> None:
    """Put ``sign_in`` into a cookie of ``response``; delete the oldest if there are too many."""
    pattern = re.compile(_cookie_name("sign_in_[0-9a-f]{16}"))
    kept = {name: _open(request, name) for name in request.COOKIES if pattern.fullmatch(name)}
    # A cookie that can't be decrypted counts as the oldest.
    oldest_first = sorted(kept, key=lambda name: getattr(kept[name], "started", 0))
    for name in oldest_first[: 1 - KEEP_MOST][:KEEP_MOST]:
        response.delete_cookie(name)
    value = encrypt(PURPOSE, json.dumps(asdict(sign_in)))
    if len(value) > MAX_COOKIE_BYTES:
        raise PageError("sign_in_refused", "the claims challenge is too long for a cookie")
    _set_cookie(response, _name_for(sign_in.flow["state"]), value, KEEP_SECONDS)


def find(request: HttpRequest, state: str) -> UnfinishedSignIn | None:
    """Return the sign-in with this ``state``, if this browser started it."""
    return _open(request, _name_for(state))


def forget(response: HttpResponse, state: str) -> None:
    """Delete the cookie, because a sign-in can be completed only once."""
    response.delete_cookie(_name_for(state))


def note_success(response: HttpResponse) -> None:
    """Record in a cookie that the user has just signed in."""
    _set_cookie(response, _cookie_name(JUST_SIGNED_IN), "1", JUST_SECONDS)


def forget_success(response: HttpResponse) -> None:
    """Delete that cookie, because the user has signed out."""
    response.delete_cookie(_cookie_name(JUST_SIGNED_IN))


def just_signed_in(request: HttpRequest) -> bool:
    """Return whether a user signed in with this browser in the last ``JUST_SECONDS``."""
    return bool(request.COOKIES.get(_cookie_name(JUST_SIGNED_IN)))


def _name_for(state: str) -> str:
    return _cookie_name(f"sign_in_{sha256(state.encode()).hexdigest()[:16]}")


def _cookie_name(name: str) -> str:
    """Return ``name``, over https with the prefix ``__Host-``.

    It keeps other hosts of the domain from setting the cookie. Such a host could otherwise make a
    user complete an attacker's sign-in.
    """
    return f"__Host-{name}" if settings.SESSION_COOKIE_SECURE else name


def _open(request: HttpRequest, name: str) -> UnfinishedSignIn | None:
    text = decrypt(PURPOSE, request.COOKIES.get(name, ""), max_age=KEEP_SECONDS)
    return UnfinishedSignIn(**json.loads(text)) if text else None


def _set_cookie(response: HttpResponse, name: str, value: str, seconds: int) -> None:
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",  # not Strict: Entra, which is another site, redirects here
    )
