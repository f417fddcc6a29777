"""What callers ask for: one class per mutation, made by the edge, already free of malformed fields.

`values()` of a command is what makes two requests "the same": its domain values as plain tuples, by the field
names of the request message. Ids that the edge made up are not among them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from ledger_server.domain.ids import new_first_entry_id, new_id
from ledger_server.domain.inputs import (
    AccountCondition,
    CategoryCondition,
    EntryInput,
    MetadataPatch,
    PartialEntry,
    Ref,
    TimePatch,
    Values,
    account_conditions_value,
    category_conditions_value,
    entries_value,
    items_value,
    limits_value,
    partial_entries_value,
    patch_value,
    time_value,
)
from ledger_server.domain.model import AccountStatus, BalanceLimits, Metadata, TransactionStatus
from ledger_server.domain.money import NormalBalance


@dataclass(slots=True, kw_only=True)
class Command:
    """What every mutation carries. In an atomic batch the batch has the request_id and its items have none."""

    method: ClassVar[str]

    ledger_id: str
    request_id: str = ""
    actor: str = "anonymous"
    # Made when it is submitted: by then another batch is being written, and there is time.
    fingerprint: bytes = field(default=b"", init=False)
    # Whether whole transactions are answered. It changes nothing that is written, so a repeat may ask otherwise.
    full_results: bool = True

    def values(self) -> Values:
        raise NotImplementedError

    def set_actor(self, actor: str) -> None:
        """Says who asks; the actor is not among the values that make a request the same."""
        self.actor = actor


@dataclass(slots=True, kw_only=True)
class CreateLedger(Command):
    method = "CreateLedger"

    name: str
    description: str
    metadata: Metadata
    new_ledger_id: str = field(default_factory=new_id)
    new_epoch: str = field(default_factory=new_id)

    def values(self) -> Values:
        return (("name", self.name), ("description", self.description), ("metadata", items_value(self.metadata)))


@dataclass(slots=True, kw_only=True)
class UpdateLedger(Command):
    method = "UpdateLedger"

    name: str | None
    description: str | None
    metadata: MetadataPatch | None
    closed_before: TimePatch = None

    def values(self) -> Values:
        return (
            ("name", self.name),
            ("description", self.description),
            ("metadata", patch_value(self.metadata)),
            ("closed_before", self.closed_before and ("to", time_value(self.closed_before[0]))),
        )


@dataclass(slots=True, kw_only=True)
class CreateAccount(Command):
    method = "CreateAccount"

    name: str
    description: str
    normal_balance: NormalBalance
    currency: str
    currency_exponent: int | None
    external_id: str | None
    metadata: Metadata
    limits: BalanceLimits = ()
    category_ids: tuple[str, ...] = ()
    account_id: str = field(default_factory=new_id)

    def values(self) -> Values:
        return (
            ("name", self.name),
            ("description", self.description),
            ("normal_balance", int(self.normal_balance)),
            ("currency", self.currency),
            ("currency_exponent", self.currency_exponent),
            ("external_id", self.external_id),
            ("metadata", items_value(self.metadata)),
            ("limits", limits_value(self.limits)),
            ("category_ids", self.category_ids),
        )


@dataclass(slots=True, kw_only=True)
class UpdateAccount(Command):
    """`external_id` "" removes it, None leaves it."""

    method = "UpdateAccount"

    account: Ref
    name: str | None
    description: str | None
    external_id: str | None
    metadata: MetadataPatch | None
    status: AccountStatus | None = None
    limits: BalanceLimits | None = None

    def values(self) -> Values:
        return (
            *self.account.values("account"),
            ("name", self.name),
            ("description", self.description),
            ("external_id", self.external_id),
            ("metadata", patch_value(self.metadata)),
            ("status", self.status and int(self.status)),
            ("limits", None if self.limits is None else limits_value(self.limits)),
        )


@dataclass(slots=True, kw_only=True)
class DeleteLedger(Command):
    method = "DeleteLedger"

    def values(self) -> Values:
        return ()


@dataclass(slots=True, kw_only=True)
class DeleteAccount(Command):
    method = "DeleteAccount"

    account: Ref

    def values(self) -> Values:
        return self.account.values("account")


@dataclass(slots=True, kw_only=True)
class UpdateEntry(Command):
    method = "UpdateEntry"

    entry_id: str
    metadata: MetadataPatch

    def values(self) -> Values:
        return (("entry_id", self.entry_id), ("metadata", patch_value(self.metadata)))


@dataclass(slots=True, kw_only=True)
class CreateTransaction(Command):
    method = "CreateTransaction"

    status: TransactionStatus
    description: str
    effective_at: datetime | None
    external_id: str | None
    metadata: Metadata
    entries: tuple[EntryInput, ...]
    archive_on_condition_failure: bool = False
    expires_at: datetime | None = None
    category_conditions: tuple[CategoryCondition, ...] = ()
    transaction_id: str = field(default_factory=new_id)
    first_entry_id: str = field(default_factory=new_first_entry_id)

    def values(self) -> Values:
        return (
            ("status", int(self.status)),
            ("description", self.description),
            ("effective_at", time_value(self.effective_at)),
            ("external_id", self.external_id),
            ("metadata", items_value(self.metadata)),
            ("entries", entries_value(self.entries)),
            ("archive_on_condition_failure", self.archive_on_condition_failure),
            ("expires_at", time_value(self.expires_at)),
            ("category_conditions", category_conditions_value(self.category_conditions)),
        )


@dataclass(slots=True, kw_only=True)
class UpdateTransaction(Command):
    """None leaves a field; `external_id` "" removes it."""

    method = "UpdateTransaction"

    transaction: Ref
    version: int | None
    description: str | None
    effective_at: datetime | None
    external_id: str | None
    metadata: MetadataPatch | None
    entries: tuple[EntryInput, ...] | None
    expires_at: TimePatch = None
    category_conditions: tuple[CategoryCondition, ...] = ()
    first_entry_id: str = field(default_factory=new_first_entry_id)

    def values(self) -> Values:
        return (
            *self.transaction.values("transaction"),
            ("version", self.version),
            ("description", self.description),
            ("effective_at", time_value(self.effective_at)),
            ("external_id", self.external_id),
            ("metadata", patch_value(self.metadata)),
            ("entries", None if self.entries is None else entries_value(self.entries)),
            ("expires_at", self.expires_at and ("to", time_value(self.expires_at[0]))),
            ("category_conditions", category_conditions_value(self.category_conditions)),
        )


@dataclass(slots=True, kw_only=True)
class PostTransaction(Command):
    method = "PostTransaction"

    transaction: Ref
    version: int | None
    entries: tuple[EntryInput, ...] | None
    effective_at: datetime | None
    metadata: MetadataPatch | None
    conditions: tuple[AccountCondition, ...] = ()
    category_conditions: tuple[CategoryCondition, ...] = ()
    first_entry_id: str = field(default_factory=new_first_entry_id)

    def values(self) -> Values:
        return (
            *self.transaction.values("transaction"),
            ("version", self.version),
            ("entries", None if self.entries is None else entries_value(self.entries)),
            ("effective_at", time_value(self.effective_at)),
            ("metadata", patch_value(self.metadata)),
            ("conditions", account_conditions_value(self.conditions)),
            ("category_conditions", category_conditions_value(self.category_conditions)),
        )


@dataclass(slots=True, kw_only=True)
class ArchiveTransaction(Command):
    method = "ArchiveTransaction"

    transaction: Ref
    version: int | None
    metadata: MetadataPatch | None
    first_entry_id: str = field(default_factory=new_first_entry_id)

    def values(self) -> Values:
        return (
            *self.transaction.values("transaction"),
            ("version", self.version),
            ("metadata", patch_value(self.metadata)),
        )


@dataclass(slots=True, kw_only=True)
class PartialPostTransaction(Command):
    """Posts a part of a pending transaction as a new one."""

    method = "PartialPostTransaction"

    transaction: Ref
    version: int | None
    entries: tuple[PartialEntry, ...]
    effective_at: datetime | None
    description: str
    external_id: str | None
    metadata: Metadata
    category_conditions: tuple[CategoryCondition, ...] = ()
    transaction_id: str = field(default_factory=new_id)
    first_entry_id: str = field(default_factory=new_first_entry_id)
    remainder_first_entry_id: str = field(default_factory=new_first_entry_id)

    def values(self) -> Values:
        return (
            *self.transaction.values("transaction"),
            ("version", self.version),
            ("entries", partial_entries_value(self.entries)),
            ("effective_at", time_value(self.effective_at)),
            ("description", self.description),
            ("external_id", self.external_id),
            ("metadata", items_value(self.metadata)),
            ("category_conditions", category_conditions_value(self.category_conditions)),
        )


@dataclass(slots=True, kw_only=True)
class ReverseTransaction(Command):
    """Reverses a posted transaction by a new one; no entries: all of it."""

    method = "ReverseTransaction"

    transaction: Ref
    version: int | None
    status: TransactionStatus
    entries: tuple[PartialEntry, ...] | None
    effective_at: datetime | None
    description: str
    external_id: str | None
    metadata: Metadata
    conditions: tuple[AccountCondition, ...] = ()
    category_conditions: tuple[CategoryCondition, ...] = ()
    transaction_id: str = field(default_factory=new_id)
    first_entry_id: str = field(default_factory=new_first_entry_id)

    def values(self) -> Values:
        return (
            *self.transaction.values("transaction"),
            ("version", self.version),
            ("status", int(self.status)),
            ("entries", None if self.entries is None else partial_entries_value(self.entries)),
            ("effective_at", time_value(self.effective_at)),
            ("description", self.description),
            ("external_id", self.external_id),
            ("metadata", items_value(self.metadata)),
            ("conditions", account_conditions_value(self.conditions)),
            ("category_conditions", category_conditions_value(self.category_conditions)),
        )


@dataclass(slots=True, kw_only=True)
class ExpireTransaction(Command):
    """The sweep's: archives a pending transaction whose time has come. It has no request_id and stores no outcome."""

    method = "ExpireTransaction"

    transaction: Ref
    first_entry_id: str = field(default_factory=new_first_entry_id)

    def values(self) -> Values:
        return (*self.transaction.values("transaction"),)


TransactionCommand = (
    CreateTransaction
    | UpdateTransaction
    | PostTransaction
    | ArchiveTransaction
    | PartialPostTransaction
    | ReverseTransaction
)


@dataclass(slots=True, kw_only=True)
class Batch(Command):
    """Commands under one request_id: accepted together or not at all, or, as a chunk of an import, one by one."""

    commands: tuple[Command, ...]

    def values(self) -> Values:
        return (("commands", tuple((command.method, command.values()) for command in self.commands)),)

    def set_actor(self, actor: str) -> None:
        self.actor = actor
        for command in self.commands:
            command.actor = actor


@dataclass(slots=True, kw_only=True)
class AtomicBatch(Batch):
    method = "BatchWriteTransactions"


@dataclass(slots=True, kw_only=True)
class BatchCreateAccounts(AtomicBatch):
    method = "BatchCreateAccounts"


@dataclass(slots=True, kw_only=True)
class ImportChunk(Batch):
    method = "ImportTransactions"
