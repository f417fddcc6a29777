"""Commands, limits and statuses as messages; rule violations as values; chunks of imports; lines of JSON."""

import datetime as dt
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from ledger_client import (
    BalanceKind,
    ConditionFailed,
    Direction,
    Entry,
    ExternalId,
    LockVersionMismatch,
    Operator,
    TransactionStatus,
    Violation,
    account_condition,
    category_condition,
    commands,
    condition,
    credit,
    debit,
    error_from_status,
    limits,
    part_of,
)
from ledger_client.commands import TransactionWrite
from ledger_client.importing import CHUNK_BYTES_MAX, Chunk, chunks
from ledger_client.inputs import account_status_value
from ledger_client.jsonlines import transaction_from_json
from ledger_client.v1.accounts_pb2 import AccountStatus
from ledger_client.v1.errors_pb2 import RuleViolation, RuleViolations
from ledger_client.v1.transactions_pb2 import EntryInput, TransactionCommand

NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


# --- commands ---


def test_parts_name_entries_by_account_and_side_or_by_id() -> None:
    floor = condition("available", ">=", 0)
    request = commands.partial_post_transaction(
        "t-1",
        [
            debit("a-1", 5, metadata={"k": "v"}, lock_version=0, conditions=[floor]),
            credit(ExternalId("revenue"), 3),
            part_of(Entry(id="e-1"), 2, lock_version=7),
            part_of("e-2", "0"),
        ],
    )
    by_account, by_external_id, by_entry, by_entry_id = request.entries
    assert (by_account.account_id, by_account.direction, by_account.amount) == ("a-1", Direction.DIRECTION_DEBIT, "5")
    assert dict(by_account.metadata) == {"k": "v"}
    assert by_account.HasField("lock_version")
    assert list(by_account.conditions) == [floor]
    assert by_external_id.WhichOneof("entry") == "account_external_id"
    assert not by_external_id.HasField("lock_version")
    assert (by_entry.entry_id, by_entry.amount, by_entry.lock_version) == ("e-1", "2", 7)
    assert by_entry_id.entry_id == "e-2"


def test_a_reversal_carries_all_it_was_given_and_nothing_it_was_not() -> None:
    whole = commands.reverse_transaction("t-1")
    assert [field.name for field, _ in whole.ListFields()] == ["transaction_id"]
    part = commands.reverse_transaction(
        ExternalId("b-1"),
        version=0,
        status="pending",
        entries=[debit("a-1", 1), credit("a-2", 1)],
        description="d",
        external_id="r-1",
        effective_at=NOON,
        metadata={"k": "v"},
        conditions=[account_condition("a-3", condition("posted", "<", 5))],
        category_conditions=[category_condition("c-1", condition("posted", "<", 5))],
        validate_only=True,
        request_id="mine",
    )
    assert {field.name for field, _ in part.ListFields()} == {field.name for field in part.DESCRIPTOR.fields} - {
        "ledger_id",
        "transaction_id",
    }


