"""Connections: a server holds no more than it says, and does not start where it would get fewer."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from ledger_client import LedgerClient
from ledger_server.settings import LANES_MAX, READERS_MAX, Settings
from ledger_server.storage.connections import held_by
from ledger_server.storage.embedded import PRUNING_USER, SERVICE_USER, EmbeddedPostgres, embedded_postgres
from tests.conftest import FAST_AND_FORGETFUL, POSTGRES_BIN, as_user, new_server
from tests.service.processes import refused, started

HELD = """
SELECT usename::text, application_name, count(*) AS held
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
GROUP BY usename, application_name
"""


async def test_a_busy_server_holds_no_more_than_it_says(database: str) -> None:
    forever = timedelta(days=10_000)
    settings = Settings(lanes=2, readers=3, event_retention=forever, request_retention=forever, drain_seconds=1.0)
    connection = await asyncpg.connect(database)
    async with new_server(database, settings) as server, LedgerClient(server.address, auto_batch=False) as client:
        ledgers = await asyncio.gather(*[client.create_ledger(str(n)) for n in range(8)])
        await asyncio.gather(
            *[client.update_ledger(ledger.id, name="busy") for ledger in ledgers for _ in range(8)],
            *[client.get_ledger(ledger.id) for ledger in ledgers for _ in range(8)],
        )
        async with client.watch_events(ledgers[0].id, after_position=0) as events:
            await anext(aiter(events))
            rows = await connection.fetch(HELD)
    await connection.close()
    said = held_by(lanes=2, readers=3)
    most = {SERVICE_USER: said.service, PRUNING_USER: said.pruning, "ledger": said.migration}
    assert {(row["usename"], row["application_name"]) for row in rows} >= {
        (SERVICE_USER, "ledger-lane"),
        (SERVICE_USER, "ledger-reader"),
        (PRUNING_USER, "ledger-forgetting"),
        ("ledger", "ledger-epochs"),
    }
    assert [row for row in rows if row["held"] > most[row["usename"]].get(row["application_name"], 0)] == []


@pytest.mark.parametrize(
    ("limit", "max_connections", "said"),
    [
        (f"ALTER ROLE {SERVICE_USER} CONNECTION LIMIT 20", 100, f'LIMIT of the role "{SERVICE_USER}" is 20'),
        (f"ALTER ROLE {PRUNING_USER} CONNECTION LIMIT 2", 100, f'LIMIT of the role "{PRUNING_USER}" is 2'),
        ("ALTER DATABASE ledger CONNECTION LIMIT 25", 100, "the CONNECTION LIMIT of the database is 25"),
        ("SHOW max_connections", 28, "max_connections of the PostgreSQL, less the reserved ones, is 25"),
    ],
)
async def test_where_one_server_does_not_fit_it_does_not_start(
    tmp_path: Path, limit: str, max_connections: int, said: str
) -> None:
    settings = {**FAST_AND_FORGETFUL, "max_connections": str(max_connections)}
    async with embedded_postgres(tmp_path / "data", bin_directory=POSTGRES_BIN, settings=settings) as postgres:
        connection = await asyncpg.connect(postgres.dsn())
        await connection.execute(limit)
        refusal = await refused(
            tmp_path,
            database_url=as_user(SERVICE_USER, postgres.dsn()),
            migration_database_url=postgres.dsn(),
            pruning_database_url=as_user(PRUNING_USER, postgres.dsn()),
        )
        assert said in refusal
        assert len(refusal.splitlines()) == 1
        tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert tables == 0, "refused before anything was written"
        await connection.close()


async def test_with_as_many_lanes_and_readers_as_fit_it_serves(database: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(database)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 19")
    await connection.close()
    roles = {"database_url": as_user(SERVICE_USER, database), "migration_database_url": database}
    async with started(tmp_path, lanes=1, readers=7, **roles) as service, LedgerClient(service.address) as client:
        await client.create_ledger("Test")


async def test_one_role_must_have_room_for_all_three(postgres: EmbeddedPostgres, database: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(postgres.dsn("postgres"))
    await connection.execute("CREATE ROLE alone LOGIN CONNECTION LIMIT 25")
    try:
        refusal = await refused(tmp_path, database_url=as_user("alone", database))
        assert 'needs up to 26 connections, and the CONNECTION LIMIT of the role "alone" is 25' in refusal
    finally:
        await connection.execute("DROP ROLE alone")
        await connection.close()


async def test_the_embedded_postgresql_has_room_for_the_most_there_can_be(tmp_path: Path) -> None:
    async with started(tmp_path, lanes=LANES_MAX, readers=READERS_MAX):
        connection = await asyncpg.connect(f"postgresql://ledger@/ledger?host={tmp_path}/data/socket&port=5432")
        assert int(await connection.fetchval("SHOW max_connections")) > held_by(lanes=64, readers=256).total == 394
        await connection.close()
