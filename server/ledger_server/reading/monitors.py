"""Reading balance monitors, with the balances they are on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger_server.domain.model import AccountVersion, CategoryVersion, MonitorReading
from ledger_server.domain.monitors import monitor_not_found
from ledger_server.reading.accounts import accounts_by_id, get_account
from ledger_server.reading.categories import categories_by_id, get_category
from ledger_server.reading.metadata import path_of
from ledger_server.reading.page_tokens import LOWEST, Key, from_token
from ledger_server.reading.queries import MonitorQuery
from ledger_server.reading.results import Page
from ledger_server.reading.snapshots import Snapshot
from ledger_server.reading.ways import Walk, Way, choose, found_by, page_along, positions_literal
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
    """A page of the ledger's monitors, by the most selective way to them. Keyed by created_position."""
    account_id = None if query.account is None else (await get_account(at, query.account)).account.id
    category_id = None if query.category is None else (await get_category(at, query.category)).category.id
    ids = list(query.ids)
    ways: list[Way] = []
    if ids:
        ways.append(found_by(sql.find_monitors_by_id, ids))
    if account_id is not None:
        ways.append(found_by(sql.find_monitors_on_account, account_id))
    if category_id is not None:
        ways.append(found_by(sql.find_monitors_on_category, category_id))
    if query.triggered is not None:
        ways.append(Walk(sql.walk_monitors_by_state, (query.triggered,)))
    way = await choose(at, ways, Walk(sql.walk_monitors_by_creation), descending=False)

    async def read(positions: Iterable[int], after: Key, _: int, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.filter_monitors,
            at.ledger_id,
            positions_literal(positions),
            after.number,
            count,
            ids or None,
            account_id,
            category_id,
            query.triggered,
            dict(query.metadata) or None,
            *path_of(query.metadata_terms),
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
    return at.page(query, await _with_subjects(at, found.rows), found.key)


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
    return Key.at(row["created_position"], row["created_position"])
