"""Filling a page: rows that pass the filters, looked for in bites along an index.

A filter without an index of its own may match few rows or none. Each bite is a range of the list's order with a
known number of rows, so no plan can go wrong on it and the time can be looked at in between: a page that takes
too long to fill is handed out short, with a token to go on from.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple, Self

from ledger_server.domain.errors import InvalidField, Violation
from ledger_server.domain.model import Account, Metadata
from ledger_server.reading.page_tokens import Key
from ledger_server.storage.rows import Row

# How long one page is looked for: well within the second that a snapshot may be held.
SCAN_SECONDS = 0.4
BITE_ROWS = 10_000
# A bite of an account's versions; they may be of transactions with a thousand entries each, so it starts small.
BITE_VERSIONS_MIN = 10
BITE_VERSIONS_MAX = 3_200
# A bite that took less is followed by one of twice its size, one that took four times as long by a smaller one.
BITE_SECONDS = 0.03
# A peer takes messages of 4 MiB unless told otherwise. What a row becomes on the wire weighs no more than is said here;
# the rest is for what stands beside the rows.
PAGE_BYTES_MAX = (4 * 1024 - 64) * 1024
# What is asked for by its ids comes whole or not at all.
NAMED_BYTES_MAX = 8 * 1024 * 1024
# All but the texts of the largest: an account with limits, or an entry of a report, with balances of 45 digits.
ROW_BYTES = 1_100
ENTRY_BYTES = 900
# The tags and lengths of a pair of metadata.
PAIR_BYTES = 8
ID_BYTES = 40
# Of transactions whose entries are loaded at once: some 150 of two entries, or 500 entries.
PORTION_BYTES = 440 * 1024


class Found(NamedTuple):
    """Rows of a page, and the key after which the next one begins; None when there is none."""

    rows: list[Row]
    key: Key | None


class Bites:
    """How large the next bite of something uneven is: by how long the one before took."""

    def __init__(self, first: int, most: int) -> None:
        self._size = first
        self._most = most
        self._began: float | None = None

    @classmethod
    def of_versions(cls) -> Self:
        return cls(BITE_VERSIONS_MIN, BITE_VERSIONS_MAX)

    def next(self) -> int:
        """The size of the bite that begins now."""
        now = time.monotonic()
        if self._began is not None:
            took = now - self._began
            if took < BITE_SECONDS:
                self._size = min(2 * self._size, self._most)
            elif took > 4 * BITE_SECONDS:
                self._size = max(self._size // 4, 1)
        self._began = now
        return self._size


def page_ends_at() -> float:
    """When a page that is begun now is handed out as it is, whatever it is made of."""
    return time.monotonic() + SCAN_SECONDS


async def fill(
    size: int,
    start: Key,
    bite: Callable[[Key], Awaitable[Key | None]],
    read: Callable[[Key, Key | None, int], Awaitable[list[Row]]],
    key_of: Callable[[Row], Key],
    *,
    give_up_at: float,
    bites_max: int | None = None,
) -> Found:
    """At most `size` rows after `start`, from at most so many bites, the last of them begun before `give_up_at`.

    `bite` says where the bite that begins after a key ends, None if nothing is behind it; `read` gives the rows
    after one key up to another that pass the filters, at most so many, in order.
    """
    rows: list[Row] = []
    for n in count(1):
        end = await bite(start)
        rows += await read(start, end, size + 1 - len(rows))
        if len(rows) > size:
            return cut(rows[:size], key_of(rows[size - 1]), key_of)
        if end is None or n == bites_max or time.monotonic() > give_up_at:
            return cut(rows, end, key_of)
        start = end
    raise AssertionError("bites do not end")


class Room:
    """What still fits into so many bytes, a page's message unless said otherwise; the first thing always does."""

    def __init__(self, bytes_max: int | None = None) -> None:
        self._bytes_max = PAGE_BYTES_MAX if bytes_max is None else bytes_max
        self._weight = 0

    def take(self, weight: int) -> bool:
        """Whether so many bytes fit; if they do, they are in."""
        if self._weight and self._weight + weight > self._bytes_max:
            return False
        self._weight += weight
        return True


def cut(rows: Sequence[Row], key: Key | None, key_of: Callable[[Row], Key]) -> Found:
    """As many of the rows as fit into a message, at least one if there is any."""
    room = Room()
    for n, row in enumerate(rows):
        if not room.take(weight_of(row)):
            return Found(list(rows[:n]), key_of(rows[n - 1]))
    return Found(list(rows), key)


def named_too_large(field: str) -> InvalidField:
    """What the ids in this field name would stop the service for a while, and most peers would not take it."""
    mebibytes = NAMED_BYTES_MAX // 2**20
    return InvalidField.of([Violation(field, f"are of more than {mebibytes} MiB together; ask for fewer at a time")])


def portions(transactions: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows of transactions, so few at a time that their entries may be loaded, which say as much again, or far more."""
    portion: list[Row] = []
    room = Room(PORTION_BYTES)
    for row in transactions:
        if not room.take(weight_of(row)):
            yield portion
            portion, room = [], Room(PORTION_BYTES)
            room.take(weight_of(row))
        portion.append(row)
    if portion:
        yield portion


def weight_of(row: Row) -> int:
    """What the row weighs on the wire, at most, in bytes; of a transaction's entries all but their metadata."""
    metadata = row.get("metadata") or row.get("entry_metadata") or {}
    texts = weight_of_texts(row.get("name"), row.get("description"), row.get("external_id"))
    return ROW_BYTES + texts + weight_of_metadata(metadata) + ENTRY_BYTES * (row.get("entry_count") or 0)


def weight_of_account(account: Account) -> int:
    """The same of an account."""
    texts = weight_of_texts(account.name, account.description, account.external_id)
    return ROW_BYTES + texts + weight_of_metadata(account.metadata)


def weight_of_metadata(metadata: Metadata) -> int:
    """The same of metadata alone."""
    return PAIR_BYTES * len(metadata) + weight_of_texts(*metadata, *metadata.values())


def weight_of_texts(*texts: str | None) -> int:
    """The same of texts alone, of any script."""
    return sum(len(text) if text.isascii() else len(text.encode()) for text in texts if text)


async def all_at_once(_: Key) -> Key | None:
    """The bite for lists without such filters: everything; LIMIT ends it."""
    return None
