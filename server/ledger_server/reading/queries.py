"""What a list is asked for: one class per noun, with the filters of its request. All filters must hold."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from ledger_server.domain.inputs import BalanceCondition, Ref
from ledger_server.domain.model import AccountStatus, ArchivedReason, Metadata, TransactionStatus
from ledger_server.domain.money import BalanceKind, Direction, NormalBalance, Operator
from ledger_server.domain.times import FIRST_TIME, LAST_TIME
from ledger_server.reading.metadata import Check, Terms

# What may differ from page to page of one query.
_OF_THE_PAGE = {"page_size", "page_token", "min_position"}


class Between(NamedTuple):
    """From a time on and before another; None has no bound."""

    lower: datetime | None = None
    upper: datetime | None = None

    def __bool__(self) -> bool:
        return self.lower is not None or self.upper is not None

    def bounds(self) -> tuple[str | None, str | None]:
        """As PostgreSQL reads them: of the last microsecond that it knows, the driver would make infinity."""
        lower, upper = [None if time is None else time.isoformat() for time in self]
        return lower, upper

    def texts(self) -> tuple[str, str]:
        """The same, infinite where there is no bound."""
        lower, upper = self.bounds()
        return lower or "-infinity", upper or "infinity"


class AmountCondition(NamedTuple):
    """`<amount> <operator> <demanded>` must hold."""

    operator: Operator
    demanded: int


ANY_TIME = Between()
# Any time too, but not none, as a pending transaction's posted_at.
EVER = Between(FIRST_TIME)
NEVER = Between(LAST_TIME, LAST_TIME)


class ListOrder(IntEnum):
    """The order of a list; numbered as in the protos."""

    CREATED_ASC = 1
    CREATED_DESC = 2
    EFFECTIVE_ASC = 3
    EFFECTIVE_DESC = 4

    @property
    def is_descending(self) -> bool:
        return self in (ListOrder.CREATED_DESC, ListOrder.EFFECTIVE_DESC)

    @property
    def is_created(self) -> bool:
        return self in (ListOrder.CREATED_ASC, ListOrder.CREATED_DESC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """What every list is asked for. `page_token` is the caller's text, "" for the first page."""

    page_size: int
    page_token: str = ""

    def canonical(self) -> bytes:
        """The query as bytes, equal for equal filters: what a page token is bound to."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _OF_THE_PAGE}
        return json.dumps([type(self).__name__, values], sort_keys=True, default=_plain).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerQuery(PageQuery):
    """Ledgers, oldest first. `names` are parts of names; nothing named in a filter means all."""

    metadata: Metadata = field(default_factory=dict)
    metadata_terms: Terms | None = None
    ids: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    created_at: Between = ANY_TIME
    updated_at: Between = ANY_TIME

    @property
    def is_filtered(self) -> bool:
        return any((self.metadata, self.metadata_terms, self.ids, self.names, self.created_at, self.updated_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPageQuery(PageQuery):
    """What every list within a ledger is asked for."""

    ledger_id: int
    min_position: int | None = None


class AsOf(NamedTuple):
    """Which entries a balance counts: by their effective time, and by what was known, each None for all.

    Effective: effective_from ≤ effective_at < effective_before. Known: written not after any of the other three;
    `lock_version` is one account's.
    """

    effective_from: datetime | None = None
    effective_before: datetime | None = None
    lock_version: int | None = None
    position: int | None = None
    known_at: datetime | None = None

    def known_by(self, position: int) -> AsOf:
        """The same question to a ledger that stands at this position."""
        return self._replace(position=position if self.position is None else min(position, self.position))


NOW = AsOf()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountQuery(LedgerPageQuery):
    """Accounts, by creation, with their balances as of some time; nothing named in a filter means all.

    `names` are parts of names; `balances` are of those as they stand; `category_id` is one that they are under now.
    """

    ids: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    external_id: str | None = None
    statuses: frozenset[AccountStatus] = frozenset()
    currency: str | None = None
    normal_balance: NormalBalance | None = None
    balances: tuple[BalanceCondition, ...] = ()
    include_deleted: bool = False
    category_id: str | None = None
    metadata: Metadata = field(default_factory=dict)
    metadata_terms: Terms | None = None
    created_at: Between = ANY_TIME
    updated_at: Between = ANY_TIME
    order: ListOrder = ListOrder.CREATED_ASC
    as_of: AsOf = NOW


class Interval(StrEnum):
    """What the versions of an account are thinned by: of each the last is kept. In UTC; PostgreSQL's words."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountVersionQuery(LedgerPageQuery):
    """The versions of one account, oldest or newest first."""

    account: Ref
    newest_first: bool = False
    interval: Interval | None = None
    written_at: Between = ANY_TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryQuery(LedgerPageQuery):
    """Categories, oldest first, with their balances as of some time.

    `account_id` is one that they are above, `parent_category_id` one that they are in, `member_category_id` one that is
    in them.

    `names` are parts of names, `balances` are of those as they stand; nothing named in a filter means all.
    """

    ids: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    currency: str | None = None
    normal_balance: NormalBalance | None = None
    external_id: str | None = None
    parent_category_id: str | None = None
    member_category_id: str | None = None
    account_id: str | None = None
    balances: tuple[BalanceCondition, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    metadata_terms: Terms | None = None
    as_of: AsOf = NOW


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionQuery(LedgerPageQuery):
    """Transactions. `account` is one that they ever moved; nothing named in a filter means all.

    Of the accounts that are under `category_id` now they ever moved one.
    """

    ids: frozenset[str] = frozenset()
    account: Ref | None = None
    category_id: str | None = None
    external_id: str | None = None
    statuses: frozenset[TransactionStatus] = frozenset()
    archived_reasons: frozenset[ArchivedReason] = frozenset()
    reverses_id: str | None = None
    partially_posts_id: str | None = None
    amounts: tuple[AmountCondition, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    metadata_terms: Terms | None = None
    created_at: Between = ANY_TIME
    updated_at: Between = ANY_TIME
    posted_at: Between = ANY_TIME
    effective_at: Between = ANY_TIME
    order: ListOrder = ListOrder.CREATED_DESC


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionQuery(LedgerPageQuery):
    """The versions of one transaction, oldest or newest first: lower bound ≤ version < upper bound; so for times."""

    transaction: Ref
    newest_first: bool = False
    version_lower_bound: int | None = None
    version_upper_bound: int | None = None
    written_at: Between = ANY_TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryQuery(LedgerPageQuery):
    """Entries of an account, of a transaction, or, if neither is set, of a ledger; on accounts under `category_id` now.

    No `statuses` means all. `as_of_lock_version`, of an account only: as they stood then.
    """

    account: Ref | None = None
    transaction: Ref | None = None
    direction: Direction | None = None
    statuses: frozenset[TransactionStatus] = frozenset()
    include_discarded: bool = False
    effective_at: Between = ANY_TIME
    amounts: tuple[AmountCondition, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    metadata_terms: Terms | None = None
    lock_version_lower_bound: int | None = None
    lock_version_upper_bound: int | None = None
    as_of_lock_version: int | None = None
    ids: frozenset[str] = frozenset()
    category_id: str | None = None
    created_at: Between = ANY_TIME
    updated_at: Between = ANY_TIME
    order: ListOrder = ListOrder.CREATED_DESC


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorQuery(LedgerPageQuery):
    """Balance monitors, oldest first. No `ids` means all; so does None for `triggered`."""

    ids: frozenset[str] = frozenset()
    account: Ref | None = None
    category: Ref | None = None
    metadata: Metadata = field(default_factory=dict)
    metadata_terms: Terms | None = None
    triggered: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalanceQuery(LedgerPageQuery):
    """The accounts of a ledger, oldest first, with their balances as of some time."""

    as_of: AsOf = NOW


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationQuery(LedgerPageQuery):
    """The entries behind a balance of an account as of some time, oldest first."""

    account: Ref
    balance: BalanceKind
    as_of: AsOf = NOW


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Check):
        return value.value
    # A mapping that is not a dict, such as a protobuf map.
    return dict(value)
