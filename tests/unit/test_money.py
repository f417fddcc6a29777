"""Decimals and minor units: exact both ways, and no guess where exactness is not to be had."""

import decimal
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_client import from_minor_units, to_minor_units


@pytest.mark.parametrize(
    ("amount", "exponent", "units"),
    [
        ("190.00", 2, 19000),
        ("190", 2, 19000),
        ("190.000", 2, 19000),
        ("-0.01", 2, -1),
        ("0", 2, 0),
        ("-0.00", 2, 0),
        (Decimal("1E+3"), 2, 100_000),
        (Decimal("0E+999999999"), 2, 0),
        (190, 2, 19000),
        (1500, 0, 1500),
        ("0.000000000000000001", 18, 1),
        ("9" * 36, 0, 10**36 - 1),
        ("9" * 50 + "." + "9" * 30, 30, 10**80 - 1),
    ],
)
def test_amounts_become_minor_units(amount: Decimal | int | str, exponent: int, units: int) -> None:
    assert to_minor_units(amount, exponent) == units


@pytest.mark.parametrize(
    ("amount", "exponent", "why"),
    [
        ("0.001", 2, "a fraction of the minor unit"),
        ("1.5", 0, "a fraction of the minor unit"),
        (Decimal("1E-999999999"), 2, "a fraction of the minor unit"),
        (Decimal("NaN"), 2, "finite"),
        (Decimal("sNaN"), 2, "finite"),
        (Decimal("-Infinity"), 2, "finite"),
        (Decimal("1E+999999999"), 2, "digits"),
        ("1e3", 2, "plain decimal"),
        ("1_000", 2, "plain decimal"),
        ("1,000", 2, "plain decimal"),
        (" 1", 2, "plain decimal"),
        ("1\n", 2, "plain decimal"),
        ("+1", 2, "plain decimal"),
        ("", 2, "plain decimal"),
        (".5", 2, "plain decimal"),
        ("NaN", 2, "plain decimal"),
        ("١٢", 2, "plain decimal"),
        ("1", 31, "exponent"),
        ("1", -1, "exponent"),
    ],
)
def test_what_is_no_exact_amount_is_refused(amount: Decimal | str, exponent: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        to_minor_units(amount, exponent)


@pytest.mark.parametrize("amount", [1.0, True, None, b"1"])
def test_only_exact_types_are_amounts(amount: object) -> None:
    with pytest.raises(TypeError):
        to_minor_units(amount, 2)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        from_minor_units(amount, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("units", "exponent", "text"),
    [
        (19000, 2, "190.00"),
        ("19000", 2, "190.00"),
        (-1, 2, "-0.01"),
        (0, 2, "0.00"),
        ("-0", 0, "0"),
        ("007", 2, "0.07"),
        (1500, 0, "1500"),
    ],
)
def test_minor_units_become_decimals_with_the_currency_s_places(units: int | str, exponent: int, text: str) -> None:
    assert str(from_minor_units(units, exponent)) == text


@pytest.mark.parametrize("units", ["", "1.0", "1e3", "--1", "+1", " 1", "1_0", "x"])
def test_text_that_is_no_integer_is_refused(units: str) -> None:
    with pytest.raises(ValueError, match="integer"):
        from_minor_units(units, 2)


@given(units=st.integers(-(10**60), 10**60), exponent=st.integers(0, 30))
def test_every_amount_survives_the_way_there_and_back(units: int, exponent: int) -> None:
    with decimal.localcontext(decimal.Context(prec=3)):
        there = from_minor_units(units, exponent)
        assert to_minor_units(there, exponent) == units
        assert to_minor_units(format(there, "f"), exponent) == units
        assert from_minor_units(str(units), exponent) == there
