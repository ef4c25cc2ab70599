"""``configure.py`` at the real addresses of each cloud, and with everything failing once."""

import json
import shutil
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from dotenv import dotenv_values
from flask import request

import configure
import graph
import Helpers.environment
import helpers.environment
import settings_files
from tests.integration.in_process.conftest import internet
from tests.mock_azure import MockAzure
from tests.mock_azure.faults import Fault, Faults

ROOT = Path(__file__).parents[3]


class EachCallFailsOnce(Faults):
    """Refuses every call to Graph the first time: busy, or not knowing what was just made."""

    def __init__(self, azure: MockAzure) -> None:
        super().__init__()
        self.azure = azure
        self.seen: set[str] = set()
        self.used: list[int] = []
        self.busy = cycle([429, 503])

    def take(self, hop: str, user: str | None) -> Fault | None:
        body = request.get_data(as_text=True)
        call = f"{request.method} {request.full_path} {body}"
        if not hop.startswith("graph:") or call in self.seen:
            return None
        self.seen.add(call)
        registry = self.azure.registry
        made = [*registry.applications.values(), *registry.principals.values()]
        is_fresh = any(one[name] in call for one in made for name in ("id", "appId"))
        code = "Request_ResourceNotFound"
        if hop == "graph:create_principal":  # the one call that says it in another way
            code = graph.NO_APPLICATION_YET
            self.used.append(400)
        else:
            self.used.append(404 if is_fresh else next(self.busy))
        error = json.dumps({"error": {"code": code, "message": "not here"}})
        return Fault(hop, status=self.used[-1], body=error, headers={"Retry-After": "7"})


@pytest.fixture(params=["AzureCloud", "AzureUSGovernment", "AzureChinaCloud"])
def cloud(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def azure(cloud: str) -> Iterator[MockAzure]:
    """A tenant of that cloud, at the cloud's own addresses, and without registrations."""
    urls = graph.SAMPLE["clouds"][cloud]
    azure = MockAzure(login_url=urls["login"], arm_url=urls["arm"], graph_url=urls["graph"])
    azure.unregister()

    with internet({urls["login"]: azure.app, urls["graph"]: azure.app}):
        yield azure


@pytest.fixture
def folder(azure: MockAzure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the scripts write, with a service principal in the environment."""
    for app in ("FlaskAPI", "DjangoUI"):
        (tmp_path / app).mkdir()
        shutil.copy(ROOT / app / "production.env", tmp_path / app)
    monkeypatch.setattr(settings_files, "ROOT", tmp_path)
    monkeypatch.setattr(settings_files, "NOTE", tmp_path / "createdApps.json")
    monkeypatch.setattr(settings_files, "PAGE", tmp_path / "createdApps.html")
    service = azure.add_service(
        "Application.ReadWrite.All", "DelegatedPermissionGrant.ReadWrite.All"
    )
    monkeypatch.setenv("AZURE_CLIENT_ID", service.client_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", service.secret)
    return tmp_path


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, without the wait."""
    seconds: list[float] = []
    monkeypatch.setattr(graph, "sleep", seconds.append)
    return seconds


def settings_of(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Both settings files, as far as the apps accept them."""
    api = {"FLASK_ENV": "development", "ENV_FILE": str(folder / "FlaskAPI/development.env")}
    ui = {"ENVIRONMENT": "development", "ENV_FILE": str(folder / "DjangoUI/development.env")}
    return helpers.environment.load_settings(api), Helpers.environment.load_settings(ui)


def test_a_cloud_sets_every_address(cloud, azure, folder):
    assert configure.main(["--cloud", cloud, "--tenant", azure.tenant_id]) == 0
    api, ui = settings_of(folder)
    urls = graph.SAMPLE["clouds"][cloud]
    assert api["AUTHORITY"] == ui["AUTHORITY"] == f"{urls['login']}/{azure.tenant_id}"
    assert api["ISSUER"] == f"{api['AUTHORITY']}/v2.0"
    assert api["SCOPE"] == f"{urls['arm']}/user_impersonation"
    assert api["AZURE_MANAGEMENT_SUBSCRIPTIONS_URI"].startswith(f"{urls['arm']}/subscriptions?")
    assert urls["portal"] in (folder / "createdApps.html").read_text()
    keys = dotenv_values(folder / "FlaskAPI/development.env").keys()
    assert keys == dotenv_values(ROOT / "FlaskAPI/production.env").keys()


def test_everything_may_fail_once(cloud, azure, folder, naps, capsys):
    azure.faults = faults = EachCallFailsOnce(azure)
    options = ["--cloud", cloud, "--tenant", azure.tenant_id, "--grant-admin-consent"]
    assert configure.main(options) == 0
    assert {429, 503, 404, 400} == set(faults.used)
    assert naps == [7] * len(faults.used)
    assert len(naps) > 15
    printed = capsys.readouterr().out
    assert printed.count("trying again in 7 s") == len(naps)

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
    assert [one["CLIENT_ID"] for one in settings] == [api["appId"], ui["appId"]]
    note = json.loads((folder / "createdApps.json").read_text())[azure.tenant_id]
    assert [note[key]["appId"] for key in ("api", "ui")] == [api["appId"], ui["appId"]]


def test_a_call_that_never_succeeds_ends_the_run(azure, cloud, folder, naps):
    azure.faults.add("graph:create_application", status=503, times=None)
    with pytest.raises(graph.GraphError, match="503"):
        configure.main(["--cloud", cloud, "--tenant", azure.tenant_id])
    assert sum(naps) <= graph.PATIENCE_SECONDS
    assert len(naps) > 3
