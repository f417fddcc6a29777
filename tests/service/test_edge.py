"""The edge: health, reflection, bugs of ours, who asked, and callers who leave while their command waits."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from structlog.testing import capture_logs

from ledger_client import (
    DeadlineExceeded,
    Internal,
    InvalidField,
    Ledger,
    LedgerClient,
    LedgerError,
    Outcome,
    PositionNotReached,
    Transaction,
    commands,
    credit,
    debit,
)
from ledger_client.v1 import ledger_service_pb2
from ledger_client.v1.balances_pb2 import BALANCE_KIND_POSTED
from tests.audit import findings
from tests.conftest import Server, new_server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.service.raw import (
    DETAILS_KEY,
    ask_bytes,
    channel_to,
    check_manners,
    connected,
    held,
    lane_is_waiting,
    refusal_of,
    rows_of,
)
from tests.service.refusing import Books, new_books
from tests.stored_events import read_event

SERVICE = ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"]
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


# Health and reflection.


@pytest.mark.parametrize("name", ["", SERVICE.full_name])
async def test_a_running_service_is_healthy(server: Server, name: str) -> None:
    async with channel_to(server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING


async def test_the_health_of_an_unknown_service_is_not_known(server: Server) -> None:
    async with channel_to(server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="ledger.v2.LedgerService"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_stopping_service_says_first_that_it_no_longer_serves(database: str) -> None:
    async with AsyncExitStack() as running:
        server = await running.enter_async_context(new_server(database))
        async with channel_to(server.address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE.full_name), timeout=PATIENCE_SECONDS)
            assert (await watch.read()).status == SERVING
            stopping = asyncio.create_task(running.aclose())
            assert (await watch.read()).status == NOT_SERVING
            watch.cancel()
            await stopping


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_the_services_and_describes_each(server: Server, version: str) -> None:
    async with channel_to(server.address) as channel:
        listed, described = await reflect(
            channel,
            version,
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE.full_name),
        )
        names = {service.name for service in listed.list_services_response.service}
        assert names == {
            SERVICE.full_name,
            "ledger.v1.LedgerAdminService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        assert methods_of(described, SERVICE.full_name) == {method.name for method in SERVICE.methods}
        # Tools that show all services give up at one that nothing is said of.
        requests = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in sorted(names)]
        for name, answer in zip(sorted(names), await reflect(channel, version, *requests), strict=True):
            assert methods_of(answer, name)


async def reflect(
    channel: grpc.aio.Channel, version: str, *requests: reflection_pb2.ServerReflectionRequest
) -> list[reflection_pb2.ServerReflectionResponse]:
    """What reflection answers: the messages of both versions are the same on the wire."""
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return [answer async for answer in call(iter(requests))]


def methods_of(answer: reflection_pb2.ServerReflectionResponse, service_name: str) -> set[str]:
    files = [FileDescriptorProto.FromString(data) for data in answer.file_descriptor_response.file_descriptor_proto]
    services = [(f"{file.package}.{service.name}", service) for file in files for service in file.service]
    return {method.name for name, service in services if name == service_name for method in service.method}


@pytest.mark.parametrize("method", [method.name for method in SERVICE.methods if not method.client_streaming])
async def test_every_method_that_is_described_is_served(server: Server, method: str) -> None:
    async with channel_to(server.address) as channel:
        answer = await ask_bytes(
            channel,
            f"/{SERVICE.full_name}/{method}",
            b"\xff",
            streaming=SERVICE.methods_by_name[method].server_streaming,
        )
    assert answer.refusal is not None
    assert answer.refusal.reason == "MESSAGE_MALFORMED"


# Bugs of ours.


async def test_a_bug_answers_internal_says_nothing_and_is_logged_whole(own_server: Server) -> None:
    async with LedgerClient(own_server.address) as client, connected(own_server.dsn) as tables:
        books = await new_books(client)
        await tables.execute("DROP TABLE currencies CASCADE")
        before = await rows_of(tables)
        with capture_logs() as logged, pytest.raises(Internal) as caught:
            await client.create_account(
                books.ledger_id, "Secret name", normal_balance="debit", currency="MILES", currency_exponent=0
            )
        assert await rows_of(tables) == before
        check_that_it_says_nothing(caught.value)
        (bug,) = [entry for entry in logged if entry["log_level"] == "error"]
        assert isinstance(bug["exc_info"], asyncpg.UndefinedTableError)
        assert (bug["ledger_id"], bug["method"]) == (books.ledger_id, "CreateAccount")
        assert "Secret name" not in str(bug)
        # The next one is not harmed.
        assert (await post(client, books)).position == books.position + 1


async def test_a_bug_of_one_command_does_not_harm_its_neighbours_in_the_batch(own_server: Server) -> None:
    async with LedgerClient(own_server.address) as client, connected(own_server.dsn) as tables:
        books = await new_books(client)
        # A rule that only the table knows is what a bug in the domain looks like.
        await tables.execute("ALTER TABLE transactions ADD CONSTRAINT odd CHECK (description <> 'odd')")
        with capture_logs():
            response = await client.batch_write_transactions(
                books.ledger_id,
                [
                    commands.create_transaction(books.lines(), description=description)
                    for description in ("even", "even", "odd", "even")
                ],
            )
        assert [result.HasField("error") for result in response.results] == [False, False, True, False]
        assert response.position == books.position + 3
        assert await findings(own_server.dsn, books.ledger_id) == []


async def test_a_bug_in_a_read_answers_internal_and_says_nothing(own_server: Server) -> None:
    async with LedgerClient(own_server.address) as client, connected(own_server.dsn) as tables:
        books = await new_books(client)
        await tables.execute("DROP VIEW entries CASCADE")
        with capture_logs() as logged, pytest.raises(Internal) as caught:
            await client.get_transaction(books.ledger_id, books.pending)
        check_that_it_says_nothing(caught.value)
        assert [entry["rpc"] for entry in logged if entry["log_level"] == "error"] == ["GetTransaction"]


def check_that_it_says_nothing(error: Internal) -> None:
    rpc_error = error.__cause__
    assert isinstance(rpc_error, grpc.aio.AioRpcError)
    trailers = dict(rpc_error.trailing_metadata() or ())
    assert trailers.keys() == {DETAILS_KEY}
    refusal = refusal_of(rpc_error, trailers)
    assert (refusal.code, refusal.reason, refusal.metadata, refusal.rules) == ("INTERNAL", "INTERNAL", {}, [])
    check_manners(refusal)


# Calls that failed.


async def test_a_call_that_failed_leaves_nothing_in_memory(server: Server, client: LedgerClient) -> None:
    """gRPC ties a knot of it that only the garbage collector would undo, and that comes rarely."""
    books = await new_books(client)
    gc.collect()
    gc.disable()
    before = _abort_errors()
    try:
        for call in (
            lambda: client.create_transaction(books.ledger_id, [debit(books.ledger_id, 1), credit(books.ledger_id, 1)]),
            lambda: client.get_account(books.ledger_id, books.ledger_id),
            lambda: client.watch_events(books.ledger_id, after_position=10**9).__aenter__(),
        ):
            with pytest.raises(LedgerError):
                await call()
        await client.get_ledger(books.ledger_id)
        left = _abort_errors()
    finally:
        gc.enable()
    assert len(left) == len(before)


def _abort_errors() -> list[object]:
    return [found for found in gc.get_objects() if isinstance(found, grpc.aio.AbortError)]


# Who asked.


async def test_the_actor_of_each_command_is_in_its_event(client: LedgerClient, ledger: Ledger, server: Server) -> None:
    ada, bob = client.with_options(actor="Ada"), client.with_options(actor="bob@example.com")
    cash = await ada.create_account(ledger.id, "Cash", normal_balance="debit", currency="USD")
    lines = [debit(cash, 1), credit(cash, 1)]
    await bob.batch_write_transactions(ledger.id, [commands.create_transaction(lines) for _ in range(2)], atomic=True)
    await ada.batch_write_transactions(ledger.id, [commands.create_transaction(lines)])
    await client.create_transaction(ledger.id, lines)
    await client.with_options(actor="").create_transaction(ledger.id, lines)
    async with connected(server.dsn) as tables:
        rows = await tables.fetch("SELECT * FROM events WHERE ledger_id = $1 ORDER BY position", number_of(ledger.id))
    actors = [read_event(row).actor for row in rows]
    assert actors == ["Ada", "bob@example.com", "bob@example.com", "Ada", "anonymous", "anonymous"]


async def test_a_repeat_by_another_actor_is_a_repeat(client: LedgerClient) -> None:
    outcome = Outcome()
    first = await client.with_options(actor="Ada").create_ledger("Books", request_id="an actor's own")
    again = await client.with_options(actor="Bob").create_ledger("Books", request_id="an actor's own", outcome=outcome)
    assert (again, outcome.replayed) == (first, True)


async def test_an_actor_that_is_too_long_is_refused(client: LedgerClient) -> None:
    with pytest.raises(InvalidField, match="x-actor"):
        await client.with_options(actor="x" * 181).create_ledger("Books")


async def test_nobody_is_taken_for_the_ledger_itself(client: LedgerClient) -> None:
    """By whom holds expire."""
    with pytest.raises(InvalidField, match="x-actor"):
        await client.with_options(actor="ledger").create_ledger("Books")


# Callers who leave.


async def post(client: LedgerClient, books: Books, request_id: str = "", timeout: float | None = None) -> Transaction:
    """Posts something, under the request_id if one is given."""
    return await client.create_transaction(
        books.ledger_id, books.lines(), status="posted", request_id=request_id, timeout=timeout
    )


@pytest.fixture
async def books(client: LedgerClient) -> Books:
    return await new_books(client)


@pytest.mark.parametrize("leaves", ["by its deadline", "by cancelling"])
async def test_who_leaves_the_queue_leaves_nothing_who_leaves_a_batch_leaves_all_of_it(
    client: LedgerClient, books: Books, server: Server, leaves: str
) -> None:
    async with held(server.dsn, books.ledger_id) as holder:
        timeout = 0.5 if leaves == "by its deadline" else None
        being_written = asyncio.create_task(post(client, books, f"written {leaves}", timeout))
        await lane_is_waiting(holder)
        queued = asyncio.create_task(post(client, books, f"queued {leaves}", timeout))
        stays = asyncio.create_task(post(client, books, f"stays {leaves}"))
        # An answer on the same connection: the calls before it have arrived.
        await client.get_ledger(books.ledger_id)
        if timeout is None:
            being_written.cancel()
            queued.cancel()
        left = await asyncio.gather(being_written, queued, return_exceptions=True)
        expected = DeadlineExceeded if timeout else asyncio.CancelledError
        assert [type(error) for error in left] == [expected, expected]
        await client.get_ledger(books.ledger_id)
    assert (await stays).position == books.position + 2
    async with connected(server.dsn) as tables:
        kept = await tables.fetch("SELECT request_id FROM requests WHERE request_id LIKE '%' || $1", leaves)
    assert {row["request_id"] for row in kept} == {f"written {leaves}", f"stays {leaves}"}
    # Repeating with the same request_id tells which it was.
    assert (await post(client, books, f"written {leaves}")).position == books.position + 1
    assert (await post(client, books, f"queued {leaves}")).position == books.position + 3
    assert await findings(server.dsn, books.ledger_id) == []


async def test_many_who_leave_at_once_harm_nobody(client: LedgerClient, books: Books, server: Server) -> None:
    calls = [asyncio.create_task(post(client, books, f"hurried {n}")) for n in range(100)]
    await post(client, books)
    for call in calls[::2]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert all(call.result().position for call in calls[1::2])
    # Wholly or not at all, and repeating says the rest.
    again = [await post(client, books, f"hurried {n}") for n in range(100)]
    assert len({transaction.position for transaction in again}) == 100
    assert (await client.get_ledger(books.ledger_id)).position == books.position + 101
    assert await findings(server.dsn, books.ledger_id) == []


async def test_a_connection_that_never_says_a_word_of_http_is_closed(server: Server) -> None:
    """Two thousand of them stayed open for two minutes."""
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"PRI * HTTP/2")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await reader.read(1_024):
            pass
    writer.close()


async def test_a_position_that_is_not_reached_is_told_and_not_waited_for_again(
    client: LedgerClient, ledger: Ledger
) -> None:
    """gRPC repeats what is UNAVAILABLE, and would wait until the caller's deadline tells him less."""
    with pytest.raises(PositionNotReached) as refusal:
        await client.get_ledger(ledger.id, min_position=ledger.position + 1, timeout=5)
    assert refusal.value.metadata == {"position": str(ledger.position)}


