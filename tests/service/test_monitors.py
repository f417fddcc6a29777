"""Balance monitors: what they say, when, and what can be asked of them, with the real client on the real service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from ledger_client import (
    Account,
    AccountDeleted,
    AccountNotFound,
    BalanceMonitor,
    Category,
    CategoryNotFound,
    Event,
    EventKind,
    ExternalId,
    InvalidArgument,
    Ledger,
    LedgerClient,
    LedgerError,
    MonitorNotFound,
    Outcome,
    RequestIdReused,
    TooManyMonitors,
    VersionMismatch,
    commands,
    condition,
    credit,
    debit,
    monitor_condition,
)
from ledger_client.filters import all_of, any_of, key
from ledger_client.inputs import OperatorSign
from ledger_client.monitors import MonitorFieldWord
from ledger_client.v1.monitors_pb2 import MonitorCondition, UpdateBalanceMonitorRequest
from tests import audit
from tests.conftest import Server, new_server
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.service.raw import held, lane_is_waiting

CREATED = EventKind.EVENT_KIND_MONITOR_CREATED
UPDATED = EventKind.EVENT_KIND_MONITOR_UPDATED
DELETED = EventKind.EVENT_KIND_MONITOR_DELETED
TRIGGERED = EventKind.EVENT_KIND_MONITOR_TRIGGERED
RESOLVED = EventKind.EVENT_KIND_MONITOR_RESOLVED
KINDS = (CREATED, UPDATED, DELETED, TRIGGERED, RESOLVED)
HUGE = 10**36 - 1
LESS: OperatorSign = "<"
MORE: OperatorSign = ">"

LOW = monitor_condition("available", "<", 100)


@dataclass(frozen=True, slots=True)
class Desk:
    """A ledger with a wallet, credit-normal, and the cash that pays into it."""

    client: LedgerClient
    dsn: str
    ledger_id: str
    wallet: Account
    cash: Account

    async def pay(self, amount: int, *, client: LedgerClient | None = None, **more: Any) -> int:
        """Into the wallet, or out of it if negative, posted; the position."""
        left, right = (self.cash, self.wallet) if amount >= 0 else (self.wallet, self.cash)
        entries = [debit(left, abs(amount)), credit(right, abs(amount))]
        given = {"status": "posted"} | more
        return (await (client or self.client).create_transaction(self.ledger_id, entries, **given)).position

    async def monitor(
        self, condition: MonitorCondition = LOW, account: Account | ExternalId | None = None, **more: Any
    ) -> BalanceMonitor:
        subject = more if "category" in more else {"account": account or self.wallet} | more
        return await self.client.create_balance_monitor(self.ledger_id, condition, **subject)

    async def monitor_on(self, field: MonitorFieldWord, sign: OperatorSign, value: int) -> BalanceMonitor:
        return await self.monitor(monitor_condition(field, sign, value))

    async def read(self, monitor: BalanceMonitor) -> BalanceMonitor:
        return await self.client.get_balance_monitor(self.ledger_id, monitor)

    async def events(self, kinds: Iterable[EventKind.ValueType] = ()) -> list[Event]:
        """All events of the ledger, of these kinds."""
        head = (await self.client.get_ledger(self.ledger_id)).position
        events: list[Event] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            async with self.client.watch_events(self.ledger_id, after_position=0) as stream:
                while (stream.position or 0) < head:
                    message = await anext(stream)
                    if isinstance(message, Event):
                        events.append(message)
        return [event for event in events if not kinds or event.kind in kinds]

    async def told(self, monitor: BalanceMonitor) -> list[tuple[EventKind.ValueType, int]]:
        """The kinds and positions of a monitor's events."""
        return [(event.kind, event.position) for event in await self.events(KINDS) if event.monitor.id == monitor.id]

    async def kinds_told(self, monitor: BalanceMonitor) -> list[EventKind.ValueType]:
        return [kind for kind, _ in await self.told(monitor)]


@pytest.fixture
async def desk(client: LedgerClient, server: Server, ledger: Ledger) -> AsyncIterator[Desk]:
    """Whatever a test did, both auditors find that the log tells of it."""
    wallet = await client.create_account(
        ledger.id, "Wallet", normal_balance="credit", currency="USD", external_id="wallet"
    )
    cash = await client.create_account(ledger.id, "Cash", normal_balance="debit", currency="USD")
    yield Desk(client, server.dsn, ledger.id, wallet, cash)
    assert await audit.findings(server.dsn, ledger.id) == []
    assert (await client.verify_ledger(ledger.id)).findings == []


# What they say, and when.


async def test_a_monitor_tells_its_first_state_once_and_then_speaks_on_its_edges_only(desk: Desk) -> None:
    monitor = await desk.monitor(LOW)
    assert monitor.triggered
    assert await desk.told(monitor) == [(CREATED, monitor.position)]
    assert (await desk.events([CREATED]))[0].monitor.triggered
    # One defect of others: level-triggered, it spoke of every transaction below the value.
    for _ in range(3):
        await desk.pay(20)
    up = await desk.pay(40)
    for _ in range(3):
        await desk.pay(20)
    down = await desk.pay(-61)
    await desk.pay(-1)
    assert await desk.told(monitor) == [(CREATED, monitor.position), (RESOLVED, up + 1), (TRIGGERED, down + 1)]


