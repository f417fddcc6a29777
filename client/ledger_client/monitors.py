"""Calls about balance monitors."""

from collections.abc import AsyncIterator, Mapping
from typing import Literal, Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from ledger_client.channel import Connection, Outcome, new_request_id
from ledger_client.inputs import OperatorSign, metadata_changes, operator_value, units
from ledger_client.messages import enum_value, message
from ledger_client.monitor_filters import MonitorFilters, list_balance_monitors_request
from ledger_client.names import AccountRef, CategoryRef, id_of, name_subject
from ledger_client.v1.monitors_pb2 import (
    BalanceMonitor,
    CreateBalanceMonitorRequest,
    DeleteBalanceMonitorRequest,
    GetBalanceMonitorRequest,
    ListBalanceMonitorsResponse,
    MonitorCondition,
    MonitorField,
    UpdateBalanceMonitorRequest,
)

MonitorRef = str | BalanceMonitor
"""A monitor by its id, or as it was read."""
MonitorFieldWord = Literal["posted", "pending", "available", "lock_version"]

_FIELDS: dict[MonitorFieldWord, MonitorField.ValueType] = {
    "posted": MonitorField.MONITOR_FIELD_POSTED,
    "pending": MonitorField.MONITOR_FIELD_PENDING,
    "available": MonitorField.MONITOR_FIELD_AVAILABLE,
    "lock_version": MonitorField.MONITOR_FIELD_LOCK_VERSION,
}


def monitor_condition(
    field: MonitorFieldWord, operator: OperatorSign, value: int | str, *, resolve_value: int | str | None = None
) -> MonitorCondition:
    """``monitor_condition("available", "<", 10_000, resolve_value=15_000)``: when a monitor is triggered.

    Args:
        field: one of the three balances, or an account's lock_version.
        operator: any but ``!=``.
        value: what it is compared with, in minor units; zero and negative ones too.
        resolve_value: once triggered, it stays so for as long as the condition holds with this value; not less than
            value for ``<`` and ``<=``, not greater for ``>`` and ``>=``, none for ``==``.
    """
    return MonitorCondition(
        field=enum_value("field", field, _FIELDS),
        operator=operator_value(operator),
        value=units(value),
        resolve_value=None if resolve_value is None else units(resolve_value),
    )


