"""The plans of the statements, with statistics and with none: no statement reads a table, or a ledger, whole.

Generic plans are made without a look at the parameters, and on a young database without statistics, so they must
not depend on how many rows the planner believes a ledger to have. Nor is the large ledger to suffer where it is one
among thousands of small ones.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from ledger_client import LedgerClient, commands
from ledger_server.domain.category_commands import CreateCategory
from ledger_server.domain.commands import Command, CreateAccount, CreateLedger, CreateTransaction, PostTransaction
from ledger_server.domain.ids import REGISTRY, new_id
from ledger_server.domain.inputs import EntryInput, Ref
from ledger_server.domain.model import Ledger, TransactionStatus
from ledger_server.domain.money import Direction, NormalBalance
from ledger_server.posting.lanes import Lanes
from ledger_server.posting.outcomes import Written
from ledger_server.posting.worker import Worker
from ledger_server.storage.embedded import EmbeddedPostgres
from ledger_server.storage.pool import Connection, connect_lane, read_pool
from ledger_server.storage.sql import STATEMENTS
from ledger_server.storage.statistics import _analyze_grown
from tests.conftest import new_database, new_server

Node = dict[str, Any]

TRANSACTIONS = 6_000
ACCOUNTS = 2_000
CATEGORIES = 2_000

# Tables that grow without end. A ledger has all of its rows in them, so ledger_id alone finds nothing.
GROWING = {
    "accounts",
    "transactions",
    "transaction_versions",
    "account_lines",
    "events",
    "requests",
    "metadata_pairs",
    "categories",
    "category_versions",
    "category_accounts",
    "category_nestings",
    "account_limits",
    "monitors",
    "monitor_conditions",
    "entry_metadata",
    "entry_reversals",
    "account_timelines",
    "account_timeline_blocks",
}

# Without statistics a ledger is taken for one row in 200. Of as few as are in the other tables it may as well read all.
MANY = {"transactions", "transaction_versions", "account_lines", "events", "requests", "metadata_pairs"}
LARGE = {"no statistics": MANY, "fresh statistics": GROWING, "of small ledgers": GROWING}

# Whether a ledger has any categories, and, once a verification, how many monitors.
ALL_OF_A_LEDGER = {("lock_ledger", "categories"), ("read_ledger", "categories"), ("verify_start", "monitors")}

# They test the filters of lists, which are few, on the candidates of a page.
TESTING_FILTERS = {name for name in STATEMENTS if name.startswith("filter_")} | {"list_entries_of_account"}


@pytest.fixture(scope="module")
async def grown(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """A database with a ledger that has grown a little since nobody counted its rows."""
    async with new_database(postgres) as dsn:
        connection = await connect_lane(dsn)
        for table in sorted(GROWING):
            await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        await _grow(dsn)
        await _add_to_accounts_and_entries(connection)
        await connection.close()
        yield dsn


async def _grow(dsn: str) -> None:
    async with (
        read_pool(dsn, size_max=1) as pool,
        Lanes([Worker(dsn)], pool, lambda _ledger_id, _position: None).running() as lanes,
    ):
        command: Command = CreateLedger(ledger_id=REGISTRY, request_id="L", name="L", description="", metadata={})
        (answer,) = await lanes.submit([command])
        assert isinstance(answer, Written)
        assert isinstance(answer.object, Ledger)
        ledger_id = answer.object.id
        accounts = [_account(ledger_id) for _ in range(ACCOUNTS)]
        await lanes.submit(accounts[:2])
        # The connection makes its plans while there is next to nothing.
        first = _transaction(ledger_id, accounts, TRANSACTIONS * (ACCOUNTS - 1))
        await lanes.submit([first])
        await lanes.submit([_posting(first)])
        await lanes.submit(accounts[2:])
        for start in range(0, TRANSACTIONS, 500):
            created = [_transaction(ledger_id, accounts, n) for n in range(start, start + 500)]
            answers = await lanes.submit([*created, *(_posting(transaction) for transaction in created)])
            assert all(isinstance(answer, Written) for answer in answers)
        top = _category(ledger_id)
        await lanes.submit([top])
        nested = [_category(ledger_id, top.category_id) for _ in range(CATEGORIES)]
        answers = await lanes.submit([*nested, *(_account(ledger_id, each.category_id) for each in nested)])
        assert all(isinstance(answer, Written) for answer in answers)


async def _add_to_accounts_and_entries(connection: Connection) -> None:
    """A row or two for each of so many accounts and entries, in the tables that have what few of them have."""
    await connection.execute(
        """
        INSERT INTO account_limits
        SELECT ledger_id, account_id, created_position + n, created_at, NULL FROM accounts, generate_series(0, 1) n;
        INSERT INTO monitors
        SELECT
            ledger_id, account_id, account_id, NULL, created_position, created_at, created_at, 0, 1, 1, 0, NULL, '',
            '{}', created_position % 9 = 0, created_position, created_at, NULL, NULL
        FROM accounts;
        INSERT INTO monitors
        SELECT
            ledger_id, category_id, NULL, category_id, created_position, created_at, created_at, 0, 1, 1, 0, NULL, '',
            '{}', created_position % 9 = 0, created_position, created_at, NULL, NULL
        FROM categories;
        INSERT INTO monitor_conditions
        SELECT ledger_id, monitor_id, created_position + n, created_at, 1, 1, 0, NULL
        FROM monitors, generate_series(0, 1) n;
        INSERT INTO entry_metadata
        SELECT ledger_id, entry_id, '{}', now(), 1 FROM entries;
        INSERT INTO entry_reversals
        SELECT ledger_id, entry_id, 1, amount FROM entries;
        INSERT INTO account_timelines
        SELECT ledger_id, account_id, 1, '{1}' FROM accounts;
        INSERT INTO account_timeline_blocks
        SELECT ledger_id, account_id, 1, created_at, n, 0, 0, 0, 0, '{}', '{}', '{}', '{}', '{}'
        FROM accounts, generate_series(0, 1) n
        """
    )


def _category(ledger_id: int, *category_ids: str) -> CreateCategory:
    return CreateCategory(
        ledger_id=ledger_id,
        request_id=new_id(),
        name="C",
        description="",
        normal_balance=NormalBalance.DEBIT,
        currency="USD",
        currency_exponent=None,
        external_id=None,
        metadata={},
        category_ids=category_ids,
    )


def _account(ledger_id: int, *category_ids: str) -> CreateAccount:
    return CreateAccount(
        ledger_id=ledger_id,
        request_id=new_id(),
        name="A",
        description="",
        normal_balance=NormalBalance.DEBIT,
        currency="USD",
        currency_exponent=None,
        external_id=None,
        metadata={"kind": "wallet"},
        category_ids=category_ids,
    )


def _transaction(ledger_id: int, accounts: list[CreateAccount], n: int) -> CreateTransaction:
    # The first account is in all of them.
    debit, credit = accounts[0], accounts[1 + n % (ACCOUNTS - 1)]
    return CreateTransaction(
        ledger_id=ledger_id,
        request_id=new_id(),
        status=TransactionStatus.PENDING,
        description="",
        effective_at=None,
        external_id=f"transaction {n}",
        metadata={"n": str(n)},
        entries=(
            EntryInput(Ref(debit.account_id, None), Direction.DEBIT, 1),
            EntryInput(Ref(credit.account_id, None), Direction.CREDIT, 1),
        ),
    )


def _posting(transaction: CreateTransaction) -> PostTransaction:
    return PostTransaction(
        ledger_id=transaction.ledger_id,
        request_id=new_id(),
        transaction=Ref(transaction.transaction_id, None),
        version=None,
        entries=None,
        effective_at=None,
        metadata=None,
    )


@pytest.fixture(scope="module", params=list(LARGE))
async def planner(grown: str, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Connection, set[str]]]:
    """A connection whose planner knows or does not know the tables' sizes, and the tables it must not read whole."""
    connection = await connect_lane(grown)
    if request.param == "no statistics":
        assert not await connection.fetchval(
            "SELECT count(*) FROM pg_stats WHERE tablename = ANY ($1)", sorted(GROWING)
        )
    else:
        if request.param == "of small ledgers":
            await _add_small_ledgers(connection)
        await connection.execute("ANALYZE")
    yield connection, LARGE[request.param]
    await connection.close()


