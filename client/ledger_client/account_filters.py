"""Which accounts, and which versions of one, to list; as callers say it, and as the wire carries it."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import TypedDict

from ledger_client.filters import OrderWord, order_value
from ledger_client.inputs import (
    AccountStatusWord,
    BalanceTime,
    NormalBalanceWord,
    VersionIntervalWord,
    account_status_value,
    normal_balance_value,
    refuse_unknown,
    time_fields,
    timestamp,
    version_interval_value,
)
from ledger_client.messages import message
from ledger_client.names import (
    AccountRef,
    name_account,
)
from ledger_client.v1.accounts_pb2 import (
    AccountStatus,
    ListAccountsRequest,
    ListAccountVersionsRequest,
    VersionInterval,
)
from ledger_client.v1.balances_pb2 import BalanceCondition, NormalBalance
from ledger_client.v1.filters_pb2 import ListOrder, MetadataFilter, VersionOrder


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
    created_at_lower_bound: dt.datetime | None
    """Created at this time or later; with a time zone."""
    created_at_upper_bound: dt.datetime | None
    """Created before this time; with a time zone."""
    updated_at_lower_bound: dt.datetime | None
    """Last changed at this time or later; with a time zone."""
    updated_at_upper_bound: dt.datetime | None
    """Last changed before this time; with a time zone."""
    order: OrderWord | ListOrder.ValueType | None
    """"created_asc" (the default) or "created_desc"."""
    page_size: int
    """1..1,000; 0: 100."""
    min_position: int | None
    """Wait until the ledger stands at least here, else PositionNotReached."""


class AccountVersionFilters(TypedDict, total=False):
    """Which versions of an account to list; all that are given must hold."""

    newest_first: bool
    """By descending lock_version; else by ascending."""
    interval: VersionIntervalWord | VersionInterval.ValueType | None
    """Only the last version of each "hour", "day" or "month" (UTC), as charts need it."""
    time_lower_bound: dt.datetime | None
    """Written at this time or later; with a time zone."""
    time_upper_bound: dt.datetime | None
    """Written before this time; with a time zone."""
    page_size: int
    """1..1,000; 0: 100."""
    min_position: int | None
    """Wait until the ledger stands at least here, else PositionNotReached."""


def list_accounts_request(ledger_id: str, filters: AccountFilters, page_token: str = "") -> ListAccountsRequest:
    """A page's request."""
    return message(
        ListAccountsRequest,
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
        **time_fields(filters, AccountFilters),
    )


def list_account_versions_request(
    ledger_id: str, account: AccountRef, filters: AccountVersionFilters, page_token: str = ""
) -> ListAccountVersionsRequest:
    """A page's request."""
    refuse_unknown(filters, AccountVersionFilters)
    newest_first = filters.get("newest_first", False)
    request = message(
        ListAccountVersionsRequest,
        ledger_id=ledger_id,
        page_token=page_token,
        page_size=filters.get("page_size", 0),
        order=VersionOrder.VERSION_ORDER_NEWEST_FIRST if newest_first else VersionOrder.VERSION_ORDER_OLDEST_FIRST,
        interval=version_interval_value(filters.get("interval")),
        time_lower_bound=timestamp(filters.get("time_lower_bound")),
        time_upper_bound=timestamp(filters.get("time_upper_bound")),
        min_position=filters.get("min_position"),
    )
    name_account(request, account)
    return request
