"""The state of the model: dicts and lists, and every number recomputed from all standing entries when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import Any, NamedTuple

from tests.model.operations import (
    Body,
    Day,
    Direction,
    MonitorCondition,
    Name,
    Pairs,
    Patch,
    Status,
    UpdateAccount,
    UpdateCategory,
    UpdateLedger,
)

View = dict[str, Any]

ISO_EXPONENTS = {"USD": 2, "EUR": 2, "JPY": 0}


@dataclass(frozen=True)
class Done:
    """An accepted command: the object it wrote, as it is right after."""

    view: View
    replayed: bool = False


@dataclass(frozen=True)
class Refused:
    """A refused one. `count`: how many failures of the one kind are told; `index`: of an atomic batch's item."""

    reason: str
    count: int | None = None
    index: int | None = None


Answer = Done | Refused | list[Done | Refused]


class Refusal(Exception):
    """Ends the command that is being applied."""

    def __init__(self, reason: str, count: int | None = None) -> None:
        super().__init__(reason)
        self.refused = Refused(reason, count)


class Entry(NamedTuple):
    """A line that a version wrote; `after` is its account's lock_version and balances after the command."""

    account: str
    direction: Direction
    amount: int
    metadata: Pairs = ()
    # The number of the entry of the reversed transaction that it reverses.
    reverses: int | None = None
    after: tuple[int, View] | None = None


@dataclass(frozen=True)
class Version:
    """A transaction at one version, with the entries standing at it, which it or an earlier version wrote."""

    key: str
    status: Status
    description: str
    external_id: str
    metadata: Pairs
    effective: Day | None
    entries: tuple[Entry, ...]
    version: int = 0
    archived_reason: str = ""
    expires: Day | None = None
    reverses: str | None = None
    part_of: str | None = None
    position: int = 0
    written_version: int = 0
    written_status: Status = "pending"
    written_effective: Day | None = None

    @property
    def wrote_entries(self) -> bool:
        return self.written_version == self.version

    def view(self) -> View:
        return {
            "key": self.key,
            "version": self.version,
            "status": self.status,
            "archived_reason": self.archived_reason,
            "description": self.description,
            "external_id": self.external_id,
            "metadata": dict(self.metadata),
            "effective": self.effective,
            "expires": self.expires,
            "reverses": self.reverses,
            "part_of": self.part_of,
            "position": self.position,
            "entries": [self._entry_view(entry) for entry in self.entries],
        }

    def _entry_view(self, entry: Entry) -> View:
        assert entry.after is not None
        return {
            "account": entry.account,
            "direction": entry.direction,
            "amount": entry.amount,
            "metadata": dict(entry.metadata),
            "reverses": entry.reverses,
            "status": self.written_status,
            "effective": self.written_effective,
            "transaction_version": self.written_version,
            "lock_version": entry.after[0],
            "balances": entry.after[1],
        }


@dataclass(frozen=True)
class Monitor:
    """A monitor as it stands; `since` is the position of the command that brought it into its state."""

    key: str
    account: str
    condition: MonitorCondition
    description: str
    metadata: Pairs
    triggered: bool
    since: int
    version: int = 0
    is_deleted: bool = False


# A category and what is directly in it.
Members = frozenset[tuple[str, str]]


