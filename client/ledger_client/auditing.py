"""Calls of operators and auditors."""

import asyncio
import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import grpc.aio
from google.protobuf.duration_pb2 import Duration

from ledger_client.channel import Connection
from ledger_client.errors import Unavailable
from ledger_client.messages import message
from ledger_client.statuses import ToldIfClosed, error_from_rpc
from ledger_client.v1.admin_service_pb2 import (
    GetLogDigestRequest,
    LogDigest,
    PruneEventsRequest,
    VerifyFinding,
    VerifyLedgerRequest,
    VerifyLedgerResponse,
    VerifyProgress,
)

# How long a stream that has said all is waited for.
_END_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A row of the books that is wrong, or is not there."""

    table: str
    key: Mapping[str, str]
    """By column, without the ledger's id."""
    problem: str
    expected: str
    """By what it was held against; empty: nothing."""
    found: str
    """Empty: nothing."""

    def __str__(self) -> str:
        key = ", ".join(f"{column} {value}" for column, value in self.key.items())
        expected, found = (repr(text) if text else "nothing" for text in (self.expected, self.found))
        return f"{self.table}: {key}: {self.problem}: expected {expected}, found {found}"


@dataclass(slots=True)
class Verification:
    """What a verification came to."""

    sound: bool = False
    """Everything was looked at, and nothing is wrong."""
    complete: bool = False
    """Everything was looked at; not so if there are ``findings_max`` findings."""
    findings: list[Finding] = field(default_factory=list)
    """What is wrong; of one table in the order of its key."""
    rows: int = 0
    """How many rows were looked at."""
    digest: LogDigest = field(default_factory=LogDigest)
    """Of the log as it was verified. Keep it elsewhere, and give it to the next verification."""
    checkpoint_position: int = 0
    """The log was verified after this position, of the last event that is pruned."""


class AuditCalls(Connection):
    """What operators and auditors can ask."""

    async def verify_ledger(
        self,
        ledger_id: str,
        *,
        known_digest: LogDigest | None = None,
        findings_max: int = 0,
        progress: Callable[[VerifyProgress], object] | None = None,
        finding: Callable[[Finding], object] | None = None,
        timeout: float | None = None,
    ) -> Verification:
        """Hold everything that a ledger's books say against everything else that they say, beside writers.

        Args:
            ledger_id: which ledger.
            known_digest: what ``get_log_digest`` or an earlier verification said, kept since; None: nothing is. It
                finds a log whose end was cut off, or that was written anew as a whole.
            findings_max: after so many findings it ends: 1..10,000; 0: 100.
            progress: is called about five times a second.
            finding: is called with each finding as it comes.
            timeout: deadline in seconds; None: none. A million transactions take minutes.

        Raises:
            LedgerNotFound: no such ledger.
            EpochChanged: the digest is of before a restore of the database.
            PositionPruned: the digest is of an event that is pruned by now.
            Unavailable: the server went away; verify again.
        """
        request = message(
            VerifyLedgerRequest, ledger_id=ledger_id, known_digest=known_digest, findings_max=findings_max
        )
        result = Verification()
        try:
            with ToldIfClosed():
                call = self.admin_stub.VerifyLedger(request, timeout=timeout, metadata=self.call_metadata)
                try:
                    async for response in call:
                        if _take(response, result, progress, finding):
                            await _end_of(call)
                            return result
                finally:
                    call.cancel()
        except grpc.aio.AioRpcError as rpc_error:
            raise error_from_rpc(rpc_error) from rpc_error
        raise Unavailable("the server ended the verification without a verdict")

    async def get_log_digest(self, ledger_id: str, *, timeout: float | None = None) -> LogDigest:
        """Read the digest of a ledger's log as it stands: keep it elsewhere, for ``verify_ledger``.

        Raises:
            LedgerNotFound: no such ledger.
        """
        request = message(GetLogDigestRequest, ledger_id=ledger_id)
        return await self._call(self.admin_stub.GetLogDigest, request, timeout)

    async def prune_events(
        self, ledger_id: str, *, older_than: dt.timedelta, timeout: float | None = None
    ) -> tuple[int, bool]:
        """Remove old events from the beginning of a ledger's log; streams read them, and categories by ``known_at``.

        Args:
            ledger_id: which ledger.
            older_than: how old they are at least; the newest event always stays.
            timeout: deadline in seconds; None: the client's.

        Returns:
            How many were removed, and whether more are left because the deadline came near.

        Raises:
            LedgerNotFound: no such ledger.
            PruningNotAllowed: the server's role may not.
        """
        duration = Duration()
        duration.FromTimedelta(older_than)
        request = message(PruneEventsRequest, ledger_id=ledger_id, older_than=duration)
        response = await self._call(self.admin_stub.PruneEvents, request, timeout)
        return response.pruned_count, response.more


def _take(
    response: VerifyLedgerResponse,
    result: Verification,
    progress: Callable[[VerifyProgress], object] | None,
    finding: Callable[[Finding], object] | None,
) -> bool:
    """Whether it was the verdict."""
    match response.WhichOneof("message"):
        case "progress":
            if progress is not None:
                progress(response.progress)
        case "finding":
            result.findings.append(_finding_from(response.finding))
            if finding is not None:
                finding(result.findings[-1])
        case "verdict":
            verdict = response.verdict
            result.sound, result.complete, result.rows = verdict.sound, verdict.complete, verdict.rows
            result.digest, result.checkpoint_position = verdict.digest, verdict.checkpoint_position
            return True
        case None:  # a kind of message that is newer than this client
            pass
    return False


async def _end_of(call: "grpc.aio.UnaryStreamCall[VerifyLedgerRequest, VerifyLedgerResponse]") -> None:
    """Nothing comes after the verdict, but who leaves before the end looks to the server like one who gave up."""
    with suppress(grpc.aio.AioRpcError, TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            async for _ in call:
                pass


def _finding_from(finding: VerifyFinding) -> Finding:
    return Finding(finding.table, dict(finding.key), finding.problem, finding.expected, finding.found)
