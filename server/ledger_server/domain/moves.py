"""Moves: how lines written and discarded change the counters of accounts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ledger_server.domain.book import Book, Effect, Reversed, TransactionWrite
from ledger_server.domain.commands import Command
from ledger_server.domain.ids import first_line
from ledger_server.domain.inputs import EntryInput
from ledger_server.domain.model import (
    AccountVersion,
    BalanceChange,
    Discarded,
    Entry,
    EntrySet,
    EventKind,
    Metadata,
    Transaction,
    TransactionStatus,
)
from ledger_server.domain.money import Counters, Direction
from ledger_server.domain.sums import moved_categories

PENDING, POSTED, ARCHIVED = TransactionStatus.PENDING, TransactionStatus.POSTED, TransactionStatus.ARCHIVED


class Line(NamedTuple):
    """An entry to be written or discarded."""

    account_id: str
    direction: Direction
    amount: int
    metadata: Metadata | None = None
    reverses_entry_id: str | None = None


def lines_of(entries: Sequence[EntryInput], accounts: Sequence[AccountVersion]) -> list[Line]:
    """The lines that a request asks for; `accounts` are theirs, in order."""
    return [
        Line(version.account.id, entry.direction, entry.amount, entry.metadata)
        for entry, version in zip(entries, accounts, strict=False)
    ]


def standing_lines(transaction: Transaction) -> list[Line]:
    """The lines that stand at the transaction's version."""
    return [
        Line(entry.after.account.id, entry.direction, entry.amount, entry.metadata_now, entry.reverses_entry_id)
        for entry in transaction.entry_set.entries
    ]


def moved(
    book: Book, discarded: Sequence[Line], *written: tuple[Sequence[Line], TransactionStatus]
) -> dict[str, AccountVersion]:
    """The accounts touched, after pending lines are discarded and lines of these statuses are written.

    Each moves by one lock_version, however many lines touch it. Archived lines count in no balance.
    """
    accounts = book.accounts
    counters: dict[str, list[int]] = {}
    for line in discarded:
        account_id = line.account_id
        if account_id not in counters:
            counters[account_id] = list(accounts[account_id].counters)
        counters[account_id][line.direction + 1] -= line.amount
    for lines, status in written:
        if status == ARCHIVED:
            continue
        offset = 1 if status == PENDING else -1
        for line in lines:
            account_id = line.account_id
            if account_id not in counters:
                counters[account_id] = list(accounts[account_id].counters)
            counters[account_id][line.direction + offset] += line.amount
    position = book.position + 1
    after = {}
    for account_id, sums in counters.items():
        before = accounts[account_id]
        after[account_id] = AccountVersion(before.account, before.lock_version + 1, Counters(*sums), position)
    return after


def entry_set(
    book: Book,
    version: int,
    status: TransactionStatus,
    effective_at: datetime,
    time: datetime,
    lines: Iterable[Line],
    after: Mapping[str, AccountVersion],
    part: int = 0,
) -> EntrySet:
    """The entries of a transaction version; accounts that did not move are shown as they stand.

    `part` tells the transactions apart that one command writes for; see ids.py.
    """
    accounts = book.accounts
    entries = tuple(
        [
            Entry(after.get(account_id) or accounts[account_id], direction, amount, metadata, reverses_entry_id)
            for account_id, direction, amount, metadata, reverses_entry_id in lines
        ]
    )
    return EntrySet(first_line(book.position + 1, part), version, status, effective_at, time, entries)


def with_entries(
    book: Book, new: Transaction, lines: Iterable[Line], after: Mapping[str, AccountVersion], part: int = 0
) -> Transaction:
    """The new version of a transaction, with new entries."""
    entries = entry_set(book, new.version, new.status, new.effective_at, new.updated_at, lines, after, part)
    return new._replace(entry_set=entries)


def effect_of(
    book: Book,
    command: Command,
    kind: EventKind,
    after: Mapping[str, AccountVersion],
    *writes: tuple[Transaction, Transaction | None],
    reversed: Mapping[str, Reversed] | None = None,
) -> Effect:
    """The effect of a command that wrote these transactions, each with the version it replaces."""
    accounts = book.accounts
    first = writes[0][0]
    effective_at = first.effective_at
    discarded = _discarded_elsewhere(effective_at, writes)
    return Effect(
        command,
        kind,
        book.position + 1,
        first.updated_at,
        transactions=tuple(
            [TransactionWrite(new, old, old is None or old.entry_set is not new.entry_set) for new, old in writes]
        ),
        changes=[
            BalanceChange(accounts[account_id], after[account_id], effective_at, discarded.get(account_id))
            for account_id in sorted(after)
        ],
        reversed=reversed or {},
        category_changes=moved_categories(book, after) if book.parents else (),
    )


def _discarded_elsewhere(
    effective_at: datetime, writes: Sequence[tuple[Transaction, Transaction | None]]
) -> Mapping[str, Discarded]:
    """What was pending at another effective time than this one and is so no more, by account id."""
    for new, old in writes:
        if old is None or old.effective_at == effective_at or old.entry_set is new.entry_set:
            continue
        gone: dict[str, list[int]] = {}
        # Of a partial post, the remainder keeps its time.
        remaining = standing_lines(new) if new.status == PENDING and new.effective_at == old.effective_at else []
        for lines, sign in ((standing_lines(old), 1), (remaining, -1)):
            for line in lines:
                gone.setdefault(line.account_id, [0, 0])[line.direction - 1] += sign * line.amount
        return {
            account_id: Discarded(old.effective_at, debits, credits)
            for account_id, (debits, credits) in gone.items()
            if debits or credits
        }
    return {}
