"""Snapshots: the read-only transactions that reads happen in, short, and not before the position asked for."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, TypeVar

from ledger_server.domain.errors import DatabaseUnavailable, PositionInFuture, PositionNotReached
from ledger_server.domain.ids import REGISTRY
from ledger_server.domain.refusals import ledger_not_found
from ledger_server.reading.page_tokens import Key, to_token
from ledger_server.reading.paging import page_ends_at
from ledger_server.reading.queries import PageQuery
from ledger_server.reading.results import Page, Read
from ledger_server.storage import sql
from ledger_server.storage.pool import SNAPSHOT_SECONDS, Connection, Pool, snapshot

T = TypeVar("T")

# How long a read waits for its min_position, and how often it looks.
WAIT_SECONDS_MAX = 2.0
# Of a caller's deadline so much is left for the answer that says that it was not reached, but no more than half.
ANSWER_SECONDS = 0.1
POLL_SECONDS_MIN = 0.002
POLL_SECONDS_MAX = 0.05


class Snapshot(NamedTuple):
    """One moment of one ledger: a connection in a transaction, and where the ledger stands in it."""

    connection: Connection
    ledger_id: int
    position: int
    epoch: str
    # The accounts that were found to have many versions that are not folded.
    grown: set[str]
    # Ends the snapshot when its time is up.
    timeout: asyncio.Timeout | None = None
    # When a page is handed out as it is: one time for all that it is made of.
    give_up_at: float = math.inf

    async def renew(self) -> None:
        """Lets go of the moment for a later one, held as long again. Only for what is written once and for all."""
        await self.connection.execute("COMMIT; BEGIN")
        if self.timeout is not None:
            self.timeout.reschedule(asyncio.get_running_loop().time() + SNAPSHOT_SECONDS)

    def refuse_future(self, position: int | None) -> None:
        """Raises PositionInFuture if the ledger has not got to the position that is asked about."""
        if position is not None and position > self.position:
            raise PositionInFuture(
                f"the ledger is at position {self.position}", metadata={"position": str(self.position)}
            )

    def read(self, value: T) -> Read[T]:
        return Read(value, self.position, self.epoch)

    def page(self, query: PageQuery, items: list[T], key: Key | None) -> Page[T]:
        return Page(items, to_token(query, key), self.position, self.epoch)


# Gives snapshots of one ledger, each at a position or later.
SnapshotFrom = Callable[[int | None], AbstractAsyncContextManager[Snapshot]]


@asynccontextmanager
async def ledger_snapshot(
    pool: Pool, ledger_id: int, min_position: int | None, timeout: float | None
) -> AsyncIterator[Snapshot]:
    """A snapshot of the ledger at `min_position` or later.

    Raises LedgerNotFound, PositionNotReached, TimeoutError when `timeout` seconds have passed, and
    DatabaseUnavailable, also when the block would hold its snapshot for more than SNAPSHOT_SECONDS.
    """
    wait_until = time.monotonic() + seconds_to_wait(timeout)
    poll_seconds = POLL_SECONDS_MIN
    async with asyncio.timeout(timeout):
        while True:
            async with snapshot(pool) as connection, _held() as held:
                head = await connection.fetchrow(sql.read_position, ledger_id)
                if head is None or ledger_id == REGISTRY:
                    raise ledger_not_found(ledger_id)
                # Looked at in the snapshot that is read: of several replicas the next one may be behind.
                if min_position is None or head["position"] >= min_position:
                    yield Snapshot(connection, ledger_id, head["position"], head["epoch"], set(), held, page_ends_at())
                    return
            remaining_seconds = wait_until - time.monotonic()
            if remaining_seconds <= 0:
                raise PositionNotReached(
                    f"the ledger is at position {head['position']}, not yet at {min_position}",
                    metadata={"position": str(head["position"])},
                    retry_seconds=0.5,
                )
            await asyncio.sleep(min(poll_seconds, remaining_seconds))
            poll_seconds = min(2 * poll_seconds, POLL_SECONDS_MAX)


def seconds_to_wait(timeout: float | None) -> float:
    """How long a caller with this deadline waits for a position, so that it can still be told."""
    if timeout is None:
        return WAIT_SECONDS_MAX
    return min(WAIT_SECONDS_MAX, max(timeout - ANSWER_SECONDS, timeout / 2))


@asynccontextmanager
async def _held() -> AsyncIterator[asyncio.Timeout]:
    """Ends the block when a snapshot has been held long enough: the database is too slow for what is read."""
    try:
        async with asyncio.timeout(SNAPSHOT_SECONDS) as held:
            yield held
    except TimeoutError as error:
        if not held.expired():
            raise
        message = "the database was too slow for this read; read again, or less at once"
        raise DatabaseUnavailable(message, retry_seconds=1.0) from error
