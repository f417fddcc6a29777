"""A book: what is known of one ledger while commands are applied to it, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from ledger_server.domain.commands import Command
from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import (
    Account,
    AccountVersion,
    BalanceChange,
    CategoryChange,
    CategoryVersion,
    EventKind,
    Ledger,
    ListedEntry,
    MemberChange,
    Monitor,
    MonitorReading,
    Transaction,
    TransactionStatus,
    Watched,
)
from ledger_server.domain.money import Counters
from ledger_server.domain.sizes import account_size, category_size, ledger_size, transaction_size, watched_size

Kept = TypeVar("Kept", Transaction, AccountVersion, CategoryVersion, Watched)

# An account's versions are folded by effective time when there are so many more of them.
TAIL_VERSIONS = 1_000


class TransactionWrite(NamedTuple):
    """A transaction at its new version, the version it replaces, and whether new entries were written for it."""

    transaction: Transaction
    replaced: Transaction | None
    wrote_entries: bool


@dataclass(slots=True)
class Effect:
    """What one accepted command does to the book, and so to the tables. Its position is its event's."""

    command: Command
    kind: EventKind
    position: int
    time: datetime
    ledger: Ledger | None = None
    # An account created or updated, with its counters.
    account: AccountVersion | None = None
    # That account as it was, if it is not new.
    account_before: AccountVersion | None = None
    # The transaction that the command is answered with, then others that it changed.
    transactions: tuple[TransactionWrite, ...] = ()
    # An entry whose metadata changed.
    entry: ListedEntry | None = None
    # The accounts whose lock_version moved, by account id.
    changes: list[BalanceChange] = field(default_factory=list)
    # How much of entries is reversed now, by entry id.
    reversed: Mapping[str, Reversed] = field(default_factory=dict)
    # A monitor created, updated or deleted.
    monitor: MonitorReading | None = None
    # The monitors that it triggered, resolved or ended, each told by an event of its own right behind the command's.
    edges: Sequence[MonitorReading] = ()
    # Of the accounts and categories whose monitors or bands are others now: by their ids; None when no monitor is left.
    watched: Mapping[str, Watched | None] | None = None

    # The category that the command is answered with.
    category: CategoryVersion | None = None
    # The categories whose counters moved or had an account move under them, by category id.
    category_changes: Sequence[CategoryChange] = ()
    member_changes: Sequence[MemberChange] = ()
    # Of what its event is about, an account or a category: the categories that it came under or was under until now,
    # and those that it was under before and is under after.
    joined_or_left: Sequence[str] = ()
    under: Sequence[str] = ()

    @property
    def transaction(self) -> Transaction | None:
        """The transaction that the command is answered with."""
        return self.transactions[0].transaction if self.transactions else None

    @property
    def entry_count(self) -> int:
        """How many entries it writes."""
        return sum([len(new.entry_set.entries) for new, _, wrote_entries in self.transactions if wrote_entries])

    @property
    def last_position(self) -> int:
        """That of the last of its events."""
        return self.position + len(self.edges)


class Reversed(NamedTuple):
    """How much of an entry is reversed, of how much."""

    reversed: int
    amount: int


class Committed(NamedTuple):
    """What a commit added to a ledger's log: its last position, and its events as they are stored; none: not known."""

    epoch: str
    position: int
    time: datetime
    events: list[bytes]


