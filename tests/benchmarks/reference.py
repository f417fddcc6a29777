"""The references: straight on asyncpg, on the schema of reference.sql, in the process that also drives our client.

| name                        | what                                                                                  |
|-----------------------------|---------------------------------------------------------------------------------------|
| naive_uniform, naive_hot    | one SERIALIZABLE transaction of five plain statements each, 32 connections, retries   |
| pg_limit                    | precomputed rows, three set-based statements and a commit for 500, 4 connections      |

Frozen, like the schema: bars are ratios to these.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import asyncpg
from asyncpg.pgproto.pgproto import UUID

from tests.benchmarks.books import WrongBooksError
from tests.benchmarks.measure import Call, Run, exhaust, repeat
from tests.benchmarks.orders import ACCOUNTS, Order, orders
from tests.benchmarks.processes import Processes

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

NAIVE_CONNECTIONS = 32
BACKOFF_SECONDS = (0.001, 0.050)
LIMIT_CONNECTIONS = 4
LIMIT_BATCH = 500

# OutOfMemory is what PostgreSQL calls the overflow of its pool of read-write conflicts.
_CONFLICTS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.OutOfMemoryError)

_INSERT_TRANSACTION = """
    INSERT INTO transactions (transaction_id, external_id, created_at, metadata) VALUES ($1, $2, now(), $3)
"""
_DEBIT = "UPDATE accounts SET debits = debits + $2 WHERE account_id = $1 RETURNING credits - debits"
_CREDIT = "UPDATE accounts SET credits = credits + $2 WHERE account_id = $1 RETURNING credits - debits"
_INSERT_ENTRY = """
    INSERT INTO entries (entry_id, transaction_id, account_id, direction, amount, balance)
    VALUES ($1, $2, $3, $4, $5, $6)
"""

_INSERT_TRANSACTIONS = """
    INSERT INTO transactions (transaction_id, external_id, created_at, metadata)
    SELECT transaction_id, external_id, now(), metadata::jsonb
    FROM unnest($1::uuid[], $2::text[], $3::text[]) AS r (transaction_id, external_id, metadata)
"""
_INSERT_ENTRIES = """
    INSERT INTO entries (entry_id, transaction_id, account_id, direction, amount, balance)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::smallint[], $5::bigint[], $6::bigint[])
"""
_UPDATE_ACCOUNTS = """
    UPDATE accounts SET debits = r.debits, credits = r.credits
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS r (account_id, debits, credits)
    WHERE accounts.account_id = r.account_id
"""
_AUDIT = """
    SELECT
        (SELECT count(*) FROM transactions) AS transactions,
        (SELECT count(*) FROM entries) AS entries,
        (SELECT coalesce(sum(CASE direction WHEN 1 THEN amount ELSE -amount END), 0) FROM entries) AS sum,
        (SELECT coalesce(sum(amount) FILTER (WHERE direction = 1), 0) FROM entries) AS debits,
        (SELECT sum(debits) FROM accounts) AS counted_debits,
        (SELECT sum(credits) FROM accounts) AS counted_credits
