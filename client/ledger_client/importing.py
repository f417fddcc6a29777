"""Importing: millions of commands in chunks, each chunk one commit, with one effect however often it is sent.

Chunk n of an import has the request_id ``<import_id>:<n>``, so the same input under the same import_id is the same
chunks, and a chunk that the service has is answered again instead of applied again.

What happens                             → what becomes of the import
connection lost, server drained          → what is not acknowledged is sent again on a new connection
the program is stopped and started anew  → the chunks of before are acknowledged as ``replayed``, then it goes on
the input differs from that of before    → ``RequestIdReused`` at the first chunk that differs; nothing is written twice
a command is refused, say as unbalanced  → it is counted and told, the others are written
a command is malformed                   → the service's error, with the command's index; chunks before it stay written
the input raises                         → the whole chunks read before are acknowledged, then it is raised

Memory holds the chunks that are on their way and the one that is being filled.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

import grpc.aio

from ledger_client.channel import Connection, new_request_id
from ledger_client.commands import TransactionWrite, copy_into
from ledger_client.errors import Contention, DeadlineExceeded, Internal, LedgerError, Unavailable, is_lost_connection
from ledger_client.messages import message
from ledger_client.retries import backoff_seconds
from ledger_client.statuses import ToldIfClosed, error_from_rpc, error_from_status
from ledger_client.v1.transactions_pb2 import ImportTransactionsRequest, ImportTransactionsResponse

logger = logging.getLogger("ledger_client")

DEFAULT_CHUNK_SIZE = 1_000
"""A chunk is one commit that other callers of the ledger wait for, some 0.1 s, so bigger is not better."""
CHUNK_COMMANDS_MAX = 10_000
CHUNK_ENTRIES_MAX = 20_000
# The service takes messages of 4 MiB.
CHUNK_BYTES_MAX = 3_500 * 1024
REFUSALS_KEPT_MAX = 1_000
IMPORT_ID_CHARACTERS_MAX = 100
# Tag and length of a command in its chunk, and of the request in its command.
_FRAMING_BYTES = 10

Commands = Iterable[TransactionWrite] | AsyncIterable[TransactionWrite]


@dataclass(frozen=True, slots=True)
class RefusedCommand:
    """A command of an import that a rule refused; nothing was written for it."""

    index: int
    """Of the command in the whole import, from 0."""
    error: LedgerError
    """Why; raise it, or look at its class, ``metadata`` and ``violations``."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A chunk that is stored for good. Chunks are acknowledged in order."""

    first_index: int
    """Of its first command in the whole import, from 0."""
    command_count: int
    accepted_count: int
    refused_count: int
    refusals: tuple[RefusedCommand, ...]
    """The first 100; a smaller chunk_size shows more."""
    position: int
    """The ledger's, after the chunk."""
    epoch: str
    replayed: bool
    """Whether it was stored by an earlier attempt: before a connection was lost, or the import started anew."""

    @property
    def done_count(self) -> int:
        """How many commands of the import are done with, this chunk's included."""
        return self.first_index + self.command_count


