"""What service tests stand on: a real PostgreSQL, the real service on a free port, the real client.

One service for the session, and a new ledger for each test, which is all the isolation that a ledger's tests need;
`own_server` is for tests that must have a database to themselves.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import hypothesis
import pytest

from ledger_server.__main__ import GRPC_EXPERIMENTS

# The services in this process read their sockets as those that are started do; gRPC reads this when it is imported.
os.environ.setdefault("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)

from ledger_client import Ledger, LedgerClient
from ledger_client.channel import Connection
from ledger_server.app import running
from ledger_server.auditing import snapshots as auditing_snapshots
from ledger_server.logging_setup import configure_logging
from ledger_server.posting import admission, summing
from ledger_server.reading import snapshots as reading_snapshots
from ledger_server.settings import Settings
from ledger_server.storage import pool, roles
from ledger_server.storage.embedded import PRUNING_USER, SERVICE_USER, EmbeddedPostgres, embedded_postgres
from ledger_server.storage.migrate import migrate
from tests.patience import PATIENCE_SECONDS

# Tests need what PostgreSQL guarantees between processes, not what it guarantees after a power cut. The service refuses
# such a database unless it is told that it may lose data.
FAST_AND_FORGETFUL = {"fsync": "off", "max_connections": "300"}

QUEUE_SECONDS = {name: getattr(admission, name) for name in ("WAIT_SECONDS_MAX", "STANDING_SECONDS")}

# No test is of how fast this machine is.
hypothesis.settings.register_profile(
    "any_speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any_speed")

# To run all tests on another PostgreSQL: LEDGER_POSTGRES_BIN=/usr/lib/postgresql/15/bin make test
POSTGRES_BIN = os.environ.get("LEDGER_POSTGRES_BIN")


@dataclass(frozen=True, slots=True)
class Server:
    """A service under test, which works as a role that may do little. `dsn` is the owner's, for tests that meddle."""

    address: str
    dsn: str


@pytest.fixture(scope="session", autouse=True)
def quiet_logs() -> None:
    configure_logging("json", "error")


@pytest.fixture(scope="session", autouse=True)
def unhurried() -> Iterator[None]:
    """Calls, statements, snapshots and queues have time, within this process."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (reading_snapshots, summing, auditing_snapshots):
            patch.setattr(module, "SNAPSHOT_SECONDS", PATIENCE_SECONDS)
        patch.setattr(pool, "COMMAND_SECONDS", PATIENCE_SECONDS)
        assert Connection.__init__.__kwdefaults__ is not None
        patch.setitem(Connection.__init__.__kwdefaults__, "timeout", PATIENCE_SECONDS)
        for name in QUEUE_SECONDS:
            patch.setattr(admission, name, PATIENCE_SECONDS)
        yield


@pytest.fixture
def hurried_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd is refused as soon as in service."""
    for name, seconds in QUEUE_SECONDS.items():
        monkeypatch.setattr(admission, name, seconds)


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """A PostgreSQL for the session, with a migrated database named `template`."""
    directory: Path = tmp_path_factory.mktemp("postgres")
    async with embedded_postgres(directory, bin_directory=POSTGRES_BIN, settings=FAST_AND_FORGETFUL) as postgres:
        await _execute(postgres, 'CREATE DATABASE "template"')
        await migrate(postgres.dsn("template"), {SERVICE_USER: roles.SERVICE, PRUNING_USER: roles.PRUNING})
        yield postgres


@asynccontextmanager
async def new_database(postgres: EmbeddedPostgres, template: str = "template") -> AsyncIterator[str]:
    """The DSN of a database of its own, a clone of the template; ours is migrated, `template1` is empty."""
    name = f"test_{uuid.uuid4().hex}"
    await _execute(postgres, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield postgres.dsn(name)
    finally:
        await _execute(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')


@asynccontextmanager
async def new_server(dsn: str, settings: Settings | None = None) -> AsyncIterator[Server]:
    """The service, in this process, on a free port, as three roles of the owner's database."""
    settings = replace(
        settings or Settings(drain_seconds=1.0),
        listen="127.0.0.1:0",
        database_url=as_user(SERVICE_USER, dsn),
        migration_database_url=dsn,
        pruning_database_url=as_user(PRUNING_USER, dsn),
        may_lose_data=True,
    )
    async with running(settings) as app:
        yield Server(f"127.0.0.1:{app.port}", dsn)


def as_user(user: str, dsn: str) -> str:
    """The same database as another role."""
    return re.sub(r"//\w*@", f"//{user}@", dsn)


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The DSN of a migrated database of the test's own."""
    async with new_database(postgres) as dsn:
        yield dsn


@pytest.fixture
async def own_server(database: str) -> AsyncIterator[Server]:
    """A service with a database of the test's own."""
    async with new_server(database) as server:
        yield server


@pytest.fixture(scope="session")
async def server(postgres: EmbeddedPostgres) -> AsyncIterator[Server]:
    """The session's service."""
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(new_database(postgres))
        yield await stack.enter_async_context(new_server(dsn))


@pytest.fixture(scope="session")
async def client(server: Server) -> AsyncIterator[LedgerClient]:
    """A client of the session's service; what tests call at the same time reaches it call by call."""
    async with LedgerClient(server.address, auto_batch=False) as client:
        yield client


@pytest.fixture
async def ledger(client: LedgerClient) -> Ledger:
    """A new ledger."""
    return await client.create_ledger(name="Test")


async def _execute(postgres: EmbeddedPostgres, statement: str) -> None:
    connection = await asyncpg.connect(postgres.dsn("postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
