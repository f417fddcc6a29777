"""Reading transactions and their versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import AccountVersion, Transaction, TransactionStatus
from ledger_server.domain.refusals import transaction_not_found
from ledger_server.reading.accounts import get_account
from ledger_server.reading.categories import categories_under
from ledger_server.reading.metadata import path_of
from ledger_server.reading.page_tokens import HIGHEST, LOWEST, Key, from_token
from ledger_server.reading.paging import (
    BITE_ROWS,
    ID_BYTES,
    NAMED_BYTES_MAX,
    Found,
    Room,
    fill,
    named_too_large,
    portions,
    weight_of,
    weight_of_metadata,
)
from ledger_server.reading.queries import TransactionQuery, VersionQuery
from ledger_server.reading.results import Page
from ledger_server.reading.snapshots import Snapshot
from ledger_server.reading.transaction_ways import ways_to_transactions
from ledger_server.reading.ways import Way, choose, numbers_of, page_along, positions_literal
from ledger_server.storage import sql
from ledger_server.storage.load import transactions_with_entries
from ledger_server.storage.rows import Row


async def get_transaction(at: Snapshot, transaction: Ref) -> Transaction:
    """The transaction as it stands, or TransactionNotFound."""
    head = await transaction_head(at, transaction)
    (found,) = await _with_reversals(at, await transactions_with_entries(at.connection, at.ledger_id, [head]))
    return found


async def get_transactions(at: Snapshot, transaction_ids: Sequence[str]) -> list[Transaction]:
    """The transactions in the order asked for; TransactionNotFound names the first that does not exist.

    Raises InvalidField if they are too much for one answer, each as often as it is asked for.
    """
    rows = await at.connection.fetch(sql.load_transactions, at.ledger_id, sorted(set(transaction_ids)))
    times = Counter(transaction_ids)
    room = Room(NAMED_BYTES_MAX)
    found: dict[str, Transaction] = {}
    async for transaction, weight in _weighed(at, rows):
        if not all(room.take(weight) for _ in range(times[transaction.id])):
            raise named_too_large("transaction_ids")
        found[transaction.id] = transaction
    for transaction_id in transaction_ids:
        if transaction_id not in found:
            raise transaction_not_found(Ref(transaction_id, None))
    return [found[transaction_id] for transaction_id in transaction_ids]


async def _with_reversals(at: Snapshot, transactions: list[Transaction]) -> list[Transaction]:
    """The transactions, each posted one with the ids of those that reverse it."""
    posted = [transaction.id for transaction in transactions if transaction.status == TransactionStatus.POSTED]
    rows = await at.connection.fetch(sql.load_reversing, at.ledger_id, posted) if posted else []
    reversing: dict[str, list[str]] = {}
    for row in rows:
        reversing.setdefault(row["reverses_id"], []).append(row["transaction_id"])
    return [
        transaction._replace(reversed_by=tuple(reversing[transaction.id]))
        if transaction.id in reversing
        else transaction
        for transaction in transactions
    ]


async def transaction_head(at: Snapshot, transaction: Ref) -> Row:
    """The transaction's row; an external id finds the non-archived one only."""
    statement = sql.load_transactions_by_external_id if transaction.id is None else sql.load_transactions
    rows = await at.connection.fetch(statement, at.ledger_id, [transaction.id or transaction.external_id])
    if not rows:
        raise transaction_not_found(transaction)
    return rows[0]


async def list_transactions(at: Snapshot, query: TransactionQuery) -> Page[Transaction]:
    """A page of the ledger's transactions."""
    start = from_token(query, HIGHEST if query.order.is_descending else LOWEST)
    find = await search_transactions(at, query)
    found = await find(start, query.page_size)
    return at.page(query, *await _with_entries(at, found, transaction_key))


async def _with_entries(
    at: Snapshot, found: Found, key_of: Callable[[Row], Key], *, as_written: bool = False
) -> tuple[list[Transaction], Key | None]:
    """A page's transactions, as many as fit into a message with what their entries say, and the key of the next one."""
    room = Room()
    fitting: list[Transaction] = []
    async for transaction, weight in _weighed(at, found.rows, as_written=as_written):
        if not room.take(weight):
            return fitting, key_of(found.rows[len(fitting) - 1])
        fitting.append(transaction)
    return fitting, found.key


