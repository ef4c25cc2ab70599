"""Exchange the caller's access token for one to Azure Resource Manager, on behalf of the user.

Protocol: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow
"""

import json
import re
import threading
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass
from functools import partialmethod
from hashlib import sha256
from pathlib import Path
from time import monotonic, time
from typing import Any

import msal
import requests
from cachetools import TLRUCache
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from flask import current_app, g

from helpers.claims_challenges import checked_claims, encode_claims
from helpers.errors import ApiError, AuthError, DownstreamError
from helpers.http_session import retry_after_seconds
from helpers.request_context import describe_hop, hop, seconds_left, time_budget

REFRESH_EARLY_SECONDS = 300  # so long before a cached token ends, a new one is asked for
RETRY_SECONDS = 30  # after an early refresh that failed
REFUSAL_SECONDS = 15  # so long a refusal is repeated without asking Entra
MAX_CACHED_ASSERTIONS = 25_000  # least recently used ones go; about 3 KiB each
MAX_RETRY_AFTER_SECONDS = 120
# What MSAL raises when JSON of another shape comes back.
UNEXPECTED_JSON = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)


def acquire_token_on_behalf_of(
    user_assertion: str, rejected_token: str = "", claims_challenge: str | None = None
) -> str:
    """Return an access token for the downstream API, as the user of ``user_assertion``.

    When the downstream API rejected a token, pass that, and the claims (JSON) it asked for.

    :raises AuthError: ``consent_required``, ``claims_challenge`` or ``assertion_rejected``.
    :raises DownstreamError: when Entra can't do it, whoever the user is.
    """
    on_behalf_of: OnBehalfOf = current_app.extensions["on_behalf_of"]
    with hop("obo"):
        return on_behalf_of.acquire(
            user_assertion, g.claims["exp"], rejected_token, claims_challenge
        )


@dataclass(slots=True)
class _Outcome:
    """What came of an exchange: a token, or an error. Times are monotonic seconds."""

    answer: str | ApiError
    refresh_at: float
    ends_at: float


