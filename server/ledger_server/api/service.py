"""The RPCs: message in, one call, message out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ledger_client.v1 import (
    accounts_pb2,
    categories_pb2,
    entries_pb2,
    ledgers_pb2,
    monitors_pb2,
    reports_pb2,
    streams_pb2,
    transactions_pb2,
)
from ledger_server.api import answers, batches, category_commands, commands, entry_queries, monitors, queries, reports
from ledger_server.api.calls import Context, actor_of, mark_replayed
from ledger_server.domain.commands import AtomicBatch, Command, ImportChunk
from ledger_server.domain.errors import LedgerError
from ledger_server.domain.ids import parse_ledger_id
from ledger_server.domain.model import AccountVersion, CategoryVersion, Ledger, ListedEntry
from ledger_server.events.hub import Hub
from ledger_server.posting.lanes import Lanes
from ledger_server.posting.outcomes import Acknowledgement, Written
from ledger_server.posting.repeats import Answer
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
        asked = queries.get_ledger(request)
        return answers.ledger_to(*await self._reader.get_ledger(*asked, context.time_remaining()))

    async def ListLedgers(
        self, request: ledgers_pb2.ListLedgersRequest, context: Context
    ) -> ledgers_pb2.ListLedgersResponse:
        query = queries.list_ledgers(request)
        return answers.ledgers_to(await self._reader.list_ledgers(query, context.time_remaining()))

    async def UpdateLedger(self, request: ledgers_pb2.UpdateLedgerRequest, context: Context) -> ledgers_pb2.Ledger:
        return _ledger(await self._write(commands.update_ledger(request), context))

    async def DeleteLedger(self, request: ledgers_pb2.DeleteLedgerRequest, context: Context) -> ledgers_pb2.Ledger:
        return _ledger(await self._write(commands.delete_ledger(request), context))

    # Accounts.

    async def CreateAccount(self, request: accounts_pb2.CreateAccountRequest, context: Context) -> accounts_pb2.Account:
        return _account(await self._write(commands.create_account(request), context))

    async def GetAccount(self, request: accounts_pb2.GetAccountRequest, context: Context) -> accounts_pb2.Account:
        asked = queries.get_account(request)
        return answers.account_to(*await self._reader.get_account(*asked, context.time_remaining()))

    async def BatchGetAccounts(
        self, request: accounts_pb2.BatchGetAccountsRequest, context: Context
    ) -> accounts_pb2.BatchGetAccountsResponse:
        asked = queries.batch_get_accounts(request)
        return answers.accounts_to(await self._reader.get_accounts(*asked, context.time_remaining()))

    async def ListAccounts(
        self, request: accounts_pb2.ListAccountsRequest, context: Context
    ) -> accounts_pb2.ListAccountsResponse:
        query = queries.list_accounts(request)
        return answers.accounts_page_to(await self._reader.list_accounts(query, context.time_remaining()))

    async def ListAccountVersions(
        self, request: accounts_pb2.ListAccountVersionsRequest, context: Context
    ) -> accounts_pb2.ListAccountVersionsResponse:
        query = queries.list_account_versions(request)
        return answers.account_versions_to(await self._reader.list_account_versions(query, context.time_remaining()))

    async def BatchCreateAccounts(
        self, request: accounts_pb2.BatchCreateAccountsRequest, context: Context
    ) -> accounts_pb2.BatchCreateAccountsResponse:
        return answers.created_accounts_to(await self._write_atomic(batches.batch_create_accounts(request), context))

    async def UpdateAccount(self, request: accounts_pb2.UpdateAccountRequest, context: Context) -> accounts_pb2.Account:
        return _account(await self._write(commands.update_account(request), context))

    async def DeleteAccount(self, request: accounts_pb2.DeleteAccountRequest, context: Context) -> accounts_pb2.Account:
        return _account(await self._write(commands.delete_account(request), context))

    # Transactions.

    async def CreateTransaction(self, request: transactions_pb2.CreateTransactionRequest, context: Context) -> bytes:
        return _transaction(await self._write(commands.transaction_command(request), context, request.validate_only))

    async def BatchWriteTransactions(
        self, request: transactions_pb2.BatchWriteTransactionsRequest, context: Context
    ) -> bytes:
        if not request.validate_only and (ledger_id := parse_ledger_id(request.ledger_id)) is not None:
            self._lanes.admit(ledger_id)
        results = await self._write_batch(batches.batch(request), context, request.validate_only)
        return answers.batch_to_bytes(results, request.ledger_id.lower(), request.full_results)

    async def UpdateTransaction(self, request: transactions_pb2.UpdateTransactionRequest, context: Context) -> bytes:
        return _transaction(await self._write(commands.transaction_command(request), context, request.validate_only))

    async def PostTransaction(self, request: transactions_pb2.PostTransactionRequest, context: Context) -> bytes:
        return _transaction(await self._write(commands.transaction_command(request), context, request.validate_only))

    async def ArchiveTransaction(self, request: transactions_pb2.ArchiveTransactionRequest, context: Context) -> bytes:
        return _transaction(await self._write(commands.transaction_command(request), context, request.validate_only))

    async def PartialPostTransaction(
        self, request: transactions_pb2.PartialPostTransactionRequest, context: Context
    ) -> bytes:
        return _transaction(await self._write(commands.transaction_command(request), context, request.validate_only))

    async def ReverseTransaction(self, request: transactions_pb2.ReverseTransactionRequest, context: Context) -> bytes:
        return _transaction(await self._write(commands.transaction_command(request), context, request.validate_only))

    async def ImportTransactions(
        self, requests: AsyncIterator[transactions_pb2.ImportTransactionsRequest], context: Context
    ) -> None:
        ledger_id: int | None = None
        async for request in requests:
            chunk = batches.import_chunk(request, ledger_id)
            ledger_id = chunk.ledger_id
            acknowledgement = await self._import(chunk, context)
            await context.write(answers.acknowledgement_to(request.request_id, acknowledgement).SerializeToString())

    async def GetTransaction(
        self, request: transactions_pb2.GetTransactionRequest, context: Context
    ) -> transactions_pb2.Transaction:
        asked = queries.get_transaction(request)
        return answers.transaction_to(*await self._reader.get_transaction(*asked, context.time_remaining()))

    async def BatchGetTransactions(
        self, request: transactions_pb2.BatchGetTransactionsRequest, context: Context
    ) -> transactions_pb2.BatchGetTransactionsResponse:
        asked = queries.batch_get_transactions(request)
        return answers.transactions_to(await self._reader.get_transactions(*asked, context.time_remaining()))

    async def ListTransactions(
        self, request: transactions_pb2.ListTransactionsRequest, context: Context
    ) -> transactions_pb2.ListTransactionsResponse:
        query = queries.list_transactions(request)
        return answers.transactions_page_to(await self._reader.list_transactions(query, context.time_remaining()))

    async def ListTransactionVersions(
        self, request: transactions_pb2.ListTransactionVersionsRequest, context: Context
    ) -> transactions_pb2.ListTransactionVersionsResponse:
        query = queries.list_transaction_versions(request)
        return answers.versions_to(await self._reader.list_transaction_versions(query, context.time_remaining()))

    # Entries.

    async def GetEntry(self, request: entries_pb2.GetEntryRequest, context: Context) -> transactions_pb2.Entry:
        asked = entry_queries.get_entry(request)
        return answers.listed_entry_to(*await self._reader.get_entry(*asked, context.time_remaining()))

    async def UpdateEntry(self, request: entries_pb2.UpdateEntryRequest, context: Context) -> transactions_pb2.Entry:
        return _entry(await self._write(commands.update_entry(request), context))

    async def ListEntries(
        self, request: entries_pb2.ListEntriesRequest, context: Context
    ) -> entries_pb2.ListEntriesResponse:
        query = entry_queries.list_entries(request)
        return answers.entries_to(await self._reader.list_entries(query, context.time_remaining()))

    # Balance monitors.

    async def CreateBalanceMonitor(
        self, request: monitors_pb2.CreateBalanceMonitorRequest, context: Context
    ) -> monitors_pb2.BalanceMonitor:
        return monitors.written_to(await self._write(monitors.create_monitor(request), context))

    async def GetBalanceMonitor(
        self, request: monitors_pb2.GetBalanceMonitorRequest, context: Context
    ) -> monitors_pb2.BalanceMonitor:
        asked = monitors.get_monitor(request)
        return monitors.read_to(*await self._reader.get_monitor(*asked, context.time_remaining()))

    async def ListBalanceMonitors(
        self, request: monitors_pb2.ListBalanceMonitorsRequest, context: Context
    ) -> monitors_pb2.ListBalanceMonitorsResponse:
        query = monitors.list_monitors(request)
        return monitors.page_to(await self._reader.list_monitors(query, context.time_remaining()))

    async def UpdateBalanceMonitor(
        self, request: monitors_pb2.UpdateBalanceMonitorRequest, context: Context
    ) -> monitors_pb2.BalanceMonitor:
        return monitors.written_to(await self._write(monitors.update_monitor(request), context))

    async def DeleteBalanceMonitor(
        self, request: monitors_pb2.DeleteBalanceMonitorRequest, context: Context
    ) -> monitors_pb2.BalanceMonitor:
        return monitors.written_to(await self._write(monitors.delete_monitor(request), context))

    # Categories.

    async def CreateCategory(
        self, request: categories_pb2.CreateCategoryRequest, context: Context
    ) -> categories_pb2.Category:
        return _category(await self._write(category_commands.create_category(request), context))

    async def GetCategory(
        self, request: categories_pb2.GetCategoryRequest, context: Context
    ) -> categories_pb2.Category:
        asked = queries.get_category(request)
        return answers.category_to(*await self._reader.get_category(*asked, context.time_remaining()))

    async def ListCategories(
        self, request: categories_pb2.ListCategoriesRequest, context: Context
    ) -> categories_pb2.ListCategoriesResponse:
        query = queries.list_categories(request)
        return answers.categories_page_to(await self._reader.list_categories(query, context.time_remaining()))

    async def UpdateCategory(
        self, request: categories_pb2.UpdateCategoryRequest, context: Context
    ) -> categories_pb2.Category:
        return _category(await self._write(category_commands.update_category(request), context))

    async def DeleteCategory(
        self, request: categories_pb2.DeleteCategoryRequest, context: Context
    ) -> categories_pb2.Category:
        return _category(await self._write(category_commands.delete_category(request), context))

    async def AddCategoryMember(
        self, request: categories_pb2.AddCategoryMemberRequest, context: Context
    ) -> categories_pb2.Category:
        return _category(await self._write(category_commands.add_category_member(request), context))

    async def RemoveCategoryMember(
        self, request: categories_pb2.RemoveCategoryMemberRequest, context: Context
    ) -> categories_pb2.Category:
        return _category(await self._write(category_commands.remove_category_member(request), context))

    # Reports.

    async def GetTrialBalance(
        self, request: reports_pb2.GetTrialBalanceRequest, context: Context
    ) -> reports_pb2.GetTrialBalanceResponse:
        query = reports.get_trial_balance(request)
        return reports.trial_balance_to(await self._reader.get_trial_balance(query, context.time_remaining()))

    async def ExplainBalance(
        self, request: reports_pb2.ExplainBalanceRequest, context: Context
    ) -> reports_pb2.ExplainBalanceResponse:
        query = reports.explain_balance(request)
        return reports.explanation_to(await self._reader.explain_balance(query, context.time_remaining()))

    # Streams.

    async def WatchBalances(self, request: streams_pb2.WatchBalancesRequest, context: Context) -> None:
        await self._hub.deliver(queries.watch_balances(request), context.write)

    async def WatchEvents(self, request: streams_pb2.WatchEventsRequest, context: Context) -> None:
        await self._hub.deliver(queries.watch_events(request), context.write)

    # One way in for every write.

    async def _write(self, command: Command, context: Context, validate_only: bool = False) -> Written:
        answer = await self._submit_one(command, context, validate_only)
        assert isinstance(answer, Written), answer
        if answer.replayed:
            mark_replayed(context)
        return answer

    async def _write_atomic(self, command: AtomicBatch, context: Context, validate_only: bool = False) -> list[Written]:
        """An atomic batch is refused as a whole."""
        answers = await self._submit_one(command, context, validate_only)
        assert isinstance(answers, list), answers
        if answers and answers[0].replayed:
            mark_replayed(context)
        return answers

    async def _write_batch(
        self, batch: AtomicBatch | list[Command | LedgerError], context: Context, validate_only: bool
    ) -> Sequence[Written | LedgerError]:
        """The answers to the commands in order, with the malformed ones' errors in their places."""
        if isinstance(batch, AtomicBatch):
            return await self._write_atomic(batch, context, validate_only)
        well_formed = [item for item in batch if not isinstance(item, LedgerError)]
        answered = iter(await self._submit(well_formed, context, validate_only) if well_formed else ())
        results: list[Written | LedgerError] = []
        for item in batch:
            answer = item if isinstance(item, LedgerError) else next(answered)
            assert isinstance(answer, Written | LedgerError), answer
            results.append(answer)
        return results

    async def _import(self, chunk: ImportChunk, context: Context) -> Acknowledgement:
        answer = await self._submit_one(chunk, context, validate_only=False)
        assert isinstance(answer, Acknowledgement), answer
        return answer

    async def _submit_one(self, command: Command, context: Context, validate_only: bool) -> Answer:
        (answer,) = await self._submit([command], context, validate_only)
        if isinstance(answer, LedgerError):
            raise answer
        return answer

    async def _submit(self, commands: Sequence[Command], context: Context, validate_only: bool) -> list[Answer]:
        actor = actor_of(context)
        for command in commands:
            command.set_actor(actor)
        return await (self._lanes.validate if validate_only else self._lanes.submit)(commands)


def _ledger(answer: Written) -> ledgers_pb2.Ledger:
    assert isinstance(answer.object, Ledger)
    return answers.ledger_to(answer.object, answer.position, answer.epoch)


def _account(answer: Written) -> accounts_pb2.Account:
    assert isinstance(answer.object, AccountVersion)
    return answers.account_to(answer.object, answer.position, answer.epoch)


def _category(answer: Written) -> categories_pb2.Category:
    assert isinstance(answer.object, CategoryVersion)
    return answers.category_to(answer.object, answer.position, answer.epoch)


def _entry(answer: Written) -> transactions_pb2.Entry:
    assert isinstance(answer.object, ListedEntry)
    return answers.listed_entry_to(answer.object, answer.position, answer.epoch)


def _transaction(answer: Written) -> bytes:
    return answers.written_to_bytes(answer)
