"""Reports: requests to queries, and answers."""

from __future__ import annotations

from ledger_client.v1 import balances_pb2, reports_pb2
from ledger_server.api import fields
from ledger_server.api.answers import listed_entry_to
from ledger_server.api.fields import Problems
from ledger_server.api.filters import known
from ledger_server.api.pieces import account_ref, optional_count
from ledger_server.api.queries import as_of, min_position
from ledger_server.domain.model import Account
from ledger_server.domain.money import Balance, BalanceKind
from ledger_server.reading import Explanation, ExplanationQuery, TrialBalance, TrialBalanceQuery
from ledger_server.reading.trial_balances import Sides


def get_trial_balance(request: reports_pb2.GetTrialBalanceRequest) -> TrialBalanceQuery:
    problems = Problems()
    query = TrialBalanceQuery(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        min_position=min_position(problems, request),
        as_of=as_of(problems, request),
    )
    problems.raise_if_any()
    return query


def explain_balance(request: reports_pb2.ExplainBalanceRequest) -> ExplanationQuery:
    problems = Problems()
    kind = known(problems, "balance", request.balance, BalanceKind) or BalanceKind.POSTED
    query = ExplanationQuery(
        ledger_id=fields.ledger_id(problems, request.ledger_id),
        page_size=fields.page_size(problems, request.page_size),
        page_token=request.page_token,
        min_position=min_position(problems, request),
        account=account_ref(problems, request),
        balance=kind,
        as_of=as_of(problems, request, optional_count(problems, request, "as_of_lock_version")),
    )
    problems.raise_if_any()
    return query


def trial_balance_to(report: TrialBalance) -> reports_pb2.GetTrialBalanceResponse:
    return reports_pb2.GetTrialBalanceResponse(
        rows=[
            reports_pb2.TrialBalanceRow(
                account_id=row.account_id,
                external_id=row.external_id or "",
                name=row.name,
                normal_balance=balances_pb2.NormalBalance.ValueType(row.normal_balance),
                currency=row.currency,
                currency_exponent=row.currency_exponent,
                lock_version=row.lock_version,
                posted=_sides_to(row.posted),
                pending=_sides_to(row.pending),
            )
            for row in report.rows
        ],
        totals=[
            reports_pb2.TrialBalanceTotal(
                currency=total.currency,
                currency_exponent=total.currency_exponent,
                account_count=total.account_count,
                posted=_sides_to(total.posted),
                pending=_sides_to(total.pending),
            )
            for total in report.totals
        ],
        next_page_token=report.next_page_token,
        position=report.position,
        epoch=report.epoch,
    )


def explanation_to(explanation: Explanation) -> reports_pb2.ExplainBalanceResponse:
    account = explanation.account
    return reports_pb2.ExplainBalanceResponse(
        account_id=account.id,
        balance=_balance_to(account, explanation.balance),
        lock_version=explanation.lock_version,
        entries=[
            reports_pb2.ExplainedEntry(
                entry=listed_entry_to(each.listed),
                effect=str(each.effect),
                running=_balance_to(account, each.running),
            )
            for each in explanation.entries
        ],
        next_page_token=explanation.next_page_token,
        position=explanation.position,
        epoch=explanation.epoch,
    )


def _sides_to(sides: Sides) -> reports_pb2.TrialBalanceAmounts:
    return reports_pb2.TrialBalanceAmounts(**{name: str(amount) for name, amount in sides._asdict().items()})


def _balance_to(account: Account, balance: Balance) -> balances_pb2.Balance:
    return balances_pb2.Balance(
        credits=str(balance.credits),
        debits=str(balance.debits),
        amount=str(balance.amount),
        currency=account.currency,
        currency_exponent=account.currency_exponent,
    )
