"""Imports with the real client on the real service: one effect, whatever happens to connections and servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import grpc.aio
import pytest

from ledger_client import (
    Acknowledgement,
    Cancelled,
    ExternalId,
    ExternalIdTaken,
    InvalidArgument,
    InvalidField,
    LedgerClient,
    LedgerNotFound,
    RequestIdReused,
    Unavailable,
    commands,
    credit,
    debit,
    error_from_status,
)
from ledger_client.statuses import error_from_rpc
from ledger_client.v1.transactions_pb2 import CreateTransactionRequest, ImportTransactionsRequest, TransactionCommand
from tests.audit import findings
from tests.conftest import Server, new_server
from tests.patience import PATIENCE_SECONDS
from tests.proxy import proxied

LEDGER_OF_NOBODY = "01890000-0000-7000-8000-000000000000"


class Books:
    """A ledger with two accounts, and transfers between them to import."""

    def __init__(self, client: LedgerClient, ledger_id: str, cash: str, revenue: str, position: int) -> None:
        self.client = client
        self.ledger_id = ledger_id
        self.cash = cash
        self.revenue = revenue
        self.position = position
        """Of the ledger before anything is imported."""
        self.asked = 0
        """How many transfers were taken from `transfers`."""

    def transfer(self, n: int, amount: int = 1) -> CreateTransactionRequest:
        return commands.create_transaction(
            [debit(self.cash, amount), credit(self.revenue, amount)], status="posted", external_id=f"x-{n}"
        )

    def transfers(self, count: int) -> Iterator[CreateTransactionRequest]:
        for n in range(count):
            self.asked += 1
            yield self.transfer(n)

    async def stands_at(self, position: int) -> None:
        """Wait until the ledger stands at a position."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    await self.client.get_ledger(self.ledger_id, min_position=position)
                    return
                except Unavailable:
                    continue

    async def have(self, count: int) -> None:
        """Exactly so many transfers were written, once each."""
        ledger = await self.client.get_ledger(self.ledger_id)
        assert ledger.position == self.position + count
        cash = await self.client.get_account(self.ledger_id, self.cash)
        assert (cash.lock_version, cash.balances.posted.debits) == (count, str(count))


async def open_books(client: LedgerClient) -> Books:
    ledger = await client.create_ledger("Import")
    made = await client.batch_create_accounts(
        ledger.id,
        [
            commands.create_account("Cash", normal_balance="debit", currency="USD", external_id="cash"),
            commands.create_account("Revenue", normal_balance="credit", currency="USD", external_id="revenue"),
        ],
    )
    cash, revenue = made.accounts
    return Books(client, ledger.id, cash.id, revenue.id, made.position)


@pytest.fixture
async def books(client: LedgerClient) -> Books:
    return await open_books(client)


# --- what becomes of the commands ---


async def test_an_import_is_written_in_order_and_acknowledged_chunk_by_chunk(books: Books) -> None:
    told: list[Acknowledgement] = []
    summary = await books.client.import_transactions(
        books.ledger_id, books.transfers(2_500), chunk_size=1_000, progress=told.append
    )
    assert (summary.chunk_count, summary.accepted_count, summary.refused_count) == (3, 2_500, 0)
    assert (summary.replayed_count, summary.refusals) == (0, [])
    assert [(a.first_index, a.command_count, a.done_count) for a in told] == [
        (0, 1_000, 1_000),
        (1_000, 1_000, 2_000),
        (2_000, 500, 2_500),
    ]
    assert [a.position - books.position for a in told] == [1_000, 2_000, 2_500]
    assert summary.position == told[-1].position
    assert summary.epoch == (await books.client.get_ledger(books.ledger_id)).epoch
    await books.have(2_500)
    page = await books.client.list_transactions(books.ledger_id, page_size=3)
    assert [transaction.external_id for transaction in page.transactions] == ["x-2499", "x-2498", "x-2497"]


async def test_nothing_to_import_is_no_error(books: Books) -> None:
    summary = await books.client.import_transactions(books.ledger_id, [])
    assert (summary.chunk_count, summary.accepted_count, summary.position) == (0, 0, 0)
    await books.have(0)


