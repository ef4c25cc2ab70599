"""The launcher's sentences for what a person can mend."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import run

ROOT = Path(__file__).parents[3]


def test_a_port_that_is_taken_is_named_with_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(run.Problem, match=rf"Port {port} is taken.*--ui-port {port + 1}"):
            run.check_ports({"--ui-port": port})


def test_free_ports_are_fine():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    run.check_ports({"--ui-port": port})


def test_an_old_python_is_told_which_one_is_needed(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    with pytest.raises(run.Problem, match=r"needs Python 3\.11 or newer"):
        run.main([])


def test_azure_needs_both_files(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "ROOT", tmp_path)
    with pytest.raises(run.Problem, match=r"FlaskAPI/development\.env is not there"):
        run.azure_settings("http://localhost:8001", "http://localhost:5001")
    for folder in ("FlaskAPI", "DjangoUI"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "development.env").touch()
    ui = run.azure_settings("http://localhost:8001", "http://localhost:5001")["DjangoUI"]
    assert ui["ENVIRONMENT"] == "development"
    assert ui["FLASK_BACKEND_URL"] == "http://localhost:5001/subscriptions"
    assert ui["REDIRECT_URI"] == "http://localhost:8001/account/callback"


def test_wrong_settings_of_both_apps_are_said_at_once_and_without_a_traceback(monkeypatch):
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")  # pytest-django's
    python = Path(sys.executable)
    wrong = {"ENV_FILE": "", "FLASK_ENV": "development", "ENVIRONMENT": "development"}
    with pytest.raises(run.Problem) as told:
        run.check_settings(python, python, {"FlaskAPI": wrong, "DjangoUI": wrong})
    for words in (
        "FlaskAPI can't start",
        "ISSUER is missing.",
        "DjangoUI can't start",
        "API_SCOPE",
    ):
        assert words in str(told.value)
    assert "Traceback" not in str(told.value)


@pytest.mark.parametrize(
    "ports",
    [{"--ui-port": 0}, {"--ui-port": 99999}, {"--ui-port": 8000, "--api-port": 8000}],
    ids=["none", "too-high", "twice"],
)
def test_a_port_that_can_not_be_is_refused_before_a_start(ports):
    with pytest.raises(run.Problem, match="each part needs a port of its own"):
        run.check_ports(ports)


def test_a_change_of_requirements_that_are_included_counts(monkeypatch, tmp_path):
    for folder, text in (("a", "x==1\n"), ("tests", "-r ../a/requirements.txt\ny==2\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "requirements.txt").write_text(text)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    assert run._included("tests") == [(tmp_path / "a/requirements.txt").resolve()]


def test_a_service_that_died_is_named():
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], text=True)
    process.wait()
    with pytest.raises(run.Problem, match="FlaskAPI stopped with exit status 3"):
        run.check_alive([run.Service("FlaskAPI", process)])


def test_help_names_every_way_to_run():
    shown = subprocess.run(
        [sys.executable, ROOT / "run.py", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for word in ("--azure", "test", "--ui-port", "--api-port"):
        assert word in shown


def test_the_launcher_imports_nothing_that_is_not_in_python():
    check = "import sys; sys.modules['requests'] = sys.modules['flask'] = None; import run"
    subprocess.run([sys.executable, "-S", "-c", check], cwd=ROOT, check=True)
