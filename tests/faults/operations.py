"""Rows 40, 41 and S: a restore to a point in time, rolling restarts, and starts and stops that are interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import asyncpg

from ledger_client import EpochChanged, Ledger, LedgerClient, credit, debit
from ledger_server import storage
from ledger_server.storage.embedded import find_binaries
from tests.conftest import POSTGRES_BIN
from tests.faults import controls
from tests.faults.history import Outcome
from tests.faults.report import Result
from tests.faults.rounds import audit_books, under_traffic
from tests.faults.rows import row
from tests.faults.stage import Database, Stage
from tests.faults.traffic import new_traffic
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.schemas import schema_of
from tests.service.processes import environment, starting


@row("40", "point-in-time restore, noticed at start", rounds=3)
async def restore(stage: Stage, rounds: int) -> Result:
    result = Result()
    for number in range(rounds):
        archive = stage.directory / f"archive-{number}"
        archive.mkdir()
        archive.chmod(0o777)
        database = await stage.database(
            f"before-{number}",
            wal_level="replica",
            archive_mode="on",
            archive_command=f"cp %p {archive}/%f",
        )
        server = await stage.server(database.dsn)
        async with new_traffic([server.address], stage.seed) as traffic:
            async with traffic.running(8):
                await traffic.until_acknowledged(200)
            restored = stage.directory / f"after-{number}"
            _base_backup(database, restored)
            async with traffic.running(8):
                await traffic.until_acknowledged(200)
            connection = await asyncpg.connect(database.dsn)
            await connection.execute("SELECT pg_create_restore_point('here')")
            kept = traffic.acknowledged
            before = await traffic.clients[0].get_ledger(traffic.history.ledger_id)
            async with traffic.running(8):
                await traffic.until_acknowledged(100)
            last = await traffic.clients[0].get_ledger(traffic.history.ledger_id)
            await connection.execute("SELECT pg_switch_wal()")
            await connection.close()
            await server.end(signal.SIGTERM)
            await database.stop()
            restored_database = await stage.database(
                f"after-{number}",
                restore_command=f"cp {archive}/%f %p",
                recovery_target_name="here",
                recovery_target_action="promote",
            )
            await _until_promoted(restored_database)
            result.acknowledged += kept
            await _is_another_history(
                stage, result, restored_database, traffic.history.ledger_id, before.position, last
            )
        result.rounds += 1
        await restored_database.stop()
    return result


def _base_backup(database: Database, target: Path) -> None:
    """A real one, by pg_basebackup, where the next PostgreSQL finds its data."""
    program = find_binaries(POSTGRES_BIN) / "pg_basebackup"
    target.mkdir(mode=0o700)
    host = str(database.running.socket_directory)
    subprocess.run(
        [program, "-h", host, "-U", "ledger", "-D", target / "pgdata", "-X", "none", "-c", "fast"],
        check=True,
        capture_output=True,
    )
    owner = database.pgdata.stat()
    for path in (target, *target.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    signal_file = target / "pgdata" / "recovery.signal"
    signal_file.touch()
    os.chown(signal_file, owner.st_uid, owner.st_gid)


async def _until_promoted(database: Database) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        connection = await asyncpg.connect(database.dsn)
        while await connection.fetchval("SELECT pg_is_in_recovery()"):
            await asyncio.sleep(0.05)
        await connection.close()


async def _is_another_history(
    stage: Stage, result: Result, database: Database, ledger_id: str, position: int, last: Ledger
) -> None:
    """The books are those of the restore point, and nobody resumes by what he remembers of afterwards."""
    remembered_position, remembered_epoch = last.position, last.epoch
    server = await stage.server(database.dsn)
    async with LedgerClient(server.address) as client:
        await audit_books(result, client, database.dsn, ledger_id)
        found = await client.get_ledger(ledger_id)
        result.expect(found.position == position, f"restored to {found.position}, not {position}")
        accounts = (await client.list_accounts(ledger_id)).accounts
        while (await client.get_ledger(ledger_id)).position < remembered_position:
            await client.create_transaction(ledger_id, [debit(accounts[0], 1), credit(accounts[1], 1)])
        try:
            async with client.watch_events(ledger_id, after_position=remembered_position, epoch=remembered_epoch):
                result.findings.append("a position of the lost history was taken for one of the new")
        except EpochChanged:
            pass
        written = await client.create_transaction(ledger_id, [debit(accounts[0], 1), credit(accounts[1], 1)])
        result.expect(written.epoch not in ("", remembered_epoch), "the epoch is the old one")
        # The control: with the epoch put back such a position is taken for one of the new history.
        await _put_back(database, ledger_id, remembered_epoch)
        async with client.watch_events(ledger_id, after_position=remembered_position, epoch=remembered_epoch):
            result.control = "resumed in another history with the old epoch"
        told = subprocess.run(
            [sys.executable, "-m", "ledger_server", "new-epoch"],
            env=environment(database_url=database.dsn),
            capture_output=True,
            text=True,
            check=True,
        )
        result.note = told.stderr.strip().removeprefix("ledger: ")
        await audit_books(result, client, database.dsn, ledger_id)
    await server.end(signal.SIGTERM)


async def _put_back(database: Database, ledger_id: str, epoch: str) -> None:
    connection = await asyncpg.connect(database.dsn)
    statement = "UPDATE ledgers SET epoch = $2::text::uuid WHERE ledger_id = $1"
    await connection.execute(statement, number_of(ledger_id), epoch)
    await connection.close()


@row("41", "rolling restart of two servers", rounds=10)
async def rolling_restart(stage: Stage, rounds: int) -> Result:
    """The shipped client with both addresses notices nothing; streams go on."""
    result, database = Result(), await stage.database()
    servers = [await stage.server(database.dsn) for _ in range(2)]
    addresses = [server.address for server in servers]
    one, other = addresses
    both = [
        await stage.stack.enter_async_context(LedgerClient(f"ipv4:{pair}"))
        for pair in (f"{one},{other}", f"{other},{one}")
    ]
    for _ in range(rounds):
        async with under_traffic(stage, result, lambda: database.dsn, addresses) as traffic:
            traffic.clients = both
            # Those under way still use the others.
            await traffic.until_acknowledged(50)
            first = len(traffic.history.calls)
            for server in servers:
                fell_at = time.monotonic()
                await server.end(signal.SIGTERM)
                await server.start()
                result.recovered.append(await traffic.recovered_after(fell_at))
                await traffic.until_acknowledged(50)
            failed = [call for call in traffic.history.calls[first:] if call.said and call.outcome is Outcome.UNKNOWN]
            result.expect(not failed, f"{len(failed)} calls failed: {[call.said for call in failed[:2]]}")
    await controls.impatient(result, lambda: database.dsn, addresses, servers[0].kill_and_start, timeout=0.05)
    return result


@row("S", "start, migration and shutdown interrupted, and two at once", rounds=20)
async def interrupted(stage: Stage, rounds: int) -> Result:
    result, database = Result(), await stage.database()
    await (await stage.server(database.dsn)).close()
    whole = await schema_of(database.dsn)
    for number in range(max(rounds, 2)):
        await _interrupted_round(stage, result, database, f"books_{number}", whole)
    result.control = await _migrated_by_halves(database, whole)
    result.expect(bool(result.control), "the control's schema is whole")
    return result


async def _new_database(database: Database, name: str) -> str:
    connection = await asyncpg.connect(database.running.dsn("postgres"))
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return database.running.dsn(name)


async def _interrupted_round(
    stage: Stage, result: Result, database: Database, name: str, whole: frozenset[str]
) -> None:
    dsn = await _new_database(database, name)
    for _ in range(3):
        await asyncio.gather(*(_interrupted_start(stage, dsn) for _ in range(2)))
    servers = await asyncio.gather(*(stage.server(dsn) for _ in range(2)))
    addresses = [server.address for server in servers]
    async with under_traffic(stage, result, lambda: dsn, addresses, minimum=100) as traffic:
        # A shutdown that is interrupted: told to stop, killed on the way, and back.
        fell_at = time.monotonic()
        stopping = asyncio.create_task(servers[0].end(signal.SIGTERM))
        await asyncio.sleep(stage.chance.uniform(0, 0.3))
        if (service := servers[0].service) is not None and service.process.returncode is None:
            service.process.kill()
        await stopping
        await servers[0].start()
        result.recovered.append(await traffic.recovered_after(fell_at))
    # Both at once, and each is told until it has ended.
    telling = asyncio.create_task(_tell_again_and_again([server.pid for server in servers]))
    statuses = await asyncio.gather(*(server.end(signal.SIGTERM) for server in servers))
    telling.cancel()
    result.expect(statuses == [0, 0], f"told again and again to stop they ended with {statuses}")
    different = sorted(await schema_of(dsn) ^ whole)
    result.expect(not different, f"the schema of {name} is another: {different[:3]}")


async def _tell_again_and_again(pids: list[int]) -> None:
    while True:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        await asyncio.sleep(0.001)


async def _interrupted_start(stage: Stage, dsn: str) -> None:
    """Killed after up to a second and a half: before, while and after it migrates, or serves already."""
    async with starting(stage.directory, database_url=dsn, log_level="error"):
        await asyncio.sleep(stage.chance.uniform(0.3, 1.5))


async def _migrated_by_halves(database: Database, whole: frozenset[str]) -> str:
    """The control: a migration in statements of their own, of which only some are done, leaves something else."""
    dsn = await _new_database(database, "control")
    migration = min(files(storage).joinpath("migrations").iterdir(), key=lambda file: file.name).read_text()
    statements = migration.split(";\n")
    connection = await asyncpg.connect(dsn)
    for statement in statements[: len(statements) // 2]:
        await connection.execute(statement)
    await connection.close()
    missing = len(whole - await schema_of(dsn))
    return f"{missing} things missing after half of a migration without a transaction" if missing else ""
