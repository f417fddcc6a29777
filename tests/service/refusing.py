"""The books that refused calls are made against, and the requests they start from.

A refusal writes nothing, so one set of books serves a whole table of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger_client import ExternalId, LedgerClient, commands, credit, debit, limits, monitor_condition
from ledger_client.v1 import accounts_pb2, balances_pb2, categories_pb2, monitors_pb2, transactions_pb2
from tests.service.raw import request_id

DEBIT, CREDIT = balances_pb2.DIRECTION_DEBIT, balances_pb2.DIRECTION_CREDIT
POSTED = transactions_pb2.TRANSACTION_STATUS_POSTED
LONG_AGO = dt.datetime(1950, 1, 1, tzinfo=dt.UTC)
UNKNOWN_ID = "0198c0de-0000-7000-8000-000000000000"
NIL_ID = "00000000-0000-0000-0000-000000000000"

Line = transactions_pb2.EntryInput
Create = transactions_pb2.CreateTransactionRequest
Update = transactions_pb2.UpdateTransactionRequest
Post = transactions_pb2.PostTransactionRequest
Archive = transactions_pb2.ArchiveTransactionRequest
Batch = transactions_pb2.BatchWriteTransactionsRequest
Command = transactions_pb2.TransactionCommand
Condition = balances_pb2.BalanceCondition


@dataclass(frozen=True, slots=True)
class Books:
    """Two ledgers, and one object of each kind that a call could be refused for."""

    ledger_id: str
    cash: str
    revenue: str
    euros: str
    epoch: str
    position: int
    foreign_ledger_id: str
    foreign_account: str
    pending: str
    posted: str
    archived: str
    accounts_page_token: str
    transactions_page_token: str
    frozen: str
    deleted: str
    limited: str
    monitor: str
    deleted_monitor: str
    # Five levels of categories from the top to the lowest, with cash in the lowest, and one of the other ledger.
    top: str
    lowest: str
    foreign_category: str
    categories_page_token: str
    posted_entry: str

    def line(
        self, account_id: str, direction: balances_pb2.Direction.ValueType, amount: str = "5", **more: Any
    ) -> Line:
        return Line(account_id=account_id, direction=direction, amount=amount, **more)

    def lines(self, debit_amount: str = "5", credit_amount: str = "5", **more: Any) -> list[Line]:
        """A debit of cash, to which `more` belongs, and a credit of revenue."""
        return [self.line(self.cash, DEBIT, debit_amount, **more), self.line(self.revenue, CREDIT, credit_amount)]

    def demanding(self, *conditions: Condition, **more: Any) -> list[Line]:
        return self.lines(conditions=conditions, **more)

    def create(self, entries: Sequence[Line] | None = None, **more: Any) -> Create:
        given = {"ledger_id": self.ledger_id, "request_id": request_id()} | more
        return Create(entries=self.lines() if entries is None else entries, **given)

    def update(self, transaction_id: str, **more: Any) -> Update:
        given = {"ledger_id": self.ledger_id, "request_id": request_id()} | _ref(transaction_id, more)
        return Update(**given)

    def post(self, transaction_id: str, **more: Any) -> Post:
        given = {"ledger_id": self.ledger_id, "request_id": request_id()} | _ref(transaction_id, more)
        return Post(**given)

    def archive(self, transaction_id: str, **more: Any) -> Archive:
        given = {"ledger_id": self.ledger_id, "request_id": request_id()} | _ref(transaction_id, more)
        return Archive(**given)

    def account(self, **more: Any) -> accounts_pb2.CreateAccountRequest:
        given: dict[str, Any] = {
            "ledger_id": self.ledger_id,
            "request_id": request_id(),
            "name": "New",
            "normal_balance": balances_pb2.NORMAL_BALANCE_DEBIT,
            "currency": "USD",
        } | more
        return accounts_pb2.CreateAccountRequest(**given)

    def update_account(self, **more: Any) -> accounts_pb2.UpdateAccountRequest:
        ref = {} if "account_external_id" in more else {"account_id": self.cash}
        given = {"ledger_id": self.ledger_id, "request_id": request_id()} | ref | more
        return accounts_pb2.UpdateAccountRequest(**given)

    def monitor_condition(self, **more: Any) -> monitors_pb2.MonitorCondition:
        given: dict[str, Any] = {
            "field": monitors_pb2.MONITOR_FIELD_AVAILABLE,
            "operator": balances_pb2.OPERATOR_GTE,
            "value": "5",
        }
        return monitors_pb2.MonitorCondition(**given | more)

    def create_monitor(self, **more: Any) -> monitors_pb2.CreateBalanceMonitorRequest:
        subjects = {"account_external_id", "category_id", "category_external_id"}
        ref = {} if subjects & more.keys() else {"account_id": self.cash}
        given: dict[str, Any] = {
            "ledger_id": self.ledger_id,
            "request_id": request_id(),
            "condition": self.monitor_condition(),
        }
        return monitors_pb2.CreateBalanceMonitorRequest(**given | ref | more)

    def update_monitor(self, **more: Any) -> monitors_pb2.UpdateBalanceMonitorRequest:
        given: dict[str, Any] = {
            "ledger_id": self.ledger_id,
            "request_id": request_id(),
            "monitor_id": self.monitor,
        }
        return monitors_pb2.UpdateBalanceMonitorRequest(**given | more)

    def delete_monitor(self, **more: Any) -> monitors_pb2.DeleteBalanceMonitorRequest:
        given: dict[str, Any] = {
            "ledger_id": self.ledger_id,
            "request_id": request_id(),
            "monitor_id": self.monitor,
        }
        return monitors_pb2.DeleteBalanceMonitorRequest(**given | more)

    def category(self, **more: Any) -> categories_pb2.CreateCategoryRequest:
        given: dict[str, Any] = {
            "ledger_id": self.ledger_id,
            "request_id": request_id(),
            "name": "New",
            "normal_balance": balances_pb2.NORMAL_BALANCE_DEBIT,
            "currency": "USD",
        } | more
        return categories_pb2.CreateCategoryRequest(**given)

    def update_category(self, **more: Any) -> categories_pb2.UpdateCategoryRequest:
        given = {"ledger_id": self.ledger_id, "request_id": request_id(), "category_id": self.top} | more
        return categories_pb2.UpdateCategoryRequest(**given)

    def delete_category(self, category_id: str) -> categories_pb2.DeleteCategoryRequest:
        return categories_pb2.DeleteCategoryRequest(
            ledger_id=self.ledger_id, request_id=request_id(), category_id=category_id
        )

    def join(self, category_id: str, **member: Any) -> categories_pb2.AddCategoryMemberRequest:
        given = {"ledger_id": self.ledger_id, "request_id": request_id(), "category_id": category_id} | member
        return categories_pb2.AddCategoryMemberRequest(**given)

    def leave(self, category_id: str, **member: Any) -> categories_pb2.RemoveCategoryMemberRequest:
        given = {"ledger_id": self.ledger_id, "request_id": request_id(), "category_id": category_id} | member
        return categories_pb2.RemoveCategoryMemberRequest(**given)

    def batch(self, *requests: Create | Update | Post | Archive, **more: Any) -> Batch:
        return Batch(ledger_id=self.ledger_id, commands=[command(request) for request in requests], **more)


def command(request: Create | Update | Post | Archive) -> Command:
    match request:
        case Create():
            return Command(create=request)
        case Update():
            return Command(update=request)
        case Post():
            return Command(post=request)
        case Archive():
            return Command(archive=request)


def without_request_id(request: Create) -> Create:
    """As an item of an atomic batch is."""
    request.request_id = ""
    return request


def _ref(transaction_id: str, more: dict[str, Any]) -> dict[str, Any]:
    return more if "transaction_external_id" in more else {"transaction_id": transaction_id} | more


async def new_books(client: LedgerClient) -> Books:
    """`used` is the request_id of a CreateTransaction; `held` the external ids of an account and of a transaction."""
    ledger, foreign = await client.create_ledger("Refusing"), await client.create_ledger("Foreign")
    cash = await client.create_account(
        ledger.id, "Cash", normal_balance="debit", currency="USD", external_id="held", metadata={"a": "b" * 1_024}
    )
    revenue = await client.create_account(ledger.id, "Revenue", normal_balance="credit", currency="USD")
    euros = await client.create_account(ledger.id, "Euros", normal_balance="debit", currency="EUR")
    await client.create_account(
        ledger.id, "Points", normal_balance="credit", currency="POINTS", currency_exponent=0, request_id="used-account"
    )
    frozen = await client.create_account(ledger.id, "Frozen", normal_balance="debit", currency="USD")
    await client.update_account(ledger.id, frozen, status="frozen")
    deleted = await client.create_account(ledger.id, "Deleted", normal_balance="debit", currency="USD")
    await client.delete_account(ledger.id, deleted.id)
    limited = await client.create_account(
        ledger.id, "Limited", normal_balance="debit", currency="USD", limits=limits(posted_max=5)
    )
    await client.update_ledger(ledger.id, closed_before=LONG_AGO)
    stranger = await client.create_account(foreign.id, "Stranger", normal_balance="debit", currency="USD")
    lines = [debit(cash, 100), credit(revenue, 100)]
    pending = await client.create_transaction(ledger.id, lines, external_id="held", request_id="used")
    await client.create_transaction(ledger.id, lines, external_id="held too")
    posted = await client.create_transaction(ledger.id, lines, status="posted", external_id="posted")
    archived = await client.create_transaction(ledger.id, lines, external_id="released")
    await client.archive_transaction(ledger.id, archived)
    await client.batch_write_transactions(
        ledger.id, [commands.archive_transaction(ExternalId("held too"))], atomic=True, request_id="used-batch"
    )
    await client.create_transaction(ledger.id, lines, external_id="held too")
    condition = monitor_condition("available", ">=", 5)
    monitor = await client.create_balance_monitor(ledger.id, condition, account=cash, request_id="used-monitor")
    deleted_monitor = await client.create_balance_monitor(ledger.id, condition, account=cash)
    await client.delete_balance_monitor(ledger.id, deleted_monitor)
    top = await client.create_category(ledger.id, "Top", normal_balance="debit", currency="USD", external_id="held")
    lowest = top
    for n in range(4):
        lowest = await client.create_category(
            ledger.id, f"Level {n}", normal_balance="debit", currency="USD", parents=[lowest]
        )
    await client.add_category_member(ledger.id, lowest, account=cash)
    strange = await client.create_category(foreign.id, "Strange", normal_balance="debit", currency="USD")
    categories = await client.list_categories(ledger.id, page_size=1)
    transactions = await client.list_transactions(ledger.id, page_size=1)
    accounts = await client.list_accounts(ledger.id, page_size=1)
    return Books(
        ledger.id,
        cash.id,
        revenue.id,
        euros.id,
        ledger.epoch,
        accounts.position,
        foreign.id,
        stranger.id,
        pending.id,
        posted.id,
        archived.id,
        accounts.next_page_token,
        transactions.next_page_token,
        frozen.id,
        deleted.id,
        limited.id,
        monitor.id,
        deleted_monitor.id,
        top.id,
        lowest.id,
        strange.id,
        categories.next_page_token,
        posted.entries[0].id,
    )
