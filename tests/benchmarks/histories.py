"""Reads of balances at other times, on an account with few versions and on one with many, half of them back-dated."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import islice
from random import Random

from ledger_client import commands, credit, debit
from ledger_client.v1.transactions_pb2 import CreateTransactionRequest
from tests.benchmarks.measure import Run, exhaust, repeat
from tests.benchmarks.processes import Processes
from tests.benchmarks.workloads import BATCH, BATCH_CALLERS, Workloads

FEW = 1_000
SECONDS_BACK = 365 * 24 * 3600


class Histories:
    """Two accounts of the workloads' ledger, with a history each."""

    def __init__(self, workloads: Workloads, processes: Processes, many: int) -> None:
        self._workloads = workloads
        self._processes = processes
        self._counts = {"few": FEW, "many": many}
        self._account_ids: dict[str, str] = {}
        self._random = Random(0)
        self._now = dt.datetime.now(dt.UTC)

    async def fill(self) -> None:
        """Writes both histories, through the service like all others."""
        client, ledger_id = self._workloads.client, self._workloads.ledger_id
        for name, count in self._counts.items():
            account = await client.create_account(ledger_id, name, normal_balance="credit", currency="USD")
            self._account_ids[name] = account.id
            requests = self._requests(account.id)

            async def call(requests: Iterator[CreateTransactionRequest] = requests) -> int:
                await client.batch_write_transactions(ledger_id, list(islice(requests, BATCH)))
                return BATCH

            callers = min(BATCH_CALLERS, count // BATCH)
            await exhaust([call] * callers, count // (BATCH * callers))

    async def effective(self, name: str, seconds: float) -> Run:
        """GetAccount as of random effective times."""

        async def call() -> int:
            await self._workloads.client.get_account(
                self._workloads.ledger_id, self._account_ids[name], as_of=self._random_time()
            )
            return 1

        return await repeat([call], seconds, self._processes)

    async def known(self, name: str, seconds: float) -> Run:
        """GetAccount as of random positions."""
        position = (await self._workloads.client.get_ledger(self._workloads.ledger_id)).position

        async def call() -> int:
            await self._workloads.client.get_account(
                self._workloads.ledger_id,
                self._account_ids[name],
                as_of_position=self._random.randint(1, position),
            )
            return 1

        return await repeat([call], seconds, self._processes)

    async def version(self, name: str, seconds: float) -> Run:
        """GetAccount as of random lock_versions."""

        async def call() -> int:
            await self._workloads.client.get_account(
                self._workloads.ledger_id,
                self._account_ids[name],
                as_of_lock_version=self._random.randint(0, self._counts[name]),
            )
            return 1

        return await repeat([call], seconds, self._processes)

    async def both(self, name: str, seconds: float) -> Run:
        """GetAccount as of random effective times and positions together, which may cost what was written since."""
        position = (await self._workloads.client.get_ledger(self._workloads.ledger_id)).position

        async def call() -> int:
            await self._workloads.client.get_account(
                self._workloads.ledger_id,
                self._account_ids[name],
                as_of=self._random_time(),
                as_of_position=self._random.randint(1, position),
            )
            return 1

        return await repeat([call], seconds, self._processes)

    def _requests(self, account_id: str) -> Iterator[CreateTransactionRequest]:
        others = self._workloads.account_ids
        while True:
            amount = self._random.randint(1, 1_000)
            back_dated = self._random.random() < 0.5
            yield commands.create_transaction(
                [debit(self._random.choice(others), amount), credit(account_id, amount)],
                status="posted",
                effective_at=self._random_time() if back_dated else None,
            )

    def _random_time(self) -> dt.datetime:
        return self._now - dt.timedelta(seconds=self._random.uniform(0, SECONDS_BACK))
