"""What goes over the wire: events selected by account, and put into responses without being serialized again.

Protobuf allows to concatenate: a message is the bytes of its fields one after another. So an event with some of its
changes is its other fields' bytes and those changes' bytes, and a response is a tag and a length before each event.
WatchBalancesResponse and WatchEventsResponse number what they share alike, so one set of bytes serves as either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from ledger_client.v1.streams_pb2 import (
    AccountBalances,
    BalancesSnapshot,
    CategoryBalances,
    ConflatedChange,
    ConflatedChanges,
    Event,
    Heartbeat,
    SnapshotComplete,
    WatchBalancesResponse,
)
from ledger_server.domain.model import AccountVersion, CategoryVersion
from ledger_server.events.encode import balances_to, timestamp_to

# What one response carries at most when many events are due; a single event may be larger.
RESPONSE_EVENTS_MAX = 500
RESPONSE_BYTES_MAX = 64 * 1024

_LENGTH_DELIMITED = 2
_CHANGES_OF_EVENT = Event.CHANGES_FIELD_NUMBER << 3 | _LENGTH_DELIMITED
_CHANGES = bytes([WatchBalancesResponse.CHANGES_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])
_FURTHER_CHANGES = bytes([WatchBalancesResponse.FURTHER_CHANGES_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])


class Delivery(NamedTuple):
    """An event as one subscriber gets it."""

    position: int
    event: bytes
    transaction_id: str = ""


class LoggedEvent:
    """An event of the log, parsed once for all subscribers."""

    __slots__ = (
        "_changes",
        "_message",
        "_selections",
        "kind",
        "named_ids",
        "payload",
        "position",
        "subject_ids",
        "transaction_id",
    )

    def __init__(self, payload: bytes) -> None:
        self._message = Event.FromString(payload)
        self._changes: list[bytes] = []
        self._selections: dict[tuple[int, ...], bytes] = {}
        self.payload = payload
        self.position = self._message.position
        self.kind = int(self._message.kind)
        self.transaction_id = self._message.transaction_id
        # What it is about, and the accounts and categories whose balances it moved.
        self.named_ids = _named_ids(self._message)
        self.subject_ids = [change.account_id or change.category_id for change in self._message.changes]

    def whole(self) -> Delivery:
        """The event as it was logged."""
        return Delivery(self.position, self.payload, self.transaction_id)

    def select(self, changes: Sequence[int]) -> Delivery:
        """The event with only the changes of these indexes, in ascending order; built once for each choice."""
        if len(changes) == len(self.subject_ids):
            return self.whole()
        choice = tuple(changes)
        event = self._selections.get(choice)
        if event is None:
            event = self._selections[choice] = self._build(choice)
        return Delivery(self.position, event, self.transaction_id)

    def _build(self, choice: tuple[int, ...]) -> bytes:
        if not self._changes:
            self._changes = [change.SerializeToString() for change in self._message.changes]
            # From here on the message is what all selections have in common.
            self._message.ClearField("changes")
        tag = bytes([_CHANGES_OF_EVENT])
        chosen = (self._changes[n] for n in choice)
        return self._message.SerializeToString() + b"".join(tag + _varint(len(change)) + change for change in chosen)


def _named_ids(event: Event) -> list[str]:
    ids = [event.account_id] if event.account_id else []
    if event.category_id or event.joined_or_left_category_ids:
        about = (event.category_id, event.member_account_id, event.member_category_id)
        ids += [each for each in about if each] + list(event.joined_or_left_category_ids)
    return ids


def responses(deliveries: Iterable[Delivery]) -> Iterator[tuple[int, bytes]]:
    """Events in as few responses as the limits allow, each with the position of its last event."""
    parts: list[bytes] = []
    size = count = position = 0
    for delivery in deliveries:
        if parts and (count == RESPONSE_EVENTS_MAX or size + len(delivery.event) > RESPONSE_BYTES_MAX):
            yield position, b"".join(parts)
            parts, size, count = [], 0, 0
        parts += (_FURTHER_CHANGES if parts else _CHANGES, _varint(len(delivery.event)), delivery.event)
        size += len(delivery.event)
        count += 1
        position = delivery.position
    if parts:
        yield position, b"".join(parts)


def conflated(deliveries: Sequence[Delivery]) -> Iterator[tuple[int, bytes]]:
    """One event as it is, several folded account by account into one response."""
    if len(deliveries) < 2:
        yield from responses(deliveries)
        return
    folds: dict[str, ConflatedChange] = {}
    for delivery in deliveries:
        for change in Event.FromString(delivery.event).changes:
            subject_id = change.account_id or change.category_id
            fold = folds.get(subject_id)
            if fold is None:
                fold = folds[subject_id] = ConflatedChange(before=change.before, first_position=delivery.position)
                if change.account_id:
                    fold.account_id = subject_id
                else:
                    fold.category_id = subject_id
            if change.account_id:
                fold.lock_version = change.lock_version
            fold.after.CopyFrom(change.after)
            fold.folded += 1
            fold.last_position = delivery.position
    position = deliveries[-1].position
    message = ConflatedChanges(
        position=position,
        first_position=deliveries[0].position,
        folded=len(deliveries),
        changes=sorted(folds.values(), key=lambda fold: (fold.category_id, fold.account_id)),
    )
    yield position, WatchBalancesResponse(conflated=message).SerializeToString()


def heartbeat(position: int, epoch: str, time: datetime, lag: int) -> bytes:
    beat = Heartbeat(position=position, epoch=epoch, time=timestamp_to(time), lag=lag)
    return WatchBalancesResponse(heartbeat=beat).SerializeToString()


def snapshot_part(
    position: int, epoch: str, accounts: Iterable[AccountVersion], categories: Iterable[CategoryVersion] = ()
) -> bytes:
    part = BalancesSnapshot(
        position=position,
        epoch=epoch,
        accounts=[
            AccountBalances(
                account_id=version.account.id, lock_version=version.lock_version, balances=balances_to(version)
            )
            for version in accounts
        ],
        categories=[
            CategoryBalances(category_id=version.category.id, balances=balances_to(version)) for version in categories
        ],
    )
    return WatchBalancesResponse(snapshot=part).SerializeToString()


def snapshot_complete(position: int, epoch: str) -> bytes:
    end = SnapshotComplete(position=position, epoch=epoch)
    return WatchBalancesResponse(snapshot_complete=end).SerializeToString()


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
