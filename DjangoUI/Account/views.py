"""Sign users in with Microsoft Entra ID, and sign them out."""

import logging
import re
from time import time
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.csrf import rotate_token
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View

from Account import unfinished_sign_ins
from Account.unfinished_sign_ins import UnfinishedSignIn
from Helpers.correlation import correlation_id
from Helpers.error_pages import error_page
from Helpers.errors import PAGES, PageError
from Helpers.session import IDENTITY, TRIED, pending_sign_in, start_session
from Helpers.token_acquisition import begin_sign_in, complete_sign_in

MAX_NEXT_LENGTH = 500

logger = logging.getLogger(__name__)


class LoginView(View):
    """Redirect the browser to Entra's sign-in page. After the sign-in it goes to ``next``."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if IDENTITY not in request.session and unfinished_sign_ins.just_signed_in(request):
            # Entra would sign the user in again silently, causing a redirect loop.
            raise PageError("store_unavailable", "the session of the last sign-in is gone")
        pending = pending_sign_in(request.session)
        choose_account = request.GET.get("prompt") == "select_account"
        flow = begin_sign_in(pending, choose_account)
        reasons = [*request.session.get(TRIED, []), pending.reason] if pending else []
        return _to_entra(request, flow, _own_path(request.GET.get("next", "")), reasons)


class CallbackView(View):
    """The redirect URI. It always redirects, so that the browser's history contains no code."""

    def get(self, request: HttpRequest) -> HttpResponse:
        state = request.GET.get("state", "")
        unfinished = unfinished_sign_ins.find(request, state)
        if unfinished is None:
            # After a double click, the first request has already signed the user in.
            if IDENTITY in request.session and not pending_sign_in(request.session):
                return redirect("azure_management_home")
            return _to_error_page(PageError("sign_in_expired", "no cookie for this state"))
        try:
            sign_in = complete_sign_in(unfinished.flow, request.GET.dict())
        except PageError as error:
            if error.code == "sign_in_expired" and error.code not in unfinished.reasons:
                # The code has been used or has expired. Try once more: Entra remembers the user.
                reasons = [*unfinished.reasons, error.code]
                flow = begin_sign_in(pending_sign_in(request.session))
                response = _to_entra(request, flow, unfinished.next, reasons)
            else:
                response = _to_error_page(error)
        else:
            start_session(
                request.session, sign_in.identity, sign_in.token_cache, unfinished.reasons
            )
            rotate_token(request)
            response = redirect(unfinished.next)
            unfinished_sign_ins.note_success(response)
        unfinished_sign_ins.forget(response, state)
        return response


class SignInErrorView(View):
    """The page that says why a sign-in failed; ``CallbackView`` redirects here."""

    def get(self, request: HttpRequest, code: str) -> HttpResponse:
        if code not in PAGES:
            raise Http404
        reference = request.GET.get("reference", "")
        if not re.fullmatch(r"[0-9a-f-]{36}", reference):
            reference = ""
        user = request.session.get(IDENTITY)
        return error_page(request, PageError(code), user, settings.LOGIN_URL, reference)


class LogOutView(View):
    """Delete the user's session and tokens here, then sign out of Entra."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Ask first: a link or an image on another site must not sign users out."""
        if IDENTITY not in request.session:
            return redirect("signed_out")
        return render(request, "Account/sign_out.html", {"user": request.session[IDENTITY]})

    def post(self, request: HttpRequest) -> HttpResponse:
        """https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc#send-a-sign-out-request"""
        identity = request.session.get(IDENTITY, {})
        request.session.flush()
        parameters = {
            "post_logout_redirect_uri": settings.POST_LOGOUT_REDIRECT_URI,
            "client_id": settings.CLIENT_ID,
        }
        if hint := identity.get("logout_hint"):
            parameters["logout_hint"] = hint  # else Entra asks which account to sign out
        separator = "&" if "?" in settings.LOGOUT_URL else "?"
        response = redirect(f"{settings.LOGOUT_URL}{separator}{urlencode(parameters)}")
        unfinished_sign_ins.forget_success(response)
        return response


class SignedOutView(View):
    """The page to which Entra redirects after signing out."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if IDENTITY in request.session:  # signed in again in another tab
            return redirect("azure_management_home")
        return render(request, "Account/signed_out.html")


class ClearSiteDataView(View):
    """An empty response to an image on the signed-out page; it clears the browser's cache.

    Chromium keeps even ``no-store`` pages for its Back button, unless this header clears them:
    https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Clear-Site-Data
    """

    def get(self, request: HttpRequest) -> HttpResponse:
        response = HttpResponse(status=204)
        # Other sites must not clear this site's cache. Some browsers don't send this header.
        if request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin":
            response["Clear-Site-Data"] = '"cache"'
        return response


def _to_entra(
    request: HttpRequest, flow: dict[str, Any], next: str, reasons: list[str]
) -> HttpResponse:
    """Redirect to Entra's sign-in page, and keep ``flow`` for the callback."""
    response = redirect(flow.pop("auth_uri"))
    sign_in = UnfinishedSignIn(flow, next, reasons, time())
    unfinished_sign_ins.keep(request, response, sign_in)
    return response


def _own_path(address: str) -> str:
    """Return ``address`` if it is a path on this site, else the home page."""
    is_own = url_has_allowed_host_and_scheme(address, allowed_hosts=None)
    if is_own and address.startswith("/") and len(address) <= MAX_NEXT_LENGTH:
        return address
    return reverse("azure_management_home")


def _to_error_page(error: PageError) -> HttpResponse:
    logger.warning("problem: %s", error)
    reference = urlencode({"reference": correlation_id.get()})
    return redirect(f"{reverse('sign_in_error', args=[error.code])}?{reference}")
