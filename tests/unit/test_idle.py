"""Which ledgers are remembered while nobody writes to them."""

from __future__ import annotations

from datetime import UTC, datetime

from ledger_server.domain.book import Book
from ledger_server.domain.model import Ledger
from ledger_server.posting.idle import IdleLanes
from ledger_server.posting.lane import LANE_SIZE, Lane

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def _book(size: int) -> Book:
    return Book(Ledger("a", "Test", "", {}, NOW, NOW), "epoch", 0, NOW, b"", size=size)


def _lane(name: str, book_size: int = 0) -> Lane:
    lane = Lane(name)
    lane.book = _book(book_size)
    return lane


def test_those_used_last_are_remembered() -> None:
    idle = IdleLanes(3 * LANE_SIZE)
    lanes = {name: _lane(name) for name in "abcd"}
    for name in "abc":
        idle.keep(lanes[name])
    assert idle.take("a") is lanes["a"]
    idle.keep(lanes["a"])
    idle.keep(lanes["d"])
    assert [idle.take(name) for name in "abcd"] == [lanes["a"], None, lanes["c"], lanes["d"]]


def test_one_with_much_in_it_counts_for_many() -> None:
    idle = IdleLanes(10 * LANE_SIZE)
    for n in range(9):
        idle.keep(_lane(str(n)))
    idle.keep(_lane("large", 5 * LANE_SIZE))
    assert len(idle) == 5
    idle.keep(_lane("small"))
    assert idle.take("large") is not None
    # What it took up is free again.
    for n in range(10):
        idle.keep(_lane(f"later {n}"))
    assert len(idle) == 10


def test_one_that_is_too_large_is_not_remembered_and_no_other_forgotten_for_it() -> None:
    idle = IdleLanes(10 * LANE_SIZE)
    idle.keep(_lane("small"))
    idle.keep(_lane("large", 10 * LANE_SIZE))
    assert idle.take("large") is None
    assert idle.take("small") is not None
    assert len(idle) == 0


def test_its_size_is_that_of_when_it_came_to_rest() -> None:
    idle = IdleLanes(2 * LANE_SIZE)
    lane = _lane("growing")
    for size in (0, LANE_SIZE, 0):
        lane.book = _book(size)
        idle.keep(lane)
        lane.book = _book(LANE_SIZE - size)
        assert idle.take("growing") is lane
    idle.keep(_lane("a"))
    idle.keep(_lane("b"))
    assert len(idle) == 2
