"""Why the embedded PostgreSQL cannot be used, as exceptions."""


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be used; the message says why and what to do.

    EmbeddedPostgresError
    ├── BinariesNotFoundError          no PostgreSQL on this machine, or too old a one
    ├── RootRefusedError               root, and no way to become somebody else
    ├── StartError                     PostgreSQL or initdb failed; the message ends with its log
    └── DataDirectoryError
        ├── DataDirectoryInUseError    another process works on it
        ├── OtherMajorVersionError     made by another PostgreSQL
        ├── IncompleteDirectoryError   initdb was interrupted, or files are missing
        ├── ForeignDirectoryError      holds something else
        └── UnusableDirectoryError     no permission, no space, no directory
    """


class BinariesNotFoundError(EmbeddedPostgresError):
    """No usable PostgreSQL binaries were found."""


class RootRefusedError(EmbeddedPostgresError):
    """PostgreSQL must not run as root, and this machine offers no other identity."""


class StartError(EmbeddedPostgresError):
    """initdb or postgres ended with an error."""


class DataDirectoryError(EmbeddedPostgresError):
    """The data directory cannot be used as it is; it was left as it was found."""


class DataDirectoryInUseError(DataDirectoryError):
    """Another process uses the data directory. `pid` is its process id, if known."""

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class OtherMajorVersionError(DataDirectoryError):
    """The data directory was made by another major version of PostgreSQL."""


class IncompleteDirectoryError(DataDirectoryError):
    """The data directory lacks what a complete one has."""


class ForeignDirectoryError(DataDirectoryError):
    """The directory holds something that this service did not put there."""


class UnusableDirectoryError(DataDirectoryError):
    """The operating system refuses the directory: permission, space, not a directory."""
