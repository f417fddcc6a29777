"""Categories: sums over distinct accounts, exact at every position, whatever joins, leaves or nests."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

import ledger_client as lc
from ledger_client import Account, Category, Ledger, LedgerClient, category_condition, condition, credit, debit
from ledger_client.filters import all_of, key
from tests import audit
from tests.conftest import Server, new_server


class Books:
    """A ledger with accounts and categories of dollars, by names."""

    def __init__(self, client: LedgerClient, ledger_id: str) -> None:
        self.client = client
        self.id = ledger_id
        self._numbers = itertools.count(1)

    async def account(self, normal: str = "credit", **fields: object) -> Account:
        name = f"account {next(self._numbers)}"
        return await self.client.create_account(self.id, name, normal_balance=normal, currency="USD", **fields)  # type: ignore[arg-type]

    async def category(self, *parents: Category, normal: str = "credit") -> Category:
        name = f"category {next(self._numbers)}"
        return await self.client.create_category(
            self.id,
            name,
            normal_balance=normal,  # type: ignore[arg-type]
            currency="USD",
            parents=parents,
        )

    async def add(self, category: Category, member: Account | Category) -> Category:
        if isinstance(member, Account):
            return await self.client.add_category_member(self.id, category, account=member)
        return await self.client.add_category_member(self.id, category, member_category=member)

    async def remove(self, category: Category, member: Account | Category) -> Category:
        if isinstance(member, Account):
            return await self.client.remove_category_member(self.id, category, account=member)
        return await self.client.remove_category_member(self.id, category, member_category=member)

    async def pay(self, source: Account, target: Account, amount: int, **fields: object) -> lc.Transaction:
        fields = {"status": "posted"} | fields
        return await self.client.create_transaction(self.id, [debit(source, amount), credit(target, amount)], **fields)  # type: ignore[arg-type]

    async def posted(self, category: Category, as_of_position: int | None = None) -> int:
        read = await self.client.get_category(self.id, category.id, as_of_position=as_of_position)
        return int(read.balances.posted.amount)


@pytest.fixture
async def books(server: Server, client: LedgerClient, ledger: Ledger) -> AsyncIterator[Books]:
    """A new ledger's; both auditors look at what a test leaves."""
    yield Books(client, ledger.id)
    assert await audit.findings(server.dsn, ledger.id) == []


async def test_a_category_sums_the_accounts_that_are_in_it_and_no_others(books: Books) -> None:
    category = await books.category()
    a, b, outside = [await books.account() for _ in range(3)]
    await books.add(category, a)
    await books.add(category, b)
    await books.pay(outside, a, 100)
    await books.pay(a, b, 30)
    await books.pay(outside, b, 5)
    assert await books.posted(category) == 105


async def test_an_account_brings_what_it_has_and_takes_it_away(books: Books) -> None:
    top = await books.category()
    middle = await books.category(top)
    a, outside = await books.account(), await books.account()
    await books.pay(outside, a, 100)
    joined = await books.add(middle, a)
    assert joined.balances.posted.amount == "100"
    assert await books.posted(top) == 100
    left = await books.remove(middle, a)
    assert left.balances.posted.amount == "0"
    assert await books.posted(top) == 0


async def test_an_account_that_is_under_a_category_by_several_ways_counts_once(books: Books) -> None:
    top = await books.category()
    one, two = await books.category(top), await books.category(top)
    a, outside = await books.account(), await books.account()
    await books.pay(outside, a, 100)
    await books.add(one, a)
    await books.add(two, a)
    await books.add(top, a)
    assert [await books.posted(each) for each in (top, one, two)] == [100, 100, 100]
    await books.pay(outside, a, 11)
    assert [await books.posted(each) for each in (top, one, two)] == [111, 111, 111]
    await books.remove(one, a)
    await books.remove(top, a)
    assert [await books.posted(each) for each in (top, one, two)] == [111, 0, 111]
    await books.remove(two, a)
    assert await books.posted(top) == 0


