"""Sign users in with MSAL, and get access tokens for the API.

No other module handles MSAL's responses. Protocol:
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
"""

import json
import re
import warnings
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any

import msal
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase

from Helpers.entra import entra_client
from Helpers.errors import NotSignedIn, PageError, SignInRequired
from Helpers.managed_identity import managed_identity_token
from Helpers.session import IDENTITY, PendingSignIn
from Helpers.token_cache import sealed, token_cache

CLOCK_SKEW_SECONDS = 120
MAX_CLAIMS_BYTES = 4096

# MSAL raises these if a response from the browser or from Entra is malformed.
MSAL_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)

# The page for each of Entra's OAuth errors. Its texts and AADSTS numbers are not for programs:
# https://learn.microsoft.com/entra/identity-platform/reference-error-codes
PAGE_OF_ERROR = {
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
    "invalid_resource": "scope_rejected",
    "invalid_scope": "scope_rejected",
}

# MSAL recommends form_post. But Entra's response comes from another site, and a POST from there
# carries no SameSite=Lax cookie, so this app could not tell whose sign-in it completes.
warnings.filterwarnings("ignore", "response_mode='form_post' is recommended", UserWarning)


@dataclass(frozen=True)
class SignIn:
    """A completed sign-in: the user and the user's token cache."""

    identity: dict[str, str]
    token_cache: str  # encrypted, as the session keeps it


def begin_sign_in(
    pending: PendingSignIn | None = None, choose_account: bool = False
) -> dict[str, Any]:
    """Return MSAL's flow: ``auth_uri`` for the browser, the rest for ``complete_sign_in``.

    :param pending: the reason why the user must sign in again, if there is one.
    :param choose_account: ask Entra to show the account picker even if it remembers an account.
    :raises PageError: if Entra can't be reached.
    """
    # ``/.default`` asks for everything in the API's registration, including its own permission to
    # call Azure: the user consents for both apps at once (knownClientApplications).
    scope, prompt = settings.SCOPE, None
    if pending and pending.reason == "insufficient_scope":
        scope = settings.API_SCOPE
    if pending and pending.reason == "consent_required":
        prompt = "consent"
    if choose_account:
        prompt = "select_account"
    client = _client(msal.SerializableTokenCache())
    flow: dict[str, Any] = client.initiate_auth_code_flow(
        [scope],
        redirect_uri=settings.REDIRECT_URI,
        response_mode="query",
        claims_challenge=pending and pending.claims,
        login_hint=(pending and pending.username) or None,
        prompt=prompt,
    )
    return flow


def complete_sign_in(flow: dict[str, Any], answer: dict[str, str]) -> SignIn:
    """Redeem the code in ``answer``, the query of the callback.

    :raises PageError: if the sign-in failed.
    """
    if not answer.get("code") and not answer.get("error"):
        raise PageError("bad_request", "neither code nor error")
    tokens = msal.SerializableTokenCache()
    client = _client(tokens)
    try:
        result = client.acquire_token_by_auth_code_flow(dict(flow), answer)
    except MSAL_ERRORS as error:
        raise PageError("sign_in_refused", type(error).__name__) from error
    if "error" in result:
        raise _page_error(result)
    return SignIn(_identity(result.get("id_token_claims"), flow), sealed(tokens))


