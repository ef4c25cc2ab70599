"""Microsoft Entra ID's token endpoint: MSAL's client, its credential and its HTTP client."""

import re
from functools import lru_cache, partialmethod
from pathlib import Path
from typing import Any

import jwt
import msal
import requests
from flask import g

from helpers.errors import DownstreamError, failure_reason
from helpers.http_session import json_object, retry_after_seconds
from helpers.managed_identity import managed_identity_token
from helpers.request_scope import time_budget

MAX_RETRY_AFTER_SECONDS = 120


class Entra:
    """One MSAL client for all threads and users. It stores no tokens and no responses."""

    def __init__(self, settings: dict[str, str], session: requests.Session) -> None:
        self._settings = settings
        self._http_client = HttpClient(session)
        # Keyed by the content of the credential's file, so that a replaced file takes effect.
        self._client = lru_cache(maxsize=1)(self._confidential_client)

    def exchange(self, user_assertion: str, claims: str | None) -> dict[str, Any]:
        """Return Entra's answer to an on-behalf-of request: a token or an OAuth error.

        :param claims: the JSON of a claims challenge that the new token must satisfy.
        :raises DownstreamError: if Entra returns neither.
        """
        file = self._settings["CLIENT_CERTIFICATE"] or self._settings["CLIENT_ASSERTION_FILE"]
        try:
            # Built on first use, because the constructor calls Entra.
            client = self._client(Path(file).read_text("ascii", "replace").strip() if file else "")
            scope = self._settings["SCOPE"]
            return dict(client.acquire_token_on_behalf_of(user_assertion, [scope], claims))
        except OSError as error:  # the credential's file can't be read
            raise DownstreamError("api_misconfigured", type(error).__name__) from error
        # MSAL raises these for JSON of an unexpected shape.
        except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
            raise DownstreamError("idp_unavailable", "neither token nor error") from error

    def _confidential_client(self, in_file: str) -> msal.ConfidentialClientApplication:
        try:
            client = msal.ConfidentialClientApplication(
                self._settings["CLIENT_ID"],
                client_credential=self._credential(in_file),
                authority=self._settings["AUTHORITY"],
                instance_discovery=False,  # the authority is configured, not guessed
                client_capabilities=["cp1"],  # this API relays claims challenges
                exclude_scopes=["offline_access"],  # this API has no use for refresh tokens
                http_client=self._http_client,
                http_cache=NoReplay(),
                token_cache=NoTokenCache(),
            )
        except ValueError as error:  # a 4xx from discovery, or no certificate in the file
            raise DownstreamError("api_misconfigured", type(error).__name__) from error
        # MSAL accepts any address from discovery. Send the secret only to the authority.
        if not client.authority.token_endpoint.startswith(f"{self._settings['AUTHORITY']}/"):
            raise DownstreamError("idp_unavailable", "discovery names another token endpoint")
        return client

    def _credential(self, in_file: str) -> str | dict[str, Any]:
        """Return MSAL's ``client_credential``, which is ``in_file`` if the settings name a file.

        :raises DownstreamError: ``api_misconfigured``.
        """
        settings = self._settings
        if settings["CLIENT_SECRET"]:
            return settings["CLIENT_SECRET"]
        if settings["CLIENT_ASSERTION_FILE"]:
            return {"client_assertion": lambda: in_file}
        if settings["MANAGED_IDENTITY_CLIENT_ID"]:
            return {"client_assertion": lambda: managed_identity_token(settings, self._http_client)}
        try:
            jwt.encode({}, in_file, algorithm="RS256")  # MSAL would fail only at the exchange
        except Exception as error:
            raise DownstreamError("api_misconfigured", "no RSA key in the certificate") from error
        return {"private_key": in_file, "public_certificate": in_file}


class NoTokenCache(msal.TokenCache):  # type: ignore[misc]  # MSAL has no types
    """A cache that stays empty: MSAL writes on-behalf-of tokens to it but never reads them."""

    def add(self, event: dict[str, Any], **kwargs: Any) -> None:
        """Store nothing."""


class NoReplay(dict[str, Any]):
    """An ``http_cache`` that stays empty.

    MSAL caches throttled and failed responses in it without regard to the user, so one user would
    get Entra's response to another.
    """

    def __setitem__(self, key: str, value: Any) -> None:
        """Store nothing."""


class HttpClient:
    """MSAL's HTTP client. It returns only OAuth responses."""

    def __init__(self, session: requests.Session) -> None:
        self._session = session

    def close(self) -> None:
        """Do nothing: the session belongs to the app."""

    def _send(self, method: str, url: str, headers: Any = None, **kwargs: Any) -> requests.Response:
        kwargs["headers"] = {**(headers or {}), "client-request-id": g.correlation_id}
        try:
            response = self._session.request(method, url, timeout=time_budget(), **kwargs)
        except requests.Timeout as error:
            raise DownstreamError("idp_timeout") from error
        except requests.RequestException as error:
            raise DownstreamError("idp_unavailable", failure_reason(error)) from error
        body = json_object(response)
        code = None if body is None else body.get("error", "")
        if response.status_code == 429 or code == "temporarily_unavailable":
            wait = retry_after_seconds(response, MAX_RETRY_AFTER_SECONDS)
            raise DownstreamError("idp_throttled", retry_after=wait)
        # Allow one word only: MSAL repeats it in a header of later requests for other users.
        is_oauth = isinstance(code, str) and re.fullmatch(r"[\w.-]{0,64}", code, re.ASCII)
        if response.status_code // 100 not in (2, 4) or not is_oauth:
            raise DownstreamError("idp_unavailable", f"status {response.status_code}")
        return response

    get = partialmethod(_send, "GET")
    post = partialmethod(_send, "POST")
