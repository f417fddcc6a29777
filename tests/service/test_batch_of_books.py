"""What calls do to accounts, categories, nestings and monitors in one batch, they do one by one as well.

Random calls that come at the same time share a batch, and are decided on what was loaded for all of them before, and on
what the lane remembers. In the order in which the lane took them they are called again in another ledger, by themselves
and on two servers in turn, so that each has forgotten what the other changed. All must answer the same, refusals word
by word, and leave the same objects and the same log. Accounts and categories are named by the few external ids that
the calls also give, take and free, so that in a batch a name means now this one, now that.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from ledger_client import (
    Event,
    ExternalId,
    LedgerClient,
    LedgerError,
    MonitorCondition,
    category_condition,
    commands,
    condition,
    credit,
    debit,
    limits,
    monitor_condition,
)
from ledger_server.domain.commands import Command
from ledger_server.posting import clock, lanes
from ledger_server.posting.lane import Lane
from ledger_server.posting.lanes import Lanes
from tests import audit
from tests.conftest import Server, new_server
from tests.ledger_ids import number_of

BATCHES, CALLS = 10, 10
ACCOUNTS, CATEGORIES = ("cash", "debt", "fees", "bank"), ("all", "some", "few", "one")
UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)")
KINDS = (
    *("create_account", "update_account", "update_account", "delete_account"),
    *("create_category", "update_category", "delete_category"),
    *("join", "join", "leave", "nest", "nest", "unnest"),
    *("create_monitor", "create_monitor", "update_monitor", "delete_monitor"),
    *("create_transaction",) * 6,
    *("post", "archive", "create_accounts", "create_transactions"),
)
# Those that a batch may consist of that is decided without the ledger's lock.
DRAFTED_KINDS = ("create_account", "create_accounts", *("create_transaction",) * 5, "create_transactions", "archive")
# What must have been created before it can be named.
NEEDED = {"update_monitor": "monitor", "delete_monitor": "monitor", "post": "transaction", "archive": "transaction"}
SIDES, AMOUNTS = ("debit", "credit"), (0, 1, 1, 2, 5)
METHODS = {
    "create_account": "CreateAccount",
    "update_account": "UpdateAccount",
    "delete_account": "DeleteAccount",
    "create_category": "CreateCategory",
    "update_category": "UpdateCategory",
    "delete_category": "DeleteCategory",
    "join": "AddCategoryMember",
    "leave": "RemoveCategoryMember",
    "nest": "AddCategoryMember",
    "unnest": "RemoveCategoryMember",
    "create_monitor": "CreateBalanceMonitor",
    "update_monitor": "UpdateBalanceMonitor",
    "delete_monitor": "DeleteBalanceMonitor",
    "create_transaction": "CreateTransaction",
    "post": "PostTransaction",
    "archive": "ArchiveTransaction",
    "create_accounts": "BatchCreateAccounts",
    "create_transactions": "BatchWriteTransactions",
}
NESTING = ("nest", "unnest", "delete_category")
# The kind of a call and what it asks for; the request_id says whether it repeats one.
Draw = tuple[str, str, dict[str, Any]]
# An external id, or the number of what was created so many before it.
Whom = str | int


class Books:
    """One ledger; all ids in it are told by the order in which they were first seen."""

    def __init__(self, ledger_id: str) -> None:
        self.ledger_id = ledger_id
        self.seen_ids: list[str] = [ledger_id]
        self.created: dict[str, list[str]] = {"account": [], "category": [], "monitor": [], "transaction": []}

    async def call(self, client: LedgerClient, draw: Draw) -> Message | LedgerError:
        try:
            return await self._call(client, draw)
        except LedgerError as error:
            return error

    def _call(self, client: LedgerClient, draw: Draw) -> Awaitable[Message]:
        kind, request_id, fields = draw
        fields = self.named(fields) | {"request_id": request_id}
        here = self.ledger_id
        match kind:
            case "create_account" | "create_category":
                return getattr(client, kind)(here, kind, **fields)  # type: ignore[no-any-return]
            case "update_account" | "delete_account":
                return getattr(client, kind)(here, fields.pop("account"), **fields)  # type: ignore[no-any-return]
            case "update_category" | "delete_category":
                return getattr(client, kind)(here, fields.pop("category"), **fields)  # type: ignore[no-any-return]
            case "join" | "nest":
                return client.add_category_member(here, fields.pop("category"), **fields)
            case "leave" | "unnest":
                return client.remove_category_member(here, fields.pop("category"), **fields)
            case "create_monitor":
                return client.create_balance_monitor(here, fields.pop("condition"), **fields)
            case "update_monitor" | "delete_monitor":
                call = getattr(client, kind.replace("_", "_balance_"))
                return call(here, fields.pop("monitor"), **fields)  # type: ignore[no-any-return]
            case "post":
                return client.post_transaction(here, fields.pop("transaction"), **fields)
            case "archive":
                return client.archive_transaction(here, fields.pop("transaction"), **fields)
            case "create_accounts":
                accounts = [commands.create_account(kind, **self.named(each)) for each in fields["all"]]
                return client.batch_create_accounts(here, accounts, request_id=request_id)
            case "create_transactions":
                writes = [self.transaction(each) for each in fields["all"]]
                return client.batch_write_transactions(here, writes, atomic=True, request_id=request_id)
        return client._write(client.stub.CreateTransaction, here, self.transaction(fields), None, None)

    def named(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The same, with the things that are named by a number named by their ids."""
        fields = dict(fields)
        for noun in ("account", "category", "member_category", "monitor", "transaction"):
            if noun in fields:
                fields[noun] = self.ref(noun.removeprefix("member_"), fields[noun])
        for noun in ("categories", "parents"):
            if noun in fields:
                fields[noun] = [self.created["category"][n] for n in fields[noun]]
        return fields

    def transaction(self, fields: dict[str, Any]) -> Any:
        fields = dict(fields)
        one, other, amount, demands = fields.pop("lines")
        entries = [
            debit(self.ref("account", one), amount, conditions=demands),
            credit(self.ref("account", other), amount),
        ]
        if "demand" in fields:
            category, demand = fields.pop("demand")
            fields["category_conditions"] = [category_condition(self.ref("category", category), demand)]
        return commands.create_transaction(entries, **fields)

    def ref(self, noun: str, whom: Whom) -> Any:
        return ExternalId(whom) if isinstance(whom, str) else self.created[noun][whom]

    def told(self, answer: Message | LedgerError) -> object:
        """An answer without what differs from ledger to ledger."""
        if isinstance(answer, LedgerError):
            return self.plain(repr((answer.reason, str(answer), sorted(answer.metadata.items()), answer.violations)))
        return self.plain(json.dumps(MessageToDict(answer), sort_keys=True))

    def plain(self, text: str) -> str:
        return TIME.sub("<time>", UUID.sub(self._number, text))

    def _number(self, match: re.Match[str]) -> str:
        if match[0] not in self.seen_ids:
            self.seen_ids.append(match[0])
        return f"<{self.seen_ids.index(match[0])}>"

    def note(self, draw: Draw, answer: Any) -> None:
        """What an accepted call created."""
        if isinstance(answer, LedgerError):
            return
        kind = draw[0]
        noun = kind.removeprefix("create_").removesuffix("s")
        if noun not in self.created or noun == kind:
            return
        match kind:
            case "create_accounts":
                ids = [account.id for account in answer.accounts]
            case "create_transactions":
                ids = [result.transaction.id for result in answer.results]
            case _:
                ids = [answer.id]
        self.created[noun] += [id_ for id_ in ids if id_ not in self.created[noun]]


