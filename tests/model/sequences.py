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
    FUTURE,
    NOBODY,
    PAST,
    AccountStatus,
    AddMember,
    Archive,
    BalanceKind,
    Batch,
    Body,
    Call,
    CategoryDemand,
    Condition,
    Create,
    CreateAccount,
    CreateCategory,
    CreateMonitor,
    Day,
    DeleteCategory,
    DeleteMonitor,
    Demand,
    Limit,
    Line,
    MonitorCondition,
    Name,
    Pairs,
    Part,
    PartialPost,
    Patch,
    Post,
    RemoveMember,
    Reverse,
    Sign,
    Status,
    Update,
    UpdateAccount,
    UpdateCategory,
    UpdateLedger,
    UpdateMonitor,
    Write,
)

T = TypeVar("T")

_OPENING_TRANSACTIONS: Sequence[tuple[Status, str]] = (("posted", "x"), ("pending", ""), ("pending", "y"))
# What every sequence begins with: three currencies, both normalities, and transactions to work on.
OPENING: Sequence[Body] = [
    CreateAccount("Cash", "debit", "USD", external_id="cash"),
    CreateAccount("Revenue", "credit", "USD"),
    CreateAccount("Owner", "credit", "USD", external_id="owner"),
    CreateAccount("Till", "debit", "EUR"),
    CreateAccount("Sales", "credit", "EUR", external_id="sales"),
    CreateAccount("Points", "credit", "PTS", 0),
    CreateAccount("Issued points", "debit", "PTS", limits=(Limit("pending", None, 2000), Limit("posted", -100, None))),
    *(
        Create(
            (
                Line(Name("a0"), "debit", 1000, metadata=(("line", "1"),)),
                Line(Name("a1"), "credit", 1000),
                Line(Name("a4"), "credit", 50),
                Line(Name("a3"), "debit", 50),
            ),
            status,
            external_id=external_id,
        )
        for status, external_id in _OPENING_TRANSACTIONS
    ),
]

# Behind it, where there are categories: diamonds of both normalities, and one account that is under three ways.
OPENING_CATEGORIES: Sequence[Body] = [
    CreateCategory("Top", "credit", "USD", external_id="top"),
    CreateCategory("Left", "credit", "USD", parents=("c0",)),
    CreateCategory("Right", "debit", "USD", parents=("c0",), external_id="right"),
    CreateCategory("Bottom", "credit", "USD", parents=("c1", "c2")),
    CreateCategory("Euros", "debit", "EUR"),
    CreateCategory("Lone", "debit", "USD"),
    AddMember(Name("c0"), account=Name("a1")),
    AddMember(Name("c1"), account=Name("a1")),
    AddMember(Name("c3"), account=Name("a1")),
    AddMember(Name("c2"), account=Name("a0")),
    AddMember(Name("c5"), account=Name("a2")),
    AddMember(Name("c4"), account=Name("a3")),
]

_AMOUNTS = (1, 0, 5, 100, 1000, 10**36 - 1)
_ACCOUNT_EXTERNAL_IDS = ("", "cash", "owner", "sales", "new")
_CATEGORY_EXTERNAL_IDS = ("", "", "top", "right", "new")
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
_DAYS: Sequence[Day | None] = (None, None, None, 1, 2, 300, FUTURE)


def seeds(steps: int) -> SearchStrategy[list[int]]:
    """One number a step. 0 is no step at all, so that a failure shrinks to the few steps it needs."""
    return st.lists(st.integers(0, 2**32 - 1), min_size=steps, max_size=steps)


def calls_of(seeds: Sequence[int], model: ModelLedger, is_stored: bool = True) -> Iterator[Call]:
    """The call of each step, made for the model as it then stands. The same number makes another call elsewhere.

    Unless what is called stores anything, no request_id is ever used twice, and there are no categories.
    """
    for n, seed in enumerate(seeds):
        if seed:
            yield Chooser(Random(f"{n} {seed}"), model, is_stored).call()


