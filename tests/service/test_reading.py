"""Reads against a model: the model is what the write path answered, kept in lists."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

import asyncpg
import pytest

from ledger_server.domain.category_commands import (
    AddCategoryMember,
    CreateCategory,
    DeleteCategory,
    RemoveCategoryMember,
)
from ledger_server.domain.commands import (
    ArchiveTransaction,
    Command,
    CreateAccount,
    CreateLedger,
    CreateTransaction,
    PartialPostTransaction,
    PostTransaction,
    ReverseTransaction,
    UpdateEntry,
    UpdateLedger,
    UpdateTransaction,
)
from ledger_server.domain.errors import (
    AccountNotFound,
    DatabaseUnavailable,
    EntryNotFound,
    InvalidPageToken,
    LedgerNotFound,
    PositionNotReached,
    TransactionNotFound,
)
from ledger_server.domain.ids import NIL_ID, REGISTRY, entry_id, ledger_text, new_id, parse_entry_id
from ledger_server.domain.inputs import BalanceCondition, EntryInput, MetadataPatch, PartialEntry, Ref
from ledger_server.domain.model import (
    AccountVersion,
    ArchivedReason,
    CategoryVersion,
    Ledger,
    ListedEntry,
    Transaction,
    TransactionStatus,
)
from ledger_server.domain.money import BalanceKind, Direction, NormalBalance, Operator
from ledger_server.posting.lanes import Lanes
from ledger_server.posting.outcomes import Written
from ledger_server.posting.worker import Worker
from ledger_server.reading import (
    NOW,
    AccountQuery,
    EntryQuery,
    ExplanationQuery,
    LedgerQuery,
    Page,
    Reader,
    TransactionQuery,
    TrialBalanceQuery,
    VersionQuery,
    entry_sets,
    paging,
    snapshots,
)
from ledger_server.reading.metadata import Check, Term, Terms
from ledger_server.reading.queries import AmountCondition, Between, ListOrder
from ledger_server.reading.snapshots import seconds_to_wait
from ledger_server.storage.embedded import EmbeddedPostgres
from ledger_server.storage.pool import read_pool
from ledger_server.storage.statistics import fresh_statistics
from tests.conftest import new_database
from tests.patience import PATIENCE_SECONDS

PENDING, POSTED, ARCHIVED = TransactionStatus.PENDING, TransactionStatus.POSTED, TransactionStatus.ARCHIVED
COLOURS: tuple[dict[str, str], ...] = ({}, {"colour": "red"}, {"colour": "blue", "size": "'; DROP TABLE entries; --"})
DAY_ZERO = datetime(2026, 1, 1, tzinfo=UTC)
DAY_TEN, DAY_TWENTY = DAY_ZERO + timedelta(days=10), DAY_ZERO + timedelta(days=20)
T = TypeVar("T")


@dataclass
class Books:
    """A ledger being written and read, and the model of it."""

    lanes: Lanes
    reader: Reader
    dsn: str
    ledger_id: int = REGISTRY
    accounts: list[AccountVersion] = field(default_factory=list)
    # By transaction id, in created order: every version that the write path answered with.
    versions: dict[str, list[Transaction]] = field(default_factory=dict)
    reversed_by: dict[str, tuple[str, ...]] = field(default_factory=dict)
    # The accounts that are under each category.
    under: dict[str, set[str]] = field(default_factory=dict)
    category_commands: int = 0

    def newest(self, versions: list[Transaction]) -> Transaction:
        return versions[-1]._replace(reversed_by=self.reversed_by.get(versions[-1].id, ()))

    async def write(self, command: Command) -> Written:
        """One command; its answer goes into the model."""
        command.request_id = new_id()
        (answer,) = await self.lanes.submit([command])
        if not isinstance(answer, Written):
            raise AssertionError(answer)
        if isinstance(answer.object, Transaction):
            self.versions.setdefault(answer.object.id, []).append(answer.object)
        elif isinstance(answer.object, AccountVersion):
            self.accounts.append(answer.object)
        elif isinstance(answer.object, CategoryVersion):
            self.category_commands += 1
        return answer

    async def create_ledger(self, metadata: dict[str, str] | None = None) -> Ledger:
        answer = await self.write(CreateLedger(ledger_id=REGISTRY, name="L", description="", metadata=metadata or {}))
        assert isinstance(answer.object, Ledger)
        return answer.object

    async def create_account(self, **values: Any) -> AccountVersion:
        defaults: dict[str, Any] = {
            "name": "A",
            "description": "",
            "normal_balance": NormalBalance.DEBIT,
            "currency": "USD",
            "currency_exponent": None,
            "external_id": None,
            "metadata": {},
        }
        await self.write(CreateAccount(ledger_id=self.ledger_id, **defaults | values))
        return self.accounts[-1]

    async def create_category(self, *parents: str) -> str:
        command = CreateCategory(
            ledger_id=self.ledger_id,
            name="C",
            description="",
            normal_balance=NormalBalance.DEBIT,
            currency="USD",
            currency_exponent=None,
            external_id=None,
            metadata={},
            category_ids=parents,
        )
        await self.write(command)
        return command.category_id

    async def join(self, category_id: str, account_id: str, command: type[AddCategoryMember]) -> None:
        category, account = Ref(category_id, None), Ref(account_id, None)
        await self.write(command(ledger_id=self.ledger_id, category=category, account=account, member_category=None))

    async def create_transaction(self, *entries: EntryInput, **values: Any) -> Transaction:
        defaults: dict[str, Any] = {
            "status": PENDING,
            "description": "",
            "effective_at": None,
            "external_id": None,
            "metadata": {},
        }
        answer = await self.write(CreateTransaction(ledger_id=self.ledger_id, entries=entries, **defaults | values))
        assert isinstance(answer.object, Transaction)
        return answer.object

    async def update(self, transaction: Transaction, **values: Any) -> None:
        defaults: dict[str, Any] = dict.fromkeys(
            ("version", "description", "effective_at", "external_id", "metadata", "entries")
        )
        await self.write(
            UpdateTransaction(ledger_id=self.ledger_id, transaction=Ref(transaction.id, None), **defaults | values)
        )

    async def post(self, transaction: Transaction, **values: Any) -> None:
        defaults: dict[str, Any] = dict.fromkeys(("version", "entries", "effective_at", "metadata"))
        await self.write(
            PostTransaction(ledger_id=self.ledger_id, transaction=Ref(transaction.id, None), **defaults | values)
        )

    async def post_in_part(self, transaction: Transaction) -> None:
        """One pair of its entries; what stays of it is not answered, so the model reads it."""
        entry_set = transaction.entry_set
        parts = [PartialEntry(entry_set.entry_ids[n], None, None, entry_set.entries[n].amount) for n in (0, 1)]
        command = PartialPostTransaction(
            ledger_id=self.ledger_id,
            transaction=Ref(transaction.id, None),
            version=None,
            entries=tuple(parts),
            effective_at=None,
            description="",
            external_id=None,
            metadata={},
        )
        await self.write(command)
        read = await self.reader.get_transaction(self.ledger_id, Ref(transaction.id, None))
        self.versions[transaction.id].append(read.value)

    async def reverse(self, transaction: Transaction) -> None:
        command = ReverseTransaction(
            ledger_id=self.ledger_id,
            transaction=Ref(transaction.id, None),
            version=None,
            status=POSTED,
            entries=None,
            effective_at=None,
            description="",
            external_id=None,
            metadata={},
        )
        reversal = (await self.write(command)).object
        assert isinstance(reversal, Transaction)
        self.reversed_by[transaction.id] = (reversal.id,)

    async def archive(self, transaction: Transaction) -> None:
        ref = Ref(transaction.id, None)
        await self.write(ArchiveTransaction(ledger_id=self.ledger_id, transaction=ref, version=None, metadata=None))


@asynccontextmanager
async def books_on(dsn: str) -> AsyncIterator[Books]:
    async with (
        fresh_statistics(dsn),
        read_pool(dsn, size_max=4) as pool,
        Lanes([Worker(dsn)], pool, lambda _ledger_id, _position: None).running() as lanes,
    ):
        books = Books(lanes, Reader(pool), dsn)
        books.ledger_id = (await books.create_ledger()).id
        yield books


@pytest.fixture(scope="module")
async def dsn(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    async with new_database(postgres) as dsn:
        yield dsn


@pytest.fixture
async def books(dsn: str) -> AsyncIterator[Books]:
    async with books_on(dsn) as books:
        yield books


@pytest.fixture(scope="module")
async def history(dsn: str) -> AsyncIterator[Books]:
    """A ledger with a random past, the same every time."""
    async with books_on(dsn) as books:
        await write_history(books, random.Random(1), 150)
        await write_categories(books)
        yield books


async def write_history(books: Books, chance: random.Random, count: int) -> None:
    for n in range(6):
        await books.create_account(
            currency="USD" if n < 4 else "EUR",
            normal_balance=NormalBalance(1 + n % 2),
            external_id=f"account {n}" if n % 3 else None,
            metadata=COLOURS[n % 3],
        )
    for n in range(count):
        await write_something(books, chance, n)


async def write_categories(books: Books) -> None:
    """One with an account that left it, another with one that is in both, one without any, and a deleted one."""
    ids = [version.account.id for version in books.accounts[:4]]
    top = await books.create_category()
    nested, left, empty, deleted = [await books.create_category(top) for _ in range(4)]
    for category_id, n in ((top, 0), (nested, 0), (nested, 1), (left, 2), (left, 3), (deleted, 3)):
        await books.join(category_id, ids[n], AddCategoryMember)
    await books.join(left, ids[2], RemoveCategoryMember)
    await books.write(DeleteCategory(ledger_id=books.ledger_id, category=Ref(deleted, None)))
    books.under = {top: {ids[0], ids[1], ids[3]}, nested: set(ids[:2]), left: {ids[3]}, empty: set()}


async def write_something(books: Books, chance: random.Random, n: int) -> None:
    pending = [versions[-1] for versions in books.versions.values() if versions[-1].status == PENDING]
    whole = [
        t for t in (v[-1] for v in books.versions.values()) if t.status == POSTED and t.id not in books.reversed_by
    ]
    what = chance.randrange(12)
    if what == 10 and whole:
        await books.reverse(chance.choice(whole))
        return
    if what < 4 or not pending:
        await books.create_transaction(
            *lines(books, chance),
            status=chance.choice((PENDING, PENDING, POSTED)),
            external_id=f"transaction {n}" if n % 2 else None,
            metadata=chance.choice(COLOURS),
            effective_at=chance.choice((None, DAY_ZERO + timedelta(days=chance.randrange(30)))),
        )
        return
    transaction = chance.choice(pending)
    if what == 4:
        await books.update(transaction, metadata=MetadataPatch(True, chance.choice(COLOURS)))
    elif what == 5:
        await books.update(transaction, entries=lines(books, chance))
    elif what == 6:
        await books.update(transaction, effective_at=DAY_ZERO + timedelta(days=chance.randrange(30)))
    elif what == 7:
        await books.archive(transaction)
    elif what == 11 and any(entry.amount for entry in transaction.entry_set.entries[:2]):
        await books.post_in_part(transaction)
    elif what == 8:
        await books.post(transaction, entries=chance.choice((None, lines(books, chance))))
    else:
        first, *others = lines(books, chance)
        never = BalanceCondition(BalanceKind.POSTED, Operator.LT, -(10**30))
        await books.create_transaction(
            first._replace(conditions=(never,)),
            *others,
            external_id=f"transaction {n}",
            metadata=chance.choice(COLOURS),
            archive_on_condition_failure=True,
        )


def lines(books: Books, chance: random.Random) -> tuple[EntryInput, ...]:
    accounts = [a for a in books.accounts if a.account.currency == chance.choice(("USD", "EUR"))] or books.accounts[:4]
    accounts = [a for a in accounts if a.account.currency == accounts[0].account.currency]
    pairs = []
    for _ in range(chance.randint(1, 3)):
        amount = chance.randrange(100)
        metadata = chance.choice((None, {"line": "x"}))
        pairs += [EntryInput(Ref(chance.choice(accounts).account.id, None), d, amount, metadata) for d in Direction]
    return tuple(pairs)


def pair(debit: AccountVersion, credit: AccountVersion, amount: int = 1) -> tuple[EntryInput, EntryInput]:
    return (
        EntryInput(Ref(debit.account.id, None), Direction.DEBIT, amount),
        EntryInput(Ref(credit.account.id, None), Direction.CREDIT, amount),
    )


async def pages(read: Callable[[Any], Awaitable[Page[T]]], query: Any) -> list[T]:
    """All items of all pages; no page is larger than asked for, and only the last has no token."""
    items: list[T] = []
    while True:
        page = await read(query)
        assert len(page.items) <= query.page_size
        items += page.items
        if not page.next_page_token:
            return items
        query = replace(query, page_token=page.next_page_token)


def holds(metadata: Any, wanted: dict[str, str]) -> bool:
    return all(metadata.get(key) == value for key, value in wanted.items())


def _place_on_account(listed: ListedEntry) -> tuple[int, int]:
    """What one command wrote for two transactions comes in their order, new one first."""
    line = parse_entry_id(listed.entry.after.account.ledger_id, listed.id)
    assert line is not None
    return listed.entry.after.lock_version, line


def model_entries(versions: list[Transaction]) -> list[ListedEntry]:
    """Entries of a transaction, oldest first: each set once, discarded by the version that brought the next."""
    sets = list({v.entry_set.first_line: v for v in reversed(versions)}.values())[::-1]
    listed = []
    for version, following in zip(sets, [*sets[1:], None], strict=True):
        entry_set = version.entry_set
        listed += [
            ListedEntry(
                entry_set.entry_ids[n],
                version.id,
                version.version,
                version.status,
                version.effective_at,
                version.updated_at,
                following and following.updated_at,
                entry,
            )
            for n, entry in enumerate(entry_set.entries)
        ]
    return listed


def touches(versions: list[Transaction], account_id: str) -> bool:
    """Whether it ever moved the account; what a failed condition archived moved none."""
    return any(
        entry.after.account.id == account_id
        for version in versions
        for entry in version.entry_set.entries
        if version.archived_reason != ArchivedReason.CONDITION_FAILED
    )


def first_touch(versions: list[Transaction], account_id: str) -> int:
    """The position at which it first moved the account."""
    return min((version.position for version in versions if touches([version], account_id)), default=0)


# What was written is what is read.


async def test_every_object_reads_as_it_was_last_written(history: Books) -> None:
    reader, ledger_id = history.reader, history.ledger_id
    for versions in history.versions.values():
        newest = history.newest(versions)
        read = await reader.get_transaction(ledger_id, Ref(newest.id, None))
        assert read.value == newest
        if newest.external_id is not None and newest.status != ARCHIVED:
            assert (await reader.get_transaction(ledger_id, Ref(None, newest.external_id))).value == newest
    ledger = await reader.get_ledger(ledger_id)
    assert ledger.value.id == ledger_id
    assert (read.position, read.epoch) == (ledger.position, ledger.epoch)
    # One event a command, and every command of the model was accepted; a partial post writes two versions.
    positions = {version.position for versions in history.versions.values() for version in versions}
    assert ledger.position == len(history.accounts) + len(positions) + history.category_commands


async def test_an_account_reads_with_its_newest_balances(history: Books) -> None:
    newest = {version.account.id: version for version in history.accounts}
    moves = [v for versions in history.versions.values() for v in versions]
    for move in sorted(moves, key=lambda v: v.position):
        for entry in move.entry_set.entries:
            if entry.after.lock_version > newest[entry.after.account.id].lock_version:
                newest[entry.after.account.id] = entry.after
    ids = list(newest)
    read = await history.reader.get_accounts(history.ledger_id, [*ids, ids[0]])
    for account in read.value:
        # A discarded line moves an account without leaving an entry, so the last entry may be older.
        assert account.lock_version >= newest[account.account.id].lock_version
        assert account.account == newest[account.account.id].account
        assert (await history.reader.get_account(history.ledger_id, Ref(account.account.id, None))).value == account
        if account.account.external_id is not None:
            by_name = await history.reader.get_account(history.ledger_id, Ref(None, account.account.external_id))
            assert by_name.value == account
    assert read.value[-1] == read.value[0]


async def test_versions_read_as_they_were(history: Books) -> None:
    for versions in history.versions.values():
        query = VersionQuery(ledger_id=history.ledger_id, page_size=2, transaction=Ref(versions[0].id, None))
        assert await pages(history.reader.list_transaction_versions, query) == versions


async def test_versions_of_a_transaction_in_any_range_and_both_orders(history: Books) -> None:
    chance = random.Random(4)
    many = [versions for versions in history.versions.values() if len(versions) > 1]
    for _ in range(60):
        versions = chance.choice(many)
        times = Between(*sorted(chance.choice(versions).updated_at for _ in range(2)))
        low, high = sorted(chance.randrange(len(versions) + 2) for _ in range(2))
        query = VersionQuery(
            ledger_id=history.ledger_id,
            page_size=chance.choice((1, 2, 1_000)),
            transaction=Ref(versions[0].id, None),
            newest_first=chance.random() < 0.5,
            version_lower_bound=chance.choice((None, low)),
            version_upper_bound=chance.choice((None, high)),
            written_at=chance.choice((Between(), times, Between(times.lower, None), Between(None, times.upper))),
        )
        expected = [
            version
            for version in versions
            if (query.version_lower_bound is None or version.version >= query.version_lower_bound)
            and (query.version_upper_bound is None or version.version < query.version_upper_bound)
            and (query.written_at.lower is None or version.updated_at >= query.written_at.lower)
            and (query.written_at.upper is None or version.updated_at < query.written_at.upper)
        ]
        if query.newest_first:
            expected.reverse()
        assert await pages(history.reader.list_transaction_versions, query) == expected, query


async def test_every_entry_says_when_it_was_written_and_discarded(history: Books) -> None:
    entries = [entry for versions in history.versions.values() for entry in model_entries(versions)]
    assert any(entry.discarded_at for entry in entries)
    for entry in entries:
        assert (await history.reader.get_entry(history.ledger_id, entry.id)).value == entry


async def test_an_id_of_another_time_names_no_entry(history: Books) -> None:
    """After a restore, positions are handed out a second time: what is there now is not what the id was of."""
    lists = (
        EntryQuery(ledger_id=history.ledger_id, page_size=10),
        EntryQuery(ledger_id=history.ledger_id, page_size=10, order=ListOrder.EFFECTIVE_ASC),
    )
    for versions in islice(history.versions.values(), 10):
        (entry, *_) = model_entries(versions)
        line = parse_entry_id(history.ledger_id, entry.id)
        assert line is not None
        before = entry_id(history.ledger_id, entry.created_at - timedelta(milliseconds=1), line)
        assert parse_entry_id(history.ledger_id, before) == line
        with pytest.raises(EntryNotFound):
            await history.reader.get_entry(history.ledger_id, before)
        account = Ref(entry.entry.after.account.id, None)
        patch = MetadataPatch(True, {"line": "another"})
        update = UpdateEntry(ledger_id=history.ledger_id, request_id=new_id(), entry_id=before, metadata=patch)
        (refused,) = await history.lanes.submit([update])
        assert isinstance(refused, EntryNotFound)
        for query in (*lists, *(replace(each, account=account) for each in lists)):
            both = replace(query, ids=frozenset([before, entry.id]), include_discarded=True)
            found = [each.id for each in await pages(history.reader.list_entries, both)]
            assert found == [entry.id]
            none = replace(query, ids=frozenset([before]), include_discarded=True)
            assert await pages(history.reader.list_entries, none) == []


# Lists against the model: random filters, random page sizes.


async def test_accounts_by_any_filters(history: Books) -> None:
    chance = random.Random(2)
    by_id = {
        v.account.id: v
        for v in (await history.reader.get_accounts(history.ledger_id, [v.account.id for v in history.accounts])).value
    }
    for _ in range(60):
        query = AccountQuery(
            ledger_id=history.ledger_id,
            page_size=chance.randint(1, 5),
            currency=chance.choice((None, "USD", "EUR", "' OR true --")),
            normal_balance=chance.choice((None, *NormalBalance)),
            metadata=chance.choice(COLOURS),
            external_id=chance.choice((None, None, None, "account 1", "account 4", "nobody")),
        )
        expected = [
            version
            for version in by_id.values()
            if query.currency in (None, version.account.currency)
            and query.normal_balance in (None, version.account.normal_balance)
            and query.external_id in (None, version.account.external_id)
            and holds(version.account.metadata, dict(query.metadata))
        ]
        assert await pages(history.reader.list_accounts, query) == expected


async def test_transactions_by_any_filters(history: Books) -> None:
    chance = random.Random(3)
    external_ids = [versions[0].external_id for versions in history.versions.values() if versions[0].external_id]
    for _ in range(100):
        account = chance.choice((None, *history.accounts))
        query = TransactionQuery(
            ledger_id=history.ledger_id,
            page_size=chance.choice((1, 3, 20, 1000)),
            account=None if account is None else Ref(account.account.id, None),
            external_id=chance.choice((None, None, chance.choice(external_ids))),
            statuses=frozenset(chance.sample(list(TransactionStatus), chance.randrange(3))),
            metadata=chance.choice(COLOURS),
        )
        expected = [
            history.newest(versions)
            for versions in sorted(
                history.versions.values(),
                key=lambda versions: (
                    -versions[0].position if account is None else -first_touch(versions, account.account.id)
                ),
            )
            if (account is None or touches(versions, account.account.id))
            and (
                query.external_id is None
                or (versions[-1].external_id == query.external_id and versions[-1].status != ARCHIVED)
            )
            and (not query.statuses or versions[-1].status in query.statuses)
            and holds(versions[-1].metadata, dict(query.metadata))
        ]
        assert await pages(history.reader.list_transactions, query) == expected


@pytest.mark.parametrize("queries", [100, pytest.param(1_000, marks=pytest.mark.long)])
async def test_entries_by_any_filters(history: Books, queries: int) -> None:
    chance = random.Random(4)
    for _ in range(queries):
        query, expected = entry_query(chance, history)
        assert await pages(history.reader.list_entries, query) == expected, query


def entry_query(chance: random.Random, history: Books) -> tuple[EntryQuery, list[ListedEntry]]:
    """A query at random, most often with few filters, and what it should find."""
    account = chance.choice(history.accounts).account
    versions = chance.choice(list(history.versions.values()))
    owner = chance.choice(("account", "transaction", "ledger"))
    some = [entry for v in chance.choices(list(history.versions.values()), k=20) for entry in model_entries(v)]
    order = chance.choice(list(ListOrder))
    include_discarded = order.is_created and chance.choice((False, True))
    written = [e.entry.after.lock_version for e in of_account_newest_first(history, account.id)]
    times = sorted(entry.created_at for entry in chance.sample(some, 2))
    filters: dict[str, Callable[[], Any]] = {
        "direction": lambda: chance.choice(list(Direction)),
        "statuses": lambda: frozenset(chance.sample(list(TransactionStatus), chance.randint(1, 2))),
        "as_of_lock_version": lambda: chance.choice(
            (None, *written) if owner == "account" and order.is_created and not include_discarded else (None,)
        ),
        "effective_at": lambda: chance.choice(
            (Between(DAY_TEN, DAY_TWENTY), Between(DAY_TEN, None), Between(None, DAY_TWENTY))
        ),
        "amounts": lambda: (AmountCondition(chance.choice(list(Operator)), chance.randrange(100)),),
        "metadata": lambda: {"line": "x"},
        "metadata_terms": lambda: Terms((Term("line", chance.choice((Check.ABSENT, Check.PRESENT))),), ()),
        "lock_version_lower_bound": lambda: chance.randrange(40),
        "lock_version_upper_bound": lambda: chance.randrange(80),
        "ids": lambda: frozenset(entry.id for entry in some[:40]),
        "category_id": lambda: chance.choice(list(history.under)),
        "created_at": lambda: chance.choice((Between(*times), Between(times[0], None), Between(None, times[1]))),
        "updated_at": lambda: chance.choice((Between(*times), Between(times[0], None), Between(None, times[1]))),
    }
    chosen = chance.sample(list(filters), chance.choice((0, 1, 1, 1, 2, 2, 3, 4)))
    query = EntryQuery(
        ledger_id=history.ledger_id,
        page_size=chance.choice((1, 3, 20, 1000)),
        account=Ref(account.id, None) if owner == "account" else None,
        transaction=Ref(versions[0].id, None) if owner == "transaction" else None,
        include_discarded=include_discarded,
        order=order,
        **{name: filters[name]() for name in chosen},
    )
    return query, [entry for entry in in_order(history, query, versions) if passes(query, entry, history)]


def in_order(history: Books, query: EntryQuery, versions: list[Transaction]) -> list[ListedEntry]:
    """The entries of the query's owner in its order."""
    descending = query.order.is_descending
    if query.account is not None and query.order.is_created:
        entries = of_account_newest_first(history, str(query.account.id))
        return entries if descending else entries[::-1]

    def place(versions: list[Transaction]) -> tuple[Any, ...]:
        created = versions[0].created_position
        return (created,) if query.order.is_created else (versions[-1].effective_at, created)

    owners = list(history.versions.values()) if query.transaction is None else [versions]
    owners.sort(key=place, reverse=descending)
    return [entry for own in owners for entry in model_entries(own)[:: -1 if descending else 1]]


