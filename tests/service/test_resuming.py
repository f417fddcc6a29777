"""What a stream costs that is resumed from an old position: what its pages say, not what has become of it since."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from ledger_client import Account, Category, Ledger, LedgerClient, commands, credit, debit
from ledger_client.v1.streams_pb2 import WatchBalancesResponse
from ledger_server.domain.book import Committed
from ledger_server.events import hub as hub_module
from ledger_server.events import log as log_module
from ledger_server.events.hub import Hub
from ledger_server.events.subscription import Watch
from ledger_server.storage.pool import read_pool
from tests.conftest import new_server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.service.raw import connected

# So often an account joins a category and leaves it, or a transaction is edited, and so often something is posted.
TIMES, POSTINGS = 60, 900
# What finding one of so many versions takes, with room: some twenty.
STEPS = 30
ROWS = "SELECT coalesce(sum(idx_tup_read), 0)::int FROM pg_stat_user_indexes WHERE relname = ANY ($1)"
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def read_rows(dsn: str, tables: list[str]) -> int:
    """How many rows of these tables were read so far, once nobody else uses the database."""
    # A connection tells what it counted when it ends.
    async with connected(dsn) as owner, asyncio.timeout(PATIENCE_SECONDS):
        while await owner.fetchval(OTHERS):
            await asyncio.sleep(0.02)
        return int(await owner.fetchval(ROWS, tables))


async def read_to(dsn: str, watch: Watch, last_position: int, *, count_min: int = 1) -> list[WatchBalancesResponse]:
    """A stream's messages up to a position, and so many at least, of a hub of its own."""
    messages: list[WatchBalancesResponse] = []
    async with (
        read_pool(dsn, size_max=2) as pool,
        Hub(dsn, pool, with_doorbell=False).running() as hub,
        aclosing(hub.watch(watch)) as stream,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        async for serialized in stream:
            message = WatchBalancesResponse.FromString(serialized)
            messages.append(message)
            positions = [each.position for each in (message.changes, *message.further_changes)]
            if max(message.heartbeat.position, *positions) >= last_position and len(messages) >= count_min:
                break
    return messages


async def join_and_leave(client: LedgerClient, ledger: Ledger, watched: Category, member: Account) -> None:
    for _ in range(TIMES):
        await client.add_category_member(ledger.id, watched, account=member)
        await client.remove_category_member(ledger.id, watched, account=member)


async def post(client: LedgerClient, source: Account, target: Account, times: int = POSTINGS, **fields: Any) -> int:
    """Many transactions between the two; the last one's position."""
    written = commands.create_transaction([debit(source, 1), credit(target, 1)], status="posted", **fields)
    response = await client.batch_write_transactions(source.ledger_id, [written] * times)
    return response.results[-1].transaction.position


async def new_account(client: LedgerClient, ledger: Ledger) -> Account:
    return await client.create_account(ledger.id, "a", normal_balance="credit", currency="USD")


def all_of(ledger: Ledger) -> Watch:
    """The events of transactions with some metadata, from the first on."""
    return Watch(
        number_of(ledger.id),
        transaction_metadata={"of": "all"},
        whole_events=True,
        after_position=0,
        heartbeat_seconds=0.1,
    )


async def slow_down(owner: asyncpg.Connection[asyncpg.Record]) -> None:
    """To look up the metadata of two hundred transactions will take almost a second."""
    await owner.execute("ALTER TABLE transactions RENAME TO slow_transactions")
    await owner.execute("CREATE VIEW transactions AS SELECT * FROM slow_transactions WHERE pg_sleep(0.002)::text = ''")


@pytest.mark.parametrize("whole_events", [False, True], ids=["balances", "events"])
async def test_who_joined_long_ago_is_announced_without_a_walk_through_all_versions_since(
    database: str, whole_events: bool
) -> None:
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger = await client.create_ledger("Test")
        watched = await client.create_category(ledger.id, "c", normal_balance="credit", currency="USD")
        member, other = await new_account(client, ledger), await new_account(client, ledger)
        first = await post(client, other, member)
        await join_and_leave(client, ledger, watched, member)
        last = await post(client, other, member)
    before = await read_rows(database, ["account_lines"])
    watch = Watch(
        number_of(ledger.id),
        category_ids=frozenset([watched.id]),
        whole_events=whole_events,
        after_position=0,
        heartbeat_seconds=0.1,
    )
    messages = await read_to(database, watch, last)
    assert await read_rows(database, ["account_lines"]) - before <= (0 if whole_events else STEPS * TIMES)
    if not whole_events:
        announced = [account for each in messages for account in each.snapshot.accounts]
        assert [account.lock_version for account in announced] == [POSTINGS] * TIMES
        assert {account.balances.posted.amount for account in announced} == {str(POSTINGS)}
        ends = [each.snapshot_complete.position for each in messages if each.HasField("snapshot_complete")]
        assert ends == list(range(first, first + 2 * TIMES, 2))


async def test_what_an_account_was_under_is_read_once_a_page_not_once_an_event(database: str) -> None:
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger = await client.create_ledger("Test")
        watched = await client.create_category(ledger.id, "c", normal_balance="credit", currency="USD")
        member, other = await new_account(client, ledger), await new_account(client, ledger)
        await join_and_leave(client, ledger, watched, member)
        await client.add_category_member(ledger.id, watched, account=member)
        last = await post(client, other, member)
    before = await read_rows(database, ["category_accounts"])
    watch = Watch(number_of(ledger.id), category_ids=frozenset([watched.id]), after_position=0, heartbeat_seconds=0.1)
    await read_to(database, watch, last)
    # Pages hold what is in 256 KiB.
    assert await read_rows(database, ["category_accounts"]) - before <= 10 * TIMES


async def test_the_metadata_of_a_transaction_that_is_edited_often_is_read_once(database: str) -> None:
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger = await client.create_ledger("Test")
        member, other = await new_account(client, ledger), await new_account(client, ledger)
        paid = await client.create_transaction(
            ledger.id, [debit(other, 1), credit(member, 1)], status="posted", metadata={"of": "all"}
        )
        edits = [
            commands.update_transaction(paid, metadata={"of": "all" if n % 2 else "some"}) for n in range(POSTINGS)
        ]
        edited = await client.batch_write_transactions(ledger.id, edits)
        last = edited.results[-1].transaction.position
    tables = ["transactions", "transaction_versions"]
    before = await read_rows(database, tables)
    messages = await read_to(database, all_of(ledger), last)
    events = [event for each in messages for event in (each.changes, *each.further_changes) if event.position]
    assert [event.position for event in events] == [*range(paid.position, last + 1, 2)]
    assert await read_rows(database, tables) - before < 2 * POSTINGS


@pytest.mark.parametrize("whose", ["ours", "the database's"])
async def test_who_asks_for_more_than_can_be_answered_in_time_gets_it_in_smaller_pages(
    database: str, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger = await client.create_ledger("Test")
        member, other = await new_account(client, ledger), await new_account(client, ledger)
        posted = await post(client, other, member, times=200, metadata={"of": "all"})
    async with connected(database) as owner:
        await slow_down(owner)
        if whose == "ours":
            monkeypatch.setattr(log_module, "ANSWER_SECONDS", 0.5)
        else:
            name = await owner.fetchval("SELECT quote_ident(current_database())")
            await owner.execute(f"ALTER DATABASE {name} SET statement_timeout = 500")
    messages = await read_to(database, all_of(ledger), posted)
    events = [event for each in messages for event in (each.changes, *each.further_changes) if event.position]
    assert [event.position for event in events] == [*range(posted - 199, posted + 1)]


async def test_the_tailer_takes_smaller_pages_too(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "POLL_SECONDS", 3600.0)
    monkeypatch.setattr(log_module, "ANSWER_SECONDS", 0.5)
    async with (
        new_server(database) as server,
        LedgerClient(server.address) as client,
        read_pool(database, size_max=2) as pool,
        Hub(database, pool, with_doorbell=False).running() as hub,
        connected(database) as owner,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        ledger = await client.create_ledger("Test")
        member, other = await new_account(client, ledger), await new_account(client, ledger)
        async with aclosing(hub.watch(replace(all_of(ledger), after_position=None))) as stream:
            start = WatchBalancesResponse.FromString(await anext(stream)).heartbeat.position
            posted = await post(client, other, member, times=200, metadata={"of": "all"})
            await slow_down(owner)
            hub.committed(number_of(ledger.id), Committed(ledger.epoch, posted, datetime.now(UTC), []))
            positions = list[int]()
            while not positions or positions[-1] < posted:
                message = WatchBalancesResponse.FromString(await anext(stream))
                positions += [each.position for each in (message.changes, *message.further_changes) if each.position]
    assert positions == [*range(start + 1, posted + 1)]


async def test_a_statement_that_nobody_waits_for_any_more_is_ended(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger = await client.create_ledger("Test")
        member, other = await new_account(client, ledger), await new_account(client, ledger)
        await post(client, other, member, metadata={"of": "all"})
    monkeypatch.setattr(log_module, "ANSWER_SECONDS", 0.3)
    async with connected(database) as owner, connected(database) as watcher, asyncio.timeout(PATIENCE_SECONDS):
        held = owner.transaction()
        await held.start()
        await owner.execute("LOCK TABLE transactions")
        # An answer that does not come in time does not end the stream, as the log itself can be read.
        messages = await read_to(database, all_of(ledger), 0, count_min=4)
        assert {each.heartbeat.position for each in messages} == {0}
        while await watcher.fetchval(OTHERS) > 1:
            await asyncio.sleep(0.02)
        await held.rollback()
