"""Auditing the books: everything that one table says is held against what the others say."""

from ledger_server.auditing.findings import Finding, KnownDigest, Progress, Verdict
from ledger_server.auditing.verifying import Auditor, Verification

__all__ = ["Auditor", "Finding", "KnownDigest", "Progress", "Verdict", "Verification"]
