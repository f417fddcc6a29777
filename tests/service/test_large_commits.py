"""Commands that write more than they say: a commit ends where it is too large, and a batch that may not is refused.

What is too large is made small here.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from typing import Literal

import pytest

from ledger_client import (
    Account,
    ExternalId,
    InvalidField,
    Ledger,
    LedgerClient,
    Transaction,
    commands,
    credit,
    debit,
    new_request_id,
    written,
)
from ledger_client.commands import TransactionWrite
from ledger_client.v1.transactions_pb2 import EntryInput
from ledger_server.posting import batch, drafts, loading
from tests import audit
from tests.conftest import Server, new_server
from tests.ledger_ids import number_of
from tests.service.raw import connected, held, lane_is_waiting

COUNT = 12
ENTRIES = 4
# Entries of a commit, an atomic batch or a load.
FEW = 10

Accounts = Sequence[Account]


@pytest.fixture
async def own_client(own_server: Server) -> AsyncIterator[LedgerClient]:
    async with LedgerClient(own_server.address, auto_batch=False) as client:
        yield client


@pytest.fixture
async def own_ledger(own_client: LedgerClient) -> Ledger:
    return await own_client.create_ledger("Large")


@pytest.fixture
async def accounts(own_client: LedgerClient, own_ledger: Ledger) -> Accounts:
    return [
        await own_client.create_account(own_ledger.id, f"{n}", normal_balance="debit", currency="USD")
        for n in range(ENTRIES)
    ]


@pytest.fixture(params=["drafted", "locked"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "locked":
        monkeypatch.setattr(drafts, "COMMANDS_MAX", 0)


@pytest.fixture
def small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "COMMIT_ENTRIES_MAX", FEW)
    monkeypatch.setattr(drafts, "COMMIT_ENTRIES_MAX", FEW)


def entries(accounts: Accounts, amount: int = 2) -> list[EntryInput]:
    return [(credit if n % 2 else debit)(account, amount) for n, account in enumerate(accounts)]


async def create(
    client: LedgerClient, accounts: Accounts, count: int, status: Literal["pending", "posted"] = "pending"
) -> list[Transaction]:
    writes = [commands.create_transaction(entries(accounts), status=status) for _ in range(count)]
    response = await client.batch_write_transactions(accounts[0].ledger_id, writes, full_results=True)
    return [written(result) for result in response.results]


async def commits(server: Server, ledger: Ledger, after: int) -> list[int]:
    """How many commands there were in each commit behind a position. A commit has one time."""
    async with connected(server.dsn) as owner:
        rows = await owner.fetch(
            "SELECT count(*) FROM events WHERE ledger_id = $1 AND position > $2 GROUP BY time ORDER BY time",
            number_of(ledger.id),
            after,
        )
    return [row["count"] for row in rows]


async def head(client: LedgerClient, ledger: Ledger) -> int:
    return (await client.get_ledger(ledger.id)).position


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("what", ["post", "archive", "reverse", "move in time", "post in part", "create and post"])
async def test_what_is_one_commit_and_would_write_too_much_is_refused_and_leaves_nothing(
    own_server: Server,
    own_client: LedgerClient,
    own_ledger: Ledger,
    accounts: Accounts,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    one, two, three = old = await create(own_client, accounts, 3, "posted" if what == "reverse" else "pending")
    part, early = entries(accounts, 1), dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    writes: dict[str, list[TransactionWrite]] = {
        "post": [commands.post_transaction(each) for each in old],
        "archive": [commands.archive_transaction(each) for each in old],
        "reverse": [commands.reverse_transaction(each) for each in old],
        "move in time": [commands.update_transaction(each, effective_at=early) for each in old],
        # What is posted and what remains.
        "post in part": [commands.partial_post_transaction(each, part) for each in (one, two)],
        "create and post": [
            commands.create_transaction(entries(accounts), external_id="new"),
            commands.post_transaction(ExternalId("new")),
            commands.post_transaction(three),
        ],
    }
    before = await head(own_client, own_ledger)
    monkeypatch.setattr(batch, "BATCH_ENTRIES_MAX", FEW)

    async def write(count: int, *, validate_only: bool = False) -> None:
        await own_client.batch_write_transactions(
            own_ledger.id, writes[what][:count], atomic=True, validate_only=validate_only
        )

    async def load(count: int) -> None:
        await own_client.import_transactions(own_ledger.id, writes[what][:count], import_id=new_request_id())

    async def validate_one_by_one() -> None:
        await own_client.batch_write_transactions(own_ledger.id, writes[what], validate_only=True)

    for attempt in (write(3, validate_only=True), validate_one_by_one(), write(3), load(3)):
        with pytest.raises(InvalidField) as refused:
            await attempt
        assert refused.value.metadata["field"] == "commands"
        assert "must write at most 10 entries together" in refused.value.message
    assert await head(own_client, own_ledger) == before
    fits = 1 if what == "post in part" else 2
    await (write(fits) if what != "reverse" else load(fits))
    assert await commits(own_server, own_ledger, before) == [fits]
    assert await audit.own_findings(own_server.dsn) == []


@pytest.mark.usefixtures("either_way", "small_commits")
@pytest.mark.parametrize("full_results", [True, False])
async def test_other_commits_take_what_one_has_no_room_for(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, accounts: Accounts, full_results: bool
) -> None:
    """The answers are those of the commands, in their order."""
    old = await create(own_client, accounts, COUNT)
    before = await head(own_client, own_ledger)
    posts: list[TransactionWrite] = [commands.post_transaction(each) for each in old]
    posts[5] = commands.post_transaction(old[4])
    response = await own_client.batch_write_transactions(own_ledger.id, posts, full_results=full_results)
    refused = response.results.pop(5)
    assert refused.HasField("error")
    assert [written(result).id for result in response.results] == [each.id for n, each in enumerate(old) if n != 5]
    assert [written(result).position - before for result in response.results] == list(range(1, COUNT))
    assert [len(written(result).entries) for result in response.results] == [ENTRIES * full_results] * (COUNT - 1)
    # The third command fills a commit.
    assert await commits(own_server, own_ledger, before) == [3, 3, 3, 2]
    assert await audit.own_findings(own_server.dsn) == []


@pytest.mark.usefixtures("either_way")
async def test_no_more_is_loaded_at_once_than_is_bearable(
    own_server: Server,
    own_client: LedgerClient,
    own_ledger: Ledger,
    accounts: Accounts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a server that remembers nothing of them."""
    old = await create(own_client, accounts, COUNT)
    await own_client.update_transaction(own_ledger.id, old[0], metadata={"a": "b"}, request_id="told before")
    await own_client.batch_write_transactions(
        own_ledger.id,
        [commands.update_transaction(each, metadata={"c": "d"}) for each in old],
        atomic=True,
        request_id="told together",
    )
    before = await head(own_client, own_ledger)
    monkeypatch.setattr(loading, "LOADED_ENTRIES_MAX", FEW)
    tell = [commands.update_transaction(each, metadata={"c": "d"}) for each in old]
    async with new_server(own_server.dsn) as server, LedgerClient(server.address) as client:
        # What was written is told again, however much it names.
        await client.batch_write_transactions(own_ledger.id, tell, atomic=True, request_id="told together")
        with pytest.raises(InvalidField) as refused:
            await client.batch_write_transactions(own_ledger.id, tell, atomic=True)
        assert "must name transactions of at most 10 entries together" in refused.value.message
        response = await client.batch_write_transactions(own_ledger.id, tell)
    assert [written(result).position - before for result in response.results] == list(range(1, COUNT + 1))
    assert len(await commits(own_server, own_ledger, before)) > 1
    assert await audit.own_findings(own_server.dsn) == []


