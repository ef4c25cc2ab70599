"""AppCreationScripts as processes: empty tenant, both registrations, both apps, empty tenant."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.apps import ONE_WORKER, ROOT, Apps
from tests.mock_azure import MockAzure
from tests.mock_azure.directory import COMMAND_LINE_ID, GRAPH_ID
from tests.mock_azure.keys import SigningKey
from tests.visitor import Visitor

BROWSER = """
import sys
sys.path.insert(0, {root!r})
from tests.visitor import Visitor
Visitor("").open(sys.argv[1]).answer({user!r})
"""


Settings = dict[str, str]

ASKED_BY_MSAL = {"openid", "profile", "offline_access"}


class Clone:
    """A copy of the repository, in which the scripts run as somebody would run them."""

    def __init__(self, folder: Path, azure: MockAzure) -> None:
        self.folder, self.azure = folder, azure
        for name in ("AppCreationScripts", "FlaskAPI", "DjangoUI"):
            ignored = shutil.ignore_patterns("venv", "development.env*", "createdApps.*")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
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
        """Run a script to its good end and return what it printed."""
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


@pytest.fixture
def clone(azure: MockAzure, tmp_path: Path) -> Clone:
    """The repository of somebody whose tenant knows nothing of the sample."""
    azure.unregister()
    return Clone(tmp_path, azure)


@pytest.fixture
def start_apps(clone: Clone) -> Iterator[Callable[..., Apps]]:
    """Start both apps with the files that ``configure.py`` wrote, and with their environment."""
    running: list[Apps] = []

    def start(more_api: Settings | None = None, more_ui: Settings | None = None) -> Apps:
        api = {"FLASK_ENV": "development", "ENV_FILE": str(clone.path("FlaskAPI/development.env"))}
        ui = {"ENVIRONMENT": "development", "ENV_FILE": str(clone.path("DjangoUI/development.env"))}
        # A browser does not trust the authority's own host here, which is for servers.
        ui["LOGOUT_URL"] = clone.azure.django_ui_settings()["LOGOUT_URL"]
        api |= ONE_WORKER | (more_api or {})
        ui |= ONE_WORKER | (more_ui or {})
        running.append(Apps(None, api, ui).__enter__())
        return running[-1]

    yield start
    for apps in running:
        apps.__exit__(None, None, None)


def use_identities(clone: Clone) -> list[Settings]:
    """Let each app trust a managed identity of its own; return each app's settings for it."""
    azure = clone.azure
    of = {key: azure.add_identity() for key in ("api", "ui")}
    options = [f"--trust-identity={key}={identity.object_id}" for key, identity in of.items()]
    clone.run("configure", *options)
    platform = {
        "CLIENT_SECRET": "",
        "IDENTITY_ENDPOINT": f"{azure.front_url}/msi/token",
        "IDENTITY_HEADER": azure.identity_header,
    }
    return [
        platform | {"MANAGED_IDENTITY_CLIENT_ID": identity.client_id} for identity in of.values()
    ]


@pytest.mark.parametrize("credential", ["secret", "certificate", "identity"])
def test_the_whole_way(clone, azure, start_apps, credential):
    options = ["--certificate"] if credential == "certificate" else []
    if options:
        azure.registry.credential_days = {"passwordCredentials": 0}
    output = clone.run("configure", *options)
    assert "Signed in as alice@contoso.example" in output
    assert "run.py --azure" in output
    identities = use_identities(clone) if credential == "identity" else []
    apps = start_apps(*identities)
    alice = Visitor(apps.ui.url).sign_in("alice")
    assert alice.names[0] == "Contoso Production"
    alice.open("/account/logout").press()
    assert alice.page.url == f"{apps.ui.url}/account/signed-out"
    assert [found.presented["appid"] for found in azure.requests("arm")] == [
        app["appId"]
        for app in azure.registry.applications.values()
        if app["displayName"] == "Python Flask Web API"
    ]
    proof = "client_secret" if credential == "secret" else "client_assertion"
    for hop in ("token:authorization_code", "token:on_behalf_of"):
        sent = azure.requests(hop)[-1]
        assert sent.form.keys() & {"client_secret", "client_assertion"} == {proof}
    assert len(azure.requests("identity")) == len(identities)

    clone.run("cleanup", "--yes")
    left = azure.registry
    assert [left.applications, left.principals, left.grants, left.federated] == [{}, {}, {}, {}]
    for name in ("FlaskAPI/development.env", "DjangoUI/development.env"):
        assert not clone.path(name).exists()
    assert not list(clone.path("AppCreationScripts").glob("createdApps*"))
    assert not list(clone.folder.rglob("*.pem"))


