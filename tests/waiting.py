"""Wait for another process, or for another thread."""

import time
from collections.abc import Callable

PAUSE_SECONDS = 0.05


def wait_for(
    condition: Callable[[], object], seconds: float = 10, what: str = "The condition"
) -> None:
    """Return as soon as ``condition`` is true.

    :raises TimeoutError: it was not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not true within {seconds} seconds.")
        time.sleep(PAUSE_SECONDS)
