"""Balances and amounts: the formulas against recomputation from entries, and what is an amount at all."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_server.domain.money import (
    Balance,
    BalanceKind,
    Counters,
    Direction,
    NormalBalance,
    Operator,
    amounts,
    balance,
    parse_amount,
    parse_signed_amount,
)

POSTED, PENDING, AVAILABLE = BalanceKind.POSTED, BalanceKind.PENDING, BalanceKind.AVAILABLE
AMOUNT_MAX = 10**36 - 1


class Line(NamedTuple):
    is_posted: bool
    direction: Direction
    amount: int


LINES = st.lists(
    st.builds(Line, st.booleans(), st.sampled_from(Direction), st.integers(0, 9) | st.integers(0, AMOUNT_MAX)),
    max_size=20,
)


def counters_of(lines: list[Line]) -> Counters:
    def total(is_posted: bool, direction: Direction) -> int:
        return sum(line.amount for line in lines if (line.is_posted, line.direction) == (is_posted, direction))

    return Counters(
        posted_debits=total(True, Direction.DEBIT),
        posted_credits=total(True, Direction.CREDIT),
        pending_debits=total(False, Direction.DEBIT),
        pending_credits=total(False, Direction.CREDIT),
    )


def counts(kind: BalanceKind, normal: NormalBalance, line: Line) -> bool:
    """Whether a balance counts an entry, in the words of the documentation."""
    takes_away = line.direction != Direction(normal)
    return line.is_posted or kind == PENDING or (kind == AVAILABLE and takes_away)


@given(LINES, st.sampled_from(BalanceKind), st.sampled_from(NormalBalance))
def test_a_balance_is_the_sum_of_the_entries_it_counts(
    lines: list[Line], kind: BalanceKind, normal: NormalBalance
) -> None:
    counted = [line for line in lines if counts(kind, normal, line)]
    debits = sum(line.amount for line in counted if line.direction == Direction.DEBIT)
    credited = sum(line.amount for line in counted if line.direction == Direction.CREDIT)
    growing = sum(line.amount * (1 if line.direction == Direction(normal) else -1) for line in counted)
    assert balance(kind, normal, counters_of(lines)) == Balance(credits=credited, debits=debits, amount=growing)


@given(LINES, st.sampled_from(BalanceKind))
def test_the_other_normality_turns_posted_and_pending_amounts_round(lines: list[Line], kind: BalanceKind) -> None:
    counters = counters_of(lines)
    debit_normal, credit_normal = (balance(kind, normal, counters) for normal in NormalBalance)
    if kind != AVAILABLE:
        assert debit_normal == credit_normal._replace(amount=-credit_normal.amount)


@given(LINES, st.sampled_from(NormalBalance))
def test_what_is_available_is_never_more_than_posted_or_pending(lines: list[Line], normal: NormalBalance) -> None:
    amounts = {kind: balance(kind, normal, counters_of(lines)).amount for kind in BalanceKind}
    assert amounts[AVAILABLE] <= min(amounts[POSTED], amounts[PENDING])


def test_the_example_of_modern_treasury() -> None:
    """A credit-normal account with 200.00 posted credits, 10.00 posted debits and 90.00 pending debits."""
    counters = Counters(posted_debits=1000, posted_credits=20000, pending_debits=9000)
    assert balance(AVAILABLE, NormalBalance.CREDIT, counters) == Balance(credits=20000, debits=10000, amount=10000)
    assert balance(POSTED, NormalBalance.CREDIT, counters).amount == 19000
    assert balance(PENDING, NormalBalance.CREDIT, counters).amount == 10000


@given(st.integers(0, AMOUNT_MAX))
def test_an_amount_is_read_as_it_is_written(amount: int) -> None:
    assert parse_amount(str(amount)) == amount
    assert parse_signed_amount(str(amount)) == amount
    assert parse_signed_amount(str(-amount)) == -amount


@given(st.text(alphabet="0123456789+-. eE_٣²\n\0", max_size=40) | st.text(max_size=5))
def test_nothing_else_is_an_amount(text: str) -> None:
    """What is read is exactly what would be written."""
    amount, signed = parse_amount(text), parse_signed_amount(text)
    assert amount is None or str(amount) == text
    assert signed is None or str(signed) == text
    assert amount is None or signed == amount


@pytest.mark.parametrize(
    "text",
    ["", "-1", "-0", "+1", "01", "00", "1.0", "1e3", "1_000", " 1", "1 ", "1\n", "٣", "²", "x", "0x1", str(10**36)],
)
def test_an_amount_has_one_way_of_being_written(text: str) -> None:
    assert parse_amount(text) is None


@pytest.mark.parametrize(
    "text", ["", "-", "-0", "--1", "+1", "-01", "- 1", "-1.0", "-1\n", "-٣", str(10**36), str(-(10**36))]
)
def test_so_has_a_signed_one(text: str) -> None:
    assert parse_signed_amount(text) is None


@pytest.mark.parametrize(
    ("operator", "below", "equal", "above"),
    [
        (Operator.LT, True, False, False),
        (Operator.LTE, True, True, False),
        (Operator.EQ, False, True, False),
        (Operator.NE, True, False, True),
        (Operator.GTE, False, True, True),
        (Operator.GT, False, False, True),
    ],
)
def test_the_operators(operator: Operator, below: bool, equal: bool, above: bool) -> None:
    assert [operator.holds(seen, 0) for seen in (-1, 0, 1)] == [below, equal, above]


@given(lines=LINES, normal_balance=st.sampled_from(NormalBalance))
def test_amounts_are_those_of_the_balances(lines: list[Line], normal_balance: NormalBalance) -> None:
    counters = counters_of(lines)
    whole = tuple(balance(kind, normal_balance, counters).amount for kind in BalanceKind)
    assert amounts(normal_balance, counters) == whole
