"""Bites: a long work goes on a bite at a time, and others of the event loop have their turns in between."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

# A command counts as one, and each entry that it writes as one more: a hundred small transactions, or a large one.
BITE = 300
# Of many small commands. gRPC hands over one call a turn: with long turns, calls would wait for seconds where admission
# cannot see them. A few commands are not split; that is faster.
SMALL_BITE = 60
MANY_COMMANDS = 100


@dataclass(slots=True)
class Bites:
    """How much was done since others had a turn. Nobody else touches the book of this work meanwhile."""

    size: int = BITE
    taken: int = 0

    async def next(self) -> None:
        """Called before each command; whoever does it adds what it wrote to `taken`."""
        if self.taken >= self.size:
            self.taken = 0
            await asyncio.sleep(0)
        self.taken += 1
