"""The nouns of the ledger: accounts and transactions, each a value at one version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from ledger_server.domain.ids import entry_ids
from ledger_server.domain.money import BalanceKind, Counters, Direction, NormalBalance, Operator

Metadata = Mapping[str, str]


class TransactionStatus(IntEnum):
    """Where a transaction stands; numbered as in the protos and the tables."""

    PENDING = 1
    POSTED = 2
    ARCHIVED = 3


class ArchivedReason(IntEnum):
    """Why a transaction is archived; numbered as in the protos and the tables."""

    NOT_ARCHIVED = 0
    REQUESTED = 1
    CONDITION_FAILED = 2
    EXPIRED = 3
    FULLY_POSTED = 4


class AccountStatus(IntEnum):
    """Whether an account takes entries; numbered as in the protos and the tables."""

    OPEN = 1
    DEBITS_FROZEN = 2
    CREDITS_FROZEN = 3
    FROZEN = 4
    CLOSED = 5

    def takes(self, direction: Direction) -> bool:
        """Whether entries in the direction may be written."""
        if self == AccountStatus.DEBITS_FROZEN:
            return direction == Direction.CREDIT
        if self == AccountStatus.CREDITS_FROZEN:
            return direction == Direction.DEBIT
        return self == AccountStatus.OPEN


class BalanceLimit(NamedTuple):
    """The bounds of one balance; None does not bind."""

    kind: BalanceKind
    min: int | None
    max: int | None


# At most one for each balance.
BalanceLimits = tuple[BalanceLimit, ...]


class EventKind(IntEnum):
    """What a command did; numbered as in the protos."""

    LEDGER_CREATED = 1
    LEDGER_UPDATED = 2
    ACCOUNT_CREATED = 3
    ACCOUNT_UPDATED = 4
    TRANSACTION_CREATED = 5
    TRANSACTION_UPDATED = 6
    TRANSACTION_POSTED = 7
    TRANSACTION_ARCHIVED = 8
    TRANSACTION_PARTIALLY_POSTED = 9
    TRANSACTION_REVERSED = 10
    CATEGORY_CREATED = 20
    CATEGORY_UPDATED = 21
    CATEGORY_DELETED = 22
    CATEGORY_MEMBER_ADDED = 23
    CATEGORY_MEMBER_REMOVED = 24
    MONITOR_CREATED = 40
    MONITOR_UPDATED = 41
    MONITOR_DELETED = 42
    MONITOR_TRIGGERED = 43
    MONITOR_RESOLVED = 44

    ACCOUNT_DELETED = 50
    ENTRY_UPDATED = 51
    LEDGER_DELETED = 52


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger, without its log."""

    id: int
    name: str
    description: str
    metadata: Metadata
    created_at: datetime
    updated_at: datetime
    closed_before: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What is not money about an account."""

    id: str
    ledger_id: int
    name: str
    description: str
    normal_balance: NormalBalance
    currency: str
    currency_exponent: int
    external_id: str | None
    metadata: Metadata
    created_position: int
    created_at: datetime
    updated_at: datetime
    status: AccountStatus = AccountStatus.OPEN
    limits: BalanceLimits = ()
    # Deleted accounts are closed, for good, and hold no external id.
    deleted_at: datetime | None = None

    @property
    def holds_external_id(self) -> bool:
        """Whether its external id is taken by it."""
        return self.external_id is not None and self.deleted_at is None


@dataclass(slots=True)
class AccountVersion:
    """An account with its counters at one lock_version, and the position of the command that wrote it. Immutable.

    balances_message: room for whoever serializes the balances to remember the bytes; no part of the value.
    """

    account: Account
    lock_version: int
    counters: Counters
    position: int
    balances_message: bytes | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Category:
    """What is not money about a category."""

    id: str
    ledger_id: int
    name: str
    description: str
    normal_balance: NormalBalance
    currency: str
    currency_exponent: int
    external_id: str | None
    metadata: Metadata
    created_position: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


@dataclass(slots=True)
class CategoryVersion:
    """A category with its counters, the sums over all accounts under it, and the position that wrote them. Immutable.

    balances_message: as in AccountVersion.
    """

    category: Category
    counters: Counters
    position: int
    balances_message: bytes | None = field(default=None, compare=False, repr=False)


class Entry(NamedTuple):
    """A line of a transaction, immutable. `after` is its account after the whole command that wrote it."""

    after: AccountVersion
    direction: Direction
    amount: int
    metadata: Metadata | None
    # The entry that this entry of a reversal reverses.
    reverses_entry_id: str | None = None
    # What its metadata was changed to since it was written.
    edited: Metadata | None = None

    @property
    def metadata_now(self) -> Metadata | None:
        return self.metadata if self.edited is None else self.edited


class EntrySet(NamedTuple):
    """The entries written by one transaction version, which stand until a later version writes others.

    `effective_at` and `status` are those of the version that wrote them.
    """

    # The number of its first entry's line; see ids.py.
    first_line: int
    version: int
    status: TransactionStatus
    effective_at: datetime
    created_at: datetime
    entries: tuple[Entry, ...]

    @property
    def entry_ids(self) -> list[str]:
        """Made anew each time."""
        of = self.entries[0].after.account
        return entry_ids(of.ledger_id, self.created_at, self.first_line, len(self.entries))

    def as_written(self) -> EntrySet:
        """The same, without what was changed about its entries since."""
        if all(entry.edited is None for entry in self.entries):
            return self
        return self._replace(entries=tuple(entry._replace(edited=None) for entry in self.entries))


class ListedEntry(NamedTuple):
    """An entry by itself, outside its transaction.

    `status`, `effective_at` and `created_at` are those of the transaction version that wrote it, `discarded_at` is
    when a later version replaced it: None while it stands.
    """

    id: str
    transaction_id: str
    transaction_version: int
    status: TransactionStatus
    effective_at: datetime
    created_at: datetime
    discarded_at: datetime | None
    entry: Entry


class Transaction(NamedTuple):
    """A transaction at one version, with the entries standing at it."""

    id: str
    ledger_id: int
    version: int
    status: TransactionStatus
    archived_reason: ArchivedReason
    description: str
    external_id: str | None
    metadata: Metadata
    effective_at: datetime
    entry_set: EntrySet
    position: int
    created_position: int
    created_at: datetime
    updated_at: datetime
    posted_at: datetime | None
    expires_at: datetime | None = None
    reverses_id: str | None = None
    partially_posts_id: str | None = None
    # The non-archived transactions that reverse it, oldest first; filled by reads only.
    reversed_by: tuple[str, ...] = ()

    @property
    def amount(self) -> int | None:
        """The sum of its debits, if all of its entries are of one currency."""
        currency = self.entry_set.entries[0].after.account.currency
        amount = 0
        for after, direction, line_amount, *_ in self.entry_set.entries:
            if after.account.currency != currency:
                return None
            if direction == Direction.DEBIT:
                amount += line_amount
        return amount

    @property
    def holds_external_id(self) -> bool:
        """Whether its external id is taken by it: archiving frees the id."""
        return self.external_id is not None and self.status != TransactionStatus.ARCHIVED


class Discarded(NamedTuple):
    """Pending amounts of an account that were taken away at another effective time than the one written at."""

    effective_at: datetime
    debits: int
    credits: int


class BalanceChange(NamedTuple):
    """What one command changed on one account: what it discarded counts at that time, the rest at `effective_at`."""

    before: AccountVersion
    after: AccountVersion
    effective_at: datetime
    discarded: Discarded | None = None


class MonitorField(IntEnum):
    """What a monitor looks at; numbered as in the protos, the balances as BalanceKind."""

    POSTED = 1
    PENDING = 2
    AVAILABLE = 3
    LOCK_VERSION = 4


class MonitorCondition(NamedTuple):
    """`<field> <operator> <value>` triggers; `<field> <operator> <resolve_value>`, if there is one, keeps triggered."""

    field: MonitorField
    operator: Operator
    value: int
    resolve_value: int | None = None


@dataclass(frozen=True, slots=True)
class Monitor:
    """A standing condition on the balances of an account or a category, and its state; exactly one of the ids is set.

    `since_position` and `since` are those of the command that brought it into its state.
    """

    id: str
    ledger_id: int
    account_id: str | None
    category_id: str | None
    condition: MonitorCondition
    description: str
    metadata: Metadata
    version: int
    triggered: bool
    since_position: int
    since: datetime
    created_position: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None

    @property
    def subject_id(self) -> str:
        """What it is on."""
        return self.account_id or self.category_id or ""


class MonitorReading(NamedTuple):
    """A monitor, and what it is on, at one moment; for its event, also the categories which that is under."""

    monitor: Monitor
    subject: AccountVersion | CategoryVersion
    under: Sequence[str] = ()


class Band(NamedTuple):
    """A range of a field, `low` ≤ seen < `high`, within which no monitor changes its state; None does not bound."""

    field: MonitorField
    low: int | None
    high: int | None


class Watched(NamedTuple):
    """The monitors on one account or category, oldest first, and what they come to while it stays within all bands."""

    monitors: tuple[Monitor, ...]
    bands: tuple[Band, ...]


class CategoryChange(NamedTuple):
    """What one command changed on one category."""

    before: CategoryVersion
    after: CategoryVersion


class MemberChange(NamedTuple):
    """An account or a category that joins a category, or leaves it; exactly one of the members is set."""

    category_id: str
    account_id: str | None
    member_category_id: str | None
    joins: bool


class Overlap(NamedTuple):
    """Two sets of categories, and so the accounts that are directly in one of each."""

    ones: frozenset[str]
    others: frozenset[str]


class SummedOverlaps(NamedTuple):
    """The counters of overlaps at a position, and how many events since then the lane may have to look through."""

    epoch: str
    position: int
    counters: Mapping[Overlap, Counters]
    bearable: int
