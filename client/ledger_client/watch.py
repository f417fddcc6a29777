"""Watching balances and events: streams that outlive their connection.

What happened on the wire            → what the reader of the stream sees
several events folded into one       → ``ConflatedChanges``, once, in order; only if asked for
parts of a snapshot, then its end    → one ``Snapshot``, whole, once; a connection lost before it was whole
                                       begins it anew, and nothing of the first attempt is shown
accounts that join are announced     → one ``Snapshot`` of them, once, though a resumed stream is sent it again
events, one or many in a message     → ``Event`` after ``Event``, each position once, in order
a heartbeat                          → ``Heartbeat``, which moves the position too
connection lost, server drained,     → nothing: the stream resumes after the last position that was handed out
three heartbeats missed, ended by
the service as nothing was read
an account's lock_version skips      → ``StreamGap``, for each event of an account moves it by exactly one
a position skips, of all events      → ``StreamGap``
the database was restored            → ``EpochChanged``: what was seen may never have been
position pruned, unknown account …   → the service's error

Only what a filter lets through is sent, and of balances only commands that move one, so there a missing *position*
proves nothing; a missing lock_version does, unless the filter is one of kinds or metadata.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from google.protobuf.duration_pb2 import Duration

from ledger_client.channel import Connection
from ledger_client.errors import StreamGap
from ledger_client.messages import message
from ledger_client.streaming import Stream
from ledger_client.v1.streams_pb2 import (
    AccountBalances,
    CategoryBalances,
    ConflatedChanges,
    Event,
    EventKind,
    Heartbeat,
    WatchBalancesRequest,
    WatchBalancesResponse,
    WatchEventsRequest,
    WatchEventsResponse,
)

DEFAULT_HEARTBEAT_SECONDS = 10.0
# The lock_versions of so many accounts are remembered; changes of further ones are not checked for gaps.
_REMEMBERED_ACCOUNTS = 100_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The balances of all that is watched at one position; the events that follow are those after it."""

    position: int
    epoch: str
    accounts: Mapping[str, AccountBalances]
    """By account id."""
    categories: Mapping[str, CategoryBalances] = field(default_factory=dict)
    """Of the watched categories, or of all if it is the whole ledger, by category id; empty when accounts are announced
    that came under one."""


WatchMessage = Snapshot | Event | ConflatedChanges | Heartbeat
EventMessage = Event | Heartbeat


class EventStream(Stream[WatchEventsRequest, EventMessage, WatchEventsResponse]):
    """A stream of events, of whatever kind."""

    def __init__(self, connection: Connection, request: WatchEventsRequest, reconnect_timeout: float | None) -> None:
        super().__init__(connection, request, reconnect_timeout)
        filters = (request.account_ids, request.category_ids, request.kinds, request.transaction_metadata)
        self._is_whole = not any(filters)

    def _open(self) -> "grpc.aio.UnaryStreamCall[Any, WatchEventsResponse]":
        return self._connection.stub.WatchEvents(self._request, metadata=self._connection.call_metadata)

    def _take(self, response: WatchEventsResponse) -> None:
        match response.WhichOneof("message"):
            case "event":
                self._undelivered.append(response.event)
                self._undelivered.extend(response.further_events)
            case "heartbeat":
                self._undelivered.append(response.heartbeat)
            case None:  # a kind of message that is newer than this client
                pass

    def _check(self, message: EventMessage) -> None:
        if isinstance(message, Heartbeat):
            self._check_epoch(message.epoch)
        told = message.position - 1 if isinstance(message, Event) else message.position
        if self._is_whole and self._position is not None and told != self._position:
            raise StreamGap(f"the stream went from position {self._position} to {message.position}")


class BalanceStream(Stream[WatchBalancesRequest, WatchMessage, WatchBalancesResponse]):
    """A stream of balance changes, perhaps with a snapshot before them."""

    def __init__(self, connection: Connection, request: WatchBalancesRequest, reconnect_timeout: float | None) -> None:
        super().__init__(connection, request, reconnect_timeout)
        self._is_dense = not (request.kinds or request.transaction_metadata)
        self._snapshot_parts: dict[str, AccountBalances] = {}
        self._category_parts: dict[str, CategoryBalances] = {}
        self._lock_versions: dict[str, int] = {}
        self._announced_at: int | None = None

    def _open(self) -> "grpc.aio.UnaryStreamCall[Any, WatchBalancesResponse]":
        self._snapshot_parts, self._category_parts = {}, {}
        return self._connection.stub.WatchBalances(self._request, metadata=self._connection.call_metadata)

    def _take(self, response: WatchBalancesResponse) -> None:
        """Queue what a response holds, a snapshot only when it is whole."""
        match response.WhichOneof("message"):
            case "snapshot":
                part = response.snapshot
                self._snapshot_parts.update((account.account_id, account) for account in part.accounts)
                self._category_parts.update((category.category_id, category) for category in part.categories)
            case "snapshot_complete":
                end = response.snapshot_complete
                self._undelivered.append(Snapshot(end.position, end.epoch, self._snapshot_parts, self._category_parts))
                self._snapshot_parts, self._category_parts = {}, {}
            case "changes":
                self._undelivered.append(response.changes)
                self._undelivered.extend(response.further_changes)
            case "conflated":
                self._undelivered.append(response.conflated)
            case "heartbeat":
                self._undelivered.append(response.heartbeat)
            case None:  # a kind of message that is newer than this client
                pass

    def _is_old(self, message: WatchMessage) -> bool:
        # A position has one announcement at most: that of the accounts that join by the command after it.
        if isinstance(message, Snapshot) and message.position == self._announced_at:
            return True
        return super()._is_old(message)

    def _check(self, message: WatchMessage) -> None:
        if isinstance(message, Event):
            for change in message.changes:
                if change.account_id:
                    self._check_version(change.account_id, change.lock_version, 1, message.position)
            return
        if isinstance(message, ConflatedChanges):
            for fold in message.changes:
                if fold.account_id:
                    self._check_version(fold.account_id, fold.lock_version, fold.folded, message.position)
            return
        self._check_epoch(message.epoch)
        if isinstance(message, Snapshot):
            if self._position is not None:  # not the one that was asked for
                self._announced_at = message.position
            for id_, account in message.accounts.items():
                self._remember(id_, account.lock_version)

    def _check_version(self, account_id: str, lock_version: int, moves: int, position: int) -> None:
        last = self._lock_versions.get(account_id)
        if last is not None and (lock_version < last + moves or (self._is_dense and lock_version != last + moves)):
            raise StreamGap(
                f"account {account_id} went from lock_version {last} to {lock_version} at position {position}"
            )
        self._remember(account_id, lock_version)

    def _remember(self, account_id: str, lock_version: int) -> None:
        if account_id in self._lock_versions or len(self._lock_versions) < _REMEMBERED_ACCOUNTS:
            self._lock_versions[account_id] = lock_version


