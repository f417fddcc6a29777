"""The edge of every RPC: bytes in, bytes out; refusals become statuses; one log line a call.

Each method is wrapped once, when the server is made, instead of going through interceptors on every call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from ledger_server.api.door import Door
from ledger_server.api.status import status_of
from ledger_server.domain.commands import LEDGER_ACTOR
from ledger_server.domain.errors import (
    Internal,
    InvalidField,
    LedgerError,
    MessageMalformed,
    PositionNotReached,
    Violation,
)

log = structlog.get_logger()

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
ACTOR_CHARACTERS_MAX = 180
ABORT_SECONDS = 2.0
_STATUS_DETAILS = "grpc-status-details-bin"
_REPLAYED = (("replayed", "true"),)
# To gRPC's retries in the caller: it has waited for as long as it is worth.
_DO_NOT_REPEAT = (("grpc-retry-pushback-ms", "-1"),)


def method_handlers(service: ServiceDescriptor, servicer: object, door: Door) -> grpc.GenericRpcHandler:
    """Handlers for every method of the service; the servicer has a method of the same name for each."""
    handlers: dict[str, Any] = {}
    for method in service.methods:
        implementation = getattr(servicer, method.name)
        if method.client_streaming:
            handlers[method.name] = grpc.stream_stream_rpc_method_handler(_stream(method, implementation, door))
        elif method.server_streaming:
            handlers[method.name] = grpc.unary_stream_rpc_method_handler(_stream(method, implementation, door))
        else:
            handlers[method.name] = grpc.unary_unary_rpc_method_handler(_unary(method, implementation, door))
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def actor_of(context: Context) -> str:
    """Who asks: the `x-actor` metadata value, unverified, else `anonymous`."""
    for key, value in context.invocation_metadata() or ():
        if key == "x-actor":
            if len(value) > ACTOR_CHARACTERS_MAX:
                raise InvalidField.of([Violation("x-actor", f"must be at most {ACTOR_CHARACTERS_MAX} characters")])
            if value == LEDGER_ACTOR:
                raise InvalidField.of([Violation("x-actor", f"must not be {LEDGER_ACTOR!r}, the ledger's own name")])
            return str(value) or "anonymous"
    return "anonymous"


def mark_replayed(context: Context) -> None:
    """Says that the answer is that of an earlier call."""
    context.set_trailing_metadata(_REPLAYED)


def _unary(
    method: MethodDescriptor, implementation: Callable[[Any, Context], Awaitable[Message | bytes]], door: Door
) -> Any:
    parse = _parser(method)
    rpc = method.name

    async def call(data: bytes, context: Context) -> bytes:
        started = time.perf_counter()
        ledger_id = ""
        try:
            door.enter(len(data))
            request = parse(data)
            ledger_id = getattr(request, "ledger_id", "")[:36]
            response = await implementation(request, context)
            answer = response if isinstance(response, bytes) else response.SerializeToString()
        except BaseException as error:
            await _fail(rpc, ledger_id, started, error, context)
        finally:
            door.leave(len(data))
        # Behind the answer, which waits for nothing.
        asyncio.get_running_loop().call_soon(_log_success, rpc, ledger_id, _milliseconds_since(started))
        return answer

    return _forgotten(call)


def _stream(method: MethodDescriptor, implementation: Callable[[Any, Context], Awaitable[None]], door: Door) -> Any:
    """For one request or a stream of them; the implementation writes serialized messages to the context."""
    parse = _parser(method)
    rpc = method.name
    is_stream = method.client_streaming

    async def call(data: Any, context: Context) -> None:
        started = time.perf_counter()
        ledger_id = ""

        def parsed(message: bytes) -> Message:
            nonlocal ledger_id
            request = parse(message)
            ledger_id = ledger_id or getattr(request, "ledger_id", "")[:36]
            return request

        try:
            door.enter()
            request = (parsed(message) async for message in door.admitted(data)) if is_stream else parsed(data)
            await implementation(request, context)
        except BaseException as error:
            await _fail(rpc, ledger_id, started, error, context)
        _log_success(rpc, ledger_id, _milliseconds_since(started))

    return _forgotten(call)


def _forgotten(call: Callable[[Any, Context], Awaitable[Any]]) -> Any:
    """The call; once it has failed, nothing is left of it in memory.

    gRPC keeps the error that ended a call in its context, and the error's traceback keeps the context and all that the
    call had in hand, megabytes of it: a circle, which only the garbage collector would undo, and that comes rarely. A
    refusal is kept by its lane for a while, in case the request is repeated.
    """

    async def forgotten(data: Any, context: Context) -> Any:
        try:
            return await call(data, context)
        except BaseException as error:
            if error.__context__ is not None:
                error.__context__.__traceback__ = None
            error.__traceback__ = error.__context__ = None
            del data, context
            raise

    return forgotten


def _parser(method: MethodDescriptor) -> Callable[[bytes], Message]:
    from_string = GetMessageClass(method.input_type).FromString

    def parse(data: bytes) -> Message:
        try:
            return from_string(data)
        except DecodeError:
            raise MessageMalformed(f"the bytes are not a {method.input_type.full_name}") from None

    return parse


def _log_success(rpc: str, ledger_id: str, duration_ms: float) -> None:
    log.info("rpc", rpc=rpc, code="OK", ledger=ledger_id, duration_ms=duration_ms)


async def _fail(rpc: str, ledger_id: str, started: float, error: BaseException, context: Context) -> NoReturn:
    """Ends the call with the error's status; what is not a refusal says nothing of what went wrong."""
    duration_ms = _milliseconds_since(started)
    if isinstance(error, grpc.aio.InternalError):
        # What grpc makes of a message that is on its way when the peer goes.
        error = asyncio.CancelledError()
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        log.info("rpc", rpc=rpc, code="CANCELLED", ledger=ledger_id, duration_ms=duration_ms)
        raise error
    if isinstance(error, TimeoutError):
        log.info("rpc", rpc=rpc, code="DEADLINE_EXCEEDED", ledger=ledger_id, duration_ms=duration_ms)
        await _abort(context, grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed", ())
    if not isinstance(error, LedgerError):
        log.error("rpc", rpc=rpc, code="INTERNAL", ledger=ledger_id, duration_ms=duration_ms, exc_info=error)
        error = Internal("internal error; a write may be repeated with the same request_id")
    else:
        log.info("rpc", rpc=rpc, code=error.code, reason=error.reason, ledger=ledger_id, duration_ms=duration_ms)
    status = status_of(error)
    details = ((_STATUS_DETAILS, status.SerializeToString()),)
    trailers: tuple[tuple[str, bytes | str], ...] = details + _REPLAYED if error.replayed else details
    if isinstance(error, PositionNotReached):
        trailers += _DO_NOT_REPEAT
    await _abort(context, grpc.StatusCode[error.code], status.message, trailers)
    raise AssertionError("abort does not return")


async def _abort(
    context: Context, code: grpc.StatusCode, message: str, trailers: tuple[tuple[str, bytes | str], ...]
) -> None:
    """Ends the call. A peer that does not read is not waited for: it finds the status when it reads on.

    Who has left meanwhile needs none.
    """
    try:
        async with asyncio.timeout(ABORT_SECONDS):
            await context.abort(code, message, trailers)
    except (TimeoutError, grpc.aio.InternalError):
        # gRPC takes an AbortError that is not its own for a bug.
        raise asyncio.CancelledError from None


def _milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1e3, 1)