async def test_a_category_that_joins_brings_only_the_accounts_that_are_not_there_otherwise(books: Books) -> None:
    top, one, two = await books.category(), await books.category(), await books.category()
    shared, own, outside = [await books.account() for _ in range(3)]
    await books.pay(outside, shared, 100)
    await books.pay(outside, own, 7)
    for category, account in ((one, shared), (two, shared), (two, own)):
        await books.add(category, account)
    await books.add(top, one)
    await books.add(top, two)
    assert [await books.posted(each) for each in (top, one, two)] == [107, 100, 107]
    await books.remove(top, one)
    assert await books.posted(top) == 107
    await books.add(top, one)
    await books.remove(top, two)
    assert await books.posted(top) == 100


async def test_a_diamond_of_categories_counts_once_and_comes_apart_again(books: Books) -> None:
    top = await books.category()
    left, right = await books.category(top), await books.category(top)
    bottom = await books.category(left, right)
    a, outside = await books.account(), await books.account()
    await books.add(bottom, a)
    await books.pay(outside, a, 100)
    assert [await books.posted(each) for each in (top, left, right, bottom)] == [100] * 4
    await books.remove(left, bottom)
    assert [await books.posted(each) for each in (top, left, right, bottom)] == [100, 0, 100, 100]
    await books.remove(right, bottom)
    assert [await books.posted(each) for each in (top, left, right, bottom)] == [0, 0, 0, 100]


async def test_the_amounts_are_by_the_categorys_own_normality(books: Books) -> None:
    category = await books.category(normal="debit")
    a, b = await books.account("debit"), await books.account("credit")
    await books.add(category, a)
    await books.pay(a, b, 100)
    await books.pay(a, b, 9, status="pending")
    await books.pay(b, a, 4, status="pending")
    balances = (await books.client.get_category(books.id, category)).balances
    amounts = {name: getattr(balances, name).amount for name in ("posted", "pending", "available")}
    assert amounts == {"posted": "100", "pending": "105", "available": "96"}


async def test_a_balance_is_what_it_was_at_any_position_with_the_accounts_of_then(books: Books) -> None:
    category = await books.category()
    a, outside = await books.account(), await books.account()
    seen = {category.position: 0}
    paid = await books.pay(outside, a, 100)
    seen[paid.position] = 0
    joined = await books.add(category, a)
    seen[joined.position] = 100
    paid = await books.pay(outside, a, 20)
    seen[paid.position] = 120
    left = await books.remove(category, a)
    seen[left.position] = 0
    assert {position: await books.posted(category, position) for position in seen} == seen
    assert await books.posted(category, category.position - 1) == 0
    with pytest.raises(lc.PositionInFuture):
        await books.posted(category, left.position + 1)


async def test_accounts_are_born_into_categories(books: Books) -> None:
    top = await books.category()
    category = await books.category(top)
    a = await books.account(categories=[category])
    outside = await books.account()
    await books.pay(outside, a, 100)
    assert [await books.posted(each) for each in (top, category)] == [100, 100]
    created = await books.client.batch_create_accounts(
        books.id,
        [
            lc.commands.create_account("x", normal_balance="debit", currency="USD", categories=[category.id])
            for _ in range(3)
        ],
    )
    await books.pay(created.accounts[0], outside, 3)
    assert await books.posted(top) == 97


@pytest.mark.parametrize("status", ["pending", "posted"])
async def test_a_condition_on_a_category_holds_after_the_command_or_refuses_it(books: Books, status: str) -> None:
    top = await books.category()
    category = await books.category(top)
    a, outside = await books.account(categories=[category]), await books.account()
    await books.pay(outside, a, 100)
    at_least = [category_condition(top, condition("available", ">=", 50))]
    await books.pay(a, outside, 50, status=status, category_conditions=at_least)
    with pytest.raises(lc.ConditionFailed) as failed:
        await books.pay(a, outside, 1, status=status, category_conditions=at_least)
    (violation,) = failed.value.violations
    assert (violation.category_id, violation.account_id, violation.rule) == (top.id, "", "CATEGORY_CONDITION")
    assert (violation.seen, violation.demanded, violation.shortfall) == (49, 50, 1)
    archived = await books.pay(
        a, outside, 1, status=status, category_conditions=at_least, archive_on_condition_failure=True
    )
    assert archived.status == lc.TransactionStatus.TRANSACTION_STATUS_ARCHIVED
    # Any category of the ledger will do, also one that nothing moves.
    idle = await books.category()
    with pytest.raises(lc.ConditionFailed):
        await books.pay(outside, a, 1, category_conditions=[category_condition(idle, condition("posted", ">", 0))])


