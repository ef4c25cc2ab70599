"""Every error of the mock, in three tables: Entra's AADSTS numbers, ARM's and Graph's codes.

The numbers, ``error``, ``suberror``, ``claims`` and statuses are what Entra and ARM send; the
sentences are our own, since Microsoft asks nobody to depend on them
(https://learn.microsoft.com/entra/identity-platform/reference-error-codes).
"""

import json
from typing import Any, NamedTuple


class Row(NamedTuple):
    error: str
    text: str  # {names} are filled in from where the error is raised
    suberror: str = ""
    status: int = 400
    claim: str = ""  # the claim that a claims challenge asks for


def _client(text: str) -> Row:
    """A client that does not prove who it is (RFC 6749 section 5.2)."""
    return Row("invalid_client", text, status=401)


AADSTS: dict[int, Row] = {
    28000: Row("invalid_request", "One token is for one resource, but scope '{scope}' names more."),
    50011: Row(
        "invalid_grant",
        "The redirect URI '{redirect_uri}' is not registered for application '{client}'. The port "
        "is ignored for http://localhost only; 127.0.0.1 is another host.",
    ),
    50013: Row("invalid_grant", "The assertion failed signature validation: {reason}."),
    50034: Row("invalid_grant", "The user account '{user}' does not exist in tenant '{tenant}'."),
    50057: Row("invalid_grant", "The user account is disabled."),
    50058: Row("login_required", "A silent sign-in was requested, but nobody is signed in."),
    50076: Row(
        "interaction_required",
        "A policy requires multi-factor authentication to access '{resource}'.",
        "basic_action",
        claim="capolids",
    ),
    50079: Row(
        "interaction_required",
        "A policy requires you to register for multi-factor authentication first.",
        "basic_action",
        claim="polids",
    ),
    50105: Row("invalid_grant", "The user '{user}' is not assigned to application '{client}'."),
    50173: Row(
        "invalid_grant",
        "The grant was issued at {issued} and has been revoked: it must be from {valid_from} or "
        "later. Sign in again.",
    ),
    50194: Row("unauthorized_client", "Application '{client}' has one tenant: use its address."),
    50196: Row("invalid_grant", "The client is in a request loop."),
    53000: Row("invalid_grant", "The device is not in the required state.", "message_only"),
    53003: Row(
        "interaction_required",
        "A Conditional Access policy blocks access to '{resource}'. No token is issued.",
        "message_only",
        claim="capolids",
    ),
    54005: Row("invalid_grant", "The authorization code was already redeemed."),
    65001: Row(
        "invalid_grant",
        "Neither the user nor an administrator has consented to application '{client}' using "
        "'{resource}'. Send the user through an interactive sign-in.",
        "consent_required",
    ),
    65004: Row("access_denied", "The user declined to consent."),
    70000: Row("invalid_grant", "The grant was issued to another client."),
    70003: Row("unsupported_grant_type", "The grant type '{grant_type}' is not supported."),
    70007: Row("invalid_request", "The response mode '{response_mode}' is not supported."),
    70008: Row("invalid_grant", "The authorization code or refresh token has expired."),
    70016: Row("authorization_pending", "The user has not finished signing in yet."),
    70020: Row("expired_token", "The device code has expired."),
    70025: _client("Application '{client}' has no federated credential."),
    70043: Row("invalid_grant", "A sign-in frequency policy has ended this session.", "bad_token"),
    90002: Row("invalid_request", "The tenant '{tenant}' was not found."),
    90009: Row("invalid_request", "Application '{client}' requests a token for itself."),
    90023: Row("invalid_request", "The value '{value}' of '{name}' is not supported."),
    90033: Row("temporarily_unavailable", "A service is temporarily unavailable.", status=503),
    90055: Row("temporarily_unavailable", "There are too many requests.", status=429),
    90072: Row("invalid_grant", "The account '{user}' is not a member of tenant '{tenant}'."),
    90094: Row("access_denied", "Only an administrator can grant what '{client}' requests."),
    240002: Row("invalid_grant", "An ID token cannot be exchanged on behalf of its user."),
    500011: Row("invalid_resource", "Resource '{resource}' was not found in tenant '{tenant}'."),
    500131: Row(
        "invalid_grant",
        "The assertion is for '{audience}', but application '{client}' presents it. It can "
        "exchange only tokens that were issued for it.",
    ),
    500133: Row("invalid_grant", "The assertion is not valid now ({now}): {reason}."),
    501481: Row("invalid_grant", "The code_verifier does not match the code_challenge."),
    501491: Row("invalid_request", "The code_challenge has a wrong size."),
    501661: Row("invalid_request", "The keys of issuer '{issuer}' cannot be fetched."),
    650053: Row("invalid_client", "Resource '{resource}' has no scope '{scope}'."),
    650057: Row("invalid_resource", "'{client}' lists no permission of '{resource}'."),
    700016: Row("unauthorized_client", "'{client}' was not found in tenant '{tenant}'."),
    700024: _client("The client assertion is not valid now ({now}): {reason}."),
    700027: _client("The client assertion was rejected: {reason}."),
    700054: Row("unsupported_response_type", "response_type '{response_type}' is not enabled."),
    700082: Row("invalid_grant", "The refresh token has expired due to inactivity."),
    700211: _client("No federated credential of the application is for issuer '{issuer}'."),
    700212: _client("No federated credential of the application is for audience '{audience}'."),
    700213: _client("No federated credential is for subject '{subject}'. Upper case matters."),
    700222: _client("Of this tenant's tokens, only a managed identity's can be a credential."),
    900144: Row("invalid_request", "The request must contain the parameter '{name}'."),
    1002012: Row("invalid_scope", "'{scope}' must be one resource followed by /.default."),
    7000114: Row("invalid_grant", "Application '{client}' cannot act on behalf of an application."),
    7000215: _client("The secret of '{client}' is invalid. Send its value, not its ID."),
    7000218: _client("The body must contain 'client_assertion' or 'client_secret'."),
    7000222: _client("The client secrets of application '{client}' have expired."),
    7000272: _client("Issuer '{issuer}' publishes no key '{kid}', which signed the assertion."),
    9002313: Row("invalid_request", "The request is malformed or invalid."),
}


