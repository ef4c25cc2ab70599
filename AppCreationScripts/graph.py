"""Microsoft Graph for both scripts: the clouds, the sign-in, and calls with retries.

https://learn.microsoft.com/graph/errors, https://learn.microsoft.com/graph/throttling
"""

import json
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep, time
from typing import Any, NamedTuple

import msal
import requests

# The scripts run in the API's virtual environment and use its HTTP session.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "FlaskAPI"))
from helpers.http_session import http_session, retry_after_seconds  # noqa: E402  # see above

Json = dict[str, Any]

SAMPLE: Json = json.loads(Path(__file__).with_name("sample.json").read_text(encoding="utf-8"))
# "Microsoft Graph Command Line Tools", a public client in every tenant outside China.
PUBLIC_CLIENT_ID = "14d82eec-204b-4c2f-b7e8-296a70dab67e"
TIMEOUT_SECONDS = (5, 30)  # to connect, and for the response
SIGN_IN_SECONDS = 300
PATIENCE_SECONDS = 180  # the longest time for which one call is retried
LONGEST_WAIT_SECONDS = 60
NEW_ID = str(uuid.UUID(int=0))  # the ID of objects that a dry run does not create
# Graph's error code if a new application has not been replicated yet.
NO_APPLICATION_YET = "NoBackingApplicationObject"


class ScriptError(Exception):
    """An error that the user of the script can fix; the message says how."""


