"""Lanes: every mutation of a ledger is a command in its lane, and a lane's commands share commits.

A bounded number of workers, each owning a connection, serve the lanes; the lane whose oldest command has waited
longest goes first. While a batch is being written the next one gathers, so batches grow with the load and a
lone caller is not kept waiting. A caller who leaves takes its commands out of the queue, but not out of a batch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice

import structlog

from ledger_server.background import end_tasks
from ledger_server.domain.book import Committed
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
from ledger_server.domain.ids import ledger_text
from ledger_server.posting.admission import refuse_for_memory
from ledger_server.posting.batch import validate
from ledger_server.posting.idle import IdleLanes
from ledger_server.posting.lane import Flight, Lane, Ticket
from ledger_server.posting.link import NO_CONNECTION_SECONDS
from ledger_server.posting.nesting import nests_categories
from ledger_server.posting.outcomes import Written, lean
from ledger_server.posting.repeats import Answer
from ledger_server.posting.summing import Summing
from ledger_server.posting.turns import Turns
from ledger_server.posting.worker import Worker
from ledger_server.storage.pool import Pool

log = structlog.get_logger()

# A short batch waits for others to join it, so long at the most.
GATHERED_COMMANDS = 100
GATHER_SECONDS = 0.002
# Of all ledgers at rest together, in what Lane.size counts.
REMEMBERED_MAX = 60_000
# So often what categories have in common is summed for one command, if it keeps changing.
SUMMED_TIMES_MAX = 8


class Lanes:
    """The front door of the write path."""

    def __init__(
        self,
        workers: Sequence[Worker],
        pool: Pool,
        committed: Callable[[int, Committed], None],
        grown: Callable[[int, set[str]], None] = lambda _ledger_id, _account_ids: None,
        decided: Callable[[Sequence[Command], Sequence[Answer]], None] = lambda _commands, _answers: None,
    ) -> None:
        """`committed` is told of each commit, `grown` the accounts that have many new versions by it.

        `decided` is told of answers while they are being written, so that they can be made ready; they may not be
        given in the end.
        """
        self._workers = workers
        self._pool = pool
        self._committed = committed
        self._grown = grown
        self._decided = decided
        # Those that have something to do.
        self._lanes: dict[int, Lane] = {}
        self._idle = IdleLanes(REMEMBERED_MAX)
        self._turns: Turns[Lane] = Turns()
        self._unanswered = self._unanswered_entries = 0
        self._is_draining = False
        self._summing = Summing(pool)
        self._drained = asyncio.Event()

    def admit(self, ledger_id: int) -> None:
        """Raises Overloaded if commands for this ledger would be refused now: before work is put into making them."""
        if (lane := self._lanes.get(ledger_id)) is not None:
            lane.admit(time.monotonic())

    async def submit(self, commands: Sequence[Command]) -> list[Answer]:
        """Applies commands of one ledger, in order, each by itself; the answers come in the same order.

        Raises ShuttingDown or Overloaded before anything is queued. Cancelling takes the commands out of the
        queue; once they are being written they are written whatever happens to the caller.
        """
        _take_fingerprints(commands)
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
        lane.tickets.append(Ticket(commands, answers, arrived, entry_count, _is_alone(commands[0]), []))
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
        _take_fingerprints(commands)
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
            await end_tasks(tasks)
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
            if not (worker.is_connected or await worker.connect()) and self._pass_on(lane):
                await asyncio.sleep(NO_CONNECTION_SECONDS)
                continue
            await _gathered(lane)
            lane.is_scheduled = False
            lane.workers += 1
            tickets = lane.take()
            try:
                if tickets:
                    await self._write(worker, lane, tickets)
            except Exception as error:
                # A bug; but others wait for this worker.
                log.exception("lane_failed", ledger_id=ledger_text(lane.ledger_id))
                lane.book = None
                _fail(tickets, error)
            except BaseException:
                _fail(tickets, ShuttingDown("the server was stopped; repeat the call"))
                raise
            finally:
                lane.workers -= 1
            # They have their answers, which would be kept until there is something to do again.
            del tickets
            self._schedule(lane)
            if lane.is_idle:
                self._rest(lane)

    def _pass_on(self, lane: Lane) -> bool:
        """Lets another worker have the turn, if one can write."""
        if not any(worker.is_connected for worker in self._workers):
            return False
        self._turns.put(lane.tickets[0].arrived if lane.tickets else time.monotonic(), lane)
        return True

    def _rest(self, lane: Lane) -> None:
        self._lanes.pop(lane.ledger_id)
        if lane.book is not None or lane.lost_at is not None:
            self._idle.keep(lane)

    def _schedule(self, lane: Lane) -> None:
        if lane.is_ready:
            lane.is_scheduled = True
            self._turns.put(lane.tickets[0].arrived, lane)

    async def _write(self, worker: Worker, lane: Lane, tickets: Sequence[Ticket]) -> None:
        """Writes one batch and hands out the answers."""
        commands = [command for ticket in tickets for command in ticket.commands]
        own: Flight | None = None
        count: int | None = None

        def share(flight: Flight) -> None:
            nonlocal own, count
            count = flight.count
            if count < len(commands):
                lane.put_back(tickets, count)
            if not lane.is_heavy:
                own = lane.flight = flight
                self._schedule(lane)
            # Once PostgreSQL has it all; between several statements the ledger would be locked for as long.
            if flight.draft.rows.is_one_statement:
                asyncio.get_running_loop().call_soon(self._decided, commands, flight.draft.answers)

        try:
            result = await worker.write(lane, commands, share)
        finally:
            if lane.flight is own:
                lane.flight = None
        if lane.workers == 1:
            # Nobody is drafting on it.
            lane.remember(lane.book)
        if count is None and len(result.answers) < len(commands):
            lane.put_back(tickets, len(result.answers))
        for committed in result.committed:
            self._committed(lane.ledger_id, committed)
        if result.grown:
            self._grown(lane.ledger_id, set(result.grown))
        _hand_out(tickets, result.answers)


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


def _hand_out(tickets: Iterable[Ticket], answers: Iterable[Answer]) -> None:
    """A call of which only a part was taken is answered with its last one."""
    left = iter(answers)
    for ticket in tickets:
        own_answers = list(islice(left, len(ticket.commands)))
        if len(own_answers) < len(ticket.commands):
            ticket.answered.extend(map(_kept, ticket.commands, own_answers))
        elif not ticket.answers.done():
            ticket.answers.set_result(ticket.answered + own_answers)


def _fail(tickets: Iterable[Ticket], error: Exception) -> None:
    """Whatever happens, every ticket is answered."""
    for ticket in tickets:
        if not ticket.answers.done():
            ticket.answers.set_exception(error)


def _is_alone(command: Command) -> bool:
    """Whether it is decided by what was looked up before its batch, so that no other command may come between."""
    return isinstance(command, DeleteLedger) or nests_categories(command)


def _kept(command: Command, answer: Answer) -> Answer:
    """What is kept of an answer until the others of its call are there: entries only if they are asked for."""
    return lean(answer) if isinstance(answer, Written) and not command.full_results else answer


def _take_fingerprints(commands: Sequence[Command]) -> None:
    for command in commands:
        command.fingerprint = fingerprint(command)


def _entry_count(command: Command) -> int:
    """How many entries it has with it, which is what it takes of memory while it waits."""
    match command:
        case CreateTransaction():
            return len(command.entries)
        case UpdateTransaction() | PostTransaction() | PartialPostTransaction() | ReverseTransaction():
            return len(command.entries or ())
        case Batch():
            return sum(map(_entry_count, command.commands))
    return 0