@contextmanager
def together(ledger_id: int, count: int) -> Iterator[list[Command]]:
    """So many calls of the ledger wait for each other; tells in which order they are taken."""
    taken: list[Command] = []
    are_here = False
    gathered, queue = lanes._gathered, Lanes._queue

    async def wait(lane: Lane) -> None:
        while lane.ledger_id == ledger_id and not are_here:
            await asyncio.sleep(0)
        await gathered(lane)

    def note(self: Lanes, taking: Sequence[Command]) -> Any:
        nonlocal are_here
        (command,) = taking
        if command.ledger_id == ledger_id:
            # One that nests categories may come again, once what they have in common is summed.
            taken[:] = [each for each in taken if each is not command] + [command]
            are_here = are_here or len(taken) >= count
        return queue(self, taking)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_gathered", wait)
        patch.setattr(Lanes, "_queue", note)
        yield taken


class Draws:
    """Calls as they are drawn, about what there is in a ledger."""

    def __init__(self, dice: random.Random, books: Books) -> None:
        self.dice = dice
        self.books = books

    def fields(self, kind: str) -> dict[str, Any]:
        match kind:
            case "create_accounts" | "create_transactions":
                return {"all": [self.fields(kind.removesuffix("s")) for _ in range(self.dice.randrange(1, 4))]}
            case "create_account":
                return self._new_account()
            case "update_account":
                return {"account": self._whom("account")} | self._change_of_account()
            case "create_category":
                side, name = self.dice.choice(SIDES), self.dice.choice((*CATEGORIES, ""))
                parents = self._some_categories()
                return {"normal_balance": side, "currency": "USD", "external_id": name, "parents": parents}
            case "update_category":
                return {"category": self._whom("category"), "external_id": self.dice.choice((*CATEGORIES, ""))}
            case "join" | "leave":
                return {"category": self._whom("category"), "account": self._whom("account")}
            case "nest" | "unnest":
                return {"category": self._whom("category"), "member_category": self._whom("category")}
            case "create_monitor":
                noun = self.dice.choice(("account", "category"))
                return {"condition": self._condition(), noun: self._whom(noun)}
            case "update_monitor":
                return {"monitor": self._whom("monitor")} | self._change_of_monitor()
            case "create_transaction":
                return self._new_transaction()
            case "post" | "archive":
                return {"transaction": self._whom("transaction")}
        noun = kind.removeprefix("delete_")
        return {noun: self._whom(noun)}

    def _whom(self, noun: str) -> Whom:
        """By an external id, or by its own: one of those created last."""
        created = len(self.books.created[noun])
        names = {"account": ACCOUNTS, "category": CATEGORIES}.get(noun)
        if names is not None and (not created or self.dice.random() < 0.7):
            return self.dice.choice(names)
        return self.dice.randrange(max(created - 6, 0), created)

    def _some_categories(self) -> list[int]:
        created = len(self.books.created["category"])
        return [self.dice.randrange(max(created - 6, 0), created) for _ in range(self.dice.randrange(3))]

    def _new_account(self) -> dict[str, Any]:
        currency = self.dice.choice(("USD", "USD", "USD", "USD", "GOLD"))
        fields: dict[str, Any] = {"normal_balance": self.dice.choice(SIDES), "currency": currency}
        fields["external_id"] = self.dice.choice((*ACCOUNTS, ""))
        if currency == "GOLD":
            fields["currency_exponent"] = self.dice.choice((1, 1, 1, 2))
        if self.dice.random() < 0.5:
            fields["categories"] = self._some_categories()
        if self.dice.random() < 0.2:
            fields["limits"] = limits(posted_max=self.dice.choice(AMOUNTS))
        return fields

    def _change_of_account(self) -> dict[str, Any]:
        amount = self.dice.choice(AMOUNTS)
        changes: list[dict[str, Any]] = [
            {"external_id": self.dice.choice((*ACCOUNTS, ""))},
            {"external_id": self.dice.choice((*ACCOUNTS, ""))},
            {"status": self.dice.choice(("open", "open", "closed", "closed", "frozen", "debits_frozen"))},
            {"status": "open", "limits": limits()},
            {"limits": limits(available_min=-amount, pending_max=amount)},
            {"name": self.dice.choice(("red", "blue")), "metadata": {"key": str(amount)}},
        ]
        return self.dice.choice(changes)

    def _condition(self) -> MonitorCondition:
        field = self.dice.choice(("posted", "pending", "available", "lock_version"))
        operator = self.dice.choice(("<", "<=", "==", ">=", ">"))
        value = self.dice.choice((-2, -1, 0, 0, 1, 2, 4))
        resolve_value = {"<": value + 1, ">": value - 2}.get(operator) if self.dice.random() < 0.5 else None
        return monitor_condition(field, operator, value, resolve_value=resolve_value)  # type: ignore[arg-type]

    def _change_of_monitor(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"condition": self._condition()}
        if self.dice.random() < 0.3:
            fields = {"description": self.dice.choice(("red", "blue"))}
        if self.dice.random() < 0.3:
            fields["version"] = self.dice.randrange(2)
        return fields

    def _new_transaction(self) -> dict[str, Any]:
        amount = self.dice.choice(AMOUNTS)
        demands = [condition("posted", "<=", 4)] if self.dice.random() < 0.2 else []
        fields: dict[str, Any] = {"lines": (self._whom("account"), self._whom("account"), amount, demands)}
        fields["status"] = self.dice.choice(("posted", "posted", "pending"))
        if self.dice.random() < 0.3:
            fields["demand"] = (self._whom("category"), condition("pending", self.dice.choice(("<=", ">=")), amount))
        if self.dice.random() < 0.3:
            fields["archive_on_condition_failure"] = True
        return fields


