"""A PostgreSQL that would lose what was acknowledged is refused, with a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from ledger_server.storage.embedded import EmbeddedPostgres, embedded_postgres
from tests.conftest import POSTGRES_BIN, new_database
from tests.service.pooler import dropping_proxy
from tests.service.processes import refused, started


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit", "data_sync_retry"])
async def test_a_database_that_would_lose_data_is_refused(setting: str, tmp_path: Path) -> None:
    value = "on" if setting == "data_sync_retry" else "off"
    async with embedded_postgres(tmp_path / "data", bin_directory=POSTGRES_BIN, settings={setting: value}) as postgres:
        said = await refused(tmp_path, database_url=postgres.dsn(), may_lose_data=0)
        assert said.startswith(f"ledger: the PostgreSQL is not set up to keep books: {setting} is {value}: ")
        assert len(said.splitlines()) == 1
        connection = await asyncpg.connect(postgres.dsn())
        tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        await connection.close()
        assert tables == 0, "refused before anything was written"
        async with started(tmp_path, database_url=postgres.dsn(), may_lose_data=1) as service:
            assert service.said()[-1].startswith(f"WARNING, because LEDGER_MAY_LOSE_DATA=1: {setting} is {value}")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_that_cannot_hold_every_name_is_refused(
    encoding: str, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    name = f"in_{encoding.lower()}"
    connection = await asyncpg.connect(postgres.dsn("postgres"))
    # Not that of a cluster whose provider is the builtin one, which knows UTF8 alone.
    provider = "LOCALE_PROVIDER libc LOCALE 'C'"
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' {provider}")
    try:
        said = await refused(tmp_path, database_url=postgres.dsn(name))
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()
    assert said.startswith(f'ledger: the encoding of the database "{name}" is {encoding}, which cannot hold every name')
    assert "ENCODING 'UTF8'" in said
    assert len(said.splitlines()) == 1


async def test_a_role_that_does_not_wait_for_the_disk_is_refused(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    async with new_database(postgres) as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE ROLE hasty LOGIN SUPERUSER")
        try:
            await connection.execute("ALTER ROLE hasty SET synchronous_commit = off")
            said = await refused(tmp_path, database_url=dsn.replace("//ledger@", "//hasty@"), may_lose_data=0)
            assert "synchronous_commit is off" in said
        finally:
            await connection.execute("DROP ROLE hasty")
            await connection.close()


async def test_a_pooler_that_drops_what_a_session_asks_for_is_refused(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Also where losing data does not matter, for the rules themselves are at stake."""
    async with new_database(postgres) as dsn, dropping_proxy(dsn, tmp_path) as dropping:
        said = await refused(tmp_path, database_url=dropping)
    assert "default_transaction_isolation = read committed, although the service asks for serializable" in said
