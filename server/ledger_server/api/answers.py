"""Domain values to messages: what callers are answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ledger_client.v1 import accounts_pb2, balances_pb2, ledgers_pb2, transactions_pb2

from ledger_server.api.status import status_of
from ledger_server.domain.errors import LedgerError
from ledger_server.domain.model import Account, AccountVersion, Entry, EntrySet, Ledger, Transaction
from ledger_server.events.encode import balances_to, timestamp_to
from ledger_server.posting.outcomes import LeanTransaction, Written


def ledger_to(ledger: Ledger, position: int, epoch: str) -> ledgers_pb2.Ledger:
    return ledgers_pb2.Ledger(
        id=ledger.id,
        name=ledger.name,
        description=ledger.description,
        metadata=ledger.metadata,
        position=position,
        epoch=epoch,
        created_at=timestamp_to(ledger.created_at),
        updated_at=timestamp_to(ledger.updated_at),
    )


def account_to(version: AccountVersion, position: int, epoch: str) -> accounts_pb2.Account:
    account: Account = version.account
    return accounts_pb2.Account(
        id=account.id,
        ledger_id=account.ledger_id,
        name=account.name,
        description=account.description,
        normal_balance=balances_pb2.NormalBalance.ValueType(account.normal_balance),
        currency=account.currency,
        currency_exponent=account.currency_exponent,
        external_id=account.external_id or "",
        metadata=account.metadata,
        lock_version=version.lock_version,
        balances=balances_to(version),
        created_at=timestamp_to(account.created_at),
        updated_at=timestamp_to(account.updated_at),
        position=position,
        epoch=epoch,
    )


def transaction_to(transaction: Transaction, position: int, epoch: str) -> transactions_pb2.Transaction:
    return transactions_pb2.Transaction(
        id=transaction.id,
        ledger_id=transaction.ledger_id,
        version=transaction.version,
        status=transactions_pb2.TransactionStatus.ValueType(transaction.status),
        description=transaction.description,
        external_id=transaction.external_id or "",
        metadata=transaction.metadata,
        effective_at=timestamp_to(transaction.effective_at),
        entries=[
            entry_to(transaction.id, transaction.entry_set, n, entry)
            for n, entry in enumerate(transaction.entry_set.entries)
        ],
        archived_reason=transactions_pb2.ArchivedReason.ValueType(transaction.archived_reason),
        created_at=timestamp_to(transaction.created_at),
        updated_at=timestamp_to(transaction.updated_at),
        posted_at=transaction.posted_at and timestamp_to(transaction.posted_at),
        position=position,
        epoch=epoch,
    )


def entry_to(
    transaction_id: str, written: EntrySet, n: int, entry: Entry, discarded_at: datetime | None = None
) -> transactions_pb2.Entry:
    """An entry, the n-th of those its version wrote."""
    account = entry.after.account
    return transactions_pb2.Entry(
        id=written.entry_id(n),
        transaction_id=transaction_id,
        transaction_version=written.version,
        account_id=account.id,
        direction=balances_pb2.Direction.ValueType(entry.direction),
        amount=str(entry.amount),
        currency=account.currency,
        currency_exponent=account.currency_exponent,
        status=transactions_pb2.TransactionStatus.ValueType(written.status),
        account_lock_version=entry.after.lock_version,
        resulting_balances=balances_to(entry.after),
        effective_at=timestamp_to(written.effective_at),
        discarded_at=discarded_at and timestamp_to(discarded_at),
        metadata=entry.metadata,
        created_at=timestamp_to(written.created_at),
    )


def lean_transaction_to(
    transaction: Transaction | LeanTransaction, ledger_id: str, position: int, epoch: str
) -> transactions_pb2.Transaction:
    """A transaction as a batch answers it unless full results were asked for."""
    return transactions_pb2.Transaction(
        id=transaction.id,
        ledger_id=ledger_id,
        version=transaction.version,
        status=transactions_pb2.TransactionStatus.ValueType(transaction.status),
        position=position,
        epoch=epoch,
    )


def result_to(
    answer: Written | LedgerError, ledger_id: str, full: bool
) -> transactions_pb2.TransactionResult:
    """What became of one command of a batch."""
    if isinstance(answer, LedgerError):
        return transactions_pb2.TransactionResult(error=status_of(answer))
    transaction = answer.object
    if full and isinstance(transaction, Transaction):
        message = transaction_to(transaction, answer.position, answer.epoch)
    else:
        assert isinstance(transaction, Transaction | LeanTransaction), transaction
        message = lean_transaction_to(transaction, ledger_id, answer.position, answer.epoch)
    return transactions_pb2.TransactionResult(transaction=message, replayed=answer.replayed)


def batch_to(
    answers: Sequence[Written | LedgerError], ledger_id: str, full: bool
) -> transactions_pb2.BatchWriteTransactionsResponse:
    """What became of a batch; its position is the highest that any of its commands wrote."""
    response = transactions_pb2.BatchWriteTransactionsResponse(
        results=[result_to(answer, ledger_id, full) for answer in answers]
    )
    accepted = [answer for answer in answers if isinstance(answer, Written)]
    if accepted:
        last = max(accepted, key=lambda answer: answer.position)
        response.position, response.epoch = last.position, last.epoch
    return response


