"""Refusals to google.rpc.Status: the one place where errors meet the wire."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from ledger_client.v1 import balances_pb2, errors_pb2
from ledger_server.domain.errors import InvalidArgument, LedgerError, Violation

DOMAIN = "ledger.v1"
# Peers refuse trailers that are much bigger.
DETAILS_BYTES_MAX = 4_096
_TEXT_CHARACTERS_MAX = 300
# The message travels beside the details, and peers take 8 KiB of trailers; gRPC writes each byte that is not printable
# ASCII as three.
_MESSAGE_BYTES_MAX = 1_500
_BRIEF_MESSAGE_BYTES_MAX = 200
_PRINTABLE = frozenset(chr(n) for n in range(0x20, 0x7F) if chr(n) != "%")


def status_of(error: LedgerError) -> status_pb2.Status:
    """The status with its details: ErrorInfo always, the violations as far as they fit into 4 KiB."""
    status = status_without_violations(error)
    violations = list(error.violations)
    if any(violation.account_id or violation.category_id or violation.seen for violation in violations):
        _add_while_it_fits(status, violations, _rule_violations)
    _add_while_it_fits(status, violations, _bad_request if isinstance(error, InvalidArgument) else _preconditions)
    return status


def status_without_violations(error: LedgerError) -> status_pb2.Status:
    """The same of a refusal that is one of many."""
    metadata = {key: _short(value) for key, value in error.metadata.items()}
    return _status(error, _short_on_the_wire(error.message), metadata)


def brief_status_of(error: LedgerError) -> status_pb2.Status:
    """The code, the reason and as much of the message as ever fits: less than 400 bytes."""
    message = error.message.encode()[:_BRIEF_MESSAGE_BYTES_MAX].decode(errors="ignore")
    return _status(error, message, {})


def _status(error: LedgerError, message: str, metadata: Mapping[str, str]) -> status_pb2.Status:
    status = status_pb2.Status(code=StatusCode[error.code].value[0], message=message)
    _add(status, error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    if error.retry_seconds is not None:
        delay = Duration()
        delay.FromMicroseconds(int(error.retry_seconds * 1e6))
        _add(status, error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def _add_while_it_fits(
    status: status_pb2.Status, violations: Sequence[Violation], make: Callable[[Sequence[Violation]], Message]
) -> None:
    """Adds a detail about as many of the violations, from the first, as there is room for."""
    for count in range(len(violations), 0, -1):
        detail = _packed(make(violations[:count]))
        if status.ByteSize() + detail.ByteSize() + 8 <= DETAILS_BYTES_MAX:
            status.details.append(detail)
            return


def _bad_request(violations: Sequence[Violation]) -> Message:
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=_short(v.subject), description=_short(v.description))
            for v in violations
        ]
    )


def _preconditions(violations: Sequence[Violation]) -> Message:
    return error_details_pb2.PreconditionFailure(
        violations=[
            error_details_pb2.PreconditionFailure.Violation(
                type=v.rule, subject=_short(v.subject), description=_short(v.description)
            )
            for v in violations
        ]
    )


def _rule_violations(violations: Sequence[Violation]) -> Message:
    return errors_pb2.RuleViolations(
        violations=[
            errors_pb2.RuleViolation(
                rule=v.rule,
                account_id=v.account_id,
                balance=balances_pb2.BalanceKind.ValueType(v.balance),
                operator=balances_pb2.Operator.ValueType(v.operator),
                seen=v.seen,
                demanded=v.demanded,
                shortfall=v.shortfall,
                lock_version=v.lock_version,
                retryable=v.retryable,
                category_id=v.category_id,
            )
            for v in violations
        ]
    )


def _add(status: status_pb2.Status, message: Message) -> None:
    status.details.append(_packed(message))


def _packed(message: Message) -> Any:
    """A map in the order of its keys: a refusal that is repeated comes from a table, and they in another order."""
    detail = Any()
    detail.Pack(message, deterministic=True)
    return detail


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_CHARACTERS_MAX else text[: _TEXT_CHARACTERS_MAX - 1] + "…"


def _short_on_the_wire(text: str) -> str:
    text = _short(text)
    if text.isascii():  # of which so many characters always fit
        return text
    ends = list(accumulate(1 if each in _PRINTABLE else 3 * len(each.encode()) for each in text))
    if ends[-1] <= _MESSAGE_BYTES_MAX:
        return text
    return text[: bisect_right(ends, _MESSAGE_BYTES_MAX - 3 * len("…".encode()))] + "…"
