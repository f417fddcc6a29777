"""Rows 1 to 3: many at once on two servers; cycles in what they saw; PostgreSQL's serializable pool overflowing.

An account's history is a list: each posting appends to the lists of its accounts, and a read of many accounts sees how
long each list was. In what order the calls took effect follows from it, and if that order runs in a circle, no order
explains what they saw. Calls that ended before others began come before them, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

import asyncpg

from ledger_client import Aborted, Account, LedgerClient, LedgerError, Overloaded, credit, debit, new_request_id
from ledger_client.errors import Unavailable
from tests.faults.report import Result
from tests.faults.rounds import audit_books, check
from tests.faults.rows import row
from tests.faults.stage import Stage
from tests.faults.traffic import Traffic, new_traffic

# With less of either a round proves nothing.
READS_MIN = 100
ACKNOWLEDGED_PER_SECOND_MIN = 50
READERS = 4


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: the lengths it saw, the places it appended at, and when it began and ended."""

    began: float
    ended: float
    seen: Mapping[str, int] = field(default_factory=dict)
    appended: Mapping[str, int] = field(default_factory=dict)


def cycle(operations: Sequence[Operation]) -> list[str]:
    """A circle in the order of the operations, as sentences; empty if there is an order that explains everything."""
    before: dict[object, set[object]] = defaultdict(set)
    writer = {(list_, place): n for n, o in enumerate(operations) for list_, place in o.appended.items()}
    for n, operation in enumerate(operations):
        before[n] |= {writer[each] for each in operation.seen.items() if each in writer and writer[each] != n}
        for list_, length in operation.seen.items():
            after = writer.get((list_, length + 1))
            if after is not None and after != n:
                before[after].add(n)
        for list_, place in operation.appended.items():
            if (list_, place - 1) in writer and writer[list_, place - 1] != n:
                before[n].add(writer[list_, place - 1])
    _add_real_time(before, operations)
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        return [f"a circle: {[operations[n] for n in error.args[1] if isinstance(n, int)][:4]}"]
    return []


def _add_real_time(before: dict[object, set[object]], operations: Sequence[Operation]) -> None:
    """Whoever ended before another began comes first, by way of a chain of moments instead of every pair."""
    moments = sorted(
        [(o.ended, 1, n) for n, o in enumerate(operations)] + [(o.began, 0, n) for n, o in enumerate(operations)]
    )
    last: object = "start"
    for _, is_end, n in moments:
        if is_end:
            moment = ("ended", n)
            before[moment] |= {last, n}
            last = moment
        else:
            before[n].add(last)


@row("1", "concurrent posting, two servers, 16 writers, readers", rounds=5)
async def concurrent(stage: Stage, rounds: int) -> Result:
    """Each round is 60 seconds, or a short one of half of them."""
    result, database = Result(), await stage.database()
    seconds = 30 if stage.is_short else 60
    addresses = [(await stage.server(database.dsn)).address for _ in range(2)]
    for _ in range(rounds):
        async with new_traffic(addresses, stage.chance.randrange(2**32)) as traffic:
            until = time.monotonic() + seconds
            async with traffic.watched(traffic.clients[1]), traffic.running(16):
                reads = await asyncio.gather(*(_read_sums(traffic, c, until, result) for c in traffic.clients))
            await traffic.settle()
            await check(result, traffic, database.dsn)
            result.rounds += 1
            result.expect(
                traffic.acknowledged >= seconds * ACKNOWLEDGED_PER_SECOND_MIN,
                f"only {traffic.acknowledged} acknowledged",
            )
            result.note = f"{sum(reads)} reads of all balances"
            result.expect(sum(reads) >= READS_MIN, f"only {sum(reads)} reads")
    result.control = f"{await _bare_sums(database.dsn)} of the bare writer's reads off balance"
    result.expect(not result.control.startswith("0 "), "the control was always in balance")
    return result


async def _read_sums(traffic: Traffic, client: LedgerClient, until: float, result: Result) -> int:
    """Whenever all balances are read they are of one moment: debits equal credits."""
    ids, count, position = [account.id for account in traffic.accounts], 0, 0
    while time.monotonic() < until and not result.findings:
        try:
            read = await client.batch_get_accounts(traffic.history.ledger_id, ids)
        except Unavailable:
            continue
        for balances in ([a.balances.posted for a in read.accounts], [a.balances.pending for a in read.accounts]):
            total = sum(int(b.debits) - int(b.credits) for b in balances)
            result.expect(total == 0, f"balances off by {total} at position {read.position}")
        result.expect(read.position >= position, f"position {read.position} after {position}")
        position, count = read.position, count + 1
    return count


