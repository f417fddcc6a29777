"""What must be there because events name it: the transaction written there, linked as the kind of the event says, the
outcome of the request, the account or category, deleted if the event says so, the member that came into a category or
left it, the monitor in no older state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from ledger_client.v1.streams_pb2 import Event, EventKind
from ledger_server.auditing.findings import Finding
from ledger_server.domain.ids import NIL_ID, is_canonical_id
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection
from ledger_server.storage.rows import Row

# Younger outcomes of requests are never pruned: their retention is a week at least, by a clock that may be put right.
KEPT_FOR = timedelta(days=6)

_MEMBER_KINDS = {EventKind.EVENT_KIND_CATEGORY_MEMBER_ADDED: True, EventKind.EVENT_KIND_CATEGORY_MEMBER_REMOVED: False}

_CREATIONS = (EventKind.EVENT_KIND_ACCOUNT_CREATED, EventKind.EVENT_KIND_CATEGORY_CREATED)
_DELETIONS = (EventKind.EVENT_KIND_ACCOUNT_DELETED, EventKind.EVENT_KIND_CATEGORY_DELETED)
# What a new transaction is linked by, by the kind of the event that tells of it; by nothing else.
_LINKS = {
    EventKind.EVENT_KIND_TRANSACTION_CREATED: "",
    EventKind.EVENT_KIND_TRANSACTION_PARTIALLY_POSTED: "partially_posts_id",
    EventKind.EVENT_KIND_TRANSACTION_REVERSED: "reverses_id",
}


class Named(NamedTuple):
    """What there is of what a page of events names."""

    # By position, the links of the transaction that was written there.
    written: Mapping[int, Row]
    request_ids: set[str]
    # Accounts and categories, by id.
    subjects: Mapping[str, Row]
    # Positions at which a member came into a category, or left it, and whether it came.
    memberships: set[tuple[int, str, bool]]
    # By id.
    monitors: Mapping[str, Row]


NOTHING_NAMED = Named({}, set(), {}, set(), {})


def can_be_looked_for(event: Event) -> bool:
    """Whether ids are ids and names are names; the database takes nothing else."""
    ids = [event.transaction_id, event.account_id, event.category_id]
    ids += [change.account_id or change.category_id for change in event.changes]
    ids += [id_ for category_id, member_id, _ in _memberships(event) for id_ in (category_id, member_id)]
    if event.HasField("monitor"):
        ids.append(event.monitor.id)
    return all(id_ == "" or is_canonical_id(id_) for id_ in ids) and "\0" not in event.request_id


async def find_named(connection: Connection, ledger_id: int, events: Sequence[Event]) -> Named:
    """Looks for it all, a statement for each kind of thing that is named at all."""
    written, request_ids, subject_ids, members, monitor_ids = [], set(), set(), [], set()
    for event in events:
        if event.transaction_id:
            written.append((event.transaction_id, str(event.position)))
        if event.request_id:
            request_ids.add(event.request_id)
        if subject_id := event.account_id or event.category_id:
            subject_ids.add(subject_id)
        for category_id, member_id, _ in _memberships(event):
            members.append((category_id or NIL_ID, member_id or NIL_ID, str(event.position)))
        if event.HasField("monitor"):
            monitor_ids.add(event.monitor.id or NIL_ID)

    async def fetch(statement: str, columns: Iterable[Sequence[str]]) -> list[Row]:
        lists = [list(column) for column in columns]
        return await connection.fetch(statement, ledger_id, *lists) if lists and lists[0] else []

    return Named(
        {row["position"]: row for row in await fetch(sql.find_written_versions, zip(*written, strict=True))},
        {row["request_id"] for row in await fetch(sql.find_kept_requests, [sorted(request_ids)])},
        {row["id"]: row for row in await fetch(sql.find_named_subjects, [sorted(subject_ids)])},
        {
            (row["position"], row["category_id"], row["joined"])
            for row in await fetch(sql.find_membership_ends, zip(*members, strict=True))
        },
        {row["monitor_id"]: row for row in await fetch(sql.find_monitor_states, [sorted(monitor_ids)])},
    )


def judge_named(event: Event, time: datetime, kept_since: datetime, named: Named) -> Iterator[Finding]:
    """What is not there, or not as it is named. Outcomes of requests from before `kept_since` may have been pruned."""
    key, position = {"position": str(event.position)}, event.position
    if event.transaction_id and event.kind != EventKind.EVENT_KIND_ENTRY_UPDATED:
        yield from _judge_written(key, event, named.written.get(position))
    if event.request_id and time >= kept_since and event.request_id not in named.request_ids:
        yield Finding("events", key, "the outcome of the request that it names", event.request_id, "")
    if subject_id := event.account_id or event.category_id:
        yield from _judge_subject(key, event, time, named.subjects.get(subject_id))
    for category_id, member_id, came in _memberships(event):
        if (position, category_id, came) not in named.memberships:
            name = f"{member_id} {'came into' if came else 'left'} {category_id}"
            yield Finding("events", key, "the membership that it names", name, "")
    if event.HasField("monitor"):
        yield from _judge_monitor(key, event, named.monitors.get(event.monitor.id))


def _judge_written(key: Mapping[str, str], event: Event, row: Row | None) -> Iterator[Finding]:
    """Without its link a reversal could be done again. Later versions are held to the links of the first."""
    if row is None:
        yield Finding("events", key, "the transaction that it names", f"{event.transaction_id} at {event.position}", "")
    elif event.kind in _LINKS:
        for column in ("reverses_id", "partially_posts_id"):
            expected, found = _LINKS[event.kind] == column, row[column]
            if expected != (found is not None):
                transaction_key = {"transaction_id": event.transaction_id}
                words = "a transaction" if expected else ""
                yield Finding(
                    "transactions", transaction_key, f"{column}, by event {event.position}", words, found or ""
                )


def _judge_subject(key: Mapping[str, str], event: Event, time: datetime, row: Row | None) -> Iterator[Finding]:
    """What was deleted stays as a row that says when."""
    if row is None:
        yield Finding("events", key, "the account or category that it names", event.account_id or event.category_id, "")
    elif event.kind in _DELETIONS and row["deleted_at"] != time:
        table, column = ("accounts", "account_id") if event.account_id else ("categories", "category_id")
        problem = f"deleted_at, by event {event.position}"
        yield Finding(table, {column: row["id"]}, problem, str(time), str(row["deleted_at"] or ""))


def _memberships(event: Event) -> list[tuple[str, str, bool]]:
    """The categories that something came into or left, what it was, and whether it came."""
    if event.kind in _CREATIONS:
        member_id = event.account_id or event.category_id
        return [(category_id, member_id, True) for category_id in event.parent_category_ids]
    came, member_id = _MEMBER_KINDS.get(event.kind), event.member_account_id or event.member_category_id
    # Nobody is named where one came that was there already.
    return [(event.category_id, member_id, came)] if came is not None and member_id else []


def _judge_monitor(key: Mapping[str, str], event: Event, row: Row | None) -> Iterable[Finding]:
    """The row may be newer than the event, never older."""
    told, position = event.monitor, event.position
    if row is None:
        yield Finding("events", key, "the monitor that it tells of", told.id, "")
        return
    monitor_key = {"monitor_id": told.id}
    if event.kind == EventKind.EVENT_KIND_MONITOR_DELETED and row["deleted_position"] is None:
        yield Finding("monitors", monitor_key, f"deleted, by event {position}", "deleted", "")
    since, triggered = row["since_position"], row["triggered"]
    if since < told.since_position or (since == told.since_position and triggered != told.triggered):
        words = [
            f"{'triggered' if is_triggered else 'resolved'} since {at}"
            for is_triggered, at in ((told.triggered, told.since_position), (triggered, since))
        ]
        yield Finding("monitors", monitor_key, f"state, by event {position}", *words)
