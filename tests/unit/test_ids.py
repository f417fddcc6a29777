"""Ids: UUIDv7, in the order of their times, and the consecutive ids of entries."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ledger_server.domain.ids import (
    ENTRIES_MAX,
    NIL_ID,
    REGISTRY,
    entry_id,
    first_line,
    first_of,
    is_canonical_id,
    ledger_text,
    new_id,
    new_ledger_id,
    parse_entry_id,
    parse_id,
    parse_ledger_id,
    position_of,
    time_of_id,
)
from ledger_server.domain.times import EPOCH, MILLISECOND

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
# As far as 43 bits of milliseconds go.
times = st.integers(1, 2**43 - 1).map(lambda n: EPOCH + n * MILLISECOND) | st.just(NOW)
positions = st.integers(1, 2**62)
numbers = st.integers(1, 2**63 - 1)


def test_an_id_is_a_uuid_version_7_of_the_present() -> None:
    for _ in range(1_000):
        before = time.time_ns() // 1_000_000
        text = new_id()
        after = time.time_ns() // 1_000_000
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert parsed.version == 7
        assert parsed.variant == uuid.RFC_4122
        assert before <= parsed.int >> 80 <= after


def test_ids_are_many_and_sort_by_their_quarters_of_a_microsecond() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    times = [text[:18] for text in ids]
    assert times == sorted(times)
    assert len(set(times)) > len(ids) / 2


places = st.tuples(st.integers(1, 2**63 - 1), times, st.integers(0, 2**43 - 1), st.integers(0, 3), st.integers(0, 4095))


@given(places)
def test_the_id_of_an_entry_tells_its_line_and_its_time(place: tuple[int, datetime, int, int, int]) -> None:
    ledger_id, time, position, part, n = place
    line = first_line(position, part) + n
    text = entry_id(ledger_id, time, line)
    assert is_canonical_id(text)
    assert uuid.UUID(text).version == 7
    assert uuid.UUID(text).variant == uuid.RFC_4122
    assert parse_entry_id(ledger_id, text) == line
    assert timedelta() <= time - time_of_id(text) < timedelta(milliseconds=1)
    assert position_of(line) == position
    assert first_of(line) == first_line(position, part)


def test_the_ids_of_entries_written_together_are_consecutive() -> None:
    ids = [entry_id(7, NOW, first_line(5) + n) for n in range(ENTRIES_MAX)]
    assert [uuid.UUID(text).int - uuid.UUID(ids[0]).int for text in ids] == list(range(ENTRIES_MAX))


def test_the_id_of_an_entry_is_for_ever() -> None:
    line = first_line(1_234_567, 1) + 3
    assert entry_id(1_700_000_000_000 << 20 | 5, NOW, line) == "019b7ca9-8f2e-7d43-8f54-3f091ef96003"


def test_entries_of_one_time_and_place_have_other_ids_in_each_ledger() -> None:
    assert len({entry_id(ledger_id, NOW, first_line(1)) for ledger_id in range(10_000)}) == 10_000


def test_another_id_names_no_entry() -> None:
    """But one in 131,072, which then names one that is not there, or not of that time."""
    found = [parse_entry_id(7, new_id()) for _ in range(1_000)]
    assert found.count(None) >= 997
    text = entry_id(7, NOW, first_line(5))
    assert parse_entry_id(8, text) is None
    assert parse_entry_id(7, f"{int(text[0], 16) ^ 1:x}{text[1:]}") is None


@given(st.uuids())
def test_an_id_is_read_in_any_case_and_kept_in_lower(value: uuid.UUID) -> None:
    assert parse_id(str(value)) == str(value)
    assert parse_id(str(value).upper()) == str(value)


NO_IDS = pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "01a1fbe0-9ae7-7817-8000-adec0fded3e",
        "01a1fbe0-9ae7-7817-8000-adec0fded3ec1",
        "01a1fbe09ae778178000adec0fded3ec",
        "{01a1fbe0-9ae7-7817-8000-adec0fded3ec}",
        "urn:uuid:01a1fbe0-9ae7-7817-8000-adec0fded3ec",
        "01a1fbe0-9ae7-7817-8000-adec0fded3eg",
        "01a1fbe0-9ae7-7817-8000-adec0fded3ec\n",
        " 01a1fbe0-9ae7-7817-8000-adec0fded3ec",
        "01a1fbe0-9ae7-7817-8000-adec0fded3e٣",
        "01a1fbe0_9ae7_7817_8000_adec0fded3ec",
    ],
)


@NO_IDS
def test_what_is_no_id_is_not_read(text: str) -> None:
    assert parse_id(text) is None


@given(times, positions)
def test_a_ledgers_id_is_a_uuid_version_7_of_when_it_was_created_and_leads_back_to_its_number(
    time: datetime, position: int
) -> None:
    number = new_ledger_id(time, position)
    assert 0 < number < 2**63
    text = ledger_text(number)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == (time - EPOCH) // MILLISECOND
    assert parse_ledger_id(text) == number
    assert parse_ledger_id(text.upper()) == number


@given(numbers)
@example(1)
@example(2**63 - 1)
def test_every_number_that_a_column_holds_has_an_id(number: int) -> None:
    assert parse_ledger_id(ledger_text(number)) == number


def test_the_id_of_a_number_is_for_ever() -> None:
    """Callers keep it, and nothing else does."""
    assert new_ledger_id(NOW, 7) == 1_853_172_529_944_854_535
    assert ledger_text(1_853_172_529_944_854_535) == "019b7ca9-8f2e-7000-8077-bdf736862dcc"


def test_ledgers_of_one_moment_have_ids_of_their_own() -> None:
    numbers = [new_ledger_id(NOW, position) for position in range(1, 1_001)]
    assert len(set(numbers)) == len(numbers)
    assert len({ledger_text(number) for number in numbers}) == len(numbers)
    # Those of the next millisecond come after them, wherever the position begins anew.
    later = NOW + MILLISECOND
    assert numbers == sorted(numbers)
    assert numbers[-1] < new_ledger_id(later, 2**20)


@given(numbers, numbers | st.integers(1, 1_000))
def test_ids_of_ledgers_sort_as_their_numbers_do(number: int, distance: int) -> None:
    other = min(number + distance, 2**63 - 1)
    assert (ledger_text(number) < ledger_text(other)) == (number < other)


def test_the_registry_is_the_nil_ledger() -> None:
    assert ledger_text(REGISTRY) == NIL_ID
    assert parse_ledger_id(NIL_ID) == REGISTRY


@given(st.uuids().map(str) | st.builds(new_id))
def test_an_id_of_something_else_is_that_of_no_ledger(text: str) -> None:
    assert parse_ledger_id(text) is None


@given(numbers, st.integers(0, 35), st.integers(1, 15))
def test_an_id_with_another_digit_is_that_of_no_ledger(number: int, place: int, change: int) -> None:
    text = ledger_text(number)
    assume(text[place] != "-")
    digit = f"{int(text[place], 16) ^ change:x}"
    assert parse_ledger_id(text[:place] + digit + text[place + 1 :]) is None


@given(st.integers(2**63, 2**68 - 1))
def test_a_number_that_no_column_holds_is_that_of_no_ledger(number: int) -> None:
    assert parse_ledger_id(ledger_text(number)) is None


@NO_IDS
def test_what_is_no_id_is_that_of_no_ledger(text: str) -> None:
    assert parse_ledger_id(text) is None
