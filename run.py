#!/usr/bin/env python3
"""Start the sample or its tests. Only Python must be installed.

python3 run.py            both apps and a local mock of Azure; no tenant and no settings needed
python3 run.py --azure    both apps with their development.env, against your tenant
python3 run.py --check    start everything, check that each part responds, then stop
python3 run.py test       run the checks and tests; further arguments go to pytest alone
"""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":  # before all other imports, so that Ctrl-C never prints a traceback
    # Until ``main`` handles Ctrl-C, let it end this process: no other process runs yet, and a
    # KeyboardInterrupt during an import may get lost.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.excepthook = lambda kind, *rest: (
        print("\nStopped.") if kind is KeyboardInterrupt else sys.__excepthook__(kind, *rest)
    )

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)
WINDOWS = sys.platform == "win32"
START_SECONDS = 60
STOP_SECONDS = 10
PORTS = {"ui": 8000, "api": 5000, "front": 8400, "back": 8443}


class LauncherError(Exception):
    """The user can fix this; the message says how."""


# --- Processes ---------------------------------------------------------------------------------


services: list[Service] = []  # the running ones, in the order of their start
stop_requested = False


def request_stop(number: int, frame: object) -> None:
    """Handle a signal. It interrupts nothing: the next ``pause`` raises KeyboardInterrupt."""
    global stop_requested
    stop_requested = True


def pause() -> None:
    if stop_requested:
        raise KeyboardInterrupt
    time.sleep(0.05)


