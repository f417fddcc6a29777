"""Retention: old events go, from the log's beginning, and what is left can still be watched and verified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from ledger_client import Account, Event, Ledger, LedgerClient, PositionPruned, commands, credit, debit
from ledger_server.domain.ids import REGISTRY, ledger_text
from ledger_server.events import retention
from ledger_server.settings import Settings
from ledger_server.storage import sql
from tests import audit
from tests.conftest import new_server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS

MONTH = Settings(drain_seconds=1.0, event_retention=timedelta(days=30))


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def new_books(client: LedgerClient) -> tuple[Ledger, Account, Account]:
    ledger = await client.create_ledger(name="Test")
    a, b = [
        await client.create_account(ledger.id, name, normal_balance="credit", currency="USD") for name in ("a", "b")
    ]
    return ledger, a, b


async def transfers(client: LedgerClient, a: Account, b: Account, count: int) -> int:
    writes = [commands.create_transaction([debit(a, 1), credit(b, 1)], status="posted") for _ in range(count)]
    response = await client.batch_write_transactions(a.ledger_id, writes)
    return response.results[-1].transaction.position


async def age(connection: Any, ledger: Ledger, up_to: int, days: int = 31) -> None:
    """Makes the oldest events older by more than a month, which verification would tell, from their digests."""
    age = f"interval '{days} days'"
    effective_at = f"nullif(coalesce(effective_at, written_at), written_at - {age})"
    for change in (
        f"UPDATE events SET time = time - {age}",
        f"UPDATE account_lines SET effective_at = {effective_at}, written_at = written_at - {age}",
    ):
        await connection.execute(f"{change} WHERE ledger_id = $1 AND position <= $2", number_of(ledger.id), up_to)


async def until_oldest_is(connection: Any, ledger: Ledger, position: int) -> None:
    number = number_of(ledger.id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await connection.fetchval("SELECT min(position) FROM events WHERE ledger_id = $1", number) != position:
            await asyncio.sleep(0.02)


async def test_a_ledger_of_which_nothing_can_be_pruned_is_left_alone(database: str, connection: Any) -> None:
    """Its newest event stays, however old it is."""
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledgers = [await new_books(client) for _ in range(3)]
        last = [await transfers(client, a, b, 2) for _, a, b in ledgers]
    for (ledger, _, _), position in zip(ledgers, last, strict=True):
        await age(connection, ledger, position)

    async def due() -> set[str]:
        rows = await connection.fetch(sql.find_prunable, REGISTRY, MONTH.event_retention, 100)
        return {ledger_text(row["ledger_id"]) for row in rows if row["is_due"]}

    assert await due() == {ledger.id for ledger, _, _ in ledgers}
    for ledger, _, _ in ledgers[1:]:
        await connection.fetchval(sql.prune_events, number_of(ledger.id), MONTH.event_retention, 100)
    assert await due() == {ledgers[0][0].id}


async def test_old_events_go_and_the_rest_can_be_watched_and_verified(
    database: str, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "INTERVAL_SECONDS_MAX", 0.1)
    monkeypatch.setattr(retention, "BITE_EVENTS", 50)
    async with AsyncExitStack() as stack:
        # Two servers, both of which prune.
        servers = [await stack.enter_async_context(new_server(database, MONTH)) for _ in range(2)]
        client = await stack.enter_async_context(LedgerClient(servers[0].address))
        ledger, a, b = await new_books(client)
        last = await transfers(client, a, b, 500)
        await age(connection, ledger, 333)
        await until_oldest_is(connection, ledger, 334)
        assert await audit.own_findings(database) == []
        with pytest.raises(PositionPruned) as caught:
            async with client.watch_balances(ledger.id, after_position=332):
                pytest.fail("entered")
        assert caught.value.metadata["oldest_position"] == "334"
        async with client.watch_events(ledger.id, after_position=333) as stream:
            last = await transfers(client, a, b, 100)
            told = []
            while stream.position != last:
                message = await anext(stream)
                told += [message.position] if isinstance(message, Event) else []
        assert told == list(range(334, last + 1))
        # Writers go on behind a log of which only the newest event is left.
        await age(connection, ledger, last)
        await until_oldest_is(connection, ledger, last)
        # As it was when its digest was made.
        await age(connection, ledger, last, days=-31)
        assert await audit.own_findings(database) == []
        await transfers(client, a, b, 1)
        assert await audit.own_findings(database) == []


async def test_without_a_setting_nothing_is_pruned(database: str, connection: Any) -> None:
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger, _, _ = await new_books(client)
        await age(connection, ledger, 1)
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "pruning"]


async def test_the_auditor_starts_at_the_checkpoint_and_does_not_believe_it(
    database: str, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "INTERVAL_SECONDS_MAX", 0.1)
    async with new_server(database, MONTH) as server, LedgerClient(server.address) as client:
        ledger, a, b = await new_books(client)
        await transfers(client, a, b, 10)
        await age(connection, ledger, 5)
        await until_oldest_is(connection, ledger, 6)
    for tamper, finding in (
        ("UPDATE log_checkpoints SET digest = sha256('x') WHERE ledger_id = $1", "the hash chain breaks at event 6"),
        ("UPDATE log_checkpoints SET position = 4 WHERE ledger_id = $1", "event 5 is missing: 6 comes next"),
        ("DELETE FROM log_checkpoints WHERE ledger_id = $1", "event 1 is missing: 6 comes next"),
        ("DELETE FROM events WHERE ledger_id = $1", "the newest must stay"),
    ):
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(tamper, number_of(ledger.id))
        rows = await audit._read(connection, ledger.id)
        await transaction.rollback()
        assert any(finding in found for found in audit.audit(rows)), tamper


async def test_a_lost_database_is_waited_for(database: str, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "INTERVAL_SECONDS_MAX", 0.1)
    async with new_server(database, MONTH) as server, LedgerClient(server.address) as client:
        ledger, a, b = await new_books(client)
        await transfers(client, a, b, 10)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await age(connection, ledger, 5)
        await until_oldest_is(connection, ledger, 6)
