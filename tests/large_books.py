"""A ledger of any size, written straight into the tables: what lists are measured on.

Half of the accounts are debited and half credited, each as often as the others; transaction n is of account n and one
of the other half. Of those in the middle one in `RARE` is out of the ordinary in each respect that lists can be
filtered by. Foreign keys are not checked while it is written, nor is there a log.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg

from ledger_server.domain.ids import entry_id, first_line, ledger_text, new_ledger_id
from ledger_server.storage.name_grams import grams_of

BEGAN = datetime(2025, 1, 1, tzinfo=UTC)
# One transaction, and one account, in so many is out of the ordinary.
RARE = 200
ONE = timedelta(milliseconds=1)


class LargeBooks(NamedTuple):
    """Which ledger, and how many accounts and transactions it has."""

    ledger_id: int
    accounts: int
    transactions: int

    def account_id(self, n: int) -> str:
        return f"00000000-0000-7000-8000-{n:012x}"

    def transaction_id(self, n: int) -> str:
        return f"10000000-0000-7000-8000-{n:012x}"

    def category_id(self, n: int) -> str:
        return f"30000000-0000-7000-8000-{n:012x}"

    def monitor_id(self, n: int) -> str:
        return f"40000000-0000-7000-8000-{n:012x}"

    def other_ledger_id(self, n: int) -> str:
        return ledger_text(n + 1)

    def entry_id(self, n: int) -> str:
        """The first one of a transaction."""
        return entry_id(self.ledger_id, self.created_at(n), first_line(n + 1 + self.accounts))

    def created_at(self, n: int) -> datetime:
        """Of a transaction."""
        return BEGAN + (self.accounts + n) * ONE


async def write_large_books(dsn: str, accounts: int, transactions: int) -> LargeBooks:
    """Writes them as the tables' owner, a superuser."""
    books = LargeBooks(new_ledger_id(datetime.now(UTC), 1), accounts, transactions)
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET session_replication_role = replica; SET TimeZone = 'UTC'")
        ledger_id = books.ledger_id
        last = accounts + transactions
        await connection.execute(_LEDGER, ledger_id, last, BEGAN + last * ONE)
        for first in range(0, accounts, 10_000):
            numbers = range(first, min(first + 10_000, accounts))
            names = [f"{'Rare' if _is_rare(n, accounts) else 'Usual'} account {n}" for n in numbers]
            grams = ["{" + ",".join(map(str, grams_of(ledger_id, name))) + "}" for name in names]
            await connection.execute(_ACCOUNTS, ledger_id, BEGAN, first, names, grams, accounts, timeout=300)
        for statement in (_TRANSACTIONS, _REPLACED, _LINES, _PAIRS, _ENTRY_PAIRS):
            await connection.execute(statement, ledger_id, BEGAN, accounts, transactions, timeout=1_200)
        await connection.execute("VACUUM (ANALYZE)", timeout=600)
    finally:
        await connection.close()
    return books


async def write_large_groups(dsn: str, books: LargeBooks, count: int) -> None:
    """So many categories, so many monitors on the books' accounts, and so many ledgers, likewise.

    Account n is in category n, and up to the 30th this is in category (n - 1) / 2. Monitor n is on account n, one in
    `RARE` on category n.
    """
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET session_replication_role = replica; SET TimeZone = 'UTC'")
        for statement in (_CATEGORIES, _MEMBERS, _NESTINGS, _MONITORS, _LEDGERS):
            await connection.execute(statement, books.ledger_id, BEGAN, books.accounts, count, timeout=600)
        await connection.execute("VACUUM (ANALYZE)", timeout=600)
    finally:
        await connection.close()


def _is_rare(n: int, count: int) -> bool:
    return count * 2 <= n * 5 <= count * 3 and n % RARE == 7


_ID = "('{}0000000-0000-7000-8000-' || lpad(to_hex({}), 12, '0'))::uuid"
_ACCOUNT = _ID.format("0", "{}")
_TRANSACTION = _ID.format("1", "n")
_FIRST_ENTRY = "(n + 1 + $3::bigint) * 16384"
_AT = "($2::timestamptz + ({}) * interval '1 millisecond')"

# In what respect a row is out of the ordinary: those in the middle, one in RARE of each kind; 0 for all others.
_KIND = f"CASE WHEN n * 5 BETWEEN $4::bigint * 2 AND $4::bigint * 3 THEN n % {RARE} ELSE 0 END"
_KIND_OF_ACCOUNT = _KIND.replace("$4", "$6")


