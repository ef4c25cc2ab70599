"""Every answer of this API that is not a success: one table, one exception family."""

import re
from typing import NamedTuple

from flask import current_app, g
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException


class Answer(NamedTuple):
    """What a client gets for one error code."""

    status: int
    error: str  # the body's "error": the family, for programs
    # error= of WWW-Authenticate (RFC 6750 section 3); "" is a challenge without an error,
    # and None sends no challenge.
    challenge: str | None
    description: str  # for people; never text from upstream
    retry_after: int | None = None  # seconds


LATER = "temporarily_unavailable"
SCOPE = "insufficient_scope"
TOKEN = "invalid_token"
USER = "interaction_required"

# fmt: off
ANSWERS = {
    # The request brings no usable access token.
    "authorization_header_missing": Answer(401, "unauthorized", "",
                                           "This API needs an access token"),
    "invalid_header": Answer(400, "invalid_request", "invalid_request",
                             "Authorization must be Bearer and one token"),
    "invalid_token": Answer(401, TOKEN, TOKEN,
                            "The access token is malformed or its signature is invalid"),
    "token_expired": Answer(401, TOKEN, TOKEN, "The access token expired"),
    "invalid_claims": Answer(401, TOKEN, TOKEN, "The access token is not for this API or tenant"),
    # The token is good, but not for this.
    "insufficient_scope": Answer(403, SCOPE, SCOPE, "The access token lacks this API's scope"),
    "app_only_token": Answer(403, SCOPE, SCOPE, "Only a user's access token will do here"),
    "client_not_allowed": Answer(403, SCOPE, SCOPE, "The client application is not allowed"),
    # Entra does not exchange the token until the user does something.
    "consent_required": Answer(401, USER, USER, "User or admin consent is required"),
    "claims_challenge": Answer(401, USER, "insufficient_claims",
                               "Additional sign-in steps are required"),
    "assertion_rejected": Answer(401, TOKEN, TOKEN, "The user has to sign in again"),
    # Entra does not exchange it, whatever the user does.
    "api_misconfigured": Answer(500, "server_error", None, "This API is not set up correctly"),
    "idp_throttled": Answer(503, LATER, None, "Microsoft Entra ID is busy", 5),
    "idp_unavailable": Answer(502, LATER, None, "Microsoft Entra ID had an error", 5),
    "idp_timeout": Answer(504, LATER, None, "Microsoft Entra ID took too long", 5),
    "keys_unavailable": Answer(503, LATER, None, "Access tokens can't be checked now", 5),
    # Azure Resource Manager.
    "downstream_unauthorized": Answer(502, "bad_gateway", None, "Azure refused this API's token"),
    "downstream_forbidden": Answer(403, "forbidden", None, "Azure does not allow the user this"),
    "downstream_throttled": Answer(429, "too_many_requests", None, "Azure is busy", 5),
    "downstream_error": Answer(502, "bad_gateway", None, "Azure Resource Manager had an error"),
    "downstream_timeout": Answer(504, "gateway_timeout", None, "Azure took too long"),
    # Ours.
    "internal_error": Answer(500, "server_error", None, "This API had an unexpected error"),
}
# fmt: on


class ApiError(Exception):
    """Ends the request with the answer that belongs to ``code``, a key of ``ANSWERS``.

    ``reason`` is for the log only. It never holds a token, and nothing that a client may choose.
    ``copy.copy`` makes a fresh one, without traceback and cause.
    """

    def __init__(
        self,
        code: str,
        reason: str = "",
        *,
        challenge: dict[str, str] | None = None,
        retry_after: int | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        super().__init__(code, reason)
        self.code = code
        self.challenge = challenge or {}  # further parameters of WWW-Authenticate
        self.retry_after = ANSWERS[code].retry_after if retry_after is None else retry_after
        self.details = details or {}  # further members of the JSON body

    def __str__(self) -> str:
        return ": ".join(filter(None, self.args))


class AuthError(ApiError):
    """The caller has to bring another access token, or none would do."""


class DownstreamError(ApiError):
    """Microsoft Entra ID or Azure Resource Manager did not do what this API needs of it."""


def respond(error: ApiError) -> ResponseReturnValue:
    """Return ``error`` as ``{"error", "code", "description", "correlation_id"}`` and headers.

    Challenges follow RFC 6750 section 3 and, for ``claims``,
    https://learn.microsoft.com/entra/identity-platform/claims-challenge.
    """
    answer = ANSWERS[error.code]
    g.outcome = str(error)
    headers = {}
    if answer.challenge is not None:
        authorize = f"{current_app.config['AUTHORITY']}/oauth2/v2.0/authorize"
        parameters = {"realm": current_app.config["TENANT_ID"], "authorization_uri": authorize}
        if answer.challenge:
            parameters["error"] = answer.challenge
        if answer.challenge and "claims" not in error.challenge:
            parameters["error_description"] = answer.description
        headers["WWW-Authenticate"] = bearer_challenge(parameters | error.challenge)
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    body = {"error": answer.error, "code": error.code, "description": f"{answer.description}."}
    return body | error.details | {"correlation_id": g.correlation_id}, answer.status, headers


def respond_http(error: HTTPException) -> ResponseReturnValue:
    """Return what Flask itself refuses (404, 405 …) in the same form."""
    g.outcome = name = error.name.lower().replace(" ", "_")
    body = {"error": name, "code": name, "description": f"{error.name}."}
    headers = {key: value for key, value in error.get_headers() if key == "Allow"}
    return body | {"correlation_id": g.correlation_id}, error.code or 500, headers


def respond_unexpected(error: Exception) -> ResponseReturnValue:
    """Return 500 for a fault of our own; the traceback goes to the log, never to the client."""
    current_app.logger.error("unexpected error", exc_info=error)
    return respond(ApiError("internal_error", type(error).__name__))


def bearer_challenge(parameters: dict[str, str]) -> str:
    """Return a WWW-Authenticate value whose parameters can't break out of their quotes."""
    # RFC 6750 section 3: these characters only, so neither a quote nor a line break.
    clean = {key: re.sub(r"[^\x20\x21\x23-\x5b\x5d-\x7e]", " ", v) for key, v in parameters.items()}
    return "Bearer " + ", ".join(f'{key}="{value}"' for key, value in clean.items())
