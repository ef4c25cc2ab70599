"""The README's own command, as a process, and a real browser."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from tests.apps import ROOT, free_ports
from tests.browser import ARGUMENTS, CHROMIUM
from tests.mock_azure import MockAzure

START_SECONDS = 180  # a first start installs packages

# A shell's background processes ignore Ctrl-C and so do their children, but here it is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, object]) -> dict[str, object]:
    assert CHROMIUM, "this machine has no Chromium"
    return {**browser_type_launch_args, "executable_path": CHROMIUM, "args": ARGUMENTS}


@dataclass
class Demo:
    """A running ``run.py``: the addresses of its services, and all their output."""

    process: subprocess.Popen[str]
    ui: str
    api: str
    front: str
    lines: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    def written(self) -> str:
        return "\n".join(self.lines)

    def wait_for_end(self, seconds: int) -> int:
        """Wait until it has ended and all its output is read; return its exit status."""
        status = self.process.wait(seconds)
        assert self.reader
        self.reader.join(10)
        return status

    def listening(self) -> list[str]:
        """Return the addresses where something still listens."""
        found = []
        for url in (self.ui, self.api, self.front):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0:
                    found.append(url)
        return found

    def reset(self) -> None:
        """Reset the mock, as the button of its front page does."""
        requests.post(f"{self.front}/controls/reset", timeout=10).raise_for_status()


def start_demo(front_host: str = "localhost") -> Demo:
    ui, api, front, back = free_ports(4)
    options = ["--ui-port", ui, "--api-port", api, "--front-port", front, "--back-port", back]
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "DJANGO_"))}
    # The demo must ignore settings that the shell contains for other programs.
    environ |= {"REDIS_URL": "redis://127.0.0.1:1", "CLIENT_CERTIFICATE": "/nowhere.pem"}
    process = subprocess.Popen(
        [sys.executable, "run.py", "--no-browser", "--front-host", front_host, *map(str, options)],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    host = "http://localhost"
    demo = Demo(process, f"{host}:{ui}", f"{host}:{api}", f"http://{front_host}:{front}")
    ready: queue.Queue[bool] = queue.Queue()

    def read() -> None:
        assert process.stdout
        with process.stdout as lines:
            for line in lines:
                demo.lines.append(line.rstrip())
                if "The sample runs at" in line:
                    ready.put(True)
        ready.put(False)

    demo.reader = threading.Thread(target=read, daemon=True)
    demo.reader.start()
    if not ready.get(timeout=START_SECONDS):
        process.wait()
        pytest.fail(f"run.py ended before it was ready:\n{demo.written()}")
    return demo


def stop_demo(demo: Demo) -> None:
    """Stop with Ctrl-C, and check that no process, file or traceback is left."""
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.wait_for_end(60) == 0
    assert demo.listening() == []
    scratch = re.search(r"CA: (\S+)\)", demo.written())
    assert scratch
    assert not Path(scratch[1]).parent.exists()
    assert "Stopped." in demo.written()
    assert "Traceback" not in demo.written()


@pytest.fixture(scope="session")
def one_demo() -> Iterator[Demo]:
    """The demo as a new user starts it, but on free ports."""
    demo = start_demo()
    yield demo
    stop_demo(demo)


@pytest.fixture
def demo(one_demo: Demo) -> Demo:
    """The demo, with its tenant in the initial state."""
    one_demo.reset()
    return one_demo


@pytest.fixture(scope="session")
def one_azure() -> Iterator[MockAzure]:
    """A mock under this process's control, with its sign-in pages on another site."""
    with MockAzure(front_host="127.0.0.1") as azure:
        yield azure
