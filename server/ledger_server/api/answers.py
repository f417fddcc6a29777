"""Domain values to messages: what callers are answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from google.rpc import status_pb2

from ledger_client.v1 import accounts_pb2, balances_pb2, categories_pb2, entries_pb2, ledgers_pb2, transactions_pb2
from ledger_server.api.status import brief_status_of, status_of, status_without_violations
from ledger_server.api.transaction_bytes import transaction_to_bytes
from ledger_server.domain.commands import Command
from ledger_server.domain.errors import LedgerError
from ledger_server.domain.ids import ledger_text
from ledger_server.domain.model import (
    Account,
    AccountVersion,
    BalanceLimits,
    CategoryVersion,
    Ledger,
    ListedEntry,
    Transaction,
)
from ledger_server.events.encode import balances_to, delimited, timestamp_to
from ledger_server.posting.outcomes import Acknowledgement, LeanTransaction, Written
from ledger_server.posting.repeats import Answer
from ledger_server.reading import LedgerPage, ListedAccountVersion, Page, Read


def ledger_to(ledger: Ledger, position: int, epoch: str) -> ledgers_pb2.Ledger:
    return ledgers_pb2.Ledger(
        id=ledger_text(ledger.id),
        name=ledger.name,
        description=ledger.description,
        metadata=ledger.metadata,
        position=position,
        epoch=epoch,
        created_at=timestamp_to(ledger.created_at),
        updated_at=timestamp_to(ledger.updated_at),
        closed_before=timestamp_to(ledger.closed_before) if ledger.closed_before else None,
        deleted_at=timestamp_to(ledger.deleted_at) if ledger.deleted_at else None,
    )


def account_to(version: AccountVersion, position: int, epoch: str) -> accounts_pb2.Account:
    account: Account = version.account
    return accounts_pb2.Account(
        id=account.id,
        ledger_id=ledger_text(account.ledger_id),
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
        status=accounts_pb2.AccountStatus.ValueType(account.status),
        limits=_limits(account.limits) if account.limits else None,
        deleted_at=timestamp_to(account.deleted_at) if account.deleted_at else None,
    )


def category_to(version: CategoryVersion, position: int, epoch: str) -> categories_pb2.Category:
    category = version.category
    return categories_pb2.Category(
        id=category.id,
        ledger_id=ledger_text(category.ledger_id),
        name=category.name,
        description=category.description,
        normal_balance=balances_pb2.NormalBalance.ValueType(category.normal_balance),
        currency=category.currency,
        currency_exponent=category.currency_exponent,
        external_id=category.external_id or "",
        metadata=category.metadata,
        balances=balances_to(version),
        created_at=timestamp_to(category.created_at),
        updated_at=timestamp_to(category.updated_at),
        deleted_at=timestamp_to(category.deleted_at) if category.deleted_at else None,
        position=position,
        epoch=epoch,
    )


def categories_page_to(page: Page[CategoryVersion]) -> categories_pb2.ListCategoriesResponse:
    return categories_pb2.ListCategoriesResponse(
        categories=[category_to(version, page.position, page.epoch) for version in page.items],
        next_page_token=page.next_page_token,
        position=page.position,
        epoch=page.epoch,
    )


def _limits(limits: BalanceLimits) -> accounts_pb2.BalanceLimits:
    message = accounts_pb2.BalanceLimits()
    for kind, low, high in limits:
        limit = getattr(message, kind.name.lower())
        if low is not None:
            limit.min = str(low)
        if high is not None:
            limit.max = str(high)
    return message


def transaction_to(transaction: Transaction, position: int, epoch: str) -> transactions_pb2.Transaction:
    return transactions_pb2.Transaction.FromString(transaction_to_bytes(transaction, position, epoch))


_LENGTH_DELIMITED = 2
_RESULTS = bytes([transactions_pb2.BatchWriteTransactionsResponse.RESULTS_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])
_TRANSACTION = bytes([transactions_pb2.TransactionResult.TRANSACTION_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])
# A peer takes messages of 4 MiB unless told otherwise; position and epoch stand beside the results.
_RESULTS_BYTES_MAX = 4 * 2**20 - 100
_REPLAYED = transactions_pb2.TransactionResult(replayed=True).SerializeToString()


def listed_entry_to(listed: ListedEntry, position: int | None = None, epoch: str = "") -> transactions_pb2.Entry:
    """An entry by itself; in a page, whose position and epoch are its own, without them."""
    entry = listed.entry
    account = entry.after.account
    return transactions_pb2.Entry(
        id=listed.id,
        transaction_id=listed.transaction_id,
        transaction_version=listed.transaction_version,
        account_id=account.id,
        direction=balances_pb2.Direction.ValueType(entry.direction),
        amount=str(entry.amount),
        currency=account.currency,
        currency_exponent=account.currency_exponent,
        status=transactions_pb2.TransactionStatus.ValueType(listed.status),
        account_lock_version=entry.after.lock_version,
        resulting_balances=balances_to(entry.after),
        effective_at=timestamp_to(listed.effective_at),
        discarded_at=timestamp_to(listed.discarded_at) if listed.discarded_at else None,
        metadata=entry.metadata,
        created_at=timestamp_to(listed.created_at),
        reverses_entry_id=entry.reverses_entry_id or "",
        position=position,
        epoch=epoch,
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


def make_ready(commands: Sequence[Command], answers: Sequence[Answer]) -> None:
    """Makes the messages of whole transactions, which are answers unless writing them fails."""
    for command, answer in zip(commands, answers, strict=False):
        if command.full_results and isinstance(answer, Written) and isinstance(answer.object, Transaction):
            answer.message = written_to_bytes(answer)


def written_to_bytes(answer: Written) -> bytes:
    """The transaction that was written, whole."""
    assert isinstance(answer.object, Transaction), answer
    return answer.message or transaction_to_bytes(answer.object, answer.position, answer.epoch)


def batch_to_bytes(answers: Sequence[Written | LedgerError], ledger_id: str, full: bool) -> bytes:
    """What became of a batch; its position is the highest that any of its commands wrote."""
    parts = [_result_to_bytes(answer, ledger_id, full) for answer in answers]
    if not full:
        _shorten(parts, answers)
    accepted = [answer for answer in answers if isinstance(answer, Written)]
    if accepted:
        last = max(accepted, key=lambda answer: answer.position)
        end = transactions_pb2.BatchWriteTransactionsResponse(position=last.position, epoch=last.epoch)
        parts.append(end.SerializeToString())
    return b"".join(parts)


def _shorten(results: list[bytes], answers: Sequence[Written | LedgerError]) -> None:
    """From the last one back, refusals say less, until a batch's lean results fit into a message.

    First they do without their violations, then they are brief; 10,000 results that are brief or lean always fit.
    """
    excess = sum(map(len, results)) - _RESULTS_BYTES_MAX
    for shorter in (status_without_violations, brief_status_of):
        for index in range(len(results) - 1, -1, -1):
            if excess <= 0:
                return
            if isinstance(answer := answers[index], LedgerError):
                refusal = _refusal_to_bytes(answer, shorter)
                excess -= len(results[index]) - len(refusal)
                results[index] = refusal


def _result_to_bytes(answer: Written | LedgerError, ledger_id: str, full: bool) -> bytes:
    """One of the results: what became of one command of a batch."""
    if isinstance(answer, LedgerError):
        return _refusal_to_bytes(answer, status_of)
    if full:
        data = written_to_bytes(answer)
    else:
        transaction = answer.object
        assert isinstance(transaction, Transaction | LeanTransaction), transaction
        data = lean_transaction_to(transaction, ledger_id, answer.position, answer.epoch).SerializeToString()
    return _RESULTS + delimited(_TRANSACTION + delimited(data) + (_REPLAYED if answer.replayed else b""))


def _refusal_to_bytes(error: LedgerError, status: Callable[[LedgerError], status_pb2.Status]) -> bytes:
    refusal = transactions_pb2.TransactionResult(error=status(error), replayed=error.replayed)
    return _RESULTS + delimited(refusal.SerializeToString())


def created_accounts_to(answers: Sequence[Written]) -> accounts_pb2.BatchCreateAccountsResponse:
    accounts = [
        account_to(answer.object, answer.position, answer.epoch)
        for answer in answers
        if isinstance(answer.object, AccountVersion)
    ]
    return accounts_pb2.BatchCreateAccountsResponse(
        accounts=accounts, position=answers[-1].position, epoch=answers[-1].epoch
    )


def acknowledgement_to(request_id: str, answer: Acknowledgement) -> transactions_pb2.ImportTransactionsResponse:
    return transactions_pb2.ImportTransactionsResponse(
        request_id=request_id,
        accepted_count=answer.accepted_count,
        refused_count=answer.refused_count,
        refusals=[
            transactions_pb2.ImportRefusal(command_index=index, error=status_of(error))
            for index, error in answer.refusals
        ],
        position=answer.position,
        epoch=answer.epoch,
        replayed=answer.replayed,
    )


# Pages.


def ledgers_to(page: LedgerPage) -> ledgers_pb2.ListLedgersResponse:
    return ledgers_pb2.ListLedgersResponse(
        ledgers=[ledger_to(*read) for read in page.items], next_page_token=page.next_page_token
    )


def accounts_to(read: Read[list[AccountVersion]]) -> accounts_pb2.BatchGetAccountsResponse:
    return accounts_pb2.BatchGetAccountsResponse(
        accounts=[account_to(version, read.position, read.epoch) for version in read.value],
        position=read.position,
        epoch=read.epoch,
    )


def accounts_page_to(page: Page[AccountVersion]) -> accounts_pb2.ListAccountsResponse:
    return accounts_pb2.ListAccountsResponse(
        accounts=[account_to(version, page.position, page.epoch) for version in page.items],
        next_page_token=page.next_page_token,
        position=page.position,
        epoch=page.epoch,
    )


def transactions_to(read: Read[list[Transaction]]) -> transactions_pb2.BatchGetTransactionsResponse:
    return transactions_pb2.BatchGetTransactionsResponse(
        transactions=[transaction_to(transaction, read.position, read.epoch) for transaction in read.value],
        position=read.position,
        epoch=read.epoch,
    )


def transactions_page_to(page: Page[Transaction]) -> transactions_pb2.ListTransactionsResponse:
    return transactions_pb2.ListTransactionsResponse(
        transactions=[transaction_to(transaction, page.position, page.epoch) for transaction in page.items],
        next_page_token=page.next_page_token,
        position=page.position,
        epoch=page.epoch,
    )


def account_versions_to(page: Page[ListedAccountVersion]) -> accounts_pb2.ListAccountVersionsResponse:
    return accounts_pb2.ListAccountVersionsResponse(
        versions=[
            accounts_pb2.AccountVersion(
                lock_version=listed.version.lock_version,
                position=listed.version.position,
                time=timestamp_to(listed.written_at),
                transaction_id=listed.transaction_id or "",
                balances=balances_to(listed.version),
            )
            for listed in page.items
        ],
        next_page_token=page.next_page_token,
        position=page.position,
        epoch=page.epoch,
    )


def versions_to(page: Page[Transaction]) -> transactions_pb2.ListTransactionVersionsResponse:
    """Versions, each with the position of its own command."""
    return transactions_pb2.ListTransactionVersionsResponse(
        versions=[transaction_to(version, version.position, page.epoch) for version in page.items],
        next_page_token=page.next_page_token,
        position=page.position,
        epoch=page.epoch,
    )


def entries_to(page: Page[ListedEntry]) -> entries_pb2.ListEntriesResponse:
    return entries_pb2.ListEntriesResponse(
        entries=[listed_entry_to(listed) for listed in page.items],
        next_page_token=page.next_page_token,
        position=page.position,
        epoch=page.epoch,
    )
