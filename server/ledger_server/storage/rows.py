"""Rows to domain values: the one place that knows both the columns and the nouns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import TypeAlias

import asyncpg

from ledger_server.domain.ids import entry_id
from ledger_server.domain.model import (
    Account,
    AccountStatus,
    AccountVersion,
    ArchivedReason,
    BalanceLimit,
    BalanceLimits,
    Category,
    CategoryVersion,
    Entry,
    EntrySet,
    Ledger,
    ListedEntry,
    Monitor,
    MonitorCondition,
    MonitorField,
    Transaction,
    TransactionStatus,
)
from ledger_server.domain.money import BalanceKind, Counters, Direction, NormalBalance, Operator

Row: TypeAlias = asyncpg.Record

# How much of a value metadata_pairs holds.
VALUE_HEAD_CHARACTERS = 100


class Noun(IntEnum):
    """Whose metadata a row of metadata_pairs holds."""

    TRANSACTION = 1
    ACCOUNT = 2
    # By their transaction's position.
    ENTRY = 3


def ledger_from(ledger_id: int, row: Row) -> Ledger:
    return Ledger(
        ledger_id,
        row["name"],
        row["description"],
        row["metadata"],
        row["created_at"],
        row["updated_at"],
        row["closed_before"],
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
        status=AccountStatus(row["account_status"]),
        limits=limits_from(row["limits"]),
        deleted_at=row["deleted_at"],
    )


def limits_from(column: Sequence[tuple[int, str | None, str | None]] | None) -> BalanceLimits:
    """Standing limits, as `limits_to` wrote them."""
    return tuple(
        BalanceLimit(BalanceKind(kind), None if low is None else int(low), None if high is None else int(high))
        for kind, low, high in column or ()
    )


def limits_to(limits: BalanceLimits) -> list[list[int | str | None]] | None:
    """Standing limits as JSON; amounts as text, for they may be larger than JSON's numbers are safe for."""
    return [
        [int(kind), None if low is None else str(low), None if high is None else str(high)]
        for kind, low, high in limits
    ] or None


def counters_from(row: Row) -> Counters:
    return Counters(row["posted_debits"], row["posted_credits"], row["pending_debits"], row["pending_credits"])


def account_version_from(row: Row) -> AccountVersion:
    return AccountVersion(account_from(row), row["lock_version"], counters_from(row), row["balance_position"])


def monitor_from(row: Row) -> Monitor:
    return Monitor(
        id=row["monitor_id"],
        ledger_id=row["ledger_id"],
        account_id=row["account_id"],
        category_id=row["category_id"],
        condition=MonitorCondition(
            MonitorField(row["field"]), Operator(row["operator"]), row["value"], row["resolve_value"]
        ),
        description=row["description"],
        metadata=row["metadata"],
        version=row["version"],
        triggered=row["triggered"],
        since_position=row["since_position"],
        since=row["since"],
        created_position=row["created_position"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        deleted_at=row["deleted_at"],
    )


def category_version_from(row: Row) -> CategoryVersion:
    category = Category(
        id=row["category_id"],
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
        deleted_at=row["deleted_at"],
    )
    return CategoryVersion(category, counters_from(row), row["balance_position"])


def entry_from(row: Row) -> Entry:
    return Entry(
        account_version_from(row),
        Direction(row["direction"]),
        row["amount"],
        row["entry_metadata"],
        _reverses(row, row["ledger_id"]),
        row["edited_metadata"],
    )


def listed_entry_from(row: Row, account: Account) -> ListedEntry:
    after = AccountVersion(account, row["lock_version"], counters_from(row), row["balance_position"])
    return ListedEntry(
        id=entry_id(account.ledger_id, row["created_at"], row["entry_id"]),
        transaction_id=row["transaction_id"],
        transaction_version=row["transaction_version"],
        status=TransactionStatus(row["status"]),
        effective_at=row["effective_at"],
        created_at=row["created_at"],
        discarded_at=row["discarded_at"],
        entry=Entry(
            after,
            Direction(row["direction"]),
            row["amount"],
            row["entry_metadata"],
            _reverses(row, account.ledger_id),
        ),
    )


def _reverses(row: Row, ledger_id: int) -> str | None:
    line = row["reverses_entry_id"]
    return None if line is None else entry_id(ledger_id, row["reverses_entry_time"], line)


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
        expires_at=row["expires_at"],
        reverses_id=row["reverses_id"],
        partially_posts_id=row["partially_posts_id"],
    )


def entry_sets_from(
    rows: Iterable[Row], writers: Mapping[tuple[str, int], Row], ids: Mapping[int, str]
) -> dict[int, EntrySet]:
    """Entry sets by first entry id, from rows of load_entries.sql.

    `ids` gives the transaction of each set, `writers` the rows of load_entry_versions.sql by transaction and version.
    """
    entries: dict[int, list[Row]] = {}
    for row in rows:
        entries.setdefault(row["first_entry_id"], []).append(row)
    sets = {}
    for first_line, lines in entries.items():
        version = lines[0]["transaction_version"]
        writer = writers[ids[first_line], version]
        sets[first_line] = EntrySet(
            first_line,
            version,
            TransactionStatus(lines[0]["status"]),
            writer["effective_at"],
            writer["updated_at"],
            tuple(entry_from(line) for line in lines),
        )
    return sets
