"""The embedded PostgreSQL: real processes, real signals."""

import asyncio
import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from ledger_server.storage.embedded import (
    BinariesNotFoundError,
    DataDirectoryInUseError,
    EmbeddedPostgresError,
    ForeignDirectoryError,
    IncompleteDirectoryError,
    OtherMajorVersionError,
    StartError,
    UnusableDirectoryError,
    cluster,
    embedded_postgres,
    find_binaries,
)
from ledger_server.storage.embedded.directory import readable_os_errors
from tests.patience import PATIENCE_SECONDS

# Only where nothing is said about durability.
FAST = {"fsync": "off"}
HOST = Path(__file__).with_name("embedded_host.py")


@pytest.fixture
def reachable_directory() -> Iterator[Path]:
    """A directory that every user can enter, unlike pytest's own, which are the tester's alone."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


@asynccontextmanager
async def host(data_directory: Path, *options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A process of its own that holds the database, and the process id of its server."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HOST), str(data_directory), *options, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process, int(await process.stdout.readline())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def tree(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything about a directory that a refused start could have changed."""
    paths = [directory, *sorted(directory.rglob("*"))]
    return {
        str(path): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in paths
    }


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # The latter when it ends between opening and reading.
        return False
    return state != "Z"


async def until_stopped(pids: set[int], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while any(is_running(pid) for pid in pids):
            await asyncio.sleep(0.02)


def family_of(pid: int) -> set[int]:
    """The server and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {pid, *map(int, children)}


async def test_what_was_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    async with embedded_postgres(tmp_path / "data") as postgres:
        assert postgres.created
        await _execute(postgres.dsn(), "CREATE TABLE kept AS SELECT 42 AS answer")
    assert not is_running(postgres.pid)
    async with embedded_postgres(tmp_path / "data") as postgres:
        assert not postgres.created
        assert await _fetch_value(postgres.dsn(), "SELECT answer FROM kept") == 42


async def test_durability_is_on_and_tcp_is_off_by_default(tmp_path: Path) -> None:
    async with embedded_postgres(tmp_path / "data") as postgres:
        shown = {
            name: await _fetch_value(postgres.dsn(), f"SHOW {name}")
            for name in (
                "fsync",
                "full_page_writes",
                "synchronous_commit",
                "data_checksums",
                "listen_addresses",
                "timezone",
                "server_encoding",
            )
        }
        mode = stat.S_IMODE(postgres.socket_directory.stat().st_mode)
    assert shown == {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "timezone": "UTC",
        "server_encoding": "UTF8",
    }
    assert mode == 0o700


async def test_a_second_start_is_refused_names_the_first_and_harms_nothing(tmp_path: Path) -> None:
    async with host(tmp_path / "data") as (first, server):
        with pytest.raises(DataDirectoryInUseError) as refused:
            async with embedded_postgres(tmp_path / "data"):
                pass
        assert refused.value.pid == first.pid
        assert str(first.pid) in str(refused.value)
        assert is_running(server)


@pytest.mark.parametrize("options", [(), ("--thread",)], ids=["by the kernel", "by the guardian"])
async def test_a_killed_service_takes_postgres_along_and_loses_no_commit(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    async with host(tmp_path / "data", *options) as (process, server):
        family = family_of(server)
        dsn = f"postgresql://ledger@/ledger?host={tmp_path}/data/socket"
        await _execute(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        process.kill()
        await until_stopped(family, seconds=5)
    async with embedded_postgres(tmp_path / "data") as postgres:
        assert await _fetch_value(postgres.dsn(), "SELECT answer FROM kept") == 42


async def test_a_restart_right_after_a_kill_waits_for_the_old_server(tmp_path: Path) -> None:
    async with host(tmp_path / "data") as (process, server):
        process.kill()
        await process.wait()
        async with embedded_postgres(tmp_path / "data") as postgres:
            assert postgres.pid != server
            assert await _fetch_value(postgres.dsn(), "SELECT 1") == 1


async def test_commits_survive_a_kill_of_service_and_server_at_once(tmp_path: Path) -> None:
    async with host(tmp_path / "data") as (process, server):
        family = family_of(server)
        dsn = f"postgresql://ledger@/ledger?host={tmp_path}/data/socket"
        await _execute(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(server, signal.SIGKILL)
        process.kill()
        await until_stopped(family, seconds=5)
    async with embedded_postgres(tmp_path / "data") as postgres:
        assert await _fetch_value(postgres.dsn(), "SELECT answer FROM kept") == 42


async def test_a_kill_during_the_first_start_leaves_no_process_behind(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = await asyncio.create_subprocess_exec(sys.executable, str(HOST), str(data))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (data / "pgdata.incomplete" / "PG_VERSION").exists():
            await asyncio.sleep(0.001)
    process.kill()
    await process.wait()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while _processes_naming(data):
            await asyncio.sleep(0.02)
    # initdb has either cleared up after itself or could not; both are said and neither is touched.
    before = tree(data)
    with contextlib.suppress(IncompleteDirectoryError):
        async with embedded_postgres(data, settings=FAST):
            return
    assert tree(data) == before


def _version_15(directory: Path) -> None:
    (directory / "pgdata" / "global").mkdir(parents=True)
    (directory / "pgdata" / "PG_VERSION").write_text("15\n")
    (directory / "pgdata" / "global" / "pg_control").write_bytes(b"control")


def _bare_version_15(directory: Path) -> None:
    directory.mkdir()
    (directory / "PG_VERSION").write_text("15\n")


def _interrupted_initdb(directory: Path) -> None:
    (directory / "pgdata.incomplete").mkdir(parents=True)
    (directory / "pgdata.incomplete" / "PG_VERSION").write_text("18\n")


def _without_version(directory: Path) -> None:
    (directory / "pgdata" / "base").mkdir(parents=True)


def _without_control_file(directory: Path) -> None:
    (directory / "pgdata").mkdir(parents=True)
    (directory / "pgdata" / "PG_VERSION").write_text(_major_version() + "\n")


def _somebody_elses(directory: Path) -> None:
    directory.mkdir()
    (directory / "thesis.txt").write_text("chapter 1")


def _major_version() -> str:
    output = subprocess.run([find_binaries() / "postgres", "--version"], capture_output=True, check=True)
    return output.stdout.decode().split()[2].partition(".")[0]


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        pytest.param(_version_15, OtherMajorVersionError, "made by PostgreSQL 15", id="another version"),
        pytest.param(_bare_version_15, OtherMajorVersionError, "made by PostgreSQL 15", id="a bare PGDATA"),
        pytest.param(_interrupted_initdb, IncompleteDirectoryError, "interrupted initdb", id="cut off"),
        pytest.param(_without_version, IncompleteDirectoryError, "not a complete", id="no PG_VERSION"),
        pytest.param(_without_control_file, IncompleteDirectoryError, "not a complete", id="no pg_control"),
        pytest.param(_somebody_elses, ForeignDirectoryError, "thesis.txt", id="somebody else's directory"),
    ],
)
async def test_what_is_not_a_usable_database_is_refused_and_not_touched(
    tmp_path: Path, make: Callable[[Path], None], error: type[EmbeddedPostgresError], said: str
) -> None:
    data = tmp_path / "data"
    make(data)
    before = tree(tmp_path)
    with pytest.raises(error, match=said):
        async with embedded_postgres(data):
            pass
    assert tree(tmp_path) == before


async def test_a_directory_below_a_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnusableDirectoryError, match="cannot be used"):
        async with embedded_postgres(tmp_path / "file" / "data"):
            pass


def test_a_file_system_that_is_read_only_is_called_so(tmp_path: Path) -> None:
    with (
        pytest.raises(UnusableDirectoryError, match="is on a read-only file system") as refusal,
        readable_os_errors(tmp_path),
    ):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "ledger.lock"))
    assert "user" not in str(refusal.value)


async def test_a_failed_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(StartError, match='parameter "max_connections"'):
        async with embedded_postgres(tmp_path / "data", settings={**FAST, "max_connections": "many"}):
            pass
    async with embedded_postgres(tmp_path / "data", settings=FAST) as postgres:
        assert await _fetch_value(postgres.dsn(), "SELECT 1") == 1


async def test_a_setting_without_binaries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BinariesNotFoundError, match=str(tmp_path)):
        async with embedded_postgres(tmp_path / "data", bin_directory=str(tmp_path)):
            pass


async def test_a_long_path_gets_a_short_socket_directory_of_mode_0700(tmp_path: Path) -> None:
    async with embedded_postgres(tmp_path / ("long-" * 30) / "data", settings=FAST) as postgres:
        assert await _fetch_value(postgres.dsn(), "SELECT 1") == 1
        assert stat.S_IMODE(postgres.socket_directory.stat().st_mode) == 0o700
    postgres.socket_directory.rmdir()


async def test_a_server_that_dies_underneath_is_noticed_and_can_be_started_anew(tmp_path: Path) -> None:
    async with embedded_postgres(tmp_path / "data", settings=FAST) as postgres:
        os.kill(postgres.pid, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await postgres.exited != 0
    async with embedded_postgres(tmp_path / "data", settings=FAST) as postgres:
        assert await _fetch_value(postgres.dsn(), "SELECT 1") == 1


async def test_its_log_is_set_aside_when_it_has_become_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While PostgreSQL goes on writing to it; the statements of callers are not in it."""
    monkeypatch.setattr(cluster, "LOG_BYTES_MAX", 2_000)
    monkeypatch.setattr(cluster, "LOG_LOOK_SECONDS", 0.01)
    async with embedded_postgres(tmp_path / "data", settings=FAST) as postgres:
        aside = postgres.log_file.with_name("postgresql.log.old")
        connection = await asyncpg.connect(postgres.dsn())
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(2):
                # It is empty until it is whole.
                while not (aside.exists() and aside.stat().st_size):
                    with contextlib.suppress(asyncpg.DivisionByZeroError):
                        await connection.execute("SELECT 1 / 0 AS of_a_caller")
                aside_now = aside.read_bytes()
                aside.unlink()
        await connection.close()
        assert stat.S_IMODE(postgres.log_file.stat().st_mode) == 0o600
        logged = aside_now + postgres.log_file.read_bytes()
    assert b"division by zero" in logged
    assert b"of_a_caller" not in logged
    assert b"\0" not in logged


async def test_a_signal_to_the_terminals_processes_does_not_reach_the_server(tmp_path: Path) -> None:
    async with embedded_postgres(tmp_path / "data", settings=FAST) as postgres:
        assert os.getsid(postgres.pid) != os.getsid(0)
        assert os.getpgid(postgres.pid) != os.getpgid(0)


@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["open to all", "private to the tester"])
async def test_the_server_has_no_roots_rights_and_opens_no_directory(reachable_directory: Path, mode: int) -> None:
    reachable_directory.chmod(mode)
    async with embedded_postgres(reachable_directory / "data", settings=FAST) as postgres:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{postgres.pid}/status").read_text().splitlines())
        uid = await _fetch_value(
            postgres.dsn(), "SELECT substring(pg_read_file('/proc/self/status') FROM 'Uid:\\s+(\\d+)')"
        )
    assert uid != "0"
    assert int(status["CapEff"], 16) == 0
    assert stat.S_IMODE(reachable_directory.stat().st_mode) == mode
    assert stat.S_IMODE((reachable_directory / "data").stat().st_mode) == 0o700


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch_value(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def _processes_naming(directory: Path) -> list[str]:
    found = []
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = command_line.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if str(directory) in text:
                found.append(text)
    return found
