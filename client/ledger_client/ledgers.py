"""Calls about ledgers."""

import datetime as dt
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TypedDict, Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from ledger_client.channel import Connection, Outcome, new_request_id
from ledger_client.inputs import UNCHANGED, Unchanged, metadata_changes, timestamp
from ledger_client.pages import every_page
from ledger_client.v1.filters_pb2 import MetadataFilter
from ledger_client.v1.ledgers_pb2 import (
    CreateLedgerRequest,
    DeleteLedgerRequest,
    GetLedgerRequest,
    Ledger,
    ListLedgersRequest,
    ListLedgersResponse,
    UpdateLedgerRequest,
)


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


class LedgerCalls(Connection):
    """What can be asked about ledgers."""

    async def create_ledger(
        self,
        name: str,
        *,
        description: str = "",
        metadata: Mapping[str, str] | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> Ledger:
        """Create a ledger.

        Args:
            name: 1..1,000 characters.
            description: up to 1,000 characters.
            metadata: up to 50 keys, 16 KiB together.
            request_id: your own for this call; with the same one the call can be repeated with one effect.
            timeout: deadline in seconds; None: the client's.
            outcome: is told whether the answer is that of an earlier call.
        """
        request = CreateLedgerRequest(
            request_id=request_id or new_request_id(), name=name, description=description, metadata=metadata
        )
        return await self._call(self.stub.CreateLedger, request, timeout, outcome)

    async def get_ledger(
        self, ledger_id: str, *, min_position: int | None = None, timeout: float | None = None
    ) -> Ledger:
        """Read a ledger, with its position now.

        Args:
            ledger_id: which ledger.
            min_position: wait until the ledger stands at least here, else PositionNotReached.
            timeout: deadline in seconds; None: the client's.

        Raises:
            LedgerNotFound: no such ledger.
        """
        request = GetLedgerRequest(ledger_id=ledger_id, min_position=min_position)
        return await self._call(self.stub.GetLedger, request, timeout)

    async def list_ledgers(
        self, *, page_token: str = "", timeout: float | None = None, **filters: Unpack[LedgerFilters]
    ) -> ListLedgersResponse:
        """One page of the ledgers, oldest first; ``page_token`` is that of the page before."""
        request = ListLedgersRequest(
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
        return await self._call(self.stub.ListLedgers, request, timeout)

    async def ledgers(self, **filters: Unpack[LedgerFilters]) -> AsyncIterator[Ledger]:
        """All ledgers that pass the filters, oldest first, page by page."""

        async def fetch(token: str) -> ListLedgersResponse:
            return await self.list_ledgers(page_token=token, **filters)

        async for page in every_page(fetch):
            for ledger in page.ledgers:
                yield ledger

    async def update_ledger(
        self,
        ledger_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        metadata_patch: Mapping[str, str | None] | None = None,
        closed_before: dt.datetime | Unchanged | None = UNCHANGED,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> Ledger:
        """Change those of a ledger's fields that are given.

        Args:
            ledger_id: which ledger.
            name: the new name.
            description: the new description; empty removes it.
            metadata: replaces all of it.
            metadata_patch: sets these keys and removes those whose value is None; not together with metadata.
            closed_before: nothing can be posted, or changed of what is posted, with an earlier effective_at; with a
                time zone; None opens the books again.
            request_id: see ``create_ledger``, and so for the rest.
            timeout: deadline in seconds; None: the client's.
            outcome: is told whether the answer is that of an earlier call.

        Raises:
            LedgerNotFound: no such ledger.
        """
        values, paths = metadata_changes(metadata, metadata_patch)
        changes = {"name": name, "description": description}
        paths += [field for field, new in changes.items() if new is not None]
        if closed_before is not UNCHANGED:
            paths.append("closed_before")
        request = UpdateLedgerRequest(
            ledger_id=ledger_id,
            request_id=request_id or new_request_id(),
            name=name or "",
            description=description or "",
            metadata=values,
            closed_before=None if closed_before is UNCHANGED else timestamp(closed_before),
            update_mask=FieldMask(paths=paths),
        )
        return await self._call(self.stub.UpdateLedger, request, timeout, outcome)

    async def delete_ledger(
        self,
        ledger_id: str,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> Ledger:
        """Delete an empty ledger, for good: nothing finds it any more.

        Raises:
            LedgerNotFound: no such ledger.
            LedgerNotEmpty: a balance is not zero, or something is pending.
        """
        request = DeleteLedgerRequest(ledger_id=ledger_id, request_id=request_id or new_request_id())
        return await self._call(self.stub.DeleteLedger, request, timeout, outcome)