def of_account_newest_first(history: Books, account_id: str) -> list[ListedEntry]:
    entries = [
        entry
        for versions in history.versions.values()
        if versions[0].archived_reason != ArchivedReason.CONDITION_FAILED
        for entry in model_entries(versions)
        if entry.entry.after.account.id == account_id
    ]
    return sorted(entries, key=_place_on_account, reverse=True)


def passes(query: EntryQuery, listed: ListedEntry, history: Books) -> bool:
    lower, upper = query.effective_at
    account_id = listed.entry.after.account.id
    moved = history.versions[listed.transaction_id][0].archived_reason != ArchivedReason.CONDITION_FAILED
    return (
        (query.account is None or (query.account.id == account_id and moved))
        and (query.category_id is None or (account_id in history.under[query.category_id] and moved))
        and (not query.ids or listed.id in query.ids)
        and (query.updated_at.lower is None or query.updated_at.lower <= (listed.discarded_at or listed.created_at))
        and (query.updated_at.upper is None or (listed.discarded_at or listed.created_at) < query.updated_at.upper)
        and (query.created_at.lower is None or query.created_at.lower <= listed.created_at)
        and (query.created_at.upper is None or listed.created_at < query.created_at.upper)
        and query.direction in (None, listed.entry.direction)
        and (not query.statuses or listed.status in query.statuses)
        and (query.include_discarded or is_standing(query, listed, history))
        and (lower is None or listed.effective_at >= lower)
        and (upper is None or listed.effective_at < upper)
        and all(c.operator.holds(listed.entry.amount, c.demanded) for c in query.amounts)
        and holds(listed.entry.metadata or {}, dict(query.metadata))
        and (
            query.metadata_terms is None
            or (Term("line", Check.PRESENT) in query.metadata_terms.all) == bool(listed.entry.metadata)
        )
        and (query.lock_version_lower_bound or 0) <= listed.entry.after.lock_version
        and (query.lock_version_upper_bound is None or listed.entry.after.lock_version < query.lock_version_upper_bound)
    )