@dataclass(slots=True)
class ImportSummary:
    """What became of an import."""

    import_id: str
    chunk_count: int = 0
    accepted_count: int = 0
    refused_count: int = 0
    replayed_count: int = 0
    """How many of the commands, accepted or refused, were stored by an earlier attempt."""
    refusals: list[RefusedCommand] = field(default_factory=list)
    """The first 1,000 that were told; ``progress`` is told the others too."""
    position: int = 0
    """The ledger's, after the last chunk; 0 if there was none."""
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Commands that are sent, stored and acknowledged together."""

    number: int
    """0, 1, 2 …"""
    first_index: int
    """Of its first command in the whole import."""
    request: ImportTransactionsRequest


async def chunks(ledger_id: str, import_id: str, writes: Commands, chunk_size: int) -> AsyncGenerator[Chunk, None]:
    """The chunks of an import, each as full as the limits allow; the same input makes the same chunks."""
    chunk = _empty_chunk(ledger_id, import_id)
    entries = size = 0
    async for write in _each(writes):
        entries += len(getattr(write, "entries", ()))
        size += write.ByteSize() + _FRAMING_BYTES
        if chunk.request.commands and (entries > CHUNK_ENTRIES_MAX or size > CHUNK_BYTES_MAX):
            yield chunk
            chunk = _empty_chunk(ledger_id, import_id, chunk)
            entries, size = len(getattr(write, "entries", ())), write.ByteSize() + _FRAMING_BYTES
        copy_into(chunk.request.commands.add(), write)
        if len(chunk.request.commands) == chunk_size:  # not when the next comes: a slow source may take its time
            yield chunk
            chunk = _empty_chunk(ledger_id, import_id, chunk)
            entries = size = 0
    if chunk.request.commands:
        yield chunk


def _empty_chunk(ledger_id: str, import_id: str, before: Chunk | None = None) -> Chunk:
    number = 0 if before is None else before.number + 1
    first_index = 0 if before is None else before.first_index + len(before.request.commands)
    request = message(ImportTransactionsRequest, ledger_id=ledger_id, request_id=f"{import_id}:{number}")
    return Chunk(number, first_index, request)


async def _each(writes: Commands) -> AsyncIterator[TransactionWrite]:
    if isinstance(writes, AsyncIterable):
        async for write in writes:
            yield write
    else:
        for write in writes:
            yield write


class _Import:
    """One import under way: a producer fills chunks, and connection after connection delivers them.

    The producer outlives the connections, so that none of them can tear a caller's generator.
    """

    def __init__(
        self,
        connection: Connection,
        summary: ImportSummary,
        *,
        in_flight: int,
        progress: Callable[[Acknowledgement], object] | None,
        reconnect_timeout: float | None,
    ) -> None:
        self._connection = connection
        self._summary = summary
        self._progress = progress
        self._reconnect_timeout = reconnect_timeout
        self._unacknowledged: deque[Chunk] = deque()
        self._is_produced = False
        self._places = asyncio.Semaphore(in_flight)
        self._changed = asyncio.Event()

    async def run(self, source: AsyncIterator[Chunk]) -> None:
        producing = asyncio.create_task(self._produce(source))
        try:
            await self._deliver()
            await producing  # raises what the input raised
        finally:
            producing.cancel()
            await asyncio.gather(producing, return_exceptions=True)

    async def _produce(self, source: AsyncIterator[Chunk]) -> None:
        try:
            async for chunk in source:
                await self._places.acquire()
                self._unacknowledged.append(chunk)
                self._changed.set()
                await asyncio.sleep(0)  # an iterable that never waits would keep the others from their turn
        finally:
            self._is_produced = True
            self._changed.set()

    async def _deliver(self) -> None:
        """Until everything produced is acknowledged, over as many connections as it takes."""
        failures = 0
        failing_since: float | None = None
        while await self._is_more_to_do():
            chunk_count = self._summary.chunk_count
            try:
                await self._stream()
                lost: LedgerError = Unavailable("the server ended the stream")
            except grpc.aio.AioRpcError as rpc_error:
                lost = error_from_rpc(rpc_error)
                if not (is_lost_connection(lost) or isinstance(lost, Contention | DeadlineExceeded)):
                    raise self._located(lost) from rpc_error
            if not self._unacknowledged:
                failing_since = None
                continue
            if self._summary.chunk_count > chunk_count or failing_since is None:
                failures, failing_since = 0, time.monotonic()
            delay = backoff_seconds(failures, lost)
            failures += 1
            patience = math.inf if self._reconnect_timeout is None else self._reconnect_timeout
            if time.monotonic() + delay > failing_since + patience:
                raise lost
            logger.info("import %s interrupted, resuming in %.2f s: %s", self._summary.import_id, delay, lost)
            await asyncio.sleep(delay)

    async def _is_more_to_do(self) -> bool:
        """Waits until there is a chunk to deliver, or the end."""
        while not self._unacknowledged and not self._is_produced:
            self._changed.clear()
            await self._changed.wait()
        return bool(self._unacknowledged)

    async def _stream(self) -> None:
        """One connection: sends what is not acknowledged and what is produced, takes acknowledgements.

        Both at once: a server that cannot get rid of its answers reads no more, and each would wait for the other.
        """
        with ToldIfClosed():
            call = self._connection.stub.ImportTransactions(metadata=self._connection.call_metadata)
            sending = asyncio.create_task(self._send(call))
            try:
                async for response in call:
                    self._acknowledge(response)
            finally:
                sending.cancel()
                call.cancel()
                await asyncio.gather(sending, return_exceptions=True)  # how the call ended, the reading side has told

    async def _send(
        self, call: "grpc.aio.StreamStreamCall[ImportTransactionsRequest, ImportTransactionsResponse]"
    ) -> None:
        sent = -1
        while True:
            while (chunk := next((chunk for chunk in self._unacknowledged if chunk.number > sent), None)) is not None:
                await call.write(chunk.request)
                sent = chunk.number
            if self._is_produced:
                await call.done_writing()
                return
            self._changed.clear()
            await self._changed.wait()

    def _acknowledge(self, response: ImportTransactionsResponse) -> None:
        if not self._unacknowledged or self._unacknowledged[0].request.request_id != response.request_id:
            raise Internal(f"the service acknowledged a chunk that was not due: {response.request_id!r}")
        chunk = self._unacknowledged.popleft()
        self._places.release()
        acknowledgement = Acknowledgement(
            first_index=chunk.first_index,
            command_count=len(chunk.request.commands),
            accepted_count=response.accepted_count,
            refused_count=response.refused_count,
            refusals=tuple(
                RefusedCommand(chunk.first_index + refusal.command_index, error_from_status(refusal.error))
                for refusal in response.refusals
            ),
            position=response.position,
            epoch=response.epoch,
            replayed=response.replayed,
        )
        self._count(acknowledgement)
        if self._progress is not None:
            self._progress(acknowledgement)

    def _count(self, acknowledgement: Acknowledgement) -> None:
        summary = self._summary
        summary.chunk_count += 1
        summary.accepted_count += acknowledgement.accepted_count
        summary.refused_count += acknowledgement.refused_count
        if acknowledgement.replayed:
            summary.replayed_count += acknowledgement.command_count
        summary.refusals += acknowledgement.refusals[: REFUSALS_KEPT_MAX - len(summary.refusals)]
        summary.position, summary.epoch = acknowledgement.position, acknowledgement.epoch

    def _located(self, error: LedgerError) -> LedgerError:
        """The error of the chunk that was due, with the index of its command in the whole import."""
        index_in_chunk = error.metadata.get("command_index")
        if index_in_chunk is not None and self._unacknowledged:
            index = self._unacknowledged[0].first_index + int(index_in_chunk)
            error.metadata = {**error.metadata, "command_index": str(index)}
            error.add_note(f"command {index} of the import")
        return error


class ImportCalls(Connection):
    """What can be imported."""

    async def import_transactions(
        self,
        ledger_id: str,
        writes: Commands,
        *,
        import_id: str | None = None,
        chunk_size: int = DEFAULT_CHUNK_SIZE,
        in_flight: int = 4,
        progress: Callable[[Acknowledgement], object] | None = None,
        reconnect_timeout: float | None = 60.0,
    ) -> ImportSummary:
        """Write millions of transactions::

            summary = await ledger.import_transactions(
                books.id, (commands.create_transaction(...) for row in rows), import_id="opening-balances-2026"
            )

        They are applied in order, each accepted or refused by itself, in chunks of one commit each; other callers'
        writes may fall in between. An import that was interrupted is repeated whole, with the same import_id,
        input and chunk_size, at most a week later: what was written is not written again.

        Args:
            ledger_id: the ledger of them all.
            writes: what the functions of ``ledger_client.commands`` make, without request_ids; a generator, or an
                asynchronous one if it has to wait.
            import_id: up to 100 characters, your own for this import among the request_ids of the ledger. None: a
                new one, which the summary, and a note on the exception if there is one, name.
            chunk_size: commands of a chunk, 1..10,000; fewer if they have 20,000 entries or 3.5 MiB before.
                A chunk that writes more than 20,000, as posting large transactions may, is refused.
            in_flight: how many chunks may be on their way; they are what is held in memory.
            progress: is told every acknowledgement, in order.
            reconnect_timeout: seconds without a chunk acknowledged after which a lost connection is raised; None:
                try for ever.

        Raises:
            InvalidArgument: a command is malformed; ``metadata["command_index"]`` is its index in the import. Chunks
                before its own stay written. Correct it and repeat the import.
            RequestIdReused: the import_id was used with another input or chunk_size.
            LedgerNotFound: no such ledger.
            Unavailable: the service stayed away.
            Exception: what ``writes`` raised, after what was read before it, as far as it filled chunks, was written.
        """
        if not 1 <= chunk_size <= CHUNK_COMMANDS_MAX:
            raise ValueError(f"chunk_size is 1..{CHUNK_COMMANDS_MAX}, not {chunk_size}")
        if in_flight < 1:
            raise ValueError(f"in_flight is 1 or more, not {in_flight}")
        if import_id is None:
            import_id = new_request_id()
        if not 1 <= len(import_id) <= IMPORT_ID_CHARACTERS_MAX:
            raise ValueError(f"an import_id has 1..{IMPORT_ID_CHARACTERS_MAX} characters, not {len(import_id)}")
        summary = ImportSummary(import_id)
        running = _Import(self, summary, in_flight=in_flight, progress=progress, reconnect_timeout=reconnect_timeout)
        try:
            async with aclosing(chunks(ledger_id, import_id, writes, chunk_size)) as source:
                await running.run(source)
        except Exception as error:
            done = summary.accepted_count + summary.refused_count
            error.add_note(f"{done} commands were done; to go on, repeat the import with import_id={import_id!r}")
            raise
        return summary
