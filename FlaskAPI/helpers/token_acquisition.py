"""Exchange the caller's access token for one to Azure Resource Manager, on behalf of the user.

Protocol: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow
"""

import threading
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic, time
from typing import Any
from weakref import WeakValueDictionary

import msal
import requests
from cachetools import TLRUCache
from flask import current_app, g

from helpers.claims_challenges import checked_claims, encode_claims
from helpers.errors import ApiError, AuthError, DownstreamError
from helpers.http_session import retry_after_seconds
from helpers.request_context import describe_hop, hop, time_budget

REFRESH_EARLY_SECONDS = 300  # so long before a cached token ends, a new one is asked for
RETRY_SECONDS = 30  # after an early refresh that failed
MAX_CACHED_TOKENS = 10_000
MAX_RETRY_AFTER_SECONDS = 120


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


@dataclass
class _Token:
    access_token: str
    refresh_at: float  # monotonic seconds, like the next
    ends_at: float


class OnBehalfOf:
    """One confidential client for all threads and users, and a cache of access tokens.

    MSAL Python never reads its own token cache in this flow, so that is switched off. Ours is
    keyed by the user assertion: what one sign-in achieved is of no use to another.
    """

    def __init__(self, settings: dict[str, str], session: requests.Session) -> None:
        self._settings = settings
        self._session = session
        self._client: msal.ConfidentialClientApplication | None = None
        self._lock = threading.Lock()
        self._tokens: TLRUCache[bytes, _Token] = TLRUCache(
            MAX_CACHED_TOKENS, ttu=lambda _, token, now: token.ends_at, timer=monotonic
        )
        self._exchanges: WeakValueDictionary[bytes, Any] = WeakValueDictionary()

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
        key = sha256(user_assertion.encode()).digest()

        def cached() -> _Token | None:
            with self._lock:
                token = self._tokens.get(key)
            return token if token and token.access_token != rejected_token else None

        def exchange() -> _Token:
            describe_hop("obo", "miss")
            token = self._exchange(user_assertion, assertion_ends, claims_challenge)
            with self._lock:
                self._tokens[key] = token
            return token

        describe_hop("obo", "hit")
        token = cached()
        if token and monotonic() < token.refresh_at:
            return token.access_token
        with self._lock:
            exchanging = self._exchanges.setdefault(key, threading.Lock())
        if token is None:
            with exchanging:
                return (cached() or exchange()).access_token
        # The token still works: one thread renews it, the others don't wait.
        if exchanging.acquire(blocking=False):
            try:
                token.refresh_at = monotonic() + RETRY_SECONDS
                token = exchange()
            except ApiError:
                describe_hop("obo", "hit")
            finally:
                exchanging.release()
        return token.access_token

    def _exchange(
        self, user_assertion: str, assertion_ends: int, claims_challenge: str | None
    ) -> _Token:
        client = self._confidential_client()
        try:
            result = client.acquire_token_on_behalf_of(
                user_assertion, [self._settings["SCOPE"]], claims_challenge=claims_challenge
            )
            if "error" in result:
                raise _refusal(result, self._settings["CLIENT_ID"])
            access_token, seconds = str(result["access_token"]), int(result["expires_in"])
        except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
            # What MSAL and the lines above raise when JSON of another shape comes back.
            raise DownstreamError("idp_unavailable", "not a token response") from error
        if seconds <= 0 or str(result.get("token_type")).lower() != "bearer":
            raise DownstreamError("idp_unavailable", "not a usable token")
        now = monotonic()
        return _Token(
            access_token,
            refresh_at=now + seconds - min(REFRESH_EARLY_SECONDS, seconds / 2),
            ends_at=now + min(seconds, assertion_ends - time()),
        )

    def _confidential_client(self) -> msal.ConfidentialClientApplication:
        with self._lock:
            client = self._client
        # Built on first use, since the constructor asks Entra for its addresses. Should two
        # threads build at once, no harm is done.
        if client is None:
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
            except ValueError as error:  # MSAL's word for discovery's 4xx
                raise DownstreamError("api_misconfigured", "AUTHORITY was refused") from error
            with self._lock:
                self._client = client
        return client


class _NoTokenCache(msal.TokenCache):  # type: ignore[misc]  # MSAL has no types
    """Forgets, since MSAL would only ever write to it."""

    def add(self, event: dict[str, Any], **kwargs: Any) -> None:
        pass


class _NoReplay(dict[str, Any]):
    """Keeps MSAL from answering one user's exchange with what Entra answered to another.

    MSAL remembers throttled and failed requests so as not to repeat them, but its key for this
    flow has no user in it.
    """

    def __setitem__(self, key: str, value: Any) -> None:
        if not key.startswith("POST "):
            super().__setitem__(key, value)


class _EntraClient:
    """The HTTP client that MSAL asks for: lets only OAuth answers through to it."""

    def __init__(self, session: requests.Session) -> None:
        self._session = session

    def get(self, url: str, **kwargs: Any) -> requests.Response:
        return self._send("GET", url, **kwargs)

    def post(self, url: str, **kwargs: Any) -> requests.Response:
        return self._send("POST", url, **kwargs)

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
            is_object = isinstance(response.json(), dict)
        except requests.Timeout as error:
            raise DownstreamError("idp_timeout") from error
        except (requests.RequestException, RecursionError) as error:
            raise DownstreamError("idp_unavailable", type(error).__name__) from error
        if response.status_code == 429:
            wait = retry_after_seconds(response, MAX_RETRY_AFTER_SECONDS)
            raise DownstreamError("idp_throttled", retry_after=wait)
        if response.status_code >= 500 or not is_object:
            raise DownstreamError("idp_unavailable", f"status {response.status_code}")
        return response


def _credential(settings: dict[str, str]) -> str | dict[str, str]:
    if certificate := settings["CLIENT_CERTIFICATE"]:
        pem = Path(certificate).read_text(encoding="ascii")
        return {"private_key": pem, "public_certificate": pem}
    return settings["CLIENT_SECRET"]


def _refusal(result: dict[str, Any], client_id: str) -> ApiError:
    """Return what an OAuth error means here; its text and numbers are for the log of Entra only.

    https://learn.microsoft.com/entra/identity-platform/reference-error-codes asks not to branch
    on AADSTS numbers, so ``error``, ``suberror`` and ``claims`` decide.
    """
    error, suberror = str(result["error"]), str(result.get("suberror"))
    reason = f"error={error[:40]!r} trace_id={str(result.get('trace_id'))[:36]!r}"
    if claims := checked_claims(result.get("claims")):
        return AuthError("claims_challenge", reason, challenge={"claims": encode_claims(claims)})
    if "consent_required" in (error, suberror):
        scope = f"api://{client_id}/.default"
        return AuthError(
            "consent_required", reason, challenge={"scope": scope}, details={"scopes": [scope]}
        )
    if error in ("interaction_required", "invalid_grant", "login_required"):
        return AuthError("assertion_rejected", reason)
    if error == "temporarily_unavailable":
        return DownstreamError("idp_throttled", reason)
    if error in ("server_error", "service_unavailable"):
        return DownstreamError("idp_unavailable", reason)
    return DownstreamError("api_misconfigured", reason)
