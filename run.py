#!/usr/bin/env python3
"""Start the sample, or its tests, with nothing but Python installed.

python3 run.py            both apps and a mock of Azure on this machine: no tenant, no settings
python3 run.py --azure    both apps with their development.env, against your tenant
python3 run.py --check    start everything, see that each part answers, and stop again
python3 run.py test       the checks and tests; what follows goes to pytest
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)
WINDOWS = os.name == "nt"
START_SECONDS = 60
STOP_SECONDS = 10


class Problem(Exception):
    """Something the person in front of the terminal can mend; the text says how."""


# --- Virtual environments ----------------------------------------------------------------------


def python_of(folder: str) -> Path:
    """Return the interpreter of ``folder``'s virtual environment, made and filled if need be."""
    venv = ROOT / folder / "venv"
    python = venv / ("Scripts/python.exe" if WINDOWS else "bin/python")
    stamp = venv / ".installed"
    wanted = hashlib.sha256(sys.version.encode())
    for requirements in sorted({ROOT / folder / "requirements.txt", *_included(folder)}):
        wanted.update(requirements.read_bytes())
    if python.exists() and stamp.exists() and stamp.read_text() == wanted.hexdigest():
        return python

    begun = time.monotonic()
    uv = shutil.which("uv")
    say(folder, f"{'completing' if python.exists() else 'making'} its virtual environment")
    with contextlib.suppress(FileNotFoundError):
        stamp.unlink()
    if uv:
        make = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(venv)]
        install = [uv, "pip", "install", "--python", str(python)]
    else:
        make = [sys.executable, "-m", "venv", str(venv)]
        install = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
        install += ["--progress-bar", "off"]
    if run_loudly(folder, make):
        raise Problem(
            f"No virtual environment could be made in {venv}.\n"
            "On Debian and Ubuntu install it first: sudo apt install python3-venv"
        )
    say(folder, "installing its requirements")
    if run_loudly(folder, [*install, "-r", str(ROOT / folder / "requirements.txt")]):
        raise Problem(
            f"The packages of {folder} could not be installed; the lines above say why.\n"
            "The first start needs a network, or a package index that your pip knows."
        )
    stamp.write_text(wanted.hexdigest())
    say(folder, f"ready after {time.monotonic() - begun:.0f} s")
    return python


