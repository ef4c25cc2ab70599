"""Render the pages of ``errors.PAGES``; Django's error handlers."""

import logging
import sys

from django.conf import settings
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.exceptions import DisallowedHost
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse

from Helpers.correlation import correlation_id, trace_url
from Helpers.errors import PageError

logger = logging.getLogger(__name__)


def error_page(
    request: HttpRequest,
    error: PageError,
    user: dict[str, str] | None = None,
    retry_url: str = "/",
    reference: str = "",
) -> HttpResponse:
    """Return the page for ``error``. It does not read the session, whose store may be down."""
    # The user may be signed in to Entra with an account that does not work here: offer a choice.
    sign_in_url = settings.LOGIN_URL if user else f"{settings.LOGIN_URL}?prompt=select_account"
    buttons = {
        "retry": ("Try again", retry_url),
        "sign_in": ("Sign in again", sign_in_url),
        "sign_out": ("Sign out", reverse("logout")),
        "home": ("Go to the home page", "/"),
        "": ("", ""),
    }
    label, url = buttons[error.page.action]
    reference = reference or correlation_id.get()
    context = {
        "page": error.page,
        "retry_after": error.retry_after,
        "button": {"label": label, "url": url},
        "reference": reference,
        "trace": trace_url(reference),
        "user": user,
    }
    page = render_to_string("error.html", context, request)
    response = HttpResponse(page, status=error.page.status)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, SessionInterrupted) and not _store_failed(exception):
        # In the meantime another request deleted this session: a sign-out, or a new sign-in.
        return redirect("signed_out")
    if isinstance(exception, DisallowedHost):
        # Don't log the header's value: clients choose it.
        name = "PRODUCTION_HOST" if settings.ENVIRONMENT == "production" else "The host"
        host = settings.ALLOWED_HOSTS[0]
        logger.warning("%s is %s, but the Host header names another host", name, host)
    return error_page(request, PageError(_code(exception, "bad_request")))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, PageError("not_found"))


def server_error(request: HttpRequest) -> HttpResponse:
    return error_page(request, PageError(_code(sys.exc_info()[1], "server_error")))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    is_our_form = request.path_info == reverse("logout")
    return error_page(request, PageError("form_expired" if is_our_form else "bad_request"))


def _code(exception: BaseException | None, otherwise: str) -> str:
    return "store_unavailable" if _store_failed(exception) else otherwise


def _store_failed(exception: BaseException | None) -> bool:
    """Return whether the session store caused ``exception``; Django wraps some of its errors."""
    from redis.exceptions import RedisError  # here, because it takes a sixth of the app's start

    while exception is not None:
        if isinstance(exception, (InterfaceError, OperationalError, RedisError)):
            return True
        exception = exception.__context__
    return False