@dataclass
class State:
    """All there is. Values are never changed in place, so a shallow copy of the containers is a copy."""

    position: int = 0
    ledger: View = field(default_factory=lambda: {"name": "Test", "description": "", "metadata": {}, "closed": None})
    accounts: dict[str, View] = field(default_factory=dict)
    exponents: dict[str, int] = field(default_factory=dict)
    # All versions of each transaction, oldest first.
    versions: dict[str, tuple[Version, ...]] = field(default_factory=dict)
    # For each command that moved money: its position, and on which accounts.
    moves: list[tuple[int, frozenset[str]]] = field(default_factory=list)
    requests: dict[str, tuple[Body, Answer]] = field(default_factory=dict)
    monitors: dict[str, Monitor] = field(default_factory=dict)
    categories: dict[str, View] = field(default_factory=dict)
    # What is directly in what, a category and its member each, from a position on.
    memberships: tuple[tuple[int, Members], ...] = ((0, frozenset()),)

    @property
    def members(self) -> Members:
        return self.memberships[-1][1]

    @members.setter
    def members(self, members: Members) -> None:
        """As of the command that is being applied."""
        self.memberships = (*self.memberships, (self.position + 1, members))

    def copy(self) -> State:
        values: Any = {f.name: copy(getattr(self, f.name)) for f in fields(self)}
        return State(**values)

    def find_accounts(self, names: Sequence[Name]) -> list[str]:
        found = [self._find_account(name) for name in names]
        missing = {name for name, key in zip(names, found, strict=True) if key is None}
        if missing:
            raise Refusal("ACCOUNT_NOT_FOUND", len(missing))
        return [key for key in found if key is not None]

    def _find_account(self, name: Name) -> str | None:
        for key, account in self.accounts.items():
            if key == name.key or (name.external_id and account["external_id"] == name.external_id):
                return key
        return None

    def exponent(self, currency: str, asked: int | None) -> int:
        """That of a new account or category."""
        fixed = ISO_EXPONENTS.get(currency, self.exponents.get(currency))
        exponent = asked if fixed is None else fixed
        if exponent is None or asked not in (None, exponent):
            raise Refusal("INVALID_FIELD")
        return exponent

    def edited(self, view: View, body: UpdateLedger | UpdateAccount | UpdateCategory) -> View:
        """The object with those fields changed that the request gives."""
        given = {name: getattr(body, name, None) for name in ("name", "description", "external_id")}
        changes = {name: value for name, value in given.items() if value is not None}
        return view | changes | {"metadata": dict(patched(tuple(view["metadata"].items()), body.metadata))}

    def current(self, transaction: str) -> Version:
        return self.versions[transaction][-1]

    def all_current(self) -> list[Version]:
        return [versions[-1] for versions in self.versions.values()]

    def sums(self, key: str) -> dict[tuple[str, str], int]:
        """What stands on the account, or on those under the category, by status and direction."""
        sums = {(status, direction): 0 for status in ("posted", "pending") for direction in ("debit", "credit")}
        accounts = {key} if key in self.accounts else self.under(key, self.members)
        for version in self.all_current():
            for entry in version.entries:
                if entry.account in accounts and version.status != "archived":
                    sums[version.status, entry.direction] += entry.amount
        return sums

    def under(self, category: str, members: Members) -> set[str]:
        """The accounts that are in a category, directly or through others."""
        own = {member for parent, member in members if parent == category}
        return {*chain.from_iterable({key} if key in self.accounts else self.under(key, members) for key in own)}

    def living_categories(self) -> list[str]:
        """Those that are not deleted, oldest first."""
        return [key for key, category in self.categories.items() if not category["is_deleted"]]

    def category_view(self, key: str) -> View:
        return self.categories[key] | {"key": key, "balances": self.balances(key)}

    def balances(self, key: str) -> dict[str, tuple[int, int, int]]:
        """(debits, credits, amount) of each of the three balances, of an account or a category."""
        return self.balances_of(key, self.sums(key))

    def balances_of(self, key: str, sums: dict[tuple[str, str], int]) -> dict[str, tuple[int, int, int]]:
        credit_normal = (self.accounts.get(key) or self.categories[key])["normal_balance"] == "credit"
        posted_debits, posted_credits = sums["posted", "debit"], sums["posted", "credit"]
        all_debits = posted_debits + sums["pending", "debit"]
        all_credits = posted_credits + sums["pending", "credit"]
        sides = {
            "posted": (posted_debits, posted_credits),
            "pending": (all_debits, all_credits),
            "available": (all_debits, posted_credits) if credit_normal else (posted_debits, all_credits),
        }
        return {
            kind: (left, right, right - left if credit_normal else left - right)
            for kind, (left, right) in sides.items()
        }

    def lock_version(self, account: str) -> int:
        return sum(account in moved for _, moved in self.moves)

    def account_view(self, account: str) -> View:
        return self.accounts[account] | {
            "key": account,
            "lock_version": self.lock_version(account),
            "balances": self.balances(account),
        }

    def monitor_view(self, key: str) -> View:
        monitor, account = self.monitors[key], self.account_view(self.monitors[key].account)
        return {
            **{
                name: getattr(monitor, name)
                for name in ("key", "account", "description", "triggered", "since", "version")
            },
            "condition": tuple(monitor.condition),
            "metadata": dict(monitor.metadata),
            "is_deleted": monitor.is_deleted,
            "lock_version": account["lock_version"],
            "balances": account["balances"],
        }

    def reversed(self, transaction: str, n: int) -> int:
        """How much of a transaction's n-th entry is reversed, pending reversals included."""
        return sum(
            entry.amount
            for version in self.all_current()
            if version.reverses == transaction and version.status != "archived"
            for entry in version.entries
            if entry.reverses == n
        )


def patched(pairs: Pairs, patch: Patch | None) -> Pairs:
    if patch is None:
        return pairs
    result = {} if patch.replaces else dict(pairs)
    for key, value in patch.pairs:
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return tuple(sorted(result.items()))
