"""Rows 8, 9 and 38: the disk fails, the disk is full, a clock is wrong. Needs strace, libfaketime and root."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from ledger_client import credit, debit
from tests.faults import controls
from tests.faults.history import read_recorded
from tests.faults.report import Result
from tests.faults.rounds import check, fault_rounds, under_traffic
from tests.faults.rows import row
from tests.faults.stage import Database, Stage
from tests.faults.traffic import Traffic, new_traffic
from tests.service.processes import until

DISK_MB, BALLAST_MB = 160, 60


class MissingToolError(Exception):
    """A row cannot be done on this machine, which is no pass."""


def needed(tool: str) -> str:
    """Where a program is."""
    found = shutil.which(tool)
    if found is None:
        raise MissingToolError(f"{tool} is not installed: apt-get install {tool}")
    return found


def libfaketime() -> str:
    """Where the library is that tells a process another time."""
    for directory in (Path("/usr/lib"), Path("/usr/lib64")):
        for found in directory.rglob("libfaketime.so.1"):
            return str(found)
    raise MissingToolError("libfaketime is not installed: apt-get install libfaketime")


@row("8", "EIO on PostgreSQL's fdatasync", rounds=5)
async def eio(stage: Stage, rounds: int) -> Result:
    """PostgreSQL panics, as it must, and recovers what was on the disk."""
    result, database = Result(), await stage.database(wal_writer_delay="10s", restart_after_crash="off")
    server = await stage.server(database.dsn)
    strace, injected = needed("strace"), 0

    async def fault(traffic: Traffic | None = None) -> float:
        nonlocal injected
        fell_at = time.monotonic()
        output = stage.directory / f"strace-{time.monotonic_ns()}"
        targets = [f"--attach={pid}" for pid in database.processes()]
        process = await asyncio.create_subprocess_exec(
            *(strace, "-f", "-qq", "-o", str(output), *targets, "-e", "trace=fdatasync,fsync"),
            *("-e", "inject=fdatasync:error=EIO", "-e", "inject=fsync:error=EIO"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(30):
                # Somebody else must sync, where nobody writes.
                while not database.running.exited.done():
                    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                        await _checkpoint(database)
                    await asyncio.sleep(0.05)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await process.wait()
        injected += output.read_text().count("INJECTED")
        await database.ended()
        await database.start()
        return fell_at

    await fault_rounds(
        stage, result, rounds, lambda: database.dsn, [server.address], fault, minimum=200, recover_seconds=20
    )
    result.note = f"{injected} syncs failed, {_panics(database)} panics"
    result.expect(injected > 0, "nothing was injected")
    result.expect(_panics(database) >= rounds, "PostgreSQL did not panic")
    await controls.forgetful(result, database, fault)
    return result


async def _checkpoint(database: Database) -> None:
    connection = await asyncpg.connect(database.dsn, timeout=2)
    try:
        await connection.execute("CHECKPOINT", timeout=2)
    finally:
        connection.terminate()


def _panics(database: Database) -> int:
    return database.running.log_file.read_text(errors="replace").count("PANIC:")


@row("9", "disk full", rounds=3)
async def disk_full(stage: Stage, rounds: int) -> Result:
    """Whatever can be said is said, and once there is room again everything goes on."""
    result = Result()
    for number in range(rounds):
        async with _small_disk(stage.directory / f"disk-{number}") as disk:
            await _fill_and_free(stage, result, disk)
    result.expect(max(result.recovered) <= 20, f"it took {max(result.recovered):.1f} s to recover")
    return result


async def _fill_and_free(stage: Stage, result: Result, disk: Path) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(BALLAST_MB * 2**20))
    database = await stage.database(
        directory=disk / "postgres", max_wal_size="48MB", min_wal_size="32MB", shared_buffers="16MB"
    )
    server = await stage.server(database.dsn)
    try:
        async with under_traffic(stage, result, lambda: database.dsn, [server.address], minimum=200) as traffic:
            failed = await _fill_up(disk, traffic)
            result.control = f"no room after {traffic.acknowledged} acknowledged"
            result.note = f"{failed} calls failed meanwhile"
            result.expect(failed > 0, "the disk was never full")
            ballast.unlink()
            (disk / "more").unlink(missing_ok=True)
            healed_at = time.monotonic()
            if database.running.exited.done():
                await database.ended()
                await database.start()
            result.recovered.append(await traffic.recovered_after(healed_at))
    finally:
        await server.close()
        await database.close()


async def _fill_up(disk: Path, traffic: Traffic) -> int:
    """Takes what is left of the disk, and waits until callers notice; how many did."""

    def failed() -> int:
        return sum(bool(call.said) and "CONDITION_FAILED" not in call.said for call in traffic.history.calls[start:])

    start = len(traffic.history.calls)
    with contextlib.suppress(OSError), (disk / "more").open("ab", buffering=0) as more:
        while True:
            more.write(bytes(65_536))
    # WAL has its files already; new pages of tables have not.
    await until(lambda: failed() > 20, 60)
    await asyncio.sleep(1)
    return failed()


@asynccontextmanager
async def _small_disk(path: Path) -> AsyncIterator[Path]:
    if os.geteuid() != 0:
        raise MissingToolError("a small disk is mounted as root")
    path.mkdir(mode=0o711)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=711", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@row("38", "the clock of one of two servers is a day off", rounds=4)
async def wrong_clock(stage: Stage, rounds: int) -> Result:
    """Times are the database's: order, expiry and repetitions do not care what a server takes the time to be."""
    result, database = Result(), await stage.database()
    right = await stage.server(database.dsn)
    for number in range(max(rounds, 2)):
        day = "+1d" if number % 2 == 0 else "-1d"
        fake = ("env", f"LD_PRELOAD={libfaketime()}", f"FAKETIME={day}", "FAKETIME_DONT_FAKE_MONOTONIC=1")
        wrong = await stage.server(database.dsn, prefix=fake)
        addresses = [right.address, wrong.address]
        try:
            async with new_traffic(addresses, stage.chance.randrange(2**32)) as traffic:
                async with traffic.watched(traffic.clients[1]), traffic.running(8):
                    await traffic.until_acknowledged(500)
                    await _expires_on_time(result, traffic)
                await traffic.settle()
                await check(result, traffic, database.dsn)
                recorded = await read_recorded(database.dsn, traffic.history.ledger_id)
                times = [event.time.ToMicroseconds() for event in recorded.events]
                off = max(abs(time.time() - at / 1e6) for at in times)
                result.expect(times == sorted(times), "times go back")
                result.expect(off < 300, f"an event's time is {off:.0f} s off")
                result.control = await _says(wrong.pid, day)
                result.expect(bool(result.control), "the clock was right")
            result.rounds += 1
        finally:
            await wrong.close()
    return result


