"""A watched stream outlives its connection without gap, duplicate or a torn snapshot."""

import asyncio
import random
import time

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from ledger_client import (
    BalanceStream,
    Cancelled,
    EpochChanged,
    Event,
    Heartbeat,
    LedgerClient,
    LedgerError,
    PositionPruned,
    Snapshot,
    StreamGap,
    Unavailable,
    WatchMessage,
)
from ledger_client.v1.streams_pb2 import WatchBalancesRequest, WatchBalancesResponse
from tests.patience import PATIENCE_SECONDS
from tests.service.scripted_server import (
    EPOCH,
    Script,
    changes,
    event,
    heartbeat,
    send,
    serving,
    snapshot_complete,
    snapshot_part,
    start,
)

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


async def take(stream: BalanceStream, count: int) -> list[WatchMessage]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [await anext(stream) for _ in range(count)]


def positions(messages: list[WatchMessage]) -> list[int]:
    return [message.position for message in messages if isinstance(message, Event)]


def asked(script: Script) -> list[tuple[bool, int | None, str]]:
    """Of each request for a stream: snapshot, after_position and epoch."""
    return [
        (r.snapshot, r.after_position if r.HasField("after_position") else None, r.epoch)
        for r in script.received
        if isinstance(r, WatchBalancesRequest)
    ]


async def play_out(script: Script, count: int, *, snapshot: bool = False) -> list[WatchMessage]:
    async with (
        serving(script) as address,
        LedgerClient(address) as ledger,
        ledger.watch_balances("l-1", snapshot=snapshot, heartbeat_interval=0.1) as stream,
    ):
        return await take(stream, count)


@pytest.mark.parametrize(
    "end",
    [
        UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.OK,
    ],
    ids=lambda code: code.name,
)
async def test_a_lost_stream_goes_on_after_the_last_position_seen(end: grpc.StatusCode) -> None:
    script = Script(
        streams=[
            send(heartbeat(4), changes(event(5, a=1), event(6, a=2)), then=end),
            send(heartbeat(6), changes(event(7, a=3))),
        ]
    )
    messages = await play_out(script, 5)
    assert positions(messages) == [5, 6, 7]
    assert asked(script) == [(False, None, ""), (False, 6, EPOCH)]


async def test_heartbeats_move_the_place_to_go_on_from() -> None:
    script = Script(streams=[send(heartbeat(4), heartbeat(9), then=UNAVAILABLE), send(heartbeat(9))])
    messages = await play_out(script, 3)
    assert [type(message) for message in messages] == [Heartbeat] * 3
    assert asked(script)[1] == (False, 9, EPOCH)


async def test_a_stream_from_now_does_not_move_on_to_a_later_now() -> None:
    """The connection is lost before anything was read: what was committed since the stream was entered must come."""
    script = Script(streams=[send(heartbeat(4), then=UNAVAILABLE), send(heartbeat(4), changes(event(5, a=1)))])
    async with serving(script) as address, LedgerClient(address) as ledger, ledger.watch_balances("l-1") as stream:
        await asyncio.sleep(0.1)
        assert positions(await take(stream, 3)) == [5]
    assert asked(script)[1] == (False, 4, EPOCH)


async def test_what_is_sent_twice_is_handed_out_once() -> None:
    script = Script(
        streams=[
            send(heartbeat(4), changes(event(5, a=1), event(6, b=1)), then=UNAVAILABLE),
            send(heartbeat(4), changes(event(5, a=1), event(6, b=1), event(7, a=2))),
        ]
    )
    messages = await play_out(script, 4)
    assert positions(messages) == [5, 6, 7]
    assert [type(message) for message in messages] == [Heartbeat, Event, Event, Event], "no step back either"


async def test_a_snapshot_is_one_whole_and_what_follows_is_after_it() -> None:
    script = Script(
        streams=[
            send(
                snapshot_part(7, a=1),
                snapshot_part(7, b=2),
                snapshot_complete(7),
                changes(event(8, a=2)),
                then=UNAVAILABLE,
            ),
            send(heartbeat(8), changes(event(9, b=3))),
        ]
    )
    snapshot, first, _, second = await play_out(script, 4, snapshot=True)
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.position, snapshot.epoch) == (7, EPOCH)
    assert {id_: account.lock_version for id_, account in snapshot.accounts.items()} == {"a": 1, "b": 2}
    assert positions([first, second]) == [8, 9]
    assert asked(script) == [(True, None, ""), (False, 8, EPOCH)]


async def test_a_snapshot_that_was_cut_begins_anew_and_shows_nothing_of_the_first() -> None:
    script = Script(
        streams=[
            send(snapshot_part(7, a=1, gone=5), then=UNAVAILABLE),
            send(snapshot_part(9, a=2), snapshot_part(9, b=2), snapshot_complete(9)),
        ]
    )
    [snapshot] = await play_out(script, 1, snapshot=True)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.position == 9
    assert {id_: account.lock_version for id_, account in snapshot.accounts.items()} == {"a": 2, "b": 2}
    assert asked(script) == [(True, None, "")] * 2


