"""Admission: who may still join the queue, so that whoever is let in is answered while the answer matters.

| refused when                                              | because                                             |
|-----------------------------------------------------------|-----------------------------------------------------|
| QUEUED_COMMANDS_MAX or QUEUED_ENTRIES_MAX would be passed | memory                                              |
| a crowd waits, the first of it for WAIT_SECONDS_MAX       | a longer queue answers nobody sooner, and those who |
|                                                           | joined it would leave it at their deadlines         |

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
CROWD_CALLS = 32


def refuse_for_memory(commands: int, entries: int) -> None:
    """Raises Overloaded if so many commands with so many entries are more than may wait."""
    if commands > QUEUED_COMMANDS_MAX or entries > QUEUED_ENTRIES_MAX:
        raise _overloaded("too many commands are waiting; nothing was written", WAIT_SECONDS_MAX)


def refuse_a_crowd(calls: int, waited_seconds: float) -> None:
    """Raises Overloaded if so many calls wait for a ledger, the first of them for so long."""
    if waited_seconds > WAIT_SECONDS_MAX and calls >= CROWD_CALLS:
        raise _overloaded("the ledger's queue is too long; nothing was written", waited_seconds)


def _overloaded(message: str, wait_seconds: float) -> Overloaded:
    """The whole queue should be gone when they return, and they should not return together."""
    return Overloaded(message, retry_seconds=wait_seconds * random.uniform(0.5, 1.5))