@dataclass(slots=True)
class Book:
    """One ledger's state, as far as the commands at hand need it; the write path loads it and may keep it.

    Everything that a command names and that exists must be loaded before the command is decided: what is not
    here is not found.
    """

    ledger: Ledger
    epoch: str
    position: int
    # Of the newest event; no event is older than the one before it.
    time: datetime
    digest: bytes
    accounts: dict[str, AccountVersion] = field(default_factory=dict)
    account_ids: dict[str, str] = field(default_factory=dict)
    currencies: dict[str, int] = field(default_factory=dict)
    transactions: dict[str, Transaction] = field(default_factory=dict)
    # Of non-archived transactions: by external id.
    transaction_ids: dict[str, str] = field(default_factory=dict)
    # Entries that commands of this batch name, by id.
    entries: dict[str, ListedEntry] = field(default_factory=dict)
    # An account that is not empty; looked for if the ledger is to be deleted.
    not_empty_account_id: str | None = None
    # Of entries of which something is reversed: by entry id. And of which transactions that is known.
    reversed: dict[str, Reversed] = field(default_factory=dict)
    reversals_known: dict[str, bool] = field(default_factory=dict)
    # How many monitors the ledger has; while there are none, none are looked for.
    monitor_count: int = 0
    # The monitors of the accounts and categories here: by the ids of these, and what each monitor is on.
    watched: dict[str, Watched] = field(default_factory=dict)
    monitored: dict[str, str] = field(default_factory=dict)
    # Categories that are not deleted, with all above them; by external id too.
    categories: dict[str, CategoryVersion] = field(default_factory=dict)
    category_ids: dict[str, str] = field(default_factory=dict)
    # The categories that an account or a category here is directly in; no key: in none.
    parents: dict[str, frozenset[str]] = field(default_factory=dict)
    # Filled for a command that nests categories, see load_nesting: what is directly in categories, and how much of what
    # moves the categories above have also otherwise. Those that are not named here have all of it otherwise.
    children: Mapping[str, frozenset[str]] = field(default_factory=dict)
    overlaps: Mapping[str, Counters] = field(default_factory=dict)
    # How much memory the above takes, roughly, in the units of sizes.py.
    size: int = 0
    # All categories above a member, as far as it was asked; what it is made of is in `parents`.
    _above: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    _undo: list[tuple[MutableMapping[str, Any], str, Any]] | None = None
    # What was there before the outermost block of which a refusal takes all back, where that changed something.
    _before: dict[tuple[int, str], Any] | None = None

    def find_account(self, ref: Ref) -> AccountVersion | None:
        account_id = ref.id if ref.external_id is None else self.account_ids.get(ref.external_id)
        return self.accounts.get(account_id) if account_id is not None else None

    def find_transaction(self, ref: Ref) -> Transaction | None:
        transaction_id = ref.id if ref.external_id is None else self.transaction_ids.get(ref.external_id)
        return self.transactions.get(transaction_id) if transaction_id is not None else None

    def find_monitor(self, monitor_id: str) -> Monitor | None:
        watched = self.watched.get(self.monitored.get(monitor_id, ""))
        return next((monitor for monitor in watched.monitors if monitor.id == monitor_id), None) if watched else None

    def find_category(self, ref: Ref) -> CategoryVersion | None:
        category_id = ref.id if ref.external_id is None else self.category_ids.get(ref.external_id)
        return self.categories.get(category_id) if category_id is not None else None

    def above(self, member_id: str) -> tuple[str, ...]:
        """The categories that an account or a category is under, directly or through others; by id."""
        found = self._above.get(member_id)
        if found is None:
            found = self._above[member_id] = tuple(sorted(self.climb(self.parents.get(member_id, ()))))
        return found

    def climb(self, category_ids: Iterable[str]) -> set[str]:
        """These categories and all above them."""
        reached: set[str] = set()
        ahead = list(category_ids)
        while ahead:
            category_id = ahead.pop()
            if category_id not in reached:
                reached.add(category_id)
                ahead += self.parents.get(category_id, ())
        return reached

    def apply(self, effect: Effect) -> None:
        """Makes the effect visible to the commands that follow."""
        self.position = effect.last_position
        if effect.ledger is not None and effect.ledger.id == self.ledger.id:
            self.size += ledger_size(effect.ledger) - ledger_size(self.ledger)
            self.ledger = effect.ledger
        if effect.account is not None:
            self._apply_account(effect.account)
        if effect.entry is not None:
            self._apply_entry(effect.entry)
        for transaction, replaced, _ in effect.transactions:
            self._apply_transaction(transaction, replaced)
        for change in effect.changes:
            self._put(self.accounts, change.after.account.id, change.after)
        if effect.category is not None:
            self._apply_category(effect.category)
        for _, category in effect.category_changes:
            self._put(self.categories, category.category.id, category)
        for member in effect.member_changes:
            self._apply_member(member)
        for entry_id, amount in effect.reversed.items():
            self._put(self.reversed, entry_id, amount)
        if effect.watched is not None:
            self._apply_monitors(effect, effect.watched)

    def keep(
        self, mapping: MutableMapping[str, Kept], key: str, new: Kept | None, size_of: Callable[[Kept], int]
    ) -> None:
        """Puts there what counts in the book's size, or takes it away; what moves balances only does not change it."""
        if (old := mapping.get(key)) is not None:
            self.size -= size_of(old)
        if new is not None:
            self.size += size_of(new)
        self._put(mapping, key, new)

    def forget_all_but_pending(self, most: int, size_max: int) -> None:
        """Lets go of transactions that are final, and of the oldest pending ones beyond so many or so large a book."""
        pending = TransactionStatus.PENDING
        for transaction in [t for t in self.transactions.values() if t.status != pending]:
            self._forget(transaction)
        if len(self.transactions) > most or self.size > size_max:
            for transaction in list(self.transactions.values()):
                self._forget(transaction)
                if len(self.transactions) <= most and self.size <= size_max:
                    break
        self.entries = {}
        self.reversed = {}
        self.reversals_known = {}
        self.children = {}
        self.overlaps = {}

    @contextmanager
    def all_or_nothing(self, *, refused_one_by_one: bool = False) -> Iterator[None]:
        """Takes back every effect applied within, if the block raises; may be nested.

        `refused_one_by_one`: a command that is refused within leaves the others as they are.
        """
        position, ledger, size = self.position, self.ledger, self.size
        outer, before = self._undo, self._before
        undo = self._undo = [] if outer is None else outer
        if before is None and not refused_one_by_one:
            self._before = {}
        begun = len(undo)
        try:
            yield
        except BaseException:
            for mapping, key, value in reversed(undo[begun:]):
                if value is None:
                    mapping.pop(key, None)
                else:
                    mapping[key] = value
            del undo[begun:]
            self.position, self.ledger, self.size = position, ledger, size
            self._above.clear()
            raise
        finally:
            self._undo, self._before = outer, before

    def value_to_stay(self, mapping: Mapping[str, Any], key: str) -> Any:
        """What is there also if the command that is decided now is refused."""
        here = mapping.get(key)
        return here if self._before is None else self._before.get((id(mapping), key), here)

    def _forget(self, transaction: Transaction) -> None:
        self.size -= transaction_size(transaction)
        del self.transactions[transaction.id]
        if transaction.external_id is not None and self.transaction_ids.get(transaction.external_id) == transaction.id:
            del self.transaction_ids[transaction.external_id]

    def _apply_account(self, version: AccountVersion) -> None:
        account: Account = version.account
        known = self.accounts.get(account.id)
        if known is not None and known.account.external_id is not None:
            self._put(self.account_ids, known.account.external_id, None)
        if account.external_id is not None and account.holds_external_id:
            self._put(self.account_ids, account.external_id, account.id)
        if account.currency not in self.currencies:
            self._put(self.currencies, account.currency, account.currency_exponent)
        self.keep(self.accounts, account.id, version, account_size)

    def _apply_category(self, version: CategoryVersion) -> None:
        category = version.category
        known = self.categories.get(category.id)
        if known is not None and known.category.external_id is not None:
            self._put(self.category_ids, known.category.external_id, None)
        if category.deleted_at is not None:
            self.keep(self.categories, category.id, None, category_size)
            for member_id in [member_id for member_id, ids in self.parents.items() if category.id in ids]:
                self._put(self.parents, member_id, self.parents[member_id] - {category.id} or None)
            self._put(self.parents, category.id, None)
            self._above.clear()
            return
        if category.external_id is not None:
            self._put(self.category_ids, category.external_id, category.id)
        if category.currency not in self.currencies:
            self._put(self.currencies, category.currency, category.currency_exponent)
        self.keep(self.categories, category.id, version, category_size)

    def _apply_member(self, change: MemberChange) -> None:
        member_id = change.account_id or change.member_category_id or ""
        parents = self.parents.get(member_id, frozenset())
        parents = parents | {change.category_id} if change.joins else parents - {change.category_id}
        self._put(self.parents, member_id, parents or None)
        if change.account_id is None:
            self._above.clear()
        else:
            self._above.pop(member_id, None)

    def _apply_entry(self, listed: ListedEntry) -> None:
        self._put(self.entries, listed.id, listed)
        transaction = self.transactions.get(listed.transaction_id)
        if transaction is not None:
            written = transaction.entry_set
            entries = tuple(
                entry._replace(edited=listed.entry.metadata) if entry_id == listed.id else entry
                for entry_id, entry in zip(written.entry_ids, written.entries, strict=True)
            )
            edited = transaction._replace(entry_set=written._replace(entries=entries))
            self.keep(self.transactions, transaction.id, edited, transaction_size)

    def _apply_transaction(self, transaction: Transaction, replaced: Transaction | None) -> None:
        if replaced is not None and replaced.external_id is not None and replaced.holds_external_id:
            self._put(self.transaction_ids, replaced.external_id, None)
        if transaction.external_id is not None and transaction.holds_external_id:
            self._put(self.transaction_ids, transaction.external_id, transaction.id)
        if replaced is None:
            self._put(self.reversals_known, transaction.id, True)
        self.keep(self.transactions, transaction.id, transaction, transaction_size)

    def _apply_monitors(self, effect: Effect, watched: Mapping[str, Watched | None]) -> None:
        for subject_id, monitors in watched.items():
            self.keep(self.watched, subject_id, monitors, watched_size)
        for monitor, *_ in (*effect.edges, effect.monitor) if effect.monitor is not None else effect.edges:
            is_there = monitor.deleted_at is None
            if is_there != (monitor.id in self.monitored):
                self.monitor_count += 1 if is_there else -1
                self._put(self.monitored, monitor.id, monitor.subject_id if is_there else None)

    def _put(self, mapping: MutableMapping[str, Any], key: str, value: Any) -> None:
        if self._undo is not None:
            self._undo.append((mapping, key, mapping.get(key)))
        if self._before is not None:
            self._before.setdefault((id(mapping), key), mapping.get(key))
        if value is None:
            mapping.pop(key, None)
        else:
            mapping[key] = value
