"""Lists on books that have grown: no filter that matches few is answered by looking at many.

What is looked at is counted in the plans themselves, as they ran, of every statement that a page takes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from ledger_server.domain.inputs import BalanceCondition, Ref
from ledger_server.domain.model import AccountStatus, ArchivedReason, TransactionStatus
from ledger_server.domain.money import BalanceKind, NormalBalance, Operator
from ledger_server.reading import (
    AccountQuery,
    CategoryQuery,
    EntryQuery,
    LedgerQuery,
    MonitorQuery,
    TransactionQuery,
    accounts,
    categories,
    entries,
    ledgers,
    monitors,
    transactions,
)
from ledger_server.reading.metadata import Check, Term, Terms
from ledger_server.reading.queries import AmountCondition, Between, ListOrder
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage.embedded import EmbeddedPostgres
from ledger_server.storage.pool import read_pool
from tests.conftest import new_database
from tests.large_books import BEGAN, ONE, RARE, LargeBooks, write_large_books, write_large_groups

ACCOUNTS = 50_000
TRANSACTIONS = 50_000
# Categories, monitors and ledgers.
GROUPS = 10_000
# A hundredth of them match at most. For a page so many rows may be looked at, in all tables together.
PAGE = 20
ROWS_MAX = 12_000
FAR = timedelta(days=3_650)


@pytest.fixture(scope="module")
async def dsn(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    async with new_database(postgres) as dsn:
        yield dsn


@pytest.fixture(scope="module")
async def books(dsn: str) -> LargeBooks:
    books = await write_large_books(dsn, ACCOUNTS, TRANSACTIONS)
    await write_large_groups(dsn, books, GROUPS)
    return books


class Explaining:
    """A connection that explains what it runs: the nodes of all plans, as they ran."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection
        self.nodes: list[dict[str, Any]] = []

    async def fetch(self, statement: str, *parameters: object) -> list[asyncpg.Record]:
        types = [parameter.name for parameter in (await self._connection.prepare(statement)).get_parameters()]
        literals = [f"{_literal(value)}::{kind}" for value, kind in zip(parameters, types, strict=True)]
        await self._connection.execute(f"PREPARE explained AS {statement}")
        try:
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) EXECUTE explained ({', '.join(literals)})"
            (row,) = await self._connection.fetch(explain if literals else explain.replace(" ()", ""))
        finally:
            await self._connection.execute("DEALLOCATE explained")
        self._add(json.loads(row[0])[0]["Plan"])
        return await self._connection.fetch(statement, *parameters)

    async def fetchval(self, statement: str, *parameters: object) -> object:
        rows = await self.fetch(statement, *parameters)
        return rows[0][0] if rows else None

    async def fetchrow(self, statement: str, *parameters: object) -> asyncpg.Record | None:
        rows = await self.fetch(statement, *parameters)
        return rows[0] if rows else None

    def _add(self, node: dict[str, Any]) -> None:
        self.nodes.append(node)
        for child in node.get("Plans", ()):
            self._add(child)


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, dict):
        return _literal(json.dumps(value))
    if isinstance(value, datetime):
        return _literal(value.isoformat())
    if isinstance(value, (list, tuple)):
        return f"ARRAY[{', '.join(map(_literal, value))}]"
    if isinstance(value, (bool, int)):
        return f"'{int(value)}'"
    return "'" + str(value).replace("'", "''") + "'"


