"""The plan: which workload runs when.

Rounds are many and short and go through all of them in turn, and a workload is compared with the reference of its own
round: what the machine does to the one it mostly does to the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from rich.console import Console

from ledger_client import LedgerClient
from ledger_server.storage.embedded import EmbeddedPostgres
from tests.benchmarks.histories import Histories
from tests.benchmarks.measure import Run
from tests.benchmarks.processes import Processes, Server, running_server
from tests.benchmarks.reference import Reference
from tests.benchmarks.streams import Streams
from tests.benchmarks.workloads import TIMEOUT_SECONDS, Workloads

COLD_SECONDS = 10.0
GROWN_TRANSACTIONS = 2_000_000
HISTORY_VERSIONS = 1_000_000
# What pg_limit writes for each second of the others: about as much as it can.
LIMIT_BATCHES_A_SECOND = 20

NAMES = (
    "naive_uniform",
    "unary_uniform",
    "unary_one_by_one",
    "naive_hot",
    "unary_hot",
    "conditions_hot",
    "monitored",
    "pending_post",
    "category_post",
    "pg_limit",
    "batch_500",
    "single_statements",
    "unary_single",
    "watch_cost",
    "watch_delay",
    "watch_delay_across",
    "watch_fanout",
    "bare_stream",
    "watch_catchup",
    "cold",
)
# What takes long beside its seconds, or as long as it takes, is in every other round.
RARE_NAMES = frozenset({"watch_fanout", "bare_stream", "watch_catchup", "cold"})
GROWN_NAMES = ("empty_unary_uniform", "grown_unary_uniform", "empty_batch_500", "grown_batch_500")
HISTORY_NAMES = (
    "asof_effective_few",
    "asof_effective",
    "asof_known_few",
    "asof_known",
    "asof_version_few",
    "asof_version",
    "asof_both_few",
    "asof_both",
)

Workload = Callable[[str], Awaitable[Run]]


@dataclass(frozen=True, slots=True)
class Options:
    """What to run: which workloads, in how many rounds, each for how many seconds, how much is stored if grown.

    catchup_events: how many events watch_catchup reads. history_versions: how many are on the account with the long
    history.
    """

    only: frozenset[str]
    rounds: int
    seconds: float
    grown_transactions: int
    catchup_events: int
    history_versions: int


@dataclass(slots=True)
class Results:
    """The runs of each workload by round, and the resident memory of the server that wrote most."""

    runs: dict[str, dict[int, Run]] = field(default_factory=dict)
    server_rss_mb: float = 0.0


class Plan:
    """Runs the workloads on one PostgreSQL; every server gets a fresh database."""

    def __init__(self, options: Options, postgres: EmbeddedPostgres, directory: Path, console: Console) -> None:
        self._options = options
        self._postgres = postgres
        self._directory = directory
        self._console = console
        self._results = Results()
        self._database_count = 0

    async def run(self) -> Results:
        """All that was asked for."""
        if self._options.only & set(NAMES):
            await self._rounds_of_empty()
        if self._options.only & set(GROWN_NAMES):
            await self._rounds_of_grown()
        if self._options.only & set(HISTORY_NAMES):
            await self._rounds_of_histories()
        return self._results

    async def _rounds_of_empty(self) -> None:
        reference = Reference(await self._new_database(), self._postgres.pid)
        await reference.create()
        seconds = self._options.seconds
        async with self._service() as (server, service):
            streams = Streams(
                service,
                server,
                Processes(self._postgres.pid, server.pid),
                self._directory,
                self._options.catchup_events,
            )
            await self._repeat(
                {
                    "naive_uniform": lambda label: reference.naive(label, seconds),
                    "unary_uniform": lambda label: service.unary(label, seconds),
                    "unary_one_by_one": lambda label: service.one_by_one(label, seconds),
                    "naive_hot": lambda label: reference.naive(label, seconds, hot=True),
                    "unary_hot": lambda label: service.unary(label, seconds, hot=True),
                    "conditions_hot": lambda label: service.conditions_hot(label, seconds),
                    "monitored": lambda label: service.monitored(label, seconds),
                    "category_post": lambda label: service.category_post(label, seconds),
                    "pending_post": lambda label: service.pending_post(label, seconds),
                    "pg_limit": lambda label: reference.limit(label, round(seconds * LIMIT_BATCHES_A_SECOND)),
                    "batch_500": lambda label: service.batch_500(label, seconds),
                    "single_statements": lambda label: service.single_statements(label, seconds / 2),
                    "unary_single": lambda label: service.unary(label, seconds / 2, callers=1),
                    "watch_cost": lambda label: streams.cost(label, seconds),
                    "watch_delay": lambda label: streams.delay(label, seconds),
                    "watch_delay_across": lambda label: streams.delay_across(label, seconds),
                    "watch_fanout": lambda label: streams.fanout(label, seconds),
                    "bare_stream": streams.bare_stream,
                    "watch_catchup": streams.catchup,
                    "cold": self._cold,
                }
            )
            self._results.server_rss_mb = server.rss_mb()

    async def _rounds_of_grown(self) -> None:
        seconds = self._options.seconds
        count = self._options.grown_transactions
        async with self._service() as (server, grown):
            with self._console.status(f"storing {count:,} transactions …"):
                await grown.fill("grown", count)
            self._console.print(f"{count:,} transactions stored, server {server.rss_mb():.0f} MiB")

            async def empty_unary(label: str) -> Run:
                async with self._service() as (_, empty):
                    return await empty.unary(label, seconds)

            async def empty_batch(label: str) -> Run:
                async with self._service() as (_, empty):
                    return await empty.batch_500(label, seconds)

            await self._repeat(
                {
                    "empty_unary_uniform": empty_unary,
                    "grown_unary_uniform": lambda label: grown.unary(label, seconds),
                    "empty_batch_500": empty_batch,
                    "grown_batch_500": lambda label: grown.batch_500(label, seconds),
                }
            )
            self._results.server_rss_mb = server.rss_mb()

    async def _rounds_of_histories(self) -> None:
        seconds, count = self._options.seconds / 2, self._options.history_versions
        async with self._service() as (server, service):
            histories = Histories(service, Processes(self._postgres.pid, server.pid), count)
            with self._console.status(f"storing a history of {count:,} versions …"):
                await histories.fill()
            await self._repeat(
                {
                    "asof_effective_few": lambda _: histories.effective("few", seconds),
                    "asof_effective": lambda _: histories.effective("many", seconds),
                    "asof_known_few": lambda _: histories.known("few", seconds),
                    "asof_known": lambda _: histories.known("many", seconds),
                    "asof_version_few": lambda _: histories.version("few", seconds),
                    "asof_version": lambda _: histories.version("many", seconds),
                    "asof_both_few": lambda _: histories.both("few", seconds),
                    "asof_both": lambda _: histories.both("many", seconds),
                }
            )

    async def _repeat(self, workloads: Mapping[str, Workload]) -> None:
        rounds = self._options.rounds
        for number in range(1, rounds + 1):
            for name, workload in workloads.items():
                if name not in self._options.only or (name in RARE_NAMES and number % 2 == 0):
                    continue
                with self._console.status(f"round {number} of {rounds}: {name} …"):
                    run = await workload(f"{name}-{number}")
                self._console.print(
                    f"round {number} of {rounds}: {name:20} {run.tps:9,.0f} tps  p50 {run.p50_ms:7.2f} ms  "
                    f"p99 {run.p99_ms:7.2f} ms  "
                    + ", ".join(f"{key} {value:,.0f}" for key, value in run.extra.items()),
                    highlight=False,
                )
                self._results.runs.setdefault(name, {})[number] = run

    async def _cold(self, label: str) -> Run:
        """The first seconds of a new database and a new server; making the accounts is among them."""
        async with self._service() as (_, service):
            return await service.unary(label, COLD_SECONDS)

    @asynccontextmanager
    async def _service(self) -> AsyncIterator[tuple[Server, Workloads]]:
        """A server on a fresh database, and a ledger with accounts on it."""
        dsn = await self._new_database()
        async with (
            running_server(dsn, self._directory, f"server-{self._database_count}") as server,
            LedgerClient(server.address, actor="benchmark", timeout=TIMEOUT_SECONDS) as client,
        ):
            workloads = Workloads(client, server, Processes(self._postgres.pid, server.pid))
            await workloads.create()
            yield server, workloads

    async def _new_database(self) -> str:
        self._database_count += 1
        name = f"benchmark_{self._database_count}"
        await self._execute(f"CREATE DATABASE {name}")
        return self._postgres.dsn(name)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._postgres.dsn("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
