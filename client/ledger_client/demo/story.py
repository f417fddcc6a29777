"""What happens at Rarebnb, and every number that must come of it, worked out by hand.

Guest X books a stay at owner Y's for $200, of which $10 are Rarebnb's commission; pays; the owner is paid out. Each
movement is pending until it is real: the stay took place, the bank settled.

The numbers are minor units (cents). A balance is (debits, credits, amount); the three come in the order pending,
posted, available. A lock_version counts the commands that moved the account, so posting is one more.
"""

from dataclasses import dataclass
from typing import Literal

CASH, REVENUE, GUEST, OWNER = "Cash", "Revenue", "Guest X Receivable", "Owner Y Payable"
BOOKING, PAYMENT, PAYOUT = "Guest X Booking", "Guest X Payment", "Owner Y Payout"

BalanceNumbers = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """An account of the tutorial."""

    name: str
    purpose: str
    normal_balance: Literal["debit", "credit"]
    external_id: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class State:
    """The numbers of an account at one lock_version."""

    pending: BalanceNumbers
    posted: BalanceNumbers
    available: BalanceNumbers
    lock_version: int


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the tutorial, and the accounts it changes."""

    title: str
    told: str
    transaction: str
    command: Literal["create", "post"]
    after: dict[str, State]


ACCOUNTS = (
    AccountPlan(CASH, "Tracks Rarebnb cash", "debit", "cash", {"accountType": "cash"}),
    AccountPlan(REVENUE, "Tracks Rarebnb revenue", "credit", "revenue", {"accountType": "revenue"}),
    AccountPlan(
        GUEST,
        "Tracks fees to be collected from Guest X for a stay",
        "debit",
        "guest-x-receivable",
        {"accountType": "receivable", "guestName": "Guest X", "guestId": "guest-x"},
    ),
    AccountPlan(
        OWNER,
        "Tracks amount owed to Owner Y for hosting a guest",
        "credit",
        "owner-y-payable",
        {"accountType": "payable", "ownerName": "Owner Y", "ownerId": "owner-y"},
    ),
)

# Each line: debited or credited, account, cents.
ENTRIES: dict[str, list[tuple[Literal["debit", "credit"], str, int]]] = {
    BOOKING: [("debit", GUEST, 20000), ("credit", REVENUE, 1000), ("credit", OWNER, 19000)],
    PAYMENT: [("debit", CASH, 20000), ("credit", GUEST, 20000)],
    PAYOUT: [("debit", OWNER, 19000), ("credit", CASH, 19000)],
}
EXTERNAL_IDS = {BOOKING: "booking-1", PAYMENT: "guest-payment-1", PAYOUT: "owner-payout-1"}
TRANSACTION_METADATA = {
    BOOKING: {"transactionType": "booking", "guestId": "guest-x", "ownerId": "owner-y"},
    PAYMENT: {"transactionType": "payment", "guestId": "guest-x"},
    PAYOUT: {"transactionType": "payout", "ownerId": "owner-y"},
}

NOTHING: BalanceNumbers = (0, 0, 0)
BEGINNING = {plan.name: State(NOTHING, NOTHING, NOTHING, 0) for plan in ACCOUNTS}

STEPS = (
    Step(
        "Guest X books a stay",
        "Guest X will owe $200.00: $190.00 to owner Y and a commission of $10.00. Until the stay, it is pending.",
        BOOKING,
        "create",
        {
            REVENUE: State((0, 1000, 1000), NOTHING, NOTHING, 1),
            GUEST: State((20000, 0, 20000), NOTHING, NOTHING, 1),
            OWNER: State((0, 19000, 19000), NOTHING, NOTHING, 1),
        },
    ),
    Step(
        "The stay takes place",
        "The booking is posted: the commission is earned, the guest owes, and owner Y is owed on all three balances.",
        BOOKING,
        "post",
        {
            REVENUE: State((0, 1000, 1000), (0, 1000, 1000), (0, 1000, 1000), 2),
            GUEST: State((20000, 0, 20000), (20000, 0, 20000), (20000, 0, 20000), 2),
            OWNER: State((0, 19000, 19000), (0, 19000, 19000), (0, 19000, 19000), 2),
        },
    ),
    Step(
        "Guest X pays",
        "The payment is on its way: the cash is not there yet, but what the guest owes is spoken for.",
        PAYMENT,
        "create",
        {
            CASH: State((20000, 0, 20000), NOTHING, NOTHING, 1),
            GUEST: State((20000, 20000, 0), (20000, 0, 20000), (20000, 20000, 0), 3),
        },
    ),
    Step(
        "The payment settles",
        "The bank has the money: cash is up, and guest X owes nothing.",
        PAYMENT,
        "post",
        {
            CASH: State((20000, 0, 20000), (20000, 0, 20000), (20000, 0, 20000), 2),
            GUEST: State((20000, 20000, 0), (20000, 20000, 0), (20000, 20000, 0), 4),
        },
    ),
    Step(
        "Owner Y is paid out",
        "$190.00 leave for owner Y's bank: still posted as cash, but no longer available.",
        PAYOUT,
        "create",
        {
            CASH: State((20000, 19000, 1000), (20000, 0, 20000), (20000, 19000, 1000), 3),
            OWNER: State((19000, 19000, 0), (0, 19000, 19000), (19000, 19000, 0), 3),
        },
    ),
    Step(
        "The payout settles",
        "Nobody owes anybody. Rarebnb keeps its commission: $10.00 of cash, earned as revenue.",
        PAYOUT,
        "post",
        {
            CASH: State((20000, 19000, 1000), (20000, 19000, 1000), (20000, 19000, 1000), 4),
            OWNER: State((19000, 19000, 0), (19000, 19000, 0), (19000, 19000, 0), 4),
        },
    ),
)
