"""Keep each unfinished sign-in in a cookie of its own, until Entra sends the browser back.

So tabs, double clicks and the back button don't get in each other's way, and visitors leave
nothing in the session store.
"""

import json
from hashlib import sha256
from time import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from Helpers.encryption import decrypt, encrypt
from Helpers.errors import Problem

PURPOSE = "unfinished sign-in"
PREFIX = "sign_in_"
PATH = "/account"
KEEP_SECONDS = 600
KEEP_MOST = 5
MAX_COOKIE_BYTES = 3900  # browsers drop longer ones without a word


def keep(request: HttpRequest, response: HttpResponse, flow: dict[str, Any], **notes: Any) -> None:
    """Put ``flow`` (MSAL's) and ``notes`` into a cookie of ``response``; the oldest has to go."""
    unfinished = {name: _open(request, name) for name in request.COOKIES if _is_ours(name)}
    by_age = sorted(unfinished, key=lambda name: (unfinished[name] or {}).get("begun", 0))
    for name in by_age[: max(0, len(by_age) - KEEP_MOST + 1)]:
        response.delete_cookie(name, path=PATH, samesite="Lax")
    value = encrypt(PURPOSE, json.dumps({"flow": flow, "begun": time(), **notes}))
    if len(value) > MAX_COOKIE_BYTES:
        raise Problem("sign_in_refused", "the claims challenge is too long for a cookie")
    response.set_cookie(
        _name(flow["state"]),
        value,
        max_age=KEEP_SECONDS,
        path=PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",  # sent along when Entra's page, another site, leads here
    )


def find(request: HttpRequest, state: str) -> dict[str, Any] | None:
    """Return ``{"flow": ..., "begun": ..., **notes}`` of the sign-in that ``state`` belongs to."""
    return _open(request, _name(state))


def forget(response: HttpResponse, state: str) -> None:
    """Drop the cookie: a sign-in is finished once."""
    response.delete_cookie(_name(state), path=PATH, samesite="Lax")


def _name(state: str) -> str:
    return PREFIX + sha256(state.encode()).hexdigest()[:16]


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX)


def _open(request: HttpRequest, name: str) -> dict[str, Any] | None:
    text = decrypt(PURPOSE, request.COOKIES.get(name, ""), max_age=KEEP_SECONDS)
    unfinished: dict[str, Any] | None = json.loads(text) if text else None
    return unfinished
