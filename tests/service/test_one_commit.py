"""What changes hands or is used as soon as it exists, all within one commit: rows are written in any order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from ledger_client import (
    Account,
    AccountNotEmpty,
    AccountNotFound,
    ExternalId,
    ExternalIdTaken,
    Ledger,
    LedgerClient,
    LedgerError,
    Transaction,
    commands,
    credit,
    debit,
    error_from_status,
)
from ledger_server.posting import clock
from tests import audit
from tests.conftest import Server, new_server

Writes = list[commands.TransactionWrite]


@pytest.fixture
async def pair(client: LedgerClient, ledger: Ledger) -> tuple[Account, Account]:
    return (
        await client.create_account(ledger.id, "a", normal_balance="debit", currency="USD"),
        await client.create_account(ledger.id, "b", normal_balance="credit", currency="USD"),
    )


@pytest.mark.parametrize(
    ("writes", "held_by"),
    [
        pytest.param(
            lambda one, other: [
                commands.archive_transaction(one),
                commands.update_transaction(other, external_id="one"),
            ],
            {"one": 1},
            id="given up by archiving",
        ),
        pytest.param(
            lambda one, other: [
                commands.update_transaction(other, description="written first"),
                commands.archive_transaction(one),
                commands.update_transaction(other, external_id="one"),
            ],
            {"one": 1},
            id="given up by archiving, after the taker was changed",
        ),
        pytest.param(
            lambda one, other: [
                commands.update_transaction(other, description="written first"),
                commands.update_transaction(one, external_id=""),
                commands.update_transaction(other, external_id="one"),
            ],
            {"one": 1},
            id="given up by an update",
        ),
        pytest.param(
            lambda one, other: [
                commands.update_transaction(one, external_id="aside"),
                commands.update_transaction(other, external_id="one"),
                commands.update_transaction(one, external_id="other"),
            ],
            {"one": 1, "other": 0},
            id="exchanged",
        ),
    ],
)
@pytest.mark.parametrize("is_turned", [False, True], ids=["", "turned"])
async def test_external_ids_change_hands_in_an_atomic_batch(
    writes: Callable[[Transaction, Transaction], Writes],
    held_by: dict[str, int],
    is_turned: bool,
    client: LedgerClient,
    ledger: Ledger,
    pair: tuple[Account, Account],
) -> None:
    entries = [debit(pair[0], 1), credit(pair[1], 1)]
    # Which of the two rows is the older must not matter.
    names = ["other", "one"] if is_turned else ["one", "other"]
    made = {name: await client.create_transaction(ledger.id, entries, external_id=name) for name in names}
    both = [made["one"], made["other"]]
    await client.batch_write_transactions(ledger.id, writes(*both), atomic=True)
    for external_id, n in held_by.items():
        assert (await client.get_transaction(ledger.id, ExternalId(external_id))).id == both[n].id


async def test_an_account_is_used_renamed_and_replaced_while_it_is_being_created(
    server: Server, client: LedgerClient, ledger: Ledger, pair: tuple[Account, Account]
) -> None:
    """Calls that go out together are written together, in their order; whatever comes of each, the books are right."""
    for n in range(20):
        name, later = f"a{n}", f"a{n}-renamed"
        calls = await asyncio.gather(
            client.update_ledger(ledger.id, name="Busy"),
            client.create_account(ledger.id, "new", normal_balance="debit", currency="USD", external_id=name),
            client.create_transaction(ledger.id, [debit(ExternalId(name), 1), credit(pair[1], 1)], status="posted"),
            client.update_account(ledger.id, ExternalId(name), external_id=later),
            client.create_transaction(ledger.id, [debit(ExternalId(later), 1), credit(pair[1], 1)]),
            client.create_account(ledger.id, "next", normal_balance="debit", currency="USD", external_id=name),
            return_exceptions=True,
        )
        # Their order is not promised, so some may come too early.
        refused = {type(call) for call in calls if isinstance(call, BaseException)}
        assert refused <= {AccountNotFound, ExternalIdTaken}
    assert await audit.findings(server.dsn, ledger.id) == []


async def test_an_entry_is_edited_as_discarded_by_what_is_written_with_it(
    client: LedgerClient, ledger: Ledger, pair: tuple[Account, Account]
) -> None:
    """Whether the edit comes before or behind is left to chance; what it tells of the entry fits its position."""
    for n in range(10):
        transaction = await client.create_transaction(ledger.id, [debit(pair[0], 1), credit(pair[1], 1)])
        _, replaced, edited = await asyncio.gather(
            client.update_ledger(ledger.id, name="Busy"),
            client.update_transaction(ledger.id, transaction, entries=[debit(pair[0], 2), credit(pair[1], 2)]),
            client.update_entry(ledger.id, transaction.entries[0].id, metadata={"n": str(n)}),
        )
        assert edited.HasField("discarded_at") == (edited.position > replaced.position)
        assert not edited.HasField("discarded_at") or edited.discarded_at == replaced.updated_at


async def write(
    client: LedgerClient, ledger: Ledger, writes: Sequence[commands.TransactionWrite], *, atomic: bool
) -> list[str]:
    """The reasons of the refusals, in order, "" for what was accepted; of an atomic batch that of all."""
    try:
        results = (await client.batch_write_transactions(ledger.id, writes, atomic=atomic)).results
    except LedgerError as refused:
        return [refused.reason] * len(writes)
    return [error_from_status(result.error).reason if result.HasField("error") else "" for result in results]


@pytest.mark.parametrize("is_atomic", [True, False])
async def test_a_transaction_is_reversed_once_by_whatever_name(
    server: Server, client: LedgerClient, ledger: Ledger, pair: tuple[Account, Account], is_atomic: bool
) -> None:
    entries = [debit(pair[0], 5), credit(pair[1], 5)]
    transaction = await client.create_transaction(ledger.id, entries, status="posted")
    other = await client.create_transaction(ledger.id, entries, status="posted", external_id="other")
    await client.reverse_transaction(ledger.id, transaction)
    # It takes a name that is new, one after another, or that something else had when the batch came.
    for renaming in (
        [commands.update_transaction(transaction, external_id="new")],
        [
            commands.update_transaction(transaction, external_id="first"),
            commands.update_transaction(ExternalId("first"), external_id="new"),
        ],
        [
            commands.update_transaction(other, external_id="aside"),
            commands.update_transaction(transaction, external_id="other"),
        ],
    ):
        name = renaming[-1].external_id
        reasons = await write(
            client, ledger, [*renaming, commands.reverse_transaction(ExternalId(name))], atomic=is_atomic
        )
        assert reasons == [*(["AMOUNT_EXCEEDED" if is_atomic else ""] * len(renaming)), "AMOUNT_EXCEEDED"]
    assert (await client.get_account(ledger.id, pair[0].id)).balances.posted.amount == "5"
    assert await audit.findings(server.dsn, ledger.id) == []


async def test_a_pending_reversal_is_archived_by_the_name_it_was_given_before(
    server: Server, client: LedgerClient, ledger: Ledger, pair: tuple[Account, Account]
) -> None:
    entries = [debit(pair[0], 5), credit(pair[1], 5)]
    transaction = await client.create_transaction(ledger.id, entries, status="posted")
    reversal = await client.reverse_transaction(ledger.id, transaction, status="pending")
    # Under the lock; the lane remembers what is pending only.
    await client.update_account(ledger.id, pair[0], name="Other")
    renaming = commands.update_transaction(reversal, external_id="reversal")
    archiving = commands.archive_transaction(ExternalId("reversal"))
    assert await write(client, ledger, [renaming, archiving], atomic=True) == ["", ""]
    await client.reverse_transaction(ledger.id, transaction)
    assert await audit.findings(server.dsn, ledger.id) == []


@pytest.mark.parametrize("is_atomic", [True, False])
async def test_an_external_id_that_is_taken_is_not_even_borrowed(
    client: LedgerClient,
    ledger: Ledger,
    pair: tuple[Account, Account],
    is_atomic: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor for the time of a batch, at whose end no index would say so."""
    monkeypatch.setattr(clock, "SEEN_SECONDS", 3_600.0)
    entries = [debit(pair[0], 5), credit(pair[1], 5)]
    await client.create_transaction(ledger.id, entries, status="posted", external_id="taken")
    for later in ("", "free"):
        pending = await client.create_transaction(ledger.id, entries)
        borrowing = [
            commands.update_transaction(pending, external_id="taken"),
            commands.update_transaction(pending, external_id=later),
        ]
        reasons = await write(client, ledger, borrowing, atomic=is_atomic)
        assert reasons == ["EXTERNAL_ID_TAKEN", "EXTERNAL_ID_TAKEN" if is_atomic else ""]
    pending = await client.create_transaction(ledger.id, entries)
    using_up: Writes = [
        commands.update_transaction(pending, external_id="taken"),
        commands.partial_post_transaction(pending, entries=entries),
    ]
    assert (await write(client, ledger, using_up, atomic=is_atomic))[0] == "EXTERNAL_ID_TAKEN"


async def test_an_account_with_a_zero_pending_is_not_closed_by_a_name_it_was_given_before(
    server: Server, client: LedgerClient, ledger: Ledger, pair: tuple[Account, Account]
) -> None:
    """By another server, which has nothing in memory; whether the calls meet in one batch is left to chance."""
    await client.create_transaction(ledger.id, [debit(pair[0], 0), credit(pair[1], 0)])
    async with new_server(server.dsn) as second, LedgerClient(second.address) as other:
        for n in range(5):
            name = f"name {n}"
            *_, closed = await asyncio.gather(
                other.update_ledger(ledger.id, name="Busy"),
                other.update_ledger(ledger.id, name="Busier"),
                other.update_account(ledger.id, pair[0], external_id=name),
                other.update_account(ledger.id, ExternalId(name), status="closed"),
                return_exceptions=True,
            )
            assert isinstance(closed, AccountNotEmpty | AccountNotFound)
