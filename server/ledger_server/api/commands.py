"""Requests to commands: what callers ask for, checked field by field."""

from __future__ import annotations

from ledger_client.v1 import accounts_pb2, entries_pb2, ledgers_pb2, transactions_pb2
from ledger_server.api import fields
from ledger_server.api.fields import Problems
from ledger_server.api.pieces import (
    account_conditions_of,
    account_ref,
    category_conditions_of,
    entries_of,
    enum_of,
    joined_categories_of,
    limits_of,
    mask_of,
    merged,
    optional_count,
    optional_time,
    partial_entries_of,
    transaction_ref,
)
from ledger_server.domain.commands import (
    ArchiveTransaction,
    CreateAccount,
    CreateLedger,
    CreateTransaction,
    DeleteAccount,
    DeleteLedger,
    PartialPostTransaction,
    PostTransaction,
    ReverseTransaction,
    TransactionCommand,
    UpdateAccount,
    UpdateEntry,
    UpdateLedger,
    UpdateTransaction,
)
from ledger_server.domain.ids import REGISTRY, parse_ledger_id
from ledger_server.domain.inputs import MetadataPatch
from ledger_server.domain.model import AccountStatus, TransactionStatus
from ledger_server.domain.money import NormalBalance
from ledger_server.domain.refusals import refuse_unequal_sides

_STATUSES = {0: TransactionStatus.PENDING, 1: TransactionStatus.PENDING, 2: TransactionStatus.POSTED}

TransactionRequest = (
    transactions_pb2.CreateTransactionRequest
    | transactions_pb2.UpdateTransactionRequest
    | transactions_pb2.PostTransactionRequest
    | transactions_pb2.ArchiveTransactionRequest
    | transactions_pb2.PartialPostTransactionRequest
    | transactions_pb2.ReverseTransactionRequest
)


def create_ledger(request: ledgers_pb2.CreateLedgerRequest) -> CreateLedger:
    problems = Problems()
    command = CreateLedger(
        ledger_id=REGISTRY,
        request_id=fields.request_id(problems, request.request_id),
        name=fields.text(problems, "name", request.name, required=True),
        description=fields.text(problems, "description", request.description),
        metadata=fields.metadata(problems, request.metadata),
    )
    problems.raise_if_any()
    return command


def update_ledger(request: ledgers_pb2.UpdateLedgerRequest) -> UpdateLedger:
    problems = Problems()
    changed, patch = mask_of(problems, request, ("name", "description", "closed_before", "metadata"))
    command = UpdateLedger(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        name=fields.text(problems, "name", request.name, required=True) if "name" in changed else None,
        description=fields.text(problems, "description", request.description) if "description" in changed else None,
        metadata=patch,
        closed_before=(optional_time(problems, request, "closed_before"),) if "closed_before" in changed else None,
    )
    problems.raise_if_any()
    return command


def create_account(request: accounts_pb2.CreateAccountRequest, ledger_id: int | None = None) -> CreateAccount:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    exponent = request.currency_exponent if request.HasField("currency_exponent") else None
    if exponent is not None and not 0 <= exponent <= 30:
        problems.add("currency_exponent", "must be 0 to 30")
    command = CreateAccount(
        ledger_id=ledger,
        request_id=request_id,
        name=fields.text(problems, "name", request.name, required=True),
        description=fields.text(problems, "description", request.description),
        normal_balance=enum_of(problems, "normal_balance", request.normal_balance, NormalBalance),
        currency=fields.currency(problems, request.currency),
        currency_exponent=exponent,
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        metadata=fields.metadata(problems, request.metadata),
        limits=limits_of(problems, request.limits),
        category_ids=joined_categories_of(problems, request.category_ids) if request.category_ids else (),
    )
    problems.raise_if_any()
    return command


