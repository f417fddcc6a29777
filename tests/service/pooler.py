"""A pooler before PostgreSQL that takes a user and a database from a session, and drops what else it asks for."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote


@asynccontextmanager
async def dropping_proxy(dsn: str, directory: Path) -> AsyncIterator[str]:
    """The DSN of the way through it."""
    socket_directory = dsn.partition("host=")[2].partition("&")[0]

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(f"{socket_directory}/.s.PGSQL.5432")
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        message = await reader.readexactly(length - 4)
        words = message[4:].rstrip(b"\0").split(b"\0")
        kept = [n for n in range(0, len(words), 2) if words[n] in (b"user", b"database", b"client_encoding")]
        parameters = b"".join(words[n] + b"\0" + words[n + 1] + b"\0" for n in kept) + b"\0"
        there_writer.write(struct.pack("!i", 8 + len(parameters)) + message[:4] + parameters)
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))

    async with await asyncio.start_unix_server(connect, directory / ".s.PGSQL.5432"):
        yield dsn.replace(socket_directory, quote(str(directory), safe="/"))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
    finally:
        writer.close()
