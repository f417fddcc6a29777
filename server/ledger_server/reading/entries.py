"""Reading entries by themselves: written by one version of a transaction, discarded by a later one."""

from __future__ import annotations

from ledger_server.domain.model import ListedEntry
from ledger_server.domain.money import Direction
from ledger_server.domain.refusals import entry_not_found
from ledger_server.reading.accounts import get_account
from ledger_server.reading.metadata import path_of
from ledger_server.reading.page_tokens import HIGHEST, LOWEST, Key, from_token
from ledger_server.reading.paging import BITE_VERSIONS_MAX, BITE_VERSIONS_MIN, Found, all_at_once, fill
from ledger_server.reading.queries import EntryQuery
from ledger_server.reading.results import Page
from ledger_server.reading.snapshots import Snapshot
from ledger_server.reading.transactions import statuses_of, transaction_head
from ledger_server.storage import sql
from ledger_server.storage.load import listed_entries
from ledger_server.storage.rows import Row


async def get_entry(at: Snapshot, entry_id: str) -> ListedEntry:
    """The entry, standing or discarded, or EntryNotFound."""
    rows = await at.connection.fetch(sql.load_listed_entries, at.ledger_id, [entry_id])
    if not rows:
        raise entry_not_found(entry_id)
    (entry,) = await listed_entries(at.connection, at.ledger_id, rows)
    return entry


async def list_entries(at: Snapshot, query: EntryQuery) -> Page[ListedEntry]:
    """A page of the entries of an account or a transaction."""
    found = await (_of_transaction(at, query) if query.account is None else _of_account(at, query))
    return at.page(query, await listed_entries(at.connection, at.ledger_id, found.rows), found.key)


async def _of_account(at: Snapshot, query: EntryQuery) -> Found:
    """Keyed by lock_version and entry id. Lock_versions have no gaps, so a range of them is a bite."""
    assert query.account is not None
    start = from_token(query, HIGHEST)
    if query.lock_version_upper_bound is not None:
        start = min(start, Key(query.lock_version_upper_bound))
    version = await get_account(at, query.account)
    bite_versions = BITE_VERSIONS_MIN

    async def bite(before: Key) -> Key | None:
        nonlocal bite_versions
        last = min(before.number, version.lock_version + 1) - bite_versions
        bite_versions = min(2 * bite_versions, BITE_VERSIONS_MAX)
        return Key(last) if last > max(1, query.lock_version_lower_bound or 1) else None

    async def read(before: Key, last: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.list_entries_of_account,
            at.ledger_id,
            version.account.id,
            before.number,
            before.id,
            LOWEST.number if last is None else last.number,
            *_filters(query),
            count,
            *_more_filters(query),
        )

    return await fill(query.page_size, start, bite, read, lambda row: Key(row["lock_version"], row["entry_id"]))


async def _of_transaction(at: Snapshot, query: EntryQuery) -> Found:
    """Keyed by the version that wrote them and entry id."""
    assert query.transaction is not None
    start = from_token(query, LOWEST)
    head = await transaction_head(at, query.transaction)

    async def read(after: Key, _: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.list_entries_of_transaction,
            at.ledger_id,
            head["transaction_id"],
            after.number,
            after.id,
            *_filters(query),
            count,
            *_more_filters(query),
        )

    return await fill(
        query.page_size, start, all_at_once, read, lambda row: Key(row["transaction_version"], row["entry_id"])
    )


def _filters(query: EntryQuery) -> tuple[object, ...]:
    return (
        [str(int(direction)) for direction in ([query.direction] if query.direction else Direction)],
        statuses_of(query.statuses),
        query.include_discarded,
        query.effective_at_lower_bound,
        query.effective_at_upper_bound,
    )


def _more_filters(query: EntryQuery) -> tuple[object, ...]:
    return (
        dict(query.metadata) or None,
        *path_of(query.metadata_terms),
        [str(int(condition.operator)) for condition in query.amounts] or None,
        [str(condition.demanded) for condition in query.amounts] or None,
        query.lock_version_lower_bound,
        query.lock_version_upper_bound,
    )
