"""What callers were told, and whether the books agree.

| promise                                                     | what breaks it                                   |
|-------------------------------------------------------------|--------------------------------------------------|
| what was acknowledged is kept                               | *lost*: no event of that request at its position |
| nothing has two effects                                     | *doubled*: two events or transactions of a call  |
| what was refused left no trace                              | *traces*: an event of a refused request          |
| what is unknown can be asked again with the same request_id | *undecided*: no answer, or not the one in force  |
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import asyncpg

from ledger_client.v1.streams_pb2 import Event
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.stored_events import read_event


class Outcome(Enum):
    """What a caller was told."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Call:
    """One write and what its caller was told of it. `key` is what the caller means by it, written as description."""

    key: str
    request_id: str
    outcome: Outcome = Outcome.UNKNOWN
    position: int = 0
    transaction_id: str = ""
    said: str = ""


@dataclass(slots=True)
class History:
    """All calls on one ledger."""

    ledger_id: str
    calls: list[Call] = field(default_factory=list)

    def of(self, outcome: Outcome) -> list[Call]:
        """Those that ended so."""
        return [call for call in self.calls if call.outcome is outcome]

    async def reaches(self, count: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Waits until so many calls were made."""
        async with asyncio.timeout(seconds):
            while len(self.calls) < count:
                await asyncio.sleep(0.005)


@dataclass(slots=True)
class Verdict:
    """What of a history does not agree with the database; all empty is right."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """All of it, a few of each kind."""
        return [sentence for kind in (self.lost, self.doubled, self.traces, self.undecided) for sentence in kind[:5]]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the database holds of a ledger: the events, and the keys of its transactions by id."""

    events: Sequence[Event]
    keys: dict[str, str]


async def read_recorded(dsn: str, ledger_id: str) -> Recorded:
    """Reads it, by statements of our own."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            events = await connection.fetch(
                "SELECT position, time, payload FROM events WHERE ledger_id = $1 ORDER BY position",
                number_of(ledger_id),
            )
            keys = await connection.fetch(
                "SELECT transaction_id::text, description FROM transactions WHERE ledger_id = $1", number_of(ledger_id)
            )
    finally:
        await connection.close()
    return Recorded([read_event(row) for row in events], {row[0]: row[1] for row in keys})


def compare(history: History, recorded: Recorded) -> Verdict:
    """What was told with what is."""
    verdict = Verdict()
    by_position = {event.position: event for event in recorded.events}
    effects = Counter(event.request_id for event in recorded.events)
    transactions = Counter(key for key in recorded.keys.values() if key)
    for call in history.calls:
        event = by_position.get(call.position)
        if effects[call.request_id] > 1 or transactions[call.key] > 1:
            verdict.doubled.append(f"{call.key} has {effects[call.request_id]} events, {transactions[call.key]} rows")
        match call.outcome:
            case Outcome.ACKNOWLEDGED:
                if event is None or event.request_id != call.request_id or call.transaction_id not in recorded.keys:
                    verdict.lost.append(f"{call.key} was acknowledged at position {call.position} and is not there")
            case Outcome.REFUSED:
                if effects[call.request_id]:
                    verdict.traces.append(f"{call.key} was refused with {call.said} and is there")
            case Outcome.UNKNOWN:
                verdict.undecided.append(f"{call.key} stayed unknown: {call.said}")
    return verdict
