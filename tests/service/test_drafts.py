"""Batches that are decided while the one before is being written: on what memory holds, and anew if that fails."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import CapturingLogger

from ledger_client import (
    Account,
    AlreadyExists,
    ConditionFailed,
    EntryNotFound,
    ExternalId,
    ExternalIdTaken,
    FailedPrecondition,
    Ledger,
    LedgerClient,
    LedgerError,
    Transaction,
    TransactionNotPending,
    commands,
    condition,
    credit,
    debit,
    error_from_status,
    monitor_condition,
    new_request_id,
)
from ledger_client.commands import TransactionWrite
from ledger_client.v1.transactions_pb2 import (
    BatchWriteTransactionsRequest,
    CreateTransactionRequest,
    EntryInput,
    TransactionResult,
)
from ledger_server.api.batches import batch
from ledger_server.domain.book import Book
from ledger_server.domain.commands import AtomicBatch, Command
from ledger_server.domain.ids import NIL_ID
from ledger_server.domain.model import Ledger as LedgerState
from ledger_server.domain.model import Transaction as StoredTransaction
from ledger_server.posting import clock, drafts, worker
from ledger_server.posting.drafts import write_draft
from ledger_server.posting.lanes import Lanes
from ledger_server.posting.outcomes import LeanTransaction
from ledger_server.posting.worker import Worker
from ledger_server.posting.writing import Rows
from ledger_server.storage import pool
from ledger_server.storage.pool import Connection, connect_lane, read_pool
from tests import audit
from tests.conftest import Server, new_server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.service.raw import connected, held, lane_is_waiting

# So many commands are drafted beside a batch that is being written.
CROWD = 20
WRITERS = 60
SECONDS = 4
EARLY, LATE = dt.datetime(2026, 1, 2, tzinfo=dt.UTC), dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
KINDS = ("create", "post", "partial", "reverse", "archive", "update")
# Whether anybody has read for a draft since a time.
DRAFTED_SINCE = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'ledger-lane-reader' AND query_start > $1
        AND query NOT LIKE 'DISCARD%'
"""
# The last statement of a lane.
LAST_WRITTEN = """
    SELECT query FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'ledger-lane'
        AND query ~ '^(COMMIT|-- What most batches do|-- New transactions and nothing else)'
    ORDER BY query_start DESC LIMIT 1
"""
# What is written of the transactions of some accounts, but what is drawn or hashed.
WRITTEN = (
    """
    SELECT DISTINCT t.position, t.*, e.time AS "now"
    FROM transactions t JOIN account_lines l USING (ledger_id, transaction_id)
    JOIN events e ON e.ledger_id = t.ledger_id AND e.position = t.position
    WHERE l.account_id = ANY ($1) ORDER BY t.position
    """,
    """
    SELECT l.*, e.time AS "now" FROM account_lines l JOIN events e USING (ledger_id, position)
    WHERE l.account_id = ANY ($1) AND l.transaction_id IS NOT NULL ORDER BY l.line_id
    """,
    """
    SELECT DISTINCT t.position, r.object_id, r.version, r.outcome, r.created_at, e.time AS "now"
    FROM requests r JOIN account_lines l ON l.ledger_id = r.ledger_id AND l.transaction_id = r.object_id
    JOIN transactions t ON t.ledger_id = r.ledger_id AND t.transaction_id = r.object_id
    JOIN events e ON e.ledger_id = t.ledger_id AND e.position = t.position
    WHERE l.account_id = ANY ($1) ORDER BY t.position
    """,
)


@pytest.fixture(autouse=True)
def looks_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever drafts looks everything up first, which tests can see, and waits for what a test holds."""
    monkeypatch.setattr(clock, "SEEN_SECONDS", -1.0)
    monkeypatch.setattr(pool, "LOCK_WAIT", f"{PATIENCE_SECONDS}s")
    monkeypatch.setattr(worker, "DRAFT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(drafts, "READ_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def grants(looks_up: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever drafts on memory alone looks nothing up."""
    monkeypatch.setattr(clock, "SEEN_SECONDS", 3_600.0)


class Pair(NamedTuple):
    cash: Account
    debt: Account


