"""A ledger whose queue does not move: a crowd is told to come back, before anything is written."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import pytest

from ledger_client import LedgerClient, LedgerError, Overloaded, credit, debit, new_request_id
from ledger_server.posting.admission import CROWD_CALLS, WAIT_SECONDS_MAX
from tests.conftest import Server
from tests.ledger_ids import number_of

NO_RETRIES = {"grpc.enable_retries": 0}

pytestmark = pytest.mark.usefixtures("hurried_queue")


async def test_a_crowd_is_refused_with_a_delay_once_its_first_has_waited_too_long(own_server: Server) -> None:
    async with LedgerClient(own_server.address, auto_batch=False, options=NO_RETRIES) as client:
        ledger = await client.create_ledger("busy")
        other = await client.create_ledger("idle")
        accounts = [
            await client.create_account(ledger.id, side, normal_balance=side, currency="USD")
            for side in ("debit", "credit")
        ]
        entries = [debit(accounts[0], 1), credit(accounts[1], 1)]

        async def post(request_id: str) -> str:
            return (await client.create_transaction(ledger.id, entries, request_id=request_id)).id

        holder = await asyncpg.connect(own_server.dsn)
        async with holder.transaction():
            await holder.execute("SELECT FROM ledgers WHERE ledger_id = $1 FOR UPDATE", number_of(ledger.id))
            in_hand = asyncio.create_task(post("first"))
            await asyncio.sleep(0.2)
            crowd = [asyncio.create_task(post(f"crowd-{n}")) for n in range(CROWD_CALLS)]
            began, refusal = time.monotonic(), None
            while refusal is None and time.monotonic() < began + WAIT_SECONDS_MAX + 3:
                # Several, as the crowd so far may have been taken for the next batch.
                late = [asyncio.create_task(post(new_request_id())) for _ in range(CROWD_CALLS // 4)]
                done, waiting = await asyncio.wait(late, timeout=0.2)
                crowd += waiting
                refusal = next((each.exception() for each in done), None)
            assert isinstance(refusal, Overloaded)
            assert refusal.retry_delay is not None
            assert refusal.retry_delay.total_seconds() >= WAIT_SECONDS_MAX / 2
            assert time.monotonic() - began >= WAIT_SECONDS_MAX
            # The others' ledger is not this one's.
            await client.create_account(other.id, "any", normal_balance="debit", currency="USD")
        await holder.close()
        # Who was let in is answered, and who was refused left nothing.
        answers = await asyncio.gather(in_hand, *crowd, return_exceptions=True)
        written = [answer for answer in answers if not isinstance(answer, Overloaded)]
        assert len(set(written)) == len(written)
        assert (await client.get_ledger(ledger.id)).position == len(written) + len(accounts)


async def test_a_few_callers_wait_as_long_as_it_takes(own_server: Server) -> None:
    async with LedgerClient(own_server.address, auto_batch=False, options=NO_RETRIES) as client:
        ledger = await client.create_ledger("busy")
        holder = await asyncpg.connect(own_server.dsn)

        async def add(n: int) -> LedgerError | None:
            try:
                await client.create_account(ledger.id, str(n), normal_balance="debit", currency="USD")
            except LedgerError as error:
                return error
            return None

        async with holder.transaction():
            await holder.execute("SELECT FROM ledgers WHERE ledger_id = $1 FOR UPDATE", number_of(ledger.id))
            callers = [asyncio.create_task(add(0))]
            await asyncio.sleep(0.1)
            callers += [asyncio.create_task(add(n)) for n in range(1, CROWD_CALLS - 1)]
            await asyncio.sleep(WAIT_SECONDS_MAX + 0.2)
            callers.append(asyncio.create_task(add(CROWD_CALLS)))
            await asyncio.sleep(0.1)
            assert not any(caller.done() for caller in callers)
        await holder.close()
        assert not any(await asyncio.gather(*callers))