"""


class Reference:
    """The reference schema in a database of its own."""

    def __init__(self, dsn: str, postmaster: int) -> None:
        self.dsn = dsn
        self._processes = Processes(postmaster)
        self._account_ids = [UUID(_new_uuid()) for _ in range(ACCOUNTS)]

    async def create(self) -> None:
        """Makes the tables and the accounts."""
        async with self._connections(1) as (connection,):
            await connection.execute(Path(__file__).with_name("reference.sql").read_text())
            await connection.execute(
                "INSERT INTO accounts SELECT account_id, 0, 0 FROM unnest($1::uuid[]) AS r (account_id)",
                self._account_ids,
            )

    async def naive(self, label: str, seconds: float, *, hot: bool = False) -> Run:
        """What a plain service would do in the database for each of its calls, without the service around it."""
        stream = orders(label, hot=hot)
        retries = 0

        def caller(connection: Connection) -> Call:
            async def call() -> int:
                nonlocal retries
                order = next(stream)
                backoff_seconds, backoff_seconds_max = BACKOFF_SECONDS
                while True:
                    try:
                        await self._write(connection, order)
                    except _CONFLICTS:
                        retries += 1
                        await asyncio.sleep(random.uniform(0, backoff_seconds))
                        backoff_seconds = min(2 * backoff_seconds, backoff_seconds_max)
                    else:
                        return 1

            return call

        before = await self._count()
        async with self._connections(NAIVE_CONNECTIONS) as connections:
            run = await repeat([caller(connection) for connection in connections], seconds, self._processes)
        await self._audit(before + run.acknowledged)
        return replace(run, extra={"retries_per_transaction": retries / run.acknowledged})

    async def _write(self, connection: Connection, order: Order) -> None:
        transaction_id, amount = UUID(_new_uuid()), Decimal(order.amount)
        debit_id, credit_id = self._account_ids[order.debit], self._account_ids[order.credit]
        async with connection.transaction(isolation="serializable"):
            await connection.execute(_INSERT_TRANSACTION, transaction_id, order.external_id, json.dumps(order.metadata))
            # In one order, so that no two wait for each other.
            if order.debit < order.credit:
                debited = await connection.fetchval(_DEBIT, debit_id, amount)
                credited = await connection.fetchval(_CREDIT, credit_id, amount)
            else:
                credited = await connection.fetchval(_CREDIT, credit_id, amount)
                debited = await connection.fetchval(_DEBIT, debit_id, amount)
            await connection.execute(_INSERT_ENTRY, UUID(_new_uuid()), transaction_id, debit_id, 1, amount, debited)
            await connection.execute(_INSERT_ENTRY, UUID(_new_uuid()), transaction_id, credit_id, 2, amount, credited)

    async def limit(self, label: str, batches: int) -> Run:
        """Rows that are ready beforehand, as fast as PostgreSQL takes them.

        Each connection has a part of the accounts to itself: only so can running balances be known beforehand, and
        nobody waits for anybody's row.
        """
        share = ACCOUNTS // LIMIT_CONNECTIONS
        async with self._connections(LIMIT_CONNECTIONS) as connections:
            parts = [range(n * share, (n + 1) * share) for n in range(LIMIT_CONNECTIONS)]
            prepared = [await self._prepare(connections[0], f"{label}-{part.start}", part, batches) for part in parts]
            before, size = await self._count(), await database_bytes(connections[0])
            calls = [_writer(connection, iter(part)) for connection, part in zip(connections, prepared, strict=True)]
            run = await exhaust(calls, batches, self._processes)
            grown = await database_bytes(connections[0]) - size
        await self._audit(before + run.acknowledged)
        return replace(run, extra={"bytes_per_transaction": grown / run.acknowledged})

    async def _prepare(self, connection: Connection, label: str, part: range, count: int) -> list[_Batch]:
        rows = await connection.fetch("SELECT account_id, debits, credits FROM accounts")
        counters = {row["account_id"]: [int(row["debits"]), int(row["credits"])] for row in rows}
        stream = orders(label, accounts=part)
        return [self._batch(list(islice(stream, LIMIT_BATCH)), counters) for _ in range(count)]

    def _batch(self, batch: Sequence[Order], counters: dict[UUID, list[int]]) -> _Batch:
        transactions, entries, touched = [], [], {}
        for order in batch:
            transaction_id = UUID(_new_uuid())
            transactions.append((transaction_id, order.external_id, json.dumps(order.metadata)))
            for direction, number in ((1, order.debit), (2, order.credit)):
                account_id = self._account_ids[number]
                counters[account_id][direction - 1] += order.amount
                touched[account_id] = debited, credited = tuple(counters[account_id])
                entry_id = UUID(_new_uuid())
                entries.append((entry_id, transaction_id, account_id, direction, order.amount, credited - debited))
        accounts = [(account_id, *moved) for account_id, moved in touched.items()]
        return [list(zip(*rows, strict=True)) for rows in (transactions, entries, accounts)]

    async def _count(self) -> int:
        async with self._connections(1) as (connection,):
            return int(await connection.fetchval("SELECT count(*) FROM transactions"))

    async def _audit(self, transactions: int) -> None:
        """A fast wrong result does not count."""
        async with self._connections(1) as (connection,):
            row = await connection.fetchrow(_AUDIT)
        assert row is not None
        seen = dict(row)
        expected = {"transactions": transactions, "entries": 2 * transactions, "sum": 0}
        expected |= {"counted_debits": seen["debits"], "counted_credits": seen["debits"]}
        WrongBooksError.raise_if_other("the reference", seen, expected)

    @asynccontextmanager
    async def _connections(self, count: int) -> AsyncIterator[list[Connection]]:
        async with AsyncExitStack() as stack:
            connections = []
            for _ in range(count):
                connection = await asyncpg.connect(self.dsn)
                stack.push_async_callback(connection.close)
                connections.append(connection)
            yield connections


# The columns of the rows for transactions, entries and accounts.
_Batch: TypeAlias = "list[list[tuple[object, ...]]]"


def _writer(connection: Connection, batches: Iterator[_Batch]) -> Call:
    async def call() -> int:
        transactions, entries, accounts = next(batches)
        async with connection.transaction():
            await connection.execute(_INSERT_TRANSACTIONS, *transactions)
            await connection.execute(_INSERT_ENTRIES, *entries)
            await connection.execute(_UPDATE_ACCOUNTS, *accounts)
        return LIMIT_BATCH

    return call


async def database_bytes(connection: Connection) -> int:
    """What the connection's database takes on the disk."""
    return int(await connection.fetchval("SELECT pg_database_size(current_database())"))


def _new_uuid() -> bytes:
    """A UUIDv7 (RFC 9562), so that the reference's indexes grow at one end as ours do."""
    random_bytes = os.urandom(10)
    return (
        (time.time_ns() // 1_000_000).to_bytes(6, "big")
        + bytes((0x70 | random_bytes[0] & 0x0F, random_bytes[1], 0x80 | random_bytes[2] & 0x3F))
        + random_bytes[3:]
    )
