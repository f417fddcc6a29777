"""Rows 12, 15 and 16: streams are cut, stall, and come back as a herd."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import quantiles

import grpc.aio

from ledger_client import Account, Event, Heartbeat, LedgerClient, commands, credit, debit, new_request_id
from ledger_client.v1.ledger_service_pb2_grpc import LedgerServiceStub
from ledger_client.v1.streams_pb2 import WatchBalancesRequest, WatchBalancesResponse
from ledger_server.settings import Settings
from tests.faults.history import Recorded, read_recorded
from tests.faults.report import Result
from tests.faults.rounds import ACKNOWLEDGED_MIN, check, under_traffic
from tests.faults.rows import row
from tests.faults.stage import Stage
from tests.faults.traffic import Traffic, new_traffic
from tests.guarantees import Recording, Session, broken
from tests.patience import PATIENCE_SECONDS
from tests.proxy import proxied

SUBSCRIBERS = 8
HERD = 300
STALLED = 50
HISTORY_TRANSACTIONS = 20_000
# A window that does not grow with what a fast link could take.
SMALL_WINDOW = [("grpc.http2.bdp_probe", 0)]


class Watcher:
    """A subscriber that records all that comes, over whatever its client survives."""

    def __init__(self, client: LedgerClient, ledger_id: str, account_ids: Sequence[str]) -> None:
        self.recording = Recording(frozenset(account_ids), sessions=[Session(0)])
        self.position = 0
        self._client, self._ledger_id = client, ledger_id

    async def run(self, after_position: int | None = 0) -> None:
        """Until cancelled; None: from now on."""
        stream = self._client.watch_balances(
            self._ledger_id,
            account_ids=self.recording.account_ids,
            after_position=after_position,
            heartbeat_interval=0.5,
        )
        async with stream:
            async for message in stream:
                assert isinstance(message, Event | Heartbeat)
                self.recording.sessions[0].messages.append(message)
                self.position = message.position

    def findings(self, recorded: Recorded) -> list[str]:
        """What guarantees were broken, and whether everything came that was written while it watched."""
        history = [event for event in recorded.events if event.position <= self.position]
        found = [f"stream not {name}: {said[0]}" for name, said in broken(self.recording, history).items()]
        expected = [event.position for event in self.recording.passing(history)]
        if [event.position for event in self.recording.events] != expected:
            found.append(f"{len(self.recording.events)} events came of {len(expected)}")
        return found


@asynccontextmanager
async def watching(watchers: Sequence[Watcher]) -> AsyncIterator[None]:
    """They watch within the block."""
    tasks = [asyncio.create_task(watcher.run()) for watcher in watchers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def until_at(watchers: Sequence[Watcher], position: int) -> None:
    """Waits until all are there."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any(watcher.position < position for watcher in watchers):
            await asyncio.sleep(0.01)


@row("12", "stream cuts: FIN, RST, server killed", rounds=300)
async def stream_cuts(stage: Stage, rounds: int) -> Result:
    result, database = Result(), await stage.database()
    server = await stage.server(database.dsn)
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(proxied(server.address, n)) for n in range(SUBSCRIBERS)]
        traffic = await stack.enter_async_context(new_traffic([server.address], stage.seed))
        watchers = []
        for n, link in enumerate(links):
            client = await stack.enter_async_context(LedgerClient(link.address))
            chosen = [account.id for account in traffic.accounts[:2]] if n % 2 else []
            watchers.append(Watcher(client, traffic.history.ledger_id, chosen))
        async with watching(watchers), traffic.running(4):
            await traffic.until_acknowledged(100)
            for number in range(rounds):
                await asyncio.sleep(stage.chance.uniform(0, 0.3))
                if number % 30 == 15:
                    await server.kill()
                    await server.start()
                else:
                    stage.chance.choice(links).cut(with_reset=number % 2 == 0)
            await traffic.until_acknowledged(max(100, 500 - traffic.acknowledged))
            healed_at = time.monotonic()
            # Whoever is on the way to the end gets there while there is still traffic.
            head = (await traffic.clients[0].get_ledger(traffic.history.ledger_id)).position
            await until_at(watchers, head)
            result.recovered.append(time.monotonic() - healed_at)
        await traffic.settle()
        recorded = await read_recorded(database.dsn, traffic.history.ledger_id)
        result.rounds = rounds
        await check(result, traffic, database.dsn, has_stream=False)
        for watcher in watchers:
            result.findings += watcher.findings(recorded)[:2]
        lossy = Watcher(traffic.clients[0], "", [])
        lossy.position = recorded.events[-1].position
        lossy.recording.sessions[0].messages = [e for e in recorded.events if e.position % 50 and e.changes]
        result.control = f"{len(lossy.findings(recorded))} findings where one event in 50 is left out"
        result.expect(not result.control.startswith("0 "), "the control found nothing")
    return result


