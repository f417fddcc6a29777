"""A verification: the head, then the log, then table after table, at one position, beside writers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from ledger_server.auditing.categories import walk_categories
from ledger_server.auditing.findings import Finding, KnownDigest, Progress, Verdict
from ledger_server.auditing.log import LogCheck
from ledger_server.auditing.snapshots import bite, finite
from ledger_server.auditing.tables import CHECKS, Span, walk
from ledger_server.domain.errors import EpochChanged
from ledger_server.domain.ids import ledger_text
from ledger_server.domain.refusals import ledger_not_found
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection, Pool, snapshot
from ledger_server.storage.rows import Row

# Whoever watches is told this often.
PROGRESS_SECONDS = 0.2
# More at once would keep the readers' connections from those who read.
VERIFICATIONS_MAX = 2
# The log, the tables, and the balances of categories.
CHECKS_TOTAL = 1 + len(CHECKS) + 1


@dataclass(frozen=True, slots=True)
class Verification:
    """What is to be verified: a ledger; against what somebody remembers of it, if anything.

    It ends when there are `findings_max` findings. `epoch`: of the known digest, "" if it is not to be compared.
    """

    ledger_id: int
    known: KnownDigest | None = None
    epoch: str = ""
    findings_max: int = 100


class Auditor:
    """The front door of auditing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(VERIFICATIONS_MAX)

    async def read_digest(self, ledger_id: int, timeout: float | None) -> tuple[int, bytes, str]:
        """The position, digest and epoch of a log as it stands, or LedgerNotFound."""
        async with asyncio.timeout(timeout), snapshot(self._pool) as connection:
            row = await connection.fetchrow(sql.read_digest, ledger_id)
        if row is None:
            raise ledger_not_found(ledger_id)
        return row["position"], row["digest"], row["epoch"]

    async def verify(self, asked: Verification) -> AsyncGenerator[Progress | Finding | Verdict, None]:
        """As `verify`, once it is its turn."""
        async with self._turns, aclosing(verify(self._pool, asked)) as said:
            async for told in said:
                yield told


async def verify(pool: Pool, asked: Verification) -> AsyncGenerator[Progress | Finding | Verdict, None]:
    """Progress and findings as they come, and one verdict at the end.

    Raises LedgerNotFound, EpochChanged, PositionPruned, DatabaseUnavailable.
    """

    async def read_start(connection: Connection) -> Row | None:
        return await connection.fetchrow(sql.verify_start, asked.ledger_id)

    start = await bite(pool, read_start)
    if start is None:
        raise ledger_not_found(asked.ledger_id)
    if asked.epoch and asked.epoch != start["epoch"]:
        raise EpochChanged(
            f"the ledger's epoch is {start['epoch']}: the database was restored, and digests of before tell nothing",
            metadata={"epoch": start["epoch"]},
        )
    log = LogCheck(pool, asked.ledger_id, start, asked.known)
    count, rows, told_at = 0, 0, 0.0
    async with aclosing(_steps(pool, asked, start, log)) as steps:
        async for progress, findings in steps:
            for finding in findings:
                yield finding
                count += 1
                if count == asked.findings_max:
                    yield _verdict(start, log, count, rows, is_complete=False)
                    return
            rows += progress.rows
            if time.monotonic() - told_at >= PROGRESS_SECONDS:
                told_at = time.monotonic()
                yield progress._replace(rows=rows)
    yield _verdict(start, log, count, rows, is_complete=True)


async def _steps(
    pool: Pool, asked: Verification, start: Row, log: LogCheck
) -> AsyncGenerator[tuple[Progress, list[Finding]], None]:
    """Bite after bite of all checks; the progress of each counts its own rows only."""
    position: int = start["position"]
    yield Progress("events", 0, CHECKS_TOTAL, 0, 0.0), list(_judge_head(asked, start))
    async for count, findings in log.walk():
        yield Progress("events", 0, CHECKS_TOTAL, count, log.position / max(position, 1)), findings
    yield Progress("events", 1, CHECKS_TOTAL, 0, 1.0), list(_judge_end(start, log))
    span = Span(position, finite(start["created_at"]), start["now"])
    for done, check in enumerate(CHECKS, start=1):
        async for rows, findings, last_id in walk(pool, asked.ledger_id, position, check):
            yield Progress(check.name, done, CHECKS_TOTAL, rows, check.fraction(span, last_id)), findings
    async for rows, findings, last_id in walk_categories(pool, asked.ledger_id, position):
        yield Progress("category_balances", CHECKS_TOTAL - 1, CHECKS_TOTAL, rows, span.by_time(last_id)), findings
    yield Progress("", CHECKS_TOTAL, CHECKS_TOTAL, 0, 1.0), []


def _judge_head(asked: Verification, start: Row) -> list[Finding]:
    """The ledger's row: as far as its log goes, and as far as anybody remembers it went."""
    key = {"ledger_id": ledger_text(asked.ledger_id)}
    position, newest = start["position"], start["newest_position"]
    found = []
    if (newest or 0) != position:
        found.append(Finding("ledgers", key, "position, of its newest event", str(newest or 0), str(position)))
    if start["monitor_count"] != start["monitors"]:
        counts = (str(start["monitors"]), str(start["monitor_count"]))
        found.append(Finding("ledgers", key, "monitor_count, of monitors that are not deleted", *counts))
    if asked.known is not None and asked.known.position > position:
        expected = f"{asked.known.position} or later"
        found.append(Finding("ledgers", key, "position, by the digest that was kept", expected, str(position)))
    return found


def _judge_end(start: Row, log: LogCheck) -> list[Finding]:
    """The ledger's row, once its log is read."""
    key = {"position": str(start["position"])}
    found = []
    if log.digest and log.position == start["position"] and log.digest != start["digest"]:
        found.append(Finding("ledgers", key, "digest, of its newest event", log.digest.hex(), start["digest"].hex()))
    if log.position == start["position"] and log.deleted_at != start["deleted_at"]:
        words = [str(time or "") for time in (log.deleted_at, start["deleted_at"])]
        found.append(Finding("ledgers", key, "deleted_at, by its newest event", *words))
    if log.time is not None and finite(start["event_time"]) < log.time:
        found.append(Finding("ledgers", key, "event_time", f"{log.time} or later", str(start["event_time"])))
    return found


def _verdict(start: Row, log: LogCheck, count: int, rows: int, *, is_complete: bool) -> Verdict:
    return Verdict(
        count, is_complete, start["position"], start["digest"], start["epoch"], log.checkpoint_position, rows
    )
