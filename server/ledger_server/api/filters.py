"""The filters that lists share: times, amounts, metadata, ids and orders, checked."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, TypeVar

from ledger_client.v1 import filters_pb2
from ledger_server.api import fields
from ledger_server.api.fields import Problems
from ledger_server.api.pieces import enum_of, optional_count
from ledger_server.domain.money import Operator, parse_amount
from ledger_server.reading.metadata import Check, Term, Terms
from ledger_server.reading.queries import EVER, NEVER, AmountCondition, Between, ListOrder

IDS_MAX = 1_000
NAMES_MAX = 10
AMOUNTS_MAX = 10
TERMS_MAX = 50
NESTING_MAX = 4
VALUES_MAX = 100


def ids_of(problems: Problems, field: str, values: Sequence[str], most: int = IDS_MAX) -> frozenset[str]:
    if len(values) > most:
        problems.add(field, f"must be at most {most}")
        return frozenset()
    return frozenset([fields.object_id(problems, f"{field}[{n}]", value) for n, value in enumerate(values)])


def between(problems: Problems, request: Any, field: str) -> Between:
    """The bounds `<field>_lower_bound` and `<field>_upper_bound`.

    Behind the last microsecond, a lower one leaves nothing, and an upper one all that has such a time at all.
    """
    names = (f"{field}_lower_bound", f"{field}_upper_bound")
    lower, upper = [
        fields.time_bound(problems, name, getattr(request, name)) if request.HasField(name) else None for name in names
    ]
    is_never = lower is None and request.HasField(names[0])
    if upper is not None and (is_never or (lower is not None and upper < lower)):
        problems.add(names[1], f"must not be before {names[0]}")
    if is_never:
        return NEVER
    if lower is None and upper is None and request.HasField(names[1]):
        return EVER
    return Between(lower, upper)


def versions_between(problems: Problems, request: Any, field: str) -> tuple[int | None, int | None]:
    """The bounds `<field>_lower_bound` and `<field>_upper_bound`, of versions."""
    names = (f"{field}_lower_bound", f"{field}_upper_bound")
    lower, upper = [optional_count(problems, request, name) for name in names]
    if lower is not None and upper is not None and upper < lower:
        problems.add(names[1], f"must not be before {names[0]}")
    return lower, upper


def amounts_of(problems: Problems, conditions: Sequence[filters_pb2.AmountCondition]) -> tuple[AmountCondition, ...]:
    if len(conditions) > AMOUNTS_MAX:
        problems.add("amounts", f"must be at most {AMOUNTS_MAX}")
        return ()
    parsed = []
    for n, condition in enumerate(conditions):
        amount = parse_amount(condition.amount)
        if amount is None:
            problems.add(f"amounts[{n}].amount", "must be a base-10 integer of 0 to 10^36 - 1 in the minor unit")
        operator = enum_of(problems, f"amounts[{n}].operator", condition.operator, Operator)
        parsed.append(AmountCondition(operator, amount or 0))
    return tuple(parsed)


def order_of(problems: Problems, value: int, default: ListOrder, allowed: Sequence[ListOrder]) -> ListOrder:
    if value == 0:
        return default
    if value not in allowed:
        problems.add("order", f"must be one of {', '.join(order.name for order in allowed)}")
        return default
    return ListOrder(value)


def metadata_terms_of(problems: Problems, request: Any) -> Terms | None:
    """The request's `metadata_filter`; None if it has none."""
    if not request.HasField("metadata_filter"):
        return None
    counted = [0]
    terms = _terms(problems, "metadata_filter", request.metadata_filter, 1, counted)
    if counted[0] > TERMS_MAX:
        problems.add("metadata_filter", f"must have at most {TERMS_MAX} terms")
    return terms


def _terms(
    problems: Problems, field: str, message: filters_pb2.MetadataFilter, depth: int, counted: list[int]
) -> Terms:
    if depth > NESTING_MAX:
        problems.add(field, f"must be nested at most {NESTING_MAX} deep")
        return Terms((), ())
    counted[0] += len(message.all) + len(message.any)
    if counted[0] > TERMS_MAX:
        return Terms((), ())
    both = [
        tuple([_term(problems, f"{field}.{name}[{n}]", term, depth, counted) for n, term in enumerate(parts)])
        for name, parts in (("all", message.all), ("any", message.any))
    ]
    return Terms(*both)


def _term(
    problems: Problems, field: str, message: filters_pb2.MetadataTerm, depth: int, counted: list[int]
) -> Term | Terms:
    test = message.WhichOneof("test")
    if test == "filter":
        if message.key:
            problems.add(f"{field}.key", "must be empty: the terms of a filter have keys of their own")
        return _terms(problems, f"{field}.filter", message.filter, depth + 1, counted)
    fields.metadata_key(problems, f"{field}.key", message.key)
    match test:
        case "equals":
            return Term(message.key, Check.EQUALS, (_value(problems, f"{field}.equals", message.equals),))
        case "present":
            return Term(message.key, Check.PRESENT if message.present else Check.ABSENT)
        case "prefix":
            if not message.prefix:
                problems.add(f"{field}.prefix", "must not be empty; present asks for any value")
            return Term(message.key, Check.PREFIX, (_value(problems, f"{field}.prefix", message.prefix),))
        case "one_of":
            values = message.one_of.values
            if not 1 <= len(values) <= VALUES_MAX:
                problems.add(f"{field}.one_of.values", f"must be 1 to {VALUES_MAX}")
            checked = [_value(problems, f"{field}.one_of.values[{n}]", v) for n, v in enumerate(values[:VALUES_MAX])]
            return Term(message.key, Check.ONE_OF, tuple(checked))
        case _:
            problems.add(field, "must have one of equals, present, prefix, one_of, filter")
            return Terms((), ())


def _value(problems: Problems, field: str, value: str) -> str:
    if len(value) > fields.METADATA_VALUE_CHARACTERS_MAX:
        problems.add(field, f"must be at most {fields.METADATA_VALUE_CHARACTERS_MAX} characters")
    elif "\0" in value:
        problems.add(field, "must not contain NUL")
    return value


def names_of(problems: Problems, values: Sequence[str]) -> tuple[str, ...]:
    if len(values) > NAMES_MAX:
        problems.add("names", f"must be at most {NAMES_MAX}")
        return ()
    return tuple([fields.text(problems, f"names[{n}]", value, required=True) for n, value in enumerate(values)])


def optional_id(problems: Problems, request: Any, field: str) -> str | None:
    value = getattr(request, field)
    return fields.object_id(problems, field, value) if value else None


_M = TypeVar("_M", bound=IntEnum)


def members_of(problems: Problems, field: str, values: Sequence[int], kind: type[_M]) -> frozenset[_M]:
    """Enum members of a repeated field; the unspecified value is none of them."""
    found = [known(problems, f"{field}[{n}]", value, kind) for n, value in enumerate(values)]
    if 0 in values:
        problems.add(field, "must not name UNSPECIFIED")
    return frozenset(member for member in found if member)


def known(problems: Problems, field: str, value: int, kind: Any) -> Any:
    """The enum member; None for the unspecified value."""
    if value == 0:
        return None
    try:
        return kind(value)
    except ValueError:
        problems.add(field, f"must be one of {', '.join(member.name for member in kind if member)}")
        return None
