"""The rules without any I/O: random calls against the model, the order of refusals, and all or nothing."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from time import thread_time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings

from ledger_server.domain.book import Book
from ledger_server.domain.commands import (
    ArchiveTransaction,
    Command,
    CreateAccount,
    CreateTransaction,
    PartialPostTransaction,
    PostTransaction,
    ReverseTransaction,
    UpdateAccount,
    UpdateLedger,
    UpdateTransaction,
)
from ledger_server.domain.deciding import decide
from ledger_server.domain.errors import AccountNotOpen, LedgerError, LimitExceeded, NotFound, TransactionExpired
from ledger_server.domain.ids import ledger_text, new_id, new_ledger_id
from ledger_server.domain.inputs import AccountCondition, BalanceCondition, EntryInput, MetadataPatch, PartialEntry, Ref
from ledger_server.domain.model import AccountStatus, BalanceLimit, Ledger, TransactionStatus
from ledger_server.domain.money import BalanceKind, Direction, NormalBalance, Operator
from ledger_server.domain.sizes import (
    CHARACTER_BYTES,
    ENTRY_BYTES,
    UNIT_BYTES,
    account_size,
    category_size,
    ledger_size,
    transaction_size,
    watched_size,
)
from tests.model.client import ServiceLedger
from tests.model.compare import step
from tests.model.domain import DomainClient
from tests.model.ledger import ModelLedger
from tests.model.operations import Call
from tests.model.sequences import OPENING, calls_of, seeds

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EARLY, LATE = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
DEBIT, CREDIT = Direction.DEBIT, Direction.CREDIT
PENDING, POSTED = TransactionStatus.PENDING, TransactionStatus.POSTED
NOBODY = Ref(new_id(), None)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seeds=seeds(50))
async def test_the_rules_answer_as_the_model_does(seeds: list[int]) -> None:
    model, client = ModelLedger(), DomainClient()
    service = ServiceLedger(client, ledger_text(client.ledger_id))
    for n, body in enumerate(OPENING):
        await step(model, service, Call(f"opening-{n}", body))
    for call in calls_of(seeds, model, is_stored=False):
        note(str(call))
        await step(model, service, call)
    for key, versions in model.state.versions.items():
        assert await service.versions(key) == [version.view() for version in versions]
    assert client.book.size == size_of_all(client.book)


def new_book() -> Book:
    """Four accounts, and a pending (external id "q") and a posted transaction ("p") between the first two.

    And one ("e") that expired a moment ago and is pending still.
    """
    ledger_id = new_ledger_id(NOW, 1)
    book = Book(Ledger(ledger_id, "Test", "", {}, NOW, NOW), new_id(), 0, NOW, b"")
    for name in ("a", "b", "other currency", "frozen"):
        account = CreateAccount(
            ledger_id=ledger_id,
            name=name,
            description="",
            normal_balance=NormalBalance.DEBIT,
            currency="EUR" if name == "other currency" else "USD",
            currency_exponent=None,
            external_id=name,
            metadata={},
            limits=(BalanceLimit(BalanceKind.POSTED, -100, None),),
        )
        book.apply(decide(book, account, NOW))
    for external_id, status in (("q", PENDING), ("p", POSTED)):
        book.apply(decide(book, create(book, external_id=external_id, status=status), NOW))
    book.apply(decide(book, create(book, external_id="e", status=PENDING, expires_at=NOW, entries=lines(0)), EARLY))
    freeze = UpdateAccount(
        ledger_id=ledger_id,
        account=Ref(None, "frozen"),
        name=None,
        description=None,
        external_id=None,
        metadata=None,
        status=AccountStatus.FROZEN,
    )
    book.apply(decide(book, freeze, NOW))
    close = UpdateLedger(ledger_id=ledger_id, name=None, description=None, metadata=None, closed_before=(LATE,))
    book.apply(decide(book, close, NOW))
    return book


def lines(amount: int = 10, other: str = "b", **demands: Any) -> tuple[EntryInput, ...]:
    """Debit a, credit the other; what is demanded is demanded of a."""
    return EntryInput(Ref(None, "a"), DEBIT, amount, **demands), EntryInput(Ref(None, other), CREDIT, amount)


def create(book: Book, **fields: Any) -> CreateTransaction:
    defaults: dict[str, Any] = {
        "status": POSTED,
        "description": "",
        "effective_at": None,
        "external_id": None,
        "metadata": {},
        "entries": lines(),
    }
    return CreateTransaction(ledger_id=book.ledger.id, **defaults | fields)


FALSE = BalanceCondition(BalanceKind.POSTED, Operator.LT, -(10**9))
FAILING = {"conditions": (FALSE,)}
# For each kind of refusal, in the order of precedence, what has to be wrong with a new posted transaction.
CREATE_FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("ACCOUNT_NOT_FOUND", {"account": NOBODY}),
    ("UNBALANCED", {"amount": 11}),
    ("TRANSACTION_EXPIRED", {"expires_at": EARLY}),
    ("EXTERNAL_ID_TAKEN", {"external_id": "p"}),
    ("LOCK_VERSION_MISMATCH", {"lock_version": 99}),
    ("ACCOUNT_NOT_OPEN", {"other": "frozen"}),
    ("PERIOD_CLOSED", {"effective_at": EARLY}),
    ("LIMIT_EXCEEDED", {"total": 1_000}),
    ("CONDITION_FAILED", FAILING),
]


def faulty_create(book: Book, faults: dict[str, Any]) -> CreateTransaction:
    total = faults.get("total", 10)
    one, other = lines(total, faults.get("other", "b"))
    one = one._replace(
        account=faults.get("account", one.account),
        amount=faults.get("amount", total),
        lock_version=faults.get("lock_version"),
        conditions=faults.get("conditions", ()),
    )
    rest = {name: value for name, value in faults.items() if name in ("expires_at", "external_id", "effective_at")}
    return create(book, entries=(one, other), **rest)


@pytest.mark.parametrize("n", range(len(CREATE_FAULTS)), ids=[reason for reason, _ in CREATE_FAULTS])
def test_of_several_faults_the_first_in_the_order_of_precedence_is_told(n: int) -> None:
    """With every fault from the n-th on, the n-th is told; and with it alone too."""
    book = new_book()
    reason, fault = CREATE_FAULTS[n]
    later = {name: value for _, each in reversed(CREATE_FAULTS[n:]) for name, value in each.items()}
    for faults in (fault, later):
        with pytest.raises(LedgerError) as refused:
            decide(book, faulty_create(book, faults), NOW)
        assert refused.value.reason == reason


def changed(book: Book, kind: str, **faults: Any) -> Command:
    """A change of the pending transaction, or of another one."""
    common: dict[str, Any] = {
        "ledger_id": book.ledger.id,
        "transaction": faults.get("transaction", Ref(None, "q")),
        "version": faults.get("version"),
        "metadata": None,
    }
    entries = lines(
        other=faults.get("other", "b"), **{k: faults[k] for k in ("lock_version", "conditions") if k in faults}
    )
    if "account" in faults:
        entries = (entries[0]._replace(account=NOBODY), entries[1])
    effective_at = faults.get("effective_at")
    if kind == "post":
        return PostTransaction(**common, entries=entries, effective_at=effective_at)
    if kind == "update":
        external_id = faults.get("external_id")
        return UpdateTransaction(
            **common, entries=entries, effective_at=effective_at, description=None, external_id=external_id
        )
    return ArchiveTransaction(**common)


# The faults of each change, in the order of precedence. A posted transaction is the state that refuses.
CHANGE_FAULTS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "post": [
        ("TRANSACTION_NOT_FOUND", {"transaction": NOBODY}),
        ("ACCOUNT_NOT_FOUND", {"account": NOBODY}),
        ("TRANSACTION_NOT_PENDING", {"transaction": Ref(None, "p")}),
        ("TRANSACTION_EXPIRED", {"transaction": Ref(None, "e")}),
        ("VERSION_MISMATCH", {"version": 99}),
        ("LOCK_VERSION_MISMATCH", {"lock_version": 99}),
        ("ACCOUNT_NOT_OPEN", {"other": "frozen"}),
        ("PERIOD_CLOSED", {"effective_at": EARLY}),
        ("CONDITION_FAILED", FAILING),
    ],
    "update": [
        ("TRANSACTION_NOT_FOUND", {"transaction": NOBODY}),
        ("ACCOUNT_NOT_FOUND", {"account": NOBODY}),
        ("TRANSACTION_NOT_PENDING", {"transaction": Ref(None, "p")}),
        ("TRANSACTION_EXPIRED", {"transaction": Ref(None, "e")}),
        ("VERSION_MISMATCH", {"version": 99}),
        ("EXTERNAL_ID_TAKEN", {"external_id": "p"}),
        ("LOCK_VERSION_MISMATCH", {"lock_version": 99}),
        ("ACCOUNT_NOT_OPEN", {"other": "frozen"}),
        ("CONDITION_FAILED", FAILING),
    ],
    "archive": [
        ("TRANSACTION_NOT_FOUND", {"transaction": NOBODY}),
        ("TRANSACTION_NOT_PENDING", {"transaction": Ref(None, "p")}),
        ("VERSION_MISMATCH", {"version": 99}),
    ],
}


@pytest.mark.parametrize(
    ("kind", "n"), [(kind, n) for kind, faults in CHANGE_FAULTS.items() for n in range(len(faults))]
)
def test_changes_are_refused_in_the_same_order(kind: str, n: int) -> None:
    book = new_book()
    faults = CHANGE_FAULTS[kind]
    later = {name: value for _, each in reversed(faults[n:]) for name, value in each.items()}
    for chosen in (faults[n][1], later):
        with pytest.raises(LedgerError) as refused:
            decide(book, changed(book, kind, **chosen), NOW)
        assert refused.value.reason == faults[n][0]


@pytest.mark.parametrize("name", ["description", "effective_at", "expires_at", "external_id", "entries"])
def test_of_what_has_expired_only_metadata_changes_though_it_is_not_archived_yet(name: str) -> None:
    book = new_book()
    value = {"effective_at": NOW, "expires_at": (None,), "entries": lines()}.get(name, "x")
    edit: dict[str, Any] = {"ledger_id": book.ledger.id, "transaction": Ref(None, "e"), "version": None}
    edit |= {"description": None, "external_id": None, "effective_at": None, "entries": None}
    edit["metadata"] = MetadataPatch(True, {"k": "v"})
    with pytest.raises(TransactionExpired) as refused:
        decide(book, UpdateTransaction(**edit | {name: value}), NOW)
    assert refused.value.metadata["transaction_id"] == book.transaction_ids["e"]
    effect = decide(book, UpdateTransaction(**edit), NOW)
    assert effect.transaction is not None
    assert effect.transaction.metadata == {"k": "v"}


def test_all_failures_of_the_first_kind_are_told_and_at_most_twenty() -> None:
    book = new_book()
    entries = tuple(
        EntryInput(Ref(None, name), direction, 1, None, None, (FALSE,) * 18)
        for name, direction in (("a", DEBIT), ("b", CREDIT))
    )
    with pytest.raises(LedgerError) as refused:
        decide(book, create(book, entries=(entries[0], entries[1]._replace(conditions=()))), NOW)
    assert len(refused.value.violations) == 18
    with pytest.raises(LedgerError) as refused:
        decide(book, create(book, entries=entries), NOW)
    assert len(refused.value.violations) == 20


@pytest.mark.parametrize(
    ("least", "most", "before", "change", "is_refused"),
    [
        pytest.param(-10, None, 0, -10, False, id="to the least"),
        pytest.param(-10, None, 0, -11, True, id="below the least"),
        pytest.param(None, 10, 0, 10, False, id="to the most"),
        pytest.param(None, 10, 0, 11, True, id="above the most"),
        pytest.param(-10, 10, 50, -60, False, id="from above to the least"),
        pytest.param(-10, 10, 50, -61, True, id="from above to below"),
        pytest.param(-10, None, -50, 10, False, id="below, and back towards it"),
        pytest.param(-10, None, -50, 0, False, id="below, and staying there"),
        pytest.param(-10, None, -50, -1, True, id="below, and farther"),
        pytest.param(None, 10, 50, -10, False, id="above, and back towards it"),
        pytest.param(None, 10, 50, 0, False, id="above, and staying there"),
        pytest.param(None, 10, 50, 1, True, id="above, and farther"),
    ],
)
@pytest.mark.parametrize("kind", BalanceKind)
def test_a_limit_refuses_only_who_goes_farther_out_of_it(
    kind: BalanceKind, least: int | None, most: int | None, before: int, change: int, is_refused: bool
) -> None:
    book = new_book()
    limit: dict[str, Any] = {"name": None, "description": None, "external_id": None, "metadata": None}
    for limits in ((), (BalanceLimit(kind, least, most),)):
        amount = change if limits else before - 10
        command = UpdateAccount(ledger_id=book.ledger.id, account=Ref(None, "a"), limits=limits, **limit)
        book.apply(decide(book, command, NOW))
        for name in ("b", "frozen"):
            no_limits = UpdateAccount(ledger_id=book.ledger.id, account=Ref(None, name), limits=(), **limit)
            book.apply(decide(book, no_limits, NOW))
        # new_book left 10 posted on a, and 10 pending, which is archived first.
        if not limits:
            book.apply(decide(book, changed(book, "archive"), NOW))
        entries = lines(abs(amount))
        if amount < 0:
            entries = tuple(entry._replace(direction=Direction(3 - entry.direction)) for entry in entries)
        if limits and is_refused:
            with pytest.raises(LimitExceeded) as refused:
                decide(book, create(book, entries=entries), NOW)
            assert [violation.balance for violation in refused.value.violations] == [kind]
        else:
            book.apply(decide(book, create(book, entries=entries), NOW))


def test_what_is_pending_on_a_frozen_account_may_be_moved_in_time_and_may_remain_of_a_partial_post() -> None:
    """Neither brings the account anything; what would is refused."""
    book = new_book()
    itself = tuple(EntryInput(Ref(None, "a"), direction, 5) for direction in (DEBIT, CREDIT))
    effect = decide(book, create(book, status=PENDING, entries=lines() + itself), NOW)
    book.apply(effect)
    assert effect.transaction is not None
    pending = Ref(effect.transaction.id, None)
    no_change: dict[str, Any] = {"name": None, "description": None, "external_id": None, "metadata": None}
    freeze = UpdateAccount(ledger_id=book.ledger.id, account=Ref(None, "b"), status=AccountStatus.FROZEN, **no_change)
    book.apply(decide(book, freeze, NOW))
    rest: dict[str, Any] = {"ledger_id": book.ledger.id, "transaction": pending, "version": None, "external_id": None}
    move = UpdateTransaction(description=None, effective_at=LATE, metadata=None, entries=None, **rest)
    effect = decide(book, move, NOW)
    book.apply(effect)
    assert effect.transaction is not None
    entry_ids = effect.transaction.entry_set.entry_ids
    for first, is_refused in ((0, True), (2, False)):
        parts = tuple(PartialEntry(entry_ids[n], None, None, 5) for n in (first, first + 1))
        post = PartialPostTransaction(description="", effective_at=None, metadata={}, entries=parts, **rest)
        if is_refused:
            with pytest.raises(AccountNotOpen):
                decide(book, post, NOW)
        else:
            book.apply(decide(book, post, NOW))
    frozen = book.find_account(Ref(None, "b"))
    # With the one that was pending there before.
    assert frozen is not None
    assert frozen.counters.pending_credits == 20


def seconds_to_decide(book: Book, command: Command) -> float:
    """Of this thread's time, undisturbed."""
    taken = []
    for _ in range(5):
        began = thread_time()
        decide(book, command, NOW)
        taken.append(thread_time() - began)
    return min(taken)


