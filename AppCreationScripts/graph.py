"""Microsoft Graph for the two scripts: where a cloud is, who signs in, and calls that wait.

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

# The scripts run in the API's environment, and trust other servers by its recipe.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "FlaskAPI"))
from helpers.http_session import http_session, retry_after_seconds  # noqa: E402  # see above

Json = dict[str, Any]

SAMPLE: Json = json.loads(Path(__file__).with_name("sample.json").read_text(encoding="utf-8"))
# "Microsoft Graph Command Line Tools", a public client that every tenant knows.
PUBLIC_CLIENT_ID = "14d82eec-204b-4c2f-b7e8-296a70dab67e"
TIMEOUT_SECONDS = (5, 30)  # to connect, to answer
SIGN_IN_SECONDS = 300
PATIENCE_SECONDS = 180  # how long one call may wait in all
LONGEST_WAIT_SECONDS = 60
NEW_ID = str(uuid.UUID(int=0))  # stands for what a dry run does not make
# What Graph says of a service principal whose application it has not seen yet.
NO_APPLICATION_YET = "NoBackingApplicationObject"


class Problem(Exception):
    """Something the person in front of the terminal can mend; the text says how."""


class GraphError(Problem):
    """Graph said no; ``code`` is its own, e.g. ``Request_BadRequest``."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code = status, code
        super().__init__(f"Microsoft Graph answered {status} {code}: {message}")


# --- the cloud ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cloud:
    """The addresses of one Azure, without a slash at their end."""

    login: str
    graph: str
    arm: str
    portal: str
    ca_bundle: str = ""  # a PEM file of authorities to trust besides the public ones

    def session(self) -> requests.Session:
        return http_session(self.ca_bundle)


