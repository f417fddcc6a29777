"""Filters against a model: random books, and streams with any filters get what a few plain lines say is due to them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from ledger_client import (
    Account,
    Category,
    Event,
    EventKind,
    FailedPrecondition,
    Heartbeat,
    InvalidArgument,
    Ledger,
    LedgerClient,
    NotFound,
    Snapshot,
    Transaction,
    credit,
    debit,
    monitor_condition,
    part_of,
)
from tests.conftest import new_server
from tests.guarantees import above, memberships, nestings
from tests.patience import PATIENCE_SECONDS

METADATA = [{"shop": "1"}, {"shop": "2"}, {"shop": "1", "till": "x"}, {}]
JOINING = {EventKind.EVENT_KIND_ACCOUNT_CREATED, EventKind.EVENT_KIND_CATEGORY_MEMBER_ADDED}
STREAMS = 24

# Of a message: what it is, its position, and how many changes it has, or accounts.
Told = tuple[str, int, int]


@dataclass
class Books:
    """What there is to act upon, and the metadata of transactions as each position left it."""

    client: LedgerClient
    ledger: Ledger
    chance: random.Random
    accounts: list[Account] = field(default_factory=list)
    categories: list[Category] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    metadata: dict[str, list[tuple[int, Mapping[str, str]]]] = field(default_factory=dict)
    # Of a transaction that posted a part of a pending one: that one.
    pending: dict[str, str] = field(default_factory=dict)

    async def act(self) -> None:
        """Something; what is refused has no event."""
        acts: Sequence[tuple[int, Callable[[], Awaitable[Any]]]] = [
            (12, self._pay),
            (2, lambda: self._write(self.client.update_transaction, metadata=self.chance.choice(METADATA))),
            (2, lambda: self._write(self.client.post_transaction)),
            (1, lambda: self._write(self.client.archive_transaction)),
            (4, self._post_a_part),
            (1, self._edit_entry),
            (2, lambda: self._name(self.client.update_account, self.accounts)),
            (1, lambda: self._name(self.client.update_category, self.categories)),
            (2, self._open),
            (1, self._open_category),
            (3, lambda: self._regroup(self.client.add_category_member)),
            (3, lambda: self._regroup(self.client.remove_category_member)),
            (2, self._monitor),
            (1, self._delete_category),
            (1, lambda: self.client.delete_account(self.ledger.id, self.chance.choice(self.accounts))),
        ]
        with contextlib.suppress(FailedPrecondition, NotFound, InvalidArgument):
            await self.chance.choices([act for _, act in acts], [weight for weight, _ in acts])[0]()

    async def _pay(self) -> None:
        source, target = self.chance.sample(self.accounts, 2)
        status: Any = self.chance.choice(["posted", "pending"])
        self._wrote(
            await self.client.create_transaction(
                self.ledger.id,
                [debit(source, 3), credit(target, 3)],
                status=status,
                metadata=self.chance.choice(METADATA),
            )
        )

    async def _write(self, call: Callable[..., Awaitable[Transaction]], **fields: Any) -> None:
        if self.transactions:
            self._wrote(await call(self.ledger.id, self.chance.choice(self.transactions), **fields))

    async def _post_a_part(self) -> None:
        if self.transactions:
            held = self.chance.choice(self.transactions)
            amount = self.chance.choice([1, 3])
            parts = [part_of(entry, amount) for entry in held.entries]
            metadata = self.chance.choice(METADATA)
            part = await self.client.partial_post_transaction(self.ledger.id, held, parts, metadata=metadata)
            self.pending[part.id] = held.id
            self._wrote(part)

    def _wrote(self, transaction: Transaction) -> None:
        self.transactions.append(transaction)
        written = self.metadata.setdefault(transaction.id, [])
        written.append((transaction.position, dict(transaction.metadata)))

    async def _edit_entry(self) -> None:
        if self.transactions:
            entry = self.chance.choice(self.transactions).entries[0]
            await self.client.update_entry(self.ledger.id, entry.id, metadata={"note": str(self.chance.random())})

    async def _name(self, call: Callable[..., Awaitable[Any]], things: Sequence[Any]) -> None:
        await call(self.ledger.id, self.chance.choice(things), name=str(self.chance.random()))

    async def _open(self) -> None:
        self.accounts.append(await new_account(self.client, self.ledger, self.chance.sample(self.categories, 1)))

    async def _open_category(self) -> None:
        parents = self.chance.sample(self.categories, self.chance.randrange(3))
        self.categories.append(await new_category(self.client, self.ledger, parents))

    async def _regroup(self, call: Callable[..., Awaitable[Any]]) -> None:
        category, other = self.chance.sample(self.categories, 2)
        is_nesting = self.chance.random() < 0.4
        member: Any = {"member_category": other} if is_nesting else {"account": self.chance.choice(self.accounts)}
        await call(self.ledger.id, category, **member)

    async def _delete_category(self) -> None:
        if len(self.categories) > 3 and self.chance.random() < 0.3:
            gone = self.categories.pop(self.chance.randrange(len(self.categories)))
            await self.client.delete_category(self.ledger.id, gone)

    async def _monitor(self) -> None:
        subject: Any = {"account": self.chance.choice(self.accounts)}
        if self.chance.random() < 0.3:
            subject = {"category": self.chance.choice(self.categories)}
        condition = monitor_condition("posted", ">", self.chance.randrange(-9, 9))
        await self.client.create_balance_monitor(self.ledger.id, condition, **subject)

    def filters(self) -> dict[str, Any]:
        """Some, of which each may be absent."""
        chosen: dict[str, Any] = {}
        if self.chance.random() < 0.6:
            chosen["category_ids"] = [each.id for each in self.chance.sample(self.categories, 2)]
        if self.chance.random() < 0.3:
            chosen["account_ids"] = [each.id for each in self.chance.sample(self.accounts, 2)]
        if self.chance.random() < 0.3:
            chosen["transaction_metadata"] = self.chance.choice(METADATA[:3])
        if self.chance.random() < 0.4:
            chosen["kinds"] = self.chance.sample([kind for kind in EventKind.values() if kind], 10)
        return chosen

    def due(self, history: Sequence[Event], filters: Mapping[str, Any], *, is_whole: bool) -> list[Told]:
        """What a stream with these filters must tell of the history, whole events or changes of balances."""
        category_ids = frozenset(filters.get("category_ids", ()))
        subject_ids = category_ids | set(filters.get("account_ids", ()))
        told: list[Told] = []
        walk = zip(history, memberships(history, category_ids), nestings(history), strict=True)
        for event, members, (before, after) in walk:
            watched = subject_ids | members.under
            about = named(event)
            if not is_whole and event.kind in JOINING and category_ids & (above(about, after) - above(about, before)):
                told.append(("joins", event.position - 1, 0))
            if event.kind not in (filters.get("kinds") or [event.kind]):
                continue
            pairs = filters.get("transaction_metadata", {})
            if pairs and not any(pairs.items() <= metadata.items() for metadata in self._metadata_at(event)):
                continue
            changed = [change.account_id or change.category_id for change in event.changes]
            passing = [id_ for id_ in changed if not subject_ids or id_ in watched]
            is_about = not subject_ids or bool({about, event.category_id} & (subject_ids | members.concerned))
            if is_whole and (is_about or passing):
                told.append(("event", event.position, len(changed)))
            elif not is_whole and (passing or (is_about and filters.get("kinds"))):
                told.append(("event", event.position, len(passing)))
        return told

    def _metadata_at(self, event: Event) -> Iterator[Mapping[str, str]]:
        """Of the event's transaction, and of the one that it posted a part of."""
        ids = [event.transaction_id]
        if event.kind == EventKind.EVENT_KIND_TRANSACTION_PARTIALLY_POSTED:
            ids.append(self.pending[event.transaction_id])
        for id_ in ids:
            written = [m for position, m in self.metadata.get(id_, []) if position <= event.position]
            yield written[-1] if written else {}