@pytest.mark.usefixtures("either_way", "small_commits")
@pytest.mark.parametrize("spoils", [False, True], ids=["", "another writer comes between"])
async def test_who_waits_behind_a_large_call_does_not_wait_for_all_of_it(
    own_server: Server, own_client: LedgerClient, own_ledger: Ledger, accounts: Accounts, spoils: bool
) -> None:
    old = await create(own_client, accounts, COUNT)
    before = await head(own_client, own_ledger)
    async with held(own_server.dsn, own_ledger.id) as holder:
        posts = [commands.post_transaction(each) for each in old]
        large = asyncio.create_task(own_client.batch_write_transactions(own_ledger.id, posts))
        await lane_is_waiting(holder)
        small = [asyncio.create_task(own_client.create_transaction(own_ledger.id, entries(accounts))) for _ in range(2)]
        # They have come when this has, which goes no other way.
        await own_client.get_ledger(own_ledger.id)
        if spoils:
            statement = "UPDATE ledgers SET description = 'meddled with' WHERE ledger_id = $1"
            await holder.execute(statement, number_of(own_ledger.id))
    positions = [written(result).position - before for result in (await large).results]
    assert positions == sorted(positions)
    assert max([(await task).position for task in small]) - before < positions[-1] == COUNT + len(small)
    assert await audit.own_findings(own_server.dsn) == []
