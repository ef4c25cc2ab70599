"""AppCreationScripts as processes, from an empty tenant to both apps and back."""

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.apps import ONE_WORKER, ROOT, Apps, copy_of
from tests.mock_azure import MockAzure
from tests.mock_azure.directory import COMMAND_LINE_ID, GRAPH_ID
from tests.visitor import Visitor

BROWSER = """
import sys
sys.path.insert(0, {root!r})
from tests.visitor import Visitor
Visitor("").open(sys.argv[1]).answer({user!r})
"""

ASKED_BY_MSAL = {"openid", "profile", "offline_access"}


class Clone:
    """A copy of the repository, in which the scripts run as a user would run them."""

    def __init__(self, folder: Path, azure: MockAzure) -> None:
        self.folder, self.azure = folder, azure
        for name in ("AppCreationScripts", "FlaskAPI", "DjangoUI"):
            copy_of(name, folder)
        shutil.copy(ROOT / ".gitignore", folder)
        self.cloud = folder / "mock-cloud.json"
        self.cloud.write_text(json.dumps(azure.cloud()))
        self.printed = ""

    def path(self, name: str) -> Path:
        return self.folder / name

    def start(
        self, script: str, *options: str, user: str = "alice", **environ: str
    ) -> subprocess.Popen[str]:
        browser = self.folder / "browser.py"
        browser.write_text(BROWSER.format(root=str(ROOT), user=user))
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "BROWSER": f"{sys.executable} {browser} %s &",
            # Trust that was set up by the environment would not know the mock.
            "REQUESTS_CA_BUNDLE": str(ROOT / "LICENSE"),
        } | environ
        command = [sys.executable, str(self.path(f"AppCreationScripts/{script}.py"))]
        return subprocess.Popen(
            [*command, "--cloud", str(self.cloud), *options],
            cwd=self.folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            umask=0o022,  # the usual one, under which new files can be read by all
        )

    def run(self, script: str, *options: str, user: str = "alice", **environ: str) -> str:
        """Run a script, check that it succeeds, and return its output."""
        output, status = self.try_to_run(script, *options, user=user, **environ)
        assert status == 0, output
        return output

    def try_to_run(
        self, script: str, *options: str, user: str = "alice", **environ: str
    ) -> tuple[str, int]:
        process = self.start(script, *options, user=user, **environ)
        output, _ = process.communicate(timeout=60)
        self.printed += output
        return output, process.returncode

    def service(self, *roles: str) -> dict[str, str]:
        """The environment of a service principal with these permissions of Graph."""
        service = self.azure.add_service(*roles)
        return {
            "AZURE_CLIENT_ID": service.client_id,
            "AZURE_CLIENT_SECRET": service.secret,
            "AZURE_TENANT_ID": self.azure.tenant_id,
        }

    def settings_of_apps(self) -> list[dict[str, str]]:
        """The environments in which the API and the web app read ``configure.py``'s files."""
        api = {"FLASK_ENV": "development", "ENV_FILE": str(self.path("FlaskAPI/development.env"))}
        ui = {"ENVIRONMENT": "development", "ENV_FILE": str(self.path("DjangoUI/development.env"))}
        # A browser does not trust the authority's own host here, which is for servers.
        ui["LOGOUT_URL"] = self.azure.django_ui_settings()["LOGOUT_URL"]
        return [ONE_WORKER | api, ONE_WORKER | ui]


@pytest.fixture
def clone(azure: MockAzure, tmp_path: Path) -> Clone:
    """A copy of the repository, for a tenant without the sample's registrations."""
    azure.unregister()
    return Clone(tmp_path, azure)


def test_registers_signs_in_and_cleans_up(clone, azure):
    output = clone.run("configure")
    assert "Signed in as alice@contoso.example" in output
    assert "run.py --azure" in output
    assert allowed(azure) == {"Application.ReadWrite.All", *ASKED_BY_MSAL}
    oid = azure.users["alice"].oid
    assert list(azure.registry.owners.values()) == [{oid}, {oid}]
    for app, logout_url in (("FlaskAPI", None), ("DjangoUI", azure.cloud()["logout"])):
        settings = dotenv_values(clone.path(app) / "development.env")
        assert settings["CA_BUNDLE"] == azure.cloud()["ca_bundle"]
        assert settings.get("LOGOUT_URL") == logout_url
    with Apps(None, *clone.settings_of_apps()) as apps:
        alice = Visitor(apps.ui.url).sign_in("alice")
        assert alice.names[0] == "Contoso Production"
        alice.open("/account/logout").press()
        assert alice.page.url == f"{apps.ui.url}/account/signed-out"
    assert [call.presented["appid"] for call in azure.requests("arm")] == [
        app["appId"]
        for app in azure.registry.applications.values()
        if app["displayName"] == "Python Flask Web API"
    ]

    clone.run("cleanup", "--yes")
    left = azure.registry
    assert [left.applications, left.principals, left.grants, left.federated] == [{}, {}, {}, {}]
    for name in ("FlaskAPI/development.env", "DjangoUI/development.env"):
        assert not clone.path(name).exists()
    assert not list(clone.path("AppCreationScripts").glob("createdApps*"))


