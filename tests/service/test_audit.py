"""Both auditors find what they are there for: each of these databases was right until one row was tampered with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from ledger_client import Ledger, LedgerClient, credit, debit, monitor_condition
from ledger_client.v1.transactions_pb2 import ReverseTransactionRequest
from ledger_server.reading.timelines import Sizes, fold
from ledger_server.storage.pool import Connection, connect_lane
from tests import audit
from tests.conftest import Server
from tests.ledger_ids import number_of

POSTED = "(SELECT transaction_id FROM transactions WHERE ledger_id = $1 AND external_id = 'posted')"
# An entry of a posted transaction, on the account that was created first.
ENTRY = f"(SELECT entry_id FROM entries WHERE ledger_id = $1 AND transaction_id = {POSTED} ORDER BY entry_id LIMIT 1)"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
# Of a line: it is an entry that shows another version.
NO_VERSION = (
    "lock_version = NULL, posted_debits = NULL, posted_credits = NULL, pending_debits = NULL, pending_credits = NULL"
)
LAST = "(SELECT max(position) FROM events WHERE ledger_id = $1)"


async def folded_books(client: LedgerClient, connection: Connection) -> Ledger:
    """New books, with a timeline of each account."""
    ledger = await new_books(client)
    async for account in client.accounts(ledger.id):
        assert await fold(connection, number_of(ledger.id), account.id, Sizes(tail_versions=2, block_changes=2))
    return ledger


async def new_books(client: LedgerClient) -> Ledger:
    """A ledger in which everything happened that can happen to a transaction."""
    ledger = await client.create_ledger(name="Test")
    cash = await client.create_account(ledger.id, "Cash", normal_balance="debit", currency="USD", external_id="cash")
    owner = await client.create_account(ledger.id, "Owner", normal_balance="credit", currency="USD")
    entries = [debit(cash, 10), credit(owner, 10)]
    posted = await client.create_transaction(ledger.id, entries, status="posted", external_id="posted")
    edited = await client.create_transaction(ledger.id, entries, external_id="edited")
    await client.update_transaction(ledger.id, edited, entries=[debit(cash, 7), credit(owner, 7)])
    await client.post_transaction(ledger.id, edited)
    moved = await client.create_transaction(ledger.id, entries, effective_at=LONG_AGO)
    await client.post_transaction(ledger.id, moved, effective_at=LONG_AGO + timedelta(days=1))
    archived = await client.create_transaction(ledger.id, entries)
    await client.archive_transaction(ledger.id, archived)
    await client.stub.ReverseTransaction(
        ReverseTransactionRequest(ledger_id=ledger.id, transaction_id=posted.id, request_id="reverse")
    )
    await client.create_transaction(ledger.id, entries)
    return ledger


@pytest.fixture(scope="module")
async def connection(server: Server) -> AsyncIterator[Connection]:
    connection = await connect_lane(server.dsn)
    yield connection
    await connection.close()


async def test_nothing_is_found_in_books_that_are_right(server: Server, client: LedgerClient) -> None:
    ledger = await new_books(client)
    assert await audit.findings(server.dsn, ledger.id) == []


@pytest.mark.parametrize(
    ("tamper", "finding"),
    [
        pytest.param(
            f"UPDATE entries SET amount = amount + 1 WHERE ledger_id = $1 AND entry_id = {ENTRY}",
            "is off balance by 1 USD",
            id="an amount raised",
        ),
        pytest.param(
            f"UPDATE entries SET amount = amount + 1 WHERE ledger_id = $1 AND transaction_id = {POSTED}",
            "and by its entries",
            id="two amounts raised, in balance",
        ),
        pytest.param(
            f"UPDATE entries SET direction = 3 - direction WHERE ledger_id = $1 AND transaction_id = {POSTED}",
            "and by its entries",
            id="a transaction turned round",
        ),
        pytest.param(
            "UPDATE account_versions SET posted_credits = posted_credits + 1 WHERE ledger_id = $1 AND lock_version = 2",
            "and by its entries",
            id="a counter raised",
        ),
        pytest.param(
            "UPDATE account_lines SET effective_at = coalesce(effective_at, written_at) + interval '1 s'"
            " WHERE ledger_id = $1 AND lock_version = 1",
            "counts by effective time",
            id="a change counted a second later",
        ),
        pytest.param(
            "UPDATE account_versions SET discarded_debits = discarded_debits + 1"
            " WHERE ledger_id = $1 AND discarded_effective_at IS NOT NULL",
            "counts by effective time",
            id="too much discarded at another time",
        ),
        pytest.param(
            "UPDATE account_versions SET written_at = written_at - interval '1 s' WHERE ledger_id = $1",
            "of another time than its event",
            id="versions written before their commands",
        ),
        pytest.param(
            "UPDATE account_versions SET position = position + 1 WHERE ledger_id = $1 AND lock_version = 3",
            "and by its entries",
            id="a version moved to another position",
        ),
        pytest.param(
            f"UPDATE account_lines SET {NO_VERSION}, shown_version = lock_version - 1 WHERE ledger_id = $1"
            " AND lock_version = (SELECT max(lock_version) FROM account_versions WHERE ledger_id = $1)",
            "versions, and by its entries",
            id="the newest balances gone",
        ),
        pytest.param(
            "DELETE FROM account_versions WHERE ledger_id = $1 AND lock_version ="
            " (SELECT max(lock_version) FROM account_versions WHERE ledger_id = $1)",
            "says it has 2 entries, and has 0",
            id="the newest balances gone, and their entries",
        ),
        pytest.param(
            f"UPDATE account_lines SET {NO_VERSION}, shown_version = 0 WHERE ledger_id = $1 AND status = 3",
            "is of lock_version 0, not",
            id="entries hung on another version of their account",
        ),
        pytest.param(
            f"UPDATE entries SET status = 1 WHERE ledger_id = $1 AND entry_id = {ENTRY}",
            "has an entry of another status or version",
            id="an entry's status changed",
        ),
        pytest.param(
            f"DELETE FROM entries WHERE ledger_id = $1 AND transaction_id = {POSTED}",
            "says it has 2 entries, and has 0",
            id="entries gone",
        ),
        pytest.param(
            f"UPDATE entries SET transaction_id = {POSTED} WHERE ledger_id = $1 AND status = 1",
            "that no version of any transaction wrote",
            id="entries moved to another transaction",
        ),
        pytest.param(
            "DELETE FROM transaction_versions WHERE ledger_id = $1 AND version = 1",
            "has the versions [0, 2]",
            id="a version of a transaction gone",
        ),
        pytest.param(
            "UPDATE transaction_versions SET status = 2 WHERE ledger_id = $1 AND version = 0",
            "went through the statuses",
            id="a status that came from nowhere",
        ),
        pytest.param(
            f"UPDATE transactions SET position = {LAST} + 1 WHERE ledger_id = $1 AND transaction_id = {POSTED}",
            "was written at the positions",
            id="a transaction moved to another position",
        ),
        pytest.param(
            "DELETE FROM events WHERE ledger_id = $1 AND position = 5", "event 5 is missing: 6 comes next", id="a hole"
        ),
        pytest.param(
            f"DELETE FROM events WHERE ledger_id = $1 AND position = {LAST}",
            "is not the last of its",
            id="the newest event gone",
        ),
        pytest.param(
            "UPDATE events SET payload = payload || '\\x7a00'::bytea WHERE ledger_id = $1 AND position = 5",
            "the hash chain breaks at event 5",
            id="an event's bytes changed",
        ),
        pytest.param(
            "UPDATE events SET payload = (SELECT payload FROM events WHERE ledger_id = $1 AND position = 4)"
            " WHERE ledger_id = $1 AND position = 3",
            "the hash chain breaks at event 3",
            id="an event replaced by another",
        ),
        pytest.param(
            "UPDATE events SET time = time - interval '1 day' WHERE ledger_id = $1 AND position = 5",
            "event 5 is of a time before",
            id="an event dated back",
        ),
        pytest.param(
            "UPDATE ledgers SET position = position + 1 WHERE ledger_id = $1", "the ledger's head", id="a head ahead"
        ),
        pytest.param(
            "UPDATE ledgers SET event_time = 'epoch' WHERE ledger_id = $1",
            "the ledger's time is before",
            id="a ledger's time put back",
        ),
        pytest.param(
            "UPDATE entry_reversals SET reversed = 0 WHERE ledger_id = $1",
            "is reversed by 10, counted 0 of 10",
            id="a reversal not counted",
        ),
        pytest.param(
            "UPDATE entries SET direction = 3 - direction WHERE ledger_id = $1 AND reverses_entry_id IS NOT NULL",
            "is not the reverse of what it reverses",
            id="a reversal on the same side",
        ),
        pytest.param(
            "UPDATE requests SET version = 99 WHERE ledger_id = $1 AND object_id IS NOT NULL",
            "is of a version that is not there",
            id="an outcome of nothing",
        ),
    ],
)
async def test_what_was_tampered_with_is_found(
    tamper: str, finding: str, server: Server, client: LedgerClient, connection: Connection
) -> None:
    ledger = await new_books(client)
    async with connection.transaction():
        # Whoever tampers does not ask the foreign keys.
        await connection.execute("SET LOCAL session_replication_role = replica")
        assert await connection.execute(tamper, number_of(ledger.id)) not in ("UPDATE 0", "DELETE 0")
    found = await audit.findings(server.dsn, ledger.id)
    assert any(finding in each for each in found), found
    assert any("verified: " in each for each in found), "the service's own verification finds nothing"


@pytest.mark.parametrize(
    ("tamper", "finding"),
    [
        pytest.param(
            "UPDATE account_timeline_blocks SET posted_debits_sums[1] = posted_debits_sums[1] + 1"
            " WHERE ledger_id = $1 AND number = 1",
            "other changes in run 1",
            id="a folded change that is none",
        ),
        pytest.param(
            "UPDATE account_timeline_blocks SET posted_debits = posted_debits + 1 WHERE ledger_id = $1 AND number = 1",
            "does not follow the one before",
            id="a block whose sums are wrong",
        ),
        pytest.param(
            "UPDATE account_timelines SET folded_version = folded_version + 1 WHERE ledger_id = $1",
            "timeline of account",
            id="a version taken for folded that is not",
        ),
    ],
)
async def test_a_timeline_that_was_tampered_with_is_found(
    tamper: str, finding: str, server: Server, client: LedgerClient, connection: Connection
) -> None:
    ledger = await folded_books(client, connection)
    assert await audit.findings(server.dsn, ledger.id) == []
    assert await connection.execute(tamper, number_of(ledger.id)) != "UPDATE 0"
    found = await audit.findings(server.dsn, ledger.id)
    assert any(finding in each for each in found), found


async def monitored_books(client: LedgerClient) -> Ledger:
    """A ledger whose monitors were triggered, resolved, changed and deleted."""
    ledger = await client.create_ledger(name="Test")
    cash = await client.create_account(ledger.id, "Cash", normal_balance="debit", currency="USD")
    owner = await client.create_account(ledger.id, "Owner", normal_balance="credit", currency="USD")
    changed, deleted, *_ = [
        await client.create_balance_monitor(ledger.id, condition, account=account)
        for account in (cash, owner)
        for condition in (
            monitor_condition("posted", "<", 5),
            monitor_condition("available", ">=", 10, resolve_value=3),
        )
    ]
    for entries in ([debit(cash, 10), credit(owner, 10)], [debit(owner, 6), credit(cash, 6)]):
        await client.create_transaction(ledger.id, entries, status="posted")
    await client.update_balance_monitor(ledger.id, changed, condition=monitor_condition("lock_version", ">", 2))
    await client.delete_balance_monitor(ledger.id, deleted)
    await client.create_transaction(ledger.id, [debit(owner, 2), credit(cash, 2)])
    return ledger


@pytest.mark.parametrize(
    ("tamper", "finding"),
    [
        pytest.param(
            "UPDATE monitors SET triggered = NOT triggered WHERE ledger_id = $1",
            "and by its subject",
            id="monitors turned",
        ),
        pytest.param(
            "UPDATE monitors SET since_position = since_position + 1 WHERE ledger_id = $1",
            "and by its subject",
            id="monitors in their states since another position",
        ),
        pytest.param(
            "UPDATE monitor_conditions SET value = value + 1000, resolve_value = NULL WHERE ledger_id = $1",
            "monitors said",
            id="conditions that were others",
        ),
        pytest.param(
            "UPDATE ledgers SET monitor_count = 0 WHERE ledger_id = $1",
            "counts 0 monitors, and has 3",
            id="monitors not counted",
        ),
    ],
)
async def test_a_monitor_that_was_tampered_with_is_found(
    tamper: str, finding: str, server: Server, client: LedgerClient, connection: Connection
) -> None:
    ledger = await monitored_books(client)
    assert await audit.findings(server.dsn, ledger.id) == []
    await connection.execute(tamper, number_of(ledger.id))
    found = await audit.findings(server.dsn, ledger.id)
    assert any(finding in each for each in found), found
