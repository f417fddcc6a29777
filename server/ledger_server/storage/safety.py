"""What is wrong with how a database was set up: what was acknowledged can be lost, rules be broken, or names not kept.

Refused at start.
"""

from __future__ import annotations

from ledger_server.storage.pool import Connection, connect_lane

# What must not be set, and what it would do.
_DANGERS = {
    ("fsync", "off"): "a power cut loses acknowledged transactions, and can leave the books unreadable",
    ("full_page_writes", "off"): "a power cut in the middle of a write can leave the books unreadable",
    ("synchronous_commit", "off"): "a crash loses acknowledged transactions",
    ("data_sync_retry", "on"): "after a failed write to the disk PostgreSQL goes on as if nothing were lost",
}
# What the service sets for its own sessions; a pooler in between may drop it.
_SESSION = {"synchronous_commit": "on", "default_transaction_isolation": "serializable"}


class UnsafeDatabaseError(Exception):
    """The database must not hold the books as it is set up; the message says why and what to do."""


async def refuse_encoding(connection: Connection) -> None:
    """Raises UnsafeDatabaseError unless the database can hold every name there is, and knows its letters."""
    ((encoding, name),) = await connection.fetch("SELECT current_setting('server_encoding'), current_database()")
    if encoding != "UTF8":
        raise UnsafeDatabaseError(
            f'the encoding of the database "{name}" is {encoding}, which cannot hold every name; only UTF8 can. Make '
            "another one by CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'"
        )


async def find_risks(connection: Connection) -> list[str]:
    """What is dangerous about the settings of this PostgreSQL, each as a clause."""
    names = sorted({name for name, _ in _DANGERS})
    rows = await connection.fetch("SELECT name, setting FROM pg_settings WHERE name = ANY ($1)", names)
    return [
        f"{row['name']} is {row['setting']}: {_DANGERS[row['name'], row['setting']]}"
        for row in rows
        if (row["name"], row["setting"]) in _DANGERS
    ]


async def refuse_dropped_settings(dsn: str) -> None:
    """Raises UnsafeDatabaseError if sessions do not have the settings that the service makes for them."""
    lane = await connect_lane(dsn)
    try:
        for name, wanted in _SESSION.items():
            found = await lane.fetchval("SELECT current_setting($1)", name)
            if found != wanted:
                raise UnsafeDatabaseError(
                    f"sessions of this PostgreSQL have {name} = {found}, although the service asks for {wanted} when "
                    "it connects. Something in between drops what it asks for; connect to PostgreSQL directly, or let "
                    "the pooler pass startup parameters on"
                )
    finally:
        lane.terminate()


async def refuse_risks(connection: Connection, *, may_lose_data: bool) -> list[str]:
    """The risks that are taken because somebody asked for them by name; UnsafeDatabaseError if nobody did."""
    risks = await find_risks(connection)
    if risks and not may_lose_data:
        raise UnsafeDatabaseError(
            f"the PostgreSQL is not set up to keep books: {'; '.join(risks)}. Correct it, or set "
            "LEDGER_MAY_LOSE_DATA=1 where losing everything does not matter"
        )
    return risks
