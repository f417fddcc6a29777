"""Turns: which lane is served next, and by which worker.

The lane whose oldest command has waited longest, by the worker that was busy last: its connections are warm, and so are
PostgreSQL's processes behind them. A lone caller who went round all workers found each of them cold, at twice
PostgreSQL's time.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """A priority queue whose last waiter is the first to be served."""

    def __init__(self) -> None:
        self._line: list[tuple[float, int, T]] = []
        self._count = 0
        self._idle: list[asyncio.Future[None]] = []

    def put(self, arrived: float, item: T) -> None:
        """Stands in line behind those who arrived earlier."""
        self._count += 1
        heappush(self._line, (arrived, self._count, item))
        while self._idle:
            waiter = self._idle.pop()
            if not waiter.done():
                waiter.set_result(None)
                break

    async def get(self) -> T:
        """The first in line, who leaves it."""
        while not self._line:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter
        return heappop(self._line)[-1]
