"""The workloads of streams: how late a change arrives, how fast a log is read, what subscribers cost the writers."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import grpc.aio

from ledger_client import Event, LedgerClient, credit, debit
from tests.benchmarks.bare_stream import METHOD
from tests.benchmarks.measure import Run, percentile
from tests.benchmarks.orders import ACCOUNTS, orders
from tests.benchmarks.processes import Processes, Server, ready_address, running_server
from tests.benchmarks.workloads import Workloads

DELAY_TPS = 1_000
DELAY_CALLS_MAX = 256
TICK_SECONDS = 0.01
CATCHUP_EVENTS = 50_000
STEP_EVENTS = 1_000
COUNT = "SELECT count(*) FROM events WHERE ledger_id = $1"
SIZE = "SELECT avg(octet_length(payload)) FROM events WHERE ledger_id = $1"
COST_SUBSCRIBERS = 100
COST_CHANNELS = 4


class Streams:
    """Subscribers of the ledger that the other workloads write."""

    def __init__(self, workloads: Workloads, server: Server, processes: Processes, directory: Path) -> None:
        self._workloads = workloads
        self._server = server
        self._processes = processes
        self._directory = directory

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
            await self._write_paced(label, seconds, acknowledged)
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

    async def _write_paced(self, label: str, seconds: float, acknowledged: dict[int, float]) -> None:
        stream, ledger_id, ids = orders(label), self._workloads.ledger_id, self._workloads.account_ids

        async def write() -> None:
            order = next(stream)
            entries = [debit(ids[order.debit], order.amount), credit(ids[order.credit], order.amount)]
            written = await self._workloads.client.create_transaction(ledger_id, entries, status="posted")
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
        count, _ = await self._log()
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
        count, size = await self._log()
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
        return Run(count / seconds, percentile(steps, 50), percentile(steps, 99), used.each(count), count)

    async def cost(self, label: str, seconds: float) -> Run:
        """unary_uniform with a hundred subscribers, each of one account."""

        async def listen(client: LedgerClient, account_id: str) -> None:
            async with client.watch_balances(self._workloads.ledger_id, account_ids=[account_id]) as stream:
                ready.release()
                async for _ in stream:
                    pass

        ready = asyncio.Semaphore(0)
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(LedgerClient(self._server.address)) for _ in range(COST_CHANNELS)
            ]
            listening = [
                asyncio.create_task(listen(clients[n % COST_CHANNELS], self._workloads.account_ids[n]))
                for n in range(COST_SUBSCRIBERS)
            ]
            for _ in listening:
                await ready.acquire()
            run = await self._workloads.unary(label, seconds)
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        return run

    async def _log(self) -> tuple[int, int]:
        """How many events are to be read, and how large they are on average; the log is filled up to there."""
        connection = await asyncpg.connect(self._server.dsn)
        try:
            # Accounts are in it too, and are not sent.
            missing = CATCHUP_EVENTS + ACCOUNTS - await connection.fetchval(COUNT, self._workloads.ledger_id)
            if missing > 0:
                await self._workloads.fill("catchup", missing)
            return CATCHUP_EVENTS, round(await connection.fetchval(SIZE, self._workloads.ledger_id))
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
