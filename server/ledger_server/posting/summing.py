"""Beside the lanes: the sums of large overlaps, without which the lane would stand still while it nests categories.

They are made in bites, each a short snapshot, all of one position, and then caught up with the lane until it has little
left to add. A request's are made by a task of their own that outlives its caller: whoever repeats the request, its
deadline having passed, finds them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from ledger_server.background import end_tasks
from ledger_server.domain.category_commands import NestingCommand
from ledger_server.domain.errors import OverlapNotSummed
from ledger_server.domain.model import Overlap, SummedOverlaps
from ledger_server.domain.money import Counters
from ledger_server.posting import overlaps
from ledger_server.posting.columns import quoted_literal
from ledger_server.posting.loading import load, new_book
from ledger_server.posting.nesting import find_overlaps
from ledger_server.storage import sql
from ledger_server.storage.pool import SNAPSHOT_SECONDS, Connection, Pool, snapshot

T = TypeVar("T")
_After = tuple[str, str] | None

# Much less than a snapshot may be held.
BITE_SECONDS = 0.2
# For so long the sums of a request that nobody waits for are kept.
KEPT_SECONDS = 60.0
# So few events behind the lane, the rest is left to it. It may look through so many of them, and twice as many each
# time that this was not enough.
FEW_EVENTS = 100
BEARABLE_EVENTS = 500
CATCH_UPS_MAX = 10
# It is counted which side has fewer accounts, unless both have very many.
ACCOUNTS_COUNTED_MIN = 10_000
ACCOUNTS_COUNTED_MAX = 1_000_000


class Summing:
    """Sums large overlaps, those of one request at a time; who has none waits for nobody."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._tasks: dict[tuple[int, str, bytes], asyncio.Task[SummedOverlaps | None]] = {}
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Summing]:
        """Sums within the block; what is not done at its end is made anew when it is asked for again."""
        try:
            yield self
        finally:
            await end_tasks(self._tasks.values())

    async def prepare(self, command: NestingCommand) -> None:
        """Fills `summed` of a command that needs it, or brings it up to now. Raises DatabaseUnavailable."""
        key = (command.ledger_id, command.request_id, command.fingerprint)
        task = self._tasks.get(key)
        if task is None or (task.done() and command.summed is not None):
            task = self._tasks[key] = asyncio.create_task(self._sum(command), name="summing")
            task.add_done_callback(lambda done: self._forget(key, done))
        command.summed = await asyncio.shield(task)

    def _forget(self, key: tuple[int, str, bytes], task: asyncio.Task[SummedOverlaps | None]) -> None:
        """At once if there is nothing to remember, else later."""

        def forget() -> None:
            if self._tasks.get(key) is task:
                self._tasks.pop(key)

        if task.cancelled() or task.exception() is not None or task.result() is None:
            forget()
        else:
            asyncio.get_running_loop().call_later(KEPT_SECONDS, forget)

    async def _sum(self, command: NestingCommand) -> SummedOverlaps | None:
        plan = await self._bite(lambda connection: _plan(connection, command))
        if not plan.counters:
            return None
        async with self._turn:
            known = command.summed if command.summed is not None and command.summed.epoch == plan.epoch else plan
            counters = {}
            for overlap in plan.counters:
                if known is not plan and overlap in known.counters:
                    counters[overlap] = known.counters[overlap]
                else:
                    counters[overlap] = await self._sum_overlap(command.ledger_id, overlap, known.position)
            summed = known._replace(counters=counters, bearable=2 * known.bearable)
            return await self._catch_up(command.ledger_id, summed)

    async def _sum_overlap(self, ledger_id: int, overlap: Overlap, position: int) -> Counters:
        """The sum at a position, along the smaller side."""
        total = Counters()
        after: tuple[str, str] | None = overlaps.NOWHERE
        smaller_first = await self._bite(lambda connection: _smaller_first(connection, ledger_id, overlap))
        while after is not None:

            async def add(connection: Connection, after: tuple[str, str] = after) -> tuple[Counters, _After]:
                return await _add_parts(connection, ledger_id, smaller_first, position, after)

            part, after = await self._bite(add)
            total = total.plus(part)
        return total

    async def _catch_up(self, ledger_id: int, summed: SummedOverlaps) -> SummedOverlaps | None:
        """The sums at a position that the ledger has nearly not left behind; None if the log was pruned meanwhile."""
        for _ in range(CATCH_UPS_MAX):
            head = await self._bite(lambda connection: connection.fetchrow(sql.read_position, ledger_id))
            if head is None or head["position"] - summed.position <= FEW_EVENTS:
                break
            try:
                summed = await self._caught_up(ledger_id, summed, head["position"])
            except OverlapNotSummed:
                return None
        return summed

    async def _caught_up(self, ledger_id: int, summed: SummedOverlaps, until: int) -> SummedOverlaps:
        touched: set[str] = set()
        position = summed.position
        while position < until:

            async def read(connection: Connection, after: int = position) -> tuple[set[str], int]:
                return await overlaps.read_touched(connection, ledger_id, after, until)

            more, position = await self._bite(read)
            touched |= more
        caught = summed
        for account_ids in overlaps.parts(touched):

            async def add(
                connection: Connection, account_ids: list[str] = account_ids, so_far: SummedOverlaps = caught
            ) -> SummedOverlaps:
                counters = await overlaps.caught_up(connection, ledger_id, so_far, account_ids, until)
                return so_far._replace(counters=counters)

            caught = await self._bite(add)
        return caught._replace(position=until)

    async def _bite(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        async with snapshot(self._pool) as connection, asyncio.timeout(SNAPSHOT_SECONDS):
            return await read(connection)


async def _plan(connection: Connection, command: NestingCommand) -> SummedOverlaps:
    """The large overlaps that the command is decided by, not summed yet: none if it is refused, or repeated."""
    ledger_id = command.ledger_id
    row = await connection.fetchrow(sql.read_ledger, ledger_id, quoted_literal([command.request_id]), "{}")
    if row is None:
        return SummedOverlaps("", 0, {}, 0)
    plan = SummedOverlaps(row["epoch"], row["position"], {}, BEARABLE_EVENTS)
    if row["known_request_ids"]:
        return plan
    book = new_book(ledger_id, row)
    await load(connection, book, [command], (), row["has_categories"])
    large = {}
    for overlap in (await find_overlaps(connection, book, command, row["now"])).values():
        if await overlaps.smaller_first(connection, ledger_id, overlap, overlaps.SMALL_ACCOUNTS) is None:
            large[overlap] = Counters()
    return plan._replace(counters=large)


async def _smaller_first(connection: Connection, ledger_id: int, overlap: Overlap) -> Overlap:
    """Counting costs about what the smaller side has."""
    most = ACCOUNTS_COUNTED_MIN
    while most < ACCOUNTS_COUNTED_MAX:
        found = await overlaps.smaller_first(connection, ledger_id, overlap, most)
        if found is not None:
            return found
        most *= 10
    return overlap


async def _add_parts(
    connection: Connection, ledger_id: int, overlap: Overlap, position: int, after: tuple[str, str]
) -> tuple[Counters, _After]:
    """What some accounts of an overlap add up to, and after which to go on, None at the end."""
    give_up_at = time.monotonic() + BITE_SECONDS
    total = Counters()
    async for part, end in overlaps.sum_parts(connection, ledger_id, overlap, position, after):
        total = total.plus(part)
        if end is None or time.monotonic() > give_up_at:
            return total, end
    return total, None
