"""A TCP proxy before PostgreSQL or a server, on which everything can go wrong that goes wrong on networks."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit
from weakref import WeakKeyDictionary, WeakSet

from ledger_server.storage import sql

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
        self.loses_answers = False
        """Whether what comes back is lost, while what is sent still arrives; until the next cut."""
        self.cut_count = 0
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
        self.cut_count += 1
        self.loses_answers = False
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
            asyncio.create_task(self._forward(reader, there_writer, ends, self.hook or _send)),
            asyncio.create_task(self._forward(there_reader, writer, ends, self._answer)),
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
        hook: Hook,
    ) -> None:
        try:
            while data := await reader.read(BYTES):
                await self._open.wait()
                if self._swallows:
                    # Only those that exist now are forgotten; healing does not bring their bytes back.
                    await self._never.wait()
                await self._take_time(len(data))
                await hook(data, writer)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            for end in ends:
                end.transport.abort()

    async def _answer(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if not self.loses_answers:
            writer.write(data)

    async def _take_time(self, count: int) -> None:
        seconds = self.delay_seconds
        if self.loss and self._chance.random() < self.loss:
            seconds += RETRANSMISSION_SECONDS * self._chance.uniform(1, 3)
        if self.bytes_per_second:
            seconds += count / self.bytes_per_second
        if seconds:
            await asyncio.sleep(seconds)


async def _send(data: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(data)


class CommitCuts:
    """A hook that holds each of the lanes' commits for up to `hold_seconds`, and ends one in `every`; zero: none.

    A commit is a COMMIT, or a batch's one statement outside of a transaction, which commits by itself.
    """

    def __init__(self, seed: int, every: int, hold_seconds: float = 0.0) -> None:
        self.counts = dict.fromkeys(("before", "after", "reset"), 0)
        self.commits = 0
        self.every = every
        self._hold_seconds = hold_seconds
        self._chance = random.Random(seed)
        self._batches: WeakKeyDictionary[asyncio.StreamWriter, set[bytes]] = WeakKeyDictionary()
        """The name under which a connection has prepared a batch's statement."""
        self._in_transaction: WeakSet[asyncio.StreamWriter] = WeakSet()

    async def forward(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Sends it on, unless it is a commit that is to be cut."""
        is_commit = self._is_commit(data, writer)
        self.commits += is_commit
        if is_commit and self._hold_seconds:
            await asyncio.sleep(self._chance.uniform(0, self._hold_seconds))
        if not is_commit or not self.every or self._chance.randrange(self.every):
            writer.write(data)
            return
        how = min(self.counts, key=lambda how: self.counts[how])
        self.counts[how] += 1
        if how != "before":
            writer.write(data)
            await writer.drain()
        if how == "after":
            await asyncio.sleep(0.01)
        raise ConnectionResetError

    def _is_commit(self, data: bytes, writer: asyncio.StreamWriter) -> bool:
        """A reader's COMMIT is `COMMIT;`, and of no interest."""
        if data.startswith(b"P") and any(text.encode() in data for text in (sql.write_batch, sql.write_plain_batch)):
            self._batches.setdefault(writer, set()).add(data[5:].partition(b"\0")[0])
        elif data.startswith(b"B"):
            # Bind: the portal's name, the statement's. Or the rest of something long, which names none.
            names = data[5:].split(b"\0", 2)
            return not self._batches.get(writer, set()).isdisjoint(names[1:2]) and writer not in self._in_transaction
        elif data.startswith(b"Q") and b"BEGIN" in data:
            self._in_transaction.add(writer)
        elif data.startswith(b"Q") and (b"COMMIT" in data or b"ROLLBACK" in data):
            self._in_transaction.discard(writer)
            return b"COMMIT" in data and b"COMMIT;\0" not in data
        return False


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def socket_of(dsn: str) -> Path:
    """The file of the socket that a DSN with a socket directory leads to."""
    (directory,) = parse_qs(urlsplit(dsn).query)["host"]
    return Path(directory) / ".s.PGSQL.5432"


@asynccontextmanager
async def proxied(upstream: Path | str, seed: int = 0) -> AsyncIterator[Proxy]:
    """A proxy on a free port."""
    proxy = Proxy(upstream, seed)
    server = await asyncio.start_server(proxy.connect, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
