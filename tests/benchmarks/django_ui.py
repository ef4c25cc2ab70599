"""A page of the web app for somebody who is signed in, beside its call to the API."""

import contextlib
import itertools
from statistics import median
from typing import NamedTuple

from tests.apps import ROOT, Apps
from tests.benchmarks import load, wrk
from tests.benchmarks.figures import Figures, Size, measure, middle
from tests.benchmarks.processes import ONE_WORKER, Azure, inside, on_measured_cpu
from tests.mock_azure import MockAzure
from tests.visitor import Visitor


class Report(NamedTuple):
    """All about the web app."""

    page: Figures
    by_wrk: wrk.ByWrk | None
    call: float  # milliseconds of processor time: the part of a page that calls the API

    def without_call(self) -> float:
        return self.page.cpu - self.call


def run(size: Size) -> Report:
    # The mock is for signing in only.
    with Azure() as stand_in, MockAzure() as azure, contextlib.ExitStack() as stack:
        settings = {
            "FLASK_BACKEND_URL": f"http://127.0.0.1:{stand_in.plain_port}/subscriptions",
            "GUNICORN_CMD_ARGS": ONE_WORKER,
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.django_settings",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'DjangoUI'}",
        }
        with on_measured_cpu():
            apps = stack.enter_context(Apps(azure, ui_settings=settings))
        return _run(size, apps, azure, stand_in)


def _run(size: Size, apps: Apps, azure: MockAzure, stand_in: Azure) -> Report:
    visitor = Visitor(apps.ui.url).sign_in("alice")
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.session.cookies)
    headers = {"Host": f"localhost:{apps.ui.port}", "Cookie": cookies}
    page = load.get("/", "Contoso Development", headers)
    by_wrk = wrk.measure(f"{apps.ui.url}/", [f"Cookie: {cookies}"], size.rounds * size.seconds)
    pages, calls = [], []
    for _ in range(size.rounds):
        pages.append(measure(apps.ui, stand_in, itertools.repeat(page), size.seconds))
        seconds = inside(
            apps.ui,
            "inside_django_ui.py",
            ACCESS_TOKEN=azure.access_token("alice"),
            CALLS=str(int(1000 * size.seconds)),
        )
        calls.append(float(seconds) * 1000)
    return Report(middle(pages), by_wrk, median(calls))
