"""The stopwatch: callers repeat their call, and what falls into a window of time is counted.

Before the window everybody is already at work and after it nobody has stopped yet, so starting and stopping are
not measured. A call that reaches over an edge counts for the share of its time that lies within.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.processes import Cpu, Processes

# Makes one call and returns how many transactions it wrote.
Call = Callable[[], Awaitable[int]]

RAMP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """One round of a workload. CPU is in microseconds a transaction; `acknowledged` counts outside the window too."""

    tps: float
    p50_ms: float
    p99_ms: float
    cpu_us: Cpu
    acknowledged: int
    extra: dict[str, float] = field(default_factory=dict)


async def repeat(
    calls: Sequence[Call], seconds: float, processes: Processes, clock: Callable[[], float] = time.perf_counter
) -> Run:
    """Repeats each call, one after the other, all of them at once, and measures for so many seconds.

    Latencies are by `clock`.
    """
    begin = time.perf_counter() + RAMP_SECONDS
    end = begin + seconds
    latencies: list[float] = []
    acknowledged = 0
    counted = 0.0

    async def caller(call: Call) -> None:
        nonlocal acknowledged, counted
        while (started := time.perf_counter()) < end:
            clock_started = clock()
            count = await call()
            latency = clock() - clock_started
            finished = time.perf_counter()
            acknowledged += count
            within = min(finished, end) - max(started, begin)
            if within > 0:
                counted += count * within / (finished - started)
                latencies.append(latency)

    async with asyncio.TaskGroup() as tasks:
        for call in calls:
            tasks.create_task(caller(call))
        await asyncio.sleep(begin - time.perf_counter())
        before = processes.cpu()
        began = time.perf_counter()
        await asyncio.sleep(end - began)
        used = processes.cpu() - before
        used_seconds = time.perf_counter() - began
    tps = counted / seconds
    return Run(tps, percentile(latencies, 50), percentile(latencies, 99), used.each(tps * used_seconds), acknowledged)


async def exhaust(calls: Sequence[Call], count: int, processes: Processes | None = None) -> Run:
    """Makes each call `count` times, all callers at once, and measures all of it."""
    latencies: list[float] = []
    acknowledged = 0

    async def caller(call: Call) -> None:
        nonlocal acknowledged
        for _ in range(count):
            started = time.perf_counter()
            written = await call()
            # Not in one line: `+=` would read the sum before the call and write it after.
            acknowledged += written
            latencies.append(time.perf_counter() - started)

    before = processes.cpu() if processes else Cpu()
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for call in calls:
            tasks.create_task(caller(call))
    seconds = time.perf_counter() - began
    used = processes.cpu() - before if processes else Cpu()
    return Run(
        acknowledged / seconds,
        percentile(latencies, 50),
        percentile(latencies, 99),
        used.each(acknowledged),
        acknowledged,
    )


def percentile(seconds: Sequence[float], percent: int) -> float:
    """In milliseconds."""
    if not seconds:
        raise ValueError("no call ended within the window; measure for longer")
    return sorted(seconds)[(len(seconds) - 1) * percent // 100] * 1e3
