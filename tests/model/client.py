"""The same calls put to the service through its client, and what it answers in the model's words."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from ledger_client import (
    Account,
    BalanceMonitor,
    Category,
    Direction,
    Entry,
    ExternalId,
    Ledger,
    LedgerClient,
    LedgerError,
    MonitorField,
    NormalBalance,
    Outcome,
    Transaction,
    account_condition,
    category_condition,
    commands,
    condition,
    credit,
    debit,
    error_from_status,
    monitor_condition,
)
from ledger_client.inputs import EntryPart, limits, operator_sign, part_of
from ledger_client.v1.accounts_pb2 import AccountStatus, BalanceLimits
from ledger_client.v1.balances_pb2 import Balances
from ledger_client.v1.categories_pb2 import CategoryCondition
from ledger_client.v1.monitors_pb2 import MonitorCondition as MonitorConditionMessage
from ledger_client.v1.transactions_pb2 import AccountCondition, EntryInput, TransactionResult
from tests.model.operations import (
    NOBODY,
    AddMember,
    Archive,
    Batch,
    Call,
    CategoryCommand,
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
    Part,
    PartialPost,
    Patch,
    Post,
    RemoveMember,
    Reverse,
    Update,
    UpdateAccount,
    UpdateCategory,
    UpdateLedger,
    UpdateMonitor,
    Write,
)
from tests.model.reads import Question
from tests.model.state import Answer, Done, Refused, View

_FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_STATUSES = {1: "pending", 2: "posted", 3: "archived"}
_ARCHIVED_REASONS = {0: "", 1: "requested", 2: "condition_failed", 3: "expired", 4: "fully_posted"}
_ACCOUNT_STATUSES = {
    AccountStatus.ACCOUNT_STATUS_OPEN: "open",
    AccountStatus.ACCOUNT_STATUS_DEBITS_FROZEN: "debits_frozen",
    AccountStatus.ACCOUNT_STATUS_CREDITS_FROZEN: "credits_frozen",
    AccountStatus.ACCOUNT_STATUS_FROZEN: "frozen",
    AccountStatus.ACCOUNT_STATUS_CLOSED: "closed",
}
_COUNTED = {
    "ACCOUNT_NOT_FOUND",
    "ACCOUNT_NOT_OPEN",
    "AMOUNT_EXCEEDED",
    "CATEGORY_NOT_FOUND",
    "CONDITION_FAILED",
    "LIMIT_EXCEEDED",
    "LOCK_VERSION_MISMATCH",
}


class ServiceLedger:
    """One ledger of the service. It learns the ids behind the model's keys from the answers."""

    def __init__(self, client: LedgerClient, ledger_id: str) -> None:
        self.client = client
        self.id = ledger_id
        self._ids: dict[str, str] = {NOBODY: str(uuid.uuid4())}
        self._keys: dict[str, str] = {}
        # The ids of the entries that a version of a transaction wrote.
        self._entries: dict[tuple[str, int], list[str]] = {}

    async def call(self, call: Call, expected: Answer) -> Answer:
        """The service's answer. Only the keys of new objects are taken from the expected one."""
        outcome = Outcome()
        known = dict(self._ids), dict(self._keys)
        await self._learn_entries(call.body)
        try:
            if isinstance(call.body, Batch):
                return await self._batch(call, call.body, expected, outcome)
            message = await self._unary(call, outcome)
            return Done(self._view(message, expected), outcome.replayed)
        except LedgerError as error:
            return _refused(error)
        finally:
            if call.validate_only:
                # The ids in such an answer are made up.
                self._ids, self._keys = known

    async def accounts(self, keys: Sequence[str]) -> tuple[int, list[View]]:
        """The ledger's position, and these accounts as they stand at it."""
        read = await self.client.batch_get_accounts(self.id, [self._ids[key] for key in keys])
        return read.position, [self._account_view(account) for account in read.accounts]

    async def categories(self) -> list[View]:
        """All categories as they stand, oldest first."""
        return [self._category_view(category) async for category in self.client.categories(self.id)]

    def id_of(self, key: str) -> str:
        return self._ids[key]

    async def balances_as_of(self, question: Question) -> list[View]:
        """The accounts' lock_versions and balances as of a time."""
        time: Any = {
            "effective_at_lower_bound": _time(question.lower),
            "effective_at_upper_bound": _time(question.upper),
            "as_of": _time(question.as_of),
            "as_of_position": question.position,
            "known_at": question.known_at,
        }
        if question.category is not None:
            category_id = self._ids[question.category]
            category = await self.client.get_category(self.id, category_id, **time)
            (listed,) = [each async for each in self.client.categories(self.id, ids=[category_id], **time)]
            assert listed.balances == category.balances
            return [{"balances": _balances(category.balances)}]
        ids = [self._ids[key] for key in question.accounts]
        if len(ids) > 1:
            read = await self.client.batch_get_accounts(self.id, ids, **time)
            return [_balances_view(account) for account in read.accounts]
        account = await self.client.get_account(self.id, ids[0], as_of_lock_version=question.lock_version, **time)
        return [_balances_view(account)]

    async def account_versions(self, account: str, newest_first: bool) -> list[View]:
        """All that the balances of an account ever were."""
        versions = self.client.account_versions(self.id, self._ids[account], newest_first=newest_first)
        return [
            {
                "position": version.position,
                "lock_version": version.lock_version,
                "balances": _balances(version.balances),
            }
            async for version in versions
        ]

    async def transactions(self) -> list[View]:
        """All transactions as they stand, oldest first."""
        views = [self.transaction_view(transaction) async for transaction in self.client.transactions(self.id)]
        return [_without_position(view) for view in reversed(views)]

    async def monitors(self) -> list[View]:
        """All monitors as they stand, oldest first."""
        return [self._monitor_view(monitor) async for monitor in self.client.balance_monitors(self.id)]

    async def versions(self, transaction: str) -> list[View]:
        versions = self.client.transaction_versions(self.id, self._ids[transaction])
        return [self.transaction_view(version) async for version in versions]

    # Questions.

    async def _unary(self, call: Call, outcome: Outcome) -> Ledger | Account | Category | Transaction | BalanceMonitor:
        client, request_id, validate_only = self.client, call.request_id, call.validate_only
        match call.body:
            case UpdateLedger() as body:
                closed: Any = {} if body.closed_before is None else {"closed_before": _time(body.closed_before[0])}
                return await client.update_ledger(
                    self.id,
                    name=body.name,
                    description=body.description,
                    request_id=request_id,
                    outcome=outcome,
                    **closed,
                    **_patch_fields(body.metadata),
                )
            case CreateAccount() as body:
                return await client.create_account(
                    self.id,
                    body.name,
                    normal_balance=body.normal_balance,
                    currency=body.currency,
                    currency_exponent=body.exponent,
                    description=body.description,
                    external_id=body.external_id,
                    metadata=dict(body.metadata),
                    limits=_limits(body.limits),
                    categories=[self._ids[key] for key in body.categories],
                    request_id=request_id,
                    outcome=outcome,
                )
            case UpdateAccount() as body:
                return await client.update_account(
                    self.id,
                    self._ref(body.account),
                    name=body.name,
                    description=body.description,
                    external_id=body.external_id,
                    status=body.status,
                    limits=None if body.limits is None else _limits(body.limits),
                    request_id=request_id,
                    outcome=outcome,
                    **_patch_fields(body.metadata),
                )
            case CreateMonitor() | UpdateMonitor() | DeleteMonitor() as body:
                return await self._about_monitor(body, request_id, outcome)
            case CreateCategory() | UpdateCategory() | DeleteCategory() | AddMember() as body:
                return await self._about_category(body, request_id, outcome)
            case Create() as body:
                fields = self._create_fields(body) | {"request_id": request_id, "validate_only": validate_only}
                return await client.create_transaction(self.id, self._lines(body.lines), outcome=outcome, **fields)
            case Update() as body:
                fields = self._update_fields(body) | {"request_id": request_id, "validate_only": validate_only}
                return await client.update_transaction(self.id, self._ref(body.transaction), outcome=outcome, **fields)
            case Post() as body:
                fields = self._post_fields(body) | {"request_id": request_id, "validate_only": validate_only}
                return await client.post_transaction(self.id, self._ref(body.transaction), outcome=outcome, **fields)
            case PartialPost() as body:
                fields = self._part_fields(body) | {"request_id": request_id, "validate_only": validate_only}
                parts = self._parts(body.transaction, body.parts)
                return await client.partial_post_transaction(
                    self.id, self._ref(body.transaction), parts, outcome=outcome, **fields
                )
            case Reverse() as body:
                fields = self._reverse_fields(body) | {"request_id": request_id, "validate_only": validate_only}
                return await client.reverse_transaction(self.id, self._ref(body.transaction), outcome=outcome, **fields)
            case Archive() as body:
                return await client.archive_transaction(
                    self.id,
                    self._ref(body.transaction),
                    version=body.version,
                    metadata=dict(body.metadata),
                    request_id=request_id,
                    validate_only=validate_only,
                    outcome=outcome,
                )
        raise TypeError(call.body)

    async def _about_monitor(
        self, body: CreateMonitor | UpdateMonitor | DeleteMonitor, request_id: str, outcome: Outcome
    ) -> BalanceMonitor:
        client = self.client
        match body:
            case CreateMonitor():
                return await client.create_balance_monitor(
                    self.id,
                    _monitor_condition(body.condition),
                    account=self._ref(body.account),
                    description=body.description,
                    metadata=dict(body.metadata),
                    request_id=request_id,
                    outcome=outcome,
                )
            case UpdateMonitor():
                return await client.update_balance_monitor(
                    self.id,
                    self._ids[body.monitor],
                    version=body.version,
                    description=body.description,
                    condition=None if body.condition is None else _monitor_condition(body.condition),
                    request_id=request_id,
                    outcome=outcome,
                    **_patch_fields(body.metadata),
                )
        return await client.delete_balance_monitor(
            self.id, self._ids[body.monitor], version=body.version, request_id=request_id, outcome=outcome
        )

    async def _about_category(self, body: CategoryCommand, request_id: str, outcome: Outcome) -> Category:
        client = self.client
        common: Any = {"request_id": request_id, "outcome": outcome}
        match body:
            case CreateCategory():
                return await client.create_category(
                    self.id,
                    body.name,
                    normal_balance=body.normal_balance,
                    currency=body.currency,
                    currency_exponent=body.exponent,
                    description=body.description,
                    external_id=body.external_id,
                    metadata=dict(body.metadata),
                    parents=[self._ids[key] for key in body.parents],
                    **common,
                )
            case UpdateCategory():
                return await client.update_category(
                    self.id,
                    self._ref(body.category),
                    name=body.name,
                    description=body.description,
                    external_id=body.external_id,
                    **common,
                    **_patch_fields(body.metadata),
                )
            case DeleteCategory():
                return await client.delete_category(self.id, self._ref(body.category), **common)
        change = client.remove_category_member if isinstance(body, RemoveMember) else client.add_category_member
        return await change(
            self.id,
            self._ref(body.category),
            account=None if body.account is None else self._ref(body.account),
            member_category=None if body.member is None else self._ref(body.member),
            **common,
        )

    async def _batch(self, call: Call, batch: Batch, expected: Answer, outcome: Outcome) -> Answer:
        response = await self.client.batch_write_transactions(
            self.id,
            [self._write(request_id, item) for request_id, item in batch.items],
            atomic=batch.atomic,
            full_results=batch.full,
            validate_only=call.validate_only,
            request_id=call.request_id,
            outcome=outcome,
        )
        hints = expected if isinstance(expected, list) else [expected] * len(response.results)
        results = [self._result(result, hint) for result, hint in zip(response.results, hints, strict=True)]
        if outcome.replayed:
            assert all(isinstance(result, Done) and result.replayed for result in results)
        return results

    def _result(self, result: TransactionResult, expected: Answer) -> Done | Refused:
        if result.HasField("error"):
            return _refused(error_from_status(result.error))
        return Done(self._view(result.transaction, expected), result.replayed)

    def _write(self, request_id: str, item: Write) -> commands.TransactionWrite:
        match item:
            case Create() as body:
                return commands.create_transaction(
                    self._lines(body.lines), request_id=request_id, **self._create_fields(body)
                )
            case Update() as body:
                ref = self._ref(body.transaction)
                return commands.update_transaction(ref, request_id=request_id, **self._update_fields(body))
            case Post() as body:
                ref = self._ref(body.transaction)
                return commands.post_transaction(ref, request_id=request_id, **self._post_fields(body))
            case PartialPost() as body:
                parts = self._parts(body.transaction, body.parts)
                return commands.partial_post_transaction(
                    self._ref(body.transaction), parts, request_id=request_id, **self._part_fields(body)
                )
            case Reverse() as body:
                ref = self._ref(body.transaction)
                return commands.reverse_transaction(ref, request_id=request_id, **self._reverse_fields(body))
            case Archive() as body:
                return commands.archive_transaction(
                    self._ref(body.transaction),
                    request_id=request_id,
                    version=body.version,
                    metadata=dict(body.metadata),
                )

    def _create_fields(self, body: Create) -> Any:
        return {
            "status": body.status,
            "description": body.description,
            "external_id": body.external_id,
            "effective_at": _time(body.effective),
            "metadata": dict(body.metadata),
            "archive_on_condition_failure": body.archive_on_condition_failure,
            "expires_at": _time(body.expires),
            "category_conditions": self._category_conditions(body),
        }

    def _update_fields(self, body: Update) -> Any:
        given: Any = {
            "entries": None if body.lines is None else self._lines(body.lines),
            "description": body.description,
            "external_id": body.external_id,
            "effective_at": _time(body.effective),
        }
        changed = {name: value for name, value in given.items() if value is not None}
        if body.expires is not None:
            changed["expires_at"] = _time(body.expires[0])
        conditions = {"category_conditions": self._category_conditions(body)}
        return changed | _patch_fields(body.metadata) | {"version": body.version} | conditions

    def _post_fields(self, body: Post) -> Any:
        return {
            "version": body.version,
            "entries": None if body.lines is None else self._lines(body.lines),
            "effective_at": _time(body.effective),
            "metadata": dict(body.metadata),
            "conditions": self._demands(body.demands),
            "category_conditions": self._category_conditions(body),
        }

    def _reverse_fields(self, body: Reverse) -> Any:
        given = {} if body.parts is None else {"entries": self._parts(body.transaction, body.parts)}
        return self._part_fields(body) | {"status": body.status, "conditions": self._demands(body.demands)} | given

    def _part_fields(self, body: PartialPost | Reverse) -> Any:
        return {
            "version": body.version,
            "description": body.description,
            "external_id": body.external_id,
            "effective_at": _time(body.effective),
            "metadata": dict(body.metadata),
            "category_conditions": self._category_conditions(body),
        }

    def _category_conditions(self, body: Create | Update | Post | PartialPost | Reverse) -> list[CategoryCondition]:
        return [
            category_condition(self._ref(demand.category), *map(_condition, demand.conditions))
            for demand in body.category_demands
        ]

    def _demands(self, demands: Iterable[Demand]) -> list[AccountCondition]:
        return [
            account_condition(
                self._ref(demand.account), *map(_condition, demand.conditions), lock_version=demand.lock_version
            )
            for demand in demands
        ]

    def _parts(self, transaction: Name, parts: Iterable[Part]) -> list[EntryPart]:
        return [self._part(transaction, part) for part in parts]

    def _part(self, transaction: Name, part: Part) -> EntryPart:
        rest: Any = {
            "metadata": dict(part.metadata),
            "lock_version": part.lock_version,
            "conditions": map(_condition, part.conditions),
        }
        if part.line is None:
            assert part.account is not None
            return (debit if part.direction == "debit" else credit)(self._ref(part.account), part.amount, **rest)
        version, n = part.line
        ids = self._entries.get((str(transaction.key), version), [])
        return part_of(ids[n] if n < len(ids) else self._ids[NOBODY], part.amount, **rest)

    async def _learn_entries(self, body: object) -> None:
        """Asks for the ids of entries that a call names by their numbers."""
        if isinstance(body, PartialPost | Reverse) and any(part.line is not None for part in body.parts or ()):
            key = str(body.transaction.key)
            async for version in self.client.transaction_versions(self.id, self._ref(body.transaction)):
                for entry in version.entries:
                    ids = self._entries.setdefault((key, entry.transaction_version), [])
                    if entry.id not in ids:
                        ids.append(entry.id)

    def _lines(self, lines: Iterable[Line]) -> list[EntryInput]:
        return [
            (debit if line.direction == "debit" else credit)(
                self._ref(line.account),
                line.amount,
                metadata=dict(line.metadata),
                lock_version=line.lock_version,
                conditions=map(_condition, line.conditions),
            )
            for line in lines
        ]

    def _ref(self, name: Name) -> str | ExternalId:
        if name.external_id is not None:
            return ExternalId(name.external_id)
        return self._ids[str(name.key)]

    # Answers.

    def _view(self, message: Ledger | Account | Category | Transaction | BalanceMonitor, expected: Answer) -> View:
        if isinstance(expected, Done):
            self._learn(message.id, expected.view.get("key"))
        match message:
            case Ledger():
                view = {"name": message.name, "description": message.description, "metadata": dict(message.metadata)}
                closed = _day(message.closed_before) if message.HasField("closed_before") else None
                return view | {"position": message.position, "closed": closed}
            case Account():
                return self._account_view(message) | {"position": message.position}
            case Category():
                return self._category_view(message) | {"position": message.position}
            case BalanceMonitor():
                return self._monitor_view(message) | {"position": message.position}
        return self.transaction_view(message)

    def _learn(self, object_id: str, key: str | None) -> None:
        if key is not None and key not in self._ids and object_id not in self._keys:
            self._ids[key] = object_id
            self._keys[object_id] = key

    def _account_view(self, account: Account) -> View:
        return {
            "key": self._keys.get(account.id),
            "name": account.name,
            "description": account.description,
            "normal_balance": "debit" if account.normal_balance == NormalBalance.NORMAL_BALANCE_DEBIT else "credit",
            "currency": account.currency,
            "exponent": account.currency_exponent,
            "external_id": account.external_id,
            "metadata": dict(account.metadata),
            "lock_version": account.lock_version,
            "balances": _balances(account.balances),
            "status": _ACCOUNT_STATUSES[account.status],
            "limits": _limits_view(account.limits),
        }

    def _category_view(self, category: Category) -> View:
        return {
            "key": self._keys.get(category.id),
            "name": category.name,
            "description": category.description,
            "normal_balance": "debit" if category.normal_balance == NormalBalance.NORMAL_BALANCE_DEBIT else "credit",
            "currency": category.currency,
            "exponent": category.currency_exponent,
            "external_id": category.external_id,
            "metadata": dict(category.metadata),
            "is_deleted": category.HasField("deleted_at"),
            "balances": _balances(category.balances),
        }

    def _monitor_view(self, monitor: BalanceMonitor) -> View:
        condition = monitor.condition
        resolve_value = int(condition.resolve_value) if condition.HasField("resolve_value") else None
        return {
            "key": self._keys.get(monitor.id),
            "account": self._keys.get(monitor.account_id),
            "condition": (
                MonitorField.Name(condition.field).removeprefix("MONITOR_FIELD_").lower(),
                operator_sign(condition.operator),
                int(condition.value),
                resolve_value,
            ),
            "description": monitor.description,
            "metadata": dict(monitor.metadata),
            "version": monitor.version,
            "triggered": monitor.triggered,
            "since": monitor.since_position,
            "is_deleted": monitor.HasField("deleted_at"),
            "lock_version": monitor.lock_version,
            "balances": _balances(monitor.balances),
        }

    def transaction_view(self, transaction: Transaction) -> View:
        lean = {
            "key": self._keys.get(transaction.id),
            "version": transaction.version,
            "status": _STATUSES[transaction.status],
            "position": transaction.position,
        }
        if not transaction.entries:
            return lean
        derived = transaction.reverses_transaction_id or transaction.partially_posts_transaction_id
        effective = _day(transaction.effective_at)
        # By default it is the time of the creation, of this transaction or of the one it is derived from.
        assert effective is not None or derived or transaction.effective_at == transaction.created_at
        assert transaction.HasField("posted_at") == (lean["status"] == "posted")
        return lean | {
            "archived_reason": _ARCHIVED_REASONS[transaction.archived_reason],
            "description": transaction.description,
            "external_id": transaction.external_id,
            "metadata": dict(transaction.metadata),
            "effective": effective,
            "expires": _day(transaction.expires_at) if transaction.HasField("expires_at") else None,
            "reverses": self._keys.get(transaction.reverses_transaction_id),
            "part_of": self._keys.get(transaction.partially_posts_transaction_id),
            "entries": [self.entry_view(entry) for entry in transaction.entries],
        }

    def entry_view(self, entry: Entry) -> View:
        return {
            "account": self._keys[entry.account_id],
            "direction": "debit" if entry.direction == Direction.DIRECTION_DEBIT else "credit",
            "amount": int(entry.amount),
            "metadata": dict(entry.metadata),
            "status": _STATUSES[entry.status],
            "effective": _day(entry.effective_at),
            # The last three digits of an entry's id are its number.
            "reverses": int(entry.reverses_entry_id[-3:], 16) if entry.reverses_entry_id else None,
            "transaction_version": entry.transaction_version,
            "lock_version": entry.account_lock_version,
            "balances": _balances(entry.resulting_balances),
        }