async def test_an_edge_has_a_position_of_its_own_right_behind_its_command(desk: Desk) -> None:
    monitor = await desk.monitor(LOW, metadata={"team": "risk"}, description="Low")
    before = monitor.position
    paid = await desk.pay(100, request_id="the-payment")
    after = await desk.pay(1)
    assert (paid, after) == (before + 1, before + 3)
    command, edge = (await desk.events())[before : before + 2]
    assert (command.position, edge.position) == (paid, paid + 1)
    assert (edge.kind, edge.request_id, edge.actor, edge.account_id) == (
        RESOLVED,
        "the-payment",
        command.actor,
        desk.wallet.id,
    )
    assert (edge.time, edge.transaction_id, len(edge.changes)) == (command.time, "", 0)
    told = edge.monitor
    assert (told.id, told.triggered, told.since_position, told.since) == (monitor.id, False, paid, command.time)
    assert (told.description, dict(told.metadata), told.condition) == ("Low", {"team": "risk"}, LOW)
    # The balances at which it spoke are in it.
    assert (told.lock_version, told.balances) == (
        1,
        command.changes[[c.account_id for c in command.changes].index(desk.wallet.id)].after,
    )


@pytest.mark.parametrize(
    ("sign", "triggered_at"),
    [("<", (-6, 4)), ("<=", (-6, 4, 5)), ("==", (5,)), (">=", (5, 6, 16)), (">", (6, 16))],
)
async def test_each_operator_means_what_it_says(desk: Desk, sign: OperatorSign, triggered_at: tuple[int, ...]) -> None:
    monitor = await desk.monitor_on("posted", sign, 5)
    states: dict[int, bool] = {}
    balance = 0
    for target in (-6, 4, 5, 6, 16, 5, 4, 6, 4):
        await desk.pay(target - balance)
        balance = target
        read = await desk.read(monitor)
        assert int(read.balances.posted.amount) == target
        states[target] = read.triggered
    assert tuple(target for target, triggered in states.items() if triggered) == triggered_at


async def test_equal_is_triggered_on_the_very_value_and_not_when_it_is_jumped_over(desk: Desk) -> None:
    monitor = await desk.monitor_on("available", "==", 50)
    await desk.pay(40)
    await desk.pay(20)
    await desk.pay(-20)
    hit = await desk.pay(10)
    left = await desk.pay(1)
    again = await desk.pay(-1)
    assert await desk.told(monitor) == [
        (CREATED, monitor.position),
        (TRIGGERED, hit + 1),
        (RESOLVED, left + 1),
        (TRIGGERED, again + 1),
    ]


@pytest.mark.parametrize("value", [0, -5, HUGE, -HUGE])
async def test_zero_negative_and_huge_values_are_as_good_as_any(desk: Desk, value: int) -> None:
    monitor = await desk.monitor_on("posted", "==", value)
    assert monitor.condition.value == str(value)
    assert monitor.triggered == (value == 0)
    hit = await desk.pay(value)
    left = await desk.pay(1)
    expected = [(CREATED, monitor.position), (TRIGGERED, hit + 1), (RESOLVED, left + 1)]
    assert await desk.told(monitor) == (expected if value else [expected[0], expected[2]])


