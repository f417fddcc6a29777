"""Automatic batches: writes of one ledger that are called at the same time travel in one call.

An RPC costs a service in Python more than the posting within it. So while a call of a ledger is on its way, its further
writes gather, and go together as one BatchWriteTransactions that is not atomic: what the service does with commits,
done with calls. Nobody waits for company: a lone caller's write is a call of its own, at once, and what gathers goes
with the event loop's next turn unless ``CALLS_MAX`` are on their way. A crowd goes in equal calls, so that the service
decides one while its database writes another. Each write keeps its request_id, its deadline, and its own answer or
refusal; one that the service could not write for now is repeated as a call of its own would be (see retries.py).
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeAlias

import grpc.aio

from ledger_client.commands import TransactionWrite, copy_into
from ledger_client.errors import Cancelled, DeadlineExceeded, LedgerError
from ledger_client.retries import JITTER, repeat_after_seconds
from ledger_client.statuses import error_from_rpc, error_from_status
from ledger_client.v1.transactions_pb2 import (
    BatchWriteTransactionsRequest,
    BatchWriteTransactionsResponse,
    TransactionResult,
)

CALLS_MAX = 4  # while the service writes one batch, the next ones are made, sent and decided
SHARE_MIN = 16  # so many writes are not worth two calls
COMMANDS_MAX = 500  # the service answers no more of them with whole transactions
ENTRIES_MAX = 5_000
BYTES_MAX = 2**20

CallMetadata: TypeAlias = tuple[tuple[str, str], ...]
BatchCallable: TypeAlias = (
    "grpc.aio.UnaryUnaryMultiCallable[BatchWriteTransactionsRequest, BatchWriteTransactionsResponse]"
)


class _Waiting(NamedTuple):
    write: TransactionWrite
    result: asyncio.Future[TransactionResult]
    deadline: float
    attempts: int = 0
    # How long it waits for the next of them.
    backoff_seconds: float = 0.0


class Line:
    """One actor's writes to one ledger: how many calls are on their way, and who waits for the next."""

    def __init__(self, batch: BatchCallable, metadata: CallMetadata, repeats: bool, closed: asyncio.Event) -> None:
        self.writers = 0
        """Who is in it: those whose write is on its way, or waits."""
        self._batch = batch
        self._metadata = metadata
        self._repeats = repeats
        self._closed = closed
        self._calls = 0
        # The writes in them.
        self._sent = 0
        self._waiting: deque[_Waiting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way, so that a write may go at once, as a call of its own."""
        return not self._calls

    @contextmanager
    def call(self) -> Iterator[None]:
        """Within it a call is on its way; then those who waited go."""
        self._calls += 1
        self._sent += 1
        try:
            yield
        finally:
            self._returned(1)

    async def join(self, write: TransactionWrite, timeout: float) -> TransactionResult:
        """The result of a write that goes with the next batch.

        Raises:
            LedgerError: the batch failed as a whole, or the deadline passed; a refusal is in the result.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[TransactionResult] = loop.create_future()
        deadline = loop.time() + timeout
        if not self._waiting and self._calls < CALLS_MAX:
            loop.call_soon(self._send)
        self._waiting.append(_Waiting(write, result, deadline))
        timer = loop.call_at(deadline, _expire, result)
        try:
            return await result
        finally:
            timer.cancel()

    def _send(self) -> None:
        """Sends what waits, in equal calls, if there may be more of them."""
        share = max(-(-(self._sent + len(self._waiting)) // CALLS_MAX), SHARE_MIN)
        while self._calls < CALLS_MAX and (batch := self._take(min(share, COMMANDS_MAX))):
            self._calls += 1
            self._sent += len(batch)
            task = asyncio.create_task(self._answer(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _take(self, count: int) -> list[_Waiting]:
        """The next batch of so many, without those whose caller has left; empty if nobody waits."""
        batch: list[_Waiting] = []
        entries = size = 0
        while self._waiting and len(batch) < count:
            waiting = self._waiting[0]
            if not waiting.result.done():
                entries += len(getattr(waiting.write, "entries", ()))
                size += waiting.write.ByteSize()
                if batch and (entries > ENTRIES_MAX or size > BYTES_MAX):
                    break
                batch.append(waiting)
            self._waiting.popleft()
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        """Has a batch written; whatever becomes of it, each caller is told.

        What is to be repeated is not on its way while it waits, so it does not hold up who comes later. Then it goes
        first, in the order it had.
        """
        try:
            again = await self._write(batch)
        finally:
            self._returned(len(batch))
        waited_seconds = 0.0
        while again:
            soonest_seconds = min(waiting.backoff_seconds for waiting in again)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), soonest_seconds - waited_seconds)
            waited_seconds = soonest_seconds
            due = [waiting for waiting in again if waiting.backoff_seconds <= soonest_seconds * JITTER]
            again = [waiting for waiting in again if waiting not in due]
            self._waiting.extendleft(reversed(due))
            self._send()

    async def _write(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Makes the call of a batch, and tells its callers what became of it, but for those to be repeated.

        Answers that are too large together are asked for again in halves: their writes are done, and a repeat with the
        same request_ids only tells what they did.
        """
        request = BatchWriteTransactionsRequest(ledger_id=batch[0].write.ledger_id, full_results=True)
        for waiting in batch:
            copy_into(request.commands.add(), waiting.write)
        timeout = max(waiting.deadline for waiting in batch) - asyncio.get_running_loop().time()
        try:
            response = await self._batch(request, timeout=timeout, metadata=self._metadata)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.CancelledError) as error:
            if len(batch) == 1 or not _is_too_large(error):
                _fail(batch, error)  # gRPC's core has repeated the call
                return []
            half = len(batch) // 2
            return [*await self._write(batch[:half]), *await self._write(batch[half:])]
        again = []
        for waiting, result in zip(batch, response.results, strict=True):
            if waiting.result.done():
                continue
            if self._repeats and (repeat := _repeat(waiting, result)) is not None:
                again.append(repeat)
            else:
                waiting.result.set_result(result)
        return again

    def _returned(self, count: int) -> None:
        self._calls -= 1
        self._sent -= count
        self._send()


class Batches:
    """The lines of a client, by ledger and actor."""

    def __init__(self, batch: BatchCallable, *, repeats: bool) -> None:
        """`repeats`: whether what the service could not write for now is repeated."""
        self._batch = batch
        self._repeats = repeats
        self._closed = asyncio.Event()
        self._lines: dict[tuple[str, CallMetadata], Line] = {}

    @contextmanager
    def line(self, ledger_id: str, metadata: CallMetadata) -> Iterator[Line]:
        """The line for a write; forgotten when nobody is in it any more."""
        key = (ledger_id, metadata)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(self._batch, metadata, self._repeats, self._closed)
        line.writers += 1
        try:
            yield line
        finally:
            line.writers -= 1
            if not line.writers:
                del self._lines[key]

    def close(self) -> None:
        """Ends what waits to be repeated, which the channel knows nothing of; to be called when that is closed."""
        self._closed.set()


def _repeat(waiting: _Waiting, result: TransactionResult) -> _Waiting | None:
    """The write once more, if that is what its result calls for."""
    if not result.HasField("error"):
        return None
    attempts = waiting.attempts + 1
    backoff_seconds = repeat_after_seconds(attempts, error_from_status(result.error))
    if backoff_seconds is None:
        return None
    return waiting._replace(attempts=attempts, backoff_seconds=backoff_seconds)


def _is_too_large(error: BaseException) -> bool:
    """Whether gRPC's core did not take the answer, which it says in words only; the service always gives a reason.

    Others who say RESOURCE_EXHAUSTED, as a proxy that limits rates, want fewer calls and not more.
    """
    if not isinstance(error, grpc.aio.AioRpcError) or error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return False
    return "larger than max" in (error.details() or "") and not error_from_rpc(error).reason


def _fail(batch: list[_Waiting], error: BaseException) -> None:
    for waiting in batch:
        if not waiting.result.done():
            waiting.result.set_exception(_error_of(error))


def _error_of(error: BaseException) -> LedgerError:
    """For one caller of a batch; each gets an exception of its own."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error_from_rpc(error)
    return Cancelled("the client was closed")


def _expire(result: asyncio.Future[TransactionResult]) -> None:
    if not result.done():
        result.set_exception(DeadlineExceeded("the deadline has passed"))
