"""Events and balances as bytes.

Balances make up most of an event and of the answer to a write, each version of an account is sent several times,
and making message objects of them took half of the server's time per command. So they are put together here, byte by
byte, and remembered with the version; a test compares them with what protobuf makes.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache, lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from ledger_client.v1 import balances_pb2, monitors_pb2, streams_pb2
from ledger_server.domain.book import Effect
from ledger_server.domain.ids import ledger_text
from ledger_server.domain.model import AccountVersion, CategoryVersion, EventKind, MonitorReading
from ledger_server.domain.money import BalanceKind, Counters, NormalBalance, balance
from ledger_server.domain.monitors import edge_kind
from ledger_server.domain.times import EPOCH


def varint(number: int) -> bytes:
    """A non-negative number as protobuf writes it."""
    return _SMALL_VARINTS[number] if number < len(_SMALL_VARINTS) else _encode_varint(number)


def _encode_varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


# Lengths, above all: three for each balance.
_SMALL_VARINTS = [_encode_varint(number) for number in range(1024)]


def timestamp_to(time: datetime) -> Timestamp:
    """Exact to the microsecond, unlike going through floats."""
    since = time - EPOCH
    return Timestamp(seconds=since.days * 86400 + since.seconds, nanos=since.microseconds * 1000)


# A batch's events and answers are of one time.
@lru_cache(maxsize=1024)
def time_to_bytes(time: datetime) -> bytes:
    """A serialized `google.protobuf.Timestamp` behind its length."""
    return delimited(timestamp_to(time).SerializeToString())


def balances_to(version: AccountVersion | CategoryVersion) -> balances_pb2.Balances:
    """The three balances of an account or a category at a version."""
    return balances_pb2.Balances.FromString(balances_to_bytes(version))


def balances_to_bytes(version: AccountVersion | CategoryVersion) -> bytes:
    """The three balances of an account or a category at a version: a serialized `ledger.v1.Balances`."""
    message = version.balances_message
    if message is None:
        account = version.account if isinstance(version, AccountVersion) else version.category
        message = version.balances_message = encode_balances(
            account.normal_balance, account.currency, account.currency_exponent, version.counters
        )
    return message


def encode_balances(normal_balance: NormalBalance, currency: str, currency_exponent: int, counters: Counters) -> bytes:
    """The three balances that these counters make: a serialized `ledger.v1.Balances`."""
    tail = encode_unit(currency, currency_exponent)
    posted = _digits(*balance(BalanceKind.POSTED, normal_balance, counters))
    if not (counters.pending_debits or counters.pending_credits):
        return three_alike(*posted, tail)
    pending = _encode_balance(*_digits(*balance(BalanceKind.PENDING, normal_balance, counters)), tail)
    available = _encode_balance(*_digits(*balance(BalanceKind.AVAILABLE, normal_balance, counters)), tail)
    return b"\x0a%b\x12%b\x1a%b" % (pending, _encode_balance(*posted, tail), available)


def three_alike(credits: bytes, debits: bytes, amount: bytes, tail: bytes) -> bytes:
    """Balances of what has nothing pending, by their digits and what `encode_unit` made of their unit."""
    body = b"\x0a%c%b\x12%c%b\x1a%c%b%b" % (len(credits), credits, len(debits), debits, len(amount), amount, tail)
    size = varint(len(body))
    return b"\x0a%b%b\x12%b%b\x1a%b%b" % (size, body, size, body, size, body)


def _digits(credits: int, debits: int, amount: int) -> tuple[bytes, bytes, bytes]:
    return b"%d" % credits, b"%d" % debits, b"%d" % amount


def _encode_balance(c: bytes, d: bytes, a: bytes, tail: bytes) -> bytes:
    """A Balance behind its length. Each amount is shorter than 128 digits for as long as the sun shines."""
    body = b"\x0a%c%b\x12%c%b\x1a%c%b%b" % (len(c), c, len(d), d, len(a), a, tail)
    return varint(len(body)) + body


@cache
def encode_unit(currency: str, currency_exponent: int) -> bytes:
    """What a Balance ends with: its currency and exponent, which are few."""
    return balances_pb2.Balance(currency=currency, currency_exponent=currency_exponent).SerializeToString()


_CREATIONS = {EventKind.ACCOUNT_CREATED, EventKind.CATEGORY_CREATED}
_ACCOUNT_KINDS = {EventKind.ACCOUNT_CREATED, EventKind.ACCOUNT_UPDATED, EventKind.ACCOUNT_DELETED}


def event_to_bytes(effect: Effect, request_id: str) -> bytes:
    """The event of an effect without position and time. `request_id` is the batch's for a command of a batch."""
    transaction = effect.transaction
    event = streams_pb2.Event(
        transaction_id=transaction.id if transaction is not None else "",
        kind=int(effect.kind),  # type: ignore[arg-type]
        actor=effect.command.actor,
        request_id=request_id,
    )
    if effect.account is not None and effect.kind in _ACCOUNT_KINDS:
        event.account_id = effect.account.account.id
    if effect.entry is not None:
        event.transaction_id, event.entry_id = effect.entry.transaction_id, effect.entry.id
    if effect.ledger is not None and effect.kind == EventKind.LEDGER_CREATED:
        event.ledger_id = ledger_text(effect.ledger.id)
    if effect.monitor is not None:
        event.account_id = effect.monitor.monitor.account_id or ""
        event.category_id = effect.monitor.monitor.category_id or ""
        event.monitor.CopyFrom(monitor_to(effect.monitor))
    if effect.category is not None:
        event.category_id = effect.category.category.id
    event.joined_or_left_category_ids.extend(effect.joined_or_left)
    event.under_category_ids.extend(effect.under if effect.monitor is None else effect.monitor.under)
    if effect.kind in _CREATIONS:
        event.parent_category_ids.extend(member.category_id for member in effect.member_changes)
    elif effect.member_changes:
        (member,) = effect.member_changes
        event.member_account_id = member.account_id or ""
        event.member_category_id = member.member_category_id or ""
    parts = [event.SerializeToString(deterministic=True)]
    for before, after, _, _ in effect.changes:
        change = b"\x0a\x24%b\x10%b\x1a%b\x22%b" % (
            after.account.id.encode(),
            varint(after.lock_version),
            delimited(balances_to_bytes(before)),
            delimited(balances_to_bytes(after)),
        )
        parts.append(b"\x3a" + delimited(change))
    for before_category, after_category in effect.category_changes:
        change = b"\x2a\x24%b\x1a%b\x22%b" % (
            after_category.category.id.encode(),
            delimited(balances_to_bytes(before_category)),
            delimited(balances_to_bytes(after_category)),
        )
        parts.append(b"\x3a" + delimited(change))
    return b"".join(parts)


