"""The trial balance: every account on its side, and what both sides add up to.

The totals go through all accounts in parts, each a short snapshot; the position that the report is of holds them and
all its pages together.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from ledger_server.domain.money import Counters, NormalBalance
from ledger_server.reading.balances import PART_ACCOUNTS, balances_as_of
from ledger_server.reading.page_tokens import LOWEST, Key, from_token, to_token
from ledger_server.reading.paging import ROW_BYTES, SCAN_SECONDS, Room, weight_of_texts
from ledger_server.reading.queries import AsOf, TrialBalanceQuery
from ledger_server.reading.snapshots import Snapshot, SnapshotFrom
from ledger_server.storage import sql
from ledger_server.storage.rows import Row


class Sides(NamedTuple):
    """What was debited and credited, and the difference in the column of the larger side."""

    debits: int = 0
    credits: int = 0
    debit_balance: int = 0
    credit_balance: int = 0

    def __add__(self, other: Sides) -> Sides:  # type: ignore[override]
        debits, credits, debit_balance, credit_balance = other
        return Sides(
            self.debits + debits,
            self.credits + credits,
            self.debit_balance + debit_balance,
            self.credit_balance + credit_balance,
        )


class TrialBalanceRow(NamedTuple):
    """An account's line."""

    account_id: str
    external_id: str | None
    name: str
    normal_balance: NormalBalance
    currency: str
    currency_exponent: int
    lock_version: int
    posted: Sides
    pending: Sides


class TrialBalanceTotal(NamedTuple):
    """What the accounts of a currency add up to."""

    currency: str
    currency_exponent: int
    account_count: int
    posted: Sides
    pending: Sides


class TrialBalance(NamedTuple):
    """A page of a trial balance, with the totals on the first."""

    rows: list[TrialBalanceRow]
    totals: list[TrialBalanceTotal]
    next_page_token: str
    position: int
    epoch: str


async def get_trial_balance(snapshot_from: SnapshotFrom, query: TrialBalanceQuery) -> TrialBalance:
    """A page; `snapshot_from` gives a snapshot at a position or later. Raises PositionInFuture."""
    start = from_token(query, LOWEST)
    async with snapshot_from(start.position if query.page_token else query.min_position) as at:
        position = start.position if query.page_token else at.position
        # Looked up first: a position of the future is refused, whether there are accounts or not.
        as_of = query.as_of
        await balances_as_of(at, [], as_of)
        as_of = as_of.known_by(position)
        rows = await _rows(at, start.number, as_of, query.page_size + 1)
        epoch = at.epoch
    totals = [] if query.page_token else await _totals(snapshot_from, position, as_of)
    fitting = _fitting(rows[: query.page_size], totals)
    token = to_token(query, Key.at(fitting[-1][0], position) if len(fitting) < len(rows) else None)
    return TrialBalance([row for _, row in fitting], totals, token, position, epoch)


def _fitting(
    rows: list[tuple[int, TrialBalanceRow]], totals: list[TrialBalanceTotal]
) -> list[tuple[int, TrialBalanceRow]]:
    """As many of the lines as fit into a message beside the totals, at least one if there is any."""
    room = Room()
    room.take(ROW_BYTES * len(totals))
    for n, (_, row) in enumerate(rows):
        if not room.take(ROW_BYTES + weight_of_texts(row.name, row.external_id)):
            return rows[: max(n, 1)]
    return rows


async def _totals(snapshot_from: SnapshotFrom, position: int, as_of: AsOf) -> list[TrialBalanceTotal]:
    totals: dict[str, TrialBalanceTotal] = {}
    after = LOWEST.number
    while True:
        async with snapshot_from(position) as at:
            give_up_at = time.monotonic() + SCAN_SECONDS
            while time.monotonic() < give_up_at:
                rows = await _rows(at, after, as_of, PART_ACCOUNTS)
                for _, row in rows:
                    known = totals.get(row.currency)
                    totals[row.currency] = TrialBalanceTotal(
                        row.currency,
                        row.currency_exponent,
                        1 + (known.account_count if known else 0),
                        row.posted + (known.posted if known else Sides()),
                        row.pending + (known.pending if known else Sides()),
                    )
                if len(rows) < PART_ACCOUNTS:
                    return [totals[currency] for currency in sorted(totals)]
                after = rows[-1][0]


async def _rows(at: Snapshot, after: int, as_of: AsOf, count: int) -> list[tuple[int, TrialBalanceRow]]:
    """So many lines, each with its account's created position."""
    rows = await at.connection.fetch(
        sql.list_accounts_of_report, at.ledger_id, after, as_of.position, count, as_of.known_at
    )
    known = await balances_as_of(at, [row["account_id"] for row in rows], as_of)
    return [
        (row["created_position"], _row(row, known[row["account_id"]].lock_version, known[row["account_id"]].counters))
        for row in rows
    ]


def _row(row: Row, lock_version: int, counters: Counters) -> TrialBalanceRow:
    posted_debits, posted_credits, pending_debits, pending_credits = counters
    return TrialBalanceRow(
        row["account_id"],
        row["external_id"],
        row["name"],
        NormalBalance(row["normal_balance"]),
        row["currency"],
        row["currency_exponent"],
        lock_version,
        _sides(posted_debits, posted_credits),
        _sides(posted_debits + pending_debits, posted_credits + pending_credits),
    )


def _sides(debits: int, credits: int) -> Sides:
    return Sides(debits, credits, max(debits - credits, 0), max(credits - debits, 0))
