"""Rows 19, 21 and 22: the same request again, from many at once, after leaving at any moment, or with another body."""

from __future__ import annotations

import asyncio
import random

import asyncpg

from ledger_client import RequestIdReused, credit, debit, new_request_id
from tests.faults import controls
from tests.faults.history import Call, Outcome, compare, read_recorded
from tests.faults.report import Result
from tests.faults.rounds import audit_books, check
from tests.faults.rows import row
from tests.faults.stage import Stage
from tests.faults.traffic import UNKNOWN, Traffic, new_traffic

CALLERS = 32
LANES, READERS = 4, 8


async def _two_servers(stage: Stage) -> tuple[str, list[str]]:
    database = await stage.database()
    servers = [await stage.server(database.dsn, lanes=LANES, readers=READERS) for _ in range(2)]
    return database.dsn, [server.address for server in servers]


@row("19", "the same key from 32 callers on two servers", rounds=200)
async def same_key_at_once(stage: Stage, rounds: int) -> Result:
    result, (dsn, addresses) = Result(), await _two_servers(stage)
    async with new_traffic(addresses, stage.seed) as traffic:
        one, other = traffic.accounts[:2]
        for _ in range(rounds):
            call = Call(f"same-{(id_ := new_request_id())}", id_)

            async def ask(number: int, call: Call = call) -> tuple[str, int]:
                written = await traffic.clients[number % 2].create_transaction(
                    one.ledger_id, [debit(one, 1), credit(other, 1)], description=call.key, request_id=call.request_id
                )
                return written.id, written.position

            answers = set(await asyncio.gather(*(ask(n) for n in range(CALLERS))))
            result.expect(len(answers) == 1, f"{len(answers)} answers to one request_id")
            call.transaction_id, call.position = answers.pop()
            call.outcome = Outcome.ACKNOWLEDGED
            traffic.history.calls.append(call)
            result.acknowledged += CALLERS
        verdict = compare(traffic.history, await read_recorded(dsn, one.ledger_id))
        result.findings += verdict.sentences()
        await audit_books(result, traffic.clients[0], dsn, one.ledger_id)
        result.lost, result.doubled, result.rounds = len(verdict.lost), len(verdict.doubled), rounds
        result.control = f"{await _look_then_write(dsn)} doubled by looking first"
        result.expect(not result.control.startswith("0 "), "the control doubled nothing")
    return result


async def _look_then_write(dsn: str) -> int:
    """The control: two who first look for the key, then write."""
    pool = await asyncpg.create_pool(dsn, min_size=2, max_size=2)
    await pool.execute("CREATE TABLE control (key bigint)")
    for key in range(50):

        async def write(key: int = key) -> None:
            async with pool.acquire() as connection:
                if not await connection.fetchval("SELECT 1 FROM control WHERE key = $1", key):
                    await connection.execute("INSERT INTO control VALUES ($1)", key)

        await asyncio.gather(write(), write())
    doubled: int = await pool.fetchval("SELECT count(*) - count(DISTINCT key) FROM control")
    await pool.execute("DROP TABLE control")
    await pool.close()
    return doubled


@row("21", "cancelled, or deadline passed, at any moment", rounds=1_000)
async def left_at_any_moment(stage: Stage, rounds: int) -> Result:
    """Whoever leaves asks again with the same request_id and learns what is; nothing stays behind in the server."""
    result, (dsn, addresses) = Result(), await _two_servers(stage)
    async with new_traffic(addresses, stage.seed) as traffic, traffic.running(callers=8):
        await traffic.until_acknowledged(100)
        gate = asyncio.Semaphore(16)
        chance = random.Random(stage.seed)
        made = 0
        while result.rounds < rounds and made < 4 * rounds:
            left = await asyncio.gather(*(_leave(traffic, gate, chance) for _ in range(rounds - result.rounds)))
            result.rounds, made = result.rounds + sum(left), made + len(left)
        await traffic.until_acknowledged(100)
    written = {event.request_id for event in (await read_recorded(dsn, traffic.history.ledger_id)).events}
    abandoned = [call for call in traffic.history.calls if call.said == "left"]
    happened = sum(call.request_id in written for call in abandoned)
    async with new_traffic(addresses, stage.seed + 1) as after:
        traffic.clients = after.clients
        await traffic.settle()
        result.note = f"{len(abandoned)} left, {happened} of them written before they asked again"
        await check(result, traffic, dsn, has_stream=False)
    result.expect(result.rounds >= rounds, f"only {result.rounds} of {made} left in time")
    await _nothing_left_behind(result, dsn)
    # Those who leave after a moment and ask again under a new id.
    await controls.impatient(result, lambda: dsn, addresses, lambda: asyncio.sleep(1), timeout=0.02)
    return result


async def _leave(traffic: Traffic, gate: asyncio.Semaphore, chance: random.Random) -> bool:
    """Calls, and leaves after a moment by cancelling or by a deadline; True if there was no answer."""
    async with gate:
        call = traffic.new_call(chance)
        seconds = chance.uniform(0.0005, 0.03)
        try:
            if chance.random() < 0.5:
                async with asyncio.timeout(seconds):
                    await traffic.ask(chance.choice(traffic.clients), call)
            else:
                hurried = chance.choice(traffic.clients).with_options(timeout=seconds)
                await traffic.ask(hurried, call)
        except TimeoutError:
            pass
        if call.outcome is Outcome.UNKNOWN:
            call.said = "left"
            return True
        return False


async def _nothing_left_behind(result: Result, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    stray = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'ledger-%' AND state LIKE 'idle in trans%'"
    )
    await connection.close()
    result.expect(not stray, f"{stray} transactions were left open")


@row("22", "the same key with another body", rounds=50)
async def other_body(stage: Stage, rounds: int) -> Result:
    result, (dsn, addresses) = Result(), await _two_servers(stage)
    async with new_traffic(addresses, stage.seed) as traffic:
        one, other = traffic.accounts[:2]

        async def write(number: int, amount: int, key: str, id_: str) -> int:
            try:
                await traffic.clients[number % 2].create_transaction(
                    one.ledger_id, [debit(one, amount), credit(other, amount)], description=key, request_id=id_
                )
            except RequestIdReused:
                return 0
            except UNKNOWN as error:
                result.findings.append(str(error))
            return 1

        for n in range(rounds):
            id_ = new_request_id()
            # Both at once, so that either may be the first.
            accepted = sum(await asyncio.gather(write(n, 1, id_, id_), write(n + 1, 2, id_, id_)))
            result.expect(accepted == 1, f"{accepted} of two bodies were accepted")
            result.acknowledged += accepted
        recorded = await read_recorded(dsn, one.ledger_id)
        result.doubled = len(recorded.keys) - rounds
        result.expect(len(recorded.keys) == rounds, f"{len(recorded.keys)} transactions of {rounds} keys")
        result.rounds = rounds
        await audit_books(result, traffic.clients[0], dsn, one.ledger_id)
        # The control: two who each take a request_id of their own.
        accepted = sum(await asyncio.gather(*(write(n, 1 + n, "control", new_request_id()) for n in range(2))))
        keys = list((await read_recorded(dsn, one.ledger_id)).keys.values())
        result.control = f"{accepted} of two bodies accepted under ids of their own"
        result.expect(accepted == 2 and keys.count("control") == 2, "the control was refused")
    return result