def acquire_token_silent(
    session: SessionBase, force_refresh: bool = False, claims: str | None = None
) -> str:
    """Return an access token for the API and the user of ``session``, from the cache or Entra.

    :raises NotSignedIn: if the session has no user.
    :raises SignInRequired: if the user must sign in.
    :raises PageError: if Entra can't be reached, or rejects this app.
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
                # If an early renewal fails, MSAL returns the old token, which is still valid.
                http_exceptions=(PageError,),
            )
        except MSAL_ERRORS as error:
            raise PageError("entra_unavailable", type(error).__name__) from error
    if not result:
        raise SignInRequired("no_token")
    if "error" in result:
        raise _silent_error(result, claims)
    access_token = result.get("access_token")
    if not isinstance(access_token, str) or not re.fullmatch("[!-~]+", access_token):
        raise PageError("entra_unavailable", "no usable access token in the response")
    return access_token


def _identity(unverified_claims: Any, flow: dict[str, Any]) -> dict[str, str]:
    """Return the user's identity if the ID token is for this app (OpenID Connect Core 3.1.3.7).

    MSAL 1.38 and later only decode the token. Its signature need not be checked, because it came
    directly from Entra over TLS. ``oid`` and ``tid`` identify the account; a user name can change.
    """
    claims = unverified_claims if isinstance(unverified_claims, dict) else {}
    expected = {
        "iss": f"{settings.AUTHORITY}/v2.0",
        "aud": settings.CLIENT_ID,
        "tid": settings.AUTHORITY.rpartition("/")[2],
        "nonce": sha256(flow["nonce"].encode()).hexdigest(),  # as MSAL sent it
    }
    for name, value in expected.items():
        if claims.get(name) != value:
            raise PageError("id_token_rejected", f"the ID token has a wrong {name}")
    expires, oid = claims.get("exp"), claims.get("oid")
    if type(expires) is not int or expires < time() - CLOCK_SKEW_SECONDS:
        raise PageError("id_token_rejected", "the ID token has a wrong exp")
    if not isinstance(oid, str) or not oid:
        raise PageError("id_token_rejected", "the ID token has a wrong oid")
    username = _text(claims.get("preferred_username"))
    return {
        "oid": oid,
        "tid": expected["tid"],
        "name": _text(claims.get("name")) or username or "Signed in",
        "username": username,
        "logout_hint": _text(claims.get("login_hint")),
    }


def _text(claim: object) -> str:
    """Return ``claim`` as text that UTF-8 can encode; JSON may contain a lone surrogate."""
    return str(claim or "").encode(errors="replace").decode()


def checked_claims(text: object) -> str | None:
    """Return ``text`` if it is a claims request of an acceptable size, else ``None``.

    Format: a JSON object, OpenID Connect Core section 5.5. MSAL adds to its member
    ``access_token``, so that must be an object too.
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
    """Return a client for one user's tokens. That is cheap, because discovery is cached."""
    try:
        return msal.ConfidentialClientApplication(
            settings.CLIENT_ID,
            client_credential=_credential(),
            authority=settings.AUTHORITY,
            instance_discovery=False,  # the authority is configured, not guessed
            client_capabilities=["cp1"],  # this app understands claims challenges
            http_client=entra_client(settings.AUTHORITY, settings.CA_BUNDLE),
            token_cache=tokens,
        )
    except (OSError, *MSAL_ERRORS) as error:  # an unknown tenant; a missing or invalid file
        raise PageError("ui_misconfigured", type(error).__name__) from error


def _credential() -> str | dict[str, Any]:
    """Return the credential. Files are read each time, because they are replaced before expiry."""
    if settings.CLIENT_CERTIFICATE:
        pem = Path(settings.CLIENT_CERTIFICATE).read_text(encoding="ascii")
        return {"private_key": pem, "public_certificate": pem}
    if settings.CLIENT_ASSERTION_FILE:
        token = Path(settings.CLIENT_ASSERTION_FILE).read_text(encoding="ascii").strip()
        return {"client_assertion": lambda: token}
    if settings.MANAGED_IDENTITY_CLIENT_ID:
        return {"client_assertion": managed_identity_token}
    return str(settings.CLIENT_SECRET)


def _page_error(result: dict[str, Any]) -> PageError:
    """Return the page for an OAuth error from Entra. Its AADSTS numbers and trace ID are logged.

    ``error_description`` contains them both in the callback's query and in the token endpoint's
    response: "AADSTS65001: The user or administrator has not consented ... Trace ID: ...".
    """
    error = str(result["error"])
    if result.get("suberror") == "consent_required":
        error = "consent_required"
    description = str(result.get("error_description"))
    details = re.findall(r"AADSTS\d{1,8}\b|Trace ID: [0-9a-f-]{36}\b", description)[:5]
    known_error = error if error in PAGE_OF_ERROR else "another"
    reason = " ".join([f"error={known_error}", *details])
    return PageError(PAGE_OF_ERROR.get(error, "sign_in_refused"), reason)


def _silent_error(result: dict[str, Any], claims: str | None) -> PageError:
    """Return the error for a rejected refresh token: usually, the user must sign in."""
    error = _page_error(result)
    if error.code == "consent_required":
        return SignInRequired(error.code)
    if error.code not in ("sign_in_expired", "login_required"):
        return error
    if claims := checked_claims(result.get("claims")) or claims:
        return SignInRequired("claims_challenge", claims=claims)
    return SignInRequired("session_ended")
