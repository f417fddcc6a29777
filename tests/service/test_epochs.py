"""After a restore every ledger gets a new epoch, by itself or by an operator's command: nobody goes on from before."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from structlog.testing import CapturingLogger

from ledger_client import EpochChanged, LedgerClient, credit, debit
from ledger_server.app import running
from ledger_server.domain.ids import NIL_ID
from ledger_server.settings import Settings
from ledger_server.storage import epochs
from ledger_server.storage.embedded import EmbeddedPostgres, embedded_postgres, find_binaries
from tests.conftest import POSTGRES_BIN, Server, new_database, new_server
from tests.patience import PATIENCE_SECONDS
from tests.service.processes import environment, refused


def begin_new_epoch(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as an operator types it."""
    command = [sys.executable, "-m", "ledger_server", *(arguments or ("new-epoch",))]
    return subprocess.run(command, env=environment(database_url=dsn), capture_output=True, text=True, check=False)


async def test_each_ledger_has_an_epoch_of_its_own_afterwards_also_under_a_running_server(own_server: Server) -> None:
    async with LedgerClient(own_server.address) as client:
        before = [await client.create_ledger(str(n)) for n in range(2)]
        accounts = [
            await client.create_account(before[0].id, side, normal_balance=side, currency="USD")
            for side in ("debit", "credit")
        ]
        entries = [debit(accounts[0], 1), credit(accounts[1], 1)]
        written = await client.create_transaction(before[0].id, entries, request_id="before")
        async with client.watch_events(before[0].id, after_position=0) as stream:
            told = begin_new_epoch(own_server.dsn)
            assert (told.returncode, told.stderr) == (0, "ledger: 2 ledgers have a new epoch\n")
            with pytest.raises(EpochChanged):
                async for _ in stream:
                    pass
        after = [await client.get_ledger(ledger.id) for ledger in before]
        assert len({ledger.epoch for ledger in before + after}) == 4
        for ledger_id in (before[0].id, NIL_ID):
            with pytest.raises(EpochChanged):
                async with client.watch_events(ledger_id, after_position=1, epoch=before[0].epoch):
                    pass
        # Its lane has remembered the ledger.
        again = await client.create_transaction(before[0].id, entries)
        assert (again.epoch, again.position) == (after[0].epoch, written.position + 1)
        repeated = await client.create_transaction(before[0].id, entries, request_id="before")
        assert (repeated.id, repeated.position) == (written.id, written.position)


async def test_only_ledgers_are_counted(database: str) -> None:
    assert begin_new_epoch(database).stderr == "ledger: 0 ledgers have a new epoch\n"
    async with new_server(database) as server, LedgerClient(server.address) as client:
        await client.create_ledger("the only one")
    assert begin_new_epoch(database).stderr == "ledger: 1 ledger has a new epoch\n"


@asynccontextmanager
async def books_in(directory: Path, **settings: str) -> AsyncIterator[tuple[EmbeddedPostgres, LedgerClient]]:
    """A PostgreSQL of its own, and the service on it."""
    given = {"fsync": "off", "wal_level": "replica", **settings}
    async with embedded_postgres(directory, bin_directory=POSTGRES_BIN, settings=given) as postgres:
        own = Settings(listen="127.0.0.1:0", database_url=postgres.dsn(), may_lose_data=True, drain_seconds=1.0)
        async with running(own) as app, LedgerClient(f"127.0.0.1:{app.port}") as client:
            yield postgres, client


def back_up(postgres: EmbeddedPostgres, target: Path) -> None:
    """By pg_basebackup, to where a PostgreSQL finds its data, with all that it needs to be consistent."""
    target.mkdir(mode=0o700)
    subprocess.run(
        [
            *(find_binaries(POSTGRES_BIN) / "pg_basebackup", "-h", postgres.socket_directory, "-U", "ledger"),
            *("-D", target / "pgdata", "-X", "stream", "-c", "fast"),
        ],
        check=True,
        capture_output=True,
    )
    (target / "pgdata" / "recovery.signal").touch()
    owner = (postgres.data_directory / "pgdata").stat()
    for path in (target, *target.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)


