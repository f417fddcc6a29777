"""The sweep: archives pending transactions whose expires_at has passed, by commands of their lanes like any other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from ledger_server.domain.commands import ExpireTransaction
from ledger_server.domain.errors import LedgerError
from ledger_server.domain.inputs import Ref
from ledger_server.posting.lanes import Lanes
from ledger_server.storage import sql
from ledger_server.storage.pool import CONNECTION_ERRORS, Pool

log = structlog.get_logger()

INTERVAL_SECONDS = 0.25
# While the database is away.
INTERVAL_SECONDS_MAX = 5.0
BITE_TRANSACTIONS = 500


@asynccontextmanager
async def sweeping(pool: Pool, lanes: Lanes) -> AsyncIterator[None]:
    """Sweeps within the block. Any number of servers may: the second to come finds nothing left to expire."""
    task = asyncio.create_task(_sweep_for_ever(pool, lanes), name="expiry-sweep")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _sweep_for_ever(pool: Pool, lanes: Lanes) -> None:
    interval_seconds = INTERVAL_SECONDS
    while True:
        try:
            count = await _sweep(pool, lanes)
            interval_seconds = INTERVAL_SECONDS
        except (LedgerError, *CONNECTION_ERRORS) as error:
            log.info("sweep_failed", error=type(error).__name__)
            count, interval_seconds = 0, min(2 * interval_seconds, INTERVAL_SECONDS_MAX)
        if count < BITE_TRANSACTIONS:
            await asyncio.sleep(interval_seconds * random.uniform(0.5, 1.0))


async def _sweep(pool: Pool, lanes: Lanes) -> int:
    """Archives one bite of expired transactions; returns how many were found."""
    rows = await pool.fetch(sql.find_expired, BITE_TRANSACTIONS)
    by_ledger: dict[str, list[ExpireTransaction]] = {}
    for row in rows:
        command = ExpireTransaction(
            ledger_id=row["ledger_id"], actor="ledger", transaction=Ref(row["transaction_id"], None)
        )
        by_ledger.setdefault(command.ledger_id, []).append(command)
    for commands in by_ledger.values():
        await lanes.submit(commands)
    return len(rows)
