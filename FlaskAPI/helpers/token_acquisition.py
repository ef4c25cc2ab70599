"""Call a downstream API on behalf of the user, by exchanging token A for token B.

Token A is the user assertion, for this API; token B is for the downstream API. Token B comes from
the cache (``_acquire_token``) or from Entra (``_exchange``). If Entra refuses, ``_refusal`` decides
which error the client gets: for consent, for another sign-in, or one that the user can't fix.
Protocol: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow
"""

import re
from collections.abc import Callable
from hashlib import sha256
from math import ceil
from time import monotonic, time
from typing import Any, TypeVar

from flask import current_app, g

from helpers.claims_challenges import checked_claims, encode_claims
from helpers.errors import AccessTokenRejected, ApiError, AuthError, DownstreamError
from helpers.request_scope import describe_timing, seconds_left, timed
from helpers.token_cache import CachedToken, TokenCache

REFRESH_EARLY_SECONDS = 300  # refresh a cached token this long before it expires
PAUSE_SECONDS = 60  # after a failed early refresh; the longest pause when Entra throttles

Result = TypeVar("Result")


def call_on_behalf_of(call: Callable[[str], Result]) -> Result:
    """Return ``call(access_token)``, called with the user's token for the downstream API.

    If that API rejects the token, for example because it was revoked, call once more with a new
    one that satisfies the claims challenge, if there is one.

    :raises AuthError: ``consent_required``, ``claims_challenge`` or ``assertion_rejected``.
    :raises DownstreamError: if Entra is unavailable or busy, this API's registration or credential
        is wrong, or the downstream API also rejects the new token.
    """
    claims: str | None = None
    for _ in range(2):  # the second time with a new token
        access_token = _acquire_token(claims)
        try:
            return call(access_token)
        except AccessTokenRejected as rejection:
            current_app.extensions["token_cache"].remove(cache_key(g.user_assertion), access_token)
            claims = rejection.claims or claims
    if claims:
        raise _claims_challenge(claims)
    raise DownstreamError("downstream_unauthorized")


def _acquire_token(claims: str | None) -> str:
    """Return token B from the cache or from Entra, with one exchange at a time per token A.

    :param claims: the JSON of the claims challenge that token B must satisfy.
    """
    cache: TokenCache = current_app.extensions["token_cache"]
    key = cache_key(g.user_assertion)
    with timed("obo"):
        describe_timing("obo", "hit")
        cached = _usable(cache.get(key), claims)
        if cached and monotonic() < cached.refresh_at:
            return cached.text
        # A token that is only due for refresh is used while another thread refreshes it.
        with cache.lock(key, 0 if cached else seconds_left()) as acquired:
            cached = _usable(cache.get(key), claims)
            if cached and (not acquired or monotonic() < cached.refresh_at):
                return cached.text
            describe_timing("obo", "miss")
            if not acquired:
                raise DownstreamError("idp_timeout", "another thread is still waiting for Entra")
            try:
                token = _exchange(claims)
            except ApiError as error:
                # Keep using the old token, unless it has been rejected in the meantime.
                if cached := _usable(cache.get(key), claims):
                    cached.refresh_at = monotonic() + PAUSE_SECONDS
                    return cached.text
                if error.code == "idp_throttled" and error.retry_after:
                    ends = monotonic() + min(error.retry_after, PAUSE_SECONDS)
                    cache.put(key, CachedToken("", ends, ends))
                raise
            cache.put(key, token)
            return token.text


def _usable(cached: CachedToken | None, claims: str | None) -> CachedToken | None:
    """Return ``cached`` if it satisfies ``claims``.

    :raises DownstreamError: ``idp_throttled`` while Entra throttles requests with this token A.
    """
    if cached and not cached.text:
        raise DownstreamError("idp_throttled", retry_after=ceil(cached.expires_at - monotonic()))
    return cached if cached and claims in (None, cached.claims) else None


def _exchange(claims: str | None) -> CachedToken:
    """Exchange token A for token B.

    :raises ApiError: the error that the client gets if Entra refuses or is unavailable.
    """
    started = monotonic()
    answer = current_app.extensions["entra"].exchange(g.user_assertion, claims)
    if "error" in answer:
        raise _refusal(answer, claims)
    try:
        text, seconds = answer["access_token"], int(answer["expires_in"])
        is_bearer = answer["token_type"].lower() == "bearer"
        if not is_bearer or seconds <= 0 or not re.fullmatch("[!-~]+", text):
            raise ValueError("not a usable token")
        # Cache token B no longer than the token A that it was issued for.
        lifetime = min(seconds, g.claims["exp"] - time())
        refresh_at = started + seconds - min(REFRESH_EARLY_SECONDS, seconds / 2)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DownstreamError("idp_unavailable", "not a token response") from error
    return CachedToken(text, started + lifetime, refresh_at, claims)


def _refusal(answer: dict[str, Any], claims_sent: str | None) -> ApiError:
    """Return the error that the client gets for Entra's OAuth error.

    https://learn.microsoft.com/entra/identity-platform/reference-error-codes advises against
    branching on AADSTS numbers, so ``error``, ``suberror`` and ``claims`` decide.
    """
    error, suberror = answer["error"], answer.get("suberror")
    numbers = re.findall(r"\d{1,9}", str(answer.get("error_codes")))[:5]
    aadsts = " ".join(f"AADSTS{number}" for number in numbers)
    reason = f"error={error} {aadsts} trace_id={str(answer.get('trace_id'))[:36]!r}"
    needs_sign_in = error in ("interaction_required", "invalid_grant", "login_required")
    claims = checked_claims(answer.get("claims"))
    if "consent_required" in (error, suberror) and not claims:
        scope = f"api://{current_app.config['CLIENT_ID']}/.default"
        return AuthError("consent_required", reason, {"scope": scope}, {"scopes": [scope]})
    if claims := claims or (claims_sent if needs_sign_in else None):
        return _claims_challenge(claims, reason)
    if needs_sign_in:
        return AuthError("assertion_rejected", reason)
    if error in ("server_error", "service_unavailable"):
        return DownstreamError("idp_unavailable", reason)
    return DownstreamError("api_misconfigured", reason)


def _claims_challenge(claims: str, reason: str = "") -> AuthError:
    """Return the error that tells the client which ``claims`` (JSON) its next token needs."""
    return AuthError("claims_challenge", reason, {"claims": encode_claims(claims)})


def cache_key(user_assertion: str) -> bytes:
    """Return the cache key of a validated assertion, for any valid encoding of its signature."""
    signed = user_assertion.rpartition(".")[0]
    exchange = "{CLIENT_ID} {AUTHORITY} {SCOPE} ".format_map(current_app.config)
    return sha256((exchange + signed).encode()).digest()
