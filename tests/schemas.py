"""Everything that migrations make, as text, to compare one database with another."""

from __future__ import annotations

import asyncpg

_SCHEMA = """
SELECT format('column %s.%s %s', table_name, column_name, data_type)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL
SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT format('%s of %s: %s', conname, conrelid::regclass, pg_get_constraintdef(oid))
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""


async def schema_of(dsn: str) -> frozenset[str]:
    """Columns, indexes, constraints, and the migrations that were made."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(_SCHEMA)
        named = await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL")
        made = await connection.fetch("SELECT name FROM schema_migrations") if named else []
        return frozenset(row[0] for row in [*rows, *made])
    finally:
        await connection.close()
