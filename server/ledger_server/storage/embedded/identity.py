"""As whom PostgreSQL runs: never as root, and without opening anybody's directories."""

import contextlib
import dataclasses
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ledger_server.storage.embedded.binaries import environment
from ledger_server.storage.embedded.errors import RootRefusedError


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """As whom PostgreSQL runs: the command that becomes it, and who then owns the files."""

    command: tuple[str, ...]
    file_uid: int
    file_gid: int

    def make_directory(self, path: Path) -> None:
        """Create `path` for this identity alone; one that exists is left as it is."""
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        self.own(path)

    def own(self, ours: Path | int) -> None:
        """Give a file that we made to this identity, which only root can do and needs to."""
        if os.geteuid() == 0 and self.file_uid != 0:
            os.chown(ours, self.file_uid, self.file_gid)


def choose_identity(data_directory: Path, pgdata: Path, bin_directory: Path) -> Identity:
    """Ourselves, or somebody harmless if we are root.

    An existing database keeps the identity that owns its files. A new one gets the user
    `postgres` or `nobody` if that user can reach the binaries and the directory. Otherwise (below
    /root, say) it gets a user namespace, in which the files stay root's and the process is nobody,
    so that no directory's permissions need to change.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        return Identity((), uid, gid)
    for identity in _identities_for_root(pgdata):
        if _works(identity, data_directory, bin_directory):
            return identity
    raise RootRefusedError(
        "PostgreSQL does not run as root, and neither switching to another user (setpriv) nor a "
        "user namespace (unshare) works here. Start the service as an ordinary user, or set "
        "LEDGER_DATABASE_URL to a PostgreSQL that runs elsewhere."
    )


def _identities_for_root(pgdata: Path) -> Iterator[Identity]:
    owner = pgdata.stat() if pgdata.exists() else None
    if setpriv := shutil.which("setpriv"):
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                uid, gid = entry.pw_uid, entry.pw_gid
                if owner is None or owner.st_uid == uid:
                    yield Identity(_become(setpriv, uid, gid), uid, gid)
        if owner is not None and owner.st_uid != 0:
            uid, gid = owner.st_uid, owner.st_gid
            yield Identity(_become(setpriv, uid, gid), uid, gid)
    if (unshare := shutil.which("unshare")) and (owner is None or owner.st_uid == 0):
        nobody = pwd.getpwnam("nobody")
        mapping = (f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}")
        yield Identity((unshare, "--user", *mapping, "--"), 0, 0)


def _become(setpriv: str, uid: int, gid: int) -> tuple[str, ...]:
    return (setpriv, f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--")


def _works(identity: Identity, data_directory: Path, bin_directory: Path) -> bool:
    """Whether this identity can run the binaries and get at the data directory."""
    nearest = next(path for path in (data_directory, *data_directory.parents) if path.is_dir())
    script = '"$1" --version >/dev/null && cd -- "$2"'
    postgres = str(bin_directory / "postgres")
    trial = subprocess.run(
        [*identity.command, "/bin/sh", "-c", script, "sh", postgres, str(nearest)],
        capture_output=True,
        check=False,
        env=environment(),
    )
    return trial.returncode == 0


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
