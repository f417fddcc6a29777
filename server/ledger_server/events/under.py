"""Balances of categories and of the accounts under them, as they stood at a position, for who watches categories."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from ledger_server.domain.ids import NIL_ID
from ledger_server.domain.model import AccountVersion, CategoryVersion
from ledger_server.events.log import answering
from ledger_server.events.messages import Joining
from ledger_server.events.snapshot import PART_ACCOUNTS_MAX, load_part_at, read_balances_at
from ledger_server.events.subscription import Watch
from ledger_server.storage import sql
from ledger_server.storage.pool import Pool
from ledger_server.storage.rows import category_version_from


async def read_categories_at(
    pool: Pool, ledger_id: str, category_ids: Iterable[str], position: int
) -> list[CategoryVersion]:
    """The balances of these categories at a position."""
    async with answering(pool) as connection:
        rows = await connection.fetch(sql.load_categories_at, ledger_id, list(category_ids), position)
    return [category_version_from(row) for row in rows]


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
                yield await load_part_at(pool, ledger_id, ids, balances_position)
            last_id = ids[-1] if len(ids) == PART_ACCOUNTS_MAX else None


async def read_watched_at(pool: Pool, watch: Watch, position: int) -> AsyncIterator[list[AccountVersion]]:
    """The balances of all accounts that are watched, themselves or under a category, at a position, in parts."""
    if watch.account_ids or not watch.category_ids:
        async for part in read_balances_at(pool, watch.ledger_id, watch.account_ids, position):
            yield part
    if watch.category_ids:
        async for part in read_balances_under_at(pool, watch.ledger_id, watch.category_ids, position, position):
            yield part


async def read_joining(pool: Pool, ledger_id: str, joining: Joining) -> AsyncIterator[list[AccountVersion]]:
    """The accounts that join, with their balances just before, which joining does not move, in parts."""
    if joining.account is not None:
        yield [joining.account]
        return
    at = joining.position
    async for part in read_balances_under_at(pool, ledger_id, [joining.category_id], at, at):
        yield part
