"""Every refusal: its gRPC code, its reason, and whether it is stored under its request_id.

LedgerError
├── InvalidArgument          MessageMalformed  InvalidField  Unbalanced  InvalidPageToken
├── NotFound *               LedgerNotFound  AccountNotFound  TransactionNotFound  EntryNotFound  MonitorNotFound
│                            CategoryNotFound  CategoryMemberNotFound
├── AlreadyExists            ExternalIdTaken *  RequestIdReused
├── FailedPrecondition *     TransactionNotPending  TransactionNotPosted  TransactionExpired  ReversalEntriesFixed
│                            AmountExceeded  AccountNotOpen  AccountNotEmpty  AccountDeleted  LedgerNotEmpty
│                            PeriodClosed  LimitExceeded  ConditionFailed  EpochChanged  PruningNotAllowed
│                            TooManyMonitors  CategoryCycle  CategoryTooDeep  CategoryCurrencyMismatch
├── Aborted                  LockVersionMismatch *  VersionMismatch *  Contention
├── OutOfRange               PositionInFuture  PositionPruned  LockVersionInFuture
├── Unavailable              DatabaseUnavailable  ShuttingDown  PositionNotReached
├── ResourceExhausted        Overloaded  SlowSubscriber
└── Internal                 a bug of ours

* stored: repeating the request_id repeats the refusal.
The reasons are documented for callers in protos/ledger/v1/errors.proto; a test keeps the two lists equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

VIOLATIONS_MAX = 20


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong: a field's path, or a rule's subject, and a sentence about it."""

    subject: str
    description: str
    rule: str = ""
    # For rules on balances and versions; see RuleViolation in protos/ledger/v1/errors.proto.
    account_id: str = ""
    balance: int = 0
    operator: int = 0
    seen: str = ""
    demanded: str = ""
    shortfall: str = ""
    lock_version: int | None = None
    retryable: bool = False
    category_id: str = ""


class LedgerError(Exception):
    """A refusal. `metadata` is for programs, the message for people; neither holds internals."""

    code: ClassVar[str] = "INTERNAL"
    reason: ClassVar[str] = ""
    stored: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations[:VIOLATIONS_MAX])
        self.retry_seconds = retry_seconds
        # Whether this is the answer to an earlier call with the same request_id.
        self.replayed = False

    def with_metadata(self, **metadata: str) -> Self:
        """The same refusal with more metadata."""
        self.metadata.update(metadata)
        return self

    def to_record(self) -> dict[str, Any]:
        """What is stored under the request_id."""
        return {
            "reason": self.reason,
            "message": self.message,
            "metadata": self.metadata,
            "violations": [asdict(violation) for violation in self.violations],
        }


def error_from_record(record: Mapping[str, Any]) -> LedgerError:
    """The refusal that `to_record` stored, as the answer to a repetition."""
    error = ERRORS[record["reason"]](
        record["message"],
        metadata=record["metadata"],
        violations=[_violation_from(violation) for violation in record["violations"]],
    )
    error.replayed = True
    return error


def _violation_from(record: Mapping[str, Any]) -> Violation:
    """Also of another version of this service, which may know fewer fields, or more."""
    return Violation(**{name: value for name, value in record.items() if name in Violation.__dataclass_fields__})


class InvalidArgument(LedgerError):
    code = "INVALID_ARGUMENT"


class MessageMalformed(InvalidArgument):
    reason = "MESSAGE_MALFORMED"


class InvalidField(InvalidArgument):
    reason = "INVALID_FIELD"

    @classmethod
    def of(cls, violations: Sequence[Violation]) -> Self:
        first = violations[0]
        return cls(f"{first.subject}: {first.description}", metadata={"field": first.subject}, violations=violations)


class TooManyEntries(InvalidField):
    """More than one commit should load or write. Several commands are divided; callers are told of one, if it is."""


class Unbalanced(InvalidArgument):
    reason = "UNBALANCED"


class InvalidPageToken(InvalidArgument):
    reason = "INVALID_PAGE_TOKEN"


class NotFound(LedgerError):
    code = "NOT_FOUND"
    stored = True


class LedgerNotFound(NotFound):
    # Nothing can be stored in a ledger that does not exist.
    stored = False
    reason = "LEDGER_NOT_FOUND"


class AccountNotFound(NotFound):
    reason = "ACCOUNT_NOT_FOUND"


class TransactionNotFound(NotFound):
    reason = "TRANSACTION_NOT_FOUND"


class EntryNotFound(NotFound):
    reason = "ENTRY_NOT_FOUND"


