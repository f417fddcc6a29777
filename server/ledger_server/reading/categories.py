"""Reading categories with their balances: one row each, whatever is under them.

By effective time alone the accounts under one are gone through, in parts, each a short snapshot, all at one position.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from ledger_server.domain.errors import PositionPruned
from ledger_server.domain.ids import NIL_ID
from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import CategoryVersion
from ledger_server.domain.money import Counters
from ledger_server.domain.refusals import accounts_not_found, categories_not_found
from ledger_server.reading.balances import PART_ACCOUNTS, balances_as_of
from ledger_server.reading.metadata import path_of, pattern_of
from ledger_server.reading.page_tokens import LOWEST, Key, from_token
from ledger_server.reading.paging import SCAN_SECONDS
from ledger_server.reading.queries import NOW, AsOf, CategoryQuery
from ledger_server.reading.results import Page, Read
from ledger_server.reading.snapshots import Snapshot, SnapshotFrom
from ledger_server.reading.ways import Walk, Way, balance_columns, choose, found_by, page_along, positions_literal
from ledger_server.storage import sql
from ledger_server.storage.rows import Row, category_version_from

# After so long a page by effective time takes no further category.
PAGE_SECONDS = 1.0


async def get_category(at: Snapshot, category: Ref) -> CategoryVersion:
    """The category as it stands, or CategoryNotFound."""
    category_id = category.id
    if category.external_id is not None:
        category_id = await at.connection.fetchval(sql.find_category, at.ledger_id, category.external_id)
    rows = await at.connection.fetch(sql.load_categories, at.ledger_id, [category_id])
    if not rows:
        raise categories_not_found([category])
    return category_version_from(rows[0])


async def get_category_as_of(
    snapshot_from: SnapshotFrom, category: Ref, as_of: AsOf, min_position: int | None
) -> Read[CategoryVersion]:
    """The category as it stands, with its balances as of some time; `snapshot_from` gives one at a position or later.

    Raises CategoryNotFound, PositionInFuture, and PositionPruned if the log does not reach back to `known_at`.
    """
    async with snapshot_from(min_position) as at:
        category_id = (await get_category(at, category)).category.id
        known = await _known(at, as_of)
        (version,) = await _then(at, [category_id], known)
        answer = at.read(version)
    return answer._replace(value=await _within(snapshot_from, version, known, answer.position))


async def _then(at: Snapshot, category_ids: list[str], known: AsOf) -> list[CategoryVersion]:
    """These categories, in their order, with what they counted at a position."""
    rows = await at.connection.fetch(sql.load_categories_at, at.ledger_id, category_ids, known.position)
    versions = {row["category_id"]: category_version_from(row) for row in rows}
    return [versions[category_id] for category_id in category_ids]


async def _within(snapshot_from: SnapshotFrom, version: CategoryVersion, known: AsOf, position: int) -> CategoryVersion:
    """A category as it counted at a position, with what of that is in an effective window, if one is asked for.

    `position` is one that the ledger has reached.
    """
    if known.effective_from is None and known.effective_before is None:
        return version
    async with snapshot_from(position) as at:
        under = [version.category.id]
        rows = await at.connection.fetch(sql.list_categories_under_at, at.ledger_id, under, known.position)
    counters = await _sum(snapshot_from, [row["category_id"] for row in rows], known, position)
    return replace(version, counters=counters)


async def _known(at: Snapshot, as_of: AsOf) -> AsOf:
    """The same question, with the position that says what was known."""
    return AsOf(as_of.effective_from, as_of.effective_before, position=await _position(at, as_of))


async def _position(at: Snapshot, as_of: AsOf) -> int:
    """The position that says what was known."""
    if as_of.known_at is not None:
        position: int | None = await at.connection.fetchval(sql.find_position_at, at.ledger_id, as_of.known_at)
        if position is None:
            oldest = await at.connection.fetchval(sql.read_oldest_position, at.ledger_id)
            raise PositionPruned(
                "the log that tells what was known at that time is pruned; give as_of_position",
                metadata={"oldest_position": str(at.position + 1 if oldest is None else oldest)},
            )
        return position
    at.refuse_future(as_of.position)
    return at.position if as_of.position is None else as_of.position


async def _sum(snapshot_from: SnapshotFrom, category_ids: list[str], as_of: AsOf, position: int) -> Counters:
    """What the accounts add up to that were in these categories at the position of `as_of`, each counted once.

    `position` is one that the ledger has reached.
    """
    total = Counters()
    after = (NIL_ID, NIL_ID)
    while True:
        async with snapshot_from(position) as at:
            give_up_at = time.monotonic() + SCAN_SECONDS
            while time.monotonic() < give_up_at:
                rows = await at.connection.fetch(
                    sql.list_members_at, at.ledger_id, category_ids, as_of.position, *after, PART_ACCOUNTS
                )
                known = await balances_as_of(at, [row["account_id"] for row in rows if row["is_first"]], as_of)
                for balance in known.values():
                    total = total.plus(balance.counters)
                if len(rows) < PART_ACCOUNTS:
                    return total
                after = (rows[-1]["category_id"], rows[-1]["account_id"])


async def categories_under(at: Snapshot, category_id: str) -> list[str]:
    """The category and all that are nested under it, or CategoryNotFound."""
    rows = await at.connection.fetch(sql.list_categories_under_at, at.ledger_id, [category_id], at.position)
    if not rows:
        raise categories_not_found([Ref(category_id, None)])
    return [row["category_id"] for row in rows]


async def categories_by_id(at: Snapshot, category_ids: Iterable[str]) -> dict[str, CategoryVersion]:
    """Those of the categories that exist."""
    rows = await at.connection.fetch(sql.load_categories, at.ledger_id, sorted(set(category_ids)))
    return {row["category_id"]: category_version_from(row) for row in rows}


async def list_categories_as_of(snapshot_from: SnapshotFrom, query: CategoryQuery) -> Page[CategoryVersion]:
    """A page of the ledger's categories, with their balances as of some time; `snapshot_from` as above.

    By effective time a page ends early, behind its first category, when it has taken long enough.
    """
    async with snapshot_from(query.min_position) as at:
        page = await list_categories(at, query)
        if query.as_of == NOW:
            return page
        known = await _known(at, query.as_of)
        versions = await _then(at, [each.category.id for each in page.items], known)
    give_up_at = time.monotonic() + PAGE_SECONDS
    read: list[CategoryVersion] = []
    while len(read) < len(versions) and not (read and time.monotonic() > give_up_at):
        read.append(await _within(snapshot_from, versions[len(read)], known, page.position))
    if len(read) == len(versions):
        return page._replace(items=read)
    last_position = read[-1].category.created_position
    return at.page(query, read, Key.at(last_position, last_position))


async def list_categories(at: Snapshot, query: CategoryQuery) -> Page[CategoryVersion]:
    """A page of the ledger's categories, by the most selective way to them. Keyed by created_position.

    Raises CategoryNotFound and AccountNotFound, of a parent or a member that is asked for.
    """
    named = await _named(at, query)
    ways: list[Way] = [] if named is None else [found_by(sql.find_categories_by_id, named)]
    if query.currency is not None:
        ways.append(Walk(sql.walk_categories_by_currency, (query.currency,)))
    if query.normal_balance is not None:
        ways.append(Walk(sql.walk_categories_by_normal_balance, (int(query.normal_balance),)))
    way = await choose(at, ways, Walk(sql.walk_categories_by_creation), descending=False)
    filters = _filters(query, named)

    async def read(positions: Iterable[int], after: Key, _: int, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.filter_categories, at.ledger_id, positions_literal(positions), after.number, count, *filters
        )

    found = await page_along(
        at,
        way,
        read,
        _key,
        size=query.page_size,
        start=from_token(query, LOWEST),
        descending=False,
        is_created_order=True,
    )
    return at.page(query, [category_version_from(row) for row in found.rows], found.key)


async def _named(at: Snapshot, query: CategoryQuery) -> list[str] | None:
    """The ids of those that are possible by what is asked for besides their own fields; None for all."""
    named: list[frozenset[str]] = []
    if query.ids:
        named.append(query.ids)
    if query.external_id is not None:
        rows = await at.connection.fetch(sql.find_category, at.ledger_id, query.external_id)
        named.append(frozenset(row["category_id"] for row in rows))
    if query.parent_category_id is not None:
        await get_category(at, Ref(query.parent_category_id, None))
        rows = await at.connection.fetch(sql.list_categories_in, at.ledger_id, query.parent_category_id)
        named.append(frozenset(row["category_id"] for row in rows))
    if query.member_category_id is not None:
        await get_category(at, Ref(query.member_category_id, None))
        rows = await at.connection.fetch(sql.list_categories_with, at.ledger_id, query.member_category_id)
        named.append(frozenset(row["category_id"] for row in rows))
    if query.account_id is not None:
        if not await at.connection.fetch(sql.load_accounts, at.ledger_id, [query.account_id]):
            raise accounts_not_found([Ref(query.account_id, None)])
        rows = await at.connection.fetch(sql.load_categories_above, at.ledger_id, [query.account_id], [], [])
        named.append(frozenset(row["category_id"] for row in rows))
    return sorted(frozenset.intersection(*named)) if named else None


def _filters(query: CategoryQuery, named: list[str] | None) -> tuple[object, ...]:
    """What filter_categories.sql takes from $5 on."""
    return (
        named,
        [pattern_of(name) for name in query.names] or None,
        query.currency,
        query.normal_balance,
        query.external_id,
        dict(query.metadata) or None,
        *path_of(query.metadata_terms),
        *balance_columns(query.balances),
    )


def _key(row: Row) -> Key:
    return Key.at(row["created_position"], row["created_position"])
