"""Rows 6, 7 and 10: PostgreSQL and the servers end at once, in every way there is, or PostgreSQL may lose data."""

from __future__ import annotations

import os
import signal
import time

from tests.faults import controls
from tests.faults.report import Result
from tests.faults.rounds import fault_rounds
from tests.faults.rows import row
from tests.faults.stage import Database, Stage
from tests.faults.traffic import Traffic, new_traffic
from tests.service.pooler import dropping_proxy
from tests.service.processes import refused


@row("6", "PostgreSQL stopped with -m immediate", rounds=50)
async def immediate_stop(stage: Stage, rounds: int) -> Result:
    result, database = Result(), await stage.database()
    server = await stage.server(database.dsn)

    async def fault(traffic: Traffic | None = None) -> float:
        fell_at = time.monotonic()
        await database.stop_at_once()
        await database.start()
        return fell_at

    await fault_rounds(stage, result, rounds, lambda: database.dsn, [server.address], fault)
    # Off, WAL is written every 200 ms, or here so late that it never is.
    database.settings["wal_writer_delay"] = "10s"
    await fault()
    await controls.forgetful(result, database, fault)
    return result


@row("7a", "SIGKILL of a PostgreSQL backend", rounds=50)
async def backend_killed(stage: Stage, rounds: int) -> Result:
    result, database = Result(), await stage.database(wal_writer_delay="10s")
    server = await stage.server(database.dsn)

    async def fault(traffic: Traffic | None = None) -> float:
        victim = stage.chance.choice(await database.backends("ledger-lane"))
        fell_at = time.monotonic()
        # The postmaster ends all the others, and recovers.
        os.kill(victim, signal.SIGKILL)
        return fell_at

    await fault_rounds(stage, result, rounds, lambda: database.dsn, [server.address], fault)
    await controls.forgetful(result, database, lambda: _crash(database, stage))
    return result


@row("7b", "SIGKILL of the postmaster", rounds=50)
async def postmaster_killed(stage: Stage, rounds: int) -> Result:
    result, database = Result(), await stage.database(wal_writer_delay="10s")
    server = await stage.server(database.dsn)

    async def fault(traffic: Traffic | None = None) -> float:
        fell_at = time.monotonic()
        await database.kill()
        await database.start()
        return fell_at

    await fault_rounds(stage, result, rounds, lambda: database.dsn, [server.address], fault)
    await controls.forgetful(result, database, fault)
    return result


@row("7c", "SIGKILL of one or both of two servers", rounds=50)
async def server_killed(stage: Stage, rounds: int) -> Result:
    result, database = Result(), await stage.database()
    servers = [await stage.server(database.dsn) for _ in range(2)]
    addresses = [server.address for server in servers]

    async def fault(traffic: Traffic | None = None) -> float:
        fell_at = time.monotonic()
        victims = stage.chance.sample(servers, stage.chance.choice([1, 2]))
        for victim in victims:
            await victim.kill()
        for victim in victims:
            await victim.start()
        return fell_at

    await fault_rounds(stage, result, rounds, lambda: database.dsn, addresses, fault)
    await controls.impatient(result, lambda: database.dsn, addresses, fault, timeout=0.05)
    return result


@row("10", "unsafe settings of PostgreSQL refused at start", rounds=4)
async def unsafe_settings(stage: Stage, rounds: int) -> Result:
    """All of them, in a short run too; the control is the same PostgreSQL as it should be."""
    result = Result()
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        database = await stage.database(setting, directory=None, **{setting: "off"})
        said = await refused(stage.directory, database_url=database.dsn, may_lose_data=0)
        result.expect(f"{setting} is off" in said, f"with {setting} off it said: {said}")
        result.rounds += 1
        await database.close()
    database = await stage.database()
    async with dropping_proxy(database.dsn, stage.directory) as dropping:
        said = await refused(stage.directory, database_url=dropping, may_lose_data=0)
        result.expect("default_transaction_isolation = read committed" in said, f"without isolation it said: {said}")
        result.rounds += 1
    server = await stage.server(database.dsn, may_lose_data=0)
    async with new_traffic([server.address], stage.seed) as traffic, traffic.running(4):
        await traffic.until_acknowledged(100)
    result.acknowledged = traffic.acknowledged
    result.control = "as it should be it is served"
    return result


async def _crash(database: Database, stage: Stage) -> None:
    """Kills a backend, and waits until PostgreSQL has recovered."""
    os.kill(stage.chance.choice(await database.backends("ledger-lane")), signal.SIGKILL)
    await database.answers()
