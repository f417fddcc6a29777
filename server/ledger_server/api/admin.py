"""What operators and auditors ask, and what they are answered: requests to domain values, and back."""

from __future__ import annotations

from datetime import timedelta

from ledger_client.v1 import admin_service_pb2 as pb
from ledger_server.api import fields
from ledger_server.api.fields import Problems
from ledger_server.auditing import Finding, KnownDigest, Progress, Verdict, Verification
from ledger_server.events.retention import Pruned

FINDINGS_MAX, FINDINGS_DEFAULT = 10_000, 100
DIGEST_BYTES = 32
CENTURY_SECONDS = 36_525 * 86_400.0


def verify_ledger(request: pb.VerifyLedgerRequest) -> Verification:
    problems = Problems()
    if not 0 <= request.findings_max <= FINDINGS_MAX:
        problems.add("findings_max", f"must be 1 to {FINDINGS_MAX}, or 0 for {FINDINGS_DEFAULT}")
    known = None
    if request.HasField("known_digest"):
        if not request.known_digest.HasField("position"):
            problems.add("known_digest.position", "is required")
        if len(request.known_digest.digest) != DIGEST_BYTES:
            problems.add("known_digest.digest", f"must be {DIGEST_BYTES} bytes")
        position = fields.count(problems, "known_digest.position", request.known_digest.position)
        known = KnownDigest(position, request.known_digest.digest)
    epoch = request.known_digest.epoch
    verification = Verification(
        # Also the nil ledger's.
        ledger_id=fields.ledger_or_registry_id(problems, request.ledger_id),
        known=known,
        epoch=fields.object_id(problems, "known_digest.epoch", epoch) if epoch else "",
        findings_max=request.findings_max or FINDINGS_DEFAULT,
    )
    problems.raise_if_any()
    return verification


def get_log_digest(request: pb.GetLogDigestRequest) -> int:
    problems = Problems()
    ledger_id = fields.ledger_or_registry_id(problems, request.ledger_id)
    problems.raise_if_any()
    return ledger_id


def prune_events(request: pb.PruneEventsRequest) -> tuple[int, timedelta]:
    problems = Problems()
    ledger_id = fields.ledger_or_registry_id(problems, request.ledger_id)
    seconds = 0.0
    if request.HasField("older_than"):
        seconds = fields.seconds(problems, "older_than", request.older_than, least=0.0, most=CENTURY_SECONDS)
    else:
        problems.add("older_than", "is required")
    problems.raise_if_any()
    return ledger_id, timedelta(seconds=seconds)


def told_to(told: Progress | Finding | Verdict) -> pb.VerifyLedgerResponse:
    match told:
        case Progress():
            return pb.VerifyLedgerResponse(progress=pb.VerifyProgress(**told._asdict()))
        case Finding():
            return pb.VerifyLedgerResponse(finding=pb.VerifyFinding(**told._asdict()))
        case Verdict():
            verdict = pb.VerifyVerdict(
                sound=told.is_complete and not told.findings,
                findings=told.findings,
                complete=told.is_complete,
                digest=digest_to(told.position, told.digest, told.epoch),
                checkpoint_position=told.checkpoint_position,
                rows=told.rows,
            )
            return pb.VerifyLedgerResponse(verdict=verdict)


def digest_to(position: int, digest: bytes, epoch: str) -> pb.LogDigest:
    return pb.LogDigest(position=position, digest=digest, epoch=epoch)


def pruned_to(pruned: Pruned) -> pb.PruneEventsResponse:
    return pb.PruneEventsResponse(pruned_count=pruned.events, more=pruned.more)
