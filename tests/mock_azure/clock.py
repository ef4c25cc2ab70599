"""The mock's clock, which decides when tokens, codes and secrets are issued and expire."""

import time
from datetime import UTC, datetime


class Clock:
    """The machine's time plus ``offset`` seconds, which a test can set."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Return seconds since 1970 (UTC)."""
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += seconds

    def stamp(self, at: float | None = None) -> str:
        """Return the time in the format of Entra's error bodies: ``2026-08-13 21:24:29Z``."""
        moment = datetime.fromtimestamp(self.now() if at is None else at, UTC)
        return moment.strftime("%Y-%m-%d %H:%M:%SZ")
