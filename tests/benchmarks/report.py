"""The report: medians, ratios against bar and goal, a table for people and JSON for machines.

A ratio is the median of the rounds' ratios: the runs of a round are seconds apart, those of different rounds minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tests.benchmarks.measure import Run
from tests.benchmarks.plan import Results

MEMORY_BAR_MB = 200.0
BYTES_BAR = 3.0
SUBSCRIBER_BAR_KB = 40.0


class Target(NamedTuple):
    """A figure of a workload in relation to another's; `at_most` says which way is good."""

    workload: str
    against: str
    bar: float
    goal: float
    figure: str = "tps"
    at_most: bool = False


TARGETS = (
    Target("unary_uniform", "naive_uniform", 1.3, 1.8),
    Target("unary_hot", "unary_uniform", 0.9, 1.0),
    Target("unary_hot", "naive_hot", 4.0, 6.0),
    Target("unary_single", "single_statements", 2.5, 1.7, figure="p50_ms", at_most=True),
    Target("batch_500", "pg_limit", 0.2, 0.4),
    Target("conditions_hot", "unary_hot", 0.85, 0.95),
    Target("monitored", "unary_uniform", 0.85, 0.95),
    Target("pending_post", "unary_uniform", 0.45, 0.5),
    Target("category_post", "unary_uniform", 0.7, 0.85),
    Target("watch_cost", "unary_uniform", 0.85, 0.95),
    Target("watch_catchup", "bare_stream", 2.0, 3.0),
    Target("cold", "unary_uniform", 0.9, 1.0),
    Target("grown_unary_uniform", "empty_unary_uniform", 0.8, 0.95),
    Target("grown_batch_500", "empty_batch_500", 0.8, 0.95),
    Target("asof_effective", "asof_effective_few", 3.0, 1.5, figure="p50_ms", at_most=True),
    Target("asof_known", "asof_known_few", 3.0, 1.5, figure="p50_ms", at_most=True),
    Target("asof_version", "asof_version_few", 3.0, 1.5, figure="p50_ms", at_most=True),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a target."""

    target: Target
    ratio: float

    @property
    def passed(self) -> bool:
        return self._reaches(self.target.bar)

    @property
    def reached(self) -> bool:
        return self._reaches(self.target.goal)

    def _reaches(self, value: float) -> bool:
        return self.ratio <= value if self.target.at_most else self.ratio >= value


def verdicts(results: Results) -> list[Verdict]:
    """One for each target whose two workloads were run in one round at least."""
    return [
        Verdict(target, median(ratios))
        for target in TARGETS
        if (ratios := _ratios(target, results.runs.get(target.workload, {}), results.runs.get(target.against, {})))
    ]


def _ratios(target: Target, runs: Mapping[int, Run], others: Mapping[int, Run]) -> list[float]:
    """Those of the rounds that have both."""
    return [
        getattr(run, target.figure) / getattr(others[number], target.figure)
        for number, run in runs.items()
        if number in others
    ]


def to_json(results: Results, machine: dict[str, Any], load: dict[str, Any]) -> dict[str, Any]:
    """What bench.json holds. Medians of the rounds; the rounds themselves are beside them."""
    workloads: dict[str, dict[str, Any]] = {
        name: {
            "tps": round(_median(runs, "tps"), 1),
            "p50_ms": round(_median(runs, "p50_ms"), 3),
            "p99_ms": round(_median(runs, "p99_ms"), 3),
            "cpu_us": {name: round(value, 1) for name, value in _cpu(runs).items()},
            **{key: round(median(run.extra[key] for run in runs), 3) for key in runs[0].extra},
            "rounds_tps": [round(run.tps, 1) for run in runs],
            "ratios": {},
        }
        for name, runs in _runs(results)
    }
    for verdict in verdicts(results):
        target = verdict.target
        workloads[target.workload]["ratios"][target.against] = {
            "of": target.figure,
            "ratio": round(verdict.ratio, 3),
            "bar": target.bar,
            "goal": target.goal,
            "passed": verdict.passed,
            "reached": verdict.reached,
        }
    return {
        "workloads": workloads,
        "bytes_per_transaction": _rounded(_bytes(results, "batch_500")),
        "server_rss_mb": round(results.server_rss_mb, 1),
        "load": load,
        "machine": machine,
    }


def to_table(results: Results) -> RenderableType:
    """A line for each workload, with its ratios behind it."""
    table = Table(title="Medians of the rounds, of their ratios too; CPU in µs a transaction")
    for heading in ("workload", "tps", "p50 ms", "p99 ms", "server", "PostgreSQL", "client"):
        table.add_column(heading, justify="left" if heading == "workload" else "right", no_wrap=True)
    for heading in ("ratio", "bar", "goal"):
        table.add_column(heading, no_wrap=True)
    judged = verdicts(results)
    for name, runs in _runs(results):
        own = [verdict for verdict in judged if verdict.target.workload == name]
        table.add_row(
            name,
            f"{_median(runs, 'tps'):,.0f}",
            f"{_median(runs, 'p50_ms'):.2f}",
            f"{_median(runs, 'p99_ms'):.2f}",
            *(f"{value:.0f}" for value in _cpu(runs).values()),
            _lines(own, lambda verdict: Text(f"{verdict.ratio:.2f} × {verdict.target.against}")),
            _lines(own, lambda verdict: _mark(verdict.passed, verdict.target.bar, verdict.target.at_most)),
            _lines(own, lambda verdict: _mark(verdict.reached, verdict.target.goal, verdict.target.at_most)),
        )
    table.add_section()
    ours, theirs = _bytes(results, "batch_500"), _bytes(results, "pg_limit")
    if ours and theirs:
        ratio = ours / theirs
        table.add_row(
            "bytes/transaction",
            *(f"{ours:,.0f}", "", "", "", "", ""),
            f"{ratio:.2f} × pg_limit ({theirs:,.0f})",
            _mark(ratio <= BYTES_BAR, BYTES_BAR, at_most=True),
        )
    if fanout := results.runs.get("watch_fanout"):
        kb = median(run.extra["rss_kb_per_subscriber"] for run in fanout.values())
        mark = _mark(kb <= SUBSCRIBER_BAR_KB, SUBSCRIBER_BAR_KB, at_most=True)
        table.add_row("RSS KiB a subscriber", f"{kb:.0f}", *[""] * 6, mark)
    rss = results.server_rss_mb
    table.add_row("server RSS MiB", f"{rss:.0f}", *[""] * 6, _mark(rss <= MEMORY_BAR_MB, MEMORY_BAR_MB, at_most=True))
    return table


def _runs(results: Results) -> Iterable[tuple[str, list[Run]]]:
    return [(name, list(by_round.values())) for name, by_round in results.runs.items()]


def _median(runs: Sequence[Run], figure: str) -> float:
    return float(median(getattr(run, figure) for run in runs))


def _cpu(runs: Sequence[Run]) -> dict[str, float]:
    return {name: median(getattr(run.cpu_us, name) for run in runs) for name in ("server", "postgres", "client")}


def _bytes(results: Results, name: str) -> float | None:
    """Of all rounds together: tables grow in steps."""
    runs = results.runs.get(name, {}).values()
    if not runs:
        return None
    grown = sum(run.extra["bytes_per_transaction"] * run.acknowledged for run in runs)
    return grown / sum(run.acknowledged for run in runs)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _lines(judged: Sequence[Verdict], line: Callable[[Verdict], Text]) -> Text:
    return Text("\n").join([line(verdict) for verdict in judged])


def _mark(good: bool, limit: float, at_most: bool) -> Text:
    text = f"{'✓' if good else '✗'} {'≤' if at_most else '≥'} {limit:g}"
    return Text(text, style="green" if good else "red")
