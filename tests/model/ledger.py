"""The model: what each call is answered, written from the rules in words and not from the service.

A command is applied first and judged by what came out; if that must not be, everything is put back.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from tests.model import categories
from tests.model.operations import (
    PAST,
    AddMember,
    Archive,
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
    Post,
    Reverse,
    Update,
    UpdateAccount,
    UpdateCategory,
    UpdateLedger,
    UpdateMonitor,
)
from tests.model.state import Answer, Done, Entry, Monitor, Refusal, Refused, State, Version, View, patched

AMOUNT_MAX = 10**36 - 1
SIGNS = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}
# Which directions an account takes no entries in.
CLOSED_TO = {
    "open": (),
    "debits_frozen": ("debit",),
    "credits_frozen": ("credit",),
    "frozen": ("debit", "credit"),
    "closed": ("debit", "credit"),
}
# What is not stored under the request id when it is the answer.
NOT_STORED = {"INVALID_FIELD", "UNBALANCED", "REQUEST_ID_REUSED"}


class ModelLedger:
    """One ledger."""

    def __init__(self) -> None:
        self.state = State()

    def call(self, call: Call) -> Answer:
        """The answer that the service must give; the model changes as the service must."""
        before = self.state.copy()
        answer = self._call(call)
        if call.validate_only:
            self.state = before
        return answer

    def _call(self, call: Call) -> Answer:
        body = call.body
        if isinstance(body, Batch) and not body.atomic:
            return [self._answer_one(request_id, item) for request_id, item in body.items]
        if isinstance(body, Batch):
            # What is malformed in any of them is seen before anything is done.
            for index, (_, item) in enumerate(body.items):
                if (reason := malformed(item)) is not None:
                    return Refused(reason, index=index)
        return self._answer(call.request_id, body)

    def _answer_one(self, request_id: str, body: Body) -> Done | Refused:
        answer = self._answer(request_id, body)
        assert not isinstance(answer, list)
        return answer

    def _answer(self, request_id: str, body: Body) -> Answer:
        if (reason := malformed(body) or unequal(body)) is not None:
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
        if not isinstance(answer, Refused) or answer.reason not in NOT_STORED:
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
                if (reason := unequal(item)) is not None:
                    raise Refusal(reason)
                results.append(Done(self._apply(item)))
            except Refusal as refusal:
                refusal.refused = replace(refusal.refused, index=index)
                raise
        return results

    def _apply(self, body: Body) -> View:
        view = self._apply_one(body)
        # Monitors are judged after each command, and each that turns speaks in an event of its own.
        command_position = self.state.position
        for monitor in list(self.state.monitors.values()):
            triggered = self._is_triggered(monitor.condition, monitor.account, monitor.triggered)
            if triggered != monitor.triggered and not monitor.is_deleted:
                self.state.monitors[monitor.key] = replace(monitor, triggered=triggered, since=command_position)
                self.state.position += 1
        return view

    def _apply_one(self, body: Body) -> View:
        match body:
            case CreateMonitor() | UpdateMonitor() | DeleteMonitor():
                return self._apply_to_monitor(body)
            case CreateCategory() | UpdateCategory() | DeleteCategory() | AddMember():
                return categories.apply(self.state, body)
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
            case PartialPost():
                return self._partial_post(body)
            case Reverse():
                return self._reverse(body)
        raise TypeError(body)

    # The ledger and its accounts.

    def _update_ledger(self, body: UpdateLedger) -> View:
        closed = self.state.ledger["closed"] if body.closed_before is None else body.closed_before[0]
        self.state.ledger = self.state.edited(self.state.ledger, body) | {"closed": closed}
        self.state.position += 1
        return self.state.ledger | {"position": self.state.position}

    def _create_account(self, body: CreateAccount) -> View:
        exponent = self.state.exponent(body.currency, body.exponent)
        for category in categories.find(self.state, [Name(key) for key in body.categories]):
            categories.check_currency(self.state, category, body.currency)
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
            "status": "open",
            "limits": _limits(body.limits),
        }
        categories.join(self.state, key, body.categories)
        self.state.position += 1
        return self.state.account_view(key) | {"position": self.state.position}

    def _update_account(self, body: UpdateAccount) -> View:
        (key,) = self.state.find_accounts([body.account])
        if body.status == "closed":
            pending = [entry for v in self.state.all_current() if v.status == "pending" for entry in v.entries]
            if any(entry.account == key for entry in pending) or self.state.balances(key)["posted"][2] != 0:
                raise Refusal("ACCOUNT_NOT_EMPTY")
        self._check_account_external_id(body.external_id or "", key)
        view = self.state.edited(self.state.accounts[key], body)
        if body.status is not None:
            view["status"] = body.status
        if body.limits is not None:
            view["limits"] = _limits(body.limits)
        self.state.accounts[key] = view
        self.state.position += 1
        return self.state.account_view(key) | {"position": self.state.position}

    def _check_account_external_id(self, external_id: str, own: str | None) -> None:
        for key, account in self.state.accounts.items():
            if external_id and account["external_id"] == external_id and key != own:
                raise Refusal("EXTERNAL_ID_TAKEN")

    # Monitors.

    def _apply_to_monitor(self, body: CreateMonitor | UpdateMonitor | DeleteMonitor) -> View:
        match body:
            case CreateMonitor():
                return self._create_monitor(body)
            case UpdateMonitor():
                return self._update_monitor(body)
        return self._delete_monitor(body)

    def _create_monitor(self, body: CreateMonitor) -> View:
        (account,) = self.state.find_accounts([body.account])
        self.state.position += 1
        key = f"m{len(self.state.monitors)}"
        triggered = self._is_triggered(body.condition, account, False)
        self.state.monitors[key] = Monitor(
            key, account, body.condition, body.description, body.metadata, triggered, self.state.position
        )
        return self.state.monitor_view(key) | {"position": self.state.position}

    def _update_monitor(self, body: UpdateMonitor) -> View:
        old = self._find_monitor(body)
        self.state.position += 1
        position = self.state.position
        new = replace(
            old,
            version=old.version + 1,
            description=body.description,
            condition=body.condition or old.condition,
            metadata=patched(old.metadata, body.metadata),
        )
        if new.condition != old.condition:
            # Judged anew.
            triggered = self._is_triggered(new.condition, old.account, False)
            if triggered != old.triggered:
                new = replace(new, triggered=triggered, since=position)
                self.state.position += 1
        self.state.monitors[new.key] = new
        return self.state.monitor_view(new.key) | {"position": position}

    def _delete_monitor(self, body: DeleteMonitor) -> View:
        old = self._find_monitor(body)
        self.state.position += 1
        self.state.monitors[old.key] = replace(old, is_deleted=True)
        return self.state.monitor_view(old.key) | {"position": self.state.position}

    def _find_monitor(self, body: UpdateMonitor | DeleteMonitor) -> Monitor:
        found = self.state.monitors.get(body.monitor)
        if found is None or found.is_deleted:
            raise Refusal("MONITOR_NOT_FOUND")
        if body.version not in (None, found.version):
            raise Refusal("VERSION_MISMATCH")
        return found

    def _is_triggered(self, condition: MonitorCondition, account: str, was_triggered: bool) -> bool:
        value = condition.value
        if was_triggered and condition.resolve_value is not None:
            value = condition.resolve_value
        if condition.field == "lock_version":
            return bool(SIGNS[condition.sign](self.state.lock_version(account), value))
        return bool(SIGNS[condition.sign](self.state.balances(account)[condition.field][2], value))

    # Transactions.

    def _create(self, body: Create) -> View:
        entries = self._entries(body.lines)
        categories.find_demanded(self.state, body.category_demands)
        self._check_balanced(entries)
        self._check_expiry(body.expires)
        self._check_external_id(body.external_id, None)
        self._check_lock_versions(body.lines)
        self._check_account_status(entries)
        if body.status == "posted":
            self._check_period(body.effective)
        new = Version(
            key=f"t{len(self.state.versions)}",
            status=body.status,
            description=body.description,
            external_id=body.external_id,
            metadata=body.metadata,
            effective=body.effective,
            entries=entries,
            expires=body.expires,
        )
        before = self.state.copy()
        try:
            return self._write([_written(new)], body.lines, body.category_demands)
        except Refusal as refusal:
            is_about_balances = refusal.refused.reason in ("CONDITION_FAILED", "LIMIT_EXCEEDED")
            if not is_about_balances or not body.archive_on_condition_failure:
                raise
        self.state = before
        return self._write([_written(replace(new, status="archived", archived_reason="condition_failed"))], [])

    def _update(self, body: Update) -> View:
        old = self._find_transaction(body.transaction)
        entries = self._entries(body.lines or ())
        categories.find_demanded(self.state, body.category_demands)
        self._check_balanced(entries)
        self._check_editable(old, body)
        if body.lines is not None:
            self._check_no_reversal(old)
        if body.expires is not None:
            self._check_expiry(body.expires[0])
        self._check_version(old, body.version)
        self._check_external_id(body.external_id or "", old.key)
        self._check_lock_versions(body.lines or ())
        self._check_account_status(entries)
        new = replace(
            old,
            version=old.version + 1,
            description=old.description if body.description is None else body.description,
            external_id=old.external_id if body.external_id is None else body.external_id,
            effective=old.effective if body.effective is None else body.effective,
            expires=old.expires if body.expires is None else body.expires[0],
            metadata=patched(old.metadata, body.metadata),
        )
        if body.lines is not None:
            new = _written(replace(new, entries=entries))
        elif new.effective != old.effective:
            new = _written(new)
        return self._write([new], body.lines or (), body.category_demands)

    def _post(self, body: Post) -> View:
        old = self._find_transaction(body.transaction)
        demands: list[Line | Demand] = [*(body.lines or ()), *body.demands]
        self.state.find_accounts([demand.account for demand in demands])
        categories.find_demanded(self.state, body.category_demands)
        entries = old.entries if body.lines is None else self._entries(body.lines)
        self._check_balanced(entries)
        self._check_pending(old)
        self._check_expiry(old.expires)
        if body.lines is not None:
            self._check_no_reversal(old)
        self._check_version(old, body.version)
        self._check_lock_versions(demands)
        self._check_account_status(entries)
        new = replace(
            old,
            version=old.version + 1,
            status="posted",
            effective=old.effective if body.effective is None else body.effective,
            metadata=_merged(old.metadata, body.metadata),
            entries=entries,
        )
        self._check_period(new.effective)
        return self._write([_written(new)], demands, body.category_demands)

    def _archive(self, body: Archive) -> View:
        old = self._find_transaction(body.transaction)
        self._check_pending(old)
        self._check_version(old, body.version)
        new = replace(
            old,
            version=old.version + 1,
            status="archived",
            archived_reason="requested",
            metadata=_merged(old.metadata, body.metadata),
        )
        return self._write([_written(new)], [], refusable=False)

    def _partial_post(self, body: PartialPost) -> View:
        old = self._find_transaction(body.transaction)
        parts = self._parts(old, body.parts)
        categories.find_demanded(self.state, body.category_demands)
        posted = [_part_of(old.entries[n], part) for n, part in parts]
        self._check_balanced(posted)
        self._check_pending(old)
        self._check_expiry(old.expires)
        self._check_no_reversal(old)
        self._check_left([(part.amount, old.entries[n].amount) for n, part in parts])
        self._check_version(old, body.version)
        self._check_external_id(body.external_id, None)
        demands = [Demand(Name(old.entries[n].account), part.lock_version, part.conditions) for n, part in parts]
        self._check_lock_versions(demands)
        posted = [entry for entry in posted if entry.amount]
        self._check_account_status(posted)
        effective = old.effective if body.effective is None else body.effective
        self._check_period(effective)
        new = self._derived(body, "posted", effective, posted)
        taken = {n: part.amount for n, part in parts}
        remaining = [
            entry._replace(amount=entry.amount - taken.get(n, 0))
            for n, entry in enumerate(old.entries)
            if entry.amount > taken.get(n, 0)
        ]
        rest = replace(old, version=old.version + 1, entries=tuple(remaining))
        if not remaining:
            rest = replace(rest, status="archived", archived_reason="fully_posted", entries=old.entries)
        return self._write([replace(new, part_of=old.key), _written(rest)], demands, body.category_demands)

    def _reverse(self, body: Reverse) -> View:
        old = self._find_transaction(body.transaction)
        if body.parts is None:
            parts = [(n, Part(entry.amount)) for n, entry in enumerate(old.entries)]
        else:
            parts = self._parts(old, body.parts)
        self.state.find_accounts([demand.account for demand in body.demands])
        categories.find_demanded(self.state, body.category_demands)
        self._check_balanced([_part_of(old.entries[n], part) for n, part in parts])
        if old.status != "posted":
            raise Refusal("TRANSACTION_NOT_POSTED")
        self._check_left([(part.amount, old.entries[n].amount - self.state.reversed(old.key, n)) for n, part in parts])
        self._check_version(old, body.version)
        self._check_external_id(body.external_id, None)
        demands = [
            *(Demand(Name(old.entries[n].account), part.lock_version, part.conditions) for n, part in parts),
            *body.demands,
        ]
        self._check_lock_versions(demands)
        entries = [
            _part_of(old.entries[n], part)._replace(
                direction="credit" if old.entries[n].direction == "debit" else "debit", reverses=n
            )
            for n, part in parts
            if part.amount or body.parts is None
        ]
        self._check_account_status(entries)
        effective = old.effective if body.effective is None else body.effective
        if body.status == "posted":
            self._check_period(effective)
        new = self._derived(body, body.status, effective, entries)
        return self._write([replace(new, reverses=old.key)], demands, body.category_demands)

    def _derived(
        self, body: PartialPost | Reverse, status: Any, effective: Day | None, entries: Iterable[Entry]
    ) -> Version:
        """The new transaction of a partial post or a reversal."""
        return _written(
            Version(
                key=f"t{len(self.state.versions)}",
                status=status,
                description=body.description,
                external_id=body.external_id,
                metadata=body.metadata,
                effective=effective,
                entries=tuple(entries),
            )
        )

    # Writing, and judging what came out.

    def _write(
        self,
        versions: list[Version],
        demands: Sequence[Line | Demand],
        category_demands: Sequence[CategoryDemand] = (),
        refusable: bool = True,
    ) -> View:
        """Makes the versions current ones; the first is the answer."""
        before = self.state.copy()
        accounts: set[str] = set()
        for version in versions:
            earlier = self.state.versions.get(version.key, ())
            self.state.versions[version.key] = (*earlier, version)
            if version.wrote_entries:
                touching = [each for each in (version, *earlier[-1:]) if each.status != "archived"]
                accounts |= {entry.account for each in touching for entry in each.entries}
        if accounts:
            self.state.moves.append((self.state.position + 1, frozenset(accounts)))
        if refusable:
            self._check_limits(before)
            self._check_conditions(demands, category_demands)
        self.state.position += 1
        for version in versions:
            finished = replace(version, position=self.state.position)
            if version.wrote_entries:
                after = {
                    entry.account: (self.state.lock_version(entry.account), self.state.balances(entry.account))
                    for entry in version.entries
                }
                entries = tuple(entry._replace(after=after[entry.account]) for entry in version.entries)
                finished = replace(finished, entries=entries)
            self.state.versions[version.key] = (*self.state.versions[version.key][:-1], finished)
        return self.state.current(versions[0].key).view()

    def _check_limits(self, before: State) -> None:
        """A limit is broken only by going farther out of it."""
        broken = 0
        for key, account in self.state.accounts.items():
            for kind, (least, most) in account["limits"].items():
                was, now = before.balances(key)[kind][2], self.state.balances(key)[kind][2]
                broken += least is not None and now < least and now < was
                broken += most is not None and now > most and now > was
        if broken:
            raise Refusal("LIMIT_EXCEEDED", broken)

    def _check_conditions(self, demands: Sequence[Line | Demand], category_demands: Sequence[CategoryDemand]) -> None:
        accounts = self.state.find_accounts([demand.account for demand in demands])
        subjects = [*accounts, *categories.find_demanded(self.state, category_demands)]
        failed = [
            condition
            for subject, demand in zip(subjects, [*demands, *category_demands], strict=True)
            for condition in demand.conditions
            if not self._holds(condition, subject)
        ]
        if failed:
            raise Refusal("CONDITION_FAILED", len(failed))

    def _holds(self, condition: Condition, subject: str) -> bool:
        amount = self.state.balances(subject)[condition.balance][2]
        return bool(SIGNS[condition.sign](amount, condition.amount))

    # Refusals before anything is written.

    def _entries(self, lines: Sequence[Line]) -> tuple[Entry, ...]:
        keys = self.state.find_accounts([line.account for line in lines])
        return tuple(
            Entry(key, line.direction, line.amount, line.metadata) for line, key in zip(lines, keys, strict=True)
        )

    def _find_transaction(self, name: Name) -> Version:
        for current in self.state.all_current():
            if current.key == name.key:
                return current
            if name.external_id and current.external_id == name.external_id and current.status != "archived":
                return current
        raise Refusal("TRANSACTION_NOT_FOUND")

    def _parts(self, old: Version, parts: Sequence[Part]) -> list[tuple[int, Part]]:
        """Which entry each part is of, by number. First none may be missing, then each must be one of its own."""
        keys = iter(self.state.find_accounts([part.account for part in parts if part.account is not None]))
        named: list[list[int]] = []
        for part in parts:
            if part.line is not None:
                version, n = part.line
                named.append([n] if version == old.written_version and n < len(old.entries) else [])
            else:
                side = (next(keys), part.direction)
                named.append([n for n, entry in enumerate(old.entries) if (entry.account, entry.direction) == side])
        if [] in named:
            raise Refusal("ENTRY_NOT_FOUND")
        if any(len(numbers) > 1 or numbers in named[:index] for index, numbers in enumerate(named)):
            raise Refusal("INVALID_FIELD")
        return [(numbers[0], part) for numbers, part in zip(named, parts, strict=True)]

    def _check_balanced(self, entries: Sequence[Entry]) -> None:
        for currency in {account["currency"] for account in self.state.accounts.values()}:
            own = [entry for entry in entries if self.state.accounts[entry.account]["currency"] == currency]
            if _sum(own, "debit") != _sum(own, "credit"):
                raise Refusal("UNBALANCED")

    def _check_pending(self, version: Version) -> None:
        if version.status != "pending":
            raise Refusal("TRANSACTION_NOT_PENDING")

    def _check_editable(self, version: Version, body: Update) -> None:
        fixed: list[object] = [body.lines, body.description, body.effective, body.expires]
        if version.status != "posted":
            fixed.append(body.external_id)
        if all(value is None for value in fixed):
            return
        self._check_pending(version)
        self._check_expiry(version.expires)

    def _check_no_reversal(self, version: Version) -> None:
        if version.reverses is not None:
            raise Refusal("REVERSAL_ENTRIES_FIXED")

    def _check_expiry(self, expires: Day | None) -> None:
        if expires is not None and expires <= PAST:
            raise Refusal("TRANSACTION_EXPIRED")

    def _check_left(self, asked_and_left: Sequence[tuple[int, int]]) -> None:
        exceeding = [asked for asked, left in asked_and_left if asked > left]
        if exceeding:
            raise Refusal("AMOUNT_EXCEEDED", len(exceeding))

    def _check_version(self, version: Version, demanded: int | None) -> None:
        if demanded not in (None, version.version):
            raise Refusal("VERSION_MISMATCH")

    def _check_external_id(self, external_id: str, own: str | None) -> None:
        for current in self.state.all_current():
            is_held = current.external_id == external_id and current.status != "archived"
            if external_id and is_held and current.key != own:
                raise Refusal("EXTERNAL_ID_TAKEN")

    def _check_lock_versions(self, demands: Sequence[Line | Demand]) -> None:
        wrong = [
            demand
            for demand in demands
            if demand.lock_version not in (None, self.state.lock_version(self.state.find_accounts([demand.account])[0]))
        ]
        if wrong:
            raise Refusal("LOCK_VERSION_MISMATCH", len(wrong))

    def _check_account_status(self, entries: Sequence[Entry]) -> None:
        closed = {
            entry.account
            for entry in entries
            if entry.direction in CLOSED_TO[self.state.accounts[entry.account]["status"]]
        }
        if closed:
            raise Refusal("ACCOUNT_NOT_OPEN", len(closed))

    def _check_period(self, effective: Day | None) -> None:
        closed = self.state.ledger["closed"]
        if effective is not None and closed is not None and effective < closed:
            raise Refusal("PERIOD_CLOSED")


def malformed(body: Body) -> str | None:
    """Why a request is refused without a look at the ledger, and the batch that it is in."""
    lines = body.lines if isinstance(body, Create | Update | Post) else None
    parts = body.parts if isinstance(body, PartialPost | Reverse) else None
    if max((each.amount for each in lines or parts or ()), default=0) > AMOUNT_MAX:
        return "INVALID_FIELD"
    if parts is not None and not any(part.amount for part in parts):
        return "INVALID_FIELD"
    if isinstance(body, Post | Reverse) and not all(
        each.lock_version is not None or each.conditions for each in body.demands
    ):
        return "INVALID_FIELD"
    if isinstance(body, CreateMonitor | UpdateMonitor) and body.condition is not None:
        return None if _is_well_formed(body.condition) else "INVALID_FIELD"
    if isinstance(body, Create) and body.status == "posted" and body.expires is not None:
        return "INVALID_FIELD"
    return None


def unequal(body: Body) -> str | None:
    """Why entries that no accounts could balance are refused, in an atomic batch in their turn."""
    lines = body.lines if isinstance(body, Create | Update | Post) else None
    if lines is None:
        return None
    one_sided = len({line.direction for line in lines}) < 2
    return "UNBALANCED" if one_sided or _sum(lines, "debit") != _sum(lines, "credit") else None


def _is_well_formed(condition: MonitorCondition) -> bool:
    """Hysteresis lies on the far side of the value."""
    _, sign, value, resolve_value = condition
    if sign == "!=" or max(abs(value), abs(resolve_value or 0)) > AMOUNT_MAX:
        return False
    if resolve_value is None:
        return True
    return resolve_value >= value if sign in ("<", "<=") else sign != "==" and resolve_value <= value


def same(one: Body, other: Body) -> bool:
    """Whether two requests ask for the same; how the answer is to look is not part of it."""
    if isinstance(one, Batch) and isinstance(other, Batch):
        return one.items == other.items
    return one == other


def _written(version: Version) -> Version:
    """The version as one that wrote its entries, which replace all that stood."""
    return replace(
        version,
        written_version=version.version,
        written_status=version.status,
        written_effective=version.effective,
    )


def _part_of(entry: Entry, part: Part) -> Entry:
    return Entry(entry.account, entry.direction, part.amount, part.metadata)


def _sum(lines: Iterable[Line | Entry], direction: str) -> int:
    return sum(line.amount for line in lines if line.direction == direction)


def _limits(limits: Sequence[Limit]) -> View:
    return {limit.balance: (limit.min, limit.max) for limit in limits if (limit.min, limit.max) != (None, None)}


def _merged(pairs: Pairs, more: Pairs) -> Pairs:
    return tuple(sorted((dict(pairs) | dict(more)).items()))
