"""From a gRPC status to the exception of its reason, with everything its details say."""

import datetime as dt

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from ledger_client.errors import CLASS_OF_CODE, CLASS_OF_REASON, LedgerError, Violation
from ledger_client.v1.transactions_pb2 import Transaction, TransactionResult

ERROR_DOMAIN = "ledger.v1"
_DETAILS_KEY = "grpc-status-details-bin"
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


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
    violations: list[Violation] = []
    retry_delay: dt.timedelta | None = None
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    precondition = error_details_pb2.PreconditionFailure()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        try:
            if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
                reason, metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(bad_request):
                violations += [Violation(v.field, v.reason, v.description) for v in bad_request.field_violations]
            elif detail.Unpack(precondition):
                violations += [Violation(v.subject, v.type, v.description) for v in precondition.violations]
            elif detail.Unpack(retry):
                retry_delay = retry.retry_delay.ToTimedelta()
        except DecodeError:
            continue  # a damaged detail takes nothing from the others
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    cls = CLASS_OF_REASON.get(reason) or CLASS_OF_CODE.get(code, LedgerError)
    return cls(
        status.message,
        code=code,
        reason=reason,
        metadata=metadata,
        violations=tuple(violations),
        retry_delay=retry_delay,
    )


def written(result: TransactionResult) -> Transaction:
    """The transaction of a batch's result.

    Raises:
        LedgerError: the command was refused; the class is that of its reason.
    """
    if result.HasField("error"):
        raise error_from_status(result.error)
    return result.transaction