async def test_a_restore_is_noticed_and_a_restart_or_a_crash_is_none(tmp_path: Path) -> None:
    async with books_in(tmp_path / "before") as (postgres, client):
        ledger = await client.create_ledger("books")
        back_up(postgres, tmp_path / "after")
        lost = (await client.update_ledger(ledger.id, name="lost")).position
    async with books_in(tmp_path / "before") as (postgres, client):
        assert (await client.get_ledger(ledger.id)).epoch == ledger.epoch, "after a restart"
        os.kill(postgres.pid, signal.SIGQUIT)
        await asyncio.wait([postgres.exited])
    async with books_in(tmp_path / "before") as (_, client):
        assert (await client.get_ledger(ledger.id)).epoch == ledger.epoch, "after a crash"
        async with client.watch_events(ledger.id, after_position=lost, epoch=ledger.epoch):
            pass
    restore: dict[str, str] = {"restore_command": "false"}
    async with books_in(tmp_path / "after", **restore) as (_, client):
        assert (await client.update_ledger(ledger.id, name="again")).position == lost
        with pytest.raises(EpochChanged):
            async with client.watch_events(ledger.id, after_position=lost, epoch=ledger.epoch):
                pass
        renewed = (await client.get_ledger(ledger.id)).epoch
    async with books_in(tmp_path / "after") as (_, client):
        assert (await client.get_ledger(ledger.id)).epoch == renewed, "once for each restore"


async def test_a_copy_is_not_taken_for_the_database_that_it_is_of(tmp_path: Path) -> None:
    """It says of itself what the other one does, down to the cluster's and the database's number."""
    async with books_in(tmp_path / "before") as (original, _):
        back_up(original, tmp_path / "after")
        restore: dict[str, str] = {"restore_command": "false"}
        async with books_in(tmp_path / "after", **restore) as (copy, _):
            said = await refused(tmp_path, database_url=original.dsn(), migration_database_url=copy.dsn())
    assert "LEDGER_MIGRATION_DATABASE_URL names another database than LEDGER_DATABASE_URL" in said


async def test_a_database_that_was_read_in_from_another_is_noticed(database: str, postgres: EmbeddedPostgres) -> None:
    """As a dump is; here a copy, which is as little the database that positions were handed out in."""
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger = await client.create_ledger("books")
    name = urlsplit(database).path.removeprefix("/")
    async with (
        new_database(postgres, name) as copy,
        new_server(copy) as server,
        LedgerClient(server.address) as client,
    ):
        assert (await client.get_ledger(ledger.id)).epoch != ledger.epoch


async def test_a_database_that_is_restored_under_a_running_server_is_noticed(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "CHECK_SECONDS", 0.1)
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger = await client.create_ledger("books")
        async with client.watch_events(ledger.id) as stream:
            connection = await asyncpg.connect(database)
            await connection.execute("UPDATE log_origin SET origin = 'elsewhere'")
            await connection.close()
            async with asyncio.timeout(PATIENCE_SECONDS):
                with pytest.raises(EpochChanged):
                    async for _ in stream:
                        pass


async def test_that_restores_are_not_noticed_is_told_once_two_looks_in_a_row_fail_and_taken_back(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_server(database):
        pass
    connection = await asyncpg.connect(database)
    watcher = epochs.Watcher(database)

    async def look(*, fails: bool) -> list[tuple[str, str]]:
        """What is logged, and how."""
        monkeypatch.setattr(epochs, "log", lines := CapturingLogger())
        names = ("log_origin", "elsewhere") if fails else ("elsewhere", "log_origin")
        await connection.execute("ALTER TABLE IF EXISTS {} RENAME TO {}".format(*names))
        await watcher.look()
        return [(call.method_name, call.args[0]) for call in lines.calls]

    try:
        assert [await look(fails=fails) for fails in (True, False, True, True, True, False, False)] == [
            [],
            [],
            [],
            [("warning", "restores_not_noticed")],
            [],
            [("info", "restores_noticed_again")],
            [],
        ]
        await look(fails=True)
        monkeypatch.setattr(epochs, "log", lines := CapturingLogger())
        async with epochs.noticing_restores(database):
            pass
        assert [call.args[0] for call in lines.calls] == ["restores_not_noticed"], "before who only migrates is gone"
    finally:
        watcher.close()
        await connection.close()


def test_another_command_is_refused_in_a_line() -> None:
    told = begin_new_epoch("postgresql://nobody@127.0.0.1:1/none", "new-era")
    assert told.returncode == 1
    assert "new-epoch" in told.stderr
