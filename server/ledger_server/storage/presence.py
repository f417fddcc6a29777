"""Whether the database answers, for those who choose a server to send calls to.

Asked on a connection of its own, so that many long reads are not taken for an absence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import asyncpg
import structlog

from ledger_server.background import in_background
from ledger_server.storage.pool import CONNECTION_ERRORS, Connection, connect_presence

log = structlog.get_logger()

ASK_SECONDS = 0.5
# Without an answer for so long it is away: a restart of PostgreSQL alone should send nobody elsewhere.
AWAY_SECONDS = 3.0

# Told each time that it comes or goes; at first it is taken for present.
Told = Callable[[bool], Awaitable[None]]


def asking(dsn: str, told: Told) -> AbstractAsyncContextManager[None]:
    """Asks within the block, and tells of each change."""
    return in_background(_ask_for_ever(dsn, told), "database-presence")


async def _ask_for_ever(dsn: str, told: Told) -> None:
    connection: Connection | None = None
    answered_at, is_present = time.monotonic(), True
    try:
        while True:
            try:
                async with asyncio.timeout(AWAY_SECONDS):
                    connection = connection or await connect_presence(dsn)
                    await connection.execute("SELECT 1")
                answered_at = time.monotonic()
            except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
                reason = type(error).__name__
                if connection is not None:
                    # Not close(), which would wait for a connection that is dead.
                    connection.terminate()
                    connection = None
            was_present, is_present = is_present, time.monotonic() - answered_at < AWAY_SECONDS
            if is_present and not was_present:
                log.warning("database_back")
            elif was_present and not is_present:
                log.warning("database_away", error=reason)
            if is_present != was_present:
                await told(is_present)
            await asyncio.sleep(ASK_SECONDS)
    finally:
        if connection is not None:
            connection.terminate()
