"""An auditor of databases: it believes nothing but the entries and the bytes of the log.

It reads the tables whole and shares no code with the service, whose own verification, in SQL and bites, is held against
it: `findings(dsn)` is empty when both say that the books are right.
"""

from __future__ import annotations

import gc
import operator
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise, zip_longest
from typing import NamedTuple
from uuid import UUID

import asyncpg

from ledger_client.v1.balances_pb2 import Balances
from ledger_client.v1.streams_pb2 import EventKind
from ledger_server.auditing import Auditor, Finding, KnownDigest, Verdict, Verification
from ledger_server.domain.ids import ledger_text
from ledger_server.storage.pool import read_pool
from tests.ledger_ids import number_of
from tests.stored_events import GENESIS, Row, chained, kind_of, read_event

PENDING, POSTED, ARCHIVED = 1, 2, 3
DEBIT, CREDIT = 1, 2
OPERATORS = {1: operator.lt, 2: operator.le, 3: operator.eq, 5: operator.ge, 6: operator.gt}
EDGES = (EventKind.EVENT_KIND_MONITOR_TRIGGERED, EventKind.EVENT_KIND_MONITOR_RESOLVED)
DELETIONS = (EventKind.EVENT_KIND_ACCOUNT_DELETED, EventKind.EVENT_KIND_CATEGORY_DELETED)
LIVES_OF_MONITORS = (
    *EDGES,
    *DELETIONS,
    EventKind.EVENT_KIND_MONITOR_CREATED,
    EventKind.EVENT_KIND_MONITOR_DELETED,
)

# Posted debits, posted credits, pending debits, pending credits.
Counters = tuple[int, int, int, int]
ZERO: Counters = (0, 0, 0, 0)
COUNTERS = ("posted_debits", "posted_credits", "pending_debits", "pending_credits")


async def findings(dsn: str, ledger_id: str | None = None) -> list[str]:
    """What is wrong in the database, or in one ledger of it, each as a sentence."""
    ids = [ledger_id] if ledger_id is not None else await _ledger_ids(dsn)
    found = [f"ledger {each}: verified: {finding}" for each in ids for finding in await verified(dsn, each)]
    return await own_findings(dsn, ledger_id) + found


async def own_findings(dsn: str, ledger_id: str | None = None) -> list[str]:
    """What this auditor finds alone."""
    connection = await asyncpg.connect(dsn)
    # Millions of rows are no garbage; looking for some among them took half of the time.
    gc.disable()
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            ids = [ledger_id] if ledger_id is not None else await _ledger_ids(dsn)
            return [f"ledger {each}: {finding}" for each in ids for finding in audit(await _read(connection, each))]
    finally:
        gc.enable()
        await connection.close()


