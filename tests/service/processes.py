"""The service as a process of its own, for tests that signal and kill it. Linux only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
SERVICE = (sys.executable, "-m", "ledger_server")
# Of our environment the service sees no setting but where PostgreSQL is, so that the tests run on any version of it.
KEPT_SETTINGS = {"LEDGER_POSTGRES_BIN"}
# As if no make were around, and what the service sets itself.
DROPPED = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "GRPC_EXPERIMENTS"}


def environment(**settings: object) -> dict[str, str]:
    """Ours, with these settings and no others."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if (not name.startswith("LEDGER_") or name in KEPT_SETTINGS) and name not in DROPPED
    }
    # The tests' own PostgreSQL forgets what a power cut would take.
    return (
        kept
        | {"LEDGER_MAY_LOSE_DATA": "1"}
        | {f"LEDGER_{name.upper()}": str(value) for name, value in settings.items()}
    )


@dataclass(slots=True)
class Service:
    """A `python -m ledger_server` in a session of its own; what it says goes to a file."""

    process: asyncio.subprocess.Process
    ready_file: Path
    output: Path
    address: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> list[str]:
        """The lines for people."""
        lines = self.output.read_text().splitlines()
        return [line.removeprefix("ledger: ") for line in lines if line.startswith("ledger: ")]

    def logged(self) -> list[dict[str, Any]]:
        """The lines for machines; one that is neither fails the test."""
        return [
            json.loads(line)
            for line in self.output.read_text().splitlines()
            if line and not line.startswith("ledger: ")
        ]

    async def until_ready(self) -> None:
        """Waits for the ready file."""
        await until(lambda: self.ready_file.exists() or self.process.returncode is not None)
        assert self.process.returncode is None, self.output.read_text()
        self.address = self.ready_file.read_text()

    def interrupt(self) -> None:
        """Ctrl-C: the terminal sends SIGINT to the whole process group."""
        os.killpg(self.pid, signal.SIGINT)

    async def stopped(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit status; fails if there is none in time."""
        async with asyncio.timeout(seconds):
            return await self.process.wait()


@asynccontextmanager
async def starting(
    directory: Path,
    stderr: int | None = None,
    prefix: tuple[str, ...] = (),
    arguments: tuple[str, ...] = (),
    /,
    **settings: object,
) -> AsyncIterator[Service]:
    """A service that may not be up yet; killed at the end if it still runs. Settings by their lower-case names.

    The prefix is a command that becomes the service, such as `env`; with arguments it does something else.
    """
    name = f"service-{time.monotonic_ns()}"
    ready_file, output = directory / f"{name}.ready", directory / f"{name}.log"
    given: dict[str, object] = {"listen": "127.0.0.1:0", "ready_file": ready_file}
    with output.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            *prefix,
            *SERVICE,
            *arguments,
            env=environment(**(given | settings)),
            cwd=directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stream,
            stderr=stream if stderr is None else stderr,
            start_new_session=True,
        )
    try:
        yield Service(process, ready_file, output)
    except BaseException as error:
        error.add_note(f"What the service said last:\n{output.read_text()[-4_000:]}")
        raise
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@asynccontextmanager
async def started(directory: Path, **settings: object) -> AsyncIterator[Service]:
    """A service that serves."""
    async with starting(directory, **settings) as service:
        await service.until_ready()
        yield service


async def refused(directory: Path, **settings: object) -> str:
    """What a service that must not start says."""
    async with starting(directory, **settings) as service:
        assert await service.stopped() == 1, service.output.read_text()
        return service.output.read_text()


def copied(data: Path, directory: Path) -> Path:
    """A copy of a data directory, owners included, which takes a tenth of the time of making one."""
    subprocess.run(["cp", "-a", data, directory / "data"], check=True)
    return directory / "data"


def postgres_processes(data: Path) -> list[int]:
    """The PostgreSQL processes that work in this data directory."""
    pgdata = (data / "pgdata").resolve()
    found = []
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        # Gone meanwhile, a zombie, or somebody else's.
        with contextlib.suppress(OSError):
            if cwd.readlink() == pgdata:
                found.append(int(cwd.parent.name))
    return found


async def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Waits for other processes, which send no events."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def until_postgres_is_gone(data: Path) -> None:
    await until(lambda: not postgres_processes(data))
