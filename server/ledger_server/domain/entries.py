"""The rule of entries by themselves: their metadata may change, and nothing else."""

from __future__ import annotations

from datetime import datetime

from ledger_server.domain.book import Book, Effect
from ledger_server.domain.commands import UpdateEntry
from ledger_server.domain.model import EventKind
from ledger_server.domain.refusals import entry_not_found


def update_entry(book: Book, command: UpdateEntry, time: datetime) -> Effect:
    listed = book.entries.get(command.entry_id)
    if listed is None:
        raise entry_not_found(command.entry_id)
    metadata = command.metadata.apply(listed.entry.metadata or {})
    changed = listed._replace(entry=listed.entry._replace(metadata=metadata))
    return Effect(command, EventKind.ENTRY_UPDATED, book.position + 1, time, entry=changed)
