"""What refusals say besides their reason: each rule or field that is wrong, as the client's exceptions show it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from ledger_client import (
    AccountDeleted,
    AccountNotEmpty,
    AccountNotFound,
    CategoryCurrencyMismatch,
    EntryNotFound,
    InvalidField,
    InvalidPageToken,
    Ledger,
    LedgerClient,
    LedgerError,
    PeriodClosed,
    ReversalEntriesFixed,
    Transaction,
    TransactionExpired,
    TransactionNotPending,
    TransactionNotPosted,
    Unbalanced,
    VersionMismatch,
    Violation,
    credit,
    debit,
    monitor_condition,
    part_of,
)
from ledger_client.v1.transactions_pb2 import Entry, EntryInput

CLOSED_BEFORE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
LONG_AGO = dt.datetime(1999, 12, 31, tzinfo=dt.UTC)
UNKNOWN_IDS = ["0198c0de-0000-7000-8000-000000000000", "0198c0de-0000-7000-8000-000000000001"]


@dataclass(frozen=True, slots=True)
class Books:
    """Two accounts of each of two currencies, and a transaction in each state."""

    client: LedgerClient
    id: str
    dollars: tuple[str, str]
    euros: tuple[str, str]
    pending: Transaction
    posted: Transaction
    reversal: Transaction
    monitor: str
    deleted: str
    # On which an entry of 0 is pending.
    reserved: str
    categories: tuple[str, str]

    def lines(self, amount: int = 5) -> list[EntryInput]:
        return [debit(self.dollars[0], amount), credit(self.dollars[1], amount)]

    async def create(self, *entries: EntryInput, **fields: object) -> Transaction:
        return await self.client.create_transaction(self.id, entries or self.lines(), **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
async def books(client: LedgerClient) -> Books:
    ledger: Ledger = await client.create_ledger("Violations")
    accounts = [
        (await client.create_account(ledger.id, "Any", normal_balance="debit", currency=currency)).id
        for currency in ("USD", "USD", "EUR", "EUR")
    ]
    lines = [debit(accounts[0], 5), credit(accounts[1], 5)]
    pending = await client.create_transaction(ledger.id, lines)
    posted = await client.create_transaction(ledger.id, lines, status="posted")
    reversal = await client.reverse_transaction(ledger.id, posted, status="pending")
    monitor = await client.create_balance_monitor(
        ledger.id, monitor_condition("posted", ">", 100), account=accounts[0], description="high"
    )
    deleted, reserved = [
        (await client.create_account(ledger.id, "Any", normal_balance="debit", currency="USD")).id for _ in range(2)
    ]
    await client.delete_account(ledger.id, deleted)
    await client.create_transaction(ledger.id, [debit(reserved, 0), credit(accounts[1], 0)])
    categories = [
        (await client.create_category(ledger.id, "Any", normal_balance="debit", currency="EUR")).id for _ in range(2)
    ]
    await client.update_ledger(ledger.id, closed_before=CLOSED_BEFORE)
    dollars, euros = (accounts[0], accounts[1]), (accounts[2], accounts[3])
    return Books(
        client,
        ledger.id,
        dollars,
        euros,
        pending,
        posted,
        reversal,
        monitor.id,
        deleted,
        reserved,
        (categories[0], categories[1]),
    )


def version_of(subject: str) -> Violation:
    noun = subject.partition("s/")[0]
    description = f"version is 0, demanded 3; read the {noun} and decide again"
    return Violation(subject, "VERSION", description, operator="==", seen=0, demanded=3, retryable=True)


def is_deleted(account_id: str) -> Violation:
    return Violation(f"accounts/{account_id}", "ACCOUNT_STATUS", "is deleted", account_id=account_id)


def not_empty(account_id: str, description: str, **told: Any) -> Violation:
    return Violation(f"accounts/{account_id}", "NOT_EMPTY", description, account_id=account_id, retryable=True, **told)


def is_of_euros(category_id: str) -> Violation:
    description = "is of EUR, demanded USD"
    return Violation(f"categories/{category_id}", "CURRENCY", description, category_id=category_id)


async def watched(stream: AbstractAsyncContextManager[object]) -> None:
    async with stream:
        pass


Call = Callable[[Books], Awaitable[object]]
Said = Callable[[Books], list[Violation]]
TABLE: list[tuple[str, Call, type[LedgerError], Said]] = [
    (
        "a sum that differs",
        lambda b: b.create(debit(b.dollars[0], 11), credit(b.dollars[1], 10)),
        Unbalanced,
        lambda _: [Violation("entries", "", "debits and credits differ, over all currencies together: 11 and 10")],
    ),
    (
        "one side only",
        lambda b: b.create(debit(b.dollars[0], 1), debit(b.dollars[1], 1)),
        Unbalanced,
        lambda _: [Violation("entries", "", "at least one debit and one credit are needed")],
    ),
    (
        "two currencies that differ",
        lambda b: b.create(
            *(debit(b.dollars[0], 11), credit(b.dollars[1], 10)), *(debit(b.euros[0], 4), credit(b.euros[1], 5))
        ),
        Unbalanced,
        lambda _: [
            Violation("entries", "", "debits and credits differ in USD: 11 and 10"),
            Violation("entries", "", "debits and credits differ in EUR: 4 and 5"),
        ],
    ),
    (
        "parts of entries that are not there",
        lambda b: b.client.reverse_transaction(b.id, b.posted, entries=[part_of(Entry(id=n), 1) for n in UNKNOWN_IDS]),
        EntryNotFound,
        lambda _: [
            Violation(n, "NOT_FOUND", "no standing entry of the transaction has this entry_id") for n in UNKNOWN_IDS
        ],
    ),
    (
        "parts of accounts without such an entry",
        lambda b: b.client.partial_post_transaction(b.id, b.pending, [credit(b.dollars[0], 1), debit(b.euros[0], 1)]),
        EntryNotFound,
        lambda b: [
            Violation(b.dollars[0], "NOT_FOUND", "no standing credit of the transaction is on this account"),
            Violation(b.euros[0], "NOT_FOUND", "no standing debit of the transaction is on this account"),
        ],
    ),
    (
        "an entry named twice, and another",
        lambda b: b.client.reverse_transaction(
            b.id, b.posted, entries=[part_of(entry, 1) for entry in (*b.posted.entries, *b.posted.entries)]
        ),
        InvalidField,
        lambda _: [Violation(f"entries[{n}]", "", "names the same entry as an earlier one") for n in (2, 3)],
    ),
    (
        "an entry read that is not there",
        lambda b: b.client.get_entry(b.id, UNKNOWN_IDS[0]),
        EntryNotFound,
        lambda _: [Violation(UNKNOWN_IDS[0], "NOT_FOUND", "no entry of the ledger has this entry_id")],
    ),
    (
        "a posted one posted",
        lambda b: b.client.post_transaction(b.id, b.posted),
        TransactionNotPending,
        lambda b: [Violation(f"transactions/{b.posted.id}", "STATE", "is posted, demanded pending")],
    ),
    (
        "a posted one changed",
        lambda b: b.client.update_transaction(b.id, b.posted, description="x", effective_at=LONG_AGO),
        TransactionNotPending,
        lambda _: [
            Violation(name, "STATE", "is fixed once the transaction is posted")
            for name in ("description", "effective_at")
        ],
    ),
    (
        "a pending one reversed",
        lambda b: b.client.reverse_transaction(b.id, b.pending),
        TransactionNotPosted,
        lambda b: [Violation(f"transactions/{b.pending.id}", "STATE", "is pending, demanded posted")],
    ),
    (
        "a reversal posted otherwise",
        lambda b: b.client.post_transaction(b.id, b.reversal, entries=b.lines()),
        ReversalEntriesFixed,
        lambda _: [Violation("entries", "STATE", "are fixed in a pending reversal")],
    ),
    (
        "one that has expired",
        lambda b: b.create(expires_at=LONG_AGO),
        TransactionExpired,
        lambda _: [Violation("expires_at", "EXPIRY", "is 1999-12-31T00:00:00+00:00, which has passed")],
    ),
    (
        "a closed period",
        lambda b: b.create(status="posted", effective_at=LONG_AGO),
        PeriodClosed,
        lambda _: [
            Violation("effective_at", "PERIOD", "is 1999-12-31T00:00:00+00:00, demanded ≥ 2020-01-01T00:00:00+00:00")
        ],
    ),
    (
        "another version of a transaction",
        lambda b: b.client.post_transaction(b.id, b.pending, version=3),
        VersionMismatch,
        lambda b: [version_of(f"transactions/{b.pending.id}")],
    ),
    (
        "another version of a monitor",
        lambda b: b.client.delete_balance_monitor(b.id, b.monitor, version=3),
        VersionMismatch,
        lambda b: [version_of(f"monitors/{b.monitor}")],
    ),
    (
        "a deleted account changed",
        lambda b: b.client.update_account(b.id, b.deleted, name="B"),
        AccountDeleted,
        lambda b: [is_deleted(b.deleted)],
    ),
    (
        "a deleted account deleted",
        lambda b: b.client.delete_account(b.id, b.deleted),
        AccountDeleted,
        lambda b: [is_deleted(b.deleted)],
    ),
    (
        "an account closed on which something is posted and pending",
        lambda b: b.client.update_account(b.id, b.dollars[1], status="closed"),
        AccountNotEmpty,
        lambda b: [
            not_empty(
                b.dollars[1],
                "posted is -5, demanded = 0",
                balance="posted",
                operator="==",
                seen=-5,
                demanded=0,
                shortfall=5,
                lock_version=4,
            ),
            not_empty(
                b.dollars[1],
                "debits of 5 and credits of 5 are pending, demanded none",
                balance="pending",
                seen=-5,
                lock_version=4,
            ),
        ],
    ),
    (
        "an account deleted on which an entry of 0 is pending",
        lambda b: b.client.delete_account(b.id, b.reserved),
        AccountNotEmpty,
        lambda b: [
            not_empty(
                b.reserved,
                "debits of 0 and credits of 0 are pending, demanded none",
                balance="pending",
                seen=0,
                lock_version=1,
            )
        ],
    ),
    (
        "an account put into categories of another currency",
        lambda b: b.client.create_account(b.id, "Any", normal_balance="debit", currency="USD", categories=b.categories),
        CategoryCurrencyMismatch,
        lambda b: [is_of_euros(each) for each in b.categories],
    ),
    (
        "a category put into categories of another currency",
        lambda b: b.client.create_category(b.id, "Any", normal_balance="debit", currency="USD", parents=b.categories),
        CategoryCurrencyMismatch,
        lambda b: [is_of_euros(each) for each in b.categories],
    ),
    (
        "an account added to a category of another currency",
        lambda b: b.client.add_category_member(b.id, b.categories[0], account=b.dollars[0]),
        CategoryCurrencyMismatch,
        lambda b: [is_of_euros(b.categories[0])],
    ),
    (
        "a page that is not of this list",
        lambda b: b.client.list_accounts(b.id, page_token="x"),
        InvalidPageToken,
        lambda _: [Violation("page_token", "", "is damaged or of another query")],
    ),
    (
        "accounts watched that are not there",
        lambda b: watched(b.client.watch_balances(b.id, account_ids=UNKNOWN_IDS)),
        AccountNotFound,
        lambda _: [Violation(n, "NOT_FOUND", "no account of the ledger has this account_id") for n in UNKNOWN_IDS],
    ),
]


@pytest.mark.parametrize(("call", "error", "said"), [pytest.param(*row[1:], id=row[0]) for row in TABLE])
async def test_each_rule_and_field_that_is_wrong_is_told(
    books: Books, call: Call, error: type[LedgerError], said: Said
) -> None:
    with pytest.raises(error) as caught:
        await call(books)
    assert list(caught.value.violations) == said(books)
