"""What a client hears on a stream."""

from __future__ import annotations

import asyncio

from ledger_client import Event, EventStream
from ledger_client.watch import BalanceStream
from tests.patience import PATIENCE_SECONDS


async def events_up_to(stream: BalanceStream | EventStream, position: int) -> list[Event]:
    """All of them until the stream has come to a position."""
    events = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (stream.position or 0) < position:
            if isinstance(message := await anext(stream), Event):
                events.append(message)
    return events
