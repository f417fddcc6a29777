"""The check of categories: each counts what the accounts under it add up to, at the position of the verification.

How it came there, step by step, is what events tell of it; see log.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from ledger_server.auditing.findings import Finding
from ledger_server.auditing.snapshots import UNREADABLE, bite
from ledger_server.auditing.tables import Bite
from ledger_server.domain.ids import NIL_ID
from ledger_server.domain.money import Counters
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection, Pool
from ledger_server.storage.rows import Row, counters_from

PAGE_CATEGORIES = 100
PART_ACCOUNTS = 500


async def walk_categories(pool: Pool, ledger_id: int, position: int) -> AsyncIterator[Bite]:
    """All categories that are there at the position, in bites of accounts."""
    after = NIL_ID
    while True:

        async def read(connection: Connection, after: str = after) -> list[Row]:
            return await connection.fetch(sql.walk_categories, ledger_id, after, position, PAGE_CATEGORIES)

        page = await bite(pool, read)
        for row in page:
            category_id = row["category_id"]
            total = Counters()
            try:
                async for accounts, part in _parts(pool, ledger_id, category_id, position):
                    total = Counters(*(a + b for a, b in zip(total, part, strict=True)))
                    yield Bite(accounts, [], category_id)
                expected = ", ".join(map(str, total))
            except UNREADABLE as error:
                expected = str(error)
            yield Bite(1, _judge(category_id, position, expected, row["counters"]), category_id)
        if len(page) < PAGE_CATEGORIES:
            return
        after = page[-1]["category_id"]


def _judge(category_id: str, position: int, expected: str, found: str) -> list[Finding]:
    if found == expected:
        return []
    key = {"category_id": category_id, "position": str(position)}
    problem = "posted debits and credits, pending debits and credits, of the accounts under it"
    return [Finding("category_versions", key, problem, expected, found)]


async def _parts(pool: Pool, ledger_id: int, category_id: str, position: int) -> AsyncIterator[tuple[int, Counters]]:
    """How many accounts, and what they add up to."""
    after = NIL_ID
    while True:

        async def read(connection: Connection, after: str = after) -> Row | None:
            return await connection.fetchrow(
                sql.sum_category_accounts, ledger_id, category_id, position, after, PART_ACCOUNTS
            )

        part = await bite(pool, read)
        assert part is not None
        if part["account_count"] == 0:
            return
        yield part["account_count"], counters_from(part)
        if part["account_count"] < PART_ACCOUNTS:
            return
        after = part["last_account_id"]
