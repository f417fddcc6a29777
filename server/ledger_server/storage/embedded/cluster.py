"""One data directory with the PostgreSQL that runs on it: create, start, wait, stop."""

import asyncio
import contextlib
import dataclasses
import errno
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import asyncpg

from ledger_server.storage.embedded.binaries import Version, environment
from ledger_server.storage.embedded.directory import INCOMPLETE, LOG, OLD_LOG, PGDATA, held, readable_os_errors
from ledger_server.storage.embedded.errors import (
    EmbeddedPostgresError,
    StartError,
    UnusableDirectoryError,
)
from ledger_server.storage.embedded.identity import Identity
from ledger_server.storage.embedded.leftover import read_pid_file
from ledger_server.storage.embedded.parent import setpriv_with_pdeathsig, stopped_with_us
from ledger_server.storage.pool import connect_at_start

# Of migrations, the owner of everything; of the service; of pruning.
USER, SERVICE_USER, PRUNING_USER = "ledger", "ledger_service", "ledger_pruning"
# How large the log of PostgreSQL may become until it is set aside, and how often that is looked at.
LOG_BYTES_MAX = 16 * 1024 * 1024
LOG_LOOK_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """One data directory and everything needed to run PostgreSQL on it."""

    data_directory: Path
    socket_directory: Path
    bin_directory: Path
    version: Version
    identity: Identity
    settings: Mapping[str, str]

    @property
    def pgdata(self) -> Path:
        return self.data_directory / PGDATA

    @property
    def log_file(self) -> Path:
        return self.data_directory / LOG

    def server_pid(self) -> int | None:
        """The process id of the running server itself, which with a guardian is not our child's."""
        pid_file = read_pid_file(self.pgdata / "postmaster.pid")
        return pid_file.pid if pid_file else None

    async def create(self) -> None:
        """Run initdb beside the final place and rename the result: it is whole or absent."""
        incomplete = self.data_directory / INCOMPLETE
        with readable_os_errors(self.data_directory):
            self.identity.make_directory(incomplete)
        arguments = [
            *("--pgdata", str(incomplete)),
            *("--username", USER),
            # Whoever gets as far as the socket is us; TCP is off, and refused as well.
            *("--auth-local=trust", "--auth-host=reject"),
            *("--encoding=UTF8", "--locale=C", "--data-checksums"),
        ]
        if self.version.major >= 17:
            arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if self.settings["fsync"] == "off":
            arguments += ["--no-sync"]
        # initdb removes its half-made files on SIGTERM: a killed service leaves none behind.
        command = self._command("initdb", arguments, signal.SIGTERM)
        process = await asyncio.create_subprocess_exec(
            *command,
            # Held open by us; the guardian sees its end when we are gone. initdb never reads it.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env=environment(),
        )
        try:
            # Not communicate(): it would close standard input.
            assert process.stdout is not None
            output = (await process.stdout.read()).decode("utf-8", "replace")
            code = await process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            # initdb leaves a directory that it did not make itself, but empty.
            with contextlib.suppress(OSError):
                incomplete.rmdir()
            raise
        if code != 0:
            with contextlib.suppress(OSError):
                incomplete.rmdir()
            raise _failed_to_create(self.data_directory, code, output)
        with readable_os_errors(self.data_directory):
            incomplete.rename(self.pgdata)
            _sync_directory(self.data_directory)

    async def spawn(self) -> asyncio.subprocess.Process:
        """Start `postgres` as our child, in a session of its own.

        Of its own, so that Ctrl-C in the terminal reaches the service only, which stops
        PostgreSQL when it has drained.
        """
        arguments = ["-D", str(self.pgdata)]
        settings = {**self.settings, "unix_socket_directories": str(self.socket_directory)}
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        with (
            readable_os_errors(self.data_directory),
            self._open_log() as log,
        ):
            return await asyncio.create_subprocess_exec(
                *self._command("postgres", arguments, signal.SIGINT),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment(),
            )

    @contextmanager
    def _open_log(self) -> Iterator[int]:
        # PostgreSQL goes on at its end, wherever that is.
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with held(descriptor):
            self.identity.own(descriptor)
            yield descriptor

    async def limit_log(self) -> None:
        """Sets the log aside whenever it has become too large, until cancelled."""
        while True:
            with contextlib.suppress(OSError):
                if self.log_file.stat().st_size > LOG_BYTES_MAX:
                    await asyncio.to_thread(self._set_log_aside)
            await asyncio.sleep(LOG_LOOK_SECONDS)

    def _set_log_aside(self) -> None:
        """PostgreSQL keeps its file open, so what it said is copied. Where there is no room for that, it goes."""
        aside = self.data_directory / OLD_LOG
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as copy, self.log_file.open("rb") as log:
                self.identity.own(descriptor)
                shutil.copyfileobj(log, copy)
        except OSError:
            aside.unlink()
        finally:
            os.truncate(self.log_file, 0)

    def _command(self, program: str, arguments: list[str], at_death: signal.Signals) -> list[str]:
        setpriv = setpriv_with_pdeathsig()
        with_us = stopped_with_us(setpriv, at_death)
        call = [str(self.bin_directory / program), *arguments]
        if with_us[0] == setpriv:
            # The change of identity clears the death signal: it comes first.
            return [*self.identity.command, *with_us, *call]
        return [*with_us, *self.identity.command, *call]

    async def wait_until_ready(self, exited: "asyncio.Task[int]", timeout_seconds: float) -> None:
        """Connect until it works, for as long as a crash recovery may take, and make `ledger` and the roles."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            if exited.done():
                raise StartError(
                    f"PostgreSQL ended while starting (exit code {exited.result()}). "
                    f"The end of {self.log_file}:\n{_last_lines(self.log_file)}"
                )
            with contextlib.suppress(OSError, TimeoutError, asyncpg.CannotConnectNowError):
                dsn = socket_dsn(self.socket_directory, "postgres")
                connection = await connect_at_start(dsn)
                break
            if time.monotonic() > deadline:
                raise StartError(
                    f"PostgreSQL did not accept connections within {timeout_seconds:.0f} s. "
                    f"The end of {self.log_file}:\n{_last_lines(self.log_file)}"
                )
            await asyncio.wait({exited}, timeout=0.05)
        try:
            known = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = 'ledger'")
            if known is None:
                await connection.execute("CREATE DATABASE ledger")
            for user in (SERVICE_USER, PRUNING_USER):
                if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", user):
                    await connection.execute(f"CREATE ROLE {user} LOGIN")
            await connection.execute("REVOKE TEMPORARY ON DATABASE ledger FROM PUBLIC")
        finally:
            await connection.close()


async def stop(process: asyncio.subprocess.Process, exited: "asyncio.Task[int]", timeout_seconds: float) -> None:
    """SIGINT (sessions are ended, a checkpoint is written), then SIGQUIT, then SIGKILL."""
    patience = (
        (signal.SIGINT, timeout_seconds),
        (signal.SIGQUIT, 5.0),
        (signal.SIGKILL, 5.0),
    )
    for signal_number, seconds in patience:
        if not exited.done():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal_number)
            await asyncio.wait({exited}, timeout=seconds)
    if process.stdin is not None:
        process.stdin.close()


def socket_dsn(socket_directory: Path, database: str, user: str = USER) -> str:
    host = quote(str(socket_directory), safe="/")
    return f"postgresql://{user}@/{quote(database, safe='')}?host={host}&port=5432"


def _last_lines(path: Path, count: int = 15) -> str:
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 8192))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return "(no log)"
    return "\n".join(f"  {line}" for line in text.splitlines()[-count:])


def _failed_to_create(data_directory: Path, code: int, output: str) -> EmbeddedPostgresError:
    end = "\n".join(f"  {line}" for line in output.strip().splitlines()[-10:])
    # The second is what PostgreSQL says when only a part of a block could be written.
    if os.strerror(errno.ENOSPC) in output or "Check free disk space" in output:
        return UnusableDirectoryError(
            f"No space left on the disk for a new database in {data_directory}. Free some, or "
            f"choose another data directory. initdb said:\n{end}"
        )
    return StartError(
        f"A new database could not be created in {data_directory} (initdb: exit code {code}). It said:\n{end}"
    )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    with held(descriptor):
        os.fsync(descriptor)
