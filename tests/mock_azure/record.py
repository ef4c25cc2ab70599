"""What was asked of the mock, without a single secret, for tests to count and compare."""

import hashlib
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import g, request
from werkzeug.wrappers import Response

from . import tokens
from .authorize import COOKIE
from .directory import Json
from .token_endpoint import DEVICE_CODE, ON_BEHALF_OF

if TYPE_CHECKING:
    from .azure import MockAzure

SECRETS = {"assertion", "client_assertion", "client_secret", "code", "code_verifier",
           "device_code", "refresh_token", "request", "user_code"}  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    """One request. Secrets in ``form`` and ``headers`` are cut down to a hash, cookies left out.

    ``presented`` holds the claims of the token or assertion that was sent and found genuine,
    ``issued`` those of the access token in the answer; ``answer`` is the AADSTS or ARM code of a
    refusal. ``correlation_id`` is ``client-request-id`` or ``x-ms-correlation-request-id``.
    """

    at: float
    hop: str
    user: str | None
    method: str
    path: str
    status: int
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]
    correlation_id: str | None
    presented: Json
    issued: Json
    answer: str
    by_fault: bool


class Recorder:
    def __init__(self) -> None:
        self._recorded: deque[Recorded] = deque(maxlen=5_000)
        self._lock = threading.Lock()

    def add(self, at: float, response: Response) -> None:
        headers = {name.lower(): value for name, value in request.headers if name != "Cookie"}
        if "authorization" in headers:
            headers["authorization"] = _hashed(headers["authorization"])
        recorded = Recorded(
            at,
            hop(),
            g.get("user"),
            request.method,
            request.path,
            response.status_code,
            dict(request.args),
            {name: _hashed(v) if name in SECRETS else v for name, v in request.form.items()},
            headers,
            headers.get("client-request-id") or headers.get("x-ms-correlation-request-id"),
            g.get("presented", {}),
            g.get("issued", {}),
            g.get("answer", ""),
            "fault" in g,
        )
        with self._lock:
            self._recorded.append(recorded)

    def find(self, hop: str | None, user: str | None) -> list[Recorded]:
        with self._lock:
            everything = list(self._recorded)
        return [
            found
            for found in everything
            if (hop is None or found.hop == hop or found.hop.startswith(f"{hop}:"))
            and (user is None or found.user == user)
        ]

    def of(self, correlation_id: str) -> list[Recorded]:
        """What came with this correlation id, oldest first."""
        return [seen for seen in self.find(None, None) if seen.correlation_id == correlation_id]


def hop() -> str:
    """The running request's name in the picture of who calls whom, e.g. ``token:on_behalf_of``."""
    blueprint, _, name = (request.endpoint or "nothing").rpartition(".")
    if blueprint == "token":
        grant_type = request.form.get("grant_type", "")
        short = {ON_BEHALF_OF: "on_behalf_of", DEVICE_CODE: "device_code"}
        return f"token:{short.get(grant_type, grant_type)}"
    return f"{blueprint}:{name}" if blueprint in ("arm", "graph") else name


def claimed_user(azure: "MockAzure") -> str | None:
    """Whom the running request says it is about, before anything of it has been checked."""
    for kind, text in (
        ("session", request.cookies.get(COOKIE)),
        ("code", request.form.get("code")),
        ("refresh", request.form.get("refresh_token")),
    ):
        if known := azure.seals.unseal(kind, text):
            return str(known.get("sign_in", known)["user"])
    bearer = request.headers.get("Authorization", "").rpartition(" ")[2]
    oid = tokens.unverified(request.form.get("assertion") or bearer).get("oid")
    return next((user.key for user in azure.users.values() if user.oid == oid), None)


def _hashed(secret: str) -> str:
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()[:16]}"
