"""Migrations: the .sql files of migrations/, in order, each in a transaction of its own, each once."""

from __future__ import annotations

from importlib.resources import files

import asyncpg

from ledger_server.storage.pool import CONNECT_SECONDS

# Any number will do, as long as all servers use the same one.
_ADVISORY_LOCK = 0x1ED6E2

MAJOR_VERSION_MIN = 15


class UnsupportedDatabaseError(Exception):
    """The database cannot hold the books; the message says why."""


async def migrate(dsn: str) -> int:
    """Brings the database to this code's schema; returns how many migrations were applied.

    Safe to interrupt at any moment and to run from several servers at once: the second waits for the first.
    Raises UnsupportedDatabaseError for a PostgreSQL older than 15 or a schema newer than this code.
    """
    connection = await asyncpg.connect(
        dsn, timeout=CONNECT_SECONDS, server_settings={"application_name": "ledger-migrate"}
    )
    try:
        version = connection.get_server_version()
        if version.major < MAJOR_VERSION_MIN:
            raise UnsupportedDatabaseError(
                f"PostgreSQL {version.major} is too old; {MAJOR_VERSION_MIN} or newer is needed"
            )
        await connection.execute("SELECT pg_advisory_lock($1)", _ADVISORY_LOCK)
        return await _apply_missing(connection)
    finally:
        # Closing the session releases the lock.
        await connection.close()


async def _apply_missing(connection: asyncpg.Connection[asyncpg.Record]) -> int:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations "
        "(name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    applied = {row["name"] for row in await connection.fetch("SELECT name FROM schema_migrations")}
    known = {
        file.name: file.read_text()
        for file in sorted(files(__package__).joinpath("migrations").iterdir(), key=lambda file: file.name)
        if file.name.endswith(".sql")
    }
    if unknown := applied - known.keys():
        raise UnsupportedDatabaseError(
            f"the database has migrations that this version does not know, {', '.join(sorted(unknown))}; "
            "run a newer version"
        )
    missing = [name for name in known if name not in applied]
    for name in missing:
        async with connection.transaction():
            await connection.execute(known[name])
            await connection.execute("INSERT INTO schema_migrations (name) VALUES ($1)", name)
    return len(missing)
