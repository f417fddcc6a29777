"""A server that cannot have all the connections it would like works with those that it has."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

import asyncpg
import pytest
import structlog
from structlog.testing import LogCapture

from ledger_client import LedgerClient, Unavailable, credit, debit
from ledger_server.posting import retries
from ledger_server.settings import Settings
from tests.conftest import new_server

LEDGERS = 12
# Some of those that would be two for each of four workers.
FURTHER = 3


async def post(client: LedgerClient, name: str) -> None:
    ledger = await client.create_ledger(name)
    one, other = [await client.create_account(ledger.id, n, normal_balance="debit", currency="USD") for n in "ab"]
    await client.create_transaction(ledger.id, [debit(one, 1), credit(other, 1)], status="posted")


async def test_who_calls_alone_after_a_crowd_is_not_left_without_a_connection(database: str) -> None:
    """Those that idle workers hold are not what it waits for."""
    owner = await asyncpg.connect(database)
    name = urlsplit(database).path.removeprefix("/")
    async with new_server(database) as server, LedgerClient(server.address, timeout=8) as client:
        count = await owner.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        await owner.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT {count + FURTHER}')
        for _ in range(2):
            crowd = (post(client, str(n)) for n in range(LEDGERS))
            assert not [error for error in await asyncio.gather(*crowd, return_exceptions=True) if error]
        for n in range(10):
            await post(client, f"alone {n}")
    await owner.close()


async def test_a_worker_that_lost_its_connection_does_not_read_with_the_last_one_there_is(database: str) -> None:
    owner = await asyncpg.connect(database)
    name = urlsplit(database).path.removeprefix("/")
    settings = Settings(drain_seconds=1.0, lanes=1)
    async with new_server(database, settings) as server, LedgerClient(server.address, timeout=8) as client:
        ledger = await client.create_ledger("a")
        one, other = [await client.create_account(ledger.id, n, normal_balance="debit", currency="USD") for n in "ab"]
        count = await owner.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        await owner.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT {count - 1}')
        await owner.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'ledger-lane' AND datname = current_database()"
        )
        for _ in range(3):
            await client.create_transaction(ledger.id, [debit(one, 1), credit(other, 1)], status="posted")
    await owner.close()


async def test_a_database_that_takes_no_writes_is_told_of_once(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = LogCapture()
    monkeypatch.setattr(retries, "log", structlog.wrap_logger(None, [capture], structlog.BoundLogger))
    owner = await asyncpg.connect(database)
    name = urlsplit(database).path.removeprefix("/")

    async def is_read_only(is_it: bool) -> None:
        await owner.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {is_it}')
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ledger-lane%'"
            " AND datname = current_database()"
        )

    options = {"grpc.enable_retries": 0}
    async with new_server(database) as server, LedgerClient(server.address, options=options) as client:
        await post(client, "before")
        await is_read_only(True)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await client.create_ledger("refused")
        await is_read_only(False)
        with suppress(Unavailable):
            await client.create_ledger("lost its connection")
        await post(client, "after")
    assert [(line["log_level"], line["event"]) for line in capture.entries] == [
        ("warning", "writes_refused"),
        ("warning", "writes_taken_again"),
    ]
    await owner.close()
