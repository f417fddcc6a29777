"""The rules of transactions: create, update, post, archive, expire. Refusals above, effects below."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ledger_server.domain.book import Book, Effect, Reversed
from ledger_server.domain.commands import (
    ArchiveTransaction,
    CreateTransaction,
    ExpireTransaction,
    PostTransaction,
    UpdateTransaction,
)
from ledger_server.domain.conditions import refuse_conditions, refuse_limits
from ledger_server.domain.errors import ConditionFailed, LimitExceeded, TransactionNotPending
from ledger_server.domain.inputs import AccountCondition, EntryInput, either, patched
from ledger_server.domain.model import (
    AccountVersion,
    ArchivedReason,
    EventKind,
    Transaction,
)
from ledger_server.domain.moves import (
    ARCHIVED,
    PENDING,
    POSTED,
    Line,
    effect_of,
    entry_set,
    lines_of,
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
    refuse_edit,
    refuse_expired,
    refuse_lock_versions,
    refuse_new_entries_of_reversal,
    refuse_taken,
    refuse_unbalanced,
    refuse_unless_pending,
    refuse_version,
)


def create_transaction(book: Book, command: CreateTransaction, time: datetime) -> Effect:
    entries = command.entries
    accounts = find_accounts(book, [entry.account for entry in entries])
    find_condition_categories(book, command.category_conditions)
    lines = lines_of(entries, accounts)
    refuse_unbalanced(book, lines)
    refuse_expired(command.expires_at, time)
    if command.external_id is not None:
        refuse_taken(book, book.transaction_ids, command.external_id)
    demands = entry_demands(entries, accounts)
    refuse_lock_versions(demands)
    refuse_account_status(book, lines)
    status, reason = command.status, ArchivedReason.NOT_ARCHIVED
    effective_at = command.effective_at or time
    if status == POSTED:
        refuse_closed_period(book, effective_at)
    after = moved(book, (), (lines, status))
    try:
        refuse_limits(book, after)
        refuse_conditions(book, demands, command.category_conditions, after)
    except (LimitExceeded, ConditionFailed):
        if not command.archive_on_condition_failure:
            raise
        status, reason, after = ARCHIVED, ArchivedReason.CONDITION_FAILED, {}
    position = book.position + 1
    transaction = Transaction(
        command.transaction_id,
        command.ledger_id,
        0,
        status,
        reason,
        command.description,
        command.external_id,
        command.metadata,
        effective_at,
        entry_set(book, 0, status, effective_at, time, lines, after),
        position,
        position,
        time,
        time,
        time if status == POSTED else None,
        command.expires_at,
    )
    return effect_of(book, command, EventKind.TRANSACTION_CREATED, after, (transaction, None))


def update_transaction(book: Book, command: UpdateTransaction, time: datetime) -> Effect:
    old = find_transaction(book, command.transaction)
    entries = command.entries or ()
    accounts = find_accounts(book, [entry.account for entry in entries])
    find_condition_categories(book, command.category_conditions)
    lines = lines_of(entries, accounts)
    refuse_unbalanced(book, lines)
    metadata = patched(old.metadata, command.metadata)
    refuse_edit(old, _changed_fields(command), time)
    if entries:
        refuse_new_entries_of_reversal(old)
    refuse_expired(command.expires_at[0] if command.expires_at else None, time, old.id)
    refuse_version(old, command.version)
    if command.external_id:
        refuse_taken(book, book.transaction_ids, command.external_id, but=old.id)
    demands = entry_demands(entries, accounts)
    refuse_lock_versions(demands)
    new = old._replace(
        version=old.version + 1,
        description=either(command.description, old.description),
        effective_at=command.effective_at or old.effective_at,
        expires_at=command.expires_at[0] if command.expires_at else old.expires_at,
        external_id=old.external_id if command.external_id is None else command.external_id or None,
        metadata=metadata,
        position=book.position + 1,
        updated_at=time,
    )
    after: dict[str, AccountVersion] = {}
    # An entry carries its effective time, so a new time writes new entries as new amounts do.
    if entries or new.effective_at != old.effective_at:
        if entries:
            refuse_account_status(book, lines)
        else:
            lines = standing_lines(old)
        after = moved(book, standing_lines(old), (lines, new.status))
        refuse_limits(book, after)
        refuse_conditions(book, demands, command.category_conditions, after)
        new = with_entries(book, new, lines, after)
    else:
        refuse_conditions(book, (), command.category_conditions, after)
    return effect_of(book, command, EventKind.TRANSACTION_UPDATED, after, (new, old))


def post_transaction(book: Book, command: PostTransaction, time: datetime) -> Effect:
    old = find_transaction(book, command.transaction)
    entries = command.entries or ()
    accounts = find_accounts(book, [*(e.account for e in entries), *(c.account for c in command.conditions)])
    find_condition_categories(book, command.category_conditions)
    lines = lines_of(entries, accounts)
    refuse_unbalanced(book, lines)
    metadata = patched(old.metadata, command.metadata)
    refuse_unless_pending(old, "posted")
    refuse_expired(old.expires_at, time, old.id)
    if entries:
        refuse_new_entries_of_reversal(old)
    refuse_version(old, command.version)
    demands = entry_demands(entries, accounts) + account_demands(command.conditions, accounts[len(entries) :])
    refuse_lock_versions(demands)
    lines = lines or standing_lines(old)
    refuse_account_status(book, lines)
    effective_at = command.effective_at or old.effective_at
    refuse_closed_period(book, effective_at)
    after = moved(book, standing_lines(old), (lines, POSTED))
    refuse_limits(book, after)
    refuse_conditions(book, demands, command.category_conditions, after)
    new = old._replace(
        version=old.version + 1,
        status=POSTED,
        effective_at=effective_at,
        metadata=metadata,
        position=book.position + 1,
        updated_at=time,
        posted_at=time,
    )
    new = with_entries(book, new, lines, after)
    return effect_of(book, command, EventKind.TRANSACTION_POSTED, after, (new, old))


def archive_transaction(book: Book, command: ArchiveTransaction, time: datetime) -> Effect:
    old = find_transaction(book, command.transaction)
    metadata = patched(old.metadata, command.metadata)
    refuse_unless_pending(old, "archived")
    refuse_version(old, command.version)
    new = _archived(old, ArchivedReason.REQUESTED, book.position + 1, time)._replace(metadata=metadata)
    return _archive(book, command, old, new)


def expire_transaction(book: Book, command: ExpireTransaction, time: datetime) -> Effect:
    old = find_transaction(book, command.transaction)
    if old.status != PENDING or old.expires_at is None or old.expires_at > time:
        raise TransactionNotPending("the transaction does not expire any more")
    new = _archived(old, ArchivedReason.EXPIRED, book.position + 1, time)
    return _archive(book, command, old, new)


def _archive(
    book: Book,
    command: ArchiveTransaction | ExpireTransaction,
    old: Transaction,
    new: Transaction,
) -> Effect:
    lines = standing_lines(old)
    after = moved(book, lines)
    new = with_entries(book, new, lines, after)
    return effect_of(book, command, EventKind.TRANSACTION_ARCHIVED, after, (new, old), reversed=_freed(book, lines))


def _archived(old: Transaction, reason: ArchivedReason, position: int, time: datetime) -> Transaction:
    return old._replace(
        version=old.version + 1, status=ARCHIVED, archived_reason=reason, position=position, updated_at=time
    )


def _freed(book: Book, lines: Sequence[Line]) -> dict[str, Reversed]:
    """What archiving a pending reversal gives back to the entries it reversed."""
    freed: dict[str, Reversed] = {}
    for line in lines:
        # A line of zero took nothing, so nothing is counted of its entry.
        if line.reverses_entry_id is not None and line.amount:
            taken = freed.get(line.reverses_entry_id) or book.reversed[line.reverses_entry_id]
            freed[line.reverses_entry_id] = taken._replace(reversed=taken.reversed - line.amount)
    return freed


def entry_demands(entries: Sequence[EntryInput], accounts: Sequence[AccountVersion]) -> list[Demand]:
    return [
        Demand(account, entry.lock_version, entry.conditions)
        for entry, account in zip(entries, accounts, strict=False)
        if entry.lock_version is not None or entry.conditions
    ]


def account_demands(conditions: Sequence[AccountCondition], accounts: Sequence[AccountVersion]) -> list[Demand]:
    return [
        Demand(before, condition.lock_version, condition.conditions)
        for before, condition in zip(accounts, conditions, strict=True)
    ]


def _changed_fields(command: UpdateTransaction) -> list[str]:
    fields = ("description", "effective_at", "expires_at", "external_id", "entries", "metadata")
    return [name for name in fields if getattr(command, name) is not None]
