"""Repetitions: what a request_id came to is its answer again, whoever asks and however often."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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


def repeat(known: Known, mark: bytes, command: Command) -> Answer:
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


async def known_requests(
    connection: Connection, book: Book, request_ids: Sequence[str], in_full: Collection[str]
) -> dict[str, Known]:
    """The stored outcomes of repeated request ids, as answers; of the batches `in_full` with whole transactions."""
    if not request_ids:
        return {}
    rows = await connection.fetch(sql.find_requests, book.ledger.id, request_ids)
    known = {}
    for row in rows:
        known[row["request_id"]] = Known(
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
        return [written_from(record, book.epoch) for record in outcome["accounts"]]
    if "import" in outcome:
        return acknowledgement_from(outcome["import"], book.epoch)
    if "entry_id" in outcome:
        rows = await find_entries(connection, book.ledger.id, [outcome["entry_id"]])
        (listed,) = await listed_entries(connection, book.ledger.id, rows)
        edited = listed._replace(discarded_at=None, entry=listed.entry._replace(metadata=outcome["metadata"]))
        return Written(edited, outcome["position"], book.epoch)
    if "ledger" in outcome and outcome["ledger"]["id"] != book.ledger.id:
        # A new ledger's outcome is in the registry, its epoch its own.
        return written_from(outcome, await connection.fetchval(sql.load_epoch, outcome["ledger"]["id"]))
    return written_from(outcome, book.epoch)


async def _transaction_version(
    connection: Connection, ledger_id: str, transaction_id: str, version: int
) -> Transaction:
    heads = await connection.fetch(sql.load_transaction_version, ledger_id, transaction_id, version)
    (transaction,) = await transactions_with_entries(connection, ledger_id, heads, as_written=True)
    return transaction
