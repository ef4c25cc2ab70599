"""Servers and visitors in addition to the apps and the mock that all tests share."""

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis as Client
from redis.exceptions import ConnectionError as NoConnection

from tests.apps import ONE_WORKER, App, Apps
from tests.conftest import REDIS
from tests.mock_azure import MockAzure
from tests.visitor import Visitor
from tests.waiting import wait_for


@pytest.fixture
def visitor(apps: Apps) -> Callable[[], Visitor]:
    """Create a visitor of the web app, with separate cookies."""
    return lambda: Visitor(apps.ui.url)


@pytest.fixture
def own_apps(azure: MockAzure) -> Iterator[Apps]:
    """Both apps with one worker each, for a single test, which may stop or damage them."""
    with Apps(azure, ONE_WORKER, ONE_WORKER) as apps:
        yield apps


@pytest.fixture
def own_ui(azure: MockAzure, one_pair_of_apps: Apps) -> Iterator[App]:
    """The web app with one worker, for a single test, and the API that all tests share."""
    with Apps(azure, ui_settings=ONE_WORKER, api=one_pair_of_apps.api) as apps:
        yield apps.ui


class Redis:
    """A Redis server on a socket in ``folder``; it keeps its data when it is restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert REDIS, "this machine has no redis-server"
        keep = ["--save", "", "--appendonly", "yes", "--dir", str(self.folder)]
        options = ["--port", "0", "--unixsocket", str(self.socket), "--logfile", "redis.log"]
        self.process = subprocess.Popen([REDIS, *options, *keep])
        wait_for(self.answers)

    def answers(self) -> bool:
        """Return whether Redis has loaded its data: it listens before that."""
        with Client.from_url(self.url) as client, contextlib.suppress(NoConnection):
            return bool(client.ping())
        return False

    def send(self, how: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(how)

    def keep_running(self) -> None:
        """Undo a test's changes."""
        self.send(signal.SIGCONT)
        assert self.process
        if self.process.poll() is not None:
            self.start()

    def stop(self) -> None:
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        assert self.process
        self.process.wait(10)
        self.socket.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis(one_redis: Redis) -> Redis:
    """A running, empty Redis."""
    one_redis.keep_running()
    with Client.from_url(one_redis.url) as client:
        client.flushall()
    return one_redis
