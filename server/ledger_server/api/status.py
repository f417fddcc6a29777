"""Refusals to google.rpc.Status: the one place where errors meet the wire."""

from __future__ import annotations

from urllib.parse import quote

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from ledger_server.domain.errors import InvalidArgument, LedgerError, Violation

DOMAIN = "ledger.v1"
# Peers refuse trailers that are much bigger.
DETAILS_BYTES_MAX = 4_096
_TEXT_CHARACTERS_MAX = 300
# The message travels beside the details, and peers take 8 KiB of trailers; gRPC writes each byte that is not printable
# ASCII as three.
_MESSAGE_BYTES_MAX = 1_500
_PRINTABLE = "".join(chr(n) for n in range(0x20, 0x7F) if chr(n) != "%")


def status_of(error: LedgerError) -> status_pb2.Status:
    """The status with its details: ErrorInfo always, the violations as far as they fit into 4 KiB."""
    status = status_pb2.Status(code=StatusCode[error.code].value[0], message=_short_on_the_wire(error.message))
    _add(
        status,
        error_details_pb2.ErrorInfo(
            reason=error.reason,
            domain=DOMAIN,
            metadata={key: _short(value) for key, value in error.metadata.items()},
        ),
    )
    if error.retry_seconds is not None:
        delay = Duration()
        delay.FromMicroseconds(int(error.retry_seconds * 1e6))
        _add(status, error_details_pb2.RetryInfo(retry_delay=delay))
    violations = list(error.violations)
    while violations:
        details = Any()
        details.Pack(_violations(error, violations))
        if status.ByteSize() + details.ByteSize() <= DETAILS_BYTES_MAX:
            status.details.append(details)
            break
        violations.pop()
    return status


def _violations(error: LedgerError, violations: list[Violation]) -> Message:
    if isinstance(error, InvalidArgument):
        return error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=_short(v.subject), description=_short(v.description))
                for v in violations
            ]
        )
    return error_details_pb2.PreconditionFailure(
        violations=[
            error_details_pb2.PreconditionFailure.Violation(
                type=v.rule, subject=_short(v.subject), description=_short(v.description)
            )
            for v in violations
        ]
    )


def _add(status: status_pb2.Status, message: Message) -> None:
    status.details.add().Pack(message)


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_CHARACTERS_MAX else text[: _TEXT_CHARACTERS_MAX - 1] + "…"


def _short_on_the_wire(text: str) -> str:
    text = _short(text)
    if len(quote(text, safe=_PRINTABLE)) > _MESSAGE_BYTES_MAX:
        while len(quote(text, safe=_PRINTABLE)) > _MESSAGE_BYTES_MAX - len(quote("…")):
            text = text[:-8]
        text += "…"
    return text
