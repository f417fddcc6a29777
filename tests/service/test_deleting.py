"""Deleting accounts and ledgers, changing entries' metadata, and reading many transactions at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from ledger_client import (
    Account,
    AccountDeleted,
    AccountNotEmpty,
    AccountNotFound,
    Entry,
    EntryNotFound,
    Event,
    EventKind,
    ExternalId,
    InvalidField,
    Ledger,
    LedgerClient,
    LedgerNotEmpty,
    LedgerNotFound,
    LockVersionMismatch,
    NotFound,
    Outcome,
    Transaction,
    TransactionNotFound,
    credit,
    debit,
    new_request_id,
)
from ledger_server.posting import clock
from tests.conftest import Server, new_server

UNKNOWN_ID = "00000000-0000-7000-8000-00000000dead"


async def account(client: LedgerClient, ledger: Ledger, external_id: str = "") -> Account:
    return await client.create_account(
        ledger.id, "A", normal_balance="debit", currency="USD", external_id=external_id, metadata={"k": "v"}
    )


async def move(
    client: LedgerClient, ledger: Ledger, one: Account, other: Account, amount: int, *, pending: bool = False
) -> Transaction:
    lines = [debit(one, amount, metadata={"line": "1"}), credit(other, amount)]
    return await client.create_transaction(ledger.id, lines, status="pending" if pending else "posted")


# Accounts.


async def test_a_deleted_account_is_read_by_id_with_its_history_and_not_found_by_its_external_id(
    client: LedgerClient, ledger: Ledger
) -> None:
    gone, other = await account(client, ledger, "cash"), await account(client, ledger)
    await move(client, ledger, gone, other, 5)
    await move(client, ledger, other, gone, 5)
    deleted = await client.delete_account(ledger.id, ExternalId("cash"))
    assert deleted.HasField("deleted_at")
    read = await client.get_account(ledger.id, gone.id)
    assert (read.deleted_at, read.external_id, read.lock_version) == (deleted.deleted_at, "cash", 2)
    assert len([entry async for entry in client.entries(ledger.id, account=gone.id)]) == 2
    with pytest.raises(AccountNotFound):
        await client.get_account(ledger.id, ExternalId("cash"))
    # The external id is free again, for more than one generation.
    for _ in range(2):
        again = await account(client, ledger, "cash")
        assert (await client.get_account(ledger.id, ExternalId("cash"))).id == again.id
        await client.delete_account(ledger.id, again.id)


async def test_lists_show_deleted_accounts_only_if_asked(client: LedgerClient, ledger: Ledger) -> None:
    gone, stays = await account(client, ledger), await account(client, ledger)
    await client.delete_account(ledger.id, gone.id)
    assert [a.id async for a in client.accounts(ledger.id)] == [stays.id]
    assert [a.id async for a in client.accounts(ledger.id, metadata={"k": "v"})] == [stays.id]
    assert [a.id async for a in client.accounts(ledger.id, include_deleted=True)] == [gone.id, stays.id]


@pytest.mark.parametrize("is_remembered", [True, False])
async def test_an_account_on_which_nothing_but_a_zero_is_pending_is_neither_closed_nor_deleted(
    server: Server, client: LedgerClient, ledger: Ledger, is_remembered: bool
) -> None:
    one, other = await account(client, ledger, "cash"), await account(client, ledger)
    archived = await move(client, ledger, one, other, 0, pending=True)
    await client.archive_transaction(ledger.id, archived)
    pending = await move(client, ledger, one, other, 0, pending=True)
    async with AsyncExitStack() as stack:
        if not is_remembered:
            # Another server, which has nothing of it in memory.
            second = await stack.enter_async_context(new_server(server.dsn))
            client = await stack.enter_async_context(LedgerClient(second.address))
        for ref in (ExternalId("cash"), other.id):
            with pytest.raises(AccountNotEmpty):
                await client.update_account(ledger.id, ref, status="closed")
            with pytest.raises(AccountNotEmpty):
                await client.delete_account(ledger.id, ref)
        await client.post_transaction(ledger.id, pending)
        await client.update_account(ledger.id, ExternalId("cash"), status="closed")
        await client.delete_account(ledger.id, other)


async def test_an_account_with_a_balance_or_something_pending_is_not_deleted(
    client: LedgerClient, ledger: Ledger
) -> None:
    one, other = await account(client, ledger), await account(client, ledger)
    pending = await move(client, ledger, one, other, 5, pending=True)
    for _ in range(2):
        with pytest.raises(AccountNotEmpty):
            await client.delete_account(ledger.id, one.id)
        if pending.posted_at.seconds == 0:
            pending = await client.post_transaction(ledger.id, pending)
    await move(client, ledger, other, one, 5)
    await client.delete_account(ledger.id, one.id)


async def test_a_deleted_account_takes_no_entries_and_never_changes_again(client: LedgerClient, ledger: Ledger) -> None:
    gone, other = await account(client, ledger), await account(client, ledger)
    request_id = new_request_id()
    deleted = await client.delete_account(ledger.id, gone.id, request_id=request_id)
    with pytest.raises(AccountDeleted):
        await move(client, ledger, gone, other, 5)
    for change in ({"status": "open"}, {"name": "B"}):
        with pytest.raises(AccountDeleted):
            await client.update_account(ledger.id, gone.id, **change)  # type: ignore[arg-type]
    with pytest.raises(AccountDeleted):
        await client.delete_account(ledger.id, gone.id)
    outcome = Outcome()
    assert await client.delete_account(ledger.id, gone.id, request_id=request_id, outcome=outcome) == deleted
    assert outcome.replayed


async def test_of_accounts_that_are_not_open_the_deleted_one_is_the_reason(
    client: LedgerClient, ledger: Ledger
) -> None:
    """For nothing opens it again. It has the rank of an account's status among the reasons, and is stored like them."""
    frozen, gone, other = [await account(client, ledger) for _ in range(3)]
    await client.update_account(ledger.id, frozen, status="frozen")
    await client.delete_account(ledger.id, gone.id)
    lines = [debit(frozen, 5), credit(gone, 5)]
    request_id = new_request_id()
    for _ in range(2):
        with pytest.raises(AccountDeleted, match=f"account {gone.id} is deleted") as caught:
            await client.create_transaction(ledger.id, lines, request_id=request_id)
        assert caught.value.metadata == {"account_id": gone.id}
        assert [(v.rule, v.account_id, v.description) for v in caught.value.violations] == [
            ("ACCOUNT_STATUS", frozen.id, "is frozen"),
            ("ACCOUNT_STATUS", gone.id, "is deleted"),
        ]
    with pytest.raises(AccountDeleted):
        await client.create_transaction(ledger.id, lines, archive_on_condition_failure=True)
    with pytest.raises(LockVersionMismatch):
        await client.create_transaction(ledger.id, [debit(other, 5, lock_version=7), credit(gone, 5)])


