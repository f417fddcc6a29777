"""Streams of categories: which accounts' changes they carry, and who joins.

An event names the categories that it moves, or whose accounts it changes, so whoever watches a category gets every
event that may concern it. Which of its accounts are under the category is looked up here, page by page: memberships are
dated, so a stream that is resumed is filtered as the first one was, and nobody's million accounts are held in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from ledger_client.v1.streams_pb2 import Event
from ledger_server.domain.ids import NIL_ID
from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import MONITOR_KINDS, AccountVersion, CategoryVersion
from ledger_server.domain.refusals import categories_not_found
from ledger_server.events.log import answering
from ledger_server.events.messages import Delivery
from ledger_server.events.snapshot import PART_ACCOUNTS_MAX, load_balances_at, read_balances_at
from ledger_server.events.subscription import JOINING_KINDS, Watch
from ledger_server.storage import sql
from ledger_server.storage.pool import Pool
from ledger_server.storage.rows import category_version_from


async def read_categories_at(
    pool: Pool, ledger_id: str, category_ids: Iterable[str], position: int
) -> list[CategoryVersion]:
    """The balances of these categories at a position; CategoryNotFound."""
    wanted = sorted(category_ids)
    async with answering(pool) as connection:
        rows = await connection.fetch(sql.load_categories_at, ledger_id, wanted, position)
    found = [category_version_from(row) for row in rows]
    if missing := set(wanted) - {version.category.id for version in found}:
        raise categories_not_found([Ref(category_id, None) for category_id in sorted(missing)])
    return found


async def read_balances_under_at(
    pool: Pool, ledger_id: str, category_ids: Iterable[str], position: int, balances_position: int
) -> AsyncIterator[list[AccountVersion]]:
    """The accounts under these categories at a position, with their balances at another, in parts.

    One that is in several of them comes as often.
    """
    async with answering(pool) as connection:
        rows = await connection.fetch(sql.list_categories_under_at, ledger_id, list(category_ids), position)
    for row in rows:
        last_id: str | None = NIL_ID
        while last_id is not None:
            async with answering(pool) as connection:
                page = await connection.fetch(
                    sql.list_account_ids_in_at, ledger_id, row["category_id"], last_id, position, PART_ACCOUNTS_MAX
                )
            ids = [each["account_id"] for each in page]
            if ids:
                yield await load_balances_at(pool, ledger_id, ids, balances_position)
            last_id = ids[-1] if len(ids) == PART_ACCOUNTS_MAX else None


async def read_watched_at(pool: Pool, watch: Watch, position: int) -> AsyncIterator[list[AccountVersion]]:
    """The balances of all accounts that are watched, themselves or under a category, at a position, in parts."""
    if watch.account_ids or not watch.category_ids:
        async for part in read_balances_at(pool, watch.ledger_id, watch.account_ids, position):
            yield part
    if watch.category_ids:
        async for part in read_balances_under_at(pool, watch.ledger_id, watch.category_ids, position, position):
            yield part


async def read_passing(pool: Pool, watch: Watch, deliveries: Sequence[Delivery]) -> list[tuple[Event, Delivery]]:
    """Whole events, each also with only the changes that pass the filter; nothing where none do, unless a monitor that
    was asked for speaks, and nothing of one that is here only because accounts join by it.
    """
    events = [Event.FromString(delivery.event) for delivery in deliveries]
    asked = [
        (change.account_id, str(event.position)) for event in events for change in event.changes if change.account_id
    ]
    rows = []
    if asked:
        async with answering(pool) as connection:
            rows = await connection.fetch(
                sql.find_accounts_under, watch.ledger_id, list(watch.category_ids), *map(list, zip(*asked, strict=True))
            )
    under = {(row["account_id"], row["position"]) for row in rows}
    passing = []
    for event, delivery in zip(events, deliveries, strict=True):
        changes = [
            change
            for change in event.changes
            if change.category_id in watch.category_ids
            or change.account_id in watch.account_ids
            or (change.account_id, event.position) in under
        ]
        selected = Event()
        selected.CopyFrom(event)
        del selected.changes[:]
        selected.changes.extend(changes)
        is_asked_for = (not watch.kinds or event.kind in watch.kinds) and (
            not watch.transaction_metadata or event.transaction_id
        )
        is_told = is_asked_for and (changes or (watch.kinds and event.kind in MONITOR_KINDS))
        passing.append((event, delivery._replace(event=selected.SerializeToString() if is_told else b"")))
    return passing


def joins(watch: Watch, event: Event) -> bool:
    """Whether accounts come under a watched category by this event."""
    return event.kind in JOINING_KINDS and not watch.category_ids.isdisjoint(event.joined_or_left_category_ids)


async def read_joining(pool: Pool, watch: Watch, event: Event) -> AsyncIterator[list[AccountVersion]]:
    """The accounts that join, with their balances just before, which joining does not move."""
    if event.member_category_id:
        members = [event.member_category_id]
        async for part in read_balances_under_at(pool, watch.ledger_id, members, event.position, event.position):
            yield part
        return
    account_id = event.member_account_id or event.account_id
    yield await load_balances_at(pool, watch.ledger_id, [account_id], event.position)
