"""Retention of request ids: stored outcomes older than asked for are forgotten, a bite at a time, off the lanes.

A request_id that is forgotten may be used again, and has an effect again. So they are kept for a week at least.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from ledger_server.domain.ids import ledger_text
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection
from ledger_server.storage.pruning import pruning_rounds

log = structlog.get_logger()

BITE_REQUESTS = 500
BITE_PAUSE_SECONDS = 0.02
PAGE_LEDGERS = 500
# A round looks at all request ids there are, so there are few: an outcome may live longer by such a part of its time.
ROUNDS = 24


@asynccontextmanager
async def forgetting(dsn: str, retention: timedelta | None) -> AsyncIterator[None]:
    """Forgets within the block; None keeps all outcomes. Any number of servers may, also with other retentions."""
    if retention is None:
        yield
        return

    async def forget(connection: Connection) -> None:
        last_id = None
        while page := await connection.fetch(sql.list_ledger_ids, last_id, PAGE_LEDGERS):
            for row in page:
                await _forget(connection, row["ledger_id"], retention)
            last_id = page[-1]["ledger_id"]

    async with pruning_rounds("forgetting", dsn, retention.total_seconds() / ROUNDS, forget):
        yield


async def _forget(connection: Connection, ledger_id: int, retention: timedelta) -> None:
    """One walk along a ledger's request ids."""
    forgotten, last_id = 0, ""
    while True:
        # Serializable, it would be refused where another server prunes too; here it waits and finds nothing left.
        async with connection.transaction(isolation="read_committed"):
            bite = await connection.fetchrow(sql.prune_requests, ledger_id, last_id, retention, BITE_REQUESTS)
        assert bite is not None
        forgotten += bite["pruned"]
        if bite["seen"] < BITE_REQUESTS:
            break
        last_id = bite["last_request_id"]
        await asyncio.sleep(BITE_PAUSE_SECONDS)
    if forgotten:
        log.info("requests_pruned", ledger_id=ledger_text(ledger_id), requests=forgotten)
