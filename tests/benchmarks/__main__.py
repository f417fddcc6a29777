"""`make bench` and `make bench-long`: from a fresh database to a table on screen and bench.json."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from ledger_server.storage.embedded import embedded_postgres
from tests.benchmarks.books import WrongBooksError
from tests.benchmarks.plan import (
    GROWN_NAMES,
    GROWN_TRANSACTIONS,
    HISTORY_NAMES,
    HISTORY_VERSIONS,
    NAMES,
    Options,
    Plan,
)
from tests.benchmarks.processes import machine
from tests.benchmarks.report import to_json, to_table

# On the disk, where fsync means something; /tmp is memory on many machines.
ROOT = Path(__file__).parents[2]
SHORT_SECONDS, LONG_SECONDS = 1.5, 8.0
SHORT_ROUNDS, LONG_ROUNDS = 5, 3
SHORT_EVENTS, LONG_EVENTS = 50_000, 1_000_000
# Above this share of the cores others are at work, and absolute figures mean little.
LOAD_MAX = 0.25


async def benchmark(options: Options, output: Path, console: Console) -> None:
    """Runs it all and reports."""
    began = time.monotonic()
    load: dict[str, Any] = {"before": os.getloadavg()}
    if load["before"][0] > LOAD_MAX * len(os.sched_getaffinity(0)):
        console.print(f"[yellow]Load average {load['before'][0]:.1f} before we began: others are at work here.")
    directory = Path(tempfile.mkdtemp(prefix=".bench-", dir=ROOT))
    directory.chmod(0o711)
    try:
        async with embedded_postgres(directory / "postgres") as postgres:
            results = await Plan(options, postgres, directory, console).run()
            about = machine(postgres.version)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    load |= {"after": os.getloadavg(), "seconds": round(time.monotonic() - began)}
    about["date"] = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    output.write_text(json.dumps(to_json(results, about, load), indent=2) + "\n")
    console.print(to_table(results))
    console.print(
        f"{about['cpu']}, {about['cores']} cores; Python {about['python']}, PostgreSQL {about['postgresql']}; "
        f"load {load['before'][0]:.1f} before, {load['after'][0]:.1f} after; {load['seconds']} s; in full: {output}",
        highlight=False,
    )


def options_from(arguments: argparse.Namespace) -> Options:
    every = NAMES + GROWN_NAMES + HISTORY_NAMES
    names = every if arguments.long else NAMES
    only = frozenset(arguments.only.split(",")) if arguments.only else frozenset(names)
    if unknown := only - set(every):
        sys.exit(f"no such workload: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    rounds = arguments.rounds or (LONG_ROUNDS if arguments.long else SHORT_ROUNDS)
    seconds = arguments.seconds or (LONG_SECONDS if arguments.long else SHORT_SECONDS)
    events = arguments.catchup_events or (LONG_EVENTS if arguments.long else SHORT_EVENTS)
    history = arguments.history_versions
    return Options(only, rounds, seconds, arguments.grown_transactions, events, history)


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--long", action="store_true", help="longer rounds, and the workloads on a grown database and a long history"
    )
    parser.add_argument("--only", help="workloads to run, with commas between; ratios need their references too")
    parser.add_argument("--rounds", type=int, help="of the workloads")
    parser.add_argument("--seconds", type=float, help="of each round of a workload")
    parser.add_argument("--grown-transactions", type=int, default=GROWN_TRANSACTIONS)
    parser.add_argument("--catchup-events", type=int, help="how many events watch_catchup reads")
    parser.add_argument("--history-versions", type=int, default=HISTORY_VERSIONS)
    parser.add_argument("--output", type=Path, default=ROOT / "bench.json")
    return parser.parse_args()


def main() -> None:
    options, output = options_from(arguments := parsed_arguments()), arguments.output
    # A file has no width; a table cut to 80 columns cannot be read.
    console = Console(width=None if sys.stdout.isatty() else 150)
    try:
        _run(options, output, console)
    except* WrongBooksError as group:
        sys.exit(f"bench: {'; '.join(map(str, group.exceptions))}")


def _run(options: Options, output: Path, console: Console) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(benchmark(options, output, console))
    else:
        uvloop.run(benchmark(options, output, console))


if __name__ == "__main__":
    main()