def allowed(azure: MockAzure) -> set[str]:
    """The permissions with which the scripts may act as Alice."""
    return azure.consents.granted("alice", COMMAND_LINE_ID, GRAPH_ID)


def test_an_administrator_who_cannot_become_an_owner_gets_the_settings_all_the_same(clone, azure):
    clone.run("configure", **clone.service("Application.ReadWrite.All"))
    assert list(azure.registry.owners.values()) == [set(), set()]
    output = clone.run("configure", "--new-secrets", "--yes")
    assert output.count("skipped: Microsoft Graph answered 403") == 2
    assert list(azure.registry.owners.values()) == [set(), set()]
    assert len(list(clone.folder.rglob("development.env"))) == 2


def test_a_device_code_is_enough_without_a_browser(clone, azure):
    """The option names the client, although the cloud has one of its own."""
    described = json.loads(clone.cloud.read_text())
    clone.cloud.write_text(json.dumps({**described, "client_id": str(uuid.uuid4())}))
    options = ["--client-id", COMMAND_LINE_ID, "--grant-admin-consent"]
    with sign_in_elsewhere(clone, *options) as (process, visitor):
        visitor.answer("alice")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert len(azure.registry.applications) == 2
    permissions = {"Application.ReadWrite.All", "DelegatedPermissionGrant.ReadWrite.All"}
    assert allowed(azure) == {*permissions, *ASKED_BY_MSAL}


@contextlib.contextmanager
def sign_in_elsewhere(
    clone: Clone, *options: str
) -> Iterator[tuple[subprocess.Popen[str], Visitor]]:
    """Start ``configure.py``, and enter its code in the browser of another device."""
    with clone.start("configure", *options, BROWSER="") as process:
        assert process.stdout
        line = process.stdout.readline()
        told = re.search(r"Open (\S+) and enter the code (\S+)", line)
        assert told, line
        address, code = told.groups()
        try:
            yield process, Visitor("").open(address).press(user_code=code)
        finally:
            process.kill()


def test_a_sign_in_that_is_not_approved_goes_on_until_it_is_cancelled(clone, azure):
    with sign_in_elsewhere(clone) as (process, visitor):
        accounts = visitor.page
        visitor.press(user="bob")
        assert "An administrator must approve this" in visitor.page.text
        assert process.poll() is None
        visitor.page = accounts  # the browser's back button
        visitor.press(user="")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Signing in failed: authorization_declined" in output
    assert "Traceback" not in output
    assert azure.registry.applications == {}


def test_files_are_for_their_owner_only(clone):
    clone.run("configure", "--certificate", **clone.service("Application.ReadWrite.All"))
    patterns = ("development.env*", "certificate.pem", "createdApps.*")
    written = [file for pattern in patterns for file in clone.folder.rglob(pattern)]
    assert len(written) == 6
    for file in written:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_no_secret_is_printed_or_left_where_git_would_take_it(clone, azure):
    who = clone.service("Application.ReadWrite.All", "DelegatedPermissionGrant.ReadWrite.All")
    clone.run("configure", "--grant-admin-consent", **who)
    clone.run("configure", "--new-secrets", "--yes", **who)
    fault = azure.faults.add("graph:get_application", status=500, body="<html>", times=None)
    clone.try_to_run("configure", **who)
    azure.faults.remove(fault)
    clone.try_to_run("configure", **{**who, "AZURE_CLIENT_SECRET": "a-wrong-secret"})
    settings = clone.path("DjangoUI/development.env").read_text()
    django_key = re.search("^DJANGO_SECRET_KEY=(.+)$", settings, re.M)[1]
    secrets = [secret.text for secret in azure.registry.secrets.values()]
    secrets += [django_key, who["AZURE_CLIENT_SECRET"], "a-wrong-secret"]
    assert len(secrets) == 7
    git = ["git", "-c", "init.defaultBranch=main"]
    subprocess.run([*git, "init", "--quiet"], cwd=clone.folder, check=True)
    listed = subprocess.run(
        [*git, "ls-files", "--others", "--exclude-standard"],
        cwd=clone.folder, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert "AppCreationScripts/configure.py" in listed
    tracked = "".join((clone.folder / name).read_text("utf-8") for name in listed)
    page = clone.path("AppCreationScripts/createdApps.html").read_text()
    note = clone.path("AppCreationScripts/createdApps.json").read_text()
    for secret in secrets:
        for place, text in {"terminal": clone.printed, "git": tracked, "page": page + note}.items():
            assert secret not in text, place
            assert not re.search(r"eyJ[\w-]{20}", text), place  # a token
    assert secrets[-4] in settings + clone.path("FlaskAPI/development.env").read_text()
