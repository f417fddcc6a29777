"""What bad input gets: a typed error, and not a row but the stored refusal's.

The table is in the order of precedence: what the bytes are, what the fields hold, what the request_id was used for,
what is not found, what state it is in, and so on; at the end, calls with two faults, of which the earlier one is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc.aio
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from ledger_client import LedgerClient
from ledger_client.v1 import (
    accounts_pb2,
    admin_service_pb2,
    balances_pb2,
    entries_pb2,
    filters_pb2,
    ledger_service_pb2,
    ledgers_pb2,
    monitors_pb2,
    transactions_pb2,
)
from ledger_client.v1.admin_service_pb2_grpc import LedgerAdminServiceStub
from ledger_client.v1.ledger_service_pb2_grpc import LedgerServiceStub
from ledger_client.v1.streams_pb2 import EventKind, WatchBalancesRequest, WatchEventsRequest
from ledger_server.domain.ids import ledger_text
from tests.conftest import Server
from tests.patience import PATIENCE_SECONDS
from tests.service import category_refusals, money_refusals
from tests.service.raw import (
    Answer,
    Refusal,
    answer_of,
    ask,
    ask_bytes,
    channel_to,
    check_manners,
    refusal_from,
    request_id,
    rows_of,
)
from tests.service.refusing import (
    CREDIT,
    DEBIT,
    NIL_ID,
    POSTED,
    UNKNOWN_ID,
    Batch,
    Books,
    Command,
    Condition,
    Create,
    Line,
    new_books,
    without_request_id,
)

SERVICE = ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"]
AVAILABLE, POSTED_BALANCE = balances_pb2.BALANCE_KIND_AVAILABLE, balances_pb2.BALANCE_KIND_POSTED
GTE, EQ, LT = balances_pb2.OPERATOR_GTE, balances_pb2.OPERATOR_EQ, balances_pb2.OPERATOR_LT


@dataclass(frozen=True, slots=True)
class Case:
    """A call and what it must get.

    named: the field of the BadRequest; or a key of the ErrorInfo's metadata, or `key=value`; or, in capitals, the
        rule of the PreconditionFailure.
    item: the refusal is that of this item of a batch whose call is OK.
    """

    sentence: str
    method: str
    request: Callable[[Books], Message | bytes]
    code: str
    reason: str
    named: str = ""
    stored: bool = False
    item: int | None = None


def malformed(sentence: str, method: str, request: Callable[[Books], bytes]) -> Case:
    return Case(sentence, method, request, "INVALID_ARGUMENT", "MESSAGE_MALFORMED")


def account_as_of(books: Books, **time: Any) -> accounts_pb2.GetAccountRequest:
    return accounts_pb2.GetAccountRequest(ledger_id=books.ledger_id, account_id=books.cash, **time)


def versions_of(books: Books, **more: Any) -> accounts_pb2.ListAccountVersionsRequest:
    return accounts_pb2.ListAccountVersionsRequest(ledger_id=books.ledger_id, account_id=books.cash, **more)


def field(sentence: str, method: str, request: Callable[[Books], Message], named: str, item: int | None = None) -> Case:
    return Case(sentence, method, request, "INVALID_ARGUMENT", "INVALID_FIELD", named, item=item)


def amount(sentence: str, text: str) -> Case:
    return field(sentence, "CreateTransaction", lambda b: b.create(b.lines(text, "5")), "entries[0].amount")


def demanded(sentence: str, text: str) -> Case:
    named = "entries[0].conditions[0].amount"
    condition = Condition(balance=AVAILABLE, operator=GTE, amount=text)
    return field(sentence, "CreateTransaction", lambda b: b.create(b.demanding(condition)), named)


def unbalanced(
    sentence: str, request: Callable[[Books], Message], method: str = "CreateTransaction", named: str = "debits"
) -> Case:
    return Case(sentence, method, request, "INVALID_ARGUMENT", "UNBALANCED", named)


def reused(sentence: str, method: str, request: Callable[[Books], Message], item: int | None = None) -> Case:
    return Case(sentence, method, request, "ALREADY_EXISTS", "REQUEST_ID_REUSED", "field", item=item)


def stored(
    sentence: str,
    method: str,
    request: Callable[[Books], Message],
    code: str,
    reason: str,
    named: str,
    item: int | None = None,
) -> Case:
    return Case(sentence, method, request, code, reason, named, stored=True, item=item)


def mask(*paths: str) -> FieldMask:
    return FieldMask(paths=paths)


def seconds(value: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=value, nanos=nanos)


GARBAGE = b"\xff\xff\xff\xff"
HALF_A_STRING = b"\x0a\x20abc"
NOT_UTF_8 = b"\x0a\x02\xc3\x28"
KEYS_51 = {str(n): "" for n in range(51)}
BYTES_16K = {str(n): "x" * 1_024 for n in range(16)}
FAILING = Condition(balance=AVAILABLE, operator=GTE, amount="1000000")

Term, Filter = filters_pb2.MetadataTerm, filters_pb2.MetadataFilter


def nested(depth: int) -> filters_pb2.MetadataFilter:
    inner = Filter(all=[Term(key="k", present=True)])
    return inner if depth == 1 else Filter(any=[Term(filter=nested(depth - 1))])


# What it is, the filters, and the field that is named.
FILTERS: list[tuple[str, dict[str, Any], str]] = [
    ("an unknown id's form", {"ids": ["x"]}, "ids[0]"),
    ("too many ids", {"ids": [UNKNOWN_ID] * 1_001}, "ids"),
    ("an unknown order", {"order": 99}, "order"),
    ("an unknown reason", {"archived_reasons": [99]}, "archived_reasons[0]"),
    ("no reason", {"archived_reasons": [0]}, "archived_reasons"),
    (
        "an amount below zero",
        {"amounts": [filters_pb2.AmountCondition(operator=GTE, amount="-1")]},
        "amounts[0].amount",
    ),
    ("an amount compared with nothing", {"amounts": [filters_pb2.AmountCondition(amount="1")]}, "amounts[0].operator"),
    (
        "times that end before they begin",
        {"created_at_lower_bound": Timestamp(seconds=2), "created_at_upper_bound": Timestamp(seconds=1)},
        "created_at_upper_bound",
    ),
    ("a term without a test", {"metadata_filter": Filter(all=[Term(key="k")])}, "metadata_filter.all[0]"),
    ("a term without a key", {"metadata_filter": Filter(any=[Term(equals="")])}, "metadata_filter.any[0].key"),
    ("an empty prefix", {"metadata_filter": Filter(all=[Term(key="k", prefix="")])}, "metadata_filter.all[0].prefix"),
    (
        "one of no values",
        {"metadata_filter": Filter(all=[Term(key="k", one_of=filters_pb2.MetadataValues())])},
        "metadata_filter.all[0].one_of.values",
    ),
    ("51 terms", {"metadata_filter": Filter(any=[Term(key="k", present=True)] * 51)}, "metadata_filter"),
    ("terms nested five deep", {"metadata_filter": nested(5)}, "metadata_filter" + ".any[0].filter" * 4),
]

PARSE = [
    malformed("garbage bytes instead of a request", "CreateTransaction", lambda _: GARBAGE),
    malformed("a request cut in the middle", "CreateAccount", lambda _: HALF_A_STRING),
    malformed("text that is not UTF-8", "GetLedger", lambda _: NOT_UTF_8),
    malformed("garbage bytes instead of the request of a stream", "WatchBalances", lambda _: GARBAGE),
    malformed("garbage bytes instead of a batch", "BatchWriteTransactions", lambda _: GARBAGE),
]

AMOUNTS = [
    amount("a negative amount", "-5"),
    amount("a fraction", "5.00"),
    amount("an amount of 37 digits", "1" + "0" * 36),
    amount("an empty amount", ""),
    amount("an amount with a space before it", " 5"),
    amount("an amount with a line end behind it", "5\n"),
    amount("an amount with a leading zero", "05"),
    amount("two zeros", "00"),
    amount("an exponent", "5e3"),
    amount("digits of another script", "٥"),
    amount("a superscript digit", "⁵"),
    amount("an explicit plus", "+5"),
    amount("digits grouped by underscores", "5_000"),
    amount("digits grouped by commas", "5,000"),
    amount("a hexadecimal amount", "0x5"),
    amount("an amount that is not a number", "NaN"),
    amount("infinity", "Infinity"),
    amount("an amount of a million digits", "9" * 1_000_000),
    demanded("minus zero in a condition", "-0"),
    demanded("a fraction in a condition", "0.5"),
    demanded("a 37-digit condition", "-1" + "0" * 36),
    demanded("an empty condition", ""),
]

ENTRIES = [
    field("no entries", "CreateTransaction", lambda b: b.create([]), "entries"),
    field("one entry", "CreateTransaction", lambda b: b.create(b.lines()[:1]), "entries"),
    field("1,001 entries", "CreateTransaction", lambda b: b.create([*b.lines() * 500, b.lines()[0]]), "entries"),
    field(
        "an update to no entries",
        "UpdateTransaction",
        lambda b: b.update(b.pending, update_mask=mask("entries")),
        "entries",
    ),
    field(
        "a posting with one final entry",
        "PostTransaction",
        lambda b: b.post(b.pending, entries=b.lines()[:1]),
        "entries",
    ),
    field(
        "an entry without direction",
        "CreateTransaction",
        lambda b: b.create([b.line(b.cash, DEBIT), Line(account_id=b.cash, amount="5")]),
        "entries[1].direction",
    ),
    field(
        "an entry with a direction nobody knows",
        "CreateTransaction",
        lambda b: b.create([b.line(b.cash, DEBIT), Line(account_id=b.cash, amount="5", direction=9)]),  # type: ignore[arg-type]
        "entries[1].direction",
    ),
    field(
        "an entry on no account",
        "CreateTransaction",
        lambda b: b.create([b.line(b.cash, DEBIT), Line(direction=CREDIT, amount="5")]),
        "entries[1].account_id",
    ),
    field(
        "an entry on an account whose id is no UUID",
        "CreateTransaction",
        lambda b: b.create([b.line(b.cash, DEBIT), b.line("cash", CREDIT)]),
        "entries[1].account_id",
    ),
    field(
        "an entry that demands a negative lock_version",
        "CreateTransaction",
        lambda b: b.create(b.lines(lock_version=-1)),
        "entries[0].lock_version",
    ),
    field(
        "19 conditions on one entry",
        "CreateTransaction",
        lambda b: b.create(b.demanding(*[FAILING] * 19)),
        "entries[0].conditions",
    ),
    field(
        "a condition on no balance",
        "CreateTransaction",
        lambda b: b.create(b.demanding(Condition(operator=GTE, amount="0"))),
        "entries[0].conditions[0].balance",
    ),
    field(
        "a condition with an operator nobody knows",
        "CreateTransaction",
        lambda b: b.create(b.demanding(Condition(balance=AVAILABLE, operator=99, amount="0"))),  # type: ignore[arg-type]
        "entries[0].conditions[0].operator",
    ),
    field(
        "101 account conditions at a posting",
        "PostTransaction",
        lambda b: b.post(b.pending, conditions=[transactions_pb2.AccountCondition(account_id=b.cash)] * 101),
        "conditions",
    ),
    field(
        "an account condition on no account",
        "PostTransaction",
        lambda b: b.post(b.pending, conditions=[transactions_pb2.AccountCondition()]),
        "conditions[0].account_id",
    ),
    field(
        "an account condition that demands nothing",
        "PostTransaction",
        lambda b: b.post(b.pending, conditions=[transactions_pb2.AccountCondition(account_id=b.cash)]),
        "conditions[0].conditions",
    ),
    field(
        "entry metadata with an empty key",
        "CreateTransaction",
        lambda b: b.create(b.lines(metadata={"": "x"})),
        "entries[0].metadata",
    ),
    unbalanced("debits and credits that differ", lambda b: b.create(b.lines("5", "6"))),
    unbalanced("debits only", lambda b: b.create([b.line(b.cash, DEBIT), b.line(b.revenue, DEBIT)])),
    unbalanced("credits of zero only", lambda b: b.create([b.line(b.cash, CREDIT, "0"), b.line(b.cash, CREDIT, "0")])),
    unbalanced(
        "an update to entries that differ",
        lambda b: b.update(b.pending, entries=b.lines("1", "2")),
        "UpdateTransaction",
    ),
    unbalanced("final entries that differ", lambda b: b.post(b.pending, entries=b.lines("1", "2")), "PostTransaction"),
    unbalanced(
        "sides that balance over all currencies but in none",
        lambda b: b.create([b.line(b.cash, DEBIT), b.line(b.euros, CREDIT)]),
        named="currency",
    ),
]

FIELDS = [
    *(
        field(
            f"a list of transactions by {sentence}",
            "ListTransactions",
            lambda b, filters=filters: transactions_pb2.ListTransactionsRequest(ledger_id=b.ledger_id, **filters),  # type: ignore[misc]
            named,
        )
        for sentence, filters, named in FILTERS
    ),
    field(
        "accounts in effective order",
        "ListAccounts",
        lambda b: accounts_pb2.ListAccountsRequest(ledger_id=b.ledger_id, order=filters_pb2.LIST_ORDER_EFFECTIVE_ASC),
        "order",
    ),
    field(
        "accounts by an empty part of a name",
        "ListAccounts",
        lambda b: accounts_pb2.ListAccountsRequest(ledger_id=b.ledger_id, names=[""]),
        "names[0]",
    ),
    field(
        "no transactions read",
        "BatchGetTransactions",
        lambda b: transactions_pb2.BatchGetTransactionsRequest(ledger_id=b.ledger_id),
        "transaction_ids",
    ),
    field(
        "an edit of nothing of an entry",
        "UpdateEntry",
        lambda b: entries_pb2.UpdateEntryRequest(
            ledger_id=b.ledger_id, request_id=request_id(), entry_id=b.posted_entry
        ),
        "update_mask",
    ),
    field(
        "a ledger id that is no UUID",
        "GetLedger",
        lambda _: ledgers_pb2.GetLedgerRequest(ledger_id="books"),
        "ledger_id",
    ),
    field("a ledger id in braces", "CreateAccount", lambda b: b.account(ledger_id=f"{{{b.ledger_id}}}"), "ledger_id"),
    field(
        "a ledger id without dashes",
        "CreateAccount",
        lambda b: b.account(ledger_id=b.ledger_id.replace("-", "")),
        "ledger_id",
    ),
    field("no ledger id", "CreateTransaction", lambda b: b.create(ledger_id=""), "ledger_id"),
    field("the nil ledger written to", "CreateAccount", lambda b: b.account(ledger_id=NIL_ID), "ledger_id"),
    field("the nil ledger read", "GetLedger", lambda _: ledgers_pb2.GetLedgerRequest(ledger_id=NIL_ID), "ledger_id"),
    field("the nil ledger watched", "WatchBalances", lambda _: WatchBalancesRequest(ledger_id=NIL_ID), "ledger_id"),
    field(
        "an account id that is no UUID",
        "GetAccount",
        lambda b: accounts_pb2.GetAccountRequest(ledger_id=b.ledger_id, account_id="cash"),
        "account_id",
    ),
    field(
        "no account named", "GetAccount", lambda b: accounts_pb2.GetAccountRequest(ledger_id=b.ledger_id), "account_id"
    ),
    field("a transaction id that is no UUID", "PostTransaction", lambda b: b.post("booking"), "transaction_id"),
    field("no transaction named", "ArchiveTransaction", lambda b: b.archive(""), "transaction_id"),
    field(
        "an entry id that is no UUID",
        "GetEntry",
        lambda b: entries_pb2.GetEntryRequest(ledger_id=b.ledger_id, entry_id="1"),
        "entry_id",
    ),
    field(
        "discarded entries in effective order",
        "ListEntries",
        lambda b: entries_pb2.ListEntriesRequest(
            ledger_id=b.ledger_id, include_discarded=True, order=filters_pb2.LIST_ORDER_EFFECTIVE_ASC
        ),
        "include_discarded",
    ),
    field(
        "entries of no account as of a lock_version",
        "ListEntries",
        lambda b: entries_pb2.ListEntriesRequest(ledger_id=b.ledger_id, as_of_lock_version=1),
        "as_of_lock_version",
    ),
    field(
        "entries as of a lock_version, discarded ones too",
        "ListEntries",
        lambda b: entries_pb2.ListEntriesRequest(
            ledger_id=b.ledger_id, account_id=b.cash, as_of_lock_version=1, include_discarded=True
        ),
        "as_of_lock_version",
    ),
    field("no request_id", "CreateTransaction", lambda b: b.create(request_id=""), "request_id"),
    field("a request_id of 129 characters", "CreateAccount", lambda b: b.account(request_id="x" * 129), "request_id"),
    field(
        "a ledger without request_id", "CreateLedger", lambda _: ledgers_pb2.CreateLedgerRequest(name="x"), "request_id"
    ),
    field("an account without name", "CreateAccount", lambda b: b.account(name=""), "name"),
    field("a name of 1,001 characters", "CreateAccount", lambda b: b.account(name="é" * 1_001), "name"),
    field(
        "a description of 1,001 characters",
        "CreateTransaction",
        lambda b: b.create(description="é" * 1_001),
        "description",
    ),
    field(
        "an external id of 181 characters",
        "CreateTransaction",
        lambda b: b.create(external_id="é" * 181),
        "external_id",
    ),
    field("metadata of 51 keys", "CreateTransaction", lambda b: b.create(metadata=KEYS_51), "metadata"),
    field("a metadata key of 65 characters", "CreateAccount", lambda b: b.account(metadata={"k" * 65: ""}), "metadata"),
    field("an empty metadata key", "CreateAccount", lambda b: b.account(metadata={"": "x"}), "metadata"),
    field(
        "a metadata value of 1,025 characters",
        "CreateAccount",
        lambda b: b.account(metadata={"k": "v" * 1_025}),
        "metadata['k']",
    ),
    field("16 KiB of metadata and a byte", "CreateAccount", lambda b: b.account(metadata=BYTES_16K), "metadata"),
    field("an account of no normality", "CreateAccount", lambda b: b.account(normal_balance=0), "normal_balance"),
    field("a normality nobody knows", "CreateAccount", lambda b: b.account(normal_balance=7), "normal_balance"),
    field("no currency", "CreateAccount", lambda b: b.account(currency=""), "currency"),
    field("a currency in lower case", "CreateAccount", lambda b: b.account(currency="usd"), "currency"),
    field("a currency of 33 characters", "CreateAccount", lambda b: b.account(currency="X" * 33), "currency"),
    field(
        "an ISO currency with another exponent",
        "CreateAccount",
        lambda b: b.account(currency_exponent=3),
        "currency_exponent",
    ),
    field(
        "a first account of a custom currency without exponent",
        "CreateAccount",
        lambda b: b.account(currency="MILES"),
        "currency_exponent",
    ),
    field(
        "a custom currency with another exponent than its first account's",
        "CreateAccount",
        lambda b: b.account(currency="POINTS", currency_exponent=1),
        "currency_exponent",
    ),
    field(
        "an exponent of 31",
        "CreateAccount",
        lambda b: b.account(currency="MILES", currency_exponent=31),
        "currency_exponent",
    ),
    field(
        "an exponent of -1",
        "CreateAccount",
        lambda b: b.account(currency="MILES", currency_exponent=-1),
        "currency_exponent",
    ),
    field(
        "a business time after the year 9999",
        "CreateTransaction",
        lambda b: b.create(effective_at=seconds(253_402_300_800)),
        "effective_at",
    ),
    field(
        "a business time before the year 1",
        "CreateTransaction",
        lambda b: b.create(effective_at=seconds(-62_135_596_801)),
        "effective_at",
    ),
    field(
        "nanoseconds of more than a second",
        "PostTransaction",
        lambda b: b.post(b.pending, effective_at=seconds(0, 10**9)),
        "effective_at",
    ),
    field("negative nanoseconds", "CreateTransaction", lambda b: b.create(effective_at=seconds(0, -1)), "effective_at"),
    field(
        "a transaction created archived",
        "CreateTransaction",
        lambda b: b.create(status=transactions_pb2.TRANSACTION_STATUS_ARCHIVED),
        "status",
    ),
    field("a status nobody knows", "CreateTransaction", lambda b: b.create(status=9), "status"),
    field("a negative version", "PostTransaction", lambda b: b.post(b.pending, version=-1), "version"),
    field(
        "an update mask with an unknown path",
        "UpdateAccount",
        lambda b: b.update_account(update_mask=mask("currency")),
        "update_mask",
    ),
    field(
        "an update mask with a path of the message itself",
        "UpdateTransaction",
        lambda b: b.update(b.pending, update_mask=mask("*")),
        "update_mask",
    ),
    field("an update that changes nothing", "UpdateAccount", lambda b: b.update_account(), "update_mask"),
    field(
        "a transaction update that changes nothing", "UpdateTransaction", lambda b: b.update(b.pending), "update_mask"
    ),
    field(
        "a ledger update that changes nothing",
        "UpdateLedger",
        lambda b: ledgers_pb2.UpdateLedgerRequest(ledger_id=b.ledger_id, request_id=request_id()),
        "update_mask",
    ),
    field(
        "metadata replaced and changed by key at once",
        "UpdateAccount",
        lambda b: b.update_account(metadata={"x": "y"}, update_mask=mask("metadata", "metadata.x")),
        "update_mask",
    ),
    field(
        "an update mask that names other metadata keys than there are",
        "UpdateAccount",
        lambda b: b.update_account(metadata={"orderId": "1"}, update_mask=mask("metadata.order_id")),
        "metadata",
    ),
    field(
        "an update mask with an empty metadata key",
        "UpdateAccount",
        lambda b: b.update_account(update_mask=mask("metadata.")),
        "update_mask",
    ),
    field("a name masked and missing", "UpdateAccount", lambda b: b.update_account(update_mask=mask("name")), "name"),
    field(
        "a business time masked and missing",
        "UpdateTransaction",
        lambda b: b.update(b.pending, update_mask=mask("effective_at")),
        "effective_at",
    ),
    field(
        "single metadata keys that make the whole too large",
        "UpdateAccount",
        lambda b: b.update_account(
            metadata=dict(list(BYTES_16K.items())[:15]), update_mask=mask(*[f"metadata.{n}" for n in range(15)])
        ),
        "metadata",
    ),
    field(
        "a page of 1,001",
        "ListAccounts",
        lambda b: accounts_pb2.ListAccountsRequest(ledger_id=b.ledger_id, page_size=1_001),
        "page_size",
    ),
    field(
        "versions before those asked for",
        "ListTransactionVersions",
        lambda b: transactions_pb2.ListTransactionVersionsRequest(
            ledger_id=b.ledger_id, transaction_id=b.pending, version_lower_bound=2, version_upper_bound=1
        ),
        "version_upper_bound",
    ),
    field(
        "entries written before the lock_versions asked for",
        "ListEntries",
        lambda b: entries_pb2.ListEntriesRequest(
            ledger_id=b.ledger_id,
            account_id=b.cash,
            account_lock_version_lower_bound=2,
            account_lock_version_upper_bound=1,
        ),
        "account_lock_version_upper_bound",
    ),
    field("a page of -1", "ListLedgers", lambda _: ledgers_pb2.ListLedgersRequest(page_size=-1), "page_size"),
    field(
        "a negative min_position",
        "GetLedger",
        lambda b: ledgers_pb2.GetLedgerRequest(ledger_id=b.ledger_id, min_position=-1),
        "min_position",
    ),
    field(
        "a filter on a status nobody knows",
        "ListTransactions",
        lambda b: transactions_pb2.ListTransactionsRequest(ledger_id=b.ledger_id, statuses=[9]),  # type: ignore[list-item]
        "statuses[0]",
    ),
    field(
        "a filter on no status",
        "ListTransactions",
        lambda b: transactions_pb2.ListTransactionsRequest(ledger_id=b.ledger_id, statuses=[0]),  # type: ignore[list-item]
        "statuses",
    ),
    field(
        "no accounts to get",
        "BatchGetAccounts",
        lambda b: accounts_pb2.BatchGetAccountsRequest(ledger_id=b.ledger_id),
        "account_ids",
    ),
    field(
        "1,001 accounts to get",
        "BatchGetAccounts",
        lambda b: accounts_pb2.BatchGetAccountsRequest(ledger_id=b.ledger_id, account_ids=[b.cash] * 1_001),
        "account_ids",
    ),
    Case(
        "a page token of another list",
        "ListAccounts",
        lambda b: accounts_pb2.ListAccountsRequest(ledger_id=b.ledger_id, page_token=b.transactions_page_token),
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
    ),
    Case(
        "a page token of another filter",
        "ListAccounts",
        lambda b: accounts_pb2.ListAccountsRequest(
            ledger_id=b.ledger_id, page_token=b.accounts_page_token, currency="EUR"
        ),
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
    ),
    Case(
        "a page token of another ledger",
        "ListAccounts",
        lambda b: accounts_pb2.ListAccountsRequest(ledger_id=b.foreign_ledger_id, page_token=b.accounts_page_token),
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
    ),
    Case(
        "a damaged page token",
        "ListAccounts",
        lambda b: accounts_pb2.ListAccountsRequest(
            ledger_id=b.ledger_id, page_token="A" + b.accounts_page_token[1:-1] + "A"
        ),
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
    ),
    Case(
        "a page token of one's own making",
        "ListLedgers",
        lambda _: ledgers_pb2.ListLedgersRequest(page_token="2"),
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
    ),
]

BATCHES = [
    field("a batch of no commands", "BatchWriteTransactions", lambda b: b.batch(), "commands"),
    field(
        "a batch of 10,001 commands",
        "BatchWriteTransactions",
        lambda b: Batch(ledger_id=b.ledger_id, commands=[Command()] * 10_001),
        "commands",
    ),
    field(
        "a batch of 20,001 entries",
        "BatchWriteTransactions",
        lambda b: Batch(ledger_id=b.ledger_id, commands=[Command(create=Create(entries=[Line()] * 6_667))] * 3),
        "commands",
    ),
    field(
        "501 commands with full results",
        "BatchWriteTransactions",
        lambda b: Batch(ledger_id=b.ledger_id, commands=[Command()] * 501, full_results=True),
        "full_results",
    ),
    field(
        "an atomic batch without request_id",
        "BatchWriteTransactions",
        lambda b: b.batch(b.create(request_id=""), atomic=True),
        "request_id",
    ),
    field(
        "a request_id on a batch that is not atomic",
        "BatchWriteTransactions",
        lambda b: b.batch(b.create(), request_id="x"),
        "request_id",
    ),
    field(
        "a request_id on an item of an atomic batch",
        "BatchWriteTransactions",
        lambda b: b.batch(b.create(), atomic=True, request_id=request_id()),
        "request_id",
    ),
    field(
        "an empty command",
        "BatchWriteTransactions",
        lambda b: Batch(ledger_id=b.ledger_id, commands=[Command()]),
        "command",
        item=0,
    ),
    field(
        "an empty command in an atomic batch",
        "BatchWriteTransactions",
        lambda b: Batch(ledger_id=b.ledger_id, commands=[Command()], atomic=True, request_id=request_id()),
        "command",
    ),
    field(
        "an item without request_id",
        "BatchWriteTransactions",
        lambda b: b.batch(b.create(request_id="")),
        "request_id",
        item=0,
    ),
    field(
        "an item of another ledger",
        "BatchWriteTransactions",
        lambda b: b.batch(b.create(ledger_id=b.foreign_ledger_id)),
        "ledger_id",
        item=0,
    ),
    field(
        "validate_only on an item",
        "BatchWriteTransactions",
        lambda b: b.batch(b.create(validate_only=True)),
        "validate_only",
        item=0,
    ),
    field(
        "a malformed item",
        "BatchWriteTransactions",
        lambda b: b.batch(b.create(b.lines("x"))),
        "entries[0].amount",
        item=0,
    ),
    stored(
        "a refused item of an atomic batch",
        "BatchWriteTransactions",
        lambda b: b.batch(
            *[without_request_id(b.create()) for _ in range(2)],
            without_request_id(b.create([b.line(UNKNOWN_ID, DEBIT), b.line(b.cash, CREDIT)])),
            atomic=True,
            request_id=request_id(),
        ),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        "command_index=2",
    ),
    Case(
        "an unbalanced item of an atomic batch",
        "BatchWriteTransactions",
        lambda b: b.batch(
            without_request_id(b.create()),
            without_request_id(b.create(b.lines("1", "2"))),
            atomic=True,
            request_id=request_id(),
        ),
        "INVALID_ARGUMENT",
        "UNBALANCED",
        "command_index=1",
    ),
    stored(
        "a refused item of an atomic batch before an unbalanced one",
        "BatchWriteTransactions",
        lambda b: b.batch(
            without_request_id(b.create()),
            without_request_id(b.create(b.demanding(FAILING))),
            without_request_id(b.create(b.lines("1", "2"))),
            atomic=True,
            request_id=request_id(),
        ),
        "FAILED_PRECONDITION",
        "CONDITION_FAILED",
        "command_index=1",
    ),
    field(
        "a malformed item of an atomic batch behind an unbalanced one",
        "BatchWriteTransactions",
        lambda b: b.batch(
            without_request_id(b.create()),
            without_request_id(b.create(b.lines("1", "2"))),
            without_request_id(b.create([])),
            atomic=True,
            request_id=request_id(),
        ),
        "entries",
    ),
    stored(
        "an item refused by itself",
        "BatchWriteTransactions",
        lambda b: b.batch(b.create(b.demanding(FAILING))),
        "FAILED_PRECONDITION",
        "CONDITION_FAILED",
        "BALANCE_CONDITION",
        item=0,
    ),
]

STREAMS = [
    field(
        "a stream after a position and with a snapshot",
        "WatchBalances",
        lambda b: WatchBalancesRequest(ledger_id=b.ledger_id, after_position=1, snapshot=True),
        "after_position",
    ),
    field(
        "a stream after a negative position",
        "WatchBalances",
        lambda b: WatchBalancesRequest(ledger_id=b.ledger_id, after_position=-1),
        "after_position",
    ),
    field(
        "a heartbeat faster than allowed",
        "WatchBalances",
        lambda b: WatchBalancesRequest(ledger_id=b.ledger_id, heartbeat_interval=Duration(nanos=99_000_000)),
        "heartbeat_interval",
    ),
    field(
        "a heartbeat slower than allowed",
        "WatchBalances",
        lambda b: WatchBalancesRequest(ledger_id=b.ledger_id, heartbeat_interval=Duration(seconds=3_601)),
        "heartbeat_interval",
    ),
    field(
        "an epoch that is no UUID",
        "WatchBalances",
        lambda b: WatchBalancesRequest(ledger_id=b.ledger_id, epoch="then"),
        "epoch",
    ),
    field(
        "10,001 accounts to watch",
        "WatchBalances",
        lambda b: WatchBalancesRequest(ledger_id=b.ledger_id, account_ids=[b.cash] * 10_001),
        "account_ids",
    ),
    field(
        "101 categories to watch for balances",
        "WatchBalances",
        lambda b: WatchBalancesRequest(ledger_id=b.ledger_id, category_ids=[UNKNOWN_ID] * 101),
        "category_ids",
    ),
    field(
        "101 categories to watch for events",
        "WatchEvents",
        lambda b: WatchEventsRequest(ledger_id=b.ledger_id, category_ids=[UNKNOWN_ID] * 101),
        "category_ids",
    ),
    field(
        "an instant and a window",
        "GetAccount",
        lambda b: account_as_of(b, as_of=Timestamp(), effective_at_lower_bound=Timestamp()),
        "as_of",
    ),
    field(
        "a window that ends before it begins",
        "GetAccount",
        lambda b: account_as_of(b, effective_at_lower_bound=Timestamp(seconds=1), effective_at_upper_bound=Timestamp()),
        "effective_at_upper_bound",
    ),
    field(
        "two answers to what was known",
        "GetAccount",
        lambda b: account_as_of(b, as_of_position=1, known_at=Timestamp()),
        "known_at",
    ),
    field(
        "a version and a position",
        "GetAccount",
        lambda b: account_as_of(b, as_of_lock_version=0, as_of_position=1),
        "as_of_position",
    ),
    field(
        "a time beyond the year 9999",
        "GetAccount",
        lambda b: account_as_of(b, as_of=Timestamp(seconds=2**40)),
        "as_of",
    ),
    field(
        "a negative version of an account",
        "GetAccount",
        lambda b: account_as_of(b, as_of_lock_version=-1),
        "as_of_lock_version",
    ),
    field(
        "a negative position of accounts",
        "BatchGetAccounts",
        lambda b: accounts_pb2.BatchGetAccountsRequest(ledger_id=b.ledger_id, account_ids=[b.cash], as_of_position=-1),
        "as_of_position",
    ),
    field(
        "an instant and a window for a list",
        "ListAccounts",
        lambda b: accounts_pb2.ListAccountsRequest(
            ledger_id=b.ledger_id, as_of=Timestamp(), effective_at_upper_bound=Timestamp()
        ),
        "as_of",
    ),
    field(
        "an unknown interval of versions",
        "ListAccountVersions",
        lambda b: versions_of(b, interval=9),
        "interval",
    ),
    field("an unknown order", "ListAccountVersions", lambda b: versions_of(b, order=9), "order"),
    field(
        "versions of a time that ends before it begins",
        "ListAccountVersions",
        lambda b: versions_of(b, time_lower_bound=Timestamp(seconds=1), time_upper_bound=Timestamp()),
        "time_upper_bound",
    ),
    Case(
        "a page of another account's versions",
        "ListAccountVersions",
        lambda b: versions_of(b, page_token=b.accounts_page_token),
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
    ),
    Case(
        "the versions of an unknown account",
        "ListAccountVersions",
        lambda b: accounts_pb2.ListAccountVersionsRequest(ledger_id=b.ledger_id, account_id=UNKNOWN_ID),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        f"account_id={UNKNOWN_ID}",
    ),
    Case(
        "a version that an account has not got to",
        "GetAccount",
        lambda b: account_as_of(b, as_of_lock_version=10**6),
        "OUT_OF_RANGE",
        "LOCK_VERSION_IN_FUTURE",
        "lock_version",
    ),
    Case(
        "an account at a future position",
        "GetAccount",
        lambda b: account_as_of(b, as_of_position=b.position + 1),
        "OUT_OF_RANGE",
        "POSITION_IN_FUTURE",
        "position",
    ),
    Case(
        "accounts at a future position",
        "BatchGetAccounts",
        lambda b: accounts_pb2.BatchGetAccountsRequest(
            ledger_id=b.ledger_id, account_ids=[b.cash], as_of_position=b.position + 1
        ),
        "OUT_OF_RANGE",
        "POSITION_IN_FUTURE",
        "position",
    ),
    Case(
        "a list of accounts at a future position",
        "ListAccounts",
        lambda b: accounts_pb2.ListAccountsRequest(ledger_id=b.ledger_id, as_of_position=b.position + 1),
        "OUT_OF_RANGE",
        "POSITION_IN_FUTURE",
        "position",
    ),
    Case(
        "an unknown account watched",
        "WatchBalances",
        lambda b: WatchBalancesRequest(ledger_id=b.ledger_id, account_ids=[b.cash, UNKNOWN_ID]),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        f"account_id={UNKNOWN_ID}",
    ),
    Case(
        "a future position",
        "WatchBalances",
        lambda b: WatchBalancesRequest(ledger_id=b.ledger_id, after_position=b.position + 1),
        "OUT_OF_RANGE",
        "POSITION_IN_FUTURE",
        "position",
    ),
    Case(
        "the last position that fits the field",
        "WatchBalances",
        lambda b: WatchBalancesRequest(ledger_id=b.ledger_id, after_position=2**63 - 1),
        "OUT_OF_RANGE",
        "POSITION_IN_FUTURE",
        "position",
    ),
    Case(
        "a stale epoch",
        "WatchBalances",
        lambda b: WatchBalancesRequest(ledger_id=b.ledger_id, after_position=1, epoch=UNKNOWN_ID),
        "FAILED_PRECONDITION",
        "EPOCH_CHANGED",
        "epoch",
    ),
]

REQUEST_IDS = [
    reused(
        "a request_id with another body", "CreateTransaction", lambda b: b.create(b.lines("7", "7"), request_id="used")
    ),
    reused("a request_id with another method", "CreateAccount", lambda b: b.account(request_id="used")),
    reused(
        "an account's request_id with another name", "CreateAccount", lambda b: b.account(request_id="used-account")
    ),
    reused(
        "a request_id of a batch used for another",
        "BatchWriteTransactions",
        lambda b: b.batch(b.archive(b.pending, request_id=""), atomic=True, request_id="used-batch"),
    ),
    reused(
        "an item's request_id used before",
        "BatchWriteTransactions",
        lambda b: b.batch(b.create(request_id="used")),
        item=0,
    ),
]

NOT_FOUND = [
    stored(
        "an edit of an unknown entry",
        "UpdateEntry",
        lambda b: entries_pb2.UpdateEntryRequest(
            ledger_id=b.ledger_id, request_id=request_id(), entry_id=UNKNOWN_ID, metadata={"a": "b"}
        ),
        "NOT_FOUND",
        "ENTRY_NOT_FOUND",
        f"entry_id={UNKNOWN_ID}",
    ),
    stored(
        "an unknown account deleted",
        "DeleteAccount",
        lambda b: accounts_pb2.DeleteAccountRequest(
            ledger_id=b.ledger_id, request_id=request_id(), account_external_id="nobody"
        ),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        "account_external_id=nobody",
    ),
    Case(
        "one unknown transaction among several read",
        "BatchGetTransactions",
        lambda b: transactions_pb2.BatchGetTransactionsRequest(
            ledger_id=b.ledger_id, transaction_ids=[b.posted, UNKNOWN_ID]
        ),
        "NOT_FOUND",
        "TRANSACTION_NOT_FOUND",
        f"transaction_id={UNKNOWN_ID}",
    ),
    Case(
        "an unknown ledger",
        "CreateTransaction",
        lambda b: b.create(ledger_id=UNKNOWN_ID),
        "NOT_FOUND",
        "LEDGER_NOT_FOUND",
        f"ledger_id={UNKNOWN_ID}",
    ),
    Case(
        "an unknown ledger read",
        "GetLedger",
        lambda _: ledgers_pb2.GetLedgerRequest(ledger_id=UNKNOWN_ID),
        "NOT_FOUND",
        "LEDGER_NOT_FOUND",
        f"ledger_id={UNKNOWN_ID}",
    ),
    Case(
        "the accounts of an unknown ledger",
        "ListAccounts",
        lambda _: accounts_pb2.ListAccountsRequest(ledger_id=UNKNOWN_ID),
        "NOT_FOUND",
        "LEDGER_NOT_FOUND",
        f"ledger_id={UNKNOWN_ID}",
    ),
    Case(
        "an unknown account read",
        "GetAccount",
        lambda b: accounts_pb2.GetAccountRequest(ledger_id=b.ledger_id, account_external_id="nobody's"),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        "account_external_id=nobody's",
    ),
    Case(
        "another ledger's account read",
        "BatchGetAccounts",
        lambda b: accounts_pb2.BatchGetAccountsRequest(ledger_id=b.ledger_id, account_ids=[b.cash, b.foreign_account]),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        "account_id",
    ),
    Case(
        "an unknown transaction read",
        "GetTransaction",
        lambda b: transactions_pb2.GetTransactionRequest(ledger_id=b.ledger_id, transaction_id=UNKNOWN_ID),
        "NOT_FOUND",
        "TRANSACTION_NOT_FOUND",
        f"transaction_id={UNKNOWN_ID}",
    ),
    Case(
        "an unknown entry",
        "GetEntry",
        lambda b: entries_pb2.GetEntryRequest(ledger_id=b.ledger_id, entry_id=UNKNOWN_ID),
        "NOT_FOUND",
        "ENTRY_NOT_FOUND",
        f"entry_id={UNKNOWN_ID}",
    ),
    stored(
        "an entry on an unknown account",
        "CreateTransaction",
        lambda b: b.create([b.line(UNKNOWN_ID, DEBIT), b.line(b.revenue, CREDIT)]),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        f"account_id={UNKNOWN_ID}",
    ),
    stored(
        "an entry on another ledger's account",
        "CreateTransaction",
        lambda b: b.create([b.line(b.foreign_account, DEBIT), b.line(b.revenue, CREDIT)]),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        "account_id",
    ),
    stored(
        "entries on accounts of twenty-five long names that nobody has",
        "CreateTransaction",
        lambda b: b.create(
            [
                Line(account_external_id=f"{n:03}" + "🏦" * 177, direction=DEBIT if n % 2 else CREDIT, amount="0")
                for n in range(25)
            ]
        ),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        "account_external_id",
    ),
    stored(
        "an update of an unknown account",
        "UpdateAccount",
        lambda b: b.update_account(account_external_id="nobody's", name="x"),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        "account_external_id=nobody's",
    ),
    stored(
        "a posting of an unknown transaction",
        "PostTransaction",
        lambda b: b.post(UNKNOWN_ID),
        "NOT_FOUND",
        "TRANSACTION_NOT_FOUND",
        "transaction_id",
    ),
    stored(
        "an archived transaction by the external id it gave up",
        "ArchiveTransaction",
        lambda b: b.archive("", transaction_external_id="released"),
        "NOT_FOUND",
        "TRANSACTION_NOT_FOUND",
        "transaction_external_id=released",
    ),
]

STATE = [
    stored(
        "an account deleted that has a balance",
        "DeleteAccount",
        lambda b: accounts_pb2.DeleteAccountRequest(ledger_id=b.ledger_id, request_id=request_id(), account_id=b.cash),
        "FAILED_PRECONDITION",
        "ACCOUNT_NOT_EMPTY",
        "account_id",
    ),
    stored(
        "a ledger deleted that has balances",
        "DeleteLedger",
        lambda b: ledgers_pb2.DeleteLedgerRequest(ledger_id=b.ledger_id, request_id=request_id()),
        "FAILED_PRECONDITION",
        "LEDGER_NOT_EMPTY",
        "account_id",
    ),
    stored(
        "an archived transaction posted",
        "PostTransaction",
        lambda b: b.post(b.archived),
        "FAILED_PRECONDITION",
        "TRANSACTION_NOT_PENDING",
        "status=ARCHIVED",
    ),
    stored(
        "a posted transaction posted",
        "PostTransaction",
        lambda b: b.post(b.posted),
        "FAILED_PRECONDITION",
        "TRANSACTION_NOT_PENDING",
        "status=POSTED",
    ),
    stored(
        "a posted transaction archived",
        "ArchiveTransaction",
        lambda b: b.archive(b.posted),
        "FAILED_PRECONDITION",
        "TRANSACTION_NOT_PENDING",
        "status=POSTED",
    ),
    stored(
        "an archived transaction archived",
        "ArchiveTransaction",
        lambda b: b.archive(b.archived),
        "FAILED_PRECONDITION",
        "TRANSACTION_NOT_PENDING",
        "status=ARCHIVED",
    ),
    stored(
        "a posted transaction's entries replaced",
        "UpdateTransaction",
        lambda b: b.update(b.posted, entries=b.lines()),
        "FAILED_PRECONDITION",
        "TRANSACTION_NOT_PENDING",
        "STATE",
    ),
    stored(
        "a posted transaction's business time changed",
        "UpdateTransaction",
        lambda b: b.update(b.posted, effective_at=seconds(0)),
        "FAILED_PRECONDITION",
        "TRANSACTION_NOT_PENDING",
        "STATE",
    ),
    stored(
        "a posted transaction's description changed",
        "UpdateTransaction",
        lambda b: b.update(b.posted, description="x"),
        "FAILED_PRECONDITION",
        "TRANSACTION_NOT_PENDING",
        "STATE",
    ),
    stored(
        "an archived transaction's external id changed",
        "UpdateTransaction",
        lambda b: b.update(b.archived, external_id="x"),
        "FAILED_PRECONDITION",
        "TRANSACTION_NOT_PENDING",
        "STATE",
    ),
]

VERSIONS = [
    stored(
        "a transaction that is at another version",
        "PostTransaction",
        lambda b: b.post(b.pending, version=7),
        "ABORTED",
        "VERSION_MISMATCH",
        "version=0",
    ),
    stored(
        "an update of another version",
        "UpdateTransaction",
        lambda b: b.update(b.pending, description="x", version=2**63 - 1),
        "ABORTED",
        "VERSION_MISMATCH",
        "version=0",
    ),
    stored(
        "an archiving of another version",
        "ArchiveTransaction",
        lambda b: b.archive(b.pending, version=1),
        "ABORTED",
        "VERSION_MISMATCH",
        "version=0",
    ),
    stored(
        "an account's external id that is taken",
        "CreateAccount",
        lambda b: b.account(external_id="held"),
        "ALREADY_EXISTS",
        "EXTERNAL_ID_TAKEN",
        "held_by",
    ),
    stored(
        "an account's external id changed to one that is taken",
        "UpdateAccount",
        lambda b: b.update_account(account_id=b.revenue, external_id="held"),
        "ALREADY_EXISTS",
        "EXTERNAL_ID_TAKEN",
        "held_by",
    ),
    stored(
        "a transaction's external id that is taken",
        "CreateTransaction",
        lambda b: b.create(external_id="held"),
        "ALREADY_EXISTS",
        "EXTERNAL_ID_TAKEN",
        "held_by",
    ),
    stored(
        "a transaction's external id that a posted one holds",
        "CreateTransaction",
        lambda b: b.create(external_id="posted"),
        "ALREADY_EXISTS",
        "EXTERNAL_ID_TAKEN",
        "external_id=posted",
    ),
    stored(
        "a transaction's external id changed to one that is taken",
        "UpdateTransaction",
        lambda b: b.update(b.pending, external_id="held too"),
        "ALREADY_EXISTS",
        "EXTERNAL_ID_TAKEN",
        "held_by",
    ),
    stored(
        "an account at another lock_version",
        "CreateTransaction",
        lambda b: b.create(b.lines(lock_version=0)),
        "ABORTED",
        "LOCK_VERSION_MISMATCH",
        "LOCK_VERSION",
    ),
    stored(
        "an account at another lock_version at a posting",
        "PostTransaction",
        lambda b: b.post(b.pending, conditions=[transactions_pb2.AccountCondition(account_id=b.euros, lock_version=1)]),
        "ABORTED",
        "LOCK_VERSION_MISMATCH",
        "LOCK_VERSION",
    ),
]

CONDITIONS = [
    stored(
        "a balance condition that fails",
        "CreateTransaction",
        lambda b: b.create(b.demanding(FAILING)),
        "FAILED_PRECONDITION",
        "CONDITION_FAILED",
        "BALANCE_CONDITION",
    ),
    stored(
        "a condition that held before and not after",
        "CreateTransaction",
        lambda b: b.create(b.demanding(Condition(balance=POSTED_BALANCE, operator=EQ, amount="100")), status=POSTED),
        "FAILED_PRECONDITION",
        "CONDITION_FAILED",
        "BALANCE_CONDITION",
    ),
    stored(
        "a condition that fails at an update",
        "UpdateTransaction",
        lambda b: b.update(b.pending, entries=b.demanding(FAILING)),
        "FAILED_PRECONDITION",
        "CONDITION_FAILED",
        "BALANCE_CONDITION",
    ),
    stored(
        "a condition that fails at a posting, on an account that is not in it",
        "PostTransaction",
        lambda b: b.post(
            b.pending, conditions=[transactions_pb2.AccountCondition(account_id=b.euros, conditions=[FAILING])]
        ),
        "FAILED_PRECONDITION",
        "CONDITION_FAILED",
        "BALANCE_CONDITION",
    ),
    stored(
        "a hundred conditions that fail",
        "CreateTransaction",
        lambda b: b.create(
            [b.line(b.cash, DEBIT if n % 2 else CREDIT, "0", conditions=[FAILING] * 10) for n in range(10)]
        ),
        "FAILED_PRECONDITION",
        "CONDITION_FAILED",
        "BALANCE_CONDITION",
    ),
]

TWO_FAULTS = [
    field(
        "a malformed field and an unknown ledger",
        "CreateTransaction",
        lambda b: b.create(b.lines("x"), ledger_id=UNKNOWN_ID),
        "entries[0].amount",
    ),
    reused(
        "a used request_id and an unknown account",
        "CreateTransaction",
        lambda b: b.create([b.line(UNKNOWN_ID, DEBIT), b.line(b.cash, CREDIT)], request_id="used"),
    ),
    stored(
        "an unknown account and a taken external id",
        "CreateTransaction",
        lambda b: b.create([b.line(UNKNOWN_ID, DEBIT), b.line(b.cash, CREDIT)], external_id="held"),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        "account_id",
    ),
    stored(
        "a final state and another version",
        "PostTransaction",
        lambda b: b.post(b.posted, version=7),
        "FAILED_PRECONDITION",
        "TRANSACTION_NOT_PENDING",
        "status",
    ),
    stored(
        "another version and a taken external id",
        "UpdateTransaction",
        lambda b: b.update(b.pending, version=7, external_id="held too"),
        "ABORTED",
        "VERSION_MISMATCH",
        "version",
    ),
    stored(
        "a taken external id and another lock_version",
        "CreateTransaction",
        lambda b: b.create(b.lines(lock_version=0), external_id="held"),
        "ALREADY_EXISTS",
        "EXTERNAL_ID_TAKEN",
        "held_by",
    ),
    stored(
        "another lock_version and a condition that fails",
        "CreateTransaction",
        lambda b: b.create(b.demanding(FAILING, lock_version=0)),
        "ABORTED",
        "LOCK_VERSION_MISMATCH",
        "LOCK_VERSION",
    ),
]


def monitored(sentence: str, named: str, **condition: object) -> Case:
    return field(
        sentence,
        "CreateBalanceMonitor",
        lambda b: b.create_monitor(condition=b.monitor_condition(**condition)),
        f"condition.{named}",
    )


MONITORS = [
    field(
        "a monitor without a condition",
        "CreateBalanceMonitor",
        lambda b: b.create_monitor(condition=None),
        "condition.field",
    ),
    monitored("a monitor of nothing", "field", field=0),
    monitored("a monitor of something nobody knows", "field", field=9),
    monitored("a monitor without an operator", "operator", operator=0),
    monitored("a monitor that would be triggered by what is not equal", "operator", operator=balances_pb2.OPERATOR_NE),
    monitored("a monitor without a value", "value", value=""),
    monitored("a fractional value of a monitor", "value", value="0.5"),
    monitored("minus zero as a monitor's value", "value", value="-0"),
    monitored("a 37-digit value of a monitor", "value", value="1" + "0" * 36),
    monitored("a fractional value that a monitor is to resolve at", "resolve_value", resolve_value="0.5"),
    monitored("an empty value that a monitor is to resolve at", "resolve_value", resolve_value=""),
    monitored("a monitor of ≥ that resolves above its value", "resolve_value", resolve_value="6"),
    monitored("a monitor of < that resolves below its value", "resolve_value", operator=LT, resolve_value="4"),
    monitored("a monitor of = that resolves elsewhere", "resolve_value", operator=EQ, resolve_value="5"),
    field(
        "a monitor on nothing",
        "CreateBalanceMonitor",
        lambda b: b.create_monitor(account_id=""),
        "account_id",
    ),
    field(
        "a monitor with 51 metadata keys",
        "CreateBalanceMonitor",
        lambda b: b.create_monitor(metadata=KEYS_51),
        "metadata",
    ),
    field(
        "a change of a monitor's account",
        "UpdateBalanceMonitor",
        lambda b: b.update_monitor(update_mask=mask("account_id")),
        "update_mask",
    ),
    field("a change of nothing of a monitor", "UpdateBalanceMonitor", lambda b: b.update_monitor(), "update_mask"),
    field(
        "a change to a condition that is not given",
        "UpdateBalanceMonitor",
        lambda b: b.update_monitor(update_mask=mask("condition")),
        "condition.field",
    ),
    field(
        "a change to a negative version of a monitor",
        "UpdateBalanceMonitor",
        lambda b: b.update_monitor(description="x", version=-1),
        "version",
    ),
    field(
        "a monitor whose id is no UUID",
        "DeleteBalanceMonitor",
        lambda b: b.delete_monitor(monitor_id="low"),
        "monitor_id",
    ),
    field(
        "a list of 1,001 monitors",
        "ListBalanceMonitors",
        lambda b: monitors_pb2.ListBalanceMonitorsRequest(ledger_id=b.ledger_id, ids=[UNKNOWN_ID] * 1_001),
        "ids",
    ),
    field(
        "folding what monitors say",
        "WatchBalances",
        lambda b: WatchBalancesRequest(
            ledger_id=b.ledger_id, conflate=True, kinds=[EventKind.EVENT_KIND_MONITOR_TRIGGERED]
        ),
        "conflate",
    ),
    reused(
        "the request_id of a monitor with another condition",
        "CreateBalanceMonitor",
        lambda b: b.create_monitor(request_id="used-monitor", condition=b.monitor_condition(value="6")),
    ),
    stored(
        "a monitor on an unknown account",
        "CreateBalanceMonitor",
        lambda b: b.create_monitor(account_id=UNKNOWN_ID),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        "account_id",
    ),
    stored(
        "a monitor on an unknown category",
        "CreateBalanceMonitor",
        lambda b: b.create_monitor(category_id=UNKNOWN_ID),
        "NOT_FOUND",
        "CATEGORY_NOT_FOUND",
        "category_id",
    ),
    stored(
        "a monitor on another ledger's category",
        "CreateBalanceMonitor",
        lambda b: b.create_monitor(category_id=b.foreign_category),
        "NOT_FOUND",
        "CATEGORY_NOT_FOUND",
        "category_id",
    ),
    field(
        "a monitor of a category's lock_version",
        "CreateBalanceMonitor",
        lambda b: b.create_monitor(
            category_id=b.top,
            condition=b.monitor_condition(field=monitors_pb2.MONITOR_FIELD_LOCK_VERSION),
        ),
        "condition.field",
    ),
    field(
        "a monitor on a category whose id is no UUID",
        "CreateBalanceMonitor",
        lambda b: b.create_monitor(category_id="top"),
        "category_id",
    ),
    Case(
        "a list of the monitors on an unknown category",
        "ListBalanceMonitors",
        lambda b: monitors_pb2.ListBalanceMonitorsRequest(ledger_id=b.ledger_id, category_id=UNKNOWN_ID),
        "NOT_FOUND",
        "CATEGORY_NOT_FOUND",
        "category_id",
    ),
    stored(
        "a monitor on another ledger's account",
        "CreateBalanceMonitor",
        lambda b: b.create_monitor(account_id=b.foreign_account),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        "account_id",
    ),
    Case(
        "reading an unknown monitor",
        "GetBalanceMonitor",
        lambda b: monitors_pb2.GetBalanceMonitorRequest(ledger_id=b.ledger_id, monitor_id=UNKNOWN_ID),
        "NOT_FOUND",
        "MONITOR_NOT_FOUND",
        "monitor_id",
    ),
    Case(
        "reading a monitor as another ledger's",
        "GetBalanceMonitor",
        lambda b: monitors_pb2.GetBalanceMonitorRequest(ledger_id=b.foreign_ledger_id, monitor_id=b.monitor),
        "NOT_FOUND",
        "MONITOR_NOT_FOUND",
        "monitor_id",
    ),
    Case(
        "listing the monitors of an unknown account",
        "ListBalanceMonitors",
        lambda b: monitors_pb2.ListBalanceMonitorsRequest(ledger_id=b.ledger_id, account_id=UNKNOWN_ID),
        "NOT_FOUND",
        "ACCOUNT_NOT_FOUND",
        "account_id",
    ),
    stored(
        "a change of a deleted monitor",
        "UpdateBalanceMonitor",
        lambda b: b.update_monitor(monitor_id=b.deleted_monitor, description="x"),
        "NOT_FOUND",
        "MONITOR_NOT_FOUND",
        "monitor_id",
    ),
    stored(
        "the deletion of another ledger's monitor",
        "DeleteBalanceMonitor",
        lambda b: b.delete_monitor(ledger_id=b.foreign_ledger_id),
        "NOT_FOUND",
        "MONITOR_NOT_FOUND",
        "monitor_id",
    ),
    stored(
        "a change of another version of a monitor",
        "UpdateBalanceMonitor",
        lambda b: b.update_monitor(description="x", version=1),
        "ABORTED",
        "VERSION_MISMATCH",
        "version=0",
    ),
    stored(
        "the deletion of another version of a monitor",
        "DeleteBalanceMonitor",
        lambda b: b.delete_monitor(version=1),
        "ABORTED",
        "VERSION_MISMATCH",
        "version=0",
    ),
    Case(
        "the page token of accounts in a list of monitors",
        "ListBalanceMonitors",
        lambda b: monitors_pb2.ListBalanceMonitorsRequest(ledger_id=b.ledger_id, page_token=b.accounts_page_token),
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
    ),
]

CASES = [
    *PARSE,
    *AMOUNTS,
    *ENTRIES,
    *FIELDS,
    *BATCHES,
    *STREAMS,
    *REQUEST_IDS,
    *NOT_FOUND,
    *STATE,
    *VERSIONS,
    *CONDITIONS,
    *MONITORS,
    *TWO_FAULTS,
    *(Case(*row) for row in (*category_refusals.ROWS, *money_refusals.ROWS)),
]


@pytest.fixture(scope="module")
async def books(client: LedgerClient) -> Books:
    return await new_books(client)


@pytest.fixture(scope="module")
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    async with channel_to(server.address) as channel:
        yield channel


@pytest.fixture(scope="module")
async def tables(server: Server) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(server.dsn)
    yield connection
    await connection.close()


@pytest.mark.parametrize("case", [pytest.param(case, id=case.sentence) for case in CASES])
async def test_is_refused_and_writes_nothing(
    case: Case, books: Books, channel: grpc.aio.Channel, tables: asyncpg.Connection[asyncpg.Record]
) -> None:
    before = await rows_of(tables)
    refusal = refusal_in(await send(channel, case.method, case.request(books)), case.item)
    after = await rows_of(tables)
    assert (refusal.code, refusal.reason) == (case.code, case.reason), refusal
    check_manners(refusal)
    assert is_named(case, refusal), refusal
    assert after.since(before) == ({"requests": 1} if case.stored else {})
    assert after.heads == before.heads


def test_the_sentences_of_the_table_differ() -> None:
    assert len({case.sentence for case in CASES}) == len(CASES)


async def send(channel: grpc.aio.Channel, method: str, request: Message | bytes) -> Answer:
    """Sends a message by its generated stub, and bytes as they are."""
    if isinstance(request, Message):
        return await ask(LedgerServiceStub(channel), method, request)
    return await ask_bytes(channel, f"/{SERVICE.full_name}/{method}", request, streaming=method.startswith("Watch"))


def refusal_in(answer: Answer, item: int | None) -> Refusal:
    if item is None:
        assert answer.refusal is not None, answer.message
        return answer.refusal
    assert isinstance(answer.message, transactions_pb2.BatchWriteTransactionsResponse), answer.refusal
    return refusal_from(answer.message.results[item].error)


def is_named(case: Case, refusal: Refusal) -> bool:
    """Whether the refusal says which field, object or rule it is about."""
    key, _, value = case.named.partition("=")
    if not key:
        return True
    if case.reason == "INVALID_FIELD":
        return case.named in refusal.fields and bool(refusal.metadata.get("field"))
    if key.isupper():
        return {rule for rule, _, _ in refusal.rules} == {key}
    return bool(refusal.metadata.get(key)) and value in ("", refusal.metadata[key])


# Ledgers that are not there: of an id that none can have, and of one that one could have.


def _atomic_batch(books: Books) -> Batch:
    return books.batch(books.create(ledger_id="", request_id=""), atomic=True, request_id=request_id())


# The method, a request, the item of the answer that is refused, what makes the request wrong when merged, and where.
OF_A_LEDGER: dict[str, tuple[str, Callable[[Books], Any], int | None, Message, str]] = {
    "a write": ("CreateTransaction", lambda b: b.create(), None, Create(request_id="\0"), "request_id"),
    "a read": (
        "GetLedger",
        lambda _: ledgers_pb2.GetLedgerRequest(),
        None,
        ledgers_pb2.GetLedgerRequest(min_position=-1),
        "min_position",
    ),
    "a batch": (
        "BatchWriteTransactions",
        lambda b: b.batch(b.create(ledger_id="")),
        0,
        Batch(request_id="x"),
        "request_id",
    ),
    "an atomic batch": (
        "BatchWriteTransactions",
        _atomic_batch,
        None,
        Batch(request_id="\0"),
        "request_id",
    ),
    "an item of an atomic batch": (
        "BatchWriteTransactions",
        _atomic_batch,
        None,
        Batch(commands=[Command(create=Create())]),
        "entries",
    ),
    "an item of a batch of accounts": (
        "BatchCreateAccounts",
        lambda b: accounts_pb2.BatchCreateAccountsRequest(
            request_id=request_id(), accounts=[b.account(ledger_id="", request_id="")]
        ),
        None,
        accounts_pb2.BatchCreateAccountsRequest(accounts=[accounts_pb2.CreateAccountRequest()]),
        "name",
    ),
    "a watch of balances": (
        "WatchBalances",
        lambda _: WatchBalancesRequest(),
        None,
        WatchBalancesRequest(after_position=-1),
        "after_position",
    ),
    "a watch of events": (
        "WatchEvents",
        lambda _: WatchEventsRequest(),
        None,
        WatchEventsRequest(after_position=-1),
        "after_position",
    ),
    "a verification": (
        "VerifyLedger",
        lambda _: admin_service_pb2.VerifyLedgerRequest(),
        None,
        admin_service_pb2.VerifyLedgerRequest(findings_max=-1),
        "findings_max",
    ),
}


@pytest.mark.parametrize("ledger_id", [UNKNOWN_ID, ledger_text(1)], ids=["that none can have", "that none has"])
@pytest.mark.parametrize(("method", "asked", "item", "wrong", "named"), OF_A_LEDGER.values(), ids=OF_A_LEDGER)
async def test_a_ledger_that_is_not_there_is_told_after_what_the_fields_hold(
    method: str,
    asked: Callable[[Books], Any],
    item: int | None,
    wrong: Message,
    named: str,
    ledger_id: str,
    books: Books,
    channel: grpc.aio.Channel,
    tables: asyncpg.Connection[asyncpg.Record],
) -> None:
    async def answer() -> Answer:
        if method == "VerifyLedger":
            call = LedgerAdminServiceStub(channel).VerifyLedger(request, timeout=PATIENCE_SECONDS)
            return await answer_of(call, streaming=True)
        return await send(channel, method, request)

    before = await rows_of(tables)
    request = asked(books)
    request.ledger_id = ledger_id.upper()
    # An item may repeat the ledger of its batch.
    for command in getattr(request, "commands", ()):
        getattr(command, command.WhichOneof("command")).ledger_id = ledger_id
    for account in getattr(request, "accounts", ()):
        account.ledger_id = ledger_id
    refusal = refusal_in(await answer(), item)
    check_manners(refusal)
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "LEDGER_NOT_FOUND"), refusal
    assert refusal.metadata == {"ledger_id": ledger_id}
    request.MergeFrom(wrong)
    refusal = refusal_in(await answer(), None)
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD"), refusal
    assert named in refusal.fields
    assert await rows_of(tables) == before


# NUL bytes, which PostgreSQL cannot store, in every string that a request can hold.


def strings_of(
    message: Descriptor, path: tuple[str, ...] = (), around: tuple[Descriptor, ...] = ()
) -> list[tuple[str, ...]]:
    """The paths of all string fields in the message and the messages in it; of one within itself but once."""
    found = []
    for part in message.fields:
        if part.type == FieldDescriptor.TYPE_STRING:
            found.append((*path, part.name))
        elif part.type == FieldDescriptor.TYPE_MESSAGE and _descriptor(part) not in around:
            found += strings_of(_descriptor(part), (*path, part.name), (*around, message))
    return found


def _descriptor(part: FieldDescriptor) -> Descriptor:
    assert part.message_type is not None
    return part.message_type


def with_nul(message: Message, path: tuple[str, ...]) -> None:
    """Puts "a NUL\\0" into the field at the path."""
    field, rest = message.DESCRIPTOR.fields_by_name[path[0]], path[1:]
    value = getattr(message, path[0])
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    if is_map:
        value["a NUL\0" if rest == ("key",) else "key"] = "a NUL\0"
    elif rest:
        # Two, because a transaction has at least two entries.
        with_nul([value.add(), value.add()][0] if field.is_repeated else value, rest)
    elif field.is_repeated:
        value.append("a NUL\0")
    else:
        setattr(message, path[0], "a NUL\0")


@pytest.mark.parametrize("method", [method.name for method in SERVICE.methods if not method.client_streaming])
async def test_a_nul_byte_is_refused_in_every_string_of(method: str, channel: grpc.aio.Channel, books: Books) -> None:
    descriptor = SERVICE.methods_by_name[method].input_type
    paths = strings_of(descriptor)
    told = {".".join(path): await told_of_nul(channel, books, method, path) for path in paths}
    assert told
    assert {path: refusal for path, refusal in told.items() if refusal is not None} == {}


async def told_of_nul(channel: grpc.aio.Channel, books: Books, method: str, path: tuple[str, ...]) -> Answer | None:
    """None if the call is told that this field is wrong, else what it got."""
    request = GetMessageClass(SERVICE.methods_by_name[method].input_type)()
    if "ledger_id" in request.DESCRIPTOR.fields_by_name:
        setattr(request, "ledger_id", books.ledger_id)  # noqa: B010  # not every request has it
    # So that what is wrong with an item of a batch is wrong with the call.
    if "request_id" in request.DESCRIPTOR.fields_by_name:
        setattr(request, "request_id", request_id())  # noqa: B010
    if isinstance(request, Batch):
        request.atomic = True
    if path == ("page_token",) and "account_id" in request.DESCRIPTOR.fields_by_name:
        setattr(request, "account_id", books.cash)  # noqa: B010  # not every request has it
    if path == ("page_token",) and "transaction_external_id" in request.DESCRIPTOR.fields_by_name:
        setattr(request, "transaction_external_id", "held")  # noqa: B010  # not every request has it
    with_nul(request, path)
    answer = await send(channel, method, request)
    refusal = refusal_in(answer, None)
    check_manners(refusal)
    if path == ("page_token",) and refusal.reason == "INVALID_PAGE_TOKEN":
        return None
    leaf = "metadata" if "metadata" in "".join(path) else "update_mask" if path[-1] == "paths" else path[-1]
    return None if refusal.reason == "INVALID_FIELD" and any(leaf in name for name in refusal.fields) else answer


async def test_sums_over_all_currencies_are_told_as_such(channel: grpc.aio.Channel, books: Books) -> None:
    request = books.create([*books.lines("100", "90"), books.line(books.euros, DEBIT), books.line(books.euros, CREDIT)])
    refusal = refusal_in(await send(channel, "CreateTransaction", request), None)
    assert "over all currencies together: 105 and 95" in refusal.message
    assert refusal.metadata == {"debits": "105", "credits": "95"}


async def test_a_message_of_more_than_four_mebibytes_is_refused_by_grpc_itself(
    channel: grpc.aio.Channel, books: Books, tables: asyncpg.Connection[asyncpg.Record]
) -> None:
    before = await rows_of(tables)
    answer = await send(channel, "CreateTransaction", books.create(description="x" * 4 * 2**20))
    assert answer.refusal is not None
    assert answer.refusal.code == "RESOURCE_EXHAUSTED"
    assert await rows_of(tables) == before


async def test_a_method_nobody_knows_is_unimplemented(channel: grpc.aio.Channel) -> None:
    answer = await ask_bytes(channel, f"/{SERVICE.full_name}/Embezzle", b"")
    assert answer.refusal is not None
    assert answer.refusal.code == "UNIMPLEMENTED"


async def test_an_actor_of_181_characters_is_refused(channel: grpc.aio.Channel, books: Books) -> None:
    answer = await ask(
        LedgerServiceStub(channel), "CreateTransaction", books.create(), metadata=(("x-actor", "x" * 181),)
    )
    assert answer.refusal is not None
    assert (answer.refusal.reason, list(answer.refusal.fields)) == ("INVALID_FIELD", ["x-actor"])


async def test_the_books_are_as_they_were_after_all_of_this(client: LedgerClient, books: Books) -> None:
    ledger = await client.get_ledger(books.ledger_id)
    assert (ledger.position, ledger.epoch) == (books.position, books.epoch)
