"""How many writes of a crowd travel in one call."""

import pytest

from ledger_client.batching import share_of


@pytest.mark.parametrize(
    ("count", "calls"),
    [
        (1, [1]),
        (16, [16]),
        (17, [16, 1]),
        (32, [16, 16]),
        (64, [32, 32]),
        (95, [48, 47]),
        (96, [32, 32, 32]),
        (128, [32, 32, 32, 32]),
        (1_000, [250, 250, 250, 250]),
    ],
)
def test_a_crowd_goes_in_equal_calls_of_which_there_are_more_only_if_they_are_large(
    count: int, calls: list[int]
) -> None:
    share = share_of(count)
    assert [min(share, count - begun) for begun in range(0, count, share)] == calls
