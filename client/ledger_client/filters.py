"""Filters of lists: conditions on amounts and metadata, and the words for orders."""

from collections.abc import Iterable
from typing import Literal

from ledger_client.inputs import OperatorSign, operator_value, units
from ledger_client.messages import enum_value, message
from ledger_client.v1.filters_pb2 import AmountCondition, ListOrder, MetadataFilter, MetadataTerm, MetadataValues

OrderWord = Literal["created_asc", "created_desc", "effective_asc", "effective_desc"]

_ORDERS: dict[OrderWord, ListOrder.ValueType] = {
    "created_asc": ListOrder.LIST_ORDER_CREATED_ASC,
    "created_desc": ListOrder.LIST_ORDER_CREATED_DESC,
    "effective_asc": ListOrder.LIST_ORDER_EFFECTIVE_ASC,
    "effective_desc": ListOrder.LIST_ORDER_EFFECTIVE_DESC,
}


def amount(operator: OperatorSign, value: int | str) -> AmountCondition:
    """``amount(">=", 10_000)``: what must hold of an amount in minor units."""
    return AmountCondition(operator=operator_value(operator), amount=units(value))


def key(
    name: str,
    *,
    equals: str | None = None,
    present: bool | None = None,
    prefix: str | None = None,
    one_of: Iterable[str] | None = None,
) -> MetadataTerm:
    """``key("order", equals="17")``: a condition on one key of metadata; give one of the four.

    Args:
        name: the key.
        equals: it has this value.
        present: True: it is there; False: it is not.
        prefix: its value begins with this.
        one_of: it has one of these values.
    """
    if sum(test is not None for test in (equals, present, prefix, one_of)) != 1:
        raise ValueError("give one of equals, present, prefix, one_of")
    if equals is not None:
        return message(MetadataTerm, key=name, equals=equals)
    if present is not None:
        return message(MetadataTerm, key=name, present=present)
    if prefix is not None:
        return message(MetadataTerm, key=name, prefix=prefix)
    return message(MetadataTerm, key=name, one_of=MetadataValues(values=one_of))


def all_of(*terms: MetadataTerm | MetadataFilter) -> MetadataFilter:
    """All of these must hold."""
    return message(MetadataFilter, all=[_term(term) for term in terms])


def any_of(*terms: MetadataTerm | MetadataFilter) -> MetadataFilter:
    """One of these must hold."""
    return message(MetadataFilter, any=[_term(term) for term in terms])


def order_value(word: OrderWord | ListOrder.ValueType | None) -> ListOrder.ValueType:
    """The enum's value for a word; a value passes through, None is unspecified."""
    if word is None:
        return ListOrder.LIST_ORDER_UNSPECIFIED
    return enum_value("order", word, _ORDERS)


def _term(term: MetadataTerm | MetadataFilter) -> MetadataTerm:
    return MetadataTerm(filter=term) if isinstance(term, MetadataFilter) else term
