"""Reading categories with their balances: one row each, whatever is under them."""

from __future__ import annotations

from collections.abc import Iterable

from ledger_server.domain.errors import PositionInFuture
from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import CategoryVersion
from ledger_server.domain.refusals import categories_not_found
from ledger_server.reading.page_tokens import LOWEST, NUMBER_MAX, Key, from_token
from ledger_server.reading.paging import BITE_ROWS, Found, all_at_once, fill
from ledger_server.reading.queries import CategoryQuery
from ledger_server.reading.results import Page
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage import sql
from ledger_server.storage.rows import Row, category_version_from


async def get_category(at: Snapshot, category: Ref, as_of_position: int | None) -> CategoryVersion:
    """The category as it stands, with its balances at a position; CategoryNotFound, PositionInFuture."""
    category_id = category.id
    if category.external_id is not None:
        category_id = await at.connection.fetchval(sql.find_category, at.ledger_id, category.external_id)
    position = at.position if as_of_position is None else as_of_position
    rows = await at.connection.fetch(sql.load_categories_at, at.ledger_id, [category_id], position)
    if not rows:
        raise categories_not_found([category])
    if position > at.position:
        raise PositionInFuture(f"the ledger is at position {at.position}", metadata={"position": str(at.position)})
    return category_version_from(rows[0])


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


async def list_categories(at: Snapshot, query: CategoryQuery) -> Page[CategoryVersion]:
    """A page of the ledger's categories. Keyed by created_position."""
    start = from_token(query, LOWEST)
    chosen = await _chosen(at, query)
    found = await (_by_filters(at, query, start) if chosen is None else _of_chosen(at, query, start, chosen))
    return at.page(query, [category_version_from(row) for row in found.rows], found.key)


async def _chosen(at: Snapshot, query: CategoryQuery) -> set[str] | None:
    """The few categories that are possible; None where the filters do not say."""
    sets: list[set[str]] = []
    if query.category_ids:
        sets.append(set(query.category_ids))
    if query.external_id is not None:
        rows = await at.connection.fetch(sql.find_category, at.ledger_id, query.external_id)
        sets.append({row["category_id"] for row in rows})
    if query.parent_category_id is not None:
        rows = await at.connection.fetch(sql.list_categories_in, at.ledger_id, query.parent_category_id)
        sets.append({row["category_id"] for row in rows})
    if query.account_id is not None:
        rows = await at.connection.fetch(sql.load_categories_above, at.ledger_id, [query.account_id], [], [])
        sets.append({row["category_id"] for row in rows})
    return set.intersection(*sets) if sets else None


async def _of_chosen(at: Snapshot, query: CategoryQuery, start: Key, chosen: set[str]) -> Found:
    async def read(after: Key, _: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.filter_chosen_categories, at.ledger_id, sorted(chosen), after.number, *_filters(query), count
        )

    return await fill(query.page_size, start, all_at_once, read, _key)


async def _by_filters(at: Snapshot, query: CategoryQuery, start: Key) -> Found:
    async def bite(after: Key) -> Key | None:
        position = await at.connection.fetchval(sql.bite_of_categories, at.ledger_id, after.number, BITE_ROWS)
        return None if position is None else Key(position)

    async def read(after: Key, last: Key | None, count: int) -> list[Row]:
        end = NUMBER_MAX if last is None else last.number
        return await at.connection.fetch(
            sql.filter_categories, at.ledger_id, after.number, end, *_filters(query), count
        )

    return await fill(query.page_size, start, bite, read, _key)


def _filters(query: CategoryQuery) -> tuple[object, ...]:
    return (query.currency, query.normal_balance, query.external_id, query.name, dict(query.metadata))


def _key(row: Row) -> Key:
    return Key(row["created_position"])
