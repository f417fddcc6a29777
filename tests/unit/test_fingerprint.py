"""Fingerprints: equal values are the same request, and the first field that differs is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ledger_server.domain.category_commands import (
    AddCategoryMember,
    CreateCategory,
    DeleteCategory,
    RemoveCategoryMember,
    UpdateCategory,
)
from ledger_server.domain.commands import (
    ArchiveTransaction,
    AtomicBatch,
    BatchCreateAccounts,
    Command,
    CreateAccount,
    CreateLedger,
    CreateTransaction,
    DeleteAccount,
    DeleteLedger,
    ImportChunk,
    PartialPostTransaction,
    PostTransaction,
    ReverseTransaction,
    UpdateAccount,
    UpdateEntry,
    UpdateLedger,
    UpdateTransaction,
)
from ledger_server.domain.fingerprint import field_names, fingerprint, first_difference
from ledger_server.domain.ids import new_id
from ledger_server.domain.inputs import (
    AccountCondition,
    BalanceCondition,
    CategoryCondition,
    EntryInput,
    MetadataPatch,
    PartialEntry,
    Ref,
)
from ledger_server.domain.model import AccountStatus, BalanceLimit, MonitorCondition, MonitorField, TransactionStatus
from ledger_server.domain.money import BalanceKind, Direction, NormalBalance, Operator
from ledger_server.domain.monitor_commands import CreateBalanceMonitor, DeleteBalanceMonitor, UpdateBalanceMonitor

LEDGER = 1
CATEGORY_ID = "01900000-0000-7000-8000-000000000001"
A, B = Ref("01900000-0000-7000-8000-000000000002", None), Ref(None, "b")
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2024, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
CONDITION = BalanceCondition(BalanceKind.POSTED, Operator.GTE, 0)
WATCHED = MonitorCondition(MonitorField.POSTED, Operator.GTE, 5, 3)
ENTRIES = (EntryInput(A, Direction.DEBIT, 1), EntryInput(B, Direction.CREDIT, 1))
PARTS = (PartialEntry(None, A, Direction.DEBIT, 1), PartialEntry(None, B, Direction.CREDIT, 1))
PATCH = MetadataPatch(False, {"k": "1"}, frozenset({"l"}))

# One command of each kind, and for each of its fields another value.
COMMANDS: list[tuple[Command, dict[str, Any]]] = [
    (
        CreateLedger(ledger_id=LEDGER, name="a", description="", metadata={"k": "1", "l": "2"}),
        {"name": "b", "description": "b", "metadata": {"k": "1"}},
    ),
    (
        UpdateLedger(ledger_id=LEDGER, name="a", description=None, metadata=PATCH),
        {"name": None, "description": "", "metadata": None, "closed_before": (None,)},
    ),
    (
        CreateAccount(
            ledger_id=LEDGER,
            name="a",
            description="",
            normal_balance=NormalBalance.DEBIT,
            currency="PTS",
            currency_exponent=0,
            external_id=None,
            metadata={},
        ),
        {
            "name": "b",
            "description": "b",
            "normal_balance": NormalBalance.CREDIT,
            "currency": "PT",
            "currency_exponent": None,
            "external_id": "b",
            "metadata": {"": ""},
            "limits": (BalanceLimit(BalanceKind.POSTED, 0, None),),
            "category_ids": (CATEGORY_ID,),
        },
    ),
    (
        UpdateAccount(ledger_id=LEDGER, account=A, name=None, description=None, external_id=None, metadata=None),
        {
            "account": B,
            "name": "b",
            "description": "",
            "external_id": "",
            "metadata": MetadataPatch(True, {}),
            "status": AccountStatus.FROZEN,
            "limits": (),
        },
    ),
    (DeleteLedger(ledger_id=LEDGER), {}),
    (DeleteAccount(ledger_id=LEDGER, account=A), {"account": B}),
    (
        UpdateEntry(ledger_id=LEDGER, entry_id="a", metadata=PATCH),
        {"entry_id": "b", "metadata": MetadataPatch(True, {})},
    ),
    (
        CreateTransaction(
            ledger_id=LEDGER,
            status=TransactionStatus.PENDING,
            description="",
            effective_at=NOON,
            external_id=None,
            metadata={"k": "1"},
            entries=ENTRIES,
        ),
        {
            "status": TransactionStatus.POSTED,
            "description": "b",
            "effective_at": LATER,
            "external_id": "b",
            "metadata": {"k": "2"},
            "entries": ENTRIES[::-1],
            "archive_on_condition_failure": True,
            "expires_at": NOON,
            "category_conditions": (CategoryCondition(A, (CONDITION,)),),
        },
    ),
    (
        UpdateTransaction(
            ledger_id=LEDGER,
            transaction=A,
            version=0,
            description=None,
            effective_at=None,
            external_id=None,
            metadata=PATCH,
            entries=None,
        ),
        {
            "transaction": B,
            "version": None,
            "description": "",
            "effective_at": NOON,
            "external_id": "",
            "metadata": MetadataPatch(False, {"k": "1"}),
            "entries": ENTRIES,
            "expires_at": (None,),
            "category_conditions": (CategoryCondition(A, (CONDITION,)),),
        },
    ),
    (
        PostTransaction(ledger_id=LEDGER, transaction=A, version=None, entries=None, effective_at=None, metadata=None),
        {
            "transaction": B,
            "version": 0,
            "entries": ENTRIES,
            "effective_at": NOON,
            "metadata": PATCH,
            "conditions": (AccountCondition(A, None, (CONDITION,)),),
            "category_conditions": (CategoryCondition(A, (CONDITION,)),),
        },
    ),
    (
        ArchiveTransaction(ledger_id=LEDGER, transaction=A, version=None, metadata=None),
        {"transaction": B, "version": 0, "metadata": PATCH},
    ),
    (
        PartialPostTransaction(
            ledger_id=LEDGER,
            transaction=A,
            version=None,
            entries=PARTS,
            effective_at=None,
            description="",
            external_id=None,
            metadata={},
        ),
        {
            "transaction": B,
            "version": 0,
            "entries": (PARTS[0]._replace(amount=2), PARTS[1]),
            "effective_at": NOON,
            "description": "b",
            "external_id": "b",
            "metadata": {"k": ""},
            "category_conditions": (CategoryCondition(A, (CONDITION,)),),
        },
    ),
    (
        ReverseTransaction(
            ledger_id=LEDGER,
            transaction=A,
            version=None,
            status=TransactionStatus.POSTED,
            entries=None,
            effective_at=None,
            description="",
            external_id=None,
            metadata={},
        ),
        {
            "transaction": B,
            "version": 0,
            "status": TransactionStatus.PENDING,
            "entries": PARTS,
            "effective_at": NOON,
            "description": "b",
            "external_id": "b",
            "metadata": {"k": ""},
            "conditions": (AccountCondition(A, 0, ()),),
            "category_conditions": (CategoryCondition(A, (CONDITION,)),),
        },
    ),
    (
        CreateBalanceMonitor(
            ledger_id=LEDGER, account=A, category=None, condition=WATCHED, description="", metadata={}
        ),
        {
            "account": B,
            "category": A,
            "condition": WATCHED._replace(resolve_value=None),
            "description": "b",
            "metadata": {"k": "1"},
        },
    ),
    (
        UpdateBalanceMonitor(
            ledger_id=LEDGER, monitor_id="a", version=None, condition=None, description=None, metadata=PATCH
        ),
        {"monitor_id": "b", "version": 0, "condition": WATCHED, "description": "", "metadata": None},
    ),
    (
        DeleteBalanceMonitor(ledger_id=LEDGER, monitor_id="a", version=0),
        {"monitor_id": "b", "version": None},
    ),
    (
        CreateCategory(
            ledger_id=LEDGER,
            name="a",
            description="",
            normal_balance=NormalBalance.DEBIT,
            currency="PTS",
            currency_exponent=0,
            external_id=None,
            metadata={},
        ),
        {
            "name": "b",
            "description": "b",
            "normal_balance": NormalBalance.CREDIT,
            "currency": "PT",
            "currency_exponent": None,
            "external_id": "b",
            "metadata": {"": ""},
            "category_ids": (CATEGORY_ID,),
        },
    ),
    (
        UpdateCategory(ledger_id=LEDGER, category=A, name=None, description=None, external_id=None, metadata=None),
        {"category": B, "name": "b", "description": "", "external_id": "", "metadata": MetadataPatch(True, {})},
    ),
    (DeleteCategory(ledger_id=LEDGER, category=A), {"category": B}),
    (
        AddCategoryMember(ledger_id=LEDGER, category=A, account=A, member_category=None),
        {"category": B, "account": B, "member_category": A},
    ),
    (
        RemoveCategoryMember(ledger_id=LEDGER, category=A, account=A, member_category=None),
        {"category": B, "account": B, "member_category": A},
    ),
]

# What in an entry makes it another one.
OTHER_ENTRIES = [
    ENTRIES[0]._replace(account=Ref(None, A.id)),
    ENTRIES[0]._replace(direction=Direction.CREDIT),
    ENTRIES[0]._replace(amount=10),
    ENTRIES[0]._replace(metadata={"k": "1"}),
    ENTRIES[0]._replace(lock_version=0),
    ENTRIES[0]._replace(conditions=(CONDITION,)),
    ENTRIES[0]._replace(conditions=(CONDITION._replace(balance=BalanceKind.PENDING),)),
    ENTRIES[0]._replace(conditions=(CONDITION._replace(operator=Operator.GT),)),
    ENTRIES[0]._replace(conditions=(CONDITION._replace(amount=-1),)),
]

TYPICAL = next(command for command, _ in COMMANDS if isinstance(command, CreateTransaction))


def differing() -> Iterator[Any]:
    for command, others in COMMANDS:
        for name, value in others.items():
            other = replace(command, **{name: value})
            # Of an object that is named, the first field of the request that may name it.
            field = f"{name}_id" if isinstance(value, Ref) else name
            yield pytest.param(command, other, field, id=f"{command.method}.{name}")


def golden() -> Iterator[tuple[str, Command]]:
    """Commands of each kind, as the file of their fingerprints names them."""
    for command, others in COMMANDS:
        yield command.method, command
        for name, value in others.items():
            yield f"{command.method}.{name}", replace(command, **{name: value})
    for n, entry in enumerate(OTHER_ENTRIES):
        yield f"CreateTransaction.entries:{n}", replace(TYPICAL, entries=(entry, ENTRIES[1]))
    yield "CreateTransaction.description:foreign", replace(TYPICAL, description='"Käse"\n\\ \u0378 😀')
    account = next(command for command, _ in COMMANDS if isinstance(command, CreateAccount))
    archive = next(command for command, _ in COMMANDS if isinstance(command, ArchiveTransaction))
    yield "BatchCreateAccounts", BatchCreateAccounts(ledger_id=LEDGER, commands=(account,))
    yield "BatchWriteTransactions", AtomicBatch(ledger_id=LEDGER, commands=(TYPICAL, archive))
    yield "ImportTransactions", ImportChunk(ledger_id=LEDGER, commands=(TYPICAL, archive))


def test_fingerprints_are_those_that_are_stored() -> None:
    """Lines may come for what is new. Where one changes, requests of before are not known again."""
    lines = (Path(__file__).parent / "fingerprints.txt").read_text().splitlines()
    assert {name: fingerprint(command).hex() for name, command in golden()} == dict(line.split() for line in lines)


def test_there_is_a_fingerprint_of_every_kind() -> None:
    def kinds(parent: type[Command]) -> list[type[Command]]:
        return [parent, *(kind for child in parent.__subclasses__() for kind in kinds(child))]

    methods = {kind.method for kind in kinds(Command) if hasattr(kind, "method")}
    # The sweep's has no request_id.
    assert methods - {"ExpireTransaction"} == {command.method for _, command in golden()}


class NextEntryInput(NamedTuple):
    """An entry, as a later version may know it."""

    account: Ref
    direction: Direction
    amount: int
    metadata: dict[str, str] | None = None
    lock_version: int | None = None
    conditions: tuple[BalanceCondition, ...] = ()
    memo: str | None = None


@dataclass(slots=True, kw_only=True)
class NextCreateTransaction(CreateTransaction):
    """CreateTransaction, as a later version may know it."""

    entries: tuple[NextEntryInput, ...]  # type: ignore[assignment]
    memo: str = ""
    flags: tuple[int, ...] = ()
    weight: int = 7


def as_next(command: CreateTransaction, **more: Any) -> NextCreateTransaction:
    values = {field.name: getattr(command, field.name) for field in fields(command) if field.init}
    values["entries"] = tuple(NextEntryInput(**entry._asdict()) for entry in command.entries)
    return NextCreateTransaction(**values | more)


@pytest.mark.parametrize(
    "command", [pytest.param(command, id=name) for name, command in golden() if type(command) is CreateTransaction]
)
def test_a_new_field_at_its_default_makes_no_other_request(command: CreateTransaction) -> None:
    assert fingerprint(as_next(command)) == fingerprint(command)


def test_what_differs_between_versions_is_named() -> None:
    memo = as_next(TYPICAL, memo="new")
    assert first_difference(fingerprint(TYPICAL), fingerprint(memo), memo) == "memo"
    # The present version cannot know the name of what a later one stored.
    assert first_difference(fingerprint(memo), fingerprint(TYPICAL), TYPICAL) == "request"
    other = replace(TYPICAL, external_id="other")
    assert first_difference(fingerprint(memo), fingerprint(other), other) == "external_id"
    lines = as_next(TYPICAL, entries=tuple(entry._replace(memo="new") for entry in memo.entries))
    assert first_difference(fingerprint(TYPICAL), fingerprint(lines), lines) == "entries"


def test_an_instant_is_the_same_in_every_zone() -> None:
    noon = replace(TYPICAL, effective_at=NOON.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert fingerprint(noon) == fingerprint(TYPICAL)


@pytest.mark.parametrize(("one", "other", "name"), list(differing()))
def test_the_field_that_differs_is_named(one: Command, other: Command, name: str) -> None:
    assert first_difference(fingerprint(one), fingerprint(other), other) == name
    assert first_difference(fingerprint(other), fingerprint(one), one) == name


_NOUNS = ("account", "transaction", "category", "member_category")


def test_every_value_of_every_command_is_tried() -> None:
    for command, others in COMMANDS:
        names = field_names(type(command))
        named = [name.removesuffix("_id") for name in names if name.removesuffix("_id") in _NOUNS]
        tried = [
            part for name in others for part in ([f"{name}_id", f"{name}_external_id"] if name in named else [name])
        ]
        assert names == tried, command.method


@pytest.mark.parametrize("command", [command for command, _ in COMMANDS], ids=lambda command: command.method)
def test_what_the_edge_makes_up_and_who_asks_make_no_difference(command: Command) -> None:
    made_up: dict[str, Any] = {
        name: new_id()
        for name in ("transaction_id", "account_id", "category_id", "first_entry_id")
        if hasattr(command, name)
    }
    again = replace(command, actor="somebody else", request_id="another", **made_up)
    assert first_difference(fingerprint(command), fingerprint(again), again) is None


def test_maps_have_no_order() -> None:
    one, _ = COMMANDS[0]
    other = replace(one, metadata={"l": "2", "k": "1"})  # type: ignore[call-arg]
    assert fingerprint(one) == fingerprint(other)


def test_another_method_is_another_request() -> None:
    archive, post = (next(c for c, _ in COMMANDS if c.method == f"{verb}Transaction") for verb in ("Archive", "Post"))
    assert first_difference(fingerprint(post), fingerprint(archive), archive) == "method"


@pytest.mark.parametrize("entry", OTHER_ENTRIES)
def test_everything_in_an_entry_counts(entry: EntryInput) -> None:
    other = replace(TYPICAL, entries=(entry, ENTRIES[1]))
    assert first_difference(fingerprint(TYPICAL), fingerprint(other), other) == "entries"


def test_an_atomic_batch_is_its_commands_in_order() -> None:
    archive = next(command for command, _ in COMMANDS if isinstance(command, ArchiveTransaction))
    one = AtomicBatch(ledger_id=LEDGER, commands=(TYPICAL, archive))
    for commands in ((archive, TYPICAL), (TYPICAL,), (TYPICAL, replace(archive, version=1))):
        other = AtomicBatch(ledger_id=LEDGER, commands=commands)
        assert first_difference(fingerprint(one), fingerprint(other), other) == "commands"
    # How the answer is to look does not make it another request.
    assert fingerprint(one) == fingerprint(replace(one, full_results=True))


def test_values_that_run_together_are_kept_apart() -> None:
    """Neighbouring texts that would join to the same bytes."""
    ledgers = [
        CreateLedger(ledger_id=LEDGER, name=name, description=description, metadata={})
        for name, description in (("ab", "c"), ("a", "bc"), ("a\0b", "c"), ("a", "b\0c"), ("a'", "'b"), ("a', '", "b"))
    ]
    assert len({fingerprint(command) for command in ledgers}) == len(ledgers)