def named(event: Event) -> str:
    """What an event is about that is not about a transaction or an entry."""
    return event.member_account_id or event.member_category_id or event.account_id or event.category_id


async def new_account(client: LedgerClient, ledger: Ledger, categories: Sequence[Category] = ()) -> Account:
    return await client.create_account(ledger.id, "a", normal_balance="credit", currency="USD", categories=categories)


async def check_nesting(client: LedgerClient, ledger: Ledger, history: Sequence[Event]) -> None:
    """What is in which category can be made of the history alone, and its events say what it makes of them."""
    parents: Mapping[str, frozenset[str]] = {}
    for event, (before, parents) in zip(history, nestings(history), strict=True):
        was_under, is_under = above(named(event), before), above(named(event), parents)
        assert {*event.joined_or_left_category_ids} == was_under ^ is_under, event
        # A monitor that ended with its category is told of behind the deletion.
        if named(event) in parents or not event.HasField("monitor"):
            assert {*event.under_category_ids} == was_under & is_under, event
    async for each in client.categories(ledger.id):
        listed = {parent.id async for parent in client.categories(ledger.id, member_category_id=each.id)}
        assert listed == parents[each.id]
    async for account in client.accounts(ledger.id):
        listed = {over.id async for over in client.categories(ledger.id, account_id=account.id)}
        assert listed == above(account.id, parents)


