"""The last of what may refuse a command: standing limits, and conditions on balances after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger_server.domain.book import Book
from ledger_server.domain.errors import ConditionFailed, LimitExceeded, Violation
from ledger_server.domain.inputs import CategoryCondition
from ledger_server.domain.model import AccountVersion, BalanceLimit
from ledger_server.domain.money import OPERATOR_SYMBOLS, BalanceKind, Operator, balance
from ledger_server.domain.refusals import Demand, find_categories
from ledger_server.domain.sums import moved_categories


def refuse_limits(book: Book, after: Mapping[str, AccountVersion]) -> None:
    """A limit refuses only if the balance is outside it and farther out than before."""
    violations = [
        violation
        for account_id, version in after.items()
        if version.account.limits
        for limit in version.account.limits
        if (violation := _limit_violation(limit, book.accounts[account_id], version)) is not None
    ]
    if violations:
        raise LimitExceeded(f"{violations[0].subject}: {violations[0].description}", violations=violations)


def _limit_violation(limit: BalanceLimit, before: AccountVersion, after: AccountVersion) -> Violation | None:
    was = balance(limit.kind, before.account.normal_balance, before.counters).amount
    would_be = balance(limit.kind, after.account.normal_balance, after.counters).amount
    if limit.min is not None and would_be < limit.min and would_be < was:
        return _balance_violation("BALANCE_LIMIT", limit.kind, Operator.GTE, would_be, limit.min, before)
    if limit.max is not None and would_be > limit.max and would_be > was:
        return _balance_violation("BALANCE_LIMIT", limit.kind, Operator.LTE, would_be, limit.max, before)
    return None


def refuse_conditions(
    book: Book,
    demands: Sequence[Demand],
    category_conditions: Sequence[CategoryCondition],
    after: Mapping[str, AccountVersion],
) -> None:
    """Conditions are tested on the balances after the whole command."""
    violations = [
        _balance_violation("BALANCE_CONDITION", condition.balance, condition.operator, seen, condition.amount, before)
        for before, _, conditions in demands
        for condition in conditions
        if not condition.operator.holds(
            seen := _amount(condition.balance, after.get(before.account.id, before)), condition.amount
        )
    ]
    if category_conditions:
        violations += _category_violations(book, category_conditions, after)
    if violations:
        raise ConditionFailed(f"{violations[0].subject}: {violations[0].description}", violations=violations)


def _category_violations(
    book: Book, category_conditions: Sequence[CategoryCondition], after: Mapping[str, AccountVersion]
) -> list[Violation]:
    moved = {change.after.category.id: change.after for change in moved_categories(book, after)}
    violations = []
    for ref, conditions in category_conditions:
        (version,) = find_categories(book, [ref])
        version = moved.get(version.category.id, version)
        for kind, operator, demanded in conditions:
            seen = balance(kind, version.category.normal_balance, version.counters).amount
            if not operator.holds(seen, demanded):
                violations.append(
                    Violation(
                        f"categories/{version.category.id}",
                        _would_be(kind, operator, seen, demanded),
                        "CATEGORY_CONDITION",
                        balance=kind,
                        operator=operator,
                        seen=str(seen),
                        demanded=str(demanded),
                        shortfall=str(abs(demanded - seen)),
                        retryable=True,
                        category_id=version.category.id,
                    )
                )
    return violations


def _amount(kind: BalanceKind, version: AccountVersion) -> int:
    return balance(kind, version.account.normal_balance, version.counters).amount


def _balance_violation(
    rule: str, kind: BalanceKind, operator: Operator, seen: int, demanded: int, before: AccountVersion
) -> Violation:
    return Violation(
        f"accounts/{before.account.id}",
        f"{_would_be(kind, operator, seen, demanded)}, at lock_version {before.lock_version}",
        rule,
        account_id=before.account.id,
        balance=kind,
        operator=operator,
        seen=str(seen),
        demanded=str(demanded),
        shortfall=str(abs(demanded - seen)),
        lock_version=before.lock_version,
        retryable=True,
    )


def _would_be(kind: BalanceKind, operator: Operator, seen: int, demanded: int) -> str:
    return (
        f"{kind.name.lower()} would be {seen}, demanded {OPERATOR_SYMBOLS[operator]} {demanded}, "
        f"short by {abs(demanded - seen)}"
    )
