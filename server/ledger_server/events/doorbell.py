"""The doorbell between processes: LISTEN and NOTIFY that say "look again", nothing more.

Everything works without it, a little later, because readers poll as well. So no trouble with it reaches anybody: it
is logged, and tried again. One connection rings and listens; hearing its own ring is what proves it alive, also
behind a proxy that swallows packets or notifications.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import structlog

from ledger_server.storage.pool import Connection, connect_doorbell

log = structlog.get_logger()

CHANNEL = "ledger_committed"
# Each ring is a commit, so those that come closer together are one.
RING_INTERVAL_SECONDS = 0.02
CHECK_SECONDS = 10.0
ECHO_SECONDS = 5.0
BACKOFF_SECONDS_MIN = 0.2
BACKOFF_SECONDS_MAX = 30.0


class Doorbell:
    """Rings for other processes, and calls `heard` when one of them rang."""

    def __init__(self, dsn: str, heard: Callable[[], None]) -> None:
        self._dsn = dsn
        self._heard = heard
        self._rung = asyncio.Event()
        self._echo = asyncio.Event()

    def ring(self) -> None:
        """Cheap, and never fails."""
        self._rung.set()

    async def run(self) -> None:
        """Until cancelled."""
        backoff_seconds = BACKOFF_SECONDS_MIN
        while True:
            try:
                async with self._listening() as connection:
                    # Whoever rang while nobody listened has been missed.
                    self._heard()
                    while True:
                        await self._ring(connection)
                        if backoff_seconds != BACKOFF_SECONDS_MIN:
                            log.info("doorbell_found")
                            backoff_seconds = BACKOFF_SECONDS_MIN
                        await asyncio.sleep(RING_INTERVAL_SECONDS)
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(CHECK_SECONDS):
                                await self._rung.wait()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                if backoff_seconds == BACKOFF_SECONDS_MIN:
                    log.warning("doorbell_lost", error=type(error).__name__, consequence="streams poll")
            await asyncio.sleep(backoff_seconds * random.uniform(0.5, 1.0))
            backoff_seconds = min(2 * backoff_seconds, BACKOFF_SECONDS_MAX)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[Connection]:
        connection = await connect_doorbell(self._dsn)
        try:
            # A ring need not survive a crash, so it does not wait for the disk.
            await connection.execute("SET synchronous_commit = off")
            # A connection that was closed on us is noticed at the next ring, so ring.
            connection.add_termination_listener(lambda _: self.ring())
            await connection.add_listener(CHANNEL, self._hear)
            yield connection
        finally:
            # Not close(), which would wait for a connection that is dead.
            connection.terminate()

    async def _ring(self, connection: Connection) -> None:
        self._rung.clear()
        self._echo.clear()
        await connection.execute(f"NOTIFY {CHANNEL}")
        async with asyncio.timeout(ECHO_SECONDS):
            await self._echo.wait()

    def _hear(self, connection: Any, pid: int, _channel: str, _payload: object) -> None:
        if pid == connection.get_server_pid():
            self._echo.set()
        else:
            self._heard()
