"""Rows of the log read by the table in `events/stored.py`, without its code: slow, and plain to see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol
from uuid import UUID

import asyncpg

from ledger_client.v1.balances_pb2 import Balance, Balances
from ledger_client.v1.streams_pb2 import BalanceChange, Event

GENESIS = sha256(b"").digest()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Row(Protocol):
    """A row of `events`, as a dictionary or as it comes from the database."""

    def __getitem__(self, column: str, /) -> Any: ...


def read_event(row: Row) -> Event:
    """The event of a row of `events`: its position, time and payload."""
    payload: bytes = row["payload"]
    event = Event.FromString(payload[1:]) if payload[0] == 0 else _read_transaction_event(payload)
    event.position = row["position"]
    since = row["time"] - _EPOCH
    event.time.seconds, event.time.nanos = since // timedelta(seconds=1), since.microseconds * 1000
    return event


def kind_of(row: Row) -> int:
    """The kind of the event of a row, sooner than by reading it."""
    payload: bytes = row["payload"]
    return payload[0] or Event.FromString(payload[1:]).kind


def write_payload(event: Event) -> bytes:
    """Any event as a payload."""
    copy = Event()
    copy.CopyFrom(event)
    copy.ClearField("position")
    copy.ClearField("time")
    return b"\0" + copy.SerializeToString()


def chained(digest: bytes, row: Row) -> bytes:
    """The digest of a row behind one of this digest."""
    time = (row["time"] - _EPOCH) // timedelta(microseconds=1)
    return sha256(digest + time.to_bytes(8, "big") + row["payload"]).digest()


async def rehash(connection: asyncpg.Connection[asyncpg.Record], ledger_id: int) -> None:
    """Makes every digest of a whole log anew, the head's too."""
    digest = GENESIS
    for row in await connection.fetch("SELECT * FROM events WHERE ledger_id = $1 ORDER BY position", ledger_id):
        digest = chained(digest, row)
        await connection.execute(
            "UPDATE events SET digest = $3 WHERE ledger_id = $1 AND position = $2", ledger_id, row["position"], digest
        )
    await connection.execute("UPDATE ledgers SET digest = $2 WHERE ledger_id = $1", ledger_id, digest)


def _read_transaction_event(payload: bytes) -> Event:
    event = Event(kind=payload[0], transaction_id=str(UUID(bytes=payload[1:17])))  # type: ignore[arg-type]
    actor_length, request_length, count = payload[17], payload[18], int.from_bytes(payload[19:21], "big")
    rest = payload[21:]
    ids = [str(UUID(bytes=rest[16 * n : 16 * n + 16])) for n in range(count)]
    rest = rest[16 * count :]
    if actor_length == 255:
        event.actor = "anonymous"
    else:
        event.actor, rest = rest[:actor_length].decode(), rest[actor_length:]
    event.request_id, rest = rest[:request_length].decode(), rest[request_length:]
    unit = ""
    for subject_id, line in zip(ids, rest.decode().split("\n") if ids else [], strict=True):
        numbers, _, own_unit = line.partition(";")
        unit = own_unit or unit
        lock_version, debits, credits, *moved = map(int, numbers.split(" "))
        after = (debits, credits, *(moved[2:4] or (0, 0)))
        before = [now - by for now, by in zip(after, [*moved[:2], *(moved[4:] or (0, 0))], strict=True)]
        change = BalanceChange(before=_balances(unit, *before), after=_balances(unit, *after))
        if lock_version == -1:
            change.category_id = subject_id
        else:
            change.account_id, change.lock_version = subject_id, lock_version
        event.changes.append(change)
    return event


def _balances(unit: str, debits: int, credits: int, pending_debits: int, pending_credits: int) -> Balances:
    is_debit_normal, exponent, currency = unit[0] == "1", *unit[2:].split(" ", 1)

    def one(left: int, right: int) -> Balance:
        amount = left - right if is_debit_normal else right - left
        return Balance(
            debits=str(left),
            credits=str(right),
            amount=str(amount),
            currency=currency,
            currency_exponent=int(exponent),
        )

    all_debits, all_credits = debits + pending_debits, credits + pending_credits
    return Balances(
        posted=one(debits, credits),
        pending=one(all_debits, all_credits),
        available=one(debits, all_credits) if is_debit_normal else one(all_debits, credits),
    )
