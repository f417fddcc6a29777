"""Automatic batches: writes of one ledger that are called at the same time travel in one call.

An RPC costs a service in Python more than the posting within it. So while a call of a ledger is on its way, its further
writes gather, and go together as one BatchWriteTransactions that is not atomic: what the service does with commits,
done with calls. Nobody waits for company: a lone caller's write is a call of its own, at once, and what gathers goes
with the event loop's next turn unless ``CALLS_MAX`` are on their way. A crowd goes in equal calls, so that the service
decides one while its database writes another. Each write keeps its request_id, its deadline, and its own answer or
refusal; one that the service could not write for now is repeated as a call of its own would be (see retries.py).
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, Self, TypeAlias, TypeVar

import grpc.aio

from ledger_client.commands import TransactionWrite, copy_into
from ledger_client.errors import Cancelled, DeadlineExceeded, LedgerError, Unknown
from ledger_client.retries import JITTER, repeat_after_seconds
from ledger_client.statuses import CLIENT_CLOSED, error_from_rpc, error_from_status
from ledger_client.v1.transactions_pb2 import (
    BatchWriteTransactionsRequest,
    BatchWriteTransactionsResponse,
    TransactionResult,
)

CALLS_MAX = 4  # while the service writes one batch, the next ones are made, sent and decided
SHARE_MIN = 16  # so few writes are not worth two calls
SHARE_OF_MANY = 32  # nor so few three: a call and the commit for it cost as much as ten writes
COMMANDS_MAX = 500  # the service answers no more of them with whole transactions
ENTRIES_MAX = 5_000
BYTES_MAX = 2**20

_Answer = TypeVar("_Answer")
CallMetadata: TypeAlias = tuple[tuple[str, str], ...]
BatchCallable: TypeAlias = (
    "grpc.aio.UnaryUnaryMultiCallable[BatchWriteTransactionsRequest, BatchWriteTransactionsResponse]"
)


def share_of(count: int) -> int:
    """How many writes go in a call, if there are so many on their way or waiting."""
    calls = min(max(count // SHARE_OF_MANY, 2), CALLS_MAX)
    return max(-(-count // calls), SHARE_MIN)


class _Waiting(NamedTuple):
    write: TransactionWrite
    result: asyncio.Future[TransactionResult]
    deadline: float
    attempts: int = 0
    # How long it waits for the next of them.
    backoff_seconds: float = 0.0


class Line:
    """One actor's writes to one ledger: how many calls are on their way, and who waits for the next.

    To be entered by each writer, and left when the write has its answer.
    """

    def __init__(
        self, batch: BatchCallable, metadata: CallMetadata, repeats: bool, forget: Callable[[], object]
    ) -> None:
        """`forget` is called when nobody is in it any more."""
        self._writers = 0
        self._forget = forget
        self._batch = batch
        self._metadata = metadata
        self._repeats = repeats
        self._calls = 0
        # The writes in them.
        self._sent = 0
        self._waiting: deque[_Waiting] = deque()
        # Of those who wait, whose write is on its way, or is to be repeated: their deadlines.
        self._deadlines: dict[asyncio.Future[TransactionResult], float] = {}
        # One for all of them, at the first deadline or before.
        self._timer: asyncio.TimerHandle | None = None
        # Not all event loops' handles know it.
        self._timer_at = math.inf
        self._tasks: set[asyncio.Task[list[_Waiting]]] = set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way, so that a write may go at once, as a call of its own."""
        return not self._calls

    def __enter__(self) -> Self:
        self._writers += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._writers -= 1
        if not self._writers:
            self._forget()

    async def alone(self, call: Awaitable[_Answer]) -> _Answer:
        """The answer to a call of one write; those who come meanwhile go when it is there."""
        self._calls += 1
        self._sent += 1
        try:
            return await call
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
        self._deadlines[result] = deadline
        if deadline < self._timer_at:
            self._expire_at(deadline)
        try:
            return await result
        finally:
            del self._deadlines[result]
            if not self._deadlines:
                self._expire_at(math.inf)

    def close(self) -> None:
        """Tells everyone in it that the client was closed; what is to be repeated is not written any more."""
        for result in self._deadlines:
            _fail(result, Cancelled(CLIENT_CLOSED))

    def _expire_at(self, time: float) -> None:
        """Sets the timer; without end there is none."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = time
        self._timer = None if time == math.inf else asyncio.get_running_loop().call_at(time, self._expire)

    def _expire(self) -> None:
        """Tells those whose deadline has passed, and looks again at the first of the others."""
        now = asyncio.get_running_loop().time()
        for result, deadline in self._deadlines.items():
            if deadline <= now:
                _fail(result, DeadlineExceeded("the deadline has passed"))
        self._expire_at(min((at for result, at in self._deadlines.items() if not result.done()), default=math.inf))

    def _send(self) -> None:
        """Sends what waits, in equal calls, if there may be more of them."""
        share = share_of(self._sent + len(self._waiting))
        while self._calls < CALLS_MAX and (batch := self._take(min(share, COMMANDS_MAX))):
            self._calls += 1
            self._sent += len(batch)
            task = asyncio.create_task(self._write(batch))
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, batch))

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
        except grpc.aio.AioRpcError as error:
            if len(batch) > 1 and _is_too_large(error):
                half = len(batch) // 2
                return [*await self._write(batch[:half]), *await self._write(batch[half:])]
            for waiting in batch:
                _fail(waiting.result, error_from_rpc(error))  # gRPC's core has repeated the call
            return []
        again = []
        for waiting, result in zip(batch, response.results, strict=True):
            if waiting.result.done():
                continue
            if self._repeats and (repeat := _repeat(waiting, result)) is not None:
                again.append(repeat)
            else:
                waiting.result.set_result(result)
        return again

    def _ended(self, batch: list[_Waiting], task: asyncio.Task[list[_Waiting]]) -> None:
        """Whatever became of a batch, and be it that it was never begun, each caller is told or its write repeated."""
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is not None:
            for waiting in batch:
                _fail(waiting.result, _error_of(task))
        else:
            self._repeat_later(task.result())
        self._returned(len(batch))

    def _repeat_later(self, again: list[_Waiting]) -> None:
        """Sends writes once more, each after its backoff; until then they hold up nobody who comes later.

        They go first, in the order they had. With the same jitter, as they travelled together and may so again.
        """
        jitter = random.uniform(1.0, JITTER)
        for backoff_seconds in {waiting.backoff_seconds for waiting in again}:
            due = [waiting for waiting in again if waiting.backoff_seconds == backoff_seconds]
            asyncio.get_running_loop().call_later(backoff_seconds * jitter, self._send_first, due)

    def _send_first(self, due: list[_Waiting]) -> None:
        self._waiting.extendleft(reversed(due))
        self._send()

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
        self._lines: dict[tuple[str, CallMetadata], Line] = {}

    def line(self, ledger_id: str, metadata: CallMetadata) -> Line:
        """The line for a write, which enters it; forgotten when nobody is in it any more."""
        key = (ledger_id, metadata)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(self._batch, metadata, self._repeats, partial(self._lines.pop, key))
        return line

    def close(self) -> None:
        """Ends what waits, of which the channel knows nothing; to be called when that is closed."""
        for line in self._lines.values():
            line.close()


def _repeat(waiting: _Waiting, result: TransactionResult) -> _Waiting | None:
    """The write once more, if that is what its result calls for."""
    if not result.HasField("error"):
        return None
    attempts = waiting.attempts + 1
    backoff_seconds = repeat_after_seconds(attempts, error_from_status(result.error))
    if backoff_seconds is None:
        return None
    return waiting._replace(attempts=attempts, backoff_seconds=backoff_seconds)


def _is_too_large(error: grpc.aio.AioRpcError) -> bool:
    """Whether gRPC's core did not take the answer, which it says in words only; the service always gives a reason.

    Others who say RESOURCE_EXHAUSTED, as a proxy that limits rates, want fewer calls and not more.
    """
    return (
        error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        and "larger than max" in (error.details() or "")
        and not error_from_rpc(error).reason
    )


def _fail(result: asyncio.Future[TransactionResult], error: LedgerError) -> None:
    if not result.done():
        result.set_exception(error)


def _error_of(task: asyncio.Task[list[_Waiting]]) -> LedgerError:
    """For one caller of a batch that was cut short; each gets an exception of its own."""
    if task.cancelled() or isinstance(task.exception(), grpc.aio.UsageError):
        return Cancelled(f"{CLIENT_CLOSED}, or its tasks were cancelled")
    unknown = Unknown(f"the batch that the write was in failed: {task.exception()!r}")
    unknown.__cause__ = task.exception()
    return unknown
