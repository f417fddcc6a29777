"""Balances as of another time, and an account's history: what is promised in words, case by case."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from ledger_client import (
    Account,
    DatabaseUnavailable,
    DeadlineExceeded,
    Ledger,
    LedgerClient,
    Transaction,
    commands,
    credit,
    debit,
)
from ledger_client.inputs import VersionIntervalWord
from ledger_client.v1.accounts_pb2 import (
    AccountVersion,
    GetAccountRequest,
    ListAccountsRequest,
    ListAccountVersionsRequest,
)
from ledger_client.v1.balances_pb2 import BALANCE_KIND_POSTED, DIRECTION_DEBIT
from ledger_client.v1.entries_pb2 import ListEntriesRequest
from ledger_client.v1.filters_pb2 import ListOrder
from ledger_client.v1.ledger_service_pb2_grpc import LedgerServiceStub
from ledger_client.v1.ledgers_pb2 import ListLedgersRequest
from ledger_client.v1.reports_pb2 import ExplainBalanceRequest
from ledger_client.v1.transactions_pb2 import (
    EntryInput,
    ListTransactionsRequest,
    ListTransactionVersionsRequest,
)
from ledger_server.domain.book import TAIL_VERSIONS
from ledger_server.reading import balances, snapshots
from ledger_server.reading.timelines import Sizes, fold
from ledger_server.storage.pool import Connection, connect_lane
from tests import audit
from tests.conftest import Server, new_server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS

SUNDAY = datetime(2026, 3, 1, tzinfo=UTC)
MICROSECOND, DAY = timedelta(microseconds=1), timedelta(days=1)
FOR_EVER = Timestamp(seconds=253_402_300_799, nanos=999_999_999)  # the last that the wire can tell
LONG_AGO, FAR_AWAY = datetime(1970, 1, 1, tzinfo=UTC), datetime(2300, 1, 1, tzinfo=UTC)
TINY = Sizes(tail_versions=1, fanout=2, block_changes=2)


class Shop:
    """A ledger with a till and an owner."""

    def __init__(self, client: LedgerClient, ledger: Ledger, till: Account, owner: Account) -> None:
        self.client, self.ledger, self.till, self.owner = client, ledger, till, owner

    @classmethod
    async def opened(cls, client: LedgerClient) -> Shop:
        ledger = await client.create_ledger(name="Test")
        till = await client.create_account(ledger.id, "Till", normal_balance="debit", currency="USD")
        owner = await client.create_account(ledger.id, "Owner", normal_balance="credit", currency="USD")
        return cls(client, ledger, till, owner)

    def entries(self, amount: int) -> list[EntryInput]:
        return [debit(self.till, amount), credit(self.owner, amount)]

    async def till_at(self, **when: Any) -> tuple[int, int, int]:
        """Posted, pending and available amount of the till."""
        account = await self.client.get_account(self.ledger.id, self.till, **when)
        balances = account.balances
        return int(balances.posted.amount), int(balances.pending.amount), int(balances.available.amount)

    async def sell(self, amount: int, effective_at: datetime | None = None) -> Transaction:
        return await self.client.create_transaction(
            self.ledger.id, self.entries(amount), status="posted", effective_at=effective_at
        )

    async def sell_often(self, count: int) -> None:
        """Sales of 1, effective a second after another, newest first."""
        requests = [
            commands.create_transaction(
                self.entries(1),
                status="posted",
                effective_at=SUNDAY - timedelta(seconds=n),
            )
            for n in range(count)
        ]
        for start in range(0, count, 500):
            await self.client.batch_write_transactions(self.ledger.id, requests[start : start + 500])


@pytest.fixture
async def shop(client: LedgerClient) -> Shop:
    return await Shop.opened(client)


@pytest.fixture
async def connection(server: Server) -> AsyncIterator[Connection]:
    connection = await connect_lane(server.dsn)
    yield connection
    await connection.close()


async def test_an_instant_is_inclusive_and_a_window_ends_before_its_upper_bound(shop: Shop) -> None:
    await shop.sell(5, SUNDAY)
    assert (await shop.till_at(as_of=SUNDAY))[0] == 5
    assert (await shop.till_at(as_of=SUNDAY - MICROSECOND))[0] == 0
    assert (await shop.till_at(effective_at_lower_bound=SUNDAY, effective_at_upper_bound=SUNDAY + MICROSECOND))[0] == 5
    assert (await shop.till_at(effective_at_upper_bound=SUNDAY))[0] == 0
    assert (await shop.till_at(effective_at_lower_bound=SUNDAY + MICROSECOND))[0] == 0
    assert (await shop.till_at(effective_at_lower_bound=SUNDAY, effective_at_upper_bound=SUNDAY))[0] == 0
    last = datetime.max.replace(tzinfo=UTC)
    assert (await shop.till_at(as_of=last))[0] == 5
    # The driver makes infinity of it.
    assert (await shop.till_at(as_of=last - MICROSECOND))[0] == 5
    assert (await shop.till_at(effective_at_upper_bound=last))[0] == 5
    assert (await shop.till_at(effective_at_lower_bound=last))[0] == 0
    assert (await shop.till_at(effective_at_lower_bound=datetime.min.replace(tzinfo=UTC)))[0] == 5


async def test_the_last_microsecond_is_a_bound_of_lists_as_it_is_of_balances(shop: Shop) -> None:
    """The driver would make infinity of it, and a list would find at a bound what is there, or not find it, turned."""
    last = datetime.max.replace(tzinfo=UTC)
    await shop.sell(5, last)

    async def found(**bounds: datetime | Timestamp) -> tuple[int, dict[str, int]]:
        stub, ledger_id, account_id = shop.client.stub, shop.ledger.id, shop.till.id
        asked: Any = {"ledger_id": ledger_id} | {f"effective_at_{name}": time for name, time in bounds.items()}
        explanation = ExplainBalanceRequest(**asked, account_id=account_id, balance=BALANCE_KIND_POSTED)
        counts = {"explained": len((await stub.ExplainBalance(explanation)).entries)}
        for order in (ListOrder.LIST_ORDER_CREATED_DESC, ListOrder.LIST_ORDER_EFFECTIVE_ASC):
            for more in ({}, {"account_id": account_id}):
                query: Any = asked | more | {"order": order}
                page = await stub.ListTransactions(ListTransactionsRequest(**query))
                counts[f"transactions {order} {[*more]}"] = len(page.transactions)
                entries = await stub.ListEntries(ListEntriesRequest(**query, direction=DIRECTION_DEBIT))
                counts[f"entries {order} {[*more]}"] = len(entries.entries)
        every = ListEntriesRequest(**asked, direction=DIRECTION_DEBIT, include_discarded=True)
        counts["entries, discarded too"] = len((await stub.ListEntries(every)).entries)
        account = await stub.GetAccount(GetAccountRequest(**asked, account_id=account_id))
        return int(account.balances.posted.amount), counts

    cases: list[tuple[dict[str, datetime | Timestamp], bool]] = [
        ({"lower_bound": last}, True),
        ({"lower_bound": last - MICROSECOND}, True),
        ({"lower_bound": FOR_EVER}, False),
        ({"upper_bound": last}, False),
        ({"upper_bound": FOR_EVER}, True),
        ({"lower_bound": last, "upper_bound": last}, False),
        ({"lower_bound": last, "upper_bound": FOR_EVER}, True),
        ({"lower_bound": FOR_EVER, "upper_bound": FOR_EVER}, False),
        ({}, True),
    ]
    for bounds, is_within in cases:
        amount, counts = await found(**bounds)
        assert amount == 5 * is_within
        assert counts == dict.fromkeys(counts, int(is_within)), bounds


BOUNDED_IN_TIME: dict[str, tuple[Any, list[str]]] = {
    "ListLedgers": (ListLedgersRequest, ["created_at", "updated_at"]),
    "ListAccounts": (ListAccountsRequest, ["created_at", "updated_at"]),
    "ListAccountVersions": (ListAccountVersionsRequest, ["time"]),
    "ListTransactions": (ListTransactionsRequest, ["created_at", "updated_at", "posted_at", "effective_at"]),
    "ListTransactionVersions": (ListTransactionVersionsRequest, ["time"]),
    "ListEntries": (ListEntriesRequest, ["created_at", "updated_at", "effective_at"]),
}


@pytest.mark.parametrize("method", BOUNDED_IN_TIME)
async def test_everything_is_before_the_end_of_time_and_nothing_from_then_on(shop: Shop, method: str) -> None:
    """Everything that has such a time: what is pending was not posted at any."""
    sold = await shop.sell(5)
    await shop.client.create_transaction(shop.ledger.id, shop.entries(7))
    request_class, times = BOUNDED_IN_TIME[method]
    only: dict[str, dict[str, Any]] = {
        "ListLedgers": {"ids": [shop.ledger.id]},
        "ListAccountVersions": {"ledger_id": shop.ledger.id, "account_id": shop.till.id},
        "ListTransactionVersions": {"ledger_id": shop.ledger.id, "transaction_id": sold.id},
    }
    asked = only.get(method, {"ledger_id": shop.ledger.id})

    async def found(**bounds: Any) -> int:
        page = await getattr(shop.client.stub, method)(request_class(**asked, **bounds))
        return len(getattr(page, page.DESCRIPTOR.fields[0].name))

    for each in times:
        lower, upper = f"{each}_lower_bound", f"{each}_upper_bound"
        assert await found(**{upper: FOR_EVER}) == await found(**{lower: LONG_AGO}) > 0
        assert await found(**{lower: FOR_EVER}) == 0
        assert await found(**{lower: FOR_EVER, upper: FOR_EVER}) == 0
        with pytest.raises(grpc.aio.AioRpcError, match=f"must not be before {lower}"):
            await found(**{lower: FOR_EVER, upper: datetime.max.replace(tzinfo=UTC)})


async def test_an_instant_and_a_bound_at_the_end_of_time_are_still_two_answers(shop: Shop) -> None:
    request = GetAccountRequest(ledger_id=shop.ledger.id, account_id=shop.till.id, effective_at_upper_bound=FOR_EVER)
    request.as_of.FromDatetime(SUNDAY)
    with pytest.raises(grpc.aio.AioRpcError, match="as_of: cannot be given together with"):
        await shop.client.stub.GetAccount(request)


@pytest.mark.parametrize("nanos", [1, 500, 999])
async def test_a_bound_finer_than_a_microsecond_is_not_cut_short(shop: Shop, server: Server, nanos: int) -> None:
    sold = await shop.sell(5, SUNDAY)
    finer = Timestamp(seconds=int(SUNDAY.timestamp()), nanos=nanos)
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = LedgerServiceStub(channel)

        async def found(**bounds: Timestamp) -> tuple[str, int, int]:
            asked: Any = {"ledger_id": shop.ledger.id, "account_id": shop.till.id} | bounds
            account = await stub.GetAccount(GetAccountRequest(**asked))
            entries = await stub.ListEntries(ListEntriesRequest(**asked))
            transactions = await stub.ListTransactions(ListTransactionsRequest(**asked))
            return account.balances.posted.amount, len(entries.entries), len(transactions.transactions)

        assert sold.effective_at.nanos == finer.nanos - nanos
        assert await found(effective_at_upper_bound=finer) == ("5", 1, 1)
        assert await found(effective_at_lower_bound=finer) == ("0", 0, 0)
        account = GetAccountRequest(ledger_id=shop.ledger.id, account_id=shop.till.id, as_of=finer)
        assert (await stub.GetAccount(account)).balances.posted.amount == "5"


async def test_what_did_we_know_on_monday_about_sunday(shop: Shop) -> None:
    await shop.sell(100, SUNDAY)
    monday = (await shop.client.get_ledger(shop.ledger.id)).position
    known = await shop.client.get_account(shop.ledger.id, shop.till)
    await shop.sell(7, SUNDAY)
    await shop.sell(1_000, SUNDAY + DAY)
    assert (await shop.till_at())[0] == 1_107
    assert (await shop.till_at(as_of=SUNDAY))[0] == 107
    assert (await shop.till_at(as_of=SUNDAY, as_of_position=monday))[0] == 100
    assert (await shop.till_at(as_of=SUNDAY - DAY, as_of_position=monday))[0] == 0
    assert (await shop.till_at(as_of=SUNDAY, as_of_lock_version=known.lock_version))[0] == 100


async def test_known_at_is_the_last_position_whose_time_is_not_later(shop: Shop) -> None:
    written = [(await shop.sell(amount)).created_at.ToDatetime(UTC) for amount in (1, 2)]
    assert (await shop.till_at(known_at=written[1]))[0] == 3
    assert (await shop.till_at(known_at=written[1] - MICROSECOND))[0] == 1
    assert (await shop.till_at(known_at=written[0] - MICROSECOND))[0] == 0
    assert (await shop.till_at(known_at=FAR_AWAY))[0] == 3


async def test_a_posting_at_another_time_takes_the_pending_amounts_away_where_they_were(shop: Shop) -> None:
    pending = await shop.client.create_transaction(shop.ledger.id, shop.entries(9), effective_at=SUNDAY)
    await shop.client.post_transaction(shop.ledger.id, pending, effective_at=SUNDAY + 2 * DAY)
    assert await shop.till_at(as_of=SUNDAY + DAY) == (0, 0, 0)
    assert await shop.till_at(as_of=SUNDAY + 2 * DAY) == (9, 9, 9)
    assert await shop.till_at(as_of=SUNDAY + DAY, as_of_lock_version=1) == (0, 9, 0)


async def test_before_an_account_was_there_its_balances_are_zero(shop: Shop) -> None:
    await shop.sell(5)
    before = await shop.client.get_account(shop.ledger.id, shop.till, as_of_position=1)
    assert (before.lock_version, before.balances.posted.amount, before.name) == (0, "0", "Till")
    assert (await shop.till_at(known_at=LONG_AGO)) == (0, 0, 0)
    assert (await shop.till_at(as_of=LONG_AGO)) == (0, 0, 0)


async def test_lists_and_batches_are_read_as_of_a_time_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.sell(5, SUNDAY)
    await shop.sell(8, SUNDAY + DAY)
    ids = [shop.owner.id, shop.till.id, shop.owner.id]
    # Also when it takes longer than a snapshot is held: a snapshot for each account, a page for each.
    for seconds, parts in ((0.4, 100), (-1.0, 1)):
        monkeypatch.setattr(balances, "SCAN_SECONDS", seconds)
        monkeypatch.setattr(balances, "PART_ACCOUNTS", parts)
        read = await shop.client.batch_get_accounts(shop.ledger.id, ids, as_of=SUNDAY)
        assert [(each.id, each.balances.posted.amount, each.lock_version) for each in read.accounts] == [
            (account_id, "5", 2) for account_id in ids
        ]
        listed = [each async for each in shop.client.accounts(shop.ledger.id, as_of_position=3)]
        assert [each.balances.posted.amount for each in listed] == ["5", "5"]


async def test_a_read_that_takes_longer_than_a_snapshot_may_be_held_is_of_several(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both times of an account with very many versions; here few, read one by one, are as good."""
    await shop.sell_often(900)
    monkeypatch.setattr(balances, "PART_VERSIONS", 1)
    known: Any = {"as_of_lock_version": 899, "effective_at_upper_bound": SUNDAY}

    monkeypatch.setattr(balances, "SCAN_SECONDS", 60.0)
    # Red control: held to the end. So many statements take longer on any machine.
    monkeypatch.setattr(snapshots, "SNAPSHOT_SECONDS", 0.01)
    with pytest.raises((DatabaseUnavailable, DeadlineExceeded)):
        await shop.client.get_account(shop.ledger.id, shop.till, timeout=1, **known)
    monkeypatch.setattr(snapshots, "SNAPSHOT_SECONDS", 60.0)
    renew, renewed = snapshots.Snapshot.renew, 0

    async def counted(at: snapshots.Snapshot) -> None:
        nonlocal renewed
        assert at.timeout is not None
        ends_at = at.timeout.when() or 0
        await renew(at)
        assert (at.timeout.when() or 0) > ends_at
        renewed += 1

    monkeypatch.setattr(snapshots.Snapshot, "renew", counted)
    assert await shop.till_at(**known) == (898, 898, 898)
    assert renewed == 0
    monkeypatch.setattr(balances, "SCAN_SECONDS", 0.0)
    assert await shop.till_at(**known) == (898, 898, 898)
    assert renewed > 100


