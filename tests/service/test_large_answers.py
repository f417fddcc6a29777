"""Answers whose objects say much: pages fit a peer that takes 4 MiB, and what is asked for by its ids is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from ledger_client import (
    InvalidField,
    Ledger,
    LedgerClient,
    commands,
    condition,
    credit,
    debit,
    monitor_condition,
)
from ledger_client.v1.accounts_pb2 import BatchCreateAccountsRequest, CreateAccountRequest, ListAccountsRequest
from ledger_client.v1.balances_pb2 import NORMAL_BALANCE_DEBIT
from ledger_client.v1.categories_pb2 import ListCategoriesRequest
from ledger_client.v1.entries_pb2 import ListEntriesRequest
from ledger_client.v1.ledger_service_pb2_grpc import LedgerServiceStub
from ledger_client.v1.ledgers_pb2 import ListLedgersRequest
from ledger_client.v1.monitors_pb2 import ListBalanceMonitorsRequest
from ledger_client.v1.reports_pb2 import ExplainBalanceRequest, GetTrialBalanceRequest
from ledger_client.v1.transactions_pb2 import (
    BatchWriteTransactionsRequest,
    CreateTransactionRequest,
    ListTransactionsRequest,
    ListTransactionVersionsRequest,
    TransactionCommand,
)
from tests.conftest import Server
from tests.service.raw import refusal_from, request_id

if TYPE_CHECKING:
    from ledger_client.v1.ledger_service_pb2_grpc import LedgerServiceAsyncStub

# As much as an entry may say.
METADATA = {f"key {n:02}": "x" * 1_000 for n in range(16)}
# Together they say more than twice what a peer takes.
WRITES = 300
# A page before the last has more than half of what a peer takes.
FULL_BYTES = 2 * 2**20
# The largest texts that are legal, in bytes.
TEXT = "\N{GRINNING FACE}" * 1_000
TEXTS = {f"key {n}": TEXT for n in range(4)}
LONGEST_CURRENCY = "A" * 32
LARGEST_AMOUNT = 10**36 - 1


@dataclass
class Wordy:
    """A ledger whose transactions have much metadata on both entries."""

    ledger: Ledger
    # In created order.
    transaction_ids: list[str]
    # A pending transaction with as many versions.
    versioned_id: str


@pytest.fixture(scope="module")
async def wordy(client: LedgerClient) -> Wordy:
    ledger = await client.create_ledger("Wordy")
    one = await client.create_account(ledger.id, "One", normal_balance="debit", currency="USD")
    other = await client.create_account(ledger.id, "Other", normal_balance="credit", currency="USD")
    entries = [debit(one, 1, metadata=METADATA), credit(other, 1, metadata=METADATA)]
    versioned = await client.create_transaction(ledger.id, entries)
    ids: list[str] = []
    for _ in range(0, WRITES, 100):
        creates = [commands.create_transaction(entries, status="posted") for _ in range(100)]
        updates = [commands.update_transaction(versioned.id, entries=entries) for _ in range(100)]
        written = await client.batch_write_transactions(ledger.id, creates)
        ids += [result.transaction.id for result in written.results]
        await client.batch_write_transactions(ledger.id, updates)
    return Wordy(ledger, ids, versioned.id)


@pytest.fixture
async def stub(server: Server) -> AsyncIterator[LedgerServiceAsyncStub]:
    """A peer that takes no more than gRPC's default."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield LedgerServiceStub(channel)


async def all_pages(call: Callable[[Any], Any], request: Any, items: str) -> tuple[list[Any], int]:
    """What is on all pages, and how many these are."""
    found: list[Any] = []
    count = 0
    while count == 0 or request.page_token:
        page = await call(request)
        assert page.ByteSize() > FULL_BYTES or not page.next_page_token
        found += getattr(page, items)
        request.page_token = page.next_page_token
        count += 1
    return found, count


async def test_pages_of_transactions(wordy: Wordy, stub: LedgerServiceAsyncStub) -> None:
    request = ListTransactionsRequest(ledger_id=wordy.ledger.id, page_size=1_000)
    found, count = await all_pages(stub.ListTransactions, request, "transactions")
    assert [each.id for each in found] == [*wordy.transaction_ids[::-1], wordy.versioned_id]
    assert count == 3


