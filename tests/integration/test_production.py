"""DjangoUI as it is deployed: production settings, gunicorn, and a TLS proxy."""

import http.client
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.apps import ONE_WORKER, ROOT, App, Apps, copy_of, free_ports
from tests.mock_azure.tls import server_context
from tests.visitor import Visitor

YEAR = 365 * 24 * 60 * 60


class TlsProxy(ThreadingHTTPServer):
    """Terminates TLS for ``target_port`` and sets ``X-Forwarded-Proto``."""

    daemon_threads = True
    target_port = 0

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://localhost:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Forward(BaseHTTPRequestHandler):
    server: TlsProxy

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        app = http.client.HTTPConnection("127.0.0.1", self.server.target_port, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name != "Connection"}
        headers |= {"X-Forwarded-Proto": "https", "Connection": "close"}
        app.request(self.command, self.path, body, headers)
        answer = app.getresponse()
        content = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name not in ("Connection", "Transfer-Encoding", "Content-Length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        app.close()

    do_POST = do_GET

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def proxy() -> Iterator[TlsProxy]:
    context, ca_pem = server_context(["localhost"])
    proxy = TlsProxy(context)
    proxy.ca_pem = ca_pem  # type: ignore[attr-defined]
    yield proxy
    proxy.shutdown()
    proxy.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the app, with its own collected static files."""
    return copy_of("DjangoUI", tmp_path_factory.mktemp("deployed"))


@pytest.fixture(scope="module")
def deployed(one_azure, one_pair_of_apps: Apps, proxy: TlsProxy, folder: Path) -> Iterator[Apps]:
    """Both apps, the UI with its production settings."""
    production = ONE_WORKER | {
        "ENVIRONMENT": "production",
        "PRODUCTION_HOST": "localhost",
        "BEHIND_TLS_PROXY": "true",
        "REDIRECT_URI": f"{proxy.url}/account/callback",
        "POST_LOGOUT_REDIRECT_URI": f"{proxy.url}/account/signed-out",
    }
    apps = Apps(one_azure, ui_settings=production, api=one_pair_of_apps.api)
    apps.ui.folder = str(folder)
    proxy.target_port = apps.ui.port
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0"],
        cwd=folder,
        env=apps.ui.settings,
        check=True,
    )
    with apps:
        yield apps


@pytest.fixture
def person(azure, deployed: Apps, proxy: TlsProxy, tmp_path: Path) -> Visitor:
    """A visitor at the proxy, whose address is registered with Entra."""
    addresses = [deployed.ui.settings[key] for key in ("REDIRECT_URI", "POST_LOGOUT_REDIRECT_URI")]
    azure.applications[azure.ui.client_id] = replace(azure.ui, redirect_uris=tuple(addresses))
    ca_file = tmp_path / "proxy.pem"
    ca_file.write_bytes(proxy.ca_pem)  # type: ignore[attr-defined]
    visitor = Visitor(proxy.url)
    visitor.session.verify = str(ca_file)
    return visitor


def set_cookies(visitor: Visitor) -> list[str]:
    """Every Set-Cookie header of the app up to the visitor's current page."""
    answers = [a for a in (*visitor.page.history, visitor.page) if a.url.startswith(visitor.ui)]
    return [value for a in answers for value in a.raw.headers.getlist("Set-Cookie")]


class TestBehindAProxy:
    def test_users_sign_in_and_out(self, person):
        person.sign_in("alice")
        assert person.names[0] == "Contoso Production"
        assert person.open().names[0] == "Contoso Production"
        person.press()  # "Sign out", whose form Django checks by its origin
        assert person.page.url == f"{person.ui}/account/signed-out"
        assert person.reads == (200, "You are signed out")
        assert person.open().asks("Choose who you are")

    def test_cookies_are_for_this_host_and_https_alone(self, person):
        cookies = set_cookies(person.sign_in("alice")) + set_cookies(person.press())
        names = {cookie.partition("=")[0] for cookie in cookies}
        assert names >= {"__Host-subscriptions_session", "__Host-subscriptions_csrf"}
        assert [name for name in names if name.startswith("__Host-sign_in_")]
        for cookie in cookies:
            attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
            assert cookie.startswith("__Host-")
            assert attributes >= {"path=/", "secure"}, cookie
            assert attributes >= {"httponly", "samesite=lax"} or "max-age=0" in attributes, cookie
            assert not [part for part in attributes if part.startswith("domain")]

    def test_static_files_have_hashed_names_and_are_kept_for_good(self, person):
        page = person.open("/account/signed-out").page.text
        for name in ("ui.css", "icon.svg"):
            stem, suffix = name.split(".")
            address = re.search(rf'"(/static/{stem}\.[0-9a-f]{{12}}\.{suffix})"', page)
            assert address, page
            answer = person.open(address[1]).page
            assert answer.status_code == 200
            assert "immutable" in answer.headers["Cache-Control"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Strict-Transport-Security"].startswith(f"max-age={YEAR};")
            assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.text == (ROOT / "DjangoUI/static/icon.svg").read_text(encoding="utf-8")

    def test_browsers_are_told_to_stay_with_https(self, person, azure):
        for path in ("/account/signed-out", "/account/login", "/nowhere"):
            answer = person.session.get(person.ui + path, allow_redirects=False, timeout=30)
            hsts = answer.headers["Strict-Transport-Security"]
            assert hsts == f"max-age={YEAR}; includeSubDomains"
            # The address for signing out can be on another host than the one for signing in.
            policy = answer.headers["Content-Security-Policy"].split("; ")
            assert f"form-action 'self' {azure.front_url}" in policy
            assert answer.headers["X-Frame-Options"] == "DENY"

    def test_how_it_works_is_not_shown(self, person):
        assert "How it works" not in person.sign_in("alice").page.text


@pytest.fixture(scope="module")
def without_proxy(deployed: Apps, folder: Path) -> Iterator[App]:
    """The UI without a proxy, so that any client can send the proxy's header."""
    settings = deployed.ui.settings | {"BEHIND_TLS_PROXY": "false"}
    ui = App(str(folder), "UI.wsgi", settings, *free_ports(1))
    ui.start()
    yield ui
    ui.stop()
    ui.log.unlink()


def ask(app: App, path: str, **headers: str) -> requests.Response:
    address = f"http://127.0.0.1:{app.port}{path}"
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(address, headers=headers, allow_redirects=False, timeout=30)


class TestHostAndScheme:
    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost.evil.example"])
    def test_another_host_is_refused(self, deployed, host):
        answer = ask(deployed.ui, "/account/signed-out", Host=host, X_Forwarded_Proto="https")
        assert answer.status_code == 400
        assert "This request cannot be answered" in answer.text
        assert "evil" not in answer.text + str(answer.headers) + deployed.ui.written()
        line = "WARNING Helpers.error_pages \\S+ PRODUCTION_HOST is localhost, but the Host header"
        assert re.search(line, deployed.ui.written())
        assert "ALLOWED_HOSTS" not in deployed.ui.written()

    @pytest.mark.parametrize("proto", ["", "http", "HTTPS, http", "wss"])
    def test_plain_http_leads_to_https(self, deployed, proto):
        headers = {"X_Forwarded_Proto": proto} if proto else {}
        answer = ask(deployed.ui, "/?x=1", Host="localhost", **headers)
        assert (answer.status_code, answer.headers["Location"]) == (301, "https://localhost/?x=1")
        assert "Set-Cookie" not in answer.headers

    def test_a_host_header_of_the_proxy_alone_counts_for_nothing(self, deployed):
        forwarded = {"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https"}
        answer = ask(deployed.ui, "/", Host="localhost", **forwarded)
        assert answer.headers["Location"] == "/account/login?next=%2F"

    def test_without_a_proxy_no_header_may_claim_https(self, without_proxy):
        for name in ("X_Forwarded_Proto", "X_Forwarded_Protocol", "X_Forwarded_Ssl"):
            value = "on" if name.endswith("Ssl") else "https"
            answer = ask(without_proxy, "/", Host="localhost", **{name: value})
            assert (answer.status_code, answer.headers["Location"]) == (301, "https://localhost/")

    def test_health_is_answered_to_any_host_without_https(self, deployed, without_proxy):
        for app in (deployed.ui, without_proxy):
            answer = ask(app, "/health", Host="10.0.0.7")
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
