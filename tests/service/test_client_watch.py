"""Watching balances with the real client on the real service."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from ledger_client import (
    Account,
    AccountNotFound,
    Event,
    EventKind,
    Heartbeat,
    InvalidArgument,
    Ledger,
    LedgerClient,
    LedgerNotFound,
    PositionInFuture,
    Snapshot,
    WatchMessage,
    credit,
    debit,
)
from ledger_client.watch import BalanceStream
from tests.conftest import new_server
from tests.patience import PATIENCE_SECONDS


async def account(client: LedgerClient, ledger: Ledger, name: str) -> Account:
    return await client.create_account(ledger.id, name, normal_balance="debit", currency="USD")


async def move(client: LedgerClient, ledger: Ledger, to: Account, source: Account, amount: int = 1) -> int:
    transaction = await client.create_transaction(
        ledger.id, [debit(to, amount), credit(source, amount)], status="posted"
    )
    return transaction.position


async def until(stream: BalanceStream, position: int) -> list[WatchMessage]:
    """What the stream says until it stands at a position."""
    messages: list[WatchMessage] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (stream.position or 0) < position:
            messages.append(await anext(stream))
    return messages


def positions(messages: list[WatchMessage]) -> list[int]:
    return [message.position for message in messages if isinstance(message, Event)]


async def test_a_change_is_told_with_the_balances_before_and_after(client: LedgerClient, ledger: Ledger) -> None:
    a, b = await account(client, ledger, "a"), await account(client, ledger, "b")
    async with client.watch_balances(ledger.id) as stream:
        position = await move(client, ledger, a, b, 500)
        messages = await until(stream, position)
    [event] = [message for message in messages if isinstance(message, Event)]
    assert event.position == position
    assert event.kind == EventKind.EVENT_KIND_TRANSACTION_CREATED
    change = {change.account_id: change for change in event.changes}[a.id]
    assert change.lock_version == 1
    assert (change.before.posted.amount, change.after.posted.amount) == ("0", "500")


async def test_entering_is_early_enough_to_miss_nothing(client: LedgerClient, ledger: Ledger) -> None:
    a, b = await account(client, ledger, "a"), await account(client, ledger, "b")
    for _ in range(20):
        async with client.watch_balances(ledger.id) as stream:
            position = await move(client, ledger, a, b)
            assert positions(await until(stream, position)) == [position]


async def test_a_snapshot_and_what_follows_add_up_while_others_write(client: LedgerClient, ledger: Ledger) -> None:
    a, b = await account(client, ledger, "a"), await account(client, ledger, "b")
    before = asyncio.gather(*(move(client, ledger, a, b) for _ in range(50)))
    async with client.watch_balances(ledger.id, snapshot=True) as stream:
        after = asyncio.gather(*(move(client, ledger, a, b) for _ in range(50)))
        last = max(*await before, *await after)
        messages = await until(stream, last)
    snapshot = messages[0]
    assert isinstance(snapshot, Snapshot)
    assert set(snapshot.accounts) == {a.id, b.id}
    assert positions(messages) == list(range(snapshot.position + 1, last + 1))
    amount = int(snapshot.accounts[a.id].balances.posted.amount)
    for event in (message for message in messages if isinstance(message, Event)):
        change = {change.account_id: change for change in event.changes}[a.id]
        assert int(change.before.posted.amount) == amount
        amount = int(change.after.posted.amount)
    assert amount == 100


async def test_only_what_passes_the_filter_is_told_and_heartbeats_move_on(client: LedgerClient, ledger: Ledger) -> None:
    a, b, c = [await account(client, ledger, name) for name in "abc"]
    async with client.watch_balances(ledger.id, account_ids=[a.id], heartbeat_interval=0.1) as stream:
        mine = await move(client, ledger, a, b)
        others = await move(client, ledger, c, b)
        messages = await until(stream, others)
    assert positions(messages) == [mine]
    told = [change.account_id for message in messages if isinstance(message, Event) for change in message.changes]
    assert told == [a.id]
    assert isinstance(messages[-1], Heartbeat)


async def test_a_later_watch_goes_on_where_the_earlier_one_left(client: LedgerClient, ledger: Ledger) -> None:
    a, b = await account(client, ledger, "a"), await account(client, ledger, "b")
    async with client.watch_balances(ledger.id) as stream:
        first = await move(client, ledger, a, b)
        await until(stream, first)
        position, epoch = stream.position, stream.epoch
    missed = [await move(client, ledger, a, b) for _ in range(3)]
    async with client.watch_balances(ledger.id, after_position=position, epoch=epoch) as stream:
        assert positions(await until(stream, missed[-1])) == missed


async def test_from_zero_the_whole_history_is_told(client: LedgerClient, ledger: Ledger) -> None:
    a, b = await account(client, ledger, "a"), await account(client, ledger, "b")
    moves = [await move(client, ledger, a, b) for _ in range(3)]
    async with client.watch_balances(ledger.id, after_position=0) as stream:
        messages = await until(stream, moves[-1])
    assert [p for p in positions(messages) if p in moves] == moves


async def test_a_stream_moves_to_another_server_without_gap_or_duplicate(database: str) -> None:
    """Two servers on one database; the one that is watched drains while the other writes."""
    async with AsyncExitStack() as stack:
        first = AsyncExitStack()
        leaving = await first.enter_async_context(new_server(database))
        staying = await stack.enter_async_context(new_server(database))
        writer = await stack.enter_async_context(LedgerClient(staying.address))
        watcher = await stack.enter_async_context(LedgerClient(f"ipv4:{leaving.address},{staying.address}"))
        books = await writer.create_ledger("books")
        a, b = await account(writer, books, "a"), await account(writer, books, "b")
        stream = await stack.enter_async_context(watcher.watch_balances(books.id, snapshot=True))
        moves = [await move(writer, books, a, b) for _ in range(5)]
        messages = await until(stream, moves[-1])
        draining = asyncio.create_task(first.aclose())
        while not draining.done():
            moves.append(await move(writer, books, a, b))
        moves += [await move(writer, books, a, b) for _ in range(5)]
        messages += await until(stream, moves[-1])
    assert len([message for message in messages if isinstance(message, Snapshot)]) == 1
    assert positions(messages) == moves == list(range(moves[0], moves[0] + len(moves)))


@pytest.mark.parametrize("what", ["ledger", "account", "future", "snapshot after a position"])
async def test_what_cannot_be_watched_is_refused_on_entering(client: LedgerClient, ledger: Ledger, what: str) -> None:
    nobody = "00000000-0000-7000-8000-000000000000"
    stream, error = {
        "ledger": (client.watch_balances(nobody), LedgerNotFound),
        "account": (client.watch_balances(ledger.id, account_ids=[nobody]), AccountNotFound),
        "future": (client.watch_balances(ledger.id, after_position=10**9), PositionInFuture),
        "snapshot after a position": (
            client.watch_balances(ledger.id, after_position=0, snapshot=True),
            InvalidArgument,
        ),
    }[what]
    with pytest.raises(error):
        async with stream:
            pytest.fail("entered")
