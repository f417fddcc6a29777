"""A way to PostgreSQL on which commits are held up, and some are lost, before or after they happened."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit


class CommitProxy:
    """Holds each COMMIT for up to `hold_seconds`; cuts the connection at one in `cut_every`."""

    def __init__(self, socket: str, seed: int) -> None:
        self.dsn = ""
        self.hold_seconds = 0.02
        self.cut_every = 12
        self.held = self.cut_before = self.cut_after = 0
        self._socket = socket
        self._random = random.Random(seed)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(self._socket)
        ends = (writer, there_writer)
        await asyncio.gather(
            self._forward(reader, there_writer, ends, holds=True),
            self._forward(there_reader, writer, ends, holds=False),
            return_exceptions=True,
        )

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        *,
        holds: bool,
    ) -> None:
        try:
            while data := await reader.read(65_536):
                # A reader's COMMIT is `COMMIT;`, and of no interest.
                if holds and b"COMMIT" in data and b"COMMIT;\0" not in data:
                    await self._commit(data, writer, ends)
                else:
                    writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            for end in ends:
                end.transport.abort()

    async def _commit(
        self, data: bytes, writer: asyncio.StreamWriter, ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    ) -> None:
        self.held += 1
        await asyncio.sleep(self._random.uniform(0, self.hold_seconds))
        if self._random.randrange(self.cut_every):
            writer.write(data)
            return
        if self._random.random() < 0.5:
            self.cut_before += 1
        else:
            self.cut_after += 1
            writer.write(data)
            await writer.drain()
            # Done, while its answer gets lost.
            ends[0].transport.abort()
            await asyncio.sleep(0.01)
        raise ConnectionResetError


@asynccontextmanager
async def commits_held(dsn: str, directory: Path, seed: int) -> AsyncIterator[CommitProxy]:
    """The proxy before the database of a DSN with a socket directory."""
    (socket_directory,) = parse_qs(urlsplit(dsn).query)["host"]
    proxy = CommitProxy(f"{socket_directory}/.s.PGSQL.5432", seed)
    async with await asyncio.start_unix_server(proxy.connect, directory / ".s.PGSQL.5432"):
        proxy.dsn = dsn.replace(quote(socket_directory), quote(str(directory)))
        yield proxy
