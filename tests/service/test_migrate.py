"""Migrations may be interrupted at any moment, and run from several places at once: in the end the schema is whole."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from urllib.parse import urlsplit

import asyncpg
import pytest

from ledger_server import storage
from ledger_server.storage import pool
from ledger_server.storage.embedded import SERVICE_USER, EmbeddedPostgres
from ledger_server.storage.migrate import UnsupportedDatabaseError, migrate
from ledger_server.storage.roles import SERVICE
from tests.conftest import new_database
from tests.patience import PATIENCE_SECONDS
from tests.proxy import proxied, socket_of
from tests.schemas import schema_of

DECISIONS = {SERVICE_USER: SERVICE}
COUNT = len([file for file in files(storage).joinpath("migrations").iterdir() if file.name.endswith(".sql")])
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')"
AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


@asynccontextmanager
async def empty_database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    async with new_database(postgres, template="template1") as dsn:
        yield dsn


@pytest.fixture
async def whole(database: str) -> frozenset[str]:
    return await schema_of(database)


async def test_interrupted_anywhere_it_is_finished_by_the_next(
    postgres: EmbeddedPostgres, whole: frozenset[str]
) -> None:
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")
    chance, interruptions = random.Random(seed), 0
    connection = await asyncpg.connect(postgres.dsn("postgres"))
    async with empty_database(postgres) as dsn:
        began = time.perf_counter()
        await migrate(dsn, DECISIONS)
        takes = time.perf_counter() - began

    async def interrupted(dsn: str) -> bool:
        task = asyncio.create_task(migrate(dsn, DECISIONS))
        await asyncio.sleep(chance.uniform(0, takes))
        ended = await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ledger-migrate'"
        )
        (answer,) = await asyncio.gather(task, return_exceptions=True)
        return bool(ended) and isinstance(answer, AWAY)

    for _ in range(30):
        async with empty_database(postgres) as dsn:
            while interruptions < 12 and await interrupted(dsn):
                interruptions += 1
            await migrate(dsn, DECISIONS)
            assert await schema_of(dsn) == whole
        if interruptions == 12:
            break
    await connection.close()
    assert interruptions == 12


async def test_of_several_at_once_each_migration_is_made_once(
    postgres: EmbeddedPostgres, whole: frozenset[str]
) -> None:
    async with empty_database(postgres) as dsn:
        assert sum(await asyncio.gather(*(migrate(dsn, DECISIONS) for _ in range(4)))) == COUNT
        assert await schema_of(dsn) == whole


async def test_who_falls_silent_within_a_migration_holds_nobody_up(
    postgres: EmbeddedPostgres, whole: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, or behind a link that went dark: nothing ends its connection."""
    monkeypatch.setattr(pool, "SILENCE", "1s")
    silent = asyncio.Event()

    async def say_nothing_more(data: bytes, writer: asyncio.StreamWriter) -> None:
        if silent.is_set() or b"INSERT INTO schema_migrations" in data:
            silent.set()
        else:
            writer.write(data)

    async with empty_database(postgres) as dsn, proxied(socket_of(dsn)) as way:
        way.hook = say_nothing_more
        first = asyncio.create_task(migrate(way.dsn(urlsplit(dsn).path[1:]), DECISIONS))
        await silent.wait()
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await migrate(dsn, DECISIONS) == COUNT
        first.cancel()
        (answer,) = await asyncio.gather(first, return_exceptions=True)
        assert isinstance(answer, (asyncio.CancelledError, *AWAY))
        assert await schema_of(dsn) == whole


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ("CREATE TABLE accounts (id int)", "accounts"),
        ("CREATE TABLE schema_migrations (version text)", "schema_migrations"),
        ("CREATE TABLE schema_migrations AS SELECT '20260101_users' AS name", "schema_migrations"),
        ("CREATE VIEW v AS SELECT 1; CREATE TABLE accounts (id int) PARTITION BY LIST (id)", "accounts, v"),
        ("; ".join(f"CREATE TABLE t{n} ()" for n in range(6)), "t0, t1, t2, t3, t4, …"),
    ],
)
async def test_somebody_elses_database_is_refused_and_left_alone(
    postgres: EmbeddedPostgres, others: str, named: str
) -> None:
    async with empty_database(postgres) as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute(others)
        before = await connection.fetch(TABLES)
        with pytest.raises(UnsupportedDatabaseError) as refusal:
            await migrate(dsn, DECISIONS)
        assert str(refusal.value) == f"the database holds other tables ({named}); give an empty one"
        assert await connection.fetch(TABLES) == before
        await connection.close()


async def test_what_cannot_be_applied_leaves_nothing_behind(postgres: EmbeddedPostgres) -> None:
    async with empty_database(postgres) as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TYPE ledgers AS ENUM ()")
        with pytest.raises(asyncpg.PostgresError):
            await migrate(dsn, DECISIONS)
        assert await connection.fetch(TABLES) == []
        await connection.close()


async def test_the_tables_of_extensions_and_of_other_schemas_do_not_matter(
    postgres: EmbeddedPostgres, whole: frozenset[str]
) -> None:
    async with empty_database(postgres) as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE SCHEMA own; CREATE TABLE own.accounts (n int)")
        if await connection.fetchval("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_stat_statements'"):
            await connection.execute("CREATE EXTENSION pg_stat_statements")
        await connection.close()
        await migrate(dsn, DECISIONS)
        assert await schema_of(dsn) >= whole
