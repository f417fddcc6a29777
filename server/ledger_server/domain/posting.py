"""What each command does to a book, or why it is refused.

`decide` is pure: nothing changes until its effect is applied. Refusals come in one order, that of refusals.py; all
failures of the first failing kind are reported together.
"""

from __future__ import annotations

from datetime import datetime

from ledger_server.domain import accounts, parts, transactions
from ledger_server.domain.book import Book, Effect
from ledger_server.domain.commands import (
    ArchiveTransaction,
    Command,
    CreateAccount,
    CreateLedger,
    CreateTransaction,
    ExpireTransaction,
    PartialPostTransaction,
    PostTransaction,
    ReverseTransaction,
    UpdateAccount,
    UpdateLedger,
    UpdateTransaction,
)


def decide(book: Book, command: Command, time: datetime) -> Effect:
    """What the command does to the book as it stands, at the position after the book's; or a LedgerError."""
    match command:
        case CreateTransaction():
            return transactions.create_transaction(book, command, time)
        case PostTransaction():
            return transactions.post_transaction(book, command, time)
        case UpdateTransaction():
            return transactions.update_transaction(book, command, time)
        case ArchiveTransaction():
            return transactions.archive_transaction(book, command, time)
        case PartialPostTransaction():
            return parts.partial_post_transaction(book, command, time)
        case ReverseTransaction():
            return parts.reverse_transaction(book, command, time)
        case ExpireTransaction():
            return transactions.expire_transaction(book, command, time)
        case CreateAccount():
            return accounts.create_account(book, command, time)
        case UpdateAccount():
            return accounts.update_account(book, command, time)
        case CreateLedger():
            return accounts.create_ledger(book, command, time)
        case UpdateLedger():
            return accounts.update_ledger(book, command, time)
    raise TypeError(command)