async def test_an_account_is_deleted_in_the_batch_that_creates_it(client: LedgerClient, ledger: Ledger) -> None:
    """Its external id is free at once; whether the calls meet in one batch is left to chance, but they do."""
    for n in range(10):
        calls = await asyncio.gather(
            client.update_ledger(ledger.id, name="Busy"),
            client.update_ledger(ledger.id, name="Busier"),
            account(client, ledger, f"cash {n}"),
            client.delete_account(ledger.id, ExternalId(f"cash {n}")),
            account(client, ledger, f"cash {n}"),
            return_exceptions=True,
        )
        _, _, created, deleted, again = calls
        if isinstance(deleted, AccountNotFound):
            continue
        assert isinstance(created, Account)
        assert isinstance(deleted, Account)
        assert isinstance(again, Account)
        assert (await client.get_account(ledger.id, created.id)).deleted_at == deleted.deleted_at
        assert (await client.get_account(ledger.id, ExternalId(f"cash {n}"))).id == again.id


# Ledgers.


@pytest.mark.parametrize("is_deleted_before", [True, False])
async def test_a_deleted_ledger_takes_no_writes_from_a_server_that_remembers_it(
    client: LedgerClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, is_deleted_before: bool
) -> None:
    """Neither afterwards nor in the batch that deletes it."""
    monkeypatch.setattr(clock, "SEEN_SECONDS", 3_600.0)
    one, other = await account(client, ledger), await account(client, ledger)
    transaction = await move(client, ledger, one, other, 0)
    request_id = new_request_id()
    deletion = client.delete_ledger(ledger.id, request_id=request_id)
    deleted = await deletion if is_deleted_before else None
    calls = [
        account(client, ledger),
        move(client, ledger, one, other, 0),
        move(client, ledger, one, other, 5, pending=True),
        client.reverse_transaction(ledger.id, transaction),
        client.update_ledger(ledger.id, name="Again"),
    ]
    if deleted is None:
        # While the first is being written the others come together.
        busy = [client.update_ledger(ledger.id, name=name) for name in ("Busy", "Busier")]
        _, _, first, *answers = await asyncio.gather(*busy, deletion, *calls, return_exceptions=True)
        assert isinstance(first, Ledger)
        deleted = first
    else:
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [LedgerNotFound] * len(calls)
    assert await client.delete_ledger(ledger.id, request_id=request_id) == deleted


