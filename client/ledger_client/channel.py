"""The connection: its options, and the one way every unary call is made; retries.py says what is repeated."""

import asyncio
import json
import os
import time
from binascii import b2a_base64
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

import grpc
import grpc.aio

from ledger_client.batching import Batches, CallMetadata
from ledger_client.commands import TransactionWrite
from ledger_client.names import name_ledger
from ledger_client.retries import RETRY_POLICY
from ledger_client.statuses import ToldIfClosed, error_from_rpc, written
from ledger_client.v1.admin_service_pb2_grpc import LedgerAdminServiceStub
from ledger_client.v1.ledger_service_pb2_grpc import LedgerServiceStub
from ledger_client.v1.transactions_pb2 import Transaction


class _Query(Protocol):
    page_token: str


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_AnyQuery = TypeVar("_AnyQuery", bound=_Query)
_AnyPage = TypeVar("_AnyPage", bound=_Page)
_Write = TypeVar("_Write", bound=TransactionWrite)

DEFAULT_TIMEOUT_SECONDS = 10.0

_SERVICE = "ledger.v1.LedgerService"
_ADMIN_SERVICE = "ledger.v1.LedgerAdminService"
RESUMED = ("WatchBalances", "WatchEvents", "ImportTransactions")
SERVICE_CONFIG = {
    "methodConfig": [
        {"name": [{"service": _SERVICE}, {"service": _ADMIN_SERVICE}], "retryPolicy": RETRY_POLICY},
        # Streams resume where they were (watch.py, importing.py); a plain repeat would not.
        {"name": [{"service": _SERVICE, "method": method} for method in RESUMED]},
    ],
    # Each failed attempt takes a token, each answer gives half of one, and below half of them nobody retries: a
    # server that stays down is not hammered, while a hundred calls cut at once are repeated as often as they may.
    "retryThrottling": {"maxTokens": 1000, "tokenRatio": 0.5},
}

CHANNEL_OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.service_config_disable_resolution", 1),
    # Only a request that still fits here can be repeated, and the default of 256 KiB is less than a batch.
    ("grpc.per_rpc_retry_buffer_size", 8 * 2**20),
    # Clients of one process do not share a connection, whose calls at once are limited.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", 5 * 2**20),  # a batch has 4 MiB; the server says so more clearly
    ("grpc.max_receive_message_length", 64 * 2**20),
    # Without pings a connection that a firewall forgot looks alive for many minutes. The server allows one
    # each 5 s; one that did not would close the connection with too_many_pings.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # The default cap of two minutes would keep a client away from a server that is long back.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


@dataclass(slots=True)
class Outcome:
    """What an answer or a refusal says beside itself: hand an empty one to a call, read it when the call has ended."""

    replayed: bool = False
    """Whether the answer or refusal is that of an earlier call with the same request_id."""
    metadata: dict[str, str] = field(default_factory=dict)
    """The text values of the trailing metadata."""

    def tell(self, trailing: Iterable[tuple[str, str | bytes]]) -> None:
        """Take what the trailing metadata of the call says."""
        self.metadata = {key: value for key, value in trailing if isinstance(value, str)}
        self.replayed = self.metadata.get("replayed") == "true"


# Of base64, in the order of the bytes, and with nothing that a command line takes for an option.
_SORTED = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~",
)


def new_request_id() -> str:
    """20 characters that no other call has, the first eight by the clock: letters, digits, "_" and "~".

    Ids made one after the other sort that way, so the server's index of them grows at one end only.
    """
    raw = (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(9)
    return b2a_base64(raw, newline=False).translate(_SORTED).decode()


class Connection:
    """A channel with its options; the methods of the service are added noun by noun (see client.py)."""

    def __init__(
        self,
        address: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        actor: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        auto_batch: bool = True,
        options: Mapping[str, str | int] | None = None,
    ) -> None:
        """Prepare a channel; it connects with the first call. Make it inside a running event loop.

        Args:
            address: ``host:port``, or any target gRPC resolves (``dns:///…``, ``unix:…``).
            credentials: of ``grpc.ssl_channel_credentials``; None: plain text, for loopback and tests.
            actor: who asks, recorded with every write; None: ``anonymous``.
            timeout: deadline of every unary call in seconds, retries included; each call can have its own.
            auto_batch: whether single transaction writes to a ledger that are called at the same time may travel in
                one call, with their own answers as ever: see batching.py. False: each is a call of its own.
            options: gRPC channel arguments that replace or add to this client's.
        """
        asyncio.get_running_loop()  # grpc would silently bind the channel to a loop that nobody runs
        arguments = dict(CHANNEL_OPTIONS) | dict(options or {})
        self.channel = (
            grpc.aio.insecure_channel(address, options=list(arguments.items()))
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, options=list(arguments.items()))
        )
        self.stub = LedgerServiceStub(self.channel)
        """The generated stub on this client's channel, for what this client has no method for."""
        self.admin_stub = LedgerAdminServiceStub(self.channel)
        """The same of the service for operators and auditors."""
        self.timeout = timeout
        self.call_metadata = _call_metadata(actor)
        repeats = bool(arguments.get("grpc.enable_retries", True))
        self._batches = Batches(self.stub.BatchWriteTransactions, repeats=repeats) if auto_batch else None

    def with_options(self, *, actor: str | None = None, timeout: float | None = None) -> Self:
        """This client with another actor or timeout, on the same channel: closing either closes both."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        if actor is not None:
            other.call_metadata = _call_metadata(actor)
        if timeout is not None:
            other.timeout = timeout
        return other

    async def close(self) -> None:
        """Cancel what is running and close the channel."""
        await self.channel.close()
        if self._batches is not None:
            self._batches.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        timeout: float | None,
        outcome: Outcome | None = None,
    ) -> _Response:
        if timeout is None:
            timeout = self.timeout
        try:
            with ToldIfClosed():
                call = method(request, timeout=timeout, metadata=self.call_metadata)
                response = await call
        except grpc.aio.AioRpcError as rpc_error:
            if outcome is not None:
                outcome.tell(rpc_error.trailing_metadata() or ())
            raise error_from_rpc(rpc_error) from rpc_error
        if outcome is not None:
            outcome.tell(await call.trailing_metadata())
        return response

    async def _pages(
        self, method: grpc.aio.UnaryUnaryMultiCallable[_AnyQuery, _AnyPage], query: _AnyQuery
    ) -> AsyncIterator[_AnyPage]:
        """Every page of a query, fetched when asked for. One message asks for all: filters may be generators."""
        while True:
            page = await self._call(method, query, None)
            yield page
            query.page_token = page.next_page_token
            if not query.page_token:
                return

    async def _write(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Write, Transaction],
        ledger_id: str,
        request: _Write,
        timeout: float | None,
        outcome: Outcome | None,
    ) -> Transaction:
        """A call of its own, or a place in a batch with what else is being written to the ledger."""
        name_ledger(request, ledger_id)
        request.request_id = request.request_id or new_request_id()
        if self._batches is None or request.validate_only:
            return await self._call(method, request, timeout, outcome)
        with self._batches.line(ledger_id, self.call_metadata) as line:
            if line.is_idle:
                return await line.alone(self._call(method, request, timeout, outcome))
            result = await line.join(request, self.timeout if timeout is None else timeout)
        if outcome is not None:
            outcome.tell((("replayed", "true"),) if result.replayed else ())
        return written(result)


def _call_metadata(actor: str | None) -> CallMetadata:
    return () if actor is None else (("x-actor", actor),)
