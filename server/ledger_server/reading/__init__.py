"""The read path: queries of the books, each one short snapshot of one ledger."""

from ledger_server.reading.queries import AccountQuery, EntryQuery, LedgerQuery, TransactionQuery, VersionQuery
from ledger_server.reading.reader import Reader
from ledger_server.reading.results import LedgerPage, ListedEntry, Page, Read

__all__ = [
    "AccountQuery",
    "EntryQuery",
    "LedgerPage",
    "LedgerQuery",
    "ListedEntry",
    "Page",
    "Read",
    "Reader",
    "TransactionQuery",
    "VersionQuery",
]