@pytest.mark.parametrize(
    ("write", "item"),
    [
        (commands.create_transaction([debit("a", 1)]), "create"),
        (commands.update_transaction("t-1"), "update"),
        (commands.post_transaction("t-1"), "post"),
        (commands.archive_transaction("t-1"), "archive"),
        (commands.partial_post_transaction("t-1", []), "partial_post"),
        (commands.reverse_transaction("t-1"), "reverse"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_command_has_its_place_in_a_batch(write: TransactionWrite, item: str) -> None:
    command = TransactionCommand()
    copy = commands.copy_into(command, write)
    assert command.WhichOneof("command") == item
    assert copy == write
    copy.request_id = "of the batch"
    assert not write.request_id, "the caller's message is left alone"


def test_there_is_a_function_for_every_command_of_a_batch() -> None:
    for field in TransactionCommand.DESCRIPTOR.fields:
        assert hasattr(commands, f"{field.name}_transaction")


@pytest.mark.parametrize("write", [commands.post_transaction, commands.reverse_transaction])
def test_an_empty_list_of_entries_is_not_all_of_them(write: Any) -> None:
    """None was computed, perhaps; on the wire that would be all of them, which only None means."""
    empty: list[Iterable[EntryInput]] = [(), [], iter([])]
    for none in empty:
        with pytest.raises(ValueError, match="entries are empty"):
            write("t-1", entries=none)
    assert not write("t-1", entries=None).entries
    assert len(write("t-1", entries=iter([debit("a-1", 5), credit("a-2", 5)])).entries) == 2


def test_an_expiry_is_set_kept_or_removed() -> None:
    assert commands.create_transaction([], expires_at=NOON).expires_at.ToDatetime(dt.UTC) == NOON
    kept = commands.update_transaction("t-1", description="d")
    moved = commands.update_transaction("t-1", expires_at=NOON)
    removed = commands.update_transaction("t-1", expires_at=None)
    assert list(kept.update_mask.paths) == ["description"]
    assert (list(moved.update_mask.paths), moved.HasField("expires_at")) == (["expires_at"], True)
    assert (list(removed.update_mask.paths), removed.HasField("expires_at")) == (["expires_at"], False)


def test_limits_bind_where_they_were_given() -> None:
    bounds = limits(available_min=0, posted_max="9" * 36, posted_min=-5)
    assert (bounds.available.min, bounds.available.HasField("max")) == ("0", False)
    assert (bounds.posted.min, bounds.posted.max) == ("-5", "9" * 36)
    assert not bounds.HasField("pending")
    assert limits().ListFields() == []
    with pytest.raises(TypeError, match="minor units"):
        limits(available_min=1.5)  # type: ignore[arg-type]


def test_every_account_status_has_a_word() -> None:
    words = {name.removeprefix("ACCOUNT_STATUS_").lower(): value for name, value in AccountStatus.items()}
    del words["unspecified"]
    for word, value in words.items():
        assert account_status_value(word) == value  # type: ignore[arg-type]
    assert account_status_value(AccountStatus.ACCOUNT_STATUS_FROZEN) == AccountStatus.ACCOUNT_STATUS_FROZEN
    with pytest.raises(ValueError, match="status is one of open, "):
        account_status_value("frosted")  # type: ignore[arg-type]


# --- violations ---


def refused(reason: str, *details: Message) -> status_pb2.Status:
    status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="m")
    for detail in (error_details_pb2.ErrorInfo(reason=reason, domain="ledger.v1"), *details):
        status.details.add().Pack(detail)
    return status


RULE = RuleViolation(
    rule="BALANCE_CONDITION",
    account_id="a-1",
    balance=BalanceKind.BALANCE_KIND_AVAILABLE,
    operator=Operator.OPERATOR_GTE,
    seen="-50",
    demanded="0",
    shortfall="50",
    lock_version=0,
    retryable=True,
)
WORDS = error_details_pb2.PreconditionFailure.Violation(
    type="BALANCE_CONDITION", subject="accounts/a-1", description="available would be -50, demanded >= 0"
)
TYPED = Violation(
    subject="accounts/a-1",
    rule="BALANCE_CONDITION",
    description="available would be -50, demanded >= 0",
    account_id="a-1",
    balance="available",
    operator=">=",
    seen=-50,
    demanded=0,
    shortfall=50,
    lock_version=0,
    retryable=True,
)


def test_a_rule_s_words_and_values_are_one_violation() -> None:
    error = error_from_status(
        refused(
            "CONDITION_FAILED",
            RuleViolations(violations=[RULE]),
            error_details_pb2.PreconditionFailure(violations=[WORDS]),
        )
    )
    assert type(error) is ConditionFailed
    assert error.violations == (TYPED,)
    assert "available would be -50" in str(error)


def test_where_one_list_is_shorter_the_other_still_tells() -> None:
    values_only = error_from_status(refused("CONDITION_FAILED", RuleViolations(violations=[RULE, RULE])))
    assert [v.seen for v in values_only.violations] == [-50, -50]
    assert values_only.violations[0].subject == "accounts/a-1"
    assert values_only.violations[0].description == "-50, demanded >= 0"
    words = error_details_pb2.PreconditionFailure(violations=[WORDS, WORDS])
    mixed = error_from_status(refused("CONDITION_FAILED", words, RuleViolations(violations=[RULE])))
    assert [(v.seen, v.description) for v in mixed.violations] == [
        (-50, WORDS.description),
        (None, WORDS.description),
    ]


def test_a_version_s_violation_has_no_balance_and_no_shortfall() -> None:
    rule = RuleViolation(rule="LOCK_VERSION", account_id="a-1", operator=Operator.OPERATOR_EQ, seen="4", demanded="3")
    error = error_from_status(refused("LOCK_VERSION_MISMATCH", RuleViolations(violations=[rule])))
    assert type(error) is LockVersionMismatch
    [violation] = error.violations
    assert (violation.seen, violation.operator, violation.demanded) == (4, "==", 3)
    assert (violation.balance, violation.shortfall, violation.lock_version) == (None, None, None)


def test_values_newer_than_this_client_are_left_out() -> None:
    rule = RuleViolation(rule="OF_THE_FUTURE", account_id="a-1", seen="many", demanded="9" * 5_000)
    rule.balance = 99  # type: ignore[assignment]
    rule.operator = 99  # type: ignore[assignment]
    [violation] = error_from_status(refused("CONDITION_FAILED", RuleViolations(violations=[rule]))).violations
    assert (violation.balance, violation.operator, violation.seen, violation.demanded) == (None, None, None, None)


# --- chunks ---


def transfer(n: int, entries: int = 2, description: str = "") -> TransactionWrite:
    return commands.create_transaction([debit("a-1", n)] * entries, external_id=f"x-{n}", description=description)


async def cut(
    writes: Iterable[TransactionWrite] | AsyncIterator[TransactionWrite], chunk_size: int = 10_000
) -> list[Chunk]:
    return [chunk async for chunk in chunks("l-1", "i-1", writes, chunk_size)]


def sizes(made: list[Chunk]) -> list[int]:
    return [len(chunk.request.commands) for chunk in made]


async def test_chunks_are_numbered_and_know_their_first_command() -> None:
    made = await cut((transfer(n) for n in range(7)), chunk_size=3)
    assert sizes(made) == [3, 3, 1]
    assert [chunk.first_index for chunk in made] == [0, 3, 6]
    assert [chunk.request.request_id for chunk in made] == ["i-1:0", "i-1:1", "i-1:2"]
    assert {chunk.request.ledger_id for chunk in made} == {"l-1"}
    assert [c.create.external_id for chunk in made for c in chunk.request.commands] == [f"x-{n}" for n in range(7)]
    assert sizes(await cut([transfer(n) for n in range(6)], chunk_size=3)) == [3, 3]
    assert await cut([]) == []


async def test_the_same_input_makes_the_same_chunks_however_it_arrives() -> None:
    async def one_by_one() -> AsyncIterator[TransactionWrite]:
        for n in range(2_500):
            yield transfer(n)

    assert await cut(one_by_one(), 1_000) == await cut([transfer(n) for n in range(2_500)], 1_000)


async def test_a_chunk_has_at_most_20_000_entries() -> None:
    assert sizes(await cut([transfer(n, entries=1_000) for n in range(41)])) == [20, 20, 1]
    assert sizes(await cut([transfer(n, entries=900) for n in range(23)])) == [22, 1]
    assert sizes(await cut([commands.archive_transaction("t")] * 10_001)) == [10_000, 1]


async def test_a_chunk_has_at_most_three_and_a_half_mebibytes() -> None:
    made = await cut([transfer(n, description="ü" * 1_000) for n in range(5_000)])
    assert sum(sizes(made)) == 5_000
    assert len(made) == 3
    for chunk in made[:-1]:
        assert 0.99 * CHUNK_BYTES_MAX < chunk.request.ByteSize() <= CHUNK_BYTES_MAX + 200


async def test_what_fits_nowhere_is_a_chunk_of_its_own() -> None:
    huge = transfer(1, description="x" * (CHUNK_BYTES_MAX + 1))
    assert sizes(await cut([transfer(0), huge, transfer(2)])) == [1, 1, 1]
    assert sizes(await cut([huge, transfer(2)])) == [1, 1]


async def test_a_full_chunk_does_not_wait_for_the_next_command() -> None:
    async def two_and_a_break() -> AsyncIterator[TransactionWrite]:
        yield transfer(0)
        yield transfer(1)
        pytest.fail("asked for more")

    made = chunks("l-1", "i-1", two_and_a_break(), 2)
    assert len((await anext(made)).request.commands) == 2
    await made.aclose()


# --- lines of JSON ---

LINE = {
    "status": "posted",
    "external_id": "b-1",
    "description": "d",
    "metadata": {"k": "v"},
    "effective_at": "2026-05-01T14:00:00+02:00",
    "archive_on_condition_failure": True,
    "entries": [
        {
            "account_id": "a-1",
            "direction": "debit",
            "amount": "1000",
            "metadata": {"e": "1"},
            "lock_version": 0,
            "conditions": [{"balance": "available", "operator": ">=", "amount": -5}],
        },
        {"account_external_id": "revenue", "direction": "credit", "amount": 10**35},
    ],
}


def test_a_line_is_what_the_functions_make() -> None:
    assert transaction_from_json(json.dumps(LINE)) == commands.create_transaction(
        [
            debit("a-1", "1000", metadata={"e": "1"}, lock_version=0, conditions=[condition("available", ">=", -5)]),
            credit(ExternalId("revenue"), 10**35),
        ],
        status="posted",
        external_id="b-1",
        description="d",
        metadata={"k": "v"},
        effective_at=NOON,
        archive_on_condition_failure=True,
    )
    pending = transaction_from_json(b'{"entries": [], "expires_at": "2026-05-01T12:00:00Z"}')
    assert pending.status == TransactionStatus.TRANSACTION_STATUS_UNSPECIFIED
    assert pending.expires_at.ToDatetime(dt.UTC) == NOON


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Expecting"),
        ("[]", "the line is not a JSON object"),
        ("{}", "entries is missing"),
        ('{"entries": [], "entries": []}', "entries is given twice"),
        ('{"entries": [], "metadata": {"k": "1", "k": "1"}}', "k is given twice"),
        (
            '{"entries": [{"account_id": "a", "direction": "debit", "amount": 5, "amount": 777}]}',
            "amount is given twice",
        ),
        (
            '{"entries": [{"conditions": [{"balance": "posted", "operator": ">", "operator": "<", "amount": 1}]}]}',
            "operator is given twice",
        ),
        ('{"entries": [], "statuss": "posted"}', "unknown field: statuss"),
        ('{"entries": [], "status": "archived"}', "status is one of pending, posted"),
        ('{"entries": [], "description": 5}', "description is not a string"),
        ('{"entries": [], "metadata": {"k": 5}}', "metadata is an object of strings"),
        ('{"entries": [], "effective_at": "2026-05-01T12:00:00"}', "effective_at needs a time zone"),
        ('{"entries": [], "effective_at": "yesterday"}', "effective_at is not a time"),
        ('{"entries": [], "archive_on_condition_failure": 1}', "true or false"),
        ('{"entries": {}}', "entries is not a list"),
        ('{"entries": [5]}', "entries[0] is not a JSON object"),
        ('{"entries": [{"account_id": "a", "amount": 1}]}', "entries[0].direction is missing"),
        ('{"entries": [{"account_id": "a", "direction": "debt", "amount": 1}]}', "one of debit, credit"),
        ('{"entries": [{"direction": "debit", "amount": 1}]}', "needs account_id or account_external_id"),
        (
            '{"entries": [{"account_id": "a", "account_external_id": "b", "direction": "debit", "amount": 1}]}',
            "needs account_id or account_external_id",
        ),
        ('{"entries": [{"account_id": "a", "direction": "debit"}]}', "entries[0].amount is missing"),
        ('{"entries": [{"account_id": "a", "direction": "debit", "amount": 1.0}]}', "integer of minor units"),
        ('{"entries": [{"account_id": "a", "direction": "debit", "amount": true}]}', "integer of minor units"),
        ('{"entries": [{"account_id": "a", "direction": "debit", "amount": 1, "lock_version": "0"}]}', "lock_version"),
        (
            '{"entries": [{"account_id": "a", "direction": "debit", "amount": 1, "conditions": [{"balance": "-"}]}]}',
            "conditions[0].balance is one of",
        ),
        ('{"entries": [{"account_id": "\\ud800", "direction": "debit", "amount": 1}]}', "surrogates"),
    ],
    ids=lambda value: value if " " in value and not value.startswith("{") else "",
)
def test_a_line_that_is_no_transaction_says_where(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("[", r"\[").replace(".", r"\.")):
        transaction_from_json(line)
