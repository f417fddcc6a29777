"""The process: settings, signals, and a few clear lines for whoever started it.

    python -m ledger_server            serves
    python -m ledger_server migrate    brings the database of LEDGER_DATABASE_URL up to date and ends, so that the
                                       service itself needs no role that could change the schema
    python -m ledger_server new-epoch  gives each ledger a new epoch and ends: to be run once after a restore that the
                                       service cannot notice, so that nobody goes on from a lost position

On SIGINT or SIGTERM, any number of them at any moment:

| signal                   | what it does                                                             | status     |
|--------------------------|--------------------------------------------------------------------------|------------|
| either, while starting   | gives up the start                                                       | 0          |
| either, while serving    | drains: calls under way are answered, streams end, then PostgreSQL stops | 0          |
| SIGINT once more         | exits at once; what was acknowledged is committed, so nothing is lost    | 130        |
| SIGTERM once more        | nothing: `make` passes on the one that the whole process group also gets | 0          |
| either, in the other two | gives up; what was committed stays, and to run it again does the rest    | 130 or 143 |
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import asyncpg

from ledger_server.api.listening import ListenError
from ledger_server.app import App, begin_new_epoch, migrate_only, running
from ledger_server.logging_setup import configure_logging, say
from ledger_server.security.tls import CertificateError
from ledger_server.settings import Settings, SettingsError
from ledger_server.signals import StopSignals, status_of
from ledger_server.storage.databases import DatabaseUrlError
from ledger_server.storage.embedded import EmbeddedPostgresError
from ledger_server.storage.migrate import UnsupportedDatabaseError
from ledger_server.storage.safety import UnsafeDatabaseError

_EXPECTED_ERRORS = (
    SettingsError,
    CertificateError,
    EmbeddedPostgresError,
    DatabaseUrlError,
    UnsafeDatabaseError,
    UnsupportedDatabaseError,
    ListenError,
)
_Done = TypeVar("_Done")


async def serve(settings: Settings, signals: StopSignals) -> int:
    """Serves until SIGINT or SIGTERM; returns the exit status."""
    started, stop = asyncio.Event(), asyncio.Event()
    service = asyncio.create_task(_serve(settings, started, stop))

    def stop_on(number: signal.Signals) -> None:
        if stop.is_set():
            if number == signal.SIGINT:
                _exit_at_once(settings)
            return
        stop.set()
        if not started.is_set():
            service.cancel()

    with signals.heard(asyncio.get_running_loop(), stop_on):
        await asyncio.wait({service})
    if service.cancelled():
        say("stopped before it served")
        return 0
    return service.result()


async def _serve(settings: Settings, started: asyncio.Event, stop: asyncio.Event) -> int:
    _require_place(settings.ready_file)
    async with running(settings) as app:
        started.set()
        if settings.ready_file:
            _write_whole(settings.ready_file, _address(settings, app))
        say(*_announcement(settings, app))
        try:
            exit_code = await _until_stopped(stop, app)
        finally:
            _remove_ready_file(settings)
        if exit_code is not None and app.postgres:
            say(
                f"PostgreSQL ended by itself (exit code {exit_code}), so the service stops too",
                f"its log is {app.postgres.log_file}; everything acknowledged is on disk, and a new start recovers it",
            )
            stop.set()
        else:
            say("draining … (Ctrl-C again exits at once)")
    say("stopped")
    return 0 if exit_code is None else 1


async def _until_stopped(stop: asyncio.Event, app: App) -> int | None:
    """Waits for a signal, or for the end of the embedded PostgreSQL, whose exit code is returned."""
    stopping = asyncio.create_task(stop.wait())
    waiting = [stopping, app.postgres.exited] if app.postgres else [stopping]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    return app.postgres.exited.result() if app.postgres and app.postgres.exited.done() else None


def _exit_at_once(settings: Settings) -> NoReturn:
    """Leaves everything as it is; the embedded PostgreSQL is told by the kernel, and stops by itself."""
    _remove_ready_file(settings)
    say("exiting at once; calls under way were not answered")
    os._exit(status_of(signal.SIGINT))


def _announcement(settings: Settings, app: App) -> list[str]:
    if app.postgres:
        where = (
            f"{app.postgres.data_directory} (embedded PostgreSQL {app.postgres.version}; kept when the service stops)"
        )
    else:
        where = "the PostgreSQL of LEDGER_DATABASE_URL"
    wire = "TLS" if settings.tls_certificate else "no TLS"
    return [
        f"serving gRPC on {_address(settings, app)} ({wire}), ledger.v1.LedgerService, health and reflection",
        f"data in {where}",
        "try `make demo` in another terminal, or see README.md for a first call; Ctrl-C stops",
        *(f"WARNING, because LEDGER_MAY_LOSE_DATA=1: {risk}" for risk in app.risks),
    ]


def _address(settings: Settings, app: App) -> str:
    if settings.listen.startswith("unix:"):
        return settings.listen
    return f"{settings.listen.rpartition(':')[0]}:{app.port}"


def _require_place(ready_file: Path | None) -> None:
    """Raises SettingsError if the file could not be written once the service serves."""
    if ready_file is None:
        return
    if not ready_file.parent.is_dir():
        raise SettingsError(f"LEDGER_READY_FILE={ready_file}: there is no directory {ready_file.parent}")
    if not os.access(ready_file.parent, os.W_OK | os.X_OK):
        raise SettingsError(f"LEDGER_READY_FILE={ready_file}: {ready_file.parent} may not be written to")
    if ready_file.is_dir():
        raise SettingsError(f"LEDGER_READY_FILE={ready_file} is a directory, not a file")


def _write_whole(path: Path, text: str) -> None:
    """So that a reader never sees half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def _remove_ready_file(settings: Settings) -> None:
    if settings.ready_file:
        settings.ready_file.unlink(missing_ok=True)


