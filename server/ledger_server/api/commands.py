"""Requests to commands: what callers ask for, checked field by field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message
from ledger_client.v1 import accounts_pb2, balances_pb2, ledgers_pb2, transactions_pb2

from ledger_server.api import fields
from ledger_server.api.fields import Problems
from ledger_server.domain.commands import (
    AccountCondition,
    ArchiveTransaction,
    AtomicBatch,
    BalanceCondition,
    BatchCreateAccounts,
    Command,
    CreateAccount,
    CreateLedger,
    CreateTransaction,
    EntryInput,
    ImportChunk,
    MetadataPatch,
    PartialEntry,
    PartialPostTransaction,
    PostTransaction,
    Ref,
    ReverseTransaction,
    TransactionCommand,
    UpdateAccount,
    UpdateLedger,
    UpdateTransaction,
)
from ledger_server.domain.errors import InvalidField, LedgerError, Unbalanced, Violation
from ledger_server.domain.ids import ENTRIES_MAX, NIL_ID, is_canonical_id
from ledger_server.domain.model import AccountStatus, BalanceLimit, BalanceLimits, TransactionStatus
from ledger_server.domain.money import (
    BalanceKind,
    Direction,
    NormalBalance,
    Operator,
    parse_amount,
    parse_signed_amount,
)

BATCH_COMMANDS_MAX = 10_000
BATCH_ENTRIES_MAX = 20_000
FULL_RESULTS_MAX = 500
CONDITIONS_MAX = 18
ACCOUNT_CONDITIONS_MAX = 100

_SIGNED_AMOUNT_RULE = "must be a base-10 integer of at most 36 digits in the minor unit, optionally negative, never -0"
_DIRECTIONS = {int(direction): direction for direction in Direction}
_STATUSES = {0: TransactionStatus.PENDING, 1: TransactionStatus.PENDING, 2: TransactionStatus.POSTED}

TransactionRequest = (
    transactions_pb2.CreateTransactionRequest
    | transactions_pb2.UpdateTransactionRequest
    | transactions_pb2.PostTransactionRequest
    | transactions_pb2.ArchiveTransactionRequest
    | transactions_pb2.PartialPostTransactionRequest
    | transactions_pb2.ReverseTransactionRequest
)


def create_ledger(request: ledgers_pb2.CreateLedgerRequest) -> CreateLedger:
    problems = Problems()
    command = CreateLedger(
        ledger_id=NIL_ID,
        request_id=fields.request_id(problems, request.request_id),
        name=fields.text(problems, "name", request.name, required=True),
        description=fields.text(problems, "description", request.description),
        metadata=fields.metadata(problems, request.metadata),
    )
    problems.raise_if_any()
    return command


def update_ledger(request: ledgers_pb2.UpdateLedgerRequest) -> UpdateLedger:
    problems = Problems()
    changed, patch = _mask(problems, request, ("name", "description", "closed_before", "metadata"))
    command = UpdateLedger(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        name=fields.text(problems, "name", request.name, required=True) if "name" in changed else None,
        description=fields.text(problems, "description", request.description) if "description" in changed else None,
        metadata=patch,
        closed_before=(_optional_time(problems, request, "closed_before"),) if "closed_before" in changed else None,
    )
    problems.raise_if_any()
    return command


def create_account(request: accounts_pb2.CreateAccountRequest, ledger_id: str | None = None) -> CreateAccount:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    exponent = request.currency_exponent if request.HasField("currency_exponent") else None
    if exponent is not None and not 0 <= exponent <= 30:
        problems.add("currency_exponent", "must be 0 to 30")
    command = CreateAccount(
        ledger_id=ledger,
        request_id=request_id,
        name=fields.text(problems, "name", request.name, required=True),
        description=fields.text(problems, "description", request.description),
        normal_balance=_enum(problems, "normal_balance", request.normal_balance, NormalBalance),
        currency=fields.currency(problems, request.currency),
        currency_exponent=exponent,
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        metadata=fields.metadata(problems, request.metadata),
        limits=_limits(problems, request.limits),
    )
    problems.raise_if_any()
    return command


def batch_create_accounts(request: accounts_pb2.BatchCreateAccountsRequest) -> BatchCreateAccounts:
    problems = Problems()
    ledger_id = fields.ledger_id(problems, request.ledger_id)
    fields.request_id(problems, request.request_id)
    if not 1 <= len(request.accounts) <= BATCH_COMMANDS_MAX:
        problems.add("accounts", f"must be 1 to {BATCH_COMMANDS_MAX}")
    problems.raise_if_any()
    items = [_batched(partial(create_account, item, ledger_id), item) for item in request.accounts]
    return BatchCreateAccounts(ledger_id=ledger_id, request_id=request.request_id, commands=_all_well_formed(items))


def update_account(request: accounts_pb2.UpdateAccountRequest) -> UpdateAccount:
    problems = Problems()
    changed, patch = _mask(problems, request, ("name", "description", "external_id", "status", "limits", "metadata"))
    command = UpdateAccount(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        account=account_ref(problems, request),
        name=fields.text(problems, "name", request.name, required=True) if "name" in changed else None,
        description=fields.text(problems, "description", request.description) if "description" in changed else None,
        external_id=(
            fields.external_id(problems, "external_id", request.external_id) if "external_id" in changed else None
        ),
        metadata=patch,
        status=_enum(problems, "status", request.status, AccountStatus) if "status" in changed else None,
        limits=_limits(problems, request.limits) if "limits" in changed else None,
    )
    problems.raise_if_any()
    return command


def transaction_command(request: TransactionRequest, ledger_id: str | None = None) -> TransactionCommand:
    """The command of a unary request, or of an item of a batch for this ledger whose request_id is checked elsewhere."""
    match request:
        case transactions_pb2.CreateTransactionRequest():
            return create_transaction(request, ledger_id)
        case transactions_pb2.UpdateTransactionRequest():
            return update_transaction(request, ledger_id)
        case transactions_pb2.PostTransactionRequest():
            return post_transaction(request, ledger_id)
        case transactions_pb2.ArchiveTransactionRequest():
            return archive_transaction(request, ledger_id)
        case transactions_pb2.PartialPostTransactionRequest():
            return partial_post_transaction(request, ledger_id)
        case transactions_pb2.ReverseTransactionRequest():
            return reverse_transaction(request, ledger_id)


def create_transaction(
    request: transactions_pb2.CreateTransactionRequest, ledger_id: str | None = None
) -> CreateTransaction:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    status = _STATUSES.get(request.status)
    if status is None:
        problems.add("status", "must be PENDING or POSTED")
        status = TransactionStatus.PENDING
    expires_at = _optional_time(problems, request, "expires_at")
    if expires_at is not None and status != TransactionStatus.PENDING:
        problems.add("expires_at", "must be absent: only a pending transaction expires")
    command = CreateTransaction(
        ledger_id=ledger,
        request_id=request_id,
        status=status,
        description=fields.text(problems, "description", request.description),
        effective_at=_optional_time(problems, request, "effective_at"),
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        metadata=fields.metadata(problems, request.metadata),
        entries=_entries(problems, request.entries),
        archive_on_condition_failure=request.archive_on_condition_failure,
        expires_at=expires_at,
    )
    problems.raise_if_any()
    _refuse_unbalanced(command.entries)
    return command


def update_transaction(
    request: transactions_pb2.UpdateTransactionRequest, ledger_id: str | None = None
) -> UpdateTransaction:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    allowed = ("description", "effective_at", "expires_at", "external_id", "entries", "metadata")
    changed, patch = _mask(problems, request, allowed)
    if "effective_at" in changed and not request.HasField("effective_at"):
        problems.add("effective_at", "is named by update_mask and missing")
    command = UpdateTransaction(
        ledger_id=ledger,
        request_id=request_id,
        transaction=transaction_ref(problems, request),
        version=_optional_count(problems, request, "version"),
        description=fields.text(problems, "description", request.description) if "description" in changed else None,
        effective_at=_optional_time(problems, request, "effective_at") if "effective_at" in changed else None,
        external_id=(
            fields.external_id(problems, "external_id", request.external_id) if "external_id" in changed else None
        ),
        metadata=patch,
        entries=_entries(problems, request.entries) if "entries" in changed else None,
        expires_at=(_optional_time(problems, request, "expires_at"),) if "expires_at" in changed else None,
    )
    problems.raise_if_any()
    _refuse_unbalanced(command.entries or ())
    return command


def post_transaction(request: transactions_pb2.PostTransactionRequest, ledger_id: str | None = None) -> PostTransaction:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    command = PostTransaction(
        ledger_id=ledger,
        request_id=request_id,
        transaction=transaction_ref(problems, request),
        version=_optional_count(problems, request, "version"),
        entries=_entries(problems, request.entries) if request.entries else None,
        effective_at=_optional_time(problems, request, "effective_at"),
        metadata=_merged(fields.metadata(problems, request.metadata)),
        conditions=_account_conditions(problems, request.conditions),
    )
    problems.raise_if_any()
    _refuse_unbalanced(command.entries or ())
    return command


def archive_transaction(
    request: transactions_pb2.ArchiveTransactionRequest, ledger_id: str | None = None
) -> ArchiveTransaction:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    command = ArchiveTransaction(
        ledger_id=ledger,
        request_id=request_id,
        transaction=transaction_ref(problems, request),
        version=_optional_count(problems, request, "version"),
        metadata=_merged(fields.metadata(problems, request.metadata)),
    )
    problems.raise_if_any()
    return command


def partial_post_transaction(
    request: transactions_pb2.PartialPostTransactionRequest, ledger_id: str | None = None
) -> PartialPostTransaction:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    command = PartialPostTransaction(
        ledger_id=ledger,
        request_id=request_id,
        transaction=transaction_ref(problems, request),
        version=_optional_count(problems, request, "version"),
        entries=_partial_entries(problems, request.entries),
        effective_at=_optional_time(problems, request, "effective_at"),
        description=fields.text(problems, "description", request.description),
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        metadata=fields.metadata(problems, request.metadata),
    )
    problems.raise_if_any()
    return command


def reverse_transaction(
    request: transactions_pb2.ReverseTransactionRequest, ledger_id: str | None = None
) -> ReverseTransaction:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    status = _STATUSES.get(request.status or TransactionStatus.POSTED)
    if status is None:
        problems.add("status", "must be POSTED or PENDING")
        status = TransactionStatus.POSTED
    command = ReverseTransaction(
        ledger_id=ledger,
        request_id=request_id,
        transaction=transaction_ref(problems, request),
        version=_optional_count(problems, request, "version"),
        status=status,
        entries=_partial_entries(problems, request.entries) if request.entries else None,
        effective_at=_optional_time(problems, request, "effective_at"),
        description=fields.text(problems, "description", request.description),
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        metadata=fields.metadata(problems, request.metadata),
        conditions=_account_conditions(problems, request.conditions),
    )
    problems.raise_if_any()
    return command


def batch(request: transactions_pb2.BatchWriteTransactionsRequest) -> Sequence[Command | LedgerError]:
    """The batch's commands in order: one AtomicBatch, or one command an item, or why an item is malformed."""
    problems = Problems()
    ledger_id = fields.ledger_id(problems, request.ledger_id)
    if request.atomic:
        fields.request_id(problems, request.request_id)
    elif request.request_id:
        problems.add("request_id", "must be empty unless the batch is atomic: each command carries its own")
    if request.full_results and len(request.commands) > FULL_RESULTS_MAX:
        problems.add("full_results", f"is possible for at most {FULL_RESULTS_MAX} commands")
    items = _items(problems, request.commands)
    problems.raise_if_any()
    if not request.atomic:
        return [_item(item, ledger_id) for item in items]
    commands = _all_well_formed([_batched_item(item, ledger_id) for item in items])
    return [
        AtomicBatch(
            ledger_id=ledger_id,
            request_id=request.request_id,
            commands=commands,
            full_results=request.full_results,
        )
    ]


