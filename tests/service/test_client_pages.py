"""Walking through lists page after page, with the real client on the real service."""

import pytest

from ledger_client import Account, Ledger, LedgerClient, credit, debit, monitor_condition


async def account(client: LedgerClient, ledger: Ledger, name: str) -> Account:
    return await client.create_account(ledger.id, name, normal_balance="debit", currency="USD")


async def test_all_pages_are_walked(client: LedgerClient, ledger: Ledger) -> None:
    made = [await account(client, ledger, f"account {n}") for n in range(7)]
    lines = [debit(made[0], 1), credit(made[1], 1)]
    moved = [await client.create_transaction(ledger.id, lines, status="posted") for _ in range(7)]
    assert [a.id async for a in client.accounts(ledger.id, page_size=3)] == [a.id for a in made]
    assert [t.id async for t in client.transactions(ledger.id, page_size=3)] == [t.id for t in reversed(moved)]
    entries = [e async for e in client.entries(ledger.id, account=made[0], page_size=3)]
    assert [e.account_lock_version for e in entries] == [7, 6, 5, 4, 3, 2, 1]
    assert len({e.id for e in entries}) == 7
    versions = [v async for v in client.account_versions(ledger.id, made[0], newest_first=True, page_size=3)]
    assert [v.lock_version for v in versions] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert ledger.id in [found.id async for found in client.ledgers(page_size=3)]


@pytest.mark.parametrize("noun", ["ledgers", "accounts", "transactions", "entries", "categories", "monitors"])
async def test_filters_that_can_be_iterated_once_hold_on_every_page(
    client: LedgerClient, ledger: Ledger, noun: str
) -> None:
    accounts = [await account(client, ledger, name) for name in ("Cash", "Income")]
    lines = [debit(accounts[0], 5), credit(accounts[1], 5)]
    match noun:
        case "ledgers":
            ids = [ledger.id, (await client.create_ledger("Another")).id]
            found = [each.id async for each in client.ledgers(ids=iter(ids), page_size=1)]
        case "accounts":
            ids = [each.id for each in accounts]
            found = [each.id async for each in client.accounts(ledger.id, ids=iter(ids), page_size=1)]
        case "transactions":
            ids = [(await client.create_transaction(ledger.id, lines)).id for _ in range(2)]
            found = [each.id async for each in client.transactions(ledger.id, ids=iter(ids), page_size=1)]
        case "entries":
            ids = [each.id for each in (await client.create_transaction(ledger.id, lines)).entries]
            found = [each.id async for each in client.entries(ledger.id, ids=iter(ids), page_size=1)]
        case "categories":
            create = client.create_category
            ids = [(await create(ledger.id, n, normal_balance="debit", currency="USD")).id for n in ("Top", "Other")]
            found = [each.id async for each in client.categories(ledger.id, ids=iter(ids), page_size=1)]
        case _:
            low = monitor_condition("posted", "<", 0)
            ids = [(await client.create_balance_monitor(ledger.id, low, account=each)).id for each in accounts]
            found = [each.id async for each in client.balance_monitors(ledger.id, ids=iter(ids), page_size=1)]
    assert sorted(found) == sorted(ids)
