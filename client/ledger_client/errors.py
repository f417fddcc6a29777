"""The errors of the client: one class per reason the service gives, named like the reason.

Catch as finely as the case demands: a reason, a family (one per gRPC status), or ``LedgerError`` for all::

    LedgerError
    ├── InvalidArgument        MessageMalformed, InvalidField, Unbalanced, InvalidPageToken
    ├── NotFound               LedgerNotFound, AccountNotFound, TransactionNotFound, EntryNotFound, MonitorNotFound,
    │                          CategoryNotFound, CategoryMemberNotFound
    ├── AlreadyExists          ExternalIdTaken, RequestIdReused
    ├── FailedPrecondition     TransactionNotPending, TransactionNotPosted, TransactionExpired, ConditionFailed,
    │                          LimitExceeded, AccountNotOpen, AccountNotEmpty, AccountDeleted, LedgerNotEmpty,
    │                          PeriodClosed, AmountExceeded, ReversalEntriesFixed, EpochChanged, PruningNotAllowed,
    │                          TooManyMonitors, CategoryCycle, CategoryTooDeep, CategoryCurrencyMismatch
    ├── Aborted                LockVersionMismatch, VersionMismatch, Contention
    ├── OutOfRange             PositionInFuture, PositionPruned, LockVersionInFuture
    ├── Unavailable            DatabaseUnavailable, ShuttingDown, PositionNotReached
    ├── ResourceExhausted      Overloaded, SlowSubscriber
    ├── Internal
    ├── DataLoss               StreamGap (found by this client, sent by no server)
    └── DeadlineExceeded, Cancelled, Unimplemented, Unauthenticated, PermissionDenied, Unknown

A reason this version does not know becomes its family's class, and so does a status that gRPC's own core
made (deadline, connection refused, unknown method, message too large), which carries no reason at all.

After Unavailable, DeadlineExceeded and Cancelled a write may or may not have been done: repeat it with the same
request_id. After Contention and Overloaded nothing was written: repeat it with the same request_id, too. After any
other refusal, trying again takes a new request_id.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import grpc

from ledger_client.inputs import BalanceWord, OperatorSign
from ledger_client.v1.errors_pb2 import ErrorReason


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that is wrong, or one rule that does not hold."""

    subject: str
    """The path of the field, such as ``entries[1].amount``, or the object the rule is about."""
    rule: str
    """The rule, where the service names it; else empty."""
    description: str
    """A sentence for people, with the value seen and the value demanded."""
    account_id: str = ""
    """The account that a rule on balances, versions or amounts is about; the rest is set for such rules only."""
    balance: BalanceWord | None = None
    """Which of its balances."""
    operator: OperatorSign | None = None
    """``<seen> <operator> <demanded>`` does not hold."""
    seen: int | None = None
    """The balance after the command, the lock_version or version before it, or what is left of an amount."""
    demanded: int | None = None
    """What it should have been."""
    shortfall: int | None = None
    """How far off a balance is, never negative."""
    lock_version: int | None = None
    """The account's before the command."""
    retryable: bool = False
    """Whether deciding again on fresh data, or waiting for other postings, can help."""
    category_id: str = ""
    """The category, if the rule is about the balance of one."""


