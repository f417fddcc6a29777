"""What callers ask for about balance monitors."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger_server.domain.commands import Command
from ledger_server.domain.ids import new_id
from ledger_server.domain.inputs import MetadataPatch, Ref
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
    monitor_id: str = field(default_factory=new_id, compare=False)


@dataclass(slots=True, kw_only=True)
class UpdateBalanceMonitor(Command):
    """None leaves a field."""

    method = "UpdateBalanceMonitor"

    monitor_id: str
    version: int | None
    condition: MonitorCondition | None
    description: str | None
    metadata: MetadataPatch | None


@dataclass(slots=True, kw_only=True)
class DeleteBalanceMonitor(Command):
    method = "DeleteBalanceMonitor"

    monitor_id: str
    version: int | None
