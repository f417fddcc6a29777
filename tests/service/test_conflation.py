"""Conflation: a reader that falls behind gets what it missed folded, account by account, and nothing is lost by it."""

from __future__ import annotations

import asyncio

import pytest

from ledger_client import (
    Account,
    Balances,
    BalanceStream,
    ConflatedChanges,
    Event,
    Ledger,
    LedgerClient,
    Snapshot,
    StreamGap,
    commands,
    credit,
    debit,
)
from ledger_client.v1.streams_pb2 import ConflatedChange, WatchBalancesRequest, WatchBalancesResponse
from tests.patience import PATIENCE_SECONDS
from tests.service.scripted_server import Script, changes, event, heartbeat, send, serving


async def pair(client: LedgerClient, ledger: Ledger) -> tuple[Account, Account]:
    a, b = [
        await client.create_account(ledger.id, name, normal_balance="credit", currency="USD") for name in ("a", "b")
    ]
    return a, b


async def many_transfers(client: LedgerClient, source: Account, target: Account, count: int) -> int:
    writes = [
        commands.create_transaction([debit(source, n), credit(target, n)], status="posted") for n in range(1, count + 1)
    ]
    response = await client.batch_write_transactions(source.ledger_id, writes)
    return response.results[-1].transaction.position


async def test_what_waited_is_folded_and_adds_up(client: LedgerClient, ledger: Ledger) -> None:
    a, b = await pair(client, ledger)
    async with client.watch_balances(ledger.id, snapshot=True, conflate=True) as stream:
        snapshot = await anext(stream)
        assert isinstance(snapshot, Snapshot)
        state: dict[str, tuple[int, Balances]] = {
            id_: (account.lock_version, account.balances) for id_, account in snapshot.accounts.items()
        }
        last = 0
        for _ in range(3):
            last = await many_transfers(client, a, b, 2_000)
        messages = told = 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (stream.position or 0) < last:
                message = await anext(stream)
                messages += 1
                if isinstance(message, Event):
                    told += 1
                    for change in message.changes:
                        assert state[change.account_id] == (change.lock_version - 1, change.before)
                        state[change.account_id] = (change.lock_version, change.after)
                elif isinstance(message, ConflatedChanges):
                    told += message.folded
                    assert message.folded == message.position - message.first_position + 1
                    for fold in message.changes:
                        assert state[fold.account_id] == (fold.lock_version - fold.folded, fold.before)
                        state[fold.account_id] = (fold.lock_version, fold.after)
    assert told == 6_000
    assert messages < 600
    for account in (a, b):
        read = await client.get_account(ledger.id, account.id)
        assert state[account.id] == (read.lock_version, read.balances)


async def test_a_reader_that_keeps_up_gets_event_by_event(client: LedgerClient, ledger: Ledger) -> None:
    a, b = await pair(client, ledger)
    async with client.watch_balances(ledger.id, conflate=True) as stream:
        await anext(stream)
        for _ in range(3):
            position = await many_transfers(client, a, b, 1)
            message = await anext(stream)
            assert isinstance(message, Event)
            assert message.position == position


def fold(first: int, last: int, lock_version: int, folded: int) -> WatchBalancesResponse:
    one = ConflatedChange(account_id="a", lock_version=lock_version, folded=folded)
    return WatchBalancesResponse(
        conflated=ConflatedChanges(first_position=first, position=last, folded=last - first + 1, changes=[one])
    )


async def positions(stream: BalanceStream) -> list[int]:
    """Of the messages up to position 10."""
    seen = [0]
    while seen[-1] < 10:
        seen.append((await anext(stream)).position)
    return seen[1:]


@pytest.mark.parametrize(
    ("responses", "gap"),
    [
        ([heartbeat(4), changes(event(5, a=1)), fold(6, 9, 5, 4), changes(event(10, a=6))], None),
        ([heartbeat(4), changes(event(5, a=1)), fold(6, 9, 6, 4)], "from lock_version 1 to 6"),
        ([heartbeat(4), fold(6, 9, 5, 4), changes(event(10, a=7))], "from lock_version 5 to 7"),
    ],
    ids=["nothing left out", "a change left out of a fold", "a change left out after a fold"],
)
async def test_a_fold_moves_the_lock_version_by_what_it_folds(
    responses: list[WatchBalancesResponse], gap: str | None
) -> None:
    script = Script(streams=[send(*responses)])
    async with (
        serving(script) as address,
        LedgerClient(address) as client,
        client.watch_balances("l-1", conflate=True) as stream,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        if gap is None:
            assert await positions(stream) == [4, 5, 9, 10]
        else:
            with pytest.raises(StreamGap, match=gap):
                await positions(stream)
    (request,) = script.received
    assert isinstance(request, WatchBalancesRequest)
    assert request.conflate
