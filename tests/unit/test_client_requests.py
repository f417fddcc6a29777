"""What the client's arguments become in the messages it sends."""

import datetime as dt
import re
from decimal import Decimal

import pytest

from ledger_client import (
    Account,
    Direction,
    ExternalId,
    Transaction,
    TransactionStatus,
    account_condition,
    commands,
    condition,
    credit,
    debit,
    new_request_id,
)
from ledger_client.inputs import timestamp
from ledger_client.v1.balances_pb2 import BalanceKind, Operator


def test_entries_name_their_account_by_id_by_external_id_or_as_it_was_read() -> None:
    assert debit("a-1", 5).account_id == "a-1"
    assert credit(ExternalId("cash"), 5).WhichOneof("account") == "account_external_id"
    assert debit(Account(id="a-1", external_id="cash"), 5).account_id == "a-1"


def test_an_entry_carries_all_it_was_given() -> None:
    entry = credit(
        "a-1", 10**36 - 1, metadata={"k": "v"}, lock_version=0, conditions=[condition("available", ">=", -5)]
    )
    assert entry.direction == Direction.DIRECTION_CREDIT
    assert entry.amount == "9" * 36
    assert dict(entry.metadata) == {"k": "v"}
    assert entry.HasField("lock_version")
    assert entry.conditions[0].balance == BalanceKind.BALANCE_KIND_AVAILABLE
    assert entry.conditions[0].operator == Operator.OPERATOR_GTE
    assert entry.conditions[0].amount == "-5"


def test_zero_and_absent_versions_differ() -> None:
    assert not debit("a-1", 1).HasField("lock_version")
    assert commands.post_transaction("t-1", version=0).HasField("version")
    assert not commands.post_transaction("t-1").HasField("version")


@pytest.mark.parametrize("amount", [1.0, Decimal(1), True, None])
def test_amounts_are_integers_of_minor_units(amount: object) -> None:
    with pytest.raises(TypeError, match="minor units"):
        debit("a-1", amount)  # type: ignore[arg-type]


def test_words_and_enum_values_mean_the_same() -> None:
    word = commands.create_transaction([], status="posted")
    value = commands.create_transaction([], status=TransactionStatus.TRANSACTION_STATUS_POSTED)
    assert word == value
    assert commands.create_transaction([]).status == TransactionStatus.TRANSACTION_STATUS_UNSPECIFIED


def test_an_update_names_what_was_given_even_when_it_empties_it() -> None:
    request = commands.update_transaction("t-1", description="", external_id="x", entries=[debit("a-1", 1)])
    assert sorted(request.update_mask.paths) == ["description", "entries", "external_id"]


def test_metadata_is_replaced_or_patched_but_not_both() -> None:
    patch = commands.update_transaction(Transaction(id="t-1"), metadata_patch={"set": "1", "gone": None})
    assert list(patch.update_mask.paths) == ["metadata.set", "metadata.gone"]
    assert dict(patch.metadata) == {"set": "1"}
    assert list(commands.update_transaction("t-1", metadata={}).update_mask.paths) == ["metadata"]
    with pytest.raises(ValueError, match="not both"):
        commands.update_transaction("t-1", metadata={}, metadata_patch={})


def test_times_need_a_time_zone() -> None:
    noon = dt.datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    stamp = timestamp(noon)
    assert stamp is not None
    assert stamp.ToDatetime(tzinfo=dt.UTC) == noon
    with pytest.raises(ValueError, match="time zone"):
        timestamp(noon.replace(tzinfo=None))


def test_conditions_on_other_accounts() -> None:
    demanded = account_condition(ExternalId("cash"), condition("posted", "<", 5), lock_version=3)
    assert demanded.account_external_id == "cash"
    assert demanded.lock_version == 3
    assert len(demanded.conditions) == 1


def test_request_ids_are_new_each_time_and_sort_by_time() -> None:
    ids = [new_request_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(request_id) == 20 for request_id in ids)
    # On a command line it is a word.
    assert all(re.fullmatch(r"0[0-9A-Za-z_~]+", request_id) for request_id in ids)
    assert [request_id[:8] for request_id in ids] == sorted(request_id[:8] for request_id in ids)
