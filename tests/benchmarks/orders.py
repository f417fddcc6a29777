"""What is written: two-entry transactions, drawn from fixed seeds, the same for the service and the references."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

ACCOUNTS = 1_000
# The account that every transaction of a hot workload debits.
HOT = 0
# Its money, so that it can be debited for as long as we like.
FUNDS = 10**15

_DRAWN = 4_096
_CUSTOMERS = 5_000
_AMOUNT_MAX = 10_000


class Order(NamedTuple):
    """A transaction to be written; the accounts are numbers below ACCOUNTS."""

    external_id: str
    debit: int
    credit: int
    amount: int
    metadata: dict[str, str]


def orders(label: str, *, hot: bool = False, accounts: range = range(ACCOUNTS)) -> Iterator[Order]:
    """Endless; the label, of at most 20 characters, makes their external ids unique and all equally long."""
    # Drawn ahead and repeated: drawing is no part of what is measured.
    dice = random.Random(f"{accounts}{hot}")
    drawn = [
        (*_pair(dice, hot, accounts), dice.randint(1, _AMOUNT_MAX), f"customer-{dice.randrange(_CUSTOMERS):04}")
        for _ in range(_DRAWN)
    ]
    number = 0
    while True:
        for debit, credit, amount, customer in drawn:
            number += 1
            metadata = {"channel": "web", "customer": customer}
            yield Order(f"{label:-<20}-{number:07}", debit, credit, amount, metadata)


def _pair(dice: random.Random, hot: bool, accounts: range) -> tuple[int, int]:
    if hot:
        return HOT, dice.choice(accounts[1:])
    debit, credit = dice.sample(accounts, 2)
    return debit, credit
