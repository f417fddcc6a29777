"""Reading balance monitors, with the balances they are on."""

from __future__ import annotations

from collections.abc import Sequence

from ledger_server.domain.model import AccountVersion, CategoryVersion, MonitorReading
from ledger_server.domain.monitors import monitor_not_found
from ledger_server.reading.accounts import accounts_by_id, get_account
from ledger_server.reading.categories import categories_by_id, get_category
from ledger_server.reading.page_tokens import LOWEST, NUMBER_MAX, Key, from_token
from ledger_server.reading.paging import BITE_ROWS, Found, all_at_once, cut, fill
from ledger_server.reading.queries import MonitorQuery
from ledger_server.reading.results import Page
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage import sql
from ledger_server.storage.rows import Row, monitor_from


async def get_monitor(at: Snapshot, monitor_id: str) -> MonitorReading:
    """The monitor as it stands, or MonitorNotFound."""
    rows = await at.connection.fetch(sql.load_monitors_by_id, at.ledger_id, [monitor_id])
    if not rows:
        raise monitor_not_found(monitor_id)
    (reading,) = await _with_subjects(at, rows)
    return reading


async def list_monitors(at: Snapshot, query: MonitorQuery) -> Page[MonitorReading]:
    """A page of the ledger's monitors. Keyed by created_position."""
    start = from_token(query, LOWEST)
    if query.monitor_ids or query.account is not None or query.category is not None:
        found = await _of_few(at, query, start)
    elif query.triggered and not query.metadata:
        found = await _triggered(at, query, start)
    else:
        found = await _by_filters(at, query, start)
    return at.page(query, await _with_subjects(at, found.rows), found.key)


async def _of_few(at: Snapshot, query: MonitorQuery, start: Key) -> Found:
    """Of those named, or of those on one account or category: so few that they are read at once."""
    account_id = None if query.account is None else (await get_account(at, query.account)).account.id
    category_id = None if query.category is None else (await get_category(at, query.category)).category.id
    if query.monitor_ids:
        rows = await at.connection.fetch(sql.load_monitors_by_id, at.ledger_id, sorted(query.monitor_ids))
    elif account_id is not None:
        rows = await at.connection.fetch(sql.load_monitors_on_accounts, at.ledger_id, [account_id])
    else:
        rows = await at.connection.fetch(sql.load_monitors_on_categories, at.ledger_id, [category_id])
    rows = [
        row
        for row in rows
        if row["created_position"] > start.number
        and account_id in (None, row["account_id"])
        and category_id in (None, row["category_id"])
        and query.triggered in (None, row["triggered"])
        and query.metadata.items() <= row["metadata"].items()
    ]
    page = rows[: query.page_size]
    return cut(page, _key(page[-1]) if len(rows) > len(page) else None, _key)


async def _triggered(at: Snapshot, query: MonitorQuery, start: Key) -> Found:
    async def read(after: Key, _: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(sql.list_triggered_monitors, at.ledger_id, after.number, count)

    return await fill(query.page_size, start, all_at_once, read, _key)


async def _by_filters(at: Snapshot, query: MonitorQuery, start: Key) -> Found:
    async def bite(after: Key) -> Key | None:
        position = await at.connection.fetchval(sql.bite_of_monitors, at.ledger_id, after.number, BITE_ROWS)
        return None if position is None else Key(position)

    async def read(after: Key, last: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.filter_monitors,
            at.ledger_id,
            after.number,
            NUMBER_MAX if last is None else last.number,
            query.triggered,
            dict(query.metadata),
            count,
        )

    return await fill(query.page_size, start, bite, read, _key)


async def _with_subjects(at: Snapshot, rows: Sequence[Row]) -> list[MonitorReading]:
    monitors = [monitor_from(row) for row in rows]
    account_ids = [monitor.account_id for monitor in monitors if monitor.account_id is not None]
    category_ids = [monitor.category_id for monitor in monitors if monitor.category_id is not None]
    subjects: dict[str, AccountVersion | CategoryVersion] = {}
    if account_ids:
        subjects |= await accounts_by_id(at, account_ids)
    if category_ids:
        subjects |= await categories_by_id(at, category_ids)
    return [MonitorReading(monitor, subjects[monitor.subject_id]) for monitor in monitors]


def _key(row: Row) -> Key:
    return Key(row["created_position"])