class MonitorCalls(Connection):
    """What can be asked about balance monitors. Watch what they say with ``watch_events``."""

    async def create_balance_monitor(
        self,
        ledger_id: str,
        condition: MonitorCondition,
        *,
        account: AccountRef | None = None,
        category: CategoryRef | None = None,
        description: str = "",
        metadata: Mapping[str, str] | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> BalanceMonitor:
        """Create a monitor, whose first event tells the state it begins in.

        Args:
            ledger_id: the ledger that holds what it is on.
            condition: what ``monitor_condition`` makes; of a category, one of the three balances.
            account: what it is on; this or category. At most 100 monitors may be on one.
            category: what it is on: all accounts under it, summed.
            description: up to 1,000 characters.
            metadata: up to 50 keys, 16 KiB together.
            request_id: your own for this call; with the same one the call can be repeated with one effect.
            timeout: deadline in seconds; None: the client's.
            outcome: is told whether the answer or refusal is that of an earlier call.

        Raises:
            AccountNotFound, CategoryNotFound: it is not in this ledger.
            AccountDeleted: the account is deleted.
            TooManyMonitors: 100 are on it already.
        """
        request = message(
            CreateBalanceMonitorRequest,
            ledger_id=ledger_id,
            request_id=request_id or new_request_id(),
            condition=condition,
            description=description,
            metadata=metadata,
        )
        if (account is None) == (category is None):
            raise ValueError("give an account or a category, one of them")
        name_subject(request, account, category)
        return await self._call(self.stub.CreateBalanceMonitor, request, timeout, outcome)

    async def get_balance_monitor(
        self,
        ledger_id: str,
        monitor: MonitorRef,
        *,
        min_position: int | None = None,
        timeout: float | None = None,
    ) -> BalanceMonitor:
        """Read a monitor with its state and the balances now.

        Raises:
            MonitorNotFound: no such monitor in this ledger, or it was deleted.
        """
        request = message(
            GetBalanceMonitorRequest,
            ledger_id=ledger_id,
            monitor_id=id_of("monitor", monitor, BalanceMonitor),
            min_position=min_position,
        )
        return await self._call(self.stub.GetBalanceMonitor, request, timeout)

    async def list_balance_monitors(
        self,
        ledger_id: str,
        *,
        page_token: str = "",
        timeout: float | None = None,
        **filters: Unpack[MonitorFilters],
    ) -> ListBalanceMonitorsResponse:
        """One page of a ledger's monitors, oldest first; ``page_token`` is that of the page before.

        Raises:
            AccountNotFound, CategoryNotFound: what to keep the monitors of is not in this ledger.
        """
        request = list_balance_monitors_request(ledger_id, filters, page_token)
        return await self._call(self.stub.ListBalanceMonitors, request, timeout)

    async def balance_monitors(
        self, ledger_id: str, **filters: Unpack[MonitorFilters]
    ) -> AsyncIterator[BalanceMonitor]:
        """All monitors of a ledger that pass the filters, oldest first, page by page."""
        query = list_balance_monitors_request(ledger_id, filters)
        async for page in self._pages(self.stub.ListBalanceMonitors, query):
            for monitor in page.monitors:
                yield monitor

    async def update_balance_monitor(
        self,
        ledger_id: str,
        monitor: MonitorRef,
        *,
        version: int | None = None,
        condition: MonitorCondition | None = None,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        metadata_patch: Mapping[str, str | None] | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> BalanceMonitor:
        """Change those of a monitor's fields that are given; the others stay.

        Args:
            ledger_id: the ledger that holds it.
            monitor: which monitor.
            version: change it only if it is at this version, else VersionMismatch.
            condition: replaces the whole condition, which is judged anew; if that changes the state, an event says so.
            description: the new description; empty removes it.
            metadata: replaces all of it.
            metadata_patch: sets these keys and removes those whose value is None; not together with metadata.
            request_id: see ``create_balance_monitor``, and so for the rest.
            timeout: deadline in seconds; None: the client's.
            outcome: is told whether the answer or refusal is that of an earlier call.

        Raises:
            MonitorNotFound: no such monitor in this ledger, or it was deleted.
            VersionMismatch: it is at another version.
        """
        values, paths = metadata_changes(metadata, metadata_patch)
        changes = {"condition": condition, "description": description}
        request = message(
            UpdateBalanceMonitorRequest,
            ledger_id=ledger_id,
            monitor_id=id_of("monitor", monitor, BalanceMonitor),
            request_id=request_id or new_request_id(),
            version=version,
            condition=condition,
            description=description or "",
            metadata=values,
            update_mask=FieldMask(paths=[field for field, new in changes.items() if new is not None] + paths),
        )
        return await self._call(self.stub.UpdateBalanceMonitor, request, timeout, outcome)

    async def delete_balance_monitor(
        self,
        ledger_id: str,
        monitor: MonitorRef,
        *,
        version: int | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> BalanceMonitor:
        """Delete a monitor for good; the answer is how it was. The arguments are those of ``update_balance_monitor``.

        Raises:
            MonitorNotFound: no such monitor in this ledger, or it was deleted.
            VersionMismatch: it is at another version.
        """
        request = message(
            DeleteBalanceMonitorRequest,
            ledger_id=ledger_id,
            monitor_id=id_of("monitor", monitor, BalanceMonitor),
            request_id=request_id or new_request_id(),
            version=version,
        )
        return await self._call(self.stub.DeleteBalanceMonitor, request, timeout, outcome)
