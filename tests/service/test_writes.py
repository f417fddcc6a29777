"""What the writes do to ledgers, accounts and transactions, through the real client; each test ends with an audit."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from ledger_client import (
    Account,
    AccountNotFound,
    ArchivedReason,
    ConditionFailed,
    Event,
    EventKind,
    ExternalId,
    ExternalIdTaken,
    Ledger,
    LedgerClient,
    LockVersionMismatch,
    NormalBalance,
    Transaction,
    TransactionNotFound,
    TransactionNotPending,
    TransactionStatus,
    account_condition,
    commands,
    condition,
    credit,
    debit,
    written,
)
from ledger_client.v1.transactions_pb2 import EntryInput
from tests.audit import findings
from tests.conftest import Server
from tests.ledger_ids import number_of
from tests.service.raw import held, lane_is_waiting, rows_of
from tests.stored_events import read_event

PENDING = TransactionStatus.TRANSACTION_STATUS_PENDING
POSTED = TransactionStatus.TRANSACTION_STATUS_POSTED
ARCHIVED = TransactionStatus.TRANSACTION_STATUS_ARCHIVED
LARGEST = 10**36 - 1
NEVER = condition("available", "<", -(10**30))


class Desk:
    """A ledger with accounts, and short words for what is done to it."""

    def __init__(
        self,
        client: LedgerClient,
        ledger: Ledger,
        accounts: Sequence[Account],
        tables: asyncpg.Connection[asyncpg.Record],
    ) -> None:
        self.client = client
        self.id = ledger.id
        self.cash, self.revenue, self.payable, self.euros, self.fx = (account.id for account in accounts)
        self.tables = tables

    def lines(self, amount: int = 100) -> list[EntryInput]:
        return [debit(self.cash, amount), credit(self.revenue, amount)]

    async def create(self, *entries: EntryInput, posted: bool = False, external_id: str = "") -> Transaction:
        return await self.client.create_transaction(
            self.id, entries or self.lines(), status="posted" if posted else "pending", external_id=external_id
        )

    async def account(self, account_id: str) -> Account:
        return await self.client.get_account(self.id, account_id)

    async def amounts(self, account_id: str) -> tuple[int, int, int, int]:
        """lock_version, pending, posted and available."""
        account = await self.account(account_id)
        balances = account.balances
        pending, posted, available = balances.pending.amount, balances.posted.amount, balances.available.amount
        return account.lock_version, int(pending), int(posted), int(available)

    async def position(self) -> int:
        return (await self.client.get_ledger(self.id)).position

    async def events(self) -> list[Event]:
        statement = "SELECT * FROM events WHERE ledger_id = $1 ORDER BY position"
        rows = await self.tables.fetch(statement, number_of(self.id))
        return list(map(read_event, rows))


@pytest.fixture(scope="module")
async def tables(server: Server) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(server.dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def desk(
    client: LedgerClient, ledger: Ledger, server: Server, tables: asyncpg.Connection[asyncpg.Record]
) -> AsyncIterator[Desk]:
    """A new desk; when the test is over, its books must be right."""
    left, right = NormalBalance.NORMAL_BALANCE_DEBIT, NormalBalance.NORMAL_BALANCE_CREDIT
    accounts = [
        await client.create_account(ledger.id, name, normal_balance=side, currency=currency)
        for name, side, currency in (
            ("Cash", left, "USD"),
            ("Revenue", right, "USD"),
            ("Payable", right, "USD"),
            ("Euros", left, "EUR"),
            ("FX", right, "EUR"),
        )
    ]
    yield Desk(client, ledger, accounts, tables)
    assert await findings(server.dsn, ledger.id) == []


# Ledgers and accounts.


async def test_a_ledger_begins_at_zero_and_its_edits_are_commands(client: LedgerClient) -> None:
    ledger = await client.create_ledger("Books", description="of ours", metadata={"a": "1", "b": "2"})
    assert (ledger.position, ledger.name, ledger.description) == (0, "Books", "of ours")
    assert (await client.get_ledger(ledger.id)) == ledger
    edited = await client.update_ledger(ledger.id, name="Other", metadata_patch={"a": None, "c": "3"})
    assert (edited.position, edited.name, edited.description) == (1, "Other", "of ours")
    assert dict(edited.metadata) == {"b": "2", "c": "3"}
    assert edited.epoch == ledger.epoch
    assert edited.created_at == ledger.created_at
    assert edited.updated_at.ToNanoseconds() > ledger.updated_at.ToNanoseconds()
    emptied = await client.update_ledger(ledger.id, description="", metadata={})
    assert (emptied.name, emptied.description, dict(emptied.metadata)) == ("Other", "", {})


async def test_an_account_takes_the_exponent_of_its_currency(client: LedgerClient, ledger: Ledger) -> None:
    async def exponent(currency: str, asked: int | None = None) -> int:
        account = await client.create_account(
            ledger.id, "New", normal_balance="debit", currency=currency, currency_exponent=asked
        )
        return account.currency_exponent

    assert [await exponent("USD"), await exponent("JPY"), await exponent("KWD", 3)] == [2, 0, 3]
    assert [await exponent("MILES", 30), await exponent("MILES"), await exponent("MILES", 30)] == [30, 30, 30]
    elsewhere = await client.create_ledger("Elsewhere")
    account = await client.create_account(
        elsewhere.id, "New", normal_balance="debit", currency="MILES", currency_exponent=0
    )
    assert account.currency_exponent == 0


async def test_edits_of_an_account_move_neither_balances_nor_lock_version(desk: Desk) -> None:
    await desk.create(posted=True)
    before = await desk.account(desk.cash)
    edited = await desk.client.update_account(
        desk.id, desk.cash, name="Till", description="by the door", external_id="till", metadata={"a": "1"}
    )
    patched = await desk.client.update_account(desk.id, ExternalId("till"), metadata_patch={"b": "2", "a": None})
    assert (edited.name, edited.description, edited.external_id) == ("Till", "by the door", "till")
    assert (patched.name, dict(patched.metadata)) == ("Till", {"b": "2"})
    assert (patched.lock_version, patched.balances) == (before.lock_version, before.balances)
    assert patched.created_at == before.created_at
    removed = await desk.client.update_account(desk.id, desk.cash, external_id="")
    assert removed.external_id == ""
    with pytest.raises(AccountNotFound):
        await desk.client.get_account(desk.id, ExternalId("till"))
    assert await desk.client.get_account(desk.id, desk.cash) == removed


async def test_an_accounts_external_id_is_its_alone_until_given_up(desk: Desk) -> None:
    await desk.client.update_account(desk.id, desk.cash, external_id="mine")
    await desk.client.update_account(desk.id, desk.cash, external_id="mine")
    with pytest.raises(ExternalIdTaken) as caught:
        await desk.client.update_account(desk.id, desk.revenue, external_id="mine")
    assert caught.value.metadata["held_by"] == desk.cash
    await desk.client.update_account(desk.id, desk.cash, external_id="other")
    assert (await desk.client.update_account(desk.id, desk.revenue, external_id="mine")).id == desk.revenue


# Balances.


async def test_the_balance_example_of_the_documentation(desk: Desk) -> None:
    await desk.create(debit(desk.cash, 20_000), credit(desk.payable, 20_000), posted=True)
    await desk.create(debit(desk.payable, 1_000), credit(desk.cash, 1_000), posted=True)
    await desk.create(debit(desk.payable, 9_000), credit(desk.cash, 9_000))
    balances = (await desk.account(desk.payable)).balances
    assert (balances.posted.credits, balances.posted.debits, balances.posted.amount) == ("20000", "1000", "19000")
    assert (balances.pending.credits, balances.pending.debits, balances.pending.amount) == ("20000", "10000", "10000")
    assert (balances.available.credits, balances.available.debits, balances.available.amount) == (
        "20000",
        "10000",
        "10000",
    )
    # Of a debit-normal account the credits are what takes away.
    assert await desk.amounts(desk.cash) == (3, 10_000, 19_000, 10_000)
    await desk.create(debit(desk.cash, 500), credit(desk.payable, 500))
    assert await desk.amounts(desk.cash) == (4, 10_500, 19_000, 10_000)
    assert await desk.amounts(desk.payable) == (4, 10_500, 19_000, 10_000)


async def test_amounts_of_36_digits_are_exact_and_balances_grow_longer(desk: Desk) -> None:
    for _ in range(11):
        transaction = await desk.create(*desk.lines(LARGEST), posted=True)
    assert {entry.amount for entry in transaction.entries} == {str(LARGEST)}
    assert await desk.amounts(desk.cash) == (11, 11 * LARGEST, 11 * LARGEST, 11 * LARGEST)
    assert len(transaction.entries[0].resulting_balances.posted.amount) == 38
    await desk.create(debit(desk.revenue, 1), credit(desk.cash, 1), posted=True)
    assert (await desk.amounts(desk.cash))[2] == 11 * LARGEST - 1


async def test_zero_is_an_amount_and_moves_the_lock_version(desk: Desk) -> None:
    transaction = await desk.create(*desk.lines(0), posted=True)
    assert [entry.amount for entry in transaction.entries] == ["0", "0"]
    assert await desk.amounts(desk.cash) == (1, 0, 0, 0)


async def test_balances_may_be_negative(desk: Desk) -> None:
    await desk.create(debit(desk.revenue, 7), credit(desk.cash, 7), posted=True)
    assert await desk.amounts(desk.cash) == (1, -7, -7, -7)
    assert await desk.amounts(desk.revenue) == (1, -7, -7, -7)


async def test_several_entries_on_one_account_are_one_step_of_its_lock_version(desk: Desk) -> None:
    transaction = await desk.create(
        debit(desk.cash, 5), debit(desk.cash, 7), credit(desk.cash, 2), credit(desk.revenue, 10), posted=True
    )
    on_cash = [entry for entry in transaction.entries if entry.account_id == desk.cash]
    assert [entry.account_lock_version for entry in on_cash] == [1, 1, 1]
    assert {entry.resulting_balances.posted.amount for entry in on_cash} == {"10"}
    assert [entry.amount for entry in transaction.entries] == ["5", "7", "2", "10"]
    assert await desk.amounts(desk.cash) == (1, 10, 10, 10)
    (event,) = [event for event in await desk.events() if event.transaction_id == transaction.id]
    assert sorted(change.account_id for change in event.changes) == sorted([desk.cash, desk.revenue])


async def test_a_transfer_to_oneself_is_legal(desk: Desk) -> None:
    await desk.create(debit(desk.cash, 5), credit(desk.cash, 5), posted=True)
    balances = (await desk.account(desk.cash)).balances.posted
    assert (balances.debits, balances.credits, balances.amount) == ("5", "5", "0")


async def test_an_exchange_is_two_balanced_pairs(desk: Desk) -> None:
    await desk.create(
        debit(desk.cash, 110), credit(desk.revenue, 110), debit(desk.euros, 100), credit(desk.fx, 100), posted=True
    )
    assert await desk.amounts(desk.cash) == (1, 110, 110, 110)
    euros = await desk.account(desk.euros)
    assert (euros.balances.posted.amount, euros.balances.posted.currency) == ("100", "EUR")


async def test_a_thousand_entries_are_one_transaction(desk: Desk) -> None:
    lines = [line for _ in range(500) for line in desk.lines(1)]
    transaction = await desk.create(*lines, posted=True)
    assert len({entry.id for entry in transaction.entries}) == 1_000
    assert await desk.amounts(desk.cash) == (1, 500, 500, 500)
    read = await desk.client.get_transaction(desk.id, transaction)
    assert read.entries == transaction.entries


# The life of a transaction.


async def test_pending_then_changed_then_posted(desk: Desk) -> None:
    created = await desk.create(debit(desk.cash, 100), credit(desk.payable, 100), external_id="booking")
    changed = await desk.client.update_transaction(
        desk.id, created, entries=[debit(desk.cash, 80, metadata={"k": "v"}), credit(desk.revenue, 80)]
    )
    posted = await desk.client.post_transaction(desk.id, ExternalId("booking"), metadata={"by": "me"})
    assert [created.version, changed.version, posted.version] == [0, 1, 2]
    assert [created.status, changed.status, posted.status] == [PENDING, PENDING, POSTED]
    # The payable account is dropped from the transaction: it gets a version without an entry.
    assert await desk.amounts(desk.payable) == (2, 0, 0, 0)
    assert await desk.amounts(desk.cash) == (3, 80, 80, 80)
    assert await desk.amounts(desk.revenue) == (2, 80, 80, 80)
    ids = [{entry.id for entry in version.entries} for version in (created, changed, posted)]
    assert not ids[0] & ids[1]
    assert not ids[1] & ids[2]
    assert [dict(entry.metadata) for entry in posted.entries] == [{"k": "v"}, {}]
    assert [entry.status for entry in posted.entries] == [POSTED, POSTED]
    assert dict(posted.metadata) == {"by": "me"}
    assert posted.HasField("posted_at")
    assert not changed.HasField("posted_at")
    versions = [version async for version in desk.client.transaction_versions(desk.id, created.id)]
    assert [version.entries for version in versions] == [created.entries, changed.entries, posted.entries]


async def test_pending_then_archived(desk: Desk) -> None:
    created = await desk.create()
    archived = await desk.client.archive_transaction(desk.id, created, metadata={"why": "late"})
    assert (archived.status, archived.version) == (ARCHIVED, 1)
    assert archived.archived_reason == ArchivedReason.ARCHIVED_REASON_REQUESTED
    assert [entry.amount for entry in archived.entries] == ["100", "100"]
    assert not {entry.id for entry in archived.entries} & {entry.id for entry in created.entries}
    assert await desk.amounts(desk.cash) == (2, 0, 0, 0)


async def test_a_posting_may_carry_final_entries_time_metadata_and_conditions(desk: Desk) -> None:
    created = await desk.create()
    then = dt.datetime(2020, 2, 29, 12, tzinfo=dt.UTC)
    posted = await desk.client.post_transaction(
        desk.id,
        created,
        version=0,
        entries=[debit(desk.cash, 60), credit(desk.payable, 60, conditions=[condition("posted", "==", 60)])],
        effective_at=then,
        metadata={"captured": "yes"},
        conditions=[
            account_condition(desk.revenue, condition("pending", "==", 0), lock_version=1),
            account_condition(desk.euros, condition("posted", ">=", 0)),
        ],
    )
    assert posted.effective_at.ToDatetime(dt.UTC) == then
    assert {entry.effective_at.ToDatetime(dt.UTC) for entry in posted.entries} == {then}
    assert await desk.amounts(desk.cash) == (2, 60, 60, 60)
    assert await desk.amounts(desk.revenue) == (2, 0, 0, 0)
    assert await desk.amounts(desk.euros) == (0, 0, 0, 0)


async def test_a_posting_whose_condition_fails_leaves_the_transaction_pending(desk: Desk) -> None:
    created = await desk.create()
    with pytest.raises(ConditionFailed) as caught:
        await desk.client.post_transaction(
            desk.id, created, conditions=[account_condition(desk.cash, condition("posted", "<", 100))]
        )
    (violation,) = caught.value.violations
    assert violation.subject == f"accounts/{desk.cash}"
    for said in ("posted would be 100", "< 100", "lock_version 1"):
        assert said in violation.description
    assert (await desk.client.get_transaction(desk.id, created)).status == PENDING


async def test_what_can_be_edited_depends_on_the_state(desk: Desk) -> None:
    async def edit(transaction: Transaction) -> list[str]:
        """The fields whose edit is accepted."""
        edits: list[tuple[str, commands.UpdateFields]] = [
            ("metadata", {"metadata": {"a": "1"}}),
            ("metadata.key", {"metadata_patch": {"b": "2"}}),
            ("external_id", {"external_id": f"new-{transaction.id}"}),
            ("description", {"description": "new"}),
            ("effective_at", {"effective_at": dt.datetime(2001, 1, 1, tzinfo=dt.UTC)}),
            ("entries", {"entries": desk.lines(7)}),
        ]
        accepted = []
        for name, fields in edits:
            try:
                await desk.client.update_transaction(desk.id, transaction.id, **fields)
            except TransactionNotPending:
                continue
            accepted.append(name)
        return accepted

    everything = ["metadata", "metadata.key", "external_id", "description", "effective_at", "entries"]
    assert await edit(await desk.create()) == everything
    assert await edit(await desk.create(posted=True)) == everything[:3]
    archived = await desk.client.archive_transaction(desk.id, await desk.create())
    assert await edit(archived) == everything[:2]


async def test_edits_of_what_is_not_money_move_no_account_and_write_no_entries(desk: Desk) -> None:
    created = await desk.create()
    edited = await desk.client.update_transaction(
        desk.id, created, description="why", external_id="mine", metadata={"a": "1"}
    )
    assert edited.version == 1
    assert edited.entries == created.entries
    assert (await desk.account(desk.cash)).lock_version == 1
    assert (await desk.events())[-1].kind == EventKind.EVENT_KIND_TRANSACTION_UPDATED
    assert not (await desk.events())[-1].changes


async def test_a_new_business_time_writes_new_entries_and_keeps_the_amounts(desk: Desk) -> None:
    created = await desk.create()
    then = dt.datetime(1999, 12, 31, tzinfo=dt.UTC)
    moved = await desk.client.update_transaction(desk.id, created, effective_at=then)
    assert {entry.effective_at.ToDatetime(dt.UTC) for entry in moved.entries} == {then}
    assert not {entry.id for entry in moved.entries} & {entry.id for entry in created.entries}
    assert await desk.amounts(desk.cash) == (2, 100, 0, 0)


@pytest.mark.parametrize(
    ("seconds", "nanos", "kept"),
    [(1_700_000_000, 123_456_789, 123_456_000), (-1, 999_999_999, 999_999_000), (-62_135_596_800, 0, 0)],
    ids=["today", "before 1970", "the first second of the year 1"],
)
async def test_business_time_is_cut_to_microseconds(desk: Desk, seconds: int, nanos: int, kept: int) -> None:
    request = commands.create_transaction(desk.lines(), request_id="at some time")
    request.ledger_id = desk.id
    request.effective_at.seconds, request.effective_at.nanos = seconds, nanos
    created = await desk.client.stub.CreateTransaction(request)
    assert (created.effective_at.seconds, created.effective_at.nanos) == (seconds, kept)
    assert (await desk.client.get_transaction(desk.id, created)).effective_at == created.effective_at


async def test_the_last_microsecond_of_the_year_9999_can_be_written_and_read(desk: Desk) -> None:
    last = dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
    created = await desk.client.create_transaction(desk.id, desk.lines(), effective_at=last)
    assert (await desk.client.get_transaction(desk.id, created)).effective_at.ToDatetime(dt.UTC) == last


async def test_business_time_is_by_default_the_time_of_the_write(desk: Desk) -> None:
    created = await desk.create()
    assert created.effective_at == created.created_at == created.updated_at
    posted = await desk.client.post_transaction(desk.id, created)
    assert posted.effective_at == created.effective_at
    assert posted.posted_at == posted.updated_at
    assert posted.posted_at.ToNanoseconds() > posted.created_at.ToNanoseconds()


# External ids.


async def test_an_external_id_is_free_again_after_archiving(desk: Desk) -> None:
    first = await desk.create(external_id="booking")
    with pytest.raises(ExternalIdTaken):
        await desk.create(external_id="booking")
    archived = await desk.client.archive_transaction(desk.id, ExternalId("booking"))
    assert archived.external_id == "booking"
    with pytest.raises(TransactionNotFound):
        await desk.client.get_transaction(desk.id, ExternalId("booking"))
    second = await desk.create(external_id="booking")
    assert (await desk.client.get_transaction(desk.id, ExternalId("booking"))).id == second.id != first.id


async def test_a_posted_transaction_holds_its_external_id_until_it_is_changed(desk: Desk) -> None:
    posted = await desk.create(posted=True, external_id="booking")
    with pytest.raises(ExternalIdTaken) as caught:
        await desk.create(external_id="booking")
    assert caught.value.metadata["held_by"] == posted.id
    await desk.client.update_transaction(desk.id, posted, external_id="")
    await desk.create(external_id="booking")


async def test_external_ids_are_swapped_within_one_batch(desk: Desk) -> None:
    one, two = await desk.create(external_id="one"), await desk.create(external_id="two")
    await desk.client.batch_write_transactions(
        desk.id,
        [
            commands.update_transaction(one, external_id="swapping"),
            commands.update_transaction(two, external_id="one"),
            commands.update_transaction(one, external_id="two"),
        ],
        atomic=True,
    )
    assert (await desk.client.get_transaction(desk.id, ExternalId("one"))).id == two.id
    assert (await desk.client.get_transaction(desk.id, ExternalId("two"))).id == one.id


@pytest.mark.parametrize("atomic", [True, False])
async def test_who_is_not_written_holds_no_external_id(desk: Desk, atomic: bool) -> None:
    twice = [commands.create_transaction(desk.lines(), external_id="twice") for _ in range(2)]

    async def last_of(*items: commands.TransactionWrite, request_id: str, dry: bool = False) -> None:
        response = await desk.client.batch_write_transactions(
            desk.id, items, atomic=atomic, request_id=request_id if atomic else None, validate_only=dry
        )
        written(response.results[-1])

    async def refused(*items: commands.TransactionWrite, request_id: str, dry: bool = False) -> tuple[object, ...]:
        """What is told of the last of a batch that is not written: the message, and who holds the id."""
        with pytest.raises(ExternalIdTaken) as caught:
            await last_of(*items, request_id=request_id, dry=dry)
        return caught.value.message, caught.value.metadata.get("held_by")

    nobody = ("the external_id is held by an earlier command of this batch", None)
    assert await refused(*twice, request_id="dry", dry=True) == nobody
    if atomic:
        assert [await refused(*twice, request_id="twice") for _ in range(2)] == [nobody] * 2, "a repetition too"
    # Whom a caller finds holds it, also after he gave it away and got it back.
    one, other = await desk.create(external_id="one"), await desk.create()
    back = [commands.update_transaction(one, external_id=external_id) for external_id in ("", "one")]
    take = commands.create_transaction(desk.lines(), external_id="one")
    assert await refused(*back, take, request_id="b", dry=True) == (f"the external_id is held by {one.id}", one.id)
    passed_on = [back[0], commands.update_transaction(other, external_id="one")]
    assert await refused(*passed_on, take, request_id="c", dry=True) == nobody


async def test_of_an_import_who_is_written_holds_the_external_id(desk: Desk) -> None:
    twice = [commands.create_transaction(desk.lines(), external_id="twice") for _ in range(2)]
    summary = await desk.client.import_transactions(desk.id, twice)
    (refusal,) = summary.refusals
    first = await desk.client.get_transaction(desk.id, ExternalId("twice"))
    assert refusal.error.metadata["held_by"] == first.id


async def test_of_two_new_accounts_with_one_external_id_nobody_holds_it(desk: Desk) -> None:
    new = commands.create_account("New", normal_balance="debit", currency="USD", external_id="twice")
    for _ in range(2):
        with pytest.raises(ExternalIdTaken) as caught:
            await desk.client.batch_create_accounts(desk.id, [new, new], request_id="twice")
        assert caught.value.metadata == {"external_id": "twice", "command_index": "1"}


async def test_an_external_id_passes_from_an_archived_to_a_new_transaction_within_one_batch(desk: Desk) -> None:
    await desk.create(external_id="booking")
    response = await desk.client.batch_write_transactions(
        desk.id,
        [
            commands.archive_transaction(ExternalId("booking")),
            commands.create_transaction(desk.lines(), external_id="booking"),
            commands.post_transaction(ExternalId("booking")),
        ],
    )
    assert [written(result).status for result in response.results] == [ARCHIVED, PENDING, POSTED]
    assert response.results[1].transaction.id == response.results[2].transaction.id


# Conditions.


async def test_a_failed_condition_may_archive_instead_of_refusing(desk: Desk) -> None:
    archived = await desk.client.create_transaction(
        desk.id,
        [debit(desk.cash, 5, conditions=[NEVER]), credit(desk.revenue, 5)],
        status="posted",
        external_id="attempt",
        archive_on_condition_failure=True,
    )
    assert (archived.status, archived.version) == (ARCHIVED, 0)
    assert archived.archived_reason == ArchivedReason.ARCHIVED_REASON_CONDITION_FAILED
    assert not archived.HasField("posted_at")
    assert await desk.amounts(desk.cash) == (0, 0, 0, 0)
    # Its external id is not held.
    again = await desk.client.create_transaction(desk.id, desk.lines(), external_id="attempt")
    assert (await desk.client.get_transaction(desk.id, ExternalId("attempt"))).id == again.id
    read = await desk.client.get_transaction(desk.id, archived.id)
    assert [entry.amount for entry in read.entries] == ["5", "5"]


async def test_archiving_instead_of_refusing_is_for_conditions_only(desk: Desk) -> None:
    with pytest.raises(LockVersionMismatch):
        await desk.client.create_transaction(
            desk.id,
            [debit(desk.cash, 5, lock_version=9, conditions=[NEVER]), credit(desk.revenue, 5)],
            archive_on_condition_failure=True,
        )
    assert await desk.position() == 5


async def test_conditions_are_of_the_request_and_not_of_the_transaction(desk: Desk) -> None:
    created = await desk.client.create_transaction(
        desk.id, [debit(desk.cash, 5, conditions=[condition("posted", "==", 0)]), credit(desk.revenue, 5)]
    )
    assert (await desk.client.post_transaction(desk.id, created)).status == POSTED


@pytest.mark.parametrize(
    ("sign", "holds"),
    [("<", (11,)), ("<=", (10, 11)), ("==", (10,)), ("!=", (9, 11)), (">=", (9, 10)), (">", (9,))],
    ids=["less", "at most", "equal", "different", "at least", "more"],
)
async def test_each_operator_compares_the_balance_after_the_command(
    desk: Desk, sign: str, holds: tuple[int, ...]
) -> None:
    async def is_accepted(amount: int) -> bool:
        demand = condition("posted", sign, amount)  # type: ignore[arg-type]
        try:
            await desk.client.create_transaction(
                desk.id,
                [debit(desk.cash, 10, conditions=[demand]), credit(desk.cash, 0), credit(desk.revenue, 10)],
                status="posted",
                validate_only=True,
            )
        except ConditionFailed:
            return False
        return True

    assert [amount for amount in (9, 10, 11) if await is_accepted(amount)] == list(holds)


# validate_only.


async def test_validate_only_answers_like_the_write_and_writes_nothing(desk: Desk) -> None:
    async def create(validate_only: bool) -> Transaction:
        return await desk.client.create_transaction(
            desk.id,
            [debit(desk.cash, 5, metadata={"k": "v"}), credit(desk.revenue, 5)],
            status="posted",
            external_id="x",
            description="why",
            metadata={"a": "1"},
            validate_only=validate_only,
        )

    before = await rows_of(desk.tables)
    promised = await create(validate_only=True)
    assert await rows_of(desk.tables) == before
    done = await create(validate_only=False)
    # Only ids and times are made up.
    for transaction in (promised, done):
        for name in ("id", "created_at", "updated_at", "effective_at", "posted_at"):
            transaction.ClearField(name)
        for entry in transaction.entries:
            for name in ("id", "transaction_id", "effective_at", "created_at"):
                entry.ClearField(name)  # type: ignore[arg-type]
    assert promised == done


async def test_validate_only_of_each_command_writes_nothing_and_refuses_alike(desk: Desk) -> None:
    pending, posted = await desk.create(), await desk.create(posted=True)
    before = await rows_of(desk.tables)
    changed = await desk.client.update_transaction(desk.id, pending, entries=desk.lines(9), validate_only=True)
    assert (changed.version, changed.entries[0].resulting_balances.pending.amount) == (1, "109")
    assert (await desk.client.post_transaction(desk.id, pending, validate_only=True)).status == POSTED
    assert (await desk.client.archive_transaction(desk.id, pending, validate_only=True)).status == ARCHIVED
    with pytest.raises(TransactionNotPending):
        await desk.client.post_transaction(desk.id, posted, validate_only=True)
    batch: list[commands.TransactionWrite] = [
        commands.create_transaction(desk.lines(), external_id="x"),
        commands.post_transaction(ExternalId("x")),
    ]
    response = await desk.client.batch_write_transactions(desk.id, batch, atomic=True, validate_only=True)
    assert [result.transaction.status for result in response.results] == [PENDING, POSTED]
    assert await rows_of(desk.tables) == before


# Batches.


async def test_each_item_of_a_batch_sees_what_its_predecessors_left(desk: Desk) -> None:
    # 10 come in; of three who want 4 with the balance not below zero, the third is refused.
    spend = [debit(desk.revenue, 4), credit(desk.cash, 4, conditions=[condition("available", ">=", 0)])]
    response = await desk.client.batch_write_transactions(
        desk.id,
        [
            commands.create_transaction(desk.lines(10), status="posted"),
            *[commands.create_transaction(spend, status="posted") for _ in range(3)],
            commands.create_transaction([debit(desk.cash, 1, lock_version=3), credit(desk.revenue, 1)]),
        ],
        full_results=True,
    )
    assert [result.HasField("error") for result in response.results] == [False, False, False, True, False]
    with pytest.raises(ConditionFailed):
        written(response.results[3])
    accepted = [result.transaction for result in response.results if not result.HasField("error")]
    assert [transaction.entries[0].account_lock_version for transaction in accepted] == [1, 2, 3, 4]
    assert [transaction.position for transaction in accepted] == [6, 7, 8, 9]
    assert response.position == await desk.position() == 9
    assert await desk.amounts(desk.cash) == (4, 3, 2, 2)


async def test_an_atomic_batch_is_written_wholly(desk: Desk) -> None:
    response = await desk.client.batch_write_transactions(
        desk.id,
        [
            commands.create_transaction(desk.lines(), external_id="one"),
            commands.update_transaction(ExternalId("one"), entries=desk.lines(50)),
            commands.post_transaction(ExternalId("one"), version=1),
            commands.create_transaction(desk.lines(1), external_id="two"),
            commands.archive_transaction(ExternalId("two")),
        ],
        atomic=True,
    )
    assert [result.transaction.version for result in response.results] == [0, 1, 2, 0, 1]
    # Lean results.
    assert [len(result.transaction.entries) for result in response.results] == [0] * 5
    assert await desk.amounts(desk.cash) == (5, 50, 50, 50)
    assert [event.position for event in await desk.events()] == list(range(1, 11))


async def test_an_atomic_batch_with_a_refused_item_is_not_written_at_all(desk: Desk) -> None:
    before = await rows_of(desk.tables)
    with pytest.raises(AccountNotFound) as caught:
        await desk.client.batch_write_transactions(
            desk.id,
            [
                commands.create_transaction(desk.lines(), external_id="one"),
                commands.post_transaction(ExternalId("one")),
                commands.create_transaction([debit(desk.cash, 1), credit(ExternalId("nobody"), 1)]),
            ],
            atomic=True,
        )
    assert caught.value.metadata["command_index"] == "2"
    after = await rows_of(desk.tables)
    assert (after.since(before), after.heads) == ({"requests": 1}, before.heads)
    # What it did in memory before it was refused is forgotten, too.
    created = await desk.create(external_id="one")
    assert created.entries[0].account_lock_version == 1
    assert created.position == 6


async def test_a_refused_atomic_batch_leaves_nothing_to_its_neighbours_in_the_same_commit(
    desk: Desk, server: Server
) -> None:
    async with held(server.dsn, desk.id) as holder:
        first = asyncio.create_task(desk.create())
        await lane_is_waiting(holder)
        refused = asyncio.create_task(
            desk.client.batch_write_transactions(
                desk.id,
                [
                    commands.create_transaction(desk.lines(), external_id="one"),
                    commands.create_transaction([debit(desk.cash, 1), credit(ExternalId("nobody"), 1)]),
                ],
                atomic=True,
            )
        )
        neighbour = asyncio.create_task(desk.create(external_id="one"))
        # An answer on the same connection: the calls before it have arrived, and wait for the next commit together.
        await desk.client.get_ledger(desk.id)
    with pytest.raises(AccountNotFound):
        await refused
    assert ((await first).position, (await neighbour).position) == (6, 7)
    assert (await neighbour).entries[0].account_lock_version == 2


async def test_a_refused_neighbour_costs_nothing(desk: Desk) -> None:
    response = await desk.client.batch_write_transactions(
        desk.id,
        [
            commands.create_transaction(desk.lines(), external_id="one"),
            commands.create_transaction(desk.lines(), external_id="one"),
            commands.create_transaction(desk.lines()),
        ],
    )
    assert [result.HasField("error") for result in response.results] == [False, True, False]
    assert await desk.amounts(desk.cash) == (2, 200, 0, 0)


# The log.


async def test_positions_are_dense_and_each_command_is_one_event(desk: Desk) -> None:
    created = await desk.create(external_id="x")
    await desk.client.update_transaction(desk.id, created, metadata={"a": "1"})
    await desk.client.post_transaction(desk.id, created)
    archived = await desk.client.archive_transaction(desk.id, await desk.create())
    await desk.client.update_account(desk.id, desk.cash, name="Till")
    await desk.client.update_ledger(desk.id, name="Other")
    with pytest.raises(TransactionNotPending):
        await desk.client.post_transaction(desk.id, archived)
    await desk.client.create_transaction(
        desk.id,
        [debit(desk.cash, 5, conditions=[NEVER]), credit(desk.revenue, 5)],
        archive_on_condition_failure=True,
    )
    events = await desk.events()
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    assert await desk.position() == len(events)
    assert [EventKind.Name(event.kind).removeprefix("EVENT_KIND_") for event in events[5:]] == [
        "TRANSACTION_CREATED",
        "TRANSACTION_UPDATED",
        "TRANSACTION_POSTED",
        "TRANSACTION_CREATED",
        "TRANSACTION_ARCHIVED",
        "ACCOUNT_UPDATED",
        "LEDGER_UPDATED",
        "TRANSACTION_CREATED",
    ]
    assert [len(event.changes) for event in events[5:]] == [2, 0, 2, 2, 2, 0, 0, 0]
    times = [event.time.ToNanoseconds() for event in events]
    assert times == sorted(times)
