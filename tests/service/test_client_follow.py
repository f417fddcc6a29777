"""Following balances: on the real service through a link that is cut, and what a lying server comes to."""

from __future__ import annotations

import asyncio
import random

import pytest

from ledger_client import (
    Account,
    AccountNotFound,
    FollowedBalances,
    Ledger,
    LedgerClient,
    StreamGap,
    commands,
    credit,
    debit,
)
from tests.conftest import Server
from tests.proxy import proxied
from tests.service.scripted_server import Script, changes, event, heartbeat, send, serving, snapshot_complete
from tests.service.scripted_server import snapshot_part as part


async def accounts(client: LedgerClient, ledger: Ledger, count: int) -> list[Account]:
    making = (
        client.create_account(ledger.id, f"account {n}", normal_balance="credit", currency="USD") for n in range(count)
    )
    return await asyncio.gather(*making)


async def move(client: LedgerClient, source: Account, target: Account, amount: int = 1) -> int:
    entries = [debit(source, amount), credit(target, amount)]
    return (await client.create_transaction(source.ledger_id, entries, status="posted")).position


def amount(followed: FollowedBalances, account: Account) -> str:
    return followed.balances[account.id].balances.posted.amount


async def test_what_was_written_can_be_read_once_its_position_is_reached(client: LedgerClient, ledger: Ledger) -> None:
    a, b, c = await accounts(client, ledger, 3)
    await move(client, a, b, 5)
    async with client.follow_balances(ledger.id, account_ids=[b.id, c.id], heartbeat_interval=0.1) as followed:
        assert (amount(followed, b), amount(followed, c)) == ("5", "0")
        assert a.id not in followed.balances
        balances = await followed.reached(await move(client, b, c, 2))
        assert (balances[b.id].balances.posted.amount, balances[c.id].lock_version) == ("3", 1)
        # Nothing of it concerns us, so a heartbeat says so.
        elsewhere = (await client.update_account(ledger.id, a, name="A")).position
        await followed.reached(elsewhere)
        with pytest.raises(TimeoutError):
            await followed.reached(elsewhere + 1, timeout=0.1)
    with pytest.raises(RuntimeError, match="async with"):
        _ = followed.balances


async def test_an_account_that_is_created_later_is_followed_too(client: LedgerClient, ledger: Ledger) -> None:
    async with client.follow_balances(ledger.id) as followed:
        assert dict(followed.balances) == {}
        a, b = await accounts(client, ledger, 2)
        await followed.reached(await move(client, a, b, 7))
        assert (amount(followed, a), amount(followed, b)) == ("-7", "7")


async def test_it_stays_current_while_its_connection_is_cut_again_and_again(
    client: LedgerClient, server: Server, ledger: Ledger
) -> None:
    several = await accounts(client, ledger, 5)
    async with proxied(server.address) as link, LedgerClient(link.address) as watcher:
        async with watcher.follow_balances(ledger.id, heartbeat_interval=0.1) as followed:
            last = 0
            for _ in range(8):
                writes = [
                    commands.create_transaction([debit(source, 1), credit(target, 1)], status="posted")
                    for source, target in (random.sample(several, 2) for _ in range(60))
                ]
                link.cut()
                response = await client.batch_write_transactions(ledger.id, writes)
                last = response.results[-1].transaction.position
                if random.random() < 0.5:
                    await followed.reached(last)
                assert sum(int(each.balances.posted.amount) for each in followed.balances.values()) == 0
            balances = await followed.reached(last, timeout=20)
            for account in several:
                read = await client.get_account(ledger.id, account.id)
                known = balances[account.id]
                assert (known.lock_version, known.balances) == (read.lock_version, read.balances)
        assert link.cut_count >= 8


async def test_an_unknown_account_cannot_be_followed(client: LedgerClient, ledger: Ledger) -> None:
    with pytest.raises(AccountNotFound):
        async with client.follow_balances(ledger.id, account_ids=["00000000-0000-7000-8000-000000000000"]):
            pytest.fail("entered")


async def test_after_a_gap_nothing_is_told_any_more() -> None:
    script = Script(streams=[send(part(4, a=1), snapshot_complete(4), heartbeat(5), changes(event(9, b=3)))])
    async with (
        serving(script) as address,
        LedgerClient(address) as client,
        client.follow_balances("l-1") as followed,
    ):
        with pytest.raises(StreamGap, match="account b"):
            await followed.reached(9, timeout=5)
        with pytest.raises(StreamGap):
            _ = followed.balances
