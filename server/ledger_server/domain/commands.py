"""What callers ask for: one class per mutation, made by the edge, already free of malformed fields.

`values()` of a command is what makes two requests "the same": its domain values as plain tuples, by the field
names of the request message. Ids that the edge made up are not among them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, NamedTuple

from ledger_server.domain.errors import InvalidField, Violation
from ledger_server.domain.ids import new_first_entry_id, new_id
from ledger_server.domain.model import AccountStatus, BalanceLimits, Metadata, TransactionStatus
from ledger_server.domain.money import BalanceKind, Direction, NormalBalance, Operator

METADATA_KEYS_MAX = 50
METADATA_BYTES_MAX = 16 * 1024

Value = object
# A change of an optional time: None leaves it, (None,) removes it, (time,) sets it.
TimePatch = tuple[datetime | None] | None
Values = tuple[tuple[str, Value], ...]


class Ref(NamedTuple):
    """Names an object by its id or by its external id; exactly one is set."""

    id: str | None
    external_id: str | None

    def describe(self, noun: str) -> dict[str, str]:
        """The name as error metadata: `{"account_id": …}` or `{"account_external_id": …}`."""
        return {f"{noun}_id": self.id} if self.id is not None else {f"{noun}_external_id": str(self.external_id)}


    def values(self, noun: str) -> Values:
        """The name as a command's values."""
        return ((f"{noun}_id", self.id), (f"{noun}_external_id", self.external_id))


class BalanceCondition(NamedTuple):
    """`<balance> <operator> <amount>` must hold after the command."""

    balance: BalanceKind
    operator: Operator
    amount: int


class EntryInput(NamedTuple):
    """A line to write."""

    account: Ref
    direction: Direction
    amount: int
    metadata: Metadata | None = None
    lock_version: int | None = None
    conditions: tuple[BalanceCondition, ...] = ()


class AccountCondition(NamedTuple):
    """What must hold on an account of the ledger, in it or not."""

    account: Ref
    lock_version: int | None
    conditions: tuple[BalanceCondition, ...]


class MetadataPatch(NamedTuple):
    """A change of metadata: replace all, or set some keys and remove others."""

    replaces: bool
    set: Metadata
    removed: tuple[str, ...] = ()

    def apply(self, metadata: Metadata) -> Metadata:
        """The metadata after the change; InvalidField if it would outgrow its limits."""
        if self.replaces:
            return self.set
        merged = {key: value for key, value in metadata.items() if key not in self.removed} | dict(self.set)
        check_metadata_size(merged)
        return merged

    def values(self) -> Value:
        return (self.replaces, tuple(sorted(self.set.items())), tuple(sorted(self.removed)))


def check_metadata_size(metadata: Metadata) -> None:
    """InvalidField if there are more than 50 keys or more than 16 KiB."""
    if len(metadata) > METADATA_KEYS_MAX:
        raise InvalidField.of(
            [Violation("metadata", f"has {len(metadata)} keys; at most {METADATA_KEYS_MAX} are allowed")]
        )
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    if size > METADATA_BYTES_MAX:
        raise InvalidField.of([Violation("metadata", f"has {size} bytes; at most {METADATA_BYTES_MAX} are allowed")])