async def test_a_read_waits_for_its_position(shop: Shop) -> None:
    position = (await shop.sell(5, SUNDAY)).position
    read = asyncio.create_task(shop.till_at(as_of=SUNDAY, min_position=position + 1))
    await shop.sell(7, SUNDAY)
    assert (await read)[0] == 12


async def test_many_versions_are_folded_without_being_asked(shop: Shop, server: Server, connection: Connection) -> None:
    await shop.sell_often(TAIL_VERSIONS + 100)
    assert await _folded(connection, shop.till) >= TAIL_VERSIONS
    assert (await shop.till_at(as_of=SUNDAY))[0] == TAIL_VERSIONS + 100
    assert (await shop.till_at(as_of=SUNDAY - timedelta(seconds=TAIL_VERSIONS + 90)))[0] == 10
    # It is derived: without it reads are right, and the first of them has it made again.
    await shop.sell_often(TAIL_VERSIONS + 100)
    async with connection.transaction():
        await connection.execute("LOCK TABLE account_timelines")
        for table in ("account_timeline_blocks", "account_timelines"):
            await connection.execute(f"DELETE FROM {table} WHERE ledger_id = $1", number_of(shop.ledger.id))
    assert (await shop.till_at(as_of=SUNDAY - timedelta(seconds=TAIL_VERSIONS + 90)))[0] == 20
    assert await _folded(connection, shop.till) >= 2 * TAIL_VERSIONS
    assert await audit.findings(server.dsn, shop.ledger.id) == []


