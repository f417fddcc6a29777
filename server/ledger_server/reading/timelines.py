"""Timelines: the versions of busy accounts, folded by effective time, beside the lanes.

An account's newest versions are read one by one; once they are many they are folded into a *run*, sorted by effective
time and cut into blocks, of which a read needs one. Runs are merged as they grow in number, so that there are few of
them, and each version is sorted again only a few times. All of this is derived from account_versions: a fold that is
lost, or done by two servers at once, does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg
import structlog

from ledger_server.background import in_background
from ledger_server.domain.book import TAIL_VERSIONS
from ledger_server.storage import sql
from ledger_server.storage.pool import CONNECTION_ERRORS, Connection, connect_background

log = structlog.get_logger()

AGAIN_SECONDS = 1.0
# Who asks for more than this is asked to ask again.
WAITING_MAX = 10_000


class Sizes(NamedTuple):
    """When versions are folded, and into what. A run's *level* is how often it may still be multiplied by `fanout`.

    tail_versions: so many unfolded versions are worth a run. fanout: so many runs of a level make one of the next.
    bite_versions: so many are folded at a time, at most. block_changes: in a block.
    """

    tail_versions: int = TAIL_VERSIONS
    fanout: int = 8
    bite_versions: int = 64 * TAIL_VERSIONS
    block_changes: int = 128


SIZES = Sizes()


class Fold(NamedTuple):
    """A run to be made: of the last runs, by their starts, and of unfolded versions."""

    run_start: int
    merged: Sequence[int]
    first_version: int
    last_version: int


def next_fold(folded_version: int, run_starts: Sequence[int], lock_version: int, sizes: Sizes) -> Fold | None:
    """What to fold of an account at this lock_version; None while the unfolded versions are few.

    Of the runs at the end, all smaller than some level, as many are merged as come to that level together.
    """
    if lock_version - folded_version < sizes.tail_versions:
        return None
    last_version = min(lock_version, folded_version + sizes.bite_versions)
    ends = [*run_starts, folded_version + 1]
    merged = len(run_starts)
    level_versions = sizes.tail_versions
    while True:
        level_versions *= sizes.fanout
        n = len(run_starts)
        while n > 0 and ends[n] - ends[n - 1] < level_versions:
            n -= 1
        if last_version - ends[n] + 1 >= level_versions:
            merged = n
        elif n == 0:
            break
    return Fold(ends[merged], run_starts[merged:], folded_version + 1, last_version)


async def fold(connection: Connection, ledger_id: int, account_id: str, sizes: Sizes) -> bool:
    """Makes one run of an account's versions; False if there is nothing to fold, or another server is at it."""
    # Each statement must see what was committed before the lock was taken, so no snapshot for all of them.
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(sql.insert_timeline, ledger_id, account_id)
        timeline = await connection.fetchrow(sql.lock_timeline, ledger_id, account_id)
        if timeline is None:
            return False
        starts = timeline["run_starts"]
        new = next_fold(timeline["folded_version"], starts, timeline["lock_version"], sizes)
        if new is None:
            return False
        await connection.execute(
            sql.fold_versions,
            ledger_id,
            account_id,
            new.merged,
            new.first_version,
            new.last_version,
            new.run_start,
            sizes.block_changes,
        )
        kept = starts[: len(starts) - len(new.merged)]
        await connection.execute(sql.update_timeline, ledger_id, account_id, new.last_version, [*kept, new.run_start])
    return True


class Folding:
    """Folds the accounts that it is asked to, one after another, on a connection of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._waiting: dict[tuple[int, str], None] = {}
        self._asked = asyncio.Event()

    def ask(self, ledger_id: int, account_ids: Iterable[str]) -> None:
        """Folds these accounts soon. Asking for one that has nothing to fold, or twice, costs next to nothing."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting.update(((ledger_id, account_id), None) for account_id in account_ids)
            self._asked.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Folding]:
        """Folds within the block. What was asked for and not done yet at its end is asked for again by reads."""
        async with in_background(self._serve(), "folding"):
            yield self

    async def _serve(self) -> None:
        while True:
            await self._asked.wait()
            try:
                connection = await connect_background(self._dsn, "ledger-folding")
                try:
                    await self._fold_all(connection)
                finally:
                    connection.terminate()
            except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
                log.info("folding_failed", error=type(error).__name__)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _fold_all(self, connection: Connection) -> None:
        while True:
            await self._asked.wait()
            while self._waiting:
                ledger_id, account_id = account = next(iter(self._waiting))
                self._waiting.pop(account)
                try:
                    while await fold(connection, ledger_id, account_id, SIZES):
                        pass
                except BaseException:
                    # Behind the others, whom it must not keep from being folded.
                    self._waiting[account] = None
                    raise
            self._asked.clear()
