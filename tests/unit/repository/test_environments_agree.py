"""One table of cases over the settings of both apps, so that they can't drift apart."""

import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest
from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).parents[3]
TENANT = "11111111-2222-4333-8444-555555555555"
API = "aaaaaaaa-0000-4000-8000-000000000001"
AUTHORITY = f"https://login.microsoftonline.com/{TENANT}"
COMMON = {
    "ENV_FILE": "",
    "CLIENT_ID": API,
    "CLIENT_SECRET": "a secret with $dollar and #hash",
    "AUTHORITY": AUTHORITY,
}
GOOD = {
    "FlaskAPI": COMMON
    | {
        "FLASK_ENV": "development",
        "ISSUER": f"{AUTHORITY}/v2.0",
        "SCOPE": "https://management.azure.com/user_impersonation",
        "AZURE_MANAGEMENT_SUBSCRIPTIONS_URI": "https://management.azure.com/subscriptions?x=1",
    },
    "DjangoUI": COMMON
    | {
        "ENVIRONMENT": "development",
        "DJANGO_SECRET_KEY": "k" * 50,
        "FLASK_BACKEND_URL": "http://localhost:5000/subscriptions",
        "REDIRECT_URI": "http://localhost:8000/account/callback",
        "POST_LOGOUT_REDIRECT_URI": "http://localhost:8000/account/signed-out",
        "LOGIN_URL": "/account/login",
        "SCOPE": f"api://{TENANT}/.default",
        "API_SCOPE": f"api://{TENANT}/access_as_user",
    },
}
MODE = {"FlaskAPI": "FLASK_ENV", "DjangoUI": "ENVIRONMENT"}
PRODUCTION = {
    "FlaskAPI": {"FLASK_ENV": "production", "ENV_FILE": "x.env"},
    "DjangoUI": {
        "ENVIRONMENT": "production",
        "ENV_FILE": "x.env",
        "PRODUCTION_HOST": "x.example",
        "FLASK_BACKEND_URL": "https://api.x.example/subscriptions",
        "REDIRECT_URI": "https://x.example/account/callback",
        "POST_LOGOUT_REDIRECT_URI": "https://x.example/account/signed-out",
    },
}
START = {
    "FlaskAPI": [sys.executable, "-m", "flask", "--app", "main", "routes"],
    "DjangoUI": [sys.executable, "manage.py", "check"],
}


