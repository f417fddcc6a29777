"""What one row can say wrongly the tables refuse by themselves, whoever writes: each by a constraint with a name.

What takes more than one row to be wrong, such as a set of entries off balance, is the auditor's (tests/audit.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from ledger_client import Ledger, LedgerClient, credit, debit, monitor_condition
from ledger_client.v1.transactions_pb2 import ReverseTransactionRequest
from tests.conftest import Server
from tests.ledger_ids import number_of

# In each statement $1 is the ledger. There are two accounts, a posted transaction (external id "p") and a pending one
# ("q"), and a reversal of the posted one.
ANY_ACCOUNT = "(SELECT account_id FROM accounts WHERE ledger_id = $1 ORDER BY created_position LIMIT 1)"
POSTED = "(SELECT transaction_id FROM transactions WHERE ledger_id = $1 AND external_id = 'p')"
OF_LEDGER = " WHERE ledger_id = $1"
NOBODY = "'00000000-0000-7000-8000-000000000000'::uuid"
NO_LEDGER = "-1"
BUT_OPENINGS = "WHERE ledger_id = $1 AND lock_version > 0"
NO_COUNTERS = "posted_debits = NULL, posted_credits = NULL, pending_debits = NULL, pending_credits = NULL"

FORBIDDEN = [
    ("a position below zero", "UPDATE ledgers SET position = -1 WHERE ledger_id = $1", "ledger_position_not_negative"),
    ("a short digest", "UPDATE ledgers SET digest = 'x' WHERE ledger_id = $1", "ledger_digest_is_sha256"),
    (
        "two ledgers with one id",
        "INSERT INTO ledgers SELECT * FROM ledgers WHERE ledger_id = $1",
        "ledgers_pkey",
    ),
    (
        "a ledger gone that has accounts",
        "DELETE FROM ledgers WHERE ledger_id = $1",
        "account_of_a_ledger|currency_of_a_ledger",
    ),
    (
        "a third normality",
        "UPDATE accounts SET normal_balance = 3 WHERE ledger_id = $1",
        "account_normal_balance_known",
    ),
    (
        "31 decimal places",
        "UPDATE accounts SET currency_exponent = 31 WHERE ledger_id = $1",
        "account_currency_exponent_in_range",
    ),
    ("a sixth status of an account", "UPDATE accounts SET status = 6 WHERE ledger_id = $1", "account_status_known"),
    (
        "an empty external id of an account",
        "UPDATE accounts SET external_id = '' WHERE ledger_id = $1",
        "account_external_id_not_empty",
    ),
    (
        "one external id for two accounts",
        "UPDATE accounts SET external_id = 'same' WHERE ledger_id = $1",
        "account_external_id_unique",
    ),
    (
        "two accounts created at one position",
        "UPDATE accounts SET created_position = 1 WHERE ledger_id = $1",
        "account_created_position_unique",
    ),
    (
        "the account of a version gone",
        f"DELETE FROM accounts WHERE ledger_id = $1 AND account_id = {ANY_ACCOUNT}",
        "line_of_an_account",
    ),
    (
        "limits of nobody",
        f"INSERT INTO account_limits VALUES ($1, {NOBODY}, 1, now(), NULL)",
        "limits_of_an_account",
    ),
    (
        "a currency of no ledger",
        f"INSERT INTO currencies SELECT {NO_LEDGER}, 'XXX', 2 FROM ledgers WHERE ledger_id = $1",
        "currency_of_a_ledger",
    ),
    ("a currency with 31 places", "INSERT INTO currencies VALUES ($1, 'XXX', 31)", "currency_exponent_in_range"),
    (
        "a negative version",
        "UPDATE transactions SET version = -1 WHERE ledger_id = $1",
        "transaction_version_not_negative",
    ),
    (
        "a fourth status of a transaction",
        "UPDATE transactions SET status = 4, posted_at = NULL, archived_reason = 0 WHERE ledger_id = $1",
        "transaction_status_known",
    ),
    (
        "archived for no reason",
        "UPDATE transactions SET status = 3, posted_at = NULL WHERE ledger_id = $1",
        "transaction_archived_for_a_reason",
    ),
    (
        "posted at no time",
        "UPDATE transactions SET status = 2, posted_at = NULL WHERE ledger_id = $1",
        "transaction_posted_at_some_time",
    ),
    (
        "a transaction of one entry",
        "UPDATE transactions SET entry_count = 1 WHERE ledger_id = $1",
        "transaction_entry_count_in_range",
    ),
    (
        "a transaction of 1,001 entries",
        "UPDATE transactions SET entry_count = 1001 WHERE ledger_id = $1",
        "transaction_entry_count_in_range",
    ),
    (
        "an empty external id of a transaction",
        "UPDATE transactions SET external_id = '' WHERE ledger_id = $1",
        "transaction_external_id_not_empty",
    ),
    (
        "one external id for two transactions",
        "UPDATE transactions SET external_id = 'same' WHERE ledger_id = $1",
        "transaction_external_id_unique",
    ),
    (
        "two transactions created at one position",
        "UPDATE transactions SET created_position = 1 WHERE ledger_id = $1",
        "transaction_created_position_unique",
    ),
    (
        "a reversal of nothing",
        f"UPDATE transactions SET reverses_id = {NOBODY} WHERE ledger_id = $1",
        "transaction_reverses_a_transaction",
    ),
    (
        "a part of nothing",
        f"UPDATE transactions SET partially_posts_id = {NOBODY} WHERE ledger_id = $1",
        "transaction_is_part_of_a_transaction",
    ),
    (
        "a transaction gone that has entries",
        f"DELETE FROM transactions WHERE ledger_id = $1 AND transaction_id = {POSTED}",
        "line_of_a_transaction|transaction_reverses_a_transaction",
    ),
    (
        "a counter below zero",
        "UPDATE account_versions SET posted_debits = -1 WHERE ledger_id = $1",
        "line_amounts_not_negative",
    ),
    (
        "a lock_version below zero",
        "UPDATE account_versions SET lock_version = -1 WHERE ledger_id = $1 AND lock_version = 0",
        "version_lock_version_not_negative|version_zero_is_of_no_transaction",
    ),
    (
        "a version of no transaction",
        "UPDATE account_versions SET transaction_id = NULL WHERE ledger_id = $1",
        "version_zero_is_of_no_transaction|entry_whole_or_none",
    ),
    (
        "one lock_version twice",
        f"UPDATE account_versions SET lock_version = 7 {BUT_OPENINGS}",
        "account_version_unique",
    ),
    (
        "a version at no position",
        "UPDATE account_versions SET position = 0 WHERE ledger_id = $1",
        "line_position_positive",
    ),
    (
        "an effective time that the row tells already",
        "UPDATE account_lines SET effective_at = written_at WHERE ledger_id = $1",
        "line_effective_at_null_if_written_then",
    ),
    (
        "pending amounts discarded at no time",
        "UPDATE account_versions SET discarded_debits = 1, discarded_credits = 0 WHERE ledger_id = $1",
        "version_discards_whole_or_nothing",
    ),
    (
        "debits discarded at another time without credits",
        "UPDATE account_versions SET discarded_effective_at = now(), discarded_debits = 1 WHERE ledger_id = $1",
        "version_discards_whole_or_nothing",
    ),
    (
        "less than nothing discarded at another time",
        "UPDATE account_versions SET discarded_effective_at = now(), discarded_debits = 1, discarded_credits = -1"
        + OF_LEDGER,
        "line_amounts_not_negative",
    ),
    (
        "an entry at a lock_version that is not there",
        f"UPDATE account_lines SET lock_version = NULL, {NO_COUNTERS}, shown_version = 99 {BUT_OPENINGS}",
        "entry_shows_an_account_version",
    ),
    (
        "a version that another one is shown by",
        "UPDATE account_lines SET shown_version = 0 WHERE ledger_id = $1",
        "line_is_or_shows_a_version",
    ),
    (
        "an entry at no lock_version",
        f"UPDATE account_lines SET lock_version = NULL, {NO_COUNTERS} {BUT_OPENINGS}",
        "line_is_or_shows_a_version",
    ),
    (
        "a version without counters",
        f"UPDATE account_lines SET {NO_COUNTERS} WHERE ledger_id = $1",
        "version_whole_or_none",
    ),
    (
        "counters of no version",
        f"UPDATE account_lines SET lock_version = NULL, shown_version = 0 {BUT_OPENINGS}",
        "version_whole_or_none",
    ),
    (
        "an entry without an amount",
        "UPDATE entries SET amount = NULL WHERE ledger_id = $1",
        "entry_whole_or_none",
    ),
    (
        "an entry of a version 0 that says so",
        "UPDATE account_lines SET transaction_version = 0 WHERE ledger_id = $1 AND direction IS NOT NULL",
        "entry_transaction_version_positive",
    ),
    (
        "the version of no entry",
        "UPDATE account_lines SET transaction_version = 1 WHERE ledger_id = $1 AND lock_version = 0",
        "entry_whole_or_none",
    ),
    (
        "the metadata of no entry",
        "UPDATE account_lines SET metadata = '{}' WHERE ledger_id = $1 AND lock_version = 0",
        "entry_whole_or_none",
    ),
    (
        "pending amounts discarded by no version",
        f"""
        UPDATE account_lines SET
            lock_version = NULL, {NO_COUNTERS}, shown_version = 0,
            discarded_debits = 0, discarded_credits = 0, discarded_effective_at = now()
        {BUT_OPENINGS}
        """,
        "version_discards_whole_or_nothing",
    ),
    (
        "an entry on an account that is not there",
        f"UPDATE account_lines SET account_id = {NOBODY} WHERE ledger_id = $1",
        "line_of_an_account|account_version_unique|entry_shows_an_account_version",
    ),
    (
        "an entry of no transaction",
        f"UPDATE entries SET transaction_id = {NOBODY} WHERE ledger_id = $1",
        "line_of_a_transaction",
    ),
    ("a third direction", "UPDATE entries SET direction = 3 WHERE ledger_id = $1", "entry_direction_known"),
    ("an entry of a fourth status", "UPDATE entries SET status = 4 WHERE ledger_id = $1", "entry_status_known"),
    ("a negative amount", "UPDATE entries SET amount = -1 WHERE ledger_id = $1", "line_amounts_not_negative"),
    ("half a cent", "UPDATE entries SET amount = 0.5 WHERE ledger_id = $1", "entry_amount_in_range"),
    ("an amount of 37 digits", "UPDATE entries SET amount = 1e36 WHERE ledger_id = $1", "entry_amount_in_range"),
    ("an amount that is no number", "UPDATE entries SET amount = 'NaN' WHERE ledger_id = $1", "entry_amount_in_range"),
    (
        "an entry that reverses none",
        "UPDATE entries SET reverses_entry_id = -1, reverses_entry_time = now() WHERE ledger_id = $1",
        "entry_reverses_an_entry",
    ),
    (
        "an entry that reverses one of no time",
        "UPDATE entries SET reverses_entry_id = entry_id WHERE ledger_id = $1",
        "entry_whole_or_none",
    ),
    (
        "more reversed than there was",
        "UPDATE entry_reversals SET reversed = amount + 1 WHERE ledger_id = $1",
        "reversal_never_exceeds_the_entry",
    ),
    (
        "less reversed than nothing",
        "UPDATE entry_reversals SET reversed = -1 WHERE ledger_id = $1",
        "reversal_never_exceeds_the_entry",
    ),
    (
        "one entry's reversals counted twice",
        "INSERT INTO entry_reversals SELECT * FROM entry_reversals WHERE ledger_id = $1",
        "entry_reversals_pkey",
    ),
    (
        "one position twice",
        "INSERT INTO events SELECT * FROM events WHERE ledger_id = $1",
        "events_pkey",
    ),
    (
        "an event before the first",
        "UPDATE events SET position = 0 WHERE ledger_id = $1 AND position = 1",
        "event_position_positive",
    ),
    (
        "a checkpoint before the first event",
        "INSERT INTO log_checkpoints VALUES ($1, 0, sha256(''))",
        "checkpoint_position_positive",
    ),
    (
        "a checkpoint with a short digest",
        "INSERT INTO log_checkpoints VALUES ($1, 1, '')",
        "checkpoint_digest_is_sha256",
    ),
    (
        "two checkpoints of a ledger",
        "INSERT INTO log_checkpoints SELECT $1, n, sha256('') FROM generate_series(1, 2) AS n",
        "log_checkpoints_pkey",
    ),
    (
        "a checkpoint of no ledger",
        f"INSERT INTO log_checkpoints SELECT {NO_LEDGER}, 1, sha256('') FROM ledgers WHERE ledger_id = $1",
        "checkpoint_of_a_ledger",
    ),
    (
        "fewer monitors than none",
        "UPDATE ledgers SET monitor_count = -1 WHERE ledger_id = $1",
        "ledger_monitor_count_not_negative",
    ),
    ("two monitors with one id", "INSERT INTO monitors SELECT * FROM monitors WHERE ledger_id = $1", "monitors_pkey"),
    (
        "two monitors created at one position",
        "UPDATE monitors SET created_position = 1 WHERE ledger_id = $1",
        "monitor_created_position_unique",
    ),
    (
        "a monitor on nobody",
        f"UPDATE monitors SET account_id = {NOBODY} WHERE ledger_id = $1",
        "monitor_on_an_account",
    ),
    (
        "a monitor on a category that is not there",
        f"UPDATE monitors SET account_id = NULL, category_id = {NOBODY} WHERE ledger_id = $1",
        "monitor_on_a_category",
    ),
    (
        "a monitor on an account and a category",
        f"UPDATE monitors SET category_id = {NOBODY} WHERE ledger_id = $1",
        "monitor_on_one_subject",
    ),
    (
        "a monitor on nothing",
        "UPDATE monitors SET account_id = NULL WHERE ledger_id = $1",
        "monitor_on_one_subject",
    ),
    (
        "a monitor of a category's lock_version",
        f"UPDATE monitors SET account_id = NULL, category_id = {NOBODY}, field = 4 WHERE ledger_id = $1",
        "category_has_no_lock_version",
    ),
    ("a monitor of a fifth field", "UPDATE monitors SET field = 5 WHERE ledger_id = $1", "monitor_field_known"),
    (
        "a monitor of what is not equal",
        "UPDATE monitors SET operator = 4 WHERE ledger_id = $1",
        "monitor_operator_known",
    ),
    (
        "a fractional value of a monitor",
        "UPDATE monitors SET value = 0.5, resolve_value = NULL WHERE ledger_id = $1",
        "monitor_value_in_range",
    ),
    (
        "a 37-digit value of a monitor",
        "UPDATE monitors SET value = -1e36, resolve_value = NULL WHERE ledger_id = $1",
        "monitor_value_in_range",
    ),
    (
        "a monitor that resolves at a fraction",
        "UPDATE monitors SET resolve_value = 1000.5 WHERE ledger_id = $1",
        "monitor_resolve_value_in_range",
    ),
    (
        "a monitor that resolves where it is triggered",
        "UPDATE monitors SET resolve_value = value - 1, operator = 2 WHERE ledger_id = $1",
        "monitor_resolves_on_the_far_side",
    ),
    (
        "a monitor of = that resolves elsewhere",
        "UPDATE monitors SET operator = 3 WHERE ledger_id = $1",
        "monitor_resolves_on_the_far_side",
    ),
    (
        "a negative version of a monitor",
        "UPDATE monitors SET version = -1 WHERE ledger_id = $1",
        "monitor_version_not_negative",
    ),
    (
        "a monitor in its state since before it was there",
        "UPDATE monitors SET since_position = 0 WHERE ledger_id = $1",
        "monitor_since_its_creation",
    ),
    (
        "a monitor deleted at no position",
        "UPDATE monitors SET deleted_at = now() WHERE ledger_id = $1",
        "monitor_deleted_at_a_position",
    ),
    (
        "a condition of no monitor",
        f"UPDATE monitor_conditions SET monitor_id = {NOBODY} WHERE ledger_id = $1",
        "condition_of_a_monitor",
    ),
    (
        "two conditions of a monitor at one position",
        "INSERT INTO monitor_conditions SELECT * FROM monitor_conditions WHERE ledger_id = $1",
        "monitor_conditions_pkey",
    ),
    ("an event with a short digest", "UPDATE events SET digest = '' WHERE ledger_id = $1", "event_digest_is_sha256"),
    (
        "one request_id with two outcomes",
        "INSERT INTO requests SELECT * FROM requests WHERE ledger_id = $1",
        "requests_pkey",
    ),
    (
        "an empty request_id",
        "UPDATE requests SET request_id = '' WHERE ledger_id = $1 AND request_id = 'p'",
        "request_id_in_range",
    ),
    (
        "a request without an outcome",
        "UPDATE requests SET object_id = NULL, version = NULL, outcome = NULL WHERE ledger_id = $1",
        "request_has_one_outcome",
    ),
    (
        "an outcome of a version 0 that says so",
        "UPDATE requests SET version = 0 WHERE ledger_id = $1 AND object_id IS NOT NULL",
        "request_version_positive_of_an_object",
    ),
    (
        "a version of no transaction as an outcome",
        "UPDATE requests SET version = 1 WHERE ledger_id = $1 AND object_id IS NULL",
        "request_version_positive_of_an_object",
    ),
]


@pytest.fixture(scope="module")
async def books(client: LedgerClient) -> Ledger:
    """A ledger with something in every table."""
    ledger = await client.create_ledger(name="Test")
    cash = await client.create_account(ledger.id, "Cash", normal_balance="debit", currency="PTS", currency_exponent=0)
    owner = await client.create_account(ledger.id, "Owner", normal_balance="credit", currency="PTS")
    entries = [debit(cash, 10), credit(owner, 10)]
    posted = await client.create_transaction(ledger.id, entries, status="posted", external_id="p", request_id="p")
    await client.create_transaction(ledger.id, entries, external_id="q")
    await client.stub.ReverseTransaction(
        ReverseTransactionRequest(ledger_id=ledger.id, transaction_id=posted.id, request_id="r")
    )
    for value in (100, 200):
        condition = monitor_condition("posted", "<", value, resolve_value=1000)
        await client.create_balance_monitor(ledger.id, condition, account=cash)
    return ledger


@pytest.fixture(scope="module")
async def connection(server: Server) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(server.dsn)
    yield connection
    await connection.close()


@pytest.mark.parametrize(("statement", "constraint"), [pytest.param(s, c, id=what) for what, s, c in FORBIDDEN])
async def test_the_tables_refuse(
    statement: str, constraint: str, books: Ledger, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        async with connection.transaction():
            await connection.execute(statement, number_of(books.id))
    assert refused.value.constraint_name in constraint.split("|")


async def test_each_constraint_named_here_is_there(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Where two may refuse, one that was renamed or dropped would not be missed."""
    rows = await connection.fetch(
        """
        SELECT conname AS name FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'i'
        """
    )
    named = {name for _, _, constraints in FORBIDDEN for name in constraints.split("|")}
    assert named - {row["name"] for row in rows} == set()


async def test_no_check_is_without_a_name(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """PostgreSQL calls a nameless one <table>_<column>_check or _fkey; Python maps names, never messages."""
    rows = await connection.fetch(
        "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f')"
    )
    names = [row["conname"] for row in rows]
    assert len(names) > 20
    assert [name for name in names if name.endswith(("_check", "_fkey"))] == []
