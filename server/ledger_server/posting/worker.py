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
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple

import asyncpg
import structlog

from ledger_server.domain.book import Committed
from ledger_server.domain.commands import Command
from ledger_server.domain.errors import Contention, DatabaseUnavailable, Internal, TooManyEntries
from ledger_server.domain.ids import ledger_text
from ledger_server.posting.batch import write_batch
from ledger_server.posting.clock import DatabaseClock
from ledger_server.posting.concurrency import ConcurrencyLimit
from ledger_server.posting.drafts import Draft, OutOfDate, can_be_drafted, draft, write_draft
from ledger_server.posting.frames import PLAIN, alone_in_database, in_turn
from ledger_server.posting.lane import Flight, Lane
from ledger_server.posting.link import Link
from ledger_server.posting.repeats import Answer, Known
from ledger_server.posting.retries import RetryBudget
from ledger_server.storage.pool import CONNECTION_ERRORS, connect_beside_lane, connect_lane

log = structlog.get_logger()

# How long a batch is tried again before its callers are told to.
RETRY_SECONDS = 5.0
# How long the database may be away until callers are told, at once from then on. With the client's own repeats, four to
# seven seconds in all, it must stay below the client's deadline of ten, or callers would learn of the deadline only.
AWAY_SECONDS = 3.0
BACKOFF_SECONDS_MAX = 0.1
# How long a draft may take to be written; what takes longer is done under the lock, which has time. So a link that
# swallows all packets is noticed while callers still wait.
DRAFT_SECONDS = 4.0
# A batch that lost so often is written alone, or that lost once after it had its ledger for so long.
LOSSES_MAX = 3
LONG_SECONDS = 1.0
# A lane that met another writer takes turns with it for this long.
SHARED_SECONDS = 5.0
# A lane that met a request_id or an external_id again looks them up for this long, before it decides.
REPEATED_SECONDS = 5.0
# How long a worker waits for a connection while another one could write.
CONNECT_SECONDS = 0.5


class _Failure(Enum):
    """What went wrong with a batch."""

    LOST = auto()  # against other batches
    HELD = auto()  # by others, what it waited for
    GONE = auto()  # the connection
    FULL = auto()  # the disk; or the database takes no writes, as it is a replica
    OWN = auto()  # one command's, or a bug


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
        self._writes = Link(lambda: connect_lane(dsn))
        self._reads = Link(lambda: connect_beside_lane(dsn))

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
        return Result(draft.answers, [draft.committed] if draft.committed.events else (), frozenset(draft.rows.grown))

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
            return await draft(self._reads.get, lane.ledger_id, lane.book, commands, known, position, clock)
        except (OutOfDate, TooManyEntries, asyncpg.TooManyConnectionsError):
            # Under the lock one connection is enough, and fewer commands may do.
            pass
        except CONNECTION_ERRORS:
            # If one link is gone, so is the other, most likely; asking it would only take as long again.
            self._reads.drop()
            self._writes.drop()
        except Exception:
            log.warning("draft_failed", ledger_id=ledger_text(lane.ledger_id), commands=len(commands), exc_info=True)
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
        # To other batches; for ever, if it is so long that it would lose again.
        losses = 0.0
        while True:
            try:
                return await self._attempt(lane, commands, is_alone=losses >= LOSSES_MAX)
            except Exception as error:
                lane.book = None
                failure, now = self._judge(error), time.monotonic()
                if failure in (_Failure.LOST, _Failure.HELD):
                    lane.shared_until = now + SHARED_SECONDS
                match failure:
                    case _Failure.LOST if now - self._locked_at > LONG_SECONDS and losses < math.inf:
                        # Among others it would lose again. What cannot be shorter is not given up before it was alone,
                        # for as long as which nobody else writes.
                        if len(commands) > 1:
                            return await self._halve(lane, commands, error)
                        losses, give_up_at = math.inf, now + RETRY_SECONDS
                    case _Failure.LOST:
                        losses += 1
                    case _Failure.HELD if losses < math.inf:
                        # Who could not be alone tries it among others again.
                        losses = 0
                    case _Failure.GONE:
                        lane.lost_at = lane.lost_at or now
                        give_up_at = min(give_up_at, lane.lost_at + AWAY_SECONDS)
                    case _Failure.FULL:
                        give_up_at = now
                    case _Failure.OWN:
                        return await self._halve(lane, commands, error)
                is_last = time.monotonic() >= give_up_at or not self._budget.spend(error)
                self._log_failure(lane, commands, error)
                if is_last:
                    return Result([_told(error)] * len(commands))
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
        async with self._concurrency.turn():
            connection = await self._writes.get()
            frame = in_turn(lane.ledger_id) if time.monotonic() < lane.shared_until else PLAIN
            if is_alone:
                frame = alone_in_database(frame)
            try:
                done = await write_batch(connection, lane.ledger_id, commands, lane.book, frame, self._ledger_is_locked)
            except BaseException:
                if frame is not PLAIN and not connection.is_closed():
                    await connection.execute("SELECT pg_advisory_unlock_all()")
                raise
        self._concurrency.committed()
        lane.lost_at = None
        lane.remember(done.book)
        committed = done.committed
        if committed is None:
            return Result(done.answers)
        self._budget.committed()
        if lane.left_at not in (None, (committed.epoch, committed.position - len(committed.events))):
            lane.shared_until = time.monotonic() + SHARED_SECONDS
        lane.left_at = (committed.epoch, committed.position)
        return Result(done.answers, [committed], done.grown)

    def _log_failure(self, lane: Lane, commands: Sequence[Command], error: Exception) -> None:
        log.info(
            "batch_failed",
            ledger_id=ledger_text(lane.ledger_id),
            commands=len(commands),
            error=type(error).__name__,
            repeated=dict(self._budget.counts),
        )

    def _judge(self, error: Exception) -> _Failure:
        """What went wrong; who else has to know is told."""
        match error:
            case asyncpg.LockNotAvailableError():
                self._concurrency.conflicted()
                return _Failure.HELD
            # OutOfMemory is what PostgreSQL calls the overflow of its pool of read-write conflicts.
            case asyncpg.SerializationError() | asyncpg.DeadlockDetectedError() | asyncpg.OutOfMemoryError():
                self._concurrency.conflicted()
                return _Failure.LOST
        is_gone = isinstance(error, CONNECTION_ERRORS) and not isinstance(error, asyncpg.InterfaceError)
        if self._writes.is_lost or is_gone:
            self._writes.drop()
            return _Failure.GONE
        if isinstance(error, asyncpg.InsufficientResourcesError | asyncpg.ReadOnlySQLTransactionError):
            self._budget.refused(error)
            return _Failure.FULL
        return _Failure.OWN

    async def _halve(self, lane: Lane, commands: Sequence[Command], error: Exception) -> Result:
        """The first half of a batch; an atomic one is a single command and is never split."""
        if len(commands) > 1:
            return await self._write_locked(lane, commands[: len(commands) // 2])
        log.error("command_failed", ledger_id=ledger_text(lane.ledger_id), method=commands[0].method, exc_info=error)
        return Result([Internal("internal error; the call may be repeated with the same request_id")])


def _told(error: Exception) -> Contention | DatabaseUnavailable:
    """What callers are told of an error that did not go away."""
    if isinstance(error, asyncpg.SerializationError | asyncpg.DeadlockDetectedError | asyncpg.LockNotAvailableError):
        return Contention("other writers kept getting in the way; nothing was written", retry_seconds=0.1)
    return DatabaseUnavailable("the database is unavailable; repeat with the same request_id", retry_seconds=1.0)
