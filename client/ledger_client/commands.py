"""What can be done to transactions, as messages; and the creation of an account.

Each unary call sends one of them; ``batch_write_transactions``, ``import_transactions`` and
``batch_create_accounts`` send many.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from ledger_client.inputs import (
    EntryPart,
    NormalBalanceWord,
    StatusWord,
    entry_lines,
    entry_parts,
    metadata_changes,
    normal_balance_value,
    refuse_unknown,
    some_or_all,
    status_value,
    timestamp,
)
from ledger_client.messages import message
from ledger_client.names import (
    TransactionRef,
    category_ids,
    name_transaction,
)
from ledger_client.v1.accounts_pb2 import BalanceLimits, CreateAccountRequest
from ledger_client.v1.balances_pb2 import NormalBalance
from ledger_client.v1.categories_pb2 import Category, CategoryCondition
from ledger_client.v1.transactions_pb2 import (
    AccountCondition,
    ArchiveTransactionRequest,
    CreateTransactionRequest,
    EntryInput,
    PartialPostTransactionRequest,
    PostTransactionRequest,
    ReverseTransactionRequest,
    TransactionCommand,
    TransactionStatus,
    UpdateTransactionRequest,
)

TransactionWrite = (
    CreateTransactionRequest
    | UpdateTransactionRequest
    | PostTransactionRequest
    | ArchiveTransactionRequest
    | PartialPostTransactionRequest
    | ReverseTransactionRequest
)


class CreateFields(TypedDict, total=False):
    """What a new transaction may have beside its entries."""

    status: StatusWord | TransactionStatus.ValueType
    """"pending" (the default) or "posted"."""
    description: str
    """Up to 1,000 characters."""
    external_id: str
    """Your own id, up to 180 characters, unique among the ledger's non-archived transactions."""
    effective_at: dt.datetime | None
    """Business time, with a time zone; default: the time of the write."""
    expires_at: dt.datetime | None
    """When it is archived if still pending, with a time zone; not for a posted one."""
    metadata: Mapping[str, str]
    """Up to 50 keys, 16 KiB together."""
    archive_on_condition_failure: bool
    """If a condition or a standing limit fails, answer with an archived transaction instead of refusing."""
    category_conditions: Iterable[CategoryCondition]
    """Must hold on categories right after the command; ``category_condition`` makes them."""
    validate_only: bool
    """Only say what would happen. Not in a batch, which has its own."""
    request_id: str
    """Your own for this command; with the same one it can be repeated with one effect."""


class UpdateFields(TypedDict, total=False):
    """What an update may change; what is not given stays."""

    version: int | None
    """Write only if the transaction is at this version, else VersionMismatch."""
    entries: Iterable[EntryInput]
    """New entries; they replace all old ones."""
    description: str
    """The new description; empty removes it."""
    external_id: str
    """The new external id; empty removes it."""
    effective_at: dt.datetime
    """The new business time, with a time zone."""
    expires_at: dt.datetime | None
    """The new expiry, with a time zone; None removes it."""
    metadata: Mapping[str, str] | None
    """Replaces all of it."""
    metadata_patch: Mapping[str, str | None] | None
    """Sets these keys and removes those whose value is None; not together with metadata."""
    category_conditions: Iterable[CategoryCondition]
    """Must hold on categories right after the command; ``category_condition`` makes them."""
    validate_only: bool
    """Only say what would happen. Not in a batch, which has its own."""
    request_id: str
    """Your own for this command; with the same one it can be repeated with one effect."""


class PostFields(TypedDict, total=False):
    """What a posting may carry."""

    version: int | None
    """Write only if the transaction is at this version, else VersionMismatch."""
    entries: Iterable[EntryInput] | None
    """Final entries, replacing the pending ones; None, the default: the pending ones as they are. Empty: ValueError."""
    effective_at: dt.datetime | None
    """Final business time, with a time zone."""
    metadata: Mapping[str, str]
    """Keys to set; none is removed."""
    conditions: Iterable[AccountCondition]
    """Must hold right after the posting; ``account_condition`` makes them."""
    category_conditions: Iterable[CategoryCondition]
    """Must hold on categories right after the command; ``category_condition`` makes them."""
    validate_only: bool
    """Only say what would happen. Not in a batch, which has its own."""
    request_id: str
    """Your own for this command; with the same one it can be repeated with one effect."""


