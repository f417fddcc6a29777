"""A transaction with thousands of versions is listed to its end, and what is behind it too."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import asyncpg
import pytest

from ledger_server.domain.errors import InvalidPageToken
from ledger_server.domain.ids import NIL_ID
from ledger_server.domain.inputs import MetadataPatch, Ref
from ledger_server.domain.model import ListedEntry
from ledger_server.reading import EntryQuery, TransactionQuery, entries, entry_sets, transactions
from ledger_server.reading.page_tokens import LOWEST, to_token
from ledger_server.reading.queries import ListOrder
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage import sql
from ledger_server.storage.embedded import EmbeddedPostgres
from ledger_server.storage.pool import read_pool
from tests.conftest import new_database
from tests.service.raw import connected
from tests.service.test_reading import Books, books_on, in_order, pages, pair, passes

VERSIONS = 2_500
# Every so many versions change no more than metadata, the 1,000th among them.
PLAIN = 2
# As many pages of a single entry are read at either end of a list.
SINGLE_PAGES = 50


class Edited(NamedTuple):
    """Books of three transactions, the second of which was edited often."""

    books: Books
    owners: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
async def edited(postgres: EmbeddedPostgres) -> AsyncIterator[Edited]:
    async with new_database(postgres) as dsn, books_on(dsn) as books:
        debit, credit = await books.create_account(), await books.create_account()
        await books.create_transaction(*pair(debit, credit))
        transaction = await books.create_transaction(*pair(debit, credit))
        await books.create_transaction(*pair(debit, credit))
        for start in range(0, VERSIONS, 500):
            changes: list[dict[str, Any]] = [
                {"metadata": MetadataPatch(True, {"n": str(n)})}
                if n % PLAIN == 0
                else {"entries": pair(debit, credit, n)}
                for n in range(start, start + 500)
            ]
            await asyncio.gather(*(books.update(transaction, **change) for change in changes))
        async with connected(dsn) as owner:
            # As the service would a moment later: plans of before the rush are not what is tested.
            await owner.execute("ANALYZE")
        books.versions[transaction.id].sort(key=lambda version: version.version)
        assert books.versions[transaction.id][-1].version == VERSIONS
        owners = {
            "ledger": {},
            "transaction": {"transaction": Ref(transaction.id, None)},
            "account": {"account": Ref(debit.account.id, None)},
        }
        yield Edited(books, owners)


def asked_for(
    edited: Edited, owner: str, order: ListOrder, *, include_discarded: bool
) -> tuple[EntryQuery, list[ListedEntry]]:
    """A query and what it should find."""
    books, owned = edited.books, edited.owners[owner]
    query = EntryQuery(
        ledger_id=books.ledger_id, page_size=1_000, order=order, include_discarded=include_discarded, **owned
    )
    versions = list(books.versions.values())[1]
    return query, [entry for entry in in_order(books, query, versions) if passes(query, entry, books)]


@pytest.mark.parametrize("order", [ListOrder.CREATED_ASC, ListOrder.CREATED_DESC])
@pytest.mark.parametrize("include_discarded", [False, True], ids=["standing", "with discarded"])
@pytest.mark.parametrize("owner", ["ledger", "transaction", "account"])
async def test_it_lists_to_the_end(edited: Edited, owner: str, order: ListOrder, *, include_discarded: bool) -> None:
    query, expected = asked_for(edited, owner, order, include_discarded=include_discarded)
    read = edited.books.reader.list_entries
    assert await pages(read, query) == expected
    expected = expected[:SINGLE_PAGES]
    found: list[ListedEntry] = []
    query = replace(query, page_size=1)
    while len(found) < len(expected):
        page = await read(query)
        assert len(page.items) <= 1
        found += page.items
        query = replace(query, page_token=page.next_page_token)
    assert found == expected


async def test_it_lists_in_effective_order_and_so_do_its_accounts_transactions(edited: Edited) -> None:
    query, expected = asked_for(edited, "account", ListOrder.EFFECTIVE_ASC, include_discarded=False)
    assert await pages(edited.books.reader.list_entries, query) == expected
    transactions = TransactionQuery(ledger_id=query.ledger_id, page_size=1, account=query.account)
    listed = await pages(edited.books.reader.list_transactions, transactions)
    assert [transaction.id for transaction in listed] == list(edited.books.versions)[::-1]


class Counting:
    """A connection that counts what is fetched, by statement, and how many rows of old versions PostgreSQL reads."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection
        self.fetched: list[str] = []
        self.version_rows = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, statement: str, *parameters: object) -> list[asyncpg.Record]:
        self.fetched.append(statement)
        (plan,) = json.loads(
            await self._connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *parameters)
        )
        for node in nodes(plan["Plan"]):
            if node.get("Relation Name") == "transaction_versions":
                rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                self.version_rows += rows * node["Actual Loops"]
        return await self._connection.fetch(statement, *parameters)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


