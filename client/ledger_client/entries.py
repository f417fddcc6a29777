"""Calls about entries."""

import datetime as dt
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TypedDict, Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from ledger_client.channel import Connection, Outcome, new_request_id
from ledger_client.filters import OrderWord, order_value
from ledger_client.inputs import (
    AccountRef,
    DirectionWord,
    StatusWord,
    TransactionRef,
    direction_value,
    metadata_changes,
    name_account,
    name_transaction,
    status_values,
    timestamp,
)
from ledger_client.pages import every_page
from ledger_client.v1.balances_pb2 import Direction
from ledger_client.v1.entries_pb2 import GetEntryRequest, ListEntriesRequest, ListEntriesResponse, UpdateEntryRequest
from ledger_client.v1.filters_pb2 import AmountCondition, ListOrder, MetadataFilter
from ledger_client.v1.transactions_pb2 import Entry, TransactionStatus


class EntryFilters(TypedDict, total=False):
    """Which entries to list: of an account, of a transaction or of a ledger, narrowed by the rest."""

    account: AccountRef | None
    """Entries written on this account, newest first by default."""
    transaction: TransactionRef | None
    """Entries of all versions of this transaction, oldest first by default."""
    direction: DirectionWord | Direction.ValueType | None
    """Written on this side."""
    statuses: Iterable[StatusWord | TransactionStatus.ValueType]
    """Written under one of these statuses of their transaction."""
    include_discarded: bool
    """Also those that a later version of their transaction replaced."""
    effective_at_lower_bound: dt.datetime | None
    """Effective at this time or later; with a time zone."""
    effective_at_upper_bound: dt.datetime | None
    """Effective before this time; with a time zone."""
    amounts: Iterable[AmountCondition]
    """With an amount that fulfils all of these; see ``ledger_client.filters``."""
    metadata: Mapping[str, str]
    """With all of these pairs."""
    metadata_filter: MetadataFilter | None
    """Whose metadata fulfils this."""
    account_lock_version_lower_bound: int | None
    """Written at this lock_version of their account or later."""
    account_lock_version_upper_bound: int | None
    """Written before this lock_version of their account."""
    as_of_lock_version: int | None
    """As they stood on the account at this lock_version; LockVersionInFuture."""
    ids: Iterable[str]
    """These, at most 1,000."""
    category_id: str
    """On accounts that are under this category now; CategoryNotFound."""
    created_at_lower_bound: dt.datetime | None
    """Written at this time or later; with a time zone."""
    created_at_upper_bound: dt.datetime | None
    """Written before this time; with a time zone."""
    updated_at_lower_bound: dt.datetime | None
    """Last written, replaced, or given other metadata at this time or later; with a time zone."""
    updated_at_upper_bound: dt.datetime | None
    """Last written, replaced, or given other metadata before this time; with a time zone."""
    order: OrderWord | ListOrder.ValueType | None
    """Default: "created_asc" of a transaction, else "created_desc"."""
    page_size: int
    """1..1,000; 0: 100."""
    min_position: int | None
    """Wait until the ledger stands at least here, else PositionNotReached."""


class EntryCalls(Connection):
    """What can be asked about entries."""

    async def get_entry(
        self,
        ledger_id: str,
        entry_id: str,
        *,
        min_position: int | None = None,
        timeout: float | None = None,
    ) -> Entry:
        """Read an entry.

        Raises:
            EntryNotFound: no such entry in this ledger.
        """
        request = GetEntryRequest(ledger_id=ledger_id, entry_id=entry_id, min_position=min_position)
        return await self._call(self.stub.GetEntry, request, timeout)

    async def update_entry(
        self,
        ledger_id: str,
        entry_id: str,
        *,
        metadata: Mapping[str, str] | None = None,
        metadata_patch: Mapping[str, str | None] | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> Entry:
        """Change an entry's metadata; a later version of its transaction with new entries drops it.

        Args:
            ledger_id: the ledger that holds it.
            entry_id: which entry, standing or discarded.
            metadata: replaces all of it.
            metadata_patch: sets these keys and removes those whose value is None; not together with metadata.
            request_id: your own for this call; with the same one the call can be repeated with one effect.
            timeout: deadline in seconds; None: the client's.
            outcome: is told whether the answer is that of an earlier call.

        Raises:
            EntryNotFound: no such entry in this ledger.
        """
        values, paths = metadata_changes(metadata, metadata_patch)
        request = UpdateEntryRequest(
            ledger_id=ledger_id,
            request_id=request_id or new_request_id(),
            entry_id=entry_id,
            metadata=values,
            update_mask=FieldMask(paths=paths),
        )
        return await self._call(self.stub.UpdateEntry, request, timeout, outcome)

    async def list_entries(
        self,
        ledger_id: str,
        *,
        page_token: str = "",
        timeout: float | None = None,
        **filters: Unpack[EntryFilters],
    ) -> ListEntriesResponse:
        """One page of the entries of an account, of a transaction or of a ledger.

        Raises:
            AccountNotFound: no such account in this ledger.
            TransactionNotFound: no such transaction in this ledger.
        """
        request = ListEntriesRequest(
            ledger_id=ledger_id,
            page_token=page_token,
            page_size=filters.get("page_size", 0),
            direction=direction_value(filters.get("direction")),
            statuses=status_values(filters.get("statuses", ())),
            include_discarded=filters.get("include_discarded", False),
            effective_at_lower_bound=timestamp(filters.get("effective_at_lower_bound")),
            effective_at_upper_bound=timestamp(filters.get("effective_at_upper_bound")),
            amounts=filters.get("amounts", ()),
            metadata=filters.get("metadata"),
            metadata_filter=filters.get("metadata_filter"),
            account_lock_version_lower_bound=filters.get("account_lock_version_lower_bound"),
            account_lock_version_upper_bound=filters.get("account_lock_version_upper_bound"),
            as_of_lock_version=filters.get("as_of_lock_version"),
            ids=filters.get("ids", ()),
            category_id=filters.get("category_id", ""),
            created_at_lower_bound=timestamp(filters.get("created_at_lower_bound")),
            created_at_upper_bound=timestamp(filters.get("created_at_upper_bound")),
            updated_at_lower_bound=timestamp(filters.get("updated_at_lower_bound")),
            updated_at_upper_bound=timestamp(filters.get("updated_at_upper_bound")),
            order=order_value(filters.get("order")),
            min_position=filters.get("min_position"),
        )
        account, transaction = filters.get("account"), filters.get("transaction")
        if account is not None and transaction is not None:
            raise ValueError("list the entries of an account or of a transaction, not of both")
        if account is not None:
            name_account(request, account)
        if transaction is not None:
            name_transaction(request, transaction)
        return await self._call(self.stub.ListEntries, request, timeout)

    async def entries(self, ledger_id: str, **filters: Unpack[EntryFilters]) -> AsyncIterator[Entry]:
        """All entries that pass the filters, page by page."""

        async def fetch(token: str) -> ListEntriesResponse:
            return await self.list_entries(ledger_id, page_token=token, **filters)

        async for page in every_page(fetch):
            for entry in page.entries:
                yield entry
