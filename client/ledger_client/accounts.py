"""Calls about accounts."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from ledger_client import commands
from ledger_client.account_filters import (
    AccountFilters,
    AccountVersionFilters,
    list_account_versions_request,
    list_accounts_request,
)
from ledger_client.channel import Connection, Outcome, new_request_id
from ledger_client.inputs import (
    AccountStatusWord,
    BalanceTime,
    NormalBalanceWord,
    account_status_value,
    metadata_changes,
    time_fields,
)
from ledger_client.messages import message
from ledger_client.names import (
    AccountRef,
    name_account,
    name_ledger,
)
from ledger_client.v1.accounts_pb2 import (
    Account,
    AccountStatus,
    AccountVersion,
    BalanceLimits,
    BatchCreateAccountsRequest,
    BatchCreateAccountsResponse,
    BatchGetAccountsRequest,
    BatchGetAccountsResponse,
    CreateAccountRequest,
    DeleteAccountRequest,
    GetAccountRequest,
    ListAccountsResponse,
    ListAccountVersionsResponse,
    UpdateAccountRequest,
)
from ledger_client.v1.balances_pb2 import NormalBalance
from ledger_client.v1.categories_pb2 import Category


class AccountCalls(Connection):
    """What can be asked about accounts."""

    async def create_account(
        self,
        ledger_id: str,
        name: str,
        *,
        normal_balance: NormalBalanceWord | NormalBalance.ValueType,
        currency: str,
        currency_exponent: int | None = None,
        description: str = "",
        external_id: str = "",
        metadata: Mapping[str, str] | None = None,
        limits: BalanceLimits | None = None,
        categories: Iterable[str | Category] = (),
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> Account:
        """Create an account with zero balances.

        Args:
            ledger_id: the ledger that will hold it.
            name: 1..1,000 characters.
            normal_balance: the side on which it grows: "debit" or "credit".
            currency: an ISO 4217 code or one of your own.
            currency_exponent: decimal places, needed for the first account of a currency of your own.
            description: up to 1,000 characters.
            external_id: your own id, up to 180 characters, unique among the ledger's accounts.
            metadata: up to 50 keys, 16 KiB together.
            limits: standing limits of its balances, such as ``limits(available_min=0)``.
            categories: the categories it is put into, or their ids.
            request_id: your own for this call; with the same one the call can be repeated with one effect.
            timeout: deadline in seconds; None: the client's.
            outcome: is told whether the answer or refusal is that of an earlier call.

        Raises:
            LedgerNotFound: no such ledger.
            ExternalIdTaken: another account has the external id.
            CategoryNotFound: one of the categories is not in this ledger.
            CategoryCurrencyMismatch: one of them is of another currency.
        """
        request = commands.create_account(
            name,
            normal_balance=normal_balance,
            currency=currency,
            currency_exponent=currency_exponent,
            description=description,
            external_id=external_id,
            metadata=metadata,
            limits=limits,
            categories=categories,
        )
        name_ledger(request, ledger_id)
        request.request_id = request_id or new_request_id()
        return await self._call(self.stub.CreateAccount, request, timeout, outcome)

    async def batch_create_accounts(
        self,
        ledger_id: str,
        accounts: Iterable[CreateAccountRequest],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> BatchCreateAccountsResponse:
        """Create up to 10,000 accounts, all or none, in the order given.

        Args:
            ledger_id: the ledger that will hold them.
            accounts: what ``commands.create_account`` makes.
            request_id: your own for all of them; with the same one the call can be repeated with one effect.
            timeout: deadline in seconds; None: the client's.
            outcome: is told whether the answer or refusal is that of an earlier call.

        Raises:
            LedgerError: what ``create_account`` raises, with the index of the first refused account in
                ``metadata["command_index"]``.
        """
        request = message(
            BatchCreateAccountsRequest,
            ledger_id=ledger_id,
            request_id=request_id or new_request_id(),
            accounts=accounts,
        )
        return await self._call(self.stub.BatchCreateAccounts, request, timeout, outcome)

    async def get_account(
        self,
        ledger_id: str,
        account: AccountRef,
        *,
        as_of_lock_version: int | None = None,
        min_position: int | None = None,
        timeout: float | None = None,
        **time: Unpack[BalanceTime],
    ) -> Account:
        """Read an account with its balances, now or as of another time.

        An effective time and one of what was known can be combined: ``known_at=monday, as_of=sunday`` is what was known
        on Monday about Sunday. Before the account was there its balances are zero.

        Args:
            ledger_id: the ledger that holds it.
            account: which account.
            as_of_lock_version: only what was known at this version; not together with as_of_position or known_at.
            min_position: wait until the ledger stands at least here, else PositionNotReached.
            timeout: deadline in seconds; None: the client's.
            time: see ``BalanceTime``.

        Raises:
            AccountNotFound: no such account in this ledger.
            LockVersionInFuture, PositionInFuture: there is no such version, or position, yet.
        """
        request = message(
            GetAccountRequest,
            ledger_id=ledger_id,
            as_of_lock_version=as_of_lock_version,
            min_position=min_position,
            **time_fields(time),
        )
        name_account(request, account)
        return await self._call(self.stub.GetAccount, request, timeout)

    async def batch_get_accounts(
        self,
        ledger_id: str,
        account_ids: Iterable[str],
        *,
        min_position: int | None = None,
        timeout: float | None = None,
        **time: Unpack[BalanceTime],
    ) -> BatchGetAccountsResponse:
        """Read up to 1,000 accounts, all at one position, in the order of their ids here; ``time`` as in `get_account`.

        Raises:
            AccountNotFound: one of them is not in this ledger.
            PositionInFuture: there is no such position yet.
        """
        request = message(
            BatchGetAccountsRequest,
            ledger_id=ledger_id,
            account_ids=account_ids,
            min_position=min_position,
            **time_fields(time),
        )
        return await self._call(self.stub.BatchGetAccounts, request, timeout)

    async def list_accounts(
        self,
        ledger_id: str,
        *,
        page_token: str = "",
        timeout: float | None = None,
        **filters: Unpack[AccountFilters],
    ) -> ListAccountsResponse:
        """One page of a ledger's accounts, oldest first by default; ``page_token`` is that of the page before."""
        request = list_accounts_request(ledger_id, filters, page_token)
        return await self._call(self.stub.ListAccounts, request, timeout)

    async def accounts(self, ledger_id: str, **filters: Unpack[AccountFilters]) -> AsyncIterator[Account]:
        """All accounts of a ledger that pass the filters, oldest first by default, page by page."""
        query = list_accounts_request(ledger_id, filters)
        async for page in self._pages(self.stub.ListAccounts, query):
            for account in page.accounts:
                yield account

    async def list_account_versions(
        self,
        ledger_id: str,
        account: AccountRef,
        *,
        page_token: str = "",
        timeout: float | None = None,
        **filters: Unpack[AccountVersionFilters],
    ) -> ListAccountVersionsResponse:
        """One page of an account's versions: its balances after each command that moved them; oldest first by default.

        Raises:
            AccountNotFound: no such account in this ledger.
        """
        request = list_account_versions_request(ledger_id, account, filters, page_token)
        return await self._call(self.stub.ListAccountVersions, request, timeout)

    async def account_versions(
        self, ledger_id: str, account: AccountRef, **filters: Unpack[AccountVersionFilters]
    ) -> AsyncIterator[AccountVersion]:
        """All versions of an account that pass the filters, oldest first by default, page by page."""
        query = list_account_versions_request(ledger_id, account, filters)
        async for page in self._pages(self.stub.ListAccountVersions, query):
            for version in page.versions:
                yield version

    async def update_account(
        self,
        ledger_id: str,
        account: AccountRef,
        *,
        name: str | None = None,
        description: str | None = None,
        external_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        metadata_patch: Mapping[str, str | None] | None = None,
        status: AccountStatusWord | AccountStatus.ValueType | None = None,
        limits: BalanceLimits | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> Account:
        """Change those of an account's fields that are given; its balances and lock_version do not move.

        Args:
            ledger_id: the ledger that holds it.
            account: which account.
            name: the new name.
            description: the new description; empty removes it.
            external_id: the new external id; empty removes it.
            metadata: replaces all of it.
            metadata_patch: sets these keys and removes those whose value is None; not together with metadata.
            status: whether it takes entries: "open", "debits_frozen" (credits only), "credits_frozen" (debits only),
                "frozen" (neither) or "closed".
            limits: replace all old standing limits; ``limits()`` removes them.
            request_id: see ``create_account``, and so for the rest.
            timeout: deadline in seconds; None: the client's.
            outcome: is told whether the answer or refusal is that of an earlier call.

        Raises:
            AccountNotFound: no such account in this ledger.
            AccountDeleted: it is deleted, for good.
            ExternalIdTaken: another account has the external id.
            AccountNotEmpty: it cannot be closed while something is posted or pending on it.
        """
        values, paths = metadata_changes(metadata, metadata_patch)
        changes = {
            "name": name,
            "description": description,
            "external_id": external_id,
            "status": status,
            "limits": limits,
        }
        request = message(
            UpdateAccountRequest,
            ledger_id=ledger_id,
            request_id=request_id or new_request_id(),
            name=name or "",
            description=description or "",
            external_id=external_id or "",
            status=account_status_value(status),
            limits=limits,
            metadata=values,
            update_mask=FieldMask(paths=[field for field, new in changes.items() if new is not None] + paths),
        )
        name_account(request, account)
        return await self._call(self.stub.UpdateAccount, request, timeout, outcome)

    async def delete_account(
        self,
        ledger_id: str,
        account: AccountRef,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> Account:
        """Delete an empty account, for good: it takes no entries any more and gives up its external id.

        By its id it is still read, with all its history.

        Raises:
            AccountNotFound: no such account in this ledger.
            AccountNotEmpty: its posted amount is not zero, or something is pending on it.
            AccountDeleted: it was deleted before, by another request.
        """
        request = message(DeleteAccountRequest, ledger_id=ledger_id, request_id=request_id or new_request_id())
        name_account(request, account)
        return await self._call(self.stub.DeleteAccount, request, timeout, outcome)
