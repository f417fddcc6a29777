"""The check of the log: events follow one another without a gap, each digest covers all before it, and what they tell
of balances is what the versions of accounts and categories say, byte for byte. What else they name is there (named.py).

The digests are computed here, not in the database that is being judged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from google.protobuf.message import DecodeError

from ledger_client.v1.balances_pb2 import Balances
from ledger_client.v1.streams_pb2 import BalanceChange, Event, EventKind
from ledger_server.auditing.findings import Finding, KnownDigest
from ledger_server.auditing.named import KEPT_FOR, NOTHING_NAMED, Named, can_be_looked_for, find_named, judge_named
from ledger_server.auditing.snapshots import UNREADABLE, BiteTooLargeError, bite, finite
from ledger_server.domain.errors import PositionPruned
from ledger_server.domain.money import Counters, NormalBalance
from ledger_server.events.encode import encode_balances
from ledger_server.events.stored import chain, unpack
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection, Pool
from ledger_server.storage.rows import Row

# Small enough not to hold up other calls of this process while its events are judged: 10 ms; of 64 KiB it would be 30.
PAGE_BYTES_MAX = 16 * 1024
_DIGEST_PROBLEM = "digest, of the one before it, its time and its payload"


class _Page(NamedTuple):
    """Consecutive rows of the log, parsed, and what other tables have for what they tell."""

    rows: list[Row]
    events: list[Event]
    # By account id and lock_version.
    versions: Mapping[tuple[str, int], Row]
    # By category id and position.
    category_versions: Mapping[tuple[str, int], Row]
    named: Named
    # Why nothing can be made of what the page's only event tells of, if so.
    unreadable: str
    # Set where the page does not begin right behind the one before: what was pruned meanwhile, if that is why.
    checkpoint: Row | None
    first_position: int | None


class LogCheck:
    """One walk along a ledger's log, from the last pruned event up to a position."""

    def __init__(self, pool: Pool, ledger_id: int, start: Row, known: KnownDigest | None) -> None:
        self._pool = pool
        self._ledger_id = ledger_id
        self._last_position: int = start["position"]
        self._known = known
        self._kept_since: datetime = start["now"] - KEPT_FOR
        # A page has one event at least.
        self._page_bytes = PAGE_BYTES_MAX
        self.time: datetime | None = None
        # The time of the newest event, if it deleted the ledger.
        self.deleted_at: datetime | None = None
        self.checkpoint_position: int = start["checkpoint_position"]
        self.position: int = start["checkpoint_position"]
        self.digest: bytes = start["checkpoint_digest"]

    async def walk(self) -> AsyncIterator[tuple[int, list[Finding]]]:
        """Pages: how many events, and what is wrong with them. Raises PositionPruned if what is known is gone."""
        yield 0, list(self._compare_with_known())
        while self.position < self._last_position:
            try:
                page = await bite(self._pool, self._read)
            except BiteTooLargeError:
                if self._page_bytes == 1:
                    raise
                self._page_bytes = max(self._page_bytes // 8, 1)
                continue
            self._page_bytes = min(2 * self._page_bytes, PAGE_BYTES_MAX)
            if page.first_position != self.position + 1:
                finding = self._jump(page)
                yield 0, [finding] if finding else []
                continue
            yield len(page.rows), [finding for n in range(len(page.rows)) for finding in self._judge(page, n)]

    async def _read(self, connection: Connection) -> _Page:
        ledger_id, after = self._ledger_id, self.position
        rows = await connection.fetch(sql.read_chain, ledger_id, after, self._last_position, self._page_bytes)
        if rows and rows[0]["position"] == after + 1:
            # Up to the first hole.
            rows = [row for n, row in enumerate(rows, start=after + 1) if row["position"] == n]
        else:
            checkpoint = await connection.fetchrow(sql.read_checkpoint, ledger_id)
            first = rows[0]["position"] if rows else None
            return _Page([], [], {}, {}, NOTHING_NAMED, "", checkpoint, first)
        events = list(map(_read_event, rows))
        try:
            return _Page(
                rows,
                events,
                await _find_versions(connection, ledger_id, events),
                await _find_category_versions(connection, ledger_id, events),
                await find_named(connection, ledger_id, events),
                "",
                None,
                after + 1,
            )
        except UNREADABLE as error:
            if len(rows) > 1:
                raise BiteTooLargeError from error
            return _Page(rows, events, {}, {}, NOTHING_NAMED, str(error), None, after + 1)

    def _jump(self, page: _Page) -> Finding | None:
        """Over a hole, to where the log goes on: behind what was pruned meanwhile, or else it is a finding."""
        pruned = page.checkpoint
        if pruned is not None and pruned["position"] > self.position:
            self.checkpoint_position = self.position = pruned["position"]
            self.digest = pruned["digest"]
            self._refuse_if_known_is_pruned()
            return None
        missing, self.time = self.position + 1, None
        # What stood in the hole cannot be known: the chain is taken up again behind it.
        self.digest = b""
        self.position = (page.first_position or self._last_position + 1) - 1
        found = f"{page.first_position} is next" if page.first_position else ""
        return Finding("events", {"position": str(missing)}, "an event of this position", str(missing), found)

    def _judge(self, page: _Page, n: int) -> Iterator[Finding]:
        row, event = page.rows[n], page.events[n]
        position: int = row["position"]
        time, key = finite(row["time"]), {"position": str(position)}
        digest = chain(self.digest, time, row["payload"]) if self.digest else row["digest"]
        if row["digest"] != digest:
            yield Finding(
                "events",
                key,
                _DIGEST_PROBLEM,
                digest.hex(),
                row["digest"].hex(),
            )
        if self.time is not None and time < self.time:
            yield Finding("events", key, "time", f"{self.time} or later", str(row["time"]))
        if not event.position:
            yield Finding("events", key, "a payload that can be read", "", row["payload"].hex())
        elif page.unreadable:
            yield Finding("events", key, "what it tells of, as it can be read", "", page.unreadable)
        else:
            yield from judge_named(event, time, self._kept_since, page.named)
            yield from _judge_changes(key, position, event, page)
        self.deleted_at = time if event.kind == EventKind.EVENT_KIND_LEDGER_DELETED else None
        # Not the computed one: what follows a break is judged by itself, so that only the broken row is named.
        self.digest, self.position, self.time = row["digest"], position, time
        yield from self._compare_with_known()

    def _compare_with_known(self) -> Iterator[Finding]:
        known = self._known
        self._refuse_if_known_is_pruned()
        if known is not None and known.position == self.position and known.digest != self.digest:
            table = "events" if self.position > self.checkpoint_position else "log_checkpoints"
            key = {"position": str(self.position)}
            yield Finding(table, key, "digest, by the one that was kept", known.digest.hex(), self.digest.hex())

    def _refuse_if_known_is_pruned(self) -> None:
        if self._known is not None and self._known.position < self.checkpoint_position == self.position:
            raise PositionPruned(
                f"the events up to position {self.checkpoint_position} are pruned, so a digest of position "
                f"{self._known.position} tells nothing any more",
                metadata={"oldest_position": str(self.checkpoint_position + 1)},
            )


def _read_event(row: Row) -> Event:
    """An event as subscribers get it; an empty one if it cannot be read."""
    try:
        event = Event.FromString(unpack(row["position"], finite(row["time"]), row["payload"]))
    except (ValueError, TypeError, DecodeError):
        return Event()
    return event if can_be_looked_for(event) else Event()


async def _find_versions(
    connection: Connection, ledger_id: int, events: Iterable[Event]
) -> Mapping[tuple[str, int], Row]:
    told = [
        (change.account_id, str(change.lock_version))
        for event in events
        for change in event.changes
        if change.account_id
    ]
    if not told:
        return {}
    rows = await connection.fetch(sql.load_account_versions, ledger_id, *map(list, zip(*told, strict=True)))
    return {(row["account_id"], row["lock_version"]): row for row in rows}


async def _find_category_versions(
    connection: Connection, ledger_id: int, events: Iterable[Event]
) -> Mapping[tuple[str, int], Row]:
    told = [
        (change.category_id, str(event.position)) for event in events for change in event.changes if change.category_id
    ]
    if not told:
        return {}
    rows = await connection.fetch(sql.load_category_versions, ledger_id, *map(list, zip(*told, strict=True)))
    return {(row["category_id"], row["position"]): row for row in rows}


def _judge_changes(key: Mapping[str, str], position: int, event: Event, page: _Page) -> Iterable[Finding]:
    """What an event tells of accounts and categories, held against their versions."""
    told = [(change.category_id, change.account_id) for change in event.changes]
    in_order = sorted(set(told))
    if told != in_order:
        words = [", ".join(account_id or category_id for category_id, account_id in each) for each in (in_order, told)]
        yield Finding("events", key, "its accounts and categories, each once and in order", *words)
    for change in event.changes:
        if change.category_id:
            yield from _judge_category(key, position, change, page.category_versions)
            continue
        name = f"version {change.lock_version} of account {change.account_id}"
        row = page.versions.get((change.account_id, change.lock_version))
        if row is None:
            yield Finding("events", key, "the version that it tells of", name, "")
            continue
        if (row["position"], row["transaction_id"]) != (position, event.transaction_id):
            yield Finding(
                "events",
                key,
                f"who wrote {name}",
                f"{event.transaction_id} at {position}",
                f"{row['transaction_id']} at {row['position']}",
            )
        for is_before, version in ((True, change.lock_version - 1), (False, change.lock_version)):
            told_of = {"account_id": change.account_id, "lock_version": str(version)}
            yield from _judge_balances("account_versions", told_of, position, change, row, is_before=is_before)


def _judge_category(
    key: Mapping[str, str], position: int, change: BalanceChange, versions: Mapping[tuple[str, int], Row]
) -> Iterable[Finding]:
    row = versions.get((change.category_id, position))
    if row is None:
        name = f"version of category {change.category_id} at {position}"
        yield Finding("events", key, "the version that it tells of", name, "")
        return
    told_of = {"category_id": change.category_id, "position": str(position)}
    for is_before in (True, False):
        yield from _judge_balances("category_versions", told_of, position, change, row, is_before=is_before)


def _judge_balances(
    table: str, key: Mapping[str, str], position: int, change: BalanceChange, row: Row, *, is_before: bool
) -> Iterable[Finding]:
    """The balances before or after, held against the counters of the version."""
    balances, prefix = (change.before, "before_") if is_before else (change.after, "")
    counters = Counters(
        row[f"{prefix}posted_debits"],
        row[f"{prefix}posted_credits"],
        row[f"{prefix}pending_debits"],
        row[f"{prefix}pending_credits"],
    )
    normal_balance = NormalBalance(row["normal_balance"])
    by_tables = encode_balances(normal_balance, row["currency"], row["currency_exponent"], counters)
    if balances.SerializeToString() != by_tables:
        yield Finding(
            table,
            key,
            f"balances, by event {position}",
            _in_words(balances),
            _in_words(Balances.FromString(by_tables)),
        )


def _in_words(balances: Balances) -> str:
    return " ".join(str(balances).split())
