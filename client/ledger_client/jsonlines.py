r"""Transactions as lines of JSON, one a line, UTF-8; the fields are those of CreateTransactionRequest::

    {"status": "posted", "external_id": "b-1", "entries": [
        {"account_external_id": "cash", "direction": "debit", "amount": "1000"},
        {"account_external_id": "revenue", "direction": "credit", "amount": "1000"}]}

(shown on several lines, to be written on one). Amounts are integers of minor units, as strings or numbers.

| of        | required                                            | possible                                        |
|-----------|-----------------------------------------------------|-------------------------------------------------|
| line      | entries                                             | status ("pending", "posted"), description,      |
|           |                                                     | external_id, metadata, effective_at, expires_at |
|           |                                                     | (ISO 8601 with a time zone),                    |
|           |                                                     | archive_on_condition_failure                    |
| entry     | account_id or account_external_id,                  | metadata, lock_version, conditions              |
|           | direction ("debit", "credit"), amount               |                                                 |
| condition | balance ("pending", "posted", "available"),         |                                                 |
|           | operator ("<", "<=", "==", "!=", ">=", ">"), amount |                                                 |
"""

import datetime as dt
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, cast, get_args

from ledger_client.commands import CreateFields, create_transaction
from ledger_client.inputs import BalanceWord, DirectionWord, OperatorSign, StatusWord, condition, credit, debit
from ledger_client.names import ExternalId
from ledger_client.v1.balances_pb2 import BalanceCondition
from ledger_client.v1.transactions_pb2 import CreateTransactionRequest, EntryInput

_T = TypeVar("_T")

_ENTRY_FIELDS = {"account_id", "account_external_id", "direction", "amount", "metadata", "lock_version", "conditions"}
_CONDITION_FIELDS = {"balance", "operator", "amount"}


def transaction_from_json(line: str | bytes) -> CreateTransactionRequest:
    """The transaction of a line; whether it is a right one, such as balanced, is the service's to judge.

    Raises:
        ValueError: the line is not JSON of this form; the message says where.
    """
    record = _object(json.loads(line, object_pairs_hook=_unrepeated), "the line", _FIELDS)
    fields = {name: _FIELDS[name](value, name) for name, value in record.items() if name != "entries"}
    return create_transaction(_entries(_required(record, "entries", ""), "entries"), **cast(CreateFields, fields))


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """JSON's own reader would take the last of two amounts."""
    record: dict[str, object] = {}
    for name, value in pairs:
        if name in record:
            raise ValueError(f"{name} is given twice")
        record[name] = value
    return record


def _entries(value: object, path: str) -> list[EntryInput]:
    return [_entry(item, f"{path}[{n}]") for n, item in enumerate(_list(value, path))]


def _entry(value: object, path: str) -> EntryInput:
    record = _object(value, path, _ENTRY_FIELDS)
    direction = _word(_required(record, "direction", path), f"{path}.direction", get_args(DirectionWord))
    if ("account_id" in record) == ("account_external_id" in record):
        raise ValueError(f"{path} needs account_id or account_external_id")
    lock_version = record.get("lock_version")
    if lock_version is not None and type(lock_version) is not int:
        raise ValueError(f"{path}.lock_version is an integer")
    return (debit if direction == "debit" else credit)(
        ExternalId(_text(record["account_external_id"], f"{path}.account_external_id"))
        if "account_external_id" in record
        else _text(record["account_id"], f"{path}.account_id"),
        _amount(_required(record, "amount", path), f"{path}.amount"),
        metadata=_metadata(record.get("metadata", {}), f"{path}.metadata"),
        lock_version=lock_version,
        conditions=_conditions(record.get("conditions", []), f"{path}.conditions"),
    )


def _conditions(value: object, path: str) -> list[BalanceCondition]:
    return [_condition(item, f"{path}[{n}]") for n, item in enumerate(_list(value, path))]


def _condition(value: object, path: str) -> BalanceCondition:
    record = _object(value, path, _CONDITION_FIELDS)
    return condition(
        _word(_required(record, "balance", path), f"{path}.balance", get_args(BalanceWord)),
        _word(_required(record, "operator", path), f"{path}.operator", get_args(OperatorSign)),
        _amount(_required(record, "amount", path), f"{path}.amount"),
    )


def _object(value: object, path: str, names: Collection[str]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{path} is not a JSON object")
    if unknown := sorted(value.keys() - set(names)):
        raise ValueError(f"{path} has an unknown field: {', '.join(unknown)}")
    return value


def _list(value: object, path: str) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"{path} is not a list")
    return value


def _required(record: Mapping[str, object], name: str, path: str) -> object:
    if name not in record:
        raise ValueError(f"{path}.{name} is missing".removeprefix("."))
    return record[name]


def _amount(value: object, path: str) -> int | str:
    if type(value) is int:
        return value
    if type(value) is str:
        return value
    raise ValueError(f"{path} is an integer of minor units, or a string of one")


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{path} is not a string")
    return value


def _flag(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{path} is true or false")
    return value


def _word(value: object, path: str, words: tuple[_T, ...]) -> _T:
    for word in words:
        if value == word:
            return word
    raise ValueError(f"{path} is one of {', '.join(map(str, words))}")


def _metadata(value: object, path: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError(f"{path} is an object of strings")
    return value


def _time(value: object, path: str) -> dt.datetime:
    try:
        time = dt.datetime.fromisoformat(_text(value, path))
    except ValueError:
        raise ValueError(f"{path} is not a time of ISO 8601") from None
    if time.tzinfo is None:
        raise ValueError(f"{path} needs a time zone, such as Z")
    return time


def _status(value: object, path: str) -> StatusWord:
    return _word(value, path, ("pending", "posted"))


_FIELDS: Mapping[str, Callable[[object, str], Any]] = {
    "entries": _entries,
    "status": _status,
    "description": _text,
    "external_id": _text,
    "metadata": _metadata,
    "effective_at": _time,
    "expires_at": _time,
    "archive_on_condition_failure": _flag,
}
