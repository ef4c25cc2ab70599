"""Show what stands in the way: the pages of ``errors.PAGES``, and Django's error handlers."""

import sys

from django.conf import settings
from django.contrib.sessions.exceptions import SessionInterrupted
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from redis.exceptions import RedisError

from Helpers.errors import Problem
from Helpers.request_context import correlation_id

STORE_ERRORS = (InterfaceError, OperationalError, RedisError)


def problem_page(
    request: HttpRequest,
    problem: Problem,
    user: dict[str, str] | None = None,
    retry_url: str = "/",
    reference: str = "",
) -> HttpResponse:
    """Return the page that explains ``problem``. The session is not needed for it."""
    buttons = {
        "retry": ("Try again", retry_url),
        "sign_in": ("Sign in again", settings.LOGIN_URL),
        "sign_out": ("Sign out", reverse("logout")),
        "home": ("Go to the start", "/"),
        "": ("", ""),
    }
    label, url = buttons[problem.page.action]
    context = {
        "page": problem.page,
        "retry_after": problem.retry_after,
        "button": {"label": label, "url": url},
        "reference": reference or correlation_id.get(),
        "user": user,
    }
    page = render_to_string("problem.html", context, request)
    response = HttpResponse(page, status=problem.page.status)
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, SessionInterrupted) and not _store_failed(exception):
        # The session went while the request ran: signed out in another tab, or signed in anew.
        return redirect("signed_out")
    return problem_page(request, Problem(_code(exception, "bad_request")))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_page(request, Problem("not_found"))


def server_error(request: HttpRequest) -> HttpResponse:
    return problem_page(request, Problem(_code(sys.exc_info()[1], "server_error")))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    is_our_form = request.path_info == reverse("logout")
    return problem_page(request, Problem("form_expired" if is_our_form else "bad_request"))


def _code(exception: BaseException | None, otherwise: str) -> str:
    return "store_unavailable" if _store_failed(exception) else otherwise


def _store_failed(exception: BaseException | None) -> bool:
    """Tell whether the session store is behind ``exception``; Django wraps some of its errors."""
    while exception is not None:
        if isinstance(exception, STORE_ERRORS):
            return True
        exception = exception.__context__
    return False
