"""The write path: one SERIALIZABLE transaction for all commands that wait for a ledger.

| phase  | statement                | why                                                                         |
|--------|--------------------------|-----------------------------------------------------------------------------|
| lock   | lock_ledger              | the guard: writers of a ledger go one after another; a loser fails at once  |
| load   | find_requests, load_*    | only what the commands name and memory has not got                          |
| decide | none                     | the pure rules, command after command, on the state in memory               |
| write  | write_batch, and others  | set-based: as many statements for one command as for a thousand             |
| commit | COMMIT                   | acknowledged only after it                                                  |

Memory is used only while the locked row shows the position and the epoch that this lane wrote last.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from ledger_server.domain.book import Book, Committed, Effect
from ledger_server.domain.commands import BATCH_ENTRIES_MAX, AtomicBatch, Command, DeleteLedger, ImportChunk
from ledger_server.domain.deciding import decide
from ledger_server.domain.errors import LedgerError, OverlapNotSummed, TooManyEntries, Violation
from ledger_server.domain.refusals import ledger_not_found, refuse_unequal_sides
from ledger_server.posting.bites import Bites
from ledger_server.posting.columns import quoted_literal
from ledger_server.posting.frames import Frame
from ledger_server.posting.loading import flatten, load, new_book, transaction_external_ids
from ledger_server.posting.nesting import load_nesting, nests_categories
from ledger_server.posting.outcomes import (
    REFUSALS_KEPT_MAX,
    Acknowledgement,
    acknowledgement_record,
    batch_record,
    record_of,
    written,
)
from ledger_server.posting.repeats import Answer, Known, known_requests, repeat
from ledger_server.posting.writing import Rows
from ledger_server.storage import sql
from ledger_server.storage.pool import Connection, Pool, roll_back, snapshot

# How many commands are decided while the ones before are written.
CHUNK_COMMANDS = 250
# A commit is closed once so many entries are written; the commands that are left are those of another.
COMMIT_ENTRIES_MAX = 20_000

# As it is stored: object_id, version, outcome.
Outcome = tuple[str | None, str | None, str | None]


class Done(NamedTuple):
    """A batch, or the first commands of one that would be too large, that was committed."""

    answers: list[Answer]
    # What is to be remembered.
    book: Book | None = None
    # What was added to the log, and the accounts that have many new versions by it; nothing, if nothing was decided.
    committed: Committed | None = None
    grown: frozenset[str] = frozenset()


async def write_batch(
    connection: Connection,
    ledger_id: int,
    commands: Sequence[Command],
    book: Book | None,
    frame: Frame,
    is_locked: Callable[[], None],
) -> Done:
    """Applies the commands in one transaction; if it would become too large, only the first of them.

    `is_locked` is called when the ledger is.

    Raises what the database raises, and TooManyEntries if there are fewer commands to be tried, with which it may be
    possible; nothing is written then, unless it was raised by COMMIT itself.
    The book passed in is spoilt by a failure: forget it.
    """
    items = flatten(commands)
    try:
        await connection.execute(frame.begin)
        locked = await look_up(connection, sql.lock_ledger, ledger_id, commands, items)
        is_locked()
        if locked is None:
            await connection.execute(frame.commit)
            return Done([ledger_not_found(ledger_id) for _ in commands])
        if book is None or (book.position, book.epoch) != (locked["position"], locked["epoch"]):
            book = new_book(ledger_id, locked)
        if locked["deleted_at"] is not None:
            known = await known_requests(connection, book, locked["known_request_ids"], commands)
            await connection.execute(frame.commit)
            rows, bites = Rows(book, locked["now"]), Bites()
            return Done([await answer_to(book, command, locked["now"], rows, known, bites) for command in commands])
        try:
            known = await load_names(connection, book, locked, commands, items)
        except (OverlapNotSummed, TooManyEntries) as error:
            if len(commands) > 1:
                raise
            await connection.execute(frame.commit)
            return Done([error], book)
        done = await _decide_and_write(connection, book, commands, locked["now"], known)
    except BaseException:
        await roll_back(connection)
        raise
    await connection.execute(frame.commit)
    return done


async def validate(pool: Pool, ledger_id: int, commands: Sequence[Command]) -> list[Answer]:
    """What the commands would be answered, on one snapshot, which is let go of before they are decided.

    Raises TooManyEntries if they would write more than an atomic batch may.
    """
    items = flatten(commands)
    async with snapshot(pool) as connection:
        row = await look_up(connection, sql.read_ledger, ledger_id, commands, items)
        if row is None:
            return [ledger_not_found(ledger_id) for _ in commands]
        book = new_book(ledger_id, row)
        known = await load_names(connection, book, row, commands, items)
    now = max(row["now"], book.time)
    rows, bites = Rows(book, now), Bites()
    answers: list[Answer] = []
    # Nothing of it is written, so no refusal may name what an earlier one would have made.
    with book.all_or_nothing():
        for command in commands:
            answers.append(await answer_to(book, command, now, rows, known, bites))
            _refuse_too_many_entries(rows.line_count)
    return answers


async def load_names(
    connection: Connection, book: Book, row: Any, commands: Sequence[Command], items: Sequence[Command]
) -> dict[str, Known]:
    """Loads what the commands need, `items` being they with batches opened; what their request ids came to."""
    known = await known_requests(connection, book, row["known_request_ids"], commands)
    held = row["known_external_ids"]
    if known:
        items = flatten(command for command in commands if command.request_id not in known)
        held = set(held).intersection(transaction_external_ids(items))
    await load(connection, book, items, held, row["has_categories"])
    if nests_categories(commands[0]) and commands[0].request_id not in known:
        await load_nesting(connection, book, commands[0], row["now"])
    return known


async def _decide_and_write(
    connection: Connection, book: Book, commands: Sequence[Command], now: datetime, known: dict[str, Known]
) -> Done:
    """Decides the commands, in order, and writes their rows; of the first only if the rest is too much.

    A long batch goes in chunks: while PostgreSQL writes the rows of one, the next is decided.
    """
    answers: list[Answer] = []
    logged: list[bytes] = []
    grown: set[str] = set()
    writing: asyncio.Task[None] | None = None
    room = COMMIT_ENTRIES_MAX
    bites = Bites(keep_alive=partial(_keep_alive, connection, writing))
    try:
        for start in range(0, len(commands), CHUNK_COMMANDS):
            rows = Rows(book, now)
            for command in commands[start : start + CHUNK_COMMANDS]:
                answers.append(await answer_to(book, command, now, rows, known, bites))
                if rows.line_count >= room:
                    break
            room -= rows.line_count
            is_last = room <= 0 or start + CHUNK_COMMANDS >= len(commands)
            book.digest = rows.digest
            rows.close()
            logged += rows.logged
            grown |= rows.grown
            if writing is not None:
                await writing
            if rows and not is_last:
                writing = asyncio.create_task(rows.write(connection))
                bites.keep_alive = partial(_keep_alive, connection, writing)
                # The statement is on its way before the next chunk takes the processor.
                await asyncio.sleep(0)
            elif rows:
                await rows.write(connection)
            if is_last:
                break
    except BaseException:
        if writing is not None:
            await asyncio.wait([writing])
        raise
    book.time = now
    return Done(answers, book, Committed(book.epoch, book.position, now, logged), frozenset(grown))


async def _keep_alive(connection: Connection, writing: asyncio.Task[None] | None) -> None:
    """Says something, unless more is being said. Raises what that came to."""
    if writing is not None:
        if not writing.done():
            return
        writing.result()
    await connection.execute("SELECT")


async def answer_to(
    book: Book, command: Command, now: datetime, rows: Rows, known: dict[str, Known], bites: Bites
) -> Answer:
    """Decides one command, or repeats what its request_id came to; the book is the caller's until it is through."""
    await bites.next()
    earlier = known.get(command.request_id)
    # A deleted ledger is not found, but its deletion may be repeated.
    if book.ledger.deleted_at is not None and not (earlier is not None and isinstance(command, DeleteLedger)):
        return ledger_not_found(book.ledger.id)
    if earlier is not None:
        return repeat(earlier, command)
    answer: Answer
    try:
        answer, outcome = await _decide(book, command, now, rows, bites)
    except LedgerError as error:
        answer, outcome = error, (None, None, json.dumps({"refusal": error.to_record()}))
        if not error.stored:
            return error
    # The sweep's commands carry no request_id: finding the transaction archived is repetition enough.
    if command.request_id:
        rows.add_request((command.request_id, command.fingerprint, *outcome))
        known[command.request_id] = Known(command.fingerprint, answer)
    return answer


