"""What a snapshot of balances has, counted on the wire: all that is watched, and each account and category once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple

import pytest

from ledger_client import Account, Category, EventKind, Ledger, LedgerClient, commands, credit, debit
from ledger_client.v1.balances_pb2 import Balances
from ledger_client.v1.ledger_service_pb2_grpc import LedgerServiceStub
from ledger_client.v1.streams_pb2 import WatchBalancesRequest, WatchBalancesResponse
from ledger_server.events.hub import Hub
from ledger_server.events.subscription import Watch
from ledger_server.storage import statistics
from ledger_server.storage.pool import read_pool
from tests.conftest import Server, new_server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.service.raw import channel_to, connected

# More than fit into one part of a snapshot.
MANY = 1_200
# So many categories with the same so many accounts.
SHARED = 50
COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
ROWS = "SELECT sum(idx_tup_read)::int FROM pg_stat_user_indexes WHERE relname = 'category_accounts'"
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class Sent(NamedTuple):
    """A snapshot as its parts came, so that what comes twice is in it twice."""

    position: int
    accounts: list[tuple[str, Balances]]
    categories: list[tuple[str, Balances]]

    @property
    def account_ids(self) -> list[str]:
        return sorted(account_id for account_id, _ in self.accounts)

    @property
    def category_ids(self) -> list[str]:
        return sorted(category_id for category_id, _ in self.categories)


async def sent(stream: AsyncIterator[WatchBalancesResponse]) -> Sent:
    """The next snapshot of a stream."""
    all_sent = Sent(0, [], [])
    async for message in stream:
        all_sent.accounts.extend((each.account_id, each.balances) for each in message.snapshot.accounts)
        all_sent.categories.extend((each.category_id, each.balances) for each in message.snapshot.categories)
        if message.HasField("snapshot_complete"):
            return all_sent._replace(position=message.snapshot_complete.position)
    raise AssertionError("the stream ended within a snapshot")


async def snapshot(server: Server, ledger: Ledger, **watched: Any) -> Sent:
    async with channel_to(server.address) as channel:
        request = WatchBalancesRequest(ledger_id=ledger.id, snapshot=True, **watched)
        call = LedgerServiceStub(channel).WatchBalances(request, timeout=PATIENCE_SECONDS)
        try:
            return await sent(aiter(call))
        finally:
            call.cancel()


@asynccontextmanager
async def parts_of(dsn: str, watch: Watch) -> AsyncIterator[AsyncIterator[WatchBalancesResponse]]:
    """A stream's messages, of a hub of its own."""
    async with (
        read_pool(dsn, size_max=2) as pool,
        Hub(dsn, pool, with_doorbell=False).running() as hub,
        aclosing(hub.watch(watch)) as stream,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        yield (WatchBalancesResponse.FromString(message) async for message in stream)


async def cost(dsn: str, ledger: Ledger, category: Category, counter: str) -> int:
    """What PostgreSQL counts for a snapshot of a category, while nobody else uses the database."""

    async def count() -> int:
        # A connection tells what it counted when it ends.
        async with connected(dsn) as owner, asyncio.timeout(PATIENCE_SECONDS):
            while await owner.fetchval(OTHERS):
                await asyncio.sleep(0.02)
            return int(await owner.fetchval(counter))

    before = await count()
    watch = Watch(number_of(ledger.id), category_ids=frozenset([category.id]), snapshot=True)
    async with parts_of(dsn, watch) as parts:
        await sent(parts)
    return await count() - before


async def account(client: LedgerClient, ledger: Ledger, *categories: Category) -> Account:
    return await client.create_account(ledger.id, "a", normal_balance="credit", currency="USD", categories=categories)


async def category(client: LedgerClient, ledger: Ledger, *parents: Category) -> Category:
    return await client.create_category(ledger.id, "c", normal_balance="credit", currency="USD", parents=parents)


@pytest.mark.parametrize(
    ("category_names", "account_names", "expected"),
    [
        (["one"], ["shared", "alone"], ["shared", "in one", "alone"]),
        (["one", "two"], [], ["shared", "in one", "moved"]),
        (["top"], [], ["shared", "in one", "moved"]),
        (["top", "one", "two"], ["shared", "moved", "in one"], ["shared", "in one", "moved"]),
    ],
    ids=["a category and accounts", "two categories", "two below one", "all of it, and the accounts"],
)
async def test_an_account_that_is_watched_for_several_reasons_is_in_the_snapshot_once(
    client: LedgerClient,
    server: Server,
    ledger: Ledger,
    category_names: list[str],
    account_names: list[str],
    expected: list[str],
) -> None:
    top = await category(client, ledger)
    gone = await category(client, ledger, top)
    one, two = await category(client, ledger, top), await category(client, ledger, top)
    categories = {"top": top, "one": one, "two": two}
    accounts = {
        "shared": await account(client, ledger, one, two),
        "in one": await account(client, ledger, gone, one),
        "moved": await account(client, ledger, one, two),
        "alone": await account(client, ledger),
    }
    # They are not left out because of a category that they were in before.
    await client.remove_category_member(ledger.id, one, account=accounts["moved"])
    await client.delete_category(ledger.id, gone)
    sent = await snapshot(
        server,
        ledger,
        category_ids=[categories[name].id for name in category_names],
        account_ids=[accounts[name].id for name in account_names],
    )
    assert sent.account_ids == sorted(accounts[name].id for name in expected)
    assert sent.category_ids == sorted(categories[name].id for name in category_names)


async def test_accounts_that_two_large_categories_share_are_in_the_snapshot_once(
    client: LedgerClient, server: Server, ledger: Ledger
) -> None:
    one, two = await category(client, ledger), await category(client, ledger)
    shared = commands.create_account("a", normal_balance="credit", currency="USD", categories=[one.id, two.id])
    alone = commands.create_account("a", normal_balance="credit", currency="USD", categories=[two.id])
    created = await client.batch_create_accounts(ledger.id, [shared] * MANY + [alone])
    sent = await snapshot(server, ledger, category_ids=[one.id, two.id])
    assert sent.account_ids == sorted(account.id for account in created.accounts)


async def test_an_account_that_comes_under_a_category_in_two_ways_is_announced_once(
    client: LedgerClient, server: Server, ledger: Ledger
) -> None:
    watched, joining = await category(client, ledger), await category(client, ledger)
    one, two = await category(client, ledger, joining), await category(client, ledger, joining)
    shared = await account(client, ledger, one, two)
    async with channel_to(server.address) as channel:
        request = WatchBalancesRequest(ledger_id=ledger.id, category_ids=[watched.id], after_position=shared.position)
        call = LedgerServiceStub(channel).WatchBalances(request, timeout=PATIENCE_SECONDS)
        await client.add_category_member(ledger.id, watched, member_category=joining)
        announced = await sent(aiter(call))
        call.cancel()
    assert announced.account_ids == [shared.id]


@pytest.mark.parametrize(
    "watched", [{}, {"kinds": [EventKind.EVENT_KIND_TRANSACTION_CREATED]}], ids=["nothing", "kinds only"]
)
async def test_who_filters_nobody_gets_all_accounts_and_all_categories_that_are_there(
    client: LedgerClient, server: Server, ledger: Ledger, watched: dict[str, Any]
) -> None:
    top, gone = await category(client, ledger), await category(client, ledger)
    one = await category(client, ledger, top)
    member, outside = await account(client, ledger, one), await account(client, ledger)
    await client.delete_category(ledger.id, gone)
    paid = await client.create_transaction(ledger.id, [debit(outside, 7), credit(member, 7)], status="posted")
    sent = await snapshot(server, ledger, **watched)
    assert sent.position == paid.position
    assert sent.account_ids == sorted([member.id, outside.id])
    assert sent.category_ids == sorted([top.id, one.id])
    for category_id, balances in sent.categories:
        assert balances == (await client.get_category(ledger.id, category_id)).balances
        assert balances.posted.amount == "7"


async def test_who_watches_accounts_only_gets_no_categories(
    client: LedgerClient, server: Server, ledger: Ledger
) -> None:
    member = await account(client, ledger, await category(client, ledger))
    sent = await snapshot(server, ledger, account_ids=[member.id])
    assert (sent.account_ids, sent.category_ids) == ([member.id], [])


async def test_very_many_categories_of_a_ledger_come_in_parts_and_once(
    client: LedgerClient, server: Server, ledger: Ledger
) -> None:
    created = await asyncio.gather(*(category(client, ledger) for _ in range(MANY)))
    sent = await snapshot(server, ledger)
    assert sent.category_ids == sorted(each.id for each in created)


async def test_a_snapshot_of_very_many_small_categories_takes_few_statements(database: str) -> None:
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger = await client.create_ledger("Test")
        top = await category(client, ledger)
        await asyncio.gather(*(category(client, ledger, top) for _ in range(MANY)))
    assert await cost(database, ledger, top, COMMITS) < MANY / 10


async def test_a_snapshot_of_accounts_that_are_in_many_categories_does_not_read_them_all_for_each(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the plan of tables that nobody has analyzed; of so few pages the planner would rather read half of them."""
    monkeypatch.setattr(statistics, "INTERVAL_SECONDS", 3600.0)
    async with connected(database) as owner:
        await owner.execute("ALTER TABLE category_accounts SET (autovacuum_enabled = off)")
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger = await client.create_ledger("Test")
        top = await category(client, ledger)
        within = [(await category(client, ledger, top)).id for _ in range(SHARED)]
        shared = commands.create_account("a", normal_balance="credit", currency="USD", categories=within)
        await client.batch_create_accounts(ledger.id, [shared] * SHARED)
    assert await cost(database, ledger, top, ROWS) < 4 * SHARED**2


async def test_a_reader_hears_of_a_snapshot_that_takes_long(database: str) -> None:
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger = await client.create_ledger("Test")
        watched = await category(client, ledger)
        member = await account(client, ledger, watched)
    watch = Watch(number_of(ledger.id), category_ids=frozenset([watched.id]), snapshot=True, heartbeat_seconds=0.1)
    async with connected(database) as owner:
        held = owner.transaction()
        await held.start()
        await owner.execute("LOCK TABLE category_accounts")
        async with parts_of(database, watch) as parts:
            assert [each.category_id for each in (await anext(parts)).snapshot.categories] == [watched.id]
            for _ in range(3):
                silence = (await anext(parts)).snapshot
                assert silence.position == member.position
                assert not silence.accounts
            await held.rollback()
            assert (await sent(parts)).account_ids == [member.id]