def _insert_pairs(noun: int, key: str, value: str, position: str, source: str) -> str:
    """Pairs of the objects of a source, gathered into blocks; other calls may have begun a block."""
    return f"""
    INSERT INTO metadata_pairs AS p (ledger_id, noun, key, value_head, block_position, offsets)
    SELECT $1::bigint, {noun}, {key}, r.value, r.position / 256 * 256,
        string_agg(set_byte('\\x00'::bytea, 0, (r.position % 256)::integer), ''::bytea)
    FROM (SELECT {value} AS value, {position} AS position FROM {source}) AS r
    WHERE $2::timestamptz IS NOT NULL
    GROUP BY r.value, r.position / 256 * 256
    ON CONFLICT (ledger_id, noun, key, value_head, block_position) DO UPDATE
    SET offsets = p.offsets || excluded.offsets
    """


_LEDGER = """
INSERT INTO ledgers (ledger_id, name, description, metadata, created_at, updated_at, position, event_time, digest,
    epoch)
VALUES ($1, 'Large', '', '{}', $3, $3, $2, $3, sha256(''), gen_random_uuid())
"""

_ACCOUNTS = f"""
WITH new AS (SELECT $3::bigint + r.n - 1 AS n, r.name, r.grams FROM unnest($4::text[], $5::text[]) WITH ORDINALITY
             AS r (name, grams, n)),
versions AS (
    INSERT INTO account_lines (ledger_id, line_id, account_id, lock_version, position, posted_debits, posted_credits,
        pending_debits, pending_credits, written_at)
    SELECT $1::bigint, (n + 1) * 16384, {_ACCOUNT.format("n")}, 0, n + 1, 0, 0, 0, 0, {_AT.format("n")}
    FROM new
),
pairs AS (
    {_insert_pairs(2, "'group'", f"({_KIND_OF_ACCOUNT})::text", "n + 1", "new")}
)
INSERT INTO accounts (ledger_id, account_id, normal_balance, currency, currency_exponent, created_position, created_at,
    updated_at, name, name_grams, description, external_id, metadata, status)
SELECT $1::bigint, {_ACCOUNT.format("n")}, CASE WHEN {_KIND_OF_ACCOUNT} = 8 THEN 1 ELSE 2 END,
    CASE WHEN {_KIND_OF_ACCOUNT} = 9 THEN 'EUR' ELSE 'USD' END, 2, n + 1, {_AT.format("n")},
    CASE WHEN {_KIND_OF_ACCOUNT} = 10 THEN {_AT.format("n")} + interval '10 years' ELSE {_AT.format("n")} END,
    name, grams::bigint[], '', 'a' || n, jsonb_build_object('group', ({_KIND_OF_ACCOUNT})::text),
    CASE WHEN {_KIND_OF_ACCOUNT} = 11 THEN 4 ELSE 1 END
FROM new
"""

_TRANSACTIONS = f"""
INSERT INTO transactions (ledger_id, transaction_id, version, status, archived_reason, entry_count, first_entry_id,
    position, created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
    reverses_id, partially_posts_id, amount)
SELECT $1::bigint, {_TRANSACTION}, CASE WHEN {_KIND} = 10 THEN 2 ELSE 0 END, status,
    CASE WHEN status = 3 THEN 1 ELSE 0 END, 2, {_FIRST_ENTRY}, n + 1 + $3::bigint, n + 1 + $3::bigint, at,
    CASE WHEN {_KIND} = 10 THEN at + interval '10 years' ELSE at END,
    CASE WHEN {_KIND} = 12 THEN at - interval '10 years' ELSE at END,
    CASE WHEN status <> 2 THEN NULL WHEN {_KIND} = 14 THEN at + interval '10 years' ELSE at END,
    '', 't' || n, jsonb_build_object('group', ({_KIND})::text),
    CASE WHEN {_KIND} = 15 THEN {_TRANSACTION.replace("n)", "n - n % 100000)")} END,
    CASE WHEN {_KIND} = 16 THEN {_TRANSACTION.replace("n)", "n - n % 100000)")} END,
    CASE WHEN {_KIND} = 17 THEN 1000 ELSE 1 END
FROM generate_series(0, $4::bigint - 1) AS n
CROSS JOIN LATERAL (
    SELECT {_AT.format("n + $3::bigint")} AS at,
        CASE {_KIND} WHEN 11 THEN 1 WHEN 13 THEN 3 ELSE 2 END AS status
) AS t
"""

# Two metadata edits of one in RARE; the first of them five years after its creation.
_REPLACED = f"""
INSERT INTO transaction_versions (ledger_id, transaction_id, version, status, archived_reason, entry_count,
    first_entry_id, position, created_position, created_at, updated_at, effective_at, posted_at, description,
    external_id, metadata)
SELECT $1::bigint, {_TRANSACTION}, version, 2, 0, 2, {_FIRST_ENTRY}, n + 1 + $3::bigint, n + 1 + $3::bigint,
    {_AT.format("n + $3::bigint")}, {_AT.format("n + $3::bigint")} + version * interval '5 years',
    {_AT.format("n + $3::bigint")}, {_AT.format("n + $3::bigint")}, '', 't' || n, '{{}}'
FROM generate_series(0, $4::bigint - 1) AS n, unnest(ARRAY[0, 1]) AS version
WHERE {_KIND} = 10
"""

