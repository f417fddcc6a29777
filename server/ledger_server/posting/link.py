"""A worker's connection: made when it is needed, made again when it was lost."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable

import asyncpg

from ledger_server.storage.pool import PLAN_SECONDS, Connection

# How long none is asked for after there was none.
NO_CONNECTION_SECONDS = 1.0
# How soon a new connection makes its plans anew for the first time; then twice as late each time, up to PLAN_SECONDS.
PLAN_SECONDS_MIN = 0.05


class Link:
    """One connection, or none at the moment."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._connected_at = self._planned_at = 0.0
        self._refused_at = -math.inf

    @property
    def is_lost(self) -> bool:
        """Whether the next use connects anew."""
        return self._connection is None or self._connection.is_closed()

    async def get(self) -> Connection:
        """The connection. From time to time it forgets plans that were made when the tables were much smaller."""
        if self._connection is None or self._connection.is_closed():
            if time.monotonic() < self._refused_at + NO_CONNECTION_SECONDS:
                raise asyncpg.TooManyConnectionsError("there was none a moment ago")
            try:
                self._connection = await self._connect()
            except asyncpg.TooManyConnectionsError:
                self._refused_at = time.monotonic()
                raise
            self._connected_at = self._planned_at = time.monotonic()
        now = time.monotonic()
        if now - self._planned_at > min(max(self._planned_at - self._connected_at, PLAN_SECONDS_MIN), PLAN_SECONDS):
            await self._connection.execute("DISCARD PLANS")
            self._planned_at = now
        return self._connection

    def drop(self) -> None:
        """Closes the connection without another word."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
