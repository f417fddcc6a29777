"""The RPCs: message in, one call, message out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ledger_client.v1 import accounts_pb2, entries_pb2, ledgers_pb2, streams_pb2, transactions_pb2

from ledger_server.api import answers, commands, queries
from ledger_server.api.calls import Context, actor_of, mark_replayed
from ledger_server.domain.commands import AtomicBatch, Command
from ledger_server.domain.errors import LedgerError
from ledger_server.domain.model import AccountVersion, Ledger, Transaction
from ledger_server.events.hub import Hub
from ledger_server.posting.batch import Answer
from ledger_server.posting.lanes import Lanes
from ledger_server.posting.outcomes import Written
from ledger_server.reading import Reader


class LedgerService:
    """ledger.v1.LedgerService: writes go to the lanes, reads to the reader, streams to the hub."""

    def __init__(self, lanes: Lanes, reader: Reader, hub: Hub) -> None:
        self._lanes = lanes
        self._reader = reader
        self._hub = hub

    # Ledgers.

    async def CreateLedger(self, request: ledgers_pb2.CreateLedgerRequest, context: Context) -> ledgers_pb2.Ledger:
        return _ledger(await self._write(commands.create_ledger(request), context))

    async def GetLedger(self, request: ledgers_pb2.GetLedgerRequest, context: Context) -> ledgers_pb2.Ledger:
        return answers.ledger_to(*await self._reader.get_ledger(*queries.get_ledger(request, context)))

    async def ListLedgers(
        self, request: ledgers_pb2.ListLedgersRequest, context: Context
    ) -> ledgers_pb2.ListLedgersResponse:
        return queries.ledgers_page(await self._reader.list_ledgers(queries.list_ledgers(request)))

    async def UpdateLedger(self, request: ledgers_pb2.UpdateLedgerRequest, context: Context) -> ledgers_pb2.Ledger:
        return _ledger(await self._write(commands.update_ledger(request), context))

    # Accounts.

    async def CreateAccount(
        self, request: accounts_pb2.CreateAccountRequest, context: Context
    ) -> accounts_pb2.Account:
        return _account(await self._write(commands.create_account(request), context))

    async def UpdateAccount(
        self, request: accounts_pb2.UpdateAccountRequest, context: Context
    ) -> accounts_pb2.Account:
        return _account(await self._write(commands.update_account(request), context))

    # Transactions.

    async def CreateTransaction(
        self, request: transactions_pb2.CreateTransactionRequest, context: Context
    ) -> transactions_pb2.Transaction:
        return _transaction(await self._write(commands.create_transaction(request), context, request.validate_only))

    async def UpdateTransaction(
        self, request: transactions_pb2.UpdateTransactionRequest, context: Context
    ) -> transactions_pb2.Transaction:
        return _transaction(await self._write(commands.update_transaction(request), context, request.validate_only))

    async def PostTransaction(
        self, request: transactions_pb2.PostTransactionRequest, context: Context
    ) -> transactions_pb2.Transaction:
        return _transaction(await self._write(commands.post_transaction(request), context, request.validate_only))

    async def ArchiveTransaction(
        self, request: transactions_pb2.ArchiveTransactionRequest, context: Context
    ) -> transactions_pb2.Transaction:
        return _transaction(await self._write(commands.archive_transaction(request), context, request.validate_only))

    async def BatchWriteTransactions(
        self, request: transactions_pb2.BatchWriteTransactionsRequest, context: Context
    ) -> transactions_pb2.BatchWriteTransactionsResponse:
        results = await self._write_batch(commands.batch(request), context, request.validate_only)
        return answers.batch_to(results, request.ledger_id.lower(), request.full_results)
