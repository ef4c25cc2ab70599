"""Every error of the mock: ``errors.json`` holds Entra's AADSTS numbers and ARM's codes.

The numbers, ``error``, ``suberror``, ``claims`` and statuses are what Entra and ARM send; the
sentences are our own, since Microsoft asks nobody to depend on them
(https://learn.microsoft.com/entra/identity-platform/reference-error-codes).
"""

import json
from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    error: str
    text: str  # {names} are filled in from where the error is raised
    suberror: str = ""
    status: int = 400
    claim: str = ""  # the claim that a claims challenge asks for


class ArmRow(NamedTuple):
    status: int
    text: str
    challenge: str = ""  # the error= of WWW-Authenticate


TABLES = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
AADSTS = {int(code): Row(**row) for code, row in TABLES["AADSTS"].items()}
ARM = {code: ArmRow(**row) for code, row in TABLES["ARM"].items()}


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
    "CredentialTypeNotAllowedAsPerAppPolicy": (
        400,
        "Credential type not allowed as per assigned policy, which covers {kind}.",
    ),
    "CredentialInvalidLifetimeAsPerAppPolicy": (
        400,
        "Credential lifetime exceeds the max value allowed as per assigned policy, which covers "
        "{kind}.",
    ),
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