def run(arguments: Sequence[str], signals: StopSignals) -> None:
    """What the arguments ask for; ends with an exit status, or a sentence if it cannot start."""
    try:
        settings = Settings.from_environment(os.environ)
        configure_logging(settings.log_format, settings.log_level)
        match arguments:
            case []:
                sys.exit(_run(settings, signals))
            case ["migrate"]:
                _migrate(settings, signals)
            case ["new-epoch"]:
                count = asyncio.run(_unless_stopped(begin_new_epoch(settings), signals))
                say("1 ledger has a new epoch" if count == 1 else f"{count} ledgers have a new epoch")
            case _:
                sys.exit("usage: python -m ledger_server [migrate | new-epoch]")
    except _EXPECTED_ERRORS as error:
        sys.exit(f"ledger: {error}")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        sys.exit(f"ledger: cannot start: {str(error) or type(error).__name__}")


def _collect_garbage_rarely() -> None:
    """A command makes dozens of objects and no cycles; looking for some every 700 objects was a sixth of its cost."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _unless_stopped(work: Coroutine[Any, Any, _Done], signals: StopSignals) -> _Done:
    """What the work comes to; on a signal it is cancelled, and the process ends."""
    task, heard = asyncio.create_task(work), list[signal.Signals]()

    def give_up(number: signal.Signals) -> None:
        heard.append(number)
        # Once, so that what cleans up is let alone.
        if len(heard) == 1:
            task.cancel()

    with signals.heard(asyncio.get_running_loop(), give_up):
        await asyncio.wait({task})
    if task.cancelled():
        say("interrupted; what was committed stays, and to run it again does the rest")
        sys.exit(status_of(heard[0]))
    return task.result()


def _migrate(settings: Settings, signals: StopSignals) -> None:
    if not settings.database_url:
        raise SettingsError(
            "LEDGER_DATABASE_URL is not set; the embedded PostgreSQL is migrated when the service starts"
        )
    applied = asyncio.run(_unless_stopped(migrate_only(settings), signals))
    said = "1 migration applied" if applied == 1 else f"{applied} migrations applied"
    say(said if applied else "the database is up to date")


def _run(settings: Settings, signals: StopSignals) -> int:
    _collect_garbage_rarely()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(serve(settings, signals))
    return uvloop.run(serve(settings, signals))
