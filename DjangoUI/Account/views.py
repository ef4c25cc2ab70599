"""Sign in, come back from Microsoft Entra ID, sign out."""

import logging
import re
from urllib.parse import urlencode

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.csrf import rotate_token
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View

from Account import unfinished_sign_ins
from Helpers.entra import end_session_address
from Helpers.error_pages import problem_page
from Helpers.errors import PAGES, Problem
from Helpers.request_context import correlation_id
from Helpers.session import IDENTITY, TRIED, asked_of_sign_in, start_session
from Helpers.token_acquisition import begin_sign_in, complete_sign_in

MAX_NEXT_LENGTH = 500

logger = logging.getLogger(__name__)


class LoginView(View):
    """Send the browser to Microsoft Entra ID, to come back to ``next`` in the end."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if IDENTITY not in request.session and unfinished_sign_ins.lost_its_session(request):
            # Entra would sign the user in again without a question, and so in circles.
            raise Problem("store_unavailable", "a session made a moment ago is gone")
        return _begin(request, _own_path(request.GET.get("next", "")))


class CallbackView(View):
    """Where Entra sends the browser back to. Always redirects, so no code stays in its history."""

    def get(self, request: HttpRequest) -> HttpResponse:
        state = request.GET.get("state", "")
        unfinished = unfinished_sign_ins.find(request, state)
        if unfinished is None:
            # A second click, and the first one did it. If something is still asked of a sign-in,
            # that is not so, and the home page would lead here again.
            if IDENTITY in request.session and not asked_of_sign_in(request.session)["code"]:
                return redirect("azure_management_home")
            return _to_problem_page(Problem("sign_in_expired", "no cookie for this state"))
        try:
            sign_in = complete_sign_in(unfinished["flow"], request.GET.dict())
        except Problem as problem:
            if problem.code == "sign_in_expired" and not unfinished["again"]:
                # The code was used or lay around too long. Entra remembers the user for now.
                response = _begin(request, unfinished["next"], again=True)
            else:
                response = _to_problem_page(problem)
        else:
            start_session(
                request.session, sign_in.identity, sign_in.token_cache, unfinished["tried"]
            )
            rotate_token(request)
            response = redirect(unfinished["next"])
            unfinished_sign_ins.note_success(response)
        unfinished_sign_ins.forget(response, state)
        return response


class ProblemView(View):
    """Why a sign-in failed; ``CallbackView`` leads here."""

    def get(self, request: HttpRequest, code: str) -> HttpResponse:
        if code not in PAGES:
            raise Http404
        reference = request.GET.get("reference", "")
        if not re.fullmatch(r"[0-9a-f-]{36}", reference):
            reference = ""
        user = request.session.get(IDENTITY)
        return problem_page(request, Problem(code), user, settings.LOGIN_URL, reference)


class LogOutView(View):
    """Forget the user and the tokens here, then sign out of Entra."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Ask first: a link or an image on another site must not sign anybody out."""
        if IDENTITY not in request.session:
            return redirect("signed_out")
        try:
            end_session_address()  # known from now on, so that this page's policy can allow it
        except Problem as problem:
            logger.warning("problem: %s", problem)
        context = {"user": request.session[IDENTITY]}
        return render(request, "Account/sign_out.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        identity = request.session.get(IDENTITY) or {}
        request.session.flush()
        try:
            address = end_session_address()
        except Problem as problem:
            logger.warning("problem: %s", problem)
            address = ""
        if address:
            parameters = {"post_logout_redirect_uri": settings.POST_LOGOUT_REDIRECT_URI}
            if hint := identity.get("logout_hint"):
                parameters["logout_hint"] = hint  # else Entra asks which account to sign out
            address += f"{'&' if '?' in address else '?'}{urlencode(parameters)}"
        response = redirect(address or "signed_out")
        unfinished_sign_ins.forget_success(response)
        return response


class SignedOutView(View):
    """Where Entra sends the browser after signing out."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if IDENTITY in request.session:  # signed in again meanwhile, in another tab
            return redirect("azure_management_home")
        return render(request, "Account/signed_out.html")


class ForgetPagesView(View):
    """The image of nothing on the signed-out page; it comes when all other pages are left.

    Chromium keeps even ``no-store`` pages whole for its Back button. This header ends that:
    https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Clear-Site-Data
    """

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=204, headers={"Clear-Site-Data": '"cache"'})


def _begin(request: HttpRequest, back_to: str, again: bool = False) -> HttpResponse:
    asked = asked_of_sign_in(request.session)
    username = request.session.get(IDENTITY, {}).get("username", "") if asked["code"] else ""
    flow = begin_sign_in(asked["code"], asked["claims"], username)
    tried = request.session.get(TRIED, []) if asked["code"] else []
    response = redirect(flow.pop("auth_uri"))
    unfinished_sign_ins.keep(
        request,
        response,
        flow,
        next=back_to,
        again=again,
        tried=[*tried, asked["code"]] if asked["code"] else [],
    )
    return response


def _own_path(address: str) -> str:
    """Return ``address`` if it is a path of this site, else the home page."""
    is_own = url_has_allowed_host_and_scheme(address, allowed_hosts=None)
    if is_own and address.startswith("/") and len(address) <= MAX_NEXT_LENGTH:
        return address
    return reverse("azure_management_home")


def _to_problem_page(problem: Problem) -> HttpResponse:
    logger.warning("problem: %s", problem)
    reference = urlencode({"reference": correlation_id.get()})
    return redirect(f"{reverse('sign_in_problem', args=[problem.code])}?{reference}")
