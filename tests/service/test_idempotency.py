"""A request_id has one effect: repeating a call answers as the first time, whatever happened since."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import asyncpg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ledger_client import ExternalId, LedgerClient, LedgerNotFound, credit, debit, monitor_condition
from ledger_client.v1 import accounts_pb2, balances_pb2, entries_pb2, ledger_service_pb2, ledgers_pb2, transactions_pb2
from ledger_client.v1.ledger_service_pb2_grpc import LedgerServiceStub
from ledger_server.posting import worker
from ledger_server.storage.epochs import renew_epochs
from tests.conftest import Server, new_server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.service.raw import Answer, ask, ask_bytes, channel_to, connected, refusal_from, request_id, rows_of
from tests.service.refusing import CREDIT, DEBIT, POSTED, Batch, Books, Condition, Create, Line, command, new_books

AVAILABLE = balances_pb2.BALANCE_KIND_AVAILABLE
GTE, EQ = balances_pb2.OPERATOR_GTE, balances_pb2.OPERATOR_EQ
CALLERS = 32
REPEATED = 150


@pytest.fixture
async def books(client: LedgerClient) -> Books:
    return await new_books(client)


@pytest.fixture(scope="module")
async def stub(server: Server) -> AsyncIterator[LedgerServiceStub]:
    async with channel_to(server.address) as channel:
        yield LedgerServiceStub(channel)


@pytest.fixture(scope="module")
async def tables(server: Server) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(server.dsn)
    yield connection
    await connection.close()


# Every write, and what happens to its object before the call is repeated.

Since = Callable[[LedgerClient, Books, Any], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Write:
    sentence: str
    method: str
    request: Callable[[Books], Message]
    since: Since


async def ledger_is_renamed(client: LedgerClient, books: Books, ledger: Any) -> None:
    await client.update_ledger(ledger.id, name="Since", metadata={"since": "yes"})


async def external_id_is_taken_again(client: LedgerClient, books: Books, account: Any) -> None:
    await client.create_account(
        books.ledger_id, "Since", normal_balance="debit", currency="EUR", external_id=account.external_id or "since"
    )


async def ledger_is_gone(client: LedgerClient, books: Books, ledger: Any) -> None:
    with pytest.raises(LedgerNotFound):
        await client.get_ledger(ledger.id)


async def entry_is_edited_again(client: LedgerClient, books: Books, entry: Any) -> None:
    await client.update_entry(books.ledger_id, entry.id, metadata={"since": "yes"})


async def account_moves_and_is_renamed(client: LedgerClient, books: Books, account: Any) -> None:
    await client.update_account(books.ledger_id, account, name="Since", external_id="since", metadata={})
    await client.create_transaction(books.ledger_id, [debit(account, 1), credit(books.revenue, 1)], status="posted")


async def accounts_move_and_are_renamed(client: LedgerClient, books: Books, response: Any) -> None:
    await account_moves_and_is_renamed(client, books, response.accounts[1])


async def transaction_is_replaced_and_posted(client: LedgerClient, books: Books, transaction: Any) -> None:
    await client.update_transaction(
        books.ledger_id,
        transaction,
        entries=[debit(books.revenue, 3), credit(books.cash, 3)],
        description="since",
        external_id="since",
        metadata={"since": "yes"},
    )
    await client.post_transaction(books.ledger_id, transaction)
    await account_moves_and_is_renamed(client, books, await client.get_account(books.ledger_id, books.cash))


async def transaction_is_archived(client: LedgerClient, books: Books, transaction: Any) -> None:
    await client.archive_transaction(books.ledger_id, transaction, metadata={"since": "yes"})


async def final_transaction_gets_metadata(client: LedgerClient, books: Books, transaction: Any) -> None:
    await client.update_transaction(books.ledger_id, transaction, metadata={"since": "yes"})
    await account_moves_and_is_renamed(client, books, await client.get_account(books.ledger_id, books.cash))


async def monitor_is_changed_and_triggered(client: LedgerClient, books: Books, monitor: Any) -> None:
    await client.update_balance_monitor(
        books.ledger_id, monitor, condition=monitor_condition("lock_version", ">=", 0), metadata={"since": "yes"}
    )
    await account_moves_and_is_renamed(client, books, await client.get_account(books.ledger_id, books.cash))


async def its_account_moves(client: LedgerClient, books: Books, _: Any) -> None:
    await account_moves_and_is_renamed(client, books, await client.get_account(books.ledger_id, books.cash))


async def category_is_renamed(client: LedgerClient, books: Books, category: Any) -> None:
    await client.update_category(books.ledger_id, category.id, name="Since", external_id="since", metadata={})


async def member_leaves(client: LedgerClient, books: Books, category: Any) -> None:
    await client.remove_category_member(books.ledger_id, category.id, account=books.revenue)


async def cash_moves(client: LedgerClient, books: Books, _: Any) -> None:
    await account_moves_and_is_renamed(client, books, await client.get_account(books.ledger_id, books.cash))


async def nothing_happens(client: LedgerClient, books: Books, _: Any) -> None:
    """There is nothing left that it could happen to."""


async def batch_is_followed_by_others(client: LedgerClient, books: Books, response: Any) -> None:
    for result in response.results:
        await client.update_transaction(books.ledger_id, result.transaction.id, metadata={"since": "yes"})
    await client.archive_transaction(books.ledger_id, response.results[0].transaction.id)


def full_create(b: Books) -> Create:
    """With something in every field."""
    entries = [
        b.line(b.cash, DEBIT, metadata={"z": "1", "a": "2"}, lock_version=7),
        Line(account_external_id="held", direction=CREDIT, amount="2"),
        b.line(b.revenue, CREDIT, "3", conditions=[Condition(balance=AVAILABLE, operator=GTE, amount="-9")]),
    ]
    return b.create(
        entries,
        description="why",
        external_id="first",
        effective_at=Timestamp(seconds=1_700_000_000, nanos=123_456_789),
        metadata={"b": "1", "a": "2"},
        archive_on_condition_failure=True,
    )


def part(account_id: str, direction: balances_pb2.Direction.ValueType) -> transactions_pb2.PartialEntryInput:
    return transactions_pb2.PartialEntryInput(account_id=account_id, direction=direction, amount="40")


def two_creates(b: Books, **more: Any) -> Batch:
    return b.batch(
        b.create(request_id=""), b.create(request_id="", status=POSTED), atomic=True, request_id=request_id(), **more
    )


WRITES = [
    Write(
        "a ledger's deletion",
        "DeleteLedger",
        lambda b: ledgers_pb2.DeleteLedgerRequest(ledger_id=b.foreign_ledger_id, request_id=request_id()),
        ledger_is_gone,
    ),
    Write(
        "an account's deletion, its external id taken since",
        "DeleteAccount",
        lambda b: accounts_pb2.DeleteAccountRequest(ledger_id=b.ledger_id, request_id=request_id(), account_id=b.euros),
        external_id_is_taken_again,
    ),
    Write(
        "an edit of an entry, edited since",
        "UpdateEntry",
        lambda b: entries_pb2.UpdateEntryRequest(
            ledger_id=b.ledger_id, request_id=request_id(), entry_id=b.posted_entry, metadata={"a": "b"}
        ),
        entry_is_edited_again,
    ),
    Write(
        "a ledger, renamed since",
        "CreateLedger",
        lambda _: ledgers_pb2.CreateLedgerRequest(request_id=request_id(), name="First", metadata={"b": "1", "a": "2"}),
        ledger_is_renamed,
    ),
    Write(
        "a ledger's update, renamed since",
        "UpdateLedger",
        lambda b: ledgers_pb2.UpdateLedgerRequest(
            ledger_id=b.ledger_id, request_id=request_id(), description="first", metadata={"a": "b"}
        ),
        ledger_is_renamed,
    ),
    Write(
        "an account, posted to and renamed since",
        "CreateAccount",
        lambda b: b.account(description="first", external_id="first", metadata={"b": "1", "a": "2"}),
        account_moves_and_is_renamed,
    ),
    Write(
        "an account's update, posted to and renamed since",
        "UpdateAccount",
        lambda b: b.update_account(
            name="First", metadata={"x": "y"}, update_mask=FieldMask(paths=["name", "metadata.x"])
        ),
        account_moves_and_is_renamed,
    ),
    Write(
        "a transaction, replaced and posted since", "CreateTransaction", full_create, transaction_is_replaced_and_posted
    ),
    Write(
        "a transaction, archived since",
        "CreateTransaction",
        lambda b: b.create(external_id="first"),
        transaction_is_archived,
    ),
    Write(
        "a posted transaction, given metadata since",
        "CreateTransaction",
        lambda b: b.create(status=POSTED),
        final_transaction_gets_metadata,
    ),
    Write(
        "a transaction archived by a condition, given metadata since",
        "CreateTransaction",
        lambda b: b.create(
            b.demanding(Condition(balance=AVAILABLE, operator=EQ, amount="0")),
            archive_on_condition_failure=True,
        ),
        final_transaction_gets_metadata,
    ),
    Write(
        "an update of entries, replaced and posted since",
        "UpdateTransaction",
        lambda b: b.update(b.pending, entries=b.lines("9", "9", metadata={"a": "b"}), version=0),
        transaction_is_replaced_and_posted,
    ),
    Write(
        "an update of metadata only, replaced and posted since",
        "UpdateTransaction",
        lambda b: b.update(b.pending, metadata={"a": "b"}),
        transaction_is_replaced_and_posted,
    ),
    Write(
        "a posting, given metadata since",
        "PostTransaction",
        lambda b: b.post(b.pending),
        final_transaction_gets_metadata,
    ),
    Write(
        "a posting of final entries, given metadata since",
        "PostTransaction",
        lambda b: b.post(b.pending, entries=b.lines("9", "9"), metadata={"k": "v"}, effective_at=Timestamp(seconds=1)),
        final_transaction_gets_metadata,
    ),
    Write(
        "an archiving, given metadata since",
        "ArchiveTransaction",
        lambda b: b.archive(b.pending),
        final_transaction_gets_metadata,
    ),
    Write(
        "a part posted, given metadata since",
        "PartialPostTransaction",
        lambda b: transactions_pb2.PartialPostTransactionRequest(
            ledger_id=b.ledger_id,
            transaction_id=b.pending,
            request_id=request_id(),
            entries=[part(b.cash, DEBIT), part(b.revenue, CREDIT)],
            metadata={"b": "1", "a": "2"},
        ),
        final_transaction_gets_metadata,
    ),
    Write(
        "a reversal, given metadata since",
        "ReverseTransaction",
        lambda b: transactions_pb2.ReverseTransactionRequest(
            ledger_id=b.ledger_id, transaction_id=b.posted, request_id=request_id(), external_id="first"
        ),
        final_transaction_gets_metadata,
    ),
    Write(
        "several accounts, posted to and renamed since",
        "BatchCreateAccounts",
        lambda b: accounts_pb2.BatchCreateAccountsRequest(
            ledger_id=b.ledger_id,
            request_id=request_id(),
            accounts=[b.account(request_id="", external_id=f"first {n}", metadata={"b": "1"}) for n in range(3)],
        ),
        accounts_move_and_are_renamed,
    ),
    Write(
        "a monitor, changed and triggered since",
        "CreateBalanceMonitor",
        lambda b: b.create_monitor(condition=b.monitor_condition(resolve_value="-10"), metadata={"a": "b"}),
        monitor_is_changed_and_triggered,
    ),
    Write(
        "a change of a monitor, changed and triggered since",
        "UpdateBalanceMonitor",
        lambda b: b.update_monitor(
            condition=b.monitor_condition(value="1" + "0" * 35), metadata={"a": "b"}, description="c"
        ),
        monitor_is_changed_and_triggered,
    ),
    Write(
        "the deletion of a monitor, whose account moved since",
        "DeleteBalanceMonitor",
        lambda b: b.delete_monitor(),
        its_account_moves,
    ),
    Write(
        "a category, renamed since",
        "CreateCategory",
        lambda b: b.category(external_id="first", metadata={"b": "1", "a": "2"}, category_ids=[b.top]),
        category_is_renamed,
    ),
    Write(
        "a category's update, renamed since",
        "UpdateCategory",
        lambda b: b.update_category(description="first", metadata={"a": "b"}),
        category_is_renamed,
    ),
    Write("a category's deletion", "DeleteCategory", lambda b: b.delete_category(b.lowest), nothing_happens),
    Write(
        "an account put into a category, taken out since",
        "AddCategoryMember",
        lambda b: b.join(b.top, account_id=b.revenue),
        member_leaves,
    ),
    Write(
        "an account taken out of a category, with more postings since",
        "RemoveCategoryMember",
        lambda b: b.leave(b.lowest, account_id=b.cash),
        cash_moves,
    ),
    Write("an atomic batch, changed since", "BatchWriteTransactions", two_creates, batch_is_followed_by_others),
    Write(
        "an atomic batch with full results, changed since",
        "BatchWriteTransactions",
        lambda b: two_creates(b, full_results=True),
        batch_is_followed_by_others,
    ),
]


@pytest.mark.parametrize("write", [pytest.param(write, id=write.sentence) for write in WRITES])
async def test_a_write_repeated_answers_equally(
    write: Write,
    stub: LedgerServiceStub,
    client: LedgerClient,
    books: Books,
    tables: asyncpg.Connection[asyncpg.Record],
) -> None:
    request = write.request(books)
    first = await ask(stub, write.method, request)
    assert first.message is not None, first.refusal
    assert not first.replayed
    await write.since(client, books, first.message)
    before = await rows_of(tables)
    again = await ask(stub, write.method, request)
    assert again.replayed
    if isinstance(again.message, transactions_pb2.BatchWriteTransactionsResponse):
        assert unmark(again.message) == [True, True]
    assert again.message == first.message
    assert await rows_of(tables) == before


async def test_a_repeat_after_a_restore_tells_the_epoch_of_now(own_server: Server) -> None:
    """Its object survived, so its position is one of the new history: one can watch from there."""
    async with (
        LedgerClient(own_server.address) as client,
        channel_to(own_server.address) as channel,
        connected(own_server.dsn) as tables,
    ):
        stub = LedgerServiceStub(channel)
        asked: list[tuple[Write, Any, Message]] = []
        for write in WRITES:
            request = write.request(await new_books(client))
            first = await ask(stub, write.method, request)
            assert first.message is not None, first.refusal
            asked.append((write, request, first.message))
        await renew_epochs(own_server.dsn)
        for write, request, message in asked:
            again = await ask(stub, write.method, request)
            assert again.message is not None, again.refusal
            ledger_id = again.message.id if write.method == "CreateLedger" else request.ledger_id  # type: ignore[attr-defined]
            statement = "SELECT epoch FROM ledgers WHERE ledger_id = $1"
            epoch = str(await tables.fetchval(statement, number_of(ledger_id)))
            assert take_epochs(again.message) <= {epoch}, write.sentence
            assert take_epochs(message).isdisjoint({epoch})
            if isinstance(again.message, transactions_pb2.BatchWriteTransactionsResponse):
                unmark(again.message)
            assert again.message == message
            if write.method == "CreateAccount":
                position: int = again.message.position  # type: ignore[attr-defined]
                async with client.watch_events(ledger_id, after_position=position, epoch=epoch):
                    pass


def take_epochs(message: Message) -> set[str]:
    """The epochs in a message, which has none afterwards."""
    epochs = set()
    for field, value in message.ListFields():
        if field.name == "epoch":
            epochs.add(value)
            message.ClearField("epoch")
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for each in value if isinstance(value, Sequence) else [value]:
                epochs |= take_epochs(each)
    return epochs


def unmark(response: transactions_pb2.BatchWriteTransactionsResponse) -> list[bool]:
    """Takes `replayed` out of the results, in which alone a repeat differs."""
    marks = [result.replayed for result in response.results]
    for result in response.results:
        result.ClearField("replayed")
    return marks


def test_every_write_of_the_service_is_in_the_table() -> None:
    methods = ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"].methods
    writes = {method.name for method in methods if "request_id" in method.input_type.fields_by_name}
    # A stream has a test of its own.
    assert {write.method for write in WRITES} == writes - {"ImportTransactions"}


@pytest.mark.parametrize("status", ["pending", "posted", "archived"])
@pytest.mark.parametrize("is_remembered", [True, False], ids=["at once", "by a server that remembers nothing"])
async def test_a_version_that_wrote_no_entries_tells_them_as_they_were_written(
    database: str, status: str, is_remembered: bool
) -> None:
    """Their metadata may have been edited before and may be after; a read tells it as it is."""
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(
                LedgerClient((await stack.enter_async_context(new_server(database))).address)
            )
            for _ in range(2)
        ]
        writer = first if is_remembered else second
        books = await new_books(first)
        lines = books.lines()
        lines[0].metadata["written"] = "yes"
        transaction = await first.create_transaction(
            books.ledger_id, lines, status="posted" if status == "posted" else "pending"
        )
        if status == "archived":
            transaction = await first.archive_transaction(books.ledger_id, transaction)
        await first.update_entry(books.ledger_id, transaction.entries[0].id, metadata={"edited": "yes"})
        request = transactions_pb2.UpdateTransactionRequest(
            ledger_id=books.ledger_id, transaction_id=transaction.id, request_id="again", metadata={"seen": "yes"}
        )
        answer = await writer.stub.UpdateTransaction(request)
        assert dict(answer.entries[0].metadata) == {"written": "yes"}
        await first.update_entry(books.ledger_id, transaction.entries[0].id, metadata={"edited": "again"})
        assert [await each.stub.UpdateTransaction(request) for each in (first, second)] == [answer, answer]
        found = await first.get_transaction(books.ledger_id, transaction.id)
        assert dict(found.entries[0].metadata) == {"edited": "again"}


async def test_a_chunk_of_an_import_repeated_is_acknowledged_equally(
    stub: LedgerServiceStub, books: Books, tables: asyncpg.Connection[asyncpg.Record]
) -> None:
    chunk = transactions_pb2.ImportTransactionsRequest(
        ledger_id=books.ledger_id,
        request_id=request_id(),
        commands=[command(books.create(request_id="")), command(books.create(books.demanding(RICH), request_id=""))],
    )

    async def acknowledgement() -> transactions_pb2.ImportTransactionsResponse:
        call: Any = stub.ImportTransactions(iter([chunk]), timeout=PATIENCE_SECONDS)
        (answer,) = [answer async for answer in call]
        assert isinstance(answer, transactions_pb2.ImportTransactionsResponse)
        return answer

    first = await acknowledgement()
    assert (first.accepted_count, first.refused_count, first.replayed) == (1, 1, False)
    before = await rows_of(tables)
    again = await acknowledgement()
    assert again.replayed
    again.replayed = False
    assert again == first
    assert await rows_of(tables) == before


# Refusals: the stored ones are repeated, the others decided anew.


async def the_account_appears(client: LedgerClient, books: Books) -> None:
    await client.create_account(books.ledger_id, "Late", normal_balance="debit", currency="USD", external_id="late")


async def the_transaction_appears(client: LedgerClient, books: Books) -> None:
    await client.create_transaction(
        books.ledger_id, [debit(books.cash, 1), credit(books.revenue, 1)], external_id="late"
    )


async def the_transaction_moves_on(client: LedgerClient, books: Books) -> None:
    await client.update_transaction(books.ledger_id, books.pending, description="one")


async def the_external_id_is_released(client: LedgerClient, books: Books) -> None:
    await client.update_transaction(books.ledger_id, ExternalId("held"), external_id="")
    await client.update_account(books.ledger_id, ExternalId("held"), external_id="")


async def the_money_arrives(client: LedgerClient, books: Books) -> None:
    lines = [debit(books.cash, 10**9), credit(books.revenue, 10**9)]
    await client.create_transaction(books.ledger_id, lines, status="posted")


async def nothing(client: LedgerClient, books: Books) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Refused:
    sentence: str
    method: str
    request: Callable[[Books], Message]
    reason: str
    since: Callable[[LedgerClient, Books], Awaitable[None]]


RICH = Condition(balance=AVAILABLE, operator=GTE, amount="1000000")
STORED = [
    Refused(
        "an unknown account that appears",
        "CreateTransaction",
        lambda b: b.create(
            [Line(account_external_id="late", direction=DEBIT, amount="1"), b.line(b.cash, CREDIT, "1")]
        ),
        "ACCOUNT_NOT_FOUND",
        the_account_appears,
    ),
    Refused(
        "an unknown transaction that appears",
        "PostTransaction",
        lambda b: b.post("", transaction_external_id="late"),
        "TRANSACTION_NOT_FOUND",
        the_transaction_appears,
    ),
    Refused("a final state", "ArchiveTransaction", lambda b: b.archive(b.posted), "TRANSACTION_NOT_PENDING", nothing),
    Refused(
        "a version that is reached",
        "PostTransaction",
        lambda b: b.post(b.pending, version=1),
        "VERSION_MISMATCH",
        the_transaction_moves_on,
    ),
    Refused(
        "a transaction's external id that is released",
        "CreateTransaction",
        lambda b: b.create(external_id="held"),
        "EXTERNAL_ID_TAKEN",
        the_external_id_is_released,
    ),
    Refused(
        "an account's external id that is released",
        "CreateAccount",
        lambda b: b.account(external_id="held"),
        "EXTERNAL_ID_TAKEN",
        the_external_id_is_released,
    ),
    Refused(
        "a lock_version that is reached",
        "CreateTransaction",
        lambda b: b.create(b.lines(lock_version=8)),
        "LOCK_VERSION_MISMATCH",
        the_money_arrives,
    ),
    Refused(
        "a condition that comes to hold",
        "CreateTransaction",
        lambda b: b.create(b.demanding(RICH)),
        "CONDITION_FAILED",
        the_money_arrives,
    ),
    Refused(
        "an atomic batch with an item refused",
        "BatchWriteTransactions",
        lambda b: b.batch(
            b.create(request_id=""), b.create(b.demanding(RICH), request_id=""), atomic=True, request_id=request_id()
        ),
        "CONDITION_FAILED",
        the_money_arrives,
    ),
]


@pytest.mark.parametrize("refused", [pytest.param(refused, id=refused.sentence) for refused in STORED])
async def test_a_stored_refusal_is_repeated_though_it_would_be_accepted_now(
    refused: Refused,
    stub: LedgerServiceStub,
    client: LedgerClient,
    books: Books,
    tables: asyncpg.Connection[asyncpg.Record],
) -> None:
    request = refused.request(books)
    first = await ask(stub, refused.method, request)
    assert first.refusal is not None
    assert (first.refusal.reason, first.replayed) == (refused.reason, False)
    await refused.since(client, books)
    before = await rows_of(tables)
    again = await ask(stub, refused.method, request)
    assert (again.refusal, again.replayed) == (first.refusal, True)
    assert await rows_of(tables) == before
    if refused.since is not nothing:
        # With another request_id it is decided by what is the case now.
        request.request_id = request_id()  # type: ignore[attr-defined]
        assert (await ask(stub, refused.method, request)).refusal is None


async def test_a_refusal_that_is_not_stored_is_decided_anew(
    stub: LedgerServiceStub, client: LedgerClient, books: Books
) -> None:
    request = books.account(currency="MILES")
    first = await ask(stub, "CreateAccount", request)
    assert first.refusal is not None
    assert first.refusal.fields.keys() == {"currency_exponent"}
    await client.create_account(books.ledger_id, "First", normal_balance="debit", currency="MILES", currency_exponent=4)
    again = await ask(stub, "CreateAccount", request)
    assert (again.refusal, again.replayed) == (None, False)


async def test_a_request_id_refused_for_its_fields_is_free(stub: LedgerServiceStub, books: Books) -> None:
    same = request_id()
    wrong = await ask(stub, "CreateTransaction", books.create(books.lines("5", "6"), request_id=same))
    assert wrong.refusal is not None
    right = await ask(stub, "CreateTransaction", books.create(request_id=same))
    assert (right.refusal, right.replayed) == (None, False)


async def test_a_reused_request_id_keeps_its_first_answer(stub: LedgerServiceStub, books: Books) -> None:
    request = books.create()
    first = await ask(stub, "CreateTransaction", request)
    other = await ask(stub, "CreateTransaction", books.create(description="other", request_id=request.request_id))
    assert other.refusal is not None
    assert (other.refusal.reason, other.refusal.metadata["field"], other.replayed) == (
        "REQUEST_ID_REUSED",
        "description",
        False,
    )
    assert (await ask(stub, "CreateTransaction", request)).message == first.message


async def test_validate_only_neither_stores_nor_is_stored(
    stub: LedgerServiceStub, books: Books, tables: asyncpg.Connection[asyncpg.Record]
) -> None:
    request = books.create(validate_only=True)
    before = await rows_of(tables)
    for _ in range(2):
        assert not (await ask(stub, "CreateTransaction", request)).replayed
    assert await rows_of(tables) == before
    request.validate_only = False
    written = await ask(stub, "CreateTransaction", request)
    assert not written.replayed
    request.validate_only = True
    assert (await ask(stub, "CreateTransaction", request)).message == written.message


# What counts as the same.

_M = TypeVar("_M", bound=Message)


def changed(request: _M, **fields: Any) -> _M:
    copy = type(request)()
    copy.CopyFrom(request)
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


@pytest.mark.parametrize(
    ("sentence", "one", "other"),
    [
        (
            "ids in upper case",
            lambda b, i: b.create(request_id=i),
            lambda b, i: b.create(
                [b.line(b.cash.upper(), DEBIT), b.line(b.revenue.upper(), CREDIT)],
                request_id=i,
                ledger_id=b.ledger_id.upper(),
            ),
        ),
        ("a default said", lambda b, i: b.create(request_id=i), lambda b, i: b.create(request_id=i, status=1)),
        (
            "nanoseconds that are cut off",
            lambda b, i: b.create(request_id=i, effective_at=Timestamp(seconds=5, nanos=1_999)),
            lambda b, i: b.create(request_id=i, effective_at=Timestamp(seconds=5, nanos=1_000)),
        ),
        (
            "a mask in another order",
            lambda b, i: b.update(
                b.pending,
                request_id=i,
                description="x",
                update_mask=FieldMask(paths=["description", "metadata.a", "metadata.b"]),
            ),
            lambda b, i: b.update(
                b.pending,
                request_id=i,
                description="x",
                update_mask=FieldMask(paths=["metadata.b", "metadata.a", "description"]),
            ),
        ),
        (
            "a mask said that was implied",
            lambda b, i: b.update(b.pending, request_id=i, description="x"),
            lambda b, i: b.update(
                b.pending, request_id=i, description="x", update_mask=FieldMask(paths=["description"])
            ),
        ),
        (
            "a field outside the mask",
            lambda b, i: b.update(
                b.pending, request_id=i, description="x", update_mask=FieldMask(paths=["description"])
            ),
            lambda b, i: b.update(
                b.pending, request_id=i, description="x", external_id="y", update_mask=FieldMask(paths=["description"])
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_is_the_same_request(
    sentence: str,
    one: Callable[[Books, str], Message],
    other: Callable[[Books, str], Message],
    stub: LedgerServiceStub,
    books: Books,
) -> None:
    same = request_id()
    request = one(books, same)
    method = type(request).__name__.removesuffix("Request")
    first = await ask(stub, method, request)
    again = await ask(stub, method, other(books, same))
    assert again.refusal is None, sentence
    assert again.replayed
    assert again.message == first.message


async def test_maps_have_no_order(server: Server, stub: LedgerServiceStub, books: Books) -> None:
    request = books.create()
    # Messages written one after the other are one message; so the pairs are on the wire in the order we choose.
    pairs = [Create(metadata={f"key {n}": str(n)}).SerializeToString() for n in range(50)]
    async with channel_to(server.address) as channel:
        path = "/ledger.v1.LedgerService/CreateTransaction"
        first = await ask_bytes(channel, path, request.SerializeToString() + b"".join(pairs))
        again = await ask_bytes(channel, path, request.SerializeToString() + b"".join(reversed(pairs)))
    assert (first.refusal, again.refusal) == (None, None)
    assert (first.replayed, again.replayed) == (False, True)


@pytest.mark.parametrize(
    "field",
    ["status", "description", "effective_at", "external_id", "metadata", "entries", "archive_on_condition_failure"],
)
async def test_the_first_field_that_differs_is_named(field: str, stub: LedgerServiceStub, books: Books) -> None:
    request = full_create(books)
    await ask(stub, "CreateTransaction", request)
    request.ClearField(field)  # type: ignore[arg-type]
    if field == "status":
        request.status = POSTED
    elif field == "entries":
        request.entries.extend(books.lines())
    answer = await ask(stub, "CreateTransaction", request)
    assert answer.refusal is not None
    assert (answer.refusal.reason, answer.refusal.metadata["field"]) == ("REQUEST_ID_REUSED", field)
    assert answer.refusal.message.endswith(f"with other values; the first field that differs is {field}")


async def test_one_request_id_serves_each_ledger(stub: LedgerServiceStub, client: LedgerClient, books: Books) -> None:
    here = await ask(stub, "CreateAccount", books.account(request_id="same"))
    there = await ask(stub, "CreateAccount", books.account(request_id="same", ledger_id=books.foreign_ledger_id))
    assert (there.refusal, there.replayed) == (None, False)
    assert there.message != here.message


# Batches.


@pytest.mark.parametrize("full_results", [False, True], ids=["lean", "in full"])
async def test_a_long_batch_is_repeated_by_as_few_statements_as_a_short_one(
    database: str, full_results: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a server that knows nothing, and of versions that were replaced; the ledger is locked meanwhile."""
    sent: list[str] = []

    def observed(connect: Callable[[str], Awaitable[Any]]) -> Callable[[str], Awaitable[Any]]:
        async def connected(dsn: str) -> Any:
            connection = await connect(dsn)
            connection.add_query_logger(lambda record: sent.append(record.query))
            return connection

        return connected

    for name in ("connect_lane", "connect_beside_lane"):
        monkeypatch.setattr(worker, name, observed(getattr(worker, name)))
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(new_server(database)) for _ in range(2)]
        stubs = [LedgerServiceStub(await stack.enter_async_context(channel_to(each.address))) for each in servers]
        books = await new_books(await stack.enter_async_context(LedgerClient(servers[0].address)))
        news = [books.create(external_id=f"{n}") for n in range(REPEATED)]
        posts = [books.post("", transaction_external_id=f"{n}") for n in range(0, REPEATED, 2)]
        batch = books.batch(*news, *posts, full_results=full_results)
        first = (await ask(stubs[0], "BatchWriteTransactions", batch)).message
        assert isinstance(first, transactions_pb2.BatchWriteTransactionsResponse)
        assert [result.transaction.version for result in first.results] == [0] * len(news) + [1] * len(posts)
        for stub in stubs:
            sent.clear()
            again = (await ask(stub, "BatchWriteTransactions", batch)).message
            assert isinstance(again, transactions_pb2.BatchWriteTransactionsResponse)
            assert all(unmark(again))
            assert again == first
            # What is decided is sent in a statement or two, what it needs is loaded by one a kind.
            assert len(sent) < 25, sent


