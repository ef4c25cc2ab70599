"""Both apps and the mock as processes and servers, started once for all tests here."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.apps import App, Apps, free_port
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
def serve_api(azure: MockAzure) -> Iterator[Callable[..., App]]:
    """Start FlaskAPI alone, under gunicorn; settings by name replace the tenant's."""
    with contextlib.ExitStack() as stack:

        def serve(**settings: str) -> App:
            environ = azure.flask_api_settings() | settings
            api = App("FlaskAPI", "main:create_app()", environ, free_port())
            stack.callback(api.log.unlink)
            stack.callback(api.stop)
            api.start()
            return api

        yield serve


@pytest.fixture
def visitor(apps: Apps) -> Callable[[], Visitor]:
    """Make a visitor of the web app, with a browser's cookies of their own."""
    return lambda: Visitor(apps.ui.url)
