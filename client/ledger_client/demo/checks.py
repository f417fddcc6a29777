"""Comparing what the service says with what the story says."""

from dataclasses import dataclass, field

from ledger_client.demo.story import BalanceNumbers, State
from ledger_client.v1.balances_pb2 import Balance, Balances


@dataclass
class Checks:
    """Counts comparisons and keeps the differences."""

    made: int = 0
    differences: list[str] = field(default_factory=list)

    def equal(self, what: str, seen: object, expected: object) -> bool:
        """Whether the two are equal; a difference is kept, with what it is about."""
        self.made += 1
        if seen != expected:
            self.differences.append(f"{what}: {seen!r}, expected {expected!r}")
        return seen == expected

    def state(self, what: str, balances: Balances, lock_version: int, expected: State) -> None:
        """Compare the ten numbers of an account."""
        self.equal(f"{what}, lock_version", lock_version, expected.lock_version)
        self.balances(what, balances, expected)

    def balances(self, what: str, balances: Balances, expected: State) -> None:
        """Compare the nine numbers of its balances."""
        for kind, numbers in (
            ("pending", expected.pending),
            ("posted", expected.posted),
            ("available", expected.available),
        ):
            balance: Balance = getattr(balances, kind)
            for part, seen, wanted in zip(("debits", "credits", "amount"), parts(balance), numbers, strict=True):
                self.equal(f"{what}, {part} of the {kind} balance", seen, wanted)


def parts(balance: Balance) -> BalanceNumbers:
    """The numbers of a balance as the story writes them."""
    return int(balance.debits), int(balance.credits), int(balance.amount)