class EntraError(Exception):
    """An answer of Entra that is not what the client hoped for; ``code`` is its AADSTS number.

    ``error``, ``suberror``, ``status`` and ``claims`` override the table, ``details`` fill in
    the sentence. A claims challenge names ``details["policy"]``.
    """

    def __init__(self, code: int, error: str = "", claims: str = "", **details: Any) -> None:
        row = AADSTS[code]
        self.code = code
        self.error = error or row.error
        self.suberror = str(details.get("suberror", row.suberror))
        self.status = int(details.get("status", row.status))
        self.text = f"AADSTS{code}: {row.text.format_map(_Known(details))}"
        self.claims = claims
        if row.claim and not claims:
            wanted = {"essential": True, "values": [details.get("policy", "any-policy")]}
            self.claims = json.dumps({"access_token": {row.claim: wanted}}, separators=(",", ":"))
        super().__init__(self.text)


class _Known(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        return f"({name})"


class ArmRow(NamedTuple):
    status: int
    text: str
    challenge: str = ""  # the error= of WWW-Authenticate


ARM: dict[str, ArmRow] = {
    "AuthenticationFailed": ArmRow(401, "The 'Authorization' header is missing.", "invalid_token"),
    "InvalidAuthenticationToken": ArmRow(401, "The access token is invalid.", "invalid_token"),
    "ExpiredAuthenticationToken": ArmRow(401, "The access token has expired.", "invalid_token"),
    "InvalidAuthenticationTokenAudience": ArmRow(
        401, "The access token is for '{audience}', not for Resource Manager.", "invalid_token"
    ),
    "InvalidAuthenticationTokenTenant": ArmRow(
        401, "The access token is from issuer '{issuer}', not from this tenant.", "invalid_token"
    ),
    "MissingApiVersionParameter": ArmRow(400, "The api-version query parameter is required."),
    "InvalidApiVersionParameter": ArmRow(400, "The api-version '{version}' is invalid."),
    "InvalidSkipToken": ArmRow(400, "The skip token is invalid."),
    "AuthorizationFailed": ArmRow(403, "The client has no authorization to read subscriptions."),
    "SubscriptionNotFound": ArmRow(404, "The subscription '{id}' could not be found."),
    "TooManyRequests": ArmRow(429, "Too many requests for this tenant. Please try again later."),
    "InternalServerError": ArmRow(500, "The server has met an internal error."),
    "BadGateway": ArmRow(502, "The server behind this one gave no proper answer."),
    "ServerTimeout": ArmRow(503, "The server was unavailable. Please try again."),
    "GatewayTimeout": ArmRow(504, "The server behind this one gave no answer in time."),
}


# https://learn.microsoft.com/graph/errors and the pages of each method
GRAPH: dict[str, tuple[int, str]] = {
    "InvalidAuthenticationToken": (401, "The access token is not valid here: {reason}."),
    "Authorization_RequestDenied": (403, "One of these permissions is needed: {permissions}."),
    "Request_ResourceNotFound": (
        404,
        "Resource '{id}' does not exist or one of its queried reference-property objects are not "
        "present.",
    ),
    "Request_BadRequest": (400, "{reason}"),
    "Request_UnsupportedQuery": (400, "The filter is not supported here: {filter}"),
    "NoBackingApplicationObject": (
        400,
        "The appId '{id}' of the service principal does not reference a valid application object.",
    ),
    "ObjectConflict": (409, "Another object has the same value of '{property}'."),
    "CannotDeleteOrUpdateEnabledEntitlement": (
        400,
        "A scope has to be disabled before it can be deleted or renamed.",
    ),
}


class GraphError(Exception):
    """An answer of Microsoft Graph that is not a success; ``code`` is a key of ``GRAPH``."""

    def __init__(self, code: str, **details: Any) -> None:
        self.code = code
        self.status, text = GRAPH[code]
        self.text = text.format_map(_Known(details))
        super().__init__(f"{code}: {self.text}")


class ArmError(Exception):
    """An answer of ARM that is not a list of subscriptions; ``code`` is a key of ``ARM``."""

    def __init__(self, code: str, claims: str = "", **details: Any) -> None:
        row = ARM[code]
        self.code = code
        self.status = row.status
        self.text = row.text.format_map(_Known(details))
        self.challenge = "insufficient_claims" if claims else row.challenge
        self.claims = claims
        super().__init__(f"{code}: {self.text}")
