"""Balances as of any time: which entries count, by their effective time and by what was known.

What was known is always a lock_version of each account, whose counters are kept for ever. By effective time its changes
are summed up, from the account's timeline (see timelines.py) and the few versions that are not folded yet.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ledger_server.domain.book import TAIL_VERSIONS
from ledger_server.domain.errors import LockVersionInFuture
from ledger_server.domain.model import AccountVersion
from ledger_server.domain.money import Counters
from ledger_server.reading.paging import SCAN_SECONDS
from ledger_server.reading.queries import NOW, AsOf
from ledger_server.reading.snapshots import Snapshot
from ledger_server.storage import sql
from ledger_server.storage.rows import Row, counters_from

# Beyond so many unfolded versions a read asks for a fold: the one that the lane asked for was lost.
LONG_TAIL_VERSIONS = 2 * TAIL_VERSIONS
# So many accounts are read by one statement.
PART_ACCOUNTS = 100
# So many versions are read by one statement. Those between what is folded and what was known may be many more.
PART_VERSIONS = 20_000
_NOTHING = Counters()


class KnownBalance(NamedTuple):
    """An account's counters as of some time, its last lock_version that was known then, and the position of that."""

    lock_version: int
    position: int
    counters: Counters


async def balances_as_of(at: Snapshot, account_ids: Iterable[str], as_of: AsOf) -> dict[str, KnownBalance]:
    """The counters of these accounts, which exist, by account id: two statements, however many they are.

    Raises PositionInFuture. An account that was not there yet counts nothing, at lock_version 0.
    """
    at.refuse_future(as_of.position)
    ids = sorted(set(account_ids))
    rows = await at.connection.fetch(
        sql.find_account_versions, at.ledger_id, ids, as_of.position, as_of.known_at, as_of.lock_version
    )
    known = {row["account_id"]: _known_from(row) for row in rows}
    if as_of.effective_from is None and as_of.effective_before is None:
        return known
    for row in rows:
        if row["lock_version"] - row["folded_version"] > LONG_TAIL_VERSIONS:
            at.grown.add(row["account_id"])
    return await _within(at, known, as_of)


async def versions_as_of(at: Snapshot, versions: Sequence[AccountVersion], as_of: AsOf) -> list[AccountVersion]:
    """These accounts, read as they stand, with their balances as of some time instead.

    Raises PositionInFuture, and LockVersionInFuture if one of them has not got that far.
    """
    if as_of == NOW:
        return list(versions)
    for version in versions:
        if as_of.lock_version is not None and as_of.lock_version > version.lock_version:
            raise LockVersionInFuture(
                f"the account is at lock_version {version.lock_version}",
                metadata={"account_id": version.account.id, "lock_version": str(version.lock_version)},
            )
    known = await balances_as_of(at, [version.account.id for version in versions], as_of)
    return [_at(version, known[version.account.id]) for version in versions]


async def versions_as_of_in_time(at: Snapshot, versions: Sequence[AccountVersion], as_of: AsOf) -> list[AccountVersion]:
    """As `versions_as_of`, of as many of them as can be read while the snapshot may be held; at least some."""
    give_up_at = time.monotonic() + SCAN_SECONDS
    read: list[AccountVersion] = []
    while len(read) < len(versions) and not (read and time.monotonic() > give_up_at):
        read += await versions_as_of(at, versions[len(read) : len(read) + PART_ACCOUNTS], as_of)
    return read


def _known_from(row: Row) -> KnownBalance:
    return KnownBalance(row["lock_version"], row["balance_position"], counters_from(row))


def _at(version: AccountVersion, known: KnownBalance) -> AccountVersion:
    return AccountVersion(version.account, known.lock_version, known.counters, known.position)


async def _within(at: Snapshot, known: Mapping[str, KnownBalance], as_of: AsOf) -> dict[str, KnownBalance]:
    """Of what is known, what counts in an effective window: all before its end less all before its beginning."""
    times = [each.isoformat() for each in (as_of.effective_from, as_of.effective_before) if each is not None]
    rows = await at.connection.fetch(
        sql.sum_changes_before,
        at.ledger_id,
        list(known),
        [str(balance.lock_version) for balance in known.values()],
        times,
        PART_VERSIONS // len(known) if known else 0,
    )
    sums: dict[tuple[str, datetime], Counters] = {
        (row["account_id"], row["before"]): counters_from(row) for row in rows
    }
    left = {_Left.of(row) for row in rows if row["left_first"] is not None}
    async for one, before, part in _in_parts(at, left, times):
        sums[one.account_id, before] = sums[one.account_id, before].plus(part, one.sign)
    balances = {}
    for account_id, balance in known.items():
        end, start = balance.counters, _NOTHING
        if as_of.effective_before is not None:
            end = sums.get((account_id, as_of.effective_before), _NOTHING)
        if as_of.effective_from is not None:
            start = sums.get((account_id, as_of.effective_from), _NOTHING)
        balances[account_id] = balance._replace(counters=Counters(*(a - b for a, b in zip(end, start, strict=True))))
    return balances


class _Left(NamedTuple):
    """Versions that are still to be read; the first only gives the counters that the next one's are compared with."""

    account_id: str
    first_version: int
    last_version: int
    sign: int

    @classmethod
    def of(cls, row: Row) -> _Left:
        return cls(row["account_id"], row["left_first"], row["left_last"], row["left_sign"])


async def _in_parts(
    at: Snapshot, left: Iterable[_Left], times: Sequence[str]
) -> AsyncIterator[tuple[_Left, datetime, Counters]]:
    """What the versions changed before each time, in parts. They never change, so they need not be of one snapshot."""
    give_up_at = time.monotonic() + SCAN_SECONDS
    for one in left:
        for first in range(one.first_version, one.last_version, PART_VERSIONS):
            if time.monotonic() > give_up_at:
                await at.renew()
                give_up_at = time.monotonic() + SCAN_SECONDS
            last = min(first + PART_VERSIONS, one.last_version)
            rows = await at.connection.fetch(sql.sum_versions_between, at.ledger_id, one.account_id, first, last, times)
            for row in rows:
                yield one, row["before"], counters_from(row)
