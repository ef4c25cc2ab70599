"""Measure both apps against a stand-in for Azure, and print the figures."""

import argparse
import os
import platform
import ssl
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.benchmarks import django_ui, flask_api
from tests.benchmarks.figures import Failed, Figures, Size, middle
from tests.benchmarks.flask_api import cpu_ratios, ratios
from tests.benchmarks.processes import leave_measured_cpu
from tests.benchmarks.wrk import ByWrk

FULL = Size(rounds=15, seconds=1, users=20_000, users_beyond=5_000)
QUICK = Size(rounds=1, seconds=0.1, users=120, users_beyond=10)
PACKAGES = ("Flask", "Django", "gunicorn", "requests", "urllib3", "msal", "PyJWT", "cryptography")

COLUMNS: dict[str, Callable[[Figures], str]] = {
    "requests/s": lambda figures: f"{figures.per_second:.0f}",
    "p50 ms": lambda figures: f"{figures.p50:.2f}",
    "p99 ms": lambda figures: f"{figures.p99:.2f}",
    "CPU ms": lambda figures: f"{figures.cpu:.3f}",
    "to Entra": lambda figures: f"{figures.entra:.3f}",
    "to ARM": lambda figures: f"{figures.arm:.3f}",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="some seconds, to see that all of it works"
    )
    size = QUICK if parser.parse_args().quick else FULL
    if not Path("/proc/self/stat").exists():
        sys.exit("The benchmarks read processor times from /proc, which only Linux has.")
    leave_measured_cpu()
    print(describe(size), flush=True)
    try:
        api = flask_api.run(size)
        print(table_of_api(api), flush=True)
        ui = django_ui.run(size)
    except Failed as failure:
        sys.exit(f"A request failed: {failure}")
    print(table([("a page, signed in", columns(ui.page)[:-2]), *row_by_wrk(ui.by_wrk)]))
    print()
    print(goals(api, ui))


def describe(size: Size) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}, {versions}\n"
        f"{platform.machine()}, {os.cpu_count()} CPUs, one of them for gunicorn with one worker of "
        f"8 threads; 8 connections\n"
        f"Medians of {size.rounds} rounds of {size.seconds} s, API and both proxies in turns\n"
    )


def columns(figures: Figures) -> list[str]:
    return [column(figures) for column in COLUMNS.values()]


def table(rows: list[tuple[str, list[str]]]) -> str:
    lines = [("", list(COLUMNS)), *rows]
    return "\n".join(f"{name:<28}" + "".join(f"{cell:>12}" for cell in row) for name, row in lines)


def table_of_api(report: flask_api.Report) -> str:
    rows = []
    for comparison in report.comparisons.values():
        rows.append((comparison.name, columns(middle(comparison.api))))
        if comparison is report.comparisons["some"]:
            rows += row_by_wrk(report.by_wrk)
        rows.append(("  plain proxy", columns(middle(comparison.plain))))
        rows.append(("  proxy at the limit", columns(middle(comparison.limit))))
    return table(rows) + "\n"


def row_by_wrk(found: ByWrk | None) -> list[tuple[str, list[str]]]:
    if not found:
        return []
    return [("  by wrk", [f"{found.per_second:.0f}", f"{found.p50:.2f}", f"{found.p99:.2f}"])]


def goals_of_api(api: flask_api.Report) -> Iterator[tuple[str, str, str]]:
    """Yield for each scenario how the API compares with either proxy, and what is wanted."""
    for comparison, goal in zip(api.comparisons.values(), (0.85, 0.85, 0.45, 0.85), strict=True):
        plain, limit = comparison.plain, comparison.limit
        yield f"{comparison.name}, API : plain proxy", ratio(comparison.api, plain), f">= {goal}"
        yield "  API : proxy at the limit", ratio(comparison.api, limit), ""
        yield "  proxy at the limit : plain proxy", ratio(limit, plain), ""


def goals(api: flask_api.Report, ui: django_ui.Report) -> str:
    """Return what the figures come to, beside what is wanted."""
    one, everyone = api.comparisons["one"], api.comparisons["all"]
    growth = median(ratios(one.api, one.plain)) / median(ratios(everyone.api, everyone.plain)) - 1
    growth_by_cpu = (
        median(cpu_ratios(one.api, one.plain)) / median(cpu_ratios(everyone.api, everyone.plain))
        - 1
    )
    lines = [
        ("", "measured", "goal"),
        *goals_of_api(api),
        (f"cost, {everyone.name}", f"{growth:+.0%}, by CPU {growth_by_cpu:+.0%}", "<= +10%"),
        ("memory for a cached user", f"{api.memory_per_user / 1024:.2f} KiB", "<= 3 KiB"),
        ("  for one more than are kept", f"{api.memory_beyond / 1024:.2f} KiB", "about 0"),
        ("validation alone", f"{api.validation * 1e6:.0f} us", "<= 110 us"),
        ("refusing 1 MB of junk", f"{api.megabyte_of_junk * 1e3:.2f} ms", "<= 1 ms"),
        ("CPU of a page, without its call to the API", f"{ui.without_call():.2f} ms", "<= 2 ms"),
        ("  of that call", f"{ui.call:.2f} ms", ""),
    ]
    return "\n".join(f"{name:<44}{measured:>36}{goal:>12}" for name, measured, goal in lines)


def ratio(measured: list[Figures], base: list[Figures]) -> str:
    found, cpu = ratios(measured, base), median(cpu_ratios(measured, base))
    return f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f}), by CPU {cpu:.2f}"


if __name__ == "__main__":
    main()
