"""Where a fault happens: a PostgreSQL that can be stopped in every way, and servers on fixed ports beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from ledger_server.storage.embedded import EmbeddedPostgres, EmbeddedPostgresError, embedded_postgres
from ledger_server.storage.migrate import migrate
from tests.conftest import POSTGRES_BIN
from tests.patience import PATIENCE_SECONDS
from tests.service.processes import Service, postgres_processes, starting, until_postgres_is_gone

# fsync stays on: acknowledged means on the disk.
POSTGRES_SETTINGS = {"max_connections": "200", "shared_buffers": "64MB", "max_wal_size": "256MB"}


class Database:
    """A PostgreSQL on a data directory, as a process that can be stopped and started again."""

    def __init__(self, directory: Path, settings: Mapping[str, str], template: Path | None = None) -> None:
        self.directory = directory
        if template is not None and not directory.exists():
            # Owners included; a fifth of the time of making one.
            subprocess.run(["cp", "-a", template, directory], check=True)
        self.settings = dict(POSTGRES_SETTINGS) | dict(settings)
        self._stack = AsyncExitStack()
        self._running: EmbeddedPostgres | None = None

    @property
    def running(self) -> EmbeddedPostgres:
        assert self._running is not None, "PostgreSQL is stopped"
        return self._running

    @property
    def dsn(self) -> str:
        return self.running.dsn()

    @property
    def socket(self) -> Path:
        """The file of its socket."""
        return self.running.socket_directory / ".s.PGSQL.5432"

    @property
    def pgdata(self) -> Path:
        return self.directory / "pgdata"

    async def start(self) -> None:
        """Starts it, recovery included."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._running = await self._stack.enter_async_context(
                    embedded_postgres(self.directory, bin_directory=POSTGRES_BIN, settings=self.settings)
                )
                return
            except EmbeddedPostgresError:
                # A postmaster that was killed leaves children for a moment.
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)

    async def stop_at_once(self) -> None:
        """What `pg_ctl stop -m immediate` does: SIGQUIT, no checkpoint; the next start recovers."""
        await self._end(signal.SIGQUIT)

    async def kill(self) -> None:
        """SIGKILL of the postmaster; its children end by themselves."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """In order, with a checkpoint."""
        await self._end(signal.SIGINT)

    async def _end(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.running.pid, number)
        await self.ended()

    async def ended(self) -> None:
        """Waits until it has ended, whoever ended it."""
        await asyncio.wait([self.running.exited])
        await until_postgres_is_gone(self.directory)
        await self._stack.aclose()
        self._running = None

    async def close(self) -> None:
        await self._stack.aclose()
        self._running = None

    async def answers(self) -> None:
        """Waits until it accepts connections again."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                await asyncio.sleep(0.05)
                with contextlib.suppress(
                    asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError
                ):
                    await (await asyncpg.connect(self.dsn)).close()
                    return

    def processes(self) -> list[int]:
        """The process ids of all of it."""
        return postgres_processes(self.directory)

    async def backends(self, application: str) -> list[int]:
        """The process ids of PostgreSQL's ends of our connections of that name."""
        connection = await asyncpg.connect(self.dsn)
        try:
            rows = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = $1", application)
            return [row["pid"] for row in rows]
        finally:
            await connection.close()


@dataclass
class Server:
    """A server process with a port of its own, which it has again after a restart."""

    directory: Path
    settings: dict[str, object]
    prefix: tuple[str, ...] = ()
    service: Service | None = None
    address: str = ""
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self, **settings: object) -> None:
        """Starts it, on its port if it has one already."""
        if self.address:
            settings["listen"] = self.address
        self.service = await self._stack.enter_async_context(
            starting(self.directory, None, self.prefix, **(self.settings | settings))
        )
        await self.service.until_ready()
        self.address = self.service.address

    async def kill(self) -> None:
        """SIGKILL."""
        await self.end(signal.SIGKILL)

    async def kill_and_start(self) -> None:
        """Killed, and back."""
        await self.kill()
        await self.start()

    async def end(self, number: signal.Signals, seconds: float = PATIENCE_SECONDS) -> int:
        """Sends a signal and waits for the end; returns the exit status."""
        assert self.service is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.service.pid, number)
        status = await self.service.stopped(seconds)
        await self._stack.aclose()
        self.service = None
        return status

    @property
    def pid(self) -> int:
        assert self.service is not None
        return self.service.pid

    def rss_mb(self) -> float:
        """Resident memory in MiB."""
        return float(self.status("VmRSS:")) / 1024

    def status(self, name: str) -> str:
        """A figure from /proc."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line for line in lines if line.startswith(name)).split()[1]

    async def close(self) -> None:
        await self._stack.aclose()


@dataclass
class Stage:
    """One row's place: a directory, chance, and what was put up, which is all taken down at the end."""

    directory: Path
    seed: int
    say: Callable[[str], None]
    stack: AsyncExitStack
    is_short: bool = True
    template: Path | None = None
    """The directory of a PostgreSQL that is stopped, with our tables; without one each database is made anew."""
    is_timed: bool = True
    """Whether what takes too long is a finding."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    async def database(self, name: str = "postgres", /, *, directory: Path | None = None, **settings: str) -> Database:
        """A new PostgreSQL, running."""
        database = Database(directory or self.directory / name, settings, self.template)
        self.stack.push_async_callback(database.close)
        await database.start()
        return database

    async def server(self, dsn: str, /, *, prefix: tuple[str, ...] = (), **settings: object) -> Server:
        """A new server on a database, serving."""
        given: dict[str, object] = {"database_url": dsn, "log_level": "warning", "drain_seconds": 3}
        server = Server(self.directory, given | settings, prefix)
        self.stack.push_async_callback(server.close)
        await server.start()
        return server


@asynccontextmanager
async def staged(
    directory: Path,
    seed: int,
    say: Callable[[str], None],
    *,
    is_short: bool,
    template: Path | None = None,
    is_timed: bool = True,
) -> AsyncIterator[Stage]:
    """A stage in a directory that exists and is empty."""
    async with AsyncExitStack() as stack:
        yield Stage(directory, seed, say, stack, is_short, template, is_timed)


async def make_template(directory: Path) -> Path:
    """Puts a PostgreSQL with our tables there, stopped."""
    async with embedded_postgres(directory, bin_directory=POSTGRES_BIN, settings=POSTGRES_SETTINGS) as postgres:
        await migrate(postgres.dsn(), {})
    return directory