async def test_conditions_on_categories_go_with_every_command_that_moves_money(books: Books) -> None:
    category = await books.category()
    a, outside = await books.account(categories=[category]), await books.account()
    never = [category_condition(category, condition("pending", "==", 1_000_000))]
    client, id_ = books.client, books.id
    pending = await books.pay(outside, a, 100, status="pending")
    posted = await books.pay(outside, a, 100)
    lines = [debit(outside, 5), credit(a, 5)]
    for call in (
        client.update_transaction(id_, pending, entries=lines, category_conditions=never),
        client.update_transaction(id_, pending, description="new", category_conditions=never),
        client.post_transaction(id_, pending, category_conditions=never),
        client.partial_post_transaction(id_, pending, lines, category_conditions=never),
        client.reverse_transaction(id_, posted, category_conditions=never),
        client.create_transaction(id_, lines, category_conditions=never),
    ):
        with pytest.raises(lc.ConditionFailed):
            await call
    assert await books.posted(category) == 100


async def test_in_a_batch_each_condition_sees_what_the_commands_before_it_left(books: Books) -> None:
    category = await books.category()
    a, outside = await books.account(categories=[category]), await books.account()
    await books.pay(outside, a, 10)
    at_least = [category_condition(category, condition("posted", ">=", 0))]
    writes = [
        lc.commands.create_transaction([debit(a, 4), credit(outside, 4)], status="posted", category_conditions=at_least)
        for _ in range(4)
    ]
    results = await books.client.batch_write_transactions(books.id, writes, atomic=False)
    assert [result.WhichOneof("result") for result in results.results] == [
        "transaction",
        "transaction",
        "error",
        "error",
    ]
    assert await books.posted(category) == 2
    with pytest.raises(lc.ConditionFailed) as failed:
        await books.client.batch_write_transactions(books.id, writes, atomic=True)
    assert failed.value.metadata["command_index"] == "0"


async def test_a_deleted_category_takes_along_what_was_counted_through_it_alone(books: Books) -> None:
    top = await books.category()
    one, two = await books.category(top), await books.category(top)
    shared, own, outside = [await books.account() for _ in range(3)]
    for category, account in ((one, shared), (two, shared), (two, own)):
        await books.add(category, account)
    await books.pay(outside, shared, 100)
    await books.pay(outside, own, 7)
    before = await books.client.get_category(books.id, top)
    deleted = await books.client.delete_category(books.id, two)
    assert deleted.HasField("deleted_at")
    assert await books.posted(top) == 100
    assert await books.posted(top, before.position) == 107
    await books.pay(outside, own, 1)
    assert await books.posted(top) == 100
    for call in (
        books.client.get_category(books.id, two),
        books.client.delete_category(books.id, two),
        books.add(two, own),
        books.add(one, two),
    ):
        with pytest.raises(lc.CategoryNotFound):
            await call
    # What was in it can be put elsewhere.
    await books.add(one, own)
    assert await books.posted(top) == 108


async def test_nesting_ends_after_five_levels(books: Books) -> None:
    chain = [await books.category()]
    for _ in range(4):
        chain.append(await books.category(chain[-1]))
    with pytest.raises(lc.CategoryTooDeep):
        await books.category(chain[-1])
    lone = await books.category()
    with pytest.raises(lc.CategoryTooDeep):
        await books.add(chain[-1], lone)
    with pytest.raises(lc.CategoryTooDeep):
        await books.add(lone, chain[0])
    a, outside = await books.account(categories=[chain[-1]]), await books.account()
    await books.pay(outside, a, 100)
    assert [await books.posted(each) for each in chain] == [100] * 5


async def test_no_category_comes_above_itself(books: Books) -> None:
    one = await books.category()
    two = await books.category(one)
    three = await books.category(two)
    for category, member in ((one, one), (two, one), (three, one)):
        with pytest.raises(lc.CategoryCycle):
            await books.add(category, member)


