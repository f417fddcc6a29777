"""Calls for reports: what the books add up to, and why."""

from collections.abc import AsyncIterator
from typing import Unpack

from ledger_client.channel import Connection
from ledger_client.inputs import BalanceTime, BalanceWord, balance_kind_value, time_fields
from ledger_client.messages import message
from ledger_client.names import AccountRef, name_account
from ledger_client.v1.balances_pb2 import BalanceKind
from ledger_client.v1.reports_pb2 import (
    ExplainBalanceRequest,
    ExplainBalanceResponse,
    ExplainedEntry,
    GetTrialBalanceRequest,
    GetTrialBalanceResponse,
    TrialBalanceRow,
)


class ReportCalls(Connection):
    """What the books can be asked for as a whole."""

    async def get_trial_balance(
        self,
        ledger_id: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        min_position: int | None = None,
        timeout: float | None = None,
        **time: Unpack[BalanceTime],
    ) -> GetTrialBalanceResponse:
        """One page of the trial balance: accounts on their sides; the totals of all of them on the first page.

        Args:
            ledger_id: which ledger.
            page_size: 1..1,000; 0: 100.
            page_token: ``next_page_token`` of the page before; all pages are of the first one's position.
            min_position: wait until the ledger stands at least here, else PositionNotReached.
            timeout: deadline in seconds; None: the client's. The totals take about as long as all pages together.
            time: see ``BalanceTime``; with bounds of effective_at: what moved in a period.

        Raises:
            LedgerNotFound: no such ledger.
            PositionInFuture: there is no such position yet.
        """
        request = message(
            GetTrialBalanceRequest,
            ledger_id=ledger_id,
            page_size=page_size,
            page_token=page_token,
            min_position=min_position,
            **time_fields(time),
        )
        return await self._call(self.stub.GetTrialBalance, request, timeout)

    async def trial_balance_rows(
        self, ledger_id: str, *, page_size: int = 0, **time: Unpack[BalanceTime]
    ) -> AsyncIterator[TrialBalanceRow]:
        """All accounts of the trial balance, at one position, page by page."""
        query = message(GetTrialBalanceRequest, ledger_id=ledger_id, page_size=page_size, **time_fields(time))
        async for page in self._pages(self.stub.GetTrialBalance, query):
            for row in page.rows:
                yield row

    async def explain_balance(
        self,
        ledger_id: str,
        account: AccountRef,
        balance: BalanceWord | BalanceKind.ValueType = "posted",
        *,
        as_of_lock_version: int | None = None,
        page_size: int = 0,
        page_token: str = "",
        min_position: int | None = None,
        timeout: float | None = None,
        **time: Unpack[BalanceTime],
    ) -> ExplainBalanceResponse:
        """One page of the entries behind a balance, oldest first, with a running sum that ends at it.

        Args:
            ledger_id: the ledger that holds the account.
            account: which account.
            balance: which of its balances.
            as_of_lock_version: only what was known at this version; not together with as_of_position or known_at.
            page_size: 1..1,000; 0: 100.
            page_token: ``next_page_token`` of the page before; all pages explain the first one's balance.
            min_position: wait until the ledger stands at least here, else PositionNotReached.
            timeout: deadline in seconds; None: the client's.
            time: see ``BalanceTime``.

        Raises:
            AccountNotFound: no such account in this ledger.
            LockVersionInFuture, PositionInFuture: there is no such version, or position, yet.
        """
        request = message(
            ExplainBalanceRequest,
            ledger_id=ledger_id,
            balance=balance_kind_value(balance),
            as_of_lock_version=as_of_lock_version,
            page_size=page_size,
            page_token=page_token,
            min_position=min_position,
            **time_fields(time),
        )
        name_account(request, account)
        return await self._call(self.stub.ExplainBalance, request, timeout)

    async def explained_entries(
        self,
        ledger_id: str,
        account: AccountRef,
        balance: BalanceWord | BalanceKind.ValueType = "posted",
        *,
        as_of_lock_version: int | None = None,
        page_size: int = 0,
        **time: Unpack[BalanceTime],
    ) -> AsyncIterator[ExplainedEntry]:
        """All entries behind a balance, page by page."""
        query = message(
            ExplainBalanceRequest,
            ledger_id=ledger_id,
            balance=balance_kind_value(balance),
            as_of_lock_version=as_of_lock_version,
            page_size=page_size,
            **time_fields(time),
        )
        name_account(query, account)
        async for page in self._pages(self.stub.ExplainBalance, query):
            for each in page.entries:
                yield each
