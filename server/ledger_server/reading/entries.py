"""Reading entries by themselves: written by one version of a transaction, discarded by a later one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ledger_server.domain.ids import first_of
from ledger_server.domain.model import ListedEntry
from ledger_server.domain.money import Direction
from ledger_server.domain.refusals import entry_not_found
from ledger_server.reading.accounts import get_account
from ledger_server.reading.balances import versions_as_of
from ledger_server.reading.categories import categories_under
from ledger_server.reading.entry_sets import EntryPlace, EntrySet, EntrySets, Place
from ledger_server.reading.metadata import path_of
from ledger_server.reading.page_tokens import HIGHEST, LOWEST, NUMBER_MAX, Key, from_token, note_from_token, to_token
from ledger_server.reading.paging import Bites, Found, Room, fill, weight_of
from ledger_server.reading.queries import AsOf, Between, EntryQuery, TransactionQuery
from ledger_server.reading.results import Page
from ledger_server.reading.snapshots import Snapshot
from ledger_server.reading.transaction_ways import ways_to_entries
from ledger_server.reading.transactions import search_transactions, transaction_head
from ledger_server.reading.ways import numbers_of
from ledger_server.storage import sql
from ledger_server.storage.load import find_entries, find_lines, listed_entries
from ledger_server.storage.rows import Row


async def get_entry(at: Snapshot, entry_id: str) -> ListedEntry:
    """The entry, standing or discarded, or EntryNotFound."""
    rows = await find_entries(at.connection, at.ledger_id, [entry_id])
    if not rows:
        raise entry_not_found(entry_id)
    (entry,) = await listed_entries(at.connection, at.ledger_id, rows)
    return entry


async def list_entries(at: Snapshot, query: EntryQuery) -> Page[ListedEntry]:
    """A page of the entries of an account, a transaction or a ledger."""
    categories = None if query.category_id is None else await categories_under(at, query.category_id)
    lines = await find_lines(at.connection, at.ledger_id, query.ids) if query.ids else None
    if query.account is None or not query.order.is_created:
        return await _of_transactions(at, query, categories, lines)
    found = await _of_account(at, query, categories, lines)
    return at.page(query, await listed_entries(at.connection, at.ledger_id, found.rows), found.key)


async def _of_account(at: Snapshot, query: EntryQuery, categories: list[str] | None, lines: list[int] | None) -> Found:
    """Keyed by lock_version and entry id. Lock_versions have no gaps, so a range of them is a bite."""
    assert query.account is not None
    descending = query.order.is_descending
    version = await get_account(at, query.account)
    start = from_token(query, HIGHEST if descending else LOWEST)
    newest, as_of_position = version.lock_version, None
    if query.as_of_lock_version is not None:
        (then,) = await versions_as_of(at, [version], AsOf(lock_version=query.as_of_lock_version))
        newest, as_of_position = then.lock_version, then.position
    oldest = max(1, query.lock_version_lower_bound or 1)
    if query.lock_version_upper_bound is not None:
        newest = min(newest, query.lock_version_upper_bound - 1)
    bounded = replace(query, lock_version_upper_bound=newest + 1)
    bites = Bites.of_versions()

    async def bite(after: Key) -> Key | None:
        count = bites.next()
        last = min(after.number, newest + 1) - count
        if not descending:
            last = max(after.number, oldest - 1) + count
        if descending:
            return Key(last) if last > oldest else None
        # The next begins with the version after it.
        return Key.at(last, NUMBER_MAX) if last < newest else None

    async def read(after: Key, last: Key | None, count: int) -> list[Row]:
        end = (LOWEST if descending else HIGHEST) if last is None else last
        return await entries_under(
            at,
            version.account.id,
            bounded,
            after,
            end.number,
            count,
            categories=categories,
            lines=lines,
            as_of_position=as_of_position,
        )

    def key_of(row: Row) -> Key:
        return Key.at(row["lock_version"], row["entry_id"])

    return await fill(query.page_size, start, bite, read, key_of, give_up_at=at.give_up_at)


async def entries_under(
    at: Snapshot,
    account_id: str,
    query: EntryQuery,
    after: Key,
    last_version: int,
    count: int,
    *,
    categories: list[str] | None = None,
    lines: list[int] | None = None,
    as_of_position: int | None = None,
    pending: Sequence[Direction] = tuple(Direction),
) -> list[Row]:
    """The first so many entries on an account that pass the query's filters, behind a key, until a lock_version.

    As they stood at a position, if it is given; of what was written pending those of some directions only.
    """
    return await at.connection.fetch(
        sql.list_entries_of_account,
        at.ledger_id,
        account_id,
        after.number,
        after.position,
        last_version,
        count,
        *_filters(query),
        *query.created_at.bounds(),
        lines,
        categories,
        query.order.is_descending,
        as_of_position,
        [str(int(direction)) for direction in pending],
        *query.updated_at.bounds(),
        None if query.include_discarded else False,
    )


async def _of_transactions(
    at: Snapshot, query: EntryQuery, categories: list[str] | None, lines: list[int] | None
) -> Page[ListedEntry]:
    """Entries of the transactions that may have some, one set after another."""
    place = Place.noted(from_token(query, HIGHEST if query.order.is_descending else LOWEST), note_from_token(query))
    account_id = None if query.account is None else (await get_account(at, query.account)).account.id
    transactions = await _transactions_of(at, query, lines)
    if transactions is None:
        return await _page(at, query, [], Place(None))
    find = await search_transactions(at, transactions, await ways_to_entries(at, query))
    sets = EntrySets(at, query, find, place)
    rows: list[Row] = []
    room = Room()
    while True:
        bite = await sets.next()
        found = await _entries_of(at, query, bite.sets, account_id, categories, lines)
        for each in bite.sets:
            for row in _in_order(found.get(each.first_line, ()), each.done, descending=query.order.is_descending):
                if len(rows) == query.page_size or not room.take(weight_of(row)):
                    return await _page(at, query, rows, place)
                rows.append(row)
                place = Place(each.before, _place_of(row))
        place = bite.end
        if place.key is None or len(rows) == query.page_size or time.monotonic() > at.give_up_at:
            return await _page(at, query, rows, place)


async def _page(at: Snapshot, query: EntryQuery, rows: list[Row], place: Place) -> Page[ListedEntry]:
    entries = await listed_entries(at.connection, at.ledger_id, rows)
    return Page(entries, to_token(query, place.key, place.note), at.position, at.epoch)


async def _transactions_of(at: Snapshot, query: EntryQuery, lines: list[int] | None) -> TransactionQuery | None:
    """The transactions that may have such entries; None if there are none.

    As one stands, so do its standing entries. Entries are written when it is created, or when it is changed.
    """
    ids: frozenset[str] = frozenset()
    if lines is not None:
        rows = await at.connection.fetch(sql.find_transactions_of_entries, at.ledger_id, lines)
        ids = frozenset(row["transaction_id"] for row in rows)
        if not ids:
            return None
    if query.transaction is not None:
        head = await transaction_head(at, query.transaction)
        if ids and head["transaction_id"] not in ids:
            return None
        ids = frozenset([head["transaction_id"]])
    standing: dict[str, Any] = {}
    if not query.include_discarded:
        standing = {"statuses": query.statuses, "effective_at": query.effective_at}
    return TransactionQuery(
        ledger_id=query.ledger_id,
        page_size=query.page_size,
        ids=ids,
        account=query.account,
        category_id=query.category_id,
        created_at=Between(None, query.created_at.upper),
        updated_at=Between(query.created_at.lower, None),
        order=query.order,
        **standing,
    )


async def _entries_of(
    at: Snapshot,
    query: EntryQuery,
    sets: Iterable[EntrySet],
    account_id: str | None,
    categories: list[str] | None,
    lines: list[int] | None,
) -> dict[int, list[Row]]:
    """Entries of these sets that pass the filters, by the first line of their set."""
    ranges = {each.first_line: each.last_line for each in sets}
    if lines is not None:
        ranges = {line: line for line in lines if first_of(line) in ranges}
    if not ranges:
        return {}
    rows = await at.connection.fetch(
        sql.filter_entries,
        at.ledger_id,
        list(ranges),
        list(ranges.values()),
        *_filters(query),
        *query.created_at.bounds(),
        account_id,
        categories,
        *query.updated_at.bounds(),
    )
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(first_of(row["entry_id"]), []).append(row)
    return found


def _in_order(rows: Iterable[Row], done: EntryPlace | None, *, descending: bool) -> list[Row]:
    """Entries of a set, those behind a place if it was begun there, whether or not one still stands at it."""
    ordered = sorted(rows, key=_place_of, reverse=descending)
    if done is None:
        return ordered
    return [row for row in ordered if (_place_of(row) < done if descending else _place_of(row) > done)]


def _place_of(row: Row) -> EntryPlace:
    return EntryPlace(row["transaction_version"], row["entry_id"])


def _filters(query: EntryQuery) -> tuple[object, ...]:
    return (
        query.direction and [str(int(query.direction))],
        numbers_of(query.statuses),
        *query.effective_at.bounds(),
        dict(query.metadata) or None,
        *path_of(query.metadata_terms),
        [str(int(condition.operator)) for condition in query.amounts] or None,
        [str(condition.demanded) for condition in query.amounts] or None,
        query.lock_version_lower_bound,
        query.lock_version_upper_bound,
    )
