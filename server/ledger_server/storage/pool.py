"""Connections, each kind with its settings and with the name by which pg_stat_activity tells it.

Two for each of the lanes' workers; one for each thing that goes on beside the lanes, for what one server does for all
of them, for the doorbell, and to ask whether the database is there; and a pool for reads.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from ledger_server.domain.errors import DatabaseUnavailable

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
AnyConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 30.0
ROLL_BACK_SECONDS = 2.0
# A snapshot keeps dead rows from being cleared away, so none is held longer.
SNAPSHOT_SECONDS = 1.0
LOCK_WAIT = "1s"
# Who holds a ledger and is silent for so long has died, or cannot be reached; while it decides a lane is heard from.
LANE_SILENCE = "10s"
# Longer than the pauses that an owner of such a connection makes.
SILENCE = "20s"
# The longest that a statement's plan is kept, see _COMMON_SETTINGS.
PLAN_SECONDS = 1

# Errors that mean the link or the server is gone, not that a statement was wrong.
CONNECTION_ERRORS = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # What asyncpg makes of a connection that is cut while it looks up types.
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    OSError,
    TimeoutError,
)

_COMMON_SETTINGS = {
    "TimeZone": "UTC",
    "jit": "off",
    "synchronous_commit": "on",
    # How long a statement may take is said where it is made, and arrays are written as if these had never been set for
    # a role or a database.
    "statement_timeout": "0",
    "array_nulls": "on",
    # On tables that grew from empty, a generic plan chosen in the first seconds would keep scanning them whole: 240-750
    # instead of 25-75 microseconds of PostgreSQL's CPU a transaction, until autovacuum's first ANALYZE. Even an index
    # may be the wrong one, where a ledger is taken for a single row. So plans are made anew every PLAN_SECONDS.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    # So that the link's death is noticed on both sides, and by PostgreSQL also while it works on a statement: one that
    # nobody waits for any more does not run on.
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


async def connect_at_start(dsn: str) -> Connection:
    """A connection to look around before serving; its settings are the database's own, to see what they are."""
    return await asyncpg.connect(
        dsn,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        server_settings={"application_name": "ledger-start", "statement_timeout": "0"},
    )


async def connect_lane(dsn: str) -> Connection:
    """A connection that a lane owns: SERIALIZABLE, its settings never reset."""
    # The time-out of the session frees the ledger of a lane that died without closing its connection. That of locks
    # ends a batch that waits for a ledger somebody else holds, to be repeated: while it stands, PostgreSQL forgets
    # nothing of those of other ledgers that were committed, and after a thousand it refuses them all.
    own = {
        "default_transaction_isolation": "serializable",
        "idle_in_transaction_session_timeout": LANE_SILENCE,
        "lock_timeout": LOCK_WAIT,
    }
    return await _connect_worker(dsn, {"application_name": "ledger-lane", **own})


async def connect_beside_lane(dsn: str) -> Connection:
    """A lane's second connection, to read with what its next batch needs while the first one writes."""
    own = {"default_transaction_isolation": "repeatable read", "default_transaction_read_only": "on"}
    return await _connect_worker(dsn, {"application_name": "ledger-lane-reader", **own})


async def connect_background(dsn: str, name: str) -> Connection:
    """A connection for what goes on beside the lanes, in statements that each stand by themselves."""
    own = {"default_transaction_isolation": "read committed", "idle_in_transaction_session_timeout": "10s"}
    return await _connect_worker(dsn, {"application_name": name, **own})


async def _connect_worker(dsn: str, settings: dict[str, str]) -> Connection:
    connection = await asyncpg.connect(
        dsn,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        server_settings=_COMMON_SETTINGS | settings,
        max_cached_statement_lifetime=0,
    )
    await set_codecs(connection)
    return connection


async def connect_alone(dsn: str, name: str, *, command_seconds: float | None = None) -> Connection:
    """A connection for what one server does for all of them, under a lock of the session; the others wait for it.

    So it is ended if it falls silent, for its server was stopped or the way to it is dark, and the next one goes on.
    """
    silence = {"idle_in_transaction_session_timeout": SILENCE, "idle_session_timeout": SILENCE}
    return await asyncpg.connect(
        dsn,
        timeout=CONNECT_SECONDS,
        command_timeout=command_seconds,
        server_settings=_COMMON_SETTINGS | silence | {"application_name": name},
    )


async def connect_doorbell(dsn: str) -> Connection:
    """A connection for LISTEN and NOTIFY, which carry no data."""
    return await asyncpg.connect(
        dsn,
        timeout=CONNECT_SECONDS,
        command_timeout=CONNECT_SECONDS,
        server_settings=_COMMON_SETTINGS | {"application_name": "ledger-doorbell"},
    )


async def connect_presence(dsn: str) -> Connection:
    """A connection to ask whether the database is there."""
    settings = _COMMON_SETTINGS | {"application_name": "ledger-presence"}
    return await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, server_settings=settings)


@asynccontextmanager
async def read_pool(dsn: str, *, size_max: int) -> AsyncIterator[Pool]:
    """Connections for reads: REPEATABLE READ, READ ONLY."""
    settings = _COMMON_SETTINGS | {
        "application_name": "ledger-reader",
        "default_transaction_isolation": "repeatable read",
        "default_transaction_read_only": "on",
        "idle_in_transaction_session_timeout": "10s",
    }
    pool = asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size_max,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        server_settings=settings,
        max_cached_statement_lifetime=PLAN_SECONDS,
        init=set_codecs,
        # A reader sets nothing and takes no lock, so there is nothing to reset: a round trip saved.
        reset=_leave_as_it_is,
    )
    await pool
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await pool.close()
        except TimeoutError:
            pool.terminate()


@asynccontextmanager
async def snapshot(pool: Pool) -> AsyncIterator[Connection]:
    """One read-only transaction: everything read within is of one moment.

    Raises DatabaseUnavailable if the database cannot be reached or does not answer in time.
    """
    try:
        async with pool.acquire() as connection:
            transaction = connection.transaction()
            try:
                await transaction.start()
                yield connection  # type: ignore[misc]
                await transaction.commit()
            except BaseException:
                await _give_up(connection, transaction)
                raise
    except CONNECTION_ERRORS as error:
        raise DatabaseUnavailable("the database is unavailable; read again", retry_seconds=1.0) from error


async def _give_up(connection: AnyConnection, transaction: asyncpg.transaction.Transaction) -> None:
    """Rolls back. After a statement that nobody waited for, asyncpg first waits until PostgreSQL has stopped it; for so
    long a connection whose packets are swallowed would keep its place in the pool.
    """
    try:
        async with asyncio.timeout(ROLL_BACK_SECONDS):
            await transaction.rollback()
    except (asyncpg.PostgresError, *CONNECTION_ERRORS):
        connection.terminate()


async def roll_back(connection: Connection) -> None:
    """Best effort: a connection that cannot even roll back is broken, and its owner will see that.

    After a statement that was not answered in time, asyncpg would wait until PostgreSQL confirms that it stopped
    working on it, and behind a link that swallows packets that is for ever.
    """
    try:
        if not connection.is_closed():
            async with asyncio.timeout(ROLL_BACK_SECONDS):
                await connection.execute("ROLLBACK")
    except Exception:  # noqa: BLE001 - whatever it is, the connection is of no use any more
        connection.terminate()


async def set_codecs(connection: Connection) -> None:
    """uuid as text, numeric as int, jsonb as dict."""
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str, format="text")
    await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=int, format="text")
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads, format="text")


async def _leave_as_it_is(_: Any) -> None:
    return None
