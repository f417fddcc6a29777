"""The sweep: what is overdue is archived within a second, however it stands with other ledgers."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from ledger_client import Account, LedgerClient, LedgerError, Transaction, commands, credit, debit
from ledger_server.posting import admission, expiry, worker
from tests import audit
from tests.conftest import Server, new_server
from tests.ledger_ids import number_of
from tests.service.raw import connected, held, lane_is_waiting

# More than are looked for at a time.
MANY = 600
# What is to take its time, or to come never, takes longer; what is to come soon has come by then on any machine.
LONG_SECONDS = 60.0
SOON_SECONDS = 20.0


@pytest.fixture
async def own_client(own_server: Server) -> AsyncIterator[LedgerClient]:
    async with LedgerClient(own_server.address) as client:
        yield client


async def two_accounts(client: LedgerClient) -> tuple[Account, Account]:
    ledger = await client.create_ledger("Test")
    a, b = [await client.create_account(ledger.id, n, normal_balance="debit", currency="USD") for n in ("a", "b")]
    return a, b


async def pending(client: LedgerClient, accounts: tuple[Account, Account], expires_at: dt.datetime) -> Transaction:
    a, b = accounts
    return await client.create_transaction(a.ledger_id, [debit(a, 1), credit(b, 1)], expires_at=expires_at)


async def expire(client: LedgerClient, accounts: tuple[Account, Account], count: int, seconds: float) -> dt.datetime:
    """So many transactions begin to be pending, to expire so many seconds from now, or as soon as that is possible.

    Returns when.
    """
    a, b = accounts
    while True:
        expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
        write = [commands.create_transaction([debit(a, 1), credit(b, 1)], expires_at=expires_at) for _ in range(count)]
        try:
            await client.batch_write_transactions(a.ledger_id, write, atomic=True)
        except LedgerError:
            # The time has come before they were written.
            seconds *= 2
        else:
            return expires_at


async def archived(server: Server, accounts: tuple[Account, Account]) -> int:
    """How many transactions of the ledger are."""
    async with connected(server.dsn) as owner:
        statement = "SELECT count(*) FROM transactions WHERE ledger_id = $1 AND status = 3"
        count: int = await owner.fetchval(statement, number_of(accounts[0].ledger_id))
        return count


async def are_archived(server: Server, accounts: tuple[Account, Account], count: int) -> None:
    """Returns when so many transactions of the ledger are; there must be one more each SOON_SECONDS."""
    before, moved_at = -1, 0.0
    while (now := await archived(server, accounts)) < count:
        if now > before:
            before, moved_at = now, time.monotonic()
        assert time.monotonic() < moved_at + SOON_SECONDS, "they were not swept"
        await asyncio.sleep(0.005)


@pytest.fixture
def batches_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a ledger that somebody holds waits until it is let go."""
    monkeypatch.setattr(worker, "RETRY_SECONDS", LONG_SECONDS)


@pytest.mark.usefixtures("batches_wait")
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
        await are_archived(own_server, other, 1)
    await are_archived(own_server, stuck, count)
    assert await audit.own_findings(own_server.dsn) == []


@pytest.mark.usefixtures("batches_wait")
async def test_a_ledger_that_refuses_the_sweep_stops_that_of_no_other(
    own_server: Server, own_client: LedgerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "INTERVAL_SECONDS_MAX", LONG_SECONDS)
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
        await are_archived(own_server, other, 1)
    await asyncio.gather(*writes)
    await are_archived(own_server, crowded, 1)


async def test_much_that_is_overdue_in_one_ledger_leaves_others_their_turn(
    own_server: Server, own_client: LedgerClient
) -> None:
    much, other = await two_accounts(own_client), await two_accounts(own_client)
    await expire(own_client, much, 10 * MANY, seconds=4.0)
    await are_archived(own_server, much, 1)
    await expire(own_client, other, 1, seconds=0.1)
    await are_archived(own_server, other, 1)
    assert await archived(own_server, much) < 10 * MANY
    await are_archived(own_server, much, 10 * MANY)


