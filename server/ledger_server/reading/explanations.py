"""Explaining a balance: the entries that it counts, in the order in which they were written, with a running sum."""

from __future__ import annotations

from typing import NamedTuple

from ledger_server.domain.model import Account, ListedEntry
from ledger_server.domain.money import Balance, BalanceKind, Counters, Direction, NormalBalance, balance
from ledger_server.reading.accounts import get_account
from ledger_server.reading.balances import versions_as_of
from ledger_server.reading.page_tokens import LAST_ID, Key, from_token, note_from_token, to_token
from ledger_server.reading.paging import BITE_VERSIONS_MAX, BITE_VERSIONS_MIN, fill
from ledger_server.reading.queries import AsOf, ExplanationQuery
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage import sql
from ledger_server.storage.load import listed_entries
from ledger_server.storage.rows import Row


class ExplainedEntry(NamedTuple):
    """An entry, what it adds to the amount, and the balance of it and all before it."""

    listed: ListedEntry
    effect: int
    running: Balance


class Explanation(NamedTuple):
    """A page of the entries behind a balance."""

    account: Account
    lock_version: int
    balance: Balance
    entries: list[ExplainedEntry]
    next_page_token: str
    position: int
    epoch: str


class _Note(NamedTuple):
    """What a page hands to the next: the lock_version that is explained, and the sums of the entries so far."""

    lock_version: int
    debits: int
    credits: int


async def explain_balance(at: Snapshot, query: ExplanationQuery) -> Explanation:
    """A page of the entries behind a balance. Raises AccountNotFound, PositionInFuture, LockVersionInFuture."""
    start = from_token(query, Key(0))
    note = _Note(*map(int, note_from_token(query).split())) if query.page_token else None
    newest = await get_account(at, query.account)
    as_of = AsOf(query.as_of.effective_from, query.as_of.effective_before, note.lock_version) if note else query.as_of
    (version,) = await versions_as_of(at, [newest], as_of)
    account, lock_version = version.account, version.lock_version
    pending = _pending_directions(query.balance, account.normal_balance)
    bite_versions = BITE_VERSIONS_MIN

    async def bite(after: Key) -> Key | None:
        nonlocal bite_versions
        last = after.number + bite_versions
        bite_versions = min(2 * bite_versions, BITE_VERSIONS_MAX)
        # Behind all entries of that version.
        return Key(last, LAST_ID) if last < lock_version else None

    async def read(after: Key, last: Key | None, count: int) -> list[Row]:
        return await at.connection.fetch(
            sql.explain_balance,
            at.ledger_id,
            account.id,
            after.number,
            after.id,
            lock_version if last is None else last.number,
            version.position,
            [str(int(direction)) for direction in pending],
            as_of.effective_from,
            as_of.effective_before,
            count,
        )

    found = await fill(query.page_size, start, bite, read, lambda row: Key(row["lock_version"], row["entry_id"]))
    entries, debits, credits = [], note.debits if note else 0, note.credits if note else 0
    for listed in await listed_entries(at.connection, at.ledger_id, found.rows):
        amount = listed.entry.amount
        is_debit = listed.entry.direction == Direction.DEBIT
        debits, credits = (debits + amount, credits) if is_debit else (debits, credits + amount)
        running = balance(BalanceKind.POSTED, account.normal_balance, Counters(debits, credits))
        is_increase = is_debit == (account.normal_balance == NormalBalance.DEBIT)
        entries.append(ExplainedEntry(listed, amount if is_increase else -amount, running))
    return Explanation(
        account,
        lock_version,
        balance(query.balance, account.normal_balance, version.counters),
        entries,
        to_token(query, found.key, " ".join(map(str, _Note(lock_version, debits, credits)))),
        at.position,
        at.epoch,
    )


def _pending_directions(kind: BalanceKind, normal_balance: NormalBalance) -> list[Direction]:
    """On which sides a balance counts what is pending: both, none, or the one that takes away."""
    match kind:
        case BalanceKind.POSTED:
            return []
        case BalanceKind.PENDING:
            return list(Direction)
        case BalanceKind.AVAILABLE:
            return [Direction.DEBIT if normal_balance == NormalBalance.CREDIT else Direction.CREDIT]