async def test_accounts_that_join_are_announced_once_however_often_the_stream_is_cut() -> None:
    """They are announced at the position before they join, so whoever resumes there is sent it again."""
    announcement = [snapshot_part(5, b=3), snapshot_complete(5)]
    script = Script(
        streams=[
            send(heartbeat(4), changes(event(5, a=1)), *announcement, then=UNAVAILABLE),
            send(heartbeat(5), *announcement, then=UNAVAILABLE),
            send(heartbeat(5), *announcement, changes(event(7, b=4)), snapshot_part(7, c=1), snapshot_complete(7)),
        ]
    )
    messages = await play_out(script, 7)
    assert [m.position for m in messages if isinstance(m, Snapshot)] == [5, 7]
    assert [type(m) for m in messages] == [Heartbeat, Event, Snapshot, Heartbeat, Heartbeat, Event, Snapshot]


@pytest.mark.parametrize("torn", [[], [snapshot_part(5, b=3)]], ids=["before it", "within it"])
async def test_an_announcement_that_was_cut_off_is_shown_when_it_comes(torn: list[WatchBalancesResponse]) -> None:
    script = Script(
        streams=[
            send(heartbeat(4), changes(event(5, a=1)), *torn, then=UNAVAILABLE),
            send(heartbeat(5), snapshot_part(5, b=3), snapshot_complete(5)),
        ]
    )
    messages = await play_out(script, 4)
    assert [type(message) for message in messages] == [Heartbeat, Event, Heartbeat, Snapshot]


async def test_accounts_that_join_right_after_the_first_snapshot_are_announced_too() -> None:
    announcement = [snapshot_part(4, b=3), snapshot_complete(4)]
    script = Script(
        streams=[
            send(snapshot_part(4, a=1), snapshot_complete(4), then=UNAVAILABLE),
            send(heartbeat(4), *announcement, then=UNAVAILABLE),
            send(heartbeat(4), *announcement, changes(event(6, b=4))),
        ]
    )
    messages = await play_out(script, 5, snapshot=True)
    assert [list(m.accounts) for m in messages if isinstance(m, Snapshot)] == [["a"], ["b"]]
    assert positions(messages) == [6]


async def test_a_ledger_without_accounts_has_an_empty_snapshot() -> None:
    [snapshot] = await play_out(Script(streams=[send(snapshot_complete(0))]), 1, snapshot=True)
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.position, dict(snapshot.accounts)) == (0, {})


@pytest.mark.parametrize(
    ("responses", "message"),
    [
        ([heartbeat(4), changes(event(5, a=1), event(7, a=3))], "from lock_version 1 to 3 at position 7"),
        ([heartbeat(4), changes(event(5, a=1), event(6, b=9), event(7, a=1))], "from lock_version 1 to 1"),
    ],
    ids=["a change left out", "a change told twice"],
)
async def test_a_skipped_lock_version_is_a_gap(responses: list[WatchBalancesResponse], message: str) -> None:
    with pytest.raises(StreamGap, match=message):
        await play_out(Script(streams=[send(*responses)]), 9)


async def test_a_gap_after_the_snapshot_is_found_as_well() -> None:
    script = Script(streams=[send(snapshot_part(4, a=1), snapshot_complete(4), changes(event(9, a=3)))])
    with pytest.raises(StreamGap):
        await play_out(script, 9, snapshot=True)


@pytest.mark.parametrize("version", [8, 9], ids=["nothing left out", "a change left out"])
async def test_a_large_category_that_comes_back_is_checked_from_where_it_is_announced(version: int) -> None:
    """More accounts than the client remembers; one of them moved while it was out of the category."""
    others = [f"b{n}" for n in range(100_001)]
    parts = [snapshot_part(8, **dict.fromkeys(others[n : n + 20_000], 0)) for n in range(0, len(others), 20_000)]
    announcement = [*parts, snapshot_part(8, a=7), snapshot_complete(8)]
    script = Script(
        streams=[
            send(heartbeat(4), changes(event(5, a=1)), *announcement, changes(event(10, a=version)), heartbeat(10))
        ]
    )
    if version == 8:
        assert positions(await play_out(script, 4)) == [5, 10]
    else:
        with pytest.raises(StreamGap, match="from lock_version 7 to 9"):
            await play_out(script, 4)


async def test_missing_positions_alone_are_no_gap() -> None:
    script = Script(streams=[send(heartbeat(4), changes(event(5, a=1), event(99, a=2)))])
    assert positions(await play_out(script, 3)) == [5, 99]


