"""What the client repeats, what it does not, and how long it waits."""

import asyncio
import time
from contextlib import AsyncExitStack

import grpc
import pytest

from ledger_client import (
    Aborted,
    Cancelled,
    DeadlineExceeded,
    LedgerClient,
    Outcome,
    ResourceExhausted,
    Unavailable,
    commands,
    debit,
)
from ledger_client.v1.transactions_pb2 import BatchWriteTransactionsRequest, CreateTransactionRequest
from tests.patience import PATIENCE_SECONDS
from tests.service.scripted_server import Script, serving, start

OK, UNAVAILABLE, CANCELLED = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED


@pytest.mark.parametrize("code", [UNAVAILABLE, CANCELLED], ids=lambda code: code.name)
async def test_an_unavailable_or_stopped_server_is_asked_again_with_the_same_request_id(code: grpc.StatusCode) -> None:
    script = Script(unary=[code] * 3)
    async with serving(script) as address, LedgerClient(address, actor="me") as ledger:
        transaction = await ledger.create_transaction("l-1", [debit("a-1", 5)])
    assert len(script.received) == 4
    assert all(request == script.received[0] for request in script.received)
    assert isinstance(script.received[0], CreateTransactionRequest)
    assert transaction.id == script.received[0].request_id
    assert len(transaction.id) == 20
    assert {metadata["x-actor"] for metadata in script.metadata} == {"me"}


async def test_five_attempts_are_the_most() -> None:
    script = Script(unary=[UNAVAILABLE] * 9)
    async with serving(script) as address, LedgerClient(address) as ledger:
        with pytest.raises(Unavailable, match="as the script says"):
            await ledger.get_ledger("l-1")
    assert len(script.received) == 5


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code not in {OK, UNAVAILABLE, CANCELLED}], ids=lambda code: code.name
)
async def test_no_other_status_is_repeated(code: grpc.StatusCode) -> None:
    script = Script(unary=[code])
    async with serving(script) as address, LedgerClient(address) as ledger:
        with pytest.raises(Exception, match="as the script says") as caught:
            await ledger.create_transaction("l-1", [], request_id="mine")
    assert getattr(caught.value, "code", None) is code
    assert len(script.received) == 1


async def test_a_batch_of_megabytes_is_repeated_too() -> None:
    script = Script(unary=[UNAVAILABLE])
    text = "x" * 1000
    async with serving(script) as address, LedgerClient(address) as ledger:
        writes = [commands.create_transaction([], description=text) for _ in range(3_500)]
        await ledger.batch_write_transactions("l-1", writes)
    first, second = script.received
    assert isinstance(first, BatchWriteTransactionsRequest)
    assert first.ByteSize() > 3_500_000
    assert first == second
    assert len({command.create.request_id for command in first.commands}) == 3_500
    assert not any(write.request_id for write in writes), "the caller's messages are left alone"


async def test_a_call_ends_with_its_deadline() -> None:
    script = Script(unary=[UNAVAILABLE] * 9)
    async with serving(script) as address, LedgerClient(address, timeout=30) as ledger:
        began = time.monotonic()
        with pytest.raises((DeadlineExceeded, Unavailable)):
            await ledger.get_ledger("l-1", timeout=0.15)
        assert time.monotonic() - began < 15


async def turned_away(address: str, count: int) -> None:
    """Returns when so many connections were closed on whoever wants to talk to this address."""
    over = asyncio.Event()

    def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        writer.close()
        count -= 1
        if count <= 0:
            over.set()

    host, port = address.split(":")
    async with await asyncio.start_server(close, host, int(port)), asyncio.timeout(PATIENCE_SECONDS):
        await over.wait()