async def test_a_refused_command_is_told_with_its_place_in_the_import(books: Books) -> None:
    def with_duplicates() -> Iterator[CreateTransactionRequest]:
        for n in range(1_000):
            yield books.transfer(n - 1 if n in {7, 501, 999} else n)

    told: list[Acknowledgement] = []
    summary = await books.client.import_transactions(
        books.ledger_id, with_duplicates(), chunk_size=250, progress=told.append
    )
    assert (summary.accepted_count, summary.refused_count) == (997, 3)
    assert [refusal.index for refusal in summary.refusals] == [7, 501, 999]
    assert all(isinstance(refusal.error, ExternalIdTaken) for refusal in summary.refusals)
    assert summary.refusals[0].error.metadata["external_id"] == "x-6"
    assert [[refusal.index for refusal in a.refusals] for a in told] == [[7], [], [501], [999]]
    await books.have(997)


async def test_of_many_refusals_all_are_counted_and_the_first_are_told(books: Books) -> None:
    """Of a chunk the first 100 and of all the first 1,000; as acknowledgements they are larger than a window."""
    await books.client.import_transactions(books.ledger_id, [books.transfer(0)])
    told: list[Acknowledgement] = []
    summary = await books.client.import_transactions(
        books.ledger_id, (books.transfer(0) for _ in range(6_000)), chunk_size=500, progress=told.append
    )
    assert (summary.accepted_count, summary.refused_count) == (0, 6_000)
    assert [len(a.refusals) for a in told] == [100] * 12
    assert len(summary.refusals) == 1_000
    assert summary.refusals[999].index == 9 * 500 + 99


async def test_what_does_not_balance_is_refused_by_itself_as_in_a_batch(books: Books) -> None:
    euros = await books.client.create_account(books.ledger_id, "Euros", normal_balance="credit", currency="EUR")
    differing = [debit(books.cash, 1), credit(books.revenue, 2)]
    writes: list[commands.TransactionWrite] = [
        commands.create_transaction(differing),
        commands.create_transaction([debit(books.cash, 1), credit(euros, 1)]),
        commands.create_transaction([debit(books.cash, 0), debit(books.cash, 0)]),
        commands.create_transaction([debit(ExternalId("nobody"), 1), credit(books.revenue, 2)]),
        books.transfer(0),
        commands.update_transaction(ExternalId("x-0"), entries=differing),
        commands.post_transaction(ExternalId("x-0"), entries=differing),
    ]
    batch = await books.client.batch_write_transactions(books.ledger_id, writes, atomic=False)
    refused = {n: result.error for n, result in enumerate(batch.results) if result.HasField("error")}
    assert list(refused) == [0, 1, 2, 3, 5, 6]
    assert {error_from_status(error).reason for error in refused.values()} == {"UNBALANCED"}
    writes[4] = books.transfer(1)
    for is_repeated in (False, True):
        summary = await books.client.import_transactions(books.ledger_id, writes, import_id="i")
        assert (summary.accepted_count, summary.refused_count) == (1, 6)
        assert summary.replayed_count == (7 if is_repeated else 0)
        told = {refusal.index: (str(refusal.error), refusal.error.metadata) for refusal in summary.refusals}
        alone = {n: error_from_status(error) for n, error in refused.items()}
        assert told == {n: (str(error), error.metadata) for n, error in alone.items()}


async def test_chunks_of_another_ledger_end_the_import(books: Books) -> None:
    other = await open_books(books.client)

    def chunk(of: Books, request_id: str) -> ImportTransactionsRequest:
        command = TransactionCommand(create=of.transfer(0))
        return ImportTransactionsRequest(ledger_id=of.ledger_id, request_id=request_id, commands=[command])

    same = chunk(books, "b")
    same.ledger_id = same.ledger_id.upper()
    call: Any = books.client.stub.ImportTransactions(
        iter([chunk(books, "a"), same, chunk(other, "c"), chunk(books, "d")]), timeout=PATIENCE_SECONDS
    )
    for acknowledged in (("a", 1, 0), ("b", 0, 1)):
        answer = await call.read()
        assert (answer.request_id, answer.accepted_count, answer.refused_count) == acknowledged
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    error = error_from_rpc(caught.value)
    assert isinstance(error, InvalidField)
    assert error.metadata["field"] == "ledger_id"
    await books.have(1)
    await other.have(0)


