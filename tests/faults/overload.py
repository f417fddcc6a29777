"""Rows O1 and O2: more callers than can be served, and more calls."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.history import History, compare, read_recorded
from tests.faults.load import Orders, Report, generate
from tests.faults.report import Result
from tests.faults.rounds import ACKNOWLEDGED_MIN, audit_books
from tests.faults.rows import row
from tests.faults.stage import Database, Server, Stage
from tests.faults.traffic import Traffic, new_traffic

ACCOUNTS = 100
BATCH = 10
# Of the most that 64 callers get: what 1,000 must get together, and what must be left of it right after an overload.
GOODPUT_MIN = 0.8
GROWTH_MB_MAX = 250.0
PAUSE_SECONDS = 5.0
# Others may be at work on this machine; another look tells them from us.
LOOKS = 3


class Bench:
    """Loads on one server, each measured and compared with the database."""

    def __init__(self, stage: Stage, result: Result, database: Database, server: Server, traffic: Traffic) -> None:
        self.seconds = 3.0 if stage.is_short else 5.0
        self._stage, self._result, self._database, self._server = stage, result, database, server
        self._ledger_id = traffic.history.ledger_id
        self._account_ids = [account.id for account in traffic.accounts]
        self._traffic = traffic
        self.calls = History(self._ledger_id)

    async def run(self, *, callers: int = 0, rate: float = 0.0, batch: int = 1, times: float = 1) -> Report:
        """One load, for so many times as long as the others."""
        seconds = self.seconds * times
        orders = Orders(self._server.address, self._ledger_id, self._account_ids, seconds, callers, rate, batch=batch)
        report = await generate(orders, self._stage.directory / f"load-{time.monotonic_ns()}.json")
        self.calls.calls += report.calls
        self._result.expect(not report.without_retry_info, f"{report.without_retry_info} refusals without RetryInfo")
        self._stage.say(
            f"    {callers or f'{rate:.0f}/s'} × {batch}: {report.rate:.0f}/s, p50 {report.p50_ms:.0f} ms, "
            f"p99 {report.p99_ms:.0f} ms, refused p99 {report.refused_p99_ms:.0f} ms, {report.said}, "
            f"{self._server.rss_mb():.0f} MB"
        )
        return report

    async def check(self) -> None:
        """No answer was wrong; what is unknown has had one effect or none."""
        recorded = await read_recorded(self._database.dsn, self._ledger_id)
        verdict = compare(self.calls, recorded)
        self._result.acknowledged += len(recorded.events)
        self._result.lost += len(verdict.lost)
        self._result.doubled += len(verdict.doubled)
        self._result.findings += [*verdict.lost[:5], *verdict.doubled[:5], *verdict.traces[:5]]
        await audit_books(self._result, self._traffic.clients[0], self._database.dsn, self._ledger_id)


@row("O1", "1,000 callers who honour RetryInfo", rounds=3)
async def closed_loop(stage: Stage, rounds: int) -> Result:
    result, database = Result(), await stage.database()
    server = await stage.server(database.dsn)
    async with new_traffic([server.address], stage.seed, accounts=ACCOUNTS) as traffic:
        bench = Bench(stage, result, database, server, traffic)
        await bench.run(callers=64)
        for _ in range(rounds):
            for _ in range(LOOKS):
                most, many = await bench.run(callers=64), await bench.run(callers=1_000)
                if many.rate >= GOODPUT_MIN * most.rate:
                    break
            result.rounds += 1
            result.note = f"{many.rate / most.rate:.2f} × the goodput of 64, p99 {many.p99_ms / 1e3:.1f} s"
            result.expect(most.acknowledged >= ACKNOWLEDGED_MIN, f"only {most.acknowledged} acknowledged")
            result.expect(many.rate >= GOODPUT_MIN * most.rate, result.note)
        # The control: a server that works a tenth of the time.
        async with _stopped_most_of_the_time(server):
            little = await bench.run(callers=1_000)
        result.control = f"{little.rate / most.rate:.2f} × of a server that was stopped most of the time"
        result.expect(little.rate < GOODPUT_MIN * most.rate, f"the control: {result.control}")
        await bench.check()
    return result


@asynccontextmanager
async def _stopped_most_of_the_time(server: Server) -> AsyncIterator[None]:
    async def stop_and_go() -> None:
        while True:
            for number, seconds in ((signal.SIGSTOP, 0.9), (signal.SIGCONT, 0.1)):
                os.kill(server.pid, number)
                await asyncio.sleep(seconds)

    task = asyncio.create_task(stop_and_go())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        os.kill(server.pid, signal.SIGCONT)


@row("O2", "open loop at twice the maximum", rounds=3)
async def open_loop(stage: Stage, rounds: int) -> Result:
    result, database = Result(), await stage.database()
    server = await stage.server(database.dsn)
    async with new_traffic([server.address], stage.seed, accounts=ACCOUNTS) as traffic:
        bench = Bench(stage, result, database, server, traffic)
        await bench.run(callers=64)
        for _ in range(rounds):
            for _ in range(LOOKS):
                before = await bench.run(callers=64)
                # In batches, so that one process of callers is enough to bring twice what the service can take.
                most = await bench.run(callers=64, batch=BATCH)
                rss_mb = server.rss_mb()
                # At twice the rate the first waits as long as the load has lasted: long enough for refusals.
                over = await bench.run(rate=2 * most.rate / BATCH, batch=BATCH, times=2)
                growth_mb = server.rss_mb() - rss_mb
                await asyncio.sleep(PAUSE_SECONDS)
                after = await bench.run(callers=64)
                if over.said and after.rate >= GOODPUT_MIN * before.rate:
                    break
            result.rounds += 1
            result.expect(before.acknowledged >= ACKNOWLEDGED_MIN, f"only {before.acknowledged} acknowledged")
            result.note = (
                f"goodput {over.rate / most.rate:.2f} × the maximum, p50 {over.p50_ms / 1e3:.1f} s, "
                f"{sum(over.said.values())} refused, "
                f"+{growth_mb:.0f} MB, after 5 s {after.rate / before.rate:.2f} × before"
            )
            result.expect(growth_mb <= GROWTH_MB_MAX, f"{growth_mb:.0f} MB more")
            result.expect(after.rate >= GOODPUT_MIN * before.rate, result.note)
            result.expect(bool(over.said), "nothing was refused, so it was no overload")
        async with _stopped_most_of_the_time(server):
            little = await bench.run(callers=64)
        result.control = f"{little.rate / before.rate:.2f} × of a server that was stopped most of the time"
        result.expect(little.rate < GOODPUT_MIN * before.rate, f"the control: {result.control}")
        await bench.check()
    return result