@pytest.mark.parametrize("text", ["0.5", "1e3", "-0", "", "1" * 37, "05", "NaN"])
async def test_a_value_that_is_no_integer_is_refused_as_a_field(desk: Desk, text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await desk.monitor(monitor_condition("posted", "<", text))
    assert [violation.subject for violation in refused.value.violations] == ["condition.value"]


async def test_each_balance_is_watched_by_itself(desk: Desk) -> None:
    monitors = {field: await desk.monitor_on(field, ">=", 10) for field in ("posted", "pending", "available")}
    # A pending credit of a credit-normal account is in none but the pending balance.
    coming = await desk.client.create_transaction(
        desk.ledger_id, [debit(desk.cash, 10), credit(desk.wallet, 10)], status="pending"
    )
    assert {field: (await desk.read(monitor)).triggered for field, monitor in monitors.items()} == {
        "posted": False,
        "pending": True,
        "available": False,
    }
    posted = await desk.client.post_transaction(desk.ledger_id, coming)
    edges = await desk.events([TRIGGERED])
    assert [(edge.monitor.id, edge.position) for edge in edges] == [
        (monitors["pending"].id, coming.position + 1),
        (monitors["posted"].id, posted.position + 1),
        (monitors["available"].id, posted.position + 2),
    ]


async def test_the_lock_version_is_watched_too(desk: Desk) -> None:
    monitor = await desk.monitor_on("lock_version", "==", 2)
    positions = [await desk.pay(0) for _ in range(3)]
    assert await desk.told(monitor) == [
        (CREATED, monitor.position),
        (TRIGGERED, positions[1] + 1),
        (RESOLVED, positions[2] + 1),
    ]


async def test_archiving_expiring_and_reversing_make_edges_like_any_command(desk: Desk) -> None:
    await desk.pay(150)
    monitor = await desk.monitor(LOW)
    out = [debit(desk.wallet, 60), credit(desk.cash, 60)]
    held_back = await desk.client.create_transaction(desk.ledger_id, out)
    archived = await desk.client.archive_transaction(desk.ledger_id, held_back)
    gone = await desk.client.create_transaction(desk.ledger_id, out, status="posted")
    back = await desk.client.reverse_transaction(desk.ledger_id, gone)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    expiring = await desk.client.create_transaction(desk.ledger_id, out, expires_at=soon)
    async with desk.client.watch_events(desk.ledger_id, after_position=expiring.position, kinds=[RESOLVED]) as stream:
        await anext(_events_until(stream, expiring.position + 3))
    assert await desk.told(monitor) == [
        (CREATED, monitor.position),
        (TRIGGERED, held_back.position + 1),
        (RESOLVED, archived.position + 1),
        (TRIGGERED, gone.position + 1),
        (RESOLVED, back.position + 1),
        (TRIGGERED, expiring.position + 1),
        (RESOLVED, expiring.position + 3),
    ]


async def test_what_is_refused_or_archived_by_its_condition_makes_no_edge(desk: Desk) -> None:
    await desk.pay(150)
    monitor = await desk.monitor(LOW)
    entries = [debit(desk.wallet, 60, conditions=[condition("available", ">=", 100)]), credit(desk.cash, 60)]
    with pytest.raises(LedgerError):
        await desk.client.create_transaction(desk.ledger_id, entries)
    await desk.client.create_transaction(desk.ledger_id, entries, archive_on_condition_failure=True)
    assert await desk.kinds_told(monitor) == [CREATED]


async def test_both_sides_and_all_monitors_of_one_command_speak_by_account_and_age(desk: Desk) -> None:
    made = [
        await desk.monitor(monitor_condition("posted", ">", n), account)
        for n, account in enumerate((desk.cash, desk.wallet, desk.cash, desk.wallet))
    ]
    paid = await desk.pay(10)
    first, second = ((0, 2), (1, 3)) if desk.cash.id < desk.wallet.id else ((1, 3), (0, 2))
    edges = await desk.events([TRIGGERED])
    assert [edge.monitor.id for edge in edges] == [made[n].id for n in (*first, *second)]
    assert [edge.position for edge in edges] == list(range(paid + 1, paid + 5))


async def test_each_command_of_a_batch_is_judged_by_itself(desk: Desk) -> None:
    monitor = await desk.monitor(LOW)
    up, down = [debit(desk.cash, 100), credit(desk.wallet, 100)], [debit(desk.wallet, 100), credit(desk.cash, 100)]
    for is_atomic in (True, False):
        before = (await desk.client.get_ledger(desk.ledger_id)).position
        response = await desk.client.batch_write_transactions(
            desk.ledger_id,
            [commands.create_transaction(lines, status="posted") for lines in (up, down, up, down)],
            atomic=is_atomic,
        )
        # Edges stand between the commands.
        assert [result.transaction.position - before for result in response.results] == [1, 3, 5, 7]
    assert await desk.kinds_told(monitor) == [CREATED, *(RESOLVED, TRIGGERED) * 4]


async def test_a_refused_atomic_batch_leaves_no_edge_behind(desk: Desk) -> None:
    monitor = await desk.monitor(LOW)
    up = [debit(desk.cash, 100), credit(desk.wallet, 100)]
    failing = [debit(desk.cash, 1, conditions=[condition("posted", "<", 0)]), credit(desk.wallet, 1)]
    with pytest.raises(LedgerError):
        await desk.client.batch_write_transactions(
            desk.ledger_id,
            [commands.create_transaction(lines, status="posted") for lines in (up, failing)],
            atomic=True,
        )
    read = await desk.read(monitor)
    assert (read.triggered, read.since_position) == (True, monitor.position)
    # Nor in what the server remembers: the next crossing is told, once.
    up_position = await desk.pay(100)
    assert await desk.told(monitor) == [(CREATED, monitor.position), (RESOLVED, up_position + 1)]


async def test_commands_that_share_a_commit_are_judged_one_after_another(desk: Desk) -> None:
    monitor = await desk.monitor(LOW)
    async with held(desk.dsn, desk.ledger_id) as connection:
        first = asyncio.create_task(desk.pay(0))
        await lane_is_waiting(connection)
        rest = [asyncio.create_task(desk.pay(amount)) for amount in (100, -100, 100)]
    await asyncio.gather(first, *rest)
    assert await desk.kinds_told(monitor) == [CREATED, RESOLVED, TRIGGERED, RESOLVED]


async def test_a_validated_command_makes_no_edge(desk: Desk) -> None:
    monitor = await desk.monitor(LOW)
    await desk.pay(100, validate_only=True)
    assert (await desk.read(monitor)).triggered
    assert await desk.kinds_told(monitor) == [CREATED]


# Hysteresis.


async def test_a_balance_that_hovers_does_not_make_it_speak_each_time(desk: Desk) -> None:
    await desk.pay(100)
    monitor = await desk.monitor(monitor_condition("available", "<", 100, resolve_value=150))
    down = await desk.pay(-1)
    for amount in (1, -1, 50, -50, 49):
        await desk.pay(amount)
    assert (await desk.read(monitor)).triggered
    up = await desk.pay(2)
    assert await desk.told(monitor) == [(CREATED, monitor.position), (TRIGGERED, down + 1), (RESOLVED, up + 1)]


async def test_hysteresis_works_upwards_too_and_may_be_of_no_width(desk: Desk) -> None:
    wide = await desk.monitor(monitor_condition("posted", ">", 100, resolve_value=-10))
    none = await desk.monitor(monitor_condition("posted", ">=", 100, resolve_value=100))
    for amount in (101, -2, -99, -10, 200):
        await desk.pay(amount)
    assert await desk.kinds_told(wide) == [CREATED, TRIGGERED, RESOLVED, TRIGGERED]
    assert await desk.kinds_told(none) == [CREATED, TRIGGERED, RESOLVED, TRIGGERED]


async def test_a_monitor_without_a_resolve_value_silences_none_of_its_neighbours(desk: Desk) -> None:
    # A defect of others: one row with a null and all monitors of the balance fell silent.
    bare = await desk.monitor(monitor_condition("available", "<", 100))
    with_all = await desk.monitor(
        monitor_condition("available", "<", 100, resolve_value=100), description="full", metadata={"k": "v"}
    )
    await desk.pay(100)
    assert await desk.kinds_told(bare) == await desk.kinds_told(with_all) == [CREATED, RESOLVED]


# Editing.


async def test_an_update_changes_what_it_names_and_nothing_else(desk: Desk) -> None:
    # A defect of others: an update wiped what it did not name.
    full = monitor_condition("available", "<", 100, resolve_value=150)
    monitor = await desk.monitor(full, description="Low", metadata={"a": "1", "b": "2"})
    described = await desk.client.update_balance_monitor(desk.ledger_id, monitor, description="Lower")
    assert (described.condition, dict(described.metadata)) == (full, {"a": "1", "b": "2"})
    patched = await desk.client.update_balance_monitor(desk.ledger_id, monitor, metadata_patch={"a": None, "c": "3"})
    assert (patched.description, patched.condition, dict(patched.metadata)) == ("Lower", full, {"b": "2", "c": "3"})
    other = monitor_condition("available", "<", 50)
    changed = await desk.client.update_balance_monitor(desk.ledger_id, monitor, condition=other)
    assert (changed.description, changed.condition, dict(changed.metadata)) == ("Lower", other, {"b": "2", "c": "3"})
    # Without a mask, what is set.
    last = await desk.client.stub.UpdateBalanceMonitor(
        UpdateBalanceMonitorRequest(
            ledger_id=desk.ledger_id, monitor_id=monitor.id, request_id="no-mask", metadata={"d": "4"}
        )
    )
    assert (last.description, last.condition, dict(last.metadata)) == ("Lower", other, {"d": "4"})
    assert [each.version for each in (monitor, described, patched, changed, last)] == [0, 1, 2, 3, 4]
    assert (last.triggered, last.since_position) == (True, monitor.position)
    read = await desk.read(monitor)
    assert (read.updated_at, read.created_at, read.version) == (last.updated_at, monitor.created_at, 4)
    assert await desk.kinds_told(monitor) == [CREATED, *[UPDATED] * 4]


async def test_a_changed_condition_counts_from_the_very_next_command_on(desk: Desk) -> None:
    # A defect of others: for a while the old condition kept firing from a cache.
    await desk.pay(60)
    monitor = await desk.monitor(monitor_condition("available", "<", 50))
    await desk.client.update_balance_monitor(desk.ledger_id, monitor, condition=monitor_condition("available", "<", 20))
    await desk.pay(-20)
    assert not (await desk.read(monitor)).triggered
    down = await desk.pay(-21)
    assert (await desk.told(monitor))[2:] == [(TRIGGERED, down + 1)]


async def test_a_change_of_the_condition_that_changes_the_state_makes_the_edge(desk: Desk) -> None:
    await desk.pay(60)
    monitor = await desk.monitor(monitor_condition("available", "<", 50))
    raised = await desk.client.update_balance_monitor(
        desk.ledger_id, monitor, condition=monitor_condition("available", "<", 100)
    )
    assert (raised.triggered, raised.since_position, raised.position) == (True, raised.position, raised.position)
    same = await desk.client.update_balance_monitor(
        desk.ledger_id, monitor, condition=monitor_condition("available", "<=", 100)
    )
    lowered = await desk.client.update_balance_monitor(
        desk.ledger_id, monitor, condition=monitor_condition("lock_version", ">", 1)
    )
    assert await desk.told(monitor) == [
        (CREATED, monitor.position),
        (UPDATED, raised.position),
        (TRIGGERED, raised.position + 1),
        (UPDATED, same.position),
        (UPDATED, lowered.position),
        (RESOLVED, lowered.position + 1),
    ]


async def test_another_condition_begins_anew_and_the_same_one_goes_on(desk: Desk) -> None:
    await desk.pay(90)
    full = monitor_condition("available", "<", 100, resolve_value=150)
    monitor = await desk.monitor(full)
    await desk.pay(30)
    assert (await desk.client.update_balance_monitor(desk.ledger_id, monitor, condition=full)).triggered
    other = monitor_condition("available", "<", 100, resolve_value=140)
    assert not (await desk.client.update_balance_monitor(desk.ledger_id, monitor, condition=other)).triggered


async def test_a_version_that_is_another_one_is_refused(desk: Desk) -> None:
    monitor = await desk.monitor()
    changed = await desk.client.update_balance_monitor(desk.ledger_id, monitor, version=0, description="a")
    assert changed.version == 1
    with pytest.raises(VersionMismatch):
        await desk.client.update_balance_monitor(desk.ledger_id, monitor, version=0, description="b")
    with pytest.raises(VersionMismatch):
        await desk.client.delete_balance_monitor(desk.ledger_id, monitor, version=0)
    await desk.client.delete_balance_monitor(desk.ledger_id, monitor, version=1)


async def test_a_deleted_monitor_is_gone_and_silent(desk: Desk) -> None:
    monitor, other = await desk.monitor(), await desk.monitor()
    deleted = await desk.client.delete_balance_monitor(desk.ledger_id, monitor)
    assert deleted.deleted_at == (await desk.events())[deleted.position - 1].time
    assert (deleted.id, deleted.triggered, deleted.since_position) == (monitor.id, True, monitor.position)
    up = await desk.pay(100)
    assert await desk.told(monitor) == [(CREATED, monitor.position), (DELETED, deleted.position)]
    assert (await desk.told(other))[1:] == [(RESOLVED, up + 1)]
    for call in (
        desk.read(monitor),
        desk.client.update_balance_monitor(desk.ledger_id, monitor, description="x"),
        desk.client.delete_balance_monitor(desk.ledger_id, monitor),
    ):
        with pytest.raises(MonitorNotFound) as refused:
            await call
        assert refused.value.metadata == {"monitor_id": monitor.id}
    assert [each.id async for each in desk.client.balance_monitors(desk.ledger_id)] == [other.id]


async def test_a_ledger_whose_last_monitor_is_deleted_pays_for_none(desk: Desk) -> None:
    monitors = [await desk.monitor() for _ in range(2)]
    for monitor in monitors:
        await desk.client.delete_balance_monitor(desk.ledger_id, monitor)
    connection = await asyncpg.connect(desk.dsn)
    try:
        statement = "SELECT monitor_count FROM ledgers WHERE ledger_id = $1"
        count = await connection.fetchval(statement, number_of(desk.ledger_id))
    finally:
        await connection.close()
    assert count == 0


async def test_an_account_takes_a_hundred_monitors_and_room_is_made_by_deleting(desk: Desk) -> None:
    monitors = await asyncio.gather(*(desk.monitor_on("posted", ">", n) for n in range(100)))
    with pytest.raises(TooManyMonitors) as refused:
        await desk.monitor()
    assert refused.value.metadata == {"account_id": desk.wallet.id, "most": "100"}
    await desk.monitor(account=desk.cash)
    await desk.client.delete_balance_monitor(desk.ledger_id, monitors[7])
    await desk.monitor()
    paid = await desk.pay(100)
    head = (await desk.client.get_ledger(desk.ledger_id)).position
    # 99 of posted > n, the one below 100 of the wallet, and the one of the cash.
    assert head - paid == 101


# Restarts, other servers, repeats.


async def test_monitors_are_known_to_a_server_that_has_just_started(desk: Desk) -> None:
    monitor = await desk.monitor(LOW)
    async with new_server(desk.dsn) as other, LedgerClient(other.address) as elsewhere:
        up = await desk.pay(100, client=elsewhere)
        down = await desk.pay(-1)
        changed = await elsewhere.update_balance_monitor(
            desk.ledger_id, monitor, condition=monitor_condition("available", "<", 50)
        )
        await desk.pay(-9)
        await elsewhere.delete_balance_monitor(desk.ledger_id, monitor)
        await desk.pay(-90)
    assert await desk.told(monitor) == [
        (CREATED, monitor.position),
        (RESOLVED, up + 1),
        (TRIGGERED, down + 1),
        (UPDATED, changed.position),
        (RESOLVED, changed.position + 1),
        (DELETED, changed.position + 3),
    ]


async def test_a_repeated_call_has_one_effect_and_an_equal_answer(desk: Desk) -> None:
    full = monitor_condition("available", ">=", HUGE, resolve_value=-HUGE)
    client, ledger_id = desk.client, desk.ledger_id
    created = await desk.monitor(full, metadata={"k": "v"}, description="d", request_id="create")
    updated = await client.update_balance_monitor(ledger_id, created, condition=LOW, request_id="update")
    deleted = await client.delete_balance_monitor(ledger_id, created, request_id="delete")
    await desk.pay(100)
    outcome = Outcome()
    repeats = [
        await desk.monitor(full, metadata={"k": "v"}, description="d", request_id="create", outcome=outcome),
        await client.update_balance_monitor(ledger_id, created, condition=LOW, request_id="update", outcome=outcome),
        await client.delete_balance_monitor(ledger_id, created, request_id="delete", outcome=outcome),
    ]
    assert repeats == [created, updated, deleted]
    assert outcome.replayed
    assert await desk.kinds_told(created) == [CREATED, UPDATED, TRIGGERED, DELETED]


# Reading.


async def test_a_monitor_is_read_with_its_state_and_the_balances_now(desk: Desk) -> None:
    created = await desk.monitor(LOW, ExternalId("wallet"))
    assert created.account_id == desk.wallet.id
    assert (created.version, created.since_position, created.since) == (0, created.position, created.created_at)
    paid = await desk.pay(100)
    last = await desk.pay(1)
    read = await desk.client.get_balance_monitor(desk.ledger_id, created.id, min_position=last)
    wallet = await desk.client.get_account(desk.ledger_id, desk.wallet)
    assert (read.triggered, read.since_position, read.position) == (False, paid, last)
    assert read.since == (await desk.events())[paid - 1].time
    assert (read.lock_version, read.balances) == (wallet.lock_version, wallet.balances)
    assert not read.HasField("deleted_at")


async def test_lists_keep_what_passes_all_filters_oldest_first(desk: Desk) -> None:
    made = [
        await desk.monitor(
            monitor_condition("posted", sign, 50),
            account,
            metadata={"team": team, "n": str(n)},
        )
        for n, (account, sign, team) in enumerate(
            [
                (desk.wallet, LESS, "risk"),
                (desk.wallet, MORE, "risk"),
                (desk.cash, LESS, "ops"),
                (desk.cash, MORE, "risk"),
            ]
        )
    ]
    ids = [monitor.id for monitor in made]

    async def listed(**filters: Any) -> list[int]:
        whole = [each.id async for each in desk.client.balance_monitors(desk.ledger_id, **filters)]
        paged = [each.id async for each in desk.client.balance_monitors(desk.ledger_id, page_size=1, **filters)]
        assert whole == paged
        return [ids.index(each) for each in whole]

    assert await listed() == [0, 1, 2, 3]
    assert await listed(triggered=True) == [0, 2]
    assert await listed(triggered=False) == [1, 3]
    assert await listed(account=desk.cash) == [2, 3]
    assert await listed(account=ExternalId("wallet"), triggered=True) == [0]
    assert await listed(metadata={"team": "risk"}) == [0, 1, 3]
    assert await listed(metadata={"team": "risk"}, triggered=True) == [0]
    assert await listed(metadata_filter=any_of(key("n", equals="2"), key("n", prefix="3"))) == [2, 3]
    assert await listed(metadata_filter=all_of(key("team", one_of=["ops"])), triggered=False) == []
    assert await listed(metadata={"team": "risk", "n": "3"}, account=desk.cash) == [3]
    assert await listed(ids=[ids[3], ids[1], desk.wallet.id]) == [1, 3]
    assert await listed(ids=[ids[3], ids[1]], account=desk.cash, triggered=False) == [3]
    await desk.pay(100)
    assert await listed(triggered=True) == [1, 3]
    with pytest.raises(AccountNotFound):
        await listed(account=ids[0])


async def test_a_list_shows_each_with_its_own_balances_at_one_position(desk: Desk) -> None:
    await desk.monitor(account=desk.wallet)
    await desk.monitor(account=desk.cash)
    paid = await desk.pay(7)
    page = await desk.client.list_balance_monitors(desk.ledger_id)
    wallet, cash = (
        await desk.client.get_account(desk.ledger_id, desk.wallet),
        await desk.client.get_account(desk.ledger_id, desk.cash),
    )
    assert [monitor.balances for monitor in page.monitors] == [wallet.balances, cash.balances]
    assert {page.position, *(monitor.position for monitor in page.monitors)} == {paid}


# On categories.


async def category_of(desk: Desk, *members: Account, **more: Any) -> Category:
    """A credit-normal category of dollars with these accounts in it."""
    category = await desk.client.create_category(desk.ledger_id, "Sum", normal_balance="credit", currency="USD", **more)
    for member in members:
        await desk.client.add_category_member(desk.ledger_id, category, account=member)
    return category


async def test_a_monitor_on_a_category_speaks_when_accounts_under_it_move(desk: Desk) -> None:
    inner = await category_of(desk, desk.wallet)
    outer = await category_of(desk)
    await desk.client.add_category_member(desk.ledger_id, outer, member_category=inner)
    monitor = await desk.monitor(LOW, category=outer)
    assert (monitor.category_id, monitor.account_id, monitor.triggered) == (outer.id, "", True)
    assert not monitor.HasField("lock_version")
    assert (await desk.events([CREATED]))[0].category_id == outer.id
    await desk.pay(60)
    up = await desk.pay(60)
    await desk.pay(60)
    down = await desk.pay(-81)
    assert await desk.told(monitor) == [(CREATED, monitor.position), (RESOLVED, up + 1), (TRIGGERED, down + 1)]
    edge = (await desk.events([TRIGGERED]))[0]
    assert (edge.category_id, edge.account_id, edge.monitor.since_position) == (outer.id, "", down)
    assert edge.monitor.balances.available.amount == "99"
    read = await desk.read(monitor)
    assert (read.category_id, read.triggered, read.balances) == (outer.id, True, edge.monitor.balances)


async def test_what_joins_and_leaves_makes_edges_like_any_command(desk: Desk) -> None:
    await desk.pay(150)
    category = await category_of(desk)
    monitor = await desk.monitor(LOW, category=category)
    client, ledger_id = desk.client, desk.ledger_id
    joined = await client.add_category_member(ledger_id, category, account=desk.wallet)
    left = await client.remove_category_member(ledger_id, category, account=desk.wallet)
    inner = await category_of(desk, desk.wallet)
    nested = await client.add_category_member(ledger_id, category, member_category=inner)
    deleted = await client.delete_category(ledger_id, inner)
    assert await desk.told(monitor) == [
        (CREATED, monitor.position),
        (RESOLVED, joined.position + 1),
        (TRIGGERED, left.position + 1),
        (RESOLVED, nested.position + 1),
        (TRIGGERED, deleted.position + 1),
    ]


async def test_each_command_of_a_batch_is_judged_on_categories_behind_accounts(desk: Desk) -> None:
    category = await category_of(desk, desk.wallet)
    summed, single = await desk.monitor(LOW, category=category), await desk.monitor(LOW)
    up, down = [debit(desk.cash, 100), credit(desk.wallet, 100)], [debit(desk.wallet, 100), credit(desk.cash, 100)]
    for is_atomic in (True, False):
        before = (await desk.client.get_ledger(desk.ledger_id)).position
        response = await desk.client.batch_write_transactions(
            desk.ledger_id,
            [commands.create_transaction(lines, status="posted") for lines in (up, down, up, down)],
            atomic=is_atomic,
        )
        assert [result.transaction.position - before for result in response.results] == [1, 4, 7, 10]
    assert await desk.kinds_told(summed) == [CREATED, *(RESOLVED, TRIGGERED) * 4]
    edges = [event.monitor.id for event in await desk.events([RESOLVED, TRIGGERED])]
    assert edges == [single.id, summed.id] * 8


async def test_a_server_that_starts_anew_remembers_the_state_of_monitors_on_categories(desk: Desk) -> None:
    category = await category_of(desk, desk.wallet)
    monitor = await desk.monitor(LOW, category=category)
    async with new_server(desk.dsn) as other, LedgerClient(other.address) as elsewhere:
        up = await desk.pay(100, client=elsewhere)
        edited = await elsewhere.update_balance_monitor(
            desk.ledger_id, monitor, condition=monitor_condition("posted", "<", 200)
        )
    down = await desk.pay(50)
    assert (await desk.read(monitor)).triggered
    assert await desk.told(monitor) == [
        (CREATED, monitor.position),
        (RESOLVED, up + 1),
        (UPDATED, edited.position),
        (TRIGGERED, edited.position + 1),
    ]
    assert down == edited.position + 2


async def test_a_category_has_no_lock_version_to_be_watched(desk: Desk) -> None:
    category = await category_of(desk)
    counted = monitor_condition("lock_version", ">", 3)
    with pytest.raises(InvalidArgument) as refused:
        await desk.monitor(counted, category=category)
    assert [violation.subject for violation in refused.value.violations] == ["condition.field"]
    monitor = await desk.monitor(LOW, category=category)
    with pytest.raises(InvalidArgument) as refused:
        await desk.client.update_balance_monitor(desk.ledger_id, monitor, condition=counted)
    assert [violation.subject for violation in refused.value.violations] == ["condition.field"]
    assert (await desk.read(monitor)).version == 0


async def test_lists_keep_the_monitors_on_a_category(desk: Desk) -> None:
    ours = await category_of(desk, external_id="ours")
    theirs = await category_of(desk)
    made = [await desk.monitor(LOW, category=each) for each in (ours, theirs, ours)]
    made.append(await desk.monitor(LOW))

    async def listed(**filters: Any) -> list[str]:
        return [each.id async for each in desk.client.balance_monitors(desk.ledger_id, page_size=1, **filters)]

    ids = [monitor.id for monitor in made]
    assert await listed() == ids
    assert await listed(category=ours) == [ids[0], ids[2]]
    assert await listed(category=ExternalId("ours"), ids=ids[1:]) == [ids[2]]
    assert await listed(category=theirs, triggered=False) == []
    with pytest.raises(CategoryNotFound):
        await listed(category=ids[0])
    with pytest.raises(CategoryNotFound):
        await desk.monitor(LOW, category=ExternalId("nobody's"))


async def test_creating_one_on_a_category_again_with_its_request_id_answers_equally(desk: Desk) -> None:
    category = await category_of(desk, desk.wallet)
    first = await desk.monitor(LOW, category=category, request_id="once")
    await desk.pay(500)
    outcome = Outcome()
    again = await desk.monitor(LOW, category=category, request_id="once", outcome=outcome)
    assert (again, outcome.replayed) == (first, True)
    with pytest.raises(RequestIdReused):
        await desk.monitor(LOW, account=desk.wallet, request_id="once")


async def test_a_hundred_monitors_may_be_on_a_category(desk: Desk) -> None:
    category = await category_of(desk)
    await asyncio.gather(*(desk.monitor(LOW, category=category) for _ in range(100)))
    with pytest.raises(TooManyMonitors) as refused:
        await desk.monitor(LOW, category=category)
    assert refused.value.metadata["category_id"] == category.id


# Where what they are on ends.


async def test_monitors_end_with_their_category_right_behind_its_deletion(desk: Desk) -> None:
    inner = await category_of(desk, desk.wallet)
    outer = await category_of(desk)
    await desk.client.add_category_member(desk.ledger_id, outer, member_category=inner)
    await desk.pay(150)
    above = await desk.monitor(LOW, category=outer)
    ended = [await desk.monitor(LOW, category=inner) for _ in range(2)]
    gone = await desk.client.delete_category(desk.ledger_id, inner, request_id="the-end")
    events = (await desk.events())[gone.position - 1 :]
    assert [(event.kind, event.monitor.id) for event in events[1:]] == [
        (DELETED, ended[0].id),
        (DELETED, ended[1].id),
        # What that did to others is told behind.
        (TRIGGERED, above.id),
    ]
    assert [event.position for event in events] == list(range(gone.position, gone.position + 4))
    assert {(event.request_id, event.time.ToNanoseconds()) for event in events} == {
        ("the-end", events[0].time.ToNanoseconds())
    }
    assert events[1].monitor.HasField("deleted_at")
    assert events[1].category_id == inner.id
    for monitor in ended:
        with pytest.raises(MonitorNotFound):
            await desk.read(monitor)
        with pytest.raises(MonitorNotFound):
            await desk.client.delete_balance_monitor(desk.ledger_id, monitor)
    assert [each.id async for each in desk.client.balance_monitors(desk.ledger_id)] == [above.id]
    async with new_server(desk.dsn) as other, LedgerClient(other.address) as elsewhere:
        with pytest.raises(MonitorNotFound):
            await elsewhere.update_balance_monitor(desk.ledger_id, ended[0], description="late")


async def test_monitors_end_with_their_account_right_behind_its_deletion(desk: Desk) -> None:
    gone = await desk.client.create_account(desk.ledger_id, "Gone", normal_balance="credit", currency="USD")
    monitor = await desk.monitor(LOW, gone)
    deleted = await desk.client.delete_account(desk.ledger_id, gone)
    assert await desk.told(monitor) == [(CREATED, monitor.position), (DELETED, deleted.position + 1)]
    event = (await desk.events([DELETED]))[0]
    assert (event.account_id, event.monitor.triggered, event.monitor.HasField("deleted_at")) == (gone.id, True, True)
    with pytest.raises(MonitorNotFound):
        await desk.read(monitor)
    with pytest.raises(AccountDeleted):
        await desk.monitor(LOW, gone)


# Watching.


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "from the log"])
async def test_streams_of_a_category_have_the_edges_under_it_if_asked(desk: Desk, is_live: bool) -> None:
    category = await category_of(desk, desk.wallet)
    start = category.position
    monitor = await desk.monitor(LOW, category=category)
    on_account = await desk.monitor(LOW)
    other = await desk.monitor(LOW, category=await category_of(desk, desk.wallet))
    kinds = [TRIGGERED, RESOLVED]
    asked: Any = {"kinds": kinds, "heartbeat_interval": 0.1, "after_position": start}
    if not is_live:
        up, down = await desk.pay(100), await desk.pay(-100)
    async with (
        desk.client.watch_events(desk.ledger_id, **asked) as all_edges,
        desk.client.watch_balances(desk.ledger_id, category_ids=[category.id], **asked) as of_category,
    ):
        if is_live:
            up, down = await desk.pay(100), await desk.pay(-100)
        everything = [event async for event in _events_until(all_edges, down + 3)]
        own = [event async for event in _events_until(of_category, down + 3)]
    assert {event.monitor.id for event in everything} == {monitor.id, on_account.id, other.id}
    # Its own, and those of the account that is under it.
    ours = {monitor.id, on_account.id}
    assert own == [event for event in everything if event.monitor.id in ours]
    assert [event.kind for event in own] == [RESOLVED, RESOLVED, TRIGGERED, TRIGGERED]
    assert up < own[0].position < own[1].position <= up + 3 < down < own[2].position