@dataclass(slots=True, kw_only=True)
class Command:
    """What every mutation carries. In an atomic batch the batch has the request_id and its items have none."""

    method: ClassVar[str]

    ledger_id: str
    request_id: str = ""
    actor: str = "anonymous"
    # Its fingerprint, made when it is submitted: by then another batch is being written, and there is time.
    mark: bytes = field(default=b"", init=False)

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
        return (("name", self.name), ("description", self.description), ("metadata", _items(self.metadata)))


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
            ("metadata", _patch(self.metadata)),
            ("closed_before", self.closed_before and ("to", _time(self.closed_before[0]))),
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
    account_id: str = field(default_factory=new_id)

    def values(self) -> Values:
        return (
            ("name", self.name),
            ("description", self.description),
            ("normal_balance", int(self.normal_balance)),
            ("currency", self.currency),
            ("currency_exponent", self.currency_exponent),
            ("external_id", self.external_id),
            ("metadata", _items(self.metadata)),
            ("limits", _limits(self.limits)),
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
            ("metadata", _patch(self.metadata)),
            ("status", self.status and int(self.status)),
            ("limits", None if self.limits is None else _limits(self.limits)),
        )


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
    transaction_id: str = field(default_factory=new_id)
    first_entry_id: str = field(default_factory=new_first_entry_id)

    def values(self) -> Values:
        return (
            ("status", int(self.status)),
            ("description", self.description),
            ("effective_at", _time(self.effective_at)),
            ("external_id", self.external_id),
            ("metadata", _items(self.metadata)),
            ("entries", _entries(self.entries)),
            ("archive_on_condition_failure", self.archive_on_condition_failure),
            ("expires_at", _time(self.expires_at)),
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
    first_entry_id: str = field(default_factory=new_first_entry_id)

    def values(self) -> Values:
        return (
            *self.transaction.values("transaction"),
            ("version", self.version),
            ("description", self.description),
            ("effective_at", _time(self.effective_at)),
            ("external_id", self.external_id),
            ("metadata", _patch(self.metadata)),
            ("entries", None if self.entries is None else _entries(self.entries)),
            ("expires_at", self.expires_at and ("to", _time(self.expires_at[0]))),
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
    first_entry_id: str = field(default_factory=new_first_entry_id)

    def values(self) -> Values:
        return (
            *self.transaction.values("transaction"),
            ("version", self.version),
            ("entries", None if self.entries is None else _entries(self.entries)),
            ("effective_at", _time(self.effective_at)),
            ("metadata", _patch(self.metadata)),
            ("conditions", _account_conditions(self.conditions)),
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
            ("metadata", _patch(self.metadata)),
        )


class PartialEntry(NamedTuple):
    """A part of an existing entry: named by its id, or by its account and direction if no other entry has these."""

    entry_id: str | None
    account: Ref | None
    direction: Direction | None
    amount: int
    metadata: Metadata | None = None
    lock_version: int | None = None
    conditions: tuple[BalanceCondition, ...] = ()


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
    transaction_id: str = field(default_factory=new_id)
    first_entry_id: str = field(default_factory=new_first_entry_id)
    remainder_first_entry_id: str = field(default_factory=new_first_entry_id)

    def values(self) -> Values:
        return (
            *self.transaction.values("transaction"),
            ("version", self.version),
            ("entries", _partial_entries(self.entries)),
            ("effective_at", _time(self.effective_at)),
            ("description", self.description),
            ("external_id", self.external_id),
            ("metadata", _items(self.metadata)),
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
    transaction_id: str = field(default_factory=new_id)
    first_entry_id: str = field(default_factory=new_first_entry_id)

    def values(self) -> Values:
        return (
            *self.transaction.values("transaction"),
            ("version", self.version),
            ("status", int(self.status)),
            ("entries", None if self.entries is None else _partial_entries(self.entries)),
            ("effective_at", _time(self.effective_at)),
            ("description", self.description),
            ("external_id", self.external_id),
            ("metadata", _items(self.metadata)),
            ("conditions", _account_conditions(self.conditions)),
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

    # Whether whole transactions are answered. It changes nothing that is written, so a repeat may ask otherwise.
    full_results: bool = False


@dataclass(slots=True, kw_only=True)
class BatchCreateAccounts(AtomicBatch):
    method = "BatchCreateAccounts"


@dataclass(slots=True, kw_only=True)
class ImportChunk(Batch):
    method = "ImportTransactions"


def _items(metadata: Metadata | None) -> Value:
    return tuple(sorted(metadata.items())) if metadata else ()


def _patch(patch: MetadataPatch | None) -> Value:
    return patch and patch.values()


def _time(time: datetime | None) -> Value:
    return time and time.isoformat()


def _limits(limits: BalanceLimits) -> Value:
    return tuple((int(limit.kind), limit.min, limit.max) for limit in limits)


def _account_conditions(conditions: tuple[AccountCondition, ...]) -> Value:
    return tuple((tuple(c.account), c.lock_version, _conditions(c.conditions)) for c in conditions)


def _partial_entries(entries: tuple[PartialEntry, ...]) -> Value:
    return tuple(
        (
            entry.entry_id,
            entry.account and tuple(entry.account),
            entry.direction and int(entry.direction),
            entry.amount,
            _items(entry.metadata),
            entry.lock_version,
            _conditions(entry.conditions),
        )
        for entry in entries
    )


def _conditions(conditions: tuple[BalanceCondition, ...]) -> Value:
    return tuple((int(c.balance), int(c.operator), c.amount) for c in conditions)


def _entries(entries: tuple[EntryInput, ...]) -> Value:
    return tuple(
        (
            account.id,
            account.external_id,
            int(direction),
            amount,
            _items(metadata),
            lock_version,
            _conditions(conditions) if conditions else (),
        )
        for account, direction, amount, metadata, lock_version, conditions in entries
    )