class WatchCalls(Connection):
    """What can be watched."""

    def watch_balances(
        self,
        ledger_id: str,
        *,
        account_ids: Iterable[str] = (),
        category_ids: Iterable[str] = (),
        kinds: Iterable[EventKind.ValueType] = (),
        transaction_metadata: Mapping[str, str] | None = None,
        snapshot: bool = False,
        conflate: bool = False,
        after_position: int | None = None,
        epoch: str = "",
        heartbeat_interval: float = DEFAULT_HEARTBEAT_SECONDS,
        reconnect_timeout: float | None = None,
    ) -> BalanceStream:
        """Watch balances change, from now on, from a snapshot on, or from where an earlier watch left off::

            async with ledger.watch_balances(ledger_id, snapshot=True) as stream:
                async for message in stream:
                    match message:
                        case Snapshot(): ...
                        case Event(): ...
                        case Heartbeat(): ...

        Args:
            ledger_id: which ledger.
            account_ids: only these accounts, at most 10,000; none of these and no category_ids: the whole ledger.
            category_ids: these categories, at most 100, and every account then under them; those who come under one
                are announced by a Snapshot of them. With after_position also deleted ones.
            kinds: only changes by commands of these kinds, and their events that change nothing too; none: all changes.
            transaction_metadata: only changes by transactions whose metadata held all these pairs; a partial post is
                one of the pending transaction too.
            snapshot: begin with a Snapshot.
            conflate: when this reader falls behind, fold what waits into ConflatedChanges, account by account.
            after_position: begin right after this position; 0: with the oldest event. Not with snapshot.
            epoch: the epoch of after_position, as ``stream.epoch`` said it; empty: not checked.
            heartbeat_interval: seconds of silence, 0.1 … 3,600, after which the server says that it is alive.
                Three times that and two seconds more without a word is a lost connection.
            reconnect_timeout: seconds after which a lost connection is raised; None: try for ever. Entering the
                stream is tried for the client's timeout.

        Raises:
            LedgerNotFound, AccountNotFound, CategoryNotFound: when the stream is entered.
            PositionInFuture, PositionPruned, EpochChanged: there is no way to go on from the position.
            StreamGap: the stream left a change out.
        """
        request = message(
            WatchBalancesRequest,
            ledger_id=ledger_id,
            account_ids=account_ids,
            category_ids=category_ids,
            kinds=kinds,
            transaction_metadata=transaction_metadata,
            after_position=after_position,
            epoch=epoch,
            snapshot=snapshot,
            conflate=conflate,
            heartbeat_interval=_duration(heartbeat_interval),
        )
        return BalanceStream(self, request, reconnect_timeout)

    def watch_events(
        self,
        ledger_id: str,
        *,
        account_ids: Iterable[str] = (),
        category_ids: Iterable[str] = (),
        kinds: Iterable[EventKind.ValueType] = (),
        transaction_metadata: Mapping[str, str] | None = None,
        after_position: int | None = None,
        epoch: str = "",
        heartbeat_interval: float = DEFAULT_HEARTBEAT_SECONDS,
        reconnect_timeout: float | None = None,
    ) -> EventStream:
        """Watch all that is done in a ledger, also what moves no balance, as ``watch_balances`` watches balances::

            async with ledger.watch_events(ledger_id, kinds=[EventKind.EVENT_KIND_ACCOUNT_CREATED]) as stream:
                async for message in stream:
                    if isinstance(message, Event):
                        print(message.account_id)

        Args:
            ledger_id: which ledger; 00000000-0000-0000-0000-000000000000: ledgers as they are created.
            account_ids: only events about these accounts, whole; none of these and no category_ids: all.
            category_ids: only events about these categories, their members, and every account then under them.
            kinds, transaction_metadata: only events of these kinds, of transactions with this metadata; none: all.
            after_position, epoch, heartbeat_interval, reconnect_timeout: as in ``watch_balances``.

        Raises: what ``watch_balances`` raises.
        """
        request = message(
            WatchEventsRequest,
            ledger_id=ledger_id,
            account_ids=account_ids,
            category_ids=category_ids,
            kinds=kinds,
            transaction_metadata=transaction_metadata,
            after_position=after_position,
            epoch=epoch,
            heartbeat_interval=_duration(heartbeat_interval),
        )
        return EventStream(self, request, reconnect_timeout)


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
