"""Who works for long lets others have their turns, by what was written as well as by how many commands there were."""

from __future__ import annotations

import asyncio

import pytest

from ledger_server.posting.bites import BITE, SMALL_BITE, Bites


@pytest.mark.parametrize(
    ("size", "commands", "entries", "turns"),
    [
        pytest.param(BITE, 100, 2, 0, id="a few small ones in one go"),
        pytest.param(SMALL_BITE, 100, 2, 4, id="many small ones, twenty at a time"),
        pytest.param(BITE, 601, 0, 2, id="what is refused is work, too"),
        pytest.param(BITE, 20, 1_000, 19, id="large ones one at a time"),
    ],
)
async def test_others_have_their_turns(size: int, commands: int, entries: int, turns: int) -> None:
    seen = 0

    async def look() -> None:
        nonlocal seen
        while True:
            await asyncio.sleep(0)
            seen += 1

    looking = asyncio.create_task(look())
    await asyncio.sleep(0)
    bites = Bites(size)
    for _ in range(commands):
        await bites.next()
        bites.taken += entries
    looking.cancel()
    assert seen == turns
