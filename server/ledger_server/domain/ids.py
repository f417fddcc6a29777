"""Ids: UUIDv7 in text form. Those of the entries of one transaction version are consecutive.

A ledger's id is the text of a number: every row and every key begins with it, and eight bytes are half of sixteen.
"""

import os
import re
import time
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from hashlib import sha256

from ledger_server.domain.times import EPOCH, MILLISECOND

NIL_ID = "00000000-0000-0000-0000-000000000000"
# The ledger of ledgers, whose id is the nil id.
REGISTRY = 0

ENTRIES_MAX = 1000

# The variant's two bits, and two of a random digit.
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def _sixteen_digits() -> Iterator[str]:
    """Random hexadecimal digits, of 8 bytes each; a call of the kernel for each cost more than the rest of an id."""
    while True:
        digits = os.urandom(4_096).hex()
        for start in range(0, len(digits), 16):
            yield digits[start : start + 16]


_random = _sixteen_digits()


def new_id() -> str:
    """A new UUIDv7: 48 bits of Unix time in milliseconds, 12 of its fraction, 62 random bits (RFC 9562, 6.2, method 3).

    Ids made one after the other sort that way, so indexes of them grow at one end only, page by full page.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    return _uuid7(f"{milliseconds:012x}{rest * 4096 // 1_000_000:03x}", next(_random))


def _uuid7(times: str, others: str) -> str:
    """Of 15 hexadecimal digits, 12 of them Unix time in milliseconds, and 16 others, the first of which loses half."""
    return f"{times[:8]}-{times[8:12]}-7{times[12:]}-{_VARIANTS[others[0]]}{others[1:4]}-{others[4:]}"


def new_ledger_id(time_: datetime, position: int) -> int:
    """The number of the ledger that an event of the registry creates.

    43 bits of Unix time in milliseconds, the last 20 of the position. Neither is ever less than for the ledger before,
    so no two are equal unless a million are created within a millisecond.
    """
    return (time_ - EPOCH) // MILLISECOND << 20 | position & 0xFFFFF


@lru_cache(4_096)
def ledger_text(ledger_id: int) -> str:
    """A ledger's id as callers know it: a UUIDv7 of its number, and of a digest of it in place of random bits.

    They sort as the numbers do.
    """
    if ledger_id == REGISTRY:
        return NIL_ID
    number = f"{ledger_id:017x}"
    digest = sha256(f"ledger {ledger_id}".encode()).hexdigest()
    return _uuid7(number[:15], f"0{number[15:]}{digest[:13]}")


def parse_ledger_id(text: str) -> int | None:
    """The number of the ledger with this id; None if none can have it."""
    canonical = parse_id(text)
    return None if canonical is None else _number_of(canonical)


@lru_cache(4_096)
def _number_of(canonical: str) -> int | None:
    if canonical == NIL_ID:
        return REGISTRY
    digits = canonical.replace("-", "")
    ledger_id = int(digits[:12] + digits[13:16] + digits[17:19], 16)
    return ledger_id if ledger_id < 1 << 63 and ledger_text(ledger_id) == canonical else None


def new_first_entry_id() -> str:
    """The id of the first of up to 1,000 entries; `nth_entry_id` makes the others.

    The last three hexadecimal digits number the entries, so a version's entries are one range of the
    primary key and need no index of their own.
    """
    return new_id()[:33] + "000"


def nth_entry_id(first_entry_id: str, n: int) -> str:
    """The id of the n-th entry, counted from 0, of the version whose first entry is given."""
    return f"{first_entry_id[:33]}{n:03x}"


def is_canonical_id(text: str) -> bool:
    """Whether the text is a UUID in lower case, with hyphens."""
    return _UUID.fullmatch(text) is not None


def parse_id(text: str) -> str | None:
    """The id in its canonical form, or None if the text is not a UUID."""
    if is_canonical_id(text):
        return text
    lower = text.lower()
    return lower if is_canonical_id(lower) else None
