"""Which balance monitors to list; as callers say it, and as the wire carries it."""

from collections.abc import Iterable, Mapping
from typing import TypedDict

from ledger_client.inputs import refuse_unknown
from ledger_client.messages import message
from ledger_client.names import AccountRef, CategoryRef, name_subject
from ledger_client.v1.filters_pb2 import MetadataFilter
from ledger_client.v1.monitors_pb2 import ListBalanceMonitorsRequest


class MonitorFilters(TypedDict, total=False):
    """Which monitors to list; all that are given must hold."""

    ids: Iterable[str]
    """These, at most 1,000."""
    account: AccountRef | None
    """On this account."""
    category: CategoryRef | None
    """On this category; not together with account."""
    metadata: Mapping[str, str]
    """With all of these pairs."""
    metadata_filter: MetadataFilter | None
    """Whose metadata fulfils this; see ``ledger_client.filters``."""
    triggered: bool | None
    """Those that are triggered, or those that are not."""
    page_size: int
    """1..1,000; 0: 100."""
    min_position: int | None
    """Wait until the ledger stands at least here, else PositionNotReached."""


def list_balance_monitors_request(
    ledger_id: str, filters: MonitorFilters, page_token: str = ""
) -> ListBalanceMonitorsRequest:
    """A page's request.

    Raises:
        ValueError: an account and a category are given.
    """
    refuse_unknown(filters, MonitorFilters)
    request = message(
        ListBalanceMonitorsRequest,
        ledger_id=ledger_id,
        page_token=page_token,
        page_size=filters.get("page_size", 0),
        ids=filters.get("ids"),
        metadata=filters.get("metadata"),
        metadata_filter=filters.get("metadata_filter"),
        triggered=filters.get("triggered"),
        min_position=filters.get("min_position"),
    )
    account, category = filters.get("account"), filters.get("category")
    if account is not None and category is not None:
        raise ValueError("give an account or a category, not both")
    name_subject(request, account, category)
    return request
