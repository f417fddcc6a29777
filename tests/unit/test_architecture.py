"""The arrows of the house: which room may import which, read from the source.

Rooms are the packages and modules right under ledger_server. A shortcut fails with the modules' names.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "server" / "ledger_server"
CLIENT = ROOT / "client" / "ledger_client"

# Who may import whom. app.py and process.py put the parts together, so they may see everything.
ARROWS: dict[str, set[str]] = {
    "domain": set(),
    "background": set(),
    "storage": {"domain", "background"},
    "events": {"domain", "background", "storage"},
    "posting": {"domain", "background", "storage", "events"},
    "reading": {"domain", "background", "storage"},
    "auditing": {"domain", "storage", "events"},
    "api": {"domain", "background", "posting", "reading", "events", "auditing"},
    "security": set(),
    "settings": set(),
    "logging_setup": set(),
    "signals": set(),
}
SEES_EVERYTHING = {"app", "process", "__main__"}
# The generated contract is all that the service shares with its clients.
CONTRACT = "ledger_client.v1"
LINES_MAX = 400


def imports_of(path: Path, package: str) -> Iterator[str]:
    """The full names that a module imports; those of `from a import b` as a.b, as b may be a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def shortcuts(server: Path) -> list[str]:
    """The imports in the server's source that no arrow allows."""
    found = []
    for path in sorted(server.rglob("*.py")):
        inside = path.relative_to(server)
        room = inside.parts[0].removesuffix(".py")
        if room in SEES_EVERYTHING | {"__init__"}:
            continue
        package = ".".join(("ledger_server", *inside.parts[:-1]))
        problems = (_problem(room, name) for name in imports_of(path, package))
        found += [f"{inside}: {problem}" for problem in problems if problem is not None]
    return found


def _problem(room: str, name: str) -> str | None:
    top, _, rest = name.partition(".")
    if room not in ARROWS:
        return f"{room} is no room of the house; add it to the arrows"
    if top == "ledger_server":
        other = rest.partition(".")[0]
        return None if other == room or other in ARROWS[room] else f"{room} must not import {other} ({name})"
    if top == "ledger_client":
        is_contract = room != "domain" and (name == CONTRACT or name.startswith(CONTRACT + "."))
        return None if is_contract else f"{room} must not import {name}"
    if room == "domain" and top not in sys.stdlib_module_names:
        return f"{room} must not import {name}"
    return None


def test_no_module_takes_a_shortcut() -> None:
    assert shortcuts(SERVER) == []


def test_the_arrows_name_the_rooms_there_are() -> None:
    rooms = {path.name.removesuffix(".py") for path in SERVER.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - SEES_EVERYTHING - {"__init__", "__pycache__"} == ARROWS.keys()


@pytest.mark.parametrize(
    ("where", "line", "problem"),
    [
        ("api/shortcut.py", "from ledger_server.storage import sql", "api must not import storage"),
        ("api/shortcut.py", "import ledger_server.storage.pool", "api must not import storage"),
        ("api/shortcut.py", "def f():\n    from ..storage import sql", "api must not import storage"),
        ("domain/shortcut.py", "from ledger_server import posting", "domain must not import posting"),
        ("domain/shortcut.py", "import asyncpg", "domain must not import asyncpg"),
        ("domain/shortcut.py", "from ledger_client.v1 import balances_pb2", "domain must not import ledger_client.v1"),
        ("storage/deep/shortcut.py", "from ...posting.lanes import Lanes", "storage must not import posting"),
        ("reading/shortcut.py", "from ledger_server.posting import lanes", "reading must not import posting"),
        ("events/shortcut.py", "from ledger_client import LedgerClient", "events must not import ledger_client"),
        ("events/shortcut.py", "from ledger_server.app import running", "events must not import app"),
        ("attic/shortcut.py", "import os", "attic is no room of the house"),
    ],
)
def test_a_shortcut_is_found(where: str, line: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / where
    path.parent.mkdir(parents=True)
    path.write_text(line)
    (found,) = shortcuts(tmp_path)
    assert found.startswith(f"{where}: {problem}")


def test_what_the_arrows_allow_is_no_shortcut(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "service.py").write_text(
        "from ledger_server.posting.lanes import Lanes\nfrom . import answers\nfrom ledger_client.v1 import a_pb2\n"
    )
    (tmp_path / "app.py").write_text("from ledger_server.storage import sql")
    assert shortcuts(tmp_path) == []


def test_the_client_imports_nothing_of_the_server() -> None:
    found = [
        f"{path.name}: {name}"
        for path in CLIENT.rglob("*.py")
        for name in imports_of(path, "ledger_client")
        if name.partition(".")[0] in ("ledger_server", "asyncpg", "structlog")
    ]
    assert found == []


def test_the_client_is_imported_without_what_only_the_server_needs() -> None:
    """In a process of its own, in which these modules cannot be imported."""
    script = (
        "import sys\n"
        "for name in ('asyncpg', 'structlog', 'ledger_server'): sys.modules[name] = None\n"
        "import ledger_client\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


def test_no_file_is_too_long_to_read() -> None:
    written = [path for root in (SERVER, CLIENT) for path in root.rglob("*.py") if "v1" not in path.parts]
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in written}
    assert {name: count for name, count in lines.items() if count > LINES_MAX} == {}
