"""The history of an account's balances: all of its versions, or the last of each hour, day or month."""

from __future__ import annotations

from datetime import datetime

from ledger_server.domain.model import Account, AccountVersion
from ledger_server.domain.times import MICROSECOND
from ledger_server.reading.accounts import get_account
from ledger_server.reading.balances import balances_as_of
from ledger_server.reading.page_tokens import HIGHEST, LOWEST, Key, from_token
from ledger_server.reading.queries import AccountVersionQuery, AsOf
from ledger_server.reading.results import ListedAccountVersion, Page
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage import sql
from ledger_server.storage.rows import Row, counters_from


async def list_account_versions(at: Snapshot, query: AccountVersionQuery) -> Page[ListedAccountVersion]:
    """A page of an account's versions. Keyed by lock_version."""
    start = from_token(query, HIGHEST if query.newest_first else LOWEST)
    newest = await get_account(at, query.account)
    first, last = 0, newest.lock_version
    if query.written_at.lower is not None:
        first = await _versions_before(at, newest.account, query.written_at.lower)
    if query.written_at.upper is not None:
        last = await _versions_before(at, newest.account, query.written_at.upper) - 1
    if query.newest_first:
        rows, more = await _backward(at, query, newest.account.id, first, last, start)
    else:
        rows, more = await _forward(at, query, newest.account.id, max(first, start.number + 1), last)
    versions = [_listed(newest.account, row) for row in rows]
    return at.page(query, versions, Key(rows[-1]["lock_version"]) if more else None)


async def _versions_before(at: Snapshot, account: Account, time: datetime) -> int:
    """How many versions were written before a time, which is the lock_version of the first that was not."""
    if time <= account.created_at:
        return 0
    known = await balances_as_of(at, [account.id], AsOf(known_at=time - MICROSECOND))
    return known[account.id].lock_version + 1


async def _forward(
    at: Snapshot, query: AccountVersionQuery, account_id: str, first: int, last: int
) -> tuple[list[Row], bool]:
    """A page of versions from `first` on, and whether there are more up to `last`."""
    if query.interval is None:
        end = min(last, first + query.page_size - 1)
        rows = await at.connection.fetch(sql.list_account_versions, at.ledger_id, account_id, first, end)
    else:
        rows = await at.connection.fetch(
            sql.thin_account_versions_forward,
            at.ledger_id,
            account_id,
            first,
            last,
            query.interval,
            query.page_size,
        )
    return rows, bool(rows) and rows[-1]["lock_version"] < last


async def _backward(
    at: Snapshot, query: AccountVersionQuery, account_id: str, first: int, last: int, start: Key
) -> tuple[list[Row], bool]:
    """A page of versions down from `last`, before the key, and whether there are more down to `first`."""
    last = min(last, start.number - 1)
    if query.interval is None:
        end = max(first, last - query.page_size + 1)
        rows = await at.connection.fetch(sql.list_account_versions, at.ledger_id, account_id, end, last)
        return rows[::-1], bool(rows) and end > first
    rows = await at.connection.fetch(
        sql.thin_account_versions_backward,
        at.ledger_id,
        account_id,
        first,
        last,
        query.interval,
        query.page_size + 1,
        None if start == HIGHEST else start.number,
    )
    return rows[: query.page_size], len(rows) > query.page_size


def _listed(account: Account, row: Row) -> ListedAccountVersion:
    version = AccountVersion(account, row["lock_version"], counters_from(row), row["position"])
    return ListedAccountVersion(version, row["written_at"], row["transaction_id"])
