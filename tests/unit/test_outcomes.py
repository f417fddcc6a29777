"""Stored outcomes: records of before, and of other versions of this service, are read as what was answered."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger_server.domain.errors import AccountNotOpen, ConditionFailed, Violation, error_from_record
from ledger_server.domain.model import (
    Account,
    AccountStatus,
    AccountVersion,
    BalanceLimit,
    Category,
    CategoryVersion,
    Ledger,
    Monitor,
    MonitorCondition,
    MonitorField,
    MonitorReading,
    TransactionStatus,
)
from ledger_server.domain.money import BalanceKind, Counters, NormalBalance, Operator
from ledger_server.posting.outcomes import (
    Acknowledgement,
    LeanTransaction,
    Written,
    acknowledgement_from,
    acknowledgement_record,
    batch_record,
    discarded_at_from,
    lean_from,
    record_of,
    written_from,
)

EPOCH = "e"
# With and without a fraction of a second.
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2024, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
NOON_TEXT, LATER_TEXT = "2024-01-01T12:00:00+00:00", "2024-01-01T12:00:00.000001+00:00"
LARGE = 10**36 - 1
LEDGER_ID = 2**63 - 1

# Nothing in them is at its default.
LEDGER = Ledger(LEDGER_ID, "Books", "d", {"k": "v"}, NOON, LATER, closed_before=NOON, deleted_at=LATER)
ACCOUNT = Account(
    "a",
    LEDGER_ID,
    "Cash",
    "d",
    NormalBalance.DEBIT,
    "USD",
    2,
    "x",
    {"k": "v"},
    3,
    NOON,
    LATER,
    AccountStatus.CLOSED,
    (BalanceLimit(BalanceKind.POSTED, -LARGE, None), BalanceLimit(BalanceKind.AVAILABLE, None, 5)),
    deleted_at=LATER,
)
CATEGORY = Category(
    "c", LEDGER_ID, "Assets", "d", NormalBalance.CREDIT, "USD", 2, "x", {"k": "v"}, 4, NOON, LATER, deleted_at=LATER
)
MONITOR = Monitor(
    "m",
    LEDGER_ID,
    "a",
    None,
    MonitorCondition(MonitorField.AVAILABLE, Operator.LT, -LARGE, resolve_value=7),
    "d",
    {"k": "v"},
    2,
    True,
    9,
    LATER,
    5,
    NOON,
    LATER,
    deleted_at=LATER,
)
COUNTERS = Counters(LARGE, 2, 3, 4)
ACCOUNT_VERSION = AccountVersion(ACCOUNT, 6, COUNTERS, 8)
CATEGORY_VERSION = CategoryVersion(CATEGORY, COUNTERS, 8)

# As they are stored: those of before stay here, whatever is stored from now on.
LEDGER_RECORD = {
    "position": 9,
    "ledger": {
        "id": LEDGER_ID,
        "name": "Books",
        "description": "d",
        "metadata": {"k": "v"},
        "created_at": NOON_TEXT,
        "updated_at": LATER_TEXT,
        "closed_before": NOON_TEXT,
        "deleted_at": LATER_TEXT,
    },
}
ACCOUNT_RECORD = {
    "position": 9,
    "account": {
        "id": "a",
        "ledger_id": LEDGER_ID,
        "name": "Cash",
        "description": "d",
        "normal_balance": 1,
        "currency": "USD",
        "currency_exponent": 2,
        "external_id": "x",
        "metadata": {"k": "v"},
        "created_position": 3,
        "created_at": NOON_TEXT,
        "updated_at": LATER_TEXT,
        "status": 5,
        "limits": [{"kind": 1, "min": -LARGE, "max": None}, {"kind": 3, "min": None, "max": 5}],
        "deleted_at": LATER_TEXT,
    },
    "lock_version": 6,
    "counters": [str(LARGE), "2", "3", "4"],
    "balance_position": 8,
}
CATEGORY_RECORD = {
    "position": 9,
    "category": {
        "id": "c",
        "ledger_id": LEDGER_ID,
        "name": "Assets",
        "description": "d",
        "normal_balance": 2,
        "currency": "USD",
        "currency_exponent": 2,
        "external_id": "x",
        "metadata": {"k": "v"},
        "created_position": 4,
        "created_at": NOON_TEXT,
        "updated_at": LATER_TEXT,
        "deleted_at": LATER_TEXT,
    },
    "counters": [str(LARGE), "2", "3", "4"],
    "balance_position": 8,
}
MONITOR_FIELDS = {
    "id": "m",
    "ledger_id": LEDGER_ID,
    "account_id": "a",
    "category_id": None,
    "condition": {"field": 3, "operator": 1, "value": -LARGE, "resolve_value": 7},
    "description": "d",
    "metadata": {"k": "v"},
    "version": 2,
    "triggered": True,
    "since_position": 9,
    "since": LATER_TEXT,
    "created_position": 5,
    "created_at": NOON_TEXT,
    "updated_at": LATER_TEXT,
    "deleted_at": LATER_TEXT,
}
STORED = [
    pytest.param(LEDGER, LEDGER_RECORD, id="a ledger"),
    pytest.param(ACCOUNT_VERSION, ACCOUNT_RECORD, id="an account"),
    pytest.param(CATEGORY_VERSION, CATEGORY_RECORD, id="a category"),
    pytest.param(
        MonitorReading(MONITOR, ACCOUNT_VERSION),
        ACCOUNT_RECORD | {"monitor": MONITOR_FIELDS},
        id="a monitor on an account",
    ),
    pytest.param(
        MonitorReading(MONITOR, CATEGORY_VERSION),
        CATEGORY_RECORD | {"monitor": MONITOR_FIELDS},
        id="a monitor on a category",
    ),
]
REFUSAL = ConditionFailed(
    "no",
    metadata={"rule": "r"},
    violations=[Violation("s", "d", "r", "a", 1, 2, "3", "4", "5", 6, True, "c")],
)
REFUSAL_RECORD = {
    "reason": "CONDITION_FAILED",
    "message": "no",
    "metadata": {"rule": "r"},
    "violations": [
        {
            "subject": "s",
            "description": "d",
            "rule": "r",
            "account_id": "a",
            "balance": 1,
            "operator": 2,
            "seen": "3",
            "demanded": "4",
            "shortfall": "5",
            "lock_version": 6,
            "retryable": True,
            "category_id": "c",
        }
    ],
}


def stored(record: Any) -> Any:
    """As the table gives it back."""
    return json.loads(json.dumps(record))


@pytest.mark.parametrize(("answered", "record"), STORED)
def test_what_is_stored_is_read_as_it_was_answered(answered: Any, record: dict[str, Any]) -> None:
    answer = Written(answered, 9, EPOCH, replayed=True)
    assert written_from(stored(record), EPOCH) == answer
    # Numbers are equal to the enums that they stand for.
    assert repr(written_from(stored(record), EPOCH)) == repr(answer)
    assert stored(record_of(answer)) == stored(record)


@pytest.mark.parametrize("value", [LEDGER, ACCOUNT, CATEGORY, MONITOR])
def test_nothing_in_these_records_is_at_its_default(value: Any) -> None:
    """So that whoever adds a field tries how it is stored."""
    assert [field.name for field in fields(value) if getattr(value, field.name) == field.default] == []


def head(read: Written, noun: str) -> Any:
    """The object that a record is about: of a version the account or category."""
    return getattr(read.object, noun, read.object)


@pytest.mark.parametrize(("answered", "record"), STORED)
def test_records_of_other_versions_are_read(answered: Any, record: dict[str, Any]) -> None:
    """What an earlier one did not store is at its default; what a later one added is passed over."""
    noun = next(noun for noun in ("monitor", "ledger", "account", "category") if noun in record)
    for field in fields(head(written_from(stored(record), EPOCH), noun)):
        if field.default is not MISSING:
            earlier = {name: value for name, value in record[noun].items() if name != field.name}
            read = written_from(stored(record | {noun: earlier}), EPOCH)
            assert getattr(head(read, noun), field.name) == field.default
    later = stored(record | {"new": 1})
    parts = [later[noun], later[noun].get("condition", {}), *later[noun].get("limits", [])]
    for part in parts:
        part["new"] = 1
    assert written_from(later, EPOCH) == written_from(stored(record), EPOCH)


def test_a_part_that_an_earlier_version_did_not_store_is_at_its_default() -> None:
    condition = {"field": 3, "operator": 1, "value": 0}
    record = stored(ACCOUNT_RECORD | {"monitor": MONITOR_FIELDS | {"condition": condition}})
    reading: Any = written_from(record, EPOCH).object
    assert reading.monitor.condition == MonitorCondition(MonitorField.AVAILABLE, Operator.LT, 0, None)


def test_batches_are_read_as_they_were_answered() -> None:
    answers = [Written(ACCOUNT_VERSION, 9, EPOCH)]
    assert stored(batch_record(answers)) == stored({"accounts": [ACCOUNT_RECORD]})
    assert lean_from(["t", 2, 3, 9]) == LeanTransaction("t", 2, TransactionStatus.ARCHIVED, 9)


def test_an_edit_of_an_entry_is_read_with_the_time_it_was_discarded() -> None:
    record = {"position": 9, "entry_id": "n", "metadata": {}, "discarded_at": LATER_TEXT}
    assert discarded_at_from(record) == LATER
    assert discarded_at_from(record | {"discarded_at": None}) is None
    assert discarded_at_from({"position": 9, "entry_id": "n", "metadata": {}}) is None


def test_a_refusal_is_read_as_it_was_answered() -> None:
    read = error_from_record(stored(REFUSAL_RECORD))
    assert (type(read), read.message, read.metadata) == (ConditionFailed, "no", {"rule": "r"})
    assert read.violations == REFUSAL.violations
    assert stored(REFUSAL.to_record()) == stored(REFUSAL_RECORD)


def test_refusals_of_other_versions_are_read() -> None:
    violations = [{"subject": "s", "description": "d", "new": 1}]
    read = error_from_record(stored(REFUSAL_RECORD | {"violations": violations, "new": 1}))
    assert read.violations == (Violation("s", "d"),)


def test_what_became_of_a_chunk_is_read_as_it_was_answered() -> None:
    refusal = {"reason": "ACCOUNT_NOT_OPEN", "message": "closed", "metadata": {}, "violations": []}
    record = {"accepted": 5, "refused": 1, "refusals": [[3, refusal]], "position": 9}
    read = acknowledgement_from(stored(record), EPOCH)
    assert (read.accepted_count, read.refused_count, read.position, read.epoch) == (5, 1, 9, EPOCH)
    ((index, error),) = read.refusals
    assert (index, type(error), error.message) == (3, AccountNotOpen, "closed")
    answer = Acknowledgement(5, 1, [(3, AccountNotOpen("closed"))], 9, EPOCH)
    assert stored(acknowledgement_record(answer)) == stored({"import": record})