# What reads name.
NAMED: dict[str, Callable[[Books], dict[str, Any]]] = {
    "GetAccount": lambda books: {"account_id": books.cash},
    "BatchGetAccounts": lambda books: {"account_ids": [books.cash]},
    "ListAccountVersions": lambda books: {"account_id": books.cash},
    "GetTransaction": lambda books: {"transaction_id": books.posted},
    "BatchGetTransactions": lambda books: {"transaction_ids": [books.posted]},
    "ListTransactionVersions": lambda books: {"transaction_id": books.posted},
    "GetEntry": lambda books: {"entry_id": books.posted_entry},
    "GetCategory": lambda books: {"category_id": books.top},
    "GetBalanceMonitor": lambda books: {"monitor_id": books.monitor},
    "ExplainBalance": lambda books: {"account_id": books.cash, "balance": BALANCE_KIND_POSTED},
}


@pytest.mark.parametrize(
    "method",
    [method for method in SERVICE.methods if "min_position" in method.input_type.fields_by_name],
    ids=lambda method: method.name,
)
async def test_every_read_of_a_ledger_says_at_which_position(
    client: LedgerClient, books: Books, method: MethodDescriptor
) -> None:
    named = NAMED[method.name](books) if method.name in NAMED else {}
    request = GetMessageClass(method.input_type)(ledger_id=books.ledger_id, **named)
    answer: Any = await getattr(client.stub, method.name)(request)
    ledger = await client.get_ledger(books.ledger_id)
    assert (answer.position, answer.epoch) == (ledger.position, ledger.epoch)
