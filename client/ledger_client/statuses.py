"""From a gRPC status to the exception of its reason, with everything its details say."""

import asyncio
import datetime as dt
from collections.abc import Sequence
from itertools import zip_longest

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from ledger_client.errors import CLASS_OF_CODE, CLASS_OF_REASON, Cancelled, LedgerError, Violation
from ledger_client.inputs import balance_word, operator_sign
from ledger_client.v1.errors_pb2 import RuleViolation, RuleViolations
from ledger_client.v1.transactions_pb2 import Transaction, TransactionResult

ERROR_DOMAIN = "ledger.v1"
CLIENT_CLOSED = "the client was closed"
_DETAILS_KEY = "grpc-status-details-bin"
# int() itself refuses 4,300 digits and more.
_DIGITS_MAX = 4_000
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class ToldIfClosed:
    """Around a call: tells one that the closing of the client refused or ended from one whose task is being cancelled.

    Raises:
        Cancelled: nobody asked this task to stop, so CancelledError would mislead whoever awaits it.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                raise Cancelled(CLIENT_CLOSED) from error
        elif isinstance(error, grpc.aio.UsageError):  # the channel was closed before
            raise Cancelled(CLIENT_CLOSED) from error


def error_from_rpc(rpc_error: grpc.aio.AioRpcError) -> LedgerError:
    """The exception for a failed call; a status without readable details becomes its family's class."""
    for key, value in rpc_error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                break
            return error_from_status(status)
    return error_from_status(status_pb2.Status(code=rpc_error.code().value[0], message=rpc_error.details() or ""))


def error_from_status(status: status_pb2.Status) -> LedgerError:
    """The exception for a google.rpc.Status, such as the ``error`` of a batch's result."""
    reason = ""
    metadata: dict[str, str] = {}
    fields: list[Violation] = []
    retry_delay: dt.timedelta | None = None
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    precondition = error_details_pb2.PreconditionFailure()
    rules = RuleViolations()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        try:
            if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
                reason, metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(bad_request):
                fields = [Violation(v.field, v.reason, v.description) for v in bad_request.field_violations]
            elif detail.Unpack(retry):
                retry_delay = retry.retry_delay.ToTimedelta()
            else:
                _ = detail.Unpack(precondition) or detail.Unpack(rules)
        except DecodeError:
            continue  # a damaged detail takes nothing from the others
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    cls = CLASS_OF_REASON.get(reason) or CLASS_OF_CODE.get(code, LedgerError)
    return cls(
        status.message,
        code=code,
        reason=reason,
        metadata=metadata,
        violations=(*fields, *_rule_violations(precondition.violations, rules.violations)),
        retry_delay=retry_delay,
    )


def _rule_violations(
    told: Sequence[error_details_pb2.PreconditionFailure.Violation], typed: Sequence[RuleViolation]
) -> list[Violation]:
    """The service says the same list twice, in words and in values, each from the first as far as there is room."""
    return [_rule_violation(words, values) for words, values in zip_longest(told, typed)]


def _rule_violation(
    words: error_details_pb2.PreconditionFailure.Violation | None, values: RuleViolation | None
) -> Violation:
    if values is None:
        assert words is not None
        return Violation(words.subject, words.type, words.description)
    sign = operator_sign(values.operator)
    return Violation(
        subject=words.subject if words else _subject(values),
        rule=values.rule,
        description=words.description if words else f"{values.seen}, demanded {sign or ''} {values.demanded}",
        account_id=values.account_id,
        balance=balance_word(values.balance),
        operator=sign,
        seen=_integer(values.seen),
        demanded=_integer(values.demanded),
        shortfall=_integer(values.shortfall),
        lock_version=values.lock_version if values.HasField("lock_version") else None,
        retryable=values.retryable,
        category_id=values.category_id,
    )


def _subject(values: RuleViolation) -> str:
    if values.category_id:
        return f"categories/{values.category_id}"
    return f"accounts/{values.account_id}" if values.account_id else ""


def _integer(text: str) -> int | None:
    return int(text) if text.removeprefix("-").isdecimal() and len(text) <= _DIGITS_MAX else None


def written(result: TransactionResult) -> Transaction:
    """The transaction of a batch's result.

    Raises:
        LedgerError: the command was refused; the class is that of its reason.
    """
    if result.HasField("error"):
        raise error_from_status(result.error)
    return result.transaction
