"""One round of a fault under traffic, from the first call to the comparison."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from ledger_client import LedgerClient
from tests import audit
from tests.faults.history import compare, read_recorded
from tests.faults.report import Result
from tests.faults.stage import Stage
from tests.faults.traffic import Traffic, new_traffic

# With fewer acknowledged calls than this a round proves nothing.
ACKNOWLEDGED_MIN = 500
VERIFY_SECONDS = 900.0

# Breaks something and repairs it; returns when it was whole again, by the monotonic clock.
Fault = Callable[[Traffic], Awaitable[float]]


@asynccontextmanager
async def under_traffic(
    stage: Stage,
    result: Result,
    dsn: Callable[[], str],
    addresses: Sequence[str],
    *,
    minimum: int = ACKNOWLEDGED_MIN,
    callers: int = 16,
    timeout: float = 10.0,
) -> AsyncIterator[Traffic]:
    """Callers and a stream within the block; at its end, after more traffic, what they were told is compared."""
    async with new_traffic(addresses, stage.chance.randrange(2**32), timeout=timeout) as traffic:
        async with LedgerClient(f"ipv4:{','.join(addresses)}") as watcher, traffic.watched(watcher):
            async with traffic.running(callers):
                await traffic.until_acknowledged(minimum // 2)
                yield traffic
                await traffic.until_acknowledged(max(20, minimum - traffic.acknowledged))
            await traffic.settle()
        await check(result, traffic, dsn())
    result.rounds += 1


async def check(result: Result, traffic: Traffic, dsn: str, *, has_stream: bool = True) -> None:
    """Compares what callers and the stream were told with the database, and audits its books."""
    recorded = await read_recorded(dsn, traffic.history.ledger_id)
    verdict = compare(traffic.history, recorded)
    result.acknowledged += traffic.acknowledged
    result.lost += len(verdict.lost)
    result.doubled += len(verdict.doubled)
    result.findings += verdict.sentences() + traffic.bugs[:5]
    if has_stream:
        result.findings += traffic.stream_findings(recorded)
    await audit_books(result, traffic.clients[0], dsn, traffic.history.ledger_id)


async def audit_books(result: Result, client: LedgerClient, dsn: str, ledger_id: str) -> None:
    """Holds the books against themselves, by an auditor that shares nothing with the service, and by the service."""
    result.findings += (await audit.own_findings(dsn, ledger_id))[:5]
    verified = await client.verify_ledger(ledger_id, timeout=VERIFY_SECONDS)
    result.findings += [f"VerifyLedger: {finding}" for finding in verified.findings[:5]]
    result.expect(verified.sound, "VerifyLedger did not find the books sound")


async def fault_rounds(
    stage: Stage,
    result: Result,
    rounds: int,
    dsn: Callable[[], str],
    addresses: Sequence[str],
    fault: Fault,
    *,
    minimum: int = ACKNOWLEDGED_MIN,
    recover_seconds: float = 5.0,
) -> None:
    """Rounds of one fault, each on a ledger of its own; stops at the first round that finds something."""
    for number in range(rounds):
        async with under_traffic(stage, result, dsn, addresses, minimum=minimum) as traffic:
            healed_at = await fault(traffic)
            recovered = await traffic.recovered_after(healed_at)
            result.recovered.append(recovered)
            result.expect(not stage.is_timed or recovered <= recover_seconds, f"it took {recovered:.1f} s to recover")
        if result.findings:
            result.findings.append(f"in round {number + 1}")
            return
