"""The workloads of streams: how late a change arrives, how fast a log is read, what subscribers cost the writers."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

import asyncpg
import grpc.aio

from ledger_client import Event, LedgerClient, credit, debit
from tests.benchmarks.bare_stream import METHOD
from tests.benchmarks.measure import RAMP_SECONDS, Run, percentile
from tests.benchmarks.orders import ACCOUNTS, orders
from tests.benchmarks.processes import Cpu, Processes, Server, ready_address, running_server
from tests.benchmarks.workloads import TIMEOUT_SECONDS, Workloads
from tests.ledger_ids import number_of
from tests.stored_events import read_event

DELAY_TPS = 1_000
DELAY_CALLS_MAX = 256
TICK_SECONDS = 0.01
# What the reference of catchup sends; catchup itself may be asked for more.
BARE_EVENTS = 50_000
STEP_EVENTS = 1_000
COUNT = "SELECT count(*) FROM events WHERE ledger_id = $1"
NEWEST = "SELECT * FROM events WHERE ledger_id = $1 ORDER BY position DESC LIMIT 1000"
COST_SUBSCRIBERS = 100
CHANNELS = 4
FANOUT_SUBSCRIBERS = ACCOUNTS


class Streams:
    """Subscribers of the ledger that the other workloads write."""

    def __init__(
        self, workloads: Workloads, server: Server, processes: Processes, directory: Path, catchup_events: int
    ) -> None:
        self._workloads = workloads
        self._server = server
        self._processes = processes
        self._directory = directory
        self._catchup_events = catchup_events

    async def delay(self, label: str, seconds: float) -> Run:
        """From a write's acknowledgement to its event, at 1,000 tps; a change that comes first has no delay."""
        return await self._delay(label, seconds, self._server.address)

    async def delay_across(self, label: str, seconds: float) -> Run:
        """As delay, by way of another server on the same database."""
        async with running_server(self._server.dsn, self._directory, f"other-{label}") as other:
            return await self._delay(label, seconds, other.address)

    async def _delay(self, label: str, seconds: float, address: str) -> Run:
        acknowledged: dict[int, float] = {}
        received: dict[int, float] = {}

        async def listen() -> None:
            async for message in stream:
                if isinstance(message, Event):
                    received[message.position] = time.perf_counter()

        async with LedgerClient(address) as client, client.watch_balances(self._workloads.ledger_id) as stream:
            listening = asyncio.create_task(listen())
            before, began = self._processes.cpu(), time.perf_counter()
            await self._write_paced(self._workloads.client, label, seconds, acknowledged)
            writing_seconds = time.perf_counter() - began
            used = self._processes.cpu() - before
            async with asyncio.timeout(30):
                while not acknowledged.keys() <= received.keys():
                    await asyncio.sleep(0.01)
            listening.cancel()
            await asyncio.wait([listening])
        delays = [max(0.0, received[position] - at) for position, at in acknowledged.items()]
        count = len(delays)
        return Run(count / writing_seconds, percentile(delays, 50), percentile(delays, 99), used.each(count), count)

    async def _write_paced(
        self, client: LedgerClient, label: str, seconds: float, acknowledged: dict[int, float]
    ) -> None:
        stream, ledger_id, ids = orders(label), self._workloads.ledger_id, self._workloads.account_ids

        async def write() -> None:
            order = next(stream)
            entries = [debit(ids[order.debit], order.amount), credit(ids[order.credit], order.amount)]
            written = await client.create_transaction(ledger_id, entries, status="posted")
            acknowledged[written.position] = time.perf_counter()

        calls: set[asyncio.Task[None]] = set()
        began, due = time.perf_counter(), 0.0
        while (elapsed := time.perf_counter() - began) < seconds:
            due = min(due + DELAY_TPS * TICK_SECONDS, elapsed * DELAY_TPS + 1)
            for _ in range(min(int(due), DELAY_CALLS_MAX - len(calls))):
                task = asyncio.create_task(write())
                calls.add(task)
                task.add_done_callback(calls.discard)
            due -= int(due)
            await asyncio.sleep(TICK_SECONDS)
        await asyncio.gather(*calls)

    async def catchup(self, _label: str) -> Run:
        """One subscriber that reads the log from its beginning."""
        count = self._catchup_events
        await self._log(count)
        async with (
            LedgerClient(self._server.address) as client,
            client.watch_balances(self._workloads.ledger_id, after_position=0) as stream,
        ):

            async def read() -> None:
                while not isinstance(await anext(stream), Event):
                    pass

            return await self._timed(read, count, self._processes)

    async def bare_stream(self, label: str) -> Run:
        """The reference of catchup: a bare grpc.aio stream of messages of such a size, one at a time."""
        count = BARE_EVENTS
        size = await self._log(count)
        async with bare_server(self._directory / f"{label}.ready") as address, grpc.aio.insecure_channel(address) as c:
            send: Any = c.unary_stream(METHOD)
            messages = aiter(send(f"{size} {count}".encode()))

            async def read() -> None:
                await anext(messages)

            return await self._timed(read, count, Processes(self._processes.postmaster))

    async def _timed(self, read: Callable[[], Awaitable[None]], count: int, processes: Processes) -> Run:
        """Events a second; the percentiles are of a thousand in a row."""
        steps: list[float] = []
        before, began = processes.cpu(), time.perf_counter()
        for _ in range(count // STEP_EVENTS):
            started = time.perf_counter()
            for _ in range(STEP_EVENTS):
                await read()
            steps.append(time.perf_counter() - started)
        seconds, used = time.perf_counter() - began, processes.cpu() - before
        return Run(
            count / seconds, percentile(steps, 50), percentile(steps, 99), used.each(count), count, {"events": count}
        )

    async def cost(self, label: str, seconds: float) -> Run:
        """unary_uniform with a hundred subscribers, each of one account."""
        async with self._listening(self._server.address, COST_SUBSCRIBERS, lambda _: None):
            return await self._workloads.unary(label, seconds)

    async def fanout(self, label: str, seconds: float) -> Run:
        """A thousand subscribers, each of one account, while 1,000 tps are written: deliveries, each of one change.

        On a server of its own, whose memory has held nothing yet. Its CPU is what it takes more than without
        subscribers; from a write's acknowledgement to both its deliveries is the latency.
        """
        acknowledged: dict[int, float] = {}
        received: dict[int, float] = {}
        deliveries = 0

        def take(event: Event) -> None:
            nonlocal deliveries
            received[event.position] = time.perf_counter()
            deliveries += 1

        async with (
            running_server(self._server.dsn, self._directory, f"server-{label}") as server,
            LedgerClient(server.address, timeout=TIMEOUT_SECONDS) as client,
        ):
            processes = Processes(self._processes.postmaster, server.pid)
            async with self._listening(server.address, CHANNELS, lambda _: None):
                await self._write_paced(client, f"{label}-warm", RAMP_SECONDS, {})
            before, alone = processes.cpu(), dict[int, float]()
            await self._write_paced(client, f"{label}-alone", seconds / 2, alone)
            each_write = (processes.cpu() - before).each(len(alone))
            rss_mb = server.rss_mb()
            async with self._listening(server.address, FANOUT_SUBSCRIBERS, take):
                rss_kb = (server.rss_mb() - rss_mb) * 1024 / FANOUT_SUBSCRIBERS
                before, began = processes.cpu(), time.perf_counter()
                await self._write_paced(client, label, seconds, acknowledged)
                writing_seconds = time.perf_counter() - began
                async with asyncio.timeout(30):
                    while deliveries < 2 * len(acknowledged):
                        await asyncio.sleep(0.01)
                used = processes.cpu() - before
        delays = [max(0.0, received[position] - at) for position, at in acknowledged.items()]
        writes = Cpu(*(each * len(acknowledged) / 1e6 for each in each_write))
        used = Cpu(*(max(0.0, seconds_more) for seconds_more in used - writes))
        return Run(
            deliveries / writing_seconds,
            percentile(delays, 50),
            percentile(delays, 99),
            used.each(deliveries),
            deliveries,
            {"rss_kb_per_subscriber": rss_kb},
        )

    @asynccontextmanager
    async def _listening(self, address: str, count: int, take: Callable[[Event], None]) -> AsyncIterator[None]:
        """So many subscribers, each of another account, all of them live."""

        async def listen(client: LedgerClient, account_id: str) -> None:
            async with client.watch_balances(self._workloads.ledger_id, account_ids=[account_id]) as stream:
                async for message in stream:
                    if isinstance(message, Event):
                        take(message)
                    else:
                        ready.release()

        ready = asyncio.Semaphore(0)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(LedgerClient(address)) for _ in range(CHANNELS)]
            listening = [
                asyncio.create_task(listen(clients[n % CHANNELS], account_id))
                for n, account_id in enumerate(self._workloads.account_ids[:count])
            ]
            try:
                async with asyncio.timeout(30):
                    for _ in listening:
                        await ready.acquire()
                yield
            finally:
                for task in listening:
                    task.cancel()
                await asyncio.gather(*listening, return_exceptions=True)

    async def _log(self, count: int) -> int:
        """The size of an event on average, when the log holds so many of transactions."""
        connection = await asyncpg.connect(self._server.dsn)
        try:
            # Accounts are in it too, and are not sent.
            missing = count + ACCOUNTS - await connection.fetchval(COUNT, number_of(self._workloads.ledger_id))
            if missing > 0:
                await self._workloads.fill(f"catchup-{count}", missing)
            rows = await connection.fetch(NEWEST, number_of(self._workloads.ledger_id))
            return round(fmean(read_event(row).ByteSize() for row in rows))
        finally:
            await connection.close()


@asynccontextmanager
async def bare_server(ready_file: Path) -> AsyncIterator[str]:
    """The reference server in a process of its own; its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.bare_stream", str(ready_file), cwd=Path(__file__).parents[2]
    )
    try:
        yield await ready_address(process, ready_file)
    finally:
        process.kill()
        await process.wait()
