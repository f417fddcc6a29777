"""VerifyLedger and what belongs to it: whoever changes the books behind the service's back is found out, by the row."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import grpc
import pytest

from ledger_client import (
    EpochChanged,
    Finding,
    InvalidField,
    Ledger,
    LedgerClient,
    LedgerNotFound,
    LogDigest,
    PositionPruned,
    PruningNotAllowed,
    VerifyProgress,
    credit,
    debit,
    monitor_condition,
)
from ledger_client.v1 import admin_service_pb2 as pb
from ledger_client.v1.monitors_pb2 import BalanceMonitor
from ledger_client.v1.streams_pb2 import BalanceChange, Event, EventKind
from ledger_server.auditing.named import KEPT_FOR
from ledger_server.settings import REQUEST_RETENTION_MIN
from ledger_server.storage.embedded import SERVICE_USER, EmbeddedPostgres
from tests import audit
from tests.conftest import Server, as_user, new_database
from tests.ledger_ids import number_of
from tests.patience import PATIENCE_SECONDS
from tests.service.processes import started
from tests.stored_events import read_event, rehash, write_payload

UNKNOWN_ID = "01234567-89ab-7def-8123-456789abcdef"
NIL_ID = "00000000-0000-0000-0000-000000000000"
LEDGERCTL = Path(sys.executable).parent / "ledgerctl"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture(scope="module")
async def connection(server: Server) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(server.dsn)
    yield connection
    await connection.close()


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def new_books(client: LedgerClient) -> Ledger:
    """A ledger in which much happened that can happen to a transaction, in twelve commands."""
    ledger = await client.create_ledger(name="Test")
    cash = await client.create_account(
        ledger.id, "Cash", normal_balance="debit", currency="USD", external_id="cash", metadata={"kind": "cash"}
    )
    owner = await client.create_account(ledger.id, "Owner", normal_balance="credit", currency="USD")
    entries = [debit(cash, 10), credit(owner, 10)]
    order = {"order": "17", "note": "x" * 200}
    posted = await client.create_transaction(ledger.id, entries, status="posted", external_id="posted", metadata=order)
    edited = await client.create_transaction(ledger.id, entries, external_id="edited")
    await client.update_transaction(ledger.id, edited, entries=[debit(cash, 7), credit(owner, 7)])
    await client.post_transaction(ledger.id, edited)
    moved = await client.create_transaction(ledger.id, entries, effective_at=LONG_AGO)
    await client.post_transaction(ledger.id, moved, effective_at=LONG_AGO + timedelta(days=1))
    archived = await client.create_transaction(ledger.id, entries)
    await client.archive_transaction(ledger.id, archived)
    await client.reverse_transaction(ledger.id, posted)
    # The second of its debits shows the version of the first.
    await client.create_transaction(ledger.id, [debit(cash, 4), debit(cash, 6), credit(owner, 10)])
    return ledger


async def tamper(connection: Connection, ledger: Ledger, statements: str) -> None:
    """As the owner of the database, who does not ask the foreign keys; statements end with semicolons."""
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements.strip().rstrip(";").split(";"):
            done = await connection.execute(statement, number_of(ledger.id))
            assert done not in ("UPDATE 0", "DELETE 0", "INSERT 0 0")


async def test_books_that_are_right_are_sound(client: LedgerClient) -> None:
    ledger = await new_books(client)
    told: list[VerifyProgress] = []
    first = await client.verify_ledger(ledger.id, progress=told.append)
    assert (first.sound, first.complete, first.findings) == (True, True, [])
    assert first.digest == await client.get_log_digest(ledger.id)
    assert first.digest.position == 12
    assert told[0].check == "events"
    assert told[0].checks_total == 16
    await client.create_account(ledger.id, "Later", normal_balance="debit", currency="USD")
    again = await client.verify_ledger(ledger.id, known_digest=first.digest)
    assert (again.sound, again.digest.position) == (True, 13)
    assert again.rows > first.rows
    genesis = LogDigest(position=0, digest=sha256(b"").digest())
    assert (await client.verify_ledger(ledger.id, known_digest=genesis)).sound
    assert (await client.verify_ledger(NIL_ID)).sound
    assert (await client.verify_ledger((await client.create_ledger("Empty")).id)).sound


POSTED = "(SELECT transaction_id FROM transactions WHERE ledger_id = $1 AND external_id = 'posted')"
CASH = "(SELECT account_id FROM accounts WHERE ledger_id = $1 AND external_id = 'cash')"


TAMPERINGS = {
    "amounts edited, in balance": (
        f"UPDATE entries SET amount = amount + 1 WHERE ledger_id = $1 AND transaction_id = {POSTED}",
        ("account_versions", {"lock_version": "1"}, "posted debits and credits, pending debits and credits"),
    ),
    "a line deleted": (
        f"DELETE FROM account_lines WHERE ledger_id = $1 AND transaction_id = {POSTED} AND direction = 2",
        ("events", {"position": "3"}, "the version that it tells of"),
    ),
    "an entry deleted": (
        f"""
        UPDATE account_lines SET transaction_version = NULL, status = NULL, direction = NULL, amount = NULL
        WHERE ledger_id = $1 AND transaction_id = {POSTED} AND direction = 2
        """,
        ("account_versions", {"lock_version": "1"}, "a transaction of its position that touches the account"),
    ),
    "an entry inserted": (
        f"""
        INSERT INTO account_lines (
            ledger_id, line_id, account_id, transaction_id, shown_version, position, written_at, effective_at,
            transaction_version, status, direction, amount
        )
        SELECT
            ledger_id, line_id >> 12 << 12 | 16, account_id, transaction_id, lock_version,
            position, written_at, effective_at, transaction_version, status, direction, 0
        FROM account_lines WHERE ledger_id = $1 AND transaction_id = {POSTED} AND direction = 1
        """,
        ("transactions", {"version": "0"}, "entry_count"),
    ),
    "accounts swapped": (
        f"""
        UPDATE account_lines SET lock_version = lock_version + 100 WHERE ledger_id = $1 AND transaction_id = {POSTED};
        UPDATE account_lines SET lock_version = lock_version - 100, account_id = (
            SELECT account_id FROM accounts WHERE ledger_id = $1 AND account_id <> account_lines.account_id
        )
        WHERE ledger_id = $1 AND transaction_id = {POSTED}
        """,
        ("account_versions", {"lock_version": "1"}, "balances, by event 3"),
    ),
    "versions renumbered": (
        """
        UPDATE account_versions SET lock_version = lock_version + 100 WHERE ledger_id = $1 AND lock_version > 4;
        UPDATE account_versions SET lock_version = lock_version - 99 WHERE ledger_id = $1 AND lock_version > 99;
        """,
        ("events", {"position": "7"}, "the version that it tells of"),
    ),
    "a balance edited": (
        f"""
        UPDATE account_versions SET posted_debits = 0
        WHERE ledger_id = $1 AND account_id = {CASH} AND lock_version = 7
        """,
        ("account_versions", {"lock_version": "7"}, "balances, by event 9"),
    ),
    "an account turned round": (
        f"UPDATE accounts SET normal_balance = 2 WHERE ledger_id = $1 AND account_id = {CASH}",
        ("account_versions", {"lock_version": "1"}, "balances, by event 3"),
    ),
    "limits set behind the service's back": (
        "UPDATE accounts SET limits = '[[1, \"5\", null]]' WHERE ledger_id = $1",
        ("accounts", {}, "limits, the newest of their history"),
    ),
    "a version inserted at the end": (
        f"""
        INSERT INTO account_lines (
            ledger_id, line_id, account_id, lock_version, position, transaction_id, posted_debits, posted_credits,
            pending_debits, pending_credits, written_at, effective_at
        )
        SELECT
            ledger_id, line_id | 4000, account_id, lock_version + 1, position, transaction_id, posted_debits,
            posted_credits, pending_debits, pending_credits, written_at, effective_at
        FROM account_lines WHERE ledger_id = $1 AND account_id = {CASH} AND lock_version IS NOT NULL
        ORDER BY lock_version DESC LIMIT 1
        """,
        ("account_versions", {"lock_version": "11"}, "position"),
    ),
    "an event edited": (
        "UPDATE events SET payload = payload || '\\x7a00'::bytea WHERE ledger_id = $1 AND position = 5",
        ("events", {"position": "5"}, "digest, of the one before it, its time and its payload"),
    ),
    "an event deleted": (
        "DELETE FROM events WHERE ledger_id = $1 AND position = 5",
        ("events", {"position": "5"}, "an event of this position"),
    ),
    "events swapped": (
        """
        UPDATE events SET position = 1011 - position WHERE ledger_id = $1 AND position IN (5, 6);
        UPDATE events SET position = position - 1000 WHERE ledger_id = $1 AND position > 1000;
        """,
        ("events", {"position": "5"}, "digest, of the one before it, its time and its payload"),
    ),
    "an event inserted": (
        """
        INSERT INTO events SELECT ledger_id, 13, time, payload, digest FROM events
        WHERE ledger_id = $1 AND position = 12
        """,
        ("ledgers", {}, "position, of its newest event"),
    ),
    "the head edited": (
        "UPDATE ledgers SET digest = sha256('x') WHERE ledger_id = $1",
        ("ledgers", {"position": "12"}, "digest, of its newest event"),
    ),
    "a transaction deleted": (
        "DELETE FROM transactions WHERE ledger_id = $1 AND external_id = 'posted'",
        ("events", {"position": "3"}, "the transaction that it names"),
    ),
    "transactions dated back": (
        "UPDATE transactions SET updated_at = updated_at - interval '1 year' WHERE ledger_id = $1",
        ("account_versions", {"lock_version": "1"}, "written_at, the time of its command"),
    ),
    "versions of transactions renumbered": (
        "UPDATE transaction_versions SET version = version + 5 WHERE ledger_id = $1 AND version = 0",
        ("account_versions", {}, "posted debits and credits, pending debits and credits"),
    ),
    "a reversal forgotten": (
        "UPDATE entry_reversals SET reversed = 0 WHERE ledger_id = $1",
        ("entry_reversals", {}, "reversed"),
    ),
    "metadata of a transaction edited": (
        f"""
        UPDATE transactions SET metadata = jsonb_build_object('order', '18', 'note', 'y')
        WHERE ledger_id = $1 AND transaction_id = {POSTED}
        """,
        ("transactions", {}, "the pair of note in metadata_pairs"),
    ),
    "metadata of an account edited": (
        f"UPDATE accounts SET metadata = jsonb_build_object('kind', 'gold') WHERE account_id = {CASH}",
        ("accounts", {}, "the pair of kind in metadata_pairs"),
    ),
    "a pair of metadata deleted": (
        "DELETE FROM metadata_pairs WHERE ledger_id = $1 AND key = 'order'",
        ("transactions", {}, "the pair of order in metadata_pairs"),
    ),
    "a pair of metadata inserted": (
        """
        INSERT INTO metadata_pairs SELECT ledger_id, block_position, noun, 'gold', 'yes', offsets FROM metadata_pairs
        WHERE ledger_id = $1 AND key = 'order'
        """,
        ("metadata_pairs", {"key": "gold", "noun": "1"}, "the metadata that it is of"),
    ),
    "metadata removed": (
        "UPDATE accounts SET metadata = '{}' WHERE ledger_id = $1",
        ("metadata_pairs", {"key": "kind", "noun": "2"}, "the metadata that it is of"),
    ),
    "a creation dated back": (
        "UPDATE transactions SET created_at = created_at - interval '1 year' WHERE ledger_id = $1",
        ("transactions", {}, "created_at"),
    ),
    "a posting dated back": (
        f"UPDATE transactions SET posted_at = created_at - interval '1 year' WHERE transaction_id = {POSTED}",
        ("transactions", {"version": "0"}, "posted_at"),
    ),
    "an amount for lists edited": (
        f"UPDATE transactions SET amount = 1000 WHERE ledger_id = $1 AND transaction_id = {POSTED}",
        ("transactions", {"version": "0"}, "amount, the debits of its entries if these have one currency"),
    ),
    "a request renamed, to be done again": (
        f"UPDATE requests SET request_id = 'another' WHERE ledger_id = $1 AND object_id = {POSTED}",
        ("events", {"position": "3"}, "the outcome of the request that it names"),
    ),
    "a request forgotten, to be done again": (
        f"DELETE FROM requests WHERE ledger_id = $1 AND object_id = {POSTED}",
        ("events", {"position": "3"}, "the outcome of the request that it names"),
    ),
    "monitors silenced": (
        "UPDATE ledgers SET monitor_count = monitor_count + 1 WHERE ledger_id = $1",
        ("ledgers", {}, "monitor_count, of monitors that are not deleted"),
    ),
    "a reversal not counted at all": (
        "DELETE FROM entry_reversals WHERE ledger_id = $1",
        ("entries", {}, "what is counted as reversed"),
    ),
    "a reversal that reverses nothing, to be done again": (
        """
        UPDATE account_lines SET reverses_entry_id = NULL, reverses_entry_time = NULL
        WHERE ledger_id = $1 AND reverses_entry_id IS NOT NULL;
        UPDATE transactions SET reverses_id = NULL WHERE ledger_id = $1 AND reverses_id IS NOT NULL;
        DELETE FROM entry_reversals WHERE ledger_id = $1
        """,
        ("transactions", {}, "reverses_id, by event 11"),
    ),
    "a reversal of an entry of another time, whose id would be another": (
        """
        UPDATE account_lines SET reverses_entry_time = reverses_entry_time + interval '1 s'
        WHERE ledger_id = $1 AND reverses_entry_id IS NOT NULL
        """,
        ("entries", {}, "the entry that it reverses"),
    ),
    "an entry of another time, whose id would be another": (
        """
        UPDATE account_lines SET written_at = written_at + interval '7 ms'
        WHERE ledger_id = $1 AND lock_version IS NULL
        """,
        ("entries", {}, "written_at, of the version that wrote it"),
    ),
    "an entry of no time that an id could be made of": (
        """
        UPDATE account_lines SET written_at = 'infinity', amount = amount + 1
        WHERE ledger_id = $1 AND lock_version IS NULL
        """,
        ("account_versions", {"lock_version": "10"}, "posted debits and credits, pending debits and credits"),
    ),
    "a reversal whose entries reverse nothing": (
        """
        UPDATE account_lines SET reverses_entry_id = NULL, reverses_entry_time = NULL
        WHERE ledger_id = $1 AND reverses_entry_id IS NOT NULL;
        DELETE FROM entry_reversals WHERE ledger_id = $1
        """,
        ("entries", {}, "the entry that it reverses"),
    ),
    "a link from a later version on": (
        f"""
        UPDATE transactions SET partially_posts_id = {POSTED} WHERE ledger_id = $1 AND external_id = 'edited'
        """,
        ("transactions", {"version": "2"}, "partially_posts_id, of the version before it"),
    ),
    "a transaction that became a part of another": (
        f"""
        UPDATE transactions SET partially_posts_id = (
            SELECT transaction_id FROM transactions WHERE ledger_id = $1 AND external_id = 'edited'
        )
        WHERE transaction_id = {POSTED}
        """,
        ("transactions", {}, "partially_posts_id, by event 3"),
    ),
    "a transaction that became a reversal": (
        f"""
        UPDATE transactions SET reverses_id = (
            SELECT transaction_id FROM transactions WHERE ledger_id = $1 AND external_id = 'edited'
        )
        WHERE transaction_id = {POSTED}
        """,
        ("transactions", {}, "reverses_id, by event 3"),
    ),
}


async def test_an_entry_whose_metadata_was_edited_is_sound(server: Server, client: LedgerClient) -> None:
    ledger = await new_books(client)
    entries = [entry async for entry in client.entries(ledger.id)]
    await client.update_entry(ledger.id, entries[0].id, metadata={"seen": "yes"})
    assert (await client.verify_ledger(ledger.id)).findings == []
    assert await audit.findings(server.dsn, ledger.id) == []


async def test_the_pairs_of_entries_are_those_they_were_written_with_and_those_they_have_now(
    server: Server, client: LedgerClient, connection: Connection
) -> None:
    ledger = await new_books(client)
    cash, owner = (await client.list_accounts(ledger.id)).accounts
    entries = [debit(cash, 2, metadata={"lot": "1"}), credit(owner, 2, metadata={"lot": "1", "note": "x" * 200})]
    pending = await client.create_transaction(ledger.id, entries)
    edited = pending.entries[0].id
    await client.update_entry(ledger.id, edited, metadata={"lot": "2"})
    await client.update_entry(ledger.id, edited, metadata={"lot": "3"})
    # Its new entries take the metadata as they stand.
    await client.post_transaction(ledger.id, pending)
    assert await audit.findings(server.dsn, ledger.id) == []
    posted = [entry.id for entry in (await client.get_transaction(ledger.id, pending.id)).entries]
    await tamper(connection, ledger, "DELETE FROM metadata_pairs WHERE ledger_id = $1 AND noun = 3 AND key = 'lot'")
    findings = (await client.verify_ledger(ledger.id)).findings
    assert {(finding.table, finding.problem) for finding in findings} == {
        ("entries", "the pair of lot in metadata_pairs")
    }
    assert sorted((finding.key["entry_id"], finding.expected) for finding in findings) == sorted(
        [(edited, "1"), (edited, "3"), (pending.entries[1].id, "1"), (posted[0], "3"), (posted[1], "1")]
    )


@pytest.mark.parametrize(("statements", "first"), TAMPERINGS.values(), ids=TAMPERINGS)
async def test_the_first_row_that_was_tampered_with_is_named(
    statements: str, first: tuple[str, dict[str, str], str], client: LedgerClient, connection: Connection
) -> None:
    ledger = await new_books(client)
    await tamper(connection, ledger, statements)
    told: list[Finding] = []
    result = await client.verify_ledger(ledger.id, finding=told.append)
    assert not result.sound
    assert told == result.findings
    finding, (table, key, problem) = result.findings[0], first
    assert (finding.table, finding.problem) == (table, problem), result.findings
    assert key.items() <= finding.key.items()
    assert finding.expected != finding.found


async def test_a_part_whose_link_is_gone_is_named_by_the_event_that_posted_it(
    server: Server, client: LedgerClient, connection: Connection
) -> None:
    """A pending reversal that was edited and posted keeps its link; so does a part."""
    ledger = await new_books(client)
    cash, owner = (await client.list_accounts(ledger.id)).accounts
    pending = await client.create_transaction(ledger.id, [debit(cash, 9), credit(owner, 9)])
    part = await client.partial_post_transaction(ledger.id, pending, [debit(cash, 4), credit(owner, 4)])
    reversal = await client.reverse_transaction(ledger.id, part, status="pending")
    await client.update_transaction(ledger.id, reversal, metadata={"why": "error"})
    await client.post_transaction(ledger.id, reversal)
    assert await audit.findings(server.dsn, ledger.id) == []
    await tamper(
        connection,
        ledger,
        f"UPDATE transactions SET partially_posts_id = NULL WHERE ledger_id = $1 AND transaction_id = '{part.id}'",
    )
    problems = {finding.problem for finding in (await client.verify_ledger(ledger.id)).findings}
    assert "partially_posts_id, by event 14" in problems


NONSENSE = [
    Event(kind=EventKind.EVENT_KIND_TRANSACTION_CREATED, transaction_id="posted"),
    Event(kind=EventKind.EVENT_KIND_CATEGORY_MEMBER_ADDED, category_id="all", member_account_id="cash"),
    Event(kind=EventKind.EVENT_KIND_MONITOR_CREATED, monitor=BalanceMonitor(id="low")),
    Event(kind=EventKind.EVENT_KIND_ACCOUNT_CREATED, changes=[BalanceChange(account_id="cash")]),
    Event(kind=EventKind.EVENT_KIND_ACCOUNT_CREATED, request_id="a\0b"),
]


@pytest.mark.parametrize("event", NONSENSE, ids=["transaction", "member", "monitor", "account", "request"])
async def test_an_event_that_names_what_cannot_be_is_named(
    event: Event, client: LedgerClient, connection: Connection
) -> None:
    ledger = await new_books(client)
    await connection.execute(
        "UPDATE events SET payload = $2 WHERE ledger_id = $1 AND position = 12",
        *(number_of(ledger.id), write_payload(event)),
    )
    findings = (await client.verify_ledger(ledger.id)).findings
    assert [(finding.key, finding.problem) for finding in findings[:2]] == [
        ({"position": "12"}, "digest, of the one before it, its time and its payload"),
        ({"position": "12"}, "a payload that can be read"),
    ]


ODD = {
    "a version that is no number": (
        "UPDATE account_versions SET posted_debits = 'NaN' WHERE ledger_id = $1 AND position = 9",
        ("events", {"position": "9"}, "what it tells of, as it can be read"),
    ),
    "a category that is no number": (
        "UPDATE category_versions SET posted_debits = 'Infinity' WHERE ledger_id = $1 AND position = 14",
        ("events", {"position": "14"}, "what it tells of, as it can be read"),
    ),
    "a last version": (
        f"UPDATE transactions SET version = 9223372036854775807 WHERE ledger_id = $1 AND transaction_id = {POSTED}",
        ("transactions", {"version": "9223372036854775807"}, "values that can be judged"),
    ),
    "metadata that are none": (
        f"UPDATE transactions SET metadata = '[]' WHERE ledger_id = $1 AND transaction_id = {POSTED}",
        ("transactions", {"version": "0"}, "values that can be judged"),
    ),
    "an event at the end of time": (
        "UPDATE events SET time = 'infinity' WHERE ledger_id = $1 AND position = 7",
        ("events", {"position": "7"}, "digest, of the one before it, its time and its payload"),
    ),
    "an event before all time": (
        "UPDATE events SET time = '-infinity' WHERE ledger_id = $1 AND position = 7",
        ("events", {"position": "7"}, "digest, of the one before it, its time and its payload"),
    ),
    "a ledger before all time": (
        "UPDATE ledgers SET (created_at, event_time) = ('infinity', '-infinity') WHERE ledger_id = $1",
        ("ledgers", {"position": "15"}, "event_time"),
    ),
}


@pytest.mark.parametrize(("statements", "first"), ODD.values(), ids=ODD)
async def test_what_nothing_can_be_made_of_is_named_too(
    statements: str, first: tuple[str, dict[str, str], str], client: LedgerClient, connection: Connection
) -> None:
    ledger = await new_books(client)
    all_of_it = await client.create_category(ledger.id, "All", normal_balance="debit", currency="USD")
    cash, owner = (await client.list_accounts(ledger.id)).accounts
    await client.add_category_member(ledger.id, all_of_it, account=cash)
    await client.create_transaction(ledger.id, [debit(cash, 3), credit(owner, 3)], status="posted")
    assert (await client.verify_ledger(ledger.id)).sound
    await tamper(connection, ledger, statements)
    result = await client.verify_ledger(ledger.id)
    assert result.complete
    finding, (table, key, problem) = result.findings[0], first
    assert (finding.table, finding.problem) == (table, problem), result.findings
    assert key.items() <= finding.key.items()


@pytest.mark.parametrize("is_account", [True, False])
async def test_a_membership_that_was_dated_otherwise_is_found_by_the_event_that_names_it(
    is_account: bool, client: LedgerClient, connection: Connection
) -> None:
    ledger = await client.create_ledger("Test")
    outer, inner = [
        await client.create_category(ledger.id, name, normal_balance="credit", currency="USD") for name in "ab"
    ]
    account = await client.create_account(ledger.id, "c", normal_balance="credit", currency="USD")
    member: dict[str, Any] = {"account": account} if is_account else {"member_category": inner}
    await client.add_category_member(ledger.id, outer, **member)
    await client.remove_category_member(ledger.id, outer, **member)
    table = "category_accounts" if is_account else "category_nestings"
    assert (await client.verify_ledger(ledger.id)).sound
    for change, position in (("from_position = 2", "4"), ("until_position = NULL", "5")):
        await tamper(connection, ledger, f"UPDATE {table} SET {change} WHERE ledger_id = $1")
        finding, *others = (await client.verify_ledger(ledger.id)).findings
        assert {other.table for other in others} <= {table}
        assert (finding.table, finding.key) == ("events", {"position": position})
        assert finding.problem == "the membership that it names"
        assert outer.id in finding.expected
        await tamper(
            connection, ledger, f"UPDATE {table} SET (from_position, until_position) = (4, 5) WHERE ledger_id = $1"
        )


async def test_outcomes_of_requests_may_be_pruned(client: LedgerClient, connection: Connection) -> None:
    """Those of events that are old enough."""
    assert KEPT_FOR < REQUEST_RETENTION_MIN
    ledger = await new_books(client)
    await connection.execute(
        "UPDATE events SET time = time - $2::interval WHERE ledger_id = $1 AND position <= 5",
        *(number_of(ledger.id), KEPT_FOR),
    )
    await connection.execute("DELETE FROM requests WHERE ledger_id = $1", number_of(ledger.id))
    findings = (await client.verify_ledger(ledger.id)).findings
    missing = [finding.key["position"] for finding in findings if "request" in finding.problem]
    assert missing == [str(position) for position in range(6, 13)]


# At positions 5 and 6 two monitors are created, at 7 the second is deleted, at 8 the first is resolved, told at 9.
MONITOR_TAMPERINGS = {
    "a monitor turned": (
        "UPDATE monitors SET triggered = NOT triggered WHERE ledger_id = $1 AND deleted_at IS NULL",
        ["state, by event 9", "triggered, by its condition at 30"],
    ),
    "a monitor that missed its last edge": (
        """
        UPDATE monitors SET triggered = true, since_position = created_position
        WHERE ledger_id = $1 AND deleted_at IS NULL
        """,
        ["state, by event 9", "triggered, by its condition at 30"],
    ),
    "a monitor that was taken back from the deleted": (
        "UPDATE monitors SET deleted_at = NULL, deleted_position = NULL WHERE ledger_id = $1",
        # Nobody judged it when the balance moved.
        [
            "monitor_count, of monitors that are not deleted",
            "deleted, by event 7",
            "triggered, by its condition at 30",
        ],
    ),
    "a condition that was another": (
        "UPDATE monitor_conditions SET value = value - 1 WHERE ledger_id = $1",
        ["condition, by the last it was given"],
    ),
    "a condition that was never given": (
        "DELETE FROM monitor_conditions WHERE ledger_id = $1",
        ["condition, by the last it was given"],
    ),
}


@pytest.mark.parametrize("is_on_category", [False, True], ids=["on an account", "on a category"])
@pytest.mark.parametrize(("statements", "problems"), MONITOR_TAMPERINGS.values(), ids=MONITOR_TAMPERINGS)
async def test_a_monitor_that_was_tampered_with_is_named(
    statements: str, problems: list[str], is_on_category: bool, client: LedgerClient, connection: Connection
) -> None:
    ledger = await client.create_ledger("Test")
    cash = await client.create_account(ledger.id, "Cash", normal_balance="debit", currency="USD")
    owner = await client.create_account(ledger.id, "Owner", normal_balance="credit", currency="USD")
    category = await client.create_category(ledger.id, "All", normal_balance="credit", currency="USD")
    await client.add_category_member(ledger.id, category, account=owner)
    subject: dict[str, Any] = {"category": category} if is_on_category else {"account": owner}
    low = monitor_condition("available", "<", 5, resolve_value=20)
    await client.create_balance_monitor(ledger.id, low, **subject)
    deleted = await client.create_balance_monitor(ledger.id, low, **subject)
    await client.delete_balance_monitor(ledger.id, deleted)
    await client.create_transaction(ledger.id, [debit(cash, 30), credit(owner, 30)], status="posted")
    assert (await client.verify_ledger(ledger.id)).sound
    await tamper(connection, ledger, statements)
    findings = (await client.verify_ledger(ledger.id)).findings
    assert {finding.table for finding in findings if "monitor_count" not in finding.problem} == {"monitors"}
    assert [finding.problem for finding in findings] == problems


async def test_within_its_hysteresis_only_the_log_knows_the_state_of_a_monitor(
    client: LedgerClient, connection: Connection
) -> None:
    ledger = await client.create_ledger("Test")
    cash = await client.create_account(ledger.id, "Cash", normal_balance="debit", currency="USD")
    owner = await client.create_account(ledger.id, "Owner", normal_balance="credit", currency="USD")
    low = monitor_condition("available", "<", 5, resolve_value=20)
    await client.create_balance_monitor(ledger.id, low, account=owner)
    await client.create_transaction(ledger.id, [debit(cash, 10), credit(owner, 10)], status="posted")
    assert (await client.verify_ledger(ledger.id)).sound
    await tamper(connection, ledger, "UPDATE monitors SET triggered = NOT triggered WHERE ledger_id = $1")
    assert [finding.problem for finding in (await client.verify_ledger(ledger.id)).findings] == ["state, by event 3"]


async def test_an_account_that_a_transaction_dropped_keeps_its_version(
    client: LedgerClient, connection: Connection
) -> None:
    """No entry and, once events are pruned, no event tells of that version."""
    ledger = await client.create_ledger("Test")
    a, b, c = [
        await client.create_account(ledger.id, name, normal_balance="credit", currency="USD")
        for name in ("a", "b", "c")
    ]
    pending = await client.create_transaction(ledger.id, [debit(a, 5), credit(b, 5)])
    for _ in range(20):
        await client.create_transaction(ledger.id, [debit(b, 1), credit(c, 1)])
    await client.update_transaction(ledger.id, pending, entries=[debit(a, 5), credit(c, 5)])
    assert (await client.verify_ledger(ledger.id)).sound
    await client.prune_events(ledger.id, older_than=timedelta())
    assert (await client.verify_ledger(ledger.id)).sound
    await tamper(
        connection,
        ledger,
        f"""
        DELETE FROM account_versions WHERE ledger_id = $1 AND account_id = '{b.id}' AND lock_version = 22;
        DELETE FROM events WHERE ledger_id = $1;
        UPDATE log_checkpoints c SET (position, digest) = (SELECT position, digest FROM ledgers WHERE ledger_id = $1)
        WHERE ledger_id = $1
        """,
    )
    found = (await client.verify_ledger(ledger.id)).findings
    assert [finding.problem for finding in found if finding.table == "account_versions"] == [
        f"the version that transaction {pending.id} wrote"
    ]
    assert found[-1].key["account_id"] == b.id


async def test_a_category_counts_the_accounts_under_it(client: LedgerClient, connection: Connection) -> None:
    ledger = await client.create_ledger("Test")
    outer = await client.create_category(ledger.id, "Outer", normal_balance="credit", currency="USD")
    inner = await client.create_category(
        ledger.id, "Inner", normal_balance="credit", currency="USD", parents=[outer.id]
    )
    a, b, c = [await client.create_account(ledger.id, name, normal_balance="credit", currency="USD") for name in "abc"]
    for category, account in ((outer, a), (inner, a), (inner, b)):
        await client.add_category_member(ledger.id, category.id, account=account.id)
    for one, other in ((a, b), (b, c), (c, a)):
        await client.create_transaction(ledger.id, [debit(one, 5), credit(other, 5)], status="posted")
    result = await client.verify_ledger(ledger.id)
    assert result.sound, result.findings
    await tamper(connection, ledger, f"DELETE FROM category_accounts WHERE ledger_id = $1 AND account_id = '{b.id}'")
    named, *found = (await client.verify_ledger(ledger.id)).findings
    assert (named.table, named.problem) == ("events", "the membership that it names")
    assert {finding.key["category_id"] for finding in found} == {outer.id, inner.id}
    assert {finding.expected for finding in found} == {"5, 5, 0, 0"}
    assert {finding.found for finding in found} == {"10, 10, 0, 0"}


async def new_categories(client: LedgerClient) -> Ledger:
    """A ledger into whose categories accounts and categories come, and leave, in every way there is; in 21 events."""
    ledger = await client.create_ledger("Test")
    unit: dict[str, Any] = {"normal_balance": "credit", "currency": "PTS"}
    outer = await client.create_category(ledger.id, "Outer", currency_exponent=3, **unit)
    inner = await client.create_category(ledger.id, "Inner", parents=[outer.id], **unit)
    cash = await client.create_account(ledger.id, "Cash", categories=[inner.id], **unit)
    owner = await client.create_account(ledger.id, "Owner", **unit)
    idle = await client.create_account(ledger.id, "Idle", **unit)
    await client.add_category_member(ledger.id, outer, account=owner)
    other = await client.create_category(ledger.id, "Other", **unit)
    await client.add_category_member(ledger.id, other, member_category=outer)
    await client.remove_category_member(ledger.id, other, member_category=outer)
    await client.create_transaction(ledger.id, [debit(cash, 5), credit(owner, 5)], status="posted")
    await client.remove_category_member(ledger.id, outer, account=owner)
    await client.add_category_member(ledger.id, inner, account=cash)
    gone = await client.create_category(ledger.id, "Gone", parents=[outer.id], **unit)
    await client.add_category_member(ledger.id, gone, account=idle)
    await client.add_category_member(ledger.id, gone, member_category=inner)
    await client.delete_category(ledger.id, gone)
    left = await client.create_account(ledger.id, "Left", categories=[other.id], **unit)
    await client.create_balance_monitor(ledger.id, monitor_condition("available", "<", 5), account=left)
    # With its monitor, which has an event of its own.
    await client.delete_account(ledger.id, left)
    # A request_id that is too long for an event as it is usually stored.
    entries = [debit(cash, 5), credit(owner, 5)]
    await client.create_transaction(ledger.id, entries, status="posted", request_id="€" * 128)
    return ledger


def category(name: str) -> str:
    return f"(SELECT category_id FROM categories WHERE ledger_id = $1 AND name = '{name}')"


def account(name: str) -> str:
    return f"(SELECT account_id FROM accounts WHERE ledger_id = $1 AND name = '{name}')"


CATEGORY_TAMPERINGS = {
    "an account put into a category": (
        f"INSERT INTO category_accounts SELECT $1, {category('Other')}, {account('Idle')}, 6",
        ("category_accounts", {"from_position": "6"}, "the event by which it came"),
    ),
    "an account put into another category than it was created in": (
        f"INSERT INTO category_accounts SELECT $1, {category('Other')}, {account('Cash')}, 3",
        ("category_accounts", {"from_position": "3"}, "the event by which it came"),
    ),
    "an account put also above the category that it was created in": (
        f"INSERT INTO category_accounts SELECT $1, {category('Outer')}, {account('Cash')}, 3",
        ("category_accounts", {"from_position": "3"}, "the event by which it came"),
    ),
    "an account taken out of the category that it was created in": (
        "DELETE FROM category_accounts WHERE ledger_id = $1 AND from_position = 3",
        ("events", {"position": "3"}, "the membership that it names"),
    ),
    "an account put into a category at a position to come": (
        f"INSERT INTO category_accounts SELECT $1, {category('Other')}, {account('Idle')}, 100",
        ("category_accounts", {"from_position": "100"}, "the event by which it came"),
    ),
    "an account taken out of a category": (
        f"UPDATE category_accounts SET until_position = 17 WHERE account_id = {account('Idle')}",
        ("category_accounts", {"from_position": "14"}, "the event by which it left"),
    ),
    "a category put into a category": (
        f"INSERT INTO category_nestings SELECT $1, {category('Other')}, {category('Inner')}, 8",
        ("category_nestings", {"from_position": "8"}, "the event by which it came"),
    ),
    "a category put into another category than it was created in": (
        f"INSERT INTO category_nestings SELECT $1, {category('Other')}, {category('Inner')}, 2",
        ("category_nestings", {"from_position": "2"}, "the event by which it came"),
    ),
    "a category taken out of the category that it was created in": (
        "DELETE FROM category_nestings WHERE ledger_id = $1 AND from_position = 2",
        ("events", {"position": "2"}, "the membership that it names"),
    ),
    "a category that left with another": (
        "UPDATE category_nestings SET until_position = 11 WHERE ledger_id = $1 AND until_position = 9",
        ("events", {"position": "9"}, "the membership that it names"),
    ),
    "a category that left later than what it was in": (
        "UPDATE category_nestings SET until_position = 17 WHERE ledger_id = $1 AND until_position = 16",
        ("category_nestings", {}, "the event by which it left"),
    ),
    "a balance before the creation of its category": (
        f"INSERT INTO category_versions SELECT $1, {category('Gone')}, 3, 7, 0, 0, 0",
        ("category_versions", {"position": "3"}, "position, from the creation of its category on"),
    ),
    "a balance at a position that did not move it": (
        f"INSERT INTO category_versions SELECT $1, {category('Other')}, 14, 7, 0, 0, 0",
        ("category_versions", {"position": "14"}, "its event"),
    ),
    "a balance at a position to come": (
        f"INSERT INTO category_versions SELECT $1, {category('Inner')}, 100, 7, 0, 0, 0",
        ("category_versions", {"position": "100"}, "its event"),
    ),
    "a category without its first balance": (
        f"DELETE FROM category_versions WHERE category_id = {category('Other')} AND position = 7",
        ("categories", {}, "its first version"),
    ),
    "a category deleted": (
        "UPDATE categories SET (deleted_at, deleted_position) = (now(), 9) WHERE ledger_id = $1 AND name = 'Other'",
        ("categories", {}, "the event of its deletion"),
    ),
    "a category taken back from the deleted": (
        "UPDATE categories SET (deleted_at, deleted_position) = (NULL, NULL) WHERE ledger_id = $1 AND name = 'Gone'",
        ("categories", {}, "deleted_at, by event 16"),
    ),
    "a category removed": (
        """
        DELETE FROM category_versions WHERE ledger_id = $1 AND position = 7;
        DELETE FROM category_accounts WHERE ledger_id = $1 AND from_position = 17;
        DELETE FROM category_nestings WHERE ledger_id = $1 AND from_position = 8;
        DELETE FROM categories WHERE ledger_id = $1 AND name = 'Other'
        """,
        ("events", {"position": "7"}, "the account or category that it names"),
    ),
    "an account deleted": (
        "UPDATE accounts SET (status, deleted_at) = (5, now()) WHERE ledger_id = $1 AND name = 'Idle'",
        ("accounts", {}, "the event of its deletion"),
    ),
    "an account deleted at the time of another event": (
        """
        UPDATE accounts SET (status, deleted_at) = (
            SELECT 5, deleted_at FROM accounts WHERE ledger_id = $1 AND name = 'Left'
        )
        WHERE ledger_id = $1 AND name = 'Idle'
        """,
        ("accounts", {}, "the event of its deletion"),
    ),
    "an account taken back from the deleted": (
        "UPDATE accounts SET deleted_at = NULL WHERE ledger_id = $1 AND name = 'Left'",
        ("accounts", {}, "deleted_at, by event 19"),
    ),
    "an account removed": (
        """
        DELETE FROM account_lines WHERE ledger_id = $1 AND position = 5;
        DELETE FROM category_accounts WHERE ledger_id = $1 AND from_position = 14;
        DELETE FROM accounts WHERE ledger_id = $1 AND name = 'Idle'
        """,
        ("events", {"position": "5"}, "the account or category that it names"),
    ),
    "a ledger deleted": (
        "UPDATE ledgers SET deleted_at = now() WHERE ledger_id = $1",
        ("ledgers", {"position": "21"}, "deleted_at, by its newest event"),
    ),
    "a currency forgotten": (
        "DELETE FROM currencies WHERE ledger_id = $1",
        ("accounts", {}, "currency_exponent"),
    ),
    "a currency of a category edited": (
        "UPDATE categories SET currency = 'USD' WHERE ledger_id = $1 AND name = 'Other'",
        ("categories", {}, "currency_exponent"),
    ),
}


@pytest.mark.parametrize(("statements", "first"), CATEGORY_TAMPERINGS.values(), ids=CATEGORY_TAMPERINGS)
async def test_who_came_or_went_without_an_event_is_named(
    statements: str, first: tuple[str, dict[str, str], str], client: LedgerClient, connection: Connection
) -> None:
    ledger = await new_categories(client)
    await tamper(connection, ledger, statements)
    findings = (await client.verify_ledger(ledger.id)).findings
    finding, (table, key, problem) = findings[0], first
    assert (finding.table, finding.problem) == (table, problem), findings
    assert key.items() <= finding.key.items()
    assert finding.expected != finding.found


async def test_who_came_and_went_is_sound_also_where_the_events_that_say_so_are_pruned(
    server: Server, client: LedgerClient
) -> None:
    ledger = await new_categories(client)
    assert await audit.findings(server.dsn, ledger.id) == []
    await client.prune_events(ledger.id, older_than=timedelta())
    assert (await client.verify_ledger(ledger.id)).findings == []
    soon = await client.create_account(ledger.id, "Soon", normal_balance="debit", currency="USD")
    await client.create_balance_monitor(ledger.id, monitor_condition("available", "<", 5), account=soon)
    await client.delete_account(ledger.id, soon)
    assert (await client.verify_ledger(ledger.id)).findings == []
    # What stays is the end of its monitor, which has the time of the event that deleted it.
    await client.prune_events(ledger.id, older_than=timedelta())
    assert (await client.verify_ledger(ledger.id)).findings == []


async def test_a_deleted_ledger_is_sound_and_one_that_was_taken_back_is_not(
    server: Server, client: LedgerClient, connection: Connection
) -> None:
    ledger = await client.create_ledger("Test")
    await client.create_account(ledger.id, "Cash", normal_balance="debit", currency="USD")
    await client.delete_ledger(ledger.id)
    assert await audit.findings(server.dsn, ledger.id) == []
    await tamper(connection, ledger, "UPDATE ledgers SET deleted_at = NULL WHERE ledger_id = $1")
    (finding,) = await audit.verified(server.dsn, ledger.id)
    assert (finding.table, finding.problem) == ("ledgers", "deleted_at, by its newest event")


async def cut_tail(connection: Connection, ledger: Ledger, last: int) -> None:
    """Undoes everything after a position so well that the books themselves are right again."""
    await tamper(
        connection,
        ledger,
        f"""
        DELETE FROM requests
        WHERE ledger_id = $1 AND created_at > (SELECT time FROM events WHERE ledger_id = $1 AND position = {last});
        DELETE FROM account_lines WHERE ledger_id = $1 AND position > {last};
        DELETE FROM transactions WHERE ledger_id = $1 AND position > {last};
        DELETE FROM events WHERE ledger_id = $1 AND position > {last};
        UPDATE ledgers SET (position, digest, event_time) = (
            SELECT position, digest, time FROM events WHERE ledger_id = $1 AND position = {last}
        )
        WHERE ledger_id = $1
        """,
    )


async def test_a_tail_that_was_cut_off_is_found_by_the_digest_that_was_kept(
    server: Server, client: LedgerClient, connection: Connection
) -> None:
    ledger = await new_books(client)
    kept = await client.get_log_digest(ledger.id)
    await cut_tail(connection, ledger, 11)
    assert await audit.findings(server.dsn, ledger.id) == []
    assert (await client.verify_ledger(ledger.id)).sound, "the books alone cannot know"
    result = await client.verify_ledger(ledger.id, known_digest=kept)
    assert result.findings == [
        Finding("ledgers", {"ledger_id": ledger.id}, "position, by the digest that was kept", "12 or later", "11")
    ]


async def test_a_history_that_was_written_anew_is_found_by_the_digest_that_was_kept(
    client: LedgerClient, connection: Connection
) -> None:
    ledger = await new_books(client)
    kept = await client.get_log_digest(ledger.id)
    await rewrite(connection, ledger, 4, lambda event: setattr(event, "actor", "somebody else"))
    assert (await client.verify_ledger(ledger.id)).sound, "the books alone cannot know"
    (finding,) = (await client.verify_ledger(ledger.id, known_digest=kept)).findings
    assert (finding.table, finding.key) == ("events", {"position": "12"})
    assert finding.problem == "digest, by the one that was kept"
    assert finding.expected == kept.digest.hex()


async def rewrite(connection: Connection, ledger: Ledger, position: int, change: Callable[[Event], None]) -> None:
    """Changes an event, and every digest after it, the head's too."""
    number = number_of(ledger.id)
    row = await connection.fetchrow("SELECT * FROM events WHERE ledger_id = $1 AND position = $2", number, position)
    assert row is not None
    event = read_event(row)
    change(event)
    await connection.execute(
        "UPDATE events SET payload = $3 WHERE ledger_id = $1 AND position = $2",
        *(number, position, write_payload(event)),
    )
    await rehash(connection, number)


