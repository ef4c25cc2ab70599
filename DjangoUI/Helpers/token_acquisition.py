"""Sign users in, and get access tokens to the API for them, with MSAL.

Above this module nobody sees one of MSAL's dicts. Protocol:
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
"""

import json
import re
import threading
import warnings
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any

import msal
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase

from Helpers.entra import entra
from Helpers.errors import NotSignedIn, Problem, SignInRequired
from Helpers.session import IDENTITY
from Helpers.token_cache import sealed, token_cache

CLOCK_SKEW_SECONDS = 120
MAX_CLAIMS_BYTES = 4096

# What MSAL raises when the browser or Entra sends something of another shape or value.
MSAL_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    AssertionError,
)

# What Entra's OAuth errors mean for the user. Its texts and AADSTS numbers are not for programs:
# https://learn.microsoft.com/entra/identity-platform/reference-error-codes
PROBLEM_OF_ERROR = {
    "access_denied": "access_denied",
    "consent_required": "consent_required",
    "login_required": "login_required",
    "interaction_required": "login_required",
    "invalid_grant": "sign_in_expired",
    "temporarily_unavailable": "entra_busy",
    "server_error": "entra_unavailable",
    "service_unavailable": "entra_unavailable",
    "invalid_client": "ui_misconfigured",
    "unauthorized_client": "ui_misconfigured",
    "invalid_request": "ui_misconfigured",
    "invalid_resource": "ui_misconfigured",
    "invalid_scope": "ui_misconfigured",
}

_warnings = threading.Lock()


@dataclass(frozen=True)
class SignIn:
    """A finished sign-in: who it is, and the token cache that belongs to it."""

    identity: dict[str, str]
    token_cache: str  # encrypted, as the session keeps it


def begin_sign_in(
    code: str = "", claims: str | None = None, username: str = "", choose_account: bool = False
) -> dict[str, Any]:
    """Return MSAL's flow: ``auth_uri`` to send the browser to, and what to keep until the answer.

    :param code: why the user has to sign in again, if that is so (see ``SignInRequired``).
    :param claims: JSON that the API or Entra asked to pass on.
    :param username: whom to suggest on the sign-in page.
    :param choose_account: let Entra ask for the account, though it remembers one.
    :raises Problem: when Entra can't be asked for its addresses.
    """
    # All that the API's registration lists, its own permission to call Azure included: with
    # ``/.default`` the user consents for both apps at once (knownClientApplications).
    scope = settings.API_SCOPE if code == "insufficient_scope" else settings.SCOPE
    prompt = "consent" if code == "consent_required" else None
    if choose_account:
        prompt = "select_account"
    client = _client(msal.SerializableTokenCache())
    with _warnings, warnings.catch_warnings():
        # MSAL recommends form_post. But Entra's answer comes from another site, and a POST from
        # there brings no SameSite=Lax cookie, so this app could not tell whose sign-in it ends.
        warnings.filterwarnings("ignore", "response_mode='form_post' is recommended", UserWarning)
        flow: dict[str, Any] = client.initiate_auth_code_flow(
            [scope],
            redirect_uri=settings.REDIRECT_URI,
            response_mode="query",
            claims_challenge=claims,
            login_hint=username or None,
            prompt=prompt,
        )
    return flow


def complete_sign_in(flow: dict[str, Any], answer: dict[str, str]) -> SignIn:
    """Redeem the code in ``answer``, the query that Entra sent the browser back with.

    :raises Problem: for each way in which a sign-in ends without success.
    """
    tokens = msal.SerializableTokenCache()
    client = _client(tokens)
    try:
        result = client.acquire_token_by_auth_code_flow(dict(flow), answer)
    except MSAL_ERRORS as error:
        raise Problem("sign_in_refused", type(error).__name__) from error
    if "error" in result:
        raise _problem(result)
    return SignIn(_identity(result.get("id_token_claims"), flow), sealed(tokens))


def acquire_token_silent(
    session: SessionBase, force_refresh: bool = False, claims: str | None = None
) -> str:
    """Return an access token to the API for the user of ``session``, from the cache or from Entra.

    :raises NotSignedIn: when the session has no user.
    :raises SignInRequired: when Entra wants to see the user.
    :raises Problem: when Entra can't be asked.
    """
    if IDENTITY not in session:
        raise NotSignedIn
    with token_cache(session) as tokens:
        client = _client(tokens)
        account = next(iter(client.get_accounts()), None)
        try:
            result = client.acquire_token_silent_with_error(
                [settings.API_SCOPE],
                account,
                force_refresh=force_refresh,
                claims_challenge=claims,
                # Entra down while a token is renewed ahead of time: the old one still works.
                http_exceptions=(Problem,),
            )
        except MSAL_ERRORS as error:
            raise Problem("entra_unavailable", type(error).__name__) from error
    if not result:
        raise SignInRequired("no_token")
    if "error" in result:
        raise _silent_problem(result, claims)
    access_token = result.get("access_token")
    if not isinstance(access_token, str) or not re.fullmatch("[!-~]+", access_token):
        raise Problem("entra_unavailable", "an answer without a usable access token")
    return access_token


