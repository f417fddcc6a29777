"""The processes under test: starting the service as a user would, and what each process costs. Linux only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.patience import PATIENCE_SECONDS

_STOP_SECONDS = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """CPU of the three processes: seconds while measuring, microseconds a transaction in results."""

    server: float = 0.0
    postgres: float = 0.0
    client: float = 0.0

    def __sub__(self, other: Cpu) -> Cpu:
        return Cpu(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    def each(self, transactions: float) -> Cpu:
        """From seconds to microseconds a transaction."""
        return Cpu(*(seconds * 1e6 / transactions for seconds in self))


@dataclass(frozen=True, slots=True)
class Processes:
    """Whose CPU is counted: ours, which is the client, PostgreSQL's, and the server's unless it takes no part."""

    postmaster: int
    server: int | None = None

    def cpu(self) -> Cpu:
        """CPU seconds spent so far."""
        server = sum(_cpu_ticks(_stat(self.server))[:2]) / _TICKS if self.server else 0.0
        return Cpu(server, _family_ticks(self.postmaster) / _TICKS, time.process_time())


@dataclass(frozen=True, slots=True)
class Server:
    """A running `python -m ledger_server`."""

    address: str
    pid: int
    dsn: str

    def rss_mb(self) -> float:
        """Resident memory in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


@asynccontextmanager
async def running_server(dsn: str, directory: Path, name: str) -> AsyncIterator[Server]:
    """The service on a database, in a process of its own, with its default settings; its log goes to a file."""
    ready_file, log_file = directory / f"{name}.ready", directory / f"{name}.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LEDGER_")} | {
        "LEDGER_LISTEN": "127.0.0.1:0",
        "LEDGER_READY_FILE": str(ready_file),
        "LEDGER_DATABASE_URL": dsn,
    }
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ledger_server", env=environment, stdout=log, stderr=log
        )
    try:
        yield Server(await ready_address(process, ready_file), process.pid, dsn)
    except Exception as error:
        surprises = [line for line in log_file.read_text().splitlines() if '"code": "OK"' not in line]
        error.add_note("\n".join(["What the server's log says:", *surprises[-20:]]))
        raise
    finally:
        await _stop(process)


async def ready_address(process: asyncio.subprocess.Process, ready_file: Path) -> str:
    """What a server writes into its ready file."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready_file.exists():
        if process.returncode is not None or time.monotonic() > deadline:
            raise RuntimeError("the server did not start")
        await asyncio.sleep(0.02)
    return ready_file.read_text().strip()


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _family_ticks(postmaster: int) -> int:
    """Of a process and its children; its own account of dead children covers those that came and went."""
    family = [_stat(postmaster)]
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            # Any process may end while we look.
            with contextlib.suppress(OSError):
                stat = _stat(int(directory.name))
                if int(stat[1]) == postmaster:
                    family.append(stat)
    return sum(sum(_cpu_ticks(stat)) for stat in family)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/pid/stat from the third (state) on; the second may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu_ticks(stat: list[str]) -> list[int]:
    """utime, stime, and both of the children that were waited for."""
    return [int(ticks) for ticks in stat[11:15]]


def machine(postgres_version: str) -> dict[str, str | int]:
    """What the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": models[0] if models else platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgresql": postgres_version,
    }