@pytest.mark.parametrize("kind", ["a partial post", "a reversal in part", "a whole reversal"])
@pytest.mark.parametrize("naming", ["by account", "by id"])
def test_a_thousand_parts_cost_a_few_times_what_a_thousand_entries_do(kind: str, naming: str) -> None:
    book = new_book()
    account: dict[str, Any] = {"description": "", "normal_balance": NormalBalance.DEBIT, "currency": "USD"}
    account |= {"ledger_id": book.ledger.id, "currency_exponent": None, "metadata": {}}
    names = [str(n) for n in range(1_000)]
    for name in names:
        book.apply(decide(book, CreateAccount(**account, name=name, external_id=name), NOW))
    entries = tuple(EntryInput(Ref(None, name), Direction(n % 2 + 1), 2) for n, name in enumerate(names))
    is_pending = kind == "a partial post"
    command = create(book, status=PENDING if is_pending else POSTED, entries=entries)
    effect = decide(book, command, NOW)
    book.apply(effect)
    assert effect.transaction is not None
    entry_ids = effect.transaction.entry_set.entry_ids
    parts = tuple(
        PartialEntry(None, entry.account, entry.direction, 1)
        if naming == "by account"
        else PartialEntry(entry_ids[n], None, None, 1)
        for n, entry in enumerate(entries)
    )
    part: dict[str, Any] = {"description": "", "external_id": None, "metadata": {}, "effective_at": None}
    part |= {"ledger_id": book.ledger.id, "transaction": Ref(effect.transaction.id, None), "version": None}
    in_parts: Command
    if is_pending:
        in_parts = PartialPostTransaction(**part, entries=parts)
    else:
        in_parts = ReverseTransaction(**part, status=POSTED, entries=None if kind == "a whole reversal" else parts)
    assert seconds_to_decide(book, in_parts) < 5 * seconds_to_decide(book, command)


