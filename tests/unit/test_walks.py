"""How far a walk of the verification is, by the key that it has come to."""

from datetime import UTC, datetime, timedelta

import pytest

from ledger_server.auditing.tables import CHECKS, Span
from ledger_server.domain.ids import first_line

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SPAN = Span(1_000, BEGAN, BEGAN + timedelta(hours=1))
FRACTIONS = {check.name: check.fraction for check in CHECKS}


def id_of(time: datetime) -> str:
    digits = f"{int(time.timestamp() * 1e3):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"


@pytest.mark.parametrize(("minutes", "done"), [(-1, 0.0), (0, 0.0), (15, 0.25), (60, 1.0), (61, 1.0)])
def test_by_the_time_in_an_id(minutes: int, done: float) -> None:
    assert FRACTIONS["transactions"](SPAN, id_of(BEGAN + timedelta(minutes=minutes))) == pytest.approx(done)


@pytest.mark.parametrize(("position", "done"), [(1, 0.001), (250, 0.25), (1_000, 1.0), (1_001, 1.0)])
def test_by_the_position_in_the_number_of_a_line(position: int, done: float) -> None:
    assert FRACTIONS["entries"](SPAN, str(first_line(position) + 3)) == pytest.approx(done)


def test_a_request_id_tells_nothing_even_if_it_is_a_number() -> None:
    assert FRACTIONS["requests"](SPAN, str(first_line(1_000))) == 0


def test_a_ledger_made_just_now() -> None:
    now = Span(0, BEGAN, BEGAN)
    assert (now.by_time(id_of(BEGAN)), now.by_line(str(first_line(1)))) == (1, 1)
