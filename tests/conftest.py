"""Fixtures that all tests share: the tenant, both apps, and checks for missing programs."""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import Helpers.http_session
import helpers.http_session
from tests.apps import Apps
from tests.browser import CHROMIUM
from tests.mock_azure import MockAzure
from tests.mock_azure.tls import server_context

REDIS = shutil.which("redis-server")
# The programs that the tests with each fixture need, and their packages on Debian and Ubuntu.
NEEDED = {
    "redis": (REDIS, "redis-server"),
    "browser_type": (CHROMIUM, "chromium fonts-liberation"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests that often wait first, and skip those whose program is missing, except in CI."""
    # Near the end of a run, no other test would use the cores while one waits.
    first = {"integration": 0, "in_process": 1, "repository": 1}
    items.sort(key=lambda item: first.get(item.path.parent.name, 2))
    if os.environ.get("CI") == "true":
        return
    for item in items:
        for fixture, (program, packages) in NEEDED.items():
            if not program and fixture in getattr(item, "fixturenames", ()):
                reason = f"missing on this machine: sudo apt install {packages}"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def log_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove DjangoUI's handler, which cleans a record before ``caplog`` sees it."""
    for handler in logging.getLogger().handlers:
        if handler.filters:
            monkeypatch.setattr(handler, "level", logging.CRITICAL + 1)


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Make Python switch threads as often as possible, so that a race is visible every time."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture(scope="session")
def one_azure() -> Iterator[MockAzure]:
    """The tenant, listening on free ports."""
    with MockAzure(require_pkce=True) as azure:
        yield azure


@pytest.fixture
def azure(one_azure: MockAzure) -> MockAzure:
    """The tenant in its initial state."""
    one_azure.reset()
    return one_azure


@pytest.fixture(scope="session")
def one_pair_of_apps(one_azure: MockAzure) -> Iterator[Apps]:
    with Apps(one_azure) as apps:
        yield apps


@pytest.fixture
def apps(azure: MockAzure, one_pair_of_apps: Apps) -> Apps:
    """Both apps, run by gunicorn with two workers each."""
    return one_pair_of_apps


@pytest.fixture(scope="session")
def file_of_one_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("trust") / "root.pem"
    file.write_bytes(server_context(["localhost"])[1])
    return file


@pytest.fixture
def one_root(file_of_one_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sessions of both apps trust one certificate: loading all public ones takes 30 ms."""
    for module in (helpers.http_session, Helpers.http_session):
        monkeypatch.setattr(module, "DEFAULT_CA_BUNDLE_PATH", str(file_of_one_root))
