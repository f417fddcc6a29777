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
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ledger_server.domain.book import Book, Committed, Effect
from ledger_server.domain.commands import AtomicBatch, Command, DeleteLedger, ImportChunk
from ledger_server.domain.errors import LedgerError, OverlapNotSummed, RequestIdReused, error_from_record
from ledger_server.domain.fingerprint import first_difference
from ledger_server.domain.model import Transaction
from ledger_server.domain.posting import decide
from ledger_server.domain.refusals import ledger_not_found
from ledger_server.posting.columns import quoted_literal
from ledger_server.posting.loading import flatten, load, new_book, transaction_external_ids
from ledger_server.posting.nesting import load_nesting, nests_categories
from ledger_server.posting.outcomes import (
    REFUSALS_KEPT_MAX,
    Acknowledgement,
    LeanTransaction,
    Written,
    acknowledgement_from,
    acknowledgement_record,
    batch_record,
    lean_from,
    record_of,
    written,
    written_from,
)
from ledger_server.posting.writing import Rows
from ledger_server.storage import sql
from ledger_server.storage.load import find_entries, listed_entries, transactions_with_entries
from ledger_server.storage.pool import Connection

# One command's answer; an atomic batch's is a list.
Answer = Written | list[Written] | Acknowledgement | LedgerError
# How many commands are decided while the ones before are written.
CHUNK_COMMANDS = 250
ROLL_BACK_SECONDS = 2.0

# As it is stored: object_id, version, outcome.
Outcome = tuple[str | None, str | None, str | None]


class Frame(NamedTuple):
    """The statements around a batch."""

    begin: str = "BEGIN ISOLATION LEVEL SERIALIZABLE"
    commit: str = "COMMIT"


ALONE = Frame()


class _Known(NamedTuple):
    """What a request_id came to: in the table, or a moment ago in this batch."""

    fingerprint: bytes
    answer: Answer


async def write_batch(
    connection: Connection, ledger_id: str, commands: Sequence[Command], book: Book | None, frame: Frame = ALONE
) -> tuple[list[Answer], Book | None]:
    """Applies the commands in one transaction; returns their answers and the book to remember.

    Raises what the database raises; nothing is written then, unless it was raised by COMMIT itself.
    The book passed in is spoilt by a failure: forget it.
    """
    items = flatten(commands)
    try:
        await connection.execute(frame.begin)
        locked = await _ledger(connection, sql.lock_ledger, ledger_id, commands, items)
        if locked is None:
            await connection.execute(frame.commit)
            return [ledger_not_found(ledger_id) for _ in commands], None
        if book is None or (book.position, book.epoch) != (locked["position"], locked["epoch"]):
            book = new_book(ledger_id, locked)
        if locked["deleted_at"] is not None:
            answers = await _answers_after_deletion(connection, book, locked, commands)
            await connection.execute(frame.commit)
            return answers, None
        try:
            known = await _load(connection, book, locked, commands, items)
        except OverlapNotSummed as error:
            await connection.execute(frame.commit)
            return [error], book
        answers = await _decide_and_write(connection, book, commands, locked["now"], known)
    except BaseException:
        await _roll_back(connection)
        raise
    await connection.execute(frame.commit)
    return answers, book


async def validate(connection: Connection, ledger_id: str, commands: Sequence[Command]) -> list[Answer]:
    """What the commands would be answered, on the snapshot of the caller's read-only transaction; nothing is kept."""
    items = flatten(commands)
    row = await _ledger(connection, sql.read_ledger, ledger_id, commands, items)
    if row is None:
        return [ledger_not_found(ledger_id) for _ in commands]
    book = new_book(ledger_id, row)
    known = await _load(connection, book, row, commands, items)
    rows = Rows(ledger_id, row["now"], book.position, book.digest)
    return [_answer(book, command, row["now"], rows, known) for command in commands]


async def _load(
    connection: Connection, book: Book, row: Any, commands: Sequence[Command], items: Sequence[Command]
) -> dict[str, _Known]:
    """Loads what the commands need, `items` being they with batches opened; what their request ids came to."""
    in_full = {c.request_id for c in commands if isinstance(c, AtomicBatch) and c.full_results}
    known = await _known_requests(connection, book, row["known_request_ids"], in_full)
    await load(connection, book, items, row["known_external_ids"], row["has_categories"])
    if nests_categories(commands[0]) and commands[0].request_id not in known:
        await load_nesting(connection, book, commands[0], row["now"])
    return known


