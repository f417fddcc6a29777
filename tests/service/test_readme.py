"""What the documents show really comes out, and what they name is there."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import sys
from pathlib import Path

import asyncpg
import pytest

from ledger_client import LedgerClient
from ledger_server.settings import Settings
from ledger_server.storage.connections import held_by
from tests.benchmarks.report import TARGETS
from tests.conftest import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
SOURCES = sorted((ROOT / "server" / "ledger_server").rglob("*.py"))
SERVER = "\n".join(path.read_text() for path in SOURCES)
# What paths may be relative to.
PLACES = (ROOT, ROOT / "server" / "ledger_server", ROOT / "server" / "ledger_server" / "storage" / "sql")


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


async def test_the_calls_from_anywhere_answer_as_the_readme_shows(server: Server, tmp_path: Path) -> None:
    (create_ledger, answer), (create_account, nothing_shown) = _commands("CreateLedger\n")

    ledger = await _run(create_ledger, server, tmp_path)
    assert _without_what_varies(ledger) == _without_what_varies(answer)
    assert nothing_shown == ""
    account = await _run(_of_ledger(create_account, _id_in(ledger)), server, tmp_path)
    assert '"externalId": "cash"' in account


async def test_two_lines_are_imported_and_verified_as_the_readme_shows(
    server: Server, client: LedgerClient, tmp_path: Path
) -> None:
    (lines,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    (tmp_path / "bookings.jsonl").write_text(lines)
    ledger = await client.create_ledger("Books")
    await client.create_account(ledger.id, "Cash", normal_balance="debit", currency="USD", external_id="cash")
    await client.create_account(ledger.id, "Revenue", normal_balance="credit", currency="USD", external_id="revenue")

    shown = _commands("ledgerctl import") + _commands("ledgerctl verify")

    assert len(shown) == 3
    for command, output in shown:
        said = await _run(_of_ledger(command, ledger.id), server, tmp_path)
        assert _without_what_varies(said) == _without_what_varies(output)


def test_the_settings_are_those_there_are() -> None:
    documented = set(re.findall(r"`LEDGER_([A-Z_]+)`", README.split("## Settings")[1].split("## Operating")[0]))
    existing = {field.name.upper() for field in dataclasses.fields(Settings)}
    assert documented == existing | {"ADDRESS"}


def test_the_connections_are_those_there_are() -> None:
    (paragraph,) = re.findall(r"\*\*Connections\*\* (.*?)\n\n", README, re.DOTALL)
    opened = set(re.findall(r'"(ledger-[a-z-]+)"', SERVER)) | {
        f"ledger-{name}" for name in re.findall(r'pruning_rounds\("(\w+)"', SERVER)
    }
    assert set(re.findall(r"`(ledger-[a-z-]+)`", paragraph)) == opened
    held = held_by(lanes=1, readers=1)
    assert opened == {*held.service, *held.migration, *held.pruning, "ledger-start", "ledger-migrate"}
    others, by_default = re.findall(r"2 × `LEDGER_LANES` \+ `LEDGER_READERS` \+ (\d+) of\s+them, (\d+) by", paragraph)[
        0
    ]
    assert held.total == 2 + 1 + int(others)
    assert held_by(lanes=Settings().lanes, readers=Settings().readers).total == int(by_default)


def test_no_connection_is_without_a_name() -> None:
    openers = [path.name for path in SOURCES if re.search(r"asyncpg\.(connect|create_pool)\(", path.read_text())]
    assert openers == ["pool.py"]
    pool = next(path.read_text() for path in SOURCES if path.name == "pool.py")
    assert len(re.findall(r"asyncpg\.(?:connect|create_pool)\(", pool)) == len(re.findall("server_settings=", pool))


def test_the_log_lines_are_those_there_are() -> None:
    table = README.split("**Log lines**")[1].split("**Overload.**")[0]
    first_cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    documented = {name for cell in first_cells for name in re.findall(r"`([a-z_]+)`", cell)}
    logged = set(re.findall(r'\blog\.\w+\(\s*"(\w+)"|"event": "(\w+)"', SERVER))
    assert documented == {one or other for one, other in logged}


def test_the_table_of_speed_demands_what_the_benchmark_demands() -> None:
    """A missed bar is called missed, of each relation that the table shows."""
    rows = re.findall(
        r"\(`(\w+)`\) \|[^|]*\|[^|]*\| ([\d.]+) × [^|]* \| [≥≤] ([\d.]+): (\*\*missed\*\*|met) \|", README
    )
    assert len(rows) >= 6
    for workload, ratio, bar, said in rows:
        (target,) = [each for each in TARGETS if each.workload == workload and each.bar == float(bar)]
        is_met = float(ratio) <= target.bar if target.at_most else float(ratio) >= target.bar
        assert (said == "met") == is_met, workload


async def test_what_is_kept_names_every_table(server: Server) -> None:
    connection = await asyncpg.connect(server.dsn)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    finally:
        await connection.close()
    (kept,) = re.findall(r"## What is kept\n(.*?)\n#", ARCHITECTURE, re.DOTALL)
    first_cells = [line.split("|")[1] for line in kept.splitlines() if line.startswith("| `")]
    assert {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)} == {row["tablename"] for row in rows}


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "tests/benchmarks/RESULTS.md"])
def test_every_file_that_is_named_is_there(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`([\w./-]+\.(?:py|sql|proto|md))`", text)) - {"first.py"}
    linked = {target for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if "://" not in target}
    assert [path for path in sorted(named) if not any((place / path).exists() for place in PLACES)] == []
    assert [path for path in sorted(linked) if not (ROOT / path).exists()] == []


def _commands(words: str) -> list[tuple[str, str]]:
    """The commands of the one example that has the words, each with the output shown below it."""
    (block,) = [each for each in re.findall(r"```console\n(.*?)```", README, re.DOTALL) if words in each]
    commands = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        # Further lines of a command are indented, and of an answer begin with a brace.
        length = next((n for n, line in enumerate(lines) if n and not line.startswith("    ")), len(lines))
        commands.append(("".join(lines[:length]), "".join(lines[length:])))
    return commands


async def _run(command: str, server: Server, directory: Path) -> str:
    """What a command of the README says, both channels together, against our service and in our environment."""
    told = command.replace("127.0.0.1:50051", server.address).replace(".venv/bin", str(Path(sys.executable).parent))
    process = await asyncio.create_subprocess_shell(
        told,
        cwd=directory,
        env=os.environ | {"LEDGER_ADDRESS": server.address},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    stdout, _ = await process.communicate()
    assert process.returncode == 0, stdout.decode()
    return stdout.decode()


def _of_ledger(command: str, ledger_id: str) -> str:
    """The command, about another ledger than the README's; it names no other object by its id."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", ledger_id, command)


def _id_in(answer: str) -> str:
    found = re.search(r'"id": "([^"]+)"', answer)
    assert found is not None, answer
    return found[1]


def _without_what_varies(text: str) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{64}|\d{4}-\d\d-\d\dT[\d:.]+Z", "…", text).strip()
