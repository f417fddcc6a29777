"""Which entries to list; as callers say it, and as the wire carries it."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import TypedDict

from ledger_client.filters import OrderWord, order_value
from ledger_client.inputs import DirectionWord, StatusWord, direction_value, refuse_unknown, status_value, timestamp
from ledger_client.messages import message
from ledger_client.names import AccountRef, TransactionRef, name_account, name_transaction
from ledger_client.v1.balances_pb2 import Direction
from ledger_client.v1.entries_pb2 import ListEntriesRequest
from ledger_client.v1.filters_pb2 import AmountCondition, ListOrder, MetadataFilter
from ledger_client.v1.transactions_pb2 import TransactionStatus


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


def list_entries_request(ledger_id: str, filters: EntryFilters, page_token: str = "") -> ListEntriesRequest:
    """A page's request.

    Raises:
        ValueError: an account and a transaction are given.
    """
    refuse_unknown(filters, EntryFilters)
    request = message(
        ListEntriesRequest,
        ledger_id=ledger_id,
        page_token=page_token,
        page_size=filters.get("page_size", 0),
        direction=direction_value(filters.get("direction")),
        statuses=[status_value(status) for status in filters.get("statuses", ())],
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
    return request
