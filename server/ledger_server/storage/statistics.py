"""The planner's statistics while tables are new.

Until a table is first analyzed PostgreSQL takes all indexes that begin with ledger_id for equally good, and keeps the
plan it guessed: checking one foreign key by the wrong index took 1 ms instead of 3 us. Autovacuum comes by once a
minute; here new tables are analyzed within a second of their first rows, and again as they grow, which also
makes every session plan anew. Once tables are large autovacuum does it alone, as it does where only the owner of the
tables may analyze them and LEDGER_MIGRATION_DATABASE_URL, which names it, is not given.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import asyncpg
import structlog

from ledger_server.background import in_background
from ledger_server.storage import sql
from ledger_server.storage.pool import CONNECTION_ERRORS, Connection, connect_background

log = structlog.get_logger()

INTERVAL_SECONDS = 0.2
AGAIN_SECONDS = 10.0
# Grown by this factor since the planner last looked.
GROWTH = 4
LARGE_PAGES = 2_000
# No wrong index of such a table costs much.
SMALL_PAGES = 8


def fresh_statistics(dsn: str) -> AbstractAsyncContextManager[None]:
    """Keeps statistics fresh within the block, until the tables are large."""
    return in_background(_watch(dsn), "fresh-statistics")


async def _watch(dsn: str) -> None:
    """An accelerator: whatever goes wrong here, the books are right without it."""
    while True:
        try:
            connection = await connect_background(dsn, "ledger-statistics")
            try:
                while not await _analyze_grown(connection):
                    await asyncio.sleep(INTERVAL_SECONDS)
                return
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
            log.info("statistics_not_watched", error=type(error).__name__)
        await asyncio.sleep(AGAIN_SECONDS)


async def _analyze_grown(connection: Connection) -> bool:
    """Analyzes the tables that have outgrown their statistics; True once the lines are many, or nothing is ours."""
    tables = await connection.fetch(sql.read_table_sizes)
    for table in tables:
        # None is known too where all there was had not been committed when it was looked for.
        is_due = table["pages"] and (
            table["known_rows"] <= 0 or table["pages"] >= GROWTH * max(table["known_pages"], 1)
        )
        if is_due and await _is_committed(connection, table["table_name"], table["pages"]):
            await connection.execute(f'ANALYZE "{table["table_name"]}"')
    return not tables or any(t["table_name"] == "account_lines" and t["pages"] > LARGE_PAGES for t in tables)


async def _is_committed(connection: Connection, table_name: str, pages: int) -> bool:
    """Whether there are about as many rows to see as there are pages.

    While a long first batch is being written there are none, and to know that of so many pages is worse than to know
    nothing: all indexes would be equally good again, for the foreign keys of that very batch.
    """
    if pages <= SMALL_PAGES:
        return True
    rows = await connection.fetch(f'SELECT 1 FROM "{table_name}" LIMIT {pages}')  # noqa: S608 - the catalogue's own name
    return len(rows) == pages