async def test_items_of_a_batch_are_replayed_one_by_one(stub: LedgerServiceStub, books: Books) -> None:
    accepted, refused, new = books.create(), books.create(books.demanding(RICH)), books.create()
    first = await ask(stub, "BatchWriteTransactions", books.batch(accepted, refused, full_results=True))
    again = await ask(stub, "BatchWriteTransactions", books.batch(new, refused, accepted, full_results=True))
    then, now = results(first), results(again)
    assert [result.replayed for result in then] == [False, False]
    assert [result.replayed for result in now] == [False, True, True]
    assert not again.replayed
    assert now[1].error == then[1].error
    assert now[2].transaction == then[0].transaction
    single = await ask(stub, "CreateTransaction", accepted)
    assert (single.message, single.replayed) == (then[0].transaction, True)


async def test_a_request_id_twice_in_one_batch_has_one_effect(stub: LedgerServiceStub, books: Books) -> None:
    create, refused = books.create(), books.create(books.demanding(RICH))
    other = books.create(description="other", request_id=create.request_id)
    answer = await ask(
        stub, "BatchWriteTransactions", books.batch(create, create, other, refused, refused, full_results=True)
    )
    made, repeated, reused, no, still_no = results(answer)
    assert (made.replayed, repeated.replayed) == (False, True)
    assert repeated.transaction == made.transaction
    assert refusal_from(reused.error).reason == "REQUEST_ID_REUSED"
    assert refusal_from(no.error).reason == "CONDITION_FAILED"
    assert still_no.error == no.error
    assert (reused.replayed, no.replayed, still_no.replayed) == (False, False, True)


