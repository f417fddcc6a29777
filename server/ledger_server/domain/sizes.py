"""How much memory is taken by what a book knows, in units of about a kilobyte.

None of it changes, so what is counted when it enters the book can be taken off when it leaves.
"""

from __future__ import annotations

from ledger_server.domain.model import AccountVersion, CategoryVersion, Ledger, Metadata, Transaction, Watched

UNIT_BYTES = 1_000
ENTRY_BYTES = 350
# Two strings and their place, without their characters.
PAIR_BYTES = 200
# At the most, if not all are of ASCII.
CHARACTER_BYTES = 4


def transaction_size(transaction: Transaction) -> int:
    """A transaction with its entries, but not the accounts that they are on."""
    entries = transaction.entry_set.entries
    count = ENTRY_BYTES * len(entries)
    # Most have no text, and there are many.
    if transaction.description or transaction.external_id:
        count += _text_bytes(transaction.description, transaction.external_id)
    if transaction.metadata:
        count += _metadata_bytes(transaction.metadata)
    for _, _, _, metadata, _, edited in entries:
        if metadata:
            count += _metadata_bytes(metadata)
        if edited:
            count += _metadata_bytes(edited)
    return 1 + count // UNIT_BYTES


def account_size(version: AccountVersion) -> int:
    account = version.account
    texts = _text_bytes(account.name, account.description, account.external_id)
    return 1 + (texts + _metadata_bytes(account.metadata)) // UNIT_BYTES


def category_size(version: CategoryVersion) -> int:
    category = version.category
    texts = _text_bytes(category.name, category.description, category.external_id)
    return 1 + (texts + _metadata_bytes(category.metadata)) // UNIT_BYTES


def watched_size(watched: Watched) -> int:
    return sum(
        1 + (_text_bytes(monitor.description) + _metadata_bytes(monitor.metadata)) // UNIT_BYTES
        for monitor in watched.monitors
    )


def ledger_size(ledger: Ledger) -> int:
    """Nothing for one without much text: it is part of what its lane takes."""
    return (_text_bytes(ledger.name, ledger.description) + _metadata_bytes(ledger.metadata)) // UNIT_BYTES


def _metadata_bytes(metadata: Metadata) -> int:
    return PAIR_BYTES * len(metadata) + _text_bytes(*metadata, *metadata.values())


def _text_bytes(*texts: str | None) -> int:
    count = 0
    for text in texts:
        if text:
            count += len(text) if text.isascii() else CHARACTER_BYTES * len(text)
    return count
