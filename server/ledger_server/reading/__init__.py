"""The read path: queries of the books, each one short snapshot of one ledger."""

from ledger_server.reading.explanations import Explanation
from ledger_server.reading.queries import (
    NOW,
    AccountQuery,
    AccountVersionQuery,
    AsOf,
    CategoryQuery,
    EntryQuery,
    ExplanationQuery,
    Interval,
    LedgerQuery,
    MonitorQuery,
    TransactionQuery,
    TrialBalanceQuery,
    VersionQuery,
)
from ledger_server.reading.reader import Reader
from ledger_server.reading.results import LedgerPage, ListedAccountVersion, Page, Read
from ledger_server.reading.trial_balances import TrialBalance

__all__ = [
    "NOW",
    "AccountQuery",
    "AccountVersionQuery",
    "AsOf",
    "CategoryQuery",
    "EntryQuery",
    "Explanation",
    "ExplanationQuery",
    "Interval",
    "LedgerPage",
    "LedgerQuery",
    "ListedAccountVersion",
    "MonitorQuery",
    "Page",
    "Read",
    "Reader",
    "TransactionQuery",
    "TrialBalance",
    "TrialBalanceQuery",
    "VersionQuery",
]
