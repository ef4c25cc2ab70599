"""Both apps with each credential that Entra accepts: how it is used, replaced, refused and broken.

Everything is logged at DEBUG, and after each test no log may hold a token or a key.
"""

import contextlib
import functools
import itertools
import os
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization

from tests.apps import ONE_WORKER, Apps
from tests.mock_azure import MockAzure, identities
from tests.mock_azure.keys import SigningKey
from tests.visitor import Visitor

HOPS = ("token:authorization_code", "token:on_behalf_of")
MISCONFIGURED = (500, "api_misconfigured"), (500, "This app is not set up correctly")
DOWN = (502, "idp_unavailable"), (503, "Microsoft Entra ID cannot be reached")
SLOW = (504, "idp_timeout"), (503, "Microsoft Entra ID cannot be reached")
BUSY = (503, "idp_throttled"), (503, "Microsoft Entra ID is busy")


@functools.cache
def keys_to_come() -> Iterator[SigningKey]:
    """Keys generated in advance, because generation is slow and would delay the load."""
    return itertools.cycle([SigningKey() for _ in range(6)])


class Certificates:
    """One certificate for each app, in a file."""

    def __init__(self, azure: MockAzure, folder: Path) -> None:
        self.azure = azure
        self.files = {app: folder / f"{app}.pem" for app in ("api", "ui")}
        self.renew()

    def settings(self, app: str) -> dict[str, str]:
        return {"CLIENT_SECRET": "", "CLIENT_CERTIFICATE": str(self.files[app])}

    def register(self) -> None:
        for app in self.files:
            self.azure.register_certificate(getattr(self.azure, app), self.key.der)

    def renew(self) -> None:
        self.key = next(keys_to_come())
        self.register()
        private = self.key.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        for file in self.files.values():
            write(file, private.decode() + ssl.DER_cert_to_PEM_cert(self.key.der))

    def revoke_older(self) -> None:
        applications = self.azure.applications
        for app in (self.azure.api, self.azure.ui):
            newest = applications[app.client_id].certificates[-1:]
            applications[app.client_id] = replace(applications[app.client_id], certificates=newest)


class ProjectedTokens:
    """A token for each app from the same cluster, in a file."""

    def __init__(self, azure: MockAzure, folder: Path) -> None:
        self.azure = azure
        self.files = {app: folder / app for app in ("api", "ui")}
        self.cluster = azure.add_issuer()
        self.renew()

    def settings(self, app: str) -> dict[str, str]:
        return {"CLIENT_SECRET": "", "CLIENT_ASSERTION_FILE": str(self.files[app])}

    def register(self) -> None:
        self.azure.issuers[self.cluster.url] = self.cluster.keys
        for app in self.files:
            self.azure.trust(getattr(self.azure, app), self.cluster.url, app)
        self.project()

    def project(self, **claims: Any) -> None:
        """Write a token for each app, with ``claims`` instead of its own."""
        for app, file in self.files.items():
            token = self.cluster.token(app, self.azure.clock.now(), **claims)
            write(file, f"{token}\n")

    def renew(self) -> None:
        self.cluster.keys.append(next(keys_to_come()))
        self.project()

    def revoke_older(self) -> None:
        del self.cluster.keys[:-1]


class ManagedIdentities:
    """A user-assigned identity for each app, at an endpoint that both share."""

    def __init__(self, azure: MockAzure, folder: Path) -> None:
        self.azure = azure
        self.header = azure.identity_header
        self.of = {app: azure.add_identity() for app in ("api", "ui")}

    def settings(self, app: str) -> dict[str, str]:
        return {
            "CLIENT_SECRET": "",
            "MANAGED_IDENTITY_CLIENT_ID": self.of[app].client_id,
            "IDENTITY_ENDPOINT": f"{self.azure.front_url}/msi/token",
            "IDENTITY_HEADER": self.header,
        }

    def register(self) -> None:
        self.azure.identity_header = self.header
        for app, identity in self.of.items():
            self.azure.identities[identity.client_id] = identity
            self.azure.trust(getattr(self.azure, app), self.azure.issuer, identity.object_id)


def write(file: Path, text: str) -> None:
    """Replace ``file`` in one step, as Kubernetes does."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


@pytest.fixture(scope="module")
def deployments(one_azure, tmp_path_factory) -> Iterator[Callable[[type], tuple[object, Apps]]]:
    """Start both apps with a kind of credential, once."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def deploy(kind: type) -> tuple[object, Apps]:
            credential = kind(one_azure, tmp_path_factory.mktemp(kind.__name__))
            more = ONE_WORKER | {"LOG_LEVEL": "DEBUG"}
            apps = Apps(
                one_azure, more | credential.settings("api"), more | credential.settings("ui")
            )
            return credential, stack.enter_context(apps)

        yield deploy


