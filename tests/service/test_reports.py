"""Reports: the trial balance is equal on both sides, and the entries behind a balance sum up to it, at any time."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from ledger_client import (
    Account,
    AccountNotFound,
    ExternalId,
    InvalidField,
    InvalidPageToken,
    LedgerClient,
    LedgerNotFound,
    LockVersionInFuture,
    PositionInFuture,
    Transaction,
    commands,
    credit,
    debit,
)
from ledger_client.inputs import BalanceWord
from ledger_client.v1.balances_pb2 import Balance
from ledger_client.v1.reports_pb2 import (
    ExplainBalanceRequest,
    ExplainedEntry,
    GetTrialBalanceResponse,
    TrialBalanceAmounts,
)
from ledger_server.domain.ids import parse_entry_id
from tests.ledger_ids import number_of

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
UNKNOWN_ID = "01234567-89ab-7def-8123-456789abcdef"


class Books(NamedTuple):
    """Random books in two currencies, with entries of all kinds, effective on different days."""

    ledger_id: str
    accounts: list[Account]
    position: int


@pytest.fixture(scope="module")
async def books(client: LedgerClient) -> Books:
    chosen = random.Random(7)
    ledger = await client.create_ledger("Reports")
    accounts = [
        await client.create_account(
            ledger.id,
            f"{currency} {n}",
            normal_balance="debit" if n % 2 else "credit",
            currency=currency,
            external_id=f"{currency}-{n}",
        )
        for currency in ("USD", "EUR")
        for n in range(4)
    ]
    pending: list[Transaction] = []
    for _ in range(150):
        one, other = chosen.sample(accounts[:4] if chosen.random() < 0.7 else accounts[4:], 2)
        entries = [debit(one, chosen.randrange(100)), credit(other, 0)]
        entries[1].amount = entries[0].amount
        effective_at = LONG_AGO + timedelta(days=chosen.randrange(30))
        match chosen.choice(["posted", "pending", "post", "update", "archive", "partial", "reverse"]):
            case "posted":
                posted = await client.create_transaction(ledger.id, entries, status="posted", effective_at=effective_at)
                if chosen.random() < 0.2:
                    await client.reverse_transaction(ledger.id, posted)
            case "update" if pending:
                await client.update_transaction(ledger.id, chosen.choice(pending), entries=entries)
            case "post" if pending:
                await client.post_transaction(ledger.id, pending.pop(0), effective_at=effective_at)
            case "archive" if pending:
                await client.archive_transaction(ledger.id, pending.pop(0))
            case "partial" if pending:
                read = await client.get_transaction(ledger.id, pending.pop(0))
                legs = [entry for entry in read.entries if int(entry.amount) > 1]
                if len(legs) == 2:
                    await client.partial_post_transaction(
                        ledger.id, read, [debit(read.entries[0].account_id, 1), credit(read.entries[1].account_id, 1)]
                    )
            case _:
                pending.append(await client.create_transaction(ledger.id, entries, effective_at=effective_at))
    return Books(ledger.id, accounts, (await client.get_ledger(ledger.id)).position)


WHEN: list[dict[str, object]] = [
    {},
    {"as_of": LONG_AGO + timedelta(days=10)},
    {
        "effective_at_lower_bound": LONG_AGO + timedelta(days=5),
        "effective_at_upper_bound": LONG_AGO + timedelta(days=20),
    },
    {"as_of_position": 60},
    {"as_of_position": 60, "as_of": LONG_AGO + timedelta(days=15)},
    {"known_at": LONG_AGO},
]
WORDS = ["now", "as of a day", "in a period", "as of a position", "of a day, as of a position", "known before all"]


def columns(amounts: TrialBalanceAmounts) -> tuple[int, int, int, int]:
    return int(amounts.debits), int(amounts.credits), int(amounts.debit_balance), int(amounts.credit_balance)


@pytest.mark.parametrize("when", WHEN, ids=WORDS)
async def test_a_trial_balance_is_equal_on_both_sides_and_the_sum_of_its_rows(
    when: dict[str, object], client: LedgerClient, books: Books
) -> None:
    report = await client.get_trial_balance(books.ledger_id, page_size=1_000, **when)  # type: ignore[arg-type]
    assert [total.currency for total in report.totals] == ["EUR", "USD"][: 2 if report.rows else 0]
    assert report.position == books.position
    for total in report.totals:
        rows = [row for row in report.rows if row.currency == total.currency]
        assert total.account_count == len(rows)
        for kind in ("posted", "pending"):
            amounts = columns(getattr(total, kind))
            assert amounts == tuple(map(sum, zip(*(columns(getattr(row, kind)) for row in rows), strict=True)))
            assert amounts[0] == amounts[1]
            assert amounts[2] == amounts[3]
    for row in report.rows:
        account = await client.get_account(books.ledger_id, row.account_id, **when)  # type: ignore[arg-type]
        assert (row.name, row.external_id, row.lock_version) == (
            account.name,
            account.external_id,
            account.lock_version,
        )
        for kind in ("posted", "pending"):
            balance: Balance = getattr(account.balances, kind)
            debits, credits = int(balance.debits), int(balance.credits)
            wanted = (debits, credits, max(debits - credits, 0), max(credits - debits, 0))
            assert columns(getattr(row, kind)) == wanted


async def test_its_pages_are_of_one_position_whatever_is_written(client: LedgerClient) -> None:
    ledger = await client.create_ledger("Paged")
    accounts = [
        await client.create_account(ledger.id, f"{n}", normal_balance="credit", currency="USD") for n in range(7)
    ]
    await client.create_transaction(ledger.id, [debit(accounts[0], 5), credit(accounts[6], 5)], status="posted")
    pages: list[GetTrialBalanceResponse] = []
    token = ""
    while token or not pages:
        pages.append(await client.get_trial_balance(ledger.id, page_size=3, page_token=token))
        token = pages[-1].next_page_token
        await client.create_transaction(ledger.id, [debit(accounts[0], 7), credit(accounts[6], 7)], status="posted")
        await client.create_account(ledger.id, "Later", normal_balance="credit", currency="USD")
    assert [len(page.rows) for page in pages] == [3, 3, 1]
    assert {page.position for page in pages} == {8}
    assert [len(page.totals) for page in pages] == [1, 0, 0]
    assert columns(pages[0].totals[0].posted) == (5, 5, 5, 5)
    assert pages[0].totals[0].account_count == 7
    assert columns(pages[2].rows[0].posted) == (0, 5, 0, 5)
    rows = [row async for row in client.trial_balance_rows(ledger.id, page_size=2, as_of_position=8)]
    assert [row.name for row in rows] == [f"{n}" for n in range(7)]


async def test_totals_of_more_accounts_than_a_part(client: LedgerClient) -> None:
    ledger = await client.create_ledger("Many")
    await client.batch_create_accounts(
        ledger.id, [commands.create_account(f"{n}", normal_balance="debit", currency="USD") for n in range(250)]
    )
    report = await client.get_trial_balance(ledger.id)
    assert (report.totals[0].account_count, len(report.rows)) == (250, 100)
    empty = await client.get_trial_balance((await client.create_ledger("None")).id)
    assert (list(empty.rows), list(empty.totals), empty.next_page_token) == ([], [], "")


async def test_accounts_that_were_not_known_yet_are_not_in_it(client: LedgerClient) -> None:
    ledger = await client.create_ledger("Young")
    early = [await client.create_account(ledger.id, n, normal_balance="credit", currency="USD") for n in "ab"]
    moved = await client.create_transaction(ledger.id, [debit(early[0], 5), credit(early[1], 5)], status="posted")
    known_at = moved.created_at.ToDatetime(UTC)
    await client.create_account(ledger.id, "later", normal_balance="credit", currency="USD")
    then = await client.get_trial_balance(ledger.id, known_at=known_at)
    assert [row.name for row in then.rows] == ["a", "b"]
    assert then.totals[0].account_count == 2
    at_position = await client.get_trial_balance(ledger.id, as_of_position=moved.position)
    assert (list(then.rows), list(then.totals)) == (list(at_position.rows), list(at_position.totals))


KINDS: list[BalanceWord] = ["posted", "pending", "available"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", WHEN, ids=WORDS)
async def test_the_entries_behind_a_balance_sum_up_to_it(
    when: dict[str, object], kind: BalanceWord, client: LedgerClient, books: Books
) -> None:
    for account in books.accounts:
        read = await client.get_account(books.ledger_id, account, **when)  # type: ignore[arg-type]
        balance: Balance = getattr(read.balances, kind)
        first = await client.explain_balance(books.ledger_id, account, kind, page_size=3, **when)  # type: ignore[arg-type]
        assert first.balance == balance
        assert first.lock_version == read.lock_version
        explained = [
            each
            async for each in client.explained_entries(
                books.ledger_id,
                account,
                kind,
                page_size=3,
                **when,  # type: ignore[arg-type]
            )
        ]
        assert sum(int(each.effect) for each in explained) == int(balance.amount)
        if explained:
            assert explained[-1].running == balance
        else:
            assert (balance.debits, balance.credits) == ("0", "0")
        number = number_of(books.ledger_id)
        written = [(each.entry.account_lock_version, parse_entry_id(number, each.entry.id) or 0) for each in explained]
        assert written == sorted(written)
        assert len(written) == len(set(written))


async def test_an_explanation_is_of_one_moment_on_all_its_pages(client: LedgerClient) -> None:
    ledger = await client.create_ledger("Explained")
    cash = await client.create_account(ledger.id, "Cash", normal_balance="debit", currency="USD", external_id="cash")
    owner = await client.create_account(ledger.id, "Owner", normal_balance="credit", currency="USD")
    held = await client.create_transaction(ledger.id, [debit(owner, 4), credit(cash, 4)])
    for n in range(1, 6):
        await client.create_transaction(ledger.id, [debit(cash, n), credit(owner, n)], status="posted")
    token = ""
    seen: list[ExplainedEntry] = []
    while token or not seen:
        page = await client.explain_balance(ledger.id, ExternalId("cash"), "available", page_size=2, page_token=token)
        assert (page.balance.amount, page.lock_version) == ("11", 6)
        seen += page.entries
        token = page.next_page_token
        await client.create_transaction(ledger.id, [debit(cash, 100), credit(owner, 100)], status="posted")
        if len(seen) == 2:
            await client.archive_transaction(ledger.id, held)
    assert [each.effect for each in seen] == ["-4", "1", "2", "3", "4", "5"]
    assert [each.running.amount for each in seen] == ["-4", "-3", "-1", "2", "6", "11"]
    assert seen[-1].running == page.balance


async def test_what_cannot_be_reported_is_refused(client: LedgerClient, books: Books) -> None:
    account = books.accounts[0]
    with pytest.raises(LedgerNotFound):
        await client.get_trial_balance(UNKNOWN_ID)
    with pytest.raises(PositionInFuture):
        await client.get_trial_balance(books.ledger_id, as_of_position=books.position + 1)
    with pytest.raises(InvalidField):
        await client.get_trial_balance(books.ledger_id, page_size=1_001)
    with pytest.raises(InvalidField):
        await client.get_trial_balance(books.ledger_id, as_of_position=1, known_at=LONG_AGO)
    with pytest.raises(AccountNotFound):
        await client.explain_balance(books.ledger_id, UNKNOWN_ID)
    with pytest.raises(LockVersionInFuture):
        await client.explain_balance(books.ledger_id, account, as_of_lock_version=10_000)
    with pytest.raises(PositionInFuture):
        await client.explain_balance(books.ledger_id, account, as_of_position=books.position + 1)
    with pytest.raises(InvalidField):
        await client.explain_balance(books.ledger_id, account, 9)  # type: ignore[arg-type]
    token = (await client.explain_balance(books.ledger_id, account, page_size=1)).next_page_token
    for wrong in (token[:-4], token + "AAAA", token.swapcase()):
        with pytest.raises(InvalidPageToken):
            await client.explain_balance(books.ledger_id, account, page_token=wrong)
    with pytest.raises(InvalidPageToken):
        await client.explain_balance(books.ledger_id, account, "pending", page_token=token)
    assert await asyncio.wait_for(
        client.stub.ExplainBalance(ExplainBalanceRequest(ledger_id=books.ledger_id, account_id=account.id)), 5
    ) == await client.explain_balance(books.ledger_id, account, "posted")
