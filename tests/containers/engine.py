"""The composed services, through the command line of Docker or Podman."""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
INSTANCES = 2  # of each app
SECONDS_TO_BE_READY = 120
START_SECONDS = 300  # of all instances, on a slow machine
PROBE = """
import contextlib, sys, urllib.request
for port in (8000, 5000):
    with contextlib.suppress(OSError):
        sys.exit(urllib.request.urlopen(f"http://127.0.0.1:{port}/health").status != 200)
sys.exit(1)
"""


def wait_until(condition: Callable[[], object]) -> None:
    wait_for(condition, SECONDS_TO_BE_READY, "A container: being ready")


class Containers:
    """One composed project; leaving its ``with`` block removes it with its volumes."""

    def __init__(self, project: str, description: str | None, *files: str) -> None:
        parser = argparse.ArgumentParser(prog=project, description=description)
        parser.add_argument("--engine", default="docker", choices=["docker", "podman"])
        parser.add_argument("--no-build", action="store_true", help="use images that exist")
        options = parser.parse_args()
        self.engine: str = options.engine
        self.build: bool = not options.no_build
        self._compose = ["compose", f"--project-name={project}", *(f"--file={f}" for f in files)]

    def __enter__(self) -> Self:
        if self.build:
            self.compose("build")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.compose("down", "--volumes")

    def start(self) -> None:
        """Start all services, with two instances of each app, and wait until they are healthy."""
        scale = [f"--scale={app}={INSTANCES}" for app in ("flaskapi", "djangoui")]
        try:
            self.compose("up", "--detach", "--no-build", "--wait", *scale, timeout=START_SECONDS)
        except subprocess.TimeoutExpired:  # Compose itself waits forever
            state = self.compose("ps", "--all")
            sys.exit(f"Not everything was healthy within {START_SECONDS} seconds:\n{state}")

    def compose(self, *command: str, timeout: float | None = None) -> str:
        return self.run(*self._compose, *command, timeout=timeout)

    def run(self, *command: str, timeout: float | None = None) -> str:
        """Run a command of the engine; return what it writes to standard output."""
        command = (self.engine, *command)
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def shell(self, service: str, script: str) -> str:
        """Run a shell script in the container of a service."""
        return self.compose("exec", "-T", service, "sh", "-ec", script)

    def instances(self, *services: str) -> list[str]:
        return self.compose("ps", "--quiet", *services).split()

    def restart(self, instance: str) -> None:
        self.run("restart", "--time=30", instance)
        self.wait_for(instance)

    def wait_for(self, instance: str) -> None:
        """Wait until an instance of the app responds."""
        command = [self.engine, "exec", instance, "python", "-c", PROBE]
        wait_until(lambda: subprocess.run(command, capture_output=True).returncode == 0)
