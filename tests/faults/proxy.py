"""A TCP proxy before PostgreSQL or a server, on which everything can go wrong that goes wrong on networks."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

BYTES = 65_536
# What TCP does about a lost packet, seen from above: the bytes come later.
RETRANSMISSION_SECONDS = 0.2

# Called with what a client sends and how to send it on; may raise ConnectionResetError to end the connection.
Hook = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Proxy:
    """Where to connect to, and how the link behaves; what is set holds for connections that exist, too."""

    def __init__(self, upstream: Path | str, seed: int) -> None:
        self.upstream = upstream
        """A socket's file, or `host:port`."""
        self.address = ""
        self.delay_seconds = 0.0
        """Added to each piece, each way."""
        self.loss = 0.0
        """The share of pieces that must be sent again."""
        self.bytes_per_second = 0.0
        """Zero: no limit."""
        self.hook: Hook | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._swallows = False
        self._chance = random.Random(seed)
        self._writers: set[asyncio.StreamWriter] = set()
        self._ways: set[asyncio.Task[None]] = set()
        self._never = asyncio.Event()

    @property
    def port(self) -> str:
        return self.address.rpartition(":")[2]

    def dsn(self, database: str = "ledger") -> str:
        """Of the database behind it."""
        return f"postgresql://ledger@{self.address}/{quote(database)}?sslmode=disable"

    def black_hole(self) -> None:
        """Nothing gets through any more, and nobody is told; new connections are accepted and hear nothing."""
        self._open.clear()

    def swallow(self) -> None:
        """As a firewall that forgot its connections: what is sent on those there are is gone for good."""
        self._swallows = True

    def heal(self) -> None:
        """Everything is as it should be; what was held up arrives."""
        self.delay_seconds = self.loss = self.bytes_per_second = 0.0
        self._swallows = False
        self._open.set()

    def cut(self, *, with_reset: bool = False) -> None:
        """Ends all connections there are, in order or with RST; new ones work."""
        for writer in list(self._writers):
            if with_reset:
                _reset(writer)
            else:
                writer.transport.abort()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forwards both ways until one side ends."""
        try:
            there_reader, there_writer = await self._reach()
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, there_writer}
        self._writers |= ends
        ways = [
            asyncio.create_task(self._forward(reader, there_writer, ends, self.hook)),
            asyncio.create_task(self._forward(there_reader, writer, ends, None)),
        ]
        self._ways.update(ways)
        await asyncio.gather(*ways, return_exceptions=True)
        self._ways.difference_update(ways)
        self._writers -= ends

    async def close(self) -> None:
        """Ends everything."""
        self.cut()
        for way in list(self._ways):
            way.cancel()
        await asyncio.gather(*self._ways, return_exceptions=True)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.upstream, Path):
            return await asyncio.open_unix_connection(str(self.upstream))
        host, _, port = self.upstream.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ends: set[asyncio.StreamWriter],
        hook: Hook | None,
    ) -> None:
        try:
            while data := await reader.read(BYTES):
                await self._open.wait()
                if self._swallows:
                    # Only those that exist now are forgotten; healing does not bring their bytes back.
                    await self._never.wait()
                await self._take_time(len(data))
                if hook is not None:
                    await hook(data, writer)
                else:
                    writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            for end in ends:
                end.transport.abort()

    async def _take_time(self, count: int) -> None:
        seconds = self.delay_seconds
        if self.loss and self._chance.random() < self.loss:
            seconds += RETRANSMISSION_SECONDS * self._chance.uniform(1, 3)
        if self.bytes_per_second:
            seconds += count / self.bytes_per_second
        if seconds:
            await asyncio.sleep(seconds)


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def proxied(upstream: Path | str, seed: int) -> AsyncIterator[Proxy]:
    """A proxy on a free port."""
    proxy = Proxy(upstream, seed)
    server = await asyncio.start_server(proxy.connect, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
