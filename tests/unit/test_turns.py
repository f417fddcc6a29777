"""Who is served next, and by whom."""

from __future__ import annotations

import asyncio

from ledger_server.posting.turns import Turns


async def test_who_arrived_first_is_served_first() -> None:
    turns: Turns[str] = Turns()
    for arrived, name in ((3.0, "third"), (1.0, "first"), (2.0, "second"), (1.0, "just behind the first")):
        turns.put(arrived, name)
    assert [await turns.get() for _ in range(4)] == ["first", "just behind the first", "second", "third"]


async def test_who_was_busy_last_serves_next() -> None:
    turns: Turns[str] = Turns()
    served: list[tuple[int, str]] = []

    async def serve(worker: int) -> None:
        while True:
            served.append((worker, await turns.get()))
            await asyncio.sleep(0)

    workers = [asyncio.create_task(serve(n)) for n in range(3)]
    await asyncio.sleep(0)
    for name in ("a", "b", "c"):
        turns.put(0.0, name)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert served == [(2, "a"), (2, "b"), (2, "c")]
    for name in ("d", "e"):
        turns.put(0.0, name)
    await asyncio.sleep(0)
    assert served[3:] == [(2, "d"), (1, "e")]
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def test_a_worker_that_left_takes_nobody_s_turn() -> None:
    turns: Turns[str] = Turns()
    stays, leaves = asyncio.create_task(turns.get()), asyncio.create_task(turns.get())
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.sleep(0)
    turns.put(0.0, "lane")
    assert await stays == "lane"
