"""The launcher: its checks before a start, how it stops, and the report of ``run.py test``."""

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import run
from tests.apps import free_ports

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def nothing_runs_afterwards() -> Iterator[None]:
    yield
    assert run.services == []
    assert not run.stop_requested


# --- Before a start ------------------------------------------------------------------------------


@pytest.fixture
def taken_ports() -> Iterator[list[int]]:
    """Four ports that are in use."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    yield [listening.getsockname()[1] for listening in sockets]
    for listening in sockets:
        listening.close()


@pytest.mark.parametrize("address", run.loopback())
def test_names_a_taken_port_and_the_option_that_changes_it(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(run.LauncherError) as told:
            run.check_ports({"--ui-port": port})
    assert re.fullmatch(rf"Port {port} is taken.*--ui-port {port + 1}", str(told.value))


def test_a_port_is_free_again_at_once_after_its_server_ended():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        with socket.create_connection(address), listening.accept()[0] as connection:
            connection.shutdown(socket.SHUT_RDWR)  # the system keeps this end for a minute
    run.check_ports({"--ui-port": address[1]})


def test_names_all_taken_ports_at_once_and_suspects_an_earlier_start(taken_ports):
    options = ["--ui-port", "--api-port", "--front-port", "--back-port"]
    with pytest.raises(run.LauncherError) as told:
        run.check_ports(dict(zip(options, taken_ports, strict=True)))
    for option, port in zip(options, taken_ports, strict=True):
        assert f"Port {port} is taken" in str(told.value)
        assert f"{option} {port + 1}" in str(told.value)
    assert "earlier start" in str(told.value)


def test_suspects_no_earlier_start_when_only_one_port_is_taken(taken_ports, free_port):
    with pytest.raises(run.LauncherError) as told:
        run.check_ports({"--ui-port": taken_ports[0], "--api-port": free_port})
    assert "earlier start" not in str(told.value)
    assert str(free_port) not in str(told.value)


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_accepts_free_ports(free_port):
    run.check_ports({"--ui-port": free_port})


@pytest.mark.parametrize(
    "ports",
    [
        pytest.param({"--ui-port": 0}, id="zero"),
        pytest.param({"--ui-port": 65536}, id="too-high"),
        pytest.param({"--ui-port": 8000, "--api-port": -1}, id="negative"),
        pytest.param({"--ui-port": 8000, "--api-port": 8000}, id="the-same-twice"),
    ],
)
def test_refuses_an_impossible_port(ports):
    with pytest.raises(run.LauncherError, match="each part needs its own port"):
        run.check_ports(ports)


def test_tells_the_user_of_an_old_python_which_one_is_needed(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    with pytest.raises(run.LauncherError, match=r"needs Python 3\.11 or newer"):
        run.main([])


def test_needs_both_settings_files_for_a_real_tenant(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "ROOT", tmp_path)
    for folder in ("FlaskAPI", "DjangoUI"):
        with pytest.raises(run.LauncherError, match=rf"{folder}/development\.env is missing"):
            run.azure_settings("http://localhost:8001", "http://localhost:5001")
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "development.env").touch()
    assert run.azure_settings("http://localhost:8001", "http://localhost:5001") == {
        "FlaskAPI": {"FLASK_ENV": "development"},
        "DjangoUI": {
            "ENVIRONMENT": "development",
            "FLASK_BACKEND_URL": "http://localhost:5001/subscriptions",
            "REDIRECT_URI": "http://localhost:8001/account/callback",
            "POST_LOGOUT_REDIRECT_URI": "http://localhost:8001/account/signed-out",
        },
    }


def test_reports_the_wrong_settings_of_both_apps_without_a_traceback(monkeypatch, capsys):
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")  # pytest-django's
    wrong = {"ENV_FILE": "", "FLASK_ENV": "development", "ENVIRONMENT": "development"}
    with pytest.raises(run.LauncherError, match="FlaskAPI, DjangoUI can't start"):
        run.check_settings(
            sys.executable, sys.executable, dict.fromkeys(("FlaskAPI", "DjangoUI"), wrong)
        )
    printed = capsys.readouterr().out
    for words in (r"FlaskAPI |   ISSUER is missing.", r"DjangoUI |   API_SCOPE is missing."):
        assert words in printed
    assert "Traceback" not in printed


def test_help_names_every_way_to_run():
    shown = subprocess.run(
        [sys.executable, ROOT / "run.py", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for name in vars(run.parse([])):
        assert f"--{name.replace('_', '-')} ".replace("--browser", "--no-browser") in shown
    for words in ("python3 run.py test ", "(8000)", "(5000)", "(8400)", "(8443)"):
        assert words in shown


def test_imports_only_the_standard_library():
    check = "import sys; sys.modules['requests'] = sys.modules['flask'] = None; import run"
    subprocess.run([sys.executable, "-S", "-c", check], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("environ", "no_proxy"),
    [
        pytest.param({}, "localhost,127.0.0.1,::1", id="none"),
        pytest.param({"no_proxy": "a.test"}, "a.test,localhost,127.0.0.1,::1", id="lower-case"),
        pytest.param({"NO_PROXY": "b.test"}, "b.test,localhost,127.0.0.1,::1", id="upper-case"),
        pytest.param(
            {"no_proxy": "a.test", "NO_PROXY": "b.test"},
            "a.test,localhost,127.0.0.1,::1",
            id="both-of-which-the-lower-case-name-is-in-force",
        ),
    ],
)
def test_adds_loopback_to_the_hosts_that_bypass_proxies(monkeypatch, capsys, environ, no_proxy):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    show = "import os; print(os.environ['no_proxy'], os.environ['NO_PROXY'])"
    monkeypatch.setattr(run, "answers", lambda url: not run.services[0].relay.is_alive())
    monkeypatch.setattr(run, "check_alive", lambda: None)
    run.serve("FlaskAPI", [sys.executable, "-c", show], {"FlaskAPI": {}}, "http://unused")
    run.stop_all()
    assert f"{no_proxy} {no_proxy}" in capsys.readouterr().out


# --- Virtual environments ------------------------------------------------------------------------


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    """A folder without requirements, so that nothing is downloaded."""
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # without uv
    (tmp_path / "app").mkdir()
    (tmp_path / "app/requirements.txt").write_text("# nothing\n")
    return tmp_path / "app"


def test_notices_another_python_and_a_change_of_included_requirements(monkeypatch, tmp_path):
    included = "-r ../a/requirements.txt\n-r ../b/requirements.txt\n"
    for folder, text in (("a", "x==1\n"), ("b", "z==1\n"), ("tests", included)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "requirements.txt").write_text(text)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    digests = {run.Environment("tests").digest}
    for folder in ("a", "b", "tests"):
        with (tmp_path / folder / "requirements.txt").open("a") as file:
            file.write("y==2\n")
        digests.add(run.Environment("tests").digest)
    monkeypatch.setattr(sys, "version", "3.99.0")
    digests.add(run.Environment("tests").digest)
    assert len(digests) == 5


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("uv", "intact", "commands"),
    [
        pytest.param(
            "", False, ["{this} -m venv --clear {venv}", "{python} -m pip install"], id="pip"
        ),
        pytest.param("", True, ["{this} -m venv {venv}", "{python} -m pip install"], id="pip-anew"),
        pytest.param(
            "/a/uv", False,
            ["/a/uv venv --quiet --seed --clear --python {this} {venv}",
             "/a/uv pip install --python {python} -r"], id="uv",
        ),
        pytest.param(
            "/a/uv", True,
            ["/a/uv venv --quiet --seed --allow-existing --python {this} {venv}",
             "/a/uv pip install --python {python} -r"], id="uv-anew",
        ),
    ],
)  # fmt: skip
def test_an_intact_environment_is_updated_and_another_one_cleared(
    monkeypatch, uv, intact, commands
):
    monkeypatch.setattr("shutil.which", lambda name: uv)
    environment = run.Environment("app")
    environment.is_intact = intact
    venv = environment.venv
    names = {"this": sys.executable, "venv": venv, "python": venv / "bin/python"}
    made, installed = (text.format_map(names) for text in commands)
    assert " ".join(environment.make()) == made
    assert " ".join(environment.install()).startswith(installed)
    assert environment.install()[-2:] == ["-r", str(environment.requirements)]


def test_creates_an_environment_once_and_repairs_a_damaged_one(folder, capsys, monkeypatch):
    make = run.Environment.make
    without_pip = {  # which takes seconds to install
        "make": lambda self: [*make(self), "--without-pip"],
        "install": lambda self: [str(self.python), "-c", "print('installs')"],
    }
    for name, command in without_pip.items():
        monkeypatch.setattr(run.Environment, name, command)
    (python,) = run.pythons_of("app")
    assert "app      | installs" in capsys.readouterr().out
    assert run.pythons_of("app") == [python]
    assert capsys.readouterr().out == ""
    shutil.copytree(folder, folder.with_name("web"), symlinks=True)
    (folder.with_name("web") / "requirements.txt").write_text("# changed\n")
    assert run.pythons_of("app", "web") == [python, python.replace("/app/", "/web/")]
    printed = capsys.readouterr().out
    assert "web      | installs" in printed
    assert "app " not in printed
    for part in ("lib", "bin", "pyvenv.cfg"):
        gone = folder / "venv" / part
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        assert run.pythons_of("app") == [python]
        assert "app      | installs" in capsys.readouterr().out
        prefix = subprocess.run(
            [python, "-c", "import sys; print(sys.prefix)"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        assert Path(prefix.strip()) == folder / "venv"


@pytest.mark.parametrize(
    ("step", "advice"),
    [
        pytest.param("make", "sudo apt install python3-venv", id="no-venv-module"),
        pytest.param("install", "The first start needs a network", id="no-network"),
    ],
)
def test_says_what_is_missing_if_the_environment_cannot_be_created(
    folder, monkeypatch, step, advice
):
    for name in ("make", "install"):
        command = [sys.executable, "-c", f"exit({name == step:d})"]
        monkeypatch.setattr(run.Environment, name, lambda self, command=command: command)
    shutil.copytree(folder, folder.with_name("web"))
    with pytest.raises(run.LauncherError, match=rf"Could not .* of app, web\. .*{advice}"):
        run.pythons_of("app", "web")
    assert not run.Environment("app").is_current


def test_half_installed_packages_are_not_taken_for_those_of_before(folder, monkeypatch):
    make = run.Environment.make
    monkeypatch.setattr(run.Environment, "make", lambda self: [*make(self), "--without-pip"])
    works, fails = ([sys.executable, "-c", f"exit({status})"] for status in (0, 1))
    monkeypatch.setattr(run.Environment, "install", lambda self: works)
    run.pythons_of("app")
    before = (folder / "requirements.txt").read_text()
    (folder / "requirements.txt").write_text("# changed\n")
    monkeypatch.setattr(run.Environment, "install", lambda self: fails)
    with pytest.raises(run.LauncherError):
        run.pythons_of("app")
    (folder / "requirements.txt").write_text(before)
    assert not run.Environment("app").is_current


# --- Processes -----------------------------------------------------------------------------------

# Writes that it runs, and at SIGTERM, a moment later, that it has stopped.
SERVER = """
import signal, sys, time
def stop(number, frame):
    time.sleep(0.1)
    open(sys.argv[1], "a").write(sys.argv[2] + " ")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
