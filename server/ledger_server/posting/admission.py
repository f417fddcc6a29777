"""Admission: who may still join the queue, so that whoever is let in is answered while the answer matters.

| refused when                                              | because                                             |
|-----------------------------------------------------------|-----------------------------------------------------|
| QUEUED_COMMANDS_MAX or QUEUED_ENTRIES_MAX would be passed | memory                                              |
| a crowd waits, the first of it for WAIT_SECONDS_MAX       | a longer queue answers nobody sooner, and those who |
|                                                           | joined it would leave it at their deadlines         |
| a crowd waits, the first of it for LATE_SECONDS, and so   | more comes than can be served: a stall would be     |
| it was with every batch for STANDING_SECONDS              | over by now, and its queue gone                     |

A few callers with long batches may wait as long as they like, for none of them sends the next before the answer.
While the database is away nobody is refused for waiting: they are told so in time by the worker.
"""

from __future__ import annotations

import random

from ledger_server.domain.errors import Overloaded

QUEUED_COMMANDS_MAX = 50_000
QUEUED_ENTRIES_MAX = 200_000
# With a client's usual deadline of ten seconds there is time left for a repetition after one refusal.
WAIT_SECONDS_MAX = 2.0
# A thousand callers, each with its next call when it has the answer, wait less.
LATE_SECONDS = 0.5
STANDING_SECONDS = 1.0
CROWD_CALLS = 32


def refuse_for_memory(commands: int, entries: int) -> None:
    """Raises Overloaded if so many commands with so many entries are more than may wait."""
    if commands > QUEUED_COMMANDS_MAX or entries > QUEUED_ENTRIES_MAX:
        raise _overloaded("too many commands are waiting; nothing was written", WAIT_SECONDS_MAX)


class Crowd:
    """How long those who are served had waited, of late. Times are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        # Since when the first of every batch had waited for long.
        self._late_since: float | None = None

    def is_served(self, arrived: float, now: float) -> None:
        """Called for each batch with the time at which the first of it came."""
        if now - arrived < LATE_SECONDS:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = now

    def refuse(self, calls: int, arrived: float, now: float) -> None:
        """Raises Overloaded if so many calls wait, the first of which came at that time, and one more should not."""
        waited_seconds = now - arrived
        is_standing = self._late_since is not None and now - self._late_since > STANDING_SECONDS
        if calls >= CROWD_CALLS and waited_seconds > (LATE_SECONDS if is_standing else WAIT_SECONDS_MAX):
            raise _overloaded("the ledger's queue is too long; nothing was written", waited_seconds)


def _overloaded(message: str, wait_seconds: float) -> Overloaded:
    """The whole queue should be gone when they return, and they should not return together."""
    return Overloaded(message, retry_seconds=wait_seconds * random.uniform(0.5, 1.5))
