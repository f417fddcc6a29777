"""What is repeated, how often, and when.

A call of its own is repeated by gRPC's core, by the policy below, because the core knows whether a server saw the call
and keeps its bytes. UNAVAILABLE is retried, and CANCELLED where it was not this client that cancelled: so a server that
is being stopped may end a call which it has not picked up yet. Both are safe for writes too: the request carries its
request_id, and the server answers a repeat with what it wrote the first time. What the service answers of one write
within a batch the core does not see: batching.py repeats it, by the same policy. Streams resume where they were.
"""

import random

import grpc

from ledger_client.errors import LedgerError

# 0.1, 0.3, 0.9, 2.7 s: a restart is survived, a wrong address said soon.
ATTEMPTS_MAX = 5  # the most gRPC allows
FIRST_BACKOFF_SECONDS = 0.1
BACKOFF_MULTIPLIER = 3.0
BACKOFF_SECONDS_MAX = 3.0
JITTER = 1.1
RETRYABLE_CODES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

RETRY_POLICY = {
    "maxAttempts": ATTEMPTS_MAX,
    "initialBackoff": f"{FIRST_BACKOFF_SECONDS}s",
    "maxBackoff": f"{BACKOFF_SECONDS_MAX}s",
    "backoffMultiplier": BACKOFF_MULTIPLIER,
    "retryableStatusCodes": [code.name for code in RETRYABLE_CODES],
}

STREAM_BACKOFF_SECONDS = 0.1
BACKOFF_LIMIT_SECONDS = 5.0


def repeat_after_seconds(attempts: int, error: LedgerError) -> float | None:
    """How long to wait before a write is tried again that failed so many times; None: it is not.

    Jitter is still to be added. Not sooner than the service asks for; so for longer than gRPC's core, which does not
    know of that.
    """
    if error.code not in RETRYABLE_CODES or attempts >= ATTEMPTS_MAX:
        return None
    backoff = min(FIRST_BACKOFF_SECONDS * BACKOFF_MULTIPLIER ** (attempts - 1), BACKOFF_SECONDS_MAX)
    return max(backoff, _asked_for_seconds(error))


def backoff_seconds(failures: int, lost: LedgerError) -> float:
    """How long to wait before a stream is resumed, after so many failures in a row.

    Exponential with full jitter, so that the callers of a restarted server do not return as one.
    """
    ceiling = min(BACKOFF_LIMIT_SECONDS, STREAM_BACKOFF_SECONDS * 2.0 ** min(failures, 10))
    return _asked_for_seconds(lost) + random.uniform(0.0, ceiling)


def _asked_for_seconds(error: LedgerError) -> float:
    return error.retry_delay.total_seconds() if error.retry_delay is not None else 0.0
