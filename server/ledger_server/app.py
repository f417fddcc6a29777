"""The one place where the parts are put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

import asyncpg

from ledger_server.api.server import serving
from ledger_server.api.service import LedgerService
from ledger_server.events.hub import Hub
from ledger_server.events.retention import pruning
from ledger_server.posting.expiry import sweeping
from ledger_server.posting.lanes import Lanes
from ledger_server.posting.worker import Worker
from ledger_server.reading import Reader
from ledger_server.security.tls import server_credentials
from ledger_server.settings import Settings
from ledger_server.storage.embedded import EmbeddedPostgres, embedded_postgres
from ledger_server.storage.migrate import migrate
from ledger_server.storage.pool import CONNECT_SECONDS, read_pool
from ledger_server.storage.statistics import fresh_statistics


@dataclass(frozen=True, slots=True)
class App:
    """A running service."""

    port: int
    dsn: str
    postgres: EmbeddedPostgres | None
    migrations_applied: int


class DatabaseUrlError(Exception):
    """The database of LEDGER_DATABASE_URL cannot be used; the message says why, without the URL's password."""


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[App]:
    """Brings everything up in order, and down in the opposite one: last in, first drained.

    Raises CertificateError, DatabaseUrlError, UnsupportedDatabaseError, ListenError, EmbeddedPostgresError.
    """
    credentials = (
        server_credentials(settings.tls_certificate, settings.tls_key)
        if settings.tls_certificate and settings.tls_key
        else None
    )
    database = (
        nullcontext(None)
        if settings.database_url
        else embedded_postgres(settings.data_directory, bin_directory=settings.postgres_bin)
    )
    async with database as postgres:
        if settings.ready_file:
            # Of a service that was killed. Not sooner: until here the files may still be another one's.
            settings.ready_file.unlink(missing_ok=True)
        dsn = settings.database_url or (postgres.dsn() if postgres else "")
        migrations_applied = await (_migrate_given(dsn) if settings.database_url else migrate(dsn))
        workers = [Worker(dsn) for _ in range(settings.lanes)]
        async with (
            fresh_statistics(dsn),
            read_pool(dsn, size_max=settings.readers) as pool,
            Hub(dsn, pool).running() as hub,
            Lanes(workers, pool, hub.committed).running() as lanes,
            sweeping(pool, lanes),
            pruning(dsn, settings.event_retention),
            serving(
                LedgerService(lanes, Reader(pool), hub), hub, settings.listen, credentials, settings.drain_seconds
            ) as port,
        ):
            yield App(port, dsn, postgres, migrations_applied)


async def _migrate_given(dsn: str) -> int:
    """Migrates a database that somebody named to us; whatever is wrong with it becomes a sentence."""
    try:
        return await migrate(dsn)
    except asyncpg.ClientConfigurationError as error:
        reason = str(error)
    except ValueError:
        # It quotes a piece of the URL, which may be one of the password.
        reason = (
            "this is not a URL; what is special in a password must be percent-encoded: / is %2F, # is %23, @ is %40"
        )
    except TimeoutError:
        reason = f"no answer within {CONNECT_SECONDS:g} s"
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error)
    raise DatabaseUrlError(f"cannot use the PostgreSQL of LEDGER_DATABASE_URL: {reason}")
