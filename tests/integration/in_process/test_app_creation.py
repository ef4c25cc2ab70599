"""Both scripts at the real addresses of each cloud: which registrations they change, and how."""

import base64
import contextlib
import json
import re
import shutil
import ssl
import stat
import uuid
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.handlers.wsgi import WSGIHandler
from dotenv import dotenv_values
from flask import request

import cleanup
import command_line
import configure
import credentials
import graph
import Helpers.environment
import helpers.environment
import registrations
import settings_files
from graph import GraphError, ScriptError
from main import create_app
from tests.integration.in_process.conftest import internet, put_in_force
from tests.mock_azure import MockAzure, token_endpoint
from tests.mock_azure.faults import Fault, Faults
from tests.mock_azure.graph_shapes import EMPTY_APPLICATION
from tests.mock_azure.keys import SigningKey
from tests.visitor import Visitor

ROOT = Path(__file__).parents[3]


class EachCallFailsOnce(Faults):
    """Rejects every first call to Graph: it is busy, or has not replicated a new object yet."""

    def __init__(self, azure: MockAzure) -> None:
        super().__init__()
        self.azure = azure
        self.seen: set[str] = set()
        self.used: list[int] = []
        self.busy = cycle([429, 503, 504])

    def take(self, hop: str, user: str | None) -> Fault | None:
        body = request.get_data(as_text=True)
        call = f"{request.method} {request.full_path} {body}"
        if not hop.startswith("graph:") or call in self.seen:
            return None
        self.seen.add(call)
        registry = self.azure.registry
        made = [*registry.applications.values(), *registry.principals.values()]
        is_fresh = any(item[name] in call for item in made for name in ("id", "appId"))
        code = "Request_ResourceNotFound"
        if hop == "graph:create_principal":  # the one call that says it in another way
            code = graph.NO_APPLICATION_YET
            self.used.append(400)
        else:
            self.used.append(404 if is_fresh else next(self.busy))
        error = json.dumps({"error": {"code": code, "message": "not here"}})
        return Fault(hop, status=self.used[-1], body=error, headers={"Retry-After": "7"})


EVERY_CLOUD = pytest.mark.parametrize("cloud", list(graph.SAMPLE["clouds"]), indirect=True)


@pytest.fixture
def cloud(request: pytest.FixtureRequest) -> str:
    name: str = getattr(request, "param", "AzureCloud")
    return name


@cache
def mock_of(cloud: str) -> MockAzure:
    urls = graph.SAMPLE["clouds"][cloud]
    login = urls["login"]
    return MockAzure(front_url=login, login_url=login, arm_url=urls["arm"], graph_url=urls["graph"])


def servers(cloud: str, azure: MockAzure) -> dict[str, Callable[..., object]]:
    urls = graph.SAMPLE["clouds"][cloud]
    return {urls["login"]: azure.app, urls["graph"]: azure.app}


@pytest.fixture
def azure(cloud: str) -> Iterator[MockAzure]:
    """A tenant of the cloud, at the cloud's own addresses, without registrations."""
    azure = mock_of(cloud)
    azure.reset()
    azure.unregister()
    with internet(servers(cloud, azure)):
        yield azure