print("runs")
while True:
    signal.pause()
"""


def test_stops_in_reverse_order_and_waits_for_each(tmp_path):
    journal = tmp_path / "journal"
    for name in ("first", "second", "third"):
        run.Service(name, tmp_path, [sys.executable, "-c", SERVER, str(journal), name])
    run.wait_until(lambda: all(one.last_line == "runs" for one in run.services), "no start")
    processes = [service.process for service in run.services]
    run.stop_all()
    assert journal.read_text() == "third second first "
    assert [process.returncode for process in processes] == [0, 0, 0]


def test_what_does_not_stop_when_asked_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "STOP_SECONDS", 0.1)
    ignore = "import signal, time; signal.signal(2, signal.SIG_IGN); print('runs'); time.sleep(60)"
    command = [sys.executable, "-c", ignore]
    service = run.Service("stubborn", tmp_path, command, stop_signal=signal.SIGINT)
    run.wait_until(lambda: service.last_line == "runs", "no start")
    run.stop_all()
    assert service.process.returncode == -signal.SIGKILL


def test_stopping_kills_remaining_children(tmp_path):
    leave = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])"
    wait = f"import os, time; print(os.getpid(), flush=True); time.sleep({2 * 60})"
    service = run.Service("parent", tmp_path, [sys.executable, "-c", leave, wait])
    service.process.wait()
    deadline = time.monotonic() + 30
    while not service.last_line:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.stop_all()
    service.relay.join(10)  # ends when nobody holds the output open any more
    assert not service.relay.is_alive()


@pytest.mark.parametrize("status", [3, 0], ids=["in-failure", "in-success"])
def test_a_part_that_ended_by_itself_is_named_with_its_status(tmp_path, capsys, status):
    end = f"import os; os.write(2, b'a reason \\xff'); assert not os.read(0, 1); exit({status})"
    run.Service("FlaskAPI", tmp_path, [sys.executable, "-c", end]).process.wait()
    with pytest.raises(run.LauncherError, match=f"stopped with exit status {status}. The lines"):
        run.check_alive()
    assert "FlaskAPI | a reason \N{REPLACEMENT CHARACTER}\n" in capsys.readouterr().out
    run.stop_all()


def test_a_part_that_was_killed_is_named_with_the_signal_and_no_lines_are_promised(tmp_path):
    end = "import os; os.kill(os.getpid(), 9)"
    run.Service("FlaskAPI", tmp_path, [sys.executable, "-c", end]).process.wait()
    with pytest.raises(run.LauncherError) as told:
        run.check_alive()
    assert str(told.value) == "FlaskAPI was stopped by signal 9 (Killed)."
    run.stop_all()


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path[1:]))
        self.end_headers()


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
def test_a_part_is_probed_without_a_proxy(monkeypatch, status, ready):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # where nothing listens
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert run.answers(f"http://127.0.0.1:{server.server_port}/{status}") is ready


def test_a_part_that_never_responds_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "START_SECONDS", 0.2)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    (tmp_path / "DjangoUI").mkdir()
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(run.LauncherError, match="DjangoUI did not answer at http://localhost:1/"):
        run.serve("DjangoUI", command, {"DjangoUI": {}}, "http://localhost:1/")
    run.stop_all()


def test_the_demo_keeps_its_sessions_among_the_files_that_it_removes(tmp_path):
    ports = ["--front-port=0", "--back-port=0", "--ui-port=8123", "--api-port=5123"]
    options = run.parse([*ports, "--front-host=127.0.0.1"])
    settings = run.start_mock(sys.executable, options, tmp_path)
    run.stop_all()
    ui = settings["DjangoUI"]
    assert ui["REDIRECT_URI"] == "http://localhost:8123/account/callback"
    assert ui["FLASK_BACKEND_URL"] == "http://localhost:5123/subscriptions"
    assert ui["LOGOUT_URL"].startswith("http://127.0.0.1:")
    assert Path(settings["DjangoUI"]["DATABASE_PATH"]).parent == tmp_path
    assert ":8443" not in settings["FlaskAPI"]["AUTHORITY"]  # the port is the option's
    assert ":8400" not in settings["DjangoUI"]["LOGOUT_URL"]


def test_an_app_listens_on_every_loopback_address():
    command = run.gunicorn(8000, "main:create_app()")
    bound = {"127.0.0.1": "--bind=127.0.0.1:8000", "::1": "--bind=[::1]:8000"}
    assert command[2:-1] == [bound[address] for address in run.loopback()]


# --- The demo, with stand-ins for what it starts --------------------------------------------------


class Demo:
    """The launcher, whose parts only note that they were started; Ctrl-C comes at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[object] = []
        self.migrated = 0  # the exit status
        stand_ins = {
            "check_ports": self.started.append,
            "pythons_of": lambda *folders: [f"python of {folder}" for folder in folders],
            "start_mock": self.start_mock,
            "azure_settings": lambda ui, api: {"FlaskAPI": {"api": api}, "DjangoUI": {"ui": ui}},
            "check_settings": lambda *given: self.started.append(("check", *given)),
            "serve": lambda *given: self.started.append(given),
            "Service": self.service,
            "pause": self.interrupt,
        }
        for name, stand_in in stand_ins.items():
            monkeypatch.setattr(run, name, stand_in)
        monkeypatch.setattr("webbrowser.open", self.started.append)
        monkeypatch.setattr("signal.signal", lambda number, handler: None)

    def start_mock(self, python: str, options: object, scratch: Path) -> dict[str, dict[str, str]]:
        assert scratch.is_dir()
        self.started.append(("MockAzure", python))
        return {"FlaskAPI": {"mode": "mock"}, "DjangoUI": {"mode": "mock"}}

    def service(self, *given: object) -> "Demo":
        self.started.append(given)
        return self

    def finish(self) -> int:
        return self.migrated

    def interrupt(self) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def demo(monkeypatch) -> Demo:
    for name in ("CI", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return Demo(monkeypatch)


OTHER_PORTS = ["--ui-port=81", "--api-port=51", "--front-port=84", "--back-port=85"]


@pytest.mark.parametrize("windows", [False, True], ids=["gunicorn", "on-windows"])
def test_each_part_is_started_in_order_at_the_address_of_the_options(
    demo, monkeypatch, capsys, windows
):
    monkeypatch.setattr(run, "WINDOWS", windows)
    api = [*run.gunicorn(51, "--workers", "1"), "main:create_app()"]
    ui = run.gunicorn(81, "UI.wsgi:application")
    if windows:  # which has no gunicorn
        api = ["-m", "flask", "--app", "main", "run", "--port", "51"]
        ui = ["manage.py", "runserver", "--noreload", "localhost:81"]
    assert run.main(OTHER_PORTS) == 0
    folder, settings = ROOT / "DjangoUI", {"mode": "mock"}
    both = {"FlaskAPI": settings, "DjangoUI": settings}
    migrate = ["python of DjangoUI", "manage.py", "migrate", "--verbosity", "0"]
    assert demo.started == [
        {"--ui-port": 81, "--api-port": 51, "--front-port": 84, "--back-port": 85},
        ("MockAzure", "python of FlaskAPI"),
        ("FlaskAPI", ["python of FlaskAPI", *api], both, "http://localhost:51/health"),
        ("DjangoUI", folder, migrate, settings),
        ("DjangoUI", ["python of DjangoUI", *ui], both, "http://localhost:81/health"),
    ]
    assert capsys.readouterr().out == (
        "\n  The sample runs at http://localhost:81\n"
        "  Scenarios and the journey: http://localhost:84\n"
        "  Azure is a local mock. Ctrl-C stops everything.\n\n\nStopped.\n"
    )


def test_a_real_tenant_needs_no_mock_and_gets_its_settings_checked(demo, capsys):
    assert run.main(["--azure", "--check", *OTHER_PORTS]) == 0
    ports, check, api, _, ui = demo.started
    settings = {
        "FlaskAPI": {"api": "http://localhost:51"},
        "DjangoUI": {"ui": "http://localhost:81"},
    }
    assert ports == {"--ui-port": 81, "--api-port": 51}
    assert check == ("check", "python of FlaskAPI", "python of DjangoUI", settings)
    assert api[2] == ui[2] == settings
    assert capsys.readouterr().out == (
        "\n  The sample runs at http://localhost:81\n"
        "  Azure is the one in your settings. Everything answered.\n\n\nStopped.\n"
    )


def test_a_database_that_cannot_be_created_ends_the_start(demo):
    demo.migrated = 1
    with pytest.raises(run.LauncherError, match="DjangoUI could not create its database"):
        run.main([])
    assert demo.started[-1][2][1:3] == ["manage.py", "migrate"]


@pytest.mark.parametrize(
    ("options", "environ", "platform", "opens"),
    [
        pytest.param([], {"DISPLAY": ":0"}, "linux", True, id="x11"),
        pytest.param([], {"WAYLAND_DISPLAY": "x"}, "linux", True, id="wayland"),
        pytest.param([], {}, "darwin", True, id="macos"),
        pytest.param([], {}, "win32", True, id="windows"),
        pytest.param([], {}, "linux", False, id="no-display"),
        pytest.param([], {"DISPLAY": ":0", "CI": "true"}, "linux", False, id="in-ci"),
        pytest.param(["--no-browser"], {"DISPLAY": ":0"}, "linux", False, id="by-option"),
        pytest.param(["--check"], {"DISPLAY": ":0"}, "linux", False, id="only-a-check"),
    ],
)
def test_a_browser_opens_where_somebody_sees_it(
    demo, monkeypatch, options, environ, platform, opens
):
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert run.main(options) == 0
    assert demo.started[5:] == ["http://localhost:8000"] * opens


def test_the_word_test_runs_the_tests_with_the_further_arguments(monkeypatch):
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    monkeypatch.setattr(run, "test", lambda arguments: arguments)
    assert run.main(["test", "tests/unit", "-x"]) == ["tests/unit", "-x"]


# --- Being told to stop --------------------------------------------------------------------------


@pytest.fixture
def waits_for_the_mock(monkeypatch, tmp_path) -> list[str]:
    """The command that starts the launcher where both environments exist and the mock hangs."""
    shutil.copy(ROOT / "run.py", tmp_path)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    for folder in ("FlaskAPI", "DjangoUI"):
        (tmp_path / folder / "venv/bin").mkdir(parents=True)
        (tmp_path / folder / "venv/pyvenv.cfg").touch()
        (tmp_path / folder / "requirements.txt").touch()
        environment = run.Environment(folder)
        environment.python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"')
        environment.python.chmod(0o700)
        environment.installed.parent.mkdir(parents=True)
        environment.installed.write_text(environment.digest)
    (tmp_path / "tests/mock_azure").mkdir(parents=True)
    (tmp_path / "tests/mock_azure/__main__.py").write_text(
        "import os, sys, time\nprint(sys.argv[1])\nprint(os.getpid())\ntime.sleep(60)"
    )
    ports = zip(run.PORTS, free_ports(4), strict=True)
    return [sys.executable, "run.py", *(f"--{name}-port={port}" for name, port in ports)]


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_a_signal_during_the_start_stops_what_runs_and_removes_its_files(
    waits_for_the_mock, tmp_path, number
):
    with subprocess.Popen(
        waits_for_the_mock,
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as launcher:  # fmt: skip
        assert launcher.stdout
        scratch = Path(launcher.stdout.readline().rpartition("=")[2]).parent
        assert scratch.is_dir()
        assert scratch.name.startswith("on-behalf-of-")
        child = int(launcher.stdout.readline().split("|")[1])
        launcher.send_signal(number)
        launcher.send_signal(number)  # the impatient press twice
        rest = launcher.stdout.read()
        assert launcher.wait(30) == -signal.SIGINT
    assert rest == "\nStopped.\n"
    assert not scratch.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_ctrl_c_while_the_launcher_is_loaded_ends_it_without_a_traceback(tmp_path):
    """The signal comes during the first import, ``argparse``, and gets lost there."""
    (tmp_path / "argparse.py").write_text(
        "import contextlib, os, signal\n"
        "with contextlib.suppress(KeyboardInterrupt):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    shutil.copy(ROOT / "run.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGINT
    assert done.stdout + done.stderr == ""


# --- run.py test ---------------------------------------------------------------------------------

FAILS = "def test_{name}():\n    assert   False\n"
CONFIGURATION = """
[tool.mypy]
files = ["code"]
[tool.pytest.ini_options]
addopts = "--import-mode=importlib -p no:django -p no:playwright -p no:hypothesispytest"
"""
BROKEN = {  # a repository in which nothing is right
    "pyproject.toml": CONFIGURATION,
    "code/typed.py": "number: int =\n",
    "tests/unit/test_unit.py": FAILS.format(name="unit"),
    "tests/integration/test_integration.py": FAILS.format(name="integration"),
    "tests/e2e/test_e2e.py": FAILS.format(name="e2e"),
}


@pytest.fixture
def tool(monkeypatch, tmp_path) -> Path:
    """Replace Python with a script that fails for the tool named in the environment."""
    script = tmp_path / "python"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *"$FAILING"*) echo bad; exit 3;; esac\necho "= good ="'
    )
    script.chmod(0o700)
    monkeypatch.setattr(run, "pythons_of", lambda *folders: [str(script)])
    return script


def test_every_check_and_every_test_is_run(monkeypatch, tmp_path, capsys):
    for name, text in BROKEN.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "pythons_of", lambda *folders: [sys.executable])
    assert run.test([]) == 1
    printed = capsys.readouterr().out
    for complaint in (
        "ruff     | invalid-syntax: Expected an expression",
        "format   | unformatted: File would be reformatted",
        "mypy     | code/typed.py:1: error: ",
        "test_unit.py::test_unit",
        "test_integration.py::test_integration",
        "test_e2e.py::test_e2e",
    ):
        assert complaint in printed
    *_, closing, summary = filter(None, printed.splitlines())
    assert re.match("=+ 2 failed in .* =+$", closing)  # as pytest wrote it
    assert summary.startswith("FAILED: ruff, format, mypy, e2e, tests, after ")
    assert "e2e: 1 failed in " in summary
    assert "tests: 2 failed in " in summary