async def test_a_malformed_command_ends_the_import_and_can_be_corrected(books: Books) -> None:
    def lines(external_id: str) -> Iterator[CreateTransactionRequest]:
        for n in range(900):
            yield books.transfer(n)
        entries = [debit(books.cash, 1), credit(books.revenue, 1)]
        yield commands.create_transaction(entries, status="posted", external_id=external_id)
        for n in range(900, 1_200):
            yield books.transfer(n)

    with pytest.raises(InvalidField) as caught:
        await books.client.import_transactions(books.ledger_id, lines("x" * 181), chunk_size=200, import_id="opening")
    assert caught.value.metadata["command_index"] == "900"
    assert caught.value.__notes__ == [
        "command 900 of the import",
        "800 commands were done; to go on, repeat the import with import_id='opening'",
    ]
    await books.have(800)
    summary = await books.client.import_transactions(books.ledger_id, lines("x"), chunk_size=200, import_id="opening")
    assert (summary.accepted_count, summary.replayed_count) == (1_201, 800)
    await books.have(1_201)


async def test_what_the_input_raises_comes_after_what_it_gave(books: Books) -> None:
    def breaking() -> Iterator[CreateTransactionRequest]:
        yield from books.transfers(1_050)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await books.client.import_transactions(books.ledger_id, breaking(), chunk_size=100)
    assert caught.value.__notes__[0].startswith("1000 commands were done")
    await books.have(1_000)


async def test_no_more_is_read_than_may_be_on_its_way(books: Books) -> None:
    ahead: list[int] = []

    def look(acknowledgement: Acknowledgement) -> None:
        ahead.append(books.asked - acknowledgement.first_index)

    await books.client.import_transactions(
        books.ledger_id, books.transfers(3_000), chunk_size=100, in_flight=2, progress=look
    )
    # Two on their way and one that is full and waits.
    assert max(ahead) <= 300


async def test_what_progress_raises_ends_the_import(books: Books) -> None:
    with pytest.raises(ZeroDivisionError):
        await books.client.import_transactions(
            books.ledger_id, books.transfers(500), chunk_size=100, progress=lambda _: 1 / 0
        )


# --- again ---


async def test_a_repeated_import_has_one_effect_and_equal_answers(books: Books, server: Server) -> None:
    told: list[Acknowledgement] = []
    for _ in range(2):
        summary = await books.client.import_transactions(
            books.ledger_id, books.transfers(300), import_id="i", chunk_size=100, progress=told.append
        )
    assert (summary.accepted_count, summary.replayed_count) == (300, 300)
    assert [a.position for a in told[:3]] == [a.position for a in told[3:]]
    assert [a.replayed for a in told] == [False] * 3 + [True] * 3
    await books.have(300)
    assert await findings(server.dsn, books.ledger_id) == []


@pytest.mark.parametrize(("first", "chunk_size"), [(1, 100), (0, 99)], ids=["another input", "another chunk size"])
async def test_another_import_under_the_same_id_is_refused(books: Books, first: int, chunk_size: int) -> None:
    await books.client.import_transactions(books.ledger_id, books.transfers(300), import_id="i", chunk_size=100)
    other = [books.transfer(n) for n in range(first, 300)]
    with pytest.raises(RequestIdReused):
        await books.client.import_transactions(books.ledger_id, other, import_id="i", chunk_size=chunk_size)
    await books.have(300)


async def test_an_import_that_was_cancelled_goes_on_where_it_was(books: Books) -> None:
    told: asyncio.Queue[Acknowledgement] = asyncio.Queue()

    async def attempt() -> None:
        await books.client.import_transactions(
            books.ledger_id, books.transfers(5_000), import_id="i", chunk_size=250, progress=told.put_nowait
        )

    running = asyncio.create_task(attempt())
    for _ in range(5):
        await told.get()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    summary = await books.client.import_transactions(
        books.ledger_id, books.transfers(5_000), import_id="i", chunk_size=250
    )
    assert summary.accepted_count == 5_000
    assert 1_250 <= summary.replayed_count < 5_000
    await books.have(5_000)


# --- connections and servers that go away ---


async def test_twenty_thousand_survive_lost_connections_and_lost_acknowledgements(books: Books, server: Server) -> None:
    """In the middle the server's answers get lost while it goes on writing, then the connection does."""
    async with proxied(server.address) as link, LedgerClient(link.address) as client:
        lost = asyncio.Queue[int]()

        def interfere(acknowledgement: Acknowledgement) -> None:
            number = acknowledgement.first_index // 500
            if number in {3, 20}:
                link.cut()
            elif number in {8, 30}:
                link.loses_answers = True
                lost.put_nowait(acknowledgement.position)

        importing = asyncio.create_task(
            client.import_transactions(
                books.ledger_id, books.transfers(20_000), chunk_size=500, in_flight=4, progress=interfere
            )
        )
        for _ in range(2):
            position = await lost.get()
            # The fourth chunk from here was sent only after this acknowledgement, so its own is lost for sure.
            await books.stands_at(position + 4 * 500)
            link.cut()
        summary = await importing
        assert link.cut_count == 4
    assert (summary.accepted_count, summary.refused_count, summary.chunk_count) == (20_000, 0, 40)
    assert summary.replayed_count >= 2 * 500
    assert books.asked == 20_000
    await books.have(20_000)


