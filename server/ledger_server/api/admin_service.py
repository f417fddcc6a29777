"""The RPCs of operators and auditors: message in, one call, message out."""

from __future__ import annotations

from contextlib import aclosing

from ledger_client.v1 import admin_service_pb2 as pb
from ledger_server.api import admin
from ledger_server.api.calls import Context
from ledger_server.auditing import Auditor, Verification
from ledger_server.events.retention import Pruner


class LedgerAdminService:
    """ledger.v1.LedgerAdminService."""

    def __init__(self, auditor: Auditor, pruner: Pruner) -> None:
        self._auditor = auditor
        self._pruner = pruner

    async def VerifyLedger(self, request: pb.VerifyLedgerRequest, context: Context) -> None:
        await self._verify(admin.verify_ledger(request), context)

    async def GetLogDigest(self, request: pb.GetLogDigestRequest, context: Context) -> pb.LogDigest:
        ledger_id = admin.get_log_digest(request)
        return admin.digest_to(*await self._auditor.read_digest(ledger_id, context.time_remaining()))

    async def PruneEvents(self, request: pb.PruneEventsRequest, context: Context) -> pb.PruneEventsResponse:
        ledger_id, older_than = admin.prune_events(request)
        return admin.pruned_to(await self._pruner.prune(ledger_id, older_than, context.time_remaining()))

    async def _verify(self, asked: Verification, context: Context) -> None:
        async with aclosing(self._auditor.verify(asked)) as said:
            async for told in said:
                await context.write(admin.told_to(told).SerializeToString())
