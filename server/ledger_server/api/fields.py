"""Field rules: the one table of validators for everything callers send.

Each function returns the field's domain value, or notes what is wrong with it and returns a stand-in; at the end
`Problems.raise_if_any` reports all of them together. Rules are hand-written rather than protovalidate
annotations because amounts, ids and times are parsed in the same pass that checks them, on the hot path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from ledger_server.domain.errors import InvalidField, Violation
from ledger_server.domain.ids import NIL_ID, REGISTRY, parse_id, parse_ledger_id
from ledger_server.domain.inputs import METADATA_BYTES_MAX, METADATA_KEYS_MAX
from ledger_server.domain.refusals import no_such_ledger
from ledger_server.domain.times import EPOCH, LAST_TIME, MICROSECOND

TEXT_CHARACTERS_MAX = 1_000
EXTERNAL_ID_CHARACTERS_MAX = 180
REQUEST_ID_CHARACTERS_MAX = 128
METADATA_KEY_CHARACTERS_MAX = 64
METADATA_VALUE_CHARACTERS_MAX = 1_024
PAGE_SIZE_MAX = 1_000
PAGE_SIZE_DEFAULT = 100

_CURRENCY = re.compile(r"[A-Z][A-Z0-9_.-]{0,31}")
# 0001-01-01 and the last second of 9999, the range of google.protobuf.Timestamp.
_SECONDS_MIN, _SECONDS_MAX = -62_135_596_800, 253_402_300_799


class Problems:
    """What is wrong with a request, field by field."""

    __slots__ = ("found", "unknown_ledger")

    def __init__(self) -> None:
        self.found: list[Violation] = []
        # An id that no ledger can have.
        self.unknown_ledger = ""

    def add(self, field: str, description: str) -> None:
        self.found.append(Violation(field, description))

    def raise_if_invalid(self) -> None:
        if self.found:
            raise InvalidField.of(self.found)

    def raise_if_any(self) -> None:
        self.raise_if_invalid()
        if self.unknown_ledger:
            raise no_such_ledger(self.unknown_ledger)


def ledger_id(problems: Problems, value: str) -> int:
    parsed = ledger_or_registry_id(problems, value)
    if value == NIL_ID:
        problems.add("ledger_id", "is the nil id, which names no ledger of yours")
    return parsed


def ledger_or_registry_id(problems: Problems, value: str) -> int:
    canonical = object_id(problems, "ledger_id", value)
    if problems.found:
        return REGISTRY
    parsed = parse_ledger_id(canonical)
    if parsed is None:
        problems.unknown_ledger = canonical
        return REGISTRY
    return parsed


def object_id(problems: Problems, field: str, value: str) -> str:
    parsed = parse_id(value)
    if parsed is None:
        problems.add(field, "must be a UUID" if value else "is required")
        return value
    return parsed


def request_id(problems: Problems, value: str) -> str:
    if not 1 <= len(value) <= REQUEST_ID_CHARACTERS_MAX:
        problems.add("request_id", f"must be 1 to {REQUEST_ID_CHARACTERS_MAX} characters" if value else "is required")
    elif "\0" in value:
        problems.add("request_id", "must not contain NUL")
    return value


def text(problems: Problems, field: str, value: str, *, required: bool = False) -> str:
    if value:
        if len(value) > TEXT_CHARACTERS_MAX:
            problems.add(field, f"must be at most {TEXT_CHARACTERS_MAX} characters")
        if "\0" in value:
            problems.add(field, "must not contain NUL")
    elif required:
        problems.add(field, "is required")
    return value


def external_id(problems: Problems, field: str, value: str) -> str:
    if len(value) > EXTERNAL_ID_CHARACTERS_MAX:
        problems.add(field, f"must be at most {EXTERNAL_ID_CHARACTERS_MAX} characters")
    elif "\0" in value:
        problems.add(field, "must not contain NUL")
    return value


def metadata(problems: Problems, value: Mapping[str, str], field: str = "metadata") -> dict[str, str]:
    if not value:
        return {}
    # dict() would ask the message for its keys through Python's abstract classes.
    pairs = {key: value[key] for key in value}
    if len(pairs) > METADATA_KEYS_MAX:
        problems.add(field, f"has {len(pairs)} keys; at most {METADATA_KEYS_MAX} are allowed")
        return pairs
    size = 0
    for key, item in pairs.items():
        metadata_key(problems, field, key)
        if len(item) > METADATA_VALUE_CHARACTERS_MAX:
            problems.add(f"{field}[{key[:64]!r}]", f"must be at most {METADATA_VALUE_CHARACTERS_MAX} characters")
        elif "\0" in item:
            problems.add(f"{field}[{key[:64]!r}]", "must not contain NUL")
        size += len(key.encode()) + len(item.encode())
    if size > METADATA_BYTES_MAX:
        problems.add(field, f"has {size} bytes; at most {METADATA_BYTES_MAX} are allowed")
    return pairs


def metadata_key(problems: Problems, field: str, key: str) -> None:
    if not 1 <= len(key) <= METADATA_KEY_CHARACTERS_MAX:
        problems.add(field, f"has a key that is not 1 to {METADATA_KEY_CHARACTERS_MAX} characters")
    elif "\0" in key:
        problems.add(field, "has a key with NUL in it")


def currency(problems: Problems, value: str) -> str:
    if not _CURRENCY.fullmatch(value):
        rule = "must be 1 to 32 of A-Z, 0-9, _ . -, beginning with a letter"
        problems.add("currency", rule if value else "is required")
    return value


def time(problems: Problems, field: str, value: Timestamp) -> datetime:
    """Truncated to microseconds."""
    if not (_SECONDS_MIN <= value.seconds <= _SECONDS_MAX and 0 <= value.nanos < 1_000_000_000):
        problems.add(field, "must be within the years 1 to 9999, with nanos from 0 to 999,999,999")
        return EPOCH
    return EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1_000)


def time_bound(problems: Problems, field: str, value: Timestamp) -> datetime | None:
    """The first microsecond not before it: what is kept in microseconds compares with it as with the bound itself.

    None if there is none, as of the last nanosecond of 9999, by which callers mean for ever.
    """
    truncated = time(problems, field, value)
    if not value.nanos % 1_000:
        return truncated
    return truncated + MICROSECOND if truncated < LAST_TIME else None


def seconds(problems: Problems, field: str, value: Duration, *, least: float, most: float) -> float:
    total = value.seconds + value.nanos / 1e9
    if abs(value.nanos) > 999_999_999 or value.seconds * value.nanos < 0:
        problems.add(field, "must have less than a second of nanos, of the same sign as its seconds")
    elif not least <= total <= most:
        problems.add(field, f"must be {least:,.12g} to {most:,.12g} seconds")
    return total


def count(problems: Problems, field: str, value: int) -> int:
    """A version or position of a caller: an int64 that is not negative."""
    if value < 0:
        problems.add(field, "must not be negative")
    return value


def page_size(problems: Problems, value: int) -> int:
    if not 0 <= value <= PAGE_SIZE_MAX:
        problems.add("page_size", f"must be 1 to {PAGE_SIZE_MAX}, or 0 for {PAGE_SIZE_DEFAULT}")
    return value or PAGE_SIZE_DEFAULT


def update_mask(
    problems: Problems, paths: Sequence[str], allowed: Sequence[str], populated: Sequence[str]
) -> tuple[set[str], list[str]]:
    """The fields to change and the single metadata keys to change; without a mask, every populated field."""
    if not paths:
        if not populated:
            problems.add("update_mask", "names nothing, and no field is set: there is nothing to change")
        return set(populated), []
    keys = [path.removeprefix("metadata.") for path in paths if path.startswith("metadata.")]
    fields = {path for path in paths if not path.startswith("metadata.")}
    for key in keys:
        metadata_key(problems, "update_mask", key)
    for unknown in sorted(fields - set(allowed)):
        problems.add("update_mask", f"{unknown[:100]!r} is not one of {', '.join(allowed)}, metadata.<key>")
    if keys and "metadata" in fields:
        problems.add("update_mask", "names both metadata, which replaces all, and single keys of it")
    return fields, keys
