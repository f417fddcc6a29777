"""Calls about ledgers."""

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from ledger_client.channel import Connection, Outcome, new_request_id
from ledger_client.inputs import UNCHANGED, Unchanged, metadata_changes, timestamp
from ledger_client.ledger_filters import LedgerFilters, list_ledgers_request
from ledger_client.messages import message
from ledger_client.v1.ledgers_pb2 import (
    CreateLedgerRequest,
    DeleteLedgerRequest,
    GetLedgerRequest,
    Ledger,
    ListLedgersResponse,
    UpdateLedgerRequest,
)


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
            outcome: is told whether the answer or refusal is that of an earlier call.
        """
        request = message(
            CreateLedgerRequest,
            request_id=request_id or new_request_id(),
            name=name,
            description=description,
            metadata=metadata,
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
        request = message(GetLedgerRequest, ledger_id=ledger_id, min_position=min_position)
        return await self._call(self.stub.GetLedger, request, timeout)

    async def list_ledgers(
        self, *, page_token: str = "", timeout: float | None = None, **filters: Unpack[LedgerFilters]
    ) -> ListLedgersResponse:
        """One page of the ledgers, oldest first; ``page_token`` is that of the page before."""
        request = list_ledgers_request(filters, page_token)
        return await self._call(self.stub.ListLedgers, request, timeout)

    async def ledgers(self, **filters: Unpack[LedgerFilters]) -> AsyncIterator[Ledger]:
        """All ledgers that pass the filters, oldest first, page by page."""
        query = list_ledgers_request(filters)
        async for page in self._pages(self.stub.ListLedgers, query):
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
            outcome: is told whether the answer or refusal is that of an earlier call.

        Raises:
            LedgerNotFound: no such ledger.
        """
        values, paths = metadata_changes(metadata, metadata_patch)
        changes = {"name": name, "description": description}
        paths += [field for field, new in changes.items() if new is not None]
        if closed_before is not UNCHANGED:
            paths.append("closed_before")
        request = message(
            UpdateLedgerRequest,
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
        request = message(DeleteLedgerRequest, ledger_id=ledger_id, request_id=request_id or new_request_id())
        return await self._call(self.stub.DeleteLedger, request, timeout, outcome)
