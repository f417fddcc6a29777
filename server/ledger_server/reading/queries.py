"""What a list is asked for: one class per noun, with the filters of its request. All filters must hold."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import Metadata, TransactionStatus
from ledger_server.domain.money import Direction, NormalBalance

# What may differ from page to page of one query.
_OF_THE_PAGE = {"page_size", "page_token", "min_position"}


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
    """Ledgers, oldest first."""

    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPageQuery(PageQuery):
    """What every list within a ledger is asked for."""

    ledger_id: str
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
    """Accounts, oldest first, with their balances as of some time."""

    currency: str | None = None
    normal_balance: NormalBalance | None = None
    metadata: Metadata = field(default_factory=dict)
    external_id: str | None = None
    as_of: AsOf = NOW


class Interval(StrEnum):
    """What the versions of an account are thinned by: of each the last is kept. In UTC; PostgreSQL's words."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountVersionQuery(LedgerPageQuery):
    """The versions of one account, oldest or newest first, written at lower bound ≤ time < upper bound."""

    account: Ref
    newest_first: bool = False
    interval: Interval | None = None
    time_lower_bound: datetime | None = None
    time_upper_bound: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionQuery(LedgerPageQuery):
    """Transactions, newest first. `account` is one that they ever wrote on; no `statuses` means all."""

    account: Ref | None = None
    external_id: str | None = None
    statuses: frozenset[TransactionStatus] = frozenset()
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionQuery(LedgerPageQuery):
    """The versions of one transaction, oldest first."""

    transaction: Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryQuery(LedgerPageQuery):
    """Entries of an account, newest first, or of a transaction, oldest first; exactly one of the two is set.

    `effective_at` is kept if lower bound ≤ effective_at < upper bound; no `statuses` means all.
    """

    account: Ref | None = None
    transaction: Ref | None = None
    direction: Direction | None = None
    statuses: frozenset[TransactionStatus] = frozenset()
    include_discarded: bool = False
    effective_at_lower_bound: datetime | None = None
    effective_at_upper_bound: datetime | None = None


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    # A mapping that is not a dict, such as a protobuf map.
    return dict(value)
