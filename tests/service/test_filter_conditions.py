"""The red control of the random lists: of the statements that filter, no condition can be taken away unnoticed."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from ledger_server.reading import ways
from ledger_server.storage import sql
from ledger_server.storage.embedded import EmbeddedPostgres
from tests.conftest import new_database
from tests.service.test_lists import account_passes, account_query, expected_transactions, transaction_query
from tests.service.test_reading import Books, books_on, entry_query, pages, write_categories, write_history

Question = Callable[[random.Random, Books], Awaitable[bool]]
QUESTIONS_MAX = 600
_CONDITION = re.compile(r"(?:AND|WHERE) (\(\s*\$\d+::[\w\[\]]+ IS NULL\b)")


@pytest.fixture(scope="module")
async def history(postgres: EmbeddedPostgres) -> AsyncIterator[Books]:
    async with new_database(postgres) as dsn, books_on(dsn) as books:
        await write_history(books, random.Random(7), 150)
        await write_categories(books)
        yield books


async def entries_are_right(chance: random.Random, history: Books) -> bool:
    query, expected = entry_query(chance, history)
    return await pages(history.reader.list_entries, query) == expected


async def transactions_are_right(chance: random.Random, history: Books) -> bool:
    query = transaction_query(chance, history)
    return await pages(history.reader.list_transactions, query) == expected_transactions(query, history)


async def accounts_are_right(chance: random.Random, history: Books) -> bool:
    query = account_query(chance, history, with_balances=True)
    ids = [version.account.id for version in history.accounts]
    accounts = (await history.reader.get_accounts(history.ledger_id, ids)).value
    expected = [version for version in accounts if account_passes(query, version, history)]
    if query.order.is_descending:
        expected.reverse()
    return await pages(history.reader.list_accounts, query) == expected


STATEMENTS: dict[str, Question] = {
    "filter_entries": entries_are_right,
    "list_entries_of_account": entries_are_right,
    "filter_transactions": transactions_are_right,
    "filter_accounts": accounts_are_right,
}


def without_each_condition(statement: str) -> dict[str, str]:
    """The statement with each of its filters in turn passing all, by how the filter begins."""
    changed = {}
    for match in _CONDITION.finditer(statement):
        start = match.start(1)
        end = start + _length_of_parentheses(statement[start:])
        condition = statement[start:end]
        changed[" ".join(condition.split())[:50]] = statement[:start] + f"(true OR {condition})" + statement[end:]
    return changed


def _length_of_parentheses(text: str) -> int:
    depth = 0
    for n, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return n + 1
    raise AssertionError("parentheses do not close")


# What only the explanation of a balance asks for has tests of its own, in test_reports.
OF_EXPLANATIONS = "($24::text[] IS NULL"
CASES = [
    (name, condition)
    for name in STATEMENTS
    for condition in without_each_condition(getattr(sql, name))
    if not condition.startswith(OF_EXPLANATIONS)
]


def test_each_filter_of_the_statements_is_among_these_conditions() -> None:
    assert len(CASES) > 45


@pytest.mark.long
@pytest.mark.parametrize(("name", "condition"), CASES)
async def test_a_filter_that_passes_all_is_noticed(
    name: str, condition: str, history: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, name, without_each_condition(getattr(sql, name))[condition])
    # Where ways find what passes, be it one row, the filters would have nothing to do.
    monkeypatch.setattr(ways, "MATCHES_MAX", 0)
    chance = random.Random(3)
    for _ in range(QUESTIONS_MAX):
        if not await STATEMENTS[name](chance, history):
            return
    pytest.fail(f"{QUESTIONS_MAX} lists were right without {condition}")