@pytest.mark.parametrize("further_kinds", [[], [EventKind.EVENT_KIND_TRANSACTION_CREATED]], ids=["alone", "and others"])
async def test_watching_a_category_too_takes_no_edge_of_an_account_away(desk: Desk, further_kinds: list[Any]) -> None:
    category = await category_of(desk, desk.wallet)
    monitor = await desk.monitor(LOW)
    paid = await desk.pay(100)
    asked: Any = {"kinds": [CREATED, RESOLVED, *further_kinds], "after_position": category.position}
    for watched in ([], [category.id]):
        async with desk.client.watch_balances(
            desk.ledger_id, account_ids=[desk.wallet.id], category_ids=watched, heartbeat_interval=0.1, **asked
        ) as stream:
            told = [event async for event in _events_until(stream, paid + 1)]
        assert [event.kind for event in told if event.monitor.id == monitor.id] == [CREATED, RESOLVED]


async def test_a_balance_stream_of_a_category_that_names_no_kinds_tells_of_balances_only(desk: Desk) -> None:
    category = await category_of(desk, desk.wallet)
    await desk.monitor(LOW, category=category)
    watched: Any = {"category_ids": [category.id], "heartbeat_interval": 0.1}
    async with desk.client.watch_balances(desk.ledger_id, **watched) as stream:
        up = await desk.pay(100)
        down = await desk.pay(-100)
        told = [event async for event in _events_until(stream, down + 1)]
    assert [event.position for event in told] == [up, down]


