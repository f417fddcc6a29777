"""Lists with any filters, in any order, against a filter of our own over all objects; alone, and while others write."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest

from ledger_server.domain.errors import DatabaseUnavailable
from ledger_server.domain.inputs import BalanceCondition, Ref
from ledger_server.domain.model import AccountStatus, AccountVersion, ArchivedReason, Transaction, TransactionStatus
from ledger_server.domain.money import BalanceKind, Direction, NormalBalance, Operator, balance
from ledger_server.reading import AccountQuery, Page, TransactionQuery, ways
from ledger_server.reading.metadata import Check, Term, Terms
from ledger_server.reading.queries import AmountCondition, Between, ListOrder
from ledger_server.storage.embedded import EmbeddedPostgres
from tests.conftest import new_database
from tests.service.test_reading import (
    DAY_ZERO,
    Books,
    books_on,
    entry_query,
    first_touch,
    pages,
    pair,
    touches,
    write_categories,
    write_history,
)

T = TypeVar("T")
ROUNDS = 50
ROUNDS_LONG = 5_000
ROUNDS_OF_A_LEDGER = 100


@pytest.fixture(scope="module")
async def dsn(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    async with new_database(postgres) as dsn:
        yield dsn


@pytest.fixture(scope="module")
async def history(dsn: str) -> AsyncIterator[Books]:
    """A ledger with a random past, the same every time."""
    async with books_on(dsn) as books:
        await write_history(books, random.Random(7), 250)
        await write_categories(books)
        yield books


@pytest.fixture(params=["few matches", "many matches"])
def ways_taken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All matches of the best filter, or a walk because no filter has few enough; in bites of a few."""
    if request.param == "many matches":
        monkeypatch.setattr(ways, "MATCHES_MAX", 5)
    monkeypatch.setattr(ways, "FEW_MATCHES", 3)
    monkeypatch.setattr(ways, "BITE_ROWS_MAX", 7)


# Queries at random.


def transaction_query(chance: random.Random, books: Books) -> TransactionQuery:
    some = [chance.choice(versions) for versions in chance.sample(list(books.versions.values()), 3)]
    filters: dict[str, Callable[[], Any]] = {
        "ids": lambda: tuple(t.id for t in some),
        "account": lambda: Ref(chance.choice(books.accounts).account.id, None),
        "category_id": lambda: chance.choice(list(books.under)),
        "external_id": lambda: some[0].external_id,
        "statuses": lambda: frozenset(chance.sample(list(TransactionStatus), chance.randint(1, 2))),
        "archived_reasons": lambda: frozenset(chance.sample(list(ArchivedReason)[1:], chance.randint(1, 2))),
        "reverses_id": lambda: chance.choice([*books.reversed_by, some[0].id]),
        "partially_posts_id": lambda: chance.choice([t.partially_posts_id or t.id for t in some]),
        "amounts": lambda: tuple(amount_conditions(chance)),
        "metadata": lambda: chance.choice(({"colour": "red"}, {"colour": "blue"}, {"colour": "red", "size": "1"})),
        "metadata_terms": lambda: terms(chance),
        "created_at": lambda: between(chance, [t.created_at for t in some]),
        "updated_at": lambda: between(chance, [t.updated_at for t in some]),
        "posted_at": lambda: between(chance, [t.posted_at or t.created_at for t in some]),
        "effective_at": lambda: between(chance, [DAY_ZERO + timedelta(days=n) for n in (3, 10, 20)]),
    }
    chosen = chance.sample(list(filters), chance.choice((0, 1, 1, 1, 2, 2, 3)))
    return TransactionQuery(
        ledger_id=books.ledger_id,
        page_size=chance.choice((1, 3, 20, 1000)),
        order=chance.choice(list(ListOrder)),
        **{name: filters[name]() for name in chosen},
    )


