"""Bites: a long work goes on a bite at a time, and others of the event loop have their turns in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

# A command counts as one, and each entry that it writes as one more: a hundred small transactions, or a large one.
BITE = 300
# Of many small commands. gRPC hands over one call a turn: with long turns, calls would wait for seconds where admission
# cannot see them. A few commands are not split; that is faster.
SMALL_BITE = 60
MANY_COMMANDS = 100
# While a ledger is locked PostgreSQL hears from who decides, for whoever is silent is taken for dead after ten seconds.
ALIVE_SECONDS = 1.0


@dataclass(slots=True)
class Bites:
    """How much was done since others had a turn. Nobody else touches the book of this work meanwhile."""

    size: int = BITE
    taken: int = 0
    # Called between bites, every ALIVE_SECONDS.
    keep_alive: Callable[[], Awaitable[None]] | None = None
    _alive_at: float = field(default_factory=time.monotonic)

    async def next(self) -> None:
        """Called before each command; whoever does it adds what it wrote to `taken`."""
        if self.taken >= self.size:
            self.taken = 0
            await asyncio.sleep(0)
            if self.keep_alive is not None and time.monotonic() - self._alive_at > ALIVE_SECONDS:
                await self.keep_alive()
                self._alive_at = time.monotonic()
        self.taken += 1
