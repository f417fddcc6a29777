"""What all pruning has in common: rounds in the background, on a connection of its own, which outlive the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import asyncpg
import structlog

from ledger_server.background import in_background
from ledger_server.storage.pool import CONNECTION_ERRORS, Connection, connect_background

log = structlog.get_logger()

INTERVAL_SECONDS_MAX = 60.0

Round = Callable[[Connection], Awaitable[None]]


def pruning_rounds(name: str, dsn: str, interval_seconds: float, prune: Round) -> AbstractAsyncContextManager[None]:
    """One round after the other within the block, as the role of `dsn`, with a pause in between.

    After a failure the next round begins within a minute, from its beginning.
    """
    return in_background(_prune_for_ever(name, dsn, interval_seconds, prune), name)


async def _prune_for_ever(name: str, dsn: str, interval_seconds: float, prune: Round) -> None:
    while True:
        try:
            connection = await connect_background(dsn, f"ledger-{name}")
            try:
                while True:
                    await prune(connection)
                    await asyncio.sleep(interval_seconds)
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
            log.info("pruning_failed", error=type(error).__name__)
        await asyncio.sleep(min(interval_seconds, INTERVAL_SECONDS_MAX))