class LedgerError(Exception):
    """A call the service refused, or that did not reach it."""

    family: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN
    code: grpc.StatusCode
    """The gRPC status."""
    reason: str
    """The ErrorReason's name without its prefix, such as ``EXTERNAL_ID_TAKEN``; empty if none was sent."""
    message: str
    """A sentence for people. Programs go by the class and by ``metadata``."""
    metadata: Mapping[str, str]
    """The particulars of the reason; its comment in errors.proto shows the keys."""
    violations: tuple[Violation, ...]
    """What is wrong, at most 20: fields of an InvalidArgument, else rules that do not hold and names not found."""
    retry_delay: dt.timedelta | None
    """How long to wait before trying again, where the service said so."""

    def __init_subclass__(
        cls, *, code: grpc.StatusCode | None = None, reason: ErrorReason.ValueType | None = None
    ) -> None:
        """Register the class for its status or reason; classes of users give neither."""
        super().__init_subclass__()
        if code is not None:
            cls.family = code
            CLASS_OF_CODE[code] = cls
        if reason is not None:
            CLASS_OF_REASON[ErrorReason.Name(reason).removeprefix("ERROR_REASON_")] = cls

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
        retry_delay: dt.timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.family
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = violations
        self.retry_delay = retry_delay

    def __str__(self) -> str:
        """``CONDITION_FAILED: <message> (<violations>)``, without the violation that the message says."""
        text = f"{self.reason or self.code.name}: {self.message}"
        violations = [f"{v.subject}: {v.description}" for v in self.violations]
        further = [violation for violation in violations if violation != self.message]
        return f"{text} ({'; '.join(further)})" if further else text


def is_lost_connection(error: LedgerError) -> bool:
    """Whether a stream should be resumed. An INTERNAL without a reason is of gRPC's core: a stream that was reset."""
    return isinstance(error, Unavailable | Cancelled | Overloaded | SlowSubscriber) or (
        isinstance(error, Internal) and not error.reason
    )


CLASS_OF_CODE: dict[grpc.StatusCode, type[LedgerError]] = {}
CLASS_OF_REASON: dict[str, type[LedgerError]] = {}


class InvalidArgument(LedgerError, code=grpc.StatusCode.INVALID_ARGUMENT):
    """The request can never be right: fix it."""


class MessageMalformed(InvalidArgument, reason=ErrorReason.ERROR_REASON_MESSAGE_MALFORMED):
    """The bytes are not a message of the method's request type."""


class InvalidField(InvalidArgument, reason=ErrorReason.ERROR_REASON_INVALID_FIELD):
    """Fields are missing, malformed or out of range; ``violations`` names each."""


class Unbalanced(InvalidArgument, reason=ErrorReason.ERROR_REASON_UNBALANCED):
    """Debits and credits differ in a currency, or one side is missing."""


class InvalidPageToken(InvalidArgument, reason=ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN):
    """The page token is damaged or of another query: begin with the first page."""


class NotFound(LedgerError, code=grpc.StatusCode.NOT_FOUND):
    """No such object, or no right to see it."""


class LedgerNotFound(NotFound, reason=ErrorReason.ERROR_REASON_LEDGER_NOT_FOUND):
    """No such ledger."""


class AccountNotFound(NotFound, reason=ErrorReason.ERROR_REASON_ACCOUNT_NOT_FOUND):
    """No such account in this ledger."""


class TransactionNotFound(NotFound, reason=ErrorReason.ERROR_REASON_TRANSACTION_NOT_FOUND):
    """No such transaction in this ledger; an external id finds non-archived ones only."""


class EntryNotFound(NotFound, reason=ErrorReason.ERROR_REASON_ENTRY_NOT_FOUND):
    """No such entry in this ledger."""


class MonitorNotFound(NotFound, reason=ErrorReason.ERROR_REASON_MONITOR_NOT_FOUND):
    """No such balance monitor in this ledger, or it was deleted."""


class CategoryNotFound(NotFound, reason=ErrorReason.ERROR_REASON_CATEGORY_NOT_FOUND):
    """No such category in this ledger, or it is deleted."""


class CategoryMemberNotFound(NotFound, reason=ErrorReason.ERROR_REASON_CATEGORY_MEMBER_NOT_FOUND):
    """The account or category is not directly in the category."""


class AlreadyExists(LedgerError, code=grpc.StatusCode.ALREADY_EXISTS):
    """An id is taken."""


class ExternalIdTaken(AlreadyExists, reason=ErrorReason.ERROR_REASON_EXTERNAL_ID_TAKEN):
    """Another object holds the external id: ``metadata["held_by"]``; without it, an earlier command of the batch."""


class RequestIdReused(AlreadyExists, reason=ErrorReason.ERROR_REASON_REQUEST_ID_REUSED):
    """The request_id was used with other values or another method."""


