"""Watching balances: a stream that outlives its connection.

What happened on the wire            → what the reader of the stream sees
parts of a snapshot, then its end    → one ``Snapshot``, whole, once; a connection lost before it was whole
                                       begins it anew, and nothing of the first attempt is shown
events, one or many in a message     → ``Event`` after ``Event``, each position once, in order
a heartbeat                          → ``Heartbeat``, which moves the position too
connection lost, server drained,     → nothing: the stream resumes after the last position that was handed out
three heartbeats missed
an account's lock_version skips      → ``StreamGap``, for each event of an account moves it by exactly one
the database was restored            → ``EpochChanged``: what was seen may never have been
position pruned, unknown account …   → the service's error

Only what a filter lets through is sent, and commands that move no balance need not be, so a missing *position*
proves nothing; a missing lock_version does.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import grpc.aio
from google.protobuf.duration_pb2 import Duration

from ledger_client.channel import BACKOFF_LIMIT_SECONDS, Connection, backoff_seconds, raise_if_closed
from ledger_client.errors import EpochChanged, LedgerError, StreamGap, Unavailable, is_lost_connection
from ledger_client.statuses import error_from_rpc
from ledger_client.v1.streams_pb2 import (
    AccountBalances,
    Event,
    Heartbeat,
    WatchBalancesRequest,
    WatchBalancesResponse,
)

logger = logging.getLogger("ledger_client")

DEFAULT_HEARTBEAT_SECONDS = 10.0
_MISSED_HEARTBEATS = 3
_MARGIN_SECONDS = 2.0
# The lock_versions of so many accounts are remembered; changes of further ones are not checked for gaps.
_REMEMBERED_ACCOUNTS = 100_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The balances of all watched accounts at one position; the events that follow are those after it."""

    position: int
    epoch: str
    accounts: Mapping[str, AccountBalances]
    """By account id."""


WatchMessage = Snapshot | Event | Heartbeat