def test_what_python_compiles_is_kept_for_the_next_process(tool, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    tool.write_text('#!/bin/sh\necho "[$PYTHONDONTWRITEBYTECODE]"')
    run.test([])
    assert capsys.readouterr().out.count("| []\n") == len(run.STEPS)


def test_says_that_all_passed_and_what_each_step_counted(tool, monkeypatch, capsys):
    monkeypatch.setenv("FAILING", "nothing of this name")
    stopped_by = []
    finish = run.Service.finish

    def finished(step: run.Service) -> int:
        stopped_by.append(step.stop_signal)
        return finish(step)

    monkeypatch.setattr(run.Service, "finish", finished)
    assert run.test([]) == 0
    assert stopped_by == [signal.SIGINT] * 5  # on which pytest stops what its fixtures started
    summary = capsys.readouterr().out.splitlines()[-1]
    counted = "ruff: good; format: good; mypy: good; e2e: good; tests: good"
    assert re.fullmatch(rf"All passed, after \d+ s\. {counted}", summary)


@pytest.mark.parametrize(
    ("step", "command"),
    [
        pytest.param("ruff", "ruff check", id="ruff"),
        pytest.param("format", "ruff format --check", id="format"),
        pytest.param("mypy", "mypy", id="mypy"),
        pytest.param("e2e", "pytest tests/e2e", id="browser-tests"),
        pytest.param("tests", "tests/unit tests/integration", id="unit-and-integration-tests"),
    ],
)
def test_one_failed_step_fails_the_run(tool, monkeypatch, capsys, step, command):
    monkeypatch.setenv("FAILING", command)
    assert run.test([]) == 1
    summary = capsys.readouterr().out.splitlines()[-1]
    assert summary.startswith(f"FAILED: {step}, after ")
    assert f"{step}: bad" in summary


def test_a_step_that_was_killed_has_failed(tool, capsys):
    tool.write_text("#!/bin/sh\nkill -9 $$")
    assert run.test([]) == 1
    assert "\nFAILED: ruff, format, mypy, e2e, tests, after " in capsys.readouterr().out


def test_arguments_go_to_pytest_alone_and_its_status_comes_back(tool, monkeypatch, capfd):
    monkeypatch.setenv("FAILING", "-m pytest tests/unit -k signing")
    assert run.test(["tests/unit", "-k", "signing"]) == 3
    assert run.test(["tests/unit"]) == 0
    assert capfd.readouterr().out == "bad\n= good =\n"


def test_ci_runs_the_launcher_and_lets_nothing_be_skipped():
    script = (ROOT / ".ci/run").read_text()
    assert stat.S_IMODE((ROOT / ".ci/run").stat().st_mode) & 0o100
    assert "set -euo pipefail" in script
    assert "export CI=true" in script
    benchmarks = "tests/venv/bin/python -m tests.benchmarks --quick"
    assert script.splitlines()[-2:] == ["python3 run.py test", benchmarks]
    assert f"- run: {benchmarks}" in (ROOT / ".github/workflows/ci.yml").read_text()
