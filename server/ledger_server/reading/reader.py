"""The front door of the read path: every read is one short snapshot of one ledger.

`min_position` waits until the ledger has got there, for at most two seconds, then POSITION_NOT_REACHED.
`timeout` is what remains of the caller's deadline, in seconds; TimeoutError once it has passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import AccountVersion, Ledger, Transaction
from ledger_server.reading import accounts, entries, ledgers, transactions
from ledger_server.reading.queries import (
    AccountQuery,
    EntryQuery,
    LedgerPageQuery,
    LedgerQuery,
    TransactionQuery,
    VersionQuery,
)
from ledger_server.reading.results import LedgerPage, ListedEntry, Page, Read
from ledger_server.reading.snapshots import Snapshot, ledger_snapshot
from ledger_server.storage.pool import Pool, snapshot


class Reader:
    """Reads of the books. Objects of another ledger are not found."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get_ledger(
        self, ledger_id: str, min_position: int | None = None, timeout: float | None = None
    ) -> Read[Ledger]:
        async with self._at(ledger_id, min_position, timeout) as at:
            return await ledgers.get_ledger(at)

    async def list_ledgers(self, query: LedgerQuery, timeout: float | None = None) -> LedgerPage:
        async with asyncio.timeout(timeout), snapshot(self._pool) as connection:
            return await ledgers.list_ledgers(connection, query)

    async def get_account(
        self, ledger_id: str, account: Ref, min_position: int | None = None, timeout: float | None = None
    ) -> Read[AccountVersion]:
        async with self._at(ledger_id, min_position, timeout) as at:
            return at.read(await accounts.get_account(at, account))

    async def get_accounts(
        self,
        ledger_id: str,
        account_ids: Sequence[str],
        min_position: int | None = None,
        timeout: float | None = None,
    ) -> Read[list[AccountVersion]]:
        """The accounts in the order asked for, all at one position."""
        async with self._at(ledger_id, min_position, timeout) as at:
            return at.read(await accounts.get_accounts(at, account_ids))

    async def list_accounts(self, query: AccountQuery, timeout: float | None = None) -> Page[AccountVersion]:
        async with self._at_page(query, timeout) as at:
            return await accounts.list_accounts(at, query)

    async def get_transaction(
        self, ledger_id: str, transaction: Ref, min_position: int | None = None, timeout: float | None = None
    ) -> Read[Transaction]:
        async with self._at(ledger_id, min_position, timeout) as at:
            return at.read(await transactions.get_transaction(at, transaction))

    async def list_transactions(self, query: TransactionQuery, timeout: float | None = None) -> Page[Transaction]:
        async with self._at_page(query, timeout) as at:
            return await transactions.list_transactions(at, query)

    async def list_transaction_versions(self, query: VersionQuery, timeout: float | None = None) -> Page[Transaction]:
        async with self._at_page(query, timeout) as at:
            return await transactions.list_transaction_versions(at, query)

    async def get_entry(
        self, ledger_id: str, entry_id: str, min_position: int | None = None, timeout: float | None = None
    ) -> Read[ListedEntry]:
        async with self._at(ledger_id, min_position, timeout) as at:
            return at.read(await entries.get_entry(at, entry_id))

    async def list_entries(self, query: EntryQuery, timeout: float | None = None) -> Page[ListedEntry]:
        async with self._at_page(query, timeout) as at:
            return await entries.list_entries(at, query)

    def _at(
        self, ledger_id: str, min_position: int | None, timeout: float | None
    ) -> AbstractAsyncContextManager[Snapshot]:
        return ledger_snapshot(self._pool, ledger_id, min_position, timeout)

    def _at_page(self, query: LedgerPageQuery, timeout: float | None) -> AbstractAsyncContextManager[Snapshot]:
        return ledger_snapshot(self._pool, query.ledger_id, query.min_position, timeout)
