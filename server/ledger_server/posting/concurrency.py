"""How many batches are written at a time: fewer where they get in each other's way.

SERIALIZABLE tells no rows apart that are on one page of an index, and the youngest ledgers share pages. Where many of
them are written at the same time, most batches made each other fail, and again when they were repeated, until the
budget for that was spent. So each conflict halves how many are written at a time, and commits raise it again: additive
increase, multiplicative decrease.

Not a guard, and nobody is held up for long: a batch that takes its time, or waits for another server, hands its turn
on.
"""

from __future__ import annotations

import asyncio
from collections import deque

# So many commits raise the limit by one.
COMMITS = 100
# So long a batch counts as one that is being written.
TURN_SECONDS = 0.1


class ConcurrencyLimit:
    """A limit of what is written at a time, shared by the workers of a process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._writing = 0
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """How many may write at a time now."""
        return int(self._limit)

    def turn(self) -> Turn:
        """To be entered before writing: waits until few enough are writing, first come, first served."""
        return Turn(self)

    async def enter(self) -> None:
        """Returns as one of those who are writing, who calls `leave`."""
        if self._writing < self.limit:
            self._writing += 1
        else:
            await self._stand_in_line()

    def committed(self) -> None:
        """A batch was written at once."""
        self._limit = min(self._limit + 1 / COMMITS, self._most)

    def conflicted(self) -> None:
        """A batch failed because of another one."""
        self._limit = max(self._limit / 2, 1.0)

    async def _stand_in_line(self) -> None:
        """Returns as one of those who are writing."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Hands the turn on to those who still stand in line."""
        self._writing -= 1
        while self._line and self._writing < self.limit:
            turn = self._line.popleft()
            if not turn.done():
                self._writing += 1
                turn.set_result(None)


class Turn:
    """A batch that is being written; whatever takes longer than TURN_SECONDS is no longer counted."""

    __slots__ = ("_concurrency", "_timer")

    def __init__(self, concurrency: ConcurrencyLimit) -> None:
        self._concurrency = concurrency
        # None once it was handed on.
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._concurrency.enter()
        self._timer = asyncio.get_running_loop().call_later(TURN_SECONDS, self._hand_on)

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._hand_on()

    def _hand_on(self) -> None:
        self._timer = None
        self._concurrency.leave()
