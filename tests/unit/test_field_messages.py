"""What callers are told of a field that is wrong: what they may give instead, and nothing that is refused again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration

from ledger_client.v1 import admin_service_pb2, balances_pb2, monitors_pb2
from ledger_server.api import admin, monitors
from ledger_server.domain.errors import InvalidField

LEDGER_ID = ACCOUNT_ID = "01a2043b-4736-723a-889e-317614f6f43c"
OPERATORS = "must be one of LT, LTE, EQ, GTE, GT"


def a_monitor(operator: balances_pb2.Operator.ValueType, **subject: str) -> object:
    request = monitors_pb2.CreateBalanceMonitorRequest(
        ledger_id=LEDGER_ID,
        request_id="r",
        condition=monitors_pb2.MonitorCondition(
            field=monitors_pb2.MONITOR_FIELD_POSTED, operator=operator, value="0", resolve_value="5"
        ),
        **subject,  # type: ignore[arg-type]
    )
    return monitors.create_monitor(request)


@pytest.mark.parametrize(
    ("ask", "field", "told"),
    [
        (lambda: a_monitor(balances_pb2.OPERATOR_NE, account_id=ACCOUNT_ID), "condition.operator", OPERATORS),
        (lambda: a_monitor(balances_pb2.OPERATOR_UNSPECIFIED, account_id=ACCOUNT_ID), "condition.operator", OPERATORS),
        (
            lambda: a_monitor(balances_pb2.OPERATOR_LT),
            "account_id",
            "is required, or account_external_id, category_id, category_external_id",
        ),
        (
            lambda: admin.prune_events(
                admin_service_pb2.PruneEventsRequest(ledger_id=LEDGER_ID, older_than=Duration(seconds=10**10))
            ),
            "older_than",
            "must be 0 to 3,155,760,000 seconds",
        ),
    ],
    ids=["NE", "no operator", "no subject", "a long time"],
)
def test_a_message_names_what_may_be_given(ask: Callable[[], object], field: str, told: str) -> None:
    with pytest.raises(InvalidField) as refused:
        ask()
    assert [(each.subject, each.description) for each in refused.value.violations] == [(field, told)]
