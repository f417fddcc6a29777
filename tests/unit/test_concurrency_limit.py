"""How many batches are written at a time: fewer after conflicts, more after commits, and nobody is held up for ever."""

from __future__ import annotations

import asyncio

from ledger_server.posting.concurrency import COMMITS, ConcurrencyLimit
from tests.patience import PATIENCE_SECONDS


class Writer:
    """Somebody who writes until told to end."""

    def __init__(self, concurrency: ConcurrencyLimit) -> None:
        self.is_writing = asyncio.Event()
        self.ends = asyncio.Event()
        self.task = asyncio.create_task(self._write(concurrency))

    async def _write(self, concurrency: ConcurrencyLimit) -> None:
        async with concurrency.turn():
            self.is_writing.set()
            await self.ends.wait()


async def turns_of_loop() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def writing(writers: list[Writer]) -> list[int]:
    await turns_of_loop()
    return [n for n, writer in enumerate(writers) if writer.is_writing.is_set() and not writer.task.done()]


def alone() -> ConcurrencyLimit:
    concurrency = ConcurrencyLimit(4)
    for _ in range(3):
        concurrency.conflicted()
    assert concurrency.limit == 1
    return concurrency


async def end(*writers: Writer) -> None:
    for writer in writers:
        writer.ends.set()
    await asyncio.gather(*(writer.task for writer in writers), return_exceptions=True)


async def test_as_many_as_there_are_write_until_they_conflict() -> None:
    concurrency = ConcurrencyLimit(3)
    writers = [Writer(concurrency) for _ in range(3)]
    assert await writing(writers) == [0, 1, 2]
    await end(*writers)


async def test_each_conflict_halves_them_and_commits_raise_them_again() -> None:
    concurrency = ConcurrencyLimit(4)
    seen = [concurrency.limit]
    for _ in range(3):
        concurrency.conflicted()
        seen.append(concurrency.limit)
    for _ in range(4):
        for _ in range(COMMITS + 1):
            concurrency.committed()
        seen.append(concurrency.limit)
    assert seen == [4, 2, 1, 1, 2, 3, 4, 4]


async def test_the_turn_goes_to_who_came_first_and_never_to_two() -> None:
    concurrency = alone()
    writers = [Writer(concurrency) for _ in range(3)]
    assert await writing(writers) == [0]
    writers[0].ends.set()
    # One who comes just as the turn is handed on does not take it as well.
    late = Writer(concurrency)
    assert await writing([*writers, late]) == [1]
    await end(writers[1])
    assert await writing([*writers, late]) == [2]
    await end(writers[2])
    assert await writing([*writers, late]) == [3]
    await end(late)


async def test_who_leaves_the_line_leaves_no_turn_behind() -> None:
    concurrency = alone()
    async with concurrency.turn():
        writers = [Writer(concurrency) for _ in range(3)]
        assert await writing(writers) == []
        writers[0].task.cancel()
        await turns_of_loop()
    # The second was called this moment, and does not know it yet.
    writers[1].task.cancel()
    assert await writing(writers) == [2]
    await end(*writers)


async def test_one_who_takes_long_hands_his_turn_on_once() -> None:
    concurrency = alone()
    writers = [Writer(concurrency) for _ in range(3)]
    assert await writing(writers) == [0]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await writers[1].is_writing.wait()
    assert await writing(writers) == [0, 1], "one at a time, but for those who take long"
    await end(writers[0])
    assert await writing(writers) == [1], "his turn was not his any more"
    await end(writers[1])
    assert await writing(writers) == [2]
    await end(writers[2])
