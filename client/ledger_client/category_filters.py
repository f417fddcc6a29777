"""Which categories to list; as callers say it, and as the wire carries it."""

from collections.abc import Iterable, Mapping

from ledger_client.inputs import BalanceTime, NormalBalanceWord, normal_balance_value, time_fields
from ledger_client.messages import message
from ledger_client.v1.balances_pb2 import BalanceCondition, NormalBalance
from ledger_client.v1.categories_pb2 import ListCategoriesRequest
from ledger_client.v1.filters_pb2 import MetadataFilter


class CategoryFilters(BalanceTime, total=False):
    """Which categories to list, all that are given must hold; and with their balances as of which time."""

    ids: Iterable[str]
    """With one of these ids, at most 1,000."""
    names: Iterable[str]
    """Whose name contains one of these, whatever the letter case."""
    currency: str
    """Of this currency code."""
    normal_balance: NormalBalanceWord | NormalBalance.ValueType | None
    """Of this normality."""
    external_id: str
    """The one with this external id."""
    parent_category_id: str
    """Directly in this category."""
    member_category_id: str
    """The parents of this category, which it is directly in."""
    account_id: str
    """Above this account, directly or through other categories."""
    metadata: Mapping[str, str]
    """With all of these pairs."""
    metadata_filter: MetadataFilter | None
    """Whose metadata fulfils this; see ``ledger_client.filters``."""
    balances: Iterable[BalanceCondition]
    """Whose balances fulfil all of these: ``[condition("available", "<", 0)]``."""
    page_size: int
    """1..1,000; 0: 100."""
    min_position: int | None
    """Wait until the ledger stands at least here, else PositionNotReached."""


def list_categories_request(ledger_id: str, filters: CategoryFilters, page_token: str = "") -> ListCategoriesRequest:
    """A page's request."""
    return message(
        ListCategoriesRequest,
        ledger_id=ledger_id,
        page_token=page_token,
        page_size=filters.get("page_size", 0),
        ids=filters.get("ids", ()),
        names=filters.get("names", ()),
        currency=filters.get("currency", ""),
        normal_balance=normal_balance_value(filters.get("normal_balance")),
        external_id=filters.get("external_id", ""),
        parent_category_id=filters.get("parent_category_id", ""),
        member_category_id=filters.get("member_category_id", ""),
        account_id=filters.get("account_id", ""),
        metadata=filters.get("metadata"),
        metadata_filter=filters.get("metadata_filter"),
        balances=filters.get("balances", ()),
        min_position=filters.get("min_position"),
        **time_fields(filters, CategoryFilters),
    )
