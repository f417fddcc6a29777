"""The marketplace tutorial, through the real client against the real server."""

import asyncio
import io
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from ledger_client import LedgerClient
from ledger_client.demo import play, story


def console(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False)


def shown(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
async def test_every_number_of_the_tutorial_holds(client: LedgerClient, width: int) -> None:
    on = console(width)
    assert await play(client, on) == 0
    output = shown(on)
    assert output.rstrip().endswith("✓ All 600 checks hold.")
    assert "…" not in output, "nothing is cut off"
    for said in ("Guest X Receivable", "$200.00", "▶ live position 5", "▶ live position 10"):
        assert said in output


async def test_a_number_that_differs_is_named(client: LedgerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    last = story.STEPS[-1]
    wrong = replace(last, after=last.after | {story.CASH: replace(last.after[story.CASH], lock_version=5)})
    monkeypatch.setattr(story, "STEPS", (*story.STEPS[:-1], wrong))
    on = console(200)
    assert await play(client, on) == 2, "as it was read, and as the subscriber was told"
    assert "✗ Cash at position 10, lock_version: 4, expected 5" in shown(on)
    assert "✓ All" not in shown(on)


async def demo(**environment: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "ledger_client.demo"),
        env={key: value for key, value in os.environ.items() if not key.startswith("LEDGER_")} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_demo_brings_a_service_of_its_own_and_leaves_nothing_behind() -> None:
    before = set(Path("/tmp").glob("ledger-demo-*"))
    status, output = await demo()
    assert status == 0, output
    assert "✓ All 600 checks hold." in output
    assert set(Path("/tmp").glob("ledger-demo-*")) <= before


async def test_a_service_that_is_not_there_is_said_in_a_sentence() -> None:
    status, output = await demo(LEDGER_ADDRESS="127.0.0.1:1")
    assert status == 1
    assert "The demo was cut short: UNAVAILABLE" in output
    assert "Traceback" not in output
