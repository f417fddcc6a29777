"""What events do not say and filters ask: categories above accounts, metadata of transactions, balances of who joins.

It is looked up for a page of the log at once and for all who want it, by the tailer once for everybody who is live. So
what it costs grows with the events that somebody wants, however many they are. All of it is dated by position:
a stream that is resumed is filtered as the first one was.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

from ledger_server.domain.model import EventKind
from ledger_server.events.log import answering
from ledger_server.events.messages import JOINING_KINDS, Joining, LoggedEvent
from ledger_server.events.snapshot import load_balances_at
from ledger_server.events.subscription import Watch
from ledger_server.storage import sql
from ledger_server.storage.pool import Pool


class Wants:
    """What must be known of an event before these watches can select from it."""

    def __init__(self, *watches: Watch) -> None:
        self._categories: Counter[str] = Counter()
        self._with_joining: Counter[str] = Counter()
        self._with_metadata: Counter[str] = Counter()
        self._with_metadata_of_all = 0
        for watch in watches:
            self.add(watch)

    def add(self, watch: Watch, times: int = 1) -> None:
        """One watch more; with -1, one less."""
        _count(self._categories, watch.category_ids, times)
        if not watch.whole_events:
            _count(self._with_joining, watch.category_ids, times)
        if watch.transaction_metadata and watch.subject_ids:
            _count(self._with_metadata, watch.subject_ids, times)
        elif watch.transaction_metadata:
            self._with_metadata_of_all += times

    def lack(self, event: LoggedEvent) -> bool:
        """Whether something has to be looked up."""
        if not (self._categories or self._with_metadata or self._with_metadata_of_all):
            return False
        return self.lack_categories(event) or self.lack_metadata(event) or self.lack_joining(event)

    def lack_categories(self, event: LoggedEvent) -> bool:
        if event.under is not None or not event.account_ids:
            return False
        return _any_of(self._categories, event.subject_ids)

    def lack_metadata(self, event: LoggedEvent) -> bool:
        if event.metadata is not None or not event.transaction_id:
            return False
        return self._with_metadata_of_all > 0 or _any_of(self._with_metadata, event.subject_ids, event.named_ids)

    def lack_joining(self, event: LoggedEvent) -> bool:
        return (
            event.kind in JOINING_KINDS
            and event.joining is None
            and _any_of(self._with_joining, event.joined_category_ids)
        )


async def look_up(pool: Pool, ledger_id: int, events: Iterable[LoggedEvent], wants: Wants) -> None:
    """Adds to these events, in their order, what is lacking: at most one statement for each kind of thing."""
    lacking = [event for event in events if wants.lack(event)]
    if under := [event for event in lacking if wants.lack_categories(event)]:
        await _find_categories(pool, ledger_id, under)
    if written := [event for event in lacking if wants.lack_metadata(event)]:
        await _read_metadata(pool, ledger_id, written)
    if joined := [event for event in lacking if wants.lack_joining(event)]:
        await _load_joining(pool, ledger_id, joined)


async def _find_categories(pool: Pool, ledger_id: int, events: Sequence[LoggedEvent]) -> None:
    account_ids = {account_id for event in events for account_id in event.account_ids}
    first, last = events[0].position, events[-1].position
    async with answering(pool) as connection:
        rows = await connection.fetch(sql.find_categories_above_between, ledger_id, list(account_ids), first, last)
    above: dict[str, Counter[str]] = defaultdict(Counter)
    following = deque(rows)
    for event in events:
        while following and following[0]["position"] <= event.position:
            row = following.popleft()
            _count(above[row["account_id"]], [row["category_id"]], row["times"])
        event.under = {id_: list(categories) for id_ in event.account_ids if (categories := above.get(id_))}


async def _read_metadata(pool: Pool, ledger_id: int, events: Sequence[LoggedEvent]) -> None:
    parts = [event.transaction_id for event in events if event.kind == EventKind.TRANSACTION_PARTIALLY_POSTED]
    pending = await _find_partially_posted(pool, ledger_id, parts) if parts else {}

    def written_by(event: LoggedEvent) -> list[str]:
        """Its transaction, and that of which it posted a part."""
        if event.kind != EventKind.TRANSACTION_PARTIALLY_POSTED:
            return [event.transaction_id]
        return [event.transaction_id, pending[event.transaction_id]]

    # What was written between a transaction's first event here and its last was written by events of the same page.
    first = {id_: event.position for event in reversed(events) for id_ in written_by(event)}
    last = {id_: event.position for event in events for id_ in written_by(event)}
    asked = {*first.items(), *last.items()}
    transaction_ids = [transaction_id for transaction_id, _ in asked]
    positions = [str(position) for _, position in asked]
    async with answering(pool) as connection:
        rows = await connection.fetch(sql.read_metadata_between, ledger_id, transaction_ids, positions)
    written: dict[str, Mapping[str, str]] = {}
    following = deque(rows)
    for event in events:
        while following and following[0]["position"] <= event.position:
            row = following.popleft()
            written[row["transaction_id"]] = row["metadata"]
        event.metadata = [written.get(id_, {}) for id_ in written_by(event)]


async def _find_partially_posted(pool: Pool, ledger_id: int, transaction_ids: Sequence[str]) -> dict[str, str]:
    """The pending transactions that these ones posted a part of, by these."""
    async with answering(pool) as connection:
        rows = await connection.fetch(sql.find_partially_posted, ledger_id, transaction_ids)
    return {row["transaction_id"]: row["partially_posts_id"] for row in rows}


async def _load_joining(pool: Pool, ledger_id: int, events: Sequence[LoggedEvent]) -> None:
    joined = [(event.joined[0], event.position) for event in events if not event.joined[1]]
    accounts = await load_balances_at(pool, ledger_id, joined) if joined else []
    found = {(version.account.id, position): version for version, position in accounts}
    for event in events:
        account_id, category_id = event.joined
        account = None if category_id else found[account_id, event.position]
        event.joining = Joining(event.position, account, category_id)


def _count(counter: Counter[str], ids: Iterable[str], times: int) -> None:
    for id_ in ids:
        counter[id_] += times
        if not counter[id_]:
            del counter[id_]


def _any_of(counter: Counter[str], *ids: Iterable[str]) -> bool:
    return bool(counter) and any(id_ in counter for each in ids for id_ in each)
