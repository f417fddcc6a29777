"""What commands are made of: names of objects, lines to write, conditions, changes of metadata.

They are told by the names of their fields, as commands are: a new one has a default.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, TypeVar

from ledger_server.domain.errors import InvalidField, Violation
from ledger_server.domain.model import Metadata
from ledger_server.domain.money import BalanceKind, Direction, Operator

METADATA_KEYS_MAX = 50
METADATA_BYTES_MAX = 16 * 1024

# A change of an optional time: None leaves it, (None,) removes it, (time,) sets it.
TimePatch = tuple[datetime | None] | None

_T = TypeVar("_T")


class Ref(NamedTuple):
    """Names an object by its id or by its external id; exactly one is set."""

    id: str | None
    external_id: str | None

    def describe(self, noun: str) -> dict[str, str]:
        """The name as error metadata: `{"account_id": …}` or `{"account_external_id": …}`."""
        return {f"{noun}_id": self.id} if self.id is not None else {f"{noun}_external_id": str(self.external_id)}


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


class CategoryCondition(NamedTuple):
    """What must hold on a category of the ledger."""

    category: Ref
    conditions: tuple[BalanceCondition, ...]


class PartialEntry(NamedTuple):
    """A part of an existing entry: named by its id, or by its account and direction if no other entry has these."""

    entry_id: str | None
    account: Ref | None
    direction: Direction | None
    amount: int
    metadata: Metadata | None = None
    lock_version: int | None = None
    conditions: tuple[BalanceCondition, ...] = ()


class MetadataPatch(NamedTuple):
    """A change of metadata: replace all, or set some keys and remove others."""

    replaces: bool
    set: Metadata
    removed: frozenset[str] = frozenset()

    def apply(self, metadata: Metadata) -> Metadata:
        """The metadata after the change; InvalidField if it would outgrow its limits."""
        if self.replaces:
            return self.set
        merged = {key: value for key, value in metadata.items() if key not in self.removed} | dict(self.set)
        check_metadata_size(merged)
        return merged


def either(value: _T | None, default: _T) -> _T:
    """What a command asks for, or what stands where it asks for nothing."""
    return default if value is None else value


def patched(metadata: Metadata, patch: MetadataPatch | None) -> Metadata:
    """The metadata after a change, or as it is if there is none."""
    return metadata if patch is None else patch.apply(metadata)


def check_metadata_size(metadata: Metadata) -> None:
    """InvalidField if there are more than 50 keys or more than 16 KiB."""
    if len(metadata) > METADATA_KEYS_MAX:
        raise InvalidField.of(
            [Violation("metadata", f"has {len(metadata)} keys; at most {METADATA_KEYS_MAX} are allowed")]
        )
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    if size > METADATA_BYTES_MAX:
        raise InvalidField.of([Violation("metadata", f"has {size} bytes; at most {METADATA_BYTES_MAX} are allowed")])