async def test_an_item_refused_for_its_fields_leaves_its_request_id_free(stub: LedgerServiceStub, books: Books) -> None:
    same = request_id()
    batch = books.batch(books.create(books.lines("x"), request_id=same), books.create(request_id=same))
    wrong, right = results(await ask(stub, "BatchWriteTransactions", batch))
    assert refusal_from(wrong.error).reason == "INVALID_FIELD"
    assert right.HasField("transaction")
    assert not right.replayed


async def test_a_batch_repeated_lean_or_full_is_the_same_batch(stub: LedgerServiceStub, books: Books) -> None:
    batch = two_creates(books)
    lean = results(await ask(stub, "BatchWriteTransactions", batch))
    full = results(await ask(stub, "BatchWriteTransactions", changed(batch, full_results=True)))
    assert [result.transaction.id for result in full] == [result.transaction.id for result in lean]
    assert [len(result.transaction.entries) for result in full] == [2, 2]
    again = results(await ask(stub, "BatchWriteTransactions", batch))
    assert [result.transaction for result in again] == [result.transaction for result in lean]


def results(answer: Answer) -> list[transactions_pb2.TransactionResult]:
    assert isinstance(answer.message, transactions_pb2.BatchWriteTransactionsResponse), answer.refusal
    return list(answer.message.results)


