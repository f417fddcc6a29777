"""Batches to commands: many in one request, each with an answer of its own or all with one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ledger_client.v1 import accounts_pb2, transactions_pb2
from ledger_server.api import fields
from ledger_server.api.commands import create_account, transaction_command, well_formed
from ledger_server.api.fields import Problems
from ledger_server.domain.commands import (
    BATCH_ENTRIES_MAX,
    AtomicBatch,
    BatchCreateAccounts,
    Command,
    ImportChunk,
)
from ledger_server.domain.errors import InvalidField, LedgerError, Violation
from ledger_server.domain.refusals import no_such_ledger

BATCH_COMMANDS_MAX = 10_000
FULL_RESULTS_MAX = 500


def batch_create_accounts(request: accounts_pb2.BatchCreateAccountsRequest) -> BatchCreateAccounts:
    problems = Problems()
    ledger_id = fields.ledger_id(problems, request.ledger_id)
    fields.request_id(problems, request.request_id)
    if not 1 <= len(request.accounts) <= BATCH_COMMANDS_MAX:
        problems.add("accounts", f"must be 1 to {BATCH_COMMANDS_MAX}")
    problems.raise_if_invalid()
    commands = _all_well_formed([_item(create_account, item, ledger_id) for item in request.accounts])
    problems.raise_if_any()
    return BatchCreateAccounts(ledger_id=ledger_id, request_id=request.request_id, commands=commands)


def batch(request: transactions_pb2.BatchWriteTransactionsRequest) -> AtomicBatch | list[Command | LedgerError]:
    """An atomic batch, or else a command for each item, in order, or why the item is refused here.

    What does not balance in an atomic batch is refused in its turn, behind what is refused of the items before it.
    """
    problems = Problems()
    ledger_id = fields.ledger_id(problems, request.ledger_id)
    if request.atomic:
        fields.request_id(problems, request.request_id)
    elif request.request_id:
        problems.add("request_id", "must be empty unless the batch is atomic: each command carries its own")
    if request.full_results and len(request.commands) > FULL_RESULTS_MAX:
        problems.add("full_results", f"is possible for at most {FULL_RESULTS_MAX} commands")
    items = _items(problems, request.commands)
    problems.raise_if_invalid()
    if request.atomic:
        together = _all_well_formed([_item(well_formed, item, ledger_id) for item in items])
        problems.raise_if_any()
        return AtomicBatch(
            ledger_id=ledger_id,
            request_id=request.request_id,
            commands=together,
            full_results=request.full_results,
        )
    commands = [_item(transaction_command, item, ledger_id, has_request_id=True) for item in items]
    for n, command in enumerate(commands):
        if isinstance(command, LedgerError):
            continue
        if problems.unknown_ledger:
            commands[n] = no_such_ledger(problems.unknown_ledger)
        else:
            command.full_results = request.full_results
    return commands


def import_chunk(
    request: transactions_pb2.ImportTransactionsRequest, ledger_id_before: int | None = None
) -> ImportChunk:
    """The chunk, if it is of the ledger of the chunk before it; what does not balance is refused item by item."""
    problems = Problems()
    ledger_id = fields.ledger_id(problems, request.ledger_id)
    if ledger_id_before not in (None, ledger_id):
        problems.add("ledger_id", "must be the same in every chunk")
    fields.request_id(problems, request.request_id)
    items = _items(problems, request.commands)
    problems.raise_if_invalid()
    commands = _all_well_formed([_item(well_formed, item, ledger_id) for item in items])
    problems.raise_if_any()
    return ImportChunk(ledger_id=ledger_id, request_id=request.request_id, commands=commands)


def _items(problems: Problems, commands: Sequence[transactions_pb2.TransactionCommand]) -> list[Any]:
    """The requests in a batch; None for an empty command."""
    if not 1 <= len(commands) <= BATCH_COMMANDS_MAX:
        problems.add("commands", f"must be 1 to {BATCH_COMMANDS_MAX}")
        return []
    items = [getattr(command, command.WhichOneof("command") or "", None) for command in commands]
    if sum(len(getattr(item, "entries", ())) for item in items) > BATCH_ENTRIES_MAX:
        problems.add("commands", f"must have at most {BATCH_ENTRIES_MAX} entries together")
    return items


def _item(
    convert: Callable[[Any, int], Command], item: Any, ledger_id: int, *, has_request_id: bool = False
) -> Command | LedgerError:
    """The command of an item, or why it is malformed. Its request_id is its own, or the batch has one for all."""
    try:
        if item is None:
            raise InvalidField.of([Violation("command", "is required")])
        problems = Problems()
        if getattr(item, "validate_only", False):
            problems.add("validate_only", "must be unset in a batch, which has its own")
        if has_request_id:
            fields.request_id(problems, item.request_id)
        elif item.request_id:
            problems.add("request_id", "must be empty: the batch carries one for all")
        problems.raise_if_any()
        return convert(item, ledger_id)
    except LedgerError as error:
        return error


def _all_well_formed(items: Sequence[Command | LedgerError]) -> tuple[Command, ...]:
    """The commands, or the first one's error with its index."""
    commands: list[Command] = []
    for index, item in enumerate(items):
        if isinstance(item, LedgerError):
            raise item.with_metadata(command_index=str(index))
        commands.append(item)
    return tuple(commands)
