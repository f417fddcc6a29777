"""What goes over the wire: events selected by account, and put into responses without being serialized again.

Protobuf allows to concatenate: a message is the bytes of its fields one after another. So an event with some of its
changes is its other fields' bytes and those changes' bytes, and a response is a tag and a length before each event.
WatchBalancesResponse and WatchEventsResponse number what they share alike, so one set of bytes serves as either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
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
from ledger_server.domain.model import AccountVersion, CategoryVersion, EventKind
from ledger_server.events.encode import balances_to, delimited, timestamp_to, varint

# What one response carries at most when many events are due; a single event may be larger.
RESPONSE_EVENTS_MAX = 500
RESPONSE_BYTES_MAX = 64 * 1024

# By these accounts come under categories.
JOINING_KINDS: frozenset[int] = frozenset({EventKind.ACCOUNT_CREATED, EventKind.CATEGORY_MEMBER_ADDED})

_LENGTH_DELIMITED = 2
_CHANGES_OF_EVENT = Event.CHANGES_FIELD_NUMBER << 3 | _LENGTH_DELIMITED
_CHANGES = bytes([WatchBalancesResponse.CHANGES_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])
_FURTHER_CHANGES = bytes([WatchBalancesResponse.FURTHER_CHANGES_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])


class Joining(NamedTuple):
    """Who comes under categories by the event of this position: an account with its balances just before, which joining
    does not move, or all that is under a category.
    """

    position: int
    account: AccountVersion | None
    category_id: str = ""


class Delivery(NamedTuple):
    """An event as one subscriber gets it. Who joins by it is announced before it; an empty event is not sent."""

    position: int
    event: bytes
    joining: Joining | None = None


class LoggedEvent:
    """An event of the log, parsed once for all subscribers.

    What its bytes do not say is looked up where somebody wants it (lookups.py), and None until then.
    """

    __slots__ = (
        "_changes",
        "_message",
        "_moved_accounts",
        "_selections",
        "joining",
        "kind",
        "metadata",
        "named_ids",
        "payload",
        "position",
        "subject_ids",
        "transaction_id",
        "under",
    )

    def __init__(self, payload: bytes) -> None:
        message = self._message = Event.FromString(payload)
        self._changes: list[bytes] = []
        self._selections: dict[tuple[int, ...], bytes] = {}
        self.payload = payload
        self.position = message.position
        self.kind = int(message.kind)
        self.transaction_id = message.transaction_id
        # By what it may be asked for whatever it changes; the accounts, then the categories, whose balances it moved.
        self.named_ids = _named_ids(message)
        self.subject_ids: list[str] = []
        self._moved_accounts = 0
        for change in message.changes:
            if account_id := change.account_id:
                self._moved_accounts += 1
            self.subject_ids.append(account_id or change.category_id)
        # Looked up: the categories that its accounts were under, the metadata of the transactions that it wrote (a
        # partial post writes two), and who joins.
        self.under: Mapping[str, Sequence[str]] | None = None
        self.metadata: Sequence[Mapping[str, str]] | None = None
        self.joining: Joining | None = None

    @property
    def account_ids(self) -> list[str]:
        """The accounts that it moved."""
        return self.subject_ids[: self._moved_accounts]

    @property
    def joined(self) -> tuple[str, str]:
        """The account or the category that comes under categories by it; for events of that."""
        return self._message.member_account_id or self._message.account_id, self._message.member_category_id

    @property
    def joined_category_ids(self) -> Sequence[str]:
        """The categories that accounts come under by it, of which some may have been under them before."""
        return self._message.joined_or_left_category_ids if self.kind in JOINING_KINDS else ()

    def find(self, subject_ids: AbstractSet[str]) -> list[int] | None:
        """The indexes of the changes of these accounts, of these categories and of what was under them.

        None if there are none, and the event is about none of them either.
        """
        found = [n for n, keys in enumerate(self.change_keys()) if not subject_ids.isdisjoint(keys)]
        return found if found or not subject_ids.isdisjoint(self.named_ids) else None

    def change_keys(self) -> Iterator[Sequence[str]]:
        """By what each change may be asked for: its account and the categories that was under, or its category."""
        if not self.under:
            return zip(self.subject_ids)
        under = self.under
        return ((subject_id, *under.get(subject_id, ())) for subject_id in self.subject_ids)

    def select(self, changes: Sequence[int]) -> bytes:
        """The event with only the changes of these indexes, in ascending order; built once for each choice."""
        if len(changes) == len(self.subject_ids):
            return self.payload
        choice = tuple(changes)
        event = self._selections.get(choice)
        if event is None:
            event = self._selections[choice] = self._build(choice)
        return event

    def _build(self, choice: tuple[int, ...]) -> bytes:
        if not self._changes:
            self._changes = [change.SerializeToString() for change in self._message.changes]
            # From here on the message is what all selections have in common.
            self._message.ClearField("changes")
        tag = bytes([_CHANGES_OF_EVENT])
        chosen = (self._changes[n] for n in choice)
        return self._message.SerializeToString() + b"".join(tag + delimited(change) for change in chosen)


def touched_accounts(payload: bytes) -> set[str]:
    """The accounts whose balances an event moved, or that it put into a category or took out of one."""
    event = Event.FromString(payload)
    touched = {change.account_id for change in event.changes}
    touched.add(event.member_account_id)
    return touched - {""}


def _named_ids(event: Event) -> list[str]:
    about = (event.account_id, event.category_id, event.member_account_id, event.member_category_id)
    return [*filter(None, about), *event.joined_or_left_category_ids, *event.under_category_ids]


def responses(deliveries: Iterable[Delivery]) -> Iterator[tuple[int, bytes]]:
    """Events in as few responses as the limits allow, each with the position of its last event."""
    parts: list[bytes] = []
    size = count = position = 0
    for delivery in deliveries:
        if parts and (count == RESPONSE_EVENTS_MAX or size + len(delivery.event) > RESPONSE_BYTES_MAX):
            yield position, b"".join(parts)
            parts, size, count = [], 0, 0
        parts += (_FURTHER_CHANGES if parts else _CHANGES, varint(len(delivery.event)), delivery.event)
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


def heartbeat(position: int, epoch: str, time: datetime, lag: int | None) -> bytes:
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
