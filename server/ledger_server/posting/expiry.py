"""The sweep: archives pending transactions whose expires_at has passed, by commands of their lanes like any other.

Each ledger is swept by a task of its own, so that one which is busy, stuck or full holds up no other. While it is under
way nothing more is looked for in it: however much is overdue there, it hides nothing of the others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import structlog

from ledger_server.domain.commands import ExpireTransaction
from ledger_server.domain.errors import LedgerError
from ledger_server.domain.inputs import Ref
from ledger_server.posting.concurrency import ConcurrencyLimit
from ledger_server.posting.lanes import Lanes
from ledger_server.storage import sql
from ledger_server.storage.pool import CONNECTION_ERRORS, Pool

log = structlog.get_logger()

INTERVAL_SECONDS = 0.25
# While the database is away.
INTERVAL_SECONDS_MAX = 5.0
BITE_TRANSACTIONS = 500
# Of a ledger at a time, and of so many ledgers, or callers would wait behind all that is overdue. One that takes long
# hands its turn on.
LEDGER_BITE = 100
LEDGERS_AT_A_TIME = 2
# Once so many ledgers are under way no others are looked for; the last bite may have found more.
LEDGERS_MAX = 64
# A ledger that could not be written is left alone for so long: its lane is others', and so is the worker it would keep.
REST_SECONDS = 2.0


@asynccontextmanager
async def sweeping(pool: Pool, lanes: Lanes) -> AsyncIterator[None]:
    """Sweeps within the block. Any number of servers may: the second to come finds nothing left to expire."""
    sweep = _Sweep(pool, lanes)
    task = asyncio.create_task(sweep.run(), name="expiry-sweep")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await sweep.end()


class _Sweep:
    """What is being expired, ledger by ledger."""

    def __init__(self, pool: Pool, lanes: Lanes) -> None:
        self._pool = pool
        self._lanes = lanes
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._concurrency = ConcurrencyLimit(LEDGERS_AT_A_TIME)

    async def run(self) -> None:
        """Until cancelled."""
        interval_seconds = INTERVAL_SECONDS
        while True:
            is_more = False
            try:
                is_more = await self._begin()
                interval_seconds = INTERVAL_SECONDS
            except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
                log.info("sweep_failed", error=type(error).__name__)
                interval_seconds = min(2 * interval_seconds, INTERVAL_SECONDS_MAX)
            except Exception:
                log.exception("sweep_failed")
                interval_seconds = INTERVAL_SECONDS_MAX
            pause_seconds = interval_seconds * random.uniform(0.5, 1.0)
            if is_more and self._under_way:
                tasks = self._under_way.values()
                await asyncio.wait(tasks, timeout=pause_seconds, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(pause_seconds)

    async def end(self) -> None:
        """Takes out of the lanes what is not being written yet."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self) -> bool:
        """Begins with the ledgers that have something to expire; whether they may have more than was found."""
        is_more = False
        while len(self._under_way) < LEDGERS_MAX:
            rows = await self._pool.fetch(sql.find_expired, BITE_TRANSACTIONS, list(self._under_way))
            by_ledger: dict[str, list[ExpireTransaction]] = {}
            for row in rows:
                transaction = Ref(row["transaction_id"], None)
                command = ExpireTransaction(ledger_id=row["ledger_id"], actor="ledger", transaction=transaction)
                by_ledger.setdefault(command.ledger_id, []).append(command)
            for ledger_id, commands in by_ledger.items():
                self._under_way[ledger_id] = asyncio.create_task(
                    self._expire(ledger_id, commands[:LEDGER_BITE]), name="expiry"
                )
            if len(rows) < BITE_TRANSACTIONS:
                return is_more
            is_more = True
        return is_more

    async def _expire(self, ledger_id: str, commands: Sequence[ExpireTransaction]) -> None:
        """Archives what was found in a ledger. If that cannot be done now, it rests; then the same is found again."""
        try:
            async with self._concurrency.turn():
                answers = await self._lanes.submit(commands)
            refusals = [answer for answer in answers if isinstance(answer, LedgerError)]
            for refusal in refusals:
                # One of the kind that is stored is no failure: somebody else was quicker.
                if not refusal.stored:
                    raise refusal
            if len(refusals) == len(commands):
                await _rest()
        except LedgerError as error:
            log.info("sweep_failed", ledger_id=ledger_id, error=type(error).__name__)
            await _rest()
        except Exception:
            # A bug; but it is not that of other ledgers.
            log.exception("sweep_failed", ledger_id=ledger_id)
            await _rest()
        finally:
            del self._under_way[ledger_id]


async def _rest() -> None:
    await asyncio.sleep(REST_SECONDS * random.uniform(0.5, 1.0))
