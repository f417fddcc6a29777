"""The hub by itself, beside the service that commits: what a stream lives on, one means at a time, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from ledger_client import Account, Ledger, LedgerClient, commands, credit, debit
from ledger_client.v1.streams_pb2 import BalanceChange, Event, EventKind, WatchBalancesResponse
from ledger_server.domain.book import Committed
from ledger_server.domain.errors import ShuttingDown, SlowSubscriber
from ledger_server.events import hub as hub_module
from ledger_server.events import log as log_module
from ledger_server.events.hub import Hub
from ledger_server.events.subscription import Watch
from ledger_server.storage.pool import read_pool
from tests.conftest import Server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS

NEVER = 3600.0


@asynccontextmanager
async def new_hub(dsn: str, **options: Any) -> AsyncIterator[Hub]:
    """A hub that no lane of this process tells about commits."""
    async with read_pool(dsn, size_max=4) as pool, Hub(dsn, pool, **options).running() as hub:
        yield hub


@pytest.fixture
async def pair(client: LedgerClient, ledger: Ledger) -> tuple[Account, Account]:
    return (
        await client.create_account(ledger.id, name="A", normal_balance="credit", currency="USD"),
        await client.create_account(ledger.id, name="B", normal_balance="credit", currency="USD"),
    )


async def transfer(client: LedgerClient, pair: tuple[Account, Account]) -> int:
    source, target = pair
    entries = [debit(source.id, 1), credit(target.id, 1)]
    return (await client.create_transaction(source.ledger_id, entries, status="posted")).position


async def next_of(stream: AsyncGenerator[bytes, None]) -> WatchBalancesResponse:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return WatchBalancesResponse.FromString(await anext(stream))


async def events_up_to(stream: AsyncGenerator[bytes, None], position: int) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not events or events[-1].position < position:
            response = await next_of(stream)
            if response.HasField("changes"):
                events += [response.changes, *response.further_changes]
    return events


def stream_tasks() -> list[str]:
    """What runs for streams in this process."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("tailer-")]


