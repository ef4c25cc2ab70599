"""What is measured: one server under load, for a while, again and again."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from tests.apps import App
from tests.benchmarks import load
from tests.benchmarks.processes import Azure, cpu_seconds


class Size(NamedTuple):
    """How much is measured."""

    rounds: int
    seconds: float  # of each round
    users: int
    users_beyond: int  # further ones, more than the API keeps


@dataclass
class Figures:
    """Of one round, or of several: the median of each."""

    per_second: float
    p50: float  # milliseconds, as are the next two
    p99: float
    cpu: float  # of the server's process, for each request
    entra: float  # calls for each request, as is the next
    arm: float


class Failed(Exception):
    """A request was not answered as it should have been, so that no figure means anything."""


def measure(app: App, azure: Azure, requests: Iterator[load.Request], seconds: float) -> Figures:
    """Put ``app`` under load with as many connections as its worker has threads."""
    calls, cpu = azure.calls(), cpu_seconds(app)
    result = load.run(app.port, requests, connections=8, seconds=seconds)
    cpu = cpu_seconds(app) - cpu
    calls = {who: count - calls[who] for who, count in azure.calls().items()}
    count = len(result.seconds)
    if result.failures or not count:
        raise Failed(f"{len(result.failures)} beside {count} answers: {result.failures[:1]}")
    times = sorted(result.seconds)
    return Figures(
        per_second=count / result.elapsed,
        p50=times[count // 2] * 1000,
        p99=times[count * 99 // 100] * 1000,
        cpu=cpu / count * 1000,
        entra=calls["entra"] / count,
        arm=calls["arm"] / count,
    )


def middle(rounds: list[Figures]) -> Figures:
    """Return the median of each figure."""
    return Figures(**{name: median(getattr(r, name) for r in rounds) for name in vars(rounds[0])})
