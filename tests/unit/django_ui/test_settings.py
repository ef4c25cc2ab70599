"""UI.*_settings and Helpers.environment, tested through manage.py and gunicorn."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from Helpers.environment import load_settings, settings_module
from tests.apps import copy_of
from tests.settings import DJANGO_UI

APP = Path(__file__).parents[3] / "DjangoUI"
PRODUCTION = DJANGO_UI | {
    "ENVIRONMENT": "production",
    "FLASK_BACKEND_URL": "https://api.example/subscriptions",
    "REDIRECT_URI": "https://ui.example/account/callback",
    "POST_LOGOUT_REDIRECT_URI": "https://ui.example/account/signed-out",
    "PRODUCTION_HOST": "ui.example",
}


def run(
    *arguments: str, environ: dict[str, str], folder: Path = APP
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def manage(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return run("-W", "error", "manage.py", *arguments, environ=environ)


class TestManage:
    def test_reports_no_problem_in_production(self):
        done = manage("check", "--deploy", "--fail-level", "DEBUG", **PRODUCTION)
        assert done.returncode == 0, done.stderr
        assert "no issues" in done.stdout

    def test_reports_no_problem_in_development(self):
        assert manage("check", **DJANGO_UI).returncode == 0

    def test_explains_wrong_settings_in_one_message(self):
        done = manage("check", **(DJANGO_UI | {"CLIENT_ID": "x", "API_SCOPE": ""}))
        assert done.returncode == 1
        assert done.stderr.startswith("Error: Fix these settings in the environment:")
        assert "CLIENT_ID must be a GUID" in done.stderr
        assert "API_SCOPE is missing." in done.stderr
        assert "Traceback" not in done.stderr

    def test_explains_a_missing_mode(self):
        done = manage("runserver", "localhost:0")
        assert done.returncode == 1
        assert done.stderr == (
            "Error: ENVIRONMENT is ''. Set it to 'development' or 'production'.\n"
        )

    def test_migrates_with_redis_without_creating_a_file(self, tmp_path):
        environ = DJANGO_UI | {
            "REDIS_URL": "redis://localhost:1/0",
            "DATABASE_PATH": str(tmp_path / "x"),
        }
        assert manage("migrate", **environ).returncode == 0
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "server",
        [
            pytest.param(("manage.py", "runserver", "--noreload", "127.0.0.1:0"), id="runserver"),
            pytest.param(("-m", "gunicorn", "--bind=127.0.0.1:0", "UI.wsgi"), id="gunicorn"),
        ],
    )
    def test_starts_no_server_in_production_before_collectstatic(self, tmp_path, server):
        """Otherwise every page would be a 500, although the health probe succeeds."""
        folder = copy_of("DjangoUI", tmp_path, "*.env")
        done = run(*server, folder=folder, environ=PRODUCTION)
        assert done.returncode == 1
        said = done.stderr.splitlines()[-1]
        assert said == 'Error: Run "python manage.py collectstatic" before you start this app.'
        assert "Traceback" not in done.stderr

    def test_explains_wrong_settings_under_gunicorn_too(self):
        done = run("-m", "gunicorn", "UI.wsgi", environ=DJANGO_UI | {"CLIENT_ID": "x"})
        assert done.returncode == 1
        assert "Error: Fix these settings in the environment:\n  CLIENT_ID must" in done.stderr
        assert "Traceback" not in done.stderr

    def test_creates_a_database_that_only_its_own_user_can_read(self, tmp_path):
        environ = DJANGO_UI | {"DATABASE_PATH": str(tmp_path / "db.sqlite3")}
        code = "import os, sys; os.umask(0); from django.core.management import *; "
        code += "execute_from_command_line(['manage.py', 'migrate']); "
        code += "from django.db import connection, transaction; "
        code += "transaction.atomic().__enter__(); connection.cursor().execute('SELECT 1'); "
        code += "print(*(oct(f.stat().st_mode) for f in os.scandir(sys.argv[1])), flush=True); "
        # A transaction locks the file at once: one that read first could not wait to write.
        code += "import sqlite3; other = sqlite3.connect(os.environ['DATABASE_PATH'], timeout=0); "
        code += "other.execute('BEGIN IMMEDIATE')"
        environ["DJANGO_SETTINGS_MODULE"] = "UI.development_settings"
        done = run("-c", code, str(tmp_path), environ=environ)
        assert "database is locked" in done.stderr
        modes = done.stdout.splitlines()[-1].split()
        assert modes == ["0o100600"] * 3, done.stderr  # the file, its -wal and its -shm


def test_mode_chooses_the_module():
    assert settings_module({"ENVIRONMENT": "Production"}) == "UI.production_settings"
    assert settings_module({"ENVIRONMENT": "development"}) == "UI.development_settings"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"PRODUCTION_HOST": ""}, "PRODUCTION_HOST is missing."),
        ({"PRODUCTION_HOST": "ReplaceWithHostName"}, "PRODUCTION_HOST still has"),
        ({"PRODUCTION_HOST": "*"}, "PRODUCTION_HOST must be a host name"),
        ({"FLASK_BACKEND_URL": "http://api.example/subscriptions"}, "FLASK_BACKEND_URL must begin"),
        ({"FLASK_BACKEND_URL": "http://flask-api:5000/x"}, "FLASK_BACKEND_URL must begin"),
        ({"FLASK_BACKEND_URL": "http://10.0.0.4/subscriptions"}, "FLASK_BACKEND_URL must begin"),
        ({"FLASK_BACKEND_URL": "http://127.0.0.1.example/x"}, "FLASK_BACKEND_URL must begin"),
        ({"REDIRECT_URI": "http://ui.example/account/callback"}, "REDIRECT_URI must begin"),
        ({"POST_LOGOUT_REDIRECT_URI": "http://ui.example/"}, "POST_LOGOUT_REDIRECT_URI must"),
        ({"LOGOUT_URL": "javascript:x"}, "LOGOUT_URL must begin"),
        ({"SCOPE": DJANGO_UI["API_SCOPE"]}, "SCOPE must be api://"),
        ({"API_SCOPE": "access_as_user"}, "API_SCOPE must be api://"),
        ({"REDIS_URL": "http://redis"}, "REDIS_URL must be"),
        ({"BEHIND_TLS_PROXY": "yes"}, "BEHIND_TLS_PROXY must be true or false."),
        ({"DJANGO_SECRET_KEY_FALLBACKS": "short"}, "DJANGO_SECRET_KEY_FALLBACKS must be"),
        (
            {"DJANGO_SECRET_KEY_FALLBACKS": f"{'a' * 32} short"},
            "DJANGO_SECRET_KEY_FALLBACKS must be",
        ),
        ({"LOGIN_URL": "https://evil.example"}, "LOGIN_URL must be /account/login"),
        ({"LOGIN_URL": "/account/logon"}, "LOGIN_URL must be /account/login"),
        ({"LOGIN_URL": "/"}, "LOGIN_URL must be /account/login"),
        ({"REDIRECT_URI": "https://ui.example/callback"}, "REDIRECT_URI must begin"),
        (
            {"REDIRECT_URI": "http://localhost:8000/account/callback"},
            "REDIRECT_URI must be an address of PRODUCTION_HOST.",
        ),
        (
            {"POST_LOGOUT_REDIRECT_URI": "https://other.example/"},
            "POST_LOGOUT_REDIRECT_URI must be an address of PRODUCTION_HOST.",
        ),
        ({"FLASK_BACKEND_URL": "localhost:5000"}, "FLASK_BACKEND_URL must be a web address"),
    ],
)
def test_production_refuses(change, words):
    with pytest.raises(ImproperlyConfigured) as refused:
        load_settings(PRODUCTION | change)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://flaskapi.internal.example/subscriptions",
        "http://localhost:5000/subscriptions",
        "http://127.0.0.1:5000/subscriptions",
    ],
)
def test_production_calls_the_api_over_https_or_on_this_machine(address):
    assert load_settings(PRODUCTION | {"FLASK_BACKEND_URL": address})


@pytest.mark.parametrize(
    "change",
    [
        {"PRODUCTION_HOST": ""},
        {"PRODUCTION_HOST": "ReplaceWithHostName"},
        {"FLASK_BACKEND_URL": "http://flask-api:5000/subscriptions"},
        {"REDIS_URL": "redis://redis:6379/0"},
        {"DJANGO_SECRET_KEY_FALLBACKS": f"{'a' * 32} {'b' * 32}"},
    ],
)
def test_development_accepts(change):
    assert load_settings(DJANGO_UI | change)


@pytest.mark.parametrize(
    "key", ["CLIENT_SECRET", "DJANGO_SECRET_KEY", "DJANGO_SECRET_KEY_FALLBACKS"]
)
def test_production_refuses_a_real_secret_in_the_file(key, tmp_path):
    env_file = tmp_path / "production.env"
    env_file.write_text(f"{key}=a-secret-that-is-long-enough-to-be-a-key\n")
    with pytest.raises(ImproperlyConfigured, match=f"{key} is in a file tracked by Git") as refused:
        load_settings(PRODUCTION | {"ENV_FILE": str(env_file)})
    assert "a-secret-that" not in str(refused.value)


def test_template_needs_its_placeholders_replaced_and_nothing_else():
    with pytest.raises(ImproperlyConfigured) as refused:
        load_settings({"ENVIRONMENT": "development", "ENV_FILE": "production.env"})
    complaints = str(refused.value).splitlines()[1:]
    assert all(line.endswith("template's placeholder.") for line in complaints)
    assert len(complaints) == 6
