"""One list of reasons: the proto's, the server's tree and the client's exceptions."""

from __future__ import annotations

import grpc
import pytest

from ledger_client import ErrorReason
from ledger_client import errors as client_errors
from ledger_server.api.status import status_of
from ledger_server.domain import errors as server_errors
from ledger_server.domain.errors import ERRORS, LedgerError, Violation, error_from_record

PREFIX = "ERROR_REASON_"
REASONS = {name.removeprefix(PREFIX) for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
# Stored under a request_id: these, and every FAILED_PRECONDITION; nothing else.
STORED_BY_NAME = {
    "ACCOUNT_NOT_FOUND",
    "TRANSACTION_NOT_FOUND",
    "ENTRY_NOT_FOUND",
    "MONITOR_NOT_FOUND",
    "CATEGORY_NOT_FOUND",
    "CATEGORY_MEMBER_NOT_FOUND",
    "EXTERNAL_ID_TAKEN",
    "LOCK_VERSION_MISMATCH",
    "VERSION_MISMATCH",
}
STORED = STORED_BY_NAME | {reason for reason, error in ERRORS.items() if error.code == "FAILED_PRECONDITION"}


def test_the_server_raises_exactly_the_reasons_of_the_proto() -> None:
    assert set(ERRORS) == REASONS


def test_the_client_knows_exactly_the_reasons_of_the_proto() -> None:
    assert set(client_errors.CLASS_OF_REASON) == REASONS


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_a_reason_has_one_name_and_one_code_on_both_sides(reason: str) -> None:
    name = "".join(word.capitalize() for word in reason.split("_"))
    server, client = ERRORS[reason], client_errors.CLASS_OF_REASON[reason]
    assert (server.__name__, client.__name__) == (name, name)
    assert grpc.StatusCode[server.code] is client.family
    families = {parent.__name__ for parent in server.__mro__} & {parent.__name__ for parent in client.__mro__}
    assert families >= {name, "LedgerError"}
    assert (server.__base__ or object).__name__ == (client.__base__ or object).__name__


@pytest.mark.parametrize("reason", sorted(REASONS - {"INTERNAL"}))
def test_every_refusal_is_drawn_in_the_tree_above_the_classes(reason: str) -> None:
    assert ERRORS[reason].__name__ in (server_errors.__doc__ or "")


def test_only_these_refusals_are_stored() -> None:
    assert {reason for reason, error in ERRORS.items() if error.stored} == STORED


@pytest.mark.parametrize("reason", sorted(STORED))
def test_a_stored_refusal_says_the_same_when_it_is_read_back(reason: str) -> None:
    error = ERRORS[reason]("why", metadata={"a": "b"}, violations=[Violation("subject", "description", "RULE")])
    again = error_from_record(error.to_record())
    assert type(again) is type(error)
    assert again.to_record() == error.to_record()


def test_a_refusal_is_the_same_to_the_byte_whatever_the_order_of_its_metadata() -> None:
    names = [f"name {n}" for n in range(10)]
    one = ERRORS["UNBALANCED"]("why", metadata=dict.fromkeys(names, "1"))
    other = ERRORS["UNBALANCED"]("why", metadata=dict.fromkeys(reversed(names), "1"))
    assert status_of(one).SerializeToString() == status_of(other).SerializeToString()


def test_at_most_twenty_violations_are_kept() -> None:
    error = ERRORS["INVALID_FIELD"]("why", violations=[Violation(str(n), "wrong") for n in range(30)])
    assert isinstance(error, LedgerError)
    assert [violation.subject for violation in error.violations] == [str(n) for n in range(20)]
