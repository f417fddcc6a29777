"""`make faults` and `make faults-full`: the table of faults, from fresh databases, on screen and in faults.md."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from rich.console import Console

from ledger_server.logging_setup import configure_logging
from tests.faults import (  # noqa: F401  (their rows enter themselves)
    durability,
    isolation,
    links,
    machine,
    operations,
    overload,
    protocol,
    repeats,
    streams,
)
from tests.faults.report import Result, to_markdown, to_table
from tests.faults.rows import ROWS, Row
from tests.faults.stage import make_template, staged

# On the disk, where fsync means something; /tmp is memory on many machines.
ROOT = Path(__file__).parents[2]
ROW_SECONDS_MAX = 1_800.0


async def run_row(
    row: Row, rounds: int, seed: int, root: Path, console: Console, *, is_short: bool, template: Path
) -> Result:
    """One row, on a stage of its own. Whatever goes wrong becomes a finding."""
    directory = root / f"row-{row.number}"
    directory.mkdir(mode=0o711)
    began, result = time.monotonic(), Result()
    console.print(f"row {row.number}: {row.fault}, {rounds} × …", highlight=False)
    try:
        async with (
            asyncio.timeout(ROW_SECONDS_MAX),
            staged(directory, seed, console.print, is_short=is_short, template=template) as stage,
        ):
            result = await row.run(stage, rounds)
    except Exception as error:  # noqa: BLE001
        console.print(traceback.format_exc(), highlight=False, markup=False)
        result.findings.append(f"{type(error).__name__}: {error}")
    result.seconds = time.monotonic() - began
    for finding in result.findings:
        console.print(f"    {finding}", style="red", highlight=False, markup=False)
    console.print(f"    {result.seconds:.0f} s", highlight=False)
    if not result.findings:
        shutil.rmtree(directory, ignore_errors=True)
    return result


async def run_rows(rows: list[Row], arguments: argparse.Namespace, console: Console) -> bool:
    """All of them, one after the other; True if nothing was found."""
    is_short = not arguments.full
    root = Path(tempfile.mkdtemp(prefix=".faults-", dir=ROOT))
    root.chmod(0o711)
    about = (
        f"seed {arguments.seed}, commit {_commit()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC"
    )
    console.print(about, highlight=False)
    template, results = await make_template(root / "template"), []
    for row in rows:
        rounds = arguments.rounds or row.rounds_of(is_short=is_short)
        result = await run_row(row, rounds, arguments.seed, root, console, is_short=is_short, template=template)
        results.append((row.number, row.fault, result))
        arguments.output.write_text(to_markdown(results, about))
    console.print(to_table(results))
    found = any(result.findings for _, _, result in results)
    if found:
        console.print(f"What processes said is in {root}", highlight=False)
    else:
        shutil.rmtree(root, ignore_errors=True)
    return not found


def _commit() -> str:
    answer = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--full", action="store_true", help="all rounds")
    parser.add_argument("--only", default="", help="rows to run, with commas between")
    parser.add_argument("--rounds", type=int, default=0, help="so many, whatever the row says")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--list", action="store_true", help="show the rows and how often they are done in full")
    parser.add_argument("--output", type=Path, default=ROOT / "faults.md")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 190)
    if arguments.list:
        for row in sorted(ROWS, key=lambda row: row.place):
            console.print(f"{row.number:>4}  {row.rounds:>6} × {row.fault}", highlight=False)
        return
    only = set(arguments.only.split(",")) - {""}
    if unknown := only - {row.number for row in ROWS}:
        sys.exit(f"no such row: {', '.join(sorted(unknown))}")
    configure_logging("json", "error")
    rows = sorted((row for row in ROWS if not only or row.number in only), key=lambda row: row.place)
    if not asyncio.run(run_rows(rows, arguments, console)):
        sys.exit("faults: what was found is red above")


if __name__ == "__main__":
    main()