@pytest.fixture
def use_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make the scripts write to another folder, as on another machine."""

    def use(name: str) -> Path:
        folder = tmp_path / name
        for app in ("FlaskAPI", "DjangoUI"):
            (folder / app).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / app / "production.env", folder / app)
        monkeypatch.setattr(settings_files, "ROOT", folder)
        monkeypatch.setattr(settings_files, "NOTE", folder / "createdApps.json")
        monkeypatch.setattr(settings_files, "PAGE", folder / "createdApps.html")
        return folder

    return use


@pytest.fixture
def folder(azure: MockAzure, use_machine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the scripts write to, with a service principal in the environment."""
    service = azure.add_service(
        "Application.ReadWrite.All", "DelegatedPermissionGrant.ReadWrite.All"
    )
    monkeypatch.setenv("AZURE_CLIENT_ID", service.client_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", service.secret)
    return use_machine("first machine")


@cache
def ready_made_keys() -> Iterator[rsa.RSAPrivateKey]:
    return cycle([rsa.generate_private_key(65537, 2048) for _ in range(4)])


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the scripts existing keys, because generating them is slow; each differs from the last.

    The tests with processes make theirs.
    """
    made = ready_made_keys()
    monkeypatch.setattr(
        credentials, "rsa", SimpleNamespace(generate_private_key=lambda **_: next(made))
    )


@pytest.fixture
def run(azure: MockAzure, cloud: str, folder: Path, capsys) -> Callable[..., str]:
    """Run a script's ``main`` and return what it printed."""

    def run(script, *options: str) -> str:
        capsys.readouterr()
        assert script.main(["--cloud", cloud, "--tenant", azure.tenant_id, *options]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def fail(azure: MockAzure, cloud: str, folder: Path, capsys) -> Callable[..., str]:
    """Run a script that ends with exit status 1, and return what it printed."""

    def fail(script, *options: str) -> str:
        capsys.readouterr()
        arguments = ["--cloud", cloud, "--tenant", azure.tenant_id, *options]
        assert command_line.run(lambda: script.main(arguments)) == 1
        printed = capsys.readouterr()
        return printed.out + printed.err

    return fail


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the waits in seconds without waiting."""
    seconds: list[float] = []

    def nap(wait: float) -> None:
        seconds.append(wait)
        assert len(seconds) < 1000, "the script never gives up"

    monkeypatch.setattr(graph, "sleep", nap)
    return seconds


def settings_of(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Both settings files, checked by the apps' own settings modules."""
    api = {"FLASK_ENV": "development", "ENV_FILE": str(folder / "FlaskAPI/development.env")}
    ui = {"ENVIRONMENT": "development", "ENV_FILE": str(folder / "DjangoUI/development.env")}
    return helpers.environment.load_settings(api), Helpers.environment.load_settings(ui)


@EVERY_CLOUD
def test_a_cloud_sets_every_address(cloud, azure, folder):
    assert configure.main(["--cloud", cloud, "--tenant", azure.tenant_id]) == 0
    api, ui = settings_of(folder)
    urls = graph.SAMPLE["clouds"][cloud]
    assert [app["CLIENT_ID"] for app in (api, ui)] == [
        app["appId"] for app in azure.registry.applications.values()
    ]
    assert api["AUTHORITY"] == ui["AUTHORITY"] == f"{urls['login']}/{azure.tenant_id}"
    assert api["ISSUER"] == f"{api['AUTHORITY']}/v2.0"
    assert api["SCOPE"] == f"{urls['arm']}/user_impersonation"
    assert api["AZURE_MANAGEMENT_SUBSCRIPTIONS_URI"].startswith(f"{urls['arm']}/subscriptions?")
    page = (folder / "createdApps.html").read_text()
    blade = f"{urls['portal']}/#view/Microsoft_AAD_RegisteredApps/ApplicationMenuBlade/~/Overview"
    for app in azure.registry.applications.values():
        (credential,) = app["passwordCredentials"]
        assert f'<a href="{blade}/appId/{app["appId"]}">{app["displayName"]}</a>' in page
        assert f"<code>{app['appId']}</code><td>{credential['endDateTime'][:10]}\n" in page
    assert f"Tenant: {azure.tenant_id}." in page
    keys = dotenv_values(folder / "FlaskAPI/development.env").keys()
    assert keys == dotenv_values(ROOT / "FlaskAPI/production.env").keys()


@EVERY_CLOUD
def test_everything_may_fail_once(cloud, azure, folder, naps, capsys):
    azure.faults = faults = EachCallFailsOnce(azure)
    options = ["--cloud", cloud, "--tenant", azure.tenant_id, "--grant-admin-consent"]
    assert configure.main(options) == 0
    assert {429, 503, 504, 404, 400} == set(faults.used)
    assert naps == [7] * len(faults.used)
    assert len(naps) > 15
    printed = capsys.readouterr().out
    assert printed.count("retrying in 7 s") == len(naps)

    api, ui = azure.registry.applications.values()
    assert len(azure.registry.principals) == 2
    assert sorted(grant["scope"] for grant in azure.registry.grants.values()) == [
        "access_as_user",
        "offline_access openid profile",
        "user_impersonation",
    ]
    assert [len(app["passwordCredentials"]) for app in (api, ui)] == [1, 1]
    assert api["api"]["knownClientApplications"] == [ui["appId"]]
    settings = settings_of(folder)
    assert [app["CLIENT_ID"] for app in settings] == [api["appId"], ui["appId"]]
    assert settings[0]["ALLOWED_CLIENT_IDS"] == ui["appId"]
    note = json.loads((folder / "createdApps.json").read_text())[azure.tenant_id]
    assert [note[key]["appId"] for key in ("api", "ui")] == [api["appId"], ui["appId"]]


def test_a_call_that_never_succeeds_ends_the_run(azure, cloud, folder, naps):
    azure.faults.add("graph:create_application", status=503, times=None)
    with pytest.raises(graph.GraphError, match="503"):
        configure.main(["--cloud", cloud, "--tenant", azure.tenant_id])
    assert sum(naps) <= graph.PATIENCE_SECONDS
    assert len(naps) > 3


@pytest.mark.parametrize(
    "hop", ["graph:add_password", "graph:update_application", "graph:create_principal"]
)
def test_a_failure_in_the_middle_can_be_continued(azure, run, fail, folder, hop):
    fault = azure.faults.add(hop, status=500, body="<html>Oops", times=None)
    output = fail(configure)
    assert len(azure.registry.applications) == 2
    for registration in azure.registry.applications.values():
        assert f"{registration['displayName']}\n" in output
        assert f"application ID {registration['appId']}" in output
    assert "Configuration did not finish. Run the same command again" in output
    assert not list(folder.rglob("development.env"))

    azure.faults.remove(fault)
    run(configure)
    assert len(azure.registry.applications) == 2
    assert len(list(folder.rglob("development.env"))) == 2


def test_ctrl_c_in_the_middle_says_how_to_continue(azure, run, cloud, monkeypatch, capsys):
    azure.faults.add("graph:create_application", times=1)
    azure.faults.add("graph:create_application", status=503)

    def ctrl_c(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(graph, "sleep", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        configure.main(["--cloud", cloud, "--tenant", azure.tenant_id])
    assert "Configuration did not finish." in capsys.readouterr().out
    assert len(azure.registry.applications) == 1
    run(configure)  # knows the first registration
    assert len(azure.registry.applications) == 2


def test_an_interrupted_cleanup_can_be_continued(azure, run, fail, folder):
    run(configure)
    azure.faults.add("graph:delete_application", times=1)
    azure.faults.add("graph:delete_application", status=500, body="<html>Oops")
    fail(cleanup, "--yes")
    assert len(azure.registry.applications) == 1
    run(cleanup, "--yes")
    assert azure.registry.applications == {}
    assert not list(folder.rglob("development.env"))


# --- signing in -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        pytest.param({"AZURE_CLIENT_SECRET": "wrong"}, "invalid_client", id="wrong-secret"),
        pytest.param({"AZURE_CLIENT_SECRET": ""}, "AZURE_CLIENT_CERTIFICATE_PATH", id="no-secret"),
    ],
)
def test_a_service_principal_is_told_what_is_wrong(fail, monkeypatch, environ, words):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert words in fail(configure)


@pytest.mark.usefixtures("folder")
def test_a_service_principal_names_its_tenant(cloud):
    with pytest.raises(ScriptError, match="Name it with --tenant"):
        configure.main(["--cloud", cloud])


def test_the_option_names_the_tenant_even_if_the_environment_names_another(azure, run, monkeypatch):
    monkeypatch.setenv("AZURE_TENANT_ID", str(uuid.uuid4()))
    assert f"to tenant {azure.tenant_id}" in run(cleanup)


@pytest.mark.parametrize("cloud", ["AzureChinaCloud"], indirect=True)
def test_a_cloud_without_microsofts_client_needs_one(azure, fail, monkeypatch):
    monkeypatch.delenv("AZURE_CLIENT_ID")
    assert "See --client-id" in fail(configure)
    assert azure.registry.applications == {}


def test_a_sign_in_on_another_device_is_not_awaited_as_long_as_its_code_is_valid(
    azure, fail, monkeypatch
):
    monkeypatch.delenv("AZURE_CLIENT_ID")
    monkeypatch.setattr(graph, "SIGN_IN_SECONDS", 0)
    monkeypatch.setattr(token_endpoint, "DEVICE_CODE_LIFETIME_SECONDS", 2)
    assert "Signing in failed: authorization_pending" in fail(configure, "--device-code")
    assert len(azure.requests("token:device_code")) == 1


def test_a_tenant_that_does_not_exist_is_named(fail):
    tenant = str(uuid.uuid4())
    assert f"\nCan't sign in to {tenant}: " in fail(configure, "--tenant", tenant)


def test_a_missing_permission_is_named(azure, fail, monkeypatch):
    service = azure.add_service("User.Read")
    monkeypatch.setenv("AZURE_CLIENT_ID", service.client_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", service.secret)
    output = fail(configure)
    assert "Authorization_RequestDenied" in output
    assert "Application.ReadWrite.All" in output


def test_a_service_principal_signs_in_with_a_certificate(azure, run, monkeypatch, tmp_path):
    key = SigningKey()
    private = key.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = tmp_path / "service.pem"
    file.write_bytes(private + ssl.DER_cert_to_PEM_cert(key.der).encode())
    service = azure.add_service("Application.ReadWrite.All")
    azure.register_certificate(service, key.der)
    monkeypatch.setenv("AZURE_CLIENT_ID", service.client_id)
    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(file))
    run(configure)
    assert len(azure.registry.applications) == 2


# --- what exists already --------------------------------------------------------------------------


def test_running_it_again_changes_nothing(azure, run, folder):
    run(configure)
    before, calls = state(azure, folder), len(azure.requests("graph"))
    output = run(configure)
    assert output.count("is up to date") == 2
    assert "MANAGED_IDENTITY" not in output
    assert written(azure, calls) == []
    assert state(azure, folder) == before
    assert len(list(folder.rglob("development.env"))) == 2


def test_differences_are_fixed_and_additions_stay(azure, run):
    run(configure)
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

    run(configure)
    api, ui = azure.registry.applications.values()
    assert api["api"]["requestedAccessTokenVersion"] == 2
    assert api["api"]["knownClientApplications"] == [ui["appId"]]
    assert api["api"]["oauth2PermissionScopes"][0]["id"] == scope
    texts = api["api"]["oauth2PermissionScopes"][0]
    assert texts["userConsentDisplayName"] == "Access Python Flask Web API"
    assert api["tags"] == ["python-on-behalf-of-sample/api"]
    assert api["identifierUris"] == ["https://contoso.example/api", f"api://{api['appId']}"]
    assert ui["web"]["redirectUris"] == ["https://www.contoso.example/account/callback", *HERE]
    assert ui["requiredResourceAccess"][0]["resourceAccess"] == [{"id": scope, "type": "Scope"}]
    assert len(azure.registry.principals) == 2


def test_existing_settings_files_are_kept_until_the_user_agrees(azure, run, fail, folder):
    mine = folder / "FlaskAPI/development.env"
    mine.write_text("CLIENT_ID=of-mine\nCLIENT_SECRET=of-mine\nLOG_LEVEL=DEBUG\nEXTRA=1\n")
    placeholder = "DJANGO_SECRET_KEY=ReplaceWithSecretKey"
    (folder / "DjangoUI/development.env").write_text(f"CLIENT_ID=of-mine\n{placeholder}\n")
    output = fail(configure)
    assert azure.registry.applications == {}
    both = "FlaskAPI/development.env and DjangoUI/development.env"
    assert f"{both} will be replaced, with a backup. Continue?" in output
    assert mine.read_text().startswith("CLIENT_ID=of-mine")

    output = run(configure, "--yes")
    assert "settings of your own, now only in the backup: EXTRA, LOG_LEVEL\n" in output
    assert placeholder not in (folder / "DjangoUI/development.env").read_text()
    (backup,) = mine.parent.glob("development.env.backup-*")
    assert backup.read_text().startswith("CLIENT_ID=of-mine")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert "of-mine" not in mine.read_text()
    assert "settings of your own" not in run(configure, "--new-secrets", "--yes")
    assert len(list(mine.parent.glob("development.env.backup-*"))) == 2


def test_a_valid_secret_stays_when_other_settings_are_repaired(azure, run, fail, folder):
    run(configure)
    files = [folder / app / "development.env" for app in ("FlaskAPI", "DjangoUI")]
    before = [file.read_text() for file in files]
    secrets = [app["passwordCredentials"][0] for app in azure.registry.applications.values()]
    files[1].write_text(before[1].replace("\nAPI_SCOPE=", "\nAPI_SCOPE=x"))
    question = "DjangoUI/development.env will be replaced, with a backup. Continue?"
    assert f"\n{question}" in fail(configure)
    assert run(configure, "--yes").count("is up to date") == 1
    assert [file.read_text() for file in files] == before
    assert [app["passwordCredentials"] for app in azure.registry.applications.values()] == [
        [secret] for secret in secrets
    ]


def test_new_secrets_replace_the_previous_ones(azure, run, folder):
    run(configure, "--secret-days", "30")
    before = [app["passwordCredentials"][0] for app in azure.registry.applications.values()]
    file = folder / "DjangoUI/development.env"
    key = dotenv_values(file)["DJANGO_SECRET_KEY"]
    run(configure, "--new-secrets", "--yes")
    for app, former in zip(azure.registry.applications.values(), before, strict=True):
        (credential,) = app["passwordCredentials"]
        assert credential["keyId"] != former["keyId"]
        assert credential["endDateTime"] > former["endDateTime"]
    assert dotenv_values(file)["DJANGO_SECRET_KEY"] == key


@pytest.mark.parametrize(("days", "is_replaced"), [(1, True), (2, False)])
def test_a_secret_is_replaced_on_its_last_day(azure, run, days, is_replaced):
    run(configure, "--secret-days", str(days))
    api = next(iter(azure.registry.applications.values()))
    (former,) = api["passwordCredentials"]
    run(configure, "--yes")
    (credential,) = api["passwordCredentials"]
    assert (credential != former) == is_replaced


# --- the apps on what was written -----------------------------------------------------------------


@pytest.fixture
def start_apps(cloud, azure, folder, settings, db) -> Iterator[Callable[..., Visitor]]:
    """Start both apps with the files that ``configure.py`` wrote, and return a visitor."""
    with contextlib.ExitStack() as stack:

        def start(api: dict[str, str] | None = None, ui: dict[str, str] | None = None) -> Visitor:
            files = [str(folder / app / "development.env") for app in ("FlaskAPI", "DjangoUI")]
            api = {"FLASK_ENV": "development", "ENV_FILE": files[0]} | (api or {})
            ui = {"ENVIRONMENT": "development", "ENV_FILE": files[1]} | (ui or {})
            put_in_force(ui | {"DATABASE_PATH": ":memory:"}, settings)
            programs = {
                "http://localhost:8000": WSGIHandler(),
                "http://localhost:5000": create_app(helpers.environment.load_settings(api)),
                graph.SAMPLE["clouds"][cloud]["arm"]: azure.app,
            }
            stack.enter_context(internet(programs | servers(cloud, azure)))
            return Visitor("http://localhost:8000")

        yield start


def credentials_sent(azure: MockAzure) -> list[set[str]]:
    """The parameters with which the web app and the API last authenticated to Entra."""
    hops = ("token:authorization_code", "token:on_behalf_of")
    sent = [azure.requests(hop)[-1].form.keys() for hop in hops]
    return [names & {"client_secret", "client_assertion"} for names in sent]


@pytest.mark.parametrize(
    ("option", "sent"),
    [
        pytest.param([], "client_secret", id="secrets"),
        pytest.param(["--certificate"], "client_assertion", id="certificates"),
    ],
)
def test_users_sign_in_and_see_their_list(azure, run, start_apps, option, sent):
    run(configure, *option)
    alice = start_apps().sign_in("alice")
    assert alice.names[0] == "Contoso Production"
    assert credentials_sent(azure) == [{sent}, {sent}]
    alice.open("/account/logout").press()
    assert alice.page.url == "http://localhost:8000/account/signed-out"


def test_each_app_signs_in_with_its_managed_identity(azure, run, start_apps, monkeypatch):
    identities = {key: azure.add_identity() for key in ("api", "ui")}
    trust = [f"--trust-identity={key}={item.object_id}" for key, item in identities.items()]
    run(configure, *trust)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{azure.front_url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", azure.identity_header)
    environs = [
        {"CLIENT_SECRET": "", "MANAGED_IDENTITY_CLIENT_ID": item.client_id}
        for item in identities.values()
    ]
    assert start_apps(*environs).sign_in("alice").names[0] == "Contoso Production"
    assert credentials_sent(azure) == [{"client_assertion"}] * 2
    assert len(azure.requests("identity")) == 2


def test_nobody_is_asked_after_an_administrator_has_consented(run, start_apps):
    """Dave may not consent himself."""
    output = run(configure, "--grant-admin-consent")
    told = re.findall(r"^  consent to (.+) for all users$", output, re.M)
    assert told == [
        "Windows Azure Service Management API",
        "Python Flask Web API",
        "Microsoft Graph",
    ]
    assert start_apps().sign_in("dave").names == ["Contoso Production"]


# --- whose registrations --------------------------------------------------------------------------


def plant(azure: MockAzure, key: str, **members) -> graph.Json:
    """Register an application with the sample's name and tag, as any member of the tenant can."""
    described = graph.SAMPLE["registrations"][key]["application"]
    application = {
        "id": str(uuid.uuid4()),
        "appId": str(uuid.uuid4()),
        "displayName": described["displayName"],
        "passwordCredentials": [],
        **deepcopy(EMPTY_APPLICATION),
        "tags": list(described["tags"]),
        **members,
    }
    azure.registry.applications[application["id"]] = application
    azure.registry.owners[application["id"]] = set()
    azure.registry.federated[application["id"]] = []
    return application


def adoption(*applications: graph.Json) -> list[str]:
    return [word for app in applications for word in ("--adopt", app["appId"])]


def written(azure: MockAzure, since: int = 0) -> list[str]:
    """The requests to Graph that write."""
    calls = azure.requests("graph")[since:]
    return [call.method for call in calls if call.method != "GET"]


@pytest.mark.parametrize(
    "options", [[], ["--yes"], ["--yes", "--grant-admin-consent"], ["--dry-run"]]
)
def test_an_attackers_registrations_are_not_used_because_of_their_tag(azure, run, folder, options):
    uri = {"redirectUris": ["https://attacker.example/"]}
    apps = [plant(azure, key, web=uri) for key in ("api", "ui")]
    azure.registry.owners[apps[1]["id"]] = {azure.users["bob"].oid}
    with pytest.raises(ScriptError) as error:
        run(configure, *options)
    for text in (apps[0]["appId"], apps[1]["appId"], "attacker.example", azure.users["bob"].oid):
        assert text in str(error.value)
    assert "--adopt <application ID>" in str(error.value)
    assert "--new" in str(error.value)
    assert written(azure) == []
    assert not list(folder.rglob("development.env"))


def test_separate_registrations_are_created_beside_an_attackers(azure, run):
    planted = [plant(azure, key) for key in ("api", "ui")]
    before = deepcopy(planted)
    run(configure, "--new", "--grant-admin-consent")
    assert len(azure.registry.applications) == 4
    run(configure)  # the note knows the new ones: no option is needed any more
    assert len(azure.registry.applications) == 4
    run(cleanup, "--yes")
    assert list(azure.registry.applications.values()) == before


@pytest.mark.parametrize("adopted", [[0], [1], []])
def test_each_registration_is_adopted_by_its_id(azure, run, adopted):
    planted = [plant(azure, key) for key in ("api", "ui")]
    with pytest.raises(ScriptError) as error:
        run(configure, "--yes", *adoption(*[planted[number] for number in adopted]))
    assert [app["appId"] in str(error.value) for app in planted] == [
        number not in adopted for number in (0, 1)
    ]
    assert written(azure) == []


def test_one_of_several_tagged_registrations_is_adopted(azure, run):
    planted = [plant(azure, key) for key in ("api", "ui", "api")]
    run(configure, *adoption(*planted[1:]))
    assert planted[0]["passwordCredentials"] == []
    assert planted[2]["passwordCredentials"]
    assert len(azure.registry.applications) == 3


@pytest.mark.parametrize("members", [{"tags": []}, {"tags": ["another-sample/api"]}, None])
def test_only_a_tagged_registration_can_be_adopted(azure, run, members):
    app_id = plant(azure, "api", **members)["appId"] if members else str(uuid.uuid4())
    with pytest.raises(ScriptError, match=app_id):
        run(configure, "--adopt", app_id)
    assert written(azure) == []


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        pytest.param("--adopt", "x')/owners", "invalid guid value", id="adopt"),
        pytest.param("--client-id", "x')/owners", "invalid guid value", id="client"),
        pytest.param("--trust-identity", "x')/owners", "invalid identity value", id="identity"),
        pytest.param("--trust-identity", "ui=x", "invalid identity value", id="identity-of-ui"),
        pytest.param("--trust-identity", f"web={uuid.UUID(int=1)}", "'web' is not", id="app"),
        *(
            pytest.param("--redirect-uri", uri, "is not https://<host>/account/callback", id=name)
            for name, uri in {
                "http": "http://app.example/account/callback",
                "another-path": "https://app.example/",
                "path-in-front": "https://app.example/a/account/callback",
                "user-info": "https://app.example@evil.example/account/callback",
                "wildcard": "https://*.example/account/callback",
                "query": "https://app.example/account/callback?x=/account/callback",
            }.items()
        ),
    ],
)
def test_a_malformed_value_does_not_reach_graph(azure, run, capsys, option, value, words):
    with pytest.raises(SystemExit):
        run(configure, option, value)
    error = capsys.readouterr().err
    assert f"argument {option}: " in error
    assert words in error
    assert azure.requests("graph") == []


def test_a_name_alone_proves_nothing(azure, run):
    twins = [plant(azure, key, tags=[]) for key in ("api", "ui")]
    before = deepcopy(twins)
    run(configure)
    assert len(azure.registry.applications) == 4
    run(cleanup, "--yes")
    assert list(azure.registry.applications.values()) == before


def a_key(**members) -> graph.Json:
    return {"keyId": str(uuid.uuid4()), "displayName": "backdoor", "key": None, **members}


WAYS_IN = {
    "owner": lambda azure, app, sp: azure.registry.owners[app["id"]].add("an owner"),
    "web": lambda azure, app, sp: app["web"]["redirectUris"].append("https://evil.example/"),
    "spa": lambda azure, app, sp: app["spa"]["redirectUris"].append("https://evil.example/"),
    "public": lambda azure, app, sp: app["publicClient"]["redirectUris"].append("evil://x"),
    "secret": lambda azure, app, sp: app["passwordCredentials"].append(a_key(endDateTime="")),
    "certificate": lambda azure, app, sp: app["keyCredentials"].append(a_key()),
    "principal": lambda azure, app, sp: sp.update(passwordCredentials=[a_key()]),
    "principal-key": lambda azure, app, sp: sp.update(keyCredentials=[a_key()]),
    "identity": lambda azure, app, sp: azure.registry.federated[app["id"]].append(
        {"id": "x", "name": "x", "issuer": "https://evil.example", "subject": "evil"}
        | {"audiences": ["x"]}
    ),
    "client": lambda azure, app, sp: app["api"]["preAuthorizedApplications"].append(
        {"appId": "evil-client", "delegatedPermissionIds": []}
    ),
}
NAMES = {"owner": "an owner", "client": "evil-client", "web": "https://evil.example/"}
NAMES |= {"spa": "https://evil.example/", "public": "evil://x", "identity": "'evil'"}


@pytest.mark.parametrize("way", WAYS_IN)
def test_consent_for_all_is_refused_if_somebody_else_has_a_way_in(azure, run, way):
    """Also for a registration that the script created, and that was changed later."""
    run(configure)
    app = list(azure.registry.applications.values())[1]
    (sp,) = [sp for sp in azure.registry.principals.values() if sp["appId"] == app["appId"]]
    WAYS_IN[way](azure, app, sp)
    calls = len(azure.requests("graph"))
    with pytest.raises(ScriptError, match="consent is refused") as error:
        run(configure, "--yes", "--grant-admin-consent")
    assert NAMES.get(way, "backdoor") in str(error.value)
    assert str(error.value).count("\n  ") == 1
    assert written(azure, calls) == []
    assert azure.registry.grants == {}


def test_consent_for_all_is_refused_for_an_adopted_registration_with_secrets(azure, run):
    planted = [plant(azure, key) for key in ("api", "ui")]
    planted[0]["passwordCredentials"].append(a_key(endDateTime=""))
    with pytest.raises(ScriptError, match="backdoor"):
        run(configure, "--grant-admin-consent", *adoption(*planted))
    assert azure.registry.grants == {}


def test_consent_for_all_is_given_to_what_the_script_made(azure, run):
    identity = str(uuid.uuid4())
    run(configure, "--redirect-uri", "https://app.example/account/callback")
    run(configure, "--yes", "--certificate", "--trust-identity", identity)
    run(configure, "--certificate", "--grant-admin-consent")
    assert len(azure.registry.grants) == 3


def test_texts_of_others_cannot_control_the_terminal(azure, run):
    plant(azure, "api", displayName="\x1b[2J", web={"redirectUris": ["https://x/\x1b]0;y"]})
    with pytest.raises(ScriptError) as error:
        run(configure)
    assert "\x1b" not in str(error.value)


def test_a_second_developer_neither_uses_nor_deletes_the_registrations_of_the_first(
    azure, run, use_machine
):
    run(configure)
    before = deepcopy(azure.registry.applications)
    use_machine("second machine")
    with pytest.raises(ScriptError, match="did not create these"):
        run(configure, "--yes")
    assert "nothing to remove" in run(cleanup, "--yes")
    run(configure, "--new")
    assert len(azure.registry.applications) == 4
    run(cleanup, "--yes")
    assert azure.registry.applications == before


def test_what_was_adopted_is_never_deleted(azure, run, use_machine):
    run(configure, "--certificate", "--trust-identity", str(uuid.uuid4()))
    registry = azure.registry
    apps = list(registry.applications.values())
    before = deepcopy([apps, registry.federated, registry.principals])
    second = use_machine("second machine")
    run(configure, *adoption(*apps))
    two = [f"--trust-identity={uuid.uuid4()}" for _ in range(2)]
    run(configure, "--yes", "--certificate", *two)
    assert [len(app["keyCredentials"]) for app in registry.applications.values()] == [2, 2]
    assert [len(trusts) for trusts in registry.federated.values()] == [3, 3]

    output = run(cleanup, "--yes")
    assert output.count("(adopted: only what this machine added)") == 2
    assert output.count("This machine adopted it.") == 2
    assert output.count("which can contain a secret") == 2
    assert [list(registry.applications.values()), registry.federated] == before[:2]
    assert registry.principals == before[2]
    left = [path.name for path in second.rglob("*") if path.is_file()]
    assert {name for name in left if ".backup" not in name} == {"production.env"}


def test_a_secret_added_to_an_adopted_registration_is_removed(azure, run):
    """The other registration, which was created for it, is deleted."""
    planted = plant(azure, "api")
    run(configure, *adoption(planted))
    assert len(azure.registry.applications) == 2
    output = run(cleanup, "--yes")
    assert output.count("(adopted: only what this machine added)") == 1
    assert [app["appId"] for app in azure.registry.applications.values()] == [planted["appId"]]
    assert azure.registry.applications[planted["id"]]["passwordCredentials"] == []


def test_a_lost_note_is_replaced_by_adopting(azure, run, folder):
    run(configure)
    (folder / "createdApps.json").unlink()
    assert "nothing to remove" in run(cleanup, "--yes")
    with pytest.raises(ScriptError, match="did not create these"):
        run(configure)
    apps = list(azure.registry.applications.values())
    for _ in range(2):  # the same command can be run again
        assert run(configure, *adoption(*apps)).count("is up to date") == 2
    assert [len(app["passwordCredentials"]) for app in apps] == [1, 1]
    run(configure)  # adopted once is enough
    run(cleanup, "--yes")
    assert list(azure.registry.applications.values()) == apps


def test_a_registration_deleted_in_the_portal_is_created_anew_and_cleaned_up(azure, run, folder):
    planted = [plant(azure, key) for key in ("api", "ui")]
    run(configure, *adoption(*planted))
    azure.registry.applications.clear()
    azure.registry.principals.clear()
    run(configure, "--yes")
    assert len(azure.registry.applications) == 2
    run(cleanup, "--yes")
    assert azure.registry.applications == {}


def test_an_unreadable_registration_does_not_count_as_deleted(azure, run, folder):
    """Otherwise cleanup.py would forget it and leave it in the tenant."""
    run(configure)
    error = json.dumps({"error": {"code": "Authorization_RequestDenied", "message": "No."}})
    azure.faults.add("graph:get_application", status=403, body=error, times=None)
    with pytest.raises(graph.GraphError, match="403"):
        run(cleanup, "--yes")
    assert (folder / "createdApps.json").exists()
    assert (folder / "FlaskAPI/development.env").exists()


def test_a_note_of_another_tenant_is_left_alone(azure, run, folder):
    other = plant(azure, "api", tags=[])
    note = {"another tenant": {"api": {"appId": other["appId"], "made": []}}}
    (folder / "createdApps.json").write_text(json.dumps(note))
    assert "nothing to remove" in run(cleanup, "--yes")
    run(configure)
    assert len(azure.registry.applications) == 3
    run(cleanup, "--yes")
    assert list(azure.registry.applications.values()) == [other]
    assert json.loads((folder / "createdApps.json").read_text()) == note


def test_an_error_of_graph_about_owners_does_not_end_the_run(
    azure, run, cloud, monkeypatch, capsys
):
    """The list of owners can lag behind, and another user may be added with more rights only."""
    run(configure)
    registration = registrations.load()[0]
    registration.application = next(iter(azure.registry.applications.values()))
    options = configure.parse(["--cloud", cloud, "--tenant", azure.tenant_id])
    alice, bob = azure.users["alice"].oid, azure.users["bob"].oid
    _, client, _ = command_line.connect(options, [])
    registrations.add_owner(client, registration, alice)
    assert "skipped: Microsoft Graph answered 403" in capsys.readouterr().out

    service = azure.add_service("Application.ReadWrite.All", "Directory.Read.All")
    monkeypatch.setenv("AZURE_CLIENT_ID", service.client_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", service.secret)
    _, client, _ = command_line.connect(options, [])
    registrations.add_owner(client, registration, alice)
    azure.registry.owners_lag = True
    registrations.add_owner(client, registration, alice)
    assert "already exist" in capsys.readouterr().out
    assert azure.registry.owners[registration.application["id"]] == {alice}
    azure.registry.owners_lag = False
    told = registrations.foreign_access(client, registration.application, set())
    assert "  owner: 'alice@contoso.example'" in told
    registration.application["passwordCredentials"] = []
    registrations.refuse_foreign_access(client, [registration], {}, alice)  # adopted by its owner
    azure.users.pop("bob")
    with pytest.raises(GraphError, match="404"):
        registrations.add_owner(client, registration, bob)


def test_a_service_principal_is_found_if_graph_created_it_without_an_answer(azure, run, cloud):
    run(configure)
    app_id = next(iter(azure.registry.applications.values()))["appId"]
    options = configure.parse(["--cloud", cloud, "--tenant", azure.tenant_id])
    _, client, _ = command_line.connect(options, [])
    client.fresh.add(app_id)  # as after its creation in this run
    assert registrations.service_principal(client, app_id, "an app")["appId"] == app_id


def test_settings_of_another_registration_are_kept(azure, run, folder):
    run(configure, "--certificate")
    file = folder / "DjangoUI/development.env"
    file.write_text("CLIENT_ID=another\n")
    output = run(cleanup, "--yes")
    assert file.read_text() == "CLIENT_ID=another\n"
    assert (folder / "DjangoUI/certificate.pem").exists()
    assert not (folder / "FlaskAPI/development.env").exists()
    for name in ("development.env", "certificate.pem"):
        assert f"Kept: DjangoUI/{name}, of another registration." in output
    assert azure.registry.applications == {}


# --- questions and dry runs -----------------------------------------------------------------------


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def answer(text: str) -> None:
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda question: text)

    return answer


def state(azure: MockAzure, folder: Path) -> list[object]:
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return [deepcopy(azure.registry.applications), deepcopy(azure.registry.grants), files]


@pytest.mark.parametrize("text", ["N", "n", "no", ""])
def test_answering_no_changes_nothing(azure, run, folder, answer, text):
    run(configure, "--grant-admin-consent")
    before = state(azure, folder)
    answer(text)
    with pytest.raises(ScriptError, match="Nothing was changed"):
        run(configure, "--new-secrets")
    with pytest.raises(ScriptError, match="Nothing was removed"):
        run(cleanup)
    assert state(azure, folder) == before


def test_answering_yes_continues(azure, run, folder, answer):
    run(configure)
    answer("y")
    run(configure, "--new-secrets")
    run(cleanup)
    assert azure.registry.applications == {}


def test_nobody_is_asked_without_a_terminal(azure, run, fail):
    run(configure)
    output = fail(cleanup)
    assert "There is no terminal to ask on" in output
    for app in azure.registry.applications.values():
        assert f"To be removed: {app['displayName']!r} ({app['appId']})\n" in output
    assert len(azure.registry.applications) == 2


def test_cleaning_up_an_empty_tenant_says_so(run):
    assert "nothing to remove" in run(cleanup)


def test_a_dry_run_creates_and_writes_nothing(azure, run, folder):
    before = state(azure, folder)
    output = run(configure, "--dry-run", "--grant-admin-consent")
    assert output.count("would create the registration") == 2
    assert output.count("would consent to ") == 3
    assert output.endswith("\n\nNothing was changed.\n")
    assert written(azure) == []
    assert state(azure, folder) == before


def test_a_dry_run_removes_and_writes_nothing(azure, run, folder):
    run(configure, "--grant-admin-consent")
    before, calls = state(azure, folder), len(azure.requests("graph"))
    output = run(cleanup, "--dry-run")
    assert output.count("would delete") == 2
    for options in (["--certificate"], ["--new-secrets"], ["--trust-identity", str(uuid.uuid4())]):
        run(configure, "--dry-run", *options)
    assert written(azure, calls) == []
    assert state(azure, folder) == before


# --- secrets, consents and claims -----------------------------------------------------------------


def test_a_secret_of_somebody_else_stays_although_it_has_the_same_name(azure, run):
    run(configure)
    app = next(iter(azure.registry.applications.values()))
    (mine,) = app["passwordCredentials"]
    other = {**mine, "keyId": str(uuid.uuid4())}
    azure.registry.secrets[other["keyId"]] = azure.registry.secrets[mine["keyId"]]
    app["passwordCredentials"].append(other)
    run(configure, "--new-secrets", "--yes")
    left = azure.registry.applications[app["id"]]["passwordCredentials"]
    assert len(left) == 2
    assert other in left
    assert mine not in left


def test_the_secret_in_use_stays_until_the_new_one_is_in_the_settings(azure, run, folder):
    run(configure)
    app = next(iter(azure.registry.applications.values()))
    (in_use,) = app["passwordCredentials"]
    (folder / "FlaskAPI/production.env").unlink()  # without it no settings can be written
    with pytest.raises(FileNotFoundError):
        run(configure, "--new-secrets", "--yes")
    secrets = [*azure.registry.applications[app["id"]]["passwordCredentials"]]
    assert in_use in secrets
    assert len(secrets) == 2

    shutil.copy(ROOT / "FlaskAPI/production.env", folder / "FlaskAPI")
    run(configure, "--new-secrets", "--yes")
    (left,) = azure.registry.applications[app["id"]]["passwordCredentials"]
    assert left not in secrets


@pytest.mark.parametrize("whose", ["one-user", "another-client"])
def test_the_consent_of_somebody_else_does_not_count(azure, run, whose):
    run(configure, "--grant-admin-consent")
    grants = azure.registry.grants
    given = deepcopy(list(grants.values()))
    (graphs,) = {grant["resourceId"] for grant in given if "openid" in grant["scope"]}
    others = {
        "one-user": {"consentType": "Principal", "principalId": azure.users["alice"].oid},
        "another-client": {"clientId": graphs},
    }
    for grant in grants.values():
        grant |= others[whose]
    run(configure, "--grant-admin-consent")
    again = list(grants.values())[3:]
    assert [{**grant, "id": ""} for grant in again] == [{**grant, "id": ""} for grant in given]


def test_earlier_consents_stay(azure, run):
    run(configure, "--grant-admin-consent")
    for grant in azure.registry.grants.values():
        if "openid" in grant["scope"]:
            grant["scope"] = "openid User.Read"
    run(configure, "--grant-admin-consent")
    scopes = sorted(grant["scope"] for grant in azure.registry.grants.values())
    assert scopes == [
        "User.Read offline_access openid profile", "access_as_user", "user_impersonation",
    ]  # fmt: skip
    calls = len(azure.requests("graph"))
    run(configure, "--grant-admin-consent")
    assert written(azure, calls) == []


def test_claims_that_somebody_added_stay(azure, run):
    claims = {"idToken": [{"name": "ctry"}], "accessToken": [{"name": "ipaddr"}]}
    planted = [plant(azure, "api"), plant(azure, "ui", optionalClaims=claims)]
    run(configure, *adoption(*planted))
    ui = azure.registry.applications[planted[1]["id"]]
    assert ui["optionalClaims"]["accessToken"] == [{"name": "ipaddr"}]
    assert [claim["name"] for claim in ui["optionalClaims"]["idToken"]] == ["ctry", "login_hint"]


def test_both_registrations_are_locked_and_the_web_app_gets_login_hints(azure, run):
    run(configure)
    api, ui = azure.registry.applications.values()
    lock = {"isEnabled": True, "allProperties": True}
    assert api["servicePrincipalLockConfiguration"] == lock
    assert ui["servicePrincipalLockConfiguration"] == lock
    assert azure.applications[ui["appId"]].id_token_claims == ("login_hint",)


@pytest.mark.parametrize(
    ("days", "options", "advice"),
    [
        pytest.param(0, [], "use --certificate", id="no-secrets"),
        pytest.param(30, [], "--secret-days 30", id="short-secrets"),
        pytest.param(30, ["--certificate"], "--certificate 90", id="short-certificates"),
    ],
)
def test_a_policy_of_the_tenant_is_explained(azure, fail, days, options, advice):
    azure.registry.credential_days = {"passwordCredentials": days, "keyCredentials": days}
    assert advice in fail(configure, *options)


# --- the address of the deployed web app ----------------------------------------------------------

HERE = [
    "http://localhost:8000/account/callback",
    "http://localhost:8000/account/signed-out",
]
DEPLOYED = ["https://app.example/account/callback", "https://app.example/account/signed-out"]


def redirect_uris(azure: MockAzure) -> list[list[str]]:
    """The redirect URIs of the API and of the web app."""
    return [app["web"]["redirectUris"] for app in azure.registry.applications.values()]


def test_the_deployed_web_app_gets_its_redirect_uris_which_stay(azure, run):
    run(configure, "--redirect-uri", DEPLOYED[0])
    assert redirect_uris(azure) == [[], HERE + DEPLOYED]
    assert azure.applications[
        list(azure.registry.applications.values())[1]["appId"]
    ].redirect_uris == tuple(HERE + DEPLOYED)
    calls = len(azure.requests("graph"))
    run(configure)
    run(configure, "--redirect-uri", DEPLOYED[0])
    assert written(azure, calls) == []
    hosts = ["https://second.example:8443", "https://third.example"]
    run(configure, *[f"--redirect-uri={host}/account/callback" for host in hosts])
    assert redirect_uris(azure)[1][4:] == [
        f"{host}/account/{page}" for host in hosts for page in ("callback", "signed-out")
    ]


def test_a_dry_run_adds_no_redirect_uri(azure, run, folder):
    run(configure)
    before = state(azure, folder)
    assert "would set web" in run(configure, "--dry-run", "--redirect-uri", DEPLOYED[0])
    assert state(azure, folder) == before


def test_cleaning_up_takes_the_redirect_uris_of_this_machine_from_an_adopted_registration(
    azure, run
):
    theirs = "https://theirs.example/account/callback"
    planted = [plant(azure, "api"), plant(azure, "ui", web={"redirectUris": [theirs]})]
    run(configure, *adoption(*planted), "--redirect-uri", DEPLOYED[0])
    run(configure, "--redirect-uri", theirs)  # theirs all the same
    assert len(redirect_uris(azure)[1]) == 6
    run(cleanup, "--yes")
    assert redirect_uris(azure) == [[], [theirs]]


# --- certificates ---------------------------------------------------------------------------------


def registered(azure: MockAzure, folder: Path, app: str) -> list[bytes]:
    """The certificates of that app's registration, DER."""
    client_id = dotenv_values(folder / app / "development.env")["CLIENT_ID"]
    (application,) = [
        item for item in azure.registry.applications.values() if item["appId"] == client_id
    ]
    return [base64.b64decode(key["key"]) for key in application["keyCredentials"]]


def der_of(file: Path) -> bytes:
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    return certificate.public_bytes(serialization.Encoding.DER)


def test_certificates_replace_secrets(azure, run, folder):
    azure.registry.credential_days = {"passwordCredentials": 0}
    run(configure, "--certificate")
    settings_of(folder)  # both apps accept them
    for app in ("FlaskAPI", "DjangoUI"):
        file = folder / app / "certificate.pem"
        settings = dotenv_values(folder / app / "development.env")
        assert settings["CLIENT_CERTIFICATE"] == str(file)
        assert "CLIENT_SECRET" not in settings
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert registered(azure, folder, app) == [der_of(file)]
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert life == timedelta(days=365)
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        assert key.public_key() == certificate.public_key()
    assert "PRIVATE KEY" not in json.dumps(list(azure.registry.applications.values()))

    calls = len(azure.requests("graph"))
    assert run(configure, "--certificate").count("is up to date") == 2
    assert written(azure, calls) == []
    run(cleanup, "--yes")
    assert not list(folder.rglob("certificate.pem"))
    assert not list(folder.rglob("development.env"))


def replace_certificate(azure: MockAzure, folder: Path, app: str, days_left: int) -> bytes:
    """Give the app a certificate valid for 100 days, with this many days left."""
    file = folder / app / "certificate.pem"
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    name = x509.Name([])
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days_left)
    assert isinstance(key, rsa.RSAPrivateKey)
    old = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(end - timedelta(days=100))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    der = old.public_bytes(serialization.Encoding.DER)
    private = file.read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]
    client_id = dotenv_values(folder / app / "development.env")["CLIENT_ID"]
    (application,) = [
        item for item in azure.registry.applications.values() if item["appId"] == client_id
    ]
    application["keyCredentials"][0]["key"] = base64.b64encode(der).decode()
    file.write_bytes(private + old.public_bytes(serialization.Encoding.PEM))
    return der


