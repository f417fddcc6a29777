"""The ways to the one database of the books, each as a role of its own, and what is done with it before serving."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import asyncpg

from ledger_server.storage import roles, sql
from ledger_server.storage.migrate import migrate
from ledger_server.storage.pool import CONNECT_SECONDS, Connection, connect_at_start
from ledger_server.storage.safety import refuse_dropped_settings, refuse_encoding, refuse_risks


class DatabaseUrlError(Exception):
    """A database that a setting names cannot be used; the message says why, without the URL's password."""


@dataclass(frozen=True, slots=True)
class Database:
    """A DSN, and the environment variable that gave it: "" for the embedded PostgreSQL's."""

    dsn: str
    variable: str = ""

    @contextmanager
    def readable_errors(self) -> Iterator[None]:
        """Whatever is wrong with a database that somebody named to us becomes a sentence."""
        try:
            yield
        except Exception as error:
            reason = _reason(error) if self.variable else None
            if reason is None:
                raise
            raise DatabaseUrlError(f"cannot use the PostgreSQL of {self.variable}: {reason}") from error

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """A connection to look around before serving; what is wrong with the database becomes a sentence."""
        with self.readable_errors():
            connection = await connect_at_start(self.dsn)
            try:
                yield connection
            finally:
                await connection.close()


@dataclass(frozen=True, slots=True)
class Databases:
    """One database, as seen by the service, by migrations and by pruning; see roles.py. They may be one role."""

    service: Database
    migration: Database
    pruning: Database


@dataclass(frozen=True, slots=True)
class Prepared:
    """How many migrations were applied, and the risks that were taken because LEDGER_MAY_LOSE_DATA says so."""

    migrations_applied: int
    risks: list[str]


async def prepare(databases: Databases, *, may_lose_data: bool, will_prune: bool) -> Prepared:
    """Refuses what is unsafe, brings the schema up to date, and gives each role what it needs and no more.

    Raises DatabaseUrlError, UnsafeDatabaseError, UnsupportedDatabaseError.
    """
    async with databases.service.connected() as service:
        await refuse_encoding(service)
        risks = await refuse_risks(service, may_lose_data=may_lose_data)
        await refuse_dropped_settings(databases.service.dsn)
        service_role = await _role(service)
        decisions = {service_role: dict(roles.SERVICE)}
        others = [each for each in (databases.migration, databases.pruning) if each != databases.service]
        for other in others:
            async with other.connected() as connection:
                if not await _are_on_one_database(service, connection):
                    raise DatabaseUrlError(
                        f"{other.variable} names another database than {databases.service.variable}: give the same one "
                        "in both, as different roles"
                    )
                role = await _role(connection)
                if other == databases.pruning and role != service_role:
                    decisions[role] = dict(roles.PRUNING)
    with databases.migration.readable_errors():
        applied = await migrate(databases.migration.dsn, decisions)
    await _refuse_other_tables(databases, databases.service, roles.SERVICE)
    await _refuse_other_tables(databases, databases.pruning, roles.PRUNING)
    if will_prune and not await _may_prune(databases.pruning):
        raise DatabaseUrlError(
            "LEDGER_EVENT_RETENTION or LEDGER_REQUEST_RETENTION is set, and the service's role may not delete events: "
            "give one for that in LEDGER_PRUNING_DATABASE_URL"
        )
    return Prepared(applied, risks)


async def _are_on_one_database(one: Connection, other: Connection) -> bool:
    """Whether a lock that one holds is in the other's way: it is in no other database.

    What a database says about itself a copy of it, restored elsewhere or standing by, says too.
    """
    key = secrets.randbits(63)
    await one.execute("SELECT pg_advisory_lock($1)", key)
    return not await other.fetchval("SELECT pg_try_advisory_lock($1)", key)


async def _refuse_other_tables(databases: Databases, database: Database, decisions: Iterable[str]) -> None:
    """Raises DatabaseUrlError unless the tables that a role works with are those that were migrated."""
    if database == databases.migration:
        return
    async with databases.migration.connected() as migration, database.connected() as connection:
        (migrated,) = await migration.fetch(sql.find_tables, list(decisions))
        (found,) = await connection.fetch(sql.find_tables, list(decisions))
        if found["tables"] != migrated["tables"]:
            raise DatabaseUrlError(
                f"the role of {database.variable} does not find the tables that the role of "
                f"{databases.migration.variable} has migrated: their schemas are {found['schema']} and "
                f"{migrated['schema']}; give both the same search_path"
            )


async def _may_prune(database: Database) -> bool:
    """Whether this role may remove events and request ids."""
    async with database.connected() as connection:
        return bool(
            await connection.fetchval(
                "SELECT has_table_privilege('events', 'DELETE') AND has_table_privilege('requests', 'DELETE')"
            )
        )


async def _role(connection: Connection) -> str:
    return str(await connection.fetchval("SELECT current_user"))


def _reason(error: Exception) -> str | None:
    """What is wrong, or None if it is none of the database's faults."""
    match error:
        case asyncpg.ClientConfigurationError():
            return str(error)
        case ValueError():
            # It quotes a piece of the URL, which may be one of the password.
            return (
                "this is not a URL; what is special in a password must be percent-encoded: / is %2F, # is %23, @ is %40"
            )
        case TimeoutError():
            return f"no answer within {CONNECT_SECONDS:g} s"
        case OSError():
            return error.strerror or str(error) or type(error).__name__
        case asyncpg.InsufficientPrivilegeError():
            return (
                f"{error}. The schema is not up to date, and this role may not change it: give one that may in "
                "LEDGER_MIGRATION_DATABASE_URL, here or for `python -m ledger_server migrate`"
            )
        case asyncpg.PostgresError() | asyncpg.InterfaceError():
            return str(error)
    return None