async def _answers_after_deletion(
    connection: Connection, book: Book, row: Any, commands: Sequence[Command]
) -> list[Answer]:
    """A deleted ledger is not found, but its deletion may be repeated."""
    known = await _known_requests(connection, book, row["known_request_ids"], ())
    return [
        _repeat(known[command.request_id], command.mark, command)
        if isinstance(command, DeleteLedger) and command.request_id in known
        else ledger_not_found(book.ledger.id)
        for command in commands
    ]


async def _decide_and_write(
    connection: Connection, book: Book, commands: Sequence[Command], now: datetime, known: dict[str, _Known]
) -> list[Answer]:
    """The answers to the commands, in order, and their rows in the tables.

    A long batch goes in chunks: while PostgreSQL writes the rows of one, the next is decided.
    """
    answers: list[Answer] = []
    logged: list[bytes] = []
    writing: asyncio.Task[None] | None = None
    try:
        for start in range(0, len(commands), CHUNK_COMMANDS):
            rows = Rows(book.ledger.id, now, book.position, book.digest)
            chunk = commands[start : start + CHUNK_COMMANDS]
            answers += [_answer(book, command, now, rows, known) for command in chunk]
            book.digest = rows.digest
            logged += rows.logged
            if writing is not None:
                await writing
            if rows and start + CHUNK_COMMANDS < len(commands):
                writing = asyncio.create_task(rows.write(connection))
                # The statement is on its way before the next chunk takes the processor.
                await asyncio.sleep(0)
            elif rows:
                await rows.write(connection)
    except BaseException:
        if writing is not None:
            await asyncio.wait([writing])
        raise
    book.committed = Committed(book.epoch, book.position, now, logged)
    return answers


def _answer(book: Book, command: Command, now: datetime, rows: Rows, known: dict[str, _Known]) -> Answer:
    """Decides one command, or repeats what its request_id came to."""
    mark = command.mark
    earlier = known.get(command.request_id)
    if earlier is not None:
        return _repeat(earlier, mark, command)
    answer: Answer
    try:
        answer, outcome = _decide(book, command, now, rows)
    except LedgerError as error:
        answer, outcome = error, (None, None, json.dumps({"refusal": error.to_record()}))
        if not error.stored:
            return error
    # The sweep's commands carry no request_id: finding the transaction archived is repetition enough.
    if command.request_id:
        rows.add_request((command.request_id, mark, *outcome))
        known[command.request_id] = _Known(mark, answer)
    return answer


def _decide(book: Book, command: Command, now: datetime, rows: Rows) -> tuple[Answer, Outcome]:
    """Decides a command and gathers its rows; its answer, and its outcome as it is stored."""
    match command:
        case ImportChunk():
            return _decide_one_by_one(book, command, now, rows)
        case AtomicBatch():
            effects = _decide_together(book, command, now)
        case _:
            effect = decide(book, command, now)
            book.apply(effect)
            effects = [effect]
    for effect in effects:
        rows.add_effect(effect, command.request_id)
    answers = [written(effect, book.epoch) for effect in effects]
    if isinstance(command, AtomicBatch):
        return answers, (None, None, json.dumps(batch_record(answers)))
    transaction = effects[0].transaction
    if transaction is not None:
        return answers[0], (transaction.id, str(transaction.version), None)
    return answers[0], (None, None, json.dumps(record_of(answers[0])))


def _decide_together(book: Book, batch: AtomicBatch, now: datetime) -> list[Effect]:
    effects: list[Effect] = []
    with book.all_or_nothing():
        for index, item in enumerate(batch.commands):
            try:
                effect = decide(book, item, now)
            except LedgerError as error:
                raise error.with_metadata(command_index=str(index)) from None
            book.apply(effect)
            effects.append(effect)
    return effects