# Many at once.


@pytest.mark.parametrize("rounds", [20, pytest.param(500, marks=pytest.mark.long)])
async def test_thirty_two_callers_with_one_request_id_on_two_servers_have_one_effect(
    database: str, rounds: int
) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(new_server(database)) for _ in range(2)]
        channels = [await stack.enter_async_context(channel_to(server.address)) for server in servers]
        stubs = [LedgerServiceStub(channel) for channel in channels]
        client = await stack.enter_async_context(LedgerClient(servers[0].address, auto_batch=False))
        tables = await asyncpg.connect(database)
        stack.push_async_callback(tables.close)
        books = await new_books(client)
        for number in range(rounds):
            pending = await client.create_transaction(books.ledger_id, [debit(books.cash, 5), credit(books.revenue, 5)])
            # Accepted, refused, an account, an atomic batch, a posting.
            method, request = [
                ("CreateTransaction", books.create(external_id=f"once-{number}")),
                ("CreateTransaction", books.create(books.demanding(RICH))),
                ("CreateAccount", books.account(external_id=f"once-{number}")),
                ("BatchWriteTransactions", two_creates(books)),
                ("PostTransaction", books.post(pending.id)),
            ][number % 5]
            before = await rows_of(tables)
            answers = await asyncio.gather(*[ask(stubs[n % 2], method, request) for n in range(CALLERS)])
            assert sum(answer.replayed for answer in answers) == CALLERS - 1
            for answer in answers:
                if isinstance(answer.message, transactions_pb2.BatchWriteTransactionsResponse):
                    unmark(answer.message)
            first = replace(answers[0], trailers={})
            assert all(replace(answer, trailers={}) == first for answer in answers)
            after = await rows_of(tables)
            assert after.since(before)["requests"] == 1
            commands = {"BatchWriteTransactions": 2}.get(method, 0 if first.refusal else 1)
            number = number_of(books.ledger_id)
            assert after.heads[number][0] == before.heads[number][0] + commands