@row("15", "stalled readers: 50 of 300", rounds=3)
async def stalled(stage: Stage, rounds: int) -> Result:
    """They cost the others nothing, take no memory, and are ended with their position."""
    result, database = Result(), await stage.database()
    server = await stage.server(database.dsn)
    for _ in range(rounds):
        async with AsyncExitStack() as stack:
            traffic = await stack.enter_async_context(new_traffic([server.address], stage.seed))
            clients = [
                await stack.enter_async_context(LedgerClient(server.address, options={"ledger.channel": n}))
                for n in range(10)
            ]
            await _fill(traffic)
            lateness: list[float] = []
            others = [
                asyncio.create_task(_follow(clients[n % 10], traffic.accounts[n % 8], lateness)) for n in range(250)
            ]
            async with grpc.aio.insecure_channel(server.address, options=SMALL_WINDOW) as channel:
                stub = LedgerServiceStub(channel)
                request = WatchBalancesRequest(ledger_id=traffic.history.ledger_id, after_position=0)
                calls = [stub.WatchBalances(request) for _ in range(STALLED)]
                await asyncio.sleep(3)
                rss_mb = server.rss_mb()
                lateness.clear()
                async with traffic.running(2):
                    await asyncio.sleep(Settings().stall_seconds + 5)
                    await traffic.until_acknowledged(max(1, ACKNOWLEDGED_MIN - traffic.acknowledged))
                # Their status waits behind what they did not read.
                ended = [code for code in await asyncio.gather(*map(_read_on, calls)) if code]
                growth_mb = server.rss_mb() - rss_mb
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            result.rounds += 1
            result.acknowledged += traffic.acknowledged
            late_ms = quantiles(lateness, n=100)[98] * 1e3
            result.note = f"others' p99 {late_ms:.0f} ms, +{growth_mb:.0f} MB"
            result.control = f"{len(ended)} of {STALLED} ended with RESOURCE_EXHAUSTED"
            result.expect(len(ended) == STALLED, f"only {result.control}")
            result.expect(traffic.acknowledged >= ACKNOWLEDGED_MIN, f"only {traffic.acknowledged} acknowledged")
            result.expect(len(lateness) >= ACKNOWLEDGED_MIN, f"the others were told of {len(lateness)} only")
            result.expect(set(ended) <= {grpc.StatusCode.RESOURCE_EXHAUSTED}, f"{set(ended)}")
            result.expect(growth_mb <= 100, f"+{growth_mb:.0f} MB")
    return result


async def _read_on(
    call: grpc.aio.UnaryStreamCall[WatchBalancesRequest, WatchBalancesResponse],
) -> grpc.StatusCode | None:
    """The status of a stream that ended meanwhile; None if it goes on."""
    try:
        async with asyncio.timeout(10):
            async for _ in call:
                pass
    except TimeoutError:
        call.cancel()
        return None
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None


async def _fill(traffic: Traffic) -> None:
    """A history of more than anybody's window holds."""
    one, other = traffic.accounts[-2:]
    for _ in range(HISTORY_TRANSACTIONS // 1_000):
        await traffic.clients[0].batch_write_transactions(
            one.ledger_id,
            [
                commands.create_transaction([debit(one, 1), credit(other, 1)], request_id=new_request_id())
                for _ in range(1_000)
            ],
        )


async def _follow(client: LedgerClient, account: Account, lateness: list[float]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        async with client.watch_balances(account.ledger_id, account_ids=[account.id]) as stream:
            async for message in stream:
                if isinstance(message, Event):
                    lateness.append(time.time() - message.time.ToMicroseconds() / 1e6)  # noqa: PERF401


@row("16", "herd of 300 subscribers, server killed", rounds=5)
async def herd(stage: Stage, rounds: int) -> Result:
    result, database = Result(), await stage.database()
    server = await stage.server(database.dsn)
    for _ in range(rounds):
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(LedgerClient(server.address, options={"ledger.channel": n}))
                for n in range(30)
            ]
            traffic = await stack.enter_async_context(
                under_traffic(stage, result, lambda: database.dsn, [server.address], callers=1, minimum=200)
            )
            watchers = [
                Watcher(clients[n % 30], traffic.history.ledger_id, [traffic.accounts[n % 10].id]) for n in range(HERD)
            ]
            forgetful = Watcher(clients[0], traffic.history.ledger_id, [])
            async with watching(watchers):
                async with watching([forgetful]):
                    await until_at([*watchers, forgetful], 1)
                await server.kill()
                await server.start()
                up_at = time.monotonic()
                head = (await clients[0].get_ledger(traffic.history.ledger_id, timeout=30)).position
                await until_at(watchers, head + 1)
                result.recovered.append(time.monotonic() - up_at)
                # The control: one who comes back without the position it was at.
                async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                    task = group.create_task(forgetful.run(after_position=None))
                    await until_at([forgetful], head + 2)
                    task.cancel()
            recorded = await read_recorded(database.dsn, traffic.history.ledger_id)
            for watcher in watchers:
                result.findings += watcher.findings(recorded)[:1]
            result.control = "; ".join(said[:40] for said in forgetful.findings(recorded)[-1:])
            result.expect(bool(result.control), "the control lost nothing by forgetting its position")
        result.expect(max(result.recovered) <= 10, f"it took {max(result.recovered):.1f} s until all were back")
    return result