def account_query(chance: random.Random, books: Books, *, with_balances: bool) -> AccountQuery:
    some = [version.account for version in chance.sample(books.accounts, 3)]
    filters: dict[str, Callable[[], Any]] = {
        "ids": lambda: tuple(account.id for account in some),
        "names": lambda: tuple(chance.sample(["a", "ACC", "account 1", "%", "_", "\\", "'"], chance.randint(1, 2))),
        "category_id": lambda: chance.choice(list(books.under)),
        "external_id": lambda: some[0].external_id,
        "statuses": lambda: frozenset(chance.sample(list(AccountStatus), 2)),
        "currency": lambda: chance.choice(("USD", "EUR", "' OR true --")),
        "normal_balance": lambda: chance.choice(list(NormalBalance)),
        "metadata": lambda: chance.choice(({"colour": "red"}, {"colour": "blue"})),
        "metadata_terms": lambda: terms(chance),
        "created_at": lambda: between(chance, [account.created_at for account in some]),
        "updated_at": lambda: between(chance, [account.updated_at for account in some]),
    }
    if with_balances:
        filters["balances"] = lambda: (
            BalanceCondition(
                chance.choice(list(BalanceKind)), chance.choice(list(Operator)), chance.randrange(-50, 500)
            ),
        )
    chosen = chance.sample(list(filters), chance.choice((0, 1, 1, 1, 2, 2, 3)))
    return AccountQuery(
        ledger_id=books.ledger_id,
        page_size=chance.choice((1, 2, 5, 1000)),
        order=chance.choice((ListOrder.CREATED_ASC, ListOrder.CREATED_DESC)),
        **{name: filters[name]() for name in chosen},
    )


def amount_conditions(chance: random.Random) -> Iterator[AmountCondition]:
    for _ in range(chance.randint(1, 2)):
        yield AmountCondition(chance.choice(list(Operator)), chance.randrange(150))


def between(chance: random.Random, times: Sequence[datetime]) -> Between:
    low, high = sorted(chance.sample(list(times), 2))
    return chance.choice((Between(low, high), Between(low, None), Between(None, high)))


def terms(chance: random.Random, depth: int = 0) -> Terms:
    parts = [term(chance, depth) for _ in range(chance.randint(1, 3))]
    cut = chance.randint(0, len(parts))
    return Terms(tuple(parts[:cut]), tuple(parts[cut:]))


def term(chance: random.Random, depth: int) -> Term | Terms:
    key = chance.choice(("colour", "colour", "size", "no such key"))
    match chance.randrange(6 if depth < 2 else 5):
        case 0:
            return Term(key, Check.EQUALS, (chance.choice(("red", "blue", "")),))
        case 1:
            return Term(key, Check.PRESENT)
        case 2:
            return Term(key, Check.ABSENT)
        case 3:
            return Term(key, Check.PREFIX, (chance.choice(("r", "bl", "'; DROP", "\U0010ffff")),))
        case 4:
            return Term(key, Check.ONE_OF, ("red", chance.choice(("blue", "green"))))
        case _:
            return terms(chance, depth + 1)


# What should be found.


def passes(query: TransactionQuery, versions: list[Transaction], books: Books) -> bool:
    t = versions[-1]
    return (
        (not query.ids or t.id in query.ids)
        and (query.account is None or touches(versions, str(query.account.id)))
        and (query.category_id is None or any(touches(versions, id_) for id_ in books.under[query.category_id]))
        and (
            query.external_id is None or (t.external_id == query.external_id and t.status != TransactionStatus.ARCHIVED)
        )
        and (not query.statuses or t.status in query.statuses)
        and (not query.archived_reasons or t.archived_reason in query.archived_reasons)
        and query.reverses_id in (None, t.reverses_id)
        and query.partially_posts_id in (None, t.partially_posts_id)
        and all(amount_holds(t, condition) for condition in query.amounts)
        and all(t.metadata.get(key) == value for key, value in query.metadata.items())
        and (query.metadata_terms is None or holds(query.metadata_terms, t.metadata))
        and within(query.created_at, t.created_at)
        and within(query.updated_at, t.updated_at)
        and within(query.posted_at, t.posted_at)
        and within(query.effective_at, t.effective_at)
    )


