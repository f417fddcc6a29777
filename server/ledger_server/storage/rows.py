"""Rows to domain values: the one place that knows both the columns and the nouns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import asyncpg

from ledger_server.domain.model import (
    Account,
    AccountVersion,
    ArchivedReason,
    Entry,
    EntrySet,
    Ledger,
    Transaction,
    TransactionStatus,
)
from ledger_server.domain.money import Counters, Direction, NormalBalance

Row: TypeAlias = asyncpg.Record


def ledger_from(ledger_id: str, row: Row) -> Ledger:
    return Ledger(
        ledger_id, row["name"], row["description"], row["metadata"], row["created_at"], row["updated_at"]
    )


def account_from(row: Row) -> Account:
    return Account(
        id=row["account_id"],
        ledger_id=row["ledger_id"],
        name=row["name"],
        description=row["description"],
        normal_balance=NormalBalance(row["normal_balance"]),
        currency=row["currency"],
        currency_exponent=row["currency_exponent"],
        external_id=row["external_id"],
        metadata=row["metadata"],
        created_position=row["created_position"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def account_version_from(row: Row) -> AccountVersion:
    counters = Counters(row["posted_debits"], row["posted_credits"], row["pending_debits"], row["pending_credits"])
    return AccountVersion(account_from(row), row["lock_version"], counters, row["balance_position"])


def entry_from(row: Row) -> Entry:
    return Entry(account_version_from(row), Direction(row["direction"]), row["amount"], row["entry_metadata"])


def transaction_from(row: Row, entry_set: EntrySet) -> Transaction:
    return Transaction(
        id=row["transaction_id"],
        ledger_id=row["ledger_id"],
        version=row["version"],
        status=TransactionStatus(row["status"]),
        archived_reason=ArchivedReason(row["archived_reason"]),
        description=row["description"],
        external_id=row["external_id"],
        metadata=row["metadata"],
        effective_at=row["effective_at"],
        entry_set=entry_set,
        position=row["position"],
        created_position=row["created_position"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        posted_at=row["posted_at"],
    )


def entry_sets_from(rows: Iterable[Row], writers: Mapping[tuple[str, int], Row], ids: Mapping[str, str]) -> dict[str, EntrySet]:
    """Entry sets by first entry id, from rows of load_entries.sql.

    `ids` gives the transaction of each set, `writers` the rows of load_entry_versions.sql by transaction and version.
    """
    entries: dict[str, list[Row]] = {}
    for row in rows:
        entries.setdefault(row["first_entry_id"], []).append(row)
    sets = {}
    for first_entry_id, lines in entries.items():
        version = lines[0]["transaction_version"]
        writer = writers[ids[first_entry_id], version]
        sets[first_entry_id] = EntrySet(
            first_entry_id,
            version,
            TransactionStatus(lines[0]["status"]),
            writer["effective_at"],
            writer["updated_at"],
            tuple(entry_from(line) for line in lines),
        )
    return sets
