"""Subscribers that stop reading: what they cost the others, and the server's memory. Linux only."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from ledger_client import (
    Account,
    BalanceStream,
    Event,
    Ledger,
    LedgerClient,
    Snapshot,
    WatchMessage,
    commands,
    credit,
    debit,
)
from ledger_client.v1.streams_pb2 import WatchBalancesRequest
from tests.patience import PATIENCE_SECONDS
from tests.service.processes import Service, started, until

SUBSCRIBERS, STOPPING, CHANNELS = 300, 50, 4
ACCOUNTS = 20
# Who stops had watched so many of the accounts, each a choice of its own: nothing that waits for them is shared.
WATCHED = 12
WRITES_PER_SECOND = 30
# What the ones who stop do not read: several megabytes for each of them.
FLOOD_TRANSACTIONS = 600
# Of a delay that is hardly one, twice as much says nothing: a turn of the scheduler on a busy machine is as long. In a
# short run such a turn is in every percentile: then nobody is to wait as long as for who does not read.
DELAY_SECONDS, SHORT_DELAY_SECONDS = 0.05, 2.0
MEMORY_MIB = 50


# Else the client takes megabytes for a stream that nobody reads, and the server sees nothing of it.
SMALL_WINDOWS = {"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": 65_536}


class Reader:
    """A subscriber, which notes when each event came."""

    def __init__(self, stream: BalanceStream, account_id: str) -> None:
        self.stream = stream
        self.account_id = account_id
        self.received: dict[int, float] = {}
        self.position = 0
        self.stops = False

    async def read(self) -> None:
        """Until it stops; then the stream is still open, and nothing is taken from it."""
        while not self.stops:
            message = await anext(self.stream)
            if isinstance(message, Event):
                self.received[message.position] = time.perf_counter()
                self.position = message.position


@pytest.mark.parametrize(
    ("rounds", "seconds", "delay_seconds"),
    [(3, 1, SHORT_DELAY_SECONDS), pytest.param(7, 5, DELAY_SECONDS, marks=pytest.mark.long)],
)
async def test_who_stops_reading_delays_nobody_and_costs_no_memory(
    database: str, tmp_path: Path, rounds: int, seconds: float, delay_seconds: float
) -> None:
    """With and without, in turn: what else the machine does is then on both sides, and medians leave hiccups out."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(started(tmp_path, database_url=database, log_level="error"))
        client = await stack.enter_async_context(LedgerClient(service.address))
        ledger, accounts = await new_books(client)
        channels = [
            await stack.enter_async_context(LedgerClient(service.address, options=SMALL_WINDOWS))
            for _ in range(CHANNELS)
        ]
        readers = [
            await stack.enter_async_context(
                subscribed(
                    channels[n % CHANNELS],
                    ledger,
                    random.sample(accounts, WATCHED) if n < STOPPING else [accounts[n % ACCOUNTS]],
                )
            )
            for n in range(SUBSCRIBERS)
        ]
        reading = {n: asyncio.create_task(reader.read()) for n, reader in enumerate(readers)}
        stopping, attentive = readers[:STOPPING], readers[STOPPING:]
        await flood(client, ledger, accounts, readers)
        memory_mib = 0.0
        with_all, without_some = list[float](), list[float]()
        for number in range(rounds):
            with_all.append(await delays(client, ledger, accounts, attentive, seconds))
            memory_mib = memory_mib or rss_mib(service)
            for reader in stopping:
                reader.stops = True
            flooded = await flood(client, ledger, accounts, attentive, 100 if number else FLOOD_TRANSACTIONS)
            assert all(reading[n].done() for n in range(STOPPING))
            without_some.append(await delays(client, ledger, accounts, attentive, seconds))
            grown_mib = rss_mib(service) - memory_mib
            # Who stopped has lost nothing by it, or the client would say so.
            for n, reader in enumerate(stopping):
                assert reader.position < flooded
                reader.stops = False
                reading[n] = asyncio.create_task(reader.read())
            await until_read(stopping, flooded)
        for task in reading.values():
            task.cancel()
        await asyncio.gather(*reading.values(), return_exceptions=True)
    before, after = median(with_all), median(without_some)
    print(f"p99 {before * 1e3:.0f} ms with all reading, {after * 1e3:.0f} ms with some not; {grown_mib:+.0f} MiB")
    assert after <= max(2 * before, delay_seconds)
    assert grown_mib <= MEMORY_MIB


