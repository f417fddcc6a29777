"""Messages put together byte by byte are what protobuf makes of the same values."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from ledger_client.v1.balances_pb2 import Balance, Balances
from ledger_client.v1.streams_pb2 import Event
from ledger_server.domain.model import Account, AccountVersion
from ledger_server.domain.money import BalanceKind, Counters, NormalBalance, balance
from ledger_server.events.encode import balances_to_bytes, varint

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ACCOUNT_ID = "01a1fbce-9b62-769d-b063-a61ea7c7039b"

counters = st.builds(Counters, *[st.integers(0, 10**60)] * 4) | st.builds(Counters, *[st.integers(0, 10**6)] * 2)


@st.composite
def versions(draw: st.DrawFn) -> AccountVersion:
    account = Account(
        id=ACCOUNT_ID,
        ledger_id=1,
        name="n",
        description="",
        normal_balance=draw(st.sampled_from(NormalBalance)),
        currency=draw(st.sampled_from(["USD", "JPY", "X" * 32])),
        currency_exponent=draw(st.integers(0, 30)),
        external_id=None,
        metadata={},
        created_position=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return AccountVersion(account, draw(st.integers(0, 2**62)), draw(counters), 1)


def balances_by_protobuf(version: AccountVersion) -> Balances:
    account = version.account

    def one(kind: BalanceKind) -> Balance:
        credits, debits, amount = balance(kind, account.normal_balance, version.counters)
        return Balance(
            credits=str(credits),
            debits=str(debits),
            amount=str(amount),
            currency=account.currency,
            currency_exponent=account.currency_exponent,
        )

    return Balances(
        pending=one(BalanceKind.PENDING), posted=one(BalanceKind.POSTED), available=one(BalanceKind.AVAILABLE)
    )


@given(versions())
def test_balances_are_the_bytes_that_protobuf_makes(version: AccountVersion) -> None:
    assert balances_to_bytes(version) == balances_by_protobuf(version).SerializeToString()


@given(st.integers(0, 2**63 - 1))
def test_a_varint_is_read_back_by_protobuf(number: int) -> None:
    assert Event.FromString(b"\x08" + varint(number)).position == number