class OnBehalfOf:
    """One confidential client for all threads and users, and a cache of what came of exchanges.

    MSAL Python never reads its own token cache in this flow, so that is switched off. Ours is
    keyed by the user assertion: what one sign-in achieved, or failed at, is of no use to another.
    """

    def __init__(self, settings: dict[str, str], session: requests.Session) -> None:
        self._settings = settings
        self._asked = "{CLIENT_ID} {AUTHORITY} {SCOPE}".format_map(settings)
        self._session = session
        self._client: msal.ConfidentialClientApplication | None = None
        self._lock = threading.Lock()
        self._outcomes: TLRUCache[bytes, _Outcome] = TLRUCache(
            MAX_CACHED_ASSERTIONS, ttu=lambda _, outcome, now: outcome.ends_at, timer=monotonic
        )
        self._exchanges: dict[tuple[bytes, str | None], Future[str | ApiError]] = {}

    def acquire(
        self,
        user_assertion: str,
        assertion_ends: int,
        rejected_token: str = "",
        claims_challenge: str | None = None,
    ) -> str:
        """Return a token from the cache or from Entra; threads that ask alike share one exchange.

        ``assertion_ends`` in seconds since the epoch, UTC: no cached token outlives its assertion.
        """
        key = sha256(f"{self._asked} {user_assertion}".encode()).digest()
        with self._lock:
            known = self._outcomes.get(key)
            if known and known.answer == rejected_token:
                self._outcomes.pop(key, None)
                known = None
            exchange = self._exchanges.get((key, claims_challenge))
            if known and (exchange or monotonic() < known.refresh_at):
                describe_hop("obo", "hit")  # maybe while another thread gets the next token
                return _use(known.answer)
            if is_first := exchange is None:
                exchange = self._exchanges[key, claims_challenge] = Future()

        describe_hop("obo", "miss")
        if not is_first:
            try:
                return _use(exchange.result(seconds_left()))
            except TimeoutError as error:
                raise DownstreamError("idp_timeout", "another thread still asks") from error
        # Those who wait get an answer whatever happens here.
        outcome = _Outcome(ApiError("internal_error"), 0, 0)
        try:
            outcome = self._exchange(user_assertion, assertion_ends, claims_challenge)
        except ApiError as error:
            now = monotonic()
            if known:  # its token still works
                outcome = _Outcome(known.answer, now + RETRY_SECONDS, known.ends_at)
            else:
                seconds = REFUSAL_SECONDS if isinstance(error, AuthError) else 0
                outcome = _Outcome(copy(error), now + seconds, now + seconds)
        finally:
            with self._lock:
                self._outcomes[key] = outcome  # the cache takes nothing that has ended
                del self._exchanges[key, claims_challenge]
            exchange.set_result(outcome.answer)
        return _use(outcome.answer)

    def _exchange(
        self, user_assertion: str, assertion_ends: int, claims_challenge: str | None
    ) -> _Outcome:
        """Ask Entra.

        :raises ApiError: when no token comes of it.
        """
        client = self._confidential_client()
        now = monotonic()
        try:
            result = client.acquire_token_on_behalf_of(
                user_assertion, [self._settings["SCOPE"]], claims_challenge=claims_challenge
            )
            if "error" in result:
                raise _refusal(result, self._settings["CLIENT_ID"], claims_challenge)
            access_token, seconds = result["access_token"], int(result["expires_in"])
            is_bearer = result["token_type"].lower() == "bearer"
            if not is_bearer or seconds <= 0 or not re.fullmatch("[!-~]+", access_token):
                raise ValueError("not a usable token")
            refresh_at = now + seconds - min(REFRESH_EARLY_SECONDS, seconds / 2)
            return _Outcome(access_token, refresh_at, now + min(seconds, assertion_ends - time()))
        except UNEXPECTED_JSON as error:
            raise DownstreamError("idp_unavailable", "not a token response") from error

    def _confidential_client(self) -> msal.ConfidentialClientApplication:
        # Built on first use, since the constructor asks Entra for its addresses. Should two
        # threads build at once, no harm is done.
        if self._client is None:
            try:
                client = msal.ConfidentialClientApplication(
                    self._settings["CLIENT_ID"],
                    client_credential=_credential(self._settings),
                    authority=self._settings["AUTHORITY"],
                    instance_discovery=False,  # the authority is configured, not guessed
                    client_capabilities=["cp1"],  # this API relays claims challenges
                    exclude_scopes=["offline_access"],  # no refresh token is kept here
                    http_client=_EntraClient(self._session),
                    http_cache=_NoReplay(),
                    token_cache=_NoTokenCache(),
                )
            except ValueError as error:  # discovery's 4xx; a file without a certificate
                raise DownstreamError("api_misconfigured", type(error).__name__) from error
            except UNEXPECTED_JSON as error:
                raise DownstreamError("idp_unavailable", "not a discovery document") from error
            # MSAL takes whatever address discovery names. The secret goes to the authority alone.
            if not client.authority.token_endpoint.startswith(f"{self._settings['AUTHORITY']}/"):
                raise DownstreamError("idp_unavailable", "discovery leads elsewhere")
            self._client = client
        return self._client


def _use(answer: str | ApiError) -> str:
    """Return a token; raise an error as a copy, since a shared one would gather tracebacks."""
    if isinstance(answer, str):
        return answer
    raise copy(answer)


class _NoTokenCache(msal.TokenCache):  # type: ignore[misc]  # MSAL has no types
    """Forgets, since MSAL would only ever write to it."""

    def add(self, event: dict[str, Any], **kwargs: Any) -> None:
        pass


class _NoReplay(dict[str, Any]):
    """Keeps MSAL from answering one user's exchange with what Entra answered to another.

    MSAL remembers throttled and failed requests so as not to repeat them, but its key for this
    flow has no user in it. Here it remembers nothing.
    """

    def __setitem__(self, key: str, value: Any) -> None:
        pass


