"""The benchmarks themselves: that they still run, and keep the shape of their report. Speed is not asserted."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.benchmarks.processes import Cpu

WORKLOADS = (
    *("unary_uniform", "pg_limit", "batch_500", "single_statements", "watch_cost", "watch_delay", "watch_fanout"),
    *("asof_effective_few", "asof_effective"),
)


async def test_a_short_run_audits_the_books_and_reports_every_workload(tmp_path: Path) -> None:
    report = tmp_path / "bench.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks", "--rounds", "1", "--seconds", "0.5"),
        *("--only", ",".join(WORKLOADS), "--output", str(report), "--history-versions", "2000"),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    figures = json.loads(report.read_text())
    assert figures.keys() >= {"workloads", "bytes_per_transaction", "server_rss_mb", "load", "machine"}
    assert sorted(figures["workloads"]) == sorted(WORKLOADS)
    for name, workload in figures["workloads"].items():
        assert workload.keys() >= {"tps", "p50_ms", "p99_ms", "cpu_us"}, name
        assert workload["cpu_us"].keys() == set(Cpu._fields), name
    assert figures["workloads"]["batch_500"]["ratios"].keys() == {"pg_limit"}