class Old(NamedTuple):
    """Transactions that are there already; the last is a reversal of the second, in part, and pending."""

    pair: Pair
    pending: Transaction
    posted: Transaction
    reversing: Transaction


@pytest.fixture
async def own_client(own_server: Server) -> AsyncIterator[LedgerClient]:
    async with LedgerClient(own_server.address) as client:
        yield client


@pytest.fixture
async def own_ledger(own_client: LedgerClient) -> Ledger:
    return await own_client.create_ledger("Drafts")


@pytest.fixture
async def pair(own_client: LedgerClient, own_ledger: Ledger) -> Pair:
    pair = Pair(
        await own_client.create_account(own_ledger.id, "cash", normal_balance="debit", currency="USD"),
        await own_client.create_account(own_ledger.id, "debt", normal_balance="credit", currency="USD"),
    )
    # From here on the lane remembers the ledger.
    await own_client.create_transaction(
        own_ledger.id, [debit(pair.cash, 100), credit(pair.debt, 100)], status="posted", external_id="first"
    )
    return pair


async def create_account(client: LedgerClient, ledger: Ledger) -> Account:
    return await client.create_account(ledger.id, "a", normal_balance="debit", currency="USD")


def new_transactions(pair: Pair, name: str) -> list[TransactionWrite]:
    """One of each shape, the last archived as it was created."""
    one = move(pair, 1)
    cash_twice = [debit(pair.cash, 3), debit(pair.cash, 4), credit(pair.debt, 7)]
    told = [debit(pair.cash, 1, metadata={"line": "1"}), credit(pair.debt, 1)]
    demanding = [debit(pair.cash, 1, conditions=[condition("posted", ">", 10**9)]), credit(pair.debt, 1)]
    return [
        commands.create_transaction(one, status="posted", external_id=f"{name} 1", metadata={"order": "1"}),
        commands.create_transaction(one, description="later", expires_at=LATE),
        commands.create_transaction(cash_twice, status="posted", effective_at=EARLY),
        commands.create_transaction(told),
        commands.create_transaction(demanding, status="posted", archive_on_condition_failure=True),
    ]


def comparable(rows: Sequence[asyncpg.Record]) -> list[dict[str, object]]:
    """Rows of one batch, with what is another in each batch counted from its first."""
    ids: dict[UUID, int] = {}

    def value(row: asyncpg.Record, name: str) -> object:
        found = row[name]
        if isinstance(found, UUID):
            return ids.setdefault(found, len(ids))
        if name.endswith("position") or name in ("first_entry_id", "line_id"):
            return found - rows[0][name]
        if name == "external_id" and found is not None:
            return found.partition(" ")[2]
        return "now" if found == row["now"] else found

    return [{name: value(row, name) for name in row.keys()} for row in rows]  # noqa: SIM118


def moves(pair: Pair, name: str, count: int, status: str = "posted") -> list[TransactionWrite]:
    return [
        commands.create_transaction(
            [debit(pair.cash, 1), credit(pair.debt, 1)],
            status=status,  # type: ignore[arg-type]
            external_id=f"{name}-{n}",
            request_id=f"{name}-{n}",
        )
        for n in range(count)
    ]


def move(pair: Pair, amount: int, metadata: dict[str, str] | None = None) -> list[EntryInput]:
    return [debit(pair.cash, amount, metadata=metadata), credit(pair.debt, amount, metadata=metadata)]


def _posted(pair: Pair, amount: int, metadata: dict[str, str] | None = None) -> TransactionWrite:
    return commands.create_transaction(move(pair, amount, metadata), status="posted")


async def write_beside(
    server: Server, client: LedgerClient, ledger: Ledger, batches: Sequence[Sequence[TransactionWrite]], *, spoils: bool
) -> list[list[TransactionResult]]:
    """The results of two batches, the second of which is decided while the first is kept from being written.

    If it `spoils`, the first then loses to another writer.
    """
    first, second = batches
    async with held(server.dsn, ledger.id) as holder, connected(server.dsn) as observer:
        writing = asyncio.create_task(client.batch_write_transactions(ledger.id, first, full_results=True))
        await lane_is_waiting(holder)
        since = await observer.fetchval("SELECT clock_timestamp()")
        drafting = asyncio.create_task(client.batch_write_transactions(ledger.id, second, full_results=True))
        await somebody_drafts(observer, since)
        if spoils:
            await holder.execute(
                "UPDATE ledgers SET description = 'meddled with' WHERE ledger_id = $1", number_of(ledger.id)
            )
    return [list((await task).results) for task in (writing, drafting)]


