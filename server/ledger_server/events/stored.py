"""Events as rows of the log, and as the messages that subscribers get.

A transaction's event says much that follows from little: ids as text, three balances twice for each account. What it
follows from is a quarter of its bytes, so that alone is stored, and the message is made of it when it is read. Position
and time have columns of their own. An event's first byte tells how the rest is to be read:

| first byte | what follows                                                                                       |
|------------|----------------------------------------------------------------------------------------------------|
| 0          | the message, a serialized `ledger.v1.Event`, without its position and time                         |
| its kind   | `_HEAD`; the ids of what it moved, 16 bytes each; actor; request_id; for each id a line of numbers |
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from struct import Struct

from ledger_server.domain.book import Effect
from ledger_server.domain.model import Account, AccountVersion, Category, CategoryVersion, MonitorReading
from ledger_server.domain.money import Counters, NormalBalance
from ledger_server.domain.times import EPOCH, MICROSECOND
from ledger_server.events.encode import (
    delimited,
    edge_to_bytes,
    encode_balances,
    encode_unit,
    event_to_bytes,
    three_alike,
    time_to_bytes,
    varint,
)

GENESIS_DIGEST = sha256(b"").digest()

_MESSAGE = b"\0"
# The transaction's id; how many bytes actor and request_id have; how many ids follow.
_HEAD = Struct(">16sBBH")
_COUNT = slice(1 + _HEAD.size - 2, 1 + _HEAD.size)
_ID_BYTES = 16
_LENGTH_MAX = 0xFE
_IDS_MAX = 0xFFFF
# Instead of a length: what most callers are called.
_USUAL = 0xFF
_USUAL_ACTOR = b"anonymous"
# What a category has for a lock_version.
_NO_LOCK_VERSION = b"-1"


def pack_event(effect: Effect, request_id: str) -> bytes:
    """The event of an effect as it is stored. `request_id` is the batch's for a command of a batch."""
    actor, request = effect.command.actor.encode(), request_id.encode()
    transaction = effect.transaction
    if transaction is None or effect.joined_or_left or max(len(actor), len(request)) > _LENGTH_MAX:
        return _MESSAGE + event_to_bytes(effect, request_id)
    actor_length, request_length = len(actor), len(request)
    if actor == _USUAL_ACTOR:
        actor, actor_length = b"", _USUAL
    ids, lines = [], []
    unit: tuple[int, int, bytes] | None = None
    for before, after in _moved(effect):
        subject: Account | Category
        if isinstance(after, AccountVersion):
            subject, lock_version = after.account, b"%d" % after.lock_version
        else:
            subject, lock_version = after.category, _NO_LOCK_VERSION
        ids.append(subject.id)
        debits, credits, pending_debits, pending_credits = after.counters
        debits_before, credits_before, pending_debits_before, pending_credits_before = before.counters
        line = b"%b %d %d %d %d" % (
            lock_version,
            debits,
            credits,
            debits - debits_before,
            credits - credits_before,
        )
        if pending_debits or pending_credits or pending_debits_before or pending_credits_before:
            line += b" %d %d %d %d" % (
                pending_debits,
                pending_credits,
                pending_debits - pending_debits_before,
                pending_credits - pending_credits_before,
            )
        unit_before, unit = unit, (subject.normal_balance, subject.currency_exponent, subject.currency.encode())
        if unit != unit_before:
            line += b";%d %d %b" % unit
        lines.append(line)
    if len(ids) > _IDS_MAX:
        return _MESSAGE + event_to_bytes(effect, request_id)
    return b"%c%b%b%b%b%b" % (
        effect.kind,
        _HEAD.pack(_ids_to_bytes(transaction.id), actor_length, request_length, len(ids)),
        _ids_to_bytes("".join(ids)),
        actor,
        request,
        b"\n".join(lines),
    )


def pack_edge(effect: Effect, reading: MonitorReading, request_id: str) -> bytes:
    """The event of a monitor that an effect triggered, resolved or ended, as it is stored."""
    return _MESSAGE + edge_to_bytes(effect, reading, request_id)


