"""Logs: one line per RPC on standard error; pretty on a terminal, else JSON. No amounts, metadata or credentials."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import Processor

# How long lines wait to be written together.
GATHER_SECONDS = 0.02


def configure_logging(log_format: str, level: str) -> None:
    """Sets up structlog for the process; `log_format` is `auto`, `pretty` or `json`."""
    stream = cast(TextIO, _Lossy(sys.stderr))
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
    """Standard error for log lines, gathered for a moment: a line that cannot be written is dropped.

    The reader of a pipe leaves, a terminal is closed, a disk is full: none of it may change the answer to a call whose
    write is already committed. And each write on its own lets go of the interpreter's lock, for which gRPC's threads
    then compete: 30 us a call.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []
        atexit.register(self._write_gathered)

    def write(self, text: str) -> int:
        self._lines.append(text)
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_later(GATHER_SECONDS, self._write_gathered)
            except RuntimeError:
                self._write_gathered()
        return len(text)

    def flush(self) -> None:
        """Called after every line; see write."""

    def _write_gathered(self) -> None:
        text = "".join(self._lines)
        self._lines.clear()
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