def commands_of_every_kind(book: Book) -> list[Command]:
    """Each is accepted after those before it."""
    ledger_id = book.ledger.id
    half = (
        PartialEntry(None, Ref(None, "a"), DEBIT, 5),
        PartialEntry(None, Ref(None, "b"), CREDIT, 5),
    )
    of_part: dict[str, Any] = {"version": None, "effective_at": None, "description": "", "metadata": {}}
    of_account: dict[str, Any] = {"name": "A", "description": None, "metadata": None}
    return [
        UpdateLedger(ledger_id=ledger_id, name="Other", description="x", metadata=None),
        CreateAccount(
            ledger_id=ledger_id,
            name="new",
            description="",
            normal_balance=NormalBalance.CREDIT,
            currency="PTS",
            currency_exponent=0,
            external_id="new",
            metadata={},
        ),
        UpdateAccount(ledger_id=ledger_id, account=Ref(None, "a"), external_id="A", **of_account),
        UpdateAccount(ledger_id=ledger_id, account=Ref(None, "A"), external_id="a", **of_account),
        create(book, external_id="r", status=PENDING),
        changed(book, "update", transaction=Ref(None, "r"), external_id="s"),
        PartialPostTransaction(
            ledger_id=ledger_id, transaction=Ref(None, "s"), entries=half, external_id="t", **of_part
        ),
        changed(book, "post", transaction=Ref(None, "s")),
        ReverseTransaction(
            ledger_id=ledger_id,
            transaction=Ref(None, "s"),
            status=PENDING,
            entries=half,
            external_id="u",
            conditions=(AccountCondition(Ref(None, "a"), None, ()),),
            **of_part,
        ),
        changed(book, "archive", transaction=Ref(None, "u")),
        changed(book, "archive"),
        create(book, external_id="q"),
    ]


