"""What each command does to a book, or why it is refused.

`decide` is pure: nothing changes until its effect is applied. Refusals come in one order, that of refusals.py; all
failures of the first failing kind are reported together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ledger_server.domain import accounts, categories, entries, ledgers, monitors, parts, transactions
from ledger_server.domain.book import Book, Effect
from ledger_server.domain.category_commands import (
    AddCategoryMember,
    CreateCategory,
    DeleteCategory,
    RemoveCategoryMember,
    UpdateCategory,
)
from ledger_server.domain.commands import (
    ArchiveTransaction,
    Command,
    CreateAccount,
    CreateLedger,
    CreateTransaction,
    DeleteAccount,
    DeleteLedger,
    ExpireTransaction,
    PartialPostTransaction,
    PostTransaction,
    ReverseTransaction,
    UpdateAccount,
    UpdateEntry,
    UpdateLedger,
    UpdateTransaction,
)
from ledger_server.domain.monitor_commands import CreateBalanceMonitor, DeleteBalanceMonitor, UpdateBalanceMonitor

# What each command is decided by.
_RULES: Mapping[type[Command], Callable[[Book, Any, datetime], Effect]] = {
    CreateTransaction: transactions.create_transaction,
    PostTransaction: transactions.post_transaction,
    UpdateTransaction: transactions.update_transaction,
    ArchiveTransaction: transactions.archive_transaction,
    PartialPostTransaction: parts.partial_post_transaction,
    ReverseTransaction: parts.reverse_transaction,
    ExpireTransaction: transactions.expire_transaction,
    CreateAccount: accounts.create_account,
    UpdateAccount: accounts.update_account,
    CreateLedger: ledgers.create_ledger,
    UpdateLedger: ledgers.update_ledger,
    CreateCategory: categories.create_category,
    UpdateCategory: categories.update_category,
    DeleteCategory: categories.delete_category,
    AddCategoryMember: categories.add_member,
    RemoveCategoryMember: categories.remove_member,
    DeleteAccount: accounts.delete_account,
    DeleteLedger: ledgers.delete_ledger,
    UpdateEntry: entries.update_entry,
    CreateBalanceMonitor: monitors.create_monitor,
    UpdateBalanceMonitor: monitors.update_monitor,
    DeleteBalanceMonitor: monitors.delete_monitor,
}


def decide(book: Book, command: Command, time: datetime) -> Effect:
    """What the command does to the book as it stands, at the position after the book's; or a LedgerError."""
    effect = _RULES[type(command)](book, command, time)
    if book.watched:
        monitors.observe(book, effect)
    return effect
