"""What an earlier run left in the data directory: a server that still stops, or stale lock files.

Everything here is done with the data directory's lock held, so the service of that run is gone.
"""

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from pathlib import Path

from ledger_server.storage.embedded.directory import in_use
from ledger_server.storage.embedded.errors import DataDirectoryInUseError

_POLL_SECONDS = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class PidFile:
    """The lines that matter here of postmaster.pid, and of the lock file of a socket."""

    pid: int
    socket_directory: str


async def stop_leftover(pgdata: Path, socket_directory: Path, timeout_seconds: float) -> None:
    """Stop a PostgreSQL whose service was killed and that has not stopped by itself yet.

    One that was started by other means (its socket is elsewhere) is not ours to stop:
    DataDirectoryInUseError.
    """
    deadline = time.monotonic() + timeout_seconds
    pid_file = pgdata / "postmaster.pid"
    while (leftover := read_pid_file(pid_file)) and _is_postgres_of(leftover.pid, pgdata):
        if leftover.socket_directory != str(socket_directory):
            raise in_use(pgdata.parent, leftover.pid)
        if time.monotonic() > deadline:
            raise DataDirectoryInUseError(
                f"A PostgreSQL of an earlier run (process {leftover.pid}) still works on "
                f"{pgdata.parent} and did not stop within {timeout_seconds:.0f} s. Wait until it "
                f"has, or stop it with `kill -INT {leftover.pid}`.",
                leftover.pid,
            )
        with contextlib.suppress(ProcessLookupError):
            os.kill(leftover.pid, signal.SIGINT)
        await asyncio.sleep(_POLL_SECONDS)
    # A server that was killed itself leaves children, which notice within moments.
    while (working := _processes_working_in(pgdata)) and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
    if working == []:
        _remove_if_stale(pid_file)
        _remove_if_stale(socket_directory / ".s.PGSQL.5432.lock")


def read_pid_file(path: Path) -> PidFile | None:
    """The process id in line 1 and the socket directory in line 5; None if there is no such file."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return None
    if not lines or not lines[0].strip().isdecimal():
        return None
    return PidFile(int(lines[0]), "".join(lines[4:5]))


def _remove_if_stale(lock_file: Path) -> None:
    """Remove a lock file that PostgreSQL would stumble over for no reason.

    It refuses to start while the process id in it exists at all, also as a zombie that a
    container's first process never reaps, or as another program after a reboot. We know better:
    nothing works in this directory any more. Where the number is free PostgreSQL sees to the file
    itself, and looks for leftover shared memory too.
    """
    stale = read_pid_file(lock_file)
    if stale and _exists(stale.pid):
        lock_file.unlink()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_postgres_of(pid: int, pgdata: Path) -> bool:
    """Whether `pid` is alive and is the server of `pgdata`, not a later process of that number."""
    working = _processes_working_in(pgdata)
    if working is not None:
        return pid in working
    answer = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return str(pgdata) in answer.stdout


def _processes_working_in(pgdata: Path) -> list[int] | None:
    """The processes whose working directory is `pgdata`, as is that of every PostgreSQL process.

    None where the operating system does not show it.
    """
    if not Path("/proc/self/cwd").exists():
        return None
    resolved = pgdata.resolve()
    working = []
    for process in Path("/proc").iterdir():
        # Gone meanwhile, a zombie, or somebody else's. Path.glob would stumble over one that goes while it looks.
        with contextlib.suppress(OSError):
            if process.name.isdecimal() and (process / "cwd").readlink() == resolved:
                working.append(int(process.name))
    return working
