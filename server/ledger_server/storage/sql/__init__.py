"""The statements, one per file: `sql.lock_ledger` is the text of lock_ledger.sql.

Each file's header says its purpose, its load-bearing line and its parameters; a test prepares every one against
the migrated schema.
"""

from importlib.resources import files

STATEMENTS = {
    file.name.removesuffix(".sql"): file.read_text() for file in files(__name__).iterdir() if file.name.endswith(".sql")
}


def __getattr__(name: str) -> str:
    try:
        return STATEMENTS[name]
    except KeyError:
        raise AttributeError(f"there is no statement {name}.sql") from None
