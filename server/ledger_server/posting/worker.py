"""A lane's worker: it owns a connection and brings each batch to an end, whatever the database does.

| what goes wrong                             | what is done                                                   |
|---------------------------------------------|----------------------------------------------------------------|
| serialization failure, deadlock,            | the same batch again, with jitter, after a few losses alone in |
| predicate locks overflow                    | the database; in the end CONTENTION, or                        |
|                                             | at once, if all lanes together repeated too much (retries.py)  |
| the connection is lost, COMMIT included     | the whole batch on a new one: stored outcomes tell what        |
|                                             | happened; in the end DATABASE_UNAVAILABLE                      |
| disk full, read-only                        | DATABASE_UNAVAILABLE for all                                   |
| anything else: one command's fault or a bug | the batch in halves, so that its neighbours are not harmed     |
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg
import structlog

from ledger_server.domain.book import Book
from ledger_server.domain.commands import Command
from ledger_server.domain.errors import Contention, DatabaseUnavailable, Internal
from ledger_server.posting.batch import ALONE, Answer, Frame, write_batch
from ledger_server.posting.retries import RetryBudget
from ledger_server.storage.pool import CONNECTION_ERRORS, PLAN_SECONDS, Connection, connect_lane

if TYPE_CHECKING:
    from ledger_server.posting.lanes import Lane

log = structlog.get_logger()

# How long a batch is tried again before its callers are told to.
RETRY_SECONDS = 5.0
# How long the database may be away until callers are told, at once from then on. With the client's own repeats, four
# seconds in all, it must stay below the client's deadline of ten, or callers would learn of the deadline only.
AWAY_SECONDS = 3.0
BACKOFF_SECONDS_MAX = 0.1
# A batch that lost so often is written alone.
CONFLICTS_MAX = 3
# A lane that met another writer takes turns with it for this long.
SHARED_SECONDS = 5.0
# How soon a new connection makes its plans anew for the first time; then twice as late each time, up to PLAN_SECONDS.
PLAN_SECONDS_MIN = 0.05

# OutOfMemory is what PostgreSQL calls the overflow of its pool of read-write conflicts.
_CONFLICTS = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.OutOfMemoryError,
    asyncpg.LockNotAvailableError,
)
_FULL = (asyncpg.InsufficientResourcesError, asyncpg.ReadOnlySQLTransactionError)


class Worker:
    """Writes batches, one at a time."""

    def __init__(self, dsn: str, budget: RetryBudget | None = None) -> None:
        self._dsn = dsn
        self._budget = budget or RetryBudget()
        self._connection: Connection | None = None
        self._connected_at = self._planned_at = 0.0

    async def write(self, lane: Lane, commands: Sequence[Command]) -> tuple[list[Answer], Book | None]:
        """The answers to the commands; the book is set if something was committed."""
        give_up_at = time.monotonic() + RETRY_SECONDS
        backoff_seconds = 0.001
        conflicts = 0
        while True:
            try:
                answers, book = await self._attempt(lane, commands, is_alone=conflicts >= CONFLICTS_MAX)
                lane.lost_at = None
                self._budget.committed()
                return answers, book
            except Exception as error:
                lane.book = None
                verdict = self._judge(error)
                if verdict is None:
                    return await self._halve(lane, commands, error)
                if isinstance(error, _CONFLICTS):
                    conflicts += 1
                    lane.shared_until = time.monotonic() + SHARED_SECONDS
                if self._connection is None:
                    lane.lost_at = lane.lost_at or time.monotonic()
                    give_up_at = min(give_up_at, lane.lost_at + AWAY_SECONDS)
                is_full = isinstance(error, _FULL) and not isinstance(error, _CONFLICTS)
                is_last = is_full or time.monotonic() > give_up_at or not self._budget.spend(error)
                log.info(
                    "batch_failed",
                    ledger_id=lane.ledger_id,
                    commands=len(commands),
                    error=type(error).__name__,
                    repeated=dict(self._budget.counts),
                )
                if is_last:
                    return [verdict] * len(commands), None
            await asyncio.sleep(random.uniform(0, backoff_seconds))
            backoff_seconds = min(2 * backoff_seconds, BACKOFF_SECONDS_MAX)

    async def close(self) -> None:
        """Lets go of the connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _attempt(
        self, lane: Lane, commands: Sequence[Command], *, is_alone: bool
    ) -> tuple[list[Answer], Book | None]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect_lane(self._dsn)
            self._connected_at = self._planned_at = time.monotonic()
        await self._renew_plans(self._connection)
        connection, remembered = self._connection, lane.book
        frame = in_turn(lane.ledger_id) if time.monotonic() < lane.shared_until else ALONE
        if is_alone:
            frame = alone_in_database(frame)
        try:
            answers, book = await write_batch(connection, lane.ledger_id, commands, remembered, frame)
        except BaseException:
            if frame is not ALONE and not connection.is_closed():
                await connection.execute("SELECT pg_advisory_unlock_all()")
            raise
        if remembered is not None and book is not remembered:
            lane.shared_until = time.monotonic() + SHARED_SECONDS
        lane.remember(book)
        return answers, book

    async def _renew_plans(self, connection: Connection) -> None:
        """Forgets plans, those of foreign keys too, that were made when the tables were much smaller."""
        now = time.monotonic()
        if now - self._planned_at > min(max(self._planned_at - self._connected_at, PLAN_SECONDS_MIN), PLAN_SECONDS):
            await connection.execute("DISCARD PLANS")
            self._planned_at = now

    def _judge(self, error: Exception) -> Contention | DatabaseUnavailable | None:
        """What the callers are told if the error does not go away; None if it is one command's fault, or a bug."""
        if isinstance(error, _CONFLICTS) and not isinstance(error, _FULL):
            return Contention("other writers kept getting in the way; nothing was written", retry_seconds=0.1)
        is_lost = self._connection is None or self._connection.is_closed()
        if is_lost or (isinstance(error, CONNECTION_ERRORS) and not isinstance(error, asyncpg.InterfaceError)):
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None
        elif not isinstance(error, _FULL):
            return None
        return DatabaseUnavailable("the database is unavailable; repeat with the same request_id", retry_seconds=1.0)

    async def _halve(
        self, lane: Lane, commands: Sequence[Command], error: Exception
    ) -> tuple[list[Answer], Book | None]:
        """The batch in two halves, in order; an atomic one is a single command and is never split."""
        if len(commands) == 1:
            log.error("command_failed", ledger_id=lane.ledger_id, method=commands[0].method, exc_info=error)
            return [Internal("internal error; the call may be repeated with the same request_id")], None
        middle = len(commands) // 2
        first, first_book = await self.write(lane, commands[:middle])
        second, second_book = await self.write(lane, commands[middle:])
        return first + second, second_book or first_book


