"""The model: dicts and lists, every number recomputed from all standing entries each time it is asked for.

Written from the rules in words, not from the service. Objects are dicts as plain as the answers they are compared with.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from typing import Any

from tests.model.operations import (
    Archive,
    Batch,
    Body,
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
    Update,
    UpdateAccount,
    UpdateLedger,
    Write,
)

ISO_EXPONENTS = {"USD": 2, "EUR": 2, "JPY": 0}
AMOUNT_MAX = 10**36 - 1
SIGNS = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}
# What is stored under the request id when it is the answer.
STORED = {
    "ACCOUNT_NOT_FOUND",
    "TRANSACTION_NOT_FOUND",
    "EXTERNAL_ID_TAKEN",
    "TRANSACTION_NOT_PENDING",
    "CONDITION_FAILED",
    "LOCK_VERSION_MISMATCH",
    "VERSION_MISMATCH",
}

View = dict[str, Any]


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


@dataclass(frozen=True)
class Version:
    """A transaction at one version; `lines` stand until a later version wrote others."""

    key: str
    version: int
    status: str
    archived_reason: str
    description: str
    external_id: str
    metadata: Pairs
    effective: Day | None
    position: int
    # The entries standing, as this version or an earlier one wrote them.
    lines: tuple[Line, ...]
    written_status: str
    written_effective: Day | None
    written_version: int
    # Per entry, its account's lock_version and balances after the command that wrote it.
    accounts_after: tuple[tuple[int, View], ...] = ()


@dataclass
class State:
    """All there is. Values are never changed in place, so a shallow copy of the containers is a copy."""

    position: int = 0
    ledger: View = field(default_factory=lambda: {"name": "Test", "description": "", "metadata": {}})
    accounts: dict[str, View] = field(default_factory=dict)
    exponents: dict[str, int] = field(default_factory=dict)
    versions: dict[str, tuple[Version, ...]] = field(default_factory=dict)
    # For each command that moved money: on which accounts.
    moves: list[frozenset[str]] = field(default_factory=list)
    requests: dict[str, tuple[Body, Answer]] = field(default_factory=dict)

    def copy(self) -> State:
        values: Any = {f.name: copy(getattr(self, f.name)) for f in fields(self)}
        return State(**values)


class ModelLedger:
    """One ledger."""

    def __init__(self) -> None:
        self.state = State()

    # What is asked.

    def call(self, call: Call) -> Answer:
        """The answer that the service must give; the model changes as the service must."""
        before = self.state.copy()
        answer = self._call(call)
        if call.validate_only:
            self.state = before
        return answer

    def balances(self, account: str) -> dict[str, tuple[int, int, int]]:
        """(debits, credits, amount) of each of the three balances, from all standing entries."""
        sums = {(status, direction): 0 for status in ("posted", "pending") for direction in ("debit", "credit")}
        for versions in self.state.versions.values():
            current = versions[-1]
            for line in current.lines:
                if line.account.key == account and current.status != "archived":
                    sums[current.status, line.direction] += line.amount
        credit_normal = self.state.accounts[account]["normal_balance"] == "credit"
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
        return sum(account in moved for moved in self.state.moves)

    def account_view(self, account: str) -> View:
        return self.state.accounts[account] | {
            "key": account,
            "lock_version": self.lock_version(account),
            "balances": self.balances(account),
        }

    def transaction_view(self, version: Version) -> View:
        return {
            "key": version.key,
            "version": version.version,
            "status": version.status,
            "archived_reason": version.archived_reason,
            "description": version.description,
            "external_id": version.external_id,
            "metadata": dict(version.metadata),
            "effective": version.effective,
            "position": version.position,
            "entries": [
                {
                    "account": line.account.key,
                    "direction": line.direction,
                    "amount": line.amount,
                    "metadata": dict(line.metadata),
                    "status": version.written_status,
                    "effective": version.written_effective,
                    "transaction_version": version.written_version,
                    "lock_version": lock_version,
                    "balances": balances,
                }
                for line, (lock_version, balances) in zip(version.lines, version.accounts_after, strict=True)
            ],
        }

    def current(self, transaction: str) -> Version:
        return self.state.versions[transaction][-1]

    # How a call is answered.

    def _call(self, call: Call) -> Answer:
        body = call.body
        if isinstance(body, Batch) and not body.atomic:
            results = [self._answer(request_id, item) for request_id, item in body.items]
            assert all(not isinstance(result, list) for result in results)
            return results  # type: ignore[return-value]
        if isinstance(body, Batch):
            # What is malformed in any of them is seen before anything is done.
            for index, (_, item) in enumerate(body.items):
                if (reason := malformed(item)) is not None:
                    return Refused(reason, index=index)
        return self._answer(call.request_id, body)

    def _answer(self, request_id: str, body: Body) -> Answer:
        if (reason := malformed(body)) is not None:
            return Refused(reason)
        if request_id in self.state.requests:
            return self._repeat(request_id, body)
        before = self.state.copy()
        answer: Answer
        try:
            answer = self._apply_all(body) if isinstance(body, Batch) else Done(self._apply(body))
        except Refusal as refusal:
            self.state = before
            answer = refusal.refused
        if not isinstance(answer, Refused) or answer.reason in STORED:
            self.state.requests[request_id] = (body, answer)
        return answer

    def _repeat(self, request_id: str, body: Body) -> Answer:
        known, answer = self.state.requests[request_id]
        if not same(known, body):
            return Refused("REQUEST_ID_REUSED")
        match answer:
            case Done(view):
                return Done(view, replayed=True)
            case list():
                return [Done(result.view, replayed=True) for result in answer if isinstance(result, Done)]
        return answer

    def _apply_all(self, batch: Batch) -> list[Done | Refused]:
        results: list[Done | Refused] = []
        for index, (_, item) in enumerate(batch.items):
            try:
                results.append(Done(self._apply(item)))
            except Refusal as refusal:
                refusal.refused = Refused(refusal.refused.reason, refusal.refused.count, index)
                raise
        return results

    def _apply(self, body: Body) -> View:
        match body:
            case UpdateLedger():
                return self._update_ledger(body)
            case CreateAccount():
                return self._create_account(body)
            case UpdateAccount():
                return self._update_account(body)
            case Create():
                return self._create(body)
            case Update():
                return self._update(body)
            case Post():
                return self._post(body)
            case Archive():
                return self._archive(body)
        raise TypeError(body)

    # The ledger and its accounts.

    def _update_ledger(self, body: UpdateLedger) -> View:
        self.state.ledger = _edited(self.state.ledger, body)
        self.state.position += 1
        return self.state.ledger | {"position": self.state.position}

    def _create_account(self, body: CreateAccount) -> View:
        fixed = ISO_EXPONENTS.get(body.currency, self.state.exponents.get(body.currency))
        exponent = body.exponent if fixed is None else fixed
        if exponent is None or body.exponent not in (None, exponent):
            raise Refusal("INVALID_FIELD")
        self._check_account_external_id(body.external_id, None)
        key = f"a{len(self.state.accounts)}"
        self.state.exponents[body.currency] = exponent
        self.state.accounts[key] = {
            "name": body.name,
            "description": body.description,
            "normal_balance": body.normal_balance,
            "currency": body.currency,
            "exponent": exponent,
            "external_id": body.external_id,
            "metadata": dict(body.metadata),
        }
        self.state.position += 1
        return self.account_view(key) | {"position": self.state.position}

    def _update_account(self, body: UpdateAccount) -> View:
        (key,) = self._find_accounts([body.account])
        self._check_account_external_id(body.external_id or "", key)
        self.state.accounts[key] = _edited(self.state.accounts[key], body)
        self.state.position += 1
        return self.account_view(key) | {"position": self.state.position}

    def _check_account_external_id(self, external_id: str, own: str | None) -> None:
        for key, account in self.state.accounts.items():
            if external_id and account["external_id"] == external_id and key != own:
                raise Refusal("EXTERNAL_ID_TAKEN")

    # Transactions.

    def _create(self, body: Create) -> View:
        lines = self._resolve(body.lines)
        self._check_balanced(lines)
        self._check_external_id(body.external_id, None)
        self._check_lock_versions(lines)
        key = f"t{len(self.state.versions)}"
        version = Version(
            key=key,
            version=0,
            status=body.status,
            archived_reason="",
            description=body.description,
            external_id=body.external_id,
            metadata=body.metadata,
            effective=body.effective,
            position=self.state.position + 1,
            lines=lines,
            written_status=body.status,
            written_effective=body.effective,
            written_version=0,
        )
        before = self.state.copy()
        try:
            return self._write(version, [line.account.key for line in lines], _demands_of(lines))
        except Refusal as refusal:
            if refusal.refused.reason != "CONDITION_FAILED" or not body.archive_on_condition_failure:
                raise
        self.state = before
        archived = {"status": "archived", "archived_reason": "condition_failed", "written_status": "archived"}
        return self._write(_replace(version, **archived), [], [])

    def _update(self, body: Update) -> View:
        old = self._find_transaction(body.transaction)
        lines = None if body.lines is None else self._resolve(body.lines)
        self._check_balanced(lines or ())
        self._check_editable(old, body)
        self._check_version(old, body.version)
        self._check_external_id(body.external_id or "", old.key)
        self._check_lock_versions(lines or ())
        new = _replace(
            old,
            version=old.version + 1,
            description=old.description if body.description is None else body.description,
            external_id=old.external_id if body.external_id is None else body.external_id,
            effective=old.effective if body.effective is None else body.effective,
            metadata=_patched(old.metadata, body.metadata),
            position=self.state.position + 1,
        )
        if lines is None and new.effective == old.effective:
            return self._write(new, [], [])
        new = _rewritten(new, old.lines if lines is None else lines)
        return self._write(new, _accounts_of(old, new), _demands_of(lines or ()))

    def _post(self, body: Post) -> View:
        old = self._find_transaction(body.transaction)
        names = [line.account for line in body.lines or ()] + [demand.account for demand in body.demands]
        self._find_accounts(names)
        lines = None if body.lines is None else self._resolve(body.lines)
        demands = [
            demand._replace(account=Name(self._find_accounts([demand.account])[0])) for demand in body.demands
        ] + _demands_of(lines or ())
        self._check_balanced(lines or ())
        self._check_pending(old)
        self._check_version(old, body.version)
        self._check_lock_versions(demands)
        new = _replace(
            old,
            version=old.version + 1,
            status="posted",
            effective=old.effective if body.effective is None else body.effective,
            metadata=_merged(old.metadata, body.metadata),
            position=self.state.position + 1,
        )
        new = _rewritten(new, old.lines if lines is None else lines)
        return self._write(new, _accounts_of(old, new), demands)

    def _archive(self, body: Archive) -> View:
        old = self._find_transaction(body.transaction)
        self._check_pending(old)
        self._check_version(old, body.version)
        new = _replace(
            old,
            version=old.version + 1,
            status="archived",
            archived_reason="requested",
            metadata=_merged(old.metadata, body.metadata),
            position=self.state.position + 1,
        )
        return self._write(_rewritten(new, old.lines), _accounts_of(old, old), [])

    def _write(self, version: Version, moved: Iterable[str | None], demands: Sequence[Demand]) -> View:
        """Makes the version the current one, then looks whether all demands hold on what came out."""
        earlier = self.state.versions.get(version.key, ())
        self.state.versions[version.key] = (*earlier, version)
        if moved := frozenset(key for key in moved if key is not None):
            self.state.moves.append(moved)
        failures = [
            condition
            for demand in demands
            for condition in demand.conditions
            if not self._holds(condition, str(demand.account.key))
        ]
        if failures:
            raise Refusal("CONDITION_FAILED", len(failures))
        if version.written_version == version.version:
            accounts_after = tuple(
                (self.lock_version(str(line.account.key)), self.balances(str(line.account.key)))
                for line in version.lines
            )
            version = _replace(version, accounts_after=accounts_after)
            self.state.versions[version.key] = (*earlier, version)
        self.state.position += 1
        return self.transaction_view(version)

    def _holds(self, condition: Condition, account: str) -> bool:
        amount = self.balances(account)[condition.balance][2]
        return bool(SIGNS[condition.sign](amount, condition.amount))

    # Refusals.

    def _find_accounts(self, names: Sequence[Name]) -> list[str]:
        found = [self._find_account(name) for name in names]
        missing = {name for name, key in zip(names, found, strict=True) if key is None}
        if missing:
            raise Refusal("ACCOUNT_NOT_FOUND", len(missing))
        return [key for key in found if key is not None]

    def _find_account(self, name: Name) -> str | None:
        for key, account in self.state.accounts.items():
            if key == name.key or (name.external_id and account["external_id"] == name.external_id):
                return key
        return None

    def _resolve(self, lines: Sequence[Line]) -> tuple[Line, ...]:
        """The lines with their accounts by key."""
        keys = self._find_accounts([line.account for line in lines])
        return tuple(line._replace(account=Name(key)) for line, key in zip(lines, keys, strict=True))

    def _find_transaction(self, name: Name) -> Version:
        for versions in self.state.versions.values():
            current = versions[-1]
            if current.key == name.key:
                return current
            if name.external_id and current.external_id == name.external_id and current.status != "archived":
                return current
        raise Refusal("TRANSACTION_NOT_FOUND")

    def _check_balanced(self, lines: Sequence[Line]) -> None:
        for currency in {account["currency"] for account in self.state.accounts.values()}:
            own = [line for line in lines if self.state.accounts[str(line.account.key)]["currency"] == currency]
            if _sum(own, "debit") != _sum(own, "credit"):
                raise Refusal("UNBALANCED")

    def _check_pending(self, version: Version) -> None:
        if version.status != "pending":
            raise Refusal("TRANSACTION_NOT_PENDING")

    def _check_editable(self, version: Version, body: Update) -> None:
        fixed = [body.lines, body.description, body.effective]
        if version.status == "archived":
            fixed.append(body.external_id)
        if version.status != "pending" and any(value is not None for value in fixed):
            raise Refusal("TRANSACTION_NOT_PENDING")

    def _check_version(self, version: Version, demanded: int | None) -> None:
        if demanded not in (None, version.version):
            raise Refusal("VERSION_MISMATCH")

    def _check_external_id(self, external_id: str, own: str | None) -> None:
        for versions in self.state.versions.values():
            current = versions[-1]
            is_held = current.external_id == external_id and current.status != "archived"
            if external_id and is_held and current.key != own:
                raise Refusal("EXTERNAL_ID_TAKEN")

    def _check_lock_versions(self, demands: Sequence[Line | Demand]) -> None:
        wrong = [
            demand
            for demand in demands
            if demand.lock_version not in (None, self.lock_version(str(demand.account.key)))
        ]
        if wrong:
            raise Refusal("LOCK_VERSION_MISMATCH", len(wrong))


def malformed(body: Body) -> str | None:
    """Why a request is refused without a look at the ledger."""
    lines = body.lines if isinstance(body, Create | Update | Post) else None
    if lines is not None:
        if any(line.amount > AMOUNT_MAX for line in lines):
            return "INVALID_FIELD"
        one_sided = len({line.direction for line in lines}) < 2
        if one_sided or _sum(lines, "debit") != _sum(lines, "credit"):
            return "UNBALANCED"
    return None


def same(one: Body, other: Body) -> bool:
    """Whether two requests ask for the same; how the answer is to look is not part of it."""
    if isinstance(one, Batch) and isinstance(other, Batch):
        return one.items == other.items
    return one == other


def _sum(lines: Iterable[Line], direction: str) -> int:
    return sum(line.amount for line in lines if line.direction == direction)


def _demands_of(lines: Sequence[Line]) -> list[Demand]:
    return [Demand(line.account, line.lock_version, line.conditions) for line in lines]


def _accounts_of(*versions: Version) -> list[str | None]:
    return [line.account.key for version in versions for line in version.lines]


def _rewritten(version: Version, lines: Sequence[Line]) -> Version:
    """The version with new entries, which replace all that stood."""
    return _replace(
        version,
        lines=tuple(line._replace(lock_version=None, conditions=()) for line in lines),
        written_status=version.status,
        written_effective=version.effective,
        written_version=version.version,
    )


def _replace(version: Version, /, **changes: Any) -> Version:
    return Version(**{f.name: getattr(version, f.name) for f in fields(version)} | changes)


def _edited(view: View, body: UpdateLedger | UpdateAccount) -> View:
    """The object with those fields changed that the request gives."""
    changes = {
        name: getattr(body, name, None)
        for name in ("name", "description", "external_id")
        if getattr(body, name, None) is not None
    }
    return view | changes | {"metadata": dict(_patched(tuple(view["metadata"].items()), body.metadata))}


def _patched(pairs: Pairs, patch: Patch | None) -> Pairs:
    if patch is None:
        return pairs
    result = {} if patch.replaces else dict(pairs)
    for key, value in patch.pairs:
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return tuple(sorted(result.items()))


def _merged(pairs: Pairs, more: Pairs) -> Pairs:
    return tuple(sorted((dict(pairs) | dict(more)).items()))


__all__ = ["Answer", "Done", "ModelLedger", "Refused", "Version", "Write"]