async def _expires_on_time(result: Result, traffic: Traffic) -> None:
    one, other = traffic.accounts[:2]
    expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    pending = [
        await client.create_transaction(one.ledger_id, [debit(one, 1), credit(other, 1)], expires_at=expires_at)
        for client in traffic.clients
    ]
    for each in pending:
        read = await traffic.clients[0].get_transaction(one.ledger_id, each.id)
        if dt.datetime.now(dt.UTC) < expires_at - dt.timedelta(seconds=0.5):
            result.expect(read.status == 1, "it expired too early")
    async with asyncio.timeout(15):
        for each in pending:
            while (await traffic.clients[0].get_transaction(one.ledger_id, each.id)).status == 1:
                await asyncio.sleep(0.1)
    late = (dt.datetime.now(dt.UTC) - expires_at).total_seconds()
    result.expect(late < 10, f"it expired {late:.0f} s late")


async def _says(pid: int, day: str) -> str:
    """The control: the library is in that process, and moves the clock of such a one."""
    if "libfaketime" not in Path(f"/proc/{pid}/maps").read_text():
        return ""
    environment = {"LD_PRELOAD": libfaketime(), "FAKETIME": day}
    told = subprocess.run(["date", "+%s"], env=os.environ | environment, capture_output=True, text=True, check=True)
    return f"its clock is {(int(told.stdout) - time.time()) / 86_400:+.1f} days off"
