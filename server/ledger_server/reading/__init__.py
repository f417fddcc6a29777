"""The read path: queries of the books, each one short snapshot of one ledger."""

from ledger_server.reading.queries import (
    NOW,
    AccountQuery,
    AccountVersionQuery,
    AsOf,
    CategoryQuery,
    EntryQuery,
    Interval,
    LedgerQuery,
    MonitorQuery,
    TransactionQuery,
    VersionQuery,
)
from ledger_server.reading.reader import Reader
from ledger_server.reading.results import LedgerPage, ListedAccountVersion, ListedEntry, Page, Read

__all__ = [
    "NOW",
    "AccountQuery",
    "AccountVersionQuery",
    "AsOf",
    "CategoryQuery",
    "EntryQuery",
    "Interval",
    "LedgerPage",
    "LedgerQuery",
    "ListedAccountVersion",
    "ListedEntry",
    "MonitorQuery",
    "Page",
    "Read",
    "Reader",
    "TransactionQuery",
    "VersionQuery",
]
