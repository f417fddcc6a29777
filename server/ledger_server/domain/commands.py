"""What callers ask for: one class per mutation, made by the edge, already free of malformed fields.

Commands that are equal are the same request: what the edge made up, and who asks, is not compared. Fields are named as
those of the request message, and told by their names (fingerprint.py). So that requests of before stay what they were,
a new field comes last in its class and has a default, which means what its absence meant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from ledger_server.domain.ids import new_id
from ledger_server.domain.inputs import (
    AccountCondition,
    CategoryCondition,
    EntryInput,
    MetadataPatch,
    PartialEntry,
    Ref,
    TimePatch,
)
from ledger_server.domain.model import AccountStatus, BalanceLimits, Metadata, TransactionStatus
from ledger_server.domain.money import NormalBalance

# Who asks for what nobody asks for, as that a transaction expires; no caller goes by that name.
LEDGER_ACTOR = "ledger"


@dataclass(slots=True, kw_only=True)
class Command:
    """What every mutation carries. In an atomic batch the batch has the request_id and its items have none."""

    method: ClassVar[str]

    # Within it the request_id names one request.
    ledger_id: int = field(compare=False)
    request_id: str = field(default="", compare=False)
    actor: str = field(default="anonymous", compare=False)
    # Made when it is submitted: by then another batch is being written, and there is time.
    fingerprint: bytes = field(default=b"", init=False, compare=False)
    # Whether whole transactions are answered. It changes nothing that is written, so a repeat may ask otherwise.
    full_results: bool = field(default=True, compare=False)

    def set_actor(self, actor: str) -> None:
        """Says who asks."""
        self.actor = actor


@dataclass(slots=True, kw_only=True)
class CreateLedger(Command):
    method = "CreateLedger"

    name: str
    description: str
    metadata: Metadata
    new_epoch: str = field(default_factory=new_id, compare=False)


@dataclass(slots=True, kw_only=True)
class UpdateLedger(Command):
    method = "UpdateLedger"

    name: str | None
    description: str | None
    metadata: MetadataPatch | None
    closed_before: TimePatch = None


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
    account_id: str = field(default_factory=new_id, compare=False)


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


@dataclass(slots=True, kw_only=True)
class DeleteLedger(Command):
    method = "DeleteLedger"


@dataclass(slots=True, kw_only=True)
class DeleteAccount(Command):
    method = "DeleteAccount"

    account: Ref


@dataclass(slots=True, kw_only=True)
class UpdateEntry(Command):
    method = "UpdateEntry"

    entry_id: str
    metadata: MetadataPatch


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
    transaction_id: str = field(default_factory=new_id, compare=False)


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


@dataclass(slots=True, kw_only=True)
class ArchiveTransaction(Command):
    method = "ArchiveTransaction"

    transaction: Ref
    version: int | None
    metadata: MetadataPatch | None


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
    transaction_id: str = field(default_factory=new_id, compare=False)


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
    transaction_id: str = field(default_factory=new_id, compare=False)


@dataclass(slots=True, kw_only=True)
class ExpireTransaction(Command):
    """The sweep's: archives a pending transaction whose time has come. It has no request_id and stores no outcome."""

    method = "ExpireTransaction"

    transaction: Ref


# What a batch may write, if it is one commit. A partial post writes both its part and what remains.
BATCH_ENTRIES_MAX = 20_000

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
