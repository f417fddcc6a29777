"""Bites of what is uneven: as large as the time allows that the one before took."""

import pytest

from ledger_server.reading.paging import BITE_SECONDS, BITE_VERSIONS_MAX, BITE_VERSIONS_MIN, Bites


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("ledger_server.reading.paging.time.monotonic", lambda: now[0])
    return now


def test_bites_double_while_they_are_quick(clock: list[float]) -> None:
    bites, sizes = Bites.of_versions(), []
    for _ in range(12):
        sizes.append(bites.next())
        clock[0] += BITE_SECONDS / 2
    assert sizes[:3] == [BITE_VERSIONS_MIN, 2 * BITE_VERSIONS_MIN, 4 * BITE_VERSIONS_MIN]
    assert sizes[-1] == BITE_VERSIONS_MAX


def test_a_slow_bite_is_followed_by_a_smaller_one_and_there_is_always_a_next(clock: list[float]) -> None:
    bites, sizes = Bites.of_versions(), []
    for _ in range(6):
        sizes.append(bites.next())
        clock[0] += 10 * BITE_SECONDS
    assert sizes == [BITE_VERSIONS_MIN, BITE_VERSIONS_MIN // 4, 1, 1, 1, 1]


def test_bites_that_take_their_time_stay_as_they_are(clock: list[float]) -> None:
    bites, sizes = Bites.of_versions(), []
    for _ in range(4):
        sizes.append(bites.next())
        clock[0] += 2 * BITE_SECONDS
    assert set(sizes) == {BITE_VERSIONS_MIN}
