"""What has to be found: callers and writers that break the promises, under the same faults as ours."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from ledger_client import Account, LedgerClient, LedgerError, credit, debit, new_request_id
from tests.faults.history import Call, History, Outcome, compare, read_recorded
from tests.faults.report import Result
from tests.faults.stage import Database
from tests.faults.traffic import new_traffic
from tests.patience import PATIENCE_SECONDS
from tests.service.processes import until

_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


async def forgetful(
    result: Result, database: Database, fault: Callable[[], Awaitable[object]], *, times: int = 5
) -> None:
    """A writer with synchronous_commit off, which acknowledges what is not on the disk: some of it must be lost.

    Not at each fault: PostgreSQL may write what waits just before it is stopped.
    """
    acknowledged = 0
    for _ in range(times):
        count, lost = await _lost_by_forgetting(database, fault)
        acknowledged += count
        if lost:
            result.control = f"{lost} of {acknowledged} lost with synchronous_commit off"
            return
    result.findings.append(f"the control lost nothing of {acknowledged} in {times} faults")


async def _lost_by_forgetting(database: Database, fault: Callable[[], Awaitable[object]]) -> tuple[int, int]:
    """How many rows were acknowledged, and how many of these are not there after the fault."""
    connection = await asyncpg.connect(database.dsn, server_settings={"synchronous_commit": "off"})
    await connection.execute("CREATE TABLE IF NOT EXISTS control (n bigint PRIMARY KEY)")
    await connection.execute("CHECKPOINT")
    acknowledged: list[int] = []

    async def write() -> None:
        with contextlib.suppress(*_AWAY):
            for n in itertools.count():
                await connection.execute("INSERT INTO control VALUES ($1)", n)
                acknowledged.append(n)

    task = asyncio.create_task(write())
    await until(lambda: len(acknowledged) > 200, 20)
    await fault()
    await task
    connection.terminate()
    connection = await asyncpg.connect(database.dsn)
    kept = {row[0] for row in await connection.fetch("SELECT n FROM control")}
    await connection.execute("DROP TABLE control")
    await connection.close()
    return len(acknowledged), len(set(acknowledged) - kept)


async def impatient(
    result: Result,
    dsn: Callable[[], str],
    addresses: Sequence[str],
    fault: Callable[[], Awaitable[object]],
    *,
    times: int = 40,
    timeout: float = 5.0,
) -> None:
    """Callers who take a new request_id to ask again what is unknown, or late: some of it must happen twice."""
    for count in range(1, times + 1):
        async with new_traffic(addresses, count) as traffic:
            over = asyncio.Event()
            async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
                for n in range(16):
                    client = traffic.clients[n % len(traffic.clients)]
                    group.create_task(_write_impatiently(client, traffic.accounts, traffic.history, over, timeout))
                await traffic.history.reaches(100)
                # An answer has just come; what is written but not answered, and may happen twice, is a moment later.
                await asyncio.sleep(count / 1000)
                await fault()
                over.set()
            doubled = compare(traffic.history, await read_recorded(dsn(), traffic.history.ledger_id)).doubled
        if doubled:
            result.control = f"{len(doubled)} doubled under new request_ids, at fault {count}"
            return
    result.findings.append(f"the control doubled nothing in {times} faults")


async def _write_impatiently(
    client: LedgerClient, accounts: Sequence[Account], history: History, over: asyncio.Event, timeout: float
) -> None:
    while not over.is_set():
        call = Call(f"impatient-{new_request_id()}", "")
        history.calls.append(call)
        patience_seconds = timeout
        while call.outcome is Outcome.UNKNOWN:
            call.request_id = new_request_id()
            entries = [debit(accounts[0], 1), credit(accounts[1], 1)]
            try:
                written = await client.create_transaction(
                    history.ledger_id,
                    entries,
                    description=call.key,
                    request_id=call.request_id,
                    timeout=patience_seconds,
                )
            except LedgerError:
                # On a slow machine nobody is answered sooner.
                patience_seconds = min(2 * patience_seconds, 5.0)
                await asyncio.sleep(0.05)
                continue
            call.outcome, call.position, call.transaction_id = Outcome.ACKNOWLEDGED, written.position, written.id