async def test_a_ledger_is_deleted_right_behind_what_empties_it(client: LedgerClient, ledger: Ledger) -> None:
    one, other = await account(client, ledger), await account(client, ledger)
    pending = await move(client, ledger, one, other, 5, pending=True)
    # While the first is being written the others come together.
    busy = asyncio.gather(*[client.update_ledger(ledger.id, name=name) for name in ("Busy", "Busier")])
    archived, deleted = await asyncio.gather(
        client.archive_transaction(ledger.id, pending), client.delete_ledger(ledger.id)
    )
    await busy
    assert (archived.position, deleted.position) == (pending.position + 3, pending.position + 4)


async def test_a_deleted_ledger_is_found_by_nothing(client: LedgerClient, ledger: Ledger) -> None:
    one, other = await account(client, ledger), await account(client, ledger)
    transaction = await move(client, ledger, one, other, 5)
    with pytest.raises(LedgerNotEmpty) as refused:
        await client.delete_ledger(ledger.id)
    assert refused.value.metadata["account_id"] in (one.id, other.id)
    await client.reverse_transaction(ledger.id, transaction)
    pending = await move(client, ledger, one, other, 0, pending=True)
    with pytest.raises(LedgerNotEmpty):
        await client.delete_ledger(ledger.id)
    await client.archive_transaction(ledger.id, pending)
    request_id = new_request_id()
    deleted = await client.delete_ledger(ledger.id, request_id=request_id)
    assert deleted.HasField("deleted_at")
    calls = (
        lambda: client.get_ledger(ledger.id),
        lambda: client.update_ledger(ledger.id, name="again"),
        lambda: client.get_account(ledger.id, one.id),
        lambda: client.list_accounts(ledger.id),
        lambda: client.list_transactions(ledger.id),
        lambda: client.get_transaction(ledger.id, transaction.id),
        lambda: account(client, ledger),
        lambda: move(client, ledger, one, other, 5),
        lambda: client.delete_ledger(ledger.id),
    )
    for call in calls:
        with pytest.raises(LedgerNotFound):
            await call()
    with pytest.raises(NotFound):
        async with client.watch_balances(ledger.id) as stream:
            await anext(aiter(stream))
    assert ledger.id not in [other_ledger.id async for other_ledger in client.ledgers()]
    assert await client.delete_ledger(ledger.id, request_id=request_id) == deleted


# Entries.


async def test_metadata_of_an_entry_changes_and_nothing_else(client: LedgerClient, ledger: Ledger) -> None:
    one, other = await account(client, ledger), await account(client, ledger)
    transaction = await move(client, ledger, one, other, 5)
    entry = transaction.entries[0]
    request_id = new_request_id()
    patched = await client.update_entry(
        ledger.id, entry.id, metadata_patch={"reconciled": "yes", "line": None}, request_id=request_id
    )
    assert dict(patched.metadata) == {"reconciled": "yes"}
    assert (await client.get_entry(ledger.id, entry.id)) == patched
    assert (await client.get_transaction(ledger.id, transaction.id)).entries[0].metadata == patched.metadata
    assert [e.metadata async for e in client.entries(ledger.id, account=one.id)] == [patched.metadata]
    assert (await client.list_entries(ledger.id, transaction=transaction.id)).entries[0].metadata == patched.metadata
    entry.metadata.clear()
    entry.metadata["reconciled"] = "yes"
    entry.position, entry.epoch = transaction.position + 1, transaction.epoch
    assert entry == patched
    # A repetition is answered as the first was, whatever became of the entry.
    await client.update_entry(ledger.id, entry.id, metadata={})
    assert (await client.get_entry(ledger.id, entry.id)).metadata == {}
    outcome = Outcome()
    repeated = await client.update_entry(
        ledger.id, entry.id, metadata_patch={"reconciled": "yes", "line": None}, request_id=request_id, outcome=outcome
    )
    assert outcome.replayed
    assert repeated == patched


