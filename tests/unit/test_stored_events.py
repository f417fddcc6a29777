"""What is stored of an event makes the event again, whichever way it is stored."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_client.v1.streams_pb2 import BalanceChange, Event
from ledger_server.domain.book import Effect, TransactionWrite
from ledger_server.domain.commands import CreateLedger
from ledger_server.domain.ids import REGISTRY, first_line
from ledger_server.domain.model import (
    AccountVersion,
    ArchivedReason,
    Category,
    CategoryChange,
    CategoryVersion,
    EntrySet,
    EventKind,
    Transaction,
    TransactionStatus,
)
from ledger_server.domain.model import BalanceChange as Change
from ledger_server.domain.money import Counters, NormalBalance
from ledger_server.events.encode import balances_to, timestamp_to
from ledger_server.events.stored import is_of_moves, pack_event, unpack
from tests.stored_events import read_event, write_payload
from tests.unit.test_encode import ACCOUNT_ID, NOW, counters, versions

TRANSACTION_ID = "01a1fbce-9b62-769d-b063-a61ea7c70000"

actors = st.sampled_from(["anonymous", "", "somebody", "é" * 200]) | st.text("abcé", max_size=300)
request_ids = st.sampled_from(["", "a" * 32, "A" * 32, "0123456789abcdef" * 2, "é" * 128]) | st.text(
    "a1 -", max_size=40
)


def transaction() -> Transaction:
    return Transaction(
        id=TRANSACTION_ID,
        ledger_id=1,
        version=0,
        status=TransactionStatus.POSTED,
        archived_reason=ArchivedReason(0),
        description="",
        external_id=None,
        metadata={},
        effective_at=NOW,
        entry_set=EntrySet(first_line(1), 0, TransactionStatus.POSTED, NOW, NOW, ()),
        position=1,
        created_position=1,
        created_at=NOW,
        updated_at=NOW,
        posted_at=NOW,
        expires_at=None,
        reverses_id=None,
        partially_posts_id=None,
    )


def category_of(side: NormalBalance, currency: str) -> Category:
    return Category(
        id=ACCOUNT_ID,
        ledger_id=1,
        name="n",
        description="",
        normal_balance=side,
        currency=currency,
        currency_exponent=2,
        external_id=None,
        metadata={},
        created_position=1,
        created_at=NOW,
        updated_at=NOW,
    )


@st.composite
def category_changes(draw: st.DrawFn) -> CategoryChange:
    category = category_of(draw(st.sampled_from(NormalBalance)), draw(st.sampled_from(["USD", "JPY"])))
    return CategoryChange(CategoryVersion(category, draw(counters), 1), CategoryVersion(category, draw(counters), 1))


def account_change(after: AccountVersion, before: Counters) -> Change:
    return Change(AccountVersion(after.account, 1, before, 1), after, NOW)


def effect_of(
    actor: str, position: int, time: datetime, changes: list[Change], category_changes: list[CategoryChange]
) -> Effect:
    return Effect(
        CreateLedger(ledger_id=REGISTRY, actor=actor, name="", description="", metadata={}),
        EventKind.TRANSACTION_POSTED,
        position,
        time,
        changes=changes,
        category_changes=category_changes,
        transactions=(TransactionWrite(transaction(), None, True),),
    )


@given(
    st.lists(st.builds(account_change, versions(), counters), max_size=4),
    st.lists(category_changes(), max_size=2),
    st.integers(1, 2**62),
    actors,
    request_ids,
    st.integers(0, 10**15).map(lambda n: NOW + timedelta(microseconds=n)),
)
def test_an_event_is_made_again_from_what_is_stored(
    changes: list[Change],
    category_changes: list[CategoryChange],
    position: int,
    actor: str,
    request_id: str,
    time: datetime,
) -> None:
    effect = effect_of(actor, position, time, changes, category_changes)
    expected = Event(
        position=position,
        time=timestamp_to(time),
        transaction_id=TRANSACTION_ID,
        kind=int(EventKind.TRANSACTION_POSTED),  # type: ignore[arg-type]
        actor=actor,
        request_id=request_id,
    )
    for before, after, _, _ in changes:
        expected.changes.append(
            BalanceChange(
                account_id=ACCOUNT_ID,
                lock_version=after.lock_version,
                before=balances_to(before),
                after=balances_to(after),
            )
        )
    for was, now in category_changes:
        expected.changes.append(BalanceChange(category_id=ACCOUNT_ID, before=balances_to(was), after=balances_to(now)))

    stored = pack_event(effect, request_id)

    assert Event.FromString(unpack(position, time, stored)) == expected
    assert read_event({"position": position, "time": time, "payload": stored}) == expected
    assert Event.FromString(unpack(position, time, write_payload(expected))) == expected
    # Only what passes wherever nothing is filtered may be said to.
    assert expected.changes or not is_of_moves(stored)
    assert not is_of_moves(write_payload(expected))


@pytest.mark.parametrize("count", [2**16 - 1, 2**16])
def test_an_event_may_be_of_more_accounts_and_categories_than_two_bytes_count(count: int) -> None:
    category = category_of(NormalBalance.DEBIT, "USD")
    change = CategoryChange(
        CategoryVersion(category, Counters(1, 0, 0, 0), 1), CategoryVersion(category, Counters(2, 0, 0, 0), 2)
    )
    stored = pack_event(effect_of("anonymous", 1, NOW, [], [change] * count), "r")
    event = Event.FromString(unpack(1, NOW, stored))
    assert len(event.changes) == count
    assert event.changes[0] == event.changes[-1]
    assert event.changes[-1].after.posted.debits == "2"


@pytest.mark.parametrize("stored", [b"", b"\x05", b"\x05" + b"x" * 40])
def test_what_was_never_stored_is_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match=r"event|lines"):
        unpack(1, NOW, stored)
