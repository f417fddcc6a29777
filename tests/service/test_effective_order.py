"""The list in effective order: what took effect when it was created is found along created order, the rest by an index.

Its pages are held against a plain sorted list; on books that have grown what they look at is counted.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from ledger_server.domain.commands import CreateTransaction
from ledger_server.domain.ids import new_id
from ledger_server.domain.inputs import EntryInput, Ref
from ledger_server.domain.model import Transaction, TransactionStatus
from ledger_server.domain.money import Direction
from ledger_server.posting.outcomes import Written
from ledger_server.reading import TransactionQuery, transactions, ways
from ledger_server.reading.page_tokens import HIGHEST, LOWEST, NUMBER_MAX, Key, to_token
from ledger_server.reading.queries import ANY_TIME, Between, ListOrder
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage import sql
from ledger_server.storage.embedded import EmbeddedPostgres
from ledger_server.storage.pool import read_pool
from tests.conftest import new_database
from tests.large_books import LargeBooks, write_large_books
from tests.service.test_large_lists import Explaining, rows_looked_at, rows_sorted
from tests.service.test_reading import Books, books_on, pages

EFFECTIVE = [ListOrder.EFFECTIVE_ASC, ListOrder.EFFECTIVE_DESC]
MICROSECOND, DAY, YEAR = timedelta(microseconds=1), timedelta(days=1), timedelta(days=365)
# More than an index entry is for, in one batch and over several.
BATCHES = (1, 70, 1, 40, 90, 1, 1, 30)
PAGE = 20
ROWS_MAX = 600
TRANSACTIONS = 6_000


@pytest.fixture(scope="module")
async def books(postgres: EmbeddedPostgres) -> AsyncIterator[Books]:
    """Books where about half took effect when they were created, some of them not at first, some of them no longer."""
    chance = random.Random(5)
    async with new_database(postgres) as dsn, books_on(dsn) as books:
        for _ in range(2):
            await books.create_account()
        for count in BATCHES:
            await create_together(books, [chosen(chance, books) for _ in range(count)])
        for versions in chance.sample(list(books.versions.values()), 60):
            await books.update(versions[-1], effective_at=chosen(chance, books) or versions[0].created_at)
            if chance.random() < 0.5:
                await books.update(versions[-1], effective_at=versions[0].created_at)
        await create_together(books, [None] * 10)
        yield books


def chosen(chance: random.Random, books: Books) -> datetime | None:
    """A time of effect: as a transaction has it by itself, or one at, next to, or far from when others were created."""
    created = [versions[0].created_at for versions in books.versions.values()]
    if not created or chance.random() < 0.5:
        return None
    away = chance.choice([0, 0, 0, 1, -1]) * MICROSECOND + chance.choice([0, 0, 0, 1, -1]) * chance.randrange(3) * DAY
    return chance.choice(created) + away


async def create_together(books: Books, times: list[datetime | None]) -> None:
    """Transactions of one batch, all created at one time."""
    debit, credit = [version.account.id for version in books.accounts]
    commands = [
        CreateTransaction(
            ledger_id=books.ledger_id,
            request_id=new_id(),
            status=TransactionStatus.PENDING,
            description="",
            effective_at=time,
            external_id=None,
            metadata={"third": str(n % 3)},
            entries=(
                EntryInput(Ref(debit, None), Direction.DEBIT, 1),
                EntryInput(Ref(credit, None), Direction.CREDIT, 1),
            ),
        )
        for n, time in enumerate(times)
    ]
    for answer in await books.lanes.submit(commands):
        assert isinstance(answer, Written)
        assert isinstance(answer.object, Transaction)
        books.versions[answer.object.id] = [answer.object]


def sorted_by(order: ListOrder, books: Books) -> list[Transaction]:
    stand = [versions[-1] for versions in books.versions.values()]
    return sorted(
        stand,
        key=lambda t: (t.created_at if order.is_created else t.effective_at, t.created_position),
        reverse=order.is_descending,
    )


def ids_of(listed: list[Transaction]) -> list[str]:
    return [transaction.id for transaction in listed]


def test_the_books_have_transactions_of_either_kind_and_equal_times(books: Books) -> None:
    listed = sorted_by(ListOrder.EFFECTIVE_ASC, books)
    at_once = {t.effective_at for t in listed if t.effective_at == t.created_at}
    elsewhere = [t for t in listed if t.effective_at != t.created_at]
    assert 50 < len(elsewhere) < len(listed) - 50
    assert len({t.created_at for t in listed}) < len(listed) / 10
    # Some of one kind take effect at the very time of others.
    assert len([t for t in elsewhere if t.effective_at in at_once]) > 20


@pytest.mark.parametrize("order", EFFECTIVE)
@pytest.mark.parametrize("size", [1, 2, 7, 64, 1_000])
async def test_pages_of_any_size_are_the_sorted_list(
    books: Books, order: ListOrder, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "BITE_ROWS_MAX", size + 3)
    query = TransactionQuery(ledger_id=books.ledger_id, page_size=size, order=order)
    assert ids_of(await pages(books.reader.list_transactions, query)) == ids_of(sorted_by(order, books))


@pytest.mark.parametrize("order", EFFECTIVE)
async def test_from_any_transaction_the_walk_goes_on_to_the_next_one(books: Books, order: ListOrder) -> None:
    expected = [ways.Match(micros(t.effective_at), t.created_position) for t in sorted_by(order, books)]
    walk = ways.Walk(sql.walk_transactions_by_effect, (*ANY_TIME.texts(), 0, NUMBER_MAX), by_effective_at=True)
    async with read_pool(books.dsn, size_max=1) as pool, pool.acquire() as connection:
        at = Snapshot(connection, books.ledger_id, 1, "", set())  # type: ignore[arg-type]
        after = HIGHEST if order.is_descending else LOWEST
        for match in expected:
            assert await walk.bite(at, after, order.is_descending, 1) == [match]
            after = Key.at(*match)
        assert await walk.bite(at, after, order.is_descending, 1) == []


@pytest.mark.parametrize("order", EFFECTIVE)
async def test_a_filter_is_tested_on_both_kinds(
    books: Books, order: ListOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "MATCHES_MAX", 3)
    monkeypatch.setattr(ways, "BITE_ROWS_MAX", 7)
    query = TransactionQuery(ledger_id=books.ledger_id, page_size=5, order=order, metadata={"third": "1"})
    expected = [t for t in sorted_by(order, books) if t.metadata["third"] == "1"]
    assert ids_of(await pages(books.reader.list_transactions, query)) == ids_of(expected)


@pytest.mark.parametrize("order", list(ListOrder))
@pytest.mark.parametrize("matches_max", [5, 10_000])
async def test_a_range_of_effective_times_has_both_kinds(
    books: Books, order: ListOrder, matches_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "MATCHES_MAX", matches_max)
    monkeypatch.setattr(ways, "BITE_ROWS_MAX", 9)
    listed = sorted_by(order, books)
    times = sorted({t.effective_at for t in listed})
    chance = random.Random(6)
    for _ in range(12):
        lower, upper = sorted(chance.sample(times, 2))
        for bounds in (Between(lower, upper), Between(lower, None), Between(None, upper), Between(lower, lower)):
            query = TransactionQuery(ledger_id=books.ledger_id, page_size=40, order=order, effective_at=bounds)
            expected = [t for t in listed if within(bounds, t.effective_at)]
            assert ids_of(await pages(books.reader.list_transactions, query)) == ids_of(expected)


def within(bounds: Between, time: datetime) -> bool:
    return (bounds.lower is None or bounds.lower <= time) and (bounds.upper is None or time < bounds.upper)


@pytest.fixture(scope="module", params=["none", "few", "half", "all but a few", "all, nearly", "all", "all in reverse"])
async def grown(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, LargeBooks]]:
    """Books by how many took effect at another time than their creation; the half, as what was there before them."""
    # How far from its creation transaction n took effect.
    away = {
        "none": "interval '0'",
        "few": "CASE WHEN n % 500 = 7 THEN interval '-365 days' ELSE interval '0' END",
        "half": f"CASE WHEN n < {TRANSACTIONS // 2} THEN interval '-365 days' ELSE interval '0' END",
        "all but a few": "CASE WHEN n % 500 = 7 THEN interval '0' ELSE interval '-365 days' END",
        "all, nearly": "interval '-17 milliseconds'",
        "all": "interval '-365 days'",
        "all in reverse": "interval '-365 days' - 2 * n * interval '1 millisecond'",
    }[request.param]
    async with new_database(postgres) as dsn:
        books = await write_large_books(dsn, 1_000, TRANSACTIONS)
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn)
        try:
            await connection.execute(
                f"""
                UPDATE transactions t
                SET effective_at = created_at + {away}
                FROM (SELECT created_position - {books.accounts + 1} AS n, transaction_id FROM transactions) s
                WHERE s.transaction_id = t.transaction_id
                """
            )
            await connection.execute("VACUUM (ANALYZE) transactions")
        finally:
            await connection.close()
        yield dsn, books


@pytest.mark.parametrize("order", EFFECTIVE)
async def test_a_page_anywhere_looks_at_few_rows(order: ListOrder, grown: tuple[str, LargeBooks]) -> None:
    dsn, books = grown
    query = TransactionQuery(ledger_id=books.ledger_id, page_size=PAGE, order=order)
    expected = await all_in_order(dsn, order)
    for part in (0, 1, 250, 500, 501, 750, 999):
        start = TRANSACTIONS * part // 1_000
        token = to_token(query, Key.at(*expected[start - 1][1:])) if start else ""
        listed, nodes = await explained(dsn, books, query, page_token=token)
        assert listed == [transaction_id for transaction_id, _, _ in expected[start : start + PAGE]]
        assert rows_looked_at(nodes) <= ROWS_MAX
        assert rows_sorted(nodes) <= ROWS_MAX


@pytest.mark.parametrize("order", list(ListOrder))
async def test_a_range_that_few_took_effect_in_looks_at_few_rows(
    order: ListOrder, grown: tuple[str, LargeBooks]
) -> None:
    """Even where many others were created, or by far most took effect at another time."""
    dsn, books = grown
    expected = await all_in_order(dsn, ListOrder.EFFECTIVE_ASC)
    created = [books.created_at(n) for n in (0, TRANSACTIONS - 1)]
    for first, last in ((created[0], created[1]), (created[1] - 50 * MICROSECOND, created[1] + DAY)):
        bounds = Between(first, last)
        matches = [each for each in expected if micros(first) <= each[1] < micros(last)]
        if len(matches) > 500:
            continue
        query = TransactionQuery(ledger_id=books.ledger_id, page_size=1_000, order=order, effective_at=bounds)
        listed, nodes = await explained(dsn, books, query)
        assert sorted(listed) == sorted([transaction_id for transaction_id, _, _ in matches])
        # Each match a few times: found, looked at, and loaded with its entries.
        assert rows_looked_at(nodes) <= ROWS_MAX + 20 * len(matches)


def micros(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=time.tzinfo)) // MICROSECOND


async def all_in_order(dsn: str, order: ListOrder) -> list[tuple[str, int, int]]:
    """All transactions' ids, times in microseconds and positions, sorted."""
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT transaction_id::text, effective_at, created_position FROM transactions")
    finally:
        await connection.close()
    found = [(row["transaction_id"], micros(row["effective_at"]), row["created_position"]) for row in rows]
    return sorted(found, key=lambda each: each[1:], reverse=order.is_descending)


async def explained(
    dsn: str, books: LargeBooks, query: TransactionQuery, *, page_token: str = ""
) -> tuple[list[str], list[dict[str, Any]]]:
    """A page's ids, and the nodes of the plans of all that was run for it."""
    async with read_pool(dsn, size_max=1) as pool, pool.acquire() as connection, connection.transaction():
        explaining: Any = Explaining(connection)  # type: ignore[arg-type]
        at = Snapshot(explaining, books.ledger_id, 1, "", set())
        page = await transactions.list_transactions(at, replace(query, page_token=page_token))
        return ids_of(list(page.items)), explaining.nodes
