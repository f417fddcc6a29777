"""Migrations: the .sql files of migrations/, in order, each in a transaction of its own, each once; then the grants."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import asyncpg

from ledger_server.storage import sql
from ledger_server.storage.pool import Connection, connect_alone
from ledger_server.storage.roles import grant

# Any number will do, as long as all servers use the same one.
_ADVISORY_LOCK = 0x1ED6E2

MAJOR_VERSION_MIN = 15


class UnsupportedDatabaseError(Exception):
    """The database cannot hold the books; the message says why."""


async def migrate(dsn: str, decisions: Mapping[str, Mapping[str, str]]) -> int:
    """Brings the database to this code's schema; returns how many migrations were applied.

    `decisions` say by role what each may do, see roles.py; the role of `dsn` itself, which owns the tables, needs none.
    A role that owns nothing may come too, and finds out whether the schema is up to date.
    Safe to interrupt at any moment and to run from several servers at once: the second waits for the first while that
    works, or up to 20 s for one that fell silent.

    Raises UnsupportedDatabaseError for a PostgreSQL older than 15, a schema newer than this code, or other tables.
    """
    connection = await connect_alone(dsn, "ledger-migrate")
    try:
        version = connection.get_server_version()
        if version.major < MAJOR_VERSION_MIN:
            raise UnsupportedDatabaseError(
                f"PostgreSQL {version.major} is too old; {MAJOR_VERSION_MIN} or newer is needed"
            )
        await connection.execute("SELECT pg_advisory_lock($1)", _ADVISORY_LOCK)
        applied = await _apply_missing(connection)
        owner = await connection.fetchval("SELECT current_user")
        for role, decided in decisions.items():
            if role != owner:
                await grant(connection, role, decided)
        return applied
    finally:
        # Closing the session releases the lock.
        await connection.close()


async def _apply_missing(connection: Connection) -> int:
    known = {
        file.name: file.read_text()
        for file in sorted(files(__package__).joinpath("migrations").iterdir(), key=lambda file: file.name)
        if file.name.endswith(".sql")
    }
    applied = await _applied(connection, first=min(known))
    if not applied and (others := [row["name"] for row in await connection.fetch(sql.list_tables)]):
        raise UnsupportedDatabaseError(
            f"the database holds other tables ({', '.join(others[:5])}{', …' if len(others) > 5 else ''}); "
            "give an empty one"
        )
    if unknown := applied - known.keys():
        raise UnsupportedDatabaseError(
            f"the database has migrations that this version does not know, {', '.join(sorted(unknown))}; "
            "run a newer version"
        )
    missing = [name for name in known if name not in applied]
    for name in missing:
        async with connection.transaction():
            # With the first one, so that none of ours is left behind where that cannot be applied.
            await connection.execute(_CREATE_SCHEMA_MIGRATIONS)
            await connection.execute(known[name])
            await connection.execute("INSERT INTO schema_migrations (name) VALUES ($1)", name)
    return len(missing)


async def _applied(connection: Connection, first: str) -> set[str]:
    """The migrations that were applied; none if nothing is there, or if it is somebody else's."""
    try:
        names = {row["name"] for row in await connection.fetch("SELECT name FROM schema_migrations")}
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        return set()
    return names if first in names else set()


_CREATE_SCHEMA_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())
"""
