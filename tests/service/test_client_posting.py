"""Parts, reversals, limits, statuses, closed books, expiry and account batches: the client on the real service."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator

import pytest

from ledger_client import (
    Account,
    AccountNotEmpty,
    AccountNotFound,
    AccountNotOpen,
    AccountStatus,
    AmountExceeded,
    ArchivedReason,
    BalanceStream,
    ConditionFailed,
    EntryNotFound,
    Event,
    EventKind,
    ExternalId,
    ExternalIdTaken,
    InvalidField,
    Ledger,
    LedgerClient,
    LimitExceeded,
    LockVersionMismatch,
    Outcome,
    PeriodClosed,
    ReversalEntriesFixed,
    Transaction,
    TransactionExpired,
    TransactionNotPending,
    TransactionNotPosted,
    TransactionStatus,
    VersionMismatch,
    account_condition,
    commands,
    condition,
    credit,
    debit,
    error_from_status,
    limits,
    part_of,
    written,
)
from tests.conftest import Server
from tests.patience import PATIENCE_SECONDS

PENDING = TransactionStatus.TRANSACTION_STATUS_PENDING
POSTED = TransactionStatus.TRANSACTION_STATUS_POSTED
ARCHIVED = TransactionStatus.TRANSACTION_STATUS_ARCHIVED
NEW_YEAR = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
Pair = tuple[Account, Account]


@pytest.fixture
async def pair(client: LedgerClient, ledger: Ledger) -> Pair:
    """Cash, debit-normal, and revenue, credit-normal."""
    made = await client.batch_create_accounts(
        ledger.id,
        [
            commands.create_account("Cash", normal_balance="debit", currency="USD", external_id="cash"),
            commands.create_account("Revenue", normal_balance="credit", currency="USD", external_id="revenue"),
        ],
    )
    cash, revenue = made.accounts
    return cash, revenue


async def sale(client: LedgerClient, pair: Pair, amount: int, status: str = "posted") -> Transaction:
    cash, revenue = pair
    return await client.create_transaction(
        cash.ledger_id,
        [debit(cash, amount), credit(revenue, amount)],
        status="posted" if status == "posted" else "pending",
    )


async def amounts(client: LedgerClient, account: Account) -> tuple[int, int, int]:
    """Posted, pending, available."""
    balances = (await client.get_account(account.ledger_id, account)).balances
    return int(balances.posted.amount), int(balances.pending.amount), int(balances.available.amount)


# --- parts and reversals ---


async def test_a_pending_transaction_is_posted_part_by_part(client: LedgerClient, pair: Pair) -> None:
    cash, revenue = pair
    booking = await sale(client, pair, 100, "pending")
    first = await client.partial_post_transaction(
        cash.ledger_id,
        booking,
        [debit(cash, 30), credit(ExternalId("revenue"), 30, metadata={"part": "1"})],
        external_id="part-1",
        description="first",
        metadata={"k": "v"},
        effective_at=NEW_YEAR,
        version=0,
    )
    assert (first.status, first.partially_posts_transaction_id) == (POSTED, booking.id)
    assert (first.external_id, first.description, dict(first.metadata)) == ("part-1", "first", {"k": "v"})
    assert first.effective_at.ToDatetime(dt.UTC) == NEW_YEAR
    assert dict(first.entries[1].metadata) == {"part": "1"}
    assert await amounts(client, cash) == (30, 100, 30)
    left = await client.get_transaction(cash.ledger_id, booking)
    assert (left.version, left.status, [entry.amount for entry in left.entries]) == (1, PENDING, ["70", "70"])

    await client.partial_post_transaction(cash.ledger_id, booking, [part_of(entry, 70) for entry in left.entries])
    gone = await client.get_transaction(cash.ledger_id, booking)
    assert (gone.status, gone.archived_reason) == (ARCHIVED, ArchivedReason.ARCHIVED_REASON_FULLY_POSTED)
    assert await amounts(client, cash) == (100, 100, 100)
    assert await amounts(client, revenue) == (100, 100, 100)


async def test_more_than_is_pending_cannot_be_posted(client: LedgerClient, pair: Pair) -> None:
    cash, revenue = pair
    booking = await sale(client, pair, 100, "pending")
    with pytest.raises(AmountExceeded) as caught:
        await client.partial_post_transaction(cash.ledger_id, booking, [debit(cash, 101), credit(revenue, 101)])
    assert caught.value.metadata["remaining"] == "100"
    violation = caught.value.violations[0]
    assert (violation.rule, violation.account_id) == ("AMOUNT", cash.id)
    assert (violation.seen, violation.demanded, violation.shortfall) == (100, 101, 1)
    with pytest.raises(EntryNotFound):
        await client.partial_post_transaction(cash.ledger_id, booking, [credit(cash, 1), debit(revenue, 1)])
    with pytest.raises(VersionMismatch):
        await client.partial_post_transaction(cash.ledger_id, booking, [debit(cash, 1), credit(revenue, 1)], version=3)


async def test_a_reversal_is_linked_both_ways_and_undoes_everything(client: LedgerClient, pair: Pair) -> None:
    cash, revenue = pair
    booking = await sale(client, pair, 100)
    part = await client.reverse_transaction(
        cash.ledger_id, booking, entries=[debit(cash, 40), credit(revenue, 40)], external_id="refund-1", version=0
    )
    assert (part.status, part.reverses_transaction_id) == (POSTED, booking.id)
    assert [entry.reverses_entry_id for entry in part.entries] == [entry.id for entry in booking.entries]
    assert await amounts(client, cash) == (60, 60, 60)
    held = await client.reverse_transaction(
        cash.ledger_id, booking, entries=[part_of(entry, 60) for entry in booking.entries], status="pending"
    )
    assert held.status == PENDING
    with pytest.raises(AmountExceeded):
        await client.reverse_transaction(cash.ledger_id, booking)
    with pytest.raises(ReversalEntriesFixed):
        await client.post_transaction(cash.ledger_id, held, entries=[debit(revenue, 1), credit(cash, 1)])
    await client.post_transaction(cash.ledger_id, held)
    assert await amounts(client, revenue) == (0, 0, 0)
    read = await client.get_transaction(cash.ledger_id, booking)
    assert list(read.reversed_by_transaction_ids) == [part.id, held.id]


async def test_a_reversal_may_demand_what_must_hold_after_it(client: LedgerClient, pair: Pair) -> None:
    cash, _ = pair
    booking = await sale(client, pair, 100)
    with pytest.raises(ConditionFailed) as caught:
        await client.reverse_transaction(
            cash.ledger_id, booking, conditions=[account_condition(cash, condition("posted", ">", 0), lock_version=1)]
        )
    [violation] = caught.value.violations
    assert violation.subject == f"accounts/{cash.id}"
    assert (violation.rule, violation.account_id, violation.lock_version) == ("BALANCE_CONDITION", cash.id, 1)
    assert (violation.balance, violation.operator) == ("posted", ">")
    assert (violation.seen, violation.demanded, violation.shortfall) == (0, 0, 0)
    assert violation.retryable
    with pytest.raises(LockVersionMismatch) as stale:
        await client.reverse_transaction(
            cash.ledger_id, booking, conditions=[account_condition(ExternalId("cash"), lock_version=0)]
        )
    [violation] = stale.value.violations
    assert (violation.rule, violation.seen, violation.operator, violation.demanded) == ("LOCK_VERSION", 1, "==", 0)
    assert (violation.balance, violation.shortfall) == (None, None)


async def test_a_pending_transaction_cannot_be_reversed(client: LedgerClient, pair: Pair) -> None:
    booking = await sale(client, pair, 100, "pending")
    with pytest.raises(TransactionNotPosted) as caught:
        await client.reverse_transaction(booking.ledger_id, booking)
    assert caught.value.metadata["status"] == "PENDING"


async def test_parts_and_reversals_are_repeated_with_one_effect(client: LedgerClient, pair: Pair) -> None:
    cash, revenue = pair
    booking = await sale(client, pair, 100, "pending")
    outcome = Outcome()
    part = [debit(cash, 10), credit(revenue, 10)]
    posted = [
        await client.partial_post_transaction(cash.ledger_id, booking, part, request_id="p", outcome=outcome)
        for _ in range(2)
    ]
    assert outcome.replayed
    reversals = [await client.reverse_transaction(cash.ledger_id, posted[0], request_id="r") for _ in range(2)]
    assert posted[0] == posted[1]
    assert reversals[0] == reversals[1]
    assert await amounts(client, cash) == (0, 90, 0)


@pytest.mark.parametrize("auto_batch", [True, False], ids=["in batches", "call by call"])
async def test_a_repeated_refusal_is_told_to_be_one(server: Server, pair: Pair, auto_batch: bool) -> None:
    cash, revenue = pair
    lines = [debit(cash, 1, lock_version=99), credit(revenue, 1)]
    async with LedgerClient(server.address, auto_batch=auto_batch) as client:

        async def refused() -> Outcome:
            outcome = Outcome()
            with pytest.raises(LockVersionMismatch):
                await client.create_transaction(cash.ledger_id, lines, request_id="stale", outcome=outcome)
            return outcome

        assert await refused() == Outcome()
        again = Outcome(replayed=True, metadata={"replayed": "true"})
        assert await refused() == again
        assert await asyncio.gather(*(refused() for _ in range(3))) == [again] * 3

        taken = commands.create_account("Cash", normal_balance="debit", currency="USD", external_id="cash")
        for outcome in (Outcome(), Outcome()):
            with pytest.raises(ExternalIdTaken):
                await client.batch_create_accounts(cash.ledger_id, [taken], request_id="taken", outcome=outcome)
        assert outcome == again


async def test_what_only_validates_writes_nothing(client: LedgerClient, pair: Pair) -> None:
    cash, revenue = pair
    booking = await sale(client, pair, 100, "pending")
    await client.partial_post_transaction(
        cash.ledger_id, booking, [debit(cash, 10), credit(revenue, 10)], validate_only=True
    )
    posted = await client.post_transaction(cash.ledger_id, booking, validate_only=True)
    assert posted.entries[0].resulting_balances.posted.amount == "100"
    done = await sale(client, pair, 5)
    reversal = await client.reverse_transaction(cash.ledger_id, done, validate_only=True)
    assert reversal.entries[0].resulting_balances.posted.amount == "0"
    assert await amounts(client, cash) == (5, 105, 5)


async def test_all_six_commands_in_one_batch(client: LedgerClient, pair: Pair) -> None:
    cash, revenue = pair
    lines = [debit(cash, 10), credit(revenue, 10)]
    response = await client.batch_write_transactions(
        cash.ledger_id,
        [
            commands.create_transaction(lines, external_id="a"),
            commands.update_transaction(ExternalId("a"), description="changed"),
            commands.partial_post_transaction(ExternalId("a"), [debit(cash, 4), credit(revenue, 4)], external_id="b"),
            commands.reverse_transaction(ExternalId("b")),
            commands.post_transaction(ExternalId("a")),
            commands.create_transaction(lines, external_id="c"),
            commands.archive_transaction(ExternalId("c")),
        ],
        atomic=True,
    )
    statuses = [written(result).status for result in response.results]
    assert statuses == [PENDING, PENDING, POSTED, POSTED, POSTED, PENDING, ARCHIVED]
    assert await amounts(client, cash) == (6, 6, 6)


async def test_a_refused_command_of_a_batch_tells_its_violations(client: LedgerClient, pair: Pair) -> None:
    cash, revenue = pair
    response = await client.batch_write_transactions(
        cash.ledger_id,
        [commands.create_transaction([debit(cash, 1), credit(revenue, 1, conditions=[condition("pending", "<", 1)])])],
    )
    error = error_from_status(response.results[0].error)
    assert isinstance(error, ConditionFailed)
    assert [(v.balance, v.seen, v.demanded) for v in error.violations] == [("pending", 1, 1)]


async def until_archived(stream: BalanceStream) -> AsyncIterator[Event]:
    """The events up to the one that archives a transaction."""
    async for message in stream:
        if isinstance(message, Event):
            yield message
            if message.kind == EventKind.EVENT_KIND_TRANSACTION_ARCHIVED:
                return


# --- limits, statuses, closed books, expiry ---


async def test_a_limit_refuses_with_what_was_seen_and_demanded(
    client: LedgerClient, ledger: Ledger, pair: Pair
) -> None:
    cash, revenue = pair
    wallet = await client.create_account(
        ledger.id, "Wallet", normal_balance="credit", currency="USD", limits=limits(available_min=0, posted_max=100)
    )
    assert (wallet.limits.available.min, wallet.limits.posted.max) == ("0", "100")
    with pytest.raises(LimitExceeded) as caught:
        await client.create_transaction(ledger.id, [debit(wallet, 30), credit(revenue, 30)])
    [violation] = caught.value.violations
    assert (violation.rule, violation.account_id) == ("BALANCE_LIMIT", wallet.id)
    assert (violation.balance, violation.seen) == ("available", -30)
    assert (violation.operator, violation.demanded, violation.shortfall) == (">=", 0, 30)
    with pytest.raises(LimitExceeded) as caught:
        await client.create_transaction(ledger.id, [debit(cash, 101), credit(wallet, 101)], status="posted")
    assert [(v.operator, v.seen, v.demanded) for v in caught.value.violations] == [("<=", 101, 100)]

    archived = await client.create_transaction(
        ledger.id, [debit(wallet, 30), credit(revenue, 30)], archive_on_condition_failure=True, external_id="x"
    )
    assert (archived.status, archived.archived_reason) == (ARCHIVED, ArchivedReason.ARCHIVED_REASON_CONDITION_FAILED)

    changed = await client.update_account(ledger.id, wallet, limits=limits(available_min=-50))
    assert (changed.limits.available.min, changed.limits.HasField("posted")) == ("-50", False)
    await client.create_transaction(ledger.id, [debit(wallet, 30), credit(revenue, 30)], external_id="x")
    free = await client.update_account(ledger.id, wallet, limits=limits())
    assert not free.limits.ListFields()
    renamed = await client.update_account(ledger.id, wallet, name="Purse")
    assert (renamed.name, renamed.lock_version) == ("Purse", 1)


async def test_frozen_and_closed_accounts_take_nothing(client: LedgerClient, pair: Pair) -> None:
    cash, revenue = pair
    assert cash.status == AccountStatus.ACCOUNT_STATUS_OPEN
    frozen = await client.update_account(cash.ledger_id, cash, status="debits_frozen")
    assert frozen.status == AccountStatus.ACCOUNT_STATUS_DEBITS_FROZEN
    with pytest.raises(AccountNotOpen) as caught:
        await sale(client, pair, 1)
    assert caught.value.metadata["status"] == "DEBITS_FROZEN"
    assert [(v.rule, v.account_id) for v in caught.value.violations] == [("ACCOUNT_STATUS", cash.id)]
    await client.update_account(cash.ledger_id, cash, status=AccountStatus.ACCOUNT_STATUS_OPEN)
    await sale(client, pair, 1)
    with pytest.raises(AccountNotEmpty):
        await client.update_account(cash.ledger_id, ExternalId("cash"), status="closed")
    empty = await client.create_account(cash.ledger_id, "Empty", normal_balance="debit", currency="USD")
    await client.update_account(cash.ledger_id, empty, status="closed")
    with pytest.raises(AccountNotOpen, match="closed"):
        await client.create_transaction(cash.ledger_id, [debit(empty, 1), credit(revenue, 1)])


async def test_books_are_closed_and_opened_again(client: LedgerClient, ledger: Ledger, pair: Pair) -> None:
    cash, revenue = pair
    closed = await client.update_ledger(ledger.id, closed_before=NEW_YEAR)
    assert closed.closed_before.ToDatetime(dt.UTC) == NEW_YEAR
    untouched = await client.update_ledger(ledger.id, name="Renamed")
    assert untouched.closed_before == closed.closed_before
    with pytest.raises(PeriodClosed) as caught:
        await client.create_transaction(
            ledger.id,
            [debit(cash, 1), credit(revenue, 1)],
            status="posted",
            effective_at=NEW_YEAR - dt.timedelta(microseconds=1),
        )
    assert dt.datetime.fromisoformat(caught.value.metadata["earliest_effective_at"]) == NEW_YEAR
    opened = await client.update_ledger(ledger.id, closed_before=None)
    assert not opened.HasField("closed_before")


async def test_what_has_expired_is_not_posted(client: LedgerClient, pair: Pair) -> None:
    cash, revenue = pair
    lines = [debit(cash, 1), credit(revenue, 1)]
    booking = await client.create_transaction(cash.ledger_id, lines, expires_at=dt.datetime.max.replace(tzinfo=dt.UTC))
    assert booking.expires_at.ToDatetime(dt.UTC).year == 9999
    later = await client.update_transaction(cash.ledger_id, booking, expires_at=None, description="kept")
    assert not later.HasField("expires_at")
    with pytest.raises(TransactionExpired) as caught:
        await client.create_transaction(cash.ledger_id, lines, expires_at=NEW_YEAR)
    assert {name: dt.datetime.fromisoformat(value) for name, value in caught.value.metadata.items()} == {
        "expires_at": NEW_YEAR
    }
    with pytest.raises(InvalidField, match="expires_at"):
        await client.create_transaction(cash.ledger_id, lines, status="posted", expires_at=NEW_YEAR)


async def test_a_pending_transaction_is_archived_when_its_time_has_come(client: LedgerClient, pair: Pair) -> None:
    cash, revenue = pair
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.5)
    async with (
        client.watch_balances(cash.ledger_id, account_ids=[cash.id]) as stream,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        held = await client.create_transaction(
            cash.ledger_id, [debit(cash, 7), credit(revenue, 7)], expires_at=soon, external_id="held"
        )
        seen = [message.changes[0].after.pending.amount async for message in until_archived(stream)]
    assert seen == ["7", "0"]
    read = await client.get_transaction(cash.ledger_id, held)
    assert (read.status, read.archived_reason) == (ARCHIVED, ArchivedReason.ARCHIVED_REASON_EXPIRED)
    with pytest.raises(TransactionNotPending):
        await client.post_transaction(cash.ledger_id, held)


# --- batches of accounts ---


async def test_ten_thousand_accounts_at_once(client: LedgerClient, ledger: Ledger) -> None:
    requests = [
        commands.create_account(
            f"Account {n}",
            normal_balance="credit",
            currency="POINTS",
            currency_exponent=3,
            external_id=f"a-{n}",
            metadata={"n": str(n)},
            limits=limits(available_min=0),
        )
        for n in range(10_000)
    ]
    outcome = Outcome()
    made = await client.batch_create_accounts(ledger.id, requests, request_id="all")
    again = await client.batch_create_accounts(ledger.id, requests, request_id="all", outcome=outcome)
    assert [account.external_id for account in made.accounts] == [f"a-{n}" for n in range(10_000)]
    assert made.accounts[-1].position == made.position == 10_000
    assert made.accounts[7].limits.available.min == "0"
    assert outcome.replayed
    assert again == made


async def test_one_refused_account_refuses_them_all(client: LedgerClient, ledger: Ledger) -> None:
    request = commands.create_account("A", normal_balance="debit", currency="USD", external_id="same")
    with pytest.raises(ExternalIdTaken) as caught:
        await client.batch_create_accounts(ledger.id, [request, request])
    assert caught.value.metadata["command_index"] == "1"
    with pytest.raises(AccountNotFound):
        await client.get_account(ledger.id, ExternalId("same"))
    malformed = commands.create_account("", normal_balance="debit", currency="USD")
    with pytest.raises(InvalidField) as invalid:
        await client.batch_create_accounts(ledger.id, [request, malformed])
    assert invalid.value.metadata["command_index"] == "1"
    assert [violation.subject for violation in invalid.value.violations] == ["name"]
