"""A lane's worker: it owns its connections and brings each batch to an end, whatever the database does.

A batch that can be drafted is (drafts.py), and written as drafted; if that fails for any reason, or another writer was
seen lately, it is decided and written under the ledger's lock (batch.py), and then:

| what goes wrong                             | what is done                                                   |
|---------------------------------------------|----------------------------------------------------------------|
| serialization failure, deadlock,            | the same batch again, with jitter; after a few losses, a long  |
| predicate locks overflow                    | command after one, alone in the database; of several that are  |
|                                             | long together the first half; in the end CONTENTION, or at     |
|                                             | once, if all lanes together repeated too much (retries.py)     |
| the connection is lost, COMMIT included     | the whole batch on a new one: stored outcomes tell what        |
|                                             | happened; in the end DATABASE_UNAVAILABLE                      |
| disk full, read-only                        | DATABASE_UNAVAILABLE for all                                   |
| no connection is free                       | another worker takes the batch, if one has a connection        |
| anything else: one command's fault, a bug,  | its first half, and so on, so that neighbours are not harmed;  |
| or more entries than should be loaded       | the rest comes with the next batch                             |
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import asyncpg
import structlog

from ledger_server.domain.book import Committed
from ledger_server.domain.commands import Command
from ledger_server.domain.errors import Contention, DatabaseUnavailable, Internal, TooManyEntries
from ledger_server.posting.batch import ALONE, Frame, write_batch
from ledger_server.posting.clock import DatabaseClock
from ledger_server.posting.concurrency import ConcurrencyLimit
from ledger_server.posting.drafts import Draft, OutOfDate, can_be_drafted, draft, write_draft
from ledger_server.posting.lane import Flight, Lane
from ledger_server.posting.repeats import Answer, Known
from ledger_server.posting.retries import RetryBudget
from ledger_server.storage.pool import (
    CONNECTION_ERRORS,
    LOCK_WAIT,
    PLAN_SECONDS,
    Connection,
    connect_beside_lane,
    connect_lane,
)

log = structlog.get_logger()

# How long a batch is tried again before its callers are told to.
RETRY_SECONDS = 5.0
# How long the database may be away until callers are told, at once from then on. With the client's own repeats, four to
# seven seconds in all, it must stay below the client's deadline of ten, or callers would learn of the deadline only.
AWAY_SECONDS = 3.0
BACKOFF_SECONDS_MAX = 0.1
# How long a draft may take to be connected for, and to be written; what takes longer is done under the lock, which has
# time. So a link that swallows all packets is noticed while callers still wait.
DRAFT_SECONDS = 4.0
# A batch that lost so often is written alone, or that lost once after it had its ledger for so long.
CONFLICTS_MAX = 3
LONG_SECONDS = 1.0
# A lane that met another writer takes turns with it for this long.
SHARED_SECONDS = 5.0
# A lane that met a request_id or an external_id again looks them up for this long, before it decides.
REPEATED_SECONDS = 5.0
# How long a worker waits for a connection while another one could write, and how long it asks for none after there was
# none for it.
CONNECT_SECONDS = 0.5
NO_CONNECTION_SECONDS = 1.0
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
# Of these it is not that the database is full.
_NOT_FULL = (*_CONFLICTS, asyncpg.TooManyConnectionsError)


class Result(NamedTuple):
    """What became of a batch, or of its first commands, to which there are answers; the rest is to come again."""

    answers: list[Answer]
    # What was added to the log, and the accounts that have many new versions by it; nothing, if nothing was committed.
    committed: Sequence[Committed] = ()
    grown: frozenset[str] = frozenset()


class Worker:
    """Writes batches, one at a time."""

    def __init__(
        self, dsn: str, budget: RetryBudget | None = None, concurrency: ConcurrencyLimit | None = None
    ) -> None:
        self._budget = budget or RetryBudget()
        self._concurrency = concurrency or ConcurrencyLimit(1)
        self._clock = DatabaseClock()
        # When the batch that is being written had its ledger; what was before is waiting.
        self._locked_at = math.inf
        self._writes = _Link(lambda: connect_lane(dsn))
        self._reads = _Link(lambda: connect_beside_lane(dsn))

    @property
    def is_connected(self) -> bool:
        """Whether it has a connection to write with."""
        return not self._writes.is_lost

    async def connect(self) -> bool:
        """Whether it has one now, or may get one when it writes; False if there is none for it."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._writes.get()
        except Exception as error:  # Any other comes again when the batch is written.
            if isinstance(error, asyncpg.TooManyConnectionsError):
                self._reads.drop()
                return False
        return True

    async def write(self, lane: Lane, commands: Sequence[Command], share: Callable[[Flight], None]) -> Result:
        """Brings a batch to its end; tells `share` when another worker may begin with the lane's next one."""
        before = lane.flight
        draft = await self._draft(lane, commands, before)
        if before is not None and not await before.landed:
            draft = None
        if draft is None:
            return await self._write_locked(lane, commands)
        commands = commands[: len(draft.answers)]
        flight = Flight(draft, len(commands))
        try:
            lane.book = draft.book
            share(flight)
            if draft.rows:
                async with self._concurrency.turn(), asyncio.timeout(DRAFT_SECONDS):
                    await write_draft(await self._writes.get(), draft.rows)
                self._concurrency.committed()
            flight.landed.set_result(True)
        except Exception as error:
            lane.book = None
            self._judge(error)
            self._budget.counts["draft"] += 1
            if isinstance(error, asyncpg.UniqueViolationError):
                lane.repeated_until = time.monotonic() + REPEATED_SECONDS
            self._log_failure(lane, commands, error)
            return await self._write_all_locked(lane, commands)
        finally:
            if not flight.landed.done():
                flight.landed.set_result(False)
        lane.lost_at = None
        lane.left_at = (draft.committed.epoch, draft.committed.position)
        if draft.rows:
            self._budget.committed()
        return Result(draft.answers, [draft.committed] if draft.committed.events else (), frozenset(draft.grown))

    async def _draft(self, lane: Lane, commands: Sequence[Command], before: Flight | None) -> Draft | None:
        """None if the commands have to be decided under the lock."""
        is_behind_failed = before is not None and lane.book is not before.draft.book
        is_shared = time.monotonic() < lane.shared_until
        # Without a connection to write with, one to read with might take the last there is.
        if is_behind_failed or is_shared or not self.is_connected or not can_be_drafted(commands):
            return None
        try:
            clock = self._clock if time.monotonic() > lane.repeated_until else DatabaseClock()
            known: Mapping[str, Known] = {}
            position = None
            if before is not None:
                known, position = before.draft.known, before.draft.rows.position_before
            async with asyncio.timeout(DRAFT_SECONDS):
                reads = await self._reads.get()
            return await draft(reads, lane.ledger_id, lane.book, commands, known, position, clock)
        except (OutOfDate, TooManyEntries, asyncpg.TooManyConnectionsError):
            # Under the lock one connection is enough, and fewer commands may do.
            pass
        except CONNECTION_ERRORS:
            # If one link is gone, so is the other, most likely; asking it would only take as long again.
            self._reads.drop()
            self._writes.drop()
        except Exception:
            log.warning("draft_failed", ledger_id=lane.ledger_id, commands=len(commands), exc_info=True)
        lane.book = None
        return None

    async def _write_all_locked(self, lane: Lane, commands: Sequence[Command]) -> Result:
        """All of a batch, in as many commits as it takes: others may have been told already what comes behind it."""
        whole = Result([])
        while len(whole.answers) < len(commands):
            part = await self._write_locked(lane, commands[len(whole.answers) :])
            whole = Result(whole.answers + part.answers, [*whole.committed, *part.committed], whole.grown | part.grown)
        return whole

    async def _write_locked(self, lane: Lane, commands: Sequence[Command]) -> Result:
        """Decides and writes a batch, or the first of it, under the ledger's lock, as often as it takes."""
        give_up_at = time.monotonic() + RETRY_SECONDS
        backoff_seconds = 0.001
        conflicts = 0
        is_long = False
        while True:
            try:
                async with self._concurrency.turn():
                    result = await self._attempt(lane, commands, is_alone=conflicts >= CONFLICTS_MAX)
                self._concurrency.committed()
                lane.lost_at = None
                if result.committed:
                    self._budget.committed()
                return result
            except Exception as error:
                lane.book = None
                verdict = self._judge(error)
                if verdict is None:
                    return await self._halve(lane, commands, error)
                if isinstance(error, _CONFLICTS):
                    lane.shared_until = time.monotonic() + SHARED_SECONDS
                    if not isinstance(error, asyncpg.LockNotAvailableError):
                        conflicts += 1
                        if not is_long and time.monotonic() - self._locked_at > LONG_SECONDS:
                            # Among others it would lose again. What cannot be shorter is not given up before it was
                            # alone, for as long as which nobody else writes.
                            if len(commands) > 1:
                                return await self._halve(lane, commands, error)
                            is_long, conflicts = True, CONFLICTS_MAX
                            give_up_at = time.monotonic() + RETRY_SECONDS
                    elif not is_long:
                        # Who could not be alone tries it among others again.
                        conflicts = 0
                if self._writes.is_lost:
                    lane.lost_at = lane.lost_at or time.monotonic()
                    give_up_at = min(give_up_at, lane.lost_at + AWAY_SECONDS)
                is_last = _is_full(error) or time.monotonic() > give_up_at or not self._budget.spend(error)
                self._log_failure(lane, commands, error)
                if is_last:
                    return Result([verdict] * len(commands))
            await asyncio.sleep(random.uniform(0, backoff_seconds))
            backoff_seconds = min(2 * backoff_seconds, BACKOFF_SECONDS_MAX)

    async def close(self) -> None:
        """Lets go of the connections."""
        self._reads.drop()
        self._writes.drop()

    def _ledger_is_locked(self) -> None:
        self._locked_at = time.monotonic()

    async def _attempt(self, lane: Lane, commands: Sequence[Command], *, is_alone: bool) -> Result:
        self._locked_at = math.inf
        connection = await self._writes.get()
        frame = in_turn(lane.ledger_id) if time.monotonic() < lane.shared_until else ALONE
        if is_alone:
            frame = alone_in_database(frame)
        try:
            answers, book = await write_batch(
                connection, lane.ledger_id, commands, lane.book, frame, self._ledger_is_locked
            )
        except BaseException:
            if frame is not ALONE and not connection.is_closed():
                await connection.execute("SELECT pg_advisory_unlock_all()")
            raise
        lane.remember(book)
        if book is None or book.committed is None:
            return Result(answers)
        committed, grown = book.committed, frozenset(book.grown)
        book.committed, book.grown = None, set()
        if lane.left_at not in (None, (book.epoch, book.position - len(committed.events))):
            lane.shared_until = time.monotonic() + SHARED_SECONDS
        lane.left_at = (book.epoch, book.position)
        return Result(answers, [committed], grown)

    def _log_failure(self, lane: Lane, commands: Sequence[Command], error: Exception) -> None:
        log.info(
            "batch_failed",
            ledger_id=lane.ledger_id,
            commands=len(commands),
            error=type(error).__name__,
            repeated=dict(self._budget.counts),
        )

    def _judge(self, error: Exception) -> Contention | DatabaseUnavailable | None:
        """What the callers are told if the error does not go away; None if it is one command's fault, or a bug."""
        if isinstance(error, _CONFLICTS):
            self._concurrency.conflicted()
            if not isinstance(error, asyncpg.OutOfMemoryError):
                return Contention("other writers kept getting in the way; nothing was written", retry_seconds=0.1)
        is_gone = isinstance(error, CONNECTION_ERRORS) and not isinstance(error, asyncpg.InterfaceError)
        if self._writes.is_lost or is_gone:
            self._writes.drop()
        elif _is_full(error):
            self._budget.refused(error)
        elif not isinstance(error, _CONFLICTS):
            return None
        return DatabaseUnavailable("the database is unavailable; repeat with the same request_id", retry_seconds=1.0)

    async def _halve(self, lane: Lane, commands: Sequence[Command], error: Exception) -> Result:
        """The first half of a batch; an atomic one is a single command and is never split."""
        if len(commands) > 1:
            return await self._write_locked(lane, commands[: len(commands) // 2])
        log.error("command_failed", ledger_id=lane.ledger_id, method=commands[0].method, exc_info=error)
        return Result([Internal("internal error; the call may be repeated with the same request_id")])


def _is_full(error: Exception) -> bool:
    """Whether the database takes no writes, as its disk is full, or it is a replica."""
    return isinstance(error, _FULL) and not isinstance(error, _NOT_FULL)


class _Link:
    """A worker's connection: made when it is needed, made again when it was lost."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._connected_at = self._planned_at = 0.0
        self._refused_at = -math.inf

    @property
    def is_lost(self) -> bool:
        """Whether the next use connects anew."""
        return self._connection is None or self._connection.is_closed()

    async def get(self) -> Connection:
        """The connection. From time to time it forgets plans that were made when the tables were much smaller."""
        if self._connection is None or self._connection.is_closed():
            if time.monotonic() < self._refused_at + NO_CONNECTION_SECONDS:
                raise asyncpg.TooManyConnectionsError("there was none a moment ago")
            try:
                self._connection = await self._connect()
            except asyncpg.TooManyConnectionsError:
                self._refused_at = time.monotonic()
                raise
            self._connected_at = self._planned_at = time.monotonic()
        now = time.monotonic()
        if now - self._planned_at > min(max(self._planned_at - self._connected_at, PLAN_SECONDS_MIN), PLAN_SECONDS):
            await self._connection.execute("DISCARD PLANS")
            self._planned_at = now
        return self._connection

    def drop(self) -> None:
        """Closes the connection without another word."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def in_turn(ledger_id: str) -> Frame:
    """A batch that waits behind those of other servers, so that losing a race for the ledger's row is rare.

    Not a guard, but fair: the line is first come, first served, while a loser of the race may lose for ever. So nobody
    leaves it early. Nor need they: a turn is had within a transaction only, and one whose server died or froze is
    ended by idle_in_transaction_session_timeout.
    """
    key = int.from_bytes(bytes.fromhex(ledger_id.replace("-", ""))[8:], "big", signed=True)
    # The lock is the session's, and outlives the transaction that waits for it, whose snapshot would be too old.
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = 0"
    wait = f"{begin}; SELECT pg_advisory_lock({key}); COMMIT"
    return Frame(f"{wait}; {ALONE.begin}", f"{ALONE.commit}; SELECT pg_advisory_unlock({key})")


def alone_in_database(frame: Frame) -> Frame:
    """A batch beside which nobody writes to any ledger, for one that would otherwise lose for ever.

    SERIALIZABLE does not tell rows apart that are on one page of an index, and neighbouring ledgers share pages. A long
    batch then loses to short ones of other ledgers every time. This lock conflicts with what every batch inserts, and
    is taken before the snapshot: the others wait, and if anybody has to lose it is they. Who does not need it pays
    nothing for it. While it is waited for the others wait too, so not for long, and less than a turn: a batch that is
    stuck has it.
    """
    lock = "SET LOCAL lock_timeout = '50ms'; LOCK TABLE metadata_pairs IN SHARE ROW EXCLUSIVE MODE"
    return Frame(f"{frame.begin}; {lock}; SET LOCAL lock_timeout = '{LOCK_WAIT}'", frame.commit)