def update_account(request: accounts_pb2.UpdateAccountRequest) -> UpdateAccount:
    problems = Problems()
    changed, patch = mask_of(problems, request, ("name", "description", "external_id", "status", "limits", "metadata"))
    command = UpdateAccount(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        account=account_ref(problems, request),
        name=fields.text(problems, "name", request.name, required=True) if "name" in changed else None,
        description=fields.text(problems, "description", request.description) if "description" in changed else None,
        external_id=(
            fields.external_id(problems, "external_id", request.external_id) if "external_id" in changed else None
        ),
        metadata=patch,
        status=enum_of(problems, "status", request.status, AccountStatus) if "status" in changed else None,
        limits=limits_of(problems, request.limits) if "limits" in changed else None,
    )
    problems.raise_if_any()
    return command


def delete_ledger(request: ledgers_pb2.DeleteLedgerRequest) -> DeleteLedger:
    problems = Problems()
    command = DeleteLedger(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
    )
    problems.raise_if_any()
    return command


def delete_account(request: accounts_pb2.DeleteAccountRequest) -> DeleteAccount:
    problems = Problems()
    command = DeleteAccount(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        account=account_ref(problems, request),
    )
    problems.raise_if_any()
    return command


def update_entry(request: entries_pb2.UpdateEntryRequest) -> UpdateEntry:
    problems = Problems()
    _, patch = mask_of(problems, request, ("metadata",))
    command = UpdateEntry(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        entry_id=fields.object_id(problems, "entry_id", request.entry_id),
        metadata=patch or MetadataPatch(replaces=False, set={}),
    )
    problems.raise_if_any()
    return command


def transaction_command(request: TransactionRequest, ledger_id: int | None = None) -> TransactionCommand:
    """The command of a unary request, or of an item of a batch for this ledger, unless no accounts could balance it."""
    command = well_formed(request, ledger_id)
    refuse_unequal_sides(command)
    return command


def well_formed(request: TransactionRequest, ledger_id: int | None = None) -> TransactionCommand:
    """The command that its fields make; of an item the request_id is checked elsewhere."""
    match request:
        case transactions_pb2.CreateTransactionRequest():
            return _create_transaction(request, ledger_id)
        case transactions_pb2.UpdateTransactionRequest():
            return _update_transaction(request, ledger_id)
        case transactions_pb2.PostTransactionRequest():
            return _post_transaction(request, ledger_id)
        case transactions_pb2.ArchiveTransactionRequest():
            return _archive_transaction(request, ledger_id)
        case transactions_pb2.PartialPostTransactionRequest():
            return _partial_post_transaction(request, ledger_id)
        case transactions_pb2.ReverseTransactionRequest():
            return _reverse_transaction(request, ledger_id)


def _create_transaction(
    request: transactions_pb2.CreateTransactionRequest, ledger_id: int | None = None
) -> CreateTransaction:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    status = _STATUSES.get(request.status)
    if status is None:
        problems.add("status", "must be PENDING or POSTED")
        status = TransactionStatus.PENDING
    expires_at = optional_time(problems, request, "expires_at")
    if expires_at is not None and status != TransactionStatus.PENDING:
        problems.add("expires_at", "must be absent: only a pending transaction expires")
    command = CreateTransaction(
        ledger_id=ledger,
        request_id=request_id,
        status=status,
        description=fields.text(problems, "description", request.description),
        effective_at=optional_time(problems, request, "effective_at"),
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        metadata=fields.metadata(problems, request.metadata),
        entries=entries_of(problems, request.entries),
        archive_on_condition_failure=request.archive_on_condition_failure,
        expires_at=expires_at,
        category_conditions=category_conditions_of(problems, request.category_conditions),
    )
    problems.raise_if_any()
    return command