class App:
    """The settings module of one app, and a folder in place of the app's."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        package = {"FlaskAPI": "helpers", "DjangoUI": "Helpers"}[name]
        self.module = importlib.import_module(f"{package}.environment")
        self.good = GOOD[name]

    def load(self, environ):
        """The settings, or the error message."""
        try:
            return self.module.load_settings(environ)
        except (click.ClickException, ImproperlyConfigured) as refused:
            return getattr(refused, "message", str(refused))

    def write(self, name, settings):
        lines = (f"{key}='{value}'\n" for key, value in settings.items())
        (self.folder / name).write_text("".join(lines), encoding="utf-8")


@pytest.fixture(params=["FlaskAPI", "DjangoUI"])
def app(request, tmp_path, monkeypatch) -> App:
    app = App(request.param, tmp_path)
    monkeypatch.setattr(app.module, "APP_DIR", tmp_path)
    return app


def test_valid_settings_are_accepted(app):
    settings = app.load(app.good)
    assert settings["CLIENT_SECRET"] == COMMON["CLIENT_SECRET"]
    assert "PATH" not in settings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"CLIENT_ID": ""}, "CLIENT_ID is missing.", id="missing"),
        pytest.param({"CLIENT_ID": "   "}, "CLIENT_ID is missing.", id="blank"),
        pytest.param(
            {"CLIENT_ID": "ReplaceWithClientID"},
            "CLIENT_ID still has the template's placeholder.",
            id="placeholder",
        ),
        pytest.param(
            {"CLIENT_ID": "contoso-app"},
            "CLIENT_ID must be a GUID in lower case, as the portal shows it.",
            id="not-a-guid",
        ),
        pytest.param({"CLIENT_ID": "\u0661" * 8 + API[8:]}, "CLIENT_ID must", id="arabic-digits"),
        pytest.param(
            {"AUTHORITY": f"https://l\u00f6gin.example/{TENANT}"}, "AUTHORITY", id="accented-host"
        ),
        pytest.param({"CLIENT_ID": API.upper()}, "CLIENT_ID must be a GUID", id="upper-case-guid"),
        pytest.param(
            {"AUTHORITY": AUTHORITY.replace("https", "http")},
            "AUTHORITY must be https://<sign-in host>/<tenant ID>",
            id="http-authority",
        ),
        pytest.param(
            {"AUTHORITY": "https://login.microsoftonline.com/contoso.com"},
            "not a domain name",
            id="domain-for-a-tenant",
        ),
        pytest.param(
            {"AUTHORITY": "https://login.microsoftonline.com/common"}, "common", id="common"
        ),
        pytest.param({"AUTHORITY": f"{AUTHORITY}/"}, "with nothing after it", id="trailing-slash"),
        pytest.param({"AUTHORITY": f"{AUTHORITY}/v2.0"}, "with nothing after it", id="v2-suffix"),
        pytest.param({"AUTHORITY": "https://[x/y"}, "AUTHORITY must be https://", id="no-address"),
        pytest.param(
            {"CLIENT_SECRET": ""},
            "Set exactly one of CLIENT_SECRET, CLIENT_CERTIFICATE, CLIENT_ASSERTION_FILE, "
            "MANAGED_IDENTITY_CLIENT_ID. Delete the lines of the others.",
            id="no-credential",
        ),
        pytest.param({"CLIENT_SECRET": TENANT}, "Use its Value", id="id-of-the-secret"),
        pytest.param(
            {"CLIENT_CERTIFICATE": __file__}, "exactly one of", id="secret-and-certificate"
        ),
        pytest.param({"CLIENT_ASSERTION_FILE": __file__}, "exactly one of", id="secret-and-file"),
        pytest.param(
            {"MANAGED_IDENTITY_CLIENT_ID": API}, "exactly one of", id="secret-and-identity"
        ),
        pytest.param(
            {"CLIENT_SECRET": "", "CLIENT_ASSERTION_FILE": "/nowhere/token"},
            "CLIENT_ASSERTION_FILE names a file that does not exist: /nowhere/token",
            id="no-token-file",
        ),
        pytest.param(
            {"CLIENT_SECRET": "", "MANAGED_IDENTITY_CLIENT_ID": "my-identity"},
            "MANAGED_IDENTITY_CLIENT_ID must be the identity's client ID",
            id="name-of-the-identity",
        ),
        pytest.param(
            {"CA_BUNDLE": "/nowhere/ca.pem"},
            "CA_BUNDLE names a file that does not exist: /nowhere/ca.pem",
            id="no-such-file",
        ),
        pytest.param({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL must be one of DEBUG", id="log-level"),
        pytest.param({"SCOPE": "user_impersonation"}, "SCOPE must be", id="short-scope"),
    ],
)
def test_refuses_setting(app, change, words):
    message = app.load(app.good | change)
    assert words in message
    assert message.startswith("Fix these settings in the environment:")
    assert "dollar" not in message


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("FlaskAPI", {"ISSUER": AUTHORITY}, "ISSUER must be the AUTHORITY followed by /v2.0"),
        ("FlaskAPI", {"ISSUER": f"{AUTHORITY}/v2.0".replace("https", "http")}, "ISSUER must be an"),
        ("FlaskAPI", {"AZURE_MANAGEMENT_SUBSCRIPTIONS_URI": "http://a.example/"}, "https://"),
        ("FlaskAPI", {"AZURE_MANAGEMENT_SUBSCRIPTIONS_URI": "https://a.example/ x"}, "https://"),
        ("FlaskAPI", {"ALLOWED_CLIENT_IDS": f"{API} {API}x"}, "ALLOWED_CLIENT_IDS must be"),
        ("FlaskAPI", {"ISSUER": f"https://sts.windows.net/{TENANT}/"}, "followed by /v2.0"),
        ("FlaskAPI", {"ALLOWED_CLIENT_IDS": "one,two"}, "ALLOWED_CLIENT_IDS must be"),
        (
            "DjangoUI",
            {"API_SCOPE": f"api://{API}/access_as_user"},
            "SCOPE and API_SCOPE must be scopes of the same API.",
        ),
        (
            "DjangoUI",
            {"SCOPE": f"api://{API}/.default", "API_SCOPE": f"api://{API}/access_as_user"},
            "CLIENT_ID must be this app's",
        ),
        ("DjangoUI", {"REDIRECT_URI": "http://localhost:8000/"}, "/account/callback"),
        ("DjangoUI", {"REDIRECT_URI": "http://127.0.0.1:8000/account/callback"}, "localhost only"),
        ("DjangoUI", {"DJANGO_SECRET_KEY": "short"}, "DJANGO_SECRET_KEY must be at least"),
        ("DjangoUI", {"PRODUCTION_HOST": "https://x.example"}, "PRODUCTION_HOST must be"),
    ],
)
def test_refuses_setting_of_one_app(name, change, words, tmp_path):
    assert words in App(name, tmp_path).load(GOOD[name] | change)


@pytest.mark.parametrize("mode", ["", "prod", "test"])
def test_refuses_mode(app, mode):
    message = app.load(app.good | {MODE[app.name]: mode})
    assert message == f"{MODE[app.name]} is {mode!r}. Set it to 'development' or 'production'."


def test_the_file_of_the_mode_is_read_wherever_the_app_is_started(app, monkeypatch):
    app.write("development.env", {k: v for k, v in app.good.items() if k in app.module.CHECKS})
    monkeypatch.chdir("/")
    assert app.load({MODE[app.name]: "Development"})["CLIENT_ID"] == API


def test_a_variable_of_the_environment_wins_over_the_file(app):
    app.write("development.env", {k: v for k, v in app.good.items() if k in app.module.CHECKS})
    assert app.load({MODE[app.name]: "development", "CLIENT_SECRET": "y"})["CLIENT_SECRET"] == "y"


def test_a_byte_order_mark_in_the_file_is_ignored(app):
    lines = "".join(f"{k}='{v}'\n" for k, v in app.good.items() if k in app.module.CHECKS)
    (app.folder / "development.env").write_text(lines, encoding="utf-8-sig")
    assert app.load({MODE[app.name]: "development"})["CLIENT_ID"] == API


def test_a_dollar_sign_in_the_file_stands_for_itself(app):
    needed = {k: v for k, v in app.good.items() if k in app.module.CHECKS}
    app.write("development.env", needed | {"CLIENT_SECRET": "a$b${HOME}c"})
    assert app.load({MODE[app.name]: "development"})["CLIENT_SECRET"] == "a$b${HOME}c"


def test_all_missing_settings_are_reported_together_with_the_file(app):
    message = app.load({MODE[app.name]: "development"})
    assert str(app.folder / "development.env") in message
    for key in ("CLIENT_ID", "AUTHORITY", "SCOPE"):
        assert f"{key} is missing." in message


def test_a_missing_file_is_named_with_the_template_to_copy(app):
    message = app.load({MODE[app.name]: "development"})
    assert "development.env or the environment (that file does not exist: copy" in message
    assert "production.env to it)" in message


def test_a_wrong_authority_is_reported_once():
    message = App("FlaskAPI", ROOT).load(GOOD["FlaskAPI"] | {"AUTHORITY": f"{AUTHORITY}/"})
    assert "AUTHORITY must be" in message
    assert "ISSUER" not in message


def test_a_file_in_another_encoding_is_named(app):
    (app.folder / "x.env").write_text("CLIENT_ID=1\n", encoding="utf-16")
    message = app.load(app.good | {"ENV_FILE": "x.env"})
    assert message.endswith("x.env is not UTF-8: save it in that encoding.")


def test_a_misspelled_key_in_the_file_is_named(app):
    app.write("x.env", {"CLIENTID": "1"})
    message = app.load(app.good | {"ENV_FILE": "x.env"})
    assert "CLIENTID is not a setting of this app. Is it misspelled?" in message


def test_a_real_secret_in_the_file_stops_production(app):
    app.write("x.env", {"CLIENT_SECRET": "s3cret"})
    message = app.load(app.good | PRODUCTION[app.name])
    assert "CLIENT_SECRET is in a file tracked by Git" in message
    assert "s3cret" not in message


def test_production_accepts_a_placeholder_in_the_file_if_the_variable_is_set(app):
    app.write("x.env", {"CLIENT_SECRET": "ReplaceWithClientSecret"})
    settings = app.load(app.good | PRODUCTION[app.name])
    assert settings["CLIENT_SECRET"] == COMMON["CLIENT_SECRET"]


@pytest.mark.parametrize("name", ["FlaskAPI", "DjangoUI"])
def test_the_template_itself_is_refused_key_by_key(name):
    app = App(name, ROOT / name)
    message = app.load({MODE[name]: "production"})
    for key in ("CLIENT_ID", "CLIENT_SECRET", "AUTHORITY"):
        assert f"{key} still has the template's placeholder." in message


@pytest.mark.parametrize("name", ["FlaskAPI", "DjangoUI"])
def test_starting_with_wrong_settings_prints_a_message_and_no_traceback(name):
    environ = GOOD[name] | {"CLIENT_ID": "", "PATH": "/usr/bin"}
    started = subprocess.run(
        START[name], cwd=ROOT / name, env=environ, capture_output=True, text=True, check=False
    )
    assert started.returncode != 0
    assert "CLIENT_ID is missing." in started.stderr
    assert "Traceback" not in started.stderr + started.stdout
