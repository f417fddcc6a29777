"""Which accounts to list, and as of which time to read balances; as callers say it, and as the wire carries it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict

from ledger_client.filters import OrderWord, order_value
from ledger_client.inputs import (
    AccountStatusWord,
    NormalBalanceWord,
    account_status_value,
    normal_balance_value,
    timestamp,
)
from ledger_client.v1.accounts_pb2 import AccountStatus, ListAccountsRequest
from ledger_client.v1.balances_pb2 import BalanceCondition, NormalBalance
from ledger_client.v1.filters_pb2 import ListOrder, MetadataFilter


class BalanceTime(TypedDict, total=False):
    """Which entries balances count: by their effective time, and by what was known. Without any, every standing one."""

    effective_at_lower_bound: datetime | None
    """Only entries effective at this time or later."""
    effective_at_upper_bound: datetime | None
    """Only entries effective before this time."""
    as_of: datetime | None
    """Only entries effective at this time or before; not together with a bound."""
    as_of_position: int | None
    """Only what was known at this position; above the ledger's: PositionInFuture."""
    known_at: datetime | None
    """Only what was known at this time; not together with as_of_position."""


class AccountFilters(BalanceTime, total=False):
    """Which accounts to list, all that are given must hold; and with their balances as of which time."""

    currency: str
    """Of this currency code."""
    normal_balance: NormalBalanceWord | NormalBalance.ValueType | None
    """Of this normality."""
    metadata: Mapping[str, str]
    """With all of these pairs."""
    external_id: str
    """The one with this external id."""
    metadata_filter: MetadataFilter | None
    """Whose metadata fulfils this; see ``ledger_client.filters``."""
    ids: Iterable[str]
    """These, at most 1,000."""
    names: Iterable[str]
    """Whose name contains one of these, whatever the letter case."""
    statuses: Iterable[AccountStatusWord | AccountStatus.ValueType]
    """In one of these statuses."""
    balances: Iterable[BalanceCondition]
    """Whose balances fulfil all of these: ``[condition("available", "<", 0)]``."""
    include_deleted: bool
    """Also those that were deleted."""
    category_id: str
    """Under this category now, directly or through others; CategoryNotFound."""
    created_at_lower_bound: datetime | None
    """Created at this time or later; with a time zone."""
    created_at_upper_bound: datetime | None
    """Created before this time; with a time zone."""
    updated_at_lower_bound: datetime | None
    """Last changed at this time or later; with a time zone."""
    updated_at_upper_bound: datetime | None
    """Last changed before this time; with a time zone."""
    order: OrderWord | ListOrder.ValueType | None
    """"created_asc" (the default) or "created_desc"."""
    page_size: int
    """1..1,000; 0: 100."""
    min_position: int | None
    """Wait until the ledger stands at least here, else PositionNotReached."""


def list_accounts_request(ledger_id: str, page_token: str, filters: AccountFilters) -> ListAccountsRequest:
    """A page's request."""
    return ListAccountsRequest(
        ledger_id=ledger_id,
        page_token=page_token,
        page_size=filters.get("page_size", 0),
        currency=filters.get("currency", ""),
        normal_balance=normal_balance_value(filters.get("normal_balance")),
        metadata=filters.get("metadata"),
        external_id=filters.get("external_id", ""),
        metadata_filter=filters.get("metadata_filter"),
        ids=filters.get("ids", ()),
        names=filters.get("names", ()),
        statuses=[account_status_value(status) for status in filters.get("statuses", ())],
        balances=filters.get("balances", ()),
        include_deleted=filters.get("include_deleted", False),
        category_id=filters.get("category_id", ""),
        created_at_lower_bound=timestamp(filters.get("created_at_lower_bound")),
        created_at_upper_bound=timestamp(filters.get("created_at_upper_bound")),
        updated_at_lower_bound=timestamp(filters.get("updated_at_lower_bound")),
        updated_at_upper_bound=timestamp(filters.get("updated_at_upper_bound")),
        order=order_value(filters.get("order")),
        min_position=filters.get("min_position"),
        **time_fields(filters),
    )


def time_fields(time: BalanceTime) -> dict[str, Any]:
    return {
        "effective_at_lower_bound": timestamp(time.get("effective_at_lower_bound")),
        "effective_at_upper_bound": timestamp(time.get("effective_at_upper_bound")),
        "as_of": timestamp(time.get("as_of")),
        "as_of_position": time.get("as_of_position"),
        "known_at": timestamp(time.get("known_at")),
    }
