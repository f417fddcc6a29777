"""The checks of tables: each is walked in the order of its key, a bite at a time, and each row held against others.

| check                | a row is held against                                                                      |
|----------------------|--------------------------------------------------------------------------------------------|
| accounts             | its version 0, the events that created and deleted it, its currency, the history of its    |
|                      | limits, the pairs of its metadata                                                          |
| account_versions     | the version before it and the entries written and discarded at its position; its event     |
| transactions         | the versions before and after it, its event, its entries: whole, numbered, in balance; the |
|                      | pairs of its metadata                                                                      |
| transaction_versions | the same, of the versions that were replaced                                               |
| entries              | the version of a transaction that wrote it, of an account that counts it, what it          |
|                      | reverses; the pairs of its metadata, as it was written and as it stands                    |
| account_timelines    | the versions that are folded into it                                                       |
| entry_reversals      | what stands of the entries that reverse it                                                 |
| requests             | the version that it wrote, and its event                                                   |
| metadata_pairs       | the metadata of the object that they stand for                                             |
| monitors             | what its condition, the last it was given, makes of what it is on, as both stand now       |
| categories           | its first version, the events that created and deleted it, its currency                    |
| category_versions    | the event that tells of it                                                                 |
| category_accounts    | the events by which the account came and left                                              |
| category_nestings    | the events by which the category came and left                                             |

Rows of positions after the one that the verification began at are left out, or held against what one commit wrote with
them, which every snapshot has; so it may take hours beside writers. The newest versions of transactions come before the
replaced ones, or one that is replaced meanwhile could be missed.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ledger_server.auditing.findings import Finding
from ledger_server.auditing.snapshots import UNREADABLE, BiteTooLargeError, bite
from ledger_server.domain.ids import NIL_ID, entry_id, position_of
from ledger_server.domain.money import ISO_4217
from ledger_server.domain.times import EPOCH
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection, Pool
from ledger_server.storage.rows import Row

# A folded run of more versions is judged by its sums, and not change by change: a snapshot would be held too long.
RUN_VERSIONS_MAX = 20_000
BITE_ROWS_MIN, BITE_ROWS_MAX = 64, 4_096
# Bites grow while they take less than the one, and shrink when they take more than the other.
BITE_SECONDS_MIN, BITE_SECONDS_MAX = 0.05, 0.2


class Span(NamedTuple):
    """What a walk goes through: all that was written up to a position, from one time to another.

    Its methods tell how far a walk is, from 0 to 1, by the first column of the key that it has come to.
    """

    position: int
    began: datetime
    ended: datetime

    def by_time(self, id_: str) -> float:
        """An id's, which begins with the time that it was made at."""
        whole = (self.ended - self.began).total_seconds() * 1e3
        done = (UUID(id_).int >> 80) - self.began.timestamp() * 1e3
        return min(max(done / whole, 0.0), 1.0) if whole > 0 else 1.0

    def by_line(self, line: str) -> float:
        """The number of an entry's line, which begins with a position."""
        return min(position_of(int(line)) / max(self.position, 1), 1.0)

    def by_nothing(self, _key: str) -> float:
        """A key in an order that has nothing to do with when it was written."""
        return 0.0


class TableCheck(NamedTuple):
    """A table to be walked: the statement that gives its next keys, and those that judge the rows of such keys."""

    name: str
    walk: str
    judge: Sequence[str]
    first: tuple[object, ...]
    # What some of the statements are told beside the keys.
    further: Mapping[str, object] = {}
    # How far the walk is.
    fraction: Callable[[Span, str], float] = Span.by_time


