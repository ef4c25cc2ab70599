"""Run in FlaskAPI's environment: times what needs no connection. Prints JSON, in seconds."""

import json
import os
import time
from collections.abc import Callable

from werkzeug.test import EnvironBuilder, run_wsgi_app

from helpers.authorization import validate_access_token
from main import create_app


def best(call: Callable[[], object], times: int) -> float:
    """Return the seconds of one call in the least disturbed of some rounds."""
    rounds = []
    for _ in range(7):
        begun = time.perf_counter()
        for _ in range(times):
            call()
        rounds.append((time.perf_counter() - begun) / times)
    return min(rounds)


def main() -> None:
    app = create_app()
    access_token, calls = os.environ["ACCESS_TOKEN"], int(os.environ["CALLS"])
    junk = [("Authorization", f"Bearer {'a' * 1_000_000}")]
    request = EnvironBuilder("/subscriptions", headers=junk).get_environ()
    assert run_wsgi_app(app, request)[1].startswith("400 ")
    with app.test_request_context():
        figures = {
            "validation": best(lambda: validate_access_token(access_token), calls),
            "megabyte_of_junk": best(lambda: run_wsgi_app(app, request), calls // 20),
        }
    print(json.dumps(figures))


main()