def import_chunk(request: transactions_pb2.ImportTransactionsRequest) -> ImportChunk:
    problems = Problems()
    ledger_id = fields.ledger_id(problems, request.ledger_id)
    fields.request_id(problems, request.request_id)
    items = _items(problems, request.commands)
    problems.raise_if_any()
    commands = _all_well_formed([_batched_item(item, ledger_id) for item in items])
    return ImportChunk(ledger_id=ledger_id, request_id=request.request_id, commands=commands)


def _items(problems: Problems, commands: Sequence[transactions_pb2.TransactionCommand]) -> list[Any]:
    """The requests in a batch; None for an empty command."""
    if not 1 <= len(commands) <= BATCH_COMMANDS_MAX:
        problems.add("commands", f"must be 1 to {BATCH_COMMANDS_MAX}")
        return []
    items = [getattr(command, command.WhichOneof("command") or "", None) for command in commands]
    if sum(len(getattr(item, "entries", ())) for item in items) > BATCH_ENTRIES_MAX:
        problems.add("commands", f"must have at most {BATCH_ENTRIES_MAX} entries together")
    return items


def _item(item: Any, ledger_id: str) -> Command | LedgerError:
    """The command of an item that carries its own request_id, or why it is malformed."""
    problems = Problems()
    try:
        _check_item(problems, item)
        fields.request_id(problems, item.request_id)
        problems.raise_if_any()
        return transaction_command(item, ledger_id)
    except LedgerError as error:
        return error