@pytest.fixture
def deployment(azure, deployments, request) -> Iterator[tuple[object, Apps]]:
    """The credential and both apps, whose logs must not contain any of it."""
    credential, apps = deployments(request.param)
    credential.register()
    azure.consent_all()
    yield credential, apps
    assert "DEBUG msal" in apps.api.written()
    for app in (apps.api, apps.ui):
        for pattern in (
            r"\beyJ[\w-]{10}",
            "PRIVATE KEY",
            r"client_assertion\W{1,5}\w",
            "Traceback",
        ):
            assert not re.search(pattern, app.written()), pattern
        assert app.settings.get("IDENTITY_HEADER", "none") not in app.written()


def of(kind: type) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("deployment", [kind], ids=[kind.__name__], indirect=True)


every_kind = pytest.mark.parametrize(
    "deployment",
    [Certificates, ProjectedTokens, ManagedIdentities],
    ids=["certificate", "projected-token", "managed-identity"],
    indirect=True,
)


@pytest.fixture
def short_lived(monkeypatch) -> None:
    """The identity's tokens expire too soon to be cached, so the apps request one each time."""
    monkeypatch.setattr(identities, "LIFETIME_SECONDS", 200)


def ask(apps: Apps, azure: MockAzure) -> tuple[int, str]:
    """The API's response to a token that it has not exchanged yet."""
    answer = requests.get(
        f"{apps.api.url}/subscriptions",
        headers={"Authorization": f"Bearer {azure.access_token(uti=str(uuid.uuid4()))}"},
        timeout=40,
    )
    return answer.status_code, answer.json().get("code", "ok")


def sign_in(apps: Apps) -> tuple[int, str]:
    return Visitor(apps.ui.url).sign_in("alice").reads


def both(apps: Apps, azure: MockAzure) -> tuple[tuple[int, str], tuple[int, str]]:
    with ThreadPoolExecutor() as pool:  # at the same time, for what takes its time
        api, ui = pool.submit(ask, apps, azure), pool.submit(sign_in, apps)
        return api.result(), ui.result()


def proofs(azure: MockAzure) -> set[tuple[str, str]]:
    """The parameter with which each app authenticated to Entra."""
    names = ("client_secret", "client_assertion")
    return {
        (hop, n) for hop in HOPS for sent in azure.requests(hop) for n in names if n in sent.form
    }


def test_a_secret_is_sent_as_such(azure, apps):
    assert Visitor(apps.ui.url).sign_in("alice").names[0] == "Contoso Production"
    assert proofs(azure) == {(hop, "client_secret") for hop in HOPS}


@every_kind
def test_replaces_the_secret(azure, deployment, short_lived):
    _, apps = deployment
    assert Visitor(apps.ui.url).sign_in("alice").names[0] == "Contoso Production"
    assert proofs(azure) == {(hop, "client_assertion") for hop in HOPS}
    assert azure.requests("arm")[-1].presented["appidacr"] == "2"  # Entra saw no secret


@every_kind
def test_is_refused_if_the_registration_does_not_trust_it(azure, deployment, short_lived):
    _, apps = deployment
    for app in (azure.api, azure.ui):
        azure.applications[app.client_id] = replace(app, certificates=(), federated=())
    assert both(apps, azure) == MISCONFIGURED


# --- files that are replaced ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "deployment",
    [Certificates, ProjectedTokens],
    ids=["certificate", "projected-token"],
    indirect=True,
)
def test_is_replaced_under_load_without_a_failed_request(azure, deployment):
    credential, apps = deployment
    over = threading.Event()

    def load(once: Callable[[], tuple[int, str]], answers: list[tuple[int, str]]) -> None:
        try:
            while not over.is_set():
                answers.append(once())
        finally:
            over.set()

    loads = [(once, []) for once in (lambda: ask(apps, azure), lambda: sign_in(apps)) * 2]
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(load, *each) for each in loads]
        for _ in range(2):
            credential.renew()
            # Once each thread has begun and ended a request, none needs the older one.
            enough = [len(answers) + 2 for _, answers in loads]
            while not over.is_set() and any(
                len(answers) < count for (_, answers), count in zip(loads, enough, strict=True)
            ):
                time.sleep(0.02)
            credential.revoke_older()
        over.set()
    for each in running:
        each.result()
    outcomes = {outcome for _, answers in loads for outcome in answers}
    assert outcomes == {(200, "ok"), (200, "Your subscriptions")}