def draw_calls(dice: random.Random, first: int, books: Books) -> list[Draw]:
    """A call is sometimes repeated, or its request_id used for another."""
    kinds = dice.choice((KINDS, KINDS, DRAFTED_KINDS))
    draws: list[Draw] = []
    for n in range(first, first + CALLS):
        kind = dice.choice(kinds)
        if (noun := NEEDED.get(kind)) is not None and not books.created[noun]:
            kind = "create_transaction"
        draw = (kind, str(n), Draws(dice, books).fields(kind))
        if draws and dice.random() < 0.1:
            earlier = dice.choice(draws)
            is_new = dice.random() < 0.3 and draw[0] not in NESTING and earlier[0] not in NESTING
            draw = (draw[0], earlier[1], draw[2]) if is_new else earlier
        draws.append(draw)
    return draws


async def play(server: Server, seed: int) -> None:
    dice = random.Random(seed)
    async with (
        new_server(server.dsn) as first,
        new_server(server.dsn) as second,
        new_server(server.dsn) as third,
        LedgerClient(first.address, auto_batch=False) as client,
        LedgerClient(second.address, auto_batch=False) as one,
        LedgerClient(third.address, auto_batch=False) as other,
    ):
        batched, single = [Books((await client.create_ledger("Books")).id) for _ in range(2)]
        for name in ACCOUNTS:
            side = dice.choice(SIDES)
            draw = ("create_account", name, {"normal_balance": side, "currency": "USD", "external_id": name})
            for books in (batched, single):
                books.note(draw, await books.call(client, draw))
        for name in CATEGORIES:
            draw = ("create_category", name, {"normal_balance": "debit", "currency": "USD", "external_id": name})
            for books in (batched, single):
                books.note(draw, await books.call(client, draw))
        for batch in range(BATCHES):
            draws = draw_calls(dice, batch * CALLS, batched)
            with together(number_of(batched.ledger_id), CALLS) as taken:
                answers = await asyncio.gather(*(batched.call(client, draw) for draw in draws))
            # Those of one method stay in order, but some take longer on their way than others of the same request_id.
            left = [((draw[1], METHODS[draw[0]]), draw, answer) for draw, answer in zip(draws, answers, strict=True)]
            for n, command in enumerate(taken):
                key = (command.request_id, command.method)
                _, draw, answer = left.pop([each for each, _, _ in left].index(key))
                again = await single.call((one, other)[n % 2], draw)
                told, retold = batched.told(answer), single.told(again)
                batched.note(draw, answer)
                single.note(draw, again)
                order = [command.request_id for command in taken]
                assert told == retold, f"seed {seed}, batch {batch}, call {n}: {draw} of {draws} in the order {order}"
        for books in (batched, single):
            assert await audit.findings(server.dsn, books.ledger_id) == [], f"seed {seed}"
            await check_positions(server, client, books)
        assert await left_by(client, batched) == await left_by(client, single), f"seed {seed}"


