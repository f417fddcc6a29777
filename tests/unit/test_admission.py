"""Who is let into the queue, and how often batches may be repeated."""

from __future__ import annotations

import asyncpg
import pytest

from ledger_server.api.door import BYTES_UNDER_WAY_MAX, Door
from ledger_server.domain.errors import Overloaded
from ledger_server.posting.admission import (
    CROWD_CALLS,
    LATE_SECONDS,
    QUEUED_COMMANDS_MAX,
    QUEUED_ENTRIES_MAX,
    STANDING_SECONDS,
    WAIT_SECONDS_MAX,
    Crowd,
    refuse_for_memory,
)
from ledger_server.posting.retries import SAVED_MAX, RetryBudget

pytestmark = pytest.mark.usefixtures("hurried_queue")


def test_what_fits_is_let_in() -> None:
    refuse_for_memory(QUEUED_COMMANDS_MAX, QUEUED_ENTRIES_MAX)
    Crowd().refuse(CROWD_CALLS * 100, 0.0, WAIT_SECONDS_MAX)


def test_a_few_callers_with_long_batches_wait_as_long_as_it_takes() -> None:
    crowd = Crowd()
    for second in range(100):
        crowd.refuse(CROWD_CALLS - 1, 0.0, second)
        crowd.is_served(0.0, second)


def test_a_crowd_is_refused_earlier_once_its_queue_has_stood_for_a_while() -> None:
    crowd = Crowd()
    crowd.is_served(0.0, LATE_SECONDS)
    crowd.is_served(0.5, LATE_SECONDS + STANDING_SECONDS)
    crowd.refuse(CROWD_CALLS, 0.5, LATE_SECONDS + STANDING_SECONDS)
    with pytest.raises(Overloaded):
        crowd.refuse(CROWD_CALLS, 0.5, LATE_SECONDS + STANDING_SECONDS + 0.1)
    # But not if the queue is short at that moment.
    crowd.refuse(CROWD_CALLS, 10.0, 10.0 + LATE_SECONDS)


def test_a_stall_is_waited_out() -> None:
    crowd = Crowd()
    crowd.is_served(0.0, WAIT_SECONDS_MAX)
    crowd.is_served(WAIT_SECONDS_MAX, WAIT_SECONDS_MAX + 0.1)
    crowd.refuse(CROWD_CALLS, 10.0, 10.0 + WAIT_SECONDS_MAX)


@pytest.mark.parametrize(("commands", "entries"), [(QUEUED_COMMANDS_MAX + 1, 0), (0, QUEUED_ENTRIES_MAX + 1)])
def test_more_than_memory_is_meant_for_is_refused(commands: int, entries: int) -> None:
    with pytest.raises(Overloaded) as refusal:
        refuse_for_memory(commands, entries)
    assert refusal.value.retry_seconds


def test_a_crowd_is_told_to_come_back_when_the_queue_is_gone_and_not_together() -> None:
    delays = set()
    for _ in range(100):
        with pytest.raises(Overloaded) as refusal:
            Crowd().refuse(CROWD_CALLS, 0.0, 4.0)
        assert refusal.value.retry_seconds is not None
        delays.add(refusal.value.retry_seconds)
    assert 2.0 <= min(delays) < 3.0
    assert 5.0 < max(delays) <= 6.0


def test_the_door_lets_in_as_many_bytes_as_there_is_room_for() -> None:
    door = Door()
    door.enter(BYTES_UNDER_WAY_MAX)
    with pytest.raises(Overloaded):
        door.enter(1)
    door.leave(1)
    door.leave(BYTES_UNDER_WAY_MAX)
    door.enter(BYTES_UNDER_WAY_MAX)


def test_repetitions_are_counted_by_reason_and_end_when_the_budget_is_spent() -> None:
    budget = RetryBudget()
    reasons = {
        "serialization": asyncpg.SerializationError(),
        "deadlock": asyncpg.DeadlockDetectedError(),
        "conflict_pool": asyncpg.OutOfMemoryError(),
        "connection": OSError(),
    }
    for error in reasons.values():
        assert budget.spend(error)
    assert budget.counts == dict.fromkeys(reasons, 1)
    while budget.spend(OSError()):
        assert budget.counts.total() < 2 * SAVED_MAX
    assert budget.counts["budget_spent"] == 1
    budget.committed()
    assert budget.spend(OSError())
