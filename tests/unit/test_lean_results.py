"""Lean results of a batch: they fit what peers take by default, whatever was refused."""

from __future__ import annotations

import pytest

from ledger_client.v1.transactions_pb2 import BatchWriteTransactionsResponse
from ledger_server.api.answers import batch_to_bytes
from ledger_server.api.batches import BATCH_COMMANDS_MAX
from ledger_server.domain.errors import ERRORS, LedgerError, Violation
from ledger_server.domain.model import TransactionStatus
from ledger_server.posting.outcomes import LeanTransaction, Written
from tests.service.raw import refusal_from

ID = "01a2043a-b227-7c55-a8b1-bd91bf8115b0"
TAKEN_BYTES = 4 * 2**20
LONG = "\N{GRINNING FACE}" * 300


def refusals(count: int, message: str, *, value: str = "", violations: int = 0) -> list[LedgerError]:
    longest = max(ERRORS, key=len)
    violation = Violation(f"accounts/{ID}", "is wrong", "RULE", account_id=ID)
    return [
        ERRORS[longest](message, metadata={"id": value}, violations=[violation] * violations, retry_seconds=1.5)
        for _ in range(count)
    ]


def test_the_wordiest_refusals_fit() -> None:
    data = batch_to_bytes(refusals(BATCH_COMMANDS_MAX, LONG, value=LONG, violations=1), ID, full=False)
    assert len(data) <= TAKEN_BYTES
    results = BatchWriteTransactionsResponse.FromString(data).results
    said = [refusal_from(result.error) for result in results]
    assert len(said) == BATCH_COMMANDS_MAX
    assert said[-1].message == LONG[:50]
    assert said[-1].metadata == {}
    assert all(each.reason and each.retries_after for each in said)


def test_violations_are_left_out_before_anything_else_and_of_the_last_ones_first() -> None:
    data = batch_to_bytes(refusals(3_000, "why", value=ID, violations=10), ID, full=False)
    said = [refusal_from(result.error) for result in BatchWriteTransactionsResponse.FromString(data).results]
    has_all = [len(each.rules) == 10 for each in said]
    assert has_all == sorted(has_all, reverse=True)
    assert 0 < sum(has_all) < len(said)
    assert {(each.message, each.metadata["id"]) for each in said} == {("why", ID)}


@pytest.mark.parametrize("count", [0, 5_000])
def test_what_was_accepted_is_told_whatever_is_refused_beside_it(count: int) -> None:
    transaction = LeanTransaction(ID, 2**62, TransactionStatus.POSTED, 2**62)
    accepted = [Written(transaction, 2**62, ID, replayed=True)] * (BATCH_COMMANDS_MAX - count)
    data = batch_to_bytes([*refusals(count, LONG), *accepted], ID, full=False)
    assert len(data) <= TAKEN_BYTES
    response = BatchWriteTransactionsResponse.FromString(data)
    assert response.position == 2**62
    assert [each.transaction.id for each in response.results[count:]] == [ID] * len(accepted)
