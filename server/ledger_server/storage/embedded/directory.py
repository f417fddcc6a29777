"""The data directory: what may be used, and by one process at a time.

What is refused is left untouched.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger_server.storage.embedded.binaries import Version
from ledger_server.storage.embedded.errors import (
    DataDirectoryInUseError,
    ForeignDirectoryError,
    IncompleteDirectoryError,
    OtherMajorVersionError,
    UnusableDirectoryError,
)
from ledger_server.storage.embedded.identity import Identity, user_name

# The names that may stand in a data directory of ours before PostgreSQL's own directory does.
LOCK, PGDATA, INCOMPLETE, SOCKET, LOG, OLD_LOG = (
    "ledger.lock",
    "pgdata",
    "pgdata.incomplete",
    "socket",
    "postgresql.log",
    "postgresql.log.old",
)
_OUR_NAMES = {LOCK, PGDATA, INCOMPLETE, SOCKET, LOG, OLD_LOG, "lost+found"}

# sun_path holds 108 bytes on Linux and 104 on macOS, with the final NUL, and PostgreSQL appends
# "/.s.PGSQL.5432" to the directory.
_SOCKET_DIRECTORY_BYTES_MAX = 103 - len("/.s.PGSQL.5432")


def inspect_directory(data_directory: Path, version: Version, *, locked_by_us: bool = False) -> None:
    """Refuse every directory that is neither new nor one of ours. Reads only."""
    with readable_os_errors(data_directory):
        names = {path.name for path in data_directory.iterdir()} if data_directory.exists() else set()
        pgdata = data_directory / PGDATA
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
        # An empty one is what initdb leaves when it is asked to stop; and while another process
        # holds the lock, its initdb is not interrupted but at work.
        if (
            INCOMPLETE in names
            and any((data_directory / INCOMPLETE).iterdir())
            and (locked_by_us or not _is_locked(data_directory / LOCK))
        ):
            raise IncompleteDirectoryError(
                f"{data_directory / INCOMPLETE} is what an interrupted initdb left behind: the "
                "creation of this database never finished, so nothing was ever stored in it. It "
                f"was not touched. Remove it (`rm -r {data_directory / INCOMPLETE}`) and start "
                "again."
            )
        if PGDATA in names:
            _require_version(pgdata, data_directory, version)
            if not (pgdata / "global" / "pg_control").exists():
                raise _incomplete(pgdata)


def _require_version(pgdata: Path, data_directory: Path, version: Version) -> None:
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
def readable_os_errors(data_directory: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a sentence about the data directory."""
    try:
        yield
    except OSError as error:
        raise UnusableDirectoryError(_os_error_message(data_directory, error)) from error


def _os_error_message(data_directory: Path, error: OSError) -> str:
    place = error.filename or data_directory
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No space left on the disk for {place}. Free some, or choose another data directory."
    if error.errno == errno.EROFS:
        return f"{place} is on a read-only file system. Mount it for writing, or choose another data directory."
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"No permission to use {place} as user {user_name(os.geteuid())} ({error.strerror}). "
            "Start the service as the user who owns it, or choose another data directory."
        )
    return f"The data directory {data_directory} cannot be used: {place}: {error.strerror}."


@contextmanager
def held(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def lock_directory(path: Path, identity: "Identity") -> contextlib.AbstractContextManager[None]:
    """Hold the data directory until left; the kernel lets go of it when this process dies.

    Raises DataDirectoryInUseError when another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise in_use(path.parent, int(holder) if holder.isdecimal() else None) from None
    except BaseException:
        os.close(descriptor)
        raise
    identity.own(descriptor)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return held(descriptor)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    with held(descriptor):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def in_use(data_directory: Path, pid: int | None) -> DataDirectoryInUseError:
    by = f"process {pid}" if pid else "another process"
    return DataDirectoryInUseError(
        f"The data directory {data_directory} is in use by {by}: a ledger service already runs on "
        "it. Nothing was changed. Stop that one first, or choose another data directory.",
        pid,
    )


def make_socket_directory(data_directory: Path, identity: "Identity") -> Path:
    """A directory that only PostgreSQL's user can enter, with a path short enough for a socket."""
    directory = data_directory / SOCKET
    if len(os.fsencode(directory)) > _SOCKET_DIRECTORY_BYTES_MAX:
        digest = hashlib.sha256(os.fsencode(data_directory)).hexdigest()[:16]
        # gettempdir() can be long itself (macOS); /tmp is there on every Unix.
        base = min(("/tmp", tempfile.gettempdir()), key=len)
        directory = Path(base, f"ledger-{os.geteuid()}-{digest}")
    with readable_os_errors(data_directory):
        identity.make_directory(directory)
        status = directory.lstat()
        if (
            not stat.S_ISDIR(status.st_mode)
            or stat.S_IMODE(status.st_mode) != 0o700
            or status.st_uid != identity.file_uid
        ):
            raise UnusableDirectoryError(
                f"The socket directory {directory} must belong to {user_name(identity.file_uid)} "
                "with mode 0700, because whoever can enter it can use the database. Remove it and "
                "start again."
            )
    return directory
