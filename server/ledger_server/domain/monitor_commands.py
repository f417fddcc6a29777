"""What callers ask for about balance monitors."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger_server.domain.commands import Command
from ledger_server.domain.ids import new_id
from ledger_server.domain.inputs import MetadataPatch, Ref, Value, Values, items_value, patch_value
from ledger_server.domain.model import Metadata, MonitorCondition


@dataclass(slots=True, kw_only=True)
class CreateBalanceMonitor(Command):
    """Exactly one of `account` and `category` is set."""

    method = "CreateBalanceMonitor"

    account: Ref | None
    category: Ref | None
    condition: MonitorCondition
    description: str
    metadata: Metadata
    monitor_id: str = field(default_factory=new_id)

    def values(self) -> Values:
        return (
            *(self.account or _NOTHING).values("account"),
            *(self.category or _NOTHING).values("category"),
            ("condition", _condition_value(self.condition)),
            ("description", self.description),
            ("metadata", items_value(self.metadata)),
        )


@dataclass(slots=True, kw_only=True)
class UpdateBalanceMonitor(Command):
    """None leaves a field."""

    method = "UpdateBalanceMonitor"

    monitor_id: str
    version: int | None
    condition: MonitorCondition | None
    description: str | None
    metadata: MetadataPatch | None

    def values(self) -> Values:
        return (
            ("monitor_id", self.monitor_id),
            ("version", self.version),
            ("condition", self.condition and _condition_value(self.condition)),
            ("description", self.description),
            ("metadata", patch_value(self.metadata)),
        )


@dataclass(slots=True, kw_only=True)
class DeleteBalanceMonitor(Command):
    method = "DeleteBalanceMonitor"

    monitor_id: str
    version: int | None

    def values(self) -> Values:
        return (("monitor_id", self.monitor_id), ("version", self.version))


_NOTHING = Ref(None, None)


def _condition_value(condition: MonitorCondition) -> Value:
    field, operator, value, resolve_value = condition
    return (int(field), int(operator), value, resolve_value)
