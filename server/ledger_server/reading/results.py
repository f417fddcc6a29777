"""What reads answer: values, with the ledger's position at the snapshot they are of."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from ledger_server.domain.model import AccountVersion, Ledger

T = TypeVar("T")


class Read(NamedTuple, Generic[T]):
    """A value, and the ledger's position and epoch at the same moment: a watch from there misses nothing."""

    value: T
    position: int
    epoch: str


class Page(NamedTuple, Generic[T]):
    """A page of a list. `next_page_token` is "" on the last; a page may be short, even empty, and not be the last."""

    items: list[T]
    next_page_token: str
    position: int
    epoch: str


class LedgerPage(NamedTuple):
    """A page of ledgers, each with a position of its own."""

    items: list[Read[Ledger]]
    next_page_token: str


class ListedAccountVersion(NamedTuple):
    """An account after one command, which wrote at `written_at`; `transaction_id` is None at lock_version 0."""

    version: AccountVersion
    written_at: datetime
    transaction_id: str | None
