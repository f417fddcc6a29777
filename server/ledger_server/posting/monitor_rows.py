"""The rows of monitors: each as the batch leaves it, and the conditions it was given."""

from __future__ import annotations

from datetime import datetime

from ledger_server.domain.book import Effect
from ledger_server.domain.model import EventKind, Monitor, MonitorCondition
from ledger_server.domain.monitor_commands import UpdateBalanceMonitor
from ledger_server.posting.columns import NULL, literals, or_null, quoted, quoted_map
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection


class MonitorRows:
    """What a batch does to monitors."""

    def __init__(self, ledger_id: int) -> None:
        self._ledger_id = ledger_id
        # Those of which nothing changes but their state, which write_batch writes; and all others.
        self._turned: dict[str, Monitor] = {}
        self._monitors: dict[str, Monitor] = {}
        self._deleted_positions: dict[str, str] = {}
        self._conditions: list[tuple[str, ...]] = []
        # By how many the ledger has more.
        self._growth = 0

    @property
    def has_others(self) -> bool:
        """Whether there are rows that are not in `turned`."""
        return bool(self._monitors)

    @property
    def turned(self) -> list[tuple[str, ...]]:
        """The states that monitors turned to, for write_batch.sql."""
        return [(m.id, _boolean(m.triggered), str(m.since_position)) for m in self._turned.values()]

    def add_effect(self, effect: Effect) -> None:
        for monitor, *_ in effect.edges:
            if effect.monitor is None and monitor.deleted_at is None and monitor.id not in self._monitors:
                self._turned[monitor.id] = monitor
            else:
                self._add(effect, monitor)
        if effect.monitor is not None:
            monitor = effect.monitor.monitor
            self._add(effect, monitor)
            self._growth += effect.kind == EventKind.MONITOR_CREATED
            command = effect.command
            if effect.kind == EventKind.MONITOR_CREATED or (
                isinstance(command, UpdateBalanceMonitor) and command.condition is not None
            ):
                self._conditions.append((monitor.id, str(effect.position), *_condition(monitor.condition)))

    async def write_others(self, connection: Connection, now: datetime) -> None:
        """Writes them within the caller's transaction, once what they are on is there."""
        if self._monitors:
            columns = literals([self._row(monitor) for monitor in self._monitors.values()], 18)
            await connection.execute(sql.write_monitors, self._ledger_id, *columns, self._growth)
        if self._conditions:
            columns = literals(self._conditions, 6)
            await connection.execute(sql.insert_monitor_conditions, self._ledger_id, *columns, now)

    def _add(self, effect: Effect, monitor: Monitor) -> None:
        self._monitors[monitor.id] = monitor
        if monitor.deleted_at is not None:
            self._deleted_positions[monitor.id] = str(effect.position)
            self._growth -= 1

    def _row(self, monitor: Monitor) -> tuple[str, ...]:
        return (
            monitor.id,
            or_null(monitor.account_id),
            or_null(monitor.category_id),
            str(monitor.created_position),
            monitor.created_at.isoformat(),
            monitor.updated_at.isoformat(),
            str(monitor.version),
            *_condition(monitor.condition),
            quoted(monitor.description),
            quoted_map(monitor.metadata),
            _boolean(monitor.triggered),
            str(monitor.since_position),
            monitor.since.isoformat(),
            or_null(self._deleted_positions.get(monitor.id)),
            monitor.deleted_at.isoformat() if monitor.deleted_at is not None else NULL,
        )


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _condition(condition: MonitorCondition) -> tuple[str, str, str, str]:
    field, operator, value, resolve_value = condition
    return str(int(field)), str(int(operator)), str(value), NULL if resolve_value is None else str(resolve_value)
