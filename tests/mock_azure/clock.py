"""The one clock of the mock: everything that is issued or expires asks it."""

import time
from datetime import UTC, datetime


class Clock:
    """The machine's time plus ``offset`` seconds, which a test may set."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Seconds since 1970 (UTC)."""
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += seconds

    def stamp(self, at: float | None = None) -> str:
        """The time as Entra's error bodies write it: ``2026-08-13 21:24:29Z``."""
        moment = datetime.fromtimestamp(self.now() if at is None else at, UTC)
        return moment.strftime("%Y-%m-%d %H:%M:%SZ")
