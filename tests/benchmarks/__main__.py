"""Measure both apps against a stand-in for Azure, and print the figures."""

import argparse
import os
import platform
import ssl
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.benchmarks import django_ui, flask_api
from tests.benchmarks.figures import Failed, Figures, Size, middle
from tests.benchmarks.processes import leave_measured_cpu

FULL = Size(rounds=15, seconds=1, users=20_000, users_beyond=5_000)
QUICK = Size(rounds=1, seconds=0.2, users=300, users_beyond=20)
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
        "--quick", action="store_true", help="ten seconds, to see that all of it works"
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
    print(table([("a page, signed in", columns(ui.page)[:-2])]))
    print()
    print(goals(api, ui))


def describe(size: Size) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}, {versions}\n"
        f"{platform.machine()}, {os.cpu_count()} CPUs, one of them for gunicorn with one worker of "
        f"8 threads; 8 connections\n"
        f"Medians of {size.rounds} rounds of {size.seconds} s, API and bare proxy in turns\n"
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
        rows.append(("  bare proxy", columns(middle(comparison.bare))))
    return table(rows) + "\n"


def goals(api: flask_api.Report, ui: django_ui.Report) -> str:
    """Return what the figures come to, beside what is wanted."""
    one, everyone = api.comparisons["one"], api.comparisons["all"]
    growth = median(one.ratios()) / median(everyone.ratios()) - 1
    growth_by_cpu = median(one.cpu_ratios()) / median(everyone.cpu_ratios()) - 1
    lines = [
        ("", "measured", "goal"),
        *(
            (f"{comparison.name}, API : bare proxy", ratio(comparison), f">= {goal}")
            for comparison, goal in zip(
                api.comparisons.values(), (0.95, 0.95, 0.45, 0.95), strict=True
            )
        ),
        (f"cost, {everyone.name}", f"{growth:+.0%}, by CPU {growth_by_cpu:+.0%}", "<= +10%"),
        ("memory for a cached user", f"{api.memory_per_user / 1024:.2f} KiB", "<= 3 KiB"),
        ("  for one more than are kept", f"{api.memory_beyond / 1024:.2f} KiB", "about 0"),
        ("validation alone", f"{api.validation * 1e6:.0f} us", "<= 110 us"),
        ("refusing 1 MB of junk", f"{api.megabyte_of_junk * 1e3:.2f} ms", "<= 1 ms"),
        ("CPU of a page, without its call to the API", f"{ui.without_call():.2f} ms", "<= 2 ms"),
        ("  of that call", f"{ui.call:.2f} ms", ""),
    ]
    return "\n".join(f"{name:<44}{measured:>36}{goal:>12}" for name, measured, goal in lines)


def ratio(comparison: flask_api.Comparison) -> str:
    ratios, cpu = comparison.ratios(), median(comparison.cpu_ratios())
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), by CPU {cpu:.2f}"


if __name__ == "__main__":
    main()
