"""A load generator, as a process of its own: `python -m tests.faults.load` reads its orders from standard input.

Closed loop: so many callers, each with its next call when it has an answer, waiting as RetryInfo asks. Open loop: so
many calls a second, answered or not. Each call is reported as it ended, for the comparison with the database.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import quantiles

from ledger_client import (
    LedgerClient,
    LedgerError,
    Overloaded,
    Transaction,
    commands,
    credit,
    debit,
    new_request_id,
)
from tests.faults.history import Call, Outcome
from tests.faults.traffic import NO_RETRIES, UNKNOWN


@dataclass(frozen=True, slots=True)
class Orders:
    """What to do. rate: calls a second in open loop; zero: a closed loop of so many callers. batch: commands a call."""

    address: str
    ledger_id: str
    account_ids: Sequence[str]
    seconds: float
    callers: int = 0
    rate: float = 0.0
    timeout: float = 10.0
    channels: int = 4
    batch: int = 1


@dataclass(slots=True)
class Report:
    """What came of it, until the last call had ended.

    Latencies are of acknowledged calls, in milliseconds; refused ones took `refused_p99_ms`.
    """

    calls: list[Call] = field(default_factory=list)
    acknowledged: int = 0
    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    refused_p99_ms: float = 0.0
    said: dict[str, int] = field(default_factory=dict)
    without_retry_info: int = 0

    @property
    def rate(self) -> float:
        return self.acknowledged / self.seconds


class Load:
    """The calls of one process."""

    def __init__(self, orders: Orders, clients: Sequence[LedgerClient]) -> None:
        self.orders = orders
        self.clients = clients
        self.report = Report()
        self._answered: list[float] = []
        self._refused: list[float] = []

    async def run(self) -> Report:
        """Until the time is over and every call has ended."""
        began = time.monotonic()
        until = began + self.orders.seconds
        if self.orders.rate:
            await self._open(until)
        else:
            await asyncio.gather(*(self._closed(until) for _ in range(self.orders.callers)))
        self.report.seconds = time.monotonic() - began
        if len(self._answered) > 1:
            cuts = quantiles(self._answered, n=100)
            self.report.p50_ms, self.report.p99_ms = cuts[49] * 1e3, cuts[98] * 1e3
        if len(self._refused) > 1:
            self.report.refused_p99_ms = quantiles(self._refused, n=100)[98] * 1e3
        return self.report

    async def _closed(self, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(await self._call())

    async def _open(self, until: float) -> None:
        tasks = set()
        began, sent = time.monotonic(), 0
        while (now := time.monotonic()) < until:
            due = int((now - began) * self.orders.rate)
            for _ in range(min(due - sent, 200)):
                task = asyncio.create_task(self._call())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)

    async def _call(self) -> float:
        """One call; returns how long to wait before the next."""
        calls = [Call(f"load-{id_}", id_) for id_ in (new_request_id() for _ in range(self.orders.batch))]
        self.report.calls += calls
        began = time.monotonic()
        try:
            written = await self._write(calls)
        except LedgerError as error:
            said = f"{error.code.name} {error.reason}"
            self.report.said[said] = self.report.said.get(said, 0) + 1
            for call in calls:
                call.said = f"{said}: {error.message}"
                if not isinstance(error, UNKNOWN):
                    call.outcome = Outcome.REFUSED
            if isinstance(error, Overloaded):
                self._refused.append(time.monotonic() - began)
                self.report.without_retry_info += error.retry_delay is None
            return error.retry_delay.total_seconds() if error.retry_delay else 0.05
        ended = time.monotonic()
        for call, transaction in zip(calls, written, strict=True):
            call.outcome = Outcome.ACKNOWLEDGED
            call.position, call.transaction_id = transaction.position, transaction.id
        self._answered.append(ended - began)
        self.report.acknowledged += len(calls)
        return 0.0

    async def _write(self, calls: Sequence[Call]) -> list[Transaction]:
        client = random.choice(self.clients)
        writes = []
        for call in calls:
            one, other = random.sample(list(self.orders.account_ids), 2)
            writes.append((call, [debit(one, 1), credit(other, 1)]))
        ledger_id = self.orders.ledger_id
        if len(writes) == 1:
            ((call, entries),) = writes
            return [
                await client.create_transaction(
                    ledger_id, entries, status="posted", description=call.key, request_id=call.request_id
                )
            ]
        answer = await client.batch_write_transactions(
            ledger_id,
            [
                commands.create_transaction(entries, status="posted", description=call.key, request_id=call.request_id)
                for call, entries in writes
            ],
        )
        return [result.transaction for result in answer.results]


async def _main(orders: Orders, output: Path) -> None:
    clients = [
        # Options that differ keep channels from sharing one connection.
        LedgerClient(
            orders.address, timeout=orders.timeout, auto_batch=False, options={**NO_RETRIES, "ledger.channel": n}
        )
        for n in range(orders.channels)
    ]
    report = await Load(orders, clients).run()
    for client in clients:
        await client.close()
    calls = [asdict(call) | {"outcome": call.outcome.value} for call in report.calls]
    report.calls = []
    output.write_text(json.dumps(asdict(report) | {"calls": calls}))


async def generate(orders: Orders, output: Path) -> Report:
    """Runs a generator; its report. Raises RuntimeError if it does not end well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.load", str(output), stdin=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        async with asyncio.timeout(orders.seconds + orders.timeout + 30):
            await process.communicate(json.dumps(asdict(orders)).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError("the load generator failed")
    told = json.loads(output.read_text())
    told["calls"] = [Call(**(call | {"outcome": Outcome(call["outcome"])})) for call in told["calls"]]
    return Report(**told)


if __name__ == "__main__":
    asyncio.run(_main(Orders(**json.loads(sys.stdin.read())), Path(sys.argv[1])))
