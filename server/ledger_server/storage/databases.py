"""The ways to the one database of the books, each as a role of its own, and what is done with it before serving."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg

from ledger_server.storage import roles
from ledger_server.storage.migrate import migrate
from ledger_server.storage.pool import CONNECT_SECONDS
from ledger_server.storage.safety import refuse_risks


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
    with databases.service.readable_errors():
        service_role = await _role(databases.service.dsn)
        risks = await refuse_risks(databases.service.dsn, may_lose_data=may_lose_data)
    decisions = {service_role: dict(roles.SERVICE)}
    if databases.pruning != databases.service:
        with databases.pruning.readable_errors():
            pruning_role = await _role(databases.pruning.dsn)
        if pruning_role != service_role:
            decisions[pruning_role] = dict(roles.PRUNING)
    with databases.migration.readable_errors():
        applied = await migrate(databases.migration.dsn, decisions)
    if will_prune and not await may_prune(databases.pruning.dsn):
        raise DatabaseUrlError(
            "LEDGER_EVENT_RETENTION or LEDGER_REQUEST_RETENTION is set, and the service's role may not delete events: "
            "give one for that in LEDGER_PRUNING_DATABASE_URL"
        )
    return Prepared(applied, risks)


async def may_prune(dsn: str) -> bool:
    """Whether this role may remove events and request ids."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
    try:
        return bool(
            await connection.fetchval(
                "SELECT has_table_privilege('events', 'DELETE') AND has_table_privilege('requests', 'DELETE')"
            )
        )
    finally:
        await connection.close()


async def _role(dsn: str) -> str:
    connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
    try:
        return str(await connection.fetchval("SELECT current_user"))
    finally:
        await connection.close()


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
