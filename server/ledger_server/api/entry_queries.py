"""Read requests about entries to queries, checked field by field."""

from __future__ import annotations

from ledger_client.v1 import entries_pb2
from ledger_server.api import fields
from ledger_server.api.fields import Problems
from ledger_server.api.filters import (
    amounts_of,
    between,
    ids_of,
    known,
    members_of,
    metadata_terms_of,
    optional_id,
    order_of,
    versions_between,
)
from ledger_server.api.pieces import account_ref, optional_count, transaction_ref
from ledger_server.api.queries import min_position
from ledger_server.domain.model import TransactionStatus
from ledger_server.domain.money import Direction
from ledger_server.reading import EntryQuery
from ledger_server.reading.queries import ListOrder


def get_entry(request: entries_pb2.GetEntryRequest) -> tuple[int, str, int | None]:
    problems = Problems()
    asked = (
        fields.ledger_id(problems, request.ledger_id),
        fields.object_id(problems, "entry_id", request.entry_id),
        min_position(problems, request),
    )
    problems.raise_if_any()
    return asked


def list_entries(request: entries_pb2.ListEntriesRequest) -> EntryQuery:
    problems = Problems()
    owner = request.WhichOneof("owner")
    is_of_transaction = owner in ("transaction_id", "transaction_external_id")
    default = ListOrder.CREATED_ASC if is_of_transaction else ListOrder.CREATED_DESC
    order = order_of(problems, request.order, default, tuple(ListOrder))
    is_of_account = owner in ("account_id", "account_external_id")
    if request.include_discarded and not order.is_created:
        problems.add("include_discarded", "cannot be given together with an effective order")
    stands = is_of_account and order.is_created and not request.include_discarded
    if request.HasField("as_of_lock_version") and not stands:
        problems.add("as_of_lock_version", "is of an account in created order, without include_discarded")
    lower_bound, upper_bound = versions_between(problems, request, "account_lock_version")
    query = EntryQuery(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        min_position=min_position(problems, request),
        account=account_ref(problems, request) if is_of_account else None,
        transaction=transaction_ref(problems, request) if is_of_transaction else None,
        direction=known(problems, "direction", request.direction, Direction),
        statuses=members_of(problems, "statuses", request.statuses, TransactionStatus),
        include_discarded=request.include_discarded,
        effective_at=between(problems, request, "effective_at"),
        amounts=amounts_of(problems, request.amounts),
        metadata=fields.metadata(problems, request.metadata),
        metadata_terms=metadata_terms_of(problems, request),
        lock_version_lower_bound=lower_bound,
        lock_version_upper_bound=upper_bound,
        as_of_lock_version=optional_count(problems, request, "as_of_lock_version"),
        ids=ids_of(problems, "ids", request.ids),
        category_id=optional_id(problems, request, "category_id"),
        created_at=between(problems, request, "created_at"),
        updated_at=between(problems, request, "updated_at"),
        order=order,
    )
    problems.raise_if_any()
    return query
