"""Ways to the objects of a list: by which index its rows are looked for.

| the query's filters         | the way                                                                            |
|-----------------------------|------------------------------------------------------------------------------------|
| none                        | along the list's own order                                                         |
| one whose index has the order | along that index                                                                 |
| others                      | the one with fewest matches, all of them, if these are few; they are sorted        |
|                             | else along an index that has the order, else along the list's own order            |

A way only says where to look: created positions, perhaps too many. Every filter is tested on the rows themselves.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from ledger_server.domain.inputs import BalanceCondition
from ledger_server.domain.times import EPOCH, LAST_TIME, MICROSECOND
from ledger_server.reading.metadata import Heads, HeadsUnion
from ledger_server.reading.page_tokens import HIGHEST, LOWEST, NUMBER_MAX, Key, invalid_page_token
from ledger_server.reading.paging import Bites, Found, fill
from ledger_server.reading.queries import Between
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage import sql
from ledger_server.storage.name_grams import grams_within
from ledger_server.storage.rows import VALUE_HEAD_CHARACTERS, Noun, Row

# As many matches are sorted for a page at most: a hundredth of a million.
MATCHES_MAX = 10_000
# A way with fewer is good enough not to look for a better one.
FEW_MATCHES = 1_000
# Bites along an index: a page at first, then more and more while they are quick.
BITE_ROWS_MAX = 10_000


class Match(NamedTuple):
    """Where a row stands in the list's order, and its created position."""

    number: int
    created_position: int


class Walk(NamedTuple):
    """An index in the list's order, read after a key: parameters after ledger, key, direction and row count."""

    statement: str
    parameters: tuple[object, ...] = ()
    # Whether the key is a time and a position, and where that is in created order.
    by_effective_at: bool = False

    async def bite(self, at: Snapshot, after: Key, descending: bool, count: int) -> list[Match]:
        """The next rows, at most so many, in order."""
        key = await _effective_key(at, after, descending) if self.by_effective_at else (after.number,)
        rows = await at.connection.fetch(self.statement, at.ledger_id, *key, descending, count, *self.parameters)
        return [Match(row["number"], row["created_position"]) for row in rows]


class Few(NamedTuple):
    """Created positions of all that may match, few enough to be looked at."""

    positions: frozenset[int]


class Matches(NamedTuple):
    """All that some statements find, in no order: parameters after ledger and row count."""

    parts: tuple[tuple[str, tuple[object, ...]], ...]

    async def all(self, at: Snapshot, most: int) -> Few | None:
        """The created positions, or None if they are more than `most`."""
        found: set[int] = set()
        for statement, parameters in self.parts:
            rows = await at.connection.fetch(statement, at.ledger_id, most + 1, *parameters)
            found.update([row["created_position"] for row in rows])
            if len(rows) > most or len(found) > most:
                return None
        return Few(frozenset(found))


Way = Walk | Matches


def found_by(statement: str, *parameters: object) -> Matches:
    return Matches(((statement, parameters),))


def union(*ways: Matches) -> Matches:
    """What one of some ways finds."""
    return Matches(tuple(part for way in ways for part in way.parts))


def metadata_ways(noun: Noun, unions: Iterable[HeadsUnion], *, is_created_order: bool) -> list[Way]:
    """By metadata; the pairs of one value are in created order."""
    ways: list[Way] = []
    for union in unions:
        if is_created_order and len(union) == 1 and union[0].is_one:
            ways.append(Walk(sql.walk_by_metadata_value, (int(noun), union[0].key, union[0].first)))
        else:
            ways.append(Matches(tuple(_heads(noun, heads) for heads in union)))
    return ways


def _heads(noun: Noun, heads: Heads) -> tuple[str, tuple[object, ...]]:
    # The only text from a one on that is before the next is itself.
    last = heads.first + "\x01" if heads.is_one else heads.last or _AFTER_ALL_HEADS
    return sql.find_by_metadata_range, (int(noun), heads.key, heads.first, last)


def names_way(statement: str, ledger_id: int, parts: Iterable[str]) -> Matches:
    """By what names contain: all that have the pieces of one of the parts."""
    return Matches(tuple((statement, (grams_within(ledger_id, part),)) for part in parts))


async def created_between(at: Snapshot, statement: str, times: Between) -> tuple[int, int]:
    """The created positions of a range of times of creation, the last exclusive."""
    lower, upper = times.bounds()
    low = 0 if lower is None else await at.connection.fetchval(statement, at.ledger_id, lower)
    high = NUMBER_MAX if upper is None else await at.connection.fetchval(statement, at.ledger_id, upper)
    return low, high