def test_all_or_nothing_restores_everything() -> None:
    book = new_book()
    everything = commands_of_every_kind(book)
    for last in range(len(everything) + 1):
        before = deepcopy(book)
        with pytest.raises(NotFound):
            apply_all(book, [*everything[:last], changed(book, "archive", transaction=NOBODY)])
        assert book == before


def apply_all(book: Book, items: list[Command]) -> None:
    with book.all_or_nothing():
        for command in items:
            book.apply(decide(book, command, NOW))


def test_all_or_nothing_keeps_what_succeeds() -> None:
    one = new_book()
    other = deepcopy(one)
    everything = commands_of_every_kind(one)
    for command in everything:
        one.apply(decide(one, command, NOW))
    apply_all(other, everything)
    assert one == other
    assert one != replace(one, position=one.position + 1)


def test_deciding_changes_nothing() -> None:
    book = new_book()
    for command in commands_of_every_kind(book):
        before = deepcopy(book)
        effect = decide(book, command, NOW)
        assert book == before
        book.apply(effect)
        assert book != before


def test_the_size_of_a_book_is_that_of_its_entries_too() -> None:
    book = new_book()
    before = book.size
    book.apply(decide(book, create(book, status=PENDING, entries=lines(1) * 150), NOW))
    assert book.size - before == 1 + 300 * ENTRY_BYTES // UNIT_BYTES