def _batched_item(item: Any, ledger_id: str) -> Command | LedgerError:
    """The command of an item of a batch that has the request_id for all, or why it is malformed."""
    try:
        problems = Problems()
        _check_item(problems, item)
        problems.raise_if_any()
    except LedgerError as error:
        return error
    return _batched(partial(transaction_command, item, ledger_id), item)


def _batched(convert: Callable[[], Command], item: Any) -> Command | LedgerError:
    try:
        if item.request_id:
            problem = "must be empty: the batch carries one for all"
            raise InvalidField.of([Violation("request_id", problem)])
        return convert()
    except LedgerError as error:
        return error


def _check_item(problems: Problems, item: Any) -> None:
    if item is None:
        problems.add("command", "is required")
        problems.raise_if_any()
    if item.validate_only:
        problems.add("validate_only", "must be unset in a batch, which has its own")


def _all_well_formed(items: Sequence[Command | LedgerError]) -> tuple[Command, ...]:
    """The commands, or the first one's error with its index."""
    commands: list[Command] = []
    for index, item in enumerate(items):
        if isinstance(item, LedgerError):
            raise item.with_metadata(command_index=str(index))
        commands.append(item)
    return tuple(commands)


def account_ref(problems: Problems, message: Any, prefix: str = "") -> Ref:
    """The account that a request's oneof names."""
    if message.account_id:
        return Ref(fields.object_id(problems, f"{prefix}account_id", message.account_id), None)
    if message.account_external_id:
        return Ref(None, fields.external_id(problems, f"{prefix}account_external_id", message.account_external_id))
    problems.add(f"{prefix}account_id", "is required, or account_external_id")
    return Ref(NIL_ID, None)


