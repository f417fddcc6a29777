"""New epochs, after a database was restored to an earlier state.

A restored ledger hands out positions a second time. Whoever remembers one from before, to resume a stream or to read
his own write, must not take it for one of the new history; the epoch beside it tells them apart. That a database was
restored is seen by its origin: a restore to a point in time and a promoted standby begin a new timeline, a dump is read
into another database. What leaves no such trace, files or a disk put back as they were, the operator says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import structlog

from ledger_server.background import in_background
from ledger_server.domain.ids import REGISTRY, new_id
from ledger_server.storage import sql
from ledger_server.storage.pool import COMMAND_SECONDS, CONNECTION_ERRORS, Connection, connect_alone, set_codecs

log = structlog.get_logger()

BITE_LEDGERS = 1_000
CHECK_SECONDS = 10.0
# A database that is promoted while servers run has first been away.
AGAIN_SECONDS = 1.0
# Looks that fail in a row are told to the operator from here on.
FAILURES_TOLD = 2
# Any number will do, as long as all servers use the same one and migrations another.
_ADVISORY_LOCK = 0x1ED6E3


async def renew_epochs(dsn: str) -> int:
    """Gives every ledger, and the registry of them, an epoch that it never had; returns how many ledgers there are.

    May be interrupted and run again, also while servers run: their streams end with EPOCH_CHANGED.
    """
    connection = await _connect(dsn)
    try:
        count = await _renew(connection)
        try:
            here, _ = await _read_origin(connection)
            await connection.execute(sql.record_origin, REGISTRY, here)
        except asyncpg.PostgresError as error:
            log.info("origin_unknown", error=type(error).__name__)
        return count
    finally:
        await connection.close()


@asynccontextmanager
async def noticing_restores(dsn: str) -> AsyncIterator[None]:
    """Renews the epochs of a database that was restored: before the block, and within it if it happens then.

    Where the origin cannot be read, or may not be recorded, that is logged, and left to the operator.
    """
    watcher = Watcher(dsn)
    if not await watcher.look():
        # At once: who only migrates is soon gone.
        await watcher.look()
    try:
        async with in_background(watcher.run(), "restores-watched"):
            yield
    finally:
        watcher.close()


class Watcher:
    """Looks at the origin over a connection of its own.

    One look may fail by anything, a long pause of this process too, and the next makes up for it.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Connection | None = None
        self._failures_in_a_row = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS if self._connection else AGAIN_SECONDS)
            await self.look()

    async def look(self) -> bool:
        """Whether it could; never raises: without it epochs are the operator's."""
        try:
            if self._connection is None:
                self._connection = await _connect(self._dsn)
            await _renew_if_restored(self._connection)
        except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
            self.close()
            self._failures_in_a_row += 1
            if self._failures_in_a_row == FAILURES_TOLD:
                remedy = "new-epoch after a restore, unless restores_noticed_again follows"
                log.warning("restores_not_noticed", error=type(error).__name__, remedy=remedy)
            return False
        if self._failures_in_a_row >= FAILURES_TOLD:
            log.info("restores_noticed_again")
        self._failures_in_a_row = 0
        return True

    def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def _renew_if_restored(connection: Connection) -> None:
    here, recorded = await _read_origin(connection)
    if here == recorded:
        return
    # One server does it, and the others find it done. The lock goes with the connection, which fails with any of this.
    await connection.execute("SELECT pg_advisory_lock($1)", _ADVISORY_LOCK)
    here, recorded = await _read_origin(connection)
    if recorded not in (None, here):
        ledgers = await _renew(connection)
        log.warning("restored_database", ledgers=ledgers, consequence="they have new epochs", was=recorded, now=here)
    # Last, so that whoever is interrupted begins again.
    await connection.execute(sql.record_origin, REGISTRY, here)
    await connection.execute("SELECT pg_advisory_unlock($1)", _ADVISORY_LOCK)


async def _read_origin(connection: Connection) -> tuple[str, str | None]:
    """Where the database is, and where it was when it was recorded, if it was."""
    (row,) = await connection.fetch(sql.read_origin, REGISTRY)
    return row["here"], row["recorded"]


async def _connect(dsn: str) -> Connection:
    connection = await connect_alone(dsn, "ledger-epochs", command_seconds=COMMAND_SECONDS)
    await set_codecs(connection)
    return connection


async def _renew(connection: Connection) -> int:
    count, last_id = 0, None
    while rows := await connection.fetch(sql.list_ledger_ids, last_id, BITE_LEDGERS):
        ids = [row["ledger_id"] for row in rows]
        await connection.execute(sql.renew_epochs, ids, [new_id() for _ in ids])
        count, last_id = count + len(ids) - ids.count(REGISTRY), ids[-1]
    return count
