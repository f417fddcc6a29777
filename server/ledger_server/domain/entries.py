"""The rule of entries by themselves: their metadata may change, and nothing else."""

from __future__ import annotations

from datetime import datetime

from ledger_server.domain.book import Book, Effect
from ledger_server.domain.commands import UpdateEntry
from ledger_server.domain.model import EventKind, ListedEntry
from ledger_server.domain.refusals import entry_not_found


def update_entry(book: Book, command: UpdateEntry, time: datetime) -> Effect:
    listed = book.entries.get(command.entry_id)
    if listed is None:
        raise entry_not_found(command.entry_id)
    metadata = command.metadata.apply(listed.entry.metadata or {})
    discarded_at = listed.discarded_at or _discarded_at(book, listed)
    changed = listed._replace(discarded_at=discarded_at, entry=listed.entry._replace(metadata=metadata))
    return Effect(command, EventKind.ENTRY_UPDATED, book.position + 1, time, entry=changed)


def _discarded_at(book: Book, listed: ListedEntry) -> datetime | None:
    """When a command of this batch, all of which is written at one time, replaced an entry that stood before it."""
    transaction = book.transactions.get(listed.transaction_id)
    if transaction is None or transaction.entry_set.version <= listed.transaction_version:
        return None
    return transaction.entry_set.created_at