async def test_a_hundred_calls_survive_a_restart_of_the_server() -> None:
    script = Script()
    async with AsyncExitStack() as stack:
        server, address = await start(script)
        ledger = await stack.enter_async_context(LedgerClient(address))
        await ledger.get_ledger("warm")
        await server.stop(0)
        calls = [asyncio.create_task(ledger.get_ledger(str(n))) for n in range(100)]
        await turned_away(address, 2)
        server, _ = await start(script, address)
        stack.push_async_callback(server.stop, 0)
        answers = await asyncio.gather(*calls)
    assert [answer.id for answer in answers] == [str(n) for n in range(100)]


async def test_when_hundreds_of_calls_fail_the_rest_is_not_repeated() -> None:
    script = Script(unary=[UNAVAILABLE] * 10_000)
    async with serving(script) as address, LedgerClient(address) as ledger:
        failing = [ledger.get_ledger("l-1") for _ in range(800)]
        await asyncio.gather(*failing, return_exceptions=True)
        before = len(script.received)
        with pytest.raises(Unavailable):
            await ledger.get_ledger("l-1")
        assert len(script.received) == before + 1


async def test_whether_an_answer_was_a_replay_is_told_on_request() -> None:
    outcome = Outcome()
    async with serving(Script()) as address, LedgerClient(address) as ledger:
        await ledger.create_transaction("l-1", [], outcome=outcome)
    assert outcome.replayed
    assert outcome.metadata["replayed"] == "true"


async def test_another_actor_uses_the_same_connection() -> None:
    script = Script()
    async with serving(script) as address, LedgerClient(address, actor="a", timeout=40) as ledger:
        other = ledger.with_options(actor="b", timeout=30)
        await other.get_ledger("l-1")
        await ledger.get_ledger("l-1")
        assert other.channel is ledger.channel
        assert (other.timeout, ledger.timeout) == (30, 40)
    assert [metadata["x-actor"] for metadata in script.metadata] == ["b", "a"]


async def test_a_message_too_large_to_send_is_refused_here() -> None:
    async with serving(Script()) as address, LedgerClient(address) as ledger:
        with pytest.raises(ResourceExhausted):
            await ledger.create_transaction("l-1", [], description="x" * 6_000_000)


async def test_closing_the_client_ends_its_calls_without_cancelling_their_tasks() -> None:
    server, address = await start(Script())
    await server.stop(0)
    ledger = LedgerClient(address)
    call = asyncio.create_task(ledger.get_ledger("l-1"))
    await asyncio.sleep(0.05)
    await ledger.close()
    with pytest.raises((Cancelled, Unavailable)):
        await call
    assert not call.cancelled()


async def test_a_client_that_is_closed_makes_no_calls() -> None:
    ledger = LedgerClient("127.0.0.1:1")
    await ledger.close()
    calls = [ledger.get_ledger("l-1"), *(ledger.create_transaction("l-1", [debit("a", 1)]) for _ in range(3))]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Cancelled] * len(calls)


async def test_a_client_that_is_closed_opens_no_streams() -> None:
    ledger = LedgerClient("127.0.0.1:1")
    await ledger.close()
    for stream in (ledger.watch_balances("l-1"), ledger.watch_events("l-1")):
        with pytest.raises(Cancelled, match="the client was closed"):
            await stream.__aenter__()
    with pytest.raises(Cancelled, match="the client was closed"):
        await ledger.import_transactions("l-1", [commands.create_transaction([debit("a", 1)])])
    with pytest.raises(Cancelled, match="the client was closed"):
        await ledger.verify_ledger("l-1")


async def test_a_cancelled_task_is_cancelled() -> None:
    server, address = await start(Script())
    await server.stop(0)
    async with LedgerClient(address) as ledger:
        call = asyncio.create_task(ledger.get_ledger("l-1"))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


def test_a_client_is_made_inside_the_loop_it_will_use() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        LedgerClient("127.0.0.1:1")


async def test_contention_is_the_caller_s_to_repeat() -> None:
    async with serving(Script(unary=[grpc.StatusCode.ABORTED])) as address, LedgerClient(address) as ledger:
        with pytest.raises(Aborted):
            await ledger.create_transaction("l-1", [])
