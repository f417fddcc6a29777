"""Decimals and the integers the ledger counts in: minor units of a currency, exactly, at any size.

The exponent is the number of decimal places between major and minor unit: 2 for USD, 0 for JPY, 18 for wei.
Nothing here depends on the decimal context, whose precision silently rounds arithmetic on large amounts.
"""

import re
from decimal import Decimal

_PLAIN_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_PLAIN_INTEGER = re.compile(r"-?[0-9]+")
_MAX_EXPONENT = 30
# No amount is longer; a Decimal such as 1E+999999999 would otherwise be written out digit by digit.
_MAX_DIGITS = 4_000


def to_minor_units(amount: Decimal | int | str, exponent: int) -> int:
    """``to_minor_units("190.00", 2)`` is 19000.

    Args:
        amount: in the major unit; a string is plain decimal, without exponent, separators or spaces.
        exponent: decimal places of the minor unit, 0..30.

    Raises:
        TypeError: the amount is a float, a bool or anything else that is no exact number.
        ValueError: it is malformed, not finite, too long, or has a fraction of the minor unit.
    """
    _check_exponent(exponent)
    if isinstance(amount, bool) or not isinstance(amount, Decimal | int | str):
        raise TypeError(f"an amount is a Decimal, an int or a str, not {type(amount).__name__}")
    if isinstance(amount, int):
        return amount * _power_of_ten(exponent)
    if isinstance(amount, str) and not _PLAIN_DECIMAL.fullmatch(amount):
        raise ValueError(f"not a plain decimal number: {amount[:80]!r}")
    sign, digits, places = Decimal(amount).as_tuple()
    if not isinstance(places, int):
        raise ValueError(f"an amount is finite, not {amount}")
    if not any(digits):
        return 0
    shift = places + exponent
    if len(digits) + max(shift, 0) > _MAX_DIGITS:
        raise ValueError(f"an amount has at most {_MAX_DIGITS} digits")
    if shift < 0 and any(digits[shift:]):
        raise ValueError(f"{str(amount)[:80]} has a fraction of the minor unit (exponent {exponent})")
    units = int("".join(map(str, digits[: len(digits) + min(shift, 0)])) or "0") * _power_of_ten(max(shift, 0))
    return -units if sign else units


def from_minor_units(units: int | str, exponent: int) -> Decimal:
    """``from_minor_units("19000", 2)`` is ``Decimal("190.00")``: always with the currency's decimal places.

    Args:
        units: an amount of the ledger, as it sends it or as an int.
        exponent: decimal places of the minor unit, 0..30.

    Raises:
        TypeError: the units are neither an int nor a str.
        ValueError: the string is no base-10 integer, or the exponent is out of range.
    """
    _check_exponent(exponent)
    if isinstance(units, bool) or not isinstance(units, int | str):
        raise TypeError(f"minor units are an int or a str, not {type(units).__name__}")
    text = str(units)
    if not _PLAIN_INTEGER.fullmatch(text):
        raise ValueError(f"not a base-10 integer: {text[:80]!r}")
    digits = text.removeprefix("-").lstrip("0") or "0"
    negative = text.startswith("-") and digits != "0"
    return Decimal((int(negative), tuple(map(int, digits)), -exponent))


def _power_of_ten(exponent: int) -> int:
    return int("1" + "0" * exponent)


def _check_exponent(exponent: int) -> None:
    if not 0 <= exponent <= _MAX_EXPONENT:
        raise ValueError(f"an exponent is 0..{_MAX_EXPONENT}, not {exponent}")
