"""Lanes of many ledgers at once."""

from __future__ import annotations

import asyncio

import pytest

from ledger_client import LedgerClient, credit, debit
from ledger_server.domain.book import Committed
from ledger_server.domain.commands import CreateAccount, CreateLedger
from ledger_server.domain.errors import LedgerNotFound
from ledger_server.domain.ids import NIL_ID, new_id
from ledger_server.domain.money import NormalBalance
from ledger_server.posting import lanes
from ledger_server.posting.lanes import LANE_SIZE, Lanes
from ledger_server.posting.outcomes import Written
from ledger_server.posting.worker import Worker
from ledger_server.storage.embedded import EmbeddedPostgres
from ledger_server.storage.pool import read_pool
from tests import audit
from tests.conftest import Server, new_database, new_server


@pytest.mark.parametrize("workers", [1, 3])
async def test_ledgers_that_do_not_exist(postgres: EmbeddedPostgres, workers: int) -> None:
    async with (
        new_database(postgres) as dsn,
        read_pool(dsn, size_max=1) as pool,
        Lanes([Worker(dsn) for _ in range(workers)], pool, lambda _ledger_id, _committed: None).running() as queue,
        asyncio.timeout(30),
    ):
        answers = await asyncio.gather(*(queue.submit([_account()]) for _ in range(300)))
    assert all(isinstance(answer, LedgerNotFound) for (answer,) in answers)


@pytest.mark.parametrize("remembered", [0, 2, 100])
async def test_more_ledgers_than_are_remembered(
    own_server: Server, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    """Whether memory has all of a ledger, some or nothing, what is written to it is the same."""
    monkeypatch.setattr(lanes, "REMEMBERED_MAX", remembered * (LANE_SIZE + 2))
    async with new_server(own_server.dsn) as server, LedgerClient(server.address) as client:

        async def play(number: int) -> list[int]:
            ledger = await client.create_ledger(f"L{number}")
            cash = await client.create_account(ledger.id, "cash", normal_balance="debit", currency="USD")
            debt = await client.create_account(ledger.id, "debt", normal_balance="credit", currency="USD")
            posted = []
            for _ in range(6):
                entries = [debit(cash, number), credit(debt, number)]
                transaction = await client.create_transaction(ledger.id, entries, status="posted")
                posted.append(int(transaction.entries[0].resulting_balances.posted.amount))
            return posted

        ledgers = range(1, 13)
        assert await asyncio.gather(*map(play, ledgers)) == [[n * (i + 1) for i in range(6)] for n in ledgers]
        assert await audit.findings(server.dsn) == []


async def test_a_bug_behind_a_commit_costs_its_callers_an_error_and_nobody_else(postgres: EmbeddedPostgres) -> None:
    def committed(_ledger_id: str, _committed: Committed) -> None:
        if is_broken:
            raise ZeroDivisionError

    create = CreateLedger(ledger_id=NIL_ID, request_id="L", name="L", description="", metadata={})
    async with (
        new_database(postgres) as dsn,
        read_pool(dsn, size_max=1) as pool,
        Lanes([Worker(dsn)], pool, committed).running() as queue,
        asyncio.timeout(30),
    ):
        is_broken = True
        with pytest.raises(ZeroDivisionError):
            await queue.submit([create])
        is_broken = False
        (answer,) = await queue.submit([create])
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
