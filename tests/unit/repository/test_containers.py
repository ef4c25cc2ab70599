"""The container files: the contents of the images, and the rules of docker-compose.yml."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docker.utils import exclude_paths  # type: ignore[import-untyped]
from dotenv import dotenv_values
from ruamel.yaml import YAML

from tests.unit.repository.documents import ROOT, tracked

DOCKERFILES = {
    "FlaskAPI": "FlaskAPI/Dockerfile",
    "DjangoUI": "DjangoUI/Dockerfile",
    ".": "tests/mock_azure/Dockerfile",
}
NOT_NEEDED = ("Dockerfile", ".dockerignore", "README.md", "Pipfile", "production.env", ".vscode/")
LEFT_BEHIND = (
    "development.env",
    ".env",
    "production.env.backup",
    "db.sqlite3",
    "db.sqlite3-wal",
    "certificate.pem",
    "venv/bin/python",
    ".git/config",
    "tests/test_main.py",
    "notes.txt",
)
COMPOSE_FILES = [
    str(file.relative_to(ROOT))
    for file in (ROOT / "docker-compose.yml", *(ROOT / "tests/containers").glob("*.yml"))
]


def tool(*command: str) -> str:
    """Run a tool of this virtual environment; return its complaints."""
    program = shutil.which(command[0], path=str(Path(sys.executable).parent))
    assert program, f"{command[0]} is missing: pip install -r tests/requirements.txt"
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def context(folder: Path, ignore_file: Path) -> set[str]:
    """Return the files that Docker sends to a build in ``folder``."""
    patterns = [
        line for line in ignore_file.read_text().splitlines() if line and not line.startswith("#")
    ]
    found = exclude_paths(str(folder), patterns, dockerfile="Dockerfile")
    return {name for name in found if (folder / name).is_file()} - {"Dockerfile", ".dockerignore"}


def copy_with_leftovers(source: Path, names: list[str], folder: Path) -> None:
    """Copy ``names`` from ``source``, and add files that must never get into an image."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, folder / name)
    inside = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for name in LEFT_BEHIND:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("secret")
    for path in inside:
        for name in ("__pycache__/main.pyc", "key.pem", "development.env", "db.sqlite3"):
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_text("secret")


@pytest.mark.parametrize("app", ["FlaskAPI", "DjangoUI"])
def test_an_apps_image_gets_the_apps_code_and_nothing_else(app, tmp_path):
    names = [name.removeprefix(f"{app}/") for name in tracked() if name.startswith(f"{app}/")]
    copy_with_leftovers(ROOT / app, names, tmp_path)
    needed = {name for name in names if not name.startswith(NOT_NEEDED)}
    assert context(tmp_path, ROOT / app / ".dockerignore") == needed


def test_the_mocks_image_gets_the_mock_and_nothing_else(tmp_path):
    names = [name for name in tracked() if not name.startswith(".git")]
    copy_with_leftovers(ROOT, names, tmp_path)
    needed = {name for name in names if name.startswith("tests/mock_azure/")}
    sent = context(tmp_path, ROOT / "tests/mock_azure/Dockerfile.dockerignore")
    assert sent == needed | {"tests/__init__.py", "FlaskAPI/requirements.txt"}


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values())
def test_dockerfiles_follow_good_practice(dockerfile):
    assert tool("hadolint", "--failure-threshold", "warning", dockerfile) == ""


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values())
def test_images_run_as_a_user_without_rights(dockerfile):
    final_stage = (ROOT / dockerfile).read_text().rpartition("\nFROM ")[2]
    assert "\nUSER 10001:10001\n" in final_stage
    assert "\nHEALTHCHECK " in final_stage
    assert "SECRET" not in final_stage


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_compose_files_follow_their_schema(file):
    assert tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file) == ""


@pytest.fixture(scope="module")
def services():
    return YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]


def test_compose_publishes_on_loopback_only(services):
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {
        "mock-azure": ["127.0.0.1:8400:8400"],
        "proxy": ["127.0.0.1:8000:8000"],
    }
    # Therefore this is safe: the browser's requests reach the container from the network's gateway.
    assert "--controls-from=0.0.0.0/0" in services["mock-azure"]["command"]


def test_compose_gives_containers_no_rights_and_no_secrets(services):
    for service in services.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "unless-stopped"
        environ = service.get("environment", {})
        assert not [key for key in environ if "SECRET" in key or "KEY" in key]
    assert services["proxy"]["cap_add"] == ["NET_BIND_SERVICE"]


def test_containers_have_time_to_finish_running_requests(services):
    """The proxy too: it waits for the apps' answers."""
    for name, service in services.items():
        seconds = int(service["stop_grace_period"].removesuffix("s"))
        assert seconds >= 30, name
    for app in ("FlaskAPI", "DjangoUI"):
        (graceful,) = re.findall(r"--graceful-timeout=(\d+)", (ROOT / DOCKERFILES[app]).read_text())
        assert int(graceful) < seconds


def test_the_development_container_forwards_what_a_browser_opens():
    text = (ROOT / ".devcontainer/devcontainer.json").read_text()
    described = json.loads(re.sub(r"^//.*", "", text, flags=re.M))
    launcher = subprocess.run(
        [sys.executable, "run.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for option, port in zip(("--ui-port", "--front-port"), described["forwardPorts"], strict=True):
        assert re.search(rf"{option}\b.*\n?.*\({port}\)", launcher.stdout), option


def test_the_switch_to_a_tenant_reads_both_development_files():
    switch = dotenv_values(ROOT / "tests/containers/tenant.env")
    compose = (ROOT / "docker-compose.yml").read_text()
    assert set(switch) == set(re.findall(r"\$\{(\w+):-", compose))
    assert switch == {
        "MOCK_AZURE": "0",
        "FLASKAPI_SETTINGS": "FlaskAPI/development.env",
        "DJANGOUI_SETTINGS": "DjangoUI/development.env",
    }


@pytest.mark.parametrize(
    "module", ["tests.containers.demo", "tests.containers.several", "tests.pictures.__main__"]
)
def test_commands_that_need_more_than_a_test_run_can_be_started(module):
    subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True)
