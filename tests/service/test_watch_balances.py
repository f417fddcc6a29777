"""Streams of balance changes: the real service, the real client, and the ledger itself as the witness."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from ledger_client import (
    Account,
    AccountNotFound,
    BalanceStream,
    EpochChanged,
    Event,
    Heartbeat,
    Internal,
    Ledger,
    LedgerClient,
    LedgerError,
    LedgerNotFound,
    PositionInFuture,
    PositionPruned,
    ShuttingDown,
    Snapshot,
    Transaction,
    WatchMessage,
    commands,
    credit,
    debit,
)
from tests.conftest import Server, new_server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS

UNKNOWN_ID = "00000000-0000-7000-8000-000000000001"


async def new_accounts(client: LedgerClient, ledger: Ledger, count: int) -> list[Account]:
    creating = (
        client.create_account(ledger.id, name=f"Account {n}", normal_balance="credit", currency="USD")
        for n in range(count)
    )
    return sorted(await asyncio.gather(*creating), key=lambda account: account.id)


async def transfer(client: LedgerClient, source: Account, target: Account, amount: int = 100) -> Transaction:
    entries = [debit(source.id, amount), credit(target.id, amount)]
    return await client.create_transaction(source.ledger_id, entries, status="posted")


async def many_transfers(client: LedgerClient, source: Account, target: Account, count: int) -> int:
    """As many events with one call; returns the position of the last one."""
    writes = [
        commands.create_transaction([debit(source.id, n), credit(target.id, n)], status="posted")
        for n in range(1, count + 1)
    ]
    response = await client.batch_write_transactions(source.ledger_id, writes)
    return max(result.transaction.position for result in response.results)


async def events_up_to(stream: BalanceStream, position: int) -> list[Event]:
    """What a stream says until it has passed a position."""
    events = []
    message: WatchMessage | None = None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while message is None or message.position < position:
            message = await anext(stream)
            if isinstance(message, Event):
                events.append(message)
    return events


async def next_of(stream: BalanceStream) -> WatchMessage:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await anext(stream)


def positions(events: Iterable[Event]) -> list[int]:
    return [event.position for event in events]


def account_ids(event: Event) -> list[str]:
    return [change.account_id for change in event.changes]


async def test_a_snapshot_and_the_changes_after_it_add_up_to_the_books_while_writers_run(
    client: LedgerClient, ledger: Ledger
) -> None:
    # More accounts than fit into one part of a snapshot.
    accounts = await new_accounts(client, ledger, 1_100)
    busy = accounts[:: len(accounts) // 6]

    async def write(n: int) -> int:
        last = 0
        for source, target in itertools.islice(itertools.permutations(busy, 2), 25):
            last = (await transfer(client, source, target, n + 1)).position
        return last

    writers = [asyncio.create_task(write(n)) for n in range(8)]
    await transfer(client, busy[0], busy[1])
    async with client.watch_balances(ledger.id, snapshot=True, heartbeat_interval=0.2) as stream:
        snapshot = await next_of(stream)
        assert isinstance(snapshot, Snapshot)
        assert sorted(snapshot.accounts) == [account.id for account in accounts]
        last = max(await asyncio.gather(*writers))
        events = await events_up_to(stream, last)

    assert positions(events) == list(range(snapshot.position + 1, last + 1))
    balances = {id_: account.balances for id_, account in snapshot.accounts.items()}
    lock_versions = {id_: account.lock_version for id_, account in snapshot.accounts.items()}
    for event in events:
        for change in event.changes:
            assert change.before == balances[change.account_id]
            assert change.lock_version == lock_versions[change.account_id] + 1
            balances[change.account_id] = change.after
            lock_versions[change.account_id] = change.lock_version
    for account in busy:
        account = await client.get_account(ledger.id, account.id)
        assert (balances[account.id], lock_versions[account.id]) == (account.balances, account.lock_version)


async def test_a_snapshot_of_chosen_accounts_has_no_others(client: LedgerClient, ledger: Ledger) -> None:
    ours, theirs = await new_accounts(client, ledger, 2)
    await transfer(client, ours, theirs)
    async with client.watch_balances(ledger.id, account_ids=[ours.id], snapshot=True) as stream:
        snapshot = await next_of(stream)
    assert isinstance(snapshot, Snapshot)
    assert list(snapshot.accounts) == [ours.id]
    assert snapshot.accounts[ours.id].balances.posted.amount == "-100"
    assert snapshot.accounts[ours.id].lock_version == 1
    assert (snapshot.position, snapshot.epoch) == (3, ledger.epoch)


async def test_an_empty_ledger_has_an_empty_snapshot(client: LedgerClient, ledger: Ledger) -> None:
    async with client.watch_balances(ledger.id, snapshot=True) as stream:
        snapshot = await next_of(stream)
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.position, snapshot.accounts) == (ledger.position, {})


async def test_resuming_from_any_position_gives_the_same_rest(client: LedgerClient, ledger: Ledger) -> None:
    a, b, c = await new_accounts(client, ledger, 3)
    for source, target in itertools.islice(itertools.cycle([(a, b), (b, c), (c, a)]), 20):
        last = (await transfer(client, source, target)).position

    async def rest(after_position: int, ids: Sequence[str]) -> list[Event]:
        watching = client.watch_balances(
            ledger.id, account_ids=ids, after_position=after_position, epoch=ledger.epoch, heartbeat_interval=0.1
        )
        async with watching as stream:
            return await events_up_to(stream, last)

    for ids in ([], [a.id], [a.id, c.id]):
        whole = await rest(0, ids)
        assert positions(whole) == sorted(set(positions(whole)))
        for position in range(last + 1):
            assert await rest(position, ids) == [event for event in whole if event.position > position]


async def test_a_filter_lets_through_the_changes_of_its_accounts_only(client: LedgerClient, ledger: Ledger) -> None:
    a, b, c = await new_accounts(client, ledger, 3)
    async with (
        client.watch_balances(ledger.id, account_ids=[a.id], heartbeat_interval=0.1) as one,
        client.watch_balances(ledger.id, account_ids=[a.id, b.id], heartbeat_interval=0.1) as two,
        client.watch_balances(ledger.id, heartbeat_interval=0.1) as all_,
    ):
        first, second, third = [await transfer(client, *pair) for pair in ((a, b), (b, c), (c, a))]
        heard = [await events_up_to(stream, third.position) for stream in (one, two, all_)]
    assert [[(event.position, account_ids(event)) for event in events] for events in heard] == [
        [(first.position, [a.id]), (third.position, [a.id])],
        [(first.position, [a.id, b.id]), (second.position, [b.id]), (third.position, [a.id])],
        [(first.position, [a.id, b.id]), (second.position, [b.id, c.id]), (third.position, [a.id, c.id])],
    ]
    # What is left of an event is otherwise the same.
    for filtered, whole in zip(heard[0], (heard[2][0], heard[2][2]), strict=True):
        assert filtered.changes[0] in whole.changes
        filtered.ClearField("changes")
        whole.ClearField("changes")
        assert filtered == whole


async def test_what_one_command_changes_arrives_together_with_who_and_why(server: Server, ledger: Ledger) -> None:
    async with LedgerClient(server.address, actor="alice") as client:
        accounts = await new_accounts(client, ledger, 4)
        async with client.watch_balances(ledger.id) as stream:
            transaction = await client.create_transaction(
                ledger.id,
                [debit(account.id, 5) for account in accounts[:3]] + [credit(accounts[3].id, 15)],
                request_id="the only one",
            )
            (event,) = await events_up_to(stream, transaction.position)
    assert event.position == transaction.position
    assert (event.transaction_id, event.actor, event.request_id) == (transaction.id, "alice", "the only one")
    assert account_ids(event) == [account.id for account in accounts]
    assert [(change.before.pending.amount, change.after.pending.amount) for change in event.changes] == [
        ("0", "-5"),
        ("0", "-5"),
        ("0", "-5"),
        ("0", "15"),
    ]
    assert {change.lock_version for change in event.changes} == {1}


async def test_a_stream_begins_with_its_position_and_an_idle_one_moves_on(client: LedgerClient, ledger: Ledger) -> None:
    a, b, idle = await new_accounts(client, ledger, 3)
    async with client.watch_balances(ledger.id, account_ids=[idle.id], heartbeat_interval=0.1) as stream:
        first = await next_of(stream)
        assert isinstance(first, Heartbeat)
        assert (first.position, first.epoch, first.lag) == (3, ledger.epoch, 0)
        last = (await transfer(client, a, b)).position
        assert await events_up_to(stream, last) == []
        later = await next_of(stream)
    assert isinstance(later, Heartbeat)
    assert (later.position, later.lag) == (last, 0)
    assert later.time.ToNanoseconds() > first.time.ToNanoseconds()

    async with client.watch_balances(ledger.id, after_position=1) as stream:
        start = await next_of(stream)
    assert isinstance(start, Heartbeat)
    assert (start.position, start.lag) == (1, last - 1)
    assert start.time.ToNanoseconds() < first.time.ToNanoseconds()


async def test_commands_that_move_no_balance_are_not_sent(client: LedgerClient, ledger: Ledger) -> None:
    async with client.watch_balances(ledger.id, heartbeat_interval=0.1) as stream:
        await new_accounts(client, ledger, 2)
        assert await events_up_to(stream, 2) == []


REFUSALS: dict[str, tuple[dict[str, object], type[LedgerError], dict[str, str]]] = {
    "an unknown ledger": ({"ledger_id": UNKNOWN_ID}, LedgerNotFound, {"ledger_id": UNKNOWN_ID}),
    "an unknown account": ({"account_ids": [UNKNOWN_ID]}, AccountNotFound, {"account_id": UNKNOWN_ID}),
    "a position of the future": ({"after_position": 2}, PositionInFuture, {"position": "1"}),
    "another epoch": ({"after_position": 1, "epoch": UNKNOWN_ID}, EpochChanged, {}),
    "another epoch, and a position it may have had": (
        {"after_position": 99, "epoch": UNKNOWN_ID},
        EpochChanged,
        {},
    ),
}


@pytest.mark.parametrize(("request_", "error", "metadata"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_stream_that_cannot_start_says_why(
    client: LedgerClient, request_: dict[str, object], error: type[LedgerError], metadata: dict[str, str]
) -> None:
    ledger = await client.create_ledger(name="Test")
    await new_accounts(client, ledger, 1)
    arguments = {"ledger_id": ledger.id, **request_}
    with pytest.raises(error) as caught:
        async with client.watch_balances(**arguments):  # type: ignore[arg-type]
            pass
    assert metadata.items() <= caught.value.metadata.items()


async def test_what_is_pruned_cannot_be_watched_and_what_is_kept_can(client: LedgerClient, server: Server) -> None:
    ledger = await client.create_ledger(name="Test")
    a, b = await new_accounts(client, ledger, 2)
    last = await many_transfers(client, a, b, 5)
    await execute(server.dsn, "DELETE FROM events WHERE ledger_id = $1 AND position <= 4", number_of(ledger.id))
    for position in (0, 3):
        with pytest.raises(PositionPruned) as caught:
            async with client.watch_balances(ledger.id, after_position=position):
                pass
        assert caught.value.metadata["oldest_position"] == "5"
    async with client.watch_balances(ledger.id, after_position=4) as stream:
        assert positions(await events_up_to(stream, last)) == list(range(5, last + 1))
    await execute(server.dsn, "DELETE FROM events WHERE ledger_id = $1", number_of(ledger.id))
    with pytest.raises(PositionPruned):
        async with client.watch_balances(ledger.id, after_position=last - 1):
            pass
    async with client.watch_balances(ledger.id, after_position=last) as stream:
        assert (await next_of(stream)).position == last


async def test_a_hole_in_the_log_ends_the_stream_instead_of_being_skipped(
    client: LedgerClient, server: Server, ledger: Ledger
) -> None:
    a, b = await new_accounts(client, ledger, 2)
    await many_transfers(client, a, b, 5)
    await execute(server.dsn, "DELETE FROM events WHERE ledger_id = $1 AND position = 5", number_of(ledger.id))
    async with client.watch_balances(ledger.id, after_position=2) as stream:
        with pytest.raises(Internal) as caught:
            await events_up_to(stream, 7)
    assert caught.value.reason == "INTERNAL"


async def test_a_restored_database_ends_a_running_stream(client: LedgerClient, server: Server, ledger: Ledger) -> None:
    async with client.watch_balances(ledger.id) as stream:
        assert isinstance(await next_of(stream), Heartbeat)
        statement = "UPDATE ledgers SET epoch = gen_random_uuid() WHERE ledger_id = $1"
        await execute(server.dsn, statement, number_of(ledger.id))
        with pytest.raises(EpochChanged):
            await next_of(stream)


async def test_a_hundred_subscribers_get_each_their_own(client: LedgerClient, ledger: Ledger) -> None:
    accounts = await new_accounts(client, ledger, 100)
    house, *others = accounts
    ready = asyncio.Barrier(len(others) + 1)

    async def subscriber(account: Account) -> list[str]:
        async with client.watch_balances(ledger.id, account_ids=[account.id]) as stream:
            assert isinstance(await next_of(stream), Heartbeat)
            await ready.wait()
            amounts: list[str] = []
            while len(amounts) < 3:
                message = await next_of(stream)
                if isinstance(message, Event):
                    assert account_ids(message) == [account.id]
                    amounts.append(message.changes[0].after.posted.amount)
            return amounts

    subscribers = [asyncio.create_task(subscriber(account)) for account in others]
    await ready.wait()
    for _ in range(3):
        await asyncio.gather(*(transfer(client, house, account, n) for n, account in enumerate(others)))
    assert await asyncio.gather(*subscribers) == [[str(n), str(2 * n), str(3 * n)] for n in range(len(others))]


async def test_a_reader_that_falls_behind_misses_nothing(client: LedgerClient, ledger: Ledger) -> None:
    a, b = await new_accounts(client, ledger, 2)
    async with (
        client.watch_balances(ledger.id) as whole,
        client.watch_balances(ledger.id, account_ids=[b.id]) as one,
    ):
        start = (await next_of(whole)).position
        # More at once than a live stream keeps for its reader.
        for _ in range(3):
            last = await many_transfers(client, a, b, 3_000)
        events = await events_up_to(whole, last)
        filtered = await events_up_to(one, last)
    assert positions(events) == positions(filtered) == list(range(start + 1, last + 1))
    assert all(account_ids(event) == [b.id] for event in filtered)


async def test_a_server_hears_of_what_another_process_commits(
    client: LedgerClient, server: Server, ledger: Ledger, tmp_path: Path
) -> None:
    a, b = await new_accounts(client, ledger, 2)
    async with (
        other_process(server.dsn, tmp_path) as address,
        LedgerClient(address) as other,
        other.watch_balances(ledger.id) as stream,
    ):
        for _ in range(5):
            transaction = await transfer(client, a, b)
            assert positions(await events_up_to(stream, transaction.position)) == [transaction.position]


async def test_a_stopping_server_ends_its_streams_at_once(database: str) -> None:
    async with new_server(database) as server:
        client = LedgerClient(server.address)
        ledger = await client.create_ledger(name="Test")
        streams = [client.watch_balances(ledger.id, reconnect_timeout=0) for _ in range(3)]
        for stream in streams:
            await stream.__aenter__()
            assert isinstance(await next_of(stream), Heartbeat)
        reading = [asyncio.create_task(next_of(stream)) for stream in streams]
    for outcome in await asyncio.gather(*reading, return_exceptions=True):
        assert isinstance(outcome, ShuttingDown)
    for stream in streams:
        await stream.__aexit__(None, None, None)
    await client.close()


async def execute(dsn: str, statement: str, *arguments: object) -> None:
    """As somebody with access to the tables."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


