"""Both apps with settings as in production, and the mock at Microsoft's own hostnames.

This is the one place where no socket is opened: ``responses`` hands each request of an app to the
program that owns the hostname. The apps' code, MSAL and the tokens are real.
"""

import importlib
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from unittest import mock
from urllib.parse import urlsplit

import pytest
import responses
from django.http import HttpResponse
from django.test import Client
from flask import Flask

from main import create_app
from tests.mock_azure import MockAzure

LOGIN, ARM = "https://login.microsoftonline.com", "https://management.azure.com"
UI, API = "https://ui.contoso.example", "https://api.contoso.example"


@pytest.fixture(scope="session")
def one_azure() -> MockAzure:
    return MockAzure(login_url=LOGIN, arm_url=ARM)


@pytest.fixture
def azure(one_azure: MockAzure) -> MockAzure:
    """The tenant, with the web app registered at its production address."""
    one_azure.reset()
    uris = (f"{UI}/account/callback", f"{UI}/account/signed-out")
    ui = replace(one_azure.ui, redirect_uris=uris)
    one_azure.applications[ui.client_id] = ui
    return one_azure


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a test without sockets connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def api(azure: MockAzure) -> Flask:
    """FlaskAPI, with settings from which only the hostnames of a real tenant could be read."""
    environ = azure.flask_api_settings() | {"FLASK_ENV": "production"}
    from helpers.environment import load_settings

    return create_app(load_settings(environ))


@pytest.fixture
def internet(azure: MockAzure, api: Flask) -> Iterator[responses.RequestsMock]:
    """Three hostnames, each answered by the program behind it."""

    def hand_to(app: Flask):
        def answer(request):
            url = urlsplit(request.url)
            given = app.test_client().open(
                path=url.path,
                query_string=url.query,
                base_url=f"{url.scheme}://{url.netloc}",
                method=request.method,
                headers=dict(request.headers),
                data=request.body,
            )
            return given.status_code, dict(given.headers), given.get_data()

        return answer

    with responses.RequestsMock(assert_all_requests_are_fired=False) as net:
        for origin, app in ((LOGIN, azure.app), (ARM, azure.app), (API, api)):
            for method in (responses.GET, responses.POST):
                net.add_callback(method, re.compile(f"^{origin}/"), hand_to(app))
        yield net


@pytest.fixture
def production(azure: MockAzure, settings, db) -> None:
    """Put DjangoUI's production settings in force."""
    environ = azure.django_ui_settings(UI, API)
    environ |= {"ENVIRONMENT": "production", "DATABASE_PATH": ":memory:"}
    with mock.patch.dict("os.environ", environ, clear=True):
        modules = [
            importlib.import_module(f"UI.{name}_settings") for name in ("base", "production")
        ]
        values = [vars(importlib.reload(module)) for module in modules][-1]
    for name, value in values.items():
        # Static files have hashed names only after collectstatic, and tests have their database.
        if name.isupper() and name not in ("DATABASES", "STORAGES"):
            setattr(settings, name, value)


class Person:
    """Someone at a browser: one set of cookies for the web app, another for Entra."""

    def __init__(self, azure: MockAzure) -> None:
        self.azure = azure
        self.ui = Client(SERVER_NAME=urlsplit(UI).hostname, raise_request_exception=False)
        self.entra = azure.app.test_client()

    def open(self, path: str) -> HttpResponse:
        """GET a page of the web app, and go wherever it sends."""
        return self._follow(self.ui.get(path, secure=True))

    def sign_in(self, user: str, consent: str = "accept") -> HttpResponse:
        """Open the home page, choose ``user``, decide about consent, and end where that leads."""
        return self.choose(self.open("/"), user, consent)

    def choose(self, page, user: str, consent: str = "accept") -> HttpResponse:
        page = self._press(page, user=user)
        if not isinstance(page, HttpResponse) and "Permissions requested" in page.text:
            page = self._press(page, decision=consent)
        return page

    def press_sign_out(self, page):
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())
        data = {"csrfmiddlewaretoken": token[1]}
        headers = {"referer": f"{UI}/"}
        return self._follow(self.ui.post("/account/logout", data, secure=True, headers=headers))

    def _press(self, page, **button):
        action = re.search(r'<form method="post" action="([^"]+)"', page.text)
        sealed = re.search(r'name="request" value="([^"]+)"', page.text)
        form = {"request": unescape(sealed[1]), **button}
        return self._follow(self.entra.post(unescape(action[1]), data=form))

    def _follow(self, response):
        for _ in range(10):
            if response.status_code not in (301, 302, 303):
                return response
            url = urlsplit(response.headers["Location"])
            address = f"{url.path}?{url.query}"
            if url.netloc in ("", urlsplit(UI).netloc):
                response = self.ui.get(address, secure=True)
            else:
                response = self.entra.get(address)
        raise AssertionError("a loop of redirects")


@pytest.fixture
def person(azure: MockAzure, internet: responses.RequestsMock, production: None) -> Person:
    return Person(azure)
