"""Events as bytes: `ledger.v1.Event`, serialized once, when its command is written."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

from google.protobuf.timestamp_pb2 import Timestamp
from ledger_client.v1 import balances_pb2, streams_pb2

from ledger_server.domain.book import Effect
from ledger_server.domain.model import AccountVersion, EventKind
from ledger_server.domain.money import BalanceKind, balance

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

GENESIS_DIGEST = sha256(b"").digest()


def timestamp_to(time: datetime) -> Timestamp:
    """Exact to the microsecond, unlike going through floats."""
    since = time - _EPOCH
    return Timestamp(seconds=since.days * 86400 + since.seconds, nanos=since.microseconds * 1000)


def balances_to(version: AccountVersion) -> balances_pb2.Balances:
    """The three balances of an account at a version."""
    account, _, counters, _ = version
    pending, posted, available = (
        balances_pb2.Balance(
            credits=str(credits),
            debits=str(debits),
            amount=str(amount),
            currency=account.currency,
            currency_exponent=account.currency_exponent,
        )
        for credits, debits, amount in (
            balance(kind, account.normal_balance, counters)
            for kind in (BalanceKind.PENDING, BalanceKind.POSTED, BalanceKind.AVAILABLE)
        )
    )
    return balances_pb2.Balances(pending=pending, posted=posted, available=available)


def event_to_bytes(effect: Effect, request_id: str) -> bytes:
    """The event of an effect. `request_id` is the batch's for a command of an atomic batch."""
    event = streams_pb2.Event(
        position=effect.position,
        time=timestamp_to(effect.time),
        kind=streams_pb2.EventKind.ValueType(effect.kind),
        actor=effect.command.actor,
        request_id=request_id,
        changes=[
            streams_pb2.BalanceChange(
                account_id=change.after.account.id,
                lock_version=change.after.lock_version,
                before=balances_to(change.before),
                after=balances_to(change.after),
            )
            for change in effect.changes
        ],
    )
    if effect.transaction is not None:
        event.transaction_id = effect.transaction.id
    if effect.kind in (EventKind.ACCOUNT_CREATED, EventKind.ACCOUNT_UPDATED) and effect.account is not None:
        event.account_id = effect.account.account.id
    return event.SerializeToString(deterministic=True)


def chain(digest: bytes, payload: bytes) -> bytes:
    """The digest of an event, covering its payload and, through the digest before it, all history."""
    return sha256(digest + payload).digest()
