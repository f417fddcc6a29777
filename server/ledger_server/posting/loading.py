"""Filling a book: everything that a batch's commands name, read in as few statements as there are kinds of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from ledger_server.domain.book import Book, Reversed
from ledger_server.domain.category_commands import (
    AddCategoryMember,
    CategoryCommand,
    CreateCategory,
    DeleteCategory,
    UpdateCategory,
)
from ledger_server.domain.commands import (
    ArchiveTransaction,
    Batch,
    Command,
    CreateAccount,
    CreateLedger,
    CreateTransaction,
    DeleteAccount,
    DeleteLedger,
    ExpireTransaction,
    PartialPostTransaction,
    ReverseTransaction,
    UpdateAccount,
    UpdateEntry,
    UpdateLedger,
    UpdateTransaction,
)
from ledger_server.domain.errors import TooManyEntries, Violation
from ledger_server.domain.ids import parse_entry_id
from ledger_server.domain.inputs import CategoryCondition, Ref
from ledger_server.domain.model import AccountStatus, AccountVersion, CategoryVersion, Monitor
from ledger_server.domain.money import ISO_4217
from ledger_server.domain.monitor_commands import CreateBalanceMonitor, DeleteBalanceMonitor, UpdateBalanceMonitor
from ledger_server.domain.monitors import watch
from ledger_server.domain.sizes import account_size, category_size, ledger_size, transaction_size, watched_size
from ledger_server.storage import sql
from ledger_server.storage.load import find_entries, listed_entries, transactions_with_entries
from ledger_server.storage.pool import Connection
from ledger_server.storage.rows import Row, account_version_from, category_version_from, ledger_from, monitor_from

# Of the transactions that commands name, together; a single command may name one of any size.
LOADED_ENTRIES_MAX = 50_000
# Commands that give a transaction an external id.
_NAMING = (CreateTransaction, UpdateTransaction, PartialPostTransaction, ReverseTransaction)


def flatten(commands: Iterable[Command]) -> list[Command]:
    """The commands with batches opened."""
    return list(chain.from_iterable(c.commands if isinstance(c, Batch) else (c,) for c in commands))


def transaction_external_ids(commands: Iterable[Command]) -> list[str]:
    """The external ids that new or updated transactions ask for."""
    return [command.external_id for command in commands if isinstance(command, _NAMING) and command.external_id]


def is_in_memory(book: Book, commands: Iterable[Command]) -> bool:
    """Whether `load` would find in the book all that the commands name.

    Never if a transaction is given another external id: it may give it up again in the same batch, so that no index
    would refuse one that is taken.
    """
    names = _Names(book)
    for command in commands:
        names.add(command)
    return names.is_empty


def new_book(ledger_id: int, row: Any) -> Book:
    """An empty book of the ledger as it stands; `row` is of lock_ledger.sql."""
    ledger = replace(ledger_from(ledger_id, row), deleted_at=row["deleted_at"])
    book = Book(ledger, row["epoch"], row["position"], row["event_time"], row["digest"])
    book.monitor_count = row["monitor_count"]
    book.size = ledger_size(ledger)
    return book


async def load(
    connection: Connection, book: Book, commands: Sequence[Command], held: Iterable[str], has_categories: bool
) -> None:
    """Loads what the commands name and the book has not got; `held` are external ids of transactions that are taken.

    `has_categories`: whether the ledger has ever had any; else nobody is in one. Raises TooManyEntries if there is more
    than should be loaded at once.
    """
    names = _Names(book)
    for command in commands:
        names.add(command)
    for external_id in held:
        names.add_transaction(Ref(None, external_id))
    names.add_renamed()
    if names.closing:
        ids, external_ids = (
            [each for each in column if each is not None] for column in zip(*names.closing, strict=True)
        )
        for row in await connection.fetch(sql.find_pending_zeroes, book.ledger.id, ids, external_ids):
            names.add_transaction(Ref(row["transaction_id"], None))
    await _load_transactions(connection, book, names, LOADED_ENTRIES_MAX if len(commands) > 1 else None)
    if names.monitor_ids:
        rows = await connection.fetch(sql.load_monitors_by_id, book.ledger.id, list(names.monitor_ids))
        for row in rows:
            if row["account_id"] is not None:
                names.add_account(Ref(row["account_id"], None))
            else:
                names.add_category(Ref(row["category_id"], None))
    new_account_ids = await _load_accounts(connection, book, names)
    if has_categories and (new_account_ids or names.category_ids or names.category_external_ids):
        await load_categories(
            connection, book, new_account_ids, sorted(names.category_ids), sorted(names.category_external_ids)
        )
    if names.entry_ids:
        rows = await find_entries(connection, book.ledger.id, list(names.entry_ids))
        listed = await listed_entries(connection, book.ledger.id, rows)
        book.entries = {entry.id: entry for entry in listed}
    if names.is_deleting:
        book.not_empty_account_id = await connection.fetchval(sql.find_not_empty, book.ledger.id)
    if names.currencies:
        rows = await connection.fetch(sql.load_currencies, book.ledger.id, list(names.currencies))
        book.currencies.update((row["currency"], row["currency_exponent"]) for row in rows)


class _Names:
    """The names in a batch of what its book has not got yet."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.account_ids: set[str] = set()
        self.account_external_ids: set[str] = set()
        self.transaction_ids: set[str] = set()
        self.transaction_external_ids: set[str] = set()
        self.currencies: set[str] = set()
        self.monitor_ids: set[str] = set()
        self.category_ids: set[str] = set()
        self.category_external_ids: set[str] = set()
        self.entry_ids: set[str] = set()
        # Whether the ledger itself is to be deleted.
        self.is_deleting = False
        # Accounts that are to be closed or deleted, so nothing may be pending on them.
        self.closing: set[Ref] = set()
        # Transactions that may be reversed, or be reversals that are archived.
        self.reversing: set[Ref] = set()
        # What is given an external id that it had not got; a command behind may name it so, or something else.
        self.renamed_accounts: set[Ref] = set()
        self.renamed_transactions: set[Ref] = set()

    @property
    def is_empty(self) -> bool:
        return not any(names for key, names in vars(self).items() if key != "_book")

    def add(self, command: Command) -> None:
        if isinstance(command, ReverseTransaction | ArchiveTransaction | ExpireTransaction):
            self.reversing.add(command.transaction)
        match command:
            case CreateTransaction():
                for entry in command.entries:
                    self.add_account(entry.account)
                self._add_category_conditions(command.category_conditions)
            case CreateAccount():
                self.add_account(Ref(None, command.external_id))
                self._add_currency(command.currency)
                self._add_category_ids(command.category_ids)
            case UpdateAccount():
                self._add_account_update(command)
            case CreateLedger() | UpdateLedger() | DeleteLedger():
                self.is_deleting = self.is_deleting or isinstance(command, DeleteLedger)
            case UpdateEntry():
                self.entry_ids.add(command.entry_id)
            case DeleteAccount():
                self.closing.add(command.account)
                self.add_account(command.account)
            case CreateBalanceMonitor() | UpdateBalanceMonitor() | DeleteBalanceMonitor():
                self._add_monitor_command(command)
            case CreateCategory() | UpdateCategory() | DeleteCategory() | AddCategoryMember():
                self._add_category_command(command)
            case _:
                self._add_change(command)

    def add_renamed(self) -> None:
        """Once all commands are added: what they may name by an external id that one of them gives it."""
        if any(ref.external_id for ref in self.closing):
            self.closing |= self.renamed_accounts
        if any(ref.external_id for ref in self.reversing):
            self.reversing |= self.renamed_transactions

    def _add_account_update(self, command: UpdateAccount) -> None:
        if command.status == AccountStatus.CLOSED:
            self.closing.add(command.account)
        if command.external_id:
            self.renamed_accounts.add(command.account)
        self.add_account(command.account)
        self.add_account(Ref(None, command.external_id))

    def _add_change(self, command: Any) -> None:
        """A command about a transaction that is there already."""
        if isinstance(command, UpdateTransaction) and command.external_id:
            self.renamed_transactions.add(command.transaction)
        self.add_transaction(command.transaction)
        for line in getattr(command, "entries", None) or ():
            if line.account is not None:
                self.add_account(line.account)
        for condition in getattr(command, "conditions", ()):
            self.add_account(condition.account)
        self._add_category_conditions(getattr(command, "category_conditions", ()))

    def _add_monitor_command(self, command: CreateBalanceMonitor | UpdateBalanceMonitor | DeleteBalanceMonitor) -> None:
        if not isinstance(command, CreateBalanceMonitor):
            if command.monitor_id not in self._book.monitored:
                self.monitor_ids.add(command.monitor_id)
        elif command.account is not None:
            self.add_account(command.account)
        elif command.category is not None:
            self.add_category(command.category)

    def _add_category_command(self, command: CategoryCommand) -> None:
        match command:
            case CreateCategory():
                self.add_category(Ref(None, command.external_id))
                self._add_currency(command.currency)
                self._add_category_ids(command.category_ids)
                return
            case UpdateCategory():
                self.add_category(Ref(None, command.external_id))
            case AddCategoryMember():
                if command.account is not None:
                    self.add_account(command.account)
                if command.member_category is not None:
                    self.add_category(command.member_category)
        self.add_category(command.category)

    def _add_category_conditions(self, conditions: Iterable[CategoryCondition]) -> None:
        for condition in conditions:
            self.add_category(condition.category)

    def _add_category_ids(self, category_ids: Iterable[str]) -> None:
        for category_id in category_ids:
            self.add_category(Ref(category_id, None))

    def _add_currency(self, currency: str) -> None:
        if currency not in ISO_4217 and currency not in self._book.currencies:
            self.currencies.add(currency)

    def add_category(self, ref: Ref) -> None:
        category_id, external_id = ref
        if category_id is not None:
            if category_id not in self._book.categories:
                self.category_ids.add(category_id)
        elif external_id and external_id not in self._book.category_ids:
            self.category_external_ids.add(external_id)

    def add_account(self, ref: Ref) -> None:
        account_id, external_id = ref
        if account_id is not None:
            if account_id not in self._book.accounts:
                self.account_ids.add(account_id)
        elif external_id and external_id not in self._book.account_ids:
            self.account_external_ids.add(external_id)

    def add_transaction(self, ref: Ref) -> None:
        transaction_id, external_id = ref
        if transaction_id is not None:
            if transaction_id not in self._book.transactions:
                self.transaction_ids.add(transaction_id)
        elif external_id is not None and external_id not in self._book.transaction_ids:
            self.transaction_external_ids.add(external_id)


