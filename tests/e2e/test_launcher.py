"""The launcher's failures: it names the reason and leaves nothing behind."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.apps import ROOT, free_ports
from tests.e2e.conftest import Demo, start_demo
from tests.visitor import Visitor


@pytest.fixture
def other_demo() -> Iterator[Demo]:
    """A demo with its sign-in pages at another host, for a test that may end it."""
    demo = start_demo(front_host="127.0.0.1")
    yield demo
    demo.process.send_signal(signal.SIGINT)  # does nothing if it has ended
    demo.wait_for_end(30)


def test_signs_in_at_another_host_and_when_one_part_dies_the_others_stop(other_demo):
    alice = Visitor(other_demo.ui).open()
    assert alice.page.url.startswith(f"{other_demo.front}/")
    assert alice.answer("alice").names[0] == "Contoso Production"
    assert f"  Scenarios and the journey: {other_demo.front}\n" in other_demo.written()

    api = re.search(r"FlaskAPI \| .*Listening at: .* \((\d+)\)", other_demo.written())
    assert api
    os.kill(int(api[1]), signal.SIGKILL)
    assert other_demo.wait_for_end(30) == 1
    assert "FlaskAPI was stopped by signal 9 (Killed)." in other_demo.written()
    assert other_demo.listening() == []


def test_a_taken_port_is_named_before_anything_is_installed_or_started():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ui, front, back = free_ports(3)
        others = [f"--ui-port={ui}", f"--front-port={front}", f"--back-port={back}"]
        done = subprocess.run(
            [sys.executable, "run.py", "--no-browser", "--api-port", port, *others],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"Port {port} is taken on this machine" in done.stderr
    assert "--api-port" in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
