"""Ids: UUIDv7 in text form.

Those of ledgers and of entries are made of numbers, which are what the tables hold: every row and every key begins with
a ledger's, and entries are the most. Eight bytes are half of sixteen, and PostgreSQL fills the pages of an index to the
brim as it grows, between the ledgers too, if its keys are no longer than two numbers.
"""

import os
import re
import time
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from zlib import crc32

from ledger_server.domain.times import EPOCH, MILLISECOND

NIL_ID = "00000000-0000-0000-0000-000000000000"
# The ledger of ledgers, whose id is the nil id.
REGISTRY = 0

ENTRIES_MAX = 1000
# Of a line's number: which it is of those of its transaction and command, which have the place in the bits before.
_N_BITS = 12
_N_MASK = (1 << _N_BITS) - 1
_PLACE_BITS = 45

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


def first_line(position: int, part: int = 0) -> int:
    """The number of the first line that the command of a position writes for a transaction, or account.

    The lines behind it are up to 4,095 more. Few commands write for two transactions: they are its parts.
    """
    return (position << 2 | part) << _N_BITS


def position_of(line: int) -> int:
    """The position of the command that wrote it."""
    return line >> _N_BITS + 2


def first_of(line: int) -> int:
    """The first of the lines that were written with it for its transaction."""
    return line & ~_N_MASK


def entry_id(ledger_id: int, written_at: datetime, line: int) -> str:
    """An entry's id as callers know it: a UUIDv7 of the time and number of its line, which the ledger makes its own."""
    return entry_ids(ledger_id, written_at, line, 1)[0]


def entry_ids(ledger_id: int, written_at: datetime, line: int, count: int) -> list[str]:
    """The ids of this entry and of those written behind it: they end with 000, 001, …, and are else alike."""
    head = _id_head(ledger_id, (written_at - EPOCH) // MILLISECOND, line >> _N_BITS)
    first = line & _N_MASK
    return [f"{head}{n:03x}" for n in range(first, first + count)]


def parse_entry_id(ledger_id: int, text: str) -> int | None:
    """The number of the line that the entry with this id in its canonical form has; None if none can have it."""
    digits = text.replace("-", "")
    random = int(digits[13:16], 16) << 50 | int(digits[16:29], 16) & (1 << 50) - 1
    place = (random ^ _mask(ledger_id)) & (1 << _PLACE_BITS) - 1
    if _id_head(ledger_id, int(digits[:12], 16), place) != text[:33]:
        return None
    return place << _N_BITS | int(digits[29:], 16)


def time_of_id(text: str) -> datetime:
    """The time in an id, in milliseconds."""
    return EPOCH + int(text[:8] + text[9:13], 16) * MILLISECOND


@lru_cache(4_096)
def _id_head(ledger_id: int, milliseconds: int, place: int) -> str:
    """What the ids of a version's entries begin with: 33 of 36 characters."""
    check = crc32(b"%d %d" % (milliseconds, place)) & (1 << 62 - _PLACE_BITS) - 1
    random = (check << _PLACE_BITS | place) ^ _mask(ledger_id)
    digits = f"{milliseconds << 68 | 7 << 64 | random >> 50 << 52 | 1 << 51 | random & (1 << 50) - 1:029x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@lru_cache(4_096)
def _mask(ledger_id: int) -> int:
    """62 bits that make the ids of one ledger other ones than another's."""
    return int.from_bytes(sha256(f"entries of {ledger_id}".encode()).digest()[:8], "big") >> 2


def is_canonical_id(text: str) -> bool:
    """Whether the text is a UUID in lower case, with hyphens."""
    return _UUID.fullmatch(text) is not None


def parse_id(text: str) -> str | None:
    """The id in its canonical form, or None if the text is not a UUID."""
    if is_canonical_id(text):
        return text
    lower = text.lower()
    return lower if is_canonical_id(lower) else None