def allowed(azure: MockAzure) -> set[str]:
    """What Alice lets the scripts do in her name."""
    return azure.consents.granted("alice", COMMAND_LINE_ID, GRAPH_ID)


def test_nobody_is_asked_after_an_administrator_has_consented(clone, azure, start_apps):
    """Dave may not consent himself."""
    clone.run("configure", "--dry-run")
    assert allowed(azure) == {"Application.ReadWrite.All", *ASKED_BY_MSAL}
    clone.run("configure", "--grant-admin-consent")
    asked = {"Application.ReadWrite.All", "DelegatedPermissionGrant.ReadWrite.All"}
    assert allowed(azure) == {*asked, *ASKED_BY_MSAL}
    dave = Visitor(start_apps().ui.url).sign_in("dave")
    assert dave.names == ["Contoso Production"]


def test_the_administrator_owns_what_they_create(clone, azure):
    clone.run("configure")
    oid = azure.users["alice"].oid
    assert list(azure.registry.owners.values()) == [{oid}, {oid}]


def test_an_administrator_who_cannot_become_an_owner_gets_the_settings_all_the_same(clone, azure):
    clone.run("configure", **clone.service("Application.ReadWrite.All"))
    assert list(azure.registry.owners.values()) == [set(), set()]
    output = clone.run("configure", "--new-secrets", "--yes")
    assert output.count("skipped: Microsoft Graph answered 403") == 2
    assert list(azure.registry.owners.values()) == [set(), set()]
    assert len(list(clone.folder.rglob("development.env"))) == 2


def test_a_device_code_will_do_where_there_is_no_browser(clone, azure):
    process = clone.start("configure", BROWSER="")
    line = process.stdout.readline()
    address, code = re.search(r"Open (\S+) and enter the code (\S+)", line).groups()
    Visitor("").open(address).press(user_code=code).answer("alice")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert len(azure.registry.applications) == 2


@pytest.fixture
def device_sign_in(clone) -> Iterator[tuple[subprocess.Popen[str], Visitor]]:
    """``configure.py`` while it waits for a sign-in, and the browser with its code entered."""
    process = clone.start("configure", BROWSER="")
    line = process.stdout.readline()
    told = re.search(r"Open (\S+) and enter the code (\S+)", line)
    assert told, line
    address, code = told.groups()
    yield process, Visitor("").open(address).press(user_code=code)
    process.kill()
    process.communicate()


def test_a_user_who_cannot_register_is_sent_to_an_administrator(azure, device_sign_in):
    process, visitor = device_sign_in
    visitor.press(user="bob")
    assert "An administrator must approve this" in visitor.page.text
    assert process.poll() is None
    assert azure.registry.applications == {}


def test_a_cancelled_sign_in_ends_the_script(azure, device_sign_in):
    process, visitor = device_sign_in
    visitor.press(user="")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Signing in failed: authorization_declined" in output
    assert "Traceback" not in output
    assert azure.registry.applications == {}


def test_a_cloud_without_microsofts_client_needs_one(clone, azure):
    described = json.loads(clone.cloud.read_text())
    clone.cloud.write_text(json.dumps({**described, "client_id": ""}))
    output, status = clone.try_to_run("configure")
    assert (status, azure.registry.applications) == (1, {})
    assert "--client-id" in output
    clone.run("configure", "--client-id", COMMAND_LINE_ID)
    assert len(azure.registry.applications) == 2