class Chooser:
    """Chooses the parts of calls."""

    def __init__(self, random: Random, model: ModelLedger, is_stored: bool) -> None:
        self.random = random
        self.is_stored = is_stored
        self.state = model.state

    def call(self) -> Call:
        new_id = f"r{len(self.state.requests)}-{self.state.position}"
        if self.is_stored and self.state.requests and self.one_in(8):
            return self._repetition(new_id)
        body = self._body(new_id)
        is_write = isinstance(body, Write | Batch)
        request_id = "" if isinstance(body, Batch) and not body.atomic else new_id
        return Call(request_id, body, validate_only=is_write and self.one_in(12))

    def _repetition(self, new_id: str) -> Call:
        """A call that was made before, or another one under its id, or another time under a new one."""
        request_id = self.choose(list(self.state.requests)[-12:])
        known, _ = self.state.requests[request_id]
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
            *[self._partial_post] * 3,
            *[self._reverse] * 3,
            *[lambda: self._batch(new_id)] * 3,
            self._create_account,
            self._update_ledger,
            *[self._update_account] * 3,
            *[self._create_monitor] * 2,
            self._update_monitor,
            self._delete_monitor,
        ]
        if self.is_stored:
            makers += [
                *[self._create_category] * 2,
                self._update_category,
                self._delete_category,
                *[self._add_member] * 5,
                *[self._remove_member] * 3,
            ]
        return self.choose(makers)()

    # Ledger and accounts.

    def _update_ledger(self) -> UpdateLedger:
        return UpdateLedger(
            self.choose(["Books", "Other books"]),
            self.choose([None, "", "all of it"]),
            self.choose(_PATCHES),
            self.choose([None, None, (2,), (None,)]),
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
            limits=self._limits(0) if self.one_in(2) else (),
            categories=self._parents(),
        )

    def _update_account(self) -> UpdateAccount:
        statuses: Sequence[AccountStatus] = get_args(AccountStatus)
        account = self._account()
        amounts = self.state.balances(account.key)["posted"] if account.key in self.state.accounts else (0,)
        return UpdateAccount(
            account,
            # Most accounts are open, or little would happen.
            status=self.choose([None, "open", "open", "open", self.choose(statuses)]),
            limits=self.choose([None, (), self._limits(amounts[-1])]),
            name=self.choose(["Renamed", "Account"]),
            description=self.choose([None, "", "of somebody"]),
            external_id=self.choose([None, *_ACCOUNT_EXTERNAL_IDS]),
            metadata=self.choose(_PATCHES),
        )

    # Monitors.

    def _create_monitor(self) -> CreateMonitor:
        account = self._account()
        return CreateMonitor(
            account,
            self._monitor_condition(account.key or ""),
            description=self.choose(["", "low"]),
            metadata=self.choose(_METADATA),
        )

    def _update_monitor(self) -> UpdateMonitor:
        monitor, version, account = self._monitor()
        return UpdateMonitor(
            monitor,
            version,
            self.choose(["", "lower"]),
            self._monitor_condition(account) if self.one_in(2) else None,
            self.choose(_PATCHES),
        )

    def _delete_monitor(self) -> DeleteMonitor:
        monitor, version, _ = self._monitor()
        return DeleteMonitor(monitor, version)

    def _monitor(self) -> tuple[str, int | None, str]:
        """One that is there, mostly; a version that may be its; its account."""
        if not self.state.monitors or self.one_in(12):
            return NOBODY, None, ""
        monitor = self.choose(list(self.state.monitors.values()))
        versions = [None, None, monitor.version, monitor.version, monitor.version + 1]
        return monitor.key, self.choose(versions), monitor.account

    def _monitor_condition(self, key: str) -> MonitorCondition:
        """Near what the account shows, so that it is triggered or resolved soon."""
        field: Any = self.choose([*get_args(BalanceKind), "lock_version"])
        sign: Sign = self.choose(get_args(Sign))
        seen = 0
        if key in self.state.accounts:
            seen = self.state.lock_version(key) if field == "lock_version" else self.state.balances(key)[field][2]
        value = (seen if abs(seen) < 10**35 else 0) + self.choose([0, 1, -1, 5, -100, 1000])
        resolve_value = value + self.choose([0, 3, -3, 200, -200]) if self.one_in(2) else None
        return MonitorCondition(field, sign, value, resolve_value)

    # Categories.

    def _create_category(self) -> CreateCategory:
        currency, exponent = self.choose([("USD", None), ("USD", None), ("EUR", 2), ("PTS", 0), ("NEW", None)])
        return CreateCategory(
            "Category",
            self.choose(["debit", "credit"]),
            currency,
            exponent,
            external_id=self.choose(_CATEGORY_EXTERNAL_IDS),
            metadata=self.choose(_METADATA),
            parents=self._parents(),
        )

    def _update_category(self) -> UpdateCategory:
        return UpdateCategory(
            self._category(),
            name=self.choose([None, "Renamed"]),
            description=self.choose([None, "", "of something"]),
            external_id=self.choose(["", *_CATEGORY_EXTERNAL_IDS]),
            metadata=self.choose(_PATCHES),
        )

    def _delete_category(self) -> DeleteCategory:
        return DeleteCategory(self._category())

    def _add_member(self) -> AddMember:
        if self.one_in(2):
            return AddMember(self._category(), account=self._account())
        return AddMember(self._category(), member=self._category())

    def _remove_member(self) -> RemoveMember:
        """Mostly of one that is in."""
        members = sorted(self.state.members)
        if not members or self.one_in(5):
            added = self._add_member()
            return RemoveMember(added.category, added.account, added.member)
        category, member = self.choose(members)
        if member in self.state.accounts:
            return RemoveMember(self._name_of_category(category), account=self._name_of_account(member))
        return RemoveMember(self._name_of_category(category), member=self._name_of_category(member))

    def _parents(self) -> tuple[str, ...]:
        living = self.state.living_categories() if self.is_stored else []
        return tuple(self.random.sample(living, min(len(living), self.choose([0, 0, 0, 1, 2]))))

    def _category(self) -> Name:
        living = self.state.living_categories()
        if not living or self.one_in(12):
            # Deleted ones are nobody too.
            return self.choose([Name(NOBODY), Name(external_id="new"), *map(Name, self.state.categories)])
        return self._name_of_category(self.choose(living))

    def _name_of_category(self, key: str) -> Name:
        external_id = self.state.categories[key]["external_id"]
        return Name(external_id=external_id) if external_id and self.one_in(2) else Name(key)

    def _category_demands(self) -> tuple[CategoryDemand, ...]:
        """Mostly none; some on a category that nothing moves."""
        if not self.is_stored or not self.one_in(4):
            return ()
        return tuple(self._category_demand() for _ in range(self.choose([1, 1, 2])))

    def _category_demand(self) -> CategoryDemand:
        name = self._category()
        living = [key for key in self.state.living_categories() if key == name.key]
        key = living[0] if living else self.choose(list(self.state.accounts))
        return CategoryDemand(name, tuple(self._condition(key) for _ in range(self.choose([1, 1, 2]))))

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
            expires=self.choose([None] * 12 + [FUTURE, FUTURE, PAST]),
            category_demands=self._category_demands(),
        )

    def _update(self) -> Update:
        transaction = self._transaction()
        changes = self.choose(
            [
                ("metadata",),
                ("lines",),
                ("external_id",),
                ("effective",),
                ("expires",),
                ("description", "lines", "effective"),
            ]
        )
        return Update(
            transaction,
            version=self._version(transaction),
            lines=self._lines() if "lines" in changes else None,
            description=self.choose(["", "rent", "deposit"]) if "lines" in changes else None,
            external_id=self.choose(_EXTERNAL_IDS) if "external_id" in changes else None,
            effective=self.choose([1, 2, 3]) if "effective" in changes else None,
            expires=self.choose([(None,), (FUTURE,), (FUTURE + 1,), (FUTURE,), (PAST,)])
            if "expires" in changes
            else None,
            metadata=self.choose(_PATCHES) or (Patch(True, (("k", "5"),)) if "metadata" in changes else None),
            category_demands=self._category_demands(),
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
            category_demands=self._category_demands(),
        )

    def _archive(self) -> Archive:
        transaction = self._transaction()
        return Archive(transaction, self._version(transaction), self.choose(_METADATA))

    def _partial_post(self, by_number: bool = True) -> PartialPost:
        transaction = self._transaction()
        return PartialPost(
            transaction,
            self._parts(transaction, by_number),
            version=self._version(transaction),
            description=self.choose(["", "a part"]),
            external_id=self.choose(_EXTERNAL_IDS),
            effective=self.choose(_DAYS),
            metadata=self.choose(_METADATA),
            category_demands=self._category_demands(),
        )

    def _reverse(self, by_number: bool = True) -> Reverse:
        posted = [version for version in self.state.all_current() if version.status == "posted"]
        transaction = Name(self.choose(posted).key) if posted and not self.one_in(6) else self._transaction()
        return Reverse(
            transaction,
            self._parts(transaction, by_number) if self.one_in(2) else None,
            version=self._version(transaction),
            status=self.choose(["posted", "posted", "pending"]),
            description=self.choose(["", "a mistake"]),
            external_id=self.choose(_EXTERNAL_IDS),
            effective=self.choose(_DAYS),
            metadata=self.choose(_METADATA),
            demands=tuple(self._demand() for _ in range(self.choose([0, 0, 0, 1]))),
            category_demands=self._category_demands(),
        )

    def _batch(self, new_id: str) -> Batch:
        atomic = self.choose([True, False])
        items: list[tuple[str, Write]] = []
        for n in range(self.choose([2, 1, 3, 5])):
            item = self._item()
            item_id = "" if atomic else f"{new_id}.{n}"
            if self.is_stored and not atomic and self.one_in(8):
                # The id of a neighbour, or of an earlier call.
                item_id = self.choose([f"{new_id}.0", *self.state.requests])
            items.append((item_id, item))
        return Batch(tuple(items), atomic, full=self.choose([True, False]))

    def _item(self) -> Write:
        makers: list[Callable[[], Write]] = [
            self._create,
            self._create,
            self._update,
            self._post,
            self._archive,
            lambda: self._partial_post(by_number=False),
            lambda: self._reverse(by_number=False),
        ]
        return self.choose(makers)()

    # Parts.

    def _parts(self, transaction: Name, by_number: bool) -> tuple[Part, ...]:
        """Of pairs of entries that balance, mostly; by account and direction, or by their numbers."""
        found = [v for v in self.state.all_current() if v.key == transaction.key]
        if not found:
            return (Part(5, Name("a0"), "debit"), Part(5, Name("a1"), "credit"))
        version = found[0]
        # The lines of a transaction come in pairs, of a debit and a credit of one amount.
        pairs = [list(range(n, min(n + 2, len(version.entries)))) for n in range(0, len(version.entries), 2)]
        parts: list[Part] = []
        for numbers in self.random.sample(pairs, self.choose(range(1, len(pairs) + 1))):
            largest = min(version.entries[n].amount for n in numbers)
            amount = self.choose([largest, largest // 2, 1, 0, min(largest + 1, 10**36 - 1)])
            parts += [self._part(version.key, version.written_version, n, amount, by_number) for n in numbers]
        if self.one_in(12):
            parts.append(self.choose(parts))
        return tuple(parts)

    def _part(self, key: str, written_version: int, n: int, amount: int, by_number: bool) -> Part:
        entry = self.state.current(key).entries[n]
        part = Part(amount, metadata=self.choose(_METADATA))
        if self.one_in(4):
            lock_version, conditions = self._lock_version(entry.account), self._conditions(entry.account)
            part = part._replace(lock_version=lock_version, conditions=conditions)
        if by_number and self.one_in(2):
            # Sometimes one that a later version replaced.
            return part._replace(line=(max(0, written_version - self.one_in(8)), n))
        return part._replace(account=self._name_of_account(entry.account), direction=entry.direction)

    def _limits(self, amount: int) -> tuple[Limit, ...]:
        """Near the amount: some that bind at once, some soon, and some that are broken already."""
        near = amount if abs(amount) < 10**35 else 0
        return tuple(
            self.choose(
                [
                    Limit(balance, near - self.choose([0, 1, 5, 100, -50]), None),
                    Limit(balance, None, near + self.choose([0, 1, 5, 100, -50])),
                    Limit(balance, near - 100, near + 1000),
                ]
            )
            for balance in self.random.sample(get_args(BalanceKind), self.choose([1, 2]))
        )

    def _lines(self) -> tuple[Line, ...]:
        lines: list[Line] = []
        for _ in range(self.choose([1, 1, 2])):
            currencies = [account["currency"] for account in self.state.accounts.values()]
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
        keys = [key for key, account in self.state.accounts.items() if account["currency"] == currency]
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
        key = self.choose(list(self.state.accounts))
        name = Name(NOBODY) if self.one_in(10) else self._name_of_account(key)
        return Demand(name, self._lock_version(key), self._conditions(key))

    def _conditions(self, key: str) -> tuple[Condition, ...]:
        return tuple(self._condition(key) for _ in range(self.choose([0, 1, 1, 2])))

    def _condition(self, key: str) -> Condition:
        """One that is near the balance as it stands."""
        kind: BalanceKind = self.choose(get_args(BalanceKind))
        sign: Sign = self.choose(get_args(Sign))
        amount = self.state.balances(key)[kind][2] + self.choose([0, 1, -1, 5, -100, 1000])
        return Condition(kind, sign, amount if abs(amount) < 10**36 else 0)

    def _lock_version(self, key: str) -> int | None:
        if self.one_in(3):
            return None
        return self.state.lock_version(key) + self.choose([0, 0, 0, 0, 1])

    def _account(self) -> Name:
        if self.one_in(10):
            return self.choose([Name(NOBODY), Name(external_id="nobody's"), Name(external_id="new")])
        return self._name_of_account(self.choose(list(self.state.accounts)))

    def _name_of_account(self, key: str) -> Name:
        external_id = self.state.accounts[key]["external_id"]
        return Name(external_id=external_id) if external_id and self.one_in(2) else Name(key)

    def _transaction(self) -> Name:
        """Mostly one that is pending."""
        keys = list(self.state.versions)
        if not keys or self.one_in(24):
            return self.choose([Name(NOBODY), *(Name(external_id=name) for name in _EXTERNAL_IDS if name)])
        pending = [key for key in keys if self.state.current(key).status == "pending"]
        current = self.state.current(self.choose(pending if pending and not self.one_in(5) else keys))
        if current.external_id and self.one_in(2):
            return Name(external_id=current.external_id)
        return Name(current.key)

    def _version(self, transaction: Name) -> int | None:
        """None, the one demanded most often, or nearly."""
        version = self.state.current(transaction.key).version if transaction.key in self.state.versions else 0
        return self.choose([None, None, None, None, version, version, version, version + 1])

    def one_in(self, n: int) -> bool:
        return self.random.randrange(n) == 0

    def choose(self, choices: Sequence[T]) -> T:
        return self.random.choice(choices)
