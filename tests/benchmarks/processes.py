"""The processes that are measured, and those that play Azure for them."""

import contextlib
import functools
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
from werkzeug.test import TestResponse

from tests.apps import ROOT, START_SECONDS, App, free_ports
from tests.benchmarks.stand_in import MARK
from tests.mock_azure import MockAzure, directory
from tests.waiting import wait_for

ONE_WORKER = "--workers 1"


@functools.cache  # first asked before any process is bound to some of them
def cpus() -> tuple[int, list[int]]:
    """Return the CPU for what is measured and those for everything else, if there are others."""
    measured, *others = sorted(os.sched_getaffinity(0))
    return measured, others or [measured]


def leave_measured_cpu() -> None:
    """Keep this process, and what it starts from now on, off the CPU of what is measured."""
    os.sched_setaffinity(0, cpus()[1])


@contextlib.contextmanager
def on_measured_cpu() -> Iterator[None]:
    """Let the processes that are started meanwhile run on the CPU of what is measured."""
    os.sched_setaffinity(0, {cpus()[0]})
    try:
        yield
    finally:
        leave_measured_cpu()


class Server(App):
    """An app under gunicorn with the settings of its folder, but one worker, on its own CPU."""

    def __init__(
        self, folder: str, application: str, settings: dict[str, str], arguments: str = ""
    ) -> None:
        arguments = f"{ONE_WORKER} {arguments}"
        super().__init__(
            folder, application, settings | {"GUNICORN_CMD_ARGS": arguments}, *free_ports(1)
        )

    def __enter__(self) -> Self:
        with on_measured_cpu():
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self.log.unlink()


def cpu_seconds(app: App) -> float:
    """Return the processor time of the worker so far, user and system."""
    fields = _proc(app, "stat").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(app: App) -> int:
    """Return how much memory of the worker is in RAM."""
    return int(_proc(app, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _proc(app: App, name: str) -> str:
    (worker,) = app.workers()
    return Path(f"/proc/{worker}/{name}").read_text(encoding="utf-8")


def inside(app: App, script: str, **environ: str) -> str:
    """Return what a script of this folder prints in the environment of ``app``, on its CPU."""
    with on_measured_cpu():
        finished = subprocess.run(
            [sys.executable, str(Path(__file__).with_name(script))],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / app.folder),
                **app.settings,
                **environ,
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


class Azure:
    """The fast stand-in, running, and tokens that it would have issued."""

    def __init__(self) -> None:
        self._tls_port, self.plain_port = free_ports(2)
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-")
        self._ca_file = Path(self._folder.name, "ca.pem")
        self._process: subprocess.Popen[str] | None = None
        # Never listens: it signs tokens, and gives the answers that are repeated.
        url = f"https://localhost:{self._tls_port}"
        self._mock = MockAzure(login_url=url, arm_url=url)
        self._mock.consent_all("alice")
        self._arm_token = ""
        self._users = itertools.count()

    def __enter__(self) -> Self:
        plan = {
            "tls_port": self._tls_port,
            "plain_port": self.plain_port,
            "ca_file": str(self._ca_file),
            "recorded": self._record(),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.stand_in"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin
        self._process.stdin.write(json.dumps(plan) + "\n")
        self._process.stdin.flush()
        wait_for(self._listens, START_SECONDS, "The stand-in for Azure: listening")
        return self

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self._tls_port), timeout=1).close()
            return True
        return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    def api_settings(self) -> dict[str, str]:
        return self._mock.flask_api_settings() | {"CA_BUNDLE": str(self._ca_file)}

    def new_tokens(self) -> tuple[str, str, str]:
        """Return what a user who never called yet brings to the API, what the API exchanges it
        for, and the mark that is in Resource Manager's answers to this user and no other.
        """
        oid = directory.stable_guid(f"user {next(self._users)}")
        access_token = self._mock.access_token("alice", oid=oid, sub=f"{oid} at the API")
        mark = access_token[-len(MARK) :]
        return access_token, mark + self._arm_token[len(MARK) :], mark

    def calls(self) -> dict[str, int]:
        """Return how often it was asked so far: ``{"entra": ..., "arm": ...}``."""
        session = requests.Session()
        session.trust_env = False  # a proxy has no way to this machine's loopback
        answer = session.get(f"http://127.0.0.1:{self.plain_port}/calls", timeout=5)
        counted: dict[str, int] = answer.json()
        return counted

    def _record(self) -> dict[str, str]:
        """Return the mock's answers by path, each as it goes over the wire."""
        settings = self._mock.flask_api_settings()
        tenant = f"/{self._mock.tenant_id}"
        paths = [f"{tenant}/v2.0/.well-known/openid-configuration", f"{tenant}/discovery/v2.0/keys"]
        recorded = {path: _wire(self._mock.app.test_client().get(path)) for path in paths}
        exchange = self._mock.app.test_client().post(
            f"{tenant}/oauth2/v2.0/token",
            data={
                "client_id": settings["CLIENT_ID"],
                "client_secret": settings["CLIENT_SECRET"],
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "requested_token_use": "on_behalf_of",
                "assertion": self._mock.access_token("alice"),
                "scope": f"{settings['SCOPE']} openid profile",
                "client_info": "1",
            },
        )
        self._arm_token = token = json.loads(exchange.text)["access_token"]
        marked = _wire(exchange).replace(token[: len(MARK)], MARK.decode(), 1)
        page = self._mock.app.test_client().get(
            "/subscriptions?api-version=2020-01-01", headers={"Authorization": f"Bearer {token}"}
        )
        subscription_id = json.loads(page.text)["value"][0]["subscriptionId"]
        return recorded | {
            f"{tenant}/oauth2/v2.0/token": marked,
            "/subscriptions": _wire(page).replace(subscription_id, MARK.decode()),
        }


def _wire(answer: TestResponse) -> str:
    assert answer.status_code == 200, answer.text
    head = [f"HTTP/1.1 {answer.status}", *(f"{name}: {value}" for name, value in answer.headers)]
    return "\r\n".join([*head, "", answer.text])
