"""Parts of transactions: partial posts of pending ones and reversals of posted ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ledger_server.domain.book import Book, Effect, Reversed
from ledger_server.domain.commands import PartialPostTransaction, ReverseTransaction
from ledger_server.domain.conditions import refuse_conditions, refuse_limits
from ledger_server.domain.errors import (
    AmountExceeded,
    EntryNotFound,
    InvalidField,
    Violation,
)
from ledger_server.domain.inputs import PartialEntry
from ledger_server.domain.model import AccountVersion, ArchivedReason, Entry, EventKind, Transaction, TransactionStatus
from ledger_server.domain.money import Direction
from ledger_server.domain.moves import (
    ARCHIVED,
    PENDING,
    POSTED,
    Line,
    effect_of,
    entry_set,
    moved,
    standing_lines,
    with_entries,
)
from ledger_server.domain.refusals import (
    Demand,
    find_accounts,
    find_condition_categories,
    find_transaction,
    refuse_account_status,
    refuse_closed_period,
    refuse_expired,
    refuse_lock_versions,
    refuse_new_entries_of_reversal,
    refuse_taken,
    refuse_unbalanced,
    refuse_unless_pending,
    refuse_unless_posted,
    refuse_version,
)
from ledger_server.domain.transactions import account_demands

# An entry's id; or its account and direction.
_Name = str | tuple[str, Direction]

_OPPOSITE = {Direction.DEBIT: Direction.CREDIT, Direction.CREDIT: Direction.DEBIT}


class _Part(NamedTuple):
    """What a request asks for of the n-th entry of a transaction."""

    n: int
    entry: Entry
    entry_id: str
    asked: PartialEntry


def partial_post_transaction(book: Book, command: PartialPostTransaction, time: datetime) -> Effect:
    old = find_transaction(book, command.transaction)
    parts = _parts(book, old, command.entries)
    find_condition_categories(book, command.category_conditions)
    asked = _lines(parts)
    refuse_unbalanced(book, asked)
    refuse_unless_pending(old, "posted in part")
    refuse_expired(old.expires_at, time, old.id)
    refuse_new_entries_of_reversal(old)
    _refuse_exceeding([(part, part.entry.amount) for part in parts])
    refuse_version(old, command.version)
    if command.external_id is not None:
        refuse_taken(book, book.transaction_ids, command.external_id)
    demands = _demands(book, parts)
    refuse_lock_versions(demands)
    posted = [line for line in asked if line.amount]
    refuse_account_status(book, posted)
    effective_at = command.effective_at or old.effective_at
    refuse_closed_period(book, effective_at)
    taken = {part.n: part.asked.amount for part in parts}
    lines = standing_lines(old)
    remaining = [line._replace(amount=line.amount - taken.get(n, 0)) for n, line in enumerate(lines)]
    remaining = [line for line in remaining if line.amount]
    after = moved(book, lines, (posted, POSTED), (remaining, PENDING))
    refuse_limits(book, after)
    refuse_conditions(book, demands, command.category_conditions, after)
    new = _new_transaction(book, command, old, POSTED, effective_at, posted, after, time)._replace(
        partially_posts_id=old.id
    )
    remainder = old._replace(version=old.version + 1, position=book.position + 1, updated_at=time)
    if not remaining:
        remainder = remainder._replace(status=ARCHIVED, archived_reason=ArchivedReason.FULLY_POSTED)
    remainder = with_entries(book, remainder, remaining or lines, after, part=1)
    return effect_of(book, command, EventKind.TRANSACTION_PARTIALLY_POSTED, after, (new, None), (remainder, old))


def reverse_transaction(book: Book, command: ReverseTransaction, time: datetime) -> Effect:
    old = find_transaction(book, command.transaction)
    parts = _whole(old) if command.entries is None else _parts(book, old, command.entries)
    accounts = find_accounts(book, [condition.account for condition in command.conditions])
    find_condition_categories(book, command.category_conditions)
    refuse_unbalanced(book, _lines(parts))
    refuse_unless_posted(old, "reversed")
    _refuse_exceeding([(part, part.entry.amount - _reversed(book, old, part)) for part in parts])
    refuse_version(old, command.version)
    if command.external_id is not None:
        refuse_taken(book, book.transaction_ids, command.external_id)
    demands = _demands(book, parts) + account_demands(command.conditions, accounts)
    refuse_lock_versions(demands)
    lines = [
        Line(
            part.entry.after.account.id,
            _OPPOSITE[part.entry.direction],
            part.asked.amount,
            part.asked.metadata,
            part.entry_id,
        )
        for part in parts
        if part.asked.amount or command.entries is None
    ]
    refuse_account_status(book, lines)
    effective_at = command.effective_at or old.effective_at
    if command.status == POSTED:
        refuse_closed_period(book, effective_at)
    after = moved(book, (), (lines, command.status))
    refuse_limits(book, after)
    refuse_conditions(book, demands, command.category_conditions, after)
    new = _new_transaction(book, command, old, command.status, effective_at, lines, after, time)._replace(
        reverses_id=old.id
    )
    reversed = {
        part.entry_id: Reversed(_reversed(book, old, part) + part.asked.amount, part.entry.amount)
        for part in parts
        if part.asked.amount
    }
    return effect_of(book, command, EventKind.TRANSACTION_REVERSED, after, (new, None), reversed=reversed)


def _new_transaction(
    book: Book,
    command: PartialPostTransaction | ReverseTransaction,
    old: Transaction,
    status: TransactionStatus,
    effective_at: datetime,
    lines: Sequence[Line],
    after: Mapping[str, AccountVersion],
    time: datetime,
) -> Transaction:
    position = book.position + 1
    return Transaction(
        id=command.transaction_id,
        ledger_id=old.ledger_id,
        version=0,
        status=status,
        archived_reason=ArchivedReason.NOT_ARCHIVED,
        description=command.description,
        external_id=command.external_id,
        metadata=command.metadata,
        effective_at=effective_at,
        entry_set=entry_set(book, 0, status, effective_at, time, lines, after),
        position=position,
        created_position=position,
        created_at=time,
        updated_at=time,
        posted_at=time if status == POSTED else None,
    )


def _whole(transaction: Transaction) -> list[_Part]:
    """All entries, each whole."""
    entries = transaction.entry_set
    return [
        _Part(n, entry, entry_id, PartialEntry(entry_id, None, None, entry.amount))
        for n, (entry_id, entry) in enumerate(zip(entries.entry_ids, entries.entries, strict=True))
    ]


def _parts(book: Book, transaction: Transaction, asked: Sequence[PartialEntry]) -> list[_Part]:
    """Which entry each part is of; no entry is named twice."""
    entries, entry_ids = transaction.entry_set.entries, transaction.entry_set.entry_ids
    # By its name, an entry; by account and direction it may be one of several. Made once: there are up to 1,000 parts.
    numbers: dict[_Name, list[int]] = {}
    for n, entry in enumerate(entries):
        numbers[entry_ids[n]] = [n]
        numbers.setdefault((entry.after.account.id, entry.direction), []).append(n)
    parts: list[_Part] = []
    problems: list[Violation] = []
    taken: set[int] = set()
    names = _names(book, asked)
    _refuse_missing([name for name in names if name not in numbers])
    for index, (name, part) in enumerate(zip(names, asked, strict=True)):
        n, *others = numbers[name]
        if others:
            problem = "is one of several in this direction on the account: name it by its entry_id"
            problems.append(Violation(f"entries[{index}]", problem))
        elif n in taken:
            problems.append(Violation(f"entries[{index}]", "names the same entry as an earlier one"))
        else:
            taken.add(n)
            parts.append(_Part(n, entries[n], entry_ids[n], part))
    if problems:
        raise InvalidField.of(problems)
    return parts


def _lines(parts: Sequence[_Part]) -> list[Line]:
    """What is asked of each entry, on its account and side."""
    return [
        Line(part.entry.after.account.id, part.entry.direction, part.asked.amount, part.asked.metadata)
        for part in parts
    ]


def _names(book: Book, asked: Sequence[PartialEntry]) -> list[_Name]:
    """What each part names an entry by."""
    accounts = iter(find_accounts(book, [part.account for part in asked if part.account is not None]))
    names: list[_Name] = []
    for part in asked:
        if part.entry_id is not None:
            names.append(part.entry_id)
        else:
            assert part.direction is not None, part
            names.append((next(accounts).account.id, part.direction))
    return names


def _refuse_missing(names: Sequence[_Name]) -> None:
    if not names:
        return
    violations = [
        Violation(name, "no standing entry of the transaction has this entry_id", "NOT_FOUND")
        if isinstance(name, str)
        else Violation(
            name[0], f"no standing {name[1].name.lower()} of the transaction is on this account", "NOT_FOUND"
        )
        for name in dict.fromkeys(names)
    ]
    subjects = [violation.subject for violation in violations]
    raise EntryNotFound(
        f"no such standing entry of the transaction: {', '.join(subjects[:5])}",
        metadata={"entry_id" if isinstance(names[0], str) else "account_id": subjects[0]},
        violations=violations,
    )


def _refuse_exceeding(parts: Sequence[tuple[_Part, int]]) -> None:
    exceeding = [(part, left) for part, left in parts if part.asked.amount > left]
    if exceeding:
        part, left = exceeding[0]
        raise AmountExceeded(
            f"{part.asked.amount} is more than the {left} left of entry {part.entry_id}",
            metadata={"entry_id": part.entry_id, "remaining": str(left)},
            violations=[
                Violation(
                    f"entries/{part.entry_id}",
                    f"{part.asked.amount} is more than the {left} that is left",
                    "AMOUNT",
                    account_id=part.entry.after.account.id,
                    seen=str(left),
                    demanded=str(part.asked.amount),
                    shortfall=str(part.asked.amount - left),
                )
                for part, left in exceeding
            ],
        )


def _reversed(book: Book, transaction: Transaction, part: _Part) -> int:
    if transaction.id not in book.reversals_known:
        raise LookupError("what is reversed of the transaction was not loaded")
    taken = book.reversed.get(part.entry_id)
    return taken.reversed if taken else 0


def _demands(book: Book, parts: Sequence[_Part]) -> list[Demand]:
    return [
        Demand(book.accounts[part.entry.after.account.id], part.asked.lock_version, part.asked.conditions)
        for part in parts
        if part.asked.lock_version is not None or part.asked.conditions
    ]