async def left_by(client: LedgerClient, books: Books) -> list[object]:
    """All that is there, and the log."""
    here = books.ledger_id
    nouns: list[object] = []
    for noun, ids in books.created.items():
        get = getattr(client, "get_balance_monitor" if noun == "monitor" else f"get_{noun}")
        for id_ in ids:
            try:
                nouns.append(books.told(await get(here, id_)))
            except LedgerError as error:
                nouns.append(books.told(error))
    position = (await client.get_ledger(here)).position
    async with client.watch_events(here, after_position=0) as stream:
        async for message in stream:
            if isinstance(message, Event):
                nouns.append(books.told(message))
                if message.position >= position:
                    break
    return nouns


async def check_positions(server: Server, client: LedgerClient, books: Books) -> None:
    """At each position each category is the sum of the accounts that were under it, as far as it was there."""
    ledger_id = number_of(books.ledger_id)
    connection = await asyncpg.connect(server.dsn)
    try:
        tables = {
            table: await connection.fetch(f"SELECT * FROM {table} WHERE ledger_id = $1", ledger_id)
            for table in ("categories", "category_accounts", "category_nestings", "account_versions")
        }
    finally:
        await connection.close()
    last = (await client.get_ledger(books.ledger_id)).position
    for row in tables["categories"]:
        start, end = row["created_position"], row["deleted_position"]
        if end is not None:
            continue
        for position in range(start, last + 1):
            category = await client.get_category(books.ledger_id, str(row["category_id"]), as_of_position=position)
            told = category.balances.pending
            under = _under(tables, row["category_id"], position)
            debits = credits = 0
            for account_id in under:
                known = [
                    v for v in tables["account_versions"] if v["account_id"] == account_id and v["position"] <= position
                ]
                version = max(known, key=lambda v: v["lock_version"])
                debits += version["posted_debits"] + version["pending_debits"]
                credits += version["posted_credits"] + version["pending_credits"]
            assert (int(told.debits), int(told.credits)) == (debits, credits), f"{row['category_id']} at {position}"


def _under(tables: dict[str, Any], category_id: Any, position: int) -> set[Any]:
    gone = {row["category_id"]: row["deleted_position"] for row in tables["categories"]}

    def is_in(row: Any) -> bool:
        return row["from_position"] <= position and (row["until_position"] is None or row["until_position"] > position)

    reached, ahead = set(), [category_id]
    while ahead:
        each = ahead.pop()
        if each in reached or (gone[each] is not None and gone[each] <= position):
            continue
        reached.add(each)
        ahead += [r["member_category_id"] for r in tables["category_nestings"] if r["category_id"] == each and is_in(r)]
    return {r["account_id"] for r in tables["category_accounts"] if r["category_id"] in reached and is_in(r)}


@pytest.mark.parametrize("seed", range(4))
async def test_calls_in_one_batch_are_the_calls_one_by_one(
    server: Server, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "SEEN_SECONDS", 3_600.0)
    await play(server, seed)


@pytest.mark.long
async def test_calls_in_one_batch_are_the_calls_one_by_one_for_long(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "SEEN_SECONDS", 3_600.0)
    for seed in range(100, 200):
        await play(server, seed)
