"""The database's clock, as far as it can be told without asking."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

# Clocks are set now and then: who has not seen it for so long asks.
SEEN_SECONDS = 1.0


class DatabaseClock:
    """What it showed when it was last seen, and what has passed since on the clock that nobody sets.

    It never runs ahead of what the database showed: the way of the answer is not counted.
    """

    def __init__(self) -> None:
        self._shown: datetime | None = None
        self._seen_at = 0.0

    def saw(self, now: datetime) -> None:
        """The database answered just now that this is the time."""
        self._shown, self._seen_at = now, time.monotonic()

    def now(self) -> datetime | None:
        """The time of the database; None if it was not seen lately."""
        passed = time.monotonic() - self._seen_at
        if self._shown is None or passed > SEEN_SECONDS:
            return None
        return self._shown + timedelta(seconds=passed)