async def _weighed(
    at: Snapshot, rows: Sequence[Row], *, as_written: bool = False
) -> AsyncIterator[tuple[Transaction, int]]:
    """The transactions of these rows, a few loaded at a time, each with its weight."""
    for heads in portions(rows):
        loaded = await transactions_with_entries(at.connection, at.ledger_id, heads, as_written=as_written)
        if not as_written:
            loaded = await _with_reversals(at, loaded)
        for head, transaction in zip(heads, loaded, strict=True):
            entries = transaction.entry_set.entries
            of_entries = sum(weight_of_metadata(entry.metadata_now or {}) for entry in entries)
            yield transaction, weight_of(head) + of_entries + ID_BYTES * len(transaction.reversed_by)


async def search_transactions(
    at: Snapshot, query: TransactionQuery, further: Sequence[Way] = ()
) -> Callable[[Key, int], Awaitable[Found]]:
    """What finds the rows of a page of transactions, so many after a key.

    By the most selective way to them, chosen here once, of which the caller may know further ones.
    Keyed by effective time in microseconds, else by the lock_version at which they first moved the account asked for,
    else by created position; and by created position.
    """
    account = None if query.account is None else await get_account(at, query.account)
    descending = query.order.is_descending
    is_created_order = query.order.is_created and account is None
    categories = None if query.category_id is None else await categories_under(at, query.category_id)
    own, ways = await ways_to_transactions(at, query, account, categories)
    way = await choose(at, [*further, *ways], own, descending=descending)
    filters = _filters(query, account, categories)

    async def read(positions: Iterable[int], after: Key, until: int, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.filter_transactions,
            at.ledger_id,
            positions_literal(positions),
            not query.order.is_created,
            descending,
            after.number,
            after.position,
            until,
            count,
            *filters,
        )

    async def find(start: Key, size: int) -> Found:
        return await page_along(
            at,
            way,
            read,
            transaction_key,
            size=size,
            start=start,
            descending=descending,
            is_created_order=is_created_order,
        )

    return find


def transaction_key(row: Row) -> Key:
    """Where a row that was found stands."""
    return Key.at(row["number"], row["created_position"])


async def list_transaction_versions(at: Snapshot, query: VersionQuery) -> Page[Transaction]:
    """A page of a transaction's versions, each with its entries as they were. Keyed by version.

    Versions have no gaps, so a range of them is a bite.
    """
    descending = query.newest_first
    head = await transaction_head(at, query.transaction)
    # Exclusive.
    lowest = (query.version_lower_bound or 0) - 1
    highest = head["version"] + 1
    if query.version_upper_bound is not None:
        highest = min(highest, query.version_upper_bound)
    first, last = (highest, lowest) if descending else (lowest, highest)

    async def bite(after: Key) -> Key | None:
        end = after.number + (-BITE_ROWS if descending else BITE_ROWS)
        return Key(end) if lowest < end < highest else None

    async def read(after: Key, end: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.list_transaction_versions,
            at.ledger_id,
            head["transaction_id"],
            after.number,
            (last + 1 if descending else last - 1) if end is None else end.number,
            descending,
            count,
            *query.written_at.bounds(),
        )

    start = from_token(query, Key(first))
    found = await fill(query.page_size, start, bite, read, _version_key, give_up_at=at.give_up_at)
    return at.page(query, *await _with_entries(at, found, _version_key, as_written=True))


def _version_key(row: Row) -> Key:
    return Key(row["version"])


def _filters(
    query: TransactionQuery, account: AccountVersion | None, categories: list[str] | None
) -> tuple[object, ...]:
    """What filter_transactions.sql takes from $9 on."""
    return (
        list(query.ids) or None,
        query.external_id,
        numbers_of(query.statuses),
        numbers_of(query.archived_reasons),
        query.reverses_id,
        query.partially_posts_id,
        None if account is None else account.account.id,
        dict(query.metadata) or None,
        *path_of(query.metadata_terms),
        [str(int(condition.operator)) for condition in query.amounts] or None,
        [str(condition.demanded) for condition in query.amounts] or None,
        *query.created_at.bounds(),
        *query.updated_at.bounds(),
        *query.posted_at.bounds(),
        *query.effective_at.bounds(),
        categories,
    )
