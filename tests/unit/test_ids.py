"""Ids: UUIDv7, in the order of their times, and the consecutive ids of entries."""

from __future__ import annotations

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_server.domain.ids import ENTRIES_MAX, new_first_entry_id, new_id, nth_entry_id, parse_id


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


def test_the_ids_of_entries_are_consecutive_and_begin_at_the_first() -> None:
    first = new_first_entry_id()
    ids = [nth_entry_id(first, n) for n in range(ENTRIES_MAX)]
    assert ids[0] == first
    assert [uuid.UUID(text).int - uuid.UUID(first).int for text in ids] == list(range(ENTRIES_MAX))
    assert uuid.UUID(ids[-1]).version == 7
    # Any entry's id leads to any other's.
    assert nth_entry_id(ids[-1], 0) == first


@given(st.uuids())
def test_an_id_is_read_in_any_case_and_kept_in_lower(value: uuid.UUID) -> None:
    assert parse_id(str(value)) == str(value)
    assert parse_id(str(value).upper()) == str(value)


@pytest.mark.parametrize(
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
def test_what_is_no_id_is_not_read(text: str) -> None:
    assert parse_id(text) is None
