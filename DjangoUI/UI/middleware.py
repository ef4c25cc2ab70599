"""What happens around every view."""

import logging
from collections.abc import Callable
from time import perf_counter
from urllib.parse import urlencode
from uuid import uuid4

from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.http.request import split_domain_port
from django.shortcuts import redirect

from Helpers.entra import end_session_origin
from Helpers.error_pages import problem_page
from Helpers.errors import NotSignedIn, Problem, SignInRequired
from Helpers.request_context import CORRELATION_HEADER, correlation_id
from Helpers.session import IDENTITY, ask_for_sign_in

GetResponse = Callable[[HttpRequest], HttpResponseBase]

logger = logging.getLogger(__name__)


def health(get_response: GetResponse) -> GetResponse:
    """Answer ``/health`` before anything else: a probe knows neither our host name nor https."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        if request.path_info == "/health":
            return JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})
        return get_response(request)

    return answer


def localhost(get_response: GetResponse) -> GetResponse:
    """Lead from 127.0.0.1 to localhost, where the callback and so the cookies belong."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        domain, port = split_domain_port(request.get_host())
        if domain in ("127.0.0.1", "[::1]"):
            return redirect(f"http://localhost:{port or 80}{request.get_full_path()}")
        return get_response(request)

    return answer


def correlation(get_response: GetResponse) -> GetResponse:
    """Give the request a correlation id, keep its answer out of every cache, and log it."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        started = perf_counter()
        correlation_id.set(str(uuid4()))
        response = get_response(request)
        response[CORRELATION_HEADER] = correlation_id.get()
        response.headers.setdefault("Cache-Control", "no-store")
        # The route and not the path: what a visitor makes up is not kept, nor is a query string.
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


class ContentSecurityPolicy(CSPMiddleware):
    """Adds the address that the settings don't know: the sign-out form is redirected there."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        parts.update = {"form-action": [end_session_origin()]}
        return parts


class Problems:
    """Turns what views raise into a page, or into a sign-in that may mend it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        here = request.get_full_path()
        if isinstance(exception, NotSignedIn):
            return redirect(f"{settings.LOGIN_URL}?{urlencode({'next': here})}")
        if not isinstance(exception, Problem):
            return None
        logger.warning("problem: %s", exception)
        if isinstance(exception, SignInRequired) and ask_for_sign_in(request.session, exception):
            return redirect(f"{settings.LOGIN_URL}?{urlencode({'next': here})}")
        return problem_page(request, exception, request.session.get(IDENTITY), here)
