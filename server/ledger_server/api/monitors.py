"""Balance monitors: requests to commands and queries, checked field by field, and what callers are answered."""

from __future__ import annotations

from ledger_client.v1 import monitors_pb2
from ledger_server.api import fields
from ledger_server.api.fields import Problems
from ledger_server.api.filters import ids_of, metadata_terms_of
from ledger_server.api.pieces import account_ref, category_ref, enum_of, mask_of, optional_count, signed_amount
from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import MonitorCondition, MonitorField, MonitorReading
from ledger_server.domain.money import Operator
from ledger_server.domain.monitor_commands import CreateBalanceMonitor, DeleteBalanceMonitor, UpdateBalanceMonitor
from ledger_server.events.encode import monitor_to
from ledger_server.posting.outcomes import Written
from ledger_server.reading import MonitorQuery, Page

# By which way resolve_value may lie: for < and ≤ above the value, for ≥ and > below it, for = nowhere.
_UP, _DOWN = (Operator.LT, Operator.LTE), (Operator.GTE, Operator.GT)
_OPERATORS = (*_UP, Operator.EQ, *_DOWN)


def create_monitor(request: monitors_pb2.CreateBalanceMonitorRequest) -> CreateBalanceMonitor:
    problems = Problems()
    account, category = _subject(problems, request)
    command = CreateBalanceMonitor(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        account=account,
        category=category,
        condition=_condition(problems, request.condition),
        description=fields.text(problems, "description", request.description),
        metadata=fields.metadata(problems, request.metadata),
    )
    problems.raise_if_any()
    return command


def update_monitor(request: monitors_pb2.UpdateBalanceMonitorRequest) -> UpdateBalanceMonitor:
    problems = Problems()
    changed, patch = mask_of(problems, request, ("condition", "description", "metadata"))
    command = UpdateBalanceMonitor(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        monitor_id=fields.object_id(problems, "monitor_id", request.monitor_id),
        version=optional_count(problems, request, "version"),
        condition=_condition(problems, request.condition) if "condition" in changed else None,
        description=fields.text(problems, "description", request.description) if "description" in changed else None,
        metadata=patch,
    )
    problems.raise_if_any()
    return command


def delete_monitor(request: monitors_pb2.DeleteBalanceMonitorRequest) -> DeleteBalanceMonitor:
    problems = Problems()
    command = DeleteBalanceMonitor(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        request_id=fields.request_id(problems, request.request_id),
        monitor_id=fields.object_id(problems, "monitor_id", request.monitor_id),
        version=optional_count(problems, request, "version"),
    )
    problems.raise_if_any()
    return command


def get_monitor(request: monitors_pb2.GetBalanceMonitorRequest) -> tuple[int, str, int | None]:
    problems = Problems()
    asked = (
        fields.ledger_id(problems, request.ledger_id),
        fields.object_id(problems, "monitor_id", request.monitor_id),
        optional_count(problems, request, "min_position"),
    )
    problems.raise_if_any()
    return asked


def list_monitors(request: monitors_pb2.ListBalanceMonitorsRequest) -> MonitorQuery:
    problems = Problems()
    account, category = _subject(problems, request) if request.WhichOneof("subject") else (None, None)
    query = MonitorQuery(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        min_position=optional_count(problems, request, "min_position"),
        ids=ids_of(problems, "ids", request.ids),
        account=account,
        category=category,
        metadata=fields.metadata(problems, request.metadata),
        metadata_terms=metadata_terms_of(problems, request),
        triggered=request.triggered if request.HasField("triggered") else None,
    )
    problems.raise_if_any()
    return query


def written_to(answer: Written) -> monitors_pb2.BalanceMonitor:
    assert isinstance(answer.object, MonitorReading)
    return read_to(answer.object, answer.position, answer.epoch)


def read_to(reading: MonitorReading, position: int, epoch: str) -> monitors_pb2.BalanceMonitor:
    message = monitor_to(reading)
    message.position, message.epoch = position, epoch
    return message


def page_to(page: Page[MonitorReading]) -> monitors_pb2.ListBalanceMonitorsResponse:
    return monitors_pb2.ListBalanceMonitorsResponse(
        monitors=[read_to(reading, page.position, page.epoch) for reading in page.items],
        next_page_token=page.next_page_token,
        position=page.position,
        epoch=page.epoch,
    )


def _subject(
    problems: Problems, request: monitors_pb2.CreateBalanceMonitorRequest | monitors_pb2.ListBalanceMonitorsRequest
) -> tuple[Ref | None, Ref | None]:
    """The account, or the category, that the oneof names."""
    if request.WhichOneof("subject") in ("category_id", "category_external_id"):
        return None, category_ref(problems, request)
    if request.WhichOneof("subject") is None:
        problems.add("account_id", "is required, or account_external_id, category_id, category_external_id")
        return None, None
    return account_ref(problems, request), None


def _condition(problems: Problems, condition: monitors_pb2.MonitorCondition) -> MonitorCondition:
    field = enum_of(problems, "condition.field", condition.field, MonitorField)
    operator = next((each for each in _OPERATORS if each == int(condition.operator)), Operator.NE)
    if operator == Operator.NE:
        problems.add("condition.operator", f"must be one of {', '.join(each.name for each in _OPERATORS)}")
    value = signed_amount(problems, "condition.value", condition.value)
    resolve_value = None
    if condition.HasField("resolve_value"):
        resolve_value = signed_amount(problems, "condition.resolve_value", condition.resolve_value)
        if operator == Operator.EQ:
            problems.add("condition.resolve_value", "must be absent: EQ has no far side")
        elif (operator in _UP and resolve_value < value) or (operator in _DOWN and resolve_value > value):
            side = "less" if operator in _UP else "greater"
            problems.add("condition.resolve_value", f"must not be {side} than value, or it would resolve at once")
    return MonitorCondition(field, operator, value, resolve_value)