async def _bare_sums(dsn: str) -> int:
    """The control: transfers as two statements, read by two statements, READ COMMITTED."""
    pool = await asyncpg.create_pool(dsn, min_size=6, max_size=6)
    await pool.execute("CREATE TABLE bare (id int PRIMARY KEY, balance bigint)")
    await pool.execute("INSERT INTO bare VALUES (0, 0), (1, 0)")
    off = 0

    async def write() -> None:
        for _ in range(200):
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("UPDATE bare SET balance = balance - 1 WHERE id = 0")
                await connection.execute("UPDATE bare SET balance = balance + 1 WHERE id = 1")

    async def read() -> None:
        nonlocal off
        for _ in range(200):
            async with pool.acquire() as connection:
                one = await connection.fetchval("SELECT balance FROM bare WHERE id = 0")
                off += one + await connection.fetchval("SELECT balance FROM bare WHERE id = 1") != 0

    await asyncio.gather(*(write() for _ in range(3)), read())
    await pool.execute("DROP TABLE bare")
    await pool.close()
    return off


@row("2", "isolation: cycles in account histories", rounds=10)
async def cycles(stage: Stage, rounds: int) -> Result:
    """Each round is 30 seconds."""
    result, database = Result(), await stage.database()
    addresses = [(await stage.server(database.dsn)).address for _ in range(2)]
    for _ in range(rounds):
        async with new_traffic(addresses, stage.chance.randrange(2**32)) as traffic:
            operations: list[Operation] = []
            until = time.monotonic() + 30
            async with asyncio.TaskGroup() as group:
                for n in range(12):
                    client, chance = traffic.clients[n % 2], random.Random(stage.seed + n)
                    work = _look if n < READERS else _append
                    group.create_task(work(client, traffic.accounts, operations, until, chance))
            result.rounds += 1
            appends = sum(bool(o.appended) for o in operations)
            result.acknowledged += appends
            result.note = f"{len(operations) - appends} reads"
            result.expect(len(operations) - appends >= READS_MIN, f"only {result.note}")
            result.expect(appends >= 30 * ACKNOWLEDGED_PER_SECOND_MIN, f"only {appends} appends")
            result.findings += cycle(operations)
            await audit_books(result, traffic.clients[0], database.dsn, traffic.history.ledger_id)
    found = await _bare_cycle(database.dsn)
    result.control = "a circle found under REPEATABLE READ" if found else ""
    result.expect(bool(found), "the control has no circle")
    return result


async def _append(
    client: LedgerClient, accounts: Sequence[Account], done: list[Operation], until: float, chance: random.Random
) -> None:
    while time.monotonic() < until:
        chosen = chance.sample(list(accounts), chance.randrange(2, 5))
        entries = [debit(chosen[0], len(chosen) - 1), *(credit(account, 1) for account in chosen[1:])]
        began = time.monotonic()
        written = await client.create_transaction(chosen[0].ledger_id, entries, status="posted")
        appended = {entry.account_id: entry.account_lock_version for entry in written.entries}
        done.append(Operation(began, time.monotonic(), appended=appended))


async def _look(
    client: LedgerClient, accounts: Sequence[Account], done: list[Operation], until: float, chance: random.Random
) -> None:
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            read = await client.batch_get_accounts(accounts[0].ledger_id, [account.id for account in accounts])
        except Unavailable:
            # A snapshot is held for a second only, on a busy machine too.
            continue
        done.append(Operation(began, time.monotonic(), {a.id: a.lock_version for a in read.accounts}))


async def _bare_cycle(dsn: str) -> list[str]:
    """The control: a bare writer that reads two lists and appends to one of them, REPEATABLE READ."""
    pool = await asyncpg.create_pool(dsn, min_size=8, max_size=8)
    await pool.execute("CREATE TABLE bare (list text, place int, PRIMARY KEY (list, place))")
    done: list[Operation] = []

    async def write(chance: random.Random) -> None:
        for _ in range(100):
            began, lists = time.monotonic(), chance.sample("abcd", 2)
            try:
                async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
                    statement = "SELECT count(*)::int FROM bare WHERE list = $1"
                    seen = {list_: await connection.fetchval(statement, list_) for list_ in lists}
                    await connection.execute("INSERT INTO bare VALUES ($1, $2)", lists[0], seen[lists[0]] + 1)
            except asyncpg.PostgresError:
                continue
            done.append(Operation(began, time.monotonic(), seen, {lists[0]: seen[lists[0]] + 1}))

    await asyncio.gather(*(write(random.Random(n)) for n in range(8)))
    await pool.execute("DROP TABLE bare")
    await pool.close()
    return cycle(done)


