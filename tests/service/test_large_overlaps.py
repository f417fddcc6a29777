"""Nesting categories that have very many accounts in common: prepared beside the lane, exact all the same.

Very many is made few here, so that everything goes that way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg
import pytest

import ledger_client as lc
from ledger_client import LedgerClient, Outcome
from ledger_client.v1.categories_pb2 import AddCategoryMemberRequest
from ledger_client.v1.ledger_service_pb2_grpc import LedgerServiceStub
from ledger_server.posting import overlaps, summing
from tests import audit
from tests.conftest import Server, new_server
from tests.patience import PATIENCE_SECONDS
from tests.service.raw import ask, channel_to, check_manners
from tests.service.test_categories import Books


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlaps, "SMALL_ACCOUNTS", 0)
    monkeypatch.setattr(overlaps, "PART_ACCOUNTS", 2)
    monkeypatch.setattr(overlaps, "PART_EVENTS", 3)
    monkeypatch.setattr(summing, "FEW_EVENTS", 1)
    monkeypatch.setattr(summing, "BEARABLE_EVENTS", 2)


@pytest.fixture
async def books(server: Server, client: LedgerClient) -> AsyncIterator[Books]:
    """A ledger of the session's service; both auditors look at what a test leaves."""
    books = Books(client, (await client.create_ledger("Test")).id)
    yield books
    assert await audit.findings(server.dsn, books.id) == []


class Shared(NamedTuple):
    """`top` has `one` in it, and the accounts of `one` are those of `two` as well; `outside` pays them."""

    top: lc.Category
    one: lc.Category
    two: lc.Category
    accounts: list[lc.Account]
    outside: lc.Account


async def shared(books: Books, count: int = 5) -> Shared:
    top, two = await books.category(), await books.category()
    one = await books.category(top)
    accounts = [await books.account(categories=[one, two]) for _ in range(count)]
    outside = await books.account()
    for amount, account in enumerate(accounts, start=1):
        await books.pay(outside, account, amount)
    return Shared(top, one, two, accounts, outside)


