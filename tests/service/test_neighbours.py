"""Ledgers share pages of indexes, and SERIALIZABLE tells no rows apart that are on one: nobody loses by it for ever."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import asyncpg
import pytest

from ledger_client import Account, Contention, LedgerClient, commands, credit, debit
from ledger_server.posting import worker
from tests import audit
from tests.conftest import new_server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.service.raw import connected, lane_is_waiting

BATCHES = 2
COMMANDS = 1_000


async def two_accounts(client: LedgerClient) -> list[Account]:
    ledger = await client.create_ledger("Test")
    return [await client.create_account(ledger.id, n, normal_balance="debit", currency="USD") for n in ("a", "b")]


@pytest.mark.parametrize("servers", [1, pytest.param(2, marks=pytest.mark.long)])
async def test_long_batches_are_written_beside_ledgers_that_are_never_idle(database: str, servers: int) -> None:
    """The youngest ledger is next to the one before it in every index, and has no page of its own to begin with."""
    async with AsyncExitStack() as stack:
        addresses = [(await stack.enter_async_context(new_server(database))).address for _ in range(servers)]
        long = await stack.enter_async_context(LedgerClient(addresses[0]))
        short = await stack.enter_async_context(LedgerClient(addresses[-1]))
        neighbours = [await two_accounts(short) for _ in range(2)]
        a, b = await two_accounts(long)
        over = asyncio.Event()

        async def post_without_pause(one: Account, other: Account) -> int:
            count = 0
            while not over.is_set():
                await short.create_transaction(one.ledger_id, [debit(one, 1), credit(other, 1)], status="posted")
                count += 1
            return count

        tasks = [asyncio.create_task(post_without_pause(*accounts)) for accounts in neighbours]
        for _ in range(BATCHES):
            await long.batch_write_transactions(
                a.ledger_id,
                [
                    commands.create_transaction(
                        [debit(a, 1), credit(b, 1)], status="posted", metadata={"order": str(n)}
                    )
                    for n in range(COMMANDS)
                ],
                atomic=True,
            )
        over.set()
        assert min(await asyncio.gather(*tasks)) > 0
    assert await audit.own_findings(database) == []


@pytest.mark.parametrize("calls", [1, 5])
async def test_a_long_batch_that_lost_once_is_not_given_up_before_it_was_written_alone(
    database: str, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """However long that took: among others it would lose again. Of several commands it is the first that is alone."""
    monkeypatch.setattr(worker, "LONG_SECONDS", 0.05)
    monkeypatch.setattr(worker, "RETRY_SECONDS", 0.05)
    async with new_server(database) as server, LedgerClient(server.address) as client:
        a, _ = await two_accounts(client)
        async with connected(database) as meddler, meddler.transaction():
            await meddler.execute("UPDATE accounts SET description = 'meddled with' WHERE account_id = $1", a.id)
            writing = asyncio.gather(
                *(client.update_account(a.ledger_id, a, metadata={f"{n}": "told"}) for n in range(calls))
            )
            # They have their ledger by then.
            await lane_is_waiting(meddler)
            await meddler.execute("SELECT pg_sleep(0.1)")
        assert all(account.metadata for account in await writing)
    assert await audit.own_findings(database) == []


async def test_many_ledgers_are_opened_at_once_without_getting_in_each_others_way(database: str) -> None:
    """As when customers come, each with a ledger: most of their first batches would fail, and again when repeated."""
    ledgers = asyncio.Semaphore(32)

    async def open_ledger(client: LedgerClient) -> None:
        async with ledgers:
            a, b = await two_accounts(client)
            await client.create_transaction(a.ledger_id, [debit(a, 1), credit(b, 1)], status="posted")

    async with new_server(database) as server, LedgerClient(server.address) as client:
        await asyncio.gather(*(open_ledger(client) for _ in range(200)))
    connection = await asyncpg.connect(database)
    try:
        failed = await connection.fetchval(
            "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        )
    finally:
        await connection.close()
    # 800 calls: 30 fail, and 600 if four are always written at a time.
    assert failed < 150
    assert await audit.own_findings(database) == []


async def test_a_ledger_that_somebody_holds_holds_up_no_other(database: str) -> None:
    """While a batch waited for it PostgreSQL forgot none of the others' batches, and after so many it refused them."""
    async with new_server(database) as server, LedgerClient(server.address) as client:
        held, *others = [await two_accounts(client) for _ in range(9)]

        async def post(accounts: list[Account], count: int) -> None:
            a, b = accounts
            for _ in range(count):
                await client.create_transaction(a.ledger_id, [debit(a, 1), credit(b, 1)], status="posted")

        holder = await asyncpg.connect(database)
        try:
            async with holder.transaction():
                number = number_of(held[0].ledger_id)
                await holder.execute("SELECT FROM ledgers WHERE ledger_id = $1 FOR NO KEY UPDATE", number)
                waiting = asyncio.create_task(post(held, 1))
                batches_remembered = 10 * int(await holder.fetchval("SHOW max_connections"))
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await asyncio.gather(*(post(accounts, batches_remembered // 6) for accounts in others))
                assert not waiting.done() or waiting.exception() is not None
        finally:
            await holder.close()
        with suppress(Contention):
            await waiting
        await post(held, 1)
    assert await audit.own_findings(database) == []
