"""The error pages, as one table, and the exceptions that lead to them."""

import ssl
from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """The content of an error page."""

    status: int
    title: str
    text: str = ""  # what happened and what to do next; error.html adds when to try again
    action: str = "retry"  # the button: "retry", "sign_in", "sign_out", "home", or "" for none


_TELL = "Trying again will not help. Give the reference below to the people who run this app."
_ADMIN = "or ask an administrator of your organization"
_AGAIN = "Sign in again. If that leads back here, tell the people who run this app."

# A table: status and title in one line, the text below.
# fmt: off
_ENTRA_BUSY = Page(503, "Microsoft Entra ID is busy")
_APP_MISTAKE = Page(502, "This app made a mistake", f"Its API got no access token. {_TELL}", "")
_SIGN_IN_ENDED = Page(403, "Your sign-in has ended",
    "Microsoft Entra ID no longer accepts it. The reason may be a changed password or a policy"
    f" of your organization. Sign in again, {_ADMIN} about your account.", "sign_in")

# Keyed by the "code" of the API's answers.
API_PAGES = {
    # The access token was rejected. If a new one may help, subscriptions.py tries that first.
    "authorization_header_missing": _APP_MISTAKE,
    "invalid_header": _APP_MISTAKE,
    "invalid_token": Page(502, "The API does not accept your sign-in",
        f"It rejected the access token and then a new one. {_AGAIN}", "sign_in"),
    "token_expired": Page(502, "The API says that your sign-in has expired",
        "It rejected even a new access token, so the clock of one server may be wrong. "
        f"{_AGAIN}", "sign_in"),
    "invalid_claims": Page(502, "This app and its API do not match",
        "The access token is for another API or another tenant, or has another version. "
        f"{_TELL}", ""),
    "insufficient_scope": Page(403, "A permission is missing",
        "The API requires a permission that this app does not have. "
        f"Sign in again and accept it, {_ADMIN} to approve the app.", "sign_in"),
    "app_only_token": Page(403, "The API accepts users only",
        f"The access token names no user. {_TELL}", ""),
    "client_not_allowed": Page(403, "This app may not call the API",
        f"It is not on the API’s list of allowed apps. {_TELL}", ""),
    # Entra does not let the API act for the user yet.
    "consent_required": Page(403, "An approval is missing",
        "The API may not call Azure for you yet. Sign in again and accept the "
        f"permissions, {_ADMIN} to approve them for everyone.", "sign_in"),
    "claims_challenge": Page(403, "Another sign-in step is required",
        "A policy requires another step, such as a second factor, a registered device or another"
        " network, and your sign-in did not complete it. Sign in again and complete that step,"
        f" {_ADMIN} about it.", "sign_in"),
    "assertion_rejected": _SIGN_IN_ENDED,
    # Entra does not issue a token, and the user can do nothing about it.
    "api_misconfigured": Page(502, "The API is not set up correctly",
        f"Microsoft Entra ID rejects its registration or its credential. {_TELL}", ""),
    "idp_throttled": _ENTRA_BUSY,
    "idp_unavailable": Page(502, "Microsoft Entra ID had an error"),
    "idp_timeout": Page(504, "Microsoft Entra ID took too long"),
    "keys_unavailable": Page(503, "Your access cannot be checked now"),
    # Azure Resource Manager.
    "downstream_unauthorized": Page(502, "Azure did not accept the API"),
    "downstream_forbidden": Page(403, "Azure does not let you see this",
        "Your account lacks a role for it. Ask an owner of the subscription for the Reader role."),
    "downstream_throttled": Page(429, "Azure is busy",
        "Too many requests were made for your account."),
    "downstream_unreachable": Page(502, "Azure cannot be reached"),
    "downstream_error": Page(502, "Azure had an error"),
    "downstream_timeout": Page(504, "Azure took too long"),
}