async def test_pages_of_a_transactions_versions(wordy: Wordy, stub: LedgerServiceAsyncStub) -> None:
    request = ListTransactionVersionsRequest(
        ledger_id=wordy.ledger.id, transaction_id=wordy.versioned_id, page_size=1_000
    )
    found, count = await all_pages(stub.ListTransactionVersions, request, "versions")
    assert sorted(each.version for each in found) == list(range(WRITES + 1))
    assert count == 3


async def test_pages_of_a_ledgers_entries(wordy: Wordy, stub: LedgerServiceAsyncStub) -> None:
    request = ListEntriesRequest(ledger_id=wordy.ledger.id, page_size=1_000)
    found, count = await all_pages(stub.ListEntries, request, "entries")
    assert len({each.id for each in found}) == len(found) == 2 * (WRITES + 1)
    assert count == 3


def external_id(n: int) -> str:
    return f"{TEXT[:170]}{n}"


@pytest.fixture(scope="module")
async def wordiest(client: LedgerClient, server: Server) -> Ledger:
    """A ledger that says as much as may be said, of each noun more than one page holds."""
    ledger = await client.create_ledger("Wordiest")
    async with grpc.aio.insecure_channel(server.address) as channel:
        for first in (0, 500):
            accounts = [
                CreateAccountRequest(
                    name=TEXT, external_id=external_id(n), currency="USD", normal_balance=NORMAL_BALANCE_DEBIT
                )
                for n in range(first, first + 500)
            ]
            request = BatchCreateAccountsRequest(ledger_id=ledger.id, request_id=request_id(), accounts=accounts)
            created = await LedgerServiceStub(channel).BatchCreateAccounts(request)
    one, other, *watched = created.accounts
    await asyncio.gather(
        *(
            client.create_category(
                ledger.id,
                TEXT,
                description=TEXT,
                external_id=external_id(n),
                normal_balance="debit",
                currency="USD",
            )
            for n in range(500)
        ),
        *(
            client.create_balance_monitor(
                ledger.id,
                monitor_condition("posted", ">", LARGEST_AMOUNT),
                account=watched[n % 3].id,
                description=TEXT,
                metadata=TEXTS,
            )
            for n in range(220)
        ),
        *(
            client.create_transaction(
                ledger.id,
                [debit(one.id, LARGEST_AMOUNT, metadata=TEXTS), credit(other.id, LARGEST_AMOUNT, metadata=TEXTS)],
                status="posted",
                description=TEXT,
                external_id=external_id(n),
                metadata=TEXTS,
            )
            for n in range(160)
        ),
    )
    return ledger


@pytest.fixture
async def wordiest_ledgers(own_server: Server) -> int:
    """How many ledgers there are, each of which says as much as may be said."""
    async with LedgerClient(own_server.address) as client:
        await asyncio.gather(*(client.create_ledger(TEXT, description=TEXT, metadata=TEXTS) for _ in range(200)))
    return 200


LISTS: dict[str, tuple[str, type[Any], str, int]] = {
    "accounts": ("ListAccounts", ListAccountsRequest, "accounts", 1_000),
    "a trial balance": ("GetTrialBalance", GetTrialBalanceRequest, "rows", 1_000),
    "categories": ("ListCategories", ListCategoriesRequest, "categories", 500),
    "monitors": ("ListBalanceMonitors", ListBalanceMonitorsRequest, "monitors", 220),
    "transactions": ("ListTransactions", ListTransactionsRequest, "transactions", 160),
    "entries": ("ListEntries", ListEntriesRequest, "entries", 320),
}


@pytest.mark.parametrize(("method", "request_", "items", "written"), LISTS.values(), ids=LISTS.keys())
async def test_pages_of_the_largest_texts(
    wordiest: Ledger, stub: LedgerServiceAsyncStub, method: str, request_: type[Any], items: str, written: int
) -> None:
    request = request_(ledger_id=wordiest.id, page_size=1_000)
    found, count = await all_pages(getattr(stub, method), request, items)
    assert len(found) == written
    assert count > 1


