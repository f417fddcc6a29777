"""Random calls, drawn with the model in view so that most of them make sense and the others nearly do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any, TypeVar, get_args

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.model.ledger import ModelLedger
from tests.model.operations import (
    NOBODY,
    Archive,
    BalanceKind,
    Batch,
    Call,
    Condition,
    Create,
    CreateAccount,
    Day,
    Demand,
    Line,
    Name,
    Pairs,
    Patch,
    Post,
    Sign,
    Update,
    UpdateAccount,
    UpdateLedger,
    Write,
)

T = TypeVar("T")

# The accounts that every sequence begins with: enough for two currencies, both normalities and a self-transfer.
OPENING = [
    CreateAccount("Cash", "debit", "USD", external_id="cash"),
    CreateAccount("Revenue", "credit", "USD"),
    CreateAccount("Owner", "credit", "USD", external_id="owner"),
    CreateAccount("Till", "debit", "EUR"),
    CreateAccount("Sales", "credit", "EUR", external_id="sales"),
    CreateAccount("Points", "credit", "PTS", 0),
    CreateAccount("Issued points", "debit", "PTS"),
]

_AMOUNTS = (1, 0, 5, 100, 1000, 10**36 - 1)
_ACCOUNT_EXTERNAL_IDS = ("", "cash", "owner", "sales", "new")
_EXTERNAL_IDS = ("", "", "", "x", "y", "z")


_METADATA: Sequence[Pairs] = ((), (("k", "1"),), (("k", "2"), ("ключ", "значение")), (("l", ""),))
_PATCHES: Sequence[Patch | None] = (
    None,
    None,
    Patch(True, ()),
    Patch(True, (("k", "3"),)),
    Patch(False, (("k", None),)),
    Patch(False, (("k", "4"), ("l", None))),
)
_DAYS: Sequence[Day | None] = (None, None, None, 1, 2, 300)


def seeds(steps: int) -> SearchStrategy[list[int]]:
    """One number a step. 0 is no step at all, so that a failure shrinks to the few steps it needs."""
    return st.lists(st.integers(0, 2**32 - 1), min_size=steps, max_size=steps)


def calls_of(seeds: Sequence[int], model: ModelLedger) -> Iterator[Call]:
    """The call of each step, made for the model as it then stands. The same number makes another call elsewhere."""
    for n, seed in enumerate(seeds):
        if seed:
            yield Chooser(Random(f"{n} {seed}"), model).call()


class Chooser:
    """Chooses the parts of calls."""

    def __init__(self, random: Random, model: ModelLedger) -> None:
        self.random = random
        self.model = model

    def call(self) -> Call:
        new_id = f"r{len(self.model.state.requests)}-{self.model.state.position}"
        if self.model.state.requests and self.one_in(8):
            return self._repetition(new_id)
        body = self._body(new_id)
        is_write = isinstance(body, Create | Update | Post | Archive | Batch)
        request_id = "" if isinstance(body, Batch) and not body.atomic else new_id
        return Call(request_id, body, validate_only=is_write and self.one_in(12))

    def _repetition(self, new_id: str) -> Call:
        """A call that was made before, or another one under its id, or another time under a new one."""
        request_id = self.choose(list(self.model.state.requests)[-12:])
        known, _ = self.model.state.requests[request_id]
        kind = self.choose(["same", "same", "other body", "new id"])
        if isinstance(known, Batch):
            # How the answer is to look does not make it another request.
            known = replace(known, full=self.choose([True, False]))
        if kind == "same":
            return Call(request_id, known)
        if kind == "new id":
            return Call(new_id, known)
        body = self._body(new_id)
        return Call(request_id, self._create() if isinstance(body, Batch) and not body.atomic else body)

    def _body(self, new_id: str) -> Any:
        makers: list[Callable[[], Any]] = [
            *[self._create] * 6,
            *[self._update] * 4,
            *[self._post] * 4,
            *[self._archive] * 2,
            *[lambda: self._batch(new_id)] * 3,
            self._create_account,
            self._update_ledger,
            self._update_account,
            self._create,
        ]
        return self.choose(makers)()

    # Ledger and accounts.

    def _update_ledger(self) -> UpdateLedger:
        return UpdateLedger(
            self.choose(["Books", "Other books"]), self.choose([None, "", "all of it"]), self.choose(_PATCHES)
        )

    def _create_account(self) -> CreateAccount:
        currency, exponent = self.choose(
            [("USD", None), ("USD", 2), ("USD", 3), ("PTS", None), ("PTS", 0), ("PTS", 1), ("NEW", None), ("NEW", 18)]
        )
        return CreateAccount(
            "Account",
            self.choose(["debit", "credit"]),
            currency,
            exponent,
            external_id=self.choose(_ACCOUNT_EXTERNAL_IDS),
            metadata=self.choose(_METADATA),
        )

    def _update_account(self) -> UpdateAccount:
        return UpdateAccount(
            self._account(),
            name=self.choose(["Renamed", "Account"]),
            description=self.choose([None, "", "of somebody"]),
            external_id=self.choose([None, *_ACCOUNT_EXTERNAL_IDS]),
            metadata=self.choose(_PATCHES),
        )

    # Transactions.

    def _create(self) -> Create:
        return Create(
            self._lines(),
            status=self.choose(["pending", "pending", "posted"]),
            description=self.choose(["", "rent"]),
            external_id=self.choose(_EXTERNAL_IDS),
            effective=self.choose(_DAYS),
            metadata=self.choose(_METADATA),
            archive_on_condition_failure=self.one_in(3),
        )

    def _update(self) -> Update:
        transaction = self._transaction()
        changes = self.choose(
            [("metadata",), ("lines",), ("external_id",), ("effective",), ("description", "lines", "effective")]
        )
        return Update(
            transaction,
            version=self._version(transaction),
            lines=self._lines() if "lines" in changes else None,
            description=self.choose(["", "rent", "deposit"]) if "description" in changes else None,
            external_id=self.choose(_EXTERNAL_IDS) if "external_id" in changes else None,
            effective=self.choose([1, 2, 3]) if "effective" in changes else None,
            metadata=self.choose(_PATCHES) or (Patch(True, (("k", "5"),)) if "metadata" in changes else None),
        )

    def _post(self) -> Post:
        transaction = self._transaction()
        return Post(
            transaction,
            version=self._version(transaction),
            lines=self._lines() if self.one_in(3) else None,
            effective=self.choose(_DAYS),
            metadata=self.choose(_METADATA),
            demands=tuple(self._demand() for _ in range(self.choose([0, 0, 1, 2]))),
        )

    def _archive(self) -> Archive:
        transaction = self._transaction()
        return Archive(transaction, self._version(transaction), self.choose(_METADATA))

    def _batch(self, new_id: str) -> Batch:
        atomic = self.choose([True, False])
        items: list[tuple[str, Write]] = []
        for n in range(self.choose([2, 1, 3, 5])):
            makers: list[Callable[[], Write]] = [self._create, self._create, self._update, self._post, self._archive]
            item = self.choose(makers)()
            item_id = "" if atomic else f"{new_id}.{n}"
            if not atomic and self.one_in(8):
                # The id of a neighbour, or of an earlier call.
                item_id = self.choose([f"{new_id}.0", *self.model.state.requests])
            items.append((item_id, item))
        return Batch(tuple(items), atomic, full=self.choose([True, False]))

    # Parts.

    def _lines(self) -> tuple[Line, ...]:
        lines: list[Line] = []
        for _ in range(self.choose([1, 1, 2])):
            currencies = [account["currency"] for account in self.model.state.accounts.values()]
            currency = self.choose(sorted(set(currencies)))
            amount = self.choose(_AMOUNTS)
            lines += [self._line("debit", currency, amount), self._line("credit", currency, amount)]
        if self.one_in(12):
            # Nearly right: unbalanced, balanced only over all currencies, one-sided, or on an account of nobody.
            spoilt = self.random.randrange(len(lines))
            change: dict[str, Any] = self.choose(
                [
                    {"amount": lines[spoilt].amount + 1},
                    {"account": self._account()},
                    {"direction": "debit"},
                    {"account": Name(NOBODY)},
                ]
            )
            lines[spoilt] = lines[spoilt]._replace(**change)
        if self.one_in(3):
            lines.reverse()
        return tuple(lines)

    def _line(self, direction: Any, currency: str, amount: int) -> Line:
        keys = [key for key, account in self.model.state.accounts.items() if account["currency"] == currency]
        key = self.choose(keys)
        has_demands = self.one_in(3)
        return Line(
            self._name_of_account(key),
            direction,
            amount,
            self.choose(_METADATA),
            self._lock_version(key) if has_demands else None,
            self._conditions(key) if has_demands else (),
        )

    def _demand(self) -> Demand:
        key = self.choose(list(self.model.state.accounts))
        name = Name(NOBODY) if self.one_in(10) else self._name_of_account(key)
        return Demand(name, self._lock_version(key), self._conditions(key))

    def _conditions(self, key: str) -> tuple[Condition, ...]:
        return tuple(self._condition(key) for _ in range(self.choose([0, 1, 1, 2])))

    def _condition(self, key: str) -> Condition:
        """One that is near the balance as it stands."""
        kind: BalanceKind = self.choose(get_args(BalanceKind))
        sign: Sign = self.choose(get_args(Sign))
        amount = self.model.balances(key)[kind][2] + self.choose([0, 1, -1, 5, -100, 1000])
        return Condition(kind, sign, amount if abs(amount) < 10**36 else 0)

    def _lock_version(self, key: str) -> int | None:
        if self.one_in(3):
            return None
        return self.model.lock_version(key) + self.choose([0, 0, 0, 0, 1])

    def _account(self) -> Name:
        if self.one_in(10):
            return self.choose([Name(NOBODY), Name(external_id="nobody's"), Name(external_id="new")])
        return self._name_of_account(self.choose(list(self.model.state.accounts)))

    def _name_of_account(self, key: str) -> Name:
        external_id = self.model.state.accounts[key]["external_id"]
        return Name(external_id=external_id) if external_id and self.one_in(2) else Name(key)

    def _transaction(self) -> Name:
        """Mostly one that is pending."""
        keys = list(self.model.state.versions)
        if not keys or self.one_in(12):
            return self.choose([Name(NOBODY), *(Name(external_id=name) for name in _EXTERNAL_IDS if name)])
        pending = [key for key in keys if self.model.current(key).status == "pending"]
        current = self.model.current(self.choose(pending if pending and not self.one_in(3) else keys))
        if current.external_id and self.one_in(2):
            return Name(external_id=current.external_id)
        return Name(current.key)

    def _version(self, transaction: Name) -> int | None:
        """None, the one demanded most often, or nearly."""
        version = self.model.current(transaction.key).version if transaction.key in self.model.state.versions else 0
        return self.choose([None, None, version, version + 1])

    def one_in(self, n: int) -> bool:
        return self.random.randrange(n) == 0

    def choose(self, choices: Sequence[T]) -> T:
        return self.random.choice(choices)