def transaction_ref(problems: Problems, message: Any) -> Ref:
    """The transaction that a request's oneof names."""
    if message.transaction_id:
        return Ref(fields.object_id(problems, "transaction_id", message.transaction_id), None)
    if message.transaction_external_id:
        external_id = fields.external_id(problems, "transaction_external_id", message.transaction_external_id)
        return Ref(None, external_id)
    problems.add("transaction_id", "is required, or transaction_external_id")
    return Ref(NIL_ID, None)


def _scope(
    problems: Problems, request: TransactionRequest | accounts_pb2.CreateAccountRequest, ledger_id: str | None
) -> tuple[str, str]:
    if ledger_id is None:
        return fields.ledger_id(problems, request.ledger_id), fields.request_id(problems, request.request_id)
    if request.ledger_id and request.ledger_id.lower() != ledger_id:
        problems.add("ledger_id", "must be empty or the batch's")
    return ledger_id, request.request_id


def _entries(problems: Problems, entries: Sequence[transactions_pb2.EntryInput]) -> tuple[EntryInput, ...]:
    if not 2 <= len(entries) <= ENTRIES_MAX:
        problems.add("entries", f"must be 2 to {ENTRIES_MAX}, with at least one debit and one credit")
        return ()
    return tuple([_plain_entry(entry) or _entry(problems, n, entry) for n, entry in enumerate(entries)])