async def test_a_bite_of_large_transactions_is_few_of_them(own_server: Server, own_client: LedgerClient) -> None:
    """As many as there are small ones at a time would keep the ledger for seconds."""
    large, (a, b) = 20, await two_accounts(own_client)
    expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2.0)
    entries = [debit(a, 1), credit(b, 1)] * (expiry.LEDGER_BITE_ENTRIES // 10)
    await own_client.batch_write_transactions(
        a.ledger_id, [commands.create_transaction(entries, expires_at=expires_at) for _ in range(large)]
    )
    await are_archived(own_server, (a, b), large)
    async with connected(own_server.dsn) as owner:
        bites = await owner.fetch(
            "SELECT count(*) FROM transactions WHERE ledger_id = $1 AND status = 3 GROUP BY updated_at",
            number_of(a.ledger_id),
        )
    assert [row["count"] for row in bites] == [5] * 4


async def test_what_one_bite_leaves_in_a_ledger_does_not_wait_for_the_next_look(
    own_server: Server, own_client: LedgerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 5 * expiry.LEDGER_BITE - 1
    much = await two_accounts(own_client)
    await expire(own_client, much, count, seconds=1.0)
    await are_archived(own_server, much, 1)
    monkeypatch.setattr(expiry, "INTERVAL_SECONDS", LONG_SECONDS)
    await are_archived(own_server, much, count)


async def test_somebody_who_is_quicker_than_the_sweep_does_not_make_it_rest(
    own_server: Server, own_client: LedgerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "REST_SECONDS", LONG_SECONDS)
    accounts = await two_accounts(own_client)
    async with connected(own_server.dsn) as owner:
        soon = await owner.fetchval("SELECT clock_timestamp()") + dt.timedelta(seconds=1.5)
        first = await pending(own_client, accounts, soon)
        second = await pending(own_client, accounts, soon + dt.timedelta(seconds=0.3))
        async with held(own_server.dsn, first.ledger_id):
            quicker = asyncio.create_task(own_client.archive_transaction(first.ledger_id, first.id))
            # The sweep finds the first, and its command waits behind the caller's.
            while await owner.fetchval("SELECT clock_timestamp() < $1", second.expires_at.ToDatetime(dt.UTC)):
                await asyncio.sleep(0.005)
        await quicker
    await are_archived(own_server, accounts, 2)


async def test_ledgers_that_rest_leave_their_places_to_others(
    own_server: Server, own_client: LedgerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "LEDGERS_MAX", 2)
    monkeypatch.setattr(expiry, "REST_SECONDS", LONG_SECONDS)
    far = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    tampered = [await pending(own_client, await two_accounts(own_client), far) for _ in range(3)]
    other = await two_accounts(own_client)
    async with connected(own_server.dsn) as owner:
        # The lane remembers them as they were, so that what the sweep finds is refused each time.
        await owner.execute(
            "UPDATE transactions SET expires_at = now() WHERE transaction_id = ANY ($1)", [each.id for each in tampered]
        )
    await expire(own_client, other, 1, seconds=1.0)
    await are_archived(own_server, other, 1)


async def test_the_first_place_that_becomes_free_is_taken_at_once(
    own_server: Server, own_client: LedgerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, other = await two_accounts(own_client), await two_accounts(own_client)
    monkeypatch.setattr(expiry, "LEDGERS_MAX", 1)
    await expire(own_client, stuck, 1, seconds=0.5)
    async with held(own_server.dsn, stuck[0].ledger_id), connected(own_server.dsn) as observer:
        await lane_is_waiting(observer)
        monkeypatch.setattr(expiry, "INTERVAL_SECONDS", LONG_SECONDS)
        expires_at = await expire(own_client, other, 1, seconds=0.5)
        while await observer.fetchval("SELECT clock_timestamp() < $1", expires_at):
            await asyncio.sleep(0.005)
    await are_archived(own_server, other, 1)


@pytest.mark.usefixtures("batches_wait")
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
        assert time.monotonic() - began < SOON_SECONDS