async def test_an_import_moves_to_another_server(database: str) -> None:
    async with AsyncExitStack() as stack:
        first = AsyncExitStack()
        leaving = await first.enter_async_context(new_server(database))
        staying = await stack.enter_async_context(new_server(database))
        direct = await stack.enter_async_context(LedgerClient(staying.address))
        books = await open_books(direct)
        link = await stack.enter_async_context(proxied(leaving.address))
        client = await stack.enter_async_context(LedgerClient(link.address))
        draining: list[asyncio.Task[None]] = []

        def stop_the_first(acknowledgement: Acknowledgement) -> None:
            if acknowledgement.first_index == 1_000:
                link.upstream = staying.address
                draining.append(asyncio.create_task(first.aclose()))

        summary = await client.import_transactions(
            books.ledger_id, books.transfers(5_000), chunk_size=200, progress=stop_the_first
        )
        await draining[0]
        assert summary.accepted_count == 5_000
        await books.have(5_000)
        assert await findings(database, books.ledger_id) == []


async def test_a_slow_input_is_not_torn_by_a_lost_connection(books: Books, server: Server) -> None:
    async with proxied(server.address) as link, LedgerClient(link.address) as client:
        acknowledged = asyncio.Event()

        async def slow() -> AsyncIterator[CreateTransactionRequest]:
            for n in range(100):
                yield books.transfer(n)
            await acknowledged.wait()
            link.cut()
            await client.channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
            for n in range(100, 250):
                yield books.transfer(n)

        summary = await client.import_transactions(
            books.ledger_id, slow(), chunk_size=100, progress=lambda _: acknowledged.set()
        )
    assert (summary.accepted_count, summary.replayed_count) == (250, 0)
    await books.have(250)


async def test_a_service_that_stays_away_is_given_up(books: Books) -> None:
    async with proxied("127.0.0.1:1") as link, LedgerClient(link.address) as client:
        with pytest.raises(Unavailable) as caught:
            await client.import_transactions(
                books.ledger_id, books.transfers(10), import_id="mine", reconnect_timeout=0.3
            )
    assert caught.value.__notes__ == ["0 commands were done; to go on, repeat the import with import_id='mine'"]
    await books.have(0)


async def test_closing_the_client_ends_its_import(books: Books, server: Server) -> None:
    client = LedgerClient(server.address)
    acknowledged = asyncio.Event()

    async def endless() -> AsyncIterator[CreateTransactionRequest]:
        yield books.transfer(0)
        await asyncio.Event().wait()

    importing = asyncio.create_task(
        client.import_transactions(books.ledger_id, endless(), chunk_size=1, progress=lambda _: acknowledged.set())
    )
    await acknowledged.wait()
    await client.close()
    with pytest.raises(Cancelled, match="the client was closed"):
        await importing


# --- refusals of the whole ---


async def test_an_import_needs_its_ledger(books: Books) -> None:
    with pytest.raises(LedgerNotFound):
        await books.client.import_transactions(LEDGER_OF_NOBODY, books.transfers(10))


async def test_commands_of_an_import_have_no_request_ids(books: Books) -> None:
    own = commands.create_transaction([debit(books.cash, 1), credit(books.revenue, 1)], request_id="own")
    with pytest.raises(InvalidArgument, match="request_id") as caught:
        await books.client.import_transactions(books.ledger_id, [books.transfer(0), own])
    assert caught.value.metadata["command_index"] == "1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_size": 0}, "chunk_size is 1"),
        ({"chunk_size": 10_001}, "chunk_size is 1"),
        ({"in_flight": 0}, "in_flight is 1"),
        ({"import_id": ""}, "characters"),
        ({"import_id": "x" * 101}, "characters"),
    ],
)
async def test_options_out_of_range_are_refused_before_anything_is_sent(
    books: Books, options: dict[str, int | str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await books.client.import_transactions(books.ledger_id, books.transfers(1), **options)  # type: ignore[arg-type]
    assert books.asked == 0
