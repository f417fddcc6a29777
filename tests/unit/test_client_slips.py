"""What a caller got wrong is said by its name, before anything is sent."""

# A type checker says the same, where there is one.
# mypy: disable-error-code="arg-type,dict-item,list-item"

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ledger_client import (
    Account,
    ExternalId,
    Ledger,
    LedgerClient,
    Transaction,
    account_condition,
    commands,
    condition,
    credit,
    debit,
    filters,
    part_of,
)
from ledger_client.inputs import (
    account_status_value,
    balance_kind_value,
    direction_value,
    normal_balance_value,
    operator_value,
    status_value,
    version_interval_value,
)
from ledger_client.monitors import monitor_condition
from ledger_client.v1.transactions_pb2 import EntryInput

NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)

Slip = Callable[[], Any]


@pytest.mark.parametrize(
    ("slip", "message"),
    [
        (lambda: status_value("psoted"), "status is one of pending, posted, archived, not 'psoted'"),
        (lambda: normal_balance_value("Debit"), "normal_balance is one of debit, credit, not 'Debit'"),
        (lambda: direction_value("left"), "direction is one of debit, credit, not 'left'"),
        (
            lambda: account_status_value("frosted"),
            "status is one of open, debits_frozen, credits_frozen, frozen, closed, not 'frosted'",
        ),
        (lambda: version_interval_value("week"), "interval is one of hour, day, month, not 'week'"),
        (lambda: balance_kind_value("free"), "balance is one of pending, posted, available, not 'free'"),
        (lambda: operator_value("="), "operator is one of <, <=, ==, !=, >=, >, not '='"),
        (lambda: condition("free", ">", 0), "balance is one of pending, posted, available, not 'free'"),
        (
            lambda: monitor_condition("free", ">", 0),
            "field is one of posted, pending, available, lock_version, not 'free'",
        ),
        (
            lambda: filters.order_value("newest"),
            "order is one of created_asc, created_desc, effective_asc, effective_desc, not 'newest'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_word_that_there_is_not_is_told_which_there_are(slip: Slip, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        slip()
    assert str(raised.value) == message


def dicts() -> Iterator[dict[str, Any]]:
    yield {"account_id": "a", "direction": "debit", "amount": 5}


@pytest.mark.parametrize(
    ("slip", "message"),
    [
        (lambda: status_value(["posted"]), "status must be str, not list"),
        (lambda: commands.create_transaction([], metadata={"a": 1}), "metadata['a'] must be str, not int"),
        (lambda: commands.create_transaction([], metadata={1: "a"}), "a key of metadata must be str, not int"),
        (lambda: commands.create_transaction([], metadata=["a"]), "metadata must be Mapping, not list"),
        (lambda: commands.update_transaction("t", metadata_patch={"a": 1}), "metadata['a'] must be str, not int"),
        (lambda: debit("a", 1, metadata={"a": 1}), "metadata['a'] must be str, not int"),
        (lambda: debit("a", 1, conditions=[{"balance": "posted"}]), "conditions[0] must be BalanceCondition, not dict"),
        (lambda: debit("a", 1, lock_version="7"), "lock_version must be int, not str"),
        (lambda: commands.create_transaction([], external_id=17), "external_id must be str, not int"),
        (lambda: commands.create_transaction([], effective_at="today"), "a time must be datetime, not str"),
        (lambda: commands.create_transaction([], effective_at=NOON.date()), "a time must be datetime, not date"),
        (
            lambda: commands.create_transaction([], category_conditions=[account_condition("a")]),
            "category_conditions[0] must be CategoryCondition, not AccountCondition",
        ),
        (
            lambda: commands.create_transaction([credit("a", 1), *dicts()]),
            "entries[1] must be what debit() and credit() make, not dict",
        ),
        (
            lambda: commands.create_transaction(dicts()),
            "entries[0] must be what debit() and credit() make, not dict",
        ),
        (
            lambda: commands.post_transaction("t", entries=dicts()),
            "entries[0] must be what debit() and credit() make, not dict",
        ),
        (
            lambda: commands.partial_post_transaction("t", dicts()),
            "entries[0] must be what part_of(), debit() and credit() make, not dict",
        ),
        (lambda: debit(Ledger(id="l"), 5), "account must be str or Account or ExternalId, not Ledger"),
        (lambda: debit(None, 5), "account must be str or Account or ExternalId, not NoneType"),
        (lambda: ExternalId(17), "an external id must be str, not int"),
        (lambda: part_of(EntryInput(), 5), "entry must be str or Entry, not EntryInput"),
        (
            lambda: commands.post_transaction(Account(id="a")),
            "transaction must be str or Transaction or ExternalId, not Account",
        ),
        (
            lambda: commands.create_account("n", normal_balance="debit", currency="USD", categories=[Ledger()]),
            "a category must be str or Category, not Ledger",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_of_the_wrong_type_is_told_by_its_name(slip: Slip, message: str) -> None:
    with pytest.raises(TypeError) as raised:
        slip()
    assert str(raised.value) == message


async def test_a_ledger_is_named_by_its_id() -> None:
    books: Any = Ledger(id="l")
    async with LedgerClient("127.0.0.1:1") as client:
        for call in (
            lambda: client.create_transaction(books, []),
            lambda: client.create_account(books, "n", normal_balance="debit", currency="USD"),
            lambda: client.get_account(books, "a"),
            lambda: client.list_transactions(books),
            lambda: client.import_transactions(books, []),
            lambda: client.verify_ledger(books),
            lambda: client.get_log_digest(books),
        ):
            with pytest.raises(TypeError, match=r"^ledger_id must be str, not Ledger; give its id"):
                await call()
        with pytest.raises(TypeError, match=r"^ledger_id must be str, not Ledger; give its id"):
            client.watch_balances(books)
        accounts: Any = [Account(id="a")]
        with pytest.raises(TypeError, match=r"^account_ids\[0\] must be str, not Account; give its id"):
            await client.batch_get_accounts("l", accounts)


def test_what_an_input_raises_is_raised_as_it_is() -> None:
    amounts: Any = [1, 1.5]
    with pytest.raises(TypeError, match="an amount is an int of minor units, not float"):
        commands.create_transaction(debit("a", amount) for amount in amounts)


def test_what_protobuf_can_say_itself_is_left_to_it() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        commands.create_transaction([], description="\ud800")
    with pytest.raises(ValueError, match="out of range"):
        commands.post_transaction(Transaction(id="t"), version=2**70)