async def _add_small_ledgers(connection: Connection) -> None:
    """Twice as many rows as there are, each in a ledger of its own."""
    await connection.execute("SET session_replication_role = replica")
    for table in sorted(GROWING):
        columns = await connection.fetchval(
            """
            SELECT string_agg(quote_ident(column_name), ', ')
            FROM information_schema.columns
            WHERE table_name = $1 AND column_name <> 'ledger_id'
            """,
            table,
        )
        await connection.execute(
            f"""
            INSERT INTO {table} (ledger_id, {columns})
            SELECT (random() * 2 ^ 62)::bigint, {columns} FROM {table} CROSS JOIN generate_series(1, 2)
            """
        )
    await connection.execute("RESET session_replication_role")


async def test_a_connection_that_began_on_empty_tables_does_not_read_them_whole_later(grown: str) -> None:
    """Where a ledger is taken for one row, any index is as good; foreign keys' plans are kept by the connection too."""
    connection = await connect_lane(grown)
    read = await connection.fetchval("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes")
    await connection.close()
    # Two accounts, two versions and their indexes: about a hundred; 17,000 with the plans of the first seconds.
    assert read / TRANSACTIONS < 2_000


@pytest.mark.parametrize("name", sorted(STATEMENTS))
async def test_no_statement_reads_a_table_or_a_ledger_whole(name: str, planner: tuple[Connection, set[str]]) -> None:
    connection, large = planner
    for node, parent in await _plan(connection, STATEMENTS[name]):
        assert node["Node Type"] != "Seq Scan", node
        table = node.get("Relation Name", parent.get("Relation Name"))
        if "Index" in node["Node Type"] and table in large:
            condition = node.get("Index Cond", "").replace("(ledger_id = $1)", "")
            finds_by_more_than_the_ledger = bool(condition.strip("() "))
            # The first rows in the order of an index.
            takes_the_first = parent["Node Type"] == "Limit" and "Filter" not in node
            is_on_purpose = (name, table) in ALL_OF_A_LEDGER
            assert finds_by_more_than_the_ledger or takes_the_first or is_on_purpose, node
            # The entries of one version, not those of all of an account's versions.
            assert "line_id >" not in node.get("Filter", ""), node