async def test_an_edit_of_an_entry_tells_its_position_and_what_was_discarded_by_then_also_when_repeated(
    client: LedgerClient, server: Server, ledger: Ledger
) -> None:
    one, other = await account(client, ledger), await account(client, ledger)
    first = await move(client, ledger, one, other, 5, pending=True)
    entry = first.entries[0]

    async def edit(caller: LedgerClient, request_id: str) -> Entry:
        return await caller.update_entry(ledger.id, entry.id, metadata={"note": "x"}, request_id=request_id)

    standing = await edit(client, "standing")
    assert (standing.position, standing.epoch) == (first.position + 1, first.epoch)
    assert not standing.HasField("discarded_at")
    replaced = await client.update_transaction(ledger.id, first, entries=[debit(one, 6), credit(other, 6)])
    discarded = await edit(client, "discarded")
    assert (discarded.position, discarded.epoch) == (replaced.position + 1, first.epoch)
    assert discarded.discarded_at == replaced.updated_at
    assert await client.get_entry(ledger.id, entry.id) == discarded
    await client.archive_transaction(ledger.id, first)
    async with new_server(server.dsn) as second, LedgerClient(second.address) as stranger:
        for caller in (client, stranger):
            assert await edit(caller, "standing") == standing
            assert await edit(caller, "discarded") == discarded


async def test_edited_metadata_is_posted_with_its_entry_and_dropped_with_it(
    client: LedgerClient, ledger: Ledger
) -> None:
    one, other = await account(client, ledger), await account(client, ledger)
    pending = await move(client, ledger, one, other, 5, pending=True)
    await client.update_entry(ledger.id, pending.entries[0].id, metadata={"note": "x"})
    posted = await client.post_transaction(ledger.id, pending)
    assert dict(posted.entries[0].metadata) == {"note": "x"}
    replaced = await move(client, ledger, one, other, 5, pending=True)
    await client.update_entry(ledger.id, replaced.entries[0].id, metadata={"note": "x"})
    replaced = await client.update_transaction(ledger.id, replaced, entries=[debit(one, 6), credit(other, 6)])
    assert dict(replaced.entries[0].metadata) == {}
    versions = [v async for v in client.transaction_versions(ledger.id, replaced)]
    assert dict(versions[0].entries[0].metadata) == {"line": "1"}


async def test_an_edit_of_an_entry_is_an_event(client: LedgerClient, ledger: Ledger) -> None:
    one, other = await account(client, ledger), await account(client, ledger)
    transaction = await move(client, ledger, one, other, 5)
    async with client.watch_events(ledger.id, after_position=transaction.position) as stream:
        await client.update_entry(ledger.id, transaction.entries[0].id, metadata={"a": "b"})
        async for event in stream:
            if isinstance(event, Event):
                assert event.kind == EventKind.EVENT_KIND_ENTRY_UPDATED
                assert (event.entry_id, event.transaction_id) == (transaction.entries[0].id, transaction.id)
                break


async def test_an_unknown_entry_and_an_edit_of_nothing_are_refused(client: LedgerClient, ledger: Ledger) -> None:
    with pytest.raises(EntryNotFound):
        await client.update_entry(ledger.id, UNKNOWN_ID, metadata={})
    with pytest.raises(InvalidField):
        await client.update_entry(ledger.id, UNKNOWN_ID)


# Many transactions.


async def test_many_transactions_are_read_in_the_order_asked_for(client: LedgerClient, ledger: Ledger) -> None:
    one, other = await account(client, ledger), await account(client, ledger)
    written = [await move(client, ledger, one, other, amount) for amount in range(5)]
    ids = [transaction.id for transaction in reversed(written)]
    read = await client.batch_get_transactions(ledger.id, [*ids, ids[0]])
    assert [transaction.id for transaction in read.transactions] == [*ids, ids[0]]
    assert {transaction.position for transaction in read.transactions} == {read.position}
    with pytest.raises(TransactionNotFound) as refused:
        await client.batch_get_transactions(ledger.id, [ids[0], UNKNOWN_ID])
    assert refused.value.metadata["transaction_id"] == UNKNOWN_ID
    with pytest.raises(InvalidField):
        await client.batch_get_transactions(ledger.id, [])
