"""Streams filtered by category or by metadata: what they carry, live and from the log, and what many of them cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, TypeVar

import asyncpg
import pytest

from ledger_client import (
    Account,
    Category,
    CategoryNotFound,
    ConflatedChanges,
    Event,
    EventKind,
    Ledger,
    LedgerClient,
    Transaction,
    credit,
    debit,
    monitor_condition,
)
from ledger_client.v1.streams_pb2 import WatchBalancesResponse
from ledger_server.events.hub import Hub
from ledger_server.events.subscription import Watch
from ledger_server.storage.pool import read_pool
from tests.conftest import Server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.service.streams import events_up_to

_Told = TypeVar("_Told")

UNKNOWN_ID = "00000000-0000-7000-8000-000000000001"
READERS, EVENTS = 40, 30
LOOKS = "SELECT sum(idx_scan)::int FROM pg_stat_user_indexes WHERE relname = $1"
# But for those of writers and of the folding, who open theirs when they need them.
CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name !~ '^ledger-(lane|folding)'
"""


async def account(client: LedgerClient, ledger: Ledger, *categories: Category) -> Account:
    return await client.create_account(ledger.id, "a", normal_balance="credit", currency="USD", categories=categories)


async def category(client: LedgerClient, ledger: Ledger, *parents: Category) -> Category:
    return await client.create_category(ledger.id, "c", normal_balance="credit", currency="USD", parents=parents)


async def pay(client: LedgerClient, source: Account, target: Account, **fields: Any) -> Transaction:
    entries = [debit(source, 1), credit(target, 1)]
    return await client.create_transaction(source.ledger_id, entries, status="posted", **fields)


async def told_and_heard(
    client: LedgerClient,
    category: Category,
    start: int,
    act: Callable[[], Awaitable[tuple[_Told, int]]],
    *,
    is_live: bool,
) -> tuple[_Told, list[Event]]:
    """What `act` says that a watch of the category's events tells, up to a last position, and what it told."""
    if not is_live:
        told, last = await act()
    watched: Any = {"category_ids": [category.id], "after_position": start, "heartbeat_interval": 0.1}
    async with client.watch_events(category.ledger_id, **watched) as stream:
        if is_live:
            told, last = await act()
        return told, await events_up_to(stream, last)


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "from the log"])
async def test_an_event_stream_of_a_category_tells_all_that_concerns_its_accounts(
    client: LedgerClient, ledger: Ledger, is_live: bool
) -> None:
    top, other = await category(client, ledger), await category(client, ledger)
    inner = await category(client, ledger, top)
    member, stranger = await account(client, ledger, inner), await account(client, ledger, other)
    start = stranger.position

    async def act() -> tuple[list[int], int]:
        told = [(await client.update_account(ledger.id, member, name="A")).position]
        await client.update_account(ledger.id, stranger, name="B")
        monitor = await client.create_balance_monitor(ledger.id, monitor_condition("posted", ">", 0), account=member)
        await client.create_balance_monitor(ledger.id, monitor_condition("posted", ">", 0), account=stranger)
        told += [monitor.position, (await pay(client, stranger, member)).position]
        told += [told[-1] + 1, (await client.update_category(ledger.id, top, name="Top")).position]
        await client.update_category(ledger.id, other, name="Other")
        told += [(await client.add_category_member(ledger.id, inner, account=stranger)).position]
        told += [(await client.update_account(ledger.id, stranger, name="C")).position]
        told += [(await client.remove_category_member(ledger.id, inner, account=stranger)).position]
        return told, (await client.update_account(ledger.id, stranger, name="D")).position

    told, events = await told_and_heard(client, top, start, act, is_live=is_live)
    assert [event.position for event in events] == told
    paid = next(event for event in events if event.kind == EventKind.EVENT_KIND_TRANSACTION_CREATED)
    assert stranger.id in [change.account_id for change in paid.changes], "events are told whole"


