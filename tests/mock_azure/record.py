"""The requests to the mock, without secrets, for tests and for the journey."""

import hashlib
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from flask import g, request
from werkzeug.wrappers import Response

from . import tokens
from .authorize import COOKIE
from .directory import Json
from .token_endpoint import DEVICE_CODE, ON_BEHALF_OF

if TYPE_CHECKING:
    from .azure import MockAzure

SECRETS = {"access_token", "assertion", "client_assertion", "client_secret", "code",
           "code_verifier", "device_code", "id_token", "id_token_hint", "nextLink",
           "refresh_token", "request", "$skiptoken", "user_code"}  # fmt: skip
BROWSER_COOKIE = "mockazure_browser"


@dataclass(frozen=True)
class Recorded:
    """One request. Secrets in ``form`` and ``headers`` are hashed, and cookies are removed.

    ``presented`` holds the claims of the verified token or assertion in the request, ``issued``
    those of the access token in the response. ``answer`` is the AADSTS or ARM code of an error.
    ``correlation_id`` is ``client-request-id`` or ``x-ms-correlation-request-id``. ``page`` names
    the sign-in page that was shown. ``browser`` is set on the front channel, ``sid`` (the ID of
    the sign-in) if a code, token or cookie contains it. ``connection`` is the client's address and
    port. ``answered`` holds the members of a JSON response or the parameters of a redirect, also
    without secrets.
    """

    at: float
    took: float  # seconds
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
    page: str
    browser: str
    sid: str
    connection: str
    answered: Json
    id_token: Json


class Recorder:
    def __init__(self) -> None:
        self._recorded: deque[Recorded] = deque(maxlen=5_000)
        self._lock = threading.Lock()

    def add(self, at: float, response: Response) -> None:
        headers = {name.lower(): value for name, value in request.headers if name != "Cookie"}
        for name in {"authorization", "x-identity-header"} & headers.keys():
            headers[name] = _hashed(headers[name])
        answered = _answered(response) | g.get("challenge", {})
        recorded = Recorded(
            at,
            time.perf_counter() - g.started,
            hop(),
            g.user,
            request.method,
            request.path,
            response.status_code,
            _cut(request.args),
            _cut(request.form),
            headers,
            headers.get("client-request-id") or headers.get("x-ms-correlation-request-id"),
            g.get("presented", {}),
            g.get("issued", {}),
            g.get("answer", ""),
            "fault" in g,
            g.get("page", ""),
            g.browser,
            g.sid,
            f"{request.remote_addr} {request.environ.get('REMOTE_PORT')}",
            _cut(answered),
            tokens.unverified(answered.get("id_token")),
        )
        with self._lock:
            self._recorded.append(recorded)

    def find(self, hop: str | None, user: str | None) -> list[Recorded]:
        with self._lock:
            everything = list(self._recorded)
        return [
            recorded
            for recorded in everything
            if (hop is None or recorded.hop == hop or recorded.hop.startswith(f"{hop}:"))
            and (user is None or recorded.user == user)
        ]

    def of(self, correlation_id: str) -> list[Recorded]:
        """Return the requests with this correlation ID, oldest first."""
        everything = self.find(None, None)
        return [seen for seen in everything if seen.correlation_id == correlation_id]


def hop() -> str:
    """Return the name of the current request's hop, e.g. ``token:on_behalf_of``."""
    blueprint, _, name = (request.endpoint or "nothing").rpartition(".")
    if blueprint == "token":
        grant_type = request.form.get("grant_type", "")
        short = {ON_BEHALF_OF: "on_behalf_of", DEVICE_CODE: "device_code"}
        return f"token:{short.get(grant_type, grant_type)}"
    return f"{blueprint}:{name}" if blueprint in ("arm", "controls", "graph") else name


def browser() -> str:
    """Return the browser's ID from its cookie, or a new one; empty on the back channel."""
    if request.blueprint not in ("front", "controls", "journey"):
        return ""
    return request.cookies.get(BROWSER_COOKIE) or str(uuid.uuid4())


def claimed(azure: "MockAzure") -> tuple[str | None, str]:
    """Return the user and sign-in that the current request claims, unverified."""
    for kind, text in (
        ("session", request.cookies.get(COOKIE)),
        ("code", request.form.get("code")),
        ("refresh", request.form.get("refresh_token")),
    ):
        if data := azure.seals.unseal(kind, text):
            sign_in = data.get("sign_in", data)
            return str(sign_in["user"]), str(sign_in["sid"])
    bearer = request.headers.get("Authorization", "").rpartition(" ")[2]
    claims = tokens.unverified(request.form.get("assertion") or bearer)
    oid = claims.get("oid")
    user = next((user.key for user in azure.users.values() if user.oid == oid), None)
    return user, str(claims.get("sid", ""))


def _answered(response: Response) -> Json:
    if response.is_json:
        body = response.get_json()
        return body if isinstance(body, dict) else {}
    where = urlsplit(response.headers.get("Location", ""))
    return dict(parse_qsl(f"{where.query}&{where.fragment}"))


def _cut(members: Mapping[str, Any]) -> Json:
    """Return ``members`` without secrets, and with the length of each list of objects."""
    return {name: _cut_one(name, value) for name, value in members.items()}


def _cut_one(name: str, value: Any) -> Any:
    if name in SECRETS:
        return _hashed(str(value))
    of_objects = isinstance(value, list) and value and isinstance(value[0], dict)
    return f"{len(value)} in a list" if of_objects else value


def _hashed(secret: str) -> str:
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()[:16]}"