@pytest.mark.parametrize("asked", [{"snapshot": True}, {"after_position": 0}], ids=["in the snapshot", "in the log"])
async def test_who_reads_on_after_having_been_ended_has_lost_nothing(
    database: str, tmp_path: Path, asked: dict[str, Any]
) -> None:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(started(tmp_path, database_url=database, stall_seconds=0.5))
        client = await stack.enter_async_context(LedgerClient(service.address, options=SMALL_WINDOWS))
        ledger = await client.create_ledger("books")
        wanted = [commands.create_account(str(n), normal_balance="credit", currency="USD") for n in range(2_500)]
        accounts = list((await client.batch_create_accounts(ledger.id, wanted)).accounts)
        last = await flood(client, ledger, accounts[:ACCOUNTS], [])
        async with client.watch_balances(ledger.id, heartbeat_interval=1, **asked) as stream:
            # The first response is here, and no other is read.
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not any(line.get("reason") == "SLOW_SUBSCRIBER" for line in service.logged()):
                    await asyncio.sleep(0.1)
            # Longer than the service tries to tell it.
            await asyncio.sleep(2.5)
            messages: list[WatchMessage] = []
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (stream.position or 0) < last:
                    messages.append(await anext(stream))
    if "snapshot" in asked:
        snapshot, *_ = messages
        assert isinstance(snapshot, Snapshot)
        assert snapshot.accounts.keys() == {account.id for account in accounts}
    else:
        moved = [message.position for message in messages if isinstance(message, Event)]
        assert moved == list(range(last - FLOOD_TRANSACTIONS + 1, last + 1))
    assert [line for line in service.logged() if line["level"] == "error"] == []


async def new_books(client: LedgerClient) -> tuple[Ledger, list[Account]]:
    ledger = await client.create_ledger("books")
    return ledger, [
        await client.create_account(ledger.id, str(n), normal_balance="credit", currency="USD") for n in range(ACCOUNTS)
    ]


@asynccontextmanager
async def subscribed(client: LedgerClient, ledger: Ledger, accounts: Sequence[Account]) -> AsyncIterator[Reader]:
    """A live subscriber."""
    async with client.watch_balances(ledger.id, account_ids=[a.id for a in accounts]) as stream:
        reader = Reader(stream, accounts[0].id)
        reader.position = (await anext(stream)).position
        yield reader


async def delays(
    client: LedgerClient, ledger: Ledger, accounts: Sequence[Account], readers: Sequence[Reader], seconds: float
) -> float:
    """The 99th percentile, in seconds, from the sending of a write to its event at each reader."""
    sent: dict[int, float] = {}
    last: dict[str, int] = {}
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        one, other = random.sample(accounts, 2)
        written = await client.create_transaction(ledger.id, [debit(one, 1), credit(other, 1)], status="posted")
        sent[written.position] = began
        last |= {one.id: written.position, other.id: written.position}
        await asyncio.sleep(max(0.0, began + 1 / WRITES_PER_SECOND - time.perf_counter()))
    async with asyncio.timeout(PATIENCE_SECONDS):
        # Each account's readers have all there is of it when they have its last event.
        while any(reader.position < last.get(reader.account_id, 0) for reader in readers):
            await asyncio.sleep(0.02)
    found = sorted(at - sent[position] for r in readers for position, at in r.received.items() if position in sent)
    return found[int(0.99 * (len(found) - 1))]


async def flood(
    client: LedgerClient,
    ledger: Ledger,
    accounts: Sequence[Account],
    readers: Sequence[Reader],
    transactions: int = FLOOD_TRANSACTIONS,
) -> int:
    """Many events, each about all accounts and so some kilobytes long; returns the last when the readers have it."""
    pairs = zip(accounts[::2], accounts[1::2], strict=True)
    entries = [line for one, other in pairs for line in (debit(one, 1), credit(other, 1))]
    for _ in range(transactions // 100):
        writes = [commands.create_transaction(entries, status="posted") for _ in range(100)]
        last = (await client.batch_write_transactions(ledger.id, writes)).results[-1].transaction.position
    await until_read(readers, last)
    return last


async def until_read(readers: Sequence[Reader], position: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any(reader.position < position for reader in readers):
            await asyncio.sleep(0.02)


def rss_mib(service: Service) -> float:
    status = Path(f"/proc/{service.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1024


async def test_who_leaves_while_a_message_is_on_its_way_is_no_bug_of_ours(database: str, tmp_path: Path) -> None:
    async with (
        started(tmp_path, database_url=database, stall_seconds=60) as service,
        LedgerClient(service.address) as client,
        LedgerClient(service.address, options=SMALL_WINDOWS) as leaving,
    ):
        ledger, accounts = await new_books(client)
        lines = [debit(accounts[0], 1), credit(accounts[1], 1)]
        for _ in range(4):
            writes = [commands.create_transaction(lines) for _ in range(1_000)]
            await client.batch_write_transactions(ledger.id, writes)
        request = WatchBalancesRequest(ledger_id=ledger.id, after_position=0)
        calls = [leaving.stub.WatchBalances(request) for _ in range(20)]
        for call in calls:
            await call.read()
        # Meanwhile the server fills what the others do not read, and waits.
        await client.verify_ledger(ledger.id)
        for call in calls:
            call.cancel()

        def codes() -> list[object]:
            return [line["code"] for line in service.logged() if line.get("rpc") == "WatchBalances"]

        await until(lambda: len(codes()) == len(calls))
        assert set(codes()) == {"CANCELLED"}
