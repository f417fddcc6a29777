"""Lanes of many ledgers at once."""

from __future__ import annotations

import asyncio

import pytest

from ledger_server.domain.book import Committed
from ledger_server.domain.commands import CreateAccount, CreateLedger
from ledger_server.domain.errors import LedgerNotFound
from ledger_server.domain.ids import NIL_ID, new_id
from ledger_server.domain.money import NormalBalance
from ledger_server.posting.lanes import REMEMBERED_LEDGERS_MAX, Lanes
from ledger_server.posting.outcomes import Written
from ledger_server.posting.worker import Worker
from ledger_server.storage.embedded import EmbeddedPostgres
from ledger_server.storage.pool import read_pool
from tests.conftest import new_database


@pytest.mark.parametrize("workers", [1, 3])
async def test_more_busy_ledgers_than_are_remembered(postgres: EmbeddedPostgres, workers: int) -> None:
    """When one comes to rest and is not worth remembering, all the others are busy: none can be let go of."""
    async with (
        new_database(postgres) as dsn,
        read_pool(dsn, size_max=1) as pool,
        Lanes([Worker(dsn) for _ in range(workers)], pool, lambda _ledger_id, _committed: None).running() as lanes,
        asyncio.timeout(30),
    ):
        answers = await asyncio.gather(*(lanes.submit([_account()]) for _ in range(3 * REMEMBERED_LEDGERS_MAX)))
    assert all(isinstance(answer, LedgerNotFound) for (answer,) in answers)


async def test_a_bug_behind_a_commit_costs_its_callers_an_error_and_nobody_else(postgres: EmbeddedPostgres) -> None:
    def committed(_ledger_id: str, _committed: Committed) -> None:
        if is_broken:
            raise ZeroDivisionError

    create = CreateLedger(ledger_id=NIL_ID, request_id="L", name="L", description="", metadata={})
    async with (
        new_database(postgres) as dsn,
        read_pool(dsn, size_max=1) as pool,
        Lanes([Worker(dsn)], pool, committed).running() as lanes,
        asyncio.timeout(30),
    ):
        is_broken = True
        with pytest.raises(ZeroDivisionError):
            await lanes.submit([create])
        is_broken = False
        (answer,) = await lanes.submit([create])
        assert isinstance(answer, Written)
        assert answer.replayed


def _account() -> CreateAccount:
    """Of a ledger of its own, which is not there."""
    return CreateAccount(
        ledger_id=new_id(),
        request_id=new_id(),
        name="A",
        description="",
        normal_balance=NormalBalance.DEBIT,
        currency="USD",
        currency_exponent=None,
        external_id=None,
        metadata={},
    )