def is_standing(query: EntryQuery, listed: ListedEntry, history: Books) -> bool:
    """Whether the entry stands, now or on its account at the lock_version asked for."""
    if query.as_of_lock_version is None:
        return listed.discarded_at is None
    if listed.entry.after.lock_version > query.as_of_lock_version:
        return False
    (as_of_position,) = {
        entry.entry.after.position
        for entry in of_account_newest_first(history, listed.entry.after.account.id)
        if entry.entry.after.lock_version == query.as_of_lock_version
    }
    first_line = history.versions[listed.transaction_id][listed.transaction_version].entry_set.first_line
    later = [
        version.position
        for version in history.versions[listed.transaction_id]
        if version.version > listed.transaction_version and version.entry_set.first_line != first_line
    ]
    return not later or min(later) > as_of_position


@pytest.mark.parametrize("seconds", [0.4, 0.0], ids=["in one go", "out of time after each bite"])
@pytest.mark.parametrize("queries", [50, pytest.param(500, marks=pytest.mark.long)])
async def test_small_bites_find_the_same(
    history: Books, monkeypatch: pytest.MonkeyPatch, seconds: float, queries: int
) -> None:
    monkeypatch.setattr(paging, "SCAN_SECONDS", seconds)
    monkeypatch.setattr(entry_sets, "VERSIONS_MAX", 2)
    monkeypatch.setattr(entry_sets, "BITE_ENTRIES_MIN", 2)
    monkeypatch.setattr(entry_sets, "BITE_ENTRIES_MAX", 3)
    monkeypatch.setattr("ledger_server.reading.ledgers.BITE_ROWS", 3)
    monkeypatch.setattr("ledger_server.reading.ways.BITE_ROWS_MAX", 3)
    monkeypatch.setattr(paging, "BITE_VERSIONS_MIN", 2)
    monkeypatch.setattr(paging, "BITE_VERSIONS_MAX", 3)
    await test_accounts_by_any_filters(history)
    await test_transactions_by_any_filters(history)
    await test_entries_by_any_filters(history, queries)