async def test_of_categories_that_join_each_other_at_once_one_is_refused(server: Server, books: Books) -> None:
    """On two servers: each knows only what it wrote itself, but for the lock on the ledger."""
    async with new_server(server.dsn) as second, LedgerClient(second.address) as elsewhere:
        there = Books(elsewhere, books.id)
        for _ in range(5):
            one, two, three = [await books.category() for _ in range(3)]
            pair = await asyncio.gather(books.add(one, two), there.add(two, one), return_exceptions=True)
            assert sorted(type(outcome).__name__ for outcome in pair) == ["Category", "CategoryCycle"]
            parent, member = (one, two) if isinstance(pair[0], Category) else (two, one)
            ring = await asyncio.gather(
                books.add(member, three), there.add(three, parent), books.add(three, parent), return_exceptions=True
            )
            names = [type(outcome).__name__ for outcome in ring]
            assert names in (["Category", *["CategoryCycle"] * 2], ["CategoryCycle", *["Category"] * 2])


async def test_joining_twice_changes_nothing_and_leaving_twice_is_refused(books: Books) -> None:
    top, category = await books.category(), await books.category()
    a, outside = await books.account(), await books.account()
    await books.pay(outside, a, 100)
    for _ in range(2):
        assert (await books.add(category, a)).balances.posted.amount == "100"
        assert (await books.add(top, category)).balances.posted.amount == "100"
    await books.remove(category, a)
    await books.remove(top, category)
    with pytest.raises(lc.CategoryMemberNotFound):
        await books.remove(category, a)
    with pytest.raises(lc.CategoryMemberNotFound):
        await books.remove(top, category)
    assert await books.posted(top) == 0


async def test_a_deleted_account_joins_nothing_and_may_be_taken_out(books: Books) -> None:
    category, other = await books.category(), await books.category()
    a = await books.account(categories=[category])
    await books.client.delete_account(books.id, a)
    with pytest.raises(lc.AccountDeleted):
        await books.add(other, a)
    await books.remove(category, a)


async def test_a_repeated_call_has_one_effect_and_an_equal_answer(books: Books) -> None:
    category = await books.category()
    a, outside = await books.account(), await books.account()
    await books.pay(outside, a, 100)
    client = books.client
    first = await client.add_category_member(books.id, category, account=a, request_id="join")
    await books.pay(outside, a, 1)
    outcome = lc.Outcome()
    again = await client.add_category_member(books.id, category, account=a, request_id="join", outcome=outcome)
    assert again == first
    assert outcome.replayed
    with pytest.raises(lc.RequestIdReused):
        await client.add_category_member(books.id, category, account=outside, request_id="join")
    deleted = await client.delete_category(books.id, category, request_id="delete")
    assert await client.delete_category(books.id, category, request_id="delete") == deleted


async def test_an_external_id_names_a_category_until_it_is_deleted(books: Books) -> None:
    client = books.client
    fields = {"normal_balance": "credit", "currency": "USD", "external_id": "assets"}
    category = await client.create_category(books.id, "one", **fields)  # type: ignore[arg-type]
    with pytest.raises(lc.ExternalIdTaken):
        await client.create_category(books.id, "two", **fields)  # type: ignore[arg-type]
    assert (await client.get_category(books.id, lc.ExternalId("assets"))).id == category.id
    a = await books.account(external_id="cash")
    await client.add_category_member(books.id, lc.ExternalId("assets"), account=lc.ExternalId("cash"))
    await client.delete_category(books.id, lc.ExternalId("assets"))
    again = await client.create_category(books.id, "two", **fields)  # type: ignore[arg-type]
    assert again.id != category.id
    await client.update_category(books.id, again, external_id="", name="three", metadata={"a": "b"})
    read = await client.get_category(books.id, again)
    assert (read.external_id, read.name, dict(read.metadata)) == ("", "three", {"a": "b"})
    assert [c async for c in client.categories(books.id, account_id=a.id)] == []


