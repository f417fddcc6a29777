"""Snapshots of balances: all as they stood at one position, read in pages, none of them long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from ledger_server.domain.ids import NIL_ID
from ledger_server.domain.model import AccountVersion
from ledger_server.events.log import answering
from ledger_server.storage import sql
from ledger_server.storage.pool import Pool
from ledger_server.storage.rows import account_version_from

# Accounts, or categories, of a part.
PART_MAX = 1_000


async def read_balances_at(
    pool: Pool, ledger_id: int, account_ids: Iterable[str], position: int
) -> AsyncIterator[list[AccountVersion]]:
    """The balances of these accounts, or of all, at a position that was reached, in parts by account id.

    Every part is a statement of its own: what holds them together is the position, not a database snapshot.
    """
    chosen = sorted(account_ids)
    if chosen:
        for start in range(0, len(chosen), PART_MAX):
            yield await load_part_at(pool, ledger_id, chosen[start : start + PART_MAX], position)
        return
    async for ids in read_ids_at(pool, sql.list_account_ids_at, ledger_id, position):
        yield await load_part_at(pool, ledger_id, ids, position)


async def read_ids_at(pool: Pool, statement: str, ledger_id: int, position: int) -> AsyncIterator[list[str]]:
    """All ids that a statement lists of a ledger at a position, in parts."""
    last_id: str | None = NIL_ID
    while last_id is not None:
        async with answering(pool) as connection:
            rows = await connection.fetch(statement, ledger_id, last_id, position, PART_MAX)
        ids = [row[0] for row in rows]
        if ids:
            yield ids
        last_id = ids[-1] if len(ids) == PART_MAX else None


async def load_part_at(pool: Pool, ledger_id: int, account_ids: Iterable[str], position: int) -> list[AccountVersion]:
    """The balances of these accounts at one position."""
    found = await load_balances_at(pool, ledger_id, [(account_id, position) for account_id in account_ids])
    return [version for version, _ in found]


async def load_balances_at(
    pool: Pool, ledger_id: int, asked: Sequence[tuple[str, int]]
) -> list[tuple[AccountVersion, int]]:
    """The balances of these accounts, each at a position of its own."""
    account_ids = [account_id for account_id, _ in asked]
    positions = [str(position) for _, position in asked]
    async with answering(pool) as connection:
        rows = await connection.fetch(sql.load_accounts_at, ledger_id, account_ids, positions)
    return [(account_version_from(row), row["asked_position"]) for row in rows]
