"""Read requests to queries: what readers and watchers ask for, checked field by field."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from ledger_client.v1 import accounts_pb2, categories_pb2, ledgers_pb2, streams_pb2, transactions_pb2
from ledger_server.api import fields
from ledger_server.api.fields import Problems
from ledger_server.api.filters import (
    amounts_of,
    between,
    ids_of,
    known,
    members_of,
    metadata_terms_of,
    names_of,
    optional_id,
    order_of,
    versions_between,
)
from ledger_server.api.pieces import (
    account_ref,
    category_ref,
    conditions_of,
    optional_count,
    optional_time,
    transaction_ref,
)
from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import AccountStatus, ArchivedReason, EventKind, TransactionStatus
from ledger_server.domain.money import NormalBalance
from ledger_server.domain.times import LAST_TIME, MICROSECOND
from ledger_server.events.subscription import Watch
from ledger_server.reading import (
    AccountQuery,
    AccountVersionQuery,
    AsOf,
    CategoryQuery,
    Interval,
    LedgerQuery,
    TransactionQuery,
    VersionQuery,
)
from ledger_server.reading.queries import ListOrder

BATCH_GET_MAX = 1_000
WATCHED_ACCOUNTS_MAX = 10_000
WATCHED_CATEGORIES_MAX = 100
HEARTBEAT_SECONDS_DEFAULT = 10.0
HEARTBEAT_SECONDS_MIN, HEARTBEAT_SECONDS_MAX = 0.1, 3_600.0
# Events of all other kinds move no balance.
MOVING_KINDS = frozenset(
    (
        *range(EventKind.TRANSACTION_CREATED, EventKind.TRANSACTION_REVERSED + 1),
        *range(EventKind.CATEGORY_DELETED, EventKind.CATEGORY_MEMBER_REMOVED + 1),
    )
)


class _Order(IntEnum):
    OLDEST_FIRST = 1
    NEWEST_FIRST = 2


class _Interval(IntEnum):
    HOUR = 1
    DAY = 2
    MONTH = 3


def get_ledger(request: ledgers_pb2.GetLedgerRequest) -> tuple[int, int | None]:
    problems = Problems()
    asked = (fields.ledger_id(problems, request.ledger_id), min_position(problems, request))
    problems.raise_if_any()
    return asked


def list_ledgers(request: ledgers_pb2.ListLedgersRequest) -> LedgerQuery:
    problems = Problems()
    query = LedgerQuery(
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        metadata=fields.metadata(problems, request.metadata),
        metadata_terms=metadata_terms_of(problems, request),
        ids=ids_of(problems, "ids", request.ids),
        names=names_of(problems, request.names),
        created_at=between(problems, request, "created_at"),
        updated_at=between(problems, request, "updated_at"),
    )
    problems.raise_if_any()
    return query


def get_account(request: accounts_pb2.GetAccountRequest) -> tuple[int, Ref, AsOf, int | None]:
    problems = Problems()
    asked = (
        fields.ledger_id(problems, request.ledger_id),
        account_ref(problems, request),
        as_of(problems, request, optional_count(problems, request, "as_of_lock_version")),
        min_position(problems, request),
    )
    problems.raise_if_any()
    return asked


def batch_get_accounts(request: accounts_pb2.BatchGetAccountsRequest) -> tuple[int, list[str], AsOf, int | None]:
    problems = Problems()
    asked = (
        fields.ledger_id(problems, request.ledger_id),
        _batch_ids(problems, "account_ids", request.account_ids),
        as_of(problems, request),
        min_position(problems, request),
    )
    problems.raise_if_any()
    return asked


def list_accounts(request: accounts_pb2.ListAccountsRequest) -> AccountQuery:
    problems = Problems()
    if request.currency:
        fields.currency(problems, request.currency)
    query = AccountQuery(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        min_position=min_position(problems, request),
        ids=ids_of(problems, "ids", request.ids),
        names=names_of(problems, request.names),
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        statuses=members_of(problems, "statuses", request.statuses, AccountStatus),
        currency=request.currency or None,
        normal_balance=known(problems, "normal_balance", request.normal_balance, NormalBalance),
        balances=conditions_of(problems, "balances", request.balances),
        include_deleted=request.include_deleted,
        category_id=optional_id(problems, request, "category_id"),
        metadata=fields.metadata(problems, request.metadata),
        metadata_terms=metadata_terms_of(problems, request),
        created_at=between(problems, request, "created_at"),
        updated_at=between(problems, request, "updated_at"),
        order=order_of(problems, request.order, ListOrder.CREATED_ASC, (ListOrder.CREATED_ASC, ListOrder.CREATED_DESC)),
        as_of=as_of(problems, request),
    )
    problems.raise_if_any()
    return query


def list_account_versions(request: accounts_pb2.ListAccountVersionsRequest) -> AccountVersionQuery:
    problems = Problems()
    order = known(problems, "order", request.order, _Order)
    interval = known(problems, "interval", request.interval, _Interval)
    query = AccountVersionQuery(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        min_position=min_position(problems, request),
        account=account_ref(problems, request),
        newest_first=order == _Order.NEWEST_FIRST,
        interval=None if interval is None else Interval[interval.name],
        written_at=between(problems, request, "time"),
    )
    problems.raise_if_any()
    return query


def get_category(request: categories_pb2.GetCategoryRequest) -> tuple[int, Ref, AsOf, int | None]:
    problems = Problems()
    asked = (
        fields.ledger_id(problems, request.ledger_id),
        category_ref(problems, request),
        as_of(problems, request),
        min_position(problems, request),
    )
    problems.raise_if_any()
    return asked


def list_categories(request: categories_pb2.ListCategoriesRequest) -> CategoryQuery:
    problems = Problems()
    if request.currency:
        fields.currency(problems, request.currency)
    parent_id, member_id, account_id = request.parent_category_id, request.member_category_id, request.account_id
    query = CategoryQuery(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        min_position=min_position(problems, request),
        ids=ids_of(problems, "ids", request.ids),
        names=names_of(problems, request.names),
        currency=request.currency or None,
        normal_balance=known(problems, "normal_balance", request.normal_balance, NormalBalance),
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        parent_category_id=fields.object_id(problems, "parent_category_id", parent_id) if parent_id else None,
        member_category_id=fields.object_id(problems, "member_category_id", member_id) if member_id else None,
        account_id=fields.object_id(problems, "account_id", account_id) if account_id else None,
        balances=conditions_of(problems, "balances", request.balances),
        metadata=fields.metadata(problems, request.metadata),
        metadata_terms=metadata_terms_of(problems, request),
        as_of=as_of(problems, request),
    )
    problems.raise_if_any()
    return query


def get_transaction(request: transactions_pb2.GetTransactionRequest) -> tuple[int, Ref, int | None]:
    problems = Problems()
    asked = (
        fields.ledger_id(problems, request.ledger_id),
        transaction_ref(problems, request),
        min_position(problems, request),
    )
    problems.raise_if_any()
    return asked


def batch_get_transactions(
    request: transactions_pb2.BatchGetTransactionsRequest,
) -> tuple[int, list[str], int | None]:
    problems = Problems()
    asked = (
        fields.ledger_id(problems, request.ledger_id),
        _batch_ids(problems, "transaction_ids", request.transaction_ids),
        min_position(problems, request),
    )
    problems.raise_if_any()
    return asked


def list_transactions(request: transactions_pb2.ListTransactionsRequest) -> TransactionQuery:
    problems = Problems()
    query = TransactionQuery(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        min_position=min_position(problems, request),
        ids=ids_of(problems, "ids", request.ids),
        account=account_ref(problems, request) if request.WhichOneof("account") else None,
        category_id=optional_id(problems, request, "category_id"),
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        statuses=members_of(problems, "statuses", request.statuses, TransactionStatus),
        archived_reasons=members_of(problems, "archived_reasons", request.archived_reasons, ArchivedReason),
        reverses_id=optional_id(problems, request, "reverses_transaction_id"),
        partially_posts_id=optional_id(problems, request, "partially_posts_transaction_id"),
        amounts=amounts_of(problems, request.amounts),
        metadata=fields.metadata(problems, request.metadata),
        metadata_terms=metadata_terms_of(problems, request),
        created_at=between(problems, request, "created_at"),
        updated_at=between(problems, request, "updated_at"),
        posted_at=between(problems, request, "posted_at"),
        effective_at=between(problems, request, "effective_at"),
        order=order_of(problems, request.order, ListOrder.CREATED_DESC, tuple(ListOrder)),
    )
    problems.raise_if_any()
    return query


def list_transaction_versions(request: transactions_pb2.ListTransactionVersionsRequest) -> VersionQuery:
    problems = Problems()
    lower_bound, upper_bound = versions_between(problems, request, "version")
    query = VersionQuery(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        min_position=min_position(problems, request),
        transaction=transaction_ref(problems, request),
        newest_first=known(problems, "order", request.order, _Order) == _Order.NEWEST_FIRST,
        version_lower_bound=lower_bound,
        version_upper_bound=upper_bound,
        written_at=between(problems, request, "time"),
    )
    problems.raise_if_any()
    return query


def watch_balances(request: streams_pb2.WatchBalancesRequest) -> Watch:
    problems = Problems()
    watch = Watch(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        snapshot=request.snapshot,
        conflate=request.conflate,
        **_watch(problems, request),
    )
    if request.snapshot and watch.after_position is not None:
        problems.add("after_position", "cannot be given together with snapshot, which has a position of its own")
    if request.conflate and watch.kinds - MOVING_KINDS:
        problems.add(
            "conflate", "cannot be given together with kinds that move no balance, whose events are not folded"
        )
    problems.raise_if_any()
    return watch


def watch_events(request: streams_pb2.WatchEventsRequest) -> Watch:
    problems = Problems()
    watch = Watch(
        # Also the nil ledger's.
        ledger_id=fields.ledger_or_registry_id(problems, request.ledger_id),
        whole_events=True,
        **_watch(problems, request),
    )
    problems.raise_if_any()
    return watch


def _watch(problems: Problems, request: streams_pb2.WatchBalancesRequest | streams_pb2.WatchEventsRequest) -> Any:
    """What both streams ask alike."""
    after_position = None
    if request.HasField("after_position"):
        after_position = fields.count(problems, "after_position", request.after_position)
    heartbeat_seconds = HEARTBEAT_SECONDS_DEFAULT
    if request.HasField("heartbeat_interval"):
        heartbeat_seconds = fields.seconds(
            problems,
            "heartbeat_interval",
            request.heartbeat_interval,
            least=HEARTBEAT_SECONDS_MIN,
            most=HEARTBEAT_SECONDS_MAX,
        )
    return {
        "account_ids": ids_of(problems, "account_ids", request.account_ids, WATCHED_ACCOUNTS_MAX),
        "category_ids": ids_of(problems, "category_ids", request.category_ids, WATCHED_CATEGORIES_MAX),
        "kinds": members_of(problems, "kinds", request.kinds, EventKind),
        "transaction_metadata": fields.metadata(problems, request.transaction_metadata, "transaction_metadata"),
        "after_position": after_position,
        "epoch": fields.object_id(problems, "epoch", request.epoch) if request.epoch else "",
        "heartbeat_seconds": heartbeat_seconds,
    }


def _batch_ids(problems: Problems, field: str, values: Sequence[str]) -> list[str]:
    """In the order of the request, each as often as it is mentioned."""
    if not 1 <= len(values) <= BATCH_GET_MAX:
        problems.add(field, f"must be 1 to {BATCH_GET_MAX}")
    return [fields.object_id(problems, f"{field}[{n}]", value) for n, value in enumerate(values)]


def min_position(problems: Problems, request: Any) -> int | None:
    return optional_count(problems, request, "min_position")


def as_of(problems: Problems, request: Any, lock_version: int | None = None) -> AsOf:
    """The time that balances are asked for as of: at most one answer to each of the two questions."""
    lower, upper = between(problems, request, "effective_at")
    until = optional_time(problems, request, "as_of")
    if until is not None and (lower or upper):
        problems.add("as_of", "cannot be given together with effective_at_lower_bound or effective_at_upper_bound")
    position = optional_count(problems, request, "as_of_position")
    known_at = optional_time(problems, request, "known_at")
    knowledge = {"as_of_lock_version": lock_version, "as_of_position": position, "known_at": known_at}
    given = [field for field, value in knowledge.items() if value is not None]
    if len(given) > 1:
        problems.add(given[-1], f"says in other words what {' and '.join(given[:-1])} says: give one of them")
    if until is not None and until < LAST_TIME:
        upper = until + MICROSECOND
    return AsOf(lower, upper, lock_version, position, known_at)
