"""The one place where the parts are put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from ledger_server.api.admin_service import LedgerAdminService
from ledger_server.api.answers import make_ready
from ledger_server.api.server import serving
from ledger_server.api.service import LedgerService
from ledger_server.auditing import Auditor
from ledger_server.events.hub import Hub
from ledger_server.events.retention import Pruner, pruning
from ledger_server.posting.concurrency import ConcurrencyLimit
from ledger_server.posting.expiry import sweeping
from ledger_server.posting.lanes import Lanes
from ledger_server.posting.request_retention import forgetting
from ledger_server.posting.retries import RetryBudget
from ledger_server.posting.worker import Worker
from ledger_server.reading import Reader
from ledger_server.reading.timelines import Folding
from ledger_server.security.tls import server_credentials
from ledger_server.settings import Settings
from ledger_server.storage.connections import Held, held_by, refuse_too_few
from ledger_server.storage.databases import Database, Databases, Prepared, prepare
from ledger_server.storage.embedded import PRUNING_USER, SERVICE_USER, EmbeddedPostgres, embedded_postgres
from ledger_server.storage.epochs import noticing_restores, renew_epochs
from ledger_server.storage.pool import read_pool
from ledger_server.storage.presence import asking
from ledger_server.storage.statistics import fresh_statistics

# Of the embedded PostgreSQL, beside those of the service: for psql, for backups.
SPARE_CONNECTIONS = 100


@dataclass(frozen=True, slots=True)
class App:
    """A running service."""

    port: int
    postgres: EmbeddedPostgres | None
    # What is unsafe about the database and was asked for by name.
    risks: list[str]


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[App]:
    """Brings everything up in order, and down in the opposite one: last in, first drained.

    Raises CertificateError, DatabaseUrlError, UnsafeDatabaseError, UnsupportedDatabaseError, ListenError,
    EmbeddedPostgresError.
    """
    credentials = (
        server_credentials(settings.tls_certificate, settings.tls_key)
        if settings.tls_certificate and settings.tls_key
        else None
    )
    async with _postgres(settings) as postgres:
        if settings.ready_file:
            # Of a service that was killed. Not sooner: until here the files may still be another one's.
            settings.ready_file.unlink(missing_ok=True)
        databases = _databases(settings, postgres)
        await refuse_too_few(databases, _held(settings))
        prepared = await _prepare(databases, settings)
        dsn = databases.service.dsn
        budget = RetryBudget()
        concurrency = ConcurrencyLimit(settings.lanes)
        workers = [Worker(dsn, budget, concurrency) for _ in range(settings.lanes)]
        async with (
            noticing_restores(databases.migration.dsn),
            fresh_statistics(databases.migration.dsn),
            read_pool(dsn, size_max=settings.readers) as pool,
            Hub(dsn, pool, stall_seconds=settings.stall_seconds).running() as hub,
            Folding(dsn).running() as folding,
            Lanes(workers, pool, hub.committed, folding.ask, make_ready).running() as lanes,
            sweeping(pool, lanes),
            pruning(databases.pruning.dsn, settings.event_retention),
            forgetting(databases.pruning.dsn, settings.request_retention),
            serving(
                LedgerService(lanes, Reader(pool, folding.ask), hub),
                LedgerAdminService(Auditor(pool), Pruner(databases.pruning.dsn)),
                hub,
                settings.listen,
                credentials,
                settings.drain_seconds,
                partial(asking, dsn),
            ) as port,
        ):
            yield App(port, postgres, prepared.risks)


async def migrate_only(settings: Settings) -> int:
    """Brings the database of the settings up to date, its roles too, and returns how many migrations were applied."""
    databases = _databases(settings, None)
    prepared = await _prepare(databases, settings)
    # The owner can, which the service may not.
    async with noticing_restores(databases.migration.dsn):
        return prepared.migrations_applied


async def begin_new_epoch(settings: Settings) -> int:
    """What is done once after a database was restored: gives each ledger a new epoch; returns how many there are.

    Raises what `running` raises about databases.
    """
    async with _postgres(settings) as postgres:
        databases = _databases(settings, postgres)
        await _prepare(databases, settings)
        return await renew_epochs(databases.migration.dsn)


def _postgres(settings: Settings) -> AbstractAsyncContextManager[EmbeddedPostgres | None]:
    """The embedded PostgreSQL, unless another database was given."""
    if settings.database_url:
        return nullcontext(None)
    return embedded_postgres(
        settings.data_directory,
        bin_directory=settings.postgres_bin,
        settings={"max_connections": str(_held(settings).total + SPARE_CONNECTIONS)},
    )


def _held(settings: Settings) -> Held:
    return held_by(lanes=settings.lanes, readers=settings.readers)


async def _prepare(databases: Databases, settings: Settings) -> Prepared:
    will_prune = settings.event_retention is not None or settings.request_retention is not None
    return await prepare(databases, may_lose_data=settings.may_lose_data, will_prune=will_prune)


def _databases(settings: Settings, postgres: EmbeddedPostgres | None) -> Databases:
    """The embedded PostgreSQL as its three roles; a given one as many as were given."""
    if postgres:
        return Databases(
            Database(postgres.dsn(user=SERVICE_USER)),
            Database(postgres.dsn()),
            Database(postgres.dsn(user=PRUNING_USER)),
        )
    service = Database(settings.database_url or "", "LEDGER_DATABASE_URL")
    migration, pruning = settings.migration_database_url, settings.pruning_database_url
    return Databases(
        service,
        Database(migration, "LEDGER_MIGRATION_DATABASE_URL") if migration else service,
        Database(pruning, "LEDGER_PRUNING_DATABASE_URL") if pruning else service,
    )
