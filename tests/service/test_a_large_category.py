"""A category of very many accounts: as good as one of three."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

import pytest

import ledger_client as lc
from ledger_client import LedgerClient, category_condition, commands, condition, credit, debit
from tests.conftest import Server

T = TypeVar("T")

ACCOUNTS = 100_000
BATCH = 10_000
# Of the machine's other work.
STALL_SECONDS = 0.1


@pytest.mark.long
async def test_a_category_of_very_many_accounts_is_nested_posted_to_read_and_verified(own_server: Server) -> None:
    async with LedgerClient(own_server.address, timeout=600) as client:
        ledger = await client.create_ledger("Large")
        top, one, two = [
            await client.create_category(ledger.id, name, normal_balance="credit", currency="USD")
            for name in ("top", "one", "two")
        ]
        await client.add_category_member(ledger.id, top, member_category=one)
        bank = await client.create_account(ledger.id, "bank", normal_balance="debit", currency="USD")
        ids: list[str] = []
        for _ in range(ACCOUNTS // BATCH):
            batch = [
                commands.create_account("a", normal_balance="credit", currency="USD", categories=[one.id, two.id])
                for _ in range(BATCH)
            ]
            ids += [account.id for account in (await client.batch_create_accounts(ledger.id, batch)).accounts]
        solvent = [category_condition(two, condition("available", ">=", 0))]
        posted: list[float] = []
        over = asyncio.Event()

        async def post() -> None:
            while not over.is_set():
                lines = [debit(bank, 1), credit(random.choice(ids), 1)]
                _, seconds = await timed(
                    client.create_transaction(ledger.id, lines, status="posted", category_conditions=solvent)
                )
                posted.append(seconds)

        async def longest_while(call: Awaitable[object]) -> float:
            posted.clear()
            await call
            # What was waiting at the end too.
            count = len(posted)
            while len(posted) < count + 8:
                await asyncio.sleep(0.01)
            return max(posted)

        async with asyncio.TaskGroup() as posting:
            for _ in range(4):
                posting.create_task(post())
            quiet = await longest_while(asyncio.sleep(10))
            stalls = [
                await longest_while(client.add_category_member(ledger.id, top, member_category=two)),
                await longest_while(client.remove_category_member(ledger.id, top, member_category=one)),
                await longest_while(client.add_category_member(ledger.id, top, member_category=one)),
                await longest_while(client.remove_category_member(ledger.id, two, account=ids[0])),
            ]
            over.set()
        print(f"longest posting: {quiet * 1000:.0f} ms, while nesting {[round(stall * 1000) for stall in stalls]} ms")
        assert max(stalls) < max(STALL_SECONDS, 3 * quiet)

        now, seconds = await timed(client.get_category(ledger.id, top))
        assert seconds < 1
        assert now.balances.posted.amount == (await client.get_category(ledger.id, one)).balances.posted.amount
        lines = [debit(ids[1], 10**9), credit(bank, 10**9)]
        with pytest.raises(lc.ConditionFailed):
            await client.create_transaction(ledger.id, lines, category_conditions=solvent)
        then, seconds = await timed(client.get_category(ledger.id, top, as_of_position=now.position - 100))
        assert seconds < 1
        assert 0 < int(then.balances.posted.amount) <= int(now.balances.posted.amount)
        summed, seconds = await timed(client.get_category(ledger.id, top, as_of=datetime.now(UTC)))
        assert summed.balances == now.balances
        print(f"summed by effective time in {seconds:.0f} s")
        assert not (await client.verify_ledger(ledger.id)).findings


async def timed(call: Awaitable[T]) -> tuple[T, float]:
    """What it answers, and the seconds it took."""
    start = time.perf_counter()
    answer = await call
    return answer, time.perf_counter() - start