async def test_another_epoch_ends_the_stream() -> None:
    script = Script(streams=[send(heartbeat(4), then=UNAVAILABLE), send(heartbeat(4, epoch="e-2"))])
    with pytest.raises(EpochChanged, match="e-2") as caught:
        await play_out(script, 9)
    assert caught.value.reason == "EPOCH_CHANGED"


async def test_a_pruned_position_ends_the_stream() -> None:
    status = status_pb2.Status(code=code_pb2.OUT_OF_RANGE, message="gone")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="POSITION_PRUNED", domain="ledger.v1"))
    refused = send(then=grpc.StatusCode.OUT_OF_RANGE, trailer=status.SerializeToString())
    script = Script(streams=[send(heartbeat(4), then=UNAVAILABLE), refused])
    with pytest.raises(PositionPruned):
        await play_out(script, 9)


async def test_refusals_come_when_the_stream_is_entered() -> None:
    script = Script(streams=[send(then=grpc.StatusCode.NOT_FOUND)])
    async with serving(script) as address, LedgerClient(address) as ledger:
        with pytest.raises(LedgerError, match="as the script says"):
            async with ledger.watch_balances("l-1"):
                pytest.fail("entered")


async def test_a_silent_server_is_left_for_another() -> None:
    """Three heartbeats of 0.1 s and the margin of 2 s."""
    script = Script(streams=[send(heartbeat(4)), send(heartbeat(4), changes(event(5, a=1)))])
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert positions(await play_out(script, 3)) == [5]
    assert time.monotonic() - began > 2.2


async def test_a_server_that_greets_and_fails_is_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda _, longest: longest)
    script = Script(streams=[send(heartbeat(4), then=UNAVAILABLE)] * 5)
    began = time.monotonic()
    await play_out(script, 5)
    assert time.monotonic() - began > 0.1 + 0.2 + 0.4 + 0.8


@pytest.mark.parametrize("leave", ["break", "exception", "cancel"])
async def test_leaving_a_stream_ends_its_call(leave: str) -> None:
    script, taken = Script(streams=[send(heartbeat(4))]), asyncio.Event()

    async def read() -> None:
        async with ledger.watch_balances("l-1") as stream:
            async for _ in stream:
                taken.set()
                if leave == "break":
                    break
                if leave == "exception":
                    raise ZeroDivisionError

    async with serving(script) as address, LedgerClient(address) as ledger:
        reading = asyncio.create_task(read())
        if leave == "cancel":
            await taken.wait()
            reading.cancel()
        await asyncio.wait([reading])
        assert (reading.cancelled(), reading.cancelled() or reading.exception() is not None) == (
            leave == "cancel",
            leave != "break",
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            await script.ended.wait()


async def test_a_read_that_was_given_up_loses_nothing() -> None:
    script = Script(streams=[send(heartbeat(4), changes(event(5, a=1))), send(heartbeat(5), changes(event(6, a=2)))])
    async with serving(script) as address, LedgerClient(address) as ledger, ledger.watch_balances("l-1") as stream:
        await take(stream, 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(stream)
        assert positions(await take(stream, 2)) == [6]
    assert asked(script)[1] == (False, 5, EPOCH)


async def test_a_drained_server_is_followed_to_its_successor() -> None:
    script = Script(streams=[send(heartbeat(4), changes(event(5, a=1))), send(heartbeat(5), changes(event(6, a=2)))])
    server, address = await start(script)
    async with LedgerClient(address) as ledger, ledger.watch_balances("l-1") as stream:
        seen = await take(stream, 2)
        await server.stop(0.1)
        server, _ = await start(script, address)
        seen += await take(stream, 2)
    await server.stop(0)
    assert positions(seen) == [5, 6]


async def test_a_server_that_stays_away_is_given_up_in_the_time_asked_for() -> None:
    script = Script(streams=[send(heartbeat(4))])
    server, address = await start(script)
    async with LedgerClient(address) as ledger, ledger.watch_balances("l-1", reconnect_timeout=0.5) as stream:
        await take(stream, 1)
        await server.stop(0)
        with pytest.raises(Unavailable):
            await take(stream, 1)


async def test_closing_the_client_ends_its_streams_without_cancelling_their_tasks() -> None:
    async with serving(Script(streams=[send(heartbeat(4))])) as address:
        ledger = LedgerClient(address)
        async with ledger.watch_balances("l-1") as stream:
            await take(stream, 1)
            reading = asyncio.create_task(anext(stream))
            # A turn, in which it begins to wait.
            await asyncio.sleep(0)
            await ledger.close()
            with pytest.raises(Cancelled, match="the client was closed"):
                await reading


async def test_a_stream_is_read_inside_async_with() -> None:
    async with LedgerClient("127.0.0.1:1") as ledger:
        with pytest.raises(RuntimeError, match="async with"):
            await anext(ledger.watch_balances("l-1"))
