"""Entry sets: the entries that one version of a transaction wrote. A list goes through them, not through transactions.

A transaction may have any number of versions, with up to a thousand entries each, so it is no bite of a page.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from ledger_server.domain.ids import NIL_ID, nth_entry_id
from ledger_server.reading.page_tokens import HIGHEST, LAST_ID
from ledger_server.reading.paging import Bites
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage import sql
from ledger_server.storage.rows import Row

# How many versions are looked through at a time.
VERSIONS_MAX = 1_000
# Of how many entries sets are read at a time, unless one has more.
BITE_ENTRIES_MAX = 500


class EntrySet(NamedTuple):
    """The entries of one version, or none where many versions in a row wrote none."""

    # Of the transaction, as found.
    head: Row
    first_id: str
    entry_count: int
    # The place of all of a transaction's entries up to here; "" if these are its last.
    done: str

    @property
    def last_id(self) -> str:
        return nth_entry_id(self.first_id, self.entry_count - 1)


class EntrySets:
    """The entry sets of some transactions, in their order: those that stand, or all that their versions wrote.

    Of the first transaction those behind a place, and perhaps the one that the place is in.
    """

    def __init__(
        self,
        at: Snapshot,
        heads: Iterable[Row],
        begun: str,
        *,
        include_discarded: bool,
        descending: bool,
        entry_count: int,
    ) -> None:
        """So many entries are to come at first."""
        self._at = at
        self._heads = deque(heads)
        self._begun = begun
        self._include_discarded = include_discarded
        self._descending = descending
        self._ready: deque[EntrySet] = deque()
        self._bites = Bites(min(entry_count, BITE_ENTRIES_MAX), BITE_ENTRIES_MAX)

    @property
    def are_done(self) -> bool:
        return not self._ready and not self._heads

    async def next(self) -> list[EntrySet]:
        """The next ones, as many as are a bite, at least one; [] when there are no more."""
        entry_count = self._bites.next()
        taken: list[EntrySet] = []
        while not self.are_done:
            if not self._ready:
                await self._make_ready()
            elif taken and self._ready[0].entry_count > entry_count:
                break
            else:
                taken.append(self._ready.popleft())
                entry_count -= taken[-1].entry_count
                if not taken[-1].entry_count:
                    break
        return taken

    async def _make_ready(self) -> None:
        if not self._include_discarded:
            self._ready += [_standing(head) for head in self._heads]
            self._heads.clear()
            return
        begun, self._begun = self._begun, ""
        heads = [self._heads.popleft()]
        versions = heads[0]["version"] + 1
        # One transaction that is begun or has many versions, or several that have few together.
        while self._heads and not begun and versions + self._heads[0]["version"] < VERSIONS_MAX:
            heads.append(self._heads.popleft())
            versions += heads[-1]["version"] + 1
        written = await self._versions_of([head for head in heads if head["version"] > 0], begun)
        for head in heads:
            self._ready += (
                self._written(head, written[head["transaction_id"]], begun) if head["version"] else [_standing(head)]
            )

    async def _versions_of(self, heads: list[Row], begun: str) -> dict[str, list[Row]]:
        """Rows of list_entry_sets, by transaction."""
        if not heads:
            return {}
        first = version_of(begun) if begun else HIGHEST.number if self._descending else 0
        ids = [head["transaction_id"] for head in heads]
        versions: dict[str, list[Row]] = {transaction_id: [] for transaction_id in ids}
        for row in await self._at.connection.fetch(
            sql.list_entry_sets, self._at.ledger_id, ids, first, self._descending, VERSIONS_MAX
        ):
            versions[row["transaction_id"]].append(row)
        return versions

    def _written(self, head: Row, versions: list[Row], begun: str) -> Iterable[EntrySet]:
        """What these versions wrote, in order; if there are more behind them, they are left for the next time."""
        done = ""
        for row in versions:
            is_last = row["version"] == 0 if self._descending else row["first_entry_id"] == head["first_entry_id"]
            done = "" if is_last else place_of(row["version"], NIL_ID if self._descending else LAST_ID)
            if row["is_writer"] and (is_last or done != begun):
                yield EntrySet(head, row["first_entry_id"], row["entry_count"], done)
            if is_last:
                return
        if not versions:
            # A replica may be behind the one that the page before was read from.
            return
        if not versions[-1]["is_writer"]:
            yield EntrySet(head, versions[-1]["first_entry_id"], 0, done)
        self._begun = done
        self._heads.appendleft(head)


def place_of(version: int, entry_id: str) -> str:
    """Where an entry stands in its transaction, for good: which version wrote it, ten digits, and as which."""
    return f"{version:010}{entry_id}"


def version_of(place: str) -> int:
    return int(place[:10])


def _standing(head: Row) -> EntrySet:
    return EntrySet(head, head["first_entry_id"], head["entry_count"], "")