async def test_it_ends_after_as_many_findings_as_asked_for(client: LedgerClient, connection: Connection) -> None:
    ledger = await new_books(client)
    await tamper(connection, ledger, "UPDATE entries SET direction = 3 - direction WHERE ledger_id = $1")
    result = await client.verify_ledger(ledger.id, findings_max=3)
    assert (result.sound, result.complete, len(result.findings)) == (False, False, 3)


async def test_books_are_sound_while_they_are_written(client: LedgerClient) -> None:
    ledger = await new_books(client)
    accounts = (await client.list_accounts(ledger.id)).accounts
    writing = True

    async def write() -> int:
        count = 0
        while writing:
            entries = [debit(accounts[0], 3), credit(accounts[1], 3)]
            pending = await client.create_transaction(ledger.id, entries)
            await client.update_transaction(ledger.id, pending, metadata={"n": str(count)})
            await client.post_transaction(ledger.id, pending)
            count += 3
        return count

    async def come_and_go() -> int:
        count = 0
        outer = await client.create_category(ledger.id, "Outer", normal_balance="debit", currency="USD")
        await client.add_category_member(ledger.id, outer, account=accounts[0])
        while writing:
            unit: dict[str, Any] = {"normal_balance": "debit", "currency": "USD"}
            inner = await client.create_category(ledger.id, "Inner", parents=[outer.id], **unit)
            guest = await client.create_account(ledger.id, "Guest", categories=[inner.id], **unit)
            await client.add_category_member(ledger.id, inner, account=accounts[0])
            await client.remove_category_member(ledger.id, inner, account=guest)
            await client.delete_account(ledger.id, guest)
            await client.delete_category(ledger.id, inner)
            count += 6
        return count

    writers = [asyncio.create_task(work()) for work in [write] * 7 + [come_and_go]]
    digest = await client.get_log_digest(ledger.id)
    for _ in range(5):
        result = await client.verify_ledger(ledger.id, known_digest=digest)
        assert result.sound, result.findings
        assert result.digest.position >= digest.position
        digest = result.digest
    writing = False
    assert sum(await asyncio.gather(*writers)) > 0


