"""The README's commands, unchanged, in a copy of the repository."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Page, expect

import run
from tests.apps import ROOT
from tests.e2e.test_app_creation import TRY_IT
from tests.mock_azure import MockAzure
from tests.unit.repository.documents import API, README, UI, tracked

BLOCKS = [text for document in (README, API, UI) for text in document.fences("shell")]


def block(*words: str) -> str:
    """The only shell block of the three READMEs that contains all ``words``."""
    (found,) = [text for text in BLOCKS if all(word in text for word in words)]
    return found


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A clone of the repository, without the files that Git ignores."""
    folder = tmp_path_factory.mktemp("clone") / "on-behalf-of"
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def environment() -> dict[str, str]:
    """A new user's environment: no virtual environment, no settings, no pytest."""
    kept = (
        "PATH",
        "HOME",
        "LANG",
        "TMPDIR",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
    )
    prefixes = ("PIP_", "UV_", "PYENV_", "REQUESTS_")
    environ = {k: v for k, v in os.environ.items() if k in kept or k.startswith(prefixes)}
    venv = Path(sys.prefix, "bin")
    environ["PATH"] = ":".join(p for p in environ["PATH"].split(":") if Path(p) != venv)
    return environ


@contextlib.contextmanager
def background(script: str, folder: Path, url: str) -> Iterator[Path]:
    """Run ``script`` until the block ends; it must respond at ``url``. Yields its output."""
    log = folder / f"{urlsplit(url).port}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder, env=environment(), stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            for _ in range(600):
                assert process.poll() is None, log.read_text()
                with contextlib.suppress(requests.RequestException):
                    requests.get(url, timeout=5)
                    break
                time.sleep(0.1)
            else:
                pytest.fail(f"nothing answers at {url}: {log.read_text()}")
            yield log
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def ports_of_the_readme() -> None:
    for port in (8000, 5000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                message = f"port {port} is taken: stop what listens there to run this test"
                assert os.environ.get("CI") != "true", message
                pytest.skip(message)


@pytest.fixture(scope="module")
def installed(clone) -> Path:
    """The virtual environments of both apps, created by run.py with the same commands as Setup."""
    run.pythons_of("FlaskAPI", "DjangoUI")
    for app in ("FlaskAPI", "DjangoUI"):
        (clone / app / "venv").symlink_to(ROOT / app / "venv")
    return clone


def registered(clone: Path, azure: MockAzure) -> None:
    """Fill in copies of the templates, as Registration says, with the values of the mock."""
    ui = azure.django_ui_settings()
    api = azure.flask_api_settings() | {"ALLOWED_CLIENT_IDS": ui["CLIENT_ID"]}
    for app, values in {"FlaskAPI": api, "DjangoUI": ui}.items():
        lines = (clone / app / "production.env").read_text().splitlines()
        keys = [line.partition("=")[0] for line in lines]
        filled = [
            f"{key}={values[key]}" if key in values else line
            for key, line in zip(keys, lines, strict=True)
        ]
        text = "\n".join([*filled, f"CA_BUNDLE={azure.ca_file}", ""])
        (clone / app / "development.env").write_text(text)


def walk(page: Page) -> None:
    page.goto("http://127.0.0.1:8000/")  # is sent over to localhost
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_role("button", name=re.compile("Alice")).click()
    page.get_by_role("button", name="Accept").click()
    expect(page).to_have_url("http://localhost:8000/")
    expect(page.get_by_role("table", name="Your subscriptions")).to_contain_text(
        "Contoso Production"
    )


@pytest.mark.usefixtures("ports_of_the_readme")
def test_both_apps_start_by_hand(installed, page: Page):
    with MockAzure() as azure:
        registered(installed, azure)
        api, ui = block("cd FlaskAPI", "flask run"), block("cd DjangoUI", "runserver")
        with (
            background(api, installed, "http://127.0.0.1:5000/health") as api_log,
            background(ui, installed, "http://localhost:8000/health") as ui_log,
        ):
            walk(page)
            written = api_log.read_text() + ui_log.read_text()
        assert "/account/callback" in written
        assert "code=" not in written  # neither in the development servers' own lines


def test_setup_makes_the_environments_that_run_py_makes(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)  # without uv

    def words(command: list[str]) -> list[str]:
        return [word.removeprefix(f"{ROOT}/") for word in command if word != "--clear"]

    lines = block("pip install").splitlines()
    for app, line in zip(("FlaskAPI", "DjangoUI"), lines, strict=True):
        environment = run.Environment(app)
        make, install = words(environment.make()), words(environment.install())
        made, installed = (command.split() for command in line.split(" && "))
        assert made == ["python3", *make[1:]]
        assert installed == [f"{app}/venv/bin/pip", "install", *install[-2:]]
        assert install[:4] == [f"{app}/venv/bin/python", "-m", "pip", "install"]


def test_every_shell_block_is_run_by_a_test():
    """A new block in the README needs a test that runs it. This list names the tests."""
    run_by = {
        "run.py\n": "demo",
        "run.py test": "the continuous integration runs the tests with it",
        "python3 -m venv": "test_setup_makes_the_environments_that_run_py_makes",
        "AppCreationScripts/configure.py": "test_app_creation, with the mock's addresses",
        "run.py --azure": "test_app_creation, as the last command of its document",
        "flask run": "test_both_apps_start_by_hand",
        "manage.py runserver": "test_both_apps_start_by_hand",
        "docker compose up": "tests.containers.demo, where there is Docker",
        "tenant.env": "test_containers reads the settings; a tenant is needed to run it",
    }
    for text in BLOCKS:
        assert sum(words in text for words in run_by) == 1, text
    assert len(BLOCKS) == len(run_by)
    assert block("--azure").strip() == TRY_IT.splitlines()[-1]