async def somebody_drafts(observer: asyncpg.Connection[asyncpg.Record], since: dt.datetime) -> None:
    """Returns when somebody has read for a draft since then."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not await observer.fetchval(DRAFTED_SINCE, since):
        assert time.monotonic() < give_up_at, "nobody drafted"
        await asyncio.sleep(0.005)


def refusals(results: Sequence[TransactionResult]) -> list[type[LedgerError]]:
    return [type(error_from_status(result.error)) for result in results]


either_way = pytest.mark.parametrize("spoils", [False, True], ids=["written as drafted", "decided anew"])


@either_way
async def test_what_the_batch_before_changes_is_known(
    own_server: Server,
    own_client: LedgerClient,
    own_ledger: Ledger,
    pair: Pair,
    spoils: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spend = [credit(pair.cash, 70, conditions=[condition("available", ">=", 0)]), debit(pair.debt, 70)]
    first = [
        *moves(pair, "pending", CROWD, "pending"),
        commands.create_transaction(spend, status="posted", request_id="spend"),
    ]
    second = [
        *(commands.post_transaction(ExternalId(f"pending-{n}"), request_id=f"post-{n}") for n in range(CROWD)),
        commands.post_transaction(ExternalId("pending-0")),
        commands.create_transaction(spend, status="posted"),
        commands.create_transaction([debit(pair.cash, 1), credit(pair.debt, 1)], external_id="pending-1"),
        *first,
    ]
    monkeypatch.setattr(worker, "log", lines := CapturingLogger())
    one, other = await write_beside(own_server, own_client, own_ledger, [first, second], spoils=spoils)
    # The second is not tried after the first failed.
    assert [call.args for call in lines.calls] == [("batch_failed",)] * spoils
    assert all(result.HasField("transaction") and not result.replayed for result in one)
    posted, refused, repeated = other[:CROWD], other[CROWD : CROWD + 3], other[CROWD + 3 :]
    assert [result.transaction.version for result in posted] == [1] * CROWD
    assert refusals(refused) == [TransactionNotPending, ConditionFailed, ExternalIdTaken]
    assert [result.transaction.id for result in repeated] == [result.transaction.id for result in one]
    assert all(result.replayed for result in repeated)
    cash = await own_client.get_account(own_ledger.id, pair.cash)
    assert cash.balances.posted.amount == str(100 + CROWD - 70)
    assert await audit.findings(own_server.dsn) == []


@either_way
async def test_what_is_answered_is_what_was_written(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair, spoils: bool
) -> None:
    """Answers are made ready while they are being written, and others are given where that failed."""
    batches = [
        [command for n in range(CROWD) for command in new_transactions(pair, f"{name} {n}")]
        for name in ("one", "other")
    ]
    for results in await write_beside(own_server, own_client, own_ledger, batches, spoils=spoils):
        for result in results:
            written = result.transaction
            read = await own_client.get_transaction(own_ledger.id, written.id)
            read.position = written.position
            assert written == read
        assert len({result.transaction.id for result in results}) == len(results)


@either_way
async def test_positions_and_times_rise_from_batch_to_batch(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair, spoils: bool
) -> None:
    head = (await own_client.get_ledger(own_ledger.id)).position
    batches = [moves(pair, "one", CROWD), moves(pair, "other", CROWD)]
    one, other = await write_beside(own_server, own_client, own_ledger, batches, spoils=spoils)
    transactions = [result.transaction for result in one + other]
    assert [t.position for t in transactions] == list(range(head + 1, head + 1 + 2 * CROWD))
    times = [t.created_at.ToNanoseconds() for t in transactions]
    assert times == sorted(times)
    assert await audit.findings(own_server.dsn) == []


async def test_a_few_commands_wait_for_the_batch_before(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair
) -> None:
    async with held(own_server.dsn, own_ledger.id) as holder, connected(own_server.dsn) as observer:
        writes = [asyncio.create_task(own_client.batch_write_transactions(own_ledger.id, moves(pair, "a", CROWD)))]
        await lane_is_waiting(holder)
        since = await observer.fetchval("SELECT clock_timestamp()")
        writes += [
            asyncio.create_task(own_client.batch_write_transactions(own_ledger.id, moves(pair, name, 1)))
            for name in "bcd"
        ]
        await own_client.get_ledger(own_ledger.id)
        assert not await observer.fetchval(DRAFTED_SINCE, since)
    for write in writes:
        await write


@pytest.mark.usefixtures("grants")
async def test_nothing_is_read_for_what_is_in_memory(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair
) -> None:
    await own_client.batch_write_transactions(own_ledger.id, moves(pair, "looked up", 1))
    async with connected(own_server.dsn) as observer:
        since = await observer.fetchval("SELECT clock_timestamp()")
        await own_client.batch_write_transactions(own_ledger.id, moves(pair, "granted", CROWD))
        assert not await observer.fetchval(DRAFTED_SINCE, since)
    assert await audit.findings(own_server.dsn) == []


class Readers:
    """The connections to read with that lanes were given, and how many asked for one after there were none left."""

    def __init__(self) -> None:
        self.given: list[Connection] = []
        self.refused: int | None = None

    async def connect(self, dsn: str) -> Connection:
        if self.refused is not None:
            self.refused += 1
            raise asyncpg.TooManyConnectionsError("none is left")
        self.given.append(await pool.connect_beside_lane(dsn))
        return self.given[-1]

    def take_away(self) -> None:
        self.refused = 0
        for connection in self.given:
            connection.terminate()


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> Readers:
    readers = Readers()
    monkeypatch.setattr(worker, "connect_beside_lane", readers.connect)
    return readers


@pytest.mark.usefixtures("grants")
async def test_who_reads_nothing_needs_no_connection_to_read_with_and_who_has_none_decides_under_the_lock(
    readers: Readers, own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair
) -> None:
    readers.take_away()
    written = await own_client.create_transaction(own_ledger.id, move(pair, 1), status="posted")
    assert readers.refused == 0
    impossible = [debit(pair.cash, 5, conditions=[condition("posted", ">", 10**9)]), credit(pair.debt, 5)]
    with pytest.raises(ConditionFailed):  # which may be a repetition, so it is looked up, after it was decided
        await own_client.create_transaction(own_ledger.id, impossible, status="posted")
    assert readers.refused == 1
    after = await own_client.create_transaction(own_ledger.id, move(pair, 1), status="posted")
    assert after.position == written.position + 1
    assert [entry.account_lock_version for entry in after.entries] == [3, 3]
    assert await audit.findings(own_server.dsn) == []


@pytest.mark.parametrize("loses", [False, True])
async def test_a_ledger_of_which_nothing_is_remembered_is_drafted_on_what_is_read(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair, loses: bool
) -> None:
    """Without its lock; if another server writes meanwhile, it is decided anew."""
    writers = [own_client] * loses
    async with new_server(own_server.dsn) as server, LedgerClient(server.address) as client:
        writers.append(client)
        writing = []
        async with held(server.dsn, own_ledger.id), connected(server.dsn) as observer:
            for n, writer in enumerate(writers):
                since = await observer.fetchval("SELECT clock_timestamp()")
                call = writer.batch_write_transactions(own_ledger.id, moves(pair, f"{n}", 1), full_results=True)
                writing.append(asyncio.create_task(call))
                await lane_is_waiting(observer, len(writing))
                assert await observer.fetchval(DRAFTED_SINCE, since)
        results = [(await task).results[0].transaction for task in writing]
        assert [transaction.entries[0].account_lock_version for transaction in results] == [2, 3][: len(writers)]
    assert await audit.findings(own_server.dsn) == []


@pytest.mark.usefixtures("grants")
async def test_what_was_taken_for_granted_and_is_not_so_is_found_out(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Request ids and external ids that came before, of commands that nothing would be written for, too."""
    overdraw = [credit(pair.cash, 500, conditions=[condition("available", ">=", 0)]), debit(pair.debt, 500)]
    once = [debit(pair.cash, 1, lock_version=1), credit(pair.debt, 1)]
    repeatable = [
        *moves(pair, "repeated", 1),
        # It would not be accepted again.
        commands.create_transaction(once, status="posted", request_id="once"),
    ]
    taken = [
        commands.create_transaction(overdraw, external_id="first"),
        commands.create_transaction(overdraw, external_id="first", archive_on_condition_failure=True),
    ]
    (spent,) = (await own_client.batch_write_transactions(own_ledger.id, repeatable[1:], full_results=True)).results
    (repeated,) = (await own_client.batch_write_transactions(own_ledger.id, repeatable[:1], full_results=True)).results
    assert spent.HasField("transaction")
    assert repeated.HasField("transaction")
    for command, first in ((repeatable[1], spent), (repeatable[0], repeated)):
        monkeypatch.setattr(worker, "REPEATED_SECONDS", 0.0)
        (again,) = (await own_client.batch_write_transactions(own_ledger.id, [command], full_results=True)).results
        assert again.replayed
        assert again.transaction.id == first.transaction.id
        await own_client.batch_write_transactions(own_ledger.id, moves(pair, f"between {command.request_id}", 2))
    for command in taken:
        (refused,) = (await own_client.batch_write_transactions(own_ledger.id, [command])).results
        assert refusals([refused]) == [ExternalIdTaken]
        await own_client.batch_write_transactions(own_ledger.id, moves(pair, f"between {command.request_id}", 2))
    assert await audit.findings(own_server.dsn) == []


