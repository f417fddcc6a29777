"""Rows 17, 20 and 24 to 26: the way to PostgreSQL is dark, slow, lossy, cut at the worst moment, or taken."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import asyncpg

from ledger_client import LedgerClient, LedgerError, Overloaded, Unavailable
from ledger_client.errors import DeadlineExceeded
from tests.faults import controls
from tests.faults.report import Result
from tests.faults.rounds import under_traffic
from tests.faults.rows import row
from tests.faults.stage import Database, Server, Stage
from tests.faults.traffic import NO_RETRIES, Traffic
from tests.proxy import CommitCuts, Proxy, proxied


async def _linked(stage: Stage, log_level: str = "warning") -> tuple[Database, Proxy, Server]:
    database = await stage.database()
    proxy = await stage.stack.enter_async_context(proxied(database.socket, stage.seed))
    return database, proxy, await stage.server(proxy.dsn(), log_level=log_level)


@row("17", "black-holed database link, 30 s", rounds=5)
async def black_hole(stage: Stage, rounds: int) -> Result:
    result, (database, proxy, server) = Result(), await _linked(stage)
    seconds = 12 if stage.is_short else 30
    for _ in range(rounds):
        async with under_traffic(stage, result, lambda: database.dsn, [server.address]) as traffic:
            proxy.black_hole()
            answered = traffic.acknowledged
            await asyncio.sleep(seconds)
            result.expect(traffic.acknowledged - answered <= 32, "the control: the link was not dark")
            proxy.heal()
            result.recovered.append(await traffic.recovered_after(time.monotonic()))
    result.control = "answers stopped while it was dark"
    result.expect(max(result.recovered) <= 5, f"it took {max(result.recovered):.1f} s to recover")
    return result


@row("17b", "connections that a firewall forgot", rounds=5)
async def forgotten(stage: Stage, rounds: int) -> Result:
    result, (database, proxy, server) = Result(), await _linked(stage)
    for _ in range(rounds):
        async with under_traffic(stage, result, lambda: database.dsn, [server.address]) as traffic:
            # The control: one who waits for an answer as long as it takes.
            patient = await asyncpg.connect(proxy.dsn())
            proxy.swallow()
            fell_at = time.monotonic()
            waiting = asyncio.create_task(patient.fetchval("SELECT 1"))
            await asyncio.sleep(1)
            proxy.heal()
            result.recovered.append(await traffic.recovered_after(fell_at))
            result.expect(not waiting.done(), "the control was answered")
            result.control = "a connection without time limits still waits when we have recovered"
            patient.terminate()
            await asyncio.gather(waiting, return_exceptions=True)
    # Nobody says that they are gone: a draft's time has to pass, or PostgreSQL's for an idle transaction.
    result.expect(max(result.recovered) <= 15, f"it took {max(result.recovered):.1f} s to recover")
    return result


@row("20", "connection cut before, after, reset at COMMIT", rounds=300)
async def cut_at_commit(stage: Stage, rounds: int) -> Result:
    result, (database, proxy, server) = Result(), await _linked(stage)
    cuts = CommitCuts(stage.seed, every=3)
    proxy.hook = cuts.forward
    proxy.cut()
    while sum(cuts.counts.values()) < rounds and not result.findings:
        async with under_traffic(stage, result, lambda: database.dsn, [server.address], minimum=200) as traffic:
            fell_at, until = time.monotonic(), min(rounds, sum(cuts.counts.values()) + 50)
            async with asyncio.timeout(120):
                while sum(cuts.counts.values()) < until:
                    await asyncio.sleep(0.02)
            # One in three commits is cut, so nobody is whole again until it is over; but callers are answered.
            result.recovered.append(traffic.longest_silence(fell_at))
    result.rounds = sum(cuts.counts.values())
    result.note = ", ".join(f"{count} {how}" for how, count in sorted(cuts.counts.items()))
    result.expect(max(result.recovered) <= 5, f"callers heard nothing for {max(result.recovered):.1f} s")
    result.expect(cuts.commits <= 6 * result.rounds, f"only {result.rounds} of {cuts.commits} commits were cut")
    await _naive_retry(result, database, proxy, cuts)
    return result


async def _naive_retry(result: Result, database: Database, proxy: Proxy, cuts: CommitCuts) -> None:
    """The control: a writer that repeats what failed, without a key, writes some of it twice."""
    connection = await asyncpg.connect(database.dsn)
    await connection.execute("CREATE TABLE control (n bigint)")
    for n in range(60):
        while True:
            try:
                through = await asyncpg.connect(proxy.dsn(), timeout=5)
                await through.execute("BEGIN")
                await through.execute("INSERT INTO control VALUES ($1)", n)
                await through.execute("COMMIT")
                through.terminate()
                break
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                continue
    await asyncio.sleep(0.2)
    doubled = await connection.fetchval("SELECT count(*) - count(DISTINCT n) FROM control")
    await connection.close()
    result.control = f"{doubled} doubled without a key"
    result.expect(bool(doubled), "the control doubled nothing")


@row("24", "all database connections taken", rounds=1)
async def pool_exhausted(stage: Stage, rounds: int) -> Result:
    """Whoever comes is told in time, and once there is room everything goes on."""
    result, database = Result(), await stage.database(max_connections="30", superuser_reserved_connections="0")
    server = await stage.server(database.dsn)
    for _ in range(rounds):
        async with under_traffic(stage, result, lambda: database.dsn, [server.address]) as traffic:
            # The lanes' ends are closed, and every free place is taken before they are back.
            held = [await asyncpg.connect(database.dsn)]
            await held[0].execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ledger-%'"
            )
            until = time.monotonic() + 10
            while time.monotonic() < until:
                try:
                    held.append(await asyncpg.connect(database.dsn))
                except (asyncpg.PostgresError, OSError):
                    await asyncio.sleep(0.05)
            await _told_in_time(result, server, traffic)
            for connection in held:
                connection.terminate()
            result.recovered.append(await traffic.recovered_after(time.monotonic()))
    result.expect(max(result.recovered) <= 5, f"it took {max(result.recovered):.1f} s to recover")
    return result


async def _told_in_time(result: Result, server: Server, traffic: Traffic) -> None:
    async with LedgerClient(server.address, options=NO_RETRIES, timeout=5) as client:
        began = time.monotonic()

        async def ask() -> LedgerError | None:
            try:
                await client.get_account(traffic.history.ledger_id, traffic.accounts[0].id)
            except LedgerError as error:
                return error
            return None

        answers = await asyncio.gather(*(ask() for _ in range(500)))
        took = time.monotonic() - began
    refused = [answer for answer in answers if answer is not None]
    result.expect(bool(refused), "the control: all reads were answered, so connections were left")
    wrong = [e for e in refused if not isinstance(e, Unavailable | Overloaded | DeadlineExceeded)]
    result.control = f"{len(refused)} of 500 reads refused in {took:.1f} s"
    result.expect(took <= 5 + 1.0, f"500 reads took {took:.1f} s with a deadline of 5")
    result.expect(not wrong, f"{wrong[:1]}")


@row("25a", "PostgreSQL paused by SIGSTOP, 30 s", rounds=5)
async def paused(stage: Stage, rounds: int) -> Result:
    result, database = Result(), await stage.database()
    server = await stage.server(database.dsn)
    seconds = 10 if stage.is_short else 30
    for _ in range(rounds):
        async with under_traffic(stage, result, lambda: database.dsn, [server.address]) as traffic:
            processes = database.processes()
            for pid in processes:
                os.kill(pid, signal.SIGSTOP)
            try:
                answered = traffic.acknowledged
                await asyncio.sleep(seconds)
                result.expect(traffic.acknowledged - answered <= 32, "the control: PostgreSQL was not paused")
            finally:
                for pid in processes:
                    os.kill(pid, signal.SIGCONT)
            result.recovered.append(await traffic.recovered_after(time.monotonic()))
    result.control = "answers stopped while it was paused"
    result.expect(max(result.recovered) <= 5, f"it took {max(result.recovered):.1f} s to recover")
    return result


@row("25b", "database link slow: +200 ms; lossy: 1 %; 1 Mbit/s", rounds=15)
async def bad_link(stage: Stage, rounds: int) -> Result:
    result, (database, proxy, server) = Result(), await _linked(stage)
    for number in range(max(rounds, 3)):
        async with under_traffic(stage, result, lambda: database.dsn, [server.address], minimum=300) as traffic:
            match number % 3:
                case 0:
                    proxy.delay_seconds = 0.2
                case 1:
                    proxy.loss = 0.01
                case 2:
                    proxy.bytes_per_second = 125_000
            await asyncio.sleep(2)
            await traffic.until_acknowledged(20)
            proxy.heal()
            result.recovered.append(await traffic.recovered_after(time.monotonic()))
    result.expect(max(result.recovered) <= 5, f"it took {max(result.recovered):.1f} s to recover")
    await _is_bad(result, proxy)

    async def late() -> None:
        proxy.delay_seconds = 0.2
        await asyncio.sleep(2)
        proxy.heal()

    # Callers who do not wait that long, and ask again under a new id.
    await controls.impatient(result, lambda: database.dsn, [server.address], late, timeout=0.5)
    return result


async def _is_bad(result: Result, proxy: Proxy) -> None:
    """Each kind of link is as bad as it says, for somebody who does nothing but use it."""
    connection = await asyncpg.connect(proxy.dsn())

    async def slowest(count: int, size: int = 1) -> float:
        took = []
        for _ in range(count):
            began = time.monotonic()
            await connection.fetchval(f"SELECT repeat('x', {size})")
            took.append(time.monotonic() - began)
        return max(took)

    proxy.delay_seconds = 0.2
    late = await slowest(2)
    proxy.heal()
    proxy.loss = 0.01
    lossy = await slowest(1_000)
    proxy.heal()
    proxy.bytes_per_second = 125_000
    narrow = await slowest(1, 125_000)
    proxy.heal()
    connection.terminate()
    result.note = f"a bare statement took {late:.1f}, at worst {lossy:.1f}, and for 125 kB {narrow:.1f} s"
    result.expect(late >= 0.4 and lossy >= 0.2 and narrow >= 1, f"the link was too good: {result.note}")


@row("26", "database down for 60 s", rounds=1)
async def database_down(stage: Stage, rounds: int) -> Result:
    """The server does not hammer what is down: hardly more attempts than calls."""
    result, (database, _, server) = Result(), await _linked(stage, log_level="info")
    seconds = 20 if stage.is_short else 60
    for _ in range(rounds):
        async with under_traffic(stage, result, lambda: database.dsn, [server.address]) as traffic:
            before = len(traffic.history.calls)
            await database.stop_at_once()
            await asyncio.sleep(seconds)
            calls = len(traffic.history.calls) - before
            await database.start()
            result.recovered.append(await traffic.recovered_after(time.monotonic()))
            assert server.service is not None
            failed = [line for line in server.service.logged() if line.get("event") == "batch_failed"]
            result.control = f"{len(failed)} attempts, {calls} calls"
            result.expect(0 < len(failed) <= 1.2 * calls, f"{len(failed)} attempts for {calls} calls")
    result.expect(max(result.recovered) <= 5, f"it took {max(result.recovered):.1f} s to recover")
    return result
