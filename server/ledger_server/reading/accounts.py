"""Reading accounts with their balances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import AccountVersion
from ledger_server.domain.refusals import accounts_not_found
from ledger_server.reading.balances import versions_as_of_in_time
from ledger_server.reading.page_tokens import LOWEST, NUMBER_MAX, Key, from_token
from ledger_server.reading.paging import BITE_ROWS, Found, all_at_once, fill, has
from ledger_server.reading.queries import NOW, AccountQuery
from ledger_server.reading.results import Page
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage import sql
from ledger_server.storage.rows import Row, account_version_from


async def get_account(at: Snapshot, account: Ref) -> AccountVersion:
    """The account as it stands, or AccountNotFound."""
    if account.id is not None:
        found = await accounts_by_id(at, [account.id])
    else:
        rows = await at.connection.fetch(sql.load_accounts_by_external_id, at.ledger_id, [account.external_id])
        found = {row["account_id"]: account_version_from(row) for row in rows}
    if not found:
        raise accounts_not_found([account])
    (version,) = found.values()
    return version


async def get_accounts(at: Snapshot, account_ids: Sequence[str]) -> list[AccountVersion]:
    """The accounts in the order asked for; AccountNotFound names those that do not exist."""
    found = await accounts_by_id(at, account_ids)
    missing = dict.fromkeys(account_id for account_id in account_ids if account_id not in found)
    if missing:
        raise accounts_not_found([Ref(account_id, None) for account_id in missing])
    return [found[account_id] for account_id in account_ids]


async def accounts_by_id(at: Snapshot, account_ids: Iterable[str]) -> dict[str, AccountVersion]:
    """Those of the accounts that exist."""
    rows = await at.connection.fetch(sql.load_accounts, at.ledger_id, sorted(set(account_ids)))
    return {row["account_id"]: account_version_from(row) for row in rows}


async def list_accounts(at: Snapshot, query: AccountQuery) -> Page[AccountVersion]:
    """A page of the ledger's accounts, as they stand or as of a time. Keyed by created_position."""
    start = from_token(query, LOWEST)
    if query.external_id is not None:
        rows = await at.connection.fetch(sql.load_accounts_by_external_id, at.ledger_id, [query.external_id])
        found = Found([row for row in rows if _passes(query, start, row)], None)
    elif query.currency is not None or query.normal_balance is not None or query.metadata:
        found = await _by_filters(at, query, start)
    else:
        found = await _by_creation(at, query, start)
    versions = [account_version_from(row) for row in found.rows]
    if query.as_of == NOW:
        return at.page(query, versions, found.key)
    read = await versions_as_of_in_time(at, versions, query.as_of)
    key = found.key if len(read) == len(versions) else _key(found.rows[len(read) - 1])
    return at.page(query, read, key)


async def _by_creation(at: Snapshot, query: AccountQuery, start: Key) -> Found:
    async def read(after: Key, _: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(sql.list_accounts, at.ledger_id, after.number, count)

    return await fill(query.page_size, start, all_at_once, read, _key)


async def _by_filters(at: Snapshot, query: AccountQuery, start: Key) -> Found:
    async def bite(after: Key) -> Key | None:
        position = await at.connection.fetchval(sql.bite_of_accounts, at.ledger_id, after.number, BITE_ROWS)
        return None if position is None else Key(position)

    async def read(after: Key, last: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.filter_accounts,
            at.ledger_id,
            after.number,
            NUMBER_MAX if last is None else last.number,
            query.currency,
            query.normal_balance,
            dict(query.metadata),
            count,
        )

    return await fill(query.page_size, start, bite, read, _key)


def _passes(query: AccountQuery, start: Key, row: Row) -> bool:
    return (
        row["created_position"] > start.number
        and query.currency in (None, row["currency"])
        and query.normal_balance in (None, row["normal_balance"])
        and has(row["metadata"], query.metadata)
    )


def _key(row: Row) -> Key:
    return Key(row["created_position"])
