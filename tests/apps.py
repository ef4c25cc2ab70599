"""Run both apps as they are deployed: with gunicorn, several workers, and free ports."""

import atexit
import contextlib
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.mock_azure import MockAzure
from tests.waiting import wait_for

ROOT = Path(__file__).parents[1]
START_SECONDS = 30
ONE_WORKER = {"GUNICORN_CMD_ARGS": "--workers 1"}  # starts in half the time


PORTS = range(20_000, 32_000)  # below those that systems give to clients

_reservations: list[socket.socket] = []


def free_ports(number: int) -> list[int]:
    """Return ports that no other process of these tests gets while this one runs.

    A UDP socket of the same number reserves each; a TCP server can still listen there.
    """
    ports: list[int] = []
    while len(ports) < number:
        port = random.SystemRandom().choice(PORTS)
        reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            reservation.bind(("127.0.0.1", port))
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            reservation.close()
        else:
            _reservations.append(reservation)
            ports.append(port)
    return ports


def copy_of(folder: str, into: Path, *left_out: str) -> Path:
    """Copy an app or the scripts into the folder ``into``, without what Git ignores there.

    :param left_out: patterns of further names.
    """
    ignored = ["venv", "__pycache__", "development.env*", "*.sqlite3*", "staticfiles"]
    names = shutil.ignore_patterns(*ignored, "createdApps.*", *left_out)
    return Path(shutil.copytree(ROOT / folder, into / folder, ignore=names))


class App:
    """One app run by gunicorn, in its own process group."""

    def __init__(self, folder: str, application: str, settings: dict[str, str], port: int) -> None:
        self.folder, self.application = folder, application
        self.settings, self.port = settings, port
        self.url = f"http://localhost:{port}"
        self.log = Path(tempfile.mkstemp(suffix=".log")[1])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.launch()
        self.wait_until_healthy()

    def launch(self) -> None:
        environ = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **self.settings}
        bind = ["--bind", f"127.0.0.1:{self.port}", "--bind", f"[::1]:{self.port}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *bind, self.application],
                cwd=ROOT / self.folder,
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_healthy(self) -> None:
        wait_for(self.is_healthy, START_SECONDS, f"{self.folder}: /health")

    def is_healthy(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.written()
        try:
            requests.get(f"{self.url}/health", timeout=2)
        except requests.RequestException:
            return False
        return True

    def stop(self) -> None:
        if self.process:
            # Immediately: gunicorn would wait for connections that clients keep alive.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def workers(self) -> list[int]:
        """The process IDs of the workers."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(child) for child in children.read_text().split()]

    def written(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@functools.cache
def migrated_database() -> Path:
    """Create DjangoUI's database with its tables, once for all tests of this process."""
    folder = Path(tempfile.mkdtemp(prefix="database-"))
    atexit.register(shutil.rmtree, folder)
    file = folder / "db.sqlite3"
    with MockAzure() as azure:  # the settings name its CA file, which must exist
        environ = azure.django_ui_settings() | {"DATABASE_PATH": str(file)}
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=ROOT / "DjangoUI",
            env={"PATH": os.environ["PATH"], **environ},
            check=True,
        )
    return file


class Apps:
    """DjangoUI and FlaskAPI with a mock of Azure. Additional settings go to one of the apps.

    Without a mock these have to be all but the addresses, say ``ENV_FILE``. An app without a
    secret: ``Apps(azure, api_settings=azure.identity_settings(azure.api))``. An ``api`` that runs
    already is not started, nor stopped.
    """

    def __init__(
        self,
        azure: MockAzure | None,
        api_settings: dict[str, str] | None = None,
        ui_settings: dict[str, str] | None = None,
        api: App | None = None,
    ) -> None:
        api_port, ui_port = free_ports(2)
        self._folder = tempfile.TemporaryDirectory(prefix="apps-")
        environ = (azure.flask_api_settings() if azure else {}) | (api_settings or {})
        self.api = api or App("FlaskAPI", "main:create_app()", environ, api_port)
        ui_url = f"http://localhost:{ui_port}"
        ui = azure.django_ui_settings() if azure else {}
        ui |= {
            "FLASK_BACKEND_URL": f"{self.api.url}/subscriptions",
            "REDIRECT_URI": f"{ui_url}/account/callback",
            "POST_LOGOUT_REDIRECT_URI": f"{ui_url}/account/signed-out",
        }
        ui["DATABASE_PATH"] = str(Path(self._folder.name, "db.sqlite3"))
        self.ui = App("DjangoUI", "UI.wsgi", ui | (ui_settings or {}), ui_port)
        self._own = [self.ui] if api else [self.api, self.ui]

    def __enter__(self) -> Self:
        if not self.ui.settings.get("REDIS_URL"):
            shutil.copy(migrated_database(), self.ui.settings["DATABASE_PATH"])
        for app in self._own:
            app.launch()
        for app in self._own:
            app.wait_until_healthy()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for app in self._own:
            app.stop()
            app.log.unlink()
        self._folder.cleanup()
