"""Amounts, counters and the three balances of semantics: integers in the currency's minor unit, never floats."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple

AMOUNT_DIGITS_MAX = 36

# ISO 4217 codes whose minor unit is not two decimal places; every other code of ISO_4217 has two.
_ISO_EXPONENTS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE "
    "CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD "
    "HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP "
    "MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD "
    "SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS "
    "VED VES WST XAD XCD XCG YER ZAR ZMW ZWG",
}
ISO_4217 = {code: exponent for exponent, codes in _ISO_EXPONENTS.items() for code in codes.split()}

_SIGNED_AMOUNT = re.compile(r"0|-?[1-9][0-9]{0,35}")


class NormalBalance(IntEnum):
    """The side on which a balance grows; numbered as in the protos and the tables."""

    DEBIT = 1
    CREDIT = 2


class Direction(IntEnum):
    """The side of an account that an entry is written on; numbered as in the protos and the tables."""

    DEBIT = 1
    CREDIT = 2


class BalanceKind(IntEnum):
    """Which of the three balances; numbered as in the protos."""

    POSTED = 1
    PENDING = 2
    AVAILABLE = 3


class Operator(IntEnum):
    """How a balance is compared; numbered as in the protos."""

    LT = 1
    LTE = 2
    EQ = 3
    NE = 4
    GTE = 5
    GT = 6

    def holds(self, seen: int, demanded: int) -> bool:
        match self:
            case Operator.LT:
                return seen < demanded
            case Operator.LTE:
                return seen <= demanded
            case Operator.EQ:
                return seen == demanded
            case Operator.NE:
                return seen != demanded
            case Operator.GTE:
                return seen >= demanded
            case Operator.GT:
                return seen > demanded


OPERATOR_SYMBOLS = {
    Operator.LT: "<",
    Operator.LTE: "≤",
    Operator.EQ: "=",
    Operator.NE: "≠",
    Operator.GTE: "≥",
    Operator.GT: ">",
}


def parse_amount(text: str) -> int | None:
    """An entry's amount, 0 … 10^36 - 1, or None if the text is not exactly that."""
    # The common case first: str.isdecimal also takes other scripts' digits, hence isascii.
    if text.isascii() and text.isdecimal() and (text[0] != "0" or text == "0") and len(text) <= AMOUNT_DIGITS_MAX:
        return int(text)
    return None


def parse_signed_amount(text: str) -> int | None:
    """A balance demanded by a caller: as `parse_amount`, optionally negative, never `-0`."""
    return int(text) if _SIGNED_AMOUNT.fullmatch(text) else None


class Counters(NamedTuple):
    """The four counters of an account. The pending ones hold only what is pending."""

    posted_debits: int = 0
    posted_credits: int = 0
    pending_debits: int = 0
    pending_credits: int = 0

    def plus(self, other: Counters, sign: int = 1) -> Counters:
        """These and the others, added, or subtracted if the sign is -1."""
        return Counters(*[own + sign * theirs for own, theirs in zip(self, other, strict=True)])


class Balance(NamedTuple):
    """One balance: what it counts on each side, and the difference by the account's normality."""

    credits: int
    debits: int
    amount: int


def balance(kind: BalanceKind, normal_balance: NormalBalance, counters: Counters) -> Balance:
    """One of the three balances of an account.

    Pending counts everything, posted what is posted, available what is posted and, of the pending, the side
    that takes away: debits of a credit-normal account, credits of a debit-normal one.
    """
    debits, credits, pending_debits, pending_credits = counters
    credit_normal = normal_balance == NormalBalance.CREDIT
    if kind == BalanceKind.PENDING or (kind == BalanceKind.AVAILABLE and credit_normal):
        debits += pending_debits
    if kind == BalanceKind.PENDING or (kind == BalanceKind.AVAILABLE and not credit_normal):
        credits += pending_credits
    return Balance(credits, debits, credits - debits if credit_normal else debits - credits)


def amounts(normal_balance: NormalBalance, counters: Counters) -> tuple[int, int, int]:
    """The amounts of the three balances of an account, by kind: what `balance` says, where nothing else is asked."""
    debits, credits, pending_debits, pending_credits = counters
    if normal_balance == NormalBalance.CREDIT:
        posted = credits - debits
        return posted, posted + pending_credits - pending_debits, posted - pending_debits
    posted = debits - credits
    return posted, posted + pending_debits - pending_credits, posted - pending_credits
