"""Repetitions: what a request_id came to is its answer again, whoever asks and however often."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ledger_server.domain.book import Book
from ledger_server.domain.commands import Command
from ledger_server.domain.errors import LedgerError, RequestIdReused, error_from_record
from ledger_server.domain.fingerprint import first_difference
from ledger_server.domain.model import Transaction
from ledger_server.posting.outcomes import (
    Acknowledgement,
    LeanTransaction,
    Written,
    acknowledgement_from,
    discarded_at_from,
    lean_from,
    written_from,
)
from ledger_server.storage import sql
from ledger_server.storage.load import find_entries, listed_entries, transactions_with_entries
from ledger_server.storage.pool import Connection

# One command's answer; an atomic batch's is a list.
Answer = Written | list[Written] | Acknowledgement | LedgerError


class Known(NamedTuple):
    """What a request_id came to: in the table, or a moment ago in this batch."""

    fingerprint: bytes
    answer: Answer


def repeat(known: Known, command: Command) -> Answer:
    field = first_difference(known.fingerprint, command.fingerprint, command)
    if field is not None:
        return RequestIdReused(
            f"the request_id was used with other values; the first field that differs is {field}",
            metadata={"request_id": command.request_id, "field": field},
        )
    match known.answer:
        case LedgerError() as error:
            return error_from_record(error.to_record())
        case list() as answers:
            return [replace(answer, replayed=True) for answer in answers]
        case answer:
            return replace(answer, replayed=True)


async def known_requests(
    connection: Connection, book: Book, request_ids: Sequence[str], commands: Sequence[Command]
) -> dict[str, Known]:
    """The stored outcomes of repeated request ids, as answers, and as full as the commands ask for.

    A handful of statements, however many they are: the ledger may be locked meanwhile.
    """
    if not request_ids:
        return {}
    in_full = {command.request_id for command in commands if command.full_results}
    rows = await connection.fetch(sql.find_requests, book.ledger.id, request_ids)
    stored = await _load_stored(connection, book, rows, in_full)
    known = {}
    for row in rows:
        answer = await _stored_answer(connection, book, row, stored)
        known[row["request_id"]] = Known(row["fingerprint"], answer)
    return known


class _Stored(NamedTuple):
    """What outcomes are rebuilt from."""

    # By id and version: those that are answered in full.
    transactions: Mapping[tuple[str, int], Transaction]
    # Of new ledgers: their outcomes are in the registry, their epochs their own.
    epochs: Mapping[int, str]


async def _load_stored(connection: Connection, book: Book, rows: Sequence[Any], in_full: Collection[str]) -> _Stored:
    versions: set[tuple[str, int]] = set()
    ledger_ids: set[int] = set()
    for row in rows:
        outcome = row["outcome"]
        if outcome is not None and "ledger" in outcome:
            ledger_ids.add(outcome["ledger"]["id"])
        if row["request_id"] not in in_full:
            continue
        if row["object_id"] is not None:
            versions.add((row["object_id"], row["version"]))
        elif "batch" in outcome:
            versions.update((lean.id, lean.version) for lean in map(lean_from, outcome["batch"]))
    transactions: dict[tuple[str, int], Transaction] = {}
    if versions:
        ids, numbers = zip(*versions, strict=True)
        heads = await connection.fetch(
            sql.load_transaction_versions, book.ledger.id, ids, [str(number) for number in numbers]
        )
        found = await transactions_with_entries(connection, book.ledger.id, heads, as_written=True)
        transactions = {(transaction.id, transaction.version): transaction for transaction in found}
    epochs: dict[int, str] = {}
    if ledger_ids:
        epochs = {row["ledger_id"]: row["epoch"] for row in await connection.fetch(sql.load_epochs, sorted(ledger_ids))}
    return _Stored(transactions, epochs)


async def _stored_answer(connection: Connection, book: Book, row: Any, stored: _Stored) -> Answer:
    def transaction_of(lean: LeanTransaction) -> Written:
        return Written(stored.transactions.get((lean.id, lean.version), lean), lean.position, book.epoch)

    if row["object_id"] is not None:
        return transaction_of(lean_from([row["object_id"], row["version"], row["status"], row["position"]]))
    outcome = row["outcome"]
    if "refusal" in outcome:
        return error_from_record(outcome["refusal"])
    if "batch" in outcome:
        return [transaction_of(lean_from(record)) for record in outcome["batch"]]
    if "accounts" in outcome:
        return [written_from(record, book.epoch) for record in outcome["accounts"]]
    if "import" in outcome:
        return acknowledgement_from(outcome["import"], book.epoch)
    if "entry_id" in outcome:
        rows = await find_entries(connection, book.ledger.id, [outcome["entry_id"]])
        (listed,) = await listed_entries(connection, book.ledger.id, rows)
        edited = listed.entry._replace(metadata=outcome["metadata"])
        listed = listed._replace(discarded_at=discarded_at_from(outcome), entry=edited)
        return Written(listed, outcome["position"], book.epoch)
    if "ledger" in outcome:
        return written_from(outcome, stored.epochs[outcome["ledger"]["id"]])
    return written_from(outcome, book.epoch)
