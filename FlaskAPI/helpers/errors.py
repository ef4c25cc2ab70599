"""The error responses of this API, as one table, and the exceptions that lead to them."""

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flask import current_app, g
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException


class ErrorResponse(NamedTuple):
    """The response for one error code."""

    status: int
    error: str  # the body's "error": the kind of error, for programs
    # The "error" parameter of WWW-Authenticate (RFC 6750 section 3). "" sends a challenge without
    # it, and None sends no challenge.
    challenge: str | None
    description: str  # for people; never text from Entra or Azure
    retry_after: int | None = None  # seconds


INVALID = "invalid_request"
LATER = "temporarily_unavailable"
SCOPE = "insufficient_scope"
TOKEN = "invalid_token"
USER = "interaction_required"

# fmt: off
_TABLE: dict[str, Any] = {
    # The request has no usable access token.
    "authorization_header_missing": (401, "unauthorized", "", "This API needs an access token"),
    "invalid_header": (400, INVALID, INVALID, "Authorization must be Bearer and one token"),
    "invalid_token": (401, TOKEN, TOKEN,
                      "The access token is malformed or its signature is invalid"),
    "token_expired": (401, TOKEN, TOKEN, "The access token expired"),
    "invalid_claims": (401, TOKEN, TOKEN, "The access token is not for this API or tenant"),
    # The token is valid, but does not allow this.
    "insufficient_scope": (403, SCOPE, SCOPE, "The access token lacks this API's scope"),
    "app_only_token": (403, SCOPE, SCOPE, "This API requires a user's access token"),
    "client_not_allowed": (403, SCOPE, SCOPE, "The client application is not allowed"),
    # Entra does not exchange the token until the user signs in or consents.
    "consent_required": (401, USER, USER, "User or admin consent is required"),
    "claims_challenge": (401, USER, "insufficient_claims", "Additional sign-in steps are required"),
    "assertion_rejected": (401, TOKEN, TOKEN, "The user must sign in again"),
    # Entra failed or rejected this API, and the user can do nothing about it.
    "api_misconfigured": (500, "server_error", None, "This API is not set up correctly"),
    "idp_throttled": (503, LATER, None, "Microsoft Entra ID is busy", 5),
    "idp_unavailable": (502, LATER, None, "Microsoft Entra ID had an error", 5),
    "idp_timeout": (504, LATER, None, "Microsoft Entra ID took too long", 5),
    "keys_unavailable": (503, LATER, None, "Access tokens can't be validated now", 5),
    # Azure Resource Manager.
    "downstream_unauthorized": (502, "bad_gateway", None, "Azure refused this API's token"),
    "downstream_forbidden": (403, "forbidden", None, "Azure does not allow the user to do this"),
    "downstream_throttled": (429, "too_many_requests", None, "Azure is busy", 5),
    "downstream_unreachable": (502, "bad_gateway", None, "Azure can't be reached"),
    "downstream_error": (502, "bad_gateway", None, "Azure Resource Manager had an error"),
    "downstream_timeout": (504, "gateway_timeout", None, "Azure took too long"),
    # This API itself.
    "internal_error": (500, "server_error", None, "This API had an unexpected error"),
}
# fmt: on
ERROR_RESPONSES = {code: ErrorResponse(*row) for code, row in _TABLE.items()}


@dataclass(eq=False)
class ApiError(Exception):
    """Ends the request with the response for ``code``, a key of ``ERROR_RESPONSES``."""

    code: str
    reason: str = ""  # for the log; never a token or text from a client
    challenge: dict[str, str] = field(default_factory=dict)  # added to WWW-Authenticate
    details: dict[str, object] = field(default_factory=dict)  # added to the JSON body
    retry_after: int | None = None  # seconds; replaces the table's value

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}" if self.reason else self.code


class AuthError(ApiError):
    """The access token is not acceptable, or the user must sign in again."""


class DownstreamError(ApiError):
    """Microsoft Entra ID or the downstream API failed, or rejected this API."""


@dataclass(eq=False)
class AccessTokenRejected(Exception):
    """The downstream API answered 401."""

    claims: str | None  # the JSON of a claims challenge that a new token must satisfy


def respond(error: ApiError) -> ResponseReturnValue:
    """Return ``error`` as ``{"error", "code", "description", "correlation_id"}`` and headers.

    Challenges follow RFC 6750 section 3 and, for ``claims``,
    https://learn.microsoft.com/entra/identity-platform/claims-challenge.
    """
    response = ERROR_RESPONSES[error.code]
    g.outcome = str(error)
    headers = {}
    if response.challenge is not None:
        authorize = f"{current_app.config['AUTHORITY']}/oauth2/v2.0/authorize"
        parameters = {"realm": current_app.config["TENANT_ID"], "authorization_uri": authorize}
        if response.challenge:
            parameters["error"] = response.challenge
        if response.challenge and "claims" not in error.challenge:
            parameters["error_description"] = response.description
        headers["WWW-Authenticate"] = bearer_challenge(parameters | error.challenge)
    if retry_after := error.retry_after or response.retry_after:
        headers["Retry-After"] = str(retry_after)
    body = {"error": response.error, "code": error.code, "description": f"{response.description}."}
    return body | error.details | {"correlation_id": g.correlation_id}, response.status, headers


def respond_http(error: HTTPException) -> ResponseReturnValue:
    """Return Flask's own errors (404, 405 …) in the same form."""
    g.outcome = name = error.name.lower().replace(" ", "_")
    body = {"error": name, "code": name, "description": f"{error.name}."}
    headers = {key: value for key, value in error.get_headers() if key == "Allow"}
    return body | {"correlation_id": g.correlation_id}, error.code or 500, headers


def respond_unexpected(error: Exception) -> ResponseReturnValue:
    """Return 500 for a bug in this API; the traceback goes to the log, never to the client."""
    current_app.logger.error("unexpected error", exc_info=error)
    return respond(ApiError("internal_error", type(error).__name__))


def bearer_challenge(parameters: dict[str, str]) -> str:
    """Return a WWW-Authenticate value whose parameters can't break out of their quotes."""
    # RFC 6750 section 3 allows these characters only, so no quotes and no line breaks.
    clean = {key: re.sub(r"[^\x20\x21\x23-\x5b\x5d-\x7e]", " ", v) for key, v in parameters.items()}
    return "Bearer " + ", ".join(f'{key}="{value}"' for key, value in clean.items())


def failure_reason(error: Exception) -> str:
    """Return the error's name for the log; its text may contain a proxy's password.

    For a TLS error add OpenSSL's reason, the words in the middle of ``[SSL:
    CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)``.
    """
    tls = re.search(r"\[SSL: \w+\] ([^(]+)", str(error))
    return f"{type(error).__name__}: {tls[1].strip()}" if tls else type(error).__name__
