"""Read requests to queries: what readers and watchers ask for, checked field by field."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ledger_client.v1 import accounts_pb2, entries_pb2, ledgers_pb2, streams_pb2, transactions_pb2
from ledger_server.api import fields
from ledger_server.api.fields import Problems
from ledger_server.api.pieces import account_ref, transaction_ref
from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import EventKind, TransactionStatus
from ledger_server.domain.money import Direction, NormalBalance
from ledger_server.events.subscription import Watch
from ledger_server.reading import AccountQuery, EntryQuery, LedgerQuery, TransactionQuery, VersionQuery

BATCH_GET_MAX = 1_000
WATCHED_ACCOUNTS_MAX = 10_000
HEARTBEAT_SECONDS_DEFAULT = 10.0
HEARTBEAT_SECONDS_MIN, HEARTBEAT_SECONDS_MAX = 0.1, 3_600.0


def get_ledger(request: ledgers_pb2.GetLedgerRequest) -> tuple[str, int | None]:
    problems = Problems()
    asked = (fields.ledger_id(problems, request.ledger_id), _min_position(problems, request))
    problems.raise_if_any()
    return asked


def list_ledgers(request: ledgers_pb2.ListLedgersRequest) -> LedgerQuery:
    problems = Problems()
    query = LedgerQuery(
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        metadata=fields.metadata(problems, request.metadata),
    )
    problems.raise_if_any()
    return query


def get_account(request: accounts_pb2.GetAccountRequest) -> tuple[str, Ref, int | None]:
    problems = Problems()
    asked = (
        fields.ledger_id(problems, request.ledger_id),
        account_ref(problems, request),
        _min_position(problems, request),
    )
    problems.raise_if_any()
    return asked


def batch_get_accounts(request: accounts_pb2.BatchGetAccountsRequest) -> tuple[str, list[str], int | None]:
    problems = Problems()
    if not 1 <= len(request.account_ids) <= BATCH_GET_MAX:
        problems.add("account_ids", f"must be 1 to {BATCH_GET_MAX}")
    asked = (
        fields.ledger_id(problems, request.ledger_id),
        _ids(problems, "account_ids", request.account_ids),
        _min_position(problems, request),
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
        min_position=_min_position(problems, request),
        currency=request.currency or None,
        normal_balance=_known(problems, "normal_balance", request.normal_balance, NormalBalance),
        metadata=fields.metadata(problems, request.metadata),
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
    )
    problems.raise_if_any()
    return query


def get_transaction(request: transactions_pb2.GetTransactionRequest) -> tuple[str, Ref, int | None]:
    problems = Problems()
    asked = (
        fields.ledger_id(problems, request.ledger_id),
        transaction_ref(problems, request),
        _min_position(problems, request),
    )
    problems.raise_if_any()
    return asked


def list_transactions(request: transactions_pb2.ListTransactionsRequest) -> TransactionQuery:
    problems = Problems()
    query = TransactionQuery(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        min_position=_min_position(problems, request),
        account=account_ref(problems, request) if request.WhichOneof("account") else None,
        external_id=fields.external_id(problems, "external_id", request.external_id) or None,
        statuses=_statuses(problems, request.statuses),
        metadata=fields.metadata(problems, request.metadata),
    )
    problems.raise_if_any()
    return query


def list_transaction_versions(request: transactions_pb2.ListTransactionVersionsRequest) -> VersionQuery:
    problems = Problems()
    query = VersionQuery(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        min_position=_min_position(problems, request),
        transaction=transaction_ref(problems, request),
    )
    problems.raise_if_any()
    return query


def get_entry(request: entries_pb2.GetEntryRequest) -> tuple[str, str, int | None]:
    problems = Problems()
    asked = (
        fields.ledger_id(problems, request.ledger_id),
        fields.object_id(problems, "entry_id", request.entry_id),
        _min_position(problems, request),
    )
    problems.raise_if_any()
    return asked


def list_entries(request: entries_pb2.ListEntriesRequest) -> EntryQuery:
    problems = Problems()
    owner = request.WhichOneof("owner")
    if owner is None:
        problems.add("account_id", "is required, or account_external_id, transaction_id or transaction_external_id")
    query = EntryQuery(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        min_position=_min_position(problems, request),
        account=account_ref(problems, request) if owner in ("account_id", "account_external_id") else None,
        transaction=(
            transaction_ref(problems, request) if owner in ("transaction_id", "transaction_external_id") else None
        ),
        direction=_known(problems, "direction", request.direction, Direction),
        statuses=_statuses(problems, request.statuses),
        include_discarded=request.include_discarded,
        effective_at_lower_bound=_bound(problems, request, "effective_at_lower_bound"),
        effective_at_upper_bound=_bound(problems, request, "effective_at_upper_bound"),
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
    problems.raise_if_any()
    return watch


def watch_events(request: streams_pb2.WatchEventsRequest) -> Watch:
    problems = Problems()
    watch = Watch(
        # Also the nil ledger's.
        ledger_id=fields.object_id(problems, "ledger_id", request.ledger_id),
        whole_events=True,
        **_watch(problems, request),
    )
    problems.raise_if_any()
    return watch


def _watch(problems: Problems, request: streams_pb2.WatchBalancesRequest | streams_pb2.WatchEventsRequest) -> Any:
    """What both streams ask alike."""
    if len(request.account_ids) > WATCHED_ACCOUNTS_MAX:
        problems.add("account_ids", f"must be at most {WATCHED_ACCOUNTS_MAX}")
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
        "account_ids": frozenset(_ids(problems, "account_ids", request.account_ids[:WATCHED_ACCOUNTS_MAX])),
        "kinds": _kinds(problems, request.kinds),
        "transaction_metadata": fields.metadata(problems, request.transaction_metadata, "transaction_metadata"),
        "after_position": after_position,
        "epoch": fields.object_id(problems, "epoch", request.epoch) if request.epoch else "",
        "heartbeat_seconds": heartbeat_seconds,
    }


def _ids(problems: Problems, field: str, values: Sequence[str]) -> list[str]:
    return [fields.object_id(problems, f"{field}[{n}]", value) for n, value in enumerate(values)]


def _min_position(problems: Problems, request: Any) -> int | None:
    return fields.count(problems, "min_position", request.min_position) if request.HasField("min_position") else None


def _bound(problems: Problems, request: Any, field: str) -> datetime | None:
    return fields.time(problems, field, getattr(request, field)) if request.HasField(field) else None


def _kinds(problems: Problems, values: Sequence[int]) -> frozenset[int]:
    known = [_known(problems, f"kinds[{n}]", value, EventKind) for n, value in enumerate(values)]
    if 0 in values:
        problems.add("kinds", "must not name UNSPECIFIED")
    return frozenset(int(kind) for kind in known if kind is not None)


def _statuses(problems: Problems, values: Sequence[int]) -> frozenset[TransactionStatus]:
    known = [_known(problems, f"statuses[{n}]", value, TransactionStatus) for n, value in enumerate(values)]
    if None in known:
        problems.add("statuses", "must not name UNSPECIFIED")
    return frozenset(status for status in known if status is not None)


def _known(problems: Problems, field: str, value: int, kind: Any) -> Any:
    """The enum member; None for the unspecified value."""
    if value == 0:
        return None
    try:
        return kind(value)
    except ValueError:
        problems.add(field, f"must be one of {', '.join(member.name for member in kind)}")
        return None