@asynccontextmanager
async def counting_at(edited: Edited, give_up_at: float) -> AsyncIterator[tuple[Snapshot, Counting]]:
    """A snapshot whose pages are handed out at some time."""
    async with read_pool(edited.books.dsn, size_max=1) as pool, pool.acquire() as connection, connection.transaction():
        counting: Any = Counting(connection)  # type: ignore[arg-type]
        yield Snapshot(counting, edited.books.ledger_id, 1, "", set(), None, give_up_at), counting


async def test_entries_of_an_account_cost_their_own_versions_only(edited: Edited) -> None:
    query, _ = asked_for(edited, "account", ListOrder.CREATED_ASC, include_discarded=True)
    async with counting_at(edited, 0.0) as (at, counting):
        page = await entries.list_entries(at, query)
    assert len(page.items) > 0
    # The one that wrote an entry, and the one that discarded it.
    assert counting.version_rows <= 3 * len(page.items)


async def test_transactions_of_an_account_cost_no_versions_but_the_first(edited: Edited) -> None:
    query = TransactionQuery(ledger_id=edited.books.ledger_id, page_size=1_000, **edited.owners["account"])
    async with counting_at(edited, math.inf) as (at, counting):
        page = await transactions.list_transactions(at, query)
    assert len(page.items) == 3
    assert counting.version_rows <= 10


@pytest.mark.parametrize(("give_up_at", "bites"), [(0.0, 1), (math.inf, 3)], ids=["time is up", "time enough"])
async def test_all_that_a_page_is_made_of_has_one_time(edited: Edited, give_up_at: float, bites: int) -> None:
    """A page whose time is up takes one bite of transactions and one of entries, and says where to go on."""
    query, _ = asked_for(edited, "ledger", ListOrder.CREATED_ASC, include_discarded=False)
    query = replace(query, page_size=1, lock_version_lower_bound=10**9)
    async with counting_at(edited, give_up_at) as (at, counting):
        page = await entries.list_entries(at, query)
    assert page.items == []
    assert bool(page.next_page_token) == (bites == 1)
    assert counting.fetched.count(sql.filter_entries) == bites


async def test_a_bite_looks_at_so_many_versions_and_no_more(edited: Edited, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few of them wrote entries."""
    monkeypatch.setattr(entry_sets, "VERSIONS_MAX", 11)
    query, _ = asked_for(edited, "transaction", ListOrder.CREATED_DESC, include_discarded=True)
    async with counting_at(edited, 0.0) as (at, counting):
        page = await entries.list_entries(at, query)
    assert counting.fetched.count(sql.list_entry_sets) == 1
    assert len(page.items) == 2 * (1 + 10 // PLAIN)


@pytest.mark.parametrize("note", ["garbage", "1", f"1 {NIL_ID}0", f"{10**18} {NIL_ID}", f"-1 {NIL_ID}"])
async def test_a_place_that_is_none_is_refused(edited: Edited, note: str) -> None:
    query, _ = asked_for(edited, "ledger", ListOrder.CREATED_ASC, include_discarded=True)
    with pytest.raises(InvalidPageToken):
        await edited.books.reader.list_entries(replace(query, page_token=to_token(query, LOWEST, note)))
