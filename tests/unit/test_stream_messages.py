"""Events put into responses as bytes: what a subscriber parses is what was logged, less what does not pass."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger_client.v1.balances_pb2 import Balance, Balances
from ledger_client.v1.streams_pb2 import BalanceChange, Event, WatchBalancesResponse
from ledger_server.events.messages import (
    RESPONSE_BYTES_MAX,
    RESPONSE_EVENTS_MAX,
    Delivery,
    LoggedEvent,
    conflated,
    responses,
)

changes = st.builds(
    lambda account_id, lock_version, amount: BalanceChange(
        account_id=account_id,
        lock_version=lock_version,
        after=Balances(posted=Balance(amount=str(amount), currency="USD", currency_exponent=2)),
    ),
    st.sampled_from("abcdef"),
    st.integers(0, 2**40),
    st.integers(),
)
events = st.builds(
    lambda position, actor, account_id, changes: Event(
        position=position, actor=actor, account_id=account_id, changes=changes
    ),
    st.integers(1, 2**40),
    st.text(max_size=300),
    st.sampled_from(["", "created"]),
    st.lists(changes, max_size=6),
)


@given(events, st.sets(st.integers(0, 5)))
def test_a_selection_is_the_event_with_those_changes_only(event: Event, chosen: set[int]) -> None:
    logged = LoggedEvent(event.SerializeToString(deterministic=True))
    indexes = [n for n in sorted(chosen) if n < len(event.changes)]
    expected = Event()
    expected.CopyFrom(event)
    del expected.changes[:]
    expected.changes.extend(event.changes[n] for n in indexes)
    for _ in range(2):
        assert Event.FromString(logged.select(indexes)) == expected
    everything = logged.select(range(len(event.changes)))
    assert Event.FromString(everything) == event


@given(st.lists(events, max_size=10), st.sampled_from([1, 200]))
def test_responses_hold_all_events_in_order(sent: list[Event], times: int) -> None:
    sent = sent * times
    deliveries = [Delivery(event.position, event.SerializeToString(deterministic=True)) for event in sent]
    received = []
    for position, message in responses(deliveries):
        response = WatchBalancesResponse.FromString(message)
        assert response.WhichOneof("message") == "changes"
        part = [response.changes, *response.further_changes]
        assert part[-1].position == position
        assert len(part) <= RESPONSE_EVENTS_MAX
        assert len(part) == 1 or sum(event.ByteSize() for event in part) <= RESPONSE_BYTES_MAX
        received += part
    assert received == sent


@given(st.lists(events, min_size=2, max_size=8))
def test_a_fold_goes_from_the_first_change_to_the_last(sent: list[Event]) -> None:
    deliveries = [Delivery(event.position, event.SerializeToString(deterministic=True)) for event in sent]
    ((position, message),) = conflated(deliveries)
    fold = WatchBalancesResponse.FromString(message).conflated
    assert (fold.first_position, fold.position, fold.folded) == (sent[0].position, position, len(sent))
    changes = [(event.position, change) for event in sent for change in event.changes]
    assert [one.account_id for one in fold.changes] == sorted({change.account_id for _, change in changes})
    for one in fold.changes:
        own = [(at, change) for at, change in changes if change.account_id == one.account_id]
        assert (one.first_position, one.last_position, one.folded) == (own[0][0], own[-1][0], len(own))
        assert (one.before, one.after) == (own[0][1].before, own[-1][1].after)
        assert one.lock_version == own[-1][1].lock_version


@given(st.lists(events, max_size=1))
def test_a_single_event_is_not_folded(sent: list[Event]) -> None:
    deliveries = [Delivery(event.position, event.SerializeToString(deterministic=True)) for event in sent]
    assert list(conflated(deliveries)) == list(responses(deliveries))
