"""The rows of the table that need nothing but Python and signals, briefly; `make faults` does them all."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults import durability, operations, repeats  # noqa: F401  (their rows enter themselves)
from tests.faults.rows import ROWS
from tests.faults.stage import make_template, staged

BRIEFLY = {"6": 1, "7a": 1, "7b": 1, "7c": 1, "21": 60, "41": 1}


@pytest.fixture(scope="session")
async def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return await make_template(tmp_path_factory.mktemp("template") / "postgres")


@pytest.mark.parametrize("number", BRIEFLY)
async def test_promises_are_kept_through_faults(number: str, template: Path, tmp_path: Path) -> None:
    (row,) = (row for row in ROWS if row.number == number)
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")
    async with staged(tmp_path, seed, print, is_short=True, template=template, is_timed=False) as stage:
        result = await row.run(stage, BRIEFLY[number])
    print(result)
    assert result.findings == []
    assert result.lost == result.doubled == 0
