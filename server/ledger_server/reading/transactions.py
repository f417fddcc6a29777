"""Reading transactions and their versions."""

from __future__ import annotations

from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import AccountVersion, Transaction, TransactionStatus
from ledger_server.domain.refusals import transaction_not_found
from ledger_server.reading.accounts import get_account
from ledger_server.reading.page_tokens import HIGHEST, LOWEST, Key, from_token
from ledger_server.reading.paging import BITE_ROWS, BITE_VERSIONS_MAX, BITE_VERSIONS_MIN, Found, all_at_once, fill, has
from ledger_server.reading.queries import TransactionQuery, VersionQuery
from ledger_server.reading.results import Page
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage import sql
from ledger_server.storage.load import transactions_with_entries
from ledger_server.storage.rows import Row


async def get_transaction(at: Snapshot, transaction: Ref) -> Transaction:
    """The transaction as it stands, or TransactionNotFound."""
    head = await transaction_head(at, transaction)
    (found,) = await _with_reversals(at, await transactions_with_entries(at.connection, at.ledger_id, [head]))
    return found


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
    """A page of the ledger's transactions, newest first, by the most selective way to them."""
    start = from_token(query, HIGHEST)
    account = None if query.account is None else await get_account(at, query.account)
    if query.external_id is not None:
        found = await _by_external_id(at, query, start, account)
    elif account is not None:
        found = await _by_account(at, query, start, account)
    elif query.statuses or query.metadata:
        found = await _by_filters(at, query, start)
    else:
        found = await _by_creation(at, query, start)
    transactions = await transactions_with_entries(at.connection, at.ledger_id, found.rows)
    return at.page(query, await _with_reversals(at, transactions), found.key)


async def list_transaction_versions(at: Snapshot, query: VersionQuery) -> Page[Transaction]:
    """A page of a transaction's versions, each with its entries as they were. Keyed by version."""
    start = from_token(query, LOWEST)
    head = await transaction_head(at, query.transaction)

    async def read(after: Key, _: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.list_transaction_versions, at.ledger_id, head["transaction_id"], after.number, count
        )

    found = await fill(query.page_size, start, all_at_once, read, lambda row: Key(row["version"]))
    versions = await transactions_with_entries(at.connection, at.ledger_id, found.rows)
    return at.page(query, versions, found.key)


async def _by_external_id(at: Snapshot, query: TransactionQuery, start: Key, account: AccountVersion | None) -> Found:
    """At most one: external ids are unique among transactions that are not archived."""
    rows = await at.connection.fetch(sql.load_transactions_by_external_id, at.ledger_id, [query.external_id])
    rows = [
        row
        for row in rows
        if row["created_position"] < start.number
        and (not query.statuses or row["status"] in query.statuses)
        and has(row["metadata"], query.metadata)
    ]
    if rows and account is not None:
        touches = await at.connection.fetchval(
            sql.transaction_touches_account, at.ledger_id, rows[0]["transaction_id"], account.account.id
        )
        rows = rows if touches else []
    return Found(rows, None)


async def _by_account(at: Snapshot, query: TransactionQuery, start: Key, account: AccountVersion) -> Found:
    """In the order in which they first touched the account. Keyed by the lock_version at which they did."""
    bite_versions = BITE_VERSIONS_MIN

    async def bite(before: Key) -> Key | None:
        nonlocal bite_versions
        last = min(before.number, account.lock_version + 1) - bite_versions
        bite_versions = min(2 * bite_versions, BITE_VERSIONS_MAX)
        return Key(last) if last > 1 else None

    async def read(before: Key, last: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.list_transactions_of_account,
            at.ledger_id,
            account.account.id,
            before.number,
            LOWEST.number if last is None else last.number,
            statuses_of(query.statuses),
            dict(query.metadata),
            count,
        )

    return await fill(query.page_size, start, bite, read, lambda row: Key(row["lock_version"]))


async def _by_creation(at: Snapshot, query: TransactionQuery, start: Key) -> Found:
    async def read(before: Key, _: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(sql.list_transactions, at.ledger_id, before.number, count)

    return await fill(query.page_size, start, all_at_once, read, _key)


async def _by_filters(at: Snapshot, query: TransactionQuery, start: Key) -> Found:
    async def bite(before: Key) -> Key | None:
        position = await at.connection.fetchval(sql.bite_of_transactions, at.ledger_id, before.number, BITE_ROWS)
        return None if position is None else Key(position)

    async def read(before: Key, last: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.filter_transactions,
            at.ledger_id,
            before.number,
            LOWEST.number if last is None else last.number,
            statuses_of(query.statuses),
            dict(query.metadata),
            count,
        )

    return await fill(query.page_size, start, bite, read, _key)


def statuses_of(statuses: frozenset[TransactionStatus]) -> list[str]:
    """The statuses to keep, as a parameter; none named means all."""
    return [str(int(status)) for status in statuses or TransactionStatus]


def _key(row: Row) -> Key:
    return Key(row["created_position"])
