"""Keep each unfinished sign-in in a cookie of its own, until Entra sends the browser back.

So tabs, double clicks and the back button don't get in each other's way, and visitors leave
nothing in the session store. One more cookie tells for ten seconds that a sign-in has succeeded.
"""

import json
import re
from dataclasses import asdict, dataclass
from hashlib import sha256
from time import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from Helpers.encryption import decrypt, encrypt
from Helpers.errors import PageError

PURPOSE = "unfinished sign-in"
KEEP_SECONDS = 600
KEEP_MOST = 5
MAX_COOKIE_BYTES = 3900  # browsers drop longer ones without a word

JUST_SIGNED_IN = "signed_in_just_now"
JUST_SECONDS = 10


@dataclass(frozen=True)
class UnfinishedSignIn:
    flow: dict[str, Any]  # MSAL's
    next: str  # the path to go to in the end
    reasons: list[str]  # why this sign-in, and those just before it, were begun
    begun: float  # Unix time in seconds


def keep(
    request: HttpRequest,
    response: HttpResponse,
    flow: dict[str, Any],
    next: str,
    reasons: list[str],
) -> None:
    """Put an unfinished sign-in into a cookie of ``response``; the oldest has to go."""
    pattern = re.compile(_cookie_name("sign_in_[0-9a-f]{16}"))
    kept = {name: _open(request, name) for name in request.COOKIES if pattern.fullmatch(name)}
    newest_first = sorted(kept, key=lambda name: sign_in.begun if (sign_in := kept[name]) else 0)[
        ::-1
    ]
    for name in newest_first[KEEP_MOST - 1 :][-KEEP_MOST:]:
        _delete_cookie(response, name)
    sign_in = UnfinishedSignIn(flow, next, reasons, time())
    value = encrypt(PURPOSE, json.dumps(asdict(sign_in)))
    if len(value) > MAX_COOKIE_BYTES:
        raise PageError("sign_in_refused", "the claims challenge is too long for a cookie")
    _set_cookie(response, _name_for(flow["state"]), value, KEEP_SECONDS)


def find(request: HttpRequest, state: str) -> UnfinishedSignIn | None:
    """Return the sign-in that ``state`` belongs to, if this browser began it."""
    return _open(request, _name_for(state))


def forget(response: HttpResponse, state: str) -> None:
    """Drop the cookie: a sign-in is finished once."""
    _delete_cookie(response, _name_for(state))


def note_success(response: HttpResponse) -> None:
    """Remember for a moment that somebody has signed in."""
    _set_cookie(response, _cookie_name(JUST_SIGNED_IN), "1", JUST_SECONDS)


def forget_success(response: HttpResponse) -> None:
    """Drop that note: somebody has signed out."""
    _delete_cookie(response, _cookie_name(JUST_SIGNED_IN))


def just_signed_in(request: HttpRequest) -> bool:
    """Return whether somebody signed in here a moment ago."""
    return bool(request.COOKIES.get(_cookie_name(JUST_SIGNED_IN)))


def _name_for(state: str) -> str:
    return _cookie_name(f"sign_in_{sha256(state.encode()).hexdigest()[:16]}")


def _cookie_name(name: str) -> str:
    """Return the name of a cookie that another host of our domain can't set, over https.

    From there an attacker could plant their own sign-in for somebody else to finish.
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
        samesite="Lax",  # sent along when Entra's page, another site, leads here
    )


def _delete_cookie(response: HttpResponse, name: str) -> None:
    response.delete_cookie(name, samesite="Lax")
