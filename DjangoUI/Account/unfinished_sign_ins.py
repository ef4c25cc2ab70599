"""Keep each unfinished sign-in in a cookie of its own, until Entra sends the browser back.

So tabs, double clicks and the back button don't get in each other's way, and visitors leave
nothing in the session store. One more cookie tells for ten seconds that a sign-in has succeeded.
"""

import json
import re
from hashlib import sha256
from time import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from Helpers.encryption import decrypt, encrypt
from Helpers.errors import Problem

PURPOSE = "unfinished sign-in"
NAME = re.compile(r"(?:__Host-)?sign_in_[0-9a-f]{16}")
KEEP_SECONDS = 600
KEEP_MOST = 5
MAX_COOKIE_BYTES = 3900  # browsers drop longer ones without a word

JUST_FINISHED = "signed_in_just_now"
JUST_SECONDS = 10


def keep(request: HttpRequest, response: HttpResponse, flow: dict[str, Any], **notes: Any) -> None:
    """Put ``flow`` (MSAL's) and ``notes`` into a cookie of ``response``; the oldest has to go."""
    unfinished = {name: _open(request, name) for name in request.COOKIES if NAME.fullmatch(name)}
    by_age = sorted(unfinished, key=lambda name: (unfinished[name] or {}).get("begun", 0))
    for name in by_age[: max(0, len(by_age) - KEEP_MOST + 1)]:
        _delete_cookie(response, name)
    value = encrypt(PURPOSE, json.dumps({"flow": flow, "begun": time(), **notes}))
    if len(value) > MAX_COOKIE_BYTES:
        raise Problem("sign_in_refused", "the claims challenge is too long for a cookie")
    _set_cookie(response, _name(flow["state"]), value, KEEP_SECONDS)


def find(request: HttpRequest, state: str) -> dict[str, Any] | None:
    """Return ``{"flow": ..., "begun": ..., **notes}`` of the sign-in that ``state`` belongs to."""
    return _open(request, _name(state))


def forget(response: HttpResponse, state: str) -> None:
    """Drop the cookie: a sign-in is finished once."""
    _delete_cookie(response, _name(state))


def note_success(response: HttpResponse) -> None:
    """Remember for a moment that somebody has signed in."""
    _set_cookie(response, _own(JUST_FINISHED), "1", JUST_SECONDS)


def forget_success(response: HttpResponse) -> None:
    """Drop that note: somebody has signed out."""
    _delete_cookie(response, _own(JUST_FINISHED))


def lost_its_session(request: HttpRequest) -> bool:
    """Tell, of a request that has no session, whether it had one a moment ago."""
    return bool(request.COOKIES.get(_own(JUST_FINISHED)))


def _name(state: str) -> str:
    return _own(f"sign_in_{sha256(state.encode()).hexdigest()[:16]}")


def _own(name: str) -> str:
    """Return the name of a cookie that another host of our domain can't plant, over https.

    There a stranger could leave a sign-in of their own, for somebody else to finish unawares.
    """
    return f"__Host-{name}" if settings.SESSION_COOKIE_SECURE else name


def _open(request: HttpRequest, name: str) -> dict[str, Any] | None:
    text = decrypt(PURPOSE, request.COOKIES.get(name, ""), max_age=KEEP_SECONDS)
    unfinished: dict[str, Any] | None = json.loads(text) if text else None
    return unfinished


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