@row("3", "PostgreSQL's pool of serializable transactions overflows", rounds=3)
async def pool_overflow(stage: Stage, rounds: int) -> Result:
    """One transaction stays open, and so many others end meanwhile that PostgreSQL forgets what they read."""
    result = Result()
    database = await stage.database(max_connections="40", max_worker_processes="1", max_wal_senders="0")
    addresses = [(await stage.server(database.dsn, lanes=2, readers=2)).address for _ in range(2)]
    # 10 × (max_connections + autovacuum workers and launcher + worker processes), and some more.
    fillers = 10 * (40 + 3 + 1 + 1 + 2) + 200
    for _ in range(rounds):
        holder = await asyncpg.connect(database.dsn)
        await holder.execute("CREATE TABLE IF NOT EXISTS held (n int)")
        await holder.execute("BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO held VALUES (1); SELECT * FROM held")
        await _fill(database.dsn, fillers)
        async with new_traffic(addresses, stage.chance.randrange(2**32), timeout=30) as traffic:
            pair = traffic.accounts[-2:]
            traffic.accounts = traffic.accounts[:-2]
            async with traffic.running(8):
                raced = await _race_for_floors(result, traffic, *pair)
                meanwhile = traffic.acknowledged
                # While the pool overflows PostgreSQL refuses nearly everything, wrongly, but loses nothing.
                await holder.execute("ROLLBACK")
                result.recovered.append(await traffic.recovered_after(time.monotonic()))
                await traffic.until_acknowledged(500)
            await traffic.settle()
            await check(result, traffic, database.dsn, has_stream=False)
        await holder.close()
        result.note = f"{meanwhile} acknowledged and {raced} races decided during the overflow"
        result.rounds += 1
    result.control = "write skew committed" if await _skew(database.dsn, fillers) else ""
    result.expect(bool(result.control), "the control was serializable")
    return result


async def _fill(dsn: str, count: int) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE IF NOT EXISTS filler (n int PRIMARY KEY)")
    for n in range(count):
        async with connection.transaction(isolation="serializable"):
            await connection.fetch("SELECT * FROM filler WHERE n = $1", n)
            await connection.execute("INSERT INTO filler VALUES ($1) ON CONFLICT DO NOTHING", n + 1_000_000)
    await connection.close()


async def _race_for_floors(result: Result, traffic: Traffic, rich: Account, poor: Account) -> int:
    """Two servers' callers take from one account what is there only once; how often somebody got it, in 20 s."""
    decided, until = 0, time.monotonic() + 20
    client, ledger_id = traffic.clients[0], rich.ledger_id
    while time.monotonic() < until:
        with contextlib.suppress(Aborted, Overloaded):
            await client.create_transaction(ledger_id, [debit(rich, 100), credit(poor, 100)], status="posted")
        version = (await client.get_account(ledger_id, poor.id)).lock_version

        async def take(number: int, version: int = version) -> int:
            entries = [debit(poor, 100, lock_version=version), credit(rich, 100)]
            try:
                await traffic.clients[number % 2].create_transaction(
                    ledger_id, entries, status="posted", request_id=new_request_id()
                )
            except LedgerError:
                return 0
            return 1

        taken = sum(await asyncio.gather(*(take(n) for n in range(8))))
        result.expect(taken <= 1, f"{taken} of eight took what was there once")
        decided += taken
    return decided


async def _skew(dsn: str, fillers: int) -> bool:
    """The control: a rule over two rows kept by SERIALIZABLE alone breaks; True if both committed."""
    one, other = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    await one.execute("CREATE TABLE pair (id int PRIMARY KEY, balance int); INSERT INTO pair VALUES (1, 50), (2, 50)")
    try:
        for connection in (one, other):
            await connection.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
            await connection.fetch("SELECT sum(balance) FROM pair")
        await other.execute("UPDATE pair SET balance = balance - 100 WHERE id = 2")
        await other.execute("COMMIT")
        await _fill(dsn, fillers)
        await one.execute("UPDATE pair SET balance = balance - 100 WHERE id = 1")
        await one.execute("COMMIT")
    except asyncpg.SerializationError:
        return False
    finally:
        one.terminate()
        other.terminate()
    return True
