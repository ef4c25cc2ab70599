"""The API beside a plain proxy and the fastest proxy that ``requests`` allows, in turns."""

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.apps import ROOT
from tests.benchmarks import load, wrk
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
    """One user's request, to the API and to either proxy."""

    access_token: str
    to_api: load.Request
    to_proxy: load.Request


class Comparison(NamedTuple):
    """One scenario: each round of the API has one of either proxy right before or after it."""

    name: str
    api: list[Figures]
    plain: list[Figures]
    limit: list[Figures]


def ratios(measured: list[Figures], base: list[Figures]) -> list[float]:
    """Return how many times as many requests per second were answered, for each round."""
    return [m.per_second / b.per_second for m, b in zip(measured, base, strict=True)]


def cpu_ratios(measured: list[Figures], base: list[Figures]) -> list[float]:
    """Return the same by processor time, which the machine's other work disturbs less."""
    return [b.cpu / m.cpu for m, b in zip(measured, base, strict=True)]


class Report(NamedTuple):
    """All about the API. Bytes and seconds."""

    comparisons: dict[str, Comparison]
    by_wrk: wrk.ByWrk | None  # the users in turn who called before
    memory_per_user: float
    memory_beyond: float  # for each user more than the API keeps
    validation: float
    megabyte_of_junk: float


def run(size: Size) -> Report:
    with Azure() as azure:
        settings = azure.api_settings()
        config = f"--config {ROOT / 'FlaskAPI' / 'gunicorn.conf.py'}"
        api = Server("FlaskAPI", "main:create_app()", settings)
        plain = Server("tests/benchmarks", "bare_proxy:app", settings, config)
        importing = settings | {"PYTHONPATH": str(ROOT)}
        limit = Server("tests/benchmarks", "limit_proxy:app", importing, config)
        with api, plain, limit:
            return _run(size, azure, api, plain, limit)


def _run(size: Size, azure: Azure, api: Server, plain: Server, limit: Server) -> Report:
    callers = [_caller(azure) for _ in range(size.users)]
    some = callers[: min(200, size.users // 2)]
    new = iter(callers[len(some) :])
    new_in_a_round = size.users // (4 * size.rounds)

    def compare(name: str, to_api: Iterator[Caller], at_once: int | None = None) -> Comparison:
        """Take rounds in turns; those of the API end after ``at_once`` requests, if given."""
        to_proxy = (caller.to_proxy for caller in itertools.cycle(some))
        seconds = ENOUGH_SECONDS if at_once else size.seconds
        comparison = Comparison(name, [], [], [])

        def turn_of_api() -> None:
            requests = (caller.to_api for caller in itertools.islice(to_api, at_once))
            comparison.api.append(measure(api, azure, requests, seconds))

        def turn_of_plain() -> None:
            comparison.plain.append(measure(plain, azure, to_proxy, size.seconds))

        def turn_of_limit() -> None:
            comparison.limit.append(measure(limit, azure, to_proxy, size.seconds))

        turns = [turn_of_plain, turn_of_api, turn_of_limit]
        for _ in range(size.rounds):
            for turn in turns:
                turn()
            turns.reverse()  # neither proxy is always the first
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
    by_wrk = wrk.measure(
        f"http://127.0.0.1:{api.port}/subscriptions",
        [f"Authorization: Bearer {caller.access_token}" for caller in some],
        size.rounds * size.seconds,
    )
    memory = memory_bytes(api)
    comparisons["cold"] = compare("each one new", new, at_once=new_in_a_round)
    memory_per_user = (visit(new) - memory) / (size.users - len(some))
    comparisons["all"] = compare(f"{size.users} users in turn", itertools.cycle(callers))
    memory_of_most = visit_others()
    memory_beyond = (visit_others() - memory_of_most) / size.users_beyond
    environ = {"ACCESS_TOKEN": azure.new_tokens()[0], "CALLS": str(int(1000 * size.seconds))}
    times = json.loads(inside(api, "inside_flask_api.py", **environ))
    return Report(comparisons, by_wrk, memory_per_user, memory_beyond, **times)


def _caller(azure: Azure) -> Caller:
    access_token, arm_token, mark = azure.new_tokens()
    return Caller(
        access_token,
        load.get("/subscriptions", mark, HEADERS | {"Authorization": f"Bearer {access_token}"}),
        load.get("/subscriptions", mark, HEADERS | {"Authorization": f"Bearer {arm_token}"}),
    )
