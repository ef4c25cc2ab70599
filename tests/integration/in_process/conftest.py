"""Both apps with settings as in production, and the mock at Microsoft's own hostnames.

This is the one place where no socket is opened: ``responses`` hands each request, of the apps and
of the visitor, to the program that owns the hostname. The apps' code, MSAL and the tokens are real.
"""

import contextlib
import importlib
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from unittest import mock
from urllib.parse import urlsplit

import pytest
import responses
from django.core.handlers.wsgi import WSGIHandler
from flask import Flask
from pytest_django import Settings
from werkzeug.test import Client

from main import create_app
from tests.mock_azure import MockAzure
from tests.visitor import Visitor

LOGIN, ARM = "https://login.microsoftonline.com", "https://management.azure.com"
UI, API = "https://ui.contoso.example", "https://api.contoso.example"


@pytest.fixture(scope="session")
def one_azure() -> MockAzure:
    return MockAzure(front_url=LOGIN, login_url=LOGIN, arm_url=ARM)


@pytest.fixture
def azure(azure: MockAzure) -> MockAzure:
    """The tenant, with the web app registered at its production address."""
    uris = (f"{UI}/account/callback", f"{UI}/account/signed-out")
    ui = replace(azure.ui, redirect_uris=uris)
    azure.applications[ui.client_id] = ui
    return azure


@pytest.fixture(autouse=True)
def no_sockets(one_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a test without sockets connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def api(azure: MockAzure) -> Flask:
    """FlaskAPI, with settings that name only Microsoft's host names, as for a real tenant."""
    environ = azure.flask_api_settings() | {"FLASK_ENV": "production"}
    from helpers.environment import load_settings

    return create_app(load_settings(environ))


@contextlib.contextmanager
def internet(programs: dict[str, Callable[..., object]]) -> Iterator[None]:
    """Send requests to each of these origins to its WSGI application; refuse all others."""

    def hand_to(program):
        def answer(request):
            url = urlsplit(request.url)
            given = Client(program, use_cookies=False).open(
                path=url.path,
                query_string=url.query,
                base_url=f"{url.scheme}://{url.netloc}",
                method=request.method,
                headers=dict(request.headers),
                data=request.body,
            )
            return given.status_code, list(given.headers), given.get_data()

        return answer

    with responses.RequestsMock(assert_all_requests_are_fired=False) as net:
        for origin, program in programs.items():
            for method in ("GET", "POST", "PATCH", "DELETE"):
                net.add_callback(method, re.compile(f"^{re.escape(origin)}/"), hand_to(program))
        yield


def put_in_force(environ: dict[str, str], settings: Settings) -> None:
    """Give Django the settings that DjangoUI reads from this environment."""
    with mock.patch.dict("os.environ", environ, clear=True):
        modules = [
            importlib.import_module(f"UI.{name}_settings")
            for name in ("base", environ["ENVIRONMENT"])
        ]
        values = [vars(importlib.reload(module)) for module in modules][-1]
    for name, value in values.items():
        # Static files have hashed names only after collectstatic, and tests have their database.
        if name.isupper() and name not in ("DATABASES", "STORAGES"):
            setattr(settings, name, value)


@pytest.fixture
def production(azure: MockAzure, settings: Settings, db: None) -> None:
    """Use DjangoUI's production settings."""
    environ = azure.django_ui_settings(UI, API)
    environ |= {"ENVIRONMENT": "production", "DATABASE_PATH": ":memory:"}
    put_in_force(environ, settings)


@pytest.fixture
def visitor(azure: MockAzure, api: Flask, production: None) -> Iterator[Callable[[], Visitor]]:
    """Create a visitor of the web app, with separate cookies."""
    ui = WSGIHandler()  # reads the settings now, so after ``production``
    with internet({LOGIN: azure.app, ARM: azure.app, API: api, UI: ui}):
        yield lambda: Visitor(UI)