async def _decide(book: Book, command: Command, now: datetime, rows: Rows, bites: Bites) -> tuple[Answer, Outcome]:
    """Decides a command and gathers its rows; its answer, and its outcome as it is stored."""
    match command:
        case ImportChunk():
            return await _decide_one_by_one(book, command, now, rows, bites)
        case AtomicBatch():
            return await _decide_together(book, command, now, rows, bites)
        case _:
            effect = decide(book, command, now)
            book.apply(effect)
    rows.add_effect(effect, command.request_id)
    bites.taken += effect.entry_count
    answer = written(effect, book.epoch)
    transaction = effect.transaction
    if transaction is not None:
        return answer, (transaction.id, str(transaction.version), None)
    return answer, (None, None, json.dumps(record_of(answer)))


async def _decide_together(
    book: Book, batch: AtomicBatch, now: datetime, rows: Rows, bites: Bites
) -> tuple[Answer, Outcome]:
    effects: list[Effect] = []
    entry_count = 0
    with book.all_or_nothing():
        for index, item in enumerate(batch.commands):
            await bites.next()
            try:
                # The edge, which does it of commands by themselves, knows no item before this one.
                refuse_unequal_sides(item)
                effect = decide(book, item, now)
            except LedgerError as error:
                raise error.with_metadata(command_index=str(index)) from None
            book.apply(effect)
            effects.append(effect)
            bites.taken += effect.entry_count
            _refuse_too_many_entries(entry_count := entry_count + effect.entry_count)
    await _add_effects(rows, effects, batch.request_id, bites)
    answers = [written(effect, book.epoch) for effect in effects]
    return answers, (None, None, json.dumps(batch_record(answers)))