def cloud_named(name: str) -> Cloud:
    """Return the cloud of that name, or the one that a JSON file with the same members describes.

    :raises Problem: there is no such cloud or file, or the file lacks a member.
    """
    if addresses := SAMPLE["clouds"].get(name):
        return Cloud(**addresses)
    try:
        cloud = Cloud(**json.loads(Path(name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        known = ", ".join(SAMPLE["clouds"])
        raise Problem(f"--cloud must be one of {known}, or a JSON file: {error}") from error
    for address in (cloud.login, cloud.graph, cloud.arm, cloud.portal):
        if not address.startswith("https://"):
            raise Problem(f"{name} holds an address that is not https://: {address}")
    return cloud


# --- signing in -----------------------------------------------------------------------------------


class SignedIn(NamedTuple):
    """Who calls Graph. ``user_id`` is the object ID of a person, empty for a service principal."""

    tenant_id: str
    user_id: str
    name: str


def sign_in(
    cloud: Cloud,
    session: requests.Session,
    tenant: str,
    permissions: list[str],
    *,
    device_code: bool = False,
) -> tuple[SignedIn, str]:
    """Return who signed in and an access token for Graph.

    A service principal if ``AZURE_CLIENT_ID`` is set, as in Azure's own SDKs; else a person, in the
    browser, or with a code on another device where there is no browser.

    :raises Problem: nobody did.
    """
    client_id = os.environ.get("AZURE_CLIENT_ID")
    tenant = tenant or os.environ.get("AZURE_TENANT_ID") or ("" if client_id else "organizations")
    if not tenant:
        raise Problem("A service principal signs in to one tenant: name it with --tenant.")
    # No instance discovery: it would ask login.microsoftonline.com about every other sign-in host.
    common = {
        "authority": f"{cloud.login}/{tenant}",
        "instance_discovery": False,
        "http_client": session,
    }
    try:
        if client_id:
            service = msal.ConfidentialClientApplication(
                client_id, client_credential=_credential(), **common
            )
            tenant = service.authority.tenant  # discovery turns a domain name into the ID
            result = service.acquire_token_for_client([f"{cloud.graph}/.default"])
        else:
            scopes = [f"{cloud.graph}/{permission}" for permission in permissions]
            person = msal.PublicClientApplication(PUBLIC_CLIENT_ID, **common)
            result = _ask_a_person(person, scopes, device_code or not _has_browser())
    except (ValueError, msal.exceptions.MsalError) as error:  # the tenant, the certificate, a 503
        raise Problem(f"Signing in to {tenant} is not possible: {error}") from error
    if "access_token" not in result:
        raise Problem(
            f"Signing in failed: {result.get('error')}. {result.get('error_description', '')}"
        )
    claims = result.get("id_token_claims", {})
    signed_in = SignedIn(
        claims.get("tid") or tenant,
        claims.get("oid", ""),
        claims.get("preferred_username") or f"service principal {client_id}",
    )
    return signed_in, result["access_token"]


def _credential() -> str | Json:
    if secret := os.environ.get("AZURE_CLIENT_SECRET"):
        return secret
    if certificate := os.environ.get("AZURE_CLIENT_CERTIFICATE_PATH"):
        try:
            pem = Path(certificate).read_text(encoding="ascii")
        except OSError as error:
            raise Problem(f"AZURE_CLIENT_CERTIFICATE_PATH: {error}") from error
        return {"private_key": pem, "public_certificate": pem}
    raise Problem(
        "AZURE_CLIENT_ID is set. Set AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH as well, "
        "or unset it to sign in as yourself."
    )


def _ask_a_person(person: Any, scopes: list[str], device_code: bool) -> Json:
    if not device_code:
        print("A browser window opens: sign in there as an administrator.", flush=True)
        in_browser: Json = person.acquire_token_interactive(
            scopes, prompt="select_account", timeout=SIGN_IN_SECONDS
        )
        return in_browser
    flow = person.initiate_device_flow(scopes)
    if "user_code" not in flow:
        return dict(flow)
    print(f"Open {flow['verification_uri']} and enter the code {flow['user_code']}", flush=True)
    flow["expires_at"] = min(flow["expires_at"], time() + SIGN_IN_SECONDS)
    with_code: Json = person.acquire_token_by_device_flow(flow)
    return with_code


def _has_browser() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


# --- calls ----------------------------------------------------------------------------------------


@dataclass
class Graph:
    """Calls to Graph v1.0 that wait where Graph asks for it, and say so.

    In a dry run reading is real, and what would be written is only said.
    """

    session: requests.Session
    url: str
    token: str = field(repr=False)
    dry_run: bool = False
    fresh: set[str] = field(default_factory=set)  # IDs made in this run, not yet known everywhere

    def get(self, path: str) -> Json | None:
        """Return the object at ``path``, or None if there is none."""
        if NEW_ID in path:
            return None
        try:
            return self._call("GET", path)
        except GraphError as error:
            if error.status == 404:
                return None
            raise

    def list(self, path: str) -> Iterator[Json]:
        """Yield every object of a collection, page by page."""
        if NEW_ID in path:
            return
        while path:
            page = self._call("GET", path)
            yield from page["value"]
            path = str(page.get("@odata.nextLink", "")).removeprefix(f"{self.url}/v1.0")

    def write(self, doing: str, method: str, path: str, body: Json | None = None) -> Json:
        """Say what is being done and do it; return what Graph answers, ``{}`` if nothing."""
        print(f"  {'would ' if self.dry_run else ''}{doing}", flush=True)
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
                answer: Json = response.json() if response.content else {}
                return answer
            error = _error(response)
            wait = self._wait(error, response, f"{path} {json.dumps(body)}", attempt)
            if wait is None or waited + wait > PATIENCE_SECONDS:
                raise error
            sleep(wait)
            waited += wait
            attempt += 1

    def _send(self, method: str, path: str, body: Json | None) -> requests.Response | None:
        """Send one request; None if a call that may be repeated got no answer."""
        headers = {"Authorization": f"Bearer {self.token}", "client-request-id": str(uuid.uuid4())}
        url = f"{self.url}/v1.0{path}"
        try:
            return self.session.request(
                method, url, json=body, headers=headers, timeout=TIMEOUT_SECONDS
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            if method == "POST":  # it may have been done, and doing it twice would be wrong
                raise Problem(f"Microsoft Graph did not answer: {type(error).__name__}") from error
            return None

    def _wait(
        self, error: GraphError, response: requests.Response | None, request: str, attempt: int
    ) -> int | None:
        """Return the whole seconds to wait before trying again, or None if that is no use."""
        is_fresh = any(made in request for made in self.fresh)
        if error.status in (0, 429, 503, 504):
            why = "Microsoft Graph is busy"
        elif is_fresh and (error.status == 404 or error.code == NO_APPLICATION_YET):
            why = "Microsoft Graph has not caught up with what was just made"
        else:
            return None
        wait: int = min(2**attempt, LONGEST_WAIT_SECONDS)
        if response is not None:
            wait = retry_after_seconds(response, LONGEST_WAIT_SECONDS) or wait
        print(f"    {why}: trying again in {wait} s", flush=True)
        return wait


def _error(response: requests.Response | None) -> GraphError:
    if response is None:
        return GraphError(0, "no answer", "The connection failed.")
    try:
        told = response.json()["error"]
        return GraphError(response.status_code, str(told["code"]), str(told["message"]))
    except (ValueError, KeyError, TypeError):
        return GraphError(response.status_code, response.reason, "The answer is not Graph's.")