PAGES = API_PAGES | {
    "api_unreachable": Page(502, "The API cannot be reached",
        "The list comes from another app, which does not respond."),
    "api_timeout": Page(504, "The API took too long"),
    "api_error": Page(502, "The API had an error"),
    # Signing in.
    "sign_in_expired": Page(400, "This sign-in cannot be finished",
        "It started more than ten minutes ago or is already finished, or your browser did not keep"
        " its cookie. Sign in again. If that leads back here, allow cookies for this site.",
        "sign_in"),
    "access_denied": Page(403, "The sign-in was not completed",
        "It was canceled, a permission was declined, or only an administrator can grant what this"
        " app requests. If you can accept the permissions, sign in again and accept them. Otherwise"
        " ask an administrator of your organization to approve the app.", "sign_in"),
    "login_required": Page(403, "Your organization does not allow this sign-in",
        "A policy blocks it, or requires a step that you did not complete. Sign in again to"
        " complete that step or to use another account. Only an administrator of your organization"
        " can change the policy: give them the reference below.", "sign_in"),
    "session_ended": _SIGN_IN_ENDED,
    "no_token": Page(500, "This app has no access to its API",
        "You are signed in, but this app received no access token. Most likely API_SCOPE in its"
        " settings names a scope that the API’s registration does not have.", "sign_in"),
    "id_token_rejected": Page(502, "The answer to this sign-in cannot be trusted",
        f"It belongs to another sign-in, or the clock of one server is wrong. {_AGAIN}", "sign_in"),
    "sign_in_refused": Page(502, "Microsoft Entra ID did not complete the sign-in",
        f"This app does not recognize the reason. {_AGAIN}", "sign_in"),
    "ui_misconfigured": Page(500, "This app is not set up correctly",
        "Microsoft Entra ID rejects its registration or its credential, which may have expired. "
        f"{_TELL}", ""),
    "scope_rejected": Page(500, "This app is not set up correctly",
        "Microsoft Entra ID does not know the scope that it requests. SCOPE and API_SCOPE in its"
        f" settings must name scopes of the API’s registration. {_TELL}", ""),
    "entra_busy": _ENTRA_BUSY,
    "entra_unavailable": Page(503, "Microsoft Entra ID cannot be reached",
        "Nobody can sign in or get access without it."),
    # This app.
    "store_unavailable": Page(503, "This app cannot remember who is signed in",
        "Its session store does not respond. If you run this app, check that “python"
        " manage.py migrate” was run, that Redis responds if REDIS_URL is set, and that all"
        " instances share it."),
    "form_expired": Page(403, "You are not signed out yet",
        "The page that you used is older than your last sign-in, or your browser did not keep its"
        " cookie.", "sign_out"),
    "bad_request": Page(400, "This request cannot be answered",
        "It is malformed, or the host name in its address is not this app’s.", ""),
    "not_found": Page(404, "There is no such page", "The address may be misspelled.", "home"),
    "server_error": Page(500, "Something went wrong",
        "This app had an unexpected error. Wait a moment, then try again.", "home"),
}
# fmt: on


def failure_reason(error: BaseException) -> str:
    """Return the error's name and, for TLS, the reason. The rest may contain an address."""
    cause: BaseException | None = error
    while cause and not isinstance(cause, ssl.SSLError):
        cause = cause.__context__
    return f"{type(error).__name__}: {cause}" if cause else type(error).__name__


class PageError(Exception):
    """Ends the request with the page for ``code``, a key of ``PAGES``.

    ``reason`` goes to the log only. It must not contain a token, a code or text from outside.
    ``claims`` is the JSON of a claims challenge, for Entra.
    """

    def __init__(
        self, code: str, reason: str = "", retry_after: int | None = None, claims: str | None = None
    ) -> None:
        super().__init__(f"{code}: {reason}" if reason else code)
        self.code = code
        self.page = PAGES[code]
        self.retry_after = retry_after  # seconds
        self.claims = claims


class ApiRefusal(PageError):
    """The API answered with an error, or not at all."""


class SignInRequired(PageError):
    """The user must sign in again, for the reason that ``code`` names.

    Each reason sends the user to Entra once. If it occurs again right after that, the user sees
    its page.
    """


class NotSignedIn(Exception):
    """Nobody is signed in, so redirect the browser to the sign-in page."""