class MonitorNotFound(NotFound):
    reason = "MONITOR_NOT_FOUND"


class CategoryNotFound(NotFound):
    reason = "CATEGORY_NOT_FOUND"


class CategoryMemberNotFound(NotFound):
    reason = "CATEGORY_MEMBER_NOT_FOUND"


class AlreadyExists(LedgerError):
    code = "ALREADY_EXISTS"


class ExternalIdTaken(AlreadyExists):
    stored = True
    reason = "EXTERNAL_ID_TAKEN"


class RequestIdReused(AlreadyExists):
    reason = "REQUEST_ID_REUSED"


class FailedPrecondition(LedgerError):
    code = "FAILED_PRECONDITION"
    stored = True


class TransactionNotPending(FailedPrecondition):
    reason = "TRANSACTION_NOT_PENDING"


class TransactionNotPosted(FailedPrecondition):
    reason = "TRANSACTION_NOT_POSTED"


class TransactionExpired(FailedPrecondition):
    reason = "TRANSACTION_EXPIRED"


class ReversalEntriesFixed(FailedPrecondition):
    reason = "REVERSAL_ENTRIES_FIXED"


class AmountExceeded(FailedPrecondition):
    reason = "AMOUNT_EXCEEDED"


class AccountNotOpen(FailedPrecondition):
    reason = "ACCOUNT_NOT_OPEN"


class AccountNotEmpty(FailedPrecondition):
    reason = "ACCOUNT_NOT_EMPTY"


class AccountDeleted(FailedPrecondition):
    reason = "ACCOUNT_DELETED"


class LedgerNotEmpty(FailedPrecondition):
    reason = "LEDGER_NOT_EMPTY"


class PeriodClosed(FailedPrecondition):
    reason = "PERIOD_CLOSED"


class LimitExceeded(FailedPrecondition):
    reason = "LIMIT_EXCEEDED"


class ConditionFailed(FailedPrecondition):
    reason = "CONDITION_FAILED"


class EpochChanged(FailedPrecondition):
    reason = "EPOCH_CHANGED"


class PruningNotAllowed(FailedPrecondition):
    reason = "PRUNING_NOT_ALLOWED"


class TooManyMonitors(FailedPrecondition):
    reason = "TOO_MANY_MONITORS"


class CategoryCycle(FailedPrecondition):
    reason = "CATEGORY_CYCLE"


class CategoryTooDeep(FailedPrecondition):
    reason = "CATEGORY_TOO_DEEP"


class CategoryCurrencyMismatch(FailedPrecondition):
    reason = "CATEGORY_CURRENCY_MISMATCH"


class Aborted(LedgerError):
    code = "ABORTED"


class LockVersionMismatch(Aborted):
    stored = True
    reason = "LOCK_VERSION_MISMATCH"


class VersionMismatch(Aborted):
    stored = True
    reason = "VERSION_MISMATCH"


class Contention(Aborted):
    reason = "CONTENTION"


class OverlapNotSummed(Contention):
    """What categories have in common is to be summed beside the lane first; told to callers only if that never ends."""

    def __init__(self) -> None:
        super().__init__(
            "the categories' accounts keep changing; nothing was written; repeat with the same request_id",
            retry_seconds=1.0,
        )


class OutOfRange(LedgerError):
    code = "OUT_OF_RANGE"


class PositionInFuture(OutOfRange):
    reason = "POSITION_IN_FUTURE"


class PositionPruned(OutOfRange):
    reason = "POSITION_PRUNED"


class LockVersionInFuture(OutOfRange):
    reason = "LOCK_VERSION_IN_FUTURE"


class Unavailable(LedgerError):
    code = "UNAVAILABLE"


class DatabaseUnavailable(Unavailable):
    reason = "DATABASE_UNAVAILABLE"


class ShuttingDown(Unavailable):
    reason = "SHUTTING_DOWN"


class PositionNotReached(Unavailable):
    reason = "POSITION_NOT_REACHED"


class ResourceExhausted(LedgerError):
    code = "RESOURCE_EXHAUSTED"


class Overloaded(ResourceExhausted):
    reason = "OVERLOADED"


class SlowSubscriber(ResourceExhausted):
    reason = "SLOW_SUBSCRIBER"


class Internal(LedgerError):
    reason = "INTERNAL"


def _leaves(parent: type[LedgerError]) -> list[type[LedgerError]]:
    return [leaf for child in parent.__subclasses__() for leaf in ([child] if child.reason else _leaves(child))]


ERRORS: dict[str, type[LedgerError]] = {error.reason: error for error in _leaves(LedgerError)}
