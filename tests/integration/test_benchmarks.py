"""The benchmarks still run. How fast anything is depends on the machine, so no test says that."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_benchmarks_finish_and_no_request_fails():
    finished = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "goal" in finished.stdout
    assert finished.stderr == ""
