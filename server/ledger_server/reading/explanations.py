"""Explaining a balance: the entries that it counts, in the order in which they were written, with a running sum."""

from __future__ import annotations

from typing import NamedTuple

from ledger_server.domain.model import Account, ListedEntry, TransactionStatus
from ledger_server.domain.money import Balance, BalanceKind, Counters, Direction, NormalBalance, balance
from ledger_server.reading.accounts import get_account
from ledger_server.reading.balances import versions_as_of
from ledger_server.reading.entries import entries_under
from ledger_server.reading.page_tokens import NUMBER_MAX, Key, from_token, note_from_token, to_token
from ledger_server.reading.paging import Bites, fill
from ledger_server.reading.queries import AsOf, Between, EntryQuery, ExplanationQuery, ListOrder
from ledger_server.reading.snapshots import SnapshotFrom
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


async def explain_balance(snapshot_from: SnapshotFrom, query: ExplanationQuery) -> Explanation:
    """A page of the entries behind a balance; `snapshot_from` gives a snapshot at a position or later.

    The balance and the entries are read in snapshots of their own: the lock_version holds them together, for ever.
    Raises AccountNotFound, PositionInFuture, LockVersionInFuture.
    """
    start = from_token(query, Key(0))
    note = _Note(*map(int, note_from_token(query).split())) if query.page_token else None
    as_of = AsOf(query.as_of.effective_from, query.as_of.effective_before, note.lock_version) if note else query.as_of
    async with snapshot_from(query.min_position) as at:
        (version,) = await versions_as_of(at, [await get_account(at, query.account)], as_of)
        position, epoch = at.position, at.epoch
    account, lock_version = version.account, version.lock_version
    standing = EntryQuery(
        ledger_id=query.ledger_id,
        page_size=query.page_size,
        statuses=frozenset((TransactionStatus.PENDING, TransactionStatus.POSTED)),
        effective_at=Between(as_of.effective_from, as_of.effective_before),
        order=ListOrder.CREATED_ASC,
    )
    bites = Bites.of_versions()

    async def bite(after: Key) -> Key | None:
        last = after.number + bites.next()
        # Behind all entries of that version.
        return Key.at(last, NUMBER_MAX) if last < lock_version else None

    async def read(after: Key, last: Key | None, count: int) -> list[Row]:
        return await entries_under(
            at,
            account.id,
            standing,
            after,
            lock_version if last is None else last.number,
            count,
            as_of_position=version.position,
            pending=_pending_directions(query.balance, account.normal_balance),
        )

    def key_of(row: Row) -> Key:
        return Key.at(row["lock_version"], row["entry_id"])

    async with snapshot_from(position) as at:
        found = await fill(query.page_size, start, bite, read, key_of, give_up_at=at.give_up_at)
        listed_page = await listed_entries(at.connection, at.ledger_id, found.rows)
    entries, debits, credits = [], note.debits if note else 0, note.credits if note else 0
    for listed in listed_page:
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
        position,
        epoch,
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
