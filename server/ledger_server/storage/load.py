"""Transactions with their entries, from the statements that load the parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger_server.domain.ids import entry_id, parse_entry_id
from ledger_server.domain.model import ListedEntry, Transaction
from ledger_server.storage import sql
from ledger_server.storage.pool import AnyConnection, Connection
from ledger_server.storage.rows import Row, account_from, entry_sets_from, listed_entry_from, transaction_from

# Of filter_entries.sql, from $4 on.
_NO_FILTERS = (None,) * 17


async def transactions_with_entries(
    connection: Connection, ledger_id: int, heads: Sequence[Row], *, as_written: bool = False
) -> list[Transaction]:
    """The transactions of these rows of `transactions` or `transaction_versions`, each with the entries standing at it.

    Entries have the metadata they have now as well as, or, `as_written`, only what they were written with.
    Three statements in all, whatever the number of transactions. The caller's transaction gives the one snapshot.
    """
    if not heads:
        return []
    ids = {head["first_entry_id"]: head["transaction_id"] for head in heads}
    rows = await connection.fetch(sql.load_entries, ledger_id, list(ids), not as_written)
    # An entry set is older than its transaction's version where only metadata changed since.
    wanted = {(ids[row["first_entry_id"]], row["transaction_version"]) for row in rows}
    writers = {(head["transaction_id"], head["version"]): head for head in heads}
    missing = [key for key in wanted if key not in writers]
    if missing:
        found = await connection.fetch(
            sql.load_entry_versions, ledger_id, [key[0] for key in missing], [str(key[1]) for key in missing]
        )
        writers |= {(row["transaction_id"], row["version"]): row for row in found}
    sets = entry_sets_from(rows, writers, ids)
    return [transaction_from(head, sets[head["first_entry_id"]]) for head in heads]


async def find_lines(connection: AnyConnection, ledger_id: int, entry_ids: Iterable[str]) -> list[int]:
    """The numbers of the lines of those of these entries that exist.

    An entry of before a restore is not the one that has its number now: that one is of another time.
    """
    asked = set(entry_ids)
    lines = {line for text in asked if (line := parse_entry_id(ledger_id, text)) is not None}
    rows = await connection.fetch(sql.find_entry_times, ledger_id, list(lines)) if lines else []
    return [row["entry_id"] for row in rows if entry_id(ledger_id, row["written_at"], row["entry_id"]) in asked]


async def find_entries(connection: AnyConnection, ledger_id: int, entry_ids: Iterable[str]) -> list[Row]:
    """The rows of those of these entries that exist."""
    lines = await find_lines(connection, ledger_id, entry_ids)
    return await connection.fetch(sql.filter_entries, ledger_id, lines, lines, *_NO_FILTERS) if lines else []


async def listed_entries(connection: Connection, ledger_id: int, rows: Sequence[Row]) -> list[ListedEntry]:
    """The entries of these rows of the statements that list entries."""
    if not rows:
        return []
    found = await connection.fetch(sql.load_accounts, ledger_id, sorted({row["account_id"] for row in rows}))
    accounts = {row["account_id"]: account_from(row) for row in found}
    return [listed_entry_from(row, accounts[row["account_id"]]) for row in rows]