async def test_categories_are_found_by_what_they_are_and_where(books: Books) -> None:
    client = books.client
    top = await books.category()
    one = await books.category(top)
    two = await books.category(one)
    euros = await client.create_category(
        books.id, "Euro cash", normal_balance="debit", currency="EUR", external_id="e", metadata={"k": "v"}
    )
    a = await books.account(categories=[two])
    await books.add(top, a)

    async def found(**filters: object) -> list[str]:
        return [category.id async for category in client.categories(books.id, **filters)]  # type: ignore[arg-type]

    assert await found() == [top.id, one.id, two.id, euros.id]
    assert await found(page_size=1) == [top.id, one.id, two.id, euros.id]
    assert await found(ids=[two.id, top.id]) == [top.id, two.id]
    assert await found(names=["CASH"]) == await found(names=["no such", "o c"]) == [euros.id]
    assert await found(names=["%"]) == []
    assert await found(metadata_filter=all_of(key("k", prefix="v"))) == [euros.id]
    assert await found(metadata_filter=all_of(key("k", present=False))) == [top.id, one.id, two.id]
    assert await found(currency="EUR") == await found(external_id="e") == await found(metadata={"k": "v"}) == [euros.id]
    assert await found(normal_balance="debit") == [euros.id]
    assert await found(parent_category_id=top.id) == [one.id]
    assert await found(member_category_id=two.id) == [one.id]
    assert await found(member_category_id=top.id) == []
    assert await found(account_id=a.id) == [top.id, one.id, two.id]
    assert await found(account_id=a.id, parent_category_id=one.id) == [two.id]
    assert await found(account_id=a.id, member_category_id=two.id) == [one.id]
    assert await found(account_id=a.id, parent_category_id=two.id) == []
    await books.pay(a, await books.account(), 30)
    assert await found(balances=[condition("posted", "<", 0)]) == [top.id, one.id, two.id]
    assert await found(balances=[condition("posted", ">=", 0)], page_size=1) == [euros.id]


async def test_the_parents_of_a_category_are_found_until_it_leaves_them_or_they_are_deleted(books: Books) -> None:
    one, two, three = [await books.category() for _ in range(3)]
    category = await books.category(one, two, three)

    async def parents() -> list[str]:
        return [each.id async for each in books.client.categories(books.id, member_category_id=category.id)]

    assert await parents() == [one.id, two.id, three.id]
    await books.remove(one, category)
    await books.client.delete_category(books.id, two)
    assert await parents() == [three.id]


async def test_many_at_once_keep_the_sums_exact(books: Books) -> None:
    top = await books.category()
    categories = [await books.category(top) for _ in range(3)]
    accounts = [await books.account() for _ in range(6)]

    async def shuffle(account: Account) -> None:
        for category in categories:
            await books.add(category, account)
            await books.pay(accounts[0], account, 10)
            await books.remove(category, account)
        await books.add(categories[0], account)

    await asyncio.gather(*(shuffle(account) for account in accounts[1:]))
    assert [await books.posted(each) for each in (top, *categories)] == [150, 150, 0, 0]


async def test_a_ledger_with_categories_is_sound(books: Books) -> None:
    top = await books.category()
    one, two = await books.category(top), await books.category()
    a, outside = await books.account(categories=[one]), await books.account()
    await books.pay(outside, a, 100)
    await books.add(two, a)
    await books.add(top, two)
    await books.pay(a, outside, 30, status="pending")
    await books.client.delete_category(books.id, one)
    await books.remove(two, a)
    verification = await books.client.verify_ledger(books.id)
    assert not verification.findings


async def read(stream: lc.BalanceStream, until: int) -> list[lc.WatchMessage]:
    """The messages of a stream up to the event at a position, without heartbeats."""
    messages: list[lc.WatchMessage] = []
    async for message in stream:
        if not isinstance(message, lc.Heartbeat):
            messages.append(message)
        if message.position >= until:
            return messages
    raise AssertionError("streams do not end")


def subjects(event: lc.WatchMessage) -> set[str]:
    assert isinstance(event, lc.Event)
    return {change.account_id or change.category_id for change in event.changes}


async def test_an_event_tells_of_the_account_and_of_every_category_above_it(books: Books) -> None:
    top = await books.category()
    one, other = await books.category(top), await books.category()
    a, outside = await books.account(categories=[one]), await books.account()
    async with books.client.watch_balances(books.id) as stream:
        paid = await books.pay(outside, a, 100)
        (event,) = await read(stream, paid.position)
    assert isinstance(event, lc.Event)
    assert subjects(event) == {a.id, outside.id, one.id, top.id}
    assert other.id not in subjects(event)
    (change,) = [change for change in event.changes if change.category_id == top.id]
    assert (change.before.posted.amount, change.after.posted.amount) == ("0", "100")
    assert not change.HasField("lock_version")