async def cut_connections(dsn: str, application_name: str) -> None:
    """Ends the database's sessions of this name, whoever's they are."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = $1 AND datname = current_database()",
            application_name,
        )
    finally:
        await connection.close()


@asynccontextmanager
async def swallowing_proxy(dsn: str, directory: Path) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """A way to the database, and how to have all that is sent over its present connections swallowed."""
    (socket_directory,) = parse_qs(urlsplit(dsn).query)["host"]
    connections: list[asyncio.Event] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallows: asyncio.Event) -> None:
        try:
            while data := await reader.read(65536):
                if not swallows.is_set():
                    writer.write(data)
        finally:
            writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(f"{socket_directory}/.s.PGSQL.5432")
        connections.append(asyncio.Event())
        there, back = (there_reader, writer), (reader, there_writer)
        await asyncio.gather(*(forward(*way, connections[-1]) for way in (there, back)), return_exceptions=True)

    def swallow() -> None:
        for swallows in connections:
            swallows.set()

    proxy = await asyncio.start_unix_server(connect, directory / ".s.PGSQL.5432")
    async with proxy:
        yield dsn.replace(quote(socket_directory), quote(str(directory))), swallow


async def test_without_a_doorbell_polling_delivers(
    client: LedgerClient, server: Server, ledger: Ledger, pair: tuple[Account, Account]
) -> None:
    async with (
        new_hub(server.dsn, with_doorbell=False) as hub,
        aclosing(hub.watch(Watch(number_of(ledger.id)))) as stream,
    ):
        assert (await next_of(stream)).HasField("heartbeat")
        position = await transfer(client, pair)
        assert [event.position for event in await events_up_to(stream, position)] == [position]


async def test_without_polling_the_doorbell_delivers_also_after_its_connection_was_lost(
    client: LedgerClient,
    server: Server,
    ledger: Ledger,
    pair: tuple[Account, Account],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "POLL_SECONDS", NEVER)
    monkeypatch.setattr(hub_module, "POLL_SECONDS_MAX", NEVER)
    async with new_hub(server.dsn) as hub, aclosing(hub.watch(Watch(number_of(ledger.id)))) as stream:
        assert (await next_of(stream)).HasField("heartbeat")
        for _ in range(3):
            position = await transfer(client, pair)
            assert [event.position for event in await events_up_to(stream, position)] == [position]
            await cut_connections(server.dsn, "ledger-doorbell")


async def test_an_outage_of_the_database_is_survived_without_loss(
    client: LedgerClient, server: Server, ledger: Ledger, pair: tuple[Account, Account]
) -> None:
    async with (
        new_hub(server.dsn) as hub,
        aclosing(hub.watch(Watch(number_of(ledger.id), heartbeat_seconds=0.1))) as stream,
    ):
        first = (await next_of(stream)).heartbeat.position
        for _ in range(3):
            await cut_connections(server.dsn, "ledger-reader")
            position = await transfer(client, pair)
        events = await events_up_to(stream, position)
    assert [event.position for event in events] == list(range(first + 1, position + 1))


async def test_a_link_that_swallows_everything_is_replaced(
    client: LedgerClient,
    server: Server,
    ledger: Ledger,
    pair: tuple[Account, Account],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_module, "ANSWER_SECONDS", 1.0)
    async with (
        swallowing_proxy(server.dsn, tmp_path) as (dsn, swallow),
        read_pool(server.dsn, size_max=1) as pool,
        Hub(dsn, pool).running() as hub,
        aclosing(hub.watch(Watch(number_of(ledger.id)))) as stream,
    ):
        assert (await next_of(stream)).HasField("heartbeat")
        swallow()
        position = await transfer(client, pair)
        assert [event.position for event in await events_up_to(stream, position)] == [position]


def stored(account: Account, note: str) -> bytes:
    """An event as the table would have it."""
    changes = [BalanceChange(account_id=account.id, lock_version=1)]
    return b"\0" + Event(kind=EventKind.EVENT_KIND_TRANSACTION_CREATED, actor=note, changes=changes).SerializeToString()


async def test_what_this_process_committed_is_handed_out_unread_where_it_follows_and_nowhere_else(
    client: LedgerClient, server: Server, ledger: Ledger, pair: tuple[Account, Account]
) -> None:
    """Events that are in no table, which shows where each one came from."""
    source, _ = pair
    ledger_id, now = number_of(ledger.id), datetime.now(UTC)
    async with new_hub(server.dsn, with_doorbell=False) as hub, aclosing(hub.watch(Watch(ledger_id))) as stream:
        head = (await next_of(stream)).heartbeat.position
        hub.committed(ledger_id, Committed("another epoch", head + 1, now, [stored(source, "of another history")]))
        hub.committed(ledger_id, Committed(ledger.epoch, head + 2, now, [stored(source, "behind a gap")]))
        first = await transfer(client, pair)
        events = await events_up_to(stream, first)
        # That was another server's, from the table; what follows on it waits for the next commit.
        again = [stored(source, "known already"), stored(source, "the next")]
        hub.committed(ledger_id, Committed(ledger.epoch, first + 2, now, again))
        events += await events_up_to(stream, first + 2)
    assert [event.position for event in events] == [head + 1, head + 2, head + 3]
    assert [event.actor for event in events] == ["anonymous", "behind a gap", "the next"]


async def test_a_reader_that_pauses_gets_everything_in_few_messages(
    client: LedgerClient, server: Server, ledger: Ledger, pair: tuple[Account, Account]
) -> None:
    source, target = pair
    async with (
        new_hub(server.dsn) as hub,
        aclosing(hub.watch(Watch(number_of(ledger.id)))) as paused,
        aclosing(hub.watch(Watch(number_of(ledger.id), frozenset([target.id])))) as attentive,
    ):
        start = (await next_of(paused)).heartbeat.position
        await next_of(attentive)
        for _ in range(3):
            writes = [
                commands.create_transaction([debit(source.id, 1), credit(target.id, 1)], status="posted")
                for _ in range(2_000)
            ]
            response = await client.batch_write_transactions(ledger.id, writes)
            last = response.results[-1].transaction.position
            # The other reader is not held up by the one that pauses.
            assert (await events_up_to(attentive, last))[-1].position == last
        sizes, events = list[int](), list[Event]()
        while len(events) < last - start:
            response_to_pause = await next_of(paused)
            events += [response_to_pause.changes, *response_to_pause.further_changes]
            sizes.append(response_to_pause.ByteSize())
    assert [event.position for event in events] == list(range(start + 1, last + 1))
    assert len(sizes) < len(events) / 50
    assert max(sizes) < 100_000


async def test_a_stream_that_is_left_leaves_nothing_behind(
    client: LedgerClient, server: Server, ledger: Ledger
) -> None:
    async with new_hub(server.dsn) as hub:
        before = stream_tasks()
        one, two = hub.watch(Watch(number_of(ledger.id))), hub.watch(Watch(number_of(ledger.id)))
        await next_of(one)
        await next_of(two)
        assert len(stream_tasks()) == len(before) + 1
        waiting = asyncio.create_task(next_of(one))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        await two.aclose()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while stream_tasks() != before:
                await asyncio.sleep(0.01)


async def test_a_reader_that_takes_nothing_is_ended_with_its_position(
    client: LedgerClient, server: Server, ledger: Ledger, pair: tuple[Account, Account]
) -> None:
    taken: list[WatchBalancesResponse] = []

    async def take_two(message: bytes) -> None:
        if len(taken) == 2:
            await asyncio.Event().wait()
        taken.append(WatchBalancesResponse.FromString(message))

    async with new_hub(server.dsn, stall_seconds=0.2) as hub:
        delivering = asyncio.create_task(hub.deliver(Watch(number_of(ledger.id), after_position=0), take_two))
        while len(taken) < 1:
            await asyncio.sleep(0.01)
        first = await transfer(client, pair)
        while len(taken) < 2:
            await asyncio.sleep(0.01)
        await transfer(client, pair)
        with pytest.raises(SlowSubscriber) as caught:
            await delivering
        assert caught.value.metadata == {"position": str(first)}
        assert not [name for name in stream_tasks() if ledger.id in name]


async def test_who_takes_no_more_of_a_snapshot_is_told_no_position(
    server: Server, ledger: Ledger, pair: tuple[Account, Account]
) -> None:
    """After one the rest of the snapshot would be lost; after the snapshot's end nothing is."""
    for takes, position in ((0, {}), (1, {}), (2, {"position": "2"})):
        taken: list[WatchBalancesResponse] = []

        async def take_some(message: bytes, taken: list[WatchBalancesResponse] = taken, takes: int = takes) -> None:
            if len(taken) == takes:
                await asyncio.Event().wait()
            taken.append(WatchBalancesResponse.FromString(message))

        async with new_hub(server.dsn, stall_seconds=0.2) as hub:
            with pytest.raises(SlowSubscriber) as caught:
                await hub.deliver(Watch(number_of(ledger.id), snapshot=True, heartbeat_seconds=0.1), take_some)
        assert [message.WhichOneof("message") for message in taken] == ["snapshot", "snapshot_complete"][:takes]
        assert caught.value.metadata == position


async def test_a_stopping_hub_waits_for_nobody(server: Server, ledger: Ledger) -> None:
    async def never(message: bytes) -> None:
        await asyncio.Event().wait()

    async with new_hub(server.dsn) as hub:
        delivering = asyncio.create_task(hub.deliver(Watch(number_of(ledger.id)), never))
        async with aclosing(hub.watch(Watch(number_of(ledger.id)))) as stream:
            await next_of(stream)
            await hub.drain()
            with pytest.raises(ShuttingDown):
                await next_of(stream)
        with pytest.raises(ShuttingDown):
            await next_of(hub.watch(Watch(number_of(ledger.id))))
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(ShuttingDown):
                await delivering
