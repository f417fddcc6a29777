"""What changes hands or is used as soon as it exists, all within one commit: rows are written in any order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ledger_client import (
    Account,
    AccountNotFound,
    ExternalId,
    ExternalIdTaken,
    Ledger,
    LedgerClient,
    Transaction,
    commands,
    credit,
    debit,
)
from tests import audit
from tests.conftest import Server

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
