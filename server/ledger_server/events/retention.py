"""Retention: events older than asked for are pruned from the log's beginning, a bite at a time, off the lanes.

Streams, categories by `known_at`, large overlaps that are being summed, and verification read events; no balance is
lost by it. Each bite is one statement, which moves the ledger's checkpoint in the same breath: a server that is killed
in between leaves a log that can be verified from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

import asyncpg
import structlog

from ledger_server.domain.errors import DatabaseUnavailable, PruningNotAllowed
from ledger_server.domain.ids import REGISTRY, ledger_text
from ledger_server.domain.refusals import ledger_not_found
from ledger_server.storage import sql
from ledger_server.storage.pool import CONNECTION_ERRORS, Connection, connect_background
from ledger_server.storage.pruning import pruning_rounds

log = structlog.get_logger()

BITE_EVENTS = 500
BITE_PAUSE_SECONDS = 0.02
PAGE_LEDGERS = 500
# Of one call without a deadline.
PRUNE_SECONDS = 60.0
INTERVAL_SECONDS_MIN, INTERVAL_SECONDS_MAX = 0.5, 60.0


@asynccontextmanager
async def pruning(dsn: str, retention: timedelta | None) -> AsyncIterator[None]:
    """Prunes within the block; None keeps all events. Any number of servers may, also with other retentions."""
    if retention is None:
        yield
        return

    async def prune(connection: Connection) -> None:
        await _prune_ledgers(connection, retention)

    interval_seconds = min(max(retention.total_seconds() / 100, INTERVAL_SECONDS_MIN), INTERVAL_SECONDS_MAX)
    async with pruning_rounds("pruning", dsn, interval_seconds, prune):
        yield


async def _prune_ledgers(connection: Connection, retention: timedelta) -> None:
    """One round through all ledgers, the registry of them included."""
    last_id = REGISTRY
    await _prune(connection, REGISTRY, retention)
    while page := await connection.fetch(sql.find_prunable, last_id, retention, PAGE_LEDGERS):
        for row in page:
            if row["is_due"]:
                await _prune(connection, row["ledger_id"], retention)
        last_id = page[-1]["ledger_id"]


async def _prune(connection: Connection, ledger_id: int, retention: timedelta) -> None:
    pruned = 0
    async for count in _bites(connection, ledger_id, retention):
        pruned += count
    if pruned:
        log.info("events_pruned", ledger_id=ledger_text(ledger_id), events=pruned)


async def _bites(connection: Connection, ledger_id: int, retention: timedelta) -> AsyncGenerator[int, None]:
    """Prunes bite after bite, and says how many events each was."""
    while True:
        # Serializable, it would be refused where another server prunes too; here it waits and finds nothing left.
        async with connection.transaction(isolation="read_committed"):
            count = await connection.fetchval(sql.prune_events, ledger_id, retention, BITE_EVENTS)
        yield count
        if count < BITE_EVENTS:
            break
        await asyncio.sleep(BITE_PAUSE_SECONDS)


class Pruned(NamedTuple):
    """How many events went, and whether there was no time for all that should."""

    events: int
    more: bool


class Pruner:
    """Prunes when somebody asks for it, as the role of `dsn`."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def prune(self, ledger_id: int, older_than: timedelta, timeout: float | None) -> Pruned:
        """Prunes one ledger's events that are older, for most of `timeout` seconds at most.

        Raises LedgerNotFound, PruningNotAllowed, DatabaseUnavailable.
        """
        give_up_at = time.monotonic() + PRUNE_SECONDS if timeout is None else time.monotonic() + timeout * 0.8
        pruned = 0
        try:
            connection = await connect_background(self._dsn, "ledger-pruning")
            try:
                if await connection.fetchrow(sql.read_position, ledger_id) is None:
                    raise ledger_not_found(ledger_id)
                async with aclosing(_bites(connection, ledger_id, older_than)) as bites:
                    async for count in bites:
                        pruned += count
                        if count == BITE_EVENTS and time.monotonic() > give_up_at:
                            return Pruned(pruned, more=True)
            finally:
                connection.terminate()
        except asyncpg.InsufficientPrivilegeError as error:
            raise PruningNotAllowed("the role that this server prunes as may not remove events") from error
        except CONNECTION_ERRORS as error:
            raise DatabaseUnavailable("the database is unavailable; prune again", retry_seconds=1.0) from error
        return Pruned(pruned, more=False)
