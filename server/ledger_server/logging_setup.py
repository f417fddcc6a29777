"""Logs: one line per RPC on standard error; pretty on a terminal, else JSON. No amounts, metadata or credentials."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import select
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import Processor

# How long lines wait to be written together.
GATHER_SECONDS = 0.02
# What is kept while nobody takes it; further lines are dropped, and counted.
KEPT_CHARACTERS_MAX = 256 * 1024


def configure_logging(log_format: str, level: str) -> None:
    """Sets up structlog for the process; `log_format` is `auto`, `pretty` or `json`."""
    stream = cast(TextIO, _STANDARD_ERROR)
    is_pretty = log_format == "pretty" or (log_format == "auto" and sys.stderr.isatty())
    render: Processor = structlog.dev.ConsoleRenderer() if is_pretty else structlog.processors.JSONRenderer()
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not is_pretty:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, render],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    _configure_libraries(stream, processors, render)


def _configure_libraries(stream: TextIO, processors: list[Processor], render: Processor) -> None:
    """grpc.aio and asyncio report through the standard library: the same lines, and only what matters."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *processors],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    # The pool's retries while the database is away, each with a traceback; callers are told by DATABASE_UNAVAILABLE.
    logging.getLogger("asyncpg").setLevel(logging.ERROR)


class _Lossy:
    """Standard error for log lines, gathered for a moment, which never waits: what cannot be written is dropped.

    The reader of a pipe sleeps or leaves, a terminal is closed, a disk is full: none of it may change the answer to a
    call whose write is already committed, or keep others waiting. And each write on its own lets go of the
    interpreter's lock, for which gRPC's threads then compete: 30 us a call.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = self._dropped = 0
        self._left = b""
        self._due_in: asyncio.AbstractEventLoop | None = None
        atexit.register(self.write_gathered)

    def write(self, text: str) -> int:
        if self._size > KEPT_CHARACTERS_MAX:
            self._dropped += 1
            return len(text)
        self._lines.append(text)
        self._size += len(text)
        if not self._write_soon():
            self.write_gathered()
        return len(text)

    def flush(self) -> None:
        """Called after every line; see write."""

    def _write_soon(self) -> bool:
        """False if there is no loop to do it."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        # One that was due in a loop that has ended is due no more.
        if self._due_in is not loop:
            self._due_in = loop
            loop.call_later(GATHER_SECONDS, self.write_gathered)
        return True

    def write_gathered(self) -> None:
        """Writes what is taken at once; the rest soon, if there is a loop."""
        self._due_in = None
        try:
            self._left = _write_without_waiting(self._left + "".join(self._lines).encode())
        except (OSError, ValueError):
            self._left = b""
        self._lines.clear()
        self._size = len(self._left)
        if self._dropped and not self._left:
            count, self._dropped = self._dropped, 0
            self.write(f'{{"event": "log_lines_dropped", "count": {count}}}\n')
        elif self._left:
            self._write_soon()


_STANDARD_ERROR = _Lossy()


def say(*lines: str) -> None:
    """Lines for people, on standard error, behind what was logged before."""
    for line in lines:
        _STANDARD_ERROR.write(f"ledger: {line}\n")
    _STANDARD_ERROR.write_gathered()


def _write_without_waiting(data: bytes) -> bytes:
    """Writes as much as is taken at once; returns the rest. The file stays a blocking one, as others may share it."""
    number = sys.stderr.fileno()
    writable = select.poll()
    writable.register(number, select.POLLOUT)
    while data and any(event & select.POLLOUT for _, event in writable.poll(0)):
        # A pipe that takes anything takes so much.
        data = data[os.write(number, data[: select.PIPE_BUF]) :]
    return data