def unpack(position: int, time: datetime, stored: bytes) -> bytes:
    """A stored event as subscribers get it: a serialized `ledger.v1.Event`.

    Raises ValueError for what was never stored.
    """
    parts = [b"\x08", varint(position), b"\x12", time_to_bytes(time)]
    if stored[:1] == _MESSAGE:
        parts.append(stored[1:])
        return b"".join(parts)
    if len(stored) < 1 + _HEAD.size:
        raise ValueError("too short for an event")
    transaction_id, actor_length, request_length, count = _HEAD.unpack_from(stored, 1)
    ids_start = 1 + _HEAD.size
    actor_start = ids_start + count * _ID_BYTES
    request_start = actor_start + (0 if actor_length == _USUAL else actor_length)
    lines_start = request_start + request_length
    parts.append(b"\x1a\x24%b\x20%c" % (_id_to_text(transaction_id), stored[0]))
    if actor := _USUAL_ACTOR if actor_length == _USUAL else stored[actor_start:request_start]:
        parts += (b"\x2a", delimited(actor))
    request = stored[request_start:lines_start]
    if request:
        parts += (b"\x32", delimited(request))
    lines = stored[lines_start:].split(b"\n") if count else []
    if len(lines) != count:
        raise ValueError(f"{len(lines)} lines for {count} ids")
    unit = b""
    for line in lines:
        numbers, _, own_unit = line.partition(b";")
        unit = own_unit or unit
        change = _change(stored[ids_start : ids_start + _ID_BYTES], unit, numbers.split(b" "))
        ids_start += _ID_BYTES
        parts += (b"\x3a", varint(len(change)), change)
    return b"".join(parts)


def is_of_moves(stored: bytes) -> bool:
    """Whether it is a transaction's event that moved some balance: whoever filters nothing gets it, unread."""
    return stored[:1] != _MESSAGE and stored[_COUNT] != b"\0\0"


def chain(digest: bytes, time: datetime, stored: bytes) -> bytes:
    """The digest of an event, covering its time, what is stored of it, and, through the digest before it, all history.

    Positions are covered too, as they have no gaps.
    """
    return sha256(digest + _time_stamp(time) + stored).digest()


def _moved(effect: Effect) -> Iterator[tuple[AccountVersion | CategoryVersion, AccountVersion | CategoryVersion]]:
    """What the effect moved, before and after: accounts, then categories."""
    for before, after, _, _ in effect.changes:
        yield before, after
    yield from effect.category_changes


def _change(subject_id: bytes, unit: bytes, numbers: list[bytes]) -> bytes:
    """A serialized `ledger.v1.BalanceChange`."""
    if len(numbers) == 5:
        # Nothing is pending, so that all three balances are alike: by far the most, and read by the million.
        sign, tail = _unit(unit)
        lock_version, debits_text, credits_text, debits_moved, credits_moved = numbers
        debits, credits = int(debits_text), int(credits_text)
        debits_before, credits_before = debits - int(debits_moved), credits - int(credits_moved)
        amount_before, amount = sign * (credits_before - debits_before), sign * (credits - debits)
        before = three_alike(b"%d" % credits_before, b"%d" % debits_before, b"%d" % amount_before, tail)
        after = three_alike(credits_text, debits_text, b"%d" % amount, tail)
    else:
        lock_version = numbers[0]
        left, right, moved_left, moved_right, *pending = map(int, numbers[1:])
        pending_left, pending_right, pending_moved_left, pending_moved_right = pending
        now = Counters(left, right, pending_left, pending_right)
        was = Counters(moved_left, moved_right, pending_moved_left, pending_moved_right)
        before, after = _balances(unit, now.plus(was, -1)), _balances(unit, now)
    parts = (_id_to_text(subject_id), varint(len(before)), before, varint(len(after)), after)
    if lock_version == _NO_LOCK_VERSION:
        return b"\x2a\x24%b\x1a%b%b\x22%b%b" % parts
    return b"\x0a\x24%b\x10%b\x1a%b%b\x22%b%b" % (parts[0], varint(int(lock_version)), *parts[1:])


def _balances(unit: bytes, counters: Counters) -> bytes:
    normal_balance, exponent, currency = unit.split(b" ")
    return encode_balances(NormalBalance(int(normal_balance)), currency.decode(), int(exponent), counters)


@lru_cache(maxsize=1024)
def _unit(unit: bytes) -> tuple[int, bytes]:
    """The sign of credits in an amount, and what each balance ends with."""
    normal_balance, exponent, currency = unit.split(b" ")
    sign = 1 if NormalBalance(int(normal_balance)) == NormalBalance.CREDIT else -1
    return sign, encode_unit(currency.decode(), int(exponent))


def _ids_to_bytes(ids: str) -> bytes:
    """Of one id, or of several without anything between them."""
    return bytes.fromhex(ids.replace("-", ""))


@lru_cache(maxsize=4096)
def _id_to_text(id_: bytes) -> bytes:
    digits = id_.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()


# A batch's events are of one time.
@lru_cache(maxsize=256)
def _time_stamp(time: datetime) -> bytes:
    return ((time - EPOCH) // MICROSECOND).to_bytes(8, "big")
