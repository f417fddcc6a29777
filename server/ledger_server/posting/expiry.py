"""The sweep: archives pending transactions whose expires_at has passed, by commands of their lanes like any other.

Each ledger is swept by a task of its own, so that one which is busy, stuck or full holds up no other. While it is under
way, or rests because it could not be written, nothing more is looked for in it: however much is overdue there, it hides
nothing of the others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import asyncpg
import structlog

from ledger_server.background import end_tasks, in_background
from ledger_server.domain.commands import LEDGER_ACTOR, ExpireTransaction
from ledger_server.domain.errors import LedgerError
from ledger_server.domain.ids import ledger_text
from ledger_server.domain.inputs import Ref
from ledger_server.posting.concurrency import ConcurrencyLimit
from ledger_server.posting.lanes import Lanes
from ledger_server.storage import sql
from ledger_server.storage.pool import CONNECTION_ERRORS, Pool
from ledger_server.storage.rows import Row

log = structlog.get_logger()

INTERVAL_SECONDS = 0.25
# While the database is away.
INTERVAL_SECONDS_MAX = 5.0
BITE_TRANSACTIONS = 500
# Of a ledger at a time, at least one transaction, and of so many ledgers, or callers would wait behind all that is
# overdue. One that takes long hands its turn on.
LEDGER_BITE = 100
LEDGER_BITE_ENTRIES = 2_000
LEDGERS_AT_A_TIME = 2
# Once so many ledgers are under way no others are looked for; the last bite may have found more.
LEDGERS_MAX = 64
# A ledger that could not be written is left alone for so long: its lane is others', and so is the worker it would keep.
# So is one where what was refused is found and refused again.
REST_SECONDS = 2.0


@asynccontextmanager
async def sweeping(pool: Pool, lanes: Lanes) -> AsyncIterator[None]:
    """Sweeps within the block. Any number of servers may: the second to come finds nothing left to expire."""
    sweep = _Sweep(pool, lanes)
    try:
        async with in_background(sweep.run(), "expiry-sweep"):
            yield
    finally:
        await sweep.end()


class _Sweep:
    """What is being expired, ledger by ledger."""

    def __init__(self, pool: Pool, lanes: Lanes) -> None:
        self._pool = pool
        self._lanes = lanes
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._resting: set[int] = set()
        # The transactions that were refused lately.
        self._refused: set[str] = set()
        self._concurrency = ConcurrencyLimit(LEDGERS_AT_A_TIME)
        self._look_now = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        interval_seconds = INTERVAL_SECONDS
        while True:
            self._look_now.clear()
            try:
                await self._begin()
                interval_seconds = INTERVAL_SECONDS
            except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
                log.info("sweep_failed", error=type(error).__name__)
                interval_seconds = min(2 * interval_seconds, INTERVAL_SECONDS_MAX)
            except Exception:
                log.exception("sweep_failed")
                interval_seconds = INTERVAL_SECONDS_MAX
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), interval_seconds * random.uniform(0.5, 1.0))

    async def end(self) -> None:
        """Takes out of the lanes what is not being written yet."""
        await end_tasks(self._under_way.values())

    async def _begin(self) -> None:
        """Begins with all ledgers that have something to expire."""
        is_more = True
        while is_more:
            while len(self._under_way) >= LEDGERS_MAX:
                await asyncio.wait(self._under_way.values(), return_when=asyncio.FIRST_COMPLETED)
            rows = await self._pool.fetch(sql.find_expired, BITE_TRANSACTIONS, [*self._under_way, *self._resting])
            is_more = len(rows) == BITE_TRANSACTIONS
            by_ledger: dict[int, list[Row]] = {}
            for row in rows:
                by_ledger.setdefault(row["ledger_id"], []).append(row)
            for ledger_id, found in by_ledger.items():
                bite = _bite(found)
                task = self._under_way[ledger_id] = asyncio.create_task(self._expire(ledger_id, bite), name="expiry")
                if is_more or len(bite) < len(found):
                    task.add_done_callback(lambda _: self._look_now.set())

    async def _expire(self, ledger_id: int, transaction_ids: Sequence[str]) -> None:
        """Archives what was found in a ledger. If that cannot be done now, it rests; then the same is found again."""
        commands = [
            ExpireTransaction(
                ledger_id=ledger_id, actor=LEDGER_ACTOR, transaction=Ref(transaction_id, None), full_results=False
            )
            for transaction_id in transaction_ids
        ]
        try:
            async with self._concurrency.turn():
                answers = await self._lanes.submit(commands)
            refusals = [answer for answer in answers if isinstance(answer, LedgerError)]
            for refusal in refusals:
                # One of the kind that is stored is no failure: somebody else was quicker.
                if not refusal.stored:
                    raise refusal
            if len(refusals) == len(commands):
                self._refuse(ledger_id, transaction_ids)
        except LedgerError as error:
            log.info("sweep_failed", ledger_id=ledger_text(ledger_id), error=type(error).__name__)
            self._rest(ledger_id)
        except Exception:
            # A bug; but it is not that of other ledgers.
            log.exception("sweep_failed", ledger_id=ledger_text(ledger_id))
            self._rest(ledger_id)
        finally:
            del self._under_way[ledger_id]

    def _refuse(self, ledger_id: int, transaction_ids: Sequence[str]) -> None:
        """What somebody else was quicker with is not found again; if it is, the ledger rests."""
        if self._refused.issuperset(transaction_ids):
            self._rest(ledger_id)
        else:
            self._refused.update(transaction_ids)
            asyncio.get_running_loop().call_later(REST_SECONDS, self._refused.difference_update, transaction_ids)

    def _rest(self, ledger_id: int) -> None:
        self._resting.add(ledger_id)
        rest_seconds = REST_SECONDS * random.uniform(0.5, 1.0)
        asyncio.get_running_loop().call_later(rest_seconds, self._resting.discard, ledger_id)


def _bite(found: Sequence[Row]) -> list[str]:
    """The first of the transactions that were found in a ledger, as many as are archived at a time."""
    bite: list[str] = []
    entries = 0
    for row in found[:LEDGER_BITE]:
        entries += row["entry_count"]
        if bite and entries > LEDGER_BITE_ENTRIES:
            break
        bite.append(row["transaction_id"])
    return bite
