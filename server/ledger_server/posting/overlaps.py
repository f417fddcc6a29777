"""The overlap of two sets of categories: the counters of the accounts that are directly in one of each.

Sums are of a position, as memberships and versions of accounts are dated. From one position to a later one only those
accounts make a difference that the events in between name; which these are is all that is taken from the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from ledger_server.domain.errors import OverlapNotSummed
from ledger_server.domain.ids import NIL_ID
from ledger_server.domain.model import Overlap, SummedOverlaps
from ledger_server.domain.money import Counters
from ledger_server.events.messages import touched_accounts
from ledger_server.events.stored import unpack
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection
from ledger_server.storage.rows import counters_from

# What the lane sums itself, in about 20 ms: the smaller side's accounts.
SMALL_ACCOUNTS = 1_000
# How many accounts are summed by one statement.
PART_ACCOUNTS = 500
# How much of the log is read by one statement, and parsed without letting go of the processor.
PART_EVENTS = 200
PART_BYTES = 64 * 1024
# Before all accounts of all categories.
NOWHERE = (NIL_ID, NIL_ID)


async def sum_small(connection: Connection, ledger_id: int, overlap: Overlap, position: int) -> Counters:
    """The counters of a small overlap as it stands, at the ledger's position; OverlapNotSummed if it is large."""
    small = await smaller_first(connection, ledger_id, overlap, SMALL_ACCOUNTS)
    if small is None:
        raise OverlapNotSummed
    total = Counters()
    async for part, _ in sum_parts(connection, ledger_id, small, position):
        total = total.plus(part)
    return total


async def smaller_first(connection: Connection, ledger_id: int, overlap: Overlap, most: int) -> Overlap | None:
    """The overlap with the side first that has fewer accounts; None if both have more than so many.

    The same account counts for each category that it is directly in.
    """
    ones, others = map(list, overlap)
    (row,) = await connection.fetch(sql.count_members, ledger_id, ones, others, most + 1)
    if min(row["ones"], row["others"]) > most:
        return None
    return overlap if row["ones"] <= row["others"] else Overlap(overlap.others, overlap.ones)


async def sum_parts(
    connection: Connection,
    ledger_id: int,
    overlap: Overlap,
    position: int,
    after: tuple[str, str] = NOWHERE,
) -> AsyncIterator[tuple[Counters, tuple[str, str] | None]]:
    """Parts of the sum at a position, each with where the next one begins, None with the last one.

    It goes through the accounts of `ones`.
    """
    ones = list(overlap.ones)
    is_last = False
    while not is_last:
        rows = await connection.fetch(sql.list_members_at, ledger_id, ones, position, *after, PART_ACCOUNTS)
        is_last = len(rows) < PART_ACCOUNTS
        if rows:
            after = (rows[-1]["category_id"], rows[-1]["account_id"])
        account_ids = [row["account_id"] for row in rows if row["is_first"]]
        part = await sum_accounts(connection, ledger_id, overlap, account_ids, position)
        yield part, None if is_last else after


async def sum_accounts(
    connection: Connection, ledger_id: int, overlap: Overlap, account_ids: list[str], position: int
) -> Counters:
    """The counters at a position of those of these accounts that were in the overlap then."""
    ones, others = map(list, overlap)
    (row,) = await connection.fetch(sql.sum_shared_accounts, ledger_id, account_ids, ones, others, position)
    return counters_from(row)


async def touched_since(connection: Connection, ledger_id: int, summed: SummedOverlaps, until: int) -> set[str]:
    """The accounts that were touched since overlaps were summed; OverlapNotSummed if that is more than is bearable."""
    if until - summed.position > summed.bearable:
        raise OverlapNotSummed
    touched: set[str] = set()
    position = summed.position
    while position < until:
        accounts, position = await read_touched(connection, ledger_id, position, until)
        touched |= accounts
        if len(touched) > 2 * summed.bearable:
            raise OverlapNotSummed
    return touched


async def read_touched(connection: Connection, ledger_id: int, after: int, until: int) -> tuple[set[str], int]:
    """The accounts whose balances moved or that came or went, by some events after a position, and the last one's."""
    last = min(after + PART_EVENTS, until)
    rows = await connection.fetch(sql.read_chain, ledger_id, after, last, PART_BYTES)
    if not rows or rows[0]["position"] != after + 1:
        # They were pruned meanwhile.
        raise OverlapNotSummed
    events = [unpack(row["position"], row["time"], row["payload"]) for row in rows]
    return {account_id for event in events for account_id in touched_accounts(event)}, rows[-1]["position"]


async def caught_up(
    connection: Connection, ledger_id: int, summed: SummedOverlaps, touched: Iterable[str], until: int
) -> dict[Overlap, Counters]:
    """The sums at a later position, the touched accounts being known."""
    counters = dict(summed.counters)
    for account_ids in parts(touched):
        for overlap, total in counters.items():
            before = await sum_accounts(connection, ledger_id, overlap, account_ids, summed.position)
            after = await sum_accounts(connection, ledger_id, overlap, account_ids, until)
            counters[overlap] = total.plus(before, -1).plus(after)
    return counters


def parts(account_ids: Iterable[str]) -> list[list[str]]:
    """The ids in portions that one statement takes."""
    ids = list(account_ids)
    return [ids[n : n + PART_ACCOUNTS] for n in range(0, len(ids), PART_ACCOUNTS)]
