"""Ledgers' numbers, by which the tables know them."""

from __future__ import annotations

from ledger_server.domain.ids import parse_ledger_id


def number_of(ledger_id: str) -> int:
    """The number of a ledger that is there."""
    number = parse_ledger_id(ledger_id)
    assert number is not None, ledger_id
    return number
