"""Bites: the short snapshots that a verification consists of, each well below the second that one may be held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import asyncpg

from ledger_server.domain.errors import DatabaseUnavailable
from ledger_server.domain.times import EPOCH
from ledger_server.storage.pool import SNAPSHOT_SECONDS, Connection, Pool, snapshot

T = TypeVar("T")

# Raised by the database, or here, where a value is one that nothing can be made of: a sum that is no number, a version
# after the last.
UNREADABLE = (asyncpg.DataError, ValueError, OverflowError)

# For so long a database that is away is waited for: a verification of hours should outlive a restart.
AWAY_SECONDS = 60.0
PAUSE_SECONDS = 0.5


class BiteTooLargeError(Exception):
    """What was to be read takes longer than a snapshot may be held, or is unreadable in part; read less at once."""


async def bite(pool: Pool, read: Callable[[Connection], Awaitable[T]]) -> T:
    """What `read` gives on a snapshot of its own. Raises BiteTooLargeError, or DatabaseUnavailable after a minute."""
    give_up_at = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            async with snapshot(pool) as connection, asyncio.timeout(SNAPSHOT_SECONDS):
                return await read(connection)
        except DatabaseUnavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                raise BiteTooLargeError from error
            if time.monotonic() > give_up_at:
                raise
        await asyncio.sleep(PAUSE_SECONDS)


def finite(time: datetime) -> datetime:
    """A time that can be reckoned with, also for what the service never writes: infinite, or before 1970."""
    return max(time if time.tzinfo else time.replace(tzinfo=UTC), EPOCH)