async def test_a_page_that_would_outgrow_a_message_is_cut(history: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_BYTES_MAX", 6_000)
    query = TransactionQuery(ledger_id=history.ledger_id, page_size=1000)
    first = await history.reader.list_transactions(query)
    assert 0 < len(first.items) < 10
    assert len(await pages(history.reader.list_transactions, query)) == len(history.versions)


# Writers at work.


async def test_pages_read_while_others_write_miss_nothing_and_repeat_nothing(books: Books) -> None:
    debit, credit = await books.create_account(), await books.create_account()
    for _ in range(40):
        await books.create_transaction(*pair(debit, credit))
    before = list(books.versions)
    is_done = False

    async def write() -> None:
        while not is_done:
            transaction = await books.create_transaction(*pair(debit, credit))
            await books.post(transaction)
            await books.create_account()

    writer = asyncio.create_task(write())
    try:
        for account in (None, Ref(debit.account.id, None)):
            query = TransactionQuery(ledger_id=books.ledger_id, page_size=3, account=account)
            listed = [t.id for t in await pages(books.reader.list_transactions, query)]
            assert len(listed) == len(set(listed))
            assert listed[-40:] == before[::-1]
        entries = EntryQuery(ledger_id=books.ledger_id, page_size=7, account=Ref(debit.account.id, None))
        ids = [entry.id for entry in await pages(books.reader.list_entries, entries)]
        assert len(ids) == len(set(ids))
        assert len(ids) >= 40
        accounts_before = len(books.accounts)
        accounts = await pages(books.reader.list_accounts, AccountQuery(ledger_id=books.ledger_id, page_size=3))
        assert [v.account.id for v in accounts[:accounts_before]] == [
            v.account.id for v in books.accounts[:accounts_before]
        ]
    finally:
        is_done = True
        await writer


async def test_everything_in_a_read_is_of_one_moment(books: Books) -> None:
    debit, credit = await books.create_account(), await books.create_account()
    is_done = False

    async def write() -> None:
        while not is_done:
            await books.create_transaction(*pair(debit, credit), status=POSTED)

    writer = asyncio.create_task(write())
    try:
        for _ in range(50):
            read = await books.reader.get_accounts(books.ledger_id, [debit.account.id, credit.account.id])
            one, other = read.value
            assert one.counters.posted_debits == other.counters.posted_credits
            # Two accounts were the first two commands, and every command since was a posting.
            assert read.position == 2 + one.lock_version
            page = await books.reader.list_transactions(TransactionQuery(ledger_id=books.ledger_id, page_size=1))
            assert [t.position for t in page.items] in ([page.position], [])
    finally:
        is_done = True
        await writer


async def test_ledgers_list_oldest_first_and_the_registry_is_not_among_them(books: Books) -> None:
    run = str(books.ledger_id)
    made = [await books.create_ledger({"run": run, "n": str(n % 2)}) for n in range(5)]

    async def listed(query: LedgerQuery) -> list[Ledger]:
        ledgers = []
        while True:
            page = await books.reader.list_ledgers(query)
            ledgers += [read.value for read in page.items]
            if not page.next_page_token:
                return ledgers
            query = replace(query, page_token=page.next_page_token)

    everything = await listed(LedgerQuery(page_size=2))
    assert REGISTRY not in {ledger.id for ledger in everything}
    assert everything[-5:] == made
    assert await listed(LedgerQuery(page_size=1, metadata={"run": run, "n": "0"})) == made[::2]
    ids = frozenset([ledger_text(made[1].id), NIL_ID, new_id()])
    assert await listed(LedgerQuery(page_size=2, ids=ids)) == [made[1]]
    assert await listed(LedgerQuery(page_size=2, names=("%",))) == []
    mine = {"run": run}
    one, two = made[1].created_at, made[3].created_at
    assert await listed(LedgerQuery(page_size=1, metadata=mine, created_at=Between(one, None))) == made[1:]
    assert await listed(LedgerQuery(page_size=1, metadata=mine, created_at=Between(None, two))) == made[:3]
    assert await listed(LedgerQuery(page_size=1, created_at=Between(one, two))) == made[1:3]
    assert await listed(LedgerQuery(page_size=2, names=("l",))) == everything
    terms = Terms((Term("run", Check.EQUALS, (run,)), Term("n", Check.EQUALS, ("0",))), ())
    assert await listed(LedgerQuery(page_size=2, metadata_terms=terms)) == made[::2]
    change = UpdateLedger(ledger_id=made[0].id, name="Changed", description=None, metadata=None)
    answer = await books.write(change)
    assert isinstance(answer.object, Ledger)
    changed = Between(answer.object.updated_at, None)
    assert await listed(LedgerQuery(page_size=1, metadata=mine, updated_at=changed)) == [answer.object]
    assert await listed(LedgerQuery(page_size=3, metadata=mine, updated_at=Between(one, two))) == made[1:3]


# Refusals.


async def test_what_is_not_there_or_of_another_ledger_is_not_found(history: Books, books: Books) -> None:
    reader, ledger_id, stranger = history.reader, history.ledger_id, books.ledger_id
    account = history.accounts[1].account
    versions = next(v for v in history.versions.values() if v[-1].external_id and v[-1].status != ARCHIVED)
    entry = model_entries(versions)[0]
    for unknown in (REGISTRY, 1):
        with pytest.raises(LedgerNotFound):
            await reader.get_ledger(unknown)
        with pytest.raises(LedgerNotFound):
            await reader.list_accounts(AccountQuery(ledger_id=unknown, page_size=1))
    for account_ref in (Ref(account.id, None), Ref(None, account.external_id)):
        await reader.get_account(ledger_id, account_ref)
        for read in (
            reader.get_account(stranger, account_ref),
            reader.list_entries(EntryQuery(ledger_id=stranger, page_size=1, account=account_ref)),
            reader.list_transactions(TransactionQuery(ledger_id=stranger, page_size=1, account=account_ref)),
        ):
            with pytest.raises(AccountNotFound):
                await read
    for transaction in (Ref(versions[0].id, None), Ref(None, versions[-1].external_id)):
        await reader.get_transaction(ledger_id, transaction)
        for transaction_read in (
            reader.get_transaction(stranger, transaction),
            reader.list_entries(EntryQuery(ledger_id=stranger, page_size=1, transaction=transaction)),
            reader.list_transaction_versions(VersionQuery(ledger_id=stranger, page_size=1, transaction=transaction)),
        ):
            with pytest.raises(TransactionNotFound):
                await transaction_read
    with pytest.raises(EntryNotFound):
        await reader.get_entry(stranger, entry.id)
    missing = [new_id(), new_id()]
    with pytest.raises(AccountNotFound) as refusal:
        await reader.get_accounts(ledger_id, [account.id, *missing])
    assert [violation.subject for violation in refusal.value.violations] == missing


async def test_an_external_id_finds_the_transaction_that_is_not_archived(books: Books) -> None:
    debit, credit = await books.create_account(), await books.create_account()
    first = await books.create_transaction(*pair(debit, credit), external_id="booking")
    await books.archive(first)
    with pytest.raises(TransactionNotFound):
        await books.reader.get_transaction(books.ledger_id, Ref(None, "booking"))
    second = await books.create_transaction(*pair(debit, credit), external_id="booking")
    assert (await books.reader.get_transaction(books.ledger_id, Ref(None, "booking"))).value == second


async def test_a_token_is_good_for_its_own_query_only(history: Books) -> None:
    query = TransactionQuery(ledger_id=history.ledger_id, page_size=2)
    token = (await history.reader.list_transactions(query)).next_page_token
    for other in (replace(query, statuses=frozenset({POSTED})), replace(query, metadata={"colour": "red"})):
        with pytest.raises(InvalidPageToken):
            await history.reader.list_transactions(replace(other, page_token=token))
    with pytest.raises(InvalidPageToken):
        await history.reader.list_accounts(AccountQuery(ledger_id=history.ledger_id, page_size=2, page_token=token))
    with pytest.raises(InvalidPageToken):
        await history.reader.list_ledgers(LedgerQuery(page_size=2, page_token=token))


# Time.


async def test_min_position_waits_for_the_command_and_sees_it(books: Books) -> None:
    position = (await books.reader.get_ledger(books.ledger_id)).position
    waiting = asyncio.create_task(books.reader.get_ledger(books.ledger_id, position + 1))
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    account = await books.create_account()
    assert (await waiting).position >= position + 1
    page = await books.reader.list_accounts(
        AccountQuery(ledger_id=books.ledger_id, page_size=1, min_position=position + 1)
    )
    assert page.items == [account]


@pytest.mark.parametrize(("timeout", "seconds"), [(0.3, 0.2), (0.1, 0.05), (None, 2.0), (60.0, 2.0)])
def test_a_position_is_waited_for_so_long_that_its_absence_can_be_told(timeout: float | None, seconds: float) -> None:
    assert seconds_to_wait(timeout) == pytest.approx(seconds)


@pytest.mark.parametrize("timeout", [None, 60.0])
async def test_min_position_gives_up_in_time(books: Books, timeout: float | None) -> None:
    position = (await books.reader.get_ledger(books.ledger_id)).position
    began = time.monotonic()
    with pytest.raises(PositionNotReached) as refusal:
        await books.reader.get_ledger(books.ledger_id, position + 1, timeout)
    assert 2.0 <= time.monotonic() - began < 30.0
    assert refusal.value.retry_seconds
    assert refusal.value.metadata == {"position": str(position)}


async def test_a_read_ends_with_its_deadline_and_leaves_the_pool_whole(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocker: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(books.dsn)
    try:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        for _ in range(6):
            with pytest.raises(TimeoutError):
                await books.reader.get_account(books.ledger_id, Ref(new_id(), None), timeout=0.1)
        # Without a deadline of its own it still holds no snapshot for longer than this.
        monkeypatch.setattr(snapshots, "SNAPSHOT_SECONDS", 0.5)
        with pytest.raises(DatabaseUnavailable, match="too slow"):
            await books.reader.get_account(books.ledger_id, Ref(new_id(), None))
        await transaction.rollback()
    finally:
        await blocker.close()
    await books.create_account()
    assert len((await books.reader.list_accounts(AccountQuery(ledger_id=books.ledger_id, page_size=5))).items) == 1


async def test_every_read_that_waits_in_vain_says_so_before_its_deadline(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that take several snapshots too: the first waits as long as the caller's deadline allows, and no longer."""
    account = await books.create_account()
    position = (await books.reader.get_ledger(books.ledger_id)).position
    pages_of: dict[str, Any] = {"ledger_id": books.ledger_id, "page_size": 1, "min_position": position + 1}
    ref = Ref(account.account.id, None)
    reads: list[Callable[[float], Awaitable[object]]] = [
        lambda timeout: books.reader.get_accounts(books.ledger_id, [account.account.id], NOW, position + 1, timeout),
        lambda timeout: books.reader.get_trial_balance(TrialBalanceQuery(**pages_of), timeout),
        lambda timeout: books.reader.explain_balance(
            ExplanationQuery(**pages_of, account=ref, balance=BalanceKind.POSTED), timeout
        ),
        lambda timeout: books.reader.get_category(books.ledger_id, ref, NOW, position + 1, timeout),
        lambda timeout: books.reader.list_entries(EntryQuery(**pages_of, account=ref), timeout),
    ]
    deadlines = list[float | None]()

    def soon(timeout: float | None) -> float:
        deadlines.append(timeout)
        return 0.1

    monkeypatch.setattr(snapshots, "seconds_to_wait", soon)
    for read in reads:
        with pytest.raises(PositionNotReached):
            await read(PATIENCE_SECONDS)
    assert len(deadlines) == len(reads)
    assert all(deadline is not None and 0 < deadline <= PATIENCE_SECONDS for deadline in deadlines)


async def test_entries_are_listed_once_though_transactions_come_in_between_their_pages(books: Books) -> None:
    """A page may end within a transaction: whatever is written before the next one, no entry is listed again."""
    one, two = await books.create_account(), await books.create_account()
    lines = [*pair(one, two, 1), *pair(one, two, 2), *pair(two, one, 3)]
    days = [DAY_ZERO + timedelta(days=n) for n in range(3)]
    for order in ListOrder:
        made = [await books.create_transaction(*lines, effective_at=day) for day in (days[0], days[2])]
        query = EntryQuery(ledger_id=books.ledger_id, page_size=4, order=order)
        found, count = [], 0
        while True:
            page = await books.reader.list_entries(query)
            found += [entry.id for entry in page.items if entry.transaction_id in {t.id for t in made}]
            if not page.next_page_token:
                break
            query = replace(query, page_token=page.next_page_token)
            # A few of them, or the pages would run after what is written.
            if (count := count + 1) < 8:
                await books.create_transaction(*lines, effective_at=days[1])
        assert sorted(found) == sorted(entry.id for t in made for entry in model_entries([t])), order


async def test_entries_are_found_by_when_their_metadata_changed(books: Books) -> None:
    one, two = await books.create_account(), await books.create_account()
    first = await books.create_transaction(*pair(one, two, 1))
    await books.create_transaction(*pair(one, two, 2))
    edited = model_entries([first])[0].id
    patch = MetadataPatch(True, {"line": "new"})
    await books.write(UpdateEntry(ledger_id=books.ledger_id, entry_id=edited, metadata=patch))
    third = await books.create_transaction(*pair(one, two, 3))
    behind_first = first.created_at + timedelta(microseconds=1)
    for of_account in (None, Ref(one.account.id, None)):
        for order in (ListOrder.CREATED_ASC, ListOrder.EFFECTIVE_DESC):
            everything = EntryQuery(ledger_id=books.ledger_id, page_size=1, order=order, account=of_account)

            async def found(everything: EntryQuery = everything, **filters: Any) -> list[str]:
                return [entry.id for entry in await pages(books.reader.list_entries, replace(everything, **filters))]

            assert edited in await found(updated_at=Between(behind_first, third.created_at))
            assert edited in await found(updated_at=Between(behind_first, None))
            assert edited not in await found(updated_at=Between(None, behind_first))
            assert await found(metadata={"line": "new"}) == [edited]


async def test_entries_are_listed_once_though_one_ceases_to_be_what_is_asked_for(books: Books) -> None:
    """The entry that a page ends with may not be among those asked for any more when the next page is."""
    one, two = await books.create_account(), await books.create_account()
    marked = {"mark": "yes"}
    for order in ListOrder:
        lines = [line._replace(metadata=marked) for line in (*pair(one, two, 1), *pair(one, two, 2))]
        made = await books.create_transaction(*lines)
        wanted = [entry.id for entry in model_entries([made])]
        asked = Ref(made.id, None)
        query = EntryQuery(ledger_id=books.ledger_id, page_size=1, order=order, transaction=asked, metadata=marked)
        found: list[str] = []
        while not found or query.page_token:
            page = await books.reader.list_entries(query)
            found += [entry.id for entry in page.items]
            query = replace(query, page_token=page.next_page_token)
            if len(found) == 2:
                patch = MetadataPatch(True, {"mark": "no"})
                await books.write(UpdateEntry(ledger_id=books.ledger_id, entry_id=found[-1], metadata=patch))
        assert found == (wanted[::-1] if order.is_descending else wanted), order


async def test_entries_of_others_are_listed_though_a_begun_transaction_is_none_of_those_asked_for(books: Books) -> None:
    """A page ends within a transaction, of a later version than its neighbours, that is posted before the next page."""
    one, two = await books.create_account(), await books.create_account()
    for order in ListOrder:
        made = [await books.create_transaction(*pair(one, two, n), effective_at=DAY_ZERO) for n in (1, 2, 3)]
        begun = made[-1] if order.is_descending else made[0]
        await books.update(begun, entries=pair(one, two, 4))
        pending = frozenset({PENDING})
        query = EntryQuery(ledger_id=books.ledger_id, page_size=1, order=order, statuses=pending)
        first = await books.reader.list_entries(query)
        assert [entry.transaction_id for entry in first.items] == [begun.id]
        await books.post(begun)
        rest = await pages(books.reader.list_entries, replace(query, page_token=first.next_page_token))
        others = made[-2::-1] if order.is_descending else made[1:]
        assert [entry.transaction_id for entry in rest] == [t.id for t in others for _ in range(2)], order
        for transaction in others:
            await books.post(transaction)


async def test_transactions_by_amounts_that_no_entry_could_have(books: Books) -> None:
    """An amount is a sum of entries, and may have more digits than any."""
    one, two = await books.create_account(), await books.create_account()
    most = 10**36 - 1
    largest = await books.create_transaction(*pair(one, two, most))
    larger = await books.create_transaction(*pair(one, two, most), *pair(one, two, most))

    async def found(*conditions: AmountCondition) -> list[str]:
        query = TransactionQuery(ledger_id=books.ledger_id, page_size=100, amounts=conditions)
        return [transaction.id for transaction in await pages(books.reader.list_transactions, query)]

    assert await found(AmountCondition(Operator.GT, most)) == [larger.id]
    assert await found(AmountCondition(Operator.GTE, most)) == [larger.id, largest.id]
    assert await found(AmountCondition(Operator.NE, most)) == [larger.id]
    assert await found(AmountCondition(Operator.LTE, most)) == [largest.id]
