"""Stored outcomes: what a request_id came to, so that repeating it answers equally.

A transaction is rebuilt from the version that was written and its entries; an account or a ledger, whose rows
change in place, is stored as it was; a refusal is stored as it was. The epoch is not stored: what survived a restore
has its position in the new history, so the epoch beside it is that of now.

Records are read by other versions of this service, too: what one does not tell is at its default, and what it tells
beyond the fields of its class is passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from ledger_server.domain.book import Effect
from ledger_server.domain.commands import CreateLedger
from ledger_server.domain.errors import LedgerError, error_from_record
from ledger_server.domain.model import (
    Account,
    AccountVersion,
    Category,
    CategoryVersion,
    Ledger,
    ListedEntry,
    Monitor,
    MonitorReading,
    Transaction,
    TransactionStatus,
)
from ledger_server.domain.money import Counters

REFUSALS_KEPT_MAX = 100

_T = TypeVar("_T")


class LeanTransaction(NamedTuple):
    """A transaction of an atomic batch, as far as its outcome keeps it."""

    id: str
    version: int
    status: TransactionStatus
    position: int


@dataclass(slots=True)
class Written:
    """What a command wrote, as of its position. Immutable.

    message: as balances_message in AccountVersion.
    """

    object: Ledger | AccountVersion | CategoryVersion | Transaction | LeanTransaction | MonitorReading | ListedEntry
    position: int
    epoch: str
    replayed: bool = False
    message: bytes | None = field(default=None, init=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What became of a chunk of an import; the first refusals, each with the index of its command."""

    accepted_count: int
    refused_count: int
    refusals: list[tuple[int, LedgerError]]
    position: int
    epoch: str
    replayed: bool = False


def written(effect: Effect, epoch: str) -> Written:
    """The answer to an accepted command: of a transaction the version written, as a repetition will find it."""
    if effect.transactions:
        transaction, _, wrote_entries = effect.transactions[0]
        if not wrote_entries:
            transaction = transaction._replace(entry_set=transaction.entry_set.as_written())
        return Written(transaction, effect.position, epoch)
    if effect.account is not None:
        return Written(effect.account, effect.position, epoch)
    if effect.entry is not None:
        return Written(effect.entry, effect.position, epoch)
    if effect.monitor is not None:
        return Written(effect.monitor, effect.position, epoch)
    if effect.category is not None:
        return Written(effect.category, effect.position, epoch)
    assert effect.ledger is not None, effect
    if isinstance(effect.command, CreateLedger):
        # A new ledger stands at the beginning of its own log, not at a position of the registry's.
        return Written(effect.ledger, 0, effect.command.new_epoch)
    return Written(effect.ledger, effect.position, epoch)


def lean(answer: Written) -> Written:
    """The same answer without a transaction's entries."""
    if not isinstance(t := answer.object, Transaction):
        return answer
    return replace(answer, object=LeanTransaction(t.id, t.version, t.status, answer.position))


def record_of(answer: Written) -> dict[str, Any]:
    """What was written, as it is stored: of an entry what may change, of a monitor also what it is on."""
    head = {"position": answer.position}
    match answer.object:
        case AccountVersion(account, lock_version, counters, position):
            return head | {
                "account": _fields_of(account),
                "lock_version": lock_version,
                "counters": [str(counter) for counter in counters],
                "balance_position": position,
            }
        case CategoryVersion(category, counters, position):
            return head | {
                "category": _fields_of(category),
                "counters": [str(counter) for counter in counters],
                "balance_position": position,
            }
        case Ledger() as ledger:
            return head | {"ledger": _fields_of(ledger)}
        case ListedEntry() as listed:
            # The rest never changes.
            discarded_at = _storable(listed.discarded_at)
            return head | {"entry_id": listed.id, "metadata": listed.entry.metadata, "discarded_at": discarded_at}
        case MonitorReading(monitor=monitor, subject=subject):
            return record_of(replace(answer, object=subject)) | {"monitor": _fields_of(monitor)}
    raise TypeError(answer.object)


