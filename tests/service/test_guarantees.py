"""The guarantees of streams, while everything around them breaks, and proof that their validators would notice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from ledger_client import (
    Account,
    Balances,
    Category,
    Event,
    EventKind,
    Heartbeat,
    Ledger,
    LedgerClient,
    LedgerError,
    Snapshot,
    credit,
    debit,
    new_request_id,
)
from ledger_client.v1.streams_pb2 import AccountBalances, BalanceChange
from tests import audit
from tests.guarantees import GUARANTEES, Recording, Session, broken
from tests.ledger_ids import number_of
from tests.proxy import CommitCuts, Proxy, proxied, socket_of
from tests.service.processes import Service, started
from tests.stored_events import read_event

WRITERS = 16
SUBSCRIBERS = 10


# --- red controls: each breaks its guarantee ---


def moved(position: int, **lock_versions: int) -> Event:
    return Event(
        position=position,
        changes=[BalanceChange(account_id=id_, lock_version=version) for id_, version in lock_versions.items()],
    )


HISTORY = [moved(1, a=1, b=1), Event(position=2), moved(3, a=2, c=1), moved(4, b=2, c=2), moved(5, a=3, b=3)]


def faultless() -> Recording:
    """Of the accounts a and b, in two sessions."""
    recording = Recording(frozenset("ab"))
    passing = {event.position: event for event in recording.passing(HISTORY)}
    recording.sessions = [
        Session(0, [Heartbeat(position=0), passing[1], Heartbeat(position=2), passing[3]]),
        Session(3, [Heartbeat(position=3), passing[4], passing[5], Heartbeat(position=5)]),
    ]
    return deepcopy(recording)


def swap(recording: Recording) -> None:
    messages = recording.sessions[1].messages
    messages[1], messages[2] = messages[2], messages[1]


def repeat(recording: Recording) -> None:
    messages = recording.sessions[1].messages
    messages.insert(2, messages[1])


def lose(recording: Recording) -> None:
    del recording.sessions[1].messages[1]


def tear(recording: Recording) -> None:
    del recording.sessions[1].events[1].changes[0]


def begin_late(recording: Recording) -> None:
    recording.sessions[1].after_position = 2


def mark_early(recording: Recording) -> None:
    messages = recording.sessions[1].messages
    messages.insert(2, messages.pop())


def let_through(recording: Recording) -> None:
    recording.sessions[1].events[0].changes.add(account_id="c", lock_version=2)


CONTROLS: dict[str, Callable[[Recording], None]] = {
    "ordered": swap,
    "unique": repeat,
    "reliable": lose,
    "atomic": tear,
    "resumable": begin_late,
    "bookmarkable": mark_early,
    "filtered": let_through,
}


def of_category(event: Event, **more: Any) -> Event:
    """With what it does to `top`."""
    event.MergeFrom(Event(changes=[BalanceChange(category_id="top")], **more))
    return event


KIND = EventKind
JOINS = [
    Event(position=1, kind=KIND.EVENT_KIND_ACCOUNT_CREATED, account_id="a", parent_category_ids=["top"]),
    Event(position=2, kind=KIND.EVENT_KIND_ACCOUNT_CREATED, account_id="b"),
    of_category(moved(3, a=1, b=1)),
    Event(position=4, kind=KIND.EVENT_KIND_CATEGORY_MEMBER_ADDED, category_id="inner", member_account_id="b"),
    of_category(
        Event(position=5, kind=KIND.EVENT_KIND_CATEGORY_MEMBER_ADDED), category_id="top", member_category_id="inner"
    ),
    of_category(moved(6, a=2, b=2)),
    of_category(
        Event(position=7, kind=KIND.EVENT_KIND_CATEGORY_MEMBER_REMOVED), category_id="top", member_account_id="a"
    ),
    of_category(moved(8, a=3, b=3)),
]


def announced(position: int, **lock_versions: int) -> Snapshot:
    accounts = {
        id_: AccountBalances(account_id=id_, lock_version=n, balances=Balances()) for id_, n in lock_versions.items()
    }
    return Snapshot(position, "", accounts)


def faultless_joins() -> Recording:
    """Of a category that one account is born in and leaves, and another joins through a category."""
    recording = Recording(category_ids=frozenset(["top"]))
    passing = {event.position: event for event in recording.passing(JOINS)}
    assert [[change.account_id for change in passing[n].changes] for n in (3, 6, 8)] == [
        ["a", ""],
        ["a", "b", ""],
        ["b", ""],
    ]
    recording.sessions = [
        Session(0, [Heartbeat(position=0), announced(0, a=0), passing[3], announced(4, b=1), passing[5]]),
        Session(5, [Heartbeat(position=5), passing[6], passing[7], passing[8], Heartbeat(position=8)]),
    ]
    return deepcopy(recording)


def announce_late(recording: Recording) -> None:
    messages = recording.sessions[0].messages
    messages.append(messages.pop(-2))


def announce_twice(recording: Recording) -> None:
    messages = recording.sessions[0].messages
    messages.insert(3, messages[3])


def announce_nobody(recording: Recording) -> None:
    del recording.sessions[0].messages[3]


def announce_others(recording: Recording) -> None:
    recording.sessions[0].messages[3] = announced(4)


def announce_an_older_state(recording: Recording) -> None:
    recording.sessions[0].messages[3] = announced(4, b=0)


def announce_a_stranger(recording: Recording) -> None:
    recording.sessions[0].messages[3] = announced(4, b=1, c=0)


def keep_who_left(recording: Recording) -> None:
    recording.sessions[1].events[2].changes.add(account_id="a", lock_version=3)


JOIN_CONTROLS: list[tuple[str, Callable[[Recording], None]]] = [
    ("ordered", announce_late),
    ("unique", announce_twice),
    ("reliable", announce_nobody),
    ("atomic", announce_others),
    ("atomic", announce_an_older_state),
    ("filtered", announce_a_stranger),
    ("filtered", keep_who_left),
    *((name, control) for name, control in CONTROLS.items() if control is not let_through),
]


def test_a_faultless_recording_is_found_so() -> None:
    assert broken(faultless(), HISTORY) == {}
    assert broken(faultless_joins(), JOINS) == {}


@pytest.mark.parametrize("guarantee", [guarantee.__name__ for guarantee in GUARANTEES])
def test_each_guarantee_is_seen_to_be_broken(guarantee: str) -> None:
    recording = faultless()
    CONTROLS[guarantee](recording)
    assert guarantee in broken(recording, HISTORY)


@pytest.mark.parametrize(("guarantee", "control"), JOIN_CONTROLS)
def test_each_guarantee_of_a_category_is_seen_to_be_broken(
    guarantee: str, control: Callable[[Recording], None]
) -> None:
    recording = faultless_joins()
    control(recording)
    assert guarantee in broken(recording, JOINS)


async def test_a_reader_by_sequence_loses_events_and_order(database: str) -> None:
    """What the guarantees cost elsewhere: rows numbered by a sequence, read `WHERE id > last`, 16 writers at once."""
    pool = await asyncpg.create_pool(database, min_size=WRITERS + 1, max_size=WRITERS + 1)
    await pool.execute("CREATE TABLE naive (id bigserial PRIMARY KEY, account_id text, version bigint)")
    await pool.execute("CREATE TABLE counter (account_id text PRIMARY KEY, version bigint)")
    accounts = ("a", "b", "c", "d")
    await pool.executemany("INSERT INTO counter VALUES ($1, 0)", [(account,) for account in accounts])

    async def write() -> None:
        for _ in range(20):
            async with pool.acquire() as connection, connection.transaction():
                id_ = await connection.fetchval("SELECT nextval('naive_id_seq')")
                await asyncio.sleep(random.uniform(0, 0.01))
                statement = "UPDATE counter SET version = version + 1 WHERE account_id = $1 RETURNING version"
                account = random.choice(accounts)
                version = await connection.fetchval(statement, account)
                await connection.execute("INSERT INTO naive VALUES ($1, $2, $3)", id_, account, version)
                await asyncio.sleep(random.uniform(0, 0.01))

    async def read() -> Session:
        session, last, is_last = Session(0), 0, False
        while not is_last:
            is_last = all(writer.done() for writer in writers)
            for row in await pool.fetch("SELECT * FROM naive WHERE id > $1 ORDER BY id", last):
                session.messages.append(moved(row["id"], **{row["account_id"]: row["version"]}))
                last = row["id"]
            await asyncio.sleep(0.002)
        return session

    writers = [asyncio.create_task(write()) for _ in range(WRITERS)]
    recording = Recording(sessions=[await read()])
    rows = await pool.fetch("SELECT * FROM naive ORDER BY id")
    await pool.close()
    history = [moved(row["id"], **{row["account_id"]: row["version"]}) for row in rows]
    assert len(history) == WRITERS * 20
    assert "reliable" in broken(recording, history)
    # Also one who reads when all is over, and so loses nothing.
    assert broken(Recording(sessions=[Session(0, [*history])]), history).keys() == {"ordered"}


# --- the real thing ---


@pytest.mark.parametrize("cuts", [30, pytest.param(1_000, marks=pytest.mark.long)])
async def test_every_subscriber_gets_the_history_whatever_breaks(database: str, tmp_path: Path, cuts: int) -> None:
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(proxied(socket_of(database)))
        commits = CommitCuts(seed, every=12, hold_seconds=0.02)
        way.hook = commits.forward
        services = [
            await stack.enter_async_context(
                started(tmp_path, database_url=way.dsn(urlsplit(database).path[1:]), log_level="error")
            )
            for _ in range(2)
        ]
        one, other = [service.address for service in services]
        clients = [
            await stack.enter_async_context(LedgerClient(f"ipv4:{addresses}"))
            for addresses in (f"{one},{other}", f"{other},{one}")
        ]
        links = [await stack.enter_async_context(proxied(services[n % 2].address)) for n in range(SUBSCRIBERS)]
        ledger = await clients[0].create_ledger("books")
        accounts = [
            await clients[0].create_account(ledger.id, str(n), normal_balance="credit", currency="USD")
            for n in range(8)
        ]
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        head: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        top, inner = [
            await clients[0].create_category(ledger.id, name, normal_balance="credit", currency="USD")
            for name in ("top", "inner")
        ]
        filters = [
            Recording(),
            Recording(account_ids=frozenset(account.id for account in accounts[:2])),
            Recording(category_ids=frozenset([top.id])),
            Recording(category_ids=frozenset([top.id, inner.id]), account_ids=frozenset([accounts[0].id])),
        ]
        recordings = [deepcopy(filters[n % len(filters)]) for n in range(SUBSCRIBERS)]
        async with asyncio.timeout(60 + cuts), asyncio.TaskGroup() as group:
            for n, (link, recording) in enumerate(zip(links, recordings, strict=True)):
                group.create_task(watch(link.address, ledger, recording, head, random.Random(seed + n)))
            writing = [
                group.create_task(write(clients[n % 2], accounts, over, random.Random(seed - n)))
                for n in range(WRITERS)
            ]
            writing.append(group.create_task(regroup(clients[0], accounts, top, inner, over, random.Random(seed))))
            chance = random.Random(seed)
            await disturb(links, services, cuts, chance)
            # A slow machine takes longer to have had enough to prove something.
            while (
                len(await history_of(database, ledger)) < 12 * cuts
                or sum(len(recording.sessions) for recording in recordings) <= 2 * SUBSCRIBERS
            ):
                await asyncio.sleep(0.2)
                chance.choice(links).cut()
            over.set_result(None)
            accepted = [written for written_by_one in await asyncio.gather(*writing) for written in written_by_one]
            history = await history_of(database, ledger)
            head.set_result(history[-1].position)

    assert [event.position for event in history] == list(range(1, len(history) + 1))
    for recording in recordings:
        assert broken(recording, history) == {}
        assert recording.events == recording.passing(history)
    by_request = {event.request_id: event.position for event in history}
    assert len(by_request) == len(history), "a write had two effects"
    assert all(by_request[request_id] == position for request_id, position in accepted)
    assert await audit.findings(database) == []
    joins = sum(isinstance(message, Snapshot) for recording in recordings for message in recording.messages)
    sessions = sum(len(recording.sessions) for recording in recordings)
    print(f"{len(history)} events, {cuts} cuts, {sessions} sessions, {joins} joins told, commits cut: {commits.counts}")
    # With less than this the run would prove nothing.
    assert len(accepted) > 10 * cuts
    assert sum(link.cut_count for link in links) >= cuts
    assert sessions > 2 * SUBSCRIBERS
    assert joins
    assert all(commits.counts.values())


async def watch(
    address: str, ledger: Ledger, recording: Recording, head: asyncio.Future[int], chance: random.Random
) -> None:
    """A subscriber that leaves now and then and comes back with what it had stored, until it stands at the head."""
    position, epoch = 0, ""
    async with LedgerClient(address) as client:
        while not (head.done() and position >= head.result()):
            session = Session(position)
            recording.sessions.append(session)
            stream = client.watch_balances(
                ledger.id,
                account_ids=recording.account_ids,
                category_ids=recording.category_ids,
                after_position=position,
                epoch=epoch,
                heartbeat_interval=0.1,
            )
            async with stream:
                for _ in range(chance.randrange(10, 400)):
                    message = await anext(stream)
                    assert isinstance(message, Event | Heartbeat | Snapshot)
                    session.messages.append(message)
                    position, epoch = message.position, stream.epoch
                    if head.done() and position >= head.result():
                        break


async def write(
    client: LedgerClient, accounts: list[Account], over: asyncio.Future[None], chance: random.Random
) -> list[tuple[str, int]]:
    """A writer that repeats each write until it is accepted; returns request ids and positions."""
    accepted = []
    while not over.done():
        request_id = new_request_id()
        source, target = chance.sample(accounts, 2)
        entries = [debit(source, 1), credit(target, 1)]
        while True:
            try:
                written = await client.create_transaction(
                    source.ledger_id, entries, status="posted", request_id=request_id
                )
                break
            except LedgerError:
                await asyncio.sleep(0.05)
        accepted.append((request_id, written.position))
    return accepted


async def regroup(
    client: LedgerClient,
    accounts: list[Account],
    top: Category,
    inner: Category,
    over: asyncio.Future[None],
    chance: random.Random,
) -> list[tuple[str, int]]:
    """Puts accounts into categories and takes them out, and one category into the other; as `write`."""
    accepted, members = [], set[tuple[str, str]]()
    while not over.done():
        request_id, category = new_request_id(), chance.choice([top, inner])
        member: dict[str, Any] = {"account": chance.choice(accounts)}
        if category is top and chance.random() < 0.3:
            member = {"member_category": inner}
        edge = (category.id, next(iter(member.values())).id)
        call = client.remove_category_member if edge in members else client.add_category_member
        while True:
            try:
                written = await call(top.ledger_id, category, request_id=request_id, **member)
                break
            except LedgerError:
                await asyncio.sleep(0.05)
        members ^= {edge}
        accepted.append((request_id, written.position))
        await asyncio.sleep(chance.uniform(0, 0.05))
    return accepted


async def disturb(links: list[Proxy], services: list[Service], cuts: int, chance: random.Random) -> None:
    """Cuts links at random; half way through, the first server is killed."""
    for n in range(cuts):
        await asyncio.sleep(chance.uniform(0, 0.25 if cuts < 100 else 0.1))
        if n == cuts // 2:
            services[0].process.kill()
            for link in links:
                if link.upstream == services[0].address:
                    link.upstream = services[1].address
                    link.cut()
        chance.choice(links).cut()


async def history_of(dsn: str, ledger: Ledger) -> list[Event]:
    connection = await asyncpg.connect(dsn)
    try:
        statement = "SELECT * FROM events WHERE ledger_id = $1 ORDER BY position"
        return [read_event(row) for row in await connection.fetch(statement, number_of(ledger.id))]
    finally:
        await connection.close()