async def test_more_rows_than_a_bite_are_verified(client: LedgerClient) -> None:
    ledger = await new_books(client)
    accounts = (await client.list_accounts(ledger.id)).accounts
    many = [side(accounts[n], 1) for _ in range(500) for n, side in ((0, debit), (1, credit))]
    for _ in range(8):
        await client.create_transaction(ledger.id, many, status="posted")
    result = await client.verify_ledger(ledger.id)
    assert result.sound, result.findings
    assert result.rows > 8_000


async def test_a_verification_that_cannot_be_done_is_refused(client: LedgerClient, connection: Connection) -> None:
    ledger = await new_books(client)
    digest = await client.get_log_digest(ledger.id)
    with pytest.raises(LedgerNotFound):
        await client.verify_ledger(UNKNOWN_ID)
    with pytest.raises(LedgerNotFound):
        await client.get_log_digest(UNKNOWN_ID)
    with pytest.raises(EpochChanged):
        await client.verify_ledger(
            ledger.id,
            known_digest=LogDigest(position=1, digest=digest.digest, epoch=UNKNOWN_ID),
        )
    for wrong, field in (
        (pb.VerifyLedgerRequest(ledger_id="x"), "ledger_id"),
        (pb.VerifyLedgerRequest(ledger_id=ledger.id, findings_max=10_001), "findings_max"),
        (pb.VerifyLedgerRequest(ledger_id=ledger.id, findings_max=-1), "findings_max"),
        (pb.VerifyLedgerRequest(ledger_id=ledger.id, known_digest=LogDigest(position=1)), "known_digest.digest"),
        (
            pb.VerifyLedgerRequest(ledger_id=ledger.id, known_digest=LogDigest(digest=b"x" * 32)),
            "known_digest.position",
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async for _ in client.admin_stub.VerifyLedger(wrong):
                pass
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert field in (refused.value.details() or "")
    await client.prune_events(ledger.id, older_than=timedelta())
    assert (await client.verify_ledger(ledger.id, known_digest=digest)).sound, "the newest event stays"
    before = LogDigest(position=3, digest=digest.digest, epoch=digest.epoch)
    with pytest.raises(PositionPruned):
        await client.verify_ledger(ledger.id, known_digest=before)


async def test_events_are_pruned_when_asked_for(client: LedgerClient) -> None:
    ledger = await new_books(client)
    assert await client.prune_events(ledger.id, older_than=timedelta(days=1)) == (0, False)
    assert await client.prune_events(ledger.id, older_than=timedelta()) == (11, False)
    assert await client.prune_events(ledger.id, older_than=timedelta()) == (0, False)
    result = await client.verify_ledger(ledger.id)
    assert (result.sound, result.checkpoint_position) == (True, 11)
    with pytest.raises(PositionPruned):
        async with client.watch_events(ledger.id, after_position=10):
            pytest.fail("entered")
    with pytest.raises(LedgerNotFound):
        await client.prune_events(UNKNOWN_ID, older_than=timedelta())
    with pytest.raises(InvalidField):
        await client.prune_events(ledger.id, older_than=timedelta(seconds=-1))
    with pytest.raises(grpc.aio.AioRpcError, match="older_than"):
        await client.admin_stub.PruneEvents(pb.PruneEventsRequest(ledger_id=ledger.id))


async def test_a_server_whose_role_may_not_prune_says_so(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    async with (
        new_database(postgres) as dsn,
        started(tmp_path, database_url=as_user(SERVICE_USER, dsn)) as service,
        LedgerClient(service.address) as client,
    ):
        ledger = await new_books(client)
        with pytest.raises(PruningNotAllowed):
            await client.prune_events(ledger.id, older_than=timedelta())
        assert (await client.verify_ledger(ledger.id)).sound


@pytest.mark.parametrize("end", ["never", "cut"])
async def test_a_verdict_stands_however_its_stream_ends(end: str) -> None:
    """It is waited for, so that the server's log says OK; here it does not come."""
    left = asyncio.Event()

    async def verify(request: pb.VerifyLedgerRequest, context: Any) -> AsyncIterator[pb.VerifyLedgerResponse]:
        yield pb.VerifyLedgerResponse(verdict=pb.VerifyVerdict(sound=True, complete=True, rows=7))
        if end == "cut":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    server = grpc.aio.server()
    handler = grpc.unary_stream_rpc_method_handler(
        verify,
        request_deserializer=pb.VerifyLedgerRequest.FromString,
        response_serializer=pb.VerifyLedgerResponse.SerializeToString,
    )
    handlers = grpc.method_handlers_generic_handler("ledger.v1.LedgerAdminService", {"VerifyLedger": handler})
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with LedgerClient(f"127.0.0.1:{port}") as client, asyncio.timeout(PATIENCE_SECONDS):
            result = await client.verify_ledger(UNKNOWN_ID)
            assert (result.sound, result.rows) == (True, 7)
            if end == "never":
                await left.wait()
    finally:
        await server.stop(None)


async def ctl(server: Server, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        LEDGERCTL,
        *("--address", server.address, "verify", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_command_line_says_whether_the_books_are_sound(
    server: Server, client: LedgerClient, connection: Connection
) -> None:
    ledger = await new_books(client)
    status, out, _ = await ctl(server, "--ledger", ledger.id)
    assert status == 0
    sound, line = out.splitlines()
    assert sound == "sound: 84 rows at position 12"
    digest = line.removeprefix("digest ")
    status, out, _ = await ctl(server, "--ledger", ledger.id, "--digest", digest)
    assert (status, out) == (0, f"sound: 84 rows at position 12, and by the digest given\n{line}\n")
    await cut_tail(connection, ledger, 11)
    status, out, _ = await ctl(server, "--ledger", ledger.id, "--digest", digest)
    said, summary = out.splitlines()
    assert said == (
        f"ledgers: ledger_id {ledger.id}: position, by the digest that was kept: expected '12 or later', found '11'"
    )
    assert summary.startswith("NOT SOUND: 1 findings in ")
    assert status == 1
    status, _, err = await ctl(server, "--ledger", UNKNOWN_ID)
    assert (status, err) == (3, f"ledgerctl: LEDGER_NOT_FOUND: no such ledger: {UNKNOWN_ID}\n")
    status, _, err = await ctl(server, "--ledger", ledger.id, "--digest", "what")
    assert status == 2
    assert "--digest" in err
