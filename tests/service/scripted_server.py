"""A real gRPC server that plays a script, for what the client does when servers misbehave.

It knows nothing of ledgers; how the service itself behaves is tested against the service.
"""

from __future__ import annotations  # grpc's classes are generic for the type checker only

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc import status_pb2

from ledger_client.v1.ledgers_pb2 import GetLedgerRequest, Ledger
from ledger_client.v1.streams_pb2 import (
    AccountBalances,
    BalanceChange,
    BalancesSnapshot,
    Event,
    Heartbeat,
    SnapshotComplete,
    WatchBalancesRequest,
    WatchBalancesResponse,
    WatchEventsRequest,
)
from ledger_client.v1.transactions_pb2 import (
    BatchWriteTransactionsRequest,
    BatchWriteTransactionsResponse,
    CreateTransactionRequest,
    Transaction,
    TransactionResult,
)

SERVICE = "ledger.v1.LedgerService"
EPOCH = "e-1"

AnyMessage = TypeVar("AnyMessage", bound=Message)
Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"
Play: TypeAlias = Callable[[WatchBalancesRequest, "Context"], AsyncIterator[WatchBalancesResponse]]


@dataclass
class Script:
    """What to answer, and what was asked."""

    unary: list[grpc.StatusCode] = field(default_factory=list)
    """The status of each unary call in turn; OK when there is none left."""
    held: asyncio.Event | None = None
    """Unary calls wait for it."""
    refusals: list[dict[str, status_pb2.Status]] = field(default_factory=list)
    """What each BatchWriteTransactions in turn answers to these request_ids; the others, and all later, are written."""
    results_max: int | None = None
    """BatchWriteTransactions answers no more of them."""
    streams: list[Play] = field(default_factory=list)
    """What each WatchBalances or WatchEvents does in turn."""
    received: list[Message] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server sees a stream's end that was the client's doing."""

    async def answer(self, request: Message, context: Context) -> None:
        self.received.append(request)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        code = self.unary.pop(0) if self.unary else grpc.StatusCode.OK
        if self.held is not None:
            await self.held.wait()
        if code is not grpc.StatusCode.OK:
            await context.abort(code, "as the script says")
        context.set_trailing_metadata((("replayed", "true"),))

    def batch(self, request: BatchWriteTransactionsRequest) -> BatchWriteTransactionsResponse:
        refusals = self.refusals.pop(0) if self.refusals else {}
        ids = [command.create.request_id for command in request.commands]
        results = [
            TransactionResult(error=refusals[id_])
            if id_ in refusals
            else TransactionResult(transaction=Transaction(id=id_))
            for id_ in ids
        ]
        return BatchWriteTransactionsResponse(results=results[: self.results_max])

    async def watch(self, request: Any, context: Context) -> AsyncIterator[WatchBalancesResponse]:
        self.received.append(request)
        play = self.streams.pop(0)
        try:
            async for response in play(request, context):
                yield response
        finally:
            # Cancelled within the play, or closed between two messages.
            self.ended.set()


def unary(
    script: Script, request: type[AnyMessage], answer: Callable[[AnyMessage], Message]
) -> grpc.RpcMethodHandler[AnyMessage, Message]:
    async def handle(message: AnyMessage, context: Context) -> Message:
        await script.answer(message, context)
        return answer(message)

    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=request.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )


async def start(script: Script, address: str = "127.0.0.1:0") -> tuple[grpc.aio.Server, str]:
    """A server that plays the script, and where."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "GetLedger": unary(script, GetLedgerRequest, lambda request: Ledger(id=request.ledger_id)),
        "CreateTransaction": unary(
            script, CreateTransactionRequest, lambda request: Transaction(id=request.request_id)
        ),
        "BatchWriteTransactions": unary(script, BatchWriteTransactionsRequest, script.batch),
        "WatchBalances": grpc.unary_stream_rpc_method_handler(
            script.watch,
            request_deserializer=WatchBalancesRequest.FromString,
            response_serializer=WatchBalancesResponse.SerializeToString,
        ),
        # The responses of both streams are the same bytes.
        "WatchEvents": grpc.unary_stream_rpc_method_handler(
            script.watch,
            request_deserializer=WatchEventsRequest.FromString,
            response_serializer=WatchBalancesResponse.SerializeToString,
        ),
    }
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 8 * 2**20), ("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port(address)
    await server.start()
    return server, f"127.0.0.1:{port}"


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[str]:
    """The address of a server that plays the script."""
    server, address = await start(script)
    try:
        yield address
    finally:
        await server.stop(0)


# --- what streams are made of ---


def heartbeat(position: int, epoch: str = EPOCH) -> WatchBalancesResponse:
    return WatchBalancesResponse(heartbeat=Heartbeat(position=position, epoch=epoch, lag=0))


def event(position: int, **lock_versions: int) -> Event:
    changes = [BalanceChange(account_id=id_, lock_version=version) for id_, version in lock_versions.items()]
    return Event(position=position, changes=changes)


def changes(*events: Event) -> WatchBalancesResponse:
    return WatchBalancesResponse(changes=events[0], further_changes=events[1:])


def snapshot_part(position: int, **lock_versions: int) -> WatchBalancesResponse:
    accounts = [AccountBalances(account_id=id_, lock_version=version) for id_, version in lock_versions.items()]
    return WatchBalancesResponse(snapshot=BalancesSnapshot(position=position, epoch=EPOCH, accounts=accounts))


def snapshot_complete(position: int) -> WatchBalancesResponse:
    return WatchBalancesResponse(snapshot_complete=SnapshotComplete(position=position, epoch=EPOCH))


def send(*responses: WatchBalancesResponse, then: grpc.StatusCode | None = None, trailer: bytes | None = None) -> Play:
    """Send these, then end with a status, or stay silent."""

    async def play(_: WatchBalancesRequest, context: Context) -> AsyncIterator[WatchBalancesResponse]:
        for response in responses:
            yield response
        if then is None:
            await asyncio.Event().wait()
        elif then is not grpc.StatusCode.OK:
            if trailer is not None:
                context.set_trailing_metadata((("grpc-status-details-bin", trailer),))
            await context.abort(then, "as the script says")

    return play
