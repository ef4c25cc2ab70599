"""What ``manage.py check --deploy`` should know about signing in, besides Django's own checks."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from csp.constants import NONE, UNSAFE_EVAL, UNSAFE_INLINE
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.urls import Resolver404, resolve


@register(Tags.security)
def check_sign_in(**kwargs: Any) -> list[CheckMessage]:
    """Settings with which nobody could sign in, or tokens would leave the server."""
    return [Error(message, id=f"Account.{id_}") for id_, message in _errors()]


@register(Tags.security, deploy=True)
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Settings that fit a developer's machine only."""
    return [Error(message, id=f"Account.{id_}") for id_, message in _errors_in_production()]


def _errors() -> Iterator[tuple[str, str]]:
    if settings.SESSION_COOKIE_SAMESITE != "Lax":
        yield "E001", "SESSION_COOKIE_SAMESITE must be Lax: users come back from Entra's site."
    if "signed_cookies" in settings.SESSION_ENGINE:
        yield "E002", "SESSION_ENGINE must keep sessions on the server, since they hold tokens."
    for key, name in {"LOGIN_URL": "login", "REDIRECT_URI": "callback"}.items():
        try:
            found = resolve(urlsplit(getattr(settings, key)).path).url_name
        except Resolver404:
            found = None
        if found != name:
            yield "E003", f"{key} does not lead to the view {name}."
    if settings.SECURE_REFERRER_POLICY == "no-referrer":
        yield "E004", "SECURE_REFERRER_POLICY hides the origin that sign-out has to be checked by."


def _errors_in_production() -> Iterator[tuple[str, str]]:
    for key in ("REDIRECT_URI", "POST_LOGOUT_REDIRECT_URI"):
        url = urlsplit(getattr(settings, key))
        if (url.scheme, url.hostname) != ("https", settings.PRODUCTION_HOST):
            yield "E005", f"{key} must be an https:// address of PRODUCTION_HOST."
    directives = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    sources = {source for values in directives.values() for source in values}
    if directives.get("default-src") != [NONE] or sources & {UNSAFE_INLINE, UNSAFE_EVAL}:
        yield "E006", "CONTENT_SECURITY_POLICY must begin with nothing and allow no inline code."
