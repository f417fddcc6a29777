"""The front door of the read path: every read is one short snapshot of one ledger.

`min_position` waits until the ledger has got there, for at most two seconds, then POSITION_NOT_REACHED.
`timeout` is what remains of the caller's deadline, in seconds; TimeoutError once it has passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import AccountVersion, CategoryVersion, Ledger, ListedEntry, MonitorReading, Transaction
from ledger_server.reading import (
    account_versions,
    accounts,
    categories,
    entries,
    explanations,
    ledgers,
    monitors,
    transactions,
    trial_balances,
)
from ledger_server.reading.balances import versions_as_of, versions_as_of_in_time
from ledger_server.reading.explanations import Explanation
from ledger_server.reading.queries import (
    NOW,
    AccountQuery,
    AccountVersionQuery,
    AsOf,
    CategoryQuery,
    EntryQuery,
    ExplanationQuery,
    LedgerPageQuery,
    LedgerQuery,
    MonitorQuery,
    TransactionQuery,
    TrialBalanceQuery,
    VersionQuery,
)
from ledger_server.reading.results import LedgerPage, ListedAccountVersion, Page, Read
from ledger_server.reading.snapshots import Snapshot, ledger_snapshot
from ledger_server.reading.trial_balances import TrialBalance
from ledger_server.storage.pool import Pool, snapshot


class Reader:
    """Reads of the books. Objects of another ledger are not found."""

    def __init__(
        self, pool: Pool, grown: Callable[[int, set[str]], None] = lambda _ledger_id, _account_ids: None
    ) -> None:
        """`grown` is told of accounts that were found to have many versions that are not folded."""
        self._pool = pool
        self._grown = grown

    async def get_ledger(
        self, ledger_id: int, min_position: int | None = None, timeout: float | None = None
    ) -> Read[Ledger]:
        async with self._at(ledger_id, min_position, timeout) as at:
            return await ledgers.get_ledger(at)

    async def list_ledgers(self, query: LedgerQuery, timeout: float | None = None) -> LedgerPage:
        async with asyncio.timeout(timeout), snapshot(self._pool) as connection:
            return await ledgers.list_ledgers(connection, query)

    async def get_account(
        self,
        ledger_id: int,
        account: Ref,
        as_of: AsOf = NOW,
        min_position: int | None = None,
        timeout: float | None = None,
    ) -> Read[AccountVersion]:
        """The account as it stands, with its balances as of some time."""
        async with self._at(ledger_id, min_position, timeout) as at:
            (version,) = await versions_as_of(at, [await accounts.get_account(at, account)], as_of)
            return at.read(version)

    async def get_accounts(
        self,
        ledger_id: int,
        account_ids: Sequence[str],
        as_of: AsOf = NOW,
        min_position: int | None = None,
        timeout: float | None = None,
    ) -> Read[list[AccountVersion]]:
        """The accounts in the order asked for, all at one position.

        Balances by effective time may take longer than a snapshot is held; then the position holds them together.
        """
        async with asyncio.timeout(timeout):
            async with self._at(ledger_id, min_position, timeout) as at:
                versions = await accounts.get_accounts(at, account_ids)
                read = await versions_as_of_in_time(at, versions, as_of)
                answer = at.read(read)
            while len(read) < len(versions):
                async with self._at(ledger_id, answer.position, timeout) as at:
                    read += await versions_as_of_in_time(at, versions[len(read) :], as_of.known_by(answer.position))
            return answer

    async def list_accounts(self, query: AccountQuery, timeout: float | None = None) -> Page[AccountVersion]:
        async with self._at_page(query, timeout) as at:
            return await accounts.list_accounts(at, query)

    async def list_account_versions(
        self, query: AccountVersionQuery, timeout: float | None = None
    ) -> Page[ListedAccountVersion]:
        async with self._at_page(query, timeout) as at:
            return await account_versions.list_account_versions(at, query)

    async def get_category(
        self,
        ledger_id: int,
        category: Ref,
        as_of: AsOf = NOW,
        min_position: int | None = None,
        timeout: float | None = None,
    ) -> Read[CategoryVersion]:
        """The category as it stands, with its balances as of some time; by effective time in snapshots of their own."""
        async with asyncio.timeout(timeout):
            return await categories.get_category_as_of(
                lambda position: self._at(ledger_id, position, timeout), category, as_of, min_position
            )

    async def list_categories(self, query: CategoryQuery, timeout: float | None = None) -> Page[CategoryVersion]:
        """A page with balances as of some time; by effective time in snapshots of their own."""
        async with asyncio.timeout(timeout):
            return await categories.list_categories_as_of(
                lambda position: self._at(query.ledger_id, position, timeout), query
            )

    async def get_transaction(
        self, ledger_id: int, transaction: Ref, min_position: int | None = None, timeout: float | None = None
    ) -> Read[Transaction]:
        async with self._at(ledger_id, min_position, timeout) as at:
            return at.read(await transactions.get_transaction(at, transaction))

    async def get_transactions(
        self,
        ledger_id: int,
        transaction_ids: Sequence[str],
        min_position: int | None = None,
        timeout: float | None = None,
    ) -> Read[list[Transaction]]:
        """The transactions in the order asked for, all at one position."""
        async with self._at(ledger_id, min_position, timeout) as at:
            return at.read(await transactions.get_transactions(at, transaction_ids))

    async def list_transactions(self, query: TransactionQuery, timeout: float | None = None) -> Page[Transaction]:
        async with self._at_page(query, timeout) as at:
            return await transactions.list_transactions(at, query)

    async def list_transaction_versions(self, query: VersionQuery, timeout: float | None = None) -> Page[Transaction]:
        async with self._at_page(query, timeout) as at:
            return await transactions.list_transaction_versions(at, query)

    async def get_entry(
        self, ledger_id: int, entry_id: str, min_position: int | None = None, timeout: float | None = None
    ) -> Read[ListedEntry]:
        async with self._at(ledger_id, min_position, timeout) as at:
            return at.read(await entries.get_entry(at, entry_id))

    async def list_entries(self, query: EntryQuery, timeout: float | None = None) -> Page[ListedEntry]:
        async with self._at_page(query, timeout) as at:
            return await entries.list_entries(at, query)

    async def get_monitor(
        self, ledger_id: int, monitor_id: str, min_position: int | None = None, timeout: float | None = None
    ) -> Read[MonitorReading]:
        async with self._at(ledger_id, min_position, timeout) as at:
            return at.read(await monitors.get_monitor(at, monitor_id))

    async def list_monitors(self, query: MonitorQuery, timeout: float | None = None) -> Page[MonitorReading]:
        async with self._at_page(query, timeout) as at:
            return await monitors.list_monitors(at, query)

    async def get_trial_balance(self, query: TrialBalanceQuery, timeout: float | None = None) -> TrialBalance:
        """A page of the trial balance; the first one's totals go through all accounts, in snapshots of their own."""
        async with asyncio.timeout(timeout):
            return await trial_balances.get_trial_balance(
                lambda position: self._at(query.ledger_id, position, timeout), query
            )

    async def explain_balance(self, query: ExplanationQuery, timeout: float | None = None) -> Explanation:
        async with asyncio.timeout(timeout):
            return await explanations.explain_balance(
                lambda position: self._at(query.ledger_id, position, timeout), query
            )

    def _at_page(self, query: LedgerPageQuery, timeout: float | None) -> AbstractAsyncContextManager[Snapshot]:
        return self._at(query.ledger_id, query.min_position, timeout)

    @asynccontextmanager
    async def _at(self, ledger_id: int, min_position: int | None, timeout: float | None) -> AsyncIterator[Snapshot]:
        async with ledger_snapshot(self._pool, ledger_id, min_position, timeout) as at:
            try:
                yield at
            finally:
                # All the more if it took too long.
                if at.grown:
                    self._grown(ledger_id, at.grown)