def _plain_entry(entry: transactions_pb2.EntryInput) -> EntryInput | None:
    """An entry of nothing but a well-formed account_id, direction and amount: nearly all are, and it is the hot path."""
    match entry.ListFields():
        case [(account_field, account_id), (_, int(direction)), (_, str(text))] if account_field.number == _ACCOUNT_ID:
            amount = parse_amount(text)
            if amount is not None and direction in _DIRECTIONS and is_canonical_id(account_id):
                return EntryInput(Ref(account_id, None), _DIRECTIONS[direction], amount)
    return None


_ACCOUNT_ID = transactions_pb2.EntryInput.ACCOUNT_ID_FIELD_NUMBER


def _entry(problems: Problems, n: int, entry: transactions_pb2.EntryInput) -> EntryInput:
    prefix = f"entries[{n}]."
    return EntryInput(
        account_ref(problems, entry, prefix),
        _direction(problems, prefix, entry.direction),
        _amount(problems, prefix, entry.amount),
        fields.metadata(problems, entry.metadata, f"{prefix}metadata") or None,
        _optional_count(problems, entry, "lock_version", prefix),
        _conditions(problems, f"{prefix}conditions", entry.conditions) if entry.conditions else (),
    )


def _partial_entries(
    problems: Problems, entries: Sequence[transactions_pb2.PartialEntryInput]
) -> tuple[PartialEntry, ...]:
    if not 1 <= len(entries) <= ENTRIES_MAX:
        problems.add("entries", f"must be 1 to {ENTRIES_MAX}")
        return ()
    parts = tuple([_partial_entry(problems, n, entry) for n, entry in enumerate(entries)])
    if not any(part.amount for part in parts) and not problems.found:
        problems.add("entries", "must have at least one amount greater than zero")
    return parts


def _partial_entry(problems: Problems, n: int, entry: transactions_pb2.PartialEntryInput) -> PartialEntry:
    prefix = f"entries[{n}]."
    if entry.entry_id:
        entry_id, account, direction = fields.object_id(problems, f"{prefix}entry_id", entry.entry_id), None, None
    elif entry.WhichOneof("entry") is None:
        problems.add(f"{prefix}entry_id", "is required, or account_id, or account_external_id")
        entry_id, account, direction = NIL_ID, None, None
    else:
        entry_id, account = None, account_ref(problems, entry, prefix)
        direction = _direction(problems, prefix, entry.direction)
    return PartialEntry(
        entry_id,
        account,
        direction,
        _amount(problems, prefix, entry.amount),
        fields.metadata(problems, entry.metadata, f"{prefix}metadata") or None,
        _optional_count(problems, entry, "lock_version", prefix),
        _conditions(problems, f"{prefix}conditions", entry.conditions),
    )


def _amount(problems: Problems, prefix: str, text: str) -> int:
    amount = parse_amount(text)
    if amount is None:
        problems.add(
            f"{prefix}amount",
            "must be a base-10 integer of 0 to 10^36 - 1 in the minor unit: no sign, leading zero, space or exponent",
        )
    return amount or 0


def _direction(problems: Problems, prefix: str, value: int) -> Direction:
    direction = _DIRECTIONS.get(value)
    if direction is None:
        problems.add(f"{prefix}direction", "must be DEBIT or CREDIT")
    return direction or Direction.DEBIT


def _limits(problems: Problems, limits: accounts_pb2.BalanceLimits) -> BalanceLimits:
    """Standing limits; a balance without bounds has none."""
    parsed = []
    for kind in BalanceKind:
        name = kind.name.lower()
        limit = getattr(limits, name)
        low = _bound(problems, f"limits.{name}.min", limit.min) if limit.HasField("min") else None
        high = _bound(problems, f"limits.{name}.max", limit.max) if limit.HasField("max") else None
        if low is not None and high is not None and low > high:
            problems.add(f"limits.{name}", "must have a min that is not greater than its max")
        if low is not None or high is not None:
            parsed.append(BalanceLimit(kind, low, high))
    return tuple(parsed)


