"""Which transactions, and which versions of one, to list; as callers say it, and as the wire carries it."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import TypedDict

from ledger_client.filters import OrderWord, order_value
from ledger_client.inputs import StatusWord, refuse_unknown, status_value, timestamp
from ledger_client.messages import message
from ledger_client.names import AccountRef, TransactionRef, name_account, name_transaction
from ledger_client.v1.filters_pb2 import AmountCondition, ListOrder, MetadataFilter, VersionOrder
from ledger_client.v1.transactions_pb2 import (
    ArchivedReason,
    ListTransactionsRequest,
    ListTransactionVersionsRequest,
    TransactionStatus,
)


class TransactionFilters(TypedDict, total=False):
    """Which transactions to list; all that are given must hold."""

    account: AccountRef | None
    """That ever wrote an entry on this account."""
    category_id: str
    """That ever moved an account that is under this category now; CategoryNotFound."""
    external_id: str
    """The non-archived one with this external id."""
    statuses: Iterable[StatusWord | TransactionStatus.ValueType]
    """In one of these statuses."""
    metadata: Mapping[str, str]
    """With all of these pairs."""
    metadata_filter: MetadataFilter | None
    """Whose metadata fulfils this: ``all_of(key("order", prefix="17-"), any_of(…))``; see ``ledger_client.filters``."""
    ids: Iterable[str]
    """These, at most 1,000."""
    archived_reasons: Iterable[ArchivedReason.ValueType]
    """Archived for one of these reasons."""
    reverses_transaction_id: str
    """That reverse this one."""
    partially_posts_transaction_id: str
    """That are parts of this one."""
    amounts: Iterable[AmountCondition]
    """Of a single currency, with an amount that fulfils all of these: ``[amount(">=", 100)]``."""
    created_at_lower_bound: dt.datetime | None
    """Created at this time or later; with a time zone."""
    created_at_upper_bound: dt.datetime | None
    """Created before this time; with a time zone."""
    updated_at_lower_bound: dt.datetime | None
    """Last changed at this time or later; with a time zone."""
    updated_at_upper_bound: dt.datetime | None
    """Last changed before this time; with a time zone."""
    posted_at_lower_bound: dt.datetime | None
    """Posted at this time or later; with a time zone."""
    posted_at_upper_bound: dt.datetime | None
    """Posted before this time; with a time zone."""
    effective_at_lower_bound: dt.datetime | None
    """Effective at this time or later; with a time zone."""
    effective_at_upper_bound: dt.datetime | None
    """Effective before this time; with a time zone."""
    order: OrderWord | ListOrder.ValueType | None
    """Default: "created_desc"."""
    page_size: int
    """1..1,000; 0: 100."""
    min_position: int | None
    """Wait until the ledger stands at least here, else PositionNotReached."""


class TransactionVersionFilters(TypedDict, total=False):
    """Which versions of a transaction to list; all that are given must hold."""

    newest_first: bool
    """By descending version; else by ascending."""
    version_lower_bound: int | None
    """This version or later ones."""
    version_upper_bound: int | None
    """Before this version."""
    time_lower_bound: dt.datetime | None
    """Written at this time or later; with a time zone."""
    time_upper_bound: dt.datetime | None
    """Written before this time; with a time zone."""
    page_size: int
    """1..1,000; 0: 100."""
    min_position: int | None
    """Wait until the ledger stands at least here, else PositionNotReached."""


def list_transactions_request(
    ledger_id: str, filters: TransactionFilters, page_token: str = ""
) -> ListTransactionsRequest:
    """A page's request."""
    refuse_unknown(filters, TransactionFilters)
    request = message(
        ListTransactionsRequest,
        ledger_id=ledger_id,
        page_token=page_token,
        page_size=filters.get("page_size", 0),
        external_id=filters.get("external_id", ""),
        statuses=[status_value(status) for status in filters.get("statuses", ())],
        metadata=filters.get("metadata"),
        metadata_filter=filters.get("metadata_filter"),
        ids=filters.get("ids", ()),
        archived_reasons=filters.get("archived_reasons", ()),
        reverses_transaction_id=filters.get("reverses_transaction_id", ""),
        partially_posts_transaction_id=filters.get("partially_posts_transaction_id", ""),
        category_id=filters.get("category_id", ""),
        amounts=filters.get("amounts", ()),
        created_at_lower_bound=timestamp(filters.get("created_at_lower_bound")),
        created_at_upper_bound=timestamp(filters.get("created_at_upper_bound")),
        updated_at_lower_bound=timestamp(filters.get("updated_at_lower_bound")),
        updated_at_upper_bound=timestamp(filters.get("updated_at_upper_bound")),
        posted_at_lower_bound=timestamp(filters.get("posted_at_lower_bound")),
        posted_at_upper_bound=timestamp(filters.get("posted_at_upper_bound")),
        effective_at_lower_bound=timestamp(filters.get("effective_at_lower_bound")),
        effective_at_upper_bound=timestamp(filters.get("effective_at_upper_bound")),
        order=order_value(filters.get("order")),
        min_position=filters.get("min_position"),
    )
    if (account := filters.get("account")) is not None:
        name_account(request, account)
    return request


def list_transaction_versions_request(
    ledger_id: str, transaction: TransactionRef, filters: TransactionVersionFilters, page_token: str = ""
) -> ListTransactionVersionsRequest:
    """A page's request."""
    refuse_unknown(filters, TransactionVersionFilters)
    newest_first = filters.get("newest_first", False)
    request = message(
        ListTransactionVersionsRequest,
        ledger_id=ledger_id,
        page_token=page_token,
        page_size=filters.get("page_size", 0),
        order=VersionOrder.VERSION_ORDER_NEWEST_FIRST if newest_first else VersionOrder.VERSION_ORDER_OLDEST_FIRST,
        version_lower_bound=filters.get("version_lower_bound"),
        version_upper_bound=filters.get("version_upper_bound"),
        time_lower_bound=timestamp(filters.get("time_lower_bound")),
        time_upper_bound=timestamp(filters.get("time_upper_bound")),
        min_position=filters.get("min_position"),
    )
    name_transaction(request, transaction)
    return request
