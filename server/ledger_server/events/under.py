"""Balances of what is watched as they stood at a position: accounts, categories, and the accounts under them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import NamedTuple

from ledger_server.domain.ids import NIL_ID
from ledger_server.domain.model import AccountVersion, CategoryVersion
from ledger_server.events.log import answering
from ledger_server.events.messages import Joining
from ledger_server.events.snapshot import PART_MAX, load_part_at, read_balances_at, read_ids_at
from ledger_server.events.subscription import Watch
from ledger_server.storage import sql
from ledger_server.storage.pool import Pool
from ledger_server.storage.rows import category_version_from


class Part(NamedTuple):
    """A part of a snapshot."""

    accounts: Sequence[AccountVersion] = ()
    categories: Sequence[CategoryVersion] = ()


async def read_watched_at(pool: Pool, watch: Watch, position: int) -> AsyncIterator[Part]:
    """The balances of all that is watched at a position, in parts; whatever is watched is in one of them."""
    ledger_id = watch.ledger_id
    async for categories in _read_categories_at(pool, watch, position):
        yield Part(categories=categories)
    if watch.account_ids or not watch.category_ids:
        async for accounts in read_balances_at(pool, ledger_id, watch.account_ids, position):
            yield Part(accounts)
    if watch.category_ids:
        async for accounts in _read_under_at(pool, ledger_id, watch.category_ids, position, but=watch.account_ids):
            yield Part(accounts)


async def _read_categories_at(pool: Pool, watch: Watch, position: int) -> AsyncIterator[list[CategoryVersion]]:
    """The balances of the watched categories at a position, those of all if the whole ledger is watched, in parts."""
    if watch.category_ids:
        yield await _load_categories_at(pool, watch.ledger_id, watch.category_ids, position)
    elif not watch.account_ids:
        async for ids in read_ids_at(pool, sql.list_category_ids_at, watch.ledger_id, position):
            yield await _load_categories_at(pool, watch.ledger_id, ids, position)


async def _load_categories_at(
    pool: Pool, ledger_id: int, category_ids: Collection[str], position: int
) -> list[CategoryVersion]:
    async with answering(pool) as connection:
        rows = await connection.fetch(sql.load_categories_at, ledger_id, list(category_ids), position)
    return [category_version_from(row) for row in rows]


async def _read_under_at(
    pool: Pool, ledger_id: int, category_ids: Collection[str], position: int, *, but: Collection[str] = ()
) -> AsyncIterator[list[AccountVersion]]:
    """The balances of the accounts under these categories at a position, but for some, each once, in parts.

    An account comes with the first category that it is directly in. A part of which nothing is left is empty: between
    parts others have their turn.
    """
    async with answering(pool) as connection:
        rows = await connection.fetch(sql.list_categories_under_at, ledger_id, list(category_ids), position)
    under = [row["category_id"] for row in rows]
    after: tuple[str, str] | None = (NIL_ID, NIL_ID)
    while after is not None:
        async with answering(pool) as connection:
            page = await connection.fetch(sql.list_members_at, ledger_id, under, position, *after, PART_MAX)
        ids = [row["account_id"] for row in page if row["is_first"] and row["account_id"] not in but]
        if page:
            yield await load_part_at(pool, ledger_id, ids, position) if ids else []
        after = (page[-1]["category_id"], page[-1]["account_id"]) if len(page) == PART_MAX else None


async def read_joining(pool: Pool, ledger_id: int, joining: Joining) -> AsyncIterator[Part]:
    """The accounts that join, with their balances just before, which joining does not move, in parts."""
    if joining.account is not None:
        yield Part([joining.account])
        return
    async for accounts in _read_under_at(pool, ledger_id, [joining.category_id], joining.position):
        yield Part(accounts)