async def test_a_watched_category_brings_its_accounts_as_they_come_and_go(books: Books) -> None:
    top = await books.category()
    one = await books.category(top)
    a, b, outside = [await books.account() for _ in range(3)]
    await books.add(one, a)
    await books.pay(outside, a, 100)
    await books.pay(outside, b, 7)
    async with books.client.watch_balances(books.id, category_ids=[top.id], snapshot=True) as stream:
        await books.pay(outside, b, 1)
        paid = await books.pay(outside, a, 1)
        joined = await books.add(one, b)
        paid_both = await books.pay(a, b, 1)
        born = await books.account(categories=[one])
        left = await books.remove(one, a)
        await books.pay(outside, a, 1)
        last = await books.pay(outside, b, 1)
        snapshot, first, announced, join, both, announced_born, leave, end = await read(stream, last.position)
    assert isinstance(snapshot, lc.Snapshot)
    assert set(snapshot.accounts) == {a.id}
    assert {id_: c.balances.posted.amount for id_, c in snapshot.categories.items()} == {top.id: "100"}
    assert (first.position, subjects(first)) == (paid.position, {a.id, top.id})
    assert isinstance(announced, lc.Snapshot)
    assert {id_: each.balances.posted.amount for id_, each in announced.accounts.items()} == {b.id: "8"}
    assert announced.position == joined.position - 1
    assert (join.position, subjects(join)) == (joined.position, {top.id})
    assert (both.position, subjects(both)) == (paid_both.position, {a.id, b.id, top.id})
    assert isinstance(announced_born, lc.Snapshot)
    assert set(announced_born.accounts) == {born.id}
    assert (leave.position, subjects(leave)) == (left.position, {top.id})
    assert subjects(end) == {b.id, top.id}

    # Resumed from anywhere it is the same, for memberships are dated.
    async with books.client.watch_balances(
        books.id, category_ids=[top.id], after_position=snapshot.position, epoch=snapshot.epoch
    ) as stream:
        again = await read(stream, last.position)
    assert again == [first, announced, join, both, announced_born, leave, end]


async def test_a_category_that_joins_a_watched_one_announces_all_its_accounts(books: Books) -> None:
    top, one = await books.category(), await books.category()
    accounts = [await books.account(categories=[one]) for _ in range(3)]
    async with books.client.watch_balances(books.id, category_ids=[top.id]) as stream:
        joined = await books.add(top, one)
        paid = await books.pay(accounts[0], accounts[1], 5)
        announced, event = await read(stream, paid.position)
    assert isinstance(announced, lc.Snapshot)
    assert set(announced.accounts) == {account.id for account in accounts}
    assert announced.position == joined.position - 1
    assert subjects(event) == {accounts[0].id, accounts[1].id, top.id}


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "from the log"])
@pytest.mark.parametrize(
    "asked",
    [{"kinds": [lc.EventKind.EVENT_KIND_TRANSACTION_CREATED]}, {"transaction_metadata": {"k": "v"}}],
    ids=["kinds", "metadata"],
)
async def test_who_joins_is_announced_whatever_else_is_filtered(books: Books, asked: Any, is_live: bool) -> None:
    top = await books.category()
    a, outside = await books.account(), await books.account()
    await books.pay(outside, a, 100)
    start = (await books.client.get_ledger(books.id)).position

    async def act() -> tuple[Category, Account, lc.Transaction]:
        joined = await books.add(top, a)
        born = await books.account(categories=[top])
        await books.remove(top, a)
        await books.add(top, a)
        return joined, born, await books.pay(outside, a, 1, metadata={"k": "v"})

    if not is_live:
        joined, born, paid = await act()
    async with books.client.watch_balances(books.id, category_ids=[top.id], after_position=start, **asked) as stream:
        if is_live:
            joined, born, paid = await act()
        *announced, event = await read(stream, paid.position)
    joins = [(set(each.accounts), each.position) for each in announced if isinstance(each, lc.Snapshot)]
    assert joins == [
        ({a.id}, joined.position - 1),
        ({born.id}, born.position - 1),
        ({a.id}, paid.position - 2),
    ]
    assert len(joins) == len(announced)
    assert (event.position, subjects(event)) == (paid.position, {a.id, top.id})


async def test_what_is_not_there_cannot_be_watched(books: Books) -> None:
    category = await books.category()
    await books.client.delete_category(books.id, category)
    with pytest.raises(lc.CategoryNotFound):
        async with books.client.watch_balances(books.id, category_ids=[category.id]):
            pass
