"""Reading the log: where it begins and ends, and its pages, which prove that no event is missing.

Each function is one statement and so one short snapshot; a long reading is many of them, each after the position
where the one before ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import count
from typing import NamedTuple

import asyncpg

from ledger_server.domain.errors import EpochChanged, PositionInFuture, PositionPruned
from ledger_server.domain.ids import ledger_text
from ledger_server.domain.inputs import Ref
from ledger_server.domain.refusals import accounts_not_found, categories_not_found, ledger_not_found
from ledger_server.events.stored import is_of_moves, unpack
from ledger_server.events.subscription import Watch
from ledger_server.storage import sql
from ledger_server.storage.pool import CONNECTION_ERRORS, AnyConnection, Pool


class Head(NamedTuple):
    """Where a ledger's log stood at a time of the database's clock; if the ledger is deleted, nothing comes after."""

    position: int
    epoch: str
    time: datetime
    is_deleted: bool = False


class Page(NamedTuple):
    """Events that follow a position without a gap, the last one's number and time, and the head at that moment."""

    # As subscribers get them.
    payloads: list[bytes]
    last_position: int
    last_time: datetime
    head: Head
    # Which of them pass wherever nothing is filtered; said by read_page only.
    of_moves: Sequence[bool] = ()


# How long a statement here may take; all are short.
ANSWER_SECONDS = 5.0

# What waiting cures.
DATABASE_AWAY = (*CONNECTION_ERRORS, asyncpg.InsufficientResourcesError)


class LogBrokenError(Exception):
    """The log contradicts itself: a bug, or a database that was put back under a running server."""


@asynccontextmanager
async def answering(pool: Pool) -> AsyncIterator[AnyConnection]:
    """A connection that answers in time, or TimeoutError.

    One that does not is dropped without a word, by which PostgreSQL stops working on the statement. The pool would
    first wait until PostgreSQL confirms that, and behind a link that swallows packets that is for ever.
    """
    async with pool.acquire(timeout=ANSWER_SECONDS) as connection:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                yield connection
        except (TimeoutError, asyncio.CancelledError):
            connection.terminate()
            raise
        except asyncpg.QueryCanceledError as error:
            raise TimeoutError("a database that is set to answer sooner has given up") from error


async def read_start(pool: Pool, watch: Watch) -> Head:
    """The ledger's head, if a stream can start as asked; the checks come in the order of all refusals.

    A category that is deleted may be watched from a position on: there may be something of it after that. The head's
    time is the one at which the ledger last stood at `after_position`, which is now if none is given.
    """
    ledger_id, after_position = watch.ledger_id, watch.after_position
    async with answering(pool) as connection:
        row = await connection.fetchrow(
            sql.start_watch, ledger_id, list(watch.account_ids), after_position, list(watch.category_ids)
        )
    # Of a deleted ledger there is the rest of its log, for whoever has not read to the end.
    if row is None or (row["is_deleted"] and (after_position is None or after_position >= row["position"])):
        raise ledger_not_found(ledger_id)
    head = Head(row["position"], row["epoch"], row["time"], row["is_deleted"])
    if unknown := row["unknown_account_ids"]:
        raise accounts_not_found([Ref(account_id, None) for account_id in unknown])
    if unknown := row["unknown_category_ids"]:
        raise categories_not_found([Ref(category_id, None) for category_id in unknown])
    if watch.epoch and watch.epoch != head.epoch:
        raise epoch_changed(head.epoch)
    if after_position is not None:
        if after_position > head.position:
            raise PositionInFuture(
                f"the ledger is at position {head.position}, before {after_position}",
                metadata={"position": str(head.position)},
            )
        oldest = head.position + 1 if row["oldest_position"] is None else row["oldest_position"]
        if oldest > after_position + 1:
            raise _pruned(after_position, oldest)
    return head


async def read_heads(pool: Pool, ledger_ids: Iterable[int]) -> dict[int, Head]:
    """The heads of these ledgers, by ledger id."""
    async with answering(pool) as connection:
        rows = await connection.fetch(sql.read_heads, list(ledger_ids))
    return {row["ledger_id"]: Head(row["position"], row["epoch"], row["time"], row["is_deleted"]) for row in rows}


async def read_page(pool: Pool, ledger_id: int, after_position: int, events_max: int, bytes_max: int) -> Page:
    """The events right after a position: at least one if there is one, up to the limits.

    Raises PositionPruned if they are not there any more, and LogBrokenError if they should be.
    """
    async with answering(pool) as connection:
        row = await connection.fetchrow(sql.read_events, ledger_id, after_position, events_max, bytes_max)
    if row is None:
        raise ledger_not_found(ledger_id)
    head = Head(row["head"], row["epoch"], row["time"], row["is_deleted"])
    stored = row["payloads"] or []
    if not stored and head.position == after_position:
        return Page([], after_position, head.time, head)
    last_position = after_position + len(stored)
    # Positions are dense: as many events as numbers, the first and the last as counted.
    if not stored or row["first_position"] != after_position + 1 or row["last_position"] != last_position:
        async with answering(pool) as connection:
            oldest = await connection.fetchval(sql.read_oldest_position, ledger_id)
        if head.position > after_position and (oldest is None or oldest > after_position + 1):
            raise _pruned(after_position, head.position + 1 if oldest is None else oldest)
        raise LogBrokenError(
            f"ledger {ledger_text(ledger_id)} is at {head.position}, and after {after_position} come {len(stored)} "
            f"events, {row['first_position']} to {row['last_position']}"
        )
    payloads = list(map(unpack, count(after_position + 1), row["times"], stored))
    return Page(payloads, last_position, row["times"][-1], head, list(map(is_of_moves, stored)))


def seen_at(page: Page) -> datetime:
    """When the ledger stood where the page ends: at the page's moment if that is the head, else when it was written."""
    return page.head.time if page.last_position == page.head.position else page.last_time


def epoch_changed(epoch: str) -> EpochChanged:
    return EpochChanged(
        f"the ledger's epoch is {epoch}: the database was restored, and what was read before may never have been",
        metadata={"epoch": epoch},
    )


def _pruned(after_position: int, oldest: int) -> PositionPruned:
    return PositionPruned(
        f"the events after position {after_position} are pruned; the oldest one left is {oldest}",
        metadata={"oldest_position": str(oldest)},
    )
