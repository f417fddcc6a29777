"""SIGINT and SIGTERM, from the process's first line to its last.

An event loop's own handlers are there only while it runs: before it and behind it a signal would end the process with
the signal's number, as if it had crashed. Loads nothing that takes time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_STOPPING = (signal.SIGINT, signal.SIGTERM)
Hear = Callable[[signal.Signals], object]


def status_of(number: signal.Signals) -> int:
    """The exit status of who was stopped by a signal before the work was done, as shells count."""
    return 128 + number


class StopSignals:
    """Within the context nothing but what is asked for is done on a signal, and behind it nothing at all.

    is_service: to give up the start of a service is no failure; whoever waits for other work must see that it is not
    done.
    """

    def __init__(self, *, is_service: bool) -> None:
        self._is_service = is_service
        self._hear: Hear = self._exit

    def __enter__(self) -> Self:
        for number in _STOPPING:
            signal.signal(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        # The interpreter puts back what a process does by default while it ends, but leaves what is ignored.
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def heard(self, loop: AbstractEventLoop, hear: Hear) -> Iterator[None]:
        """Within the block the running loop calls `hear` for each signal; behind it they are ignored."""
        self._hear = lambda number: loop.call_soon_threadsafe(hear, number)
        try:
            yield
        finally:
            self._hear = _ignore

    def _received(self, number: int, _: FrameType | None) -> None:
        self._hear(signal.Signals(number))

    def _exit(self, number: signal.Signals) -> None:
        """Nothing has begun, so there is nothing to end."""
        os._exit(0 if self._is_service else status_of(number))


def _ignore(_: signal.Signals) -> None:
    pass
