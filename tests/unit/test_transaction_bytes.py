"""The hot path's answer is the message that protobuf makes of the same transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ledger_client.v1.balances_pb2 import Balances, Direction
from ledger_client.v1.transactions_pb2 import ArchivedReason, Transaction, TransactionStatus
from ledger_client.v1.transactions_pb2 import Entry as EntryMessage
from ledger_server.api.transaction_bytes import transaction_to_bytes
from ledger_server.domain import model
from ledger_server.domain.ids import first_line, ledger_text, new_id
from ledger_server.domain.money import Direction as Side
from ledger_server.events.encode import balances_to_bytes, timestamp_to
from tests.unit.test_encode import versions

ids = st.builds(new_id)
texts = st.text(max_size=20)
metadata = st.dictionaries(st.text(min_size=1, max_size=5), texts, max_size=3)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
times = st.builds(lambda n: NOW + timedelta(microseconds=n), st.integers(-(10**16), 10**16)) | st.just(NOW)
entries = st.builds(
    model.Entry,
    versions(),
    st.sampled_from(Side),
    st.integers(0, 10**36 - 1),
    st.none() | metadata,
    st.none() | ids,
)
entry_sets = st.builds(
    model.EntrySet,
    st.integers(1, 2**43 - 1).map(first_line),
    st.integers(0, 2**31 - 1),
    st.sampled_from(model.TransactionStatus),
    times,
    times,
    st.lists(entries, min_size=2, max_size=4).map(tuple),
)
transactions = st.builds(
    model.Transaction,
    ids,
    st.integers(1, 2**63 - 1),
    st.integers(0, 2**31 - 1),
    st.sampled_from(model.TransactionStatus),
    st.sampled_from(model.ArchivedReason),
    texts,
    st.none() | texts,
    metadata,
    times,
    entry_sets,
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    times,
    times,
    st.none() | times,
    st.none() | times,
    st.none() | ids,
    st.none() | ids,
    st.lists(ids, max_size=2).map(tuple),
)


@given(transactions, st.integers(0, 2**63 - 1), ids | st.just(""))
def test_a_transaction_is_the_message_that_protobuf_makes(
    transaction: model.Transaction, position: int, epoch: str
) -> None:
    data = transaction_to_bytes(transaction, position, epoch)
    assert Transaction.FromString(data) == by_protobuf(transaction, position, epoch)


def by_protobuf(transaction: model.Transaction, position: int, epoch: str) -> Transaction:
    return Transaction(
        id=transaction.id,
        ledger_id=ledger_text(transaction.ledger_id),
        version=transaction.version,
        status=TransactionStatus.ValueType(transaction.status),
        description=transaction.description,
        external_id=transaction.external_id or "",
        metadata=transaction.metadata,
        effective_at=timestamp_to(transaction.effective_at),
        archived_reason=ArchivedReason.ValueType(transaction.archived_reason),
        created_at=timestamp_to(transaction.created_at),
        updated_at=timestamp_to(transaction.updated_at),
        posted_at=timestamp_to(transaction.posted_at) if transaction.posted_at else None,
        position=position,
        epoch=epoch,
        expires_at=timestamp_to(transaction.expires_at) if transaction.expires_at else None,
        reverses_transaction_id=transaction.reverses_id or "",
        reversed_by_transaction_ids=transaction.reversed_by,
        partially_posts_transaction_id=transaction.partially_posts_id or "",
        entries=[entry_by_protobuf(transaction, n) for n in range(len(transaction.entry_set.entries))],
    )


def entry_by_protobuf(transaction: model.Transaction, n: int) -> EntryMessage:
    written = transaction.entry_set
    entry = written.entries[n]
    return EntryMessage(
        id=written.entry_ids[n],
        transaction_id=transaction.id,
        transaction_version=written.version,
        account_id=entry.after.account.id,
        direction=Direction.ValueType(entry.direction),
        amount=str(entry.amount),
        currency=entry.after.account.currency,
        currency_exponent=entry.after.account.currency_exponent,
        status=TransactionStatus.ValueType(written.status),
        account_lock_version=entry.after.lock_version,
        resulting_balances=Balances.FromString(balances_to_bytes(entry.after)),
        effective_at=timestamp_to(written.effective_at),
        metadata=entry.metadata if entry.edited is None else entry.edited,
        created_at=timestamp_to(written.created_at),
        reverses_entry_id=entry.reverses_entry_id or "",
    )