@pytest.mark.parametrize(("text", "bytes_each"), [("y", 1), ("é", CHARACTER_BYTES)])
def test_the_size_of_a_book_is_that_of_its_texts_too(text: str, bytes_each: int) -> None:
    """Of entries, transactions, accounts and the ledger; what is forgotten does not count any more."""
    book = new_book()
    metadata = {f"k{n}": 1_000 * text for n in range(10)}
    large = 10 * bytes_each
    patch = MetadataPatch(replaces=True, set=metadata)
    entries = tuple(line._replace(metadata=metadata) for line in lines())
    for command, size in (
        (create(book, status=PENDING, entries=entries, external_id="large"), 2 * large),
        (create(book, status=PENDING, metadata=metadata, description=1_000 * text), large + bytes_each),
        (create(book, metadata=metadata), large),
        (
            UpdateAccount(
                ledger_id=book.ledger.id,
                account=Ref(None, "a"),
                name=None,
                description=None,
                external_id=None,
                metadata=patch,
            ),
            large,
        ),
        (UpdateLedger(ledger_id=book.ledger.id, name=None, description=None, metadata=patch), large),
    ):
        before = book.size
        book.apply(decide(book, command, NOW))
        assert size <= book.size - before <= size + 5
        assert book.size == size_of_all(book)
    pending = book.find_transaction(Ref(None, "large"))
    everything = book.size
    book.forget_all_but_pending(100, everything)
    assert book.size == size_of_all(book) < everything - large
    assert book.find_transaction(Ref(None, "large")) == pending
    book.forget_all_but_pending(100, book.size - 2 * large)
    assert book.size == size_of_all(book)
    assert book.find_transaction(Ref(None, "large")) is None
    assert len(book.transactions) == 1


def size_of_all(book: Book) -> int:
    """What a book's size must be, whatever happened to it."""
    return (
        ledger_size(book.ledger)
        + sum(map(account_size, book.accounts.values()))
        + sum(map(transaction_size, book.transactions.values()))
        + sum(map(watched_size, book.watched.values()))
        + sum(map(category_size, book.categories.values()))
    )