def written_from(record: dict[str, Any], epoch: str) -> Written:
    """What `record_of` stored, as the answer to a repetition."""
    if "ledger" in record:
        return Written(_object_from(Ledger, record["ledger"]), record["position"], epoch, replayed=True)
    subject = _subject_from(record)
    reading = MonitorReading(_object_from(Monitor, record["monitor"]), subject) if "monitor" in record else None
    return Written(reading or subject, record["position"], epoch, replayed=True)


def discarded_at_from(record: dict[str, Any]) -> datetime | None:
    """When the entry of which an edit was stored had been discarded; None if it stood, or this is of before."""
    discarded_at = record.get("discarded_at")
    return None if discarded_at is None else datetime.fromisoformat(discarded_at)


def _subject_from(record: dict[str, Any]) -> AccountVersion | CategoryVersion:
    counters, position = Counters(*map(int, record["counters"])), record["balance_position"]
    if "category" in record:
        return CategoryVersion(_object_from(Category, record["category"]), counters, position)
    return AccountVersion(_object_from(Account, record["account"]), record["lock_version"], counters, position)


def batch_record(answers: list[Written]) -> dict[str, Any]:
    """The results of an atomic batch as they are stored: lean transactions, or accounts."""
    if any(isinstance(answer.object, AccountVersion) for answer in answers):
        return {"accounts": [record_of(answer) for answer in answers]}
    return {
        "batch": [
            [t.id, t.version, int(t.status), answer.position]
            for answer in answers
            if isinstance(t := answer.object, Transaction)
        ]
    }


def acknowledgement_record(answer: Acknowledgement) -> dict[str, Any]:
    """What became of a chunk of an import, as it is stored."""
    return {
        "import": {
            "accepted": answer.accepted_count,
            "refused": answer.refused_count,
            "refusals": [[index, error.to_record()] for index, error in answer.refusals],
            "position": answer.position,
        }
    }


def acknowledgement_from(record: dict[str, Any], epoch: str) -> Acknowledgement:
    """What `acknowledgement_record` stored."""
    refusals = [(index, error_from_record(error)) for index, error in record["refusals"]]
    return Acknowledgement(record["accepted"], record["refused"], refusals, record["position"], epoch)


def lean_from(record: list[Any]) -> LeanTransaction:
    transaction_id, version, status, position = record
    return LeanTransaction(transaction_id, version, TransactionStatus(status), position)


def _fields_of(value: Account | Category | Ledger | Monitor) -> dict[str, Any]:
    """As asdict tells them, which copies all that is in them, too: a second for 10,000 accounts."""
    return {name: _storable(getattr(value, name)) for name in value.__dataclass_fields__}


def _storable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        told = [_storable(part) for part in value]
        return dict(zip(value._fields, told, strict=True)) if hasattr(value, "_fields") else told
    return value


def _object_from(kind: Callable[..., _T], told: dict[str, Any]) -> _T:
    """What `_fields_of` told."""
    return kind(**{name: read(told[name]) for name, read in _readings(kind) if name in told})


@cache
def _readings(kind: Callable[..., Any]) -> list[tuple[str, Callable[[Any], Any]]]:
    return [(name, _reading(hint)) for name, hint in get_type_hints(kind).items()]


def _reading(hint: Any) -> Callable[[Any], Any]:
    """How values of a type are had from JSON."""
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is UnionType:
        (some,) = (_reading(argument) for argument in arguments if argument is not NoneType)
        return lambda value: None if value is None else some(value)
    if kind is tuple:
        read = _reading(arguments[0])
        return lambda values: tuple(read(value) for value in values)
    if issubclass(kind, datetime):
        return datetime.fromisoformat
    if issubclass(kind, IntEnum):
        return lambda value: kind(value)
    if hasattr(kind, "_fields"):
        return partial(_object_from, kind)
    return lambda value: value