@of(ProjectedTokens)
@pytest.mark.parametrize(
    "claims",
    [{"sub": "another"}, {"iss": "https://another.example/"}, {"aud": "api://another"}],
    ids=["subject", "issuer", "audience"],
)
def test_a_projected_token_is_refused_for_another(azure, deployment, claims):
    tokens, apps = deployment
    tokens.project(**claims)
    assert both(apps, azure) == MISCONFIGURED


@of(ProjectedTokens)
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"], ids=["missing", "empty", "not-text"])
def test_a_projected_token_is_reported_as_wrong_settings_if_its_file_is(azure, deployment, content):
    tokens, apps = deployment
    for file in tokens.files.values():
        file.unlink() if content is None else file.write_bytes(content)
    assert both(apps, azure) == MISCONFIGURED
    tokens.project()
    assert ask(apps, azure) == (200, "ok")


@of(Certificates)
def test_a_certificate_is_reported_as_wrong_settings_while_its_file_is_missing(azure, deployment):
    certificates, apps = deployment
    for file in certificates.files.values():
        file.rename(file.with_suffix(".away"))
    assert both(apps, azure) == MISCONFIGURED
    for file in certificates.files.values():
        file.with_suffix(".away").rename(file)
    assert ask(apps, azure) == (200, "ok")


# --- the endpoint of managed identities -----------------------------------------------------------

HALF_AN_ANSWER = (
    '{"access_token": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl", "expires_on":'
)


@of(ManagedIdentities)
@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        pytest.param({"latency_seconds": 11}, SLOW, id="slow"),
        pytest.param({"drop": True}, DOWN, id="down"),
        pytest.param({"status": 500, "body": '{"statusCode": 500}'}, DOWN, id="500"),
        pytest.param({"body": "<html>"}, DOWN, id="not-json"),
        pytest.param({"body": HALF_AN_ANSWER}, DOWN, id="half-a-token"),
        pytest.param({"body": "[]"}, DOWN, id="a-list"),
        pytest.param({"status": 429, "body": "{}"}, BUSY, id="busy"),
        pytest.param({"body": "{}"}, MISCONFIGURED, id="no-token"),
        pytest.param(
            {"body": '{"access_token": "forged", "expires_on": "1"}'},
            MISCONFIGURED,
            id="a-token-that-entra-refuses",
        ),
    ],
)
def test_the_identity_endpoint_fails(azure, deployment, short_lived, fault, outcome):
    _, apps = deployment
    failing = azure.faults.add("identity", times=None, **fault)
    assert both(apps, azure) == outcome
    azure.faults.remove(failing)
    assert ask(apps, azure) == (200, "ok")


@of(ManagedIdentities)
@pytest.mark.parametrize("wrong", ["identity", "header"])
def test_the_identity_endpoint_refuses_the_app(azure, deployment, short_lived, wrong):
    identity, apps = deployment
    if wrong == "identity":
        azure.identities.clear()
    else:
        azure.identity_header = "another"
    assert both(apps, azure) == MISCONFIGURED
    identity.register()
    assert ask(apps, azure) == (200, "ok")


@of(ManagedIdentities)
def test_a_refusal_of_the_identity_endpoint_is_not_repeated_from_memory(
    azure, deployment, short_lived
):
    """MSAL would replay it for an hour if the response had Retry-After."""
    _, apps = deployment
    refusal = {"status": 400, "body": '{"statusCode": 400}', "headers": {"Retry-After": "3600"}}
    azure.faults.add("identity", times=2, **refusal)
    assert both(apps, azure) == MISCONFIGURED
    assert both(apps, azure) == ((200, "ok"), (200, "Your subscriptions"))


def test_a_token_of_the_identity_serves_many_users_and_pages(azure):
    credential = ManagedIdentities(azure, Path())
    credential.register()
    azure.consent_all()
    settings = [ONE_WORKER | credential.settings(app) for app in ("api", "ui")]
    with Apps(azure, *settings) as apps:
        assert ask(apps, azure) == (200, "ok")  # first, because requests at once may each ask
        for _ in range(2):
            assert both(apps, azure) == ((200, "ok"), (200, "Your subscriptions"))
        assert Visitor(apps.ui.url).sign_in("gina").page.status_code == 200
    assert len(azure.requests("identity")) == 2  # one for each app
