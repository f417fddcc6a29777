"""Balances of accounts and categories at any time: the service answers as the model does, however they are folded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from ledger_client import LedgerClient
from ledger_server.reading import balances, categories
from ledger_server.reading.timelines import Sizes, fold
from ledger_server.storage.pool import Connection, connect_lane
from tests import audit
from tests.conftest import Server
from tests.ledger_ids import number_of
from tests.model.client import ServiceLedger
from tests.model.compare import step
from tests.model.ledger import ModelLedger
from tests.model.operations import Call
from tests.model.reads import answer, history, random_question
from tests.model.sequences import OPENING, OPENING_CATEGORIES, calls_of, seeds

ANY_SPEED: Any = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
QUESTIONS = 100


@settings(max_examples=8, derandomize=True, phases=[Phase.generate], **ANY_SPEED)
@given(seeds=seeds(40), seed=st.integers(0, 2**32))
async def test_balances_at_any_time_are_those_of_the_model(
    server: Server, client: LedgerClient, seeds: list[int], seed: int
) -> None:
    await play(server, client, seeds, seed)


@pytest.mark.long
@settings(max_examples=5_000 // QUESTIONS, phases=[Phase.generate, Phase.shrink], **ANY_SPEED)
@given(seeds=seeds(80), seed=st.integers(0, 2**32))
async def test_balances_at_any_time_are_those_of_the_model_for_long(
    server: Server, client: LedgerClient, seeds: list[int], seed: int
) -> None:
    await play(server, client, seeds, seed)


async def play(server: Server, client: LedgerClient, seeds: list[int], seed: int) -> None:
    """A history on a ledger of its own, folded again and again into tiny runs, then questions about it."""
    random = Random(seed)
    sizes = Sizes(random.randint(1, 4), random.randint(2, 3), random.choice([3, 8, 100]), random.randint(1, 4))
    note(f"{sizes}")
    model = ModelLedger()
    service = ServiceLedger(client, (await client.create_ledger(name="Test")).id)
    ledger_id = number_of(service.id)
    async with lane(server.dsn) as connection:
        for n, body in enumerate([*OPENING, *OPENING_CATEGORIES]):
            await step(model, service, Call(f"opening-{n}", body))
        for call in calls_of(seeds, model):
            note(str(call))
            await step(model, service, call)
            if random.random() < 0.2:
                await fold_all(connection, ledger_id, sizes)
        rows = await connection.fetch("SELECT time FROM events WHERE ledger_id = $1 ORDER BY position", ledger_id)
        times: list[datetime] = [row["time"] for row in rows]
        rows = await connection.fetch("SELECT * FROM accounts WHERE ledger_id = $1", ledger_id)
        created = {row["account_id"]: row["created_position"] for row in rows}
    with pytest.MonkeyPatch.context() as patch:
        # So few members of a category, and versions that are not folded, make several parts.
        patch.setattr(categories, "PART_ACCOUNTS", 2)
        patch.setattr(balances, "PART_VERSIONS", random.choice([1, 2, 20_000]))
        patch.setattr(balances, "SCAN_SECONDS", random.choice([0.0, 0.4]))
        for _ in range(QUESTIONS):
            question = random_question(random, model.state, times)
            note(str(question))
            assert await service.balances_as_of(question) == answer(question, model.state, times)
    for account in model.state.accounts:
        versions = history(account, model.state, created[service.id_of(account)])
        assert await service.account_versions(account, newest_first=False) == versions
        assert await service.account_versions(account, newest_first=True) == versions[::-1]
    assert await audit.findings(server.dsn, service.id) == []


async def fold_all(connection: Connection, ledger_id: int, sizes: Sizes) -> None:
    for row in await connection.fetch("SELECT account_id FROM accounts WHERE ledger_id = $1", ledger_id):
        while await fold(connection, ledger_id, row["account_id"], sizes):
            pass


@asynccontextmanager
async def lane(dsn: str) -> AsyncIterator[Connection]:
    connection = await connect_lane(dsn)
    try:
        yield connection
    finally:
        await connection.close()