def _identity(unverified_claims: Any, flow: dict[str, Any]) -> dict[str, str]:
    """Return who signed in, once the id_token proves to be ours (OpenID Connect Core 3.1.3.7).

    MSAL 1.38 and later only decode it. Its signature need not be checked, since it came from
    Entra itself, over TLS. ``oid`` and ``tid`` name a person for good; a user name does not.
    """
    claims = unverified_claims if isinstance(unverified_claims, dict) else {}
    issuer = entra().discovery().get("issuer", "")
    tenant_id = settings.AUTHORITY.rpartition("/")[2]
    expires = claims.get("exp")
    nonce = sha256(flow["nonce"].encode()).hexdigest()  # as MSAL sent it
    for name, is_good in {
        "iss": claims.get("iss") == issuer and f"/{tenant_id}/" in issuer,
        "aud": claims.get("aud") == settings.CLIENT_ID,
        "tid": claims.get("tid") == tenant_id,
        "exp": type(expires) is int and expires > time() - CLOCK_SKEW_SECONDS,
        "nonce": claims.get("nonce") == nonce,
        "oid": bool(claims.get("oid")) and isinstance(claims["oid"], str),
    }.items():
        if not is_good:
            raise Problem("id_token_rejected", f"id_token has a wrong {name}")
    username = _text(claims.get("preferred_username"))
    return {
        "oid": claims["oid"],
        "tid": tenant_id,
        "name": _text(claims.get("name")) or username or "Signed in",
        "username": username,
        "logout_hint": _text(claims.get("login_hint")),
    }


def _text(claim: object) -> str:
    """Return ``claim`` as text that fits into a page; JSON may hold half a character."""
    return str(claim or "").encode(errors="replace").decode()


def checked_claims(text: object) -> str | None:
    """Return ``text`` if it is a claims request of a sane size, as it goes to Entra.

    Format: a JSON object, OpenID Connect Core section 5.5. MSAL adds to its member
    ``access_token``, so that has to be an object too.
    """
    try:
        if not isinstance(text, str) or len(text.encode()) > MAX_CLAIMS_BYTES:
            return None
        claims = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_request = isinstance(claims, dict) and isinstance(claims.get("access_token", {}), dict)
    return text if is_request else None


def _client(tokens: msal.SerializableTokenCache) -> msal.ConfidentialClientApplication:
    """Return a client for one user's tokens. It is cheap: discovery comes from memory."""
    try:
        return msal.ConfidentialClientApplication(
            settings.CLIENT_ID,
            client_credential=_credential(),
            authority=settings.AUTHORITY,
            instance_discovery=False,  # the authority is configured, not guessed
            client_capabilities=["cp1"],  # this app understands claims challenges
            http_client=entra(),
            token_cache=tokens,
        )
    except (OSError, *MSAL_ERRORS) as error:  # an unknown tenant; no certificate, or none any more
        raise Problem("ui_misconfigured", type(error).__name__) from error


def _credential() -> str | dict[str, str]:
    if settings.CLIENT_CERTIFICATE:
        pem = Path(settings.CLIENT_CERTIFICATE).read_text(encoding="ascii")
        return {"private_key": pem, "public_certificate": pem}
    return str(settings.CLIENT_SECRET)


def _problem(result: dict[str, Any]) -> Problem:
    error, suberror = str(result["error"]), str(result.get("suberror"))
    if suberror == "consent_required":
        error = suberror
    code = PROBLEM_OF_ERROR.get(error, "sign_in_refused")
    known = error if error in PROBLEM_OF_ERROR else "another"
    trace_id = str(result.get("trace_id"))[:36]
    return Problem(code, f"error={known} {_numbers(result)} trace_id={trace_id!r}")


def _numbers(result: dict[str, Any]) -> str:
    """Return Entra's numbers of the error, such as ``AADSTS65001``, for whoever reads the log."""
    numbers = result.get("error_codes")
    known = numbers[:5] if isinstance(numbers, list) else []
    return " ".join(f"AADSTS{number}" for number in known if type(number) is int)


def _silent_problem(result: dict[str, Any], claims: str | None) -> Problem:
    """Return what to do when a refresh token was refused: mostly, ask the user."""
    problem = _problem(result)
    if problem.code == "consent_required":
        return SignInRequired(problem.code)
    if problem.code not in ("sign_in_expired", "login_required"):
        return problem
    if asked := checked_claims(result.get("claims")) or claims:
        return SignInRequired("claims_challenge", asked)
    return SignInRequired("session_ended")
