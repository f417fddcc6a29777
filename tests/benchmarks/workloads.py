"""The workloads: the shipped client, on one channel, against a server in another process."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace
from itertools import islice
from typing import Any, cast

import asyncpg

from ledger_client import Category, LedgerClient, commands, condition, credit, debit, monitor_condition, new_request_id
from ledger_client.monitors import MonitorFieldWord
from ledger_client.v1.balances_pb2 import BalanceCondition
from ledger_client.v1.transactions_pb2 import CreateTransactionRequest
from ledger_server.api.commands import transaction_command
from ledger_server.domain.book import Book
from ledger_server.domain.fingerprint import fingerprint
from ledger_server.posting.clock import DatabaseClock
from ledger_server.posting.drafts import draft, write_draft
from ledger_server.storage.pool import Connection, connect_beside_lane, connect_lane
from tests.benchmarks import books
from tests.benchmarks.measure import Call, Run, exhaust, repeat
from tests.benchmarks.orders import ACCOUNTS, FUNDS, HOT, Order, orders
from tests.benchmarks.processes import Processes, Server
from tests.benchmarks.reference import database_bytes

CALLERS = 64
BATCH_CALLERS = 4
# On each account; the values of neighbours are two steps apart, about six times what a transaction moves.
MONITORS = 10
MONITOR_STEP = 15_000
FIELDS: tuple[MonitorFieldWord, ...] = ("posted", "pending", "available")
BATCH = 500
CHAINS = 20
# A batch of 500 behind three others may take its time on a slow machine.
TIMEOUT_SECONDS = 60.0


class Workloads:
    """A ledger with its accounts on a running server. Each workload audits the books before its figures count."""

    def __init__(self, client: LedgerClient, server: Server, processes: Processes) -> None:
        self.client = client
        self._server = server
        self._processes = processes
        self._monitored: Workloads | None = None
        self.ledger_id = ""
        self.account_ids: list[str] = []
        self._categorized: Workloads | None = None

    async def create(self) -> None:
        """Makes the ledger, its accounts, and the hot account's funds."""
        self.ledger_id, self.account_ids = await self._new_ledger()

    async def unary(self, label: str, seconds: float, *, callers: int = CALLERS, hot: bool = False) -> Run:
        """CreateTransaction, posted."""
        return await self._creates(orders(label, hot=hot), seconds, callers)

    async def one_by_one(self, label: str, seconds: float) -> Run:
        """As uniform, with a call for each transaction: what 64 callers without the client's batches would see."""
        async with LedgerClient(self._server.address, timeout=TIMEOUT_SECONDS, auto_batch=False) as client:
            single = copy(self)
            single.client = client
            return await single.unary(label, seconds)

    async def category_post(self, label: str, seconds: float) -> Run:
        """As uniform, on a ledger whose accounts are all at the bottom of chains of five categories with one top."""
        if self._categorized is None:
            self._categorized = Workloads(self.client, self._server, self._processes)
            await self._categorized.create()
            await self._categorized.categorize()
        return await self._categorized.unary(label, seconds)

    async def categorize(self) -> None:
        """Puts every account at the bottom of one of CHAINS chains."""
        top = await self._category("Top")
        for chain in range(CHAINS):
            lowest = top
            for level in range(4):
                lowest = await self._category(f"Chain {chain}, level {level}", lowest)
            for account_id in self.account_ids[chain::CHAINS]:
                await self.client.add_category_member(self.ledger_id, lowest, account=account_id)

    async def _category(self, name: str, *parents: Category) -> Category:
        return await self.client.create_category(
            self.ledger_id, name, normal_balance="credit", currency="USD", parents=parents
        )

    async def conditions_hot(self, label: str, seconds: float) -> Run:
        """As hot, and the hot account must keep something."""
        return await self._creates(orders(label, hot=True), seconds, CALLERS, [condition("available", ">=", 1)])

    async def monitored(self, label: str, seconds: float) -> Run:
        """As unary, on a ledger of its own with ten monitors on each account, which speak now and then."""
        if self._monitored is None:
            self._monitored = Workloads(self.client, self._server, self._processes)
            await self._monitored.create()
            await self._monitored._create_monitors()
        return await self._monitored.unary(label, seconds)

    async def _create_monitors(self) -> None:
        numbers = iter(range(ACCOUNTS * MONITORS))

        async def call() -> int:
            account, n = divmod(next(numbers), MONITORS)
            value = (2 * n - MONITORS + 1) * MONITOR_STEP
            field = FIELDS[n % 3]
            below = monitor_condition(field, "<", value, resolve_value=value + MONITOR_STEP // 2)
            above = monitor_condition(field, ">", value, resolve_value=value - MONITOR_STEP // 2)
            condition = below if n % 2 else above
            await self.client.create_balance_monitor(self.ledger_id, condition, account=self.account_ids[account])
            return 1

        await exhaust([call] * 50, ACCOUNTS * MONITORS // 50)

    async def _creates(
        self, stream: Iterator[Order], seconds: float, callers: int, conditions: Iterable[BalanceCondition] = ()
    ) -> Run:
        conditions = list(conditions)

        async def call() -> int:
            order = next(stream)
            await self.client.create_transaction(
                self.ledger_id,
                [
                    debit(self.account_ids[order.debit], order.amount, conditions=conditions),
                    credit(self.account_ids[order.credit], order.amount),
                ],
                status="posted",
                external_id=order.external_id,
                metadata=order.metadata,
            )
            return 1

        async with self._audited() as finish:
            return await finish(await repeat([call] * callers, seconds, self._processes))

    async def pending_post(self, label: str, seconds: float) -> Run:
        """CreateTransaction, pending, then PostTransaction; a pair counts as one."""
        stream = orders(label)

        async def call() -> int:
            order = next(stream)
            pending = await self.client.create_transaction(
                self.ledger_id,
                [
                    debit(self.account_ids[order.debit], order.amount),
                    credit(self.account_ids[order.credit], order.amount),
                ],
                external_id=order.external_id,
                metadata=order.metadata,
            )
            await self.client.post_transaction(self.ledger_id, pending.id)
            return 1

        async with self._audited(commands_each=2) as finish:
            return await finish(await repeat([call] * CALLERS, seconds, self._processes))

    async def batch_500(self, label: str, seconds: float) -> Run:
        """BatchWriteTransactions of 500 creates, item by item."""
        async with self._audited() as finish:
            return await finish(await repeat([self._batch_call(label)] * BATCH_CALLERS, seconds, self._processes))

    async def fill(self, label: str, transactions: int) -> None:
        """Stores so many transactions, through the service like all others."""
        count = -(-transactions // (BATCH * BATCH_CALLERS))
        async with self._audited() as finish:
            await finish(await exhaust([self._batch_call(label)] * BATCH_CALLERS, count))

    def _batch_call(self, label: str) -> Call:
        stream = orders(label)

        async def call() -> int:
            response = await self.client.batch_write_transactions(
                self.ledger_id, [self._request(order, self.account_ids) for order in islice(stream, BATCH)]
            )
            return sum(result.HasField("transaction") for result in response.results)

        return call

    async def single_statements(self, label: str, seconds: float) -> Run:
        """The reference of unary_single: what a lane asks of PostgreSQL for one command, straight on asyncpg.

        It runs the write path itself, in this process and on a ledger of its own, so that it can never be other
        statements; its latency is the time spent waiting for them and nothing else.
        """
        ledger_id, account_ids = await self._new_ledger()
        connection, beside = await connect_lane(self._server.dsn), await connect_beside_lane(self._server.dsn)
        writes, reads = Stopwatch(connection), Stopwatch(beside)
        book: Book | None = None
        clock = DatabaseClock()
        stream = orders(label)

        async def connect() -> Connection:
            return cast(Connection, reads)

        async def call() -> int:
            nonlocal book
            request = self._request(next(stream), account_ids, ledger_id)
            request.request_id = new_request_id()
            command = transaction_command(request)
            command.fingerprint = fingerprint(command)
            drafted = await draft(connect, command.ledger_id, book, [command], {}, None, clock)
            await write_draft(cast(Connection, writes), drafted.rows)
            (answer,), book = drafted.answers, drafted.book
            if isinstance(answer, Exception):
                raise answer
            return 1

        try:
            position, transactions = await books.standing(connection, ledger_id)
            run = await repeat(
                [call], seconds, replace(self._processes, server=None), lambda: writes.seconds + reads.seconds
            )
            await books.audit(connection, ledger_id, position + run.acknowledged, transactions + run.acknowledged)
        finally:
            await connection.close()
        return run

    def _request(self, order: Order, account_ids: list[str], ledger_id: str = "") -> CreateTransactionRequest:
        request = commands.create_transaction(
            [debit(account_ids[order.debit], order.amount), credit(account_ids[order.credit], order.amount)],
            status="posted",
            external_id=order.external_id,
            metadata=order.metadata,
        )
        request.ledger_id = ledger_id
        return request

    async def _new_ledger(self) -> tuple[str, list[str]]:
        ledger = await self.client.create_ledger("Benchmark")
        account_ids = [""] * ACCOUNTS
        numbers = iter(range(ACCOUNTS))

        async def call() -> int:
            number = next(numbers)
            account = await self.client.create_account(
                ledger.id, f"Account {number}", normal_balance="credit", currency="USD"
            )
            account_ids[number] = account.id
            return 1

        await exhaust([call] * 50, ACCOUNTS // 50)
        await self.client.create_transaction(
            ledger.id, [debit(account_ids[-1], FUNDS), credit(account_ids[HOT], FUNDS)], status="posted"
        )
        return ledger.id, account_ids

    @asynccontextmanager
    async def _audited(self, commands_each: int = 1) -> AsyncIterator[Callable[[Run], Awaitable[Run]]]:
        """Compares the books with what was acknowledged within; adds what the database grew by to the run."""
        connection = await asyncpg.connect(self._server.dsn)
        try:
            position, transactions = await books.standing(connection, self.ledger_id)
            size = await database_bytes(connection)

            async def finish(run: Run) -> Run:
                grown = await database_bytes(connection) - size
                count = run.acknowledged
                edges = await books.edges_after(connection, self.ledger_id, position)
                await books.audit(
                    connection, self.ledger_id, position + commands_each * count + edges, transactions + count
                )
                extra = {"bytes_per_transaction": grown / count}
                if edges:
                    extra["edges_per_transaction"] = edges / count
                return replace(run, extra=run.extra | extra)

            yield finish
        finally:
            await connection.close()


class Stopwatch:
    """A connection that adds up the seconds spent awaiting it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._connection, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        async def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return await attribute(*arguments, **options)
            finally:
                self.seconds += time.perf_counter() - started

        return timed
