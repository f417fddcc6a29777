"""Which ledgers to list; as callers say it, and as the wire carries it."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import TypedDict

from ledger_client.inputs import refuse_unknown, timestamp
from ledger_client.messages import message
from ledger_client.v1.filters_pb2 import MetadataFilter
from ledger_client.v1.ledgers_pb2 import ListLedgersRequest


class LedgerFilters(TypedDict, total=False):
    """Which ledgers to list; all that are given must hold."""

    metadata: Mapping[str, str] | None
    """With all of these pairs."""
    metadata_filter: MetadataFilter | None
    """Whose metadata fulfils this; see ``ledger_client.filters``."""
    ids: Iterable[str]
    """These, at most 1,000."""
    names: Iterable[str]
    """Whose name contains one of these, whatever the letter case."""
    created_at_lower_bound: dt.datetime | None
    """Created at this time or later; with a time zone."""
    created_at_upper_bound: dt.datetime | None
    """Created before this time; with a time zone."""
    updated_at_lower_bound: dt.datetime | None
    """Last changed at this time or later; with a time zone."""
    updated_at_upper_bound: dt.datetime | None
    """Last changed before this time; with a time zone."""
    page_size: int
    """1..1,000; 0: 100."""


def list_ledgers_request(filters: LedgerFilters, page_token: str = "") -> ListLedgersRequest:
    """A page's request."""
    refuse_unknown(filters, LedgerFilters)
    return message(
        ListLedgersRequest,
        page_size=filters.get("page_size", 0),
        page_token=page_token,
        metadata=filters.get("metadata"),
        metadata_filter=filters.get("metadata_filter"),
        ids=filters.get("ids", ()),
        names=filters.get("names", ()),
        created_at_lower_bound=timestamp(filters.get("created_at_lower_bound")),
        created_at_upper_bound=timestamp(filters.get("created_at_upper_bound")),
        updated_at_lower_bound=timestamp(filters.get("updated_at_lower_bound")),
        updated_at_upper_bound=timestamp(filters.get("updated_at_upper_bound")),
    )
