"""The sweep: what is overdue is archived within a second, however it stands with other ledgers."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from ledger_client import Account, LedgerClient, commands, credit, debit
from ledger_server.posting import admission
from tests import audit
from tests.conftest import Server, new_server
from tests.service.raw import connected, held, lane_is_waiting

# More than are looked for at a time.
MANY = 600


@pytest.fixture
async def own_client(own_server: Server) -> AsyncIterator[LedgerClient]:
    async with LedgerClient(own_server.address, timeout=30) as client:
        yield client


async def two_accounts(client: LedgerClient) -> tuple[Account, Account]:
    ledger = await client.create_ledger("Test")
    a, b = [await client.create_account(ledger.id, n, normal_balance="debit", currency="USD") for n in ("a", "b")]
    return a, b


async def expire(client: LedgerClient, accounts: tuple[Account, Account], count: int, seconds: float) -> None:
    """So many transactions begin to be pending, to expire so many seconds from now."""
    a, b = accounts
    expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    write = [commands.create_transaction([debit(a, 1), credit(b, 1)], expires_at=expires_at) for _ in range(count)]
    response = await client.batch_write_transactions(a.ledger_id, write)
    assert all(result.HasField("transaction") for result in response.results)


async def are_archived(server: Server, accounts: tuple[Account, Account], count: int, within_seconds: float) -> None:
    """Returns when so many transactions of the ledger are."""
    give_up_at = time.monotonic() + within_seconds
    async with connected(server.dsn) as owner:
        while count > await owner.fetchval(
            "SELECT count(*) FROM transactions WHERE ledger_id = $1 AND status = 3", accounts[0].ledger_id
        ):
            assert time.monotonic() < give_up_at, "they were not swept"
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("count", [1, MANY])
async def test_a_ledger_that_is_held_stops_the_sweep_of_no_other(
    own_server: Server, own_client: LedgerClient, count: int
) -> None:
    """Nor does what is overdue in it, however much, hide what is overdue elsewhere."""
    stuck, other = await two_accounts(own_client), await two_accounts(own_client)
    await expire(own_client, stuck, count, seconds=1.0)
    async with held(own_server.dsn, stuck[0].ledger_id), connected(own_server.dsn) as observer:
        await lane_is_waiting(observer)
        await expire(own_client, other, 1, seconds=0.1)
        await are_archived(own_server, other, 1, within_seconds=1.5)
    await are_archived(own_server, stuck, count, within_seconds=20)
    assert await audit.own_findings(own_server.dsn) == []


async def test_a_ledger_that_refuses_the_sweep_stops_that_of_no_other(
    own_server: Server, own_client: LedgerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowded, other = await two_accounts(own_client), await two_accounts(own_client)
    await expire(own_client, crowded, 1, seconds=0.5)
    await expire(own_client, other, 1, seconds=1.0)
    a, b = crowded
    async with held(own_server.dsn, a.ledger_id), connected(own_server.dsn) as observer:

        async def write() -> None:
            await own_client.create_transaction(a.ledger_id, [debit(a, 1), credit(b, 1)])

        writes = [asyncio.create_task(write())]
        await lane_is_waiting(observer)
        # From here on one call that waits is a crowd.
        monkeypatch.setattr(admission, "CROWD_CALLS", 1)
        monkeypatch.setattr(admission, "WAIT_SECONDS_MAX", 0.0)
        writes.append(asyncio.create_task(write()))
        await are_archived(own_server, other, 1, within_seconds=2.5)
    await asyncio.gather(*writes)
    await are_archived(own_server, crowded, 1, within_seconds=20)


async def test_much_that_is_overdue_in_one_ledger_leaves_others_their_turn(
    own_server: Server, own_client: LedgerClient
) -> None:
    much, other = await two_accounts(own_client), await two_accounts(own_client)
    await expire(own_client, much, 10 * MANY, seconds=3.0)
    await are_archived(own_server, much, 1, within_seconds=5)
    await expire(own_client, other, 1, seconds=0.1)
    await are_archived(own_server, other, 1, within_seconds=1.5)
    await are_archived(own_server, much, 10 * MANY, within_seconds=20)


async def test_a_server_ends_at_once_while_the_sweep_waits_for_a_ledger(database: str) -> None:
    async with AsyncExitStack() as holding:
        async with new_server(database) as server:
            async with LedgerClient(server.address) as client:
                stuck = await two_accounts(client)
                await expire(client, stuck, 1, seconds=0.5)
            await holding.enter_async_context(held(database, stuck[0].ledger_id))
            observer = await holding.enter_async_context(connected(database))
            await lane_is_waiting(observer)
            began = time.monotonic()
        # A batch that waits for its ledger is repeated for five.
        assert time.monotonic() - began < 2.0
