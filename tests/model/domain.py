"""The service without its I/O: the edge's parsing and the domain's rules on a book in memory, behind a client's calls.

What is left out is what needs tables: stored outcomes, positions shared with other writers, and lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger_client import LedgerClient, error_from_status
from ledger_client.v1 import transactions_pb2
from ledger_client.v1.accounts_pb2 import BatchGetAccountsRequest, BatchGetAccountsResponse
from ledger_client.v1.transactions_pb2 import (
    BatchWriteTransactionsRequest,
    BatchWriteTransactionsResponse,
    ListTransactionVersionsRequest,
    ListTransactionVersionsResponse,
)
from ledger_server.api import answers, batches, commands, monitors
from ledger_server.api.status import status_of
from ledger_server.domain.book import Book, Effect
from ledger_server.domain.commands import Batch, Command
from ledger_server.domain.deciding import decide
from ledger_server.domain.errors import LedgerError
from ledger_server.domain.ids import ledger_text, new_id, new_ledger_id
from ledger_server.domain.model import Ledger, Transaction
from ledger_server.domain.refusals import refuse_unequal_sides

_START = datetime(2026, 1, 1, tzinfo=UTC)


_PARSERS: Mapping[str, Callable[[Any], Command]] = {
    "UpdateLedger": commands.update_ledger,
    "CreateAccount": commands.create_account,
    "UpdateAccount": commands.update_account,
    "CreateBalanceMonitor": monitors.create_monitor,
    "UpdateBalanceMonitor": monitors.update_monitor,
    "DeleteBalanceMonitor": monitors.delete_monitor,
}


# Of a book.
_MAPPINGS = (
    "accounts",
    "account_ids",
    "currencies",
    "transactions",
    "transaction_ids",
    "reversed",
    "watched",
    "monitored",
)


class _Names:
    """In the stub's place: a method is its name."""

    def __getattr__(self, name: str) -> str:
        return name


class DomainClient(LedgerClient):
    """A client whose calls are answered here and now. One ledger."""

    def __init__(self) -> None:
        # Without a channel.
        self.stub = _Names()  # type: ignore[assignment]
        self.timeout = 0
        self._batches = None
        self.ledger_id = new_ledger_id(_START, 1)
        ledger = Ledger(self.ledger_id, "Test", "", {}, _START, _START)
        self.book = Book(ledger, new_id(), 0, _START, b"")
        self._history: dict[str, list[Transaction]] = {}

    async def _call(self, method: Any, request: Any, *_: object) -> Any:
        try:
            return self._answer(method, request)
        except LedgerError as error:
            raise error_from_status(status_of(error)) from error

    def _answer(self, method: str, request: Any) -> Any:
        match request:
            case BatchGetAccountsRequest():
                versions = [self.book.accounts[account_id] for account_id in request.account_ids]
                accounts = [answers.account_to(version, self.book.position, "") for version in versions]
                return BatchGetAccountsResponse(accounts=accounts, position=self.book.position)
            case ListTransactionVersionsRequest():
                return self._versions(request)
        with self._on_trial() if getattr(request, "validate_only", False) else nullcontext():
            if isinstance(request, BatchWriteTransactionsRequest):
                return self._batch(request)
            (effect,) = self._apply([_PARSERS.get(method, commands.transaction_command)(request)])
        if effect.transaction is not None:
            return answers.transaction_to(effect.transaction, effect.position, "")
        if effect.account is not None:
            return answers.account_to(effect.account, effect.position, "")
        if effect.monitor is not None:
            return monitors.read_to(effect.monitor, effect.position, "")
        assert effect.ledger is not None
        return answers.ledger_to(effect.ledger, effect.position, "")

    def _versions(self, request: ListTransactionVersionsRequest) -> ListTransactionVersionsResponse:
        transaction_id = request.transaction_id or self.book.transaction_ids.get(request.transaction_external_id, "")
        versions = [
            answers.transaction_to(version, version.position, "") for version in self._history.get(transaction_id, [])
        ]
        return ListTransactionVersionsResponse(versions=versions)

    def _batch(self, request: BatchWriteTransactionsRequest) -> BatchWriteTransactionsResponse:
        response = BatchWriteTransactionsResponse()
        batch = batches.batch(request)
        for command in batch if isinstance(batch, list) else [batch]:
            try:
                effects = self._apply(command.commands if isinstance(command, Batch) else [command], request.atomic)
            except LedgerError as error:
                if request.atomic:
                    raise
                response.results.add(error=status_of(error))
                continue
            for effect in effects:
                assert effect.transaction is not None
                response.results.add(transaction=_shown(effect.transaction, effect.position, request.full_results))
        return response

    def _apply(self, items: Sequence[Command | LedgerError], is_atomic: bool = False) -> list[Effect]:
        """All of them or none."""
        effects: list[Effect] = []
        with self.book.all_or_nothing():
            for index, command in enumerate(items):
                if isinstance(command, LedgerError):
                    raise command
                try:
                    refuse_unequal_sides(command)
                    effect = decide(self.book, command, _START + timedelta(seconds=self.book.position))
                except LedgerError as error:
                    raise error.with_metadata(command_index=str(index)) if is_atomic else error from None
                self.book.apply(effect)
                effects.append(effect)
        for effect in effects:
            for transaction, _, _ in effect.transactions:
                self._history.setdefault(transaction.id, []).append(transaction)
        return effects

    @contextmanager
    def _on_trial(self) -> Iterator[None]:
        """Everything is as before afterwards."""
        kept, history = self.book, {key: list(versions) for key, versions in self._history.items()}
        self.book = copy(kept)
        for name in _MAPPINGS:
            setattr(self.book, name, dict(getattr(kept, name)))
        try:
            yield
        finally:
            self.book, self._history = kept, history


def _shown(transaction: Transaction, position: int, full: bool) -> transactions_pb2.Transaction:
    if full:
        return answers.transaction_to(transaction, position, "")
    return answers.lean_transaction_to(transaction, ledger_text(transaction.ledger_id), position, "")
