"""Retention: events older than asked for are pruned from the log's beginning, a bite at a time, off the lanes.

Only the streams read events, so nothing else is lost by it. Each bite is one statement, which moves the ledger's
checkpoint in the same breath: a server that is killed in between leaves a log that can be verified from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import structlog

from ledger_server.domain.ids import NIL_ID
from ledger_server.storage import sql
from ledger_server.storage.pool import CONNECTION_ERRORS, Connection, connect_lane

log = structlog.get_logger()

BITE_EVENTS = 500
BITE_PAUSE_SECONDS = 0.02
PAGE_LEDGERS = 500
INTERVAL_SECONDS_MIN, INTERVAL_SECONDS_MAX = 0.5, 60.0


@asynccontextmanager
async def pruning(dsn: str, retention: timedelta | None) -> AsyncIterator[None]:
    """Prunes within the block; None keeps all events. Any number of servers may, also with other retentions."""
    if retention is None:
        yield
        return
    task = asyncio.create_task(_prune_for_ever(dsn, retention), name="pruning")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _prune_for_ever(dsn: str, retention: timedelta) -> None:
    interval_seconds = min(max(retention.total_seconds() / 100, INTERVAL_SECONDS_MIN), INTERVAL_SECONDS_MAX)
    while True:
        try:
            connection = await connect_lane(dsn)
            try:
                while True:
                    await _prune_ledgers(connection, retention)
                    await asyncio.sleep(interval_seconds)
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
            log.info("pruning_failed", error=type(error).__name__)
        await asyncio.sleep(interval_seconds)


async def _prune_ledgers(connection: Connection, retention: timedelta) -> None:
    """One round through all ledgers, the registry of them included."""
    last_id = NIL_ID
    await _prune(connection, NIL_ID, retention)
    while page := await connection.fetch(sql.find_prunable, last_id, retention, PAGE_LEDGERS):
        for row in page:
            if row["is_due"]:
                await _prune(connection, row["ledger_id"], retention)
        last_id = page[-1]["ledger_id"]


async def _prune(connection: Connection, ledger_id: str, retention: timedelta) -> None:
    pruned = 0
    while True:
        # Serializable, it would be refused where another server prunes too; here it waits and finds nothing left.
        async with connection.transaction(isolation="read_committed"):
            count = await connection.fetchval(sql.prune_events, ledger_id, retention, BITE_EVENTS)
        pruned += count
        if count < BITE_EVENTS:
            break
        await asyncio.sleep(BITE_PAUSE_SECONDS)
    if pruned:
        log.info("events_pruned", ledger_id=ledger_id, events=pruned)
