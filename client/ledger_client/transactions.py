"""Calls about transactions. The fields of each write are those of its message in commands.py."""

from collections.abc import AsyncIterator, Iterable
from typing import Unpack

from ledger_client import commands
from ledger_client.channel import Connection, Outcome, new_request_id
from ledger_client.inputs import EntryPart
from ledger_client.messages import message
from ledger_client.names import TransactionRef, name_transaction
from ledger_client.transaction_filters import (
    TransactionFilters,
    TransactionVersionFilters,
    list_transaction_versions_request,
    list_transactions_request,
)
from ledger_client.v1.transactions_pb2 import (
    BatchGetTransactionsRequest,
    BatchGetTransactionsResponse,
    BatchWriteTransactionsRequest,
    BatchWriteTransactionsResponse,
    EntryInput,
    GetTransactionRequest,
    ListTransactionsResponse,
    ListTransactionVersionsResponse,
    Transaction,
    TransactionCommand,
)


class TransactionCalls(Connection):
    """What can be asked about transactions."""

    async def create_transaction(
        self,
        ledger_id: str,
        entries: Iterable[EntryInput],
        *,
        timeout: float | None = None,
        outcome: Outcome | None = None,
        **fields: Unpack[commands.CreateFields],
    ) -> Transaction:
        """Create a transaction, pending unless ``status="posted"``; ``debit``, ``credit`` make entries.

        Raises:
            Unbalanced: debits and credits differ in a currency, or one side is missing.
            AccountNotFound: an account is not in this ledger.
            ExternalIdTaken: another non-archived transaction has the external id.
            LockVersionMismatch: an account is not at the version its entry demands.
            AccountDeleted: an account is deleted, for good.
            AccountNotOpen: an account is frozen for this direction, or closed.
            PeriodClosed: the books are closed at its effective_at.
            LimitExceeded: a standing limit of an account would be exceeded.
            ConditionFailed: a balance condition does not hold.
        """
        request = commands.create_transaction(entries, **fields)
        return await self._write(self.stub.CreateTransaction, ledger_id, request, timeout, outcome)

    async def batch_write_transactions(
        self,
        ledger_id: str,
        writes: Iterable[commands.TransactionWrite],
        *,
        atomic: bool = False,
        full_results: bool = False,
        validate_only: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
        outcome: Outcome | None = None,
    ) -> BatchWriteTransactionsResponse:
        """Apply up to 10,000 commands in one call, each seeing what its predecessors wrote.

        Args:
            ledger_id: the ledger of them all.
            writes: what the functions of ``ledger_client.commands`` make.
            atomic: all or nothing, and at most 20,000 entries written, those of posted or archived transactions
                included; else each is accepted or refused by itself, see ``written``.
            full_results: answer with whole transactions, for at most 500 commands.
            validate_only: only say what would happen.
            request_id: of an atomic batch. Otherwise each command has its own; those without one get one, so
                give them theirs if you may have to repeat the batch.
            timeout: deadline in seconds; None: the client's.
            outcome: is told whether the answer to an atomic batch, or its refusal, is that of an earlier call.

        Raises:
            LedgerError: an atomic batch was refused, with the first refused command's reason and its index in
                ``metadata["command_index"]``.
        """
        request = message(
            BatchWriteTransactionsRequest,
            ledger_id=ledger_id,
            request_id=(request_id or new_request_id()) if atomic else request_id or "",
            atomic=atomic,
            commands=[_command(write, with_request_id=not atomic) for write in writes],
            full_results=full_results,
            validate_only=validate_only,
        )
        return await self._call(self.stub.BatchWriteTransactions, request, timeout, outcome)

    async def update_transaction(
        self,
        ledger_id: str,
        transaction: TransactionRef,
        *,
        timeout: float | None = None,
        outcome: Outcome | None = None,
        **fields: Unpack[commands.UpdateFields],
    ) -> Transaction:
        """Change a transaction: all while pending, later only metadata (and a posted one's external_id).

        Raises:
            TransactionNotFound: no such transaction in this ledger.
            TransactionNotPending: it is final.
            VersionMismatch: it is not at the version demanded.
            LedgerError: and what ``create_transaction`` raises.
        """
        request = commands.update_transaction(transaction, **fields)
        return await self._write(self.stub.UpdateTransaction, ledger_id, request, timeout, outcome)

    async def post_transaction(
        self,
        ledger_id: str,
        transaction: TransactionRef,
        *,
        timeout: float | None = None,
        outcome: Outcome | None = None,
        **fields: Unpack[commands.PostFields],
    ) -> Transaction:
        """Post a pending transaction, as it stands or with final entries.

        Raises:
            ValueError: ``entries`` are given and empty.
            TransactionExpired: its expires_at has passed.
            LedgerError: and what ``update_transaction`` raises.
        """
        request = commands.post_transaction(transaction, **fields)
        return await self._write(self.stub.PostTransaction, ledger_id, request, timeout, outcome)

    async def partial_post_transaction(
        self,
        ledger_id: str,
        transaction: TransactionRef,
        entries: Iterable[EntryPart],
        *,
        timeout: float | None = None,
        outcome: Outcome | None = None,
        **fields: Unpack[commands.PartFields],
    ) -> Transaction:
        """Post a part of a pending transaction as a new posted one, which is returned; the pending one shrinks by it.

        The entries say what is posted of each: ``debit(account, amount)`` and ``credit(account, amount)``, or
        ``part_of(entry, amount)`` where the account has several in that direction. Entries left out post nothing;
        when nothing remains, the pending transaction is archived (FULLY_POSTED).

        Raises:
            EntryNotFound: the transaction has no such entry.
            AmountExceeded: an amount is more than the pending one.
            LedgerError: and what ``post_transaction`` raises.
        """
        request = commands.partial_post_transaction(transaction, entries, **fields)
        return await self._write(self.stub.PartialPostTransaction, ledger_id, request, timeout, outcome)

    async def reverse_transaction(
        self,
        ledger_id: str,
        transaction: TransactionRef,
        *,
        timeout: float | None = None,
        outcome: Outcome | None = None,
        **fields: Unpack[commands.ReverseFields],
    ) -> Transaction:
        """Reverse a posted transaction by a new one with opposite entries, which is returned; whole or in part.

        All reversals together never exceed the original; archiving a pending one frees what it took.

        Raises:
            ValueError: ``entries`` are given and empty.
            TransactionNotPosted: it is pending (archive it) or archived.
            EntryNotFound: the transaction has no such entry.
            AmountExceeded: an amount is more than what is left to reverse.
            LedgerError: and what ``create_transaction`` raises.
        """
        request = commands.reverse_transaction(transaction, **fields)
        return await self._write(self.stub.ReverseTransaction, ledger_id, request, timeout, outcome)

    async def archive_transaction(
        self,
        ledger_id: str,
        transaction: TransactionRef,
        *,
        timeout: float | None = None,
        outcome: Outcome | None = None,
        **fields: Unpack[commands.ArchiveFields],
    ) -> Transaction:
        """Archive a pending transaction: its amounts leave all balances.

        Raises:
            TransactionNotFound: no such transaction in this ledger.
            TransactionNotPending: it is final.
            VersionMismatch: it is not at the version demanded.
        """
        request = commands.archive_transaction(transaction, **fields)
        return await self._write(self.stub.ArchiveTransaction, ledger_id, request, timeout, outcome)

    async def get_transaction(
        self,
        ledger_id: str,
        transaction: TransactionRef,
        *,
        min_position: int | None = None,
        timeout: float | None = None,
    ) -> Transaction:
        """Read a transaction as it stands.

        Raises:
            TransactionNotFound: no such transaction; an external id finds the non-archived one only.
        """
        request = message(GetTransactionRequest, ledger_id=ledger_id, min_position=min_position)
        name_transaction(request, transaction)
        return await self._call(self.stub.GetTransaction, request, timeout)

    async def batch_get_transactions(
        self,
        ledger_id: str,
        transaction_ids: Iterable[str],
        *,
        min_position: int | None = None,
        timeout: float | None = None,
    ) -> BatchGetTransactionsResponse:
        """Read up to 1,000 transactions, all at one position, in the order of their ids here.

        Raises:
            TransactionNotFound: one of them is not in this ledger.
        """
        request = message(
            BatchGetTransactionsRequest, ledger_id=ledger_id, transaction_ids=transaction_ids, min_position=min_position
        )
        return await self._call(self.stub.BatchGetTransactions, request, timeout)

    async def list_transactions(
        self,
        ledger_id: str,
        *,
        page_token: str = "",
        timeout: float | None = None,
        **filters: Unpack[TransactionFilters],
    ) -> ListTransactionsResponse:
        """One page of a ledger's transactions, newest first by default; ``page_token`` is that of the page before."""
        request = list_transactions_request(ledger_id, filters, page_token)
        return await self._call(self.stub.ListTransactions, request, timeout)

    async def transactions(self, ledger_id: str, **filters: Unpack[TransactionFilters]) -> AsyncIterator[Transaction]:
        """All transactions of a ledger that pass the filters, newest first by default, page by page."""
        query = list_transactions_request(ledger_id, filters)
        async for page in self._pages(self.stub.ListTransactions, query):
            for transaction in page.transactions:
                yield transaction

    async def list_transaction_versions(
        self,
        ledger_id: str,
        transaction: TransactionRef,
        *,
        page_token: str = "",
        timeout: float | None = None,
        **filters: Unpack[TransactionVersionFilters],
    ) -> ListTransactionVersionsResponse:
        """One page of a transaction's versions, each with its entries as they were; oldest first by default.

        Raises:
            TransactionNotFound: no such transaction in this ledger.
        """
        request = list_transaction_versions_request(ledger_id, transaction, filters, page_token)
        return await self._call(self.stub.ListTransactionVersions, request, timeout)

    async def transaction_versions(
        self, ledger_id: str, transaction: TransactionRef, **filters: Unpack[TransactionVersionFilters]
    ) -> AsyncIterator[Transaction]:
        """All versions of a transaction that pass the filters, oldest first by default, page by page."""
        query = list_transaction_versions_request(ledger_id, transaction, filters)
        async for page in self._pages(self.stub.ListTransactionVersions, query):
            for version in page.versions:
                yield version


def _command(write: commands.TransactionWrite, *, with_request_id: bool) -> TransactionCommand:
    command = TransactionCommand()
    copy = commands.copy_into(command, write)
    if with_request_id and not copy.request_id:
        copy.request_id = new_request_id()
    return command