def test_running_it_again_changes_nothing(clone, azure):
    who = clone.service("Application.ReadWrite.All")
    clone.run("configure", **who)
    files = {name: name.read_bytes() for name in clone.folder.rglob("development.env")}
    before = len(azure.requests("graph"))
    output = clone.run("configure", **who)
    assert {found.method for found in azure.requests("graph")[before:]} == {"GET"}
    assert {name: name.read_bytes() for name in files} == files
    assert output.count("is up to date") == 2
    assert len(files) == 2


def test_a_dry_run_changes_nothing(clone, azure):
    output = clone.run("configure", "--dry-run")
    assert "would create the registration" in output
    assert {found.method for found in azure.requests("graph")} == {"GET"}
    assert not list(clone.folder.rglob("development.env*"))
    assert not list(clone.folder.rglob("createdApps*"))


def test_what_is_wrong_is_fixed_and_what_was_added_stays(clone, azure):
    who = clone.service("Application.ReadWrite.All")
    clone.run("configure", **who)
    api, ui = azure.registry.applications.values()
    api["api"]["requestedAccessTokenVersion"] = None
    api["api"]["knownClientApplications"] = []
    api["api"]["oauth2PermissionScopes"][0]["userConsentDisplayName"] = "Another text"
    api["identifierUris"] = ["https://contoso.example/api"]
    ui["web"]["redirectUris"] = ["https://www.contoso.example/account/callback"]
    ui["requiredResourceAccess"] = []
    api["tags"] = []
    azure.registry.principals.clear()
    scope = api["api"]["oauth2PermissionScopes"][0]["id"]

    clone.run("configure", **who)
    api, ui = azure.registry.applications.values()
    assert api["api"]["requestedAccessTokenVersion"] == 2
    assert api["api"]["knownClientApplications"] == [ui["appId"]]
    assert api["api"]["oauth2PermissionScopes"][0]["id"] == scope
    texts = api["api"]["oauth2PermissionScopes"][0]
    assert texts["userConsentDisplayName"] == "Access Python Flask Web API"
    assert api["tags"] == ["python-on-behalf-of-sample/api"]
    assert api["identifierUris"] == ["https://contoso.example/api", f"api://{api['appId']}"]
    assert ui["web"]["redirectUris"] == [
        "https://www.contoso.example/account/callback",
        "http://localhost:8000/account/callback",
        "http://localhost:8000/account/signed-out",
    ]
    assert ui["requiredResourceAccess"][0]["resourceAccess"] == [{"id": scope, "type": "Scope"}]
    assert len(azure.registry.principals) == 2


def test_a_failure_in_the_middle_can_be_continued(clone, azure):
    who = clone.service("Application.ReadWrite.All")
    fault = azure.faults.add("graph:add_password", status=500, body="<html>Oops", times=None)
    output, status = clone.try_to_run("configure", **who)
    assert status == 1
    for registration in azure.registry.applications.values():
        assert f"{registration['displayName']}\n" in output
        assert f"application ID {registration['appId']}" in output
    assert "Configuration did not finish. Run the same command again" in output
    assert not list(clone.folder.rglob("development.env"))

    azure.faults.remove(fault)
    clone.run("configure", **who)
    assert len(azure.registry.applications) == 2
    assert len(list(clone.folder.rglob("development.env"))) == 2


def test_a_settings_file_of_somebody_is_kept(clone, azure):
    who = clone.service("Application.ReadWrite.All")
    mine = clone.path("FlaskAPI/development.env")
    mine.write_text("CLIENT_ID=of-mine\nCLIENT_SECRET=of-mine\nLOG_LEVEL=DEBUG\n")
    output, status = clone.try_to_run("configure", **who)
    assert (status, azure.registry.applications) == (1, {})
    assert "FlaskAPI/development.env will be replaced, with a backup. Continue?" in output
    assert mine.read_text().startswith("CLIENT_ID=of-mine")

    output = clone.run("configure", "--yes", **who)
    assert "your own settings, now only in the backup: LOG_LEVEL" in output
    (backup,) = clone.path("FlaskAPI").glob("development.env.backup-*")
    assert backup.read_text().startswith("CLIENT_ID=of-mine")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert "of-mine" not in mine.read_text()


