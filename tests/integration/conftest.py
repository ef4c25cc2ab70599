"""Both apps and the mock as processes and servers, started once for all tests here."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.apps import App, Apps, free_ports
from tests.integration.visitor import Visitor, wait_for
from tests.mock_azure import MockAzure


@pytest.fixture(scope="session")
def one_azure() -> Iterator[MockAzure]:
    with MockAzure(require_pkce=True) as azure:
        yield azure


@pytest.fixture
def azure(one_azure: MockAzure) -> MockAzure:
    """The tenant, with nothing happened yet."""
    one_azure.reset()
    return one_azure


@pytest.fixture(scope="session")
def one_pair_of_apps(one_azure: MockAzure) -> Iterator[Apps]:
    with Apps(one_azure) as apps:
        yield apps


@pytest.fixture
def apps(azure: MockAzure, one_pair_of_apps: Apps) -> Apps:
    """Both apps under gunicorn, two workers each."""
    return one_pair_of_apps


@pytest.fixture
def serve_api(azure: MockAzure) -> Iterator[Callable[..., App]]:
    """Start FlaskAPI alone, under gunicorn; settings by name replace the tenant's."""
    with contextlib.ExitStack() as stack:

        def serve(**settings: str) -> App:
            environ = azure.flask_api_settings() | settings
            api = App("FlaskAPI", "main:create_app()", environ, *free_ports(1))
            stack.callback(api.log.unlink)
            stack.callback(api.stop)
            api.start()
            return api

        yield serve


@pytest.fixture
def visitor(apps: Apps) -> Callable[[], Visitor]:
    """Make a visitor of the web app, with a browser's cookies of their own."""
    return lambda: Visitor(apps.ui.url)


@pytest.fixture
def own_apps(azure: MockAzure) -> Iterator[Apps]:
    """Both apps for one test alone, which may stop and damage them."""
    with Apps(azure) as apps:
        yield apps


REDIS = shutil.which("redis-server")
NO_REDIS = "no Redis on this machine: sudo apt install redis-server"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Redis its tests are skipped with the mend, but never in CI."""
    if not REDIS and os.environ.get("CI") != "true":
        for item in items:
            if "redis" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=NO_REDIS))


class Redis:
    """A Redis of our own on a socket in ``folder``; it keeps what it holds when it is restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert REDIS, NO_REDIS
        keep = ["--save", "", "--appendonly", "yes", "--dir", str(self.folder)]
        options = ["--port", "0", "--unixsocket", str(self.socket), "--logfile", "redis.log"]
        self.process = subprocess.Popen([REDIS, *options, *keep])
        wait_for(self.socket.exists)

    def send(self, how: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(how)

    def stop(self) -> None:
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        assert self.process
        self.process.wait(10)
        self.socket.unlink(missing_ok=True)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    server.start()
    yield server
    server.stop()