@pytest.mark.parametrize(
    "name",
    ["list_ledgers", *sorted(name for name in STATEMENTS if name.startswith("walk_"))],
)
async def test_a_walk_goes_along_its_index_and_sorts_no_more_than_a_page(
    name: str, planner: tuple[Connection, set[str]]
) -> None:
    nodes = [node for node, _ in await _plan(planner[0], STATEMENTS[name])]
    assert not [node for node in nodes if "Sort" in node["Node Type"] and not _is_cut(node["Plans"][0])]


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - TESTING_FILTERS))
async def test_no_item_of_a_list_is_held_against_all(name: str, planner: tuple[Connection, set[str]]) -> None:
    """A list is not joined by comparing, and no look-up of an item goes through the list: 10,000 would take minutes."""
    for node, _ in await _plan(planner[0], STATEMENTS[name]):
        if node["Node Type"] == "Nested Loop":
            assert not ("Join Filter" in node and any(map(_is_list, node["Plans"]))), node
            (repeated,) = [child for child in node["Plans"] if child["Parent Relationship"] == "Inner"]
            conditions = [
                (each.get("Index Cond", ""), each.get("Filter", "")) for each, _ in _nodes(repeated, repeated)
            ]
            assert not [each for each in conditions if re.search(r"\w = ANY \(\(?\$", "".join(each))], node


