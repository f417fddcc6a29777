"""What makes the repository install and start: locks, Makefile, generated stubs, compose file."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "server" / "requirements").glob("*.txt"))
STUBS = sorted((ROOT / "client" / "ledger_client" / "v1").glob("*_pb2*.py"))


def pinned(lock: Path) -> dict[str, str]:
    """The packages of a lock with everything that belongs to each: version, marker, hashes."""
    text = lock.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {re.split(r"[=;\s]", line, maxsplit=1)[0]: line for line in lines}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.name))
def test_a_lock_pins_and_hashes_every_package_and_names_no_index(lock: Path) -> None:
    assert "://" not in lock.read_text()
    for name, line in pinned(lock).items():
        assert f"{name}==" in line
        assert "--hash=sha256:" in line


@pytest.mark.parametrize("distribution", ["client", "server"])
def test_every_dependency_of_a_distribution_is_in_the_images_lock(distribution: str) -> None:
    project = tomllib.loads((ROOT / distribution / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=;\s\[]", line, maxsplit=1)[0] for line in project["dependencies"]}
    assert names - {"ledger-client"} <= pinned(ROOT / "server" / "requirements" / "server.txt").keys()


def test_a_package_has_the_same_version_in_every_runtime_lock() -> None:
    dev = pinned(ROOT / "server" / "requirements" / "dev.txt")
    for name in ("run", "server", "build"):
        assert pinned(ROOT / "server" / "requirements" / f"{name}.txt").items() <= dev.items()


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    shown = _make("help", "--file", str(ROOT / "Makefile"), directory=ROOT).stdout
    assert {line.split()[1] for line in shown.splitlines()} == set(phony[1].split())


def test_a_python_without_ensurepip_is_noticed_and_the_missing_package_named(tmp_path: Path) -> None:
    python = _python_that_fails_on("ensurepip", tmp_path)
    shutil.copy(ROOT / "Makefile", tmp_path)
    made = _make(".venv/bin/python", f"PYTHON={python}", directory=tmp_path)
    assert made.returncode != 0
    assert f"apt install python3.{sys.version_info[1]}-venv" in made.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_is_too_old_is_noticed(tmp_path: Path) -> None:
    python = _python_that_fails_on("version_info < (3, 11)", tmp_path)
    shutil.copy(ROOT / "Makefile", tmp_path)
    made = _make(".venv/bin/python", f"PYTHON={python}", directory=tmp_path)
    assert made.returncode != 0
    assert "needs Python 3.11 or newer" in made.stderr


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: str(stub.stem))
def test_a_stub_imports_without_warning_under_the_file_name_that_other_languages_use(stub: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = importlib.import_module(f"ledger_client.v1.{stub.stem}")
    if not stub.stem.endswith("_grpc"):
        assert module.DESCRIPTOR.name == f"ledger/v1/{stub.stem.removesuffix('_pb2')}.proto"


def test_the_compose_file_publishes_on_loopback_only_and_waits_for_a_healthy_database() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "healthcheck" in services["postgres"]
    assert services["ledger"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_image_copies_only_what_the_builder_is_sent() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in (ROOT / "server" / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists()
                assert any(source == path or source.startswith(f"{path}/") for path in sent)


def _make(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    # As typed in a terminal: a make that runs these tests must not hand down its own flags.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


def _python_that_fails_on(text: str, directory: Path) -> Path:
    python = directory / "python"
    python.write_text(f'#!/bin/sh\ncase "$2" in *"{text}"*) exit 1;; esac\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return python
