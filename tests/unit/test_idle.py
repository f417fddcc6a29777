"""Which ledgers are remembered while nobody writes to them."""

from __future__ import annotations

from datetime import UTC, datetime

from ledger_server.domain.book import Book
from ledger_server.domain.model import Ledger
from ledger_server.posting.idle import IdleLanes
from ledger_server.posting.lane import LANE_SIZE, Lane

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def _book(size: int) -> Book:
    return Book(Ledger(1, "Test", "", {}, NOW, NOW), "epoch", 0, NOW, b"", size=size)


def _lane(ledger_id: int, book_size: int = 0) -> Lane:
    lane = Lane(ledger_id)
    lane.book = _book(book_size)
    return lane


def test_those_used_last_are_remembered() -> None:
    idle = IdleLanes(3 * LANE_SIZE)
    a, b, c, d = lanes = [_lane(n) for n in range(4)]
    for lane in (a, b, c):
        idle.keep(lane)
    assert idle.take(a.ledger_id) is a
    idle.keep(a)
    idle.keep(d)
    assert [idle.take(lane.ledger_id) for lane in lanes] == [a, None, c, d]


def test_one_with_much_in_it_counts_for_many() -> None:
    idle = IdleLanes(10 * LANE_SIZE)
    for n in range(9):
        idle.keep(_lane(n))
    large, small = _lane(10, 5 * LANE_SIZE), _lane(11)
    idle.keep(large)
    assert len(idle) == 5
    idle.keep(small)
    assert idle.take(large.ledger_id) is large
    # What it took up is free again.
    for n in range(20, 30):
        idle.keep(_lane(n))
    assert len(idle) == 10


def test_one_that_is_too_large_is_not_remembered_and_no_other_forgotten_for_it() -> None:
    idle = IdleLanes(10 * LANE_SIZE)
    small, large = _lane(1), _lane(2, 10 * LANE_SIZE)
    idle.keep(small)
    idle.keep(large)
    assert idle.take(large.ledger_id) is None
    assert idle.take(small.ledger_id) is small
    assert len(idle) == 0


def test_its_size_is_that_of_when_it_came_to_rest() -> None:
    idle = IdleLanes(2 * LANE_SIZE)
    lane = _lane(1)
    for size in (0, LANE_SIZE, 0):
        lane.book = _book(size)
        idle.keep(lane)
        lane.book = _book(LANE_SIZE - size)
        assert idle.take(lane.ledger_id) is lane
    idle.keep(_lane(2))
    idle.keep(_lane(3))
    assert len(idle) == 2