async def test_folding_goes_on_after_its_connection_was_cut(database: str) -> None:
    async with new_server(database) as server, LedgerClient(server.address) as client:
        shop, connection = await Shop.opened(client), await connect_lane(database)
        await shop.sell_often(TAIL_VERSIONS)
        await _folded(connection, shop.till, TAIL_VERSIONS)
        cut = await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'ledger-folding'"
        )
        assert len(cut) == 1
        await shop.sell_often(TAIL_VERSIONS)
        await _folded(connection, shop.till, 2 * TAIL_VERSIONS)
        await _folded(connection, shop.owner, 2 * TAIL_VERSIONS)
        await connection.close()


async def _folded(connection: Connection, account: Account, least: int = 1) -> int:
    """How far the account is folded, once it is at least so far."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        folded = await connection.fetchval(
            "SELECT folded_version FROM account_timelines WHERE ledger_id = $1 AND account_id = $2",
            number_of(account.ledger_id),
            account.id,
        )
        if folded and folded >= least:
            return int(folded)
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was folded")


async def test_servers_that_fold_at_once_do_no_harm(shop: Shop, server: Server) -> None:
    connections = [await connect_lane(server.dsn) for _ in range(4)]

    async def fold_often(connection: Connection) -> int:
        return sum([await fold(connection, number_of(shop.ledger.id), shop.till.id, TINY) for _ in range(40)])

    async with asyncio.TaskGroup() as tasks:
        folds = [tasks.create_task(fold_often(connection)) for connection in connections]
        for n in range(40):
            await shop.sell(1, SUNDAY - n % 7 * DAY)
    for connection in connections:
        await connection.close()
    assert sum(task.result() for task in folds) > 4
    assert await audit.findings(server.dsn, shop.ledger.id) == []
    assert (await shop.till_at(as_of=SUNDAY - DAY))[0] == 34


async def test_a_server_that_is_stopped_in_between_loses_nothing(database: str) -> None:
    async with new_server(database) as server, LedgerClient(server.address) as client:
        shop = await Shop.opened(client)
        await shop.sell_often(TAIL_VERSIONS)
    async with new_server(database) as server, LedgerClient(server.address) as client:
        shop.client = client
        await shop.sell_often(TAIL_VERSIONS)
        assert (await shop.till_at(as_of=SUNDAY))[0] == 2 * TAIL_VERSIONS
        assert await audit.findings(server.dsn) == []


# The history of an account.


class History(NamedTuple):
    """A shop, and its till's versions, oldest first, as if 7 hours and 11 minutes had passed from each to the next."""

    shop: Shop
    versions: Sequence[AccountVersion]