def _update_transaction(
    request: transactions_pb2.UpdateTransactionRequest, ledger_id: int | None = None
) -> UpdateTransaction:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    allowed = ("description", "effective_at", "expires_at", "external_id", "entries", "metadata")
    changed, patch = mask_of(problems, request, allowed)
    if "effective_at" in changed and not request.HasField("effective_at"):
        problems.add("effective_at", "is named by update_mask and missing")
    command = UpdateTransaction(
        ledger_id=ledger,
        request_id=request_id,
        transaction=transaction_ref(problems, request),
        version=optional_count(problems, request, "version"),
        description=fields.text(problems, "description", request.description) if "description" in changed else None,
        effective_at=optional_time(problems, request, "effective_at") if "effective_at" in changed else None,
        external_id=(
            fields.external_id(problems, "external_id", request.external_id) if "external_id" in changed else None
        ),
        metadata=patch,
        entries=entries_of(problems, request.entries) if "entries" in changed else None,
        expires_at=(optional_time(problems, request, "expires_at"),) if "expires_at" in changed else None,
        category_conditions=category_conditions_of(problems, request.category_conditions),
    )
    problems.raise_if_any()
    return command


def _post_transaction(
    request: transactions_pb2.PostTransactionRequest, ledger_id: int | None = None
) -> PostTransaction:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    command = PostTransaction(
        ledger_id=ledger,
        request_id=request_id,
        transaction=transaction_ref(problems, request),
        version=optional_count(problems, request, "version"),
        entries=entries_of(problems, request.entries) if request.entries else None,
        effective_at=optional_time(problems, request, "effective_at"),
        metadata=merged(fields.metadata(problems, request.metadata)),
        conditions=account_conditions_of(problems, request.conditions),
        category_conditions=category_conditions_of(problems, request.category_conditions),
    )
    problems.raise_if_any()
    return command


def _archive_transaction(
    request: transactions_pb2.ArchiveTransactionRequest, ledger_id: int | None = None
) -> ArchiveTransaction:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    command = ArchiveTransaction(
        ledger_id=ledger,
        request_id=request_id,
        transaction=transaction_ref(problems, request),
        version=optional_count(problems, request, "version"),
        metadata=merged(fields.metadata(problems, request.metadata)),
    )
    problems.raise_if_any()
    return command


def _partial_post_transaction(
    request: transactions_pb2.PartialPostTransactionRequest, ledger_id: int | None = None
) -> PartialPostTransaction:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    command = PartialPostTransaction(
        ledger_id=ledger,
        request_id=request_id,
        transaction=transaction_ref(problems, request),
        version=optional_count(problems, request, "version"),
        entries=partial_entries_of(problems, request.entries),
        effective_at=optional_time(problems, request, "effective_at"),
        description=fields.text(problems, "description", request.description),
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        metadata=fields.metadata(problems, request.metadata),
        category_conditions=category_conditions_of(problems, request.category_conditions),
    )
    problems.raise_if_any()
    return command


def _reverse_transaction(
    request: transactions_pb2.ReverseTransactionRequest, ledger_id: int | None = None
) -> ReverseTransaction:
    problems = Problems()
    ledger, request_id = _scope(problems, request, ledger_id)
    status = _STATUSES.get(request.status or TransactionStatus.POSTED)
    if status is None:
        problems.add("status", "must be POSTED or PENDING")
        status = TransactionStatus.POSTED
    command = ReverseTransaction(
        ledger_id=ledger,
        request_id=request_id,
        transaction=transaction_ref(problems, request),
        version=optional_count(problems, request, "version"),
        status=status,
        entries=partial_entries_of(problems, request.entries) if request.entries else None,
        effective_at=optional_time(problems, request, "effective_at"),
        description=fields.text(problems, "description", request.description),
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        metadata=fields.metadata(problems, request.metadata),
        conditions=account_conditions_of(problems, request.conditions),
        category_conditions=category_conditions_of(problems, request.category_conditions),
    )
    problems.raise_if_any()
    return command


def _scope(
    problems: Problems, request: TransactionRequest | accounts_pb2.CreateAccountRequest, ledger_id: int | None
) -> tuple[int, str]:
    if ledger_id is None:
        return fields.ledger_id(problems, request.ledger_id), fields.request_id(problems, request.request_id)
    # The stand-in of an id that no ledger can have is the registry.
    if request.ledger_id and (parse_ledger_id(request.ledger_id) or REGISTRY) != ledger_id:
        problems.add("ledger_id", "must be empty or the batch's")
    return ledger_id, request.request_id
