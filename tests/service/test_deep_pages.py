"""A page costs the same wherever it is in its list, of a million transactions as of a few, filtered or not."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger_server.domain.model import TransactionStatus
from ledger_server.domain.money import Direction, NormalBalance, Operator
from ledger_server.reading import AccountQuery, EntryQuery, Page, Reader, TransactionQuery
from ledger_server.reading.metadata import Check, Term, Terms
from ledger_server.reading.page_tokens import Key, to_token
from ledger_server.reading.queries import AmountCondition, Between, ListOrder
from ledger_server.storage.embedded import EmbeddedPostgres
from ledger_server.storage.pool import read_pool
from tests.conftest import new_database
from tests.large_books import BEGAN, write_large_books

ACCOUNTS, TRANSACTIONS = 100_000, 1_000_000
PAGE = 100
PAGES = 9_990
REPETITIONS = 15
# Of pages of one size: the time of the last over that of the first, once what both take anyway is subtracted.
RATIO_MAX = 2.0
FLOOR_SECONDS = 0.005
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.long
async def test_page_ten_thousand_of_a_million_costs_what_the_first_does(postgres: EmbeddedPostgres) -> None:
    async with new_database(postgres) as dsn:
        began = time.monotonic()
        books = await write_large_books(dsn, ACCOUNTS, TRANSACTIONS)
        print(f"written in {time.monotonic() - began:.0f} s", flush=True)
        of_ledger: dict[str, Any] = {"ledger_id": books.ledger_id, "page_size": PAGE}
        one_by_one: dict[str, Any] = {"ledger_id": books.ledger_id, "page_size": 1}
        of_ten: dict[str, Any] = {"ledger_id": books.ledger_id, "page_size": 10}
        usual = Terms((Term("group", Check.EQUALS, ("0",)),), ())
        # After how many transactions, or accounts, the last page begins.
        deep = PAGE * PAGES
        rare = int(TRANSACTIONS * 0.55)
        from_newest = _key_of(ACCOUNTS + TRANSACTIONS - deep)
        in_effective_order = Key.at((books.created_at(deep) - _EPOCH) // timedelta(microseconds=1), ACCOUNTS + deep)
        async with read_pool(dsn, size_max=1) as pool:
            reader = Reader(pool)
            lists: list[tuple[str, Callable[[Any], Awaitable[Page[Any]]], Any, Key]] = [
                ("transactions", reader.list_transactions, TransactionQuery(**of_ledger), from_newest),
                (
                    "transactions by metadata of most",
                    reader.list_transactions,
                    TransactionQuery(**of_ledger, metadata_terms=usual, order=ListOrder.CREATED_ASC),
                    _key_of(ACCOUNTS + deep),
                ),
                (
                    "posted transactions in effective order",
                    reader.list_transactions,
                    TransactionQuery(
                        **of_ledger,
                        statuses=frozenset({TransactionStatus.POSTED}),
                        effective_at=Between(BEGAN, None),
                        order=ListOrder.EFFECTIVE_ASC,
                    ),
                    in_effective_order,
                ),
                (
                    "rare transactions by metadata",
                    reader.list_transactions,
                    TransactionQuery(**one_by_one, metadata={"group": "19"}, order=ListOrder.CREATED_ASC),
                    _key_of(ACCOUNTS + rare),
                ),
                (
                    "rare transactions by amount",
                    reader.list_transactions,
                    TransactionQuery(
                        **one_by_one, amounts=(AmountCondition(Operator.GT, 1),), order=ListOrder.CREATED_ASC
                    ),
                    _key_of(ACCOUNTS + rare),
                ),
                ("entries", reader.list_entries, EntryQuery(**of_ledger), from_newest),
                (
                    "entries of a direction in effective order",
                    reader.list_entries,
                    EntryQuery(**of_ledger, direction=Direction.DEBIT, order=ListOrder.EFFECTIVE_ASC),
                    in_effective_order,
                ),
                (
                    "rare entries by metadata",
                    reader.list_entries,
                    EntryQuery(**one_by_one, metadata={"line": "1"}, order=ListOrder.CREATED_ASC),
                    _key_of(ACCOUNTS + rare),
                ),
                ("accounts", reader.list_accounts, AccountQuery(**of_ten), _key_of(10 * PAGES)),
                (
                    "accounts of a normality by a part of most names",
                    reader.list_accounts,
                    AccountQuery(**of_ten, names=("usual",), normal_balance=NormalBalance.CREDIT),
                    _key_of(10 * PAGES),
                ),
                (
                    "rare accounts by name",
                    reader.list_accounts,
                    AccountQuery(**one_by_one, names=("RARE",)),
                    _key_of(int(ACCOUNTS * 0.55)),
                ),
            ]
            slower = []
            for name, read, query, key in lists:
                first = await measured(read, query)
                last = await measured(read, replace(query, page_token=to_token(query, key)))
                print(f"{name}: page 1 {first * 1e3:.1f} ms, a late one {last * 1e3:.1f} ms", flush=True)
                if last > RATIO_MAX * first + FLOOR_SECONDS:
                    slower.append(name)
    assert not slower


def _key_of(position: int) -> Key:
    return Key.at(position, position)


async def measured(read: Callable[[Any], Awaitable[Page[Any]]], query: Any) -> float:
    """Seconds that a page takes, the median of some."""
    times = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        page = await read(query)
        times.append(time.perf_counter() - began)
        assert page.items
    return statistics.median(times)
