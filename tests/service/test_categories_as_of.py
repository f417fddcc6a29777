"""Categories as of any time: sums of the accounts under them then, by effective time and by what was known."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

import ledger_client as lc
from ledger_client import Account, Category, Ledger, LedgerClient, credit, debit
from ledger_client.account_filters import BalanceTime
from ledger_server.reading import categories as reading
from tests.conftest import Server

START = datetime(2026, 1, 1, tzinfo=UTC)
Members = dict[str, frozenset[str]]


class Books:
    """Accounts in nested categories, at random, and who was in which after each command."""

    def __init__(self, client: LedgerClient, ledger: Ledger, dice: random.Random) -> None:
        self.client, self.id, self.dice = client, ledger.id, dice
        self.accounts: list[Account] = []
        self.categories: list[Category] = []
        self.nested: dict[str, list[str]] = {}
        self.members: Members = {}
        self.moments: list[tuple[int, Members]] = []

    async def open(self) -> None:
        sort = {"normal_balance": "credit", "currency": "USD"}
        for n in range(6):
            self.accounts.append(await self.client.create_account(self.id, f"a{n}", **sort))  # type: ignore[arg-type]
        for n in range(4):
            parents = self.dice.sample(self.categories, min(n, 2))
            category = await self.client.create_category(self.id, f"c{n}", parents=parents, **sort)  # type: ignore[arg-type]
            self.categories.append(category)
            self.nested[category.id], self.members[category.id] = [], frozenset()
            for parent in parents:
                self.nested[parent.id].append(category.id)

    async def act(self) -> None:
        position = await (self._move() if self.dice.random() < 0.4 else self._pay())
        self.moments.append((position, dict(self.members)))

    async def _move(self) -> int:
        category, account = self.dice.choice(self.categories), self.dice.choice(self.accounts)
        is_in = account.id in self.members[category.id]
        change = self.client.remove_category_member if is_in else self.client.add_category_member
        self.members[category.id] ^= {account.id}
        return (await change(self.id, category, account=account)).position

    async def _pay(self) -> int:
        source, target = self.dice.sample(self.accounts, 2)
        amount, effective_at = 1 << self.dice.randrange(20), START + timedelta(days=self.dice.randrange(10))
        status = self.dice.choice(("posted", "pending"))
        paid = await self.client.create_transaction(
            self.id,
            [debit(source, amount), credit(target, amount)],
            status=status,  # type: ignore[arg-type]
            effective_at=effective_at,
        )
        if status == "pending" and self.dice.random() < 0.3:
            paid = await self.client.archive_transaction(self.id, paid)
        return paid.position

    def window(self) -> BalanceTime:
        day = START + timedelta(days=self.dice.randrange(11))
        windows: list[BalanceTime] = [
            {},
            {"as_of": day},
            {"effective_at_upper_bound": day},
            {"effective_at_lower_bound": day},
            {"effective_at_lower_bound": day, "effective_at_upper_bound": day + timedelta(days=3)},
        ]
        return self.dice.choice(windows)

    def under(self, category_id: str, members: Members) -> set[str]:
        return set(members[category_id]).union(*(self.under(each, members) for each in self.nested[category_id]))


def sides(one: Account | Category) -> list[int]:
    both = (one.balances.posted, one.balances.pending)
    return [int(side) for balance in both for side in (balance.debits, balance.credits)]


@pytest.mark.parametrize("seed", range(3))
async def test_a_category_is_the_sum_of_the_accounts_that_were_under_it(
    client: LedgerClient, ledger: Ledger, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So few members make several parts.
    monkeypatch.setattr(reading, "PART_ACCOUNTS", 2)
    books = Books(client, ledger, random.Random(seed))
    await books.open()
    for _ in range(40):
        await books.act()
    times: dict[int, datetime] = {}
    async with client.watch_events(ledger.id, after_position=0) as stream:
        async for message in stream:
            if isinstance(message, lc.Event):
                times[message.position] = message.time.ToDatetime(UTC)
            if message.position >= books.moments[-1][0]:
                break
    for _ in range(60):
        time = books.window()
        members = books.members
        how = books.dice.randrange(3)
        if how:
            position, members = books.dice.choice(books.moments)
            if how == 1:
                time["as_of_position"] = position
            else:
                time["known_at"] = times[position]
        category = books.dice.choice(books.categories)
        read = await client.get_category(ledger.id, category, **time)
        singles = [await client.get_account(ledger.id, each, **time) for each in books.under(category.id, members)]
        assert sides(read) == [sum(column) for column in zip([0] * 4, *map(sides, singles), strict=True)], time
    before = await client.get_category(ledger.id, books.categories[0], known_at=START)
    assert sides(before) == [0] * 4


async def test_a_time_before_a_pruned_log_begins_is_refused_and_later_ones_are_answered(
    client: LedgerClient, ledger: Ledger, server: Server
) -> None:
    books = Books(client, ledger, random.Random(1))
    await books.open()
    for _ in range(5):
        await books.act()
    connection = await asyncpg.connect(server.dsn)
    try:
        now = await connection.fetchval("SELECT event_time FROM ledgers WHERE ledger_id = $1", ledger.id)
        await connection.execute("DELETE FROM events WHERE ledger_id = $1", ledger.id)
    finally:
        await connection.close()
    category = books.categories[0]
    read = await client.get_category(ledger.id, category, known_at=now)
    assert sides(read) == sides(await client.get_category(ledger.id, category))
    with pytest.raises(lc.PositionPruned):
        await client.get_category(ledger.id, category, known_at=now - timedelta(microseconds=1))
