"""A TCP link to a server that tests can cut, and on which the server's answers can get lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Link:
    """Where to connect to, and what becomes of the connections."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        """Where new connections lead."""
        self.loses_answers = False
        """Whether what the server sends now is lost; what the client sends still arrives."""
        self.address = ""
        self.cut_count = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Reset all connections there are; new ones work."""
        self.cut_count += 1
        self.loses_answers = False
        for writer in self._writers:
            writer.transport.abort()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward both ways until one side ends."""
        host, _, port = self.upstream.rpartition(":")
        try:
            there_reader, there_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, there_writer}
        self._writers |= ends
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._forward(reader, there_writer, ends, is_answer=False))
                ways.create_task(self._forward(there_reader, writer, ends, is_answer=True))
        finally:
            self._writers -= ends

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ends: set[asyncio.StreamWriter],
        *,
        is_answer: bool,
    ) -> None:
        try:
            while data := await reader.read(65_536):
                if not (is_answer and self.loses_answers):
                    writer.write(data)
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            for end in ends:
                end.transport.abort()


@asynccontextmanager
async def linked(upstream: str) -> AsyncIterator[Link]:
    """A link to a server."""
    link = Link(upstream)
    server = await asyncio.start_server(link.connect, "127.0.0.1", 0)
    link.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield link
    finally:
        server.close()
        link.cut()