async def _ledger_ids(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        return [ledger_text(row[0]) for row in await connection.fetch("SELECT ledger_id FROM ledgers")]
    finally:
        await connection.close()


async def verified(dsn: str, ledger_id: str, known: KnownDigest | None = None) -> list[Finding]:
    """What the service's own verification finds."""
    async with read_pool(dsn, size_max=1) as pool:
        said = [told async for told in Auditor(pool).verify(Verification(number_of(ledger_id), known))]
    found = [told for told in said if isinstance(told, Finding)]
    verdict = said[-1]
    assert isinstance(verdict, Verdict)
    assert verdict.findings == len(found)
    return found


@dataclass(frozen=True)
class EntrySet:
    """What one version of a transaction wrote, standing from one position until another, if ever."""

    transaction_id: UUID
    version: int
    status: int
    effective_at: datetime
    from_position: int
    until_position: int | None
    entry_count: int
    entries: list[Row]


@dataclass(frozen=True)
class Books:
    """The rows of one ledger, in order."""

    ledger: Row
    accounts: dict[UUID, Row]
    account_versions: dict[UUID, list[Row]]
    transactions: dict[UUID, list[Row]]
    entry_sets: list[EntrySet]
    entry_count: int
    timelines: list[Row]
    # The blocks of each account's timeline.
    blocks: dict[UUID, list[Row]]
    categories: list[Row]
    # The counters of each category, by position.
    category_versions: dict[UUID, list[Row]]
    # Who is directly in a category: accounts and categories.
    members: list[tuple[UUID, UUID, int, int | None]]
    reversals: dict[UUID, Row]
    events: list[Row]
    # Position and digest of the last event that was pruned.
    checkpoint: tuple[int, bytes]
    requests: list[Row]
    monitors: list[Row]
    # By monitor, in order.
    monitor_conditions: dict[UUID, list[Row]]


def audit(books: Books) -> list[str]:
    """All that is wrong in one ledger's books."""
    return [
        *_chain(books),
        *_transaction_versions(books),
        *_sums(books),
        *_counters(books),
        *_effective_times(books),
        *_timelines(books),
        *_categories(books),
        *_reversals(books),
        *_events(books),
        *_requests(books),
        *_monitors(books),
        *_monitor_count(books),
    ]


async def _read(connection: asyncpg.Connection[asyncpg.Record], ledger_id: str) -> Books:
    async def rows(table: str, order: str) -> list[Row]:
        statement = f"SELECT * FROM {table} WHERE ledger_id = $1 ORDER BY {order}"
        return list(await connection.fetch(statement, number_of(ledger_id)))

    transactions = _grouped(await rows("transaction_versions", "version"), "transaction_id")
    for row in await rows("transactions", "transaction_id"):
        transactions.setdefault(row["transaction_id"], []).append(row)
    entries = defaultdict(list)
    for entry in await rows("entries", "entry_id"):
        # The ids of one version's entries differ in the last twelve bits only.
        entries[entry["transaction_id"], entry["entry_id"] >> 12].append(entry)
    return Books(
        ledger=(await rows("ledgers", "ledger_id"))[0],
        accounts={row["account_id"]: row for row in await rows("accounts", "account_id")},
        account_versions=_grouped(await rows("account_versions", "lock_version"), "account_id"),
        transactions=transactions,
        entry_sets=[each for versions in transactions.values() for each in _entry_sets(versions, entries)],
        entry_count=sum(map(len, entries.values())),
        timelines=await rows("account_timelines", "account_id"),
        blocks=_grouped(
            await rows("account_timeline_blocks", "account_id, run_start, from_effective_at, number"), "account_id"
        ),
        categories=await rows("categories", "category_id"),
        category_versions=_grouped(await rows("category_versions", "position"), "category_id"),
        members=[
            (row["category_id"], row[member], row["from_position"], row["until_position"])
            for table, member in (("category_accounts", "account_id"), ("category_nestings", "member_category_id"))
            for row in await rows(table, "category_id")
        ],
        reversals={row["entry_id"]: row for row in await rows("entry_reversals", "entry_id")},
        events=await rows("events", "position"),
        checkpoint=next(
            ((row["position"], row["digest"]) for row in await rows("log_checkpoints", "position")),
            (0, GENESIS),
        ),
        requests=await rows("requests", "request_id"),
        monitors=await rows("monitors", "created_position"),
        monitor_conditions=_grouped(await rows("monitor_conditions", "position"), "monitor_id"),
    )


def _grouped(rows: list[Row], column: str) -> dict[UUID, list[Row]]:
    groups: dict[UUID, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups


def _entry_sets(versions: list[Row], entries: Mapping[tuple[UUID, int], list[Row]]) -> Iterator[EntrySet]:
    """Each version that wrote entries; it stands until the next one that did."""
    writers = [
        row for n, row in enumerate(versions) if n == 0 or row["first_entry_id"] != versions[n - 1]["first_entry_id"]
    ]
    for n, row in enumerate(writers):
        until = writers[n + 1]["position"] if n + 1 < len(writers) else None
        own = entries.get((row["transaction_id"], row["first_entry_id"] >> 12), [])
        yield EntrySet(
            row["transaction_id"],
            row["version"],
            row["status"],
            row["effective_at"],
            row["position"],
            until,
            row["entry_count"],
            own,
        )


def _chain(books: Books) -> Iterator[str]:
    """From the checkpoint on positions are dense, times do not go back, and each digest covers all before it."""
    start, digest = books.checkpoint
    time = None
    for number, event in enumerate(books.events, start=start + 1):
        if event["position"] != number:
            yield f"event {number} is missing: {event['position']} comes next"
            return
        if time is not None and event["time"] < time:
            yield f"event {number} is of a time before that of the event before it"
        if chained(digest, event) != event["digest"]:
            yield f"the hash chain breaks at event {number}"
        digest, time = event["digest"], event["time"]
    if start and not books.events:
        yield "all events are pruned, and the newest must stay"
    if (books.ledger["position"], books.ledger["digest"]) != (start + len(books.events), digest):
        yield f"the ledger's head, {books.ledger['position']}, is not the last of its {len(books.events)} events"
    # Stored refusals move it too, and are no events.
    if time is not None and books.ledger["event_time"] < time:
        yield "the ledger's time is before its last event's"


def _transaction_versions(books: Books) -> Iterator[str]:
    """Versions are dense up to the current one, statuses go one way, and the entries of each are there."""
    for transaction_id, versions in books.transactions.items():
        name = f"transaction {transaction_id}"
        if [row["version"] for row in versions] != list(range(len(versions))):
            yield f"{name} has the versions {[row['version'] for row in versions]}"
        statuses = list(dict.fromkeys(row["status"] for row in versions))
        if statuses not in ([PENDING], [POSTED], [ARCHIVED], [PENDING, POSTED], [PENDING, ARCHIVED]):
            yield f"{name} went through the statuses {statuses}"
        positions = [row["position"] for row in versions]
        if positions != sorted(set(positions)) or any(row["created_position"] != positions[0] for row in versions):
            yield f"{name} was written at the positions {positions}"
    for each in books.entry_sets:
        name = f"transaction {each.transaction_id} version {each.version}"
        if [entry["entry_id"] & 0xFFF for entry in each.entries] != list(range(each.entry_count)):
            yield f"{name} says it has {each.entry_count} entries, and has {len(each.entries)}"
        if any((e["status"], e["transaction_version"]) != (each.status, each.version) for e in each.entries):
            yield f"{name} has an entry of another status or version"
    if books.entry_count != sum(len(each.entries) for each in books.entry_sets):
        yield "there are entries that no version of any transaction wrote"


def _sums(books: Books) -> Iterator[str]:
    """Whatever any version wrote is balanced in every currency, and so are all entries together."""
    for each in books.entry_sets:
        sums: defaultdict[str, int] = defaultdict(int)
        for entry in each.entries:
            currency = books.accounts[entry["account_id"]]["currency"]
            sums[currency] += int(entry["amount"]) * (1 if entry["direction"] == DEBIT else -1)
        for currency, total in sums.items():
            if total:
                yield f"transaction {each.transaction_id} version {each.version} is off balance by {total} {currency}"


def _counters(books: Books) -> Iterator[str]:
    """An account has one version for each position that touched it, with the counters of what stood after it."""
    moves = _moves(books)
    for account_id in books.accounts:
        name = f"account {account_id}"
        counters, expected = ZERO, [(0, books.accounts[account_id]["created_position"], ZERO)]
        for position, delta in sorted(moves[account_id].items()):
            counters = _plus(counters, delta)
            expected.append((len(expected), position, counters))
        found = [
            (row["lock_version"], row["position"], tuple(int(row[counter]) for counter in COUNTERS))
            for row in books.account_versions.get(account_id, [])
        ]
        for n, (one, other) in enumerate(zip(expected, found, strict=False)):
            if one != other:
                yield f"{name} version {n} is {other}, and by its entries {one}"
                break
        if len(found) != len(expected):
            yield f"{name} has {len(found)} versions, and by its entries {len(expected)}"
    positions = {account_id: sorted(moved) for account_id, moved in moves.items()}
    for each in books.entry_sets:
        if len({entry["written_at"] for entry in each.entries}) > 1:
            yield f"version {each.version} of transaction {each.transaction_id} wrote its entries at several times"
        for entry in each.entries:
            version = bisect_right(positions.get(entry["account_id"], ()), each.from_position)
            if entry["account_lock_version"] != version:
                yield f"entry {entry['entry_id']} is of lock_version {entry['account_lock_version']}, not {version}"


def _categories(books: Books) -> Iterator[str]:
    """Wherever a category has a version, it counts each account under it once; and so it does now."""
    alive = {row["category_id"]: row["deleted_position"] for row in books.categories}
    for category in books.categories:
        versions = books.category_versions.get(category["category_id"], [])
        checks = [(row["position"], row) for row in versions]
        if category["deleted_position"] is None and versions:
            checks.append((books.ledger["position"], versions[-1]))
        for position, row in checks:
            if category["deleted_position"] is not None and position >= category["deleted_position"]:
                continue
            total = ZERO
            for account_id in _under(books, alive, category["category_id"], position) & books.accounts.keys():
                known = [each for each in books.account_versions[account_id] if each["position"] <= position]
                total = _plus(total, _of_row(known[-1]) if known else ZERO)
            if _of_row(row) != total:
                yield f"category {category['category_id']} at {position} is {_of_row(row)}, and its accounts {total}"


def _under(books: Books, alive: Mapping[UUID, int | None], category_id: UUID, position: int) -> set[UUID]:
    """All that is under a category at a position, each once."""
    found: set[UUID] = set()
    waiting = [category_id]
    while waiting:
        parent = waiting.pop()
        for category, member, start, end in books.members:
            deleted = alive.get(member)
            is_in = start <= position and (end is None or end > position) and (deleted is None or deleted > position)
            if category == parent and is_in and member not in found:
                found.add(member)
                waiting.append(member)
    return found


def _reversals(books: Books) -> Iterator[str]:
    """What is counted as reversed of an entry is what stands of its reversals, on the other side, and not too much."""
    originals = {entry["entry_id"]: entry for each in books.entry_sets for entry in each.entries}
    sums: defaultdict[UUID, int] = defaultdict(int)
    for each in books.entry_sets:
        for entry in each.entries:
            original = originals.get(entry["reverses_entry_id"])
            if original is None:
                continue
            if (original["account_id"], original["direction"]) != (entry["account_id"], 3 - entry["direction"]):
                yield f"entry {entry['entry_id']} is not the reverse of what it reverses"
            written_at = original["written_at"]
            if entry["reverses_entry_time"] != written_at.replace(microsecond=written_at.microsecond // 1000 * 1000):
                yield f"entry {entry['entry_id']} does not know when what it reverses was written"
            if each.until_position is None and each.status != ARCHIVED:
                sums[original["entry_id"]] += int(entry["amount"])
    for entry_id in sums.keys() | books.reversals.keys():
        row = books.reversals.get(entry_id)
        counted, amount = (int(row["reversed"]), int(row["amount"])) if row else (0, None)
        if counted != sums[entry_id] or (
            row and (entry_id not in originals or amount != originals[entry_id]["amount"])
        ):
            yield f"entry {entry_id} is reversed by {sums[entry_id]}, counted {counted} of {amount}"


def _moves(books: Books) -> defaultdict[UUID, dict[int, Counters]]:
    """What each command did to each account's counters, by its position."""
    moves: defaultdict[UUID, dict[int, Counters]] = defaultdict(dict)
    for each in books.entry_sets:
        for entry in each.entries if each.status != ARCHIVED else ():
            side = (0 if each.status == POSTED else 2) + entry["direction"] - 1
            # An int, because negating a Decimal rounds it.
            amount = int(entry["amount"])
            for position, change in ((each.from_position, amount), (each.until_position, -amount)):
                if position is not None:
                    own = moves[entry["account_id"]]
                    own[position] = _plus(own.get(position, ZERO), _on(side, change))
    return moves


def _effective_times(books: Books) -> Iterator[str]:
    """Each version says from which effective times on its change counts, as the entries have it; and when it was."""
    expected: defaultdict[tuple[UUID, int], defaultdict[datetime, Counters]] = defaultdict(lambda: defaultdict(_zero))
    for each in books.entry_sets:
        for entry in each.entries if each.status != ARCHIVED else ():
            side = (0 if each.status == POSTED else 2) + entry["direction"] - 1
            for position, sign in ((each.from_position, 1), (each.until_position, -1)):
                if position is not None:
                    own = expected[entry["account_id"], position]
                    own[each.effective_at] = _plus(own[each.effective_at], _on(side, sign * int(entry["amount"])))
    times = {event["position"]: event["time"] for event in books.events}
    for account_id, rows in books.account_versions.items():
        for before, after in pairwise(rows):
            name = f"account {account_id} version {after['lock_version']}"
            found, by_entries = _nonzero(_changes([before, after])), _nonzero(expected[account_id, after["position"]])
            if found != by_entries:
                yield f"{name} counts by effective time {found}, and by its entries {by_entries}"
        for row in rows:
            if row["written_at"] != times.get(row["position"], row["written_at"]):
                yield f"account {account_id} version {row['lock_version']} is of another time than its event"


def _timelines(books: Books) -> Iterator[str]:
    """What is folded of an account are its versions up to one, each once, in runs that are sorted and summed up."""
    for timeline in books.timelines:
        name = f"the timeline of account {timeline['account_id']}"
        versions = books.account_versions[timeline["account_id"]]
        starts = [*timeline["run_starts"], timeline["folded_version"] + 1]
        runs: defaultdict[int, list[Row]] = defaultdict(list)
        for block in books.blocks.get(timeline["account_id"], []):
            runs[block["run_start"]].append(block)
        if starts[0] != 1 or starts[-1] > len(versions) or runs.keys() - set(starts[:-1]):
            yield f"{name} has the runs {starts} of {len(versions) - 1} versions, and blocks of {sorted(runs)}"
            continue
        for start, end in pairwise(starts):
            sums: defaultdict[datetime, Counters] = defaultdict(_zero)
            before, times = ZERO, []
            for number, block in enumerate(runs[start]):
                if (block["number"], _of_row(block)) != (number, before):
                    yield f"{name} has in run {start} a block {block['number']} that does not follow the one before"
                own_sums = zip(*(block[f"{counter}_sums"] for counter in COUNTERS), strict=True)
                for time, own in zip(block["effective_ats"], own_sums, strict=True):
                    after = _plus(_of_row(block), tuple(map(int, own)))  # type: ignore[arg-type]
                    sums[time], before = _plus(sums[time], _plus(after, _minus(before))), after
                times += [block["from_effective_at"], *block["effective_ats"]]
            if _nonzero(sums) != _nonzero(_changes(versions[start - 1 : end])) or times != sorted(times):
                yield f"{name} has other changes in run {start} than versions {start} to {end - 1}"


def _changes(versions: list[Row]) -> dict[datetime, Counters]:
    """What all but the first of these versions changed, by effective time."""
    changes: defaultdict[datetime, Counters] = defaultdict(_zero)
    for before, after in pairwise(versions):
        here, elsewhere = after["effective_at"], after["discarded_effective_at"]
        changes[here] = _plus(changes[here], _plus(_of_row(after), _minus(_of_row(before))))
        if elsewhere is not None:
            discarded = (0, 0, int(after["discarded_debits"]), int(after["discarded_credits"]))
            changes[here] = _plus(changes[here], discarded)
            changes[elsewhere] = _plus(changes[elsewhere], _minus(discarded))
    return changes


def _zero() -> Counters:
    return ZERO


def _on(side: int, amount: int) -> Counters:
    return tuple(amount if n == side else 0 for n in range(4))  # type: ignore[return-value]


def _minus(one: Counters) -> Counters:
    return tuple(-each for each in one)  # type: ignore[return-value]


def _nonzero(sums: Mapping[datetime, Counters]) -> dict[str, Counters]:
    return {time.isoformat(): each for time, each in sorted(sums.items()) if each != ZERO}


def _plus(one: Counters, other: Counters) -> Counters:
    return tuple(a + b for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


def _events(books: Books) -> Iterator[str]:
    """Each event tells of exactly the versions that its command wrote, balances before and after included."""
    written: defaultdict[int, set[str]] = defaultdict(set)
    for transaction_id, versions in books.transactions.items():
        for row in versions:
            written[row["position"]].add(str(transaction_id))
    touched: defaultdict[int, list[tuple[str, int, Counters, Counters]]] = defaultdict(list)
    for account_id, rows in sorted(books.account_versions.items()):
        for before, after in pairwise(rows):
            balances = (_of_row(before), _of_row(after))
            touched[after["position"]].append((str(account_id), after["lock_version"], *balances))
            if str(after["transaction_id"]) not in written[after["position"]]:
                yield f"account {account_id} version {after['lock_version']} was not moved by its transaction"
    for row in books.events:
        event = read_event(row)
        # Those of categories follow those of accounts.
        told = [(c.account_id, c.lock_version, _of(c.before), _of(c.after)) for c in event.changes if c.account_id]
        if told != touched.pop(row["position"], []):
            yield f"event {row['position']} tells other balances than the accounts' versions"
        transactions = written.pop(row["position"], set())
        if event.kind == EventKind.EVENT_KIND_ENTRY_UPDATED:
            # It names the transaction of its entry, of which it wrote no version.
            is_right = not transactions and UUID(event.transaction_id) in books.transactions
        else:
            is_right = (event.transaction_id in transactions) == bool(transactions or event.transaction_id)
        if not is_right:
            yield f"event {row['position']} is of transaction {event.transaction_id or None}, not {transactions}"
    for position in touched.keys() | {position for position, own in written.items() if own}:
        if position > books.checkpoint[0]:
            yield f"what was written at position {position} has no event"


def _of_row(row: Row) -> Counters:
    return tuple(int(row[counter]) for counter in COUNTERS)  # type: ignore[return-value]


def _of(balances: Balances) -> Counters:
    posted, pending = balances.posted, balances.pending
    left, right = int(posted.debits), int(posted.credits)
    return left, right, int(pending.debits) - left, int(pending.credits) - right


def _requests(books: Books) -> Iterator[str]:
    """A stored outcome is of a version that exists."""
    for request in books.requests:
        versions = books.transactions.get(request["object_id"], [])
        if request["object_id"] is not None and (request["version"] or 0) >= len(versions):
            yield f"request {request['request_id']} is of a version that is not there"


class Edge(NamedTuple):
    """A change of a monitor's state, or its end, by the command at a position, in the order in which edges are told."""

    position: int
    # What is deleted ends its monitors first; then come those of accounts, then those of categories.
    is_alive: bool
    is_on_category: bool
    subject_id: str
    created_position: int
    monitor_id: str
    triggered: bool


def _monitors(books: Books) -> Iterator[str]:
    """Each monitor's states are those of its conditions on its account's or category's versions, and the log tells just
    these; behind the deletion of what it is on, its own.
    """
    edges: list[Edge] = []
    deletions: list[Edge] = []
    first: dict[tuple[int, str], bool] = {}
    for row in books.monitors:
        own = list(_states(books, row))
        first[row["created_position"], str(row["monitor_id"])] = own[0].triggered
        edges += own[1:]
        if row["deleted_position"] is not None:
            deletions.append(own[-1]._replace(position=row["deleted_position"], is_alive=False, triggered=False))
        if (row["since_position"], row["triggered"]) != (own[-1].position, own[-1].triggered):
            yield (
                f"monitor {row['monitor_id']} is {_word(row['triggered'])} since {row['since_position']}, and by its "
                f"subject {_word(own[-1].triggered)} since {own[-1].position}"
            )
    told: list[tuple[int, str, bool]] = []
    # What was deleted, and where.
    subjects: dict[str, int] = {}
    for event in map(read_event, (each for each in books.events if kind_of(each) in LIVES_OF_MONITORS)):
        said = (event.position, event.monitor.id, event.monitor.triggered)
        if event.kind in EDGES:
            told.append(said)
            if event.monitor.triggered != (event.kind == EventKind.EVENT_KIND_MONITOR_TRIGGERED):
                yield f"event {event.position} is of kind {event.kind}, and its monitor is {_word(said[2])}"
        elif event.kind == EventKind.EVENT_KIND_MONITOR_DELETED:
            told.append((event.position, event.monitor.id, False))
        elif event.kind in DELETIONS:
            subjects[event.account_id or event.category_id] = event.position
        elif event.kind == EventKind.EVENT_KIND_MONITOR_CREATED and first.get(said[:2]) != said[2]:
            yield f"event {event.position} creates a monitor that is {_word(said[2])}, and by its subject it is not"
    expected = [each for each in _speeches(edges, deletions, subjects) if each[0] > books.checkpoint[0]]
    for one, other in zip_longest(expected, told):
        if one != other:
            yield f"monitors said {other}, and by their subjects {one}"
            break


def _monitor_count(books: Books) -> Iterator[str]:
    """The ledger counts those that are not deleted."""
    living = sum(row["deleted_at"] is None for row in books.monitors)
    if books.ledger["monitor_count"] != living:
        yield f"the ledger counts {books.ledger['monitor_count']} monitors, and has {living}"


def _speeches(edges: list[Edge], deletions: list[Edge], subjects: Mapping[str, int]) -> list[tuple[int, str, bool]]:
    """Where each edge and each end is told: behind its command, or by it, if that deletes the monitor alone."""
    ended = [edge for edge in deletions if edge.position == subjects.get(edge.subject_id)]
    told = [(edge.position, edge.monitor_id, False) for edge in deletions if edge not in ended]
    for position, together in groupby(sorted(edges + ended), key=lambda edge: edge.position):
        told += [(n, edge.monitor_id, edge.triggered) for n, edge in enumerate(together, position + 1)]
    return sorted(told)


def _states(books: Books, monitor: Row) -> Iterator[Edge]:
    """The state that a monitor begins in, and each later one."""
    created = monitor["created_position"]
    if monitor["account_id"] is not None:
        subject, versions = books.accounts[monitor["account_id"]], books.account_versions[monitor["account_id"]]
    else:
        (subject,) = [row for row in books.categories if row["category_id"] == monitor["category_id"]]
        versions = books.category_versions[monitor["category_id"]]
    normal_balance = subject["normal_balance"]
    given = {row["position"]: row for row in books.monitor_conditions.get(monitor["monitor_id"], [])}
    moved = {row["position"]: row for row in versions}
    condition = given[created]
    triggered: bool | None = None
    version = moved[max(position for position in moved if position <= created)]
    for position in sorted(given.keys() | moved.keys()):
        if position < created or (monitor["deleted_position"] or position) < position:
            continue
        before, condition, version = condition, given.get(position, condition), moved.get(position, version)
        was = triggered
        if any(condition[part] != before[part] for part in ("field", "operator", "value", "resolve_value")):
            # Another condition is judged anew.
            was = None
        value = condition["value"]
        if was and condition["resolve_value"] is not None:
            value = condition["resolve_value"]
        now = OPERATORS[condition["operator"]](_seen(version, condition["field"], normal_balance), int(value))
        if now != triggered:
            subject_id = str(monitor["account_id"] or monitor["category_id"])
            yield Edge(
                position, True, monitor["account_id"] is None, subject_id, created, str(monitor["monitor_id"]), now
            )
        triggered = now


def _seen(version: Row, field: int, normal_balance: int) -> int:
    """The lock_version, or the posted, pending or available amount, of an account or a category at a version."""
    if field == 4:
        return int(version["lock_version"])
    left, right, pending_left, pending_right = _of_row(version)
    sign = 1 if normal_balance == CREDIT else -1
    if field == 2 or (field == 3 and normal_balance == CREDIT):
        left += pending_left
    if field == 2 or (field == 3 and normal_balance == DEBIT):
        right += pending_right
    return sign * (right - left)


def _word(triggered: bool) -> str:
    return "triggered" if triggered else "resolved"
