"""Lanes of many ledgers at once."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import count
from typing import Any

import pytest

from ledger_client import LedgerClient, Transaction, credit, debit
from ledger_server.domain.book import Book, Committed
from ledger_server.domain.commands import (
    BatchCreateAccounts,
    CreateAccount,
    CreateLedger,
    CreateTransaction,
    ImportChunk,
)
from ledger_server.domain.errors import LedgerNotFound
from ledger_server.domain.ids import NIL_ID, REGISTRY, new_id
from ledger_server.domain.inputs import EntryInput, Ref
from ledger_server.domain.model import TransactionStatus
from ledger_server.domain.money import Direction, NormalBalance
from ledger_server.posting import bites, drafts, lane, lanes
from ledger_server.posting.bites import BITE
from ledger_server.posting.lane import DRAFTED_TIMES, LANE_SIZE, Lane
from ledger_server.posting.lanes import Lanes
from ledger_server.posting.outcomes import Acknowledgement, Written
from ledger_server.posting.worker import Worker
from ledger_server.storage.embedded import EmbeddedPostgres
from ledger_server.storage.pool import read_pool
from tests import audit
from tests.conftest import Server, new_database, new_server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.service.raw import connected

# Of the processor's time that a long batch takes, the longest that nobody else is served.
SHARE = 0.6

absent_ids = count(1)


@pytest.mark.parametrize("workers", [1, 3])
async def test_ledgers_that_do_not_exist(postgres: EmbeddedPostgres, workers: int) -> None:
    async with (
        new_database(postgres) as dsn,
        read_pool(dsn, size_max=1) as pool,
        Lanes([Worker(dsn) for _ in range(workers)], pool, lambda _ledger_id, _committed: None).running() as queue,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        answers = await asyncio.gather(*(queue.submit([_account()]) for _ in range(300)))
    assert all(isinstance(answer, LedgerNotFound) for (answer,) in answers)


@pytest.mark.parametrize("remembered", [0, 2, 100])
async def test_more_ledgers_than_are_remembered(
    own_server: Server, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    """Whether memory has all of a ledger, some or nothing, what is written to it is the same."""
    monkeypatch.setattr(lanes, "REMEMBERED_MAX", remembered * (LANE_SIZE + 2))
    async with new_server(own_server.dsn) as server, LedgerClient(server.address) as client:

        async def play(number: int) -> list[int]:
            ledger = await client.create_ledger(f"L{number}")
            cash = await client.create_account(ledger.id, "cash", normal_balance="debit", currency="USD")
            debt = await client.create_account(ledger.id, "debt", normal_balance="credit", currency="USD")
            posted = []
            for _ in range(6):
                entries = [debit(cash, number), credit(debt, number)]
                transaction = await client.create_transaction(ledger.id, entries, status="posted")
                posted.append(int(transaction.entries[0].resulting_balances.posted.amount))
            return posted

        ledgers = range(1, 13)
        assert await asyncio.gather(*map(play, ledgers)) == [[n * (i + 1) for i in range(6)] for n in ledgers]
        assert await audit.findings(server.dsn) == []


@pytest.mark.parametrize("callers", [1, 16])
async def test_what_a_lane_remembers_is_bounded_however_large_each_is(
    own_server: Server, monkeypatch: pytest.MonkeyPatch, callers: int
) -> None:
    """Whether it rests between them or is never through; what was forgotten is loaded again."""
    size_max, size_each = 1_000, 400
    metadata = {f"k{n}": 1_000 * "y" for n in range(15)}
    remembered = known = 0

    def remember(remembering: Lane, book: Book | None) -> None:
        nonlocal remembered, known
        known = max(known, book.size if book is not None else 0)
        bounded(remembering, book)
        remembered = max(remembered, remembering.size - LANE_SIZE)

    bounded = Lane.remember
    monkeypatch.setattr(Lane, "remember", remember)
    monkeypatch.setattr(lane, "REMEMBERED_SIZE_MAX", size_max)
    async with LedgerClient(own_server.address, auto_batch=False) as client:
        ledger = await client.create_ledger("Large")
        cash = await client.create_account(ledger.id, "cash", normal_balance="debit", currency="USD")
        debt = await client.create_account(ledger.id, "debt", normal_balance="credit", currency="USD")
        entries = [side(account, 1, metadata=metadata) for side, account in ((debit, cash), (credit, debt))] * 10

        async def play() -> list[Transaction]:
            return [await client.create_transaction(ledger.id, entries) for _ in range(64 // callers)]

        pending = [each for some in await asyncio.gather(*(play() for _ in range(callers))) for each in some]
        # What is kept is of use. What is known beyond the bound is of the batch that is too much, and the one before.
        assert size_max / 2 < remembered <= size_max
        assert known <= DRAFTED_TIMES * size_max + 2 * callers * size_each
        posted = await asyncio.gather(*(client.post_transaction(ledger.id, each.id) for each in pending))
        assert [[entry.metadata for entry in each.entries] for each in posted] == [[metadata] * 20] * 64
        assert remembered <= size_max
        assert (await client.get_account(ledger.id, cash.id)).balances.posted.amount == "640"
    assert await audit.findings(own_server.dsn) == []


async def test_a_bug_behind_a_commit_costs_its_callers_an_error_and_nobody_else(postgres: EmbeddedPostgres) -> None:
    def committed(_ledger_id: int, _committed: Committed) -> None:
        if is_broken:
            raise ZeroDivisionError

    create = CreateLedger(ledger_id=REGISTRY, request_id="L", name="L", description="", metadata={})
    async with (
        new_database(postgres) as dsn,
        read_pool(dsn, size_max=1) as pool,
        Lanes([Worker(dsn)], pool, committed).running() as queue,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        is_broken = True
        with pytest.raises(ZeroDivisionError):
            await queue.submit([create])
        is_broken = False
        (answer,) = await queue.submit([create])
        assert isinstance(answer, Written)
        assert answer.replayed


@pytest.mark.parametrize("validate_only", [False, True], ids=["written", "validate_only"])
async def test_others_have_their_turns_while_a_long_batch_is_decided(own_server: Server, validate_only: bool) -> None:
    """Hashing, loading and storing it take a turn each, but they are short."""
    async with LedgerClient(own_server.address) as client:
        ledger_id = number_of((await client.create_ledger("Long")).id)
    items = tuple(_account(ledger_id, request_id="") for _ in range(10_000))
    everything = BatchCreateAccounts(ledger_id=ledger_id, request_id="all", commands=items)
    longest_seconds = 0.0

    async def look() -> None:
        nonlocal longest_seconds
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            longest_seconds = max(longest_seconds, time.thread_time() - before)

    async with (
        read_pool(own_server.dsn, size_max=1) as pool,
        Lanes([Worker(own_server.dsn)], pool, lambda _ledger_id, _committed: None).running() as queue,
    ):
        looking = asyncio.create_task(look())
        began = time.thread_time()
        (answers,) = await (queue.validate if validate_only else queue.submit)([everything])
        took_seconds = time.thread_time() - began
        looking.cancel()
    assert isinstance(answers, list)
    assert len(answers) == len(items)
    assert longest_seconds < SHARE * took_seconds


async def test_postgresql_hears_from_who_takes_long_to_decide(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it does not take them for dead. Others have their turns meanwhile, and theirs are long."""
    monkeypatch.setattr(bites, "ALIVE_SECONDS", 0.1)
    monkeypatch.setattr(drafts, "COMMANDS_MAX", 0)
    async with LedgerClient(own_server.address) as client:
        ledger_id = number_of((await client.create_ledger("Long")).id)
    # All of them are refused, so that there is little to write.
    items = tuple(_transaction_of_one_side(ledger_id) for _ in range(10 * BITE))
    chunk = ImportChunk(ledger_id=ledger_id, request_id="all", commands=items)

    async def take_long_turns() -> None:
        while True:
            time.sleep(0.15)  # noqa: ASYNC251 - everybody is to be held up
            await asyncio.sleep(0)

    async with (
        read_pool(own_server.dsn, size_max=1) as reads,
        Lanes([Worker(own_server.dsn)], reads, lambda _ledger_id, _committed: None).running() as queue,
    ):
        await queue.submit([_account(ledger_id)])
        is_over = threading.Event()
        # In a loop of its own, as this one is held up.
        listening = asyncio.create_task(asyncio.to_thread(asyncio.run, moments_heard(own_server.dsn, is_over)))
        others = asyncio.create_task(take_long_turns())
        (answer,) = await queue.submit([chunk])
        others.cancel()
        is_over.set()
    assert isinstance(answer, Acknowledgement), answer
    assert answer.refused_count == len(items)
    assert len(await listening) >= 9