async def _load_transactions(connection: Connection, book: Book, names: _Names, entries_max: int | None) -> None:
    heads = []
    if names.transaction_ids:
        heads += await connection.fetch(sql.load_transactions, book.ledger.id, list(names.transaction_ids))
    if names.transaction_external_ids:
        found = await connection.fetch(
            sql.load_transactions_by_external_id, book.ledger.id, list(names.transaction_external_ids)
        )
        known = {head["transaction_id"] for head in heads} | book.transactions.keys()
        heads += [head for head in found if head["transaction_id"] not in known]
    if entries_max is not None and sum(head["entry_count"] for head in heads) > entries_max:
        raise TooManyEntries.of(
            [Violation("commands", f"must name transactions of at most {entries_max} entries together")]
        )
    for transaction in await transactions_with_entries(connection, book.ledger.id, heads):
        book.keep(book.transactions, transaction.id, transaction, transaction_size)
        if transaction.external_id is not None and transaction.holds_external_id:
            book.transaction_ids[transaction.external_id] = transaction.id
        for entry in transaction.entry_set.entries:
            names.add_account(Ref(entry.after.account.id, None))
    await _load_reversed(connection, book, names)


async def _load_reversed(connection: Connection, book: Book, names: _Names) -> None:
    """How much is reversed of the entries that commands reverse, or free by archiving a pending reversal."""
    wanted: set[str] = set()
    for ref in names.reversing:
        transaction = book.find_transaction(ref)
        if transaction is not None:
            book.reversals_known[transaction.id] = True
            entries = transaction.entry_set
            wanted.update(entries.entry_ids)
            wanted.update(entry.reverses_entry_id for entry in entries.entries if entry.reverses_entry_id is not None)
    missing = {parse_entry_id(book.ledger.id, entry_id): entry_id for entry_id in wanted - book.reversed.keys()}
    if missing:
        rows = await connection.fetch(sql.load_entry_reversals, book.ledger.id, list(missing))
        book.reversed.update((missing[row["entry_id"]], Reversed(row["reversed"], row["amount"])) for row in rows)


