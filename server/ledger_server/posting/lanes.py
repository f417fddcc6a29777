"""Lanes: every mutation of a ledger is a command in its lane, and a lane's commands share commits.

A bounded number of workers, each owning a connection, serve the lanes; the lane whose oldest command has waited
longest goes first. While a batch is being written the next one gathers, so batches grow with the load and a
lone caller is not kept waiting. A caller who leaves takes its commands out of the queue, but not out of a batch.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import NamedTuple

import structlog

from ledger_server.domain.book import Book, Committed
from ledger_server.domain.commands import (
    Batch,
    Command,
    CreateTransaction,
    DeleteLedger,
    PartialPostTransaction,
    PostTransaction,
    ReverseTransaction,
    UpdateTransaction,
)
from ledger_server.domain.errors import OverlapNotSummed, ShuttingDown
from ledger_server.domain.fingerprint import fingerprint
from ledger_server.posting.admission import Crowd, refuse_for_memory
from ledger_server.posting.batch import validate
from ledger_server.posting.idle import IdleLanes
from ledger_server.posting.nesting import nests_categories
from ledger_server.posting.repeats import Answer
from ledger_server.posting.summing import Summing
from ledger_server.posting.turns import Turns
from ledger_server.posting.worker import Flight, Worker
from ledger_server.storage.pool import Pool

log = structlog.get_logger()

BATCH_COMMANDS_MAX = 1_000
BATCH_ENTRIES_MAX = 20_000
# A batch is drafted beside the one that is being written only if so many commands wait for it: for fewer, the gain is
# less than the commit that it costs.
BESIDE_COMMANDS_MIN = 16
# Memory is bounded: a lane that knows more than this forgets, and loads again what is needed.
REMEMBERED_ACCOUNTS_MAX = 20_000
REMEMBERED_TRANSACTIONS_MAX = 2_000
# Twice as many, so that there is room for those that are not pending.
DRAFTED_TRANSACTIONS_MAX = 2 * REMEMBERED_TRANSACTIONS_MAX
# A short batch waits for others to join it, so long at the most.
GATHERED_COMMANDS = 100
GATHER_SECONDS = 0.002
# Of all ledgers at rest together, in objects of Book.size; and how many one takes besides.
REMEMBERED_MAX = 60_000
LANE_SIZE = 8
# So often what categories have in common is summed for one command, if it keeps changing.
SUMMED_TIMES_MAX = 8


class _Ticket(NamedTuple):
    """The commands of one call, in order, and where their answers go."""

    commands: Sequence[Command]
    answers: asyncio.Future[list[Answer]]
    arrived: float
    entry_count: int
    # A batch of its own.
    is_alone: bool


class Lane:
    """One ledger's queue, and what is remembered of the ledger."""

    def __init__(self, ledger_id: str) -> None:
        self.ledger_id = ledger_id
        self.tickets: deque[_Ticket] = deque()
        # The commands in them.
        self.waiting = 0
        self.crowd = Crowd()
        # In the line for a worker.
        self.is_scheduled = False
        # How many workers have got it: a second one drafts its next batch while the first writes one.
        self.workers = 0
        self.flight: Flight | None = None
        self.book: Book | None = None
        # The epoch and position at which it left the ledger; if it finds it elsewhere, another server writes it too.
        self.left_at: tuple[str, int] | None = None
        # Until then, other servers are taken to.
        self.shared_until = 0.0
        # Until then, callers are taken to repeat themselves.
        self.repeated_until = 0.0
        # When the database went away, if it has not been back since.
        self.lost_at: float | None = None

    def admit(self, now: float) -> None:
        """Raises Overloaded if one call more should not wait."""
        if self.tickets and self.lost_at is None:
            self.crowd.refuse(len(self.tickets), self.tickets[0].arrived, now)

    def take(self) -> list[_Ticket]:
        """The next batch: tickets that still have somebody waiting, up to the limits, at least one if there is any."""
        batch: list[_Ticket] = []
        commands = entries = 0
        while self.tickets:
            ticket = self.tickets[0]
            if not ticket.answers.done():
                commands += len(ticket.commands)
                entries += ticket.entry_count
                is_full = commands > BATCH_COMMANDS_MAX or entries > BATCH_ENTRIES_MAX
                if batch and (is_full or ticket.is_alone or batch[0].is_alone):
                    break
                batch.append(ticket)
            self.tickets.popleft()
            self.waiting -= len(ticket.commands)
        if batch and self.lost_at is None:
            self.crowd.is_served(batch[0].arrived, time.monotonic())
        return batch

    @property
    def is_ready(self) -> bool:
        """Whether a worker should take it.

        A second one should not before half as much waits as is on its way: a crowd is halved, not split into a
        large batch and one of those few who came too late for it.
        """
        if self.is_scheduled or not self.tickets:
            return False
        return not self.workers or (
            self.workers == 1
            and self.flight is not None
            and self.waiting >= max(self.flight.count // 2, BESIDE_COMMANDS_MIN)
        )

    @property
    def is_idle(self) -> bool:
        """Whether no worker has got it or will get it."""
        return not self.is_scheduled and not self.workers

    @property
    def is_heavy(self) -> bool:
        """Whether memory has to let go of something first, which it may only while nobody drafts."""
        book = self.book
        return book is None or (
            len(book.accounts) > REMEMBERED_ACCOUNTS_MAX or len(book.transactions) > DRAFTED_TRANSACTIONS_MAX
        )

    @property
    def size(self) -> int:
        """How much it remembers, itself included, which takes as much memory as a few accounts."""
        return LANE_SIZE + (self.book.size if self.book is not None else 0)

    def remember(self, book: Book | None) -> None:
        """Keeps of a book for the next batch what is likely to be named again."""
        if book is not None and (len(book.accounts) > REMEMBERED_ACCOUNTS_MAX or book.ledger.deleted_at is not None):
            book = None
        if book is not None:
            book.forget_all_but_pending(REMEMBERED_TRANSACTIONS_MAX)
        self.book = book


class Lanes:
    """The front door of the write path."""

    def __init__(
        self,
        workers: Sequence[Worker],
        pool: Pool,
        committed: Callable[[str, Committed], None],
        grown: Callable[[str, set[str]], None] = lambda _ledger_id, _account_ids: None,
    ) -> None:
        """`committed` is told of each commit, `grown` the accounts that have many new versions by it."""
        self._workers = workers
        self._pool = pool
        self._committed = committed
        self._grown = grown
        # Those that have something to do.
        self._lanes: dict[str, Lane] = {}
        self._idle = IdleLanes(REMEMBERED_MAX)
        self._turns: Turns[Lane] = Turns()
        self._unanswered = self._unanswered_entries = 0
        self._is_draining = False
        self._summing = Summing(pool)
        self._drained = asyncio.Event()

    def admit(self, ledger_id: str) -> None:
        """Raises Overloaded if commands for this ledger would be refused now: before work is put into making them."""
        if (lane := self._lanes.get(ledger_id)) is not None:
            lane.admit(time.monotonic())

    async def submit(self, commands: Sequence[Command]) -> list[Answer]:
        """Applies commands of one ledger, in order, each by itself; the answers come in the same order.

        Raises ShuttingDown or Overloaded before anything is queued. Cancelling takes the commands out of the
        queue; once they are being written they are written whatever happens to the caller.
        """
        _mark(commands)
        if not nests_categories(commands[0]):
            return await self._queue(commands)
        for _ in range(SUMMED_TIMES_MAX):
            await self._summing.prepare(commands[0])
            answers = await self._queue(commands)
            if not isinstance(answers[0], OverlapNotSummed):
                break
        return answers

    async def _queue(self, commands: Sequence[Command]) -> list[Answer]:
        if self._is_draining:
            raise ShuttingDown("the server is shutting down; nothing was written", retry_seconds=0.5)
        entry_count = sum(map(_entry_count, commands))
        refuse_for_memory(self._unanswered + len(commands), self._unanswered_entries + entry_count)
        ledger_id = commands[0].ledger_id
        lane = self._lanes.get(ledger_id) or self._idle.take(ledger_id) or Lane(ledger_id)
        self._lanes[ledger_id] = lane
        arrived = time.monotonic()
        lane.admit(arrived)
        answers: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        lane.tickets.append(_Ticket(commands, answers, arrived, entry_count, _is_alone(commands[0])))
        lane.waiting += len(commands)
        self._unanswered += len(commands)
        self._unanswered_entries += entry_count
        self._schedule(lane)
        try:
            return await answers
        finally:
            self._forget(len(commands), entry_count)

    async def validate(self, commands: Sequence[Command]) -> list[Answer]:
        """What the commands would be answered now, beside the lane: no lock, nothing written, no promise."""
        _mark(commands)
        return await validate(self._pool, commands[0].ledger_id, commands)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Lanes]:
        """Serves the lanes within the block; at its end everything queued is still written."""
        tasks = [asyncio.create_task(self._serve(worker), name="lane-worker") for worker in self._workers]
        try:
            async with self._summing.running():
                yield self
        finally:
            await self._drain()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for worker in self._workers:
                await worker.close()

    async def _drain(self) -> None:
        self._is_draining = True
        if self._unanswered:
            await self._drained.wait()

    def _forget(self, count: int, entry_count: int) -> None:
        self._unanswered -= count
        self._unanswered_entries -= entry_count
        if self._is_draining and not self._unanswered:
            self._drained.set()

    async def _serve(self, worker: Worker) -> None:
        while True:
            lane = await self._turns.get()
            await _gathered(lane)
            lane.is_scheduled = False
            lane.workers += 1
            tickets = lane.take()
            try:
                if tickets:
                    await self._write(worker, lane, tickets)
            except Exception as error:
                # A bug; but others wait for this worker.
                log.exception("lane_failed", ledger_id=lane.ledger_id)
                lane.book = None
                _fail(tickets, error)
            except BaseException:
                _fail(tickets, ShuttingDown("the server was stopped; repeat the call"))
                raise
            finally:
                lane.workers -= 1
            self._schedule(lane)
            if lane.is_idle:
                self._rest(lane)

    def _rest(self, lane: Lane) -> None:
        self._lanes.pop(lane.ledger_id)
        if lane.book is not None or lane.lost_at is not None:
            self._idle.keep(lane)

    def _schedule(self, lane: Lane) -> None:
        if lane.is_ready:
            lane.is_scheduled = True
            self._turns.put(lane.tickets[0].arrived, lane)

    async def _write(self, worker: Worker, lane: Lane, tickets: Sequence[_Ticket]) -> None:
        """Writes one batch and hands out the answers."""
        commands = [command for ticket in tickets for command in ticket.commands]
        own: Flight | None = None

        def share(flight: Flight) -> None:
            nonlocal own
            if not lane.is_heavy:
                own = lane.flight = flight
                self._schedule(lane)

        try:
            result = await worker.write(lane, commands, share)
        finally:
            if lane.flight is own:
                lane.flight = None
        if lane.workers == 1:
            # Nobody is drafting on it.
            lane.remember(lane.book)
        for committed in result.committed:
            self._committed(lane.ledger_id, committed)
        if result.grown:
            self._grown(lane.ledger_id, set(result.grown))
        answers = iter(result.answers)
        for ticket in tickets:
            own_answers = list(islice(answers, len(ticket.commands)))
            if not ticket.answers.done():
                ticket.answers.set_result(own_answers)