CHECKS = (
    TableCheck(
        "accounts",
        sql.walk_accounts,
        [sql.verify_accounts, sql.verify_deleted_accounts, sql.verify_metadata_of_accounts],
        (NIL_ID,),
        {sql.verify_accounts: ISO_4217},
    ),
    TableCheck("account_versions", sql.walk_account_versions, [sql.verify_account_versions], (NIL_ID, 0)),
    TableCheck(
        "transactions",
        sql.walk_transactions,
        [sql.verify_versions, sql.verify_dropped_accounts, sql.verify_metadata_of_transactions],
        (NIL_ID, 0),
    ),
    TableCheck(
        "transaction_versions",
        sql.walk_transaction_versions,
        [sql.verify_versions, sql.verify_dropped_accounts],
        (NIL_ID, 0),
    ),
    TableCheck(
        "entries",
        sql.walk_entries,
        [sql.verify_entries, sql.verify_metadata_of_entries],
        (0,),
        fraction=Span.by_line,
    ),
    TableCheck(
        "account_timelines",
        sql.walk_timelines,
        [sql.verify_timelines],
        (NIL_ID,),
        {sql.verify_timelines: RUN_VERSIONS_MAX},
    ),
    TableCheck("entry_reversals", sql.walk_entry_reversals, [sql.verify_entry_reversals], (0,), fraction=Span.by_line),
    TableCheck("requests", sql.walk_requests, [sql.verify_requests], ("",), fraction=Span.by_nothing),
    TableCheck(
        "metadata_pairs",
        sql.walk_metadata_pairs,
        [sql.verify_metadata_pairs],
        (0, "", "", 0),
        fraction=Span.by_nothing,
    ),
    TableCheck("monitors", sql.walk_monitors, [sql.verify_monitors], (NIL_ID,)),
    TableCheck(
        "categories", sql.walk_category_ids, [sql.verify_categories], (NIL_ID,), {sql.verify_categories: ISO_4217}
    ),
    TableCheck("category_versions", sql.walk_category_versions, [sql.verify_category_versions], (NIL_ID, 0)),
    TableCheck("category_accounts", sql.walk_category_accounts, [sql.verify_category_accounts], (NIL_ID, NIL_ID, 0)),
    TableCheck("category_nestings", sql.walk_category_nestings, [sql.verify_category_nestings], (NIL_ID, NIL_ID, 0)),
)


class Bite(NamedTuple):
    """What one bite of a check came to; `last_id` is the key's first column of its last row."""

    rows: int
    findings: list[Finding]
    last_id: str


async def walk(pool: Pool, ledger_id: int, position: int, check: TableCheck) -> AsyncIterator[Bite]:
    """The table's rows up to the position, in bites that take a fraction of a second each."""
    after, size = check.first, BITE_ROWS_MIN
    while True:

        async def read(
            connection: Connection, after: tuple[object, ...] = after, size: int = size
        ) -> tuple[list[Row], list[Finding]]:
            keys = await connection.fetch(check.walk, ledger_id, *after, size)
            columns = [[str(value) for value in column] for column in zip(*keys, strict=True)]
            wrong: list[Row] = []
            try:
                for statement in check.judge if keys else ():
                    further = [check.further[statement]] if statement in check.further else []
                    wrong += await connection.fetch(statement, ledger_id, position, *columns, *further)
            except UNREADABLE as error:
                if len(keys) > 1:
                    raise BiteTooLargeError from error
                key = {name: str(value) for name, value in keys[0].items()}
                return keys, [Finding(check.name, key, "values that can be judged", "", str(error))]
            return keys, [finding_from(ledger_id, row) for row in wrong]

        began = time.monotonic()
        try:
            keys, findings = await bite(pool, read)
        except BiteTooLargeError:
            if size == 1:
                raise
            size = max(size // 8, 1)
            continue
        if not keys:
            return
        yield Bite(len(keys), findings, str(keys[-1][0]))
        after = tuple(keys[-1].values())
        seconds = time.monotonic() - began
        if seconds < BITE_SECONDS_MIN:
            size = min(2 * size, BITE_ROWS_MAX)
        elif seconds > BITE_SECONDS_MAX:
            size = max(size // 2, 1)


def finding_from(ledger_id: int, row: Row) -> Finding:
    """The key of an entry comes with the time that its id is made of; its number remains if that is none."""
    key: dict[str, Any] = row["row_key"]
    if written_at := key.pop("written_at", None):
        with suppress(ValueError, OverflowError):
            if (time := datetime.fromisoformat(written_at)) >= EPOCH:
                key["entry_id"] = entry_id(ledger_id, time, int(key["entry_id"]))
    return Finding(row["table_name"], key, row["problem"], row["expected"] or "", row["found"] or "")
