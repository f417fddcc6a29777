"""Ids: UUIDv7 in text form. Those of the entries of one transaction version are consecutive."""

import os
import re
import time
from collections.abc import Iterator

NIL_ID = "00000000-0000-0000-0000-000000000000"

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
    times = f"{milliseconds:012x}{rest * 4096 // 1_000_000:03x}"
    random = next(_random)
    return f"{times[:8]}-{times[8:12]}-7{times[12:]}-{_VARIANTS[random[0]]}{random[1:4]}-{random[4:]}"


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
