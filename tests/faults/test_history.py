"""The comparison sees each promise broken, and nothing where none is."""

from __future__ import annotations

from copy import deepcopy

import pytest

from ledger_client import Event
from tests.faults.history import Call, History, Outcome, Recorded, compare

TOLD = History(
    "books",
    [
        Call("one", "r1", Outcome.ACKNOWLEDGED, 1, "t1"),
        Call("two", "r2", Outcome.REFUSED, said="CONDITION_FAILED"),
        Call("three", "r3", Outcome.ACKNOWLEDGED, 2, "t3"),
    ],
)
KEPT = Recorded([Event(position=1, request_id="r1"), Event(position=2, request_id="r3")], {"t1": "one", "t3": "three"})


def test_what_agrees_is_found_to_agree() -> None:
    assert compare(TOLD, KEPT).sentences() == []


@pytest.mark.parametrize(
    ("kind", "events", "keys"),
    [
        pytest.param("lost", [("r1", 1)], {"t1": "one"}, id="an acknowledged event is not there"),
        pytest.param("lost", [("r1", 1), ("r9", 2)], {"t1": "one", "t3": "three"}, id="another stands in its place"),
        pytest.param("lost", [("r1", 1), ("r3", 2)], {"t1": "one"}, id="its transaction is not there"),
        pytest.param(
            "doubled", [("r1", 1), ("r3", 2), ("r1", 3)], {"t1": "one", "t3": "three"}, id="a request has two events"
        ),
        pytest.param(
            "doubled",
            [("r1", 1), ("r3", 2), ("r4", 3)],
            {"t1": "one", "t3": "three", "t4": "three"},
            id="a call has two transactions under two request ids",
        ),
        pytest.param(
            "traces", [("r1", 1), ("r3", 2), ("r2", 3)], {"t1": "one", "t3": "three"}, id="a refused call has an event"
        ),
    ],
)
def test_a_broken_promise_is_seen(kind: str, events: list[tuple[str, int]], keys: dict[str, str]) -> None:
    recorded = Recorded([Event(request_id=request_id, position=position) for request_id, position in events], keys)
    verdict = compare(TOLD, recorded)
    assert [name for name in verdict.__dataclass_fields__ if getattr(verdict, name)] == [kind]


def test_what_stays_unknown_is_seen() -> None:
    told = deepcopy(TOLD)
    told.calls.append(Call("four", "r4"))
    assert compare(told, KEPT).undecided