def amount_holds(transaction: Transaction, condition: AmountCondition) -> bool:
    entries = transaction.entry_set.entries
    if len({entry.after.account.currency for entry in entries}) > 1:
        return False
    amount = sum(entry.amount for entry in entries if entry.direction == Direction.CREDIT)
    return condition.operator.holds(amount, condition.demanded)


def holds(node: Term | Terms, metadata: Any) -> bool:
    if isinstance(node, Terms):
        return all(holds(part, metadata) for part in node.all) and (
            not node.any or any(holds(part, metadata) for part in node.any)
        )
    value = metadata.get(node.key)
    match node.test:
        case Check.PRESENT:
            return value is not None
        case Check.ABSENT:
            return value is None
        case Check.PREFIX:
            return value is not None and value.startswith(node.values[0])
        case _:
            return value in node.values


def within(bounds: Between, time: datetime | None) -> bool:
    if not bounds:
        return True
    return (
        time is not None
        and (bounds.lower is None or time >= bounds.lower)
        and (bounds.upper is None or time < bounds.upper)
    )


def expected_transactions(query: TransactionQuery, books: Books) -> list[Transaction]:
    def place(versions: list[Transaction]) -> tuple[Any, int]:
        if not query.order.is_created:
            return versions[-1].effective_at, versions[0].created_position
        if query.account is not None:
            return first_touch(versions, str(query.account.id)), versions[0].created_position
        return versions[0].created_position, 0

    found = [versions for versions in books.versions.values() if passes(query, versions, books)]
    return [books.newest(v) for v in sorted(found, key=place, reverse=query.order.is_descending)]


def account_passes(query: AccountQuery, version: AccountVersion, books: Books) -> bool:
    account = version.account
    return (
        (not query.ids or account.id in query.ids)
        and (not query.names or any(name.lower() in account.name.lower() for name in query.names))
        and (query.category_id is None or account.id in books.under[query.category_id])
        and query.external_id in (None, account.external_id)
        and (not query.statuses or account.status in query.statuses)
        and query.currency in (None, account.currency)
        and query.normal_balance in (None, account.normal_balance)
        and all(
            c.operator.holds(balance(c.balance, account.normal_balance, version.counters).amount, c.amount)
            for c in query.balances
        )
        and all(account.metadata.get(key) == value for key, value in query.metadata.items())
        and (query.metadata_terms is None or holds(query.metadata_terms, account.metadata))
        and within(query.created_at, account.created_at)
        and within(query.updated_at, account.updated_at)
    )


# The tests.


@pytest.mark.usefixtures("ways_taken")
async def test_transactions_by_random_filters_in_any_order(history: Books) -> None:
    await list_transactions_at_random(history, random.Random(11), ROUNDS)


@pytest.mark.usefixtures("ways_taken")
async def test_accounts_by_random_filters_in_both_orders(history: Books) -> None:
    await list_accounts_at_random(history, random.Random(12), ROUNDS)


@pytest.mark.long
@pytest.mark.usefixtures("ways_taken")
async def test_transactions_and_accounts_by_many_random_filters(history: Books) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    await list_transactions_at_random(history, random.Random(seed), ROUNDS_LONG)
    await list_accounts_at_random(history, random.Random(seed), ROUNDS_LONG)


async def list_transactions_at_random(history: Books, chance: random.Random, rounds: int) -> None:
    for _ in range(rounds):
        query = transaction_query(chance, history)
        assert await pages(history.reader.list_transactions, query) == expected_transactions(query, history), query


async def list_accounts_at_random(history: Books, chance: random.Random, rounds: int) -> None:
    ids = [version.account.id for version in history.accounts]
    accounts = (await history.reader.get_accounts(history.ledger_id, ids)).value
    for _ in range(rounds):
        query = account_query(chance, history, with_balances=True)
        expected = [version for version in accounts if account_passes(query, version, history)]
        if query.order.is_descending:
            expected.reverse()
        assert await pages(history.reader.list_accounts, query) == expected, query


async def test_what_does_not_change_is_found_once_while_others_write(dsn: str) -> None:
    await list_amid_writes(dsn, random.Random(13), ROUNDS)