def rows_looked_at(nodes: list[dict[str, Any]]) -> int:
    """What all scans of tables and indexes gave and threw away."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0))
        * node["Actual Loops"]
        for node in nodes
        if node["Node Type"].endswith("Scan") and "Function" not in node["Node Type"] and "CTE" not in node["Node Type"]
    )


def rows_sorted(nodes: list[dict[str, Any]]) -> int:
    return max([node["Plans"][0]["Actual Rows"] for node in nodes if "Sort" in node["Node Type"]], default=0)


GROUP = Terms((Term("group", Check.EQUALS, ("19",)),), ())
LINE = Terms((Term("line", Check.PRESENT),), ())
POSITION = TRANSACTIONS // 2

ACCOUNT_FILTERS: dict[str, Callable[[LargeBooks], dict[str, Any]]] = {
    "ids": lambda b: {"ids": frozenset(b.account_id(n) for n in range(0, ACCOUNTS, RARE))},
    "a name": lambda _: {"names": ("RARE acc",)},
    "a name of two characters": lambda _: {"names": ("re",)},
    "one of two names": lambda _: {"names": ("no such name", "count 49999")},
    "an external id": lambda _: {"external_id": "a40000"},
    "a status": lambda _: {"statuses": frozenset({AccountStatus.FROZEN})},
    "two statuses": lambda _: {"statuses": frozenset({AccountStatus.FROZEN, AccountStatus.CLOSED})},
    "a currency": lambda _: {"currency": "EUR"},
    "a normality": lambda _: {"normal_balance": NormalBalance.DEBIT},
    "metadata": lambda _: {"metadata": {"group": "19"}},
    "a condition on metadata": lambda _: {"metadata_terms": GROUP},
    "created": lambda _: {"created_at": Between(BEGAN + 20_000 * ONE, BEGAN + 20_300 * ONE)},
    "updated": lambda _: {"updated_at": Between(BEGAN + FAR, None)},
}
TRANSACTION_FILTERS: dict[str, Callable[[LargeBooks], dict[str, Any]]] = {
    "ids": lambda b: {"ids": frozenset(b.transaction_id(n) for n in range(0, TRANSACTIONS, RARE))},
    "an account": lambda b: {"account": Ref(b.account_id(77), None)},
    "an external id": lambda _: {"external_id": "t40000"},
    "pending": lambda _: {"statuses": frozenset({TransactionStatus.PENDING})},
    "archived": lambda _: {"statuses": frozenset({TransactionStatus.ARCHIVED})},
    "two statuses": lambda _: {"statuses": frozenset({TransactionStatus.ARCHIVED, TransactionStatus.PENDING})},
    "a reason": lambda _: {"archived_reasons": frozenset({ArchivedReason(1)})},
    "reversals": lambda b: {"reverses_id": b.transaction_id(0)},
    "parts": lambda b: {"partially_posts_id": b.transaction_id(0)},
    "an amount": lambda _: {"amounts": (AmountCondition(Operator.EQ, 1_000),)},
    "large amounts": lambda _: {"amounts": (AmountCondition(Operator.GT, 1),)},
    "another amount": lambda _: {"amounts": (AmountCondition(Operator.NE, 1),)},
    "metadata": lambda _: {"metadata": {"group": "19"}},
    "a condition on metadata": lambda _: {"metadata_terms": GROUP},
    "created": lambda b: {"created_at": Between(b.created_at(POSITION), b.created_at(POSITION + 300))},
    "updated": lambda _: {"updated_at": Between(BEGAN + FAR, None)},
    "posted": lambda _: {"posted_at": Between(BEGAN + FAR, None)},
    "effective": lambda _: {"effective_at": Between(None, BEGAN)},
}
ENTRY_FILTERS: dict[str, Callable[[LargeBooks], dict[str, Any]]] = {
    "ids": lambda b: {"ids": frozenset(b.entry_id(n) for n in range(0, TRANSACTIONS, RARE))},
    "a transaction": lambda b: {"transaction": Ref(b.transaction_id(7), None)},
    "an account": lambda b: {"account": Ref(b.account_id(77), None)},
    "pending": lambda _: {"statuses": frozenset({TransactionStatus.PENDING})},
    "archived": lambda _: {"statuses": frozenset({TransactionStatus.ARCHIVED})},
    "pending once": lambda _: {"statuses": frozenset({TransactionStatus.PENDING}), "include_discarded": True},
    "an amount": lambda _: {"amounts": (AmountCondition(Operator.GTE, 1_000),)},
    "an amount once": lambda _: {"amounts": (AmountCondition(Operator.GTE, 1_000),), "include_discarded": True},
    "another amount": lambda _: {"amounts": (AmountCondition(Operator.NE, 1),)},
    "metadata": lambda _: {"metadata": {"line": "1"}},
    "a condition on metadata": lambda _: {"metadata_terms": LINE},
    "created": lambda b: {"created_at": Between(b.created_at(POSITION), b.created_at(POSITION + 300))},
    "updated": lambda b: {"updated_at": Between(b.created_at(POSITION), b.created_at(POSITION + 300))},
    "effective": lambda _: {"effective_at": Between(None, BEGAN)},
    "effective once": lambda _: {"effective_at": Between(None, BEGAN), "include_discarded": True},
}
CATEGORY_FILTERS: dict[str, Callable[[LargeBooks], dict[str, Any]]] = {
    "ids": lambda b: {"ids": frozenset(b.category_id(n) for n in range(0, GROUPS, RARE))},
    "an external id": lambda _: {"external_id": "c4000"},
    "a currency": lambda _: {"currency": "EUR"},
    "a normality": lambda _: {"normal_balance": NormalBalance.DEBIT},
    "a parent": lambda b: {"parent_category_id": b.category_id(1)},
    "a member": lambda b: {"member_category_id": b.category_id(1)},
    "an account": lambda b: {"account_id": b.account_id(7)},
    "a name": lambda _: {"names": ("no such name", "gory 9999")},
    "metadata": lambda _: {"metadata": {"group": "19"}},
    "a condition on metadata": lambda _: {"metadata_terms": GROUP},
    "balances": lambda _: {"balances": (BalanceCondition(BalanceKind.POSTED, Operator.EQ, 0),)},
}
MONITOR_FILTERS: dict[str, Callable[[LargeBooks], dict[str, Any]]] = {
    "ids": lambda b: {"ids": frozenset(b.monitor_id(n) for n in range(0, GROUPS, RARE))},
    "an account": lambda b: {"account": Ref(b.account_id(77), None)},
    "a category": lambda b: {"category": Ref(b.category_id(GROUPS // RARE // 2 * RARE + 8), None)},
    "triggered": lambda _: {"triggered": True},
    "not triggered": lambda _: {"triggered": False},
    "metadata": lambda _: {"metadata": {"group": "19"}},
    "a condition on metadata": lambda _: {"metadata_terms": GROUP},
}
LEDGER_FILTERS: dict[str, Callable[[LargeBooks], dict[str, Any]]] = {
    "ids": lambda b: {"ids": frozenset(b.other_ledger_id(n) for n in range(0, GROUPS, RARE))},
    "created": lambda _: {"created_at": Between(BEGAN + 5_000 * ONE, BEGAN + 5_300 * ONE)},
    "updated": lambda _: {"updated_at": Between(BEGAN + 9_999 * ONE, None)},
    "a name": lambda _: {"names": ("no such name", "dger 9999")},
    "metadata": lambda _: {"metadata": {"group": "19"}},
    "a condition on metadata": lambda _: {"metadata_terms": GROUP},
}
# What is looked for along the list, as the protos say: each object is looked at at most once, a page of them at a time.
ALONG_THE_LIST = {"a name", "metadata", "a condition on metadata", "updated"}
GROUP_LISTS: dict[str, tuple[Any, Any, dict[str, Callable[[LargeBooks], dict[str, Any]]]]] = {
    "categories": (categories.list_categories, CategoryQuery, CATEGORY_FILTERS),
    "monitors": (monitors.list_monitors, MonitorQuery, MONITOR_FILTERS),
    "ledgers": (ledgers.list_ledgers, LedgerQuery, LEDGER_FILTERS),
}
GROUP_CASES = [
    pytest.param(noun, name, id=f"{noun} by {name}")
    for noun, (_, _, filters) in GROUP_LISTS.items()
    for name in ["nothing", *filters]
]

LISTS: dict[str, tuple[Any, Any, dict[str, Callable[[LargeBooks], dict[str, Any]]]]] = {
    "accounts": (accounts.list_accounts, AccountQuery, ACCOUNT_FILTERS),
    "transactions": (transactions.list_transactions, TransactionQuery, TRANSACTION_FILTERS),
    "entries": (entries.list_entries, EntryQuery, ENTRY_FILTERS),
}
CASES = [
    pytest.param(noun, name, order, id=f"{noun} by {name}, {order.name.lower()}")
    for noun, (_, _, filters) in LISTS.items()
    for name in ["nothing", *filters]
    for order in ((ListOrder.CREATED_ASC, ListOrder.CREATED_DESC) if noun == "accounts" else tuple(ListOrder))
    if order.is_created or not name.endswith("once")
]


@pytest.mark.parametrize(("noun", "name", "order"), CASES)
async def test_a_page_looks_at_few_rows(noun: str, name: str, order: ListOrder, dsn: str, books: LargeBooks) -> None:
    read, kind, filters = LISTS[noun]
    chosen = filters[name](books) if name != "nothing" else {}
    query = kind(ledger_id=books.ledger_id, page_size=PAGE, order=order, **chosen)
    nodes = await _explained(dsn, books, read, query)
    assert rows_looked_at(nodes) <= ROWS_MAX, rows_looked_at(nodes)
    assert rows_sorted(nodes) <= ROWS_MAX


@pytest.mark.parametrize(("noun", "name"), GROUP_CASES)
async def test_a_page_of_what_is_fewer_looks_at_few_rows(noun: str, name: str, dsn: str, books: LargeBooks) -> None:
    read, kind, filters = GROUP_LISTS[noun]
    chosen = filters[name](books) if name != "nothing" else {}
    query = (
        kind(page_size=PAGE, **chosen)
        if noun == "ledgers"
        else kind(ledger_id=books.ledger_id, page_size=PAGE, **chosen)
    )
    nodes = await _explained(dsn, books, read, query)
    most = 2 * GROUPS + 100 if name in ALONG_THE_LIST else 1_000
    assert rows_looked_at(nodes) <= most, rows_looked_at(nodes)
    assert rows_sorted(nodes) <= most


async def _explained(dsn: str, books: LargeBooks, read: Any, query: Any) -> list[dict[str, Any]]:
    """The nodes of all that a page with something on it takes, none of which reads a table whole."""
    async with read_pool(dsn, size_max=1) as pool, pool.acquire() as connection, connection.transaction():
        explaining: Any = Explaining(connection)  # type: ignore[arg-type]
        within = explaining if isinstance(query, LedgerQuery) else Snapshot(explaining, books.ledger_id, 1, "", set())
        page = await read(within, query)
        assert page.items
    assert not [node for node in explaining.nodes if node["Node Type"] == "Seq Scan"]
    nodes: list[dict[str, Any]] = explaining.nodes
    return nodes
