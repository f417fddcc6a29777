"""Rows 27 to 30: peers who break the protocol, on purpose or by mistake, and well-behaved callers beside them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from statistics import quantiles

import grpc.aio
from google.protobuf.message import Message

from ledger_client.v1 import accounts_pb2, entries_pb2, ledgers_pb2, streams_pb2, transactions_pb2
from ledger_client.v1.balances_pb2 import NormalBalance
from tests.faults.report import Result
from tests.faults.rounds import audit_books, check
from tests.faults.rows import row
from tests.faults.stage import Server, Stage
from tests.faults.traffic import Traffic, new_traffic
from tests.service.raw import INTERNALS, Answer, Refusal, ask_bytes, request_id

RESETS = 20_000
HALF_OPEN = 2_000
VICTIMS_P99_MS = 1_000.0
# With fewer calls of theirs a round proves nothing.
VICTIMS_CALLS_MIN = 200
SERVICE = "/ledger.v1.LedgerService/"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _HEADERS, _RST_STREAM = 4, 1, 3


@dataclass
class Victims:
    """How those who behave fared meanwhile."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        return quantiles(self.seconds, n=100)[98] * 1e3 if len(self.seconds) > 1 else 0.0


@asynccontextmanager
async def victims(traffic: Traffic) -> AsyncIterator[Victims]:
    """Four who read without pause within the block."""
    told = Victims()

    async def read() -> None:
        while True:
            began = time.monotonic()
            try:
                await traffic.clients[0].get_account(traffic.history.ledger_id, traffic.accounts[0].id, timeout=5)
            except Exception as error:  # noqa: BLE001
                told.failures.append(repr(error))
            told.seconds.append(time.monotonic() - began)
            await asyncio.sleep(0.005)

    tasks = [asyncio.create_task(read()) for _ in range(4)]
    try:
        yield told
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@row("27", "rapid reset: 20,000 streams opened and reset", rounds=3)
async def rapid_reset(stage: Stage, rounds: int) -> Result:
    result, (server, traffic, dsn) = Result(), await _served(stage)
    for _ in range(rounds):
        async with traffic.running(4):
            await traffic.until_acknowledged(100)
            rss_mb = server.rss_mb()
            async with victims(traffic) as told:
                began = time.monotonic()
                sent = await _reset_rapidly(server.address)
                took = time.monotonic() - began
                await asyncio.sleep(1)
            growth_mb = server.rss_mb() - rss_mb
            result.recovered.append(await traffic.recovered_after(time.monotonic()))
        result.rounds += 1
        result.note = f"victims' p99 {told.p99_ms:.0f} ms, +{growth_mb:.0f} MB"
        result.note += f", {sent} resets in {took:.1f} s"
        result.expect(sent >= RESETS // 2, f"only {sent} resets were sent")
        result.expect(not told.failures, f"{len(told.failures)} victims failed: {told.failures[:1]}")
        result.expect(len(told.seconds) >= VICTIMS_CALLS_MIN, f"only {len(told.seconds)} calls of victims")
        result.expect(told.p99_ms <= VICTIMS_P99_MS, result.note)
        result.expect(growth_mb <= 50, result.note)
    await traffic.settle()
    await check(result, traffic, dsn, has_stream=False)
    await _harmed_victims(result, server, traffic)
    return result


async def _harmed_victims(result: Result, server: Server, traffic: Traffic) -> None:
    """The control: victims of a server that does nothing for a while are seen to be harmed."""
    async with victims(traffic) as told:
        await asyncio.sleep(0.2)
        os.kill(server.pid, signal.SIGSTOP)
        await asyncio.sleep(3 * VICTIMS_P99_MS / 1e3)
        os.kill(server.pid, signal.SIGCONT)
        await asyncio.sleep(0.2)
    result.control = f"victims' p99 {told.p99_ms:.0f} ms of a server that was stopped"
    result.expect(told.p99_ms > VICTIMS_P99_MS, f"the control: {result.control}")


async def _served(stage: Stage) -> tuple[Server, Traffic, str]:
    database = await stage.database()
    server = await stage.server(database.dsn)
    traffic = await stage.stack.enter_async_context(new_traffic([server.address], stage.seed))
    return server, traffic, database.dsn


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header without indexing, in HPACK."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


async def _reset_rapidly(address: str) -> int:
    """Opens calls and resets each at once; returns how many before the server hung up."""
    host, _, port = address.rpartition(":")
    headers = b"".join(
        _literal(name, value)
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/ledger.v1.LedgerService/GetLedger"),
            (b":authority", b"faults"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        )
    )
    reset = struct.pack("!I", 8)
    sent = 0
    while sent < RESETS:
        reader, writer = await asyncio.open_connection(host, int(port))
        drain = asyncio.create_task(_drain(reader))
        try:
            writer.write(_PREFACE + _frame(_SETTINGS, 0, 0))
            for n in range(min(RESETS - sent, 10_000)):
                stream = 2 * n + 1
                writer.write(_frame(_HEADERS, 4, stream, headers) + _frame(_RST_STREAM, 0, stream, reset))
                sent += 1
                if n % 100 == 99:
                    await writer.drain()
        except ConnectionError:
            # Hung up on, as it should be.
            await asyncio.sleep(0.01)
        finally:
            drain.cancel()
            writer.transport.abort()
    return sent


async def _drain(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        while await reader.read(65_536):
            pass


@row("28", "2,000 half-open connections", rounds=3)
async def half_open(stage: Stage, rounds: int) -> Result:
    result, (server, traffic, dsn) = Result(), await _served(stage)
    host, _, port = server.address.rpartition(":")
    for _ in range(rounds):
        rss_mb = server.rss_mb()
        ends: list[float] = []

        async def hold(ends: list[float] = ends) -> None:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(_PREFACE[:12])
            await _drain(reader)
            ends.append(time.monotonic())
            writer.transport.abort()

        async with victims(traffic) as told:
            began = time.monotonic()
            tasks = [asyncio.create_task(hold()) for _ in range(HALF_OPEN)]
            done, left = await asyncio.wait(tasks, timeout=20)
            for task in left:
                task.cancel()
        failed = sum(task.exception() is not None for task in done)
        last = max(ends, default=began) - began
        result.rounds += 1
        result.note = f"victims' p99 {told.p99_ms:.0f} ms, +{server.rss_mb() - rss_mb:.0f} MB"
        result.note += f", {len(ends)} closed, the last after {last:.1f} s"
        result.expect(len(told.seconds) >= VICTIMS_CALLS_MIN, f"only {len(told.seconds)} calls of victims")
        result.expect(told.p99_ms <= VICTIMS_P99_MS, result.note)
        result.expect(len(ends) + failed == HALF_OPEN, f"{len(left)} are still open after 20 s")
        result.expect(last <= 10, f"the last was closed after {last:.1f} s")
        result.expect(failed <= HALF_OPEN // 10, f"{failed} could not connect")
        result.expect(not told.failures, f"{len(told.failures)} victims failed: {told.failures[:1]}")
    await audit_books(result, traffic.clients[0], dsn, traffic.history.ledger_id)
    await _harmed_victims(result, server, traffic)
    return result


@row("29", "mutated messages", rounds=20_000)
async def mutated(stage: Stage, rounds: int) -> Result:
    """Whatever the bytes are, the answer is one that was meant."""
    result, (server, traffic, dsn) = Result(), await _served(stage)
    valid = _valid_messages(traffic)
    chance = random.Random(stage.seed)
    codes: dict[str, int] = {}
    gate = asyncio.Semaphore(32)

    async def send(channel: grpc.aio.Channel) -> None:
        method, message = chance.choice(valid)
        data = _mutate(message.SerializeToString(), chance)
        async with gate:
            answer = await ask_bytes(channel, SERVICE + method, data, streaming=method.startswith("Watch"))
        _judge(result, method, data, answer, codes)

    async with grpc.aio.insecure_channel(server.address) as channel:
        await asyncio.gather(*(send(channel) for _ in range(rounds)))
    result.rounds = rounds
    result.note = ", ".join(f"{count} {code}" for code, count in sorted(codes.items(), key=lambda item: -item[1])[:5])
    refused = rounds - codes.get("OK", 0)
    result.expect(refused > rounds // 4, f"only {refused} of them were refused")
    # The control: what must never be answered.
    seen = Result()
    for code, message in (("INTERNAL", "internal error"), ("INVALID_ARGUMENT", "asyncpg.DataError in edge.py")):
        refusal = Refusal(code, message, "", "", {}, {}, [], retries_after=False, details_bytes=0)
        _judge(seen, "the control", b"", Answer(None, refusal, {}), {})
    result.control = f"{len(seen.findings)} findings of two wrong answers"
    result.expect(len(seen.findings) == 2, "the control was taken for right")
    await audit_books(result, traffic.clients[0], dsn, traffic.history.ledger_id)
    async with traffic.running(4):
        await traffic.until_acknowledged(100)
    return result


def _judge(result: Result, method: str, data: bytes, answer: Answer, codes: dict[str, int]) -> None:
    code = answer.refusal.code if answer.refusal else "OK"
    codes[code] = codes.get(code, 0) + 1
    if answer.refusal is None:
        return
    result.expect(code not in ("UNKNOWN", "INTERNAL"), f"{method} of {data.hex()}: {answer.refusal.message}")
    said = [text for text in INTERNALS if text in answer.refusal.message]
    result.expect(not said, f"{method} said {answer.refusal.message}")


def _valid_messages(traffic: Traffic) -> list[tuple[str, Message]]:
    """A message of each method."""
    ledger, one, other = traffic.history.ledger_id, traffic.accounts[0].id, traffic.accounts[1].id
    entries = [
        transactions_pb2.EntryInput(account_id=id_, direction=n + 1, amount="100", metadata={"k": "v"})  # type: ignore[arg-type]
        for n, id_ in enumerate((one, other))
    ]
    create = transactions_pb2.CreateTransactionRequest(
        ledger_id=ledger, request_id=request_id(), description="d", entries=entries, metadata={"a": "b"}
    )
    item = transactions_pb2.TransactionCommand(create=create)
    return [
        ("CreateTransaction", create),
        ("BatchWriteTransactions", transactions_pb2.BatchWriteTransactionsRequest(ledger_id=ledger, commands=[item])),
        ("CreateLedger", ledgers_pb2.CreateLedgerRequest(request_id=request_id(), name="n", metadata={"a": "b"})),
        (
            "CreateAccount",
            accounts_pb2.CreateAccountRequest(
                ledger_id=ledger,
                request_id=request_id(),
                name="n",
                normal_balance=NormalBalance.NORMAL_BALANCE_DEBIT,
                currency="USD",
                external_id="x",
            ),
        ),
        ("GetAccount", accounts_pb2.GetAccountRequest(ledger_id=ledger, account_id=one)),
        ("ListAccounts", accounts_pb2.ListAccountsRequest(ledger_id=ledger, page_size=10)),
        ("ListTransactions", transactions_pb2.ListTransactionsRequest(ledger_id=ledger, page_size=10)),
        ("ListEntries", entries_pb2.ListEntriesRequest(ledger_id=ledger, account_id=one)),
        ("WatchBalances", streams_pb2.WatchBalancesRequest(ledger_id=ledger, account_ids=[one], snapshot=True)),
        ("WatchEvents", streams_pb2.WatchEventsRequest(ledger_id=ledger, after_position=0)),
    ]


def _mutate(data: bytes, chance: random.Random) -> bytes:
    """A few bytes are flipped, dropped, doubled, or put in."""
    mutable = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(mutable)) if mutable else 0
        match chance.randrange(5):
            case 0 if mutable:
                mutable[at] ^= 1 << chance.randrange(8)
            case 1 if mutable:
                del mutable[at : at + chance.randrange(1, 8)]
            case 2:
                mutable[at:at] = mutable[at : at + chance.randrange(1, 16)]
            case 3:
                mutable[at:at] = chance.randbytes(chance.randrange(1, 8))
            case _ if mutable:
                mutable[at] = chance.choice((0x00, 0x7F, 0x80, 0xFF))
    return bytes(mutable)


@row("30", "the table of limits", rounds=1)
async def limits(stage: Stage, rounds: int) -> Result:
    """Each field beyond its limits, one at a time: refused as a malformed request, whatever else it may be."""
    result, (server, traffic, dsn) = Result(), await _served(stage)
    (_, create), *_ = _valid_messages(traffic)
    assert isinstance(create, transactions_pb2.CreateTransactionRequest)
    async with grpc.aio.insecure_channel(server.address, options=[("grpc.max_send_message_length", -1)]) as channel:
        before = await traffic.clients[0].get_ledger(traffic.history.ledger_id)
        for name, change in LIMITS.items():
            request = transactions_pb2.CreateTransactionRequest()
            request.CopyFrom(create)
            request.request_id = request_id()
            change(request)
            answer = await ask_bytes(channel, SERVICE + "CreateTransaction", request.SerializeToString())
            code = answer.refusal.code if answer.refusal else "OK"
            result.rounds += 1
            result.expect(code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"), f"{name}: {code}")
        after = await traffic.clients[0].get_ledger(traffic.history.ledger_id)
        result.expect(after.position == before.position, "something was written")
        answer = await ask_bytes(channel, SERVICE + "CreateTransaction", create.SerializeToString())
        result.control = "within the limits it is accepted" if answer.refusal is None else ""
        result.expect(answer.refusal is None, f"the control was refused: {answer.refusal}")
    await audit_books(result, traffic.clients[0], dsn, traffic.history.ledger_id)
    return result


Change = Callable[[transactions_pb2.CreateTransactionRequest], object]


def _amount(text: str) -> Change:
    return lambda request: setattr(request.entries[0], "amount", text)


LIMITS: dict[str, Change] = {
    **{
        f"amount {text[:20]!r}": _amount(text)
        for text in ("", "-1", "+1", "01", "1.0", "1e3", " 1", "1 ", "٣", "1" * 37, "1" * 1_000_000, "\0", "NaN", "0x1")
    },
    "no request_id": lambda request: request.ClearField("request_id"),
    "request_id of 129": lambda request: setattr(request, "request_id", "x" * 129),
    "request_id with NUL": lambda request: setattr(request, "request_id", "a\0b"),
    "ledger_id of another kind": lambda request: setattr(request, "ledger_id", "books"),
    "no ledger_id": lambda request: request.ClearField("ledger_id"),
    "description of 1,001": lambda request: setattr(request, "description", "x" * 1_001),
    "description with NUL": lambda request: setattr(request, "description", "\0"),
    "external_id of 181": lambda request: setattr(request, "external_id", "x" * 181),
    "status 99": lambda request: setattr(request, "status", 99),
    "status -1": lambda request: setattr(request, "status", -1),
    "direction 0": lambda request: setattr(request.entries[0], "direction", 0),
    "direction 2**31 - 1": lambda request: setattr(request.entries[0], "direction", 2**31 - 1),
    "lock_version -1": lambda request: setattr(request.entries[0], "lock_version", -1),
    "lock_version -2**63": lambda request: setattr(request.entries[0], "lock_version", -(2**63)),
    "no entries": lambda request: request.ClearField("entries"),
    "one entry": lambda request: request.entries.pop(),
    "1,002 entries": lambda request: request.entries.extend(list(request.entries) * 500),
    "10,002 entries": lambda request: request.entries.extend(list(request.entries) * 5_000),
    "51 keys": lambda request: request.metadata.update({str(n): "v" for n in range(51)}),
    "a key of 65": lambda request: request.metadata.update({"k" * 65: "v"}),
    "an empty key": lambda request: request.metadata.update({"": "v"}),
    "a value of 1,025": lambda request: request.metadata.update({"k": "v" * 1_025}),
    "metadata of 1 MiB": lambda request: request.metadata.update({"k": "v" * 2**20}),
    "a message of 5 MiB": lambda request: request.metadata.update({"k": "v" * 5 * 2**20}),
    "the year 10,000": lambda request: setattr(request.effective_at, "seconds", 253_402_300_800),
    "the year 0": lambda request: setattr(request.effective_at, "seconds", -62_135_596_801),
    "nanoseconds of 10**9": lambda request: setattr(request.effective_at, "nanos", 10**9),
    "account_id of another kind": lambda request: setattr(request.entries[0], "account_id", "cash"),
}
