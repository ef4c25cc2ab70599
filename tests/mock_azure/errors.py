"""The mock's errors. ``errors.json`` holds Entra's AADSTS numbers and ARM's and Graph's codes.

The numbers, ``error``, ``suberror``, ``claims`` and statuses are those that Entra and ARM send. The
texts are our own, because Microsoft advises against depending on them
(https://learn.microsoft.com/entra/identity-platform/reference-error-codes,
https://learn.microsoft.com/graph/errors and the pages of each method).
"""

import json
from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    text: str  # {names} are replaced with the details of the error
    status: int = 400
    error: str = ""  # Entra's
    suberror: str = ""
    claim: str = ""  # the claim that a claims challenge asks for
    challenge: str = ""  # the "error" parameter of ARM's WWW-Authenticate


TABLES = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
AADSTS = {int(code): Row(**row) for code, row in TABLES["AADSTS"].items()}
ARM = {code: Row(**row) for code, row in TABLES["ARM"].items()}
GRAPH = {code: Row(**row) for code, row in TABLES["GRAPH"].items()}


class _Known(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        return f"({name})"


class EntraError(Exception):
    """An error response of Entra; ``code`` is its AADSTS number.

    ``error``, ``suberror``, ``status`` and ``claims`` override the table; ``details`` fill in the
    text. A claims challenge names ``details["policy"]``.
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
            value = {"essential": True, "values": [details.get("policy", "any-policy")]}
            self.claims = json.dumps({"access_token": {row.claim: value}}, separators=(",", ":"))
        super().__init__(self.text)


class GraphError(Exception):
    """An error response of Microsoft Graph; ``code`` is a key of ``GRAPH``."""

    def __init__(self, code: str, **details: Any) -> None:
        self.code = code
        self.status = GRAPH[code].status
        self.text = GRAPH[code].text.format_map(_Known(details))
        super().__init__(f"{code}: {self.text}")


class ArmError(Exception):
    """An error response of ARM; ``code`` is a key of ``ARM``."""

    def __init__(self, code: str, claims: str = "", **details: Any) -> None:
        row = ARM[code]
        self.code = code
        self.status = row.status
        self.text = row.text.format_map(_Known(details))
        self.challenge = "insufficient_claims" if claims else row.challenge
        self.claims = claims
        super().__init__(f"{code}: {self.text}")