@asynccontextmanager
async def other_process(dsn: str, directory: Path) -> AsyncIterator[str]:
    """The service in a process of its own; its address."""
    ready_file = directory / "ready"
    environment = os.environ | {
        "LEDGER_DATABASE_URL": dsn,
        "LEDGER_MAY_LOSE_DATA": "1",
        "LEDGER_LISTEN": "127.0.0.1:0",
        "LEDGER_READY_FILE": str(ready_file),
        "LEDGER_LOG_LEVEL": "error",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ledger_server", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        while not ready_file.exists():
            assert process.returncode is None
            await asyncio.sleep(0.02)
        yield ready_file.read_text()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_ten_thousand_accounts_are_watched_as_soon_as_one(own_server: Server) -> None:
    """Who is looked for by name is looked for by itself: else each would be held against each, for many seconds."""
    async with LedgerClient(own_server.address) as client:
        ledger = await client.create_ledger("Large")
        new = [commands.create_account(str(n), normal_balance="credit", currency="USD") for n in range(10_000)]
        ids = [account.id for account in (await client.batch_create_accounts(ledger.id, new)).accounts]
        async with client.watch_balances(ledger.id, account_ids=ids, snapshot=True, reconnect_timeout=0) as stream:
            snapshot = await anext(stream)
    assert isinstance(snapshot, Snapshot)
    assert set(snapshot.accounts) == set(ids)