def test_new_secrets_take_the_place_of_those_before(clone, azure):
    who = clone.service("Application.ReadWrite.All")
    clone.run("configure", "--secret-days", "30", **who)
    known = [app["passwordCredentials"][0] for app in azure.registry.applications.values()]
    key = clone.path("DjangoUI/development.env").read_text().split("DJANGO_SECRET_KEY=")[1][:50]
    clone.run("configure", "--new-secrets", "--yes", **who)
    for app, former in zip(azure.registry.applications.values(), known, strict=True):
        (credential,) = app["passwordCredentials"]
        assert credential["keyId"] != former["keyId"]
        assert credential["endDateTime"] > former["endDateTime"]
    assert key in clone.path("DjangoUI/development.env").read_text()


def test_cleaning_up_asks_first(clone, azure):
    who = clone.service("Application.ReadWrite.All")
    clone.run("configure", **who)
    output, status = clone.try_to_run("cleanup", **who)
    assert status == 1
    assert "There is no terminal to ask on" in output
    assert len(azure.registry.applications) == 2


def test_cleaning_up_an_empty_tenant_says_so(clone):
    assert "nothing to remove" in clone.run("cleanup", **clone.service("Application.ReadWrite.All"))


def test_a_clean_up_that_was_cut_short_can_be_continued(clone, azure):
    who = clone.service("Application.ReadWrite.All")
    clone.run("configure", **who)
    azure.faults.add("graph:delete_application", times=1)
    azure.faults.add("graph:delete_application", status=500, body="<html>Oops")
    _, status = clone.try_to_run("cleanup", "--yes", **who)
    assert (status, len(azure.registry.applications)) == (1, 1)
    clone.run("cleanup", "--yes", **who)
    assert azure.registry.applications == {}
    assert not list(clone.folder.rglob("development.env"))


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


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        pytest.param({"AZURE_CLIENT_SECRET": "wrong"}, "invalid_client", id="wrong-secret"),
        pytest.param({"AZURE_TENANT_ID": ""}, "name it with --tenant", id="no-tenant"),
        pytest.param({"AZURE_CLIENT_SECRET": ""}, "AZURE_CLIENT_CERTIFICATE_PATH", id="no-secret"),
    ],
)
def test_a_service_principal_is_told_what_is_wrong(clone, environ, words):
    who = clone.service("Application.ReadWrite.All") | environ
    output, status = clone.try_to_run("configure", **who)
    assert status == 1
    assert words in output
    assert "Traceback" not in output


def test_a_missing_permission_is_named(clone):
    output, status = clone.try_to_run("configure", **clone.service("User.Read"))
    assert status == 1
    assert "Authorization_RequestDenied" in output
    assert "Application.ReadWrite.All" in output


def test_a_certificate_will_do_in_place_of_a_secret(clone, azure, tmp_path):
    key = SigningKey()
    private = key.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = x509.load_der_x509_certificate(key.der).public_bytes(serialization.Encoding.PEM)
    who = clone.service("Application.ReadWrite.All")
    azure.register_certificate(azure.applications[who["AZURE_CLIENT_ID"]], key.der)
    file = tmp_path / "service.pem"
    file.write_bytes(private + public)
    who |= {"AZURE_CLIENT_SECRET": "", "AZURE_CLIENT_CERTIFICATE_PATH": str(file)}
    clone.run("configure", **who)
    assert len(azure.registry.applications) == 2


def test_waiting_is_visible(clone, azure):
    azure.faults.add("graph:create_application", status=429, headers={"Retry-After": "1"})
    output = clone.run("configure", **clone.service("Application.ReadWrite.All"))
    assert "Microsoft Graph is busy: retrying in 1 s" in output