def _included(folder: str) -> list[Path]:
    lines = (ROOT / folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [(ROOT / folder / line[3:].strip()).resolve() for line in lines if line[:3] == "-r "]


def run_loudly(name: str, command: list[str]) -> int:
    """Run ``command`` to its end, each line of its output behind ``name``."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        relay(name, process)
    return process.returncode


def pythons_of(*folders: str) -> list[Path]:
    """Return the interpreters of several folders, made side by side."""
    found: dict[str, Path | Problem] = {}

    def make(folder: str) -> None:
        try:
            found[folder] = python_of(folder)
        except Problem as problem:
            found[folder] = problem

    threads = [threading.Thread(target=make, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = [found[folder] for folder in folders]
    for result in results:
        if isinstance(result, Problem):
            raise result
    return [result for result in results if isinstance(result, Path)]


# --- Services ----------------------------------------------------------------------------------


@dataclass
class Service:
    name: str
    process: subprocess.Popen[str]


def say(name: str, text: str) -> None:
    # In one piece, since several threads say something at once.
    print(f"{name:<9}| {text}\n", end="", flush=True)


def relay(name: str, process: subprocess.Popen[str]) -> None:
    """Print what ``process`` writes, line by line, until it ends."""
    assert process.stdout
    for line in process.stdout:
        say(name, line.rstrip())


def start(name: str, folder: Path, command: list[str], settings: dict[str, str]) -> Service:
    """Start a service in a process group of its own, so that it can be stopped as a whole."""
    no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY"), "localhost,127.0.0.1,::1"]))
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_PROXY": no_proxy, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=not WINDOWS,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows's word for it
    )
    threading.Thread(target=relay, args=(name, process), daemon=True).start()
    return Service(name, process)


def stop(services: list[Service]) -> None:
    """Ask every service to end, then end whatever it started and left behind."""
    for service in services:
        if not WINDOWS:
            service.process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for service in services:
        if not WINDOWS:
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.process.wait(max(0.1, deadline - time.monotonic()))
        kill_group(service.process)
        service.process.wait()


def kill_group(process: subprocess.Popen[str]) -> None:
    if sys.platform == "win32":
        tree = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        subprocess.run(tree, check=False, capture_output=True)
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_until_healthy(service: Service, url: str) -> None:
    # No proxy, whatever the environment says: the address is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        check_alive([service])
        with contextlib.suppress(OSError), opener.open(url, timeout=2):
            return
        time.sleep(0.1)
    raise Problem(f"{service.name} did not answer at {url} within {START_SECONDS} s.")


def check_alive(services: list[Service]) -> None:
    for service in services:
        if service.process.poll() is not None:
            time.sleep(0.3)  # its last lines may still be on their way
            raise Problem(
                f"{service.name} stopped with exit status {service.process.returncode}; "
                "its lines above say why."
            )


def loopback() -> list[str]:
    """Return this machine's loopback addresses; browsers may try either for ``localhost``."""
    addresses = ["127.0.0.1"]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        addresses.append("::1")
    return addresses


def check_ports(ports: dict[str, int]) -> None:
    for option, port in ports.items():
        if not 0 < port < 65536 or list(ports.values()).count(port) > 1:
            raise Problem(f"{option} {port}: each part needs a port of its own, from 1 to 65535.")
        for address in loopback():
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
                if not WINDOWS:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                except OSError as error:
                    raise Problem(
                        f"Port {port} is taken on this machine ({error.strerror}). Stop what "
                        f"listens there, or choose another: {option} {port + 1}"
                    ) from error


def server(python: Path, app: str, port: int, windows_command: list[str]) -> list[str]:
    """Return the command that serves ``app``: gunicorn, or its framework's server on Windows."""
    if WINDOWS:
        return [str(python), *windows_command]
    hosts = [f"[{address}]" if ":" in address else address for address in loopback()]
    binds = [argument for host in hosts for argument in ("--bind", f"{host}:{port}")]
    return [str(python), "-m", "gunicorn", *binds, app]


# --- What can be run ---------------------------------------------------------------------------


@contextlib.contextmanager
def running(options: argparse.Namespace) -> Iterator[list[Service]]:
    """Start everything in order, each part once the last is healthy, and stop it at the end."""
    ports = {"--ui-port": options.ui_port, "--api-port": options.api_port}
    if not options.azure:
        ports |= {"--front-port": options.front_port, "--back-port": options.back_port}
    check_ports(ports)
    api_python, ui_python = pythons_of("FlaskAPI", "DjangoUI")
    ui, api = f"http://localhost:{options.ui_port}", f"http://localhost:{options.api_port}"
    services: list[Service] = []
    with tempfile.TemporaryDirectory(prefix="on-behalf-of-") as scratch:
        try:
            if options.azure:
                settings: dict[str, Any] = azure_settings(ui, api)
                check_settings(api_python, ui_python, settings)
            else:
                settings = start_mock(services, api_python, Path(scratch), options, ui, api)
            serve_api = ["-m", "flask", "--app", "main", "run", "--port", str(options.api_port)]
            command = server(api_python, "main:create_app()", options.api_port, serve_api)
            services.append(start("FlaskAPI", ROOT / "FlaskAPI", command, settings["FlaskAPI"]))
            wait_until_healthy(services[-1], f"{api}/health")

            migrate = [str(ui_python), "manage.py", "migrate", "--verbosity", "0"]
            migration = start("DjangoUI", ROOT / "DjangoUI", migrate, settings["DjangoUI"])
            services.append(migration)
            if migration.process.wait():
                check_alive([migration])
            services.remove(migration)
            serve_ui = ["manage.py", "runserver", "--noreload", f"localhost:{options.ui_port}"]
            command = server(ui_python, "UI.wsgi:application", options.ui_port, serve_ui)
            services.append(start("DjangoUI", ROOT / "DjangoUI", command, settings["DjangoUI"]))
            wait_until_healthy(services[-1], f"{ui}/health")
            yield services
        finally:
            stop(services)


def start_mock(
    services: list[Service],
    python: Path,
    scratch: Path,
    options: argparse.Namespace,
    ui: str,
    api: str,
) -> dict[str, Any]:
    """Start the mock and return what it tells each app: addresses, IDs, secrets of this start."""
    file = scratch / "settings.json"
    command = [str(python), "-m", "tests.mock_azure", "--settings", str(file)]
    command += ["--front-host", options.front_host, "--front-port", str(options.front_port)]
    command += ["--back-port", str(options.back_port), "--ui-url", ui, "--api-url", api]
    services.append(start("MockAzure", ROOT, command, {}))
    wait_until_healthy(services[-1], f"http://{options.front_host}:{options.front_port}/")
    while not file.exists():  # it listens first, and then writes down where
        check_alive(services)
        time.sleep(0.05)
    settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    settings["DjangoUI"]["DATABASE_PATH"] = str(scratch / "db.sqlite3")
    return settings


def azure_settings(ui: str, api: str) -> dict[str, dict[str, str]]:
    """Return what the two files can't know: the mode, and where this start lets the apps listen."""
    for folder in ("FlaskAPI", "DjangoUI"):
        if not (ROOT / folder / "development.env").is_file():
            raise Problem(
                f"{folder}/development.env is not there. AppCreationScripts/configure.py "
                "registers the apps and writes it; README.md has both ways under Registration."
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


def check_settings(api_python: Path, ui_python: Path, settings: dict[str, Any]) -> None:
    """Let each app say all that is wrong with its settings, before a server starts for it."""
    problems = []
    for folder, command in {
        "FlaskAPI": [str(api_python), "-m", "flask", "--app", "main", "routes"],
        "DjangoUI": [str(ui_python), "manage.py", "check"],
    }.items():
        environ = {**os.environ, **settings[folder]}
        checked = subprocess.run(
            command, cwd=ROOT / folder, env=environ, capture_output=True, text=True, check=False
        )
        if checked.returncode:
            problems.append(f"{folder} can't start.\n{checked.stderr.strip()}")
    if problems:
        raise Problem("\n\n".join(problems))


def demo(options: argparse.Namespace) -> int:
    with running(options) as services:
        url = f"http://localhost:{options.ui_port}"
        azure = (
            "Azure is the one in your settings."
            if options.azure
            else "Azure is a mock on this machine."
        )
        then = "Everything answered." if options.check else "Ctrl-C stops everything."
        print(f"\n  The sample runs at {url}\n  {azure} {then}\n", flush=True)
        if options.check:
            return 0
        if options.browser and "CI" not in os.environ and has_display():
            webbrowser.open(url)
        while True:
            check_alive(services)
            time.sleep(0.5)


def has_display() -> bool:
    """Say whether a browser window can open: a text browser would take the terminal."""
    unix = sys.platform not in ("win32", "darwin")
    return not unix or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def test(pytest_arguments: list[str]) -> int:
    """Run the checks and all tests, or just pytest with the arguments given."""
    (python,) = pythons_of("tests")
    if pytest_arguments:
        steps = [["pytest", *pytest_arguments]]
    else:
        # The browser tests have a process of their own: their event loop disturbs Django's.
        steps = [
            ["ruff", "check", "."],
            ["ruff", "format", "--check", "."],
            ["mypy"],
            ["pytest", "tests/unit", "tests/integration"],
            ["pytest", "tests/e2e"],
        ]
    failed = 0
    for step in steps:
        print(f"\n$ {' '.join(step)}", flush=True)
        failed |= subprocess.run([str(python), "-m", *step], cwd=ROOT, check=False).returncode
    return failed


def main(arguments: list[str]) -> int:
    if sys.version_info < OLDEST_PYTHON:
        raise Problem(
            "This sample needs Python {}.{} or newer; this is {}.".format(
                *OLDEST_PYTHON, sys.version.split()[0]
            )
        )
    if arguments[:1] == ["test"]:
        return test(arguments[1:])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--azure", action="store_true", help="use your tenant, not the mock")
    parser.add_argument("--check", action="store_true", help="stop once everything answers")
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="open none")
    parser.add_argument("--ui-port", type=int, default=8000, help="of DjangoUI (%(default)s)")
    parser.add_argument("--api-port", type=int, default=5000, help="of FlaskAPI (%(default)s)")
    parser.add_argument("--front-port", type=int, default=8400, help="of the mock (%(default)s)")
    parser.add_argument("--back-port", type=int, default=8443, help="of its servers (%(default)s)")
    parser.add_argument(
        "--front-host",
        default="localhost",
        choices=["localhost", "127.0.0.1"],
        help="of its pages; 127.0.0.1 is another site to browsers, as Entra is (%(default)s)",
    )
    return demo(parser.parse_args(arguments))


if __name__ == "__main__":
    # Being told to stop is the same as Ctrl-C: everything that was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except Problem as problem:
        sys.exit(f"\n{problem}")
    except KeyboardInterrupt:
        print("\nStopped.", flush=True)
