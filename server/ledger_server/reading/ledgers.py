"""Reading ledgers."""

from __future__ import annotations

from datetime import datetime

from ledger_server.domain.ids import parse_ledger_id
from ledger_server.domain.model import Ledger
from ledger_server.domain.times import EPOCH, MICROSECOND
from ledger_server.reading.metadata import path_of, pattern_of
from ledger_server.reading.page_tokens import Key, from_token, invalid_page_token, to_token
from ledger_server.reading.paging import BITE_ROWS, Found, all_at_once, fill, page_ends_at
from ledger_server.reading.queries import LedgerQuery
from ledger_server.reading.results import LedgerPage, Read
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection
from ledger_server.storage.rows import Row, ledger_from


async def get_ledger(at: Snapshot) -> Read[Ledger]:
    """The ledger itself."""
    (row,) = await at.connection.fetch(sql.get_ledger, at.ledger_id)
    return _read_from(row)


async def list_ledgers(connection: Connection, query: LedgerQuery) -> LedgerPage:
    """A page of all ledgers, by creation. Keyed by microseconds since 1970 and id."""
    start = from_token(query, Key(0))
    found = await (_by_filter if query.is_filtered else _by_creation)(connection, query, start)
    return LedgerPage([_read_from(row) for row in found.rows], to_token(query, found.key))


async def _by_creation(connection: Connection, query: LedgerQuery, start: Key) -> Found:
    async def read(after: Key, _: Key | None, count: int) -> list[Row]:
        return await connection.fetch(sql.list_ledgers, _time(after), after.position, count)

    return await fill(query.page_size, start, all_at_once, read, _key, give_up_at=page_ends_at())


async def _by_filter(connection: Connection, query: LedgerQuery, start: Key) -> Found:
    """Those named, or all in bites that grow, within the range of times of creation."""
    _, before = query.created_at.texts()
    # An id that no ledger can have names none.
    ids = [ledger_id for text in query.ids if (ledger_id := parse_ledger_id(text)) is not None]
    count = query.page_size + 1

    async def bite(after: Key) -> Key | None:
        nonlocal ids, count
        if query.ids:
            return None
        rows = await connection.fetch(sql.walk_ledgers, _time(after), after.position, before, count)
        ids = [row["ledger_id"] for row in rows]
        is_last = len(rows) < count
        count = min(4 * count, BITE_ROWS)
        return None if is_last else _key(rows[-1])

    async def read(after: Key, _: Key | None, most: int) -> list[Row]:
        return await connection.fetch(
            sql.filter_ledgers,
            ids,
            _time(after),
            after.position,
            most,
            dict(query.metadata),
            *path_of(query.metadata_terms),
            [pattern_of(name) for name in query.names] or None,
            *query.created_at.bounds(),
            *query.updated_at.bounds(),
        )

    lower = query.created_at.lower
    if lower is not None:
        start = max(start, Key((lower - EPOCH) // MICROSECOND))
    return await fill(query.page_size, start, bite, read, _key, give_up_at=page_ends_at())


def _read_from(row: Row) -> Read[Ledger]:
    return Read(ledger_from(row["ledger_id"], row), row["position"], row["epoch"])


def _key(row: Row) -> Key:
    return Key.at((row["created_at"] - EPOCH) // MICROSECOND, row["ledger_id"])


def _time(key: Key) -> datetime:
    try:
        return EPOCH + key.number * MICROSECOND
    except OverflowError:
        raise invalid_page_token() from None
