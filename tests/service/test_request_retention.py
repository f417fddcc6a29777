"""Retention of request ids: old outcomes are forgotten, young ones are not, and the books stay sound."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from ledger_client import LedgerClient, NotFound, commands, credit, debit
from ledger_server.auditing import log
from ledger_server.posting import request_retention
from ledger_server.settings import Settings
from tests import audit
from tests.conftest import new_server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS

WEEK = Settings(drain_seconds=1.0, request_retention=timedelta(days=7))


async def until_left(connection: Any, ledger_id: str, count: int) -> None:
    number = number_of(ledger_id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await connection.fetchval("SELECT count(*) FROM requests WHERE ledger_id = $1", number) != count:
            await asyncio.sleep(0.02)


async def test_old_request_ids_are_forgotten_and_young_ones_are_not(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_retention, "ROUNDS", 7 * 86_400 * 10)
    monkeypatch.setattr(request_retention, "BITE_REQUESTS", 10)
    # Outcomes are made older below; the events of the same commands stay as they are.
    monkeypatch.setattr(log, "KEPT_FOR", timedelta())
    async with AsyncExitStack() as stack:
        # Two servers, both of which forget, as a role that may.
        servers = [await stack.enter_async_context(new_server(database, WEEK)) for _ in range(2)]
        client = await stack.enter_async_context(LedgerClient(servers[0].address))
        connection = await asyncpg.connect(database)
        stack.push_async_callback(connection.close)
        ledger = await client.create_ledger("Test")
        a, b = [
            await client.create_account(ledger.id, name, normal_balance="credit", currency="USD") for name in ("a", "b")
        ]
        entries = [debit(a, 1), credit(b, 1)]
        written = await client.batch_write_transactions(
            ledger.id, [commands.create_transaction(entries, request_id=f"old-{n:03}") for n in range(100)]
        )
        with pytest.raises(NotFound):
            await client.post_transaction(ledger.id, ledger.id, request_id="old-refusal")
        young = await client.create_transaction(ledger.id, entries, request_id="young")
        await connection.execute(
            "UPDATE requests SET created_at = created_at - interval '8 days' "
            "WHERE ledger_id = $1 AND request_id <> 'young'",
            number_of(ledger.id),
        )
        await until_left(connection, ledger.id, 1)
        again = await client.create_transaction(ledger.id, entries, request_id="young")
        assert (again.id, again.position) == (young.id, young.position)
        anew = await client.create_transaction(ledger.id, entries, request_id="old-000")
        assert anew.id != written.results[0].transaction.id, "what is forgotten has an effect again"
        assert (await client.verify_ledger(ledger.id)).sound
    assert await audit.own_findings(database) == []


async def test_without_a_setting_nothing_is_forgotten(database: str) -> None:
    async with new_server(database):
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "forgetting"]
