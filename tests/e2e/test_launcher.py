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


def ports_are_free(demo: Demo) -> bool:
    for url in (demo.ui, demo.api, demo.front):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0:
                return False
    return True


@pytest.fixture
def other_demo() -> Iterator[Demo]:
    """A demo with its sign-in pages at another host, for a test that may end it."""
    demo = start_demo(front_host="127.0.0.1")
    yield demo
    demo.process.send_signal(signal.SIGINT)  # does nothing if it has ended
    wait_for_end(demo)


def wait_for_end(demo: Demo) -> int:
    """Wait until the demo has ended and all its output is read; return its exit status."""
    assert demo.reader
    demo.reader.join(30)
    return demo.process.wait(10)


def test_signs_in_at_another_host_and_when_one_part_dies_the_others_stop(other_demo):
    demo = other_demo
    alice = Visitor(demo.ui).open()
    assert alice.page.url.startswith(f"{demo.front}/")
    assert alice.answer("alice").names[0] == "Contoso Production"
    assert f"  Scenarios and the journey: {demo.front}\n" in demo.written()

    api = re.search(r"FlaskAPI \| .*Listening at: .* \((\d+)\)", demo.written())
    assert api
    os.kill(int(api[1]), signal.SIGKILL)
    assert wait_for_end(demo) == 1
    assert "FlaskAPI was stopped by signal 9 (Killed)." in demo.written()
    assert ports_are_free(demo)


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