class BalanceStream:
    """A stream of balance changes: enter it with ``async with``, then read it with ``async for``.

    Entering returns when the server has the subscription, so nothing committed after that is missed. Leaving
    cancels the call, whatever the reason. Cancelling a read, as ``asyncio.timeout`` does, loses nothing: the next
    read resumes.
    """

    def __init__(self, connection: Connection, request: WatchBalancesRequest, reconnect_timeout: float | None) -> None:
        self._connection = connection
        self._request = request
        self._reconnect_timeout = reconnect_timeout
        self._silence_seconds = request.heartbeat_interval.ToTimedelta().total_seconds() * _MISSED_HEARTBEATS
        self._silence_seconds += _MARGIN_SECONDS
        self._call: grpc.aio.UnaryStreamCall[WatchBalancesRequest, WatchBalancesResponse] | None = None
        self._responses: AsyncIterator[WatchBalancesResponse] | None = None
        self._undelivered: deque[WatchMessage] = deque()
        self._snapshot_parts: dict[str, AccountBalances] = {}
        self._lock_versions: dict[str, int] = {}
        self._position = request.after_position if request.HasField("after_position") else None
        self._epoch = request.epoch
        self._handed_out = False
        self._failures = 0
        self._connected_at = 0.0
        self._closed = True

    @property
    def position(self) -> int | None:
        """Everything up to here was handed out, so ``after_position`` of a later watch; None before the first message.

        Store it, with ``epoch``, once the message is dealt with, not before.
        """
        return self._position

    @property
    def epoch(self) -> str:
        """The epoch of ``position``; empty until the server has said it."""
        return self._epoch

    async def __aenter__(self) -> Self:
        self._closed = False
        try:
            await self._receive(give_up_after=self._connection.timeout)
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchMessage:
        if self._closed:
            raise RuntimeError("a balance stream is read inside `async with`")
        while True:
            while not self._undelivered:
                await self._receive(give_up_after=self._reconnect_timeout)
            message = self._undelivered.popleft()
            if self._is_old(message):
                continue
            try:
                self._check(message)
            except LedgerError:
                self._close()
                raise
            if self._position is None or message.position > self._position:
                self._failures = 0  # not with each message: a server may greet, then fail, again and again
            self._position = message.position
            self._handed_out = True
            return message

    def _close(self) -> None:
        self._closed = True
        self._disconnect()

    async def _receive(self, give_up_after: float | None) -> None:
        """Take one response of the server, over as many connections as it takes.

        Called only when all that was received is handed out, so a new connection goes on right there.
        """
        deadline = None if give_up_after is None else time.monotonic() + give_up_after
        while True:
            try:
                async with asyncio.timeout(self._silence_seconds):
                    response = await anext(self._connected())
            except TimeoutError:
                lost: LedgerError = Unavailable(f"nothing heard for {self._silence_seconds:g} s")
            except StopAsyncIteration:
                lost = Unavailable("the server ended the stream")
            except grpc.aio.AioRpcError as rpc_error:
                lost = error_from_rpc(rpc_error)
                if not is_lost_connection(lost):
                    self._disconnect()
                    raise lost from rpc_error
            except asyncio.CancelledError as cancelled:
                # gRPC cancels the call along with the read, so the next read needs a new one.
                self._disconnect()
                raise_if_closed(cancelled)
                raise
            else:
                if time.monotonic() - self._connected_at > BACKOFF_LIMIT_SECONDS:
                    self._failures = 0
                self._take(response)
                return
            self._disconnect()
            delay = backoff_seconds(self._failures, lost)
            self._failures += 1
            if deadline is not None and time.monotonic() + delay > deadline:
                raise lost
            logger.info("balance stream lost at position %s, resuming in %.2f s: %s", self._position, delay, lost)
            await asyncio.sleep(delay)

    def _connected(self) -> AsyncIterator[WatchBalancesResponse]:
        """The responses of the call that runs, or of a new one that continues after the last position."""
        if self._responses is None:
            if self._position is not None and self._handed_out:
                self._request.snapshot = False
                self._request.after_position = self._position
                self._request.epoch = self._epoch
            self._connected_at = time.monotonic()
            self._call = self._connection.stub.WatchBalances(self._request, metadata=self._connection.call_metadata)
            # Not call.read(): it drops what is still buffered when the call is done.
            self._responses = aiter(self._call)
        return self._responses

    def _disconnect(self) -> None:
        """End the call and forget the snapshot it had begun."""
        if self._call is not None:
            self._call.cancel()
        self._call = None
        self._responses = None
        self._snapshot_parts = {}

    def _take(self, response: WatchBalancesResponse) -> None:
        """Queue what a response holds, a snapshot only when it is whole."""
        match response.WhichOneof("message"):
            case "snapshot":
                part = response.snapshot
                self._snapshot_parts.update((account.account_id, account) for account in part.accounts)
            case "snapshot_complete":
                end = response.snapshot_complete
                self._undelivered.append(Snapshot(end.position, end.epoch, self._snapshot_parts))
                self._snapshot_parts = {}
            case "changes":
                self._undelivered.append(response.changes)
                self._undelivered.extend(response.further_changes)
            case "heartbeat":
                self._undelivered.append(response.heartbeat)
            case None:  # a kind of message that is newer than this client
                pass

    def _is_old(self, message: WatchMessage) -> bool:
        """Whether it was handed out before, or would take the reader back."""
        if self._position is None:
            return False
        return message.position < self._position or (isinstance(message, Event) and message.position == self._position)

    def _check(self, message: WatchMessage) -> None:
        """Refuse what cannot follow what was handed out."""
        if isinstance(message, Event):
            for change in message.changes:
                last = self._lock_versions.get(change.account_id)
                if last is not None and change.lock_version != last + 1:
                    raise StreamGap(
                        f"account {change.account_id} went from lock_version {last} to {change.lock_version} "
                        f"at position {message.position}"
                    )
                if last is not None or len(self._lock_versions) < _REMEMBERED_ACCOUNTS:
                    self._lock_versions[change.account_id] = change.lock_version
            return
        if self._epoch and message.epoch != self._epoch:
            raise EpochChanged(
                f"the ledger's epoch is {message.epoch}, not {self._epoch}: the database was restored",
                reason="EPOCH_CHANGED",
                metadata={"epoch": message.epoch},
            )
        self._epoch = message.epoch
        if isinstance(message, Snapshot) and len(message.accounts) <= _REMEMBERED_ACCOUNTS:
            self._lock_versions = {id_: account.lock_version for id_, account in message.accounts.items()}


class WatchCalls(Connection):
    """What can be watched."""

    def watch_balances(
        self,
        ledger_id: str,
        *,
        account_ids: Iterable[str] = (),
        snapshot: bool = False,
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
            account_ids: only these accounts, at most 10,000; none: the whole ledger.
            snapshot: begin with a Snapshot.
            after_position: begin right after this position; 0: with the oldest event. Not with snapshot.
            epoch: the epoch of after_position, as ``stream.epoch`` said it; empty: not checked.
            heartbeat_interval: seconds of silence, 0.1 … 3,600, after which the server says that it is alive.
                Three times that and two seconds more without a word is a lost connection.
            reconnect_timeout: seconds after which a lost connection is raised; None: try for ever. Entering the
                stream is tried for the client's timeout.

        Raises:
            LedgerNotFound, AccountNotFound: when the stream is entered.
            PositionInFuture, PositionPruned, EpochChanged: there is no way to go on from the position.
            SlowSubscriber: the server will not wait any longer; watch again from ``stream.position``.
            StreamGap: the stream left a change out.
        """
        interval = Duration()
        interval.FromNanoseconds(round(heartbeat_interval * 1e9))
        request = WatchBalancesRequest(
            ledger_id=ledger_id,
            account_ids=account_ids,
            after_position=after_position,
            epoch=epoch,
            snapshot=snapshot,
            heartbeat_interval=interval,
        )
        return BalanceStream(self, request, reconnect_timeout)