async def changed_between(at: Snapshot, statement: str, position_statement: str, times: Between) -> Matches:
    """By a time that may be that of creation, and mostly is."""
    return found_by(statement, *times.texts(), *await created_between(at, position_statement, times))


def numbers_of(values: Iterable[int]) -> list[str] | None:
    """Enum values as a parameter; None for none, which means all."""
    return sorted([str(int(value)) for value in values]) or None


def balance_columns(conditions: Sequence[BalanceCondition]) -> tuple[list[str] | None, ...]:
    """Conditions on balances as three columns; None for none."""
    return (
        [str(int(condition.balance)) for condition in conditions] or None,
        [str(int(condition.operator)) for condition in conditions] or None,
        [str(condition.amount) for condition in conditions] or None,
    )


def positions_literal(positions: Iterable[int]) -> str:
    """Positions as one array literal."""
    return "{" + ",".join(map(str, positions)) + "}"


async def choose(at: Snapshot, ways: Sequence[Way], own: Walk, *, descending: bool) -> Walk | Few:
    """The way to look along, or all matches of the best one, if they are few."""
    walks = [way for way in ways if isinstance(way, Walk)]
    if len(ways) == 1 and walks:
        return walks[0]
    best: Few | None = None
    for way in ways:
        most = MATCHES_MAX if best is None else len(best.positions)
        found = await (_all_along(at, way, descending, most) if isinstance(way, Walk) else way.all(at, most))
        if found is not None and (best is None or len(found.positions) < len(best.positions)):
            best = found
        if best is not None and len(best.positions) < FEW_MATCHES:
            break
    if best is not None:
        return best
    return walks[0] if walks else own


async def page_along(
    at: Snapshot,
    way: Walk | Few,
    read: Callable[[Iterable[int], Key, int, int], Awaitable[list[Row]]],
    key_of: Callable[[Row], Key],
    *,
    size: int,
    start: Key,
    descending: bool,
    is_created_order: bool,
    bites_max: int | None = None,
) -> Found:
    """A page found along a way, or what at most so many bites of it have.

    `read` gives those of some created positions that pass the filters, in the list's order, after a key, until a
    number inclusive, and at most so many.
    """
    if isinstance(way, Few) and is_created_order:
        ordered = sorted(way.positions, reverse=descending)
    positions: Sequence[int] = ()
    bites = Bites(size + 1, BITE_ROWS_MAX)

    async def bite(after: Key) -> Key | None:
        nonlocal positions
        count = bites.next()
        if isinstance(way, Walk):
            matches = await way.bite(at, after, descending, count)
        elif is_created_order:
            first = bisect_right(
                ordered, -after.number if descending else after.number, key=(lambda p: -p) if descending else None
            )
            matches = [Match(position, position) for position in ordered[first : first + count]]
        else:
            # In another order: all of them at once.
            positions = tuple(way.positions)
            return None
        positions = tuple({match.created_position for match in matches})
        return None if len(matches) < count else Key.at(*matches[-1])

    async def look(after: Key, last: Key | None, most: int) -> list[Row]:
        until = (LOWEST if descending else HIGHEST) if last is None else last
        return await read(positions, after, until.number, most) if positions else []

    return await fill(size, start, bite, look, key_of, give_up_at=at.give_up_at, bites_max=bites_max)


async def _all_along(at: Snapshot, walk: Walk, descending: bool, most: int) -> Few | None:
    matches = await walk.bite(at, HIGHEST if descending else LOWEST, descending, most + 1)
    return Few(frozenset([match.created_position for match in matches])) if len(matches) <= most else None


_AFTER_ALL_HEADS = "\U0010ffff" * (VALUE_HEAD_CHARACTERS + 1)


async def _effective_key(at: Snapshot, after: Key, descending: bool) -> tuple[str, int, int]:
    """A place in effective order, and behind which created position those come that took effect at once.

    Ascending that is the first position of what is behind it, descending of what is not.
    """
    if after.number == LOWEST.number:
        return "-infinity", after.position, 0
    if after.number == HIGHEST.number:
        return "infinity", after.position, NUMBER_MAX
    try:
        time = EPOCH + after.number * MICROSECOND
    except OverflowError:
        raise invalid_page_token() from None
    # What was created at that time, in order.
    moment = Between(time, time + MICROSECOND if time < LAST_TIME else None)
    first, end = await created_between(at, sql.find_position_of_transactions_at, moment)
    position = after.position if descending else after.position + 1
    return time.isoformat(), after.position, min(max(position, first), end)