async def moments_heard(dsn: str, is_over: threading.Event) -> set[Any]:
    """When PostgreSQL heard from lanes that have a transaction open."""
    moments: set[Any] = set()
    async with connected(dsn) as observer:
        while not is_over.is_set():
            rows = await observer.fetch(
                """
                SELECT state_change
                FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'ledger-lane'
                    AND state = 'idle in transaction'
                """
            )
            moments.update(row["state_change"] for row in rows)
            await asyncio.sleep(0.01)
    return moments


def _transaction_of_one_side(ledger_id: int) -> CreateTransaction:
    return CreateTransaction(
        ledger_id=ledger_id,
        status=TransactionStatus.POSTED,
        description="",
        effective_at=None,
        external_id=None,
        metadata={},
        entries=(EntryInput(Ref(NIL_ID, None), Direction.DEBIT, 1),),
    )


def _account(ledger_id: int | None = None, request_id: str | None = None) -> CreateAccount:
    """Of a ledger of its own, which is not there, unless one is given."""
    return CreateAccount(
        ledger_id=ledger_id or next(absent_ids),
        request_id=new_id() if request_id is None else request_id,
        name="A",
        description="",
        normal_balance=NormalBalance.DEBIT,
        currency="USD",
        currency_exponent=None,
        external_id=None,
        metadata={},
    )