@pytest.mark.parametrize("conflate", [False, True], ids=["event by event", "folded"])
@pytest.mark.parametrize("is_live", [True, False], ids=["live", "from the log"])
async def test_a_balance_stream_tells_of_the_kinds_that_it_names_also_what_moves_nothing(
    client: LedgerClient, ledger: Ledger, is_live: bool, conflate: bool
) -> None:
    """But for what would be folded: there is nothing in it to fold."""
    top = await category(client, ledger)
    inner = await category(client, ledger, top)
    member, stranger = await account(client, ledger, inner), await account(client, ledger)
    kinds = [
        EventKind.EVENT_KIND_CATEGORY_DELETED,
        EventKind.EVENT_KIND_CATEGORY_MEMBER_REMOVED,
        EventKind.EVENT_KIND_TRANSACTION_CREATED,
    ]
    if not conflate:
        kinds += [EventKind.EVENT_KIND_ACCOUNT_UPDATED]
    asked: Any = {"category_ids": [inner.id], "kinds": kinds, "after_position": stranger.position}

    async def act() -> list[tuple[int, int]]:
        """The positions, and how many changes each event has that pass."""
        told = [((await client.update_account(ledger.id, member, name="A")).position, 0)]
        await client.update_account(ledger.id, stranger, name="B")
        await client.update_category(ledger.id, inner, name="Not asked for")
        told += [((await pay(client, stranger, member)).position, 2)]
        told += [((await client.remove_category_member(ledger.id, inner, account=member)).position, 1)]
        await pay(client, stranger, member)
        await client.delete_category(ledger.id, top)
        return [*told, ((await client.delete_category(ledger.id, inner)).position, 0)]

    if not is_live:
        told = await act()
    async with client.watch_balances(ledger.id, conflate=conflate, heartbeat_interval=0.1, **asked) as stream:
        heard: list[tuple[int, int]] = []
        if is_live:
            told = await act()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (stream.position or 0) < told[-1][0]:
                match await anext(stream):
                    case Event() as event:
                        heard.append((event.position, len(event.changes)))
                    case ConflatedChanges() as folded:
                        heard.append((folded.position, folded.folded))
                        assert (folded.first_position, folded.folded) == (told[1][0], 2)
    if not conflate:
        assert heard == told
    elif heard[0][0] == told[1][0]:
        assert heard == told[1:3]
    else:
        assert heard == [(told[2][0], 2)]


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "from the log"])
async def test_an_event_stream_of_a_category_tells_all_that_concerns_what_is_under_it(
    client: LedgerClient, ledger: Ledger, is_live: bool
) -> None:
    """Also what leaves the category itself as it was."""
    top, other, apart = [await category(client, ledger) for _ in range(3)]
    inner = await category(client, ledger, top)
    member = await account(client, ledger, inner, top)
    stranger = await account(client, ledger, apart)
    start, positive = stranger.position, monitor_condition("posted", ">", 0)

    async def act() -> tuple[list[tuple[int, set[str], set[str]]], int]:
        told: list[tuple[int, set[str], set[str]]] = []

        def tells(written: Any, joined_or_left: Sequence[Category] = (), under: Sequence[Category] = ()) -> None:
            position = written if isinstance(written, int) else written.position
            told.append((position, {each.id for each in joined_or_left}, {each.id for each in under}))

        tells(await client.add_category_member(ledger.id, other, account=member), [other], [top, inner])
        tells(await client.remove_category_member(ledger.id, other, account=member), [other], [top, inner])
        tells(await client.update_category(ledger.id, inner, name="Inner"), [], [top])
        tells(await client.add_category_member(ledger.id, other, member_category=inner), [other], [top])
        tells(await client.remove_category_member(ledger.id, other, member_category=inner), [other], [top])
        tells(await client.add_category_member(ledger.id, inner, account=member), [], [top])
        tells(await client.remove_category_member(ledger.id, inner, account=member), [inner], [top])
        tells(await client.add_category_member(ledger.id, inner, account=member), [inner], [top])
        tells(await client.remove_category_member(ledger.id, top, account=member), [], [inner, top])
        empty = await category(client, ledger, inner)
        tells(empty, [inner, top])
        tells(await client.add_category_member(ledger.id, top, member_category=empty), [], [inner, top])
        tells(await client.delete_category(ledger.id, empty), [inner, top])
        born = await account(client, ledger, inner)
        tells(born, [inner, top])
        tells(await client.update_account(ledger.id, born, name="Born"), [], [inner, top])
        tells(await client.delete_account(ledger.id, born), [], [inner, top])
        monitor = await client.create_balance_monitor(ledger.id, positive, category=inner)
        tells(monitor, [], [top])
        tells(await client.update_balance_monitor(ledger.id, monitor, description="x"), [], [top])
        tells(paid := (await pay(client, stranger, member)).position)
        tells(paid + 1, [], [top])
        tells(paid := (await pay(client, member, stranger)).position)
        tells(paid + 1, [], [top])
        ended = await client.delete_category(ledger.id, inner)
        tells(ended, [top])
        tells(ended.position + 1, [], [top])
        await client.update_category(ledger.id, apart, name="Apart")
        await client.add_category_member(ledger.id, apart, member_category=other)
        return told, (await client.update_account(ledger.id, member, name="Gone")).position

    told, events = await told_and_heard(client, top, start, act, is_live=is_live)
    assert [
        (event.position, {*event.joined_or_left_category_ids}, {*event.under_category_ids}) for event in events
    ] == told
    created = [event for event in events if event.kind == EventKind.EVENT_KIND_ACCOUNT_CREATED]
    assert [[*event.parent_category_ids] for event in created] == [[inner.id]]


async def test_an_event_stream_of_an_unknown_category_is_refused(client: LedgerClient, ledger: Ledger) -> None:
    with pytest.raises(CategoryNotFound) as caught:
        async with client.watch_events(ledger.id, category_ids=[UNKNOWN_ID]):
            pytest.fail("entered")
    assert caught.value.metadata == {"category_id": UNKNOWN_ID}


