"""The document's commands: the mock with an empty tenant, ``configure.py``, ``run.py --azure``."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import run
from tests.apps import ROOT, free_ports
from tests.e2e.conftest import START_SECONDS
from tests.e2e.test_walkthrough import accept
from tests.unit.app_creation_scripts.test_description import DOCUMENT
from tests.unit.repository.documents import tracked

(MOCK, TRY_IT) = (text for text in DOCUMENT.fences("shell") if "mock-cloud.json" in text)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the repository, with the virtual environments of this one."""
    for name in tracked():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    run.pythons_of("FlaskAPI", "DjangoUI")
    for app in ("FlaskAPI", "DjangoUI"):
        (tmp_path / app / "venv").symlink_to(ROOT / app / "venv")
    return tmp_path


@pytest.fixture
def start(clone: Path) -> Iterator[Callable[..., str]]:
    """Run a command, or start it and return the line that contains ``until``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    started: list[subprocess.Popen[str]] = []

    def start(command: str, until: str, **environ: str) -> str:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=clone,
            env={**kept, "PYTHONUNBUFFERED": "1", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout
        written = ""
        for line in process.stdout:
            written += line
            if until in line:
                return line
        raise AssertionError(written)

    yield start
    for process in reversed(started):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
        assert process.returncode == 0, rest
    assert not list(clone.glob("mock-cloud.*"))  # the mock tidies up


def test_run_py_starts_both_apps_with_the_files_that_were_written(clone, start, page: Page):
    front, back, api_port, ui_port = free_ports(4)
    start(f"{MOCK.strip()} --front-port {front} --back-port {back}", "Ctrl-C")

    configure, launch = TRY_IT.strip().splitlines()
    line = start(configure, "enter the code", BROWSER="", DISPLAY="", WAYLAND_DISPLAY="")
    told = re.search(r"Open (\S+) and enter the code (\S+)", line)
    assert told
    page.goto(told[1])
    page.get_by_label("Code from your device").fill(told[2])
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name=re.compile("Alice")).click()
    accept(page)
    expect(page.get_by_text("You can close this window")).to_be_visible()
    settings = clone / "DjangoUI/development.env"
    deadline = time.monotonic() + START_SECONDS
    while not settings.exists():
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)

    ui = f"http://localhost:{ui_port}"
    ports = f"--api-port {api_port} --ui-port {ui_port}"
    start(
        f"{sys.executable} {launch.partition(' ')[2]} --no-browser {ports}",
        "The sample runs at",
    )
    page.goto(ui)
    accept(page)
    expect(page.get_by_role("rowheader", name="Contoso Archive")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{ui}/account/signed-out")