async def _decide_one_by_one(
    book: Book, chunk: ImportChunk, now: datetime, rows: Rows, bites: Bites
) -> tuple[Answer, Outcome]:
    effects: list[Effect] = []
    refusals: list[tuple[int, LedgerError]] = []
    entry_count = 0
    # Refused as a whole it leaves nothing.
    with book.all_or_nothing(refused_one_by_one=True):
        for index, item in enumerate(chunk.commands):
            await bites.next()
            try:
                # At the edge it would refuse the whole chunk.
                refuse_unequal_sides(item)
                effect = decide(book, item, now)
            except LedgerError as error:
                refusals.append((index, error))
                continue
            book.apply(effect)
            effects.append(effect)
            bites.taken += effect.entry_count
            _refuse_too_many_entries(entry_count := entry_count + effect.entry_count)
    await _add_effects(rows, effects, chunk.request_id, bites)
    answer = Acknowledgement(len(effects), len(refusals), refusals[:REFUSALS_KEPT_MAX], book.position, book.epoch)
    return answer, (None, None, json.dumps(acknowledgement_record(answer)))


async def _add_effects(rows: Rows, effects: Sequence[Effect], request_id: str, bites: Bites) -> None:
    for effect in effects:
        await bites.next()
        rows.add_effect(effect, request_id)
        bites.taken += effect.entry_count


def _refuse_too_many_entries(count: int) -> None:
    """Of what is one commit or none. What the request has is judged at the edge; posts and others write more."""
    if count > BATCH_ENTRIES_MAX:
        raise TooManyEntries.of([Violation("commands", f"must write at most {BATCH_ENTRIES_MAX} entries together")])


async def look_up(
    connection: Connection, statement: str, ledger_id: int, commands: Sequence[Command], items: Sequence[Command]
) -> Any:
    request_ids = [command.request_id for command in commands if command.request_id]
    external_ids = transaction_external_ids(items)
    rows = await connection.fetch(statement, ledger_id, quoted_literal(request_ids), quoted_literal(external_ids))
    return rows[0] if rows else None
