"""Random sequences of everything the service does, answered by the service and by a plain model: equal answers.

A failure prints its calls and the numbers they were made of.
"""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings

from ledger_client import LedgerClient
from tests import audit
from tests.conftest import Server
from tests.ledger_ids import number_of
from tests.model.client import ServiceLedger
from tests.model.compare import step
from tests.model.ledger import ModelLedger
from tests.model.operations import Call
from tests.model.sequences import OPENING, OPENING_CATEGORIES, calls_of, seeds

ANY_SPEED: Any = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck), "print_blob": True}


# Shrinking a failure takes minutes; it is left to the long test.
@settings(max_examples=100, derandomize=True, phases=[Phase.generate], **ANY_SPEED)
@given(seeds=seeds(30))
async def test_the_service_answers_as_the_model_does(server: Server, client: LedgerClient, seeds: list[int]) -> None:
    await play(server, client, seeds)


@pytest.mark.long
@settings(max_examples=2_000, phases=[Phase.generate, Phase.shrink], **ANY_SPEED)
@given(seeds=seeds(50))
async def test_the_service_answers_as_the_model_does_for_long(
    server: Server, client: LedgerClient, seeds: list[int]
) -> None:
    await play(server, client, seeds)


async def play(server: Server, client: LedgerClient, seeds: list[int]) -> None:
    """One sequence on a ledger of its own."""
    model = ModelLedger()
    service = ServiceLedger(client, (await client.create_ledger(name="Test")).id)
    for n, body in enumerate([*OPENING, *OPENING_CATEGORIES]):
        await step(model, service, Call(f"opening-{n}", body))
    for call in calls_of(seeds, model):
        note(str(call))
        await step(model, service, call)
    await compare_histories(model, service)
    living = [monitor.key for monitor in model.state.monitors.values() if not monitor.is_deleted]
    assert await service.monitors() == [model.state.monitor_view(key) for key in living]
    assert await audit.findings(server.dsn, service.id) == []
    assert await row_counts(server.dsn, service.id) == {
        "events": model.state.position,
        "requests": len(model.state.requests),
        "transactions": len(model.state.versions),
        "accounts": len(model.state.accounts),
    }


async def compare_histories(model: ModelLedger, service: ServiceLedger) -> None:
    """All transactions as they stand, and every version each of them ever had."""
    views = [version.view() for version in model.state.all_current()]
    assert await service.transactions() == [
        {name: value for name, value in view.items() if name != "position"} for view in views
    ]
    for key, versions in model.state.versions.items():
        assert await service.versions(key) == [version.view() for version in versions]


async def row_counts(dsn: str, ledger_id: str) -> dict[str, int]:
    connection = await asyncpg.connect(dsn)
    try:
        tables = ("events", "requests", "transactions", "accounts")
        counts = [f"(SELECT count(*) FROM {table} WHERE ledger_id = $1) AS {table}" for table in tables]
        row = await connection.fetchrow(f"SELECT {', '.join(counts)}", number_of(ledger_id))
        assert row is not None
        return dict(row)
    finally:
        await connection.close()
