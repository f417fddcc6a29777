"""Every statement is one that PostgreSQL accepts, with the parameters that its header names."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from ledger_server.domain.ids import ledger_text, new_ledger_id
from ledger_server.storage.embedded import EmbeddedPostgres
from ledger_server.storage.sql import STATEMENTS
from tests.conftest import new_database


@pytest.fixture(scope="module")
async def connection(postgres: EmbeddedPostgres) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    async with new_database(postgres) as dsn:
        connection = await asyncpg.connect(dsn)
        yield connection
        await connection.close()


@pytest.mark.parametrize("name", sorted(STATEMENTS))
async def test_a_statement_prepares_with_the_parameters_of_its_header(
    name: str, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    statement = STATEMENTS[name]
    header = "\n".join(line for line in statement.splitlines() if line.startswith("--"))
    prepared = await connection.prepare(statement)
    named = [int(number) for number in re.findall(r"\$(\d+)", header)]
    assert named == list(range(1, len(prepared.get_parameters()) + 1))


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_a_statement_begins_with_what_it_is_for(name: str) -> None:
    assert re.match(r"-- [A-Z]", STATEMENTS[name])


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_a_statement_is_no_wider_than_the_code(name: str) -> None:
    assert [line for line in STATEMENTS[name].splitlines() if len(line) > 120] == []


def test_there_are_statements() -> None:
    assert "lock_ledger" in STATEMENTS


async def test_the_number_of_a_ledger_is_told_as_architecture_says(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    told = re.search(r"`(\('x'.*?::bigint)`", (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text())
    assert told is not None
    statement = f"SELECT {told[1]} FROM (SELECT $1::text AS id) AS asked"
    for number in (1, 2**63 - 1, new_ledger_id(datetime.now(UTC), 1_234_567)):
        assert await connection.fetchval(statement, ledger_text(number)) == number
