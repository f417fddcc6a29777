"""The door of a server: once it is closed, calls are refused with a reason before the server itself is stopped.

A stopped gRPC server answers CANCELLED to calls that are on their way to it or not yet picked up, which no client
repeats. So for a moment they are still taken, and told UNAVAILABLE, which every client repeats elsewhere or later.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import TypeVar

from ledger_server.domain.errors import Overloaded, ShuttingDown

# Nobody came for this long: whoever was on his way has arrived.
QUIET_SECONDS = 0.02
# Some clients call again and again without a pause.
QUIET_SECONDS_MAX = 0.5
# Requests that are being answered; as messages and commands they take several times as much.
BYTES_UNDER_WAY_MAX = 128 * 1024 * 1024
OVERLOADED_SECONDS = 1.0

_Message = TypeVar("_Message")


class Door:
    """Open until it is closed, which is final."""

    def __init__(self) -> None:
        self._is_closed = False
        self._closing = asyncio.Event()
        self._knocked_at = 0.0
        self._bytes_under_way = 0

    def enter(self, request_bytes: int = 0) -> None:
        """Called by every call first; call `leave` with as many bytes.

        Raises ShuttingDown once the door is closed, and Overloaded while there is no room for the request.
        """
        self._knocked_at = time.monotonic()
        self._bytes_under_way += request_bytes
        if self._is_closed:
            raise _shutting_down()
        if self._bytes_under_way > BYTES_UNDER_WAY_MAX:
            retry_seconds = OVERLOADED_SECONDS * random.uniform(0.5, 1.5)
            raise Overloaded("too many bytes of requests are under way; nothing was done", retry_seconds=retry_seconds)

    def leave(self, request_bytes: int) -> None:
        """Called when the call is answered, also if it was not let in."""
        self._bytes_under_way -= request_bytes

    async def admitted(self, messages: AsyncIterator[_Message]) -> AsyncIterator[_Message]:
        """A caller's messages. Raises ShuttingDown when the door is closed, also at one who pauses."""
        closing = asyncio.create_task(self._closing.wait())
        reading: asyncio.Future[_Message] | None = None
        try:
            while True:
                reading = asyncio.ensure_future(anext(messages))
                await asyncio.wait([reading, closing], return_when=asyncio.FIRST_COMPLETED)
                if self._is_closed:
                    raise _shutting_down()
                try:
                    yield reading.result()
                except StopAsyncIteration:
                    return
        finally:
            closing.cancel()
            if reading is not None:
                reading.cancel()

    async def close(self) -> None:
        """Refuses all further calls; returns when none are on their way any more, as far as can be told."""
        self._is_closed = True
        self._closing.set()
        give_up_at = time.monotonic() + QUIET_SECONDS_MAX
        while (now := time.monotonic()) < min(self._knocked_at + QUIET_SECONDS, give_up_at):
            await asyncio.sleep(self._knocked_at + QUIET_SECONDS - now)


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("the server is shutting down; nothing was done", retry_seconds=0.5)