def say(name: str, text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be closed
        # One write, because several threads print.
        print(f"{name:<9}| {text}\n", end="", flush=True)


class Service:
    """A process and its children. Each line of their output is printed after the service's name."""

    def __init__(
        self,
        name: str,
        folder: Path,
        command: list[str],
        settings: dict[str, str] | None = None,
        stop_signal: int = signal.SIGTERM,
    ) -> None:
        self.name, self.stop_signal, self.last_line = name, stop_signal, ""
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=not WINDOWS,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # for Windows
        )
        services.append(self)
        self.relay = threading.Thread(target=self._relay, daemon=True)
        self.relay.start()

    def _relay(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.last_line = line.rstrip()
                say(self.name, self.last_line)

    def finish(self) -> int:
        """Wait until the process ends, and return its exit status."""
        while self.process.poll() is None:
            pause()
        self.relay.join(1)  # seconds; a remaining child may keep the output open
        services.remove(self)
        return self.process.returncode

    def stop(self) -> None:
        """Ask the process to stop, then kill it and its children if they still run."""
        if sys.platform == "win32":
            tree = ["taskkill", "/T", "/F", "/PID", str(self.process.pid)]
            subprocess.run(tree, check=False, capture_output=True)
        else:
            self.process.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.relay.join(1)


def stop_all() -> None:
    """Stop all services, starting with the latest, and wait for each."""
    while services:
        services.pop().stop()


def check_alive() -> None:
    for service in services:
        status = service.process.poll()
        if status is not None:
            service.relay.join(1)
            reason = f"stopped with exit status {status}. The lines above say why."
            if status < 0:
                reason = f"was stopped by signal {-status} ({signal.strsignal(-status)})."
            raise LauncherError(f"{service.name} {reason}")


def wait_until(condition: Callable[[], object], description: str) -> None:
    """Wait for ``condition``; raise LauncherError after START_SECONDS, or if a service stops."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        check_alive()
        if time.monotonic() > deadline:
            raise LauncherError(f"{description} within {START_SECONDS} s.")
        pause()


def answers(url: str) -> bool:
    # The address is on this machine, so no proxy is used.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError), opener.open(url, timeout=2):
        return True
    return False


NO_VENV = "On Debian and Ubuntu, do this first: sudo apt install python3-venv"
NO_PACKAGES = "The first start needs a network, or a package index that your pip knows."


# --- Virtual environments ----------------------------------------------------------------------


class Environment:
    """The virtual environment of a folder, with the packages of its ``requirements.txt``."""

    def __init__(self, folder: str) -> None:
        self.folder, self.venv = folder, ROOT / folder / "venv"
        self.python = self.venv / ("Scripts/python.exe" if WINDOWS else "bin/python")
        self.is_intact = self.python.exists() and (self.venv / "pyvenv.cfg").exists()
        # This file records what is installed. It is next to the packages, and is deleted with them.
        packages = sysconfig.get_path("purelib", "venv", vars={"base": str(self.venv)})
        self.installed = Path(packages, ".installed")
        self.requirements = ROOT / folder / "requirements.txt"
        lines = self.requirements.read_text(encoding="utf-8").splitlines()
        included = [ROOT / folder / line[3:] for line in lines if line[:3] == "-r "]
        digest = hashlib.sha256(sys.version.encode())
        for file in [self.requirements, *included]:
            digest.update(file.read_bytes())
        self.digest = digest.hexdigest()
        is_filled = self.installed.exists() and self.installed.read_text() == self.digest
        self.is_current = self.is_intact and is_filled

    def make(self) -> list[str]:
        if uv := shutil.which("uv"):  # does the same as venv and pip, and faster
            keep = "--allow-existing" if self.is_intact else "--clear"
            python = ["--python", sys.executable]
            return [uv, "venv", "--quiet", "--seed", keep, *python, str(self.venv)]
        clear = [] if self.is_intact else ["--clear"]
        return [sys.executable, "-m", "venv", *clear, str(self.venv)]

    def install(self) -> list[str]:
        command = [str(self.python), "-m", "pip", "install", "--progress-bar", "off"]
        if uv := shutil.which("uv"):
            command = [uv, "pip", "install", "--python", str(self.python)]
        return [*command, "-r", str(self.requirements)]


def pythons_of(*folders: str) -> list[str]:
    """Return the interpreters of these folders; create or update their environments if needed."""
    environments = [Environment(folder) for folder in folders]
    outdated = [environment for environment in environments if not environment.is_current]
    for environment in outdated:
        say(environment.folder, "creating the virtual environment, which may take half a minute")
        environment.installed.unlink(missing_ok=True)
    if failed := names_of_failed([Service(env.folder, ROOT, env.make()) for env in outdated]):
        raise LauncherError(f"Could not create the virtual environment of {failed}. {NO_VENV}")
    if failed := names_of_failed([Service(env.folder, ROOT, env.install()) for env in outdated]):
        raise LauncherError(f"Could not install the packages of {failed}. {NO_PACKAGES}")
    for environment in outdated:
        environment.installed.write_text(environment.digest)
    return [str(environment.python) for environment in environments]


def names_of_failed(processes: list[Service]) -> str:
    """Wait until all processes end, and return the names of those that failed."""
    return ", ".join([process.name for process in processes if process.finish()])


# --- Checks before the start -------------------------------------------------------------------


def loopback() -> list[str]:
    """Return this machine's loopback addresses; browsers may try either for ``localhost``."""
    addresses = ["127.0.0.1"]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        addresses.append("::1")
    return addresses


def check_ports(ports: dict[str, int]) -> None:
    """Raise LauncherError with every port that is taken and the option that changes it."""
    taken = []
    for option, port in ports.items():
        if not 0 < port < 65536 or list(ports.values()).count(port) > 1:
            raise LauncherError(f"{option} {port}: each part needs its own port, from 1 to 65535.")
        if reason := why_taken(port):
            advice = f"Stop the program that uses it, or choose another: {option} {port + 1}"
            taken.append(f"Port {port} is taken on this machine ({reason}). {advice}")
    if len(taken) == len(ports) > 1:
        taken.append("Is an earlier start still running? Then press Ctrl-C in its terminal.")
    if taken:
        raise LauncherError("\n".join(taken))


def why_taken(port: int) -> str:
    """Return why ``port`` is taken, or an empty string if it is free."""
    for address in loopback():
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            if not WINDOWS:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                return str(error.strerror)
    return ""


def azure_settings(ui: str, api: str) -> dict[str, dict[str, str]]:
    """Return settings that the two files don't contain: the mode and this start's addresses."""
    for folder in ("FlaskAPI", "DjangoUI"):
        if not (ROOT / folder / "development.env").is_file():
            raise LauncherError(
                f"{folder}/development.env is missing. AppCreationScripts/configure.py "
                "registers the apps and writes it. For the manual steps, see Registration in "
                "README.md."
            )
    return {
        "FlaskAPI": {"FLASK_ENV": "development"},
        "DjangoUI": {
            "ENVIRONMENT": "development",
            "FLASK_BACKEND_URL": f"{api}/subscriptions",
            "REDIRECT_URI": f"{ui}/account/callback",  # on localhost Entra ignores the port
            "POST_LOGOUT_REDIRECT_URI": f"{ui}/account/signed-out",
        },
    }


def check_settings(api_python: str, ui_python: str, settings: dict[str, Any]) -> None:
    """Let both apps report all mistakes in their settings before a server starts."""
    routes = [api_python, "-m", "flask", "--app", "main", "routes"]  # loads the app, then ends
    check = [ui_python, "manage.py", "check"]
    api = Service("FlaskAPI", ROOT / "FlaskAPI", routes, settings["FlaskAPI"])
    ui = Service("DjangoUI", ROOT / "DjangoUI", check, settings["DjangoUI"])
    if failed := names_of_failed([api, ui]):
        raise LauncherError(f"{failed} can't start. The lines above say what to change.")


# --- Demo and tests ----------------------------------------------------------------------------


def demo(options: argparse.Namespace, scratch: Path) -> int:
    """Start each service when the one before responds; return after Ctrl-C or a signal."""
    parts = ("ui", "api") if options.azure else PORTS
    check_ports({f"--{part}-port": getattr(options, f"{part}_port") for part in parts})
    ui, api = f"http://localhost:{options.ui_port}", f"http://localhost:{options.api_port}"
    api_python, ui_python = pythons_of("FlaskAPI", "DjangoUI")
    if options.azure:
        settings: dict[str, Any] = azure_settings(ui, api)
        check_settings(api_python, ui_python, settings)
    else:
        settings = start_mock(api_python, options, scratch)

    # One worker has one token cache, so the page's second load is always a cache hit.
    flask = ["-m", "flask", "--app", "main", "run", "--port", str(options.api_port)]
    command = gunicorn(options.api_port, "--workers", "1", "main:create_app()")
    serve("FlaskAPI", [api_python, *(flask if WINDOWS else command)], settings, f"{api}/health")

    migrate = [ui_python, "manage.py", "migrate", "--verbosity", "0"]
    if Service("DjangoUI", ROOT / "DjangoUI", migrate, settings["DjangoUI"]).finish():
        raise LauncherError("DjangoUI could not create its database. The lines above say why.")
    runserver = ["manage.py", "runserver", "--noreload", f"localhost:{options.ui_port}"]
    command = gunicorn(options.ui_port, "UI.wsgi:application")
    serve("DjangoUI", [ui_python, *(runserver if WINDOWS else command)], settings, f"{ui}/health")

    pages = f"http://{options.front_host}:{options.front_port}"
    mock = f"Scenarios and the journey: {pages}\n  Azure is a local mock."
    azure = "Azure is the one in your settings." if options.azure else mock
    then = "Everything answered." if options.check else "Ctrl-C stops everything."
    print(f"\n  The sample runs at {ui}\n  {azure} {then}\n", flush=True)
    if options.browser and not options.check and "CI" not in os.environ and has_display():
        webbrowser.open(ui)
    with contextlib.suppress(KeyboardInterrupt):
        while not options.check:
            check_alive()
            pause()
    stop_all()
    print("\nStopped.", flush=True)
    return 0


def start_mock(python: str, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Start the mock and return each app's settings: addresses, IDs and newly made secrets."""
    file = scratch / "settings.json"
    command = [python, "-m", "tests.mock_azure", f"--settings={file}"]
    command += [f"--front-host={options.front_host}", f"--front-port={options.front_port}"]
    command += [f"--back-port={options.back_port}", f"--ui-url=http://localhost:{options.ui_port}"]
    command += [f"--api-url=http://localhost:{options.api_port}"]
    Service("MockAzure", ROOT, command)
    wait_until(file.exists, "MockAzure did not start")  # it writes the file when it listens
    settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    settings["DjangoUI"]["DATABASE_PATH"] = str(scratch / "db.sqlite3")
    return settings


def serve(name: str, command: list[str], settings: dict[str, Any], url: str) -> None:
    """Start an app, without a proxy for loopback addresses, and wait until it responds."""
    # requests and urllib prefer the lower-case name; other programs read only one of the two.
    in_force = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    no_proxy = ",".join(filter(None, [in_force, "localhost,127.0.0.1,::1"]))
    environ = {"no_proxy": no_proxy, "NO_PROXY": no_proxy, **settings[name]}
    Service(name, ROOT / name, command, environ)
    wait_until(lambda: answers(url), f"{name} did not answer at {url}")


def gunicorn(port: int, *arguments: str) -> list[str]:
    hosts = [f"[{address}]" if ":" in address else address for address in loopback()]
    return ["-m", "gunicorn", *(f"--bind={host}:{port}" for host in hosts), *arguments]


def has_display() -> bool:
    """Return whether a browser window can open. A text browser would take over the terminal."""
    displays = {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    return sys.platform in ("win32", "darwin") or bool(displays)


# Playwright's event loop disturbs Django's tests, so the browser tests run in their own process.
# The others are shared out by file, so that each file's servers start once, in conftest.py's order.
STEPS = {
    "ruff": "ruff check .",
    "format": "ruff format --check .",
    "mypy": "mypy",
    "e2e": "pytest tests/e2e",
    "tests": "pytest -n auto --dist loadfile --no-loadscope-reorder tests/unit tests/integration",
}


def test(pytest_arguments: list[str]) -> int:
    """Run all checks and tests in parallel, or only pytest if there are arguments for it."""
    (python,) = pythons_of("tests")
    if pytest_arguments:  # in the foreground, so that a debugger can read from the terminal
        command = [python, "-m", "pytest", *pytest_arguments]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    begun = time.monotonic()
    # The tests start Python hundreds of times. Without this each would compile every module.
    compiled = {"PYTHONDONTWRITEBYTECODE": ""}
    steps = [
        # On SIGINT pytest stops the servers that its fixtures started.
        Service(name, ROOT, [python, "-m", *command.split()], compiled, signal.SIGINT)
        for name, command in STEPS.items()
    ]
    failed = names_of_failed(steps)
    print("", *(step.last_line for step in steps), "", sep="\n")
    outcome = f"FAILED: {failed}" if failed else "All passed"
    counts = "; ".join(f"{step.name}: {step.last_line.strip('= ')}" for step in steps)
    print(f"{outcome}, after {time.monotonic() - begun:.0f} s. {counts}", flush=True)
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    if sys.version_info < OLDEST_PYTHON:
        oldest, this = ".".join(map(str, OLDEST_PYTHON)), sys.version.split()[0]
        raise LauncherError(f"This sample needs Python {oldest} or newer; this is {this}.")
    # Ctrl-C, kill, and a closed terminal (Windows has no signal for that).
    for number in {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
        signal.signal(number, request_stop)
    with tempfile.TemporaryDirectory(prefix="on-behalf-of-") as scratch:
        try:
            if arguments[:1] == ["test"]:
                return test(arguments[1:])
            return demo(parse(arguments), Path(scratch))
        finally:
            stop_all()


def parse(arguments: list[str]) -> argparse.Namespace:
    keep_lines = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=keep_lines)
    add = parser.add_argument
    add("--azure", action="store_true", help="use your tenant, not the mock")
    add("--check", action="store_true", help="stop when everything responds")
    add("--no-browser", dest="browser", action="store_false", help="don't open a browser")
    parts = ("DjangoUI", "FlaskAPI", "the mock's pages", "the mock's servers")
    for part, (name, port) in zip(parts, PORTS.items(), strict=True):
        add(f"--{name}-port", type=int, default=port, help=f"port of {part} ({port})")
    hosts = ["localhost", "127.0.0.1"]  # to browsers the second is another site, as Entra is
    add("--front-host", default=hosts[0], choices=hosts, help="host of the mock's pages")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LauncherError as error:
        sys.exit(f"\n{error}")