async def test_pages_of_the_largest_texts_of_ledgers(wordiest_ledgers: int, own_server: Server) -> None:
    async with grpc.aio.insecure_channel(own_server.address) as channel:
        stub = LedgerServiceStub(channel)
        found, count = await all_pages(stub.ListLedgers, ListLedgersRequest(page_size=1_000), "ledgers")
    assert len(found) == wordiest_ledgers
    assert count > 1


async def test_pages_of_the_largest_numbers(client: LedgerClient, stub: LedgerServiceAsyncStub) -> None:
    ledger = await client.create_ledger("Numbers")
    one, other = [
        await client.create_account(
            ledger.id, "Any", normal_balance="debit", currency=LONGEST_CURRENCY, currency_exponent=30
        )
        for _ in range(2)
    ]
    entries = [side(each, LARGEST_AMOUNT) for side in (debit, credit) for each in (one, other)] * 250
    for _ in range(5):
        posted = await client.create_transaction(ledger.id, entries, status="posted")
        await client.reverse_transaction(ledger.id, posted)
    request = ListTransactionsRequest(ledger_id=ledger.id, page_size=1_000)
    found, count = await all_pages(stub.ListTransactions, request, "transactions")
    assert [len(each.entries) for each in found] == [1_000] * 10
    assert count == 3
    # All that an explained entry says is not text.
    explained = ExplainBalanceRequest(ledger_id=ledger.id, account_id=one.id, page_size=1_000)
    assert len((await stub.ExplainBalance(explained)).entries) == 1_000


async def test_what_its_ids_name_is_answered_up_to_its_bound(wordy: Wordy, client: LedgerClient) -> None:
    some = await client.batch_get_transactions(wordy.ledger.id, wordy.transaction_ids[:200])
    assert [each.id for each in some.transactions] == wordy.transaction_ids[:200]
    with pytest.raises(InvalidField, match="ask for fewer"):
        await client.batch_get_transactions(wordy.ledger.id, wordy.transaction_ids)


async def test_each_mention_counts(wordy: Wordy, client: LedgerClient) -> None:
    twice = await client.batch_get_transactions(wordy.ledger.id, [wordy.versioned_id] * 2)
    assert [each.id for each in twice.transactions] == [wordy.versioned_id] * 2
    with pytest.raises(InvalidField, match="transaction_ids"):
        await client.batch_get_transactions(wordy.ledger.id, [wordy.versioned_id] * 1_000)
    account = await client.create_account(
        wordy.ledger.id, "Wordy", normal_balance="debit", currency="USD", metadata=METADATA
    )
    named = await client.batch_get_accounts(wordy.ledger.id, [account.id] * 400)
    assert [each.id for each in named.accounts] == [account.id] * 400
    with pytest.raises(InvalidField, match="account_ids"):
        await client.batch_get_accounts(wordy.ledger.id, [account.id] * 1_000)


async def test_a_batch_of_which_all_is_refused(client: LedgerClient, stub: LedgerServiceAsyncStub) -> None:
    """The first refusals say all; the last say the code, the message and the reason, and so they do when repeated."""
    ledger = await client.create_ledger("Refused")
    one, other = [
        await client.create_account(ledger.id, "Any", normal_balance="debit", currency="USD") for _ in range(2)
    ]
    entries = [debit(one.id, 1, conditions=[condition("posted", ">", LARGEST_AMOUNT)]), credit(other.id, 1)]
    request = BatchWriteTransactionsRequest(
        ledger_id=ledger.id,
        commands=[
            TransactionCommand(create=CreateTransactionRequest(request_id=f"{n}", entries=entries))
            for n in range(10_000)
        ],
    )
    answers = [await stub.BatchWriteTransactions(request) for _ in range(2)]
    first, again = ([refusal_from(result.error) for result in answer.results] for answer in answers)
    assert answers[0].ByteSize() > 4_000_000
    assert first[0].rules
    assert not first[-1].rules
    assert {(each.code, each.reason) for each in first} == {("FAILED_PRECONDITION", "CONDITION_FAILED")}
    assert {each.message for each in first} == {first[0].message}
    assert [(each.reason, each.message) for each in again] == [(each.reason, each.message) for each in first]
    assert all(result.replayed for result in answers[1].results)
