"""How often batches may be repeated: a budget that all lanes of a process share, and a count for each reason.

A repetition costs the database as much as a first attempt. Each lane's own repetitions have jitter and a cap; the
budget is what keeps all of them together from doubling the load of a database that is in trouble already.
"""

from __future__ import annotations

import time
from collections import Counter

import asyncpg
import structlog

# Each commit earns one repetition, and time a few, so that a process that just started may repeat as well.
PER_COMMIT = 1.0
PER_SECOND = 10.0
SAVED_MAX = 200.0


log = structlog.get_logger()


class RetryBudget:
    """Repetitions that may still be made, and those that were, by reason; and whether the database takes writes."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """Repetitions since the start by reason; `draft` counts batches that were decided anew under the lock, and
        `budget_spent` repetitions that were not made."""
        self._left = SAVED_MAX
        self._earned_at = time.monotonic()
        self._refused_at: float | None = None

    def refused(self, error: Exception) -> None:
        """The database takes no writes, as its disk is full, or it is a replica; the log tells the first of these."""
        if self._refused_at is None:
            self._refused_at = time.monotonic()
            log.warning("writes_refused", error=str(error))

    def committed(self) -> None:
        """A batch was committed."""
        if self._refused_at is not None:
            log.warning("writes_taken_again", seconds=round(time.monotonic() - self._refused_at, 1))
            self._refused_at = None
        self._left = min(self._left + PER_COMMIT, SAVED_MAX)

    def spend(self, error: Exception) -> bool:
        """Whether a batch that failed with this error may be repeated; counts it."""
        now = time.monotonic()
        self._left = min(self._left + PER_SECOND * (now - self._earned_at), SAVED_MAX)
        self._earned_at = now
        if self._left < 1:
            self.counts["budget_spent"] += 1
            return False
        self._left -= 1
        self.counts[reason_of(error)] += 1
        return True


def reason_of(error: Exception) -> str:
    """One word for why a batch has to be repeated."""
    match error:
        case asyncpg.SerializationError():
            return "serialization"
        case asyncpg.DeadlockDetectedError():
            return "deadlock"
        case asyncpg.OutOfMemoryError():
            return "conflict_pool"
        case asyncpg.LockNotAvailableError():
            return "lock"
        case _:
            return "connection"
