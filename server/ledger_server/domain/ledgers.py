"""The rules of ledgers, and of the currencies that each one knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ledger_server.domain.book import Book, Effect
from ledger_server.domain.commands import CreateLedger, DeleteLedger, UpdateLedger
from ledger_server.domain.errors import InvalidField, LedgerNotEmpty, Violation
from ledger_server.domain.ids import new_ledger_id
from ledger_server.domain.inputs import either, patched
from ledger_server.domain.model import EventKind, Ledger
from ledger_server.domain.money import ISO_4217


def create_ledger(book: Book, command: CreateLedger, time: datetime) -> Effect:
    ledger_id = new_ledger_id(time, book.position + 1)
    ledger = Ledger(ledger_id, command.name, command.description, command.metadata, time, time)
    return Effect(command, EventKind.LEDGER_CREATED, book.position + 1, time, ledger=ledger)


def update_ledger(book: Book, command: UpdateLedger, time: datetime) -> Effect:
    old = book.ledger
    ledger = replace(
        old,
        name=either(command.name, old.name),
        description=either(command.description, old.description),
        metadata=patched(old.metadata, command.metadata),
        closed_before=command.closed_before[0] if command.closed_before else old.closed_before,
        updated_at=time,
    )
    return Effect(command, EventKind.LEDGER_UPDATED, book.position + 1, time, ledger=ledger)


def delete_ledger(book: Book, command: DeleteLedger, time: datetime) -> Effect:
    """It is alone in its batch, so what was looked up before still holds."""
    if book.not_empty_account_id is not None:
        raise LedgerNotEmpty(
            "only a ledger whose balances are zero and in which nothing is pending can be deleted",
            metadata={"account_id": book.not_empty_account_id},
        )
    ledger = replace(book.ledger, deleted_at=time, updated_at=time)
    return Effect(command, EventKind.LEDGER_DELETED, book.position + 1, time, ledger=ledger)


def currency_exponent(book: Book, currency: str, asked: int | None) -> int:
    """What the exponent of a new account or category is, or InvalidField."""
    fixed = ISO_4217.get(currency, book.currencies.get(currency))
    if fixed is None:
        if asked is None:
            problem = (
                f"is required for the ledger's first account or category of {currency}, which is not an ISO 4217 code"
            )
            raise InvalidField.of([Violation("currency_exponent", problem)])
        return asked
    if asked is not None and asked != fixed:
        by = "ISO 4217" if currency in ISO_4217 else "the ledger's first account or category of it"
        raise InvalidField.of([Violation("currency_exponent", f"of {currency} is {fixed} by {by}, not {asked}")])
    return fixed