@asynccontextmanager
async def locked(server: Server, table: str) -> AsyncIterator[None]:
    """Nobody can read the table."""
    connection = await asyncpg.connect(server.dsn)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def test_what_is_shared_counts_once_whatever_happens_while_it_is_summed(books: Books) -> None:
    top, one, two, accounts, outside = await shared(books)
    own = await books.account(categories=[two])
    await books.pay(outside, own, 100)

    async def go_on() -> None:
        for n in range(40):
            await books.pay(outside, random.choice([*accounts, own]), n)
            if n % 10 == 0:
                await books.remove(one, accounts[n // 10])
                await books.account(categories=[one, two])

    await asyncio.gather(go_on(), *(books.add(top, two) for _ in range(3)))
    balances = [await books.posted(each) for each in (top, two)]
    assert balances[0] == balances[1] == 115 + sum(range(40))
    await asyncio.gather(go_on_paying(books, outside, accounts), books.remove(top, two))
    await asyncio.gather(go_on_paying(books, outside, accounts), books.client.delete_category(books.id, one))
    assert await books.posted(top) == 0


async def go_on_paying(books: Books, outside: lc.Account, accounts: list[lc.Account]) -> None:
    for _ in range(20):
        await books.pay(outside, random.choice(accounts), 1)


async def test_posting_goes_on_while_it_is_summed(server: Server, books: Books) -> None:
    top, _, two, accounts, outside = await shared(books)
    # Posting to accounts that the lane knows needs not look up who is in which category.
    async with locked(server, "category_accounts"):
        nesting = asyncio.create_task(books.add(top, two))
        await asyncio.sleep(0.1)
        for account in accounts:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await books.pay(outside, account, 10)
        assert not nesting.done()
    assert (await nesting).balances.posted.amount == "65"
    assert await books.posted(two) == 65


async def test_whoever_repeats_the_call_after_its_deadline_gets_it_done_once(server: Server, books: Books) -> None:
    top, _, two, accounts, outside = await shared(books)

    async def nest(timeout: float, outcome: Outcome | None = None) -> lc.Category:
        return await books.client.add_category_member(
            books.id, top, member_category=two, request_id="nest", timeout=timeout, outcome=outcome
        )

    async with locked(server, "category_accounts"):
        with pytest.raises((lc.DeadlineExceeded, lc.DatabaseUnavailable)):
            await nest(0.2)
        await books.pay(outside, accounts[0], 10)
    first, again = await nest(10), Outcome()
    assert first.balances.posted.amount == "25"
    assert await nest(10, again) == first
    assert again.replayed


async def test_what_is_refused_or_changes_nothing_is_not_summed(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    top, one, two, _, _ = await shared(books)
    other = await books.category()
    await books.add(one, other)
    deep = [await books.category()]
    for _ in range(3):
        deep.append(await books.category(deep[-1]))
    await books.client.add_category_member(books.id, top, member_category=two, request_id="nest")
    # From here on, whatever is summed fails.
    monkeypatch.setattr(overlaps, "NOWHERE", ("nowhere", "nowhere"))
    await books.client.add_category_member(books.id, top, member_category=two, request_id="nest")
    await books.add(top, one)
    with pytest.raises(lc.CategoryMemberNotFound):
        await books.remove(two, one)
    with pytest.raises(lc.CategoryCycle):
        await books.add(one, top)
    with pytest.raises(lc.CategoryTooDeep):
        await books.add(deep[-1], top)
    with pytest.raises(lc.Internal):
        await books.remove(top, two)


async def test_what_is_never_summed_in_time_is_contention_and_says_when_to_repeat(
    server: Server, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, _, two, _, _ = await shared(books)
    nest = AddCategoryMemberRequest(
        ledger_id=books.id, request_id="nest", category_id=top.id, member_category_id=two.id
    )
    # However little happens meanwhile, it is too much.
    monkeypatch.setattr(summing, "BEARABLE_EVENTS", -1)
    async with channel_to(server.address) as channel:
        refusal = (await ask(LedgerServiceStub(channel), "AddCategoryMember", nest)).refusal
    assert refusal is not None
    check_manners(refusal)
    assert (refusal.code, refusal.reason, refusal.retries_after) == ("ABORTED", "CONTENTION", True)
    assert "repeat with the same request_id" in refusal.message


@pytest.mark.parametrize("seed", range(3))
async def test_on_two_servers_whatever_is_nested_at_random_the_sums_are_those_of_the_accounts(
    own_server: Server, seed: int
) -> None:
    dice = random.Random(seed)
    async with (
        new_server(own_server.dsn) as second,
        LedgerClient(own_server.address) as one,
        LedgerClient(second.address) as other,
    ):
        ledger = await one.create_ledger("Shared")
        here, there = Books(one, ledger.id), Books(other, ledger.id)
        accounts = [await here.account() for _ in range(6)]
        categories = [await here.category() for _ in range(5)]

        async def act(books: Books) -> None:
            category, member = dice.sample(categories, 2)
            account, counterparty = dice.sample(accounts, 2)
            match dice.randrange(12):
                case 0 | 1:
                    await books.add(category, account)
                case 2:
                    await books.remove(category, account)
                case 3 | 4 | 5:
                    await books.add(category, member)
                case 6 | 7:
                    await books.remove(category, member)
                case 8:
                    categories.append(await books.category(member))
                    categories.remove(category)
                    await books.client.delete_category(ledger.id, category)
                case _:
                    await books.pay(account, counterparty, dice.randrange(20))

        for _ in range(15):
            acts = [act(dice.choice([here, there])) for _ in range(4)]
            for outcome in await asyncio.gather(*acts, return_exceptions=True):
                assert outcome is None or isinstance(outcome, lc.NotFound | lc.FailedPrecondition), outcome
        assert await audit.findings(own_server.dsn, ledger.id) == []
