"""Middleware: health check, redirect to localhost, correlation ID, session cookie, error pages."""

import logging
from collections.abc import Callable
from time import perf_counter
from urllib.parse import urlencode
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.http.request import split_domain_port
from django.shortcuts import redirect

from Helpers.correlation import CORRELATION_HEADER, correlation_id
from Helpers.error_pages import error_page
from Helpers.errors import NotSignedIn, PageError, SignInRequired
from Helpers.session import IDENTITY, ask_for_sign_in

GetResponse = Callable[[HttpRequest], HttpResponseBase]

logger = logging.getLogger(__name__)


def health(get_response: GetResponse) -> GetResponse:
    """Answer ``/health`` first, because probes use neither this app's host name nor https."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        if request.path_info == "/health":
            return JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})
        return get_response(request)

    return answer


def localhost(get_response: GetResponse) -> GetResponse:
    """Redirect from 127.0.0.1 to localhost, the host of the redirect URI and of the cookies."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        domain, port = split_domain_port(request.get_host())
        if domain in ("127.0.0.1", "[::1]"):
            return redirect(f"http://localhost:{port or 80}{request.get_full_path()}")
        return get_response(request)

    return answer


def correlation(get_response: GetResponse) -> GetResponse:
    """Set the correlation ID, keep the response out of caches, and log the request."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        started = perf_counter()
        correlation_id.set(str(uuid4()))
        response = get_response(request)
        response[CORRELATION_HEADER] = correlation_id.get()
        response.headers.setdefault("Cache-Control", "no-store")
        # Log the route, not the path or query, which clients choose.
        route = request.resolver_match
        logger.info(
            "method=%s path=%s status=%d ms=%.1f",
            request.method,
            f"/{route.route}" if route else "-",
            response.status_code,
            (perf_counter() - started) * 1000,
        )
        return response

    return answer


def session_cookie(get_response: GetResponse) -> GetResponse:
    """Make the session cookie expire when the browser closes.

    Django would give it the expiry of the session on the server.
    """

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        cookie = response.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie and cookie.value:  # without a value it is being deleted
            cookie["max-age"] = cookie["expires"] = ""
        return response

    return answer


class ErrorPages:
    """Turns exceptions into an error page or a sign-in redirect."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        here = request.get_full_path()
        to_sign_in = redirect(f"{settings.LOGIN_URL}?{urlencode({'next': here})}")
        if isinstance(exception, NotSignedIn):
            return to_sign_in
        if not isinstance(exception, PageError):
            return None
        logger.warning("problem: %s", exception)
        if isinstance(exception, SignInRequired) and ask_for_sign_in(request.session, exception):
            return to_sign_in
        return error_page(request, exception, request.session.get(IDENTITY), here)
