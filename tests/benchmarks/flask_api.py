"""The API beside a proxy that does no more than it must, in turns."""

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.apps import ROOT
from tests.benchmarks import load
from tests.benchmarks.figures import Figures, Size, measure
from tests.benchmarks.processes import Azure, Server, inside, memory_bytes

ENOUGH_SECONDS = 600.0
HEADERS = {
    "Host": "localhost",
    "User-Agent": "benchmark",
    "Accept-Encoding": "gzip, deflate",
    "Accept": "*/*",
    "x-ms-client-request-id": "5d0d4a5f-35c8-4ba7-a5b1-bd1b4ea1ea0a",
}


class Caller(NamedTuple):
    """One user's request, to the API and to the bare proxy."""

    to_api: load.Request
    to_bare: load.Request


class Comparison(NamedTuple):
    """One scenario: for each round of the API one of the bare proxy, right before or after."""

    name: str
    api: list[Figures]
    bare: list[Figures]

    def ratios(self) -> list[float]:
        return [a.per_second / b.per_second for a, b in zip(self.api, self.bare, strict=True)]

    def cpu_ratios(self) -> list[float]:
        """The same by processor time, which the machine's other work disturbs less."""
        return [b.cpu / a.cpu for a, b in zip(self.api, self.bare, strict=True)]


class Report(NamedTuple):
    """All about the API. Bytes and seconds."""

    comparisons: dict[str, Comparison]
    memory_per_user: float
    memory_beyond: float  # for each user more than the API keeps
    validation: float
    megabyte_of_junk: float


def run(size: Size) -> Report:
    with Azure() as azure:
        settings = azure.api_settings()
        config = f"--config {ROOT / 'FlaskAPI' / 'gunicorn.conf.py'}"
        api = Server("FlaskAPI", "main:create_app()", settings)
        bare = Server("tests/benchmarks", "bare_proxy:app", settings, config)
        with api, bare:
            return _run(size, azure, api, bare)


def _run(size: Size, azure: Azure, api: Server, bare: Server) -> Report:
    callers = [_caller(azure) for _ in range(size.users)]
    some = callers[: min(200, size.users // 2)]
    new = iter(callers[len(some) :])
    new_in_a_round = size.users // (4 * size.rounds)

    def compare(name: str, to_api: Iterator[Caller], at_once: int | None = None) -> Comparison:
        """Take rounds in turns; those of the API end after ``at_once`` requests, if given."""
        to_bare = itertools.cycle(some)
        seconds = ENOUGH_SECONDS if at_once else size.seconds
        comparison = Comparison(name, [], [])

        def turn_of_api() -> None:
            requests = (caller.to_api for caller in itertools.islice(to_api, at_once))
            comparison.api.append(measure(api, azure, requests, seconds))

        def turn_of_bare() -> None:
            requests = (caller.to_bare for caller in to_bare)
            comparison.bare.append(measure(bare, azure, requests, size.seconds))

        turns = [turn_of_api, turn_of_bare]
        for _ in range(size.rounds):
            for turn in turns:
                turn()
            turns.reverse()  # neither is always the first
        return comparison

    def visit(visitors: Iterable[Caller]) -> int:
        """Have each of ``visitors`` call the API once; return how much memory it has then."""
        measure(api, azure, (caller.to_api for caller in visitors), ENOUGH_SECONDS)
        return memory_bytes(api)

    def visit_others() -> int:
        return visit(_caller(azure) for _ in range(size.users_beyond))

    visit(some)
    comparisons = {
        "one": compare("one warm user", itertools.cycle(some[:1])),
        "some": compare(f"{len(some)} users in turn", itertools.cycle(some)),
    }
    memory = memory_bytes(api)
    comparisons["cold"] = compare("each one new", new, at_once=new_in_a_round)
    memory_per_user = (visit(new) - memory) / (size.users - len(some))
    comparisons["all"] = compare(f"{size.users} users in turn", itertools.cycle(callers))
    memory_of_most = visit_others()
    memory_beyond = (visit_others() - memory_of_most) / size.users_beyond
    return Report(
        comparisons,
        memory_per_user,
        memory_beyond,
        **json.loads(inside(api, "inside_flask_api.py", ACCESS_TOKEN=azure.new_tokens()[0])),
    )


def _caller(azure: Azure) -> Caller:
    access_token, arm_token, mark = azure.new_tokens()
    return Caller(
        load.get("/subscriptions", mark, HEADERS | {"Authorization": f"Bearer {access_token}"}),
        load.get("/subscriptions", mark, HEADERS | {"Authorization": f"Bearer {arm_token}"}),
    )
