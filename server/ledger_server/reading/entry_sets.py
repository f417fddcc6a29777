"""Entry sets: the entries that one version of a transaction wrote. A list goes through them, not through transactions.

A transaction may have any number of versions, with up to a thousand entries each, so it is no bite of a page.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from ledger_server.reading.page_tokens import NUMBER_MAX, Key, invalid_page_token
from ledger_server.reading.paging import Bites, Found
from ledger_server.reading.queries import EntryQuery
from ledger_server.reading.snapshots import Snapshot
from ledger_server.reading.transactions import transaction_key
from ledger_server.storage import sql
from ledger_server.storage.rows import Row

# How many transactions are looked through at a time, at first and at most.
TRANSACTIONS_MIN, TRANSACTIONS_MAX = 100, 1_000
# How many versions are looked through at a time, at most.
VERSIONS_MAX = 1_000
# Of how many entries sets are read at a time, at first and at most, unless one has more.
BITE_ENTRIES_MIN, BITE_ENTRIES_MAX = 100, 500


class EntryPlace(NamedTuple):
    """Where an entry stands in its transaction, for good: which version wrote it, and as which."""

    version: int
    line: int


class Place(NamedTuple):
    """Where a list goes on."""

    # Behind this key; None at the end of the list.
    key: Key | None
    # Of the transaction right behind the key, if it is begun: up to which of its entries it is done.
    done: EntryPlace | None = None

    @classmethod
    def noted(cls, key: Key, note: str) -> Place:
        """The place in a page token; or InvalidPageToken."""
        if not note:
            return cls(key)
        version, _, line = note.partition(" ")
        if not (version.isdecimal() and line.isdecimal() and max(len(version), len(line)) <= 19):
            raise invalid_page_token()
        place = EntryPlace(int(version), int(line))
        if max(place) > NUMBER_MAX:
            raise invalid_page_token()
        return cls(key, place)

    @property
    def note(self) -> str:
        """What a page token says of it beside the key."""
        return "" if self.done is None else f"{self.done.version} {self.done.line}"


class EntrySet(NamedTuple):
    """The entries of one version."""

    first_line: int
    entry_count: int
    # Behind which its transaction is the next.
    before: Key
    # Those up to here are done.
    done: EntryPlace | None
    # Where the list goes on behind it.
    end: Place

    @property
    def last_line(self) -> int:
        return self.first_line + self.entry_count - 1


class Bite(NamedTuple):
    """Sets to be read together, perhaps none, and where the list goes on behind them."""

    sets: list[EntrySet]
    end: Place


class EntrySets:
    """The entry sets of a list behind a place, bite by bite: those that stand, or all that versions wrote."""

    def __init__(
        self, at: Snapshot, query: EntryQuery, find: Callable[[Key, int], Awaitable[Found]], start: Place
    ) -> None:
        """`find` gives so many of the transactions behind a key."""
        self._at = at
        self._include_discarded = query.include_discarded
        self._descending = query.order.is_descending
        self._is_created_order = query.order.is_created
        self._find = find
        self._find_count = min(query.page_size, TRANSACTIONS_MIN)
        self._bites = Bites(min(query.page_size, BITE_ENTRIES_MIN), BITE_ENTRIES_MAX)
        # Transactions that were found and not yet looked at, of the first those entries that are not done, and the key
        # behind them all.
        self._heads: deque[Row] = deque()
        self._done: EntryPlace | None = None
        self._found_key: Key | None = None
        # Sets that were found and not yet handed out, and the place behind them.
        self._sets: deque[EntrySet] = deque()
        self._end = start

    async def next(self) -> Bite:
        """The next bite, of two statements at most; the list ends with one that has no key behind it."""
        if not self._sets:
            await self._look()
        entry_count = self._bites.next()
        sets: list[EntrySet] = []
        while self._sets and (not sets or self._sets[0].entry_count <= entry_count):
            sets.append(self._sets.popleft())
            entry_count -= sets[-1].entry_count
        return Bite(sets, sets[-1].end if self._sets else self._end)

    async def _look(self) -> None:
        """Finds further sets, if there are any in the next transactions or versions."""
        if not self._heads:
            await self._find_transactions()
        if self._include_discarded:
            await self._look_at_versions()
        else:
            while self._heads:
                self._sets.append(self._standing(self._heads.popleft()))
                self._done = None
        if not self._heads:
            self._end = Place(self._found_key)

    async def _find_transactions(self) -> None:
        key, done = self._end
        assert key is not None
        rows, self._found_key = await self._find(key, self._find_count)
        self._heads.extend(rows)
        # Another one may be the first now, if the begun one is none of those asked for any more.
        self._done = done if rows and self._before(rows[0]) == key else None
        # Where few have such entries, more at a time.
        self._find_count = min(4 * self._find_count, TRANSACTIONS_MAX)

    async def _look_at_versions(self) -> None:
        """Those of one transaction, as many as are looked through at a time, or all those of several that have few."""
        looked_at: list[tuple[Row, range]] = []
        count = 0
        while self._heads:
            head = self._heads[0]
            versions = self._versions_of(head, None if looked_at else self._done)
            if looked_at and count + len(versions) > VERSIONS_MAX:
                break
            looked_at.append((self._heads.popleft(), versions))
            count += len(versions)
        if not looked_at:
            return
        written = await self._written(looked_at)
        for head, _ in looked_at:
            self._sets.extend(self._sets_of(head, written.get(head["transaction_id"], ())))
            self._done = None
        head, versions = looked_at[-1]
        rows = written.get(head["transaction_id"], ())
        if self._is_done(head, versions, rows):
            self._end = Place(transaction_key(head))
        else:
            self._heads.appendleft(head)
            self._done = self._all_of(versions[0] if self._descending else versions[-1])
            self._end = Place(self._before(head), self._done)

    def _versions_of(self, head: Row, done: EntryPlace | None) -> range:
        """The versions to look at next, rising."""
        newest = head["version"]
        if self._descending:
            last = newest if done is None else min(newest, done.version - (done == self._all_of(done.version)))
            return range(max(0, last - VERSIONS_MAX + 1), last + 1)
        first = 0 if done is None else done.version + (done == self._all_of(done.version))
        return range(first, min(newest, first + VERSIONS_MAX - 1) + 1)

    async def _written(self, looked_at: Sequence[tuple[Row, range]]) -> Mapping[str, list[Row]]:
        """Rows of list_entry_sets by transaction, in the list's order; a first version needs no look."""
        written: dict[str, list[Row]] = {}
        edited = [(head["transaction_id"], versions) for head, versions in looked_at if head["version"] and versions]
        if edited:
            rows = await self._at.connection.fetch(
                sql.list_entry_sets,
                self._at.ledger_id,
                [transaction_id for transaction_id, _ in edited],
                [str(versions[0]) for _, versions in edited],
                [str(versions[-1]) for _, versions in edited],
            )
            for row in reversed(rows) if self._descending else rows:
                written.setdefault(row["transaction_id"], []).append(row)
        return written

    def _sets_of(self, head: Row, written: Sequence[Row]) -> list[EntrySet]:
        if not head["version"]:
            return [self._standing(head)]
        before = self._before(head)
        ends = [Place(before, self._all_of(row["version"])) for row in written]
        return [
            EntrySet(row["first_entry_id"], row["entry_count"], before, self._done, end)
            for row, end in zip(written, ends, strict=True)
        ]

    def _is_done(self, head: Row, versions: range, written: Sequence[Row]) -> bool:
        """Whether no other versions of the transaction can have written anything."""
        if self._descending:
            return not versions or versions[0] == 0
        # After the set that stands there are only versions that wrote none.
        is_standing = bool(written) and written[-1]["first_entry_id"] == head["first_entry_id"]
        return is_standing or not versions or versions[-1] == head["version"]

    def _standing(self, head: Row) -> EntrySet:
        end = Place(transaction_key(head))
        return EntrySet(head["first_entry_id"], head["entry_count"], self._before(head), self._done, end)

    def _before(self, head: Row) -> Key:
        """The key behind which the transaction is the next."""
        key = transaction_key(head)
        position = key.position + (1 if self._descending else -1)
        return Key.at(position if self._is_created_order else key.number, position)

    def _all_of(self, version: int) -> EntryPlace:
        """The place of all that the version wrote."""
        return EntryPlace(version, 0 if self._descending else NUMBER_MAX)
