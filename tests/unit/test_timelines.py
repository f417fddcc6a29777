"""What is folded of an account, and which runs are merged: few runs, and each version sorted again a few times only."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ledger_server.reading.timelines import SIZES, Sizes, next_fold


def test_few_versions_are_left_as_they_are() -> None:
    assert next_fold(0, [], SIZES.tail_versions - 1, SIZES) is None
    assert next_fold(5_000, [1], 5_000 + SIZES.tail_versions - 1, SIZES) is None


def test_as_many_runs_as_make_one_of_the_next_level_are_merged() -> None:
    sizes = Sizes(tail_versions=10, fanout=3)
    runs: list[list[int]] = []
    for folded in range(0, 120, 10):
        new = next_fold(folded, runs[-1] if runs else [], folded + 10, sizes)
        assert new is not None
        assert (new.first_version, new.last_version) == (folded + 1, folded + 10)
        kept = (runs[-1] if runs else [])[: len(runs[-1]) - len(new.merged)] if runs else []
        runs.append([*kept, new.run_start])
    assert runs[:5] == [[1], [1, 11], [1], [1, 31], [1, 31, 41]]
    assert runs[8:] == [[1], [1, 91], [1, 91, 101], [1, 91]]


def test_a_million_versions_are_in_few_runs_and_were_each_sorted_a_few_times() -> None:
    starts: list[int] = []
    folded = written = runs_max = 0
    while folded < 1_000_000:
        new = next_fold(folded, starts, folded + SIZES.tail_versions, SIZES)
        assert new is not None
        starts = [*starts[: len(starts) - len(new.merged)], new.run_start]
        folded = new.last_version
        written += folded - new.run_start + 1
        runs_max = max(runs_max, len(starts))
    assert runs_max <= 4 * (SIZES.fanout - 1)
    assert written / folded < 5


@given(
    st.builds(Sizes, st.integers(1, 5), st.integers(2, 4), st.integers(1, 40), st.integers(1, 4)),
    st.lists(st.integers(0, 60), max_size=60),
)
def test_runs_cover_every_folded_version_once(sizes: Sizes, growth: list[int]) -> None:
    starts: list[int] = []
    folded = newest = 0
    for more in growth:
        newest += more
        while (new := next_fold(folded, starts, newest, sizes)) is not None:
            assert new.first_version == folded + 1
            assert folded < new.last_version <= newest
            assert starts[len(starts) - len(new.merged) :] == list(new.merged)
            assert new.run_start == (new.merged[0] if new.merged else new.first_version)
            starts = [*starts[: len(starts) - len(new.merged)], new.run_start]
            folded = new.last_version
        assert newest - folded < sizes.tail_versions
        assert starts == sorted(set(starts))
        assert all(later - earlier >= 1 for earlier, later in pairwise(starts))
