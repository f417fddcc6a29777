"""The process: settings, signals, and a few clear lines for whoever started it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import asyncpg

from ledger_server.api.server import ListenError
from ledger_server.app import App, running
from ledger_server.log import configure_logging
from ledger_server.settings import Settings, SettingsError
from ledger_server.storage.embedded import EmbeddedPostgresError
from ledger_server.storage.migrate import UnsupportedDatabaseError

_EXPECTED_ERRORS = (SettingsError, EmbeddedPostgresError, UnsupportedDatabaseError, ListenError)


async def serve(settings: Settings) -> int:
    """Serves until SIGINT or SIGTERM; returns the exit status."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as app:
        _announce(settings, app)
        try:
            postgres_died = await _until_stopped(stop, app)
        finally:
            if settings.ready_file:
                settings.ready_file.unlink(missing_ok=True)
        print("ledger: draining …", file=sys.stderr, flush=True)
    if postgres_died:
        print("ledger: PostgreSQL stopped by itself; see its log", file=sys.stderr)
        return 1
    print("ledger: stopped", file=sys.stderr)
    return 0


async def _until_stopped(stop: asyncio.Event, app: App) -> bool:
    """Waits for a signal, or for the end of the embedded PostgreSQL; True for the latter."""
    stopping = asyncio.create_task(stop.wait())
    waiting = [stopping, app.postgres.exited] if app.postgres else [stopping]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    return not stop.is_set()


def _announce(settings: Settings, app: App) -> None:
    address = (
        settings.listen if settings.listen.startswith("unix:") else f"{settings.listen.rpartition(':')[0]}:{app.port}"
    )
    if app.postgres:
        where = (
            f"{app.postgres.data_directory} (embedded PostgreSQL {app.postgres.version}; kept when the service stops)"
        )
    else:
        where = "the PostgreSQL of LEDGER_DATABASE_URL"
    wire = "TLS" if settings.tls_certificate else "no TLS"
    print(
        f"ledger: serving gRPC on {address} ({wire}), ledger.v1.LedgerService, health and reflection\n"
        f"ledger: data in {where}\n"
        "ledger: try `make demo` in another terminal, or see README.md for a first call; Ctrl-C stops",
        file=sys.stderr,
        flush=True,
    )
    if settings.ready_file:
        _write_whole(settings.ready_file, address)


def _write_whole(path: Path, text: str) -> None:
    """So that a reader never sees half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def main() -> None:
    try:
        settings = Settings.from_environment(os.environ)
        configure_logging(settings.log_format, settings.log_level)
        sys.exit(_run(settings))
    except _EXPECTED_ERRORS as error:
        sys.exit(f"ledger: {error}")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        sys.exit(f"ledger: cannot start: {str(error) or type(error).__name__}")


def _run(settings: Settings) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(serve(settings))
    return uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
