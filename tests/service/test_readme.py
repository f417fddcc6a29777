"""What the README shows really comes out."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import sys
from pathlib import Path

from ledger_server.settings import Settings
from tests.conftest import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


async def test_the_first_call_from_python_prints_what_the_readme_says(server: Server) -> None:
    blocks = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 1
    (program, output) = blocks[0]

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program.replace("127.0.0.1:50051", server.address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()

    assert (process.returncode, stdout.decode(), stderr.decode()) == (0, output, "")


async def test_the_first_call_from_anywhere_answers_as_the_readme_shows(server: Server) -> None:
    (body, path) = re.search(
        r"-d '(\{\"request_id\": \"books-1\".*?\})' \\\n +http://127\.0\.0\.1:50051(\S+)", README
    ).groups()  # type: ignore[union-attr]

    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("buf")),
        *("curl", "--protocol", "grpc", "--http2-prior-knowledge", "-d", body, f"http://{server.address}{path}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()

    assert process.returncode == 0, stderr.decode()
    shown = re.search(r"/CreateLedger\n(\{.*?\n\})", README, re.DOTALL)
    assert shown is not None
    assert _without_what_varies(stdout.decode()) == _without_what_varies(shown[1])


def test_the_settings_are_those_there_are() -> None:
    documented = set(re.findall(r"`LEDGER_([A-Z_]+)`", README.split("## Settings")[1].split("## The map")[0]))
    existing = {field.name.upper() for field in dataclasses.fields(Settings)}
    assert documented == existing


def _without_what_varies(text: str) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[\d:.]+Z", "…", text).strip()
