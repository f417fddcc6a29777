"""A status becomes the exception of its reason, and nothing it says is lost."""

import datetime as dt
import inspect
import pickle

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

import ledger_client
from ledger_client import (
    AlreadyExists,
    DeadlineExceeded,
    ErrorReason,
    ExternalIdTaken,
    FailedPrecondition,
    Internal,
    InvalidField,
    LedgerError,
    NotFound,
    StreamGap,
    Transaction,
    Unavailable,
    Unimplemented,
    Violation,
    error_from_status,
    errors,
    written,
)
from ledger_client.statuses import error_from_rpc
from ledger_client.v1.transactions_pb2 import TransactionResult

REASONS = {
    name.removeprefix("ERROR_REASON_")
    for name in ErrorReason.keys()  # noqa: SIM118  # an enum wrapper does not iterate
    if name != "ERROR_REASON_UNSPECIFIED"
}


def status(code: int, message: str, *details: Message) -> status_pb2.Status:
    packed = status_pb2.Status(code=code, message=message)
    for detail in details:
        packed.details.add().Pack(detail)
    return packed


def info(reason: str, domain: str = "ledger.v1", **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)


def rpc_error(code: grpc.StatusCode, details: str, trailer: bytes | None = None) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata()
    if trailer is not None:
        trailing.add("grpc-status-details-bin", trailer)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details)


def camel_case(reason: str) -> str:
    return "".join(word.capitalize() for word in reason.split("_"))


def leaf_classes() -> set[type[LedgerError]]:
    families = set(errors.CLASS_OF_CODE.values())
    return {
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, LedgerError) and cls is not LedgerError and cls not in families
    }


def test_every_reason_has_the_class_of_its_name() -> None:
    assert set(errors.CLASS_OF_REASON) == REASONS
    for reason, cls in errors.CLASS_OF_REASON.items():
        assert cls.__name__ == camel_case(reason)
        assert getattr(ledger_client, cls.__name__) is cls, "importable from the package"


def test_every_class_below_a_family_has_a_reason_but_the_one_this_client_finds_itself() -> None:
    assert leaf_classes() - {StreamGap} == set(errors.CLASS_OF_REASON.values()) - {Internal}


def test_every_failing_status_code_has_a_family() -> None:
    assert set(errors.CLASS_OF_CODE) == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    assert all(getattr(ledger_client, cls.__name__) is cls for cls in errors.CLASS_OF_CODE.values())


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = errors.__doc__ or ""
    for cls in leaf_classes() | set(errors.CLASS_OF_CODE.values()):
        assert cls.__name__ in drawn, cls
    family = ""
    for line in map(str.strip, drawn.splitlines()):
        if not line.startswith(("├── ", "│ ")) or "(" in line:
            continue
        children = line[1:].lstrip("─ ").replace(",", " ").split()
        if line.startswith("├"):
            family, *children = children
        for child in children:
            assert getattr(errors, child).__base__.__name__ == family


def test_a_status_with_all_details_loses_none() -> None:
    field = error_details_pb2.BadRequest.FieldViolation(field="entries[1].amount", description="has a sign")
    rule = error_details_pb2.PreconditionFailure.Violation(type="AVAILABLE", subject="a-1", description="-5 < 0")
    delay = error_details_pb2.RetryInfo()
    delay.retry_delay.FromMilliseconds(250)
    error = error_from_status(
        status(
            code_pb2.INVALID_ARGUMENT,
            "one field is wrong",
            info("INVALID_FIELD", field="entries[1].amount"),
            error_details_pb2.BadRequest(field_violations=[field]),
            error_details_pb2.PreconditionFailure(violations=[rule]),
            delay,
        )
    )
    assert type(error) is InvalidField
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "INVALID_FIELD"
    assert error.message == "one field is wrong"
    assert error.metadata == {"field": "entries[1].amount"}
    assert error.violations == (
        Violation("entries[1].amount", "", "has a sign"),
        Violation("a-1", "AVAILABLE", "-5 < 0"),
    )
    assert error.retry_delay == dt.timedelta(milliseconds=250)
    assert str(error) == "INVALID_FIELD: one field is wrong (entries[1].amount: has a sign; a-1: -5 < 0)"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (["name"], "INVALID_FIELD: name: is required"),
        (["name", "currency"], "INVALID_FIELD: name: is required (currency: is required)"),
        (["currency", "limits"], "INVALID_FIELD: name: is required (currency: is required; limits: is required)"),
    ],
    ids=["one", "the first of two", "none"],
)
def test_a_violation_that_the_message_says_is_said_once(fields: list[str], said: str) -> None:
    violations = tuple(Violation(field, "", "is required") for field in fields)
    assert str(InvalidField("name: is required", reason="INVALID_FIELD", violations=violations)) == said


def test_the_details_of_a_failed_call_come_from_its_trailer() -> None:
    sent = status(code_pb2.ALREADY_EXISTS, "taken", info("EXTERNAL_ID_TAKEN", held_by="t-1"))
    error = error_from_rpc(rpc_error(grpc.StatusCode.ALREADY_EXISTS, "taken", sent.SerializeToString()))
    assert type(error) is ExternalIdTaken
    assert isinstance(error, AlreadyExists)
    assert error.metadata["held_by"] == "t-1"


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        pytest.param(
            error_from_status(status(code_pb2.FAILED_PRECONDITION, "m", info("OF_THE_FUTURE"))),
            FailedPrecondition,
            id="an unknown reason becomes its family",
        ),
        pytest.param(
            error_from_status(status(code_pb2.NOT_FOUND, "m", info("LEDGER_NOT_FOUND", domain="proxy.example"))),
            NotFound,
            id="a reason of another domain is not ours",
        ),
        pytest.param(
            error_from_rpc(rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")),
            DeadlineExceeded,
            id="the core's deadline has no reason",
        ),
        pytest.param(
            error_from_rpc(rpc_error(grpc.StatusCode.UNAVAILABLE, "connection refused")),
            Unavailable,
            id="nor has a refused connection",
        ),
        pytest.param(
            error_from_rpc(rpc_error(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")),
            Unimplemented,
            id="nor an unknown method",
        ),
        pytest.param(
            error_from_rpc(rpc_error(grpc.StatusCode.NOT_FOUND, "m", b"\xff\xff garbage")),
            NotFound,
            id="a damaged trailer costs the details only",
        ),
        pytest.param(
            error_from_status(status_pb2.Status(code=999, message="m")),
            ledger_client.Unknown,
            id="a code nobody knows",
        ),
    ],
)
def test_what_has_no_known_reason_becomes_its_family(error: LedgerError, cls: type[LedgerError]) -> None:
    assert type(error) is cls
    assert error.message


def test_a_refused_command_of_a_batch_raises_like_a_call() -> None:
    refused = TransactionResult(error=status(code_pb2.ALREADY_EXISTS, "taken", info("EXTERNAL_ID_TAKEN")))
    with pytest.raises(ExternalIdTaken, match="taken"):
        written(refused)
    assert written(TransactionResult(transaction=Transaction(id="t-1"))).id == "t-1"


def test_errors_travel_between_processes() -> None:
    error = ExternalIdTaken("taken", reason="EXTERNAL_ID_TAKEN", metadata={"held_by": "t-1"})
    travelled = pickle.loads(pickle.dumps(error))
    assert type(travelled) is ExternalIdTaken
    assert travelled.__dict__ == error.__dict__