class GraphError(ScriptError):
    """An error response of Graph; ``code`` is Graph's own, e.g. ``Request_BadRequest``."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code = status, code
        super().__init__(f"Microsoft Graph answered {status} {code}: {message}")


# --- the cloud ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cloud:
    """The addresses of one cloud, without a trailing slash."""

    login: str
    graph: str
    arm: str
    portal: str
    ca_bundle: str = ""  # a PEM file of certificate authorities to trust besides the public ones
    logout: str = ""  # the sign-out address, if it is not under the sign-in address
    client_id: str = PUBLIC_CLIENT_ID  # empty in a cloud without a public client of Microsoft's
    token_exchange: str = "api://AzureADTokenExchange"  # audience of federated credentials

    def session(self) -> requests.Session:
        return http_session(self.ca_bundle)


def cloud_named(name: str) -> Cloud:
    """Return the cloud called ``name``, or the one described in the JSON file ``name``.

    :raises ScriptError: if there is no such cloud or file, or the file lacks an address.
    """
    if addresses := SAMPLE["clouds"].get(name):
        return Cloud(**addresses)
    try:
        cloud = Cloud(**json.loads(Path(name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        names = ", ".join(SAMPLE["clouds"])
        raise ScriptError(f"--cloud must be one of {names}, or a JSON file: {error}") from error
    for address in (cloud.login, cloud.graph, cloud.arm, cloud.portal):
        if not address.startswith("https://"):
            raise ScriptError(f"{name} has an address that is not https://: {address}")
    return cloud


# --- signing in -----------------------------------------------------------------------------------


class SignedIn(NamedTuple):
    """The account that calls Graph. ``user_id`` is empty for a service principal."""

    tenant_id: str
    user_id: str
    name: str


def sign_in(
    cloud: Cloud, session: requests.Session, tenant: str, permissions: list[str], device_code: bool
) -> tuple[SignedIn, str]:
    """Return the account that signed in, and an access token for Graph.

    If ``AZURE_CLIENT_ID`` is set, sign in a service principal, as Azure's SDKs do. Otherwise sign
    in a user with the public client: in the browser, or with a code on another device if there is
    no browser.

    :raises ScriptError: if the sign-in fails.
    """
    client_id = os.environ.get("AZURE_CLIENT_ID")
    tenant = tenant or os.environ.get("AZURE_TENANT_ID") or ("" if client_id else "organizations")
    if not tenant:
        raise ScriptError("A service principal signs in to one tenant. Name it with --tenant.")
    if not client_id and not cloud.client_id:
        raise ScriptError("Microsoft has no public client in this cloud. See --client-id.")
    # No instance discovery: it would ask login.microsoftonline.com about hosts of other clouds.
    authority = f"{cloud.login}/{tenant}"
    common = {"authority": authority, "instance_discovery": False, "http_client": session}
    try:
        if client_id:
            confidential = msal.ConfidentialClientApplication(client_id, _credential(), **common)
            tenant = confidential.authority.tenant  # discovery resolves a domain name to the ID
            result = confidential.acquire_token_for_client([f"{cloud.graph}/.default"])
        else:
            scopes = [f"{cloud.graph}/{permission}" for permission in permissions]
            public = msal.PublicClientApplication(cloud.client_id, **common)
            result = _sign_in_user(public, scopes, device_code or not _has_browser())
    except (ValueError, msal.exceptions.MsalError) as error:  # the tenant, the certificate, a 503
        raise ScriptError(f"Can't sign in to {tenant}: {error}") from error
    if "access_token" not in result:
        reason = f"{result.get('error')}. {result.get('error_description', '')}"
        raise ScriptError(f"Signing in failed: {reason}")
    claims = result.get("id_token_claims", {})
    name = claims.get("preferred_username") or f"service principal {client_id}"
    signed_in = SignedIn(claims.get("tid") or tenant, claims.get("oid", ""), name)
    return signed_in, result["access_token"]


def _credential() -> str | Json:
    if secret := os.environ.get("AZURE_CLIENT_SECRET"):
        return secret
    if certificate := os.environ.get("AZURE_CLIENT_CERTIFICATE_PATH"):
        pem = Path(certificate).read_text(encoding="ascii")
        return {"private_key": pem, "public_certificate": pem}
    raise ScriptError("Also set AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH.")


def _sign_in_user(client: Any, scopes: list[str], device_code: bool) -> Json:
    if not device_code:
        print("Sign in as an administrator in the browser window that opens.", flush=True)
        options = {"prompt": "select_account", "timeout": SIGN_IN_SECONDS}
        return dict(client.acquire_token_interactive(scopes, **options))
    flow = client.initiate_device_flow(scopes)
    if "user_code" not in flow:
        return dict(flow)
    print(f"Open {flow['verification_uri']} and enter the code {flow['user_code']}", flush=True)
    flow["expires_at"] = min(flow["expires_at"], time() + SIGN_IN_SECONDS)
    return dict(client.acquire_token_by_device_flow(flow))


def _has_browser() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


# --- calls ----------------------------------------------------------------------------------------


@dataclass
class Graph:
    """Calls to Graph v1.0, with retries while Graph is busy or has not replicated a new object.

    A dry run reads from Graph, but only prints what it would write.
    """

    session: requests.Session
    url: str
    token: str = field(repr=False)
    dry_run: bool = False
    fresh: set[str] = field(default_factory=set)  # IDs created in this run: not replicated yet

    def get(self, path: str) -> Json | None:
        """Return the object at ``path``, or None if it does not exist."""
        if NEW_ID in path:
            return None
        try:
            return self._call("GET", path)
        except GraphError as error:
            if error.status == 404:
                return None
            raise

    def list(self, path: str) -> Iterator[Json]:
        """Yield every object of a collection, from all pages."""
        if NEW_ID in path:
            return
        while path:
            page = self._call("GET", path)
            yield from page["value"]
            path = str(page.get("@odata.nextLink", "")).removeprefix(f"{self.url}/v1.0")

    def write(self, action: str, method: str, path: str, body: Json | None = None) -> Json:
        """Print ``action`` and send the request; return Graph's response, ``{}`` if it is empty."""
        print(f"  {'would ' if self.dry_run else ''}{action}", flush=True)
        if self.dry_run:
            return {"id": NEW_ID, "appId": NEW_ID, **(body or {})}
        answer = self._call(method, path, body)
        if method == "POST":
            self.fresh |= {str(answer[name]) for name in ("id", "appId") if name in answer}
        return answer

    def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        attempt = waited = 0
        while True:
            response = self._send(method, path, body)
            if response is not None and response.ok:
                return dict(response.json()) if response.content else {}
            error = _error(response)
            wait = self._wait(error, response, f"{path} {json.dumps(body)}", attempt)
            if wait is None or waited + wait > PATIENCE_SECONDS:
                raise error
            sleep(wait)
            waited += wait
            attempt += 1

    def _send(self, method: str, path: str, body: Json | None) -> requests.Response | None:
        """Send one request; return None if there is no response and the request can be repeated."""
        headers = {"Authorization": f"Bearer {self.token}", "client-request-id": str(uuid.uuid4())}
        content: Json = {"headers": headers, "json": body, "timeout": TIMEOUT_SECONDS}
        try:
            return self.session.request(method, f"{self.url}/v1.0{path}", **content)
        except (requests.ConnectionError, requests.Timeout) as error:
            if method == "POST":  # it may have succeeded, and must not be done twice
                reason = type(error).__name__
                raise ScriptError(f"Microsoft Graph did not answer: {reason}") from error
            return None

    def _wait(
        self, error: GraphError, response: requests.Response | None, request: str, attempt: int
    ) -> int | None:
        """Return the whole seconds to wait before the next attempt, or None to give up."""
        is_fresh = any(new_id in request for new_id in self.fresh)
        if error.status in (0, 429, 503, 504):
            reason = "Microsoft Graph is busy"
        elif is_fresh and (error.status == 404 or error.code == NO_APPLICATION_YET):
            reason = "Microsoft Graph has not replicated a new object yet"
        else:
            return None
        wait: int = min(2**attempt, LONGEST_WAIT_SECONDS)
        if response is not None:
            wait = retry_after_seconds(response, LONGEST_WAIT_SECONDS) or wait
        print(f"    {reason}: retrying in {wait} s", flush=True)
        return wait


def _error(response: requests.Response | None) -> GraphError:
    if response is None:
        return GraphError(0, "no answer", "The connection failed.")
    try:
        error = response.json()["error"]
        return GraphError(response.status_code, str(error["code"]), str(error["message"]))
    except (ValueError, KeyError, TypeError):
        return GraphError(response.status_code, response.reason, "The answer is not Graph's JSON.")