@pytest.mark.long
async def test_what_does_not_change_is_found_once_in_many_ledgers_while_others_write(dsn: str) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    for n in range(ROUNDS_LONG // ROUNDS_OF_A_LEDGER):
        await list_amid_writes(dsn, random.Random(seed + n), ROUNDS_OF_A_LEDGER)
        print(f"{(n + 1) * ROUNDS_OF_A_LEDGER} lists", flush=True)


def patient(read: Callable[[Any], Awaitable[Page[Any]]]) -> Callable[[Any], Awaitable[Page[Any]]]:
    """As the client reads: again, when a page could not be filled in the second that a snapshot is held."""

    async def read_again(query: Any) -> Page[Any]:
        while True:
            try:
                return await read(query)
            except DatabaseUnavailable:
                continue

    return read_again


async def list_amid_writes(dsn: str, chance: random.Random, rounds: int) -> None:
    """Writers create, change and post transactions of their own; the older ones are found as if nothing happened."""
    async with books_on(dsn) as books:
        await write_history(books, chance, 150)
        await write_categories(books)
        still = replace(books, accounts=list(books.accounts), versions=dict(books.versions))
        ids = [version.account.id for version in still.accounts]
        accounts = (await books.reader.get_accounts(books.ledger_id, ids)).value
        others = await books.create_account(metadata={"colour": "red"}), await books.create_account()
        is_done = False
        written = 0

        async def write(chance: random.Random) -> None:
            nonlocal written
            # So many, that pages do not run after what is written while they are read.
            for _ in range(100):
                if is_done:
                    return
                when = DAY_ZERO + timedelta(days=chance.randrange(30))
                colour = {"colour": chance.choice(("red", "blue"))}
                transaction = await books.create_transaction(
                    *pair(*others, chance.randrange(100)), effective_at=when, metadata=colour
                )
                await books.update(transaction, effective_at=when + timedelta(days=1))
                await books.post(transaction)
                written += 1

        writers = [asyncio.create_task(write(random.Random(chance.random()))) for _ in range(2)]
        try:
            listed: Any
            for n in range(rounds):
                match n % 3:
                    case 0:
                        listed = replace(transaction_query(chance, still), page_size=chance.choice((7, 50)))
                        found = [t.id for t in await pages(patient(books.reader.list_transactions), listed)]
                        expected = [t.id for t in expected_transactions(listed, still)]
                        older = [id_ for id_ in found if id_ in still.versions]
                    case 1:
                        listed, entries = entry_query(chance, still)
                        listed = replace(listed, page_size=chance.choice((7, 50)))
                        everything = await pages(patient(books.reader.list_entries), listed)
                        found = [entry.id for entry in everything]
                        expected = [entry.id for entry in entries]
                        older = [entry.id for entry in everything if entry.transaction_id in still.versions]
                    case _:
                        listed = replace(account_query(chance, still, with_balances=True), page_size=3)
                        found = [
                            version.account.id for version in await pages(patient(books.reader.list_accounts), listed)
                        ]
                        expected = [v.account.id for v in accounts if account_passes(listed, v, still)]
                        if listed.order.is_descending:
                            expected.reverse()
                        older = [id_ for id_ in found if id_ in ids]
                assert older == expected, listed
                # In effective order a transaction may move ahead while the pages are read.
                assert not listed.order.is_created or len(found) == len(set(found)), listed
        finally:
            is_done = True
            await asyncio.gather(*writers)
        assert written


def test_every_filter_is_among_those_that_tests_choose_from() -> None:
    """A filter added to a query is added to its test; what is deleted has tests of its own."""
    of_the_page = {"ledger_id", "page_size", "page_token", "min_position", "order", "as_of", "include_deleted"}
    tested = transaction_query.__code__.co_consts, account_query.__code__.co_consts
    for query, consts in zip((TransactionQuery, AccountQuery), tested, strict=True):
        names = {name for const in consts for name in (const if isinstance(const, tuple) else (const,))}
        assert {f.name for f in fields(query)} - of_the_page <= names