@pytest.mark.parametrize(("days_left", "is_renewed"), [(26, False), (24, True), (-1, True)])
def test_a_certificate_is_renewed_in_its_last_quarter_and_the_old_one_stays(
    azure, run, folder, days_left, is_renewed
):
    run(configure, "--certificate", "100")
    file = folder / "FlaskAPI/certificate.pem"
    old = replace_certificate(azure, folder, "FlaskAPI", days_left)
    run(configure, "--certificate", "100", "--yes")
    assert (der_of(file) != old) is is_renewed
    assert registered(azure, folder, "FlaskAPI") == [old] + [der_of(file)] * is_renewed
    assert len(registered(azure, folder, "DjangoUI")) == 1


def test_a_certificate_that_somebody_registered_stays(azure, run, folder):
    run(configure, "--certificate")
    app = next(iter(azure.registry.applications.values()))
    other = {**app["keyCredentials"][0], "keyId": str(uuid.uuid4())}
    app["keyCredentials"].append(other)
    run(configure, "--certificate", "--new-secrets", "--yes")
    keys = azure.registry.applications[app["id"]]["keyCredentials"]
    assert len(keys) == 3
    assert other in keys


def test_a_lost_certificate_file_is_replaced(azure, run, folder):
    run(configure, "--certificate")
    file = folder / "FlaskAPI/certificate.pem"
    for content in (None, "no PEM"):
        file.unlink()
        if content:
            file.write_text(content)
        run(configure, "--certificate", "--yes")
        assert der_of(file) in registered(azure, folder, "FlaskAPI")
    for app in azure.registry.applications.values():
        app["keyCredentials"].clear()  # somebody removed them in the portal
    run(configure, "--certificate", "30", "--yes")
    assert registered(azure, folder, "FlaskAPI") == [der_of(file)]
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    assert certificate.not_valid_after_utc < datetime.now(UTC) + timedelta(days=30)


