"""Roles: the service can do what it is asked to and no more, whoever has taken it over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from ledger_client import LedgerClient, commands, credit, debit
from ledger_server.storage import roles
from ledger_server.storage.embedded import PRUNING_USER, SERVICE_USER, EmbeddedPostgres
from tests.conftest import Server, as_user, new_database, new_server
from tests.service.processes import refused, started, starting

# What a role of the service must never be able to do.
FORBIDDEN = [
    "UPDATE account_lines SET amount = amount + 1",
    "DELETE FROM account_lines",
    "UPDATE entries SET amount = amount + 1",
    "DELETE FROM entries",
    "UPDATE events SET payload = ''",
    "DELETE FROM events",
    "TRUNCATE events",
    "UPDATE account_versions SET posted_debits = 0",
    "DELETE FROM account_versions",
    "UPDATE transaction_versions SET status = 2",
    "UPDATE transactions SET created_position = 1",
    "DELETE FROM transactions",
    "UPDATE accounts SET currency = 'EUR'",
    "UPDATE accounts SET normal_balance = 1",
    "UPDATE ledgers SET epoch = gen_random_uuid()",
    "UPDATE monitors SET account_id = gen_random_uuid()",
    "DELETE FROM monitors",
    "UPDATE monitor_conditions SET value = 0",
    "DELETE FROM requests",
    "UPDATE requests SET outcome = '{}'",
    "UPDATE log_checkpoints SET position = 1",
    "DELETE FROM schema_migrations",
    "DROP TABLE account_lines",
    "ALTER TABLE account_lines DROP CONSTRAINT entry_amount_in_range",
    "ALTER TABLE account_lines DISABLE TRIGGER ALL",
    "CREATE TABLE mine (n int)",
    "CREATE INDEX ON account_lines (amount)",
    "SET session_replication_role = replica",
    "SET ROLE ledger",
    "CREATE ROLE mine",
    "COPY entries TO PROGRAM 'cat'",
    "SELECT pg_read_file('/etc/passwd')",
]


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_the_service_may_not(statement: str, server: Server) -> None:
    async with connected(as_user(SERVICE_USER, server.dsn)) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET payload = ''",
        "INSERT INTO events VALUES (7, 1, now(), '', sha256(''))",
        "DELETE FROM account_lines",
        "UPDATE ledgers SET position = 0",
        "SELECT * FROM entries",
        "CREATE TABLE mine (n int)",
    ],
)
async def test_the_pruning_may_not(statement: str, server: Server) -> None:
    async with connected(as_user(PRUNING_USER, server.dsn)) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_every_table_has_a_decision(server: Server) -> None:
    async with connected(server.dsn) as connection:
        rows = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')"
        )
    assert {row["relname"] for row in rows} == roles.SERVICE.keys(), "a table needs a line in storage/roles.py"
    assert roles.PRUNING.keys() <= roles.SERVICE.keys()


async def test_grants_follow_the_decisions_both_ways(database: str) -> None:
    async with connected(database) as connection:
        await connection.execute(f"GRANT DELETE ON account_lines TO {SERVICE_USER}")
        await connection.execute(f"REVOKE INSERT ON account_lines FROM {SERVICE_USER}")
        await connection.execute(f"REVOKE UPDATE (name) ON ledgers FROM {SERVICE_USER}")
        await roles.grant(connection, SERVICE_USER, roles.SERVICE)
        may = "SELECT has_table_privilege($1, 'account_lines', $2)"
        assert not await connection.fetchval(may, SERVICE_USER, "DELETE")
        assert await connection.fetchval(may, SERVICE_USER, "INSERT")
        assert await connection.fetchval("SELECT has_column_privilege($1, 'ledgers', 'name', 'UPDATE')", SERVICE_USER)
        async with connection.transaction():
            await roles.grant(connection, SERVICE_USER, roles.SERVICE)
            # A transaction has a number once it writes.
            written_by = await connection.fetchval("SELECT pg_current_xact_id_if_assigned()::text")
        assert written_by is None, "nothing to do was done"


async def test_the_embedded_postgresql_is_used_as_three_roles(tmp_path: Path) -> None:
    async with started(tmp_path, event_retention="1d") as service, LedgerClient(service.address) as client:
        await client.create_ledger("Test")
        dsn = f"postgresql://ledger@/ledger?host={tmp_path}/data/socket&port=5432"
        async with connected(dsn) as connection:
            users = await connection.fetch(
                "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'ledger' AND usename <> 'ledger'"
            )
            owner = await connection.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 'account_lines'")
        assert {row["usename"] for row in users} == {SERVICE_USER, PRUNING_USER}
        assert owner == "ledger"
        async with connected(as_user(SERVICE_USER, dsn)) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("CREATE TEMPORARY TABLE entries (n int)")


async def test_migrations_can_run_elsewhere_as_another_role(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """The service that serves then knows no role that could change the schema."""
    name = "elsewhere"
    async with connected(postgres.dsn("postgres")) as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    try:
        owner, service = postgres.dsn(name), postgres.dsn(name, SERVICE_USER)
        said = await refused(tmp_path, database_url=service)
        assert "permission denied for schema public. The schema is not up to date" in said
        assert "LEDGER_MIGRATION_DATABASE_URL" in said
        async with started(tmp_path, database_url=service, migration_database_url=owner):
            pass
        async with started(tmp_path, database_url=service) as alone, LedgerClient(alone.address) as client:
            await client.create_ledger("Test")
        said = await refused(tmp_path, database_url=service, event_retention="1d")
        assert "LEDGER_PRUNING_DATABASE_URL" in said
        pruning = postgres.dsn(name, PRUNING_USER)
        settings = {"migration_database_url": owner, "pruning_database_url": pruning, "event_retention": "1d"}
        async with started(tmp_path, database_url=service, **settings):
            pass
    finally:
        async with connected(postgres.dsn("postgres")) as connection:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_one_role_for_all_is_enough(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    async with (
        new_database(postgres) as dsn,
        started(tmp_path, database_url=dsn, event_retention="1d") as service,
        LedgerClient(service.address) as client,
    ):
        await client.create_ledger("Test")


@pytest.mark.parametrize("command", ["", "migrate", "new-epoch"])
@pytest.mark.parametrize("other", ["migration_database_url", "pruning_database_url"])
async def test_roles_of_different_databases_are_refused(
    postgres: EmbeddedPostgres, tmp_path: Path, command: str, other: str
) -> None:
    async with new_database(postgres, "template1") as empty, new_database(postgres) as elsewhere:
        async with connected(elsewhere) as connection:
            epoch = await connection.fetchval("SELECT epoch FROM ledgers")
            settings = {"database_url": empty, other: elsewhere}
            async with starting(tmp_path, None, (), (command,) if command else (), **settings) as service:
                assert await service.stopped() == 1
                (said,) = service.said()
            assert said.startswith(f"LEDGER_{other.upper()} names another database than LEDGER_DATABASE_URL")
            assert await connection.fetchval("SELECT epoch FROM ledgers") == epoch
        async with connected(empty) as connection:
            assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


async def test_roles_that_see_different_tables_are_refused(database: str, tmp_path: Path) -> None:
    service = as_user(SERVICE_USER, database)
    async with connected(database) as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute("CREATE SCHEMA own; CREATE TABLE own.accounts (n int)")
        await connection.execute(f"GRANT USAGE ON SCHEMA own TO {SERVICE_USER}")
        await connection.execute(f"ALTER ROLE {SERVICE_USER} IN DATABASE {name} SET search_path = own, public")
    said = await refused(tmp_path, database_url=service, migration_database_url=database)
    assert "LEDGER_DATABASE_URL does not find the tables that the role of LEDGER_MIGRATION_DATABASE_URL" in said
    assert "their schemas are own and public" in said


@pytest.mark.parametrize(
    "setting",
    ["statement_timeout = '1ms'", "lock_timeout = '1ms'", "array_nulls = off", "search_path = public, pg_catalog"],
)
async def test_what_is_set_for_the_role_does_not_change_the_service(database: str, setting: str) -> None:
    """But what it is asked for it says itself: how long a statement may take, how arrays are read."""
    async with connected(database) as owner:
        name = await owner.fetchval("SELECT current_database()")
        await owner.execute(f'ALTER ROLE {SERVICE_USER} IN DATABASE "{name}" SET {setting}')
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger = await client.create_ledger("Test")
        created = await client.batch_create_accounts(
            ledger.id, [commands.create_account(str(n), normal_balance="debit", currency="USD") for n in range(500)]
        )
        a, b = created.accounts[:2]
        await client.batch_write_transactions(
            ledger.id, [commands.create_transaction([debit(a, 1), credit(b, 1)]) for _ in range(500)], atomic=True
        )
        assert len((await client.list_transactions(ledger.id, page_size=500)).transactions) == 500
