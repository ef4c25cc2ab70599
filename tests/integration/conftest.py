"""Both apps and the mock as processes and servers, started once for all tests here."""

from collections.abc import Callable, Iterator

import pytest

from tests.apps import Apps
from tests.integration.visitor import Visitor
from tests.mock_azure import MockAzure


@pytest.fixture(scope="session")
def one_azure() -> Iterator[MockAzure]:
    with MockAzure() as azure:
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
def visitor(apps: Apps) -> Callable[[], Visitor]:
    """Make a visitor of the web app, with a browser's cookies of their own."""
    return lambda: Visitor(apps.ui.url)