def _bound(problems: Problems, field: str, text: str) -> int:
    amount = parse_signed_amount(text)
    if amount is None:
        problems.add(field, _SIGNED_AMOUNT_RULE)
    return amount or 0


def _account_conditions(
    problems: Problems, conditions: Sequence[transactions_pb2.AccountCondition]
) -> tuple[AccountCondition, ...]:
    if len(conditions) > ACCOUNT_CONDITIONS_MAX:
        problems.add("conditions", f"must be at most {ACCOUNT_CONDITIONS_MAX}")
        return ()
    return tuple(
        AccountCondition(
            account_ref(problems, condition, f"conditions[{n}]."),
            _optional_count(problems, condition, "lock_version", f"conditions[{n}]."),
            _conditions(problems, f"conditions[{n}].conditions", condition.conditions),
        )
        for n, condition in enumerate(conditions)
    )


def _conditions(
    problems: Problems, field: str, conditions: Sequence[balances_pb2.BalanceCondition]
) -> tuple[BalanceCondition, ...]:
    if len(conditions) > CONDITIONS_MAX:
        problems.add(field, f"must be at most {CONDITIONS_MAX}")
    parsed = []
    for n, condition in enumerate(conditions[:CONDITIONS_MAX]):
        amount = parse_signed_amount(condition.amount)
        if amount is None:
            problems.add(f"{field}[{n}].amount", _SIGNED_AMOUNT_RULE)
        parsed.append(
            BalanceCondition(
                _enum(problems, f"{field}[{n}].balance", condition.balance, BalanceKind),
                _enum(problems, f"{field}[{n}].operator", condition.operator, Operator),
                amount or 0,
            )
        )
    return tuple(parsed)


def _refuse_unbalanced(entries: Sequence[EntryInput]) -> None:
    """What needs no look at the accounts: both sides are there, and they balance over all currencies together."""
    if not entries:
        return
    debits = sum([entry.amount for entry in entries if entry.direction == Direction.DEBIT])
    credits = sum([entry.amount for entry in entries if entry.direction == Direction.CREDIT])
    metadata = {"debits": str(debits), "credits": str(credits)}
    if len({entry.direction for entry in entries}) < 2:
        raise Unbalanced("at least one debit and one credit are needed", metadata=metadata)
    if debits != credits:
        raise Unbalanced(f"debits and credits differ: {debits} and {credits}", metadata=metadata)


def _mask(problems: Problems, request: Any, allowed: Sequence[str]) -> tuple[set[str], MetadataPatch | None]:
    """The fields that an update changes, and what it does to the metadata."""
    populated = {field.name for field, _ in request.ListFields()}
    changed, keys = fields.update_mask(
        problems, request.update_mask.paths, allowed, [name for name in allowed if name in populated]
    )
    given = fields.metadata(problems, request.metadata)
    if "metadata" in changed:
        return changed, MetadataPatch(replaces=True, set=given)
    if keys:
        pairs = {key: given[key] for key in keys if key in given}
        return changed, MetadataPatch(False, pairs, tuple(key for key in keys if key not in given))
    return changed, None


def _merged(metadata: dict[str, str]) -> MetadataPatch | None:
    return MetadataPatch(replaces=False, set=metadata) if metadata else None


def _optional_time(problems: Problems, message: Message, field: str) -> datetime | None:
    return fields.time(problems, field, getattr(message, field)) if message.HasField(field) else None


def _optional_count(problems: Problems, message: Message, field: str, prefix: str = "") -> int | None:
    return fields.count(problems, prefix + field, getattr(message, field)) if message.HasField(field) else None


_E = TypeVar("_E", NormalBalance, BalanceKind, Operator, AccountStatus)


def _enum(problems: Problems, field: str, value: int, kind: type[_E]) -> _E:
    try:
        return kind(value)
    except ValueError:
        problems.add(field, f"must be one of {', '.join(member.name for member in kind)}")
        return next(iter(kind))