async def read(
    clients: Sequence[LedgerClient],
    ledger: Ledger,
    chance: random.Random,
    head: asyncio.Future[int],
    *,
    is_whole: bool,
    is_live: bool,
    **filters: Any,
) -> list[Told]:
    """What a reader is told, who leaves now and then and goes on at one server or the other."""
    told: list[Told] = []
    position = 0
    if not is_live:
        await head
    while not (head.done() and position >= head.result()):
        client = chance.choice(clients)
        watch: Any = client.watch_events if is_whole else client.watch_balances
        async with watch(ledger.id, after_position=position, heartbeat_interval=0.1, **filters) as stream:
            for _ in range(chance.randrange(5, 60)):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    message = await anext(stream)
                position = message.position
                if isinstance(message, Event):
                    told.append(("event", position, len(message.changes)))
                elif isinstance(message, Snapshot) and ("joins", position, 0) not in told[-2:]:
                    told.append(("joins", position, 0))
                assert isinstance(message, Event | Snapshot | Heartbeat)
                if head.done() and position >= head.result():
                    break
    return told


async def new_category(client: LedgerClient, ledger: Ledger, parents: Sequence[Category] = ()) -> Category:
    return await client.create_category(ledger.id, "c", normal_balance="credit", currency="USD", parents=parents)


@pytest.mark.parametrize("acts", [200, pytest.param(2_000, marks=pytest.mark.long)])
async def test_streams_with_any_filters_tell_what_is_due(database: str, acts: int) -> None:
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with (
        new_server(database) as one,
        new_server(database) as other,
        LedgerClient(one.address) as client,
        LedgerClient(other.address) as other_client,
    ):
        ledger = await client.create_ledger("books")
        books = Books(client, ledger, chance)
        books.categories = [await new_category(client, ledger) for _ in range(5)]
        books.accounts = [await new_account(client, ledger) for _ in range(8)]
        asked = [(books.filters(), n % 2 == 0, n % 3 > 0) for n in range(STREAMS)]
        head: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        reading = [
            asyncio.create_task(
                read(
                    [client, other_client],
                    ledger,
                    random.Random(seed + n),
                    head,
                    is_whole=is_whole,
                    is_live=is_live,
                    **filters,
                )
            )
            for n, (filters, is_whole, is_live) in enumerate(asked)
        ]
        for _ in range(acts):
            await books.act()
        last = (await client.get_ledger(ledger.id)).position
        history: list[Event] = []
        async with client.watch_events(ledger.id, after_position=0) as stream:
            while len(history) < last:
                if isinstance(message := await anext(stream), Event):
                    history.append(message)
        head.set_result(last)
        read_by_all = await asyncio.gather(*reading)
        await check_nesting(client, ledger, history)
    for (filters, is_whole, is_live), told in zip(asked, read_by_all, strict=True):
        due = books.due(history, filters, is_whole=is_whole)
        assert told == due, (
            f"{'live' if is_live else 'from the log'}, {'events' if is_whole else 'balances'}: {filters}"
        )
    print(f"{last} events, {sum(map(len, read_by_all))} told")