_LINES = f"""
INSERT INTO account_lines (ledger_id, line_id, transaction_id, account_id, lock_version, position, posted_debits,
    posted_credits, pending_debits, pending_credits, written_at, status, direction, amount, metadata)
SELECT $1::bigint, {_FIRST_ENTRY} + side, {_TRANSACTION},
    {_ACCOUNT.format("side * ($3::bigint / 2) + n % ($3::bigint / 2)")}, n / ($3::bigint / 2) + 1, n + 1 + $3::bigint,
    0, 0, 0, 0, {_AT.format("n + $3::bigint")},
    CASE {_KIND} WHEN 11 THEN 1 WHEN 13 THEN 3 ELSE 2 END, side + 1, CASE WHEN {_KIND} = 17 THEN 1000 ELSE 1 END,
    CASE WHEN {_KIND} = 18 THEN jsonb_build_object('line', side::text) END
FROM generate_series(0, $4::bigint - 1) AS n, unnest(ARRAY[0, 1]) AS side
"""

_PAIRS = _insert_pairs(
    1, "'group'", f"({_KIND})::text", "n + 1 + $3::bigint", "generate_series(0, $4::bigint - 1) AS n"
)

_ENTRY_PAIRS = _insert_pairs(
    3,
    "'line'",
    "side::text",
    "n + 1 + $3::bigint",
    f"generate_series(0, $4::bigint - 1) AS n, unnest(ARRAY[0, 1]) AS side WHERE {_KIND} = 18",
)

_CATEGORY = _ID.format("3", "{}")
_FOUR = "$1::bigint IS NOT NULL AND $2::timestamptz IS NOT NULL AND $3::bigint IS NOT NULL AND $4::bigint IS NOT NULL"

_CATEGORIES = f"""
WITH versions AS (
    INSERT INTO category_versions (ledger_id, category_id, position, posted_debits, posted_credits, pending_debits,
        pending_credits)
    SELECT $1::bigint, {_CATEGORY.format("n")}, n + 1, 0, 0, 0, 0 FROM generate_series(0, $4::bigint - 1) AS n
)
INSERT INTO categories (ledger_id, category_id, normal_balance, currency, currency_exponent, created_position,
    created_at, updated_at, name, description, external_id, metadata)
SELECT $1::bigint, {_CATEGORY.format("n")}, CASE WHEN {_KIND} = 8 THEN 1 ELSE 2 END,
    CASE WHEN {_KIND} = 9 THEN 'EUR' ELSE 'USD' END, 2, n + 1, {_AT.format("n")}, {_AT.format("n")},
    'category ' || n, '', 'c' || n, jsonb_build_object('group', ({_KIND})::text)
FROM generate_series(0, $4::bigint - 1) AS n WHERE {_FOUR}
"""

_MEMBERS = f"""
INSERT INTO category_accounts (ledger_id, category_id, account_id, from_position)
SELECT $1::bigint, {_CATEGORY.format("n")}, {_ACCOUNT.format("n")}, n + 1
FROM generate_series(0, $4::bigint - 1) AS n WHERE {_FOUR}
"""

_NESTINGS = f"""
INSERT INTO category_nestings (ledger_id, category_id, member_category_id, from_position)
SELECT $1::bigint, {_CATEGORY.format("(n - 1) / 2")}, {_CATEGORY.format("n")}, n + 1
FROM generate_series(1, 30) AS n WHERE {_FOUR}
"""

_MONITORS = f"""
INSERT INTO monitors (ledger_id, monitor_id, account_id, category_id, created_position, created_at, updated_at, version,
    field, operator, value, description, metadata, triggered, since_position, since)
SELECT $1::bigint, {_ID.format("4", "n")}, CASE WHEN {_KIND} = 8 THEN NULL ELSE {_ACCOUNT.format("n % $3::bigint")} END,
    CASE WHEN {_KIND} = 8 THEN {_CATEGORY.format("n")} END, n + 1, {_AT.format("n")}, {_AT.format("n")}, 0, 1, 1, 0, '',
    jsonb_build_object('group', ({_KIND})::text), {_KIND} = 9, n + 1, {_AT.format("n")}
FROM generate_series(0, $4::bigint - 1) AS n WHERE {_FOUR}
"""

_LEDGERS = f"""
INSERT INTO ledgers (ledger_id, name, description, metadata, created_at, updated_at, position, event_time, digest,
    epoch)
SELECT n + 1, 'ledger ' || n, '', jsonb_build_object('group', ({_KIND})::text),
    {_AT.format("n")}, {_AT.format("n")}, 0, {_AT.format("n")}, sha256(''), {_ID.format("5", "n")}
FROM generate_series(0, $4::bigint - 1) AS n WHERE {_FOUR}
"""
