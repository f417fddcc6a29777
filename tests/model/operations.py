"""What can be asked of a ledger, as values that name objects by the model's own keys: a0, a1 …, t0 … and c0 …"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

NormalBalance = Literal["debit", "credit"]
Direction = Literal["debit", "credit"]
Status = Literal["pending", "posted", "archived"]
BalanceKind = Literal["posted", "pending", "available"]
AccountStatus = Literal["open", "debits_frozen", "credits_frozen", "frozen", "closed"]
Sign = Literal["<", "<=", "==", "!=", ">=", ">"]
Pairs = tuple[tuple[str, str], ...]

# A key of nobody.
NOBODY = "nobody"
# Times are whole days from the beginning of 2024, by their number. Tests are run later than the first thousand of
# them and earlier than the last.
Day = int
PAST, FUTURE = 500, 30_000
# A new value of something that may be absent; without a Change it stays.
Change = tuple[Day | None]


class Name(NamedTuple):
    """An object by its key, or by its external id."""

    key: str | None = None
    external_id: str | None = None


class Condition(NamedTuple):
    balance: BalanceKind
    sign: Sign
    amount: int


class Line(NamedTuple):
    account: Name
    direction: Direction
    amount: int
    metadata: Pairs = ()
    lock_version: int | None = None
    conditions: tuple[Condition, ...] = ()


class Part(NamedTuple):
    """A part of a line that stands: named by account and direction, or by the version that wrote it and its number."""

    amount: int
    account: Name | None = None
    direction: Direction | None = None
    line: tuple[int, int] | None = None
    metadata: Pairs = ()
    lock_version: int | None = None
    conditions: tuple[Condition, ...] = ()


class Limit(NamedTuple):
    balance: BalanceKind
    min: int | None
    max: int | None


class Demand(NamedTuple):
    """Conditions of a command on an account it may not touch."""

    account: Name
    lock_version: int | None
    conditions: tuple[Condition, ...]


class CategoryDemand(NamedTuple):
    """Conditions of a command on a category."""

    category: Name
    conditions: tuple[Condition, ...]


class Patch(NamedTuple):
    """New metadata, or some keys of it; None removes a key."""

    replaces: bool
    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class UpdateLedger:
    name: str | None = None
    description: str | None = None
    metadata: Patch | None = None
    closed_before: Change | None = None


@dataclass(frozen=True)
class CreateAccount:
    name: str
    normal_balance: NormalBalance
    currency: str
    exponent: int | None = None
    description: str = ""
    external_id: str = ""
    metadata: Pairs = ()
    limits: tuple[Limit, ...] = ()
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class UpdateAccount:
    account: Name
    name: str | None = None
    description: str | None = None
    external_id: str | None = None
    metadata: Patch | None = None
    status: AccountStatus | None = None
    limits: tuple[Limit, ...] | None = None


@dataclass(frozen=True)
class Create:
    lines: tuple[Line, ...]
    status: Status = "pending"
    description: str = ""
    external_id: str = ""
    effective: Day | None = None
    metadata: Pairs = ()
    archive_on_condition_failure: bool = False
    expires: Day | None = None
    category_demands: tuple[CategoryDemand, ...] = ()


@dataclass(frozen=True)
class Update:
    transaction: Name
    version: int | None = None
    lines: tuple[Line, ...] | None = None
    description: str | None = None
    external_id: str | None = None
    effective: Day | None = None
    metadata: Patch | None = None
    expires: Change | None = None
    category_demands: tuple[CategoryDemand, ...] = ()


@dataclass(frozen=True)
class Post:
    transaction: Name
    version: int | None = None
    lines: tuple[Line, ...] | None = None
    effective: Day | None = None
    metadata: Pairs = ()
    demands: tuple[Demand, ...] = ()
    category_demands: tuple[CategoryDemand, ...] = ()


@dataclass(frozen=True)
class Archive:
    transaction: Name
    version: int | None = None
    metadata: Pairs = ()


@dataclass(frozen=True)
class PartialPost:
    transaction: Name
    parts: tuple[Part, ...]
    version: int | None = None
    description: str = ""
    external_id: str = ""
    effective: Day | None = None
    metadata: Pairs = ()
    category_demands: tuple[CategoryDemand, ...] = ()


@dataclass(frozen=True)
class Reverse:
    """No parts: all of it."""

    transaction: Name
    parts: tuple[Part, ...] | None = None
    version: int | None = None
    status: Status = "posted"
    description: str = ""
    external_id: str = ""
    effective: Day | None = None
    metadata: Pairs = ()
    demands: tuple[Demand, ...] = ()
    category_demands: tuple[CategoryDemand, ...] = ()


class MonitorCondition(NamedTuple):
    field: BalanceKind | Literal["lock_version"]
    sign: Sign
    value: int
    resolve_value: int | None = None


@dataclass(frozen=True)
class CreateMonitor:
    account: Name
    condition: MonitorCondition
    description: str = ""
    metadata: Pairs = ()


@dataclass(frozen=True)
class UpdateMonitor:
    """Of the monitor m0, m1 …"""

    monitor: str
    version: int | None
    description: str
    condition: MonitorCondition | None = None
    metadata: Patch | None = None


@dataclass(frozen=True)
class DeleteMonitor:
    monitor: str
    version: int | None


@dataclass(frozen=True)
class CreateCategory:
    """`parents`: the categories that it is put into."""

    name: str
    normal_balance: NormalBalance
    currency: str
    exponent: int | None = None
    description: str = ""
    external_id: str = ""
    metadata: Pairs = ()
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class UpdateCategory:
    category: Name
    name: str | None = None
    description: str | None = None
    external_id: str | None = None
    metadata: Patch | None = None


@dataclass(frozen=True)
class DeleteCategory:
    category: Name


@dataclass(frozen=True)
class AddMember:
    """An account or a category; exactly one of them."""

    category: Name
    account: Name | None = None
    member: Name | None = None


@dataclass(frozen=True)
class RemoveMember(AddMember):
    pass


Write = Create | Update | Post | Archive | PartialPost | Reverse


@dataclass(frozen=True)
class Batch:
    """Atomic: the call carries the request id, the items' are empty. Otherwise each item carries its own."""

    items: tuple[tuple[str, Write], ...]
    atomic: bool
    full: bool = True


MonitorCommand = CreateMonitor | UpdateMonitor | DeleteMonitor
CategoryCommand = CreateCategory | UpdateCategory | DeleteCategory | AddMember
Body = UpdateLedger | CreateAccount | UpdateAccount | MonitorCommand | CategoryCommand | Write | Batch


@dataclass(frozen=True)
class Call:
    """One call. `validate_only` is for transactions and batches of them."""

    request_id: str
    body: Body
    validate_only: bool = False