class FailedPrecondition(LedgerError, code=grpc.StatusCode.FAILED_PRECONDITION):
    """A rule of the books does not hold: decide again, with a new request_id."""


class TransactionNotPending(FailedPrecondition, reason=ErrorReason.ERROR_REASON_TRANSACTION_NOT_PENDING):
    """The transaction is posted or archived, and the call needs a pending one."""


class TransactionNotPosted(FailedPrecondition, reason=ErrorReason.ERROR_REASON_TRANSACTION_NOT_POSTED):
    """Only a posted transaction can be reversed: archive a pending one."""


class TransactionExpired(FailedPrecondition, reason=ErrorReason.ERROR_REASON_TRANSACTION_EXPIRED):
    """The pending transaction's expires_at has passed: create a new one."""


class ConditionFailed(FailedPrecondition, reason=ErrorReason.ERROR_REASON_CONDITION_FAILED):
    """Balance conditions do not hold; ``violations`` names each."""


class LimitExceeded(FailedPrecondition, reason=ErrorReason.ERROR_REASON_LIMIT_EXCEEDED):
    """A standing limit of an account would be exceeded, or exceeded farther than now; ``violations`` names each."""


class AccountNotOpen(FailedPrecondition, reason=ErrorReason.ERROR_REASON_ACCOUNT_NOT_OPEN):
    """An account is frozen for this direction, or closed: ``metadata["status"]``."""


class AccountNotEmpty(FailedPrecondition, reason=ErrorReason.ERROR_REASON_ACCOUNT_NOT_EMPTY):
    """The account cannot be closed or deleted while its posted amount is not zero or something is pending."""


class AccountDeleted(FailedPrecondition, reason=ErrorReason.ERROR_REASON_ACCOUNT_DELETED):
    """The account is deleted, for good: use another."""


class LedgerNotEmpty(FailedPrecondition, reason=ErrorReason.ERROR_REASON_LEDGER_NOT_EMPTY):
    """A balance of the ledger is not zero, or something is pending: ``metadata["account_id"]`` is where."""


class PeriodClosed(FailedPrecondition, reason=ErrorReason.ERROR_REASON_PERIOD_CLOSED):
    """The books are closed at that effective_at: ``metadata["earliest_effective_at"]`` is the first that is not."""


class AmountExceeded(FailedPrecondition, reason=ErrorReason.ERROR_REASON_AMOUNT_EXCEEDED):
    """More would be posted or reversed of an entry than is left of it: ``metadata["remaining"]``."""


class ReversalEntriesFixed(FailedPrecondition, reason=ErrorReason.ERROR_REASON_REVERSAL_ENTRIES_FIXED):
    """The entries of a pending reversal are fixed: archive it, and reverse anew."""


class EpochChanged(FailedPrecondition, reason=ErrorReason.ERROR_REASON_EPOCH_CHANGED):
    """The database was restored, so positions of before mean nothing: take a new snapshot."""


class PruningNotAllowed(FailedPrecondition, reason=ErrorReason.ERROR_REASON_PRUNING_NOT_ALLOWED):
    """The role that the server prunes as may not remove events; see LEDGER_PRUNING_DATABASE_URL there."""


class TooManyMonitors(FailedPrecondition, reason=ErrorReason.ERROR_REASON_TOO_MANY_MONITORS):
    """As many monitors as may be are on the account or category: delete one first."""


class CategoryCycle(FailedPrecondition, reason=ErrorReason.ERROR_REASON_CATEGORY_CYCLE):
    """The category would be above itself."""


class CategoryTooDeep(FailedPrecondition, reason=ErrorReason.ERROR_REASON_CATEGORY_TOO_DEEP):
    """More than five levels of categories would arise: ``metadata["levels"]``."""


class CategoryCurrencyMismatch(FailedPrecondition, reason=ErrorReason.ERROR_REASON_CATEGORY_CURRENCY_MISMATCH):
    """A category holds accounts and categories of its own currency only: ``metadata["currency"]``."""


