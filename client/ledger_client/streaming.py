"""A stream that outlives its connection: what all streams of the client have in common.

What becomes of connections is in the table of watch.py.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Generic, Protocol, Self, TypeVar

import grpc.aio

from ledger_client.channel import Connection
from ledger_client.errors import Cancelled, EpochChanged, LedgerError, Unavailable, is_lost_connection
from ledger_client.retries import BACKOFF_LIMIT_SECONDS, backoff_seconds
from ledger_client.statuses import ToldIfClosed, error_from_rpc
from ledger_client.v1.streams_pb2 import ConflatedChanges, Event, WatchBalancesRequest, WatchEventsRequest

logger = logging.getLogger("ledger_client")

_MISSED_HEARTBEATS = 3
_MARGIN_SECONDS = 2.0


class Positioned(Protocol):
    """A message of a stream: once it is dealt with, everything up to its position is."""

    @property
    def position(self) -> int: ...


_Request = TypeVar("_Request", WatchBalancesRequest, WatchEventsRequest)
_Message = TypeVar("_Message", bound=Positioned)
_Response = TypeVar("_Response")


class Stream(Generic[_Request, _Message, _Response]):
    """A stream: enter it with ``async with``, then read it with ``async for``.

    Entering returns when the server has the subscription, so nothing committed after that is missed. Leaving
    cancels the call, whatever the reason. Cancelling a read, as ``asyncio.timeout`` does, loses nothing: the next
    read resumes.
    """

    def __init__(self, connection: Connection, request: _Request, reconnect_timeout: float | None) -> None:
        self._connection = connection
        self._request: _Request = request
        self._reconnect_timeout = reconnect_timeout
        self._silence_seconds = request.heartbeat_interval.ToTimedelta().total_seconds() * _MISSED_HEARTBEATS
        self._silence_seconds += _MARGIN_SECONDS
        self._call: grpc.aio.UnaryStreamCall[Any, _Response] | None = None
        self._responses: AsyncIterator[_Response] | None = None
        self._undelivered: deque[_Message] = deque()
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

    async def __anext__(self) -> _Message:
        if self._closed:
            raise RuntimeError("a stream is read inside `async with`")
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
                with ToldIfClosed():
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
            except (asyncio.CancelledError, Cancelled):
                # gRPC cancels the call along with the read, so the next read needs a new one.
                self._disconnect()
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
            logger.info("stream lost at position %s, resuming in %.2f s: %s", self._position, delay, lost)
            await asyncio.sleep(delay)

    def _connected(self) -> AsyncIterator[_Response]:
        """The responses of the call that runs, or of a new one that continues after the last position."""
        if self._responses is None:
            if self._position is not None and self._handed_out:
                if isinstance(self._request, WatchBalancesRequest):
                    self._request.snapshot = False
                self._request.after_position = self._position
                self._request.epoch = self._epoch
            self._connected_at = time.monotonic()
            self._call = self._open()
            # Not call.read(): it drops what is still buffered when the call is done.
            self._responses = aiter(self._call)
        return self._responses

    def _disconnect(self) -> None:
        """End the call."""
        if self._call is not None:
            self._call.cancel()
        self._call = None
        self._responses = None

    def _is_old(self, message: _Message) -> bool:
        """Whether it was handed out before, or would take the reader back."""
        if self._position is None:
            return False
        is_event = isinstance(message, Event | ConflatedChanges)
        return message.position < self._position or (is_event and message.position == self._position)

    def _check_epoch(self, epoch: str) -> None:
        if self._epoch and epoch != self._epoch:
            raise EpochChanged(
                f"the ledger's epoch is {epoch}, not {self._epoch}: the database was restored",
                reason="EPOCH_CHANGED",
                metadata={"epoch": epoch},
            )
        self._epoch = epoch

    def _open(self) -> "grpc.aio.UnaryStreamCall[Any, _Response]":
        """A new call."""
        raise NotImplementedError

    def _take(self, response: _Response) -> None:
        """Queue what a response holds."""
        raise NotImplementedError

    def _check(self, message: _Message) -> None:
        """Refuse what cannot follow what was handed out."""
        raise NotImplementedError
