"""What is refused about partial posts, reversals, limits, an account's status, closed periods, expiry, and about the
fields of streams: further rows of the refusal table in test_refusals.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ledger_client.v1 import accounts_pb2, ledgers_pb2, transactions_pb2
from ledger_client.v1.accounts_pb2 import BalanceLimit, BalanceLimits
from ledger_client.v1.streams_pb2 import (
    EVENT_KIND_ACCOUNT_UPDATED,
    EVENT_KIND_MONITOR_TRIGGERED,
    EVENT_KIND_TRANSACTION_CREATED,
    WatchBalancesRequest,
    WatchEventsRequest,
)
from tests.service.category_refusals import Row, failed, field
from tests.service.raw import request_id
from tests.service.refusing import CREDIT, DEBIT, POSTED, UNKNOWN_ID, Books

Part = transactions_pb2.PartialEntryInput


def parts(books: Books, debit: str, credit: str) -> list[Part]:
    return [
        Part(account_id=books.cash, direction=DEBIT, amount=debit),
        Part(account_id=books.revenue, direction=CREDIT, amount=credit),
    ]


def partly(books: Books, transaction_id: str, entries: list[Part]) -> Message:
    return transactions_pb2.PartialPostTransactionRequest(
        ledger_id=books.ledger_id, request_id=request_id(), transaction_id=transaction_id, entries=entries
    )


def reverse(books: Books, transaction_id: str, **more: Any) -> Message:
    return transactions_pb2.ReverseTransactionRequest(
        ledger_id=books.ledger_id, request_id=request_id(), transaction_id=transaction_id, **more
    )


def limited(books: Books, **bounds: str) -> Message:
    return books.account(limits=BalanceLimits(posted=BalanceLimit(**bounds)))


def set_status(books: Books, status: Any) -> Message:
    return books.update_account(status=status, update_mask=FieldMask(paths=["status"]))


def watch(**more: Any) -> Callable[[Books], Message]:
    return lambda b: WatchBalancesRequest(ledger_id=b.ledger_id, **more)


def events(**more: Any) -> Callable[[Books], Message]:
    return lambda b: WatchEventsRequest(ledger_id=b.ledger_id, **more)


STREAM_FIELDS = [
    field("a stream of kinds nobody knows", "WatchBalances", watch(kinds=[5, 999]), "kinds[1]"),
    field("a stream of no kind", "WatchBalances", watch(kinds=[0]), "kinds"),
    field(
        "monitors' events folded",
        "WatchBalances",
        watch(kinds=[EVENT_KIND_MONITOR_TRIGGERED], conflate=True),
        "conflate",
    ),
    field(
        "events folded that move no balance",
        "WatchBalances",
        watch(kinds=[EVENT_KIND_TRANSACTION_CREATED, EVENT_KIND_ACCOUNT_UPDATED], conflate=True),
        "conflate",
    ),
    field(
        "a stream of metadata with a value of 1,025 characters",
        "WatchBalances",
        watch(transaction_metadata={"a": "b" * 1_025}),
        "transaction_metadata['a']",
    ),
    field(
        "a stream of 51 pairs of metadata",
        "WatchBalances",
        watch(transaction_metadata={str(n): "x" for n in range(51)}),
        "transaction_metadata",
    ),
    field("a stream of an account whose id is no UUID", "WatchBalances", watch(account_ids=["cash"]), "account_ids[0]"),
    field("a heartbeat that is no time", "WatchBalances", watch(heartbeat_interval=Duration()), "heartbeat_interval"),
    field(
        "a heartbeat before now", "WatchBalances", watch(heartbeat_interval=Duration(seconds=-1)), "heartbeat_interval"
    ),
    field(
        "a heartbeat whose nanos go the other way",
        "WatchBalances",
        watch(heartbeat_interval=Duration(seconds=10, nanos=-5)),
        "heartbeat_interval",
    ),
    field(
        "a heartbeat whose nanos are more than a second",
        "WatchEvents",
        events(heartbeat_interval=Duration(seconds=10, nanos=1_000_000_000)),
        "heartbeat_interval",
    ),
    field("events of kinds nobody knows", "WatchEvents", events(kinds=[999]), "kinds[0]"),
    field("events after a negative position", "WatchEvents", events(after_position=-1), "after_position"),
    field("events of an epoch that is no UUID", "WatchEvents", events(epoch="then"), "epoch"),
    field(
        "events with a heartbeat faster than allowed",
        "WatchEvents",
        events(heartbeat_interval=Duration(nanos=1)),
        "heartbeat_interval",
    ),
    Row(
        "events after a position in the future",
        "WatchEvents",
        events(after_position=10**9),
        "OUT_OF_RANGE",
        "POSITION_IN_FUTURE",
        "position",
        False,
    ),
    Row(
        "events of another history",
        "WatchEvents",
        events(epoch=UNKNOWN_ID),
        "FAILED_PRECONDITION",
        "EPOCH_CHANGED",
        "epoch",
        False,
    ),
]

ROWS = [
    *STREAM_FIELDS,
    field("a partial post of nothing", "PartialPostTransaction", lambda b: partly(b, b.pending, []), "entries"),
    field(
        "a partial post of zeros",
        "PartialPostTransaction",
        lambda b: partly(b, b.pending, parts(b, "0", "0")),
        "entries",
    ),
    field(
        "a partial post without a direction",
        "PartialPostTransaction",
        lambda b: partly(b, b.pending, [Part(account_id=b.cash, amount="1")]),
        "entries[0].direction",
    ),
    field(
        "a reversal that is archived",
        "ReverseTransaction",
        lambda b: reverse(b, b.posted, status=transactions_pb2.TRANSACTION_STATUS_ARCHIVED),
        "status",
    ),
    field(
        "a reversal of an entry whose id is no UUID",
        "ReverseTransaction",
        lambda b: reverse(b, b.posted, entries=[Part(entry_id="1", amount="1")]),
        "entries[0].entry_id",
    ),
    field("a limit that is not a number", "CreateAccount", lambda b: limited(b, min="none"), "limits.posted.min"),
    field("a minimum above the maximum", "CreateAccount", lambda b: limited(b, min="2", max="1"), "limits.posted"),
    field("an account's status nobody knows", "UpdateAccount", lambda b: set_status(b, 99), "status"),
    field("no status for an account", "UpdateAccount", lambda b: set_status(b, 0), "status"),
    field(
        "a posted transaction that expires",
        "CreateTransaction",
        lambda b: b.create(status=POSTED, expires_at=Timestamp(seconds=4_000_000_000)),
        "expires_at",
    ),
    field(
        "a period closed beyond the year 9999",
        "UpdateLedger",
        lambda b: ledgers_pb2.UpdateLedgerRequest(
            ledger_id=b.ledger_id,
            request_id=request_id(),
            closed_before=Timestamp(seconds=10**12),
            update_mask=FieldMask(paths=["closed_before"]),
        ),
        "closed_before",
    ),
    failed(
        "a transaction that has expired before it is created",
        "CreateTransaction",
        lambda b: b.create(expires_at=Timestamp(seconds=1)),
        "TRANSACTION_EXPIRED",
        "expires_at",
    ),
    failed(
        "a transaction that is made to expire in the past",
        "UpdateTransaction",
        lambda b: b.update(b.pending, expires_at=Timestamp(seconds=1)),
        "TRANSACTION_EXPIRED",
        "transaction_id",
    ),
    failed(
        "more posted in part than is pending",
        "PartialPostTransaction",
        lambda b: partly(b, b.pending, parts(b, "101", "101")),
        "AMOUNT_EXCEEDED",
        "",
    ),
    failed(
        "a posted transaction posted in part",
        "PartialPostTransaction",
        lambda b: partly(b, b.posted, parts(b, "1", "1")),
        "TRANSACTION_NOT_PENDING",
        "status=POSTED",
    ),
    failed(
        "a pending transaction reversed",
        "ReverseTransaction",
        lambda b: reverse(b, b.pending),
        "TRANSACTION_NOT_POSTED",
        "status=PENDING",
    ),
    failed(
        "more reversed than was posted",
        "ReverseTransaction",
        lambda b: reverse(b, b.posted, entries=parts(b, "101", "101")),
        "AMOUNT_EXCEEDED",
        "",
    ),
    failed(
        "an account closed that is not empty",
        "UpdateAccount",
        lambda b: set_status(b, accounts_pb2.ACCOUNT_STATUS_CLOSED),
        "ACCOUNT_NOT_EMPTY",
        "",
    ),
    failed(
        "a posting on a frozen account",
        "CreateTransaction",
        lambda b: b.create([b.line(b.frozen, DEBIT), b.line(b.revenue, CREDIT)]),
        "ACCOUNT_NOT_OPEN",
        "",
    ),
    failed(
        "a posting on a deleted account",
        "CreateTransaction",
        lambda b: b.create([b.line(b.deleted, DEBIT), b.line(b.revenue, CREDIT)]),
        "ACCOUNT_DELETED",
        "account_id",
    ),
    failed(
        "new entries on a deleted account",
        "UpdateTransaction",
        lambda b: b.update(b.pending, entries=[b.line(b.deleted, DEBIT), b.line(b.revenue, CREDIT)]),
        "ACCOUNT_DELETED",
        "account_id",
    ),
    failed(
        "a posting with entries on a deleted account",
        "PostTransaction",
        lambda b: b.post(b.pending, entries=[b.line(b.deleted, DEBIT), b.line(b.revenue, CREDIT)]),
        "ACCOUNT_DELETED",
        "account_id",
    ),
    failed(
        "a posting beyond a standing limit",
        "CreateTransaction",
        lambda b: b.create([b.line(b.limited, DEBIT, "6"), b.line(b.revenue, CREDIT, "6")], status=POSTED),
        "LIMIT_EXCEEDED",
        "",
    ),
    failed(
        "a posting into a closed period",
        "CreateTransaction",
        lambda b: b.create(status=POSTED, effective_at=Timestamp(seconds=-(10**9))),
        "PERIOD_CLOSED",
        "",
    ),
]