@pytest.mark.parametrize("what", ["balances", "events"])
async def test_a_deleted_category_is_told_to_its_deletion(client: LedgerClient, ledger: Ledger, what: str) -> None:
    kept, gone = await category(client, ledger), await category(client, ledger)
    a, b = await account(client, ledger, gone), await account(client, ledger, kept)
    outside = await account(client, ledger)
    start = outside.position
    told = [(await pay(client, outside, a)).position, (await pay(client, outside, b)).position]
    deleted = (await client.delete_category(ledger.id, gone)).position
    after = (await pay(client, outside, a)).position
    last = (await pay(client, outside, b)).position
    watch = client.watch_balances if what == "balances" else client.watch_events
    told += [deleted] if what == "events" else []
    watched: Any = {"category_ids": [gone.id, kept.id], "heartbeat_interval": 0.1}
    async with watch(ledger.id, after_position=start, **watched) as stream:
        assert [event.position for event in await events_up_to(stream, last)] == [*told, last]
    # A reader of several goes on with those that are left, wherever it was.
    async with watch(ledger.id, after_position=after, **watched) as stream:
        assert [event.position for event in await events_up_to(stream, last)] == [last]
    with pytest.raises(CategoryNotFound):
        async with watch(ledger.id, **watched):
            pytest.fail("entered")
    with pytest.raises(CategoryNotFound):
        async with watch(ledger.id, after_position=start, category_ids=[UNKNOWN_ID]):
            pytest.fail("entered")


async def test_who_becomes_live_amid_writes_misses_nothing(client: LedgerClient, ledger: Ledger) -> None:
    """The tailer looks up for those who are there; somebody who comes must not be served from before that."""
    one, other = await category(client, ledger), await category(client, ledger)
    a, b = await account(client, ledger, one), await account(client, ledger, other)
    first = (await pay(client, a, b)).position
    is_over = asyncio.Event()

    async def write() -> int:
        last = 0
        while not is_over.is_set():
            last = (await pay(client, a, b, metadata={"tenant": "x"})).position
        return last

    async def read(filters: dict[str, Any]) -> list[tuple[int, int]]:
        async with client.watch_balances(ledger.id, after_position=first, heartbeat_interval=0.1, **filters) as stream:
            return [(event.position, len(event.changes)) for event in await events_up_to(stream, await head)]

    writers = [asyncio.create_task(write()) for _ in range(4)]
    head: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    filters: list[dict[str, Any]] = [{"category_ids": [one.id]}, {"transaction_metadata": {"tenant": "x"}}, {}]
    reading = []
    for _ in range(8):
        for each in filters:
            reading.append(asyncio.create_task(read(each)))
            await asyncio.sleep(0.01)
    is_over.set()
    head.set_result(max(await asyncio.gather(*writers)))
    positions = list(range(first + 1, head.result() + 1))
    changes = [2, 4, 4]  # of one account and its category; of both, each with its own
    for n, task in enumerate(reading):
        assert await task == [(position, changes[n % 3]) for position in positions]


@pytest.mark.parametrize(
    ("watch", "table"),
    [
        (lambda number, category: Watch(number, category_ids=frozenset([category.id])), "category_accounts"),
        (lambda number, _: Watch(number, transaction_metadata={"tenant": "x"}), "transactions"),
    ],
    ids=["category", "metadata"],
)
async def test_many_readers_look_up_no_more_than_one(
    own_server: Server, watch: Callable[[int, Category], Watch], table: str
) -> None:
    """Counted by PostgreSQL, of a hub that nobody else uses, while its readers get each event."""
    async with (
        LedgerClient(own_server.address) as client,
        asyncpg.create_pool(own_server.dsn, min_size=1, max_size=1) as database,
    ):
        ledger = await client.create_ledger("Test")
        watched = await category(client, ledger)
        a, b = await account(client, ledger, watched), await account(client, ledger)
        looks_before, connections = await database.fetchval(LOOKS, table), await database.fetchval(CONNECTIONS)
        async with (
            read_pool(own_server.dsn, size_max=4) as pool,
            Hub(own_server.dsn, pool).running() as hub,
            AsyncExitStack() as stack,
        ):
            opening = watch(number_of(ledger.id), watched)
            streams = [await stack.enter_async_context(aclosing(hub.watch(opening))) for _ in range(READERS)]
            for stream in streams:
                await anext(stream)
            for _ in range(EVENTS):
                paid = await pay(client, a, b, metadata={"tenant": "x"})
                async with asyncio.timeout(PATIENCE_SECONDS):
                    for stream in streams:
                        assert WatchBalancesResponse.FromString(await anext(stream)).changes.position == paid.position
        # A connection says what it counted when it ends.
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await database.fetchval(CONNECTIONS) > connections:
                await asyncio.sleep(0.02)
        looks = await database.fetchval(LOOKS, table) - looks_before
    assert looks < EVENTS * READERS / 4