def test_a_secret_is_removed_when_a_certificate_replaces_it(azure, run, folder):
    run(configure)
    run(configure, "--certificate", "--yes")
    for app in azure.registry.applications.values():
        assert (len(app["passwordCredentials"]), len(app["keyCredentials"])) == (0, 1)
    run(configure, "--yes")
    api, ui = settings_of(folder)
    assert api["CLIENT_SECRET"]
    assert ui["CLIENT_SECRET"]


# --- managed identities ---------------------------------------------------------------------------


@EVERY_CLOUD
def test_a_managed_identity_is_trusted_by_both_apps(cloud, azure, run, folder):
    identity = str(uuid.uuid4())
    output = run(configure, "--trust-identity", identity)
    assert "set MANAGED_IDENTITY_CLIENT_ID" in output
    suffix = {"AzureCloud": "", "AzureUSGovernment": "USGov", "AzureChinaCloud": "China"}[cloud]
    for app in azure.registry.applications.values():
        (trust,) = azure.registry.federated[app["id"]]
        assert (trust["issuer"], trust["subject"]) == (azure.issuer, identity)
        assert trust["audiences"] == [f"api://AzureADTokenExchange{suffix}"]
    calls = len(azure.requests("graph"))
    run(configure, "--trust-identity", identity)
    assert written(azure, calls) == []
    run(configure, "--trust-identity", str(uuid.uuid4()))
    assert [len(trusts) for trusts in azure.registry.federated.values()] == [2, 2]
    run(cleanup, "--yes")
    assert azure.registry.federated == {}


def test_an_identity_trusted_from_another_issuer_is_not_trusted_yet(azure, run):
    identity = str(uuid.uuid4())
    run(configure, "--trust-identity", identity)
    for (trust,) in azure.registry.federated.values():
        trust |= {"name": "of another tenant", "issuer": f"https://login.example/{uuid.uuid4()}"}
    run(configure, "--trust-identity", identity)
    for trusts in azure.registry.federated.values():
        assert azure.issuer in [trust["issuer"] for trust in trusts]


def test_each_app_trusts_only_its_own_managed_identity(azure, run):
    identities = [str(uuid.uuid4()), str(uuid.uuid4())]
    options = [f"--trust-identity=api={identities[0]}", f"--trust-identity=ui={identities[1]}"]
    run(configure, *options)
    trusted = [
        [trust["subject"] for trust in trusts] for trusts in azure.registry.federated.values()
    ]
    assert trusted == [[identities[0]], [identities[1]]]
    calls = len(azure.requests("graph"))
    run(configure, *options)
    assert written(azure, calls) == []