def _balances_view(account: Account) -> View:
    return {"lock_version": account.lock_version, "balances": _balances(account.balances)}


def _refused(error: LedgerError) -> Refused:
    index = error.metadata.get("command_index")
    count = len(error.violations) if error.reason in _COUNTED else None
    return Refused(error.reason, count, None if index is None else int(index))


def _without_position(view: View) -> View:
    return {name: value for name, value in view.items() if name != "position"}


def _balances(balances: Balances) -> dict[str, tuple[int, int, int]]:
    return {
        kind: (int(balance.debits), int(balance.credits), int(balance.amount))
        for kind, balance in (
            ("posted", balances.posted),
            ("pending", balances.pending),
            ("available", balances.available),
        )
    }


def _condition(demanded: Condition) -> Any:
    return condition(demanded.balance, demanded.sign, demanded.amount)


def _patch_fields(patch: Patch | None) -> Any:
    if patch is None:
        return {}
    return {"metadata" if patch.replaces else "metadata_patch": dict(patch.pairs)}


def _monitor_condition(asked: MonitorCondition) -> MonitorConditionMessage:
    return monitor_condition(asked.field, asked.sign, asked.value, resolve_value=asked.resolve_value)


def _limits(wanted: Iterable[Limit]) -> BalanceLimits:
    bounds: Any = {}
    for limit in wanted:
        bounds |= {f"{limit.balance}_min": limit.min, f"{limit.balance}_max": limit.max}
    return limits(**bounds)


def _limits_view(message: BalanceLimits) -> View:
    bounds = {
        kind: (
            int(limit.min) if limit.HasField("min") else None,
            int(limit.max) if limit.HasField("max") else None,
        )
        for kind, limit in (("posted", message.posted), ("pending", message.pending), ("available", message.available))
    }
    return {kind: bound for kind, bound in bounds.items() if bound != (None, None)}


def _time(day: Day | None) -> datetime | None:
    return None if day is None else _FIRST_DAY + timedelta(days=day)


def _day(time: Timestamp) -> Day | None:
    """The number of a whole day, as callers choose them; None: a time of the clock."""
    since = time.ToDatetime(UTC) - _FIRST_DAY
    return since.days if since == timedelta(days=since.days) else None