class PartFields(TypedDict, total=False):
    """What a partial post and a reversal may carry beside their entries: fields of the new transaction."""

    version: int | None
    """Write only if the pending or original transaction is at this version, else VersionMismatch."""
    description: str
    """Up to 1,000 characters."""
    external_id: str
    """Your own id, up to 180 characters, unique among the ledger's non-archived transactions."""
    effective_at: dt.datetime | None
    """Business time, with a time zone; default: that of the pending or original transaction."""
    metadata: Mapping[str, str]
    """Up to 50 keys, 16 KiB together."""
    category_conditions: Iterable[CategoryCondition]
    """Must hold on categories right after the command; ``category_condition`` makes them."""
    validate_only: bool
    """Only say what would happen. Not in a batch, which has its own."""
    request_id: str
    """Your own for this command; with the same one it can be repeated with one effect."""


class ReverseFields(PartFields, total=False):
    """What a reversal may carry."""

    entries: Iterable[EntryPart] | None
    """What is reversed of each entry of the original, named by the original's side; None, the default: all of it.
    Empty: ValueError."""
    status: StatusWord | TransactionStatus.ValueType
    """"posted" (the default) or "pending"."""
    conditions: Iterable[AccountCondition]
    """Must hold right after the reversal; ``account_condition`` makes them."""


class ArchiveFields(TypedDict, total=False):
    """What archiving may carry."""

    version: int | None
    """Write only if the transaction is at this version, else VersionMismatch."""
    metadata: Mapping[str, str]
    """Keys to set; none is removed."""
    validate_only: bool
    """Only say what would happen. Not in a batch, which has its own."""
    request_id: str
    """Your own for this command; with the same one it can be repeated with one effect."""


def create_transaction(entries: Iterable[EntryInput], **fields: Unpack[CreateFields]) -> CreateTransactionRequest:
    """A transaction of 2..1,000 entries, at least one debit and one credit, balanced in every currency."""
    refuse_unknown(fields, CreateFields)
    # Only what is given: a field that is named costs as much as one that has a value.
    given: dict[str, Any] = {**fields, "entries": entry_lines(entries)}
    if "status" in given:
        given["status"] = status_value(given["status"])
    for name in _TIMES:
        if name in given:
            given[name] = timestamp(given[name])
    return message(CreateTransactionRequest, **given)


_TIMES = ("effective_at", "expires_at")
_MASKED = ("description", "effective_at", "expires_at", "external_id", "entries")


def update_transaction(transaction: TransactionRef, **fields: Unpack[UpdateFields]) -> UpdateTransactionRequest:
    """A change of those fields that are given."""
    refuse_unknown(fields, UpdateFields)
    metadata, paths = metadata_changes(fields.get("metadata"), fields.get("metadata_patch"))
    request = message(
        UpdateTransactionRequest,
        request_id=fields.get("request_id", ""),
        version=fields.get("version"),
        description=fields.get("description", ""),
        effective_at=timestamp(fields.get("effective_at")),
        expires_at=timestamp(fields.get("expires_at")),
        external_id=fields.get("external_id", ""),
        metadata=metadata,
        entries=entry_lines(fields.get("entries")),
        update_mask=FieldMask(paths=[name for name in _MASKED if name in fields] + paths),
        category_conditions=fields.get("category_conditions"),
        validate_only=fields.get("validate_only", False),
    )
    name_transaction(request, transaction)
    return request


def post_transaction(transaction: TransactionRef, **fields: Unpack[PostFields]) -> PostTransactionRequest:
    """The posting of a pending transaction, as it stands or with final entries.

    Raises:
        ValueError: ``entries`` are given and empty.
    """
    refuse_unknown(fields, PostFields)
    request = message(
        PostTransactionRequest,
        request_id=fields.get("request_id", ""),
        version=fields.get("version"),
        entries=entry_lines(some_or_all(fields.get("entries"))),
        effective_at=timestamp(fields.get("effective_at")),
        metadata=fields.get("metadata"),
        conditions=fields.get("conditions"),
        category_conditions=fields.get("category_conditions"),
        validate_only=fields.get("validate_only", False),
    )
    name_transaction(request, transaction)
    return request