@pytest.fixture(scope="module")
async def history(client: LedgerClient, server: Server) -> History:
    shop = await Shop.opened(client)
    for amount in range(1, 31):
        await shop.sell(amount)
    connection = await connect_lane(server.dsn)
    # Without taking effect at another time than they did.
    later = "written_at = $2::timestamptz + lock_version * interval '7:11', effective_at = written_at"
    for statement in (
        f"UPDATE account_lines SET {later}",
        "UPDATE accounts SET created_at = $2::timestamptz",
    ):
        await connection.execute(f"{statement} WHERE ledger_id = $1", number_of(shop.ledger.id), SUNDAY - 2 * DAY)
    await connection.close()
    return History(shop, [version async for version in client.account_versions(shop.ledger.id, shop.till)])


async def test_a_history_tells_every_version(history: History) -> None:
    shop, years = history
    assert [version.lock_version for version in years] == list(range(31))
    assert [int(version.balances.posted.amount) for version in years] == [n * (n + 1) // 2 for n in range(31)]
    assert years[0].transaction_id == ""
    assert [version.position for version in years] == [1, *range(3, 33)]
    newest = await shop.client.get_transaction(shop.ledger.id, years[-1].transaction_id)
    assert newest.entries[0].account_lock_version == 30


@pytest.mark.parametrize("interval", [None, "hour", "day", "month"])
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("page_size", [1, 3, 1_000])
@pytest.mark.parametrize(
    "bounds",
    [(None, None), (SUNDAY, None), (None, SUNDAY + 3 * DAY), (SUNDAY + DAY, SUNDAY + 4.3 * DAY), (SUNDAY, SUNDAY)],
)
async def test_a_history_can_be_thinned_turned_round_and_cut(
    history: History,
    interval: VersionIntervalWord | None,
    newest_first: bool,
    page_size: int,
    bounds: tuple[datetime | None, datetime | None],
) -> None:
    (shop, years), (lower, upper) = history, bounds
    wanted = [
        version
        for version in years
        if (lower is None or _time(version) >= lower) and (upper is None or _time(version) < upper)
    ]
    if interval is not None:
        digits = {"hour": 13, "day": 10, "month": 7}[interval]
        wanted = [list(group)[-1] for _, group in groupby(wanted, lambda v: _time(v).isoformat()[:digits])]
    found: list[AccountVersion] = []
    token = ""
    while True:
        page = await shop.client.list_account_versions(
            shop.ledger.id,
            shop.till,
            newest_first=newest_first,
            interval=interval,
            time_lower_bound=lower,
            time_upper_bound=upper,
            page_size=page_size,
            page_token=token,
        )
        assert len(page.versions) <= page_size
        found += page.versions
        token = page.next_page_token
        if not token:
            break
        assert page.versions
    assert found == (wanted[::-1] if newest_first else wanted)


def _time(version: AccountVersion) -> datetime:
    return version.time.ToDatetime(UTC)