def edge_to_bytes(effect: Effect, reading: MonitorReading, request_id: str) -> bytes:
    """The event of a monitor that an effect triggered, resolved or ended, without position and time."""
    event = streams_pb2.Event(
        kind=int(edge_kind(reading.monitor)),  # type: ignore[arg-type]
        actor=effect.command.actor,
        request_id=request_id,
        account_id=reading.monitor.account_id or "",
        category_id=reading.monitor.category_id or "",
        monitor=monitor_to(reading),
        under_category_ids=reading.under,
    )
    return event.SerializeToString(deterministic=True)


def monitor_to(reading: MonitorReading) -> monitors_pb2.BalanceMonitor:
    """A monitor, and what it is on, as they stand."""
    monitor, subject = reading.monitor, reading.subject
    field, operator, value, resolve_value = monitor.condition
    message = monitors_pb2.BalanceMonitor(
        id=monitor.id,
        ledger_id=ledger_text(monitor.ledger_id),
        condition=monitors_pb2.MonitorCondition(
            field=int(field),  # type: ignore[arg-type]
            operator=int(operator),  # type: ignore[arg-type]
            value=str(value),
            resolve_value=None if resolve_value is None else str(resolve_value),
        ),
        description=monitor.description,
        metadata=monitor.metadata,
        version=monitor.version,
        triggered=monitor.triggered,
        since_position=monitor.since_position,
        since=timestamp_to(monitor.since),
        lock_version=subject.lock_version if isinstance(subject, AccountVersion) else None,
        balances=balances_to(subject),
        created_at=timestamp_to(monitor.created_at),
        updated_at=timestamp_to(monitor.updated_at),
        deleted_at=timestamp_to(monitor.deleted_at) if monitor.deleted_at else None,
    )
    if monitor.account_id is not None:
        message.account_id = monitor.account_id
    else:
        message.category_id = monitor.subject_id
    return message


def delimited(message: bytes) -> bytes:
    """A message behind its length, as it stands within another."""
    return varint(len(message)) + message
