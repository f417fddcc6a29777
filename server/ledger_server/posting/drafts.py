"""Drafts: batches decided on what the lane remembers, while the batch before is still being written.

A batch that writes nothing but transactions and new accounts need not hold the ledger's lock while it is decided. What
memory has not got is read without a lock, and what the batch before changes memory has got; so while PostgreSQL writes
one batch the next is decided, and both processors work. The guard is in the write: it names the position and the epoch
at which the ledger must stand. If it stands elsewhere, because another server wrote or the batch before failed, nothing
is written, and the commands are decided anew under the lock (batch.py).

Of a ledger that memory has nothing of, the batch is decided on what is read for it alone.

Nothing is read for a batch whose accounts and transactions are all in memory. That its request ids and external ids are
new is then taken for granted, as unique indexes refuse what is written if they are not. Where they could not, because a
command is refused or its transaction archived, it is looked up after all.

| phase  | statements                  | why                                                                          |
|--------|-----------------------------|------------------------------------------------------------------------------|
| load   | read_ledger, find_*, load_* | as under the lock, beside the write of the batch before; none if all is known |
| decide | none                        | as under the lock                                                            |
| write  | write_batch                 | a SERIALIZABLE transaction in one message, where one statement writes all    |

What was read never replaces what is in memory, and nothing is forgotten while a batch is drafted beside another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from ledger_server.domain.book import Book, Committed
from ledger_server.domain.commands import (
    ArchiveTransaction,
    AtomicBatch,
    Command,
    CreateAccount,
    CreateTransaction,
    ExpireTransaction,
    ImportChunk,
    PartialPostTransaction,
    PostTransaction,
    ReverseTransaction,
    UpdateTransaction,
)
from ledger_server.domain.model import AccountVersion, Transaction, TransactionStatus
from ledger_server.posting.batch import COMMIT_ENTRIES_MAX, answer_to, load_names, look_up
from ledger_server.posting.bites import BITE, MANY_COMMANDS, SMALL_BITE, Bites
from ledger_server.posting.clock import DatabaseClock
from ledger_server.posting.frames import PLAIN
from ledger_server.posting.loading import flatten, is_in_memory, new_book
from ledger_server.posting.outcomes import Written
from ledger_server.posting.repeats import Answer, Known
from ledger_server.posting.writing import Rows
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection, roll_back

COMMANDS_MAX = 1_000
# How long it may take to connect for and to read what a draft needs; if longer, that is done under the lock, which has
# time. Deciding has as long as it takes: others have their turns meanwhile, and it is not the link that is slow then.
READ_SECONDS = 4.0

_KINDS = frozenset(
    {
        CreateTransaction,
        UpdateTransaction,
        PostTransaction,
        ArchiveTransaction,
        ExpireTransaction,
        PartialPostTransaction,
        ReverseTransaction,
        AtomicBatch,
        ImportChunk,
        CreateAccount,
    }
)


class Draft(NamedTuple):
    """A decided batch, or the first commands of one that would be too large; nothing of it is written yet."""

    answers: list[Answer]
    # What it leaves behind.
    book: Book
    rows: Rows
    # What the request ids came to that were new.
    known: Mapping[str, Known]
    committed: Committed


def can_be_drafted(commands: Sequence[Command]) -> bool:
    """Whether the commands write nothing but transactions and new accounts, and are not too many."""
    return len(commands) <= COMMANDS_MAX and all(type(command) in _KINDS for command in commands)


class OutOfDate(Exception):
    """The book is not what the database holds, or does not hold enough of it; now it is spoilt, too."""


async def draft(
    connect: Callable[[], Awaitable[Connection]],
    ledger_id: int,
    book: Book | None,
    commands: Sequence[Command],
    before: Mapping[str, Known],
    position_before: int | None,
    clock: DatabaseClock,
) -> Draft:
    """Decides the commands and applies them to the book, or to one that it makes.

    `connect` gives the connection to read with, if something has to be read. `before` is what the new request ids of
    the batch on its way came to, and `position_before` the position it began at, if there is one. A `clock` that was
    not seen lately has everything looked up. Where it raises, the book is spoilt.
    """
    items = flatten(commands)
    known: dict[str, Known] = {}
    time = clock.now()
    is_granted = book is not None and time is not None and is_in_memory(book, items)
    stands_at = None if book is None else {(book.epoch, book.position), (book.epoch, position_before)}
    if book is None or time is None or not is_granted:
        async with asyncio.timeout(READ_SECONDS):
            connection = await connect()
            row = await _look_up(connection, ledger_id, commands, items, stands_at)
            book = book if book is not None else new_book(ledger_id, row)
            known = await load_names(connection, book, row, commands, items)
        clock.saw(time := row["now"])
    known.update(before)
    known_before = len(known)
    now = book.time = max(time, book.time)
    rows = Rows(book, now)
    answers: list[Answer] = []
    bites = Bites(SMALL_BITE if len(commands) > MANY_COMMANDS else BITE)
    for command in commands:
        answers.append(await answer_to(book, command, now, rows, known, bites))
        if rows.line_count >= COMMIT_ENTRIES_MAX:
            break
    book.digest = rows.digest
    if is_granted and not (rows and all(map(_is_guarded, answers))):
        async with asyncio.timeout(READ_SECONDS):
            row = await _look_up(await connect(), ledger_id, commands, items, stands_at)
        if row["known_request_ids"] or row["known_external_ids"]:
            raise OutOfDate
    rows.close()
    # Those that were decided here, behind those that were known. What it only repeats may have been loaded without the
    # entries that the next batch is asked for, which finds it in the table.
    own = dict(islice(known.items(), known_before, None))
    return Draft(answers, book, rows, own, Committed(book.epoch, book.position, now, rows.logged))


def _is_guarded(answer: Answer) -> bool:
    """Whether what is written for it is refused by an index, if its request id or external id is not new."""
    if isinstance(answer, list):
        return all(map(_is_guarded, answer))
    if not isinstance(answer, Written):
        return False
    if isinstance(answer.object, Transaction):
        return answer.object.status != TransactionStatus.ARCHIVED
    return isinstance(answer.object, AccountVersion)


async def _look_up(
    connection: Connection,
    ledger_id: int,
    commands: Sequence[Command],
    items: Sequence[Command],
    stands_at: Collection[tuple[str, int | None]] | None,
) -> Any:
    """The row of read_ledger.sql; the ledger must stand at one of these epochs and positions, if any are given."""
    row = await look_up(connection, sql.read_ledger, ledger_id, commands, items)
    if row is None or (stands_at is not None and (row["epoch"], row["position"]) not in stands_at):
        raise OutOfDate
    return row


async def write_draft(connection: Connection, rows: Rows) -> None:
    """Writes what was drafted, in one transaction: in one message if one statement does it.

    Raises what the database raises, CheckViolationError if the ledger does not stand where the draft begins; nothing is
    written then, unless the connection was lost.
    """
    if rows.is_one_statement:
        await rows.write(connection)
        return
    try:
        # Rows that are changed are locked after the ledger's, by everybody.
        lock = f"SELECT FROM ledgers WHERE ledger_id = {rows.ledger_id} FOR NO KEY UPDATE"
        await connection.execute(f"{PLAIN.begin}; {lock}")
        await rows.write(connection)
    except BaseException:
        await roll_back(connection)
        raise
    await connection.execute(PLAIN.commit)
