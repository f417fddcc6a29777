"""The wire as it is: generated stubs without the client library, statuses with their details, rows in the tables."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import asyncpg
import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from ledger_client.v1 import errors_pb2
from ledger_client.v1.ledger_service_pb2_grpc import LedgerServiceStub
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS

DETAILS_KEY = "grpc-status-details-bin"
DETAILS_BYTES_MAX = 4_096
# Peers refuse 8 KiB of trailers; what gRPC adds to ours is small.
TRAILERS_BYTES_MAX = 7_500
VIOLATIONS_MAX = 20
# What would tell a caller about our insides: Python, SQL, libraries, files.
INTERNALS = (
    "Traceback",
    "Error(",
    "Exception",
    "asyncpg",
    "psycopg",
    "postgres",
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "relation ",
    "constraint",
    "ledger_server",
    "domain.",
    "<class",
    "object at 0x",
    ".py",
    "NoneType",
)

Trailers = Mapping[str, str | bytes]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status with its details, taken apart. Two are equal if they say the same."""

    code: str
    message: str
    reason: str
    domain: str
    metadata: dict[str, str]
    fields: dict[str, str]
    rules: list[tuple[str, str, str]]
    retries_after: bool
    details_bytes: int

    @property
    def trailers_bytes(self) -> int:
        """What a peer gets: the message percent-encoded, the details in base64."""
        return len(quote(self.message, safe=" ")) + (self.details_bytes + 2) // 3 * 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to: a message or a refusal, and the trailing metadata."""

    message: Message | None
    refusal: Refusal | None
    trailers: Trailers

    @property
    def replayed(self) -> bool:
        return self.trailers.get("replayed") == "true"


def request_id() -> str:
    return uuid.uuid4().hex


@asynccontextmanager
async def channel_to(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A bare channel, without limits of its own on what is sent."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        yield channel


async def ask(
    stub: LedgerServiceStub, method: str, request: Message, *, metadata: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """Makes a call through the generated stub; of a stream, the first message."""
    call = getattr(stub, method)(request, timeout=PATIENCE_SECONDS, metadata=metadata)
    return await answer_of(call, streaming=method.startswith("Watch"))


async def ask_bytes(channel: grpc.aio.Channel, path: str, request: bytes, *, streaming: bool = False) -> Answer:
    """Makes a call of bytes, which need not be a message."""
    method: Any = channel.unary_stream(path) if streaming else channel.unary_unary(path)
    return await answer_of(method(request, timeout=PATIENCE_SECONDS), streaming=streaming)


async def answer_of(call: Any, *, streaming: bool = False) -> Answer:
    """What a call under way comes to; a stream is left after its first message."""
    try:
        message = await call.read() if streaming else await call
    except grpc.aio.AioRpcError as error:
        trailers = dict(error.trailing_metadata() or ())
        return Answer(None, refusal_of(error, trailers), trailers)
    if streaming:
        call.cancel()
        return Answer(message, None, {})
    return Answer(message, None, dict(await call.trailing_metadata() or ()))


def refusal_of(error: grpc.aio.AioRpcError, trailers: Trailers) -> Refusal:
    """The refusal that a failed call carries; its code and message are the same in and outside the details."""
    data = trailers.get(DETAILS_KEY)
    if data is None:
        return Refusal(error.code().name, error.details() or "", "", "", {}, {}, [], False, 0)
    assert isinstance(data, bytes)
    status = status_pb2.Status.FromString(data)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    return refusal_from(status)


def refusal_from(status: status_pb2.Status) -> Refusal:
    """A google.rpc.Status taken apart."""
    code = next(code.name for code in grpc.StatusCode if code.value[0] == status.code)
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    precondition = error_details_pb2.PreconditionFailure()
    violations = errors_pb2.RuleViolations()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        known = (info, bad_request, precondition, violations, retry)
        assert any(detail.Unpack(message) for message in known), detail.type_url
    return Refusal(
        code,
        status.message,
        info.reason,
        info.domain,
        dict(info.metadata),
        {violation.field: violation.description for violation in bad_request.field_violations},
        [(violation.type, violation.subject, violation.description) for violation in precondition.violations],
        retry.HasField("retry_delay"),
        status.ByteSize(),
    )


def check_manners(refusal: Refusal) -> None:
    """What holds for every refusal that this service makes: typed, small, and silent about our insides."""
    assert refusal.reason
    assert refusal.domain == "ledger.v1"
    assert refusal.message
    assert refusal.details_bytes <= DETAILS_BYTES_MAX
    assert refusal.trailers_bytes <= TRAILERS_BYTES_MAX
    assert len(refusal.fields) <= VIOLATIONS_MAX
    assert len(refusal.rules) <= VIOLATIONS_MAX
    texts = [
        refusal.message,
        *refusal.metadata.values(),
        *refusal.fields.values(),
        *(rule[2] for rule in refusal.rules),
    ]
    for text in texts:
        assert not [word for word in INTERNALS if word.lower() in text.lower()], text


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows each table has, and where each ledger's log stands, by its number."""

    counts: dict[str, int]
    heads: dict[int, tuple[int, str]]

    def since(self, before: Rows) -> dict[str, int]:
        """The tables that grew, or shrank, and by how much."""
        changes = {table: count - before.counts[table] for table, count in self.counts.items()}
        return {table: change for table, change in changes.items() if change}


async def rows_of(connection: asyncpg.Connection[asyncpg.Record]) -> Rows:
    """The rows as they are committed now."""
    tables = await connection.fetch(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
    )
    names = sorted(row["table_name"] for row in tables)
    counts = await connection.fetchrow("SELECT " + ", ".join(f'(SELECT count(*) FROM "{n}") AS "{n}"' for n in names))
    assert counts is not None
    heads = await connection.fetch("SELECT ledger_id, position, encode(digest, 'hex') AS digest FROM ledgers")
    return Rows(dict(counts), {row["ledger_id"]: (row["position"], row["digest"]) for row in heads})


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def held(dsn: str, ledger_id: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The ledger's row is locked within the block, so that its lane waits."""
    async with connected(dsn) as connection, connection.transaction():
        await connection.execute("SELECT FROM ledgers WHERE ledger_id = $1 FOR UPDATE", number_of(ledger_id))
        yield connection


async def lane_is_waiting(connection: asyncpg.Connection[asyncpg.Record], count: int = 1) -> None:
    """Returns when so many lanes wait for what somebody holds in the database of this connection."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while count > await connection.fetchval(
        """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
        """
    ):
        assert time.monotonic() < give_up_at, "no lane came to wait"
        await asyncio.sleep(0.005)