async def test_an_event_stream_of_an_account_has_the_events_of_its_monitors(desk: Desk) -> None:
    async with desk.client.watch_events(desk.ledger_id, account_ids=[desk.wallet.id], heartbeat_interval=0.1) as stream:
        ours, theirs = await desk.monitor(), await desk.monitor(account=desk.cash)
        paid = await desk.pay(100)
        live = [event async for event in _events_until(stream, paid + 2)]
    assert [(event.kind, event.monitor.id) for event in live if event.monitor.id] == [
        (CREATED, ours.id),
        (RESOLVED, ours.id),
    ]
    assert theirs.id not in [event.monitor.id for event in live]


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "from the log"])
async def test_streams_can_be_asked_for_edges_only(desk: Desk, is_live: bool) -> None:
    start = desk.cash.position
    monitor = await desk.monitor()
    other = await desk.monitor(account=desk.cash)
    kinds = [TRIGGERED, RESOLVED]
    ours: Any = {"kinds": kinds, "account_ids": [desk.wallet.id], "heartbeat_interval": 0.1, "after_position": start}
    expected = []
    if not is_live:
        expected = [await desk.pay(100) + 1, await desk.pay(-100) + 1]
    async with (
        desk.client.watch_events(desk.ledger_id, **ours) as events,
        desk.client.watch_balances(desk.ledger_id, **ours) as balances,
    ):
        if is_live:
            expected = [await desk.pay(100) + 1, await desk.pay(-100) + 1]
        told = [event async for event in _events_until(events, expected[-1])]
        also_told = [event async for event in _events_until(balances, expected[-1])]
    assert told == also_told
    edges = [event.position for event in await desk.events(kinds) if event.monitor.id == monitor.id]
    assert [event.position for event in told] == edges
    assert all(event.monitor.id == monitor.id != other.id for event in told)
    assert [event.monitor.triggered for event in told] == [False, True]


async def test_a_balance_stream_that_names_no_kinds_tells_of_balances_only(desk: Desk) -> None:
    await desk.monitor()
    async with desk.client.watch_balances(desk.ledger_id, heartbeat_interval=0.1) as stream:
        up = await desk.pay(100)
        down = await desk.pay(-100)
        told = [event async for event in _events_until(stream, down + 1)]
    assert [event.position for event in told] == [up, down]


async def _events_until(stream: Any, position: int) -> AsyncIterator[Event]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (stream.position or 0) < position:
            message = await anext(stream)
            if isinstance(message, Event):
                yield message
