"""The statements, one per file: `sql.lock_ledger` is the text of lock_ledger.sql.

Each file's header says its purpose, its load-bearing line and its parameters; a test prepares every one against
the migrated schema.
"""

from importlib.resources import files

STATEMENTS = {
    file.name.removesuffix(".sql"): file.read_text() for file in files(__name__).iterdir() if file.name.endswith(".sql")
}


def _plain(write_batch: str) -> str:
    """The statement without what its header says."""
    header, _, _ = write_batch.partition("-- What follows, ")
    _, first, rest = write_batch.partition("transactions_now AS (")
    return f"{header}WITH {first}{rest}"


# A part that finds nothing to write costs PostgreSQL 15 us all the same, and most batches write new transactions only.
STATEMENTS["write_plain_batch"] = _plain(STATEMENTS["write_batch"])


def __getattr__(name: str) -> str:
    try:
        return STATEMENTS[name]
    except KeyError:
        raise AttributeError(f"there is no statement {name}.sql") from None