def partial_post_transaction(
    transaction: TransactionRef, entries: Iterable[EntryPart], **fields: Unpack[PartFields]
) -> PartialPostTransactionRequest:
    """The posting of a part of a pending transaction; entries that are left out post nothing."""
    refuse_unknown(fields, PartFields)
    request = message(
        PartialPostTransactionRequest,
        request_id=fields.get("request_id", ""),
        version=fields.get("version"),
        entries=entry_parts(entries),
        effective_at=timestamp(fields.get("effective_at")),
        metadata=fields.get("metadata"),
        description=fields.get("description", ""),
        external_id=fields.get("external_id", ""),
        category_conditions=fields.get("category_conditions"),
        validate_only=fields.get("validate_only", False),
    )
    name_transaction(request, transaction)
    return request


def reverse_transaction(transaction: TransactionRef, **fields: Unpack[ReverseFields]) -> ReverseTransactionRequest:
    """The reversal of a posted transaction, whole or in part.

    Raises:
        ValueError: ``entries`` are given and empty.
    """
    refuse_unknown(fields, ReverseFields)
    request = message(
        ReverseTransactionRequest,
        request_id=fields.get("request_id", ""),
        version=fields.get("version"),
        status=status_value(fields.get("status")),
        entries=entry_parts(some_or_all(fields.get("entries"))),
        effective_at=timestamp(fields.get("effective_at")),
        metadata=fields.get("metadata"),
        description=fields.get("description", ""),
        external_id=fields.get("external_id", ""),
        conditions=fields.get("conditions"),
        category_conditions=fields.get("category_conditions"),
        validate_only=fields.get("validate_only", False),
    )
    name_transaction(request, transaction)
    return request


def archive_transaction(transaction: TransactionRef, **fields: Unpack[ArchiveFields]) -> ArchiveTransactionRequest:
    """The archiving of a pending transaction: its amounts leave all balances."""
    refuse_unknown(fields, ArchiveFields)
    request = message(
        ArchiveTransactionRequest,
        request_id=fields.get("request_id", ""),
        version=fields.get("version"),
        metadata=fields.get("metadata"),
        validate_only=fields.get("validate_only", False),
    )
    name_transaction(request, transaction)
    return request


def create_account(
    name: str,
    *,
    normal_balance: NormalBalanceWord | NormalBalance.ValueType,
    currency: str,
    currency_exponent: int | None = None,
    description: str = "",
    external_id: str = "",
    metadata: Mapping[str, str] | None = None,
    limits: BalanceLimits | None = None,
    categories: Iterable[str | Category] = (),
) -> CreateAccountRequest:
    """A new account with zero balances; the fields are those of ``LedgerClient.create_account``."""
    return message(
        CreateAccountRequest,
        name=name,
        description=description,
        normal_balance=normal_balance_value(normal_balance),
        currency=currency,
        currency_exponent=currency_exponent,
        external_id=external_id,
        metadata=metadata,
        limits=limits,
        category_ids=category_ids(categories),
    )


def copy_into(command: TransactionCommand, write: TransactionWrite) -> TransactionWrite:
    """Make a write the one that an item of a batch holds; returns the copy there."""
    match write:
        case CreateTransactionRequest():
            command.create.CopyFrom(write)
            return command.create
        case UpdateTransactionRequest():
            command.update.CopyFrom(write)
            return command.update
        case PostTransactionRequest():
            command.post.CopyFrom(write)
            return command.post
        case ArchiveTransactionRequest():
            command.archive.CopyFrom(write)
            return command.archive
        case PartialPostTransactionRequest():
            command.partial_post.CopyFrom(write)
            return command.partial_post
        case ReverseTransactionRequest():
            command.reverse.CopyFrom(write)
            return command.reverse