def _decide_one_by_one(book: Book, chunk: ImportChunk, now: datetime, rows: Rows) -> tuple[Answer, Outcome]:
    refusals: list[tuple[int, LedgerError]] = []
    for index, item in enumerate(chunk.commands):
        try:
            effect = decide(book, item, now)
        except LedgerError as error:
            refusals.append((index, error))
        else:
            book.apply(effect)
            rows.add_effect(effect, chunk.request_id)
    accepted = len(chunk.commands) - len(refusals)
    answer = Acknowledgement(accepted, len(refusals), refusals[:REFUSALS_KEPT_MAX], book.position, book.epoch)
    return answer, (None, None, json.dumps(acknowledgement_record(answer)))


def _repeat(known: _Known, mark: bytes, command: Command) -> Answer:
    field = first_difference(known.fingerprint, mark, command)
    if field is not None:
        return RequestIdReused(
            f"the request_id was used with another {field}",
            metadata={"request_id": command.request_id, "field": field},
        )
    match known.answer:
        case LedgerError() as error:
            return error_from_record(error.to_record())
        case list() as answers:
            return [answer._replace(replayed=True) for answer in answers]
        case Acknowledgement() as answer:
            return answer._replace(replayed=True)
        case answer:
            return answer._replace(replayed=True)


async def _known_requests(
    connection: Connection, book: Book, request_ids: Sequence[str], in_full: Collection[str]
) -> dict[str, _Known]:
    """The stored outcomes of repeated request ids, as answers; of the batches `in_full` with whole transactions."""
    if not request_ids:
        return {}
    rows = await connection.fetch(sql.find_requests, book.ledger.id, request_ids)
    known = {}
    for row in rows:
        known[row["request_id"]] = _Known(
            row["fingerprint"], await _stored_answer(connection, book, row, row["request_id"] in in_full)
        )
    return known


async def _stored_answer(connection: Connection, book: Book, row: Any, in_full: bool) -> Answer:
    if row["object_id"] is not None:
        transaction = await _transaction_version(connection, book.ledger.id, row["object_id"], row["version"])
        return Written(transaction, transaction.position, book.epoch)
    outcome = row["outcome"]
    if "refusal" in outcome:
        return error_from_record(outcome["refusal"])
    if "batch" in outcome:
        leans: list[LeanTransaction] = [lean_from(record) for record in outcome["batch"]]
        if not in_full:
            return [Written(lean, lean.position, book.epoch) for lean in leans]
        return [
            Written(
                await _transaction_version(connection, book.ledger.id, lean.id, lean.version), lean.position, book.epoch
            )
            for lean in leans
        ]
    if "accounts" in outcome:
        return [written_from(record) for record in outcome["accounts"]]
    if "import" in outcome:
        return acknowledgement_from(outcome["import"], book.epoch)
    if "entry_id" in outcome:
        rows = await find_entries(connection, book.ledger.id, [outcome["entry_id"]])
        (listed,) = await listed_entries(connection, book.ledger.id, rows)
        edited = listed._replace(discarded_at=None, entry=listed.entry._replace(metadata=outcome["metadata"]))
        return Written(edited, outcome["position"], outcome["epoch"])
    return written_from(outcome)


async def _transaction_version(
    connection: Connection, ledger_id: str, transaction_id: str, version: int
) -> Transaction:
    heads = await connection.fetch(sql.load_transaction_version, ledger_id, transaction_id, version)
    (transaction,) = await transactions_with_entries(connection, ledger_id, heads, as_written=True)
    return transaction


async def _ledger(
    connection: Connection, statement: str, ledger_id: str, commands: Sequence[Command], items: Sequence[Command]
) -> Any:
    request_ids = [command.request_id for command in commands if command.request_id]
    external_ids = transaction_external_ids(items)
    rows = await connection.fetch(statement, ledger_id, quoted_literal(request_ids), quoted_literal(external_ids))
    return rows[0] if rows else None


async def _roll_back(connection: Connection) -> None:
    """Best effort: a connection that cannot even roll back is broken, and its owner will see that.

    After a statement that was not answered in time, asyncpg would wait until PostgreSQL confirms that it stopped
    working on it, and behind a link that swallows packets that is for ever.
    """
    try:
        if not connection.is_closed():
            async with asyncio.timeout(ROLL_BACK_SECONDS):
                await connection.execute("ROLLBACK")
    except Exception:
        connection.terminate()