@pytest.mark.parametrize("name", sorted(TESTING_FILTERS))
async def test_a_list_of_ids_is_not_gone_through_for_each_candidate(
    name: str, planner: tuple[Connection, set[str]]
) -> None:
    for node, _ in await _plan(planner[0], STATEMENTS[name]):
        assert not re.search(r"\w_id = ANY \(\(?\$", node.get("Filter", "")), node


async def _plan(connection: Connection, statement: str) -> list[tuple[Node, Node]]:
    """The nodes of the statement's generic plan, the one that every server's connections use, each with its parent."""
    parameters = (await connection.prepare(statement)).get_parameters()
    values = f"({', '.join(['NULL'] * len(parameters))})" if parameters else ""
    await connection.execute(f"PREPARE explained AS {statement}")
    try:
        (row,) = await connection.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE explained{values}")
    finally:
        await connection.execute("DEALLOCATE explained")
    (plan,) = json.loads(row[0])
    return list(_nodes(plan["Plan"], plan["Plan"]))


def _is_list(node: Node) -> bool:
    while node["Node Type"] == "Materialize":
        (node,) = node["Plans"]
    return node["Node Type"] in ("Function Scan", "CTE Scan")


def _is_cut(node: Node) -> bool:
    """Whether limits have been reached already: blocks of positions come in order, and are sorted within."""
    passes_on = node["Node Type"] in ("Subquery Scan", "Result", "Append") and "Plans" in node
    return node["Node Type"] == "Limit" or (passes_on and all(map(_is_cut, node["Plans"])))


def _nodes(node: Node, parent: Node) -> Iterator[tuple[Node, Node]]:
    yield node, parent
    for child in node.get("Plans", ()):
        yield from _nodes(child, node)


async def test_every_table_is_planned_as_if_one_ledger_had_all_its_rows(database: str) -> None:
    """But those that have one row a ledger."""
    connection = await connect_lane(database)
    try:
        rows = await connection.fetch(
            """
            SELECT relname, coalesce('n_distinct=1' = ANY (attoptions), false) AS is_so
            FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid JOIN pg_index ON indrelid = pg_class.oid
            WHERE attname = 'ledger_id' AND relkind = 'r' AND indisprimary AND indnatts > 1
            """
        )
    finally:
        await connection.close()
    assert "account_lines" in [row["relname"] for row in rows]
    assert [row["relname"] for row in rows if not row["is_so"]] == []


async def test_a_table_is_not_looked_at_before_its_first_rows_are_committed(database: str) -> None:
    """As it would happen to the accounts of a ledger's first, long batch; the planner would take them for none."""
    watcher, writer = await connect_lane(database), await connect_lane(database)
    rows = "SELECT reltuples::bigint FROM pg_class WHERE relname = 'events'"
    more = """
        INSERT INTO events
        SELECT (random() * 2 ^ 62)::bigint, n, now(), '', sha256('') FROM generate_series(1, $1) n
        """
    try:
        await writer.execute(more, 1)
        async with writer.transaction():
            await writer.execute(more, 1000)
            await _analyze_grown(watcher)
            assert await watcher.fetchval(rows) == -1
        await _analyze_grown(watcher)
        assert await watcher.fetchval(rows) == 1001
    finally:
        await watcher.close()
        await writer.close()


async def test_a_first_long_batch_of_accounts_reads_each_a_few_times(database: str) -> None:
    """Foreign keys to them are checked by the index that is theirs, while nothing is known of the table."""
    async with new_server(database) as server, LedgerClient(server.address) as client:
        ledger = await client.create_ledger("Large")
        accounts = [commands.create_account(str(n), normal_balance="debit", currency="USD") for n in range(10_000)]
        await client.batch_create_accounts(ledger.id, accounts)
    # A connection that is closed has told what it read.
    connection = await connect_lane(database)
    try:
        read = await connection.fetchval(
            "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = 'accounts'"
        )
    finally:
        await connection.close()
    assert len(accounts) <= read < 10 * len(accounts)
