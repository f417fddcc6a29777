"""Streams of events, and what filters let through, with the real client on the real service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from ledger_client import (
    Account,
    AccountNotFound,
    BalanceStream,
    Event,
    EventKind,
    EventStream,
    Heartbeat,
    InvalidArgument,
    Ledger,
    LedgerClient,
    LedgerNotFound,
    PositionInFuture,
    StreamGap,
    Transaction,
    TransactionStatus,
    credit,
    debit,
)
from ledger_client.v1.streams_pb2 import WatchBalancesResponse, WatchEventsRequest, WatchEventsResponse
from tests.conftest import Server, new_server
from tests.patience import PATIENCE_SECONDS
from tests.service.scripted_server import EPOCH, Script, changes, event, heartbeat, send, serving
from tests.service.streams import events_up_to

NIL_ID = "00000000-0000-0000-0000-000000000000"
CREATED = EventKind.EVENT_KIND_TRANSACTION_CREATED
POSTED = EventKind.EVENT_KIND_TRANSACTION_POSTED


async def account(client: LedgerClient, ledger: Ledger, name: str) -> Account:
    return await client.create_account(ledger.id, name, normal_balance="debit", currency="USD")


async def pending(
    client: LedgerClient, to: Account, source: Account, metadata: Mapping[str, str] | None = None
) -> Transaction:
    return await client.create_transaction(to.ledger_id, [debit(to, 1), credit(source, 1)], metadata=metadata or {})


def positions(events: Iterable[Event]) -> list[int]:
    return [event.position for event in events]


async def test_all_that_is_done_is_told_live_and_from_the_log(client: LedgerClient, ledger: Ledger) -> None:
    async with client.watch_events(ledger.id) as stream:
        a, b = await account(client, ledger, "a"), await account(client, ledger, "b")
        await client.update_account(ledger.id, a, name="A")
        await client.update_ledger(ledger.id, name="Books")
        made = await pending(client, a, b)
        last = (await client.post_transaction(ledger.id, made)).position
        live = await events_up_to(stream, last)
    async with client.watch_events(ledger.id, after_position=0) as stream:
        assert await events_up_to(stream, last) == live
    assert positions(live) == list(range(1, last + 1))
    assert [(event.kind, event.account_id, event.transaction_id) for event in live] == [
        (EventKind.EVENT_KIND_ACCOUNT_CREATED, a.id, ""),
        (EventKind.EVENT_KIND_ACCOUNT_CREATED, b.id, ""),
        (EventKind.EVENT_KIND_ACCOUNT_UPDATED, a.id, ""),
        (EventKind.EVENT_KIND_LEDGER_UPDATED, "", ""),
        (CREATED, "", made.id),
        (POSTED, "", made.id),
    ]


async def test_events_about_an_account_come_whole(client: LedgerClient, ledger: Ledger) -> None:
    a, b, c = [await account(client, ledger, name) for name in "abc"]
    async with client.watch_events(ledger.id, account_ids=[a.id], heartbeat_interval=0.1) as stream:
        ours = await pending(client, a, b)
        await pending(client, b, c)
        renamed = await client.update_account(ledger.id, a, name="A")
        last = (await client.update_account(ledger.id, c, name="C")).position
        live = await events_up_to(stream, last)
    async with client.watch_events(
        ledger.id, account_ids=[a.id], after_position=c.position, heartbeat_interval=0.1
    ) as stream:
        assert await events_up_to(stream, last) == live
    assert positions(live) == [ours.position, renamed.position]
    assert [change.account_id for change in live[0].changes] == sorted([a.id, b.id])


async def test_ledgers_are_told_as_they_are_created(client: LedgerClient) -> None:
    async with client.watch_events(NIL_ID, kinds=[EventKind.EVENT_KIND_LEDGER_CREATED]) as stream:
        created = [(await client.create_ledger(name=name)).id for name in ("one", "two")]
        told: list[str] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(told) < 2:
                message = await anext(stream)
                told += [message.ledger_id] if isinstance(message, Event) else []
    assert told == created


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "from the log"])
async def test_only_events_of_the_kinds_asked_for_are_told(client: LedgerClient, ledger: Ledger, is_live: bool) -> None:
    a, b = await account(client, ledger, "a"), await account(client, ledger, "b")
    events = client.watch_events(ledger.id, kinds=[POSTED], after_position=b.position, heartbeat_interval=0.1)
    balances = client.watch_balances(ledger.id, kinds=[POSTED], after_position=b.position, heartbeat_interval=0.1)
    if is_live:
        await events.__aenter__()
        await balances.__aenter__()
    made = [await pending(client, a, b) for _ in range(3)]
    posted = [(await client.post_transaction(ledger.id, each)).position for each in made]
    last = (await client.update_ledger(ledger.id, name="Books")).position
    if not is_live:
        await events.__aenter__()
        await balances.__aenter__()
    assert positions(await events_up_to(events, last)) == posted
    # Versions are left out, and that is no gap.
    told = await events_up_to(balances, last)
    assert [(event.position, event.changes[0].lock_version) for event in told] == list(
        zip(posted, (4, 5, 6), strict=True)
    )
    await events.__aexit__()
    await balances.__aexit__()


async def test_a_transaction_passes_by_the_metadata_it_had_when_it_was_written(
    client: LedgerClient, ledger: Ledger
) -> None:
    a, b = await account(client, ledger, "a"), await account(client, ledger, "b")
    wanted = {"shop": "7", "till": "2"}
    watching = {"transaction_metadata": wanted, "after_position": b.position, "heartbeat_interval": 0.1}
    async with (
        client.watch_balances(ledger.id, **watching) as balances,  # type: ignore[arg-type]
        client.watch_events(ledger.id, **watching) as events,  # type: ignore[arg-type]
    ):
        ours = await pending(client, a, b, wanted | {"more": "x"})
        await pending(client, a, b, {"shop": "7"})
        await pending(client, a, b)
        away = await client.update_transaction(ledger.id, ours, metadata={"shop": "8"})
        posted = await client.post_transaction(ledger.id, ours, metadata=wanted)
        # No version of the transaction, which has its metadata still.
        await client.update_entry(ledger.id, ours.entries[0].id, metadata={"note": "x"})
        last = (await client.update_ledger(ledger.id, name="Books")).position
        live = positions(await events_up_to(balances, last)), positions(await events_up_to(events, last))
    passed = [ours.position, posted.position]
    assert live == (passed, [*passed, last - 1])
    assert away.position not in live[0]
    async with client.watch_balances(ledger.id, **watching) as balances:  # type: ignore[arg-type]
        assert positions(await events_up_to(balances, last)) == live[0]


@pytest.mark.parametrize("watched", [True, False], ids=["of accounts", "of the whole ledger"])
@pytest.mark.parametrize("is_live", [True, False], ids=["live", "from the log"])
async def test_a_partial_post_passes_by_the_metadata_of_the_pending_transaction_too(
    client: LedgerClient, ledger: Ledger, is_live: bool, watched: bool
) -> None:
    """It shrinks the pending one and may archive it, which no other event tells."""
    a, b = await account(client, ledger, "a"), await account(client, ledger, "b")
    order = {"order": "1"}
    asked: Any = {"after_position": b.position, "heartbeat_interval": 0.1}
    account_ids = [a.id] if watched else []
    ours = client.watch_balances(ledger.id, transaction_metadata=order, account_ids=account_ids, **asked)
    whole = client.watch_events(ledger.id, transaction_metadata=order, account_ids=account_ids, **asked)
    parts = client.watch_balances(ledger.id, transaction_metadata={"part": "1"}, account_ids=account_ids, **asked)
    streams: tuple[BalanceStream | EventStream, ...] = (ours, whole, parts)
    async with AsyncExitStack() as stack:
        if is_live:
            for stream in streams:
                await stack.enter_async_context(stream)
        held = await client.create_transaction(ledger.id, [debit(a, 3), credit(b, 3)], metadata=order)
        some = await client.partial_post_transaction(
            ledger.id, held, [debit(a, 1), credit(b, 1)], metadata={"part": "1"}
        )
        rest = await client.partial_post_transaction(ledger.id, held, [debit(a, 2), credit(b, 2)])
        assert (await client.get_transaction(ledger.id, held)).status == TransactionStatus.TRANSACTION_STATUS_ARCHIVED
        # From here on the part is a transaction like any other.
        await client.update_transaction(ledger.id, some, external_id="x")
        reversal = await client.reverse_transaction(ledger.id, rest, metadata=order)
        await client.reverse_transaction(ledger.id, some)
        last = (await client.update_ledger(ledger.id, name="Books")).position
        if not is_live:
            for stream in streams:
                await stack.enter_async_context(stream)
        told = [positions(await events_up_to(stream, last)) for stream in streams]
    moved = [held.position, some.position, rest.position, reversal.position]
    assert told == [moved, moved, [some.position]]


@pytest.mark.parametrize("what", ["ledger", "account", "future", "kind"])
async def test_what_cannot_be_watched_is_refused_on_entering(client: LedgerClient, ledger: Ledger, what: str) -> None:
    nobody = "00000000-0000-7000-8000-000000000000"
    stream, error = {
        "ledger": (client.watch_events(nobody), LedgerNotFound),
        "account": (client.watch_events(ledger.id, account_ids=[nobody]), AccountNotFound),
        "future": (client.watch_events(ledger.id, after_position=10**9), PositionInFuture),
        "kind": (client.watch_events(ledger.id, kinds=[EventKind.EVENT_KIND_UNSPECIFIED]), InvalidArgument),
    }[what]
    with pytest.raises(error):
        async with stream:
            pytest.fail("entered")


async def test_balances_of_the_nil_ledger_are_refused(client: LedgerClient) -> None:
    with pytest.raises(InvalidArgument):
        async with client.watch_balances(NIL_ID):
            pytest.fail("entered")


@pytest.mark.parametrize(
    ("responses", "filtered", "gap"),
    [
        ([heartbeat(4), changes(event(5), event(7))], False, "from position 5 to 7"),
        ([heartbeat(4), changes(event(5)), heartbeat(6)], False, "from position 5 to 6"),
        ([heartbeat(4), changes(event(5), event(7)), heartbeat(9), changes(event(10))], True, None),
    ],
    ids=["an event left out", "an event left out before a heartbeat", "what a filter left out"],
)
async def test_a_skipped_position_is_a_gap_where_nothing_is_filtered(
    responses: list[WatchBalancesResponse], filtered: bool, gap: str | None
) -> None:
    script = Script(streams=[send(*responses)])
    async with (
        serving(script) as address,
        LedgerClient(address) as client,
        client.watch_events("l-1", kinds=[POSTED] if filtered else []) as stream,
    ):
        if gap is None:
            assert positions(await events_up_to(stream, 10)) == [5, 7, 10]
            return
        with pytest.raises(StreamGap, match=gap):
            await events_up_to(stream, 10)


async def test_a_lost_stream_goes_on_after_the_last_position_seen() -> None:
    lost = send(heartbeat(4), changes(event(5)), then=grpc.StatusCode.UNAVAILABLE)
    script = Script(streams=[lost, send(heartbeat(5), changes(event(6)))])
    async with serving(script) as address, LedgerClient(address) as client, client.watch_events("l-1") as stream:
        assert positions(await events_up_to(stream, 6)) == [5, 6]
    again = script.received[1]
    assert isinstance(again, WatchEventsRequest)
    assert (again.after_position, again.epoch) == (5, EPOCH)


def test_both_streams_answers_are_the_same_bytes() -> None:
    """The service writes them once."""
    told = Event(position=7, account_id="a")
    balances = WatchBalancesResponse(changes=told, further_changes=[told])
    assert WatchEventsResponse.FromString(balances.SerializeToString()) == WatchEventsResponse(
        event=told, further_events=[told]
    )
    beat = Heartbeat(position=7)
    assert WatchEventsResponse.FromString(
        WatchBalancesResponse(heartbeat=beat).SerializeToString()
    ) == WatchEventsResponse(heartbeat=beat)


async def test_a_deleted_ledger_is_told_to_its_last_event(client: LedgerClient, ledger: Ledger, server: Server) -> None:
    a, b = await account(client, ledger, "a"), await account(client, ledger, "b")
    async with (
        new_server(server.dsn) as other_server,
        LedgerClient(other_server.address) as other,
        client.watch_events(ledger.id) as here,
        other.watch_events(ledger.id) as there,
        other.watch_balances(ledger.id, account_ids=[a.id]) as of_account,
    ):
        made = await pending(client, a, b)
        await client.archive_transaction(ledger.id, made)
        await client.delete_ledger(ledger.id)
        last = made.position + 2
        for stream in (here, there):
            assert positions(await events_up_to(stream, last)) == [made.position, last - 1, last]
        assert positions(await events_up_to(of_account, last - 1)) == [made.position, last - 1]
        for ended in (here, there, of_account):
            with pytest.raises(LedgerNotFound):
                await events_up_to(ended, last + 1)


async def test_the_rest_of_a_deleted_ledgers_log_is_read_to_its_end(client: LedgerClient, ledger: Ledger) -> None:
    a, b = await account(client, ledger, "a"), await account(client, ledger, "b")
    made = await pending(client, a, b)
    await client.archive_transaction(ledger.id, made)
    await client.delete_ledger(ledger.id)
    last = made.position + 2
    async with client.watch_events(ledger.id, after_position=made.position) as stream:
        events = await events_up_to(stream, last)
        with pytest.raises(LedgerNotFound):
            await events_up_to(stream, last + 1)
    assert positions(events) == [last - 1, last]
    assert events[-1].kind == EventKind.EVENT_KIND_LEDGER_DELETED
    with pytest.raises(LedgerNotFound):
        async with client.watch_events(ledger.id, after_position=last):
            pass
