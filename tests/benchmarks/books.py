"""The audit after each run: a fast wrong result does not count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg

from ledger_client.v1.streams_pb2 import EventKind
from tests.ledger_ids import number_of
from tests.stored_events import read_event

EDGES = (EventKind.EVENT_KIND_MONITOR_TRIGGERED, EventKind.EVENT_KIND_MONITOR_RESOLVED)

_STANDING = """
    SELECT
        (SELECT position FROM ledgers WHERE ledger_id = $1) AS position,
        (SELECT count(*) FROM transactions WHERE ledger_id = $1) AS transactions
"""
_AUDIT = """
    SELECT
        (SELECT position FROM ledgers WHERE ledger_id = $1) AS position,
        (SELECT count(*) FROM transactions WHERE ledger_id = $1) AS transactions,
        (SELECT count(*) FROM transactions WHERE ledger_id = $1 AND status <> 2) AS not_posted,
        e.*, a.*
    FROM (
        SELECT
            coalesce(sum(CASE direction WHEN 1 THEN amount ELSE -amount END), 0) AS sum,
            coalesce(sum(amount) FILTER (WHERE status = 2 AND direction = 1), 0) AS debits,
            coalesce(sum(amount) FILTER (WHERE status = 2 AND direction = 2), 0) AS credits
        FROM entries
        WHERE ledger_id = $1
    ) e, (
        SELECT
            sum(posted_debits) AS counted_debits, sum(posted_credits) AS counted_credits,
            sum(pending_debits + pending_credits) AS counted_pending
        FROM accounts_with_balances
        WHERE ledger_id = $1
    ) a
"""


class WrongBooksError(Exception):
    """The books are not what was acknowledged; the figures are worth nothing."""

    @classmethod
    def raise_if_other(cls, whose: str, seen: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        wrong = [f"{name} is {seen[name]}, not {value}" for name, value in expected.items() if seen[name] != value]
        if wrong:
            raise cls(f"the books of {whose} are wrong: {'; '.join(wrong)}")


async def standing(connection: asyncpg.Connection[asyncpg.Record], ledger_id: str) -> tuple[int, int]:
    """The ledger's position and how many transactions it has."""
    row = await connection.fetchrow(_STANDING, number_of(ledger_id))
    assert row is not None
    return row["position"], row["transactions"]


async def edges_after(connection: asyncpg.Connection[asyncpg.Record], ledger_id: str, position: int) -> int:
    """How many of the events after a position are of monitors that were triggered or resolved."""
    number = number_of(ledger_id)
    if not await connection.fetchval("SELECT monitor_count FROM ledgers WHERE ledger_id = $1", number):
        return 0
    rows = await connection.fetch(
        "SELECT position, time, payload FROM events WHERE ledger_id = $1 AND position > $2", number, position
    )
    return sum(read_event(row).kind in EDGES for row in rows)


async def audit(
    connection: asyncpg.Connection[asyncpg.Record], ledger_id: str, position: int, transactions: int
) -> None:
    """Raises WrongBooksError unless all is there, all is posted, entries sum to zero and counters to entries."""
    row = await connection.fetchrow(_AUDIT, number_of(ledger_id))
    assert row is not None
    seen = dict(row)
    expected = {"position": position, "transactions": transactions, "not_posted": 0, "sum": 0, "counted_pending": 0}
    expected |= {"counted_debits": seen["debits"], "counted_credits": seen["credits"]}
    WrongBooksError.raise_if_other("the service", seen, expected)