def in_turn(ledger_id: str) -> Frame:
    """A batch that waits behind those of other servers, so that losing a race for the ledger's row is rare.

    Not a guard, but fair: the line is first come, first served, while a loser of the race may lose for ever. So nobody
    leaves it early. Nor need they: a turn is had within a transaction only, and one whose server died or froze is
    ended by idle_in_transaction_session_timeout.
    """
    key = int.from_bytes(bytes.fromhex(ledger_id.replace("-", ""))[8:], "big", signed=True)
    # The lock is the session's, and outlives the transaction that waits for it, whose snapshot would be too old.
    wait = f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_lock({key}); COMMIT"
    return Frame(f"{wait}; {ALONE.begin}", f"{ALONE.commit}; SELECT pg_advisory_unlock({key})")


def alone_in_database(frame: Frame) -> Frame:
    """A batch beside which nobody writes to any ledger, for one that would otherwise lose for ever.

    SERIALIZABLE does not tell rows apart that are on one page of an index, and neighbouring ledgers share pages. A long
    batch then loses to short ones of other ledgers every time. This lock conflicts with what every batch inserts, and
    is taken before the snapshot: the others wait, and if anybody has to lose it is they. Who does not need it pays
    nothing for it.
    """
    lock = "SET LOCAL lock_timeout = '2s'; LOCK TABLE metadata_pairs IN SHARE ROW EXCLUSIVE MODE"
    return Frame(f"{frame.begin}; {lock}; SET LOCAL lock_timeout = 0", frame.commit)
