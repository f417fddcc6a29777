"""The pieces that requests share: names of objects, entries, conditions, limits and update masks, checked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.message import Message

from ledger_client.v1 import accounts_pb2, balances_pb2, categories_pb2, transactions_pb2
from ledger_server.api import fields
from ledger_server.api.fields import Problems
from ledger_server.domain.errors import Violation
from ledger_server.domain.ids import ENTRIES_MAX, NIL_ID, is_canonical_id
from ledger_server.domain.inputs import (
    METADATA_KEYS_MAX,
    AccountCondition,
    BalanceCondition,
    CategoryCondition,
    EntryInput,
    MetadataPatch,
    PartialEntry,
    Ref,
)
from ledger_server.domain.model import AccountStatus, BalanceLimit, BalanceLimits, MonitorField
from ledger_server.domain.money import (
    BalanceKind,
    Direction,
    NormalBalance,
    Operator,
    parse_amount,
    parse_signed_amount,
)

CONDITIONS_MAX = 18
ACCOUNT_CONDITIONS_MAX = 100
CATEGORY_CONDITIONS_MAX = 100
CATEGORIES_JOINED_MAX = 100

_SIGNED_AMOUNT_RULE = "must be a base-10 integer of at most 36 digits in the minor unit, optionally negative, never -0"
_DIRECTIONS = {int(direction): direction for direction in Direction}


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


def category_ref(problems: Problems, message: Any, prefix: str = "") -> Ref:
    """The category that a request's oneof names; `prefix` stands before the fields' names."""
    category_id = getattr(message, f"{prefix}category_id")
    if category_id:
        return Ref(fields.object_id(problems, f"{prefix}category_id", category_id), None)
    external_id = getattr(message, f"{prefix}category_external_id")
    if external_id:
        return Ref(None, fields.external_id(problems, f"{prefix}category_external_id", external_id))
    problems.add(f"{prefix}category_id", f"is required, or {prefix}category_external_id")
    return Ref(NIL_ID, None)


def joined_categories_of(problems: Problems, category_ids: Sequence[str]) -> tuple[str, ...]:
    """The categories that a new account or category is put into, each once."""
    if len(category_ids) > CATEGORIES_JOINED_MAX:
        problems.add("category_ids", f"must be at most {CATEGORIES_JOINED_MAX}")
        return ()
    ids = [fields.object_id(problems, f"category_ids[{n}]", value) for n, value in enumerate(category_ids)]
    return tuple(dict.fromkeys(ids))


def entries_of(problems: Problems, entries: Sequence[transactions_pb2.EntryInput]) -> tuple[EntryInput, ...]:
    if not 2 <= len(entries) <= ENTRIES_MAX:
        problems.add("entries", f"must be 2 to {ENTRIES_MAX}, with at least one debit and one credit")
        return ()
    return tuple([_plain_entry(entry) or _entry(problems, n, entry) for n, entry in enumerate(entries)])


def _plain_entry(entry: transactions_pb2.EntryInput) -> EntryInput | None:
    """An entry of nothing but a well-formed account_id, direction and amount, as nearly all are: the hot path."""
    account_id = entry.account_id
    direction = _DIRECTIONS.get(entry.direction)
    amount = parse_amount(entry.amount)
    if direction is None or amount is None or not is_canonical_id(account_id):
        return None
    if entry.metadata or entry.conditions or entry.HasField("lock_version"):
        return None
    return EntryInput(Ref(account_id, None), direction, amount)


def _entry(problems: Problems, n: int, entry: transactions_pb2.EntryInput) -> EntryInput:
    prefix = f"entries[{n}]."
    return EntryInput(
        account_ref(problems, entry, prefix),
        _direction(problems, prefix, entry.direction),
        _amount(problems, prefix, entry.amount),
        fields.metadata(problems, entry.metadata, f"{prefix}metadata") or None,
        optional_count(problems, entry, "lock_version", prefix),
        conditions_of(problems, f"{prefix}conditions", entry.conditions) if entry.conditions else (),
    )


def partial_entries_of(
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
        optional_count(problems, entry, "lock_version", prefix),
        conditions_of(problems, f"{prefix}conditions", entry.conditions),
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


def limits_of(problems: Problems, limits: accounts_pb2.BalanceLimits) -> BalanceLimits:
    """Standing limits; a balance without bounds has none."""
    parsed = []
    for kind in BalanceKind:
        name = kind.name.lower()
        limit = getattr(limits, name)
        low = signed_amount(problems, f"limits.{name}.min", limit.min) if limit.HasField("min") else None
        high = signed_amount(problems, f"limits.{name}.max", limit.max) if limit.HasField("max") else None
        if low is not None and high is not None and low > high:
            problems.add(f"limits.{name}", "must have a min that is not greater than its max")
        if low is not None or high is not None:
            parsed.append(BalanceLimit(kind, low, high))
    return tuple(parsed)


def signed_amount(problems: Problems, field: str, text: str) -> int:
    amount = parse_signed_amount(text)
    if amount is None:
        problems.add(field, _SIGNED_AMOUNT_RULE)
    return amount or 0


def account_conditions_of(
    problems: Problems, conditions: Sequence[transactions_pb2.AccountCondition]
) -> tuple[AccountCondition, ...]:
    if len(conditions) > ACCOUNT_CONDITIONS_MAX:
        problems.add("conditions", f"must be at most {ACCOUNT_CONDITIONS_MAX}")
        return ()
    parsed = []
    for n, condition in enumerate(conditions):
        prefix = f"conditions[{n}]."
        ref = account_ref(problems, condition, prefix)
        lock_version = optional_count(problems, condition, "lock_version", prefix)
        if lock_version is None and not condition.conditions:
            problems.add(f"{prefix}conditions", "is required without a lock_version")
        balances = conditions_of(problems, f"{prefix}conditions", condition.conditions)
        parsed.append(AccountCondition(ref, lock_version, balances))
    return tuple(parsed)


def category_conditions_of(
    problems: Problems, conditions: Sequence[categories_pb2.CategoryCondition]
) -> tuple[CategoryCondition, ...]:
    if not conditions:
        return ()
    if len(conditions) > CATEGORY_CONDITIONS_MAX:
        problems.add("category_conditions", f"must be at most {CATEGORY_CONDITIONS_MAX}")
        return ()
    parsed = []
    for n, condition in enumerate(conditions):
        prefix = f"category_conditions[{n}]."
        found = Problems()
        ref = category_ref(found, condition)
        problems.found += [Violation(prefix + each.subject, each.description) for each in found.found]
        if not condition.conditions:
            problems.add(f"{prefix}conditions", "is required")
        parsed.append(CategoryCondition(ref, conditions_of(problems, f"{prefix}conditions", condition.conditions)))
    return tuple(parsed)


def conditions_of(
    problems: Problems, field: str, conditions: Sequence[balances_pb2.BalanceCondition]
) -> tuple[BalanceCondition, ...]:
    if len(conditions) > CONDITIONS_MAX:
        problems.add(field, f"must be at most {CONDITIONS_MAX}")
    parsed = []
    for n, condition in enumerate(conditions[:CONDITIONS_MAX]):
        parsed.append(
            BalanceCondition(
                enum_of(problems, f"{field}[{n}].balance", condition.balance, BalanceKind),
                enum_of(problems, f"{field}[{n}].operator", condition.operator, Operator),
                signed_amount(problems, f"{field}[{n}].amount", condition.amount),
            )
        )
    return tuple(parsed)


def mask_of(problems: Problems, request: Any, allowed: Sequence[str]) -> tuple[set[str], MetadataPatch | None]:
    """The fields that an update changes, and what it does to the metadata."""
    populated = {field.name for field, _ in request.ListFields()}
    changed, keys = fields.update_mask(
        problems, request.update_mask.paths, allowed, [name for name in allowed if name in populated]
    )
    given = fields.metadata(problems, request.metadata)
    if "metadata" in changed:
        return changed, MetadataPatch(replaces=True, set=given)
    if keys:
        # Or JSON, which makes `metadata.order_id` of the path `metadata.orderId`, would remove the one and set neither.
        for key in sorted(given.keys() - set(keys))[:METADATA_KEYS_MAX]:
            problems.add("metadata", f"has {key[:64]!r}, which update_mask does not name")
        return changed, MetadataPatch(False, given, frozenset(keys) - given.keys())
    return changed, None


def merged(metadata: dict[str, str]) -> MetadataPatch | None:
    return MetadataPatch(replaces=False, set=metadata) if metadata else None


def optional_time(problems: Problems, message: Message, field: str) -> datetime | None:
    return fields.time(problems, field, getattr(message, field)) if message.HasField(field) else None


def optional_count(problems: Problems, message: Message, field: str, prefix: str = "") -> int | None:
    return fields.count(problems, prefix + field, getattr(message, field)) if message.HasField(field) else None


_E = TypeVar("_E", NormalBalance, BalanceKind, Operator, AccountStatus, MonitorField)


def enum_of(problems: Problems, field: str, value: int, kind: type[_E]) -> _E:
    try:
        return kind(value)
    except ValueError:
        problems.add(field, f"must be one of {', '.join(member.name for member in kind)}")
        return next(iter(kind))