@pytest.mark.usefixtures("grants")
async def test_a_lane_that_met_a_repetition_looks_requests_up_for_a_while(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeated = moves(pair, "repeated", CROWD)
    for _ in range(2):
        await own_client.batch_write_transactions(own_ledger.id, moves(pair, new_request_id(), 1))
        await own_client.batch_write_transactions(own_ledger.id, repeated)
    monkeypatch.setattr(worker, "log", lines := CapturingLogger())
    results = (await own_client.batch_write_transactions(own_ledger.id, repeated)).results
    assert all(result.replayed for result in results)
    assert not lines.calls


@pytest.mark.parametrize(
    ("write", "is_one"),
    [
        pytest.param(lambda old: _posted(old.pair, 1), True, id="a creation"),
        pytest.param(lambda old: _posted(old.pair, 1_000), True, id="that turns monitors"),
        pytest.param(lambda old: _posted(old.pair, 1, {"line": "1"}), True, id="of entries with metadata"),
        pytest.param(lambda old: commands.post_transaction(old.pending), True, id="a posting"),
        pytest.param(
            lambda old: commands.post_transaction(old.pending, metadata={"by": "post"}), True, id="with metadata"
        ),
        pytest.param(
            lambda old: commands.post_transaction(old.pending, metadata={"order": "2"}),
            False,
            id="with other metadata than before",
        ),
        pytest.param(lambda old: commands.archive_transaction(old.pending), True, id="an archiving"),
        pytest.param(
            lambda old: commands.reverse_transaction(old.posted, entries=move(old.pair, 1)), True, id="a reversal"
        ),
        pytest.param(lambda old: commands.archive_transaction(old.reversing), True, id="a reversal's end"),
    ],
)
async def test_what_is_written_by_one_statement_is_sent_in_one_message(
    own_server: Server,
    own_client: LedgerClient,
    own_ledger: Ledger,
    pair: Pair,
    write: Callable[[Old], TransactionWrite],
    is_one: bool,
) -> None:
    """With what belongs to it: monitors' states, categories' counters, what is reversed, metadata to find it by."""
    over, under = monitor_condition("posted", ">", 500), monitor_condition("posted", "<", 500)
    for condition_, account in ((over, pair.cash), (under, pair.debt)):
        await own_client.create_balance_monitor(own_ledger.id, condition_, account=account)
    category = await own_client.create_category(own_ledger.id, "all", normal_balance="debit", currency="USD")
    await own_client.add_category_member(own_ledger.id, category, account=pair.cash)
    metadata = {"order": "1"}
    old = Old(
        pair,
        await own_client.create_transaction(own_ledger.id, move(pair, 1), metadata=metadata),
        posted := await own_client.create_transaction(own_ledger.id, move(pair, 2), status="posted"),
        await own_client.reverse_transaction(own_ledger.id, posted, status="pending", entries=move(pair, 1)),
    )
    (result,) = (await own_client.batch_write_transactions(own_ledger.id, [write(old)])).results
    assert not result.HasField("error")
    async with connected(own_server.dsn) as observer:
        last = await observer.fetchval(LAST_WRITTEN)
        assert last.startswith("-- What most batches do" if is_one else "COMMIT")
    assert await audit.findings(own_server.dsn) == []
    async with new_server(own_server.dsn) as server, LedgerClient(server.address) as client:
        assert (await client.verify_ledger(own_ledger.id)).findings == []


async def test_new_transactions_are_written_alike_by_themselves_and_beside_others(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair
) -> None:
    """There is a statement for batches of nothing else, which leaves out what is always the same there."""
    old = await own_client.create_transaction(own_ledger.id, move(pair, 1))
    written = []
    async with connected(own_server.dsn) as observer:
        beside: list[list[TransactionWrite]] = [[], [commands.archive_transaction(old)]]
        for others in beside:
            cash = await own_client.create_account(own_ledger.id, "own", normal_balance="debit", currency="USD")
            debt = await own_client.create_account(own_ledger.id, "own", normal_balance="credit", currency="USD")
            news = new_transactions(Pair(cash, debt), f"{bool(others)}")
            results = (await own_client.batch_write_transactions(own_ledger.id, news + others)).results
            assert not any(result.HasField("error") for result in results)
            last = await observer.fetchval(LAST_WRITTEN)
            assert last.startswith("-- What most batches do" if others else "-- New transactions and nothing else")
            tables = [await observer.fetch(rows, [cash.id, debt.id]) for rows in WRITTEN]
            written.append([comparable(rows) for rows in tables])
    for table_alone, table_beside in zip(*written, strict=True):
        assert table_alone == table_beside != []
    assert await audit.findings(own_server.dsn) == []


@pytest.mark.usefixtures("grants")
async def test_a_reversal_of_nothing_but_zeros_keeps_its_links(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair
) -> None:
    zero = await own_client.create_transaction(own_ledger.id, move(pair, 0), status="posted")
    request_id = new_request_id()
    reversal = await own_client.reverse_transaction(own_ledger.id, zero, request_id=request_id)
    async with new_server(own_server.dsn) as server, LedgerClient(server.address) as client:
        assert await client.get_transaction(own_ledger.id, reversal.id) == reversal
        assert await client.reverse_transaction(own_ledger.id, zero, request_id=request_id) == reversal
    assert reversal.reverses_transaction_id == zero.id
    assert [entry.reverses_entry_id for entry in reversal.entries] == [entry.id for entry in zero.entries]


async def test_the_time_of_a_ledger_that_is_ahead_is_that_of_no_other(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the database's clock was set back, or on a standby whose clock lags."""
    other = await own_client.create_ledger("Other")
    async with connected(own_server.dsn) as connection:
        await connection.execute(
            "UPDATE ledgers SET event_time = clock_timestamp() + '1 hour' WHERE ledger_id = $1",
            number_of(own_ledger.id),
        )
        async with new_server(own_server.dsn) as server, LedgerClient(server.address) as client:
            await create_account(client, other)
            ahead = [await create_account(client, own_ledger) for _ in range(20)]
            # Who writes next has looked at the clock for that ledger, and goes by what it saw.
            monkeypatch.setattr(clock, "SEEN_SECONDS", 3_600.0)
            accounts = [await create_account(client, other) for _ in range(20)]
        now = await connection.fetchval("SELECT clock_timestamp()")
    assert all(account.created_at.ToDatetime(tzinfo=dt.UTC) > now for account in ahead)
    assert all(account.created_at.ToDatetime(tzinfo=dt.UTC) < now for account in accounts)


@pytest.mark.parametrize(("currency", "is_one"), [("EUR", True), ("POINTS", False)])
async def test_new_accounts_are_drafted_too(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair, currency: str, is_one: bool
) -> None:
    """Beside transactions, and used at once; a currency of one's own is a statement of its own."""
    exponent = None if is_one else 2
    news = [
        await own_client.create_account(
            own_ledger.id,
            side,
            normal_balance=side,
            currency=currency,
            currency_exponent=exponent,
            external_id=side,
            metadata={"side": side},
        )
        for side in ("debit", "credit")
    ]
    async with connected(own_server.dsn) as observer:
        last = await observer.fetchval(LAST_WRITTEN)
        assert last.startswith("-- What most batches do" if is_one else "COMMIT")
    with pytest.raises(ExternalIdTaken):
        await own_client.create_account(
            own_ledger.id, "again", normal_balance="debit", currency="USD", external_id="debit"
        )
    entries = [debit(news[0], 5), credit(news[1], 5)]
    async with new_server(own_server.dsn) as server, LedgerClient(server.address) as client:
        for writer in (client, own_client):
            await writer.create_transaction(own_ledger.id, entries, status="posted")
        read = [await client.get_account(own_ledger.id, account.id) for account in news]
        assert [(account.lock_version, account.balances.posted.amount) for account in read] == [(2, "10")] * 2
        assert (await client.verify_ledger(own_ledger.id)).findings == []
    assert await audit.findings(own_server.dsn) == []


async def test_a_repeat_is_answered_in_full_behind_one_that_was_not(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair
) -> None:
    """Of what the batch before repeated, too, it is loaded as much as is asked for."""

    def repeats(*, full_results: bool) -> list[Command]:
        """The batch, and enough others for being decided beside the one that is written."""
        request = BatchWriteTransactionsRequest(
            ledger_id=own_ledger.id, request_id="X", atomic=True, full_results=full_results
        )
        request.commands.add().create.entries.extend(move(pair, 5))
        news = BatchWriteTransactionsRequest(ledger_id=own_ledger.id)
        for _ in range(CROWD):
            news.commands.add().create.CopyFrom(
                CreateTransactionRequest(request_id=new_request_id(), entries=move(pair, 1))
            )
        together, singly = batch(request), batch(news)
        assert isinstance(together, AtomicBatch)
        assert isinstance(singly, list)
        return [together, *(command for command in singly if isinstance(command, Command))]

    await own_client.batch_write_transactions(
        own_ledger.id, [commands.create_transaction(move(pair, 5))], atomic=True, request_id="X"
    )
    async with (
        read_pool(own_server.dsn, size_max=1) as pool,
        Lanes([Worker(own_server.dsn) for _ in range(2)], pool, lambda _ledger_id, _committed: None).running() as lanes,
    ):
        async with held(own_server.dsn, own_ledger.id), connected(own_server.dsn) as observer:
            writing = asyncio.create_task(lanes.submit(repeats(full_results=False)))
            await lane_is_waiting(observer)
            since = await observer.fetchval("SELECT clock_timestamp()")
            drafting = asyncio.create_task(lanes.submit(repeats(full_results=True)))
            await somebody_drafts(observer, since)
        lean, full = (await writing)[0], (await drafting)[0]
    assert isinstance(lean, list)
    assert isinstance(full, list)
    assert [type(answer.object) for answer in lean + full] == [LeanTransaction, StoredTransaction]
    assert all(answer.replayed for answer in lean + full)


@pytest.mark.parametrize("spoilt", ["position", "epoch", "isolation"])
async def test_rows_are_written_only_where_they_were_decided(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, spoilt: str
) -> None:
    ledger_id = number_of(own_ledger.id)
    async with connected(own_server.dsn) as connection:
        row = await connection.fetchrow("SELECT * FROM ledgers WHERE ledger_id = $1", ledger_id)
        requests = await connection.fetchval("SELECT count(*) FROM requests")
    assert row is not None
    state = LedgerState(ledger_id, "Drafts", "", {}, row["created_at"], row["updated_at"])
    book = Book(state, str(row["epoch"]), row["position"], row["event_time"], row["digest"])
    if spoilt == "position":
        book.position += 1
    if spoilt == "epoch":
        book.epoch = NIL_ID
    rows = Rows(book, row["event_time"])
    rows.add_request(("request", b"fingerprint", None, None, "{}"))
    rows.close()
    connection = await connect_lane(own_server.dsn)
    try:
        if spoilt == "isolation":
            await connection.execute("SET default_transaction_isolation = 'repeatable read'")
        with pytest.raises(asyncpg.CheckViolationError):
            await write_draft(connection, rows)
        assert await connection.fetchval("SELECT count(*) FROM requests") == requests
        # It is that, and nothing else, for which it was refused.
        await connection.execute("SET default_transaction_isolation = 'serializable'")
        rows.epoch, rows.position_before, rows.position = str(row["epoch"]), row["position"], row["position"]
        rows.close()
        await write_draft(connection, rows)
        assert await connection.fetchval("SELECT count(*) FROM requests") == requests + 1
    finally:
        await connection.close()


@pytest.mark.parametrize("is_meddled_with", [False, True], ids=["alone", "beside another writer"])
async def test_sixty_writers_of_the_same_few_transactions_keep_the_books_right(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, pair: Pair, is_meddled_with: bool
) -> None:
    """The other writer makes drafts fail, again and again, and then leaves the ledger to them for a while."""
    ledger_id = number_of(own_ledger.id)
    until = time.monotonic() + SECONDS
    shared: deque[Transaction] = deque(maxlen=WRITERS)
    counts: Counter[str] = Counter()

    async def write(seed: int) -> None:
        chosen = random.Random(seed)
        while time.monotonic() < until:
            kind, call = _chosen_call(chosen, own_client, own_ledger.id, pair, shared)
            try:
                shared.append(await call)
                counts[kind] += 1
            except (FailedPrecondition, AlreadyExists, EntryNotFound) as error:
                counts[f"{kind} {type(error).__name__}"] += 1

    async def meddle() -> None:
        async with connected(own_server.dsn) as connection:
            while time.monotonic() < until:
                await connection.execute("UPDATE ledgers SET name = name WHERE ledger_id = $1", ledger_id)
                await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        for seed in range(WRITERS):
            group.create_task(write(seed))
        if is_meddled_with:
            group.create_task(meddle())
    print(dict(counts))
    assert set(KINDS) <= counts.keys()
    assert await audit.findings(own_server.dsn) == []
    async with connected(own_server.dsn) as connection:
        stored = await connection.fetchval("SELECT count(*) FROM transactions")
    # The first is the fixture's.
    assert stored == 1 + counts["create"] + counts["partial"] + counts["reverse"]


def _chosen_call(
    chosen: random.Random, client: LedgerClient, ledger_id: str, pair: Pair, shared: Sequence[Transaction]
) -> tuple[str, Coroutine[object, object, Transaction]]:
    entries = [debit(pair.cash, 10), credit(pair.debt, 10)]
    kind = (
        chosen.choice(["create", "post", "partial", "reverse", "archive", "update"]) if len(shared) > 10 else "create"
    )
    old = chosen.choice(shared) if shared else None
    match kind, old:
        case "post", Transaction():
            return kind, client.post_transaction(ledger_id, old)
        case "partial", Transaction():
            part = [debit(pair.cash, 3), credit(pair.debt, 3)]
            return kind, client.partial_post_transaction(ledger_id, old, part)
        case "reverse", Transaction():
            return kind, client.reverse_transaction(ledger_id, old)
        case "archive", Transaction():
            return kind, client.archive_transaction(ledger_id, old)
        case "update", Transaction():
            return kind, client.update_transaction(ledger_id, old, metadata={"by": str(chosen.random())})
    # Now and then the external id is taken.
    name = f"{chosen.randrange(500)}"
    return "create", client.create_transaction(
        ledger_id, entries, status=chosen.choice(["pending", "posted"]), external_id=name
    )
