"""Which role may do what in the books: the one table of decisions, and how the database is brought to it.

| role      | does                                                | may                                             |
|-----------|-----------------------------------------------------|-------------------------------------------------|
| migration | changes the schema, keeps young tables' statistics  | all: the tables are its own                     |
| service   | what callers ask for                                | read and insert; update what is meant to change |
| pruning   | removes old events and request ids                  | delete those, move the log's checkpoint         |

So whoever takes over the service cannot rewrite an entry, a version or an event. A new table, or a column that commands
update, needs its line here; a test fails for a table without one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import asyncpg

# In the words of GRANT. Columns that are not listed are never updated.
SERVICE: Mapping[str, str] = {
    "ledgers": "SELECT, INSERT,"
    " UPDATE (name, description, metadata, updated_at, closed_before, deleted_at, position, digest, event_time,"
    " monitor_count)",
    "accounts": "SELECT, INSERT,"
    " UPDATE (name, name_grams, description, external_id, metadata, status, limits, updated_at, deleted_at)",
    "accounts_with_balances": "SELECT",
    "account_limits": "SELECT, INSERT",
    "account_lines": "SELECT, INSERT",
    "account_versions": "SELECT",
    # Made from account_lines, which stay.
    "account_timelines": "SELECT, INSERT, UPDATE (folded_version, run_starts)",
    "account_timeline_blocks": "SELECT, INSERT, DELETE",
    "categories": "SELECT, INSERT,"
    " UPDATE (name, description, external_id, metadata, updated_at, deleted_position, deleted_at)",
    "categories_with_balances": "SELECT",
    "category_accounts": "SELECT, INSERT, UPDATE (until_position)",
    "category_nestings": "SELECT, INSERT, UPDATE (until_position)",
    "category_versions": "SELECT, INSERT",
    "currencies": "SELECT, INSERT",
    "transactions": "SELECT, INSERT,"
    " UPDATE (version, status, archived_reason, entry_count, first_entry_id, position, updated_at, effective_at,"
    " posted_at, description, external_id, metadata, expires_at, amount)",
    "transaction_versions": "SELECT, INSERT",
    "entries": "SELECT",
    "entry_metadata": "SELECT, INSERT, UPDATE (metadata, updated_at, position)",
    "entry_reversals": "SELECT, INSERT, UPDATE (reversed)",
    "events": "SELECT, INSERT",
    "log_checkpoints": "SELECT",
    "log_origin": "SELECT",
    # Says again what the objects say.
    "metadata_pairs": "SELECT, INSERT, UPDATE (offsets), DELETE",
    "monitors": "SELECT, INSERT,"
    " UPDATE (version, field, operator, value, resolve_value, description, metadata, updated_at, triggered,"
    " since_position, since, deleted_position, deleted_at)",
    "monitor_conditions": "SELECT, INSERT",
    "requests": "SELECT, INSERT",
    "schema_migrations": "SELECT",
}
PRUNING: Mapping[str, str] = {
    "ledgers": "SELECT",
    "events": "SELECT, DELETE",
    "log_checkpoints": "SELECT, INSERT, UPDATE (position, digest)",
    "requests": "SELECT, DELETE",
}

_PRIVILEGE = re.compile(r"([A-Z]+)(?: \(([^)]*)\))?")


class Privilege(NamedTuple):
    """One privilege on a table; on the whole of it if the column is ""."""

    table: str
    name: str
    column: str = ""

    def on(self) -> str:
        """As GRANT and REVOKE say it."""
        column = f' ("{self.column}")' if self.column else ""
        return f'{self.name}{column} ON "{self.table}"'


def privileges(decisions: Mapping[str, str]) -> set[Privilege]:
    """The decisions, one by one."""
    return {
        Privilege(table, name, column)
        for table, words in decisions.items()
        for name, columns in _PRIVILEGE.findall(words)
        for column in (columns.split(", ") if columns else [""])
    }


async def grant(connection: asyncpg.Connection[asyncpg.Record], role: str, decisions: Mapping[str, str]) -> None:
    """Gives the role what is decided and takes away what is not; by the tables' owner. Nothing to do: nothing done."""
    granted = {Privilege(*row) for row in await connection.fetch(_GRANTED, role)}
    decided = privileges(decisions)
    quoted = '"' + role.replace('"', '""') + '"'
    changes = [f"GRANT {privilege.on()} TO {quoted}" for privilege in sorted(decided - granted)]
    changes += [f"REVOKE {privilege.on()} FROM {quoted}" for privilege in sorted(granted - decided)]
    if not await connection.fetchval("SELECT has_schema_privilege($1, current_schema(), 'USAGE')", role):
        schema = await connection.fetchval("SELECT quote_ident(current_schema())")
        changes.append(f"GRANT USAGE ON SCHEMA {schema} TO {quoted}")
    if changes:
        async with connection.transaction():
            await connection.execute(";\n".join(changes))


_GRANTED = """
SELECT c.relname, a.privilege_type, ''
FROM pg_class c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v')
    AND a.grantee = (SELECT oid FROM pg_roles WHERE rolname = $1)
UNION ALL
SELECT c.relname, a.privilege_type, t.attname
FROM pg_class c
JOIN pg_attribute t ON t.attrelid = c.oid
CROSS JOIN aclexplode(t.attacl) AS a
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v')
    AND a.grantee = (SELECT oid FROM pg_roles WHERE rolname = $1)
"""