class _EntraClient:
    """The HTTP client that MSAL asks for: lets only OAuth answers through to it."""

    def __init__(self, session: requests.Session) -> None:
        self._session = session

    def close(self) -> None:
        """Do nothing: the session belongs to the app."""

    def _send(
        self, method: str, url: str, headers: dict[str, str] | None = None, **kwargs: Any
    ) -> requests.Response:
        headers = {**(headers or {}), "client-request-id": g.correlation_id}
        try:
            response = self._session.request(
                method, url, headers=headers, timeout=time_budget(), **kwargs
            )
        except requests.Timeout as error:
            raise DownstreamError("idp_timeout") from error
        except requests.RequestException as error:
            raise DownstreamError("idp_unavailable", type(error).__name__) from error
        try:
            body = json.loads(response.content)
        except (ValueError, RecursionError):
            body = None
        code = body.get("error", "") if isinstance(body, dict) else None
        if response.status_code == 429 or code == "temporarily_unavailable":
            wait = retry_after_seconds(response, MAX_RETRY_AFTER_SECONDS)
            raise DownstreamError("idp_throttled", retry_after=wait)
        # One word, since MSAL repeats it in a header of its next requests, whoever they are for.
        is_oauth = isinstance(code, str) and re.fullmatch(r"[\w.-]{0,64}", code, re.ASCII)
        if response.status_code // 100 not in (2, 4) or not is_oauth:
            raise DownstreamError("idp_unavailable", f"status {response.status_code}")
        return response

    get = partialmethod(_send, "GET")
    post = partialmethod(_send, "POST")


def _credential(settings: dict[str, str]) -> str | dict[str, str]:
    """Return the secret, or the RSA key and certificate of one PEM file.

    :raises DownstreamError: ``api_misconfigured``, since MSAL would only fail at the exchange.
    """
    if not (certificate := settings["CLIENT_CERTIFICATE"]):
        return settings["CLIENT_SECRET"]
    try:
        pem = Path(certificate).read_text(encoding="ascii")
        key = load_pem_private_key(pem.encode(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DownstreamError("api_misconfigured", type(error).__name__) from error
    if not isinstance(key, RSAPrivateKey):
        raise DownstreamError("api_misconfigured", "CLIENT_CERTIFICATE holds another key than RSA")
    return {"private_key": pem, "public_certificate": pem}


def _refusal(result: dict[str, Any], client_id: str, asked_claims: str | None) -> ApiError:
    """Return what an OAuth error means here; its text and numbers are for the log of Entra only.

    https://learn.microsoft.com/entra/identity-platform/reference-error-codes asks not to branch
    on AADSTS numbers, so ``error``, ``suberror`` and ``claims`` decide.
    """
    error, suberror = result["error"], result.get("suberror")
    trace_id = str(result.get("trace_id"))[:36]
    reason = f"error={error} {_numbers(result)} trace_id={trace_id!r}"
    rejected = error in ("interaction_required", "invalid_grant", "login_required")
    claims = checked_claims(result.get("claims"))
    if "consent_required" in (error, suberror) and not claims:
        scope = f"api://{client_id}/.default"
        return AuthError(
            "consent_required", reason, challenge={"scope": scope}, details={"scopes": [scope]}
        )
    if claims := claims or (asked_claims if rejected else None):
        return AuthError("claims_challenge", reason, challenge={"claims": encode_claims(claims)})
    if rejected:
        return AuthError("assertion_rejected", reason)
    if error in ("server_error", "service_unavailable"):
        return DownstreamError("idp_unavailable", reason)
    return DownstreamError("api_misconfigured", reason)


def _numbers(result: dict[str, Any]) -> str:
    """Return Entra's numbers of the error, such as ``AADSTS65001``, for whoever reads the log."""
    numbers = result.get("error_codes")
    known = numbers[:5] if isinstance(numbers, list) else []
    return " ".join(f"AADSTS{number}" for number in known if type(number) is int)