class Aborted(LedgerError, code=grpc.StatusCode.ABORTED):
    """Somebody else was there first."""


class LockVersionMismatch(Aborted, reason=ErrorReason.ERROR_REASON_LOCK_VERSION_MISMATCH):
    """The account's lock_version is another one: read it, decide again, with a new request_id."""


class VersionMismatch(Aborted, reason=ErrorReason.ERROR_REASON_VERSION_MISMATCH):
    """The transaction's or monitor's version is another one: read it, decide again, with a new request_id."""


class Contention(Aborted, reason=ErrorReason.ERROR_REASON_CONTENTION):
    """Other writers kept getting in the way; nothing was written: repeat with the same request_id."""


class OutOfRange(LedgerError, code=grpc.StatusCode.OUT_OF_RANGE):
    """The position is not in the ledger's log, or the version not in the account's history."""


class PositionInFuture(OutOfRange, reason=ErrorReason.ERROR_REASON_POSITION_IN_FUTURE):
    """The position is ahead of the ledger's: it is of another ledger."""


class PositionPruned(OutOfRange, reason=ErrorReason.ERROR_REASON_POSITION_PRUNED):
    """Events after the position were pruned: take a new snapshot."""


class LockVersionInFuture(OutOfRange, reason=ErrorReason.ERROR_REASON_LOCK_VERSION_IN_FUTURE):
    """The account has not got to this lock_version."""


class Unavailable(LedgerError, code=grpc.StatusCode.UNAVAILABLE):
    """The service cannot be reached or cannot work now: repeat with the same request_id."""


class DatabaseUnavailable(Unavailable, reason=ErrorReason.ERROR_REASON_DATABASE_UNAVAILABLE):
    """The service's database is away; a write may or may not have been done."""


class ShuttingDown(Unavailable, reason=ErrorReason.ERROR_REASON_SHUTTING_DOWN):
    """The server is shutting down; nothing was written."""


class PositionNotReached(Unavailable, reason=ErrorReason.ERROR_REASON_POSITION_NOT_REACHED):
    """The ledger did not reach min_position in time."""


class ResourceExhausted(LedgerError, code=grpc.StatusCode.RESOURCE_EXHAUSTED):
    """Too much at once, or a message too large."""


class Overloaded(ResourceExhausted, reason=ErrorReason.ERROR_REASON_OVERLOADED):
    """Too much is waiting to be written; nothing was written: repeat after ``retry_delay``."""


class SlowSubscriber(ResourceExhausted, reason=ErrorReason.ERROR_REASON_SLOW_SUBSCRIBER):
    """Nothing of the stream was read for some seconds. This client's streams resume when they are read again."""


class Internal(LedgerError, code=grpc.StatusCode.INTERNAL, reason=ErrorReason.ERROR_REASON_INTERNAL):
    """A bug of the service; its log has the traceback."""


class DataLoss(LedgerError, code=grpc.StatusCode.DATA_LOSS):
    """Something is missing."""


class StreamGap(DataLoss):
    """A balance stream left a change out or repeated one, as an account's lock_version shows."""


class DeadlineExceeded(LedgerError, code=grpc.StatusCode.DEADLINE_EXCEEDED):
    """No answer in time; a write may or may not have been done: repeat with the same request_id."""


class Cancelled(LedgerError, code=grpc.StatusCode.CANCELLED):
    """The other side cancelled the call; a write may or may not have been done."""


class Unimplemented(LedgerError, code=grpc.StatusCode.UNIMPLEMENTED):
    """The server does not know the method: it is older than this client, or another service."""


class Unauthenticated(LedgerError, code=grpc.StatusCode.UNAUTHENTICATED):
    """No credentials, or bad ones."""


class PermissionDenied(LedgerError, code=grpc.StatusCode.PERMISSION_DENIED):
    """Not allowed."""


class Unknown(LedgerError, code=grpc.StatusCode.UNKNOWN):
    """The status says nothing; a bug of the service, or of something between."""
