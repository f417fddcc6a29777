"""Calls about entries."""

from collections.abc import AsyncIterator, Mapping
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from ledger_client.channel import Connection, Outcome, new_request_id
from ledger_client.entry_filters import EntryFilters, list_entries_request
from ledger_client.inputs import metadata_changes
from ledger_client.messages import message
from ledger_client.v1.entries_pb2 import GetEntryRequest, ListEntriesResponse, UpdateEntryRequest
from ledger_client.v1.transactions_pb2 import Entry


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
        request = message(GetEntryRequest, ledger_id=ledger_id, entry_id=entry_id, min_position=min_position)
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
            outcome: is told whether the answer or refusal is that of an earlier call.

        Raises:
            EntryNotFound: no such entry in this ledger.
        """
        values, paths = metadata_changes(metadata, metadata_patch)
        request = message(
            UpdateEntryRequest,
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
        request = list_entries_request(ledger_id, filters, page_token)
        return await self._call(self.stub.ListEntries, request, timeout)

    async def entries(self, ledger_id: str, **filters: Unpack[EntryFilters]) -> AsyncIterator[Entry]:
        """All entries that pass the filters, page by page."""
        query = list_entries_request(ledger_id, filters)
        async for page in self._pages(self.stub.ListEntries, query):
            for entry in page.entries:
                yield entry