async def _gathered(lane: Lane) -> None:
    """Returns when turns of the event loop bring no more commands, at once if there is only one."""
    give_up_at = time.monotonic() + GATHER_SECONDS
    quiet = 0
    while 1 < lane.waiting < GATHERED_COMMANDS and quiet < 3 * len(lane.tickets) - 2:
        waiting = lane.waiting
        await asyncio.sleep(0)
        quiet = quiet + 1 if lane.waiting == waiting else 0
        if time.monotonic() > give_up_at:
            break


def _fail(tickets: Iterable[_Ticket], error: Exception) -> None:
    """Whatever happens, every ticket is answered."""
    for ticket in tickets:
        if not ticket.answers.done():
            ticket.answers.set_exception(error)


def _is_alone(command: Command) -> bool:
    """Whether it is decided by what was looked up before its batch, so that no other command may come between."""
    return isinstance(command, DeleteLedger) or nests_categories(command)


def _mark(commands: Sequence[Command]) -> None:
    for command in commands:
        command.mark = fingerprint(command)


def _entry_count(command: Command) -> int:
    match command:
        case CreateTransaction():
            return len(command.entries)
        case UpdateTransaction() | PostTransaction() | PartialPostTransaction() | ReverseTransaction():
            return len(command.entries or ())
        case Batch():
            return sum(map(_entry_count, command.commands))
    return 0
