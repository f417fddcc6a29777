"""Answers whose objects say much: pages fit a peer that takes 4 MiB, and what is asked for by its ids is bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc.aio
import pytest

from ledger_client import InvalidField, Ledger, LedgerClient, commands, credit, debit
from ledger_client.v1.entries_pb2 import ListEntriesRequest
from ledger_client.v1.ledger_service_pb2_grpc import LedgerServiceStub
from ledger_client.v1.transactions_pb2 import (
    ListTransactionsRequest,
    ListTransactionVersionsRequest,
)
from tests.conftest import Server

# As much as an entry may say.
METADATA = {f"key {n:02}": "x" * 1_000 for n in range(16)}
# Together they say more than twice what a peer takes.
WRITES = 300


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
async def stub(server: Server) -> AsyncIterator[LedgerServiceStub]:
    """A peer that takes no more than gRPC's default."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield LedgerServiceStub(channel)


async def all_pages(call: Callable[[Any], Any], request: Any, items: str) -> tuple[list[Any], int]:
    """What is on all pages, and how many these are."""
    found: list[Any] = []
    count = 0
    while count == 0 or request.page_token:
        page = await call(request)
        found += getattr(page, items)
        request.page_token = page.next_page_token
        count += 1
    return found, count


async def test_pages_of_transactions(wordy: Wordy, stub: LedgerServiceStub) -> None:
    request = ListTransactionsRequest(ledger_id=wordy.ledger.id, page_size=1_000)
    found, count = await all_pages(stub.ListTransactions, request, "transactions")
    assert [each.id for each in found] == [*wordy.transaction_ids[::-1], wordy.versioned_id]
    assert count > 3


async def test_pages_of_a_transactions_versions(wordy: Wordy, stub: LedgerServiceStub) -> None:
    request = ListTransactionVersionsRequest(
        ledger_id=wordy.ledger.id, transaction_id=wordy.versioned_id, page_size=1_000
    )
    found, count = await all_pages(stub.ListTransactionVersions, request, "versions")
    assert sorted(each.version for each in found) == list(range(WRITES + 1))
    assert count > 3


async def test_pages_of_a_ledgers_entries(wordy: Wordy, stub: LedgerServiceStub) -> None:
    request = ListEntriesRequest(ledger_id=wordy.ledger.id, page_size=1_000)
    found, count = await all_pages(stub.ListEntries, request, "entries")
    assert len({each.id for each in found}) == len(found) == 2 * (WRITES + 1)
    assert count > 3


async def test_transactions_by_their_ids_are_bounded(wordy: Wordy, client: LedgerClient) -> None:
    some = await client.batch_get_transactions(wordy.ledger.id, wordy.transaction_ids[:50])
    assert [each.id for each in some.transactions] == wordy.transaction_ids[:50]
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
    with pytest.raises(InvalidField, match="account_ids"):
        await client.batch_get_accounts(wordy.ledger.id, [account.id] * 1_000)
