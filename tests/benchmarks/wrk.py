"""The same load by wrk, which is C and takes less of the CPU that drives it; if it is installed."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.figures import Failed

WRK = shutil.which("wrk")


class ByWrk(NamedTuple):
    """What wrk measured, with eight connections."""

    per_second: float
    p50: float  # milliseconds, as is the next
    p99: float


def measure(url: str, headers: list[str], seconds: float) -> ByWrk | None:
    """Send ``GET url`` with one of ``headers`` after the other; None without wrk."""
    if not WRK:
        return None
    with tempfile.NamedTemporaryFile("w") as users:
        users.write("\n".join(headers))
        users.flush()
        command = [WRK, "--threads=1", "--connections=8", f"--duration={max(1, round(seconds))}s"]
        script = str(Path(__file__).with_name("users.lua"))
        done = subprocess.run(
            [*command, "--script", script, url, "--", users.name],
            capture_output=True,
            text=True,
            check=True,
        )
    found = json.loads(done.stdout.splitlines()[-1])
    if found["wrong"] or not found["answers"]:
        raise Failed(f"wrk: {found['wrong']} wrong answers of {found['answers']}")
    return ByWrk(
        found["answers"] / found["microseconds"] * 1e6, found["p50"] / 1000, found["p99"] / 1000
    )
