"""Automatic batches: what travels together, and that nobody can tell by the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from ledger_client import (
    Aborted,
    AccountNotFound,
    Cancelled,
    ConditionFailed,
    DatabaseUnavailable,
    DeadlineExceeded,
    InvalidField,
    Ledger,
    LedgerClient,
    LedgerError,
    LedgerNotFound,
    Outcome,
    RequestIdReused,
    ResourceExhausted,
    Transaction,
    Unavailable,
    Unbalanced,
    Unknown,
    condition,
    credit,
    debit,
    new_request_id,
)
from ledger_client.v1.transactions_pb2 import BatchWriteTransactionsRequest, CreateTransactionRequest, EntryInput
from ledger_server.posting import worker
from ledger_server.storage.embedded import EmbeddedPostgres
from tests.conftest import Server, new_server
from tests.patience import PATIENCE_SECONDS
from tests.service.scripted_server import Script, serving

NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"
NO_RETRIES = {"grpc.enable_retries": 0}


class Held:
    """A client whose calls wait at the server until they are let go."""

    def __init__(self, script: Script, client: LedgerClient) -> None:
        self.script = script
        self.client = client
        assert script.held is not None
        self.let_go = script.held.set

    async def received(self, count: int) -> None:
        while len(self.script.received) < count:
            await asyncio.sleep(0)

    def call(self, request_id: str, timeout: float | None = None, ledger_id: str = "l-1") -> asyncio.Task[Transaction]:
        return asyncio.create_task(
            self.client.create_transaction(ledger_id, [debit("a-1", 5)], request_id=request_id, timeout=timeout)
        )

    @property
    def batches(self) -> list[list[str]]:
        """The request_ids of what was received, call by call."""
        return [_request_ids(request) for request in self.script.received]


def _request_ids(request: object) -> list[str]:
    if isinstance(request, BatchWriteTransactionsRequest):
        return [command.create.request_id for command in request.commands]
    assert isinstance(request, CreateTransactionRequest)
    return [request.request_id]


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    script = Script(held=asyncio.Event())
    async with serving(script) as address, LedgerClient(address, options=NO_RETRIES) as client:
        yield Held(script, client)


@pytest.fixture
async def repeating() -> AsyncIterator[Held]:
    """The same with a client that repeats."""
    script = Script(held=asyncio.Event())
    async with serving(script) as address, LedgerClient(address) as client:
        yield Held(script, client)


async def test_a_lone_write_is_a_call_of_its_own(held: Held) -> None:
    held.let_go()
    for n in range(3):
        assert (await held.call(f"r-{n}")).id == f"r-{n}"
    assert [type(request) for request in held.script.received] == [CreateTransactionRequest] * 3


async def test_what_is_called_while_a_call_is_on_its_way_travels_together(held: Held) -> None:
    tasks = [held.call(f"r-{n}") for n in range(10)]
    await held.received(2)
    tasks += [held.call(f"r-{n}") for n in range(10, 20)]
    await asyncio.sleep(0)
    held.let_go()
    assert [(await task).id for task in tasks] == [f"r-{n}" for n in range(20)]
    ids = [f"r-{n}" for n in range(20)]
    assert sorted(held.batches[:2], key=len) == [ids[:1], ids[1:10]]
    assert held.batches[2:] == [ids[10:]]


async def test_no_more_than_the_service_answers_whole_go_in_one_batch(held: Held) -> None:
    tasks = [held.call(f"r-{n}") for n in range(3_000)]
    await held.received(4)
    assert sorted(len(ids) for ids in held.batches) == [1, 500, 500, 500]
    held.let_go()
    assert [(await task).id for task in tasks] == [f"r-{n}" for n in range(3_000)]
    assert max(len(ids) for ids in held.batches) == 500


async def test_ledgers_and_actors_do_not_share_calls(held: Held) -> None:
    other = Held(held.script, held.client.with_options(actor="other"))
    tasks = [
        *(held.call(f"first-{n}") for n in range(3)),
        *(held.call(f"second-{n}", ledger_id="l-2") for n in range(3)),
        *(other.call(f"other-{n}") for n in range(3)),
    ]
    held.let_go()
    await asyncio.gather(*tasks)
    assert sorted(held.batches) == sorted(
        batch for name in ("first", "second", "other") for batch in ([f"{name}-0"], [f"{name}-1", f"{name}-2"])
    )
    actors = {ids[0]: metadata.get("x-actor") for ids, metadata in zip(held.batches, held.script.metadata, strict=True)}
    assert actors["other-1"] == "other"
    assert actors["first-1"] is None


async def test_a_client_can_be_told_to_call_one_by_one() -> None:
    script = Script()
    async with serving(script) as address, LedgerClient(address, auto_batch=False) as client:
        await asyncio.gather(*(client.create_transaction("l-1", [debit("a-1", 5)]) for _ in range(10)))
    assert [type(request) for request in script.received] == [CreateTransactionRequest] * 10


async def test_who_leaves_the_line_is_not_sent(held: Held) -> None:
    tasks = [held.call(f"r-{n}") for n in range(3)]
    await held.received(2)
    leaving, staying = held.call("leaving"), held.call("staying")
    await asyncio.sleep(0)
    leaving.cancel()
    held.let_go()
    assert (await staying).id == "staying"
    await asyncio.gather(*tasks)
    assert held.batches[2:] == [["staying"]]
    assert leaving.cancelled()


async def test_each_write_in_a_batch_has_its_own_deadline(held: Held) -> None:
    first, patient, hasty = held.call("first"), held.call("patient"), held.call("hasty", timeout=0.05)
    with pytest.raises(DeadlineExceeded):
        await hasty
    await held.received(2)
    held.let_go()
    assert (await first).id == "first"
    assert (await patient).id == "patient"


async def test_deadlines_pass_each_at_its_time_whatever_the_order_of_the_calls(held: Held) -> None:
    first = held.call("first", timeout=3_600)
    await held.received(1)
    waited = dict[float, float]()

    async def hasty(call: asyncio.Task[Transaction], seconds: float) -> None:
        with pytest.raises(DeadlineExceeded):
            await call
        waited[seconds] = time.monotonic() - began

    # They travel with one that has an hour. A timer that stays with his deadline, or ends with the first that passed,
    # lets somebody wait as long.
    began = time.monotonic()
    patient = held.call("patient", timeout=3_600)
    calls = {seconds: held.call(f"within {seconds} s", timeout=seconds) for seconds in (0.2, 0.6, 0.1, 0.4)}
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        for seconds, call in calls.items():
            group.create_task(hasty(call, seconds))
    assert sorted(waited) == [0.1, 0.2, 0.4, 0.6]
    assert all(elapsed >= seconds for seconds, elapsed in waited.items())
    await held.received(2)
    assert len(held.batches) == 2
    held.let_go()
    assert [(await task).id for task in (first, patient)] == ["first", "patient"]


async def test_when_a_batch_fails_each_of_its_callers_is_told(held: Held) -> None:
    held.script.unary = [grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE]
    tasks = [held.call("r-0")]
    await held.received(1)
    tasks += [held.call(f"r-{n}") for n in range(1, 4)]
    held.let_go()
    first, *others = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, Transaction)
    assert [type(error) for error in others] == [Unavailable] * 3
    assert len({id(error) for error in others}) == 3
    assert (await held.call("again")).id == "again"


async def test_what_a_batch_could_not_write_is_repeated_in_order_with_the_same_request_ids(repeating: Held) -> None:
    refusals = {"r-1": grpc.StatusCode.UNAVAILABLE, "r-2": grpc.StatusCode.ABORTED, "r-4": grpc.StatusCode.UNAVAILABLE}
    repeating.script.refusals = [{id_: _status(code) for id_, code in refusals.items()}]
    tasks = [repeating.call(f"r-{n}") for n in range(5)]
    repeating.let_go()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(ended.pop(2), Aborted), "contention is the caller's to repeat"
    assert [transaction.id for transaction in ended if isinstance(transaction, Transaction)] == [
        "r-0",
        "r-1",
        "r-3",
        "r-4",
    ]
    assert repeating.batches[2:] == [["r-1", "r-4"]]


async def test_five_attempts_are_the_most_for_a_write_in_a_batch(repeating: Held) -> None:
    repeating.script.refusals = [{"r-1": _status(grpc.StatusCode.UNAVAILABLE)}] * 9
    began = time.monotonic()
    first, other = repeating.call("r-0"), repeating.call("r-1")
    repeating.let_go()
    assert (await first).id == "r-0"
    with pytest.raises(Unavailable, match="as the script says"):
        await other
    assert sorted(repeating.batches) == [["r-0"], *[["r-1"]] * 5]
    assert time.monotonic() - began > 0.1 + 0.3 + 0.9 + 2.7


async def test_a_client_that_does_not_repeat_calls_does_not_repeat_what_is_in_a_batch_either(held: Held) -> None:
    held.script.refusals = [{"r-1": _status(grpc.StatusCode.UNAVAILABLE)}]
    first, other = held.call("r-0"), held.call("r-1")
    held.let_go()
    assert (await first).id == "r-0"
    with pytest.raises(Unavailable):
        await other


async def test_a_write_that_waits_to_be_repeated_holds_up_no_other_and_keeps_its_deadline(repeating: Held) -> None:
    repeating.script.refusals = [{"r-1": _status(grpc.StatusCode.UNAVAILABLE, retry_seconds=60)}]
    tasks = [repeating.call(f"r-{n}", timeout=0.5) for n in range(3)]
    repeating.let_go()
    assert (await tasks[2]).id == "r-2"
    assert (await repeating.call("later")).id == "later"
    assert not tasks[1].done()
    with pytest.raises(DeadlineExceeded):
        await tasks[1]
    assert repeating.batches[2:] == [["later"]]


async def test_closing_the_client_ends_what_waits_to_be_repeated(repeating: Held) -> None:
    repeating.script.refusals = [{"r-1": _status(grpc.StatusCode.UNAVAILABLE, retry_seconds=60)}]
    tasks = [repeating.call(f"r-{n}", timeout=60) for n in range(3)]
    repeating.let_go()
    await tasks[2]
    await repeating.client.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(Cancelled):
            await tasks[1]


@pytest.mark.parametrize("leaves", ["its deadline passes", "it is cancelled"])
async def test_what_nobody_waits_for_any_more_is_not_repeated(repeating: Held, leaves: str) -> None:
    repeating.script.refusals = [{f"r-{n}": _status(grpc.StatusCode.UNAVAILABLE, retry_seconds=1) for n in (1, 2)}]
    first, leaving = repeating.call("r-0"), repeating.call("r-1", timeout=0.5)
    staying, told = repeating.call("r-2"), repeating.call("r-3")
    repeating.let_go()
    await asyncio.gather(first, told)
    if leaves == "it is cancelled":
        leaving.cancel()
    assert (await staying).id == "r-2"
    assert leaving.done()
    assert repeating.batches[2:] == [["r-2"]]


async def test_a_write_that_waits_to_be_repeated_depends_on_no_task_that_could_be_cancelled(repeating: Held) -> None:
    repeating.script.refusals = [{"r-1": _status(grpc.StatusCode.UNAVAILABLE)}]
    tasks = [repeating.call(f"r-{n}") for n in range(3)]
    repeating.let_go()
    assert (await tasks[2]).id == "r-2"
    _cancel_batches()
    assert (await tasks[1]).id == "r-1"


@pytest.mark.parametrize("is_begun", [True, False], ids=["on its way", "not begun"])
async def test_when_the_task_of_a_batch_is_cancelled_its_callers_are_told(held: Held, is_begun: bool) -> None:
    tasks = [held.call(f"r-{n}", timeout=60) for n in range(3)]
    if is_begun:
        await held.received(2)
    else:
        while not _cancel_batches():
            await asyncio.sleep(0)
    _cancel_batches()
    held.let_go()
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await tasks[0]).id == "r-0"
        errors = await asyncio.gather(*tasks[1:], return_exceptions=True)
        assert [type(error) for error in errors] == [Cancelled] * 2
        assert (await held.call("later")).id == "later"
    batches = held.client._batches
    assert batches is not None
    assert not batches._lines


async def test_when_a_batch_is_answered_in_part_only_each_of_its_callers_is_told(held: Held) -> None:
    held.script.results_max = 1
    tasks = [held.call(f"r-{n}", timeout=60) for n in range(4)]
    held.let_go()
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert [(await task).id for task in tasks[:2]] == ["r-0", "r-1"]
        errors = await asyncio.gather(*tasks[2:], return_exceptions=True)
    assert [type(error) for error in errors] == [Unknown] * 2
    assert errors[0] is not errors[1]


async def test_closing_the_client_ends_what_travels_and_what_waits(held: Held) -> None:
    tasks = [held.call(f"r-{n}") for n in range(3)]
    await held.received(2)
    tasks += [held.call("waiting")]
    await asyncio.sleep(0)
    await held.client.close()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(error, LedgerError) for error in errors), errors
    assert isinstance(errors[0], Cancelled)
    assert isinstance(errors[1], Cancelled)


async def test_many_lines_come_and_go_without_being_kept(held: Held) -> None:
    held.let_go()
    await asyncio.gather(*(held.call(f"r-{n}", ledger_id=f"l-{n % 50}") for n in range(500)))
    batches = held.client._batches
    assert batches is not None
    assert not batches._lines


async def test_lines_whose_callers_left_are_not_kept(held: Held) -> None:
    tasks = [held.call(f"r-{n}", ledger_id=f"l-{n % 2}") for n in range(4)]
    await held.received(4)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    held.let_go()
    batches = held.client._batches
    assert batches is not None
    assert not batches._lines


async def test_while_the_database_is_away_writes_in_batches_are_repeated_as_calls_of_their_own_are(
    postgres: EmbeddedPostgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "AWAY_SECONDS", 0.1)
    async with (
        new_server(database) as server,
        LedgerClient(server.address) as client,
        LedgerClient(server.address, options=NO_RETRIES) as witness,
    ):
        books, lines = await _books(client)
        before = (await client.get_ledger(books.id)).position
        async with _away(postgres, database):
            tasks = [
                asyncio.create_task(client.create_transaction(books.id, lines, status="posted", request_id=f"r-{n}"))
                for n in range(16)
            ]
            # The first to be told is in a batch with some of them at least, and from then on all are told at once.
            for _ in range(20):
                with pytest.raises(DatabaseUnavailable):
                    await witness.create_transaction(books.id, lines)
        positions = [transaction.position for transaction in await asyncio.gather(*tasks)]
        assert sorted(positions) == list(range(before + 1, before + 17)), "each has one effect"


async def test_answers_that_are_too_large_together_are_asked_for_in_parts(client: LedgerClient, server: Server) -> None:
    """What was written is answered, also when it is asked for again; only what is too large by itself is not."""
    books, lines = await _books(client)
    texts = {f"k{n}": "x" * 1_000 for n in range(10)}
    ids = [(await client.create_transaction(books.id, lines, metadata=texts)).id for _ in range(12)]
    ids += [(await client.create_transaction(books.id, lines * 200)).id]
    before = (await client.get_ledger(books.id)).position
    async with LedgerClient(server.address, options={"grpc.max_receive_message_length": 40_000}) as together:
        for is_repeat in (False, True):
            outcomes = [Outcome() for _ in ids]
            *posted, too_large = await asyncio.gather(
                *(
                    together.post_transaction(books.id, id_, request_id=f"post-{id_}", outcome=outcome)
                    for id_, outcome in zip(ids, outcomes, strict=True)
                ),
                return_exceptions=True,
            )
            assert [transaction.id for transaction in posted if isinstance(transaction, Transaction)] == ids[:-1]
            assert isinstance(too_large, ResourceExhausted)
            assert all(outcome.replayed for outcome in outcomes[:-1]) or not is_repeat
    assert (await client.get_ledger(books.id)).position == before + len(ids), "each was posted once"


async def test_answers_and_refusals_are_those_of_single_calls(
    server: Server, client: LedgerClient, ledger: Ledger
) -> None:
    """The same calls, together and one by one, on two ledgers alike."""

    async def outcomes(caller: LedgerClient) -> list[tuple[object, ...]]:
        books = await client.create_ledger("Alike")
        cash = await client.create_account(books.id, "Cash", normal_balance="debit", currency="USD")
        income = await client.create_account(books.id, "Income", normal_balance="credit", currency="USD")
        lines = [debit(cash, 5), credit(income, 5)]
        rich = [debit(cash, 5, conditions=[condition("posted", ">=", 1_000)]), credit(income, 5)]
        told = Outcome()
        first = caller.create_transaction(books.id, lines, status="posted", request_id="r-0", external_id="x-0")
        ended: list[object] = [await first]
        calls = [
            caller.create_transaction(books.id, lines),
            caller.create_transaction(books.id, lines, status="posted", request_id="r-1", metadata={"order": "17"}),
            caller.create_transaction(books.id, [debit(cash, 5), credit(income, 4)]),
            caller.create_transaction(books.id, [debit(NOBODY, 5), credit(income, 5)]),
            caller.create_transaction(books.id, rich),
            caller.create_transaction(books.id, lines, external_id="x" * 181),
            caller.create_transaction(books.id, lines, status="posted", request_id="r-0", external_id="x-1"),
            caller.create_transaction(books.id, lines, request_id="r" * 129),
            caller.create_transaction(NOBODY, lines),
            caller.create_transaction(books.id, lines, validate_only=True, request_id=new_request_id()),
            caller.create_transaction(
                books.id, lines, status="posted", request_id="r-1", metadata={"order": "17"}, outcome=told
            ),
        ]
        ended += await asyncio.gather(*calls, return_exceptions=True)
        assert told.replayed
        assert told.metadata == {"replayed": "true"}
        return [_particulars(answer) for answer in ended]

    async with LedgerClient(server.address) as together:
        batched = await outcomes(together)
    single = await outcomes(client)
    assert batched == single
    assert [particulars[0] for particulars in single] == [
        *(Transaction, Transaction, Transaction, Unbalanced, AccountNotFound, ConditionFailed, InvalidField),
        *(RequestIdReused, InvalidField, LedgerNotFound, Transaction, Transaction),
    ]


async def _books(client: LedgerClient) -> tuple[Ledger, list[EntryInput]]:
    """A ledger with two accounts, and entries on them."""
    books = await client.create_ledger("Books")
    cash = await client.create_account(books.id, "Cash", normal_balance="debit", currency="USD")
    income = await client.create_account(books.id, "Income", normal_balance="credit", currency="USD")
    return books, [debit(cash, 5), credit(income, 5)]


@asynccontextmanager
async def _away(postgres: EmbeddedPostgres, dsn: str) -> AsyncIterator[None]:
    """Nobody gets to the database."""
    name = urlsplit(dsn).path.removeprefix("/")
    connection = await asyncpg.connect(postgres.dsn("postgres"))
    try:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await connection.close()


def _cancel_batches() -> int:
    """Cancels what clients write batches with, as who ends all tasks does; how many there were."""
    coroutines = {task: getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()}
    return sum(task.cancel() for task, name in coroutines.items() if name.startswith("Line."))


def _status(code: grpc.StatusCode, retry_seconds: int | None = None) -> status_pb2.Status:
    status = status_pb2.Status(code=code.value[0], message="as the script says")
    if retry_seconds is not None:
        detail = Any()
        detail.Pack(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=retry_seconds)))
        status.details.append(detail)
    return status


def _particulars(answer: object) -> tuple[object, ...]:
    """What is equal of answers on ledgers alike: all but ids, times and positions, which the order of calls decides."""
    if isinstance(answer, LedgerError):
        fields = [(violation.subject.partition("/")[0], violation.rule) for violation in answer.violations]
        return (type(answer), answer.code, answer.reason, sorted(answer.metadata), fields)
    assert isinstance(answer, Transaction)
    entries = [(entry.direction, entry.amount, entry.status, entry.currency) for entry in answer.entries]
    assert all(entry.resulting_balances.posted.currency == "USD" for entry in answer.entries)
    assert answer.epoch
    assert answer.ledger_id
    return (Transaction, answer.version, answer.status, answer.external_id, dict(answer.metadata), entries)