async def _load_accounts(connection: Connection, book: Book, names: _Names) -> list[str]:
    """Loads accounts; the ids of those that the book had not got."""
    rows = []
    if names.account_ids:
        rows += await connection.fetch(sql.load_accounts, book.ledger.id, sorted(names.account_ids))
    if names.account_external_ids:
        rows += await connection.fetch(
            sql.load_accounts_by_external_id, book.ledger.id, sorted(names.account_external_ids)
        )
    new_ids = [row["account_id"] for row in rows if row["account_id"] not in book.accounts]
    for row in rows:
        version = account_version_from(row)
        # What the book has got is as new, or newer by commands applied since.
        known = book.accounts.get(version.account.id)
        if known is None:
            book.keep(book.accounts, version.account.id, version, account_size)
        version = known or version
        if version.account.external_id is not None and version.account.holds_external_id:
            book.account_ids[version.account.external_id] = version.account.id
    if book.monitor_count and rows:
        account_ids = [row["account_id"] for row in rows]
        monitors = await connection.fetch(sql.load_monitors_on_accounts, book.ledger.id, account_ids)
        _watch(book, monitors, book.accounts)
    return new_ids


def _watch(book: Book, rows: Sequence[Row], subjects: Mapping[str, AccountVersion | CategoryVersion]) -> None:
    """The monitors of what was just loaded; what is in memory is newer."""
    monitors: dict[str, list[Monitor]] = {}
    for monitor in map(monitor_from, rows):
        monitors.setdefault(monitor.subject_id, []).append(monitor)
    for subject_id, own in monitors.items():
        if subject_id not in book.watched:
            book.keep(book.watched, subject_id, watch(own, subjects[subject_id]), watched_size)
            book.monitored.update((monitor.id, subject_id) for monitor in own)


async def load_categories(
    connection: Connection,
    book: Book,
    account_ids: Sequence[str],
    category_ids: Sequence[str] = (),
    external_ids: Sequence[str] = (),
) -> None:
    """Loads all categories above these accounts, and these categories with all above them."""
    rows = await connection.fetch(sql.load_categories_above, book.ledger.id, account_ids, category_ids, external_ids)
    missing = {row["category_id"] for row in rows} - book.categories.keys()
    parents: dict[str, set[str]] = {}
    for row in rows:
        if row["member_id"] is not None:
            parents.setdefault(row["member_id"], set()).add(row["category_id"])
    for member_id, ids in parents.items():
        # What is in the book is as new, or newer.
        if member_id not in book.categories:
            book.parents[member_id] = frozenset(ids)
    if missing:
        for row in await connection.fetch(sql.load_categories, book.ledger.id, sorted(missing)):
            version = category_version_from(row)
            book.keep(book.categories, version.category.id, version, category_size)
            if version.category.external_id is not None:
                book.category_ids[version.category.external_id] = version.category.id
        if book.monitor_count:
            monitors = await connection.fetch(sql.load_monitors_on_categories, book.ledger.id, sorted(missing))
            _watch(book, monitors, book.categories)
