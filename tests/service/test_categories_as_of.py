"""Categories as of a time that the log does not reach back to; for all others see test_balances_over_time.py."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

import ledger_client as lc
from ledger_client import Ledger, LedgerClient, credit, debit
from tests.conftest import Server


async def test_a_time_before_a_pruned_log_begins_is_refused_and_later_ones_are_answered(
    client: LedgerClient, ledger: Ledger, server: Server
) -> None:
    category = await client.create_category(ledger.id, "c", normal_balance="credit", currency="USD")
    one, other = [
        await client.create_account(ledger.id, "a", normal_balance="credit", currency="USD", categories=categories)
        for categories in ([category], [])
    ]
    await client.create_transaction(ledger.id, [debit(other, 5), credit(one, 5)], status="posted")
    connection = await asyncpg.connect(server.dsn)
    try:
        now = await connection.fetchval("SELECT event_time FROM ledgers WHERE ledger_id = $1", ledger.id)
        await connection.execute("DELETE FROM events WHERE ledger_id = $1", ledger.id)
    finally:
        await connection.close()
    read = await client.get_category(ledger.id, category, known_at=now)
    assert read.balances.posted.amount == "5"
    with pytest.raises(lc.PositionPruned):
        await client.get_category(ledger.id, category, known_at=now - timedelta(microseconds=1))
